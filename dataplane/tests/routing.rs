//! Packets through a router: where they go, what of them changes, and what their senders are told.

mod lab;

use dataplane::router::RpFilter;
use dataplane::router::fib::RouteKind;
use dataplane::rules::{Hook, Table, Target};
use dataplane::{DropReason, frame::HEAD_MAX};
use lab::router::{LAN, LAN_PORT, RouterLab, WAN, WAN_MAC, WAN_PORT, base, echo, ethernet, ip, ipv4, ipv6, rule, seal, station, tcp, udp};
use wire::MacAddr;

fn ttl_less(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 4 {
        packet[8] -= 1;
        seal(&mut packet);
    } else {
        packet[7] -= 1;
    }
    packet
}

#[test]
fn a_packet_goes_to_the_next_hop_with_the_addresses_of_the_link_and_one_hop_less() {
    let mut lab = RouterLab::new();
    let packet = ipv4("192.168.1.1", "198.51.100.7", 17, &udp(5000, 53, b"question"));
    lab.from_lan(&packet);
    let frames = lab.lab.out(2);
    assert_eq!(frames, [ethernet(station(WAN, 1), WAN_MAC, &ttl_less(&packet))[..14 + packet.len()].to_vec()]);
    let packet = ipv6("fd00:1::1", "2001:db8::7", 17, &udp(5000, 53, b"question"));
    lab.from_lan(&packet);
    assert_eq!(lab.got(WAN), [ttl_less(&packet)]);
    assert_eq!(lab.drops(), []);
    lab.lab.assert_conserved();
}

#[test]
fn the_padding_of_a_short_frame_is_not_forwarded() {
    let mut lab = RouterLab::new();
    let packet = ipv4("192.168.1.1", "203.0.113.2", 17, &udp(1, 2, b""));
    lab.from_lan(&packet);
    assert_eq!(lab.got(WAN), [ttl_less(&packet)]);
}

#[test]
fn a_long_payload_passes_untouched() {
    let mut lab = RouterLab::new();
    let payload: Vec<u8> = (0..1400u32).map(|i| (i * 7) as u8).collect();
    assert!(payload.len() > HEAD_MAX);
    let packet = ipv4("192.168.1.1", "203.0.113.2", 17, &udp(1, 2, &payload));
    lab.from_lan(&packet);
    assert_eq!(lab.got(WAN), [ttl_less(&packet)]);
}

#[test]
fn stations_of_one_network_reach_each_other_without_the_router() {
    let mut lab = RouterLab::new();
    let packet = ipv4("192.168.1.1", "192.168.1.2", 17, &udp(1, 2, b"x"));
    lab.lab.send(1, &ethernet(station(LAN, 2), station(LAN, 10), &packet));
    assert_eq!(lab.got(LAN), [ethernet(station(LAN, 2), station(LAN, 10), &packet)[14..].to_vec()]);
    assert_eq!((lab.lab.counters(LAN_PORT).tx_packets.get(), lab.drops().len()), (0, 0));
}

#[test]
fn the_router_answers_echo_requests_for_each_of_its_addresses() {
    let mut lab = RouterLab::new();
    for address in ["192.168.1.254", "203.0.113.254"] {
        lab.from_lan(&ipv4("192.168.1.1", address, 1, &echo(7)));
        let got = lab.got(LAN);
        assert_eq!(got.len(), 1, "{:?}", lab.drops());
        assert_eq!((&got[0][12..16], &got[0][16..20]), (&ip(address).0.to_be_bytes()[12..], &[192, 168, 1, 1][..]));
        assert_eq!((got[0][20], got[0][8], &got[0][24..26]), (0, 64, &7u16.to_be_bytes()[..]));
    }
    lab.lab.assert_conserved();
}

#[test]
fn a_hop_too_many_is_reported_from_the_address_towards_the_sender() {
    let mut lab = RouterLab::new();
    let mut packet = ipv4("192.168.1.1", "198.51.100.7", 17, &udp(33434, 33434, b"probe"));
    packet[8] = 1;
    seal(&mut packet);
    lab.from_lan(&packet);
    let got = lab.got(LAN);
    assert_eq!((got[0][9], got[0][20], got[0][21]), (1, 11, 0), "time exceeded");
    assert_eq!(got[0][12..20], [192, 168, 1, 254, 192, 168, 1, 1]);
    assert_eq!(got[0][28..], packet, "the packet as it was");
    assert_eq!(lab.drops(), [(LAN_PORT, "ttl-exceeded", 1)]);
    lab.lab.assert_conserved();
    let mut packet = ipv6("fd00:1::1", "2001:db8::7", 17, &udp(1, 2, b"probe"));
    packet[7] = 1;
    lab.from_lan(&packet);
    let got = lab.got(LAN);
    assert_eq!((got[0][6], got[0][40], got[0][41]), (58, 3, 0));
    assert_eq!(got[0][8..24], ip("fd00:1::fe").0.to_be_bytes());
}

#[test]
fn what_is_too_long_for_the_way_out_is_reported_or_cut() {
    let mut lab = RouterLab::new();
    lab.interface(WAN).mtu = 1280;
    let packet = ipv4("192.168.1.1", "203.0.113.2", 17, &udp(1, 2, &[9; 1300]));
    lab.from_lan(&packet);
    let got = lab.got(LAN);
    assert_eq!((got[0][20], got[0][21], &got[0][26..28]), (3, 4, &1280u16.to_be_bytes()[..]));
    assert_eq!(lab.drops(), [(LAN_PORT, "packet-too-big", 1)]);
    let mut allowed = packet.clone();
    allowed[6] = 0;
    seal(&mut allowed);
    lab.from_lan(&allowed);
    let got = lab.got(WAN);
    let payload: Vec<u8> = got.iter().flat_map(|fragment| fragment[20..].to_vec()).collect();
    assert!(got.len() == 2 && got.iter().all(|fragment| fragment.len() <= 1280));
    assert_eq!(payload, packet[20..]);
    let packet = ipv6("fd00:1::1", "fd00:2::2", 17, &udp(1, 2, &[9; 1300]));
    lab.from_lan(&packet);
    let got = lab.got(LAN);
    assert_eq!((got[0][40], &got[0][44..48]), (2, &1280u32.to_be_bytes()[..]));
    lab.lab.assert_conserved();
}

#[test]
fn fragments_are_put_together_and_cut_again() {
    let mut lab = RouterLab::new();
    let whole = ipv4("192.168.1.1", "203.0.113.2", 17, &udp(1, 2, &[7; 1192]));
    let fragment = |offset: usize, len: usize, more: bool| {
        let mut fragment = ipv4("192.168.1.1", "203.0.113.2", 17, &whole[20 + offset..20 + offset + len]);
        let field = (offset / 8) as u16 | if more { 0x2000 } else { 0 };
        fragment[6..8].copy_from_slice(&field.to_be_bytes());
        seal(&mut fragment);
        fragment
    };
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let parts = [fragment(0, 400, true), fragment(400, 400, true), fragment(800, 400, false)];
        order.iter().for_each(|i| lab.from_lan(&parts[*i]));
        let got = lab.got(WAN);
        assert_eq!(got, parts.iter().map(|part| ttl_less(part)).collect::<Vec<_>>(), "{order:?} {:?}", lab.drops());
    }
    lab.lab.assert_conserved();
}

#[test]
fn routes_that_lead_nowhere_say_so_or_not() {
    let mut lab = RouterLab::new();
    lab.add_route("10.1.0.0/16", RouteKind::Blackhole);
    lab.add_route("10.2.0.0/16", RouteKind::Unreachable);
    lab.add_route("10.3.0.0/16", RouteKind::Prohibit);
    for (to, code) in [("10.1.0.1", None), ("10.2.0.1", Some(1)), ("10.3.0.1", Some(13))] {
        lab.from_lan(&ipv4("192.168.1.1", to, 17, &udp(1, 2, b"x")));
        let codes: Vec<(u8, u8)> = lab.got(LAN).iter().map(|packet| (packet[20], packet[21])).collect();
        assert_eq!(codes, Vec::from_iter(code.map(|code| (3, code))), "{to}");
    }
    let reasons = ["route-blackhole", "route-unreachable", "route-prohibit"];
    assert_eq!(lab.drops(), reasons.map(|reason| (LAN_PORT, reason, 1)));
}

#[test]
fn a_router_that_does_not_forward_is_still_a_host() {
    let mut lab = RouterLab::new();
    lab.router().forwarding = false;
    lab.from_lan(&ipv4("192.168.1.1", "203.0.113.2", 17, &udp(1, 2, b"x")));
    assert_eq!(lab.drops(), [(LAN_PORT, "forwarding-disabled", 1)]);
    lab.from_lan(&ipv4("192.168.1.1", "203.0.113.254", 1, &echo(1)));
    assert_eq!(lab.got(LAN).len(), 1);
}

#[test]
fn the_reverse_path_filter_is_linux_rp_filter() {
    let spoofed = ipv4("198.51.100.9", "203.0.113.2", 17, &udp(1, 2, b"x"));
    for (filter, passes) in [(RpFilter::Off, true), (RpFilter::Loose, true), (RpFilter::Strict, false)] {
        let mut lab = RouterLab::new();
        lab.interface(LAN).rp_filter = filter;
        lab.from_lan(&spoofed);
        assert_eq!((lab.got(WAN).len() == 1, lab.dropped(LAN_PORT, DropReason::RpFilter) == 0), (passes, passes), "{filter:?}");
    }
    let mut lab = RouterLab::new();
    lab.from_lan(&ipv4("192.168.1.254", "203.0.113.2", 17, &udp(1, 2, b"x")));
    assert_eq!(lab.drops(), [(LAN_PORT, "rp-filter", 1)], "an address of the router itself");
}

#[test]
fn a_packet_waits_until_its_neighbour_is_known_and_the_sender_hears_of_one_that_is_not() {
    let mut lab = RouterLab::new();
    let to_lan = |n: u8| ipv4("203.0.113.1", &format!("192.168.1.{n}"), 17, &udp(1, 2, &[n]));
    lab.from_wan(&to_lan(77));
    lab.from_wan(&to_lan(78));
    assert_eq!((lab.got(LAN), lab.drops()), (vec![], vec![]));
    let asked: Vec<_> = std::iter::from_fn(|| lab.lab.events.pop()).collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
    let mut known = lab.neighbours[0];
    (known.address, known.mac) = (ip("192.168.1.77"), Some(station(LAN, 1)));
    lab.neighbours.extend([known, dataplane::router::neighbour::Neighbour { address: ip("192.168.1.78"), mac: None, ..known }]);
    lab.publish();
    assert!(lab.lab.pipeline.has_waiting());
    lab.lab.pipeline.send_waiting(&lab.lab.snapshot, 0);
    assert!(!lab.lab.pipeline.has_waiting());
    assert_eq!(lab.got(LAN), [ttl_less(&to_lan(77))]);
    let got = lab.got(WAN);
    assert_eq!((got.len(), got[0][20], got[0][21]), (1, 3, 1), "host unreachable");
    assert_eq!(lab.drops(), [(LAN_PORT, "neighbor-failed", 1)]);
    lab.lab.assert_conserved();
}

#[test]
fn closed_ports_of_the_router_answer_as_a_host_does() {
    let mut lab = RouterLab::new();
    lab.from_lan(&ipv4("192.168.1.1", "192.168.1.254", 17, &udp(5000, 53, b"x")));
    let got = lab.got(LAN);
    assert_eq!((got[0][20], got[0][21]), (3, 3), "port unreachable");
    lab.from_lan(&ipv4("192.168.1.1", "192.168.1.254", 250, b"what"));
    let got = lab.got(LAN);
    assert_eq!((got[0][20], got[0][21]), (3, 2), "protocol unreachable");
    assert_eq!(lab.drops(), [(LAN_PORT, "no-listener", 2)]);
    lab.lab.assert_conserved();
}

/// As in Linux, where the route is looked up before the packet is made.
#[test]
fn what_the_router_would_answer_to_where_no_route_leads_meets_no_rule() {
    let mut lab = RouterLab::new();
    lab.add_route("10.1.0.0/16", RouteKind::Blackhole);
    lab.rules(&[base(Table::Mangle, Hook::Output, vec![rule(vec![], Target::Drop)])]);
    lab.from_lan(&tcp(("10.1.0.1", 1024), ("192.168.1.254", 80), 2, 1, 0, b""));
    assert_eq!((lab.got(LAN).len(), lab.got(WAN).len()), (0, 0));
    assert_eq!(lab.dropped(LAN_PORT, DropReason::NoRoute), 1, "{:?}", lab.drops());
    lab.from_lan(&tcp(("192.168.1.1", 1024), ("192.168.1.254", 80), 2, 1, 0, b""));
    assert_eq!(lab.dropped(LAN_PORT, DropReason::NoRoute), 1, "an answer with a route meets the rule: {:?}", lab.drops());
    assert_eq!(lab.got(LAN).len(), 0);
    lab.lab.assert_conserved();
}

#[test]
fn arp_and_neighbour_discovery_go_to_control() {
    let mut lab = RouterLab::new();
    let arp = |from: MacAddr| {
        let mut octets = lab::frame(MacAddr::BROADCAST, from);
        octets[12..14].copy_from_slice(&[0x08, 0x06]);
        octets
    };
    lab.lab.send(0, &arp(station(LAN, 1)));
    let punted = lab.lab.events.punted_by_routers.pop().unwrap();
    assert_eq!((usize::from(punted.port.0), &punted.octets[..]), (LAN_PORT, &arp(station(LAN, 1))[..]));
    assert_eq!(lab.lab.out(1).len(), 1, "and to the other stations");
    lab.lab.assert_conserved();
}

#[test]
fn a_packet_for_one_in_a_frame_for_many_is_not_forwarded() {
    let mut lab = RouterLab::new();
    let packet = ipv4("192.168.1.1", "203.0.113.2", 17, &udp(1, 2, b"x"));
    lab.lab.send(0, &ethernet(MacAddr::BROADCAST, station(LAN, 1), &packet));
    assert_eq!(lab.drops(), [(LAN_PORT, "group-unicast", 1)]);
    assert_eq!(lab.lab.out(1).len(), 1, "the other station of the switch has it");
    lab.lab.assert_conserved();
    let _ = WAN_PORT;
}
