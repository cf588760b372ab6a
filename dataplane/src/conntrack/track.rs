//! A packet meets its flow, or begins one (`nf_conntrack_in`).

use wire::ip_protocol;

use super::flow::{self, Flow, Layer4, NewFlow, Protocol};
use super::tcp::Outcome;
use super::{
    At, Conntrack, CtState, Direction, EventKind, FlowInfo, FlowRef, SequenceAdjustment, Status, Template, Timeout, Tracking, Tuple, Zone,
    check,
};
use crate::frame::Frame;
use crate::router::address::Family;
use crate::router::checksum;
use crate::router::packet::Packet;
use crate::sync::{MutexGuard, Ordering};

/// Seconds a connection must have left to be shortened because both ends sent what would have ended it.
const SHORTEN_FROM: u64 = 120 * 1_000_000_000;

/// What a packet is to the flow with its tuple.
pub(super) enum Met {
    /// One of its packets, in this state.
    Belongs(CtState),
    /// Its last.
    Ends(CtState),
    Invalid,
    /// The first of another: the flow ends.
    Reopen,
}

impl Conntrack {
    /// Finds the flow of a packet, or begins one.
    #[inline]
    pub fn track(&self, at: &At<'_>, template: &Template, packet: &Packet, frame: &Frame<'_>) -> Tracking {
        // Each with code of its own, in which little is left to ask.
        match packet.protocol {
            ip_protocol::UDP => self.track_udp(at, template, packet, frame),
            ip_protocol::TCP => self.track_tcp(at, template, packet, frame),
            _ => self.track_other(at, template, packet, frame),
        }
    }

    #[inline(never)]
    fn track_udp(&self, at: &At<'_>, template: &Template, packet: &Packet, frame: &Frame<'_>) -> Tracking {
        match Tuple::of(packet, template.zone_of(at)) {
            Some(tuple) if !template.notrack && check::udp_is_whole(packet, frame, at.with_checksum()) => {
                self.track_tuple(at, template, packet, frame, &tuple, || Some(Layer4::Udp))
            }
            _ => self.without_flow(at, template),
        }
    }

    #[inline(never)]
    fn track_tcp(&self, at: &At<'_>, template: &Template, packet: &Packet, frame: &Frame<'_>) -> Tracking {
        match Tuple::of(packet, template.zone_of(at)) {
            Some(tuple) if !template.notrack && (!at.with_checksum() || checksum::is_right(packet, frame, packet.l4_len())) => {
                // The header is read when the flow is found: until then it would only take registers.
                self.track_tuple(at, template, packet, frame, &tuple, || Layer4::parse_tcp(packet, frame).map(Layer4::Tcp))
            }
            _ => self.without_flow(at, template),
        }
    }

    #[inline(never)]
    fn track_other(&self, at: &At<'_>, template: &Template, packet: &Packet, frame: &Frame<'_>) -> Tracking {
        let zone = template.zone_of(at);
        if template.notrack {
            return self.without_flow(at, template);
        }
        if matches!((packet.protocol, packet.family), (ip_protocol::ICMP, Family::V4) | (ip_protocol::ICMPV6, Family::V6))
            && let Some(tracking) = self.track_icmp(at, zone, packet, frame)
        {
            return tracking;
        }
        match (Tuple::of(packet, zone), Layer4::parse(packet, frame, at.with_checksum())) {
            (Some(tuple), Some(layer4)) => self.track_tuple(at, template, packet, frame, &tuple, || Some(layer4)),
            _ => self.without_flow(at, template),
        }
    }

    /// A packet that is not tracked, or that no flow takes.
    #[cold]
    fn without_flow(&self, at: &At<'_>, template: &Template) -> Tracking {
        if template.notrack { Tracking::none(CtState::Untracked) } else { self.invalid(at) }
    }

    /// `layer4` reads the upper layer; `None` if no flow takes it.
    #[inline(always)]
    fn track_tuple<'a>(
        &self,
        at: &At<'_>,
        template: &Template,
        packet: &Packet,
        frame: &Frame<'_>,
        tuple: &Tuple,
        layer4: impl Fn() -> Option<Layer4<'a>>,
    ) -> Tracking {
        let hash = self.index.hash(tuple);
        for (index, direction) in self.index.first(hash) {
            if let Some(mut flow) = self.lock_if(at, index, direction, tuple) {
                let Some(layer4) = layer4() else { return self.invalid(at) };
                return match self.meet(at, &mut flow, index, direction, &layer4, packet) {
                    Met::Belongs(state) => flow.tracking(state, direction, index),
                    met => self.met_last(at, template, packet, frame, (flow, index, direction), met),
                };
            }
        }
        self.track_further(at, template, packet, frame)
    }

    /// Looks for the flow where few are, and begins it if it is not there. What the packet says is read again, so that the
    /// common case need not keep it in memory.
    #[inline(never)]
    fn track_further(&self, at: &At<'_>, template: &Template, packet: &Packet, frame: &Frame<'_>) -> Tracking {
        let parsed = (Tuple::of(packet, template.zone_of(at)), Layer4::parse(packet, frame, false));
        let (Some(tuple), Some(layer4)) = parsed else { return self.invalid(at) };
        for (index, direction) in self.index.second(self.index.hash(&tuple)).into_iter().flatten() {
            if let Some(mut flow) = self.lock_if(at, index, direction, &tuple) {
                return match self.meet(at, &mut flow, index, direction, &layer4, packet) {
                    Met::Belongs(state) => flow.tracking(state, direction, index),
                    met => self.met_last(at, template, packet, frame, (flow, index, direction), met),
                };
            }
        }
        self.begin(at, template, &tuple, &layer4, packet)
    }

    /// A packet that does not leave its flow as it was.
    #[inline(never)]
    fn met_last(
        &self,
        at: &At<'_>,
        template: &Template,
        packet: &Packet,
        frame: &Frame<'_>,
        (flow, index, direction): (MutexGuard<'_, Flow>, u32, Direction),
        met: Met,
    ) -> Tracking {
        self.conclude(at, flow, index, direction, met).unwrap_or_else(|| {
            match (Tuple::of(packet, template.zone_of(at)), Layer4::parse(packet, frame, false)) {
                (Some(tuple), Some(layer4)) => self.begin(at, template, &tuple, &layer4, packet),
                _ => self.invalid(at),
            }
        })
    }

    /// What becomes of a packet and of its flow; `None` for one that begins another flow.
    #[cold]
    pub(super) fn conclude(&self, at: &At<'_>, flow: MutexGuard<'_, Flow>, index: u32, direction: Direction, met: Met) -> Option<Tracking> {
        match met {
            Met::Belongs(state) => Some(flow.tracking(state, direction, index)),
            Met::Ends(state) => {
                let tracking = flow.tracking(state, direction, index);
                self.end(at.now, flow, index);
                Some(tracking)
            }
            Met::Invalid => Some(self.invalid(at)),
            Met::Reopen => {
                self.end(at.now, flow, index);
                None
            }
        }
    }

    #[cold]
    fn invalid(&self, at: &At<'_>) -> Tracking {
        self.counters(at).invalid.add(1);
        Tracking::none(CtState::Invalid)
    }

    /// Locks an entry if the tuple is that of its flow.
    #[inline(always)]
    fn lock_if(&self, at: &At<'_>, index: u32, direction: Direction, tuple: &Tuple) -> Option<MutexGuard<'_, Flow>> {
        let flow = self.table.lock(index)?;
        if !flow.matches(direction, tuple) {
            self.missed(at);
            return None;
        }
        // One that is over is as good as gone: whoever confirms the next with its tuple removes it.
        (!flow::is_due(flow.deadline, flow::tick(at.now))).then_some(flow)
    }

    /// The entry was just given to another flow.
    #[cold]
    fn missed(&self, at: &At<'_>) {
        self.counters(at).search_restart.add(1);
    }

    /// Takes up a packet of a known flow.
    #[inline(always)]
    fn meet(&self, at: &At<'_>, flow: &mut Flow, index: u32, direction: Direction, layer4: &Layer4<'_>, packet: &Packet) -> Met {
        if self.watched.load(Ordering::Relaxed) {
            return self.meet_watched(at, flow, index, direction, *layer4, packet);
        }
        self.take_up(at, flow, index, direction, layer4, packet.len)
    }

    /// As [`Conntrack::meet`], and reports what changes.
    #[cold]
    fn meet_watched(&self, at: &At<'_>, flow: &mut Flow, index: u32, direction: Direction, layer4: Layer4<'_>, packet: &Packet) -> Met {
        let before = (flow.status(), flow.protocol.tcp_state());
        let met = self.take_up(at, flow, index, direction, &layer4, packet.len);
        if matches!(met, Met::Belongs(_)) && before != (flow.status(), flow.protocol.tcp_state()) {
            self.report(EventKind::Update, &FlowInfo::of(flow, index, None, at.now));
        }
        met
    }

    #[inline(always)]
    pub(super) fn take_up(&self, at: &At<'_>, flow: &mut Flow, index: u32, direction: Direction, layer4: &Layer4<'_>, octets: u32) -> Met {
        let before = flow.status();
        let mut status = before;
        let adjustments = if before.contains(Status::SEQ_ADJUST) { self.table.adjustments(index) } else { None };
        let state = CtState::of(before, direction);
        match flow.protocol.packet(layer4, direction, &mut status, adjustments.as_ref(), at.settings, flow::tick(at.now)) {
            Outcome::Accept(timeout) => {
                if let Some(timeout) = timeout
                    && !before.contains(Status::FIXED_TIMEOUT)
                {
                    flow.deadline = flow::deadline(at.now, at.settings.timeouts[timeout]);
                }
            }
            Outcome::AcceptAndEnd => {
                self.count_packet(flow, index, direction, octets);
                return Met::Ends(state);
            }
            Outcome::Invalid { shorten } => {
                let unacknowledged = at.settings.timeouts[Timeout::TcpUnacknowledged];
                if shorten && flow::left(flow.deadline, at.now) > unacknowledged.max(SHORTEN_FROM) {
                    flow.deadline = flow::deadline(at.now, unacknowledged);
                }
                return Met::Invalid;
            }
            Outcome::Reopen => return Met::Reopen,
        }
        if direction == Direction::Reply {
            status.insert(Status::SEEN_REPLY);
        }
        if status != before {
            self.set_status(flow, index, before, status);
        }
        self.count_packet(flow, index, direction, octets);
        Met::Belongs(state)
    }

    #[cold]
    fn set_status(&self, flow: &mut Flow, index: u32, before: Status, status: Status) {
        flow.set_status(status);
        if status.contains(Status::ASSURED) && !before.contains(Status::ASSURED) {
            self.table.strike(flow.ingress, index);
        }
    }

    #[inline]
    fn count_packet(&self, flow: &Flow, index: u32, direction: Direction, octets: u32) {
        if flow.is_counted() {
            self.count_octets(index, direction, octets);
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
            timeout: timeout.map_or(0, |timeout| at.settings.timeouts[timeout]),
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

impl At<'_> {
    #[inline]
    pub(crate) fn with_checksum(&self) -> bool {
        self.settings.checksum && !self.own
    }
}

impl Template {
    #[inline]
    fn zone_of(&self, at: &At<'_>) -> Zone {
        Zone { router: at.router, number: self.zone.unwrap_or(0) }
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
