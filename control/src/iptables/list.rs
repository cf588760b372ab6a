//! What `iptables -L`, `-S` and `iptables-save` print.

use std::collections::HashMap;
use std::fmt::Write;

use dataplane::router::Family;
use dataplane::rules::Table;
use proto::iptables::{ChainConfig, TableConfig, Tables};
use serde_json::{Value, json};

use super::compile::{RouterRules, hook_of, table_of};
use super::lex::quote;
use super::memo;
use super::names;
use super::option::Listing;
use super::rule::{Host, Interface, Jump, Rule, protocol_text};
use super::value::network_text;

/// How `-L` prints.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// `-n`.
    pub numeric: bool,
    /// `-v`.
    pub verbose: bool,
    /// `-x`.
    pub exact: bool,
    /// `--line-numbers`.
    pub line_numbers: bool,
}

/// The rules of a family, to be printed.
#[derive(Clone, Copy)]
pub struct View<'v> {
    /// The family.
    pub family: Family,
    /// Its tables.
    pub tables: &'v Tables,
    /// What runs, for the counters.
    pub rules: Option<&'v RouterRules>,
}

static EMPTY: ChainConfig = ChainConfig { policy: None, rules: Vec::new() };

/// The chains of a table in the order of listings: base chains, then user chains.
pub fn chains(table: Table, config: &TableConfig) -> impl Iterator<Item = (&str, &ChainConfig)> {
    let base = table.hooks().iter().map(|hook| (hook.name(), config.get(hook.name()).unwrap_or(&EMPTY)));
    base.chain(config.iter().map(|(name, chain)| (name.as_str(), chain)).filter(move |(name, _)| hook_of(table, name).is_none()))
}

fn policy(chain: &ChainConfig) -> &str {
    chain.policy.as_deref().unwrap_or("ACCEPT")
}

impl View<'_> {
    fn config(&self, table: Table) -> &TableConfig {
        table_of(self.tables, table)
    }

    fn policy_counts(&self, table: Table, chain: &str) -> (u64, u64) {
        let states = self.rules.and_then(|rules| rules.counters(self.family, table, chain));
        states.and_then(|states| states.policy.as_ref()).map_or((0, 0), |state| state.counts())
    }

    fn counts(&self, table: Table, chain: &str, index: usize) -> (u64, u64) {
        let states = self.rules.and_then(|rules| rules.counters(self.family, table, chain));
        states.and_then(|states| states.rules.get(index)).map_or((0, 0), |state| state.counts())
    }

    fn spec(&self, text: &str, counters: Option<(u64, u64)>) -> String {
        // What the daemon runs on can be read; a text that cannot is shown as it is.
        memo::parse(text, self.family).map_or_else(|_| text.to_owned(), |rule| rule.spec(counters))
    }

    /// `-S`: chains and rules as commands, of all chains or one, or one rule.
    pub fn rules_text(&self, table: Table, only: Option<&str>, number: Option<usize>, verbose: bool) -> String {
        let mut text = String::new();
        let wanted = || chains(table, self.config(table)).filter(|(name, _)| only.is_none_or(|only| only == *name));
        if number.is_none() {
            for (name, chain) in wanted() {
                let _ = match hook_of(table, name) {
                    Some(_) if verbose => {
                        let (packets, bytes) = self.policy_counts(table, name);
                        writeln!(text, "-P {name} {} -c {packets} {bytes}", policy(chain))
                    }
                    Some(_) => writeln!(text, "-P {name} {}", policy(chain)),
                    None => writeln!(text, "-N {}", quote(name)),
                };
            }
        }
        for (name, chain) in wanted() {
            for (index, rule) in chain.rules.iter().enumerate() {
                if number.is_none_or(|number| number == index + 1) {
                    let counts = verbose.then(|| self.counts(table, name, index));
                    let _ = writeln!(text, "{}", format!("-A {} {}", quote(name), self.spec(rule, counts)).trim_end());
                }
            }
        }
        text
    }

    /// A table as `iptables-save` prints it.
    pub fn save(&self, table: Table, counters: bool) -> String {
        let mut text = format!("*{}\n", table.name());
        for (name, chain) in chains(table, self.config(table)) {
            let base = hook_of(table, name).is_some();
            let (packets, bytes) = if counters && base { self.policy_counts(table, name) } else { (0, 0) };
            let _ = writeln!(text, ":{} {} [{packets}:{bytes}]", quote(name), if base { policy(chain) } else { "-" });
        }
        for (name, chain) in chains(table, self.config(table)) {
            for (index, rule) in chain.rules.iter().enumerate() {
                if counters {
                    let (packets, bytes) = self.counts(table, name, index);
                    let _ = write!(text, "[{packets}:{bytes}] ");
                }
                let _ = writeln!(text, "{}", format!("-A {} {}", quote(name), self.spec(rule, None)).trim_end());
            }
        }
        text.push_str("COMMIT\n");
        text
    }

    /// How many rules of a table jump to a chain.
    pub fn references(&self, table: Table, chain: &str) -> usize {
        let jumps = |text: &&String| {
            let rule = memo::parse(text, self.family);
            matches!(rule.as_deref(), Ok(Rule { jump: Jump::Chain { name, .. }, .. }) if name == chain)
        };
        self.config(table).values().flat_map(|config| &config.rules).filter(|text| text.contains(chain)).filter(jumps).count()
    }

    /// How many rules of a table jump to each of its chains.
    fn all_references(&self, table: Table) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for text in self.config(table).values().flat_map(|config| &config.rules) {
            if let Ok(rule) = memo::parse(text, self.family)
                && let Jump::Chain { name, .. } = &rule.jump
            {
                *counts.entry(name.clone()).or_default() += 1;
            }
        }
        counts
    }

    /// `-L`: a table for people, of all chains or one, or one rule.
    pub fn table_text(&self, table: Table, only: Option<&str>, number: Option<usize>, style: Style) -> String {
        let mut text = String::new();
        let references = self.all_references(table);
        for (name, chain) in chains(table, self.config(table)).filter(|(name, _)| only.is_none_or(|only| only == *name)) {
            if number.is_none() {
                if !text.is_empty() {
                    text.push('\n');
                }
                self.header(&mut text, table, (name, chain), references.get(name).copied().unwrap_or(0), style);
            }
            for (index, rule) in chain.rules.iter().enumerate() {
                if number.is_none_or(|number| number == index + 1) {
                    match memo::parse(rule, self.family) {
                        Ok(rule) => line(&mut text, &rule, index + 1, self.counts(table, name, index), style),
                        Err(_) => text += &format!("{rule}\n"),
                    }
                }
            }
        }
        text
    }

    fn header(&self, text: &mut String, table: Table, (name, chain): (&str, &ChainConfig), references: usize, style: Style) {
        let _ = if hook_of(table, name).is_some() {
            let counts = self.policy_counts(table, name);
            let count = |count| short(count, style.exact, "");
            let counted = if style.verbose { format!(" {} packets, {} bytes", count(counts.0), count(counts.1)) } else { String::new() };
            writeln!(text, "Chain {name} (policy {}{counted})", policy(chain))
        } else {
            writeln!(text, "Chain {name} ({references} references)")
        };
        if style.line_numbers {
            text.push_str("num  ");
        }
        if style.verbose {
            text.push_str(if style.exact { "    pkts      bytes " } else { " pkts bytes " });
        }
        text.push_str("target     prot opt");
        if style.verbose {
            text.push_str(" in     out    ");
        }
        text.push_str(" source               destination         \n");
    }

    /// What `-L` and `-S` show, for programs.
    pub fn json(&self, table: Table, only: Option<&str>, number: Option<usize>) -> Value {
        let references = self.all_references(table);
        let list = chains(table, self.config(table)).filter(|(name, _)| only.is_none_or(|only| only == *name)).map(|(name, chain)| {
            let rules: Vec<Value> = chain
                .rules
                .iter()
                .enumerate()
                .filter(|(index, _)| number.is_none_or(|number| number == index + 1))
                .map(|(index, rule)| {
                    let (packets, bytes) = self.counts(table, name, index);
                    json!({ "number": index + 1, "rule": self.spec(rule, None), "packets": packets, "bytes": bytes })
                })
                .collect();
            if hook_of(table, name).is_some() {
                let (packets, bytes) = self.policy_counts(table, name);
                json!({ "chain": name, "policy": policy(chain), "packets": packets, "bytes": bytes, "rules": rules })
            } else {
                json!({ "chain": name, "references": references.get(name).copied().unwrap_or(0), "rules": rules })
            }
        });
        json!({ "table": table.name(), "chains": list.collect::<Vec<_>>() })
    }
}

/// A count of packets or octets: exactly, or from 100,000 on with a unit (`xtables_print_num`).
fn short(count: u64, exact: bool, pad: &str) -> String {
    let padded = |text: String, width: usize| if pad.is_empty() { text } else { format!("{text:>width$}") };
    if exact {
        return padded(count.to_string(), 8);
    }
    if count <= 99_999 {
        return padded(count.to_string(), 5);
    }
    let mut count = count;
    for unit in ["K", "M", "G", "T"] {
        count = count.saturating_add(500) / 1000;
        if count <= 9999 || unit == "T" {
            return padded(format!("{count}{unit}"), 5);
        }
    }
    count.to_string()
}

fn line(text: &mut String, rule: &Rule, number: usize, counts: (u64, u64), style: Style) {
    if style.line_numbers {
        let _ = write!(text, "{number:<4} ");
    }
    if style.verbose {
        let _ = write!(text, "{} {} ", short(counts.0, style.exact, " "), short(counts.1, style.exact, " "));
    }
    let target = match &rule.jump {
        Jump::None => "",
        Jump::Target(clause) if clause.module.name == "NOTRACK" => "CT",
        Jump::Target(clause) => clause.module.name,
        Jump::Chain { name, .. } => name,
    };
    let (inverted, protocol) = rule.protocol.unwrap_or((false, 0));
    let named = match protocol {
        number if style.numeric => number.to_string(),
        0 => "all".to_owned(),
        protocol => protocol_text(protocol),
    };
    let fragment = match rule.fragment {
        None => "--",
        Some(false) => "-f",
        Some(true) => "!f",
    };
    let not = |negated: bool| if negated { '!' } else { ' ' };
    let _ = write!(text, "{target:<9} {}{named:<4} {fragment} ", not(inverted));
    if style.verbose {
        let any = if style.numeric { "*" } else { "any" };
        let interface = |interface: &Option<Interface>| match interface {
            Some(interface) => format!("{}{}", if interface.negated { "!" } else { "" }, interface.name),
            None => any.to_owned(),
        };
        let _ = write!(text, " {:<6} {:<6} ", interface(&rule.in_interface), interface(&rule.out_interface));
    }
    let address = |host: &Option<Host>| match host {
        Some(host) if host.mask != 0 => network_text(host.address, host.mask, rule.family, false),
        _ if !style.numeric => "anywhere".to_owned(),
        _ if rule.family == Family::V4 => "0.0.0.0/0".to_owned(),
        _ => "::/0".to_owned(),
    };
    let negated = |host: &Option<Host>| not(host.is_some_and(|host| host.negated));
    let (source, destination) = (&rule.source, &rule.destination);
    let _ = write!(text, "{}{:<19} {}{:<19} ", negated(source), address(source), negated(destination), address(destination));
    if let Jump::Chain { goto: true, .. } = rule.jump {
        text.push_str("[goto] ");
    }
    let spoken = names::protocol_name(protocol).unwrap_or_default();
    let listing = Listing { numeric: style.numeric, protocol: spoken, family: rule.family };
    let target = match &rule.jump {
        Jump::Target(clause) => Some(clause),
        _ => None,
    };
    for clause in rule.matches.iter().chain(target) {
        let part = (clause.module.list)(clause, &listing);
        if !part.is_empty() {
            text.push(' ');
            text.push_str(&part);
        }
    }
    text.push('\n');
}
