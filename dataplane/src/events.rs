//! What a worker tells control: bounded queues between the two threads. Events that do not fit are lost and counted.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use crate::device::Wake;
use crate::punt::PuntQueue;
use crate::rules::{LogQueue, LogRecord};
use crate::worker::WorkerEvent;

/// Events that wait at most.
const QUEUE: usize = 1024;

/// The queue of one worker. Any thread may use any method.
pub struct EventQueue {
    queue: ArrayQueue<WorkerEvent>,
    watch_fdb: AtomicBool,
    lost: AtomicU64,
    /// Frames for control, of bonds.
    pub punted: PuntQueue,
    /// Frames for control, of routers: a queue of its own, so that a storm of ARP does not lose a bond its frames.
    pub punted_by_routers: PuntQueue,
    /// Packets that rules log.
    pub logged: LogQueue,
    notify: Arc<dyn Wake>,
}

impl EventQueue {
    /// An empty queue; `notify` is woken when an event is added to an empty queue.
    pub fn new(notify: Arc<dyn Wake>) -> EventQueue {
        EventQueue {
            queue: ArrayQueue::new(QUEUE),
            watch_fdb: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            punted: PuntQueue::new(notify.clone()),
            punted_by_routers: PuntQueue::new(notify.clone()),
            logged: LogQueue::default(),
            notify,
        }
    }

    /// Adds an event.
    pub fn push(&self, event: WorkerEvent) {
        let was_empty = self.queue.is_empty();
        if self.queue.push(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        } else if was_empty {
            self.notify.wake();
        }
    }

    /// Adds an event of the address table, if anybody watches.
    #[inline]
    pub fn fdb(&self, event: WorkerEvent) {
        if self.watch_fdb.load(Ordering::Relaxed) {
            self.push(event);
        }
    }

    /// Adds a packet that a rule logs; `false` when the queue is full.
    pub fn log(&self, record: LogRecord) -> bool {
        let was_empty = self.logged.is_empty();
        let added = self.logged.push(record);
        if added && was_empty {
            self.notify.wake();
        }
        added
    }

    /// Takes the oldest event.
    pub fn pop(&self) -> Option<WorkerEvent> {
        self.queue.pop()
    }

    /// Turns events of the address table on or off.
    pub fn watch_fdb(&self, on: bool) {
        self.watch_fdb.store(on, Ordering::Relaxed);
    }

    /// Events that were lost so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}
