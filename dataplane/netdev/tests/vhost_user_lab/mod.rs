//! What the tests of vhost-user ports have in common: a port, and frames into and out of queues.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use dataplane::device::{RxQueue, TxQueue, TxReport, Wake};
use dataplane::{BURST_MAX, BurstMemory, DropReason, PortCounters};
use netdev::vhost_user::{Link, LinkState, Mode, VhostUserOptions, open};
use wire::Offload;

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Counts wakes, and lets the test wait for the next.
#[derive(Default)]
pub(crate) struct Notified {
    count: Mutex<u64>,
    changed: Condvar,
}

impl Wake for Notified {
    fn wake(&self) {
        *self.count.lock().unwrap() += 1;
        self.changed.notify_all();
    }
}

pub(crate) struct Port {
    pub(crate) rx: Vec<Box<dyn RxQueue>>,
    pub(crate) tx: Vec<Box<dyn TxQueue>>,
    pub(crate) link: Link,
    pub(crate) notified: Arc<Notified>,
    pub(crate) counters: PortCounters,
}

impl Port {
    pub(crate) fn open(path: impl Into<PathBuf>, mode: Mode, queues: u16, workers: usize) -> Port {
        let notified = Arc::new(Notified::default());
        let options = VhostUserOptions { path: path.into(), mode, queues };
        let (opened, link) = open(&options, workers, notified.clone()).unwrap();
        Port { rx: opened.rx, tx: opened.tx, link, notified, counters: PortCounters::default() }
    }

    /// Waits until the link is as wanted; only a notification makes it look again.
    pub(crate) fn wait(&self, what: &str, wanted: impl Fn(&LinkState) -> bool) -> LinkState {
        let deadline = Instant::now() + PATIENCE;
        let mut count = self.notified.count.lock().unwrap();
        loop {
            let state = self.link.state();
            if wanted(&state) {
                return state;
            }
            let left = deadline.checked_duration_since(Instant::now()).unwrap_or_else(|| panic!("{what}: {state:?}"));
            count = self.notified.changed.wait_timeout(count, left).unwrap().0;
        }
    }

    pub(crate) fn wait_up(&self) {
        self.wait("no carrier", |state| state.carrier);
    }

    pub(crate) fn drops(&self) -> Vec<(&'static str, u64)> {
        let drops = DropReason::ALL.iter().map(|reason| (reason.name(), self.counters.drops(*reason)));
        drops.filter(|(_, count)| *count > 0).collect()
    }
}

pub(crate) type Octets = (Vec<u8>, Offload);

/// What a queue has now.
pub(crate) fn receive(rx: &mut dyn RxQueue) -> Vec<Octets> {
    let mut memory = BurstMemory::new();
    let mut all = Vec::new();
    loop {
        let mut burst = memory.burst();
        rx.receive(&mut burst).unwrap();
        let got: Vec<Octets> =
            burst.frames().iter().map(|f| (f.head().iter().copied().chain(f.body().octets()).collect(), f.offload())).collect();
        drop(burst);
        rx.release();
        if got.is_empty() {
            return all;
        }
        all.extend(got);
    }
}

pub(crate) fn send(tx: &mut dyn TxQueue, frames: &[Octets], counters: &PortCounters) {
    let mut memory = BurstMemory::new();
    for part in frames.chunks(BURST_MAX) {
        let mut burst = memory.burst();
        part.iter().for_each(|(octets, offload)| burst.push_borrowed(octets, *offload, None));
        let picks: Vec<u8> = (0..part.len() as u8).collect();
        tx.transmit(burst.frames(), &picks, &TxReport::new(counters));
    }
}

/// One burst from a port to another, as a worker does; returns the number of frames.
pub(crate) fn forward(rx: &mut dyn RxQueue, tx: &mut dyn TxQueue, from: &PortCounters, to: &PortCounters) -> usize {
    let mut memory = BurstMemory::new();
    let mut burst = memory.burst();
    rx.receive(&mut burst).unwrap();
    let picks: Vec<u8> = (0..burst.len() as u8).collect();
    tx.transmit(burst.frames(), &picks, &TxReport::new(to));
    burst.losses().iter().for_each(|(reason, count)| from.drop_many(*reason, *count));
    let count = burst.len();
    drop(burst);
    rx.release();
    count
}

pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + len) as u8).collect()
}
