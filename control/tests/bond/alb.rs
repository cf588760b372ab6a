//! Receive balancing of balance-alb: clients, and what ARP tells them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use control::bond::{BondAction, BondEvent, BondMode};
use etherparse::{ArpEthIpv4Packet, ArpOperation, NetSlice, SlicedPacket};
use wire::{MacAddr, VlanId};

use crate::lab::{HOST_IP, HOST_MAC, Lab, MS, S, host, mac, settings};

fn client(n: u8) -> (Ipv4Addr, [u8; 6]) {
    (Ipv4Addr::new(10, 0, 0, n), [2, 0, 0, 0, 1, n])
}

fn arp(operation: ArpOperation, (from, from_mac): (Ipv4Addr, [u8; 6]), (to, to_mac): (Ipv4Addr, [u8; 6])) -> Vec<u8> {
    let packet =
        ArpEthIpv4Packet { operation, sender_mac: from_mac, sender_ipv4: from.octets(), target_mac: to_mac, target_ipv4: to.octets() };
    let mut octets = [[0xff; 6], from_mac].concat();
    octets.extend_from_slice(&[8, 6]);
    octets.extend_from_slice(&packet.to_bytes());
    octets
}

fn ask(lab: &mut Lab, n: u8) {
    lab.frame(0, &arp(ArpOperation::REQUEST, client(n), (HOST_IP, [0; 6])));
}

fn balanced(members: u8) -> Lab {
    let mut lab = Lab::up(settings(BondMode::BalanceAlb), members);
    lab.event(BondEvent::Host(&[host(None)]));
    lab.pass(10 * S + 500 * MS);
    lab.take();
    lab
}

/// The member each client is answered with.
fn clients(lab: &Lab) -> BTreeMap<Ipv4Addr, u8> {
    let mut clients = BTreeMap::new();
    for (_, action) in &lab.done {
        if let BondAction::SetClient { ip, vlan, member } = action {
            assert_eq!(*vlan, VlanId::NONE);
            clients.insert(*ip, *member);
        }
    }
    clients
}

/// ARP replies that were sent: when, by which member, to whom, with which address for the host.
fn updates(lab: &Lab) -> Vec<(u64, u8, Ipv4Addr, MacAddr)> {
    let update = |(at, member, octets): (u64, u8, Vec<u8>)| {
        let Some(NetSlice::Arp(arp)) = SlicedPacket::from_ethernet(&octets).unwrap().net else { panic!("ARP") };
        let arp = arp.to_packet().try_eth_ipv4().unwrap();
        assert_eq!((arp.operation, arp.sender_ipv4_addr()), (ArpOperation::REPLY, HOST_IP));
        assert_eq!((&octets[..6], &octets[6..12]), (&arp.target_mac[..], &arp.sender_mac[..]), "unicast from the member");
        (at, member, arp.target_ipv4_addr(), MacAddr(arp.sender_mac))
    };
    lab.sent_of(0x0806).into_iter().map(update).collect()
}

#[test]
fn clients_are_given_to_members_in_turn() {
    let mut lab = balanced(3);
    (10..19).for_each(|n| ask(&mut lab, n));
    let mut count = [0; 3];
    clients(&lab).values().for_each(|member| count[usize::from(*member)] += 1);
    assert_eq!(count, [3, 3, 3]);
    let given = clients(&lab);
    lab.take();
    (10..19).for_each(|n| ask(&mut lab, n));
    assert_eq!(clients(&lab), BTreeMap::new(), "they stay");
    lab.pass(50 * MS);
    for (_, member, ip, told) in updates(&lab) {
        assert_eq!((given[&ip], told), (member, mac(member)));
    }
}

#[test]
fn slower_members_get_no_clients() {
    let mut lab = balanced(3);
    for (slot, mbps) in [(0, 1000), (1, 100), (2, 1000)] {
        lab.speed(slot, mbps);
    }
    (10..20).for_each(|n| ask(&mut lab, n));
    let given = clients(&lab);
    assert!(
        given.values().all(|member| *member != 1) && given.values().any(|member| *member == 0) && given.values().any(|member| *member == 2)
    );
}

#[test]
fn the_hosts_replies_and_peers_replies_make_clients_too() {
    let mut lab = balanced(2);
    let reply = arp(ArpOperation::REPLY, (HOST_IP, HOST_MAC.0), client(10));
    lab.event(BondEvent::Sent { tag: None, octets: &reply });
    lab.frame(1, &arp(ArpOperation::REPLY, client(11), (HOST_IP, HOST_MAC.0)));
    assert_eq!(clients(&lab).into_keys().collect::<Vec<_>>(), [client(10).0, client(11).0]);
}

#[test]
fn guests_arp_is_left_alone() {
    let mut lab = balanced(2);
    let guest = ([10, 0, 0, 77].into(), [2, 7, 7, 7, 7, 7]);
    lab.frame(0, &arp(ArpOperation::REQUEST, client(10), guest));
    let sent = arp(ArpOperation::REPLY, guest, client(10));
    lab.event(BondEvent::Sent { tag: None, octets: &sent });
    // Another VLAN than the host's.
    let tag = Some(wire::Tag::new(wire::Tpid::Dot1Q, VlanId::new(9).unwrap(), 0));
    let octets = arp(ArpOperation::REQUEST, client(11), (HOST_IP, [0; 6]));
    lab.event(BondEvent::Frame { member: 0, tag, octets: &octets });
    // What cannot be a client.
    for (ip, mac) in [([0, 0, 0, 0].into(), [2; 6]), ([224, 0, 0, 1].into(), [2; 6]), ([10, 0, 0, 12].into(), [0xff; 6]), (HOST_IP, [2; 6])]
    {
        lab.frame(0, &arp(ArpOperation::REQUEST, (ip, mac), (HOST_IP, [0; 6])));
    }
    lab.pass(400 * MS);
    assert_eq!((clients(&lab), updates(&lab)), (BTreeMap::new(), vec![]));
}

#[test]
fn a_failed_members_clients_are_told_within_a_second_and_again() {
    let mut lab = balanced(3);
    (10..19).for_each(|n| ask(&mut lab, n));
    let before = clients(&lab);
    lab.pass(5 * S);
    lab.take();
    let start = lab.now;
    lab.carrier(2, false);
    let moved = clients(&lab);
    let of_failed = || before.iter().filter(|(_, member)| **member == 2).map(|(ip, _)| *ip);
    assert!(moved.keys().copied().eq(of_failed()), "only its own");
    lab.pass(S);
    for ip in of_failed() {
        let told: Vec<_> = updates(&lab).into_iter().filter(|update| update.2 == ip).collect();
        let member = moved[&ip];
        assert!(member != 2 && told.iter().all(|update| (update.1, update.3) == (member, mac(member))));
        let times: Vec<u64> = told.iter().map(|update| (update.0 - start) / MS).collect();
        assert_eq!(times, [0, 0, 100, 100, 200, 200, 300, 300], "bursts of two, and three retries");
    }
    lab.take();
    lab.carrier(2, true);
    let mut count = [0; 3];
    let mut after = before.clone();
    after.extend(moved);
    after.extend(clients(&lab));
    after.values().for_each(|member| count[usize::from(*member)] += 1);
    assert_eq!(count, [3, 3, 3], "its share again");
}

#[test]
fn clients_of_swapped_members_are_told_the_new_addresses() {
    let mut lab = balanced(2);
    (10..14).for_each(|n| ask(&mut lab, n));
    lab.pass(5 * S);
    lab.take();
    lab.carrier(0, false);
    lab.pass(S);
    let mut told: Vec<Ipv4Addr> = updates(&lab).into_iter().map(|update| update.2).collect();
    told.sort_unstable();
    told.dedup();
    assert_eq!(told.len(), 4, "also those of member 1, whose address changed");
    assert!(updates(&lab).iter().all(|update| (update.1, update.3) == (1, mac(0))), "it has the bond's address now");
}

#[test]
fn a_broadcast_request_of_the_host_is_corrected_after_two_seconds() {
    let mut lab = balanced(2);
    (10..14).for_each(|n| ask(&mut lab, n));
    lab.pass(5 * S);
    lab.take();
    let start = lab.now;
    let request = arp(ArpOperation::REQUEST, (HOST_IP, HOST_MAC.0), client(99));
    lab.event(BondEvent::Sent { tag: None, octets: &request });
    lab.pass(5 * S);
    let updates = updates(&lab);
    assert_eq!(updates.len(), 4 * 8);
    assert_eq!(updates[0].0 - start, 2 * S);
}

#[test]
fn clients_are_bounded_by_buckets() {
    let mut lab = balanced(2);
    for i in 0..5000u32 {
        let ip = Ipv4Addr::from_bits(0x0a01_0000 + i);
        lab.frame(0, &arp(ArpOperation::REQUEST, (ip, [2, 0, 0, 0, 2, 2]), (HOST_IP, [0; 6])));
    }
    lab.pass(5 * S);
    lab.take();
    lab.carrier(1, false);
    lab.pass(50 * MS);
    assert!(updates(&lab).len() <= 2 * 256);
    lab.take();
    lab.reconfigure(|settings| settings.mode = BondMode::BalanceTlb);
    let cleared = lab.done.iter().filter(|(_, action)| matches!(action, BondAction::ClearClient { .. })).count();
    assert!((1..=256).contains(&cleared));
}
