//! Fragments that come to a router: rules and connection tracking see whole packets.

use arrayvec::ArrayVec;
use wire::{MacAddr, Offload, ethernet};

use super::super::Pipeline;
use super::{Arrival, Cx, Passage, Step};
use crate::drop_reason::DropReason;
use crate::frame::Frame;
use crate::router::icmp::{ERROR_MAX_V4, IcmpError};
use crate::router::packet::Packet;
use crate::router::reassembly::{Lost, Outcome, ReassemblyError};
use crate::router::{Family, Router, RouterId};
use crate::snapshot::{PortId, Snapshot};

/// First fragments whose senders are told that the others did not come, in one go. More may time out at once; they are
/// counted, and nobody is told.
type Late = ArrayVec<(RouterId, ArrayVec<u8, { ethernet::HEADER_LEN + ERROR_MAX_V4 }>), 4>;

impl Pipeline {
    /// Keeps a fragment; with the last one, the packet goes on its way.
    #[cold]
    pub(super) fn reassemble<'s>(
        &mut self,
        cx: &Cx<'s>,
        router: &'s Router,
        arrival: &Arrival,
        frame: &mut Frame<'_>,
        packet: &Packet,
    ) -> Step {
        let Some(mut octets) = self.routing.wholes.pop() else { return Step::Drop(DropReason::RouterHops) };
        octets.clear();
        let mut late = Late::new_const();
        let worker = self.worker;
        let outcome = self.routing.reassembler.push(&router.reassembly, router.id, cx.origin, frame, packet, self.time, |lost| {
            give_up(cx.snapshot, worker, &lost, &mut late);
        });
        let step = match outcome {
            Outcome::Held => Step::Taken,
            Outcome::Dropped { error, others } => {
                let reason = reason_of(error);
                count_lost(cx.snapshot, worker, cx.origin, others, reason);
                Step::Drop(reason)
            }
            Outcome::Whole(whole) => {
                octets.extend_from_slice(whole.octets);
                let fragments = (whole.max_fragment_size, whole.dont_fragment);
                self.pass_whole(cx, router, arrival, packet.family, &octets, fragments);
                Step::Taken
            }
        };
        self.routing.wholes.push(octets);
        self.tell_late(cx, &late);
        step
    }

    /// A packet that was put together.
    fn pass_whole<'s>(
        &mut self,
        cx: &Cx<'s>,
        router: &'s Router,
        arrival: &Arrival,
        family: Family,
        octets: &[u8],
        fragments: (u32, bool),
    ) {
        let Some(mut memory) = self.routing.memories.pop() else { return };
        let mut burst = memory.burst();
        burst.push_borrowed(octets, Offload::NONE, None);
        let frames = burst.frames_mut();
        let step = match Packet::parse(&frames[0], family) {
            Some(packet) => {
                let mut p = Passage::new(router, arrival, &mut frames[0], packet);
                p.fragments = Some(fragments);
                self.pass(cx, &mut p)
            }
            None => Step::Drop(DropReason::IpInvalid),
        };
        self.settle_own(cx, step, arrival.at, 0, frames);
        drop(burst);
        self.routing.memories.push(memory);
    }

    /// Gives up fragments whose time is over.
    pub(super) fn give_up_fragments(&mut self, snapshot: &Snapshot, tick: u32) {
        let mut late = Late::new_const();
        let worker = self.worker;
        self.routing.reassembler.expire(self.time, |lost| give_up(snapshot, worker, &lost, &mut late));
        if !late.is_empty() {
            let cx = Cx { snapshot, origin: PortId(u16::MAX), tick, hops: 0 };
            self.tell_late(&cx, &late);
            self.send_own(&cx);
        }
    }

    fn tell_late(&mut self, cx: &Cx<'_>, late: &Late) {
        for (router, octets) in late {
            let (Some(router), Some(mut memory)) = (cx.snapshot.router(*router), self.routing.memories.pop()) else { continue };
            let mut burst = memory.burst();
            burst.push_borrowed(octets, Offload::NONE, None);
            self.tell_one(cx, router, &mut burst.frames_mut()[0]);
            drop(burst);
            self.routing.memories.push(memory);
        }
    }

    fn tell_one<'s>(&mut self, cx: &Cx<'s>, router: &'s Router, frame: &mut Frame<'_>) {
        let Some(header) = frame.ethernet_header() else { return };
        let family = if ethernet::ether_type(header) == ethernet::ETHER_TYPE_IPV4 { Family::V4 } else { Family::V6 };
        let mac = MacAddr::at(&header[ethernet::DESTINATION]);
        let Some((id, interface)) = router.interfaces().find(|(_, interface)| interface.mac == mac) else { return };
        // What is quoted is cut, so that the lengths in the header are not those of the frame.
        let Some(packet) = Packet::parse_quoted(frame, family) else { return };
        let mut p = Passage::own(router, interface.port, frame, packet, None);
        p.in_interface = Some(id);
        self.send_error(cx, &p, IcmpError::reassembly_timeout(family));
    }
}

fn give_up(snapshot: &Snapshot, worker: usize, lost: &Lost<'_>, late: &mut Late) {
    let reason = if lost.timed_out { DropReason::FragmentTimeout } else { DropReason::FragmentMemory };
    count_lost(snapshot, worker, lost.port, lost.fragments, reason);
    if lost.timed_out && !lost.first.is_empty() {
        let _ = late.try_push((lost.router, lost.first.iter().copied().take(ethernet::HEADER_LEN + ERROR_MAX_V4).collect()));
    }
}

/// Counts fragments that were taken before: as ones that came into being anew.
fn count_lost(snapshot: &Snapshot, worker: usize, port: PortId, count: u32, reason: DropReason) {
    if let Some(port) = snapshot.port(port) {
        port.counters[worker].copies.add(count.into());
        port.counters[worker].drop_many(reason, count.into());
    }
}

const fn reason_of(error: ReassemblyError) -> DropReason {
    match error {
        ReassemblyError::Duplicate => DropReason::FragmentDuplicate,
        ReassemblyError::Overlap => DropReason::FragmentOverlap,
        ReassemblyError::NoMemory => DropReason::FragmentMemory,
        ReassemblyError::Malformed
        | ReassemblyError::HeaderCut
        | ReassemblyError::TooLong
        | ReassemblyError::TooManyGaps
        | ReassemblyError::Ecn => DropReason::FragmentInvalid,
    }
}
