//! A change of the configuration: wholly or not at all.
//!
//! 1. Check the new configuration, compile it, say what changes.
//! 2. *Prepare*: open new devices, adjust netdevs, enter static addresses. Each step can be undone.
//! 3. *Store*. A failure until here undoes step 2, and the running switch is as before.
//! 4. *Publish* to the workers and wait until each has taken it up. From here on nothing can be refused.
//! 5. Close what was removed, forget its addresses.
//!
//! A process killed between 3 and 4 comes back with the new configuration, before 3 with the old one.
//!
//! # A netdev that must be made anew
//!
//! A TAP netdev cannot be opened twice under one name. When a change removes a `tap` or `host` port and lets another port
//! have its netdev, or changes `queues` or `offload` of such a port, the old netdev is closed before the new one is opened
//! (in step 2). Should a later step fail, it is opened again with its old settings. Host addresses and routes on
//! that netdev are lost either way; that is why MTU and MAC address are changed in place instead.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use dataplane::clock::{self, Nanos};
use dataplane::device::Capabilities;
use dataplane::fdb::{Entry, EntryKind, Fdb, FlushFilter};
use dataplane::memory::MemoryDevice;
use dataplane::router::{INTERFACES_MAX, ROUTERS_MAX};
use dataplane::snapshot::{PORTS_MAX, PortId, SWITCHES_MAX};
use proto::api::{Changed, Event, Link};
use proto::config::{Config, FdbConfig, PortConfig, PortKind};
use wire::{MacAddr, VlanId};

use super::links::RETRY;
use super::{Controller, DeviceState, PortLink};
use crate::compile::{Compiled, Context, DevicePlan, compile};
use crate::config::validate::{netdev_of, socket_of};
use crate::config::{diff, problem, to_toml, validate, vlan};
use crate::device::{Netdev, OpenDevice};
use crate::group;
use crate::workers::PortQueues;

/// Frames that wait in a `sim` port in either direction at most.
pub const SIM_QUEUE: usize = 1024;
/// Changes named in one event at most.
const EVENT_LINES_MAX: usize = 100;

/// What a failure to open a device means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// The change is refused.
    Strict,
    /// The port is lost, and tried again later. Nothing is stored: the configuration comes from the store.
    Tolerant,
}

/// What step 2 did, to be put in force or undone.
#[derive(Default)]
struct Prepared {
    opened: BTreeMap<String, OpenDevice>,
    lost: BTreeMap<String, String>,
    /// Running ports whose device was closed already, to make room for another of the same name.
    displaced: BTreeSet<String>,
    adjusted: Vec<String>,
    entered: Vec<(Arc<Fdb>, MacAddr, VlanId, Option<Entry>)>,
}

impl Controller {
    /// Says what a change would do, and does nothing.
    ///
    /// # Errors
    ///
    /// When the configuration is not valid.
    pub fn dry_run(&self, new: &Config) -> Result<Changed, String> {
        let problems = validate(new);
        if !problems.is_empty() {
            return Err(problem::lines(&problems));
        }
        Ok(Changed { generation: self.generation, changes: diff::changes(&self.config, new) })
    }

    /// Puts a configuration in force.
    ///
    /// # Errors
    ///
    /// Why it is refused; then the running switch is as before (but see the module text on netdevs made anew). After the
    /// loss of a worker the daemon must end, see [`Controller::fatal`].
    pub fn transact(&mut self, new: Config, strictness: Strictness, now: Nanos) -> Result<Changed, String> {
        if let Some(fatal) = &self.fatal {
            return Err(fatal.clone());
        }
        let mut changed = self.dry_run(&new)?;
        if changed.changes.is_empty() {
            return Ok(changed);
        }
        let stable_mac = |router: &str, interface: &str| self.devices.stable_mac(router, interface);
        let context = Context {
            workers: self.workers.count(),
            now,
            connections: &self.connections,
            translations: &self.translations,
            stable_mac: &stable_mac,
        };
        let compiled = compile(&new, &self.config, &self.compiled, &context)?;
        let snapshot = &compiled.snapshot;
        let interfaces = snapshot.routers.iter().flatten().map(|router| router.interfaces.len()).max().unwrap_or(0);
        if snapshot.ports.len() > PORTS_MAX
            || snapshot.switches.len() > SWITCHES_MAX
            || snapshot.routers.len() > ROUTERS_MAX
            || interfaces > INTERFACES_MAX
        {
            // Numbers are free again only after the change, so replaced things count twice during it.
            return Err("too many things are replaced at once; make the change in two steps".to_owned());
        }
        if let Some(group) = &new.daemon.control_group {
            match group::gid_of(group) {
                Ok(_) => self.note("control-group", None),
                Err(error) if strictness == Strictness::Strict => return Err(format!("daemon: control_group: {error}")),
                Err(error) => self.note("control-group", Some(format!("daemon: control_group: {error}"))),
            }
        } else {
            self.note("control-group", None);
        }

        let mut prepared = Prepared::default();
        let outcome = self.prepare(&new, &compiled, strictness, now, &mut prepared).and_then(|()| match strictness {
            Strictness::Strict => self.store.save(&to_toml(&new)),
            Strictness::Tolerant => Ok(()),
        });
        if let Err(refusal) = outcome {
            self.undo(prepared, now);
            return Err(refusal);
        }
        self.put_in_force(new, compiled, prepared, now)?;
        self.generation += 1;
        changed.generation = self.generation;
        let mut lines = changed.changes.clone();
        if lines.len() > EVENT_LINES_MAX {
            let more = lines.len() - EVENT_LINES_MAX;
            lines.truncate(EVENT_LINES_MAX);
            lines.push(format!("and {more} more"));
        }
        lines.iter().for_each(|line| tracing::info!("{line}"));
        self.event(Event::ConfigChanged { generation: self.generation, changes: lines });
        Ok(changed)
    }

    fn prepare(
        &mut self,
        new: &Config,
        compiled: &Compiled,
        strictness: Strictness,
        now: Nanos,
        prepared: &mut Prepared,
    ) -> Result<(), String> {
        let to_open: Vec<(&String, &PortConfig)> = compiled
            .ports
            .iter()
            .filter(|(_, parts)| has_device(&parts.config) && matches!(parts.device, DevicePlan::Open | DevicePlan::Reopen))
            .map(|(name, parts)| (name, &parts.config))
            .collect();
        self.make_room(&to_open, prepared)?;
        let opens = !to_open.is_empty();
        for (name, port) in to_open {
            match self.open(name, port) {
                Ok(device) => drop(prepared.opened.insert(name.clone(), device)),
                Err(error) if strictness == Strictness::Strict => return Err(format!("port {name:?}: {error}")),
                Err(error) => drop(prepared.lost.insert(name.clone(), error)),
            }
        }
        if opens && strictness == Strictness::Strict {
            self.leaves_descriptors()?;
        }
        for (name, parts) in &compiled.ports {
            if parts.device == DevicePlan::Adjust
                && let Some(PortLink { device: DeviceState::Open { netdev: Some(netdev), .. }, .. }) = self.links.get(name)
            {
                self.devices.configure(name, netdev, &parts.config).map_err(|error| format!("port {name:?}: {error}"))?;
                prepared.adjusted.push(name.clone());
            }
        }
        enter_interfaces(new, compiled, clock::tick(now), prepared)?;
        self.enter_static(new, compiled, strictness, clock::tick(now), prepared)
    }

    /// Closes running netdevs and sockets whose name a device that is to be opened needs.
    fn make_room(&mut self, to_open: &[(&String, &PortConfig)], prepared: &mut Prepared) -> Result<(), String> {
        let needed: BTreeSet<_> = to_open.iter().filter_map(|(name, port)| netdev_of(name, port)).collect();
        let sockets: BTreeSet<_> = to_open.iter().filter_map(|(_, port)| socket_of(port)).collect();
        let in_the_way: Vec<String> = self
            .compiled
            .ports
            .iter()
            .filter(|(name, parts)| {
                (matches!(parts.config.kind, PortKind::Tap | PortKind::Host)
                    && netdev_of(name, &parts.config).is_some_and(|netdev| needed.contains(&netdev))
                    || socket_of(&parts.config).is_some_and(|socket| sockets.contains(socket)))
                    && matches!(self.links.get(*name), Some(PortLink { device: DeviceState::Open { .. }, .. }))
            })
            .map(|(name, _)| name.clone())
            .collect();
        if in_the_way.is_empty() {
            return Ok(());
        }
        let ids: Vec<PortId> = in_the_way.iter().filter_map(|name| self.compiled.ports.get(name)).map(|parts| parts.id).collect();
        for name in &in_the_way {
            if let Some(parts) = self.compiled.ports.get(name) {
                parts.state.set_carrier(false);
            }
        }
        prepared.displaced.extend(in_the_way);
        self.republish(ids, Vec::new())
    }

    /// Opens the device of any port but a patch port.
    pub(super) fn open(&mut self, name: &str, port: &PortConfig) -> Result<OpenDevice, String> {
        let workers = self.workers.count();
        if port.kind == PortKind::Sim {
            let device = MemoryDevice::new(SIM_QUEUE, true, Capabilities::ALL);
            let tx = (0..workers).map(|_| device.tx_queue()).collect();
            return Ok(OpenDevice { rx: vec![device.rx_queue()], tx, netdev: None, carrier: true, sim: Some(device), vhost_user: None });
        }
        // What happened meanwhile is to be read soon.
        self.next_second = 0;
        self.devices.open(name, port, workers).map_err(|error| error.0)
    }

    /// Enters static addresses that are new, and all of them into tables that are new.
    fn enter_static(
        &mut self,
        new: &Config,
        compiled: &Compiled,
        strictness: Strictness,
        tick: u32,
        prepared: &mut Prepared,
    ) -> Result<(), String> {
        let mut refused = 0usize;
        for entry in &new.fdb {
            let (Some(switch), Some(port)) = (compiled.switches.get(&entry.switch), compiled.ports.get(&entry.port)) else { continue };
            let vlan = VlanId::new(entry.vlan).unwrap_or_default();
            let former = switch.fdb.get(entry.mac, vlan);
            if former.is_some_and(|former| former.kind == EntryKind::Static && former.port == port.id) {
                continue;
            }
            if switch.fdb.insert(entry.mac, vlan, port.id, EntryKind::Static, tick) {
                prepared.entered.push((switch.fdb.clone(), entry.mac, vlan, former));
            } else if strictness == Strictness::Strict {
                let (mac, vlan, switch) = (entry.mac, entry.vlan, &entry.switch);
                return Err(format!("fdb entry {mac} vlan {vlan}: the table of switch {switch:?} has no room for it (raise fdb_size)"));
            } else {
                refused += 1;
            }
        }
        let note = format!("{refused} static fdb entries found no room (raise fdb_size)");
        self.note("static-fdb", (refused > 0).then_some(note));
        Ok(())
    }

    /// Undoes step 2, last part first.
    fn undo(&mut self, prepared: Prepared, now: Nanos) {
        for (fdb, mac, vlan, former) in prepared.entered.into_iter().rev() {
            match former {
                Some(former) => drop(fdb.insert(mac, vlan, former.port, former.kind, former.seen)),
                None => drop(fdb.remove(mac, vlan)),
            }
        }
        for name in prepared.adjusted.iter().rev() {
            let port = self.compiled.ports.get(name).map(|parts| &parts.config);
            if let (Some(port), Some(PortLink { device: DeviceState::Open { netdev: Some(netdev), .. }, .. })) =
                (port, self.links.get(name))
                && let Err(error) = self.devices.configure(name, netdev, port)
            {
                tracing::error!("port {name:?}: restore the former settings of the netdev: {error}");
            }
        }
        drop(prepared.opened);
        for name in prepared.displaced {
            // Its queues are detached already; it is as lost as a netdev deleted by somebody else, and comes back the same way.
            let problem = "its device was closed for a change that was refused".to_owned();
            if let Some(link) = self.links.get_mut(&name) {
                link.device = DeviceState::Lost { problem, retry_at: now };
            }
        }
        self.retry_lost(now);
    }

    fn put_in_force(&mut self, new: Config, compiled: Compiled, mut prepared: Prepared, now: Nanos) -> Result<(), String> {
        for (name, switch) in &compiled.switches {
            if let Some(old) = self.compiled.switches.get(name).filter(|old| !Arc::ptr_eq(&old.fdb, &switch.fdb)) {
                carry_over(&old.fdb, &switch.fdb, |id| self.stays(id, &compiled));
            }
        }
        let detach: Vec<PortId> = self
            .compiled
            .ports
            .iter()
            .filter(|(name, old)| {
                let same = compiled.ports.get(*name).is_some_and(|parts| parts.id == old.id && parts.device != DevicePlan::Reopen);
                let open = matches!(self.links.get(*name), Some(PortLink { device: DeviceState::Open { .. }, .. }));
                !same && open && !prepared.displaced.contains(*name)
            })
            .map(|(_, old)| old.id)
            .collect();

        self.leave_bonds(&compiled, now);
        let mut links = BTreeMap::new();
        let mut attach = Vec::new();
        for (name, parts) in &compiled.ports {
            let former = self.links.remove(name);
            let same = self.compiled.ports.get(name).is_some_and(|old| old.id == parts.id);
            let (shown, local) = match &former {
                Some(former) if same => (former.shown, former.local.clone()),
                _ => (Link::Down, Vec::new()),
            };
            let device = if let Some(opened) = prepared.opened.remove(name) {
                parts.state.set_carrier(opened.carrier);
                attach.push(PortQueues { port: parts.id, rx: opened.rx, tx: opened.tx, sim: opened.sim.clone() });
                DeviceState::Open { netdev: opened.netdev, sim: opened.sim, vhost_user: opened.vhost_user }
            } else if let Some(problem) = prepared.lost.remove(name) {
                DeviceState::Lost { problem, retry_at: now + RETRY }
            } else if !has_device(&parts.config) {
                DeviceState::None
            } else {
                former.map_or(DeviceState::Lost { problem: "not opened yet".to_owned(), retry_at: now }, |former| former.device)
            };
            links.insert(name.clone(), PortLink { device, shown, local });
        }
        self.publish(compiled.snapshot.clone(), detach, attach, &new)?;

        self.links = links;
        let old_config = std::mem::replace(&mut self.config, new);
        let old = std::mem::replace(&mut self.compiled, compiled);
        self.port_names = self.compiled.port_names();
        self.switch_names = self.compiled.switch_names();
        self.forget(&old_config, &old);
        self.forget_flows(&old, now);
        self.set_quotas(&self.config);
        for router in self.compiled.routers.values() {
            router.rules.activate(now);
        }
        for parts in self.compiled.ports.values() {
            parts.state.set_enabled(parts.config.enabled);
        }
        for (.., parts) in self.compiled.interfaces() {
            parts.state.set_enabled(parts.config.enabled);
        }
        let used = self.compiled.ports.iter().filter_map(|(name, parts)| netdev_of(name, &parts.config)?.0).collect();
        self.devices.namespaces(&used);
        self.update_patch_links();
        self.join_bonds(now);
        self.join_neighbours(now);
        let names: Vec<String> = self.compiled.ports.keys().cloned().collect();
        for name in names {
            self.enter_local(&name, clock::tick(now));
            self.report_link(&name);
        }
        Ok(())
    }

    /// Whether the running port with this number is the same one under `compiled`.
    fn stays(&self, id: PortId, compiled: &Compiled) -> bool {
        self.port_name(id).and_then(|name| compiled.ports.get(name)).is_some_and(|parts| parts.id == id)
    }

    /// Forgets addresses that the change made wrong. Runs when no worker can learn them again.
    fn forget(&mut self, old_config: &Config, old: &Compiled) {
        for (name, parts) in &old.ports {
            let before = &parts.config;
            let Some(fdb) = self.compiled.switches.get(&parts.switch).map(|switch| &switch.fdb) else { continue };
            let Some(after) = self.compiled.ports.get(name).filter(|new| new.id == parts.id).map(|new| &new.config) else {
                flush(fdb, parts.id, true);
                continue;
            };
            if vlan::policy(before) != vlan::policy(after) || before.sticky != after.sticky || (before.enabled && !after.enabled) {
                flush(fdb, parts.id, false);
            }
        }
        for (router, name, before) in old.interfaces() {
            let Some(switch) = self.compiled.switches.get(&before.switch) else { continue };
            let after = self.compiled.routers.get(router).and_then(|router| router.interfaces.get(name));
            match after.filter(|after| after.port == before.port) {
                None => drop(flush(&switch.fdb, before.port, true)),
                Some(after) if (after.mac, after.vlan) != (before.mac, before.vlan) => {
                    if switch.fdb.get(before.mac, before.vlan).is_some_and(|entry| entry.port == before.port) {
                        switch.fdb.remove(before.mac, before.vlan);
                    }
                }
                Some(_) => {}
            }
        }
        for (name, switch) in &self.config.switch {
            let was_hub = old_config.switch.get(name).is_some_and(|old| old.hub);
            if let (true, Some(parts)) = (switch.hub && !was_hub, self.compiled.switches.get(name)) {
                parts.fdb.flush(FlushFilter::default());
            }
        }
        let key = |entry: &FdbConfig| (entry.mac, entry.vlan, entry.switch.clone());
        let kept: HashSet<_> = self.config.fdb.iter().map(key).collect();
        for entry in old_config.fdb.iter().filter(|entry| !kept.contains(&key(entry))) {
            let vlan = VlanId::new(entry.vlan).unwrap_or_default();
            if let Some(switch) = self.compiled.switches.get(&entry.switch)
                && switch.fdb.get(entry.mac, vlan).is_some_and(|found| found.kind == EntryKind::Static)
            {
                switch.fdb.remove(entry.mac, vlan);
            }
        }
    }
}

/// Enters the addresses of the routers' interfaces into the tables of their switches, so that no guest can take them over.
///
/// # Errors
///
/// When an address is somebody else's by configuration, or there is no room.
fn enter_interfaces(new: &Config, compiled: &Compiled, tick: u32, prepared: &mut Prepared) -> Result<(), String> {
    let mut seen: BTreeMap<(&str, VlanId, MacAddr), (&str, &str)> = BTreeMap::new();
    for (router, name, parts) in compiled.interfaces() {
        let (mac, vlan) = (parts.mac, parts.vlan);
        if let Some((_, other)) = seen.insert((&parts.switch, vlan, mac), (router, name)) {
            return Err(format!("router {router:?}: interface {name:?}: {mac} is the address of interface {other:?} already (set `mac`)"));
        }
        if new.fdb.iter().any(|entry| entry.switch == parts.switch && entry.vlan == vlan.get() && entry.mac == mac) {
            let vlan = vlan.get();
            return Err(format!("fdb entry {mac} vlan {vlan}: the address is that of interface {name:?} of router {router:?} (remove it)"));
        }
        let Some(switch) = compiled.switches.get(&parts.switch) else { continue };
        let former = switch.fdb.get(mac, vlan);
        if former.is_some_and(|former| former.kind == EntryKind::Local && former.port == parts.port) {
            continue;
        }
        if !switch.fdb.insert(mac, vlan, parts.port, EntryKind::Local, tick) {
            let switch = &parts.switch;
            return Err(format!(
                "router {router:?}: interface {name:?}: the table of switch {switch:?} has no room for its address (raise fdb_size)"
            ));
        }
        prepared.entered.push((switch.fdb.clone(), mac, vlan, former));
    }
    Ok(())
}

/// Forgets the addresses at a port; static ones only with `all_kinds`.
pub(super) fn flush(fdb: &Fdb, port: PortId, all_kinds: bool) -> usize {
    // A walk over a large table takes milliseconds; most ports that go have nothing in it.
    if fdb.port_len(port) == 0 {
        return 0;
    }
    fdb.flush(FlushFilter { port: Some(port), vlan: None, all_kinds })
}

/// Copies learned addresses of ports that stay into a table of another size; what does not fit is learned again.
fn carry_over(old: &Fdb, new: &Fdb, stays: impl Fn(PortId) -> bool) {
    let mut cursor = Some(0);
    let mut entries = Vec::new();
    while let Some(at) = cursor {
        cursor = old.list(at, 1024, &mut entries);
        for entry in entries.drain(..) {
            if entry.kind.ages() && stays(entry.port) && new.get(entry.mac, entry.vlan).is_none() {
                new.insert(entry.mac, entry.vlan, entry.port, entry.kind, entry.seen);
            }
        }
    }
}

/// Whether something stands behind a port that has to be opened.
fn has_device(port: &PortConfig) -> bool {
    !matches!(port.kind, PortKind::Patch | PortKind::Bond)
}

/// The netdev of a device that is open.
pub(super) fn netdev_of_link(link: &PortLink) -> Option<&Netdev> {
    match &link.device {
        DeviceState::Open { netdev, .. } => netdev.as_ref(),
        _ => None,
    }
}
