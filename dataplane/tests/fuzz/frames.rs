//! Frames that are almost good.

use bolero::TypeGenerator;
use wire::{Offload, virtio_net};

/// What a fuzzer controls: a good frame or none to start from, changes to it, and the virtio_net_hdr.
#[derive(Clone, Debug, TypeGenerator)]
pub(crate) struct Input {
    template: u8,
    /// Octets behind those of the template.
    tail: Vec<u8>,
    /// Zeros behind those, so that long frames cost no input.
    padding: u16,
    /// Octets that are changed: where and to what.
    edits: [(u8, u8); 3],
    edit_count: u8,
    /// The virtio_net_hdr; without, the one that fits the template.
    header: Option<[u8; Offload::LEN]>,
    gso_size: u16,
}

/// ARP, tagged UDP over IPv4, TCP over IPv4, TCP over IPv6 behind a hop-by-hop header.
const TEMPLATES: [(&str, u8, u16, u16); 4] = [
    ("ffffffffffff525400000001 0806 0001080006040001525400000001c0000201000000000000c6336402", 0, 0, 0),
    (
        "525400000002525400000001 8100006488a80065 0800 450000000001400040110000c0000201c6336402 1b58003500000000",
        virtio_net::GSO_UDP_L4,
        42,
        6,
    ),
    (
        "525400000002525400000001 0800 450000000001400040060000c0000201c6336402 01bbc350000000010102030450180200 00000000",
        virtio_net::GSO_TCPV4,
        34,
        16,
    ),
    (
        "525400000002525400000001 86dd 6000000000000040 20010db8000000000000000000000001 20010db8000000000000000000000002 \
         0600010400000000 01bbc350000000010102030450180200 00000000",
        virtio_net::GSO_TCPV6,
        62,
        16,
    ),
];

impl Input {
    /// The octets of the frame and the virtio_net_hdr in front of it.
    pub(crate) fn frame(&self) -> (Vec<u8>, Offload) {
        let (mut octets, mut offload) = match TEMPLATES.get(usize::from(self.template % 5)) {
            None => (Vec::new(), Offload::NONE),
            Some((hex, gso_type, csum_start, csum_offset)) => {
                let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
                let octets = digits.chunks(2).map(|d| u8::from_str_radix(str::from_utf8(d).unwrap(), 16).unwrap()).collect();
                let offload = Offload {
                    flags: u8::from(*gso_type != 0),
                    gso_type: *gso_type,
                    hdr_len: 0,
                    gso_size: self.gso_size,
                    csum_start: *csum_start,
                    csum_offset: *csum_offset,
                };
                (octets, offload)
            }
        };
        octets.extend(&self.tail);
        octets.resize((octets.len() + usize::from(self.padding)).min(65_535 + 22), 0);
        if offload.gso_type == virtio_net::GSO_UDP_L4 {
            let len = (octets.len() - 42) as u16;
            octets[46..48].copy_from_slice(&len.to_be_bytes());
        }
        for (at, value) in &self.edits[..usize::from(self.edit_count % 4)] {
            if let Some(octet) = octets.get_mut(usize::from(*at)) {
                *octet = *value;
            }
        }
        if let Some(header) = &self.header {
            offload = Offload::from_bytes(header);
        }
        (octets, offload)
    }
}

/// Each template as it stands, with 200 octets of payload and the header that fits it.
pub(crate) fn good() -> Vec<(Vec<u8>, Offload)> {
    (0..TEMPLATES.len() as u8)
        .map(|template| {
            let input = Input { template, tail: vec![7; 200], padding: 0, edits: [(0, 0); 3], edit_count: 0, header: None, gso_size: 64 };
            input.frame()
        })
        .collect()
}
