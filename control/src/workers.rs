//! The workers as control sees them: one change at a time, in force everywhere before the next.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use dataplane::device::{RxQueue, TxQueue, Wake};
use dataplane::memory::MemoryDevice;
use dataplane::punt::{InjectError, Punted};
use dataplane::rules::LogRecord;
use dataplane::snapshot::{PortId, Snapshot};
use dataplane::worker::{Attach, Polling, Retired, Update, WorkerEvent, WorkerHandle, WorkerLost, WorkerStats};

/// How long a worker may take to end its current burst and take up a change. It is microseconds; after this long the
/// thread is stuck and the daemon must be restarted.
const TAKE_UP_MAX: Duration = Duration::from_secs(10);

/// A change for all workers.
pub struct Publication {
    /// The new configuration.
    pub snapshot: Arc<Snapshot>,
    /// Ports whose queues end; done before `attach`.
    pub detach: Vec<PortId>,
    /// Ports that get queues.
    pub attach: Vec<PortQueues>,
    /// How to wait for frames.
    pub polling: Polling,
}

/// The queues of one port.
pub struct PortQueues {
    /// The port.
    pub port: PortId,
    /// Receive queues; each goes to one worker.
    pub rx: Vec<Box<dyn RxQueue>>,
    /// Transmit queues, one per worker.
    pub tx: Vec<Box<dyn TxQueue>>,
    /// The device, if it must wake its worker itself.
    pub sim: Option<MemoryDevice>,
}

/// All workers.
pub trait Workers {
    /// How many.
    fn count(&self) -> usize;

    /// Puts a change in force at every worker. When it returns, no worker uses what the change replaced.
    ///
    /// # Errors
    ///
    /// A worker ended or is stuck; the daemon must end.
    fn publish(&mut self, change: Publication) -> Result<Vec<Retired>, WorkerLost>;

    /// Takes the oldest event of some worker.
    fn next_event(&mut self) -> Option<WorkerEvent>;

    /// Takes the oldest frame that some worker punted.
    fn next_punted(&mut self) -> Option<Punted>;

    /// Takes the oldest frame that a router of some worker punted: ARP and neighbour discovery.
    fn next_punted_by_router(&mut self) -> Option<Punted>;

    /// Ends the sleep of every worker: something they look at has changed.
    fn wake(&self);

    /// Takes the oldest packet that a rule of some worker logged.
    fn next_logged(&mut self) -> Option<LogRecord>;

    /// Transmits a frame out of the device of a port, whatever its state. Frames leave in the order they are given.
    ///
    /// # Errors
    ///
    /// Too many frames wait already, or the frame has no possible length.
    fn inject(&mut self, port: PortId, octets: Vec<u8>) -> Result<(), InjectError>;

    /// Events of all workers that did not fit.
    fn lost_events(&self) -> u64;

    /// Turns events of address tables on or off.
    fn watch_fdb(&mut self, on: bool);

    /// What a worker did, if its number is below [`Workers::count`].
    fn stats(&self, worker: usize) -> Option<&WorkerStats>;

    /// Ports whose receive queues a worker polls.
    fn ports(&self, worker: usize) -> Vec<PortId>;

    /// The core a worker is pinned to.
    fn core(&self, worker: usize) -> Option<u16>;

    /// Whether a worker thread ended by itself.
    fn any_lost(&self) -> bool;
}

/// One worker thread.
pub struct WorkerSlot {
    /// Control's end.
    pub handle: WorkerHandle,
    /// The core it is pinned to.
    pub core: Option<u16>,
    /// Its thread.
    pub thread: JoinHandle<()>,
}

/// The real workers. Dropping the set ends their threads, and with them closes all devices.
pub struct WorkerSet {
    slots: Vec<WorkerSlot>,
    /// Ports of the receive queues of each worker, one entry a queue.
    rx: Vec<Vec<PortId>>,
    next: usize,
    next_punted: usize,
    next_punted_by_router: usize,
}

impl WorkerSet {
    /// A set of running workers, by worker number.
    pub fn new(slots: Vec<WorkerSlot>) -> WorkerSet {
        let rx = slots.iter().map(|_| Vec::new()).collect();
        WorkerSet { slots, rx, next: 0, next_punted: 0, next_punted_by_router: 0 }
    }

    /// The worker that polls the fewest queues, not one of `taken` unless all are.
    fn least_busy(&self, taken: &[usize]) -> usize {
        let load = |worker: &usize| (taken.contains(worker), self.rx[*worker].len());
        (0..self.slots.len()).min_by_key(load).unwrap_or(0)
    }
}

impl Workers for WorkerSet {
    fn count(&self) -> usize {
        self.slots.len()
    }

    fn publish(&mut self, change: Publication) -> Result<Vec<Retired>, WorkerLost> {
        for queues in &mut self.rx {
            queues.retain(|port| !change.detach.contains(port));
        }
        let mut attach: Vec<Vec<Attach>> = self.slots.iter().map(|_| Vec::new()).collect();
        for queues in change.attach {
            let mut rx: Vec<Vec<Box<dyn RxQueue>>> = self.slots.iter().map(|_| Vec::new()).collect();
            let mut taken = Vec::new();
            for queue in queues.rx {
                let worker = self.least_busy(&taken);
                taken.push(worker);
                self.rx[worker].push(queues.port);
                rx[worker].push(queue);
            }
            if let (Some(sim), Some(worker)) = (&queues.sim, taken.first()) {
                let wake: Arc<dyn Wake> = self.slots[*worker].handle.waker();
                sim.set_wake(Some(wake));
            }
            for ((worker, rx), tx) in rx.into_iter().enumerate().zip(queues.tx) {
                attach[worker].push(Attach { port: queues.port, rx, tx });
            }
        }
        for (slot, attach) in self.slots.iter().zip(attach) {
            let update = Update { snapshot: change.snapshot.clone(), detach: change.detach.clone(), attach, polling: change.polling };
            slot.handle.send(update)?;
        }
        self.slots.iter().map(|slot| slot.handle.wait(TAKE_UP_MAX)).collect()
    }

    fn next_event(&mut self) -> Option<WorkerEvent> {
        // Begin behind the worker that was asked last, so that a busy one does not hide the others.
        for _ in 0..self.slots.len() {
            self.next = (self.next + 1) % self.slots.len();
            if let Some(event) = self.slots[self.next].handle.next_event() {
                return Some(event);
            }
        }
        None
    }

    fn next_punted(&mut self) -> Option<Punted> {
        // As for events.
        for _ in 0..self.slots.len() {
            self.next_punted = (self.next_punted + 1) % self.slots.len();
            if let Some(frame) = self.slots[self.next_punted].handle.next_punted() {
                return Some(frame);
            }
        }
        None
    }

    fn next_punted_by_router(&mut self) -> Option<Punted> {
        // As for events.
        for _ in 0..self.slots.len() {
            self.next_punted_by_router = (self.next_punted_by_router + 1) % self.slots.len();
            if let Some(frame) = self.slots[self.next_punted_by_router].handle.next_punted_by_router() {
                return Some(frame);
            }
        }
        None
    }

    fn wake(&self) {
        self.slots.iter().for_each(|slot| slot.handle.waker().wake());
    }

    fn next_logged(&mut self) -> Option<LogRecord> {
        // Workers make few of them: none can hide those of others for long.
        self.slots.iter().find_map(|slot| slot.handle.next_logged())
    }

    fn inject(&mut self, port: PortId, octets: Vec<u8>) -> Result<(), InjectError> {
        // Each worker has a queue of each port; always the same one, for the order.
        self.slots.first().map_or(Ok(()), |slot| slot.handle.inject(port, octets))
    }

    fn lost_events(&self) -> u64 {
        self.slots.iter().map(|slot| slot.handle.lost_events()).sum()
    }

    fn watch_fdb(&mut self, on: bool) {
        self.slots.iter().for_each(|slot| slot.handle.watch_fdb(on));
    }

    fn stats(&self, worker: usize) -> Option<&WorkerStats> {
        self.slots.get(worker).map(|slot| slot.handle.stats())
    }

    fn ports(&self, worker: usize) -> Vec<PortId> {
        let mut ports = self.rx.get(worker).cloned().unwrap_or_default();
        ports.dedup();
        ports
    }

    fn core(&self, worker: usize) -> Option<u16> {
        self.slots.get(worker).and_then(|slot| slot.core)
    }

    fn any_lost(&self) -> bool {
        self.slots.iter().any(|slot| slot.thread.is_finished())
    }
}

impl Drop for WorkerSet {
    fn drop(&mut self) {
        self.slots.iter().for_each(|slot| slot.handle.stop());
        for slot in self.slots.drain(..) {
            // A worker that panicked has said so already.
            let _ = slot.thread.join();
        }
    }
}
