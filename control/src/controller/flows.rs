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
    table: Option<Arc<Conntrack>>,
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
    fn router(&self, zone: u16) -> Option<String> {
        self.router_of_zone(zone)
    }

    fn port(&self, port: PortId) -> Option<String> {
        self.port_name(port).cloned()
    }
}

impl Controller {
    /// The table of connections that the workers use.
    pub fn set_conntrack(&mut self, table: Arc<Conntrack>) {
        self.walk = Walk { lost: table.events_lost(), table: Some(table), ..Walk::default() };
    }

    fn router_of_zone(&self, zone: u16) -> Option<String> {
        self.compiled.routers.iter().find(|(_, parts)| parts.id.0 == zone).map(|(name, _)| name.clone())
    }

    fn zone_of_router(&self, router: &str) -> Result<u16, String> {
        let parts = self.compiled.routers.get(router);
        parts.map(|parts| parts.id.0).ok_or_else(|| format!("no router {router:?}"))
    }

    fn matcher(&self, filter: &api::FlowFilter) -> Result<Matcher, String> {
        let zone = filter.router.as_deref().map(|router| self.zone_of_router(router)).transpose()?;
        Matcher::new(filter, zone)
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
        let Some(table) = &self.walk.table else { return false };
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
        let zone = request.router.as_deref().map(|router| self.zone_of_router(router)).transpose()?;
        let all = self.walk.table.iter().flat_map(|table| table.expectations(now));
        let of_zone = all.filter(|info| zone.is_none_or(|zone| info.expectation.tuple.zone == zone));
        Ok(of_zone.map(|info| conntrack::expectation(&info, self)).collect())
    }

    /// The table as a whole.
    pub fn conntrack_info(&self) -> api::GetConntrackReply {
        let Some(table) = &self.walk.table else { return api::GetConntrackReply::default() };
        let workers = table.stats().iter().enumerate().map(|(worker, stats)| conntrack::stats(worker, stats)).collect();
        api::GetConntrackReply { count: table.count() as u64, max: table.max() as u64, workers }
    }

    /// What a listener to events wants to hear.
    ///
    /// # Errors
    ///
    /// When the filter makes no sense.
    pub fn flow_listener(&self, filter: &api::FlowFilter) -> Result<Matcher, String> {
        self.matcher(filter)
    }

    /// Turns events of flows on or off: only while someone listens.
    pub fn watch_flows(&mut self, wake: Option<Arc<dyn Wake>>) {
        if let Some(table) = &self.walk.table {
            table.watch(wake);
            self.walk.lost = table.events_lost();
        }
    }

    /// Some of the events that wait, each with the flow for a listener's matcher, and the number that were lost.
    pub fn take_flow_events(&mut self) -> (Vec<(FlowInfo, api::FlowEvent)>, u64) {
        let Some(table) = self.walk.table.clone() else { return (Vec::new(), 0) };
        let events = std::iter::from_fn(|| table.next_event()).take(EVENTS);
        let events = events.map(|event| (event.flow, conntrack::event(&event, self))).collect();
        let lost = table.events_lost();
        let new = lost.saturating_sub(self.walk.lost);
        self.walk.lost = lost;
        (events, new)
    }

    /// Pieces of the walks that forget the flows that are over, and the mappings that no flow uses, if they are due; returns when the
    /// next one is.
    pub(super) fn sweep_flows(&mut self, now: Nanos) -> Option<Nanos> {
        let table = self.walk.table.as_ref()?;
        if now >= self.walk.due {
            self.walk.cursor = table.sweep(self.walk.cursor, SWEEP_SLOTS, now);
            self.walk.due = now + if self.walk.cursor == 0 { SECOND } else { SWEEP_EVERY };
        }
        if now >= self.walk.mapping_due {
            let snapshot = &self.compiled.snapshot;
            let settings = |zone| snapshot.router(RouterId(zone)).map(|router| (&router.conntrack.timeouts, &router.nat));
            self.walk.mapping_cursor = self.translations.upkeep(table, self.walk.mapping_cursor, MAPPING_SLOTS, now, settings);
            self.walk.mapping_due = now + if self.walk.mapping_cursor == 0 { SECOND } else { SWEEP_EVERY };
        }
        Some(self.walk.due.min(self.walk.mapping_due))
    }
}
