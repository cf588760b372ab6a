//! The publication of a bond's view under every interleaving that loom finds. Run with
//! `RUSTFLAGS="--cfg loom" cargo test -p dataplane --test loom_bond --release`.
#![cfg(loom)]

use dataplane::bond::{BondState, BondView};
use loom::sync::Arc;
use loom::thread;

fn view(n: u8) -> BondView {
    BondView { active: Some(n), tx: (n..n + 9).collect(), rx: 1 << n }
}

/// A worker that reads while control publishes twice sees one of the views as a whole, and never an older one than before.
#[test]
fn a_view_is_never_mixed_of_two() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let state = Arc::new(BondState::new(1));
        state.publish(&view(1));
        let worker = {
            let state = state.clone();
            thread::spawn(move || [state.view(), state.view()])
        };
        state.publish(&view(2));
        state.publish(&view(3));
        let seen = worker.join().unwrap().map(|seen| seen.active.unwrap());
        assert!(seen[0] <= seen[1], "{seen:?}");
        assert_eq!(state.view(), view(3));
    });
}

/// Each view that is seen is the one its active member belongs to.
#[test]
fn all_parts_are_of_one_view() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let state = Arc::new(BondState::new(1));
        state.publish(&view(1));
        let worker = {
            let state = state.clone();
            thread::spawn(move || state.view())
        };
        state.publish(&view(2));
        state.publish(&view(3));
        let seen = worker.join().unwrap();
        assert_eq!(seen, view(seen.active.unwrap()));
    });
}
