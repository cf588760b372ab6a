//! Rule sets of any shape: the cache against the walk against a walk that asks rule after rule, and the work that thousands of
//! rules are.

use proptest::prelude::*;

use super::lab::{Lab, Probe, base, is, not, packets, policy_packets, rule, state, tcp, tcp_syn, udp, user};
use crate::conntrack::{CtState, Direction, Status, Tracking};
use crate::router::{Address, Family, InterfaceId};
use crate::rules::holds::all_hold;
use crate::rules::perform::{Next, perform};
use crate::rules::{
    Chain, ChainId, ChainKind, CtStates, End, Evaluation, Hook, Match, Network, Policy, PortRange, Ports, Rule, RuleSet, Statistic, Table,
    Target, Test, Verdict,
};

/// The walk as iptables describes it: every rule of every chain in order, all matches as they are written.
fn reference(chains: &[Chain], chain: usize, evaluation: &mut Evaluation<'_, '_>) -> Option<Verdict> {
    for rule in &chains[chain].rules {
        if !all_hold(&rule.matches, &rule.state, evaluation) {
            continue;
        }
        rule.state.count(evaluation.worker, evaluation.packet.len);
        match perform(&rule.target, Hook::Forward, evaluation) {
            Next::Rule => {}
            Next::Done(verdict) => return Some(verdict),
            Next::Return => return None,
            Next::Goto(to) => return reference(chains, to.0 as usize, evaluation),
            Next::Jump(to) => {
                if let Some(verdict) = reference(chains, to.0 as usize, evaluation) {
                    return Some(verdict);
                }
            }
        }
    }
    None
}

/// The same of a base chain, with its policy.
fn reference_base(chains: &[Chain], evaluation: &mut Evaluation<'_, '_>) -> Verdict {
    reference(chains, 0, evaluation).unwrap_or_else(|| {
        let ChainKind::Base { policy, state, .. } = &chains[0].kind else { unreachable!("the first chain is the base chain") };
        state.count(evaluation.worker, evaluation.packet.len);
        if *policy == Policy::Drop { Verdict::Drop } else { Verdict::Accept }
    })
}

/// Matches over few values, so that many rules match many packets.
fn any_match() -> impl Strategy<Value = Match> {
    let address = || {
        (0u32..4, 0u32..4, 0usize..5).prop_map(|(net, host, mask)| {
            let mask: u32 = [0xffff_ffff, 0xffff_ff00, 0xff00_0000, 0x0000_0003, 0][mask];
            Network::new(Address((0x0a00_0000 | net << 8 | host).into()), mask.into())
        })
    };
    let port = || (0u16..6, 0u16..3).prop_map(|(first, more)| PortRange { first: 78 + first, last: 78 + first + more });
    let ports = || prop::collection::vec(prop_oneof![3 => (78u16..84).prop_map(|p| PortRange { first: p, last: p }), 1 => port()], 1..4);
    let interfaces = || prop::collection::vec(0u8..4, 1..3).prop_map(|ids| ids.into_iter().map(InterfaceId).collect());
    let end = || prop_oneof![Just(End::Source), Just(End::Destination)];
    let way = || prop_oneof![Just(Direction::Original), Just(Direction::Reply)];
    let test = prop_oneof![
        4 => prop_oneof![Just(6u8), Just(17)].prop_map(Test::Protocol),
        4 => address().prop_map(Test::Source),
        4 => address().prop_map(Test::Destination),
        1 => (0u128..1024, 0u128..1024).prop_map(|(a, b)| Test::SourceRange(Address(0x0a00_0000 + a.min(b)), Address(0x0a00_0000 + a.max(b)))),
        1 => interfaces().prop_map(Test::InInterface),
        1 => interfaces().prop_map(Test::OutInterface),
        3 => port().prop_map(|range| Test::Ports(Ports::Destination(range))),
        1 => port().prop_map(|range| Test::Ports(Ports::Source(range))),
        1 => ports().prop_map(|ranges| Test::Ports(Ports::MultiDestination(ranges.into()))),
        1 => ports().prop_map(|ranges| Test::Ports(Ports::MultiSource(ranges.into()))),
        1 => ports().prop_map(|ranges| Test::Ports(Ports::MultiEither(ranges.into()))),
        1 => (0u8..128).prop_map(|states| Test::CtState(CtStates(states))),
        1 => way().prop_map(Test::CtDirection),
        1 => (way(), end(), address()).prop_map(|(way, end, network)| Test::CtAddress(way, end, network)),
        1 => (way(), end(), port()).prop_map(|(way, end, range)| Test::CtPort(way, end, range)),
        1 => Just(Test::CtStatus(Status::ASSURED)),
        1 => (0u32..4, 1u32..4).prop_map(|(value, mask)| Test::Mark { value: value & mask, mask }),
        1 => (0u32..4, 1u32..4).prop_map(|(value, mask)| Test::ConnMark { value: value & mask, mask }),
        1 => (60u8..66).prop_map(|ttl| Test::Ttl(crate::rules::Ttl::Less(ttl))),
        1 => (0u8..4).prop_map(Test::Dscp),
        1 => Just(Test::TcpFlags { mask: 0x17, compare: 2 }),
        1 => (1u64..5, 1u32..4).prop_map(|(interval, burst)| Test::Limit { interval, burst }),
        1 => (1u32..4).prop_map(|every| Test::Statistic(Statistic::Nth { every, packet: every - 1 })),
    ];
    (prop::bool::weighted(0.15), test).prop_map(|(invert, test)| Match { invert, test })
}

/// Targets of a rule in chain `at` of `chains`: jumps lead to later chains only.
fn any_target(at: u32, chains: u32) -> BoxedStrategy<Target> {
    let simple = prop_oneof![
        4 => Just(Target::None),
        2 => Just(Target::Accept),
        2 => Just(Target::Drop),
        2 => Just(Target::Return),
        3 => (0u32..4, 0u32..4).prop_map(|(value, mask)| Target::Mark { value, mask }),
        1 => (0u8..4).prop_map(Target::Dscp),
        1 => (0u32..4).prop_map(|value| Target::ConnMark(crate::rules::ConnMark::Set { value, mask: u32::MAX })),
    ];
    if at + 1 == chains {
        return simple.boxed();
    }
    prop_oneof![
        2 => simple,
        1 => (at + 1..chains).prop_map(|to| Target::Jump(ChainId(to))),
        1 => (at + 1..chains).prop_map(|to| Target::Goto(ChainId(to))),
    ]
    .boxed()
}

fn any_rules(at: u32, chains: u32) -> impl Strategy<Value = Vec<Rule>> {
    let matches = prop::collection::vec(any_match(), 0..4).prop_map(|mut matches| {
        let mut meters = 0;
        matches.retain(|m| {
            meters += usize::from(m.test.is_metered());
            !m.test.is_metered() || meters <= crate::rules::RuleState::METERS_MAX
        });
        matches
    });
    let rule = (matches, any_target(at, chains)).prop_map(|(matches, target)| rule(matches, target)).boxed();
    // Short chains have no index, long ones do; most rules of a flow's program come from short ones.
    prop_oneof![prop::collection::vec(rule.clone(), 0..5), prop::collection::vec(rule, 16..40)]
}

fn any_chains() -> impl Strategy<Value = Vec<Chain>> {
    let policy = prop_oneof![Just(Policy::Accept), Just(Policy::Drop)];
    // Bit 4 of the mark is never looked at: the rule only keeps the base chain from being empty.
    (policy, any_rules(0, 4), any_rules(1, 4), any_rules(2, 4), any_rules(3, 4)).prop_map(|(policy, mut first, a, b, c)| {
        first.push(rule(vec![], Target::Mark { value: 16, mask: 16 }));
        let user = |name, rules| user(Table::Mangle, name, rules);
        vec![base(Table::Mangle, Hook::Forward, policy, first), user("A", a), user("B", b), user("C", c)]
    })
}

/// One of eight flows, in one of the two directions, in one of the states.
fn any_probe() -> impl Strategy<Value = Probe> {
    (0u32..8, any::<bool>(), 0u8..4, 61u8..66, 0u32..4, any::<bool>(), 0u8..5, any::<bool>()).prop_map(
        |(flow, reply, state, ttl, mark, assured, out, syn)| {
            let (client, server) = (0x0a00_0000 + flow % 4, 0x0a00_0200 + flow / 4);
            let (client_port, server_port) = (78 + flow as u16 % 5, 80);
            let flags = if syn { 2 } else { 0x10 };
            let probe = match (flow % 2, reply) {
                (0, false) => tcp(client, client_port, server, server_port, flags, &[]),
                (0, true) => tcp(server, server_port, client, client_port, flags, &[]),
                (_, false) => udp(client, client_port, server, server_port),
                (_, true) => udp(server, server_port, client, client_port),
            };
            let direction = if reply { Direction::Reply } else { Direction::Original };
            let state = [CtState::New, CtState::Established, CtState::Related, CtState::Invalid][usize::from(state)];
            let mut probe = Probe { mark, ..probe.with(8, &[ttl]) };
            if state == CtState::Invalid {
                probe.tracking = Some(Tracking::none(state));
            } else {
                probe = probe.of_flow(flow, direction, state);
                if assured {
                    probe.tracking.as_mut().unwrap().status.insert(Status::ASSURED);
                }
            }
            Probe { in_interface: Some(InterfaceId(mark as u8 % 2)), out_interface: Some(InterfaceId(out % 2)), ..probe }
        },
    )
}

/// The same chains with counters and meters of their own.
fn fresh(chains: &[Chain]) -> Vec<Chain> {
    let rules = |rules: &[Rule]| rules.iter().map(|rule| Rule { state: state(), ..rule.clone() }).collect();
    let kind = |kind: &ChainKind| match kind {
        ChainKind::Base { hook, policy, .. } => ChainKind::Base { hook: *hook, policy: *policy, state: state() },
        ChainKind::User => ChainKind::User,
    };
    chains.iter().map(|chain| Chain { rules: rules(&chain.rules), kind: kind(&chain.kind), ..chain.clone() }).collect()
}

fn counts(chains: &[Chain]) -> (Vec<Vec<u64>>, u64) {
    (chains.iter().map(packets).collect(), policy_packets(&chains[0]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever the rules and the packets: the cache, the index and the plain reading of the rules agree on each verdict, each
    /// edit and each counter.
    #[test]
    fn cache_and_index_do_what_the_rules_say(chains in any_chains(), probes in prop::collection::vec(any_probe(), 1..60)) {
        let [cached, walked, plain] = [0; 3].map(|_| fresh(&chains));
        let (cached_set, walked_set) = (RuleSet::build(Family::V4, &cached).unwrap(), RuleSet::build(Family::V4, &walked).unwrap());
        let mut lab = Lab::new();
        for (i, probe) in probes.into_iter().enumerate() {
            let [mut a, mut b, mut c] = [0; 3].map(|_| Probe { now: i as u64, ..probe.clone() });
            let by_cache = lab.ask(&cached_set, Table::Mangle, Hook::Forward, &mut a);
            let by_walk = lab.evaluate(&mut b, |evaluation| walked_set.walk(0, Hook::Forward, evaluation));
            let by_rules = lab.evaluate(&mut c, |evaluation| reference_base(&plain, evaluation));
            prop_assert_eq!((by_cache, by_walk), (by_rules, by_rules));
            let mark = |probe: &Probe| (probe.mark, probe.tracking.as_ref().map(|tracking| tracking.mark));
            prop_assert_eq!((mark(&a), mark(&b)), (mark(&c), mark(&c)));
            prop_assert_eq!((&a.octets, &b.octets), (&c.octets, &c.octets));
        }
        let expected = counts(&plain);
        prop_assert_eq!(counts(&cached), expected.clone());
        prop_assert_eq!(counts(&walked), expected);
    }
}

/// Rules asked for a packet, of each of its first three in a flow.
fn asked(set: &RuleSet, probe: &Probe) -> [u64; 3] {
    let mut lab = Lab::new();
    [0; 3].map(|_| {
        let before = lab.cache.asked;
        lab.ask(set, Table::Filter, Hook::Forward, &mut probe.clone());
        lab.cache.asked - before
    })
}

fn host(i: u32) -> u32 {
    0x0a01_0000 + i
}

fn network(address: u32, len: u8) -> Network {
    Network::new(Address(address.into()), !Address::host_mask(Family::V4, len) & u128::from(u32::MAX))
}

fn from(i: u32) -> Match {
    is(Test::Source(network(host(i), 32)))
}

fn to_port(port: u16) -> Match {
    is(Test::Ports(Ports::Destination(PortRange { first: port, last: port })))
}

fn ten_thousand(rule: impl Fn(u32) -> Rule) -> RuleSet {
    let established = vec![is(Test::CtState(CtStates::ESTABLISHED))];
    let rules = [super::lab::rule(established, Target::Accept)].into_iter().chain((0..10_000).map(rule)).collect();
    RuleSet::build(Family::V4, &[base(Table::Filter, Hook::Forward, Policy::Drop, rules)]).unwrap()
}

/// Of 10,000 rules, the packet of a new flow is asked about a few, and an established flow's third packet about none.
#[test]
fn ten_thousand_rules_are_not_ten_thousand_questions() {
    let drop = |matches| rule(matches, Target::Drop);
    let tcp_to = |port| vec![is(Test::Protocol(6)), to_port(port)];
    let kinds: [(&str, RuleSet); 6] = [
        ("hosts", ten_thousand(|i| drop(vec![from(i)]))),
        ("hosts and ports", ten_thousand(|i| drop([vec![from(i / 10)], tcp_to(8000 + i as u16 % 10)].concat()))),
        ("ports", ten_thousand(|i| drop(tcp_to(i as u16 + 1000)))),
        (
            "prefixes of all lengths",
            ten_thousand(|i| drop(vec![is(Test::Source(network(i << 16, 8 + (i % 25) as u8))), is(Test::Protocol(6))])),
        ),
        (
            "prefixes of all lengths on both sides",
            ten_thousand(|i| {
                let to = is(Test::Destination(network(0xc600_0000 ^ i << 14, 16 + (i / 25 % 17) as u8)));
                drop(vec![is(Test::Source(network(0x2000_0000 + (i << 12), 20 + (i % 13) as u8))), to])
            }),
        ),
        (
            "lists of ports",
            ten_thousand(|i| {
                let ranges = [0, 1, 2].map(|k| PortRange { first: 20_000 + 3 * i as u16 + k, last: 20_000 + 3 * i as u16 + k });
                drop(vec![from(i), is(Test::Protocol(6)), is(Test::Ports(Ports::MultiDestination(ranges.into())))])
            }),
        ),
    ];
    for (kind, set) in &kinds {
        for probe in [tcp_syn(), tcp(host(9000), 4000, 0xc600_0007, 8005, 2, &[]), udp(host(77), 53, 0x0808_0808, 53)] {
            let [first, ..] = asked(set, &probe.clone().of_flow(1, Direction::Original, CtState::New));
            assert!(first <= 100, "{kind}: {first} rules asked");
            let established = asked(set, &probe.of_flow(1, Direction::Original, CtState::Established));
            assert_eq!((established[0], established[2]), (1, 0), "{kind}: the first rule accepts; then the program does");
        }
    }
}

/// Rules that speak of nothing a packet is found by are asked, and the cache has nothing to leave out.
#[test]
fn rules_that_cannot_be_told_apart_are_asked() {
    let set = ten_thousand(|i| rule(vec![is(Test::Mark { value: i + 1, mask: u32::MAX })], Target::Drop));
    let [first, second, third] = asked(&set, &tcp_syn().of_flow(1, Direction::Original, CtState::New));
    assert_eq!(first, 10_001);
    assert!(second >= 10_001 && third == 10_001, "too many rules are left for a program");
    let [.., third] = asked(&set, &tcp_syn().of_flow(1, Direction::Original, CtState::Established));
    assert_eq!(third, 1);
}

/// A rule in the midst of thousands that does match is found, with its place in the order kept.
#[test]
fn the_right_one_of_ten_thousand() {
    let rules: Vec<Rule> = (0..10_000)
        .map(|i| rule(vec![from(i / 2), not(Test::Protocol(if i % 2 == 0 { 6 } else { 17 }))], Target::Mark { value: i, mask: u32::MAX }))
        .collect();
    let chain = base(Table::Filter, Hook::Forward, Policy::Drop, rules);
    let set = RuleSet::build(Family::V4, core::slice::from_ref(&chain)).unwrap();
    let mut lab = Lab::new();
    for i in [0, 1, 77, 4999] {
        for (mut probe, odd) in [(tcp(host(i), 1, 2, 3, 2, &[]), 1), (udp(host(i), 1, 2, 3), 0)] {
            assert_eq!(lab.ask(&set, Table::Filter, Hook::Forward, &mut probe), Verdict::Drop);
            assert_eq!(probe.mark, 2 * i + odd);
        }
    }
    assert_eq!(packets(&chain).iter().sum::<u64>(), 8);
}
