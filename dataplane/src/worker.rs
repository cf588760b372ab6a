//! The worker: one thread that polls its receive queues in turn and runs the pipeline on what they deliver.
//!
//! A turn takes up a new configuration if there is one, gives each ready queue one burst (so that a busy port cannot
//! starve the others), and looks for queues that became ready. Without work, an adaptive worker spins for a while and then
//! sleeps on all descriptors; a frame, a [`Wake`] or a new configuration ends the sleep. A busy worker never sleeps.
//!
//! Control owns the [`WorkerHandle`]. A change is handed over as a whole and taken up between two bursts; what the
//! worker no longer uses comes back in [`Retired`], so nothing is freed and no descriptor closed on this thread. When
//! `wait` has returned, no frame is in flight that saw the former configuration.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use wire::{MacAddr, VlanId};

use crate::burst::{BURST_MAX, BurstMemory};
use crate::clock::{Clock, Nanos, tick};
use crate::counters::Counter;
use crate::device::{Poller, RxError, RxQueue, TxQueue, Wake};
use crate::events::EventQueue;
use crate::fdb::Learned;
use crate::pipeline::Pipeline;
use crate::punt::{InjectError, InjectQueue, Injected, Punted};
use crate::router::neighbour::NextHop;
use crate::rules::LogRecord;
use crate::snapshot::{PortId, Snapshot, SwitchId};

/// How often a worker that does not sleep looks after packets that wait for neighbours, in nanoseconds.
const WAITING_INTERVAL: Nanos = 200_000;
/// How long a worker sleeps at most while packets wait: for a neighbour, whose answer wakes it, or for a time to pass.
const WAITING_SLEEP: Duration = Duration::from_millis(250);

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
#[derive(Default)]
pub struct Retired {
    /// The former configuration.
    pub snapshot: Option<Arc<Snapshot>>,
    /// Former receive queues.
    pub rx: Vec<Box<dyn RxQueue>>,
    /// Former transmit queues.
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
        /// What happened: [`Learned::New`] or [`Learned::Moved`].
        what: Learned,
    },
    /// A receive queue said its device is gone.
    DeviceGone(PortId),
    /// A frame waits for the MAC address of a neighbour.
    NeighbourNeeded(NextHop),
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
    /// Packets that followed the path of an established flow through a router.
    pub on_path: Counter,
    /// Times it slept.
    pub sleeps: Counter,
    /// Nanoseconds it did not sleep, in whole waking periods.
    pub awake_nanos: Counter,
}

/// The worker is gone or does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerLost;

struct Shared {
    pending: AtomicBool,
    stop: AtomicBool,
    stats: WorkerStats,
    events: Arc<EventQueue>,
    inject: InjectQueue,
}

/// Control's end of a worker.
pub struct WorkerHandle {
    shared: Arc<Shared>,
    updates: Sender<Update>,
    retired: Receiver<Retired>,
    waker: Arc<dyn Wake>,
}

impl WorkerHandle {
    /// Hands over a change and wakes the worker; does not wait.
    ///
    /// # Errors
    ///
    /// [`WorkerLost`] when the thread ended.
    pub fn send(&self, update: Update) -> Result<(), WorkerLost> {
        self.updates.send(update).map_err(|_| WorkerLost)?;
        self.shared.pending.store(true, Ordering::Release);
        self.waker.wake();
        Ok(())
    }

    /// Waits until the oldest change not yet waited for is in force.
    ///
    /// # Errors
    ///
    /// [`WorkerLost`] when the thread ended, or after `timeout`.
    pub fn wait(&self, timeout: Duration) -> Result<Retired, WorkerLost> {
        match self.retired.recv_timeout(timeout) {
            Ok(retired) => Ok(retired),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(WorkerLost),
        }
    }

    /// What it did so far.
    pub fn stats(&self) -> &WorkerStats {
        &self.shared.stats
    }

    /// Takes the oldest event. Events of the address table come only while [`WorkerHandle::watch_fdb`] is on.
    pub fn next_event(&self) -> Option<WorkerEvent> {
        self.shared.events.pop()
    }

    /// Takes the oldest packet that a rule logged.
    pub fn next_logged(&self) -> Option<LogRecord> {
        self.shared.events.logged.pop()
    }

    /// Events that did not fit the queue.
    pub fn lost_events(&self) -> u64 {
        self.shared.events.lost()
    }

    /// Takes the oldest frame that ports punted.
    pub fn next_punted(&self) -> Option<Punted> {
        self.shared.events.punted.pop()
    }

    /// Takes the oldest frame that routers punted: ARP and neighbour discovery, with the port of the interface it came to.
    pub fn next_punted_by_router(&self) -> Option<Punted> {
        self.shared.events.punted_by_routers.pop()
    }

    /// Lets the worker transmit a frame out of the device of `port`, as it is: with its VLAN tags in the octets, whatever
    /// the settings and the state of the port; if the port stands for the interface of a router, the frame enters its switch
    /// there. Frames injected at one worker leave in their order.
    ///
    /// # Errors
    ///
    /// [`InjectError`] when too many frames wait or the frame has no possible length. What becomes of an accepted frame
    /// is counted at the port: `injected`, and sent or dropped.
    pub fn inject(&self, port: PortId, octets: Vec<u8>) -> Result<(), InjectError> {
        self.shared.inject.push(port, octets)?;
        self.waker.wake();
        Ok(())
    }

    /// Turns events of the address table on or off.
    pub fn watch_fdb(&self, on: bool) {
        self.shared.events.watch_fdb(on);
    }

    /// What ends the sleep of the worker.
    pub fn waker(&self) -> Arc<dyn Wake> {
        self.waker.clone()
    }

    /// Ends the worker after the current turn.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.waker.wake();
    }
}

struct RxEntry {
    port: PortId,
    queue: Box<dyn RxQueue>,
    token: usize,
    /// Frames may wait: its descriptor was reported, or its last burst was full.
    ready: bool,
    cheap: bool,
    /// Its descriptor cannot be watched, so a worker that has it must not sleep.
    unwatched: bool,
    gone: bool,
}

/// The worker; [`Worker::run`] is the body of its thread.
pub struct Worker {
    index: usize,
    shared: Arc<Shared>,
    updates: Receiver<Update>,
    retired: Sender<Retired>,
    poller: Box<dyn Poller>,
    clock: Box<dyn Clock>,
    rx: Vec<RxEntry>,
    next_token: usize,
    memory: BurstMemory,
    pipeline: Pipeline,
    snapshot: Arc<Snapshot>,
    polling: Polling,
    /// Frames of control that are being transmitted; empty between turns.
    injected: Vec<Injected>,
    /// When it last looked after packets that wait.
    looked: Nanos,
    /// It slept since.
    woke: bool,
}

impl Worker {
    /// A worker whose counters have the number `index`, and control's end of it. `waker` ends a sleep on `poller`;
    /// `notify` is woken when there is an event.
    pub fn new(
        index: usize,
        poller: Box<dyn Poller>,
        waker: Arc<dyn Wake>,
        clock: Box<dyn Clock>,
        notify: Arc<dyn Wake>,
    ) -> (Worker, WorkerHandle) {
        let (update_sender, updates) = unbounded();
        let (retired, retired_receiver) = unbounded();
        let events = Arc::new(EventQueue::new(notify));
        let shared = Arc::new(Shared {
            pending: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            stats: WorkerStats::default(),
            events: events.clone(),
            inject: InjectQueue::new(),
        });
        let worker = Worker {
            index,
            shared: shared.clone(),
            updates,
            retired,
            poller,
            clock,
            rx: Vec::new(),
            next_token: 0,
            memory: BurstMemory::new(),
            pipeline: Pipeline::new(index, events),
            snapshot: Arc::default(),
            polling: Polling::Adaptive { spin: Duration::ZERO },
            injected: Vec::with_capacity(BURST_MAX),
            looked: 0,
            woke: false,
        };
        (worker, WorkerHandle { shared, updates: update_sender, retired: retired_receiver, waker })
    }

    /// Tells the queues that signal only when asked that this worker is going to sleep. `false` when frames wait.
    fn prepare_sleep(&mut self) -> bool {
        let mut sleep = true;
        for entry in self.rx.iter_mut().filter(|entry| entry.cheap && !entry.gone) {
            sleep &= entry.queue.prepare_sleep();
        }
        sleep
    }

    /// Polls until [`WorkerHandle::stop`], or until the handle is dropped and nothing is left to do.
    pub fn run(mut self) {
        let mut woke = self.clock.now();
        let mut last_work = woke;
        while !self.shared.stop.load(Ordering::Acquire) {
            if self.shared.pending.swap(false, Ordering::Acquire) {
                self.take_updates();
            }
            self.shared.stats.turns.add(1);
            let frames = self.turn();
            let now = self.clock.now();
            if frames > 0 {
                last_work = now;
            }
            let spin = match self.polling {
                Polling::Busy => Nanos::MAX,
                Polling::Adaptive { spin } => spin.as_nanos() as Nanos,
            };
            let anything_ready = self.rx.iter().any(|entry| (entry.ready || entry.unwatched) && !entry.gone);
            if anything_ready || frames > 0 || now.saturating_sub(last_work) < spin || !self.prepare_sleep() {
                // Queues that are cheap to poll are asked anyway; a system call would cost more than they do.
                if self.rx.iter().any(|entry| !entry.cheap) {
                    self.look_for_ready(Some(Duration::ZERO));
                }
                continue;
            }
            self.shared.stats.awake_nanos.add(now.saturating_sub(woke));
            self.shared.stats.sleeps.add(1);
            self.look_for_ready(self.pipeline.has_waiting().then_some(WAITING_SLEEP));
            woke = self.clock.now();
            last_work = woke;
            self.woke = true;
        }
    }

    /// One burst from each ready queue and one of what control injects; returns the number of frames.
    pub fn turn(&mut self) -> usize {
        let mut frames = if self.shared.inject.is_empty() { 0 } else { self.transmit_injected() };
        if self.pipeline.has_waiting() {
            self.look_at_waiting();
        }
        for i in 0..self.rx.len() {
            let entry = &mut self.rx[i];
            if (!entry.ready && !entry.cheap) || entry.gone {
                continue;
            }
            let mut burst = self.memory.burst();
            let result = entry.queue.receive(&mut burst);
            let received = burst.len();
            if received > 0 || !burst.losses().is_empty() {
                let now = self.clock.now();
                self.pipeline.set_time(now);
                let on_path = self.pipeline.on_path();
                self.pipeline.run(&self.snapshot, entry.port, &mut burst, tick(now));
                self.shared.stats.on_path.add(self.pipeline.on_path() - on_path);
                self.shared.stats.bursts.add(1);
                self.shared.stats.frames.add(received as u64);
                frames += received;
            }
            // Only a full burst leaves frames behind; otherwise the descriptor reports the next one.
            entry.ready = burst.is_full();
            drop(burst);
            entry.queue.release();
            if let Err(error) = result {
                self.receive_failed(i, error);
            }
        }
        frames
    }

    /// Sends what waited for a neighbour that has become known. Busy workers look now and then, those that woke at once: control
    /// wakes them when it knows a neighbour.
    #[cold]
    fn look_at_waiting(&mut self) {
        let now = self.clock.now();
        if now.saturating_sub(self.looked) >= WAITING_INTERVAL || self.woke {
            (self.looked, self.woke) = (now, false);
            self.pipeline.set_time(now);
            self.pipeline.send_waiting(&self.snapshot, tick(now));
        }
    }

    #[cold]
    fn transmit_injected(&mut self) -> usize {
        self.pipeline.set_time(self.clock.now());
        while self.injected.len() < BURST_MAX
            && let Some(frame) = self.shared.inject.pop()
        {
            self.injected.push(frame);
        }
        self.pipeline.inject(&self.snapshot, &self.injected, &mut self.memory);
        let count = self.injected.len();
        self.injected.drain(..).for_each(|frame| self.shared.inject.give_back(frame.octets));
        count
    }

    #[cold]
    fn receive_failed(&mut self, i: usize, error: RxError) {
        let entry = &mut self.rx[i];
        entry.ready = false;
        match error {
            RxError::LinkDown => {}
            RxError::Gone => {
                entry.gone = true;
                self.shared.events.push(WorkerEvent::DeviceGone(entry.port));
            }
            RxError::Other(_) => {
                if let Some(port) = self.snapshot.port(entry.port) {
                    port.counters[self.index].rx_errors.add(1);
                }
            }
        }
    }

    fn look_for_ready(&mut self, timeout: Option<Duration>) {
        let rx = &mut self.rx;
        let result = self.poller.poll(timeout, &mut |token| {
            if let Some(entry) = rx.iter_mut().find(|entry| entry.token == token) {
                entry.ready = true;
            }
        });
        if result.is_err() {
            // Without readiness the queues are still right, only slower to find: try them all.
            self.rx.iter_mut().for_each(|entry| entry.ready = true);
        }
    }

    /// Takes up the changes that wait.
    pub fn take_updates(&mut self) {
        while let Ok(update) = self.updates.try_recv() {
            let mut retired = Retired::default();
            for port in &update.detach {
                self.detach(*port, &mut retired);
            }
            for attach in update.attach {
                for queue in attach.rx {
                    self.attach_rx(attach.port, queue);
                }
                retired.tx.extend(self.pipeline.attach(attach.port, attach.tx));
            }
            self.pipeline.prepare(&update.snapshot);
            retired.snapshot = Some(core::mem::replace(&mut self.snapshot, update.snapshot));
            self.polling = update.polling;
            // Control is gone when this fails; then `stop` follows.
            let _ = self.retired.send(retired);
        }
    }

    fn attach_rx(&mut self, port: PortId, queue: Box<dyn RxQueue>) {
        let token = self.next_token;
        self.next_token += 1;
        let unwatched = queue.fd().is_some_and(|fd| self.poller.add(fd, token).is_err());
        let cheap = queue.is_cheap_to_poll() || unwatched;
        self.rx.push(RxEntry { port, queue, token, ready: true, cheap, unwatched, gone: false });
    }

    fn detach(&mut self, port: PortId, retired: &mut Retired) {
        let mut i = 0;
        while i < self.rx.len() {
            if self.rx[i].port == port {
                let entry = self.rx.swap_remove(i);
                if let Some(fd) = entry.queue.fd() {
                    // It fails only for a descriptor that was never watched.
                    let _ = self.poller.remove(fd);
                }
                retired.rx.push(entry.queue);
            } else {
                i += 1;
            }
        }
        retired.tx.extend(self.pipeline.detach(port));
    }
}
