//! TCP segments without payload that the proxy makes.

use arrayvec::ArrayVec;
use wire::{Ipv4Header, ip_protocol, tcp, tcp_options};

use crate::router::address::{Address, Family};
use crate::router::checksum::pseudo_header;

/// Hop limit of what the proxy sends (Linux: `ip_default_ttl`).
const TTL: u8 = 64;

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) source_port: u16,
    pub(super) destination_port: u16,
    pub(super) sequence: u32,
    pub(super) acknowledgment: u32,
    /// `wire::tcp::{SYN, ACK, ..}`.
    pub(super) flags: u16,
    pub(super) window: u16,
}

/// The options the proxy knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TcpOptions {
    pub(super) mss: Option<u16>,
    pub(super) wscale: Option<u8>,
    pub(super) sack_permitted: bool,
    /// Value and echoed value.
    pub(super) timestamps: Option<(u32, u32)>,
}

impl TcpOptions {
    pub(super) fn parse(octets: &[u8]) -> TcpOptions {
        let mut found = TcpOptions::default();
        for option in tcp_options::iter(octets) {
            match (option.kind, &octets[option.data]) {
                (tcp_options::MSS, [a, b]) => found.mss = Some(u16::from_be_bytes([*a, *b])),
                // RFC 7323 section 2.3: more than 14 counts as 14.
                (tcp_options::WINDOW_SCALE, [scale]) => found.wscale = Some((*scale).min(14)),
                (tcp_options::SACK_PERMITTED, []) => found.sack_permitted = true,
                (tcp_options::TIMESTAMPS, [a, b, c, d, e, f, g, h]) => {
                    found.timestamps = Some((u32::from_be_bytes([*a, *b, *c, *d]), u32::from_be_bytes([*e, *f, *g, *h])));
                }
                _ => {}
            }
        }
        found
    }

    fn write(&self, out: &mut ArrayVec<u8, { Segment::LEN_MAX }>) {
        let mut put = |octets: &[u8]| out.extend(octets.iter().copied());
        if let Some(mss) = self.mss {
            let [a, b] = mss.to_be_bytes();
            put(&[tcp_options::MSS, 4, a, b]);
        }
        let sack = if self.sack_permitted { [tcp_options::SACK_PERMITTED, 2] } else { [tcp_options::NOP; 2] };
        if let Some((value, echoed)) = self.timestamps {
            put(&[sack[0], sack[1], tcp_options::TIMESTAMPS, 10]);
            put(&value.to_be_bytes());
            put(&echoed.to_be_bytes());
        } else if self.sack_permitted {
            put(&[tcp_options::NOP, tcp_options::NOP, sack[0], sack[1]]);
        }
        if let Some(scale) = self.wscale {
            put(&[tcp_options::NOP, tcp_options::WINDOW_SCALE, 3, scale]);
        }
    }
}

/// A whole IP packet with a TCP segment without payload, its checksums finished. [`Segment::octets`] begin with the IP header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    octets: ArrayVec<u8, { Segment::LEN_MAX }>,
    /// Version of IP.
    pub family: Family,
}

impl Segment {
    /// Octets at most: IPv6, and TCP with MSS, timestamps and window scale.
    pub const LEN_MAX: usize = wire::ipv6::HEADER_LEN + tcp::HEADER_LEN_MIN + 20;

    pub(super) fn new(family: Family, source: Address, destination: Address, fields: &Fields, options: &TcpOptions) -> Segment {
        let mut octets = ArrayVec::new();
        match family {
            Family::V4 => {
                octets.extend([0x45, 0, 0, 0, 0, 0, 0x40, 0, TTL, ip_protocol::TCP, 0, 0]);
                octets.extend((source.0 as u32).to_be_bytes());
                octets.extend((destination.0 as u32).to_be_bytes());
            }
            Family::V6 => {
                octets.extend([0x60, 0, 0, 0, 0, 0, ip_protocol::TCP, TTL]);
                octets.extend(source.0.to_be_bytes());
                octets.extend(destination.0.to_be_bytes());
            }
        }
        let l4 = octets.len();
        octets.extend(fields.source_port.to_be_bytes());
        octets.extend(fields.destination_port.to_be_bytes());
        octets.extend(fields.sequence.to_be_bytes());
        octets.extend(fields.acknowledgment.to_be_bytes());
        octets.extend(fields.flags.to_be_bytes());
        octets.extend(fields.window.to_be_bytes());
        octets.extend([0; 4]);
        options.write(&mut octets);
        let len = (octets.len() - l4) as u16;
        octets[l4 + tcp::FLAGS.start] |= (len as u8 / 4) << 4;
        match family {
            Family::V4 => {
                let total = octets.len() as u16;
                octets[wire::ipv4::TOTAL_LEN].copy_from_slice(&total.to_be_bytes());
                if let Ok(mut header) = Ipv4Header::new_checked(&mut octets[..]) {
                    header.fill_checksum();
                }
            }
            Family::V6 => octets[wire::ipv6::PAYLOAD_LEN].copy_from_slice(&len.to_be_bytes()),
        }
        let sum = pseudo_header(family, source, destination, ip_protocol::TCP, len.into()).add(&octets[l4..]).checksum();
        octets[l4 + tcp::CHECKSUM.start..l4 + tcp::CHECKSUM.end].copy_from_slice(&sum.to_be_bytes());
        Segment { octets, family }
    }

    /// The packet, from the IP header on.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }
}
