//! Frames of an agent, beyond those it shares with bonds.

use std::net::{Ipv4Addr, Ipv6Addr};

use dataplane::router::Address;
use dataplane::router::Family;
use dataplane::router::neighbour::group_mac;
use etherparse::icmpv6::NeighborAdvertisementHeader;
use etherparse::{ArpEthIpv4Packet, ArpOperation, Icmpv6Slice, Icmpv6Type, IpNumber, Ipv6Slice};
use wire::MacAddr;
use wire::ethernet::{ETHER_TYPE_ARP, ETHER_TYPE_IPV6};

use crate::bond::frames::{HOP_LIMIT_ND, frame, icmpv6, payload, target_and_option};

pub(super) use crate::bond::frames::{arp, arp_reply, arp_request, neighbour_solicitation};

const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;

/// All nodes at the link (RFC 4291 section 2.7.1).
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// An ARP request from `ip` at `mac` to a neighbour whose MAC address is known: is it still there?
pub(super) fn arp_probe(mac: MacAddr, ip: Ipv4Addr, to: MacAddr, target: Ipv4Addr) -> Vec<u8> {
    let packet = ArpEthIpv4Packet {
        operation: ArpOperation::REQUEST,
        sender_mac: mac.0,
        sender_ipv4: ip.octets(),
        target_mac: to.0,
        target_ipv4: target.octets(),
    };
    frame(to, mac, None, ETHER_TYPE_ARP, &packet.to_bytes())
}

/// A neighbour solicitation to a neighbour whose MAC address is known.
pub(super) fn solicitation_probe(mac: MacAddr, ip: Ipv6Addr, to: MacAddr, target: Ipv6Addr) -> Vec<u8> {
    let body = target_and_option(target, Some((SOURCE_LINK_LAYER_ADDRESS, mac)));
    icmpv6(to, mac, ip, target, Icmpv6Type::NeighborSolicitation, &body, None)
}

/// Flags of an advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) router: bool,
    pub(super) solicited: bool,
    pub(super) replace: bool,
}

/// An advertisement that `target` is at `mac`, to `to`; `to_mac` is not looked at when that is a group.
pub(super) fn advertisement(mac: MacAddr, target: Ipv6Addr, to: Ipv6Addr, to_mac: MacAddr, flags: Flags) -> Vec<u8> {
    let message = Icmpv6Type::NeighborAdvertisement(NeighborAdvertisementHeader {
        router: flags.router,
        solicited: flags.solicited,
        r#override: flags.replace,
    });
    let body = target_and_option(target, Some((TARGET_LINK_LAYER_ADDRESS, mac)));
    let to_mac = group_mac(Family::V6, Address::from(to)).unwrap_or(to_mac);
    icmpv6(to_mac, mac, target, to, message, &body, None)
}

/// A neighbour solicitation or advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// The flags of an advertisement; a solicitation has none.
    pub(super) advertisement: Option<Flags>,
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) target: Ipv6Addr,
    /// The source's MAC address in a solicitation, the target's in an advertisement.
    pub(super) link_layer_address: Option<MacAddr>,
}

/// Reads a message that passes the checks of RFC 4861 sections 7.1.1 and 7.1.2.
pub(super) fn message(octets: &[u8]) -> Option<Message> {
    let ip = Ipv6Slice::from_slice(payload(octets, ETHER_TYPE_IPV6)?).ok()?;
    let header = ip.header();
    // An atomic or other fragment is not taken (RFC 6980); etherparse says the first header behind extension headers.
    if header.hop_limit() != HOP_LIMIT_ND || ip.is_payload_fragmented() || ip.payload().ip_number != IpNumber::IPV6_ICMP {
        return None;
    }
    let icmp = Icmpv6Slice::from_slice(ip.payload().payload).ok()?;
    if icmp.code_u8() != 0 || !icmp.is_checksum_valid(header.source(), header.destination()) {
        return None;
    }
    let (advertisement, wanted) = match icmp.icmp_type() {
        Icmpv6Type::NeighborAdvertisement(flags) => {
            let flags = Flags { router: flags.router, solicited: flags.solicited, replace: flags.r#override };
            (Some(flags), TARGET_LINK_LAYER_ADDRESS)
        }
        Icmpv6Type::NeighborSolicitation => (None, SOURCE_LINK_LAYER_ADDRESS),
        _ => return None,
    };
    let (target, mut options) = icmp.slice().get(8..)?.split_first_chunk::<16>()?;
    let mut link_layer_address = None;
    while let [kind, units, ..] = *options {
        let (option, rest) = options.split_at_checked(usize::from(units) * 8).filter(|_| units != 0)?;
        if kind == wanted && units == 1 && link_layer_address.is_none() {
            link_layer_address = Some(MacAddr::at(&option[2..8])).filter(|mac| !mac.is_multicast() && !mac.is_zero());
        }
        options = rest;
    }
    let message = Message {
        advertisement,
        source: header.source().into(),
        destination: header.destination().into(),
        target: (*target).into(),
        link_layer_address,
    };
    let sane = !message.target.is_multicast()
        && !message.source.is_multicast()
        && match advertisement {
            // From an address that is being tried out: to the group of its target, and without an address.
            None if message.source.is_unspecified() => {
                message.destination == solicited_node(message.target) && message.link_layer_address.is_none()
            }
            None => true,
            Some(flags) => !(flags.solicited && message.destination.is_multicast()),
        };
    sane.then_some(message)
}

/// The group in which a station with this address is (RFC 4291 section 2.7.1).
pub(super) fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}
