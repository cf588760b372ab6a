//! Choice of the active member and what becomes of MAC addresses then (`bond_find_best_slave`, `bond_do_fail_over_mac`,
//! `bond_alb_handle_active_change`).

use dataplane::clock::Nanos;

use super::action::{BondAction, Transition};
use super::agent::{BondAgent, log};
use super::settings::{BondMode, FailOverMac, PrimaryReselect};
use super::status::LinkState;

impl BondAgent {
    /// Chooses the active member anew if something asks for it.
    pub(super) fn select_active(&mut self, now: Nanos, out: &mut Vec<BondAction>) {
        if !self.chooses_active() && self.settings.mode != BondMode::BalanceRr {
            self.reselect = None;
            if self.active.is_some() {
                self.change_active(now, None, format!("mode {} has no active member", self.settings.mode), out);
            }
            return;
        }
        let lost = self.active.is_some() && !self.member(self.active).is_some_and(|member| member.usable());
        let missing = self.active.is_none() && self.members.iter().any(|member| member.usable());
        let reason = match self.reselect.take() {
            Some(reason) => reason,
            None if lost => "the active member is not usable".into(),
            None if missing => "a member is usable".into(),
            None => return,
        };
        let best = self.best();
        if best != self.active {
            self.change_active(now, best, reason, out);
        }
    }

    /// The member that should be active.
    fn best(&self) -> Option<u8> {
        let current = self.member(self.active).filter(|member| member.usable());
        // While the current one waits for the end of downdelay, any other that is up may take over.
        let up = || self.members.iter().filter(|member| member.link == LinkState::Up);
        let primary = up().find(|member| self.chooses_active() && self.settings.primary.as_deref() == Some(member.settings.name.as_str()));
        // The first of those with the highest prio; the current one before others of the same.
        let highest = up().map(|member| member.settings.prio).max();
        let by_prio = up()
            .find(|member| Some(member.slot) == self.active && Some(member.settings.prio) == highest)
            .or_else(|| up().find(|member| Some(member.settings.prio) == highest));
        let by_prio = if self.chooses_active() { by_prio } else { current.or_else(|| up().next()) };
        let Some(preferred) = primary.or(by_prio) else {
            let waiting = || self.members.iter().find(|member| member.usable());
            return current.or_else(waiting).map(|member| member.slot);
        };
        let Some(current) = current.filter(|member| member.slot != preferred.slot) else { return Some(preferred.slot) };
        let speed = |mbps: Option<u32>| mbps.unwrap_or(0);
        let better = match self.settings.primary_reselect {
            PrimaryReselect::Always => primary.is_some() || preferred.settings.prio > current.settings.prio,
            PrimaryReselect::Better => (speed(preferred.mbps), preferred.full_duplex) > (speed(current.mbps), current.full_duplex),
            PrimaryReselect::Failure => false,
        };
        Some(if better { preferred.slot } else { current.slot })
    }

    /// `vswitchctl set-active`.
    pub(super) fn set_active(&mut self, now: Nanos, slot: Option<u8>, out: &mut Vec<BondAction>) {
        let refuse = |reason: String, out: &mut Vec<BondAction>| log(out, slot, Transition::Ignored, reason);
        if !self.chooses_active() {
            return refuse(format!("set-active: mode {} has no active member", self.settings.mode), out);
        }
        let Some(slot) = slot else {
            let before = self.active.take();
            let best = self.best();
            self.active = before;
            if best != before {
                self.change_active(now, best, "set-active: chosen anew".into(), out);
            }
            return;
        };
        match self.member(Some(slot)) {
            None => refuse("set-active: no such member".into(), out),
            Some(member) if member.link != LinkState::Up => refuse(format!("set-active: its link is {}", member.link), out),
            Some(_) if self.active == Some(slot) => {}
            Some(_) => self.change_active(now, Some(slot), "set-active".into(), out),
        }
    }

    /// Whether a member can be made active by hand.
    ///
    /// # Errors
    ///
    /// Why not.
    pub fn check_set_active(&self, slot: u8) -> Result<(), String> {
        if !self.chooses_active() {
            return Err(format!("mode {} has no active member", self.settings.mode));
        }
        match self.member(Some(slot)) {
            None => Err("no such member".into()),
            Some(member) if member.link != LinkState::Up => Err(format!("its link is {}", member.link)),
            Some(_) => Ok(()),
        }
    }

    fn change_active(&mut self, now: Nanos, to: Option<u8>, reason: String, out: &mut Vec<BondAction>) {
        let from = std::mem::replace(&mut self.active, to);
        self.active_since = now;
        if from.is_some() && to.is_some() {
            self.failovers += 1;
        }
        self.arp.stop_asking();
        if let Some(index) = to.and_then(|slot| self.index(slot)) {
            self.members[index].last_link_up = now;
        }
        // Workers first: each millisecond before is lost frames.
        self.publish(now, out);
        log(out, to, Transition::Active { from, to }, reason.clone());
        self.active_reason = reason;
        if self.settings.mode == BondMode::BalanceRr {
            if to.is_some() {
                self.start_igmp(now);
            }
            return;
        }
        self.move_macs(now, to, out);
        if to.is_some() {
            self.start_notify(now, out);
            self.start_igmp(now);
        }
    }

    /// Gives the active member the address that it must have, or the bond that of the active member.
    pub(super) fn move_macs(&mut self, now: Nanos, to: Option<u8>, out: &mut Vec<BondAction>) {
        let Some(to) = to.and_then(|slot| self.index(slot)) else { return };
        let Some(mac) = self.mac else { return };
        if self.settings.mode.is_lb() || self.settings.fail_over_mac == FailOverMac::Follow {
            if self.members[to].mac == mac {
                return;
            }
            // Who has the bond's address gets that of the new one in exchange.
            let holder = self.members.iter().position(|member| member.mac == mac);
            let own = std::mem::replace(&mut self.members[to].mac, mac);
            if let Some(holder) = holder {
                self.members[holder].mac = own;
                let member = self.members[holder].slot;
                out.push(BondAction::SetMac { member, mac: own });
                self.receive_balance_mac(now, member);
            }
            let member = self.members[to].slot;
            out.push(BondAction::SetMac { member, mac });
            self.receive_balance_mac(now, member);
        } else if self.settings.fail_over_mac == FailOverMac::Active && self.members[to].mac != mac {
            let mac = self.members[to].mac;
            self.mac = Some(mac);
            out.push(BondAction::SetBondMac(mac));
            log(out, Some(self.members[to].slot), Transition::Mac(mac), "fail_over_mac active");
        }
    }
}
