//! Which MAC address a neighbour has: the table that control publishes and workers read without locks.
//!
//! Control's agent decides (`control::neighbour`); it publishes a new [`Neighbours`] table whenever an answer changed. A
//! worker looks an address up in a [`View`], and marks the entry as used, so that the agent knows which entries to probe.
//! Frames for a neighbour that is not resolved yet wait in the worker ([`super::waiting`]).

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

use arc_swap::ArcSwap;
use wire::MacAddr;

use super::address::{Address, Family};
use super::{InterfaceId, RouterId};

/// A neighbour of a router: an address at an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NextHop {
    /// The router.
    pub router: RouterId,
    /// The interface it is reached by.
    pub interface: InterfaceId,
    /// Version of IP.
    pub family: Family,
    /// Its address.
    pub address: Address,
}

/// What is known of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// It has this MAC address.
    Mac(MacAddr),
    /// Nothing yet: control must ask.
    Unknown,
    /// It did not answer a moment ago.
    Failed,
}

/// A neighbour as it is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The interface it is reached by.
    pub interface: InterfaceId,
    /// Version of IP.
    pub family: Family,
    /// Its address.
    pub address: Address,
    /// Its MAC address; `None` for one that failed to answer.
    pub mac: Option<MacAddr>,
}

/// The neighbours of one router, shared by control (the only writer) and the workers.
#[derive(Debug)]
pub struct Neighbours {
    table: ArcSwap<Table>,
}

/// The table at one moment; it stays valid while it is held, but a worker takes it anew for each burst.
#[derive(Debug)]
pub struct View(arc_swap::Guard<Arc<Table>>);

/// Linear probing in twice as many slots as entries, rounded up to a power of two.
#[derive(Debug)]
struct Table {
    slots: Box<[Option<Entry>]>,
    /// Odd and random: neighbours choose addresses, but cannot choose which of them collide.
    factor: u64,
}

#[derive(Debug)]
struct Entry {
    neighbour: Neighbour,
    /// A worker sent something there since the agent looked.
    used: AtomicBool,
}

impl Table {
    fn new(entries: &[Neighbour], seed: u64) -> Table {
        let len = (2 * entries.len()).next_power_of_two().max(2);
        let mut table = Table { slots: (0..len).map(|_| None).collect(), factor: seed | 1 };
        for neighbour in entries {
            let mut at = table.home(neighbour.interface, neighbour.address);
            while table.slots[at].is_some() {
                at = (at + 1) & (len - 1);
            }
            table.slots[at] = Some(Entry { neighbour: *neighbour, used: AtomicBool::new(false) });
        }
        table
    }

    #[inline]
    fn home(&self, interface: InterfaceId, address: Address) -> usize {
        let halves = (address.0 as u64).wrapping_mul(self.factor) ^ (address.0 >> 64) as u64 ^ u64::from(interface.0) << 56;
        let mixed = u128::from(halves) * u128::from(self.factor);
        ((mixed >> 64) as u64 ^ mixed as u64) as usize & (self.slots.len() - 1)
    }

    #[inline]
    fn find(&self, interface: InterfaceId, family: Family, address: Address) -> Option<&Entry> {
        let mut at = self.home(interface, address);
        // Half of the slots are free, so the search ends.
        while let Some(entry) = &self.slots[at] {
            let found = &entry.neighbour;
            if found.address == address && found.interface == interface && found.family == family {
                return Some(entry);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        None
    }
}

impl Neighbours {
    /// A table without neighbours.
    pub fn new() -> Neighbours {
        Neighbours { table: ArcSwap::from_pointee(Table::new(&[], 0)) }
    }

    /// Replaces all entries; `seed` is random. Returns those of the former table that were used since they were published,
    /// with that table, which must be kept until no worker holds it, so that none frees it.
    pub fn publish(&self, entries: &[Neighbour], seed: u64) -> Former {
        Former(self.table.swap(Arc::new(Table::new(entries, seed))))
    }

    /// The table now.
    #[inline]
    pub fn view(&self) -> View {
        View(self.table.load())
    }

    /// Calls `each` with every neighbour that workers sent something to since the last call.
    pub fn take_used(&self, each: impl FnMut(&Neighbour)) {
        used_of(&self.table.load(), each);
    }
}

impl Default for Neighbours {
    fn default() -> Neighbours {
        Neighbours::new()
    }
}

fn used_of(table: &Table, mut each: impl FnMut(&Neighbour)) {
    let used = table.slots.iter().flatten().filter(|entry| entry.used.load(Ordering::Relaxed));
    used.for_each(|entry| {
        entry.used.store(false, Ordering::Relaxed);
        each(&entry.neighbour);
    });
}

/// A table that was replaced.
#[derive(Debug)]
pub struct Former(Arc<Table>);

impl Former {
    /// As [`Neighbours::take_used`].
    pub fn take_used(&self, each: impl FnMut(&Neighbour)) {
        used_of(&self.0, each);
    }

    /// Whether a worker may hold it still.
    pub fn is_held(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

impl View {
    /// The MAC address of a neighbour, or that of a group of stations for a multicast or the limited broadcast address. The
    /// broadcast addresses of networks are [`super::fib::RouteKind::Broadcast`] routes.
    #[inline]
    pub fn resolve(&self, interface: InterfaceId, family: Family, address: Address) -> Resolved {
        match self.0.find(interface, family, address) {
            Some(entry) => {
                if !entry.used.load(Ordering::Relaxed) {
                    entry.used.store(true, Ordering::Relaxed);
                }
                entry.neighbour.mac.map_or(Resolved::Failed, Resolved::Mac)
            }
            None => group_mac(family, address).map_or(Resolved::Unknown, Resolved::Mac),
        }
    }
}

/// The MAC address that stands for a multicast address (RFC 1112 section 6.4, RFC 2464 section 7), or for 255.255.255.255.
#[inline]
pub fn group_mac(family: Family, address: Address) -> Option<MacAddr> {
    let [.., a, b, c, d] = address.0.to_be_bytes();
    match family {
        _ if address.is_multicast(family) => Some(match family {
            Family::V4 => MacAddr([0x01, 0x00, 0x5e, b & 0x7f, c, d]),
            Family::V6 => MacAddr([0x33, 0x33, a, b, c, d]),
        }),
        Family::V4 if address.0 == u128::from(u32::MAX) => Some(MacAddr::BROADCAST),
        _ => None,
    }
}
