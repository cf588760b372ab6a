//! What control does with the table: list, delete, sweep, watch. Each call does bounded work; a cursor says where the next goes
//! on.

use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use super::flow::{self, Flow, Protocol};
use super::sctp::SctpState;
use super::stats::Stats;
use super::tcp::TcpState;
use super::{ConnId, Conntrack, HelperKind, PortId, Status, Tuple};
use crate::clock::Nanos;
use crate::device::Wake;
use crate::router::RouterId;
use crate::sync::{Ordering, lock};

/// Events that wait at most.
const EVENTS: usize = 4096;
/// Entries whose memory is made ahead of the workers.
const RESERVE: usize = 4096;

/// State of a flow by its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowState {
    /// TCP.
    Tcp(TcpState),
    /// SCTP.
    Sctp(SctpState),
    /// A protocol without states.
    Stateless,
}

impl FlowState {
    /// The name in listings.
    pub const fn name(self) -> Option<&'static str> {
        match self {
            FlowState::Tcp(state) => Some(state.name()),
            FlowState::Sctp(state) => Some(state.name()),
            FlowState::Stateless => None,
        }
    }
}

/// Packets and octets of one direction, from the IP header on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets.
    pub packets: u64,
    /// Octets.
    pub bytes: u64,
}

/// A flow as listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowInfo {
    /// Where it is.
    pub id: ConnId,
    /// Packets of who began it.
    pub original: Tuple,
    /// Packets that answer.
    pub reply: Tuple,
    /// What has happened to it.
    pub status: Status,
    /// State by its protocol.
    pub state: FlowState,
    /// Seconds until it is forgotten, if no packet comes.
    pub timeout: u32,
    /// Mark.
    pub mark: u32,
    /// Helper.
    pub helper: Option<HelperKind>,
    /// The port that answers for it.
    pub ingress: PortId,
    /// Counts by direction, if it is counted (`acct`).
    pub counts: Option<[Counts; 2]>,
}

impl FlowInfo {
    pub(super) fn of(flow: &Flow, index: u32, counts: Option<[Counts; 2]>, now: Nanos) -> FlowInfo {
        FlowInfo {
            id: ConnId { index, generation: flow.generation },
            original: flow.original,
            reply: flow.reply,
            status: flow.status(),
            state: match flow.protocol {
                Protocol::Tcp(tcp) => FlowState::Tcp(tcp.state),
                Protocol::Sctp(sctp) => FlowState::Sctp(sctp.state),
                _ => FlowState::Stateless,
            },
            timeout: (flow::left(flow.deadline, now) / 1_000_000_000) as u32,
            mark: flow.mark,
            helper: flow.helper,
            ingress: flow.ingress,
            counts,
        }
    }

    /// Whether no answer was seen (`[UNREPLIED]`).
    pub fn is_unreplied(&self) -> bool {
        !self.status.contains(Status::SEEN_REPLY)
    }

    /// Whether it is never dropped early (`[ASSURED]`).
    pub fn is_assured(&self) -> bool {
        self.status.contains(Status::ASSURED)
    }
}

/// What happened to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It entered the table.
    New,
    /// Its state or status changed.
    Update,
    /// It left the table.
    Destroy,
}

/// Something that happened to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// The flow behind it.
    pub flow: FlowInfo,
}

pub(super) struct Watch {
    queue: ArrayQueue<Event>,
    wake: Arc<dyn Wake>,
}

impl Conntrack {
    /// What each worker counted.
    pub fn stats(&self) -> Vec<Stats> {
        self.counters.iter().map(Stats::of).collect()
    }

    /// Changes how many flows there may be, up to as many as at first.
    pub fn set_max(&self, max: usize) {
        self.max.store(max.clamp(1, self.table.capacity()), Ordering::Relaxed);
    }

    /// Changes how many flows a port may have (`u32::MAX`: no limit). Those it has beyond stay.
    pub fn set_quota(&self, port: PortId, flows: u32) {
        self.table.set_limit(port, flows);
    }

    /// Flows that a port has, and may have.
    pub fn quota(&self, port: PortId) -> (u32, u32) {
        (self.table.flows(port), self.table.limit(port))
    }

    /// Octets of memory that the table takes when it is full, without `acct`.
    #[cfg(not(loom))]
    pub fn octets_when_full(&self) -> usize {
        self.index.octets() + self.table.capacity() * super::table::OCTETS_PER_ENTRY
    }

    pub(super) fn counts(&self, flow: &Flow, index: u32) -> Option<[Counts; 2]> {
        let account = if flow.is_counted() { self.table.account(index)? } else { return None };
        let counts =
            |i: usize| Counts { packets: account.packets[i].load(Ordering::Relaxed), bytes: account.octets[i].load(Ordering::Relaxed) };
        Some([counts(0), counts(1)])
    }

    /// Shows the flows in the `slots` entries from `cursor` on; those that are over, and those that are known by their answers only, are
    /// left out. Returns where to go on, `None` at the end.
    pub fn list(&self, cursor: u32, slots: u32, now: Nanos, mut show: impl FnMut(&FlowInfo)) -> Option<u32> {
        let used = self.table.used();
        let end = cursor.saturating_add(slots).min(used);
        for index in cursor..end {
            let info = self.table.lock(index).and_then(|flow| self.info(&flow, index, now));
            if let Some(info) = info {
                show(&info);
            }
        }
        (end < used).then_some(end)
    }

    fn info(&self, flow: &Flow, index: u32, now: Nanos) -> Option<FlowInfo> {
        let shown = flow.is_live() && !flow.status().contains(Status::NAT_CLASH) && !flow::is_due(flow.deadline, flow::tick(now));
        shown.then(|| FlowInfo::of(flow, index, self.counts(flow, index), now))
    }

    /// One flow; `None` if it is gone.
    pub fn get(&self, id: ConnId, now: Nanos) -> Option<FlowInfo> {
        let flow = self.table.lock(id.index).filter(|flow| flow.generation == id.generation)?;
        self.info(&flow, id.index, now)
    }

    /// Deletes a flow; `false` if it is gone.
    pub fn delete(&self, id: ConnId, now: Nanos) -> bool {
        let flow = self.table.lock(id.index).filter(|flow| flow.is_live() && flow.generation == id.generation);
        let found = flow.is_some();
        if let Some(flow) = flow {
            self.end(now, flow, id.index);
        }
        found
    }

    /// Deletes those of the flows in the `slots` entries from `cursor` on that `test` picks. Returns where to go on, `None` at the end.
    pub fn delete_where(&self, cursor: u32, slots: u32, now: Nanos, mut test: impl FnMut(&FlowInfo) -> bool) -> Option<u32> {
        let used = self.table.used();
        let end = cursor.saturating_add(slots).min(used);
        for index in cursor..end {
            let Some(flow) = self.table.lock(index) else { continue };
            if self.info(&flow, index, now).is_some_and(|info| test(&info)) {
                self.end(now, flow, index);
            }
        }
        (end < used).then_some(end)
    }

    /// Deletes all flows, or those of a router; returns how many. Looks at the whole table.
    pub fn flush(&self, router: Option<RouterId>, now: Nanos) -> usize {
        let mut deleted = 0;
        self.delete_where(0, u32::MAX, now, |info| {
            let hit = router.is_none_or(|router| info.original.router() == router);
            deleted += usize::from(hit);
            hit
        });
        deleted
    }

    /// Removes the flows that are over from the `slots` entries from `cursor` on, and makes memory for those that will come.
    /// Returns where to go on; 0 when the table was gone through.
    ///
    /// To be called often enough that the table is gone through once in a minute or so; until then flows that are over take room, but are
    /// never found.
    pub fn sweep(&self, cursor: u32, slots: u32, now: Nanos) -> u32 {
        self.table.reserve(RESERVE);
        let used = self.table.used();
        let end = cursor.saturating_add(slots).min(used);
        for index in cursor..end {
            if let Some(flow) = self.table.try_lock(index)
                && flow.is_live()
                && flow::is_due(flow.deadline, flow::tick(now))
            {
                self.end(now, flow, index);
            }
        }
        if end < used { end } else { 0 }
    }

    /// Begins to keep events, and wakes `wake` when the first of them comes; `None` ends it and forgets those that wait.
    pub fn watch(&self, wake: Option<Arc<dyn Wake>>) {
        let on = wake.is_some();
        *lock(&self.watch) = wake.map(|wake| Arc::new(Watch { queue: ArrayQueue::new(EVENTS), wake }));
        self.watched.store(on, Ordering::Relaxed);
    }

    /// The oldest event.
    pub fn next_event(&self) -> Option<Event> {
        lock(&self.watch).as_ref()?.queue.pop()
    }

    /// Events that were lost because too many waited.
    pub fn events_lost(&self) -> u64 {
        self.events_lost.load(Ordering::Relaxed)
    }

    #[cold]
    pub(super) fn report(&self, kind: EventKind, flow: &FlowInfo) {
        let watch = lock(&self.watch);
        let Some(watch) = watch.as_ref() else { return };
        let was_empty = watch.queue.is_empty();
        if watch.queue.push(Event { kind, flow: *flow }).is_err() {
            self.events_lost.fetch_add(1, Ordering::Relaxed);
        } else if was_empty {
            watch.wake.wake();
        }
    }
}
