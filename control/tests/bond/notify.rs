//! What the network is told after a failover: num_grat_arp, peer_notif_delay, resend_igmp, and reverse ARP for guests.

use std::net::{IpAddr, Ipv6Addr};

use control::bond::{BondAction, BondEvent, BondMode, BondSettings, HostAddress, LearnedAddress, Reading};
use etherparse::{EtherType, Icmpv6Type, LinkExtSlice, NetSlice, SlicedPacket, TransportSlice};
use wire::{MacAddr, Tag, Tpid, VlanId};

use crate::lab::{HOST_IP, HOST_MAC, Lab, MS, S, host, settings};

const ARP: u16 = 0x0806;
const RARP: u16 = 0x8035;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

fn tag(vid: u16) -> Tag {
    Tag::new(Tpid::Dot1Q, VlanId::new(vid).expect("a VLAN"), 0)
}

/// A bond of two members that were up for a while, about to fail over.
fn steady(settings: BondSettings) -> Lab {
    let mut lab = Lab::up(settings, 2);
    lab.event(BondEvent::Host(&[host(None)]));
    lab.pass(60 * S);
    lab.take();
    lab
}

#[test]
fn num_grat_arp_is_the_number_of_rounds_and_peer_notif_delay_their_spacing() {
    for (num_grat_arp, peer_notif_delay, spacing) in [(0, 0, 0), (1, 0, 0), (3, 0, 100), (3, 500, 500), (255, 1000, 1000)] {
        let mut lab = steady(BondSettings { num_grat_arp, peer_notif_delay, ..settings(BondMode::ActiveBackup) });
        let start = lab.now;
        lab.carrier(0, false);
        lab.pass(1000 * S);
        let arps = lab.sent_of(ARP);
        assert_eq!(arps.len(), usize::from(num_grat_arp));
        for (i, (at, member, octets)) in arps.iter().enumerate() {
            assert_eq!((*at, *member), (start + i as u64 * spacing * MS, 1));
            let Some(NetSlice::Arp(arp)) = SlicedPacket::from_ethernet(octets).unwrap().net else { panic!("ARP") };
            let arp = arp.to_packet().try_eth_ipv4().unwrap();
            assert_eq!((arp.sender_ipv4_addr(), arp.target_ipv4_addr(), arp.sender_mac), (HOST_IP, HOST_IP, HOST_MAC.0));
            assert_eq!((&octets[..6], &octets[6..12]), (&[0xff; 6][..], &HOST_MAC.0[..]));
        }
    }
}

#[test]
fn ipv6_addresses_are_advertised_and_tags_kept() {
    let mut lab = steady(settings(BondMode::ActiveBackup));
    let ip: Ipv6Addr = "2001:db8::1".parse().unwrap();
    lab.event(BondEvent::Host(&[host(Some(tag(7))), HostAddress { ip: IpAddr::V6(ip), prefix: 64, ..host(None) }]));
    lab.carrier(0, false);
    let arp = &lab.sent_of(0x8100)[0].2;
    let sliced = SlicedPacket::from_ethernet(arp).unwrap();
    let Some(LinkExtSlice::Vlan(vlan)) = sliced.link_exts.first() else { panic!("a tag") };
    assert_eq!((vlan.vlan_identifier().value(), vlan.ether_type()), (7, EtherType::ARP));
    let na = lab.sent_of(IPV6);
    assert_eq!(na.len(), 1);
    let sliced = SlicedPacket::from_ethernet(&na[0].2).unwrap();
    let (Some(NetSlice::Ipv6(header)), Some(TransportSlice::Icmpv6(message))) = (&sliced.net, &sliced.transport) else { panic!("NA") };
    assert_eq!((header.header().hop_limit(), header.header().source_addr()), (255, ip));
    assert_eq!(header.header().destination_addr(), "ff02::1".parse::<Ipv6Addr>().unwrap());
    assert!(message.is_checksum_valid(header.header().source(), header.header().destination()));
    let Icmpv6Type::NeighborAdvertisement(flags) = message.icmp_type() else { panic!("NA") };
    assert!(flags.r#override && !flags.solicited && !flags.router);
    assert_eq!((&message.slice()[8..24], &message.slice()[24..32]), (&ip.octets()[..], &[2, 1, 2, 0, 0, 0, 0, 0xaa][..]));
}

#[test]
fn guests_addresses_are_relearned_by_reverse_arp() {
    for mode in [BondMode::ActiveBackup, BondMode::BalanceTlb, BondMode::BalanceAlb] {
        let mut lab = steady(BondSettings { num_grat_arp: 2, ..settings(mode) });
        let guest = MacAddr([0x52, 0x54, 0, 9, 9, 9]);
        lab.learned = vec![LearnedAddress { tag: None, mac: guest }, LearnedAddress { tag: Some(tag(100)), mac: guest }];
        lab.carrier(0, false);
        lab.pass(500 * MS);
        let of_guest =
            |frames: Vec<(u64, u8, Vec<u8>)>| frames.into_iter().filter(|(_, _, octets)| octets[6..12] == guest.0).collect::<Vec<_>>();
        let plain = of_guest(lab.sent_of(RARP));
        assert_eq!((plain.len(), of_guest(lab.sent_of(0x8100)).len()), (2, 2), "{mode}: two rounds");
        let octets = &plain[0].2;
        assert_eq!((&octets[..6], octets.len(), plain[0].1), (&[0xff; 6][..], 60, 1), "{mode}");
        assert_eq!(octets[14..22], [0, 1, 8, 0, 6, 4, 0, 3], "{mode}: request reverse");
        assert_eq!((&octets[22..28], &octets[32..38]), (&guest.0[..], &guest.0[..]), "{mode}");
    }
}

#[test]
fn many_addresses_leave_in_portions() {
    let mut lab = steady(settings(BondMode::ActiveBackup));
    lab.learned = (0..10_000u32).map(|i| LearnedAddress { tag: None, mac: MacAddr::from_u64(0x5254_0000_0000 + u64::from(i)) }).collect();
    lab.carrier(0, false);
    assert_eq!(lab.sent_of(RARP).len(), 64);
    lab.pass(200 * MS);
    let sent = lab.sent_of(RARP);
    assert_eq!(sent.len(), 10_000);
    // The next failover begins anew by the new active member.
    lab.take();
    lab.carrier(0, true);
    lab.carrier(1, false);
    lab.pass(200 * MS);
    assert_eq!(lab.sent_of(RARP).iter().filter(|(_, member, _)| *member == 0).count(), 10_000);
}

#[test]
fn hash_modes_notify_nobody() {
    for mode in [BondMode::BalanceXor, BondMode::Broadcast, BondMode::Random, BondMode::Ieee8023ad] {
        let mut lab = steady(settings(mode));
        lab.carrier(0, false);
        lab.pass(500 * MS);
        assert!(!lab.done.iter().any(|(_, action)| *action == BondAction::Read(Reading::Learned)), "{mode}");
    }
}

/// An IGMPv2 report or leave of a guest.
fn igmp(kind: u8, group: [u8; 4]) -> Vec<u8> {
    let mut octets = vec![1, 0, 0x5e, group[1] & 0x7f, group[2], group[3], 0x52, 0x54, 0, 9, 9, 9, 8, 0];
    octets.extend_from_slice(&[0x45, 0, 0, 28, 0, 0, 0, 0, 1, 2, 0, 0, 10, 0, 0, 7]);
    octets.extend_from_slice(&group);
    octets.extend_from_slice(&[kind, 0, 0, 0]);
    octets.extend_from_slice(&group);
    octets
}

/// An IGMPv3 report with one record.
fn igmp3(kind: u8, group: [u8; 4]) -> Vec<u8> {
    let mut octets = igmp(0x22, [224, 0, 0, 22]);
    octets[17] = 36;
    octets.truncate(34);
    octets.extend_from_slice(&[0x22, 0, 0, 0, 0, 0, 0, 1, kind, 0, 0, 0]);
    octets.extend_from_slice(&group);
    octets
}

fn send_all(lab: &mut Lab, frames: &[Vec<u8>]) {
    for octets in frames {
        lab.event(BondEvent::Sent { tag: None, octets });
    }
}

#[test]
fn resend_igmp_repeats_reports_of_groups() {
    for (resend_igmp, mode) in
        [(0, BondMode::ActiveBackup), (1, BondMode::ActiveBackup), (3, BondMode::ActiveBackup), (2, BondMode::BalanceRr)]
    {
        let mut lab = steady(BondSettings { resend_igmp, ..settings(mode) });
        send_all(&mut lab, &[igmp(0x16, [239, 1, 1, 1]), igmp(0x16, [239, 1, 1, 2]), igmp(0x17, [239, 1, 1, 2])]);
        let start = lab.now;
        lab.carrier(0, false);
        lab.pass(5 * S);
        let reports = lab.sent_of(IPV4);
        let times: Vec<u64> = reports.iter().map(|(at, _, _)| (at - start) / MS).collect();
        let expected: Vec<u64> = (0..u64::from(resend_igmp)).map(|i| i * 200).collect();
        assert_eq!(times, expected, "{mode}");
        for (_, member, octets) in reports {
            assert_eq!(member, 1);
            assert_eq!((&octets[..12], octets[22]), (&igmp(0x16, [239, 1, 1, 1])[..12], 1), "the guest's, TTL 1");
            assert_eq!((wire::checksum::Sum::of(&octets[14..38]).fold(), &octets[34..38]), (0xffff, &[0x94, 4, 0, 0][..]), "router alert");
            let message = &octets[38..46];
            assert_eq!(message[0], 0x16);
            assert_eq!(message[4..], [239, 1, 1, 1]);
            assert_eq!(wire::checksum::Sum::of(message).fold(), 0xffff);
        }
    }
}

#[test]
fn igmpv3_reports_are_repeated_as_such_and_groups_age() {
    let mut lab = steady(settings(BondMode::ActiveBackup));
    send_all(&mut lab, &[igmp3(4, [239, 1, 1, 1]), igmp3(4, [239, 1, 1, 2]), igmp3(3, [239, 1, 1, 2])]);
    lab.carrier(0, false);
    lab.pass(S);
    let reports = lab.sent_of(IPV4);
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].2[..6], [1, 0, 0x5e, 0, 0, 22]);
    assert_eq!(reports[0].2[38 + 8..38 + 16], [2, 0, 0, 0, 239, 1, 1, 1], "one record: exclude nobody");
    lab.carrier(0, true);
    lab.pass(260 * S);
    lab.take();
    lab.carrier(1, false);
    lab.pass(S);
    assert_eq!(lab.sent_of(IPV4).len(), 0, "forgotten after the group membership interval");
}

#[test]
fn groups_and_bad_reports_are_bounded() {
    let mut lab = steady(settings(BondMode::ActiveBackup));
    for i in 0..2000u16 {
        let [a, b] = i.to_be_bytes();
        send_all(&mut lab, &[igmp(0x16, [239, 1, a, b])]);
    }
    let mut endless = igmp3(2, [239, 2, 2, 2]);
    endless[40..42].copy_from_slice(&[0xff, 0xff]);
    for len in 0..endless.len() {
        send_all(&mut lab, &[endless[..len].to_vec()]);
    }
    lab.carrier(0, false);
    lab.pass(S);
    assert_eq!(lab.sent_of(IPV4).len(), 128);
}
