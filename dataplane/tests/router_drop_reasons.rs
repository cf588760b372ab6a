//! For every drop reason of a router, a packet that is dropped for it and for nothing else.

mod lab;

use std::sync::Arc;

use dataplane::DropReason;
use dataplane::conntrack::{Conntrack, HelperKind, Template};
use dataplane::drop_reason::Side;
use dataplane::nat::NatRange;
use dataplane::nat::{Filtering, NatState};
use dataplane::router::fib::RouteKind;
use dataplane::router::neighbour::Neighbour;
use dataplane::router::{RouterState, RpFilter};
use dataplane::rules::{Hook, Match, RejectWith, SynProxy, Table, Target, Test};
use dataplane::snapshot::PortId;
use lab::router::{LAN, LAN_MAC, LAN_PORT, RouterLab, WAN, WAN_PORT, base, ethernet, ip, ipv4, ipv6, rule, seal, station, tcp, udp};
use lab::{ROUTER_REASONS, frame};
use wire::MacAddr;

const SYN: u8 = 2;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;
const SECOND: u64 = 1_000_000_000;

/// A UDP datagram from 192.168.1.1.
fn to(address: &str) -> Vec<u8> {
    ipv4("192.168.1.1", address, 17, &udp(5000, 53, b"question"))
}

/// A fragment of a datagram of 24 octets behind the header.
fn fragment(offset: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut packet = ipv4("192.168.1.1", "203.0.113.2", 17, payload);
    let field = (offset / 8) | if more { 0x2000 } else { 0 };
    packet[6..8].copy_from_slice(&field.to_be_bytes());
    seal(&mut packet);
    packet
}

/// A router whose table of connections holds this many.
fn with_connections(lab: &mut RouterLab, max: usize) {
    lab.router().state = Arc::new(RouterState::new(Arc::new(Conntrack::new(max, 1)), Arc::new(NatState::new(64))));
    lab.publish();
}

fn tcp_only() -> Match {
    Match { invert: false, test: Test::Protocol(6) }
}

fn snat_to_one_port(lab: &mut RouterLab) {
    let range = NatRange { ports: Some((1000, 1000)), ..NatRange::address(ip("203.0.113.254")) };
    lab.rules(&[base(
        Table::Nat,
        Hook::Postrouting,
        vec![rule(vec![Match { invert: false, test: Test::Protocol(17) }], Target::Snat(range))],
    )]);
}

fn provoke(reason: DropReason, lab: &mut RouterLab) {
    match reason {
        DropReason::PuntRateLimit => {
            let mut arp = frame(MacAddr::BROADCAST, station(LAN, 1));
            arp[12..14].copy_from_slice(&[0x08, 0x06]);
            while lab.dropped(LAN_PORT, reason) == 0 {
                lab.lab.send(0, &arp);
                lab.lab.out(1);
                while lab.lab.events.punted_by_routers.pop().is_some() {}
            }
        }
        DropReason::OtherHost => {
            lab.lab.port(LAN_PORT).flood = true;
            lab.lab.send(0, &ethernet(MacAddr([2, 0, 0, 0, 9, 9]), station(LAN, 1), &to("203.0.113.2")));
        }
        DropReason::NotIp => lab.lab.send(0, &frame(LAN_MAC, station(LAN, 1))),
        DropReason::IpInvalid => {
            let mut packet = to("203.0.113.2");
            packet[10] ^= 1;
            lab.from_lan(&packet);
        }
        DropReason::Martian => lab.from_lan(&ipv4("127.0.0.1", "203.0.113.2", 17, &udp(1, 2, b""))),
        DropReason::RpFilter => {
            lab.interface(LAN).rp_filter = RpFilter::Strict;
            lab.from_lan(&ipv4("198.51.100.1", "203.0.113.2", 17, &udp(1, 2, b"")));
        }
        DropReason::NoRoute => {
            lab.routes.clear();
            lab.add_route("10.0.0.0/8", RouteKind::Blackhole);
            lab.from_lan(&to("198.51.100.1"));
        }
        DropReason::RouteBlackhole | DropReason::RouteUnreachable | DropReason::RouteProhibit => {
            let kind = match reason {
                DropReason::RouteBlackhole => RouteKind::Blackhole,
                DropReason::RouteUnreachable => RouteKind::Unreachable,
                _ => RouteKind::Prohibit,
            };
            lab.add_route("10.0.0.0/8", kind);
            lab.from_lan(&to("10.0.0.1"));
        }
        DropReason::ForwardingDisabled => {
            lab.router().forwarding = false;
            lab.from_lan(&to("203.0.113.2"));
        }
        DropReason::TtlExceeded => {
            let mut packet = to("203.0.113.2");
            packet[8] = 1;
            seal(&mut packet);
            lab.from_lan(&packet);
        }
        DropReason::PacketTooBig => {
            lab.interface(WAN).mtu = 600;
            lab.from_lan(&ipv4("192.168.1.1", "203.0.113.2", 17, &[0; 800]));
        }
        DropReason::NotFragmentable => {
            lab.interface(WAN).mtu = 24;
            let mut packet = ipv4("192.168.1.1", "203.0.113.2", 17, &[0; 800]);
            packet[6] = 0;
            seal(&mut packet);
            lab.from_lan(&packet);
        }
        DropReason::BeyondScope => lab.from_lan(&ipv6("fe80::5", "fd00:2::2", 17, &udp(1, 2, b""))),
        DropReason::GroupUnicast => lab.lab.send(0, &ethernet(MacAddr::BROADCAST, station(LAN, 1), &to("203.0.113.2"))),
        DropReason::NoListener => lab.from_lan(&to("192.168.1.254")),
        DropReason::RuleDrop => {
            lab.rules(&[base(Table::Filter, Hook::Forward, vec![rule(vec![], Target::Drop)])]);
            lab.from_lan(&to("203.0.113.2"));
        }
        DropReason::RuleReject => {
            lab.rules(&[base(Table::Filter, Hook::Forward, vec![rule(vec![], Target::Reject(RejectWith::Unreachable(3)))])]);
            lab.from_lan(&to("203.0.113.2"));
        }
        DropReason::ConntrackFull => {
            with_connections(lab, 1);
            // An answered connection is not dropped early.
            lab.from_lan(&tcp(("192.168.1.1", 1), ("203.0.113.2", 80), SYN, 1, 0, b""));
            lab.from_wan(&tcp(("203.0.113.2", 80), ("192.168.1.1", 1), SYN_ACK, 1, 2, b""));
            lab.from_lan(&tcp(("192.168.1.1", 1), ("203.0.113.2", 80), ACK, 2, 2, b""));
            lab.from_lan(&to("203.0.113.2"));
        }
        DropReason::ConntrackLimit => {
            lab.router().state.connections.set_quota(PortId(0), 1);
            lab.from_lan(&tcp(("192.168.1.1", 1), ("203.0.113.2", 80), SYN, 1, 0, b""));
            lab.from_wan(&tcp(("203.0.113.2", 80), ("192.168.1.1", 1), SYN_ACK, 1, 2, b""));
            lab.from_lan(&tcp(("192.168.1.1", 1), ("203.0.113.2", 80), ACK, 2, 2, b""));
            lab.from_lan(&to("203.0.113.2"));
        }
        DropReason::NatExhausted => {
            snat_to_one_port(lab);
            lab.from_lan(&to("203.0.113.2"));
            lab.from_lan(&ipv4("192.168.1.2", "203.0.113.2", 17, &udp(5000, 53, b"x")));
        }
        DropReason::NatFiltered => {
            snat_to_one_port(lab);
            lab.router().nat.filtering = Filtering::AddressDependent;
            lab.from_lan(&to("203.0.113.2"));
            lab.from_wan(&ipv4("198.51.100.66", "203.0.113.254", 17, &udp(53, 1000, b"x")));
        }
        DropReason::HelperFailed => {
            let ct = Target::Ct(Template { helper: Some(HelperKind::Ftp), ..Template::default() });
            lab.rules(&[base(Table::Raw, Hook::Prerouting, vec![rule(vec![tcp_only()], ct)])]);
            let (guest, server) = (("192.168.1.1", 1), ("203.0.113.2", 21));
            lab.from_lan(&tcp(guest, server, SYN, 1, 0, b""));
            lab.from_wan(&tcp(server, guest, SYN_ACK, 1, 2, b""));
            lab.from_lan(&tcp(guest, server, ACK, 2, 2, b""));
            lab.from_lan(&tcp(guest, server, ACK, 2, 2, b"USER x\r\n"));
            lab.from_lan(&tcp(guest, server, ACK, 10, 2, b"PORT 192,168,1"));
        }
        DropReason::SynProxyRefused => {
            lab.rules(&[base(Table::Filter, Hook::Forward, vec![rule(vec![tcp_only()], Target::SynProxy(SynProxy::default()))])]);
            lab.from_lan(&tcp(("192.168.1.1", 1), ("203.0.113.2", 80), ACK, 1, 7, b""));
        }
        DropReason::FragmentDuplicate => {
            lab.from_lan(&fragment(0, true, &[0; 8]));
            lab.from_lan(&fragment(0, true, &[0; 8]));
        }
        DropReason::FragmentOverlap => {
            lab.from_lan(&fragment(0, true, &[0; 16]));
            lab.from_lan(&fragment(8, true, &[0; 16]));
        }
        DropReason::FragmentInvalid => lab.from_lan(&fragment(0, true, &[0; 7])),
        DropReason::FragmentTimeout => {
            lab.from_lan(&fragment(0, true, &[0; 8]));
            lab.lab.pipeline.set_time(31 * SECOND);
            lab.lab.pipeline.send_waiting(&lab.lab.snapshot, 0);
        }
        DropReason::FragmentMemory => {
            for identification in 0..u16::MAX {
                let mut packet = ipv4("192.168.1.1", "203.0.113.2", 17, &[0; 1400]);
                packet[4..6].copy_from_slice(&identification.to_be_bytes());
                packet[6..8].copy_from_slice(&0x2000u16.to_be_bytes());
                seal(&mut packet);
                lab.from_lan(&packet);
                if lab.drops().iter().any(|(_, name, _)| *name == reason.name()) {
                    break;
                }
            }
        }
        DropReason::NeighborFailed => {
            let failed = Neighbour { address: ip("203.0.113.99"), mac: None, interface: WAN, ..lab.neighbours[0] };
            lab.neighbours.push(failed);
            lab.publish();
            lab.from_lan(&to("203.0.113.99"));
        }
        DropReason::NeighborQueueFull => {
            while lab.dropped(WAN_PORT, reason) == 0 {
                lab.from_lan(&to("203.0.113.99"));
            }
        }
        other => panic!("no case for {other}"),
    }
}

/// Reasons that take two workers, a table of thousands or a packet that no other part lets through; their own tests show them.
const ELSEWHERE: [DropReason; 3] = [DropReason::RouterHops, DropReason::ConntrackClash, DropReason::NatUntranslatable];

#[test]
fn every_reason_of_a_router_can_be_provoked_and_is_counted_where_it_belongs() {
    let mut wrong = Vec::new();
    for reason in ROUTER_REASONS.iter().filter(|reason| !ELSEWHERE.contains(reason)) {
        let mut lab = RouterLab::new();
        provoke(*reason, &mut lab);
        let port = match (*reason, reason.side()) {
            // Fragments that go are counted where they came in from outside.
            (DropReason::FragmentTimeout | DropReason::FragmentMemory, _) => 0,
            (DropReason::NatFiltered, _) | (_, Side::Egress) => WAN_PORT,
            (_, Side::Ingress) => LAN_PORT,
        };
        let mut drops = lab.drops();
        if *reason == DropReason::FragmentOverlap {
            // The fragment that waited goes as well.
            drops.retain(|(at, ..)| *at != 0);
        }
        if drops != [(port, reason.name(), 1)] {
            wrong.push((reason.name(), drops));
        }
        lab.lab.assert_conserved();
    }
    assert_eq!(wrong, []);
}
