//! One frame per system call, straight into the memory of a burst. TAP queues and AF_PACKET sockets read alike.

use std::io::IoSlice;
use std::os::fd::BorrowedFd;

use arrayvec::ArrayVec;
use dataplane::burst::{FRAME_MAX, Received};
use dataplane::frame::{Frame, Piece};
use rustix::io::Errno;
use wire::Offload;

/// Pieces of a body that are sent with one call at most; a frame with more is refused, never cut.
const PIECES_MAX: usize = 30;

/// Why a frame was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadError {
    /// A frame was there, longer than [`FRAME_MAX`]; it is lost.
    Cut,
    /// The call failed.
    Errno(Errno),
}

/// Reads one frame into the memory that [`Burst::read_whole`](dataplane::Burst::read_whole) gives; `None` when there is
/// none. With `VNET`, a `struct virtio_net_hdr` stands in front of it.
///
/// One buffer, from which the head is copied: a read of 64 octets into header, head and body apart took 371 ns, into one
/// buffer 331 ns with the copy.
#[inline]
pub(crate) fn read_frame<const VNET: bool>(fd: BorrowedFd<'_>, memory: &mut [u8]) -> Result<Option<(usize, Received)>, ReadError> {
    let start = if VNET { Offload::LEN } else { 0 };
    // One octet more than any frame has: only a frame that was cut fills all of it, as the kernel does not say so otherwise.
    let memory = &mut memory[..start + FRAME_MAX + 1];
    let read = loop {
        match rustix::io::read(fd, &mut *memory) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(ReadError::Errno(errno)),
            Ok(read) => break read,
        }
    };
    if read == memory.len() || read < start {
        return Err(ReadError::Cut);
    }
    let offload = match memory.first_chunk() {
        Some(header) if VNET => Offload::from_bytes(header),
        _ => Offload::NONE,
    };
    Ok(Some((start, Received { len: read - start, offload, tag: None })))
}

/// A piece of a body for the kernel to read. The octets of a shared one must not be looked at through it.
#[inline]
pub(crate) fn io_slice(piece: Piece<'_>) -> IoSlice<'_> {
    match piece {
        Piece::Private(octets) => IoSlice::new(octets),
        Piece::Shared(octets) => {
            let iovec = libc::iovec { iov_base: octets.as_ptr().cast_mut().cast(), iov_len: octets.len() };
            // SAFETY: an `IoSlice` has the ABI of an `iovec`, which the standard library guarantees, and this one lies in
            // memory that lives as long as the result. It is given to the kernel only, which copies from the memory
            // whoever writes it; no reference to plain octets is made.
            unsafe { std::mem::transmute::<libc::iovec, IoSlice<'_>>(iovec) }
        }
    }
}

/// The parts of a frame as they are sent, behind `header` (which may be empty). `None` when there are too many.
#[inline]
pub(crate) fn parts<'f>(header: &'f [u8], frame: &'f Frame<'_>) -> Option<ArrayVec<IoSlice<'f>, { PIECES_MAX + 2 }>> {
    let mut parts = ArrayVec::new_const();
    if !header.is_empty() {
        parts.push(IoSlice::new(header));
    }
    parts.push(IoSlice::new(frame.head()));
    for piece in frame.body().pieces() {
        parts.try_push(io_slice(piece)).ok()?;
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use dataplane::{Body, BurstMemory};
    use std::io::{Read, Write};
    use std::sync::atomic::AtomicU8;

    #[test]
    fn the_kernel_reads_shared_memory_as_any_other() {
        let octets: Vec<u8> = (0..3000u32).map(|i| (i * 7) as u8).collect();
        let shared: Vec<AtomicU8> = octets.iter().map(|octet| AtomicU8::new(*octet)).collect();
        let pieces = [&shared[..5], &shared[5..1000], &shared[1000..]];
        let mut memory = BurstMemory::new();
        let mut burst = memory.burst();
        burst.push_parts(&[9; 60], Body::from_shared(&pieces, 3, 2900), Offload::NONE);
        let parts = parts(&[1, 2], &burst.frames()[0]).unwrap();
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        assert_eq!(writer.write_vectored(&parts).unwrap(), 2 + 60 + 2900);
        drop(writer);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).unwrap();
        assert!(read == [&[1, 2], &[9; 60][..], &octets[3..2903]].concat());
    }
}
