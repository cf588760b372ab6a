//! Rules and sets in the language of iptables and ipset.
//!
//! The configuration has rules as texts. [`rule`] reads and prints them, with the tables of [`mod@matches`] and [`targets`];
//! [`compile`] turns them into what workers evaluate. [`command`] is `vswitchctl iptables`, [`restore`] has
//! `iptables-save` and `iptables-restore`, [`ipset`] is `ipset`: each takes a configuration and returns an edited one,
//! which the transaction checks and carries out.
//!
//! All of it is pure. What runs (counters, sets) is reached through [`compile::RouterRules`] only.

pub mod command;
pub mod compile;
pub mod fault;
pub mod ipset;
pub mod lex;
pub mod list;
mod lower;
pub mod matches;
pub mod memo;
pub mod names;
pub mod option;
pub mod restore;
pub mod rule;
pub mod sets;
pub mod targets;
pub mod value;
pub mod words;
