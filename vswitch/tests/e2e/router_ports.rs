//! Interfaces of a router on ports of each kind, by typed commands: a bond, the rings of a virtual machine, VLANs of them.

use wire::MacAddr;

use crate::bonds::{bond, bridge_host};
use crate::lab::{Lab, capture, eventually, lab};
use crate::vhost_user::Guest;

/// A host at each side of a bond of a router: one on a switch, the other behind two members.
#[test]
fn a_bond_of_two_members() {
    let lab = lab!("ping", "tcpdump");
    let outside = bridge_host(&lab, &["m0", "m1"], "203.0.113.1");
    outside.run("ip route add 192.168.45.0/24 via 203.0.113.2");
    lab.ctl("add-switch br0");
    lab.ctl("add-router gw");
    lab.ctl("add-interface gw lan --switch br0 --address 192.168.45.2/24");
    lab.ctl("add-interface gw wan --bond up --member m0 --member m1 --mode active-backup --miimon 50 --address 203.0.113.2/24");
    let guest = lab.host("br0", "a", "192.168.45.10", "");
    guest.run("ip route add default via 192.168.45.2");
    eventually("a packet through the bond", || guest.reaches("203.0.113.1"));
    // The other member takes over; the bond's own verbs work on it.
    let first = bond(&lab, "up").options.active_slave.unwrap();
    outside.run(&format!("ip link set dev {first} down"));
    eventually("the other member", || bond(&lab, "up").options.active_slave.is_some_and(|active| active != first));
    eventually("a packet by the other member", || guest.reaches("203.0.113.1"));
    lab.ctl("set-bond up --primary m1");
    lab.ctl(&format!("del-member up {first}"));
    eventually("a packet by the member that is left", || guest.reaches("203.0.113.1"));

    // A VLAN of the bond, beside it: announced there.
    let mut seen = capture(&outside, "br0", "vlan 20 and arp");
    lab.ctl("add-interface gw wan20 --port up --vlan 20 --address 198.51.100.2/24");
    seen.expect("an announcement in the VLAN", |line| line.contains("198.51.100.2"));
    assert!(lab.refused("add-interface gw wan30 --bond up --member m0 --vlan 30").contains("exists already"));
    assert!(lab.refused("del-port up").contains("no port \"up\""));

    // It comes back after a restart, and goes with its last interface.
    lab.kill_daemon();
    lab.start_daemon();
    eventually("an answer after a restart", || outside.reaches("203.0.113.2"));
    lab.ctl("del-interface gw wan");
    assert_eq!(lab.port("up").switch, None);
    lab.ctl("del-interface gw wan20");
    assert!(lab.refused("show ports --port up").contains("\"up\""));
}

/// The answer to an ARP request and to an echo request of a guest at the interface.
#[track_caller]
fn answers(lab: &Lab, guest: &mut Guest, interface: &str) {
    let mac = |text: &str| text.parse::<MacAddr>().unwrap().0;
    let router: Vec<proto::router_api::InterfaceInfo> = lab.json("show interfaces gw");
    let router = router.into_iter().find(|info| info.name == interface).unwrap().mac;
    let own = mac("52:54:00:00:00:07");
    let mut arp = [&[0xff; 6][..], &own, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &own, &[10, 0, 1, 7], &[0; 6], &[10, 0, 1, 1]].concat();
    arp.resize(60, 0);
    let mut echo = Vec::new();
    let ethernet = etherparse::PacketBuilder::ethernet2(own, router.0);
    ethernet.ipv4([10, 0, 1, 7], [10, 0, 1, 1], 64).icmpv4_echo_request(7, 1).write(&mut echo, &[0x55; 40]).unwrap();
    let mut got = Vec::new();
    eventually("an ARP answer and an echo answer", || {
        guest.send(0, &arp);
        guest.send(0, &echo);
        got.append(&mut guest.received());
        let arp_reply = |octets: &&Vec<u8>| octets[..6] == own && octets[6..12] == router.0 && octets[12..14] == [8, 6] && octets[21] == 2;
        let echo_reply =
            |octets: &&Vec<u8>| octets[..6] == own && octets[12..14] == [8, 0] && octets[34] == 0 && octets[42..82] == [0x55; 40];
        got.iter().any(|octets| arp_reply(&octets)) && got.iter().any(|octets| echo_reply(&octets))
    });
}

#[test]
fn a_virtual_machine() {
    let lab = lab!();
    let socket = lab.path("vm.sock");
    lab.ctl("add-router gw");
    lab.ctl(&format!("add-interface gw vm --vhost-user {} --address 10.0.1.1/24", socket.display()));
    let mut guest = Guest::boot(&lab, "vm", &socket, 7, |_| ());
    answers(&lab, &mut guest, "vm");
    // Settings of the port are those of any other.
    lab.ctl("set-port vm --conntrack-limit 100");
    assert!(lab.refused("add-interface gw vm --vhost-user /other.sock").contains("exists already"));
    lab.ctl("del-interface gw vm");
    eventually("the socket goes with the port", || !socket.exists());
}
