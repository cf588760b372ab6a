//! The table: room, quotas, clashes, expectations, events, counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::*;
use super::lab::{CLIENT, Lab, SECOND, SERVER, udp};
use crate::device::Wake;

fn query(n: u16) -> Vec<u8> {
    udp((CLIENT, n), (SERVER, 53), b"q")
}

fn answer(n: u16) -> Vec<u8> {
    udp((SERVER, 53), (CLIENT, n), b"a")
}

impl Lab {
    fn assure(&mut self, n: u16) {
        self.pass(&query(n));
        self.pass(&answer(n));
        self.wait(3);
        self.pass(&query(n));
    }

    fn ports(&self) -> Vec<u16> {
        let mut ports: Vec<_> = self.flows().iter().map(|flow| flow.original.source_port).collect();
        ports.sort_unstable();
        ports
    }

    fn try_pass(&mut self, packet: &[u8]) -> Result<(), ConfirmError> {
        let mut tracking = self.track(packet);
        self.confirm(&mut tracking)
    }
}

#[test]
fn a_full_table_drops_the_oldest_of_who_holds_most() {
    let mut lab = Lab::new(4);
    lab.ingress = 7;
    lab.pass(&query(1));
    lab.ingress = 8;
    for n in [2, 3, 4] {
        lab.pass(&query(n));
    }
    // Port 9 has none yet, so port 8 gives up its oldest; then port 8 again, as it holds no fewer than the others.
    lab.ingress = 9;
    lab.pass(&query(5));
    assert_eq!(lab.ports(), [1, 3, 4, 5]);
    lab.ingress = 8;
    lab.pass(&query(6));
    assert_eq!(lab.ports(), [1, 4, 5, 6], "who holds most drops its own");
    assert_eq!((lab.stats().early_drop, lab.stats().drop), (2, 0));
    assert_eq!([7, 8, 9].map(|port| lab.conntrack.quota(PortId(port)).0), [1, 2, 1]);
}

#[test]
fn assured_flows_are_never_dropped_early() {
    let mut lab = Lab::new(2);
    lab.ingress = 7;
    lab.assure(1);
    lab.assure(2);
    assert_eq!(lab.try_pass(&query(3)), Err(ConfirmError::TableFull));
    lab.ingress = 8;
    assert_eq!(lab.try_pass(&query(3)), Err(ConfirmError::TableFull));
    assert_eq!((lab.ports(), lab.stats().drop, lab.conntrack.count()), (vec![1, 2], 2, 2));
    // Over is over, assured or not.
    lab.wait(200);
    assert_eq!(lab.conntrack.sweep(0, 10, lab.now), 0);
    assert_eq!(lab.try_pass(&query(3)), Ok(()));
    // A port with many assured flows gets no more from one that holds fewer.
    lab.ingress = 7;
    lab.assure(4);
    let mut lab = Lab::new(3);
    lab.ingress = 7;
    lab.assure(1);
    lab.assure(2);
    lab.ingress = 8;
    lab.pass(&query(3));
    lab.ingress = 7;
    assert_eq!(lab.try_pass(&query(4)), Err(ConfirmError::TableFull));
}

#[test]
fn a_port_keeps_to_its_quota() {
    let mut lab = Lab::new(100);
    lab.conntrack.set_quota(PortId(7), 2);
    lab.ingress = 8;
    lab.pass(&query(100));
    lab.ingress = 7;
    for n in [1, 2, 3] {
        lab.pass(&query(n));
    }
    assert_eq!((lab.ports(), lab.stats().early_drop), (vec![2, 3, 100], 1));
    assert_eq!(lab.conntrack.quota(PortId(7)), (2, 2));
    lab.wait(1);
    for n in [2, 3] {
        lab.pass(&answer(n));
        lab.wait(3);
        lab.pass(&query(n));
    }
    assert_eq!(lab.try_pass(&query(4)), Err(ConfirmError::Quota));
    lab.ingress = 8;
    assert_eq!(lab.try_pass(&query(4)), Ok(()), "others have room");
}

/// Two packets of one flow under way at the same time: the second takes up the flow of the first.
#[test]
fn a_clash_of_the_same_udp_flow() {
    let mut lab = Lab::new(8);
    let mut first = lab.track(&query(1));
    let mut second = lab.track(&query(1));
    lab.confirm(&mut first).unwrap();
    lab.confirm(&mut second).unwrap();
    assert_eq!(second.flow, first.flow);
    assert_eq!((lab.flows().len(), lab.stats().clash_resolve, lab.stats().insert), (1, 1, 1));
}

/// Both were translated, to different tuples: the second is known by its answers, for a second.
#[test]
fn a_clash_of_translated_udp() {
    let mut lab = Lab::new(8);
    let mut first = lab.track(&query(1));
    let mut second = lab.track(&query(1));
    for (tracking, port) in [(&mut first, 2001), (&mut second, 2002)] {
        tracking.reply.destination_port = port;
        tracking.status.insert(Status(Status::SRC_NAT.0 | Status::SRC_NAT_DONE.0));
    }
    let at = Lab::at(&lab.settings, 0, lab.now);
    assert!(!lab.conntrack.is_taken(&at, &second, &first.reply));
    lab.confirm(&mut first).unwrap();
    let at = Lab::at(&lab.settings, 0, lab.now);
    assert!(!lab.conntrack.is_taken(&at, &second, &first.reply), "the same original: confirming sorts that out");
    let other = lab.track(&query(9));
    let at = Lab::at(&lab.settings, 0, lab.now);
    assert!(lab.conntrack.is_taken(&at, &other, &first.reply));
    assert_eq!(lab.stats().found, 1);
    lab.confirm(&mut second).unwrap();
    assert_eq!((lab.flows().len(), lab.conntrack.count()), (1, 2));
    let answer = lab.track(&udp((SERVER, 53), (CLIENT, 2002), b"a"));
    assert_eq!((answer.direction, answer.flow), (Direction::Reply, second.flow));
    assert_eq!(lab.track(&query(1)).flow, first.flow);
    lab.wait(2);
    assert_eq!(lab.track(&udp((SERVER, 53), (CLIENT, 2002), b"a")).state, CtState::New);
    lab.conntrack.sweep(0, 10, lab.now);
    assert_eq!(lab.conntrack.count(), 1);
    // The same answers for both: no way out.
    let mut third = lab.track(&query(3));
    third.reply = first.reply;
    third.status.insert(Status::SRC_NAT_DONE);
    assert_eq!(lab.confirm(&mut third), Err(ConfirmError::Clash));
    assert_eq!(lab.stats().insert_failed, 1);
}

#[test]
fn a_flow_whose_time_is_over_makes_room_for_the_next() {
    let mut lab = Lab::new(8);
    let first = lab.pass(&query(1));
    lab.wait(31);
    let second = lab.pass(&query(1));
    assert_ne!(first.flow, second.flow);
    assert_eq!((second.state, lab.conntrack.count()), (CtState::New, 1));
}

#[test]
fn marks_stay_with_the_flow() {
    let mut lab = Lab::new(8);
    let mut tracking = lab.track(&query(1));
    lab.conntrack.set_mark(&mut tracking, 5);
    lab.confirm(&mut tracking).unwrap();
    let mut tracking = lab.pass(&answer(1));
    assert_eq!(tracking.mark, 5);
    lab.conntrack.set_mark(&mut tracking, 6);
    assert_eq!(lab.flow().mark, 6);
    assert_eq!(lab.conntrack.expires_in(&tracking, lab.now).unwrap() / SECOND, 30);
    // A packet whose flow ended meanwhile changes nobody else's.
    assert!(lab.conntrack.delete(lab.flow().id, lab.now));
    lab.pass(&query(2));
    lab.conntrack.set_mark(&mut tracking, 7);
    assert_eq!((lab.flow().mark, lab.conntrack.expires_in(&tracking, lab.now)), (0, None));
}

#[test]
fn what_was_announced_is_related() {
    let mut lab = Lab::new(8);
    let mut master = lab.pass(&query(1));
    lab.conntrack.set_mark(&mut master, 9);
    let nat = ExpectedNat { source: Address(1), destination: Address(2), destination_port: 3 };
    let tuple = Tuple { source_port: 0, destination_port: 6000, ..master.reply };
    let expectation = Expectation {
        tuple,
        any_source: false,
        any_source_port: true,
        helper: Some(HelperKind::Ftp),
        timeout: 300 * SECOND,
        nat: Some(nat),
    };
    let expect = |lab: &Lab, master: &Tracking, expectation: &Expectation| {
        lab.conntrack.expect(&Lab::at(&lab.settings, 0, lab.now), master, expectation)
    };
    expect(&lab, &master, &expectation).unwrap();
    assert_eq!(lab.conntrack.expectations(lab.now)[0].master, master.original);
    let data = udp((SERVER, 1234), (CLIENT, 6000), b"data");
    let tracking = lab.pass(&data);
    assert_eq!((tracking.state, tracking.mark, tracking.helper), (CtState::Related, 9, Some(HelperKind::Ftp)));
    assert!(tracking.status.contains(Status::EXPECTED));
    assert_eq!(lab.pass(&data).state, CtState::Related, "until it is answered");
    assert!(lab.conntrack.expectations(lab.now).is_empty());
    assert_eq!(lab.pass(&udp((SERVER, 1235), (CLIENT, 6000), b"data")).state, CtState::New, "once only");
    // One at a time: the later takes the place of the former.
    expect(&lab, &master, &expectation).unwrap();
    expect(&lab, &master, &Expectation { tuple: Tuple { destination_port: 6001, ..tuple }, ..expectation }).unwrap();
    assert_eq!(lab.conntrack.expectations(lab.now).len(), 1);
    let other = lab.pass(&query(2));
    let same = Expectation { tuple: Tuple { destination_port: 6001, ..tuple }, ..expectation };
    assert_eq!(expect(&lab, &other, &same), Err(ExpectError::Clash));
    assert_eq!(expect(&lab, &Tracking::none(CtState::Invalid), &same), Err(ExpectError::NoMaster));
    // Neither behind its time nor without its master.
    lab.wait(301);
    assert_eq!(lab.track(&udp((SERVER, 1), (CLIENT, 6001), b"data")).state, CtState::New);
    let master = lab.pass(&query(1));
    expect(&lab, &master, &same).unwrap();
    assert_eq!(lab.track(&udp((SERVER, 1), (CLIENT, 6001), b"data")).new_flow().unwrap().nat, Some(nat));
    expect(&lab, &master, &same).unwrap();
    lab.conntrack.flush(None, lab.now);
    assert_eq!(lab.track(&udp((SERVER, 1), (CLIENT, 6001), b"data")).state, CtState::New);
}

#[test]
fn expectations_are_bounded() {
    let mut lab = Lab::new(2000);
    for n in 1..=1024 {
        let master = lab.pass(&query(n));
        let tuple = Tuple { destination_port: n, ..master.reply };
        let expectation = Expectation { tuple, any_source: true, any_source_port: true, helper: None, timeout: SECOND, nat: None };
        lab.conntrack.expect(&Lab::at(&lab.settings, 0, lab.now), &master, &expectation).unwrap();
    }
    let master = lab.pass(&query(2000));
    let expectation =
        Expectation { tuple: master.reply, any_source: false, any_source_port: false, helper: None, timeout: SECOND, nat: None };
    let expect = |lab: &Lab| lab.conntrack.expect(&Lab::at(&lab.settings, 0, lab.now), &master, &expectation);
    assert_eq!(expect(&lab), Err(ExpectError::Full));
    lab.wait(2);
    assert_eq!(expect(&lab), Ok(()), "those that are over make room");
}

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn events_tell_of_a_life() {
    let mut lab = Lab::new(8);
    lab.settings.acct = true;
    lab.pass(&query(9));
    let bell = Arc::new(Bell::default());
    lab.conntrack.watch(Some(bell.clone()));
    lab.assure(1);
    lab.pass(&answer(1));
    lab.conntrack.delete(lab.flows()[1].id, lab.now);
    assert_eq!(bell.0.load(Ordering::Relaxed), 1, "once for all that wait");
    let events: Vec<_> = core::iter::from_fn(|| lab.conntrack.next_event()).collect();
    let kinds: Vec<_> = events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::New, EventKind::Update, EventKind::Update, EventKind::Destroy]);
    assert!(events[0].flow.is_unreplied() && !events[1].flow.is_unreplied() && events[2].flow.is_assured());
    let [there, back] = events[3].flow.counts.unwrap();
    assert_eq!((there, back), (Counts { packets: 2, bytes: 58 }, Counts { packets: 2, bytes: 58 }));
    for _ in 0..3000 {
        lab.pass(&query(3));
        lab.conntrack.flush(None, lab.now);
    }
    assert!(lab.conntrack.events_lost() > 0, "bounded");
    lab.conntrack.watch(None);
    assert_eq!(lab.conntrack.next_event(), None);
}

#[test]
fn flows_are_listed_deleted_and_flushed() {
    let mut lab = Lab::new(100);
    for n in 1..=20 {
        lab.pass(&query(n));
    }
    assert_eq!(lab.ports(), (1..=20).collect::<Vec<_>>());
    let odd = |info: &FlowInfo| info.original.source_port % 2 == 1;
    let mut cursor = Some(0);
    while let Some(at) = cursor {
        cursor = lab.conntrack.delete_where(at, 7, lab.now, odd);
    }
    assert_eq!(lab.ports(), (2..=20).step_by(2).collect::<Vec<_>>());
    let id = lab.flows()[0].id;
    assert!(lab.conntrack.get(id, lab.now).is_some());
    assert!(lab.conntrack.delete(id, lab.now) && !lab.conntrack.delete(id, lab.now));
    assert_eq!(lab.conntrack.get(id, lab.now), None);
    assert_eq!((lab.conntrack.flush(Some(RouterId(2)), lab.now), lab.conntrack.flush(Some(RouterId(1)), lab.now)), (0, 9));
    assert_eq!(lab.conntrack.count(), 0);
}

/// The promise: at most 256 octets for each of a million flows, index included; the same with `acct` but for the counts.
#[test]
fn memory_of_a_flow() {
    let max = 1_000_000;
    let conntrack = Conntrack::new(max, 1);
    let each = conntrack.octets_when_full() as f64 / max as f64;
    assert!(each <= 256.0, "{each}");
}
