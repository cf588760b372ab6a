//! A router in the lab: two switches of two ports each, `lan` (ports 0 and 1) and `wan` (ports 2 and 3), and one interface on
//! each (ports 4 and 5).

use std::sync::Arc;

use dataplane::DropReason;
use dataplane::conntrack::Conntrack;
use dataplane::fdb::EntryKind;
use dataplane::nat::NatState;
use dataplane::router::fib::{Fib, Route, RouteKind};
use dataplane::router::neighbour::Neighbour;
use dataplane::router::{Address, Family, Interface, InterfaceAddress, InterfaceId, InterfaceOf, Router, RouterId, RouterState, RpFilter};
use dataplane::rules::{Chain, ChainKind, Hook, Match, Policy, Rule, RuleSet, RuleState, Table, Target};
use dataplane::snapshot::{Port, PortId, SwitchId};
use std::net::IpAddr;
use wire::checksum::{self, Sum};
use wire::{Ipv4Header, MacAddr, VlanId};

use super::{Lab, mac};

pub const LAN: InterfaceId = InterfaceId(0);
pub const WAN: InterfaceId = InterfaceId(1);
/// Ports of the interfaces.
pub const LAN_PORT: usize = 4;
pub const WAN_PORT: usize = 5;
/// MAC addresses of the interfaces.
pub const LAN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x10]);
pub const WAN_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x20]);

/// An address of either family.
pub fn ip(text: &str) -> Address {
    text.parse::<IpAddr>().unwrap().into()
}

fn own(text: &str) -> InterfaceAddress {
    let (address, len) = text.split_once('/').unwrap();
    let address: IpAddr = address.parse().unwrap();
    InterfaceAddress { family: address.into(), address: address.into(), prefix_len: len.parse().unwrap() }
}

/// A route to a prefix.
pub fn route(prefix: &str, kind: RouteKind) -> Route {
    let prefix = own(prefix);
    Route { prefix: prefix.address, len: prefix.prefix_len, kind, metric: 0 }
}

/// What [`Lab::router`] makes of it.
pub struct RouterLab {
    pub lab: Lab,
    pub routes: Vec<(Family, Route)>,
    pub neighbours: Vec<Neighbour>,
}

impl RouterLab {
    /// Station `n` of the LAN is 192.168.1.n and fd00:1::n with MAC address `mac(n)` at port 0, of the WAN 203.0.113.n and
    /// fd00:2::n at port 2; all are known neighbours up to 9. The router is n = 254, the default route leads to 203.0.113.1.
    pub fn new() -> RouterLab {
        let mut lab = Lab::with_switches(&[2, 2]);
        let interfaces = [
            (LAN_MAC, ["192.168.1.254/24", "fd00:1::fe/64", "fe80::1/64"]),
            (WAN_MAC, ["203.0.113.254/24", "fd00:2::fe/64", "fe80::2/64"]),
        ];
        let connections = Arc::new(Conntrack::new(16_384, 1));
        let mut router = Router::new(RouterId(0), Arc::new(RouterState::new(connections, Arc::new(NatState::new(4096)))));
        for (number, (address, own_addresses)) in (0u8..).zip(interfaces) {
            let (id, switch) = (PortId(4 + u16::from(number)), SwitchId(number.into()));
            let mut port = Port::new(switch, 2);
            (port.learning, port.flood, port.mtu) = (false, false, 65_535);
            port.interface = Some(InterfaceOf { router: RouterId(0), interface: InterfaceId(number) });
            lab.snapshot.ports.push(Some(port));
            let switch = lab.switch(number.into());
            switch.ports = switch.ports.iter().copied().chain([id]).collect();
            switch.fdb.insert(address, VlanId::NONE, id, EntryKind::Static, 0);
            router.interfaces.push(Some(Interface {
                port: id,
                mac: address,
                mtu: 1500,
                addresses: own_addresses.into_iter().map(own).collect(),
                rp_filter: RpFilter::Off,
                waiting: Default::default(),
            }));
        }
        lab.snapshot.routers.push(Some(Arc::new(router)));
        lab.pipeline.prepare(&lab.snapshot);
        let mut this = RouterLab { lab, routes: Vec::new(), neighbours: Vec::new() };
        this.add_route("0.0.0.0/0", RouteKind::Unicast { interface: WAN, via: Some(ip("203.0.113.1")) });
        this.add_route("::/0", RouteKind::Unicast { interface: WAN, via: Some(ip("fd00:2::1")) });
        for n in 1..10u8 {
            for (interface, v4, v6) in [(LAN, "192.168.1.", "fd00:1::"), (WAN, "203.0.113.", "fd00:2::")] {
                let port = if interface == LAN { 0 } else { 2 };
                this.neighbours.extend([(Family::V4, v4), (Family::V6, v6)].map(|(family, net)| Neighbour {
                    interface,
                    family,
                    address: ip(&format!("{net}{n}")),
                    mac: Some(station(interface, n)),
                }));
                this.lab.switch(interface.index()).fdb.insert(station(interface, n), VlanId::NONE, PortId(port), EntryKind::Static, 0);
            }
        }
        this.publish();
        this
    }

    /// The router, for changes.
    pub fn router(&mut self) -> &mut Router {
        self.lab.pipeline.prepare(&self.lab.snapshot);
        Arc::get_mut(self.lab.snapshot.routers[0].as_mut().unwrap()).unwrap()
    }

    pub fn interface(&mut self, id: InterfaceId) -> &mut Interface {
        self.router().interfaces[id.index()].as_mut().unwrap()
    }

    pub fn add_route(&mut self, prefix: &str, kind: RouteKind) {
        let family = own(prefix).family;
        self.routes.push((family, route(prefix, kind)));
        let routes = self.routes.clone();
        let router = self.router();
        let table = |family: Family| {
            let connected = Fib::routes_of(family, router.interfaces());
            Fib::new(family, connected.into_iter().chain(routes.iter().filter(|(f, _)| *f == family).map(|(_, route)| *route)).collect())
        };
        router.fib = [Family::V4, Family::V6].map(table);
    }

    /// Makes the neighbours known to the worker.
    pub fn publish(&mut self) {
        let neighbours = self.neighbours.clone();
        self.router().state.neighbours.publish(&neighbours, 1);
    }

    /// Gives the router these IPv4 rules.
    pub fn rules(&mut self, chains: &[Chain]) {
        self.router().rules[0] = Some(Arc::new(RuleSet::build(Family::V4, chains).unwrap()));
    }

    /// A packet from a station of the LAN to the router's MAC address.
    #[allow(clippy::wrong_self_convention, reason = "a sender, not a conversion")]
    pub fn from_lan(&mut self, packet: &[u8]) {
        self.lab.send(0, &ethernet(LAN_MAC, station(LAN, 1), packet));
    }

    /// A packet from a station of the WAN to the router's MAC address.
    #[allow(clippy::wrong_self_convention, reason = "a sender, not a conversion")]
    pub fn from_wan(&mut self, packet: &[u8]) {
        self.lab.send(2, &ethernet(WAN_MAC, station(WAN, 1), packet));
    }

    /// Packets that stations of an interface got, without their Ethernet headers.
    pub fn got(&self, interface: InterfaceId) -> Vec<Vec<u8>> {
        let port = if interface == LAN { 0 } else { 2 };
        self.lab.out(port).into_iter().map(|frame| frame[14..].to_vec()).collect()
    }

    pub fn drops(&self) -> Vec<(usize, &'static str, u64)> {
        self.lab.all_drops()
    }

    pub fn dropped(&self, port: usize, reason: DropReason) -> u64 {
        self.lab.drops(port, reason)
    }
}

/// MAC address of station `n` at an interface.
pub fn station(interface: InterfaceId, n: u8) -> MacAddr {
    if interface == LAN { mac(n) } else { MacAddr([0x52, 0x54, 0, 0, 1, n]) }
}

/// A frame with a packet.
pub fn ethernet(to: MacAddr, from: MacAddr, packet: &[u8]) -> Vec<u8> {
    let ether_type: [u8; 2] = if packet[0] >> 4 == 4 { [0x08, 0x00] } else { [0x86, 0xdd] };
    let mut octets = [&to.0[..], &from.0, &ether_type, packet].concat();
    octets.resize(octets.len().max(60), 0);
    octets
}

/// An IPv4 packet, TTL 64, DF set.
pub fn ipv4(from: &str, to: &str, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let parse = |text: &str| text.parse::<std::net::Ipv4Addr>().unwrap().octets();
    let len = (20 + payload.len()) as u16;
    let mut octets = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, protocol, 0, 0];
    octets[2..4].copy_from_slice(&len.to_be_bytes());
    octets.extend(parse(from));
    octets.extend(parse(to));
    seal(&mut octets);
    octets.extend(payload);
    octets
}

/// Writes the header checksum of an IPv4 packet.
pub fn seal(packet: &mut [u8]) {
    Ipv4Header::new_checked(packet).unwrap().fill_checksum();
}

/// An IPv6 packet, hop limit 64.
pub fn ipv6(from: &str, to: &str, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let parse = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let mut octets = vec![0x60, 0, 0, 0];
    octets.extend((payload.len() as u16).to_be_bytes());
    octets.extend([next_header, 64]);
    octets.extend(parse(from));
    octets.extend(parse(to));
    octets.extend(payload);
    octets
}

/// A UDP datagram without checksum (IPv4) from port 5000 to 53.
pub fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    let len = (8 + payload.len()) as u16;
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &len.to_be_bytes(), &[0, 0], payload].concat()
}

/// An ICMP echo request with this identifier.
pub fn echo(identifier: u16) -> Vec<u8> {
    let mut octets = vec![8, 0, 0, 0];
    octets.extend(identifier.to_be_bytes());
    octets.extend([0, 1, b'p', b'i', b'n', b'g']);
    let sum = wire::checksum::Sum::of(&octets).checksum();
    octets[2..4].copy_from_slice(&sum.to_be_bytes());
    octets
}

/// Rules of the router: chains in the order of their numbers.
pub fn base(table: Table, hook: Hook, rules: Vec<Rule>) -> Chain {
    let kind = ChainKind::Base { hook, policy: Policy::Accept, state: Arc::new(RuleState::new(1)) };
    Chain { table, name: hook.name().into(), kind, rules }
}

/// A rule.
pub fn rule(matches: Vec<Match>, target: Target) -> Rule {
    Rule { matches, target, state: Arc::new(RuleState::new(1)) }
}

/// Whether the checksums of an IPv4 packet with TCP, UDP or ICMP are right.
pub fn checksums_are_right(packet: &[u8]) -> bool {
    let header = Ipv4Header::new_checked(packet).unwrap();
    let payload = &packet[20..];
    let whole = match header.protocol() {
        1 => Sum::ZERO,
        17 if payload[6..8] == [0, 0] => return header.verify_checksum(),
        protocol => checksum::pseudo_ipv4(header.source(), header.destination(), protocol, payload.len() as u16),
    };
    header.verify_checksum() && whole.add(payload).fold() == 0xffff
}

/// A TCP segment with its checksum, for an IPv4 packet between these addresses.
pub fn tcp(from: (&str, u16), to: (&str, u16), flags: u8, sequence: u32, acknowledgment: u32, payload: &[u8]) -> Vec<u8> {
    let mut segment = [&from.1.to_be_bytes()[..], &to.1.to_be_bytes(), &sequence.to_be_bytes(), &acknowledgment.to_be_bytes()].concat();
    segment.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(payload);
    let pseudo = checksum::pseudo_ipv4(from.0.parse().unwrap(), to.0.parse().unwrap(), 6, segment.len() as u16);
    let sum = pseudo.add(&segment).checksum();
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    ipv4(from.0, to.0, 6, &segment)
}
