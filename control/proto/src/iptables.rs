//! Rules in the language of iptables: as configuration, and as the requests of `vswitchctl iptables`, `iptables-save`,
//! `iptables-restore` and `ipset`.
//!
//! The rules are texts here. Their language is the `control` package's alone, so that a client needs to know nothing of it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::is_default;

/// The tables of one family of one router: `[router.R.iptables]` or `[router.R.ip6tables]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tables {
    /// Before connection tracking.
    #[serde(skip_serializing_if = "is_default")]
    pub raw: TableConfig,
    /// Edits packets.
    #[serde(skip_serializing_if = "is_default")]
    pub mangle: TableConfig,
    /// Translates addresses.
    #[serde(skip_serializing_if = "is_default")]
    pub nat: TableConfig,
    /// Filters.
    #[serde(skip_serializing_if = "is_default")]
    pub filter: TableConfig,
    /// Filters behind `filter`.
    #[serde(skip_serializing_if = "is_default")]
    pub security: TableConfig,
}

/// The chains of a table by name. Base chains without rules and with policy ACCEPT may be left out.
pub type TableConfig = BTreeMap<String, ChainConfig>;

/// A chain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ChainConfig {
    /// Base chains: what becomes of packets at its end, `ACCEPT` (when absent) or `DROP`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The rules in their order, as one writes them behind `iptables -A CHAIN`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
}

/// A set of addresses, networks or ports: `[router.R.ipset.NAME]`. Keys are the options of `ipset create`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetConfig {
    /// What it holds, as ipset names it: `hash:ip`, `hash:net`, `hash:ip,port`, `hash:net,port`, `hash:mac`, `bitmap:port`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Family of its addresses.
    #[serde(default, skip_serializing_if = "is_default")]
    pub family: SetFamily,
    /// Elements at most.
    #[serde(default = "maxelem", skip_serializing_if = "is_maxelem")]
    pub maxelem: u32,
    /// Seconds after which an element is forgotten, unless it says otherwise; 0: never. When absent, no element can be forgotten.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u32>,
    /// `bitmap:port`: the ports it can hold, such as "1-1023".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<String>,
    /// Its elements, as one writes them behind `ipset add SET`. Those with a timeout are not part of the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<String>,
}

fn maxelem() -> u32 {
    65_536
}

fn is_maxelem(value: &u32) -> bool {
    *value == maxelem()
}

impl SetConfig {
    /// An empty set of this type with every default.
    pub fn new(kind: impl Into<String>) -> SetConfig {
        SetConfig { kind: kind.into(), family: SetFamily::Inet, maxelem: maxelem(), timeout: None, range: None, entries: Vec::new() }
    }
}

/// Family of the addresses in a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SetFamily {
    /// IPv4.
    #[default]
    Inet,
    /// IPv6.
    Inet6,
}

/// The family of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IptablesFamily {
    /// `iptables`.
    #[default]
    Ipv4,
    /// `ip6tables`.
    Ipv6,
}

/// Runs `iptables` or `ip6tables` on the rules of a router.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Iptables {
    /// Router.
    pub router: String,
    /// Family.
    #[serde(default)]
    pub family: IptablesFamily,
    /// The arguments, as behind the name of the program.
    pub args: Vec<String>,
    /// Answers `-L` and `-S` in JSON.
    #[serde(default)]
    pub json: bool,
}

/// Runs `iptables-restore` or `ip6tables-restore`. Answers [`IptablesReply`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IptablesRestore {
    /// Router.
    pub router: String,
    /// Family.
    #[serde(default)]
    pub family: IptablesFamily,
    /// The arguments, as behind the name of the program.
    #[serde(default)]
    pub args: Vec<String>,
    /// What the program reads: a file of `iptables-save`.
    pub input: String,
}

/// Runs `iptables-save` or `ip6tables-save`. Answers [`IptablesReply`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IptablesSave {
    /// Router.
    pub router: String,
    /// Family.
    #[serde(default)]
    pub family: IptablesFamily,
    /// The arguments, as behind the name of the program.
    #[serde(default)]
    pub args: Vec<String>,
}

/// Runs `ipset` on the sets of a router. Answers [`IptablesReply`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ipset {
    /// Router.
    pub router: String,
    /// The arguments, as behind the name of the program.
    pub args: Vec<String>,
    /// `restore`: what the program reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<String>,
    /// Answers `list` in JSON.
    #[serde(default)]
    pub json: bool,
}

/// What a program of the family of iptables said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct IptablesReply {
    /// What it prints.
    #[serde(default)]
    pub text: String,
    /// The same for programs, where JSON was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<serde_json::Value>,
    /// Number of transactions of the daemon after it, when it changed something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

impl Tables {
    /// The names of the tables, in the order in which packets meet them.
    pub const NAMES: [&'static str; 5] = ["raw", "mangle", "nat", "filter", "security"];

    /// A table by name.
    pub fn get(&self, name: &str) -> Option<&TableConfig> {
        match name {
            "raw" => Some(&self.raw),
            "mangle" => Some(&self.mangle),
            "nat" => Some(&self.nat),
            "filter" => Some(&self.filter),
            "security" => Some(&self.security),
            _ => None,
        }
    }

    /// A table by name, to be changed.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut TableConfig> {
        match name {
            "raw" => Some(&mut self.raw),
            "mangle" => Some(&mut self.mangle),
            "nat" => Some(&mut self.nat),
            "filter" => Some(&mut self.filter),
            "security" => Some(&mut self.security),
            _ => None,
        }
    }
}
