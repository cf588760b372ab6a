//! Packets from plain descriptions. Written without the switch's own code, so that an error there cannot hide here.

use std::net::IpAddr;

/// Protocol numbers (IANA).
pub(crate) const ICMP: u8 = 1;
pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const GRE: u8 = 47;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const SCTP: u8 = 132;

/// TCP flags (RFC 9293 section 3.1).
pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const PSH: u8 = 8;
pub(crate) const ACK: u8 = 16;
pub(crate) const URG: u8 = 32;

/// Both ends of a packet. Ports are 0 where a protocol has none; an ICMP identifier stands in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) source: IpAddr,
    pub(crate) source_port: u16,
    pub(crate) destination: IpAddr,
    pub(crate) destination_port: u16,
}

impl Ends {
    pub(crate) fn reversed(self) -> Ends {
        Ends { source: self.destination, source_port: self.destination_port, destination: self.source, destination_port: self.source_port }
    }
}

/// What is above IP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Upper {
    Tcp {
        seq: u32,
        ack: u32,
        flags: u8,
        window: u16,
        options: Vec<u8>,
        len: u16,
    },
    Udp {
        len: u16,
        checksum: bool,
    },
    /// An ICMP message with an identifier; types as in ICMP (8, 0), for ICMPv6 translated to 128 and 129.
    Query {
        kind: u8,
        sequence: u16,
        len: u16,
    },
    /// One SCTP chunk (RFC 9260 section 3.2) of `len` octets behind its header.
    Sctp {
        chunk: u8,
        flags: u8,
        tag: u32,
        len: u16,
    },
    /// GRE without options (RFC 2784), or any protocol nobody knows.
    Plain {
        protocol: u8,
        len: u16,
    },
}

impl Upper {
    pub(crate) fn protocol(&self, v6: bool) -> u8 {
        match self {
            Upper::Tcp { .. } => TCP,
            Upper::Udp { .. } => UDP,
            Upper::Query { .. } if v6 => ICMPV6,
            Upper::Query { .. } => ICMP,
            Upper::Sctp { .. } => SCTP,
            Upper::Plain { protocol, .. } => *protocol,
        }
    }

    /// Its octets, checksum included.
    pub(crate) fn octets(&self, ends: Ends) -> Vec<u8> {
        let ports = [ends.source_port.to_be_bytes(), ends.destination_port.to_be_bytes()].concat();
        let v6 = ends.source.is_ipv6();
        match self {
            Upper::Tcp { seq, ack, flags, window, options, len } => {
                let mut options = options.clone();
                options.resize(options.len().next_multiple_of(4), 1);
                let mut octets = ports;
                octets.extend(seq.to_be_bytes());
                octets.extend(ack.to_be_bytes());
                octets.extend([((20 + options.len()) as u8) << 2, *flags]);
                octets.extend(window.to_be_bytes());
                octets.extend([0, 0, 0, if flags & URG != 0 { 1 } else { 0 }]);
                octets.extend(options);
                octets.extend(payload(*len));
                fill(&mut octets, 16, ends, TCP);
                octets
            }
            Upper::Udp { len, checksum } => {
                let mut octets = ports;
                octets.extend((8 + len).to_be_bytes());
                octets.extend([0, 0]);
                octets.extend(payload(*len));
                if *checksum || v6 {
                    fill(&mut octets, 6, ends, UDP);
                    if octets[6..8] == [0, 0] {
                        octets[6..8].fill(0xff);
                    }
                }
                octets
            }
            Upper::Query { kind, sequence, len } => {
                let kind = match (v6, kind) {
                    (true, 8) => 128,
                    (true, 0) => 129,
                    _ => *kind,
                };
                let mut octets = vec![kind, 0, 0, 0];
                octets.extend(ends.source_port.to_be_bytes());
                octets.extend(sequence.to_be_bytes());
                octets.extend(payload(*len));
                fill(&mut octets, 2, ends, self.protocol(v6));
                octets
            }
            Upper::Sctp { chunk, flags, tag, len } => {
                let mut octets = ports;
                octets.extend(tag.to_be_bytes());
                octets.extend([0; 4]);
                octets.extend([*chunk, *flags]);
                octets.extend((4 + len).to_be_bytes());
                octets.extend(payload(len.next_multiple_of(4)));
                if matches!(chunk, 1 | 2) && *len >= 16 {
                    // Initiate tag, window, streams, initial TSN.
                    octets[16..32].copy_from_slice(&[0, 0, 0, chunk + 0x10, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
                }
                let sum = crc32c(&octets).to_le_bytes();
                octets[8..12].copy_from_slice(&sum);
                octets
            }
            Upper::Plain { protocol, len } => {
                let header: &[u8] = if *protocol == GRE { &[0, 0, 8, 0] } else { &[] };
                [header, &payload(*len)].concat()
            }
        }
    }
}

/// Octets that differ from place to place.
fn payload(len: u16) -> Vec<u8> {
    (0..len).map(|i| (i as u8).wrapping_mul(7).wrapping_add((i >> 8) as u8) ^ 0x5a).collect()
}

/// The IP header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ip {
    pub(crate) ttl: u8,
    pub(crate) tos: u8,
    pub(crate) id: u16,
    pub(crate) df: bool,
    /// IPv4 options, or the type of one IPv6 extension header with nothing in it (0, 43, 60).
    pub(crate) options: Vec<u8>,
}

impl Default for Ip {
    fn default() -> Ip {
        Ip { ttl: 64, tos: 0, id: 0x4242, df: false, options: Vec::new() }
    }
}

/// A piece of a packet: octets of the upper layer, and whether more follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) offset: u16,
    pub(crate) len: u16,
    pub(crate) more: bool,
}

/// What is wrong with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    IpChecksum,
    Version,
    /// The header says it is shorter than an IP header can be.
    HeaderLength,
    /// The packet says it is longer, or shorter than its headers, than it is.
    TooLong,
    TooShort,
    /// Octets behind the end.
    Trailing,
    /// Checksum of the upper layer.
    UpperChecksum,
    /// TCP data offset below 5 or beyond the packet, UDP length beyond the packet: the first length field of the upper layer.
    UpperLength,
    /// All but the first octets of the upper layer are missing.
    Cut(u8),
}

/// An IP packet around the octets of an upper layer.
pub(crate) fn ip(ends: Ends, protocol: u8, header: &Ip, piece: Option<Piece>, upper: &[u8]) -> Vec<u8> {
    let upper = match piece {
        // Behind the end, as no host sends it.
        Some(piece) if usize::from(piece.offset) >= upper.len() => &vec![0; piece.len.into()],
        Some(piece) => {
            let from = usize::from(piece.offset).min(upper.len());
            &upper[from..(from + usize::from(piece.len)).min(upper.len())]
        }
        None => upper,
    };
    match (ends.source, ends.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut options = header.options.clone();
            options.resize(options.len().next_multiple_of(4), 0);
            let header_len = 20 + options.len();
            let place =
                piece.map_or(0, |piece| (piece.offset / 8) | if piece.more { 0x2000 } else { 0 }) | if header.df { 0x4000 } else { 0 };
            let mut octets = vec![0x40 | (header_len / 4) as u8, header.tos];
            octets.extend(((header_len + upper.len()) as u16).to_be_bytes());
            octets.extend(header.id.to_be_bytes());
            octets.extend(place.to_be_bytes());
            octets.extend([header.ttl, protocol, 0, 0]);
            octets.extend(source.octets());
            octets.extend(destination.octets());
            octets.extend(options);
            let sum = checksum(&[&octets]);
            octets[10..12].copy_from_slice(&sum.to_be_bytes());
            octets.extend(upper);
            octets
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let mut next = protocol;
            let mut extensions = Vec::new();
            if let Some(piece) = piece {
                let place = piece.offset & !7 | u16::from(piece.more);
                extensions.extend([next, 0]);
                extensions.extend(place.to_be_bytes());
                extensions.extend([0, 0]);
                extensions.extend(header.id.to_be_bytes());
                next = 44;
            }
            if let Some(&kind) = header.options.first() {
                // Padding (RFC 8200 section 4.2), or a routing header with no segments left.
                let empty = if kind == 43 { [next, 0, 4, 0, 0, 0, 0, 0] } else { [next, 0, 1, 4, 0, 0, 0, 0] };
                extensions.splice(0..0, empty);
                next = kind;
            }
            let mut octets = vec![0x60 | header.tos >> 4, header.tos << 4];
            octets.extend(header.id.to_be_bytes());
            octets.extend(((extensions.len() + upper.len()) as u16).to_be_bytes());
            octets.extend([next, header.ttl]);
            octets.extend(source.octets());
            octets.extend(destination.octets());
            octets.extend(extensions);
            octets.extend(upper);
            octets
        }
        _ => panic!("{ends:?} of two families"),
    }
}

/// Damages a packet that [`ip`] made.
pub(crate) fn damage(octets: &mut Vec<u8>, protocol: u8, damage: Damage) {
    let v4 = octets[0] >> 4 == 4;
    let upper = upper_at(octets);
    let (length, counted_from) = if v4 { (2..4, 0) } else { (4..6, 40) };
    let said = u16::from_be_bytes(octets[length.clone()].try_into().unwrap());
    let set_length = |octets: &mut Vec<u8>, new: u16| octets[length].copy_from_slice(&new.to_be_bytes());
    match damage {
        Damage::IpChecksum if v4 => octets[10] ^= 0x55,
        Damage::IpChecksum | Damage::Version => octets[0] ^= 0x90,
        Damage::HeaderLength if v4 => octets[0] = 0x44,
        Damage::HeaderLength => set_length(octets, said + 1),
        Damage::TooLong => set_length(octets, said + 100),
        Damage::TooShort if v4 => set_length(octets, 19),
        // Shorter than the header of the upper layer it is no match's in the kernel, which drops the packet there
        // (docs/deviations.md).
        Damage::TooShort => {
            let header = match protocol {
                TCP => octets.get(upper + 12).map_or(0, |octet| usize::from(octet >> 4) * 4),
                UDP | ICMPV6 | GRE => 8,
                SCTP => 12,
                _ => 0,
            };
            let new = (upper - counted_from + header) as u16;
            set_length(octets, new.min(said));
        }
        Damage::Trailing => octets.extend([0xee; 9]),
        Damage::UpperChecksum => {
            let at = match protocol {
                TCP => 16,
                UDP => 6,
                SCTP => 8,
                _ => 2,
            };
            if octets.len() >= upper + at + 2 {
                shift_checksum(&mut octets[upper + at..]);
            }
        }
        Damage::UpperLength => match protocol {
            TCP => octets[upper + 12] = 0x30,
            UDP => octets[upper + 5] = octets[upper + 5].wrapping_add(40),
            _ => {}
        },
        Damage::Cut(left) => {
            let left = usize::from(left).min(octets.len() - upper);
            octets.truncate(upper + left);
            set_length(octets, (upper + left - counted_from) as u16);
        }
    }
    if v4 && !matches!(damage, Damage::IpChecksum) {
        let header = (usize::from(octets[0] & 15) * 4).min(octets.len());
        octets[10..12].fill(0);
        let sum = checksum(&[&octets[..header]]);
        octets[10..12].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Where the upper layer of a packet that [`ip`] made, or that a router passed on, begins.
pub(crate) fn upper_at(octets: &[u8]) -> usize {
    if octets[0] >> 4 == 4 {
        return usize::from(octets[0] & 15) * 4;
    }
    let (mut next, mut at) = (octets[6], 40);
    while let (0 | 43 | 44 | 60, Some(header)) = (next, octets.get(at)) {
        (next, at) = (*header, at + 8);
    }
    at
}

/// An ICMP or ICMPv6 error that quotes `packet`.
pub(crate) fn icmp_error(ends: Ends, kind: u8, code: u8, rest: u32, packet: &[u8]) -> Vec<u8> {
    let mut octets = vec![kind, code, 0, 0];
    octets.extend(rest.to_be_bytes());
    octets.extend(packet);
    fill(&mut octets, 2, ends, if ends.source.is_ipv6() { ICMPV6 } else { ICMP });
    octets
}

/// Makes the checksum at the beginning of `field` wrong, by the same amount whatever it was.
pub(crate) fn shift_checksum(field: &mut [u8]) {
    let sum = u32::from(u16::from_be_bytes([field[0], field[1]])) + 0x0f00;
    field[..2].copy_from_slice(&((sum + (sum >> 16)) as u16).to_be_bytes());
}

fn fill(octets: &mut [u8], at: usize, ends: Ends, protocol: u8) {
    octets[at..at + 2].fill(0);
    let sum = upper_checksum(octets, ends, protocol);
    octets[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// The checksum of an upper layer (RFC 1071), with its pseudo header except for ICMP. 0 over octets whose checksum is right.
pub(crate) fn upper_checksum(octets: &[u8], ends: Ends, protocol: u8) -> u16 {
    let mut pseudo = Vec::new();
    if protocol != ICMP {
        for address in [ends.source, ends.destination] {
            match address {
                IpAddr::V4(v4) => pseudo.extend(v4.octets()),
                IpAddr::V6(v6) => pseudo.extend(v6.octets()),
            }
        }
        pseudo.extend((octets.len() as u32).to_be_bytes());
        pseudo.extend([0, protocol]);
    }
    checksum(&[&pseudo, octets])
}

/// The Internet checksum (RFC 1071) of parts; all but the last have an even length.
pub(crate) fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2));
    let mut sum: u64 = words.map(|word| u64::from(word[0]) << 8 | u64::from(*word.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !sum as u16
}

/// CRC32c (RFC 9260 appendix A), bit by bit.
pub(crate) fn crc32c(octets: &[u8]) -> u32 {
    !octets.iter().fold(!0, |crc: u32, &octet| (0..8).fold(crc ^ u32::from(octet), |crc, _| (crc >> 1) ^ (0x82f6_3b78 * (crc & 1))))
}
