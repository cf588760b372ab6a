//! What happens with time: worker events, bonds, retries, forgetting old addresses.

use dataplane::clock::{self, Nanos};
use dataplane::fdb::Learned;
use dataplane::worker::WorkerEvent;
use proto::api::Event;

use super::Controller;
use crate::rule_log;

/// Slots of an address table looked at in one go: well under a millisecond.
const SWEEP_SLOTS: usize = 16_384;
/// Worker events taken in one go.
const WORKER_EVENTS: usize = 1024;
/// Packets that rules log taken in one go.
const LOGGED: usize = 64;
const SECOND: Nanos = 1_000_000_000;

/// Where the walk over the address tables stands: switches still to visit, the last one first, from a slot on.
#[derive(Default)]
pub(super) struct Sweep {
    switches: Vec<String>,
    cursor: usize,
}

impl Controller {
    /// Does what is due; returns when to call again at the latest. Bounded work: `now` itself means at once.
    pub fn upkeep(&mut self, now: Nanos) -> Nanos {
        if self.fatal.is_none() && self.workers.any_lost() {
            self.fatal = Some("a worker thread ended; the daemon must be restarted".to_owned());
        }
        let mut more = false;
        for taken in 0..WORKER_EVENTS {
            let Some(event) = self.workers.next_event() else { break };
            more = taken + 1 == WORKER_EVENTS;
            self.worker_event(event, now);
        }
        more |= self.take_punted(now);
        more |= self.take_logged();
        self.bond_deadlines(now);
        more |= self.take_punted_by_routers(now);
        self.neighbour_deadlines(now);
        let lost = self.workers.lost_events();
        self.events_lost += lost.saturating_sub(self.worker_events_lost);
        self.worker_events_lost = lost;
        if now >= self.next_second {
            self.next_second = now + SECOND;
            self.poll_devices(now);
            self.poll_hosts(now);
            self.poll_neighbours(now);
            self.watch_descriptors(now);
            if self.sweep.switches.is_empty() {
                self.sweep = Sweep { switches: self.compiled.switches.keys().cloned().collect(), cursor: 0 };
            }
        }
        self.publish_neighbours(now);
        self.retry_lost(now);
        more |= self.sweep_slice(now);
        let next_flows = self.sweep_flows(now);
        if more {
            return now;
        }
        [self.next_retry(), self.next_bond_deadline(), self.next_neighbour_deadline(), Some(next_flows)]
            .into_iter()
            .flatten()
            .fold(self.next_second, Nanos::min)
    }

    /// One slice of the walk; `true` while it goes on.
    fn sweep_slice(&mut self, now: Nanos) -> bool {
        let Some(name) = self.sweep.switches.last() else { return false };
        let parts = self.compiled.switches.get(name);
        let snapshot = &self.compiled.snapshot;
        let next = parts.and_then(|parts| {
            let ageing = snapshot.switch(parts.id)?.ageing;
            parts.fdb.sweep(self.sweep.cursor, SWEEP_SLOTS, clock::tick(now), ageing)
        });
        match next {
            Some(cursor) => self.sweep.cursor = cursor,
            None => {
                self.sweep.switches.pop();
                self.sweep.cursor = 0;
            }
        }
        !self.sweep.switches.is_empty()
    }

    /// Writes down packets that rules log; `true` when there may be more.
    fn take_logged(&mut self) -> bool {
        for _ in 0..LOGGED {
            let Some(record) = self.workers.next_logged() else { return false };
            let Some((router, parts)) = self.compiled.routers.iter().find(|(_, parts)| parts.id == record.router) else { continue };
            let name = |id| parts.interfaces.iter().find(|(_, parts)| Some(parts.id) == id).map_or("", |(name, _)| name);
            let line = rule_log::line(&record, name(record.in_interface), name(record.out_interface));
            if record.suppressed > 0 {
                tracing::warn!(target: "rules", router, "{} packets were not logged: there were too many", record.suppressed);
            }
            match record.level {
                0..=3 => tracing::error!(target: "rules", router, "{line}"),
                4 => tracing::warn!(target: "rules", router, "{line}"),
                5 | 6 => tracing::info!(target: "rules", router, "{line}"),
                _ => tracing::debug!(target: "rules", router, "{line}"),
            }
        }
        true
    }

    fn worker_event(&mut self, event: WorkerEvent, now: Nanos) {
        match event {
            WorkerEvent::DeviceGone(port) => self.device_gone(port, now),
            WorkerEvent::NeighbourNeeded(hop) => self.neighbour_needed(hop, now),
            WorkerEvent::Fdb { switch, vlan, mac, port, what } => {
                let switch = self.switch_names.get(switch.index()).and_then(Option::as_ref);
                // What is behind a port without switch is no address table of anybody's.
                let switch = switch.filter(|switch| self.config.switch.contains_key(*switch));
                let (Some(switch), Some(port)) = (switch.cloned(), self.port_name(port).cloned()) else { return };
                let vlan = vlan.get();
                match what {
                    Learned::New => self.event(Event::FdbLearned { switch, vlan, mac, port }),
                    Learned::Moved(_) => self.event(Event::FdbMoved { switch, vlan, mac, port }),
                    Learned::Known | Learned::Conflict | Learned::NotLearned => {}
                }
            }
        }
    }
}
