//! What tells flows apart: addresses, ports and protocol of one direction.

use wire::ip_protocol;

use crate::router::address::{Address, Family};
use crate::router::packet::{Packet, Upper};

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
    /// Zone: flows of different zones have nothing to do with each other.
    pub zone: u16,
    /// Version of IP.
    pub family: Family,
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
        family: Family::V4,
        protocol: 0,
    };

    /// Everything but the addresses, as it lies in memory of little-endian machines: there it is read at once.
    #[inline]
    pub(super) const fn small(&self) -> u64 {
        self.source_port as u64
            | (self.destination_port as u64) << 16
            | (self.zone as u64) << 32
            | (self.family as u64) << 48
            | (self.protocol as u64) << 56
    }

    /// The tuple of a packet; `None` for fragments that are not first and packets cut inside their header.
    #[inline]
    pub fn of(packet: &Packet, zone: u16) -> Option<Tuple> {
        let (source_port, destination_port) = match packet.upper {
            Upper::Ports { source, destination, .. } => (source, destination),
            _ => Tuple::portless(packet)?,
        };
        Some(Tuple {
            source: packet.source,
            destination: packet.destination,
            source_port,
            destination_port,
            zone,
            family: packet.family,
            protocol: packet.protocol,
        })
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
        let (source_port, destination_port) = match (self.family, self.protocol) {
            (Family::V4, ip_protocol::ICMP) | (Family::V6, ip_protocol::ICMPV6) => {
                let [kind, code] = self.destination_port.to_be_bytes();
                let kind = match (self.family, kind) {
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
