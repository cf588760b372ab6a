//! A table with a clock, and packets to give it.

use wire::{Ipv4Header, Offload};

use super::super::*;
use crate::burst::BurstMemory;
use crate::router::address::Family;
use crate::router::packet::Packet;

pub(super) const SECOND: Nanos = 1_000_000_000;
pub(super) const CLIENT: [u8; 4] = [10, 0, 0, 1];
pub(super) const SERVER: [u8; 4] = [192, 0, 2, 1];

/// An IPv4 packet with a right header checksum.
pub(super) fn ipv4(protocol: u8, source: [u8; 4], destination: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut octets = vec![0x45, 0, 0, 0, 0, 7, 0x40, 0, 64, protocol, 0, 0];
    octets.extend([source, destination].concat());
    octets[2..4].copy_from_slice(&((20 + payload.len()) as u16).to_be_bytes());
    Ipv4Header::new_checked(&mut octets[..]).unwrap().fill_checksum();
    [&octets, payload].concat()
}

pub(super) fn ipv6(protocol: u8, source: u128, destination: u128, payload: &[u8]) -> Vec<u8> {
    let mut octets = [0x60, 0, 0, 0, 0, 0, protocol, 64];
    octets[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    [&octets[..], &source.to_be_bytes(), &destination.to_be_bytes(), payload].concat()
}

/// Fills in the checksum of TCP, UDP, ICMP or ICMPv6 at `at` in the upper layer.
pub(super) fn with_checksum(mut packet: Vec<u8>, at: usize) -> Vec<u8> {
    use wire::checksum::{Sum, pseudo_ipv4, pseudo_ipv6};
    let v4 = packet[0] >> 4 == 4;
    let l4 = if v4 { 20 } else { 40 };
    let len = packet.len() - l4;
    let pseudo = if v4 && packet[9] == 1 {
        Sum::ZERO
    } else if v4 {
        let [a, b] = [12, 16].map(|i| <[u8; 4]>::try_from(&packet[i..i + 4]).unwrap().into());
        pseudo_ipv4(a, b, packet[9], len as u16)
    } else {
        let [a, b] = [8, 24].map(|i| <[u8; 16]>::try_from(&packet[i..i + 16]).unwrap().into());
        pseudo_ipv6(a, b, packet[6], len as u32)
    };
    packet[l4 + at..l4 + at + 2].fill(0);
    let sum = pseudo.add(&packet[l4..]).nonzero_checksum();
    packet[l4 + at..l4 + at + 2].copy_from_slice(&sum.to_be_bytes());
    packet
}

pub(super) fn ports(source: u16, destination: u16) -> [u8; 4] {
    let [a, b] = source.to_be_bytes();
    let [c, d] = destination.to_be_bytes();
    [a, b, c, d]
}

pub(super) fn udp(source: ([u8; 4], u16), destination: ([u8; 4], u16), payload: &[u8]) -> Vec<u8> {
    let len = ((8 + payload.len()) as u16).to_be_bytes();
    let datagram = [&ports(source.1, destination.1)[..], &len, &[0, 0], payload].concat();
    with_checksum(ipv4(17, source.0, destination.0, &datagram), 6)
}

pub(super) fn icmp(source: [u8; 4], destination: [u8; 4], kind: u8, code: u8, rest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    with_checksum(ipv4(1, source, destination, &[&[kind, code, 0, 0][..], &rest, payload].concat()), 2)
}

pub(super) struct Lab {
    pub(super) conntrack: Conntrack,
    pub(super) settings: Settings,
    pub(super) template: Template,
    pub(super) now: Nanos,
    pub(super) ingress: u16,
    pub(super) offload: Offload,
    memory: Box<BurstMemory>,
}

impl Lab {
    pub(super) fn new(max: usize) -> Lab {
        Lab {
            conntrack: Conntrack::new(max, 1),
            settings: Settings::default(),
            template: Template::default(),
            now: 1_000 * SECOND,
            ingress: 0,
            offload: Offload::NONE,
            memory: Box::new(BurstMemory::new()),
        }
    }

    pub(super) fn at<'a>(settings: &'a Settings, ingress: u16, now: Nanos) -> At<'a> {
        At { settings, router: RouterId(1), worker: 0, ingress: PortId(ingress), now, own: false }
    }

    pub(super) fn wait(&mut self, seconds: u64) {
        self.now += seconds * SECOND;
    }

    pub(super) fn track(&mut self, packet: &[u8]) -> Tracking {
        let family = if packet[0] >> 4 == 4 { Family::V4 } else { Family::V6 };
        let frame = [&[0; 14], packet].concat();
        let mut burst = self.memory.burst();
        burst.push_borrowed(&frame, self.offload, None);
        let frame = &burst.frames()[0];
        let packet = Packet::parse(frame, family).expect("a whole packet");
        let at = Lab::at(&self.settings, self.ingress, self.now);
        self.conntrack.track(&at, &self.template, &packet, frame)
    }

    pub(super) fn confirm(&mut self, tracking: &mut Tracking) -> Result<(), ConfirmError> {
        let at = Lab::at(&self.settings, self.ingress, self.now);
        self.conntrack.confirm(&at, tracking)
    }

    /// Tracks and confirms.
    pub(super) fn pass(&mut self, packet: &[u8]) -> Tracking {
        let mut tracking = self.track(packet);
        self.confirm(&mut tracking).expect("room");
        tracking
    }

    pub(super) fn state(&mut self, packet: &[u8]) -> CtState {
        self.pass(packet).state
    }

    pub(super) fn flows(&self) -> Vec<FlowInfo> {
        let mut flows = Vec::new();
        let mut cursor = Some(0);
        while let Some(at) = cursor {
            cursor = self.conntrack.list(at, 3, self.now, |flow| flows.push(*flow));
        }
        flows
    }

    /// The only flow.
    pub(super) fn flow(&self) -> FlowInfo {
        let flows = self.flows();
        assert_eq!(flows.len(), 1, "{flows:?}");
        flows[0]
    }

    pub(super) fn stats(&self) -> Stats {
        self.conntrack.stats()[0]
    }
}
