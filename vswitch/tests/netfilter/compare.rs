//! Plays the same sequences at two systems, and shortens those that they disagree about.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::time::Instant;

use crate::connections::Connection;
use crate::play::{Played, play};
use crate::rule_sets::RuleSet;
use crate::script::Script;
use crate::system::System;

/// Seconds by which timeouts may differ beyond the time that passed.
const TIMEOUT_TOLERANCE: f64 = 2.0;

/// Two systems side by side.
pub(crate) struct Pair<'a> {
    left: &'a mut dyn System,
    right: &'a mut dyn System,
    /// Hosts have a memory of their own in the kernel (`ip_error` in `net/ipv4/route.c` counts for each), so slots go round.
    last_slot: u16,
    /// Slots that were used since the rules were loaded.
    used: u16,
    /// What the rules of both had counted when it was last asked for.
    counted: [Vec<Count>; 2],
    /// Differences that were not there when the sequence was played again, in words.
    pub(crate) unrepeated: Vec<String>,
}

/// How one system sees one sequence.
struct View {
    played: Played,
    connections: Vec<(String, f64)>,
}

impl<'a> Pair<'a> {
    pub(crate) fn new(left: &'a mut dyn System, right: &'a mut dyn System) -> Pair<'a> {
        Pair { left, right, last_slot: 0, used: 0, counted: Default::default(), unrepeated: Vec::new() }
    }

    /// Plays scripts under a rule set; gives those that the systems disagree about in words, each as short as it gets, `few` at
    /// most.
    pub(crate) fn compare(&mut self, rules: &RuleSet, scripts: &[(u64, Script)], few: usize) -> Vec<String> {
        self.load(rules);
        let slots: Vec<u16> = scripts.iter().map(|_| self.slot()).collect();
        let batch: Vec<(u16, &Script)> = slots.iter().copied().zip(scripts.iter().map(|(_, script)| script)).collect();
        let seen = [views(self.left, rules, &batch), views(self.right, rules, &batch)];
        let counted = self.count();
        let mut suspects: Vec<usize> = (0..scripts.len()).filter(|&i| !agree(&seen[0][i], &seen[1][i])).collect();
        let by_counters = suspects.is_empty() && counted[0] != counted[1];
        if by_counters {
            // Which of the sequences it was has to be found out.
            suspects = (0..scripts.len()).collect();
        }
        let mut differences = Vec::new();
        for i in suspects {
            if differences.len() >= few {
                break;
            }
            let (seed, script) = &scripts[i];
            if self.differs(rules, script) {
                let short = self.shorten(rules, script);
                let ([left, right], counted) = self.both(rules, &short);
                let still = !agree(&left, &right) || counted[0] != counted[1];
                let text = self.explain(rules, *seed, &short, [&left, &right], &counted);
                if still { &mut differences } else { &mut self.unrepeated }.push(text);
            } else if !by_counters {
                let text = self.explain(rules, *seed, script, [&seen[0][i], &seen[1][i]], &[Vec::new(), Vec::new()]);
                self.unrepeated.push(text);
            }
        }
        if by_counters && differences.is_empty() {
            let differ = counted[0].iter().zip(&counted[1]).filter(|(left, right)| left != right);
            self.unrepeated.push(format!("rules \"{}\" counted {:#?}", rules.name, differ.collect::<Vec<_>>()));
        }
        differences
    }

    fn load(&mut self, rules: &RuleSet) {
        self.left.load(rules);
        self.right.load(rules);
        self.used = 0;
        self.count();
    }

    fn slot(&mut self) -> u16 {
        self.used = self.used.checked_add(1).expect("fewer sequences a rule set than slots");
        self.last_slot = self.last_slot.checked_add(1).unwrap_or(1);
        self.last_slot
    }

    /// What the rules of both counted since this was last called.
    fn count(&mut self) -> [Vec<Counted>; 2] {
        let now = [self.left.counters(), self.right.counters()].map(|text| counts(&text));
        let before = std::mem::replace(&mut self.counted, now.clone());
        [0, 1].map(|i| {
            let rules = now[i].iter().enumerate();
            rules
                .map(|(at, rule)| {
                    let (packets, octets) = before[i].get(at).map_or((0, 0), |before| (before.packets, before.octets));
                    Counted {
                        text: rule.text.clone(),
                        packets: rule.packets.wrapping_sub(packets),
                        octets: rule.octets.wrapping_sub(octets),
                    }
                })
                .collect()
        })
    }

    /// One script by itself, with hosts that were not there before.
    fn both(&mut self, rules: &RuleSet, script: &Script) -> ([View; 2], [Vec<Counted>; 2]) {
        if self.used == u16::MAX {
            self.load(rules);
        }
        let slot = self.slot();
        let view = |system: &mut dyn System| views(system, rules, &[(slot, script)]).remove(0);
        let seen = [view(self.left), view(self.right)];
        (seen, self.count())
    }

    fn differs(&mut self, rules: &RuleSet, script: &Script) -> bool {
        let ([left, right], [left_counters, right_counters]) = self.both(rules, script);
        !agree(&left, &right) || left_counters != right_counters
    }

    /// Leaves out steps as long as the systems still disagree.
    fn shorten(&mut self, rules: &RuleSet, script: &Script) -> Script {
        let mut short = script.clone();
        let mut size = short.steps.len().div_ceil(2).max(1);
        loop {
            let mut at = 0;
            while at < short.steps.len() {
                let mut shorter = short.clone();
                shorter.steps.drain(at..(at + size).min(short.steps.len()));
                if self.differs(rules, &shorter) {
                    short = shorter;
                } else {
                    at += size;
                }
            }
            if size == 1 {
                return short;
            }
            size = size.div_ceil(2);
        }
    }

    fn explain(&self, rules: &RuleSet, seed: u64, script: &Script, [left, right]: [&View; 2], counted: &[Vec<Counted>; 2]) -> String {
        let names = [self.left.name(), self.right.name()];
        let mut text = format!("rules \"{}\", seed {seed:#x}\n{script}", rules.name);
        let mut both = |what: &str, left: &[String], right: &[String]| {
            if left == right {
                left.iter().for_each(|line| _ = writeln!(text, "    {what} {line}"));
                return;
            }
            for (name, lines) in names.iter().zip([left, right]) {
                let _ = writeln!(text, "  ! {name}:{}", if lines.is_empty() { " nothing" } else { "" });
                lines.iter().for_each(|line| _ = writeln!(text, "      {what} {line}"));
            }
        };
        for (i, step) in script.steps.iter().enumerate() {
            both("", &[format!("{step}")], &[format!("{step}")]);
            both("=>", &left.played.fates[i], &right.played.fates[i]);
        }
        let connections =
            |view: &View| -> Vec<String> { view.connections.iter().map(|(line, end)| format!("{line} ({end:.0} s)")).collect() };
        if connections_agree(left, right) {
            both("tracked:", &connections(left), &connections(left));
        } else {
            both("tracked:", &connections(left), &connections(right));
        }
        for (left, right) in counted[0].iter().zip(&counted[1]).filter(|(left, right)| left != right) {
            both("counted:", &[left.to_string()], &[right.to_string()]);
        }
        text
    }
}

/// Plays scripts at a system and lists its connections afterwards.
fn views(system: &mut dyn System, rules: &RuleSet, scripts: &[(u16, &Script)]) -> Vec<View> {
    let mut played: Vec<(u16, Played)> = scripts.iter().map(|(slot, script)| (*slot, play(system, script, rules, *slot))).collect();
    let list = system.connections();
    let listed = Instant::now();
    let mut by_slot: BTreeMap<u16, Vec<Connection>> = BTreeMap::new();
    for connection in list {
        if let Some(slot) = connection.slot() {
            by_slot.entry(slot).or_default().push(connection);
        }
    }
    played
        .drain(..)
        .map(|(slot, mut played)| {
            let age = listed.duration_since(played.ended).as_secs_f64();
            let mine = by_slot.remove(&slot).unwrap_or_default();
            let mut connections: Vec<(String, f64)> =
                mine.iter().map(|connection| (connection.describe(&mut played.names), connection.timeout() as f64 + age)).collect();
            connections.sort_by(|a, b| a.0.cmp(&b.0));
            View { played, connections }
        })
        .collect()
}

fn agree(left: &View, right: &View) -> bool {
    left.played.fates == right.played.fates && connections_agree(left, right)
}

fn connections_agree(left: &View, right: &View) -> bool {
    let same = |(left, right): (&(String, f64), &(String, f64))| left.0 == right.0 && (left.1 - right.1).abs() <= TIMEOUT_TOLERANCE;
    left.connections.len() == right.connections.len() && left.connections.iter().zip(&right.connections).all(same)
}

/// What a rule counted meanwhile.
#[derive(Debug)]
struct Counted {
    text: String,
    packets: u64,
    octets: u64,
}

/// Systems may write the same rule in different ways.
impl PartialEq for Counted {
    fn eq(&self, other: &Counted) -> bool {
        (self.packets, self.octets) == (other.packets, other.octets)
    }
}

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}:{}] {}", self.packets, self.octets, self.text)
    }
}

/// What a rule has counted.
#[derive(Clone)]
struct Count {
    /// Its place: family, table, chain and number.
    place: (usize, String, String, usize),
    text: String,
    packets: u64,
    octets: u64,
}

/// The counters in what `iptables-save -c` and then `ip6tables-save -c` print, but for those of the markers.
fn counts(text: &str) -> Vec<Count> {
    let marker = format!("--dport {} ", crate::wires::MARKER_PORT);
    let mut counts: Vec<Count> = Vec::new();
    let (mut table, mut seen) = (String::new(), Vec::new());
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('*') {
            table = name.to_owned();
            seen.push(table.clone());
        }
        let Some((counters, rule)) = line.strip_prefix('[').and_then(|line| line.split_once("] -A ")) else { continue };
        if line.contains(&marker) {
            continue;
        }
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("counters in {line}"));
        let (packets, octets) = counters.split_once(':').unwrap_or_else(|| panic!("counters in {line}"));
        let chain = rule.split(' ').next().unwrap_or_default().to_owned();
        let family = seen.iter().filter(|name| **name == table).count();
        let before = counts.iter().filter(|count| (count.place.0, &count.place.1, &count.place.2) == (family, &table, &chain)).count();
        let text = format!("-t {table} -A {rule}");
        counts.push(Count { place: (family, table.clone(), chain, before), text, packets: number(packets), octets: number(octets) });
    }
    // Each system saves its tables and chains in an order of its own.
    counts.sort_by(|a, b| a.place.cmp(&b.place));
    counts
}
