//! Transmit balancing by load: balance-tlb, balance-alb (`bond_alb.c`) and balance-xor with the tx balancer of team.
//!
//! Workers hash a flow into one of 256 buckets and count its octets; the agent says which member a bucket leaves by. Where
//! the kernel gives a bucket to the least loaded member with its first frame, here all buckets have a member beforehand,
//! heaviest first, each to the member with the largest gap between speed and load.
//!
//! Learning frames of balance-tlb and balance-alb, which keep upstream switches' tables fresh, are here too.

use dataplane::clock::Nanos;

use super::action::{BondAction, Reading};
use super::agent::{BondAgent, ms};
use super::frames;
use super::settings::BondMode;
use super::status::LinkState;

/// `BOND_TLB_REBALANCE_INTERVAL` in ms.
const TLB_INTERVAL: u32 = 10_000;
/// Speed of a member that tells none, in Mbit/s.
const SPEED_UNKNOWN: u32 = 1000;
const BUCKETS: usize = 256;

/// Buckets and timers of transmit balancing.
#[derive(Debug)]
pub(super) struct TransmitBalance {
    assigned: Box<[Option<u8>; BUCKETS]>,
    /// Octets a second, from the last full interval; 1 more, so that idle buckets are spread as well.
    load: Box<[u64; BUCKETS]>,
    /// Octets a second of the active member outside of all buckets.
    unbalanced: u64,
    next_rebalance: Option<Nanos>,
    /// Whether the reading under way is for a full interval, and not because a member came.
    full: bool,
    next_learning: Option<Nanos>,
}

impl Default for TransmitBalance {
    fn default() -> TransmitBalance {
        TransmitBalance {
            assigned: Box::new([None; BUCKETS]),
            load: Box::new([1; BUCKETS]),
            unbalanced: 0,
            next_rebalance: None,
            full: false,
            next_learning: None,
        }
    }
}

impl BondAgent {
    fn balancing_interval(&self) -> Option<u32> {
        match self.settings.mode {
            BondMode::BalanceTlb => self.settings.tlb_dynamic_lb.then_some(TLB_INTERVAL),
            BondMode::BalanceAlb => Some(TLB_INTERVAL),
            BondMode::BalanceXor => Some(self.settings.tx_balancing_interval).filter(|interval| *interval != 0),
            _ => None,
        }
    }

    pub(super) fn transmit_balance_next(&self) -> Option<Nanos> {
        [self.transmit_balance.next_rebalance, self.transmit_balance.next_learning].into_iter().flatten().min()
    }

    /// Members became usable (`joined`) or unusable.
    pub(super) fn transmit_balance_members(&mut self, now: Nanos, joined: bool, out: &mut Vec<BondAction>) {
        if self.settings.mode.is_lb() {
            self.transmit_balance.next_learning.get_or_insert(now + ms(self.settings.lp_interval.saturating_mul(1000)));
        }
        let Some(interval) = self.balancing_interval() else {
            self.transmit_balance = TransmitBalance { next_learning: self.transmit_balance.next_learning, ..TransmitBalance::default() };
            return;
        };
        let balance = &mut self.transmit_balance;
        let first = balance.assigned.iter().all(Option::is_none);
        balance.next_rebalance.get_or_insert(now + ms(interval));
        self.assign(|assigned| assigned, out);
        if joined && !first {
            out.push(BondAction::Read(Reading::Buckets));
        }
    }

    pub(super) fn transmit_balance_deadline(&mut self, now: Nanos, out: &mut Vec<BondAction>) {
        if self.transmit_balance.next_learning.is_some_and(|next| next <= now) {
            self.transmit_balance.next_learning = None;
            if self.settings.mode.is_lb() && !self.members.is_empty() {
                self.transmit_balance.next_learning = Some(now + ms(self.settings.lp_interval.saturating_mul(1000)));
                for slot in self.members.iter().map(|member| member.slot).collect::<Vec<_>>() {
                    self.send_learning(Some(slot), out);
                }
            }
        }
        if self.transmit_balance.next_rebalance.is_some_and(|next| next <= now) {
            self.transmit_balance.next_rebalance = None;
            if let Some(interval) = self.balancing_interval().filter(|_| !self.members.is_empty()) {
                self.transmit_balance.next_rebalance = Some(now + ms(interval));
                self.transmit_balance.full = true;
                out.push(BondAction::Read(Reading::Buckets));
            }
        }
    }

    pub(super) fn transmit_balance_read(&mut self, _now: Nanos, octets: &[u64; BUCKETS], unbalanced: u64, out: &mut Vec<BondAction>) {
        let Some(interval) = self.balancing_interval() else { return };
        let rate = |octets: u64| octets.saturating_mul(1000) / u64::from(interval);
        let balance = &mut self.transmit_balance;
        if std::mem::take(&mut balance.full) {
            for (load, octets) in balance.load.iter_mut().zip(octets) {
                *load = 1 + rate(*octets);
            }
            balance.unbalanced = rate(unbalanced);
            self.assign(|_| None, out);
        } else {
            // A member came: it gets its share of the buckets that carry nothing; others wait for the end of the interval.
            let idle: Vec<bool> = balance.load.iter().zip(octets).map(|(load, octets)| *load <= 1 && *octets == 0).collect();
            for (load, octets) in balance.load.iter_mut().zip(octets) {
                *load = (*load).max(1 + rate(*octets));
            }
            let mut idle = idle.into_iter();
            self.assign(|assigned| assigned.filter(|_| !idle.next().unwrap_or(false)), out);
        }
    }

    /// Gives every bucket for which `keep` says `None`, or whose member is not usable, to the member with the largest gap.
    fn assign(&mut self, mut keep: impl FnMut(Option<u8>) -> Option<u8>, out: &mut Vec<BondAction>) {
        let view = self.view();
        let mut gaps: Vec<(u8, i128)> = view
            .tx
            .iter()
            .filter_map(|slot| self.member(Some(*slot)))
            .map(|member| (member.slot, i128::from(member.mbps.unwrap_or(SPEED_UNKNOWN)) << 20))
            .collect();
        let bits = |load: u64| i128::from(load) << 3;
        let balance = &mut self.transmit_balance;
        if let Some(gap) = gaps.iter_mut().find(|gap| Some(gap.0) == self.active) {
            gap.1 -= bits(balance.unbalanced);
        }
        let before = balance.assigned.clone();
        let mut open = Vec::with_capacity(BUCKETS);
        for (bucket, assigned) in balance.assigned.iter_mut().enumerate() {
            *assigned = keep(*assigned).filter(|slot| view.tx.contains(slot));
            match gaps.iter_mut().find(|gap| Some(gap.0) == *assigned) {
                Some(gap) => gap.1 -= bits(balance.load[bucket]),
                None => open.push(bucket),
            }
        }
        open.sort_by_key(|bucket| std::cmp::Reverse(balance.load[*bucket]));
        for bucket in open {
            // The first of those with the largest gap.
            let Some(best) = gaps.iter_mut().rev().max_by_key(|gap| gap.1) else { break };
            best.1 -= bits(balance.load[bucket]);
            balance.assigned[bucket] = Some(best.0);
        }
        if balance.assigned != before {
            out.push(BondAction::AssignBuckets(balance.assigned.clone()));
        }
    }

    /// Sends the learning frames of one member: its own address, and on the active one each VLAN of the host
    /// (`alb_send_learning_packets`).
    pub(super) fn send_learning(&self, slot: Option<u8>, out: &mut Vec<BondAction>) {
        let Some(member) = self.member(slot).filter(|member| self.settings.mode.is_lb() && member.link == LinkState::Up) else { return };
        let mut send = |octets| out.push(BondAction::Send { member: member.slot, octets });
        send(frames::learning(member.mac, None));
        if self.active != slot {
            return;
        }
        let mut done = Vec::new();
        for tag in self.host.iter().filter_map(|address| address.tag) {
            if !done.contains(&tag.vid()) {
                done.push(tag.vid());
                send(frames::learning(member.mac, Some(tag)));
            }
        }
    }
}
