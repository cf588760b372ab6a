//! Link aggregation (IEEE 802.1AX-2014 clause 6, `bond_3ad.c`): which ports belong together, which aggregator carries
//! frames, and what happens without a partner.
//!
//! As in the kernel each port that cannot join others has an aggregator of its own, and the active aggregator carries
//! frames even when nobody speaks LACP: one link is used. With `lacp_fallback` the bond is an active-backup bond then,
//! with `primary`, `prio` and notifications, until the first link distributes.

mod port;

use dataplane::bond::MEMBERS_MAX;
use dataplane::clock::Nanos;
use wire::{Lacpdu, MacAddr, Marker, slow_protocols};

use super::action::{BondAction, Transition};
use super::agent::{BondAgent, log};
use super::frames;
use super::member::Member;
use super::settings::{AdSelect, BondMode};
use super::status::{LacpStatus, MuxState};
pub(super) use port::Port;

/// Times [`BondAgent::lacp_run`] lets the machines act on each other; each pass moves a port forward or is the last.
const PASSES_MAX: usize = 16;

/// LACP of a bond as a whole.
#[derive(Debug, Default)]
pub(super) struct Lacp {
    /// The aggregator that carries frames.
    active: Option<u8>,
    /// Whether the bond behaves as active-backup for want of a partner.
    pub(super) fallback: bool,
}

/// One aggregator: what its ports have in common and what they amount to.
#[derive(Clone, Copy, Debug)]
struct Aggregator {
    id: u8,
    individual: bool,
    partner: Option<(u16, MacAddr, u16)>,
    actor_key: u16,
    /// Ports whose link is up.
    enabled: u32,
    bandwidth: u64,
    /// All ports may attach.
    ready: bool,
}

impl Aggregator {
    /// Whether this is a better choice than `best` (`ad_agg_selection_test`).
    fn beats(&self, best: &Aggregator, select: AdSelect) -> bool {
        let by_bandwidth = (u64::from(self.enabled > 0), self.bandwidth) > (u64::from(best.enabled > 0), best.bandwidth);
        if self.individual != best.individual {
            return best.individual;
        }
        if self.partner.is_some() != best.partner.is_some() {
            return self.partner.is_some();
        }
        match select {
            AdSelect::Count if self.enabled != best.enabled => self.enabled > best.enabled,
            AdSelect::Count | AdSelect::Bandwidth | AdSelect::Stable => by_bandwidth,
        }
    }
}

impl BondAgent {
    fn runs_lacp(&self) -> bool {
        self.settings.mode == BondMode::Ieee8023ad
    }

    /// Settings changed: the ports say other things about themselves.
    pub(super) fn lacp_reconfigured(&mut self) {
        for member in &mut self.members {
            member.lacp.configure(&self.settings);
        }
    }

    pub(super) fn lacp_next(&self) -> Option<Nanos> {
        if !self.runs_lacp() {
            return None;
        }
        self.members.iter().filter_map(|member| member.lacp.next()).min()
    }

    /// A frame of a slow protocol arrived.
    pub(super) fn slow_frame(&mut self, now: Nanos, index: usize, pdu: &[u8], out: &mut Vec<BondAction>) {
        if !self.runs_lacp() {
            return;
        }
        let slot = self.members[index].slot;
        let port = &mut self.members[index].lacp;
        if pdu.first() == Some(&slow_protocols::SUBTYPE_MARKER) {
            match Marker::parse(pdu) {
                Ok(marker) => {
                    if let Some(response) = port.marker(now, marker) {
                        let source = self.members[index].settings.mac;
                        out.push(BondAction::Send { member: slot, octets: frames::slow(source, &response.emit()) });
                    }
                }
                Err(error) => {
                    port.marker_unknown += 1;
                    ignored(port.marker_unknown, slot, format!("marker: {error}"), out);
                }
            }
            return;
        }
        match Lacpdu::parse(pdu) {
            Ok(lacpdu) if lacpdu.actor.system == port.actor.system => {
                port.lacpdu_unknown += 1;
                ignored(port.lacpdu_unknown, slot, "LACPDU of our own system: the link is a loop".into(), out);
            }
            Ok(_) if !port.admits(now) => {
                port.lacpdu_unknown += 1;
                ignored(port.lacpdu_unknown, slot, "more than 10 LACPDUs a second".into(), out);
            }
            Ok(lacpdu) => {
                let mut changes = Vec::new();
                port.receive(now, &lacpdu, &mut changes);
                tell(slot, changes, out);
            }
            Err(error) => {
                port.lacpdu_unknown += 1;
                ignored(port.lacpdu_unknown, slot, format!("LACPDU: {error}"), out);
            }
        }
    }

    /// Runs all machines until nothing moves any more.
    pub(super) fn lacp_run(&mut self, now: Nanos, out: &mut Vec<BondAction>) {
        if !self.runs_lacp() {
            return;
        }
        let system = self.settings.ad_actor_system.or(self.mac).unwrap_or(MacAddr::ZERO);
        let (priority, user_key) = (self.settings.ad_actor_sys_prio, self.settings.ad_user_port_key);
        for member in &mut self.members {
            let key = user_key << 6 | speed_code(member.mbps) << 1 | u16::from(member.full_duplex);
            member.lacp.set_identity(priority, system, key, member.full_duplex);
        }
        for _ in 0..PASSES_MAX {
            let mut moved = false;
            for member in &mut self.members {
                let mut changes = Vec::new();
                member.lacp.run_receive(now, &mut changes);
                moved |= !changes.is_empty();
                tell(member.slot, changes, out);
            }
            for index in 0..self.members.len() {
                moved |= self.choose_aggregator(index, out);
            }
            moved |= self.choose_active_aggregator(out);
            let aggregators = self.aggregators();
            for member in &mut self.members {
                let own = aggregators.iter().find(|aggregator| Some(aggregator.id) == member.lacp.aggregator);
                let active = own.is_some_and(|aggregator| self.lacp.active == Some(aggregator.id));
                let ready = own.is_some_and(|aggregator| aggregator.ready);
                let ready_before = member.lacp.ready_n;
                let mut changes = Vec::new();
                moved |= member.lacp.run_mux(now, active, ready, &mut changes);
                moved |= ready_before != member.lacp.ready_n;
                tell(member.slot, changes, out);
            }
            if !moved {
                break;
            }
        }
        self.choose_fallback(out);
        for member in &mut self.members {
            let mut changes = Vec::new();
            let pdu = member.lacp.run_transmit(now, &mut changes);
            tell(member.slot, changes, out);
            if let Some(pdu) = pdu {
                out.push(BondAction::Send { member: member.slot, octets: frames::slow(member.settings.mac, &pdu.emit()) });
            }
        }
    }

    /// Puts a port into an aggregator, when it has none or must leave it (`ad_port_selection_logic`).
    fn choose_aggregator(&mut self, index: usize, out: &mut Vec<BondAction>) -> bool {
        let port = &self.members[index].lacp;
        if port.selected && port.enabled {
            return false;
        }
        let from = port.aggregator;
        // The mux lets go of the old one first.
        if port.mux != MuxState::Detached {
            return false;
        }
        let to = if port.enabled { self.aggregator_for(index) } else { None };
        let port = &mut self.members[index].lacp;
        port.aggregator = to;
        port.selected = to.is_some();
        if from != to {
            let reason = match (to, port.has_partner()) {
                (None, _) => "link is down".to_owned(),
                (Some(_), true) => format!("partner {} key {}", port.partner.system, port.partner.key),
                (Some(_), false) => "no partner".to_owned(),
            };
            log(out, Some(self.members[index].slot), Transition::Aggregator { from, to }, reason);
        }
        to.is_some() || from != to
    }

    fn aggregator_for(&self, index: usize) -> Option<u8> {
        let port = &self.members[index].lacp;
        let others = || self.members.iter().enumerate().filter(|(other, _)| *other != index).map(|(_, member)| &member.lacp);
        let same = |other: &&Port| {
            let (a, b) = (&port.partner, &other.partner);
            (a.system_priority, a.system, a.key, port.actor.key) == (b.system_priority, b.system, b.key, other.actor.key)
        };
        if port.has_partner() && !port.is_individual() {
            let joined = others().find(|other| other.aggregator.is_some() && other.selected && !other.is_individual() && same(other));
            if let Some(other) = joined {
                return other.aggregator;
            }
        }
        let taken = |id: &u8| others().any(|other| other.aggregator == Some(*id));
        let own = self.members[index].slot + 1;
        std::iter::once(own).chain(1..=MEMBERS_MAX as u8).find(|id| !taken(id))
    }

    fn aggregators(&self) -> Vec<Aggregator> {
        let mut aggregators: Vec<Aggregator> = Vec::new();
        for member in &self.members {
            let port = &member.lacp;
            let Some(id) = port.aggregator else { continue };
            let at = aggregators.iter().position(|aggregator| aggregator.id == id).unwrap_or_else(|| {
                aggregators.push(Aggregator {
                    id,
                    individual: port.is_individual(),
                    partner: port.has_partner().then_some((port.partner.system_priority, port.partner.system, port.partner.key)),
                    actor_key: port.actor.key,
                    enabled: 0,
                    bandwidth: 0,
                    ready: true,
                });
                aggregators.len() - 1
            });
            let aggregator = &mut aggregators[at];
            if port.enabled {
                aggregator.enabled += 1;
                aggregator.bandwidth += u64::from(member.mbps.unwrap_or(1).max(1));
            }
            aggregator.ready &= port.ready_n;
        }
        aggregators
    }

    /// Chooses the aggregator that carries frames (`ad_agg_selection_logic`).
    fn choose_active_aggregator(&mut self, out: &mut Vec<BondAction>) -> bool {
        let aggregators = self.aggregators();
        let select = self.settings.ad_select;
        let active = aggregators.iter().find(|aggregator| self.lacp.active == Some(aggregator.id));
        let mut best = active.filter(|active| active.enabled > 0);
        for aggregator in aggregators.iter().filter(|aggregator| aggregator.enabled > 0) {
            if best.is_none_or(|best| aggregator.beats(best, select)) {
                best = Some(aggregator);
            }
        }
        if let (AdSelect::Stable, Some(active)) = (select, active.filter(|active| active.enabled > 0)) {
            // It stays as long as it has a link, unless only another one has a partner.
            let partner_only_elsewhere = active.partner.is_none() && best.is_some_and(|best| best.partner.is_some());
            if !partner_only_elsewhere {
                best = Some(active);
            }
        }
        let (from, to) = (self.lacp.active, best.map(|best| best.id));
        if from == to {
            return false;
        }
        self.lacp.active = to;
        let reason = best.map_or("no link is up".to_owned(), |best| {
            let partner = best.partner.map_or("no partner".to_owned(), |(_, system, _)| format!("partner {system}"));
            format!("ad_select {select}: {} links, {} Mbit/s, {partner}", best.enabled, best.bandwidth)
        });
        log(out, None, Transition::ActiveAggregator { from, to }, reason);
        true
    }

    fn choose_fallback(&mut self, out: &mut Vec<BondAction>) {
        let distributing = self.members.iter().any(|member| member.lacp.mux == MuxState::CollectingDistributing);
        let partner = self.members.iter().any(|member| member.lacp.enabled && member.lacp.has_partner());
        // Begun without any partner, it goes on until a link distributes, so that there is no gap.
        let fallback = self.settings.lacp_fallback && !distributing && (self.lacp.fallback || !partner);
        if fallback != self.lacp.fallback {
            self.lacp.fallback = fallback;
            if fallback {
                self.reselect = Some("lacp_fallback: no partner".into());
            }
            log(out, None, Transition::Fallback(fallback), if fallback { "no partner" } else { "a partner is in sync" });
        }
    }

    /// Whether a member carries frames by LACP.
    pub(super) fn lacp_carries(&self, member: &Member) -> bool {
        let port = &member.lacp;
        let active = port.aggregator.is_some() && port.aggregator == self.lacp.active;
        active && member.usable() && (port.mux == MuxState::CollectingDistributing || !port.has_partner())
    }

    pub(super) fn lacp_status(&self) -> Option<LacpStatus> {
        if !self.runs_lacp() {
            return None;
        }
        let active = self.aggregators().into_iter().find(|aggregator| self.lacp.active == Some(aggregator.id));
        Some(LacpStatus {
            active_aggregator: self.lacp.active,
            ports: active.map_or(0, |active| active.enabled as u8),
            actor_key: active.map_or(0, |active| active.actor_key),
            partner_key: active.and_then(|active| active.partner).map_or(0, |(_, _, key)| key),
            partner_mac: active.and_then(|active| active.partner).map_or(MacAddr::ZERO, |(_, system, _)| system),
            fallback: self.lacp.fallback,
        })
    }
}

fn tell(slot: u8, changes: Vec<port::Change>, out: &mut Vec<BondAction>) {
    for (transition, reason) in changes {
        log(out, Some(slot), transition, reason);
    }
}

/// Tells of an ignored frame, less and less often the more there are: at powers of two.
fn ignored(count: u64, slot: u8, reason: String, out: &mut Vec<BondAction>) {
    if count.is_power_of_two() {
        log(out, Some(slot), Transition::Ignored, format!("{reason} ({count} so far)"));
    }
}

/// The speed's place in the key (`AD_LINK_SPEED_*`); 0 when unknown.
fn speed_code(mbps: Option<u32>) -> u16 {
    match mbps {
        Some(1) => 1,
        Some(10) => 2,
        Some(100) => 3,
        Some(1000) => 4,
        Some(2500) => 5,
        Some(5000) => 6,
        Some(10_000) => 7,
        Some(14_000) => 8,
        Some(20_000) => 9,
        Some(25_000) => 10,
        Some(40_000) => 11,
        Some(50_000) => 12,
        Some(56_000) => 13,
        Some(100_000) => 14,
        Some(200_000) => 15,
        Some(400_000) => 16,
        Some(800_000) => 17,
        _ => 0,
    }
}
