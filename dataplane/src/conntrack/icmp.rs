//! ICMP and ICMPv6: what is not tracked, and errors, which belong to the flow of the packet they quote
//! (`net/netfilter/nf_conntrack_proto_icmp.c`, `nf_conntrack_proto_icmpv6.c`; RFC 5508 section 4).

use wire::{Ipv4Header, Ipv6Header, ip_protocol};

use super::{At, Conntrack, CtState, Domain, Tracking, Tuple, Zone, flow};
use crate::frame::Frame;
use crate::router::address::{Address, Family};
use crate::router::checksum;
use crate::router::packet::{Packet, Upper};

/// The highest ICMP type there is for Linux (`NR_ICMP_TYPES`).
const ICMP_TYPES: u8 = 18;
/// Octets of an ICMP header in front of the packet that an error quotes.
const ICMP_HEADER: usize = 8;

/// Multicast listeners, routers and neighbours: they belong to the link.
const fn is_of_link(kind: u8) -> bool {
    matches!(kind, 130..=136 | 143)
}

impl Conntrack {
    /// What is known of an ICMP packet without its own flow; `None` for one that is tracked like others.
    #[inline(never)]
    pub(super) fn track_icmp(&self, at: &At<'_>, zone: Zone, packet: &Packet, frame: &Frame<'_>) -> Option<Tracking> {
        let error = || {
            self.counters(at).error.add(1);
            Some(Tracking::none(CtState::Invalid))
        };
        let Upper::Icmp { kind, .. } = packet.upper else { return error() };
        if at.settings.checksum && !at.own && !checksum::is_right(packet, frame, packet.l4_len()) {
            return error();
        }
        match packet.family {
            Family::V4 if kind > ICMP_TYPES => return error(),
            Family::V6 if is_of_link(kind) => return Some(Tracking::none(CtState::Untracked)),
            _ => {}
        }
        if !packet.is_icmp_error() {
            return None;
        }
        self.track_error(at, zone, packet, frame).or_else(error)
    }

    fn track_error(&self, at: &At<'_>, zone: Zone, packet: &Packet, frame: &Frame<'_>) -> Option<Tracking> {
        let head = frame.head();
        let end = head.len().min(usize::from(packet.l4) + packet.l4_len() as usize);
        let quoted = quoted_tuple(packet.family, head.get(usize::from(packet.l4) + ICMP_HEADER..end)?, zone)?;
        // It is found by the packets that come from where the quoted one went.
        let tuple = quoted.inverse()?;
        self.index.find(self.index.hash(&tuple), |index, direction| {
            let flow = self.table.lock(index)?;
            // Whoever sends an error about the flow of another does not get it to others by that.
            let found = flow.matches(direction, &tuple)
                && !flow::is_due(flow.deadline, flow::tick(at.now))
                && flow.tuple(direction).destination == packet.destination;
            found.then(|| flow.tracking(CtState::Related, direction, index))
        })
    }
}

/// The tuple of the packet that an error quotes, which is cut behind its first octets.
pub(super) fn quoted_tuple(family: Family, octets: &[u8], zone: Zone) -> Option<Tuple> {
    let (source, destination, protocol, rest): (Address, Address, u8, &[u8]) = match family {
        Family::V4 => {
            let header = Ipv4Header::new_checked(octets).ok()?;
            if header.fragment_offset() != 0 || !header.verify_checksum() {
                return None;
            }
            let rest = octets.get(header.header_len()..)?;
            (header.source().into(), header.destination().into(), header.protocol(), rest)
        }
        Family::V6 => {
            let header = Ipv6Header::new_checked(octets).ok()?;
            let upper = header.upper_layer().ok()?;
            if upper.fragment.is_some_and(|fragment| fragment.offset != 0) {
                return None;
            }
            (header.source().into(), header.destination().into(), upper.protocol, octets.get(upper.offset..)?)
        }
    };
    let word = |at: usize| Some(u16::from_be_bytes([*rest.get(at)?, *rest.get(at + 1)?]));
    let (source_port, destination_port) = match (family, protocol) {
        (_, ip_protocol::TCP | ip_protocol::UDP | ip_protocol::UDP_LITE | ip_protocol::SCTP | ip_protocol::DCCP) => (word(0)?, word(2)?),
        (Family::V4, ip_protocol::ICMP) | (Family::V6, ip_protocol::ICMPV6) => {
            // Half of it would do, but the kernel wants the whole header.
            rest.get(..ICMP_HEADER)?;
            (word(4)?, word(0)?)
        }
        _ => (0, 0),
    };
    Some(Tuple {
        source,
        destination,
        source_port,
        destination_port,
        zone: zone.number,
        domain: Domain::new(zone.router, family),
        protocol,
    })
}
