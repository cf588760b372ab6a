//! Transmit balancing: tlb_dynamic_lb, the tx balancer of balance-xor, lp_interval.

use control::bond::{BondAction, BondEvent, BondMode, BondSettings};

use crate::lab::{Lab, MS, S, host, mac, settings};

/// The last assignment of buckets.
fn buckets(lab: &Lab) -> Option<Box<[Option<u8>; 256]>> {
    lab.done.iter().rev().find_map(|(_, action)| if let BondAction::AssignBuckets(buckets) = action { Some(buckets.clone()) } else { None })
}

/// Octets per member with this load per bucket.
fn shares(lab: &Lab, load: &[u64; 256], members: usize) -> Vec<u64> {
    let assigned = buckets(lab).expect("an assignment");
    let mut shares = vec![0; members];
    for (bucket, member) in assigned.iter().enumerate() {
        shares[usize::from(member.expect("a member"))] += load[bucket];
    }
    shares
}

/// Load that follows no pattern of bucket numbers.
fn uneven() -> [u64; 256] {
    std::array::from_fn(|bucket| 1000 * ((bucket as u64 * 7919) % 251))
}

#[test]
fn buckets_are_spread_over_members_by_load() {
    for (mode, interval) in [(BondMode::BalanceTlb, 10_000), (BondMode::BalanceAlb, 10_000), (BondMode::BalanceXor, 5000)] {
        let xor = mode == BondMode::BalanceXor;
        let mut lab = Lab::up(BondSettings { tx_balancing_interval: if xor { interval } else { 0 }, ..settings(mode) }, 3);
        let even = shares(&lab, &[1; 256], 3);
        assert!(even.iter().max().unwrap() - even.iter().min().unwrap() <= 1, "{mode}: {even:?} before any load");
        lab.take();
        lab.buckets = uneven();
        lab.pass((u64::from(interval) - 1) * MS);
        assert!(buckets(&lab).is_none(), "{mode}: flows stay for the interval");
        lab.pass(2 * MS);
        let shares = shares(&lab, &uneven(), 3);
        let (most, least) = (*shares.iter().max().unwrap() as f64, *shares.iter().min().unwrap() as f64);
        assert!(most / least <= 1.01, "{mode}: {shares:?}");
    }
}

#[test]
fn faster_members_get_more() {
    let mut lab = Lab::up(settings(BondMode::BalanceTlb), 2);
    lab.speed(0, 1000);
    lab.speed(1, 10_000);
    // 11 Gbit/s over 10 s: as the kernel computes it, what is left of the speed is the same on both.
    lab.buckets = [11_000_000_000 / 8 * 10 / 256; 256];
    lab.pass(10 * S);
    assert_eq!(shares(&lab, &[1; 256], 2), [18, 238]);
}

#[test]
fn the_active_members_other_frames_count_as_its_load() {
    let mut lab = Lab::up(settings(BondMode::BalanceTlb), 2);
    lab.buckets = [1_000_000; 256];
    lab.unbalanced = 64_000_000;
    lab.pass(10 * S);
    assert_eq!(shares(&lab, &[1; 256], 2), [96, 160], "96 + 64 is 160");
}

#[test]
fn a_failed_members_buckets_move_at_once_and_others_stay() {
    let mut lab = Lab::up(settings(BondMode::BalanceTlb), 3);
    lab.buckets = uneven();
    lab.pass(10 * S);
    let before = buckets(&lab).unwrap();
    lab.take();
    lab.carrier(1, false);
    let after = buckets(&lab).expect("at once");
    for bucket in 0..256 {
        match before[bucket] {
            Some(1) => assert!(matches!(after[bucket], Some(0 | 2))),
            member => assert_eq!(after[bucket], member, "no flow moves without need"),
        }
    }
    lab.carrier(0, false);
    lab.carrier(2, false);
    assert!(buckets(&lab).unwrap().iter().all(Option::is_none));
}

#[test]
fn a_new_member_gets_idle_buckets_at_once() {
    let mut lab = Lab::new(settings(BondMode::BalanceTlb), 2);
    lab.carrier(0, true);
    assert!(buckets(&lab).unwrap().iter().all(|member| *member == Some(0)));
    // Half of the buckets carry something meanwhile.
    lab.buckets = std::array::from_fn(|bucket| if bucket < 128 { 1000 } else { 0 });
    lab.carrier(1, true);
    let after = buckets(&lab).unwrap();
    assert!(after[..128].iter().all(|member| *member == Some(0)), "running flows stay for the interval");
    assert!(after[128..].contains(&Some(1)));
}

#[test]
fn tlb_dynamic_lb_off_leaves_buckets_alone() {
    for settings in [BondSettings { tlb_dynamic_lb: false, ..settings(BondMode::BalanceTlb) }, settings(BondMode::BalanceXor)] {
        let mut lab = Lab::up(settings, 2);
        lab.pass(30 * S);
        assert!(buckets(&lab).is_none());
    }
}

#[test]
fn learning_frames_leave_every_lp_interval() {
    for (mode, lp_interval) in [(BondMode::BalanceTlb, 1), (BondMode::BalanceAlb, 7)] {
        let mut lab = Lab::up(BondSettings { lp_interval, ..settings(mode) }, 2);
        let tagged = host(Some(wire::Tag::new(wire::Tpid::Dot1Q, wire::VlanId::new(5).unwrap(), 0)));
        lab.event(BondEvent::Host(&[tagged, tagged]));
        lab.take();
        lab.pass(70 * S);
        let frames = lab.sent_of(0x9000);
        assert_eq!(frames.len() as u32, 2 * 70 / lp_interval, "{mode}: one per member");
        for (_, member, octets) in &frames {
            assert_eq!((&octets[..6], &octets[6..12], octets.len()), (&mac(*member).0[..], &mac(*member).0[..], 60), "{mode}");
        }
        let of_vlan = lab.sent_of(0x8100);
        assert_eq!(of_vlan.len() as u32, 70 / lp_interval, "{mode}: once per VLAN of the host, by the active member");
        assert!(of_vlan.iter().all(|(_, member, octets)| *member == 0 && octets[16..18] == [0x90, 0]), "{mode}");
    }
    let mut lab = Lab::up(settings(BondMode::ActiveBackup), 2);
    lab.pass(70 * S);
    assert_eq!(lab.sent_of(0x9000).len(), 0);
}
