//! Edits against packets that are built anew.

use proptest::prelude::*;
use wire::{Offload, ip_protocol, virtio_net};

use super::packets::{Spec, edit, ethernet, tcp_rest, v4};
use crate::burst::BurstMemory;
use crate::nat::Manip;
use crate::nat::rewrite::{NotEditable, clamp_mss, replace, set_dscp, set_end, set_traffic_class, set_ttl};
use crate::offload::{self, Segments, finish_checksum};
use crate::router::address::{Address, Family};
use crate::router::packet::Packet;

const PROTOCOLS: [u8; 9] = [
    ip_protocol::TCP,
    ip_protocol::UDP,
    ip_protocol::UDP_LITE,
    ip_protocol::DCCP,
    ip_protocol::ICMP,
    ip_protocol::ICMPV6,
    ip_protocol::SCTP,
    ip_protocol::GRE,
    ip_protocol::ESP,
];
/// Those with a checksum.
const SUMMED: &[u8] = PROTOCOLS.split_at(7).0;
/// Those whose checksum is the internet checksum.
const INTERNET_SUMMED: &[u8] = PROTOCOLS.split_at(6).0;

fn address(family: Family) -> impl Strategy<Value = Address> {
    any::<u128>().prop_map(move |bits| Address(if family == Family::V4 { bits & 0xffff_ffff } else { bits }))
}

/// A packet of any protocol, of any length, with options; and an address and a port for it.
fn spec() -> impl Strategy<Value = (Spec, Address, u16)> {
    spec_of(&PROTOCOLS)
}

/// The same of some protocols.
fn spec_of(protocols: &'static [u8]) -> impl Strategy<Value = (Spec, Address, u16)> {
    let kind = (prop::sample::select(protocols), any::<bool>());
    kind.prop_flat_map(|(protocol, is_v4)| {
        let is_v4 = is_v4 && protocol != ip_protocol::ICMPV6 || protocol == ip_protocol::ICMP;
        let family = if is_v4 { Family::V4 } else { Family::V6 };
        let addresses = (address(family), address(family), address(family));
        let rest = prop::collection::vec(any::<u8>(), 16..1500);
        (addresses, any::<[u16; 3]>(), rest, 0..5usize, any::<[u8; 2]>(), any::<[bool; 2]>()).prop_map(
            move |((source, destination, new), [sport, dport, port], mut rest, options, [ttl, traffic_class], [unfinished, none])| {
                if protocol == ip_protocol::TCP {
                    rest[8] = 0x50;
                }
                let spec = Spec {
                    family,
                    protocol,
                    source,
                    destination,
                    sport,
                    dport,
                    ttl,
                    traffic_class,
                    options: options * 8,
                    rest,
                    unfinished: unfinished && !matches!(protocol, ip_protocol::UDP_LITE | ip_protocol::ICMP | ip_protocol::ICMPV6),
                    no_checksum: none && protocol == ip_protocol::UDP,
                    fragment: 0x4000,
                    icmp: None,
                };
                (spec, new, port)
            },
        )
    })
}

/// The packet as it leaves, with what was left to do on it.
fn finished(spec: &Spec, edited: &[u8]) -> Vec<u8> {
    edit(edited, spec.offload(), |frame, _| finish_checksum(frame)).0
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever the protocol, the length and the state of the checksum: a packet with a new address and port is the packet that
    /// is built with them, octet for octet; one whose checksum is unfinished is, when that is finished.
    #[test]
    fn an_end_is_replaced_as_if_built_anew((spec, address, port) in spec(), is_source: bool) {
        let end = if is_source { Manip::Source } else { Manip::Destination };
        let (edited, answer) = edit(&spec.packet(), spec.offload(), |frame, packet| set_end(frame, packet, end, address, port));
        prop_assert_eq!(answer, Ok(()));
        let mut expected = spec.clone();
        let is_icmp = matches!(spec.protocol, ip_protocol::ICMP | ip_protocol::ICMPV6);
        if is_source { expected.source = address } else { expected.destination = address }
        if is_source || is_icmp { expected.sport = port } else { expected.dport = port }
        if spec.unfinished && spec.checksum().is_some() {
            prop_assert_eq!(finished(&spec, &edited), finished(&expected, &expected.packet()));
        } else {
            prop_assert_eq!(edited, expected.packet());
        }
    }

    /// A checksum that is wrong is wrong by the same afterwards, so nobody vouches for damage.
    #[test]
    fn damage_stays((mut spec, address, port) in spec_of(SUMMED), at: prop::sample::Index, flip in 1u8..) {
        (spec.unfinished, spec.no_checksum) = (false, false);
        // At least one octet lies behind all headers.
        spec.rest.push(0x5a);
        let mut damaged = spec.packet();
        let from = spec.l4() - 14 + 20;
        let at = from + at.index(damaged.len() - from);
        damaged[at] ^= flip;
        let mut expected = Spec { source: address, sport: port, ..spec.clone() }.packet();
        expected[at] ^= flip;
        let (edited, _) = edit(&damaged, Offload::NONE, |frame, packet| set_end(frame, packet, Manip::Source, address, port));
        prop_assert_eq!(edited, expected);
    }

    #[test]
    fn ttl_and_traffic_class_as_if_built_anew((spec, _, _) in spec(), ttl: u8, class: u8, dscp in 0u8..64) {
        let (edited, ()) = edit(&spec.packet(), spec.offload(), |frame, packet| {
            set_ttl(frame, packet, ttl);
            set_traffic_class(frame, packet, class);
        });
        prop_assert_eq!(edited, Spec { ttl, traffic_class: class, ..spec.clone() }.packet());
        let (edited, ()) = edit(&spec.packet(), spec.offload(), |frame, packet| set_dscp(frame, packet, dscp));
        prop_assert_eq!(edited, Spec { traffic_class: dscp << 2 | spec.traffic_class & 3, ..spec }.packet());
    }

    /// Octets anywhere in the upper layer, at even and odd offsets.
    #[test]
    fn octets_are_replaced_as_if_built_anew((mut spec, _, _) in spec_of(INTERNET_SUMMED), at: prop::sample::Index, new in prop::collection::vec(any::<u8>(), 1..9)) {
        spec.no_checksum = false;
        // There is room for the longest behind the ports, the length of UDP and the checksum.
        spec.rest.extend([0x5a; 8]);
        let least = if spec.protocol == ip_protocol::TCP { 18 } else { 8 };
        let most = (256 - spec.l4()).min(spec.rest.len() + 4) - new.len();
        let at = least + at.index(most - least + 1);
        let (edited, answer) = edit(&spec.packet(), spec.offload(), |frame, packet| replace(frame, packet, at, &new));
        prop_assert_eq!(answer, Ok(()));
        let before = spec.packet().len() - spec.rest.len() - (spec.l4() - 14);
        let mut expected = spec.clone();
        expected.rest[at - before..][..new.len()].copy_from_slice(&new);
        if spec.unfinished {
            prop_assert_eq!(finished(&spec, &edited), finished(&expected, &expected.packet()));
        } else {
            prop_assert_eq!(edited, expected.packet());
        }
    }

    /// Whatever a packet is, no edit panics; and edits that are refused change nothing.
    #[test]
    fn nothing_panics(octets in prop::collection::vec(any::<u8>(), 20..300), family: bool, protocol in prop::sample::select(&PROTOCOLS[..]), csum: [u16; 2]) {
        let mut octets = octets;
        let len = octets.len() as u16;
        if family {
            (octets[0], octets[9]) = (0x45 | octets[0] & 0x0f, protocol);
            octets[2..4].copy_from_slice(&len.to_be_bytes());
            if let Ok(mut header) = wire::Ipv4Header::new_checked(&mut octets[..]) {
                header.fill_checksum();
            }
        } else if octets.len() >= 40 {
            (octets[0], octets[6]) = (0x60, protocol);
            octets[4..6].copy_from_slice(&(len - 40).to_be_bytes());
        }
        let offload = Offload { flags: 1, csum_start: csum[0] % 320, csum_offset: csum[1] % 320, ..Offload::NONE };
        let mut memory = BurstMemory::new();
        let octets = ethernet(&octets);
        let mut burst = memory.burst();
        burst.push_borrowed(&octets, offload, None);
        let frame = &mut burst.frames_mut()[0];
        let Some(mut packet) = Packet::parse(frame, if family { Family::V4 } else { Family::V6 }) else { return Ok(()) };
        for edit in 0..3 {
            let before = (frame.head().to_vec(), packet);
            let answer = match edit {
                0 => set_end(frame, &mut packet, Manip::Source, Address(1), 1),
                1 => clamp_mss(frame, &mut packet, 1).map(|_| ()),
                _ => replace(frame, &packet, 60, &[1, 2, 3]),
            };
            if answer.is_err() {
                prop_assert_eq!(before, (frame.head().to_vec(), packet));
            }
        }
        set_ttl(frame, &mut packet, 1);
        set_dscp(frame, &mut packet, 1);
    }
}

#[test]
fn a_udp_checksum_of_zero_stays_and_one_that_becomes_zero_is_ffff() {
    let mut spec = Spec::new(ip_protocol::UDP, ("10.0.0.1", 5000), ("192.0.2.1", 53));
    spec.no_checksum = true;
    let translate = |spec: &Spec, port| {
        edit(&spec.packet(), Offload::NONE, |frame, packet| set_end(frame, packet, Manip::Source, v4("198.51.100.1"), port)).0
    };
    assert_eq!(translate(&spec, 6000)[26..28], [0, 0]);
    spec.no_checksum = false;
    // The port for which the sum of everything is 0xffff.
    let zero = (0..=u16::MAX).find(|port| {
        let moved = Spec { source: v4("198.51.100.1"), sport: *port, ..spec.clone() };
        moved.packet()[26..28] == [0xff, 0xff]
    });
    assert_eq!(translate(&spec, zero.expect("one of all ports"))[26..28], [0xff, 0xff]);
}

/// A checksum field that is the only thing to finish holds the sum of the pseudo header: the port is not in it.
#[test]
fn the_port_does_not_touch_an_unfinished_checksum() {
    let mut spec = Spec::new(ip_protocol::TCP, ("10.0.0.1", 5000), ("192.0.2.1", 80));
    spec.unfinished = true;
    let before = spec.packet();
    let (after, answer) = edit(&before, spec.offload(), |frame, packet| set_end(frame, packet, Manip::Source, spec.source, 6000));
    assert_eq!((answer, &after[36..38]), (Ok(()), &before[36..38]));
    assert_ne!(after[20..22], before[20..22]);
}

/// A super-packet is translated once, and its segments are those of the packet that the other side would have sent itself.
#[test]
fn segments_of_a_translated_super_packet_are_right() {
    let mut spec = Spec::new(ip_protocol::TCP, ("10.0.0.1", 5000), ("192.0.2.1", 80));
    spec.rest = tcp_rest(0x18);
    spec.rest.extend((0..5000u32).map(|i| (i * 31) as u8));
    spec.unfinished = true;
    let offload = Offload { gso_type: virtio_net::GSO_TCPV4, gso_size: 1448, hdr_len: 54, ..spec.offload() };
    let segments = |octets: &[u8]| {
        let octets = ethernet(octets);
        let mut memory = BurstMemory::new();
        let mut burst = memory.burst();
        burst.push_borrowed(&octets, offload, None);
        let frame = &mut burst.frames_mut()[0];
        assert_eq!(offload::check(frame), Ok(false));
        collect(frame)
    };
    let (edited, answer) = edit(&spec.packet(), offload, |frame, packet| {
        set_end(frame, packet, Manip::Source, v4("198.51.100.1"), 6000)?;
        set_end(frame, packet, Manip::Destination, v4("203.0.113.5"), 8080)
    });
    assert_eq!(answer, Ok(()));
    let expected = Spec { source: v4("198.51.100.1"), sport: 6000, destination: v4("203.0.113.5"), dport: 8080, ..spec };
    let segments_of_edited = segments(&edited);
    assert_eq!(segments_of_edited.len(), 4);
    assert_eq!(segments_of_edited, segments(&expected.packet()));
}

fn collect(frame: &crate::frame::Frame<'_>) -> Vec<Vec<u8>> {
    let (mut memory, mut all) = (BurstMemory::new(), Vec::new());
    let mut segments = Segments::new(frame).unwrap();
    loop {
        let mut batch = memory.burst();
        let more = segments.next_batch(&mut batch);
        all.extend(batch.frames().iter().map(|segment| segment.head().iter().copied().chain(segment.body().octets()).collect()));
        if !more {
            return all;
        }
    }
}

/// A fragment that is not the first has no port, whatever its octets look like.
#[test]
fn only_the_address_of_a_later_fragment() {
    let mut spec = Spec::new(ip_protocol::UDP, ("10.0.0.1", 5000), ("192.0.2.1", 53));
    spec.fragment = 0x00b9;
    let (edited, answer) =
        edit(&spec.packet(), Offload::NONE, |frame, packet| set_end(frame, packet, Manip::Source, v4("198.51.100.1"), 7));
    assert_eq!((answer, edited), (Ok(()), Spec { source: v4("198.51.100.1"), ..spec }.packet()));
}

/// The checksum of SCTP covers the whole packet, of which a fragment is only a part.
#[test]
fn no_port_of_a_fragment_of_sctp() {
    let mut spec = Spec::new(ip_protocol::SCTP, ("10.0.0.1", 5000), ("192.0.2.1", 53));
    spec.fragment = 0x2000;
    let before = spec.packet();
    let (after, answer) = edit(&before, Offload::NONE, |frame, packet| set_end(frame, packet, Manip::Source, v4("198.51.100.1"), 7));
    assert_eq!((answer, after), (Err(NotEditable), before.clone()));
    let (_, answer) = edit(&before, Offload::NONE, |frame, packet| set_end(frame, packet, Manip::Source, v4("198.51.100.1"), 5000));
    assert_eq!(answer, Ok(()), "the address alone is not in it");
}

fn syn(options: &[u8]) -> Spec {
    let mut spec = Spec::new(ip_protocol::TCP, ("10.0.0.1", 5000), ("192.0.2.1", 80));
    spec.rest[8] = ((5 + options.len() / 4) as u8) << 4;
    spec.rest.extend(options);
    spec
}

#[test]
fn mss_is_lowered_but_never_raised() {
    // No operation, MSS 1460, no operation, end: the value lies at an odd offset.
    for (options, at) in [(&[2, 4, 0x05, 0xb4][..], 2), (&[1, 2, 4, 0x05, 0xb4, 1, 0, 0], 3), (&[0, 3, 3, 7, 2, 4, 0x05, 0xb4], 6)] {
        let spec = syn(options);
        let (same, answer) = edit(&spec.packet(), Offload::NONE, |frame, packet| clamp_mss(frame, packet, 1460));
        assert_eq!((answer, same), (Ok(false), spec.packet()));
        let (lower, answer) = edit(&spec.packet(), Offload::NONE, |frame, packet| clamp_mss(frame, packet, 1340));
        let mut expected = options.to_vec();
        expected[at..at + 2].copy_from_slice(&1340u16.to_be_bytes());
        assert_eq!((answer, lower), (Ok(true), syn(&expected).packet()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// A SYN that announces no maximum segment size becomes the packet that is built with the option in front of the others,
    /// octet for octet, whatever is in front of it and whether its checksum is finished; but for one with payload, and one
    /// whose header is as long as it can be.
    #[test]
    fn an_mss_is_announced(
        (template, _, _) in spec_of(&[ip_protocol::TCP]),
        options in prop::collection::vec(prop::sample::select(&[0u8, 1][..]), 0..=40),
        mss in prop_oneof![0..=2000u16, Just(u16::MAX)],
        payload in prop_oneof![3 => Just(0usize), 1 => 1..300usize],
    ) {
        let header = |option: &[u8]| {
            let mut spec = template.clone();
            spec.rest.truncate(16);
            spec.rest.extend(option);
            spec.rest.extend(&options[..options.len() & !3]);
            spec.rest[8] = (((4 + spec.rest.len()) / 4) as u8) << 4 | spec.rest[8] & 0x0f;
            spec.rest.extend(vec![0x5a; payload]);
            spec
        };
        let before = header(&[]);
        let hdr_len = if before.unfinished { (before.l4() + 20 + (options.len() & !3)) as u16 } else { 0 };
        let offload = Offload { hdr_len, ..before.offload() };
        let (after, (answer, left)) = edit(&before.packet(), offload, |frame, packet| (clamp_mss(frame, packet, mss), frame.offload()));
        let is_added = payload == 0 && options.len() < 40;
        let announced = mss.min(if before.family == Family::V4 { 536 } else { 1220 }).to_be_bytes();
        let expected = if is_added { header(&[2, 4, announced[0], announced[1]]) } else { before };
        prop_assert_eq!(answer, Ok(is_added));
        prop_assert_eq!(left, Offload { hdr_len: if is_added && hdr_len != 0 { hdr_len + 4 } else { hdr_len }, ..offload });
        prop_assert_eq!(after, expected.packet());
    }
}

#[test]
fn no_mss_is_announced_in_packets_of_other_protocols_and_cut_headers() {
    let udp = Spec::new(ip_protocol::UDP, ("10.0.0.1", 5000), ("192.0.2.1", 53));
    assert_eq!(edit(&udp.packet(), Offload::NONE, |frame, packet| clamp_mss(frame, packet, 1000)).1, Ok(false));
    for header_len in [0x40, 0xf0] {
        let mut spec = syn(&[2, 4, 0x05, 0xb4]);
        spec.rest[8] = header_len;
        assert_eq!(edit(&spec.packet(), Offload::NONE, |frame, packet| clamp_mss(frame, packet, 1000)).1, Err(NotEditable));
    }
    // An option that is cut is no option.
    for options in [&[3, 3, 7, 2][..], &[2, 4, 0, 0][..0], &[1, 1, 2, 4]] {
        let (after, answer) = edit(&syn(options).packet(), Offload::NONE, |frame, packet| clamp_mss(frame, packet, 100));
        assert_eq!((answer, after), (Ok(true), syn(&[&[2, 4, 0, 100], options].concat()).packet()));
    }
}
