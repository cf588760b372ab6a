//! The frame that is sent: UDP over IPv4 between addresses of the benchmark network 198.18.0.0/15 (RFC 2544 appendix C.2.2),
//! to the discard port, with a header of ours as the first 18 octets of the payload:
//!
//! | octets | |
//! |---|---|
//! | 0..2 | [`MAGIC`] |
//! | 2 | number of the stream |
//! | 3..6 | number of the flow |
//! | 6..12 | number of the frame within its flow, from 0 |
//! | 12..18 | nanoseconds of the clock of the run when it was sent |
//!
//! All checksums are right, so that no switch has a reason to treat the frame in any other way than a host's, and that damage
//! anywhere in the frame shows. The smallest frame has just room for this.

use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use dataplane::burst::FRAME_MAX;
use dataplane::{Frame, HEAD_MAX, Piece};
use wire::checksum::{self, Sum};
use wire::{Tag, Tpid, VlanId, ethernet, ip_protocol, ipv4, udp};

use super::traffic::{FCS, Traffic};

/// Tells our frames from others.
const MAGIC: u16 = 0x7673;
const SOURCE_NET: u32 = 0xc612_0000;
const DESTINATION_NET: u32 = 0xc613_0000;
/// The discard service (RFC 863).
pub(super) const DESTINATION_PORT: u16 = 9;
/// The first of the dynamic ports (RFC 6335 section 6).
const FIRST_SOURCE_PORT: u16 = 49_152;

const HEADERS: usize = ipv4::HEADER_LEN_MIN + udp::HEADER_LEN;
const OURS: usize = 18;
const MASK_48: u64 = (1 << 48) - 1;

/// What is behind our header: the same octets at the same place of every frame, so that the sink compares instead of summing up.
struct Padding {
    /// By offset from the IPv4 header.
    octets: Vec<u8>,
    /// The folded sum of so many octets behind our header.
    sums: Vec<u16>,
}

static PADDING: LazyLock<Padding> = LazyLock::new(|| {
    // No octet has the place of its neighbour.
    let octets: Vec<u8> = (0..FRAME_MAX).map(|at| ((at * 167) >> 3) as u8).collect();
    let mut sum = Sum::ZERO;
    let mut sums = vec![0];
    for octet in octets[HEADERS + OURS..].chunks(1) {
        sum = sum.add(octet);
        sums.push(sum.fold());
    }
    Padding { octets, sums }
});

/// What a frame tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) stream: u8,
    pub(super) flow: u32,
    pub(super) sequence: u64,
    /// The lower 48 bits of the clock.
    pub(super) sent_at: u64,
}

/// Frames of one size of one stream. [`Template::octets`] are those of flow 0.
pub(super) struct Template {
    octets: Vec<u8>,
    /// Where the IPv4 header starts.
    network: usize,
    /// Sum of the IPv4 header without what differs from frame to frame.
    ip: Sum,
    /// Sum of pseudo header and datagram without what differs from frame to frame.
    udp: Sum,
    stream: u8,
}

impl Template {
    /// Frames of `size` octets with FCS and without tag.
    pub(super) fn new(traffic: &Traffic, stream: u8, size: usize) -> Template {
        let network = ethernet::HEADER_LEN + if traffic.vlans.is_some() { Tag::LEN } else { 0 };
        let ip_len = size - FCS - ethernet::HEADER_LEN;
        let mut octets = vec![0; network];
        octets.extend_from_slice(&PADDING.octets[..ip_len]);
        if traffic.vlans.is_some() {
            octets[12..14].copy_from_slice(&Tpid::Dot1Q.ether_type().to_be_bytes());
        }
        octets[network - 2..network].copy_from_slice(&ethernet::ETHER_TYPE_IPV4.to_be_bytes());
        let ip = &mut octets[network..];
        ip[..HEADERS + OURS].fill(0);
        ip[0] = 0x45;
        ip[ipv4::TOTAL_LEN].copy_from_slice(&(ip_len as u16).to_be_bytes());
        // Do not fragment.
        ip[ipv4::FLAGS].copy_from_slice(&[0x40, 0]);
        ip[ipv4::TTL] = 64;
        ip[ipv4::PROTOCOL] = ip_protocol::UDP;
        ip[ipv4::SOURCE].copy_from_slice(&SOURCE_NET.to_be_bytes());
        ip[ipv4::DESTINATION].copy_from_slice(&DESTINATION_NET.to_be_bytes());
        let datagram = &mut ip[ipv4::HEADER_LEN_MIN..];
        let udp_len = datagram.len() as u16;
        datagram[udp::DESTINATION_PORT].copy_from_slice(&DESTINATION_PORT.to_be_bytes());
        datagram[udp::LENGTH].copy_from_slice(&udp_len.to_be_bytes());
        datagram[udp::HEADER_LEN..][..2].copy_from_slice(&MAGIC.to_be_bytes());
        let udp = checksum::pseudo_ipv4(SOURCE_NET.into(), DESTINATION_NET.into(), ip_protocol::UDP, udp_len).add(datagram);
        let ip = Sum::of(&ip[..ipv4::HEADER_LEN_MIN]);
        let template = Template { network, ip, udp, stream, octets };
        let mut first = template.octets.clone();
        let head_len = first.len().min(HEAD_MAX);
        template.write(&mut first[..head_len], traffic, 0, 0, 0);
        Template { octets: first, ..template }
    }

    /// The frame as it is in memory, without FCS.
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Makes `head`, the beginning of any frame of this template, that of a frame of `flow`.
    #[inline]
    pub(super) fn write(&self, head: &mut [u8], traffic: &Traffic, flow: u32, sequence: u64, now: u64) {
        head[0..6].copy_from_slice(&traffic.destinations.of_flow(flow).to_be_bytes()[2..]);
        head[6..12].copy_from_slice(&traffic.sources.of_flow(flow).to_be_bytes()[2..]);
        if let Some(vlans) = traffic.vlans {
            head[14..16].copy_from_slice(&vlans.of_flow(flow).to_be_bytes());
        }
        let host = flow as u16;
        let port = FIRST_SOURCE_PORT + (flow >> 16) as u16;
        let id = u32::from(self.stream) << 24 | flow;
        let ip = &mut head[self.network..];
        ip[14..16].copy_from_slice(&host.to_be_bytes());
        ip[18..20].copy_from_slice(&host.to_be_bytes());
        let hosts = Sum::ZERO.add_word(host).add_word(host).fold();
        ip[ipv4::CHECKSUM].copy_from_slice(&self.ip.add_word(hosts).checksum().to_be_bytes());
        let datagram = &mut ip[ipv4::HEADER_LEN_MIN..HEADERS + OURS];
        datagram[udp::SOURCE_PORT].copy_from_slice(&port.to_be_bytes());
        let ours = &mut datagram[udp::HEADER_LEN..];
        ours[2..6].copy_from_slice(&id.to_be_bytes());
        ours[6..12].copy_from_slice(&sequence.to_be_bytes()[2..]);
        ours[12..18].copy_from_slice(&now.to_be_bytes()[2..]);
        let sum = Sum::of(&ours[2..]);
        let checksum = self.udp.add_word(hosts).add_word(port).add_word(sum.fold()).nonzero_checksum();
        datagram[udp::CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// What arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read {
    /// A frame of ours, as it was sent as far as it says itself, with the VLAN of its tag if it has one.
    Ours(Label, Option<VlanId>),
    /// A frame of ours that is damaged.
    Damaged,
    /// Somebody else's.
    Foreign,
}

/// Looks at a frame; takes its tag out.
#[inline]
pub(super) fn read(frame: &mut Frame<'_>) -> Read {
    if frame.ethernet_header().is_none() || frame.pop_tag().is_err() {
        return Read::Foreign;
    }
    let head = frame.head();
    let Some(ip) = head.get(ethernet::HEADER_LEN..) else { return Read::Foreign };
    if ip.len() < HEADERS + OURS || ethernet::ether_type(head) != ethernet::ETHER_TYPE_IPV4 {
        return Read::Foreign;
    }
    let (header, datagram) = ip.split_at(ipv4::HEADER_LEN_MIN);
    let ours = &datagram[udp::HEADER_LEN..];
    if header[0] != 0x45 || header[ipv4::PROTOCOL] != ip_protocol::UDP || ours[..2] != MAGIC.to_be_bytes() {
        return Read::Foreign;
    }
    let ip_len = frame.len() - ethernet::HEADER_LEN;
    let udp_len = (ip_len - ipv4::HEADER_LEN_MIN) as u16;
    let address = |range: std::ops::Range<usize>| -> [u8; 4] { header[range].try_into().unwrap_or_default() };
    let pseudo = checksum::pseudo_ipv4(address(ipv4::SOURCE).into(), address(ipv4::DESTINATION).into(), ip_protocol::UDP, udp_len);
    // Our header ends at an even place, so the sum of the padding can be added as a word.
    let (datagram, padding) = datagram.split_at(udp::HEADER_LEN + OURS);
    let padding_len = ip_len - HEADERS - OURS;
    let Some(padding_sum) = PADDING.sums.get(padding_len) else { return Read::Damaged };
    let mut expected = &PADDING.octets[HEADERS + OURS..][..padding_len];
    let mut is_next = |piece: Piece<'_>| {
        let Some((here, rest)) = expected.split_at_checked(piece.len()) else { return false };
        expected = rest;
        match piece {
            Piece::Private(octets) => octets == here,
            Piece::Shared(octets) => octets.iter().zip(here).all(|(octet, expected)| octet.load(Ordering::Relaxed) == *expected),
        }
    };
    let is_padded = is_next(Piece::Private(padding)) && frame.body().pieces().all(is_next);
    let sum = pseudo.add(datagram).add_word(*padding_sum);
    let is_intact = header[ipv4::TOTAL_LEN] == (ip_len as u16).to_be_bytes()
        && datagram[udp::LENGTH] == udp_len.to_be_bytes()
        && Sum::of(header).fold() == 0xffff
        && sum.fold() == 0xffff
        && is_padded;
    if !is_intact {
        return Read::Damaged;
    }
    let number = |range: std::ops::Range<usize>| ours[range].iter().fold(0, |number, octet| number << 8 | u64::from(*octet));
    let label = Label { stream: ours[2], flow: number(3..6) as u32, sequence: number(6..12), sent_at: number(12..18) };
    let vlan = frame.tags().last().and_then(|tag| VlanId::new(tag.vid())).filter(|vlan| *vlan != VlanId::NONE);
    Read::Ours(label, vlan)
}

/// Nanoseconds from when a frame was sent until `now`; the clock in the frame goes round every 78 hours.
#[inline]
pub(super) fn age(label: &Label, now: u64) -> u64 {
    now.wrapping_sub(label.sent_at) & MASK_48
}

/// Whether the addresses and the VLAN of a frame are those of its flow.
#[inline]
pub(super) fn is_of_flow(frame: &Frame<'_>, traffic: &Traffic, flow: u32, vlan: Option<VlanId>) -> bool {
    let Some(header) = frame.ethernet_header() else { return false };
    let addresses = (traffic.destinations.of_flow(flow), traffic.sources.of_flow(flow));
    flow < traffic.flows
        && ethernet::addresses(header) == addresses
        && vlan.is_none_or(|vlan| traffic.vlans.is_some_and(|vlans| vlans.of_flow(flow) == vlan.get()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::{Macs, Sizes, Vlans};
    use dataplane::{Body, Burst, BurstMemory};
    use proptest::prelude::*;
    use wire::Offload;

    fn made(traffic: &Traffic, size: usize, label: Label) -> Vec<u8> {
        let template = Template::new(traffic, label.stream, size);
        let mut octets = template.octets().to_vec();
        let head = octets.len().min(HEAD_MAX);
        template.write(&mut octets[..head], traffic, label.flow, label.sequence, label.sent_at);
        octets
    }

    fn push<'a>(burst: &mut Burst<'a>, octets: &'a [u8]) {
        let (head, body) = octets.split_at(octets.len().min(HEAD_MAX));
        burst.push_parts(head, Body::from_slice(body), Offload::NONE);
    }

    fn seen(octets: &[u8]) -> Read {
        let mut memory = BurstMemory::new();
        let mut burst = memory.burst();
        push(&mut burst, octets);
        read(&mut burst.frames_mut()[0])
    }

    fn traffic(vlans: Option<Vlans>) -> Traffic {
        Traffic { vlans, flows: 1 << 20, ..Traffic::between(Macs::clients(70_000), Macs::servers(3)) }
    }

    #[test]
    fn etherparse_finds_a_valid_datagram() {
        let label = Label { stream: 3, flow: 66_000, sequence: 5, sent_at: 6 };
        for (vlans, size) in [(None, 64), (Some(Vlans { first: 7, count: 2 }), 64), (None, 1518)] {
            let octets = made(&traffic(vlans), size, label);
            assert_eq!(octets.len(), size - 4 + if vlans.is_some() { 4 } else { 0 });
            let packet = etherparse::SlicedPacket::from_ethernet(&octets).unwrap();
            let Some(etherparse::NetSlice::Ipv4(ip)) = &packet.net else { panic!("no IPv4") };
            let header = ip.header().to_header();
            assert_eq!(header.header_checksum, header.calc_header_checksum());
            let Some(etherparse::TransportSlice::Udp(udp)) = &packet.transport else { panic!("no UDP") };
            let expected = udp.to_header().calc_checksum_ipv4(&header, udp.payload()).unwrap();
            assert_eq!(udp.checksum(), expected);
            assert_eq!(udp.destination_port(), 9);
        }
    }

    #[test]
    fn sizes_of_imix_have_room() {
        for size in Sizes::imix().as_slice() {
            assert!(matches!(seen(&made(&traffic(None), *size, Label { stream: 0, flow: 0, sequence: 0, sent_at: 0 })), Read::Ours(..)));
        }
    }

    proptest! {
        /// What is written is read, and any changed octet behind the Ethernet header shows: as damage, or as a frame that is
        /// not ours.
        #[test]
        fn labels_return_and_damage_shows(stream: u8, flow in 0u32..1 << 20, sequence in 0u64..1 << 48, sent_at in 0u64..1 << 48,
                                          size in 64usize..2000, tagged: bool, at: prop::sample::Index, change in 1u8..) {
            let vlans = tagged.then_some(Vlans { first: 100, count: 50 });
            let traffic = traffic(vlans);
            let label = Label { stream, flow, sequence, sent_at };
            let mut octets = made(&traffic, size, label);
            let vlan = vlans.and_then(|vlans| VlanId::new(vlans.of_flow(flow)));
            prop_assert_eq!(seen(&octets), Read::Ours(label, vlan));
            let mut memory = BurstMemory::new();
            let mut burst = memory.burst();
            push(&mut burst, &octets);
            read(&mut burst.frames_mut()[0]);
            prop_assert!(is_of_flow(&burst.frames()[0], &traffic, flow, vlan) && is_of_flow(&burst.frames()[0], &traffic, flow, None));
            prop_assert!(!is_of_flow(&burst.frames()[0], &traffic, flow + 1, None));
            prop_assert!(!is_of_flow(&burst.frames()[0], &traffic, flow, VlanId::new(99)));
            drop(burst);
            let start = if tagged { 18 } else { 14 };
            let at = start + at.index(octets.len() - start);
            octets[at] ^= change;
            prop_assert!(!matches!(seen(&octets), Read::Ours(..)), "octet {}", at);
        }

        #[test]
        fn whatever_arrives_is_read_without_panic(octets in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(!matches!(seen(&octets), Read::Ours(..)));
        }
    }
}
