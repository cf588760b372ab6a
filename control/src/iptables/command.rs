//! `iptables` and `ip6tables`: commands on the tables of a router.
//!
//! Messages that scripts look for have the words of iptables 1.8.

use std::collections::HashMap;

use dataplane::router::Family;
use dataplane::rules::Table;
use proto::iptables::{ChainConfig, TableConfig, Tables};
use serde_json::Value;

use super::compile::{RouterRules, hook_of, table_of};
use super::lex;
use super::list::{Style, View};
use super::matches::family_tool;
use super::memo;
use super::rule::{Jump, Reader, Rule, check_chain_name};
use super::words::{Found, Global, Words};

/// What a command comes to.
#[derive(Default)]
pub struct Outcome {
    /// What it prints.
    pub text: String,
    /// The same for programs.
    pub json: Option<Value>,
    /// The tables afterwards, if it changes them.
    pub tables: Option<Tables>,
    /// Counters to be set once the tables are in force.
    pub counters: Vec<SetCounters>,
}

/// Counters to be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetCounters {
    /// Table.
    pub table: Table,
    /// Chain.
    pub chain: String,
    /// The rule, from 0; `None` for the policy.
    pub rule: Option<usize>,
    /// Packets and octets.
    pub counts: (u64, u64),
}

/// Sets counters of what runs.
pub fn set_counters(rules: &RouterRules, family: Family, list: &[SetCounters]) {
    for set in list {
        let Some(states) = rules.counters(family, set.table, &set.chain) else { continue };
        let state = match set.rule {
            Some(index) => states.rules.get(index),
            None => states.policy.as_ref(),
        };
        if let Some(state) = state {
            state.set_counts(set.counts.0, set.counts.1);
        }
    }
}

/// Runs a command.
///
/// # Errors
///
/// Why it is refused.
pub fn run(args: &[String], family: Family, tables: &Tables, rules: Option<&RouterRules>, json: bool) -> Result<Outcome, String> {
    let call = Call::parse(args, family)?;
    if call.commands.iter().any(|command| matches!(command, Global::Help | Global::Version)) {
        return Ok(Outcome { text: call.about(family), ..Outcome::default() });
    }
    let table = call.table.unwrap_or(Table::Filter);
    let view = View { family, tables, rules };
    let mut work = Work::new(tables.clone(), family);
    let mut outcome = Outcome::default();
    for command in &call.commands {
        match command {
            Global::List | Global::ListRules => {
                let chain = call.chain.as_deref();
                if let Some(chain) = chain {
                    work.exists(table, chain)?;
                }
                if json {
                    outcome.json = Some(view.json(table, chain, call.number));
                } else if *command == Global::List {
                    outcome.text = view.table_text(table, chain, call.number, call.style);
                } else {
                    outcome.text = view.rules_text(table, chain, call.number, call.style.verbose);
                }
            }
            command => work.apply(*command, table, &call, 0)?,
        }
    }
    if json && outcome.json.is_none() && !call.changes() {
        return Err("--json goes with -L and -S only".to_owned());
    }
    outcome.counters = work.counters();
    outcome.tables = Some(work.tables).filter(|new| new != tables);
    Ok(outcome)
}

/// Whether a command needs write access: all but those that list, check, or tell about the program. One that cannot be read does not, as
/// nothing becomes of it.
pub fn changes(args: &[String], family: Family) -> bool {
    let reads = |command: &Global| matches!(command, Global::List | Global::ListRules | Global::Check | Global::Help | Global::Version);
    Call::parse(args, family).is_ok_and(|call| !call.commands.iter().all(reads))
}

/// A command line, read.
pub(super) struct Call {
    /// `-t`.
    pub(super) table: Option<Table>,
    pub(super) commands: Vec<Global>,
    pub(super) chain: Option<String>,
    pub(super) number: Option<usize>,
    /// `-E`: the new name. `-P`: the policy.
    argument: Option<String>,
    pub(super) style: Style,
    rules: Vec<Rule>,
    counters: Option<(u64, u64)>,
}

impl Call {
    /// Reads the words behind the name of the program.
    pub(super) fn parse(args: &[String], family: Family) -> Result<Call, String> {
        lex::check(args)?;
        let mut words = Words::new(args);
        let mut reader = Reader::new(family);
        let mut call = Call {
            table: None,
            commands: Vec::new(),
            chain: None,
            number: None,
            argument: None,
            style: Style::default(),
            rules: Vec::new(),
            counters: None,
        };
        while let Some(found) = words.next(&mut reader)? {
            let negated = words.take_negation();
            match found {
                Found::Global(global) if global.is_rule() => reader.global(global, negated, &mut words)?,
                Found::Global(global) if negated => return Err(format!("`!` is not allowed with --{}", global.name())),
                Found::Global(global) => call.option(global, family, &mut words)?,
                Found::Module(place) => reader.module(place, negated, &mut words)?,
            }
        }
        call.counters = reader.counters;
        let takes_rule = call.commands.iter().any(|command| {
            matches!(command, Global::Append | Global::Insert | Global::Replace | Global::Check)
                || *command == Global::Delete && call.number.is_none()
        });
        match takes_rule {
            true => call.rules = reader.finish()?,
            false if reader.used && !call.commands.is_empty() => {
                return Err(format!("options of a rule do not go with --{}", call.commands[0].name()));
            }
            false => {}
        }
        if call.commands.is_empty() {
            return Err("no command specified (such as -A, -D, -L, -S)".to_owned());
        }
        let lists = call.commands.contains(&Global::List);
        let style = call.style;
        if !lists && (style.numeric || style.exact || style.line_numbers) {
            return Err("-n, -x and --line-numbers go with -L only".to_owned());
        }
        if style.verbose && !lists && !call.commands.contains(&Global::ListRules) {
            return Err("-v goes with -L and -S only".to_owned());
        }
        Ok(call)
    }

    /// Says that the command is a line of a restore file: rules count from what the file says, or from 0.
    pub(super) fn restored(&mut self, counters: Option<(u64, u64)>) {
        self.counters = Some(self.counters.or(counters).unwrap_or_default());
    }

    fn changes(&self) -> bool {
        !self.commands.iter().any(|command| matches!(command, Global::List | Global::ListRules))
    }

    fn option(&mut self, global: Global, family: Family, words: &mut Words<'_>) -> Result<(), String> {
        let letter = global.name();
        match global {
            Global::Table => {
                let name = words.value("-t")?;
                if self.table.is_some() {
                    return Err("multiple -t flags not allowed".to_owned());
                }
                self.table = Some(table(name)?);
                return Ok(());
            }
            Global::Verbose => self.style.verbose = true,
            Global::Numeric => self.style.numeric = true,
            Global::Exact => self.style.exact = true,
            Global::LineNumbers => self.style.line_numbers = true,
            // Every command waits for its turn as it is: the daemon carries them out one after the other.
            Global::Wait => {
                if let Some(seconds) = words.optional() {
                    seconds.parse::<u32>().map_err(|_| format!("wait seconds not numeric: {seconds:?}"))?;
                }
            }
            Global::WaitInterval => {
                let micros = words.value("-W")?;
                micros.parse::<u32>().map_err(|_| format!("wait interval not numeric: {micros:?}"))?;
            }
            Global::Ipv4 | Global::Ipv6 => {
                if (global == Global::Ipv4) != (family == Family::V4) {
                    return Err(format!("-{} does not go with {}", if family == Family::V4 { '6' } else { '4' }, family_tool(family)));
                }
            }
            Global::Modprobe => return Err("option --modprobe is not supported: there are no kernel modules".to_owned()),
            command => {
                self.command(command)?;
                let chain = words.optional();
                let needs_chain = !matches!(
                    command,
                    Global::List | Global::ListRules | Global::Flush | Global::Zero | Global::DeleteChain | Global::Help | Global::Version
                );
                if chain.is_none() && needs_chain {
                    return Err(format!("--{letter} requires a chain"));
                }
                if let Some(chain) = chain {
                    if self.chain.as_deref().is_some_and(|other| other != chain) {
                        return Err("two different chains are named".to_owned());
                    }
                    self.chain = Some(chain.to_owned());
                }
                match command {
                    Global::Insert | Global::List | Global::ListRules | Global::Zero if self.chain.is_some() => {
                        self.number = words.optional().map(rule_number).transpose()?;
                    }
                    Global::Delete => self.number = words.number().map(rule_number).transpose()?,
                    Global::Replace => {
                        self.number = Some(rule_number(words.optional().ok_or("-R requires a rule number")?)?);
                    }
                    Global::Policy => self.argument = Some(words.optional().ok_or("-P requires a chain and a policy")?.to_owned()),
                    Global::RenameChain => {
                        self.argument = Some(words.optional().ok_or("-E requires old-chain-name and new-chain-name")?.to_owned());
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn command(&mut self, command: Global) -> Result<(), String> {
        let together = |a: Global, b: Global| a == Global::Zero && matches!(b, Global::List | Global::ListRules);
        if let Some(other) = self.commands.iter().find(|other| !together(command, **other) && !together(**other, command)) {
            return Err(format!("cannot use --{} with --{}", command.name(), other.name()));
        }
        self.commands.push(command);
        Ok(())
    }

    fn about(&self, family: Family) -> String {
        let tool = family_tool(family);
        if self.commands.contains(&Global::Version) {
            return format!("{tool} v1.8.9 (vswitch {})\n", env!("CARGO_PKG_VERSION"));
        }
        format!(
            "Usage: vswitchctl {tool} ROUTER -[ACD] chain rule-specification\n       \
             vswitchctl {tool} ROUTER -I chain [rulenum] rule-specification\n       \
             vswitchctl {tool} ROUTER -R chain rulenum rule-specification\n       \
             vswitchctl {tool} ROUTER -D chain rulenum\n       \
             vswitchctl {tool} ROUTER -[LS] [chain [rulenum]] [-n] [-v] [-x] [--line-numbers]\n       \
             vswitchctl {tool} ROUTER -[FZ] [chain] | -[NX] chain | -E old new | -P chain ACCEPT|DROP\n\
             Each with [-t raw|mangle|nat|filter|security]; the table is filter otherwise.\n"
        )
    }
}

fn rule_number(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| format!("invalid rule number {text:?}"))
}

/// The table of this name.
pub(super) fn table(name: &str) -> Result<Table, String> {
    let found = Table::ALL.into_iter().find(|table| table.name() == name);
    found.ok_or_else(|| format!("table {name:?} does not exist (there are raw, mangle, nat, filter, security)"))
}

/// What is known of a rule beside its text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tag {
    /// The line of the file it came from; 0 for one that was there.
    pub(super) line: usize,
    counters: Option<(u64, u64)>,
}

/// Tables while they are edited.
pub(super) struct Work {
    pub(super) tables: Tables,
    family: Family,
    /// Of the chains that were touched.
    tags: HashMap<(Table, String), Vec<Tag>>,
    policies: Vec<SetCounters>,
}

impl Work {
    pub(super) fn new(tables: Tables, family: Family) -> Work {
        Work { tables, family, tags: HashMap::new(), policies: Vec::new() }
    }

    /// Where a rule, from 1, came from.
    pub(super) fn line(&self, table: Table, chain: &str, rule: usize) -> Option<usize> {
        let tags = self.tags.get(&(table, chain.to_owned()))?;
        tags.get(rule.checked_sub(1)?).map(|tag| tag.line).filter(|line| *line != 0)
    }

    /// The counters to be set.
    pub(super) fn counters(&self) -> Vec<SetCounters> {
        let mut list = self.policies.clone();
        for ((table, chain), tags) in &self.tags {
            let set = tags.iter().enumerate().filter_map(|(index, tag)| Some((index, tag.counters?)));
            list.extend(set.map(|(index, counts)| SetCounters { table: *table, chain: chain.clone(), rule: Some(index), counts }));
        }
        list
    }

    pub(super) fn set_policy_counters(&mut self, table: Table, chain: &str, counts: (u64, u64)) {
        self.policies.push(SetCounters { table, chain: chain.to_owned(), rule: None, counts });
    }

    pub(super) fn table(&mut self, table: Table) -> &mut TableConfig {
        match table {
            Table::Raw => &mut self.tables.raw,
            Table::Mangle => &mut self.tables.mangle,
            Table::Nat => &mut self.tables.nat,
            Table::Filter => &mut self.tables.filter,
            Table::Security => &mut self.tables.security,
        }
    }

    pub(super) fn exists(&self, table: Table, chain: &str) -> Result<(), String> {
        match hook_of(table, chain).is_some() || table_of(&self.tables, table).contains_key(chain) {
            true => Ok(()),
            false => Err(format!("No chain/target/match by that name: there is no chain {chain:?} in table {}", table.name())),
        }
    }

    /// The rules of a chain and their tags, to be changed.
    fn chain(&mut self, table: Table, chain: &str) -> Result<(&mut Vec<String>, &mut Vec<Tag>), String> {
        self.exists(table, chain)?;
        let tags = self.tags.entry((table, chain.to_owned())).or_default();
        let config = match table {
            Table::Raw => &mut self.tables.raw,
            Table::Mangle => &mut self.tables.mangle,
            Table::Nat => &mut self.tables.nat,
            Table::Filter => &mut self.tables.filter,
            Table::Security => &mut self.tables.security,
        };
        let rules = &mut config.entry(chain.to_owned()).or_default().rules;
        tags.resize(rules.len(), Tag::default());
        Ok((rules, tags))
    }

    /// Forgets what is known of the rules of a chain that was emptied.
    pub(super) fn forget(&mut self, table: Table, chain: &str) {
        self.tags.remove(&(table, chain.to_owned()));
    }

    /// The same for all chains of a table.
    pub(super) fn forget_table(&mut self, table: Table) {
        self.tags.retain(|(of, _), _| *of != table);
    }

    /// Leaves base chains out that are as if never touched.
    pub(super) fn tidy(&mut self) {
        for table in Table::ALL {
            self.table(table).retain(|name, chain| hook_of(table, name).is_none() || *chain != ChainConfig::default());
        }
    }

    /// Carries out a command. `line` is that of the file the command is from.
    pub(super) fn apply(&mut self, command: Global, table: Table, call: &Call, line: usize) -> Result<(), String> {
        let family = self.family;
        let name = call.chain.clone().unwrap_or_default();
        match command {
            Global::Append | Global::Insert => {
                let (rules, tags) = self.chain(table, &name)?;
                let at = match (command, call.number) {
                    (Global::Append, _) => rules.len(),
                    (_, number) => number.unwrap_or(1) - 1,
                };
                if at > rules.len() {
                    return Err("Index of insertion too big.".to_owned());
                }
                // As iptables does: each of several is inserted at the place, so the last one comes first.
                let texts: Vec<String> = match command {
                    Global::Append => call.rules.iter().map(|rule| rule.spec(None)).collect(),
                    _ => call.rules.iter().rev().map(|rule| rule.spec(None)).collect(),
                };
                tags.splice(at..at, texts.iter().map(|_| Tag { line, counters: call.counters }));
                rules.splice(at..at, texts);
            }
            Global::Replace => {
                let (rules, tags) = self.chain(table, &name)?;
                let [rule] = call.rules.as_slice() else {
                    return Err("Replacement rule does not specify a unique address".to_owned());
                };
                let at = call.number.unwrap_or(0).wrapping_sub(1);
                let place = rules.get_mut(at).ok_or("Index of replacement too big.")?;
                *place = rule.spec(None);
                tags[at] = Tag { line, counters: Some(call.counters.unwrap_or_default()) };
            }
            Global::Delete | Global::Check => {
                let (rules, tags) = self.chain(table, &name)?;
                if let Some(number) = call.number {
                    if number > rules.len() {
                        return Err("Index of deletion too big.".to_owned());
                    }
                    rules.remove(number - 1);
                    tags.remove(number - 1);
                }
                for rule in &call.rules {
                    let text = rule.spec(None);
                    let same = |other: &String| *other == text || memo::parse(other, family).is_ok_and(|other| other.spec(None) == text);
                    let at = rules.iter().position(|other| *other == text).or_else(|| rules.iter().position(same));
                    let at = at.ok_or("Bad rule (does a matching rule exist in that chain?).")?;
                    if command == Global::Delete {
                        rules.remove(at);
                        tags.remove(at);
                    }
                }
            }
            Global::Flush => {
                let chains: Vec<String> = match &call.chain {
                    Some(chain) => vec![chain.clone()],
                    None => self.table(table).keys().cloned().collect(),
                };
                for chain in chains {
                    let (rules, tags) = self.chain(table, &chain)?;
                    rules.clear();
                    tags.clear();
                }
            }
            Global::Zero => self.zero(table, call)?,
            Global::NewChain => {
                check_chain_name(&name)?;
                if self.exists(table, &name).is_ok() {
                    return Err("Chain already exists.".to_owned());
                }
                self.table(table).insert(name, ChainConfig::default());
            }
            Global::DeleteChain => {
                let user = |chain: &String| hook_of(table, chain).is_none();
                let chains: Vec<String> = match &call.chain {
                    Some(chain) => vec![chain.clone()],
                    None => self.table(table).keys().filter(|chain| user(chain)).cloned().collect(),
                };
                for chain in chains {
                    self.delete_chain(table, &chain)?;
                }
            }
            Global::RenameChain => {
                let new = call.argument.clone().unwrap_or_default();
                self.rename_chain(table, &name, &new)?;
            }
            Global::Policy => {
                if hook_of(table, &name).is_none() {
                    return Err(format!("Bad built-in chain name: {name:?} is none of table {}", table.name()));
                }
                let policy = call.argument.as_deref().unwrap_or_default();
                self.set_policy(table, &name, policy)?;
                if let Some(counts) = call.counters {
                    self.set_policy_counters(table, &name, counts);
                }
            }
            other => return Err(format!("--{} cannot be used here", other.name())),
        }
        if line == 0 {
            self.tidy();
        }
        Ok(())
    }

    pub(super) fn set_policy(&mut self, table: Table, chain: &str, policy: &str) -> Result<(), String> {
        let policy = match policy {
            "ACCEPT" => None,
            "DROP" => Some("DROP".to_owned()),
            other => return Err(format!("Bad policy name {other:?}: it must be ACCEPT or DROP")),
        };
        self.table(table).entry(chain.to_owned()).or_default().policy = policy;
        Ok(())
    }

    fn zero(&mut self, table: Table, call: &Call) -> Result<(), String> {
        let chains: Vec<String> = match &call.chain {
            Some(chain) => vec![chain.clone()],
            None => super::list::chains(table, table_of(&self.tables, table)).map(|(name, _)| name.to_owned()).collect(),
        };
        for chain in chains {
            let (_, tags) = self.chain(table, &chain)?;
            match call.number {
                Some(number) => tags.get_mut(number - 1).ok_or("Index of zeroing too big.")?.counters = Some((0, 0)),
                None => {
                    tags.iter_mut().for_each(|tag| tag.counters = Some((0, 0)));
                    if hook_of(table, &chain).is_some() {
                        self.set_policy_counters(table, &chain, (0, 0));
                    }
                }
            }
        }
        Ok(())
    }

    fn delete_chain(&mut self, table: Table, chain: &str) -> Result<(), String> {
        self.exists(table, chain)?;
        if hook_of(table, chain).is_some() {
            return Err(format!("chain {chain:?} is built in and cannot be deleted"));
        }
        let view = View { family: self.family, tables: &self.tables, rules: None };
        match view.references(table, chain) {
            0 => {}
            count => return Err(format!("Too many links: {count} rules go to chain {chain:?}")),
        }
        if self.table(table).get(chain).is_some_and(|config| !config.rules.is_empty()) {
            return Err(format!("Directory not empty: chain {chain:?} has rules"));
        }
        self.table(table).remove(chain);
        self.tags.remove(&(table, chain.to_owned()));
        Ok(())
    }

    fn rename_chain(&mut self, table: Table, old: &str, new: &str) -> Result<(), String> {
        self.exists(table, old)?;
        if hook_of(table, old).is_some() {
            return Err(format!("chain {old:?} is built in and cannot be renamed"));
        }
        check_chain_name(new)?;
        if self.exists(table, new).is_ok() {
            return Err(format!("File exists: chain {new:?} is there already"));
        }
        let family = self.family;
        let config = self.table(table);
        for text in config.values_mut().flat_map(|chain| &mut chain.rules) {
            let Ok(rule) = memo::parse(text, family) else { continue };
            if let Jump::Chain { name, goto } = &rule.jump
                && name == old
            {
                *text = Rule { jump: Jump::Chain { name: new.to_owned(), goto: *goto }, ..(*rule).clone() }.spec(None);
            }
        }
        if let Some(chain) = config.remove(old) {
            config.insert(new.to_owned(), chain);
        }
        if let Some(tags) = self.tags.remove(&(table, old.to_owned())) {
            self.tags.insert((table, new.to_owned()), tags);
        }
        Ok(())
    }
}
