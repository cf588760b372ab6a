//! The table of one router and its timers.

use std::collections::{BTreeMap, VecDeque};

use dataplane::clock::Nanos;
use dataplane::router::fib::{RouteKind, source_among};
use dataplane::router::neighbour::Neighbour;
use dataplane::router::{Address, Family, InterfaceId};
use wire::MacAddr;

use super::entry::{Entry, Nud};
use super::frames;
use super::own::Own;
use super::settings::{InterfaceSettings, NeighbourSettings, RouterSettings, TableSettings};

/// A neighbour, or an address of the router: the address at an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The interface.
    pub interface: InterfaceId,
    /// Version of IP.
    pub family: Family,
    /// The address.
    pub address: Address,
}

/// What an agent is told.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A packet waits for this neighbour.
    Needed(Key),
    /// A packet was sent to this neighbour.
    Used(Key),
    /// A frame arrived at an interface, without VLAN tag.
    Frame {
        /// Where.
        interface: InterfaceId,
        /// Its octets.
        octets: &'a [u8],
    },
    /// The time of [`NeighbourAgent::next_deadline`] has come.
    Deadline,
}

/// What an agent wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a frame out of an interface.
    Send {
        /// By which.
        interface: InterfaceId,
        /// Its octets.
        octets: Vec<u8>,
    },
    /// Tell the administrator.
    Warn(String),
}

/// The routes of the router: where a packet for an address goes that arrives at an interface.
pub type Routes<'a> = dyn Fn(Family, Address, InterfaceId) -> Option<RouteKind> + 'a;

/// A neighbour, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourStatus {
    /// Which.
    pub key: Key,
    /// Its MAC address, if one is known.
    pub mac: Option<MacAddr>,
    /// Its state.
    pub state: Nud,
    /// Since when it has this state or address.
    pub updated: Nanos,
    /// When it proved to be there.
    pub confirmed: Nanos,
    /// When a packet was sent there.
    pub used: Nanos,
    /// It said that it is a router (IPv6).
    pub is_router: bool,
}

/// The neighbours of one router.
#[derive(Debug)]
pub struct NeighbourAgent {
    pub(super) settings: RouterSettings,
    pub(super) interfaces: BTreeMap<InterfaceId, InterfaceSettings>,
    pub(super) entries: BTreeMap<Key, Entry>,
    /// Entries that are not permanent, by family and interface.
    counts: [BTreeMap<InterfaceId, usize>; 2],
    /// When those without use were removed last, by family.
    collected: [Option<Nanos>; 2],
    pub(super) own: BTreeMap<Key, Own>,
    /// Answers for others, with the time they are due.
    pub(super) delayed: VecDeque<Delayed>,
    random: u64,
    /// No deadline is before this.
    next: Option<Nanos>,
    /// What workers should know has changed.
    dirty: bool,
    /// Neighbours that found no room.
    table_full: u64,
    table_full_logged: Option<Nanos>,
}

/// An answer for another station.
#[derive(Debug)]
pub(super) struct Delayed {
    at: Nanos,
    interface: InterfaceId,
    family: Family,
    octets: Vec<u8>,
}

/// Entries above `gc_thresh2` are removed no more often than this, and only when they were not used for this time (`neigh_alloc`,
/// `neigh_forced_gc`).
const COLLECT_INTERVAL: Nanos = 5_000_000_000;
/// Entries of a large table whose timers are looked at, or that may be removed to make room for others, one by one.
const LARGE: usize = 1024;
/// No more often than this is the administrator told that a table is full.
const LOG_INTERVAL: Nanos = 60_000_000_000;

impl NeighbourAgent {
    /// An agent without interfaces. `seed` makes its delays different from those of others.
    pub fn new(seed: u64) -> NeighbourAgent {
        NeighbourAgent {
            settings: RouterSettings::default(),
            interfaces: BTreeMap::new(),
            entries: BTreeMap::new(),
            counts: Default::default(),
            collected: [None; 2],
            own: BTreeMap::new(),
            delayed: VecDeque::new(),
            random: seed | 1,
            next: None,
            dirty: false,
            table_full: 0,
            table_full_logged: None,
        }
    }

    /// Takes over a configuration: neighbours of interfaces that are gone are forgotten, new addresses are announced, as are
    /// all of an interface with a new MAC address. `permanent` are the neighbours with a fixed MAC address.
    pub fn configure(
        &mut self,
        now: Nanos,
        settings: RouterSettings,
        interfaces: BTreeMap<InterfaceId, InterfaceSettings>,
        permanent: &[(Key, MacAddr)],
    ) {
        self.settings = settings;
        let before = std::mem::replace(&mut self.interfaces, interfaces);
        let fixed = |key: &Key| permanent.iter().any(|(fixed, _)| fixed == key);
        let gone =
            |key: &Key, entry: &Entry| !self.interfaces.contains_key(&key.interface) || (entry.state == Nud::Permanent && !fixed(key));
        let gone: Vec<Key> = self.entries.iter().filter(|(key, entry)| gone(key, entry)).map(|(key, _)| *key).collect();
        gone.iter().for_each(|key| self.remove(key));
        self.delayed.retain(|delayed| self.interfaces.contains_key(&delayed.interface));
        for (key, mac) in permanent {
            let exists = self.interfaces.contains_key(&key.interface);
            if exists && self.entries.get(key).is_none_or(|entry| entry.state != Nud::Permanent || entry.mac != Some(*mac)) {
                self.put(*key, Entry::new(now, Nud::Permanent, Some(*mac)));
                self.dirty = true;
            }
        }
        self.configure_own(now, &before);
    }

    /// Handles an event.
    pub fn handle(&mut self, now: Nanos, event: Event<'_>, routes: &Routes<'_>, out: &mut Vec<Action>) {
        match event {
            Event::Needed(key) => self.needed(now, key, out),
            Event::Used(key) => self.used(now, &key),
            Event::Frame { interface, octets } => {
                if !self.interfaces.contains_key(&interface) {
                } else if let Some(arp) = frames::arp(octets) {
                    self.arp_received(now, interface, octets, &arp, routes, out);
                } else if let Some(message) = frames::message(octets) {
                    self.nd_received(now, interface, octets, &message, routes, out);
                }
            }
            Event::Deadline => {
                if self.next.is_some_and(|next| next <= now) {
                    self.next = None;
                    self.entry_deadlines(now, out);
                    self.own_deadlines(now, out);
                    self.delayed_deadlines(now, out);
                }
            }
        }
    }

    /// When [`Event::Deadline`] is wanted next. May have passed already; it is wanted at once then.
    pub fn next_deadline(&self) -> Option<Nanos> {
        self.next
    }

    /// What workers should know, if that changed since the last call.
    pub fn publication(&mut self) -> Option<Vec<Neighbour>> {
        if !std::mem::take(&mut self.dirty) {
            return None;
        }
        let known = self.entries.iter().filter(|(_, entry)| entry.state != Nud::Incomplete);
        Some(
            known
                .map(|(key, entry)| Neighbour {
                    interface: key.interface,
                    family: key.family,
                    address: key.address,
                    mac: entry.mac.filter(|_| entry.state.is_valid()),
                })
                .collect(),
        )
    }

    /// All neighbours, by interface and address.
    pub fn neighbours(&self) -> impl Iterator<Item = NeighbourStatus> {
        self.entries.iter().map(|(key, entry)| NeighbourStatus {
            key: *key,
            mac: entry.mac,
            state: entry.state,
            updated: entry.updated,
            confirmed: entry.confirmed,
            used: entry.used,
            is_router: entry.is_router,
        })
    }

    /// Own addresses that another station has, too (IPv6), and which the router therefore does not answer for.
    pub fn duplicates(&self) -> impl Iterator<Item = Key> {
        self.own.iter().filter(|(_, own)| own.is_duplicate()).map(|(key, _)| *key)
    }

    /// Neighbours for which there was no room since the start.
    pub fn table_full(&self) -> u64 {
        self.table_full
    }

    /// Times and limits of a neighbour.
    pub(super) fn neigh(&self, key: &Key) -> NeighbourSettings {
        let default = if key.family == Family::V4 { NeighbourSettings::ARP } else { NeighbourSettings::ND };
        self.interfaces.get(&key.interface).map_or(default, |interface| interface.neigh[key.family.index()])
    }

    /// Limits of the table of a family.
    fn table(&self, family: Family) -> TableSettings {
        self.settings.tables[family.index()]
    }

    /// Entries of a family that are not permanent.
    fn count(&self, family: Family) -> usize {
        self.counts[family.index()].values().sum()
    }

    /// A number below `bound`, by chance.
    pub(super) fn random_below(&mut self, bound: u64) -> u64 {
        // xorshift64 (Marsaglia 2003): enough to spread delays.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound.max(1)
    }

    /// Wants [`Event::Deadline`] at this time.
    pub(super) fn wake_at(&mut self, at: Nanos) {
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    fn needed(&mut self, now: Nanos, key: Key, out: &mut Vec<Action>) {
        let usable = self.interfaces.contains_key(&key.interface)
            && !key.address.is_multicast(key.family)
            && key.address != Address::UNSPECIFIED
            && !self.own.contains_key(&key);
        if self.entries.contains_key(&key) {
            self.used(now, &key);
        } else if usable && self.make_room(now, &key, out) {
            self.put(key, Entry::new(now, Nud::Incomplete, None));
            if self.neigh(&key).mcast_solicit == 0 { self.fail(now, &key) } else { self.probe(now, &key, out) }
        }
    }

    fn used(&mut self, now: Nanos, key: &Key) {
        let delay = now + self.neigh(key).delay_first_probe_time;
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.used = now;
        if entry.state == Nud::Stale {
            (entry.state, entry.updated, entry.deadline) = (Nud::Delay, now, Some(delay));
            self.wake_at(delay);
        }
    }

    /// Takes up what a neighbour said of itself (`__neigh_update`). `replace` lets another address take the place of the known
    /// one; without it, and `weak`, the known one is doubted.
    pub(super) fn update(&mut self, now: Nanos, key: &Key, mac: MacAddr, state: Nud, replace: bool, weak: bool) {
        let settings = self.neigh(key);
        let reachable = settings.base_reachable_time / 2 + self.random_below(settings.base_reachable_time);
        let Some(entry) = self.entries.get_mut(key).filter(|entry| entry.state != Nud::Permanent) else { return };
        let (same, mut state, mut mac) = (entry.mac == Some(mac), state, mac);
        if entry.state.is_valid() {
            if !same && !replace {
                if !(weak && entry.state.is_connected()) {
                    return;
                }
                (state, mac) = (Nud::Stale, entry.mac.unwrap_or(mac));
            } else if same && state == Nud::Stale {
                // Nothing new, and no proof.
                return;
            }
        }
        let visible = !entry.state.is_valid() || entry.mac != Some(mac);
        if entry.state != state || entry.mac != Some(mac) {
            entry.updated = now;
        }
        (entry.state, entry.mac, entry.probes) = (state, Some(mac), 0);
        if state == Nud::Reachable {
            entry.confirmed = now;
        }
        let deadline = now + if state == Nud::Reachable { reachable } else { settings.gc_stale_time };
        entry.deadline = Some(deadline);
        self.dirty |= visible;
        self.wake_at(deadline);
    }

    /// Enters a neighbour that spoke first, or updates it; stale, as nobody has proved to be there.
    pub(super) fn learn(&mut self, now: Nanos, key: Key, mac: MacAddr, out: &mut Vec<Action>) {
        if !self.entries.contains_key(&key) {
            if !self.make_room(now, &key, out) {
                return;
            }
            self.put(key, Entry::new(now, Nud::Incomplete, None));
        }
        self.update(now, &key, mac, Nud::Stale, true, true);
    }

    pub(super) fn put(&mut self, key: Key, entry: Entry) {
        let counts = |entry: &Entry| usize::from(entry.state != Nud::Permanent);
        let after = counts(&entry);
        let before = self.entries.insert(key, entry).map_or(0, |before| counts(&before));
        let count = self.counts[key.family.index()].entry(key.interface).or_default();
        *count = *count + after - before;
    }

    pub(super) fn remove(&mut self, key: &Key) {
        let Some(entry) = self.entries.remove(key) else { return };
        if let Some(count) = self.counts[key.family.index()].get_mut(&key.interface).filter(|_| entry.state != Nud::Permanent) {
            *count -= 1;
        }
        self.dirty |= entry.state != Nud::Incomplete;
    }

    /// Makes room for one more neighbour; `false` when there is none. Of its family, the interface that holds most entries loses first,
    /// then the one that needs room: one that failed, then a stale one, then one that has not answered yet, of each kind the one
    /// longest without use. A neighbour in use goes only when its interface holds more than half of the table and another one needs
    /// room. A large table loses several at once, as it takes long to look at.
    fn make_room(&mut self, now: Nanos, key: &Key, out: &mut Vec<Action>) -> bool {
        let Key { interface, family, .. } = *key;
        let TableSettings { gc_thresh2, gc_thresh3, .. } = self.table(family);
        let count = self.count(family);
        if count >= gc_thresh2 {
            self.collect(now, family, count - gc_thresh2);
        }
        if self.count(family) < gc_thresh3 {
            return true;
        }
        let counts = &self.counts[family.index()];
        let (fullest, held) = counts.iter().max_by_key(|(_, count)| **count).map_or((interface, 0), |(id, count)| (*id, *count));
        let may_take_used = fullest != interface && held > gc_thresh3 / 2;
        let rank = |state: Nud| match state {
            Nud::Failed => Some(0),
            Nud::Stale => Some(1),
            Nud::Incomplete => Some(2),
            Nud::Permanent => None,
            used => (may_take_used && used.is_in_use()).then_some(3),
        };
        for of in [fullest, interface] {
            let there = self.entries.iter().filter(|(key, _)| key.interface == of && key.family == family);
            let mut ranked: Vec<_> = there.filter_map(|(key, entry)| Some(((rank(entry.state)?, entry.used), *key))).collect();
            let victims = (gc_thresh3 / LARGE).clamp(1, ranked.len().max(1));
            if ranked.len() > victims {
                ranked.select_nth_unstable(victims - 1);
            }
            ranked.iter().take(victims).for_each(|(_, victim)| self.remove(victim));
            if !ranked.is_empty() && self.count(family) < gc_thresh3 {
                return true;
            }
        }
        self.table_full += 1;
        if self.table_full_logged.is_none_or(|at| now.saturating_sub(at) >= LOG_INTERVAL) {
            self.table_full_logged = Some(now);
            out.push(Action::Warn(format!("neighbour table is full: {gc_thresh3} entries, all in use (gc_thresh3)")));
        }
        false
    }

    /// Removes up to `excess` entries of a family that nobody has used for a while, those that failed first (`neigh_forced_gc`).
    fn collect(&mut self, now: Nanos, family: Family, excess: usize) {
        let collected = &mut self.collected[family.index()];
        if collected.is_some_and(|at| now.saturating_sub(at) < COLLECT_INTERVAL) {
            return;
        }
        *collected = Some(now);
        let is_idle = |entry: &Entry| now.saturating_sub(entry.used.max(entry.updated)) >= COLLECT_INTERVAL;
        let goes = |entry: &Entry| entry.state == Nud::Failed || entry.state == Nud::Stale && is_idle(entry);
        let idle = self.entries.iter().filter(|(key, entry)| key.family == family && goes(entry));
        let mut idle: Vec<_> = idle.map(|(key, entry)| (entry.state != Nud::Failed, entry.used, *key)).collect();
        idle.sort_unstable();
        idle.iter().take(excess).for_each(|(.., key)| self.remove(key));
    }

    /// Gives a neighbour up: senders are told for a moment; then the next packet makes the router ask anew.
    fn fail(&mut self, now: Nanos, key: &Key) {
        let until = now + self.neigh(key).retrans_time;
        if let Some(entry) = self.entries.get_mut(key) {
            (entry.state, entry.updated, entry.deadline) = (Nud::Failed, now, Some(until));
            self.dirty = true;
            self.wake_at(until);
        }
    }

    /// Sends a probe and waits for the answer.
    fn probe(&mut self, now: Nanos, key: &Key, out: &mut Vec<Action>) {
        let settings = self.neigh(key);
        let deadline = now + settings.retrans_time;
        let Some(interface) = self.interfaces.get(&key.interface) else { return };
        let Some(entry) = self.entries.get_mut(key) else { return };
        (entry.probes, entry.deadline) = (entry.probes + 1, Some(deadline));
        let known = entry.mac.filter(|_| entry.state == Nud::Probe && entry.probes <= settings.ucast_solicit);
        let source = match key.family {
            Family::V4 => {
                // An interface without an address borrows that of another, as Linux does.
                let others = || self.interfaces.values().find_map(|other| source_among(&other.addresses, key.family, key.address));
                source_among(&interface.addresses, key.family, key.address).or_else(others)
            }
            Family::V6 => {
                let ready = |own: &&Key| own.interface == key.interface && self.own.get(own).is_some_and(Own::is_ready);
                let addresses = interface
                    .addresses
                    .iter()
                    .filter(|own| ready(&&Key { interface: key.interface, family: own.family, address: own.address }));
                source_among(&addresses.copied().collect::<Vec<_>>(), key.family, key.address)
            }
        };
        let mac = interface.mac;
        let octets = match key.family {
            Family::V4 => {
                let (from, to) = (source.unwrap_or_default().to_v4(), key.address.to_v4());
                Some(match known {
                    Some(known) => frames::arp_probe(mac, from, known, to),
                    None => frames::arp_request(mac, from, to, None),
                })
            }
            // Without an address that is its own beyond doubt the router cannot ask; it tries again a second later.
            Family::V6 => source.map(|source| match known {
                Some(known) => frames::solicitation_probe(mac, source.to_v6(), known, key.address.to_v6()),
                None => frames::neighbour_solicitation(mac, source.to_v6(), key.address.to_v6(), None),
            }),
        };
        out.extend(octets.map(|octets| Action::Send { interface: key.interface, octets }));
        self.wake_at(deadline);
    }

    /// The timers of all neighbours (`neigh_timer_handler`).
    fn entry_deadlines(&mut self, now: Nanos, out: &mut Vec<Action>) {
        let due = self.entries.iter().filter(|(_, entry)| entry.deadline.is_some_and(|at| at <= now));
        let due: Vec<Key> = due.map(|(key, _)| *key).collect();
        for key in due {
            self.entry_deadline(now, &key, out);
        }
        if let Some(at) = self.entries.values().filter_map(|entry| entry.deadline).min() {
            // To look at every entry of a large table whenever one of them is due would take all the time there is.
            let grain = (self.entries.len() / LARGE) as u64 * 1_000_000;
            self.wake_at(at.max(now + grain));
        }
    }

    fn entry_deadline(&mut self, now: Nanos, key: &Key, out: &mut Vec<Action>) {
        let settings = self.neigh(key);
        let many = self.count(key.family) > self.table(key.family).gc_thresh1;
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.deadline = None;
        let state = entry.state;
        match state {
            Nud::Incomplete if entry.probes < settings.mcast_solicit => self.probe(now, key, out),
            Nud::Probe if entry.probes < settings.ucast_solicit + settings.mcast_resolicit => self.probe(now, key, out),
            Nud::Incomplete | Nud::Probe => self.fail(now, key),
            Nud::Reachable if now < entry.used + settings.delay_first_probe_time => {
                (entry.state, entry.updated, entry.deadline) = (Nud::Delay, now, Some(now + settings.delay_first_probe_time));
            }
            Nud::Reachable => {
                (entry.state, entry.updated, entry.deadline) = (Nud::Stale, now, Some(now + settings.gc_stale_time));
            }
            Nud::Delay => {
                (entry.state, entry.updated, entry.probes) = (Nud::Probe, now, 0);
                if settings.ucast_solicit + settings.mcast_resolicit == 0 { self.fail(now, key) } else { self.probe(now, key, out) }
            }
            Nud::Stale if many && now >= entry.used.max(entry.updated) + settings.gc_stale_time => self.remove(key),
            Nud::Stale => entry.deadline = Some(now + settings.gc_stale_time),
            Nud::Failed => self.remove(key),
            Nud::Permanent => {}
        }
    }

    /// Sends an answer for another station after a while: the station itself may answer first.
    pub(super) fn send_delayed(&mut self, now: Nanos, interface: InterfaceId, family: Family, octets: Vec<u8>) {
        let Some(settings) = self.interfaces.get(&interface).map(|interface| interface.neigh[family.index()]) else { return };
        let waiting = self.delayed.iter().filter(|delayed| delayed.interface == interface && delayed.family == family);
        if waiting.count() < settings.proxy_qlen || settings.proxy_delay == 0 {
            let at = now + self.random_below(settings.proxy_delay);
            self.delayed.push_back(Delayed { at, interface, family, octets });
            self.wake_at(at);
        }
    }

    fn delayed_deadlines(&mut self, now: Nanos, out: &mut Vec<Action>) {
        for _ in 0..self.delayed.len() {
            match self.delayed.pop_front() {
                Some(Delayed { at, interface, octets, .. }) if at <= now => out.push(Action::Send { interface, octets }),
                Some(later) => {
                    self.wake_at(later.at);
                    self.delayed.push_back(later);
                }
                None => {}
            }
        }
    }
}
