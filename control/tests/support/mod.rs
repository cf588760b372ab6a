//! A whole switch in one process: real workers over memory devices, a fake world of netdevs, a store that can fail, and a
//! clock that moves only when told.
#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod daemon;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use control::Controller;
use control::config;
use control::config::validate::netdev_of;
use control::controller::starting_config;
use control::controller::transaction::Strictness;
use control::device::{DeviceChange, DeviceError, DeviceEvent, Devices, LinkSpeed, Netdev, OpenDevice};
use control::store::Store;
use control::workers::{WorkerSet, WorkerSlot};
use dataplane::Burst;
use dataplane::clock::Clock;
use dataplane::device::{Capabilities, Poller, RxError, RxQueue, Wake};
use dataplane::memory::{MemoryDevice, MemoryFrame};
use dataplane::worker::Worker;
use proto::api::{Changed, Filter, Link, PortInfo};
use proto::config::{Config, PortConfig};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A clock that moves only when told.
#[derive(Clone, Default)]
pub(crate) struct TestClock(Arc<AtomicU64>);

impl TestClock {
    pub(crate) fn advance(&self, span: Duration) {
        self.0.fetch_add(span.as_nanos() as u64, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// The clock of a worker: that of the test, and a microsecond more with each look, so that spinning comes to an end.
struct WorkerClock(TestClock, AtomicU64);

impl Clock for WorkerClock {
    fn now(&self) -> u64 {
        self.0.now() + self.1.fetch_add(1000, Ordering::Relaxed)
    }
}

/// What a worker sleeps on when there is no descriptor.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Wake for Bell {
    fn wake(&self) {
        *lock(&self.rung) = true;
        self.changed.notify_all();
    }
}

struct BellPoller(Arc<Bell>);

impl Poller for BellPoller {
    fn add(&mut self, _: BorrowedFd<'_>, _: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn remove(&mut self, _: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }
    fn poll(&mut self, timeout: Option<Duration>, _: &mut dyn FnMut(usize)) -> io::Result<()> {
        let mut rung = lock(&self.0.rung);
        let end = timeout.map(|timeout| Instant::now() + timeout);
        while !*rung {
            let left = end.map_or(Duration::from_secs(3600), |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            rung = self.0.changed.wait_timeout(rung, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *rung = false;
        Ok(())
    }
}

/// Worker threads; they end when the set is dropped.
pub(crate) fn workers(count: usize, clock: &TestClock, notify: Arc<dyn Wake>) -> WorkerSet {
    let slots = (0..count).map(|index| {
        let bell = Arc::new(Bell::default());
        let (worker, handle) = Worker::new(
            index,
            Box::new(BellPoller(bell.clone())),
            bell,
            Box::new(WorkerClock(clock.clone(), AtomicU64::new(0))),
            notify.clone(),
        );
        let thread = std::thread::spawn(move || worker.run());
        WorkerSlot { handle, core: None, thread }
    });
    WorkerSet::new(slots.collect())
}

/// Nobody to wake.
pub(crate) struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

/// The netdevs of the fake system.
#[derive(Default)]
pub(crate) struct World {
    /// Netdevs that exist: made by somebody else (`nic`) or by an open TAP. Name to index.
    pub(crate) netdevs: BTreeMap<String, u32>,
    next_index: u32,
    /// Ports whose device refuses to open.
    pub(crate) refuse: BTreeSet<String>,
    /// Every open and close in order.
    pub(crate) log: Vec<String>,
    pub(crate) events: VecDeque<DeviceEvent>,
    pub(crate) devices: BTreeMap<String, MemoryDevice>,
    /// Of netdevs that say so.
    pub(crate) speeds: BTreeMap<String, LinkSpeed>,
    pub(crate) addresses: BTreeMap<String, Vec<(IpAddr, u8)>>,
    /// Makes the next receive call of any device panic.
    pub(crate) panic: Arc<AtomicBool>,
}

/// The fake system; cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct FakeDevices(pub(crate) Arc<Mutex<World>>);

impl FakeDevices {
    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.0)
    }

    pub(crate) fn add_netdev(&self, name: &str) {
        let mut world = self.world();
        world.next_index += 1;
        let index = world.next_index;
        world.netdevs.insert(name.into(), index);
        let what = DeviceChange::Present { carrier: true, mac: None };
        world.events.push_back(DeviceEvent { netns: None, name: name.into(), index, what });
    }

    pub(crate) fn del_netdev(&self, name: &str) {
        let mut world = self.world();
        let index = world.netdevs.remove(name).unwrap_or(0);
        world.events.push_back(DeviceEvent { netns: None, name: name.into(), index, what: DeviceChange::Removed });
    }

    pub(crate) fn carrier(&self, name: &str, carrier: bool) {
        let mut world = self.world();
        let index = world.netdevs[name];
        let what = DeviceChange::Present { carrier, mac: None };
        world.events.push_back(DeviceEvent { netns: None, name: name.into(), index, what });
    }

    pub(crate) fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.world().log)
    }
}

/// A receive queue that, as a TAP descriptor does, takes its netdev with it when it is closed.
struct FakeRx {
    inner: Box<dyn RxQueue>,
    world: FakeDevices,
    netdev: String,
    index: u32,
    is_tap: bool,
    panic: Arc<AtomicBool>,
}

impl RxQueue for FakeRx {
    fn receive<'a>(&'a mut self, burst: &mut Burst<'a>) -> Result<(), RxError> {
        assert!(!self.panic.load(Ordering::Relaxed), "a worker panics because the test wants it");
        self.inner.receive(burst)
    }
    fn release(&mut self) {
        self.inner.release();
    }
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    fn is_cheap_to_poll(&self) -> bool {
        true
    }
}

impl Drop for FakeRx {
    fn drop(&mut self) {
        let mut world = self.world.world();
        world.log.push(format!("close {}", self.netdev));
        if self.is_tap && world.netdevs.get(&self.netdev) == Some(&self.index) {
            world.netdevs.remove(&self.netdev);
        }
    }
}

impl Devices for FakeDevices {
    fn open(&mut self, port: &str, config: &PortConfig, workers: usize) -> Result<OpenDevice, DeviceError> {
        let (netns, name) = netdev_of(port, config).expect("only ports with a netdev are opened");
        let is_tap = config.kind != proto::config::PortKind::Nic;
        let mut world = self.world();
        if world.refuse.contains(port) {
            return Err(DeviceError(format!("open {name}: Operation not permitted (needs CAP_NET_ADMIN)")));
        }
        let index = match world.netdevs.get(&name).copied() {
            Some(_) if is_tap => return Err(DeviceError(format!("open {name}: Device or resource busy"))),
            Some(index) => index,
            None if is_tap => {
                world.next_index += 1;
                let index = world.next_index;
                world.netdevs.insert(name.clone(), index);
                index
            }
            None => return Err(DeviceError(format!("no interface {name:?}"))),
        };
        world.log.push(format!("open {name}"));
        let device = MemoryDevice::new(64, true, Capabilities::ALL);
        world.devices.insert(port.into(), device.clone());
        let rx = Box::new(FakeRx {
            inner: device.rx_queue(),
            world: self.clone(),
            netdev: name.clone(),
            index,
            is_tap,
            panic: world.panic.clone(),
        });
        let mac = config.mac.or_else(|| (config.kind == proto::config::PortKind::Host).then(|| "02:00:00:00:99:99".parse().unwrap()));
        Ok(OpenDevice {
            rx: vec![rx],
            tx: (0..workers).map(|_| device.tx_queue()).collect(),
            netdev: Some(Netdev { netns, name, index, mac }),
            carrier: true,
            sim: Some(device),
            vhost_user: None,
        })
    }

    fn configure(&mut self, port: &str, netdev: &Netdev, config: &PortConfig) -> Result<(), DeviceError> {
        let mut world = self.world();
        if world.refuse.contains(port) {
            return Err(DeviceError(format!("set MTU of {}: Invalid argument", netdev.name)));
        }
        world.log.push(format!("configure {} mtu {}", netdev.name, config.mtu));
        Ok(())
    }

    fn set_mac(&mut self, netdev: &Netdev, mac: wire::MacAddr) -> Result<(), DeviceError> {
        self.world().log.push(format!("set MAC of {} to {mac}", netdev.name));
        Ok(())
    }

    fn stable_mac(&self, router: &str, interface: &str) -> wire::MacAddr {
        let sum = format!("{router}/{interface}").bytes().fold(0u16, |sum, octet| sum.wrapping_mul(31).wrapping_add(octet.into()));
        let [high, low] = sum.to_be_bytes();
        wire::MacAddr([2, 0, 0, 0x55, high, low])
    }

    fn speed(&mut self, netdev: &Netdev) -> Option<LinkSpeed> {
        self.world().speeds.get(&netdev.name).copied()
    }

    fn addresses(&mut self, netdev: &Netdev) -> Vec<(IpAddr, u8)> {
        self.world().addresses.get(&netdev.name).cloned().unwrap_or_default()
    }

    fn namespaces(&mut self, _: &BTreeSet<String>) {}

    fn event_fd(&self) -> Option<RawFd> {
        None
    }

    fn poll(&mut self) -> Vec<DeviceEvent> {
        self.world().events.drain(..).collect()
    }
}

/// A store in memory that can be told to fail.
#[derive(Clone, Default)]
pub(crate) struct FakeStore(pub(crate) Arc<Mutex<Stored>>);

#[derive(Default)]
pub(crate) struct Stored {
    pub(crate) text: Option<String>,
    pub(crate) fail: Option<String>,
}

impl Store for FakeStore {
    fn load(&mut self) -> Result<Option<String>, String> {
        Ok(lock(&self.0).text.clone())
    }
    fn save(&mut self, text: &str) -> Result<(), String> {
        let mut stored = lock(&self.0);
        if let Some(error) = &stored.fail {
            return Err(error.clone());
        }
        stored.text = Some(text.into());
        Ok(())
    }
    fn place(&self) -> String {
        "/state".into()
    }
}

/// A running switch under test.
pub(crate) struct Bench {
    pub(crate) clock: TestClock,
    pub(crate) devices: FakeDevices,
    pub(crate) store: FakeStore,
    pub(crate) controller: Controller,
}

impl Bench {
    pub(crate) fn start() -> Bench {
        Bench::start_with(FakeDevices::default(), FakeStore::default(), "").unwrap()
    }

    pub(crate) fn start_with(devices: FakeDevices, store: FakeStore, initial: &str) -> Result<Bench, String> {
        let clock = TestClock::default();
        clock.advance(Duration::from_secs(1));
        let set = workers(2, &clock, Arc::new(Nobody));
        let initial = (!initial.is_empty()).then(|| ("initial.toml".to_owned(), initial.to_owned()));
        let config = starting_config(&mut store.clone(), initial)?;
        let controller = Controller::start(Box::new(devices.clone()), Box::new(store.clone()), Box::new(set), config, clock.now())?;
        Ok(Bench { clock, devices, store, controller })
    }

    pub(crate) fn apply(&mut self, text: &str) -> Result<Changed, String> {
        let config = config::load(text, "test.toml").unwrap_or_else(|problems| panic!("{problems}"));
        self.transact(config)
    }

    pub(crate) fn transact(&mut self, config: Config) -> Result<Changed, String> {
        self.controller.transact(config, Strictness::Strict, self.clock.now())
    }

    /// Lets time pass and does what is due.
    pub(crate) fn pass(&mut self, span: Duration) {
        self.clock.advance(span);
        for _ in 0..1000 {
            if self.controller.upkeep(self.clock.now()) > self.clock.now() {
                return;
            }
        }
        panic!("upkeep does not come to rest");
    }

    pub(crate) fn port(&self, name: &str) -> PortInfo {
        let ports = self.controller.ports(&Filter { port: Some(name.into()), ..Filter::default() });
        ports.into_iter().next().unwrap_or_else(|| panic!("no port {name}"))
    }

    pub(crate) fn link(&self, name: &str) -> Link {
        self.port(name).link
    }

    /// Gives the switch a frame as if it had arrived at the device of a port.
    pub(crate) fn send(&self, port: &str, dst: &str, src: &str) {
        assert!(self.devices.world().devices[port].inject(MemoryFrame::new(frame(dst, src))));
    }

    /// Waits (bounded) for the next frame that left through the device of a port.
    pub(crate) fn receive(&self, port: &str) -> Vec<u8> {
        let device = self.devices.world().devices[port].clone();
        eventually(&format!("a frame at {port}"), || device.take()).octets
    }

    /// The address table: (vlan, mac, port), sorted.
    pub(crate) fn fdb(&self) -> Vec<(u16, String, String)> {
        let mut cursor = self.controller.list_fdb(Filter::default()).unwrap();
        let mut entries = Vec::new();
        while self.controller.next_fdb(&mut cursor, 100, self.clock.now(), &mut entries) {}
        let mut list: Vec<_> = entries.into_iter().map(|entry| (entry.vlan, entry.mac.to_string(), entry.port)).collect();
        list.sort();
        list
    }

    pub(crate) fn wait_for_fdb(&self, count: usize) {
        eventually(&format!("{count} addresses"), || (self.fdb().len() == count).then_some(()));
    }
}

/// A 60-octet frame.
pub(crate) fn frame(dst: &str, src: &str) -> Vec<u8> {
    let (dst, src): (wire::MacAddr, wire::MacAddr) = (dst.parse().unwrap(), src.parse().unwrap());
    let mut octets = [dst.0, src.0].concat();
    octets.extend([0x88, 0xb5]);
    octets.resize(60, 0);
    octets
}

/// Waits for something that other threads do, at most ten seconds.
pub(crate) fn eventually<T>(what: &str, mut get: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(value) = get() {
            return value;
        }
        assert!(Instant::now() < end, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(1));
    }
}
