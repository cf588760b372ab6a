//! What tells flows apart: addresses, ports and protocol of one direction.

use wire::ip_protocol;

use crate::router::address::{Address, Family};
use crate::router::packet::{Packet, Upper};
use crate::router::{ROUTERS_MAX, RouterId};

/// Where a flow lives: flows of different zones have nothing to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Zone {
    /// The router that tracks it.
    pub router: RouterId,
    /// The zone in that router that a rule said (`-j CT --zone`), 0 where none did.
    pub number: u16,
}

/// Router and version of IP in one octet, so that all of a tuple but the addresses is one word.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Domain(u8);

const _: () = assert!(ROUTERS_MAX <= 1 << 7, "one bit is the version of IP");

impl Domain {
    /// That of packets of a router.
    #[inline]
    pub const fn new(router: RouterId, family: Family) -> Domain {
        Domain((router.0 as u8) << 1 | matches!(family, Family::V6) as u8)
    }

    /// The router.
    #[inline]
    pub const fn router(self) -> RouterId {
        RouterId(self.0 as u16 >> 1)
    }

    /// The version of IP.
    #[inline]
    pub const fn family(self) -> Family {
        if self.0 & 1 == 0 { Family::V4 } else { Family::V6 }
    }
}

impl core::fmt::Debug for Domain {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Domain").field(&self.router()).field(&self.family()).finish()
    }
}

/// Addresses and ports of the packets of one direction of a flow (`struct nf_conntrack_tuple`).
///
/// Of ICMP queries `source_port` is the identifier, and `destination_port` type and code (type in the upper octet). Of
/// protocols without ports both are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Tuple {
    /// Source address.
    pub source: Address,
    /// Destination address.
    pub destination: Address,
    /// Source port, or identifier.
    pub source_port: u16,
    /// Destination port, or type and code.
    pub destination_port: u16,
    /// Zone in its router ([`Zone::number`]).
    pub zone: u16,
    /// Router and version of IP.
    pub domain: Domain,
    /// Protocol of the upper layer.
    pub protocol: u8,
}

/// The way of a packet of a flow, seen from who sent the first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    /// As the first packet.
    Original = 0,
    /// The other way.
    Reply = 1,
}

impl Direction {
    /// The other direction.
    #[inline]
    pub const fn other(self) -> Direction {
        match self {
            Direction::Original => Direction::Reply,
            Direction::Reply => Direction::Original,
        }
    }

    /// As an index.
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl Tuple {
    /// Nothing: what a packet without a flow has.
    pub const EMPTY: Tuple = Tuple {
        source: Address(0),
        destination: Address(0),
        source_port: 0,
        destination_port: 0,
        zone: 0,
        domain: Domain::new(RouterId(0), Family::V4),
        protocol: 0,
    };

    /// Everything but the addresses, as it lies in memory of little-endian machines: there it is read at once.
    #[inline]
    pub(super) const fn small(&self) -> u64 {
        self.source_port as u64
            | (self.destination_port as u64) << 16
            | (self.zone as u64) << 32
            | (self.domain.0 as u64) << 48
            | (self.protocol as u64) << 56
    }

    /// The tuple of a packet; `None` for fragments that are not first and packets cut inside their header.
    #[inline]
    pub fn of(packet: &Packet, zone: Zone) -> Option<Tuple> {
        let (source_port, destination_port) = match packet.upper {
            Upper::Ports { source, destination, .. } => (source, destination),
            _ => Tuple::portless(packet)?,
        };
        Some(Tuple {
            source: packet.source,
            destination: packet.destination,
            source_port,
            destination_port,
            zone: zone.number,
            domain: Domain::new(zone.router, packet.family),
            protocol: packet.protocol,
        })
    }

    /// Version of IP.
    #[inline]
    pub const fn family(&self) -> Family {
        self.domain.family()
    }

    /// The router whose flow it is of.
    #[inline]
    pub const fn router(&self) -> RouterId {
        self.domain.router()
    }

    /// What stands for the ports of a packet that has none.
    #[cold]
    fn portless(packet: &Packet) -> Option<(u16, u16)> {
        match packet.upper {
            Upper::Icmp { kind, code, identifier } => Some((identifier, u16::from_be_bytes([kind, code]))),
            Upper::Other if !packet.is_later_fragment() => Some((0, 0)),
            _ => None,
        }
    }

    /// The tuple of answers: ends swapped; for ICMP the type of the answer. `None` for an ICMP type that has no answer.
    #[inline]
    pub fn inverse(&self) -> Option<Tuple> {
        let (source_port, destination_port) = match (self.family(), self.protocol) {
            (Family::V4, ip_protocol::ICMP) | (Family::V6, ip_protocol::ICMPV6) => {
                let [kind, code] = self.destination_port.to_be_bytes();
                let kind = match (self.family(), kind) {
                    (Family::V4, 0) => 8,
                    (Family::V4, 8) => 0,
                    (Family::V4, 13) => 14,
                    (Family::V4, 14) => 13,
                    (Family::V4, 15) => 16,
                    (Family::V4, 16) => 15,
                    (Family::V4, 17) => 18,
                    (Family::V4, 18) => 17,
                    (Family::V6, 128) => 129,
                    (Family::V6, 129) => 128,
                    _ => return None,
                };
                (self.source_port, u16::from_be_bytes([kind, code]))
            }
            _ => (self.destination_port, self.source_port),
        };
        Some(Tuple { source: self.destination, destination: self.source, source_port, destination_port, ..*self })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Every router has a domain of its own for each version of IP, which goes into the word that tells tuples apart.
    #[test]
    fn routers_are_told_apart() {
        let mut words = HashSet::new();
        for router in (0..ROUTERS_MAX as u16).map(RouterId) {
            for family in [Family::V4, Family::V6] {
                let domain = Domain::new(router, family);
                assert_eq!((domain.router(), domain.family()), (router, family));
                for (zone, protocol) in [(0, 6), (0, 17), (1, 6), (router.0, 6), (u16::MAX, 6)] {
                    words.insert((Tuple { domain, zone, protocol, ..Tuple::EMPTY }.small(), zone, protocol, domain));
                }
            }
        }
        assert_eq!(words.iter().map(|(word, ..)| word).collect::<HashSet<_>>().len(), words.len());
    }
}
