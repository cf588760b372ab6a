//! What the first packet of a flow becomes, as Linux decides it (`mapping: AddressAndPortDependent`).

use std::cell::Cell;
use std::collections::HashSet;

use wire::ip_protocol;

use super::packets::{Spec, v4, v6};
use super::world::{Fate, Rules, World, ZONE, begins};
use crate::conntrack::{Domain, Status, Tuple};
use crate::nat::unique::{Wanted, search};
use crate::nat::{BindError, Flows, Manip, MappingBehaviour, NatRange, Settings};
use crate::router::address::{Address, Family};

fn linux() -> World {
    World::new(Settings { mapping: MappingBehaviour::AddressAndPortDependent, ..Settings::default() })
}

fn udp(source: (&str, u16), destination: (&str, u16)) -> Vec<u8> {
    Spec::new(ip_protocol::UDP, source, destination).packet()
}

fn snat(range: NatRange) -> Rules {
    Rules { snat: Some(range), ..Rules::default() }
}

fn dnat(range: NatRange) -> Rules {
    Rules { dnat: Some(range), ..Rules::default() }
}

fn public() -> NatRange {
    NatRange::address(v4("198.51.100.1"))
}

#[test]
fn a_free_port_is_kept_and_one_endpoint_serves_many_remotes() {
    let mut nat = linux();
    for (host, remote) in [("10.0.0.2", "203.0.113.1"), ("10.0.0.3", "203.0.113.2"), ("10.0.0.4", "203.0.113.3")] {
        let source = nat.pass(&udp((host, 5000), (remote, 53)), snat(public())).source();
        assert_eq!(source, (v4("198.51.100.1"), 5000));
    }
}

/// Spec 2.9 test 2, and the classes of ports: what is privileged stays so, and the other way round.
#[test]
fn a_taken_port_is_moved_within_its_class() {
    for (port, low, high) in [(22, 1, 511), (511, 1, 511), (512, 600, 1023), (1023, 600, 1023), (1024, 1024, 65535), (40000, 1024, 65535)] {
        let mut nat = linux();
        let mut seen = HashSet::from([port]);
        nat.pass(&udp(("10.0.0.2", port), ("203.0.113.1", 53)), snat(public())).octets();
        for host in 3..40 {
            let host = format!("10.0.0.{host}");
            let (_, moved) = nat.pass(&udp((&host, port), ("203.0.113.1", 53)), snat(public())).source();
            assert!((low..=high).contains(&moved) && seen.insert(moved), "{port} became {moved}");
        }
    }
}

/// `find_appropriate_src`: where the source had to be moved for one remote, it is the same for the next if that is free.
#[test]
fn the_former_source_is_preferred() {
    let mut nat = linux();
    nat.pass(&udp(("10.0.0.2", 5000), ("203.0.113.1", 53)), snat(public())).octets();
    let moved = nat.pass(&udp(("10.0.0.3", 5000), ("203.0.113.1", 53)), snat(public())).source();
    assert_ne!(moved.1, 5000);
    assert_eq!(nat.pass(&udp(("10.0.0.3", 5000), ("203.0.113.2", 53)), snat(public())).source(), moved);
    // A rule that cannot choose it chooses anew, and so does everybody when the flows are gone.
    let other = NatRange { ports: Some((5000, 5000)), ..public() };
    assert_eq!(nat.pass(&udp(("10.0.0.3", 5000), ("203.0.113.3", 53)), snat(other)).source().1, 5000);
    nat.flush_flows();
    nat.advance(super::world::SECOND);
    assert_eq!(nat.pass(&udp(("10.0.0.3", 5000), ("203.0.113.4", 53)), snat(public())).source().1, 5000);
}

/// Spec 2.9 test 3: of a pool of two ports the third flow gets none. To another remote they are free.
#[test]
fn a_pool_of_two_ports() {
    let mut nat = linux();
    let pool = NatRange { ports: Some((7000, 7001)), ..public() };
    let mut seen = HashSet::new();
    for host in ["10.0.0.2", "10.0.0.3"] {
        seen.insert(nat.pass(&udp((host, 5000), ("203.0.113.1", 53)), snat(pool)).source().1);
    }
    assert_eq!(seen, HashSet::from([7000, 7001]));
    let third = udp(("10.0.0.4", 5000), ("203.0.113.1", 53));
    assert_eq!(nat.pass(&third, snat(pool)), Fate::Unbound(BindError::Exhausted));
    assert!((7000..=7001).contains(&nat.pass(&udp(("10.0.0.4", 5000), ("203.0.113.2", 53)), snat(pool)).source().1));
    assert!(matches!(nat.pass(&third, snat(NatRange { ports: Some((7001, 7002)), ..public() })), Fate::Sent(_)));
}

#[test]
fn a_port_in_the_range_is_kept_and_ends_may_be_swapped() {
    let mut nat = linux();
    let range = NatRange { ports: Some((6000, 5000)), ..public() };
    assert_eq!(nat.pass(&udp(("10.0.0.2", 5500), ("203.0.113.1", 53)), snat(range)).source().1, 5500);
    assert!((5000..=6000).contains(&nat.pass(&udp(("10.0.0.2", 80), ("203.0.113.1", 53)), snat(range)).source().1));
}

/// `ip_local_port_range`: for rules that name no ports, with UDP parity; a port in it is kept.
#[test]
fn a_range_for_rules_without_ports() {
    for mapping in [MappingBehaviour::AddressAndPortDependent, MappingBehaviour::EndpointIndependent] {
        let settings = Settings { mapping, ip_local_port_range: Some((32768, 60999)), ..Settings::default() };
        let mut nat = World::new(settings);
        for (i, port) in [80, 1025, 5000, 61000].into_iter().enumerate() {
            for remote in ["203.0.113.1", "203.0.113.2"] {
                let (_, moved) = nat.pass(&udp((&format!("10.0.0.{}", i + 2), port), (remote, 53)), snat(public())).source();
                assert!((32768..=60999).contains(&moved), "{port} became {moved}");
                assert!(mapping == MappingBehaviour::AddressAndPortDependent || moved & 1 == port & 1);
            }
        }
        assert_eq!(nat.pass(&udp(("10.0.0.9", 40000), ("203.0.113.1", 53)), snat(public())).source().1, 40000);
        let named = NatRange { ports: Some((7000, 7000)), ..public() };
        assert_eq!(nat.pass(&udp(("10.0.0.9", 40001), ("203.0.113.1", 53)), snat(named)).source().1, 7000);
        let netmap = NatRange { netmap: Some(24), ..NatRange::address(v4("192.0.2.0")) };
        assert_eq!(nat.pass(&udp(("10.0.0.9", 80), ("203.0.113.1", 53)), snat(netmap)).source(), (v4("192.0.2.9"), 80));
        let untouched = udp(("10.0.0.9", 81), ("203.0.113.1", 53));
        assert_eq!(nat.pass(&untouched, Rules::default()), Fate::Sent(untouched));
    }
}

#[test]
fn random_ports_are_not_kept() {
    let mut nat = linux();
    let range = NatRange { random: true, ..public() };
    let ports: Vec<u16> = (0..20).map(|i| nat.pass(&udp(("10.0.0.2", 5000 + i), ("203.0.113.1", 53)), snat(range)).source().1).collect();
    // That all twenty are drawn as they were has a chance of 1 in 64512^20.
    assert!(ports.iter().zip(5000..).any(|(port, kept)| *port != kept), "{ports:?}");
    assert!(ports.iter().all(|port| *port >= 1024));
    assert_eq!(ports.iter().collect::<HashSet<_>>().len(), 20);
}

/// Addresses that Linux 6.18 chose, seen with `conntrack -L`.
#[test]
fn the_address_of_a_pool_is_that_of_linux() {
    let pick = |family, pool: (Address, Address), source, destination, persistent| {
        let range = NatRange { addresses: Some(pool), persistent, ..NatRange::NULL };
        let tuple = Tuple {
            source,
            destination,
            source_port: 5000,
            destination_port: 53,
            zone: 0,
            domain: Domain::new(ZONE.router, family),
            protocol: ip_protocol::UDP,
        };
        Wanted::of(&range, family, source).pick_address(&tuple, false, source)
    };
    let pool = (v4("100.64.0.10"), v4("100.64.0.40"));
    for (host, first, second, persistent) in [(1, 16, 24, 18), (2, 23, 25, 40), (3, 18, 38, 35), (4, 30, 35, 16), (5, 39, 11, 37)] {
        let host = v4(&format!("10.0.0.{host}"));
        let chosen = |destination, persistent| pick(Family::V4, pool, host, v4(destination), persistent).0 & 0xff;
        assert_eq!(chosen("203.0.113.1", false), first);
        assert_eq!(chosen("203.0.113.77", false), second);
        assert_eq!((chosen("203.0.113.1", true), chosen("203.0.113.77", true)), (persistent, persistent));
    }
    let small = (v6("2001:db8::10"), v6("2001:db8::ffff"));
    let large = (v6("2001:db8::10"), v6("2001:db8:1::ffff"));
    for (host, first, second, persistent) in [
        (1, "2001:db8::232b", "2001:db8::30b1", "2001:db8:0:d896:d895:8337:d895:8337"),
        (2, "2001:db8::2959", "2001:db8::507b", "2001:db8:0:16ec:16ec:da2c:16ec:da2c"),
        (5, "2001:db8::2b3f", "2001:db8::3a81", "2001:db8:0:cfd7:cfd6:7893:cfd6:7893"),
    ] {
        let host = v6(&format!("fd00::{host}"));
        assert_eq!(pick(Family::V6, small, host, v6("2001:db8:9::1"), false), v6(first));
        assert_eq!(pick(Family::V6, small, host, v6("2001:db8:9::4d"), false), v6(second));
        assert_eq!(pick(Family::V6, large, host, v6("2001:db8:9::4d"), true), v6(persistent));
    }
}

#[test]
fn dnat_to_shifted_ports() {
    let mut nat = linux();
    let range = NatRange { ports: Some((8000, 8099)), base_port: Some(2000), ..NatRange::address(v4("10.0.0.5")) };
    for (port, inside) in [(2000, 8000), (2042, 8042), (2099, 8099), (2100, 8000), (1999, 8035)] {
        // 1999 is 65535 behind the base, modulo 100 ports.
        assert_eq!(nat.pass(&udp(("203.0.113.1", port), ("198.51.100.1", port)), dnat(range)).destination(), (v4("10.0.0.5"), inside));
    }
}

#[test]
fn netmap_keeps_the_host_part() {
    let mut nat = linux();
    let map = |prefix: &str, len| NatRange { netmap: Some(len), ..NatRange::address(v4(prefix)) };
    let mut source = |host| nat.pass(&udp((host, 5000), ("203.0.113.1", 53)), snat(map("198.51.100.0", 24))).source();
    assert_eq!(source("192.168.7.42"), (v4("198.51.100.42"), 5000));
    assert_eq!(source("192.168.7.43"), (v4("198.51.100.43"), 5000));
    let back = nat.pass(&udp(("203.0.113.9", 4000), ("198.51.100.42", 80)), dnat(map("192.168.7.0", 24)));
    assert_eq!(back.destination(), (v4("192.168.7.42"), 80));
    let wanted = Wanted::of(&NatRange { netmap: Some(64), ..NatRange::address(v6("2001:db8::")) }, Family::V6, v6("fd00::1:2:3"));
    assert_eq!(wanted.addresses, Some((v6("2001:db8::1:2:3"), v6("2001:db8::1:2:3"))));
}

/// A flow without a rule is bound to itself; where that is taken, its source port moves.
#[test]
fn a_null_binding_moves_the_port_that_is_taken() {
    let mut nat = linux();
    // The host outside that is the translated one.
    assert_eq!(nat.pass(&udp(("10.0.0.2", 5000), ("203.0.113.1", 53)), snat(public())).source().1, 5000);
    let plain = nat.pass(&udp(("198.51.100.1", 5000), ("203.0.113.1", 53)), Rules::default()).source();
    assert_eq!(plain.0, v4("198.51.100.1"));
    assert_ne!(plain.1, 5000);
    let tuple = |host, port| Tuple {
        source: v4(host),
        destination: v4("203.0.113.1"),
        source_port: port,
        destination_port: 53,
        zone: 0,
        domain: Domain::new(ZONE.router, Family::V4),
        protocol: ip_protocol::UDP,
    };
    assert!(nat.flow(&tuple("198.51.100.1", 5000)).unwrap().status.contains(Status::SRC_NAT));
    // And one that is not taken is left alone, and nobody decides twice.
    let untouched = udp(("10.0.0.9", 5000), ("203.0.113.1", 53));
    assert_eq!(nat.pass(&untouched, Rules::default()), Fate::Sent(untouched.clone()));
    let status = nat.flow(&tuple("10.0.0.9", 5000)).unwrap().status;
    assert_eq!(status, Status(Status::SRC_NAT_DONE.0 | Status::DST_NAT_DONE.0));
    assert_eq!(nat.pass(&untouched, snat(public())), Fate::Sent(untouched.clone()));
}

/// Two addresses that are forwarded to one server: the second client with the same endpoint is told apart by a moved port.
#[test]
fn two_forwards_to_one_server() {
    let mut nat = linux();
    let to = NatRange { ports: Some((80, 80)), ..NatRange::address(v4("10.0.0.5")) };
    let first = nat.pass(&udp(("203.0.113.1", 4000), ("198.51.100.1", 8080)), dnat(to)).ends();
    assert_eq!(first, (v4("203.0.113.1"), 4000, v4("10.0.0.5"), 80));
    let second = nat.pass(&udp(("203.0.113.1", 4000), ("198.51.100.2", 8080)), dnat(to)).ends();
    assert_eq!((second.0, second.2, second.3), (v4("203.0.113.1"), v4("10.0.0.5"), 80));
    assert_ne!(second.1, 4000);
}

#[test]
fn protocols_without_ports() {
    let mut nat = linux();
    let gre = |host| Spec { rest: vec![0; 20], ..Spec::new(ip_protocol::GRE, (host, 0), ("203.0.113.1", 0)) }.packet();
    assert_eq!(nat.pass(&gre("10.0.0.2"), snat(public())).source().0, v4("198.51.100.1"));
    assert_eq!(nat.pass(&gre("10.0.0.3"), snat(public())), Fate::Unbound(BindError::Exhausted));
    // Neither do they get mappings otherwise.
    let mut nat = World::new(Settings::default());
    assert_eq!(nat.pass(&gre("10.0.0.2"), snat(public())).source().0, v4("198.51.100.1"));
    assert_eq!(nat.nat.mappings(), 0);
}

#[test]
fn identifiers_of_queries_are_searched_in_their_range() {
    let mut nat = linux();
    let echo = |host| Spec::new(ip_protocol::ICMP, (host, 77), ("203.0.113.1", 0)).packet();
    let range = NatRange { ports: Some((500, 501)), ..public() };
    let mut seen = HashSet::new();
    for host in ["10.0.0.2", "10.0.0.3"] {
        seen.insert(nat.pass(&echo(host), snat(range)).source().1);
    }
    assert_eq!(seen, HashSet::from([500, 501]));
    assert_eq!(nat.pass(&echo("10.0.0.4"), snat(range)), Fate::Unbound(BindError::Exhausted));
}

struct AllTaken(Cell<u32>);

impl Flows for AllTaken {
    fn is_taken(&self, _: &Tuple) -> bool {
        self.0.set(self.0.get() + 1);
        true
    }
}

/// However full, the search ends soon: 128 ports, then 64, 32, 16 and 8 from random ones.
#[test]
fn the_search_is_bounded() {
    let original = Tuple {
        source: v4("10.0.0.2"),
        destination: v4("203.0.113.1"),
        source_port: 5000,
        destination_port: 53,
        zone: 0,
        domain: Domain::new(ZONE.router, Family::V4),
        protocol: ip_protocol::TCP,
    };
    for mapping in [MappingBehaviour::AddressAndPortDependent, MappingBehaviour::EndpointIndependent] {
        let nat = World::new(Settings { mapping, ..Settings::default() });
        let flows = AllTaken(Cell::new(0));
        let at = (nat.ingress, nat.now);
        let answer = nat.nat.decide(&flows, at, &begins(original), Manip::Source, Some(&public()), &nat.settings);
        assert_eq!(answer, Err(BindError::Exhausted));
        assert!(flows.0.get() < 600, "{} looks", flows.0.get());
        assert_eq!(nat.nat.mappings(), 0, "and leaves nothing");
    }
    // A small range is searched whole, from any start.
    for start in 0..10 {
        let mut looked = HashSet::new();
        assert_eq!(search((10, 14), 1, start, &mut || 3, |port| !looked.insert(port)), None);
        assert_eq!(looked, HashSet::from([10, 11, 12, 13, 14]));
    }
    assert_eq!(search((65533, 65535), 2, 65535, &mut || 0, |port| port == 65535), Some(65535));
}
