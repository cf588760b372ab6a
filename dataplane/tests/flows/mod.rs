//! UDP packets for a table of connections.

use dataplane::burst::BurstMemory;
use dataplane::conntrack::{At, ConfirmError, Conntrack, Settings, Template, Tracking};
use dataplane::router::{Family, RouterId, packet::Packet};
use dataplane::snapshot::PortId;
use wire::{Ipv4Header, Offload};

/// An Ethernet frame with a datagram without checksum from one end to another, each an address and a port.
pub(crate) fn datagram(source: (u32, u16), destination: (u32, u16)) -> Vec<u8> {
    let mut frame = vec![0; 14 + 28];
    let ip = &mut frame[14..];
    ip[..12].copy_from_slice(&[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0]);
    ip[12..16].copy_from_slice(&source.0.to_be_bytes());
    ip[16..20].copy_from_slice(&destination.0.to_be_bytes());
    ip[20..22].copy_from_slice(&source.1.to_be_bytes());
    ip[22..24].copy_from_slice(&destination.1.to_be_bytes());
    ip[24..26].copy_from_slice(&8u16.to_be_bytes());
    Ipv4Header::new_checked(ip).unwrap().fill_checksum();
    frame
}

pub(crate) fn at(settings: &Settings, worker: usize, ingress: u16, now: u64) -> At<'_> {
    At { settings, router: RouterId(0), worker, ingress: PortId(ingress), now, own: false }
}

/// What the table says of a frame.
pub(crate) fn track(conntrack: &Conntrack, at: &At<'_>, memory: &mut BurstMemory, frame: &[u8]) -> Tracking {
    let mut burst = memory.burst();
    burst.push_borrowed(frame, Offload::NONE, None);
    let frame = &burst.frames()[0];
    let packet = Packet::parse(frame, Family::V4).expect("a whole packet");
    conntrack.track(at, &Template::default(), &packet, frame)
}

/// Tracks and confirms.
pub(crate) fn pass(conntrack: &Conntrack, at: &At<'_>, memory: &mut BurstMemory, frame: &[u8]) -> Result<Tracking, ConfirmError> {
    let mut tracking = track(conntrack, at, memory, frame);
    conntrack.confirm(at, &mut tracking).map(|()| tracking)
}
