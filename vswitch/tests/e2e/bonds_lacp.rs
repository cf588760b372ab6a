//! LACP against Open vSwitch with its userspace datapath: fast and slow, a silent partner, one that flaps, one cabled to two
//! systems.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use proto::bond_status::BondInfo;

use crate::bonds::bond;
use crate::lab::{Lab, Netns, Running, eventually, lab};

/// An Open vSwitch of its own, in a namespace and directories of the test.
struct Ovs {
    directory: tempfile::TempDir,
    netns: Netns,
    _daemons: [Running; 2],
}

impl Ovs {
    #[track_caller]
    fn start(netns: Netns) -> Ovs {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let made = Command::new("ovsdb-tool").arg("create").arg(path("db")).arg("/usr/share/openvswitch/vswitch.ovsschema").status();
        assert!(made.unwrap().success());
        let daemon = |program: &str, arguments: &[String]| {
            let mut command = netns.command(program);
            command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.envs([("OVS_RUNDIR", directory.path()), ("OVS_DBDIR", directory.path()), ("OVS_LOGDIR", directory.path())]);
            Running::start(&mut command)
        };
        let text = |name: &str| path(name).display().to_string();
        let database =
            daemon("ovsdb-server", &[text("db"), format!("--remote=punix:{}", text("db.sock")), format!("--unixctl={}", text("db.ctl"))]);
        eventually("ovsdb-server listens", || path("db.sock").exists());
        let switch = daemon("ovs-vswitchd", &[format!("unix:{}", text("db.sock")), format!("--unixctl={}", text("ctl"))]);
        let ovs = Ovs { directory, netns, _daemons: [database, switch] };
        ovs.vsctl("init");
        ovs
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    #[track_caller]
    fn vsctl(&self, line: &str) {
        let mut command = self.netns.command("ovs-vsctl");
        command.arg(format!("--db=unix:{}", self.path("db.sock").display())).arg("--timeout=20").args(line.split_whitespace());
        let output = command.output().unwrap();
        assert!(output.status.success(), "ovs-vsctl {line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn appctl(&self, line: &str) -> String {
        let output = self.netns.command("ovs-appctl").arg("-t").arg(self.path("ctl")).args(line.split_whitespace()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A bridge with a bond over these interfaces and a host on its local port.
    #[track_caller]
    fn bond(&self, bridge: &str, members: &[&str], options: &str, address: &str) {
        self.vsctl(&format!("add-br {bridge} -- set bridge {bridge} datapath_type=netdev"));
        self.vsctl(&format!("add-bond {bridge} bond-{bridge} {} {options}", members.join(" ")));
        eventually("the bridge is there", || self.netns.has(bridge));
        self.netns.run(&format!("ip addr add {address}/24 dev {bridge}"));
        self.netns.run(&format!("ip link set dev {bridge} up"));
    }
}

/// A guest on the switch, two veths to a namespace, and an Open vSwitch there.
#[track_caller]
fn cabled(lab: &Lab) -> (Netns, Ovs) {
    lab.ctl("add-switch lan");
    let guest = lab.host("lan", "guest", "10.0.2.66", "");
    let outside = lab.netns();
    for member in ["m1", "m2"] {
        lab.home.run(&format!("ip link add {member} type veth peer name {member} netns {}", outside.name()));
        lab.home.run(&format!("ip link set dev {member} up"));
        // The kernel there sees the frames, too; it must not answer for the addresses of the bridge.
        outside.run(&format!("ip link set dev {member} arp off up"));
    }
    (guest, Ovs::start(outside))
}

/// Members that carry frames.
fn distributing(info: &BondInfo) -> Vec<&str> {
    let carries = |bits: &[String]| bits.iter().any(|bit| bit == "distributing");
    let members = info.members.iter().filter(|member| member.lacp.as_ref().is_some_and(|lacp| carries(&lacp.actor.state)));
    members.map(|member| member.name.as_str()).collect()
}

#[track_caller]
fn wait_for(lab: &Lab, members: &[&str]) -> BondInfo {
    let mut info = None;
    eventually(&format!("{members:?} carry frames"), || {
        let now = bond(lab, "up");
        let there = distributing(&now) == members;
        info = Some(now);
        there
    });
    info.unwrap()
}

#[test]
fn lacp_fast_aggregates_both_links_and_traffic_survives_the_loss_of_one() {
    let lab = lab!("ping", "ovs-vswitchd", "ovsdb-server", "ovs-vsctl", "ovsdb-tool");
    let (guest, ovs) = cabled(&lab);
    lab.ctl("add-bond lan up --member m1 --member m2 --mode 802.3ad --lacp-rate fast --xmit-hash-policy layer3+4");
    ovs.bond("ovs", &["m1", "m2"], "bond_mode=balance-tcp lacp=active other_config:lacp-time=fast", "10.0.2.1");
    let info = wait_for(&lab, &["m1", "m2"]);
    let lacp = info.lacp.as_ref().expect("the bond speaks LACP");
    assert_eq!((lacp.ad_num_ports, lacp.fallback), (2, false));
    let partners: Vec<_> = info.members.iter().filter_map(|member| member.lacp.as_ref()).map(|lacp| lacp.partner.system).collect();
    assert_eq!(partners, [lacp.ad_partner_mac; 2], "both links end at one system");
    assert!(lacp.ad_partner_key != 0 && info.members.iter().all(|member| member.state == "active"), "{info:?}");
    let ovs_view = || ovs.appctl("lacp/show bond-ovs");
    eventually("Open vSwitch agrees", || ovs_view().matches("current attached").count() == 2);
    assert!(guest.reaches("10.0.2.1"));
    // The PDUs stay on their links: nobody on the switch sees them, and they count at the members only.
    let text = lab.ctl("show bonds");
    assert!(text.contains("collecting_distributing") && text.contains("current"), "{text}");
    ovs.netns.run("ip link set dev m1 down");
    wait_for(&lab, &["m2"]);
    assert!(guest.reaches("10.0.2.1"));
    ovs.netns.run("ip link set dev m1 up");
    wait_for(&lab, &["m1", "m2"]);
    assert!(guest.reaches("10.0.2.1"));
}

#[test]
fn lacp_slow_aggregates_too_and_a_passive_partner_is_enough() {
    let lab = lab!("ping", "ovs-vswitchd", "ovsdb-server", "ovs-vsctl", "ovsdb-tool");
    let (guest, ovs) = cabled(&lab);
    lab.ctl("add-bond lan up --member m1 --member m2 --mode 802.3ad --lacp-active off");
    ovs.bond("ovs", &["m1", "m2"], "bond_mode=balance-slb lacp=passive other_config:lacp-time=slow", "10.0.2.1");
    // Two that only answer never begin.
    let lacp = || bond(&lab, "up").members.into_iter().filter_map(|member| member.lacp);
    eventually("both members gave up waiting", || lacp().filter(|lacp| lacp.receive == "defaulted").count() == 2);
    assert!(lacp().all(|lacp| lacp.lacpdu_tx == 0 && lacp.lacpdu_rx == 0), "{:?}", lacp().collect::<Vec<_>>());
    lab.ctl("set-bond up --default lacp_active");
    let info = wait_for(&lab, &["m1", "m2"]);
    for lacp in info.members.iter().filter_map(|member| member.lacp.as_ref()) {
        assert!(!lacp.partner.state.iter().any(|bit| bit == "activity" || bit == "timeout"), "{lacp:?}");
        assert!(!lacp.actor.state.iter().any(|bit| bit == "timeout"), "{lacp:?}");
    }
    assert!(guest.reaches("10.0.2.1"));
}

#[test]
fn a_partner_that_falls_silent_takes_its_members_out_and_fallback_keeps_one() {
    let lab = lab!("ping", "ovs-vswitchd", "ovsdb-server", "ovs-vsctl", "ovsdb-tool");
    let (guest, ovs) = cabled(&lab);
    lab.ctl("add-bond lan up --member m1 --member m2 --mode 802.3ad --lacp-rate fast");
    ovs.bond("ovs", &["m1", "m2"], "bond_mode=active-backup lacp=active other_config:lacp-time=fast", "10.0.2.1");
    wait_for(&lab, &["m1", "m2"]);
    let mut monitor = lab.ctl_lines("monitor");
    eventually("the monitor is connected", || {
        lab.ctl("set-port guest --mtu 1400");
        lab.ctl("set-port guest --mtu 1500");
        !monitor.so_far().is_empty()
    });
    // The links stay up, only the protocol ends.
    ovs.vsctl("set port bond-ovs lacp=off");
    monitor.expect("the receive machine expires", |line| line.contains("receive machine") && line.contains("expired"));
    monitor.expect("and defaults", |line| line.contains("receive machine") && line.contains("defaulted"));
    eventually("nothing aggregates", || {
        bond(&lab, "up")
            .members
            .iter()
            .all(|member| member.lacp.as_ref().is_some_and(|lacp| lacp.partner.system.is_zero() || lacp.receive == "defaulted"))
    });
    lab.ctl("set-bond up --lacp-fallback on");
    eventually("the fallback is on", || bond(&lab, "up").lacp.is_some_and(|lacp| lacp.fallback));
    // Without LACP neither side knows which member the other one uses.
    let active = bond(&lab, "up").options.active_slave.expect("one member is used");
    ovs.appctl(&format!("bond/set-active-member bond-ovs {active}"));
    assert!(guest.reaches("10.0.2.1"));
    ovs.vsctl("set port bond-ovs lacp=active");
    wait_for(&lab, &["m1", "m2"]);
    assert!(!bond(&lab, "up").lacp.unwrap().fallback);
    assert!(guest.reaches("10.0.2.1"));
}

#[test]
fn a_partner_that_flaps_comes_back_each_time() {
    let lab = lab!("ping", "ovs-vswitchd", "ovsdb-server", "ovs-vsctl", "ovsdb-tool");
    let (guest, ovs) = cabled(&lab);
    lab.ctl("add-bond lan up --member m1 --member m2 --mode 802.3ad --lacp-rate fast");
    ovs.bond("ovs", &["m1", "m2"], "bond_mode=balance-tcp lacp=active other_config:lacp-time=fast", "10.0.2.1");
    wait_for(&lab, &["m1", "m2"]);
    // The kernel reports a change and the next one within a second as one, so each has to be seen.
    let carrier = |wanted| eventually("the carrier changes", || bond(&lab, "up").members[1].carrier == wanted);
    for _ in 0..3 {
        ovs.netns.run("ip link set dev m2 down");
        carrier(false);
        ovs.netns.run("ip link set dev m2 up");
        carrier(true);
    }
    assert!(bond(&lab, "up").members[1].link_failure_count >= 3);
    wait_for(&lab, &["m1", "m2"]);
    eventually("Open vSwitch agrees", || ovs.appctl("lacp/show bond-ovs").matches("may_enable: true").count() == 2);
    assert!(guest.reaches("10.0.2.1"));
}

#[test]
fn links_to_two_systems_do_not_aggregate() {
    let lab = lab!("ping", "arping", "ovs-vswitchd", "ovsdb-server", "ovs-vsctl", "ovsdb-tool");
    let (guest, ovs) = cabled(&lab);
    lab.ctl("add-bond lan up --member m1 --member m2 --mode 802.3ad --lacp-rate fast --ad-select stable");
    // Open vSwitch makes bonds of two members; each has a second one that goes nowhere.
    for (bridge, member) in [("left", "m1"), ("right", "m2")] {
        ovs.netns.run(&format!("ip link add {bridge}-x type veth peer name {bridge}-y"));
        let options = format!(
            "bond_mode=balance-slb lacp=active other_config:lacp-time=fast other_config:lacp-system-id=02:00:00:00:00:0{}",
            if bridge == "left" { 1 } else { 2 }
        );
        let address = if bridge == "left" { "10.0.2.1" } else { "10.0.2.2" };
        ovs.bond(bridge, &[member, &format!("{bridge}-x")], &options, address);
    }
    let mut carrying = String::new();
    eventually("one of the systems carries frames", || {
        let info = bond(&lab, "up");
        let heard = info.members.iter().all(|member| member.lacp.as_ref().is_some_and(|lacp| lacp.receive == "current"));
        let names = distributing(&info);
        carrying = names.concat();
        heard && names.len() == 1
    });
    let info = bond(&lab, "up");
    let aggregators: Vec<_> = info.members.iter().filter_map(|member| member.lacp.as_ref()?.ad_aggregator_id).collect();
    assert!(aggregators.len() == 2 && aggregators[0] != aggregators[1], "{info:?}");
    assert_eq!(info.members.iter().filter(|member| member.state == "active").count(), 1, "{info:?}");
    // Frames pass by the one system; the other one's member is closed.
    let (near, far) = if carrying == "m1" { ("left", "right") } else { ("right", "left") };
    assert!(guest.reaches(if near == "left" { "10.0.2.1" } else { "10.0.2.2" }));
    let asks = |bridge: &str| ovs.netns.succeeds(&format!("arping -q -c 2 -w 3 -I {bridge} 10.0.2.66"));
    assert!(asks(near));
    assert!(!asks(far));
}
