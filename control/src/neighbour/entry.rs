//! One neighbour and its state.

use std::fmt;

use dataplane::clock::Nanos;
use wire::MacAddr;

/// State of a neighbour (`include/uapi/linux/neighbour.h`, RFC 4861 section 7.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Nud {
    /// It was asked, and has not answered yet.
    Incomplete,
    /// It answered a short time ago.
    Reachable,
    /// Its address is known, but nobody knows whether it is still there.
    Stale,
    /// A packet was sent there since it is stale; it is about to be probed.
    Delay,
    /// It is being probed.
    Probe,
    /// It did not answer.
    Failed,
    /// Its address was configured.
    Permanent,
}

impl fmt::Display for Nud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Nud::Incomplete => "INCOMPLETE",
            Nud::Reachable => "REACHABLE",
            Nud::Stale => "STALE",
            Nud::Delay => "DELAY",
            Nud::Probe => "PROBE",
            Nud::Failed => "FAILED",
            Nud::Permanent => "PERMANENT",
        })
    }
}

impl Nud {
    /// Whether packets are sent to the address (`NUD_VALID`).
    pub fn is_valid(self) -> bool {
        !matches!(self, Nud::Incomplete | Nud::Failed)
    }

    /// Whether it is known to be there (`NUD_CONNECTED`).
    pub(super) fn is_connected(self) -> bool {
        matches!(self, Nud::Reachable | Nud::Permanent)
    }

    /// Whether somebody waits for it or sends to it: no newcomer may push it out.
    pub(super) fn is_in_use(self) -> bool {
        matches!(self, Nud::Reachable | Nud::Delay | Nud::Probe | Nud::Permanent)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) state: Nud,
    /// There whenever the state is valid.
    pub(super) mac: Option<MacAddr>,
    /// When state or address changed last.
    pub(super) updated: Nanos,
    /// When it proved to be there.
    pub(super) confirmed: Nanos,
    /// When a packet was sent there.
    pub(super) used: Nanos,
    /// Probes sent in this state.
    pub(super) probes: u32,
    /// When the state ends.
    pub(super) deadline: Option<Nanos>,
    /// It said that it is a router (IPv6).
    pub(super) is_router: bool,
}

impl Entry {
    pub(super) fn new(now: Nanos, state: Nud, mac: Option<MacAddr>) -> Entry {
        Entry { state, mac, updated: now, confirmed: now, used: now, probes: 0, deadline: None, is_router: false }
    }
}
