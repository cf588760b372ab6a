//! A flow enters the table (`__nf_conntrack_confirm`), and leaves it.

use wire::ip_protocol;

use super::flow::{self, Flow, NewFlow};
use super::index::Hash;
use super::{At, ConfirmError, ConnId, Conntrack, Direction, EventKind, FlowInfo, FlowRef, PortId, Status, Tracking, Tuple};
use crate::clock::Nanos;
use crate::sync::{MutexGuard, Ordering};

/// How long a flow that lost the race for its tuple is known by its answers.
const CLASH_TIMEOUT: Nanos = 1_000_000_000;
/// Flows looked at for one to drop early, should others change their minds meanwhile.
const TRIES: usize = 8;

/// Flow, place and direction of a tuple.
type Found<'a> = (MutexGuard<'a, Flow>, u32, Direction);

impl Conntrack {
    /// Enters the flow that a packet begins into the table; nothing for other packets.
    ///
    /// # Errors
    ///
    /// [`ConfirmError`]: the packet must be dropped.
    #[inline]
    pub fn confirm(&self, at: &At<'_>, tracking: &mut Tracking) -> Result<(), ConfirmError> {
        if !matches!(tracking.flow, FlowRef::New(_)) || tracking.direction != Direction::Original {
            return Ok(());
        }
        let entered = self.enter(at, tracking);
        let counters = self.counters(at);
        if let Err(error) = entered {
            counters.drop.add(1);
            if error != ConfirmError::TableFull && error != ConfirmError::Quota {
                counters.insert_failed.add(1);
            }
            if error == ConfirmError::ChainTooLong {
                counters.chaintoolong.add(1);
            }
        }
        entered
    }

    #[inline(never)]
    fn enter(&self, at: &At<'_>, tracking: &mut Tracking) -> Result<(), ConfirmError> {
        let FlowRef::New(new) = tracking.flow else { return Ok(()) };
        let original = self.index.hash(&tracking.original);
        let reply = self.index.hash(&tracking.reply);
        let _stripes = self.index.stripes(original, reply);
        if let Some(found) = self.find_live(at, original, &tracking.original) {
            return self.resolve_clash(at, tracking, new, found, reply);
        }
        if let Some(found) = self.find_live(at, reply, &tracking.reply) {
            return self.resolve_clash(at, tracking, new, found, reply);
        }
        self.insert(at, tracking, new, Some(original), reply)
    }

    /// The flow with a tuple. One that is over is removed. The caller has the stripe of the tuple.
    fn find_live(&self, at: &At<'_>, hash: Hash, tuple: &Tuple) -> Option<Found<'_>> {
        self.index.find(hash, |index, direction| {
            let flow = self.table.lock(index).filter(|flow| flow.matches(direction, tuple))?;
            if flow::is_due(flow.deadline, flow::tick(at.now)) {
                self.end(at.now, flow, index);
                return None;
            }
            Some((flow, index, direction))
        })
    }

    /// Another packet of what may be the same flow was faster. Protocols without a handshake send several at once.
    #[cold]
    fn resolve_clash(
        &self,
        at: &At<'_>,
        tracking: &mut Tracking,
        new: NewFlow,
        (flow, index, direction): Found<'_>,
        reply: Hash,
    ) -> Result<(), ConfirmError> {
        if !matches!(tracking.original.protocol, ip_protocol::UDP | ip_protocol::UDP_LITE | ip_protocol::GRE) {
            return Err(ConfirmError::Clash);
        }
        let same = flow.original == tracking.original && flow.reply == tracking.reply;
        let translated = flow.status().intersects(Status(Status::SRC_NAT_DONE.0 | Status::DST_NAT_DONE.0));
        if same || (!translated && direction == Direction::Original) {
            if flow.is_counted() {
                self.count_octets(index, Direction::Original, new.octets);
            }
            *tracking = flow.tracking(tracking.state, Direction::Original, index);
            self.counters(at).clash_resolve.add(1);
            return Ok(());
        }
        drop(flow);
        if self.find_live(at, reply, &tracking.reply).is_some() {
            return Err(ConfirmError::Clash);
        }
        tracking.status.insert(Status(Status::FIXED_TIMEOUT.0 | Status::NAT_CLASH.0));
        self.insert(at, tracking, NewFlow { timeout: CLASH_TIMEOUT, ..new }, None, reply)?;
        self.counters(at).clash_resolve.add(1);
        Ok(())
    }

    /// Enters a flow; without `original` it is found by its answers only. The caller has the stripes of both tuples, and has found
    /// that nobody else has them.
    fn insert(&self, at: &At<'_>, tracking: &mut Tracking, new: NewFlow, original: Option<Hash>, reply: Hash) -> Result<(), ConfirmError> {
        let port = new.ingress;
        if !(self.table.charge(port) || self.drop_oldest(at, port) && self.table.charge(port)) {
            return Err(ConfirmError::Quota);
        }
        if self.count.fetch_add(1, Ordering::Relaxed) >= self.max() && !self.drop_early(at, port) {
            self.count.fetch_sub(1, Ordering::Relaxed);
            self.table.discharge(port);
            return Err(ConfirmError::TableFull);
        }
        let Some(index) = self.table.take() else {
            self.count.fetch_sub(1, Ordering::Relaxed);
            self.table.discharge(port);
            return Err(ConfirmError::TableFull);
        };
        // The words come first: until the flow is filled in they lead nowhere.
        let placed = original.is_none_or(|hash| self.place(at, hash, index, Direction::Original));
        if !placed || !self.place(at, reply, index, Direction::Reply) {
            if let Some(hash) = original.filter(|_| placed) {
                self.index.remove(hash, index, Direction::Original);
            }
            self.table.give_back(index);
            self.table.discharge(port);
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Err(ConfirmError::ChainTooLong);
        }
        let counters = self.counters(at);
        let Some(mut flow) = self.table.lock(index) else { return Err(ConfirmError::TableFull) };
        tracking.status.insert(Status::CONFIRMED);
        flow.fill(tracking, &new, at.now);
        if flow.is_counted() {
            if let Some(account) = self.table.account(index) {
                account.clear();
            }
            self.count_octets(index, Direction::Original, new.octets);
        }
        if tracking.status.contains(Status::SEQ_ADJUST) {
            self.table.adjust(index, |adjustments| *adjustments = new.adjustments);
        }
        if !tracking.status.contains(Status::ASSURED) {
            self.table.enlist(port, index);
        }
        tracking.flow = FlowRef::Known(ConnId { index, generation: flow.generation });
        let event = self.watched.load(Ordering::Relaxed).then(|| FlowInfo::of(&flow, index, None, at.now));
        drop(flow);
        counters.insert.add(1);
        if let Some(info) = event.filter(|_| original.is_some()) {
            self.report(EventKind::New, &info);
        }
        Ok(())
    }

    /// Puts a tuple into the index; if its place is full, one whose time is over, or that is not assured, makes room.
    fn place(&self, at: &At<'_>, hash: Hash, index: u32, direction: Direction) -> bool {
        if self.index.add(hash, index, direction) {
            return true;
        }
        for neighbour in self.index.neighbours(hash).filter(|neighbour| *neighbour != index) {
            let Some(flow) = self.table.lock(neighbour).filter(|flow| flow.is_live()) else { continue };
            let over = flow::is_due(flow.deadline, flow::tick(at.now));
            if over || !flow.status().contains(Status::ASSURED) {
                if !over {
                    self.counters(at).early_drop.add(1);
                }
                self.end(at.now, flow, neighbour);
                return self.index.add(hash, index, direction);
            }
        }
        false
    }

    /// Makes room in a full table for a flow of `port`: the port that holds most loses its oldest flow that is not assured; but
    /// never one that holds fewer than `port` itself.
    #[cold]
    fn drop_early(&self, at: &At<'_>, port: PortId) -> bool {
        let Some(heaviest) = self.table.heaviest() else { return false };
        // The flow that is about to enter counts already.
        if heaviest != port && self.table.flows(heaviest) + 1 < self.table.flows(port) {
            return false;
        }
        self.drop_oldest(at, heaviest)
    }

    /// Drops the oldest flow of a port that is not assured.
    #[cold]
    fn drop_oldest(&self, at: &At<'_>, port: PortId) -> bool {
        for _ in 0..TRIES {
            let Some(index) = self.table.oldest(port) else { return false };
            let Some(flow) = self.table.lock(index) else { return false };
            if flow.is_live() && flow.ingress == port && !flow.status().contains(Status::ASSURED) {
                self.end(at.now, flow, index);
                self.counters(at).early_drop.add(1);
                return true;
            }
        }
        false
    }

    /// Takes a flow out of the table.
    #[inline(never)]
    pub(super) fn end(&self, now: Nanos, mut flow: MutexGuard<'_, Flow>, index: u32) {
        debug_assert!(flow.is_live());
        let status = flow.status();
        let port = flow.ingress;
        let clash = status.contains(Status::NAT_CLASH);
        let event = (self.watched.load(Ordering::Relaxed) && !clash).then(|| FlowInfo::of(&flow, index, self.counts(&flow, index), now));
        flow.set_status(Status::DYING);
        flow.generation = flow.generation.wrapping_add(1);
        for direction in [Direction::Original, Direction::Reply] {
            if direction == Direction::Reply || !clash {
                self.index.remove(self.index.hash(flow.tuple(direction)), index, direction);
            }
        }
        if status.contains(Status::SEQ_ADJUST) {
            self.table.adjust(index, |adjustments| *adjustments = Default::default());
        }
        if !status.contains(Status::ASSURED) {
            self.table.strike(port, index);
        }
        drop(flow);
        self.table.discharge(port);
        self.table.give_back(index);
        self.count.fetch_sub(1, Ordering::Relaxed);
        if let Some(info) = event {
            self.report(EventKind::Destroy, &info);
        }
    }
}
