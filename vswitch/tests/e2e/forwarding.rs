//! Learning, flooding and forwarding between hosts.

use crate::lab::{capture, eventually, frame, lab};

const A: &str = "02:00:00:00:00:0a";
const B: &str = "02:00:00:00:00:0b";
const BROADCAST: &str = "ff:ff:ff:ff:ff:ff";

#[test]
fn hosts_on_tap_ports_reach_each_other_and_are_learned() {
    let lab = lab!("ping");
    lab.ctl("add-switch lan");
    let a = lab.host("lan", "a", "10.0.0.1", "");
    let b = lab.host("lan", "b", "10.0.0.2", "");
    assert!(a.reaches("10.0.0.2"));
    assert!(b.reaches("10.0.0.1"));
    assert_eq!(lab.learned_at("lan", &a.mac("a")).as_deref(), Some("a"));
    assert_eq!(lab.learned_at("lan", &b.mac("b")).as_deref(), Some("b"));
    // The names of the fields are a promise.
    let entries: Vec<serde_json::Value> = lab.json("show fdb");
    let entry = entries.iter().find(|entry| entry["port"] == "a").unwrap();
    assert_eq!((&entry["switch"], &entry["static"]), (&"lan".into(), &false.into()));
    assert!(entry["vlan"] == 0 && entry["mac"] == a.mac("a") && entry["age_ms"].as_u64().unwrap() < 60_000, "{entry}");
    let table = lab.ctl("show fdb --port b");
    assert!(table.lines().count() == 2 && table.contains(&b.mac("b")), "{table}");
}

/// Row D1 of the requirements: unknown unicast goes everywhere, and to one port only once the address has answered.
#[test]
fn unicast_is_flooded_until_the_address_is_learned() {
    let lab = lab!();
    lab.ctl("add-switch lan");
    for port in ["a", "b", "c"] {
        lab.ctl(&format!("add-port lan {port} --sim"));
    }
    lab.send("a", &frame(B, A, &[], b"question"));
    for port in ["b", "c"] {
        lab.receive(port, |f| f == frame(B, A, &[], b"question"));
    }
    lab.send("b", &frame(A, B, &[], b"answer"));
    lab.receive("a", |f| f == frame(A, B, &[], b"answer"));
    let before = lab.port("c");
    lab.send("a", &frame(B, A, &[], b"more"));
    lab.receive("b", |f| f == frame(B, A, &[], b"more"));
    let after = lab.port("c");
    assert_eq!((after.tx_packets, after.drops), (before.tx_packets, before.drops), "the third port saw nothing");
    assert!(lab.received("c").is_empty());
    assert!(lab.received("a").is_empty(), "nothing returns to where it came from");
}

#[test]
fn a_third_host_does_not_see_a_conversation() {
    let lab = lab!("ping", "tcpdump");
    lab.ctl("add-switch lan");
    let a = lab.host("lan", "a", "10.0.0.1", "");
    let _b = lab.host("lan", "b", "10.0.0.2", "");
    let c = lab.host("lan", "c", "10.0.0.3", "");
    assert!(a.reaches("10.0.0.2"));
    let mut seen = capture(&c, "c", "icmp or ether host 02:00:00:00:00:0a");
    assert!(a.reaches("10.0.0.2"));
    // A frame that does get there shows that the capture works.
    assert!(a.reaches("10.0.0.3"));
    seen.expect("the echo request to c", |line| line.contains("10.0.0.1 > 10.0.0.3"));
    assert!(!seen.so_far().iter().any(|line| line.contains("10.0.0.2")), "{:?}", seen.so_far());
}

#[test]
fn a_hub_learns_nothing_and_floods_everything() {
    let lab = lab!();
    lab.ctl("add-switch lan --hub");
    for port in ["a", "b", "c"] {
        lab.ctl(&format!("add-port lan {port} --sim"));
    }
    lab.send("b", &frame(A, B, &[], b"here is b"));
    lab.receive("c", |f| f.ends_with(&frame(A, B, &[], b"here is b")[12..]));
    lab.send("a", &frame(B, A, &[], b"to b"));
    for port in ["b", "c"] {
        lab.receive(port, |f| f == frame(B, A, &[], b"to b"));
    }
    assert!(lab.fdb("lan").is_empty());
}

#[test]
fn flood_flags_keep_floods_away() {
    let lab = lab!();
    lab.ctl("add-switch lan");
    lab.ctl("add-port lan a --sim");
    lab.ctl("add-port lan open --sim");
    lab.ctl("add-port lan shut --sim --flood off --mcast-flood off --bcast-flood off");
    for destination in [B, "01:00:5e:00:00:01", BROADCAST] {
        lab.send("a", &frame(destination, A, &[], b"flood"));
        lab.receive("open", |f| f == frame(destination, A, &[], b"flood"));
    }
    assert!(lab.received("shut").is_empty());
    lab.ctl("set-port shut --bcast-flood on");
    lab.send("a", &frame(BROADCAST, A, &[], b"now"));
    lab.receive("shut", |f| f == frame(BROADCAST, A, &[], b"now"));
}

#[test]
fn isolated_ports_reach_others_but_not_each_other() {
    let lab = lab!("ping");
    lab.ctl("add-switch lan");
    let a = lab.host("lan", "a", "10.0.0.1", "--isolated on");
    let b = lab.host("lan", "b", "10.0.0.2", "--isolated on");
    let gateway = lab.host("lan", "gateway", "10.0.0.3", "");
    assert!(a.reaches("10.0.0.3") && gateway.reaches("10.0.0.2"));
    assert!(a.is_cut_off_from("10.0.0.2"));
    lab.ctl("set-port b --isolated off");
    assert!(b.reaches("10.0.0.1"));
}

#[test]
fn hairpin_lets_two_hosts_behind_one_port_talk() {
    let lab = lab!();
    lab.ctl("add-switch lan");
    lab.ctl("add-port lan a --sim");
    lab.ctl("add-port lan other --sim");
    lab.send("a", &frame(BROADCAST, A, &[], b""));
    lab.send("a", &frame(BROADCAST, B, &[], b""));
    eventually("both are learned", || lab.fdb("lan").len() == 2);
    lab.received("a");
    lab.send("a", &frame(B, A, &[], b"filtered"));
    eventually("the frame is dropped as same-port", || lab.drops("a", "same-port") == 1);
    lab.ctl("set-port a --hairpin on");
    lab.send("a", &frame(B, A, &[], b"returned"));
    lab.receive("a", |f| f == frame(B, A, &[], b"returned"));
}

#[test]
fn arping_finds_its_neighbour() {
    let lab = lab!("arping");
    lab.ctl("add-switch lan");
    let a = lab.host("lan", "a", "10.0.0.1", "");
    let b = lab.host("lan", "b", "10.0.0.2", "");
    let mac = b.mac("b");
    let reply = a.run("arping -c 2 -I a 10.0.0.2").to_lowercase();
    assert!(reply.contains(&mac), "{reply}");
}

#[test]
fn static_entries_bind_an_address_to_its_port() {
    let lab = lab!();
    lab.ctl("add-switch lan");
    for port in ["a", "b", "c"] {
        lab.ctl(&format!("add-port lan {port} --sim"));
    }
    lab.ctl(&format!("add-fdb lan {B} b"));
    lab.send("a", &frame(B, A, &[], b"known"));
    lab.receive("b", |f| f == frame(B, A, &[], b"known"));
    assert!(lab.received("c").is_empty(), "not flooded");
    // The same address from another port is an imposter.
    lab.send("c", &frame(A, B, &[], b"imposter"));
    eventually("it is dropped as static-move", || lab.drops("c", "static-move") == 1);
    let entry = lab.fdb("lan").into_iter().find(|entry| entry.mac.to_string() == B).unwrap();
    assert!(entry.is_static && entry.port == "b");
    // Flushing spares it, deleting does not.
    lab.ctl("flush-fdb lan");
    assert_eq!(lab.fdb("lan").len(), 1);
    lab.ctl(&format!("del-fdb lan {B}"));
    assert!(lab.fdb("lan").is_empty());
    assert!(lab.refused(&format!("del-fdb lan {B}")).contains(B));
    lab.ctl(&format!("del-fdb lan {B} --if-exists"));
}

#[test]
fn the_learn_limit_bounds_what_one_port_can_take() {
    let lab = lab!();
    lab.ctl("add-switch lan");
    lab.ctl("add-port lan a --sim --learn-limit 3");
    lab.ctl("add-port lan b --sim");
    for i in 1..=10 {
        lab.send("a", &frame(BROADCAST, &format!("02:00:00:00:01:{i:02x}"), &[], &[i]));
    }
    lab.receive("b", |f| f.contains(&10) && f[11] == 10);
    assert_eq!(lab.fdb("lan").iter().filter(|entry| entry.port == "a").count(), 3);
    let switches: Vec<proto::api::SwitchInfo> = lab.json("show switches");
    assert_eq!(switches[0].fdb_limited, 7);
}

#[test]
fn flushing_forgets_by_port_and_by_vlan() {
    let lab = lab!();
    lab.ctl("add-switch lan");
    lab.ctl("add-port lan a --sim");
    lab.ctl("add-port lan b --sim");
    lab.send("a", &frame(BROADCAST, A, &[(0x8100, 10)], b""));
    lab.send("a", &frame(BROADCAST, A, &[(0x8100, 20)], b""));
    lab.send("b", &frame(BROADCAST, B, &[(0x8100, 10)], b""));
    eventually("three entries", || lab.fdb("lan").len() == 3);
    assert!(lab.ctl("flush-fdb lan --port a --vlan 10").starts_with("1 "));
    assert_eq!(lab.fdb("lan").len(), 2);
    lab.ctl("flush-fdb lan --port b");
    assert_eq!(lab.fdb("lan").iter().map(|entry| entry.vlan).collect::<Vec<_>>(), [20]);
    lab.ctl("flush-fdb lan");
    assert!(lab.fdb("lan").is_empty());
}

#[test]
fn addresses_age_out() {
    let lab = lab!();
    lab.ctl("add-switch lan --ageing-time 1s");
    lab.ctl("add-port lan a --sim");
    lab.ctl("add-port lan b --sim");
    lab.send("a", &frame(BROADCAST, A, &[], b""));
    eventually("it is learned", || lab.learned_at("lan", A).is_some());
    eventually("it is forgotten", || lab.learned_at("lan", A).is_none());
}

#[test]
fn an_oversize_frame_is_dropped_with_its_reason() {
    let lab = lab!("ping");
    lab.ctl("add-switch lan");
    let a = lab.host("lan", "a", "10.0.0.1", "--mtu 3000");
    let _b = lab.host("lan", "b", "10.0.0.2", "--mtu 1500");
    assert!(a.reaches("10.0.0.2"));
    // 28 octets of IPv4 and ICMP headers come on top; the receiver's own MTU is the switch's limit.
    assert!(a.succeeds("ping -n -q -c 5 -i 0.2 -W 2 -w 4 -s 1472 10.0.0.2"));
    assert!(!a.succeeds("ping -n -q -c 2 -i 0.2 -W 1 -s 2000 -M do 10.0.0.2"));
    eventually("the drop is counted at the port it should have left", || lab.drops("b", "mtu-exceeded") >= 1);
    let text = lab.ctl("show drops --port b");
    assert!(text.contains("mtu-exceeded"), "{text}");
}

#[test]
fn the_host_takes_part_through_its_host_port() {
    let lab = lab!("ping");
    lab.ctl("add-switch lan --host-port");
    let a = lab.host("lan", "a", "10.0.0.1", "");
    lab.home.run("ip addr add 10.0.0.254/24 dev lan");
    assert!(lab.home.reaches("10.0.0.1"));
    assert!(a.reaches("10.0.0.254"));
    let mac = lab.home.mac("lan");
    lab.kill_daemon();
    lab.start_daemon();
    assert_eq!(lab.home.mac("lan"), mac, "its address survives a restart");
}

#[test]
fn patch_ports_join_two_switches_that_are_apart_otherwise() {
    let lab = lab!("ping");
    lab.ctl("add-switch east");
    lab.ctl("add-switch west");
    let a = lab.host("east", "a", "10.0.0.1", "");
    let _b = lab.host("west", "b", "10.0.0.2", "");
    assert!(a.is_cut_off_from("10.0.0.2"));
    lab.ctl("add-port east to-west --patch to-east");
    assert_eq!(lab.port("to-west").link, proto::api::Link::Down);
    lab.ctl("add-port west to-east --patch to-west");
    assert!(a.reaches("10.0.0.2"));
    assert_eq!(lab.learned_at("west", &a.mac("a")).as_deref(), Some("to-east"));
    lab.ctl("del-port west to-east");
    assert!(a.is_cut_off_from("10.0.0.2"));
}

#[test]
fn a_disabled_port_carries_nothing_until_it_is_enabled() {
    let lab = lab!("ping");
    lab.ctl("add-switch lan");
    let a = lab.host("lan", "a", "10.0.0.1", "");
    let _b = lab.host("lan", "b", "10.0.0.2", "--disabled");
    assert_eq!(lab.port("b").link, proto::api::Link::Disabled);
    assert!(a.is_cut_off_from("10.0.0.2"));
    lab.ctl("set-port b --enabled on");
    assert!(a.reaches("10.0.0.2"));
}
