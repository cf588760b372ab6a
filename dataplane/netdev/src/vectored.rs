//! One frame per system call, straight into the memory of a burst. TAP queues and AF_PACKET sockets read alike.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;

use arrayvec::ArrayVec;
use dataplane::burst::{FRAME_MAX, Received};
use dataplane::frame::{Frame, HEAD_MAX};
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

/// Reads one frame into the memory that [`dataplane::Burst::read_with`] gives; `None` when there is none. With `VNET`, a
/// `struct virtio_net_hdr` stands in front of it.
#[inline]
pub(crate) fn read_frame<const VNET: bool>(fd: BorrowedFd<'_>, head: &mut [u8], body: &mut [u8]) -> Result<Option<Received>, ReadError> {
    let mut header = [0; Offload::LEN];
    let header_len = if VNET { Offload::LEN } else { 0 };
    // One octet more than any frame has: only a frame that was cut fills all of it, as the kernel does not say so otherwise.
    let capacity = header_len + FRAME_MAX + 1;
    let body = &mut body[..FRAME_MAX + 1 - HEAD_MAX];
    let mut parts = [IoSliceMut::new(&mut header), IoSliceMut::new(&mut head[..HEAD_MAX]), IoSliceMut::new(body)];
    let read = loop {
        match rustix::io::readv(fd, if VNET { &mut parts } else { &mut parts[1..] }) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(None),
            Err(errno) => return Err(ReadError::Errno(errno)),
            Ok(read) => break read,
        }
    };
    if read == capacity || read < header_len {
        return Err(ReadError::Cut);
    }
    let offload = if VNET { Offload::from_bytes(&header) } else { Offload::NONE };
    Ok(Some(Received { len: read - header_len, offload, tag: None }))
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
        parts.try_push(IoSlice::new(piece)).ok()?;
    }
    Some(parts)
}
