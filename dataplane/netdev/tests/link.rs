//! The link watch against real interfaces, in namespaces of their own.

mod lab;

use dataplane::Poller;
use lab::*;
use netdev::{LinkChange, LinkEvent, LinkFacts, LinkWatch, MioPoller};
use std::os::fd::AsFd;

/// Collects events until one of them is wanted; returns all since the last call.
fn until(watch: &mut LinkWatch, what: &str, wanted: impl Fn(&LinkEvent) -> bool) -> Vec<LinkEvent> {
    let mut events = Vec::new();
    wait_for(what, || {
        watch.poll(|event| events.push(event)).unwrap();
        events.iter().any(&wanted)
    });
    events
}

fn present(event: &LinkEvent, name: &str, facts: impl Fn(&LinkFacts) -> bool) -> bool {
    event.name == name && matches!(&event.change, LinkChange::Present(f) if facts(f))
}

fn removed(event: &LinkEvent, name: &str) -> bool {
    event.name == name && event.change == LinkChange::Removed
}

#[test]
fn what_there_is_and_every_change_is_reported() {
    lab(|| {
        veth("a0", "b0");
        let mut watch = LinkWatch::open(&None).unwrap();
        let events = until(&mut watch, "the interfaces there are", |e| e.name == "b0");
        assert!(events.iter().any(|e| present(e, "lo", |f| f.link_type == 772 && f.up)));
        let first = events.iter().find(|e| present(e, "a0", |f| f.up && f.carrier && f.mtu == 1500 && f.link_type == 1)).unwrap();
        let index = first.index;
        assert_eq!(
            netdev::link::facts(&None, "a0").unwrap().map(|(i, f)| (i, LinkChange::Present(f))),
            Some((index, first.change.clone()))
        );
        let mut none = Vec::new();
        watch.poll(|event| none.push(event)).unwrap();
        assert_eq!(none, [], "nothing changed");

        ip("link set b0 down");
        until(&mut watch, "loss of carrier", |e| present(e, "a0", |f| f.up && !f.carrier));
        ip("link set b0 up");
        until(&mut watch, "carrier", |e| present(e, "a0", |f| f.up && f.carrier));
        ip("link set a0 down");
        until(&mut watch, "down", |e| present(e, "a0", |f| !f.up && !f.carrier));
        ip("link set a0 mtu 9000 address 52:54:00:00:00:0a");
        until(&mut watch, "MTU and address", |e| present(e, "a0", |f| f.mtu == 9000 && f.mac == Some(wire::MacAddr(MAC_A))));

        ip("link set a0 name c0");
        let events = until(&mut watch, "the new name", |e| present(e, "c0", |_| true));
        assert!(events.iter().any(|e| removed(e, "a0") && e.index == index));
        ip("link del c0");
        until(&mut watch, "removal", |e| removed(e, "c0"));
        veth("c0", "d0");
        let events = until(&mut watch, "the successor", |e| present(e, "c0", |f| f.carrier));
        assert!(events.iter().filter(|e| e.name == "c0").all(|e| e.index != index));
    });
}

#[test]
fn leaving_a_bridge_is_no_removal() {
    lab(|| {
        veth("a0", "b0");
        ip("link add br0 type bridge");
        let mut watch = LinkWatch::open(&None).unwrap();
        until(&mut watch, "br0", |e| e.name == "br0");
        ip("link set a0 master br0");
        ip("link set a0 nomaster");
        ip("link set a0 mtu 1400");
        let events = until(&mut watch, "the last change", |e| present(e, "a0", |f| f.mtu == 1400));
        assert!(!events.iter().any(|e| removed(e, "a0")), "{events:?}");
    });
}

#[test]
fn moving_to_another_namespace_is_a_removal_here_and_an_arrival_there() {
    lab(|| {
        let space = Space::new();
        let mut here = LinkWatch::open(&None).unwrap();
        let mut there = LinkWatch::open(&space.netns).unwrap();
        assert_eq!((here.netns(), there.netns()), (None, Some(space.path())));
        ip("link add a0 type veth peer name b0");
        until(&mut here, "a0", |e| present(e, "a0", |_| true));
        ip(&format!("link set a0 netns {}", space.path()));
        until(&mut here, "the removal", |e| removed(e, "a0"));
        until(&mut there, "the arrival", |e| present(e, "a0", |_| true));
        assert!(netdev::link::facts(&space.netns, "a0").unwrap().is_some());
    });
}

#[test]
fn a_change_wakes_the_poller() {
    lab(|| {
        let mut watch = LinkWatch::open(&None).unwrap();
        watch.poll(|_| {}).unwrap();
        let mut poller = MioPoller::new().unwrap();
        poller.add(watch.as_fd(), 4).unwrap();
        ip("link add a0 type veth peer name b0");
        let mut tokens = Vec::new();
        poller.poll(Some(PATIENCE), &mut |token| tokens.push(token)).unwrap();
        assert_eq!(tokens, [4]);
        until(&mut watch, "a0", |e| e.name == "a0");
    });
}

/// More changes than the kernel keeps for us: the watch is told that reports were lost and finds out what is true now.
#[test]
fn nothing_is_missed_when_the_queue_of_the_kernel_overflows() {
    lab(|| {
        veth("a0", "b0");
        let mut watch = LinkWatch::open(&None).unwrap();
        until(&mut watch, "a0", |e| e.name == "a0");
        // Each report is about 1.5 KiB and counts double; the queue of the watch holds 2 MiB.
        ip("link add keep type veth peer name keep1");
        let script: String = (0..3000).map(|i| format!("link set a0 mtu {}\n", 1000 + i)).chain(["link del a0\n".into()]).collect();
        batch(&script);
        let mut events = Vec::new();
        watch.poll(|event| events.push(event)).unwrap();
        assert!(events.len() < 3000, "the queue did not overflow: {} events", events.len());
        assert!(events.iter().any(|e| removed(e, "a0")) && events.iter().any(|e| removed(e, "b0")));
        assert!(events.iter().any(|e| present(e, "keep", |_| true)));
        assert_eq!(events.iter().filter(|e| removed(e, "a0")).count(), 1);
    });
}

fn batch(script: &str) {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut child = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}
