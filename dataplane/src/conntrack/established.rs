//! Packets of established flows whose place in the table is known: whoever sends them on has seen the flow before, and remembers its
//! number, direction and status. As long as these are the same, so is everything that was decided for the flow.

use wire::ip_protocol;
use wire::tcp::{ACK, FIN, RST, SYN};

use super::flow::{self, Layer4, Protocol};
use super::tcp::{Segment, Tcp, TcpState};
use super::track::Met;
use super::{At, ConnId, Conntrack, CtState, Direction, FlowRef, Status, Tracking};
use crate::sync::Ordering;

/// Flags of TCP that decide what a segment is for its flow.
pub(crate) const DECISIVE_FLAGS: u8 = (FIN | SYN | RST | ACK) as u8;

/// A direction of a flow as it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) id: ConnId,
    pub(crate) status: Status,
    pub(crate) direction: Direction,
}

impl Known {
    /// No flow: none has this status.
    pub(crate) const NONE: Known =
        Known { id: ConnId { index: u32::MAX, generation: 0 }, status: Status(0), direction: Direction::Original };
}

/// What became of a packet that may be of a known flow.
#[expect(clippy::large_enum_variant, reason = "the large one is rare, and a box would be an allocation")]
pub(crate) enum Taken {
    /// The flow has taken it up, and is as it was.
    Same,
    /// The flow has taken it up, and is another now, or the packet is not of the flow.
    Otherwise(Tracking),
    /// Nothing was done: the flow is gone, or is not as it was.
    No,
}

impl Conntrack {
    /// Takes up a whole packet with the tuple of a flow, which was established: of UDP, or of TCP as `segment` reads it, if that begins and
    /// ends nothing. The checksum was checked, as far as it has to be.
    #[inline(always)]
    pub(crate) fn take_known<'a>(&self, at: &At<'_>, known: &Known, octets: u32, segment: impl FnOnce() -> Option<Segment<'a>>) -> Taken {
        let Known { id, status, direction } = *known;
        let Some(mut flow) = self.table.lock(id.index) else { return Taken::No };
        // A flow that is in the table has a status, and one that left it another.
        let same = flow.generation == id.generation && flow.status() == status && !flow::is_due(flow.deadline, flow::tick(at.now));
        if !same || self.watched.load(Ordering::Relaxed) {
            return Taken::No;
        }
        let layer4 = match &flow.protocol {
            Protocol::Udp { .. } => Layer4::Udp,
            Protocol::Tcp(Tcp { state: TcpState::Established, .. }) => match segment() {
                Some(segment) if segment.is_plain() => Layer4::Tcp(segment),
                _ => return Taken::No,
            },
            _ => return Taken::No,
        };
        match self.take_up(at, &mut flow, id.index, direction, &layer4, octets) {
            Met::Belongs(_) if flow.status() == status => Taken::Same,
            met => self.conclude(at, flow, id.index, direction, met).map_or(Taken::No, Taken::Otherwise),
        }
    }
}

impl Tracking {
    /// The direction of the flow, if it is established, of TCP or UDP, and nothing but rules and translation looks at its packets.
    pub(crate) fn known(&self) -> Option<Known> {
        const OTHERS: Status = Status(
            Status::SEQ_ADJUST.0 | Status::SYN_PROXY.0 | Status::HELPER.0 | Status::NAT_CLASH.0 | Status::DYING.0 | Status::FIXED_TIMEOUT.0,
        );
        let FlowRef::Known(id) = self.flow else { return None };
        let plain = matches!(self.original.protocol, ip_protocol::TCP | ip_protocol::UDP)
            && self.state == CtState::Established
            && self.helper.is_none()
            && !self.status.intersects(OTHERS);
        plain.then_some(Known { id, status: self.status, direction: self.direction })
    }
}
