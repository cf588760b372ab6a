//! What the router itself says: ICMP and ICMPv6 errors, TCP resets and echo replies. [`limit`] says how often.
//!
//! An error quotes the packet that caused it, so it is made from its frame, into memory of the caller. An echo reply is the
//! request, edited in place.

pub mod limit;

use super::address::{Address, Family};
use super::packet::Packet;
use crate::frame::Frame;

pub use limit::{IcmpLimiter, RateLimit};

/// Octets of an IPv4 packet with an ICMP error at most (RFC 1812 section 4.3.2.3).
pub const ERROR_MAX_V4: usize = 576;
/// Octets of an IPv6 packet with an ICMPv6 error at most (RFC 4443 section 2.4 (c)).
pub const ERROR_MAX_V6: usize = 1280;
/// Octets of any packet made here at most.
pub const ERROR_MAX: usize = ERROR_MAX_V6;

/// Time to live and hop limit of the router's own packets (RFC 1700; Linux `ip_default_ttl`).
pub const TTL: u8 = 64;

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
/// 2.4 (e)): not one that is an error itself, a fragment behind the first, one to many stations, or from no single one.
pub fn may_answer(frame: &Frame<'_>, packet: &Packet, error: IcmpError) -> bool {
    unimplemented!()
}

/// Writes the IP packet with an error about `packet` into `into`; returns its octets. `source` is the router's address that
/// it carries. Ask [`may_answer`] and the [`IcmpLimiter`] first.
pub fn error(into: &mut [u8; ERROR_MAX], frame: &Frame<'_>, packet: &Packet, source: Address, error: IcmpError) -> usize {
    unimplemented!()
}

/// Writes the IP packet with a TCP reset that answers `packet` into `into`; returns its octets, or `None` for a packet that
/// gets none: no whole TCP header, a reset itself, a wrong checksum (`nf_send_reset`, `net/ipv4/netfilter/nf_reject_ipv4.c`).
pub fn tcp_reset(into: &mut [u8; ERROR_MAX], frame: &Frame<'_>, packet: &Packet) -> Option<usize> {
    unimplemented!()
}

/// Whether the packet is an echo request whose checksum is right.
pub fn is_echo_request(frame: &Frame<'_>, packet: &Packet) -> bool {
    unimplemented!()
}

/// Makes an echo request the reply from `source` (its destination, or an address of the router if that is a group), with
/// [`TTL`]. Options of IPv4 are not repeated.
pub fn echo_reply(frame: &mut Frame<'_>, packet: &mut Packet, source: Address) {
    unimplemented!()
}
