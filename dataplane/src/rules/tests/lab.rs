//! A rule set with a packet in front of it.

use std::sync::Arc;

use wire::{Ipv4Header, Offload, checksum};

use crate::burst::BurstMemory;
use crate::clock::Nanos;
use crate::conntrack::{ConnId, Conntrack, CtState, Direction, FlowRef, Status, Template, Tracking, Tuple, Zone};
use crate::device::Wake;
use crate::events::EventQueue;
use crate::router::packet::Packet;
use crate::router::{Address, Family, InterfaceId, RouterId};
use crate::rules::{
    AddressTypes, Chain, ChainKind, Evaluation, Hook, Match, Policy, RouterView, Rule, RuleCache, RuleSet, RuleState, Table, Target, Test,
    Trace, Verdict,
};

pub(super) const WORKERS: usize = 2;

struct NoWake;

impl Wake for NoWake {
    fn wake(&self) {}
}

/// A router with 10.0.0.1/24, 2001:db8::1 and fe80::1 on interface 1 and 192.0.2.1/24 on interface 2, which has the default route.
pub(super) struct TwoLegs;

impl RouterView for TwoLegs {
    fn mtu_towards(&self, _: Family, _: Address) -> Option<u32> {
        None
    }

    fn id(&self) -> RouterId {
        RouterId(7)
    }

    fn address_types(&self, family: Family, address: Address, interface: Option<InterfaceId>) -> AddressTypes {
        let local = [(0x0a00_0001, InterfaceId(1)), (0xc000_0201, InterfaceId(2))];
        if local.iter().any(|(a, i)| address.0 == *a && interface.is_none_or(|wanted| wanted == *i)) {
            AddressTypes::LOCAL
        } else if address.is_multicast(family) {
            AddressTypes::MULTICAST
        } else {
            AddressTypes::UNICAST
        }
    }

    fn source_address(&self, family: Family, interface: InterfaceId, destination: Address) -> Option<Address> {
        match interface.0 {
            1 if family == Family::V6 && destination.is_link_local(family) => Some(Address(0xfe80 << 112 | 1)),
            1 if family == Family::V6 => Some(Address(0x2001_0db8 << 96 | 1)),
            1 => Some(Address(0x0a00_0001)),
            2 => Some(Address(0xc000_0201)),
            _ => None,
        }
    }

    fn reverse_path(&self, packet: &Packet, in_interface: Option<InterfaceId>, loose: bool, _accept_local: bool) -> bool {
        loose || (packet.source.0 >> 8 == 0x000a_0000) == (in_interface == Some(InterfaceId(1)))
    }
}

/// A packet at a hook.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub(super) octets: Vec<u8>,
    pub(super) family: Family,
    pub(super) in_interface: Option<InterfaceId>,
    pub(super) out_interface: Option<InterfaceId>,
    pub(super) mark: u32,
    pub(super) tracking: Option<Tracking>,
    pub(super) template: Template,
    pub(super) path_mtu: u32,
    pub(super) now: Nanos,
    pub(super) worker: usize,
}

/// TCP 10.0.0.5:40000 -> 198.51.100.9:80, SYN, from interface 1 to 2.
pub(super) fn tcp_syn() -> Probe {
    tcp(0x0a00_0005, 40_000, 0xc633_6409, 80, 0x02, &[2, 4, 5, 180])
}

pub(super) fn tcp(source: u32, source_port: u16, destination: u32, destination_port: u16, flags: u8, options: &[u8]) -> Probe {
    let mut segment = vec![0; 20];
    segment[..2].copy_from_slice(&source_port.to_be_bytes());
    segment[2..4].copy_from_slice(&destination_port.to_be_bytes());
    segment[12] = (((20 + options.len()) / 4) << 4) as u8;
    segment[13] = flags;
    segment.extend(options);
    let sum = checksum::pseudo_ipv4(source.into(), destination.into(), 6, segment.len() as u16).add(&segment).checksum();
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    ipv4(6, source, destination, &segment)
}

pub(super) fn udp(source: u32, source_port: u16, destination: u32, destination_port: u16) -> Probe {
    let mut datagram = vec![0; 12];
    datagram[..2].copy_from_slice(&source_port.to_be_bytes());
    datagram[2..4].copy_from_slice(&destination_port.to_be_bytes());
    datagram[5] = 12;
    ipv4(17, source, destination, &datagram)
}

pub(super) fn ipv4(protocol: u8, source: u32, destination: u32, payload: &[u8]) -> Probe {
    let mut octets = vec![0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 5, 8, 0];
    octets.extend([0x45, 0, 0, 0, 0, 7, 0x40, 0, 64, protocol, 0, 0]);
    octets.extend(source.to_be_bytes());
    octets.extend(destination.to_be_bytes());
    octets.extend(payload);
    octets[16..18].copy_from_slice(&((20 + payload.len()) as u16).to_be_bytes());
    Ipv4Header::new_checked(&mut octets[14..]).unwrap().fill_checksum();
    probe(octets, Family::V4)
}

/// From 2001:db8::5 to 2001:db8:1::9.
pub(super) fn ipv6(protocol: u8, payload: &[u8]) -> Probe {
    let mut octets = vec![0x52, 0x54, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 5, 0x86, 0xdd];
    octets.extend([0x60, 0, 0, 0, 0, payload.len() as u8, protocol, 64]);
    octets.extend(0x2001_0db8_0000_0000_0000_0000_0000_0005_u128.to_be_bytes());
    octets.extend(0x2001_0db8_0001_0000_0000_0000_0000_0009_u128.to_be_bytes());
    octets.extend(payload);
    probe(octets, Family::V6)
}

fn probe(octets: Vec<u8>, family: Family) -> Probe {
    Probe {
        octets,
        family,
        in_interface: Some(InterfaceId(1)),
        out_interface: Some(InterfaceId(2)),
        mark: 0,
        tracking: None,
        template: Template::default(),
        path_mtu: 1500,
        now: 0,
        worker: 0,
    }
}

impl Probe {
    /// The packet belongs to a known flow, in this direction.
    pub(super) fn of_flow(mut self, index: u32, direction: Direction, state: CtState) -> Probe {
        let tuple = self.tuple();
        let (original, reply) = match direction {
            Direction::Original => (tuple, tuple.inverse().unwrap()),
            Direction::Reply => (tuple.inverse().unwrap(), tuple),
        };
        self.tracking = Some(Tracking {
            state,
            direction,
            status: Status::CONFIRMED,
            original,
            reply,
            flow: FlowRef::Known(ConnId { index, generation: 1 }),
            ..Tracking::none(state)
        });
        self
    }

    pub(super) fn tuple(&self) -> Tuple {
        Tuple::of(&self.packet(), Zone { router: RouterId(0), number: 0 }).unwrap()
    }

    pub(super) fn packet(&self) -> Packet {
        let mut memory = BurstMemory::new();
        let mut burst = memory.burst();
        burst.push_borrowed(&self.octets, Offload::NONE, None);
        Packet::parse(&burst.frames()[0], self.family).unwrap()
    }

    /// Sets octets of the IP header on, and the checksum of IPv4.
    pub(super) fn with(mut self, at: usize, octets: &[u8]) -> Probe {
        self.octets[14 + at..14 + at + octets.len()].copy_from_slice(octets);
        if self.family == Family::V4 {
            Ipv4Header::new_checked(&mut self.octets[14..]).unwrap().fill_checksum();
        }
        self
    }
}

/// What evaluation needs beside the packet.
pub(super) struct Lab {
    pub(super) cache: RuleCache,
    pub(super) events: EventQueue,
    pub(super) conntrack: Conntrack,
}

impl Lab {
    pub(super) fn new() -> Lab {
        Lab { cache: RuleCache::new(64, 1), events: EventQueue::new(Arc::new(NoWake)), conntrack: Conntrack::new(16, WORKERS) }
    }

    /// Lets `ask` look at a packet, which keeps the edits.
    pub(super) fn evaluate<R>(&mut self, probe: &mut Probe, ask: impl FnOnce(&mut Evaluation<'_, '_>) -> R) -> R {
        let mut memory = BurstMemory::new();
        let octets = probe.octets.clone();
        let mut burst = memory.burst();
        burst.push_borrowed(&octets, Offload::NONE, None);
        let frame = &mut burst.frames_mut()[0];
        let mut packet = Packet::parse(frame, probe.family).unwrap();
        let result = ask(&mut Evaluation {
            frame,
            packet: &mut packet,
            in_interface: probe.in_interface,
            out_interface: probe.out_interface,
            mark: &mut probe.mark,
            tracking: probe.tracking.as_mut(),
            conntrack: &self.conntrack,
            template: &mut probe.template,
            router: &TwoLegs,
            path_mtu: probe.path_mtu,
            now: probe.now,
            worker: probe.worker,
            cache: &mut self.cache,
            events: &self.events,
            trace: &mut Trace::default(),
        });
        assert_eq!(Packet::parse(frame, probe.family), Some(packet), "frame and packet are in step");
        probe.octets = frame.head().to_vec();
        result
    }

    pub(super) fn ask(&mut self, set: &RuleSet, table: Table, hook: Hook, probe: &mut Probe) -> Verdict {
        self.evaluate(probe, |evaluation| {
            let mut verdict = None;
            let allocations = allocation_counter::measure(|| verdict = Some(set.evaluate(table, hook, evaluation)));
            assert_eq!((allocations.count_total, allocations.count_max), (0, 0), "workers allocate nothing");
            verdict.unwrap()
        })
    }
}

pub(super) fn state() -> Arc<RuleState> {
    Arc::new(RuleState::new(WORKERS))
}

pub(super) fn rule(matches: Vec<Match>, target: Target) -> Rule {
    Rule { matches, target, state: state() }
}

pub(super) fn is(test: Test) -> Match {
    Match { invert: false, test }
}

pub(super) fn not(test: Test) -> Match {
    Match { invert: true, test }
}

pub(super) fn base(table: Table, hook: Hook, policy: Policy, rules: Vec<Rule>) -> Chain {
    Chain { table, name: hook.name().into(), kind: ChainKind::Base { hook, policy, state: state() }, rules }
}

pub(super) fn user(table: Table, name: &str, rules: Vec<Rule>) -> Chain {
    Chain { table, name: name.into(), kind: ChainKind::User, rules }
}

pub(super) fn packets(chain: &Chain) -> Vec<u64> {
    chain.rules.iter().map(|rule| rule.state.counts().0).collect()
}

pub(super) fn policy_packets(chain: &Chain) -> u64 {
    match &chain.kind {
        ChainKind::Base { state, .. } => state.counts().0,
        ChainKind::User => unreachable!("asked for base chains only"),
    }
}

/// Whether a rule with these matches catches a packet at hook FORWARD, asked twice so that the cache answers as well.
pub(super) fn catches(matches: Vec<Match>, probe: &Probe) -> bool {
    let family = probe.family;
    let mut rules = vec![rule(matches, Target::Drop)];
    // Enough rules that never match for an index and a cache.
    rules.extend((0..20).map(|i| rule(vec![is(Test::Protocol(200 + i))], Target::Accept)));
    let chain = base(Table::Filter, Hook::Forward, Policy::Accept, rules);
    let set = RuleSet::build(family, core::slice::from_ref(&chain)).unwrap();
    let mut lab = Lab::new();
    let answers: Vec<bool> = (0..3).map(|_| lab.ask(&set, Table::Filter, Hook::Forward, &mut probe.clone()) == Verdict::Drop).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]), "the cache answers as the walk: {answers:?}");
    assert_eq!(packets(&chain)[0], if answers[0] { 3 } else { 0 });
    answers[0]
}
