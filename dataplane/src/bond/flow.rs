//! What of a packet goes into a hash, and the innermost packet of tunnels (Linux `net/core/flow_dissector.c`, with the keys
//! that the bonding driver asks for).
//!
//! Looked into: VLAN tags, PPPoE sessions, IP in IP, GRE with IP or Ethernet inside, PPTP, IPv6 extension headers. VXLAN and
//! other UDP tunnels are not, as in the kernel. Unlike the kernel, TIPC, FCoE, PTP, HSR and B.A.T.M.A.N. frames are hashed
//! by their Ethernet header.

use wire::{Tpid, ethernet, ip_protocol};

use super::select::Outgoing;

/// Headers that are looked at.
const HEADERS_MAX: usize = 15;
/// Octets of the ICMP header.
pub(super) const ICMP_LEN: usize = 8;

const ETHER_TYPE_RARP: u16 = 0x8035;
const ETHER_TYPE_TEB: u16 = 0x6558;
const ETHER_TYPE_MPLS: u16 = 0x8847;
const ETHER_TYPE_MPLS_MULTICAST: u16 = 0x8848;
const ETHER_TYPE_PPPOE_SESSION: u16 = 0x8864;
const ETHER_TYPE_PPP_GRE: u16 = 0x880b;

const GRE_CHECKSUM: u16 = 0x8000;
const GRE_ROUTING: u16 = 0x4000;
const GRE_KEY: u16 = 0x2000;
const GRE_SEQUENCE: u16 = 0x1000;
const GRE_ACK: u16 = 0x0080;

/// What goes into a hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flow {
    /// Exclusive or of all words of both addresses.
    pub(super) addresses: u32,
    /// Both ports, or the security parameter index of ESP and AH.
    pub(super) ports: u32,
    /// Type, code and, in the upper half, the identifier of ICMP: 0 for messages without.
    pub(super) icmp: u32,
}

#[inline]
pub(super) fn word(octets: &[u8], at: usize) -> Option<u32> {
    octets.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}

#[inline]
pub(super) fn addresses4(header: &[u8; 20]) -> u32 {
    let [.., a, b, c, d, e, f, g, h] = *header;
    u32::from_le_bytes([a, b, c, d]) ^ u32::from_le_bytes([e, f, g, h])
}

#[inline]
pub(super) fn addresses6(header: &[u8; 40]) -> u32 {
    let (words, _) = header[8..].as_chunks::<4>();
    words.iter().fold(0, |sum, word| sum ^ u32::from_le_bytes(*word))
}

/// Whether an IPv4 packet is a fragment: more follow, or an offset.
#[inline]
pub(super) fn is_fragment(header: &[u8; 20]) -> bool {
    u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0
}

/// What stands where ports do, for protocols that have something there (`proto_ports_offset`); else 0.
#[inline]
pub(super) fn ports(protocol: u8, octets: &[u8], at: usize) -> u32 {
    let offset = match protocol {
        ip_protocol::TCP | ip_protocol::UDP | ip_protocol::DCCP | ip_protocol::ESP | ip_protocol::SCTP | ip_protocol::UDP_LITE => 0,
        ip_protocol::AH => 4,
        _ => return 0,
    };
    word(octets, at + offset).unwrap_or(0)
}

/// Type, code and identifier of an ICMP or ICMPv6 message (`skb_flow_get_icmp_tci`); an identifier of 0 counts as 1.
pub(super) fn icmp(octets: &[u8], at: usize) -> u32 {
    let Some([kind, code, _, _, high, low, _, _]) = octets.get(at..).and_then(|octets| octets.first_chunk::<ICMP_LEN>()) else {
        return 0;
    };
    let id = match kind {
        0 | 8 | 13 | 14 | 128 | 129 => u16::from_be_bytes([*high, *low]).max(1),
        _ => 0,
    };
    u32::from(*kind) | u32::from(*code) << 8 | u32::from(id) << 16
}

/// How the dissection goes on.
enum Next {
    /// With a network protocol.
    Network(u16),
    /// With what stands behind an IP header.
    Upper(u8),
    /// It is over.
    End,
}

/// Where the dissection stands.
struct Dissection<'f> {
    octets: &'f [u8],
    at: usize,
    /// The last network protocol.
    network: u16,
    flow: Flow,
}

/// The innermost packet of a frame (`__skb_flow_dissect`). `None` where the kernel gives up and hashes the Ethernet header.
#[inline(never)]
pub(super) fn innermost(frame: &Outgoing<'_>) -> Option<Flow> {
    let octets = frame.head.get(ethernet::HEADER_LEN..)?;
    let mut dissection = Dissection { octets, at: 0, network: 0, flow: Flow::default() };
    // A customer tag that is metadata is skipped like one in the octets.
    let mut next = Next::Network(ethernet::ether_type(frame.head));
    for _ in 0..=HEADERS_MAX {
        next = match next {
            Next::Network(ether_type) => dissection.network(ether_type)?,
            Next::Upper(protocol) => dissection.upper(protocol)?,
            Next::End => break,
        };
    }
    Some(dissection.flow)
}

impl Dissection<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let header = self.octets.get(self.at..)?.first_chunk()?;
        self.at += N;
        Some(*header)
    }

    fn network(&mut self, ether_type: u16) -> Option<Next> {
        self.network = ether_type;
        match ether_type {
            ethernet::ETHER_TYPE_IPV4 => {
                let header: [u8; 20] = self.take()?;
                let options = usize::from(header[0] & 0xf).checked_sub(5)? * 4;
                self.at += options;
                self.flow.addresses = addresses4(&header);
                Some(if is_fragment(&header) { Next::End } else { Next::Upper(header[9]) })
            }
            ethernet::ETHER_TYPE_IPV6 => {
                let header: [u8; 40] = self.take()?;
                self.flow.addresses = addresses6(&header);
                Some(Next::Upper(header[6]))
            }
            ETHER_TYPE_PPPOE_SESSION => {
                let [version_type, code, _, _, _, _, high, low] = self.take()?;
                if (version_type, code) != (0x11, 0) {
                    return None;
                }
                match u16::from_be_bytes([high, low]) {
                    0x0021 => Some(Next::Network(ethernet::ETHER_TYPE_IPV4)),
                    0x0057 => Some(Next::Network(ethernet::ETHER_TYPE_IPV6)),
                    // A protocol number has an even upper and an odd lower octet (RFC 1661).
                    protocol => (protocol & 0x0101 == 1).then_some(Next::End),
                }
            }
            ethernet::ETHER_TYPE_ARP | ETHER_TYPE_RARP | ETHER_TYPE_MPLS | ETHER_TYPE_MPLS_MULTICAST => Some(Next::End),
            _ if Tpid::from_ether_type(ether_type).is_some() => {
                let [_, _, high, low] = self.take()?;
                Some(Next::Network(u16::from_be_bytes([high, low])))
            }
            _ => None,
        }
    }

    fn upper(&mut self, protocol: u8) -> Option<Next> {
        let is_ipv6 = self.network == ethernet::ETHER_TYPE_IPV6;
        let next = match protocol {
            ip_protocol::GRE => self.gre()?,
            ip_protocol::HOP_BY_HOP | ip_protocol::ROUTING | ip_protocol::DESTINATION_OPTIONS if is_ipv6 => {
                let [next, len] = *self.octets.get(self.at..)?.first_chunk()?;
                self.at += (usize::from(len) + 1) * 8;
                Next::Upper(next)
            }
            ip_protocol::FRAGMENT if is_ipv6 => {
                self.take::<8>()?;
                Next::End
            }
            ip_protocol::IPV4 => Next::Network(ethernet::ETHER_TYPE_IPV4),
            ip_protocol::IPV6 => Next::Network(ethernet::ETHER_TYPE_IPV6),
            _ => {
                if matches!(protocol, ip_protocol::ICMP | ip_protocol::ICMPV6) {
                    self.flow.icmp = icmp(self.octets, self.at);
                }
                self.flow.ports = ports(protocol, self.octets, self.at);
                Next::End
            }
        };
        Some(next)
    }

    fn gre(&mut self) -> Option<Next> {
        let [high, low, protocol_high, protocol_low] = self.take()?;
        let flags = u16::from_be_bytes([high, low]);
        let version = flags & 7;
        let mut protocol = u16::from_be_bytes([protocol_high, protocol_low]);
        let is_pptp = protocol == ETHER_TYPE_PPP_GRE && flags & GRE_KEY != 0;
        if flags & GRE_ROUTING != 0 || version > 1 || version == 1 && !is_pptp {
            return Some(Next::End);
        }
        if flags & GRE_CHECKSUM != 0 {
            self.at += 4;
        }
        if flags & GRE_KEY != 0 {
            self.take::<4>()?;
        }
        if flags & GRE_SEQUENCE != 0 {
            self.at += 4;
        }
        if version == 0 && protocol == ETHER_TYPE_TEB {
            let header: [u8; ethernet::HEADER_LEN] = self.take()?;
            protocol = ethernet::ether_type(&header);
        } else if version == 1 {
            if flags & GRE_ACK != 0 {
                self.at += 4;
            }
            let [_, _, high, low] = self.take()?;
            protocol = match u16::from_be_bytes([high, low]) {
                0x0021 => ethernet::ETHER_TYPE_IPV4,
                0x0057 => ethernet::ETHER_TYPE_IPV6,
                _ => protocol,
            };
        }
        Some(Next::Network(protocol))
    }
}
