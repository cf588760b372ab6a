//! The order of things: policies, jumps, returns, counters, meters.

use super::lab::{Lab, Probe, base, is, not, packets, policy_packets, rule, state, tcp_syn, udp, user};
use crate::conntrack::{CtState, Direction};
use crate::router::Family;
use crate::rules::{BuildError, Chain, ChainId, CtStates, Hook, Policy, Rule, RuleSet, Statistic, Table, Target, Test, Verdict};

fn build(chains: &[Chain]) -> RuleSet {
    RuleSet::build(Family::V4, chains).unwrap()
}

fn ask(set: &RuleSet, probe: &mut Probe) -> Verdict {
    Lab::new().ask(set, Table::Filter, Hook::Forward, probe)
}

fn forward(policy: Policy, rules: Vec<Rule>) -> Chain {
    base(Table::Filter, Hook::Forward, policy, rules)
}

fn jump(chain: u32) -> Rule {
    rule(vec![], Target::Jump(ChainId(chain)))
}

fn goto(chain: u32) -> Rule {
    rule(vec![], Target::Goto(ChainId(chain)))
}

fn mark(value: u32) -> Rule {
    rule(vec![], Target::Mark { value, mask: 0 })
}

fn back() -> Rule {
    rule(vec![], Target::Return)
}

#[test]
fn what_no_rule_decides_on_meets_the_policy() {
    for (policy, verdict) in [(Policy::Accept, Verdict::Accept), (Policy::Drop, Verdict::Drop)] {
        let chain = forward(policy, vec![rule(vec![is(Test::Protocol(17))], Target::Accept)]);
        let set = build(core::slice::from_ref(&chain));
        assert_eq!(ask(&set, &mut tcp_syn()), verdict);
        assert_eq!((packets(&chain), policy_packets(&chain)), (vec![0], 1));
    }
}

#[test]
fn chains_that_do_nothing_are_not_asked() {
    let set = build(&[
        forward(Policy::Accept, vec![]),
        base(Table::Filter, Hook::Input, Policy::Drop, vec![]),
        base(Table::Mangle, Hook::Output, Policy::Accept, vec![mark(1)]),
    ]);
    let asked: Vec<_> = Table::ALL
        .into_iter()
        .flat_map(|table| Hook::ALL.map(|hook| (table, hook)))
        .filter(|(table, hook)| set.has(*table, *hook))
        .collect();
    assert_eq!(asked, [(Table::Mangle, Hook::Output), (Table::Filter, Hook::Input)]);
    assert_eq!(ask(&set, &mut tcp_syn()), Verdict::Accept);
}

#[test]
fn the_first_rule_that_decides_ends_the_walk() {
    let chain = forward(
        Policy::Drop,
        vec![
            mark(1),
            rule(vec![not(Test::Protocol(6))], Target::Drop),
            rule(vec![is(Test::Mark { value: 1, mask: 1 })], Target::Accept),
            rule(vec![], Target::Drop),
        ],
    );
    let set = build(core::slice::from_ref(&chain));
    assert_eq!(ask(&set, &mut tcp_syn()), Verdict::Accept);
    assert_eq!((packets(&chain), policy_packets(&chain)), (vec![1, 0, 1, 0], 0));
    assert_eq!(ask(&set, &mut udp(1, 2, 3, 4)), Verdict::Drop);
    assert_eq!((packets(&chain), chain.rules[1].state.counts()), (vec![2, 1, 1, 0], (1, 32)));
}

#[test]
fn a_jump_comes_back_and_a_goto_does_not() {
    for (second, after) in [(jump(2), 1), (goto(2), 0)] {
        let chains = [
            forward(Policy::Drop, vec![jump(1), mark(1)]),
            user(Table::Filter, "A", vec![second, mark(2)]),
            user(Table::Filter, "B", vec![mark(4)]),
        ];
        let set = build(&chains);
        let mut probe = tcp_syn();
        assert_eq!(ask(&set, &mut probe), Verdict::Drop);
        assert_eq!([&chains[0], &chains[1], &chains[2]].map(packets), [vec![1, 1], vec![1, after], vec![1]]);
        assert_eq!(policy_packets(&chains[0]), 1);
    }
}

#[test]
fn return_goes_on_behind_the_jump_and_in_a_base_chain_to_the_policy() {
    let chains = [
        forward(Policy::Drop, vec![jump(1), back(), rule(vec![], Target::Accept)]),
        user(Table::Filter, "A", vec![back(), rule(vec![], Target::Accept)]),
    ];
    let set = build(&chains);
    assert_eq!(ask(&set, &mut tcp_syn()), Verdict::Drop);
    assert_eq!([&chains[0], &chains[1]].map(packets), [vec![1, 1, 0], vec![1, 0]]);
    assert_eq!(policy_packets(&chains[0]), 1);
}

#[test]
fn return_behind_a_goto_skips_the_chain_that_went() {
    let chains = [
        forward(Policy::Accept, vec![jump(1), rule(vec![], Target::Drop)]),
        user(Table::Filter, "A", vec![goto(2), rule(vec![], Target::Accept)]),
        user(Table::Filter, "B", vec![back(), rule(vec![], Target::Accept)]),
    ];
    let set = build(&chains);
    assert_eq!(ask(&set, &mut tcp_syn()), Verdict::Drop);
    assert_eq!([&chains[0], &chains[1], &chains[2]].map(packets), [vec![1, 1], vec![1, 0], vec![1, 0]]);
}

#[test]
fn what_chains_must_not_be() {
    let error = |chains: &[Chain]| RuleSet::build(Family::V4, chains).err().unwrap();
    let user = |rules| user(Table::Filter, "X", rules);
    assert_eq!(error(&[forward(Policy::Accept, vec![]), forward(Policy::Accept, vec![])]), BuildError::BaseChain(ChainId(1)));
    assert_eq!(error(&[base(Table::Nat, Hook::Forward, Policy::Accept, vec![])]), BuildError::BaseChain(ChainId(0)));
    assert_eq!(error(&[forward(Policy::Accept, vec![mark(1), jump(9)])]), BuildError::JumpTarget(ChainId(0), 1));
    assert_eq!(error(&[forward(Policy::Accept, vec![]), user(vec![jump(0)])]), BuildError::JumpTarget(ChainId(1), 0));
    let other_table = super::lab::user(Table::Nat, "X", vec![jump(0)]);
    assert_eq!(error(&[user(vec![]), other_table]), BuildError::JumpTarget(ChainId(1), 0));
    // The chain in front of the loop, and the one behind it, are not in it.
    let looped = [user(vec![jump(1)]), user(vec![goto(2)]), user(vec![jump(1), jump(3)]), user(vec![])];
    assert!(matches!(error(&looped), BuildError::Loop(ChainId(1 | 2))));
    assert_eq!(error(&[user(vec![goto(0)])]), BuildError::Loop(ChainId(0)));
    let metered = |n| vec![is(Test::Limit { interval: 1, burst: 1 }); n];
    let rules = |n| vec![mark(1), rule(metered(n), Target::None)];
    assert!(RuleSet::build(Family::V4, &[forward(Policy::Accept, rules(2))]).is_ok());
    assert_eq!(error(&[forward(Policy::Accept, rules(3))]), BuildError::TooManyMeters(ChainId(0), 1));
}

#[test]
fn the_depth_of_jumps_is_bounded_and_gotos_are_free() {
    let row = |len: u32, last: fn(u32) -> Rule| -> Vec<Chain> {
        let chains =
            (1..=len).map(|i| user(Table::Filter, "X", if i == len { vec![rule(vec![], Target::Drop)] } else { vec![last(i + 1)] }));
        [forward(Policy::Accept, vec![last(1)])].into_iter().chain(chains).collect()
    };
    let set = build(&row(16, jump));
    assert_eq!(ask(&set, &mut tcp_syn()), Verdict::Drop);
    assert_eq!(RuleSet::build(Family::V4, &row(17, jump)).err(), Some(BuildError::TooDeep(ChainId(0))));
    let set = build(&row(5000, goto));
    let mut lab = Lab::new();
    let mut probe = tcp_syn().of_flow(1, Direction::Original, CtState::New);
    for _ in 0..3 {
        assert_eq!(lab.ask(&set, Table::Filter, Hook::Forward, &mut probe), Verdict::Drop);
    }
}

/// A token is taken by packets all matches in front of `limit` hold for, and by no others, as in the kernel.
#[test]
fn a_limit_is_asked_in_its_place() {
    let limit = || is(Test::Limit { interval: 1_000_000_000, burst: 3 });
    let udp_only = || is(Test::Protocol(17));
    for (matches, left) in [(vec![limit(), udp_only()], 1), (vec![udp_only(), limit()], 3)] {
        let chain = forward(Policy::Accept, vec![rule(matches, Target::Drop)]);
        let set = build(core::slice::from_ref(&chain));
        let mut lab = Lab::new();
        let mut verdicts =
            |probe: Probe, n| (0..n).filter(|_| lab.ask(&set, Table::Filter, Hook::Forward, &mut probe.clone()) == Verdict::Drop).count();
        assert_eq!(verdicts(tcp_syn(), 2), 0);
        assert_eq!(verdicts(udp(1, 2, 3, 4), 10), left);
        assert_eq!(verdicts(Probe { now: 2_000_000_000, ..udp(1, 2, 3, 4) }, 10), 2);
    }
}

#[test]
fn two_meters_of_a_rule_are_two() {
    let nth = |every| is(Test::Statistic(Statistic::Nth { every, packet: 0 }));
    let chain = forward(Policy::Accept, vec![rule(vec![nth(2), nth(3)], Target::None)]);
    let set = build(core::slice::from_ref(&chain));
    (0..12).for_each(|_| assert_eq!(ask(&set, &mut tcp_syn()), Verdict::Accept));
    assert_eq!(packets(&chain), [2]);
}

/// A rule that stays keeps its counters and its bucket in the next rule set; each worker counts for itself.
#[test]
fn state_goes_over_into_the_next_rule_set() {
    let kept = state();
    let limited =
        || Rule { matches: vec![is(Test::Limit { interval: 1_000_000_000, burst: 2 })], target: Target::Drop, state: kept.clone() };
    let first = build(&[forward(Policy::Accept, vec![limited()])]);
    assert_eq!(ask(&first, &mut tcp_syn()), Verdict::Drop);
    let second = build(&[forward(Policy::Accept, vec![mark(1), limited()])]);
    assert_eq!(ask(&second, &mut Probe { worker: 1, ..tcp_syn() }), Verdict::Drop);
    assert_eq!(ask(&second, &mut tcp_syn()), Verdict::Accept, "the bucket is that of the first");
    assert_eq!(kept.counts(), (2, 88));
}

/// The state of a flow changes while the cache knows it.
#[test]
fn the_cache_asks_what_changes() {
    let mut rules = vec![rule(vec![is(Test::CtState(CtStates::ESTABLISHED))], Target::Accept)];
    rules.extend((0..30).map(|i| rule(vec![is(Test::Protocol(100 + i))], Target::Accept)));
    let chain = forward(Policy::Drop, rules);
    let set = build(core::slice::from_ref(&chain));
    let mut lab = Lab::new();
    let mut ask = |state| lab.ask(&set, Table::Filter, Hook::Forward, &mut tcp_syn().of_flow(4, Direction::Original, state));
    assert_eq!((0..3).map(|_| ask(CtState::New)).collect::<Vec<_>>(), [Verdict::Drop; 3]);
    assert_eq!(ask(CtState::Established), Verdict::Accept);
    assert_eq!(ask(CtState::New), Verdict::Drop);
    assert_eq!((packets(&chain)[0], policy_packets(&chain)), (1, 4));
}

/// A flow that a new rule set decides otherwise on is not decided on by what the cache has of the former.
#[test]
fn a_new_rule_set_is_in_force_at_once() {
    let rules = |target| (0..20).map(|i| rule(vec![is(Test::Protocol(100 + i))], Target::None)).chain([rule(vec![], target)]).collect();
    let sets = [Target::Accept, Target::Drop].map(|target| build(&[forward(Policy::Accept, rules(target))]));
    let mut lab = Lab::new();
    let mut ask =
        |set: &RuleSet| lab.ask(set, Table::Filter, Hook::Forward, &mut tcp_syn().of_flow(4, Direction::Original, CtState::Established));
    for _ in 0..3 {
        assert_eq!((ask(&sets[0]), ask(&sets[1])), (Verdict::Accept, Verdict::Drop));
    }
}
