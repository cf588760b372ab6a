//! Links under carrier events, with the delays of `bond_miimon_inspect`.
//!
//! The kernel looks at the carrier every `miimon`; here a change arrives as an event and is acted on at once. `updelay` and
//! `downdelay` run from the event on, rounded down to multiples of `miimon` as in the kernel.

use dataplane::clock::Nanos;

use super::action::{BondAction, Transition};
use super::agent::{BondAgent, log, ms};
use super::settings::BondMode;
use super::status::LinkState;

impl BondAgent {
    fn delay(&self, delay: u32) -> Nanos {
        match self.settings.miimon {
            0 => 0,
            miimon => ms(delay / miimon * miimon),
        }
    }

    fn arp_monitored(&self) -> bool {
        self.settings.arp_interval != 0
    }

    pub(super) fn carrier_changed(&mut self, now: Nanos, slot: u8, up: bool, out: &mut Vec<BondAction>) {
        let Some(index) = self.index(slot) else { return };
        let first = self.members[index].carrier.replace(up).is_none();
        let (updelay, downdelay) = (self.delay(self.settings.updelay), self.delay(self.settings.downdelay));
        let arp = self.arp_monitored();
        let member = &mut self.members[index];
        match (member.link, up) {
            (LinkState::Up, false) if downdelay > 0 => {
                member.link_deadline = Some(now + downdelay);
                let reason = format!("carrier lost, down in {} ms", downdelay / 1_000_000);
                self.set_link(now, index, LinkState::Fail, reason, out);
            }
            (LinkState::Up, false) => self.set_link(now, index, LinkState::Down, "carrier lost", out),
            (LinkState::Back, false) => self.set_link(now, index, LinkState::Down, "carrier lost again", out),
            (LinkState::Fail, true) => self.set_link(now, index, LinkState::Up, "carrier back within downdelay", out),
            (LinkState::Down, true) if arp => {
                // Later the ARP monitor decides; a new member is trusted until it has had time to.
                if first {
                    let member = &mut self.members[index];
                    member.last_rx = Some(now);
                    member.last_tx = Some(now);
                    self.set_link(now, index, LinkState::Up, "carrier found, not yet asked by ARP", out);
                }
            }
            (LinkState::Down, true) if updelay > 0 => {
                member.link_deadline = Some(now + updelay);
                let reason = format!("carrier found, up in {} ms", updelay / 1_000_000);
                self.set_link(now, index, LinkState::Back, reason, out);
            }
            (LinkState::Down, true) => self.set_link(now, index, LinkState::Up, "carrier found", out),
            (LinkState::Up | LinkState::Back, true) | (LinkState::Down | LinkState::Fail, false) => {}
        }
    }

    pub(super) fn speed_changed(&mut self, slot: u8, mbps: Option<u32>, full_duplex: bool) {
        let Some(index) = self.index(slot) else { return };
        let member = &mut self.members[index];
        if (member.mbps, member.full_duplex) == (mbps, full_duplex) {
            return;
        }
        member.mbps = mbps;
        member.full_duplex = full_duplex;
        if self.is_primary(index) {
            self.reselect = Some("speed of the primary member changed".into());
        }
    }

    pub(super) fn link_deadlines(&mut self, now: Nanos, out: &mut Vec<BondAction>) {
        for index in 0..self.members.len() {
            if self.members[index].link_deadline.is_none_or(|deadline| deadline > now) {
                continue;
            }
            match self.members[index].link {
                LinkState::Fail => self.set_link(now, index, LinkState::Down, "carrier gone for downdelay", out),
                LinkState::Back => self.set_link(now, index, LinkState::Up, "carrier there for updelay", out),
                LinkState::Up | LinkState::Down => self.members[index].link_deadline = None,
            }
        }
    }

    /// Ends `updelay` early for one member while no other can be used (`ignore_updelay`).
    pub(super) fn hasten_updelay(&mut self, now: Nanos, out: &mut Vec<BondAction>) {
        if self.arp_monitored() || self.members.iter().any(|member| member.usable()) {
            return;
        }
        let waiting = |index: &usize| self.members[*index].link == LinkState::Back;
        let first = (0..self.members.len()).filter(waiting).min_by_key(|index| self.members[*index].link_deadline);
        if let Some(index) = first {
            self.set_link(now, index, LinkState::Up, "no other member is usable, updelay cut short", out);
            self.lacp_run(now, out);
        }
    }

    /// Moves a link to another state, with everything that depends on it.
    pub(super) fn set_link(&mut self, now: Nanos, index: usize, to: LinkState, reason: impl Into<String>, out: &mut Vec<BondAction>) {
        let reason = reason.into();
        let primary = self.is_primary(index);
        let active_prio = self.member(self.active).map(|member| member.settings.prio);
        let member = &mut self.members[index];
        let from = std::mem::replace(&mut member.link, to);
        if from == to {
            return;
        }
        let slot = member.slot;
        log(out, Some(slot), Transition::Link { from, to }, reason.clone());
        let reason = format!("{}: {reason}", member.settings.name);
        member.link_since = now;
        member.link_reason.clone_from(&reason);
        match to {
            LinkState::Up => {
                member.link_deadline = None;
                member.last_link_up = now;
                if primary || active_prio.is_none_or(|prio| member.settings.prio > prio) {
                    self.reselect = Some(reason);
                }
            }
            LinkState::Down => {
                member.link_deadline = None;
                if matches!(from, LinkState::Up | LinkState::Fail) {
                    member.link_failure_count = member.link_failure_count.saturating_add(1);
                }
                if self.active == Some(slot) {
                    self.reselect = Some(reason);
                }
            }
            LinkState::Fail | LinkState::Back => {}
        }
        let member = &mut self.members[index];
        member.lacp.set_enabled(member.usable());
    }

    /// The monitor was exchanged for the other one: goes on from the carriers.
    pub(super) fn change_monitor(&mut self, now: Nanos, out: &mut Vec<BondAction>) {
        self.arp.restart();
        for index in 0..self.members.len() {
            let member = &mut self.members[index];
            member.link_deadline = None;
            (member.last_rx, member.last_tx) = (Some(now), Some(now));
            member.last_link_up = now;
            let to = if member.has_carrier() { LinkState::Up } else { LinkState::Down };
            self.set_link(now, index, to, "link monitor changed", out);
        }
    }

    /// Whether a member is the one that `primary` names, in modes that have one.
    pub(super) fn is_primary(&self, index: usize) -> bool {
        let name = self.members[index].settings.name.as_str();
        self.chooses_active() && self.settings.primary.as_deref() == Some(name)
    }

    /// Whether there is an active member now that `primary` and `prio` choose.
    pub(super) fn chooses_active(&self) -> bool {
        self.settings.mode.uses_primary() || (self.settings.mode == BondMode::Ieee8023ad && self.lacp.fallback)
    }
}
