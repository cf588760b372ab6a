//! Counters of a port, one set per worker.
//!
//! A worker is the only writer of its set, so counting is a plain load and store; readers add up the sets and may see a
//! burst half counted. Sets never share a cache line.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::drop_reason::DropReason;

/// A number that one thread counts and any thread reads.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the thread that owns the counter may call this; two writers would lose counts (nothing worse).
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The count so far.
    #[inline]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What one worker counted at one port. Octets are those of the Ethernet frame without FCS.
///
/// At rest, over all ports of a daemon: `rx_packets + copies + injected = tx_packets + punted + all drops`.
#[derive(Debug)]
#[repr(align(128))]
pub struct PortCounters {
    /// Frames received, including those the device lost after the kernel had accepted them.
    pub rx_packets: Counter,
    /// Octets of frames received.
    pub rx_bytes: Counter,
    /// Frames transmitted.
    pub tx_packets: Counter,
    /// Octets of frames transmitted.
    pub tx_bytes: Counter,
    /// Frames that came into being beyond those received: one for each further target of a flooded frame (counted where it
    /// arrived), for each further member of a bond and each copy for control (counted at the bond or member), and for each further segment of a frame cut in software (counted where it leaves).
    pub copies: Counter,
    /// Frames, and copies of frames, that control got.
    pub punted: Counter,
    /// Frames that control gave to be transmitted here.
    pub injected: Counter,
    /// Receive calls that failed for another reason than an empty queue or a link that is down.
    pub rx_errors: Counter,
    drops: [Counter; DropReason::COUNT],
}

impl Default for PortCounters {
    fn default() -> PortCounters {
        PortCounters {
            rx_packets: Counter::default(),
            rx_bytes: Counter::default(),
            tx_packets: Counter::default(),
            tx_bytes: Counter::default(),
            copies: Counter::default(),
            punted: Counter::default(),
            injected: Counter::default(),
            rx_errors: Counter::default(),
            drops: core::array::from_fn(|_| Counter::default()),
        }
    }
}

impl PortCounters {
    /// Counts one frame that was dropped.
    #[inline]
    pub fn drop(&self, reason: DropReason) {
        self.drops[reason as usize].add(1);
    }

    /// Counts `n` frames that were dropped for the same reason.
    #[inline]
    pub fn drop_many(&self, reason: DropReason, n: u64) {
        self.drops[reason as usize].add(n);
    }

    /// Frames dropped for `reason`.
    #[inline]
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize].get()
    }
}
