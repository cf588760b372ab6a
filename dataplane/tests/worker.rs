//! The worker loop with a poller and a clock of the test: changes are taken up whole, sleeping and waking, devices that
//! fail. No thread sleeps for real.

mod lab;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use dataplane::bond::{HashPolicy, Mode};
use dataplane::burst::Burst;
use dataplane::clock::{Clock, Nanos};
use dataplane::device::{Capabilities, Poller, RxError, RxQueue, Wake};
use dataplane::memory::{MemoryDevice, MemoryFrame};
use dataplane::punt::InjectError;
use dataplane::snapshot::{PortId, Snapshot};
use dataplane::worker::{Attach, Polling, Update, Worker, WorkerEvent, WorkerHandle};
use lab::{Lab, frame, mac};
use wire::MacAddr;

/// A clock that moves on by a microsecond with each look.
#[derive(Clone, Default)]
struct TestClock(Arc<AtomicU64>);

impl Clock for TestClock {
    fn now(&self) -> Nanos {
        self.0.fetch_add(1000, Ordering::Relaxed)
    }
}

/// Sleeps until woken, and counts the sleeps.
#[derive(Clone, Default)]
struct TestPoller(Arc<(Mutex<bool>, Condvar, AtomicUsize)>);

impl Poller for TestPoller {
    fn add(&mut self, _: BorrowedFd<'_>, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn remove(&mut self, _: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }

    fn poll(&mut self, timeout: Option<Duration>, _: &mut dyn FnMut(usize)) -> io::Result<()> {
        if timeout.is_none() {
            let (woken, condition, sleeps) = &*self.0;
            sleeps.fetch_add(1, Ordering::SeqCst);
            let mut woken = woken.lock().unwrap();
            while !*woken {
                woken = condition.wait(woken).unwrap();
            }
            *woken = false;
        }
        Ok(())
    }
}

impl Wake for TestPoller {
    fn wake(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

struct Running {
    handle: WorkerHandle,
    poller: TestPoller,
    thread: std::thread::JoinHandle<()>,
}

fn start() -> Running {
    let poller = TestPoller::default();
    let wake: Arc<dyn Wake> = Arc::new(poller.clone());
    let (worker, handle) = Worker::new(0, Box::new(poller.clone()), wake, Box::new(TestClock::default()), lab::no_wake());
    let thread = std::thread::spawn(move || worker.run());
    Running { handle, poller, thread }
}

const PATIENCE: Duration = Duration::from_secs(20);

fn update(lab: &mut Lab, attach: &[(u16, &MemoryDevice)], polling: Polling) -> Update {
    let snapshot = std::mem::take(&mut lab.snapshot);
    let attach =
        attach.iter().map(|(port, device)| Attach { port: PortId(*port), rx: vec![device.rx_queue()], tx: device.tx_queue() }).collect();
    Update { snapshot: Arc::new(snapshot), detach: Vec::new(), attach, polling }
}

fn devices(running: &Running) -> (MemoryDevice, MemoryDevice) {
    let device = || {
        let device = MemoryDevice::new(64, false, Capabilities::ALL);
        device.set_wake(Some(running.handle.waker()));
        device
    };
    (device(), device())
}

fn take(device: &MemoryDevice) -> MemoryFrame {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        if let Some(frame) = device.take() {
            return frame;
        }
        assert!(std::time::Instant::now() < deadline, "no frame within {PATIENCE:?}");
        std::thread::yield_now();
    }
}

const ADAPTIVE: Polling = Polling::Adaptive { spin: Duration::from_micros(50) };

#[test]
fn a_sleeping_worker_wakes_for_a_frame_and_sleeps_again() {
    let running = start();
    let (a, b) = devices(&running);
    running.handle.send(update(&mut Lab::new(2), &[(0, &a), (1, &b)], ADAPTIVE)).unwrap();
    running.handle.wait(PATIENCE).unwrap();
    for _ in 0..3 {
        let sleeps = running.poller.0.2.load(Ordering::SeqCst);
        while running.poller.0.2.load(Ordering::SeqCst) == sleeps && sleeps == 0 {
            std::thread::yield_now();
        }
        assert!(a.inject(MemoryFrame::new(frame(mac(2), mac(1)))));
        assert_eq!(take(&b).octets, frame(mac(2), mac(1)));
    }
    running.handle.stop();
    running.thread.join().unwrap();
    assert!(running.handle.stats().sleeps.get() >= 1);
    assert_eq!(running.handle.stats().frames.get(), 3);
}

#[test]
fn a_busy_worker_never_sleeps() {
    let running = start();
    let (a, b) = devices(&running);
    running.handle.send(update(&mut Lab::new(2), &[(0, &a), (1, &b)], Polling::Busy)).unwrap();
    running.handle.wait(PATIENCE).unwrap();
    let sleeps = running.handle.stats().sleeps.get();
    a.inject(MemoryFrame::new(frame(mac(2), mac(1))));
    take(&b);
    running.handle.stop();
    running.thread.join().unwrap();
    assert_eq!(running.handle.stats().sleeps.get(), sleeps);
}

#[test]
fn what_is_removed_comes_back_to_control() {
    let running = start();
    let (a, b) = devices(&running);
    running.handle.send(update(&mut Lab::new(2), &[(0, &a), (1, &b)], ADAPTIVE)).unwrap();
    assert!(running.handle.wait(PATIENCE).unwrap().rx.is_empty());
    let empty =
        Update { snapshot: Arc::new(Snapshot::default()), detach: vec![PortId(0), PortId(1)], attach: Vec::new(), polling: ADAPTIVE };
    running.handle.send(empty).unwrap();
    let retired = running.handle.wait(PATIENCE).unwrap();
    assert_eq!((retired.rx.len(), retired.tx.len()), (2, 2));
    assert_eq!(retired.snapshot.unwrap().ports.len(), 2, "the former configuration is freed by control");
    running.handle.stop();
    running.thread.join().unwrap();
}

/// A receive queue whose device is gone.
struct Gone;

impl RxQueue for Gone {
    fn receive<'a>(&'a mut self, _: &mut Burst<'a>) -> Result<(), RxError> {
        Err(RxError::Gone)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn is_cheap_to_poll(&self) -> bool {
        true
    }
}

#[test]
fn a_device_that_is_gone_is_reported_once_and_the_others_go_on() {
    let running = start();
    let (a, b) = devices(&running);
    let mut change = update(&mut Lab::new(3), &[(0, &a), (1, &b)], ADAPTIVE);
    change.attach.push(Attach { port: PortId(2), rx: vec![Box::new(Gone)], tx: MemoryDevice::new(1, true, Capabilities::ALL).tx_queue() });
    running.handle.send(change).unwrap();
    running.handle.wait(PATIENCE).unwrap();
    a.inject(MemoryFrame::new(frame(mac(2), mac(1))));
    take(&b);
    running.handle.stop();
    running.thread.join().unwrap();
    assert_eq!(running.handle.next_event(), Some(WorkerEvent::DeviceGone(PortId(2))));
    assert_eq!(running.handle.next_event(), None);
}

/// A receive queue that is polled, and has something each time it is told that the worker goes to sleep, a few times.
#[derive(Clone, Default)]
struct Restless(Arc<(AtomicUsize, AtomicUsize)>);

impl RxQueue for Restless {
    fn receive<'a>(&'a mut self, _: &mut Burst<'a>) -> Result<(), RxError> {
        self.0.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn prepare_sleep(&mut self) -> bool {
        // Asked before the first look it would miss nothing either, but here it must have been looked at in between.
        assert!(self.0.0.swap(0, Ordering::SeqCst) > 0, "told to sleep twice without a look");
        self.0.1.fetch_add(1, Ordering::SeqCst) >= 3
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn is_cheap_to_poll(&self) -> bool {
        true
    }
}

#[test]
fn a_worker_sleeps_only_when_its_polled_queues_agree() {
    let running = start();
    let (queue, device) = (Restless::default(), MemoryDevice::new(1, true, Capabilities::ALL));
    let mut change = update(&mut Lab::new(1), &[], ADAPTIVE);
    change.attach.push(Attach { port: PortId(0), rx: vec![Box::new(queue.clone())], tx: device.tx_queue() });
    let before = running.poller.0.2.load(Ordering::SeqCst);
    running.handle.send(change).unwrap();
    running.handle.wait(PATIENCE).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while queue.0.1.load(Ordering::SeqCst) < 4 {
        assert!(std::time::Instant::now() < deadline);
        std::thread::yield_now();
    }
    running.handle.stop();
    running.thread.join().unwrap();
    // It may have slept once before the queue was attached, and each sleep after that was agreed to.
    let agreed = queue.0.1.load(Ordering::SeqCst) - 3;
    assert!(running.poller.0.2.load(Ordering::SeqCst) - before <= 1 + agreed);
}

#[test]
fn addresses_are_reported_while_somebody_watches() {
    let running = start();
    let (a, b) = devices(&running);
    running.handle.send(update(&mut Lab::new(2), &[(0, &a), (1, &b)], ADAPTIVE)).unwrap();
    running.handle.wait(PATIENCE).unwrap();
    a.inject(MemoryFrame::new(frame(MacAddr::BROADCAST, mac(1))));
    take(&b);
    running.handle.watch_fdb(true);
    a.inject(MemoryFrame::new(frame(MacAddr::BROADCAST, mac(7))));
    take(&b);
    running.handle.stop();
    running.thread.join().unwrap();
    let event = running.handle.next_event();
    assert!(matches!(event, Some(WorkerEvent::Fdb { mac: m, port: PortId(0), .. }) if m == mac(7)), "{event:?}");
    assert_eq!(running.handle.next_event(), None);
}

#[test]
fn a_worker_that_ended_is_lost_not_waited_for() {
    let running = start();
    running.handle.stop();
    running.thread.join().unwrap();
    let change = Update { snapshot: Arc::default(), detach: Vec::new(), attach: Vec::new(), polling: ADAPTIVE };
    assert!(running.handle.send(change).is_err());
    assert!(running.handle.wait(Duration::ZERO).is_err());
}

/// Frames of control leave by their port while the worker sleeps, in order, and frames for control wake it.
#[test]
fn control_exchanges_frames_with_a_worker() {
    let running = start();
    let (a, b) = devices(&running);
    let mut lab = Lab::new(3);
    lab.bond(2, &[1], Mode::Ieee8023ad, HashPolicy::Layer2);
    lab.bond_mut(2).punt.slow_protocols = true;
    running.handle.send(update(&mut lab, &[(0, &a), (1, &b)], ADAPTIVE)).unwrap();
    running.handle.wait(PATIENCE).unwrap();
    for number in 0..40 {
        let mut octets = frame(mac(2), mac(1));
        octets[59] = number;
        running.handle.inject(PortId(1), octets).unwrap();
        // A port that does not exist loses the frame and nothing else.
        running.handle.inject(PortId(9), frame(mac(2), mac(1))).unwrap();
    }
    for number in 0..40 {
        assert_eq!(take(&b).octets[59], number);
    }
    assert_eq!(running.handle.inject(PortId(1), vec![0; 13]), Err(InjectError::Length));
    let mut pdu = frame(MacAddr([1, 0x80, 0xc2, 0, 0, 2]), mac(1));
    pdu[12..14].copy_from_slice(&[0x88, 0x09]);
    b.inject(MemoryFrame::new(pdu.clone()));
    let deadline = std::time::Instant::now() + PATIENCE;
    let punted = loop {
        if let Some(punted) = running.handle.next_punted() {
            break punted;
        }
        assert!(std::time::Instant::now() < deadline, "nothing was punted within {PATIENCE:?}");
        std::thread::yield_now();
    };
    assert_eq!((punted.port, &punted.octets[..]), (PortId(1), &pdu[..]));
    running.handle.stop();
    running.thread.join().unwrap();
    // Nobody takes frames any more: the queue is bounded.
    let full = (0..10_000).map(|_| running.handle.inject(PortId(1), pdu.clone())).find(Result::is_err);
    assert_eq!(full, Some(Err(InjectError::Full)));
}
