//! Frames that an agent sends, built with `etherparse`, and what it reads from those it is given.

use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::icmpv6::NeighborAdvertisementHeader;
use etherparse::{
    ArpEthIpv4Packet, ArpOperation, ArpPacketSlice, Icmpv6Header, Icmpv6Slice, Icmpv6Type, IpNumber, Ipv4Header, Ipv6Header, Ipv6Slice,
};
use wire::ethernet::{ETHER_TYPE_ARP, ETHER_TYPE_IPV4, ETHER_TYPE_IPV6, ETHER_TYPE_SLOW, HEADER_LEN};
use wire::{MacAddr, Tag, slow_protocols};

const ETHER_TYPE_RARP: u16 = 0x8035;
/// EtherType of the Ethernet configuration test (loopback), which the kernel's learning frames use.
const ETHER_TYPE_LOOPBACK: u16 = 0x9000;
/// Reverse ARP's "request reverse" (RFC 903).
const RARP_REQUEST: ArpOperation = ArpOperation(3);
/// Octets of the shortest frame, without checksum and tag.
const FRAME_MIN: usize = 60;
pub(crate) const HOP_LIMIT_ND: u8 = 255;

pub(crate) fn frame(destination: MacAddr, source: MacAddr, tag: Option<Tag>, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(HEADER_LEN + Tag::LEN + payload.len().max(FRAME_MIN - HEADER_LEN));
    octets.extend_from_slice(&destination.0);
    octets.extend_from_slice(&source.0);
    if let Some(tag) = tag {
        octets.extend_from_slice(&tag.to_bytes());
    }
    octets.extend_from_slice(&ether_type.to_be_bytes());
    octets.extend_from_slice(payload);
    let shortest = FRAME_MIN + if tag.is_some() { Tag::LEN } else { 0 };
    octets.resize(octets.len().max(shortest), 0);
    octets
}

/// A frame of a slow protocol. Its source is the member's own address (IEEE 802.3 clause 57A.3).
pub(super) fn slow(source: MacAddr, pdu: &[u8]) -> Vec<u8> {
    frame(slow_protocols::DESTINATION, source, None, ETHER_TYPE_SLOW, pdu)
}

/// A learning frame of balance-tlb and balance-alb: from an address to itself (`alb_send_lp_vid`).
pub(super) fn learning(mac: MacAddr, tag: Option<Tag>) -> Vec<u8> {
    frame(mac, mac, tag, ETHER_TYPE_LOOPBACK, &[])
}

/// A reverse ARP request of a station for its own address: upstream switches learn where it is now.
pub(super) fn rarp(mac: MacAddr, tag: Option<Tag>) -> Vec<u8> {
    let packet =
        ArpEthIpv4Packet { operation: RARP_REQUEST, sender_mac: mac.0, sender_ipv4: [0; 4], target_mac: mac.0, target_ipv4: [0; 4] };
    frame(MacAddr::BROADCAST, mac, tag, ETHER_TYPE_RARP, &packet.to_bytes())
}

/// An ARP request from `ip` at `mac` for `target`. A gratuitous one when both are the same.
pub(crate) fn arp_request(mac: MacAddr, ip: Ipv4Addr, target: Ipv4Addr, tag: Option<Tag>) -> Vec<u8> {
    let packet = ArpEthIpv4Packet {
        operation: ArpOperation::REQUEST,
        sender_mac: mac.0,
        sender_ipv4: ip.octets(),
        target_mac: [0; 6],
        target_ipv4: target.octets(),
    };
    frame(MacAddr::BROADCAST, mac, tag, ETHER_TYPE_ARP, &packet.to_bytes())
}

/// An ARP reply that tells `to` (at `to_mac`) that `ip` is at `mac`.
pub(crate) fn arp_reply(mac: MacAddr, ip: Ipv4Addr, to_mac: MacAddr, to: Ipv4Addr, tag: Option<Tag>) -> Vec<u8> {
    let packet = ArpEthIpv4Packet {
        operation: ArpOperation::REPLY,
        sender_mac: mac.0,
        sender_ipv4: ip.octets(),
        target_mac: to_mac.0,
        target_ipv4: to.octets(),
    };
    frame(to_mac, mac, tag, ETHER_TYPE_ARP, &packet.to_bytes())
}

pub(crate) fn icmpv6(
    destination: MacAddr,
    mac: MacAddr,
    from: Ipv6Addr,
    to: Ipv6Addr,
    message: Icmpv6Type,
    body: &[u8],
    tag: Option<Tag>,
) -> Vec<u8> {
    let (from, to) = (from.octets(), to.octets());
    // The length is below 2^32, the one error there is.
    let header = Icmpv6Header::with_checksum(message, from, to, body).unwrap_or_else(|_| Icmpv6Header::new(message));
    let header = header.to_bytes();
    let ip = Ipv6Header {
        payload_length: (header.len() + body.len()) as u16,
        next_header: IpNumber::IPV6_ICMP,
        hop_limit: HOP_LIMIT_ND,
        source: from,
        destination: to,
        ..Ipv6Header::default()
    };
    let payload = [&ip.to_bytes(), &header[..], body].concat();
    frame(destination, mac, tag, ETHER_TYPE_IPV6, &payload)
}

/// A link-layer address option (RFC 4861 clause 4.6.1) behind a target address.
pub(crate) fn target_and_option(target: Ipv6Addr, option: Option<(u8, MacAddr)>) -> Vec<u8> {
    let mut body = target.octets().to_vec();
    if let Some((kind, mac)) = option {
        body.extend_from_slice(&[kind, 1]);
        body.extend_from_slice(&mac.0);
    }
    body
}

/// An unsolicited neighbour advertisement of `ip` at `mac` to all nodes, overriding what they know (RFC 4861 clause 7.2.6).
pub(super) fn neighbour_advertisement(mac: MacAddr, ip: Ipv6Addr, tag: Option<Tag>) -> Vec<u8> {
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let message = Icmpv6Type::NeighborAdvertisement(NeighborAdvertisementHeader { router: false, solicited: false, r#override: true });
    let body = target_and_option(ip, Some((2, mac)));
    icmpv6(MacAddr([0x33, 0x33, 0, 0, 0, 1]), mac, ip, all_nodes, message, &body, tag)
}

/// A neighbour solicitation from `ip` at `mac` for `target`. From the unspecified address it asks as duplicate address
/// detection does and carries no address of its own (RFC 4861 clause 4.3).
pub(crate) fn neighbour_solicitation(mac: MacAddr, ip: Ipv6Addr, target: Ipv6Addr, tag: Option<Tag>) -> Vec<u8> {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let body = target_and_option(target, (!ip.is_unspecified()).then_some((1, mac)));
    icmpv6(MacAddr([0x33, 0x33, 0xff, a, b, c]), mac, ip, group, Icmpv6Type::NeighborSolicitation, &body, tag)
}

/// A report of membership in `group`: IGMPv2 (RFC 2236), or IGMPv3 (RFC 3376) with one record that excludes nobody.
pub(super) fn igmp_report(mac: MacAddr, ip: Ipv4Addr, group: Ipv4Addr, version3: bool, tag: Option<Tag>) -> Vec<u8> {
    let mut message = if version3 {
        let mut message = vec![0x22, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0];
        message.extend_from_slice(&group.octets());
        message
    } else {
        let mut message = vec![0x16, 0, 0, 0];
        message.extend_from_slice(&group.octets());
        message
    };
    let sum = wire::checksum::Sum::of(&message).checksum();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let to = if version3 { Ipv4Addr::new(224, 0, 0, 22) } else { group };
    let [_, b, c, d] = to.octets();
    let Ok(mut ip) = Ipv4Header::new(message.len() as u16, 1, IpNumber::IGMP, ip.octets(), to.octets()) else { return Vec::new() };
    // Router Alert (RFC 2113).
    ip.options = [0x94, 4, 0, 0].into();
    ip.header_checksum = ip.calc_header_checksum();
    let payload = [&ip.to_bytes()[..], &message].concat();
    frame(MacAddr([1, 0, 0x5e, b & 0x7f, c, d]), mac, tag, ETHER_TYPE_IPV4, &payload)
}

/// The payload of an untagged frame with this EtherType.
pub(crate) fn payload(octets: &[u8], ether_type: u16) -> Option<&[u8]> {
    let header = octets.get(..HEADER_LEN)?;
    (wire::ethernet::ether_type(header) == ether_type).then(|| &octets[HEADER_LEN..])
}

/// An ARP packet for IPv4 over Ethernet.
pub(crate) fn arp(octets: &[u8]) -> Option<ArpEthIpv4Packet> {
    ArpPacketSlice::from_slice(payload(octets, ETHER_TYPE_ARP)?).ok()?.to_packet().try_eth_ipv4().ok()
}

/// A neighbour solicitation or advertisement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NeighbourMessage {
    /// Whether it is an advertisement.
    pub(super) advertisement: bool,
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) target: Ipv6Addr,
}

/// Reads a neighbour solicitation or advertisement with a valid checksum that was not forwarded by a router.
pub(super) fn neighbour_message(octets: &[u8]) -> Option<NeighbourMessage> {
    let ip = Ipv6Slice::from_slice(payload(octets, ETHER_TYPE_IPV6)?).ok()?;
    let header = ip.header();
    if header.hop_limit() != HOP_LIMIT_ND || ip.payload().ip_number != IpNumber::IPV6_ICMP {
        return None;
    }
    let message = Icmpv6Slice::from_slice(ip.payload().payload).ok()?;
    if !message.is_checksum_valid(header.source(), header.destination()) {
        return None;
    }
    let advertisement = match message.icmp_type() {
        Icmpv6Type::NeighborAdvertisement(_) => true,
        Icmpv6Type::NeighborSolicitation => false,
        _ => return None,
    };
    let target = message.slice().get(8..)?.first_chunk::<16>()?;
    Some(NeighbourMessage {
        advertisement,
        source: header.source().into(),
        destination: header.destination().into(),
        target: (*target).into(),
    })
}
