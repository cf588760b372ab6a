//! The memory of the frontend: one memfd, mapped here and handed to the backend, which may write to it at any time.
//!
//! Nothing in it is ever lent out as a reference; octets are copied in and out, words of the rings are atomics.

use dataplane::frame::Piece;
use std::ffi::c_int;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64};

use rustix::fs::{MemfdFlags, memfd_create};
use vm_memory::FileOffset;
use vm_memory::mmap::MmapRegion;

/// One mapping of one memfd. Offsets count from its first octet.
pub(super) struct SharedMemory {
    region: MmapRegion<()>,
    fd: RawFd,
}

// The methods below check every offset against the mapping, which lives as long as the value.
impl SharedMemory {
    /// Zeroed memory of `len` octets.
    pub(super) fn new(len: usize) -> io::Result<SharedMemory> {
        let file = File::from(memfd_create("vhost-user-frontend", MemfdFlags::CLOEXEC)?);
        file.set_len(len as u64)?;
        let fd = file.as_raw_fd();
        let flags: c_int = libc::MAP_SHARED | libc::MAP_NORESERVE;
        let region = MmapRegion::build(Some(FileOffset::new(file, 0)), len, libc::PROT_READ | libc::PROT_WRITE, flags)
            .map_err(|error| io::Error::other(error.to_string()))?;
        Ok(SharedMemory { region, fd })
    }

    /// The memfd; open as long as the value lives.
    pub(super) fn fd(&self) -> RawFd {
        self.fd
    }

    /// Octets.
    pub(super) fn len(&self) -> usize {
        self.region.size()
    }

    /// Address of the first octet in this process, which the rings are described by.
    pub(super) fn address(&self) -> u64 {
        self.region.as_ptr().addr() as u64
    }

    /// A pointer to `len` octets from `offset` on.
    #[inline]
    fn at(&self, offset: usize, len: usize, align: usize) -> *mut u8 {
        assert!(offset.is_multiple_of(align) && offset <= self.region.size() && len <= self.region.size() - offset);
        self.region.as_ptr().wrapping_add(offset)
    }

    /// The little-endian word at `offset`; the host must be little-endian too, which the frontend checks.
    #[inline]
    pub(super) fn u16(&self, offset: usize) -> &AtomicU16 {
        let at = self.at(offset, 2, 2);
        // SAFETY: aligned and inside the mapping (`at`); everybody in this process uses it as an atomic.
        unsafe { AtomicU16::from_ptr(at.cast()) }
    }

    /// As [`SharedMemory::u16`].
    #[inline]
    pub(super) fn u32(&self, offset: usize) -> &AtomicU32 {
        let at = self.at(offset, 4, 4);
        // SAFETY: as in `u16`.
        unsafe { AtomicU32::from_ptr(at.cast()) }
    }

    /// As [`SharedMemory::u16`].
    #[inline]
    pub(super) fn u64(&self, offset: usize) -> &AtomicU64 {
        let at = self.at(offset, 8, 8);
        // SAFETY: as in `u16`.
        unsafe { AtomicU64::from_ptr(at.cast()) }
    }

    /// Copies `octets` to `offset`.
    #[inline]
    pub(super) fn write(&self, offset: usize, octets: &[u8]) {
        let to = self.at(offset, octets.len(), 1);
        // SAFETY: both are valid for the length; our slice is not in the mapping, as no reference into that exists. The
        // other process may see any mixture of old and new octets, which is the nature of the interface.
        unsafe { to.copy_from_nonoverlapping(octets.as_ptr(), octets.len()) }
    }

    /// Copies a piece of a body to `offset`.
    #[inline]
    pub(super) fn write_piece(&self, offset: usize, piece: Piece<'_>) {
        match piece {
            Piece::Private(octets) => self.write(offset, octets),
            Piece::Shared(octets) => {
                let to = self.at(offset, octets.len(), 1);
                // SAFETY: both are valid for the length; another VM's memory may change meanwhile, as ours may.
                unsafe { to.copy_from(octets.as_ptr().cast(), octets.len()) }
            }
        }
    }

    /// Copies from `offset` to all of `octets`.
    #[inline]
    pub(super) fn read(&self, offset: usize, octets: &mut [u8]) {
        let from = self.at(offset, octets.len(), 1);
        // SAFETY: as in `write`.
        unsafe { octets.as_mut_ptr().copy_from_nonoverlapping(from, octets.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_come_back_and_offsets_are_checked() {
        let memory = SharedMemory::new(4096).unwrap();
        memory.write(4092, &[1, 2, 3, 4]);
        let mut back = [0; 4];
        memory.read(4092, &mut back);
        assert_eq!(back, [1, 2, 3, 4]);
        for (offset, len) in [(4093, 4), (4097, 0), (usize::MAX, 1)] {
            assert!(std::panic::catch_unwind(|| memory.write(offset, &vec![0; len])).is_err(), "{offset} {len}");
        }
        assert!(std::panic::catch_unwind(|| memory.u32(2).as_ptr()).is_err(), "unaligned");
    }
}
