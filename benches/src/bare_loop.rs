//! The bare loop: frames from one port to another and back, nothing between. The limit of what a switch can reach over TAP
//! with one `read` and one `write` a frame, and over AF_PACKET with a receive ring and `sendmmsg`.
//!
//! One thread, level-triggered epoll, asked without waiting for a while after each frame where that is wanted. Between TAPs the virtio_net_hdr in front of each frame is passed on unseen, which
//! is right between two with the same offloads. It runs as a process of its own (`vswitch-bench bare-loop`), as the
//! switches it is compared with do; a process with one thread also has the cheapest system calls.
//!
//! It can be made worse on purpose, by a delay or a loss, which the harness's own tests must find in their figures.

use std::convert::Infallible;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use dataplane::{BURST_MAX, BurstMemory, PortCounters, RxError, TxReport};
use netdev::{Netns, Opened, PacketOptions, TapOptions};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

/// Frames taken from one TAP before the other is looked at.
const BURST: usize = 32;
/// Octets of the largest frame, with its virtio_net_hdr and VLAN tags.
const BUFFER: usize = 12 + 14 + 8 + 65_535;

/// A port: `tap:NAMESPACE:INTERFACE`, a TAP to make, or `packet:INTERFACE`, an interface of our namespace through AF_PACKET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortAt {
    /// A TAP to make.
    Tap {
        /// The namespace, by name.
        netns: String,
        /// Name of the netdev.
        interface: String,
    },
    /// An interface that exists.
    Packet {
        /// Its name.
        interface: String,
    },
}

impl FromStr for PortAt {
    type Err = String;

    fn from_str(text: &str) -> Result<PortAt, String> {
        match text.split(':').collect::<Vec<_>>()[..] {
            ["tap", netns, interface] => Ok(PortAt::Tap { netns: netns.into(), interface: interface.into() }),
            ["packet", interface] => Ok(PortAt::Packet { interface: interface.into() }),
            _ => Err(format!("\"{text}\" is not tap:NAMESPACE:INTERFACE or packet:INTERFACE")),
        }
    }
}

/// As the switch's own ports are by default.
const RING_SIZE: u64 = 2 << 20;

impl PortAt {
    fn open(&self) -> anyhow::Result<Opened> {
        Ok(match self {
            PortAt::Tap { netns, interface } => {
                let netns = Some(Netns::named(netns)?);
                netdev::tap::open(&TapOptions { name: interface.clone(), netns, mac: None, mtu: None, queues: 1, offload: true }, 1)?
            }
            PortAt::Packet { interface } => {
                let interface = interface.clone();
                netdev::packet::open(
                    &PacketOptions { interface, netns: None, queues: 1, offload: true, ring_size: RING_SIZE, qdisc_bypass: true },
                    1,
                )?
            }
        })
    }
}

/// How the loop is worse than it could be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// Time wasted on each frame.
    pub delay: Duration,
    /// Every how many-th frame is lost; 0: none.
    pub drop_every: u64,
}

/// Opens the ports, says `ready` on standard output, and forwards until the process is ended. It does not sleep before `spin` has
/// passed since the last frame.
///
/// # Errors
///
/// When the ports are not of the same kind or cannot be opened, or a system call fails that should not.
pub fn run(a: &PortAt, b: &PortAt, spin: Duration, fault: Fault) -> anyhow::Result<Infallible> {
    let is_tap = |port: &PortAt| matches!(port, PortAt::Tap { .. });
    if is_tap(a) != is_tap(b) {
        bail!("the bare loop joins two TAPs or two interfaces, not one of each");
    }
    let ports = [a.open()?, b.open()?];
    if is_tap(a) { taps(&ports, spin, Fated::new(fault)) } else { packets(ports, spin, Fated::new(fault)) }
}

/// One `read` and one `write` a frame, through one flat buffer.
fn taps(taps: &[Opened; 2], spin: Duration, mut fated: Fated) -> anyhow::Result<Infallible> {
    let fd = |tap: usize| taps[tap].rx[0].fd().ok_or_else(|| anyhow!("a TAP queue has a descriptor"));
    let fds = [fd(0)?, fd(1)?];
    let mut buffer = vec![0; BUFFER];
    serve(fds, spin, |from| {
        for _ in 0..BURST {
            let len = match rustix::io::read(fds[from], &mut buffer[..]) {
                Ok(len) => len,
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno).context("read a frame"),
            };
            if fated.passes() {
                // A frame that the other TAP does not take, as when it is down, is lost; that shows in the figures.
                let _ = rustix::io::write(fds[1 - from], &buffer[..len]);
            }
        }
        Ok(())
    })
}

/// A burst from the receive ring of one to `sendmmsg` of the other, through the same queues as the switch has.
fn packets(ports: [Opened; 2], spin: Duration, mut fated: Fated) -> anyhow::Result<Infallible> {
    let [a, b] = ports;
    let (mut rx, mut tx): (Vec<_>, Vec<_>) = ([a.rx, b.rx].into_iter().flatten().collect(), [a.tx, b.tx].into_iter().flatten().collect());
    let mut fds = Vec::new();
    for queue in &rx {
        fds.push(queue.fd().context("an AF_PACKET queue has a descriptor")?.try_clone_to_owned()?);
    }
    let fds = [fds[0].as_fd(), fds[1].as_fd()];
    let mut memory = BurstMemory::new();
    // Frames that the other does not take are lost; that shows in the figures.
    let counters = PortCounters::default();
    let mut picks = Vec::with_capacity(BURST_MAX);
    serve(fds, spin, |from| {
        let mut burst = memory.burst();
        let received = rx[from].receive(&mut burst);
        picks.clear();
        picks.extend((0..burst.len() as u8).filter(|_| fated.passes()));
        tx[1 - from].transmit(burst.frames(), &picks, &TxReport::new(&counters));
        drop(burst);
        rx[from].release();
        match received {
            Ok(()) | Err(RxError::LinkDown) => Ok(()),
            Err(error) => bail!("receive frames: {error:?}"),
        }
    })
}

/// Calls `burst` with the number of each port that has something, for ever.
fn serve(fds: [BorrowedFd<'_>; 2], spin: Duration, mut burst: impl FnMut(usize) -> anyhow::Result<()>) -> anyhow::Result<Infallible> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("epoll_create")?;
    for (i, fd) in fds.iter().enumerate() {
        epoll::add(&epoll, fd, epoll::EventData::new_u64(i as u64), epoll::EventFlags::IN).context("epoll_ctl")?;
    }
    announce()?;
    let mut events = Vec::with_capacity(2);
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut last = Instant::now();
    loop {
        let spins = !spin.is_zero() && last.elapsed() < spin;
        match epoll::wait(&epoll, spare_capacity(&mut events), spins.then_some(&now)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("epoll_wait"),
        }
        if !spin.is_zero() && !events.is_empty() {
            last = Instant::now();
        }
        for event in events.drain(..) {
            burst(event.data.u64() as usize & 1)?;
        }
    }
}

#[expect(clippy::print_stdout, reason = "the harness waits for this line")]
fn announce() -> anyhow::Result<()> {
    println!("ready");
    std::io::Write::flush(&mut std::io::stdout()).context("write to standard output")
}

/// What the fault makes of each frame.
struct Fated {
    fault: Fault,
    frames: u64,
}

impl Fated {
    fn new(fault: Fault) -> Fated {
        Fated { fault, frames: 0 }
    }

    /// Whether the next frame passes, when the time it is to waste is over.
    #[inline]
    fn passes(&mut self) -> bool {
        if self.fault == Fault::default() {
            return true;
        }
        let start = Instant::now();
        while start.elapsed() < self.fault.delay {}
        self.frames += 1;
        self.fault.drop_every == 0 || !self.frames.is_multiple_of(self.fault.drop_every)
    }
}
