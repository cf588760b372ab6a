//! The generator and its sink, over a link in memory and under a virtual clock, where it is known what has to come out.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use benches::generator::{self, Delivery, Endpoint, Load, Macs, Rate, Sizes, Station, Thread, Traffic, Trial, Vlans};
use dataplane::clock::{Clock, Nanos};
use dataplane::device::{Capabilities, RxError, RxQueue, TxQueue, TxReport};
use dataplane::{Burst, DropReason, Frame};
use wire::Offload;

/// A clock that goes on by a fixed step each time somebody looks.
#[derive(Clone)]
struct Steps {
    now: Arc<AtomicU64>,
    step: u64,
}

impl Steps {
    fn of(step: u64) -> Steps {
        Steps { now: Arc::new(AtomicU64::new(1)), step }
    }
}

impl Clock for Steps {
    fn now(&self) -> Nanos {
        self.now.fetch_add(self.step, Ordering::Relaxed)
    }
}

/// What the link does to the frame with this number, counted from 0.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Pass,
    Lose,
    Double,
    /// Deliver after this many others.
    Late(usize),
    /// Change one octet.
    Damage,
    /// Take the VLAN tag off.
    Untag,
    /// Say that the device had no room for it.
    Overrun,
}

type Plan = fn(u64) -> Fate;

struct State {
    clock: Steps,
    delay: u64,
    plan: Plan,
    number: u64,
    /// Frames under way, with the moment they arrive.
    under_way: VecDeque<(u64, Vec<u8>)>,
    held: Vec<(usize, Vec<u8>)>,
    overruns: u64,
    capacity: usize,
}

impl State {
    fn put(&mut self, octets: Vec<u8>) {
        let at = self.clock.now.load(Ordering::Relaxed) + self.delay;
        self.under_way.push_back((at, octets));
        for (left, _) in &mut self.held {
            *left -= 1;
        }
        if let Some(ripe) = self.held.iter().position(|(left, _)| *left == 0) {
            let (_, octets) = self.held.remove(ripe);
            self.put(octets);
        }
    }
}

/// One direction from one endpoint to another.
#[derive(Clone)]
struct Link(Arc<Mutex<State>>);

impl Link {
    fn new(clock: &Steps, delay: u64, capacity: usize, plan: Plan) -> Link {
        Link(Arc::new(Mutex::new(State {
            clock: clock.clone(),
            delay,
            plan,
            number: 0,
            under_way: VecDeque::new(),
            held: Vec::new(),
            overruns: 0,
            capacity,
        })))
    }

    fn endpoints(&self) -> (Endpoint, Endpoint) {
        let idle = Link::new(&Steps::of(0), 0, 0, |_| Fate::Lose);
        let endpoint = |name: &str, rx: &Link, tx: &Link| {
            Endpoint::new(name, vec![Box::new(Out { link: rx.clone(), now: Vec::new() })], Box::new(In(tx.clone())), Duration::ZERO)
        };
        (endpoint("a", &idle, self), endpoint("b", self, &idle))
    }
}

struct In(Link);

impl TxQueue for In {
    fn capabilities(&self) -> Capabilities {
        Capabilities::NONE
    }

    fn transmit(&mut self, frames: &[Frame<'_>], picks: &[u8], report: &TxReport<'_>) {
        let mut state = self.0.0.lock().unwrap();
        for pick in picks {
            let frame = &frames[usize::from(*pick)];
            if state.under_way.len() >= state.capacity {
                report.dropped(DropReason::TxQueueFull, 1);
                continue;
            }
            report.sent(1, frame.wire_len() as u64);
            let mut octets = frame.head().to_vec();
            octets.extend(frame.body().octets());
            state.number += 1;
            match (state.plan)(state.number - 1) {
                Fate::Pass => state.put(octets),
                Fate::Lose => {}
                Fate::Overrun => state.overruns += 1,
                Fate::Double => {
                    state.put(octets.clone());
                    state.put(octets);
                }
                Fate::Late(others) => state.held.push((others, octets)),
                Fate::Damage => {
                    let at = octets.len() - 1;
                    octets[at] ^= 0x10;
                    state.put(octets);
                }
                Fate::Untag => {
                    octets.drain(12..16);
                    state.put(octets);
                }
            }
        }
    }
}

struct Out {
    link: Link,
    now: Vec<Vec<u8>>,
}

impl RxQueue for Out {
    fn receive<'a>(&'a mut self, burst: &mut Burst<'a>) -> Result<(), RxError> {
        let mut state = self.link.0.lock().unwrap();
        burst.lost(DropReason::RxRingFull, std::mem::take(&mut state.overruns));
        let now = state.clock.now.load(Ordering::Relaxed);
        self.now.clear();
        while self.now.len() < dataplane::BURST_MAX
            && let Some((at, _)) = state.under_way.front()
            && *at <= now
        {
            self.now.extend(state.under_way.pop_front().map(|(_, octets)| octets));
        }
        for octets in &self.now {
            burst.push_borrowed(octets, Offload::NONE, None);
        }
        Ok(())
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

fn traffic() -> Traffic {
    Traffic::between(Macs::clients(10), Macs::servers(3))
}

/// Frames at a rate that is easy, through a link that does `plan`.
fn through(traffic: Traffic, frames: u64, plan: Plan) -> Delivery {
    let clock = Steps::of(50);
    let (mut a, mut b) = Link::new(&clock, 0, 100_000, plan).endpoints();
    let load = Load { frames: Some(frames), ..Load::at(Rate::PerSecond(1e6)) };
    let stations = vec![Station::sending(&mut a, traffic, load), Station::receiving(&mut b)];
    let trial = Trial { span: Duration::from_secs(10), drain: Duration::from_millis(1), ..Trial::default() };
    let delivery = generator::run_with_clock(vec![Thread::of(stations)], &trial, &clock).unwrap().delivery(0, 1).unwrap();
    assert_eq!((delivery.sent.offered, delivery.sent.accepted, delivery.sent.refused), (frames, frames, 0), "{delivery:?}");
    delivery
}

#[test]
fn a_perfect_link_is_reported_as_perfect() {
    for (sizes, vlans) in [
        (Sizes::one(64).unwrap(), None),
        (Sizes::one(512).unwrap(), Some(Vlans { first: 10, count: 20 })),
        (Sizes::one(1518).unwrap(), None),
        (Sizes::imix(), Some(Vlans { first: 4094, count: 1 })),
    ] {
        let tag = if vlans.is_some() { 4.0 } else { 0.0 };
        let mean = sizes.mean() + tag;
        let delivery = through(Traffic { sizes, vlans, flows: 1000, ..traffic() }, 12_000, |_| Fate::Pass);
        assert!(delivery.is_clean(), "{delivery:?}");
        assert_eq!(delivery.arrivals.received, 12_000);
        let octets = 12_000.0 * mean;
        assert_eq!((delivery.sent.octets as f64, delivery.arrivals.octets), (octets.round(), delivery.sent.octets), "{delivery:?}");
        assert_eq!(delivery.generator_limit(false), None);
        // All arrived: whoever wanted to saturate the link did not.
        assert!(delivery.generator_limit(true).unwrap().contains("the generator was the limit"));
    }
}

#[test]
fn one_per_cent_lost_is_one_per_cent() {
    let delivery = through(traffic(), 20_000, |number| if number % 100 == 7 { Fate::Lose } else { Fate::Pass });
    assert_eq!((delivery.lost, delivery.arrivals.received), (200, 19_800));
    assert!((delivery.lost_percent() - 1.0).abs() < 1e-9);
    assert_eq!((delivery.arrivals.duplicates, delivery.arrivals.reordered, delivery.damaged), (0, 0, 0));
}

#[test]
fn duplicates_are_counted_and_hide_no_loss() {
    let delivery = through(traffic(), 10_000, |number| match number % 100 {
        7 => Fate::Lose,
        8 | 9 => Fate::Double,
        _ => Fate::Pass,
    });
    assert_eq!((delivery.lost, delivery.arrivals.duplicates, delivery.arrivals.received), (100, 200, 9_900));
}

#[test]
fn a_frame_behind_a_later_one_of_its_flow_is_reordered_and_not_lost() {
    // Ten flows in turn: ten frames later is one later of the same flow, nine is none.
    let late = |fate| through(traffic(), 10_000, fate);
    let delivery = late(|number| if number % 1000 == 7 { Fate::Late(10) } else { Fate::Pass });
    assert_eq!((delivery.arrivals.reordered, delivery.lost, delivery.arrivals.duplicates), (10, 0, 0));
    let delivery = late(|number| if number % 1000 == 7 { Fate::Late(9) } else { Fate::Pass });
    assert_eq!((delivery.arrivals.reordered, delivery.lost, delivery.arrivals.duplicates), (0, 0, 0));
}

#[test]
fn damage_shows_at_every_size() {
    for size in [64, 300, 1518] {
        let traffic = Traffic { sizes: Sizes::one(size).unwrap(), ..traffic() };
        let delivery = through(traffic, 1_000, |number| if number % 100 == 7 { Fate::Damage } else { Fate::Pass });
        assert_eq!((delivery.damaged, delivery.lost), (10, 10), "{size}: damaged frames did not arrive as sent");
    }
}

#[test]
fn a_tag_may_be_taken_off_on_the_way() {
    let traffic = Traffic { vlans: Some(Vlans { first: 10, count: 2 }), ..traffic() };
    let delivery = through(traffic, 1_000, |number| if number % 2 == 0 { Fate::Untag } else { Fate::Pass });
    assert!(delivery.is_clean(), "{delivery:?}");
}

#[test]
fn frames_the_sink_had_no_room_for_make_it_the_limit() {
    let delivery = through(traffic(), 1_000, |number| if number == 500 { Fate::Overrun } else { Fate::Pass });
    assert_eq!((delivery.lost, delivery.overruns), (1, 1));
    assert!(delivery.generator_limit(false).unwrap().contains("the sink was the limit"));
}

#[test]
fn a_known_delay_is_the_latency() {
    let clock = Steps::of(50);
    let (mut a, mut b) = Link::new(&clock, 20_000, 100_000, |_| Fate::Pass).endpoints();
    let load = Load { frames: Some(2_000), burst: 1, ..Load::at(Rate::PerSecond(2e5)) };
    let stations = vec![Station::sending(&mut a, traffic(), load), Station::receiving(&mut b)];
    let report = generator::run_with_clock(vec![Thread::of(stations)], &Trial::default(), &clock).unwrap();
    let latency = report.delivery(0, 1).unwrap().latency.unwrap();
    assert_eq!(latency.count, 2_000);
    for value in [latency.min_us, latency.p50_us, latency.p99_us, latency.p99_9_us, latency.max_us] {
        // The delay, a turn of the loop of some looks at the clock, and a thousandth for the histogram.
        assert!((20.0..20.8).contains(&value), "{latency:?}");
    }
    assert!(latency.cdf.windows(2).all(|pair| pair[0].part < pair[1].part && pair[0].us <= pair[1].us));
    assert_eq!(latency.cdf.last().unwrap().part, 1.0);
}

#[test]
fn the_rate_does_not_drift() {
    let clock = Steps::of(70);
    for (rate, burst) in [(1e5, 1), (333_333.0, 7), (5e5, 32), (2e5, 256)] {
        let (mut a, mut b) = Link::new(&clock, 0, 100_000, |_| Fate::Pass).endpoints();
        let load = Load { rate: Rate::PerSecond(rate), burst, frames: None };
        let stations = vec![Station::sending(&mut a, traffic(), load), Station::receiving(&mut b)];
        let trial = Trial { span: Duration::from_millis(20), ..Trial::default() };
        let report = generator::run_with_clock(vec![Thread::of(stations)], &trial, &clock).unwrap();
        let delivery = report.delivery(0, 1).unwrap();
        assert!(delivery.is_clean(), "{delivery:?}");
        let due = (rate * 0.02) as u64;
        assert!((due - 2 * burst as u64..=due).contains(&delivery.sent.accepted), "{rate}, {burst}: {due} due, {delivery:?}");
    }
}

#[test]
fn a_sender_that_is_late_says_so() {
    // A look at the clock takes 2 us: a million frames a second are out of reach.
    let clock = Steps::of(2_000);
    let (mut a, mut b) = Link::new(&clock, 0, 100_000, |_| Fate::Pass).endpoints();
    let load = Load { rate: Rate::PerSecond(1e6), burst: 1, frames: None };
    let stations = vec![Station::sending(&mut a, traffic(), load), Station::receiving(&mut b)];
    let trial = Trial { span: Duration::from_millis(100), ..Trial::default() };
    let delivery = generator::run_with_clock(vec![Thread::of(stations)], &trial, &clock).unwrap().delivery(0, 1).unwrap();
    let sent = delivery.sent;
    assert!(sent.missed > 1_000 && sent.offered == sent.accepted + sent.refused + sent.missed, "{sent:?}");
    assert!((99_000..=100_000).contains(&sent.offered), "{sent:?}");
    assert!(delivery.generator_limit(false).unwrap().contains("it was late"));
    // A given number of frames stays that number, missed ones included.
    let (mut a, mut b) = Link::new(&clock, 0, 100_000, |_| Fate::Pass).endpoints();
    let load = Load { frames: Some(20_000), ..load };
    let stations = vec![Station::sending(&mut a, traffic(), load), Station::receiving(&mut b)];
    let sent = generator::run_with_clock(vec![Thread::of(stations)], &trial, &clock).unwrap().streams[0];
    assert!(sent.missed > 1_000 && sent.accepted + sent.refused + sent.missed == 20_000, "{sent:?}");
    assert_eq!(sent.offered, 20_000);
}

#[test]
fn refused_frames_are_not_lost_frames() {
    let clock = Steps::of(400);
    // A queue of 64 frames that hold out 100 us each: full most of the time.
    let (mut a, mut b) = Link::new(&clock, 100_000, 64, |_| Fate::Pass).endpoints();
    let stations = vec![Station::sending(&mut a, traffic(), Load::max()), Station::receiving(&mut b)];
    let trial = Trial { warm_up: Duration::from_millis(1), span: Duration::from_millis(20), ..Trial::default() };
    let delivery = generator::run_with_clock(vec![Thread::of(stations)], &trial, &clock).unwrap().delivery(0, 1).unwrap();
    assert!(delivery.sent.refused > 1_000, "{delivery:?}");
    assert_eq!((delivery.lost, delivery.arrivals.received), (0, delivery.sent.accepted));
    assert_eq!(delivery.generator_limit(true), None);
    // 64 frames each 100 us.
    assert!((delivery.rate - 640_000.0).abs() < 20_000.0, "{delivery:?}");
}

#[test]
fn both_ways_are_apart() {
    let clock = Steps::of(50);
    let there = Link::new(&clock, 0, 100_000, |number| if number % 10 == 0 { Fate::Lose } else { Fate::Pass });
    let back = Link::new(&clock, 5_000, 100_000, |_| Fate::Pass);
    let endpoint = |name: &str, rx: &Link, tx: &Link| {
        Endpoint::new(name, vec![Box::new(Out { link: rx.clone(), now: Vec::new() })], Box::new(In(tx.clone())), Duration::ZERO)
    };
    let (mut a, mut b) = (endpoint("a", &back, &there), endpoint("b", &there, &back));
    let load = Load { frames: Some(1_000), ..Load::at(Rate::PerSecond(1e5)) };
    let stations = vec![Station::sending(&mut a, traffic(), load), Station::sending(&mut b, traffic().reversed(), load)];
    let trial = Trial { drain: Duration::from_millis(1), ..Trial::default() };
    let report = generator::run_with_clock(vec![Thread::of(stations)], &trial, &clock).unwrap();
    let (there, back) = (report.delivery(0, 1).unwrap(), report.delivery(1, 0).unwrap());
    assert_eq!((there.lost, back.lost), (100, 0));
    assert!(back.latency.unwrap().min_us >= 5.0 && there.latency.unwrap().min_us < 1.0);
    assert_eq!(report.delivery(0, 0).unwrap().arrivals.received, 0, "nobody hears himself");
}

/// Threads of their own, in real time.
#[test]
fn threads_share_a_run() {
    let clock = Steps::of(0);
    clock.now.store(u64::MAX / 2, Ordering::Relaxed);
    let (mut a, mut b) = Link::new(&clock, 0, 100_000, |number| if number % 100 == 0 { Fate::Lose } else { Fate::Pass }).endpoints();
    let load = Load { frames: Some(3_000), ..Load::at(Rate::PerSecond(1e4)) };
    let threads = vec![
        Thread::of(vec![Station::receiving(&mut b)]).sleeping(),
        Thread::of(vec![Station::sending(&mut a, traffic(), load)]).sleeping(),
    ];
    let report = generator::run(threads, &Trial::default()).unwrap();
    // Stations are numbered through: the receiver was given first.
    let delivery = report.delivery(0, 0).unwrap();
    assert_eq!((delivery.sent.offered, delivery.lost), (3_000, (delivery.sent.accepted).div_ceil(100)), "{delivery:?}");
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let clock = Steps::of(50);
    for (traffic, load, word) in [
        (Traffic { flows: 0, ..traffic() }, Load::max(), "flows"),
        (Traffic { vlans: Some(Vlans { first: 4090, count: 10 }), ..traffic() }, Load::max(), "VLANs"),
        (Traffic { sources: Macs::clients(0), ..traffic() }, Load::max(), "source"),
        (traffic(), Load { burst: 0, ..Load::max() }, "burst"),
        (traffic(), Load::at(Rate::PerSecond(0.0)), "rate"),
    ] {
        let (mut a, _) = Link::new(&clock, 0, 1, |_| Fate::Pass).endpoints();
        let stations = vec![Station::sending(&mut a, traffic, load)];
        let error = generator::run_with_clock(vec![Thread::of(stations)], &Trial::default(), &clock).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn announcements_are_sent_and_not_counted() {
    let clock = Steps::of(50);
    let link = Link::new(&clock, 0, 100_000, |_| Fate::Pass);
    let (mut a, mut b) = link.endpoints();
    let many = Traffic { flows: 500, ..Traffic::between(Macs::clients(500), Macs::servers(1)) };
    generator::announce(&mut a, &many, 1e6).unwrap();
    let sources: std::collections::HashSet<_> = link.0.lock().unwrap().under_way.iter().map(|(_, octets)| octets[6..12].to_vec()).collect();
    assert_eq!(sources.len(), 500);
    let load = Load { frames: Some(10), ..Load::at(Rate::PerSecond(1e5)) };
    let stations = vec![Station::sending(&mut a, traffic(), load), Station::receiving(&mut b)];
    let report = generator::run_with_clock(vec![Thread::of(stations)], &Trial::default(), &clock).unwrap();
    assert_eq!((report.delivery(0, 1).unwrap().arrivals.received, report.stations[1].foreign), (10, 0));
}
