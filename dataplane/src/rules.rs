//! Rules in tables and chains, as netfilter has them (`net/ipv4/netfilter/ip_tables.c`), compiled.
//!
//! Control builds a [`RuleSet`] per router and family and puts it into the snapshot, behind an `Arc`: it never changes. What
//! changes without a new configuration hangs off it: a [`RuleState`] per rule (counters, buckets) that goes over into the
//! next rule set, and [`IpSet`]s. A worker evaluates a packet with a [`RuleCache`] of its own, without a lock.

use crate::clock::Nanos;
use crate::conntrack::{Conntrack, Template, Tracking};
use crate::events::EventQueue;
use crate::frame::Frame;
use crate::nat::{Manip, NatRange};
use crate::router::packet::Packet;
use crate::router::{Address, Family, InterfaceId, RouterId};

mod build;
mod cache;
mod check;
mod evaluate;
mod holds;
mod index;
mod log;
mod matches;
mod perform;
mod set;
mod state;
mod target;
#[cfg(test)]
mod tests;
mod trace;

pub use build::{BuildError, Chain, ChainId, ChainKind, Policy, Rule, RuleSet};
pub use cache::RuleCache;
pub use check::{HookSet, check};
pub use log::{LogQueue, LogRecord};
pub use matches::{
    AddressTypes, CtStates, End, IcmpType, InterfaceSet, Match, Network, PacketType, PortRange, Ports, Statistic, Test, Ttl,
};
pub use set::{Element, IpSet, SetError, SetKind, SetOptions};
pub use state::RuleState;
pub use target::{ConnMark, Log, RejectWith, SynProxy, Target, TcpMss, TtlEdit};
pub(crate) use trace::Counted;
pub use trace::Trace;

/// The tables, in the order in which a hook asks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Before connection tracking.
    Raw,
    /// Edits packets.
    Mangle,
    /// Translates addresses; asked for the first packet of a flow only.
    Nat,
    /// Filters.
    Filter,
    /// Filters behind `filter` (mandatory access control).
    Security,
}

/// Where on its way a packet is (`enum nf_inet_hooks`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    /// Arrived, not yet routed.
    Prerouting,
    /// For the router itself.
    Input,
    /// Passing through.
    Forward,
    /// From the router itself.
    Output,
    /// Leaving, routed.
    Postrouting,
}

impl Table {
    /// Every table.
    pub const ALL: [Table; 5] = [Table::Raw, Table::Mangle, Table::Nat, Table::Filter, Table::Security];

    /// The name after `-t`.
    pub const fn name(self) -> &'static str {
        match self {
            Table::Raw => "raw",
            Table::Mangle => "mangle",
            Table::Nat => "nat",
            Table::Filter => "filter",
            Table::Security => "security",
        }
    }

    /// Hooks at which the table has a base chain.
    pub const fn hooks(self) -> &'static [Hook] {
        match self {
            Table::Raw => &[Hook::Prerouting, Hook::Output],
            Table::Mangle => &Hook::ALL,
            Table::Nat => &[Hook::Prerouting, Hook::Input, Hook::Output, Hook::Postrouting],
            Table::Filter | Table::Security => &[Hook::Input, Hook::Forward, Hook::Output],
        }
    }
}

impl Hook {
    /// Every hook.
    pub const ALL: [Hook; 5] = [Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting];

    /// The name of the base chains at the hook.
    pub const fn name(self) -> &'static str {
        match self {
            Hook::Prerouting => "PREROUTING",
            Hook::Input => "INPUT",
            Hook::Forward => "FORWARD",
            Hook::Output => "OUTPUT",
            Hook::Postrouting => "POSTROUTING",
        }
    }
}

/// What the rules of a table say of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on to the next table.
    Accept,
    /// Drop it.
    Drop,
    /// Drop it and tell the sender.
    Reject(RejectWith),
    /// Translate the flow, of which this is the first packet, and go on.
    Nat {
        /// The end that is translated.
        manip: Manip,
        /// To what.
        range: NatRange,
        /// Translate the source as well, if the flow leaves by the interface it came in by.
        hairpin: bool,
    },
    /// Answer the SYN in place of its destination.
    SynProxy(SynProxy),
}

/// What rules ask of the router they belong to.
pub trait RouterView {
    /// Number of the router, for the log.
    fn id(&self) -> RouterId;

    /// The kinds of an address, of which it may have several (`inet_addr_type`, `ipv6_chk_addr`). With `interface`, seen from
    /// there: it is local only as an address of that interface (`inet_dev_addr_type`).
    fn address_types(&self, family: Family, address: Address, interface: Option<InterfaceId>) -> AddressTypes;

    /// The address that packets leaving by `interface` to `destination` have as source (`inet_select_addr`).
    fn source_address(&self, family: Family, interface: InterfaceId, destination: Address) -> Option<Address>;

    /// Octets of a packet to an address at most, by the interface its route leaves by; `None` without route.
    fn mtu_towards(&self, family: Family, address: Address) -> Option<u32>;

    /// Whether the route to the source of the packet leaves by the interface it came in by; with `loose`, whether there is
    /// one at all (`xt_rpfilter`). With `accept_local` the source may be an address of the router itself.
    fn reverse_path(&self, packet: &Packet, in_interface: Option<InterfaceId>, loose: bool, accept_local: bool) -> bool;
}

/// A packet at a hook, with everything rules look at and edit.
pub struct Evaluation<'e, 'f> {
    /// The frame; its head begins with the Ethernet header.
    pub frame: &'e mut Frame<'f>,
    /// Its packet; kept in step with the frame.
    pub packet: &'e mut Packet,
    /// Where it came in; `None` for the router's own.
    pub in_interface: Option<InterfaceId>,
    /// Where it leaves, as far as that is decided.
    pub out_interface: Option<InterfaceId>,
    /// The mark of the packet (`skb->mark`).
    pub mark: &'e mut u32,
    /// Its flow; `None` before connection tracking.
    pub tracking: Option<&'e mut Tracking>,
    /// The table of flows.
    pub conntrack: &'e Conntrack,
    /// What `CT` tells connection tracking; blank at first.
    pub template: &'e mut Template,
    /// The router.
    pub router: &'e dyn RouterView,
    /// Octets of a packet on its way out at most: `--clamp-mss-to-pmtu`.
    pub path_mtu: u32,
    /// The moment.
    pub now: Nanos,
    /// Number of the worker, for the counters.
    pub worker: usize,
    /// The worker's own cache.
    pub cache: &'e mut RuleCache,
    /// Where log records go.
    pub events: &'e EventQueue,
    /// What is noted of the rules it meets.
    pub trace: &'e mut Trace,
}
