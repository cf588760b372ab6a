//! A flow: on its way to the table, and in it.

use wire::ip_protocol;

use super::sctp::{Sctp, SctpPacket};
use super::settings::{Settings, Timeout, Timeouts};
use super::tcp::{Outcome, Segment, Tcp, TcpState};
use super::{
    Address, ConnId, CtState, Direction, FlowRef, HelperKind, Nanos, PortId, SequenceAdjustment, Status, TICK_SHIFT, Tracking, Tuple, check,
};
use crate::frame::Frame;
use crate::router::address::Family;
use crate::router::checksum;
use crate::router::packet::Packet;

/// Age in ticks from which on UDP in both directions counts as a stream: 2 s, rounded up.
const UDP_STREAM_TICKS: u32 = (2_000_000_000u64 >> TICK_SHIFT) as u32 + 1;

/// The tick a moment lies in. The clock of ticks turns over after 52 days.
#[inline]
pub(super) const fn tick(now: Nanos) -> u32 {
    (now >> TICK_SHIFT) as u32
}

/// The first tick at which `timeout` from `now` on is over.
#[inline]
pub(super) const fn deadline(now: Nanos, timeout: Nanos) -> u32 {
    let timeout = if timeout > Timeouts::MAX { Timeouts::MAX } else { timeout };
    ((now + timeout + (1 << TICK_SHIFT) - 1) >> TICK_SHIFT) as u32
}

/// Nanoseconds until a deadline.
pub(super) const fn left(deadline: u32, now: Nanos) -> Nanos {
    match deadline.wrapping_sub(tick(now)) as i32 {
        ..=0 => 0,
        ticks => (ticks as Nanos) << TICK_SHIFT,
    }
}

/// Whether a deadline has come.
#[inline]
pub(super) const fn is_due(deadline: u32, tick: u32) -> bool {
    deadline.wrapping_sub(tick) as i32 <= 0
}

/// How an expected flow is translated (`nf_nat_follow_master`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedNat {
    /// Source address it gets.
    pub source: Address,
    /// Destination address it gets.
    pub destination: Address,
    /// Destination port it gets.
    pub destination_port: u16,
}

/// A flow that is not in the table yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewFlow {
    /// The port that answers for it.
    pub ingress: PortId,
    /// How it is to be translated, as the flow that announced it said.
    pub nat: Option<ExpectedNat>,
    /// How sequence numbers of the two directions are adjusted.
    pub(super) adjustments: [SequenceAdjustment; 2],
    pub(super) protocol: Protocol,
    /// Nanoseconds it lives without a further packet.
    pub(super) timeout: Nanos,
    /// Its packets and octets are counted.
    pub(super) counted: bool,
    /// Octets of the packet that begins it.
    pub(super) octets: u32,
}

/// What a protocol remembers of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Tcp(Tcp),
    /// UDP: tick from which on it counts as a stream.
    Udp {
        stream: u32,
    },
    UdpLite,
    Icmp,
    Icmpv6,
    Gre,
    Sctp(Sctp),
    Other,
}

/// The upper layer of a packet, as far as flows go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Layer4<'a> {
    Tcp(Segment<'a>),
    Sctp(SctpPacket<'a>),
    Udp,
    Other,
}

impl<'a> Layer4<'a> {
    /// Reads the upper layer, and checks its lengths and, if asked, its checksum; `None` for a packet no flow takes.
    #[inline]
    pub(super) fn parse(packet: &Packet, frame: &'a Frame<'_>, with_checksum: bool) -> Option<Layer4<'a>> {
        match packet.protocol {
            ip_protocol::TCP => {
                let right = !with_checksum || checksum::is_right(packet, frame, packet.l4_len());
                if right { Layer4::parse_tcp(packet, frame).map(Layer4::Tcp) } else { None }
            }
            ip_protocol::UDP => check::udp_is_whole(packet, frame, with_checksum).then_some(Layer4::Udp),
            ip_protocol::UDP_LITE => check::udp_lite_is_whole(packet, frame, with_checksum).then_some(Layer4::Other),
            ip_protocol::SCTP => {
                // The upper layer begins in the head, or its ports would not be known; only SCTP needs to be told where it ends.
                let octets = check::upper_layer(packet, frame);
                SctpPacket::parse(&octets[..octets.len().min(packet.l4_len() as usize)]).map(Layer4::Sctp)
            }
            _ => Some(Layer4::Other),
        }
    }

    /// Reads the header of TCP.
    #[inline(always)]
    pub(super) fn parse_tcp(packet: &Packet, frame: &'a Frame<'_>) -> Option<Segment<'a>> {
        Segment::parse(check::upper_layer(packet, frame), packet.l4_len())
    }
}

impl Protocol {
    /// The flow that a packet begins; `None` if it begins none.
    pub(super) fn begin(tuple: &Tuple, layer4: &Layer4<'_>, settings: &Settings, tick: u32) -> Option<Protocol> {
        Some(match (tuple.protocol, layer4) {
            (_, Layer4::Tcp(segment)) => Protocol::Tcp(Tcp::begin(segment, settings)?),
            (_, Layer4::Sctp(packet)) => Protocol::Sctp(Sctp::begin(packet)?),
            (ip_protocol::UDP, _) => Protocol::Udp { stream: tick.wrapping_add(UDP_STREAM_TICKS) },
            (ip_protocol::UDP_LITE, _) => Protocol::UdpLite,
            (ip_protocol::GRE, _) => Protocol::Gre,
            (ip_protocol::ICMP, _) if tuple.family() == Family::V4 => {
                matches!(tuple.destination_port >> 8, 8 | 13 | 15 | 17).then_some(Protocol::Icmp)?
            }
            (ip_protocol::ICMPV6, _) if tuple.family() == Family::V6 => {
                matches!(tuple.destination_port >> 8, 128).then_some(Protocol::Icmpv6)?
            }
            // ICMP over the other version of IP is nothing.
            (ip_protocol::ICMP | ip_protocol::ICMPV6, _) => return None,
            _ => Protocol::Other,
        })
    }

    /// State, if it is TCP.
    #[inline]
    pub(super) fn tcp_state(&self) -> TcpState {
        if let Protocol::Tcp(tcp) = self { tcp.state } else { TcpState::None }
    }

    /// Takes up a packet of the flow. Of `status` only [`Status::ASSURED`] is set.
    #[inline(always)]
    pub(super) fn packet(
        &mut self,
        layer4: &Layer4<'_>,
        direction: Direction,
        status: &mut Status,
        adjustments: Option<&[SequenceAdjustment; 2]>,
        settings: &Settings,
        tick: u32,
    ) -> Outcome {
        let replied = status.contains(Status::SEEN_REPLY);
        // Those that lost the race for a tuple end soon.
        let may_assure = replied && !status.contains(Status::NAT_CLASH);
        if let (Protocol::Tcp(tcp), Layer4::Tcp(segment)) = (&mut *self, layer4) {
            return tcp.packet(segment, direction, status, adjustments, settings);
        }
        if let (Protocol::Udp { stream }, Layer4::Udp) = (&*self, layer4) {
            if !(replied && is_due(*stream, tick)) {
                return Outcome::Accept(Some(Timeout::Udp));
            }
            if may_assure {
                status.insert(Status::ASSURED);
            }
            return Outcome::Accept(Some(Timeout::UdpStream));
        }
        let timeout = match (self, layer4) {
            (Protocol::Sctp(sctp), Layer4::Sctp(packet)) => {
                return match sctp.packet(packet, direction, status) {
                    Some(timeout) => Outcome::Accept(timeout),
                    None => Outcome::Invalid { shorten: false },
                };
            }
            (Protocol::UdpLite, _) if replied => {
                if may_assure {
                    status.insert(Status::ASSURED);
                }
                Timeout::UdpStream
            }
            (Protocol::UdpLite, _) => Timeout::Udp,
            (Protocol::Gre, _) if replied => {
                if may_assure {
                    status.insert(Status::ASSURED);
                }
                Timeout::GreStream
            }
            (Protocol::Gre, _) => Timeout::Gre,
            (Protocol::Icmp, _) => Timeout::Icmp,
            (Protocol::Icmpv6, _) => Timeout::Icmpv6,
            _ => Timeout::Generic,
        };
        Outcome::Accept(Some(timeout))
    }
}

/// A flow in the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    pub(super) original: Tuple,
    pub(super) reply: Tuple,
    pub(super) protocol: Protocol,
    /// Which of the flows that were in this entry; changes when the flow ends.
    pub(super) generation: u32,
    /// Tick at which it is over.
    pub(super) deadline: u32,
    pub(super) mark: u32,
    /// Lower half of [`Status`], and [`Flow::COUNTED`].
    status: u16,
    pub(super) ingress: PortId,
    pub(super) helper: Option<HelperKind>,
}

impl Flow {
    /// In `status`: packets and octets are counted.
    const COUNTED: u16 = 1 << 15;

    /// No flow: what a free entry holds.
    pub(super) const NONE: Flow = Flow {
        original: Tuple::EMPTY,
        reply: Tuple::EMPTY,
        protocol: Protocol::Other,
        generation: 0,
        deadline: 0,
        mark: 0,
        status: 0,
        ingress: PortId(0),
        helper: None,
    };

    /// Becomes the flow that `tracking` carries.
    pub(super) fn fill(&mut self, tracking: &Tracking, new: &NewFlow, now: Nanos) {
        *self = Flow {
            original: tracking.original,
            reply: tracking.reply,
            protocol: new.protocol,
            generation: self.generation,
            deadline: deadline(now, new.timeout),
            mark: tracking.mark,
            status: tracking.status.0 as u16 & !Flow::COUNTED | if new.counted { Flow::COUNTED } else { 0 },
            ingress: new.ingress,
            helper: tracking.helper,
        };
    }

    /// Whether there is a flow at all.
    #[inline]
    pub(super) fn is_live(&self) -> bool {
        self.status().contains(Status::CONFIRMED)
    }

    /// Whether packets with this tuple are of this flow in this direction.
    #[inline]
    pub(super) fn matches(&self, direction: Direction, tuple: &Tuple) -> bool {
        let own = self.tuple(direction);
        own.small() == tuple.small() && own.source == tuple.source && own.destination == tuple.destination && self.is_live()
    }

    /// The tuple of packets of a direction.
    #[inline]
    pub(super) fn tuple(&self, direction: Direction) -> &Tuple {
        match direction {
            Direction::Original => &self.original,
            Direction::Reply => &self.reply,
        }
    }

    #[inline]
    pub(super) fn status(&self) -> Status {
        Status(u32::from(self.status & !Flow::COUNTED))
    }

    #[inline]
    pub(super) fn set_status(&mut self, status: Status) {
        self.status = self.status & Flow::COUNTED | status.0 as u16 & !Flow::COUNTED;
    }

    #[inline]
    pub(super) fn is_counted(&self) -> bool {
        self.status & Flow::COUNTED != 0
    }

    /// What a packet of the flow is told.
    #[inline]
    pub(super) fn tracking(&self, state: CtState, direction: Direction, index: u32) -> Tracking {
        Tracking {
            state,
            direction,
            status: self.status(),
            mark: self.mark,
            helper: self.helper,
            original: self.original,
            reply: self.reply,
            flow: FlowRef::Known(ConnId { index, generation: self.generation }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_are_never_early_and_turn_over() {
        for now in
            [0, 1, (1 << TICK_SHIFT) - 1, 1 << TICK_SHIFT, u64::from(u32::MAX) << TICK_SHIFT, (u64::from(u32::MAX) + 5) << TICK_SHIFT]
        {
            for timeout in [0, 1, 1_000_000_000, Timeouts::MAX] {
                let end = deadline(now, timeout);
                assert!(!is_due(end, tick(now)) || timeout == 0 || tick(now + timeout) == tick(now), "{now} {timeout}");
                if timeout > 0 {
                    assert!(!is_due(end, tick(now + timeout - 1)), "{now} {timeout}");
                }
                assert!(is_due(end, tick(now + timeout + (1 << TICK_SHIFT))), "{now} {timeout}");
            }
        }
        assert_eq!(deadline(0, u64::MAX), deadline(0, Timeouts::MAX));
    }
}
