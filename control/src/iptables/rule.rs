//! A rule as its author sees it: read from the words behind `iptables -A CHAIN`, printed as `iptables -S` prints it.

use std::fmt::Write;

use dataplane::router::{Address, Family};
use wire::ip_protocol::{ICMP, ICMPV6, TCP};

use super::lex;
use super::matches::{self, WITH_PORTS};
use super::names;
use super::option::{Clause, Data, Module, Opt};
use super::targets;
use super::value::{network, network_text};
use super::words::{Found, Global, Words, globals};

/// Octets of the name of an interface at most (`IFNAMSIZ`).
const INTERFACE_MAX: usize = 15;
/// Octets of the name of a chain at most (`XT_EXTENSION_MAXNAMELEN`).
pub const CHAIN_MAX: usize = 28;
/// Addresses in one option at most.
const ADDRESSES_MAX: usize = 256;

/// Source or destination of a rule.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Host {
    /// `!` is in front.
    pub negated: bool,
    /// Its bits under the mask.
    pub address: Address,
    /// Bits that count.
    pub mask: u128,
}

/// An interface of a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Interface {
    /// `!` is in front.
    pub negated: bool,
    /// Its name; with `+` at the end, how it begins.
    pub name: String,
}

/// What a rule does.
#[derive(Clone, Debug)]
pub enum Jump {
    /// Nothing but count.
    None,
    /// `-j` with a target.
    Target(Clause),
    /// `-j` or `-g` with a chain.
    Chain {
        /// Its name.
        name: String,
        /// `-g`.
        goto: bool,
    },
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its family.
    pub family: Family,
    /// `-s`.
    pub source: Option<Host>,
    /// `-d`.
    pub destination: Option<Host>,
    /// `-i`.
    pub in_interface: Option<Interface>,
    /// `-o`.
    pub out_interface: Option<Interface>,
    /// `-p`, with whether `!` is in front.
    pub protocol: Option<(bool, u8)>,
    /// `-f`: whether `!` is in front.
    pub fragment: Option<bool>,
    /// `-m`, in order.
    pub matches: Vec<Clause>,
    /// `-j`, `-g`.
    pub jump: Jump,
}

impl Rule {
    /// Reads a rule.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn parse(text: &str, family: Family) -> Result<Rule, String> {
        let list = lex::split(text)?;
        let mut words = Words::new(&list);
        let mut reader = Reader::new(family);
        while let Some(option) = words.next(&mut reader)? {
            let negated = words.take_negation();
            match option {
                Found::Global(global) if global.is_rule() => reader.global(global, negated, &mut words)?,
                Found::Global(global) => return Err(format!("option --{} is not part of a rule", global.name())),
                Found::Module(place) => reader.module(place, negated, &mut words)?,
            }
        }
        if reader.counters.is_some() {
            return Err("counters are not part of the configuration".to_owned());
        }
        let mut rules = reader.finish()?;
        match rules.len() {
            1 => Ok(rules.remove(0)),
            count => Err(format!("addresses with commas stand for {count} rules; write them one by one")),
        }
    }

    /// The rule in canonical form, without chain. With counters they are in front of the target, as `-vS` prints them.
    pub fn spec(&self, counters: Option<(u64, u64)>) -> String {
        let mut text = String::new();
        let mut part = |negated: bool, option: &str, value: &str| {
            let blank = if text.is_empty() { "" } else { " " };
            let not = if negated { "! " } else { "" };
            let gap = if value.is_empty() { "" } else { " " };
            let _ = write!(text, "{blank}{not}{option}{gap}{value}");
        };
        for (option, host) in [("-s", &self.source), ("-d", &self.destination)] {
            if let Some(host) = host {
                part(host.negated, option, &network_text(host.address, host.mask, self.family, true));
            }
        }
        for (option, interface) in [("-i", &self.in_interface), ("-o", &self.out_interface)] {
            if let Some(interface) = interface {
                part(interface.negated, option, &interface.name);
            }
        }
        if let Some((negated, protocol)) = self.protocol {
            part(negated, "-p", &protocol_text(protocol));
        }
        if let Some(negated) = self.fragment {
            part(negated, "-f", "");
        }
        for clause in &self.matches {
            let mut options = clause.module.name.to_owned();
            clause.save(&mut options);
            part(false, "-m", &options);
        }
        if let Some((packets, bytes)) = counters {
            part(false, "-c", &format!("{packets} {bytes}"));
        }
        match &self.jump {
            Jump::None => {}
            Jump::Target(clause) => {
                let mut options = clause.module.name.to_owned();
                clause.save(&mut options);
                part(false, "-j", &options);
            }
            Jump::Chain { name, goto } => part(false, if *goto { "-g" } else { "-j" }, &lex::quote(name)),
        }
        text
    }

    fn check(&self) -> Result<(), String> {
        let plain = self.protocol.filter(|(negated, _)| !negated).map(|(_, protocol)| protocol);
        let target = match &self.jump {
            Jump::Target(clause) => Some(clause),
            _ => None,
        };
        let needs = |what: &str, module: &Module, protocols: &[u8]| {
            let names: Vec<String> = protocols.iter().map(|protocol| format!("-p {}", protocol_text(*protocol))).collect();
            format!("{what} {:?} needs {}", module.name, names.join(" or "))
        };
        let clauses = self.matches.iter().map(|clause| ("match", clause)).chain(target.map(|clause| ("target", clause)));
        for (what, clause) in clauses {
            let protocols = clause.module.protocols;
            if !protocols.is_empty() && !plain.is_some_and(|protocol| protocols.contains(&protocol)) {
                return Err(needs(what, clause.module, protocols));
            }
        }
        let Some(target) = target else { return Ok(()) };
        let module = target.module;
        if target.number("reject-with") == Some(targets::TCP_RESET) && plain != Some(TCP) {
            return Err("target \"REJECT\": --reject-with tcp-reset needs -p tcp".to_owned());
        }
        let ports = target.args.iter().any(|arg| matches!(arg.value.data, Data::Nat(_, Some(_), _)));
        // The identifier of ICMP queries counts as a port.
        if ports && !plain.is_some_and(|protocol| WITH_PORTS.contains(&protocol) || matches!(protocol, ICMP | ICMPV6)) {
            return Err(format!("{} (it translates ports)", needs("target", module, WITH_PORTS)));
        }
        let is_syn = |clause: &Clause| {
            let flags = clause.get("tcp-flags").filter(|arg| !arg.negated).map(|arg| &arg.value.data);
            matches!(flags, Some(Data::Pair(_, compare)) if compare & 2 != 0)
        };
        if module.name == "TCPMSS" && !self.matches.iter().any(is_syn) {
            return Err("target \"TCPMSS\" needs --syn or --tcp-flags SYN,RST SYN".to_owned());
        }
        Ok(())
    }
}

/// A protocol as it is printed.
pub fn protocol_text(protocol: u8) -> String {
    names::protocol_name(protocol).map_or_else(|| protocol.to_string(), str::to_owned)
}

/// Whether a chain may have this name.
///
/// # Errors
///
/// Why not.
pub fn check_chain_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("the name of the chain is empty".to_owned());
    }
    if name.starts_with(['-', '!']) {
        return Err(format!("chain name not allowed to start with {:?}", &name[..1]));
    }
    if name.len() > CHAIN_MAX {
        return Err(format!("chain name {name:?} too long (must be under {} chars)", CHAIN_MAX + 1));
    }
    if name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '"' || c == '\\') {
        return Err(format!("invalid chain name {name:?}"));
    }
    if targets::is_name(name) {
        return Err(format!("chain name {name:?} may not clash with target name"));
    }
    Ok(())
}

/// Reads the options of a rule, one after the other.
pub struct Reader {
    family: Family,
    sources: Vec<Host>,
    destinations: Vec<Host>,
    rule: Rule,
    /// Modules in the order in which they were named: the last that knows an option gets it. `None`: the target.
    loaded: Vec<Option<usize>>,
    /// `-c`.
    pub counters: Option<(u64, u64)>,
    /// Whether there was any option of a rule.
    pub used: bool,
}

/// A module of the rule that is read, and one of its options.
#[derive(Clone, Copy)]
pub struct Place {
    clause: Option<usize>,
    option: &'static Opt,
    /// The match is not yet loaded: the protocol brings it along.
    implied: Option<&'static Module>,
}

impl Reader {
    /// A reader of one rule.
    pub fn new(family: Family) -> Reader {
        let rule = Rule {
            family,
            source: None,
            destination: None,
            in_interface: None,
            out_interface: None,
            protocol: None,
            fragment: None,
            matches: Vec::new(),
            jump: Jump::None,
        };
        Reader { family, sources: Vec::new(), destinations: Vec::new(), rule, loaded: Vec::new(), counters: None, used: false }
    }

    fn implied(&self) -> Option<&'static Module> {
        let (_, protocol) = self.rule.protocol?;
        let module = matches::of_protocol(protocol, self.family)?;
        let loaded = self.rule.matches.iter().any(|clause| std::ptr::eq(clause.module, module));
        (!loaded).then_some(module)
    }

    fn known(&self) -> impl Iterator<Item = Place> {
        let implied = self
            .implied()
            .into_iter()
            .flat_map(|module| module.options.iter().map(move |option| Place { clause: None, option, implied: Some(module) }));
        let loaded = self.loaded.iter().rev().filter_map(|place| {
            let module = match place {
                Some(index) => self.rule.matches[*index].module,
                None => match &self.rule.jump {
                    Jump::Target(clause) => clause.module,
                    _ => return None,
                },
            };
            Some(module.options.iter().map(move |option| Place { clause: *place, option, implied: None }))
        });
        loaded.flatten().chain(implied)
    }

    /// The option with this long name, which may be cut where that is unambiguous.
    ///
    /// # Errors
    ///
    /// When there is none, or the cut name could be several.
    pub fn resolve(&self, name: &str) -> Result<Found, String> {
        if let Some(global) = globals().find(|global| global.0 == name) {
            return Ok(Found::Global(global.1));
        }
        if let Some(place) = self.known().find(|place| place.option.names.contains(&name)) {
            return Ok(Found::Module(place));
        }
        let global = globals().filter(|global| global.0.starts_with(name)).map(|global| (global.0, Found::Global(global.1)));
        let module = self.known().flat_map(|place| place.option.names.iter().map(move |name| (*name, Found::Module(place))));
        let mut begin: Vec<_> = global.chain(module.filter(|(known, _)| known.starts_with(name))).collect();
        begin.dedup_by_key(|(name, _)| *name);
        match begin.len() {
            1 => Ok(begin.remove(0).1),
            0 => Err(self.unknown(name)),
            _ => {
                let names: Vec<String> = begin.iter().map(|(name, _)| format!("--{name}")).collect();
                Err(format!("option --{name} could be {}", names.join(" or ")))
            }
        }
    }

    fn unknown(&self, name: &str) -> String {
        if let Jump::Chain { name: chain, .. } = &self.rule.jump
            && chain.bytes().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
        {
            return format!("target {chain:?} is not supported (at option --{name})");
        }
        let known = self.known().flat_map(|place| place.option.names.iter().copied()).chain(globals().map(|global| global.0));
        let near = names::did_you_mean(name, known);
        let modules: Vec<&str> = self.rule.matches.iter().map(|clause| clause.module.name).collect();
        let of = if modules.is_empty() { String::new() } else { format!(" of match {}", modules.join(", ")) };
        let hint = if near.is_empty() && self.rule.protocol.is_none() && name.ends_with("port") {
            " (-p tcp or -p udp must be in front)"
        } else {
            &near
        };
        format!("unknown option --{name}{of}{hint}")
    }

    /// Takes an option of the rule itself.
    ///
    /// # Errors
    ///
    /// When its value is wrong, or it is there already.
    pub fn global(&mut self, global: Global, negated: bool, words: &mut Words<'_>) -> Result<(), String> {
        self.used = true;
        let twice = |is: bool, option: &str| if is { Err(format!("multiple {option} flags not allowed")) } else { Ok(()) };
        let no_negation = |option: &str| if negated { Err(format!("`!` is not allowed with {option}")) } else { Ok(()) };
        match global {
            Global::Source => {
                twice(!self.sources.is_empty(), "-s")?;
                self.sources = hosts(words.value("-s")?, negated, self.family)?;
            }
            Global::Destination => {
                twice(!self.destinations.is_empty(), "-d")?;
                self.destinations = hosts(words.value("-d")?, negated, self.family)?;
            }
            Global::InInterface => {
                twice(self.rule.in_interface.is_some(), "-i")?;
                self.rule.in_interface = Some(interface(words.value("-i")?, negated)?);
            }
            Global::OutInterface => {
                twice(self.rule.out_interface.is_some(), "-o")?;
                self.rule.out_interface = Some(interface(words.value("-o")?, negated)?);
            }
            Global::Protocol => {
                twice(self.rule.protocol.is_some(), "-p")?;
                let text = words.value("-p")?;
                let protocol = names::protocol(text).ok_or_else(|| format!("unknown protocol {text:?} specified"))?;
                if protocol == 0 && negated {
                    return Err("rule would never match protocol".to_owned());
                }
                self.rule.protocol = Some((negated, protocol));
            }
            Global::Fragment => {
                if self.family == Family::V6 {
                    return Err("option -f is not one of ip6tables (use -p ipv6-frag)".to_owned());
                }
                self.rule.fragment = Some(negated);
            }
            Global::Match => {
                no_negation("-m")?;
                let module = matches::find(words.value("-m")?, self.family)?;
                self.loaded.push(Some(self.rule.matches.len()));
                self.rule.matches.push(Clause::new(module));
            }
            Global::Jump | Global::Goto => {
                let goto = global == Global::Goto;
                no_negation(if goto { "-g" } else { "-j" })?;
                twice(!matches!(self.rule.jump, Jump::None), "-j or -g")?;
                let name = words.value(if goto { "-g" } else { "-j" })?;
                if targets::is_name(name) && !goto {
                    self.rule.jump = Jump::Target(Clause::new(targets::find(name, self.family)?));
                    self.loaded.push(None);
                } else {
                    check_chain_name(name)?;
                    self.rule.jump = Jump::Chain { name: name.to_owned(), goto };
                }
            }
            Global::Counters => {
                no_negation("-c")?;
                let mut count = || -> Result<u64, String> {
                    let text = words.value("-c")?;
                    text.parse().map_err(|_| format!("-c: {text:?} is not a number of packets or bytes"))
                };
                self.counters = Some((count()?, count()?));
            }
            other => return Err(format!("option --{} is not part of a rule", other.name())),
        }
        Ok(())
    }

    /// Takes an option of a match or target.
    ///
    /// # Errors
    ///
    /// When its value is wrong, or it is there already.
    pub fn module(&mut self, place: Place, negated: bool, words: &mut Words<'_>) -> Result<(), String> {
        self.used = true;
        let option = place.option;
        let name = option.names[0];
        let index = match place.implied {
            Some(module) => {
                self.rule.matches.push(Clause::new(module));
                self.loaded.push(Some(self.rule.matches.len() - 1));
                Some(self.rule.matches.len() - 1)
            }
            None => place.clause,
        };
        let family = self.family;
        let clause = match (index, &mut self.rule.jump) {
            (Some(index), _) => &mut self.rule.matches[index],
            (None, Jump::Target(clause)) => clause,
            (None, _) => return Err(format!("unknown option --{name}")),
        };
        let what = if index.is_some() { "match" } else { "target" };
        let module = clause.module.name;
        let of = |error: String| format!("{what} {module:?}: {error}");
        if negated && !option.negatable {
            return Err(of(format!("`!` is not allowed with --{name}")));
        }
        let mut values = [""; 2];
        for value in &mut values[..option.words] {
            *value = words.value(&format!("--{name}"))?;
        }
        words.done(&format!("--{name}"))?;
        let value = (option.read)(&values[..option.words.max(1)], family).map_err(|error| of(format!("--{name}: {error}")))?;
        clause.push(option, negated, value).map_err(of)
    }

    /// The rules that were described: one for each pair of source and destination.
    ///
    /// # Errors
    ///
    /// When an option is missing, or options do not go together.
    pub fn finish(mut self) -> Result<Vec<Rule>, String> {
        let family = self.family;
        if self.rule.protocol.is_some_and(|(_, protocol)| protocol == 0) {
            self.rule.protocol = None;
        }
        // A pattern that every interface fits is no condition.
        for interface in [&mut self.rule.in_interface, &mut self.rule.out_interface] {
            if interface.as_ref().is_some_and(|interface| interface.name == "+" && !interface.negated) {
                *interface = None;
            }
        }
        for clause in &mut self.rule.matches {
            clause.finish(family).map_err(|error| format!("match {:?}: {error}", clause.module.name))?;
        }
        if let Jump::Target(clause) = &mut self.rule.jump {
            clause.finish(family).map_err(|error| format!("target {:?}: {error}", clause.module.name))?;
        }
        self.rule.check()?;
        // 0.0.0.0/0 is no condition.
        let real = |hosts: Vec<Host>| -> Vec<Option<Host>> {
            let list: Vec<_> = hosts.into_iter().map(|host| Some(host).filter(|host| host.mask != 0 || host.negated)).collect();
            if list.is_empty() { vec![None] } else { list }
        };
        let (sources, destinations) = (real(self.sources), real(self.destinations));
        if sources.len() * destinations.len() > ADDRESSES_MAX {
            return Err(format!("more than {ADDRESSES_MAX} pairs of addresses"));
        }
        let pairs = sources.iter().flat_map(|source| destinations.iter().map(move |destination| (*source, *destination)));
        Ok(pairs.map(|(source, destination)| Rule { source, destination, ..self.rule.clone() }).collect())
    }
}

fn hosts(text: &str, negated: bool, family: Family) -> Result<Vec<Host>, String> {
    let list: Vec<&str> = text.split(',').collect();
    if negated && list.len() > 1 {
        return Err("! not allowed with multiple source or destination IP addresses".to_owned());
    }
    if list.len() > ADDRESSES_MAX {
        return Err(format!("more than {ADDRESSES_MAX} addresses"));
    }
    list.into_iter()
        .map(|text| {
            let (address, mask) = network(text, family)?;
            Ok(Host { negated, address, mask })
        })
        .collect()
}

fn interface(name: &str, negated: bool) -> Result<Interface, String> {
    if name.is_empty() || name.len() > INTERFACE_MAX {
        return Err(format!("interface name {name:?} must have 1 to {INTERFACE_MAX} octets"));
    }
    if name.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '/' | '"' | '\\' | '!')) {
        return Err(format!("invalid interface name {name:?}"));
    }
    Ok(Interface { negated, name: name.to_owned() })
}
