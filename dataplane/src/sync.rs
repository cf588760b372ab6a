//! The atomics and locks of the shared tables, which the model checker `loom` replaces by its own under `--cfg loom`.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::{Mutex, MutexGuard};
#[cfg(not(loom))]
pub(crate) use std::sync::{Mutex, MutexGuard};

/// Locks; that another thread panicked with the lock is not passed on.
#[inline]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Reads what lies beside a lock without taking it. The model checker has no caches, and its locks nothing to read.
#[inline]
pub(crate) fn touch<T>(mutex: &Mutex<T>) -> bool {
    #[cfg(not(loom))]
    let poisoned = mutex.is_poisoned();
    #[cfg(loom)]
    let poisoned = {
        let _ = mutex;
        false
    };
    poisoned
}

/// Lets other threads run while this one waits for a claim.
pub(crate) fn pause() {
    #[cfg(not(loom))]
    std::thread::yield_now();
    #[cfg(loom)]
    loom::thread::yield_now();
}
