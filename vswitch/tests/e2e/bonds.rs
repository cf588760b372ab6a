//! Bonds end to end: guests that bond, bonds of the daemon against a Linux bridge, failover under load, teamd's
//! configurations.

use std::time::{Duration, Instant};

use proto::bond_status::BondInfo;

use crate::lab::{Lab, Netns, capture, eventually, frame, lab};

/// The daemon's view of one bond.
#[track_caller]
pub(crate) fn bond(lab: &Lab, name: &str) -> BondInfo {
    let mut bonds: Vec<BondInfo> = lab.json(&format!("show bonds --port {name}"));
    assert_eq!(bonds.len(), 1, "{bonds:?}");
    bonds.remove(0)
}

#[track_caller]
pub(crate) fn active(lab: &Lab, name: &str) -> Option<String> {
    bond(lab, name).options.active_slave
}

/// A namespace that plays the outside: `pairs` veths end on a Linux bridge `br` there, which has an address.
#[track_caller]
fn bridge_host(lab: &Lab, members: &[&str], address: &str) -> Netns {
    let netns = lab.netns();
    netns.run("ip link add br type bridge forward_delay 0");
    netns.run("ip link set dev br up");
    netns.run(&format!("ip addr add {address}/24 dev br"));
    for member in members {
        plug(lab, &netns, member);
    }
    netns
}

/// A veth from the daemon's namespace to the bridge of the outside.
#[track_caller]
fn plug(lab: &Lab, outside: &Netns, member: &str) {
    lab.home.run(&format!("ip link add {member} type veth peer name {member} netns {}", outside.name()));
    lab.home.run(&format!("ip link set dev {member} up"));
    outside.run(&format!("ip link set dev {member} master br up"));
}

/// Three pings as in the experiments of the manual; all are answered.
#[track_caller]
fn three_pings(from: &Netns, to: &str) {
    let text = from.run(&format!("ping -n -c 3 -i 0.2 -W 2 {to}"));
    assert!(text.contains("3 packets transmitted, 3 received, 0% packet loss"), "{text}");
}

/// The bond experiment of the manual (miimon, updelay and downdelay 100, active-backup), with the bond in the switch: ping,
/// first member down, ping by the second, first up and second down, ping by the first.
fn manual_experiment(lab: &Lab, add_bond: &str) {
    lab.ctl("add-switch lan");
    let guest = lab.host("lan", "guest", "10.0.2.66", "");
    let outside = bridge_host(lab, &["nic1", "nic2"], "10.0.2.1");
    lab.ctl(add_bond);
    eventually("a member is active", || active(lab, "up").is_some());
    assert_eq!(active(lab, "up").as_deref(), Some("nic1"));
    three_pings(&guest, "10.0.2.1");
    outside.run("ip link set dev nic1 down");
    three_pings(&guest, "10.0.2.1");
    assert_eq!(active(lab, "up").as_deref(), Some("nic2"));
    outside.run("ip link set dev nic1 up");
    eventually("nic1 is usable again", || bond(lab, "up").members.iter().all(|member| member.mii_status == "up"));
    outside.run("ip link set dev nic2 down");
    three_pings(&guest, "10.0.2.1");
    assert_eq!(active(lab, "up").as_deref(), Some("nic1"));
    let info = bond(lab, "up");
    assert!(info.failovers >= 2 && !info.active_reason.is_empty(), "{info:?}");
    assert_eq!(info.members.iter().map(|member| member.link_failure_count).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn the_bond_experiment_of_the_manual() {
    let lab = lab!("ping");
    manual_experiment(&lab, "add-bond lan up --member nic1 --member nic2 --miimon 100 --updelay 100 --downdelay 100 --mode active-backup");
    // What `ip -d link show` prints of the bond there, in the same words.
    let text = lab.ctl("show bonds").split_whitespace().collect::<Vec<_>>().join(" ");
    for option in [
        "mode active-backup",
        "active_slave nic1",
        "miimon 100",
        "updelay 100",
        "downdelay 100",
        "use_carrier 1",
        "arp_interval 0",
        "arp_validate none",
        "arp_all_targets any",
        "primary_reselect always",
        "fail_over_mac none",
        "xmit_hash_policy layer2",
        "resend_igmp 1",
        "num_grat_arp 1",
        "all_slaves_active 0",
        "min_links 0",
        "lp_interval 1",
        "packets_per_slave 1",
        "lacp_rate slow",
        "ad_select stable",
        "tlb_dynamic_lb 1",
    ] {
        assert!(text.contains(option), "{option}: {text}");
    }
}

#[test]
fn the_team_experiment_of_the_manual() {
    let lab = lab!("ping");
    std::fs::write(lab.path("team.json"), r#"{"runner": {"name": "activebackup"},"link_watch": {"name": "ethtool"}}"#).unwrap();
    manual_experiment(&lab, &format!("add-bond lan up --member nic1 --member nic2 --team-config {}", lab.path("team.json").display()));
    std::fs::write(lab.path("team.json"), r#"{"runner": {"name": "activebackup", "nonsense": 1}}"#).unwrap();
    let outcome = lab.try_ctl(&format!("add-bond lan other --team-config {}", lab.path("team.json").display()));
    assert!(outcome.code == 2 && outcome.err.contains("runner.nonsense"), "{outcome:?}");
}

/// A guest with two interfaces on one switch that bonds them as Linux does, played by the test: both have one MAC address,
/// one carries frames, and a failover moves the IP address and announces it.
#[test]
fn a_guest_that_bonds_keeps_its_connectivity() {
    let lab = lab!("ping", "arping");
    lab.ctl("add-switch lan");
    let gateway = lab.host("lan", "gateway", "10.0.2.1", "");
    let guest = lab.netns();
    const MAC: &str = "52:54:00:1e:f1:21";
    for nic in ["nic1", "nic2"] {
        lab.ctl(&format!("add-port lan {nic} --tap --netns {} --mac {MAC}", guest.name()));
    }
    // The backup must not answer or use the address: the driver passes nothing up from it.
    guest.run("ip link set dev nic2 arp off");
    guest.run("ip addr add 10.0.2.66/24 dev nic1");
    let fail_over = |from: &str, to: &str| {
        guest.run(&format!("ip addr flush dev {from}"));
        guest.run(&format!("ip link set dev {from} down"));
        guest.run(&format!("ip link set dev {to} up"));
        guest.run(&format!("ip link set dev {to} arp on"));
        guest.run(&format!("ip addr add 10.0.2.66/24 dev {to}"));
        guest.run(&format!("arping -q -c 1 -U -I {to} 10.0.2.66"));
        eventually("the address is at its new place", || lab.learned_at("lan", MAC).as_deref() == Some(to));
    };
    three_pings(&guest, "10.0.2.1");
    assert_eq!(lab.learned_at("lan", MAC).as_deref(), Some("nic1"));
    fail_over("nic1", "nic2");
    three_pings(&guest, "10.0.2.1");
    // The first comes back as backup: its own broadcasts reach it through the switch and change nothing.
    guest.run("ip link set dev nic1 arp off");
    guest.run("ip link set dev nic1 up");
    guest.run("arping -q -c 3 -U -I nic2 10.0.2.66");
    three_pings(&gateway, "10.0.2.66");
    assert_eq!(lab.learned_at("lan", MAC).as_deref(), Some("nic2"), "broadcasts that come back do not move the address");
    fail_over("nic2", "nic1");
    three_pings(&guest, "10.0.2.1");
}
