//! Sends one stream, paced by the clock.
//!
//! Frames are due by the time since the start, so that a pause is made up for and the rate does not drift; but only so many
//! at once ([`BACKLOG_MAX`]): a sender that was kept from its core for long would else offer the switch a burst that nobody
//! asked for. Those frames are counted as missed, which says that the sender was the limit.

use std::time::Duration;

use anyhow::bail;
use dataplane::clock::Nanos;
use dataplane::{BURST_MAX, Body, Burst, BurstMemory, DropReason, HEAD_MAX, PortCounters, TxQueue, TxReport};
use wire::Offload;

use super::endpoint::Endpoint;
use super::frame::Template;
use super::report::Sent;
use super::traffic::{FCS, Load, Rate, Traffic};
use crate::interrupt;

/// The number of the stream of [`announce`], which sinks do not count.
pub(super) const ANNOUNCEMENT: u8 = 255;

/// Frames (or twice the burst, where that is more) that may be due at once before they are missed: what a TAP or a vhost-user
/// queue has room for.
const BACKLOG_MAX: u64 = 512;

/// `0..BURST_MAX`.
const PICKS: [u8; BURST_MAX] = {
    let mut picks = [0; BURST_MAX];
    let mut i = 0;
    while i < BURST_MAX {
        picks[i] = i as u8;
        i += 1;
    }
    picks
};

/// Everything a sender is made from that its burst borrows.
pub(super) struct Parts {
    memory: BurstMemory,
    templates: Vec<Template>,
}

impl Parts {
    pub(super) fn new(traffic: &Traffic, stream: u8) -> Parts {
        let templates = traffic.sizes.as_slice().iter().map(|size| Template::new(traffic, stream, *size)).collect();
        Parts { memory: BurstMemory::new(), templates }
    }
}

/// A sender of one stream.
pub(super) struct Sender<'a> {
    name: &'a str,
    tx: &'a mut dyn TxQueue,
    traffic: &'a Traffic,
    load: Load,
    hold_back: Duration,
    templates: &'a [Template],
    /// One frame after the other, in as many whole cycles of sizes as fit.
    burst: Burst<'a>,
    /// The frame of the burst that is next.
    slot: usize,
    flow: u32,
    sequence: u64,
    /// What [`Sender::poll`] at [`Rate::Max`] waits for after a refusal.
    not_before: Nanos,
    counters: PortCounters,
    sent: Sent,
}

impl<'a> Sender<'a> {
    pub(super) fn new(
        (name, tx, hold_back): (&'a str, &'a mut dyn TxQueue, Duration),
        traffic: &'a Traffic,
        load: Load,
        parts: &'a mut Parts,
    ) -> Sender<'a> {
        let Parts { memory, templates } = parts;
        let mut burst = memory.burst();
        for _ in 0..BURST_MAX / templates.len() {
            for template in templates.iter() {
                let (head, body) = template.octets().split_at(template.octets().len().min(HEAD_MAX));
                burst.push_parts(head, Body::from_slice(body), Offload::NONE);
            }
        }
        Sender {
            name,
            tx,
            traffic,
            load,
            hold_back,
            templates,
            burst,
            slot: 0,
            flow: 0,
            sequence: 0,
            not_before: 0,
            counters: PortCounters::default(),
            sent: Sent::default(),
        }
    }

    /// What became of the frames so far.
    pub(super) fn sent(&self) -> Sent {
        self.sent
    }

    /// Whether all frames of the load were sent.
    pub(super) fn is_done(&self) -> bool {
        self.load.frames.is_some_and(|frames| self.issued() + self.sent.missed >= frames)
    }

    fn issued(&self) -> u64 {
        self.sent.accepted + self.sent.refused
    }

    /// Sends what is due `elapsed` nanoseconds after the start of the stream, at most one burst; says whether anything was.
    /// `is_counted` says whether the frames are of the measured span.
    ///
    /// # Errors
    ///
    /// When a frame is not sent for another reason than a full queue.
    pub(super) fn poll(&mut self, elapsed: Nanos, is_counted: bool, clock: &dyn Fn() -> Nanos) -> anyhow::Result<bool> {
        let mut left = self.load.burst;
        match self.load.rate {
            Rate::Max if elapsed < self.not_before => return Ok(false),
            Rate::Max => {}
            Rate::PerSecond(rate) => {
                let due = (elapsed as f64 * rate / 1e9) as u64;
                let mut backlog = due.saturating_sub(self.issued() + self.sent.missed);
                let most = BACKLOG_MAX.max(2 * left as u64);
                if backlog > most {
                    let left = self.load.frames.map_or(u64::MAX, |frames| frames.saturating_sub(self.issued() + self.sent.missed));
                    self.sent.missed += (backlog - most).min(left);
                    self.sent.offered = self.issued() + self.sent.missed;
                    backlog = most;
                }
                if backlog < left as u64 {
                    return Ok(false);
                }
            }
        }
        if let Some(frames) = self.load.frames {
            left = left.min(frames.saturating_sub(self.issued() + self.sent.missed) as usize);
        }
        let refused = self.sent.refused;
        while left > 0 {
            let count = left.min(self.burst.len() - self.slot);
            self.transmit(count, clock(), is_counted)?;
            left -= count;
        }
        if self.sent.refused > refused {
            self.not_before = elapsed + self.hold_back.as_nanos() as u64;
        }
        Ok(true)
    }

    /// Sends the next `count` frames, which lie in the burst side by side.
    #[inline]
    fn transmit(&mut self, count: usize, now: Nanos, is_counted: bool) -> anyhow::Result<()> {
        let slots = self.slot..self.slot + count;
        for (frame, template) in
            self.burst.frames_mut()[slots.clone()].iter_mut().zip(self.templates.iter().cycle().skip(slots.start % self.templates.len()))
        {
            template.write(frame.head_mut(), self.traffic, self.flow, self.sequence, now);
            self.flow += 1;
            if self.flow == self.traffic.flows {
                self.flow = 0;
                self.sequence += 1;
            }
        }
        self.slot = if slots.end == self.burst.len() { 0 } else { slots.end };
        self.tx.transmit(self.burst.frames(), &PICKS[slots], &TxReport::new(&self.counters));
        let accepted = self.counters.tx_packets.get();
        let refused = self.counters.drops(DropReason::TxQueueFull);
        if is_counted {
            self.sent.accepted_in_span += accepted - self.sent.accepted;
        }
        let lost = count as u64 - (accepted - self.sent.accepted) - (refused - self.sent.refused);
        self.sent.accepted = accepted;
        self.sent.refused = refused;
        self.sent.octets = self.counters.tx_bytes.get() + accepted * FCS as u64;
        self.sent.offered = self.issued() + self.sent.missed;
        if lost > 0 {
            bail!("{}: the generator failed: {lost} frames not sent ({})", self.name, self.reasons());
        }
        Ok(())
    }

    fn reasons(&self) -> String {
        let reasons = DropReason::ALL.iter().filter(|reason| self.counters.drops(**reason) > 0 && **reason != DropReason::TxQueueFull);
        reasons.map(|reason| reason.name()).collect::<Vec<_>>().join(", ")
    }
}

/// Sends one frame of each flow of `traffic`, at `rate` frames per second, trying again those that a full queue refuses: so
/// that a switch learns where the sources of `traffic` are. No sink counts these frames. Gives the rate that was reached.
///
/// # Errors
///
/// When frames cannot be sent, the queue stays full for a second, or the run is interrupted.
pub fn announce(from: &mut Endpoint, traffic: &Traffic, rate: f64) -> anyhow::Result<f64> {
    traffic.check()?;
    // A burst of one: a refusal then is that of the frame just sent, which can be sent again.
    let load = Load { rate: Rate::Max, burst: 1, frames: None };
    let mut parts = Parts::new(traffic, ANNOUNCEMENT);
    let mut sender = Sender::new((&from.name, from.tx.as_mut(), Duration::ZERO), traffic, load, &mut parts);
    let start = std::time::Instant::now();
    let mut flow = 0;
    let mut last = start;
    while flow < traffic.flows {
        let elapsed = start.elapsed();
        if f64::from(flow) > elapsed.as_secs_f64() * rate {
            std::hint::spin_loop();
            continue;
        }
        if flow % 1024 == 0 {
            interrupt::check()?;
        }
        let accepted = sender.sent.accepted;
        sender.flow = flow;
        sender.poll(elapsed.as_nanos() as u64, false, &|| 0)?;
        if sender.sent.accepted > accepted {
            flow += 1;
            last = std::time::Instant::now();
        } else if last.elapsed() > Duration::from_secs(1) {
            bail!("{}: no frame taken for a second: the queue stays full", sender.name);
        }
    }
    // The time of the last frame is that of those before it.
    Ok(f64::from(flow - 1).max(1.0) / last.duration_since(start).as_secs_f64().max(1e-9))
}
