//! A gateway under attack from one port of its LAN: memory stays bounded, a guest at another port keeps its connection and gets
//! new ones, and every packet that is lost has its reason.

mod lab;

use std::sync::Arc;

use dataplane::conntrack::Conntrack;
use dataplane::fdb::EntryKind;
use dataplane::memory::MemoryFrame;
use dataplane::nat::NatState;
use dataplane::router::RouterState;
use dataplane::router::fib::RouteKind;
use dataplane::router::neighbour::Neighbour;
use dataplane::router::waiting::SMALL;
use dataplane::rules::{CtStates, Hook, Match, Rule, Table, Target, Test};
use dataplane::snapshot::PortId;
use lab::mac;
use lab::router::{LAN, LAN_MAC, LAN_PORT, RouterLab, WAN, WAN_PORT, base, ethernet, ip, ipv4, ipv6, rule, seal, tcp, udp};
use wire::VlanId;
use wire::checksum::{self, Sum};

const SYN: u8 = 2;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;
const SECOND: u64 = 1_000_000_000;

const GUEST: (&str, u16) = ("192.168.1.1", 40000);
const SERVER: (&str, u16) = ("198.51.100.1", 443);
const PUBLIC: (&str, u16) = ("203.0.113.254", 40000);
/// Port of the LAN the attacker is at.
const ATTACKER: usize = 1;
/// Flows the table holds.
const FLOWS: usize = 4096;
/// Packets between two looks at the guest.
const ROUND: usize = 1000;
/// ICMP errors that one host gets at once (`XRLIM_BURST_FACTOR`); one a second after that.
const ANSWERS: usize = 6;

/// A gateway with a guest that has a connection.
struct Siege {
    lab: RouterLab,
    /// Octets that went either way of the guest's connection.
    said: u32,
    /// New connections the guest made.
    connections: u16,
    now: u64,
}

fn masquerade(ports: Option<(u16, u16)>) -> Rule {
    let wan = Match { invert: false, test: Test::OutInterface([WAN].into_iter().collect()) };
    rule(vec![wan], Target::Masquerade { ports, random: false })
}

impl Siege {
    fn new(rules: impl FnOnce() -> Vec<dataplane::rules::Chain>) -> Siege {
        let mut lab = RouterLab::new();
        lab.router().state = Arc::new(RouterState::new(Arc::new(Conntrack::new(FLOWS, 1)), Arc::new(NatState::new(2 * FLOWS))));
        let attacker = Neighbour { address: ip("192.168.1.66"), mac: Some(mac(66)), ..lab.neighbours[0] };
        lab.neighbours.push(attacker);
        lab.lab.switch(0).fdb.insert(mac(66), VlanId::NONE, PortId(ATTACKER as u16), EntryKind::Static, 0);
        lab.publish();
        lab.rules(&rules());
        let mut this = Siege { lab, said: 0, connections: 0, now: 0 };
        this.lab.from_lan(&tcp(GUEST, SERVER, SYN, 1000, 0, b""));
        this.lab.from_wan(&tcp(SERVER, PUBLIC, SYN_ACK, 7000, 1001, b""));
        this.lab.from_lan(&tcp(GUEST, SERVER, ACK, 1001, 7001, b""));
        this.clear();
        this.talk();
        assert_eq!(this.lab.drops(), []);
        this
    }

    fn gateway() -> Siege {
        Siege::new(|| vec![base(Table::Nat, Hook::Postrouting, vec![masquerade(None)])])
    }

    fn conntrack(&mut self) -> Arc<Conntrack> {
        self.lab.router().state.connections.clone()
    }

    fn clear(&mut self) {
        (0..4).for_each(|port| drop(self.lab.lab.out(port)));
    }

    /// The guest says something on its connection and gets an answer.
    fn talk(&mut self) {
        let said = self.said;
        self.said += 2;
        self.lab.from_lan(&tcp(GUEST, SERVER, ACK, 1001 + said, 7001 + said, b"hi"));
        let out = tcp(PUBLIC, SERVER, ACK, 1001 + said, 7001 + said, b"hi");
        assert_eq!(self.lab.got(WAN).iter().map(|packet| &packet[20..]).collect::<Vec<_>>(), [&out[20..]], "{:?}", self.lab.drops());
        self.lab.from_wan(&tcp(SERVER, PUBLIC, ACK, 7001 + said, 1003 + said, b"yo"));
        let answer = tcp(SERVER, GUEST, ACK, 7001 + said, 1003 + said, b"yo");
        assert_eq!(self.lab.got(LAN).iter().map(|packet| &packet[20..]).collect::<Vec<_>>(), [&answer[20..]], "{:?}", self.lab.drops());
    }

    /// The guest asks a name server, from a new port each time.
    fn connect(&mut self) {
        self.connections += 1;
        self.lab.from_lan(&ipv4(GUEST.0, "198.51.100.53", 17, &udp(10_000 + self.connections, 53, b"name")));
        let got = self.lab.got(WAN);
        assert_eq!(got.len(), 1, "{:?}", self.lab.drops());
        let port = u16::from_be_bytes([got[0][20], got[0][21]]);
        self.lab.from_wan(&ipv4("198.51.100.53", PUBLIC.0, 17, &udp(53, port, b"address")));
        assert_eq!(self.lab.got(LAN).len(), 1, "{:?}", self.lab.drops());
    }

    /// The attacker sends frames. After each round the guest's connection goes on, and nothing has outgrown its bounds.
    /// Returns how many frames came back to the attacker.
    fn attack(&mut self, frames: impl IntoIterator<Item = Vec<u8>>) -> usize {
        let conntrack = self.conntrack();
        let (mut frames, mut answers) = (frames.into_iter().peekable(), 0);
        while frames.peek().is_some() {
            for _ in 0..ROUND.div_ceil(128) {
                for frame in frames.by_ref().take(128) {
                    assert!(self.lab.lab.devices[ATTACKER].inject(MemoryFrame::new(frame)));
                }
                // 50,000 packets a second.
                self.now += 128 * SECOND / 50_000;
                self.lab.lab.pipeline.set_time(self.now);
                self.lab.lab.run();
                while self.lab.lab.events.pop().is_some() {}
                while self.lab.lab.events.punted_by_routers.pop().is_some() {}
                answers += self.lab.lab.out(ATTACKER).len();
                self.clear();
            }
            assert!(conntrack.count() <= conntrack.max());
            self.talk();
        }
        self.lab.lab.assert_conserved();
        answers
    }

    /// The drops, which are all at these ports and for these reasons; their number.
    fn lost(&self, expected: &[(usize, &str)]) -> u64 {
        let drops = self.lab.drops();
        assert_eq!(drops.iter().map(|(port, name, _)| (*port, *name)).collect::<Vec<_>>(), expected, "{drops:?}");
        drops.iter().map(|(.., number)| number).sum()
    }
}

/// A frame of the attacker's to the gateway.
fn hostile(packet: &[u8]) -> Vec<u8> {
    ethernet(LAN_MAC, mac(66), packet)
}

fn address(net: u8, n: u32) -> String {
    format!("{net}.{}.{}.{}", n >> 16 & 0xff, n >> 8 & 0xff, n & 0xff)
}

/// SYNs, each of another connection: forged sources, ports and destinations.
fn syns(number: u32) -> impl Iterator<Item = Vec<u8>> {
    (0..number).map(|n| {
        let (from, to) = (address(10, n / 50), address(45, n / 7));
        hostile(&tcp((&from, 1024 + (n % 60_000) as u16), (&to, 80), SYN, n, 0, b""))
    })
}

/// The table is full of the attacker's half-open connections, of which the oldest go; and where its port has a quota, it keeps to it.
fn syn_flood(number: u32) {
    for quota in [None, Some(500)] {
        let mut siege = Siege::gateway();
        let conntrack = siege.conntrack();
        quota.into_iter().for_each(|quota| conntrack.set_quota(PortId(ATTACKER as u16), quota));
        siege.attack(syns(number));
        assert_eq!(conntrack.count(), quota.map_or(FLOWS, |quota| quota as usize + 1));
        let held = conntrack.quota(PortId(ATTACKER as u16)).0;
        assert_eq!(conntrack.stats()[0].early_drop, u64::from(number - held));
        assert_eq!(siege.lost(&[]), 0, "each SYN found room at the cost of one before it");
        siege.connect();
        assert_eq!(conntrack.quota(PortId(0)).0, 2, "the guest's connections are all there");
    }
}

#[test]
fn a_syn_flood() {
    syn_flood(20_000);
}

/// `cargo test --release -p dataplane --test router_under_attack -- --ignored`.
#[test]
#[ignore = "takes too long in a debug build"]
fn a_syn_flood_of_a_million() {
    syn_flood(1_000_000);
}

/// Connections that are in use cannot be dropped early: an attacker with a partner outside fills its quota with them, and no more.
#[test]
fn a_flood_of_answered_connections() {
    const QUOTA: u32 = 300;
    let mut siege = Siege::gateway();
    let conntrack = siege.conntrack();
    conntrack.set_quota(PortId(ATTACKER as u16), QUOTA);
    for n in 0..1000 {
        let (from, to, seen) = (("192.168.1.66", 2000 + n), ("198.51.100.66", 80), (PUBLIC.0, 2000 + n));
        siege.lab.lab.send(ATTACKER, &hostile(&tcp(from, to, SYN, 1, 0, b"")));
        siege.lab.from_wan(&tcp(to, seen, SYN_ACK, 1, 2, b""));
        siege.lab.lab.send(ATTACKER, &hostile(&tcp(from, to, ACK, 2, 2, b"")));
        siege.clear();
    }
    assert_eq!(conntrack.quota(PortId(ATTACKER as u16)), (QUOTA, QUOTA));
    // Each connection beyond has its SYN and ACK dropped, and what its partner sends unasked reaches nobody.
    assert_eq!(siege.lost(&[(LAN_PORT, "conntrack-limit"), (WAN_PORT, "no-listener")]), 3 * (1000 - u64::from(QUOTA)));
    siege.talk();
    siege.connect();
    siege.lab.lab.assert_conserved();
}

/// First fragments without the others.
#[test]
fn fragments_that_never_complete() {
    let mut siege = Siege::gateway();
    let fragments = (0..20_000u32).map(|n| {
        let mut packet = ipv4(&address(10, n), "198.51.100.1", 17, &udp(1, 2, &[0; 1392]));
        packet[4..6].copy_from_slice(&(n as u16).to_be_bytes());
        packet[6..8].copy_from_slice(&0x2000u16.to_be_bytes());
        seal(&mut packet);
        hostile(&packet)
    });
    siege.attack(fragments);
    // A datagram of the guest's in two fragments is put together all the same.
    let whole = udp(9000, 9, &[7; 1800]);
    for (offset, more) in [(0, true), (1000, false)] {
        let part = if more { &whole[..1000] } else { &whole[1000..] };
        let mut packet = ipv4(GUEST.0, SERVER.0, 17, part);
        packet[6..8].copy_from_slice(&((offset / 8) | if more { 0x2000u16 } else { 0 }).to_be_bytes());
        seal(&mut packet);
        siege.lab.from_lan(&packet);
    }
    assert_eq!(siege.lab.got(WAN).len(), 2, "{:?}", siege.lab.drops());
    siege.lost(&[(ATTACKER, "fragment-memory")]);
    siege.lab.lab.pipeline.set_time(siege.now + 31 * SECOND);
    siege.lab.lab.pipeline.send_waiting(&siege.lab.lab.snapshot, 0);
    assert!(!siege.lab.lab.pipeline.has_waiting(), "nothing is kept");
    assert_eq!(siege.lost(&[(ATTACKER, "fragment-timeout"), (ATTACKER, "fragment-memory")]), 20_000);
    siege.lab.lab.assert_conserved();
    siege.clear();
    siege.talk();
}

/// An ICMP error about a packet.
fn icmp_error(from: &str, to: &str, kind: u8, about: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, 1, 0, 0, 0, 0, 0, 0], &about[..28]].concat();
    let sum = Sum::of(&message).checksum();
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv4(from, to, 1, &message)
}

/// Errors about connections that do not exist, about the guest's connection, and packets that make the gateway send errors.
#[test]
fn storms_of_icmp_errors() {
    let invalid = || {
        let state = Match { invert: false, test: Test::CtState(CtStates::INVALID) };
        base(Table::Filter, Hook::Forward, vec![rule(vec![state], Target::Drop)])
    };
    let mut siege = Siege::new(|| vec![base(Table::Nat, Hook::Postrouting, vec![masquerade(None)]), invalid()]);
    let conntrack = siege.conntrack();
    let unknown = (0..5000)
        .map(|n| hostile(&icmp_error("192.168.1.66", "198.51.100.1", 3, &ipv4(&address(10, n), "192.168.1.66", 6, &[n as u8; 8]))));
    assert_eq!(siege.attack(unknown), 0);
    assert_eq!(siege.lost(&[(LAN_PORT, "rule-drop")]), 5000);
    let own = tcp(SERVER, GUEST, ACK, 7001, 1001, b"");
    let about = (0..5000).map(|_| hostile(&icmp_error(GUEST.0, SERVER.0, 3, &own)));
    siege.attack(about);
    assert_eq!(conntrack.count(), 1, "errors begin no connections");
    let short = (0..5000u32).map(|n| {
        let mut packet = ipv4("192.168.1.66", &address(45, n), 17, &udp(1, 2, b""));
        packet[8] = 1;
        seal(&mut packet);
        hostile(&packet)
    });
    let answers = siege.attack(short);
    assert_eq!(siege.lost(&[(LAN_PORT, "ttl-exceeded"), (LAN_PORT, "rule-drop")]), 10_000);
    assert_eq!(answers, ANSWERS, "the attacker gets no more than its share of answers");
    siege.connect();
}

/// The attacker takes all ports the gateway has for one server; those of other connections are not touched.
#[test]
fn exhaustion_of_ports() {
    let mut siege = Siege::new(|| vec![base(Table::Nat, Hook::Postrouting, vec![masquerade(Some((40_000, 40_999)))])]);
    let datagrams = (0..5000).map(|n| hostile(&ipv4("192.168.1.66", "198.51.100.7", 17, &udp(1000 + n, 53, b""))));
    siege.attack(datagrams);
    assert_eq!(siege.lost(&[(LAN_PORT, "nat-exhausted")]), 4000);
    assert_eq!(siege.conntrack().count(), 1001);
    // In another protocol the ports are all there.
    siege.lab.from_lan(&tcp((GUEST.0, 40_001), SERVER, SYN, 1, 0, b""));
    assert_eq!(siege.lab.got(WAN).len(), 1, "{:?}", siege.lab.drops());
}

/// Requests for the gateway's address from ever other senders, of which no more reach control than a port may cause; those of the
/// guest reach it meanwhile.
#[test]
fn floods_of_arp_and_neighbour_discovery() {
    let request = |mac: [u8; 6], sender: [u8; 4]| {
        let mut frame = [&[0xff; 6][..], &mac, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &mac, &sender, &[0; 6], &[192, 168, 1, 254]].concat();
        frame.resize(60, 0);
        frame
    };
    let solicitation = |mac: [u8; 6], n: u32| {
        let (from, to) = (format!("fd00:1::{n:x}"), "ff02::1:ff00:fe");
        let target = [&[135, 0, 0, 0, 0, 0, 0, 0, 0xfd, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfe, 1, 1][..], &mac].concat();
        let mut packet = ipv6(&from, to, 58, &target);
        packet[7] = 255;
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        let sum = checksum::pseudo_ipv6(from, to, 58, target.len() as u32).add(&packet[40..]).checksum();
        packet[42..44].copy_from_slice(&sum.to_be_bytes());
        [&[0x33, 0x33, 0xff, 0, 0, 0xfe][..], &mac, &[0x86, 0xdd], &packet].concat()
    };
    let of = |n: u32| [2, 9, 9, 0, (n >> 8) as u8, n as u8];
    for nd in [false, true] {
        let mut siege = Siege::gateway();
        let begin = siege.now;
        siege.attack((0..5000).map(|n| if nd { solicitation(of(n), n + 100) } else { request(of(n), [192, 168, 1, n as u8]) }));
        let dropped = siege.lost(&[(LAN_PORT, "punt-rate-limit")]);
        // 256 at once and 1000 a second.
        let allowed = 256 + (siege.now - begin) / (SECOND / 1000) + 1;
        assert!(dropped >= 5000 - allowed, "{dropped} of 5000 dropped, {allowed} allowed");
        assert!(siege.lab.lab.switch(0).fdb.len() <= 1024, "the switch learns no more addresses than it has room for");
        let punted = siege.lab.lab.counters(LAN_PORT).punted.get();
        siege.lab.lab.send(0, &request(mac(1).0, [192, 168, 1, 1]));
        assert_eq!(siege.lab.lab.counters(LAN_PORT).punted.get(), punted + 1);
        siege.lab.lab.assert_conserved();
    }
}

/// Packets to ever other neighbours that are not there: those that wait for an answer keep to their memory.
#[test]
fn a_scan_of_neighbours_that_are_not_there() {
    let mut siege = Siege::gateway();
    siege.lab.add_route("45.0.0.0/8", RouteKind::Unicast { interface: WAN, via: None });
    siege.attack((0..5000).map(|n| hostile(&ipv4("192.168.1.66", &address(45, n), 17, &udp(1, 2, &[0; 100])))));
    let full = siege.lost(&[(WAN_PORT, "neighbor-queue-full")]);
    assert_eq!(full, 5000 - SMALL as u64, "{:?}", siege.lab.drops());
    siege.now += 6 * SECOND;
    siege.lab.lab.pipeline.set_time(siege.now);
    siege.lab.lab.pipeline.send_waiting(&siege.lab.lab.snapshot, 0);
    assert!(!siege.lab.lab.pipeline.has_waiting(), "nothing is kept");
    siege.lab.lab.assert_conserved();
    siege.clear();
    siege.talk();
    siege.connect();
}
