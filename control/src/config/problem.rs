//! What is wrong with a configuration, and where.

use std::fmt;

/// The part of a configuration a problem is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// The configuration as a whole.
    Whole,
    /// `[daemon]`.
    Daemon,
    /// `[switch.NAME]`.
    Switch(String),
    /// `[port.NAME]`.
    Port(String),
    /// `[port.NAME.bond]`.
    Bond(String),
    /// `[port.NAME.member.IFNAME]`.
    Member(String, String),
    /// The `[[fdb]]` entry with this number, from 0.
    Fdb(usize),
    /// `[router.NAME]`.
    Router(String),
    /// `[router.NAME.interface.NAME]`.
    Interface(String, String),
    /// The `[[router.NAME.route]]` entry with this number, from 0.
    Route(String, usize),
    /// The `[[router.NAME.neighbor]]` entry with this number, from 0.
    Neighbor(String, usize),
    /// The `[[router.NAME.forward]]` entry with this number, from 0.
    Forward(String, usize),
    /// `[router.NAME.conntrack]`.
    Conntrack(String),
    /// `[router.NAME.nat]`.
    Nat(String),
    /// `[router.NAME.ipv4_neigh]`, or `ipv6_neigh`.
    Neigh(String, &'static str),
    /// `[router.NAME.interface.NAME.ipv4_neigh]`, or `ipv6_neigh`.
    InterfaceNeigh(String, String, &'static str),
    /// `[router.NAME.iptables.TABLE.CHAIN]`, or `ip6tables`. Its rules have the keys `rules 1`, `rules 2` and so on.
    Chain(String, &'static str, String, String),
    /// `[router.NAME.ipset.NAME]`. Its entries have the keys `entries 1`, `entries 2` and so on.
    Set(String, String),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Whole => f.write_str("configuration"),
            Subject::Daemon => f.write_str("daemon"),
            Subject::Switch(name) => write!(f, "switch {name:?}"),
            Subject::Port(name) => write!(f, "port {name:?}"),
            Subject::Bond(port) => write!(f, "port {port:?}: bond"),
            Subject::Member(port, member) => write!(f, "port {port:?}: member {member:?}"),
            Subject::Fdb(index) => write!(f, "fdb entry {}", index + 1),
            Subject::Router(name) => write!(f, "router {name:?}"),
            Subject::Interface(router, name) => write!(f, "router {router:?}: interface {name:?}"),
            Subject::Route(router, index) => write!(f, "router {router:?}: route {}", index + 1),
            Subject::Neighbor(router, index) => write!(f, "router {router:?}: neighbor {}", index + 1),
            Subject::Forward(router, index) => write!(f, "router {router:?}: forward {}", index + 1),
            Subject::Conntrack(router) => write!(f, "router {router:?}: conntrack"),
            Subject::Nat(router) => write!(f, "router {router:?}: nat"),
            Subject::Neigh(router, key) => write!(f, "router {router:?}: {key}"),
            Subject::InterfaceNeigh(router, name, key) => write!(f, "router {router:?}: interface {name:?}: {key}"),
            Subject::Chain(router, family, table, chain) => write!(f, "router {router:?}: {family} table {table}, chain {chain}"),
            Subject::Set(router, set) => write!(f, "router {router:?}: ipset {set:?}"),
        }
    }
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What it is about.
    pub subject: Subject,
    /// The key, when it is about one.
    pub key: Option<String>,
    /// What is wrong, without the subject.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Whether the key itself is wrong, and not its value.
    pub on_key: bool,
    /// Other parts that play a role. When one of those could not be read, the problem may be only its consequence.
    pub related: Vec<Subject>,
}

impl Problem {
    /// A problem with a subject as a whole.
    pub fn new(subject: Subject, message: impl Into<String>) -> Problem {
        Problem { subject, key: None, message: message.into(), help: None, on_key: false, related: Vec::new() }
    }

    /// The same, at a key.
    #[must_use]
    pub fn at(mut self, key: impl Into<String>) -> Problem {
        self.key = Some(key.into());
        self
    }

    /// The same, with a remedy.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }

    /// The same, related to another part.
    #[must_use]
    pub fn related(mut self, subject: Subject) -> Problem {
        self.related.push(subject);
        self
    }

    /// Subject and message in one line.
    pub fn headline(&self) -> String {
        match (&self.subject, self.key.as_ref().and_then(|key| key.split_once(' '))) {
            (Subject::Chain(..), Some((_, number))) => format!("{}, rule {number}: {}", self.subject, self.message),
            (Subject::Set(..), Some((_, number))) => format!("{}, entry {number}: {}", self.subject, self.message),
            _ => format!("{}: {}", self.subject, self.message),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        match &self.help {
            Some(help) => write!(f, " ({help})"),
            None => Ok(()),
        }
    }
}

/// Problems one to a line, for places that have no text to point at.
pub fn lines(problems: &[Problem]) -> String {
    problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("\n")
}
