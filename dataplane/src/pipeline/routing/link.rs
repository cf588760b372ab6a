//! Between routers and switches: frames that a router sends enter the switch of the interface, and frames for control go to
//! its queue.

use arrayvec::ArrayVec;
use wire::{MacAddr, ethernet};

use super::super::{At, Lane, Lanes, Pipeline, Target};
use super::{Cx, Leaving, Passage, Routing, Step};
use crate::burst::BURST_MAX;
use crate::clock::{Nanos, tick};
use crate::drop_reason::DropReason;
use crate::frame::Frame;
use crate::offload;
use crate::punt::PuntKind;
use crate::router::icmp::IcmpError;
use crate::router::neighbour::{NextHop, Resolved};
use crate::router::packet::Packet;
use crate::router::waiting::{Limits, Ready};
use crate::snapshot::{PortId, Snapshot};
use crate::worker::WorkerEvent;

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
    /// Makes room for the ports of a new configuration.
    pub(in super::super) fn prepare_routing(&mut self, snapshot: &Snapshot) {
        if self.routing.memories.is_empty() && snapshot.routers.iter().any(Option::is_some) {
            self.routing = Routing::full();
            self.arrivals.reserve(2 * BURST_MAX);
        }
        self.routing.routes.clear();
        self.routing.paths_v4.clear();
        self.routing.paths_v6.clear();
        self.routing.punts.prepare(snapshot.ports.len());
    }

    /// Gives control a frame that came to the interface at port `at`.
    #[cold]
    pub(super) fn punt_to_router(&mut self, cx: &Cx<'_>, at: PortId, frame: &Frame<'_>) -> Step {
        let Some(port) = cx.snapshot.port(at) else { return Step::Counted };
        let counters = &port.counters[self.worker];
        if !self.routing.punts.admits(cx.origin, self.time) {
            counters.drop(DropReason::PuntRateLimit);
        } else if self.events.punted_by_routers.push(PuntKind::Whole, at, false, None, frame, self.time) {
            counters.punted.add(1);
        } else {
            counters.drop(DropReason::PuntQueueFull);
        }
        Step::Counted
    }

    /// Lets frames into switches: runs of neighbours for the same port at once.
    pub(super) fn leave(&mut self, cx: &Cx<'_>, leaving: &mut Leaving, frames: &mut [Frame<'_>]) {
        if leaving.is_empty() {
            return;
        }
        for run in leaving.chunk_by(|a, b| a.0 == b.0) {
            let picks: ArrayVec<u8, BURST_MAX> = run.iter().map(|(_, frame)| *frame).collect();
            if let Some(port) = cx.snapshot.port(run[0].0) {
                let counters = &port.counters[self.worker];
                counters.rx_packets.add(picks.len() as u64);
                counters.rx_bytes.add(picks.iter().map(|i| frames[usize::from(*i)].len() as u64).sum());
            }
            self.enter_switch(cx, run[0].0, &picks, frames);
        }
        leaving.clear();
        self.flush_elsewhere(cx.snapshot, frames);
    }

    /// Lets frames of control, which are counted as such, into the switches at the ports of interfaces.
    #[cold]
    pub(in super::super) fn send_from_interfaces(&mut self, snapshot: &Snapshot, entering: &[(PortId, u8)], frames: &mut [Frame<'_>]) {
        let Some((origin, _)) = entering.first().copied() else { return };
        let cx = Cx { snapshot, origin, tick: tick(self.time), hops: 0 };
        for (port, frame) in entering {
            self.enter_switch(&cx, *port, &[*frame], frames);
        }
        self.flush_elsewhere(snapshot, frames);
        self.route_arrivals(&cx, frames);
        self.send_own(&cx);
    }

    /// Lets frames with their Ethernet header into the switch at the port of an interface.
    fn enter_switch(&mut self, cx: &Cx<'_>, from: PortId, picks: &[u8], frames: &[Frame<'_>]) {
        let Cx { snapshot, tick: now, .. } = *cx;
        let Some(port) = snapshot.port(from) else { return };
        let counters = &port.counters[self.worker];
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

    /// Keeps a packet until control knows the MAC address of its next hop.
    #[cold]
    pub(super) fn hold(&mut self, cx: &Cx<'_>, p: &Passage<'_, '_, '_>, hop: NextHop) -> Step {
        let interface = p.router.interface(hop.interface);
        let limits = interface.map_or_else(Limits::default, |interface| interface.waiting[hop.family.index()]);
        let held = self.routing.waiting.hold(hop, p.in_interface, p.frame, limits, self.time);
        if held.ask {
            self.events.push(WorkerEvent::NeighbourNeeded(hop));
        }
        let port = interface.and_then(|interface| cx.snapshot.port(interface.port));
        if let Some(port) = port {
            let counters = &port.counters[self.worker];
            counters.copies.add(held.discarded.into());
            counters.drop_many(DropReason::NeighborQueueFull, held.discarded.into());
        }
        Step::Taken
    }

    /// Whether packets wait for neighbours, fragments for others, or SYNs for their answers, so that [`Pipeline::send_waiting`] is to
    /// be called.
    #[inline]
    pub fn has_waiting(&self) -> bool {
        !self.routing.reassembler.is_empty() || !self.routing.waiting.is_empty() || !self.routing.unsolicited.is_empty()
    }

    /// Sends packets whose neighbours have become known, drops those whose neighbours do not answer, gives up fragments
    /// whose others do not come, and answers SYNs that nobody asked for.
    #[cold]
    pub fn send_waiting(&mut self, snapshot: &Snapshot, tick: u32) {
        self.give_up_fragments(snapshot, tick);
        if !self.routing.unsolicited.is_empty() {
            self.answer_unsolicited(snapshot, tick);
        }
        if self.routing.waiting.is_empty() {
            return;
        }
        let Some(mut memory) = self.routing.memories.pop() else { return };
        self.routing.waiting.settle(self.time, |hop| match snapshot.router(hop.router) {
            Some(router) => router.state.neighbours.view().resolve(hop.interface, hop.family, hop.address),
            None => Resolved::Failed,
        });
        loop {
            let mut ready: ArrayVec<Ready, BURST_MAX> = ArrayVec::new_const();
            let mut burst = memory.burst();
            self.routing.waiting.take(&mut burst, &mut ready);
            for (i, ready) in (0..).zip(&ready) {
                self.send_ready(snapshot, tick, i, ready, burst.frames_mut());
            }
            if burst.is_empty() {
                break;
            }
        }
        self.routing.memories.push(memory);
    }

    /// A packet that waited, whose neighbour is known or does not answer.
    fn send_ready(&mut self, snapshot: &Snapshot, tick: u32, i: u8, ready: &Ready, frames: &mut [Frame<'_>]) {
        let frame = &mut frames[usize::from(i)];
        let router = snapshot.router(ready.hop.router);
        let Some((router, interface)) = router.and_then(|router| Some((router, router.interface(ready.hop.interface)?))) else { return };
        let Some(packet) = Packet::parse(frame, ready.hop.family) else { return };
        let (cx, at) = (Cx { snapshot, origin: interface.port, tick, hops: 0 }, interface.port);
        let mut p = Passage::own(router, at, frame, packet, None);
        let step = match ready.resolved {
            Resolved::Mac(mac) => {
                p.frame.head_mut()[ethernet::DESTINATION].copy_from_slice(&mac.0);
                match p.cut(interface.mtu) {
                    Some(cut) => Step::Cut(at, cut),
                    None => Step::Leave(at),
                }
            }
            Resolved::Unknown | Resolved::Failed => {
                p.in_interface = ready.from;
                self.send_error(&cx, &p, IcmpError::host_unreachable(ready.hop.family));
                Step::Drop(DropReason::NeighborFailed)
            }
        };
        self.settle_own(&cx, step, at, i, frames);
        self.send_own(&cx);
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
