//! What holds whatever happens to links, frames and settings.

use control::bond::{ArpValidate, BondAction, BondEvent, BondMode, BondSettings, LinkState, MemberActivity, PrimaryReselect};
use proptest::prelude::*;

use crate::lab::{Lab, MS, host, settings};

#[derive(Clone, Debug)]
enum Step {
    Carrier(u8, bool),
    Speed(u8, Option<u32>, bool),
    Add(u8, i32),
    Remove(u8),
    SetActive(Option<u8>),
    Mode(BondMode),
    Primary(Option<u8>),
    Frame(u8, Vec<u8>),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let slot = || 0..4u8;
    prop_oneof![
        8 => (slot(), any::<bool>()).prop_map(|(slot, up)| Step::Carrier(slot, up)),
        1 => (slot(), proptest::option::of(prop_oneof![Just(100), Just(1000)]), any::<bool>()).prop_map(|(slot, mbps, full)| Step::Speed(slot, mbps, full)),
        1 => (slot(), -2..3i32).prop_map(|(slot, prio)| Step::Add(slot, prio)),
        1 => slot().prop_map(Step::Remove),
        1 => proptest::option::of(slot()).prop_map(Step::SetActive),
        1 => proptest::sample::select(BondMode::ALL).prop_map(Step::Mode),
        1 => proptest::option::of(slot()).prop_map(Step::Primary),
        1 => (slot(), proptest::collection::vec(any::<u8>(), 0..80)).prop_map(|(slot, octets)| Step::Frame(slot, octets)),
        4 => (0..400u64).prop_map(Step::Pass),
    ]
}

fn bond() -> impl Strategy<Value = BondSettings> {
    let delays = (0..4u32, 0..4u32, proptest::sample::select(PrimaryReselect::ALL));
    (proptest::sample::select(BondMode::ALL), delays, any::<bool>(), any::<bool>()).prop_map(
        |(mode, (up, down, primary_reselect), all, lacp_fallback)| BondSettings {
            updelay: up * 100,
            downdelay: down * 100,
            primary_reselect,
            all_slaves_active: all,
            lacp_fallback: lacp_fallback && mode == BondMode::Ieee8023ad,
            ..settings(mode)
        },
    )
}

/// Actions one step may cause: logs and frames of four members, a portion of learned addresses.
const ACTIONS_MAX: usize = 200;

fn check(lab: &Lab) -> Result<(), TestCaseError> {
    let status = lab.agent.status();
    let view = &status.view;
    let is_usable = |link| matches!(link, LinkState::Up | LinkState::Fail);
    for member in &status.members {
        let carries = view.tx.contains(&member.slot);
        prop_assert!(!carries || is_usable(member.link), "{member:?} transmits");
        prop_assert!(view.rx >> member.slot & 1 == 0 || member.link != LinkState::Down, "{member:?} receives");
        if member.link == LinkState::Up && lab.agent.settings().arp_interval == 0 {
            prop_assert!(member.carrier, "{member:?} is up");
        }
    }
    for slot in &view.tx {
        prop_assert!(status.members.iter().any(|member| member.slot == *slot), "slot {slot} does not exist");
        prop_assert_eq!(view.tx.iter().filter(|other| *other == slot).count(), 1);
    }
    prop_assert_eq!(status.active, view.active);
    let some_usable = status.members.iter().any(|member| is_usable(member.link));
    let mode = status.settings.mode;
    if mode.uses_primary() || status.lacp.as_ref().is_some_and(|lacp| lacp.fallback) {
        prop_assert_eq!(status.active.is_some(), some_usable, "an active member while one is usable");
        prop_assert!(
            view.tx.contains(&status.active.unwrap_or(0))
                || status.members.iter().any(|member| Some(member.slot) == status.active && member.link == LinkState::Fail)
                || !some_usable
        );
    }
    if mode == BondMode::ActiveBackup {
        prop_assert!(view.tx.len() <= 1, "one member transmits");
    }
    if mode != BondMode::Ieee8023ad {
        prop_assert_eq!(status.carrier, some_usable);
        let some_up = status.members.iter().any(|member| member.link == LinkState::Up);
        prop_assert!(!some_up || !view.tx.is_empty(), "no member carries frames though one is up");
    }
    Ok(())
}

fn run(lab: &mut Lab, steps: Vec<Step>, modes: bool) -> Result<(), TestCaseError> {
    for step in steps {
        lab.take();
        let published = lab.view();
        match step.clone() {
            Step::Carrier(slot, up) => lab.carrier(slot, up),
            Step::Speed(member, mbps, full_duplex) => lab.event(BondEvent::Speed { member, mbps, full_duplex }),
            Step::Add(slot, prio) => lab.add(slot, prio),
            Step::Remove(slot) => lab.remove(slot),
            Step::SetActive(slot) => lab.event(BondEvent::SetActive(slot)),
            Step::Mode(mode) if modes => lab.reconfigure(|settings| {
                settings.mode = mode;
                settings.lacp_fallback = false;
                settings.primary = None;
            }),
            Step::Primary(slot) if lab.agent.settings().mode.uses_primary() => {
                lab.reconfigure(|settings| settings.primary = slot.map(|slot| format!("eth{slot}")));
            }
            Step::Mode(_) | Step::Primary(_) => {}
            Step::Frame(slot, octets) => lab.frame(slot, &octets),
            Step::Pass(span) => lab.pass(span * MS),
        }
        prop_assert!(matches!(step, Step::Pass(_)) || lab.done.len() <= ACTIONS_MAX, "{:?} caused {} actions", step, lab.done.len());
        // What workers were told is what holds, and they are told only of changes.
        let mut last = published;
        for (_, action) in &lab.done {
            if let BondAction::Publish(view) = action {
                prop_assert_ne!(&last, view);
                last = view.clone();
            }
        }
        prop_assert_eq!(&last, &lab.view());
        check(lab)?;
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn links_may_do_what_they_like(bond in bond(), steps in proptest::collection::vec(step(), 1..60)) {
        let mut lab = Lab::new(bond, 3);
        lab.event(BondEvent::Host(&[host(None)]));
        run(&mut lab, steps, true)?;
    }

    #[test]
    fn arp_monitored_links_too(validate in proptest::sample::select(ArpValidate::ALL), backup: bool, steps in proptest::collection::vec(step(), 1..60)) {
        let mode = if backup { BondMode::ActiveBackup } else { BondMode::BalanceXor };
        let mut lab = Lab::new(BondSettings { miimon: 0, arp_interval: 50, arp_ip_target: vec![[10, 0, 0, 254].into()], arp_validate: validate, ..settings(mode) }, 3);
        lab.event(BondEvent::Host(&[host(None)]));
        for slot in 0..4u8 {
            // Some hear something all the time.
            let at = (slot % 2 == 0).then_some(u64::MAX / 2);
            lab.activity.insert(slot, MemberActivity { member: slot, last_rx: at, last_tx: Some(u64::MAX / 2) });
        }
        run(&mut lab, steps, false)?;
    }

    /// When links come to rest, so do the notifications, and the best member is active.
    #[test]
    fn everything_comes_to_rest(bond in bond(), steps in proptest::collection::vec(step(), 1..40)) {
        let mut lab = Lab::new(bond, 3);
        run(&mut lab, steps, true)?;
        lab.pass(200_000 * MS);
        lab.take();
        lab.pass(200_000 * MS);
        let unrest = lab.done.iter().find(|(_, action)| matches!(action, BondAction::Publish(_) | BondAction::Log { .. } | BondAction::BondCarrier(_) | BondAction::SetMac { .. }));
        prop_assert!(unrest.is_none(), "{:?}", unrest);
        for member in lab.agent.status().members {
            prop_assert_eq!(member.link == LinkState::Up, member.carrier);
        }
    }
}
