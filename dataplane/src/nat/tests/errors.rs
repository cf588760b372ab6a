//! ICMP errors, and the seed's examples.

use wire::{Offload, ip_protocol};

use super::packets::{Spec, edit, error, tcp_rest, v4, v6};
use super::world::{Fate, Rules, World, ZONE, begins, ends};
use crate::conntrack::{CtState, Direction, Status, Tracking, Tuple};
use crate::nat::{Manip, NatRange, NotTranslatable, Settings, translate};
use crate::router::address::Family;
use crate::router::packet::Upper;

fn snat(address: &str) -> Rules {
    Rules { snat: Some(NatRange::address(v4(address))), ..Rules::default() }
}

fn dnat(address: &str, port: u16) -> Rules {
    Rules { dnat: Some(NatRange { ports: Some((port, port)), ..NatRange::address(v4(address)) }), ..Rules::default() }
}

/// N25: the seed's two gateways in a row, with its addresses and ports at each place, and checksums that are right there.
#[test]
fn the_two_gateways_of_the_seed() {
    let (mut a, mut b) = (World::new(Settings::default()), World::new(Settings::default()));
    let tcp = |source, destination, flags| Spec { rest: tcp_rest(flags), ..Spec::new(ip_protocol::TCP, source, destination) }.packet();
    let syn = tcp(("192.168.1.2", 56303), ("200.200.200.1", 443), 0x02);
    let on_the_wire = a.pass(&syn, snat("100.100.100.1")).octets();
    assert_eq!(on_the_wire, tcp(("100.100.100.1", 56303), ("200.200.200.1", 443), 0x02));
    let at_b = b.pass(&on_the_wire, dnat("192.168.2.2", 443)).octets();
    assert_eq!(at_b, tcp(("100.100.100.1", 56303), ("192.168.2.2", 443), 0x02));
    let reply = b.pass(&tcp(("192.168.2.2", 443), ("100.100.100.1", 56303), 0x12), Rules::default()).octets();
    assert_eq!(reply, tcp(("200.200.200.1", 443), ("100.100.100.1", 56303), 0x12));
    let back = a.pass(&reply, Rules::default()).octets();
    assert_eq!(back, tcp(("200.200.200.1", 443), ("192.168.1.2", 56303), 0x12));
    // The entry of A: 192.168.1.2:56303 is 100.100.100.1:56303.
    let tuple = edit(&syn, Offload::NONE, |_, packet| Tuple::of(packet, ZONE).unwrap()).1;
    let entry = a.flow(&tuple).unwrap();
    assert_eq!((entry.original.source, entry.original.source_port), (v4("192.168.1.2"), 56303));
    assert_eq!((entry.reply.destination, entry.reply.destination_port), (v4("100.100.100.1"), 56303));
    // Only the first packet asks the rules.
    assert_eq!(a.pass(&tcp(("192.168.1.2", 56303), ("200.200.200.1", 443), 0x10), snat("9.9.9.9")).source(), (v4("100.100.100.1"), 56303));
}

/// N26: two hosts send echo requests with the same identifier to the same host. Outside the identifiers differ, both get their
/// answers with their own, and the sequence numbers stay.
#[test]
fn two_hosts_with_the_same_identifier() {
    for settings in [Settings::default(), linux()] {
        let mut nat = World::new(settings);
        let echo = |source: &str, destination: &str, identifier, kind, sequence: u16| {
            let rest = [&sequence.to_be_bytes()[..], b"abcdefgh"].concat();
            Spec { rest, icmp: Some((kind, 0)), ..Spec::new(ip_protocol::ICMP, (source, identifier), (destination, 0)) }.packet()
        };
        let mut identifiers = Vec::new();
        for (host, sequence) in [("192.168.1.2", 7), ("192.168.1.3", 9)] {
            let sent = nat.pass(&echo(host, "8.8.8.8", 0x1234, 8, sequence), snat("100.100.100.1")).octets();
            let (_, identifier, ..) = ends(&sent);
            assert_eq!(sent, echo("100.100.100.1", "8.8.8.8", identifier, 8, sequence));
            let reply = nat.pass(&echo("8.8.8.8", "100.100.100.1", identifier, 0, sequence), Rules::default()).octets();
            assert_eq!(reply, echo("8.8.8.8", host, 0x1234, 0, sequence));
            identifiers.push(identifier);
        }
        assert_eq!(identifiers[0], 0x1234);
        assert_ne!(identifiers[0], identifiers[1]);
    }
}

fn linux() -> Settings {
    Settings { mapping: crate::nat::MappingBehaviour::AddressAndPortDependent, ..Settings::default() }
}

/// RFC 5508 REQ-4: an error from outside quotes the packet as it was outside. Inside it is quoted as it was sent, and its own
/// source is that of the router that complains. Every checksum is right: that of the quoted headers, too.
#[test]
fn rfc_5508_req_4_error_from_outside() {
    for protocol in [ip_protocol::TCP, ip_protocol::UDP, ip_protocol::ICMP, ip_protocol::SCTP, ip_protocol::DCCP, ip_protocol::UDP_LITE] {
        for options in [0, 8] {
            let mut nat = World::new(Settings::default());
            let first = Spec { options, ..Spec::new(protocol, ("192.168.1.3", 5000), ("203.0.113.9", 80)) };
            nat.pass(&Spec { source: v4("192.168.1.2"), ..first.clone() }.packet(), snat("100.100.100.1")).octets();
            // The second host has to take another port.
            let sent = nat.pass(&first.packet(), snat("100.100.100.1")).octets();
            assert_ne!(ends(&sent).1, 5000);
            for kind in [(3, 4), (3, 3), (11, 0), (4, 0), (12, 0)] {
                let inside = nat.pass(&error("198.51.100.7", "100.100.100.1", kind, &sent), Rules::default()).octets();
                assert_eq!(inside, error("198.51.100.7", "192.168.1.3", kind, &first.packet()), "{protocol} {kind:?}");
            }
        }
    }
}

/// RFC 5508 REQ-5: an error from inside quotes the packet as it was inside. Outside it is quoted as it was sent, and the
/// complaint comes from the public address, whether it was the host's or a router's inside.
#[test]
fn rfc_5508_req_5_error_from_inside() {
    for complaining in ["10.0.0.5", "10.0.0.254"] {
        let mut nat = World::new(Settings::default());
        let sent = Spec::new(ip_protocol::UDP, ("203.0.113.9", 4000), ("100.100.100.1", 8080));
        let inside = nat.pass(&sent.packet(), dnat("10.0.0.5", 80)).octets();
        let outside = nat.pass(&error(complaining, "203.0.113.9", (3, 3), &inside), Rules::default()).octets();
        assert_eq!(outside, error("100.100.100.1", "203.0.113.9", (3, 3), &sent.packet()));
        // The same for the answers of a host that was translated itself.
        let mut nat = World::new(Settings::default());
        let request = Spec::new(ip_protocol::UDP, ("10.0.0.5", 53), ("203.0.113.9", 4000));
        nat.pass(&request.packet(), snat("100.100.100.1")).octets();
        let answer = Spec::new(ip_protocol::UDP, ("203.0.113.9", 4000), ("100.100.100.1", 53));
        let inside = nat.pass(&answer.packet(), Rules::default()).octets();
        let outside = nat.pass(&error(complaining, "203.0.113.9", (11, 0), &inside), Rules::default()).octets();
        assert_eq!(outside, error("100.100.100.1", "203.0.113.9", (11, 0), &answer.packet()));
    }
}

/// RFC 5508 REQ-7: the error about a hairpinned packet is translated at both ends, and so is what it quotes.
#[test]
fn rfc_5508_req_7_error_about_a_hairpin() {
    let mut nat = World::new(Settings::default());
    let sent = Spec::new(ip_protocol::UDP, ("10.0.0.2", 4000), ("100.100.100.1", 8080));
    let inside = nat.pass(&sent.packet(), Rules { hairpin: true, ..dnat("10.0.0.5", 80) }).octets();
    assert_eq!(ends(&inside), (v4("100.100.100.1"), 4000, v4("10.0.0.5"), 80));
    let back = nat.pass(&error("10.0.0.5", "100.100.100.1", (3, 3), &inside), Rules::default()).octets();
    assert_eq!(back, error("100.100.100.1", "10.0.0.2", (3, 3), &sent.packet()));
}

/// RFC 5508 REQ-6, RFC 4787 REQ-12, RFC 5382 REQ-10: an error ends nothing.
#[test]
fn errors_end_neither_mapping_nor_flow() {
    let mut nat = World::new(Settings::default());
    let sent = Spec::new(ip_protocol::UDP, ("10.0.0.2", 4000), ("203.0.113.9", 53)).packet();
    let outside = nat.pass(&sent, snat("100.100.100.1")).octets();
    nat.pass(&error("203.0.113.9", "100.100.100.1", (3, 1), &outside), Rules::default()).octets();
    assert!(nat.has_mapping((v4("10.0.0.2"), 4000)));
    let answer = Spec::new(ip_protocol::UDP, ("203.0.113.9", 53), ("100.100.100.1", 4000)).packet();
    assert_eq!(nat.pass(&answer, Rules::default()).destination(), (v4("10.0.0.2"), 4000));
}

/// RFC 5508 REQ-11: a redirect about a translated flow names a path that is not for the host inside.
#[test]
fn rfc_5508_req_11_no_redirects() {
    let mut nat = World::new(Settings::default());
    let sent = Spec::new(ip_protocol::UDP, ("10.0.0.2", 4000), ("203.0.113.9", 53)).packet();
    let outside = nat.pass(&sent, snat("100.100.100.1")).octets();
    let redirect = error("198.51.100.7", "100.100.100.1", (5, 1), &outside);
    assert_eq!(nat.pass(&redirect, Rules::default()), Fate::Untranslatable(NotTranslatable::Redirect));
    // About a flow that is not translated it passes.
    let plain = nat.pass(&Spec::new(ip_protocol::UDP, ("10.0.0.2", 4001), ("203.0.113.9", 53)).packet(), Rules::default()).octets();
    let redirect = error("198.51.100.7", "10.0.0.2", (5, 1), &plain);
    assert_eq!(nat.pass(&redirect, Rules::default()), Fate::Sent(redirect));
}

/// A flow from 10.0.0.2:4000 that is 100.100.100.1:6000 outside, seen from an error about one of its packets.
fn about_a_flow(protocol: u8) -> Tracking {
    let quoted = Spec::new(protocol, ("10.0.0.2", 4000), ("203.0.113.9", 53));
    let mut tracking = begins(edit(&quoted.packet(), Offload::NONE, |_, packet| Tuple::of(packet, ZONE).unwrap()).1);
    (tracking.reply.destination, tracking.reply.destination_port) = (v4("100.100.100.1"), 6000);
    tracking.status.insert(Status::SRC_NAT);
    (tracking.state, tracking.direction) = (CtState::Related, Direction::Reply);
    tracking
}

/// Routers need not quote more than eight octets of the upper layer (RFC 792), in which TCP has no checksum and SCTP none.
#[test]
fn eight_quoted_octets() {
    for protocol in [ip_protocol::TCP, ip_protocol::UDP, ip_protocol::SCTP, ip_protocol::DCCP] {
        let before = Spec::new(protocol, ("100.100.100.1", 6000), ("203.0.113.9", 53)).packet();
        let after = Spec::new(protocol, ("10.0.0.2", 4000), ("203.0.113.9", 53)).packet();
        let cut = |packet: &[u8]| packet[..28].to_vec();
        let from = error("198.51.100.7", "100.100.100.1", (11, 0), &cut(&before));
        let tracking = about_a_flow(protocol);
        let (edited, answer) = edit(&from, Offload::NONE, |frame, packet| translate(frame, packet, &tracking, Manip::Destination));
        assert_eq!((answer, edited), (Ok(()), error("198.51.100.7", "10.0.0.2", (11, 0), &cut(&after))));
        // With fewer the ports cannot be trusted, and nothing is changed.
        let from = error("198.51.100.7", "100.100.100.1", (11, 0), &before[..27]);
        let (edited, answer) = edit(&from, Offload::NONE, |frame, packet| translate(frame, packet, &tracking, Manip::Destination));
        assert_eq!((answer, edited), (Err(NotTranslatable::NotEditable), from));
    }
}

/// The checksum of a long error, most of which is behind the head.
#[test]
fn a_long_quotation() {
    let mut before = Spec::new(ip_protocol::UDP, ("100.100.100.1", 6000), ("203.0.113.9", 53));
    before.rest = (0..533u32).map(|i| (i * 7) as u8).collect();
    let after = Spec { source: v4("10.0.0.2"), sport: 4000, ..before.clone() };
    let from = error("198.51.100.7", "100.100.100.1", (11, 0), &before.packet());
    let tracking = about_a_flow(ip_protocol::UDP);
    let (edited, answer) = edit(&from, Offload::NONE, |frame, packet| translate(frame, packet, &tracking, Manip::Destination));
    assert_eq!((answer, edited), (Ok(()), error("198.51.100.7", "10.0.0.2", (11, 0), &after.packet())));
}

/// The checksum of ICMPv6 covers the addresses of the error as well (RFC 4443 section 2.3), and packets too big pass as errors do.
#[test]
fn errors_of_ipv6() {
    let (host, public, remote, router) = (v6("fd00::2"), v6("2001:db8::1"), v6("2001:db8:9::9"), v6("2001:db8:7::7"));
    for protocol in [ip_protocol::TCP, ip_protocol::UDP, ip_protocol::ICMPV6, ip_protocol::SCTP] {
        for kind in [(1, 4), (2, 0), (3, 0), (4, 0)] {
            let mut nat = World::new(Settings::default());
            let sent =
                Spec { family: Family::V6, source: host, destination: remote, ..Spec::new(protocol, ("0.0.0.0", 5000), ("0.0.0.0", 80)) };
            let rules = Rules { snat: Some(NatRange { ports: Some((7000, 7000)), ..NatRange::address(public) }), ..Rules::default() };
            let outside = nat.pass(&sent.packet(), rules).octets();
            assert_eq!(outside, Spec { source: public, sport: 7000, ..sent.clone() }.packet());
            let error = |destination, quoted: &[u8]| {
                let mut spec = Spec::new(ip_protocol::ICMPV6, ("0.0.0.0", 0), ("0.0.0.0", 0));
                (spec.family, spec.source, spec.destination, spec.icmp) = (Family::V6, router, destination, Some(kind));
                spec.rest = [&[0x05, 0], quoted].concat();
                spec.packet()
            };
            let inside = nat.pass(&error(public, &outside), Rules::default()).octets();
            assert_eq!(inside, error(host, &sent.packet()), "{protocol} {kind:?}");
        }
    }
}

/// A query that is no echo request has an identifier too.
#[test]
fn a_timestamp_request() {
    let mut nat = World::new(Settings::default());
    let request = Spec { icmp: Some((13, 0)), ..Spec::new(ip_protocol::ICMP, ("10.0.0.2", 77), ("203.0.113.9", 0)) };
    assert_eq!(nat.pass(&request.packet(), snat("100.100.100.1")).source(), (v4("100.100.100.1"), 77));
    let reply = Spec { icmp: Some((14, 0)), ..Spec::new(ip_protocol::ICMP, ("203.0.113.9", 77), ("100.100.100.1", 0)) };
    let inside = nat.pass(&reply.packet(), Rules::default()).octets();
    let upper = edit(&inside, Offload::NONE, |_, packet| packet.upper).1;
    assert_eq!((ends(&inside).2, upper), (v4("10.0.0.2"), Upper::Icmp { kind: 14, code: 0, identifier: 77 }));
}
