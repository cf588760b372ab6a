//! The paths of established flows: what was decided for one packet, and is the same for those that follow it.
//!
//! A packet that goes the long way through rules and routes leaves a path behind, if all that it met is the same for the other packets
//! of its flow in that direction. A path is found by what the packets have in their headers. It holds as long as the flow and its
//! status are as they were, until the next configuration: rules, routes and interfaces may be others then. That the neighbour has
//! the same MAC address is made sure of for each burst.
//!
//! The cache belongs to one worker. It is bounded: a path takes the place of another one, whose flow goes the long way again.

use std::hash::{BuildHasher, RandomState};

use wire::{MacAddr, ethernet};

use crate::conntrack::established::Known;
use crate::hash::mix;
use crate::router::neighbour::Resolved;
use crate::router::{Address, Family, InterfaceId, Router};
use crate::rules::Counted;
use crate::snapshot::PortId;

/// Paths that have the same place, of which the older one goes.
const WAYS: usize = 2;
/// Paths of a worker for one version of IP.
const PATHS: usize = 16_384;

/// The addresses of a packet as they lie in its header: source, then destination.
pub(super) trait Ends: Copy + Eq {
    /// Version of IP.
    const FAMILY: Family;
    /// Nothing.
    const NONE: Self;
    /// Mixes in what else tells flows apart.
    fn hash(&self, rest: u64, keys: &[u64; 4]) -> u64;
}

impl Ends for u64 {
    const FAMILY: Family = Family::V4;
    const NONE: u64 = 0;

    #[inline(always)]
    fn hash(&self, rest: u64, keys: &[u64; 4]) -> u64 {
        mix(mix(self ^ keys[0], rest ^ keys[1]), keys[2])
    }
}

impl Ends for [u64; 4] {
    const FAMILY: Family = Family::V6;
    const NONE: [u64; 4] = [0; 4];

    #[inline(always)]
    fn hash(&self, rest: u64, keys: &[u64; 4]) -> u64 {
        let [a, b, c, d] = *self;
        mix(mix(a ^ keys[0], c ^ keys[1]) ^ mix(b ^ keys[2], d ^ keys[3]), rest ^ keys[1])
    }
}

/// What tells the packets of paths apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key<E> {
    ends: E,
    rest: u64,
}

impl<E> Key<E> {
    /// `ports` as they lie in the header.
    #[inline(always)]
    pub(super) fn new(ends: E, ports: u32, protocol: u8, at: PortId) -> Key<E> {
        Key { ends, rest: u64::from(ports) | u64::from(protocol) << 32 | u64::from(at.0) << 40 }
    }
}

/// How addresses and ports change, in words as they lie in memory: what is added to the sums they are part of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Changes {
    /// To that of the IPv4 header, with one off its time to live.
    pub(super) header: u32,
    /// To that of the pseudo header.
    pub(super) pseudo: u32,
    /// To that of the upper layer with its pseudo header.
    pub(super) upper: u32,
}

/// What packets become.
#[derive(Clone, Copy, Debug)]
pub(super) struct Becomes<E> {
    pub(super) ends: E,
    pub(super) ports: u32,
    /// Whether it is something else than they are.
    pub(super) translated: bool,
    pub(super) changes: Changes,
}

/// A path.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Path<E> {
    key: Key<E>,
    /// The configuration it was made under.
    epoch: u32,
    /// The port of the interface they leave by.
    pub(super) to: PortId,
    /// MTU of the interface.
    pub(super) mtu: u32,
    /// The flow.
    pub(super) known: Known,
    pub(super) becomes: Becomes<E>,
    /// Destination and source address.
    pub(super) addresses: [u8; 12],
    /// When the neighbour was last asked for, and of which version the answer is.
    asked: Asked,
    pub(super) way: Way,
}

/// What the path of a flow depends on beside the flow.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// The interface they leave by.
    pub(super) out: InterfaceId,
    /// Address of the neighbour they go to.
    pub(super) next_hop: Address,
    /// Where they are counted.
    pub(super) counted: Counted,
}

/// At which moment something was known of neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    tick: u32,
    version: u64,
}

impl Asked {
    /// What is known now.
    #[inline]
    pub(super) fn now(router: &Router, tick: u32) -> Asked {
        Asked { tick, version: router.state.neighbours.version() }
    }
}

/// The paths of one worker for one version of IP.
pub(super) struct Paths<E> {
    sets: Box<[[Path<E>; WAYS]]>,
    keys: [u64; 4],
    epoch: u32,
}

impl<E: Ends> Paths<E> {
    /// For workers without routers.
    pub(super) fn none() -> Paths<E> {
        Paths::new(1)
    }

    /// For workers with routers.
    pub(super) fn full() -> Paths<E> {
        Paths::new(PATHS / WAYS)
    }

    fn new(sets: usize) -> Paths<E> {
        let random = RandomState::new();
        // Whoever makes flows meet makes them go the long way, and no more.
        let keys = core::array::from_fn(|i| random.hash_one(i) | 1);
        Paths { sets: (0..sets).map(|_| [const { Path::NONE }; WAYS]).collect(), keys, epoch: 1 }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.epoch = self.epoch.checked_add(1).unwrap_or_else(|| {
            self.sets.iter_mut().flatten().for_each(|path| path.epoch = 0);
            1
        });
    }

    #[inline(always)]
    fn set(&self, key: &Key<E>) -> usize {
        key.ends.hash(key.rest, &self.keys) as usize & (self.sets.len() - 1)
    }

    /// The path of packets with this key.
    #[inline(always)]
    pub(super) fn find(&mut self, key: &Key<E>) -> Option<&mut Path<E>> {
        let (set, epoch) = (self.set(key), self.epoch);
        let [first, second] = &mut self.sets[set];
        if first.is(key, epoch) {
            return Some(first);
        }
        second.is(key, epoch).then_some(second)
    }

    /// Where the path of packets with this key is to be made: in place of itself or of the older one.
    fn place(&mut self, key: &Key<E>) -> &mut Path<E> {
        let (set, epoch) = (self.set(key), self.epoch);
        let ways = &mut self.sets[set];
        let way = ways.iter().position(|path| path.is(key, epoch)).unwrap_or_else(|| {
            ways.swap(0, 1);
            0
        });
        &mut ways[way]
    }

    /// Makes the path of packets of a flow that come with `key`. Nothing, if there is no such interface.
    pub(super) fn make(&mut self, router: &Router, key: Key<E>, known: Known, becomes: Becomes<E>, way: Way) {
        let Some(interface) = router.interface(way.out) else { return };
        let epoch = self.epoch;
        let path = self.place(&key);
        let mut addresses = [0; 12];
        addresses[ethernet::SOURCE].copy_from_slice(&interface.mac.0);
        *path = Path {
            key,
            epoch,
            to: interface.port,
            mtu: interface.mtu,
            known,
            becomes,
            addresses,
            // No table has this version: the neighbour is asked for with the first packet.
            asked: Asked { tick: 0, version: u64::MAX },
            way,
        };
    }
}

impl<E: Ends> Path<E> {
    const NONE: Path<E> = Path {
        key: Key { ends: E::NONE, rest: 0 },
        epoch: 0,
        to: PortId(0),
        mtu: 0,
        known: Known::NONE,
        becomes: Becomes { ends: E::NONE, ports: 0, translated: false, changes: Changes { header: 0, pseudo: 0, upper: 0 } },
        addresses: [0; 12],
        asked: Asked { tick: 0, version: u64::MAX },
        way: Way { out: InterfaceId(0), next_hop: Address(0), counted: Counted::NONE },
    };

    #[inline(always)]
    fn is(&self, key: &Key<E>, epoch: u32) -> bool {
        self.key == *key && self.epoch == epoch
    }

    /// Makes sure that the address of the neighbour is known, and that control knows it is in use: that it is asked for in each tick.
    /// `false` if it is not known.
    #[inline(always)]
    pub(super) fn find_neighbour(&mut self, router: &Router, now: Asked) -> bool {
        self.asked == now || self.ask_for_neighbour(router, now)
    }

    #[cold]
    fn ask_for_neighbour(&mut self, router: &Router, now: Asked) -> bool {
        let view = router.state.neighbours.view();
        let Resolved::Mac(MacAddr(mac)) = view.resolve(self.way.out, E::FAMILY, self.way.next_hop) else { return false };
        self.addresses[ethernet::DESTINATION].copy_from_slice(&mac);
        self.asked = now;
        true
    }
}
