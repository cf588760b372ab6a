//! VLANs: access, trunk, native and tunnel ports.

use crate::lab::{capture, eventually, frame, lab};

const A: &str = "02:00:00:00:00:0a";
const B: &str = "02:00:00:00:00:0b";
const BROADCAST: &str = "ff:ff:ff:ff:ff:ff";
/// TPID of a customer tag (IEEE 802.1Q-2018 table 9-1).
const C: u16 = 0x8100;
/// TPID of a service tag.
const S: u16 = 0x88a8;

#[test]
fn hosts_reach_their_vlan_and_no_other() {
    let lab = lab!("ping");
    lab.ctl("add-switch lan");
    let red = lab.host("lan", "red", "10.0.0.1", "--access 10");
    let _pink = lab.host("lan", "pink", "10.0.0.2", "--access 10");
    let blue = lab.host("lan", "blue", "10.0.0.3", "--access 20");
    assert!(red.reaches("10.0.0.2"));
    assert!(red.is_cut_off_from("10.0.0.3"));
    assert!(lab.fdb("lan").iter().all(|entry| entry.vlan == if entry.port == "blue" { 20 } else { 10 }));
    let vlans: Vec<proto::api::VlanInfo> = lab.json("show vlans");
    let of = |vid| vlans.iter().find(|vlan| vlan.vlan == vid).unwrap().untagged.clone();
    assert_eq!((of(10), of(20)), (vec!["pink".to_owned(), "red".to_owned()], vec!["blue".to_owned()]));
    // Moving a port to the other VLAN joins them at once.
    lab.ctl("set-port blue --access 10");
    assert!(blue.reaches("10.0.0.1"));
}

#[test]
fn a_trunk_carries_tags_on_the_wire() {
    let lab = lab!("ping", "tcpdump");
    lab.ctl("add-switch lan");
    let far = lab.veth("uplink", "far");
    lab.ctl("add-port lan uplink --nic uplink --trunk 10,20");
    let red = lab.host("lan", "red", "10.0.0.1", "--access 10");
    let blue = lab.host("lan", "blue", "10.0.0.2", "--access 20");
    let mut wire = capture(&far, "far", "");
    // Nobody answers: what matters is the question on the wire.
    red.output("ping -n -q -c 1 -W 1 10.0.0.9");
    blue.output("ping -n -q -c 1 -W 1 10.0.0.9");
    wire.expect("a question in VLAN 10", |line| line.contains("vlan 10,") && line.contains("tell 10.0.0.1"));
    wire.expect("a question in VLAN 20", |line| line.contains("vlan 20,") && line.contains("tell 10.0.0.2"));
    lab.ctl("set-port uplink --trunk 20");
    red.output("ping -n -q -c 1 -W 1 10.0.0.8");
    blue.output("ping -n -q -c 1 -W 1 10.0.0.8");
    wire.expect("a question in VLAN 20", |line| line.contains("who-has 10.0.0.8") && line.contains("vlan 20,"));
    let leaked = wire.so_far().iter().any(|line| line.contains("who-has 10.0.0.8 tell 10.0.0.1,"));
    assert!(!leaked, "{:?}", wire.so_far());
}

#[test]
fn a_tagged_frame_reaches_an_access_host_without_its_tag() {
    let lab = lab!("tcpdump");
    lab.ctl("add-switch lan");
    lab.ctl("add-port lan trunk --sim --trunk 10,20");
    let host = lab.host("lan", "red", "10.0.0.1", "--access 10");
    let mut wire = capture(&host, "red", "ether src 02:00:00:00:00:0a");
    lab.send("trunk", &frame(BROADCAST, A, &[(C, 20)], b"not for you"));
    lab.send("trunk", &frame(BROADCAST, A, &[(C, 10)], b"for you"));
    let line = wire.expect("a frame", |line| line.contains(A));
    assert!(line.contains("0x88b5") && !line.contains("vlan"), "{line}");
    lab.send("trunk", &frame(BROADCAST, A, &[(C, 30)], b"not a member"));
    lab.send("trunk", &frame(BROADCAST, A, &[], b"no native VLAN"));
    eventually("both are dropped", || lab.drops("trunk", "vlan-ingress-filter") == 1 && lab.drops("trunk", "no-pvid") == 1);
}

#[test]
fn priorities_survive_from_trunk_to_trunk() {
    let lab = lab!();
    lab.ctl("add-switch lan");
    lab.ctl("add-port lan t1 --sim --trunk 1-100");
    lab.ctl("add-port lan t2 --sim --trunk 10");
    // Priority 5, drop eligible, VLAN 10.
    let tagged = frame(B, A, &[(C, 5 << 13 | 1 << 12 | 10)], b"urgent");
    lab.send("t1", &tagged);
    lab.receive("t2", |f| f == tagged);
}

#[test]
fn access_ports_are_strict_unless_told_otherwise() {
    let lab = lab!();
    lab.ctl("add-switch lan");
    lab.ctl("add-port lan guest --sim --access 10");
    lab.ctl("add-port lan other --sim --access 10");
    lab.send("guest", &frame(B, A, &[(C, 10)], b"own"));
    lab.send("guest", &frame(B, A, &[(C, 20)], b"other"));
    eventually("both are dropped", || lab.drops("guest", "access-tagged") == 2);
    // VLAN 0 is a priority, not a VLAN (IEEE 802.1Q-2018 clause 9.6).
    lab.send("guest", &frame(B, A, &[(C, 3 << 13)], b"priority"));
    lab.receive("other", |f| f.windows(8).any(|w| w == b"priority"));
    lab.ctl("set-port guest --accept-tagged own");
    lab.send("guest", &frame(B, A, &[(C, 20)], b"other"));
    lab.send("guest", &frame(B, A, &[(C, 10)], b"own"));
    let received = lab.receive("other", |f| f.windows(3).any(|w| w == b"own"));
    assert_eq!(received[12..14], [0x88, 0xb5], "without tag");
    assert_eq!(lab.port("guest").drops.values().sum::<u64>(), 3);
    assert_eq!(lab.port("other").tx_packets, 2);
}

#[test]
fn a_native_vlan_is_untagged_unless_told_otherwise() {
    let lab = lab!();
    lab.ctl("add-switch lan");
    lab.ctl("add-port lan trunk --sim --trunk 10,20 --native 10");
    lab.ctl("add-port lan host --sim --access 10");
    lab.send("trunk", &frame(B, A, &[], b"in"));
    lab.receive("host", |f| f == frame(B, A, &[], b"in"));
    lab.send("host", &frame(BROADCAST, B, &[], b"out"));
    lab.receive("trunk", |f| f == frame(BROADCAST, B, &[], b"out"));
    lab.ctl("set-port trunk --native-tagged");
    lab.send("host", &frame(BROADCAST, B, &[], b"out"));
    let tagged = lab.receive("trunk", |f| f[12..16] == [0x81, 0, 0, 10]);
    assert!(tagged.windows(3).any(|w| w == b"out"));
}

#[test]
fn a_tunnel_port_pushes_a_service_tag_and_takes_it_off_again() {
    let lab = lab!("tcpdump");
    lab.ctl("add-switch lan");
    let far = lab.veth("uplink", "far");
    lab.ctl("add-port lan customer --sim --qinq 300 --cvlans 10-19");
    lab.ctl("add-port lan site2 --sim --qinq 300");
    lab.ctl("add-port lan uplink --nic uplink --trunk 300");
    let mut wire = capture(&far, "far", "");
    lab.send("customer", &frame(BROADCAST, A, &[(C, 10)], b"hello"));
    let line = wire.expect("a double tag", |line| line.contains("vlan 300,"));
    assert!(line.contains("0x88a8") && line.contains("vlan 10,"), "{line}");
    lab.receive("site2", |f| f == frame(BROADCAST, A, &[(C, 10)], b"hello"));
    lab.send("customer", &frame(BROADCAST, A, &[(C, 20)], b"not allowed"));
    eventually("a customer VLAN that is not listed is dropped", || lab.drops("customer", "vlan-ingress-filter") == 1);
}

/// A veth end hands tags over in metadata, not in octets; losing them there is the classic mistake.
#[test]
fn a_service_tag_that_arrives_on_a_nic_is_understood() {
    let lab = lab!();
    lab.ctl("add-switch lan");
    lab.ctl("add-switch wan");
    // Two switches joined by a veth pair inside the daemon's namespace.
    lab.home.run("ip link add x type veth peer name y");
    lab.home.run("ip link set dev x up");
    lab.home.run("ip link set dev y up");
    lab.ctl("add-port lan x --nic x --trunk 300");
    lab.ctl("add-port wan y --nic y --trunk 300");
    lab.ctl("add-port lan here --sim --qinq 300");
    lab.ctl("add-port wan there --sim --qinq 300");
    lab.ctl("add-port wan raw --sim --trunk 300");
    for tags in [&[][..], &[(C, 10)], &[(C, 6 << 13 | 10)]] {
        let sent = frame(BROADCAST, A, tags, b"through");
        lab.send("here", &sent);
        lab.receive("there", |f| f == sent);
        // The customer's priority becomes the service's, too (IEEE 802.1Q-2018 clause 6.9.4, default mapping).
        let priority = tags.first().map_or(0, |(_, tci)| tci & 0xf000);
        let mut outer = vec![(S, priority | 300)];
        outer.extend(tags);
        lab.receive("raw", |f| f == frame(BROADCAST, A, &outer, &sent[12 + 4 * tags.len() + 2..]));
    }
}
