//! UDP, ICMP, SCTP, GRE and the others.

use super::super::*;
use super::lab::{CLIENT, Lab, SERVER, icmp, ipv4, ipv6, ports, udp, with_checksum};
use Direction::{Original, Reply};

const THERE: ([u8; 4], u16) = (SERVER, 53);
const HERE: ([u8; 4], u16) = (CLIENT, 40_000);

#[test]
fn udp_becomes_a_stream_after_two_seconds() {
    let mut lab = Lab::new(8);
    assert_eq!(lab.state(&udp(HERE, THERE, b"q")), CtState::New);
    assert_eq!((lab.flow().timeout, lab.flow().is_unreplied()), (30, true));
    lab.wait(1);
    assert_eq!(lab.state(&udp(HERE, THERE, b"q")), CtState::New);
    assert_eq!(lab.state(&udp(THERE, HERE, b"a")), CtState::Established);
    assert_eq!((lab.flow().timeout, lab.flow().is_unreplied(), lab.flow().is_assured()), (30, false, false));
    assert_eq!(lab.state(&udp(HERE, THERE, b"q")), CtState::Established);
    assert_eq!((lab.flow().timeout, lab.flow().is_assured()), (30, false));
    lab.wait(2);
    assert_eq!(lab.state(&udp(HERE, THERE, b"q")), CtState::Established);
    assert_eq!((lab.flow().timeout, lab.flow().is_assured()), (120, true));
}

/// Each timeout: known just before it is over, and not found just behind it.
#[test]
fn a_flow_lives_for_its_timeout() {
    let mut lab = Lab::new(8);
    lab.pass(&udp(HERE, THERE, b"q"));
    lab.now += 30 * super::lab::SECOND - 1;
    assert_eq!(lab.flows().len(), 1);
    assert_eq!(lab.track(&udp(THERE, HERE, b"a")).direction, Reply);
    lab.wait(30);
    lab.now += 2_000_000;
    assert!(lab.flows().is_empty(), "over, if not swept");
    assert_eq!((lab.conntrack.count(), lab.conntrack.find(&lab_tuple(), lab.now)), (1, None));
    assert_eq!(lab.conntrack.sweep(0, 100, lab.now), 0);
    assert_eq!(lab.conntrack.count(), 0);
}

fn lab_tuple() -> Tuple {
    Tuple {
        source: core::net::Ipv4Addr::from(CLIENT).into(),
        destination: core::net::Ipv4Addr::from(SERVER).into(),
        source_port: 40_000,
        destination_port: 53,
        zone: 0,
        domain: Domain::new(RouterId(1), crate::router::Family::V4),
        protocol: 17,
    }
}

#[test]
fn udp_that_is_damaged() {
    let mut lab = Lab::new(8);
    let whole = udp(HERE, THERE, b"question");
    let mut damaged = whole.clone();
    damaged[30] ^= 1;
    assert_eq!(lab.state(&damaged), CtState::Invalid);
    damaged[26..28].fill(0);
    assert_eq!(lab.state(&damaged), CtState::New, "no checksum");
    for len in [7u16, 17] {
        let mut lying = whole.clone();
        lying[24..26].copy_from_slice(&len.to_be_bytes());
        assert_eq!(lab.state(&with_checksum(lying, 6)), CtState::Invalid, "length {len}");
    }
    let later = {
        let mut fragment = whole;
        fragment[6..8].copy_from_slice(&[0, 5]);
        wire::Ipv4Header::new_checked(&mut fragment[..]).unwrap().fill_checksum();
        fragment
    };
    assert_eq!(lab.state(&later), CtState::Invalid, "not reassembled");
}

#[test]
fn udp_lite_covers_what_it_says() {
    let mut lab = Lab::new(8);
    let lite = |covered: u16, checksum_of: usize, payload: &[u8]| {
        let datagram = [&ports(1, 2)[..], &covered.to_be_bytes(), &[0, 0], payload].concat();
        let mut packet = ipv4(136, CLIENT, SERVER, &datagram);
        let [a, b] = [12, 16].map(|i| <[u8; 4]>::try_from(&packet[i..i + 4]).unwrap().into());
        let sum = wire::checksum::pseudo_ipv4(a, b, 136, datagram.len() as u16).add(&datagram[..checksum_of]);
        packet[26..28].copy_from_slice(&sum.nonzero_checksum().to_be_bytes());
        packet
    };
    assert_eq!(lab.state(&lite(8, 8, b"damage")), CtState::New);
    assert_eq!(lab.state(&lite(0, 14, b"damage")), CtState::New);
    assert_eq!(lab.state(&lite(0, 8, b"damage")), CtState::Invalid);
    assert_eq!(lab.state(&lite(7, 8, b"")), CtState::Invalid);
    assert_eq!(lab.state(&lite(15, 14, b"damage")), CtState::Invalid);
}

#[test]
fn icmp_queries() {
    let mut lab = Lab::new(8);
    let echo = |kind, id: u8| {
        let (from, to) = if kind == 8 { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
        icmp(from, to, kind, 0, [0, id, 0, 1], b"ping")
    };
    assert_eq!(lab.state(&echo(8, 1)), CtState::New);
    assert_eq!(lab.flow().timeout, 30);
    assert_eq!(lab.state(&echo(0, 1)), CtState::Established);
    assert_eq!(lab.state(&echo(0, 2)), CtState::Invalid, "an answer to nothing");
    assert_eq!(lab.flows().len(), 1);
    assert_eq!(lab.stats().invalid, 1);
    // Of the link, unknown, and damaged.
    assert_eq!(lab.state(&icmp(CLIENT, SERVER, 19, 0, [0; 4], b"")), CtState::Invalid);
    assert_eq!(lab.state(&icmp(CLIENT, SERVER, 9, 0, [0; 4], b"")), CtState::Invalid);
    let mut damaged = echo(8, 3);
    damaged[30] ^= 4;
    assert_eq!(lab.state(&damaged), CtState::Invalid);
    assert_eq!(lab.stats().error, 2);
}

#[test]
fn icmpv6() {
    let mut lab = Lab::new(8);
    let (a, b) = (0xfd00 << 112 | 1, 0xfd00 << 112 | 2);
    let echo = |kind, from, to| with_checksum(ipv6(58, from, to, &[kind, 0, 0, 0, 0, 7, 0, 1]), 2);
    assert_eq!(lab.state(&echo(128, a, b)), CtState::New);
    assert_eq!(lab.state(&echo(129, b, a)), CtState::Established);
    assert_eq!(lab.flow().original.source.0, a);
    for kind in [130, 131, 132, 133, 134, 135, 136, 143] {
        assert_eq!(lab.state(&echo(kind, a, b)), CtState::Untracked, "{kind}");
    }
    assert_eq!(lab.state(&echo(137, a, b)), CtState::Invalid);
    let mut damaged = echo(135, a, b);
    damaged[43] ^= 1;
    assert_eq!(lab.state(&damaged), CtState::Invalid);
    // An error about the echo request, from a router on the way.
    let quoted = echo(128, a, b);
    let error = with_checksum(ipv6(58, 0xfd00 << 112 | 9, a, &[&[3, 0, 0, 0, 0, 0, 0, 0][..], &quoted].concat()), 2);
    let tracking = lab.pass(&error);
    assert_eq!((tracking.state, tracking.direction), (CtState::Related, Reply));
    // The other version's ICMP is nothing.
    assert_eq!(lab.state(&ipv6(1, a, b, &[8, 0, 0, 0, 0, 0, 0, 0])), CtState::Invalid);
}

/// RFC 5508 REQ-3, REQ-4 and REQ-6; K: the error must go to who sent the quoted packet.
#[test]
fn icmp_errors_belong_to_the_flow_they_quote() {
    const ROUTER: [u8; 4] = [10, 9, 9, 9];
    let mut lab = Lab::new(8);
    let sent = udp(HERE, THERE, b"question");
    lab.pass(&sent);
    let flow = lab.flow();
    lab.wait(5);
    let error = |quoted: &[u8], to| icmp(ROUTER, to, 11, 0, [0; 4], quoted);
    let tracking = lab.pass(&error(&sent[..28], CLIENT));
    assert_eq!((tracking.state, tracking.direction, tracking.flow), (CtState::Related, Reply, FlowRef::Known(flow.id)));
    assert_eq!(lab.flow().timeout, 25, "no error refreshes a flow");
    assert!(lab.flow().is_unreplied());
    // About a packet of the server, on its way to it.
    let answer = udp(THERE, HERE, b"answer");
    let tracking = lab.pass(&error(&answer[..28], SERVER));
    assert_eq!((tracking.state, tracking.direction), (CtState::Related, Original));
    // To somebody else, about nothing known, cut, damaged within.
    let mut unknown = sent.clone();
    unknown[21] ^= 1;
    let mut damaged = sent.clone();
    damaged[8] ^= 1;
    let mut fragment = sent.clone();
    fragment[7] = 3;
    wire::Ipv4Header::new_checked(&mut fragment[..]).unwrap().fill_checksum();
    for (what, packet) in [
        ("another", error(&sent[..28], ROUTER)),
        ("unknown", error(&unknown[..28], CLIENT)),
        ("cut", error(&sent[..23], CLIENT)),
        ("cut more", error(&sent[..19], CLIENT)),
        ("damaged", error(&damaged[..28], CLIENT)),
        ("fragment", error(&fragment[..28], CLIENT)),
        ("nothing", error(&[], CLIENT)),
    ] {
        assert_eq!(lab.state(&packet), CtState::Invalid, "{what}");
    }
    assert_eq!(lab.stats().error, 7);
    lab.wait(26);
    assert_eq!(lab.state(&error(&sent[..28], CLIENT)), CtState::Invalid, "the flow is over");
}

#[test]
fn errors_about_errors_and_echoes() {
    let mut lab = Lab::new(8);
    let ping = icmp(CLIENT, SERVER, 8, 0, [0, 9, 0, 1], b"");
    lab.pass(&ping);
    assert_eq!(lab.state(&icmp(SERVER, CLIENT, 3, 1, [0; 4], &ping)), CtState::Related);
    let about_error = icmp(SERVER, CLIENT, 3, 1, [0; 4], &icmp(CLIENT, SERVER, 3, 1, [0; 4], &ping));
    assert_eq!(lab.state(&about_error), CtState::Invalid);
}

#[test]
fn gre_and_others() {
    let mut lab = Lab::new(8);
    assert_eq!(lab.state(&ipv4(47, CLIENT, SERVER, &[0; 8])), CtState::New);
    assert_eq!(lab.flow().timeout, 30);
    assert_eq!(lab.state(&ipv4(47, SERVER, CLIENT, &[0; 8])), CtState::Established);
    assert_eq!(lab.state(&ipv4(47, CLIENT, SERVER, &[0; 8])), CtState::Established);
    assert_eq!((lab.flow().timeout, lab.flow().is_assured()), (180, true));
    let mut lab = Lab::new(8);
    assert_eq!(lab.state(&ipv4(50, CLIENT, SERVER, &[1; 30])), CtState::New);
    assert_eq!(lab.state(&ipv4(50, SERVER, CLIENT, &[1; 30])), CtState::Established);
    assert_eq!((lab.flow().timeout, lab.flow().is_assured()), (600, false));
}

/// SCTP: header with tag, and chunks of kind, flags and value.
fn sctp(direction: Direction, tag: u32, chunks: &[(u8, u8, &[u8])]) -> Vec<u8> {
    let (from, to, ports) = match direction {
        Original => (CLIENT, SERVER, ports(5000, 36_412)),
        Reply => (SERVER, CLIENT, ports(36_412, 5000)),
    };
    let mut octets = [&ports[..], &tag.to_be_bytes(), &[0; 4]].concat();
    for (kind, flags, value) in chunks {
        octets.extend([*kind, *flags]);
        octets.extend((4 + value.len() as u16).to_be_bytes());
        octets.extend(*value);
        octets.resize(octets.len().next_multiple_of(4), 0);
    }
    ipv4(132, from, to, &octets)
}

fn init(tag: u32) -> [u8; 16] {
    let mut value = [0; 16];
    value[..4].copy_from_slice(&tag.to_be_bytes());
    value
}

#[test]
fn an_sctp_association() {
    use SctpState::*;
    let mut lab = Lab::new(8);
    let state = |lab: &Lab| match lab.flow().state {
        FlowState::Sctp(state) => state,
        other => panic!("{other:?}"),
    };
    const A: u32 = 0xaaaa;
    const B: u32 = 0xbbbb;
    assert_eq!(lab.state(&sctp(Original, 0, &[(1, 0, &init(A))])), CtState::New);
    assert_eq!((state(&lab), lab.flow().timeout), (Closed, 10));
    lab.wait(3);
    assert_eq!(lab.state(&sctp(Original, 0, &[(1, 0, &init(A))])), CtState::New);
    assert_eq!(lab.flow().timeout, 7, "INIT sent again does not keep it");
    assert_eq!(lab.state(&sctp(Reply, A, &[(2, 0, &init(B))])), CtState::Established);
    assert_eq!((state(&lab), lab.flow().timeout), (CookieWait, 3));
    assert_eq!(lab.state(&sctp(Original, A, &[(10, 0, b"cookie")])), CtState::Invalid, "tag of the other");
    assert_eq!(lab.state(&sctp(Original, B, &[(10, 0, b"cookie")])), CtState::Established);
    assert_eq!(state(&lab), CookieEchoed);
    assert_eq!(lab.state(&sctp(Reply, A, &[(11, 0, b"")])), CtState::Established);
    assert_eq!((state(&lab), lab.flow().timeout, lab.flow().is_assured()), (Established, 210, true));
    assert_eq!(lab.state(&sctp(Original, B, &[(0, 3, b"data behind the handshake")])), CtState::Established);
    assert_eq!(lab.state(&sctp(Original, 0xdead, &[(0, 3, b"data")])), CtState::Invalid);
    assert_eq!(lab.state(&sctp(Original, 0xdead, &[(6, 0, b"")])), CtState::Invalid, "a blind ABORT");
    assert_eq!(state(&lab), Established);
    assert_eq!(lab.state(&sctp(Original, B, &[(7, 0, &[0; 4])])), CtState::Established);
    assert_eq!(state(&lab), ShutdownSent);
    assert_eq!(lab.state(&sctp(Reply, A, &[(8, 0, b"")])), CtState::Established);
    assert_eq!(state(&lab), ShutdownAckSent);
    assert_eq!(lab.state(&sctp(Original, B, &[(14, 0, b"")])), CtState::Established);
    assert_eq!((state(&lab), lab.flow().timeout), (Closed, 10));
}

#[test]
fn sctp_that_begins_nothing() {
    let mut lab = Lab::new(8);
    for (what, packet) in [
        ("ABORT", sctp(Original, 1, &[(6, 0, b"")])),
        ("COOKIE ACK", sctp(Original, 1, &[(11, 0, b"")])),
        ("SHUTDOWN COMPLETE", sctp(Original, 1, &[(14, 0, b"")])),
        ("DATA", sctp(Original, 1, &[(0, 0, b"data")])),
        ("INIT with a tag", sctp(Original, 1, &[(1, 0, &init(1))])),
        ("INIT cut", sctp(Original, 0, &[(1, 0, &[0; 4])])),
        ("INIT not alone", sctp(Original, 0, &[(1, 0, &init(1)), (0, 0, b"data")])),
        ("COOKIE ECHO behind another", sctp(Original, 1, &[(5, 0, b""), (10, 0, b"cookie")])),
        ("no chunk", sctp(Original, 0, &[])),
        ("chunk of length 0", ipv4(132, CLIENT, SERVER, &[0; 20])),
    ] {
        assert_eq!(lab.state(&packet), CtState::Invalid, "{what}");
    }
    assert!(lab.flows().is_empty());
    // A further path of an association begins with HEARTBEAT.
    assert_eq!(lab.state(&sctp(Original, 7, &[(4, 0, b"info")])), CtState::New);
    assert_eq!((lab.flow().state.name(), lab.flow().timeout), (Some("HEARTBEAT_SENT"), 30));
    assert_eq!(lab.state(&sctp(Reply, 8, &[(5, 0, b"info")])), CtState::Established);
    assert_eq!((lab.flow().state.name(), lab.flow().is_assured()), (Some("ESTABLISHED"), true));
}

#[test]
fn on_demand_not_tracked_and_in_another_zone() {
    let mut lab = Lab::new(8);
    lab.template.notrack = true;
    assert_eq!(lab.state(&udp(HERE, THERE, b"q")), CtState::Untracked);
    assert!(lab.flows().is_empty());
    lab.template = Template { zone: Some(77), helper: Some(HelperKind::Tftp), ..Template::default() };
    let tracking = lab.pass(&udp(HERE, THERE, b"q"));
    assert_eq!((tracking.original.zone, tracking.helper), (77, Some(HelperKind::Tftp)));
    lab.template = Template::default();
    assert_eq!(lab.state(&udp(THERE, HERE, b"a")), CtState::New, "another zone, another flow");
    assert_eq!(lab.flows().len(), 2);
    assert_eq!(lab.flows().iter().filter_map(|flow| flow.helper).collect::<Vec<_>>(), [HelperKind::Tftp]);
}
