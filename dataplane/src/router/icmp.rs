//! What the router itself says: ICMP and ICMPv6 errors, TCP resets and echo replies. [`limit`] says how often.
//!
//! An error quotes the packet that caused it, so it is made from its frame, into memory of the caller. An echo reply is the
//! request, edited in place.

pub mod limit;

use wire::checksum::{self, Sum};
use wire::{Ipv4Header, TcpHeader, ip_protocol, ipv4, ipv6, tcp, udp};

use super::address::{Address, Family};
use super::checksum::{is_right, pseudo_header};
use super::packet::{Packet, Upper};
use crate::frame::Frame;

pub use limit::{IcmpLimiter, RateLimit};

/// Octets of an IPv4 packet with an ICMP error at most (RFC 1812 section 4.3.2.3).
pub const ERROR_MAX_V4: usize = 576;
/// Octets of an IPv6 packet with an ICMPv6 error at most (RFC 4443 section 2.4 (c)).
pub const ERROR_MAX_V6: usize = 1280;
/// Octets of any packet made here at most.
pub const ERROR_MAX: usize = ERROR_MAX_V6;

const ICMP_HEADER_LEN: usize = 8;
const ECHO_REPLY_V4: u8 = 0;
const ECHO_REQUEST_V4: u8 = 8;
const ECHO_REQUEST_V6: u8 = 128;
const ECHO_REPLY_V6: u8 = 129;
const REDIRECT_V6: u8 = 137;

/// An error: type, code and the four octets behind the checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// MTU, pointer or gateway; 0 where the type has none.
    pub rest: u32,
}

impl IcmpError {
    /// The time to live ran out on the way.
    pub const fn ttl_exceeded(family: Family) -> IcmpError {
        IcmpError::time_exceeded(family, 0)
    }

    /// Not all fragments came in time.
    pub const fn reassembly_timeout(family: Family) -> IcmpError {
        IcmpError::time_exceeded(family, 1)
    }

    const fn time_exceeded(family: Family, code: u8) -> IcmpError {
        let kind = match family {
            Family::V4 => 11,
            Family::V6 => 3,
        };
        IcmpError { kind, code, rest: 0 }
    }

    /// Destination unreachable with a code of ICMP (RFC 792, RFC 1812 section 5.2.7.1) or ICMPv6 (RFC 4443 section 3.1).
    pub const fn unreachable(family: Family, code: u8) -> IcmpError {
        let kind = match family {
            Family::V4 => 3,
            Family::V6 => 1,
        };
        IcmpError { kind, code, rest: 0 }
    }

    /// No route leads to the destination.
    pub const fn no_route(family: Family) -> IcmpError {
        IcmpError::unreachable(family, 0)
    }

    /// The destination, or the next hop, does not answer.
    pub const fn host_unreachable(family: Family) -> IcmpError {
        match family {
            Family::V4 => IcmpError::unreachable(family, 1),
            Family::V6 => IcmpError::unreachable(family, 3),
        }
    }

    /// The router itself has nothing of this protocol: IPv4 only, IPv6 has [`IcmpError::parameter_problem`] with code 1.
    pub const fn protocol_unreachable() -> IcmpError {
        IcmpError::unreachable(Family::V4, 2)
    }

    /// Nobody listens at the port.
    pub const fn port_unreachable(family: Family) -> IcmpError {
        match family {
            Family::V4 => IcmpError::unreachable(family, 3),
            Family::V6 => IcmpError::unreachable(family, 4),
        }
    }

    /// A rule or a prohibit route forbids it.
    pub const fn administratively_prohibited(family: Family) -> IcmpError {
        match family {
            Family::V4 => IcmpError::unreachable(family, 13),
            Family::V6 => IcmpError::unreachable(family, 1),
        }
    }

    /// The packet is longer than the `mtu` of the next hop, and must not be fragmented (RFC 1191, RFC 4443 section 3.2).
    pub const fn too_big(family: Family, mtu: u32) -> IcmpError {
        match family {
            Family::V4 => IcmpError { kind: 3, code: 4, rest: if mtu > 0xffff { 0xffff } else { mtu } },
            Family::V6 => IcmpError { kind: 2, code: 0, rest: mtu },
        }
    }

    /// The octet at `pointer` of the packet cannot be taken.
    pub const fn parameter_problem(family: Family, code: u8, pointer: u32) -> IcmpError {
        match family {
            Family::V4 => IcmpError { kind: 12, code, rest: pointer << 24 },
            Family::V6 => IcmpError { kind: 4, code, rest: pointer },
        }
    }

    /// There is a better way through `gateway`, a neighbour of the sender; IPv4 only.
    pub const fn redirect(gateway: Address) -> IcmpError {
        IcmpError { kind: 5, code: 1, rest: gateway.0 as u32 }
    }
}

/// Whether the packet may be answered by an error at all (RFC 1122 section 3.2.2, RFC 1812 section 4.3.2.7, RFC 4443 section
/// 2.4 (e)): not one that is an error itself, a fragment behind the first, one to many stations, or from no single one. The
/// frame has the Ethernet header it arrived with. Broadcast addresses of networks are the routing's to know.
pub fn may_answer(frame: &Frame<'_>, packet: &Packet, error: IcmpError) -> bool {
    let is_icmp = match packet.family {
        Family::V4 => packet.protocol == ip_protocol::ICMP,
        Family::V6 => packet.protocol == ip_protocol::ICMPV6,
    };
    let is_error = match (packet.family, packet.upper) {
        // Without its type nobody knows. Of those of ICMP only queries and their answers are no errors to Linux (`icmp_pointers`,
        // net/ipv4/icmp.c), so neither are router advertisements and types that nobody has assigned.
        (Family::V4, Upper::Icmp { kind, .. }) => !matches!(kind, 0 | 8 | 13..=18),
        (Family::V6, Upper::Icmp { kind, .. }) => packet.is_icmp_error() || kind == REDIRECT_V6,
        _ => is_icmp,
    };
    if is_error || packet.source == Address::UNSPECIFIED || packet.source.is_multicast(packet.family) {
        return false;
    }
    let to_many = packet.destination.is_multicast(packet.family) || frame.destination().is_multicast();
    match packet.family {
        Family::V4 => {
            let is_broadcast = packet.destination.0 == u128::from(u32::MAX);
            let (zero_net, class_e) = (packet.source.0 >> 24 == 0, packet.source.0 >> 28 == 0xf);
            !(to_many || is_broadcast || packet.is_later_fragment() || zero_net || class_e || packet.source.is_loopback(Family::V4))
        }
        // Senders to groups must learn the path MTU, and which options nobody knows.
        Family::V6 => !to_many || error.kind == 2 || (error.kind, error.code) == (4, 2),
    }
}

/// Writes the IP packet with an error about `packet` into `into`; returns its octets. `source` is the router's address that
/// it carries, `ttl` its time to live. Ask [`may_answer`] and the [`IcmpLimiter`] first.
pub fn error(into: &mut [u8; ERROR_MAX], frame: &Frame<'_>, packet: &Packet, source: Address, error: IcmpError, ttl: u8) -> usize {
    let (header_len, most) = match packet.family {
        Family::V4 => (ipv4::HEADER_LEN_MIN, ERROR_MAX_V4),
        Family::V6 => (ipv6::HEADER_LEN, ERROR_MAX_V6),
    };
    let quote = quote(&mut into[header_len + ICMP_HEADER_LEN..most], frame, packet);
    let len = header_len + ICMP_HEADER_LEN + quote;
    let icmp = &mut into[header_len..len];
    icmp[..4].copy_from_slice(&[error.kind, error.code, 0, 0]);
    icmp[4..ICMP_HEADER_LEN].copy_from_slice(&error.rest.to_be_bytes());
    let sum = Sum::of(icmp);
    let (protocol, sum) = match packet.family {
        Family::V4 => (ip_protocol::ICMP, sum),
        Family::V6 => {
            let protocol = ip_protocol::ICMPV6;
            (protocol, pseudo_header(packet.family, source, packet.source, protocol, icmp.len() as u32).add(icmp))
        }
    };
    icmp[2..4].copy_from_slice(&sum.checksum().to_be_bytes());
    // RFC 1812 section 4.3.2.5: precedence "internetwork control"; the rest as in the packet.
    let traffic_class = if packet.family == Family::V4 { packet.traffic_class & 0x1e | 0xc0 } else { 0 };
    let header = Header { family: packet.family, protocol, source, destination: packet.source, traffic_class, ttl, dont_fragment: false };
    header.write(into, len, identification(frame, packet));
    len
}

/// Writes the IP packet with a TCP reset that answers `packet` into `into`; returns its octets, or `None` for a packet that
/// gets none: no whole TCP header, a reset itself, a wrong checksum (`nf_send_reset`, `net/ipv4/netfilter/nf_reject_ipv4.c`;
/// RFC 9293 section 3.5.2).
pub fn tcp_reset(into: &mut [u8; ERROR_MAX], frame: &Frame<'_>, packet: &Packet, ttl: u8, traffic_class: u8) -> Option<usize> {
    if packet.protocol != ip_protocol::TCP || packet.is_later_fragment() || packet.upper == Upper::Cut {
        return None;
    }
    let tcp = TcpHeader::new_checked(frame.head().get(packet.l4.into()..)?).ok()?;
    let (flags, tcp_header_len) = (tcp.flags(), tcp.header_len() as u32);
    if flags & tcp::RST != 0 || packet.l4_len() < tcp_header_len || (packet.fragment.is_none() && !checksum_ok(frame, packet)) {
        return None;
    }
    let header_len = match packet.family {
        Family::V4 => ipv4::HEADER_LEN_MIN,
        Family::V6 => ipv6::HEADER_LEN,
    };
    let len = header_len + tcp::HEADER_LEN_MIN;
    let reset = &mut into[header_len..len];
    reset.fill(0);
    reset[tcp::SOURCE_PORT].copy_from_slice(&tcp.destination_port().to_be_bytes());
    reset[tcp::DESTINATION_PORT].copy_from_slice(&tcp.source_port().to_be_bytes());
    let flags = if flags & tcp::ACK != 0 {
        reset[tcp::SEQUENCE].copy_from_slice(&tcp.acknowledgment().to_be_bytes());
        tcp::RST
    } else {
        let numbered = packet.l4_len() - tcp_header_len + u32::from(flags & tcp::SYN != 0) + u32::from(flags & tcp::FIN != 0);
        reset[tcp::ACKNOWLEDGMENT].copy_from_slice(&tcp.sequence().wrapping_add(numbered).to_be_bytes());
        tcp::RST | tcp::ACK
    };
    reset[tcp::FLAGS].copy_from_slice(&(0x5000 | flags).to_be_bytes());
    let (from, to) = (packet.destination, packet.source);
    let pseudo = pseudo_header(packet.family, from, to, ip_protocol::TCP, reset.len() as u32);
    let sum = pseudo.add(reset).checksum();
    reset[tcp::CHECKSUM].copy_from_slice(&sum.to_be_bytes());
    let header = Header {
        family: packet.family,
        protocol: ip_protocol::TCP,
        source: from,
        destination: to,
        traffic_class,
        ttl,
        dont_fragment: true,
    };
    header.write(into, len, 0);
    Some(len)
}

/// Whether the packet is an echo request whose checksum is right.
pub fn is_echo_request(frame: &Frame<'_>, packet: &Packet) -> bool {
    let kind = match packet.family {
        Family::V4 => ECHO_REQUEST_V4,
        Family::V6 => ECHO_REQUEST_V6,
    };
    matches!(packet.upper, Upper::Icmp { kind: found, .. } if found == kind) && packet.fragment.is_none() && checksum_ok(frame, packet)
}

/// Makes an echo request the reply from `source` (its destination, or an address of the router if that is a group), with
/// the time to live `ttl`. Neither options of IPv4 nor extension headers of IPv6 are repeated.
///
/// # Panics
///
/// If `packet` is not that of the frame.
pub fn echo_reply(frame: &mut Frame<'_>, packet: &mut Packet, source: Address, ttl: u8) {
    let (l3, l4) = (usize::from(packet.l3), usize::from(packet.l4));
    let header_len = match packet.family {
        Family::V4 => ipv4::HEADER_LEN_MIN,
        Family::V6 => ipv6::HEADER_LEN,
    };
    let (options, offload) = (l4 - l3 - header_len, frame.offload());
    // Whoever finishes the checksum sums up the reply; only the sum of the pseudo header is there already.
    let unfinished = offload.needs_checksum() && usize::from(offload.csum_start) == l4;
    let (from, to) = (source, packet.source);
    if options > 0 {
        assert!(frame.splice(l3 + header_len, options, &[]), "the headers of a parsed packet lie in the head");
        frame.set_offload(if unfinished { offload.shifted(-(options as i16)) } else { offload });
        (packet.l4, packet.len) = (packet.l4 - options as u16, packet.len - options as u32);
    }
    let (header, icmp) = frame.head_mut()[l3..].split_at_mut(header_len);
    let field = u16::from_be_bytes([icmp[2], icmp[3]]);
    let before = u16::from_be_bytes([icmp[0], icmp[1]]);
    icmp[0] = if packet.family == Family::V4 { ECHO_REPLY_V4 } else { ECHO_REPLY_V6 };
    let after = u16::from_be_bytes([icmp[0], icmp[1]]);
    let mut sum = if unfinished { field } else { checksum::update(field, before, after) };
    match packet.family {
        Family::V4 => {
            header[ipv4::SOURCE].copy_from_slice(&from.to_v4().octets());
            header[ipv4::DESTINATION].copy_from_slice(&to.to_v4().octets());
            header[ipv4::TTL] = ttl;
            header[ipv4::FLAGS].fill(0);
            header[0] = 0x45;
            header[ipv4::TOTAL_LEN].copy_from_slice(&(packet.len as u16).to_be_bytes());
            if let Ok(mut header) = Ipv4Header::new_checked(header) {
                header.fill_checksum();
            }
            packet.dont_fragment = false;
        }
        Family::V6 => {
            let (was, is) = (packet.destination.to_v6().octets(), from.to_v6().octets());
            sum = if unfinished { !checksum::update_octets(!sum, &was, &is) } else { checksum::update_octets(sum, &was, &is) };
            header[ipv6::SOURCE].copy_from_slice(&is);
            header[ipv6::DESTINATION].copy_from_slice(&to.to_v6().octets());
            header[ipv6::HOP_LIMIT] = ttl;
            header[ipv6::NEXT_HEADER] = ip_protocol::ICMPV6;
            header[ipv6::PAYLOAD_LEN].copy_from_slice(&(packet.l4_len() as u16).to_be_bytes());
        }
    }
    // The two zeros are the same to every receiver but one: the reply to an empty request of zeros is all zeros but for this.
    let sum = if sum == 0 && !unfinished { 0xffff } else { sum };
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    (packet.source, packet.destination, packet.ttl) = (from, to, ttl);
    packet.parse_upper(frame.head());
}

/// Where an IPv6 packet says which upper layer it has, from its first octet on: the pointer of a parameter problem with code 1.
pub fn next_header_pointer(frame: &Frame<'_>, packet: &Packet) -> u32 {
    let (l3, l4) = (usize::from(packet.l3), usize::from(packet.l4));
    let headers = frame.head().get(..l4).unwrap_or_default();
    let (mut named_by, mut at) = (l3 + ipv6::NEXT_HEADER, l3 + ipv6::HEADER_LEN);
    while let (true, Some(len)) = (at < l4, headers.get(at + 1)) {
        let is_fragment = headers[named_by] == ip_protocol::FRAGMENT;
        (named_by, at) = (at, at + if is_fragment { 8 } else { (usize::from(*len) + 1) * 8 });
    }
    (named_by - l3) as u32
}

/// Whether the checksum of TCP, UDP, ICMP or ICMPv6 is right; `true` for other protocols, and where the offload says that it
/// was checked or is to be finished. Not for fragments. Reads the whole packet.
pub fn checksum_ok(frame: &Frame<'_>, packet: &Packet) -> bool {
    if frame.offload().vouches_for_checksum() {
        return true;
    }
    let Some(octets) = frame.head().get(usize::from(packet.l4)..) else { return false };
    match (packet.family, packet.protocol) {
        // RFC 768: none was computed; RFC 8200 section 8.1: there must be one.
        (family, ip_protocol::UDP) if octets.get(udp::CHECKSUM) == Some(&[0, 0]) => family == Family::V4,
        (Family::V4, ip_protocol::ICMP | ip_protocol::TCP | ip_protocol::UDP)
        | (Family::V6, ip_protocol::ICMPV6 | ip_protocol::TCP | ip_protocol::UDP) => is_right(packet, frame, packet.l4_len()),
        _ => true,
    }
}

/// The identification of a packet, which its error takes over: the sender never gives the same to two in a short time.
fn identification(frame: &Frame<'_>, packet: &Packet) -> u16 {
    let octets = frame.head().get(usize::from(packet.l3)..).unwrap_or(&[]);
    Ipv4Header::new_checked(octets).map_or(0, |header| header.identification())
}

/// Copies the packet from its IP header on, as much as there is room for; returns the octets.
fn quote(into: &mut [u8], frame: &Frame<'_>, packet: &Packet) -> usize {
    let head = frame.head().get(usize::from(packet.l3)..).unwrap_or(&[]);
    let len = (packet.len as usize).min(into.len()).min(head.len() + frame.body().len());
    let in_head = head.len().min(len);
    into[..in_head].copy_from_slice(&head[..in_head]);
    frame.body().part(0, len - in_head).copy_to(&mut into[in_head..len]);
    len
}

/// An IP header of the router's own.
struct Header {
    family: Family,
    protocol: u8,
    source: Address,
    destination: Address,
    traffic_class: u8,
    ttl: u8,
    dont_fragment: bool,
}

impl Header {
    /// Writes it in front of a packet of `len` octets with it.
    fn write(&self, into: &mut [u8], len: usize, identification: u16) {
        match self.family {
            Family::V4 => {
                let header = &mut into[..ipv4::HEADER_LEN_MIN];
                header.fill(0);
                header[0] = 0x45;
                header[ipv4::TRAFFIC_CLASS] = self.traffic_class;
                header[ipv4::TOTAL_LEN].copy_from_slice(&(len as u16).to_be_bytes());
                header[ipv4::IDENTIFICATION].copy_from_slice(&identification.to_be_bytes());
                header[ipv4::FLAGS.start] = u8::from(self.dont_fragment) << 6;
                header[ipv4::TTL] = self.ttl;
                header[ipv4::PROTOCOL] = self.protocol;
                header[ipv4::SOURCE].copy_from_slice(&self.source.to_v4().octets());
                header[ipv4::DESTINATION].copy_from_slice(&self.destination.to_v4().octets());
                let sum = Sum::of(header).checksum();
                header[ipv4::CHECKSUM].copy_from_slice(&sum.to_be_bytes());
            }
            Family::V6 => {
                let header = &mut into[..ipv6::HEADER_LEN];
                header.fill(0);
                header[0] = 0x60 | self.traffic_class >> 4;
                header[1] = self.traffic_class << 4;
                header[ipv6::PAYLOAD_LEN].copy_from_slice(&((len - ipv6::HEADER_LEN) as u16).to_be_bytes());
                header[ipv6::NEXT_HEADER] = self.protocol;
                header[ipv6::HOP_LIMIT] = self.ttl;
                header[ipv6::SOURCE].copy_from_slice(&self.source.to_v6().octets());
                header[ipv6::DESTINATION].copy_from_slice(&self.destination.to_v6().octets());
            }
        }
    }
}

#[cfg(test)]
mod tests;
