//! The lock of one ring: a worker has it for one burst, the thread of the connection for a change.
//!
//! A worker never waits for the connection: once a change is wanted, [`RingLock::try_lock`] fails until it is made. The
//! connection waits for the worker to end its burst, which is some ten microseconds, as a worker does nothing that blocks.
//! So the memory of a VM is unmapped and a ring moved only between two bursts.
//!
//! `wanted` is a word of its own so that a worker unlocks with a plain store.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering};

/// See the module.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct RingLock {
    held: AtomicBool,
    /// The connection wants the lock.
    wanted: AtomicBool,
}

/// Why a worker did not get the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Busy {
    /// The connection has it or wants it.
    Changing,
    /// Another worker is transmitting.
    Worker,
}

impl RingLock {
    pub(super) fn new() -> RingLock {
        RingLock { held: AtomicBool::new(false), wanted: AtomicBool::new(false) }
    }

    /// Takes the lock for one burst.
    #[inline]
    pub(super) fn try_lock(&self) -> Result<(), Busy> {
        if self.wanted.load(Ordering::Relaxed) {
            return Err(Busy::Changing);
        }
        // Acquire: what the one who had it before us wrote is seen.
        match self.held.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Ok(()),
            Err(_) => Err(Busy::Worker),
        }
    }

    /// Ends what [`RingLock::try_lock`] began.
    #[inline]
    pub(super) fn unlock(&self) {
        self.held.store(false, Ordering::Release);
    }

    /// Takes the lock for a change; waits for the end of a burst. Only one thread at a time may call this.
    pub(super) fn lock(&self, pause: impl Fn()) {
        self.wanted.store(true, Ordering::Relaxed);
        while self.held.compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed).is_err() {
            pause();
        }
    }

    /// Ends what [`RingLock::lock`] began.
    pub(super) fn unlock_changed(&self) {
        self.wanted.store(false, Ordering::Relaxed);
        self.held.store(false, Ordering::Release);
    }
}
