//! What changes of a rule without a new rule set: counters and meters.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::clock::Nanos;
use crate::counters::Counter;

/// Counters and meters of a rule. They live as long as the rule does, over changes of other rules.
///
/// Each worker counts in a cache line of its own, of which it is the only writer; readers add up.
#[derive(Debug)]
pub struct RuleState {
    workers: Box<[PerWorker]>,
    /// Subtracted from the sums: what was counted before the counters were set.
    base_packets: AtomicU64,
    base_bytes: AtomicU64,
    /// State of the `limit` and `statistic --mode nth` matches, in the order of the rule's matches. All workers share it, as all
    /// their packets count.
    pub(super) meters: [Meter; RuleState::METERS_MAX],
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

/// A number that all workers move.
#[derive(Debug, Default)]
pub(super) struct Meter(AtomicU64);

impl Meter {
    /// Takes a packet out of a bucket that fills by one each `interval` nanoseconds, up to `burst` (`xt_limit.c`). `false` when
    /// it is empty. The bucket is full at first.
    pub(super) fn take(&self, interval: Nanos, burst: u32, now: Nanos) -> bool {
        // The number is the moment at which the bucket is full again; each packet puts that off by one interval.
        let capacity = interval.saturating_mul(burst.into());
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full| {
                let full = full.max(now).saturating_add(interval);
                (full - now <= capacity).then_some(full)
            })
            .is_ok()
    }

    /// Counts a packet and says whether it is one of the `every` packets that are looked for, of which `packet` come before
    /// the first (`xt_statistic.c`).
    pub(super) fn nth(&self, every: u32, packet: u32) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) % u64::from(every.max(1)) == u64::from(packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_add_up_and_a_reset_forgets_no_later_packet() {
        let state = RuleState::new(2);
        state.count(0, 100);
        state.count(1, 50);
        assert_eq!(state.counts(), (2, 150));
        state.set_counts(0, 0);
        assert_eq!(state.counts(), (0, 0));
        state.count(1, 60);
        assert_eq!(state.counts(), (1, 60));
        state.set_counts(1000, 70_000);
        state.count(0, 40);
        assert_eq!(state.counts(), (1001, 70_040));
    }

    #[test]
    fn a_bucket_gives_its_burst_and_then_the_rate() {
        let meter = Meter::default();
        let taken = |now, times| (0..times).filter(|_| meter.take(100, 5, now)).count();
        assert_eq!(taken(0, 20), 5);
        assert_eq!(taken(99, 20), 0);
        assert_eq!(taken(100, 20), 1);
        assert_eq!(taken(349, 20), 2);
        assert_eq!(taken(350, 20), 0, "the credit of 49 ns is not lost, nor is it more");
        assert_eq!(taken(400, 20), 1);
        assert_eq!(taken(1_000_000, 20), 5);
    }

    #[test]
    fn every_third_packet_from_the_second_on() {
        let meter = Meter::default();
        let hits: Vec<u32> = (0..9).filter(|_| meter.nth(3, 1)).collect();
        assert_eq!(hits, [1, 4, 7]);
    }
}
