//! Connection tracking (`net/netfilter/nf_conntrack_core.c`): which flow a packet belongs to, and in what state that is.
//!
//! [`Conntrack::track`] is asked when a packet comes to the router, and [`Conntrack::confirm`] when it leaves: only then the flow
//! that it begins enters the table, so what is dropped on the way leaves no entry. In between the flow travels by value in
//! [`Tracking`], where NAT changes the tuple of its answers.

use core::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::Arc;

use arrayvec::ArrayVec;

use crate::burst::BURST_MAX;
use crate::clock::Nanos;
use crate::router::RouterId;
use crate::router::address::Address;
use crate::snapshot::PortId;
use crate::sync::{AtomicUsize, Mutex, Ordering};

use expect::Expectations;
use flow::{Flow, Protocol};
use index::Index;
use stats::Counters;
use table::Table;

mod check;
mod confirm;
mod control;
pub(crate) mod established;
mod expect;
pub mod extension;
mod flow;
pub mod helper;
mod icmp;
mod index;
mod sctp;
pub mod seqadj;
pub mod settings;
mod stats;
mod table;
mod tcp;
mod tcp_window;
mod track;
pub mod tuple;

pub use control::{Counts, Event, EventKind, FlowInfo, FlowState};
pub use expect::{ExpectError, Expectation, ExpectationInfo};
pub use flow::{ExpectedNat, NewFlow};
pub use sctp::SctpState;
pub use settings::{Settings, Timeout, Timeouts};
pub use stats::Stats;
pub(crate) use tcp::Segment;
pub use tcp::TcpState;
pub use tuple::{Direction, Domain, Tuple, Zone};

/// Deadlines in the table count in 2^20 ns, about a millisecond.
const TICK_SHIFT: u32 = 20;

/// State of a packet for the `conntrack` and `state` matches (`enum ip_conntrack_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CtState {
    /// Belongs to no flow, and begins none.
    Invalid,
    /// First packet of a flow, or another before any answer.
    New,
    /// Flow that has seen packets in both directions.
    Established,
    /// Begins a flow that another one announced, or is an ICMP error about a flow.
    Related,
    /// Not tracked on demand (`-j CT --notrack`), or never (IPv6 neighbour discovery).
    Untracked,
}

/// What has happened to a flow: the bits of `enum ip_conntrack_status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Status(pub u32);

impl Status {
    /// Another flow announced it (`IPS_EXPECTED`).
    pub const EXPECTED: Status = Status(1 << 0);
    /// Packets went both ways.
    pub const SEEN_REPLY: Status = Status(1 << 1);
    /// Never dropped early for want of room.
    pub const ASSURED: Status = Status(1 << 2);
    /// It is in the table.
    pub const CONFIRMED: Status = Status(1 << 3);
    /// The source of the original direction is translated.
    pub const SRC_NAT: Status = Status(1 << 4);
    /// The destination of the original direction is translated.
    pub const DST_NAT: Status = Status(1 << 5);
    /// Sequence numbers are adjusted, as a helper changed the length of payload.
    pub const SEQ_ADJUST: Status = Status(1 << 6);
    /// Source translation was decided, if only to translate nothing.
    pub const SRC_NAT_DONE: Status = Status(1 << 7);
    /// Destination translation was decided.
    pub const DST_NAT_DONE: Status = Status(1 << 8);
    /// It is being removed.
    pub const DYING: Status = Status(1 << 9);
    /// Its timeout does not change.
    pub const FIXED_TIMEOUT: Status = Status(1 << 10);
    /// The SYN proxy opened it. Ours alone, at a bit that flows of Linux never have (`IPS_TEMPLATE`).
    pub const SYN_PROXY: Status = Status(1 << 11);
    /// A helper looks into it.
    pub const HELPER: Status = Status(1 << 13);
    /// Lost the race for its tuple to another flow (`IPS_NAT_CLASH`): known by its answers only, for a second.
    pub const NAT_CLASH: Status = Status(1 << 14);

    /// Whether all bits of `other` are set.
    #[inline]
    pub const fn contains(self, other: Status) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is set.
    #[inline]
    pub const fn intersects(self, other: Status) -> bool {
        self.0 & other.0 != 0
    }

    /// Sets the bits of `other`.
    #[inline]
    pub fn insert(&mut self, other: Status) {
        self.0 |= other.0;
    }

    /// Clears the bits of `other`.
    #[inline]
    pub fn remove(&mut self, other: Status) {
        self.0 &= !other.0;
    }
}

/// An entry of the table. An entry that was removed and its slot taken by another has another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    /// Slot.
    pub index: u32,
    /// Which of the entries that were in the slot.
    pub generation: u32,
}

/// A helper that looks into the payload of a flow to expect others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum HelperKind {
    /// FTP (RFC 959, RFC 2428).
    Ftp = 1,
    /// TFTP (RFC 1350).
    Tftp = 2,
}

impl HelperKind {
    /// Its name in rules and listings.
    pub const fn name(self) -> &'static str {
        match self {
            HelperKind::Ftp => "ftp",
            HelperKind::Tftp => "tftp",
        }
    }
}

/// What connection tracking says of one packet (`skb->_nfct`), copied out of the table: it goes along with the packet and
/// holds no lock.
#[derive(Clone, Debug)]
pub struct Tracking {
    /// State of the packet.
    pub state: CtState,
    /// Its direction. Of an ICMP error: that of the answer it stands for.
    pub direction: Direction,
    /// Status of the flow, as of now.
    pub status: Status,
    /// Mark of the flow (`CONNMARK`).
    pub mark: u32,
    /// The helper that looks into the flow.
    pub helper: Option<HelperKind>,
    /// Packets the sender of the flow sends.
    pub original: Tuple,
    /// Packets that answer, as they arrive: it says what is translated. The inverse of `original` where nothing is.
    pub reply: Tuple,
    /// The flow itself.
    pub flow: FlowRef,
}

/// Where a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowRef {
    /// There is none: the packet is invalid or untracked.
    None,
    /// In the table.
    Known(ConnId),
    /// With this packet only, until it is confirmed.
    New(NewFlow),
}

impl Tracking {
    /// That of a packet without a flow: invalid or untracked.
    pub const fn none(state: CtState) -> Tracking {
        Tracking {
            state,
            direction: Direction::Original,
            status: Status(0),
            mark: 0,
            helper: None,
            original: Tuple::EMPTY,
            reply: Tuple::EMPTY,
            flow: FlowRef::None,
        }
    }

    /// The tuple that packets of `direction` arrive with.
    #[inline]
    pub fn tuple(&self, direction: Direction) -> &Tuple {
        match direction {
            Direction::Original => &self.original,
            Direction::Reply => &self.reply,
        }
    }

    /// The flow that this packet begins.
    #[inline]
    pub fn new_flow(&self) -> Option<&NewFlow> {
        match &self.flow {
            FlowRef::New(flow) => Some(flow),
            FlowRef::None | FlowRef::Known(_) => None,
        }
    }

    /// The flow that this packet begins, to add to it before it is confirmed.
    #[inline]
    pub fn new_flow_mut(&mut self) -> Option<&mut NewFlow> {
        match &mut self.flow {
            FlowRef::New(flow) => Some(flow),
            FlowRef::None | FlowRef::Known(_) => None,
        }
    }
}

/// Where, when and for whom a packet is tracked.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// Settings of the router.
    pub settings: &'a Settings,
    /// The router: flows of different routers have nothing to do with each other.
    pub router: RouterId,
    /// Number of the worker, which owns one set of counters.
    pub worker: usize,
    /// The port where the packet came in: it answers for the flow.
    pub ingress: PortId,
    /// Now.
    pub now: Nanos,
    /// The router sent the packet itself (hook OUTPUT): its checksum is not checked.
    pub own: bool,
}

/// What table `raw` says of a packet before it is tracked (`-j CT`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Template {
    /// Do not track it.
    pub notrack: bool,
    /// Zone in place of 0.
    pub zone: Option<u16>,
    /// Helper of the flow it begins.
    pub helper: Option<HelperKind>,
}

/// Why a flow was not confirmed: the packet that begins it must be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfirmError {
    /// The table is full of flows that may not be dropped early.
    TableFull,
    /// The port the packet came from has as many flows as it may have, none of which may be dropped early.
    Quota,
    /// Another flow has one of the tuples already.
    Clash,
    /// No place in the part of the table where its tuple belongs (`chaintoolong`).
    ChainTooLong,
}

/// How sequence numbers of one direction are adjusted (`struct nf_ct_seqadj`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SequenceAdjustment {
    /// Sequence number from which on `offset_after` holds.
    pub correction_pos: u32,
    /// Octets added to the numbers before `correction_pos`.
    pub offset_before: i32,
    /// Octets added to the numbers behind it.
    pub offset_after: i32,
}

impl SequenceAdjustment {
    /// What is added to `sequence` (`nf_ct_seq_offset`).
    #[inline]
    pub const fn offset(&self, sequence: u32) -> i32 {
        if (self.correction_pos.wrapping_sub(sequence) as i32) < 0 { self.offset_after } else { self.offset_before }
    }
}

/// The connections of one daemon. Any thread may use any method; `At::worker` names the counters, which only one thread
/// at a time may write.
///
/// Packets of a known flow take the lock of that flow and no other. A flow takes 228 octets with its part of the index (32 more
/// with `acct`), which the system gives as they are needed.
pub struct Conntrack {
    index: Index,
    table: Table,
    /// Flows now.
    count: AtomicUsize,
    max: AtomicUsize,
    expectations: Expectations,
    counters: Box<[Counters]>,
    /// Whether anybody takes events.
    watched: AtomicBool,
    watch: Mutex<Option<Arc<control::Watch>>>,
    events_lost: AtomicU64,
    extensions: extension::Extensions,
}

impl Conntrack {
    /// A table for `max` flows (Linux `nf_conntrack_max`; at most 2^28), asked by this many workers.
    pub fn new(max: usize, workers: usize) -> Conntrack {
        let max = max.clamp(1, index::ENTRIES_MAX);
        Conntrack {
            index: Index::new(max),
            table: Table::new(max),
            count: AtomicUsize::new(0),
            max: AtomicUsize::new(max),
            expectations: Expectations::default(),
            counters: (0..workers.max(1)).map(|_| Counters::default()).collect(),
            watched: AtomicBool::new(false),
            watch: Mutex::new(None),
            events_lost: AtomicU64::new(0),
            extensions: extension::Extensions::new(max),
        }
    }

    /// Flows it can hold.
    pub fn max(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Flows it holds, with those that are over and not yet swept.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn counters(&self, at: &At<'_>) -> &Counters {
        &self.counters[at.worker % self.counters.len()]
    }

    /// Locks the flow of a packet, if it is in the table.
    fn known(&self, tracking: &Tracking) -> Option<crate::sync::MutexGuard<'_, Flow>> {
        let FlowRef::Known(id) = tracking.flow else { return None };
        self.table.lock(id.index).filter(|flow| flow.is_live() && flow.generation == id.generation)
    }

    /// Whether another flow than that of `tracking` has packets with the tuple `reply` (`nf_conntrack_tuple_taken`).
    pub fn is_taken(&self, at: &At<'_>, tracking: &Tracking, reply: &Tuple) -> bool {
        let original = &tracking.original;
        let taken = self.index.find(self.index.hash(reply), |index, direction| {
            let flow = self.table.lock(index)?;
            let other = flow.matches(direction, reply) && !flow::is_due(flow.deadline, flow::tick(at.now));
            // With the same first packet it is the same flow, and confirming sorts that out.
            (other && !flow.matches(Direction::Original, original)).then_some(())
        });
        if taken.is_some() {
            self.counters(at).found.add(1);
        }
        taken.is_some()
    }

    /// Whether the table has so many flows that they do not stay in the second-level cache, so that [`Conntrack::touch`] pays.
    #[inline]
    pub fn is_large(&self) -> bool {
        const LARGE: usize = 4096;
        self.count.load(Ordering::Relaxed) > LARGE
    }

    /// Brings a flow into the cache, as far as it lies beside its lock.
    #[inline]
    pub(crate) fn touch_flow(&self, id: ConnId) {
        core::hint::black_box(self.table.touch(id.index));
    }

    /// Brings what is needed for packets with these tuples, at most a burst of them, into the cache: the misses of all of them at once.
    pub fn touch(&self, tuples: &[Tuple]) {
        let mut hashes: ArrayVec<index::Hash, BURST_MAX> = ArrayVec::new_const();
        let mut seen = 0;
        for tuple in tuples.iter().take(BURST_MAX) {
            let hash = self.index.hash(tuple);
            seen ^= self.index.touch(hash);
            hashes.push(hash);
        }
        for (hash, tuple) in hashes.into_iter().zip(tuples) {
            if let Some((index, _)) = self.index.first(hash).next() {
                seen ^= u64::from(self.table.touch(index));
            } else if let Some(reply) = tuple.inverse() {
                // It begins a flow, whose answers take a bucket as well, this one if nothing is translated.
                seen ^= self.index.touch(self.index.hash(&reply));
            }
        }
        core::hint::black_box(seen);
    }

    /// The flow that packets with this tuple belong to, and their direction in it.
    pub fn find(&self, tuple: &Tuple, now: Nanos) -> Option<(ConnId, Direction)> {
        self.index.find(self.index.hash(tuple), |index, direction| {
            let flow = self.table.lock(index)?;
            let found = flow.matches(direction, tuple) && !flow::is_due(flow.deadline, flow::tick(now));
            found.then(|| (ConnId { index, generation: flow.generation }, direction))
        })
    }

    /// Sets the mark of a flow.
    pub fn set_mark(&self, tracking: &mut Tracking, mark: u32) {
        if tracking.flow == FlowRef::None {
            return;
        }
        tracking.mark = mark;
        if let Some(mut flow) = self.known(tracking) {
            flow.mark = mark;
        }
    }

    /// Closes a flow of TCP: its packet is answered with a reset (`nf_ct_set_closing`, `net/netfilter/nf_conntrack_core.c`).
    pub fn set_closing(&self, tracking: &Tracking, settings: &Settings, now: Nanos) {
        if let Some(mut flow) = self.known(tracking)
            && let Protocol::Tcp(tcp) = &mut flow.protocol
        {
            tcp.state = TcpState::Close;
            flow.deadline = flow::deadline(now, settings.timeouts[Timeout::TcpClose]);
        }
    }

    /// Time until a flow is forgotten, if no packet comes; `None` for one that is not in the table.
    pub fn expires_in(&self, tracking: &Tracking, now: Nanos) -> Option<Nanos> {
        self.known(tracking).map(|flow| flow::left(flow.deadline, now))
    }

    /// How sequence numbers of the two directions of a flow are adjusted, if they are ([`Status::SEQ_ADJUST`]).
    pub fn sequence_adjustments(&self, tracking: &Tracking) -> Option<[SequenceAdjustment; 2]> {
        if !tracking.status.contains(Status::SEQ_ADJUST) {
            return None;
        }
        match &tracking.flow {
            FlowRef::None => None,
            FlowRef::Known(id) => self.known(tracking).and_then(|_flow| self.table.adjustments(id.index)),
            FlowRef::New(new) => Some(new.adjustments),
        }
    }

    /// Changes how sequence numbers of the two directions of a flow are adjusted, and sets [`Status::SEQ_ADJUST`]. `false` if the
    /// flow is gone.
    pub fn adjust_sequence(&self, tracking: &mut Tracking, change: impl FnOnce(&mut [SequenceAdjustment; 2])) -> bool {
        match &mut tracking.flow {
            FlowRef::None => return false,
            FlowRef::New(new) => change(&mut new.adjustments),
            FlowRef::Known(id) => {
                let id = *id;
                let Some(mut flow) = self.known(tracking) else { return false };
                self.table.adjust(id.index, change);
                let mut status = flow.status();
                status.insert(Status::SEQ_ADJUST);
                flow.set_status(status);
            }
        }
        tracking.status.insert(Status::SEQ_ADJUST);
        true
    }
}

#[cfg(test)]
mod tests;
