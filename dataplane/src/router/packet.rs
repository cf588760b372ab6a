//! What the router knows of the IP packet in a frame: parsed once, with offsets for those that edit it.
//!
//! All of it is read from the head of the frame, so nobody can change it behind our back. A header that does not lie in the
//! head (deep extension headers) is refused by [`Packet::parse`]; TCP options that lie behind it are cut for those who look
//! at them.

use wire::{Ipv4Header, Ipv6Header, ip_protocol};

use super::address::{Address, Family};
use crate::frame::Frame;

/// Octets of a TCP header without options.
const TCP_HEADER_LEN: usize = wire::tcp::HEADER_LEN_MIN;

/// An IP packet, as far as its headers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Version of IP.
    pub family: Family,
    /// Protocol of the upper layer, behind IPv6 extension headers.
    pub protocol: u8,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// DSCP in the upper six bits, ECN in the lower two (RFC 2474, RFC 3168).
    pub traffic_class: u8,
    /// Offset of the IP header in the head: behind the Ethernet header.
    pub l3: u16,
    /// Offset of the upper layer in the head.
    pub l4: u16,
    /// Octets of the packet, from the IP header on. A packet that is yet to be segmented (GSO) counts as one.
    pub len: u32,
    /// Its place, if it is a fragment.
    pub fragment: Option<Fragment>,
    /// IPv4: do not fragment. Always set for IPv6.
    pub dont_fragment: bool,
    /// What the upper layer says first.
    pub upper: Upper,
}

/// The place of a fragment in its packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Octets in front of it.
    pub offset: u16,
    /// Others follow.
    pub more: bool,
    /// Common to the fragments of one packet.
    pub identification: u32,
}

/// The part of the upper layer's header that flows are told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upper {
    /// TCP, UDP, UDP-Lite, SCTP, DCCP with a whole header in the head.
    Ports {
        /// Source port.
        source: u16,
        /// Destination port.
        destination: u16,
        /// TCP: the flags from CWR down to FIN; 0 for others.
        tcp_flags: u8,
    },
    /// ICMP and ICMPv6.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// Identifier of a query, 0 for others.
        identifier: u16,
    },
    /// A protocol without ports, or a fragment that is not the first.
    Other,
    /// The packet ends inside the header its protocol says it has.
    Cut,
}

impl Packet {
    /// Reads the headers behind the Ethernet header of a frame whose EtherType is that of `family`.
    ///
    /// `None` for a packet no router takes: wrong version or length, cut, bad IPv4 header checksum, more extension headers than
    /// are looked at.
    #[inline]
    pub fn parse(frame: &Frame<'_>, family: Family) -> Option<Packet> {
        let head = frame.head();
        let l3 = wire::ethernet::HEADER_LEN;
        let octets = head.get(l3..)?;
        let room = frame.len() - l3;
        let mut packet = match family {
            Family::V4 => Packet::parse_v4(octets, l3, room)?,
            Family::V6 => Packet::parse_v6(octets, l3, room)?,
        };
        packet.parse_upper(head);
        Some(packet)
    }

    /// As [`Packet::parse`], of a packet of which only the beginning is there; its length is what is there.
    pub fn parse_quoted(frame: &Frame<'_>, family: Family) -> Option<Packet> {
        let l3 = wire::ethernet::HEADER_LEN;
        let octets = frame.head().get(l3..)?;
        let mut packet = match family {
            Family::V4 => Packet::parse_v4(octets, l3, usize::MAX)?,
            Family::V6 => Packet::parse_v6(octets, l3, usize::MAX)?,
        };
        packet.len = packet.len.min((frame.len() - l3) as u32);
        if packet.len < u32::from(packet.l4 - packet.l3) {
            return None;
        }
        packet.parse_upper(frame.head());
        Some(packet)
    }

    #[inline]
    fn parse_v4(octets: &[u8], l3: usize, room: usize) -> Option<Packet> {
        match octets.first_chunk::<{ wire::ipv4::HEADER_LEN_MIN }>() {
            // A header without options, which is what there mostly is.
            Some(header) if header[0] == 0x45 => Packet::parse_plain_v4(header, l3, room),
            _ => Packet::parse_v4_with_options(octets, l3, room),
        }
    }

    #[inline]
    fn parse_plain_v4(header: &[u8; wire::ipv4::HEADER_LEN_MIN], l3: usize, room: usize) -> Option<Packet> {
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let long = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let sum: u64 = [0, 4, 8, 12, 16].into_iter().map(|at| u64::from(long(at))).sum();
        let sum = (sum >> 32) + (sum & 0xffff_ffff);
        let sum = (sum >> 32) + (sum >> 16 & 0xffff) + (sum & 0xffff);
        let sum = (sum >> 16) + (sum & 0xffff);
        let (len, field) = (word(2), word(6));
        if sum != 0xffff || usize::from(len) < header.len() || usize::from(len) > room {
            return None;
        }
        let (offset, more) = ((field & 0x1fff) << 3, field & 0x2000 != 0);
        let fragment = (offset != 0 || more).then(|| Fragment { offset, more, identification: word(4).into() });
        Some(Packet {
            source: Address(long(12).into()),
            destination: Address(long(16).into()),
            family: Family::V4,
            protocol: header[9],
            ttl: header[8],
            traffic_class: header[1],
            l3: l3 as u16,
            l4: (l3 + header.len()) as u16,
            len: len.into(),
            fragment,
            dont_fragment: field & 0x4000 != 0,
            upper: Upper::Other,
        })
    }

    #[cold]
    fn parse_v4_with_options(octets: &[u8], l3: usize, room: usize) -> Option<Packet> {
        // The view asks for the header alone to be there; the payload may lie in the body.
        let header = Ipv4Header::new_checked(octets).ok()?;
        let (header_len, len) = (header.header_len(), usize::from(header.total_len()));
        if len < header_len || len > room || !header.verify_checksum() {
            return None;
        }
        let fragment = header.is_fragment().then(|| Fragment {
            offset: header.fragment_offset(),
            more: header.more_fragments(),
            identification: header.identification().into(),
        });
        Some(Packet {
            source: header.source().into(),
            destination: header.destination().into(),
            family: Family::V4,
            protocol: header.protocol(),
            ttl: header.ttl(),
            traffic_class: header.traffic_class(),
            l3: l3 as u16,
            l4: (l3 + header_len) as u16,
            len: len as u32,
            fragment,
            dont_fragment: header.dont_fragment(),
            upper: Upper::Other,
        })
    }

    fn parse_v6(octets: &[u8], l3: usize, room: usize) -> Option<Packet> {
        let header = Ipv6Header::new_checked(octets).ok()?;
        let len = wire::ipv6::HEADER_LEN + usize::from(header.payload_len());
        if len > room {
            return None;
        }
        let upper = header.upper_layer().ok()?;
        let fragment = upper.fragment.map(|f| Fragment { offset: f.offset, more: f.more, identification: f.identification });
        if upper.offset > len {
            return None;
        }
        Some(Packet {
            source: header.source().into(),
            destination: header.destination().into(),
            family: Family::V6,
            protocol: upper.protocol,
            ttl: header.hop_limit(),
            traffic_class: header.traffic_class(),
            l3: l3 as u16,
            l4: (l3 + upper.offset) as u16,
            len: len as u32,
            fragment,
            dont_fragment: true,
            upper: Upper::Other,
        })
    }

    /// Reads what is behind `l4` again, as after reassembly.
    #[inline]
    pub fn parse_upper(&mut self, head: &[u8]) {
        if self.fragment.is_some_and(|fragment| fragment.offset != 0) {
            self.upper = Upper::Other;
            return;
        }
        let l4 = usize::from(self.l4);
        let there = self.l4_len() as usize;
        if (self.protocol == ip_protocol::TCP || self.protocol == ip_protocol::UDP)
            && there >= TCP_HEADER_LEN
            && let Some(octets) = head.get(l4..).and_then(|octets| octets.first_chunk::<TCP_HEADER_LEN>())
        {
            // The same as below, without looking at lengths twice.
            let word = |at: usize| u16::from_be_bytes([octets[at], octets[at + 1]]);
            let tcp_flags = if self.protocol == ip_protocol::TCP { octets[13] } else { 0 };
            self.upper = Upper::Ports { source: word(0), destination: word(2), tcp_flags };
            return;
        }
        let octets = head.get(l4..).unwrap_or(&[]);
        let octets = &octets[..octets.len().min(there)];
        let word = |at: usize| u16::from_be_bytes([octets[at], octets[at + 1]]);
        self.upper = match self.protocol {
            ip_protocol::TCP => {
                if octets.len() >= 20 {
                    Upper::Ports { source: word(0), destination: word(2), tcp_flags: octets[13] }
                } else {
                    Upper::Cut
                }
            }
            ip_protocol::UDP | ip_protocol::UDP_LITE | ip_protocol::DCCP | ip_protocol::SCTP => {
                let least = if self.protocol == ip_protocol::UDP || self.protocol == ip_protocol::UDP_LITE { 8 } else { 12 };
                if octets.len() >= least { Upper::Ports { source: word(0), destination: word(2), tcp_flags: 0 } } else { Upper::Cut }
            }
            ip_protocol::ICMP if self.family == Family::V4 => Packet::icmp(octets, matches!(octets.first(), Some(0 | 8 | 13..=18))),
            ip_protocol::ICMPV6 if self.family == Family::V6 => Packet::icmp(octets, matches!(octets.first(), Some(128 | 129))),
            _ => Upper::Other,
        };
    }

    fn icmp(octets: &[u8], is_query: bool) -> Upper {
        if octets.len() < 8 {
            return Upper::Cut;
        }
        let identifier = if is_query { u16::from_be_bytes([octets[4], octets[5]]) } else { 0 };
        Upper::Icmp { kind: octets[0], code: octets[1], identifier }
    }

    /// Octets of the upper layer with its header.
    #[inline]
    pub fn l4_len(&self) -> u32 {
        self.len - u32::from(self.l4 - self.l3)
    }

    /// Whether it is a fragment that is not the first: it has no header of the upper layer.
    #[inline]
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|fragment| fragment.offset != 0)
    }

    /// Whether it is an ICMP or ICMPv6 error, which quotes the packet that caused it (RFC 1122 section 3.2.2, RFC 4443
    /// section 2.1).
    #[inline]
    pub fn is_icmp_error(&self) -> bool {
        match (self.family, self.upper) {
            (Family::V4, Upper::Icmp { kind, .. }) => matches!(kind, 3 | 4 | 5 | 11 | 12),
            (Family::V6, Upper::Icmp { kind, .. }) => kind < 128,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::burst::BurstMemory;
    use wire::Offload;

    fn parse(family: Family, octets: &[u8]) -> Option<Packet> {
        let mut memory = BurstMemory::new();
        let frame: Vec<u8> = [&[0; 14], octets].concat();
        let mut burst = memory.burst();
        burst.push_borrowed(&frame, Offload::NONE, None);
        Packet::parse(&burst.frames()[0], family)
    }

    fn ipv4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
        let len = (20 + payload.len()) as u16;
        let mut octets = vec![0x45, 0xb8, 0, 0, 0, 7, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        octets[2..4].copy_from_slice(&len.to_be_bytes());
        octets[6..8].copy_from_slice(&fragment.to_be_bytes());
        Ipv4Header::new_checked(&mut octets[..]).unwrap().fill_checksum();
        [&octets, payload].concat()
    }

    #[test]
    fn tcp_over_ipv4() {
        let mut tcp = [0; 20];
        tcp[..4].copy_from_slice(&[0x30, 0x39, 0, 80]);
        (tcp[12], tcp[13]) = (0x50, 0x12);
        let mut octets = ipv4(6, 0x4000, &tcp);
        octets.extend([0; 6]);
        let packet = parse(Family::V4, &octets).unwrap();
        assert_eq!(packet.upper, Upper::Ports { source: 12345, destination: 80, tcp_flags: 0x12 });
        assert_eq!((packet.len, packet.l3, packet.l4, packet.l4_len()), (40, 14, 34, 20));
        assert_eq!((packet.source, packet.destination), (Address(0x0a00_0001), Address(0x0a00_0002)));
        assert!(packet.dont_fragment && packet.fragment.is_none() && packet.traffic_class == 0xb8);
    }

    #[test]
    fn a_plain_header_is_read_as_one_with_options() {
        for fragment in [0, 0x4000, 0x2000, 0x2001, 0x1fff] {
            for damage in [None, Some(0), Some(3), Some(10), Some(19)] {
                let mut octets = ipv4(17, fragment, &[7; 40]);
                if let Some(at) = damage {
                    octets[at] ^= 0x10;
                }
                let plain = octets.first_chunk().filter(|header: &&[u8; 20]| header[0] == 0x45);
                let plain = plain.and_then(|header| Packet::parse_plain_v4(header, 14, octets.len()));
                assert_eq!(
                    plain,
                    Packet::parse_v4_with_options(&octets, 14, octets.len()).filter(|p| p.l4 == 34),
                    "{fragment:x} {damage:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_cut_or_damaged() {
        assert_eq!(parse(Family::V4, &ipv4(6, 0, &[0; 19])).unwrap().upper, Upper::Cut);
        assert_eq!(parse(Family::V4, &ipv4(17, 0, &[0; 7])).unwrap().upper, Upper::Cut);
        assert_eq!(parse(Family::V4, &ipv4(1, 0, &[8; 7])).unwrap().upper, Upper::Cut);
        let whole = ipv4(17, 0, &[0; 8]);
        assert!(parse(Family::V4, &whole[..27]).is_none(), "shorter than it says");
        assert!(parse(Family::V6, &whole).is_none(), "the other version");
        let mut damaged = whole;
        damaged[8] -= 1;
        assert!(parse(Family::V4, &damaged).is_none(), "header checksum");
    }

    #[test]
    fn only_the_first_fragment_has_ports() {
        let first = parse(Family::V4, &ipv4(17, 0x2000, &[1; 8])).unwrap();
        assert_eq!(first.upper, Upper::Ports { source: 0x101, destination: 0x101, tcp_flags: 0 });
        assert_eq!(first.fragment, Some(Fragment { offset: 0, more: true, identification: 7 }));
        let last = parse(Family::V4, &ipv4(17, 3, &[1; 8])).unwrap();
        assert_eq!((last.upper, last.is_later_fragment()), (Upper::Other, true));
        assert_eq!(last.fragment, Some(Fragment { offset: 24, more: false, identification: 7 }));
    }

    #[test]
    fn an_echo_request_behind_ipv6_options() {
        let mut octets = vec![0x60, 0, 0, 0, 0, 16, 0, 9];
        octets.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        octets.extend([0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        octets.extend([58, 0, 1, 4, 0, 0, 0, 0]);
        octets.extend([128, 0, 0, 0, 0xab, 0xcd, 0, 1]);
        let packet = parse(Family::V6, &octets).unwrap();
        assert_eq!(packet.upper, Upper::Icmp { kind: 128, code: 0, identifier: 0xabcd });
        assert_eq!((packet.l4, packet.ttl, packet.protocol), (14 + 48, 9, 58));
        assert!(packet.destination.is_multicast(Family::V6) && packet.source.is_link_local(Family::V6));
        octets[40 + 8] = 1;
        assert!(parse(Family::V6, &octets).unwrap().is_icmp_error());
    }
}
