//! What RFC 4787 (UDP), RFC 5382 (TCP) and RFC 5508 (ICMP) ask for, by number. Errors are in `errors.rs`.

use std::collections::{HashMap, HashSet};

use proptest::prelude::*;
use wire::ip_protocol;

use super::packets::{Spec, tcp_rest, v4};
use super::world::{Fate, Rules, SECOND, World};
use crate::nat::{BindError, Filtering, MappingBehaviour, NatRange, Settings};
use crate::router::address::Address;
use crate::snapshot::PortId;

const PUBLIC: &str = "198.51.100.1";

fn packet(protocol: u8, source: (&str, u16), destination: (&str, u16)) -> Vec<u8> {
    Spec::new(protocol, source, destination).packet()
}

fn udp(source: (&str, u16), destination: (&str, u16)) -> Vec<u8> {
    packet(ip_protocol::UDP, source, destination)
}

fn snat() -> Rules {
    Rules { snat: Some(NatRange::address(v4(PUBLIC))), ..Rules::default() }
}

fn pool(low: &str, high: &str) -> Rules {
    Rules { snat: Some(NatRange { addresses: Some((v4(low), v4(high))), ..NatRange::NULL }), ..Rules::default() }
}

fn plain() -> Rules {
    Rules::default()
}

fn with(filtering: Filtering) -> World {
    World::new(Settings { filtering, ..Settings::default() })
}

/// RFC 4787 REQ-1, RFC 5382 REQ-1, RFC 5508 REQ-1; spec 2.9 test 4.
#[test]
fn rfc_4787_req_1_mapping_is_endpoint_independent() {
    for protocol in [ip_protocol::UDP, ip_protocol::TCP, ip_protocol::ICMP, ip_protocol::SCTP] {
        let mut nat = World::new(Settings::default());
        // Somebody has the port already.
        nat.pass(&packet(protocol, ("10.0.0.9", 5000), ("203.0.113.9", 9)), snat()).octets();
        let first = nat.pass(&packet(protocol, ("10.0.0.2", 5000), ("203.0.113.1", 80)), snat()).source();
        assert_ne!(first.1, 5000);
        for remote in [("203.0.113.1", 81), ("203.0.113.2", 80), ("203.0.113.9", 9)] {
            if protocol == ip_protocol::ICMP && remote.0 == "203.0.113.1" {
                continue;
            }
            assert_eq!(nat.pass(&packet(protocol, ("10.0.0.2", 5000), remote), snat()).source(), first, "{protocol}");
        }
    }
}

#[test]
fn rfc_4787_req_2_paired_addresses() {
    let mut nat = World::new(Settings::default());
    let mut used = HashSet::new();
    for host in 1..60 {
        let host = format!("10.0.0.{host}");
        let addresses: HashSet<Address> = (0..10u16)
            .map(|i| nat.pass(&udp((&host, 5000 + i), (&format!("203.0.113.{i}"), 53)), pool("198.51.100.1", "198.51.100.4")).source().0)
            .collect();
        assert_eq!(addresses.len(), 1, "{host} has one address");
        used.extend(addresses);
    }
    assert_eq!(used.len(), 4, "and all are used");
}

/// RFC 4787 REQ-3, RFC 5382 REQ-7: no two endpoints inside share one outside, however many there are, and privileged ports stay
/// so (REQ-3a).
#[test]
fn rfc_4787_req_3_no_overloading() {
    for protocol in [ip_protocol::UDP, ip_protocol::TCP] {
        let mut nat = World::new(Settings::default());
        let mut outside = HashSet::new();
        for host in 2..60 {
            for port in [53, 700, 5000, 5001] {
                let host = format!("10.0.0.{host}");
                // All to different remotes, so that connection tracking alone would let them share.
                let source = nat.pass(&packet(protocol, (&host, port), (&host.replace("10.0", "203.0"), 53)), snat()).source();
                assert!(outside.insert(source), "{source:?} twice");
                assert_eq!(source.1 < 1024, port < 1024);
            }
        }
    }
}

/// RFC 4787 REQ-4; spec 2.9 test 7.
#[test]
fn rfc_4787_req_4_parity() {
    for (port_parity, protocol) in [(true, ip_protocol::UDP), (false, ip_protocol::UDP), (true, ip_protocol::TCP)] {
        let mut nat = World::new(Settings { port_parity, ..Settings::default() });
        let mut kept = true;
        for host in 2..60 {
            for port in [5, 6, 601, 602, 5000, 5001] {
                let (_, outside) = nat.pass(&packet(protocol, (&format!("10.0.0.{host}"), port), ("203.0.113.1", 53)), snat()).source();
                kept &= outside & 1 == port & 1;
            }
        }
        // 348 ports that are drawn without regard to parity have it with a chance of 2^-340.
        assert_eq!(kept, port_parity && protocol == ip_protocol::UDP);
    }
}

/// RFC 4787 REQ-5, RFC 5382 REQ-5, RFC 5508 REQ-2: how long a mapping lives after its last packet; spec 2.9 test 6. Connection
/// tracking has forgotten the flow long before.
#[test]
fn rfc_4787_req_5_idle_mappings() {
    for (protocol, seconds) in [(ip_protocol::UDP, 300), (ip_protocol::TCP, 240), (ip_protocol::ICMP, 60)] {
        for (idle, lives) in [(seconds - 1, true), (seconds + 1, false)] {
            for busy in [0, 7, 95, 1000] {
                let mut nat = World::new(Settings::default());
                nat.flow_timeout = 30 * SECOND;
                let sent = packet(protocol, ("10.0.0.2", 5000), ("203.0.113.1", 53));
                nat.pass(&sent, snat()).octets();
                // A packet every 7 s keeps the flow; the mapping sees none of them.
                for _ in 0..busy / 7 {
                    nat.advance(7 * SECOND);
                    nat.pass(&sent, snat()).octets();
                }
                nat.advance(idle * SECOND);
                assert_eq!(nat.has_mapping((v4("10.0.0.2"), 5000)), lives, "{protocol} after {busy} s and {idle} s without");
            }
        }
    }
}

/// RFC 4787 REQ-5b, RFC 5508 REQ-2: the times can be configured.
#[test]
fn rfc_4787_req_5b_configured_timeouts() {
    let timeouts =
        Settings { udp_timeout: 200 * SECOND, tcp_transitory_timeout: 400 * SECOND, icmp_timeout: 90 * SECOND, ..Settings::default() };
    for (protocol, seconds) in [(ip_protocol::UDP, 200), (ip_protocol::TCP, 400), (ip_protocol::ICMP, 90)] {
        for (idle, lives) in [(seconds - 1, true), (seconds + 1, false)] {
            let mut nat = World::new(timeouts);
            nat.pass(&packet(protocol, ("10.0.0.2", 5000), ("203.0.113.1", 53)), snat()).octets();
            nat.advance(idle * SECOND);
            assert_eq!(nat.has_mapping((v4("10.0.0.2"), 5000)), lives);
        }
    }
}

/// RFC 5382 REQ-5: an established connection keeps its mapping as long as connection tracking keeps the connection, which is far
/// longer than the two hours and four minutes that are asked for.
#[test]
fn rfc_5382_req_5_established_connections() {
    let mut nat = World::new(Settings::default());
    nat.flow_timeout = 432_000 * SECOND;
    let syn = packet(ip_protocol::TCP, ("10.0.0.2", 5000), ("203.0.113.1", 80));
    let outside = nat.pass(&syn, snat()).source();
    nat.advance(100_000 * SECOND);
    assert_eq!(nat.pass(&syn, snat()).source(), outside);
    assert!(nat.has_mapping((v4("10.0.0.2"), 5000)));
    nat.advance(432_100 * SECOND);
    assert!(!nat.has_mapping((v4("10.0.0.2"), 5000)));
}

/// RFC 4787 REQ-6: what is sent from inside keeps a mapping; what comes from outside and is not answered does not.
#[test]
fn rfc_4787_req_6_refresh_from_inside_only() {
    let mut nat = with(Filtering::EndpointIndependent);
    nat.pass(&udp(("10.0.0.2", 5000), ("203.0.113.1", 53)), snat()).octets();
    for _ in 0..30 {
        nat.advance(10 * SECOND);
        nat.pass(&udp(("203.0.113.66", 66), (PUBLIC, 5000)), plain());
    }
    nat.advance(10 * SECOND);
    assert!(!nat.has_mapping((v4("10.0.0.2"), 5000)), "310 s after the only packet from inside");
    // The same with answers.
    let mut nat = with(Filtering::EndpointIndependent);
    nat.pass(&udp(("10.0.0.2", 5000), ("203.0.113.1", 53)), snat()).octets();
    for _ in 0..60 {
        nat.advance(10 * SECOND);
        assert_eq!(nat.pass(&udp(("203.0.113.66", 66), (PUBLIC, 5000)), plain()).destination(), (v4("10.0.0.2"), 5000));
        nat.pass(&udp(("10.0.0.2", 5000), ("203.0.113.66", 66)), snat()).octets();
    }
    assert!(nat.has_mapping((v4("10.0.0.2"), 5000)));
    // A new flow from inside, to somebody else, counts as well.
    let mut nat = World::new(Settings::default());
    for remote in 1..20 {
        nat.pass(&udp(("10.0.0.2", 5000), (&format!("203.0.113.{remote}"), 53)), snat()).octets();
        nat.advance(250 * SECOND);
    }
    assert!(nat.has_mapping((v4("10.0.0.2"), 5000)));
}

/// RFC 4787 REQ-8, RFC 5382 REQ-3; spec 2.9 test 5. The host inside has sent to 203.0.113.1:53.
#[test]
fn rfc_4787_req_8_filtering() {
    use Filtering::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
    for protocol in [ip_protocol::UDP, ip_protocol::TCP] {
        for filtering in [EndpointIndependent, AddressDependent, AddressAndPortDependent] {
            let mut nat = with(filtering);
            nat.pass(&packet(protocol, ("10.0.0.2", 5000), ("203.0.113.1", 53)), snat()).octets();
            // The flow is gone, the mapping is not: who may send is not a matter of flows.
            nat.advance(100 * SECOND);
            let mut may = |remote| match nat.pass(&packet(protocol, remote, (PUBLIC, 5000)), plain()) {
                Fate::Sent(octets) => {
                    assert_eq!(super::world::ends(&octets).2, v4("10.0.0.2"));
                    true
                }
                Fate::Filtered => false,
                other => panic!("{other:?}"),
            };
            assert!(may(("203.0.113.1", 53)));
            assert_eq!(may(("203.0.113.1", 99)), filtering != AddressAndPortDependent);
            assert_eq!(may(("203.0.113.2", 53)), filtering == EndpointIndependent);
        }
    }
}

/// What is no mapping is nobody's: such packets are for the router itself. So are queries.
#[test]
fn packets_to_no_mapping() {
    let mut nat = with(Filtering::EndpointIndependent);
    nat.pass(&udp(("10.0.0.2", 5000), ("203.0.113.1", 53)), snat()).octets();
    nat.pass(&packet(ip_protocol::ICMP, ("10.0.0.2", 77), ("203.0.113.1", 0)), snat()).octets();
    for unasked in [
        udp(("203.0.113.1", 53), (PUBLIC, 5001)),
        udp(("203.0.113.1", 53), ("198.51.100.2", 5000)),
        packet(ip_protocol::TCP, ("203.0.113.1", 53), (PUBLIC, 5000)),
        packet(ip_protocol::ICMP, ("203.0.113.1", 77), (PUBLIC, 0)),
    ] {
        assert_eq!(nat.pass(&unasked, plain()), Fate::Sent(unasked));
    }
}

/// RFC 4787 REQ-9, RFC 5382 REQ-8: who is behind the same NAT sees the public endpoint of the other, whether that is a mapping
/// or forwarded, and the sender keeps the endpoint it has outside.
#[test]
fn rfc_4787_req_9_hairpin() {
    for protocol in [ip_protocol::UDP, ip_protocol::TCP] {
        let forward = NatRange { ports: Some((80, 80)), ..NatRange::address(v4("10.0.0.5")) };
        let hairpin = Rules { dnat: Some(forward), hairpin: true, ..plain() };
        let mut nat = World::new(Settings::default());
        nat.pass(&packet(protocol, ("10.0.0.9", 4000), ("203.0.113.1", 53)), snat()).octets();
        let own = nat.pass(&packet(protocol, ("10.0.0.2", 4000), ("203.0.113.1", 53)), snat()).source();
        assert_ne!(own.1, 4000);
        let at_server = nat.pass(&packet(protocol, ("10.0.0.2", 4000), (PUBLIC, 8080)), hairpin).ends();
        assert_eq!(at_server, (own.0, own.1, v4("10.0.0.5"), 80));
        let back = nat.pass(&packet(protocol, ("10.0.0.5", 80), (PUBLIC, own.1)), plain()).ends();
        assert_eq!(back, (v4(PUBLIC), 8080, v4("10.0.0.2"), 4000));
        // A sender without a mapping gets one, which then is its mapping to the outside; the server itself is no exception.
        for (host, port) in [("10.0.0.3", 4001), ("10.0.0.5", 4002)] {
            let (address, outside, ..) = nat.pass(&packet(protocol, (host, port), (PUBLIC, 8080)), hairpin).ends();
            assert_eq!(address, v4(PUBLIC));
            assert_eq!(nat.pass(&packet(protocol, (host, port), ("203.0.113.1", 53)), snat()).source(), (address, outside));
        }
        // Without the option the source stays, and who sent to no forward is not touched.
        let mut nat = World::new(Settings { hairpin: false, ..Settings::default() });
        assert_eq!(nat.pass(&packet(protocol, ("10.0.0.2", 4000), (PUBLIC, 8080)), hairpin).source(), (v4("10.0.0.2"), 4000));
        let untouched = packet(protocol, ("10.0.0.2", 4000), ("203.0.113.1", 53));
        let mut nat = World::new(Settings::default());
        assert_eq!(nat.pass(&untouched, Rules { hairpin: true, ..plain() }), Fate::Sent(untouched));
    }
}

/// Hole punching behind one NAT: both sent to the other's public endpoint, as a server outside told them. To the filter a sender
/// inside is its public endpoint.
#[test]
fn rfc_4787_req_9_hairpin_between_mappings() {
    use Filtering::{AddressAndPortDependent, AddressDependent, EndpointIndependent};
    let hairpin = Rules { hairpin: true, ..plain() };
    for filtering in [EndpointIndependent, AddressDependent, AddressAndPortDependent] {
        let mut nat = with(filtering);
        let a = nat.pass(&udp(("10.0.0.2", 4000), ("203.0.113.1", 53)), snat()).source();
        let b = nat.pass(&udp(("10.0.0.3", 4000), ("203.0.113.1", 53)), snat()).source();
        let first = nat.pass(&udp(("10.0.0.2", 4000), (PUBLIC, b.1)), hairpin);
        if filtering == EndpointIndependent {
            assert_eq!(first.ends(), (a.0, a.1, v4("10.0.0.3"), 4000));
            continue;
        }
        // B has not sent to A yet, but now A has sent to B.
        assert_eq!(first, Fate::Filtered);
        let second = nat.pass(&udp(("10.0.0.3", 4000), (PUBLIC, a.1)), hairpin);
        assert_eq!(second.ends(), (b.0, b.1, v4("10.0.0.2"), 4000));
        assert_eq!(nat.pass(&udp(("10.0.0.2", 4000), (PUBLIC, b.1)), hairpin).ends(), (a.0, a.1, v4("10.0.0.3"), 4000));
        // Flows come and go, who has sent to whom stays.
        nat.advance(100 * SECOND);
        assert_eq!(nat.pass(&udp(("10.0.0.2", 4000), (PUBLIC, b.1)), hairpin).ends(), (a.0, a.1, v4("10.0.0.3"), 4000));
    }
}

/// RFC 4787 REQ-11: the behaviour does not change with load: what two hundred hosts that use one port see is what one sees.
#[test]
fn rfc_4787_req_11_deterministic_under_load() {
    let mut nat = World::new(Settings::default());
    for host in 2..200 {
        let host = format!("10.0.0.{host}");
        let first = nat.pass(&udp((&host, 5000), ("203.0.113.1", 53)), snat()).source();
        for remote in ["203.0.113.2", "203.0.113.3"] {
            assert_eq!(nat.pass(&udp((&host, 5000), (remote, 53)), snat()).source(), first);
        }
        assert_eq!(nat.pass(&udp(("203.0.113.1", 54), (PUBLIC, first.1)), plain()), Fate::Filtered);
    }
}

/// RFC 4787 REQ-12, RFC 5508 REQ-6 are in `errors.rs`. RFC 5382 REQ-2: simultaneous open through two NATs; spec 2.9 test 10. Both
/// SYNs pass outwards, and each is let in as an answer to the other.
#[test]
fn rfc_5382_req_2_simultaneous_open() {
    let (mut a, mut b) = (World::new(Settings::default()), World::new(Settings::default()));
    let rules = |address| Rules { snat: Some(NatRange::address(v4(address))), ..plain() };
    let from_a = a.pass(&packet(ip_protocol::TCP, ("10.0.0.2", 4000), ("192.0.2.2", 4001)), rules("192.0.2.1")).octets();
    let from_b = b.pass(&packet(ip_protocol::TCP, ("10.0.0.3", 4001), ("192.0.2.1", 4000)), rules("192.0.2.2")).octets();
    assert_eq!(a.pass(&from_b, plain()).ends(), (v4("192.0.2.2"), 4001, v4("10.0.0.2"), 4000));
    assert_eq!(b.pass(&from_a, plain()).ends(), (v4("192.0.2.1"), 4000, v4("10.0.0.3"), 4001));
    let syn_ack = Spec { rest: tcp_rest(0x12), ..Spec::new(ip_protocol::TCP, ("10.0.0.2", 4000), ("192.0.2.2", 4001)) }.packet();
    let outside = a.pass(&syn_ack, plain()).octets();
    assert_eq!(b.pass(&outside, plain()).destination(), (v4("10.0.0.3"), 4001));
}

/// RFC 5382 REQ-4: an unsolicited SYN is dropped without an answer, and passes when it comes again after the host inside sent its own.
#[test]
fn rfc_5382_req_4_unsolicited_syn() {
    let mut nat = World::new(Settings::default());
    nat.pass(&packet(ip_protocol::TCP, ("10.0.0.2", 4000), ("203.0.113.1", 80)), snat()).octets();
    let syn = packet(ip_protocol::TCP, ("192.0.2.2", 4001), (PUBLIC, 4000));
    assert_eq!(nat.pass(&syn, plain()), Fate::Filtered);
    nat.pass(&packet(ip_protocol::TCP, ("10.0.0.2", 4000), ("192.0.2.2", 4001)), snat()).octets();
    assert_eq!(nat.pass(&syn, plain()).destination(), (v4("10.0.0.2"), 4000));
}

/// Spec 2.9 test 3. A mapping whose flow lives is not given to another; one that nobody uses any more is, before the new flow is
/// refused.
#[test]
fn exhaustion() {
    let mut nat = World::new(Settings::default());
    let two = Rules { snat: Some(NatRange { ports: Some((7000, 7001)), ..NatRange::address(v4(PUBLIC)) }), ..plain() };
    let mut seen = HashSet::new();
    for host in ["10.0.0.2", "10.0.0.3"] {
        seen.insert(nat.pass(&udp((host, 5000), ("203.0.113.1", 53)), two).source().1);
    }
    assert_eq!(seen, HashSet::from([7000, 7001]));
    nat.advance(SECOND);
    let third = udp(("10.0.0.4", 5000), ("203.0.113.2", 53));
    assert_eq!(nat.pass(&third, two), Fate::Unbound(BindError::Exhausted), "though no flow goes to that remote");
    assert!(matches!(nat.pass(&udp(("10.0.0.2", 5000), ("203.0.113.2", 53)), two), Fate::Sent(_)), "who has a mapping goes on");
    nat.flush_flows();
    assert!(nat.has_mapping((v4("10.0.0.2"), 5000)) && nat.has_mapping((v4("10.0.0.3"), 5000)));
    assert!(matches!(nat.pass(&third, two), Fate::Sent(_)));
}

/// The packet that makes a mapping is still on its way when another flow finds all ports taken: that mapping is not idle.
#[test]
fn a_mapping_that_was_just_made_is_not_taken() {
    let mut nat = World::new(Settings::default());
    let one = Rules { snat: Some(NatRange { ports: Some((7000, 7000)), ..NatRange::address(v4(PUBLIC)) }), ..plain() };
    nat.pass(&udp(("10.0.0.2", 5000), ("203.0.113.1", 53)), one).octets();
    nat.flush_flows();
    let second = udp(("10.0.0.3", 5000), ("203.0.113.1", 53));
    assert_eq!(nat.pass(&second, one), Fate::Unbound(BindError::Exhausted));
    nat.advance(SECOND);
    assert_eq!(nat.pass(&second, one).source().1, 7000);
}

/// A flow that began outside uses the mapping as well as one from inside: the endpoint is not given to others while it lives.
#[test]
fn a_mapping_that_is_used_from_outside_is_not_taken() {
    let mut nat = with(Filtering::EndpointIndependent);
    let one = Rules { snat: Some(NatRange { ports: Some((7000, 7000)), ..NatRange::address(v4(PUBLIC)) }), ..plain() };
    nat.pass(&udp(("10.0.0.2", 5000), ("203.0.113.1", 53)), one).octets();
    nat.advance(40 * SECOND);
    nat.pass(&udp(("203.0.113.66", 66), (PUBLIC, 7000)), plain()).octets();
    assert_eq!(nat.pass(&udp(("10.0.0.3", 5000), ("203.0.113.1", 53)), one), Fate::Unbound(BindError::Exhausted));
}

/// Spec 2.9 test 15: who has as many mappings as he may have cannot make more, and takes nothing from others.
#[test]
fn a_quota_for_each_port_of_the_switch() {
    let mut nat = World::new(Settings { mappings_per_port: 50, ..Settings::default() });
    for i in 0..100u16 {
        let fate = nat.pass(&udp((&format!("10.0.0.{}", i % 7 + 2), 5000 + i), ("203.0.113.1", 53)), snat());
        assert_eq!(fate == Fate::Unbound(BindError::TooMany), i >= 50, "{i}");
    }
    nat.ingress = PortId(2);
    nat.pass(&udp(("10.0.1.2", 5000), ("203.0.113.1", 53)), snat()).octets();
    nat.ingress = PortId(1);
    nat.advance(301 * SECOND);
    nat.pass(&udp(("10.0.0.2", 6000), ("203.0.113.1", 53)), snat()).octets();
}

/// The table is bounded. When it is full of mappings that are used the flow is refused; those that are not give way.
#[test]
fn a_full_table() {
    let mut nat = World::new(Settings::default());
    nat.nat = crate::nat::NatState::new(8);
    for port in 5000..5008 {
        nat.pass(&udp(("10.0.0.2", port), ("203.0.113.1", 53)), snat()).octets();
    }
    nat.advance(SECOND);
    let another = udp(("10.0.0.2", 5008), ("203.0.113.1", 53));
    assert_eq!(nat.pass(&another, snat()), Fate::Unbound(BindError::TooMany));
    assert_eq!(nat.nat.mappings(), 8);
    nat.flush_flows();
    nat.pass(&another, snat()).octets();
    assert_eq!(nat.nat.mappings(), 8);
}

/// A mapping that is used for ever more remotes holds a bounded part of the memory, and is never thought idle by mistake.
#[test]
fn a_mapping_with_many_remotes() {
    let mut nat = World::new(Settings::default());
    let one = Rules { snat: Some(NatRange { ports: Some((7000, 7000)), ..NatRange::address(v4(PUBLIC)) }), ..plain() };
    for port in 1..2000 {
        nat.pass(&udp(("10.0.0.2", 5000), ("203.0.113.1", port)), one).octets();
    }
    nat.advance(SECOND);
    assert_eq!(nat.pass(&udp(("10.0.0.3", 5000), ("203.0.113.9", 53)), one), Fate::Unbound(BindError::Exhausted));
    // The newest are remembered.
    nat.flush_flows();
    assert_eq!(nat.pass(&udp(("203.0.113.1", 1999), (PUBLIC, 7000)), plain()).destination(), (v4("10.0.0.2"), 5000));
    assert_eq!(nat.pass(&udp(("203.0.113.1", 1), (PUBLIC, 7000)), plain()), Fate::Filtered);
}

/// Mappings to an address that the router lost go, the others stay.
#[test]
fn mappings_of_an_address_are_removed() {
    let mut nat = World::new(Settings::default());
    nat.pass(&udp(("10.0.0.2", 5000), ("203.0.113.1", 53)), snat()).octets();
    nat.pass(&udp(("10.0.0.3", 5000), ("203.0.113.1", 53)), pool("198.51.100.2", "198.51.100.2")).octets();
    assert_eq!(nat.nat.remove(0, 100, |mapping| mapping.external.0 == v4(PUBLIC)), None);
    assert!(!nat.has_mapping((v4("10.0.0.2"), 5000)) && nat.has_mapping((v4("10.0.0.3"), 5000)));
    assert_eq!(nat.nat.mappings(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    /// Ten thousand flows of some hosts to some remotes, with time that passes and flows that end. Endpoint-independent: an
    /// endpoint inside is one endpoint outside, and nobody else is it. As Linux: no two flows are the same outside, which
    /// `World` asserts for both.
    #[test]
    fn ten_thousand_flows(seed: u64, linux: bool, pauses in prop::collection::vec(0usize..10_000, 0..3)) {
        let mapping = if linux { MappingBehaviour::AddressAndPortDependent } else { MappingBehaviour::EndpointIndependent };
        let mut nat = World::new(Settings { mapping, ..Settings::default() });
        let (mut inside, mut outside) = (HashMap::new(), HashMap::new());
        let mut state = seed | 1;
        let mut below = |bound: u16| {
            // Marsaglia's xorshift.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u16 % bound
        };
        for i in 0..10_000 {
            // Two pauses at most: no mapping is idle for 300 s until all are.
            if pauses.contains(&i) {
                nat.advance(100 * SECOND);
            }
            if i == 7000 {
                nat.advance(400 * SECOND);
                inside.clear();
                outside.clear();
            }
            let (host, port, remote) = (below(58) + 2, below(400), below(19) + 1);
            let protocol = if below(2) == 0 { ip_protocol::TCP } else { ip_protocol::UDP };
            // Two ports in three are shared by all hosts.
            let port = if port % 3 == 0 { 1024 + port + host * 512 } else { 4000 + port };
            let sent = packet(protocol, (&format!("10.0.0.{host}"), port), (&format!("203.0.113.{remote}"), 53));
            let source = nat.pass(&sent, pool("198.51.100.1", "198.51.100.2")).source();
            if !linux {
                prop_assert_eq!(*inside.entry((protocol, host, port)).or_insert(source), source);
                prop_assert_eq!(*outside.entry((protocol, source)).or_insert((host, port)), (host, port));
            }
        }
    }
}
