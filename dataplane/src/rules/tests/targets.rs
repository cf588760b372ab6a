//! Each target alone, and where it is valid.

use wire::{TcpHeader, checksum};

use super::lab::{Lab, Probe, base, ipv4, ipv6, is, not, packets, rule, tcp, tcp_syn, udp, user};
use crate::conntrack::{CtState, Direction, HelperKind, Template};
use crate::nat::{Manip, NatRange};
use crate::router::{Address, Family, InterfaceId, RouterId};
use crate::rules::{
    BuildError, ChainId, ConnMark, CtStates, Hook, HookSet, Log, Match, Policy, RejectWith, RuleSet, SynProxy, Table, Target, TcpMss, Test,
    TtlEdit, Verdict, check,
};

/// What a packet meets where one rule has this target; the packet keeps the edits.
fn meet(table: Table, hook: Hook, matches: Vec<Match>, target: Target, probe: &mut Probe) -> Verdict {
    // The marker counts what goes on.
    let chain = base(table, hook, Policy::Accept, vec![rule(matches, target.clone()), rule(vec![], Target::None)]);
    let set = RuleSet::build(probe.family, core::slice::from_ref(&chain)).unwrap();
    let verdict = Lab::new().ask(&set, table, hook, probe);
    assert_eq!(packets(&chain), [1, if target.is_terminal() || verdict != Verdict::Accept { 0 } else { 1 }], "{target:?}");
    verdict
}

fn forward(table: Table, target: Target, probe: &mut Probe) -> Verdict {
    meet(table, Hook::Forward, vec![], target, probe)
}

const ANY: NatRange = NatRange { addresses: None, ports: None, base_port: None, random: false, persistent: false, netmap: None };

fn one(address: u128) -> Option<(Address, Address)> {
    Some((Address(address), Address(address)))
}

#[test]
fn deciding_targets_end_the_table() {
    let mut probe = tcp_syn();
    assert_eq!(forward(Table::Filter, Target::Accept, &mut probe), Verdict::Accept);
    assert_eq!(forward(Table::Filter, Target::Drop, &mut probe), Verdict::Drop);
    let reject = RejectWith::Unreachable(13);
    assert_eq!(forward(Table::Filter, Target::Reject(reject), &mut probe), Verdict::Reject(reject));
    let tcp_only = || vec![is(Test::Protocol(6))];
    let reset = Target::Reject(RejectWith::TcpReset);
    assert_eq!(meet(Table::Filter, Hook::Input, tcp_only(), reset, &mut probe), Verdict::Reject(RejectWith::TcpReset));
    let proxy = SynProxy { mss: Some(1460), wscale: Some(7), sack_perm: true, ..SynProxy::default() };
    assert_eq!(meet(Table::Filter, Hook::Forward, tcp_only(), Target::SynProxy(proxy), &mut probe), Verdict::SynProxy(proxy));
}

#[test]
fn marks_of_packet_and_flow() {
    let mut probe = Probe { mark: 0xff00, ..tcp_syn() }.of_flow(1, Direction::Original, CtState::Established);
    assert_eq!(forward(Table::Mangle, Target::Mark { value: 0x12, mask: 0xff }, &mut probe), Verdict::Accept);
    assert_eq!(probe.mark, 0xff12);
    let flow = |probe: &Probe| probe.tracking.as_ref().unwrap().mark;
    forward(Table::Mangle, Target::ConnMark(ConnMark::Save { nf_mask: 0xff, ct_mask: u32::MAX }), &mut probe);
    assert_eq!((flow(&probe), probe.mark), (0x12, 0xff12));
    forward(Table::Mangle, Target::ConnMark(ConnMark::Set { value: 0x30, mask: 0xf0 }), &mut probe);
    assert_eq!(flow(&probe), 0x32);
    forward(Table::Mangle, Target::ConnMark(ConnMark::Restore { nf_mask: 0x0f, ct_mask: 0x02 }), &mut probe);
    assert_eq!(probe.mark, 0xff12);
    let mut none = tcp_syn();
    forward(Table::Mangle, Target::ConnMark(ConnMark::Restore { nf_mask: u32::MAX, ct_mask: u32::MAX }), &mut none);
    assert_eq!(none.mark, 0, "a packet without flow is left alone");
}

/// The lab checks the header checksum after each edit.
#[test]
fn fields_of_the_ip_header() {
    for mut probe in [tcp_syn(), ipv6(17, &[0; 8])] {
        let mut edit = |target| {
            forward(Table::Mangle, target, &mut probe);
            (probe.packet().traffic_class, probe.packet().ttl)
        };
        assert_eq!(edit(Target::Dscp(46)), (0xb8, 64));
        assert_eq!(edit(Target::Tos { value: 0x13, mask: 0x13 }), (0xbb, 64));
        assert_eq!(edit(Target::Dscp(1)), (0x07, 64), "ECN stays");
        assert_eq!(edit(Target::Ttl(TtlEdit::Set(10))), (0x07, 10));
        assert_eq!(edit(Target::Ttl(TtlEdit::Increase(250))), (0x07, 255));
        assert_eq!(edit(Target::Ttl(TtlEdit::Decrease(5))), (0x07, 250));
        assert_eq!(edit(Target::Ttl(TtlEdit::Decrease(255))), (0x07, 0));
    }
}

fn syn_only() -> Vec<Match> {
    vec![is(Test::Protocol(6)), is(Test::TcpFlags { mask: 0x06, compare: 0x02 })]
}

#[test]
fn the_largest_segment_is_lowered_never_raised() {
    let clamp = |mss, path_mtu| {
        let mut probe = Probe { path_mtu, ..tcp_syn() };
        assert_eq!(meet(Table::Mangle, Hook::Forward, syn_only(), Target::TcpMss(mss), &mut probe), Verdict::Accept);
        let segment = &probe.octets[34..];
        let sum = checksum::pseudo_ipv4(0x0a00_0005.into(), 0xc633_6409.into(), 6, segment.len() as u16).add(segment);
        assert_eq!(sum.checksum(), 0, "the checksum fits");
        u16::from_be_bytes([TcpHeader::new_checked(segment).unwrap().options()[2], segment[23]])
    };
    assert_eq!(clamp(TcpMss::Set(1200), 1500), 1200);
    assert_eq!(clamp(TcpMss::Set(9000), 1500), 1460);
    assert_eq!(clamp(TcpMss::ClampToPmtu, 1400), 1360);
    assert_eq!(clamp(TcpMss::ClampToPmtu, 9000), 1460);
    // One that announces none is taken for 536 and gets that, or less.
    let announce = |mss| {
        let mut probe = tcp(0x0a00_0005, 40_000, 0xc633_6409, 80, 0x02, &[1; 4]);
        assert_eq!(meet(Table::Mangle, Hook::Forward, syn_only(), Target::TcpMss(mss), &mut probe), Verdict::Accept);
        TcpHeader::new_checked(&probe.octets[34..]).unwrap().options().to_vec()
    };
    assert_eq!(announce(TcpMss::ClampToPmtu), [2, 4, 2, 24, 1, 1, 1, 1]);
    assert_eq!(announce(TcpMss::Set(100)), [2, 4, 0, 100, 1, 1, 1, 1]);
    let mut probe = Probe { path_mtu: 40, ..tcp_syn() };
    assert_eq!(meet(Table::Mangle, Hook::Forward, syn_only(), Target::TcpMss(TcpMss::ClampToPmtu), &mut probe), Verdict::Drop);
    let mut bad = tcp_syn();
    bad.octets[34 + 12] = 0xf0;
    assert_eq!(meet(Table::Mangle, Hook::Forward, syn_only(), Target::TcpMss(TcpMss::Set(500)), &mut bad), Verdict::Drop);
}

#[test]
fn the_first_template_counts() {
    let helper = Template { helper: Some(HelperKind::Ftp), ..Template::default() };
    let chain = base(
        Table::Raw,
        Hook::Prerouting,
        Policy::Accept,
        vec![
            rule(vec![is(Test::Protocol(6))], Target::Ct(helper)),
            rule(vec![], Target::Ct(Template { notrack: true, ..Template::default() })),
        ],
    );
    let set = RuleSet::build(Family::V4, &[chain]).unwrap();
    let template = |mut probe: Probe| {
        Lab::new().ask(&set, Table::Raw, Hook::Prerouting, &mut probe);
        probe.template
    };
    assert_eq!(template(tcp_syn()), helper);
    assert!(template(udp(1, 2, 3, 4)).notrack);
}

/// `CT` gives a packet something in place of a flow, so its state is known before connection tracking.
#[test]
fn the_state_before_tracking() {
    let marks = [(CtStates::NEW, 1), (CtStates::UNTRACKED, 2), (CtStates::INVALID, 4)];
    let mut rules = vec![
        rule(vec![is(Test::Protocol(6))], Target::Ct(Template { helper: Some(HelperKind::Ftp), ..Template::default() })),
        rule(vec![is(Test::Protocol(17))], Target::Ct(Template { notrack: true, ..Template::default() })),
    ];
    let marked = |(states, mark)| rule(vec![is(Test::CtState(states))], Target::Mark { value: mark, mask: mark });
    rules.extend(marks.map(marked));
    let set = RuleSet::build(Family::V4, &[base(Table::Raw, Hook::Prerouting, Policy::Accept, rules)]).unwrap();
    let mark = |mut probe: Probe| {
        Lab::new().ask(&set, Table::Raw, Hook::Prerouting, &mut probe);
        probe.mark
    };
    assert_eq!([mark(tcp_syn()), mark(udp(1, 2, 3, 4)), mark(ipv4(47, 1, 2, &[0; 8]))], [1, 2, 4]);
}

#[test]
fn translations() {
    let range = NatRange { addresses: one(9), ports: Some((1, 2)), ..ANY };
    let mut probe = tcp_syn();
    let mut at = |hook, target| meet(Table::Nat, hook, vec![], target, &mut probe);
    let nat = |manip, range, hairpin| Verdict::Nat { manip, range, hairpin };
    assert_eq!(at(Hook::Postrouting, Target::Snat(range)), nat(Manip::Source, range, false));
    assert_eq!(at(Hook::Prerouting, Target::Dnat { range, hairpin: true }), nat(Manip::Destination, range, true));
    let masquerade = Target::Masquerade { ports: Some((1024, 2000)), random: true };
    let to_wan = NatRange { addresses: one(0xc000_0201), ports: Some((1024, 2000)), random: true, ..ANY };
    assert_eq!(at(Hook::Postrouting, masquerade), nat(Manip::Source, to_wan, false));
    let redirect = || Target::Redirect { ports: Some((3128, 3128)), random: false };
    let to = |address| NatRange { addresses: one(address), ports: Some((3128, 3128)), ..ANY };
    assert_eq!(at(Hook::Prerouting, redirect()), nat(Manip::Destination, to(0x0a00_0001), false));
    assert_eq!(at(Hook::Output, redirect()), nat(Manip::Destination, to(0x7f00_0001), false));
    let netmap = || Target::Netmap { prefix: Address(0x0a01_0000), len: 16 };
    let mapped = NatRange { addresses: Some((Address(0x0a01_0000), Address(0x0a01_ffff))), netmap: Some(16), ..ANY };
    assert_eq!(at(Hook::Prerouting, netmap()), nat(Manip::Destination, mapped, false));
    assert_eq!(at(Hook::Postrouting, netmap()), nat(Manip::Source, mapped, false));
}

#[test]
fn redirect_within_a_link_needs_an_address_of_the_link() {
    let redirected_to = |destination: u128, interface| {
        let mut probe = ipv6(17, &[0; 8]);
        probe.octets[38..54].copy_from_slice(&destination.to_be_bytes());
        probe.in_interface = Some(InterfaceId(interface));
        match meet(Table::Nat, Hook::Prerouting, vec![], Target::Redirect { ports: None, random: false }, &mut probe) {
            Verdict::Nat { range, .. } => range.addresses.map(|(first, _)| first.0),
            verdict => {
                assert_eq!(verdict, Verdict::Drop);
                None
            }
        }
    };
    let (global, link) = (0x2001_0db8 << 96 | 1, 0xfe80 << 112 | 1);
    assert_eq!(redirected_to(0x2001_0db8 << 96 | 9, 1), Some(global));
    assert_eq!(redirected_to(0xfe80 << 112 | 9, 1), Some(link));
    // Interface 2 has an address of another scope only.
    assert_eq!(redirected_to(0xfe80 << 112 | 9, 2), None);
    assert_eq!(redirected_to(0xfec0 << 112 | 9, 1), None, "site-local");
}

#[test]
fn masquerade_without_an_address() {
    let masquerade = || Target::Masquerade { ports: None, random: false };
    let mut nowhere = Probe { out_interface: Some(InterfaceId(3)), ..tcp_syn() };
    assert_eq!(meet(Table::Nat, Hook::Postrouting, vec![], masquerade(), &mut nowhere), Verdict::Drop);
    let mut unspecified = ipv4(17, 0, 0xffff_ffff, &[0; 8]);
    assert_eq!(meet(Table::Nat, Hook::Postrouting, vec![], masquerade(), &mut unspecified), Verdict::Accept);
}

fn log_everything() -> Target {
    let prefix = "new: ".into();
    Target::Log(Box::new(Log { prefix, level: 4, tcp_sequence: true, tcp_options: false, ip_options: false, mac_decode: false }))
}

#[test]
fn a_log_record_has_the_packet() {
    let mut lab = Lab::new();
    let set =
        RuleSet::build(Family::V4, &[base(Table::Filter, Hook::Forward, Policy::Accept, vec![rule(vec![], log_everything())])]).unwrap();
    let mut probe = Probe { mark: 9, ..tcp_syn() };
    lab.ask(&set, Table::Filter, Hook::Forward, &mut probe);
    let record = lab.events.logged.pop().unwrap();
    assert_eq!((record.router, record.prefix(), record.level, record.mark), (RouterId(7), "new: ", 4, 9));
    assert_eq!((record.in_interface, record.out_interface), (Some(InterfaceId(1)), Some(InterfaceId(2))));
    assert_eq!((record.octets(), &record.ethernet[..]), (&probe.octets[14..], &probe.octets[..14]));
    assert_eq!((record.tcp_sequence, record.tcp_options, record.suppressed), (true, false, 0));
}

/// However many packets there are, a worker makes 200 records at once and 100 a second, and says how many are missing.
#[test]
fn a_flood_of_log_records_is_bounded() {
    let mut lab = Lab::new();
    let set =
        RuleSet::build(Family::V4, &[base(Table::Filter, Hook::Forward, Policy::Accept, vec![rule(vec![], log_everything())])]).unwrap();
    let mut flood = |now, packets| {
        let mut records = Vec::new();
        for _ in 0..packets {
            lab.ask(&set, Table::Filter, Hook::Forward, &mut Probe { now, ..tcp_syn() });
            records.extend(lab.events.logged.pop());
        }
        records
    };
    assert_eq!(flood(0, 500).len(), 200);
    let second = flood(1_000_000_000, 500);
    assert_eq!((second.len(), second[0].suppressed), (100, 300));
    assert_eq!(flood(2_000_000_000, 1)[0].suppressed, 400);
}

#[test]
fn a_queue_that_is_full_counts_as_suppressed() {
    let mut lab = Lab::new();
    let set =
        RuleSet::build(Family::V4, &[base(Table::Filter, Hook::Forward, Policy::Accept, vec![rule(vec![], log_everything())])]).unwrap();
    let ask = |lab: &mut Lab, now| lab.ask(&set, Table::Filter, Hook::Forward, &mut Probe { now, ..tcp_syn() });
    (0..300).for_each(|i| assert_eq!(ask(&mut lab, i * 1_000_000_000), Verdict::Accept));
    assert_eq!(core::iter::from_fn(|| lab.events.logged.pop()).count(), 256);
    ask(&mut lab, 301_000_000_000);
    assert_eq!(lab.events.logged.pop().unwrap().suppressed, 44);
}

/// The table of what is valid where, from the kernel's `checkentry` functions.
#[test]
fn where_targets_are_valid() {
    use Hook::{Forward, Input, Output, Postrouting, Prerouting};
    let valid = |target: &Target, matches: &[Match], family| -> Vec<(Table, Hook)> {
        let places = Table::ALL.into_iter().flat_map(|table| table.hooks().iter().map(move |hook| (table, *hook)));
        places.filter(|(table, hook)| check(matches, target, family, *table, HookSet::from_iter([*hook])).is_ok()).collect()
    };
    let at = |table: Table, hooks: &[Hook]| hooks.iter().map(|hook| (table, *hook)).collect::<Vec<_>>();
    let four = |target: Target| valid(&target, &syn_only(), Family::V4);
    let range = NatRange { addresses: one(9), ..ANY };
    assert_eq!(four(Target::Accept).len(), 17);
    assert_eq!(four(Target::Drop).len(), 13, "not in table nat");
    assert_eq!(four(Target::Snat(range)), at(Table::Nat, &[Input, Postrouting]));
    assert_eq!(four(Target::Dnat { range, hairpin: false }), at(Table::Nat, &[Prerouting, Output]));
    assert_eq!(four(Target::Redirect { ports: None, random: false }), at(Table::Nat, &[Prerouting, Output]));
    assert_eq!(four(Target::Masquerade { ports: None, random: false }), at(Table::Nat, &[Postrouting]));
    assert_eq!(four(Target::Netmap { prefix: Address(0), len: 8 }).len(), 4);
    for target in [Target::Dscp(1), Target::Tos { value: 1, mask: 1 }, Target::Ttl(TtlEdit::Set(1))] {
        assert_eq!(four(target), at(Table::Mangle, &Hook::ALL));
    }
    assert_eq!(four(Target::Ct(Template::default())), at(Table::Raw, &[Prerouting, Output]));
    assert_eq!(four(Target::Reject(RejectWith::Unreachable(3))), at(Table::Filter, &[Input, Forward, Output]));
    assert!(four(Target::Reject(RejectWith::Unreachable(4))).is_empty());
    assert_eq!(valid(&Target::Reject(RejectWith::Unreachable(4)), &[], Family::V6).len(), 3);
    assert!(valid(&Target::Reject(RejectWith::TcpReset), &[not(Test::Protocol(6))], Family::V4).is_empty());
    assert!(four(Target::TcpMss(TcpMss::ClampToPmtu)).iter().all(|(_, hook)| [Forward, Output, Postrouting].contains(hook)));
    assert!(valid(&Target::TcpMss(TcpMss::Set(5)), &[is(Test::Protocol(6))], Family::V4).is_empty(), "not of SYNs");
    assert!(four(Target::SynProxy(SynProxy::default())).iter().all(|(_, hook)| [Input, Forward].contains(hook)));
    let tftp = Target::Ct(Template { helper: Some(HelperKind::Tftp), ..Template::default() });
    assert!(four(tftp.clone()).is_empty());
    assert_eq!(valid(&tftp, &[is(Test::Protocol(17))], Family::V4).len(), 2);
}

#[test]
fn where_matches_are_valid() {
    let valid = |test: Test| {
        let at = |hook: &Hook| check(&[is(test.clone())], &Target::None, Family::V4, Table::Mangle, HookSet::from_iter([*hook])).is_ok();
        Hook::ALL.into_iter().filter(at).collect::<Vec<_>>()
    };
    use Hook::{Forward, Input, Prerouting};
    assert_eq!(valid(Test::InInterface(Default::default())), Hook::ALL);
    assert_eq!(valid(Test::OutInterface(Default::default())), Hook::ALL);
    assert_eq!(valid(Test::MacSource(wire::MacAddr::ZERO)), [Prerouting, Input, Forward]);
    assert_eq!(valid(Test::RpFilter { loose: false, accept_local: false }), [Prerouting]);
    assert!(check(&[is(Test::Fragment)], &Target::None, Family::V6, Table::Filter, HookSet::default()).is_err());
}

/// A chain that is reached from the wrong hook is refused, however many jumps away.
#[test]
fn a_target_is_checked_against_every_way_to_its_chain() {
    let chains = |hook| {
        [
            base(Table::Nat, hook, Policy::Accept, vec![rule(vec![], Target::Jump(ChainId(1)))]),
            user(Table::Nat, "A", vec![rule(vec![], Target::None), rule(vec![], Target::Goto(ChainId(2)))]),
            user(Table::Nat, "B", vec![rule(vec![], Target::Masquerade { ports: None, random: false })]),
        ]
    };
    assert!(RuleSet::build(Family::V4, &chains(Hook::Postrouting)).is_ok());
    let text = "target MASQUERADE is valid in POSTROUTING only, and is reached from OUTPUT";
    let error = RuleSet::build(Family::V4, &chains(Hook::Output)).err();
    assert_eq!(error, Some(BuildError::Invalid(ChainId(2), 0, text.into())));
}
