//! Receives what the backend sends to the virtual machine.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use dataplane::burst::{Burst, FRAME_MAX, Received};
use dataplane::device::{RxError, RxQueue};
use dataplane::drop_reason::DropReason;
use dataplane::frame::HEAD_MAX;
use vmm_sys_util::eventfd::EventFd;
use wire::Offload;

use super::ring::{Broken, DriverRing, WRITE};

/// The buffers of a receiveq, one for each descriptor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffers {
    /// Where the first one is.
    pub(super) start: usize,
    /// Octets of each.
    pub(super) len: usize,
}

impl Buffers {
    #[inline]
    fn of(&self, descriptor: u16) -> usize {
        self.start + self.len * usize::from(descriptor)
    }
}

/// The driver of one receiveq.
pub(super) struct FrontendRx {
    ring: DriverRing,
    buffers: Buffers,
    /// A frame may take several buffers (`VIRTIO_NET_F_MRG_RXBUF`).
    mergeable: bool,
    busy_poll: bool,
    call: Arc<EventFd>,
}

impl FrontendRx {
    pub(super) fn new(ring: DriverRing, buffers: Buffers, mergeable: bool, busy_poll: bool, call: Arc<EventFd>) -> FrontendRx {
        let mut rx = FrontendRx { ring, buffers, mergeable, busy_poll, call };
        for descriptor in 0..rx.ring.size() {
            rx.ring.describe(descriptor, buffers.of(descriptor), buffers.len as u32, WRITE, 0);
            rx.ring.push(descriptor);
        }
        rx.ring.publish();
        if busy_poll {
            rx.ring.suppress_interrupts();
        } else {
            rx.ring.allow_interrupts();
        }
        rx
    }

    /// Moves frames until there is none or the burst is full.
    fn take(&mut self, burst: &mut Burst<'_>) -> Result<(), Broken> {
        let mut pending = self.ring.pending()?;
        while pending > 0 && !burst.is_full() {
            let entries = self.take_frame(burst, pending)?;
            for entry in 0..entries {
                let (descriptor, _) = self.ring.peek(entry);
                self.ring.push(descriptor as u16);
            }
            self.ring.advance(entries);
            pending -= entries;
        }
        Ok(())
    }

    /// The descriptor of a pending entry and the octets in its buffer.
    #[inline]
    fn entry(&self, ahead: u16) -> Result<(u16, usize), Broken> {
        let (descriptor, len) = self.ring.peek(ahead);
        let (descriptor, len) = (u16::try_from(descriptor).map_err(|_| Broken)?, len as usize);
        if descriptor >= self.ring.size() || len > self.buffers.len { Err(Broken) } else { Ok((descriptor, len)) }
    }

    /// Copies the next frame out and says how many entries it took.
    #[inline]
    fn take_frame(&self, burst: &mut Burst<'_>, pending: u16) -> Result<u16, Broken> {
        let (first, first_len) = self.entry(0)?;
        let mut header = [0; Offload::LEN_V1];
        if first_len < header.len() {
            return Err(Broken);
        }
        let memory = &self.ring.memory;
        let at = self.buffers.of(first);
        memory.read(at, &mut header);
        let buffers = if self.mergeable { u16::from_le_bytes([header[10], header[11]]) } else { 1 };
        // The device has to publish all buffers of a frame at once (virtio 1.2 clause 5.1.6.4).
        if buffers == 0 || buffers > pending {
            return Err(Broken);
        }
        let mut len = first_len - header.len();
        for ahead in 1..buffers {
            len += self.entry(ahead)?.1;
        }
        if len > FRAME_MAX {
            burst.lost(DropReason::RxTruncated, 1);
            return Ok(buffers);
        }
        burst.read_with(|head, body| {
            let head_len = len.min(HEAD_MAX);
            let mut out = Scatter { head: &mut head[..head_len], body: &mut body[..len - head_len] };
            out.fill(first_len - header.len(), |offset, part| memory.read(at + header.len() + offset, part));
            for ahead in 1..buffers {
                // Looked at again, and the other side may have changed it: never more than there is room for.
                let (descriptor, len) = self.entry(ahead)?;
                out.fill(len, |offset, part| memory.read(self.buffers.of(descriptor) + offset, part));
            }
            let [header @ .., _, _] = header;
            Ok(Some(Received { len, offload: Offload::from_bytes(&header), tag: None }))
        })?;
        Ok(buffers)
    }
}

/// The room of one frame that is not filled yet.
struct Scatter<'m> {
    head: &'m mut [u8],
    body: &'m mut [u8],
}

impl Scatter<'_> {
    /// Fills up to `len` octets with `read(offset, part)`.
    #[inline]
    fn fill(&mut self, len: usize, read: impl Fn(usize, &mut [u8])) {
        let in_head = len.min(self.head.len());
        let (part, rest) = std::mem::take(&mut self.head).split_at_mut(in_head);
        read(0, part);
        self.head = rest;
        let in_body = (len - in_head).min(self.body.len());
        if in_body > 0 {
            let (part, rest) = std::mem::take(&mut self.body).split_at_mut(in_body);
            read(in_head, part);
            self.body = rest;
        }
    }
}

impl RxQueue for FrontendRx {
    fn receive<'a>(&'a mut self, burst: &mut Burst<'a>) -> Result<(), RxError> {
        loop {
            let taken = self.take(burst);
            self.ring.publish();
            taken.map_err(|Broken| RxError::Gone)?;
            if self.busy_poll {
                self.ring.suppress_interrupts();
                return Ok(());
            }
            if burst.is_full() {
                return Ok(());
            }
            self.ring.allow_interrupts();
            if self.ring.pending() == Ok(0) {
                return Ok(());
            }
        }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        // SAFETY: the event descriptor is open as long as `self` holds it.
        Some(unsafe { BorrowedFd::borrow_raw(self.call.as_raw_fd()) })
    }

    fn is_cheap_to_poll(&self) -> bool {
        true
    }
}
