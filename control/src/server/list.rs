//! Lists that are too long for one piece: address tables and tracked connections.

use dataplane::clock::Nanos;
use proto::api::{FdbInfo, ListFdbReply};
use proto::conntrack::FlowsReply;
use serde_json::Value;

use crate::controller::Controller;
use crate::controller::flows::FlowCursor;
use crate::controller::report::FdbCursor;

/// Entries of one piece of an address table.
const FDB_PIECE: usize = 512;
/// Entries that are answered without `more`.
const WHOLE_MAX: usize = 10_000;

/// A list under way.
pub enum List {
    /// Entries of address tables.
    Fdb(FdbCursor),
    /// Tracked connections.
    Flows(FlowCursor),
}

/// What was found so far and not sent yet.
pub enum Found {
    /// Entries of address tables.
    Fdb(Vec<FdbInfo>),
    /// Tracked connections.
    Flows(FlowsReply),
}

impl List {
    /// A place for what will be found.
    pub fn found(&self) -> Found {
        match self {
            List::Fdb(_) => Found::Fdb(Vec::new()),
            List::Flows(_) => Found::Flows(FlowsReply::default()),
        }
    }

    /// Adds the next piece to `found`; `true` while there is more.
    pub fn next(&mut self, controller: &Controller, now: Nanos, found: &mut Found) -> bool {
        match (self, found) {
            (List::Fdb(cursor), Found::Fdb(entries)) => controller.next_fdb(cursor, FDB_PIECE, now, entries),
            (List::Flows(cursor), Found::Flows(reply)) => controller.next_flows(cursor, now, reply),
            _ => false,
        }
    }
}

impl Found {
    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        match self {
            Found::Fdb(entries) => entries.is_empty(),
            Found::Flows(reply) => reply.count == 0,
        }
    }

    /// Why it cannot be sent as a whole, if so.
    pub fn too_long(&self) -> Option<String> {
        let (len, method, narrower) = match self {
            Found::Fdb(entries) => (entries.len(), "ListFdb", "name a port or VLAN"),
            Found::Flows(FlowsReply { flows, .. }) => (flows.len(), "ListFlows", "give a filter"),
        };
        (len > WHOLE_MAX).then(|| format!("more than {WHOLE_MAX} entries: call {method} with `more`, or {narrower}"))
    }

    /// The parameters of a reply.
    pub fn parameters(self) -> Value {
        let value = match self {
            Found::Fdb(entries) => serde_json::to_value(ListFdbReply { entries }),
            Found::Flows(reply) => serde_json::to_value(reply),
        };
        // As with every answer, no type of it fails to become JSON.
        value.unwrap_or(Value::Null)
    }
}
