//! What the switch does with frames, scenario by scenario, on memory devices under a virtual clock.

mod lab;

use dataplane::device::Capabilities;
use dataplane::fdb::{EntryKind, FlushFilter};
use dataplane::memory::MemoryDevice;
use dataplane::{DropReason, PortId};
use lab::{AGEING, Lab, access, frame, mac, tagged, trunk, tunnel, vid};
use wire::{MacAddr, VlanId};

const BROADCAST: MacAddr = MacAddr::BROADCAST;

/// The experiment of the bridge notes: the request is flooded, the reply and all that follows take one port, and the
/// third port's counter stands still.
#[test]
fn unknown_unicast_is_flooded_until_the_address_is_learned() {
    let mut lab = Lab::new(3);
    lab.send(0, &frame(mac(2), mac(1)));
    assert_eq!(lab.outs(), [(1, 1), (2, 1)]);
    lab.send(1, &frame(mac(1), mac(2)));
    assert_eq!(lab.outs(), [(0, 1)]);
    lab.send(0, &frame(mac(2), mac(1)));
    assert_eq!(lab.outs(), [(1, 1)]);
    assert_eq!(lab.counters(2).tx_packets.get(), 1);
    lab.assert_conserved();
}

#[test]
fn a_frame_arrives_as_it_was_sent() {
    let mut lab = Lab::new(2);
    for len in [14, 60, 255, 256, 257, 1514] {
        let mut octets = frame(mac(2), mac(1));
        octets.resize(len, 7);
        octets[len - 1] = 9;
        lab.send(0, &octets);
        assert_eq!(lab.out(1), [octets]);
    }
}

#[test]
fn an_address_ages_and_is_flooded_again() {
    let mut lab = Lab::new(3);
    lab.send(1, &frame(BROADCAST, mac(2)));
    lab.outs();
    lab.now = AGEING;
    lab.send(0, &frame(mac(2), mac(1)));
    assert_eq!(lab.outs(), [(1, 1)]);
    lab.now = AGEING + 1;
    lab.send(0, &frame(mac(2), mac(1)));
    assert_eq!(lab.outs(), [(1, 1), (2, 1)]);
}

#[test]
fn ageing_time_zero_forgets_at_once() {
    let mut lab = Lab::new(3);
    lab.switch(0).ageing = 0;
    lab.send(1, &frame(BROADCAST, mac(2)));
    lab.outs();
    lab.send(0, &frame(mac(2), mac(1)));
    assert_eq!(lab.outs(), [(1, 1), (2, 1)]);
}

#[test]
fn a_station_that_moves_is_followed_at_once() {
    let mut lab = Lab::new(3);
    lab.send(1, &frame(BROADCAST, mac(9)));
    lab.send(2, &frame(BROADCAST, mac(9)));
    lab.outs();
    lab.send(0, &frame(mac(9), mac(1)));
    assert_eq!(lab.outs(), [(2, 1)]);
}

#[test]
fn a_sticky_port_keeps_its_addresses() {
    let mut lab = Lab::new(3);
    lab.port(1).sticky = true;
    lab.send(1, &frame(BROADCAST, mac(9)));
    lab.send(2, &frame(BROADCAST, mac(9)));
    lab.outs();
    lab.send(0, &frame(mac(9), mac(1)));
    assert_eq!(lab.outs(), [(1, 1)]);
    assert_eq!(lab.drops(2, DropReason::StaticMove), 1);
}

#[test]
fn the_whole_burst_is_learned_before_any_of_it_is_forwarded() {
    let mut lab = Lab::new(3);
    lab.devices[0].inject(dataplane::memory::MemoryFrame::new(frame(mac(2), mac(1))));
    lab.devices[0].inject(dataplane::memory::MemoryFrame::new(frame(mac(1), mac(2))));
    lab.run();
    // The first of the two is for a station that the second shows to be on the same port.
    assert_eq!(lab.outs(), []);
    assert_eq!(lab.drops(0, DropReason::SamePort), 2);
}

#[test]
fn frames_do_not_return_to_their_port_without_hairpin() {
    let mut lab = Lab::new(2);
    lab.send(0, &frame(BROADCAST, mac(1)));
    lab.send(0, &frame(BROADCAST, mac(2)));
    lab.outs();
    lab.send(0, &frame(mac(1), mac(2)));
    assert_eq!((lab.outs(), lab.drops(0, DropReason::SamePort)), (vec![], 1));
    lab.port(0).hairpin = true;
    lab.send(0, &frame(mac(1), mac(2)));
    assert_eq!(lab.outs(), [(0, 1)]);
    lab.send(0, &frame(BROADCAST, mac(1)));
    assert_eq!(lab.outs(), [(0, 1), (1, 1)]);
}

#[test]
fn isolated_ports_reach_only_the_others() {
    let mut lab = Lab::new(3);
    lab.port(0).isolated = true;
    lab.port(1).isolated = true;
    lab.send(1, &frame(BROADCAST, mac(2)));
    assert_eq!(lab.outs(), [(2, 1)]);
    lab.send(0, &frame(mac(2), mac(1)));
    assert_eq!((lab.outs(), lab.drops(1, DropReason::Isolated)), (vec![], 1));
    lab.send(2, &frame(mac(2), mac(3)));
    assert_eq!(lab.outs(), [(1, 1)]);
}

#[test]
fn flood_flags_work_for_their_kind_only() {
    let multicast = MacAddr([0x01, 0, 0x5e, 0, 0, 0xfb]);
    for (kind, destination) in [(0, mac(77)), (1, multicast), (2, BROADCAST)] {
        let mut lab = Lab::new(3);
        lab.port(1).flood = kind != 0;
        lab.port(1).mcast_flood = kind != 1;
        lab.port(1).bcast_flood = kind != 2;
        for other in [mac(77), multicast, BROADCAST] {
            lab.send(0, &frame(other, mac(1)));
            let expected = if other == destination { vec![(2, 1)] } else { vec![(1, 1), (2, 1)] };
            assert_eq!(lab.outs(), expected, "{destination} {other}");
        }
    }
}

#[test]
fn a_hub_floods_everything_and_learns_nothing() {
    let mut lab = Lab::new(3);
    lab.switch(0).hub = true;
    lab.send(1, &frame(BROADCAST, mac(2)));
    lab.outs();
    lab.send(0, &frame(mac(2), mac(1)));
    assert_eq!(lab.outs(), [(1, 1), (2, 1)]);
    assert!(lab.switch(0).fdb.is_empty());
}

#[test]
fn a_port_without_learning_is_flooded() {
    let mut lab = Lab::new(3);
    lab.port(1).learning = false;
    lab.send(1, &frame(BROADCAST, mac(2)));
    lab.outs();
    lab.send(0, &frame(mac(2), mac(1)));
    assert_eq!(lab.outs(), [(1, 1), (2, 1)]);
}

#[test]
fn beyond_its_limit_a_port_forwards_without_learning() {
    let mut lab = Lab::new(3);
    lab.port(0).learn_limit = 2;
    for n in 1..=5 {
        lab.send(0, &frame(BROADCAST, mac(n)));
    }
    assert_eq!(lab.outs(), [(1, 5), (2, 5)]);
    assert_eq!(lab.switch(0).fdb.len(), 2);
}

#[test]
fn static_entries_direct_frames_and_hold_their_place() {
    let mut lab = Lab::new(3);
    lab.switch(0).fdb.insert(mac(9), VlanId::NONE, PortId(2), EntryKind::Static, 0);
    lab.send(0, &frame(mac(9), mac(1)));
    assert_eq!(lab.outs(), [(2, 1)]);
    lab.send(1, &frame(BROADCAST, mac(9)));
    assert_eq!((lab.outs(), lab.drops(1, DropReason::StaticMove)), (vec![], 1));
}

#[test]
fn reserved_group_addresses_stay_on_their_link_unless_the_mask_lets_them() {
    let group = |n| MacAddr([0x01, 0x80, 0xc2, 0, 0, n]);
    let mut lab = Lab::new(2);
    for n in 0..16 {
        lab.send(0, &frame(group(n), mac(1)));
    }
    assert_eq!(lab.outs(), [(1, 1)], "only BPDUs, as there is no spanning tree that consumes them");
    assert_eq!((lab.drops(0, DropReason::MacControl), lab.drops(0, DropReason::ReservedGroup)), (1, 14));
    lab.switch(0).group_fwd_mask = 1 << 14 | 1 << 3;
    for n in 1..16 {
        lab.send(0, &frame(group(n), mac(1)));
    }
    assert_eq!(lab.outs(), [(1, 2)]);
    lab.send(0, &frame(group(0x10), mac(1)));
    assert_eq!(lab.outs(), [(1, 1)], ":10 is an ordinary group address");
    lab.assert_conserved();
}

#[test]
fn access_ports_of_two_vlans_do_not_meet() {
    let mut lab = Lab::new(4);
    for (port, vlan) in [(0, 10), (1, 10), (2, 20)] {
        lab.port(port).vlan = access(vlan);
    }
    lab.port(3).vlan = trunk("10,20", None);
    lab.send(0, &frame(BROADCAST, mac(1)));
    assert_eq!(lab.out(1), [frame(BROADCAST, mac(1))]);
    assert_eq!(lab.out(2), Vec::<Vec<u8>>::new());
    assert_eq!(lab.out(3), [tagged(BROADCAST, mac(1), 0x8100, 10)]);
    lab.send(3, &tagged(mac(1), mac(4), 0x8100, 0x6000 | 20));
    assert_eq!(lab.out(2), [frame(mac(1), mac(4))], "known in VLAN 10 is unknown in VLAN 20");
    assert_eq!(lab.outs(), []);
}

#[test]
fn the_priority_survives_from_trunk_to_trunk() {
    let mut lab = Lab::new(2);
    lab.port(0).vlan = trunk("10", None);
    lab.port(1).vlan = trunk("10", None);
    lab.send(0, &tagged(BROADCAST, mac(1), 0x8100, 0xe000 | 10));
    assert_eq!(lab.out(1), [tagged(BROADCAST, mac(1), 0x8100, 0xe000 | 10)]);
}

#[test]
fn a_tag_beside_the_octets_is_worth_a_tag_in_them() {
    let mut lab = Lab::new(2);
    let tag = wire::Tag { tpid: wire::Tpid::Dot1Q, tci: 10 };
    let beside = dataplane::memory::MemoryFrame { tag: Some(tag), ..dataplane::memory::MemoryFrame::new(frame(BROADCAST, mac(1))) };
    lab.send_frame(0, beside);
    assert_eq!(lab.out(1), [tagged(BROADCAST, mac(1), 0x8100, 10)]);
    assert_eq!(lab.counters(0).rx_bytes.get(), 64);
}

#[test]
fn ports_without_vlan_settings_pass_tags_through() {
    let mut lab = Lab::new(2);
    for octets in [
        tagged(BROADCAST, mac(1), 0x8100, 0x2000 | 7),
        tagged(BROADCAST, mac(1), 0x88a8, 7),
        tagged(BROADCAST, mac(1), 0x8100, 0x6000),
        frame(BROADCAST, mac(1)),
    ] {
        lab.send(0, &octets);
        assert_eq!(lab.out(1), [octets]);
    }
}

#[test]
fn a_tunnel_carries_customer_frames_in_a_service_vlan() {
    let mut lab = Lab::new(3);
    lab.port(0).vlan = tunnel(100);
    lab.port(1).vlan = trunk("100", None);
    lab.port(2).vlan = tunnel(100);
    let customer = tagged(BROADCAST, mac(1), 0x8100, 0x6000 | 7);
    let mut service = customer.clone();
    service.splice(12..12, [0x88, 0xa8, 0x60, 100]);
    lab.send(0, &customer);
    assert_eq!(lab.out(1), std::slice::from_ref(&service));
    assert_eq!(lab.out(2), std::slice::from_ref(&customer));
    let mut back = service;
    back[11] = 9; // another station answers
    lab.send(1, &back);
    let mut expected = customer;
    expected[11] = 9;
    assert_eq!((lab.out(0), lab.out(2)), (vec![expected.clone()], vec![expected]));
}

#[test]
fn switches_are_separate_until_they_are_patched() {
    let mut lab = Lab::with_switches(&[2, 2]);
    lab.send(0, &frame(BROADCAST, mac(1)));
    assert_eq!(lab.outs(), [(1, 1)]);

    let mut lab = Lab::with_switches(&[3, 3]);
    lab.patch(2, 3);
    lab.send(0, &frame(BROADCAST, mac(1)));
    assert_eq!(lab.outs(), [(1, 1), (4, 1), (5, 1)]);
    lab.send(4, &frame(mac(1), mac(2)));
    assert_eq!(lab.outs(), [(0, 1)], "each switch learned where the station is");
    assert_eq!((lab.counters(2).tx_packets.get(), lab.counters(3).rx_packets.get()), (1, 1));
    lab.assert_conserved();
}

#[test]
fn a_patch_port_applies_vlans_at_both_ends() {
    let mut lab = Lab::with_switches(&[2, 2]);
    lab.port(0).vlan = access(10);
    lab.port(1).vlan = trunk("10", None);
    lab.port(2).vlan = trunk("10,20", None);
    lab.port(3).vlan = access(10);
    lab.patch(1, 2);
    lab.send(0, &frame(BROADCAST, mac(1)));
    assert_eq!(lab.out(3), [frame(BROADCAST, mac(1))]);
    lab.port(3).vlan = access(20);
    lab.send(0, &frame(BROADCAST, mac(1)));
    assert_eq!(lab.outs(), []);
    lab.assert_conserved();
}

#[test]
fn the_mtu_counts_octets_behind_header_and_tags() {
    let mut lab = Lab::new(2);
    let sized = |octets: Vec<u8>, len| {
        let mut octets = octets;
        octets.resize(len, 0);
        octets
    };
    for (octets, fits) in [
        (sized(frame(BROADCAST, mac(1)), 1514), true),
        (sized(frame(BROADCAST, mac(1)), 1515), false),
        (sized(tagged(BROADCAST, mac(1), 0x8100, 10), 1518), true),
        (sized(tagged(BROADCAST, mac(1), 0x8100, 10), 1519), false),
    ] {
        lab.send(0, &octets);
        assert_eq!(lab.out(1).len(), usize::from(fits), "{}", octets.len());
    }
    assert_eq!(lab.drops(1, DropReason::MtuExceeded), 2);
    lab.assert_conserved();
}

#[test]
fn a_port_that_is_down_is_left_out() {
    let mut lab = Lab::new(3);
    lab.send(1, &frame(BROADCAST, mac(2)));
    lab.outs();
    lab.port(1).state.set_carrier(false);
    lab.send(0, &frame(mac(2), mac(1)));
    assert_eq!((lab.outs(), lab.drops(1, DropReason::PortDown)), (vec![], 1));
    lab.send(0, &frame(BROADCAST, mac(1)));
    assert_eq!(lab.outs(), [(2, 1)]);
    lab.port(1).state.set_carrier(true);
    lab.send(0, &frame(mac(2), mac(1)));
    assert_eq!(lab.outs(), [(1, 1)]);
}

#[test]
fn flushing_a_port_a_vlan_or_the_switch() {
    let mut lab = Lab::new(3);
    lab.send(1, &tagged(BROADCAST, mac(2), 0x8100, 10));
    lab.send(1, &frame(BROADCAST, mac(2)));
    lab.send(2, &frame(BROADCAST, mac(3)));
    let fdb = lab.switch(0).fdb.clone();
    assert_eq!(fdb.flush(FlushFilter { vlan: Some(vid(10)), ..FlushFilter::default() }), 1);
    assert_eq!(fdb.flush(FlushFilter { port: Some(PortId(1)), ..FlushFilter::default() }), 1);
    assert_eq!(fdb.flush(FlushFilter::default()), 1);
}

/// Burst sizes around the limit: nothing is lost, nothing is reordered.
#[test]
fn bursts_of_every_size_keep_their_order() {
    for size in [1, 31, 32, 33, 64, 65, 200] {
        let mut lab = Lab::new(2);
        let sent: Vec<Vec<u8>> = (0..size)
            .map(|n| {
                let mut octets = frame(mac(2), mac(1));
                octets[20] = n as u8;
                octets
            })
            .collect();
        for octets in &sent {
            lab.devices[0].inject(dataplane::memory::MemoryFrame::new(octets.clone()));
        }
        lab.run();
        assert_eq!(lab.out(1), sent);
        lab.assert_conserved();
    }
}

#[test]
fn a_full_transmit_queue_drops_and_counts() {
    let mut lab = Lab::new(2);
    lab.attach(PortId(1), MemoryDevice::new(3, false, Capabilities::ALL));
    for _ in 0..10 {
        lab.devices[0].inject(dataplane::memory::MemoryFrame::new(frame(mac(2), mac(1))));
    }
    lab.run();
    assert_eq!((lab.out(1).len(), lab.drops(1, DropReason::TxQueueFull)), (3, 7));
    lab.assert_conserved();
}
