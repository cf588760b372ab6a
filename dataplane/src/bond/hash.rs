//! The transmit hash policies, with the formulas of the kernel (`drivers/net/bonding/bond_main.c`, `__bond_xmit_hash`), so
//! that a flow leaves by the member the kernel would choose.
//!
//! Words of headers are read as little-endian numbers, as on the machines nearly everybody has. What does not lie in the
//! first [`HEAD_MAX`](crate::frame::HEAD_MAX) octets counts as not there: that takes headers no host sends.

use wire::{ethernet, ip_protocol};

use super::HashPolicy;
use super::flow::{self, Flow};
use super::select::Outgoing;

/// The hash of a frame.
pub fn hash(policy: HashPolicy, frame: &Outgoing<'_>) -> u32 {
    match policy {
        HashPolicy::Layer2 => layer2(frame),
        HashPolicy::VlanSrcMac => vlan_srcmac(frame),
        HashPolicy::Layer34 => layer34(frame),
        HashPolicy::Layer23 => layer23(frame),
        HashPolicy::Encap23 | HashPolicy::Encap34 => encap(policy, frame),
    }
}

fn layer23(frame: &Outgoing<'_>) -> u32 {
    match network(frame, false) {
        Some(flow) => mix(layer2(frame) ^ flow.addresses),
        None => layer2(frame),
    }
}

fn encap(policy: HashPolicy, frame: &Outgoing<'_>) -> u32 {
    match flow::innermost(frame) {
        Some(flow) if policy == HashPolicy::Encap34 => flow_hash(&flow),
        Some(flow) => mix(layer2(frame) ^ flow.addresses),
        None => layer2(frame),
    }
}

/// `layer2`.
#[inline(always)]
pub(crate) fn layer2(frame: &Outgoing<'_>) -> u32 {
    match frame.head.first_chunk::<{ ethernet::HEADER_LEN }>() {
        Some(header) => u32::from(header[5] ^ header[11]) ^ u32::from(frame.ether_type),
        None => 0,
    }
}

#[inline]
fn vlan_srcmac(frame: &Outgoing<'_>) -> u32 {
    match frame.head.first_chunk::<{ ethernet::HEADER_LEN }>() {
        Some([_, _, _, _, _, _, a, b, c, d, e, f, ..]) => {
            u32::from(frame.tci) ^ u32::from_be_bytes([0, *a, *b, *c]) ^ u32::from_be_bytes([0, *d, *e, *f])
        }
        None => 0,
    }
}

/// `layer3+4`.
#[inline(always)]
pub(crate) fn layer34(frame: &Outgoing<'_>) -> u32 {
    // What most frames are, without detours.
    if frame.ether_type == ethernet::ETHER_TYPE_IPV4
        && let Some(octets) = frame.head.first_chunk::<38>()
        && let [.., version, _, _, _, _, _, flags, offset, _, protocol, _, _, a, b, c, d, e, f, g, h, i, j, k, l] = *octets
        && version & 0xf == 5
        && (flags & 0x3f, offset) == (0, 0)
        && matches!(protocol, ip_protocol::TCP | ip_protocol::UDP)
    {
        let words = [[a, b, c, d], [e, f, g, h], [i, j, k, l]];
        return mix(words.iter().fold(0, |sum, word| sum ^ u32::from_le_bytes(*word))) >> 1;
    }
    layer34_of_any(frame)
}

#[inline(never)]
fn layer34_of_any(frame: &Outgoing<'_>) -> u32 {
    match network(frame, true) {
        Some(flow) => flow_hash(&flow),
        None => layer2(frame),
    }
}

fn flow_hash(flow: &Flow) -> u32 {
    let upper = if flow.icmp >> 16 != 0 { flow.icmp } else { flow.ports };
    // The lowest bit is the least varied one where ports are even.
    mix(upper ^ flow.addresses) >> 1
}

#[inline]
fn mix(mut hash: u32) -> u32 {
    hash ^= hash >> 16;
    hash ^= hash >> 8;
    hash
}

/// Addresses and ports of the outer IP packet, or of the packet that an ICMP error quotes (`bond_flow_dissect`). `None`
/// where the kernel falls back to the layer 2 hash.
#[inline]
fn network(frame: &Outgoing<'_>, ports: bool) -> Option<Flow> {
    let octets = frame.head.get(ethernet::HEADER_LEN..)?;
    let packet = packet(frame.ether_type, octets, 0)?;
    let mut flow = Flow { addresses: packet.addresses, ports: 0, icmp: 0 };
    match packet.protocol {
        Some(ip_protocol::ICMP | ip_protocol::ICMPV6) => icmp(frame.ether_type, octets, &packet, ports, flow),
        Some(protocol) if ports => {
            flow.ports = flow::ports(protocol, octets, packet.end);
            Some(flow)
        }
        _ => Some(flow),
    }
}

#[inline(never)]
fn icmp(ether_type: u16, octets: &[u8], outer: &Packet, ports: bool, mut flow: Flow) -> Option<Flow> {
    let kind = octets.get(outer.end).copied();
    flow.icmp = flow::icmp(octets, outer.end);
    let is_error = match (outer.protocol, kind.filter(|_| octets.len() >= outer.end + flow::ICMP_LEN)) {
        (Some(ip_protocol::ICMP), Some(kind)) => matches!(kind, 3 | 4 | 5 | 11 | 12),
        (_, Some(kind)) => matches!(kind, 1..=4),
        (_, None) => false,
    };
    if is_error {
        let quoted = packet(ether_type, octets, outer.end + flow::ICMP_LEN)?;
        flow.addresses = quoted.addresses;
        if let Some(protocol) = quoted.protocol.filter(|_| ports) {
            flow.ports = flow::ports(protocol, octets, quoted.end);
        }
    }
    Some(flow)
}

/// An IP header as the kernel's bonding driver looks at it: options are skipped, extension headers are not.
struct Packet {
    addresses: u32,
    /// `None` for a fragment of IPv4.
    protocol: Option<u8>,
    /// Where the header ends.
    end: usize,
}

#[inline]
fn packet(ether_type: u16, octets: &[u8], at: usize) -> Option<Packet> {
    let octets = octets.get(at..)?;
    match ether_type {
        ethernet::ETHER_TYPE_IPV4 => {
            let header = octets.first_chunk::<20>()?;
            let protocol = (!flow::is_fragment(header)).then_some(header[9]);
            let end = at + usize::from(header[0] & 0xf) * 4;
            Some(Packet { addresses: flow::addresses4(header), protocol, end })
        }
        ethernet::ETHER_TYPE_IPV6 => {
            let header = octets.first_chunk::<40>()?;
            Some(Packet { addresses: flow::addresses6(header), protocol: Some(header[6]), end: at + 40 })
        }
        _ => None,
    }
}
