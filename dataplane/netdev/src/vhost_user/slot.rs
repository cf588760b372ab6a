//! The place of a ring: it exists as long as the port does, whether or not a VM is connected and its driver ready.
//!
//! The thread of the connection puts rings in and takes them out ([`Slot::replace`]); workers use them for one burst at a
//! time ([`Slot::enter`]). See [`lock`](super::lock) for how they get along.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::lock::{Busy, RingLock};
use super::ring::{Fault, Ring};

/// See the module.
pub(super) struct Slot {
    lock: RingLock,
    ring: UnsafeCell<Option<Ring>>,
    /// There is a ring, without a fault; looked at before the lock is taken.
    runs: AtomicBool,
    /// The number of the [`Fault`] that stopped the ring; 0 is none.
    fault: AtomicU8,
}

// SAFETY: the ring is reached only by who has the lock.
unsafe impl Sync for Slot {}

impl Slot {
    pub(super) fn new() -> Slot {
        Slot { lock: RingLock::new(), ring: UnsafeCell::new(None), runs: AtomicBool::new(false), fault: AtomicU8::new(0) }
    }

    /// Whether there is a ring that works.
    #[inline]
    pub(super) fn runs(&self) -> bool {
        self.runs.load(Ordering::Relaxed)
    }

    /// Takes the lock for one burst if there is a ring that works.
    #[inline]
    pub(super) fn enter(&self) -> Result<Entered<'_>, Busy> {
        if !self.runs() {
            return Err(Busy::Changing);
        }
        self.lock.try_lock()?;
        let entered = Entered(self);
        // It may have changed before the lock was taken.
        if self.runs() { Ok(entered) } else { Err(Busy::Changing) }
    }

    /// The ring, for a caller that has the lock by [`Entered::keep`].
    ///
    /// # Safety
    ///
    /// The caller has the lock, and gives no other reference to the ring out while this one is in use.
    #[inline]
    #[allow(clippy::mut_from_ref, reason = "the lock makes it exclusive")]
    pub(super) unsafe fn kept(&self) -> &mut Ring {
        // SAFETY: the caller has the lock and so the ring for itself.
        let ring = unsafe { &mut *self.ring.get() };
        ring.as_mut().expect("a slot that is entered has a ring")
    }

    /// Gives the lock up that [`Entered::keep`] kept.
    #[inline]
    pub(super) fn leave(&self) {
        self.lock.unlock();
    }

    /// Stops the ring for a fault. For who has the lock.
    #[cold]
    pub(super) fn fail(&self, fault: Fault) {
        self.fault.store(fault as u8, Ordering::Relaxed);
        self.runs.store(false, Ordering::Relaxed);
    }

    /// Why the ring does not work.
    pub(super) fn fault(&self) -> Option<Fault> {
        Fault::from_number(self.fault.load(Ordering::Relaxed))
    }

    /// Puts another ring in the place of the one that is there, after the end of the burst that uses it. For the thread of
    /// the connection only.
    pub(super) fn replace(&self, ring: Option<Ring>) -> Option<Ring> {
        self.lock.lock(std::thread::yield_now);
        // SAFETY: we have the lock and so the ring for ourselves.
        let place = unsafe { &mut *self.ring.get() };
        let former = std::mem::replace(place, ring);
        self.fault.store(0, Ordering::Relaxed);
        self.runs.store(place.is_some(), Ordering::Relaxed);
        self.lock.unlock_changed();
        former
    }

    /// Changes the ring, if there is one, between two bursts. For the thread of the connection only.
    pub(super) fn change(&self, change: impl FnOnce(&mut Ring)) {
        self.lock.lock(std::thread::yield_now);
        // SAFETY: we have the lock and so the ring for ourselves.
        let place = unsafe { &mut *self.ring.get() };
        if let Some(ring) = place {
            change(ring);
        }
        self.lock.unlock_changed();
    }
}

/// The lock of a slot with a ring; given up when dropped.
pub(super) struct Entered<'s>(&'s Slot);

impl Entered<'_> {
    /// The ring.
    #[inline]
    pub(super) fn ring(&mut self) -> &mut Ring {
        // SAFETY: we have the lock, and `self` is borrowed exclusively.
        unsafe { self.0.kept() }
    }

    /// Keeps the lock until [`Slot::leave`].
    #[inline]
    pub(super) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.leave();
    }
}
