//! The forwarding database of one switch: which port an address is at (IEEE 802.1Q-2018 clause 8.8).
//!
//! A bounded, set-associative table of atomics, shared by all workers and control. **Lookups take no lock and write
//! nothing.** An entry is two words, 16 octets: a key (MAC and VLAN) and a value (port, age, kind and a fingerprint of
//! the key). A set is eight entries in two cache lines. An address has a home set and, where that is full, an alternate
//! one; a flag in the home set says whether anything ever went to an alternate. Within a set it has a way that it takes
//! if that is free, so that most lookups read one cache line.
//!
//! # Writers
//!
//! - Refreshing an age or moving an address to another port is one compare-and-swap of the value, and only happens when
//!   the tick or the port changed. If the slot was given to another address meanwhile, the fingerprint makes it fail.
//! - Adding and removing hold the claim bit of the address's home set (and of the alternate set, where that is
//!   touched). A worker that finds the claim taken goes on without learning; the next frame will do. Control waits.
//! - A slot changes hands in the order key = 0, value = new, key = new. A reader takes key, value, key again, and
//!   believes the value if the key is the same and the fingerprint fits.
//!
//! `tests/loom_fdb.rs` checks this with the loom model checker.
//!
//! # When it is full
//!
//! An expired entry in one of the two sets goes first. Else the entry of the port that holds most addresses in the whole
//! table, the oldest of them; but never one of a port that holds fewer than the port that learns. So a guest that floods
//! addresses pushes out its own, not those of others (after Open vSwitch, `lib/mac-learning.h`). Static entries stay.

use std::hash::{BuildHasher, RandomState};

use wire::{MacAddr, VlanId};

use crate::hash::mix;
use crate::snapshot::{PORTS_MAX, PortId};
use crate::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering, pause};

/// Entries of a set. Two under loom, whose state space grows with each atomic.
const WAYS: usize = if cfg!(loom) { 2 } else { 8 };

const KEY_MASK: u64 = (1 << 60) - 1;
/// In the first key of a set: a writer works on the set.
const CLAIM: u64 = 1 << 63;
/// In the first key of a set: an address of this home set once went to its alternate set.
const OVERFLOW: u64 = 1 << 62;

/// In every value, so that none is 0.
const USED: u64 = 1 << 42;

/// Slots that [`Fdb::list`] looks at in one call.
const LIST_SLOTS: usize = 16_384;

const TICK_BITS: u32 = 24;
const TICK_MASK: u32 = (1 << TICK_BITS) - 1;

/// The longest ageing time in ticks that ages can tell apart: 26 days.
pub const AGEING_MAX: u32 = 1 << (TICK_BITS - 1);

/// The table of one switch. Sets fill unevenly: about nine tenths of all slots are
/// taken before addresses are pushed out. See the [module](self) for how it works.
pub struct Fdb {
    sets: Box<[Set]>,
    places: Places,
    len: AtomicUsize,
    by_port: Box<[AtomicU32]>,
    learned: AtomicU64,
    moved: AtomicU64,
    expired: AtomicU64,
    evicted: AtomicU64,
    limited: AtomicU64,
    refused: AtomicU64,
}

#[repr(align(64))]
struct Set {
    slots: [Slot; WAYS],
}

/// Key and value side by side: a lookup that finds its address in the first way reads one cache line.
struct Slot {
    key: AtomicU64,
    value: AtomicU64,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Set>() == 16 * WAYS, "16 octets an entry");

/// One entry, as listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Address.
    pub mac: MacAddr,
    /// VLAN.
    pub vlan: VlanId,
    /// Port.
    pub port: PortId,
    /// Lower 24 bits of the tick of the last frame from the address (of the creation, for a static entry).
    pub seen: u32,
    /// How firmly it sits.
    pub kind: EntryKind,
}

impl Entry {
    /// Ticks since the last frame from the address.
    pub fn age(&self, now: u32) -> u32 {
        now.wrapping_sub(self.seen) & TICK_MASK
    }
}

/// How firmly an entry sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// Learned: ages, moves.
    Learned = 0,
    /// Learned on a sticky port: ages, never moves.
    Sticky = 1,
    /// Set by the administrator: neither ages nor moves.
    Static = 2,
    /// The switch's own address at its host port: neither ages nor moves.
    Local = 3,
}

impl EntryKind {
    /// Whether frames refresh it and silence ends it.
    #[inline]
    pub const fn ages(self) -> bool {
        matches!(self, EntryKind::Learned | EntryKind::Sticky)
    }
}

/// Which entries [`Fdb::flush`] removes; `None` means any. Static and local entries stay unless `all_kinds`.
#[derive(Clone, Copy, Debug, Default)]
pub struct FlushFilter {
    /// Only those of this port.
    pub port: Option<PortId>,
    /// Only those of this VLAN.
    pub vlan: Option<VlanId>,
    /// Static and local entries too.
    pub all_kinds: bool,
}

/// What happened to a table since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FdbStats {
    /// New addresses.
    pub learned: u64,
    /// Addresses that moved to another port.
    pub moved: u64,
    /// Addresses forgotten by age.
    pub expired: u64,
    /// Addresses pushed out because there was no room.
    pub evicted: u64,
    /// Addresses not learned because the port was at its limit.
    pub limited: u64,
    /// Addresses not learned because no entry could make room for this port.
    pub refused: u64,
}

/// What learning did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// Nothing new.
    Known,
    /// A new address.
    New,
    /// The address was at this other port before.
    Moved(PortId),
    /// The address is bound to another port; the frame must be dropped.
    Conflict,
    /// Not learned: limit of the port, no room, or another writer at work.
    NotLearned,
}

/// Who learns, and how.
#[derive(Clone, Copy, Debug)]
pub struct Learner {
    /// The port the frame came from.
    pub port: PortId,
    /// Addresses of this port at most.
    pub limit: u32,
    /// What entries it makes: [`EntryKind::Learned`] or [`EntryKind::Sticky`].
    pub kind: EntryKind,
    /// Current tick.
    pub now: u32,
    /// Ageing time in ticks.
    pub ageing: u32,
}

#[derive(Clone, Copy)]
struct Value(u64);

impl Value {
    #[inline]
    fn new(port: PortId, now: u32, kind: EntryKind, hash: u64) -> Value {
        Value(u64::from(port.0) | u64::from(now & TICK_MASK) << 16 | (kind as u64) << 40 | USED | (hash >> 48) << 48)
    }

    #[inline]
    fn port(self) -> PortId {
        PortId(self.0 as u16)
    }

    #[inline]
    fn seen(self) -> u32 {
        (self.0 >> 16) as u32 & TICK_MASK
    }

    #[inline]
    fn kind(self) -> EntryKind {
        match self.0 >> 40 & 3 {
            0 => EntryKind::Learned,
            1 => EntryKind::Sticky,
            2 => EntryKind::Static,
            _ => EntryKind::Local,
        }
    }

    #[inline]
    fn belongs_to(self, hash: u64) -> bool {
        self.0 >> 48 == hash >> 48
    }

    /// Ticks since the last frame from the address.
    #[inline]
    fn age(self, now: u32) -> u32 {
        now.wrapping_sub(self.seen()) & TICK_MASK
    }

    #[inline]
    fn expired(self, now: u32, ageing: u32) -> bool {
        self.age(now) > ageing && self.kind().ages()
    }
}

/// An address with its VLAN, and where it may be in the table that computed it.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    key: u64,
    hash: u64,
}

/// Computes places in one table. A copy of what the table knows, so that a loop over frames keeps it in registers.
#[derive(Clone, Copy)]
pub struct Places {
    /// Secret factors: guests choose addresses, but not which of them collide.
    seed: [u64; 2],
}

impl Places {
    fn new() -> Places {
        let random = RandomState::new();
        Places { seed: if cfg!(loom) { [1, 3] } else { [random.hash_one(0), random.hash_one(1) | 1] } }
    }

    /// Where `mac` in `vlan` may be.
    #[inline]
    pub fn place(&self, mac: u64, vlan: VlanId) -> Place {
        let key = mac | u64::from(vlan.get()) << 48;
        Place { key, hash: mix(key ^ self.seed[0], self.seed[1]) }
    }
}

/// Whether both are the same address in the same VLAN.
impl PartialEq for Place {
    #[inline]
    fn eq(&self, other: &Place) -> bool {
        self.key == other.key
    }
}

impl Eq for Place {}

impl Place {
    /// The MAC address as a number, see [`MacAddr::to_u64`].
    #[inline]
    pub fn mac(self) -> u64 {
        self.key & ((1 << 48) - 1)
    }

    /// The ways of a set in the order in which this address takes and searches them: with few entries in the set the
    /// first is nearly always right.
    fn ways(self) -> impl Iterator<Item = usize> {
        (0..WAYS).map(move |i| self.first_way().wrapping_add(i) & (WAYS - 1))
    }

    #[inline]
    fn first_way(self) -> usize {
        self.hash as usize % WAYS
    }
}

impl Slot {
    /// The value of an address if it is in this slot.
    #[inline]
    fn probe(&self, place: Place) -> Option<Value> {
        if self.key.load(Ordering::Acquire) & KEY_MASK != place.key {
            return None;
        }
        let value = Value(self.value.load(Ordering::Acquire));
        // The slot may have changed hands between the two loads above.
        let same = self.key.load(Ordering::Relaxed) & KEY_MASK == place.key && value.belongs_to(place.hash);
        same.then_some(value)
    }
}

impl Set {
    fn new() -> Set {
        Set { slots: core::array::from_fn(|_| Slot { key: AtomicU64::new(0), value: AtomicU64::new(0) }) }
    }

    /// The way that holds an address, and its value.
    fn find(&self, place: Place) -> Option<(usize, Value)> {
        place.ways().find_map(|way| self.slots[way].probe(place).map(|value| (way, value)))
    }

    #[inline]
    fn overflowed(&self) -> bool {
        self.slots[0].key.load(Ordering::Relaxed) & OVERFLOW != 0
    }

    fn try_claim(&self) -> Option<Claim<'_>> {
        // Lazily: a `Claim` made and thrown away would end the claim of whoever holds it.
        (self.slots[0].key.fetch_or(CLAIM, Ordering::Acquire) & CLAIM == 0).then(|| Claim(self))
    }

    fn claim(&self) -> Claim<'_> {
        loop {
            if let Some(claim) = self.try_claim() {
                return claim;
            }
            pause();
        }
    }
}

/// The right to add and remove entries of one set; ends when dropped.
struct Claim<'a>(&'a Set);

impl Claim<'_> {
    /// Puts an entry into `way` and returns the value that was there. Readers see the old entry, none, or the new one.
    fn put(&self, way: usize, key: u64, value: Value) -> Value {
        // Read-modify-write throughout: others try for the claim bit of the first key meanwhile.
        self.0.slots[way].key.fetch_and(!KEY_MASK, Ordering::AcqRel);
        let old = self.0.slots[way].value.swap(value.0, Ordering::AcqRel);
        if key != 0 {
            self.0.slots[way].key.fetch_or(key, Ordering::AcqRel);
        }
        Value(old)
    }

    fn set_overflowed(&self) {
        self.0.slots[0].key.fetch_or(OVERFLOW, Ordering::Relaxed);
    }

    /// The key in `way` and its value; `None` for an empty way.
    fn entry(&self, way: usize) -> Option<(u64, Value)> {
        let key = self.0.slots[way].key.load(Ordering::Relaxed) & KEY_MASK;
        (key != 0).then(|| (key, Value(self.0.slots[way].value.load(Ordering::Relaxed))))
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.0.slots[0].key.fetch_and(!CLAIM, Ordering::Release);
    }
}

impl Fdb {
    /// A table for `capacity` addresses, rounded up to a power of two, at least 64 and at most 2^24.
    pub fn new(capacity: usize) -> Fdb {
        let sets = capacity.clamp(if cfg!(loom) { WAYS } else { 64 }, 1 << 24).next_power_of_two() / WAYS;
        Fdb {
            sets: (0..sets).map(|_| Set::new()).collect(),
            places: Places::new(),
            len: AtomicUsize::new(0),
            by_port: (0..if cfg!(loom) { 4 } else { PORTS_MAX }).map(|_| AtomicU32::new(0)).collect(),
            learned: AtomicU64::new(0),
            moved: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            limited: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// Entries it can hold.
    pub fn capacity(&self) -> usize {
        self.sets.len() * WAYS
    }

    /// Entries now, including expired ones not yet swept.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What computes places in this table.
    #[inline]
    pub fn places(&self) -> Places {
        self.places
    }

    /// Where `mac` in `vlan` may be.
    #[inline]
    pub fn place(&self, mac: u64, vlan: VlanId) -> Place {
        self.places.place(mac, vlan)
    }

    #[inline]
    fn home(&self, place: Place) -> usize {
        (place.hash as usize / WAYS) & (self.sets.len() - 1)
    }

    #[inline]
    fn alternate(&self, place: Place) -> usize {
        (place.hash >> 24) as usize & (self.sets.len() - 1)
    }

    /// The slot where an address most likely is.
    #[inline]
    fn first(&self, place: Place) -> &Slot {
        &self.sets[self.home(place)].slots[place.first_way()]
    }

    /// Brings the slot where an address most likely is into the cache, so that several misses overlap. The result only keeps the
    /// compiler from leaving the load out.
    #[inline]
    pub fn touch(&self, place: Place) -> u64 {
        self.first(place).key.load(Ordering::Relaxed)
    }

    /// Set, way and value of an address.
    #[inline(never)]
    fn find(&self, place: Place) -> Option<(usize, usize, Value)> {
        let home = self.home(place);
        let set = &self.sets[home];
        if let Some((way, value)) = set.find(place) {
            return Some((home, way, value));
        }
        if !set.overflowed() {
            return None;
        }
        let alternate = self.alternate(place);
        self.sets[alternate].find(place).map(|(way, value)| (alternate, way, value))
    }

    /// The port an address is at, unless the entry has expired.
    #[inline]
    pub fn lookup(&self, place: Place, now: u32, ageing: u32) -> Option<PortId> {
        match self.first(place).probe(place) {
            Some(value) if value.age(now) <= ageing => Some(value.port()),
            _ => self.lookup_further(place, now, ageing),
        }
    }

    /// Out of line, as nearly every address is in its first slot and young.
    #[inline(never)]
    fn lookup_further(&self, place: Place, now: u32, ageing: u32) -> Option<PortId> {
        let (_, _, value) = self.find(place)?;
        (!value.expired(now, ageing)).then(|| value.port())
    }

    /// Learns that an address is at a port, or refreshes its age.
    #[inline]
    pub fn learn(&self, place: Place, learner: &Learner) -> Learned {
        let slot = self.first(place);
        // Nearly always nothing is new, not even the tick. Should the slot have changed hands between the two loads, then to
        // another address of this port, and the next frame learns.
        if slot.key.load(Ordering::Acquire) & KEY_MASK == place.key
            && slot.value.load(Ordering::Relaxed) == Value::new(learner.port, learner.now, learner.kind, place.hash).0
        {
            return Learned::Known;
        }
        self.learn_news(place, *learner)
    }

    #[inline(never)]
    fn learn_news(&self, place: Place, learner: Learner) -> Learned {
        let learner = &learner;
        if let Some((_, _, value)) = self.find(place)
            && !value.expired(learner.now, learner.ageing)
        {
            if value.port() != learner.port {
                return self.move_entry(place, learner);
            }
            if value.seen() != learner.now & TICK_MASK && value.kind().ages() {
                self.refresh(place, learner);
            }
            return Learned::Known;
        }
        self.add(place, learner)
    }

    #[cold]
    fn refresh(&self, place: Place, learner: &Learner) {
        let Some((set, way, value)) = self.find(place).filter(|(_, _, value)| value.port() == learner.port) else { return };
        let new = Value::new(learner.port, learner.now, value.kind(), place.hash);
        // If this fails another worker refreshed or moved the entry: nothing is left to do.
        let _ = self.sets[set].slots[way].value.compare_exchange(value.0, new.0, Ordering::AcqRel, Ordering::Relaxed);
    }

    #[cold]
    fn move_entry(&self, place: Place, learner: &Learner) -> Learned {
        // What changed since the lookup is for the next frame to sort out.
        let Some((set, way, value)) = self.find(place).filter(|(_, _, value)| value.port() != learner.port) else {
            return Learned::NotLearned;
        };
        if value.kind() != EntryKind::Learned {
            return Learned::Conflict;
        }
        if self.by_port[learner.port.index()].load(Ordering::Relaxed) >= learner.limit {
            self.limited.fetch_add(1, Ordering::Relaxed);
            return Learned::NotLearned;
        }
        let new = Value::new(learner.port, learner.now, learner.kind, place.hash);
        if self.sets[set].slots[way].value.compare_exchange(value.0, new.0, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return Learned::NotLearned;
        }
        self.by_port[value.port().index()].fetch_sub(1, Ordering::Relaxed);
        self.by_port[learner.port.index()].fetch_add(1, Ordering::Relaxed);
        self.moved.fetch_add(1, Ordering::Relaxed);
        Learned::Moved(value.port())
    }

    #[cold]
    fn add(&self, place: Place, learner: &Learner) -> Learned {
        let held = self.by_port[learner.port.index()].load(Ordering::Relaxed);
        let (home, alternate) = (self.home(place), self.alternate(place));
        let Some(home_claim) = self.sets[home].try_claim() else { return Learned::NotLearned };
        // Another worker may have added the address, or it is here but expired: reuse its slot.
        if let Some((set, way, value)) = self.find(place) {
            if !value.expired(learner.now, learner.ageing) {
                return Learned::NotLearned;
            }
            if value.port() != learner.port && held >= learner.limit {
                self.limited.fetch_add(1, Ordering::Relaxed);
                return Learned::NotLearned;
            }
            let alternate_claim = if set == home { None } else { Some(self.sets[set].try_claim()) };
            let claim = match &alternate_claim {
                None => &home_claim,
                Some(Some(claim)) => claim,
                Some(None) => return Learned::NotLearned,
            };
            self.replace(claim, way, place, Value::new(learner.port, learner.now, learner.kind, place.hash));
            self.expired.fetch_add(1, Ordering::Relaxed);
            self.learned.fetch_add(1, Ordering::Relaxed);
            return Learned::New;
        }
        if held >= learner.limit {
            self.limited.fetch_add(1, Ordering::Relaxed);
            return Learned::NotLearned;
        }
        let value = Value::new(learner.port, learner.now, learner.kind, place.hash);
        if let Some(way) = self.room(&home_claim, place, learner) {
            self.replace(&home_claim, way, place, value);
            self.learned.fetch_add(1, Ordering::Relaxed);
            return Learned::New;
        }
        let alternate_claim = if alternate == home { None } else { self.sets[alternate].try_claim() };
        if let Some(claim) = &alternate_claim
            && let Some(way) = self.room(claim, place, learner)
        {
            home_claim.set_overflowed();
            self.replace(claim, way, place, value);
            self.learned.fetch_add(1, Ordering::Relaxed);
            return Learned::New;
        }
        if let Some(way) = self.displace(&home_claim, home, learner) {
            self.replace(&home_claim, way, place, value);
            self.learned.fetch_add(1, Ordering::Relaxed);
            return Learned::New;
        }
        if let Some(claim) = &alternate_claim
            && let Some(way) = self.displace(claim, alternate, learner)
        {
            home_claim.set_overflowed();
            self.replace(claim, way, place, value);
            self.learned.fetch_add(1, Ordering::Relaxed);
            return Learned::New;
        }
        let in_home = self.victim(&home_claim, learner, held);
        let in_alternate = alternate_claim.as_ref().and_then(|claim| self.victim(claim, learner, held));
        let (claim, way) = match (in_home, in_alternate, &alternate_claim) {
            (Some((_, way)), None, _) => (&home_claim, way),
            (Some((a, way)), Some((b, _)), _) if a >= b => (&home_claim, way),
            (_, Some((_, way)), Some(claim)) => {
                home_claim.set_overflowed();
                (claim, way)
            }
            _ => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Learned::NotLearned;
            }
        };
        self.replace(claim, way, place, value);
        self.evicted.fetch_add(1, Ordering::Relaxed);
        self.learned.fetch_add(1, Ordering::Relaxed);
        Learned::New
    }

    /// An empty way, or one whose entry has expired.
    fn room(&self, claim: &Claim<'_>, place: Place, learner: &Learner) -> Option<usize> {
        let way = place.ways().find(|way| claim.entry(*way).is_none_or(|(_, value)| value.expired(learner.now, learner.ageing)))?;
        if claim.entry(way).is_some() {
            self.expired.fetch_add(1, Ordering::Relaxed);
        }
        Some(way)
    }

    /// Empties a way of a full set by moving its entry to the other set it may be in. Readers find the entry throughout; a
    /// refresh or move by another worker in between may be lost, which the next frame makes good.
    fn displace(&self, claim: &Claim<'_>, set: usize, learner: &Learner) -> Option<usize> {
        for way in 0..WAYS {
            let Some((key, value)) = claim.entry(way) else { continue };
            let place = self.place_of(key);
            let at_home = self.home(place) == set;
            let other = if at_home { self.alternate(place) } else { self.home(place) };
            if other == set {
                continue;
            }
            let Some(other_claim) = self.sets[other].try_claim() else { continue };
            let Some(free) = self.room(&other_claim, place, learner) else { continue };
            if at_home {
                claim.set_overflowed();
            }
            self.replace(&other_claim, free, place, value);
            self.clear(claim, way);
            return Some(way);
        }
        None
    }

    fn place_of(&self, key: u64) -> Place {
        self.place(key & ((1 << 48) - 1), VlanId::new((key >> 48) as u16 & 0xfff).unwrap_or_default())
    }

    /// The entry that must make room for a port that holds `held`, with its rank (addresses of its port, then age).
    fn victim(&self, claim: &Claim<'_>, learner: &Learner, held: u32) -> Option<((u32, u32), usize)> {
        (0..WAYS)
            .filter_map(|way| claim.entry(way).map(|(_, value)| (way, value)))
            .filter(|(_, value)| value.kind().ages())
            .map(|(way, value)| ((self.by_port[value.port().index()].load(Ordering::Relaxed), value.age(learner.now)), way))
            .filter(|((count, _), _)| *count >= held)
            .max()
    }

    /// Puts an entry into a way and keeps the counts of ports right, whatever was there.
    fn replace(&self, claim: &Claim<'_>, way: usize, place: Place, value: Value) {
        let occupied = claim.entry(way).is_some();
        let old = claim.put(way, place.key, value);
        if occupied {
            self.by_port[old.port().index()].fetch_sub(1, Ordering::Relaxed);
        } else {
            self.len.fetch_add(1, Ordering::Relaxed);
        }
        self.by_port[value.port().index()].fetch_add(1, Ordering::Relaxed);
    }

    /// Empties a way.
    fn clear(&self, claim: &Claim<'_>, way: usize) {
        let old = claim.put(way, 0, Value(0));
        self.by_port[old.port().index()].fetch_sub(1, Ordering::Relaxed);
        self.len.fetch_sub(1, Ordering::Relaxed);
    }

    /// Sets a static or local entry, replacing what was there; learned entries make room. `false` when the slots that this
    /// address could have hold only static ones.
    pub fn insert(&self, mac: MacAddr, vlan: VlanId, port: PortId, kind: EntryKind, now: u32) -> bool {
        let place = self.place(mac.to_u64(), vlan);
        let value = Value::new(port, now, kind, place.hash);
        let home = self.home(place);
        let home_claim = self.sets[home].claim();
        // Another thread that waits for the alternate set while it holds that as its home would wait for us and we for
        // it. So the alternate is only tried, and the home given up in between.
        let alternate = self.alternate(place);
        let alternate_claim = (alternate != home).then(|| self.sets[alternate].try_claim());
        if let Some(None) = alternate_claim {
            drop(home_claim);
            pause();
            return self.insert(mac, vlan, port, kind, now);
        }
        let alternate_claim = alternate_claim.flatten();
        let claim_of = |set| if set == home { Some(&home_claim) } else { alternate_claim.as_ref() };
        if let Some((set, way, _)) = self.find(place)
            && let Some(claim) = claim_of(set)
        {
            self.replace(claim, way, place, value);
            return true;
        }
        let free = |claim: &Claim<'_>| (0..WAYS).find(|way| claim.entry(*way).is_none());
        let oldest = |claim: &Claim<'_>| {
            (0..WAYS)
                .filter_map(|way| claim.entry(way).map(|(_, value)| (way, value)))
                .filter(|(_, value)| value.kind().ages())
                .max_by_key(|(_, value)| value.age(now))
                .map(|(way, _)| way)
        };
        let in_alternate = |pick: &dyn Fn(&Claim<'_>) -> Option<usize>| alternate_claim.as_ref().and_then(|c| pick(c).map(|way| (c, way)));
        let in_home = |pick: &dyn Fn(&Claim<'_>) -> Option<usize>| pick(&home_claim).map(|way| (&home_claim, way));
        let Some((claim, way)) =
            in_home(&free).or_else(|| in_alternate(&free)).or_else(|| in_home(&oldest)).or_else(|| in_alternate(&oldest))
        else {
            return false;
        };
        if !core::ptr::eq(claim, &home_claim) {
            home_claim.set_overflowed();
        }
        if claim.entry(way).is_some() {
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        self.replace(claim, way, place, value);
        true
    }

    /// Removes an entry of any kind and returns it.
    pub fn remove(&self, mac: MacAddr, vlan: VlanId) -> Option<Entry> {
        let place = self.place(mac.to_u64(), vlan);
        loop {
            let (set, _, _) = self.find(place)?;
            let claim = self.sets[set].claim();
            // It may have gone, or moved to the other set, before the claim.
            if let Some((way, value)) = self.sets[set].find(place) {
                self.clear(&claim, way);
                return Some(entry(place.key, value));
            }
        }
    }

    /// Finds an entry of any kind, expired or not.
    pub fn get(&self, mac: MacAddr, vlan: VlanId) -> Option<Entry> {
        let place = self.place(mac.to_u64(), vlan);
        self.find(place).map(|(_, _, value)| entry(place.key, value))
    }

    /// Removes the entries the filter matches; returns how many.
    pub fn flush(&self, filter: FlushFilter) -> usize {
        let matches = |key: u64, value: Value| {
            filter.port.is_none_or(|port| value.port() == port)
                && filter.vlan.is_none_or(|vlan| entry(key, value).vlan == vlan)
                && (filter.all_kinds || value.kind().ages())
        };
        let mut flushed = 0;
        for set in &self.sets {
            flushed += self.clear_matching(set, matches);
        }
        flushed
    }

    fn clear_matching(&self, set: &Set, matches: impl Fn(u64, Value) -> bool) -> usize {
        if set.slots.iter().all(|slot| slot.key.load(Ordering::Relaxed) & KEY_MASK == 0) {
            return 0;
        }
        let claim = set.claim();
        let mut cleared = 0;
        for way in 0..WAYS {
            if let Some((key, value)) = claim.entry(way)
                && matches(key, value)
            {
                self.clear(&claim, way);
                cleared += 1;
            }
        }
        cleared
    }

    /// Forgets expired entries in at least `slots` slots from `cursor` on; returns where to go on, `None` at the end.
    pub fn sweep(&self, cursor: usize, slots: usize, now: u32, ageing: u32) -> Option<usize> {
        let start = cursor / WAYS;
        let end = start.saturating_add(slots.div_ceil(WAYS).max(1)).min(self.sets.len());
        for set in self.sets.get(start..end)? {
            let expired = |_, value: Value| value.expired(now, ageing);
            let any = (0..WAYS).any(|way| {
                set.slots[way].key.load(Ordering::Relaxed) & KEY_MASK != 0
                    && expired(0, Value(set.slots[way].value.load(Ordering::Relaxed)))
            });
            if any {
                let n = self.clear_matching(set, expired);
                self.expired.fetch_add(n as u64, Ordering::Relaxed);
            }
        }
        (end < self.sets.len()).then_some(end * WAYS)
    }

    /// Appends the entries of the slots from `cursor` on, until `into` holds at least `max`, 16384 slots were looked at, or the
    /// table ends; returns where to go on, `None` at the end. What changes meanwhile may be listed or not.
    pub fn list(&self, cursor: usize, max: usize, into: &mut Vec<Entry>) -> Option<usize> {
        // A large and nearly empty table must not hold the caller up either.
        let last = cursor / WAYS + LIST_SLOTS / WAYS;
        for (i, set) in self.sets.iter().enumerate().skip(cursor / WAYS) {
            if into.len() >= max || i >= last {
                return Some(i * WAYS);
            }
            for way in 0..WAYS {
                let key = set.slots[way].key.load(Ordering::Acquire) & KEY_MASK;
                let value = Value(set.slots[way].value.load(Ordering::Acquire));
                let same = set.slots[way].key.load(Ordering::Relaxed) & KEY_MASK == key;
                if key != 0 && same && value.belongs_to(self.place_of(key).hash) {
                    into.push(entry(key, value));
                }
            }
        }
        None
    }

    /// What happened since the table was made.
    pub fn stats(&self) -> FdbStats {
        FdbStats {
            learned: self.learned.load(Ordering::Relaxed),
            moved: self.moved.load(Ordering::Relaxed),
            expired: self.expired.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
            limited: self.limited.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }

    /// Entries of one port.
    pub fn port_len(&self, port: PortId) -> usize {
        self.by_port[port.index()].load(Ordering::Relaxed) as usize
    }
}

fn entry(key: u64, value: Value) -> Entry {
    Entry {
        mac: MacAddr::from_u64(key & ((1 << 48) - 1)),
        vlan: VlanId::new((key >> 48) as u16 & 0xfff).unwrap_or_default(),
        port: value.port(),
        seen: value.seen(),
        kind: value.kind(),
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const AGEING: u32 = 1000;

    fn learner(port: u16, now: u32) -> Learner {
        Learner { port: PortId(port), limit: u32::MAX, kind: EntryKind::Learned, now, ageing: AGEING }
    }

    fn mac(n: u64) -> u64 {
        0x5254_0000_0000 + n
    }

    fn learn(fdb: &Fdb, n: u64, port: u16, now: u32) -> Learned {
        fdb.learn(fdb.place(mac(n), VlanId::NONE), &learner(port, now))
    }

    fn port_of(fdb: &Fdb, n: u64, now: u32) -> Option<u16> {
        fdb.lookup(fdb.place(mac(n), VlanId::NONE), now, AGEING).map(|p| p.0)
    }

    #[test]
    fn learns_moves_and_forgets() {
        let fdb = Fdb::new(64);
        assert_eq!(learn(&fdb, 1, 1, 0), Learned::New);
        assert_eq!(learn(&fdb, 1, 1, 0), Learned::Known);
        assert_eq!(port_of(&fdb, 1, 0), Some(1));
        assert_eq!(learn(&fdb, 1, 2, 5), Learned::Moved(PortId(1)));
        assert_eq!(port_of(&fdb, 1, 5 + AGEING), Some(2));
        assert_eq!(port_of(&fdb, 1, 6 + AGEING), None, "expired entries miss before they are swept");
        assert_eq!((fdb.port_len(PortId(1)), fdb.port_len(PortId(2)), fdb.len()), (0, 1, 1));
        assert_eq!(fdb.sweep(0, fdb.capacity(), 6 + AGEING, AGEING), None);
        assert_eq!((fdb.len(), fdb.port_len(PortId(2)), fdb.stats().expired), (0, 0, 1));
    }

    #[test]
    fn a_frame_refreshes_the_age() {
        let fdb = Fdb::new(64);
        learn(&fdb, 1, 1, 0);
        learn(&fdb, 1, 1, AGEING);
        assert_eq!(port_of(&fdb, 1, 2 * AGEING), Some(1));
    }

    #[test]
    fn ages_survive_the_wrap_of_the_tick() {
        let fdb = Fdb::new(64);
        let start = u32::MAX - 10;
        learn(&fdb, 1, 1, start);
        assert_eq!(port_of(&fdb, 1, start.wrapping_add(AGEING)), Some(1));
        assert_eq!(port_of(&fdb, 1, start.wrapping_add(AGEING + 1)), None);
    }

    #[test]
    fn vlans_are_separate() {
        let fdb = Fdb::new(64);
        let (a, b) = (VlanId::new(10).unwrap(), VlanId::new(20).unwrap());
        fdb.learn(fdb.place(mac(1), a), &learner(1, 0));
        fdb.learn(fdb.place(mac(1), b), &learner(2, 0));
        assert_eq!(fdb.lookup(fdb.place(mac(1), a), 0, AGEING), Some(PortId(1)));
        assert_eq!(fdb.lookup(fdb.place(mac(1), b), 0, AGEING), Some(PortId(2)));
        assert_eq!(fdb.lookup(fdb.place(mac(1), VlanId::NONE), 0, AGEING), None);
        assert_eq!(fdb.flush(FlushFilter { vlan: Some(a), ..FlushFilter::default() }), 1);
        assert_eq!(fdb.len(), 1);
    }

    #[test]
    fn static_and_sticky_entries_stay_where_they_are() {
        let fdb = Fdb::new(64);
        assert!(fdb.insert(MacAddr::from_u64(mac(1)), VlanId::NONE, PortId(1), EntryKind::Static, 0));
        assert_eq!(learn(&fdb, 1, 2, 9), Learned::Conflict);
        assert_eq!(learn(&fdb, 1, 1, 9), Learned::Known);
        assert_eq!(port_of(&fdb, 1, 100 * AGEING), Some(1), "a static entry does not age");
        let sticky = Learner { kind: EntryKind::Sticky, ..learner(1, 0) };
        assert_eq!(fdb.learn(fdb.place(mac(2), VlanId::NONE), &sticky), Learned::New);
        assert_eq!(learn(&fdb, 2, 2, 1), Learned::Conflict);
        assert_eq!(learn(&fdb, 2, 2, AGEING + 1), Learned::New, "a sticky entry ages and is free then");
        assert_eq!(fdb.flush(FlushFilter::default()), 1);
        assert!(fdb.remove(MacAddr::from_u64(mac(1)), VlanId::NONE).is_some());
        assert!(fdb.is_empty());
    }

    #[test]
    fn a_port_learns_up_to_its_limit() {
        let fdb = Fdb::new(1024);
        let limited = Learner { limit: 3, ..learner(1, 0) };
        let outcomes: Vec<_> = (0..5).map(|n| fdb.learn(fdb.place(mac(n), VlanId::NONE), &limited)).collect();
        assert_eq!(outcomes, [Learned::New, Learned::New, Learned::New, Learned::NotLearned, Learned::NotLearned]);
        learn(&fdb, 9, 2, 0);
        assert_eq!(fdb.learn(fdb.place(mac(9), VlanId::NONE), &limited), Learned::NotLearned, "no move into a full port");
        assert_eq!((fdb.port_len(PortId(1)), fdb.stats().limited), (3, 3));
    }

    #[test]
    fn a_flood_from_one_port_does_not_push_out_the_others() {
        let fdb = Fdb::new(1024);
        for n in 0..100 {
            learn(&fdb, n, 2, 0);
        }
        for n in 1000..200_000 {
            learn(&fdb, n, 1, 1);
        }
        let survivors = (0..100).filter(|n| port_of(&fdb, *n, 1) == Some(2)).count();
        assert_eq!(survivors, 100);
        assert!(fdb.len() > 1000 && fdb.stats().evicted > 0);
        assert_eq!(learn(&fdb, 500, 3, 1), Learned::New, "a port with few addresses still learns");
    }

    #[test]
    fn it_is_nearly_full_before_an_address_is_pushed_out() {
        let fdb = Fdb::new(1 << 16);
        let n = (fdb.capacity() * 90 / 100) as u64;
        (0..n).for_each(|i| {
            learn(&fdb, i, 1, 0);
        });
        let found = (0..n).filter(|i| port_of(&fdb, *i, 0) == Some(1)).count() as u64;
        assert!(n - found <= n / 1000, "{found} of {n}");
        let mut all = Vec::new();
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            let max = all.len() + 100;
            cursor = fdb.list(at, max, &mut all);
        }
        assert_eq!(all.len() as u64, found);
        assert_eq!(fdb.len() as u64, found);
    }

    #[test]
    fn static_entries_make_room_among_learned_ones_but_not_among_static_ones() {
        let fdb = Fdb::new(64);
        let mut refused = 0;
        for n in 0..200 {
            if !fdb.insert(MacAddr::from_u64(mac(n)), VlanId::NONE, PortId(1), EntryKind::Static, 0) {
                refused += 1;
            }
        }
        assert!(fdb.len() <= 64 && refused >= 136);
        let held = fdb.len();
        for n in 1000..1200 {
            learn(&fdb, n, 2, 0);
        }
        let statics = {
            let mut all = Vec::new();
            assert_eq!(fdb.list(0, usize::MAX, &mut all), None);
            all.iter().filter(|e| e.kind == EntryKind::Static).count()
        };
        assert_eq!(statics, held, "learning never pushes out a static entry");
    }
}
