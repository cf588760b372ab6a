//! The forwarding database (stub).
use crate::snapshot::PortId;
use wire::{MacAddr, VlanId};

/// The table.
pub struct Fdb {}

/// One entry, as listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Address.
    pub mac: MacAddr,
    /// VLAN.
    pub vlan: VlanId,
    /// Port.
    pub port: PortId,
    /// Tick of the last frame from the address (creation, for a static entry).
    pub seen: u32,
    /// How firmly it sits.
    pub kind: EntryKind,
}

/// How firmly an entry sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Learned: ages, moves.
    Learned,
    /// Learned on a sticky port: ages, never moves.
    Sticky,
    /// Set by the administrator: neither ages nor moves.
    Static,
    /// The switch's own address at its host port: neither ages nor moves.
    Local,
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
    /// Addresses not learned because only static entries could have made room.
    pub refused: u64,
}

/// What learning did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// Nothing new.
    Known,
    /// A new address.
    New,
    /// The address was at another port before.
    Moved(PortId),
    /// The address belongs to another port; the frame must be dropped.
    Conflict,
    /// Not learned: limit of the port, or no room.
    NotLearned,
}

#[allow(unused_variables)]
impl Fdb {
    /// A table for `capacity` addresses (rounded up to a power of two, at least 64).
    pub fn new(capacity: usize) -> Fdb {
        Fdb {}
    }
    /// Slots.
    pub fn capacity(&self) -> usize {
        0
    }
    /// Entries now, including expired ones not yet swept.
    pub fn len(&self) -> usize {
        0
    }
    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        true
    }
    /// Sets a static or local entry, replacing what was there. False when the slots for this address hold only static ones.
    pub fn insert(&self, mac: MacAddr, vlan: VlanId, port: PortId, kind: EntryKind, now: u32) -> bool {
        true
    }
    /// Removes an entry of any kind and returns it.
    pub fn remove(&self, mac: MacAddr, vlan: VlanId) -> Option<Entry> {
        None
    }
    /// Finds an entry of any kind without ageing.
    pub fn get(&self, mac: MacAddr, vlan: VlanId) -> Option<Entry> {
        None
    }
    /// Removes what the filter matches; returns how many.
    pub fn flush(&self, filter: FlushFilter) -> usize {
        0
    }
    /// Forgets expired entries in the part of the table that starts at `cursor`; returns the next cursor, `None` at the end.
    pub fn sweep(&self, cursor: usize, slots: usize, now: u32, ageing: u32) -> Option<usize> {
        None
    }
    /// Appends entries from `cursor` on, at least until `max` are there or the table ends; returns the next cursor, `None` at the end.
    pub fn list(&self, cursor: usize, max: usize, into: &mut Vec<Entry>) -> Option<usize> {
        None
    }
    /// Counts.
    pub fn stats(&self) -> FdbStats {
        FdbStats::default()
    }
    /// Entries of one port.
    pub fn port_len(&self, port: PortId) -> usize {
        0
    }
}
