//! Network namespaces without names, which end with their threads, and what tests do in them.

#![allow(dead_code, unreachable_pub)] // each test program uses a part

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use dataplane::device::{RxError, RxQueue, TxQueue, TxReport};
use dataplane::{BurstMemory, DropReason, PortCounters};
use netdev::netns::run_in;
use netdev::{LinkFacts, Netns};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use wire::{Offload, Tag};

/// How long a condition may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test on a thread in a network namespace of its own; says loudly that it was skipped where that is not permitted.
pub fn lab(test: impl FnOnce() + Send + 'static) {
    let name = thread::current().name().unwrap_or("test").to_owned();
    let thread = thread::Builder::new().name(name.clone()).spawn(move || {
        if let Err(reason) = enter_new_namespace() {
            // Past the capture of the test harness, which keeps the output of tests that pass to itself.
            let _ = writeln!(io::stderr(), "SKIP: {name}: {reason}");
            return;
        }
        test();
    });
    if let Err(panic) = thread.unwrap().join() {
        std::panic::resume_unwind(panic);
    }
}

fn enter_new_namespace() -> Result<(), String> {
    // SAFETY: only the namespace of this thread changes; nothing of it is shared with memory.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }
        .map_err(|e| format!("cannot make a network namespace: {e} (run as root, or under: unshare -Urn)"))?;
    if Command::new("ip").arg("-V").output().is_err() {
        return Err("the program ip (iproute2) is missing".into());
    }
    if !netdev::tap::is_available() {
        return Err("/dev/net/tun cannot be opened".into());
    }
    // Nothing of the kernel's own (router solicitations, MLD) shall come between the frames of a test.
    for conf in ["all", "default"] {
        let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{conf}/disable_ipv6"), "1");
    }
    ip("link set lo up");
    Ok(())
}

/// A second namespace. Ends when it is dropped.
pub struct Space {
    pub netns: Option<Netns>,
    end: Option<mpsc::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Space {
    pub fn new() -> Space {
        let (tell, told) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            enter_new_namespace().unwrap();
            tell.send(rustix::thread::gettid().as_raw_pid()).unwrap();
            let _ = ended.recv();
        });
        let tid = told.recv().unwrap();
        let path = format!("/proc/{}/task/{tid}/ns/net", std::process::id());
        Space { netns: Some(Netns::named(&path).unwrap()), end: Some(end), thread: Some(thread) }
    }

    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        run_in(&self.netns, work).unwrap()
    }

    pub fn ip(&self, words: &str) {
        self.run(|| ip(words));
    }

    /// The namespace as `ip link ... netns` takes it.
    pub fn path(&self) -> &str {
        self.netns.as_ref().unwrap().name()
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        drop(self.end.take());
        let _ = self.thread.take().unwrap().join();
    }
}

/// Runs `ip` with these words in the namespace of this thread.
pub fn ip(words: &str) {
    let output = Command::new("ip").args(words.split_whitespace()).output().unwrap();
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A pair of veth interfaces, both up.
pub fn veth(a: &str, b: &str) {
    ip(&format!("link add {a} type veth peer name {b}"));
    ip(&format!("link set {a} up"));
    ip(&format!("link set {b} up"));
    wait_for("carrier", || facts(a).carrier && facts(b).carrier);
}

pub fn facts(interface: &str) -> LinkFacts {
    netdev::link::facts(&None, interface).unwrap().unwrap_or_else(|| panic!("no interface {interface}")).1
}

pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "in vain: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A raw socket on an interface, independent of the code under test.
pub struct Raw(Socket);

impl Raw {
    pub fn open(interface: &str) -> Raw {
        let (index, _) = netdev::link::facts(&None, interface).unwrap().unwrap();
        let protocol = i32::from((libc::ETH_P_ALL as u16).to_be());
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking(), Some(Protocol::from(protocol))).unwrap();
        let address = libc::sockaddr_ll {
            sll_family: libc::AF_PACKET as u16,
            sll_protocol: (libc::ETH_P_ALL as u16).to_be(),
            sll_ifindex: index as i32,
            sll_hatype: 0,
            sll_pkttype: 0,
            sll_halen: 0,
            sll_addr: [0; 8],
        };
        let fill = |storage: *mut socket2::SockAddrStorage, len: *mut u32| {
            // SAFETY: the storage has room and alignment for each kind of address.
            unsafe { storage.cast::<libc::sockaddr_ll>().write(address) };
            // SAFETY: `len` is valid for writes while the closure runs.
            unsafe { len.write(size_of_val(&address) as u32) };
            Ok(())
        };
        // SAFETY: the closure writes a whole address and its true length.
        let ((), address) = unsafe { SockAddr::try_init(fill) }.unwrap();
        socket.bind(&address).unwrap();
        Raw(socket)
    }

    pub fn send(&self, octets: &[u8]) {
        assert_eq!(self.0.send(octets).unwrap(), octets.len());
    }

    pub fn try_recv(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![MaybeUninit::<u8>::uninit(); 70_000];
        match self.0.recv(&mut buffer) {
            // SAFETY: the kernel wrote this many octets.
            Ok(n) => Some(buffer[..n].iter().map(|b| unsafe { b.assume_init() }).collect()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => None,
            Err(e) => panic!("{e}"),
        }
    }

    /// The next frame for which `wanted` holds.
    pub fn recv(&self, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let mut found = None;
        wait_for("a frame on the raw socket", || {
            while found.is_none() {
                match self.try_recv() {
                    Some(frame) if wanted(&frame) => found = Some(frame),
                    Some(_) => {}
                    None => break,
                }
            }
            found.is_some()
        });
        found.unwrap()
    }
}

/// An EtherType for experiments (IEEE 802 local experimental 1): nothing in the kernel answers it.
pub const TEST_TYPE: [u8; 2] = [0x88, 0xb5];
pub const MAC_A: [u8; 6] = [0x52, 0x54, 0, 0, 0, 0xa];
pub const MAC_B: [u8; 6] = [0x52, 0x54, 0, 0, 0, 0xb];

/// A broadcast frame of `len` octets with the test type, numbered, filled with a pattern.
pub fn test_frame(number: u8, len: usize) -> Vec<u8> {
    let mut frame = [&[0xff; 6][..], &MAC_A, &TEST_TYPE, &[number]].concat();
    frame.extend((frame.len()..len).map(|i| (i * 7 + usize::from(number)) as u8));
    frame
}

pub fn is_test(octets: &[u8]) -> bool {
    octets.len() > 14 && octets[12..14] == TEST_TYPE
}

/// A frame that a queue delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    pub head: Vec<u8>,
    pub body: Vec<u8>,
    pub offload: Offload,
    pub tag: Option<Tag>,
}

impl Got {
    pub fn octets(&self) -> Vec<u8> {
        [&self.head[..], &self.body].concat()
    }
}

/// What a queue did so far.
#[derive(Default)]
pub struct Receiver {
    memory: BurstMemory,
    pub frames: Vec<Got>,
    pub lost: Vec<(DropReason, u64)>,
}

impl Receiver {
    /// One call of `receive`, and what it yields.
    pub fn turn(&mut self, rx: &mut dyn RxQueue) -> Result<usize, RxError> {
        let mut burst = self.memory.burst();
        let result = rx.receive(&mut burst);
        let count = burst.len();
        for frame in burst.frames() {
            self.frames.push(Got {
                head: frame.head().to_vec(),
                body: frame.body().octets().collect(),
                offload: frame.offload(),
                tag: frame.tags().first().copied(),
            });
        }
        self.lost.extend_from_slice(burst.losses());
        drop(burst);
        rx.release();
        result.map(|()| count)
    }

    /// Receives until `n` frames for which `wanted` holds are there; drops the others.
    pub fn expect(&mut self, rx: &mut dyn RxQueue, n: usize, wanted: impl Fn(&Got) -> bool) -> Vec<Got> {
        let mut found = Vec::new();
        wait_for(&format!("{n} frames"), || {
            let _ = self.turn(rx);
            found.extend(self.frames.drain(..).filter(&wanted));
            found.len() >= n
        });
        assert_eq!(found.len(), n, "more frames than expected");
        found
    }

    pub fn lost_for(&self, reason: DropReason) -> u64 {
        self.lost.iter().filter(|(r, _)| *r == reason).map(|(_, n)| n).sum()
    }
}

pub fn test_frames(got: &Got) -> bool {
    is_test(&got.octets())
}

/// The next error that `receive` returns.
pub fn next_error(rx: &mut dyn RxQueue) -> RxError {
    let mut receiver = Receiver::default();
    let mut error = None;
    wait_for("an error of the receive queue", || {
        error = receiver.turn(rx).err();
        error.is_some()
    });
    error.unwrap()
}

/// Transmits frames and returns what was counted.
pub fn transmit(tx: &mut dyn TxQueue, frames: &[(&[u8], Offload)], tags: &[Tag]) -> PortCounters {
    let counters = PortCounters::default();
    let mut memory = BurstMemory::new();
    let mut burst = memory.burst();
    for (octets, offload) in frames {
        burst.push_borrowed(octets, *offload, None);
    }
    burst.frames_mut().iter_mut().for_each(|frame| frame.set_wire_tags(tags));
    let picks: Vec<u8> = (0..burst.len() as u8).collect();
    tx.transmit(burst.frames(), &picks, &TxReport::new(&counters));
    let all = counters.tx_packets.get() + DropReason::ALL.iter().map(|r| counters.drops(*r)).sum::<u64>();
    assert_eq!(all, frames.len() as u64, "each frame is counted once");
    counters
}

/// Carries frames between two devices, as a switch of two ports, until `done`. Returns the longest frame seen, and whether a
/// frame was to be segmented.
pub fn pump(a: &mut netdev::Opened, b: &mut netdev::Opened, mut done: impl FnMut() -> bool) -> (usize, bool) {
    let counters = PortCounters::default();
    let mut memory = BurstMemory::new();
    let start = Instant::now();
    let (mut longest, mut gso) = (0, false);
    while !done() {
        assert!(start.elapsed() < PATIENCE, "the transfer did not end; drops: {:?}", drops(&counters));
        for (from, to) in [(&mut a.rx[0], &mut b.tx[0]), (&mut b.rx[0], &mut a.tx[0])] {
            let mut burst = memory.burst();
            from.receive(&mut burst).unwrap();
            assert_eq!(burst.losses(), []);
            for frame in burst.frames() {
                longest = longest.max(frame.len());
                gso |= frame.offload().is_gso();
            }
            let picks: Vec<u8> = (0..burst.len() as u8).collect();
            to.transmit(burst.frames(), &picks, &TxReport::new(&counters));
            drop(burst);
            from.release();
        }
    }
    assert_eq!(counters.drops(DropReason::TxRejected), 0);
    (longest, gso)
}

pub fn drops(counters: &PortCounters) -> Vec<(DropReason, u64)> {
    DropReason::ALL.iter().map(|r| (*r, counters.drops(*r))).filter(|(_, n)| *n > 0).collect()
}

/// Sends `len` octets over TCP from `client` to 10.9.0.2 in `server` while `pump` carries frames; checks that they arrive.
pub fn tcp_transfer(client: &Space, server: &Space, len: usize, pump: impl FnOnce(&dyn Fn() -> bool)) {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    let listener = server.run(|| TcpListener::bind("10.9.0.2:5001")).unwrap();
    let data = |i: usize| (i.wrapping_mul(2_654_435_761) >> 13) as u8;
    let sent: Vec<u8> = (0..len).map(data).collect();
    thread::scope(|scope| {
        let receiver = scope.spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut received = Vec::new();
            stream.read_to_end(&mut received).unwrap();
            received
        });
        let octets = &sent;
        let sender = scope.spawn(move || {
            let mut stream = client.run(|| TcpStream::connect_timeout(&"10.9.0.2:5001".parse().unwrap(), PATIENCE)).unwrap();
            stream.set_write_timeout(Some(PATIENCE)).unwrap();
            stream.write_all(octets).unwrap();
        });
        let done = || sender.is_finished() && receiver.is_finished();
        pump(&done);
        sender.join().unwrap();
        assert!(receiver.join().unwrap() == sent, "the octets arrive unchanged");
    });
}
