//! Rules in tables and chains, as netfilter has them (`net/ipv4/netfilter/ip_tables.c`), compiled.

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
