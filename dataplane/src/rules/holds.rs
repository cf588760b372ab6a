//! Whether matches hold for a packet.

use wire::{MacAddr, TcpHeader, ip_protocol};

use super::Evaluation;
use super::matches::{CtStates, End, Match, PacketType, PortRange, Ports, Statistic, Test, Ttl};
use super::state::RuleState;
use crate::clock::Nanos;
use crate::conntrack::established::DECISIVE_FLAGS;
use crate::conntrack::{CtState, FlowRef, Status, Template, Tracking};
use crate::router::packet::{Packet, Upper};

const NANOS_PER_SECOND: Nanos = 1_000_000_000;

impl Test {
    /// Whether all packets of one direction of a flow, at one hook and with the same interfaces, get the same answer.
    pub(super) fn is_fixed(&self) -> bool {
        match self {
            Test::Protocol(_)
            | Test::Source(_)
            | Test::Destination(_)
            | Test::SourceRange(..)
            | Test::DestinationRange(..)
            | Test::InInterface(_)
            | Test::OutInterface(_)
            | Test::Ports(_)
            | Test::Icmp(_)
            | Test::CtProtocol(_)
            | Test::CtAddress(..)
            | Test::CtPort(..)
            | Test::CtDirection(_) => true,
            // Sets and addresses of the router change without a new rule set.
            Test::Fragment
            | Test::TcpFlags { .. }
            | Test::TcpOption(_)
            | Test::CtState(_)
            | Test::CtStatus(_)
            | Test::CtExpire(..)
            | Test::Limit { .. }
            | Test::Mark { .. }
            | Test::ConnMark { .. }
            | Test::MacSource(_)
            | Test::Length(..)
            | Test::Ttl(_)
            | Test::Dscp(_)
            | Test::Tos { .. }
            | Test::AddressType { .. }
            | Test::Set { .. }
            | Test::PacketType(_)
            | Test::RpFilter { .. }
            | Test::Statistic(_) => false,
        }
    }

    /// Whether all whole packets of one direction of a flow get the same answer that come in by the same interface, do not change the
    /// status of the flow and, if they are of TCP, neither begin nor end anything; until the next configuration.
    fn is_same_on_path(&self) -> bool {
        match self {
            Test::Fragment
            | Test::CtState(_)
            | Test::CtStatus(_)
            | Test::AddressType { .. }
            | Test::RpFilter { .. }
            | Test::PacketType(_) => true,
            Test::TcpFlags { mask, .. } => mask & !DECISIVE_FLAGS == 0,
            // Packets have no mark but that which rules give them, and those that do have no path.
            Test::Mark { .. } => true,
            _ => self.is_fixed(),
        }
    }

    /// Whether asking changes something: what stands behind it must not be asked before it.
    pub(super) fn is_metered(&self) -> bool {
        matches!(self, Test::Limit { .. } | Test::Statistic(Statistic::Nth { .. }))
    }
}

/// Whether all of some matches of a rule hold. The meters of a rule belong to matches of one such list.
#[inline]
pub(super) fn all_hold(matches: &[Match], state: &RuleState, evaluation: &mut Evaluation<'_, '_>) -> bool {
    matches.is_empty() || all_answers(matches, state, evaluation)
}

fn all_answers(matches: &[Match], state: &RuleState, evaluation: &mut Evaluation<'_, '_>) -> bool {
    let mut meter = 0;
    matches.iter().all(|m| {
        if !m.test.is_same_on_path() {
            evaluation.trace.differs();
        }
        answer(&m.test, state, &mut meter, evaluation).is_some_and(|holds| holds != m.invert)
    })
}

/// The state of the flow; before connection tracking what is known of it by then.
#[inline]
pub(super) fn ct_state_holds(states: CtStates, evaluation: &Evaluation<'_, '_>) -> bool {
    let (state, status) =
        evaluation.tracking.as_ref().map_or_else(|| (untracked_yet(evaluation.template), Status(0)), |t| (t.state, t.status));
    states.intersects(CtStates::of(state, status))
}

/// Before connection tracking a packet has no flow, as one that is invalid (`xt_conntrack.c`), unless target `CT` gave it something in
/// place of one (`xt_CT.c`).
#[cold]
fn untracked_yet(template: &Template) -> CtState {
    match template {
        Template { notrack: true, .. } => CtState::Untracked,
        template if *template == Template::default() => CtState::Invalid,
        _ => CtState::New,
    }
}

/// The answer to a question; `None` if it does not apply.
#[inline]
fn answer(test: &Test, state: &RuleState, meter: &mut usize, evaluation: &mut Evaluation<'_, '_>) -> Option<bool> {
    let packet = &*evaluation.packet;
    Some(match test {
        Test::Protocol(protocol) => packet.protocol == *protocol,
        Test::Source(network) => network.contains(packet.source),
        Test::Destination(network) => network.contains(packet.destination),
        Test::SourceRange(first, last) => (*first..=*last).contains(&packet.source),
        Test::DestinationRange(first, last) => (*first..=*last).contains(&packet.destination),
        Test::InInterface(set) => set.contains(evaluation.in_interface),
        Test::OutInterface(set) => set.contains(evaluation.out_interface),
        Test::Fragment => packet.is_later_fragment(),
        Test::Ports(ports) => ports_hold(ports, packet)?,
        Test::TcpFlags { mask, compare } => match packet.upper {
            Upper::Ports { tcp_flags, .. } if packet.protocol == ip_protocol::TCP => tcp_flags & mask == *compare,
            _ => return None,
        },
        Test::TcpOption(kind) => has_tcp_option(*kind, evaluation)?,
        Test::Icmp(wanted) => match packet.upper {
            Upper::Icmp { kind, code, .. } => wanted.kind.is_none_or(|k| k == kind && (wanted.codes.0..=wanted.codes.1).contains(&code)),
            _ => return None,
        },
        Test::CtState(states) => ct_state_holds(*states, evaluation),
        Test::CtProtocol(protocol) => tracked(evaluation)?.original.protocol == *protocol,
        Test::CtAddress(direction, end, network) => {
            let tuple = tracked(evaluation)?.tuple(*direction);
            network.contains(match end {
                End::Source => tuple.source,
                End::Destination => tuple.destination,
            })
        }
        Test::CtPort(direction, end, range) => {
            let tuple = tracked(evaluation)?.tuple(*direction);
            range.contains(match end {
                End::Source => tuple.source_port,
                End::Destination => tuple.destination_port,
            })
        }
        Test::CtStatus(status) => tracked(evaluation)?.status.intersects(*status),
        Test::CtExpire(least, most) => {
            let left = evaluation.conntrack.expires_in(tracked(evaluation)?, evaluation.now).unwrap_or(0) / NANOS_PER_SECOND;
            (u64::from(*least)..=u64::from(*most)).contains(&left)
        }
        Test::CtDirection(direction) => tracked(evaluation)?.direction == *direction,
        Test::Limit { interval, burst } => {
            *meter += 1;
            state.meters[*meter - 1].take(*interval, *burst, evaluation.now)
        }
        Test::Mark { value, mask } => *evaluation.mark & mask == *value,
        Test::ConnMark { value, mask } => tracked(evaluation)?.mark & mask == *value,
        Test::MacSource(mac) => evaluation.frame.source() == *mac,
        Test::Length(least, most) => (u32::from(*least)..=u32::from(*most)).contains(&packet.len),
        Test::Ttl(Ttl::Equal(ttl)) => packet.ttl == *ttl,
        Test::Ttl(Ttl::Less(ttl)) => packet.ttl < *ttl,
        Test::Ttl(Ttl::Greater(ttl)) => packet.ttl > *ttl,
        Test::Dscp(dscp) => packet.traffic_class >> 2 == *dscp,
        Test::Tos { value, mask } => packet.traffic_class & mask == *value,
        Test::AddressType { end, types, limit_interface } => {
            let address = match end {
                End::Source => packet.source,
                End::Destination => packet.destination,
            };
            let interface = match limit_interface {
                None => None,
                Some(End::Source) => evaluation.in_interface,
                Some(End::Destination) => evaluation.out_interface,
            };
            types.intersects(evaluation.router.address_types(packet.family, address, interface))
        }
        Test::Set { set, first, second } => set.matches(packet, evaluation.frame, *first, *second, evaluation.now),
        Test::PacketType(kind) => {
            let destination = evaluation.frame.destination();
            let is = if destination == MacAddr::BROADCAST {
                PacketType::Broadcast
            } else if destination.is_multicast() {
                PacketType::Multicast
            } else {
                PacketType::Unicast
            };
            is == *kind
        }
        Test::RpFilter { loose, accept_local } => evaluation.router.reverse_path(packet, evaluation.in_interface, *loose, *accept_local),
        Test::Statistic(Statistic::Random(probability)) => evaluation.cache.random() & 0x7fff_ffff < u64::from(*probability),
        Test::Statistic(Statistic::Nth { every, packet }) => {
            *meter += 1;
            state.meters[*meter - 1].nth(*every, *packet)
        }
    })
}

/// The flow of a packet that has one.
#[inline]
fn tracked<'a>(evaluation: &'a Evaluation<'_, '_>) -> Option<&'a Tracking> {
    evaluation.tracking.as_deref().filter(|tracking| tracking.flow != FlowRef::None)
}

/// Ports of a packet; none of fragments and of protocols without.
#[inline]
fn ports_hold(wanted: &Ports, packet: &Packet) -> Option<bool> {
    let Upper::Ports { source, destination, .. } = packet.upper else { return None };
    let any = |ranges: &[PortRange], port| ranges.iter().any(|range| range.contains(port));
    Some(match wanted {
        Ports::Source(range) => range.contains(source),
        Ports::Destination(range) => range.contains(destination),
        Ports::MultiSource(ranges) => any(ranges, source),
        Ports::MultiDestination(ranges) => any(ranges, destination),
        Ports::MultiEither(ranges) => any(ranges, source) || any(ranges, destination),
    })
}

/// Whether there is an option of this kind, among those that lie in the head.
fn has_tcp_option(kind: u8, evaluation: &Evaluation<'_, '_>) -> Option<bool> {
    let packet = &*evaluation.packet;
    if packet.protocol != ip_protocol::TCP || !matches!(packet.upper, Upper::Ports { .. }) {
        return None;
    }
    let segment = evaluation.frame.head().get(usize::from(packet.l4)..)?;
    let segment = &segment[..segment.len().min(packet.l4_len() as usize)];
    let header = TcpHeader::new_checked(segment).ok()?;
    let mut options = header.options();
    while let [first, rest @ ..] = options {
        if *first == kind {
            return Some(true);
        }
        // As the kernel, which takes the end of options and lengths of 0 for one octet (`optlen`).
        let len = match (first, rest.first()) {
            (0 | 1, _) | (_, None | Some(0)) => 1,
            (_, Some(len)) => usize::from(*len),
        };
        options = options.get(len..).unwrap_or_default();
    }
    Some(false)
}
