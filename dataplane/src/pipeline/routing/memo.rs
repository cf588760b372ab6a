//! Routes of recent packets: what the reverse path filter and the routes say of addresses is the same until the next
//! configuration, so a worker asks once for each pair of them.

use crate::router::{Address, Family, InterfaceId, RouterId};

/// Pairs of addresses that are remembered; 64 octets each.
const ENTRIES: usize = 2048;

/// What a route depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct RouteKey {
    pub(super) source: Address,
    pub(super) destination: Address,
    pub(super) router: RouterId,
    pub(super) from: InterfaceId,
    pub(super) family: Family,
}

#[derive(Clone, Copy)]
struct Entry {
    key: RouteKey,
    interface: InterfaceId,
    next_hop: Address,
}

/// Packets that pass to a neighbour, by their addresses. Belongs to one worker, and is cleared with each configuration.
pub(super) struct RouteMemo {
    entries: Box<[Option<Entry>]>,
}

impl RouteMemo {
    /// One that remembers nothing.
    pub(super) fn none() -> RouteMemo {
        RouteMemo { entries: Box::new([None]) }
    }

    /// One for workers with routers.
    pub(super) fn full() -> RouteMemo {
        RouteMemo { entries: vec![None; ENTRIES].into() }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.entries.fill(None);
    }

    #[inline]
    fn place(&self, key: &RouteKey) -> usize {
        // Whoever makes addresses collide makes the look at the routes necessary again, and no more.
        let fold = |address: Address| address.0 as u64 ^ (address.0 >> 64) as u64;
        let mixed = fold(key.source).rotate_left(32) ^ fold(key.destination);
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & (self.entries.len() - 1)
    }

    /// The interface and the next hop of packets like this one.
    #[inline]
    pub(super) fn find(&self, key: &RouteKey) -> Option<(InterfaceId, Address)> {
        self.entries[self.place(key)].as_ref().filter(|entry| entry.key == *key).map(|entry| (entry.interface, entry.next_hop))
    }

    /// Remembers them.
    pub(super) fn remember(&mut self, key: RouteKey, interface: InterfaceId, next_hop: Address) {
        let place = self.place(&key);
        self.entries[place] = Some(Entry { key, interface, next_hop });
    }
}
