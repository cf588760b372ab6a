//! Time the generator and the sink take for a frame, without any device: what they could send and check at most.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use benches::generator::{self, Endpoint, Load, Macs, Rate, Sizes, Station, Thread, Traffic, Trial};
use benches::workload::Null;
use dataplane::device::{Capabilities, RxError, RxQueue, TxQueue, TxReport};
use dataplane::{BURST_MAX, Burst, Frame};
use divan::Bencher;
use divan::counter::ItemsCount;
use wire::Offload;

const FRAMES: u64 = 100_000;

fn main() {
    divan::main();
}

type Shared = Arc<Mutex<Vec<Vec<u8>>>>;

/// Copies frames of a burst to [`Out`].
struct In {
    shared: Shared,
    used: Arc<Mutex<usize>>,
}

impl TxQueue for In {
    fn capabilities(&self) -> Capabilities {
        Capabilities::NONE
    }

    fn transmit(&mut self, frames: &[Frame<'_>], picks: &[u8], report: &TxReport<'_>) {
        let (mut slots, mut used) = (self.shared.lock().unwrap(), self.used.lock().unwrap());
        let mut octets = 0;
        for pick in picks {
            let (frame, slot) = (&frames[usize::from(*pick)], &mut slots[*used]);
            slot.clear();
            slot.extend_from_slice(frame.head());
            for piece in frame.body().pieces() {
                let start = slot.len();
                slot.resize(start + piece.len(), 0);
                piece.copy_to(&mut slot[start..]);
            }
            octets += slot.len() as u64;
            *used += 1;
        }
        report.sent(picks.len() as u64, octets);
    }
}

struct Out {
    shared: Shared,
    used: Arc<Mutex<usize>>,
    mine: Vec<Vec<u8>>,
}

impl RxQueue for Out {
    fn receive<'a>(&'a mut self, burst: &mut Burst<'a>) -> Result<(), RxError> {
        let used = std::mem::take(&mut *self.used.lock().unwrap());
        std::mem::swap(&mut *self.shared.lock().unwrap(), &mut self.mine);
        self.mine[..used].iter().for_each(|octets| burst.push_borrowed(octets, Offload::NONE, None));
        Ok(())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

fn traffic(size: usize) -> Traffic {
    let between = Traffic::between(Macs::clients(1000), Macs::servers(1000));
    Traffic { sizes: Sizes::one(size).unwrap(), ..between }
}

fn load() -> Load {
    Load { frames: Some(FRAMES), ..Load::at(Rate::Max) }
}

/// Sending alone.
#[divan::bench(args = [64, 512, 1518])]
fn send(bencher: Bencher<'_, '_>, size: usize) {
    let mut endpoint = Endpoint::new("null", Vec::new(), Box::new(Null), Duration::ZERO);
    let trial = Trial { drain: Duration::ZERO, ..Trial::default() };
    bencher.counter(ItemsCount::new(FRAMES)).bench_local(|| {
        let stations = vec![Station::sending(&mut endpoint, traffic(size), load())];
        generator::run(vec![Thread::of(stations)], &trial).unwrap()
    });
}

/// Sending, a copy, and checking, on one thread.
#[divan::bench(args = [64, 512, 1518])]
fn send_and_check(bencher: Bencher<'_, '_>, size: usize) {
    let slots = || -> Vec<Vec<u8>> { (0..BURST_MAX).map(|_| Vec::with_capacity(2048)).collect() };
    let (shared, used) = (Arc::new(Mutex::new(slots())), Arc::new(Mutex::new(0)));
    let mut from = Endpoint::new("in", Vec::new(), Box::new(In { shared: shared.clone(), used: used.clone() }), Duration::ZERO);
    let mut to = Endpoint::new("out", vec![Box::new(Out { shared, used, mine: slots() })], Box::new(Null), Duration::ZERO);
    bencher.counter(ItemsCount::new(FRAMES)).bench_local(|| {
        let stations = vec![Station::sending(&mut from, traffic(size), load()), Station::receiving(&mut to)];
        let report = generator::run(vec![Thread::of(stations)], &Trial::default()).unwrap();
        assert!(report.delivery(0, 1).unwrap().is_clean());
        report
    });
}
