//! The kernel beside `vswitchd`: the same rules, the same packets, and every packet has to have the same fate.
//!
//! `generate` makes sequences of packets by chance, `rule_sets` has the rules. All systems are routers between two links whose other
//! ends the test holds: a network namespace (`kernel`), a running `vswitchd` (`daemon`), both on TAP interfaces (`wires`), and the
//! data plane by itself (`in_process`). `compare` plays each sequence at both, compares what came out after each packet, the
//! connections tracked in the end, and what the rules counted; a sequence that differs is shortened and printed.
//!
//! `VSWITCH_DIFF_SEED` repeats or varies a run, `VSWITCH_DIFF_COUNT` is the number of sequences, `VSWITCH_DIFF_RULES` a part of the name of the rule sets,
//! `VSWITCH_DIFF_FEW` how many differences a rule set shows at most: see `./run differential`.

#![allow(clippy::print_stderr, reason = "tests say what they skip")]

mod compare;
mod connections;
mod daemon;
mod describe;
mod explained;
mod generate;
mod in_process;
mod kernel;
#[path = "../e2e/lab.rs"]
#[allow(dead_code, unused_imports, unused_macros, reason = "the laboratory of the end-to-end tests does more than is needed here")]
mod lab;
mod packet;
mod place;
mod play;
mod random;
mod rule_sets;
mod script;
mod system;
mod tcp_ends;
mod wires;

use compare::Pair;
use connections::Connection;
use daemon::Daemon;
use in_process::InProcess;
use kernel::Kernel;
use place::{Family, Side};
use random::Random;
use rule_sets::RuleSet;
use script::Script;
use system::System;

const PROGRAMS: [&str; 5] = ["iptables-restore", "ip6tables-restore", "ipset", "conntrack", "ip6tables-save"];

/// Whether the machine can do this; says what it lacks otherwise.
fn able(test: &str) -> bool {
    let lacks = lab::lacking(&PROGRAMS);
    if let Some(reason) = &lacks {
        lab::skip(test, reason);
    }
    lacks.is_none()
}

fn number(variable: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(variable) else { return default };
    let parsed = text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u64::from_str_radix(hex, 16).ok());
    parsed.unwrap_or_else(|| panic!("{variable}={text} is no number"))
}

/// `count` sequences of a seed, of both families in turn.
fn scripts(seed: u64, count: u64) -> Vec<(u64, Script)> {
    let mut random = Random::new(seed);
    (0..count)
        .map(|i| {
            let seed = random.next();
            (seed, generate::script(if i % 2 == 0 { Family::V4 } else { Family::V6 }, seed))
        })
        .collect()
}

/// Every rule set that is written down and some by chance, with `count` sequences in all, at two systems that have to agree.
fn campaign(left: &mut dyn System, right: &mut dyn System, count: u64) {
    let seed = number("VSWITCH_DIFF_SEED", 1);
    let count = number("VSWITCH_DIFF_COUNT", count);
    let few = number("VSWITCH_DIFF_FEW", 3) as usize;
    let only = std::env::var("VSWITCH_DIFF_RULES").unwrap_or_default();
    let mut pair = Pair::new(left, right);
    let fixed = rule_sets::all();
    let by_chance = (fixed.len() as u64).max(count / 200);
    let mut random = Random::new(seed);
    let rules: Vec<RuleSet> = fixed.into_iter().chain((0..by_chance).map(|_| rule_sets::random(random.next()))).collect();
    let each = count.div_ceil(rules.len() as u64);
    let mut differences = Vec::new();
    for rules in &rules {
        let scripts = scripts(random.next(), each);
        if rules.name.contains(&only) {
            // Few enough at once that no timeout passes before the connections are listed.
            scripts.chunks(100).for_each(|some| differences.extend(pair.compare(rules, some, few)));
        }
    }
    for text in &pair.unrepeated {
        eprintln!("not repeated: {text}");
    }
    assert!(
        differences.is_empty(),
        "VSWITCH_DIFF_SEED={seed:#x}: the systems disagree about {}\n{}",
        differences.len(),
        differences.join("\n")
    );
    assert!(pair.unrepeated.len() as u64 <= count / 100, "{} differences that come and go", pair.unrepeated.len());
}

/// A system with a mistake in its rules.
struct Mistaken<S> {
    system: S,
    mistake: (&'static str, &'static str),
}

impl<S: System> System for Mistaken<S> {
    fn name(&self) -> &str {
        self.system.name()
    }

    fn load(&mut self, rules: &RuleSet) {
        self.system.load(&rules.with(self.mistake.0, self.mistake.1));
    }

    fn exchange(&mut self, side: Side, packet: &[u8]) -> Vec<(Side, Vec<u8>)> {
        self.system.exchange(side, packet)
    }

    fn connections(&self) -> Vec<Connection> {
        self.system.connections()
    }

    fn counters(&self) -> String {
        self.system.counters()
    }
}

/// Sequences fit for a comparison are those that the kernel answers alike twice.
#[test]
fn the_kernel_agrees_with_itself() {
    if able("the_kernel_agrees_with_itself") {
        campaign(&mut Kernel::new("left"), &mut Kernel::new("right"), 340);
    }
}

/// The way of a packet through a router of ours ends as through the kernel, and leaves the same state.
#[test]
fn the_data_plane_agrees_with_the_kernel() {
    if able("the_data_plane_agrees_with_the_kernel") {
        campaign(&mut Kernel::new("kernel"), &mut InProcess::new(), 1000);
    }
}

/// So does it through a running daemon: rules by `vswitchctl`, packets through its ports, state as `vswitchctl` shows it.
#[test]
fn the_daemon_agrees_with_the_kernel() {
    if able("the_daemon_agrees_with_the_kernel") {
        campaign(&mut Kernel::new("kernel"), &mut Daemon::new(), 1000);
    }
}

/// A comparison that finds nothing proves nothing, unless it finds what is there.
#[test]
fn a_mistake_is_found() {
    if !able("a_mistake_is_found") {
        return;
    }
    let (mut left, mut right) = (Kernel::new("kernel"), Mistaken { system: Daemon::new(), mistake: ("", "") });
    for (rules, from, to) in [
        ("stateful firewall", "-i lan -o wan -m conntrack --ctstate NEW", "-i lan -o wan -m conntrack --ctstate ESTABLISHED"),
        ("reject in all ways", "icmp-net-prohibited", "icmp-host-prohibited"),
        ("SNAT with ranges", "20000-20063", "20000-20999"),
        ("mangle", "DSCP --set-dscp 0x11", "DSCP --set-dscp 0x12"),
        ("mangle", "0x7/0xffffffff", "0x8/0xffffffff"),
        ("user chains", "-g udp-in", "-j udp-in"),
        ("untracked", "--sport 7777 -j CT --notrack", "--sport 7777 -j ACCEPT"),
    ] {
        let rules = rule_sets::all().into_iter().find(|set| set.name == rules).unwrap();
        right.mistake = (from, to);
        let found = Pair::new(&mut left, &mut right).compare(&rules, &scripts(7, 120), 1);
        assert_eq!(found.len(), 1, "{from} instead of {to}");
        // As short as it gets: nobody reads forty steps.
        let steps = found[0].lines().filter(|line| line.contains(" -> ") || line.contains(" <- ") || line.contains(" error ")).count();
        assert!(steps <= 8, "{}", found[0]);
    }
}
