//! A packet meets its flow, or begins one (`nf_conntrack_in`).

use wire::ip_protocol;

use super::flow::{self, Flow, Layer4, NewFlow, Protocol};
use super::tcp::Outcome;
use super::{
    At, Conntrack, CtState, Direction, EventKind, FlowInfo, FlowRef, SequenceAdjustment, Status, Template, Timeout, Tracking, Tuple, check,
};
use crate::frame::Frame;
use crate::router::address::Family;
use crate::router::packet::Packet;
use crate::sync::{MutexGuard, Ordering};

/// Seconds a connection must have left to be shortened because both ends sent what would have ended it.
const SHORTEN_FROM: u64 = 120 * 1_000_000_000;

impl Conntrack {
    /// Finds the flow of a packet, or begins one.
    #[inline]
    pub fn track(&self, at: &At<'_>, template: &Template, packet: &Packet, frame: &Frame<'_>) -> Tracking {
        if template.notrack {
            return Tracking::none(CtState::Untracked);
        }
        let zone = template.zone.unwrap_or(at.zone);
        if matches!((packet.protocol, packet.family), (ip_protocol::ICMP, Family::V4) | (ip_protocol::ICMPV6, Family::V6))
            && let Some(tracking) = self.track_icmp(at, zone, packet, frame)
        {
            return tracking;
        }
        let (Some(tuple), Some(layer4)) = (Tuple::of(packet, zone), Layer4::parse(packet, frame.head())) else {
            return self.invalid(at);
        };
        if !check::is_whole(packet, frame, at.settings.checksum && !at.own) {
            return self.invalid(at);
        }
        if let Some((flow, index, direction)) = self.find_locked(at, &tuple)
            && let Some(tracking) = self.meet(at, flow, index, direction, &layer4, packet)
        {
            return tracking;
        }
        self.begin(at, template, &tuple, &layer4, packet)
    }

    #[cold]
    fn invalid(&self, at: &At<'_>) -> Tracking {
        self.counters(at).invalid.add(1);
        Tracking::none(CtState::Invalid)
    }

    #[inline]
    fn find_locked(&self, at: &At<'_>, tuple: &Tuple) -> Option<(MutexGuard<'_, Flow>, u32, Direction)> {
        self.index.find(self.index.hash(tuple), |index, direction| {
            let flow = self.table.lock(index)?;
            if !flow.matches(direction, tuple) {
                self.counters(at).search_restart.add(1);
                return None;
            }
            // One that is over is as good as gone: whoever confirms the next with its tuple removes it.
            (!flow::is_due(flow.deadline, flow::tick(at.now))).then_some((flow, index, direction))
        })
    }

    /// Takes up a packet of a known flow; `None` if the flow ended, and the packet begins another.
    #[inline]
    fn meet(
        &self,
        at: &At<'_>,
        mut guard: MutexGuard<'_, Flow>,
        index: u32,
        direction: Direction,
        layer4: &Layer4<'_>,
        packet: &Packet,
    ) -> Option<Tracking> {
        let flow = &mut *guard;
        let before = flow.status();
        let mut status = before;
        let adjustments = if before.contains(Status::SEQ_ADJUST) { Some(&flow.adjustments) } else { None };
        let state_before = flow.protocol.tcp_state();
        let outcome = flow.protocol.packet(layer4, direction, &mut status, adjustments, at.settings, flow::tick(at.now));
        match outcome {
            Outcome::Accept(timeout) => {
                if let Some(timeout) = timeout
                    && !before.contains(Status::FIXED_TIMEOUT)
                {
                    flow.deadline = flow::deadline(at.now, timeout);
                }
            }
            Outcome::AcceptAndEnd => {
                let tracking = flow.tracking(CtState::of(before, direction), direction, index);
                self.count_packet(flow, index, direction, packet);
                self.end(at.now, guard, index);
                return Some(tracking);
            }
            Outcome::Invalid { shorten } => {
                let unacknowledged = at.settings.timeouts[Timeout::TcpUnacknowledged];
                if shorten && flow::left(flow.deadline, at.now) > unacknowledged.max(SHORTEN_FROM) {
                    flow.deadline = flow::deadline(at.now, unacknowledged);
                }
                drop(guard);
                return Some(self.invalid(at));
            }
            Outcome::Reopen => {
                self.end(at.now, guard, index);
                return None;
            }
        }
        let state = CtState::of(before, direction);
        if direction == Direction::Reply {
            status.insert(Status::SEEN_REPLY);
        }
        if status != before {
            flow.set_status(status);
            if status.contains(Status::ASSURED) && !before.contains(Status::ASSURED) {
                self.table.strike(flow.ingress(), index);
            }
        }
        self.count_packet(flow, index, direction, packet);
        if self.watched.load(Ordering::Relaxed) && (status != before || flow.protocol.tcp_state() != state_before) {
            self.report(EventKind::Update, &FlowInfo::of(flow, index, None, at.now));
        }
        Some(flow.tracking(state, direction, index))
    }

    #[inline]
    fn count_packet(&self, flow: &Flow, index: u32, direction: Direction, packet: &Packet) {
        if flow.is_counted() {
            self.count_octets(index, direction, packet.len);
        }
    }

    /// Adds a packet to the counts of an entry, whose lock the caller has.
    #[cold]
    pub(super) fn count_octets(&self, index: u32, direction: Direction, octets: u32) {
        if let Some(account) = self.table.account(index) {
            let i = direction.index();
            account.packets[i].fetch_add(1, Ordering::Relaxed);
            account.octets[i].fetch_add(octets.into(), Ordering::Relaxed);
        }
    }

    #[inline(never)]
    fn begin(&self, at: &At<'_>, template: &Template, tuple: &Tuple, layer4: &Layer4<'_>, packet: &Packet) -> Tracking {
        let Some(reply) = tuple.inverse() else { return self.invalid(at) };
        let tick = flow::tick(at.now);
        let Some(mut protocol) = Protocol::begin(tuple, layer4, at.settings, tick) else { return self.invalid(at) };
        let mut status = Status::default();
        let outcome = protocol.packet(layer4, Direction::Original, &mut status, None, at.settings, tick);
        let Outcome::Accept(timeout) = outcome else { return self.invalid(at) };
        let flow = NewFlow {
            ingress: at.ingress,
            nat: None,
            adjustments: [SequenceAdjustment::default(); 2],
            protocol,
            timeout: timeout.unwrap_or(0),
            counted: at.settings.acct,
            octets: packet.len,
        };
        let mut tracking = Tracking {
            state: CtState::New,
            direction: Direction::Original,
            status,
            mark: 0,
            helper: template.helper,
            original: *tuple,
            reply,
            flow: FlowRef::New(flow),
        };
        self.meet_expectation(at, &mut tracking);
        if tracking.status.contains(Status::EXPECTED) {
            tracking.state = CtState::Related;
        }
        if tracking.helper.is_some() {
            tracking.status.insert(Status::HELPER);
        }
        tracking
    }
}

impl CtState {
    /// The state of a packet of a flow that had this status before it.
    #[inline]
    fn of(status: Status, direction: Direction) -> CtState {
        if direction == Direction::Reply || status.contains(Status::SEEN_REPLY) {
            CtState::Established
        } else if status.contains(Status::EXPECTED) {
            CtState::Related
        } else {
            CtState::New
        }
    }
}
