//! A router that translates: the figure of the notes the project was started from, ports forwarded, hairpin, ICMP errors.

mod lab;

use std::sync::Arc;

use dataplane::DropReason;
use dataplane::conntrack::Conntrack;
use dataplane::nat::{Filtering, MappingBehaviour, NatRange, NatState};
use dataplane::router::RouterState;
use dataplane::rules::{Hook, Match, Network, Table, Target, Test};
use lab::router::{LAN, LAN_PORT, RouterLab, WAN, WAN_PORT, base, checksums_are_right, echo, ip, ipv4, rule, seal, tcp, udp};

const SYN: u8 = 2;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;

fn out(interface: dataplane::router::InterfaceId) -> Match {
    Match { invert: false, test: Test::OutInterface([interface].into_iter().collect()) }
}

/// `-t nat -A POSTROUTING -o wan -j MASQUERADE`.
fn gateway() -> RouterLab {
    let mut lab = RouterLab::new();
    lab.rules(&[base(Table::Nat, Hook::Postrouting, vec![rule(vec![out(WAN)], Target::Masquerade { ports: None, random: false })])]);
    lab
}

fn addresses(packet: &[u8]) -> (String, String) {
    let address = |at: usize| std::net::Ipv4Addr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap()).to_string();
    (address(12), address(16))
}

fn ports(packet: &[u8]) -> (u16, u16) {
    (u16::from_be_bytes([packet[20], packet[21]]), u16::from_be_bytes([packet[22], packet[23]]))
}

#[test]
fn a_connection_goes_out_with_the_address_of_the_router_and_its_answers_come_back() {
    let mut lab = gateway();
    let (guest, server, public) = (("192.168.1.2", 56303), ("198.51.100.1", 443), ("203.0.113.254", 56303));
    lab.from_lan(&tcp(guest, server, SYN, 1000, 0, b""));
    let got = lab.got(WAN);
    assert_eq!(got.len(), 1, "{:?}", lab.drops());
    assert_eq!((addresses(&got[0]), ports(&got[0])), ((public.0.into(), server.0.into()), (56303, 443)));
    assert!(checksums_are_right(&got[0]));
    lab.from_wan(&tcp(server, public, SYN_ACK, 7000, 1001, b""));
    let got = lab.got(LAN);
    assert_eq!((addresses(&got[0]), ports(&got[0])), ((server.0.into(), guest.0.into()), (443, 56303)));
    assert!(checksums_are_right(&got[0]));
    lab.from_lan(&tcp(guest, server, ACK, 1001, 7001, b"hello"));
    assert_eq!(lab.got(WAN).len(), 1);
    assert_eq!(lab.drops(), []);
    lab.lab.assert_conserved();
}

#[test]
fn two_guests_with_the_same_echo_identifier_get_their_own_answers() {
    let mut lab = gateway();
    let mut identifiers = Vec::new();
    for guest in ["192.168.1.1", "192.168.1.2"] {
        lab.from_lan(&ipv4(guest, "198.51.100.1", 1, &echo(77)));
        let got = lab.got(WAN);
        assert!(checksums_are_right(&got[0]));
        identifiers.push(u16::from_be_bytes([got[0][24], got[0][25]]));
    }
    assert_ne!(identifiers[0], identifiers[1]);
    for (guest, identifier) in ["192.168.1.1", "192.168.1.2"].into_iter().zip(identifiers) {
        let mut reply = echo(identifier);
        reply[0] = 0;
        reply[2..4].fill(0);
        let sum = wire::checksum::Sum::of(&reply).checksum();
        reply[2..4].copy_from_slice(&sum.to_be_bytes());
        lab.from_wan(&ipv4("198.51.100.1", "203.0.113.254", 1, &reply));
        let got = lab.got(LAN);
        assert_eq!((addresses(&got[0]).1, &got[0][24..26]), (guest.to_owned(), &77u16.to_be_bytes()[..]));
        assert!(checksums_are_right(&got[0]));
    }
    lab.lab.assert_conserved();
}

#[test]
fn traceroute_through_the_gateway_sees_every_hop() {
    let mut lab = gateway();
    let probe = ipv4("192.168.1.1", "198.51.100.7", 17, &udp(40000, 33434, b"probe"));
    lab.from_lan(&probe);
    let outside = lab.got(WAN).remove(0);
    // A router behind the gateway says that the time to live ran out.
    let quoted = [&[11, 0, 0, 0, 0, 0, 0, 0][..], &outside[..28]].concat();
    let mut error = quoted;
    let sum = wire::checksum::Sum::of(&error).checksum();
    error[2..4].copy_from_slice(&sum.to_be_bytes());
    lab.from_wan(&ipv4("203.0.113.1", "203.0.113.254", 1, &error));
    let got = lab.got(LAN);
    assert_eq!(got.len(), 1, "{:?}", lab.drops());
    assert_eq!(addresses(&got[0]), ("203.0.113.1".into(), "192.168.1.1".into()));
    assert_eq!(addresses(&got[0][28..]), ("192.168.1.1".into(), "198.51.100.7".into()), "what is quoted is what was sent");
    assert!(checksums_are_right(&got[0]));
    // And the gateway itself, one hop earlier.
    let mut short = probe;
    short[8] = 1;
    seal(&mut short);
    lab.from_lan(&short);
    let got = lab.got(LAN);
    assert_eq!((addresses(&got[0]).0, got[0][20]), ("192.168.1.254".into(), 11));
}

#[test]
fn a_forwarded_port_leads_to_the_server_from_outside_and_from_inside() {
    let mut lab = gateway();
    let server = NatRange { ports: Some((80, 80)), ..NatRange::address(ip("192.168.1.5")) };
    let to = vec![Match { invert: false, test: Test::Destination(Network::new(ip("203.0.113.254"), u32::MAX.into())) }];
    let to = to.into_iter().chain([Match { invert: false, test: Test::Protocol(6) }]).collect();
    lab.rules(&[base(Table::Nat, Hook::Prerouting, vec![rule(to, Target::Dnat { range: server, hairpin: true })])]);
    let public = ("203.0.113.254", 8080);
    lab.from_wan(&tcp(("198.51.100.9", 1234), public, SYN, 1, 0, b""));
    let got = lab.got(LAN);
    assert_eq!((addresses(&got[0]), ports(&got[0])), (("198.51.100.9".into(), "192.168.1.5".into()), (1234, 80)));
    lab.from_lan(&tcp(("192.168.1.5", 80), ("198.51.100.9", 1234), SYN_ACK, 9, 2, b""));
    let got = lab.got(WAN);
    assert_eq!((addresses(&got[0]), ports(&got[0])), (("203.0.113.254".into(), "198.51.100.9".into()), (8080, 1234)));
    // A host beside the server: the server sees the external address, so that its answer comes back through the router.
    lab.from_lan(&tcp(("192.168.1.1", 1234), public, SYN, 1, 0, b""));
    let got = lab.got(LAN);
    assert_eq!(addresses(&got[0]), ("203.0.113.254".into(), "192.168.1.5".into()), "{:?}", lab.drops());
    let seen = ports(&got[0]).0;
    lab.from_lan(&tcp(("192.168.1.5", 80), ("203.0.113.254", seen), SYN_ACK, 9, 2, b""));
    let got = lab.got(LAN);
    assert_eq!((addresses(&got[0]), ports(&got[0])), (("203.0.113.254".into(), "192.168.1.1".into()), (8080, 1234)));
    assert!(checksums_are_right(&got[0]));
    lab.lab.assert_conserved();
}

/// RFC 4787 REQ-9: two guests that learned each other's endpoint outside from a third party reach each other by it, and see the
/// endpoint outside.
#[test]
fn guests_reach_each_other_by_their_endpoints_outside() {
    let mut lab = gateway();
    let send = |lab: &mut RouterLab, from: (&str, u16), to: (&str, u16)| lab.from_lan(&ipv4(from.0, to.0, 17, &udp(from.1, to.1, b"hi")));
    let (one, two) = (("192.168.1.1", 4001), ("192.168.1.2", 4002));
    for guest in [one, two] {
        send(&mut lab, guest, ("198.51.100.1", 3478));
        let got = lab.got(WAN);
        assert_eq!((addresses(&got[0]).0, ports(&got[0]).0), ("203.0.113.254".to_owned(), guest.1));
    }
    // The second has not sent to the first yet, but from now on the first has sent to the second.
    send(&mut lab, one, ("203.0.113.254", two.1));
    assert_eq!((lab.got(LAN).len(), lab.dropped(LAN_PORT, DropReason::NatFiltered)), (0, 1), "{:?}", lab.drops());
    for (from, to) in [(two, one), (one, two)] {
        send(&mut lab, from, ("203.0.113.254", to.1));
        let got = lab.got(LAN);
        assert_eq!((addresses(&got[0]), ports(&got[0])), (("203.0.113.254".into(), to.0.into()), (from.1, to.1)), "{:?}", lab.drops());
    }
    lab.lab.assert_conserved();
}

/// RFC 4787 REQ-8: who may send to a mapping unasked, by what the router is told.
#[test]
fn filtering_lets_in_whom_it_should() {
    for (filtering, lets_in) in [(Filtering::EndpointIndependent, true), (Filtering::AddressAndPortDependent, false)] {
        let mut lab = gateway();
        lab.router().nat.filtering = filtering;
        lab.from_lan(&ipv4("192.168.1.1", "198.51.100.1", 17, &udp(4001, 3478, b"hi")));
        lab.got(WAN);
        lab.from_wan(&ipv4("198.51.100.66", "203.0.113.254", 17, &udp(66, 4001, b"hello")));
        let got = lab.got(LAN);
        assert_eq!(got.len(), usize::from(lets_in));
        assert_eq!(lab.dropped(WAN_PORT, DropReason::NatFiltered), u64::from(!lets_in), "{:?}", lab.drops());
        if lets_in {
            assert_eq!((addresses(&got[0]).1, ports(&got[0])), ("192.168.1.1".into(), (66, 4001)));
        }
        // A port that is no mapping is the router's own.
        lab.from_wan(&ipv4("198.51.100.66", "203.0.113.254", 17, &udp(66, 4002, b"hello")));
        assert_eq!(lab.got(LAN).len(), 0);
        assert_eq!(lab.got(WAN)[0][20..22], [3, 3], "port unreachable");
        lab.lab.assert_conserved();
    }
}

const SECOND: u64 = 1_000_000_000;
const GUEST: (&str, u16) = ("192.168.1.1", 4001);
const PUBLIC: (&str, u16) = ("203.0.113.254", 4001);
const STRANGER: (&str, u16) = ("198.51.100.66", 66);

/// Lets the router do what is due at a time, and returns what left it outside.
fn at(lab: &mut RouterLab, now: u64) -> Vec<Vec<u8>> {
    lab.lab.pipeline.set_time(now);
    lab.lab.pipeline.send_waiting(&lab.lab.snapshot, 0);
    lab.got(WAN)
}

/// A gateway with a mapping of a guest, who has sent to somebody else.
fn mapped() -> RouterLab {
    let mut lab = gateway();
    lab.from_lan(&tcp(GUEST, ("198.51.100.1", 443), SYN, 1, 0, b""));
    lab.got(WAN);
    lab
}

/// RFC 5382 REQ-4: a SYN to a mapping whose sender may not send to it is answered after 6 s, not earlier, and once however often
/// it comes.
#[test]
fn an_unsolicited_syn_is_answered_after_six_seconds() {
    let mut lab = mapped();
    let syn = tcp(STRANGER, PUBLIC, SYN, 1000, 0, b"early data");
    for second in [0, 1, 3] {
        assert_eq!(at(&mut lab, second * SECOND), [[]; 0]);
        lab.from_wan(&syn);
        assert_eq!((lab.got(WAN).len(), lab.got(LAN).len()), (0, 0));
    }
    assert_eq!(lab.dropped(WAN_PORT, DropReason::NatFiltered), 3, "{:?}", lab.drops());
    assert_eq!(at(&mut lab, 6 * SECOND - 1), [[]; 0]);
    let got = at(&mut lab, 6 * SECOND);
    assert_eq!(got.len(), 1, "{:?}", lab.drops());
    assert_eq!((addresses(&got[0]), &got[0][20..22]), ((PUBLIC.0.into(), STRANGER.0.into()), &[3, 3][..]));
    assert_eq!(got[0][28..], syn, "what is quoted is what was sent");
    assert!(checksums_are_right(&got[0]));
    assert!(!lab.lab.pipeline.has_waiting());
    lab.lab.assert_conserved();
}

/// RFC 5382 REQ-2, REQ-4: when the host inside opens the same connection meanwhile, the SYN from outside is forgotten; it comes
/// again and both sides are connected.
#[test]
fn a_simultaneous_open_is_not_disturbed() {
    let mut lab = mapped();
    lab.from_wan(&tcp(STRANGER, PUBLIC, SYN, 1000, 0, b""));
    at(&mut lab, 5 * SECOND);
    lab.from_lan(&tcp(GUEST, STRANGER, SYN, 5000, 0, b""));
    assert_eq!(ports(&lab.got(WAN)[0]), (PUBLIC.1, STRANGER.1));
    assert_eq!(at(&mut lab, 7 * SECOND), [[]; 0]);
    assert!(!lab.lab.pipeline.has_waiting());
    for (flags, sequence, acknowledgment) in [(SYN, 1000, 0), (SYN_ACK, 1000, 5001)] {
        lab.from_wan(&tcp(STRANGER, PUBLIC, flags, sequence, acknowledgment, b""));
        let got = lab.got(LAN);
        assert_eq!(got.len(), 1, "{:?}", lab.drops());
        assert_eq!((addresses(&got[0]).1, ports(&got[0])), (GUEST.0.into(), (STRANGER.1, GUEST.1)));
        lab.from_lan(&tcp(GUEST, STRANGER, SYN_ACK, 5000, 1001, b""));
        assert_eq!(lab.got(WAN).len(), 1, "{:?}", lab.drops());
    }
    lab.lab.assert_conserved();
}

/// What is no SYN, is damaged, or comes to a router that is told not to answer, is dropped for good.
#[test]
fn other_unsolicited_packets_are_not_answered() {
    let mut lab = mapped();
    for flags in [ACK, SYN_ACK, SYN | 4, SYN | 1, 4] {
        lab.from_wan(&tcp(STRANGER, PUBLIC, flags, 1000, 1, b""));
    }
    let mut damaged = tcp(STRANGER, PUBLIC, SYN, 1000, 0, b"odd");
    damaged[41] ^= 1;
    lab.from_wan(&damaged);
    assert!(!lab.lab.pipeline.has_waiting(), "{:?}", lab.drops());
    lab.router().nat.tcp_incoming_syn_timeout = 0;
    lab.from_wan(&tcp(STRANGER, PUBLIC, SYN, 1000, 0, b""));
    assert!(!lab.lab.pipeline.has_waiting() && lab.dropped(WAN_PORT, DropReason::NatFiltered) > 0);
    lab.lab.assert_conserved();
}

/// A flood of SYNs is answered no faster than other errors are sent, and only by as many as are kept.
#[test]
fn a_flood_of_unsolicited_syns_gets_few_answers() {
    let mut lab = mapped();
    let flood = |lab: &mut RouterLab| {
        for host in 0..40u16 {
            for port in 1..=100 {
                lab.from_wan(&tcp((&format!("198.51.100.{}", 100 + host), port), PUBLIC, SYN, 1000, 0, b""));
            }
        }
    };
    flood(&mut lab);
    assert_eq!(lab.dropped(WAN_PORT, DropReason::NatFiltered), 4000);
    // 256 are kept: of three hosts, each of which gets six errors at once.
    assert_eq!(at(&mut lab, 6 * SECOND).len(), 3 * 6);
    assert!(!lab.lab.pipeline.has_waiting());
    let mut answers = 0;
    flood(&mut lab);
    for tenth in 0..100 {
        answers += at(&mut lab, 12 * SECOND + tenth * SECOND / 10).len();
    }
    assert_eq!(answers, 3 * 6, "none for those that found no room");
    lab.lab.assert_conserved();
}

/// Spec 2.9 test 3: of a pool of two ports the third guest gets none, and is told so (RFC 5508 REQ-8), but not where the router
/// is to work as Linux.
#[test]
fn a_pool_that_is_used_up() {
    for (mapping, is_told) in [(MappingBehaviour::EndpointIndependent, true), (MappingBehaviour::AddressAndPortDependent, false)] {
        let mut lab = gateway();
        lab.router().nat.mapping = mapping;
        let two = Target::Masquerade { ports: Some((7000, 7001)), random: false };
        lab.rules(&[base(Table::Nat, Hook::Postrouting, vec![rule(vec![out(WAN)], two)])]);
        for (guest, sent) in [("192.168.1.1", 1), ("192.168.1.2", 1), ("192.168.1.3", 0), ("192.168.1.2", 1)] {
            let packet = ipv4(guest, "198.51.100.1", 17, &udp(4001, 53, b"hi"));
            lab.from_lan(&packet);
            assert_eq!(lab.got(WAN).len(), sent, "{guest}");
            let told = lab.got(LAN);
            assert_eq!(told.len(), usize::from(sent == 0 && is_told), "{:?}", lab.drops());
            for error in told {
                refused("192.168.1.3", &packet, &error);
            }
        }
        assert_eq!(lab.dropped(LAN_PORT, DropReason::NatExhausted), 1, "{:?}", lab.drops());
        lab.lab.assert_conserved();
    }
}

/// Whether an error tells a guest that the flow of a packet was refused.
#[track_caller]
fn refused(guest: &str, packet: &[u8], error: &[u8]) {
    assert_eq!((addresses(error), &error[20..22]), (("192.168.1.254".into(), guest.into()), &[3, 13][..]));
    let mut quoted = error[28..].to_vec();
    // The hop is counted already.
    quoted[8] += 1;
    seal(&mut quoted);
    assert_eq!(quoted, packet);
    assert!(checksums_are_right(error));
}

/// RFC 5508 REQ-8: a flow for which there is no room is refused as its sender knows it, though its source was translated already.
#[test]
fn a_table_without_room() {
    let mut lab = gateway();
    let (connections, translations) = (Arc::new(Conntrack::new(2, 1)), Arc::new(NatState::new(64)));
    lab.router().state = Arc::new(RouterState::new(connections, translations));
    lab.publish();
    let server = ("198.51.100.1", 443);
    let public = |port| ("203.0.113.254", port);
    for port in [4001, 4002] {
        lab.from_lan(&tcp((GUEST.0, port), server, SYN, 1000, 0, b""));
        lab.from_wan(&tcp(server, public(port), SYN_ACK, 7000, 1001, b""));
        lab.from_lan(&tcp((GUEST.0, port), server, ACK, 1001, 7001, b""));
        assert_eq!((lab.got(WAN).len(), lab.got(LAN).len()), (2, 1), "{:?}", lab.drops());
    }
    let third = tcp((GUEST.0, 4003), server, SYN, 1000, 0, b"");
    lab.from_lan(&third);
    assert_eq!(lab.dropped(LAN_PORT, DropReason::ConntrackFull), 1, "{:?}", lab.drops());
    let told = lab.got(LAN);
    assert_eq!(told.len(), 1);
    refused(GUEST.0, &third, &told[0]);
    lab.lab.assert_conserved();
}
