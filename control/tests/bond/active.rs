//! Which member is active: primary, primary_reselect, prio, set-active; and MAC addresses: fail_over_mac.

use control::bond::{BondAction, BondEvent, BondMode, BondSettings, FailOverMac, PrimaryReselect, Transition};
use wire::MacAddr;

use crate::lab::{Lab, MS, mac, settings};

fn with_primary(reselect: PrimaryReselect) -> Lab {
    let settings = BondSettings { primary: Some("eth1".into()), primary_reselect: reselect, ..settings(BondMode::ActiveBackup) };
    Lab::up(settings, 3)
}

#[test]
fn without_primary_the_active_member_stays() {
    // The experiment of miimon 100, updelay 100, downdelay 100: down first, up first, down second.
    let delays = BondSettings { updelay: 100, downdelay: 100, ..settings(BondMode::ActiveBackup) };
    let mut lab = Lab::up(delays, 2);
    lab.pass(1000 * MS);
    assert_eq!(lab.active(), Some(0));
    lab.carrier(0, false);
    lab.pass(99 * MS);
    assert_eq!(lab.active(), Some(0), "downdelay");
    lab.pass(MS);
    assert_eq!(lab.active(), Some(1));
    lab.carrier(0, true);
    lab.pass(1000 * MS);
    assert_eq!(lab.active(), Some(1), "no reason to go back");
    lab.carrier(1, false);
    lab.pass(100 * MS);
    assert_eq!(lab.active(), Some(0));
    assert_eq!(lab.agent.status().failovers, 2);
    assert_eq!(lab.agent.status().active_since, lab.now);
    assert_eq!(lab.agent.status().active_reason, "eth1: carrier gone for downdelay");
}

#[test]
fn primary_returns_as_primary_reselect_says() {
    for (reselect, returned) in
        [(PrimaryReselect::Always, Some(1)), (PrimaryReselect::Failure, Some(0)), (PrimaryReselect::Better, Some(0))]
    {
        let mut lab = with_primary(reselect);
        lab.carrier(1, false);
        assert_eq!(lab.active(), Some(0), "{reselect}");
        lab.carrier(1, true);
        assert_eq!(lab.active(), returned, "{reselect}");
        lab.carrier(0, false);
        assert_eq!(lab.active(), Some(1), "{reselect}: it fails, the primary is next");
    }
}

#[test]
fn primary_reselect_better_compares_speed_and_duplex() {
    for (mbps, full_duplex, returned) in [(1000, true, 1), (100, true, 0), (10, true, 0), (100, false, 0)] {
        let mut lab = with_primary(PrimaryReselect::Better);
        lab.carrier(1, false);
        lab.event(BondEvent::Speed { member: 0, mbps: Some(100), full_duplex: true });
        lab.event(BondEvent::Speed { member: 1, mbps: Some(mbps), full_duplex });
        lab.carrier(1, true);
        assert_eq!(lab.active(), Some(returned), "{mbps} {full_duplex}");
    }
    let mut lab = with_primary(PrimaryReselect::Better);
    lab.carrier(1, false);
    lab.event(BondEvent::Speed { member: 0, mbps: Some(100), full_duplex: false });
    lab.event(BondEvent::Speed { member: 1, mbps: Some(100), full_duplex: true });
    lab.carrier(1, true);
    assert_eq!(lab.active(), Some(1), "full duplex over half");
}

#[test]
fn the_highest_prio_wins() {
    let mut lab = Lab::new(settings(BondMode::ActiveBackup), 0);
    for (slot, prio) in [(0, 0), (1, 10), (2, 5), (3, 10)] {
        lab.add(slot, prio);
        lab.carrier(slot, true);
    }
    assert_eq!(lab.active(), Some(1));
    lab.carrier(1, false);
    assert_eq!(lab.active(), Some(3));
    lab.carrier(1, true);
    assert_eq!(lab.active(), Some(3), "the same prio is no reason to move");
    lab.carrier(3, false);
    lab.carrier(1, false);
    assert_eq!(lab.active(), Some(2));
    lab.reconfigure(|settings| settings.primary = Some("eth0".into()));
    assert_eq!(lab.active(), Some(0), "the primary goes before prio");
}

#[test]
fn set_active_holds_until_a_link_says_otherwise() {
    let mut lab = with_primary(PrimaryReselect::Always);
    assert_eq!(lab.active(), Some(1));
    lab.event(BondEvent::SetActive(Some(2)));
    lab.pass(1000 * MS);
    assert_eq!((lab.active(), lab.agent.status().active_reason.as_str()), (Some(2), "set-active"));
    lab.event(BondEvent::SetActive(None));
    assert_eq!(lab.active(), Some(1));
    lab.carrier(0, false);
    lab.take();
    lab.event(BondEvent::SetActive(Some(0)));
    assert_eq!(lab.active(), Some(1));
    assert_eq!(lab.reasons(|transition| *transition == Transition::Ignored), ["set-active: its link is down"]);
    assert!(lab.agent.check_set_active(0).is_err() && lab.agent.check_set_active(7).is_err());
    assert_eq!(lab.agent.check_set_active(2), Ok(()));
    let lab = Lab::up(settings(BondMode::Broadcast), 2);
    assert!(lab.agent.check_set_active(0).is_err());
}

#[test]
fn removing_the_active_member_makes_another_one_active() {
    let mut lab = Lab::up(settings(BondMode::ActiveBackup), 2);
    lab.remove(0);
    assert_eq!((lab.active(), lab.tx()), (Some(1), vec![1]));
    lab.remove(1);
    assert_eq!((lab.active(), lab.tx(), lab.agent.status().carrier), (None, vec![], false));
}

fn macs(lab: &Lab) -> Vec<MacAddr> {
    lab.agent.status().members.iter().map(|member| member.mac).collect()
}

fn told(lab: &Lab) -> Vec<BondAction> {
    let about_macs = |action: &&BondAction| matches!(action, BondAction::SetMac { .. } | BondAction::SetBondMac(_));
    lab.done.iter().map(|(_, action)| action).filter(about_macs).cloned().collect()
}

#[test]
fn fail_over_mac_none_gives_all_members_the_bonds_address() {
    let mut lab = Lab::up(settings(BondMode::ActiveBackup), 2);
    assert_eq!(told(&lab), [BondAction::SetBondMac(mac(0)), BondAction::SetMac { member: 1, mac: mac(0) }]);
    lab.take();
    lab.carrier(0, false);
    assert_eq!(told(&lab), []);
    lab.remove(1);
    assert_eq!(told(&lab), [BondAction::SetMac { member: 1, mac: mac(1) }], "its own again");
}

#[test]
fn fail_over_mac_active_changes_the_bonds_address() {
    let mut lab = Lab::up(BondSettings { fail_over_mac: FailOverMac::Active, ..settings(BondMode::ActiveBackup) }, 2);
    assert_eq!(told(&lab), [BondAction::SetBondMac(mac(0))]);
    lab.take();
    lab.carrier(0, false);
    assert_eq!(told(&lab), [BondAction::SetBondMac(mac(1))]);
    assert_eq!((lab.agent.status().mac, macs(&lab)), (Some(mac(1)), vec![mac(0), mac(1)]));
}

#[test]
fn fail_over_mac_follow_moves_the_address_with_the_active_member() {
    let mut lab = Lab::up(BondSettings { fail_over_mac: FailOverMac::Follow, ..settings(BondMode::ActiveBackup) }, 2);
    lab.take();
    lab.carrier(0, false);
    assert_eq!(told(&lab), [BondAction::SetMac { member: 0, mac: mac(1) }, BondAction::SetMac { member: 1, mac: mac(0) }]);
    assert_eq!(lab.agent.status().mac, Some(mac(0)));
    lab.carrier(0, true);
    lab.carrier(1, false);
    assert_eq!(macs(&lab), [mac(0), mac(1)]);
}

#[test]
fn balancing_modes_swap_addresses_so_that_the_active_member_has_the_bonds() {
    for mode in [BondMode::BalanceTlb, BondMode::BalanceAlb] {
        let mut lab = Lab::up(settings(mode), 3);
        assert_eq!(macs(&lab), [mac(0), mac(1), mac(2)], "{mode}: each its own");
        lab.carrier(0, false);
        lab.carrier(1, false);
        assert_eq!((lab.active(), macs(&lab)), (Some(2), vec![mac(1), mac(2), mac(0)]), "{mode}");
    }
}

#[test]
fn changing_who_has_which_address_sorts_them_anew() {
    let mut lab = Lab::up(settings(BondMode::ActiveBackup), 3);
    lab.event(BondEvent::SetActive(Some(1)));
    assert_eq!(macs(&lab), [mac(0); 3]);
    lab.reconfigure(|settings| settings.mode = BondMode::BalanceAlb);
    assert_eq!((lab.active(), macs(&lab)), (Some(1), vec![mac(1), mac(0), mac(2)]), "the active one has the bond's");
    lab.reconfigure(|settings| settings.mode = BondMode::BalanceXor);
    assert_eq!(macs(&lab), [mac(0); 3]);
    lab.reconfigure(|settings| (settings.mode, settings.fail_over_mac) = (BondMode::ActiveBackup, FailOverMac::Active));
    assert_eq!((macs(&lab), lab.agent.status().mac), (vec![mac(0), mac(1), mac(2)], Some(mac(0))));
    let told: Vec<_> = told(&lab);
    for slot in 0..3 {
        let last = told
            .iter()
            .rev()
            .find_map(|action| if let BondAction::SetMac { member, mac } = action { (*member == slot).then_some(*mac) } else { None });
        assert_eq!(last.unwrap_or(mac(slot)), mac(slot), "what devices were given");
    }
}

#[test]
fn a_device_that_comes_back_with_another_address_is_sorted_in() {
    let other = MacAddr([0x52, 0x54, 0, 7, 7, 7]);
    for (mode, fail_over_mac, expected, of_bond) in [
        (BondMode::ActiveBackup, FailOverMac::None, mac(0), mac(0)),
        (BondMode::ActiveBackup, FailOverMac::Active, other, other),
        (BondMode::ActiveBackup, FailOverMac::Follow, mac(0), mac(0)),
        (BondMode::BalanceTlb, FailOverMac::None, mac(0), mac(0)),
    ] {
        let mut lab = Lab::up(BondSettings { fail_over_mac, ..settings(mode) }, 2);
        lab.replace(0, other);
        let status = lab.agent.status();
        assert_eq!((status.members[0].mac, status.mac), (expected, Some(of_bond)), "{mode} {fail_over_mac}");
        assert_eq!(status.members[0].permanent_mac, other);
    }
}
