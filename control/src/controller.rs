//! The running switch as control knows it, and everything that happens to it.
//!
//! [`Controller`] lives on the control thread and is driven by [`crate::server`]: requests, events of devices and workers,
//! and time, which is always an argument. It owns the configuration, the compiled switch and the state of each link.
//! [`Controller::transact`] (in [`transaction`]) is the only way the configuration changes. [`links`] follows devices that
//! come and go, `bonds` runs bonds, `descriptors` counts those of the process, `routers` ends flows whose router or address is gone, [`flows`] looks at the others, [`report`], [`bond_report`] and [`router_report`] answer
//! questions, [`upkeep`] is what happens with time.

pub mod addresses;
pub mod bond_report;
mod bonds;
mod descriptors;
pub mod flows;
pub mod iptables;
pub mod links;
pub mod neighbours;
pub mod report;
pub mod router_report;
mod routers;
pub mod transaction;
pub mod upkeep;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use dataplane::clock::Nanos;
use dataplane::conntrack::Conntrack;
use dataplane::memory::MemoryDevice;
use dataplane::nat::NatState;
use dataplane::snapshot::{PortId, Snapshot};
use dataplane::worker::Polling;
use proto::api::{Event, Link};
use proto::config::{Config, PollMode, PortConfig};
use wire::{MacAddr, VlanId};

use crate::compile::Compiled;
use crate::config;
use crate::device::{Devices, Netdev, VhostUserLink, VhostUserState};
use crate::store::Store;
use crate::workers::{PortQueues, Publication, Workers};

/// Events that wait to be taken at most; more are counted as lost.
const EVENTS_MAX: usize = 4096;

/// The running switch.
pub struct Controller {
    devices: Box<dyn Devices>,
    store: Box<dyn Store>,
    workers: Box<dyn Workers>,
    config: Config,
    compiled: Compiled,
    connections: Arc<Conntrack>,
    translations: Arc<NatState>,
    port_names: Vec<Option<String>>,
    switch_names: Vec<Option<String>>,
    links: BTreeMap<String, PortLink>,
    bonds: BTreeMap<String, bonds::RunningBond>,
    neighbours: neighbours::Agents,
    generation: u64,
    started: Nanos,
    events: VecDeque<Event>,
    events_lost: u64,
    /// Problems that are not about a link, by what they are about.
    notes: BTreeMap<&'static str, String>,
    fatal: Option<String>,
    sweep: upkeep::Sweep,
    walk: flows::Walk,
    next_second: Nanos,
    next_descriptors: Nanos,
    /// Counts of worker events lost that were reported already.
    worker_events_lost: u64,
}

/// What stands behind a port now.
struct PortLink {
    device: DeviceState,
    /// The link state that was last reported.
    shown: Link,
    /// Addresses of the switch itself that were entered for this port.
    local: Vec<(MacAddr, VlanId)>,
}

enum DeviceState {
    /// A patch port or a bond has no device of its own.
    None,
    /// It is open and its queues are attached.
    Open { netdev: Option<Netdev>, sim: Option<MemoryDevice>, vhost_user: Option<Box<dyn VhostUserLink>> },
    /// It cannot be opened, or is gone.
    Lost { problem: String, retry_at: Nanos },
}

impl DeviceState {
    /// How the link of an open `vhost-user` port is.
    fn vhost_user(&self) -> Option<VhostUserState> {
        match self {
            DeviceState::Open { vhost_user: Some(link), .. } => Some(link.state()),
            _ => None,
        }
    }

    /// Why there is no carrier, where that is known.
    fn problem(&self) -> Option<String> {
        match self {
            DeviceState::Lost { problem, .. } => Some(problem.clone()),
            _ => self.vhost_user().filter(|state| !state.carrier).and_then(|state| state.problem),
        }
    }
}

impl Controller {
    /// Starts a switch with a configuration, commonly that of [`starting_config`]. It is not stored: as long as nothing is
    /// changed by request, an edited file counts at the next start.
    ///
    /// Devices that cannot be opened leave their port with the link lost, and are tried again.
    ///
    /// # Errors
    ///
    /// When the configuration is not valid, or a worker ended.
    pub fn start(
        devices: Box<dyn Devices>,
        store: Box<dyn Store>,
        workers: Box<dyn Workers>,
        config: Config,
        now: Nanos,
    ) -> Result<Controller, String> {
        let flows_max = config.daemon.conntrack_max as usize;
        let connections = Arc::new(Conntrack::new(flows_max, workers.count()));
        let mut controller = Controller {
            devices,
            store,
            workers,
            config: Config::default(),
            compiled: Compiled::default(),
            connections,
            // Twice: while flows are dropped early, mappings that no flow uses any more must be quick to find.
            translations: Arc::new(NatState::new(2 * flows_max)),
            port_names: Vec::new(),
            switch_names: Vec::new(),
            links: BTreeMap::new(),
            bonds: BTreeMap::new(),
            neighbours: BTreeMap::new(),
            generation: 0,
            started: now,
            events: VecDeque::new(),
            events_lost: 0,
            notes: BTreeMap::new(),
            fatal: None,
            sweep: upkeep::Sweep::default(),
            walk: flows::Walk::default(),
            next_second: now,
            next_descriptors: now,
            worker_events_lost: 0,
        };
        controller.transact(config, transaction::Strictness::Tolerant, now)?;
        controller.generation = 0;
        controller.events.clear();
        Ok(controller)
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Number of transactions since the start.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Why the daemon cannot go on, if so.
    pub fn fatal(&self) -> Option<&str> {
        self.fatal.as_deref()
    }

    /// Notes a problem for the status, or that it is over.
    pub fn note(&mut self, about: &'static str, problem: Option<String>) {
        match problem {
            Some(problem) => {
                if self.notes.get(about) != Some(&problem) {
                    tracing::warn!("{problem}");
                }
                self.notes.insert(about, problem);
            }
            None => drop(self.notes.remove(about)),
        }
    }

    /// What happened since the last call, and the number of events for which there was no room.
    pub fn take_events(&mut self) -> (VecDeque<Event>, u64) {
        (std::mem::take(&mut self.events), std::mem::take(&mut self.events_lost))
    }

    /// Turns events of address tables on or off: only while someone listens.
    pub fn watch_fdb(&mut self, on: bool) {
        self.workers.watch_fdb(on);
    }

    /// What becomes readable when a device has something to report.
    pub fn device_fd(&self) -> Option<std::os::fd::RawFd> {
        self.devices.event_fd()
    }

    fn event(&mut self, event: Event) {
        if self.events.len() < EVENTS_MAX {
            self.events.push_back(event);
        } else {
            self.events_lost += 1;
        }
    }

    /// The settings of a port or member.
    fn port_config(&self, name: &str) -> Option<&PortConfig> {
        self.compiled.ports.get(name).map(|parts| &parts.config)
    }

    fn port_name(&self, id: PortId) -> Option<&String> {
        self.port_names.get(id.index()).and_then(Option::as_ref)
    }

    /// The link state of a port.
    fn link(&self, name: &str) -> Link {
        let (Some(parts), Some(link)) = (self.compiled.ports.get(name), self.links.get(name)) else { return Link::Lost };
        match link.device {
            _ if !parts.state.is_enabled() => Link::Disabled,
            DeviceState::Lost { .. } => Link::Lost,
            _ if parts.state.has_carrier() => Link::Up,
            _ => Link::Down,
        }
    }

    /// Reports the link state of a port if it changed.
    fn report_link(&mut self, name: &str) {
        let state = self.link(name);
        let Some(link) = self.links.get_mut(name) else { return };
        if link.shown == state {
            return;
        }
        link.shown = state;
        let problem = link.device.problem();
        let word = match state {
            Link::Up => "up",
            Link::Down => "down",
            Link::Lost => "lost",
            Link::Disabled => "disabled",
        };
        match &problem {
            Some(problem) => tracing::warn!("port {name:?}: link {word}: {problem}"),
            None => tracing::info!("port {name:?}: link {word}"),
        }
        self.event(Event::Link { port: name.to_owned(), link: state, problem });
    }

    /// Puts a snapshot and queues in force at all workers. What they no longer use is freed when this returns.
    fn publish(&mut self, snapshot: Arc<Snapshot>, detach: Vec<PortId>, attach: Vec<PortQueues>, config: &Config) -> Result<(), String> {
        let polling = match config.daemon.poll {
            PollMode::Adaptive => Polling::Adaptive { spin: config.daemon.spin.0.min(Duration::from_secs(1)) },
            PollMode::Busy => Polling::Busy,
        };
        match self.workers.publish(Publication { snapshot, detach, attach, polling }) {
            Ok(retired) => {
                drop(retired);
                Ok(())
            }
            Err(_) => {
                let message = "a worker thread ended or does not answer; the daemon must be restarted".to_owned();
                self.fatal = Some(message.clone());
                Err(message)
            }
        }
    }

    /// [`Controller::publish`] of changed queues under the present configuration.
    fn republish(&mut self, detach: Vec<PortId>, attach: Vec<PortQueues>) -> Result<(), String> {
        let (snapshot, config) = (self.compiled.snapshot.clone(), self.config.clone());
        self.publish(snapshot, detach, attach, &config)
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.leave_all_bonds();
    }
}

/// The configuration to start with: the stored one; `initial` (name of the file and its text) when nothing is stored; else one
/// without switches and ports.
///
/// # Errors
///
/// When the stored or the initial configuration is not valid, for people, with the remedy. A damaged store is never
/// skipped: that would put a switch in force that nobody asked for, perhaps one without VLANs.
pub fn starting_config(store: &mut dyn Store, initial: Option<(String, String)>) -> Result<Config, String> {
    let stored = store.load()?;
    let initial = initial.map(|(file, text)| (config::load(&text, &file), file));
    let Some(stored) = stored else {
        return match initial {
            Some((config, file)) => config.map_err(|problems| format!("{file} is not a valid configuration:\n{problems}")),
            None => Ok(Config::default()),
        };
    };
    let place = format!("{}/{}", store.place(), crate::store::FileStore::FILE);
    let config = config::load(&stored, &place).map_err(|problems| {
        format!(
            "{problems}\nthe stored configuration {place} is damaged; the daemon does not start without it, as it would forward \
             what it should not. Repair the file, or move it away to start from --config"
        )
    })?;
    match initial {
        Some((Ok(initial), file)) if initial != config => {
            tracing::warn!(
                "{file} differs from the stored configuration in {place}, which is in force; `vswitchctl apply {file}` puts the file in force"
            );
        }
        Some((Err(_), file)) => tracing::warn!("{file} is not a valid configuration; the stored one in {place} is in force"),
        _ => {}
    }
    Ok(config)
}
