//! What routers themselves send: errors, answers, fragments. It is made while a burst is on its way and leaves after it.

use wire::{Offload, ethernet};

use super::super::Pipeline;
use super::{Cx, Leaving, Passage, Step};
use crate::burst::BURST_MAX;
use crate::conntrack::Tracking;
use crate::drop_reason::DropReason;
use crate::frame::Frame;
use crate::router::fragment::{Cut, Fragments};
use crate::router::icmp::ERROR_MAX;
use crate::router::packet::Packet;
use crate::router::{Family, InterfaceId, RouterId};
use crate::snapshot::PortId;

/// Packets of routers that wait at most: more than one for each frame of a burst.
pub(super) const OWN_MAX: usize = 2 * BURST_MAX;

/// Whose packet it is.
#[expect(clippy::large_enum_variant, reason = "it lies in memory that is there anyway")]
pub(super) enum OwnKind {
    /// The router's, to whoever sent a packet of this flow; without one it is tracked by itself.
    Answer(Option<Tracking>),
    /// The router's, of no flow.
    Untracked,
    /// The SYN proxy's in the place of a client, as if it had come in by this interface.
    Client(InterfaceId),
}

/// A packet that a router made.
pub(super) struct OwnPacket {
    pub(super) router: RouterId,
    pub(super) family: Family,
    pub(super) kind: OwnKind,
    /// The interface where the packet came in that it answers: link-local destinations are there.
    pub(super) scope: Option<InterfaceId>,
    /// The port where that packet was counted.
    pub(super) at: PortId,
    /// Octets of the packet behind room for an Ethernet header.
    pub(super) len: usize,
    pub(super) octets: [u8; ethernet::HEADER_LEN + ERROR_MAX],
}

#[expect(clippy::vec_box, reason = "boxes move from one list to the other")]
/// Packets that routers made and have not yet sent. Its memory is there from the start.
pub(super) struct OwnPackets {
    waiting: Vec<Box<OwnPacket>>,
    free: Vec<Box<OwnPacket>>,
}

impl OwnPackets {
    /// Room for `max` packets.
    pub(super) fn new(max: usize) -> OwnPackets {
        let blank = || OwnPacket {
            router: RouterId(0),
            family: Family::V4,
            kind: OwnKind::Untracked,
            scope: None,
            at: PortId(0),
            len: 0,
            octets: [0; ethernet::HEADER_LEN + ERROR_MAX],
        };
        OwnPackets { waiting: Vec::with_capacity(max), free: (0..max).map(|_| Box::new(blank())).collect() }
    }

    /// Adds a packet that `write` makes; it says how long it is, or `None` for no packet after all. When too many wait there is
    /// no packet either: nobody may rely on one.
    pub(super) fn add(&mut self, write: impl FnOnce(&mut OwnPacket) -> Option<usize>) {
        let Some(mut packet) = self.free.pop() else { return };
        match write(&mut packet) {
            Some(len) => {
                packet.len = len;
                self.waiting.push(packet);
            }
            None => self.free.push(packet),
        }
    }
}

impl Pipeline {
    /// Sends what routers have to say. What that leads to in other routers is sent as well.
    #[inline]
    pub(super) fn send_own(&mut self, cx: &Cx<'_>) {
        while !self.routing.own.waiting.is_empty() {
            self.send_oldest(cx);
        }
    }

    #[cold]
    fn send_oldest(&mut self, cx: &Cx<'_>) {
        let mut own = self.routing.own.waiting.remove(0);
        if let (Some(router), Some(mut memory)) = (cx.snapshot.router(own.router), self.routing.memories.pop()) {
            let mut burst = memory.burst();
            burst.push_borrowed(&own.octets[..ethernet::HEADER_LEN + own.len], Offload::NONE, None);
            let frames = burst.frames_mut();
            if let Some(packet) = Packet::parse(&frames[0], own.family) {
                let mut p = Passage::own(router, own.at, &mut frames[0], packet, None);
                let step = match core::mem::replace(&mut own.kind, OwnKind::Untracked) {
                    OwnKind::Client(interface) => {
                        (p.in_interface, p.by_syn_proxy) = (Some(interface), true);
                        self.pass(cx, &mut p)
                    }
                    OwnKind::Answer(tracking) => {
                        p.tracking = tracking.unwrap_or(p.tracking);
                        self.originate(cx, &mut p, own.scope).unwrap_or_else(|step| step)
                    }
                    OwnKind::Untracked => {
                        p.template.notrack = true;
                        self.originate(cx, &mut p, own.scope).unwrap_or_else(|step| step)
                    }
                };
                self.settle_own(cx, step, own.at, 0, frames);
            }
            drop(burst);
            self.routing.memories.push(memory);
        }
        self.routing.own.free.push(own);
    }

    /// Does what is left to do with a frame that did not come in as it is. If it is dropped, it counts as one more frame at the
    /// port that made it come into being; else as one at the port where it enters a switch.
    pub(super) fn settle_own(&mut self, cx: &Cx<'_>, step: Step, at: PortId, i: u8, frames: &mut [Frame<'_>]) {
        let mut leaving = Leaving::new_const();
        if let (Step::Drop(_) | Step::Counted, Some(port)) = (&step, cx.snapshot.port(at)) {
            port.counters[self.worker].copies.add(1);
        }
        self.settle(cx, step, at, i, &mut leaving, frames);
        self.leave(cx, &mut leaving, frames);
        self.route_arrivals(cx, frames);
    }

    /// Cuts the packet in a frame that has its Ethernet header into fragments, which enter the switch at port `to`.
    #[cold]
    pub(super) fn send_fragments(&mut self, cx: &Cx<'_>, to: PortId, frame: &mut Frame<'_>, cut: Cut) -> Result<(), DropReason> {
        let Some(mut memory) = self.routing.memories.pop() else { return Err(DropReason::RouterHops) };
        let Some(mut payload) = self.routing.wholes.pop() else {
            self.routing.memories.push(memory);
            return Err(DropReason::RouterHops);
        };
        let is_v6 = frame.ethernet_header().is_some_and(|header| ethernet::ether_type(header) == ethernet::ETHER_TYPE_IPV6);
        let packet = Packet::parse(frame, if is_v6 { Family::V6 } else { Family::V4 });
        let fragments = packet.as_ref().and_then(|packet| Fragments::new(frame, packet, cut, &mut payload).ok());
        let result = match fragments {
            Some(mut fragments) => {
                let mut more = true;
                while more {
                    let mut burst = memory.burst();
                    more = fragments.next_batch(&mut burst);
                    let mut leaving: Leaving = (0..burst.len() as u8).map(|i| (to, i)).collect();
                    self.leave(cx, &mut leaving, burst.frames_mut());
                    self.route_arrivals(&Cx { hops: cx.hops + 1, ..*cx }, burst.frames_mut());
                }
                Ok(())
            }
            None => Err(DropReason::NotFragmentable),
        };
        self.routing.wholes.push(payload);
        self.routing.memories.push(memory);
        result
    }
}
