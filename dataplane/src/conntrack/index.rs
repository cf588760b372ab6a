//! From tuples to entries: an array of atomic words that is read without a lock.
//!
//! A word is the place of an entry, the direction, and some bits of the hash of the tuple; the reader locks the entry and compares the
//! tuple, so a word that is out of date does no harm. A bucket is eight words, one cache line. A tuple has two buckets; the
//! second is looked at only if a flag in the first says that something went there. Words never move.
//!
//! An empty word is taken by a compare-and-swap, and emptied by whoever ends the flow. That no tuple enters twice is up to
//! the caller, who holds the lock of its [`Index::stripe`] meanwhile.

use std::hash::{BuildHasher, RandomState};

use super::tuple::{Direction, Tuple};
use crate::hash::mix;
use crate::router::address::Family;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock};

/// Words of a bucket. Two under loom, whose state space grows with each atomic.
const WAYS: usize = if cfg!(loom) { 2 } else { 8 };
/// Buckets whose tuples share a lock for additions: more than workers that add at the same time.
const STRIPES: usize = if cfg!(loom) { 2 } else { 1024 };
/// Words in the first bucket of a tuple from which on it rather takes the second.
const CROWDED: usize = if cfg!(loom) { 2 } else { 5 };

/// In the first word of a bucket: a tuple went to its second bucket.
const OVERFLOW: u64 = 1 << 63;
/// An odd number without a pattern.
const SPREAD: u64 = 0xd6e8_feb8_6659_fd93;
const ENTRY_BITS: u32 = 28;
const REPLY: u64 = 1 << ENTRY_BITS;
/// In words that are not empty.
const PRESENT: u64 = 1 << (ENTRY_BITS + 1);
/// Bits of the hash, and [`PRESENT`].
const TAG: u64 = (OVERFLOW - 1) & !(PRESENT - 1);
/// Entries at most.
pub(super) const ENTRIES_MAX: usize = (1 << ENTRY_BITS) - 2;

/// A hash of a tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hash(u64);

/// The array.
pub(super) struct Index {
    words: Box<[AtomicU64]>,
    /// Words in front of the first bucket, so that buckets are cache lines.
    skip: usize,
    buckets: u64,
    /// Secret: who chooses tuples cannot choose which of them meet.
    keys: [u64; 6],
    stripes: Box<[Mutex<()>]>,
}

/// The right to add tuples of two stripes.
pub(super) struct Stripes<'a> {
    _low: MutexGuard<'a, ()>,
    _high: Option<MutexGuard<'a, ()>>,
}

#[cfg(not(loom))]
fn zeroed(words: usize) -> Box<[AtomicU64]> {
    use zerocopy::FromZeros;
    // Not written, so that the system gives the memory page by page.
    <[AtomicU64]>::new_box_zeroed_with_elems(words).expect("memory for the index of connections")
}

#[cfg(loom)]
fn zeroed(words: usize) -> Box<[AtomicU64]> {
    (0..words).map(|_| AtomicU64::new(0)).collect()
}

const fn tag(hash: Hash) -> u64 {
    hash.0 >> 1 & TAG | PRESENT
}

const fn word(hash: Hash, entry: u32, direction: Direction) -> u64 {
    let reply = if let Direction::Reply = direction { REPLY } else { 0 };
    tag(hash) | reply | entry as u64
}

/// Place and direction in a word that is not empty.
#[inline]
const fn entry(word: u64) -> (u32, Direction) {
    let direction = if word & REPLY == 0 { Direction::Original } else { Direction::Reply };
    ((word & (REPLY - 1)) as u32, direction)
}

impl Index {
    /// An index of the two tuples of `flows` flows: 57 % full then, so that a simulated million of flows never finds both buckets
    /// full, and an eighth of the words lies in second buckets.
    pub(super) fn new(flows: usize) -> Index {
        let buckets = if cfg!(loom) { 2 } else { (flows * 7).div_ceil(2 * WAYS).max(8) };
        let words = zeroed((buckets + 1) * WAYS);
        let skip = words.as_ptr().align_offset(WAYS * size_of::<u64>()).min(WAYS);
        let random = RandomState::new();
        let keys = core::array::from_fn(|i| if cfg!(loom) { 2 * i as u64 + 1 } else { random.hash_one(i) | 1 });
        let stripes = (0..STRIPES).map(|_| Mutex::new(())).collect();
        Index { words, skip: if cfg!(loom) { 0 } else { skip }, buckets: buckets as u64, keys, stripes }
    }

    /// Octets it takes.
    #[cfg(not(loom))]
    pub(super) fn octets(&self) -> usize {
        self.words.len() * size_of::<u64>() + self.stripes.len() * size_of::<Mutex<()>>()
    }

    #[inline]
    pub(super) fn hash(&self, tuple: &Tuple) -> Hash {
        let [k0, k1, k2, k3, k4, k5] = self.keys;
        let (source, destination) = (tuple.source.0, tuple.destination.0);
        let mut hash = mix(source as u64 ^ k0, destination as u64 ^ k1);
        if tuple.family() == Family::V6 {
            hash ^= mix((source >> 64) as u64 ^ k2, (destination >> 64) as u64 ^ k3);
        }
        // The last step spreads what neighbouring ports have in common, which some secrets of the one before keep: one in a hundred tables
        // had full buckets without it.
        Hash(mix(mix(hash ^ tuple.small() ^ k4, k5), SPREAD))
    }

    #[inline]
    fn bucket(&self, hash: Hash, second: bool) -> &[AtomicU64; WAYS] {
        let bits = if second { mix(hash.0, self.keys[1]) } else { hash.0 } & 0xffff_ffff;
        let start = self.skip + ((bits * self.buckets) >> 32) as usize * WAYS;
        self.words[start..].first_chunk().expect("a bucket lies behind the last start")
    }

    /// Begins to bring the first bucket of a tuple into the cache. The result only keeps the compiler from leaving the load out.
    #[inline]
    pub(super) fn touch(&self, hash: Hash) -> u64 {
        self.bucket(hash, false)[0].load(Ordering::Relaxed)
    }

    /// The entries that may have the tuple, in its first bucket.
    #[inline(always)]
    pub(super) fn first(&self, hash: Hash) -> impl Iterator<Item = (u32, Direction)> {
        Index::entries(self.bucket(hash, false), hash)
    }

    /// Those in its second bucket, if there may be any.
    #[inline(always)]
    pub(super) fn second(&self, hash: Hash) -> Option<impl Iterator<Item = (u32, Direction)>> {
        let overflow = self.bucket(hash, false)[0].load(Ordering::Relaxed) & OVERFLOW != 0;
        overflow.then(|| Index::entries(self.bucket(hash, true), hash))
    }

    #[inline(always)]
    fn entries(bucket: &[AtomicU64; WAYS], hash: Hash) -> impl Iterator<Item = (u32, Direction)> {
        let tag = tag(hash);
        bucket.iter().map(|slot| slot.load(Ordering::Acquire)).filter(move |word| (word ^ tag) & TAG == 0).map(entry)
    }

    /// Asks `test` for each entry that may have the tuple, until it gives something.
    pub(super) fn find<R>(&self, hash: Hash, mut test: impl FnMut(u32, Direction) -> Option<R>) -> Option<R> {
        let further = self.second(hash).into_iter().flatten();
        self.first(hash).chain(further).find_map(|(entry, direction)| test(entry, direction))
    }

    /// The right to add tuples with these hashes.
    pub(super) fn stripes(&self, a: Hash, b: Hash) -> Stripes<'_> {
        let stripe = |hash: Hash| hash.0 as usize % STRIPES;
        let (low, high) = (stripe(a).min(stripe(b)), stripe(a).max(stripe(b)));
        Stripes { _low: lock(&self.stripes[low]), _high: (low != high).then(|| lock(&self.stripes[high])) }
    }

    fn used(bucket: &[AtomicU64]) -> usize {
        bucket.iter().filter(|slot| slot.load(Ordering::Relaxed) & !OVERFLOW != 0).count()
    }

    fn put(bucket: &[AtomicU64], word: u64) -> bool {
        bucket.iter().any(|slot| {
            let mut old = slot.load(Ordering::Relaxed);
            while old & !OVERFLOW == 0 {
                match slot.compare_exchange(old, old | word, Ordering::AcqRel, Ordering::Relaxed) {
                    Ok(_) => return true,
                    Err(now) => old = now,
                }
            }
            false
        })
    }

    /// Adds an entry; `false` if both buckets are full.
    pub(super) fn add(&self, hash: Hash, entry: u32, direction: Direction) -> bool {
        let (first, second) = (self.bucket(hash, false), self.bucket(hash, true));
        let word = word(hash, entry, direction);
        let used = Index::used(first);
        let prefer_first = used < CROWDED || (used < WAYS && used <= Index::used(second));
        if prefer_first && Index::put(first, word) {
            return true;
        }
        first[0].fetch_or(OVERFLOW, Ordering::AcqRel);
        Index::put(second, word) || Index::put(first, word)
    }

    /// Removes what [`Index::add`] added.
    pub(super) fn remove(&self, hash: Hash, entry: u32, direction: Direction) {
        let word = word(hash, entry, direction);
        for second in [false, true] {
            for slot in self.bucket(hash, second) {
                // Nobody else changes a word that is not empty, but for the flag.
                if slot.load(Ordering::Relaxed) & !OVERFLOW == word {
                    slot.fetch_and(OVERFLOW, Ordering::AcqRel);
                    return;
                }
            }
        }
    }

    /// The entries in both buckets of a tuple.
    pub(super) fn neighbours(&self, hash: Hash) -> impl Iterator<Item = u32> {
        [false, true]
            .into_iter()
            .flat_map(move |second| self.bucket(hash, second))
            .map(|slot| slot.load(Ordering::Acquire))
            .filter(|word| word & PRESENT != 0)
            .map(|word| entry(word).0)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::conntrack::Domain;
    use crate::router::RouterId;
    use crate::router::address::Address;

    /// Flows of neighbouring addresses and ports, as NAT makes them, fill buckets like any others, whatever the secret: a table is made
    /// with the daemon, and has to last. Of 100,000 flows none finds both buckets full, and an eighth of the tuples takes the second.
    #[test]
    fn no_secret_crowds_neighbouring_ports() {
        const FLOWS: u32 = 20_000;
        for _ in 0..100 {
            let index = Index::new(FLOWS as usize);
            for n in 0..FLOWS {
                let tuple = Tuple {
                    source: Address((0x0a00_0000 | n >> 14).into()),
                    destination: Address(0xc633_6401),
                    source_port: 1024 + (n & 0x3fff) as u16,
                    destination_port: 53,
                    zone: 0,
                    domain: Domain::new(RouterId(0), Family::V4),
                    protocol: 17,
                };
                let reply = tuple.inverse().unwrap();
                assert!(index.add(index.hash(&tuple), n, Direction::Original), "{n}");
                assert!(index.add(index.hash(&reply), n, Direction::Reply), "{n}");
            }
            let overflown = index.words.iter().filter(|word| word.load(Ordering::Relaxed) & OVERFLOW != 0).count();
            let buckets = index.buckets as usize;
            assert!(overflown < buckets * 45 / 100, "{overflown} of {buckets} buckets sent tuples on");
        }
    }
}
