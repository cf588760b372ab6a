//! Receives from the ring of one socket.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use dataplane::burst::{Burst, Received};
use dataplane::device::{RxError, RxQueue};
use dataplane::drop_reason::DropReason;
use rustix::io::Errno;

use super::ring::{Content, Ring};
use crate::sys::{self, PacketStatistics};
use crate::vectored::{ReadError, read_frame};

/// Empty looks at the ring between two questions to the kernel whether the link is still there. A question costs as much as
/// some fifty looks. A worker that sleeps looks seldom, so whoever wants to know at once watches the link
/// ([`LinkWatch`](crate::LinkWatch)).
const LOOKS: u32 = 64;

/// A receive queue: a socket and its ring.
///
/// Slots `next - taken .. next` (modulo the ring) are ours and lent to a burst; they go back with the next
/// [`RxQueue::release`] or [`RxQueue::receive`].
pub(super) struct PacketRx {
    // Before `socket`: fields are dropped in order, and the mapping needs no descriptor.
    ring: Ring,
    socket: OwnedFd,
    /// The slot the kernel fills next, as far as we have seen.
    next: usize,
    /// Slots before `next` that are still ours.
    taken: usize,
    /// Slots taken since the ring was last seen empty.
    since_empty: usize,
    /// Times the ring was seen empty since the kernel was last asked about the link.
    looks: u32,
    /// The kernel said the link is down, and nothing arrived since.
    link_down: bool,
}

impl PacketRx {
    pub(super) fn new(socket: OwnedFd, ring: Ring) -> PacketRx {
        PacketRx { ring, socket, next: 0, taken: 0, since_empty: 0, looks: 0, link_down: false }
    }

    fn give_back(&mut self) {
        let slots = self.ring.slots();
        let first = self.next + slots - self.taken;
        (first..first + self.taken).for_each(|index| self.ring.release(index % slots));
        self.taken = 0;
    }

    /// Asks the kernel why nothing arrives.
    #[cold]
    fn ask(&mut self) -> Result<(), RxError> {
        self.looks = 0;
        let fd = self.socket.as_fd();
        match sys::get_option::<i32>(fd, libc::SOL_SOCKET, libc::SO_ERROR) {
            Ok(0) => {}
            Ok(libc::ENETDOWN) => self.link_down = true,
            Ok(errno) => return Err(RxError::Other(errno)),
            Err(error) => return Err(RxError::Other(error.raw_os_error().unwrap_or(0))),
        }
        // An interface that is removed while its link is down reports no error: only the address of the socket tells
        // (packet_notifier in net/packet/af_packet.c).
        match sys::bound_interface(fd) {
            Ok(None) => Err(RxError::Gone),
            _ if self.link_down => Err(RxError::LinkDown),
            _ => Ok(()),
        }
    }
}

/// Frames that the kernel dropped since this was last asked.
#[cold]
fn drops(socket: BorrowedFd<'_>) -> u64 {
    sys::get_option::<PacketStatistics>(socket, libc::SOL_PACKET, libc::PACKET_STATISTICS).map_or(0, |s| u64::from(s.drops))
}

impl RxQueue for PacketRx {
    fn receive<'a>(&'a mut self, burst: &mut Burst<'a>) -> Result<(), RxError> {
        self.give_back();
        if self.looks >= LOOKS && self.ring.slot(self.next).is_none() {
            // Before anything is borrowed for the burst.
            self.ask()?;
        }
        let PacketRx { ring, socket, next, taken, since_empty, looks, link_down } = self;
        let ring = &*ring;
        let (mut losing, mut empty) = (false, false);
        // With every slot of a small ring taken, the next one would be the first again.
        while !burst.is_full() && *taken < ring.slots() {
            let Some(slot) = ring.slot(*next) else {
                empty = true;
                break;
            };
            *next = (*next + 1) % ring.slots();
            *taken += 1;
            losing |= slot.is_losing();
            match slot.content() {
                Content::Frame { octets, offload, tag } => burst.push_borrowed(octets, offload, tag),
                Content::Cut => burst.lost(DropReason::RxTruncated, 1),
                Content::Queued { len, tag } => {
                    let read = |memory: &mut [u8]| {
                        let fd = socket.as_fd();
                        let frame = match read_frame::<true>(fd, memory) {
                            // An error that waits on the socket is reported once, in the place of a frame.
                            Err(ReadError::Errno(Errno::NETDOWN)) => read_frame::<true>(fd, memory)?,
                            read => read?,
                        };
                        match frame {
                            Some((_, frame)) if frame.len != len => Err(ReadError::Cut),
                            Some((start, frame)) => Ok(Some((start, Received { tag, ..frame }))),
                            None => Ok(None),
                        }
                    };
                    match burst.read_whole(read) {
                        Ok(true) => {}
                        // Queued before its slot was handed over, so it is there, or the kernel lost it.
                        Ok(false) | Err(ReadError::Cut) => burst.lost(DropReason::RxTruncated, 1),
                        // The kernel could not describe the frame in a virtio_net_hdr (virtio_net_hdr_from_skb).
                        Err(ReadError::Errno(Errno::INVAL)) => burst.lost(DropReason::RxBadOffload, 1),
                        Err(ReadError::Errno(_)) => burst.lost(DropReason::RxTruncated, 1),
                    }
                }
            }
        }
        if *taken > 0 {
            *since_empty += *taken;
            *looks = 0;
            *link_down = false;
        }
        if empty {
            // Frames that were dropped at the end of a rush are followed by none that says so. There was a rush if more
            // slots were full than half of the ring has.
            losing |= *since_empty > ring.slots() / 2;
            *since_empty = 0;
            *looks += 1;
        }
        if losing {
            let drops = drops(socket.as_fd());
            if drops > 0 {
                burst.lost(DropReason::RxRingFull, drops);
            }
        }
        Ok(())
    }

    fn release(&mut self) {
        self.give_back();
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn is_cheap_to_poll(&self) -> bool {
        true
    }
}
