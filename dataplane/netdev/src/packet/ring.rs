//! The receive ring: memory that the kernel fills and we read (`Documentation/networking/packet_mmap.rst`).
//!
//! A slot belongs to the kernel while its status is `TP_STATUS_KERNEL` (0), and to us from the moment the kernel stores
//! `TP_STATUS_USER` until we store 0 again. The kernel fills slots in order and drops frames while the next one is ours.
//!
//! # Soundness
//!
//! [`Ring::slot`] lends the octets of a slot for as long as the ring is borrowed, and [`Ring::release`] needs the ring
//! exclusively: so a slot is given back only when nobody reads it any more. Nobody but the kernel and this value can reach
//! the mapping (an AF_PACKET socket can be mapped only through its descriptor, which we own).
//!
//! What the kernel writes into the slot header is trusted to be true but not to be in bounds: [`Slot::content`] is safe
//! code over a slice.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use libc::tpacket2_hdr;
use wire::{Offload, Tag, Tpid};

/// Octets of a slot: an Ethernet frame of the usual MTU with tags, and the headers of the ring in front of it (76 octets).
pub(super) const SLOT_SIZE: usize = 2048;
/// Octets of a block: slots that are contiguous in the memory of the kernel. A multiple of all page sizes in use.
pub(super) const BLOCK_SIZE: usize = 64 << 10;

/// The status is the first word of a slot.
const STATUS_LEN: usize = 4;
const _: () = assert!(std::mem::offset_of!(tpacket2_hdr, tp_status) == 0);

/// The mapped ring of one socket. Only one thread at a time uses it.
pub(super) struct Ring {
    /// First octet of the first slot. Slots follow each other without gaps, as a block is a multiple of a slot.
    base: NonNull<u8>,
    slots: usize,
    release_memory: fn(NonNull<u8>, usize),
}

// SAFETY: the mapping is not bound to a thread, and a `Ring` is the only way to it.
unsafe impl Send for Ring {}

impl Ring {
    /// Maps the ring that was made on the socket with `slots` slots.
    pub(super) fn map(socket: BorrowedFd<'_>, slots: usize) -> io::Result<Ring> {
        let len = slots * SLOT_SIZE;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        // SAFETY: a new mapping at an address the kernel chooses touches no memory in use.
        let base = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, socket.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mmap returned address 0"))?;
        let release_memory = |base: NonNull<u8>, len| {
            // SAFETY: `base` and `len` are those of the mapping, which nothing refers to when its `Ring` is dropped.
            unsafe { libc::munmap(base.as_ptr().cast(), len) };
        };
        Ok(Ring { base, slots, release_memory })
    }

    /// Number of slots.
    #[inline]
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    /// First octet of a slot.
    #[inline]
    fn at(&self, index: usize) -> NonNull<u8> {
        assert!(index < self.slots);
        // SAFETY: the index is below the number of slots, so the offset lies in the mapping.
        unsafe { self.base.add(index * SLOT_SIZE) }
    }

    #[inline]
    fn status(&self, index: usize) -> &AtomicU32 {
        // SAFETY: a slot starts with its status word; slots are aligned to 2048 octets in memory aligned to a page; nobody
        // accesses the word but as an atomic.
        unsafe { AtomicU32::from_ptr(self.at(index).as_ptr().cast()) }
    }

    /// The slot if it is ours, with what the kernel wrote before it handed it over.
    ///
    /// # Panics
    ///
    /// If there is no such slot.
    #[inline]
    pub(super) fn slot(&self, index: usize) -> Option<Slot<'_>> {
        let status = self.status(index).load(Ordering::Acquire);
        if status & libc::TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: the status word and what follows are in the same slot.
        let start = unsafe { self.at(index).add(STATUS_LEN) };
        // SAFETY: the rest of the slot is in the mapping; the kernel does not write it while the status says it is ours,
        // which only `release` ends, for which this borrow must have ended.
        let octets = unsafe { std::slice::from_raw_parts(start.as_ptr(), SLOT_SIZE - STATUS_LEN) };
        Some(Slot { status, octets })
    }

    /// Gives the slot back to the kernel.
    ///
    /// # Panics
    ///
    /// If there is no such slot.
    #[inline]
    pub(super) fn release(&mut self, index: usize) {
        // Release: what we read from the slot was read before the kernel may write it.
        self.status(index).store(libc::TP_STATUS_KERNEL, Ordering::Release);
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        (self.release_memory)(self.base, self.slots * SLOT_SIZE);
    }
}

/// A slot that is ours.
#[derive(Clone, Copy)]
pub(super) struct Slot<'a> {
    status: u32,
    /// The slot behind its status word.
    octets: &'a [u8],
}

/// What a slot holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    /// A whole frame.
    Frame {
        /// From the Ethernet header to the end, without the outermost VLAN tag.
        octets: &'a [u8],
        /// What is left to do.
        offload: Offload,
        /// The outermost VLAN tag.
        tag: Option<Tag>,
    },
    /// The beginning of a frame of `len` octets that waits whole on the socket.
    Queued {
        /// Octets without the outermost VLAN tag.
        len: usize,
        /// The outermost VLAN tag.
        tag: Option<Tag>,
    },
    /// The beginning of a frame whose rest is lost: the buffer of the socket was full.
    Cut,
}

impl<'a> Slot<'a> {
    /// Whether the kernel dropped frames since the statistics were last read.
    #[inline]
    pub(super) fn is_losing(&self) -> bool {
        self.status & libc::TP_STATUS_LOSING != 0
    }

    /// What it holds. A header that contradicts itself is [`Content::Cut`].
    #[inline]
    pub(super) fn content(&self) -> Content<'a> {
        let len = self.u32_at(std::mem::offset_of!(tpacket2_hdr, tp_len)) as usize;
        let kept = self.u32_at(std::mem::offset_of!(tpacket2_hdr, tp_snaplen)) as usize;
        let mac = usize::from(self.u16_at(std::mem::offset_of!(tpacket2_hdr, tp_mac)));
        let tag = if self.status & libc::TP_STATUS_VLAN_VALID == 0 {
            None
        } else {
            let tci = self.u16_at(std::mem::offset_of!(tpacket2_hdr, tp_vlan_tci));
            let tpid = match self.status & libc::TP_STATUS_VLAN_TPID_VALID {
                0 => 0x8100,
                _ => self.u16_at(std::mem::offset_of!(tpacket2_hdr, tp_vlan_tpid)),
            };
            // The kernel takes out tags of these two kinds only (eth_type_vlan in include/linux/if_vlan.h).
            let Some(tpid) = Tpid::from_ether_type(tpid) else { return Content::Cut };
            Some(Tag { tpid, tci })
        };
        if self.status & libc::TP_STATUS_COPY != 0 {
            return Content::Queued { len, tag };
        }
        // The virtio_net_hdr ends where the frame begins; offsets count from the start of the slot.
        let start = mac.wrapping_sub(STATUS_LEN);
        let header = mac.checked_sub(STATUS_LEN + Offload::LEN).and_then(|at| self.octets.get(at..)?.first_chunk());
        let octets = self.octets.get(start..).and_then(|rest| rest.get(..kept));
        match (header, octets) {
            (Some(header), Some(octets)) if kept == len => Content::Frame { octets, offload: Offload::from_bytes(header), tag },
            _ => Content::Cut,
        }
    }

    /// A field at an offset from the start of the slot, in the byte order of the host.
    #[inline]
    fn u32_at(&self, offset: usize) -> u32 {
        let at = offset - STATUS_LEN;
        u32::from_ne_bytes([self.octets[at], self.octets[at + 1], self.octets[at + 2], self.octets[at + 3]])
    }

    #[inline]
    fn u16_at(&self, offset: usize) -> u16 {
        let at = offset - STATUS_LEN;
        u16::from_ne_bytes([self.octets[at], self.octets[at + 1]])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::{Layout, alloc_zeroed, dealloc};

    fn layout(len: usize) -> Layout {
        Layout::from_size_align(len, 4096).unwrap()
    }

    /// A ring over plain memory; the test plays the kernel.
    fn fake(slots: usize) -> Ring {
        // SAFETY: the size is not zero.
        let base = NonNull::new(unsafe { alloc_zeroed(layout(slots * SLOT_SIZE)) }).unwrap();
        let release_memory = |base: NonNull<u8>, len| {
            // SAFETY: allocated above with the same layout.
            unsafe { dealloc(base.as_ptr(), layout(len)) };
        };
        Ring { base, slots, release_memory }
    }

    /// Plays the kernel: writes `octets` from the second word on, then hands the slot over.
    fn fill(ring: &mut Ring, index: usize, status: u32, octets: &[u8]) {
        assert!(octets.len() <= SLOT_SIZE - STATUS_LEN);
        // SAFETY: in the slot; the ring is borrowed exclusively, so nobody reads.
        let to = unsafe { ring.at(index).add(STATUS_LEN) };
        // SAFETY: the length was checked, and the memories are different.
        unsafe { std::ptr::copy_nonoverlapping(octets.as_ptr(), to.as_ptr(), octets.len()) };
        ring.status(index).store(status, Ordering::Release);
    }

    /// What the kernel writes behind the status word for a frame at offset `mac`.
    fn header(len: u32, kept: u32, mac: u16, tci: u16, tpid: u16) -> Vec<u8> {
        let mut octets = vec![0; SLOT_SIZE - STATUS_LEN];
        octets[0..4].copy_from_slice(&len.to_ne_bytes());
        octets[4..8].copy_from_slice(&kept.to_ne_bytes());
        octets[8..10].copy_from_slice(&mac.to_ne_bytes());
        octets[20..22].copy_from_slice(&tci.to_ne_bytes());
        octets[22..24].copy_from_slice(&tpid.to_ne_bytes());
        octets
    }

    #[test]
    fn a_frame_with_header_and_tag_is_read_in_place() {
        let mut ring = fake(2);
        assert!(ring.slot(0).is_none());
        let mut octets = header(60, 60, 76, 0x6064, 0x88a8);
        let offload = Offload { flags: 1, csum_start: 34, csum_offset: 16, ..Offload::NONE };
        octets[76 - 14..76 - 4].copy_from_slice(&offload.to_bytes()[..10]);
        octets[76 - 4..76 - 4 + 60].fill(9);
        fill(&mut ring, 1, libc::TP_STATUS_USER | libc::TP_STATUS_VLAN_VALID | libc::TP_STATUS_VLAN_TPID_VALID, &octets);
        assert!(ring.slot(0).is_none());
        let content = ring.slot(1).unwrap().content();
        assert_eq!(content, Content::Frame { octets: &[9; 60], offload, tag: Some(Tag { tpid: Tpid::Dot1Ad, tci: 0x6064 }) });
        ring.release(1);
        assert!(ring.slot(1).is_none());
    }

    #[test]
    fn long_frames_are_queued_or_cut() {
        let mut ring = fake(1);
        fill(&mut ring, 0, libc::TP_STATUS_USER | libc::TP_STATUS_COPY, &header(30_000, 1970, 76, 0, 0));
        assert_eq!(ring.slot(0).unwrap().content(), Content::Queued { len: 30_000, tag: None });
        fill(&mut ring, 0, libc::TP_STATUS_USER | libc::TP_STATUS_LOSING, &header(30_000, 1970, 76, 0, 0));
        let slot = ring.slot(0).unwrap();
        assert_eq!((slot.content(), slot.is_losing()), (Content::Cut, true));
    }

    #[test]
    fn the_last_octet_of_the_slot_is_reachable_and_the_next_is_not() {
        let mut ring = fake(2);
        let room = SLOT_SIZE as u32 - 76;
        fill(&mut ring, 0, libc::TP_STATUS_USER, &header(room, room, 76, 0, 0));
        assert!(matches!(ring.slot(0).unwrap().content(), Content::Frame { octets, .. } if octets.len() == room as usize));
        fill(&mut ring, 0, libc::TP_STATUS_USER, &header(room + 1, room + 1, 76, 0, 0));
        assert_eq!(ring.slot(0).unwrap().content(), Content::Cut);
    }

    #[test]
    fn no_slot_header_leads_out_of_the_slot() {
        let mut ring = fake(3);
        let interesting = [0, 1, 4, 10, 13, 14, 15, 32, 75, 76, 1972, 2044, 2047, 2048, 2049, 0xffff];
        for mac in interesting {
            for kept in interesting.iter().map(|n| u32::from(*n)).chain([0x7fff_ffff, u32::MAX]) {
                for len in [kept, kept.wrapping_add(1), 0, u32::MAX] {
                    for status in [1, 1 | libc::TP_STATUS_COPY, 1 | libc::TP_STATUS_VLAN_VALID, u32::MAX] {
                        fill(&mut ring, 1, status, &header(len, kept, mac, 0xffff, 0xffff));
                        if let Content::Frame { octets, .. } = ring.slot(1).unwrap().content() {
                            assert_eq!(octets.len(), len as usize);
                            assert!(usize::from(mac) + octets.len() <= SLOT_SIZE && mac >= 14);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn random_slots_are_read_without_panic() {
        let mut ring = fake(1);
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..20_000 {
            let mut octets = [0u8; 64];
            for octet in &mut octets {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                *octet = state as u8;
            }
            fill(&mut ring, 0, state as u32 | 1, &octets);
            let _ = ring.slot(0).unwrap().content();
        }
    }
}
