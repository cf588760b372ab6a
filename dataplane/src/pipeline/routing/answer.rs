//! What a router says to those whose packets it gets or drops: echo replies, ICMP errors, TCP resets.

use wire::{ethernet, ip_protocol, udp};

use super::super::Pipeline;
use super::own::OwnKind;
use super::{Cx, Passage, Step};
use crate::conntrack::{CtState, FlowRef, Tracking};
use crate::drop_reason::DropReason;
use crate::router::icmp::{self, ERROR_MAX, IcmpError};
use crate::router::packet::Upper;
use crate::router::{Address, Family};
use crate::rules::{Hook, RejectWith};

/// The traffic class without ECN (RFC 3168 section 5).
const DSCP: u8 = 0xfc;

impl Pipeline {
    /// Answers a packet for the router itself. There are no listeners: what a host would do with a closed port is done.
    pub(super) fn answer(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>) -> Result<Step, Step> {
        let (packet, family) = (p.packet, p.packet.family);
        let to_group = p.router.is_group(family, packet.destination);
        match (packet.protocol, packet.upper) {
            (ip_protocol::ICMPV6, Upper::Icmp { kind: 133..=137, .. }) if family == Family::V6 => {
                return Ok(self.punt_to_router(cx, p.at, p.frame));
            }
            (ip_protocol::ICMP, Upper::Icmp { .. }) | (ip_protocol::ICMPV6, Upper::Icmp { .. }) => {
                if p.router.echo_ignore_all || !icmp::is_echo_request(p.frame, &packet) || (family == Family::V4 && to_group) {
                    return Ok(Step::Taken);
                }
                let source = if to_group { p.source_towards(packet.source) } else { Some(packet.destination) };
                let Some(source) = source else { return Ok(Step::Taken) };
                icmp::echo_reply(p.frame, &mut p.packet, source, p.router.default_ttl);
                let scope = p.in_interface.take();
                (p.out_interface, p.mark, p.tracking) = (None, 0, Tracking::none(CtState::Invalid));
                // The reply to a request that came in pieces is one packet.
                p.fragments = None;
                return self.originate(cx, p, scope);
            }
            _ if to_group => return Err(Step::Drop(DropReason::NoListener)),
            // It is of the flow and ends it, so it is tracked like any packet.
            (ip_protocol::TCP, _) => self.send_reset(p, OwnKind::Answer(None), packet.traffic_class & DSCP),
            // A datagram that says it is longer than it is has no port to be told of.
            (ip_protocol::UDP, _) if udp_len(p).is_none_or(|len| len > packet.l4_len()) || !icmp::checksum_ok(p.frame, &packet) => {}
            (ip_protocol::UDP | ip_protocol::UDP_LITE, _) => self.send_error(cx, p, IcmpError::port_unreachable(family)),
            _ if family == Family::V4 => self.send_error(cx, p, IcmpError::protocol_unreachable()),
            _ => self.send_error(cx, p, IcmpError::parameter_problem(family, 1, icmp::next_header_pointer(p.frame, &packet))),
        }
        Err(Step::Drop(DropReason::NoListener))
    }

    /// Tells the sender what a rule says.
    #[cold]
    pub(super) fn reject(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>, hook: Hook, with: RejectWith) {
        // What the router itself sends is rejected to nobody who could read it.
        if hook == Hook::Output && p.in_interface.is_none() {
            return;
        }
        match with {
            RejectWith::TcpReset => {
                p.router.state.connections.set_closing(&p.tracking, &p.router.conntrack, self.time);
                self.send_reset(p, OwnKind::Answer(answering(&p.tracking)), 0);
            }
            // What is damaged has no sender to be told (`nf_reject_verify_csum`), nor has an IPv6 packet of headers alone
            // (`reject6_csum_ok`).
            RejectWith::Unreachable(_) if !icmp::checksum_ok(p.frame, &p.packet) => {}
            RejectWith::Unreachable(_) if p.packet.family == Family::V6 && p.packet.l4_len() == 0 => {}
            RejectWith::Unreachable(code) => self.send_error(cx, p, IcmpError::unreachable(p.packet.family, code)),
        }
    }

    /// Tells the sender of a packet why it goes no further, if that may be said now.
    #[cold]
    pub(super) fn send_error(&mut self, _: &Cx<'_>, p: &Passage<'_, '_, '_>, error: IcmpError) {
        let (packet, family) = (&p.packet, p.packet.family);
        if p.in_interface.is_none() || !icmp::may_answer(p.frame, packet, error) {
            return;
        }
        let Some(source) = p.error_source() else { return };
        if !self.routing.limiter.allow(&p.router.rate_limit, family, packet.source, error, self.time) {
            return;
        }
        self.routing.own.add(|own| {
            (own.router, own.family, own.scope, own.at) = (p.router.id, family, p.in_interface, p.at);
            own.kind = OwnKind::Answer(answering(&p.tracking));
            let into: &mut [u8; ERROR_MAX] = own.octets[ethernet::HEADER_LEN..].first_chunk_mut()?;
            Some(icmp::error(into, p.frame, packet, source, error, p.router.default_ttl))
        });
    }

    #[cold]
    fn send_reset(&mut self, p: &Passage<'_, '_, '_>, kind: OwnKind, traffic_class: u8) {
        self.routing.own.add(|own| {
            (own.router, own.family, own.scope, own.at) = (p.router.id, p.packet.family, p.in_interface, p.at);
            own.kind = kind;
            let into = own.octets[ethernet::HEADER_LEN..].first_chunk_mut()?;
            icmp::tcp_reset(into, p.frame, &p.packet, p.router.default_ttl, traffic_class)
        });
    }
}

/// The flow of an answer to a packet of this flow (`nf_conntrack_attach`).
pub(super) fn answering(tracking: &Tracking) -> Option<Tracking> {
    if tracking.flow == FlowRef::None {
        return None;
    }
    Some(Tracking { state: CtState::Related, direction: tracking.direction.other(), ..tracking.clone() })
}

/// The length a UDP datagram says it has.
fn udp_len(p: &Passage<'_, '_, '_>) -> Option<u32> {
    let at = usize::from(p.packet.l4) + udp::LENGTH.start;
    p.frame.head().get(at..at + 2).map(|field| u32::from(u16::from_be_bytes([field[0], field[1]])))
}

impl Passage<'_, '_, '_> {
    /// The address that an error about the packet comes from.
    pub(super) fn error_source(&self) -> Option<Address> {
        let packet = &self.packet;
        let is_local = self.router.is_local(packet.family, packet.destination);
        if is_local { Some(packet.destination) } else { self.source_towards(packet.source) }
    }

    /// The address the router has for a station that a packet came from (`inet_select_addr`, `ipv6_dev_get_saddr`).
    pub(super) fn source_towards(&self, to: Address) -> Option<Address> {
        self.router.source_towards(self.packet.family, to, self.in_interface)
    }
}
