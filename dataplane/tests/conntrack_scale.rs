//! A full table of connections: it holds what it promises, and finds each flow as fast as one of few.
#![cfg(not(loom))]

mod flows;

use std::sync::Barrier;
use std::time::Instant;

use dataplane::burst::BurstMemory;
use dataplane::conntrack::{Conntrack, CtState, Settings};
use flows::{at, datagram, pass, track};

fn tuple(n: u32) -> ((u32, u16), (u32, u16)) {
    ((0x0a00_0000 + (n >> 12), 1024 + (n & 0xfff) as u16), (0xc000_0201, 53))
}

/// Every place is used, none of a hundred thousand flows is turned away for want of one in its buckets, and all are found.
#[test]
fn a_table_fills_to_the_last_place() {
    const MAX: u32 = 100_000;
    let (conntrack, settings) = (Conntrack::new(MAX as usize, 1), Settings::default());
    let mut memory = BurstMemory::new();
    let at = at(&settings, 0, 1, 1 << 40);
    for n in 0..MAX {
        let (from, to) = tuple(n);
        pass(&conntrack, &at, &mut memory, &datagram(from, to)).unwrap();
    }
    let stats = conntrack.stats()[0];
    assert_eq!((conntrack.count(), stats.insert), (MAX as usize, MAX.into()));
    assert_eq!((stats.early_drop, stats.chaintoolong, stats.insert_failed), (0, 0, 0));
    for n in 0..MAX {
        let (from, to) = tuple(n);
        assert_eq!(track(&conntrack, &at, &mut memory, &datagram(to, from)).state, CtState::Established, "{n}");
    }
    // The next one takes the place of the oldest that was not assured.
    let (from, to) = tuple(MAX);
    pass(&conntrack, &at, &mut memory, &datagram(from, to)).unwrap();
    assert_eq!((conntrack.count(), conntrack.stats()[0].early_drop), (MAX as usize, 1));
    let (from, to) = tuple(0);
    assert_eq!(track(&conntrack, &at, &mut memory, &datagram(from, to)).state, CtState::New);
}

/// Workers begin, use and end the same flows at the same time, and control sweeps and flushes: nothing is lost or counted twice.
#[test]
fn workers_and_control_share_it() {
    const WORKERS: usize = 3;
    const MAX: usize = 512;
    let conntrack = Conntrack::new(MAX, WORKERS);
    let barrier = Barrier::new(WORKERS + 1);
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (conntrack, barrier) = (&conntrack, &barrier);
            scope.spawn(move || {
                let (settings, mut memory) = (Settings::default(), BurstMemory::new());
                barrier.wait();
                for round in 0..30_000u64 {
                    let n = (round.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u32 % 1000;
                    let (from, to) = tuple(n);
                    let at = at(&settings, worker, worker as u16, (1 << 40) + (round << 20));
                    let frame = if round % 3 == 0 { datagram(to, from) } else { datagram(from, to) };
                    let _ = pass(conntrack, &at, &mut memory, &frame);
                }
            });
        }
        let (conntrack, barrier) = (&conntrack, &barrier);
        scope.spawn(move || {
            barrier.wait();
            let mut cursor = 0;
            for round in 0..3000u64 {
                let now = (1 << 40) + (round << 24);
                cursor = conntrack.sweep(cursor, 100, now);
                conntrack.delete_where(0, 1000, now, |flow| flow.original.source_port % 61 == round as u16 % 61);
            }
        });
    });
    let mut listed = 0;
    conntrack.list(0, u32::MAX, 1 << 40, |_| listed += 1);
    assert_eq!(conntrack.count(), listed);
    assert!(listed <= MAX);
    let held: u32 = (0..WORKERS as u16).map(|port| conntrack.quota(dataplane::PortId(port)).0).sum();
    assert_eq!(held as usize, listed);
    let stats = conntrack.stats().into_iter().fold(dataplane::conntrack::Stats::default(), |mut sum, stats| {
        sum += stats;
        sum
    });
    assert!(stats.insert > 1000 && stats.chaintoolong == 0, "{stats:?}");
    assert_eq!(conntrack.flush(None, 1 << 40), listed);
    assert_eq!(conntrack.count(), 0);
}

/// Cost of a packet of a known flow, and of a new flow, in a table with a thousand flows and with a million. For people:
/// `cargo test --release -p dataplane --test conntrack_scale -- --ignored --nocapture`.
#[test]
#[ignore = "prints times, which mean something on a quiet machine in a release build only"]
fn times() {
    const MAX: u32 = 1_000_000;
    let (conntrack, settings) = (Conntrack::new(MAX as usize, 1), Settings::default());
    let mut memory = BurstMemory::new();
    let at = at(&settings, 0, 1, 1 << 40);
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    };
    let empty = resident();
    let mut filled = 0;
    for target in [1000, 250_000, MAX] {
        let frames: Vec<_> = (filled..target).rev().take(100_000).rev().map(tuple).map(|(from, to)| datagram(from, to)).collect();
        let timed = target - frames.len() as u32;
        for n in filled..timed {
            let (from, to) = tuple(n);
            pass(&conntrack, &at, &mut memory, &datagram(from, to)).unwrap();
        }
        let begin = Instant::now();
        for frame in &frames {
            pass(&conntrack, &at, &mut memory, frame).unwrap();
        }
        let new = begin.elapsed() / frames.len() as u32;
        filled = target;
        // In an order that no cache foresees.
        let mut n = 1u32;
        let frames: Vec<_> = (0..20_000)
            .map(|_| {
                n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let (from, to) = tuple((u64::from(n) * u64::from(filled) >> 32) as u32);
                datagram(from, to)
            })
            .collect();
        let begin = Instant::now();
        for frame in frames.iter().cycle().take(200_000) {
            track(&conntrack, &at, &mut memory, frame);
        }
        let known = begin.elapsed() / 200_000;
        let octets = (resident() - empty) / u64::from(filled);
        println!("{filled:>9} flows: known {known:?}, new {new:?} a packet; {octets} octets of memory each");
    }
    assert_eq!(conntrack.stats()[0].chaintoolong, 0);
}
