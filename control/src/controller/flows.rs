//! Tracked connections: listed, deleted and told of, each in bounded pieces.

use std::sync::Arc;

use dataplane::PortId;
use dataplane::clock::Nanos;
use dataplane::conntrack::{Conntrack, FlowInfo};
use dataplane::device::Wake;
use dataplane::router::RouterId;
use proto::conntrack as api;

use super::Controller;
use crate::conntrack::{self, Matcher, Names};

/// Entries of the table looked at in one go: well under a millisecond.
const SWEEP_SLOTS: u32 = 4096;
/// Entries of the table looked at in one piece of a list.
const LIST_SLOTS: u32 = 1024;
/// Entries of the table looked at in one go for the mappings that flows use. A million flows take 13 s: mappings ask for 20 s.
const MAPPING_SLOTS: u32 = 16_384;
/// Time between two pieces of the walk that forgets what is over: the whole of a table for a million flows takes a minute.
const SWEEP_EVERY: Nanos = 200_000_000;
const SECOND: Nanos = 1_000_000_000;
/// Events taken in one go.
const EVENTS: usize = 256;

/// Where control is in the table.
#[derive(Default)]
pub(super) struct Walk {
    cursor: u32,
    due: Nanos,
    /// The same for the mappings.
    mapping_cursor: u32,
    mapping_due: Nanos,
    /// Events that were lost before the last look.
    lost: u64,
}

/// A list of flows under way, or their deletion.
#[derive(Clone, Debug)]
pub struct FlowCursor {
    matcher: Matcher,
    quiet: bool,
    delete: bool,
    slot: u32,
}

impl Names for Controller {
    fn router(&self, id: RouterId) -> Option<String> {
        self.compiled.routers.iter().find(|(_, parts)| parts.id == id).map(|(name, _)| name.clone())
    }

    fn port(&self, port: PortId) -> Option<String> {
        self.port_name(port).cloned()
    }
}

impl Controller {
    /// The table of connections that the workers use.
    pub fn connections(&self) -> &Arc<Conntrack> {
        &self.connections
    }

    fn router_id(&self, router: &str) -> Result<RouterId, String> {
        let parts = self.compiled.routers.get(router);
        parts.map(|parts| parts.id).ok_or_else(|| format!("router {router:?} does not exist (see `show routers`)"))
    }

    /// What a filter picks.
    ///
    /// # Errors
    ///
    /// When the filter makes no sense.
    pub fn matcher(&self, filter: &api::FlowFilter) -> Result<Matcher, String> {
        let router = filter.router.as_deref().map(|router| self.router_id(router)).transpose()?;
        Matcher::new(filter, router)
    }

    /// Begins to list flows, or to delete them.
    ///
    /// # Errors
    ///
    /// When the filter makes no sense.
    pub fn flows(&self, request: &api::Flows, delete: bool) -> Result<FlowCursor, String> {
        Ok(FlowCursor { matcher: self.matcher(&request.filter)?, quiet: request.quiet, delete, slot: 0 })
    }

    /// The next piece of a list: adds its flows. `true` while there is more.
    pub fn next_flows(&self, cursor: &mut FlowCursor, now: Nanos, reply: &mut api::FlowsReply) -> bool {
        let table = &self.connections;
        let FlowCursor { matcher, quiet, delete, slot } = cursor;
        let mut take = |info: &FlowInfo| {
            let hit = matcher.matches(info);
            if hit {
                reply.count += 1;
                if !*quiet {
                    reply.flows.push(conntrack::flow(info, self));
                }
            }
            hit
        };
        let next = match delete {
            true => table.delete_where(*slot, LIST_SLOTS, now, take),
            false => table.list(*slot, LIST_SLOTS, now, |info| {
                take(info);
            }),
        };
        *slot = next.unwrap_or(*slot);
        next.is_some()
    }

    /// The flows that are expected, all or those of a router.
    ///
    /// # Errors
    ///
    /// When there is no such router.
    pub fn expectations(&self, request: &api::ListExpectations, now: Nanos) -> Result<Vec<api::ExpectationInfo>, String> {
        let router = request.router.as_deref().map(|router| self.router_id(router)).transpose()?;
        let all = self.connections.expectations(now).into_iter();
        let of_router = all.filter(|info| router.is_none_or(|router| info.expectation.tuple.router() == router));
        Ok(of_router.map(|info| conntrack::expectation(&info, self)).collect())
    }

    /// The table as a whole.
    pub fn conntrack_info(&self) -> api::GetConntrackReply {
        let table = &self.connections;
        let workers = table.stats().iter().enumerate().map(|(worker, stats)| conntrack::stats(worker, stats)).collect();
        api::GetConntrackReply { count: table.count() as u64, max: table.max() as u64, workers }
    }

    /// Turns events of flows on or off: only while someone listens.
    pub fn watch_flows(&mut self, wake: Option<Arc<dyn Wake>>) {
        self.connections.watch(wake);
        self.walk.lost = self.connections.events_lost();
    }

    /// Some of the events that wait, each with the flow for a listener's matcher, and the number that were lost.
    pub fn take_flow_events(&mut self) -> (Vec<(FlowInfo, api::FlowEvent)>, u64) {
        let events = std::iter::from_fn(|| self.connections.next_event()).take(EVENTS);
        let events = events.map(|event| (event.flow, conntrack::event(&event, self))).collect();
        let lost = self.connections.events_lost();
        let new = lost.saturating_sub(self.walk.lost);
        self.walk.lost = lost;
        (events, new)
    }

    /// Pieces of the walks that forget the flows that are over, and the mappings that no flow uses, if they are due; returns when the
    /// next one is.
    pub(super) fn sweep_flows(&mut self, now: Nanos) -> Nanos {
        if now >= self.walk.due {
            self.walk.cursor = self.connections.sweep(self.walk.cursor, SWEEP_SLOTS, now);
            self.walk.due = now + if self.walk.cursor == 0 { SECOND } else { SWEEP_EVERY };
        }
        if now >= self.walk.mapping_due {
            let snapshot = &self.compiled.snapshot;
            let settings = |router| snapshot.router(router).map(|router| (&router.conntrack.timeouts, &router.nat));
            self.walk.mapping_cursor = self.translations.upkeep(&self.connections, self.walk.mapping_cursor, MAPPING_SLOTS, now, settings);
            self.walk.mapping_due = now + if self.walk.mapping_cursor == 0 { SECOND } else { SWEEP_EVERY };
        }
        self.walk.due.min(self.walk.mapping_due)
    }
}
