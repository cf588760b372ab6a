//! Between routers and switches: frames that a router sends enter the switch of the interface, and frames for control go to
//! its queue.

use wire::{MacAddr, ethernet};

use super::super::{At, Lane, Lanes, Pipeline, Target};
use crate::clock::Nanos;
use crate::drop_reason::DropReason;
use crate::frame::Frame;
use crate::offload;
use crate::punt::PuntKind;
use crate::snapshot::{Port, PortId, Snapshot};

/// Frames for control per second that one port may cause, and at once. A /24 that is scanned causes 254 requests.
const PUNTS_PER_SECOND: u64 = 1000;
const PUNTS_AT_ONCE: u64 = 256;
const PUNT_INTERVAL: Nanos = 1_000_000_000 / PUNTS_PER_SECOND;

/// How many frames each port may still cause for control: the moment up to which its share is used.
#[derive(Default)]
pub(super) struct PuntLimiter {
    used_until: Vec<Nanos>,
}

impl PuntLimiter {
    /// Makes room for ports up to this number.
    pub(super) fn prepare(&mut self, ports: usize) {
        if self.used_until.len() < ports {
            self.used_until.resize(ports, 0);
        }
    }

    /// Whether a frame that came in by `port` may go to control now.
    fn admits(&mut self, port: PortId, now: Nanos) -> bool {
        let Some(used_until) = self.used_until.get_mut(port.index()) else { return false };
        let from = (*used_until).max(now);
        if from - now >= PUNTS_AT_ONCE * PUNT_INTERVAL {
            return false;
        }
        *used_until = from + PUNT_INTERVAL;
        true
    }
}

impl Pipeline {
    /// Gives control a frame that came to an interface at port `at`; `origin` is the port where it came from outside.
    #[cold]
    pub(super) fn punt_to_router(&mut self, origin: PortId, at: PortId, port: &Port, frame: &Frame<'_>) {
        let counters = &port.counters[self.worker];
        if !self.routing.punts.admits(origin, self.time) {
            counters.drop(DropReason::PuntRateLimit);
        } else if self.events.punted_by_routers.push(PuntKind::Whole, at, false, None, frame, self.time) {
            counters.punted.add(1);
        } else {
            counters.drop(DropReason::PuntQueueFull);
        }
    }

    /// Lets frames into the switch at the port of an interface. They have their Ethernet header.
    pub(super) fn enter(&mut self, snapshot: &Snapshot, from: PortId, picks: &[u8], frames: &[Frame<'_>], now: u32) {
        let Some(port) = snapshot.port(from) else { return };
        let counters = &port.counters[self.worker];
        counters.rx_packets.add(picks.len() as u64);
        counters.rx_bytes.add(picks.iter().map(|i| frames[usize::from(*i)].len() as u64).sum());
        let admitted = snapshot.switch(port.switch).filter(|_| port.state.is_enabled());
        let Some(switch) = admitted else {
            return counters.drop_many(DropReason::IngressDisabled, picks.len() as u64);
        };
        let classified = match port.vlan.classify(&[]) {
            Ok(classified) => classified,
            Err(reason) => return counters.drop_many(reason, picks.len() as u64),
        };
        let places = switch.fdb.places();
        let mut lanes = Lanes::new_const();
        for i in picks {
            let frame = &frames[usize::from(*i)];
            let Some(header) = frame.ethernet_header() else { continue };
            let (destination, source) = ethernet::addresses(header);
            lanes.push(Lane {
                source: places.place(source, classified.vlan()),
                destination: places.place(destination, classified.vlan()),
                classified,
                len: frame.len() as u32,
                to: Target::FLOOD,
                frame: *i,
                complete: offload::check(frame).unwrap_or(false),
            });
        }
        self.forward(&At { snapshot, from, port, switch, now, hops: 0 }, frames, &mut lanes);
    }
}

/// Writes the addresses in front of a packet.
#[inline]
pub(super) fn write_ethernet(head: &mut [u8], destination: MacAddr, source: MacAddr, ether_type: u16) {
    head[ethernet::DESTINATION].copy_from_slice(&destination.0);
    head[ethernet::SOURCE].copy_from_slice(&source.0);
    head[12..14].copy_from_slice(&ether_type.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_has_its_share_of_control_and_no_more() {
        let mut punts = PuntLimiter::default();
        punts.prepare(2);
        let second = 1_000_000_000;
        let admitted = |punts: &mut PuntLimiter, port, now| (0..10_000).filter(|_| punts.admits(PortId(port), now)).count() as u64;
        assert_eq!(admitted(&mut punts, 0, second), PUNTS_AT_ONCE);
        assert_eq!(admitted(&mut punts, 0, second), 0);
        assert_eq!(admitted(&mut punts, 1, second), PUNTS_AT_ONCE, "another port has its own share");
        assert_eq!(admitted(&mut punts, 0, second + second / 10), PUNTS_PER_SECOND / 10);
        assert!(!punts.admits(PortId(2), second));
    }
}
