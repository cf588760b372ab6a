//! Packets in frames to a group of stations: the router may be one of those they are for, and nothing more.

use super::super::Pipeline;
use super::{Arrival, Cx, Destination, Passage, Step};
use crate::drop_reason::DropReason;
use crate::frame::Frame;
use crate::router::Router;
use crate::router::packet::Packet;

impl Pipeline {
    /// Other interfaces may have the same frame, so it is a copy that rules and translation may edit. Fragments are not put
    /// together: nothing the router answers is that long.
    #[cold]
    pub(super) fn arrive_for_group<'s>(
        &mut self,
        cx: &Cx<'s>,
        router: &'s Router,
        arrival: &Arrival,
        frame: &Frame<'_>,
        packet: Packet,
    ) -> Step {
        if packet.fragment.is_some() {
            return Step::Drop(DropReason::NoListener);
        }
        let Some(mut memory) = self.routing.memories.pop() else { return Step::Drop(DropReason::RouterHops) };
        let mut burst = memory.burst();
        burst.push_parts(frame.head(), frame.body(), frame.offload());
        let frames = burst.frames_mut();
        let mut p = Passage::new(router, arrival, &mut frames[0], packet);
        let step = match self.pass_for_group(cx, &mut p) {
            // The answer is a frame of its own; the one that came is the router's.
            step @ (Step::Leave(_) | Step::Cut(..)) => {
                self.settle_own(cx, step, arrival.at, 0, frames);
                Step::Taken
            }
            step => step,
        };
        drop(burst);
        self.routing.memories.push(memory);
        step
    }

    fn pass_for_group(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>) -> Step {
        let mut pass = || {
            self.prerouting(cx, p)?;
            match self.look_up_route(cx, p)? {
                Destination::Group | Destination::Local => self.deliver(cx, p),
                // A packet for one station in a frame for many is nobody's to forward (RFC 1812 section 5.3.4).
                Destination::Neighbour { .. } => Err(Step::Drop(DropReason::GroupUnicast)),
            }
        };
        pass().unwrap_or_else(|step| step)
    }
}
