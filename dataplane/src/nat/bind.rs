//! Decides what the first packet of a flow becomes (`nf_nat_setup_info`).

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use wire::ip_protocol;

use super::mapping::{Endpoint, FlowUse, MappingInfo, Table};
use super::unique::{self, Key, Wanted};
use super::{BindError, Filtering, Flows, Manip, MappingBehaviour, NatRange, Settings};
use crate::clock::Nanos;
use crate::conntrack::{At, Conntrack, Status, Timeouts, Tracking, Tuple};
use crate::router::RouterId;
use crate::router::address::Address;
use crate::snapshot::PortId;

/// What a packet that nobody asked for is to a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// Its destination is no mapping.
    Unmapped,
    /// It goes to the endpoint inside: its destination is bound.
    Translated,
    /// Its destination is a mapping, to which its sender may not send ([`Filtering`]). To be dropped; a SYN is not
    /// answered at once (RFC 5382 REQ-4).
    Filtered,
}

/// What network address translation remembers, for all routers of a daemon. Any thread may use any method. Only first packets of
/// flows and control come here; the lock is held for a few lookups.
pub struct NatState {
    table: Mutex<Table>,
    /// Mappings in the table, so that who has none need not take the lock.
    mappings: AtomicUsize,
    random: RandomState,
    drawn: AtomicU64,
}

/// The other flows, seen from one that begins.
struct Others<'a> {
    conntrack: &'a Conntrack,
    at: &'a At<'a>,
    tracking: &'a Tracking,
}

impl Flows for Others<'_> {
    fn is_taken(&self, tuple: &Tuple) -> bool {
        self.conntrack.is_taken(self.at, self.tracking, tuple)
    }
}

impl NatState {
    /// For at most `max` mappings.
    pub fn new(max: usize) -> NatState {
        NatState { table: Mutex::new(Table::new(max)), mappings: AtomicUsize::new(0), random: RandomState::new(), drawn: AtomicU64::new(0) }
    }

    /// Binds one end of a flow that begins to what a rule asks for, or with `None` to what it is, if that is free. The first call
    /// for an end decides; for packets of flows that exist nothing happens.
    ///
    /// With [`MappingBehaviour::EndpointIndependent`] the source becomes that of its mapping, and a rule is only asked for the
    /// choice of a new one.
    ///
    /// # Errors
    ///
    /// [`BindError`]: the flow cannot begin, its packet must be dropped. Never for a destination.
    pub fn bind(
        &self,
        conntrack: &Conntrack,
        at: &At<'_>,
        tracking: &mut Tracking,
        manip: Manip,
        range: Option<&NatRange>,
        settings: &Settings,
    ) -> Result<(), BindError> {
        let others = Others { conntrack, at, tracking };
        let tuple = self.decide(&others, (at.ingress, at.now), tracking, manip, range, settings)?;
        set(tracking, manip, tuple);
        Ok(())
    }

    /// Binds both ends of a flow that another one announced, as that is translated (`nf_nat_follow_master`). To be called at the
    /// first hook in place of asking the rules. Does nothing if nothing was said ([`NewFlow::nat`](crate::conntrack::NewFlow::nat)).
    ///
    /// # Errors
    ///
    /// As [`NatState::bind`].
    pub fn follow(&self, conntrack: &Conntrack, at: &At<'_>, tracking: &mut Tracking, settings: &Settings) -> Result<(), BindError> {
        let Some(nat) = tracking.new_flow().and_then(|flow| flow.nat) else { return Ok(()) };
        let source = NatRange::address(nat.source);
        let range = Some(&source).filter(|_| nat.source != tracking.original.source);
        self.bind(conntrack, at, tracking, Manip::Source, range, settings)?;
        let ports = Some((nat.destination_port, nat.destination_port));
        let destination = NatRange { ports, ..NatRange::address(nat.destination) };
        self.bind(conntrack, at, tracking, Manip::Destination, Some(&destination), settings)
    }

    /// Binds the source of a flow whose destination was translated and which leaves by the interface it came in by, so that the
    /// answers come back this way: to what its mapping is outside, if it has one, or to the address that it was sent to
    /// (RFC 4787 REQ-9, RFC 5382 REQ-8, RFC 5508 REQ-7).
    ///
    /// # Errors
    ///
    /// As [`NatState::bind`].
    pub fn hairpin(&self, conntrack: &Conntrack, at: &At<'_>, tracking: &mut Tracking, settings: &Settings) -> Result<(), BindError> {
        let others = Others { conntrack, at, tracking };
        let tuple = self.decide_hairpin(&others, (at.ingress, at.now), tracking, settings)?;
        set(tracking, Manip::Source, tuple);
        Ok(())
    }

    /// Binds the destination of a flow that begins outside to the endpoint inside whose mapping it is sent to, if the sender may
    /// send to it. To be asked at PREROUTING when no rule translated the destination. ICMP queries never begin outside.
    pub fn inbound(&self, conntrack: &Conntrack, at: &At<'_>, tracking: &mut Tracking, settings: &Settings) -> Inbound {
        let others = Others { conntrack, at, tracking };
        let (inbound, tuple) = self.decide_inbound(&others, at.now, tracking, settings);
        if inbound == Inbound::Translated {
            set(tracking, Manip::Destination, tuple);
        }
        inbound
    }

    /// Looks at the next `slots` flows and mappings from `cursor` on: the mappings that flows use live on, those that ended are
    /// removed. `settings` are those of a router, where there is none the defaults. Returns where to go on; 0 when all
    /// were seen.
    ///
    /// To be called so often that all are seen every 20 s. A mapping then lives as long as a flow uses it, and until its timeout
    /// after the last packet.
    pub fn upkeep<'s>(
        &self,
        conntrack: &Conntrack,
        cursor: u32,
        slots: u32,
        now: Nanos,
        settings: impl Fn(RouterId) -> Option<(&'s Timeouts, &'s Settings)>,
    ) -> u32 {
        if self.mappings() == 0 {
            return 0;
        }
        let default = (Timeouts::default(), Settings::default());
        let more_flows = conntrack.list(cursor, slots, now, |flow| {
            if flow.status.intersects(Status(Status::SRC_NAT.0 | Status::DST_NAT.0)) {
                let (timeouts, settings) = settings(flow.original.router()).unwrap_or((&default.0, &default.1));
                self.touch(&FlowUse::of(flow, timeouts, now), settings, now);
            }
        });
        let more_mappings = self.remove(cursor as usize, slots as usize, |mapping| mapping.expires <= now);
        if more_flows.is_some() || more_mappings.is_some() { cursor.saturating_add(slots) } else { 0 }
    }

    pub(super) fn touch(&self, flow: &FlowUse, settings: &Settings, now: Nanos) {
        self.lock().touch(flow, settings, now);
    }

    /// Shows the next `slots` mappings from `cursor` on, in no order. Returns where to go on, or `None` at the end.
    pub fn list(&self, cursor: usize, slots: usize, show: impl FnMut(MappingInfo)) -> Option<usize> {
        self.lock().walk(cursor, slots, |_| false, show)
    }

    /// Removes those of the next `slots` mappings from `cursor` on that `ends` names, as when a router loses an address. Flows
    /// that exist are not touched. Returns where to go on, or `None` at the end.
    pub fn remove(&self, cursor: usize, slots: usize, ends: impl Fn(&MappingInfo) -> bool) -> Option<usize> {
        let mut table = self.lock();
        let next = table.walk(cursor, slots, ends, |_| ());
        self.mappings.store(table.len(), Ordering::Relaxed);
        next
    }

    /// Mappings there are.
    pub fn mappings(&self) -> usize {
        self.mappings.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // A table that a panic left behind is still one: each step of a change leaves links that end.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number nobody can foresee (RFC 6056 section 3.3).
    fn draw(&self) -> u16 {
        self.random.hash_one(self.drawn.fetch_add(1, Ordering::Relaxed)) as u16
    }

    /// The tuple that packets of the original direction leave with; `None` if nothing is to be decided.
    pub(super) fn decide(
        &self,
        flows: &impl Flows,
        at: (PortId, Nanos),
        tracking: &Tracking,
        manip: Manip,
        range: Option<&NatRange>,
        settings: &Settings,
    ) -> Result<Option<Tuple>, BindError> {
        let Some(current) = current(tracking, manip) else { return Ok(None) };
        let mut wanted = Wanted::of(range.unwrap_or(&NatRange::NULL), current.family(), unique::address(&current, manip));
        if manip == Manip::Source && range.is_some_and(|range| range.netmap.is_none()) {
            wanted.default_ports(settings.ip_local_port_range);
        }
        let tuple = match (manip, range) {
            (Manip::Source, Some(_)) if Key::of(&current) != Key::None => match settings.mapping {
                MappingBehaviour::EndpointIndependent => self.map(flows, at, current, &wanted, settings, |_| false)?,
                MappingBehaviour::AddressAndPortDependent => self.map_for_remote(flows, at, current, &wanted, settings)?,
            },
            _ => wanted.unique(flows, current, manip, None, || self.draw()).ok_or(BindError::Exhausted)?,
        };
        Ok(Some(tuple))
    }

    pub(super) fn decide_hairpin(
        &self,
        flows: &impl Flows,
        at: (PortId, Nanos),
        tracking: &Tracking,
        settings: &Settings,
    ) -> Result<Option<Tuple>, BindError> {
        if !settings.hairpin || !tracking.status.contains(Status::DST_NAT) {
            return self.decide(flows, at, tracking, Manip::Source, None, settings);
        }
        let range = NatRange::address(tracking.original.destination);
        let Some(current) = current(tracking, Manip::Source) else { return Ok(None) };
        if settings.mapping == MappingBehaviour::AddressAndPortDependent || Key::of(&current) == Key::None {
            return self.decide(flows, at, tracking, Manip::Source, Some(&range), settings);
        }
        let mut wanted = Wanted::of(&range, current.family(), current.source);
        wanted.default_ports(settings.ip_local_port_range);
        self.map(flows, at, current, &wanted, settings, |_| true).map(Some)
    }

    /// The mapping of the source, found or made. `also` says which mappings will do beside those that the rule could make.
    fn map(
        &self,
        flows: &impl Flows,
        (ingress, now): (PortId, Nanos),
        current: Tuple,
        wanted: &Wanted,
        settings: &Settings,
        also: impl Fn(Address) -> bool,
    ) -> Result<Tuple, BindError> {
        let key = Key::of(&current);
        let internal = Endpoint::source(&current);
        let mut tuple = current;
        let mut table = self.lock();
        let suits = |address, port| also(address) || wanted.has_address(address) && wanted.has_port(key, port);
        let index = match table.find_internal(&internal, now, |m| m.is_exclusive() && suits(m.address, m.port)) {
            Some(index) => {
                let mapping = table.get(index);
                (tuple.source, tuple.source_port) = (mapping.address, mapping.port);
                if unique::is_used(flows, &tuple) {
                    return Err(BindError::Exhausted);
                }
                index
            }
            None => {
                if settings.mappings_per_port != 0 && table.count(ingress) >= settings.mappings_per_port {
                    return Err(BindError::TooMany);
                }
                tuple.source = wanted.pick_address(&current, true, current.source);
                let port = self.free_port(&mut table, flows, now, tuple, wanted, settings).ok_or(BindError::Exhausted)?;
                tuple.source_port = port;
                let added = table.insert(internal, (tuple.source, port), true, ingress, now, settings, flows);
                added.map_err(|_| BindError::TooMany)?
            }
        };
        table.refresh(index, now, settings);
        table.add_remote(index, current.destination, current.destination_port, flows);
        self.mappings.store(table.len(), Ordering::Relaxed);
        Ok(tuple)
    }

    /// A port of `tuple.source` that no mapping and no flow has: that of the source if it may be, another of its class if not.
    fn free_port(
        &self,
        table: &mut Table,
        flows: &impl Flows,
        now: Nanos,
        mut tuple: Tuple,
        wanted: &Wanted,
        settings: &Settings,
    ) -> Option<u16> {
        let (key, port) = (Key::of(&tuple), tuple.source_port);
        let (mut low, high) = wanted.ports.unwrap_or(Wanted::class(key, port));
        let mut step = 1;
        if settings.port_parity && tuple.protocol == ip_protocol::UDP && !wanted.names_ports {
            (low, step) = (low + ((low ^ port) & 1), 2);
        }
        let external = Endpoint::source(&tuple);
        let mut is_free = |port, hard| {
            tuple.source_port = port;
            table.is_free(&external.with(external.address, port), now, settings, flows, hard) && !unique::is_used(flows, &tuple)
        };
        if !wanted.random && wanted.has_port(key, port) && is_free(port, false) {
            return Some(port);
        }
        // Where all is taken, mappings that no flow uses give way.
        [false, true]
            .into_iter()
            .find_map(|hard| unique::search((low, high), step, self.draw().into(), &mut || self.draw(), |port| is_free(port, hard)))
    }

    /// As Linux: the source of each remote for itself, preferably what it is for others.
    fn map_for_remote(
        &self,
        flows: &impl Flows,
        (ingress, now): (PortId, Nanos),
        current: Tuple,
        wanted: &Wanted,
        settings: &Settings,
    ) -> Result<Tuple, BindError> {
        let (key, internal) = (Key::of(&current), Endpoint::source(&current));
        let mut table = self.lock();
        let mut index = table.find_internal(&internal, now, |m| wanted.has_address(m.address) && wanted.has_port(key, m.port));
        if let Some(idle) = index.filter(|index| table.is_idle(*index, now, settings, flows)) {
            table.remove(idle);
            index = None;
        }
        let former = index.map(|index| (table.get(index).address, table.get(index).port));
        let tuple = wanted.unique(flows, current, Manip::Source, former, || self.draw()).ok_or(BindError::Exhausted)?;
        let index = match index {
            Some(index) => former.filter(|former| *former == (tuple.source, tuple.source_port)).map(|_| index),
            // It is only remembered: without room the flow begins all the same.
            None => table.insert(internal, (tuple.source, tuple.source_port), false, ingress, now, settings, flows).ok(),
        };
        if let Some(index) = index {
            table.refresh(index, now, settings);
            table.add_remote(index, current.destination, current.destination_port, flows);
        }
        self.mappings.store(table.len(), Ordering::Relaxed);
        Ok(tuple)
    }

    pub(super) fn decide_inbound(
        &self,
        flows: &impl Flows,
        now: Nanos,
        tracking: &Tracking,
        settings: &Settings,
    ) -> (Inbound, Option<Tuple>) {
        const UNMAPPED: (Inbound, Option<Tuple>) = (Inbound::Unmapped, None);
        if self.mappings() == 0 || settings.mapping != MappingBehaviour::EndpointIndependent {
            return UNMAPPED;
        }
        let Some(mut tuple) = current(tracking, Manip::Destination).filter(|tuple| Key::of(tuple) == Key::Port) else { return UNMAPPED };
        let mut table = self.lock();
        let Some(index) = table.find_external(&Endpoint::destination(&tuple), now) else { return UNMAPPED };
        let (mut address, mut port) = (tuple.source, tuple.source_port);
        // A sender inside is to the others what it is outside, and has sent, even if the other will not have it yet.
        if let Some(own) = table.find_internal(&Endpoint::source(&tuple), now, |mapping| mapping.is_exclusive()) {
            table.refresh(own, now, settings);
            table.add_remote(own, tuple.destination, tuple.destination_port, flows);
            (address, port) = (table.get(own).address, table.get(own).port);
        }
        let may_send = match settings.filtering {
            Filtering::EndpointIndependent => true,
            Filtering::AddressDependent => table.has_remote(index, |known, _| known == address),
            Filtering::AddressAndPortDependent => table.has_remote(index, |a, p| (a, p) == (address, port)),
        };
        if !may_send {
            return (Inbound::Filtered, None);
        }
        table.let_in(index, tuple.source, tuple.source_port);
        (tuple.destination, tuple.destination_port) = table.get(index).internal();
        (Inbound::Translated, Some(tuple))
    }
}

/// The bit that says that this end is decided.
const fn done(manip: Manip) -> Status {
    match manip {
        Manip::Source => Status::SRC_NAT_DONE,
        Manip::Destination => Status::DST_NAT_DONE,
    }
}

/// What packets of the original direction become as far as that is decided; `None` if this end is decided already.
fn current(tracking: &Tracking, manip: Manip) -> Option<Tuple> {
    if tracking.new_flow().is_some() && !tracking.status.intersects(done(manip)) { tracking.reply.inverse() } else { None }
}

/// Writes a decision into the flow.
pub(super) fn set(tracking: &mut Tracking, manip: Manip, tuple: Option<Tuple>) {
    let Some(reply) = tuple.and_then(|tuple| tuple.inverse()) else { return };
    if reply != tracking.reply {
        tracking.reply = reply;
        tracking.status.insert(if manip == Manip::Source { Status::SRC_NAT } else { Status::DST_NAT });
    }
    tracking.status.insert(done(manip));
}
