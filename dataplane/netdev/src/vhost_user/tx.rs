//! Transmits into the receive ring of a VM: the one copy of the payload, from where it arrived.
//!
//! A worker has its ring as long as there are enough; otherwise workers share, and one waits for the burst of the other.

use std::sync::Arc;

use dataplane::BURST_MAX;
use dataplane::device::{Capabilities, TxQueue, TxReport};
use dataplane::drop_reason::DropReason;
use dataplane::frame::{Frame, Piece};
use wire::{Offload, virtio_net};

use super::device::Device;
use super::lock::Busy;
use super::memory::{Octets, copy_between, copy_to};
use super::ring::{Chains, Fault, Ring, RingFeatures};
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
    let features = *ring.features();
    let valid = if features.capabilities.checksum { virtio_net::FLAG_DATA_VALID } else { 0 };
    let mut delivery = Delivery { ring, chains, features, valid, waiting: 0, used: 0, next: 0, packets: 0, octets: 0 };
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
    features: RingFeatures,
    /// `VIRTIO_NET_HDR_F_DATA_VALID` where the driver may be told so.
    valid: u8,
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
        let mut done = 0;
        while let Some(rest) = picks.get(done..).filter(|rest| !rest.is_empty()) {
            done += self.plain(frames, rest);
            let Some(pick) = picks.get(done) else { break };
            let frame = &frames[usize::from(*pick)];
            match self.any(frame) {
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
            done += 1;
        }
        Ok(())
    }

    /// Copies frames as long as each is complete and fits the next buffer, which is in one run. Returns their number.
    #[inline(always)]
    fn plain(&mut self, frames: &[Frame<'_>], picks: &[u8]) -> usize {
        if self.features.header_len != Offload::LEN_V1 {
            return 0;
        }
        let mut octets = 0;
        let mut count = 0;
        let chains = self.chains.all().get(self.next..).unwrap_or_default();
        for (pick, chain) in picks.iter().zip(chains) {
            let frame = &frames[usize::from(*pick)];
            let (head, body_len, offload) = (frame.head(), frame.body().len(), frame.offload());
            let len = Offload::LEN_V1 + head.len() + body_len;
            let Some(to) = self.chains.whole(chain).get(..len).filter(|_| offload.is_complete()) else { break };
            let (header, to) = to.split_at(Offload::LEN_V1);
            copy_to(&header_of(Offload { flags: offload.flags & self.valid, ..Offload::NONE }, 1), header);
            let (to_head, to_body) = to.split_at(head.len());
            copy_to(head, to_head);
            if body_len > 0 {
                put_body(frame, to_body);
            }
            self.ring.put_used(self.used + count, chain.id, len as u32);
            count += 1;
            octets += len - Offload::LEN_V1;
        }
        self.used += count;
        self.next += usize::from(count);
        self.packets += u64::from(count);
        self.octets += octets as u64;
        usize::from(count)
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

    /// Any frame into any buffers.
    #[inline(never)]
    fn any(&mut self, frame: &Frame<'_>) -> Result<(), Refused> {
        let mut offload = frame.wire_offload();
        // The driver may have changed since the worker asked what it can do.
        if !offload.is_complete() && !self.features.capabilities.cover(&offload) {
            return Err(Refused::Frame(DropReason::TxLinkDown));
        }
        offload.flags &= virtio_net::FLAG_NEEDS_CSUM | self.valid;
        if self.next == self.chains.all().len() {
            self.chains.clear();
            self.next = 0;
        }
        let len = self.features.header_len + frame.wire_len();
        let (mut end, mut room) = (self.next, 0);
        while room < len {
            if end == self.chains.all().len() {
                self.gather(BURST_MAX as u16).map_err(Refused::Ring)?;
            }
            let Some(chain) = self.chains.all().get(end) else {
                return Err(Refused::Frame(DropReason::TxQueueFull));
            };
            if chain.bad || chain.len == 0 {
                // The VM gets it back, and those in front of it, unused.
                for i in self.next..=end {
                    let id = self.chains.all()[i].id;
                    self.put_used(id, 0);
                }
                return Err(Refused::Frame(DropReason::TxBadDescriptor));
            }
            room += chain.len as usize;
            end += 1;
            if !self.features.mergeable && room < len {
                return Err(Refused::Frame(DropReason::TxBufferTooSmall));
            }
        }
        let header = header_of(offload, (end - self.next) as u16);
        let mut gaps = Gaps::new(self.chains, self.next);
        gaps.put(Piece::Private(&header[..self.features.header_len]));
        gaps.put(Piece::Private(frame.head()));
        frame.body().pieces().for_each(|piece| gaps.put(piece));
        let mut left = len;
        for i in self.next..end {
            let chain = self.chains.all()[i];
            let written = left.min(chain.len as usize);
            self.put_used(chain.id, written);
            left -= written;
        }
        Ok(())
    }

    /// The next gathered chain goes back to the VM with `len` octets.
    #[inline(always)]
    fn put_used(&mut self, id: u16, len: usize) {
        self.ring.put_used(self.used, id, len as u32);
        self.used += 1;
        self.next += 1;
    }
}

/// `struct virtio_net_hdr_v1` (virtio 1.2 clause 5.1.6).
#[inline(always)]
fn header_of(offload: Offload, buffers: u16) -> [u8; Offload::LEN_V1] {
    let mut header = offload.to_bytes();
    header[Offload::LEN..].copy_from_slice(&buffers.to_le_bytes());
    header
}

/// Copies the body of a frame to octets that are as long.
#[inline(never)]
fn put_body(frame: &Frame<'_>, mut to: Octets<'_>) {
    for piece in frame.body().pieces() {
        let (now, later) = to.split_at(piece.len());
        copy_piece(piece, now);
        to = later;
    }
}

#[inline(always)]
fn copy_piece(piece: Piece<'_>, to: Octets<'_>) {
    match piece {
        Piece::Private(octets) => copy_to(octets, to),
        Piece::Shared(octets) => copy_between(octets, to),
    }
}

/// The octets of chains, to be filled one after the other.
struct Gaps<'g> {
    chains: &'g Chains,
    /// The chain whose runs are being filled.
    chain: usize,
    /// The run of it.
    run: usize,
    /// Octets of the run that are filled already.
    filled: usize,
}

impl<'g> Gaps<'g> {
    fn new(chains: &'g Chains, chain: usize) -> Gaps<'g> {
        Gaps { chains, chain, run: 0, filled: 0 }
    }

    /// Fills the next octets; there are as many as the caller counted before.
    fn put(&mut self, piece: Piece<'_>) {
        let mut piece = piece;
        while !piece.is_empty() {
            let Some(chain) = self.chains.all().get(self.chain) else { return };
            let Some(run) = self.chains.runs(chain).get(self.run) else {
                (self.chain, self.run) = (self.chain + 1, 0);
                continue;
            };
            let gap = &run[self.filled..];
            let (now, later) = piece.split_at(gap.len().min(piece.len()));
            copy_piece(now, &gap[..now.len()]);
            piece = later;
            self.filled += now.len();
            if self.filled == run.len() {
                (self.run, self.filled) = (self.run + 1, 0);
            }
        }
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
