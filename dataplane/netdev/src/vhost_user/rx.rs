//! Receives from the transmit ring of a VM.
//!
//! The head of each frame is copied; the rest stays in the VM's buffers, which the VM gets back when the burst is released.
//! From the first frame of a burst until then the lock of the ring is held, so the memory cannot be unmapped meanwhile.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use dataplane::burst::{BURST_MAX, Burst, FRAME_MAX};
use dataplane::device::{RxError, RxQueue};
use dataplane::drop_reason::DropReason;
use dataplane::frame::{Body, HEAD_MAX};
use wire::{Offload, virtio_net};

use super::device::Device;
use super::memory::{Octets, copy_from};
use super::ring::{Chains, Fault, Ring};
use super::service::Service;

/// A receive queue of the switch.
pub(super) struct VhostRx {
    device: Arc<Device>,
    /// Keeps the port open.
    _service: Arc<Service>,
    /// Which pair of rings.
    pair: usize,
    chains: Chains,
    /// The lock of the ring is ours until the burst is released.
    held: bool,
}

impl VhostRx {
    pub(super) fn new(device: Arc<Device>, service: Arc<Service>, pair: usize) -> VhostRx {
        VhostRx { device, _service: service, pair, chains: Chains::new(), held: false }
    }
}

/// Adds frames that wait in `ring` to `burst`; they stay in the ring until [`give_back`].
pub(super) fn take<'a>(ring: &mut Ring, chains: &'a mut Chains, burst: &mut Burst<'a>) -> Result<(), Fault> {
    chains.clear();
    let waiting = ring.available()?;
    if waiting == 0 {
        return Ok(());
    }
    if ring.notify() {
        ring.refuse_signals();
    }
    let room = BURST_MAX - burst.len();
    // A fault behind good chains is met again in the next burst, when they have been given back.
    let gathered = ring.gather(0, waiting.min(room as u16), chains);
    if chains.all().is_empty() {
        return gathered;
    }
    let header_len = ring.features().header_len;
    let chains: &'a Chains = chains;
    for chain in chains.all() {
        let Some(len) = (chain.len as usize).checked_sub(header_len).filter(|_| !chain.bad) else {
            burst.lost(DropReason::RxBadDescriptor, 1);
            continue;
        };
        let whole = chains.whole(chain);
        if len <= HEAD_MAX && !whole.is_empty() {
            burst.push_filled(header_len, len, Body::EMPTY, |memory| {
                copy_from(&whole[..memory.len()], memory);
                offload(memory)
            });
        } else if len > FRAME_MAX {
            burst.lost(DropReason::RxTruncated, 1);
        } else {
            push_long(chains.runs(chain), header_len, len, burst);
        }
    }
    Ok(())
}

/// Adds a frame in several runs or of which a part stays where it is.
#[inline(never)]
fn push_long<'a>(runs: &'a [Octets<'a>], header_len: usize, len: usize, burst: &mut Burst<'a>) {
    let head_len = len.min(HEAD_MAX);
    let body = if len == head_len { Body::EMPTY } else { Body::from_shared(runs, header_len + head_len, len - head_len) };
    burst.push_filled(header_len, head_len, body, |memory| {
        copy_runs(runs, memory);
        offload(memory)
    });
}

/// What the header in our memory says.
#[inline(always)]
fn offload(memory: &[u8]) -> Offload {
    let header = memory.first_chunk().map_or(Offload::NONE, Offload::from_bytes);
    // What a VM says of a checksum it has verified is not to be trusted (VIRTIO_NET_HDR_F_DATA_VALID).
    Offload { flags: header.flags & virtio_net::FLAG_NEEDS_CSUM, ..header }
}

/// Gives the chains of a burst back to the VM.
pub(super) fn give_back(ring: &mut Ring, chains: &mut Chains) {
    let count = chains.all().len() as u16;
    for (n, chain) in (0..count).zip(chains.all()) {
        // Nothing was written into it.
        ring.put_used(n, chain.id, 0);
    }
    chains.clear();
    ring.publish(count);
}

/// Fills `into` from the beginning of octets in several runs.
fn copy_runs(runs: &[Octets<'_>], into: &mut [u8]) {
    let mut rest = into;
    for run in runs {
        let len = run.len().min(rest.len());
        let (now, later) = std::mem::take(&mut rest).split_at_mut(len);
        copy_from(&run[..len], now);
        rest = later;
    }
}

impl RxQueue for VhostRx {
    #[inline]
    fn receive<'a>(&'a mut self, burst: &mut Burst<'a>) -> Result<(), RxError> {
        self.release();
        let slot = self.device.rx_slot(self.pair);
        let Ok(mut entered) = slot.enter() else { return Ok(()) };
        match take(entered.ring(), &mut self.chains, burst) {
            Ok(()) => {
                entered.keep();
                self.held = true;
            }
            Err(fault) => self.device.fail(slot, fault),
        }
        Ok(())
    }

    #[inline]
    fn release(&mut self) {
        if !self.held {
            return;
        }
        self.held = false;
        let slot = self.device.rx_slot(self.pair);
        // SAFETY: `receive` kept the lock, and this is the only reference to the ring.
        let ring = unsafe { slot.kept() };
        give_back(ring, &mut self.chains);
        slot.leave();
    }

    fn prepare_sleep(&mut self) -> bool {
        let slot = self.device.rx_slot(self.pair);
        // Whoever changes the ring wakes us when it is done.
        let Ok(mut entered) = slot.enter() else { return true };
        let ring = entered.ring();
        ring.ask_for_signals();
        // A fault is found by the next turn.
        matches!(ring.available(), Ok(0)) && ring.can_wake
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.device.wakeup(self.pair).fd())
    }

    fn is_cheap_to_poll(&self) -> bool {
        true
    }
}

impl Drop for VhostRx {
    fn drop(&mut self) {
        self.release();
    }
}
