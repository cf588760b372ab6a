//! Bonds: what each mode sends where, what is taken from members, and what control gets. The lab's switch has two stations
//! at ports 0 and 1, a bond at port 2, and its members at ports 3, 4 and 5.

mod lab;

use std::sync::Arc;

use dataplane::DropReason;
use dataplane::bond::{BondState, BondView, Client, Egress, HashPolicy, Mode, Outgoing};
use dataplane::device::Capabilities;
use dataplane::memory::{MemoryDevice, MemoryFrame};
use dataplane::snapshot::PortId;
use lab::{Lab, access, frame, mac, tagged, trunk};
use proptest::prelude::*;
use wire::{MacAddr, Offload, Tag, Tpid, VlanId};

const BOND: usize = 2;
const MEMBERS: [usize; 3] = [3, 4, 5];
const BROADCAST: MacAddr = MacAddr::BROADCAST;
/// A station behind the bond.
const PEER: u8 = 200;

fn lab(mode: Mode) -> (Lab, Arc<BondState>) {
    let mut lab = Lab::new(6);
    let state = lab.bond(BOND, &MEMBERS, mode, HashPolicy::Layer2);
    lab.send(3, &frame(BROADCAST, mac(PEER)));
    lab.outs();
    (lab, state)
}

fn view(active: Option<u8>, tx: &[u8], rx: u32) -> BondView {
    BondView { active, tx: tx.iter().copied().collect(), rx }
}

/// UDP over IPv4 from station 1 to the peer.
fn udp(destination: [u8; 4], ports: [u8; 4]) -> Vec<u8> {
    let mut octets = frame(mac(PEER), mac(1));
    octets[12..14].copy_from_slice(&[8, 0]);
    octets[14..42].fill(0);
    octets[14] = 0x45;
    octets[23] = 17;
    octets[26..30].copy_from_slice(&[10, 0, 0, 1]);
    octets[30..34].copy_from_slice(&destination);
    octets[34..38].copy_from_slice(&ports);
    octets
}

fn igmp() -> Vec<u8> {
    let mut octets = udp([224, 0, 0, 22], [0; 4]);
    octets[..6].copy_from_slice(&[1, 0, 0x5e, 0, 0, 22]);
    octets[23] = 2;
    octets
}

/// ARP for IPv4.
fn arp(to: MacAddr, from: MacAddr, operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut octets = frame(to, from);
    octets[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, operation]);
    octets[22..28].copy_from_slice(&from.0);
    octets[28..32].copy_from_slice(&sender);
    octets[32..38].copy_from_slice(&to.0);
    octets[38..42].copy_from_slice(&target);
    octets
}

fn lacpdu() -> Vec<u8> {
    let mut octets = frame(MacAddr([1, 0x80, 0xc2, 0, 0, 2]), mac(77));
    octets[12..15].copy_from_slice(&[0x88, 0x09, 1]);
    octets.resize(124, 0);
    octets
}

#[test]
fn round_robin_takes_turns_and_counts_from_one() {
    for (packets_per_slave, expected) in [(1, [4, 5, 3, 4, 5, 3]), (2, [3, 4, 4, 5, 5, 3])] {
        let (mut lab, _) = lab(Mode::BalanceRr { packets_per_slave });
        let order: Vec<_> = (0..6)
            .map(|_| {
                lab.send(0, &frame(mac(PEER), mac(1)));
                lab.outs()[0].0
            })
            .collect();
        assert_eq!(order, expected);
    }
}

#[test]
fn round_robin_skips_to_the_next_usable_member_and_keeps_igmp_together() {
    let (mut lab, state) = lab(Mode::BalanceRr { packets_per_slave: 1 });
    state.publish(&view(Some(2), &[0, 2], 7));
    let order: Vec<_> = (0..6)
        .map(|_| {
            lab.send(0, &frame(mac(PEER), mac(1)));
            lab.outs()[0].0
        })
        .collect();
    assert_eq!(order, [5, 5, 3, 5, 5, 3], "the turn of a member that is down is its successor's");
    for _ in 0..3 {
        lab.send(0, &igmp());
        assert!(lab.outs().contains(&(5, 1)));
    }
    state.publish(&view(None, &[0, 2], 7));
    lab.send(0, &igmp());
    assert!(lab.outs().contains(&(3, 1)));
}

#[test]
fn random_modes_use_every_member() {
    for mode in [Mode::BalanceRr { packets_per_slave: 0 }, Mode::Random] {
        let (mut lab, _) = lab(mode);
        let mut count = [0; 6];
        for _ in 0..300 {
            lab.send(0, &frame(mac(PEER), mac(1)));
            lab.outs().iter().for_each(|(port, n)| count[*port] += n);
        }
        assert!(MEMBERS.iter().all(|port| (60..140).contains(&count[*port])), "{mode:?}: {count:?}");
    }
}

#[test]
fn active_backup_follows_the_view_with_the_next_frame() {
    let (mut lab, state) = lab(Mode::ActiveBackup);
    for active in [0, 2, 1] {
        state.publish(&view(Some(active), &[active], 1 << active));
        lab.send(0, &frame(mac(PEER), mac(1)));
        assert_eq!(lab.outs(), [(3 + usize::from(active), 1)]);
        lab.send(0, &frame(BROADCAST, mac(1)));
        assert_eq!(lab.outs(), [(1, 1), (3 + usize::from(active), 1)]);
    }
    state.publish(&BondView::default());
    lab.send(0, &frame(mac(PEER), mac(1)));
    assert_eq!((lab.outs(), lab.drops(BOND, DropReason::BondNoMember)), (vec![], 1));
    lab.assert_conserved();
}

#[test]
fn backups_take_nothing_in_unless_all_slaves_are_active() {
    let (mut lab, state) = lab(Mode::ActiveBackup);
    state.publish(&view(Some(0), &[0], 1));
    lab.send(4, &frame(BROADCAST, mac(PEER)));
    lab.send(4, &frame(mac(1), mac(PEER)));
    assert_eq!((lab.outs(), lab.drops(4, DropReason::BondInactive)), (vec![], 2));
    lab.bond_mut(BOND).all_slaves_active = true;
    lab.send(4, &frame(BROADCAST, mac(PEER)));
    assert_eq!(lab.outs(), [(0, 1), (1, 1)]);
    lab.assert_conserved();
}

/// What a guest broadcast by the active member comes back by the backup: it reaches nobody, and the guest is not learned
/// behind the bond.
#[test]
fn own_broadcasts_that_come_back_black_hole_nobody() {
    let (mut lab, state) = lab(Mode::ActiveBackup);
    state.publish(&view(Some(0), &[0], 1));
    let broadcast = frame(BROADCAST, mac(1));
    lab.send(0, &broadcast);
    assert_eq!(lab.out(3), [&broadcast[..]]);
    lab.send(4, &broadcast);
    lab.outs();
    lab.send(1, &frame(mac(1), mac(2)));
    assert_eq!(lab.outs(), [(0, 1)]);
}

/// Two vNICs of one guest, bonded in the guest: the address moves with the first frame from the other one, and copies of the
/// guest's broadcasts that reach its backup change nothing.
#[test]
fn a_guest_that_bonds_fails_over_at_once() {
    let mut lab = Lab::new(3);
    lab.send(0, &frame(BROADCAST, mac(1)));
    assert_eq!(lab.outs(), [(1, 1), (2, 1)], "the backup vNIC gets a copy, which the guest ignores");
    lab.send(2, &frame(mac(1), mac(9)));
    assert_eq!(lab.outs(), [(0, 1)]);
    lab.send(1, &frame(BROADCAST, mac(1)));
    lab.outs();
    lab.send(2, &frame(mac(1), mac(9)));
    assert_eq!(lab.outs(), [(1, 1)]);
}

#[test]
fn broadcast_mode_sends_a_copy_by_each_member() {
    let (mut lab, state) = lab(Mode::Broadcast);
    lab.send(0, &frame(mac(PEER), mac(1)));
    assert_eq!(lab.outs(), [(3, 1), (4, 1), (5, 1)]);
    let copies = lab.counters(BOND).copies.get();
    lab.send(0, &frame(mac(PEER), mac(1)));
    lab.outs();
    assert_eq!(lab.counters(BOND).copies.get(), copies + 2);
    state.publish(&view(None, &[1], 7));
    lab.send(0, &frame(mac(PEER), mac(1)));
    assert_eq!((lab.outs(), lab.counters(BOND).copies.get()), (vec![(4, 1)], copies + 2));
    lab.assert_conserved();
}

#[test]
fn tags_are_those_of_the_bond_port() {
    for (mode, policy) in
        [(Mode::BalanceXor, HashPolicy::Layer2), (Mode::BalanceXor, HashPolicy::VlanSrcMac), (Mode::ActiveBackup, HashPolicy::Layer2)]
    {
        let mut lab = Lab::new(6);
        lab.bond(BOND, &MEMBERS, mode, policy);
        lab.port(0).vlan = access(10);
        lab.port(1).vlan = access(20);
        lab.port(BOND).vlan = trunk("10,20", None);
        lab.send(0, &frame(BROADCAST, mac(1)));
        let sent: Vec<_> = MEMBERS.iter().flat_map(|port| lab.out(*port)).collect();
        assert_eq!(sent, [tagged(BROADCAST, mac(1), 0x8100, 10)], "{mode:?} {policy:?}");
        lab.send(3, &tagged(mac(1), mac(PEER), 0x8100, 10));
        assert_eq!(lab.outs(), [(0, 1)]);
        lab.send_frame(3, MemoryFrame { tag: Some(Tag { tpid: Tpid::Dot1Q, tci: 20 }), ..MemoryFrame::new(frame(BROADCAST, mac(PEER))) });
        assert_eq!(lab.outs(), [(1, 1)]);
        lab.send(3, &tagged(mac(1), mac(PEER), 0x8100, 30));
        assert_eq!(lab.drops(BOND, DropReason::VlanIngressFilter), 1, "VLANs are checked at the bond");
        lab.assert_conserved();
    }
}

#[test]
fn each_member_finishes_what_its_device_cannot_do() {
    let mut lab = Lab::new(6);
    let state = lab.bond(BOND, &MEMBERS, Mode::ActiveBackup, HashPolicy::Layer2);
    lab.attach(PortId(4), MemoryDevice::new(8, false, Capabilities::NONE));
    let mut octets = udp([10, 0, 0, 2], [0, 1, 0, 2]);
    octets[40..42].copy_from_slice(&[0x12, 0x34]);
    let unfinished = MemoryFrame { octets, offload: Offload { flags: 1, csum_start: 34, csum_offset: 6, ..Offload::NONE }, tag: None };
    lab.send_frame(0, unfinished.clone());
    assert_eq!(lab.devices[3].take().unwrap().offload.csum_start, 34);
    state.publish(&view(Some(1), &[1], 2));
    lab.send_frame(0, unfinished);
    let finished = lab.devices[4].take().unwrap();
    assert_eq!(finished.offload, Offload::NONE);
    assert_ne!(finished.octets[40..42], [0x12, 0x34]);
}

#[test]
fn tlb_balances_unicast_ip_by_bucket_and_rewrites_the_source() {
    let (mut lab, state) = lab(Mode::BalanceTlb { dynamic: true });
    (0..3).for_each(|member| state.set_member_mac(member, mac(100 + member)));
    let packet = udp([10, 0, 0, 2], [0, 1, 0, 2]);
    let bucket = PEER ^ 1;
    lab.send(0, &packet);
    assert_eq!(lab.out(3), [&packet[..]], "a bucket without member leaves by the active one, as it is");
    state.set_bucket(bucket, Some(1));
    lab.send(0, &packet);
    let mut rewritten = packet.clone();
    rewritten[6..12].copy_from_slice(&mac(101).0);
    assert_eq!(lab.out(4), [rewritten]);
    assert_eq!((state.bucket_octets(bucket), state.unbalanced_octets()), (120, 0));
    lab.send(0, &frame(BROADCAST, mac(1)));
    lab.send(0, &frame(mac(PEER), mac(1)));
    assert_eq!(state.unbalanced_octets(), 120);
    assert_eq!(lab.outs(), [(1, 1), (3, 2)], "group frames and other protocols leave by the active member");
    state.publish(&view(Some(0), &[0, 2], 1));
    lab.send(0, &packet);
    assert_eq!(lab.outs(), [(3, 1)], "the bucket's member cannot transmit");
    lab.assert_conserved();
}

/// A frame that leaves by two ports is rewritten for the one that wants it only.
#[test]
fn a_rewritten_source_stays_at_its_member() {
    let (mut lab, state) = lab(Mode::BalanceTlb { dynamic: false });
    state.set_member_mac(1, mac(101));
    state.publish(&view(Some(0), &[1], 1));
    let mut packet = udp([10, 0, 0, 2], [0, 1, 0, 2]);
    packet[..6].copy_from_slice(&mac(222).0);
    lab.send(0, &packet);
    assert_eq!(lab.out(1), [packet.clone()]);
    packet[6..12].copy_from_slice(&mac(101).0);
    assert_eq!(lab.out(4), [packet.clone()]);
    lab.send(3, &packet);
    assert_eq!((lab.outs(), lab.drops(3, DropReason::BondOwnFrame)), (vec![], 1), "flooded back by the switches outside");
    lab.assert_conserved();
}

#[test]
fn alb_balances_by_destination_and_spares_what_resolves_addresses() {
    let (mut lab, state) = lab(Mode::BalanceAlb { dynamic: true });
    (0..=255).for_each(|bucket| state.set_bucket(bucket, Some(1)));
    let mut solicitation = frame(mac(PEER), mac(1));
    solicitation[12..14].copy_from_slice(&[0x86, 0xdd]);
    solicitation[20] = 58;
    solicitation.resize(90, 1);
    solicitation[54] = 135;
    let mut echo = solicitation.clone();
    echo[54] = 128;
    for (packet, member) in [
        (udp([8, 8, 4, 4], [0; 4]), 4),
        (udp([255; 4], [0; 4]), 3),
        (igmp(), 3),
        (solicitation, 3),
        (echo, 4),
        (arp(BROADCAST, mac(1), 1, [10, 0, 0, 1], [10, 0, 0, 2]), 3),
    ] {
        lab.send(0, &packet);
        assert_eq!(lab.outs().last(), Some(&(member, 1)), "{packet:02x?}");
    }
    state.set_bucket(0x46, Some(2));
    lab.send(0, &udp([192, 168, 45, 3], [0; 4]));
    assert_eq!(lab.outs(), [(5, 1)]);
}

#[test]
fn alb_answers_each_client_with_its_member() {
    let (mut lab, state) = lab(Mode::BalanceAlb { dynamic: true });
    lab.bond_mut(BOND).punt.arp = true;
    (0..3).for_each(|member| state.set_member_mac(member, mac(100 + member)));
    state.set_mac(mac(1));
    state.publish(&view(Some(0), &[0, 1, 2], 1));
    let (host, client) = ([10, 0, 0, 1], [10, 0, 0, 7]);
    let reply = arp(mac(PEER), mac(1), 2, host, client);
    lab.send(0, &reply);
    assert_eq!(lab.out(3), [&reply[..]], "a client that control does not know");
    let punted = lab.events.punted.pop().unwrap();
    assert_eq!((punted.port, punted.outgoing, &punted.octets[..]), (PortId(2), true, &reply[..]));
    state.set_client(Client { ip: client, vlan: VlanId::NONE, member: 1 });
    lab.send(0, &reply);
    let mut rewritten = reply.clone();
    rewritten[6..12].copy_from_slice(&mac(101).0);
    rewritten[22..28].copy_from_slice(&mac(101).0);
    assert_eq!(lab.out(4), [rewritten]);
    // ARP of a guest is left alone.
    let guest = arp(mac(PEER), mac(2), 2, [10, 0, 0, 3], client);
    lab.send(1, &guest);
    assert_eq!(lab.out(3), [guest]);
    // What the client sends to the member's address arrives as if sent to the bond's own.
    lab.send(4, &frame(mac(101), mac(PEER)));
    assert_eq!(lab.out(0), [frame(mac(1), mac(PEER))]);
    lab.send(4, &frame(mac(1), mac(PEER)));
    assert_eq!(lab.drops(4, DropReason::BondInactive), 1);
    lab.assert_conserved();
}

#[test]
fn a_bucket_of_load_balance_keeps_its_source() {
    let (mut lab, state) = lab(Mode::LoadBalance);
    let packet = frame(mac(PEER), mac(1));
    let hash = u32::from(PEER ^ 1) ^ 0x88b5;
    lab.send(0, &packet);
    assert_eq!(lab.outs(), [(3 + (hash % 3) as usize, 1)]);
    for member in [2, 0, 1] {
        state.set_bucket(hash as u8, Some(member));
        lab.send(0, &packet);
        assert_eq!(lab.out(3 + usize::from(member)), [&packet[..]]);
    }
    assert_eq!(state.bucket_octets(hash as u8), 240);
}

#[test]
fn control_gets_lacpdus_and_the_switch_does_not() {
    let (mut lab, state) = lab(Mode::Ieee8023ad);
    lab.bond_mut(BOND).punt.slow_protocols = true;
    lab.switch(0).group_fwd_mask = 0xffff;
    state.publish(&view(None, &[], 0));
    lab.pipeline.set_time(77);
    lab.send_frame(4, MemoryFrame { tag: Some(Tag { tpid: Tpid::Dot1Q, tci: 5 }), ..MemoryFrame::new(lacpdu()) });
    assert_eq!(lab.outs(), [], "whether the member is active or not");
    let punted = lab.events.punted.pop().unwrap();
    assert_eq!((punted.port, punted.outgoing, punted.at, punted.len), (PortId(4), false, 77, 124));
    assert_eq!((&punted.octets[..], punted.tag.map(|tag| tag.tci)), (&lacpdu()[..], Some(5)));
    assert_eq!((lab.counters(4).punted.get(), state.last_rx(1), state.last_rx(0)), (1, 77, 0));
    lab.assert_conserved();
}

#[test]
fn monitoring_gets_copies_also_from_backups_and_a_storm_leaves_room_for_lacpdus() {
    let (mut lab, state) = lab(Mode::ActiveBackup);
    lab.bond_mut(BOND).punt = dataplane::bond::PuntRules { slow_protocols: true, arp: true, nd: true, igmp: true };
    state.publish(&view(Some(0), &[0], 1));
    let request = arp(BROADCAST, mac(PEER), 1, [10, 0, 0, 2], [10, 0, 0, 1]);
    lab.send(3, &request);
    assert_eq!(lab.outs(), [(0, 1), (1, 1)]);
    lab.send(4, &request);
    assert_eq!(lab.outs(), []);
    assert_eq!(std::iter::from_fn(|| lab.events.punted.pop()).map(|punted| punted.port).collect::<Vec<_>>(), [PortId(3), PortId(4)]);
    for _ in 0..200 {
        lab.send(3, &request);
        lab.outs();
    }
    assert!(lab.drops(3, DropReason::PuntQueueFull) > 0);
    lab.send(3, &lacpdu());
    assert!(std::iter::from_fn(|| lab.events.punted.pop()).any(|punted| punted.octets[..] == lacpdu()));
    lab.assert_conserved();
}

#[test]
fn a_member_without_device_loses_frames_counted() {
    let (mut lab, _) = lab(Mode::Broadcast);
    lab.pipeline.detach(PortId(4));
    lab.send(0, &frame(mac(PEER), mac(1)));
    assert_eq!((lab.outs(), lab.drops(BOND, DropReason::TxLinkDown)), (vec![(3, 1), (5, 1)], 1));
    lab.assert_conserved();
}

#[test]
fn a_port_that_stops_being_a_bond_loses_its_slot() {
    let (mut lab, _) = lab(Mode::ActiveBackup);
    lab.port(BOND).bond = None;
    lab.pipeline.prepare(&lab.snapshot);
    lab.send(0, &frame(mac(PEER), mac(1)));
    assert_eq!((lab.outs(), lab.drops(BOND, DropReason::TxLinkDown)), (vec![], 1));
}

/// Control publishes while frames flow: each of them leaves once, by a member that one of the views has.
#[test]
fn no_frame_is_lost_or_doubled_while_views_change() {
    let (mut lab, state) = lab(Mode::BalanceXor);
    let views = [view(Some(0), &[0, 1], 3), view(Some(1), &[1], 2)];
    state.publish(&views[1]);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                views.iter().for_each(|view| state.publish(view));
            }
        });
        for n in 0..2000u32 {
            lab.send(0, &udp([10, 0, 0, n as u8], [n as u8, 0, 0, 0]));
            let outs = lab.outs();
            assert!(matches!(outs[..], [(3 | 4, 1)]), "{outs:?}");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    lab.assert_conserved();
}

fn mode() -> impl Strategy<Value = Mode> {
    prop_oneof![
        (0u16..4).prop_map(|packets_per_slave| Mode::BalanceRr { packets_per_slave }),
        Just(Mode::ActiveBackup),
        Just(Mode::BalanceXor),
        Just(Mode::Ieee8023ad),
        any::<bool>().prop_map(|dynamic| Mode::BalanceTlb { dynamic }),
        any::<bool>().prop_map(|dynamic| Mode::BalanceAlb { dynamic }),
        Just(Mode::Random),
        Just(Mode::LoadBalance),
    ]
}

fn policy() -> impl Strategy<Value = HashPolicy> {
    use HashPolicy::*;
    proptest::sample::select(vec![Layer2, Layer23, Layer34, Encap23, Encap34, VlanSrcMac])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Over random histories of links: a frame leaves once while a member is up, never by one that is down, and by the member
    /// that the explanation names.
    #[test]
    fn frames_leave_once_and_by_a_member_that_is_up(
        mode in mode(), policy in policy(), is_trunk in any::<bool>(),
        history in proptest::collection::vec((0u8..8, 0u8..3, proptest::collection::vec(any::<[u8; 4]>(), 1..40)), 1..12),
    ) {
        let mut lab = Lab::new(6);
        let state = lab.bond(BOND, &MEMBERS, mode, policy);
        if is_trunk {
            lab.port(0).vlan = access(10);
            lab.port(BOND).vlan = trunk("10", None);
        }
        let tags: &[Tag] = if is_trunk { &[Tag { tpid: Tpid::Dot1Q, tci: 10 }] } else { &[] };
        (0..=255).for_each(|bucket| state.set_bucket(bucket, Some(bucket % 3)));
        for (up, first, flows) in history {
            let tx: Vec<u8> = (0..3).map(|n| (n + first) % 3).filter(|member| up >> member & 1 != 0).collect();
            let now = view(tx.first().copied(), &tx, 7);
            state.publish(&now);
            let no_member = lab.drops(BOND, DropReason::BondNoMember);
            let mut expected = [0; 6];
            for ports in &flows {
                let packet = udp([10, ports[1], 0, ports[0]], *ports);
                let outgoing = Outgoing::new(&packet, packet.len() as u32, tags).unwrap();
                let bond = lab.snapshot.ports[BOND].as_ref().unwrap().bond.clone().unwrap();
                match bond.select(&now, &outgoing, || state.peek_sequence(0)).egress {
                    Egress::One(member) => expected[3 + usize::from(member)] += 1,
                    Egress::None => prop_assert!(tx.is_empty()),
                    Egress::All => unreachable!(),
                }
                prop_assert!(lab.devices[0].inject(MemoryFrame::new(packet)));
                if matches!(mode, Mode::BalanceRr { .. } | Mode::Random) {
                    lab.run();
                }
            }
            lab.run();
            let outs = MEMBERS.map(|port| lab.out(port).len());
            prop_assert_eq!(&outs[..], &expected[3..]);
            let sent: usize = outs.iter().sum();
            prop_assert_eq!(sent, if tx.is_empty() { 0 } else { flows.len() });
            prop_assert_eq!(lab.drops(BOND, DropReason::BondNoMember) - no_member, (flows.len() - sent) as u64);
        }
        lab.assert_conserved();
    }

    /// While membership is stable, a hash mode keeps the frames of a flow in order, whatever else is sent in between.
    #[test]
    fn a_flow_is_never_reordered(policy in policy(), frames in proptest::collection::vec((0u8..4, 0u8..2), 1..200)) {
        let mut lab = Lab::new(6);
        lab.bond(BOND, &MEMBERS, Mode::Ieee8023ad, policy);
        for (number, (flow, burst)) in frames.iter().enumerate() {
            let mut packet = udp([10, 0, 0, *flow], [0, 1, 0, *flow]);
            packet[59] = number as u8;
            prop_assert!(lab.devices[0].inject(MemoryFrame::new(packet)));
            if *burst == 0 {
                lab.run();
            }
        }
        lab.run();
        let outs = MEMBERS.map(|port| lab.out(port));
        for flow in 0..4 {
            let sent: Vec<u8> = frames.iter().enumerate().filter(|(_, (f, _))| *f == flow).map(|(number, _)| number as u8).collect();
            let by: Vec<Vec<u8>> = outs.iter().map(|out| out.iter().filter(|o| o[33] == flow).map(|o| o[59]).collect()).filter(|v: &Vec<u8>| !v.is_empty()).collect();
            prop_assert!(by.len() <= 1, "one flow, one member");
            prop_assert_eq!(by.concat(), sent);
        }
    }

    /// One broadcast that reaches all members is delivered once by the modes that have one active member.
    #[test]
    fn a_flooded_frame_is_delivered_once(dynamic in any::<bool>(), active in 0u8..3, alb in 0u8..3, to in prop_oneof![Just(BROADCAST), Just(mac(99))]) {
        let mode = [Mode::ActiveBackup, Mode::BalanceTlb { dynamic }, Mode::BalanceAlb { dynamic }][usize::from(alb)];
        let (mut lab, state) = lab(mode);
        (0..3).for_each(|member| state.set_member_mac(member, mac(100 + member)));
        state.publish(&view(Some(active), &[0, 1, 2], 1 << active));
        for port in MEMBERS {
            lab.send(port, &frame(to, mac(PEER)));
        }
        prop_assert_eq!(lab.outs(), [(0, 1), (1, 1)]);
        lab.assert_conserved();
    }
}
