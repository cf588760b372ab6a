//! Devices that come and go: carriers, netdevs that are deleted and made again, patch links.

use std::collections::BTreeMap;

use dataplane::clock::{self, Nanos};
use dataplane::fdb::EntryKind;
use dataplane::snapshot::PortId;
use proto::config::PortKind;
use wire::{MacAddr, VlanId};

use super::transaction::{flush, netdev_of_link};
use super::{Controller, DeviceState};
use crate::config::validate::netdev_of;
use crate::config::vlan;
use crate::device::{DeviceChange, DeviceEvent};
use crate::workers::PortQueues;

/// How long a lost device is left alone before it is tried again.
pub const RETRY: Nanos = 1_000_000_000;
/// Lost devices tried in one go, so that many of them do not hold up everything else.
const RETRIES_AT_ONCE: usize = 16;
/// VLANs of a host port under which its own address is entered at most.
const LOCAL_VLANS_MAX: usize = 64;

impl Controller {
    /// Takes up what devices have to report.
    pub fn poll_devices(&mut self, now: Nanos) {
        let events = self.devices.poll();
        self.update_vhost_user_links(now);
        if events.is_empty() {
            return;
        }
        let by_netdev: BTreeMap<(Option<String>, String), String> =
            self.compiled.ports.iter().filter_map(|(name, parts)| Some((netdev_of(name, &parts.config)?, name.clone()))).collect();
        for event in events {
            if let Some(name) = by_netdev.get(&(event.netns.clone(), event.name.clone())) {
                self.device_event(name, &event, now);
            }
        }
        self.retry_lost(now);
    }

    fn device_event(&mut self, name: &str, event: &DeviceEvent, now: Nanos) {
        let Some(link) = self.links.get_mut(name) else { return };
        let index = netdev_of_link(link).map(|netdev| netdev.index);
        match (event.what, &mut link.device) {
            (DeviceChange::Removed, DeviceState::Open { .. }) if index == Some(event.index) => {
                self.lose(name, "its interface was deleted".to_owned(), now);
            }
            // Events may be older than the device: an index below ours is that of a former netdev.
            (_, DeviceState::Open { .. }) if index.is_some_and(|index| event.index < index) => {}
            (DeviceChange::Present { .. }, DeviceState::Open { .. }) if index.is_some_and(|index| event.index > index) => {
                self.lose(name, "its interface was replaced by another of the same name".to_owned(), now);
            }
            (DeviceChange::Present { carrier, mac }, DeviceState::Open { netdev, .. }) => {
                if let Some(netdev) = netdev {
                    netdev.mac = mac;
                }
                self.set_carrier(name, carrier, now);
                self.enter_local(name, clock::tick(now));
            }
            (DeviceChange::Present { .. }, DeviceState::Lost { retry_at, .. }) => *retry_at = now,
            (DeviceChange::Removed, _) | (_, DeviceState::None) => {}
        }
    }

    /// Takes up how the links of `vhost-user` ports are now.
    fn update_vhost_user_links(&mut self, now: Nanos) {
        let carriers: Vec<(String, bool)> =
            self.links.iter().filter_map(|(name, link)| Some((name.clone(), link.device.vhost_user()?.carrier))).collect();
        for (name, carrier) in carriers {
            self.set_carrier(&name, carrier, now);
        }
    }

    /// Sets the carrier of a port. When it goes down the addresses learned there are forgotten, so that frames for them
    /// are flooded and find hosts that moved elsewhere.
    pub(super) fn set_carrier(&mut self, name: &str, carrier: bool, now: Nanos) {
        let Some(parts) = self.compiled.ports.get(name) else { return };
        if parts.state.has_carrier() == carrier {
            return;
        }
        parts.state.set_carrier(carrier);
        self.member_carrier(name, carrier, now);
        if !carrier {
            self.flush_learned(name);
        }
        self.report_link(name);
    }

    fn flush_learned(&self, name: &str) {
        let Some(parts) = self.compiled.ports.get(name) else { return };
        if let Some(switch) = self.compiled.switches.get(&parts.switch) {
            flush(&switch.fdb, parts.id, false);
        }
    }

    /// A worker found that the device of a port is gone.
    pub(super) fn device_gone(&mut self, id: PortId, now: Nanos) {
        if let Some(name) = self.port_name(id).cloned()
            && matches!(self.links.get(&name).map(|link| &link.device), Some(DeviceState::Open { .. }))
        {
            self.lose(&name, "its device is gone".to_owned(), now);
        }
    }

    fn lose(&mut self, name: &str, problem: String, now: Nanos) {
        let Some(parts) = self.compiled.ports.get(name) else { return };
        let id = parts.id;
        parts.state.set_carrier(false);
        if let Some(link) = self.links.get_mut(name) {
            link.device = DeviceState::Lost { problem, retry_at: now + RETRY };
        }
        self.member_carrier(name, false, now);
        // Errors are kept in `fatal`, which ends the daemon.
        let _ = self.republish(vec![id], Vec::new());
        self.flush_learned(name);
        self.report_link(name);
    }

    /// When a lost device is to be tried next.
    pub fn next_retry(&self) -> Option<Nanos> {
        let retries = self.links.values().filter_map(|link| match link.device {
            DeviceState::Lost { retry_at, .. } => Some(retry_at),
            _ => None,
        });
        retries.min()
    }

    /// Tries devices again whose time has come.
    pub(super) fn retry_lost(&mut self, now: Nanos) {
        let mut due: Vec<(Nanos, String)> = self
            .links
            .iter()
            .filter_map(|(name, link)| match link.device {
                DeviceState::Lost { retry_at, .. } if retry_at <= now => Some((retry_at, name.clone())),
                _ => None,
            })
            .collect();
        due.sort_unstable();
        due.truncate(RETRIES_AT_ONCE);
        let mut attach = Vec::new();
        let mut found = Vec::new();
        for (_, name) in due {
            let (Some(port), Some(parts)) = (self.port_config(&name).cloned(), self.compiled.ports.get(&name).cloned()) else { continue };
            let opened = self.open(&name, &port);
            let Some(link) = self.links.get_mut(&name) else { continue };
            match opened {
                Ok(device) => {
                    attach.push(PortQueues { port: parts.id, rx: device.rx, tx: device.tx, sim: device.sim.clone() });
                    link.device = DeviceState::Open { netdev: device.netdev, sim: device.sim, vhost_user: device.vhost_user };
                    found.push((name, device.carrier));
                }
                Err(problem) => {
                    link.device = DeviceState::Lost { problem, retry_at: now + RETRY };
                    self.report_link(&name);
                }
            }
        }
        if found.is_empty() {
            return;
        }
        let _ = self.republish(Vec::new(), attach);
        for (name, carrier) in found {
            if let Some(parts) = self.compiled.ports.get(&name) {
                parts.state.set_carrier(carrier);
            }
            self.member_reopened(&name, now);
            self.member_carrier(&name, carrier, now);
            self.enter_local(&name, clock::tick(now));
            self.report_link(&name);
        }
    }

    /// A patch port has a carrier while the port at the other end exists and is enabled.
    pub(super) fn update_patch_links(&mut self) {
        for (name, port) in self.config.port.iter().filter(|(_, port)| port.kind == PortKind::Patch) {
            let peer = port.peer.as_ref().and_then(|peer| self.config.port.get(peer));
            if let Some(parts) = self.compiled.ports.get(name) {
                parts.state.set_carrier(peer.is_some_and(|peer| peer.enabled));
            }
        }
    }

    /// Enters the address of a host port into the table of its switch, so that no guest can take it over, and removes
    /// what was entered before and is no longer so.
    pub(super) fn enter_local(&mut self, name: &str, tick: u32) {
        let (Some(port), Some(parts)) = (self.config.port.get(name), self.compiled.ports.get(name)) else { return };
        let Some(switch) = self.compiled.switches.get(&parts.switch) else { return };
        let Some(link) = self.links.get_mut(name).filter(|_| port.kind == PortKind::Host) else { return };
        let mac = netdev_of_link(link).and_then(|netdev| netdev.mac);
        let wanted: Vec<(MacAddr, VlanId)> = match (mac, vlan::policy(port)) {
            (Some(mac), Some(policy)) => {
                let all = policy.pvid.into_iter().chain(policy.members.iter().filter(|_| !vlan::is_trunk_of_all(port)));
                let mut vlans: Vec<VlanId> = all.take(LOCAL_VLANS_MAX).collect();
                vlans.sort_unstable();
                vlans.dedup();
                vlans.into_iter().map(|vlan| (mac, vlan)).collect()
            }
            _ => Vec::new(),
        };
        let is_static = |mac, vlan| switch.fdb.get(mac, vlan).is_some_and(|entry| entry.kind == EntryKind::Static);
        for (mac, vlan) in link.local.iter().filter(|entry| !wanted.contains(entry)) {
            if switch.fdb.get(*mac, *vlan).is_some_and(|entry| entry.kind == EntryKind::Local && entry.port == parts.id) {
                switch.fdb.remove(*mac, *vlan);
            }
        }
        link.local = wanted;
        // The administrator's entry for the same address goes first.
        for (mac, vlan) in link.local.iter().filter(|(mac, vlan)| !is_static(*mac, *vlan)) {
            if switch.fdb.get(*mac, *vlan).is_none_or(|entry| entry.kind != EntryKind::Local || entry.port != parts.id)
                && !switch.fdb.insert(*mac, *vlan, parts.id, EntryKind::Local, tick)
            {
                tracing::warn!("port {name:?}: no room in the table for its own address {mac} in VLAN {vlan} (raise fdb_size)");
            }
        }
    }
}
