//! The worker (stub): one thread that polls its receive queues and runs the pipeline.
use crate::clock::Clock;
use crate::counters::Counter;
use crate::device::{Poller, RxQueue, TxQueue, Wake};
use crate::fdb::Learned;
use crate::snapshot::{PortId, Snapshot, SwitchId};
use std::sync::Arc;
use std::time::Duration;
use wire::{MacAddr, VlanId};

/// How a worker waits for frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Polling {
    /// Spin for this long after the last frame, then sleep until the next.
    Adaptive {
        /// How long to spin.
        spin: Duration,
    },
    /// Never sleep.
    Busy,
}

/// A change for one worker; taken up as a whole between two bursts.
pub struct Update {
    /// The new configuration.
    pub snapshot: Arc<Snapshot>,
    /// Ports whose queues (of an earlier [`Attach`]) end here. Done before `attach`.
    pub detach: Vec<PortId>,
    /// New queues.
    pub attach: Vec<Attach>,
    /// How to wait.
    pub polling: Polling,
}

/// Queues of one port for one worker.
pub struct Attach {
    /// The port.
    pub port: PortId,
    /// The receive queues this worker polls; often none, as another worker does.
    pub rx: Vec<Box<dyn RxQueue>>,
    /// The transmit queue of this worker.
    pub tx: Box<dyn TxQueue>,
}

/// What a worker no longer uses, given back so that it is freed (and its descriptors closed) on the control thread.
pub struct Retired {
    /// The former configuration.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Former queues.
    pub rx: Vec<Box<dyn RxQueue>>,
    /// Former queues.
    pub tx: Vec<Box<dyn TxQueue>>,
}

/// What a worker tells control, through a bounded queue; what does not fit is lost and counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerEvent {
    /// An address was learned or moved.
    Fdb {
        /// Where.
        switch: SwitchId,
        /// VLAN.
        vlan: VlanId,
        /// Address.
        mac: MacAddr,
        /// Port it is at now.
        port: PortId,
        /// What happened: `New` or `Moved`.
        what: Learned,
    },
    /// A receive queue said its device is gone.
    DeviceGone(PortId),
}

/// What a worker did.
#[derive(Debug, Default)]
pub struct WorkerStats {
    /// Turns of the loop.
    pub turns: Counter,
    /// Bursts with at least one frame.
    pub bursts: Counter,
    /// Frames in them.
    pub frames: Counter,
    /// Times it slept.
    pub sleeps: Counter,
    /// Nanoseconds it did not sleep.
    pub awake_nanos: Counter,
    /// Events that did not fit the queue.
    pub lost_events: Counter,
}

/// The worker is gone (its thread ended).
#[derive(Debug, PartialEq, Eq)]
pub struct WorkerLost;

/// Control's end of a worker.
pub struct WorkerHandle {}

#[allow(unused_variables)]
impl WorkerHandle {
    /// Hands over a change and wakes the worker; does not wait.
    pub fn send(&self, update: Update) -> Result<(), WorkerLost> {
        Ok(())
    }
    /// Waits until the oldest change not yet waited for is in force everywhere in this worker.
    pub fn wait(&self, timeout: Duration) -> Result<Retired, WorkerLost> {
        Err(WorkerLost)
    }
    /// What it did so far.
    pub fn stats(&self) -> &WorkerStats {
        unimplemented!()
    }
    /// Takes the oldest event. FDB events are produced only while [`WorkerHandle::watch_fdb`] is on.
    pub fn next_event(&self) -> Option<WorkerEvent> {
        None
    }
    /// Turns FDB events on or off.
    pub fn watch_fdb(&self, on: bool) {}
    /// Ends the sleep of the worker.
    pub fn waker(&self) -> Arc<dyn Wake> {
        unimplemented!()
    }
    /// Ends the worker after the current turn.
    pub fn stop(&self) {}
}

/// The worker; [`Worker::run`] is the body of its thread.
pub struct Worker {}

#[allow(unused_variables)]
impl Worker {
    /// A worker with the number `index` (index of its counters), and control's end of it. `notify` is woken when there is an event.
    pub fn new(
        index: usize,
        poller: Box<dyn Poller>,
        waker: Arc<dyn Wake>,
        clock: Box<dyn Clock>,
        notify: Arc<dyn Wake>,
    ) -> (Worker, WorkerHandle) {
        (Worker {}, WorkerHandle {})
    }
    /// Polls until [`WorkerHandle::stop`].
    pub fn run(self) {}
}
