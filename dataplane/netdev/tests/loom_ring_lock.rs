//! The lock of a vhost-user ring under every interleaving that loom finds. Run with
//! `RUSTFLAGS="--cfg loom" cargo test -p netdev --test loom_ring_lock --release`.
#![cfg(loom)]

#[path = "../src/vhost_user/lock.rs"]
#[expect(unreachable_pub, reason = "the module is private where it belongs")]
mod lock;

use lock::{Busy, RingLock};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// A ring: both of its words change together, or whoever looks sees it.
struct Shared {
    lock: RingLock,
    ring: UnsafeCell<(u32, u32)>,
}

// SAFETY: the cell is reached by who has the lock, which is what the model checks.
unsafe impl Sync for Shared {}
// SAFETY: as above.
unsafe impl Send for Shared {}

impl Shared {
    fn new() -> Arc<Shared> {
        Arc::new(Shared { lock: RingLock::new(), ring: UnsafeCell::new((0, 0)) })
    }

    /// What whoever has the lock does.
    fn advance(&self, by: u32) {
        self.ring.with_mut(|ring| {
            // SAFETY: the caller has the lock; loom says if another thread is here as well.
            let ring = unsafe { &mut *ring };
            assert_eq!(ring.0, ring.1);
            ring.0 += by;
            ring.1 += by;
        });
    }

    fn burst(&self) -> Result<(), Busy> {
        self.lock.try_lock()?;
        self.advance(1);
        self.lock.unlock();
        Ok(())
    }

    fn change(&self) {
        self.lock.lock(thread::yield_now);
        self.advance(100);
        self.lock.unlock_changed();
    }

    fn sum(&self) -> u32 {
        // SAFETY: the other threads have ended.
        self.ring.with(|ring| unsafe { (*ring).0 })
    }
}

fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(f);
}

#[test]
fn one_at_a_time_has_the_ring() {
    model(|| {
        let shared = Shared::new();
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || u32::from(shared.burst().is_ok()))
            })
            .collect();
        shared.change();
        let bursts: u32 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        assert_eq!(shared.sum(), 100 + bursts);
    });
}

#[test]
fn a_change_is_made_though_the_worker_never_rests() {
    model(|| {
        let shared = Shared::new();
        let worker = thread::spawn({
            let shared = shared.clone();
            move || (0..3).filter(|_| shared.burst().is_ok()).count() as u32
        });
        shared.change();
        shared.change();
        let bursts = worker.join().unwrap();
        assert_eq!(shared.sum(), 200 + bursts);
        // Nobody wants it any more.
        assert_eq!(shared.burst(), Ok(()));
    });
}
