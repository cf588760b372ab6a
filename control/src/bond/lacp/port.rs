//! The LACP machines of one port (IEEE 802.1AX-2014 clause 6.4, `bond_3ad.c`): receive, periodic transmission, mux with
//! coupled control, churn detection, transmission, and the responder to markers.
//!
//! A timer is the moment it ends; [`Port::next`] is the earliest. Which aggregator a port belongs to is decided by
//! [`super`], which sees all ports.

use dataplane::clock::Nanos;
use wire::lacp::{ACTIVITY, AGGREGATION, COLLECTING, DEFAULTED, DISTRIBUTING, EXPIRED, Lacpdu, PortInfo, SYNCHRONIZATION, TIMEOUT};
use wire::{MacAddr, Marker};

use crate::bond::action::Transition;
use crate::bond::settings::{BondSettings, LacpRate};
use crate::bond::status::{Churn, MemberLacp, MuxState, ReceiveState};

const SECOND: Nanos = 1_000_000_000;
const FAST_PERIODIC: Nanos = SECOND;
const SLOW_PERIODIC: Nanos = 30 * SECOND;
const SHORT_TIMEOUT: Nanos = 3 * SECOND;
const LONG_TIMEOUT: Nanos = 90 * SECOND;
const AGGREGATE_WAIT: Nanos = 2 * SECOND;
const CHURN_DETECTION: Nanos = 60 * SECOND;
/// LACPDUs that may be sent within [`FAST_PERIODIC`] (clause 6.4.16).
const TX_MAX: usize = 3;
/// LACPDUs, and markers, taken per second: a slow protocol sends no more (IEEE 802.3 clause 57A.2).
const RX_MAX: u32 = 10;
/// Priority of every port, as in the kernel.
const PORT_PRIORITY: u16 = 255;

/// A transition and its reason.
pub(super) type Change = (Transition, String);

/// How many frames of a kind arrived within a second.
#[derive(Debug, Default)]
struct Window {
    since: Nanos,
    count: u32,
}

impl Window {
    /// Whether one more is not too many.
    fn admits(&mut self, now: Nanos) -> bool {
        if now >= self.since.saturating_add(SECOND) {
            *self = Window { since: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
        self.count <= RX_MAX
    }
}

/// Churn detection of one end.
#[derive(Debug)]
struct ChurnMachine {
    state: Churn,
    deadline: Option<Nanos>,
    count: u32,
}

impl ChurnMachine {
    const NEW: ChurnMachine = ChurnMachine { state: Churn::Monitoring, deadline: None, count: 0 };

    /// Gives the new state when it is another.
    fn step(&mut self, now: Nanos, enabled: bool, in_sync: bool) -> Option<Churn> {
        let before = self.state;
        if !enabled {
            (self.state, self.deadline) = (Churn::Monitoring, None);
        } else if in_sync {
            (self.state, self.deadline) = (Churn::None, None);
        } else if self.state == Churn::None || (self.state == Churn::Monitoring && self.deadline.is_none()) {
            (self.state, self.deadline) = (Churn::Monitoring, Some(now + CHURN_DETECTION));
        } else if self.deadline.is_some_and(|deadline| deadline <= now) {
            (self.state, self.deadline) = (Churn::Churned, None);
            self.count = self.count.saturating_add(1);
        }
        (self.state != before).then_some(self.state)
    }
}

/// LACP of one member.
#[derive(Debug)]
pub(in crate::bond) struct Port {
    /// Whether the link is up.
    pub(in crate::bond) enabled: bool,
    /// Whether the link is full duplex, so that LACP runs.
    lacp: bool,
    pub(super) actor: PortInfo,
    pub(super) partner: PortInfo,
    pub(super) receive: ReceiveState,
    current_while: Option<Nanos>,
    periodic: Option<Nanos>,
    periodic_fast: bool,
    pub(super) mux: MuxState,
    wait_while: Option<Nanos>,
    /// Has waited long enough to attach (Ready_N).
    pub(super) ready_n: bool,
    pub(super) selected: bool,
    pub(super) aggregator: Option<u8>,
    need_to_transmit: bool,
    /// When the last LACPDUs were sent, oldest first.
    sent: [Option<Nanos>; TX_MAX],
    lacpdus: Window,
    markers: Window,
    actor_churn: ChurnMachine,
    partner_churn: ChurnMachine,
    lacpdu_tx: u64,
    pub(super) lacpdu_rx: u64,
    marker_rx: u64,
    marker_tx: u64,
    pub(super) lacpdu_unknown: u64,
    pub(super) marker_unknown: u64,
}

/// What stands for a partner that was never heard (`partner_admin`).
fn no_partner() -> PortInfo {
    PortInfo { system_priority: 65535, system: MacAddr::ZERO, key: 1, port_priority: PORT_PRIORITY, port: 1, state: 0 }
}

impl Port {
    pub(in crate::bond) fn new(slot: u8, settings: &BondSettings) -> Port {
        let mut port = Port {
            enabled: false,
            lacp: true,
            actor: PortInfo { port_priority: PORT_PRIORITY, port: u16::from(slot) + 1, ..PortInfo::default() },
            partner: no_partner(),
            receive: ReceiveState::PortDisabled,
            current_while: None,
            periodic: None,
            periodic_fast: false,
            mux: MuxState::Detached,
            wait_while: None,
            ready_n: false,
            selected: false,
            aggregator: None,
            need_to_transmit: false,
            sent: [None; TX_MAX],
            lacpdus: Window::default(),
            markers: Window::default(),
            actor_churn: ChurnMachine::NEW,
            partner_churn: ChurnMachine::NEW,
            lacpdu_tx: 0,
            lacpdu_rx: 0,
            marker_rx: 0,
            marker_tx: 0,
            lacpdu_unknown: 0,
            marker_unknown: 0,
        };
        port.actor.set(DEFAULTED, true);
        port.configure(settings);
        port
    }

    /// Takes over `lacp_rate` and `lacp_active`.
    pub(super) fn configure(&mut self, settings: &BondSettings) {
        let before = self.actor.state;
        self.actor.set(ACTIVITY, settings.lacp_active);
        self.actor.set(TIMEOUT, settings.lacp_rate == LacpRate::Fast);
        self.need_to_transmit |= before != self.actor.state;
    }

    /// The link came up or went down.
    pub(in crate::bond) fn set_enabled(&mut self, enabled: bool) {
        self.enabled = enabled;
    }

    /// What the actor says of its system and link. Another key or system needs another aggregator.
    pub(super) fn set_identity(&mut self, system_priority: u16, system: MacAddr, key: u16, full_duplex: bool) {
        let actor = &mut self.actor;
        if (actor.system_priority, actor.system, actor.key, self.lacp) != (system_priority, system, key, full_duplex) {
            (actor.system_priority, actor.system, actor.key) = (system_priority, system, key);
            actor.set(AGGREGATION, full_duplex);
            self.lacp = full_duplex;
            self.selected = false;
            self.need_to_transmit = true;
        }
    }

    /// Whether a partner was heard and not given up.
    pub(super) fn has_partner(&self) -> bool {
        !self.partner.system.is_zero()
    }

    /// Whether this link can only be alone.
    pub(super) fn is_individual(&self) -> bool {
        !self.lacp || (self.has_partner() && !self.partner.has(AGGREGATION))
    }

    /// Frames of the slow protocols are not sent while neither end is active (clause 6.4.13).
    fn transmits(&self) -> bool {
        self.enabled && self.lacp && (self.actor.has(ACTIVITY) || self.partner.has(ACTIVITY))
    }

    /// When [`Port::run`] must be called again though nothing happens.
    pub(super) fn next(&self) -> Option<Nanos> {
        let send = if self.need_to_transmit && self.transmits() { Some(self.may_send_at()) } else { None };
        let periodic = self.periodic.filter(|_| self.transmits());
        [self.current_while, periodic, self.wait_while, self.actor_churn.deadline, self.partner_churn.deadline, send]
            .into_iter()
            .flatten()
            .min()
    }

    fn set_receive(&mut self, to: ReceiveState, reason: &str, changes: &mut Vec<Change>) {
        let from = std::mem::replace(&mut self.receive, to);
        if from != to {
            changes.push((Transition::Receive { from, to }, reason.to_owned()));
        }
    }

    /// Runs the receive machine as far as link and timers go.
    pub(super) fn run_receive(&mut self, now: Nanos, changes: &mut Vec<Change>) {
        let timeout = self.current_while.is_some_and(|deadline| deadline <= now);
        match self.receive {
            ReceiveState::PortDisabled if self.enabled && self.lacp => self.expire(now, "link is up", changes),
            ReceiveState::PortDisabled if self.enabled => self.disable_lacp(changes),
            ReceiveState::PortDisabled => {}
            _ if !self.enabled => {
                self.current_while = None;
                self.partner.set(SYNCHRONIZATION, false);
                self.selected = false;
                self.set_receive(ReceiveState::PortDisabled, "link is down", changes);
            }
            ReceiveState::LacpDisabled if self.lacp => self.expire(now, "full duplex", changes),
            ReceiveState::LacpDisabled => {}
            _ if !self.lacp => self.disable_lacp(changes),
            ReceiveState::Current if timeout => self.expire(now, "partner is silent", changes),
            ReceiveState::Expired if timeout => {
                self.current_while = None;
                self.default_partner();
                self.set_receive(ReceiveState::Defaulted, "no partner", changes);
            }
            ReceiveState::Current | ReceiveState::Expired | ReceiveState::Defaulted => {}
        }
    }

    fn expire(&mut self, now: Nanos, reason: &str, changes: &mut Vec<Change>) {
        self.partner.set(SYNCHRONIZATION, false);
        self.partner.set(TIMEOUT, true);
        self.actor.set(EXPIRED, true);
        self.current_while = Some(now + SHORT_TIMEOUT);
        self.set_receive(ReceiveState::Expired, reason, changes);
    }

    fn default_partner(&mut self) {
        // update_Default_Selected
        if self.partner_identity() != identity(&no_partner()) {
            self.selected = false;
        }
        self.partner = no_partner();
        self.actor.set(DEFAULTED, true);
        self.actor.set(EXPIRED, false);
    }

    fn disable_lacp(&mut self, changes: &mut Vec<Change>) {
        self.current_while = None;
        self.selected = false;
        self.default_partner();
        self.set_receive(ReceiveState::LacpDisabled, "half duplex", changes);
    }

    fn partner_identity(&self) -> (u16, MacAddr, u16, u16, u16, u8) {
        identity(&self.partner)
    }

    /// Whether one more LACPDU is not too many.
    pub(super) fn admits(&mut self, now: Nanos) -> bool {
        self.lacpdus.admits(now)
    }

    /// A LACPDU of a partner arrived.
    pub(super) fn receive(&mut self, now: Nanos, pdu: &Lacpdu, changes: &mut Vec<Change>) {
        self.lacpdu_rx += 1;
        if !self.enabled || !self.lacp {
            return;
        }
        // The link came up with this very frame.
        self.run_receive(now, changes);
        // update_Selected
        if self.partner_identity() != identity(&pdu.actor) {
            self.selected = false;
        }
        // update_NTT: the partner does not know us as we are now.
        const KNOWN: u8 = ACTIVITY | TIMEOUT | SYNCHRONIZATION | AGGREGATION;
        let about_us = &pdu.partner;
        let names_us = identity(about_us) == identity(&self.actor);
        self.need_to_transmit |= !names_us || (about_us.state ^ self.actor.state) & KNOWN != 0;
        // record_PDU
        let matched = names_us || !pdu.actor.has(AGGREGATION);
        self.partner = pdu.actor;
        self.partner.set(SYNCHRONIZATION, matched && pdu.actor.has(SYNCHRONIZATION));
        self.actor.set(DEFAULTED | EXPIRED, false);
        self.current_while = Some(now + if self.actor.has(TIMEOUT) { SHORT_TIMEOUT } else { LONG_TIMEOUT });
        self.set_receive(ReceiveState::Current, "LACPDU received", changes);
    }

    /// Runs the mux machine one step. `active` says whether the port's aggregator carries frames, `ready` whether all of
    /// its ports may attach.
    pub(super) fn run_mux(&mut self, now: Nanos, active: bool, ready: bool, changes: &mut Vec<Change>) -> bool {
        let selected = self.selected && self.enabled;
        let partner_in_sync = self.partner.has(SYNCHRONIZATION);
        let (to, reason) = match self.mux {
            MuxState::Detached if selected => (MuxState::Waiting, "aggregator selected"),
            MuxState::Waiting | MuxState::Attached if !selected => (MuxState::Detached, "aggregator no longer selected"),
            MuxState::Waiting if self.ready_n && ready => (MuxState::Attached, "waited for the other links"),
            MuxState::Attached if active && partner_in_sync => (MuxState::CollectingDistributing, "partner is in sync"),
            MuxState::CollectingDistributing if !selected => (MuxState::Attached, "aggregator no longer selected"),
            MuxState::CollectingDistributing if !partner_in_sync => (MuxState::Attached, "partner is not in sync"),
            MuxState::CollectingDistributing if !active => (MuxState::Attached, "another aggregator carries frames"),
            state => (state, ""),
        };
        let before = self.actor.state;
        let from = std::mem::replace(&mut self.mux, to);
        match to {
            MuxState::Detached => {
                (self.wait_while, self.ready_n) = (None, false);
                self.actor.set(SYNCHRONIZATION | COLLECTING | DISTRIBUTING, false);
            }
            MuxState::Waiting => {
                if from != to {
                    self.wait_while = Some(now + AGGREGATE_WAIT);
                } else if self.wait_while.is_some_and(|deadline| deadline <= now) {
                    (self.wait_while, self.ready_n) = (None, true);
                }
            }
            MuxState::Attached => {
                self.actor.set(SYNCHRONIZATION, active);
                self.actor.set(COLLECTING | DISTRIBUTING, false);
            }
            MuxState::CollectingDistributing => self.actor.set(SYNCHRONIZATION | COLLECTING | DISTRIBUTING, true),
        }
        self.need_to_transmit |= before != self.actor.state;
        if from != to {
            changes.push((Transition::Mux { from, to }, reason.to_owned()));
        }
        from != to
    }

    /// Runs the periodic, churn and transmit machines; gives a LACPDU when one must be sent.
    pub(super) fn run_transmit(&mut self, now: Nanos, changes: &mut Vec<Change>) -> Option<Lacpdu> {
        let watched = self.enabled && self.lacp;
        if let Some(churn) = self.actor_churn.step(now, watched, self.actor.has(SYNCHRONIZATION)) {
            changes.push((Transition::ActorChurn(churn), churn_reason(churn).into()));
        }
        if let Some(churn) = self.partner_churn.step(now, watched, self.partner.has(SYNCHRONIZATION)) {
            changes.push((Transition::PartnerChurn(churn), churn_reason(churn).into()));
        }
        if !self.transmits() {
            self.periodic = None;
            self.need_to_transmit = false;
            return None;
        }
        let fast = self.partner.has(TIMEOUT);
        let interval = if fast { FAST_PERIODIC } else { SLOW_PERIODIC };
        let due = match self.periodic {
            None => true,
            Some(_) if fast && !self.periodic_fast => true,
            Some(at) => at <= now,
        };
        if due || fast != self.periodic_fast {
            self.periodic = Some(now + interval);
            self.periodic_fast = fast;
        }
        self.need_to_transmit |= due;
        if !self.need_to_transmit || self.may_send_at() > now {
            return None;
        }
        self.need_to_transmit = false;
        self.sent.rotate_left(1);
        self.sent[TX_MAX - 1] = Some(now);
        self.lacpdu_tx += 1;
        Some(Lacpdu { actor: self.actor, partner: self.partner, collector_max_delay: 0 })
    }

    fn may_send_at(&self) -> Nanos {
        self.sent[0].map_or(0, |oldest| oldest + FAST_PERIODIC)
    }

    /// A marker arrived; gives the response to send.
    pub(super) fn marker(&mut self, now: Nanos, marker: Marker) -> Option<Marker> {
        if marker.response {
            // This end never asks.
            self.marker_unknown += 1;
            return None;
        }
        self.marker_rx += 1;
        if !self.markers.admits(now) || !self.enabled {
            self.marker_unknown += 1;
            return None;
        }
        self.marker_tx += 1;
        Some(Marker { response: true, ..marker })
    }

    /// For `show bonds`.
    pub(in crate::bond) fn status(&self) -> MemberLacp {
        MemberLacp {
            aggregator: self.aggregator,
            actor: self.actor,
            partner: self.partner,
            receive: self.receive,
            mux: self.mux,
            actor_churn: self.actor_churn.state,
            actor_churned: self.actor_churn.count,
            partner_churn: self.partner_churn.state,
            partner_churned: self.partner_churn.count,
            lacpdu_tx: self.lacpdu_tx,
            lacpdu_rx: self.lacpdu_rx,
            marker_rx: self.marker_rx,
            marker_tx: self.marker_tx,
            lacpdu_unknown: self.lacpdu_unknown,
            marker_unknown: self.marker_unknown,
        }
    }
}

/// What tells one port of one system from any other, and whether it can be aggregated.
fn identity(info: &PortInfo) -> (u16, MacAddr, u16, u16, u16, u8) {
    (info.system_priority, info.system, info.key, info.port_priority, info.port, info.state & AGGREGATION)
}

fn churn_reason(churn: Churn) -> &'static str {
    match churn {
        Churn::Monitoring => "out of sync",
        Churn::Churned => "out of sync for 60 s",
        Churn::None => "in sync",
    }
}
