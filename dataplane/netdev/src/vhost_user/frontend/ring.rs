//! The driver's side of a split virtqueue (virtio 1.2 clause 2.7).

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;

use vmm_sys_util::eventfd::EventFd;

use super::memory::SharedMemory;

/// The buffer goes on in the descriptor `next` (`VIRTQ_DESC_F_NEXT`).
pub(super) const NEXT: u16 = 1;
/// The device writes to the buffer (`VIRTQ_DESC_F_WRITE`).
pub(super) const WRITE: u16 = 2;
/// The buffer is a table of descriptors (`VIRTQ_DESC_F_INDIRECT`).
pub(super) const INDIRECT: u16 = 4;

/// The device asks not to be notified (`VIRTQ_USED_F_NO_NOTIFY`).
const NO_NOTIFY: u16 = 1;
/// The driver asks not to be interrupted (`VIRTQ_AVAIL_F_NO_INTERRUPT`).
const NO_INTERRUPT: u16 = 1;

/// Where the three parts of a ring lie in the memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Number of descriptors, a power of two.
    pub(super) size: u16,
    /// The descriptor table.
    pub(super) desc: usize,
    /// The ring of buffers for the device.
    pub(super) avail: usize,
    /// The ring of buffers the device is done with.
    pub(super) used: usize,
}

impl Layout {
    /// A ring whose parts follow each other from `start` on, each in cache lines of its own.
    pub(super) fn at(start: usize, size: u16) -> Layout {
        let entries = usize::from(size);
        let avail = start + 16 * entries;
        let used = (avail + 6 + 2 * entries).next_multiple_of(64);
        Layout { size, desc: start, avail, used }
    }

    /// The first octet behind the ring.
    pub(super) fn end(&self) -> usize {
        (self.used + 6 + 8 * usize::from(self.size)).next_multiple_of(64)
    }

    fn used_event(&self) -> usize {
        self.avail + 4 + 2 * usize::from(self.size)
    }

    fn avail_event(&self) -> usize {
        self.used + 4 + 8 * usize::from(self.size)
    }
}

/// The device broke the protocol; the ring cannot be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// One ring. The descriptor table is left to the queue that owns the ring.
pub(super) struct DriverRing {
    pub(super) memory: Arc<SharedMemory>,
    layout: Layout,
    event_idx: bool,
    /// Index of the next entry we write.
    avail: u16,
    /// What the device knows of it.
    published: u16,
    /// Index of the next entry we read.
    used: u16,
    kick: Arc<EventFd>,
}

impl DriverRing {
    pub(super) fn new(memory: Arc<SharedMemory>, layout: Layout, event_idx: bool, kick: Arc<EventFd>) -> DriverRing {
        DriverRing { memory, layout, event_idx, avail: 0, published: 0, used: 0, kick }
    }

    pub(super) fn size(&self) -> u16 {
        self.layout.size
    }

    /// Writes the descriptor `index`; `address` counts from the start of the memory, which is guest address 0.
    #[inline]
    pub(super) fn describe(&self, index: u16, address: usize, len: u32, flags: u16, next: u16) {
        self.describe_at(self.layout.desc + 16 * usize::from(index), address, len, flags, next);
    }

    /// Writes a descriptor at an offset, as into an indirect table.
    #[inline]
    pub(super) fn describe_at(&self, offset: usize, address: usize, len: u32, flags: u16, next: u16) {
        self.memory.u64(offset).store(address as u64, Relaxed);
        let rest = u64::from(len) | u64::from(flags) << 32 | u64::from(next) << 48;
        self.memory.u64(offset + 8).store(rest, Relaxed);
    }

    /// Adds a chain; the device sees it after [`DriverRing::publish`].
    #[inline]
    pub(super) fn push(&mut self, head: u16) {
        let slot = usize::from(self.avail & (self.layout.size - 1));
        self.memory.u16(self.layout.avail + 4 + 2 * slot).store(head, Relaxed);
        self.avail = self.avail.wrapping_add(1);
    }

    /// Shows the device what was pushed and notifies it where it asks for that.
    #[inline]
    pub(super) fn publish(&mut self) {
        if self.avail == self.published {
            return;
        }
        self.memory.u16(self.layout.avail + 2).store(self.avail, Release);
        // The device stores its wish and then looks at the index; we do it the other way round.
        fence(SeqCst);
        let wanted = if self.event_idx {
            let event = self.memory.u16(self.layout.avail_event()).load(Relaxed);
            // vring_need_event(): the index passed `event` since we last published.
            self.avail.wrapping_sub(event).wrapping_sub(1) < self.avail.wrapping_sub(self.published)
        } else {
            self.memory.u16(self.layout.used).load(Relaxed) & NO_NOTIFY == 0
        };
        self.published = self.avail;
        if wanted {
            self.kick();
        }
    }

    /// Notifies the device whether it asks for that or not.
    pub(super) fn kick(&self) {
        // A full counter (EAGAIN) is a notification that is still to be taken.
        let _: io::Result<()> = self.kick.write(1);
    }

    /// How many entries the device has put into the used ring that were not read.
    ///
    /// # Errors
    ///
    /// [`Broken`] when these are more than were ever given to it.
    #[inline]
    pub(super) fn pending(&self) -> Result<u16, Broken> {
        let pending = self.memory.u16(self.layout.used + 2).load(Acquire).wrapping_sub(self.used);
        if pending > self.published.wrapping_sub(self.used) { Err(Broken) } else { Ok(pending) }
    }

    /// The entry `ahead` entries behind the next: descriptor and octets written. Only for those that are pending.
    #[inline]
    pub(super) fn peek(&self, ahead: u16) -> (u32, u32) {
        let slot = usize::from(self.used.wrapping_add(ahead) & (self.layout.size - 1));
        let at = self.layout.used + 4 + 8 * slot;
        (self.memory.u32(at).load(Relaxed), self.memory.u32(at + 4).load(Relaxed))
    }

    /// Goes past entries that were read.
    #[inline]
    pub(super) fn advance(&mut self, entries: u16) {
        self.used = self.used.wrapping_add(entries);
    }

    /// Asks not to be interrupted. With EVENT_IDX that means: not before half of all indexes have passed.
    #[inline]
    pub(super) fn suppress_interrupts(&self) {
        if self.event_idx {
            self.memory.u16(self.layout.used_event()).store(self.used.wrapping_add(0x8000), Relaxed);
        } else {
            self.memory.u16(self.layout.avail).store(NO_INTERRUPT, Relaxed);
        }
    }

    /// Asks to be interrupted at the next entry. Whether one came in between is for the caller to look at afterwards.
    #[inline]
    pub(super) fn allow_interrupts(&self) {
        if self.event_idx {
            self.memory.u16(self.layout.used_event()).store(self.used, Relaxed);
        } else {
            self.memory.u16(self.layout.avail).store(0, Relaxed);
        }
        fence(SeqCst);
    }
}
