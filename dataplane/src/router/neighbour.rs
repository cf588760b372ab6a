//! Which MAC address a neighbour has: the table that control publishes and workers read without locks.
//!
//! Control's agent decides (`control::neighbour`); it publishes a new [`Neighbours`] table whenever an answer changed. A
//! worker looks an address up in a [`View`], and marks the entry as used, so that the agent knows which entries to probe.
//! Frames for a neighbour that is not resolved yet wait in the worker ([`super::waiting`]).

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;

use arc_swap::ArcSwap;
use wire::MacAddr;

use super::address::{Address, Family};
use super::{InterfaceId, RouterId};
use crate::hash::mix;

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
    /// Counts the tables there were.
    version: AtomicU64,
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
        mix(halves, self.factor) as usize & (self.slots.len() - 1)
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
        Neighbours { table: ArcSwap::from_pointee(Table::new(&[], 0)), version: AtomicU64::new(0) }
    }

    /// Replaces all entries; `seed` is random. Returns those of the former table that were used since they were published,
    /// with that table, which must be kept until no worker holds it, so that none frees it.
    pub fn publish(&self, entries: &[Neighbour], seed: u64) -> Former {
        let former = self.table.swap(Arc::new(Table::new(entries, seed)));
        self.version.fetch_add(1, Ordering::Release);
        Former(former)
    }

    /// A number that is another as soon as an answer may be. Read before the table, so that it is never newer than that.
    #[inline]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn neighbour(interface: u8, family: Family, address: u128, mac: Option<u8>) -> Neighbour {
        let mac = mac.map(|mac| MacAddr([2, 0, 0, 0, 0, mac]));
        Neighbour { interface: InterfaceId(interface), family, address: Address(address), mac }
    }

    #[test]
    fn what_was_published_is_found_and_nothing_else() {
        let table = Neighbours::new();
        assert_eq!(table.view().resolve(InterfaceId(1), Family::V4, Address(1)), Resolved::Unknown);
        for seed in [0, 1, 0x9e37_79b9_7f4a_7c15] {
            // Addresses that differ in one half only, so that a poor hash shows.
            let entries: Vec<Neighbour> = (0..1000u128)
                .map(|i| neighbour((i % 3) as u8, Family::V6, i % 2 * (i << 64) + i, (i % 5 != 0).then_some(i as u8)))
                .collect();
            table.publish(&entries, seed);
            let view = table.view();
            for entry in &entries {
                let expected = entry.mac.map_or(Resolved::Failed, Resolved::Mac);
                assert_eq!(view.resolve(entry.interface, entry.family, entry.address), expected);
                assert_eq!(view.resolve(InterfaceId(4), entry.family, entry.address), Resolved::Unknown);
                assert_eq!(view.resolve(entry.interface, Family::V4, entry.address), Resolved::Unknown);
            }
        }
    }

    #[test]
    fn groups_need_no_table() {
        let table = Neighbours::new();
        let mac = |family, address| match table.view().resolve(InterfaceId(0), family, Address(address)) {
            Resolved::Mac(mac) => mac.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(mac(Family::V4, 0xe081_0203), "01:00:5e:01:02:03", "RFC 1112 section 6.4");
        assert_eq!(mac(Family::V4, 0xffff_ffff), "ff:ff:ff:ff:ff:ff");
        assert_eq!(mac(Family::V6, 0xff02_0000_0000_0000_0000_0001_ff12_3456), "33:33:ff:12:34:56", "RFC 2464 section 7");
    }

    #[test]
    fn use_is_seen_once_also_in_a_table_that_was_replaced() {
        let table = Neighbours::new();
        let entries = [neighbour(0, Family::V4, 1, Some(1)), neighbour(0, Family::V4, 2, Some(2))];
        drop(table.publish(&entries, 3));
        let used = || {
            let mut used = Vec::new();
            table.take_used(|entry| used.push(entry.address.0));
            used
        };
        let look = |address| table.view().resolve(InterfaceId(0), Family::V4, Address(address));
        look(2);
        look(2);
        assert_eq!((used(), used()), (vec![2], vec![]));
        let held = table.view();
        held.resolve(InterfaceId(0), Family::V4, Address(1));
        let former = table.publish(&entries, 4);
        assert!(former.is_held());
        drop(held);
        assert!(!former.is_held());
        let mut of_former = Vec::new();
        former.take_used(|entry| of_former.push(entry.address.0));
        assert_eq!((of_former, used()), (vec![1], vec![]));
    }
}
