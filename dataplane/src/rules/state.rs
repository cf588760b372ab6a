//! What changes of a rule without a new rule set: counters and buckets.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::counters::Counter;

/// Counters and buckets of a rule. They live as long as the rule does, over changes of other rules.
///
/// Each worker counts in a cache line of its own, of which it is the only writer; readers add up.
#[derive(Debug)]
pub struct RuleState {
    workers: Box<[PerWorker]>,
    /// Subtracted from the sums: what was counted before the counters were set.
    base_packets: AtomicU64,
    base_bytes: AtomicU64,
    /// Buckets of `limit` and counts of `statistic --mode nth`, in the order of the rule's matches.
    pub(super) meters: [AtomicU64; RuleState::METERS_MAX],
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct PerWorker {
    packets: Counter,
    bytes: Counter,
}

impl RuleState {
    /// `limit` and `statistic --mode nth` matches of one rule at most.
    pub const METERS_MAX: usize = 2;

    /// Counters of this many workers, at 0.
    pub fn new(workers: usize) -> RuleState {
        RuleState {
            workers: (0..workers).map(|_| PerWorker::default()).collect(),
            base_packets: AtomicU64::new(0),
            base_bytes: AtomicU64::new(0),
            meters: Default::default(),
        }
    }

    #[inline]
    pub(super) fn count(&self, worker: usize, bytes: u32) {
        let counters = &self.workers[worker];
        counters.packets.add(1);
        counters.bytes.add(bytes.into());
    }

    fn sums(&self) -> (u64, u64) {
        self.workers.iter().fold((0, 0), |(packets, bytes), w| (packets.wrapping_add(w.packets.get()), bytes.wrapping_add(w.bytes.get())))
    }

    /// Packets and octets (of IP packets) so far.
    pub fn counts(&self) -> (u64, u64) {
        let (packets, bytes) = self.sums();
        let base = |base: &AtomicU64| base.load(Ordering::Relaxed);
        (packets.wrapping_sub(base(&self.base_packets)), bytes.wrapping_sub(base(&self.base_bytes)))
    }

    /// Sets the counts: to 0 for `-Z`, to others for `iptables-restore --counters`. Only control may call this.
    pub fn set_counts(&self, packets: u64, bytes: u64) {
        let sums = self.sums();
        self.base_packets.store(sums.0.wrapping_sub(packets), Ordering::Relaxed);
        self.base_bytes.store(sums.1.wrapping_sub(bytes), Ordering::Relaxed);
    }
}

/// What one worker keeps between packets for all rule sets.
#[derive(Debug, Default)]
pub struct RuleCache {}

impl RuleCache {
    /// An empty cache.
    pub fn new() -> RuleCache {
        RuleCache::default()
    }
}
