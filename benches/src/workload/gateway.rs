//! A router that masquerades between two ports, with flows through it that are established: both ends have sent.

use std::net::Ipv4Addr;
use std::sync::Arc;

use dataplane::conntrack::Conntrack;
use dataplane::fdb::{EntryKind, Fdb};
use dataplane::nat::NatState;
use dataplane::pipeline::Pipeline;
use dataplane::router::fib::{Fib, Route, RouteKind};
use dataplane::router::neighbour::Neighbour;
use dataplane::router::{Address, Family, Interface, InterfaceAddress, InterfaceId, InterfaceOf, Router, RouterId, RouterState, RpFilter};
use dataplane::rules::{Chain, ChainKind, Hook, Match, Policy, Rule, RuleSet, RuleState, Table, Target, Test};
use dataplane::{Burst, BurstMemory, Port, PortCounters, PortId, Snapshot, Switch, SwitchId};
use wire::checksum::pseudo_ipv4;
use wire::{Ipv4Header, MacAddr, Offload, VlanId, ethernet, ip_protocol, ipv4};

use super::{AGEING, FDB_SIZE, FRAME_LEN, station};

const FLOWS_MAX: usize = 4_096;
const LAN: InterfaceId = InterfaceId(0);
const WAN: InterfaceId = InterfaceId(1);
/// By interface.
const MACS: [MacAddr; 2] = [MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])];
const OWN: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 255, 254), Ipv4Addr::new(203, 0, 113, 254)];
/// The next router, at the second port.
const PROVIDER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
const GUEST_PORT: u16 = 40_000;
const SERVER_PORT: u16 = 4_433;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// Sequence numbers that the ends begin with.
const GUEST_ISN: u32 = 1_000;
const SERVER_ISN: u32 = 2_000_000_000;

/// Makes the router, its flows from the first port to the second, and the frames of these flows.
///
/// # Errors
///
/// A flow that is not established.
pub(super) fn gateway(pipeline: &mut Pipeline, protocol: u8, flows: u16) -> Result<(Snapshot, Vec<Vec<u8>>), String> {
    let mut snapshot = snapshot(flows)?;
    pipeline.prepare(&snapshot);
    let mut run = |from: PortId, frames: Vec<Vec<u8>>| {
        let mut memory = BurstMemory::new();
        for frame in &frames {
            let mut burst: Burst<'_> = memory.burst();
            burst.push_borrowed(frame, Offload::NONE, None);
            pipeline.run(&snapshot, from, &mut burst, 1);
        }
    };
    let (syn, syn_ack) = ((SYN, GUEST_ISN, 0), (SYN | ACK, SERVER_ISN, GUEST_ISN + 1));
    run(PortId(0), (0..flows).map(|flow| frame(true, flow, protocol, syn, &[])).collect());
    run(PortId(1), (0..flows).map(|flow| frame(false, flow, protocol, syn_ack, &[])).collect());
    // Two segments of each flow in turn, so that none looks like the one before, sent again.
    let segments = if protocol == ip_protocol::TCP { 2 } else { 1 };
    let segment = |i: u32, flow| {
        let header = if protocol == ip_protocol::TCP { 20 } else { 8 };
        let payload = [0xa5; FRAME_LEN - ethernet::HEADER_LEN - ipv4::HEADER_LEN_MIN];
        let payload = &payload[header..];
        frame(true, flow, protocol, (ACK, GUEST_ISN + 1 + i * payload.len() as u32, SERVER_ISN + 1), payload)
    };
    let frames: Vec<_> = (0..segments).flat_map(|i| (0..flows).map(move |flow| segment(i, flow))).collect();
    run(PortId(0), frames.clone());
    let sent = |port: usize| snapshot.ports[port].as_ref().map_or(0, |port| port.counters[0].tx_packets.get());
    let expected = [u64::from(flows), u64::from(flows) * (1 + u64::from(segments))];
    if [sent(0), sent(1)] != expected {
        return Err(format!("{} and {} frames passed in and out of the router, expected {expected:?}", sent(0), sent(1)));
    }
    for port in snapshot.ports.iter_mut().flatten() {
        port.counters = [PortCounters::default()].into();
    }
    Ok((snapshot, frames))
}

/// Ports 0 and 1 have a switch each, where ports 2 and 3 are the interfaces.
fn snapshot(flows: u16) -> Result<Snapshot, String> {
    let mut snapshot = Snapshot::default();
    let state = RouterState::new(Arc::new(Conntrack::new(FLOWS_MAX, 1)), Arc::new(NatState::new(FLOWS_MAX)));
    let mut router = Router::new(RouterId(0), Arc::new(state));
    for (number, len) in [(0u8, 16), (1, 24)] {
        let (id, interface) = (PortId(2 + u16::from(number)), InterfaceId(number));
        let (own, mac) = (OWN[usize::from(number)], MACS[usize::from(number)]);
        let fdb = Fdb::new(FDB_SIZE);
        fdb.insert(mac, VlanId::NONE, id, EntryKind::Static, 1);
        snapshot.switches.push(Some(Switch {
            fdb: Arc::new(fdb),
            ports: [PortId(number.into()), id].into(),
            ageing: AGEING,
            hub: false,
            group_fwd_mask: 0,
        }));
        let address = InterfaceAddress { family: Family::V4, address: Address::from(own), prefix_len: len };
        router.interfaces.push(Some(Interface {
            port: id,
            mac,
            mtu: 1500,
            addresses: vec![address],
            rp_filter: RpFilter::Off,
            waiting: Default::default(),
        }));
        snapshot.ports.insert(usize::from(number), Some(Port::new(SwitchId(number.into()), 1)));
        let mut port = Port::new(SwitchId(number.into()), 1);
        (port.learning, port.flood) = (false, false);
        port.interface = Some(InterfaceOf { router: RouterId(0), interface });
        snapshot.ports.push(Some(port));
    }
    let default = Route {
        prefix: Address::from(Ipv4Addr::UNSPECIFIED),
        len: 0,
        kind: RouteKind::Unicast { interface: WAN, via: Some(PROVIDER.into()) },
        metric: 0,
    };
    router.fib[Family::V4.index()] =
        Fib::new(Family::V4, Fib::routes_of(Family::V4, router.interfaces()).into_iter().chain([default]).collect());
    let neighbour =
        |interface, address: Ipv4Addr, mac| Neighbour { interface, family: Family::V4, address: address.into(), mac: Some(mac) };
    let mut neighbours: Vec<_> = (0..flows).map(|flow| neighbour(LAN, guest(flow), station(0, flow))).collect();
    neighbours.push(neighbour(WAN, PROVIDER, station(1, 0)));
    router.state.neighbours.publish(&neighbours, 0x9e37_79b9_7f4a_7c15);
    let masquerade = Rule {
        matches: vec![Match { invert: false, test: Test::OutInterface([WAN].into_iter().collect()) }],
        target: Target::Masquerade { ports: None, random: false },
        state: Arc::new(RuleState::new(1)),
    };
    let kind = ChainKind::Base { hook: Hook::Postrouting, policy: Policy::Accept, state: Arc::new(RuleState::new(1)) };
    let chain = Chain { table: Table::Nat, name: Hook::Postrouting.name().into(), kind, rules: vec![masquerade] };
    let rules = RuleSet::build(Family::V4, &[chain]).map_err(|error| format!("{error:?}"))?;
    router.rules[Family::V4.index()] = Some(Arc::new(rules));
    snapshot.routers.push(Some(Arc::new(router)));
    Ok(snapshot)
}

fn guest(flow: u16) -> Ipv4Addr {
    let [high, low] = flow.to_be_bytes();
    Ipv4Addr::new(10, 0, high, low + u8::from(high == 0 && low == 0))
}

/// A frame of a flow, from the guest to the router or from the server to what the router made of the guest's address. The
/// flags, the sequence number and the acknowledgment are for TCP.
fn frame(from_guest: bool, flow: u16, protocol: u8, (flags, sequence, acknowledgment): (u8, u32, u32), payload: &[u8]) -> Vec<u8> {
    let [high, low] = flow.to_be_bytes();
    let server = (Ipv4Addr::new(198, 51, high, low), SERVER_PORT);
    // Ports differ, so that each flow keeps its own behind the one address of the router.
    let port = GUEST_PORT + flow;
    let (from, to) = if from_guest { ((guest(flow), port), server) } else { (server, (OWN[1], port)) };
    let mut segment = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    let checksum_at = if protocol == ip_protocol::TCP {
        segment.extend([sequence.to_be_bytes(), acknowledgment.to_be_bytes()].concat());
        // Data offset: five words. Window 65535.
        segment.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        16
    } else {
        segment.extend((8 + payload.len() as u16).to_be_bytes());
        segment.extend([0, 0]);
        6
    };
    segment.extend(payload);
    let sum = pseudo_ipv4(from.0, to.0, protocol, segment.len() as u16).add(&segment).nonzero_checksum();
    segment[checksum_at..checksum_at + 2].copy_from_slice(&sum.to_be_bytes());

    let len = (ipv4::HEADER_LEN_MIN + segment.len()) as u16;
    let mut header = vec![0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, protocol, 0, 0];
    header[ipv4::TOTAL_LEN].copy_from_slice(&len.to_be_bytes());
    header.extend([from.0.octets(), to.0.octets()].concat());
    if let Ok(mut header) = Ipv4Header::new_checked(&mut header[..]) {
        header.fill_checksum();
    }
    let (to, from) = if from_guest { (MACS[0], station(0, flow)) } else { (MACS[1], station(1, 0)) };
    let mut octets = [&to.0[..], &from.0, &ethernet::ETHER_TYPE_IPV4.to_be_bytes(), &header, &segment].concat();
    octets.resize(octets.len().max(FRAME_LEN), 0);
    octets
}
