//! Bonds while they run: one [`BondAgent`] each, told what happens to members, and doing what it asks for.
//!
//! An agent lives as long as the port of its bond. Events come from devices (carrier, speed), workers (frames they punted)
//! and time; actions go to workers (view, buckets, frames to send), to devices (MAC addresses), to the bond's port
//! (carrier) and to logs and monitors. All of it on the control thread, in the turn in which the event came, so that
//! transmission moves at once when a carrier is lost.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use dataplane::bond::{BUCKETS, BondState, Client};
use dataplane::clock::Nanos;
use dataplane::snapshot::{PortId, VlanPolicy};
use proto::api::{Changed, Event, SetActive};
use proto::config::{PortConfig, PortKind};
use wire::{MacAddr, Tag, Tpid, VlanId};

use super::transaction::netdev_of_link;
use super::{Controller, DeviceState};
use crate::bond::{
    BondAction, BondAgent, BondEvent, BondSettings, BondView, HostAddress, LearnedAddress, MemberActivity, MemberSettings, Reading,
    Transition,
};
use crate::compile::Compiled;
use crate::config::{bond as options, vlan};
use crate::device::Netdev;

/// Punted frames taken in one go.
const PUNTED: usize = 512;
/// Entries of an address table looked at in one go.
const LIST: usize = 1024;

/// One bond that runs.
pub(super) struct RunningBond {
    /// Its port, which tells it from a later one of the same name.
    id: PortId,
    pub(super) agent: BondAgent,
    /// Members by slot.
    pub(super) members: BTreeMap<u8, RunningMember>,
    /// The host's addresses as the agent was told last.
    host: Vec<HostAddress>,
    /// The bond's own address.
    mac: Option<MacAddr>,
    /// Octets of each bucket at the last reading.
    octets: Box<[u64; BUCKETS]>,
    /// Those that belonged to no bucket.
    unbalanced: u64,
}

/// One member.
pub(super) struct RunningMember {
    /// Its port.
    id: PortId,
    /// Its name among the ports.
    pub(super) port: String,
    /// What the agent was told.
    settings: MemberSettings,
    /// The MAC address the agent wants its device to have.
    mac: Option<MacAddr>,
}

impl Controller {
    /// Takes members that the new configuration lacks out of their bonds, so that frames leave by the others before the
    /// devices are closed, and devices get their addresses back while they are open.
    pub(super) fn leave_bonds(&mut self, new: &Compiled, now: Nanos) {
        let mut gone = Vec::new();
        for (name, bond) in &self.bonds {
            for (slot, member) in &bond.members {
                let stays = new.ports.get(&member.port).is_some_and(|parts| {
                    parts.id == member.id && parts.member_of.as_ref().is_some_and(|place| place.bond == *name && place.slot == *slot)
                });
                let bond_stays = new.ports.get(name).is_some_and(|parts| parts.id == bond.id);
                if !stays || !bond_stays {
                    gone.push((name.clone(), *slot));
                }
            }
        }
        for (name, slot) in gone {
            self.remove_member(&name, slot, now);
        }
        self.bonds.retain(|name, bond| new.ports.get(name).is_some_and(|parts| parts.id == bond.id));
    }

    fn remove_member(&mut self, name: &str, slot: u8, now: Nanos) {
        let mut actions = Vec::new();
        if let Some(bond) = self.bonds.get_mut(name) {
            bond.agent.remove_member(now, slot, &mut actions);
        }
        // The last action may be to give the device its own address back, so the member goes after it.
        self.carry_out(name, actions, now);
        let Some(bond) = self.bonds.get_mut(name) else { return };
        bond.members.remove(&slot);
        if let Some(state) = self.compiled.ports.get(name).and_then(|parts| parts.bond.as_ref()) {
            state.set_member_mac(slot, MacAddr::ZERO);
        }
    }

    /// Brings the agents in line with the configuration in force: new bonds, new members, changed options.
    pub(super) fn join_bonds(&mut self, now: Nanos) {
        let bonds: Vec<(String, PortId, BondSettings, Option<MacAddr>)> = self
            .compiled
            .ports
            .iter()
            .filter(|(_, parts)| parts.config.kind == PortKind::Bond)
            .map(|(name, parts)| (name.clone(), parts.id, options::settings(&options::options(&parts.config)), parts.config.mac))
            .collect();
        for (name, id, settings, mac) in bonds {
            let mut actions = Vec::new();
            match self.bonds.get_mut(&name) {
                Some(bond) if *bond.agent.settings() != settings => bond.agent.reconfigure(now, settings, &mut actions),
                Some(_) => {}
                None => {
                    let agent = BondAgent::new(settings, mac, now);
                    let bond = RunningBond {
                        id,
                        agent,
                        members: BTreeMap::new(),
                        host: Vec::new(),
                        mac,
                        octets: Box::new([0; BUCKETS]),
                        unbalanced: 0,
                    };
                    self.bonds.insert(name.clone(), bond);
                }
            }
            self.carry_out(&name, actions, now);
            let members: Vec<(u8, String, PortId)> = self
                .compiled
                .ports
                .iter()
                .filter_map(|(port, parts)| {
                    let place = parts.member_of.as_ref().filter(|place| place.bond == name)?;
                    Some((place.slot, port.clone(), parts.id))
                })
                .collect();
            for (slot, port, id) in members {
                self.join_bond(&name, slot, port, id, now);
            }
            self.tell_host(&name, now);
            self.set_own_mac(&name);
        }
    }

    /// Adds a member, or tells the agent what is new about it.
    fn join_bond(&mut self, name: &str, slot: u8, port: String, id: PortId, now: Nanos) {
        let Some(settings) = self.member_settings(name, &port) else { return };
        let carrier = self.compiled.ports.get(&port).is_some_and(|parts| parts.state.has_carrier());
        let Some(bond) = self.bonds.get_mut(name) else { return };
        let mut actions = Vec::new();
        match bond.members.get_mut(&slot) {
            Some(member) if member.settings != settings => {
                member.settings = settings.clone();
                bond.agent.reconfigure_member(now, slot, settings, &mut actions);
            }
            Some(_) => {}
            None => {
                bond.members.insert(slot, RunningMember { id, port: port.clone(), settings: settings.clone(), mac: None });
                if let Some(state) = self.compiled.ports.get(name).and_then(|parts| parts.bond.as_ref()) {
                    state.set_member_mac(slot, settings.mac);
                }
                bond.agent.add_member(now, slot, settings, &mut actions);
            }
        }
        self.carry_out(name, actions, now);
        self.member_carrier(&port, carrier, now);
    }

    fn member_settings(&self, bond: &str, port: &str) -> Option<MemberSettings> {
        let place = self.compiled.ports.get(port)?.member_of.as_ref()?;
        let config = self.config.port.get(bond)?.member.get(&place.member)?;
        let running = self.bonds.get(bond).and_then(|bond| bond.members.get(&place.slot));
        let opened = self.links.get(port).and_then(|link| netdev_of_link(link)).and_then(|netdev| netdev.mac);
        let mac = match (running, opened) {
            // The device has the address the agent gave it; its own is the one it had before.
            (Some(running), Some(mac)) if running.mac == Some(mac) => running.settings.mac,
            (_, Some(mac)) => mac,
            (Some(running), None) => running.settings.mac,
            // A device without netdev, or none yet: an address that is the member's alone.
            (None, None) => {
                let id = self.compiled.ports.get(port)?.id.0.to_be_bytes();
                MacAddr([0x02, b'b', b'o', id[0], id[1], place.slot])
            }
        };
        Some(MemberSettings { name: place.member.clone(), mac, prio: config.prio })
    }

    /// The place of a member among bonds.
    fn place_of(&self, port: &str) -> Option<(String, u8)> {
        let place = self.compiled.ports.get(port)?.member_of.as_ref()?;
        Some((place.bond.clone(), place.slot))
    }

    /// Tells the agent of a member's bond about the carrier of its device, and its speed.
    pub(super) fn member_carrier(&mut self, port: &str, up: bool, now: Nanos) {
        let Some((name, slot)) = self.place_of(port) else { return };
        if !up {
            // First of all: frames are lost until this has reached the workers.
            self.bond_event(&name, BondEvent::Carrier { member: slot, up }, now);
            return;
        }
        let netdev = self.links.get(port).and_then(netdev_of_link).cloned();
        let speed = netdev.and_then(|netdev| self.devices.speed(&netdev));
        let (mbps, full_duplex) = speed.map_or((None, true), |speed| (speed.mbps, speed.full_duplex));
        self.bond_event(&name, BondEvent::Speed { member: slot, mbps, full_duplex }, now);
        self.bond_event(&name, BondEvent::Carrier { member: slot, up }, now);
    }

    /// A member's device was opened again: it has its own address once more, perhaps another one than before.
    pub(super) fn member_reopened(&mut self, port: &str, now: Nanos) {
        let Some((name, slot)) = self.place_of(port) else { return };
        let Some(netdev) = self.links.get(port).and_then(netdev_of_link).cloned() else { return };
        let Some(bond) = self.bonds.get_mut(&name) else { return };
        let Some(member) = bond.members.get_mut(&slot) else { return };
        let mut actions = Vec::new();
        let wanted = member.mac.take();
        if let Some(mac) = netdev.mac.filter(|mac| *mac != member.settings.mac && wanted != Some(*mac)) {
            member.settings.mac = mac;
            let settings = member.settings.clone();
            bond.agent.reconfigure_member(now, slot, settings, &mut actions);
        }
        if let Some(mac) = wanted.filter(|mac| netdev.mac != Some(*mac)) {
            actions.insert(0, BondAction::SetMac { member: slot, mac });
        }
        self.carry_out(&name, actions, now);
    }

    /// Takes frames that workers punted; `true` when there may be more.
    pub(super) fn take_punted(&mut self, now: Nanos) -> bool {
        for _ in 0..PUNTED {
            let Some(frame) = self.workers.next_punted() else { return false };
            let Some(port) = self.port_name(frame.port).cloned() else { continue };
            let (tag, octets) = (frame.tag, frame.octets.as_slice());
            if frame.outgoing {
                if self.bonds.contains_key(&port) {
                    self.bond_event(&port, BondEvent::Sent { tag, octets }, now);
                }
            } else if let Some((name, member)) = self.place_of(&port) {
                self.bond_event(&name, BondEvent::Frame { member, tag, octets }, now);
            }
        }
        true
    }

    /// Lets agents whose time has come act.
    pub(super) fn bond_deadlines(&mut self, now: Nanos) {
        let due = |bond: &RunningBond| bond.agent.next_deadline().is_some_and(|at| at <= now);
        let names: Vec<String> = self.bonds.iter().filter(|(_, bond)| due(bond)).map(|(name, _)| name.clone()).collect();
        for name in names {
            self.bond_event(&name, BondEvent::Deadline, now);
        }
    }

    /// When the next agent wants to act.
    pub(super) fn next_bond_deadline(&self) -> Option<Nanos> {
        self.bonds.values().filter_map(|bond| bond.agent.next_deadline()).min()
    }

    /// Looks at the addresses of hosts on switches with bonds.
    pub(super) fn poll_hosts(&mut self, now: Nanos) {
        let names: Vec<String> = self.bonds.keys().cloned().collect();
        for name in names {
            self.tell_host(&name, now);
            self.set_own_mac(&name);
        }
    }

    /// Makes a member the active one.
    ///
    /// # Errors
    ///
    /// When there is no such bond or member, the mode has no active member, or the member is not up (as Linux
    /// `active_slave`).
    pub fn set_active(&mut self, request: &SetActive, now: Nanos) -> Result<Changed, String> {
        let name = &request.bond;
        let Some(bond) = self.bonds.get(name) else { return Err(format!("no bond {name:?}")) };
        let status = bond.agent.status();
        let mode = status.settings.mode;
        if !mode.uses_primary() && !status.lacp.as_ref().is_some_and(|lacp| lacp.fallback) {
            return Err(format!("bond {name:?}: mode {mode} has no active member to choose"));
        }
        let slot = match &request.member {
            None => None,
            Some(wanted) => match status.members.iter().find(|member| member.name == *wanted) {
                None => return Err(format!("bond {name:?} has no member {wanted:?}")),
                Some(member) if member.link != crate::bond::LinkState::Up => {
                    return Err(format!("bond {name:?}: member {wanted:?} is {}; it must be up", member.link));
                }
                Some(member) => Some(member.slot),
            },
        };
        self.bond_event(name, BondEvent::SetActive(slot), now);
        let active = |controller: &Controller| controller.bonds.get(name).and_then(|bond| bond.agent.view().active);
        let after = active(self);
        let shown = |slot: Option<u8>| {
            let member = slot.and_then(|slot| status.members.iter().find(|member| member.slot == slot));
            member.map_or("none", |member| member.name.as_str())
        };
        let changes = if after == status.active {
            Vec::new()
        } else {
            vec![format!("bond {name:?}: active member {} -> {}", shown(status.active), shown(after))]
        };
        Ok(Changed { generation: self.generation, changes })
    }

    /// Gives members' devices their own addresses back, before the end.
    pub(super) fn leave_all_bonds(&mut self) {
        self.leave_bonds(&Compiled::default(), self.next_second);
    }

    fn bond_event(&mut self, name: &str, event: BondEvent<'_>, now: Nanos) {
        let Some(bond) = self.bonds.get_mut(name) else { return };
        let mut actions = Vec::new();
        bond.agent.handle(now, event, &mut actions);
        self.carry_out(name, actions, now);
    }

    /// Carries actions out in their order, and those that answers to readings bring behind them.
    fn carry_out(&mut self, name: &str, actions: Vec<BondAction>, now: Nanos) {
        let mut queue = VecDeque::from(actions);
        while let Some(action) = queue.pop_front() {
            let mut more = Vec::new();
            match action {
                BondAction::Publish(view) => self.publish_view(name, &view),
                BondAction::BondCarrier(up) => self.set_carrier(name, up, now),
                BondAction::Send { member, octets } => self.send_frame(name, member, octets),
                BondAction::SetMac { member, mac } => self.set_member_mac(name, member, mac),
                BondAction::SetBondMac(mac) => {
                    if let Some(bond) = self.bonds.get_mut(name) {
                        bond.mac = Some(mac);
                    }
                    self.set_own_mac(name);
                }
                BondAction::AssignBuckets(slots) => {
                    if let Some(state) = self.bond_state(name) {
                        for (bucket, slot) in (0..=u8::MAX).zip(slots.iter()) {
                            state.set_bucket(bucket, *slot);
                        }
                    }
                }
                BondAction::Read(reading) => self.read_for(name, reading, &mut more, now),
                BondAction::Log { member, transition, reason } => self.bond_log(name, member, &transition, reason),
                BondAction::SetClient { ip, vlan, member } => {
                    if let Some(state) = self.bond_state(name) {
                        state.set_client(Client { ip: ip.octets(), vlan, member });
                    }
                }
                BondAction::ClearClient { ip } => {
                    if let Some(state) = self.bond_state(name) {
                        state.clear_client(BondState::client_bucket(ip.octets()));
                    }
                }
            }
            queue.extend(more);
        }
    }

    fn bond_state(&self, name: &str) -> Option<&BondState> {
        self.compiled.ports.get(name)?.bond.as_deref()
    }

    fn publish_view(&self, name: &str, view: &BondView) {
        if let Some(state) = self.bond_state(name) {
            state.publish(&dataplane::bond::BondView { active: view.active, tx: view.tx.clone(), rx: view.rx });
        }
    }

    fn send_frame(&mut self, name: &str, slot: u8, octets: Vec<u8>) {
        let Some(member) = self.bonds.get(name).and_then(|bond| bond.members.get(&slot)) else { return };
        if !matches!(self.links.get(&member.port).map(|link| &link.device), Some(DeviceState::Open { .. })) {
            return;
        }
        let (id, port) = (member.id, member.port.clone());
        if let Err(error) = self.workers.inject(id, octets) {
            tracing::warn!("port {port:?}: a frame of the bond was not sent: {error}");
        }
    }

    fn set_member_mac(&mut self, name: &str, slot: u8, mac: MacAddr) {
        let Some(member) = self.bonds.get_mut(name).and_then(|bond| bond.members.get_mut(&slot)) else { return };
        member.mac = Some(mac);
        let port = member.port.clone();
        if let Some(state) = self.bond_state(name) {
            state.set_member_mac(slot, mac);
        }
        let Some(netdev) = self.links.get(&port).and_then(netdev_of_link).cloned() else { return };
        if netdev.mac == Some(mac) {
            return;
        }
        // Frames are received whatever the address of the device is (it is promiscuous), so the bond works without.
        match self.devices.set_mac(&netdev, mac) {
            Ok(()) => tracing::debug!("port {port:?}: MAC address {mac}"),
            Err(error) => tracing::warn!("port {port:?}: set MAC address {mac}: {error} (fail_over_mac active leaves it alone)"),
        }
    }

    /// Tells workers the bond's own address: that of the host behind it, else the bond's.
    fn set_own_mac(&self, name: &str) {
        let Some(bond) = self.bonds.get(name) else { return };
        let host = self.host_port_of(name).and_then(|(_, netdev)| netdev.mac);
        if let (Some(mac), Some(state)) = (host.or(bond.mac), self.bond_state(name)) {
            state.set_mac(mac);
        }
    }

    /// Settings and netdev of the host port on the switch of a port.
    fn host_port_of(&self, name: &str) -> Option<(&PortConfig, &Netdev)> {
        let switch = self.config.port.get(name)?.switch.as_ref()?;
        let on_it = |port: &PortConfig| port.kind == PortKind::Host && port.switch.as_ref() == Some(switch);
        let (host, config) = self.config.port.iter().find(|(_, port)| on_it(port))?;
        Some((config, netdev_of_link(self.links.get(host)?)?))
    }

    fn tell_host(&mut self, name: &str, now: Nanos) {
        let mut list = Vec::new();
        if let Some((host, netdev)) = self.host_port_of(name) {
            let netdev = netdev.clone();
            let wire = |policy: &VlanPolicy| vlan::policy(host).and_then(|host| host.pvid).and_then(|vlan| tag_on(policy, vlan));
            let tag = self.config.port.get(name).and_then(vlan::policy).and_then(|policy| wire(&policy));
            if let (Some(tag), Some(mac)) = (tag, netdev.mac) {
                let addresses = self.devices.addresses(&netdev);
                list.extend(
                    addresses
                        .into_iter()
                        .filter(|(ip, _)| matches!(ip, IpAddr::V4(_)) || !ip.is_multicast())
                        .take(BondEvent::HOST_ADDRESSES_MAX)
                        .map(|(ip, prefix)| HostAddress { tag, mac, ip, prefix }),
                );
            }
        }
        let Some(bond) = self.bonds.get_mut(name).filter(|bond| bond.host != list) else { return };
        bond.host = list.clone();
        self.bond_event(name, BondEvent::Host(&list), now);
    }

    /// Looks something up for an agent and gives it the answer.
    fn read_for(&mut self, name: &str, reading: Reading, actions: &mut Vec<BondAction>, now: Nanos) {
        match reading {
            Reading::Activity => {
                let list = self.activity(name);
                self.answer(name, BondEvent::Activity(&list), actions, now);
            }
            Reading::Learned => {
                let list = self.learned_elsewhere(name);
                self.answer(name, BondEvent::Learned(&list), actions, now);
            }
            Reading::Buckets => {
                let Some(state) = self.compiled.ports.get(name).and_then(|parts| parts.bond.clone()) else { return };
                let Some(bond) = self.bonds.get_mut(name) else { return };
                let mut octets = [0; BUCKETS];
                for ((bucket, octets), before) in (0..=u8::MAX).zip(&mut octets).zip(bond.octets.iter_mut()) {
                    let total = state.bucket_octets(bucket);
                    *octets = total.wrapping_sub(*before);
                    *before = total;
                }
                let total = state.unbalanced_octets();
                let unbalanced = total.wrapping_sub(std::mem::replace(&mut bond.unbalanced, total));
                self.answer(name, BondEvent::Buckets { octets: &octets, unbalanced }, actions, now);
            }
        }
    }

    fn answer(&mut self, name: &str, event: BondEvent<'_>, actions: &mut Vec<BondAction>, now: Nanos) {
        if let Some(bond) = self.bonds.get_mut(name) {
            bond.agent.handle(now, event, actions);
        }
    }

    fn activity(&self, name: &str) -> Vec<MemberActivity> {
        let (Some(bond), Some(state)) = (self.bonds.get(name), self.bond_state(name)) else { return Vec::new() };
        let at = |time: Nanos| Some(time).filter(|time| *time != 0);
        let of = |slot: &u8| MemberActivity { member: *slot, last_rx: at(state.last_rx(*slot)), last_tx: at(state.last_tx(*slot)) };
        bond.members.keys().map(of).collect()
    }

    /// Stations at the other ports of the switch, as the outside sees them through the bond.
    fn learned_elsewhere(&self, name: &str) -> Vec<LearnedAddress> {
        let mut list = Vec::new();
        let Some(parts) = self.compiled.ports.get(name) else { return list };
        let (Some(switch), Some(policy)) = (self.compiled.switches.get(&parts.switch), vlan::policy(&parts.config)) else { return list };
        let mut cursor = Some(0);
        let mut entries = Vec::with_capacity(LIST + 8);
        while let Some(at) = cursor {
            cursor = switch.fdb.list(at, LIST, &mut entries);
            for entry in entries.drain(..).filter(|entry| entry.port != parts.id) {
                if let Some(tag) = tag_on(&policy, entry.vlan) {
                    list.push(LearnedAddress { tag, mac: entry.mac });
                }
            }
        }
        list
    }

    fn bond_log(&mut self, name: &str, slot: Option<u8>, transition: &Transition, reason: String) {
        let Some(bond) = self.bonds.get(name) else { return };
        let named = |slot: u8| bond.members.get(&slot).map_or_else(|| slot.to_string(), |member| member.settings.name.clone());
        let word = match transition {
            // Slots are numbers for us; people know members by name.
            Transition::Active { from, to } => {
                let shown = |slot: &Option<u8>| slot.map_or_else(|| "none".to_owned(), named);
                format!("active member {} -> {}", shown(from), shown(to))
            }
            other => other.to_string(),
        };
        let member = slot.map(named);
        match &member {
            Some(member) => tracing::info!("bond {name:?}: member {member:?}: {word}: {reason}"),
            None => tracing::info!("bond {name:?}: {word}: {reason}"),
        }
        self.event(Event::Bond { bond: name.to_owned(), member, transition: word, reason });
    }
}

/// The tag that frames of a VLAN carry at a port; the outer `None` when they do not leave there.
fn tag_on(policy: &VlanPolicy, vlan: VlanId) -> Option<Option<Tag>> {
    if !policy.members.contains(vlan) {
        return None;
    }
    let bare = vlan == VlanId::NONE || policy.untagged == Some(vlan);
    Some((!bare).then(|| Tag::new(Tpid::Dot1Q, vlan, 0)))
}
