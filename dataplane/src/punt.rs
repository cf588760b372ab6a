//! Frames between workers and control: *punted* to control, and *injected* by control to leave by one port.
//!
//! Both queues are bounded and belong to one worker. Memory that control gave with an injected frame goes back to control,
//! so that a worker neither allocates nor frees.

use std::sync::Arc;

use arrayvec::ArrayVec;
use crossbeam::queue::ArrayQueue;
use wire::Tag;

use crate::clock::Nanos;
use crate::device::Wake;
use crate::frame::Frame;
use crate::snapshot::PortId;

/// Octets of a frame that control gets at most; the rest is cut off.
pub const PUNT_MAX: usize = 1536;

/// Frames that wait for control at most.
const PUNT_QUEUE: usize = 128;
/// Of these, frames that are copies of what goes on anyway: a storm of them must not lose a link aggregation its PDUs.
const PUNT_QUEUE_COPIES: usize = PUNT_QUEUE / 2;
/// Injected frames that wait for a worker at most.
const INJECT_QUEUE: usize = 256;

/// A frame for control.
#[derive(Clone, Debug)]
pub struct Punted {
    /// The port it arrived at (the member, of a bond), or should leave by if `outgoing`.
    pub port: PortId,
    /// Whether it is a copy of a frame that leaves by the port.
    pub outgoing: bool,
    /// When.
    pub at: Nanos,
    /// The outermost VLAN tag, which is not in the octets.
    pub tag: Option<Tag>,
    /// Octets the frame has; more than [`Punted::octets`] if it was cut.
    pub len: u32,
    /// The first octets, from the destination address on.
    pub octets: ArrayVec<u8, PUNT_MAX>,
}

/// Whether control gets a frame itself or a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PuntKind {
    /// The frame goes nowhere else.
    Whole,
    /// It also goes on.
    Copy,
}

/// Frames of one worker that wait for control. Any thread may use any method.
pub struct PuntQueue {
    queue: ArrayQueue<Punted>,
    notify: Arc<dyn Wake>,
}

impl PuntQueue {
    /// An empty queue; `notify` is woken when a frame is added to an empty queue.
    pub fn new(notify: Arc<dyn Wake>) -> PuntQueue {
        PuntQueue { queue: ArrayQueue::new(PUNT_QUEUE), notify }
    }

    /// Copies a frame into the queue; `false` when there is no room.
    pub(crate) fn push(&self, kind: PuntKind, port: PortId, outgoing: bool, tag: Option<Tag>, frame: &Frame<'_>, at: Nanos) -> bool {
        let waiting = self.queue.len();
        let room = if kind == PuntKind::Copy { PUNT_QUEUE_COPIES } else { PUNT_QUEUE };
        if waiting >= room {
            return false;
        }
        let octets = frame.head().iter().copied().chain(frame.body().octets()).take(PUNT_MAX).collect();
        let pushed = self.queue.push(Punted { port, outgoing, at, tag, len: frame.len() as u32, octets }).is_ok();
        if pushed && waiting == 0 {
            self.notify.wake();
        }
        pushed
    }

    /// Takes the oldest frame.
    pub fn pop(&self) -> Option<Punted> {
        self.queue.pop()
    }
}

/// A frame from control.
#[derive(Debug)]
pub struct Injected {
    /// The port it is to leave by.
    pub port: PortId,
    /// Its octets, VLAN tags included.
    pub octets: Vec<u8>,
}

/// Why a frame cannot be injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectError {
    /// The worker has not yet sent those given before; try again later.
    Full,
    /// The frame is shorter than an Ethernet header, or longer than any frame.
    Length,
}

impl core::fmt::Display for InjectError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            InjectError::Full => "too many injected frames wait for the worker",
            InjectError::Length => "an injected frame has 14 to 65557 octets",
        })
    }
}

impl std::error::Error for InjectError {}

/// Frames of control that wait for one worker.
pub(crate) struct InjectQueue {
    queue: ArrayQueue<Injected>,
    /// Memory of frames that were sent, for control to free.
    spent: ArrayQueue<Vec<u8>>,
}

impl InjectQueue {
    pub(crate) fn new() -> InjectQueue {
        // A worker can have sent as many frames as can wait since control last looked, and as many again wait.
        InjectQueue { queue: ArrayQueue::new(INJECT_QUEUE), spent: ArrayQueue::new(2 * INJECT_QUEUE) }
    }

    /// Adds a frame. Called by control.
    pub(crate) fn push(&self, port: PortId, octets: Vec<u8>) -> Result<(), InjectError> {
        if !(wire::ethernet::HEADER_LEN..=crate::burst::FRAME_MAX).contains(&octets.len()) {
            return Err(InjectError::Length);
        }
        while self.spent.pop().is_some() {}
        self.queue.push(Injected { port, octets }).map_err(|_| InjectError::Full)
    }

    /// Whether nothing waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes the oldest frame. Called by the worker.
    pub(crate) fn pop(&self) -> Option<Injected> {
        self.queue.pop()
    }

    /// Gives the memory of a sent frame back. Called by the worker.
    pub(crate) fn give_back(&self, octets: Vec<u8>) {
        // There is room, see `new`.
        let _ = self.spent.push(octets);
    }
}
