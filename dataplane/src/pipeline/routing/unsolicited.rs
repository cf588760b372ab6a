//! Answers of a router that translates to those whose flows it refuses.

use wire::{ethernet, ip_protocol, tcp};

use super::super::Pipeline;
use super::own::OwnKind;
use super::{Cx, Passage, Routing, answer};
use crate::nat::MappingBehaviour;
use crate::nat::unsolicited::UnsolicitedSyn;
use crate::router::icmp::{self, IcmpError};
use crate::router::packet::Upper;
use crate::snapshot::{PortId, Snapshot};

impl Pipeline {
    /// A packet to a mapping, to which its sender may not send, is dropped. If it opens a connection the sender is told later
    /// (RFC 5382 REQ-4).
    #[cold]
    pub(super) fn hold_syn(&mut self, p: &Passage<'_, '_, '_>) {
        const FLAGS: u16 = tcp::SYN | tcp::ACK | tcp::RST | tcp::FIN;
        let (packet, family, wait) = (&p.packet, p.packet.family, p.router.nat.tcp_incoming_syn_timeout);
        let error = IcmpError::port_unreachable(family);
        let Upper::Ports { tcp_flags, .. } = packet.upper else { return };
        if packet.protocol != ip_protocol::TCP || u16::from(tcp_flags) & FLAGS != tcp::SYN || wait == 0 {
            return;
        }
        let (Some(interface), Some(source)) = (p.in_interface, p.error_source()) else { return };
        if !self.routing.unsolicited.has_room(&p.tracking)
            || !icmp::may_answer(p.frame, packet, error)
            || !icmp::checksum_ok(p.frame, packet)
        {
            return;
        }
        let (router, at, tracking, due) = (p.router.id, p.at, p.tracking.clone(), self.time + wait);
        let ttl = p.router.default_ttl;
        let syn = UnsolicitedSyn { router, family, interface, at, tracking, due };
        self.routing.unsolicited.hold(syn, |into| icmp::error(into, p.frame, packet, source, error, ttl));
    }

    /// Answers SYNs that waited long enough and whose connection was not opened from inside meanwhile.
    #[cold]
    pub(super) fn answer_unsolicited(&mut self, snapshot: &Snapshot, tick: u32) {
        let cx = Cx { snapshot, origin: PortId(u16::MAX), tick, hops: 0 };
        let Routing { unsolicited, own, limiter, .. } = &mut self.routing;
        while let Some((syn, octets)) = unsolicited.take_due(self.time) {
            let UnsolicitedSyn { router, family, interface, at, tracking, .. } = syn;
            let Some(to) = snapshot.router(router) else { continue };
            let (sender, error) = (tracking.original.source, IcmpError::port_unreachable(family));
            if to.state.connections.find(&tracking.original, self.time).is_some()
                || !limiter.allow(&to.rate_limit, family, sender, error, self.time)
            {
                continue;
            }
            own.add(|own| {
                (own.router, own.family, own.scope, own.at) = (router, family, Some(interface), at);
                own.kind = OwnKind::Answer(answer::answering(&tracking));
                own.octets[ethernet::HEADER_LEN..][..octets.len()].copy_from_slice(octets);
                Some(octets.len())
            });
        }
        self.send_own(&cx);
    }

    /// Tells the sender of a packet that the flow it begins cannot be translated (RFC 5508 REQ-8). Linux does not.
    #[cold]
    pub(super) fn refuse_flow(&mut self, cx: &Cx<'_>, p: &Passage<'_, '_, '_>) {
        if p.router.nat.mapping == MappingBehaviour::EndpointIndependent {
            self.send_error(cx, p, IcmpError::administratively_prohibited(p.packet.family));
        }
    }
}
