//! The index and entries of the table of connections under every interleaving that loom finds. Run with
//! `RUSTFLAGS="--cfg loom" cargo test -p dataplane --test loom_conntrack --release`.
#![cfg(loom)]

mod flows;

use dataplane::burst::BurstMemory;
use dataplane::conntrack::{ConfirmError, Conntrack, CtState, Direction, FlowRef, Settings, Tracking};
use dataplane::snapshot::PortId;
use flows::{at, datagram, pass, track};
use loom::sync::Arc;
use loom::thread;

const NOW: u64 = 1 << 40;
const SECOND: u64 = 1_000_000_000;
const SERVER: (u32, u16) = (0xc000_0201, 53);

fn client(n: u16) -> (u32, u16) {
    (0x0a00_0001, n)
}

fn model(f: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(f);
}

fn ask(conntrack: &Conntrack, n: u16, now: u64) -> Result<Tracking, ConfirmError> {
    pass(conntrack, &at(&Settings::default(), 0, 0, now), &mut BurstMemory::new(), &datagram(client(n), SERVER))
}

fn answer(conntrack: &Conntrack, n: u16, now: u64) -> Tracking {
    track(conntrack, &at(&Settings::default(), 1, 0, now), &mut BurstMemory::new(), &datagram(SERVER, client(n)))
}

fn held(conntrack: &Conntrack) -> (usize, u32) {
    (conntrack.count(), conntrack.quota(PortId(0)).0)
}

/// Two workers begin the same flow: it enters once, and both packets belong to it.
#[test]
fn a_flow_enters_once() {
    model(|| {
        let conntrack = Arc::new(Conntrack::new(4, 2));
        let other = {
            let conntrack = conntrack.clone();
            thread::spawn(move || ask(&conntrack, 1, NOW).unwrap().flow)
        };
        let mine = ask(&conntrack, 1, NOW).unwrap().flow;
        let theirs = other.join().unwrap();
        assert_eq!(mine, theirs);
        assert_eq!(held(&conntrack), (1, 1));
        assert_eq!(answer(&conntrack, 1, NOW).flow, mine);
    });
}

/// The entry of a flow that ends is given to another: a packet of the first is never taken for one of the second.
#[test]
fn an_entry_changes_hands() {
    model(|| {
        let conntrack = Arc::new(Conntrack::new(1, 2));
        let FlowRef::Known(first) = ask(&conntrack, 1, NOW).unwrap().flow else { panic!("not entered") };
        let reader = {
            let conntrack = conntrack.clone();
            thread::spawn(move || answer(&conntrack, 1, NOW))
        };
        assert!(conntrack.delete(first, NOW));
        let second = ask(&conntrack, 2, NOW).unwrap().flow;
        let seen = reader.join().unwrap();
        match seen.flow {
            FlowRef::Known(id) => assert_eq!((id, seen.original.source_port, seen.direction), (first, 1, Direction::Reply)),
            _ => assert_eq!(seen.state, CtState::New),
        }
        assert_eq!(answer(&conntrack, 2, NOW).flow, second);
        assert_eq!(held(&conntrack), (1, 1));
    });
}

/// A flow whose time is over is swept while its next packet begins it anew: one flow is left, and it is the new one.
#[test]
fn a_sweep_and_a_new_flow() {
    model(|| {
        let conntrack = Arc::new(Conntrack::new(4, 2));
        let first = ask(&conntrack, 1, NOW).unwrap().flow;
        let later = NOW + 31 * SECOND;
        let control = {
            let conntrack = conntrack.clone();
            thread::spawn(move || conntrack.sweep(0, 10, later))
        };
        let second = ask(&conntrack, 1, later).unwrap().flow;
        control.join().unwrap();
        assert_ne!(first, second);
        assert_eq!(answer(&conntrack, 1, later).flow, second);
        assert_eq!(held(&conntrack), (1, 1));
    });
}

/// Two workers want the last place: one flow is left, and both were told the truth or dropped early.
#[test]
fn the_last_place() {
    model(|| {
        let conntrack = Arc::new(Conntrack::new(1, 2));
        let other = {
            let conntrack = conntrack.clone();
            thread::spawn(move || ask(&conntrack, 1, NOW).is_ok())
        };
        let mine = ask(&conntrack, 2, NOW).is_ok();
        let theirs = other.join().unwrap();
        assert!(mine || theirs);
        assert_eq!(held(&conntrack), (1, 1));
        let left = [1, 2].map(|n| matches!(answer(&conntrack, n, NOW).flow, FlowRef::Known(_)));
        assert_eq!(left.iter().filter(|left| **left).count(), 1, "{left:?}");
    });
}
