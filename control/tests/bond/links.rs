//! Carrier events and delays (miimon, updelay, downdelay, min_links, all_slaves_active), and what each mode makes of links.

use control::bond::{BondAction, BondMode, BondSettings, LinkState, Transition};

use crate::lab::{Lab, MS, settings};

/// One step of a history: after so many ms the carrier is so, and then the link must be so.
type Step = (u64, Option<bool>, LinkState);

fn history(updelay: u32, downdelay: u32, steps: &[Step]) {
    // Another member that is up, as updelay is skipped otherwise.
    let mut lab = Lab::up(BondSettings { updelay, downdelay, ..settings(BondMode::ActiveBackup) }, 2);
    lab.pass(10_000 * MS);
    lab.add(2, 0);
    for (i, (after, carrier, link)) in steps.iter().enumerate() {
        lab.pass(after * MS);
        if let Some(up) = carrier {
            lab.carrier(2, *up);
        }
        assert_eq!(lab.link(2), *link, "step {i}");
    }
}

#[test]
fn links_follow_the_kernels_state_machine() {
    use LinkState::{Back, Down, Fail, Up};
    history(0, 0, &[(0, Some(true), Up), (5, Some(false), Down), (0, Some(true), Up)]);
    history(0, 200, &[(0, Some(true), Up), (0, Some(false), Fail), (199, None, Fail), (1, None, Down)]);
    // A flap shorter than downdelay leaves the member in use.
    history(0, 200, &[(0, Some(true), Up), (0, Some(false), Fail), (199, Some(true), Up), (1000, None, Up)]);
    history(300, 0, &[(0, Some(true), Back), (299, None, Back), (1, None, Up)]);
    history(300, 0, &[(0, Some(true), Back), (299, Some(false), Down), (1, None, Down)]);
    // Each delay begins anew.
    history(300, 0, &[(0, Some(true), Back), (200, Some(false), Down), (0, Some(true), Back), (299, None, Back), (1, None, Up)]);
    // Rounded down to multiples of miimon.
    history(299, 0, &[(0, Some(true), Back), (199, None, Back), (1, None, Up)]);
    history(99, 0, &[(0, Some(true), Up)]);
    history(0, 199, &[(0, Some(true), Up), (0, Some(false), Fail), (100, None, Down)]);
    // Repeated events change nothing.
    history(
        300,
        200,
        &[
            (0, Some(true), Back),
            (100, Some(true), Back),
            (200, Some(true), Up),
            (0, Some(false), Fail),
            (100, Some(false), Fail),
            (100, None, Down),
        ],
    );
}

#[test]
fn miimon_is_the_grain_of_delays() {
    let mut lab = Lab::up(BondSettings { miimon: 50, downdelay: 80, ..settings(BondMode::ActiveBackup) }, 1);
    lab.pass(1000 * MS);
    lab.carrier(0, false);
    lab.pass(49 * MS);
    assert_eq!(lab.link(0), LinkState::Fail);
    lab.pass(MS);
    assert_eq!(lab.link(0), LinkState::Down, "80 ms are one interval of 50 ms");
}

#[test]
fn updelay_is_skipped_while_no_other_member_is_usable() {
    for mode in [BondMode::ActiveBackup, BondMode::BalanceXor, BondMode::BalanceAlb] {
        let mut lab = Lab::new(BondSettings { updelay: 1000, ..settings(mode) }, 2);
        lab.carrier(0, true);
        assert_eq!(lab.link(0), LinkState::Up, "{mode}");
        lab.carrier(1, true);
        assert_eq!(lab.link(1), LinkState::Back, "{mode}");
        lab.pass(100 * MS);
        lab.carrier(0, false);
        assert_eq!(lab.link(1), LinkState::Up, "{mode}: taken early");
        assert_eq!(lab.tx(), [1], "{mode}");
        let cut = lab.reasons(|transition| matches!(transition, Transition::Link { to: LinkState::Up, .. }));
        assert!(cut.iter().any(|reason| reason.contains("cut short")), "{mode}: {cut:?}");
    }
}

#[test]
fn loss_without_downdelay_moves_transmit_at_once() {
    let mut lab = Lab::up(settings(BondMode::ActiveBackup), 2);
    assert_eq!(lab.tx(), [0]);
    lab.take();
    lab.carrier(0, false);
    let first = lab.done.iter().position(|(_, action)| matches!(action, BondAction::Publish(view) if view.tx.as_slice() == [1]));
    let frame = lab.done.iter().position(|(_, action)| matches!(action, BondAction::Send { .. } | BondAction::SetMac { .. }));
    assert!(first.is_some() && frame.is_none_or(|frame| Some(frame) > first), "workers before anything else: {:?}", lab.done);
}

#[test]
fn down_members_count_failures_and_say_why() {
    let mut lab = Lab::up(settings(BondMode::BalanceXor), 2);
    for _ in 0..3 {
        lab.carrier(1, false);
        lab.carrier(1, true);
    }
    lab.carrier(1, false);
    let member = lab.member(1);
    assert_eq!((member.link_failure_count, member.link, member.carrier), (4, LinkState::Down, false));
    assert_eq!(member.link_reason, "eth1: carrier lost");
    assert_eq!(member.link_since, lab.now);
}

#[test]
fn each_mode_uses_the_members_it_should() {
    // (mode, transmit, receive) with member 1 of 4 down and 2 in downdelay.
    for (mode, tx, rx) in [
        (BondMode::BalanceRr, &[0, 3][..], 0b1101),
        (BondMode::ActiveBackup, &[0], 0b0001),
        (BondMode::BalanceXor, &[0, 2, 3], 0b1101),
        (BondMode::Broadcast, &[0, 3], 0b1101),
        (BondMode::BalanceTlb, &[0, 3], 0b0001),
        (BondMode::BalanceAlb, &[0, 3], 0b0001),
        (BondMode::Random, &[0, 3], 0b1101),
    ] {
        let mut lab = Lab::up(settings(mode), 4);
        lab.carrier(1, false);
        lab.reconfigure(|settings| settings.downdelay = 1000);
        lab.carrier(2, false);
        assert_eq!((lab.tx().as_slice(), lab.view().rx), (tx, rx), "{mode}");
    }
}

#[test]
fn all_slaves_active_accepts_frames_of_inactive_members() {
    let mut lab = Lab::up(settings(BondMode::ActiveBackup), 3);
    lab.carrier(2, false);
    assert_eq!(lab.view().rx, 0b001);
    lab.reconfigure(|settings| settings.all_slaves_active = true);
    assert_eq!((lab.view().rx, lab.tx()), (0b011, vec![0]), "those that are up");
}

#[test]
fn members_transmit_in_the_order_they_joined() {
    let mut lab = Lab::new(settings(BondMode::BalanceXor), 0);
    for slot in [5, 2, 9] {
        lab.add(slot, 0);
        lab.carrier(slot, true);
    }
    assert_eq!(lab.tx(), [5, 2, 9]);
    lab.remove(5);
    lab.add(5, 0);
    lab.carrier(5, true);
    assert_eq!(lab.tx(), [2, 9, 5]);
}

#[test]
fn min_links_holds_the_carrier_back() {
    let mut lab = Lab::up(BondSettings { min_links: 2, ..settings(BondMode::BalanceXor) }, 2);
    assert!(lab.agent.status().carrier);
    lab.take();
    lab.carrier(0, false);
    assert!(lab.done.iter().any(|(_, action)| *action == BondAction::BondCarrier(false)));
    assert!(!lab.agent.status().carrier);
    lab.reconfigure(|settings| settings.min_links = 1);
    assert!(lab.agent.status().carrier);
    lab.carrier(1, false);
    assert!(!lab.agent.status().carrier);
}

#[test]
fn changing_the_mode_keeps_links() {
    let mut lab = Lab::up(settings(BondMode::BalanceXor), 2);
    lab.reconfigure(|settings| settings.mode = BondMode::ActiveBackup);
    assert_eq!((lab.tx(), lab.active()), (vec![0], Some(0)));
    lab.reconfigure(|settings| settings.mode = BondMode::Broadcast);
    assert_eq!((lab.tx(), lab.active()), (vec![0, 1], None));
    lab.reconfigure(|settings| (settings.miimon, settings.arp_interval, settings.arp_ip_target) = (0, 100, vec![[10, 0, 0, 9].into()]));
    assert_eq!(lab.tx(), [0, 1], "until the ARP monitor has asked");
}

#[test]
fn changing_a_delay_or_an_interval_moves_no_link() {
    let mut lab = Lab::up(BondSettings { updelay: 1000, downdelay: 1000, ..settings(BondMode::BalanceXor) }, 3);
    lab.pass(5000 * MS);
    lab.carrier(1, false);
    lab.take();
    lab.reconfigure(|settings| (settings.miimon, settings.updelay, settings.downdelay) = (50, 500, 500));
    assert_eq!((lab.link(0), lab.link(1), lab.tx()), (LinkState::Up, LinkState::Fail, vec![0, 1, 2]));
    assert_eq!(lab.reasons(|_| true), [""; 0]);
    lab.carrier(2, false);
    lab.pass(500 * MS);
    assert_eq!((lab.link(1), lab.link(2)), (LinkState::Fail, LinkState::Down), "a delay that runs keeps its end");
}

#[test]
fn slots_out_of_range_or_taken_or_unknown_are_ignored() {
    let mut lab = Lab::up(settings(BondMode::BalanceXor), 1);
    lab.add(32, 0);
    lab.add(0, 7);
    lab.carrier(9, true);
    lab.remove(9);
    assert_eq!((lab.agent.status().members.len(), lab.member(0).prio), (1, 0));
}
