//! Two vhost-user ports and the VMs behind them, in this process: frames wait in the ring of one, and end in that of the
//! other. What the VMs do is not counted: they fill and empty their rings between the counts.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dataplane::device::{RxQueue, TxQueue, TxReport, Wake};
use dataplane::{BURST_MAX, BurstMemory, PortCounters};
use netdev::vhost_user::frontend::{Frontend, FrontendOptions, OpenedFrontend};
use netdev::vhost_user::{Mode, VhostUserOptions, open};
use wire::Offload;

/// Descriptors of a ring: more than the frames of the longest count.
pub(super) const RING: u16 = 1 << 15;
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct VirtualMachines {
    frames: Vec<Vec<u8>>,
    next: usize,
    sender: OpenedFrontend,
    receiver: OpenedFrontend,
    memory: BurstMemory,
    /// Frames that the receiver got.
    pub(super) received: u64,
}

/// The switch's side of both ports, which each of the queues keeps open.
pub(super) struct Queues {
    pub(super) rx: Box<dyn RxQueue>,
    pub(super) tx: Box<dyn TxQueue>,
}

impl VirtualMachines {
    /// Two VMs that are ready; the sender sends `frames` again and again.
    pub(super) fn new(frames: Vec<Vec<u8>>) -> Result<(VirtualMachines, Queues), String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let port = |name: &str| {
            let path = directory.path().join(name);
            let notified = Arc::new(Notified::default());
            let options = VhostUserOptions { path: path.clone(), mode: Mode::Server, queues: 1 };
            let (opened, link) = open(&options, 1, notified.clone()).map_err(|error| error.to_string())?;
            let options = FrontendOptions { queue_size: RING, timeout: PATIENCE, ..FrontendOptions::new(path) };
            let frontend = Frontend::open(options).map_err(|error| error.to_string())?;
            notified.wait(|| link.state().carrier)?;
            Ok::<_, String>((opened, frontend))
        };
        let ((mut from, sender), (mut to, receiver)) = (port("from")?, port("to")?);
        let (Some(rx), Some(tx)) = (from.rx.pop(), to.tx.pop()) else { return Err("a port without queues".into()) };
        let machines = VirtualMachines { frames, next: 0, sender, receiver, memory: BurstMemory::new(), received: 0 };
        Ok((machines, Queues { rx, tx }))
    }

    /// Takes what arrived, and makes `count` frames available.
    pub(super) fn refill(&mut self, count: u64) {
        loop {
            let mut burst = self.memory.burst();
            // A VM that sees nonsense has received nothing more, which the check finds.
            let _ = self.receiver.rx[0].receive(&mut burst);
            let frames = burst.len() as u64;
            drop(burst);
            self.receiver.rx[0].release();
            self.received += frames;
            if frames == 0 {
                break;
            }
        }
        let counters = PortCounters::default();
        let mut left = count as usize;
        while left > 0 {
            let mut burst = self.memory.burst();
            for _ in 0..left.min(BURST_MAX) {
                burst.push_borrowed(&self.frames[self.next], Offload::NONE, None);
                self.next = (self.next + 1) % self.frames.len();
            }
            let picks: Vec<u8> = (0..burst.len() as u8).collect();
            self.sender.tx[0].transmit(burst.frames(), &picks, &TxReport::new(&counters));
            left -= picks.len();
        }
    }
}

/// Waits for changes of a link.
#[derive(Default)]
struct Notified {
    changes: Mutex<()>,
    changed: Condvar,
}

impl Wake for Notified {
    fn wake(&self) {
        drop(self.changes.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }
}

impl Notified {
    fn wait(&self, done: impl Fn() -> bool) -> Result<(), String> {
        let deadline = Instant::now() + PATIENCE;
        let mut changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        while !done() {
            let left = deadline.checked_duration_since(Instant::now()).ok_or("a vhost-user port does not come up")?;
            changes = self.changed.wait_timeout(changes, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }
}
