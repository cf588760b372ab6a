//! The ARP monitor: members prove that they work by what they receive (`bond_activebackup_arp_mon`,
//! `bond_loadbalance_arp_mon`, `bond_arp_rcv`, `bond_na_rcv`).
//!
//! Every `arp_interval` the agent first asks what members received and transmitted, judges their links by the answer, and
//! then sends probes: active-backup by the active member, or without one by the members in turn; other modes by all.
//!
//! Unlike the kernel a member whose carrier is gone is down at once, and probes that have no address of the host to come
//! from are valid questions: their answers count under `arp_validate` too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use dataplane::clock::Nanos;
use wire::{MacAddr, Tag};

use super::action::{BondAction, Reading};
use super::agent::{BondAgent, ms};
use super::event::{HostAddress, MemberActivity};
use super::frames;
use super::settings::{ArpAllTargets, BondMode, TARGETS_MAX};
use super::status::LinkState;

/// State of the ARP monitor of a bond.
#[derive(Debug, Default)]
pub(super) struct ArpMonitor {
    /// When the next round is due; `None` before the first.
    next: Option<Nanos>,
    /// Whether a round waits for [`Reading::Activity`].
    reading: bool,
    /// The member that is asked while none is active (`current_arp_slave`).
    asking: Option<u8>,
}

impl ArpMonitor {
    /// Whether this member is being asked while none is active.
    pub(super) fn is_asking(&self, slot: u8) -> bool {
        self.asking == Some(slot)
    }

    pub(super) fn stop_asking(&mut self) {
        self.asking = None;
    }

    pub(super) fn forget(&mut self, slot: u8) {
        if self.asking == Some(slot) {
            self.asking = None;
        }
    }

    pub(super) fn restart(&mut self) {
        *self = ArpMonitor::default();
    }
}

/// Whether `at` lies not longer ago than `count` and a half intervals (`bond_time_in_interval`).
fn within(now: Nanos, at: Option<Nanos>, interval: Nanos, count: u32) -> bool {
    at.is_some_and(|at| now <= at.saturating_add(u64::from(count) * interval + interval / 2))
}

/// Where probes for a target come from.
struct ProbeSource<A> {
    mac: Option<MacAddr>,
    ip: A,
    tag: Option<Tag>,
}

impl BondAgent {
    pub(super) fn arp_next(&self) -> Option<Nanos> {
        (self.settings.arp_interval != 0 && !self.members.is_empty()).then(|| self.arp.next.unwrap_or(0))
    }

    pub(super) fn arp_deadline(&mut self, now: Nanos, out: &mut Vec<BondAction>) {
        if self.arp_next().is_none_or(|next| next > now) {
            return;
        }
        self.arp.next = Some(now + ms(self.settings.arp_interval));
        self.arp.reading = true;
        out.push(BondAction::Read(Reading::Activity));
    }

    pub(super) fn arp_activity(&mut self, now: Nanos, activity: &[MemberActivity], out: &mut Vec<BondAction>) {
        for seen in activity {
            let Some(index) = self.index(seen.member) else { continue };
            let validate = self.settings.arp_validate;
            let counts = !validate.filters() && !validate.validates(self.in_active_role(index));
            let member = &mut self.members[index];
            member.last_tx = member.last_tx.max(seen.last_tx);
            if counts {
                member.last_rx = member.last_rx.max(seen.last_rx);
            }
        }
        if !std::mem::take(&mut self.arp.reading) {
            return;
        }
        if self.settings.mode == BondMode::ActiveBackup {
            self.judge_active_backup(now, out);
            self.select_active(now, out);
            self.probe_active_backup(now, out);
        } else {
            self.judge_and_probe_all(now, out);
        }
    }

    /// Whether a member's frames are accepted, so that `arp_validate` sees it as active.
    fn in_active_role(&self, index: usize) -> bool {
        let slot = self.members[index].slot;
        self.settings.mode != BondMode::ActiveBackup || self.active == Some(slot) || self.arp.is_asking(slot)
    }

    /// When a member last gave a sign of life (`slave_last_rx`).
    fn last_rx(&self, index: usize) -> Option<Nanos> {
        let member = &self.members[index];
        if self.settings.arp_all_targets == ArpAllTargets::Any {
            return member.last_rx;
        }
        self.target_slots().map(|slot| member.target_rx[slot]).min().flatten()
    }

    /// Places of the configured targets in [`Member::target_rx`](super::member::Member::target_rx).
    fn target_slots(&self) -> impl Iterator<Item = usize> + use<> {
        let (ip4, ip6) = (self.settings.arp_ip_target.len(), self.settings.ns_ip6_target.len());
        (0..ip4.min(TARGETS_MAX)).chain(TARGETS_MAX..TARGETS_MAX + ip6.min(TARGETS_MAX))
    }

    fn judge_active_backup(&mut self, now: Nanos, out: &mut Vec<BondAction>) {
        let interval = ms(self.settings.arp_interval);
        let missed_max = u32::from(self.settings.missed_max);
        for index in 0..self.members.len() {
            let last_rx = self.last_rx(index);
            let member = &self.members[index];
            let slot = member.slot;
            if !member.has_carrier() {
                continue;
            }
            if !member.usable() {
                if within(now, last_rx, interval, 1) {
                    self.arp.stop_asking();
                    self.set_link(now, index, LinkState::Up, "answers ARP", out);
                } else if member.link == LinkState::Back {
                    self.set_link(now, index, LinkState::Down, "asked by ARP, no answer", out);
                }
                continue;
            }
            // Time for the answers to come after a member was made active.
            if within(now, Some(member.last_link_up), interval, 2) {
                continue;
            }
            let active = self.active == Some(slot);
            let patience = missed_max + u32::from(!active);
            // While another member is asked, backups may hear nothing.
            let judged = active || self.arp.asking.is_none();
            if judged && !within(now, last_rx, interval, patience) {
                self.set_link(now, index, LinkState::Down, format!("nothing received for {patience} ARP intervals"), out);
            } else if active && !within(now, member.last_tx, interval, missed_max) {
                self.set_link(now, index, LinkState::Down, format!("nothing sent for {missed_max} ARP intervals"), out);
            }
        }
    }

    fn probe_active_backup(&mut self, now: Nanos, out: &mut Vec<BondAction>) {
        if let Some(index) = self.active.and_then(|slot| self.index(slot)) {
            self.arp.stop_asking();
            return self.probe(now, index, out);
        }
        // The next with a carrier behind the one asked before.
        let count = self.members.len();
        let start = self.arp.asking.and_then(|slot| self.index(slot)).map_or(0, |index| index + 1);
        let next = (0..count).map(|step| (start + step) % count).find(|index| self.members[*index].has_carrier());
        let Some(index) = next else { return self.arp.stop_asking() };
        self.arp.asking = Some(self.members[index].slot);
        self.members[index].last_link_up = now;
        self.set_link(now, index, LinkState::Back, "no member is active, asked by ARP", out);
        self.probe(now, index, out);
    }

    fn judge_and_probe_all(&mut self, now: Nanos, out: &mut Vec<BondAction>) {
        let interval = ms(self.settings.arp_interval);
        let missed_max = u32::from(self.settings.missed_max);
        for index in 0..self.members.len() {
            let last_rx = self.last_rx(index);
            let member = &self.members[index];
            if !member.has_carrier() {
                continue;
            }
            let both = |count| within(now, member.last_tx, interval, count) && within(now, last_rx, interval, count);
            if !member.usable() && both(1) {
                self.set_link(now, index, LinkState::Up, "sends, and receives answers", out);
            } else if member.usable() && !both(missed_max) {
                self.set_link(now, index, LinkState::Down, format!("nothing sent or received for {missed_max} ARP intervals"), out);
            }
            self.probe(now, index, out);
        }
    }

    /// Asks every target by one member.
    fn probe(&mut self, now: Nanos, index: usize, out: &mut Vec<BondAction>) {
        let own = self.members[index].mac;
        let member = self.members[index].slot;
        for target in &self.settings.arp_ip_target {
            let source = self.source4(*target);
            let octets = frames::arp_request(source.mac.unwrap_or(own), source.ip, *target, source.tag);
            out.push(BondAction::Send { member, octets });
        }
        for target in &self.settings.ns_ip6_target {
            let source = self.source6(*target);
            let octets = frames::neighbour_solicitation(source.mac.unwrap_or(own), source.ip, *target, source.tag);
            out.push(BondAction::Send { member, octets });
        }
        self.members[index].last_probe = Some(now);
    }

    /// The host's address nearest to a target: that with the longest prefix that holds it.
    fn nearest(&self, target: IpAddr) -> Option<&HostAddress> {
        let in_subnet = |address: &&HostAddress| match (address.ip, target) {
            (IpAddr::V4(ip), IpAddr::V4(target)) => (ip.to_bits() ^ target.to_bits()).leading_zeros() >= u32::from(address.prefix),
            (IpAddr::V6(ip), IpAddr::V6(target)) => (ip.to_bits() ^ target.to_bits()).leading_zeros() >= u32::from(address.prefix),
            _ => false,
        };
        self.host.iter().filter(in_subnet).max_by_key(|address| address.prefix)
    }

    fn source4(&self, target: Ipv4Addr) -> ProbeSource<Ipv4Addr> {
        let nearest = self.nearest(target.into());
        let tag = nearest.and_then(|address| address.tag);
        match (self.settings.arp_source, nearest) {
            (Some(ip), _) => ProbeSource { mac: self.mac_of(ip.into()), ip, tag },
            (None, Some(HostAddress { ip: IpAddr::V4(ip), mac, .. })) => ProbeSource { mac: Some(*mac), ip: *ip, tag },
            _ => ProbeSource { mac: None, ip: Ipv4Addr::UNSPECIFIED, tag },
        }
    }

    fn source6(&self, target: Ipv6Addr) -> ProbeSource<Ipv6Addr> {
        match self.nearest(target.into()) {
            Some(HostAddress { ip: IpAddr::V6(ip), mac, tag, .. }) => ProbeSource { mac: Some(*mac), ip: *ip, tag: *tag },
            _ => ProbeSource { mac: None, ip: Ipv6Addr::UNSPECIFIED, tag: None },
        }
    }

    fn mac_of(&self, ip: IpAddr) -> Option<MacAddr> {
        self.host.iter().find(|address| address.ip == ip).map(|address| address.mac)
    }

    fn is_ours(&self, ip: IpAddr) -> bool {
        self.host.iter().any(|address| address.ip == ip)
    }

    /// An ARP or ND frame arrived at a member.
    pub(super) fn arp_frame(&mut self, now: Nanos, index: usize, octets: &[u8]) {
        if self.settings.arp_interval == 0 {
            return;
        }
        let arp = frames::arp(octets);
        let nd = if arp.is_none() { frames::neighbour_message(octets) } else { None };
        if arp.is_none() && nd.is_none() {
            return;
        }
        if !self.settings.arp_validate.validates(self.in_active_role(index)) {
            self.members[index].last_rx = Some(now);
        }
        // With arp_all_targets, answers of each target are needed, validated or not.
        let target = if let Some(packet) = arp {
            let (sender, target) = (packet.sender_ipv4_addr(), packet.target_ipv4_addr());
            let reply = packet.operation == etherparse::ArpOperation::REPLY;
            match self.role(now, index) {
                Role::Answers => self.valid_arp(sender, target),
                Role::Overhears => self.valid_arp(target, sender),
                Role::AsksElsewhere if reply => self.valid_arp(sender, target),
                Role::AsksElsewhere | Role::Untrusted => None,
            }
        } else {
            nd.and_then(|message| match self.role(now, index) {
                Role::Answers | Role::AsksElsewhere if message.advertisement => self.valid_na(message.source, message.destination),
                Role::Overhears if !message.advertisement => self.valid_ns(message.source, message.target),
                _ => None,
            })
        };
        if let Some(target) = target {
            self.members[index].last_rx = Some(now);
            self.members[index].target_rx[target] = Some(now);
        }
    }

    fn role(&self, now: Nanos, index: usize) -> Role {
        if self.in_active_role(index) {
            return Role::Answers;
        }
        if let Some(active) = self.active.and_then(|slot| self.index(slot)) {
            // A backup sees only the probes of the active member come back; they mean nothing while that one is unproven.
            let proven = self.last_rx(active).is_some_and(|at| at > self.members[active].last_link_up);
            return if proven { Role::Overhears } else { Role::Untrusted };
        }
        let asked = self.member(self.arp.asking);
        let sent = asked.is_some_and(|member| within(now, member.last_probe, ms(self.settings.arp_interval), 1));
        if sent { Role::AsksElsewhere } else { Role::Untrusted }
    }

    /// The place of a target that answered us.
    fn valid_arp(&self, target: Ipv4Addr, ours: Ipv4Addr) -> Option<usize> {
        let place = self.settings.arp_ip_target.iter().position(|known| *known == target)?;
        (ours == self.source4(target).ip || self.is_ours(ours.into())).then_some(place)
    }

    fn valid_na(&self, source: Ipv6Addr, destination: Ipv6Addr) -> Option<usize> {
        let place = self.settings.ns_ip6_target.iter().position(|known| *known == source)?;
        let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        (destination == all_nodes || self.is_ours(destination.into())).then_some(TARGETS_MAX + place)
    }

    fn valid_ns(&self, source: Ipv6Addr, target: Ipv6Addr) -> Option<usize> {
        let place = self.settings.ns_ip6_target.iter().position(|known| *known == target)?;
        (source == self.source6(target).ip || self.is_ours(source.into())).then_some(TARGETS_MAX + place)
    }
}

/// What ARP at a member can prove (`bond_arp_rcv`).
enum Role {
    /// It sends probes: answers of targets.
    Answers,
    /// A backup: probes of the active member that went through the network and came back.
    Overhears,
    /// Another member is being asked: answers that come here.
    AsksElsewhere,
    /// Nothing.
    Untrusted,
}
