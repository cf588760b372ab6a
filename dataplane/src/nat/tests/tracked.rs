//! Translation together with connection tracking itself, by the public functions.

use wire::{Offload, ip_protocol};

use super::packets::{Spec, edit, error, tcp_rest, v4};
use super::world::{Fate, Rules, SECOND, ends};
use crate::clock::Nanos;
use crate::conntrack::{self, At, ConfirmError, Conntrack, CtState, Domain, Expectation, ExpectedNat, Template, Tracking, Tuple};
use crate::nat::{Inbound, Manip, MappingBehaviour, NatRange, NatState, Settings, translate};
use crate::router::RouterId;
use crate::router::address::Family;
use crate::snapshot::PortId;

const HOST: &str = "10.0.0.2";
const PUBLIC: &str = "198.51.100.1";
const REMOTE: &str = "203.0.113.1";

struct Router {
    conntrack: Conntrack,
    tracked: conntrack::Settings,
    nat: NatState,
    settings: Settings,
    now: Nanos,
}

fn snat() -> Rules {
    Rules { snat: Some(NatRange::address(v4(PUBLIC))), ..Rules::default() }
}

impl Router {
    fn new(settings: Settings) -> Router {
        let (conntrack, nat) = (Conntrack::new(1000, 1), NatState::new(1000));
        Router { conntrack, tracked: conntrack::Settings::default(), nat, settings, now: 1000 * SECOND }
    }

    fn at(&self) -> At<'_> {
        At { settings: &self.tracked, router: RouterId(7), worker: 0, ingress: PortId(1), now: self.now, own: false }
    }

    /// The packet on its way out, not confirmed yet.
    fn begin(&self, octets: &[u8], rules: Rules) -> (Fate, Tracking) {
        let at = self.at();
        let (edited, (tracking, fate)) = edit(octets, Offload::NONE, |frame, packet| {
            let mut tracking = self.conntrack.track(&at, &Template::default(), packet, frame);
            let mut go = || {
                self.nat.follow(&self.conntrack, &at, &mut tracking, &self.settings).map_err(Fate::Unbound)?;
                if rules.dnat.is_none() && self.nat.inbound(&self.conntrack, &at, &mut tracking, &self.settings) == Inbound::Filtered {
                    return Err(Fate::Filtered);
                }
                let dnat = rules.dnat.as_ref();
                self.nat.bind(&self.conntrack, &at, &mut tracking, Manip::Destination, dnat, &self.settings).map_err(Fate::Unbound)?;
                translate(frame, packet, &tracking, Manip::Destination).map_err(Fate::Untranslatable)?;
                let source = if rules.hairpin {
                    self.nat.hairpin(&self.conntrack, &at, &mut tracking, &self.settings)
                } else {
                    let snat = rules.snat.as_ref();
                    self.nat.bind(&self.conntrack, &at, &mut tracking, Manip::Source, snat, &self.settings)
                };
                source.map_err(Fate::Unbound)?;
                translate(frame, packet, &tracking, Manip::Source).map_err(Fate::Untranslatable)
            };
            let fate = go();
            (tracking, fate)
        });
        (fate.map_or_else(|fate| fate, |()| Fate::Sent(edited)), tracking)
    }

    fn pass(&self, octets: &[u8], rules: Rules) -> (Fate, CtState) {
        let (fate, mut tracking) = self.begin(octets, rules);
        if matches!(fate, Fate::Sent(_)) {
            self.conntrack.confirm(&self.at(), &mut tracking).unwrap();
        }
        (fate, tracking.state)
    }

    /// Lets time pass, with what control does meanwhile.
    fn advance(&mut self, span: Nanos) {
        let end = self.now + span;
        while self.now < end {
            self.now = end.min(self.now + 20 * SECOND);
            let mut cursor = 0;
            loop {
                let settings = |router| (router == RouterId(7)).then_some((&self.tracked.timeouts, &self.settings));
                cursor = self.nat.upkeep(&self.conntrack, cursor, 10, self.now, settings);
                if cursor == 0 {
                    break;
                }
            }
            self.conntrack.sweep(0, u32::MAX, self.now);
        }
    }
}

fn udp(source: (&str, u16), destination: (&str, u16)) -> Vec<u8> {
    Spec::new(ip_protocol::UDP, source, destination).packet()
}

/// Both directions, and an error that quotes only the least that it must.
#[test]
fn a_flow_and_an_error_about_it() {
    let router = Router::new(Settings::default());
    let sent = Spec::new(ip_protocol::UDP, (HOST, 5000), (REMOTE, 53));
    let (outside, state) = router.pass(&sent.packet(), snat());
    let outside = outside.octets();
    assert_eq!((state, ends(&outside)), (CtState::New, (v4(PUBLIC), 5000, v4(REMOTE), 53)));
    let (error_inside, state) = router.pass(&error("192.0.2.9", PUBLIC, (11, 0), &outside[..28]), Rules::default());
    assert_eq!(state, CtState::Related);
    assert_eq!(error_inside, Fate::Sent(error("192.0.2.9", HOST, (11, 0), &sent.packet()[..28])));
    let (back, state) = router.pass(&udp((REMOTE, 53), (PUBLIC, 5000)), Rules::default());
    assert_eq!((state, back), (CtState::Established, Fate::Sent(udp((REMOTE, 53), (HOST, 5000)))));
}

/// Spec 2.9 test 11: a connection that ended, and another with the same ports right behind it. The mapping is the same, and it
/// ends 240 s after the last packet.
#[test]
fn a_connection_ends_and_begins_again() {
    let mut router = Router::new(Settings::default());
    let tcp = |source, destination, flags, sequence: u32, acknowledged: u32| {
        let mut rest = tcp_rest(flags);
        rest[..4].copy_from_slice(&sequence.to_be_bytes());
        rest[4..8].copy_from_slice(&acknowledged.to_be_bytes());
        Spec { rest, ..Spec::new(ip_protocol::TCP, source, destination) }.packet()
    };
    for first in [1000u32, 90_000] {
        let out = |flags, sequence, acknowledged| tcp((HOST, 5000), (REMOTE, 80), flags, first + sequence, acknowledged);
        let back = |flags, sequence, acknowledged| tcp((REMOTE, 80), (PUBLIC, 5000), flags, sequence, first + acknowledged);
        assert_eq!(router.pass(&out(0x02, 0, 0), snat()).0.source(), (v4(PUBLIC), 5000));
        for (octets, is_out) in [
            (back(0x12, 500, 1), false),
            (out(0x10, 1, 501), true),
            (out(0x11, 1, 501), true),
            (back(0x11, 501, 2), false),
            (out(0x10, 2, 502), true),
        ] {
            let (fate, state) = router.pass(&octets, if is_out { snat() } else { Rules::default() });
            assert_eq!(state, CtState::Established);
            // Control sees it in each of its states.
            router.advance(25 * SECOND);
            assert_eq!(fate.ends(), if is_out { (v4(PUBLIC), 5000, v4(REMOTE), 80) } else { (v4(REMOTE), 80, v4(HOST), 5000) });
        }
    }
    router.advance((238 - 25) * SECOND);
    assert_eq!((router.conntrack.count(), router.nat.mappings()), (0, 1));
    router.advance(4 * SECOND);
    assert_eq!(router.nat.mappings(), 0);
}

/// Spec 2.9 test 6 with the timeouts of connection tracking: a stream of UDP that lasted 1000 s.
#[test]
fn a_mapping_outlives_its_flow() {
    for (idle, lives) in [(299, 1), (302, 0)] {
        let mut router = Router::new(Settings::default());
        for _ in 0..200 {
            router.pass(&udp((HOST, 5000), (REMOTE, 53)), snat()).0.octets();
            router.pass(&udp((REMOTE, 53), (PUBLIC, 5000)), Rules::default()).0.octets();
            router.advance(5 * SECOND);
        }
        router.advance((idle - 5) * SECOND);
        assert_eq!((router.conntrack.count(), router.nat.mappings()), (0, lives));
        // From the remote it was used with, it may be used as long as it lives.
        let (fate, _) = router.pass(&udp((REMOTE, 53), (PUBLIC, 5000)), Rules::default());
        assert_eq!(fate.destination().0, v4(if lives == 1 { HOST } else { PUBLIC }));
    }
}

/// However few are looked at in one go, all are seen.
#[test]
fn upkeep_sees_all() {
    let mut router = Router::new(Settings::default());
    for port in 5000..5100 {
        router.pass(&udp((HOST, port), (REMOTE, 53)), snat()).0.octets();
    }
    router.advance(20 * SECOND);
    for port in 5000..5100 {
        router.pass(&udp((HOST, port), (REMOTE, 53)), snat()).0.octets();
    }
    router.advance(290 * SECOND);
    assert_eq!((router.conntrack.count(), router.nat.mappings()), (0, 100), "310 s after the first packet, 290 s after the last");
    router.advance(11 * SECOND);
    assert_eq!(router.nat.mappings(), 0);
}

/// Two first packets on their way at once. Mappings keep them apart; as in Linux the second is dropped when it is confirmed.
#[test]
fn two_first_packets_at_once() {
    for mapping in [MappingBehaviour::EndpointIndependent, MappingBehaviour::AddressAndPortDependent] {
        let router = Router::new(Settings { mapping, ..Settings::default() });
        let syn = |host| Spec::new(ip_protocol::TCP, (host, 5000), (REMOTE, 80)).packet();
        let (first, mut one) = router.begin(&syn(HOST), snat());
        let (second, mut two) = router.begin(&syn("10.0.0.3"), snat());
        router.conntrack.confirm(&router.at(), &mut one).unwrap();
        let confirmed = router.conntrack.confirm(&router.at(), &mut two);
        if mapping == MappingBehaviour::EndpointIndependent {
            assert_ne!(first.source(), second.source());
            assert_eq!(confirmed, Ok(()));
        } else {
            assert_eq!((first.source(), confirmed), (second.source(), Err(ConfirmError::Clash)));
        }
    }
}

/// A flow that another one announced follows its translation, in both directions of announcing, and gets no other rule.
#[test]
fn an_expected_flow_follows_its_master() {
    let router = Router::new(Settings::default());
    let control = Spec::new(ip_protocol::TCP, (HOST, 3000), (REMOTE, 21)).packet();
    let (fate, mut master) = router.begin(&control, snat());
    router.conntrack.confirm(&router.at(), &mut master).unwrap();
    fate.octets();
    let tuple = |source, source_port, destination, destination_port| Tuple {
        source: v4(source),
        destination: v4(destination),
        source_port,
        destination_port,
        zone: 0,
        domain: Domain::new(RouterId(7), Family::V4),
        protocol: ip_protocol::TCP,
    };
    let expect = |tuple, nat| {
        let expectation =
            Expectation { tuple, any_source: false, any_source_port: true, helper: None, timeout: 300 * SECOND, nat: Some(nat) };
        router.conntrack.expect(&router.at(), &master, &expectation).unwrap();
    };
    // Active: the server connects to the port that the host named.
    let to_host = ExpectedNat { source: v4(REMOTE), destination: v4(HOST), destination_port: 4000 };
    expect(tuple(REMOTE, 0, PUBLIC, 6000), to_host);
    let data = Spec::new(ip_protocol::TCP, (REMOTE, 20), (PUBLIC, 6000)).packet();
    let other = Rules { dnat: Some(NatRange::address(v4("10.0.0.99"))), ..snat() };
    let (fate, state) = router.pass(&data, other);
    assert_eq!((state, fate.ends()), (CtState::Related, (v4(REMOTE), 20, v4(HOST), 4000)));
    // Passive: the host connects to the port that the server named.
    let to_server = ExpectedNat { source: v4(PUBLIC), destination: v4(REMOTE), destination_port: 5555 };
    expect(tuple(HOST, 0, REMOTE, 5555), to_server);
    let data = Spec::new(ip_protocol::TCP, (HOST, 3001), (REMOTE, 5555)).packet();
    let (fate, state) = router.pass(&data, Rules::default());
    assert_eq!((state, fate.ends()), (CtState::Related, (v4(PUBLIC), 3001, v4(REMOTE), 5555)));
}

/// Neither flow nor mapping.
const NOTHING: (CtState, Inbound) = (CtState::New, Inbound::Unmapped);

/// The same addresses behind two routers, and in two zones of one, are kept apart, also when the number of a zone is that of the
/// other router.
#[test]
fn routers_and_zones_are_apart() {
    let mut router = Router::new(Settings::default());
    router.pass(&udp((HOST, 5000), (REMOTE, 53)), snat()).0.octets();
    let nat = core::mem::replace(&mut router.nat, NatState::new(0));
    for (number, zone, expected) in [
        (7, None, (CtState::Established, Inbound::Unmapped)),
        (7, Some(0), (CtState::Established, Inbound::Unmapped)),
        (7, Some(7), NOTHING),
        (8, None, NOTHING),
        (8, Some(7), NOTHING),
        (0, Some(7), NOTHING),
    ] {
        let at = At { router: RouterId(number), ..router.at() };
        let (_, found) = edit(&udp((REMOTE, 53), (PUBLIC, 5000)), Offload::NONE, |frame, packet| {
            let mut tracking = router.conntrack.track(&at, &Template { zone, ..Template::default() }, packet, frame);
            (tracking.state, nat.inbound(&router.conntrack, &at, &mut tracking, &Settings::default()))
        });
        assert_eq!(found, expected, "router {number}, zone {zone:?}");
    }
}
