//! The lock-free protocol of the address table under every interleaving that loom finds. Run with
//! `RUSTFLAGS="--cfg loom" cargo test -p dataplane --test loom_fdb --release`.
#![cfg(loom)]

use dataplane::fdb::{EntryKind, Fdb, FlushFilter, Learned, Learner};
use dataplane::snapshot::PortId;
use loom::sync::Arc;
use loom::thread;
use wire::VlanId;

const AGEING: u32 = 100;

fn learner(port: u16, now: u32) -> Learner {
    Learner { port: PortId(port), limit: u32::MAX, kind: EntryKind::Learned, now, ageing: AGEING }
}

fn learn(fdb: &Fdb, mac: u64, port: u16, now: u32) -> Learned {
    fdb.learn(fdb.place(mac, VlanId::NONE), &learner(port, now))
}

fn look_up(fdb: &Fdb, mac: u64, now: u32) -> Option<u16> {
    fdb.lookup(fdb.place(mac, VlanId::NONE), now, AGEING).map(|port| port.0)
}

fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(f);
}

/// A table of one set with two ways: every address meets every other.
fn table() -> Arc<Fdb> {
    let fdb = Arc::new(Fdb::new(1));
    assert_eq!(fdb.capacity(), 2);
    fdb
}

/// The slot of one address is given to another: a reader of the first gets its own port or nothing, never the other's.
#[test]
fn a_reader_never_sees_the_value_of_another_address() {
    model(|| {
        let fdb = table();
        learn(&fdb, 0xa, 1, 0);
        learn(&fdb, 0xb, 1, 0);
        let reader = {
            let fdb = fdb.clone();
            thread::spawn(move || [look_up(&fdb, 0xa, 1), look_up(&fdb, 0xb, 1), look_up(&fdb, 0xc, 1)])
        };
        // Port 2 holds less than port 1, so it takes one of the two slots.
        assert_eq!(learn(&fdb, 0xc, 2, 1), Learned::New);
        let [a, b, c] = reader.join().unwrap();
        assert!(matches!(a, Some(1) | None) && matches!(b, Some(1) | None) && matches!(c, Some(2) | None), "{a:?} {b:?} {c:?}");
        assert_eq!(look_up(&fdb, 0xc, 1), Some(2));
        assert_eq!((fdb.len(), fdb.port_len(PortId(1)), fdb.port_len(PortId(2))), (2, 1, 1));
    });
}

/// Two workers learn the same address at two ports: it ends in the table once, and the counts are right.
#[test]
fn an_address_is_added_once() {
    model(|| {
        let fdb = table();
        let other = {
            let fdb = fdb.clone();
            thread::spawn(move || learn(&fdb, 0xa, 1, 0))
        };
        let mine = learn(&fdb, 0xa, 2, 0);
        let theirs = other.join().unwrap();
        assert!(mine == Learned::New || theirs == Learned::New, "{mine:?} {theirs:?}");
        assert_eq!(fdb.len(), 1);
        let port = look_up(&fdb, 0xa, 0).unwrap();
        assert_eq!(fdb.port_len(PortId(port)), 1);
        assert_eq!(fdb.port_len(PortId(3 - port)), 0);
    });
}

/// A station moves while control flushes its old port: the counts stay right, whoever is first.
#[test]
fn a_move_and_a_flush_agree_on_the_counts() {
    model(|| {
        let fdb = table();
        learn(&fdb, 0xa, 1, 0);
        let control = {
            let fdb = fdb.clone();
            thread::spawn(move || fdb.flush(FlushFilter { port: Some(PortId(1)), ..FlushFilter::default() }))
        };
        learn(&fdb, 0xa, 2, 1);
        control.join().unwrap();
        let held = (fdb.port_len(PortId(1)), fdb.port_len(PortId(2)));
        assert!(held == (0, 1) || held == (0, 0), "{held:?}");
        assert_eq!(fdb.len(), held.1);
    });
}

/// Two stations move at the same time as one is refreshed: no count is lost.
#[test]
fn two_moves_of_one_address_keep_the_counts() {
    model(|| {
        let fdb = table();
        learn(&fdb, 0xa, 1, 0);
        let other = {
            let fdb = fdb.clone();
            thread::spawn(move || learn(&fdb, 0xa, 2, 1))
        };
        learn(&fdb, 0xa, 3, 1);
        other.join().unwrap();
        let port = look_up(&fdb, 0xa, 1).unwrap();
        for p in 1..4 {
            assert_eq!(fdb.port_len(PortId(p)), usize::from(p == port));
        }
    });
}
