//! Packets of known flows and of new ones in [`Conntrack`], in bursts as workers have them, in this process.
//!
//! Only the tracking is timed: frames are made and parsed before, and new flows are deleted after, so that their number stays.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail};
use dataplane::clock::Nanos;
use dataplane::conntrack::{At, ConnId, Conntrack, CtState, FlowRef, Settings as Timeouts, Template, Tracking, Tuple, Zone};
use dataplane::router::packet::Packet;
use dataplane::router::{Family, RouterId};
use dataplane::{BURST_MAX, BurstMemory, PortId};
use wire::{Ipv4Header, Offload, ethernet, ip_protocol, ipv4, udp};

use crate::interrupt;
use crate::memory::resident;
use crate::scenario::random::Numbers;
use crate::scenario::{Sample, Settings};

/// Name of the detail: memory by the number of connections.
pub const OCTETS: &str = "octets_per_connection";

/// Tables whose size in memory is told from the noise of everything else.
const MEASURABLE: u32 = 100_000;
/// New flows in the table at the same time.
const NEW_MAX: u32 = 1024;
/// Not zero, which is before all flows.
const NOW: Nanos = 1 << 40;
const HEADERS: usize = ethernet::HEADER_LEN + ipv4::HEADER_LEN_MIN + udp::HEADER_LEN;

/// One round: packets of new flows, or of the `connections` that there are.
pub(super) fn round(connections: u32, new: bool, settings: &Settings) -> anyhow::Result<Sample> {
    let timeouts = Timeouts::default();
    let before = resident(std::process::id())?;
    let mut table = Tracked::new(connections, &timeouts);
    let mut ids = Vec::with_capacity(NEW_MAX as usize);
    let mut numbers = 0..connections;
    while !numbers.is_empty() {
        interrupt::check()?;
        table.burst(|| numbers.next(), CtState::New, &mut ids)?;
        ids.clear();
    }
    if table.conntrack.count() != connections as usize {
        bail!("{} of {connections} connections are in the table", table.conntrack.count());
    }
    let memory = resident(std::process::id())?.saturating_sub(before);

    table.measure(connections, new, Duration::from_millis(200), &mut ids)?;
    let (packets, elapsed) = table.measure(connections, new, settings.span, &mut ids)?;
    let nanos = elapsed.as_nanos() as f64 / packets as f64;
    let mut sample = Sample::new(if new { 1e6 / nanos } else { nanos }).with("packets", packets as f64);
    if connections >= MEASURABLE {
        sample = sample.with(OCTETS, (memory as f64 / f64::from(connections) * 10.0).round() / 10.0);
    }
    Ok(sample)
}

/// A table of connections, and what it takes to give it packets.
struct Tracked<'t> {
    conntrack: Conntrack,
    at: At<'t>,
    memory: BurstMemory,
}

impl<'t> Tracked<'t> {
    fn new(connections: u32, settings: &'t Timeouts) -> Tracked<'t> {
        let conntrack = Conntrack::new((connections + NEW_MAX) as usize, 1);
        let at = At { settings, router: RouterId(0), worker: 0, ingress: PortId(0), now: NOW, own: false };
        Tracked { conntrack, at, memory: BurstMemory::new() }
    }

    /// Tracks for `span` packets, without the time around them; gives their number and the time they took.
    fn measure(&mut self, connections: u32, new: bool, span: Duration, ids: &mut Vec<ConnId>) -> anyhow::Result<(u64, Duration)> {
        let start = Instant::now();
        let (mut packets, mut elapsed) = (0, Duration::ZERO);
        let mut random = Numbers::new();
        let mut next = connections;
        while start.elapsed() < span {
            interrupt::check()?;
            // As control does.
            self.conntrack.sweep(0, 0, NOW);
            for _ in 0..NEW_MAX as usize / BURST_MAX {
                elapsed += if new {
                    let number = || {
                        // Behind those of the connections that stay, and each time another one.
                        next = next.checked_add(1).unwrap_or(connections);
                        Some(next)
                    };
                    self.burst(number, CtState::New, ids)?
                } else {
                    self.burst(|| Some(random.below(connections) as u32), CtState::Established, ids)?
                };
                packets += BURST_MAX as u64;
            }
            for id in ids.drain(..) {
                self.conntrack.delete(id, NOW);
            }
        }
        Ok((packets, elapsed))
    }

    /// Tracks a burst of packets of these flows, each of which has to be in `state`; gives the time it took, and the new flows.
    /// Those of known flows are answers.
    fn burst(&mut self, mut number: impl FnMut() -> Option<u32>, state: CtState, ids: &mut Vec<ConnId>) -> anyhow::Result<Duration> {
        let mut octets = [[0; HEADERS]; BURST_MAX];
        let mut count = 0;
        for (octets, number) in octets.iter_mut().zip(std::iter::from_fn(&mut number)) {
            datagram(octets, number, state == CtState::Established);
            count += 1;
        }
        let mut burst = self.memory.burst();
        octets[..count].iter().for_each(|octets| burst.push_borrowed(octets, Offload::NONE, None));
        let packets: Option<Vec<Packet>> = burst.frames().iter().map(|frame| Packet::parse(frame, Family::V4)).collect();
        let packets = packets.ok_or_else(|| anyhow!("a packet cannot be parsed"))?;
        let mut trackings = [const { Tracking::none(CtState::Invalid) }; BURST_MAX];
        let tuples: Vec<Tuple> =
            packets.iter().filter_map(|packet| Tuple::of(packet, Zone { router: self.at.router, number: 0 })).collect();
        let start = Instant::now();
        if self.conntrack.is_large() {
            self.conntrack.touch(&tuples);
        }
        for ((tracking, packet), frame) in trackings.iter_mut().zip(&packets).zip(burst.frames()) {
            *tracking = self.conntrack.track(&self.at, &Template::default(), packet, frame);
            // What fails has no number, which is seen below.
            let _ = black_box(self.conntrack.confirm(&self.at, tracking));
        }
        let elapsed = start.elapsed();
        for tracking in &trackings[..count] {
            match tracking.flow {
                FlowRef::Known(id) if tracking.state == state && state == CtState::New => ids.push(id),
                FlowRef::Known(_) if tracking.state == state => {}
                _ => bail!("a packet is {:?} instead of {state:?}: {:?}", tracking.state, tracking.flow),
            }
        }
        Ok(elapsed)
    }
}

/// A datagram without payload and checksum of flow `number`, or its answer.
fn datagram(octets: &mut [u8; HEADERS], number: u32, is_answer: bool) {
    let client = (0x0a00_0000 | number >> 14, 1024 + (number & 0x3fff) as u16);
    let server = (0xc633_6401u32, 53u16);
    let (from, to) = if is_answer { (server, client) } else { (client, server) };
    octets[ethernet::ETHER_TYPE].copy_from_slice(&ethernet::ETHER_TYPE_IPV4.to_be_bytes());
    let (header, datagram) = octets[ethernet::HEADER_LEN..].split_at_mut(ipv4::HEADER_LEN_MIN);
    header[0] = 0x45;
    header[ipv4::TOTAL_LEN].copy_from_slice(&((HEADERS - ethernet::HEADER_LEN) as u16).to_be_bytes());
    header[ipv4::TTL] = 64;
    header[ipv4::PROTOCOL] = ip_protocol::UDP;
    header[ipv4::SOURCE].copy_from_slice(&from.0.to_be_bytes());
    header[ipv4::DESTINATION].copy_from_slice(&to.0.to_be_bytes());
    datagram[udp::SOURCE_PORT].copy_from_slice(&from.1.to_be_bytes());
    datagram[udp::DESTINATION_PORT].copy_from_slice(&to.1.to_be_bytes());
    datagram[udp::LENGTH].copy_from_slice(&(udp::HEADER_LEN as u16).to_be_bytes());
    if let Ok(mut header) = Ipv4Header::new_checked(header) {
        header.fill_checksum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_flows_are_new_and_known_ones_known_and_their_number_stays() {
        let timeouts = Timeouts::default();
        let mut table = Tracked::new(1000, &timeouts);
        let mut ids = Vec::new();
        let mut numbers = 0..1000;
        while !numbers.is_empty() {
            table.burst(|| numbers.next(), CtState::New, &mut ids).unwrap();
        }
        assert_eq!((table.conntrack.count(), ids.len()), (1000, 1000));
        ids.clear();
        for new in [true, false] {
            let (packets, elapsed) = table.measure(1000, new, Duration::from_millis(20), &mut ids).unwrap();
            assert!(packets >= u64::from(NEW_MAX) && elapsed > Duration::ZERO);
            assert_eq!((table.conntrack.count(), ids.len()), (1000, 0));
        }
        assert!(table.burst(|| Some(7), CtState::New, &mut ids).is_err(), "a known flow is not new");
        assert!(table.burst(|| Some(2_000), CtState::Established, &mut ids).is_err(), "an answer to nothing");
    }
}
