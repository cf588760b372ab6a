//! Generator and sink for small frames.
//!
//! The generator injects frames into the sender's netdev through an AF_PACKET socket (`sendmmsg`, past the queueing
//! discipline). When that is a TAP the frames wait in its queue for the switch, and a full queue refuses them at once: so the
//! generator knows how many the switch was offered, and that it is not itself the limit. Frames carry a sequence number.
//!
//! The sink has two forms: the statistics of the receiver's netdev, which cost nothing and count at any rate, and
//! [`Checker`], which looks into each frame and finds loss, duplicates, reordering and damage, but at the price of a copy
//! that the switch pays as it delivers; so it checks before the measurement, not during it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use dataplane::{BURST_MAX, BurstMemory, DropReason, PortCounters, RxQueue, TxQueue, TxReport};
use netdev::PacketOptions;
use wire::{MacAddr, Offload};

use crate::interrupt;
use crate::lab::Netns;

/// Octets of a frame without FCS: the smallest Ethernet frame, 64 octets with it.
pub const FRAME_LEN: usize = 60;
/// The sender's address.
pub const CLIENT: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x01]);
/// The receiver's address.
pub const SERVER: MacAddr = MacAddr([0x02, 0, 0, 0, 0, 0x02]);

/// Local experimental EtherType 1 (IEEE 802-2014 clause 9.2.4). No protocol takes it, so the receiver's kernel throws the frames
/// away at once.
const ETHER_TYPE: [u8; 2] = [0x88, 0xb5];
/// Tells our frames from others of the same type.
const MAGIC: [u8; 4] = *b"vsbn";
const SEQUENCE: std::ops::Range<usize> = 18..26;

/// How long the generator holds back after a refusal: short against the time in which a switch empties the 1000 frames of a
/// TAP queue, long enough that it does not take the cache lines of the queue away from the switch all the time.
const HOLD_BACK: Duration = Duration::from_micros(50);

fn frame(to: MacAddr, from: MacAddr, sequence: u64) -> [u8; FRAME_LEN] {
    let mut octets = [0xa5; FRAME_LEN];
    octets[0..6].copy_from_slice(&to.0);
    octets[6..12].copy_from_slice(&from.0);
    octets[12..14].copy_from_slice(&ETHER_TYPE);
    octets[14..18].copy_from_slice(&MAGIC);
    octets[SEQUENCE].copy_from_slice(&sequence.to_be_bytes());
    octets
}

/// What became of the frames of a generator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Taken by the queue of the netdev.
    pub accepted: u64,
    /// Refused because that queue was full.
    pub refused: u64,
}

impl std::ops::Sub for Sent {
    type Output = Sent;

    fn sub(self, earlier: Sent) -> Sent {
        Sent { accepted: self.accepted - earlier.accepted, refused: self.refused - earlier.refused }
    }
}

/// Sends numbered frames from one station to another.
pub struct Generator {
    tx: Box<dyn TxQueue>,
    counters: PortCounters,
    memory: BurstMemory,
    to: MacAddr,
    from: MacAddr,
    next: u64,
}

impl Generator {
    /// A generator on an interface that is up.
    ///
    /// # Errors
    ///
    /// When the AF_PACKET socket cannot be opened.
    pub fn open(netns: &Netns, interface: &str, to: MacAddr, from: MacAddr) -> anyhow::Result<Generator> {
        let mut opened = netdev::packet::open(&packet_options(netns, interface, false), 1)?;
        let tx = opened.tx.pop().context("no transmit queue")?;
        Ok(Generator { tx, counters: PortCounters::default(), memory: BurstMemory::new(), to, from, next: 0 })
    }

    /// The number of the next frame.
    pub fn next_number(&self) -> u64 {
        self.next
    }

    /// What became of the frames so far.
    pub fn sent(&self) -> Sent {
        let refused = self.counters.drops(DropReason::TxQueueFull);
        Sent { accepted: self.counters.tx_packets.get(), refused }
    }

    /// Sends `count` frames, at most `burst` at once with a pause of `gap` between bursts.
    ///
    /// # Errors
    ///
    /// When a frame is not sent for another reason than a full queue, or the run is interrupted.
    pub fn send_paced(&mut self, count: u64, burst: usize, gap: Duration) -> anyhow::Result<Sent> {
        let before = self.sent();
        let end = self.next + count;
        while self.next < end {
            interrupt::check()?;
            let frames = burst.min(BURST_MAX).min((end - self.next) as usize);
            self.run(frames, |_| false);
            std::thread::sleep(gap);
        }
        self.verdict(before)
    }

    /// Sends as many frames as go, until `stop`.
    ///
    /// # Errors
    ///
    /// When a frame is not sent for another reason than a full queue.
    pub fn saturate(&mut self, stop: &AtomicBool) -> anyhow::Result<Sent> {
        let before = self.sent();
        self.run(BURST_MAX, |any_refused| {
            if any_refused {
                let start = Instant::now();
                while start.elapsed() < HOLD_BACK {
                    std::hint::spin_loop();
                }
            }
            !stop.load(Ordering::Relaxed)
        });
        self.verdict(before)
    }

    /// Sends bursts of `size` frames while `again` says so, which is told whether the last one met a full queue.
    fn run(&mut self, size: usize, mut again: impl FnMut(bool) -> bool) {
        let picks: Vec<u8> = (0..size as u8).collect();
        let mut burst = self.memory.burst();
        for _ in 0..size {
            burst.push_borrowed(&[0; FRAME_LEN], Offload::NONE, None);
        }
        for slot in burst.frames_mut() {
            slot.head_mut().copy_from_slice(&frame(self.to, self.from, 0));
        }
        let report = TxReport::new(&self.counters);
        let mut refused = self.counters.drops(DropReason::TxQueueFull);
        loop {
            for slot in burst.frames_mut() {
                slot.head_mut()[SEQUENCE].copy_from_slice(&self.next.to_be_bytes());
                self.next += 1;
            }
            self.tx.transmit(burst.frames(), &picks, &report);
            let refused_now = self.counters.drops(DropReason::TxQueueFull);
            if !again(refused_now > refused) {
                return;
            }
            refused = refused_now;
        }
    }

    fn verdict(&self, before: Sent) -> anyhow::Result<Sent> {
        for reason in DropReason::ALL {
            let count = self.counters.drops(*reason);
            if count > 0 && *reason != DropReason::TxQueueFull {
                bail!("the generator failed: {count} frames not sent ({reason})");
            }
        }
        Ok(self.sent() - before)
    }
}

fn packet_options(netns: &Netns, interface: &str, offload: bool) -> PacketOptions {
    PacketOptions { interface: interface.into(), netns: netns.handle(), queues: 1, offload, ring_size: 4 << 20, qdisc_bypass: true }
}

/// What a [`Checker`] saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    /// Different frames that came.
    pub received: u64,
    /// Frames that came again.
    pub duplicates: u64,
    /// Frames that came after one with a higher number.
    pub reordered: u64,
    /// Frames whose octets are not what was sent.
    pub damaged: u64,
}

/// Looks into each frame that arrives.
pub struct Checker {
    rx: Box<dyn RxQueue>,
    memory: BurstMemory,
}

impl Checker {
    /// A checker on an interface that is up.
    ///
    /// # Errors
    ///
    /// When the AF_PACKET socket cannot be opened.
    pub fn open(netns: &Netns, interface: &str) -> anyhow::Result<Checker> {
        let mut opened = netdev::packet::open(&packet_options(netns, interface, true), 1)?;
        Ok(Checker { rx: opened.rx.pop().context("no receive queue")?, memory: BurstMemory::new() })
    }

    /// Takes frames numbered `first..first + count` from [`CLIENT`] to [`SERVER`], until all came or none came for `patience`.
    ///
    /// # Errors
    ///
    /// When the interface fails, or the run is interrupted.
    pub fn take(&mut self, first: u64, count: u64, patience: Duration) -> anyhow::Result<Arrivals> {
        let mut seen = vec![false; count as usize];
        let mut arrivals = Arrivals::default();
        let mut highest = 0;
        let mut last = Instant::now();
        while arrivals.received < count && last.elapsed() < patience {
            interrupt::check()?;
            let mut burst = self.memory.burst();
            let result = self.rx.receive(&mut burst);
            let any = !burst.is_empty();
            for received in burst.frames() {
                let head = received.head();
                if head.len() < FRAME_LEN || head[12..14] != ETHER_TYPE || head[14..18] != MAGIC {
                    continue;
                }
                let mut number = [0; 8];
                number.copy_from_slice(&head[SEQUENCE]);
                let number = u64::from_be_bytes(number);
                let expected = frame(SERVER, CLIENT, number);
                match number.checked_sub(first).and_then(|index| seen.get_mut(index as usize)) {
                    Some(came) if head == expected => {
                        arrivals.duplicates += u64::from(*came);
                        arrivals.received += u64::from(!*came);
                        arrivals.reordered += u64::from(!*came && number < highest);
                        *came = true;
                        highest = highest.max(number);
                    }
                    _ => arrivals.damaged += 1,
                }
            }
            drop(burst);
            self.rx.release();
            if let Err(error) = result {
                bail!("the checker cannot receive: {error:?}");
            }
            if any {
                last = Instant::now();
            } else {
                std::thread::sleep(Duration::from_micros(200));
            }
        }
        Ok(arrivals)
    }
}
