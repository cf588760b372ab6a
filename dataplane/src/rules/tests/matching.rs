//! Each match alone, inverted and not.

use std::sync::Arc;

use wire::MacAddr;

use super::lab::{Lab, Probe, base, catches, ipv4, ipv6, is, not, packets, rule, tcp, tcp_syn, udp};
use crate::conntrack::{CtState, Direction, Status, Tracking};
use crate::router::{Address, Family, InterfaceId};
use crate::rules::{
    AddressTypes, CtStates, Element, End, Hook, IcmpType, InterfaceSet, IpSet, Match, Network, PacketType, Policy, PortRange, Ports,
    RuleSet, SetKind, SetOptions, Statistic, Table, Target, Test, Ttl, Verdict,
};

/// The test holds for the packet, and the inverted one does not.
#[track_caller]
fn holds(test: Test, probe: &Probe) {
    assert!(catches(vec![is(test.clone())], probe), "{test:?}");
    assert!(!catches(vec![not(test.clone())], probe), "! {test:?}");
}

/// The test does not hold for the packet, and the inverted one does.
#[track_caller]
fn fails(test: Test, probe: &Probe) {
    assert!(!catches(vec![is(test.clone())], probe), "{test:?}");
    assert!(catches(vec![not(test.clone())], probe), "! {test:?}");
}

/// Neither the test nor the inverted one holds.
#[track_caller]
fn does_not_apply(test: Test, probe: &Probe) {
    assert!(!catches(vec![is(test.clone())], probe), "{test:?}");
    assert!(!catches(vec![not(test.clone())], probe), "! {test:?}");
}

fn v4(address: u32, mask: u32) -> Network {
    Network::new(Address(address.into()), mask.into())
}

fn range(first: u16, last: u16) -> PortRange {
    PortRange { first, last }
}

fn interfaces(ids: &[u8]) -> InterfaceSet {
    ids.iter().map(|id| InterfaceId(*id)).collect()
}

#[test]
fn protocol() {
    holds(Test::Protocol(6), &tcp_syn());
    fails(Test::Protocol(17), &tcp_syn());
    holds(Test::Protocol(58), &ipv6(58, &[128, 0, 0, 0, 0, 1, 0, 1]));
}

#[test]
fn addresses() {
    let probe = tcp_syn();
    holds(Test::Source(v4(0x0a00_0000, 0xffff_ff00)), &probe);
    fails(Test::Source(v4(0x0a00_0100, 0xffff_ff00)), &probe);
    holds(Test::Source(v4(0x0000_0005, 0x0000_00ff)), &probe);
    fails(Test::Source(v4(0x0000_0006, 0x0000_00ff)), &probe);
    holds(Test::Destination(v4(0xc633_6409, u32::MAX)), &probe);
    fails(Test::Destination(v4(0x0a00_0005, u32::MAX)), &probe);
    holds(Test::Destination(v4(0, 0)), &probe);
    holds(Test::SourceRange(Address(0x0a00_0005), Address(0x0a00_0006)), &probe);
    fails(Test::SourceRange(Address(0x0a00_0006), Address(0x0a00_0009)), &probe);
    holds(Test::DestinationRange(Address(0xc633_6400), Address(0xc633_6409)), &probe);
    fails(Test::DestinationRange(Address(0xc633_6400), Address(0xc633_6408)), &probe);
    let prefix = |address: u128, len: u8| Network::new(Address(address), !Address::host_mask(Family::V6, len));
    let six = ipv6(17, &[0; 8]);
    holds(Test::Source(prefix(0x2001_0db8 << 96, 64)), &six);
    fails(Test::Destination(prefix(0x2001_0db8 << 96, 64)), &six);
}

#[test]
fn in_and_out_interfaces() {
    let probe = tcp_syn();
    holds(Test::InInterface(interfaces(&[1])), &probe);
    holds(Test::InInterface(interfaces(&[0, 1, 200])), &probe);
    fails(Test::InInterface(interfaces(&[2, 65])), &probe);
    holds(Test::OutInterface(interfaces(&[2])), &probe);
    fails(Test::OutInterface(interfaces(&[])), &probe);
    fails(Test::InInterface(interfaces(&[1])), &Probe { in_interface: None, ..probe });
}

#[test]
fn ports_and_lists_of_ports() {
    let probe = tcp_syn();
    holds(Test::Ports(Ports::Destination(range(80, 80))), &probe);
    fails(Test::Ports(Ports::Destination(range(81, 65_535))), &probe);
    holds(Test::Ports(Ports::Source(range(1024, 65_535))), &probe);
    fails(Test::Ports(Ports::Source(range(0, 39_999))), &probe);
    let list = |ranges: &[PortRange]| ranges.to_vec().into_boxed_slice();
    holds(Test::Ports(Ports::MultiDestination(list(&[range(22, 22), range(80, 80), range(443, 443)]))), &probe);
    fails(Test::Ports(Ports::MultiDestination(list(&[range(22, 22), range(443, 443)]))), &probe);
    holds(Test::Ports(Ports::MultiSource(list(&[range(22, 22), range(30_000, 40_000)]))), &probe);
    holds(Test::Ports(Ports::MultiEither(list(&[range(80, 80)]))), &probe);
    holds(Test::Ports(Ports::MultiEither(list(&[range(40_000, 40_000)]))), &probe);
    fails(Test::Ports(Ports::MultiEither(list(&[range(22, 22)]))), &probe);
    holds(Test::Ports(Ports::Destination(range(53, 53))), &udp(1, 5353, 2, 53));
}

/// A fragment behind the first has no ports, whatever is asked of them; neither has a header that is cut.
#[test]
fn fragments_and_cut_headers_match_no_port() {
    let any = || Test::Ports(Ports::Destination(range(0, 65_535)));
    let later = tcp_syn().with(6, &[0, 5]);
    let first = tcp_syn().with(6, &[0x20, 0]);
    does_not_apply(any(), &later);
    holds(any(), &first);
    does_not_apply(any(), &ipv4(6, 1, 2, &[0; 12]));
    does_not_apply(any(), &ipv4(47, 1, 2, &[0; 12]));
    holds(Test::Fragment, &later);
    fails(Test::Fragment, &first);
    fails(Test::Fragment, &tcp_syn());
}

#[test]
fn tcp_flags_and_options() {
    let syn = || Test::TcpFlags { mask: 0x17, compare: 0x02 };
    holds(syn(), &tcp_syn());
    fails(syn(), &tcp(1, 2, 3, 4, 0x12, &[]));
    does_not_apply(syn(), &udp(1, 2, 3, 4));
    let with_options = tcp(1, 2, 3, 4, 2, &[1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0]);
    holds(Test::TcpOption(8), &with_options);
    fails(Test::TcpOption(2), &with_options);
    fails(Test::TcpOption(8), &tcp(1, 2, 3, 4, 2, &[4, 2, 3, 9]));
    does_not_apply(Test::TcpOption(2), &udp(1, 2, 3, 4));
}

#[test]
fn icmp_types_and_codes() {
    let unreachable = ipv4(1, 1, 2, &[3, 4, 0, 0, 0, 0, 5, 0]);
    let icmp = |kind, codes| Test::Icmp(IcmpType { kind, codes });
    holds(icmp(Some(3), (4, 4)), &unreachable);
    holds(icmp(Some(3), (0, 255)), &unreachable);
    holds(icmp(None, (0, 255)), &unreachable);
    fails(icmp(Some(3), (0, 3)), &unreachable);
    fails(icmp(Some(8), (0, 255)), &unreachable);
    does_not_apply(icmp(None, (0, 255)), &tcp_syn());
    holds(icmp(Some(128), (0, 255)), &ipv6(58, &[128, 0, 0, 0, 0, 1, 0, 1]));
}

#[test]
fn states_of_connection_tracking() {
    let in_state = |state| Probe { tracking: Some(Tracking::none(state)), ..tcp_syn() };
    let established = tcp_syn().of_flow(1, Direction::Reply, CtState::Established);
    holds(Test::CtState(CtStates::ESTABLISHED.union(CtStates::RELATED)), &established);
    fails(Test::CtState(CtStates::NEW), &established);
    holds(Test::CtState(CtStates::INVALID), &in_state(CtState::Invalid));
    holds(Test::CtState(CtStates::UNTRACKED), &in_state(CtState::Untracked));
    holds(Test::CtState(CtStates::INVALID), &tcp_syn());
    let mut translated = established;
    fails(Test::CtState(CtStates::DNAT), &translated);
    translated.tracking.as_mut().unwrap().status.insert(Status::DST_NAT);
    holds(Test::CtState(CtStates::DNAT), &translated);
    fails(Test::CtState(CtStates::SNAT), &translated);
}

/// Of a packet without flow nothing is known but its state.
#[test]
fn what_connection_tracking_knows_of_the_flow() {
    let reply = tcp(0xc633_6409, 80, 0x0a00_0005, 40_000, 0x12, &[]).of_flow(1, Direction::Reply, CtState::Established);
    let (client, server) = (v4(0x0a00_0005, u32::MAX), v4(0xc633_6409, u32::MAX));
    let (original, answer) = (Direction::Original, Direction::Reply);
    let tests = [
        (Test::CtProtocol(6), Test::CtProtocol(17)),
        (Test::CtAddress(original, End::Source, client), Test::CtAddress(original, End::Source, server)),
        (Test::CtAddress(original, End::Destination, server), Test::CtAddress(original, End::Destination, client)),
        (Test::CtAddress(answer, End::Source, server), Test::CtAddress(answer, End::Source, client)),
        (Test::CtPort(original, End::Source, range(40_000, 40_000)), Test::CtPort(original, End::Source, range(0, 80))),
        (Test::CtPort(answer, End::Source, range(80, 90)), Test::CtPort(answer, End::Destination, range(80, 90))),
        (Test::CtStatus(Status::CONFIRMED), Test::CtStatus(Status::ASSURED)),
        (Test::CtDirection(answer), Test::CtDirection(original)),
        (Test::CtExpire(0, 0), Test::CtExpire(1, u32::MAX)),
        (Test::ConnMark { value: 0, mask: 0xff }, Test::ConnMark { value: 1, mask: 0xff }),
    ];
    for (right, wrong) in tests {
        holds(right.clone(), &reply);
        fails(wrong, &reply);
        does_not_apply(right.clone(), &tcp_syn());
        does_not_apply(right, &Probe { tracking: Some(Tracking::none(CtState::Untracked)), ..tcp_syn() });
    }
    let mut marked = reply;
    marked.tracking.as_mut().unwrap().mark = 0x1234;
    holds(Test::ConnMark { value: 0x34, mask: 0xff }, &marked);
}

#[test]
fn fields_of_the_packet() {
    let probe = Probe { mark: 0x1234, ..tcp_syn() }.with(1, &[0xb8]);
    holds(Test::Mark { value: 0x1200, mask: 0xff00 }, &probe);
    fails(Test::Mark { value: 0x1234, mask: 0xff00 }, &probe);
    holds(Test::Length(44, 44), &probe);
    fails(Test::Length(45, 65_535), &probe);
    holds(Test::Ttl(Ttl::Equal(64)), &probe);
    holds(Test::Ttl(Ttl::Less(65)), &probe);
    fails(Test::Ttl(Ttl::Less(64)), &probe);
    holds(Test::Ttl(Ttl::Greater(63)), &probe);
    fails(Test::Ttl(Ttl::Greater(64)), &probe);
    holds(Test::Dscp(46), &probe);
    fails(Test::Dscp(45), &probe);
    holds(Test::Tos { value: 0xb8, mask: 0xff }, &probe);
    fails(Test::Tos { value: 0x10, mask: 0x1e }, &probe);
    holds(Test::Length(48, 48), &ipv6(17, &[0; 8]));
}

#[test]
fn link_layer() {
    let probe = tcp_syn();
    holds(Test::MacSource(MacAddr([0x52, 0x54, 0, 0, 0, 5])), &probe);
    fails(Test::MacSource(MacAddr([0x52, 0x54, 0, 0, 0, 1])), &probe);
    holds(Test::PacketType(PacketType::Unicast), &probe);
    let to = |destination: [u8; 6]| {
        let mut probe = tcp_syn();
        probe.octets[..6].copy_from_slice(&destination);
        probe
    };
    holds(Test::PacketType(PacketType::Broadcast), &to([0xff; 6]));
    fails(Test::PacketType(PacketType::Multicast), &to([0xff; 6]));
    holds(Test::PacketType(PacketType::Multicast), &to([1, 0, 0x5e, 0, 0, 1]));
}

#[test]
fn what_the_router_knows() {
    let to_router = tcp(0x0a00_0005, 1, 0xc000_0201, 22, 2, &[]);
    let kind = |end, types, limit_interface| Test::AddressType { end, types, limit_interface };
    holds(kind(End::Destination, AddressTypes::LOCAL, None), &to_router);
    fails(kind(End::Source, AddressTypes::LOCAL, None), &to_router);
    fails(kind(End::Destination, AddressTypes::LOCAL, Some(End::Source)), &to_router);
    holds(kind(End::Destination, AddressTypes::LOCAL, Some(End::Destination)), &to_router);
    holds(kind(End::Destination, AddressTypes::MULTICAST.union(AddressTypes::LOCAL), None), &tcp(1, 2, 0xe000_0001, 3, 2, &[]));
}

#[test]
fn sets() {
    let make = |kind, elements: &[Element]| {
        let set = Arc::new(IpSet::new(SetOptions { kind, family: Family::V4, maxelem: 100, timeout: None }));
        set.add(&elements.iter().map(|element| (*element, None)).collect::<Vec<_>>(), 0).unwrap();
        set
    };
    let asked = |set: &Arc<IpSet>, first, second| Test::Set { set: set.clone(), first, second };
    let (src, dst) = (End::Source, End::Destination);
    let probe = tcp_syn();
    let client = Element { address: Address(0x0a00_0005), ..Element::default() };
    let ip = make(SetKind::HashIp, &[client]);
    holds(asked(&ip, src, None), &probe);
    fails(asked(&ip, dst, None), &probe);
    fails(asked(&ip, src, None), &ipv6(17, &[0; 8]));
    let net = make(SetKind::HashNet, &[Element { prefix_len: 24, ..client }]);
    holds(asked(&net, src, None), &probe);
    fails(asked(&net, dst, None), &probe);
    let web = Element { address: Address(0xc633_6409), protocol: 6, port: 80, prefix_len: 0 };
    let ip_port = make(SetKind::HashIpPort, &[web]);
    holds(asked(&ip_port, dst, Some(dst)), &probe);
    fails(asked(&ip_port, dst, Some(src)), &probe);
    fails(asked(&ip_port, dst, None), &probe);
    let net_port = make(SetKind::HashNetPort, &[Element { prefix_len: 16, ..web }]);
    holds(asked(&net_port, dst, Some(dst)), &probe);
    fails(asked(&net_port, dst, Some(dst)), &probe.clone().with(6, &[0, 5]));
    let mac = make(SetKind::HashMac, &[Element { address: Address(0x5254_0000_0005), ..Element::default() }]);
    holds(asked(&mac, src, None), &probe);
    fails(asked(&mac, dst, None), &probe);
    let ports = make(SetKind::BitmapPort, &[Element { port: 80, ..Element::default() }]);
    holds(asked(&ports, dst, None), &probe);
    fails(asked(&ports, src, None), &probe);
    // An element that goes is gone for the next packet, also of a flow that the cache knows.
    let flow = probe.of_flow(1, Direction::Original, CtState::New);
    holds(asked(&ip, src, None), &flow);
    ip.del(&[client], 0);
    fails(asked(&ip, src, None), &flow);
}

#[test]
fn all_matches_of_a_rule_must_hold() {
    let probe = tcp_syn();
    let web =
        |port| vec![is(Test::Protocol(6)), is(Test::Ports(Ports::Destination(range(port, port)))), not(Test::Source(v4(0, u32::MAX)))];
    assert!(catches(web(80), &probe));
    assert!(!catches(web(81), &probe));
    assert!(catches(Vec::<Match>::new(), &probe));
}

#[test]
fn a_share_of_the_packets() {
    let share = |probability| {
        let mut lab = Lab::new();
        let random = is(Test::Statistic(Statistic::Random(probability)));
        let chain = base(Table::Filter, Hook::Forward, Policy::Accept, vec![rule(vec![random], Target::Drop)]);
        let set = RuleSet::build(Family::V4, core::slice::from_ref(&chain)).unwrap();
        for _ in 0..4000 {
            lab.ask(&set, Table::Filter, Hook::Forward, &mut tcp_syn());
        }
        packets(&chain)[0]
    };
    assert_eq!((share(0), share(1 << 31)), (0, 4000));
    assert!((800..1200).contains(&share(1 << 29)), "a quarter, give or take seven deviations");
}

#[test]
fn reverse_path() {
    let passes = |test: Match, probe: &Probe| {
        let chain = base(Table::Raw, Hook::Prerouting, Policy::Accept, vec![rule(vec![test], Target::Drop)]);
        let set = RuleSet::build(Family::V4, &[chain]).unwrap();
        Lab::new().ask(&set, Table::Raw, Hook::Prerouting, &mut probe.clone()) == Verdict::Drop
    };
    let filter = |loose| Test::RpFilter { loose, accept_local: false };
    let spoofed = Probe { in_interface: Some(InterfaceId(2)), ..tcp_syn() };
    assert!(passes(is(filter(false)), &tcp_syn()) && !passes(not(filter(false)), &tcp_syn()));
    assert!(!passes(is(filter(false)), &spoofed) && passes(not(filter(false)), &spoofed));
    assert!(passes(is(filter(true)), &spoofed));
}
