//! The bare loop: frames from one TAP to another and back, nothing between. The limit of what a switch over TAP can reach
//! with one `read` and one `write` a frame.
//!
//! One thread, one flat buffer, level-triggered epoll. The virtio_net_hdr in front of each frame is passed on unseen, which
//! is right between two TAPs with the same offloads. It runs as a process of its own (`vswitch-bench bare-loop`), as the
//! switches it is compared with do; a process with one thread also has the cheapest system calls.
//!
//! It can be made worse on purpose, by a delay or a loss, which the harness's own tests must find in their figures.

use std::convert::Infallible;
use std::os::fd::BorrowedFd;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use netdev::{Netns, Opened, TapOptions};
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::io::Errno;

/// Frames taken from one TAP before the other is looked at.
const BURST: usize = 32;
/// Octets of the largest frame, with its virtio_net_hdr and VLAN tags.
const BUFFER: usize = 12 + 14 + 8 + 65_535;

/// A TAP to make: `NAMESPACE:INTERFACE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapAt {
    /// The namespace, by name.
    pub netns: String,
    /// Name of the netdev.
    pub interface: String,
}

impl FromStr for TapAt {
    type Err = String;

    fn from_str(text: &str) -> Result<TapAt, String> {
        let (netns, interface) = text.split_once(':').ok_or_else(|| format!("\"{text}\" is not NAMESPACE:INTERFACE"))?;
        Ok(TapAt { netns: netns.into(), interface: interface.into() })
    }
}

impl TapAt {
    fn open(&self) -> anyhow::Result<Opened> {
        let netns = Some(Netns::named(&self.netns)?);
        let options = TapOptions { name: self.interface.clone(), netns, mac: None, mtu: None, queues: 1, offload: true };
        Ok(netdev::tap::open(&options, 1)?)
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

/// Makes the TAPs, says `ready` on standard output, and forwards until the process is ended.
///
/// # Errors
///
/// When a TAP cannot be made, or a system call fails that should not.
pub fn run(a: &TapAt, b: &TapAt, fault: Fault) -> anyhow::Result<Infallible> {
    let taps = [a.open()?, b.open()?];
    let fd = |tap: usize| taps[tap].rx[0].fd().ok_or_else(|| anyhow!("a TAP queue has a descriptor"));
    let fds = [fd(0)?, fd(1)?];
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("epoll_create")?;
    for (i, fd) in fds.iter().enumerate() {
        epoll::add(&epoll, fd, epoll::EventData::new_u64(i as u64), epoll::EventFlags::IN).context("epoll_ctl")?;
    }
    announce()?;
    let mut forward = Forward { buffer: vec![0; BUFFER], fault, frames: 0 };
    let mut events = Vec::with_capacity(2);
    loop {
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context("epoll_wait"),
        }
        for event in events.drain(..) {
            let from = event.data.u64() as usize & 1;
            forward.burst(fds[from], fds[1 - from])?;
        }
    }
}

#[expect(clippy::print_stdout, reason = "the harness waits for this line")]
fn announce() -> anyhow::Result<()> {
    println!("ready");
    std::io::Write::flush(&mut std::io::stdout()).context("write to standard output")
}

struct Forward {
    buffer: Vec<u8>,
    fault: Fault,
    frames: u64,
}

impl Forward {
    fn burst(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> anyhow::Result<()> {
        for _ in 0..BURST {
            let len = match rustix::io::read(from, &mut self.buffer[..]) {
                Ok(len) => len,
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno).context("read a frame"),
            };
            if self.fault != Fault::default() && !self.pass() {
                continue;
            }
            // A frame that the other TAP does not take, as when it is down, is lost; that shows in the figures.
            let _ = rustix::io::write(to, &self.buffer[..len]);
        }
        Ok(())
    }

    /// Whether the fault lets the next frame pass.
    fn pass(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < self.fault.delay {}
        self.frames += 1;
        self.fault.drop_every == 0 || !self.frames.is_multiple_of(self.fault.drop_every)
    }
}
