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

/// A set of addresses, networks or ports: `[router.R.ipset.NAME]`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SetConfig {
    /// What it holds, as ipset names it: `hash:ip`, `hash:net`, `hash:ip,port`, ...
    #[serde(rename = "type")]
    pub kind: String,
    /// The options of `ipset create` behind the type, such as `family inet6 maxelem 1000 timeout 600`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub options: String,
    /// Its entries, as one writes them behind `ipset add SET`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entries: Vec<String>,
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
    /// The names of the tables, in the order of the program's listings.
    pub const NAMES: [&'static str; 5] = ["mangle", "raw", "filter", "security", "nat"];

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
