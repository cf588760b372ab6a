//! LACP: two agents cabled to each other, partners that are silent, flap or do not fit, markers, malformed PDUs.

use control::bond::{
    AdSelect, BondEvent, BondMode, BondSettings, Churn, LacpRate, LinkState, MemberLacp, MuxState, ReceiveState, Transition,
};
use proptest::prelude::*;
use wire::lacp::{ACTIVITY, AGGREGATION, COLLECTING, DEFAULTED, DISTRIBUTING, PortInfo, SYNCHRONIZATION, TIMEOUT};
use wire::{Lacpdu, MacAddr, Marker};

use crate::lab::{Lab, MS, S, mac, settings};

fn lacp() -> BondSettings {
    settings(BondMode::Ieee8023ad)
}

fn fast() -> BondSettings {
    BondSettings { lacp_rate: LacpRate::Fast, ..lacp() }
}

/// Bonds and the cables between their members.
struct Net {
    labs: Vec<Lab>,
    cables: Vec<[(usize, u8); 2]>,
    /// Cables that lose all frames without losing their carrier.
    silent: Vec<usize>,
}

impl Net {
    fn new(bonds: &[(&BondSettings, u8)], cables: &[[(usize, u8); 2]]) -> Net {
        let system = |i| Some(MacAddr([2, 0, 0, 0, 0, i as u8 + 1]));
        let labs =
            bonds.iter().enumerate().map(|(i, (settings, members))| Lab::with_mac((*settings).clone(), *members, system(i))).collect();
        let mut net = Net { labs, cables: cables.to_vec(), silent: Vec::new() };
        (0..cables.len()).for_each(|cable| net.plug(cable, true));
        net
    }

    /// Two bonds with as many members each, cabled one to one.
    fn pair(a: &BondSettings, b: &BondSettings, members: u8) -> Net {
        let cables: Vec<_> = (0..members).map(|slot| [(0, slot), (1, slot)]).collect();
        Net::new(&[(a, members), (b, members)], &cables)
    }

    fn plug(&mut self, cable: usize, up: bool) {
        for (lab, slot) in self.cables[cable] {
            self.labs[lab].carrier(slot, up);
        }
        self.deliver();
    }

    fn deliver(&mut self) {
        loop {
            let mut frames = Vec::new();
            for (from, lab) in self.labs.iter_mut().enumerate() {
                frames.extend(lab.sent().into_iter().map(|(_, slot, octets)| ((from, slot), octets)));
                lab.done.clear();
            }
            if frames.is_empty() {
                return;
            }
            for (from, octets) in frames {
                for (i, [a, b]) in self.cables.iter().enumerate().filter(|(i, _)| !self.silent.contains(i)) {
                    let to = if *a == from {
                        b
                    } else if *b == from {
                        a
                    } else {
                        continue;
                    };
                    assert_eq!(octets[..6], [0x01, 0x80, 0xc2, 0, 0, 2], "cable {i}");
                    self.labs[to.0].frame(to.1, &octets);
                }
            }
        }
    }

    fn pass(&mut self, span: u64) {
        let end = self.labs[0].now + span;
        loop {
            let next = self.labs.iter().filter_map(|lab| lab.agent.next_deadline()).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            for lab in &mut self.labs {
                let wait = next.saturating_sub(lab.now);
                lab.pass(wait);
            }
            self.deliver();
        }
        self.labs.iter_mut().for_each(|lab| lab.now = end);
    }

    fn port(&self, lab: usize, slot: u8) -> MemberLacp {
        self.labs[lab].member(slot).lacp.expect("802.3ad")
    }

    fn tx(&self, lab: usize) -> Vec<u8> {
        self.labs[lab].tx()
    }
}

#[test]
fn two_active_ends_distribute_within_three_seconds() {
    for (a, b) in [(lacp(), lacp()), (fast(), fast()), (lacp(), fast())] {
        let mut net = Net::pair(&a, &b, 2);
        net.pass(1900 * MS);
        assert_eq!(net.port(0, 0).mux, MuxState::Waiting, "aggregate wait of 2 s");
        assert_eq!(net.tx(0), [0; 0]);
        net.pass(1100 * MS);
        for lab in [0, 1] {
            assert_eq!(net.tx(lab), [0, 1]);
            let status = net.labs[lab].agent.status();
            let of_bond = status.lacp.expect("802.3ad");
            assert_eq!(
                (of_bond.active_aggregator, of_bond.ports, of_bond.partner_mac),
                (Some(1), 2, MacAddr([2, 0, 0, 0, 0, 2 - lab as u8]))
            );
            for slot in [0, 1] {
                let port = net.port(lab, slot);
                assert_eq!((port.receive, port.mux, port.aggregator), (ReceiveState::Current, MuxState::CollectingDistributing, Some(1)));
                let up = ACTIVITY | AGGREGATION | SYNCHRONIZATION | COLLECTING | DISTRIBUTING;
                assert_eq!(port.actor.state & !TIMEOUT, up);
                assert_eq!(port.partner.state & !TIMEOUT, up);
                assert_eq!((port.actor.port, port.partner.port), (u16::from(slot) + 1, u16::from(slot) + 1));
                assert_eq!((port.actor_churn, port.partner_churn), (Churn::None, Churn::None));
            }
            assert!(status.carrier);
        }
    }
}

/// LACPDUs an end sends in a minute.
fn sent_in_a_minute(a: &BondSettings, b: &BondSettings) -> (u64, u64) {
    let mut net = Net::pair(a, b, 1);
    net.pass(10 * S);
    let before = (net.port(0, 0).lacpdu_tx, net.port(1, 0).lacpdu_tx);
    net.pass(60 * S);
    (net.port(0, 0).lacpdu_tx - before.0, net.port(1, 0).lacpdu_tx - before.1)
}

#[test]
fn the_rate_is_what_the_partner_asks_for() {
    assert_eq!(sent_in_a_minute(&lacp(), &lacp()), (2, 2));
    assert_eq!(sent_in_a_minute(&fast(), &fast()), (60, 60));
    assert_eq!(sent_in_a_minute(&fast(), &lacp()), (2, 60));
}

#[test]
fn lacp_active_off_waits_for_the_partner_and_two_of_them_say_nothing() {
    let passive = BondSettings { lacp_active: false, ..lacp() };
    let mut net = Net::pair(&passive, &passive, 2);
    net.pass(120 * S);
    assert_eq!((net.port(0, 0).lacpdu_tx, net.port(1, 1).lacpdu_tx), (0, 0));
    let mut net = Net::pair(&passive, &lacp(), 2);
    net.pass(3 * S);
    assert_eq!((net.tx(0), net.tx(1)), (vec![0, 1], vec![0, 1]));
    assert_eq!(net.port(0, 0).actor.state & ACTIVITY, 0);
}

#[test]
fn a_silent_partner_is_given_up_after_three_intervals() {
    for (settings, out) in [(fast(), 3), (lacp(), 90)] {
        let mut net = Net::pair(&settings, &settings, 2);
        net.pass(10 * S);
        // The last LACPDU of the partner came up to one interval ago.
        net.silent.push(1);
        let since = net.labs[0].now;
        while net.tx(0) == [0, 1] {
            net.pass(100 * MS);
            assert!(net.labs[0].now - since <= out * S, "given up after {out} s");
        }
        let interval = if out == 3 { S } else { 30 * S };
        assert!(net.labs[0].now - since > out * S - interval, "not before");
        assert_eq!((net.tx(0), net.port(0, 1).receive), (vec![0], ReceiveState::Expired));
        net.pass(3 * S);
        let port = net.port(0, 1);
        assert_eq!((port.receive, port.actor.state & DEFAULTED, port.partner.system), (ReceiveState::Defaulted, DEFAULTED, MacAddr::ZERO));
        assert_eq!(net.tx(0), [0], "alone in an aggregator that is not the active one");
        net.silent.clear();
        net.pass(35 * S);
        assert_eq!((net.tx(0), net.tx(1)), (vec![0, 1], vec![0, 1]), "back");
    }
}

#[test]
fn a_flapping_link_costs_the_others_nothing() {
    let mut net = Net::pair(&lacp(), &lacp(), 3);
    net.pass(5 * S);
    for _ in 0..50 {
        net.plug(2, false);
        assert_eq!(net.tx(0), [0, 1], "at once");
        net.pass(700 * MS);
        net.plug(2, true);
        net.pass(700 * MS);
        assert_eq!((net.tx(0), net.tx(1)), (vec![0, 1], vec![0, 1]));
    }
    net.pass(3 * S);
    assert_eq!((net.tx(0), net.tx(1)), (vec![0, 1, 2], vec![0, 1, 2]));
}

#[test]
fn members_cabled_to_two_systems_do_not_mix() {
    let mut net = Net::new(&[(&lacp(), 3), (&lacp(), 2), (&lacp(), 1)], &[[(0, 0), (2, 0)], [(0, 1), (1, 0)], [(0, 2), (1, 1)]]);
    for (cable, mbps) in [(0, 1000), (1, 1000), (2, 1000)] {
        for (lab, slot) in net.cables[cable] {
            net.labs[lab].speed(slot, mbps);
        }
    }
    net.deliver();
    net.pass(200 * S);
    let aggregators: Vec<_> = (0..3).map(|slot| net.port(0, slot).aggregator).collect();
    assert_eq!(aggregators[1], aggregators[2]);
    assert_ne!(aggregators[0], aggregators[1]);
    // Whichever is active: all of its links and none of the other's.
    let tx = net.tx(0);
    assert!(tx == [0] || tx == [1, 2], "{tx:?}");
    for slot in 0..3 {
        let port = net.port(0, slot);
        assert_eq!(port.actor.state & SYNCHRONIZATION != 0, tx.contains(&slot), "the other system must not send here");
    }
}

#[test]
fn keys_keep_links_apart() {
    // Of different speed.
    let mut net = Net::pair(&lacp(), &lacp(), 2);
    net.labs[0].speed(0, 1000);
    net.labs[0].speed(1, 10_000);
    net.deliver();
    net.pass(100 * S);
    assert_eq!(net.tx(0).len(), 1);
    assert_ne!(net.port(0, 0).aggregator, net.port(0, 1).aggregator);
    assert_eq!(net.port(0, 1).actor.key, 7 << 1 | 1, "10000 Mbit/s, full duplex");
    let keyed = BondSettings { ad_user_port_key: 1023, ..lacp() };
    let net = Net::pair(&keyed, &lacp(), 1);
    assert_eq!(net.port(0, 0).actor.key, 1023 << 6 | 1);
    assert_eq!(net.port(1, 0).partner.key, 1023 << 6 | 1);
}

#[test]
fn half_duplex_links_do_not_speak_lacp() {
    let mut net = Net::pair(&lacp(), &lacp(), 2);
    net.labs[0].event(BondEvent::Speed { member: 1, mbps: Some(100), full_duplex: false });
    net.deliver();
    let before = net.port(0, 1).lacpdu_tx;
    net.pass(100 * S);
    assert_eq!((net.port(0, 1).receive, net.port(0, 1).lacpdu_tx, net.tx(0)), (ReceiveState::LacpDisabled, before, vec![0]));
}

#[test]
fn links_that_a_partner_wants_alone_stay_alone() {
    let mut lab = Lab::up(fast(), 2);
    for _ in 0..5 {
        for slot in [0, 1] {
            let state = ACTIVITY | SYNCHRONIZATION;
            let actor = PortInfo { system: MacAddr([2, 7, 7, 7, 7, 7]), state, port: u16::from(slot), ..PortInfo::default() };
            let partner = lab.member(slot).lacp.unwrap().actor;
            lab.frame(slot, &slow_frame(&Lacpdu { actor, partner, collector_max_delay: 0 }.emit()));
        }
        lab.pass(S);
    }
    assert_ne!(lab.member(0).lacp.unwrap().aggregator, lab.member(1).lacp.unwrap().aggregator);
    assert_eq!(lab.tx().len(), 1);
}

#[test]
fn the_actor_is_who_it_was_told_to_be() {
    let system = MacAddr([2, 9, 9, 9, 9, 9]);
    let named = BondSettings { ad_actor_system: Some(system), ad_actor_sys_prio: 1234, ..lacp() };
    let net = Net::pair(&named, &lacp(), 1);
    let partner = net.port(1, 0).partner;
    assert_eq!((partner.system, partner.system_priority, partner.port_priority), (system, 1234, 255));
    assert_eq!(net.port(0, 0).partner.system, MacAddr([2, 0, 0, 0, 0, 2]), "the bond's own address otherwise");
}

/// A bond with two links to one system (1000 Mbit/s each) and one to another (10000 Mbit/s).
fn two_offers(select: AdSelect) -> Net {
    let chooser = BondSettings { ad_select: select, ..lacp() };
    let mut net = Net::new(&[(&chooser, 3), (&lacp(), 2), (&lacp(), 1)], &[[(0, 0), (1, 0)], [(0, 1), (1, 1)], [(0, 2), (2, 0)]]);
    net.plug(2, false);
    for (slot, mbps) in [(0, 1000), (1, 1000), (2, 10_000)] {
        net.labs[0].speed(slot, mbps);
    }
    net.deliver();
    net.pass(5 * S);
    assert_eq!(net.tx(0), [0, 1], "{select}");
    net.plug(2, true);
    net.pass(5 * S);
    net
}

#[test]
fn ad_select_decides_between_aggregators() {
    let mut stable = two_offers(AdSelect::Stable);
    assert_eq!(stable.tx(0), [0, 1]);
    stable.plug(0, false);
    stable.pass(5 * S);
    assert_eq!(stable.tx(0), [1], "as long as it has a link");
    stable.plug(1, false);
    stable.pass(5 * S);
    assert_eq!(stable.tx(0), [2]);
    stable.plug(0, true);
    stable.plug(1, true);
    stable.pass(5 * S);
    assert_eq!(stable.tx(0), [2]);

    assert_eq!(two_offers(AdSelect::Bandwidth).tx(0), [2], "more bandwidth");

    let mut count = two_offers(AdSelect::Count);
    assert_eq!(count.tx(0), [0, 1], "more links");
    count.plug(0, false);
    count.pass(5 * S);
    assert_eq!(count.tx(0), [2], "as many, and more bandwidth");
}

#[test]
fn without_partner_one_link_carries_frames() {
    let mut lab = Lab::up(lacp(), 3);
    lab.pass(100 * S);
    assert_eq!((lab.tx(), lab.view().rx), (vec![0], 0b001));
    assert!(!lab.agent.status().lacp.unwrap().fallback);
    lab.carrier(0, false);
    assert_eq!(lab.tx().len(), 1);
}

#[test]
fn lacp_fallback_is_an_active_backup_bond_until_a_partner_is_in_sync() {
    let fallback = BondSettings { lacp_fallback: true, primary: Some("eth1".into()), ..lacp() };
    let mut net = Net::pair(&fallback, &lacp(), 3);
    net.silent = vec![0, 1, 2];
    net.pass(7 * S);
    for lab in &mut net.labs {
        // What was heard before the cables went silent is over.
        lab.pass(100 * S);
    }
    let now = net.labs[0].now.max(net.labs[1].now);
    net.labs.iter_mut().for_each(|lab| lab.now = now);
    assert_eq!((net.tx(0), net.labs[0].active()), (vec![1], Some(1)), "the primary");
    assert!(net.labs[0].agent.status().lacp.unwrap().fallback);
    net.labs[0].take();
    net.labs[0].carrier(1, false);
    assert_eq!(net.labs[0].active(), Some(0));
    assert!(net.labs[0].reasons(|transition| matches!(transition, Transition::Active { .. })).len() == 1);
    net.labs[0].carrier(1, true);
    assert_eq!(net.tx(0), [1]);
    net.silent.clear();
    net.deliver();
    for _ in 0..350 {
        net.pass(100 * MS);
        assert!(!net.tx(0).is_empty(), "no gap on the way to LACP");
    }
    assert_eq!((net.tx(0), net.labs[0].active()), (vec![0, 1, 2], None));
    assert!(!net.labs[0].agent.status().lacp.unwrap().fallback);
}

#[test]
fn min_links_counts_links_of_the_active_aggregator() {
    let two = BondSettings { min_links: 2, ..lacp() };
    let mut net = Net::pair(&two, &lacp(), 3);
    assert!(!net.labs[0].agent.status().carrier);
    net.pass(3 * S);
    assert!(net.labs[0].agent.status().carrier);
    net.plug(0, false);
    assert!(net.labs[0].agent.status().carrier);
    net.plug(1, false);
    assert!(!net.labs[0].agent.status().carrier);
}

#[test]
fn links_of_an_aggregator_attach_together() {
    let mut net = Net::pair(&lacp(), &lacp(), 2);
    net.plug(1, false);
    net.pass(S);
    net.plug(1, true);
    net.pass(1900 * MS);
    assert_eq!((net.port(0, 0).mux, net.port(0, 1).mux), (MuxState::Waiting, MuxState::Waiting), "the first waits for the second");
    net.pass(1100 * MS);
    assert_eq!(net.tx(0), [0, 1]);
}

#[test]
fn a_partner_that_is_in_sync_with_somebody_else_is_not_believed() {
    for (mistaken, carries) in [(false, true), (true, false)] {
        let mut lab = Lab::up(fast(), 1);
        let partner = PortInfo {
            system: MacAddr([2, 7, 7, 7, 7, 7]),
            state: ACTIVITY | AGGREGATION | SYNCHRONIZATION | COLLECTING,
            ..PortInfo::default()
        };
        for _ in 0..5 {
            let mut about_us = lab.member(0).lacp.unwrap().actor;
            about_us.port += u16::from(mistaken);
            lab.frame(0, &slow_frame(&Lacpdu { actor: partner, partner: about_us, collector_max_delay: 0 }.emit()));
            lab.pass(S);
        }
        assert_eq!(lab.member(0).lacp.unwrap().mux == MuxState::CollectingDistributing, carries);
        assert_eq!(lab.tx() == [0], carries);
    }
}

#[test]
fn churn_is_told_after_a_minute_out_of_sync() {
    let mut net = Net::pair(&lacp(), &lacp(), 1);
    net.pass(5 * S);
    // A partner that speaks but never gets in sync.
    net.silent.push(0);
    let partner = PortInfo { system: MacAddr([2, 7, 7, 7, 7, 7]), state: ACTIVITY | AGGREGATION, port: 9, ..PortInfo::default() };
    let (mut churned, actor) = (Vec::new(), net.port(0, 0).actor);
    for second in 0..70 {
        let pdu = Lacpdu { actor: partner, partner: actor, collector_max_delay: 0 };
        net.labs[0].frame(0, &slow_frame(&pdu.emit()));
        net.labs[0].pass(S);
        let churn = net.port(0, 0).partner_churn;
        churned.push((second, churn));
    }
    assert_eq!(churned[57].1, Churn::Monitoring);
    assert_eq!(churned[62].1, Churn::Churned);
    assert_eq!(net.port(0, 0).partner_churned, 1);
    assert_eq!(net.port(0, 0).actor_churn, Churn::None, "this end did attach");
}

fn slow_frame(pdu: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x01, 0x80, 0xc2, 0, 0, 2, 2, 0, 0, 0, 0, 9, 0x88, 0x09];
    frame.extend_from_slice(pdu);
    frame
}

#[test]
fn markers_are_answered_ten_a_second() {
    let mut lab = Lab::up(lacp(), 1);
    let marker = Marker { response: false, requester_port: 7, requester_system: MacAddr([2, 0, 0, 0, 0, 9]), transaction: 5 };
    lab.take();
    lab.frame(0, &slow_frame(&marker.emit()));
    let sent = lab.sent_of(0x8809);
    let answers: Vec<_> = sent.iter().filter_map(|(_, _, octets)| Marker::parse(&octets[14..]).ok()).collect();
    assert_eq!(answers, [Marker { response: true, ..marker }]);
    assert_eq!(sent[0].2[6..12], mac(0).0, "from the member's own address");
    for _ in 0..100 {
        lab.frame(0, &slow_frame(&marker.emit()));
    }
    let port = lab.member(0).lacp.unwrap();
    assert_eq!((port.marker_rx, port.marker_tx, port.marker_unknown), (101, 10, 91));
    lab.pass(S);
    lab.frame(0, &slow_frame(&Marker { response: true, ..marker }.emit()));
    assert_eq!(lab.member(0).lacp.unwrap().marker_tx, 10, "a response is not answered");
    lab.frame(0, &slow_frame(&marker.emit()));
    assert_eq!(lab.member(0).lacp.unwrap().marker_tx, 11);
}

#[test]
fn no_more_than_three_lacpdus_a_second_whatever_the_partner_does() {
    let mut lab = Lab::up(lacp(), 1);
    lab.pass(5 * S);
    lab.take();
    for i in 0..1000u16 {
        let actor = PortInfo {
            system: MacAddr([2, 0, 0, 0, 1, i as u8]),
            key: i,
            port: i,
            state: ACTIVITY | TIMEOUT | AGGREGATION,
            ..PortInfo::default()
        };
        lab.frame(0, &slow_frame(&Lacpdu { actor, ..Lacpdu::default() }.emit()));
        lab.pass(10 * MS);
    }
    let times: Vec<u64> = lab.sent_of(0x8809).iter().map(|(at, _, _)| *at).collect();
    assert!(times.len() >= 10, "it does answer");
    assert!(times.windows(4).all(|window| window[3] - window[0] >= S), "{times:?}");
    let port = lab.member(0).lacp.unwrap();
    assert_eq!((port.lacpdu_rx, port.lacpdu_unknown), (100, 900), "ten a second are taken");
    assert!(lab.reasons(|_| true).len() < 600, "so that it cannot flood the log");
}

#[test]
fn lacpdus_of_our_own_system_are_ignored_and_told() {
    let mut lab = Lab::up(lacp(), 2);
    let own = lab.sent_of(0x8809)[0].2.clone();
    lab.take();
    lab.frame(1, &own);
    let port = lab.member(1).lacp.unwrap();
    assert_eq!((port.lacpdu_rx, port.lacpdu_unknown, port.partner.system), (0, 1, MacAddr::ZERO));
    assert!(lab.reasons(|transition| *transition == Transition::Ignored)[0].contains("loop"));
}

#[test]
fn changing_the_rate_reaches_the_partner_at_once() {
    let mut net = Net::pair(&lacp(), &lacp(), 1);
    net.pass(10 * S);
    let before = net.port(1, 0).lacpdu_tx;
    net.labs[0].reconfigure(|settings| settings.lacp_rate = LacpRate::Fast);
    net.deliver();
    assert_eq!(net.port(1, 0).lacpdu_tx, before + 1, "and it begins at once");
    assert_eq!(net.port(1, 0).partner.state & TIMEOUT, TIMEOUT);
    assert_eq!(net.tx(0), [0], "nothing is lost by it");
}

#[test]
fn a_removed_member_leaves_its_aggregator() {
    let mut net = Net::pair(&lacp(), &lacp(), 2);
    net.pass(5 * S);
    net.labs[0].remove(0);
    net.labs[1].carrier(0, false);
    net.deliver();
    net.pass(5 * S);
    assert_eq!((net.tx(0), net.tx(1)), (vec![1], vec![1]));
    net.labs[0].add(0, 0);
    net.labs[0].carrier(0, true);
    net.labs[1].carrier(0, true);
    net.deliver();
    net.pass(5 * S);
    assert_eq!((net.tx(0), net.tx(1)), (vec![1, 0], vec![0, 1]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Slow protocol frames of any content and length never panic, never change the links, and are all accounted for.
    #[test]
    fn any_slow_frame_is_counted(frames in proptest::collection::vec((0..3u8, proptest::collection::vec(any::<u8>(), 0..140)), 1..40)) {
        let mut lab = Lab::up(lacp(), 2);
        for (subtype, payload) in &frames {
            let mut pdu = payload.clone();
            if let Some(first) = pdu.first_mut() {
                *first = *subtype;
            }
            lab.frame(0, &slow_frame(&pdu));
            lab.pass(10 * MS);
        }
        let port = lab.member(0).lacp.unwrap();
        prop_assert_eq!(port.lacpdu_rx + port.lacpdu_unknown + port.marker_tx + port.marker_unknown, frames.len() as u64);
        prop_assert_eq!(lab.link(0), LinkState::Up);
        prop_assert!(!lab.tx().is_empty());
    }

    /// Every cut of a good LACPDU or marker is counted and changes nothing.
    #[test]
    fn cut_pdus_change_nothing(len in 0..110usize, marker: bool) {
        let mut net = Net::pair(&lacp(), &lacp(), 1);
        net.pass(5 * S);
        let before = net.port(0, 0);
        let pdu = Lacpdu { actor: before.partner, ..Lacpdu::default() }.emit();
        let request = Marker { response: false, requester_port: 1, requester_system: MacAddr::ZERO, transaction: 1 }.emit();
        net.labs[0].take();
        net.labs[0].frame(0, &slow_frame(if marker { &request[..len] } else { &pdu[..len] }));
        let after = net.port(0, 0);
        let counted = if marker && len > 0 { after.marker_unknown - before.marker_unknown } else { after.lacpdu_unknown - before.lacpdu_unknown };
        prop_assert_eq!(counted, 1);
        prop_assert_eq!((after.partner, after.mux, after.lacpdu_rx), (before.partner, before.mux, before.lacpdu_rx));
        prop_assert_eq!(net.labs[0].sent().len(), 0);
    }

    /// However cables are pulled and plugged, both ends agree in the end and use every cable.
    #[test]
    fn pairs_converge(members in 1..5u8, a_fast: bool, b_fast: bool, history in proptest::collection::vec((0..5usize, any::<bool>(), 0..4000u64), 0..40)) {
        let rate = |is_fast| if is_fast { fast() } else { lacp() };
        let mut net = Net::pair(&rate(a_fast), &rate(b_fast), members);
        let mut plugged = vec![true; usize::from(members)];
        for (cable, up, wait) in history {
            let cable = cable % usize::from(members);
            plugged[cable] = up;
            net.plug(cable, up);
            for slot in net.tx(0) {
                prop_assert!(plugged[usize::from(slot)], "a member that is down carries frames");
            }
            net.pass(wait * MS);
        }
        net.pass(100 * S);
        let expected: Vec<u8> = (0..members).filter(|slot| plugged[usize::from(*slot)]).collect();
        prop_assert_eq!(net.tx(0), expected.clone());
        prop_assert_eq!(net.tx(1), expected);
    }
}
