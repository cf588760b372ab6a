//! Against packets that etherparse builds and takes apart.

use super::*;
use crate::burst::BurstMemory;
use core::net::Ipv6Addr;
use etherparse::{IcmpEchoHeader, Icmpv4Type, Icmpv6Type, LaxSlicedPacket, NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use wire::{Offload, virtio_net};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const A4: [u8; 4] = [10, 0, 0, 1];
const B4: [u8; 4] = [192, 0, 2, 9];
const A6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const B6: [u8; 16] = [0x20, 1, 0xd, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];

fn with<R>(octets: &[u8], offload: Offload, then: impl FnOnce(&mut Frame<'_>, Packet) -> R) -> R {
    let mut memory = BurstMemory::new();
    let mut burst = memory.burst();
    burst.push_borrowed(octets, offload, None);
    let frame = &mut burst.frames_mut()[0];
    let family = if octets[14] >> 4 == 4 { Family::V4 } else { Family::V6 };
    let packet = Packet::parse(frame, family).expect("a good packet");
    then(frame, packet)
}

fn built(builder: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut octets = Vec::new();
    builder(&mut octets);
    octets
}

fn udp_v4(payload: usize) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(MAC, MAC).ipv4(A4, B4, 9).udp(1000, 53);
    built(|octets| builder.write(octets, &vec![7; payload]).unwrap())
}

fn udp_v6(payload: usize) -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(MAC, MAC).ipv6(A6, B6, 9).udp(1000, 53);
    built(|octets| builder.write(octets, &vec![7; payload]).unwrap())
}

fn error_about(octets: &[u8], kind: IcmpError) -> Vec<u8> {
    with(octets, Offload::NONE, |frame, packet| {
        let mut into = [0xee; ERROR_MAX];
        let source = if packet.family == Family::V4 { Address(0x0a00_00fe) } else { Address(0xfe) };
        let len = error(&mut into, frame, &packet, source, kind, 64);
        into[..len].to_vec()
    })
}

#[test]
fn an_error_quotes_what_fits() {
    for payload in [0, 100, 240, 500, 520, 2000] {
        let about = udp_v4(payload);
        let octets = error_about(&about, IcmpError::too_big(Family::V4, 1400));
        let quoted = (about.len() - 14).min(576 - 28);
        assert_eq!(octets.len(), 28 + quoted);
        assert_eq!(octets[28..], about[14..14 + quoted]);
        let sliced = SlicedPacket::from_ip(&octets).unwrap();
        let Some(NetSlice::Ipv4(ip)) = sliced.net else { panic!() };
        assert_eq!(ip.header().to_header().calc_header_checksum(), ip.header().header_checksum());
        assert_eq!((ip.header().source(), ip.header().destination(), ip.header().ttl()), ([10, 0, 0, 254], A4, 64));
        assert_eq!(octets[1], 0xc0, "precedence internetwork control");
        assert_eq!(octets[20..28][..2], [3, 4]);
        assert_eq!(octets[24..28], [0, 0, 5, 120]);
        assert_eq!(Sum::of(&octets[20..]).fold(), 0xffff);
    }
    for payload in [0, 100, 1000, 3000] {
        let about = udp_v6(payload);
        let octets = error_about(&about, IcmpError::ttl_exceeded(Family::V6));
        let quoted = (about.len() - 14).min(1280 - 48);
        assert_eq!((octets.len(), &octets[48..]), (48 + quoted, &about[14..14 + quoted]));
        let Some(TransportSlice::Icmpv6(icmp)) = SlicedPacket::from_ip(&octets).unwrap().transport else { panic!() };
        let mut from = [0; 16];
        from[15] = 0xfe;
        assert!(icmp.is_checksum_valid(from, A6));
        assert_eq!((icmp.type_u8(), icmp.code_u8()), (3, 0));
    }
}

#[test]
fn what_must_not_be_answered() {
    let error = IcmpError::host_unreachable(Family::V4);
    let ask = |octets: &[u8], error| with(octets, Offload::NONE, |frame, packet| may_answer(frame, &packet, error));
    let refix = |mut octets: Vec<u8>| {
        Ipv4Header::new_checked(&mut octets[14..]).unwrap().fill_checksum();
        octets
    };
    let patched = |at: usize, bytes: &[u8]| {
        let mut octets = udp_v4(20);
        octets[at..at + bytes.len()].copy_from_slice(bytes);
        refix(octets)
    };
    assert!(ask(&udp_v4(20), error));
    for (source, why) in [
        ([0, 0, 0, 0], "none"),
        ([224, 0, 0, 1], "group"),
        ([255; 4], "broadcast"),
        ([240, 0, 0, 1], "class E"),
        ([127, 0, 0, 1], "loopback"),
    ] {
        assert!(!ask(&patched(26, &source), error), "source is {why}");
    }
    assert!(!ask(&patched(30, &[224, 0, 0, 251]), error), "to a group");
    assert!(!ask(&patched(30, &[255; 4]), error), "to all");
    assert!(!ask(&patched(0, &[0xff; 6]), error), "to all at the link");
    assert!(!ask(&patched(20, &[0, 1]), error), "a later fragment");
    assert!(ask(&patched(20, &[0x20, 0]), error), "the first fragment");
    let icmp = |kind: Icmpv4Type| {
        let builder = PacketBuilder::ethernet2(MAC, MAC).ipv4(A4, B4, 9).icmpv4(kind);
        built(|octets| builder.write(octets, &[0; 28]).unwrap())
    };
    assert!(ask(&icmp(Icmpv4Type::EchoRequest(IcmpEchoHeader { id: 1, seq: 1 })), error));
    assert!(!ask(&error_frame(&error_about(&udp_v4(20), error)), error), "an error");
    assert!(!ask(&icmp(Icmpv4Type::Unknown { type_u8: 40, code_u8: 0, bytes5to8: [0; 4] }), error), "an unknown type");
    for (kind, may) in
        [(0, true), (1, false), (2, false), (6, false), (9, false), (10, false), (13, true), (17, true), (18, true), (19, false)]
    {
        let message = Icmpv4Type::Unknown { type_u8: kind, code_u8: 0, bytes5to8: [0; 4] };
        assert_eq!(ask(&icmp(message), error), may, "type {kind}");
    }

    let mut group = udp_v6(20);
    group[0..2].copy_from_slice(&[0x33, 0x33]);
    group[38..40].copy_from_slice(&[0xff, 0x0e]);
    assert!(!ask(&group, IcmpError::no_route(Family::V6)));
    assert!(ask(&group, IcmpError::too_big(Family::V6, 1280)));
    assert!(ask(&group, IcmpError::parameter_problem(Family::V6, 2, 6)));
    let mut nobody = udp_v6(20);
    nobody[22..38].fill(0);
    assert!(!ask(&nobody, IcmpError::too_big(Family::V6, 1280)));
    assert!(!ask(&error_frame(&error_about(&udp_v6(20), IcmpError::no_route(Family::V6))), IcmpError::no_route(Family::V6)));
}

fn error_frame(ip: &[u8]) -> Vec<u8> {
    let ether_type: [u8; 2] = if ip[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] };
    [&MAC[..], &MAC, &ether_type, ip].concat()
}

fn tcp(v6: bool, flags: u16, payload: usize, sequence: u32, acknowledgment: u32) -> Vec<u8> {
    let start = PacketBuilder::ethernet2(MAC, MAC);
    let ip = if v6 { start.ipv6(A6, B6, 9) } else { start.ipv4(A4, B4, 9) };
    let mut builder = ip.tcp(4321, 80, sequence, 1000);
    if flags & tcp::SYN != 0 {
        builder = builder.syn();
    }
    if flags & tcp::FIN != 0 {
        builder = builder.fin();
    }
    if flags & tcp::RST != 0 {
        builder = builder.rst();
    }
    if flags & tcp::ACK != 0 {
        builder = builder.ack(acknowledgment);
    }
    built(|octets| builder.write(octets, &vec![1; payload]).unwrap())
}

#[test]
fn a_reset_has_the_numbers_its_receiver_expects() {
    let reset = |octets: &[u8]| {
        with(octets, Offload::NONE, |frame, packet| {
            let mut into = [0; ERROR_MAX];
            tcp_reset(&mut into, frame, &packet, 61, 0).map(|len| into[..len].to_vec())
        })
    };
    for v6 in [false, true] {
        for (flags, payload, sequence, expected) in [
            (tcp::SYN, 0, 100, (0, 101, true)),
            (tcp::SYN, 5, u32::MAX - 2, (0, 3, true)),
            (tcp::FIN, 300, 100, (0, 401, true)),
            (tcp::ACK, 10, 100, (777, 0, false)),
            (tcp::SYN | tcp::ACK, 0, 100, (777, 0, false)),
        ] {
            let answer = reset(&tcp(v6, flags, payload, sequence, 777)).expect("an answer");
            let sliced = SlicedPacket::from_ip(&answer).unwrap();
            let Some(TransportSlice::Tcp(found)) = sliced.transport else { panic!() };
            assert_eq!((found.source_port(), found.destination_port()), (80, 4321));
            assert_eq!((found.sequence_number(), found.acknowledgment_number(), found.ack()), expected);
            assert!(found.rst() && !found.syn() && found.window_size() == 0);
            let (network, segment) = answer.split_at(answer.len() - 20);
            let pseudo =
                if v6 { checksum::pseudo_ipv6(B6.into(), A6.into(), 6, 20) } else { checksum::pseudo_ipv4(B4.into(), A4.into(), 6, 20) };
            assert_eq!(pseudo.add(segment).fold(), 0xffff);
            assert!(v6 || Sum::of(network).fold() == 0xffff);
        }
        assert_eq!(reset(&tcp(v6, tcp::RST, 0, 1, 1)), None, "a reset");
        let mut damaged = tcp(v6, tcp::ACK, 400, 1, 1);
        *damaged.last_mut().unwrap() ^= 1;
        assert_eq!(reset(&damaged), None, "a wrong checksum, behind the head");
    }
    assert_eq!(reset(&udp_v4(20)), None);
}

#[test]
fn an_echo_request_becomes_its_reply() {
    let echo = IcmpEchoHeader { id: 77, seq: 5 };
    for payload in [0, 56, 1400] {
        let data: Vec<u8> = (0..payload).map(|i| i as u8).collect();
        let v4 = PacketBuilder::ethernet2(MAC, MAC).ipv4(A4, B4, 9).icmpv4_echo_request(77, 5);
        let v4 = built(|octets| v4.write(octets, &data).unwrap());
        let v6 = PacketBuilder::ethernet2(MAC, MAC).ipv6(A6, B6, 9).icmpv6_echo_request(77, 5);
        let v6 = built(|octets| v6.write(octets, &data).unwrap());
        for request in [v4, v6] {
            with(&request, Offload::NONE, |frame, mut packet| {
                assert!(is_echo_request(frame, &packet));
                // Another source, as in an answer to a group.
                let source = if packet.family == Family::V4 { Address(0x0a01_0203) } else { Address(0x1234_5678) };
                echo_reply(frame, &mut packet, source, 64);
                assert_eq!(Packet::parse(frame, packet.family), Some(packet), "the packet is in step with the frame");
                let octets: Vec<u8> = frame.head().iter().copied().chain(frame.body().octets()).collect();
                let sliced = SlicedPacket::from_ethernet(&octets).unwrap();
                match sliced.transport.unwrap() {
                    TransportSlice::Icmpv4(icmp) => {
                        assert_eq!((icmp.icmp_type(), icmp.payload()), (Icmpv4Type::EchoReply(echo), &data[..]));
                        assert_eq!(Sum::of(icmp.slice()).fold(), 0xffff);
                        assert_eq!((packet.destination, packet.ttl), (Address(0x0a00_0001), 64));
                    }
                    TransportSlice::Icmpv6(icmp) => {
                        assert_eq!((icmp.icmp_type(), icmp.payload()), (Icmpv6Type::EchoReply(echo), &data[..]));
                        let from: Ipv6Addr = Ipv6Addr::from_bits(0x1234_5678);
                        assert!(icmp.is_checksum_valid(from.octets(), A6));
                    }
                    _ => panic!(),
                }
            });
        }
    }
}

#[test]
fn an_echo_request_with_an_unfinished_checksum() {
    let builder = PacketBuilder::ethernet2(MAC, MAC).ipv6(A6, B6, 9).icmpv6_echo_request(77, 5);
    let mut octets = built(|octets| builder.write(octets, &[9; 300]).unwrap());
    let partial = checksum::pseudo_ipv6(A6.into(), B6.into(), 58, 308).fold();
    octets[56..58].copy_from_slice(&partial.to_be_bytes());
    let offload = Offload { flags: virtio_net::FLAG_NEEDS_CSUM, csum_start: 54, csum_offset: 2, ..Offload::NONE };
    with(&octets, offload, |frame, mut packet| {
        assert!(is_echo_request(frame, &packet));
        echo_reply(frame, &mut packet, Address(0x1234_5678), 64);
        crate::offload::finish_checksum(frame);
        assert!(checksum_ok(frame, &packet));
        assert_eq!(frame.offload(), Offload::NONE, "so it was summed up");
    });
}

#[test]
fn options_of_an_echo_request_are_not_repeated() {
    let mut octets = [&MAC[..], &MAC, &[8, 0]].concat();
    octets.extend([0x46, 0, 0, 32, 0, 1, 0x40, 0, 9, 1, 0, 0, 10, 0, 0, 1, 192, 0, 2, 9, 7, 4, 4, 0]);
    octets.extend([8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
    Ipv4Header::new_checked(&mut octets[14..]).unwrap().fill_checksum();
    with(&octets, Offload::NONE, |frame, mut packet| {
        assert!(is_echo_request(frame, &packet));
        echo_reply(frame, &mut packet, Address(0xc000_0209), 64);
        assert_eq!(Packet::parse(frame, Family::V4), Some(packet));
        assert_eq!((packet.l4, packet.len, frame.len()), (34, 28, 42));
        assert!(!packet.dont_fragment && checksum_ok(frame, &packet));
    });
}

#[test]
fn extension_headers_of_an_echo_request_are_not_repeated() {
    let builder = PacketBuilder::ethernet2(MAC, MAC).ipv6(A6, B6, 9).icmpv6_echo_request(77, 5);
    let plain = built(|octets| builder.write(octets, &[9; 300]).unwrap());
    // A header of destination options with padding (RFC 8200 section 4.2).
    let mut octets = [&plain[..54], &[58, 0, 1, 4, 0, 0, 0, 0], &plain[54..]].concat();
    octets[20] = 60;
    octets[18..20].copy_from_slice(&316_u16.to_be_bytes());
    with(&octets, Offload::NONE, |frame, mut packet| {
        assert!(is_echo_request(frame, &packet));
        assert_eq!(next_header_pointer(frame, &packet), 40);
        echo_reply(frame, &mut packet, Address(0x1234_5678), 64);
        assert_eq!(Packet::parse(frame, Family::V6), Some(packet));
        assert_eq!((packet.l4, frame.len()), (54, plain.len()));
        assert_eq!(next_header_pointer(frame, &packet), 6);
        assert!(checksum_ok(frame, &packet));
    });
}

#[test]
fn checksums_are_checked_over_head_and_body_without_padding() {
    for payload in [0, 5, 300] {
        for mut octets in [udp_v4(payload), udp_v6(payload), tcp(false, tcp::ACK, payload, 1, 2)] {
            octets.extend([0xab; 9]);
            assert!(with(&octets, Offload::NONE, |frame, packet| checksum_ok(frame, &packet)));
            let last = octets.len() - 10;
            octets[last] ^= 0x10;
            assert!(!with(&octets, Offload::NONE, |frame, packet| checksum_ok(frame, &packet)));
            let checked = Offload { flags: virtio_net::FLAG_DATA_VALID, ..Offload::NONE };
            assert!(with(&octets, checked, |frame, packet| checksum_ok(frame, &packet)));
        }
    }
    let mut none = udp_v4(10);
    none[40..42].fill(0);
    assert!(with(&none, Offload::NONE, |frame, packet| checksum_ok(frame, &packet)), "UDP over IPv4 may have none");
    assert!(LaxSlicedPacket::from_ethernet(&none).is_ok());
}
