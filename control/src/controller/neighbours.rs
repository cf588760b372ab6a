//! Neighbours of routers while they run: one [`NeighbourAgent`] for each router, told of frames that workers punted, of neighbours
//! that packets wait for and of time. What it sends enters the switch at the port of the interface; what it knows is published
//! to the workers at the end of the turn.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use dataplane::clock::Nanos;
use dataplane::router::neighbour::{Former, Neighbour, NextHop};
use dataplane::router::{InterfaceId, RouterId};
use dataplane::snapshot::PortId;
use proto::router::RouterConfig;
use wire::MacAddr;

use super::Controller;
use crate::compile::{Compiled, InterfaceParts, RouterParts};
use crate::config::neigh;
use crate::neighbour::{Action, Event, InterfaceSettings, Key, NeighbourAgent, NeighbourStatus, RouterSettings};

/// Punted frames taken in one go.
const PUNTED: usize = 512;

/// The neighbours of one router.
pub(super) struct RunningNeighbours {
    /// The router's number, which tells it from a later one of the same name.
    id: RouterId,
    agent: NeighbourAgent,
    /// Tables that workers may hold still, so that none of them frees one.
    former: Vec<Former>,
}

/// A number by chance.
fn random() -> u64 {
    RandomState::new().hash_one(0)
}

impl Controller {
    /// Brings the agents in line with the configuration in force.
    pub(super) fn join_neighbours(&mut self, now: Nanos) {
        self.neighbours.retain(|name, running| self.compiled.routers.get(name).is_some_and(|parts| parts.id == running.id));
        for (name, parts) in &self.compiled.routers {
            let Some(config) = self.config.router.get(name) else { continue };
            let running = self.neighbours.entry(name.clone()).or_insert_with(|| RunningNeighbours {
                id: parts.id,
                agent: NeighbourAgent::new(random()),
                former: Vec::new(),
            });
            let enabled = parts.interfaces.iter().filter(|(_, interface)| interface.config.enabled);
            let interfaces = enabled.map(|(name, interface)| (interface.id, interface_settings(name, interface, config))).collect();
            let settings = RouterSettings { forwarding: config.forwarding, tables: neigh::tables(config) };
            running.agent.configure(now, settings, interfaces, &permanent(config, parts));
        }
        self.publish_neighbours(now);
    }

    /// A packet waits for a neighbour.
    pub(super) fn neighbour_needed(&mut self, hop: NextHop, now: Nanos) {
        let Some(name) = self.router_name(hop.router) else { return };
        let key = Key { interface: hop.interface, family: hop.family, address: hop.address };
        self.neighbour_event(&name, Event::Needed(key), now);
    }

    /// Takes frames that routers punted; `true` when there may be more.
    pub(super) fn take_punted_by_routers(&mut self, now: Nanos) -> bool {
        for _ in 0..PUNTED {
            let Some(frame) = self.workers.next_punted_by_router() else { return false };
            let of = self.compiled.snapshot.port(frame.port).and_then(|port| port.interface);
            let Some((of, name)) = of.and_then(|of| Some((of, self.router_name(of.router)?))) else { continue };
            self.neighbour_event(&name, Event::Frame { interface: of.interface, octets: &frame.octets }, now);
        }
        true
    }

    /// Tells agents which neighbours workers sent something to.
    pub(super) fn poll_neighbours(&mut self, now: Nanos) {
        let names: Vec<String> = self.neighbours.keys().cloned().collect();
        for name in names {
            let mut used = Vec::new();
            if let Some(parts) = self.compiled.routers.get(&name) {
                parts.state.neighbours.take_used(|neighbour| used.push(key(neighbour)));
            }
            used.into_iter().for_each(|key| self.neighbour_event(&name, Event::Used(key), now));
        }
    }

    /// Lets agents whose time has come act.
    pub(super) fn neighbour_deadlines(&mut self, now: Nanos) {
        let due = |running: &RunningNeighbours| running.agent.next_deadline().is_some_and(|at| at <= now);
        let names: Vec<String> = self.neighbours.iter().filter(|(_, running)| due(running)).map(|(name, _)| name.clone()).collect();
        names.iter().for_each(|name| self.neighbour_event(name, Event::Deadline, now));
    }

    /// When the next agent wants to act.
    pub(super) fn next_neighbour_deadline(&self) -> Option<Nanos> {
        self.neighbours.values().filter_map(|running| running.agent.next_deadline()).min()
    }

    /// Gives workers the tables that changed, and wakes them: packets may wait for what is in them.
    pub(super) fn publish_neighbours(&mut self, now: Nanos) {
        let mut published = false;
        let mut used = Vec::new();
        for (name, running) in &mut self.neighbours {
            running.former.retain(Former::is_held);
            let Some(parts) = self.compiled.routers.get(name) else { continue };
            let Some(entries) = running.agent.publication() else { continue };
            let former = parts.state.neighbours.publish(&entries, random());
            former.take_used(|neighbour| used.push((name.clone(), key(neighbour))));
            running.former.push(former);
            published = true;
        }
        if published {
            self.workers.wake();
        }
        used.into_iter().for_each(|(name, key)| self.neighbour_event(&name, Event::Used(key), now));
    }

    /// The neighbours of a router, with the names of their interfaces.
    pub fn neighbours_of<'c>(&'c self, router: &str) -> impl Iterator<Item = (&'c str, NeighbourStatus)> {
        let parts = self.compiled.routers.get(router);
        let statuses = self.neighbours.get(router).map(|running| running.agent.neighbours());
        statuses.into_iter().flatten().filter_map(move |status| {
            let (name, _) = parts?.interfaces.iter().find(|(_, interface)| interface.id == status.key.interface)?;
            Some((name.as_str(), status))
        })
    }

    fn router_name(&self, id: RouterId) -> Option<String> {
        self.compiled.routers.iter().find(|(_, parts)| parts.id == id).map(|(name, _)| name.clone())
    }

    fn neighbour_event(&mut self, name: &str, event: Event<'_>, now: Nanos) {
        let (Some(running), Some(parts)) = (self.neighbours.get_mut(name), self.compiled.routers.get(name)) else { return };
        let Some(router) = self.compiled.snapshot.router(parts.id) else { return };
        let routes = |family, address, interface| router.fib(family).lookup_on(address, interface).map(|route| route.kind);
        let mut actions = Vec::new();
        running.agent.handle(now, event, &routes, &mut actions);
        for action in actions {
            match action {
                Action::Send { interface, octets } => {
                    let Some(port) = interface_port_of(&self.compiled, name, interface) else { continue };
                    if let Err(error) = self.workers.inject(port, octets) {
                        // A flood of requests is answered as far as the workers keep up; those who ask, ask again.
                        tracing::debug!("router {name:?}: an answer was not sent: {error}");
                    }
                }
                Action::Warn(text) => tracing::warn!("router {name:?}: {text}"),
            }
        }
    }
}

fn key(neighbour: &Neighbour) -> Key {
    Key { interface: neighbour.interface, family: neighbour.family, address: neighbour.address }
}

fn interface_port_of(compiled: &Compiled, router: &str, interface: InterfaceId) -> Option<PortId> {
    compiled.routers.get(router)?.interfaces.values().find(|parts| parts.id == interface).map(|parts| parts.port)
}

fn interface_settings(name: &str, parts: &InterfaceParts, router: &RouterConfig) -> InterfaceSettings {
    InterfaceSettings {
        name: name.to_owned(),
        mac: parts.mac,
        addresses: parts.addresses.iter().map(crate::compile::interface_address).collect(),
        proxy_arp: parts.config.proxy_arp,
        proxy_arp_pvlan: parts.config.proxy_arp_pvlan,
        proxy_ndp: parts.config.proxy_ndp.iter().map(|address| (*address).into()).collect(),
        neigh: neigh::settings(router, &parts.config),
    }
}

/// The neighbours with a fixed MAC address.
fn permanent(config: &RouterConfig, parts: &RouterParts) -> Vec<(Key, MacAddr)> {
    let fixed = config.neighbor.iter().filter_map(|neighbor| {
        let interface = parts.interfaces.get(&neighbor.dev)?.id;
        let key = Key { interface, family: neighbor.address.into(), address: neighbor.address.into() };
        Some((key, neighbor.lladdr))
    });
    fixed.collect()
}

/// The agents of all routers, by name.
pub(super) type Agents = BTreeMap<String, RunningNeighbours>;
