//! Routers and their neighbours, with real workers over memory devices: frames go in at ports and come out at ports.

mod support;

use std::net::Ipv4Addr;
use std::time::Duration;

use control::neighbour::Nud;
use dataplane::clock::Clock;
use dataplane::memory::MemoryFrame;
use etherparse::{ArpEthIpv4Packet, ArpOperation, ArpPacketSlice, PacketBuilder};
use proto::router_api::RouterFilter;
use support::{Bench, eventually};
use wire::MacAddr;

const GATEWAY: &str = "
[switch.lan]
[switch.wan]
[port.host]
switch = \"lan\"
[port.up]
switch = \"wan\"
[router.gw]
[router.gw.interface.lan]
switch = \"lan\"
mac = \"02:00:00:00:00:aa\"
address = [\"192.168.45.2/24\"]
[router.gw.interface.wan]
switch = \"wan\"
mac = \"02:00:00:00:00:bb\"
address = [\"203.0.113.2/24\"]
";

const LAN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xaa]);
const WAN: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xbb]);
const HOST: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
const PEER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x22]);
const HOST_IP: Ipv4Addr = Ipv4Addr::new(192, 168, 45, 3);
const PEER_IP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);

fn arp(operation: ArpOperation, from: (MacAddr, Ipv4Addr), to_mac: MacAddr, target: Ipv4Addr) -> Vec<u8> {
    let packet = ArpEthIpv4Packet {
        operation,
        sender_mac: from.0.0,
        sender_ipv4: from.1.octets(),
        target_mac: if to_mac == MacAddr::BROADCAST { [0; 6] } else { to_mac.0 },
        target_ipv4: target.octets(),
    };
    [&to_mac.0[..], &from.0.0, &[8, 6], &packet.to_bytes()].concat()
}

fn as_arp(octets: &[u8]) -> Option<ArpEthIpv4Packet> {
    (octets[12..14] == [8, 6]).then(|| ArpPacketSlice::from_slice(&octets[14..]).unwrap().to_packet().try_eth_ipv4().unwrap())
}

fn udp(from: (MacAddr, Ipv4Addr), to_mac: MacAddr, to: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    let builder = PacketBuilder::ethernet2(from.0.0, to_mac.0).ipv4(from.1.octets(), to.octets(), 64).udp(1000, 2000);
    builder.write(&mut octets, payload).unwrap();
    octets
}

fn give(bench: &Bench, port: &str, octets: Vec<u8>) {
    assert!(bench.devices.world().devices[port].inject(MemoryFrame::new(octets)));
}

/// Runs control without letting time pass until a frame leaves by `port` for which `pick` has an answer.
fn await_frame<T>(bench: &mut Bench, port: &str, what: &str, mut pick: impl FnMut(&[u8]) -> Option<T>) -> T {
    let device = bench.devices.world().devices[port].clone();
    eventually(what, || {
        bench.pass(Duration::ZERO);
        while let Some(frame) = device.take() {
            let picked = pick(&frame.octets);
            if picked.is_some() {
                return picked;
            }
        }
        None
    })
}

fn state(bench: &Bench, address: Ipv4Addr) -> Option<Nud> {
    let mut all = bench.controller.neighbours_of("gw");
    all.find(|(_, status)| status.key.address == address.into()).map(|(_, status)| status.state)
}

fn started() -> Bench {
    let mut bench = Bench::start();
    bench.apply(GATEWAY).unwrap();
    bench
}

#[test]
fn a_router_announces_itself_and_answers() {
    let mut bench = started();
    let announced = await_frame(&mut bench, "host", "an announcement", |octets| as_arp(octets).map(|arp| (octets[..12].to_vec(), arp)));
    assert_eq!(announced.0, [MacAddr::BROADCAST.0, LAN.0].concat());
    assert_eq!((announced.1.sender_ipv4, announced.1.target_ipv4), ([192, 168, 45, 2], [192, 168, 45, 2]));
    let request = arp(ArpOperation::REQUEST, (HOST, HOST_IP), MacAddr::BROADCAST, Ipv4Addr::new(192, 168, 45, 2));
    give(&bench, "host", request);
    let reply = await_frame(&mut bench, "host", "a reply", |octets| as_arp(octets).filter(|arp| arp.operation == ArpOperation::REPLY));
    assert_eq!((reply.sender_mac, reply.target_mac), (LAN.0, HOST.0));
    assert_eq!(state(&bench, HOST_IP), Some(Nud::Stale));
    // Another MAC address is announced again.
    bench.apply(&GATEWAY.replace("00:00:aa", "00:00:ab")).unwrap();
    let mac = await_frame(&mut bench, "host", "an announcement of the new address", |octets| Some(as_arp(octets)?.sender_mac));
    assert_eq!(mac, [2, 0, 0, 0, 0, 0xab]);
}

#[test]
fn packets_wait_for_their_neighbour() {
    let mut bench = started();
    for i in 0..5 {
        give(&bench, "host", udp((HOST, HOST_IP), LAN, PEER_IP, &[i; 400]));
    }
    let asked = |octets: &[u8]| as_arp(octets).filter(|arp| arp.target_ipv4 == PEER_IP.octets());
    let request = await_frame(&mut bench, "up", "a request", asked);
    assert_eq!((request.sender_mac, request.sender_ipv4), (WAN.0, [203, 0, 113, 2]));
    assert_eq!(state(&bench, PEER_IP), Some(Nud::Incomplete));
    give(&bench, "up", arp(ArpOperation::REPLY, (PEER, PEER_IP), WAN, Ipv4Addr::new(203, 0, 113, 2)));
    for i in 0..5 {
        let octets = await_frame(&mut bench, "up", "the packet", |octets| (octets[12..14] == [8, 0]).then(|| octets.to_vec()));
        assert_eq!((&octets[..6], &octets[6..12], octets[22]), (&PEER.0[..], &WAN.0[..], 63));
        assert_eq!(octets[42..], [i; 400]);
    }
    assert_eq!(state(&bench, PEER_IP), Some(Nud::Reachable));
    // The next one needs no question.
    give(&bench, "host", udp((HOST, HOST_IP), LAN, PEER_IP, &[9; 4]));
    await_frame(&mut bench, "up", "the next packet", |octets| octets.ends_with(&[9; 4]).then_some(()));
    // Its use is seen, so that the neighbour is probed when it is no longer certain.
    for _ in 0..60 {
        bench.pass(Duration::from_secs(1));
        give(&bench, "host", udp((HOST, HOST_IP), LAN, PEER_IP, &[9; 4]));
        await_frame(&mut bench, "up", "another packet", |octets| octets.ends_with(&[9; 4]).then_some(()));
        if state(&bench, PEER_IP) == Some(Nud::Probe) {
            return;
        }
    }
    panic!("never probed: {:?}", state(&bench, PEER_IP));
}

#[test]
fn who_sends_to_nobody_is_told() {
    let mut bench = started();
    // The router knows the host, so that it can answer it.
    give(&bench, "host", arp(ArpOperation::REQUEST, (HOST, HOST_IP), MacAddr::BROADCAST, Ipv4Addr::new(192, 168, 45, 2)));
    await_frame(&mut bench, "host", "a reply", |octets| as_arp(octets).filter(|arp| arp.operation == ArpOperation::REPLY));
    let lost = udp((HOST, HOST_IP), LAN, PEER_IP, b"anybody?");
    give(&bench, "host", lost.clone());
    let asked = |octets: &[u8]| as_arp(octets).filter(|arp| arp.target_ipv4 == PEER_IP.octets());
    await_frame(&mut bench, "up", "the first request", asked);
    for which in ["second", "third"] {
        bench.pass(Duration::from_secs(1));
        await_frame(&mut bench, "up", &format!("the {which} request"), asked);
    }
    bench.pass(Duration::from_secs(1));
    assert_eq!(state(&bench, PEER_IP), Some(Nud::Failed));
    let error = await_frame(&mut bench, "host", "an ICMP error", |octets| (octets[12..14] == [8, 0]).then(|| octets.to_vec()));
    assert_eq!((error[23], error[34], error[35]), (1, 3, 1), "destination unreachable: host");
    assert_eq!((&error[26..30], &error[30..34]), (&[192, 168, 45, 2][..], &HOST_IP.octets()[..]));
    assert!(error.ends_with(b"anybody?") && error[54..58] == lost[26..30], "it quotes the packet");
}

#[test]
fn fixed_neighbours_need_no_question() {
    let mut bench = Bench::start();
    let fixed = "[[router.gw.neighbor]]\naddress = \"203.0.113.9\"\ndev = \"wan\"\nlladdr = \"02:00:00:00:00:22\"\n";
    bench.apply(&format!("{GATEWAY}{fixed}")).unwrap();
    assert_eq!(state(&bench, PEER_IP), Some(Nud::Permanent));
    give(&bench, "host", udp((HOST, HOST_IP), LAN, PEER_IP, b"hello"));
    let octets = await_frame(&mut bench, "up", "the packet", |octets| (octets[12..14] == [8, 0]).then(|| octets.to_vec()));
    assert_eq!(octets[..6], PEER.0);
    let infos = bench.controller.neighbor_infos(&RouterFilter { router: Some("gw".into()) }, bench.clock.now());
    let shown: Vec<_> = infos.iter().map(|info| (info.dev.as_str(), info.address, info.lladdr, info.state.as_str())).collect();
    assert_eq!(shown, [("wan", PEER_IP.into(), Some(PEER), "PERMANENT")]);
    bench.apply(GATEWAY).unwrap();
    assert_eq!(state(&bench, PEER_IP), None);
}
