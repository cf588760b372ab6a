//! Bonds end to end: guests that bond, bonds of the daemon against a Linux bridge, failover under load, teamd's
//! configurations.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use proto::bond_status::BondInfo;

use crate::lab::{Lab, Netns, eventually, lab};

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

/// A namespace that plays the outside: `pairs` veths end on a Linux bridge `br0` there, which has an address.
#[track_caller]
pub(crate) fn bridge_host(lab: &Lab, members: &[&str], address: &str) -> Netns {
    let netns = lab.netns();
    netns.run("ip link add name br0 type bridge forward_delay 0");
    // Of its own, so that it stays when ports come and go.
    netns.run("ip link set dev br0 address 02:00:00:00:b0:01 up");
    netns.run(&format!("ip addr add {address}/24 dev br0"));
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
    outside.run(&format!("ip link set dev {member} master br0 up"));
}

/// Three pings as in the experiments of the manual; all are answered.
#[track_caller]
fn three_pings(from: &Netns, to: &str) {
    let text = from.run(&format!("ping -n -c 3 -i 0.2 -W 2 {to}"));
    assert!(text.contains("3 packets transmitted, 3 received, 0% packet loss"), "{text}");
}

/// The bond experiment of the manual (miimon, updelay and downdelay 100, active-backup), with the bond in the switch: ping,
/// first member down, ping by the second, first up and second down, ping by the first.
fn manual_experiment(lab: &Lab, add_bond: &str) -> [Netns; 2] {
    lab.ctl("add-switch lan");
    let guest = lab.host("lan", "guest", "10.0.2.66", "");
    let outside = bridge_host(lab, &["nic1", "nic2"], "10.0.2.1");
    lab.ctl(add_bond);
    eventually("a member is active", || active(lab, "up").is_some());
    assert_eq!(active(lab, "up").as_deref(), Some("nic1"));
    three_pings(&guest, "10.0.2.1");
    outside.run("ip link set dev nic1 down");
    // The time it takes to type the next command: downdelay, in which the driver still uses the member, is 100 ms.
    eventually("nic2 is active", || active(lab, "up").as_deref() == Some("nic2"));
    three_pings(&guest, "10.0.2.1");
    outside.run("ip link set dev nic1 up");
    eventually("nic1 is usable again", || bond(lab, "up").members.iter().all(|member| member.mii_status == "up"));
    outside.run("ip link set dev nic2 down");
    eventually("nic1 is active", || active(lab, "up").as_deref() == Some("nic1"));
    three_pings(&guest, "10.0.2.1");
    let info = bond(lab, "up");
    assert!(info.failovers >= 2 && !info.active_reason.is_empty(), "{info:?}");
    assert_eq!(info.members.iter().map(|member| member.link_failure_count).collect::<Vec<_>>(), [1, 1]);
    [guest, outside]
}

#[test]
fn the_bond_experiment_of_the_manual() {
    let lab = lab!("ping");
    let _hosts = manual_experiment(
        &lab,
        "add-bond lan up --member nic1 --member nic2 --miimon 100 --updelay 100 --downdelay 100 --mode active-backup",
    );
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
    let _hosts =
        manual_experiment(&lab, &format!("add-bond lan up --member nic1 --member nic2 --team-config {}", lab.path("team.json").display()));
    std::fs::write(lab.path("team.json"), r#"{"runner": {"name": "activebackup", "nonsense": 1}}"#).unwrap();
    let outcome = lab.try_ctl(&format!("add-bond lan other --team-config {}", lab.path("team.json").display()));
    assert!(outcome.code == 2 && outcome.err.contains("runner.nonsense"), "{outcome:?}");
}

/// A stream of 10,000 frames a second from a host to the outside, whose numbers say which were lost.
struct Stream {
    stop: Arc<AtomicBool>,
    sender: JoinHandle<usize>,
    receiver: JoinHandle<Vec<u32>>,
}

impl Stream {
    /// From `from` to `to`, which has this address.
    #[track_caller]
    fn start(from: &Netns, to: &Netns, address: &str) -> Stream {
        let socket = to.inside(|| UdpSocket::bind("0.0.0.0:5201").unwrap());
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 8 << 20).unwrap();
        let out = from.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap());
        out.connect(format!("{address}:5201")).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let (told, told_too) = (stop.clone(), stop.clone());
        let sender = std::thread::spawn(move || {
            let started = Instant::now();
            let (mut sent, mut skipped) = (0u32, 0);
            while !told.load(Ordering::Relaxed) {
                // As many as are due by now, so that the rate holds however long a sleep takes; but no more at once than fit
                // into queues on the way when the machine was busy with something else.
                let due = (started.elapsed().as_micros() / 100) as u32 - skipped;
                skipped += due.saturating_sub(sent + 64);
                for _ in 0..due.saturating_sub(sent).min(64) {
                    // A refusal by an interface that is down is a lost frame, too.
                    let _ = out.send(&sent.to_be_bytes());
                    sent += 1;
                }
                std::thread::sleep(Duration::from_micros(200));
            }
            sent as usize
        });
        let receiver = std::thread::spawn(move || {
            let mut seen: Vec<u32> = Vec::new();
            let mut octets = [0; 4];
            loop {
                if socket.recv(&mut octets).is_ok() {
                    let number = u32::from_be_bytes(octets) as usize;
                    seen.resize(seen.len().max(number + 1), 0);
                    seen[number] += 1;
                } else if told_too.load(Ordering::Relaxed) {
                    // The timeout is long enough for what was under way when the sender stopped.
                    return seen;
                }
            }
        });
        Stream { stop, sender, receiver }
    }

    /// Ends the stream; says how many frames were sent, lost and doubled.
    fn end(self) -> (usize, usize, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let sent = self.sender.join().unwrap();
        let seen = self.receiver.join().unwrap();
        let count = |wanted: &dyn Fn(u32) -> bool| seen.iter().filter(|count| wanted(**count)).count();
        (sent, sent - count(&|count| count > 0), count(&|count| count > 1))
    }
}

/// The promise for a failover: at most 50 frames of a stream of 10,000 a second.
#[test]
fn a_failover_loses_at_most_fifty_frames_of_ten_thousand_a_second() {
    let lab = lab!("ping");
    lab.ctl("add-switch lan");
    let guest = lab.host("lan", "guest", "10.0.2.66", "");
    let outside = bridge_host(&lab, &["nic1", "nic2"], "10.0.2.1");
    lab.ctl("add-bond lan up --member nic1 --member nic2 --mode active-backup");
    three_pings(&guest, "10.0.2.1");
    // A machine that is busy may take the processor away from any of the processes for longer than the failover takes, so
    // the best of a few attempts counts.
    let mut losses = Vec::new();
    for (fails, other) in [("nic1", "nic2"), ("nic2", "nic1"), ("nic1", "nic2"), ("nic2", "nic1"), ("nic1", "nic2")] {
        eventually("both members are up", || bond(&lab, "up").members.iter().all(|member| member.mii_status == "up"));
        lab.ctl(&format!("set-active up {fails}"));
        let stream = Stream::start(&guest, &outside, "10.0.2.1");
        std::thread::sleep(Duration::from_millis(300));
        outside.run(&format!("ip link set dev {fails} down"));
        eventually("the other one is active", || active(&lab, "up").as_deref() == Some(other));
        std::thread::sleep(Duration::from_millis(300));
        let (sent, lost, doubled) = stream.end();
        assert!(sent > 1000 && doubled == 0, "{sent} sent, {doubled} twice");
        losses.push(lost);
        if lost <= 50 {
            return;
        }
        outside.run(&format!("ip link set dev {fails} up"));
    }
    panic!("{losses:?} frames were lost");
}

/// Members come and go under load; nothing is lost but what a closed queue may still have held.
#[test]
fn members_are_added_and_removed_under_traffic() {
    let lab = lab!("ping");
    lab.ctl("add-switch lan");
    let guest = lab.host("lan", "guest", "10.0.2.66", "");
    let outside = bridge_host(&lab, &["nic1", "nic2"], "10.0.2.1");
    lab.ctl("add-bond lan up --member nic1 --mode active-backup");
    three_pings(&guest, "10.0.2.1");
    let own = lab.home.mac("nic1");
    let stream = Stream::start(&guest, &outside, "10.0.2.1");
    lab.ctl("add-member up nic2");
    eventually("nic2 is up", || bond(&lab, "up").members.iter().filter(|member| member.mii_status == "up").count() == 2);
    assert_eq!(lab.home.mac("nic2"), own, "fail_over_mac none gives every member the address of the bond");
    lab.ctl("del-member up nic1");
    assert_eq!(active(&lab, "up").as_deref(), Some("nic2"));
    plug(&lab, &outside, "nic3");
    lab.ctl("add-member up nic3 --prio 5");
    eventually("nic3 is active", || active(&lab, "up").as_deref() == Some("nic3"));
    lab.ctl("del-member up nic2");
    let (sent, lost, doubled) = stream.end();
    assert!(sent > 1000 && doubled == 0, "{sent} sent, {doubled} twice");
    // A device that is closed loses what its queue holds; nothing else.
    assert!(lost <= 100, "{lost} of {sent} frames were lost");
    let ports: Vec<String> = lab.json::<Vec<proto::api::PortInfo>>("show ports").into_iter().map(|port| port.name).collect();
    assert_eq!(ports, ["guest", "up", "up/nic3"]);
    assert!(lab.refused("del-member up nic2").contains("no member \"nic2\""));
    assert!(lab.refused("set-active up nic9").contains("no member \"nic9\""));
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

/// The MAC address a host has for another in its neighbour table.
fn neighbour(host: &Netns, interface: &str, address: &str) -> Option<String> {
    let table: serde_json::Value = serde_json::from_str(&host.run(&format!("ip -j neigh show dev {interface}"))).unwrap();
    let entry = table.as_array()?.iter().find(|entry| entry["dst"] == address)?.clone();
    entry["lladdr"].as_str().map(str::to_owned)
}

/// Two plain hosts and the switch's host port behind bridge br0 of the outside; gives the hosts.
fn outside_hosts(lab: &Lab, outside: &Netns, addresses: &[&str]) -> Vec<Netns> {
    let hosts = addresses.iter().enumerate().map(|(number, address)| {
        let host = lab.netns();
        outside.run(&format!("ip link add h{number} type veth peer name eth0 netns {}", host.name()));
        outside.run(&format!("ip link set dev h{number} master br0 up"));
        host.run("ip link set dev eth0 up");
        host.run(&format!("ip addr add {address}/24 dev eth0"));
        host
    });
    hosts.collect()
}

/// With fail_over_mac active nothing about the host changes; the bridge outside learns by the announcements where host and
/// guests are now, without a frame from them.
#[test]
fn after_a_failover_the_bridge_outside_knows_where_everybody_is() {
    let lab = lab!("ping");
    lab.ctl("add-switch lan --host-port");
    lab.home.run("ip addr add 10.0.2.9/24 dev lan");
    let guest = lab.host("lan", "guest", "10.0.2.66", "");
    let outside = bridge_host(&lab, &["nic1", "nic2"], "10.0.2.1");
    lab.ctl("add-bond lan up --member nic1 --member nic2 --mode active-backup --num-grat-arp 3");
    three_pings(&guest, "10.0.2.1");
    three_pings(&lab.home, "10.0.2.1");
    let (host_mac, guest_mac) = (lab.home.mac("lan"), guest.mac("guest"));
    let at = |mac: &str, port: &str| outside.run(&format!("bridge fdb show br br0 dev {port}")).contains(mac);
    assert!(at(&host_mac, "nic1") && at(&guest_mac, "nic1"));
    assert_eq!(neighbour(&outside, "br0", "10.0.2.9"), Some(host_mac.clone()));
    // The guest is silent from now on.
    guest.run("ip link set dev guest arp off");
    outside.run("ip link set dev nic1 down");
    eventually("the bridge has them at nic2", || at(&host_mac, "nic2") && at(&guest_mac, "nic2"));
    assert_eq!(neighbour(&outside, "br0", "10.0.2.9"), Some(host_mac));
    three_pings(&outside, "10.0.2.9");
}

/// balance-alb: neighbours of the host are told the addresses of different members, and the one that is left when one fails.
#[test]
fn neighbours_are_balanced_by_arp_and_told_anew_when_a_member_fails() {
    let lab = lab!("ping");
    lab.ctl("add-switch lan --host-port");
    lab.home.run("ip addr add 10.0.2.9/24 dev lan");
    let outside = bridge_host(&lab, &[], "10.0.2.1");
    // In a namespace of their own: the kernel beside the daemon would answer what is sent to the members' own addresses, too.
    let wires = lab.netns();
    for member in ["nic1", "nic2"] {
        wires.run(&format!("ip link add {member} type veth peer name {member} netns {}", outside.name()));
        wires.run(&format!("ip link set dev {member} up"));
        outside.run(&format!("ip link set dev {member} master br0 up"));
    }
    let addresses: Vec<String> = (10..14).map(|n| format!("10.0.2.{n}")).collect();
    let hosts = outside_hosts(&lab, &outside, &addresses.iter().map(String::as_str).collect::<Vec<_>>());
    lab.ctl(&format!("add-bond lan up --member nic1 --member nic2 --mode balance-alb --netns {}", wires.name()));
    let own = [wires.mac("nic1"), wires.mac("nic2")];
    assert_ne!(own[0], own[1], "each member keeps its own address");
    eventually("the host's address is known", || {
        for host in &hosts {
            host.succeeds("ping -n -q -c 1 -W 1 10.0.2.9");
        }
        let macs: Vec<_> = hosts.iter().filter_map(|host| neighbour(host, "eth0", "10.0.2.9")).collect();
        own.iter().all(|mac| macs.contains(mac))
    });
    for host in &hosts {
        three_pings(host, "10.0.2.9");
    }
    outside.run("ip link set dev nic1 down");
    eventually("all know the member that is left", || {
        // Which takes the address of the former active one, as in the kernel.
        let left = wires.mac("nic2");
        left == own[0] && hosts.iter().all(|host| neighbour(host, "eth0", "10.0.2.9").as_ref() == Some(&left))
    });
    for host in &hosts {
        three_pings(host, "10.0.2.9");
    }
}

/// Monitoring by ARP finds a path that is broken behind a link that is up.
#[test]
fn a_dead_path_behind_a_live_link_is_found_by_arp() {
    let lab = lab!("ping");
    lab.ctl("add-switch lan");
    let guest = lab.host("lan", "guest", "10.0.2.66", "");
    let outside = bridge_host(&lab, &["nic1", "nic2"], "10.0.2.1");
    lab.ctl(
        "add-bond lan up --member nic1 --member nic2 --mode active-backup --arp-interval 100 --arp-ip-target 10.0.2.1 --arp-validate all",
    );
    eventually("a member is active and its target answers", || {
        let info = bond(&lab, "up");
        info.options.active_slave.is_some()
            && info.members.iter().any(|member| member.arp_targets.iter().any(|target| target.answered_ms.is_some()))
    });
    three_pings(&guest, "10.0.2.1");
    let first = active(&lab, "up").unwrap();
    // Out of the bridge, but up.
    outside.run(&format!("ip link set dev {first} nomaster"));
    outside.run(&format!("ip link set dev {first} arp off"));
    eventually("the other member is active", || active(&lab, "up").is_some_and(|now| now != first));
    three_pings(&guest, "10.0.2.1");
}

/// Every other mode carries traffic to a Linux bridge that is none the wiser, and the chosen member is the explained one.
#[test]
fn explanations_are_what_happens() {
    let lab = lab!("ping");
    lab.ctl("add-switch lan");
    for name in ["a", "b", "c"] {
        lab.ctl(&format!("add-port lan {name} --sim"));
    }
    lab.ctl("add-bond lan up --member sim:m1 --member sim:m2 --member sim:m3 --mode balance-xor --xmit-hash-policy layer3+4");
    for port in 0..8u16 {
        let mut packet = vec![0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, 17, 0, 0];
        packet.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend([(40_000 + port).to_be_bytes(), 80u16.to_be_bytes()].concat());
        packet.resize(60, 0);
        let flow =
            format!("src=52:54:00:00:00:01,dst=52:54:00:00:00:02,saddr=10.0.0.1,daddr=10.0.0.2,proto=udp,sport={},dport=80", 40_000 + port);
        let explained: proto::bond_status::ExplainBondReply = lab.json(&format!("bond-explain up {flow}"));
        let [member] = &explained.members[..] else { panic!("{explained:?}") };
        lab.send("a", &packet);
        lab.receive(&format!("up/{member}"), |frame| frame == packet);
    }
    let text = lab.ctl("bond-explain up saddr=10.0.0.1,daddr=10.0.0.2");
    assert!(text.contains("modulo 3 usable members is"), "{text}");
    assert!(lab.refused("bond-explain up sport=1").contains("need saddr and daddr"));
    lab.ctl("sim carrier up/m1 down");
    let explained: proto::bond_status::ExplainBondReply = lab.json("bond-explain up saddr=10.0.0.1,daddr=10.0.0.2");
    assert_eq!(explained.usable, ["m2", "m3"]);
}
