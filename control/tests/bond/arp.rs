//! The ARP monitor: arp_interval, arp_ip_target, ns_ip6_target, arp_validate, arp_all_targets, missed_max.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use control::bond::{ArpAllTargets, ArpValidate, BondEvent, BondMode, BondSettings, HostAddress, LinkState, MemberActivity};
use etherparse::{ArpEthIpv4Packet, ArpOperation, PacketBuilder, icmpv6};

use crate::lab::{HOST_IP, HOST_MAC, Lab, MS, S, host, mac, settings};

const TARGET: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 253);
const TARGET6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0xfe);
const HOST6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

fn monitored(mode: BondMode) -> BondSettings {
    BondSettings { miimon: 0, arp_interval: 100, arp_ip_target: vec![TARGET], ..settings(mode) }
}

fn validated(validate: ArpValidate) -> BondSettings {
    BondSettings { arp_validate: validate, ..monitored(BondMode::ActiveBackup) }
}

fn arp(operation: ArpOperation, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let mut octets = vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 0xfe, 8, 6];
    let packet = ArpEthIpv4Packet {
        operation,
        sender_mac: [2, 0, 0, 0, 0, 0xfe],
        sender_ipv4: from.octets(),
        target_mac: HOST_MAC.0,
        target_ipv4: to.octets(),
    };
    octets.extend_from_slice(&packet.to_bytes());
    octets
}

/// A network in which some members reach some targets.
struct Net {
    lab: Lab,
    /// Members by which targets can be reached.
    reach: Vec<u8>,
    /// Targets that answer.
    alive: Vec<Ipv4Addr>,
    /// Whether members receive other traffic all the time.
    noise: Vec<u8>,
    /// Members at which probes of others arrive again.
    hears: Vec<u8>,
    /// Members whose device takes frames and sends none.
    stuck: Vec<u8>,
}

impl Net {
    fn new(settings: BondSettings, members: u8) -> Net {
        let mut lab = Lab::new(settings, members);
        lab.event(BondEvent::Host(&[host(None)]));
        (0..members).for_each(|slot| lab.carrier(slot, true));
        Net { lab, reach: (0..members).collect(), alive: vec![TARGET, OTHER], noise: vec![], hears: vec![], stuck: vec![] }
    }

    /// Lets time pass; probes are answered 1 ms later.
    fn pass(&mut self, span: u64) {
        for _ in 0..span / MS {
            self.lab.pass(MS);
            let now = self.lab.now;
            let probes = self.lab.sent_of(0x0806);
            self.lab.take();
            for slot in 0..self.lab.agent.status().members.len() as u8 {
                let before = self.lab.activity.get(&slot).copied();
                let mut seen = before.unwrap_or(MemberActivity { member: slot, last_rx: None, last_tx: None });
                if self.noise.contains(&slot) {
                    seen.last_rx = Some(now);
                }
                self.lab.activity.insert(slot, seen);
            }
            for (_, member, octets) in probes {
                if !self.stuck.contains(&member) {
                    self.lab.activity.entry(member).and_modify(|seen| seen.last_tx = Some(now));
                }
                let asked = Ipv4Addr::from(*octets[38..].first_chunk::<4>().unwrap());
                let from = Ipv4Addr::from(*octets[28..].first_chunk::<4>().unwrap());
                if !self.reach.contains(&member) {
                    continue;
                }
                for slot in self.hears.clone().into_iter().filter(|slot| *slot != member) {
                    self.receive(slot, &octets);
                }
                if self.alive.contains(&asked) {
                    self.receive(member, &arp(ArpOperation::REPLY, asked, from));
                }
            }
        }
    }

    fn receive(&mut self, member: u8, octets: &[u8]) {
        let now = self.lab.now;
        self.lab.activity.entry(member).or_insert(MemberActivity { member, last_rx: None, last_tx: None }).last_rx = Some(now);
        self.lab.frame(member, octets);
    }

    fn links(&self) -> Vec<bool> {
        self.lab.agent.status().members.iter().map(|member| member.link == LinkState::Up).collect()
    }
}

#[test]
fn the_active_member_asks_each_target_every_interval() {
    let mut lab = Lab::up(BondSettings { arp_interval: 250, arp_ip_target: vec![TARGET, OTHER], ..monitored(BondMode::ActiveBackup) }, 2);
    lab.event(BondEvent::Host(&[host(None)]));
    lab.pass(100 * MS);
    lab.take();
    for _ in 0..4 {
        lab.pass(250 * MS);
        let now = Some(lab.now);
        lab.activity.insert(0, MemberActivity { member: 0, last_rx: now, last_tx: now });
    }
    let probes = lab.sent_of(0x0806);
    assert_eq!(probes.len(), 8);
    assert!(probes.iter().all(|(_, member, _)| *member == 0));
    let octets = &probes[0].2;
    assert_eq!(
        (&octets[6..12], &octets[22..28], &octets[28..32]),
        (&HOST_MAC.0[..], &HOST_MAC.0[..], &HOST_IP.octets()[..]),
        "as the host"
    );
    assert_eq!(octets[38..42], TARGET.octets());
}

#[test]
fn without_an_address_probes_come_from_the_member() {
    let mut lab = Lab::up(monitored(BondMode::ActiveBackup), 1);
    lab.pass(100 * MS);
    let octets = &lab.sent_of(0x0806)[0].2;
    assert_eq!((&octets[22..28], &octets[28..32]), (&mac(0).0[..], &[0; 4][..]));
    lab.reconfigure(|settings| settings.arp_source = Some([10, 0, 0, 77].into()));
    lab.take();
    lab.pass(100 * MS);
    assert_eq!(lab.sent_of(0x0806)[0].2[28..32], [10, 0, 0, 77]);
}

#[test]
fn members_that_answer_stay_up_and_the_active_one_stays() {
    for mode in [BondMode::ActiveBackup, BondMode::BalanceRr, BondMode::BalanceXor, BondMode::Broadcast] {
        let mut net = Net::new(monitored(mode), 2);
        net.hears = vec![0, 1];
        net.pass(10 * S);
        assert_eq!(net.links(), [true, true], "{mode}");
        assert_eq!(net.lab.member(0).link_failure_count + net.lab.member(1).link_failure_count, 0, "{mode}");
    }
}

#[test]
fn a_silent_active_member_is_replaced() {
    let mut net = Net::new(monitored(BondMode::ActiveBackup), 2);
    net.hears = vec![0, 1];
    net.pass(5 * S);
    assert_eq!(net.lab.active(), Some(0));
    net.reach = vec![1];
    let since = net.lab.now;
    while net.lab.active() == Some(0) {
        net.pass(MS);
        assert!(net.lab.now - since < S, "it must be noticed");
    }
    // missed_max and a half intervals without answer, seen at the next round.
    let took = (net.lab.now - since) / MS;
    assert!((150..=350).contains(&took), "{took} ms");
    net.pass(5 * S);
    assert_eq!((net.lab.active(), net.lab.tx()), (Some(1), vec![1]));
    net.reach = vec![0];
    net.pass(5 * S);
    assert_eq!(net.lab.active(), Some(0), "and back");
}

#[test]
fn missed_max_is_the_patience() {
    for mode in [BondMode::BalanceXor, BondMode::ActiveBackup] {
        for missed_max in [1, 2, 10] {
            let mut net = Net::new(BondSettings { missed_max, ..monitored(mode) }, 1);
            net.pass(5 * S);
            net.alive.clear();
            let since = net.lab.now;
            while net.links() == [true] {
                net.pass(MS);
            }
            let took = (net.lab.now - since) / MS;
            let expected = u64::from(missed_max) * 100;
            assert!((expected..expected + 200).contains(&took), "{mode}, missed_max {missed_max}: {took} ms");
        }
    }
}

#[test]
fn without_any_answer_members_are_asked_in_turn() {
    let mut net = Net::new(monitored(BondMode::ActiveBackup), 3);
    net.reach.clear();
    net.pass(3 * S);
    assert_eq!((net.lab.active(), net.lab.tx()), (None, vec![]));
    let mut asked = Vec::new();
    for _ in 0..6 {
        net.lab.pass(100 * MS);
        asked.extend(net.lab.sent_of(0x0806).iter().map(|(_, member, _)| *member));
        net.lab.take();
        let asking = *asked.last().unwrap();
        assert_eq!(net.lab.view().rx, 1 << asking, "its answers must be let in");
    }
    for pair in asked.windows(2) {
        assert_eq!(pair[1], (pair[0] + 1) % 3, "{asked:?}");
    }
    net.reach = vec![1];
    net.pass(S);
    assert_eq!(net.lab.active(), Some(1));
}

#[test]
fn a_member_without_carrier_is_down_at_once() {
    let mut net = Net::new(monitored(BondMode::ActiveBackup), 2);
    net.hears = vec![0, 1];
    net.pass(S);
    net.lab.carrier(0, false);
    assert_eq!((net.lab.active(), net.links()), (Some(1), vec![false, true]));
    net.lab.carrier(0, true);
    assert_eq!(net.links(), [false, true], "the ARP monitor decides");
    net.pass(S);
    assert_eq!(net.links(), [true, true]);
}

#[test]
fn arp_validate_decides_what_proves_life() {
    // Nothing answers, but other traffic arrives at both members.
    for (validate, active_lives, backup_lives) in [
        (ArpValidate::None, true, true),
        (ArpValidate::Active, false, true),
        (ArpValidate::Backup, true, false),
        (ArpValidate::All, false, false),
        (ArpValidate::Filter, false, false),
        (ArpValidate::FilterActive, false, false),
        (ArpValidate::FilterBackup, false, false),
    ] {
        let mut net = Net::new(validated(validate), 2);
        net.noise = vec![0, 1];
        net.alive.clear();
        net.pass(5 * S);
        let failures = |slot| net.lab.member(slot).link_failure_count;
        let (first, second) = (failures(0) == 0, failures(1) == 0);
        if active_lives {
            assert!(first, "{validate}");
            assert_eq!(second, backup_lives, "{validate}");
        } else {
            assert!(!first, "{validate}");
        }
    }
}

#[test]
fn filters_take_any_arp_for_life() {
    // ARP of strangers: enough for filter, not for validation.
    for (validate, lives) in [
        (ArpValidate::None, true),
        (ArpValidate::Filter, true),
        (ArpValidate::FilterBackup, true),
        (ArpValidate::FilterActive, false),
        (ArpValidate::Active, false),
        (ArpValidate::All, false),
    ] {
        let mut net = Net::new(validated(validate), 1);
        net.alive.clear();
        for _ in 0..50 {
            net.receive(0, &arp(ArpOperation::REQUEST, [10, 0, 0, 50].into(), [10, 0, 0, 51].into()));
            net.pass(100 * MS);
        }
        assert_eq!(net.lab.member(0).link_failure_count == 0, lives, "{validate}");
    }
}

#[test]
fn validation_wants_a_target_and_an_address_of_ours() {
    for (from, to, lives) in [(TARGET, HOST_IP, true), (OTHER, HOST_IP, false), (TARGET, OTHER, false)] {
        let mut net = Net::new(validated(ArpValidate::All), 1);
        net.alive.clear();
        for _ in 0..50 {
            net.receive(0, &arp(ArpOperation::REPLY, from, to));
            net.pass(100 * MS);
        }
        assert_eq!(net.lab.member(0).link_failure_count == 0, lives, "{from} {to}");
    }
}

#[test]
fn a_validated_backup_lives_by_hearing_the_active_members_probes() {
    let mut net = Net::new(validated(ArpValidate::All), 2);
    net.hears = vec![1];
    net.pass(5 * S);
    assert_eq!((net.links(), net.lab.member(1).link_failure_count), (vec![true, true], 0));
    net.hears.clear();
    net.pass(S);
    assert_eq!((net.links(), net.lab.active()), (vec![true, false], Some(0)));
}

#[test]
fn arp_all_targets_wants_each_to_answer() {
    for (all_targets, alive, lives) in [
        (ArpAllTargets::Any, vec![TARGET], true),
        (ArpAllTargets::All, vec![TARGET], false),
        (ArpAllTargets::All, vec![TARGET, OTHER], true),
    ] {
        let settings = BondSettings { arp_all_targets: all_targets, arp_ip_target: vec![TARGET, OTHER], ..validated(ArpValidate::All) };
        let mut net = Net::new(settings, 1);
        net.pass(S);
        net.alive = alive;
        net.pass(5 * S);
        assert_eq!(net.links(), [lives], "{all_targets}");
        let seen = net.lab.member(0).arp_last_rx;
        assert_eq!((seen[0].0, seen[1].0), (TARGET, OTHER));
        assert!(seen[0].1.is_some());
    }
}

#[test]
fn ns_ip6_target_asks_by_neighbour_solicitation() {
    let settings = BondSettings { arp_ip_target: vec![], ns_ip6_target: vec![TARGET6], ..validated(ArpValidate::All) };
    let mut lab = Lab::new(settings, 1);
    lab.event(BondEvent::Host(&[HostAddress { ip: IpAddr::V6(HOST6), prefix: 64, ..host(None) }]));
    lab.carrier(0, true);
    lab.pass(100 * MS);
    let probes = lab.sent_of(0x86dd);
    let probe = &probes.iter().find(|(_, _, octets)| octets[54] == 135).expect("a solicitation").2;
    assert_eq!(probe[..6], [0x33, 0x33, 0xff, 0, 0, 0xfe], "solicited-node group");
    assert_eq!((&probe[22..38], probe[54], &probe[62..78]), (&HOST6.octets()[..], 135, &TARGET6.octets()[..]));
    assert_eq!(probe[78..86], [1, 1, 2, 0, 0, 0, 0, 0xaa]);
    let answer = |hop_limit, source: Ipv6Addr, break_checksum: bool| {
        let flags = icmpv6::NeighborAdvertisementHeader { router: false, solicited: true, r#override: true };
        let mut octets = Vec::new();
        PacketBuilder::ethernet2([2, 0, 0, 0, 0, 0xfe], HOST_MAC.0)
            .ipv6(source.octets(), HOST6.octets(), hop_limit)
            .icmpv6(etherparse::Icmpv6Type::NeighborAdvertisement(flags))
            .write(&mut octets, &source.octets())
            .unwrap();
        if break_checksum {
            octets[56] ^= 1;
        }
        octets
    };
    for (octets, lives) in [
        (answer(255, TARGET6, false), true),
        (answer(64, TARGET6, false), false),
        (answer(255, TARGET6, true), false),
        (answer(255, HOST6, false), false),
    ] {
        for _ in 0..20 {
            lab.frame(0, &octets);
            lab.activity.insert(0, MemberActivity { member: 0, last_rx: None, last_tx: Some(lab.now) });
            lab.pass(100 * MS);
        }
        assert_eq!(lab.link(0) == LinkState::Up, lives);
    }
}

#[test]
fn a_member_that_sends_nothing_goes_down() {
    for mode in [BondMode::ActiveBackup, BondMode::BalanceXor] {
        let mut net = Net::new(monitored(mode), 1);
        net.noise = vec![0];
        net.pass(5 * S);
        assert_eq!((net.links(), net.lab.member(0).link_failure_count), (vec![true], 0), "{mode}");
        net.stuck = vec![0];
        net.pass(S);
        assert!(net.lab.member(0).link_failure_count > 0, "{mode}");
    }
}

#[test]
fn without_an_ipv6_address_the_solicitation_is_that_of_address_detection() {
    let mut lab = Lab::up(BondSettings { arp_ip_target: vec![], ns_ip6_target: vec![TARGET6], ..monitored(BondMode::ActiveBackup) }, 1);
    lab.pass(100 * MS);
    let probe = &lab.sent_of(0x86dd)[0].2;
    let sliced = etherparse::SlicedPacket::from_ethernet(probe).unwrap();
    let (Some(etherparse::NetSlice::Ipv6(ip)), Some(etherparse::TransportSlice::Icmpv6(message))) = (&sliced.net, &sliced.transport) else {
        panic!("a solicitation")
    };
    assert!(ip.header().source_addr().is_unspecified());
    assert!(message.is_checksum_valid(ip.header().source(), ip.header().destination()));
    assert_eq!((message.type_u8(), message.slice().len()), (135, 24), "no option with an address (RFC 4861 clause 4.3)");
}
