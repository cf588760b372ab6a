//! Packets of established flows go a short way through routers. It has to lead where the long way leads: the same packets go the same
//! way through two routers, one of which forgets all paths before each packet.

mod lab;

use std::sync::Arc;

use dataplane::conntrack::{Direction, FlowInfo};
use dataplane::memory::MemoryFrame;
use dataplane::nat::NatRange;
use dataplane::router::neighbour::Neighbour;
use dataplane::router::{Address, Family};
use dataplane::rules::{
    Chain, ChainId, ChainKind, CtStates, Hook, Match, Policy, PortRange, Ports, Rule, RuleSet, RuleState, Table, Target, TcpMss, Test,
};
use lab::router::{LAN, LAN_MAC, RouterLab, WAN, WAN_MAC, ethernet, ip, route, seal, station};
use proptest::prelude::*;
use wire::checksum::Sum;
use wire::{MacAddr, Offload, ip_protocol, tcp, virtio_net};

/// 2^28 ns.
const TICK: u64 = 1 << 28;
const FLOWS: u8 = 8;
/// The MAC address that a neighbour has after it moved.
const MOVED: MacAddr = MacAddr([0x52, 0x54, 0, 9, 9, 9]);

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Op {
    /// A packet of a flow.
    Packet { flow: u8, reply: bool, kind: Kind, len: u16, offload: u8 },
    /// Time passes, in ticks.
    Wait(u16),
    /// A neighbour gets another MAC address, or its own again.
    Move { wan: bool, away: bool },
    /// A neighbour does not answer any more, or is known again.
    Fail { wan: bool, fails: bool },
    /// All flows are deleted.
    Flush,
    /// A new configuration, or the same once more.
    Prepare { rules: u8 },
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// What the flow needs to go on: SYN, SYN/ACK, ACK, or a datagram.
    Next,
    /// Data with these flags beside ACK.
    Data {
        flags: u8,
    },
    /// The last data again.
    Again,
    /// Far out of the window.
    OutOfWindow,
    Fin,
    Rst,
    /// Octets that are not as the checksum says.
    Damaged,
    /// Length or header checksum of IP are wrong.
    BadHeader,
    /// At the end of its life, or nearly.
    Ttl(u8),
    /// With IP options.
    Options,
    /// DSCP and ECN.
    TrafficClass(u8),
    /// UDP without checksum.
    NoChecksum,
    /// The first fragment of two.
    Fragment,
    /// More octets in the frame than in the packet.
    Padding,
}

fn op() -> impl Strategy<Value = Op> {
    let kind = prop_oneof![
        12 => Just(Kind::Next),
        8 => any::<u8>().prop_map(|flags| Kind::Data { flags: flags & 0xe8 }),
        2 => Just(Kind::Again),
        1 => Just(Kind::OutOfWindow),
        1 => Just(Kind::Fin),
        1 => Just(Kind::Rst),
        1 => Just(Kind::Damaged),
        1 => Just(Kind::BadHeader),
        1 => (0u8..4).prop_map(Kind::Ttl),
        1 => Just(Kind::Options),
        1 => any::<u8>().prop_map(Kind::TrafficClass),
        1 => Just(Kind::NoChecksum),
        1 => Just(Kind::Fragment),
        1 => Just(Kind::Padding),
    ];
    let len = prop_oneof![4 => 0u16..64, 2 => 0u16..1472, 1 => 1400u16..3000];
    prop_oneof![
        60 => (0..FLOWS, any::<bool>(), kind, len, 0u8..4)
            .prop_map(|(flow, reply, kind, len, offload)| Op::Packet { flow, reply, kind, len, offload }),
        2 => (1u16..2000).prop_map(Op::Wait),
        1 => any::<(bool, bool)>().prop_map(|(wan, away)| Op::Move { wan, away }),
        1 => any::<(bool, bool)>().prop_map(|(wan, fails)| Op::Fail { wan, fails }),
        1 => Just(Op::Flush),
        1 => (0u8..RULE_SETS).prop_map(|rules| Op::Prepare { rules }),
    ]
}

/// A flow as its ends know it.
#[derive(Clone, Copy, Default)]
struct Ends {
    /// What each has sent, and its first sequence number.
    sent: [u32; 2],
    begun: [bool; 2],
}

/// What left since the last look, and what is counted.
#[derive(Debug, PartialEq)]
struct Seen {
    frames: Vec<Vec<Vec<u8>>>,
    drops: Vec<(usize, &'static str, u64)>,
    flows: Vec<FlowInfo>,
    /// Packets and octets.
    rules: Vec<(u64, u64)>,
    /// Packets and octets received, and transmitted.
    ports: Vec<[u64; 4]>,
}

struct World {
    lab: RouterLab,
    ends: [Ends; FLOWS as usize],
    now: u64,
    counters: Vec<Arc<RuleState>>,
    forgets: bool,
}

const RULE_SETS: u8 = 8;

fn matching(test: Test) -> Match {
    Match { invert: false, test }
}

/// Rules by number, with the states that count them.
fn rules(number: u8) -> (Vec<Chain>, Vec<Arc<RuleState>>) {
    let mut states = Vec::new();
    let mut state = || {
        let state = Arc::new(RuleState::new(1));
        states.push(state.clone());
        state
    };
    let mut base = |table, hook: Hook, policy, rules: Vec<(Vec<Match>, Target)>| {
        let rules = rules.into_iter().map(|(matches, target)| Rule { matches, target, state: state() }).collect();
        Chain { table, name: hook.name().into(), kind: ChainKind::Base { hook, policy, state: state() }, rules }
    };
    let out = vec![matching(Test::OutInterface([WAN].into_iter().collect()))];
    let ct = |states| matching(Test::CtState(states));
    let ports = |first, last| matching(Test::Ports(Ports::Destination(PortRange { first, last })));
    let tcp = || matching(Test::Protocol(ip_protocol::TCP));
    let flags = |mask, compare| vec![tcp(), matching(Test::TcpFlags { mask, compare })];
    let masquerade = vec![(out, Target::Masquerade { ports: None, random: false })];
    let mut chains = vec![base(Table::Nat, Hook::Postrouting, Policy::Accept, masquerade)];
    match number {
        0 => {}
        1 => chains.push(base(
            Table::Filter,
            Hook::Forward,
            Policy::Drop,
            vec![
                (vec![ct(CtStates::ESTABLISHED)], Target::Accept),
                (vec![ct(CtStates::INVALID)], Target::Drop),
                (vec![ct(CtStates::NEW), matching(Test::Limit { interval: 1_000_000, burst: 1000 })], Target::Accept),
            ],
        )),
        // The same for all packets of a flow, but with what the first has: as in most rule sets.
        2 => {
            chains.push(base(
                Table::Mangle,
                Hook::Forward,
                Policy::Accept,
                vec![(flags(0x06, 0x02), Target::TcpMss(TcpMss::Set(536))), (flags(0x17, 0x10), Target::None)],
            ));
            chains.push(base(Table::Raw, Hook::Prerouting, Policy::Accept, vec![(vec![tcp()], Target::None)]));
            chains.push(base(
                Table::Filter,
                Hook::Forward,
                Policy::Accept,
                vec![(vec![ports(443, 443)], Target::None), (vec![matching(Test::Mark { value: 0, mask: 1 })], Target::Accept)],
            ));
        }
        // What differs from packet to packet.
        3 => chains.push(base(
            Table::Filter,
            Hook::Forward,
            Policy::Accept,
            vec![
                (vec![matching(Test::Length(100, 200))], Target::None),
                (flags(0x08, 0x08), Target::None),
                (vec![matching(Test::Dscp(8))], Target::Drop),
            ],
        )),
        4 => chains.push(base(
            Table::Mangle,
            Hook::Postrouting,
            Policy::Accept,
            vec![
                (vec![ports(53, 53)], Target::Dscp(46)),
                (vec![matching(Test::Limit { interval: 1_000_000_000, burst: 3 })], Target::Mark { value: 1, mask: 1 }),
                (vec![matching(Test::Mark { value: 1, mask: 1 })], Target::None),
            ],
        )),
        // Translated both ways, and only in part untracked.
        5 => {
            let server = NatRange { ports: Some((8443, 8443)), ..NatRange::address(ip("203.0.113.5")) };
            let to = vec![tcp(), ports(443, 443)];
            chains.push(base(Table::Nat, Hook::Prerouting, Policy::Accept, vec![(to, Target::Dnat { range: server, hairpin: false })]));
            chains.push(base(
                Table::Raw,
                Hook::Prerouting,
                Policy::Accept,
                vec![(
                    vec![matching(Test::Length(500, 600))],
                    Target::Ct(dataplane::conntrack::Template { notrack: true, ..Default::default() }),
                )],
            ));
        }
        // More counters than a path has room for.
        6 => {
            let many = (0..12).map(|_| (vec![tcp()], Target::None)).collect();
            chains.push(base(Table::Filter, Hook::Forward, Policy::Accept, many));
        }
        // Without translation.
        _ => {
            chains.clear();
            chains.push(base(
                Table::Filter,
                Hook::Forward,
                Policy::Accept,
                vec![(vec![tcp()], Target::Jump(ChainId(1))), (vec![ct(CtStates::ESTABLISHED)], Target::Accept)],
            ));
            let count = |target| Rule { matches: vec![ct(CtStates::ESTABLISHED)], target, state: Arc::new(RuleState::new(1)) };
            let inner = vec![count(Target::None), count(Target::Return)];
            states.extend(inner.iter().map(|rule| rule.state.clone()));
            chains.push(Chain { table: Table::Filter, name: "inner".into(), kind: ChainKind::User, rules: inner });
        }
    }
    (chains, states)
}

impl World {
    fn new(rules: u8, forgets: bool) -> World {
        let mut lab = RouterLab::new();
        lab.add_route(
            "2001:db8::/64",
            route("::/0", dataplane::router::fib::RouteKind::Unicast { interface: WAN, via: Some(ip("fd00:2::1")) }).kind,
        );
        lab.router().conntrack.acct = true;
        let mut world = World { lab, ends: Default::default(), now: TICK, counters: Vec::new(), forgets };
        world.set_rules(rules);
        world.set_time();
        world
    }

    fn set_rules(&mut self, number: u8) {
        let [(v4, a), (v6, b)] = [rules(number), rules(if number == 5 { 0 } else { number })];
        let router = self.lab.router();
        router.rules =
            [(Family::V4, v4), (Family::V6, v6)].map(|(family, chains)| Some(Arc::new(RuleSet::build(family, &chains).unwrap())));
        self.counters.extend(a.into_iter().chain(b));
        self.lab.lab.pipeline.prepare(&self.lab.lab.snapshot);
    }

    fn set_time(&mut self) {
        self.lab.lab.pipeline.set_time(self.now);
        self.lab.lab.now = (self.now / TICK) as u32;
    }

    fn neighbour(&mut self, wan: bool, mac: Option<MacAddr>) {
        for neighbour in &mut self.lab.neighbours {
            let n = neighbour.address.0 as u8;
            if wan == (neighbour.interface == WAN) && n == 1 {
                *neighbour = Neighbour { mac, ..*neighbour };
            }
        }
        // Not through the lab, which would prepare a new configuration.
        let router = self.lab.lab.snapshot.routers[0].as_ref().unwrap();
        router.state.neighbours.publish(&self.lab.neighbours, 1);
    }

    fn play(&mut self, op: Op) {
        match op {
            Op::Packet { flow, reply, kind, len, offload } => self.packet(flow, reply, kind, len, offload),
            Op::Wait(ticks) => {
                self.now += u64::from(ticks) * TICK;
                self.set_time();
            }
            Op::Move { wan, away } => self.neighbour(wan, Some(if away { MOVED } else { station(if wan { WAN } else { LAN }, 1) })),
            Op::Fail { wan, fails } => self.neighbour(wan, (!fails).then_some(station(if wan { WAN } else { LAN }, 1))),
            Op::Flush => {
                let router = self.lab.lab.snapshot.routers[0].as_ref().unwrap();
                router.state.connections.flush(None, self.now);
            }
            Op::Prepare { rules } => self.set_rules(rules),
        }
    }

    /// Ends of a flow as the packets of the direction have them, from what the router made of the first packet.
    fn ends_of(&self, flow: u8, reply: bool) -> Option<([Address; 2], [u16; 2])> {
        let v6 = flow % 4 == 3;
        let (client, server) = if v6 { ("fd00:1::1", "2001:db8::7") } else { ("192.168.1.1", "198.51.100.7") };
        let (client, server) = (ip(client), ip(server));
        let ports = [40_000 + u16::from(flow), if flow % 4 == 1 { 53 } else { 443 }];
        if !reply {
            return Some(([client, server], ports));
        }
        let found = self
            .flows()
            .into_iter()
            .find(|info| (info.original.source, info.original.destination) == (client, server) && info.original.source_port == ports[0])?;
        Some(([found.reply.source, found.reply.destination], [found.reply.source_port, found.reply.destination_port]))
    }

    fn packet(&mut self, flow: u8, reply: bool, kind: Kind, len: u16, offload: u8) {
        let Some((addresses, ports)) = self.ends_of(flow, reply) else { return };
        let is_udp = flow % 4 == 1;
        let v6 = flow % 4 == 3;
        let (me, other) = (usize::from(reply), usize::from(!reply));
        let mut payload: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
        let ends = &mut self.ends[usize::from(flow)];
        let isn = [1000, 4_000_000_000u32][me];
        let mut flags = tcp::ACK as u8;
        let mut seq = isn.wrapping_add(1).wrapping_add(ends.sent[me]);
        let ack = [1000, 4_000_000_000u32][other].wrapping_add(1).wrapping_add(ends.sent[other]);
        match kind {
            Kind::Next if !is_udp && !ends.begun[me] => {
                payload.clear();
                seq = isn;
                flags = if reply { (tcp::SYN | tcp::ACK) as u8 } else { tcp::SYN as u8 };
                ends.begun[me] = true;
            }
            Kind::Again => seq = seq.wrapping_sub(u32::from(len)),
            Kind::OutOfWindow => seq = seq.wrapping_add(1 << 30),
            Kind::Fin => flags |= tcp::FIN as u8,
            Kind::Rst => flags |= tcp::RST as u8,
            Kind::Data { flags: more } => flags |= more,
            _ => {}
        }
        if matches!(kind, Kind::Next | Kind::Data { .. } | Kind::Ttl(_) | Kind::TrafficClass(_) | Kind::Padding) {
            ends.sent[me] = ends.sent[me].wrapping_add(payload.len() as u32);
        }
        if flags & (tcp::FIN | tcp::RST) as u8 != 0 && !is_udp {
            *ends = Ends::default();
        }
        let mut upper = [ports[0].to_be_bytes(), ports[1].to_be_bytes()].concat();
        if is_udp {
            upper.extend((8 + payload.len() as u16).to_be_bytes());
            upper.extend([0, 0]);
        } else {
            upper.extend([seq.to_be_bytes(), ack.to_be_bytes()].concat());
            upper.extend([0x50, flags, 0x40, 0, 0, 0, 0, 0]);
        }
        let (header_len, field, protocol) = if is_udp { (8, 6, ip_protocol::UDP) } else { (20, 16, ip_protocol::TCP) };
        upper.extend(&payload);
        let pseudo = if v6 {
            wire::checksum::pseudo_ipv6(addresses[0].to_v6(), addresses[1].to_v6(), protocol, upper.len() as u32)
        } else {
            wire::checksum::pseudo_ipv4(addresses[0].to_v4(), addresses[1].to_v4(), protocol, upper.len() as u16)
        };
        let mut said = Offload::NONE;
        let l3_len = if v6 { 40 } else { 20 };
        let sum = pseudo.add(&upper).nonzero_checksum();
        upper[field..field + 2].copy_from_slice(&sum.to_be_bytes());
        match (kind, offload) {
            (Kind::NoChecksum, _) if is_udp && !v6 => upper[field..field + 2].fill(0),
            (Kind::Damaged, _) => *upper.last_mut().unwrap() ^= 1,
            (Kind::Fragment | Kind::Options, _) => {}
            // As a guest that leaves the checksum to be finished, and segments to be cut.
            (_, 1) => {
                upper[field..field + 2].copy_from_slice(&pseudo.fold().to_be_bytes());
                said = Offload { flags: virtio_net::FLAG_NEEDS_CSUM, csum_start: 14 + l3_len, csum_offset: field as u16, ..Offload::NONE };
                if !is_udp && payload.len() > 500 {
                    said.gso_type = if v6 { virtio_net::GSO_TCPV6 } else { virtio_net::GSO_TCPV4 };
                    (said.gso_size, said.hdr_len) = (500, 14 + l3_len + header_len);
                }
            }
            (_, 2) => said.flags = virtio_net::FLAG_DATA_VALID,
            _ => {}
        }
        let packet = self.ip(addresses, v6, protocol, kind, upper);
        let (to, from, port) = if reply { (WAN_MAC, station(WAN, 1), 2) } else { (LAN_MAC, station(LAN, 1), 0) };
        let mut octets = ethernet(to, from, &packet);
        octets.truncate(14 + packet.len().max(if said == Offload::NONE { 46 } else { 0 }));
        if matches!(kind, Kind::Padding) {
            octets.extend([0xee; 9]);
        }
        if self.forgets {
            self.lab.lab.pipeline.prepare(&self.lab.lab.snapshot);
        }
        self.lab.lab.send_frame(port, MemoryFrame { octets, offload: said, tag: None });
    }

    fn ip(&self, [source, destination]: [Address; 2], v6: bool, protocol: u8, kind: Kind, upper: Vec<u8>) -> Vec<u8> {
        let ttl = if let Kind::Ttl(ttl) = kind { ttl } else { 64 };
        let class = if let Kind::TrafficClass(class) = kind { class } else { 0 };
        if v6 {
            let mut packet = vec![0x60 | class >> 4, class << 4, 0, 0];
            let options: &[u8] = if matches!(kind, Kind::Options) { &[protocol, 0, 1, 4, 0, 0, 0, 0] } else { &[] };
            packet.extend(((upper.len() + options.len()) as u16).to_be_bytes());
            packet.extend([if options.is_empty() { protocol } else { 60 }, ttl]);
            packet.extend([source.to_v6().octets(), destination.to_v6().octets()].concat());
            packet.extend(options);
            packet.extend(upper);
            if matches!(kind, Kind::BadHeader) {
                packet[4] ^= 0x40;
            }
            return packet;
        }
        let options: &[u8] = if matches!(kind, Kind::Options) { &[1, 1, 1, 0] } else { &[] };
        let len = (20 + options.len() + upper.len()) as u16;
        let mut packet = vec![0x45 + (options.len() / 4) as u8, class];
        packet.extend(len.to_be_bytes());
        packet.extend([0, 9, if matches!(kind, Kind::Fragment) { 0x20 } else { 0 }, 0, ttl, protocol, 0, 0]);
        packet.extend([source.to_v4().octets(), destination.to_v4().octets()].concat());
        packet.extend(options);
        packet.extend(upper);
        seal(&mut packet);
        if matches!(kind, Kind::BadHeader) {
            packet[10] ^= 0x40;
        }
        packet
    }

    fn flows(&self) -> Vec<FlowInfo> {
        let router = self.lab.lab.snapshot.routers[0].as_ref().unwrap();
        let mut flows = Vec::new();
        router.state.connections.list(0, u32::MAX, self.now, |info| flows.push(*info));
        flows
    }

    fn seen(&mut self) -> Seen {
        let frames = (0..4).map(|port| self.lab.lab.out(port)).collect();
        let rules = self.counters.iter().map(|state| state.counts()).collect();
        let ports = (0..6).map(|port| {
            let counters = self.lab.lab.counters(port);
            [&counters.rx_packets, &counters.rx_bytes, &counters.tx_packets, &counters.tx_bytes].map(|counter| counter.get())
        });
        let ports = ports.collect();
        Seen { frames, drops: self.lab.drops(), flows: self.flows(), rules, ports }
    }
}

fn short_and_long(set: u8, ops: &[Op]) -> Result<u64, TestCaseError> {
    let (mut short, mut long) = (World::new(set, false), World::new(set, true));
    for (i, op) in ops.iter().enumerate() {
        short.play(*op);
        long.play(*op);
        prop_assert_eq!(short.seen(), long.seen(), "after {} {:?}", i, op);
    }
    prop_assert_eq!(long.lab.lab.pipeline.on_path(), 0, "who forgets goes the long way");
    short.lab.lab.assert_conserved();
    Ok(short.lab.lab.pipeline.on_path())
}

proptest! {
    #[test]
    fn both_ways_lead_to_the_same(set in 0..RULE_SETS, ops in prop::collection::vec(op(), 1..200)) {
        short_and_long(set, &ops)?;
    }
}

/// A flow with everything it needs, and how many of its packets go the short way.
fn ordinary(set: u8) -> u64 {
    let packet = |flow, reply| Op::Packet { flow, reply, kind: Kind::Next, len: 10, offload: 0 };
    let ops: Vec<Op> = (0..4)
        .flat_map(|flow| [false, true, false].into_iter().chain((0..10).map(|i| i % 2 == 0)).map(move |reply| packet(flow, reply)))
        .collect();
    short_and_long(set, &ops).unwrap()
}

/// That the ways lead to the same is worth something only if packets go the short one: all but those that begin a flow and those that
/// leave the two paths behind. Rules that differ from packet to packet have none.
#[test]
fn packets_of_ordinary_flows_go_the_short_way() {
    for set in [0, 1, 2, 7] {
        assert!(ordinary(set) >= 4 * 8, "{} of rule set {set}", ordinary(set));
    }
    assert_eq!(ordinary(3), 0);
    assert!(ordinary(6) < 4 * 8, "only UDP");
}

/// What was decided for a flow ends with it, also if another with the same addresses takes its place.
#[test]
fn a_path_ends_with_its_flow() {
    let mut world = World::new(0, false);
    let packet = |world: &mut World, reply| world.play(Op::Packet { flow: 1, reply, kind: Kind::Next, len: 10, offload: 0 });
    for reply in [false, true, false, true, false, true] {
        packet(&mut world, reply);
    }
    let short = world.lab.lab.pipeline.on_path();
    assert!(short >= 2, "{short}");
    world.play(Op::Flush);
    packet(&mut world, false);
    assert_eq!(world.lab.lab.pipeline.on_path(), short);
    let flows = world.flows();
    assert_eq!((flows.len(), flows[0].is_unreplied()), (1, true), "a new flow");
    assert_eq!(flows[0].counts.unwrap()[Direction::Original.index()].packets, 1);
}

/// The sums of what a path changes are those of RFC 1624, also where the sum is all zeros or all ones.
#[test]
fn a_checksum_of_all_ones_stays_right() {
    let mut world = World::new(0, false);
    for reply in [false, true, false, true] {
        world.play(Op::Packet { flow: 0, reply, kind: Kind::Next, len: 10, offload: 0 });
    }
    for i in 0..2000u16 {
        world.play(Op::Packet { flow: 1, reply: i % 2 == 1, kind: Kind::Next, len: i % 50, offload: 0 });
        for out in [0, 2] {
            for frame in world.lab.lab.out(out) {
                let packet = &frame[14..];
                let header = &packet[..20];
                assert_eq!(Sum::of(header).fold(), 0xffff);
                if packet[9] == 17 {
                    let (a, b) = (&packet[12..16], &packet[16..20]);
                    let sum = Sum::of(a).add(b).add_word(17).add_word(packet.len() as u16 - 20).add(&packet[20..]);
                    assert_eq!(sum.fold(), 0xffff, "{packet:02x?}");
                }
            }
        }
    }
}

/// What is asked for ahead of time in a large table changes nothing: bursts of packets of many flows, known and new, long and cut.
#[test]
fn bursts_through_a_large_table() {
    const FLOWS: u16 = 6000;
    let mut world = World::new(7, false);
    let datagram = |flow: u16, v6: bool| {
        let payload = [&(20_000 + flow).to_be_bytes()[..], &[0, 53, 0, 12, 0, 0, 1, 2, 3, 4]].concat();
        let packet = if v6 {
            let mut payload = payload;
            let ends = [ip("fd00:1::1"), ip("2001:db8::7")].map(Address::to_v6);
            let sum = wire::checksum::pseudo_ipv6(ends[0], ends[1], 17, payload.len() as u32).add(&payload).nonzero_checksum();
            payload[6..8].copy_from_slice(&sum.to_be_bytes());
            lab::router::ipv6("fd00:1::1", "2001:db8::7", 17, &payload)
        } else {
            lab::router::ipv4("192.168.1.1", "198.51.100.7", 17, &payload)
        };
        ethernet(LAN_MAC, station(LAN, 1), &packet)
    };
    let mut sent = 0;
    for round in 0..2 {
        for first in (0..FLOWS).step_by(30) {
            for flow in first..first + 30 {
                let frame = datagram(flow, flow % 3 == 0);
                assert!(world.lab.lab.devices[0].inject(MemoryFrame::new(frame)));
                sent += 1;
            }
            // Cut behind the Ethernet header, and in the middle of it.
            for len in [14, 16, 34] {
                assert!(world.lab.lab.devices[0].inject(MemoryFrame::new(&datagram(first, false)[..len])));
            }
            world.lab.lab.run();
            assert_eq!(world.lab.got(WAN).len(), 30, "round {round}, flows from {first} on");
        }
    }
    assert_eq!((world.flows().len(), sent), (usize::from(FLOWS), 2 * usize::from(FLOWS)));
    world.lab.lab.assert_conserved();
}
