//! Devices: TAP and AF_PACKET, their speed, and what happens when they go away.

use std::process::Stdio;

use proto::api::Link;

use crate::lab::{Lab, Netns, Running, eventually, lab};

/// TCP from one host to another with iperf3; bit/s that arrived.
#[track_caller]
fn throughput(from: &Netns, to: &Netns, address: &str) -> f64 {
    let mut server = to.command("iperf3");
    let _server = Running::start(server.args(["-s", "-1"]).stdout(Stdio::null()).stderr(Stdio::null()));
    let mut rate = None;
    // The server may not be listening yet; with -J the exit code says nothing of that.
    eventually("iperf3 reaches its server", || {
        let output = from.output(&format!("iperf3 -c {address} -t 1 -J --connect-timeout 1000"));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        rate = report["end"]["sum_received"]["bits_per_second"].as_f64();
        rate.is_some()
    });
    rate.unwrap()
}

/// Far from what is possible, and far more than what gets through when checksums or segments are wrong.
const FAIR: f64 = 20e6;

#[test]
fn tcp_flows_between_tap_ports_with_and_without_offload() {
    let lab = lab!("iperf3");
    lab.ctl("add-switch lan");
    let a = lab.host("lan", "a", "10.0.0.1", "");
    let b = lab.host("lan", "b", "10.0.0.2", "");
    let c = lab.host("lan", "c", "10.0.0.3", "--offload off");
    for (from, to, address) in [(&a, &b, "10.0.0.2"), (&a, &c, "10.0.0.3"), (&c, &a, "10.0.0.1")] {
        let rate = throughput(from, to, address);
        assert!(rate > FAIR, "{rate} bit/s to {address}");
    }
}

#[test]
fn tcp_flows_between_nic_ports_and_to_a_tap() {
    let lab = lab!("iperf3", "ping");
    lab.ctl("add-switch lan");
    let a = lab.veth("a0", "a");
    let b = lab.veth("b0", "b");
    a.run("ip addr add 10.0.0.1/24 dev a");
    b.run("ip addr add 10.0.0.2/24 dev b");
    lab.ctl("add-port lan pa --nic a0");
    lab.ctl("add-port lan pb --nic b0 --offload off");
    let c = lab.host("lan", "c", "10.0.0.3", "");
    assert!(a.reaches("10.0.0.2") && a.reaches("10.0.0.3"));
    for (from, to, address) in [(&a, &c, "10.0.0.3"), (&c, &a, "10.0.0.1"), (&a, &b, "10.0.0.2"), (&b, &c, "10.0.0.3")] {
        let rate = throughput(from, to, address);
        assert!(rate > FAIR, "{rate} bit/s to {address}");
    }
}

#[test]
fn a_nic_may_be_in_another_namespace() {
    let lab = lab!("ping");
    lab.ctl("add-switch lan");
    let there = lab.netns();
    let far = lab.netns();
    there.run(&format!("ip link add eth1 type veth peer name far netns {}", far.name()));
    there.run("ip link set dev eth1 up");
    far.run("ip link set dev far up");
    far.run("ip addr add 10.0.0.1/24 dev far");
    lab.ctl(&format!("add-port lan eth1 --nic eth1 --netns {}", there.name()));
    let a = lab.host("lan", "a", "10.0.0.2", "");
    assert!(a.reaches("10.0.0.1"));
    assert_eq!(lab.port("eth1").netns.as_deref(), Some(there.name()));
}

#[test]
fn several_queues_carry_one_host() {
    let lab = lab!("ping");
    lab.ctl("add-switch lan");
    let a = lab.host("lan", "a", "10.0.0.1", "--queues 2");
    let _b = lab.host("lan", "b", "10.0.0.2", "--queues 2");
    assert!(a.reaches("10.0.0.2"));
}

#[test]
fn a_link_that_flaps_is_noticed_and_taken_up_again() {
    let lab = lab!("ping");
    lab.ctl("add-switch lan");
    let a = lab.host("lan", "a", "10.0.0.1", "");
    let far = lab.veth("uplink", "far");
    far.run("ip addr add 10.0.0.2/24 dev far");
    lab.ctl("add-port lan uplink --nic uplink");
    assert!(a.reaches("10.0.0.2"));
    assert_eq!(lab.learned_at("lan", &far.mac("far")).as_deref(), Some("uplink"));
    far.run("ip link set dev far down");
    eventually("the link is down", || lab.port("uplink").link == Link::Down);
    eventually("addresses behind it are forgotten", || lab.learned_at("lan", &far.mac("far")).is_none());
    far.run("ip link set dev far up");
    eventually("the link is up", || lab.port("uplink").link == Link::Up);
    assert!(a.reaches("10.0.0.2"));
}

#[test]
fn an_interface_that_is_deleted_and_comes_back_is_taken_up_again() {
    let lab = lab!("ping");
    lab.ctl("add-switch lan");
    let a = lab.host("lan", "a", "10.0.0.1", "");
    let _b = lab.host("lan", "b", "10.0.0.9", "");
    let first = lab.veth("uplink", "far");
    first.run("ip addr add 10.0.0.2/24 dev far");
    lab.ctl("add-port lan uplink --nic uplink");
    assert!(a.reaches("10.0.0.2"));
    let mut events = monitor(&lab);
    lab.home.run("ip link del dev uplink");
    eventually("the link is lost", || lab.port("uplink").link == Link::Lost);
    let problem = lab.port("uplink").problem.unwrap_or_default();
    assert!(problem.contains("interface"), "the cause is named: {problem:?}");
    assert!(a.reaches("10.0.0.9"), "the rest goes on");
    let second = lab.veth("uplink", "far");
    second.run("ip addr add 10.0.0.3/24 dev far");
    eventually("the link is up", || lab.port("uplink").link == Link::Up);
    assert!(a.reaches("10.0.0.3"));
    events.expect("link lost", |line| line.contains(r#""port":"uplink""#) && line.contains(r#""link":"lost""#));
    events.expect("link up", |line| line.contains(r#""port":"uplink""#) && line.contains(r#""link":"up""#));
}

#[test]
fn a_tap_that_is_deleted_is_made_again() {
    let lab = lab!("ping");
    lab.ctl("add-switch lan");
    let a = lab.host("lan", "a", "10.0.0.1", "");
    let b = lab.host("lan", "b", "10.0.0.2", "");
    assert!(a.reaches("10.0.0.2"));
    let mac = b.mac("b");
    b.run("ip link del dev b");
    eventually("the interface is there again", || b.has("b") && lab.port("b").link == Link::Up);
    assert_eq!(b.mac("b"), mac, "neighbours need not ask again");
    b.run("ip addr add 10.0.0.2/24 dev b");
    assert!(a.reaches("10.0.0.2"));
}

#[test]
fn a_tap_that_is_set_down_is_noticed() {
    let lab = lab!();
    lab.ctl("add-switch lan");
    let a = lab.host("lan", "a", "10.0.0.1", "");
    assert_eq!(lab.port("a").link, Link::Up);
    a.run("ip link set dev a down");
    eventually("the link is down", || lab.port("a").link == Link::Down);
    a.run("ip link set dev a up");
    eventually("the link is up", || lab.port("a").link == Link::Up);
}

#[test]
fn an_interface_that_is_no_ethernet_is_refused_by_its_type() {
    let lab = lab!();
    lab.ctl("add-switch lan");
    let complaint = lab.refused("add-port lan lo --nic lo").to_lowercase();
    assert!(complaint.contains("loopback"), "{complaint}");
    assert_eq!(lab.json::<Vec<proto::api::PortInfo>>("show ports").len(), 0, "nothing was added");
}

#[test]
fn deleting_a_port_removes_what_the_daemon_made_and_leaves_what_it_found() {
    let lab = lab!();
    lab.ctl("add-switch lan");
    let _far = lab.veth("uplink", "far");
    lab.ctl("add-port lan uplink --nic uplink");
    lab.ctl("add-port lan a --tap");
    assert!(lab.home.has("a"));
    lab.ctl("del-port a");
    assert!(!lab.home.has("a"));
    lab.ctl("del-port lan uplink");
    assert!(lab.home.has("uplink"));
    let flags = lab.home.run("ip -d link show dev uplink");
    assert!(flags.contains("promiscuity 0"), "{flags}");
}

/// Row D2: set up, clean up, set up again gives the same.
#[test]
fn setting_up_twice_gives_the_same() {
    let lab = lab!();
    let set_up = || {
        lab.ctl("add-switch lan --host-port");
        lab.ctl("add-port lan a --tap --access 10");
        lab.ctl("add-port lan b --sim --trunk 10,20");
        lab.ctl("add-fdb lan 02:00:00:00:00:01 a --vlan 10");
        (lab.ctl("export"), lab.ctl("show vlans"), lab.ctl("show fdb"))
    };
    let first = set_up();
    lab.ctl("del-switch lan");
    assert!(!lab.home.has("a") && !lab.home.has("lan"));
    assert_eq!(lab.json::<Vec<serde_json::Value>>("show fdb").len(), 0);
    assert_eq!(set_up(), first);
}

/// `monitor --json`, once it is sure to be listening.
fn monitor(lab: &Lab) -> crate::lab::Lines {
    crate::daemon::listening_monitor(lab)
}
