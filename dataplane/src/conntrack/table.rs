//! The entries: in chunks that are made when they are needed, each with a lock of its own, so that only the packets of one flow
//! ever wait for each other.
//!
//! An entry is free (in the list of free entries, or never used), or it holds a flow. Who takes one from the list owns it
//! until it gives it back. Order of locks: stripes of the index, one entry, lists.

use std::sync::OnceLock;

use super::SequenceAdjustment;
use super::flow::Flow;
use crate::snapshot::{PORTS_MAX, PortId};
use crate::sync::{AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering, lock, touch};

/// Entries of a chunk.
const CHUNK: usize = if cfg!(loom) { 4 } else { 512 };
/// Ports that flows are counted for.
const PORTS: usize = if cfg!(loom) { 2 } else { PORTS_MAX };

#[repr(align(64))]
struct Entry(Mutex<Flow>);

type Chunk = [Entry; CHUNK];

#[cfg(not(loom))]
const _: () = assert!(size_of::<Entry>() == 192, "three cache lines");

/// Neighbours in a list, each a place and one; 0 for none. Guarded by the lock of the list.
#[derive(Default)]
struct Link {
    older: AtomicU32,
    newer: AtomicU32,
}

/// Packets and octets by direction. Guarded by the lock of the entry.
#[derive(Default)]
pub(super) struct Account {
    pub(super) packets: [AtomicU64; 2],
    pub(super) octets: [AtomicU64; 2],
}

impl Account {
    /// Begins anew.
    pub(super) fn clear(&self) {
        self.packets.iter().chain(&self.octets).for_each(|count| count.store(0, Ordering::Relaxed));
    }
}

/// Of both directions.
type Adjustments = [SequenceAdjustment; 2];

/// What the entries of a chunk have beside them: nothing that a packet of a known flow needs.
struct Beside {
    links: Box<[Link]>,
    accounts: OnceLock<Box<[Account]>>,
    adjustments: OnceLock<Box<[Mutex<Adjustments>]>>,
}

struct Free {
    /// First of the list, and one.
    head: u32,
    /// Entries from here on were never used.
    fresh: u32,
}

/// The flows of one port.
#[derive(Default)]
struct Share {
    flows: AtomicU32,
    /// Flows at most.
    limit: AtomicU32,
    /// How many of them may be dropped early.
    unassured: AtomicU32,
    list: Mutex<List>,
}

/// The flows of one port that may be dropped early, by age: places and one.
#[derive(Default)]
struct List {
    oldest: u32,
    newest: u32,
}

/// Memory per flow with the index, without `acct`.
#[cfg(not(loom))]
pub(super) const OCTETS_PER_ENTRY: usize = size_of::<Entry>() + size_of::<Link>();

pub(super) struct Table {
    chunks: Box<[OnceLock<Box<Chunk>>]>,
    beside: Box<[OnceLock<Beside>]>,
    free: Mutex<Free>,
    capacity: u32,
    shares: Box<[Share]>,
    /// The port that held most when last looked for, and how often it was used since.
    heaviest: AtomicU32,
    heaviest_age: AtomicU32,
}

/// Free entries; collected on the heap, as a chunk is much for a stack.
fn new_chunk() -> Box<Chunk> {
    let entries: Box<[Entry]> = (0..CHUNK).map(|_| Entry(Mutex::new(Flow::NONE))).collect();
    entries.try_into().ok().expect("as many as a chunk has")
}

impl Beside {
    fn new() -> Beside {
        Beside { links: (0..CHUNK).map(|_| Link::default()).collect(), accounts: OnceLock::new(), adjustments: OnceLock::new() }
    }
}

impl Table {
    pub(super) fn new(capacity: usize) -> Table {
        let shares: Box<[Share]> = (0..PORTS).map(|_| Share::default()).collect();
        shares.iter().for_each(|share| share.limit.store(u32::MAX, Ordering::Relaxed));
        Table {
            chunks: (0..capacity.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect(),
            beside: (0..capacity.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect(),
            free: Mutex::new(Free { head: 0, fresh: 0 }),
            capacity: capacity as u32,
            shares,
            heaviest: AtomicU32::new(0),
            heaviest_age: AtomicU32::new(0),
        }
    }

    /// Entries at most.
    pub(super) fn capacity(&self) -> usize {
        self.capacity as usize
    }

    /// Entries that were ever used lie below.
    pub(super) fn used(&self) -> u32 {
        lock(&self.free).fresh
    }

    /// Makes the memory of `entries` more than were ever used, so that workers need not.
    pub(super) fn reserve(&self, entries: usize) {
        let last = (self.used() as usize + entries).min(self.capacity as usize);
        for chunk in 0..last.div_ceil(CHUNK) {
            self.make(chunk);
        }
    }

    fn make(&self, chunk: usize) {
        self.chunks[chunk].get_or_init(new_chunk);
        self.beside[chunk].get_or_init(Beside::new);
    }

    #[inline]
    fn entry(&self, index: u32) -> Option<&Entry> {
        Some(&self.chunks.get(index as usize / CHUNK)?.get()?[index as usize % CHUNK])
    }

    fn beside(&self, index: u32) -> Option<&Beside> {
        self.beside.get(index as usize / CHUNK)?.get()
    }

    /// Locks an entry; `None` if there never was a flow in it.
    #[inline]
    pub(super) fn lock(&self, index: u32) -> Option<MutexGuard<'_, Flow>> {
        Some(lock(&self.entry(index)?.0))
    }

    /// Begins to bring an entry into the cache: its lock, which lies in front, and what the processor takes along. The result only keeps
    /// the compiler from leaving the load out.
    #[inline]
    pub(super) fn touch(&self, index: u32) -> bool {
        self.entry(index).is_some_and(|entry| touch(&entry.0))
    }

    /// Locks an entry if nobody else has it: whoever has is about to refresh it.
    pub(super) fn try_lock(&self, index: u32) -> Option<MutexGuard<'_, Flow>> {
        self.entry(index)?.0.try_lock().ok()
    }

    /// The counts of an entry.
    pub(super) fn account(&self, index: u32) -> Option<&Account> {
        let accounts = self.beside(index)?.accounts.get_or_init(|| (0..CHUNK).map(|_| Account::default()).collect());
        Some(&accounts[index as usize % CHUNK])
    }

    /// How the sequence numbers of the flow in an entry are adjusted, if those of any flow near it ever were.
    #[cold]
    pub(super) fn adjustments(&self, index: u32) -> Option<Adjustments> {
        Some(*lock(&self.beside(index)?.adjustments.get()?[index as usize % CHUNK]))
    }

    /// Changes how the sequence numbers of the flow in an entry are adjusted. The caller has the lock of the entry.
    #[cold]
    pub(super) fn adjust(&self, index: u32, change: impl FnOnce(&mut Adjustments)) {
        if let Some(chunk) = self.beside(index) {
            let adjustments = chunk.adjustments.get_or_init(|| (0..CHUNK).map(|_| Mutex::default()).collect());
            change(&mut lock(&adjustments[index as usize % CHUNK]));
        }
    }

    fn link(&self, index: u32) -> &Link {
        &self.beside[index as usize / CHUNK].get_or_init(Beside::new).links[index as usize % CHUNK]
    }

    /// Takes a free entry.
    pub(super) fn take(&self) -> Option<u32> {
        let mut free = lock(&self.free);
        if free.head != 0 {
            let index = free.head - 1;
            free.head = self.link(index).newer.load(Ordering::Relaxed);
            return Some(index);
        }
        if free.fresh == self.capacity {
            return None;
        }
        let index = free.fresh;
        free.fresh += 1;
        drop(free);
        self.make(index as usize / CHUNK);
        Some(index)
    }

    /// Gives an entry back.
    pub(super) fn give_back(&self, index: u32) {
        let mut free = lock(&self.free);
        self.link(index).newer.store(free.head, Ordering::Relaxed);
        free.head = index + 1;
    }

    fn share(&self, port: PortId) -> &Share {
        &self.shares[port.index() % PORTS]
    }

    /// Flows of a port.
    pub(super) fn flows(&self, port: PortId) -> u32 {
        self.share(port).flows.load(Ordering::Relaxed)
    }

    pub(super) fn limit(&self, port: PortId) -> u32 {
        self.share(port).limit.load(Ordering::Relaxed)
    }

    pub(super) fn set_limit(&self, port: PortId, flows: u32) {
        self.share(port).limit.store(flows, Ordering::Relaxed);
    }

    /// Counts a flow of a port, if it is below its limit.
    pub(super) fn charge(&self, port: PortId) -> bool {
        let share = self.share(port);
        if share.flows.fetch_add(1, Ordering::Relaxed) < share.limit.load(Ordering::Relaxed) {
            return true;
        }
        self.discharge(port);
        false
    }

    pub(super) fn discharge(&self, port: PortId) {
        self.share(port).flows.fetch_sub(1, Ordering::Relaxed);
    }

    /// Puts a flow at the end of those of its port that may be dropped early.
    pub(super) fn enlist(&self, port: PortId, index: u32) {
        let share = self.share(port);
        let mut list = lock(&share.list);
        let link = self.link(index);
        link.older.store(list.newest, Ordering::Relaxed);
        link.newer.store(0, Ordering::Relaxed);
        match list.newest {
            0 => list.oldest = index + 1,
            newest => self.link(newest - 1).newer.store(index + 1, Ordering::Relaxed),
        }
        list.newest = index + 1;
        share.unassured.fetch_add(1, Ordering::Relaxed);
    }

    /// Takes a flow out of those that may be dropped early.
    pub(super) fn strike(&self, port: PortId, index: u32) {
        let share = self.share(port);
        let mut list = lock(&share.list);
        let link = self.link(index);
        let (older, newer) = (link.older.load(Ordering::Relaxed), link.newer.load(Ordering::Relaxed));
        match older {
            0 => list.oldest = newer,
            older => self.link(older - 1).newer.store(newer, Ordering::Relaxed),
        }
        match newer {
            0 => list.newest = older,
            newer => self.link(newer - 1).older.store(older, Ordering::Relaxed),
        }
        share.unassured.fetch_sub(1, Ordering::Relaxed);
    }

    /// The flow of a port that is dropped first.
    pub(super) fn oldest(&self, port: PortId) -> Option<u32> {
        lock(&self.share(port).list).oldest.checked_sub(1)
    }

    /// The port that holds most flows of those that have any to drop early. Looking at all ports takes a while, so
    /// the answer is kept for some time.
    pub(super) fn heaviest(&self) -> Option<PortId> {
        const KEEP: u32 = 64;
        let held = |port: u16| {
            let share = self.share(PortId(port));
            (share.unassured.load(Ordering::Relaxed) > 0).then(|| share.flows.load(Ordering::Relaxed))
        };
        let last = self.heaviest.load(Ordering::Relaxed) as u16;
        let fresh = !self.heaviest_age.fetch_add(1, Ordering::Relaxed).is_multiple_of(KEEP);
        if fresh && held(last).is_some() {
            return Some(PortId(last));
        }
        let (_, port) = (0..PORTS as u16).filter_map(|port| held(port).map(|flows| (flows, port))).max()?;
        self.heaviest.store(port.into(), Ordering::Relaxed);
        Some(PortId(port))
    }
}
