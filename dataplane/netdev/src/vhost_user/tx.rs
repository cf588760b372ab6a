//! Transmits into the receive ring of a VM: the one copy of the payload, from where it arrived.
//!
//! A worker has its ring as long as there are enough; otherwise workers share, and one waits for the burst of the other.

use std::sync::Arc;

use dataplane::device::{Capabilities, TxQueue, TxReport};
use dataplane::drop_reason::DropReason;
use dataplane::frame::{Frame, Piece};
use wire::{Offload, virtio_net};

use super::device::Device;
use super::lock::Busy;
use super::memory::{Octets, copy_between, copy_to};
use super::ring::{Chain, Chains, Fault, Ring};
use super::service::Service;
use super::slot::{Entered, Slot};

/// Looks at the lock of a shared ring before the processor is given to another thread: about ten microseconds.
const SPINS: u32 = 200;

/// A transmit queue of one worker.
pub(super) struct VhostTx {
    device: Arc<Device>,
    /// Keeps the port open.
    _service: Arc<Service>,
    worker: usize,
    chains: Chains,
}

impl VhostTx {
    pub(super) fn new(device: Arc<Device>, service: Arc<Service>, worker: usize) -> VhostTx {
        VhostTx { device, _service: service, worker, chains: Chains::new() }
    }
}

/// Takes the lock of a ring, which another worker may have for the time of a burst.
#[inline]
fn enter(slot: &Slot) -> Option<Entered<'_>> {
    let mut spins = 0;
    loop {
        match slot.enter() {
            Ok(entered) => return Some(entered),
            Err(Busy::Changing) => return None,
            Err(Busy::Worker) if spins < SPINS => std::hint::spin_loop(),
            // The other worker may wait for this processor.
            Err(Busy::Worker) => std::thread::yield_now(),
        }
        spins += 1;
    }
}

/// Copies frames into the buffers that `ring` offers, and counts each in `report`.
///
/// # Errors
///
/// A fault of the ring; all frames are counted all the same.
pub(super) fn deliver(
    ring: &mut Ring,
    chains: &mut Chains,
    frames: &[Frame<'_>],
    picks: &[u8],
    report: &TxReport<'_>,
) -> Result<(), Fault> {
    let mut delivery = Delivery { ring, chains, waiting: 0, used: 0, next: 0, packets: 0, octets: 0 };
    let result = delivery.run(frames, picks, report);
    let Delivery { ring, chains, used, packets, octets, .. } = delivery;
    chains.clear();
    ring.publish(used);
    report.sent(packets, octets);
    result
}

struct Delivery<'r> {
    ring: &'r mut Ring,
    chains: &'r mut Chains,
    /// Chains that waited and were not gathered yet.
    waiting: u16,
    /// Chains put into the used ring.
    used: u16,
    /// The next of the gathered chains.
    next: usize,
    packets: u64,
    octets: u64,
}

/// Why a frame was not delivered.
enum Refused {
    /// For a reason of its own.
    Frame(DropReason),
    /// The ring has a fault.
    Ring(Fault),
}

impl Delivery<'_> {
    fn run(&mut self, frames: &[Frame<'_>], picks: &[u8], report: &TxReport<'_>) -> Result<(), Fault> {
        self.chains.clear();
        let started = self.ring.available().and_then(|waiting| {
            self.waiting = waiting;
            self.gather(picks.len() as u16)
        });
        if let Err(fault) = started {
            report.dropped(DropReason::TxLinkDown, picks.len() as u64);
            return Err(fault);
        }
        for (done, pick) in picks.iter().enumerate() {
            let frame = &frames[usize::from(*pick)];
            match self.one(frame) {
                Ok(()) => {
                    self.packets += 1;
                    self.octets += frame.wire_len() as u64;
                }
                Err(Refused::Frame(reason)) => report.dropped(reason, 1),
                Err(Refused::Ring(fault)) => {
                    report.dropped(DropReason::TxLinkDown, (picks.len() - done) as u64);
                    return Err(fault);
                }
            }
        }
        Ok(())
    }

    /// Gathers up to `count` chains more.
    #[inline]
    fn gather(&mut self, count: u16) -> Result<(), Fault> {
        let (count, before) = (count.min(self.waiting), self.chains.all().len());
        let skip = (before - self.next) as u16;
        // Chains up to `next` are in the used ring but not published: the ring counts from the first of the burst.
        self.ring.gather(self.used + skip, count, self.chains)?;
        self.waiting -= (self.chains.all().len() - before) as u16;
        Ok(())
    }

    #[inline]
    fn one(&mut self, frame: &Frame<'_>) -> Result<(), Refused> {
        let features = self.ring.features();
        let (header_len, mergeable) = (features.header_len, features.mergeable);
        let mut offload = frame.wire_offload();
        // The driver may have changed since the worker asked what it can do.
        if !offload.is_complete() && !features.capabilities.cover(&offload) {
            return Err(Refused::Frame(DropReason::TxLinkDown));
        }
        if !features.capabilities.checksum {
            offload.flags &= !virtio_net::FLAG_DATA_VALID;
        }
        if self.next == self.chains.all().len() {
            self.chains.clear();
            self.next = 0;
            self.gather(dataplane::BURST_MAX as u16).map_err(Refused::Ring)?;
        }
        let Some(first) = self.chains.all().get(self.next).copied() else {
            return Err(Refused::Frame(DropReason::TxQueueFull));
        };
        let len = header_len + frame.wire_len();
        let header = header(offload, 1);
        if let [octets] = self.chains.octets(&first, &first)
            && octets.len() >= len
        {
            let (head, body) = octets[..len].split_at(header_len + frame.head().len());
            copy_to(&header[..header_len], &head[..header_len]);
            copy_to(frame.head(), &head[header_len..]);
            if !body.is_empty() {
                Gaps::new(&[body]).put_body(frame);
            }
            self.put_used(&first, len);
            return Ok(());
        }
        self.in_pieces(frame, offload, len, header_len, mergeable)
    }

    /// Into a buffer of several pieces, or several buffers.
    #[inline(never)]
    fn in_pieces(&mut self, frame: &Frame<'_>, offload: Offload, len: usize, header_len: usize, mergeable: bool) -> Result<(), Refused> {
        let (mut end, mut room) = (self.next, 0);
        while room < len {
            if end == self.chains.all().len() {
                self.gather(dataplane::BURST_MAX as u16).map_err(Refused::Ring)?;
            }
            let Some(chain) = self.chains.all().get(end) else {
                return Err(Refused::Frame(DropReason::TxQueueFull));
            };
            if chain.bad || chain.len == 0 {
                // The VM gets it back, and those in front of it, unused.
                for i in self.next..=end {
                    self.put_used(&self.chains.all()[i].clone(), 0);
                }
                return Err(Refused::Frame(DropReason::TxBadDescriptor));
            }
            if !mergeable && (chain.len as usize) < len {
                return Err(Refused::Frame(DropReason::TxBufferTooSmall));
            }
            room += chain.len as usize;
            end += 1;
        }
        let chains = &self.chains.all()[self.next..end];
        let (Some(first), Some(last)) = (chains.first(), chains.last()) else { return Ok(()) };
        let mut gaps = Gaps::new(self.chains.octets(first, last));
        gaps.put(Piece::Private(&header(offload, chains.len() as u16)[..header_len]));
        gaps.put(Piece::Private(frame.head()));
        gaps.put_body(frame);
        let mut left = len;
        for i in self.next..end {
            let chain = self.chains.all()[i];
            let written = left.min(chain.len as usize);
            self.put_used(&chain, written);
            left -= written;
        }
        Ok(())
    }

    /// The next gathered chain goes back to the VM with `len` octets.
    #[inline(always)]
    fn put_used(&mut self, chain: &Chain, len: usize) {
        self.ring.put_used(self.used, chain.id, len as u32);
        self.used += 1;
        self.next += 1;
    }
}

/// `struct virtio_net_hdr_v1` (virtio 1.2 clause 5.1.6).
#[inline(always)]
fn header(offload: Offload, buffers: u16) -> [u8; Offload::LEN_V1] {
    let mut header = offload.to_bytes();
    header[Offload::LEN..].copy_from_slice(&buffers.to_le_bytes());
    header
}

/// Octets to be filled one after the other.
struct Gaps<'g> {
    rest: &'g [Octets<'g>],
    /// Octets of the first that are filled already.
    filled: usize,
}

impl<'g> Gaps<'g> {
    fn new(rest: &'g [Octets<'g>]) -> Gaps<'g> {
        Gaps { rest, filled: 0 }
    }

    /// Fills the next octets; there are as many as the caller counted before.
    fn put(&mut self, piece: Piece<'_>) {
        let mut from = 0;
        while from < piece.len() {
            let Some((gap, rest)) = self.rest.split_first() else { return };
            let gap = &gap[self.filled..];
            let len = gap.len().min(piece.len() - from);
            match piece {
                Piece::Private(octets) => copy_to(&octets[from..from + len], &gap[..len]),
                Piece::Shared(octets) => copy_between(&octets[from..from + len], &gap[..len]),
            }
            from += len;
            self.filled += len;
            if len == gap.len() {
                (self.rest, self.filled) = (rest, 0);
            }
        }
    }

    fn put_body(&mut self, frame: &Frame<'_>) {
        frame.body().pieces().for_each(|piece| self.put(piece));
    }
}

impl TxQueue for VhostTx {
    fn capabilities(&self) -> Capabilities {
        self.device.capabilities()
    }

    #[inline]
    fn transmit(&mut self, frames: &[Frame<'_>], picks: &[u8], report: &TxReport<'_>) {
        let Some((slot, mut entered)) = self.device.tx_slot(self.worker).and_then(|slot| Some((slot, enter(slot)?))) else {
            return report.dropped(DropReason::TxLinkDown, picks.len() as u64);
        };
        if let Err(fault) = deliver(entered.ring(), &mut self.chains, frames, picks, report) {
            self.device.fail(slot, fault);
        }
    }
}
