//! The agent under a virtual clock, with frames built here.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::clock::Nanos;
use dataplane::router::fib::{Fib, Route, RouteKind};
use dataplane::router::neighbour::Neighbour;
use dataplane::router::{Address, Family, Interface, InterfaceAddress, InterfaceId, RpFilter};
use dataplane::snapshot::PortId;
use etherparse::ArpOperation;
use wire::MacAddr;

use super::frames::{self, Flags};
use super::*;

mod timers;

const SECOND: Nanos = 1_000_000_000;
const LAN: InterfaceId = InterfaceId(0);
const WAN: InterfaceId = InterfaceId(1);
const LAN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xaa]);
const HOST_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
const OTHER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x22]);

const ROUTER: RouterSettings =
    RouterSettings { forwarding: true, tables: [TableSettings { gc_thresh1: 128, gc_thresh2: 512, gc_thresh3: 1024 }; 2] };

fn ip4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn ip6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn key(interface: InterfaceId, text: &str) -> Key {
    let ip: IpAddr = text.parse().unwrap();
    Key { interface, family: ip.into(), address: ip.into() }
}

struct Lab {
    agent: NeighbourAgent,
    v4: Fib,
    v6: Fib,
    now: Nanos,
    sent: Vec<(InterfaceId, Vec<u8>)>,
    warnings: Vec<String>,
}

fn interface(name: &str, mac: MacAddr, addresses: &[(&str, u8)]) -> InterfaceSettings {
    let addresses = addresses.iter().map(|(text, prefix_len)| {
        let ip: IpAddr = text.parse().unwrap();
        InterfaceAddress { family: ip.into(), address: ip.into(), prefix_len: *prefix_len }
    });
    InterfaceSettings {
        name: name.to_owned(),
        mac,
        addresses: addresses.collect(),
        proxy_arp: false,
        proxy_arp_pvlan: false,
        proxy_ndp: BTreeSet::new(),
        neigh: [NeighbourSettings::ARP, NeighbourSettings::ND],
    }
}

fn interfaces() -> BTreeMap<InterfaceId, InterfaceSettings> {
    let lan = interface("lan", LAN_MAC, &[("192.168.45.2", 24), ("fe80::1", 64), ("2001:db8:1::1", 64)]);
    let wan = interface("wan", MacAddr([2, 0, 0, 0, 0, 0xbb]), &[("203.0.113.2", 30)]);
    BTreeMap::from([(LAN, lan), (WAN, wan)])
}

impl Lab {
    /// A router whose own addresses have settled: announced, and found to be nobody else's.
    fn settled() -> Lab {
        let mut lab = Lab::new(interfaces());
        lab.run_until(10 * SECOND);
        lab.sent.clear();
        lab
    }

    fn new(interfaces: BTreeMap<InterfaceId, InterfaceSettings>) -> Lab {
        let compiled: Vec<(InterfaceId, Interface)> = interfaces
            .iter()
            .map(|(id, settings)| {
                let addresses = settings.addresses.clone();
                (
                    *id,
                    Interface {
                        port: PortId(0),
                        mac: settings.mac,
                        mtu: 1500,
                        addresses,
                        rp_filter: RpFilter::Off,
                        waiting: Default::default(),
                    },
                )
            })
            .collect();
        let of = |family, default: &str| {
            let mut routes = Fib::routes_of(family, compiled.iter().map(|(id, interface)| (*id, interface)));
            let via = Some(default.parse::<IpAddr>().unwrap().into());
            routes.push(Route { prefix: Address(0), len: 0, kind: RouteKind::Unicast { interface: WAN, via }, metric: 0 });
            Fib::new(family, routes)
        };
        let (v4, v6) = (of(Family::V4, "203.0.113.1"), of(Family::V6, "fe80::9"));
        let mut agent = NeighbourAgent::new(7);
        agent.configure(0, ROUTER, interfaces, &[]);
        Lab { agent, v4, v6, now: 0, sent: Vec::new(), warnings: Vec::new() }
    }

    fn event(&mut self, event: Event<'_>) {
        let (mut out, v4, v6) = (Vec::new(), &self.v4, &self.v6);
        let routes = |family, address, interface| {
            let fib = if family == Family::V4 { v4 } else { v6 };
            fib.lookup_on(address, interface).map(|route| route.kind)
        };
        self.agent.handle(self.now, event, &routes, &mut out);
        for action in out {
            match action {
                Action::Send { interface, octets } => self.sent.push((interface, octets)),
                Action::Warn(text) => self.warnings.push(text),
            }
        }
    }

    fn frame(&mut self, interface: InterfaceId, octets: &[u8]) -> Vec<Vec<u8>> {
        let before = self.sent.len();
        self.event(Event::Frame { interface, octets });
        self.sent.drain(before..).map(|(_, octets)| octets).collect()
    }

    fn run_until(&mut self, end: Nanos) {
        while let Some(at) = self.agent.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.event(Event::Deadline);
        }
        self.now = end;
    }

    fn pass(&mut self, span: Nanos) {
        self.run_until(self.now + span);
    }

    fn take_sent(&mut self) -> Vec<(InterfaceId, Vec<u8>)> {
        std::mem::take(&mut self.sent)
    }

    fn state(&self, key: Key) -> Option<Nud> {
        self.agent.neighbours().find(|entry| entry.key == key).map(|entry| entry.state)
    }

    fn mac(&self, key: Key) -> Option<MacAddr> {
        self.agent.neighbours().find(|entry| entry.key == key).and_then(|entry| entry.mac)
    }
}

fn request(from_mac: MacAddr, from: &str, target: &str) -> Vec<u8> {
    frames::arp_request(from_mac, ip4(from), ip4(target), None)
}

fn reply(from_mac: MacAddr, from: &str) -> Vec<u8> {
    frames::arp_reply(from_mac, ip4(from), LAN_MAC, ip4("192.168.45.2"), None)
}

fn advert(mac: MacAddr, target: &str, solicited: bool, replace: bool) -> Vec<u8> {
    frames::advertisement(mac, ip6(target), ip6("fe80::1"), LAN_MAC, Flags { router: false, solicited, replace })
}

/// Source MAC, destination MAC, sender, target of a reply.
fn as_reply(octets: &[u8]) -> (MacAddr, Ipv4Addr, Ipv4Addr) {
    let arp = frames::arp(octets).expect("ARP");
    assert_eq!(arp.operation, ArpOperation::REPLY);
    assert_eq!(arp.sender_mac, octets[6..12]);
    (MacAddr::at(&octets[..6]), arp.sender_ipv4.into(), arp.target_ipv4.into())
}

#[test]
fn a_neighbour_is_resolved_probed_and_forgotten_as_in_linux() {
    let mut lab = Lab::settled();
    let host = key(LAN, "192.168.45.3");
    lab.event(Event::Needed(host));
    assert_eq!(lab.state(host), Some(Nud::Incomplete));
    lab.pass(0);
    let (at, octets) = lab.take_sent().remove(0);
    let arp = frames::arp(&octets).unwrap();
    assert_eq!((at, &octets[..6], arp.operation), (LAN, &[0xff; 6][..], ArpOperation::REQUEST));
    assert_eq!((arp.sender_ipv4, arp.target_ipv4), ([192, 168, 45, 2], [192, 168, 45, 3]));

    assert!(lab.frame(LAN, &reply(HOST_MAC, "192.168.45.3")).is_empty());
    assert_eq!((lab.state(host), lab.mac(host)), (Some(Nud::Reachable), Some(HOST_MAC)));
    let published = lab.agent.publication().unwrap();
    assert_eq!(published, [Neighbour { interface: LAN, family: Family::V4, address: host.address, mac: Some(HOST_MAC) }]);
    assert_eq!(lab.agent.publication(), None, "nothing new");

    // Reachable for 15 to 45 seconds, then stale without use.
    lab.pass(15 * SECOND - 1);
    assert_eq!(lab.state(host), Some(Nud::Reachable));
    lab.pass(30 * SECOND + 1);
    assert_eq!(lab.state(host), Some(Nud::Stale));
    assert!(lab.take_sent().is_empty());
    // A packet: five seconds of grace, then three probes to the known address, then it is gone.
    lab.event(Event::Used(host));
    assert_eq!(lab.state(host), Some(Nud::Delay));
    lab.pass(5 * SECOND);
    assert_eq!(lab.state(host), Some(Nud::Probe));
    lab.pass(2 * SECOND);
    let probes = lab.take_sent();
    assert_eq!(probes.len(), 3);
    assert!(probes.iter().all(|(_, octets)| octets[..6] == HOST_MAC.0 && frames::arp(octets).unwrap().target_mac == HOST_MAC.0));
    assert!(lab.agent.publication().is_none(), "packets still go to the known address");
    lab.pass(SECOND);
    assert_eq!(lab.state(host), Some(Nud::Failed));
    assert_eq!(lab.agent.publication().unwrap()[0].mac, None);
    lab.pass(SECOND);
    assert_eq!(lab.state(host), None);
    assert!(lab.agent.publication().unwrap().is_empty());
}

#[test]
fn an_answer_to_a_probe_confirms() {
    let mut lab = Lab::settled();
    let host = key(LAN, "192.168.45.3");
    lab.event(Event::Needed(host));
    lab.frame(LAN, &reply(HOST_MAC, "192.168.45.3"));
    // In use all the time: it goes from reachable straight to delay and is probed.
    for _ in 0..60 {
        lab.pass(SECOND);
        lab.event(Event::Used(host));
        if lab.state(host) == Some(Nud::Probe) {
            break;
        }
    }
    assert_eq!(lab.state(host), Some(Nud::Probe));
    lab.frame(LAN, &reply(HOST_MAC, "192.168.45.3"));
    assert_eq!(lab.state(host), Some(Nud::Reachable));
}

#[test]
fn who_does_not_answer_fails_after_three_requests() {
    for host in [key(LAN, "192.168.45.77"), key(LAN, "2001:db8:1::77")] {
        let mut lab = Lab::settled();
        lab.event(Event::Needed(host));
        lab.event(Event::Needed(host));
        lab.pass(3 * SECOND - 1);
        assert_eq!((lab.take_sent().len(), lab.state(host)), (3, Some(Nud::Incomplete)));
        assert!(lab.agent.publication().is_none());
        lab.pass(1);
        assert_eq!(lab.state(host), Some(Nud::Failed));
        assert_eq!(lab.agent.publication().unwrap()[0].mac, None);
    }
}

#[test]
fn requests_for_own_addresses_are_answered() {
    let mut lab = Lab::settled();
    let answer = lab.frame(LAN, &request(HOST_MAC, "192.168.45.3", "192.168.45.2"));
    assert_eq!(as_reply(&answer[0]), (HOST_MAC, ip4("192.168.45.2"), ip4("192.168.45.3")));
    assert_eq!(lab.state(key(LAN, "192.168.45.3")), Some(Nud::Stale), "who asks is likely to be answered soon");
    // The address of another interface, as Linux does with arp_ignore 0.
    let answer = lab.frame(LAN, &request(HOST_MAC, "192.168.45.3", "203.0.113.2"));
    assert_eq!(as_reply(&answer[0]).1, ip4("203.0.113.2"));
    // Somebody tries our address out.
    let answer = lab.frame(LAN, &request(OTHER_MAC, "0.0.0.0", "192.168.45.2"));
    assert_eq!(as_reply(&answer[0]), (OTHER_MAC, ip4("192.168.45.2"), ip4("0.0.0.0")));
    // Others are left alone.
    assert!(lab.frame(LAN, &request(HOST_MAC, "192.168.45.3", "192.168.45.4")).is_empty());
    assert!(lab.frame(LAN, &request(HOST_MAC, "192.168.45.3", "8.8.8.8")).is_empty());
    assert!(lab.frame(LAN, &request(HOST_MAC, "192.168.45.3", "224.0.0.1")).is_empty());
    assert!(lab.frame(LAN, &request(OTHER_MAC, "0.0.0.0", "192.168.45.9")).is_empty());
    // Who is not at the interface gets an answer, but no entry.
    assert_eq!(lab.frame(LAN, &request(HOST_MAC, "10.9.9.9", "192.168.45.2")).len(), 1);
    assert_eq!(lab.agent.neighbours().count(), 1);
}

#[test]
fn only_those_who_are_asked_are_entered() {
    let mut lab = Lab::settled();
    lab.frame(LAN, &reply(HOST_MAC, "192.168.45.3"));
    lab.frame(LAN, &request(HOST_MAC, "192.168.45.3", "192.168.45.3"));
    lab.frame(LAN, &request(HOST_MAC, "192.168.45.3", "192.168.45.4"));
    lab.frame(LAN, &advert(HOST_MAC, "2001:db8:1::3", true, true));
    assert_eq!(lab.agent.neighbours().count(), 0);
}

#[test]
fn a_known_address_changes_only_after_a_while_or_by_a_gratuitous_request() {
    let mut lab = Lab::settled();
    let host = key(LAN, "192.168.45.3");
    lab.event(Event::Needed(host));
    lab.frame(LAN, &reply(HOST_MAC, "192.168.45.3"));
    lab.frame(LAN, &reply(OTHER_MAC, "192.168.45.3"));
    assert_eq!(lab.mac(host), Some(HOST_MAC), "locktime");
    lab.frame(LAN, &request(OTHER_MAC, "192.168.45.3", "192.168.45.3"));
    assert_eq!((lab.mac(host), lab.state(host)), (Some(OTHER_MAC), Some(Nud::Stale)), "gratuitous");
    assert_eq!(lab.agent.publication().unwrap()[0].mac, Some(OTHER_MAC));
    lab.pass(SECOND);
    lab.frame(LAN, &reply(HOST_MAC, "192.168.45.3"));
    assert_eq!((lab.mac(host), lab.state(host)), (Some(HOST_MAC), Some(Nud::Reachable)));
}

#[test]
fn addresses_are_announced_at_start_and_when_they_or_the_mac_change() {
    let mut lab = Lab::new(interfaces());
    lab.run_until(10 * SECOND);
    let announced = |lab: &mut Lab| {
        let mut list: Vec<String> = Vec::new();
        for (_, octets) in lab.take_sent() {
            match (frames::arp(&octets), frames::message(&octets)) {
                (Some(arp), _) => {
                    assert!(arp.sender_ipv4 == arp.target_ipv4 && octets[..6] == [0xff; 6]);
                    list.push(Ipv4Addr::from(arp.sender_ipv4).to_string());
                }
                (None, Some(message)) if message.advertisement.is_some() => {
                    let flags = Flags { router: true, solicited: false, replace: true };
                    assert_eq!((message.advertisement, message.destination), (Some(flags), frames::ALL_NODES));
                    list.push(message.target.to_string());
                }
                (None, Some(message)) => {
                    assert!(message.source.is_unspecified(), "duplicate address detection");
                    list.push(format!("dad {}", message.target));
                }
                _ => panic!("{octets:02x?}"),
            }
        }
        list.sort();
        list
    };
    let twice = |one: &[&str]| {
        let mut list: Vec<String> = one.iter().flat_map(|text| [text.to_string(), text.to_string()]).collect();
        list.sort();
        list
    };
    let mut first = twice(&["192.168.45.2", "203.0.113.2", "fe80::1", "2001:db8:1::1"]);
    first.extend(["dad 2001:db8:1::1".to_owned(), "dad fe80::1".to_owned()]);
    first.sort();
    assert_eq!(announced(&mut lab), first);

    lab.agent.configure(lab.now, ROUTER, interfaces(), &[]);
    lab.pass(10 * SECOND);
    assert!(announced(&mut lab).is_empty(), "nothing changed");
    let mut changed = interfaces();
    changed.get_mut(&LAN).unwrap().mac = OTHER_MAC;
    changed.get_mut(&WAN).unwrap().addresses = interface("wan", OTHER_MAC, &[("203.0.113.6", 30)]).addresses;
    lab.agent.configure(lab.now, ROUTER, changed, &[]);
    lab.pass(10 * SECOND);
    assert_eq!(announced(&mut lab), twice(&["192.168.45.2", "203.0.113.6", "fe80::1", "2001:db8:1::1"]));
}

#[test]
fn a_conflict_is_answered_once_in_ten_seconds() {
    let mut lab = Lab::settled();
    let claim = request(OTHER_MAC, "192.168.45.2", "192.168.45.2");
    for _ in 0..95 {
        lab.frame(LAN, &claim).into_iter().for_each(|octets| lab.sent.push((LAN, octets)));
        lab.pass(SECOND / 10);
    }
    assert_eq!((lab.take_sent().len(), lab.warnings.len()), (1, 1));
    assert!(
        lab.warnings[0].contains("\"lan\"") && lab.warnings[0].contains("192.168.45.2") && lab.warnings[0].contains(&OTHER_MAC.to_string())
    );
    lab.pass(SECOND);
    let defence = lab.frame(LAN, &reply(OTHER_MAC, "192.168.45.2"));
    let arp = frames::arp(&defence[0]).unwrap();
    assert_eq!((arp.sender_ipv4, arp.target_ipv4, arp.sender_mac), ([192, 168, 45, 2], [192, 168, 45, 2], LAN_MAC.0));
    assert!(lab.frame(LAN, &request(LAN_MAC, "192.168.45.2", "192.168.45.2")).is_empty(), "our own, come back");
}

#[test]
fn proxy_arp() {
    let asked = |proxy_arp, proxy_arp_pvlan, target: &str, unicast: bool| {
        let mut settings = interfaces();
        let lan = settings.get_mut(&LAN).unwrap();
        (lan.proxy_arp, lan.proxy_arp_pvlan) = (proxy_arp, proxy_arp_pvlan);
        let mut lab = Lab::new(settings);
        lab.run_until(10 * SECOND);
        lab.sent.clear();
        let mut octets = request(HOST_MAC, "192.168.45.3", target);
        if unicast {
            octets[..6].copy_from_slice(&LAN_MAC.0);
        }
        let now = lab.frame(LAN, &octets).len();
        lab.pass(8 * SECOND / 10);
        let later = lab.take_sent();
        assert!(later.iter().all(|(_, octets)| as_reply(octets).1 == ip4(target)));
        (now, later.len())
    };
    assert_eq!(asked(true, false, "8.8.8.8", false), (0, 1), "behind another interface, after a while");
    assert_eq!(asked(true, false, "8.8.8.8", true), (1, 0), "who asks us alone is answered at once");
    assert_eq!(asked(false, false, "8.8.8.8", false), (0, 0));
    assert_eq!(asked(true, false, "192.168.45.9", false), (0, 0), "the same interface");
    assert_eq!(asked(false, true, "192.168.45.9", false), (0, 1), "private VLAN");
    assert_eq!(asked(false, true, "8.8.8.8", false), (0, 0));
    assert_eq!(asked(false, true, "192.168.45.3", false), (0, 0), "gratuitous");
    assert_eq!(asked(true, true, "192.168.45.255", false), (0, 0), "broadcast");
}

#[test]
fn an_arp_flood_pushes_out_nobody_in_use() {
    let mut lab = Lab::settled();
    let used: Vec<Key> = (3..53).map(|i| key(LAN, &format!("192.168.45.{i}"))).collect();
    for host in &used {
        lab.event(Event::Needed(*host));
        lab.frame(LAN, &reply(HOST_MAC, &Address::display(host.address, Family::V4).to_string()));
    }
    let gateway = key(WAN, "203.0.113.1");
    lab.frame(WAN, &request(OTHER_MAC, "203.0.113.1", "203.0.113.2"));
    // IPv4 has 254 addresses here, so the flood is of solicitations.
    for i in 0..5_000u32 {
        let from = ip6(&format!("2001:db8:1::{:x}:{:x}", i >> 16 | 1, i & 0xffff));
        let octets = frames::neighbour_solicitation(HOST_MAC, from, ip6("2001:db8:1::1"), None);
        assert_eq!(lab.frame(LAN, &octets).len(), 1, "each is answered");
    }
    let v6 = |lab: &Lab| lab.agent.neighbours().filter(|entry| entry.key.family == Family::V6).count();
    assert_eq!(v6(&lab), TableSettings::default().gc_thresh3);
    assert!(used.iter().all(|host| lab.state(*host) == Some(Nud::Reachable)));
    assert_eq!(lab.state(gateway), Some(Nud::Stale), "another interface does not pay for it");
    // Packets to addresses nobody has do not either.
    for i in 0..3000 {
        lab.event(Event::Needed(key(LAN, &format!("2001:db8:1::ffff:{i:x}"))));
    }
    assert_eq!(v6(&lab), TableSettings::default().gc_thresh3);
    assert!(used.iter().all(|host| lab.state(*host) == Some(Nud::Reachable)) && lab.state(gateway).is_some());
}

#[test]
fn a_table_of_neighbours_in_use_refuses_its_own_interface_but_not_another() {
    let mut lab = Lab::settled();
    let full = TableSettings::default().gc_thresh3;
    for i in 0..full {
        let host = format!("2001:db8:1::1:{i:x}");
        lab.event(Event::Needed(key(LAN, &host)));
        lab.frame(LAN, &advert(HOST_MAC, &host, true, true));
    }
    let (here, there) = (key(LAN, "2001:db8:1::2:1"), key(WAN, "fe80::9"));
    lab.event(Event::Needed(here));
    assert_eq!((lab.state(here), lab.agent.table_full(), lab.warnings.len()), (None, 1, 1));
    lab.event(Event::Needed(there));
    assert_eq!(lab.state(there), Some(Nud::Incomplete));
    assert_eq!(lab.agent.neighbours().count(), full);
    // The tables of the families are apart.
    lab.event(Event::Needed(key(LAN, "192.168.45.3")));
    assert_eq!(lab.agent.neighbours().count(), full + 1);
}

#[test]
fn solicitations_are_answered_and_neighbours_solicited() {
    let mut lab = Lab::settled();
    let octets = frames::neighbour_solicitation(HOST_MAC, ip6("2001:db8:1::3"), ip6("2001:db8:1::1"), None);
    let answer = lab.frame(LAN, &octets);
    let message = frames::message(&answer[0]).unwrap();
    assert_eq!(message.advertisement, Some(Flags { router: true, solicited: true, replace: true }));
    assert_eq!((message.source, message.destination), (ip6("2001:db8:1::1"), ip6("2001:db8:1::3")));
    assert_eq!((message.link_layer_address, &answer[0][..6]), (Some(LAN_MAC), &HOST_MAC.0[..]));
    assert_eq!(lab.state(key(LAN, "2001:db8:1::3")), Some(Nud::Stale));
    // Who tries our address out is told before all.
    let octets = frames::neighbour_solicitation(HOST_MAC, Ipv6Addr::UNSPECIFIED, ip6("2001:db8:1::1"), None);
    let message = frames::message(&lab.frame(LAN, &octets)[0]).unwrap();
    assert_eq!(message.advertisement, Some(Flags { router: true, solicited: false, replace: true }));
    assert_eq!(message.destination, frames::ALL_NODES);
    // Not ours, or ours at another interface.
    let octets = frames::neighbour_solicitation(HOST_MAC, ip6("2001:db8:1::3"), ip6("2001:db8:1::2"), None);
    assert!(lab.frame(LAN, &octets).is_empty());
    let octets = frames::neighbour_solicitation(HOST_MAC, ip6("fe80::3"), ip6("2001:db8:1::1"), None);
    assert!(lab.frame(WAN, &octets).is_empty());

    let host = key(LAN, "fe80::55");
    lab.event(Event::Needed(host));
    let message = frames::message(&lab.take_sent()[0].1).unwrap();
    assert_eq!((message.source, message.target, message.link_layer_address), (ip6("fe80::1"), ip6("fe80::55"), Some(LAN_MAC)));
    assert_eq!(message.destination, ip6("ff02::1:ff00:55"));
    lab.frame(LAN, &advert(HOST_MAC, "fe80::55", true, true));
    assert_eq!(lab.state(host), Some(Nud::Reachable));
    // RFC 4861 section 7.2.5: without the override flag the known address is doubted, not replaced.
    lab.frame(LAN, &advert(OTHER_MAC, "fe80::55", true, false));
    assert_eq!((lab.state(host), lab.mac(host)), (Some(Nud::Stale), Some(HOST_MAC)));
    lab.frame(LAN, &advert(OTHER_MAC, "fe80::55", false, true));
    assert_eq!((lab.state(host), lab.mac(host)), (Some(Nud::Stale), Some(OTHER_MAC)));
}

#[test]
fn what_is_not_from_the_link_is_not_taken() {
    let mut lab = Lab::settled();
    let good = frames::neighbour_solicitation(HOST_MAC, ip6("2001:db8:1::3"), ip6("2001:db8:1::1"), None);
    assert_eq!(lab.frame(LAN, &good).len(), 1);
    for (at, value, why) in [(21, 254, "hop limit"), (56, 9, "checksum"), (55, 1, "code"), (79, 0, "an option without length")] {
        let mut octets = good.clone();
        octets[at] = value;
        assert!(lab.frame(LAN, &octets).is_empty(), "{why}");
    }
    for len in 0..good.len() - 1 {
        lab.frame(LAN, &good[..len]);
        lab.frame(LAN, &request(HOST_MAC, "192.168.45.3", "192.168.45.2")[..len.min(60)]);
    }
}

#[test]
fn an_address_that_another_station_has_is_not_used() {
    let mut lab = Lab::new(interfaces());
    lab.now = 1;
    // Nothing is answered while nobody was asked.
    let ask = frames::neighbour_solicitation(HOST_MAC, ip6("2001:db8:1::3"), ip6("2001:db8:1::1"), None);
    assert!(lab.frame(LAN, &ask).is_empty());
    lab.event(Event::Needed(key(LAN, "2001:db8:1::3")));
    assert!(lab.take_sent().is_empty(), "no source to ask from");
    lab.frame(LAN, &advert(OTHER_MAC, "2001:db8:1::1", false, true));
    // Another station tries the same address out at the same time.
    let tries = frames::neighbour_solicitation(OTHER_MAC, Ipv6Addr::UNSPECIFIED, ip6("fe80::1"), None);
    lab.frame(LAN, &tries);
    lab.run_until(10 * SECOND);
    assert_eq!(lab.agent.duplicates().collect::<Vec<_>>(), [key(LAN, "2001:db8:1::1"), key(LAN, "fe80::1")]);
    assert_eq!(lab.warnings.len(), 2);
    assert!(lab.take_sent().iter().all(|(_, octets)| frames::message(octets).is_none()), "nothing said of either");
    assert!(lab.frame(LAN, &ask).is_empty());
}

#[test]
fn proxied_solicitations() {
    let mut settings = interfaces();
    settings.get_mut(&LAN).unwrap().proxy_ndp.insert(ip6("2001:db8:2::5").into());
    let mut lab = Lab::new(settings);
    lab.run_until(10 * SECOND);
    lab.sent.clear();
    let ask = |target: &str| frames::neighbour_solicitation(HOST_MAC, ip6("2001:db8:1::3"), ip6(target), None);
    assert!(lab.frame(LAN, &ask("2001:db8:2::5")).is_empty() && lab.frame(LAN, &ask("2001:db8:2::6")).is_empty());
    lab.pass(SECOND);
    let sent = lab.take_sent();
    let message = frames::message(&sent[0].1).unwrap();
    assert_eq!((sent.len(), message.target, message.link_layer_address), (1, ip6("2001:db8:2::5"), Some(LAN_MAC)));
    assert_eq!(message.advertisement, Some(Flags { router: true, solicited: true, replace: false }), "the station itself comes first");
}

#[test]
fn permanent_neighbours_stay_as_they_are_configured() {
    let mut lab = Lab::settled();
    let host = key(LAN, "192.168.45.3");
    lab.agent.configure(lab.now, ROUTER, interfaces(), &[(host, HOST_MAC)]);
    assert_eq!(lab.agent.publication().unwrap()[0].mac, Some(HOST_MAC));
    lab.frame(LAN, &request(OTHER_MAC, "192.168.45.3", "192.168.45.3"));
    lab.frame(LAN, &request(OTHER_MAC, "192.168.45.3", "192.168.45.2"));
    lab.pass(1000 * SECOND);
    assert_eq!((lab.state(host), lab.mac(host)), (Some(Nud::Permanent), Some(HOST_MAC)));
    lab.agent.configure(lab.now, ROUTER, interfaces(), &[]);
    assert_eq!(lab.state(host), None);
    let mut without = interfaces();
    without.remove(&LAN);
    lab.frame(LAN, &request(HOST_MAC, "192.168.45.3", "192.168.45.2"));
    lab.agent.configure(lab.now, ROUTER, without, &[]);
    assert_eq!(lab.agent.neighbours().count(), 0);
}
