//! Builds packets with every checksum computed over everything.

use core::net::{Ipv4Addr, Ipv6Addr};

use wire::checksum::{Sum, pseudo_ipv4, pseudo_ipv6};
use wire::{Ipv4Header, Offload, ip_protocol, virtio_net};

use crate::burst::BurstMemory;
use crate::frame::Frame;
use crate::nat::crc32c;
use crate::router::address::{Address, Family};
use crate::router::packet::Packet;

/// A packet to build.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) family: Family,
    pub(super) protocol: u8,
    pub(super) source: Address,
    pub(super) destination: Address,
    /// Port, or the identifier of an echo request.
    pub(super) sport: u16,
    pub(super) dport: u16,
    pub(super) ttl: u8,
    pub(super) traffic_class: u8,
    /// Octets of IPv4 options, or of an IPv6 destination options header: a multiple of 8.
    pub(super) options: usize,
    /// What follows the ports: for TCP from the sequence number on.
    pub(super) rest: Vec<u8>,
    /// UDP: no checksum. Others: the sum of the pseudo header only.
    pub(super) unfinished: bool,
    pub(super) no_checksum: bool,
    /// IPv4: the octets of flags and fragment offset.
    pub(super) fragment: u16,
    /// ICMP type and code; the default is an echo request.
    pub(super) icmp: Option<(u8, u8)>,
}

pub(super) fn v4(address: &str) -> Address {
    address.parse::<Ipv4Addr>().unwrap().into()
}

pub(super) fn v6(address: &str) -> Address {
    address.parse::<Ipv6Addr>().unwrap().into()
}

/// TCP fields behind the ports: sequence number 1, flags, window; checksum and urgent pointer are 0.
pub(super) fn tcp_rest(flags: u8) -> Vec<u8> {
    vec![0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0x10, 0, 0, 0, 0, 0]
}

impl Spec {
    pub(super) fn new(protocol: u8, source: (&str, u16), destination: (&str, u16)) -> Spec {
        let rest = if protocol == ip_protocol::TCP { tcp_rest(2) } else { b"____payload".to_vec() };
        Spec {
            family: Family::V4,
            protocol,
            source: v4(source.0),
            destination: v4(destination.0),
            sport: source.1,
            dport: destination.1,
            ttl: 64,
            traffic_class: 0,
            options: 0,
            rest,
            unfinished: false,
            no_checksum: false,
            fragment: 0x4000,
            icmp: None,
        }
    }

    /// Offset of the checksum and whether it covers a pseudo header.
    pub(super) fn checksum(&self) -> Option<(usize, bool)> {
        match self.protocol {
            ip_protocol::TCP => Some((16, true)),
            ip_protocol::UDP | ip_protocol::UDP_LITE | ip_protocol::DCCP => Some((6, true)),
            ip_protocol::ICMP => Some((2, false)),
            ip_protocol::ICMPV6 => Some((2, true)),
            _ => None,
        }
    }

    /// The IP packet.
    pub(super) fn packet(&self) -> Vec<u8> {
        let mut upper = match self.protocol {
            ip_protocol::ICMP | ip_protocol::ICMPV6 => {
                let (kind, code) = self.icmp.unwrap_or((if self.protocol == ip_protocol::ICMP { 8 } else { 128 }, 0));
                [&[kind, code, 0, 0], &self.sport.to_be_bytes()[..]].concat()
            }
            ip_protocol::GRE | ip_protocol::ESP => vec![0; 4],
            _ => [self.sport.to_be_bytes(), self.dport.to_be_bytes()].concat(),
        };
        upper.extend(&self.rest);
        if self.protocol == ip_protocol::UDP || self.protocol == ip_protocol::UDP_LITE {
            let len = upper.len() as u16;
            upper[4..6].copy_from_slice(&len.to_be_bytes());
        }
        let is_later = self.fragment & 0x1fff != 0 && self.family == Family::V4;
        if self.protocol == ip_protocol::SCTP && !is_later {
            upper[8..12].fill(0);
            let crc = crc32c::checksum(upper.iter().copied());
            upper[8..12].copy_from_slice(&crc.to_le_bytes());
        }
        if let Some((field, with_pseudo)) = self.checksum().filter(|_| !is_later) {
            let len = upper.len();
            let pseudo = match self.family {
                _ if !with_pseudo => Sum::ZERO,
                Family::V4 => pseudo_ipv4((self.source.0 as u32).into(), (self.destination.0 as u32).into(), self.protocol, len as u16),
                Family::V6 => pseudo_ipv6(self.source.0.into(), self.destination.0.into(), self.protocol, len as u32),
            };
            upper[field..field + 2].fill(0);
            let whole = pseudo.add(&upper);
            let checksum = match self.protocol {
                _ if self.unfinished => pseudo.fold(),
                _ if self.no_checksum => 0,
                ip_protocol::UDP | ip_protocol::UDP_LITE => whole.nonzero_checksum(),
                _ => whole.checksum(),
            };
            upper[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
        }
        match self.family {
            Family::V4 => {
                let ihl = 5 + self.options / 4;
                let len = (ihl * 4 + upper.len()) as u16;
                let mut header = vec![0x40 | ihl as u8, self.traffic_class, 0, 0, 0x12, 0x34, 0, 0, self.ttl, self.protocol, 0, 0];
                header[2..4].copy_from_slice(&len.to_be_bytes());
                header[6..8].copy_from_slice(&self.fragment.to_be_bytes());
                header.extend((self.source.0 as u32).to_be_bytes());
                header.extend((self.destination.0 as u32).to_be_bytes());
                header.resize(ihl * 4, 1);
                Ipv4Header::new_checked(&mut header[..]).unwrap().fill_checksum();
                [header, upper].concat()
            }
            Family::V6 => {
                let mut header = vec![0x60 | self.traffic_class >> 4, self.traffic_class << 4 | 0xa, 0xbc, 0xde];
                header.extend(((self.options + upper.len()) as u16).to_be_bytes());
                header.push(if self.options == 0 { self.protocol } else { ip_protocol::DESTINATION_OPTIONS });
                header.push(self.ttl);
                header.extend(self.source.0.to_be_bytes());
                header.extend(self.destination.0.to_be_bytes());
                if self.options > 0 {
                    header.extend([self.protocol, (self.options / 8 - 1) as u8]);
                    header.resize(40 + self.options, 0);
                }
                [header, upper].concat()
            }
        }
    }

    /// Offset of the upper layer in the frame.
    pub(super) fn l4(&self) -> usize {
        14 + self.options + if self.family == Family::V4 { 20 } else { 40 }
    }

    pub(super) fn offload(&self) -> Offload {
        match self.checksum() {
            Some((field, _)) if self.unfinished => {
                Offload { flags: virtio_net::FLAG_NEEDS_CSUM, csum_start: self.l4() as u16, csum_offset: field as u16, ..Offload::NONE }
            }
            _ => Offload::NONE,
        }
    }
}

/// Puts an Ethernet header in front of an IP packet.
pub(super) fn ethernet(packet: &[u8]) -> Vec<u8> {
    let ether_type = if packet[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] };
    [&[0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1], &ether_type[..], packet].concat()
}

/// Lets `edit` work on a packet as a frame, and returns the IP packet afterwards with what it says. The frame must say the same
/// as what was kept in step with it.
pub(super) fn edit<T>(packet: &[u8], offload: Offload, edit: impl FnOnce(&mut Frame<'_>, &mut Packet) -> T) -> (Vec<u8>, T) {
    let mut memory = BurstMemory::new();
    let octets = ethernet(packet);
    let family = if packet[0] >> 4 == 4 { Family::V4 } else { Family::V6 };
    let mut burst = memory.burst();
    burst.push_borrowed(&octets, offload, None);
    let frame = &mut burst.frames_mut()[0];
    let mut parsed = Packet::parse(frame, family).expect("a good packet");
    let answer = edit(frame, &mut parsed);
    assert_eq!(Packet::parse(frame, family), Some(parsed), "in step");
    let edited = frame.head().iter().copied().chain(frame.body().octets()).skip(14).collect();
    (edited, answer)
}

/// An ICMP error that quotes the beginning of a packet.
pub(super) fn error(source: &str, destination: &str, (kind, code): (u8, u8), quoted: &[u8]) -> Vec<u8> {
    let mut spec = Spec::new(ip_protocol::ICMP, (source, 0), (destination, 0));
    spec.icmp = Some((kind, code));
    // Four octets of the header were the identifier and the sequence number: here unused and the MTU.
    spec.rest = [&[0x05, 0xdc], quoted].concat();
    spec.packet()
}
