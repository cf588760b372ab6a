//! `ipset`: commands on the sets of a router.
//!
//! Elements without a timeout are part of the configuration. Those with one live in the running set only: they are gone
//! after a restart, as all of them are with the kernel's sets.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt::Write;

use dataplane::clock::Nanos;
use dataplane::router::{Address, Family};
use dataplane::rules::{Element, SetKind, Table};
use proto::iptables::{SetConfig, SetFamily, Tables};
use serde_json::{Value, json};

use super::compile::{RouterRules, table_of};
use super::lex;
use super::memo;
use super::names::{did_you_mean, number};
use super::option::Data;
use super::sets::{self, element_text, elements};

/// Nanoseconds of a second.
const SECOND: Nanos = 1_000_000_000;

/// The sets of a router, and what else the commands look at.
#[derive(Clone, Copy)]
pub struct Scope<'s> {
    /// The sets.
    pub sets: &'s BTreeMap<String, SetConfig>,
    /// The rules of both families: a set they name is in use.
    pub tables: [&'s Tables; 2],
    /// What runs, for elements with a timeout.
    pub rules: Option<&'s RouterRules>,
    /// The moment.
    pub now: Nanos,
}

/// What a command comes to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What it prints.
    pub text: String,
    /// The same for programs.
    pub json: Option<Value>,
    /// The sets afterwards, if their configuration changes.
    pub sets: Option<BTreeMap<String, SetConfig>>,
    /// What happens to running sets once the configuration is in force.
    pub live: Vec<Live>,
}

/// A change of elements with a timeout.
#[derive(Clone, Debug, PartialEq)]
pub struct Live {
    /// The set.
    pub set: String,
    /// What.
    pub edit: LiveEdit,
}

/// A change of elements of a running set.
#[derive(Clone, Debug, PartialEq)]
pub enum LiveEdit {
    /// Elements with nanoseconds; without, those of the set.
    Add(Vec<(Element, Option<Nanos>)>),
    /// Removes elements.
    Del(Vec<Element>),
    /// Removes all but those of the configuration.
    Flush,
}

/// Changes running sets.
///
/// # Errors
///
/// When a set has no room.
pub fn apply_live(rules: &RouterRules, list: &[Live], now: Nanos) -> Result<(), String> {
    for live in list {
        let Some(running) = rules.sets().get(&live.set) else { continue };
        match &live.edit {
            LiveEdit::Add(elements) => {
                running.set.add(elements, now).map_err(|error| format!("ipset {:?}: {}", live.set, sets::set_error(error)))?;
            }
            LiveEdit::Del(elements) => drop(running.set.del(elements, now)),
            LiveEdit::Flush => {
                let kept: HashSet<Element> = running.elements().collect();
                let gone: Vec<Element> =
                    running.set.list(now).into_iter().map(|(element, _)| element).filter(|e| !kept.contains(e)).collect();
                running.set.del(&gone, now);
            }
        }
    }
    Ok(())
}

/// Commands with their letters and the number of words behind them at least.
const COMMANDS: [(&str, &str, usize); 11] = [
    ("create", "-N", 2),
    ("destroy", "-X", 0),
    ("list", "-L", 0),
    ("save", "-S", 0),
    ("restore", "-R", 0),
    ("flush", "-F", 0),
    ("rename", "-E", 2),
    ("swap", "-W", 2),
    ("add", "-A", 2),
    ("del", "-D", 2),
    ("test", "-T", 2),
];

/// A command line, read.
#[derive(Default)]
struct Call {
    command: &'static str,
    words: Vec<String>,
    exist: bool,
    terse: bool,
    names: bool,
    save: bool,
}

impl Call {
    fn parse(args: &[String]) -> Result<Call, String> {
        lex::check(args)?;
        let mut call = Call::default();
        let mut words = args.iter();
        while let Some(word) = words.next() {
            if call.command.is_empty()
                && let Some((name, ..)) =
                    COMMANDS.iter().find(|(name, letter, _)| word == name || word == letter || word.strip_prefix("--") == Some(*name))
            {
                call.command = name;
                continue;
            }
            match word.as_str() {
                "-!" | "-exist" | "--exist" => call.exist = true,
                "-t" | "-terse" | "--terse" => call.terse = true,
                "-n" | "-name" | "--name" => call.names = true,
                // Lists are in order as they are.
                "-s" | "-sorted" | "--sorted" => {}
                "-o" | "-output" | "--output" => match words.next().map(String::as_str) {
                    Some("plain") => {}
                    Some("save") => call.save = true,
                    other => {
                        return Err(format!("output {:?} is not supported (there are plain and save, and --json)", other.unwrap_or("")));
                    }
                },
                other if other.starts_with('-') => return Err(format!("option {other:?} is not supported")),
                other if call.command.is_empty() => {
                    let near = did_you_mean(other, COMMANDS.iter().map(|(name, ..)| *name));
                    return Err(format!("No command specified: unknown argument {other:?}{near}"));
                }
                other => call.words.push(other.to_owned()),
            }
        }
        let Some((name, _, least)) = COMMANDS.iter().find(|(name, ..)| *name == call.command) else {
            return Err("No command specified (such as create, add, del, list)".to_owned());
        };
        if call.words.len() < *least {
            return Err(format!("missing mandatory argument of {name}"));
        }
        let most = match *name {
            "create" | "add" => usize::MAX,
            "destroy" | "list" | "save" | "flush" => 1,
            "restore" => 0,
            _ => 2,
        };
        match call.words.get(most) {
            Some(word) => Err(format!("Unknown argument: {word:?}")),
            None => Ok(call),
        }
    }
}

/// Whether a command needs write access: all but `list`, `save` and `test`. One that cannot be read does not, as nothing becomes of it.
pub fn changes(args: &[String]) -> bool {
    Call::parse(args).is_ok_and(|call| !matches!(call.command, "list" | "save" | "test"))
}

/// Runs a command. `input` is what `restore` reads.
///
/// # Errors
///
/// Why it is refused.
pub fn run(args: &[String], input: Option<&str>, scope: &Scope<'_>, json: bool) -> Result<Outcome, String> {
    let call = Call::parse(args)?;
    let mut work = Work {
        scope,
        sets: scope.sets.clone(),
        elements: BTreeMap::new(),
        live: Vec::new(),
        overlay: BTreeMap::new(),
        flushed: HashSet::new(),
        references: OnceCell::new(),
    };
    let mut outcome = Outcome::default();
    let one = call.words.first().map(String::as_str);
    if json && call.command != "list" {
        return Err("--json goes with list only".to_owned());
    }
    match call.command {
        "list" | "save" => {
            if let Some(name) = one {
                work.get(name)?;
            }
            let references = scope.references();
            let of = |name: &str| references.get(name).copied().unwrap_or(0);
            let wanted = scope.sets.iter().filter(|(name, _)| one.is_none_or(|one| one == *name));
            if json {
                outcome.json = Some(wanted.map(|(name, config)| scope.json(name, config, of(name))).collect());
            } else if call.names {
                wanted.for_each(|(name, _)| outcome.text += &format!("{name}\n"));
            } else if call.command == "save" || call.save {
                wanted.for_each(|(name, config)| scope.save(&mut outcome.text, name, config));
            } else {
                wanted.for_each(|(name, config)| scope.list(&mut outcome.text, name, config, of(name), call.terse));
            }
            return Ok(outcome);
        }
        "test" => {
            let (name, text) = (&call.words[0], &call.words[1]);
            if !work.test(name, text)? {
                return Err(format!("{text} is NOT in set {name}."));
            }
            outcome.text = format!("{text} is in set {name}.\n");
            return Ok(outcome);
        }
        "restore" => {
            let input = input.ok_or("restore reads its commands from standard input")?;
            for (index, line) in input.lines().enumerate() {
                let line = line.trim();
                if line.is_empty() || line.starts_with('#') || line == "COMMIT" {
                    continue;
                }
                let mut restored = || {
                    let mut line = Call::parse(&lex::split(line)?)?;
                    line.exist |= call.exist;
                    match line.command {
                        "list" | "save" | "restore" | "test" => Err(format!("{} cannot be used in a restore file", line.command)),
                        _ => work.apply(&line),
                    }
                };
                restored().map_err(|error| format!("line {}: {error}", index + 1))?;
            }
        }
        _ => work.apply(&call)?,
    }
    outcome.live = work.live;
    outcome.sets = Some(work.sets).filter(|new| new != scope.sets);
    Ok(outcome)
}

impl Scope<'_> {
    /// The elements of a set with the nanoseconds left to those that have a timeout.
    fn members(&self, name: &str, config: &SetConfig) -> Vec<(Element, Option<Nanos>)> {
        match self.rules.and_then(|rules| rules.sets().get(name)) {
            Some(running) => running.set.list(self.now),
            None => {
                let mut list: Vec<Element> = config.entries.iter().flat_map(|text| elements(config, text).unwrap_or_default()).collect();
                list.sort_unstable();
                list.dedup();
                list.into_iter().map(|element| (element, None)).collect()
            }
        }
    }

    fn texts(&self, name: &str, config: &SetConfig) -> Vec<String> {
        let Ok(options) = sets::options(config) else { return Vec::new() };
        let text = |(element, left): (Element, Option<Nanos>)| {
            let timeout = config.timeout.map(|_| format!(" timeout {}", left.map_or(0, |left| left.div_ceil(SECOND))));
            element_text(&options, &element) + &timeout.unwrap_or_default()
        };
        self.members(name, config).into_iter().map(text).collect()
    }

    /// How many times rules name each set.
    fn references(&self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for (tables, family) in self.tables.iter().zip([Family::V4, Family::V6]) {
            let rules = Table::ALL.into_iter().flat_map(|table| table_of(tables, table).values()).flat_map(|chain| &chain.rules);
            for rule in rules.filter(|text| text.contains("-set")).filter_map(|text| memo::parse(text, family).ok()) {
                for arg in rule.matches.iter().filter(|clause| clause.module.name == "set").flat_map(|clause| &clause.args) {
                    if let Data::Text(name) = &arg.value.data {
                        *counts.entry(name.clone()).or_default() += 1;
                    }
                }
            }
        }
        counts
    }

    fn list(&self, text: &mut String, name: &str, config: &SetConfig, references: usize, terse: bool) {
        if !text.is_empty() {
            text.push('\n');
        }
        let members = self.texts(name, config);
        let _ = write!(
            text,
            "Name: {name}\nType: {}\nHeader: {}\nReferences: {}\nNumber of entries: {}\n",
            config.kind,
            header(config),
            references,
            members.len()
        );
        if !terse {
            text.push_str("Members:\n");
            members.iter().for_each(|member| *text += &format!("{member}\n"));
        }
    }

    fn save(&self, text: &mut String, name: &str, config: &SetConfig) {
        let _ = writeln!(text, "create {name} {} {}", config.kind, header(config));
        self.texts(name, config).iter().for_each(|member| *text += &format!("add {name} {member}\n"));
    }

    fn json(&self, name: &str, config: &SetConfig, references: usize) -> Value {
        let SetConfig { kind, family, maxelem, timeout, range, .. } = config;
        let options = sets::options(config).ok();
        let members = self.members(name, config).into_iter().filter_map(|(element, left)| {
            let text = element_text(options.as_ref()?, &element);
            Some(match config.timeout {
                Some(_) => json!({ "element": text, "timeout": left.map_or(0, |left| left.div_ceil(SECOND)) }),
                None => json!({ "element": text }),
            })
        });
        json!({
            "name": name, "type": kind, "family": family, "maxelem": maxelem, "timeout": timeout, "range": range,
            "references": references, "members": members.collect::<Vec<_>>(),
        })
    }
}

/// The options a set was made with.
fn header(config: &SetConfig) -> String {
    let mut text = match &config.range {
        Some(range) => format!("range {range}"),
        None if config.kind == "hash:mac" => format!("maxelem {}", config.maxelem),
        None => {
            let family = if config.family == SetFamily::Inet { "inet" } else { "inet6" };
            format!("family {family} maxelem {}", config.maxelem)
        }
    };
    if let Some(timeout) = config.timeout {
        text += &format!(" timeout {timeout}");
    }
    text
}

/// Sets while they are edited.
struct Work<'w> {
    scope: &'w Scope<'w>,
    sets: BTreeMap<String, SetConfig>,
    /// The elements of the configuration, of the sets that were looked at.
    elements: BTreeMap<String, HashSet<Element>>,
    live: Vec<Live>,
    /// What `live` comes to: whether an element with a timeout is there, and which sets have none but these.
    overlay: BTreeMap<String, HashMap<Element, bool>>,
    flushed: HashSet<String>,
    /// As [`Scope::references`], once it was asked for.
    references: OnceCell<HashMap<String, usize>>,
}

impl Work<'_> {
    fn edit_live(&mut self, name: &str, edit: LiveEdit) {
        let overlay = self.overlay.entry(name.to_owned()).or_default();
        match &edit {
            LiveEdit::Add(list) => overlay.extend(list.iter().map(|(element, _)| (*element, true))),
            LiveEdit::Del(list) => overlay.extend(list.iter().map(|element| (*element, false))),
            LiveEdit::Flush => {
                overlay.clear();
                self.flushed.insert(name.to_owned());
            }
        }
        match (self.live.last_mut(), edit) {
            (Some(Live { set, edit: LiveEdit::Add(list) }), LiveEdit::Add(more)) if set == name => list.extend(more),
            (_, edit) => self.live.push(Live { set: name.to_owned(), edit }),
        }
    }

    fn get(&self, name: &str) -> Result<&SetConfig, String> {
        let near = || did_you_mean(name, self.sets.keys().map(String::as_str));
        self.sets.get(name).ok_or_else(|| format!("The set with the given name does not exist: {name:?}{}", near()))
    }

    fn unused(&self, name: &str, what: &str) -> Result<(), String> {
        match self.references.get_or_init(|| self.scope.references()).get(name).copied().unwrap_or(0) {
            0 => Ok(()),
            count => Err(format!("Set cannot be {what}: it is in use by a kernel component ({count} rules match set {name:?})")),
        }
    }

    /// The elements of the configuration of a set.
    fn lasting(&mut self, name: &str) -> Result<&mut HashSet<Element>, String> {
        if !self.elements.contains_key(name) {
            let config = self.get(name)?;
            let mut all = HashSet::with_capacity(config.entries.len());
            for text in &config.entries {
                all.extend(elements(config, text)?);
            }
            self.elements.insert(name.to_owned(), all);
        }
        Ok(self.elements.entry(name.to_owned()).or_default())
    }

    /// Whether an element with a timeout runs.
    fn is_live(&self, name: &str, element: &Element) -> bool {
        if let Some(is) = self.overlay.get(name).and_then(|overlay| overlay.get(element)) {
            return *is;
        }
        // A set that was made or took another's place in this very call has nothing of what runs by its name.
        let same = |old: &SetConfig| self.sets.get(name).is_some_and(|new| sets::is_made_alike(old, new));
        if self.flushed.contains(name) || !self.scope.sets.get(name).is_some_and(same) {
            return false;
        }
        let running = self.scope.rules.and_then(|rules| rules.sets().get(name));
        running.is_some_and(|running| !running.is_configured(element) && running.set.has(element, self.scope.now))
    }

    fn apply(&mut self, call: &Call) -> Result<(), String> {
        let name = call.words.first().cloned();
        let named = name.as_deref().unwrap_or_default();
        match call.command {
            "create" => self.create(call),
            "add" => self.add(call),
            "del" => self.del(call),
            "destroy" => {
                let all: Vec<String> = name.map_or_else(|| self.sets.keys().cloned().collect(), |name| vec![name]);
                for name in all {
                    if call.exist && !self.sets.contains_key(&name) {
                        continue;
                    }
                    self.get(&name)?;
                    self.unused(&name, "destroyed")?;
                    self.sets.remove(&name);
                    self.elements.remove(&name);
                }
                Ok(())
            }
            "flush" => {
                let all: Vec<String> = name.map_or_else(|| self.sets.keys().cloned().collect(), |name| vec![name]);
                for name in all {
                    self.get(&name)?;
                    self.elements.remove(&name);
                    self.edit_live(&name, LiveEdit::Flush);
                    self.sets.entry(name).and_modify(|set| set.entries.clear());
                }
                Ok(())
            }
            "rename" => {
                let new = &call.words[1];
                self.get(named)?;
                self.unused(named, "renamed")?;
                sets::check_name(new)?;
                if self.sets.contains_key(new) {
                    return Err("Set cannot be renamed: a set with the new name already exists".to_owned());
                }
                if let Some(set) = self.sets.remove(named) {
                    self.sets.insert(new.clone(), set);
                }
                self.elements.remove(named);
                Ok(())
            }
            "swap" => self.swap(named, &call.words[1]),
            other => Err(format!("{other} cannot be used here")),
        }
    }

    fn swap(&mut self, one: &str, other: &str) -> Result<(), String> {
        let (a, b) = (self.get(one)?.clone(), self.get(other)?.clone());
        if a.kind != b.kind || a.family != b.family {
            return Err("The sets cannot be swapped: their type does not match".to_owned());
        }
        if a == b {
            // The running sets stay where they are, so what is not configured has to move.
            let list = |name: &str| match self.scope.rules.and_then(|rules| rules.sets().get(name)) {
                Some(running) => {
                    let all = running.set.list(self.scope.now).into_iter();
                    all.filter(|(element, _)| !running.is_configured(element)).collect()
                }
                None => Vec::new(),
            };
            for (from, to) in [(list(other), one), (list(one), other)] {
                self.edit_live(to, LiveEdit::Flush);
                self.edit_live(to, LiveEdit::Add(from));
            }
        }
        self.sets.insert(one.to_owned(), b);
        self.sets.insert(other.to_owned(), a);
        self.elements.remove(one);
        self.elements.remove(other);
        Ok(())
    }

    fn create(&mut self, call: &Call) -> Result<(), String> {
        let (name, kind) = (&call.words[0], &call.words[1]);
        sets::check_name(name)?;
        sets::kind(kind)?;
        let mut config = SetConfig::new(if kind.contains(':') { kind.clone() } else { format!("hash:{kind}") });
        let mut words = call.words[2..].iter();
        while let Some(option) = words.next() {
            let mut value = || words.next().map(String::as_str).ok_or_else(|| format!("missing mandatory argument of option {option:?}"));
            let count = |value: &str| number(value).ok_or_else(|| format!("{value:?} is invalid as number"));
            match option.as_str() {
                "family" => {
                    config.family = match value()? {
                        "inet" | "ipv4" => SetFamily::Inet,
                        "inet6" | "ipv6" => SetFamily::Inet6,
                        other => return Err(format!("unknown INET family {other:?}")),
                    }
                }
                "maxelem" => config.maxelem = count(value()?)?,
                "timeout" => config.timeout = Some(count(value()?)?),
                "range" => config.range = Some(value()?.to_owned()),
                // Tables here grow by themselves.
                "hashsize" | "bucketsize" | "initval" => drop(count(value()?)?),
                "counters" | "comment" | "skbinfo" | "forceadd" | "netmask" | "bitmask" | "markmask" | "size" | "probes" | "resize" => {
                    return Err(format!("option {option:?} of set type {kind} is not supported"));
                }
                other => return Err(format!("Unknown argument: {other:?}")),
            }
        }
        sets::options(&config)?;
        if let Some(other) = self.sets.get(name) {
            return match call.exist {
                true if sets::is_made_alike(other, &config) => Ok(()),
                _ => Err(format!("Set cannot be created: set with the same name already exists: {name:?}")),
            };
        }
        self.sets.insert(name.clone(), config);
        self.elements.remove(name);
        Ok(())
    }

    fn add(&mut self, call: &Call) -> Result<(), String> {
        let (name, text) = (&call.words[0], &call.words[1]);
        let config = self.get(name)?;
        let mut timeout = config.timeout;
        let mut words = call.words[2..].iter();
        while let Some(option) = words.next() {
            match option.as_str() {
                "timeout" => {
                    let value = words.next().ok_or("missing mandatory argument of option \"timeout\"")?;
                    let seconds = number(value).filter(|seconds| *seconds <= sets::TIMEOUT_MAX);
                    let seconds = seconds.ok_or_else(|| format!("{value:?} is not a number of seconds up to {}", sets::TIMEOUT_MAX))?;
                    if config.timeout.is_none() {
                        return Err("Timeout cannot be used: set was created without timeout support".to_owned());
                    }
                    timeout = Some(seconds);
                }
                "comment" | "packets" | "bytes" | "nomatch" | "skbmark" | "skbprio" | "skbqueue" => {
                    return Err(format!("option {option:?} of an element is not supported"));
                }
                other => return Err(format!("Unknown argument: {other:?}")),
            }
        }
        let new = elements(config, text)?;
        let options = sets::options(config)?;
        let room = options.maxelem;
        let lasts = timeout.unwrap_or(0) == 0;
        let live: Vec<bool> = new.iter().map(|element| self.is_live(name, element)).collect();
        let running = self.scope.rules.and_then(|rules| rules.sets().get(name)).map_or(0, |running| running.set.len());
        let configured = self.lasting(name)?;
        let there = new.iter().zip(&live).any(|(element, live)| *live || configured.contains(element));
        if there && !call.exist {
            return Err("Element cannot be added to the set: it's already added".to_owned());
        }
        let fresh: Vec<Element> = new.iter().filter(|element| !configured.contains(element)).copied().collect();
        let more = new.iter().zip(&live).filter(|(element, live)| !**live && !configured.contains(element)).count();
        if more > 0 && configured.len().max(running) + more > room {
            return Err(format!("Hash is full, cannot add more elements (maxelem of set {name:?} is {room})"));
        }
        if lasts {
            configured.extend(&fresh);
            if let Some(set) = self.sets.get_mut(name) {
                set.entries.extend(fresh.iter().map(|element| element_text(&options, element)));
            }
            return Ok(());
        }
        let over: Vec<Element> = new.iter().filter(|element| configured.contains(element)).copied().collect();
        self.forget(name, &over)?;
        let timeout = timeout.map(|seconds| Nanos::from(seconds) * SECOND);
        self.edit_live(name, LiveEdit::Add(new.into_iter().map(|element| (element, timeout)).collect()));
        Ok(())
    }

    fn del(&mut self, call: &Call) -> Result<(), String> {
        let (name, text) = (&call.words[0], &call.words[1]);
        let config = self.get(name)?;
        let gone = elements(config, text)?;
        let live: Vec<Element> = gone.iter().filter(|element| self.is_live(name, element)).copied().collect();
        let configured = self.lasting(name)?;
        let lasting: Vec<Element> = gone.iter().filter(|element| configured.contains(element)).copied().collect();
        // An element is in one of the two only.
        if !call.exist && live.len() + lasting.len() < gone.len() {
            return Err("Element cannot be deleted from the set: it's not added".to_owned());
        }
        self.forget(name, &lasting)?;
        if !live.is_empty() {
            self.edit_live(name, LiveEdit::Del(live));
        }
        Ok(())
    }

    /// Takes elements out of the configuration of a set.
    fn forget(&mut self, name: &str, gone: &[Element]) -> Result<(), String> {
        if gone.is_empty() {
            return Ok(());
        }
        let options = sets::options(self.get(name)?)?;
        let configured = self.lasting(name)?;
        for element in gone {
            configured.remove(element);
        }
        let texts: HashSet<String> = gone.iter().map(|element| element_text(&options, element)).collect();
        let Some(set) = self.sets.get_mut(name) else { return Ok(()) };
        let before = set.entries.len();
        match (texts.len(), texts.iter().next()) {
            (1, Some(text)) => {
                if let Some(at) = set.entries.iter().position(|entry| entry == text) {
                    set.entries.remove(at);
                }
            }
            _ => set.entries.retain(|entry| !texts.contains(entry)),
        }
        if before - set.entries.len() < texts.len() {
            // An entry written as a range stands for elements that stay as well.
            let mut rest: Vec<Element> = self.elements.get(name).into_iter().flatten().copied().collect();
            rest.sort_unstable();
            set.entries = rest.iter().map(|element| element_text(&options, element)).collect();
        }
        Ok(())
    }

    /// Whether an element is in a set; of sets of networks, whether a network it lies in is.
    fn test(&mut self, name: &str, text: &str) -> Result<bool, String> {
        let config = self.get(name)?;
        let (kind, family) = (sets::kind(&config.kind)?, sets::family(config));
        let tested = elements(config, text)?;
        let [element] = tested.as_slice() else { return Err(format!("{text:?} is more than one element")) };
        let wider =
            |len: u8| Element { prefix_len: len, address: Address(element.address.0 & !Address::host_mask(family, len)), ..*element };
        let candidates: Vec<Element> = match kind {
            SetKind::HashNet | SetKind::HashNetPort => (1..=element.prefix_len).rev().map(wider).collect(),
            _ => vec![*element],
        };
        let live = candidates.iter().any(|element| self.is_live(name, element));
        let lasting = self.lasting(name)?;
        Ok(live || candidates.iter().any(|element| lasting.contains(element)))
    }
}
