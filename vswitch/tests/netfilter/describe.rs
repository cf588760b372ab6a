//! What a packet is, in a line of text that two systems under test can be compared by: everything that is in it, except for what
//! a router is free to choose.
//!
//! Addresses have the names of their hosts. A port that neither the script nor the rules mention was chosen by a NAT; it is called
//! `nat`, with the range it lies in: a connection that begins anew may get another. Replies show whose port it is. IP identifications and flow labels are `same` as in
//! the packet that was sent, or `other`. Checksums are right, or wrong by an amount: translation keeps that.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::packet::{self, Ends};
use crate::place::{Host, Side};

/// The names of what routers choose, in one sequence at one system.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    slot: u16,
    /// Ports that the script mentions.
    ports: Vec<u16>,
    /// Ranges that the rules let a NAT choose from.
    ranges: Vec<(u16, u16)>,
}

impl Names {
    pub(crate) fn new(slot: u16, ports: Vec<u16>, ranges: Vec<(u16, u16)>) -> Names {
        Names { slot, ports, ranges }
    }

    /// The name of a port or an ICMP identifier.
    pub(crate) fn port(&mut self, port: u16) -> String {
        if self.ports.contains(&port) {
            return port.to_string();
        }
        match self.ranges.iter().find(|range| (range.0..=range.1).contains(&port)) {
            Some((first, last)) => format!("nat({first}-{last})"),
            None => "nat".to_owned(),
        }
    }

    /// The name of an address.
    pub(crate) fn address(&self, address: IpAddr) -> String {
        Host::name(address, self.slot)
    }
}

/// The headers of an IP packet that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Headers {
    pub(crate) ends: Ends,
    pub(crate) protocol: u8,
    pub(crate) upper: usize,
    pub(crate) is_later_fragment: bool,
}

/// Reads the headers; `None` if it is no IP packet with a header to its end.
pub(crate) fn headers(octets: &[u8]) -> Option<Headers> {
    let (source, destination, protocol, upper, offset): (IpAddr, IpAddr, u8, usize, u16) = match octets.first()? >> 4 {
        4 => {
            let upper = usize::from(octets[0] & 15) * 4;
            let header: [u8; 20] = octets.get(..20)?.try_into().unwrap();
            let v4 = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&header[at..at + 4]).unwrap());
            (v4(12), v4(16), header[9], upper, u16::from_be_bytes([header[6], header[7]]) & 0x1fff)
        }
        6 => {
            let header: [u8; 40] = octets.get(..40)?.try_into().unwrap();
            let v6 = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&header[at..at + 16]).unwrap());
            let (mut next, mut at, mut offset) = (header[6], 40, 0);
            while matches!(next, 0 | 43 | 44 | 60) {
                let extension = octets.get(at..at + 8)?;
                let len = if next == 44 { 8 } else { (usize::from(extension[1]) + 1) * 8 };
                if next == 44 {
                    offset = u16::from_be_bytes([extension[2], extension[3]]) >> 3;
                }
                (next, at) = (extension[0], at + len);
            }
            (v6(8), v6(24), next, at, offset)
        }
        _ => return None,
    };
    let l4 = octets.get(upper..)?;
    let word = |at: usize| l4.get(at..at + 2).map_or(0, |word| u16::from_be_bytes([word[0], word[1]]));
    let (source_port, destination_port) = match protocol {
        _ if offset != 0 => (0, 0),
        packet::TCP | packet::UDP | packet::SCTP => (word(0), word(2)),
        packet::ICMP if matches!(l4.first(), Some(0 | 8 | 13..=18)) => (word(4), word(4)),
        packet::ICMPV6 if matches!(l4.first(), Some(128 | 129)) => (word(4), word(4)),
        _ => (0, 0),
    };
    let ends = Ends { source, source_port, destination, destination_port };
    Some(Headers { ends, protocol, upper, is_later_fragment: offset != 0 })
}

/// The error, when the packet is an ICMP or ICMPv6 error: type, code and the octets it quotes.
pub(crate) fn icmp_error<'a>(octets: &'a [u8], headers: &Headers) -> Option<(u8, u8, &'a [u8])> {
    let l4 = &octets[headers.upper..];
    if headers.is_later_fragment || l4.len() < 8 {
        return None;
    }
    let is_error = match headers.protocol {
        packet::ICMP => matches!(l4[0], 3 | 4 | 5 | 11 | 12),
        packet::ICMPV6 => l4[0] < 128,
        _ => false,
    };
    is_error.then(|| (l4[0], l4[1], &l4[8..]))
}

/// What the identification (IPv4) or flow label (IPv6) of a packet is compared with.
#[derive(Clone, Copy)]
pub(crate) enum Id {
    /// That of the packet that was sent.
    Of(u16),
    /// Nothing: the router made the packet, and chose (RFC 6864).
    Any,
}

/// Describes an IP packet.
pub(crate) fn describe(octets: &[u8], id: Id, names: &mut Names) -> String {
    let mut text = String::new();
    line(octets, id, names, false, &mut text);
    text
}

fn line(octets: &[u8], id: Id, names: &mut Names, quoted: bool, text: &mut String) {
    let Some(headers) = headers(octets) else {
        // The octets are not compared: ports that were translated may be among them.
        let _ = write!(text, "no IP packet of {} octets, version {:?}", octets.len(), octets.first().map(|octet| octet >> 4));
        return;
    };
    // An error of the router's own.
    let is_own = !quoted
        && icmp_error(octets, &headers).is_some()
        && Side::BOTH.iter().any(|side| names.address(headers.ends.source) == Host::Router(*side).to_string());
    let same = |found: u32| match id {
        Id::Of(id) if !is_own => {
            if found == u32::from(id) {
                "same"
            } else {
                "other"
            }
        }
        _ => "any",
    };
    let (from, to) = (names.address(headers.ends.source), names.address(headers.ends.destination));
    let _ = write!(text, "{from} > {to} ");
    let upper_end = if octets[0] >> 4 == 4 {
        let word = |at: usize| u16::from_be_bytes([octets[at], octets[at + 1]]);
        let _ = write!(text, "tos {:#x} id {} ttl {} len {}", octets[1], same(word(4).into()), octets[8], word(2));
        // Whether fragments that were put together and cut again have DF depends on which way of doing so the kernel takes.
        let is_fragment = word(6) & 0x3fff != 0;
        for (bit, name) in [(0x8000, " evil"), (0x4000, " DF"), (0x2000, " MF")] {
            if word(6) & bit != 0 && !(bit == 0x4000 && is_fragment) {
                text.push_str(name);
            }
        }
        if word(6) & 0x1fff != 0 {
            let _ = write!(text, " offset {}", (word(6) & 0x1fff) * 8);
        }
        if headers.upper > 20 {
            let _ = write!(text, " options {:02x?}", &octets[20..headers.upper]);
        }
        let sum = packet::checksum(&[&octets[..headers.upper]]);
        if sum != 0 {
            let _ = write!(text, " ip-checksum-off-by {sum:#06x}");
        }
        usize::from(word(2))
    } else {
        let label = u16::from_be_bytes([octets[2], octets[3]]);
        let len = u16::from_be_bytes([octets[4], octets[5]]);
        let class = octets[0] << 4 | octets[1] >> 4;
        let _ = write!(
            text,
            "class {class:#x} label {} hops {} len {len}",
            same(u32::from(octets[1] & 15) << 16 | u32::from(label)),
            octets[7]
        );
        if headers.upper > 40 {
            // The identification of a fragment header that the router wrote is its choice.
            let mut extensions = octets[40..headers.upper].to_vec();
            let (mut kind, mut at) = (octets[6], 0);
            while let Some(extension) = extensions.get_mut(at..at + 8) {
                if kind == 44 {
                    let is_same = matches!(id, Id::Of(id) if extension[4..] == u32::from(id).to_be_bytes());
                    extension[4..].fill(if is_same { 0x5a } else { 0x0f });
                }
                (kind, at) = (extension[0], at + if kind == 44 { 8 } else { (usize::from(extension[1]) + 1) * 8 });
            }
            let _ = write!(text, " extensions {:#x} {extensions:02x?}", octets[6]);
        }
        40 + usize::from(len)
    };
    if upper_end < octets.len() {
        let _ = write!(text, " and {} octets", octets.len() - upper_end);
    }
    // A quotation may end anywhere.
    let cut = upper_end > octets.len();
    if cut {
        let _ = write!(text, " cut to {}", octets.len());
    }
    let octets = &octets[..upper_end.min(octets.len())];
    text.push_str(" | ");
    upper(octets, &headers, id, names, cut, quoted, text);
}

fn upper(octets: &[u8], headers: &Headers, id: Id, names: &mut Names, cut: bool, quoted: bool, text: &mut String) {
    let l4 = octets.get(headers.upper..).unwrap_or(&[]);
    let word = |at: usize| u16::from_be_bytes([l4[at], l4[at + 1]]);
    let long = |at: usize| u32::from(word(at)) << 16 | u32::from(word(at + 2));
    let is_fragment = headers.is_later_fragment || text.contains(" MF") && !quoted;
    let sum = |zero_is_none: bool, field: u16| match () {
        // The checksum of a quotation covers what is not there.
        () if cut || is_fragment => String::new(),
        () if zero_is_none && field == 0 => " no-checksum".to_owned(),
        () => match packet::upper_checksum(l4, headers.ends, headers.protocol) {
            0 | 0xffff => String::new(),
            off => format!(" checksum-off-by {off:#06x}"),
        },
    };
    let rest = match headers.protocol {
        _ if headers.is_later_fragment => {
            text.push_str("fragment");
            l4
        }
        packet::TCP if l4.len() >= 20 => {
            let header = (usize::from(l4[12] >> 4) * 4).clamp(20, l4.len().max(20)).min(l4.len());
            let (from, to) = (names.port(word(0)), names.port(word(2)));
            let flags: String = "FSRPAUEW".chars().enumerate().filter(|(bit, _)| l4[13] & 1 << bit != 0).map(|(_, flag)| flag).collect();
            let _ = write!(text, "tcp {from} > {to} [{flags}] seq {} ack {} win {}", long(4), long(8), word(14));
            let _ = write!(text, " off {} urg {} options {:02x?}{}", l4[12] >> 4, word(18), &l4[20..header], sum(false, 0));
            &l4[header..]
        }
        packet::TCP | packet::UDP | packet::SCTP if l4.len() >= 8 => {
            let (from, to) = (names.port(word(0)), names.port(word(2)));
            match headers.protocol {
                packet::UDP => {
                    let _ = write!(text, "udp {from} > {to} len {}{}", word(4), sum(true, word(6)));
                }
                packet::SCTP => {
                    let mut plain = l4.to_vec();
                    plain[8..].iter_mut().take(4).for_each(|octet| *octet = 0);
                    let right = l4.get(8..12).is_some_and(|field| field == packet::crc32c(&plain).to_le_bytes());
                    let _ =
                        write!(text, "sctp {from} > {to} tag {}{}", long(4), if right || cut || is_fragment { "" } else { " crc wrong" });
                }
                _ => {
                    let _ = write!(text, "tcp {from} > {to} seq {}", long(4));
                }
            }
            &l4[if headers.protocol == packet::SCTP { 12.min(l4.len()) } else { 8 }..]
        }
        packet::ICMP | packet::ICMPV6 if l4.len() >= 8 => {
            let off = sum(false, 0);
            if let Some((kind, code, quotation)) = icmp_error(octets, headers) {
                let _ = write!(text, "icmp error {kind} {code} rest {:#x}{off} [", long(4));
                line(quotation, id, names, true, text);
                text.push(']');
                return;
            }
            let _ = write!(text, "icmp {} {}", l4[0], l4[1]);
            if headers.ends.source_port != 0 {
                let id = names.port(headers.ends.source_port);
                let _ = write!(text, " id {id} seq {}{off}", word(6));
            } else {
                let _ = write!(text, " rest {:#x}{off}", long(4));
            }
            // An answer to a timestamp request (RFC 792) tells the time.
            if headers.protocol == packet::ICMP && l4[0] == 14 { &[] } else { &l4[8..] }
        }
        protocol => {
            let _ = write!(text, "protocol {protocol}");
            l4
        }
    };
    let hash = rest.iter().fold(0x811c_9dc5_u32, |hash, &octet| (hash ^ u32::from(octet)).wrapping_mul(0x0100_0193));
    let _ = write!(text, " data {} {hash:08x}", rest.len());
}
