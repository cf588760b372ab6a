//! A flow: on its way to the table, and in it.

use wire::ip_protocol;

use super::sctp::{Sctp, SctpPacket};
use super::settings::{Settings, Timeout, Timeouts};
use super::tcp::{Outcome, Segment, Tcp, TcpState};
use super::{
    Address, ConnId, CtState, Direction, FlowRef, HelperKind, Nanos, PortId, SequenceAdjustment, Status, TICK_SHIFT, Tracking, Tuple,
};
use crate::router::address::Family;
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
    Other,
}

impl<'a> Layer4<'a> {
    /// Reads the upper layer; `None` for a packet no flow takes.
    #[inline]
    pub(super) fn parse(packet: &Packet, head: &'a [u8]) -> Option<Layer4<'a>> {
        let octets = || {
            let octets = head.get(usize::from(packet.l4)..).unwrap_or(&[]);
            &octets[..octets.len().min(packet.l4_len() as usize)]
        };
        match packet.protocol {
            ip_protocol::TCP => Segment::parse(octets(), packet.l4_len()).map(Layer4::Tcp),
            ip_protocol::SCTP => SctpPacket::parse(octets()).map(Layer4::Sctp),
            _ => Some(Layer4::Other),
        }
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
            (ip_protocol::ICMP, _) if tuple.family == Family::V4 => {
                matches!(tuple.destination_port >> 8, 8 | 13 | 15 | 17).then_some(Protocol::Icmp)?
            }
            (ip_protocol::ICMPV6, _) if tuple.family == Family::V6 => {
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
    #[inline]
    pub(super) fn packet(
        &mut self,
        layer4: &Layer4<'_>,
        direction: Direction,
        status: &mut Status,
        adjustments: Option<&[SequenceAdjustment; 2]>,
        settings: &Settings,
        tick: u32,
    ) -> Outcome {
        let timeouts = &settings.timeouts;
        let replied = status.contains(Status::SEEN_REPLY);
        // Those that lost the race for a tuple end soon.
        let may_assure = replied && !status.contains(Status::NAT_CLASH);
        let timeout = match (self, layer4) {
            (Protocol::Tcp(tcp), Layer4::Tcp(segment)) => {
                return tcp.packet(segment, direction, status, adjustments, settings);
            }
            (Protocol::Sctp(sctp), Layer4::Sctp(packet)) => {
                return match sctp.packet(packet, direction, status, settings) {
                    Some(timeout) => Outcome::Accept(timeout),
                    None => Outcome::Invalid { shorten: false },
                };
            }
            (Protocol::Udp { stream }, _) => {
                if replied && is_due(*stream, tick) {
                    if may_assure {
                        status.insert(Status::ASSURED);
                    }
                    Timeout::UdpStream
                } else {
                    Timeout::Udp
                }
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
        Outcome::Accept(Some(timeouts[timeout]))
    }
}

/// A flow in the table. With its lock in front it takes three cache lines: an IPv4 packet of a known flow needs the first
/// (who) and the second (state), and the third for IPv6 and helpers.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Flow {
    /// Which of the flows that were in this entry; changes when the flow ends.
    pub(super) generation: u32,
    /// Tick at which it is over.
    pub(super) deadline: u32,
    /// Lower half of [`Status`], and [`Flow::COUNTED`].
    status: u16,
    ingress: u16,
    /// Source and destination port, by direction.
    ports: [[u16; 2]; 2],
    zone: u16,
    number: u8,
    family: u8,
    /// Lower halves of source and destination address, by direction.
    low: [[u64; 2]; 2],
    pub(super) protocol: Protocol,
    pub(super) mark: u32,
    helper: u8,
    high: [[u64; 2]; 2],
    pub(super) adjustments: [SequenceAdjustment; 2],
}

impl Flow {
    /// In `status`: packets and octets are counted.
    const COUNTED: u16 = 1 << 15;

    /// No flow: what a free entry holds.
    pub(super) const NONE: Flow = Flow {
        generation: 0,
        deadline: 0,
        status: 0,
        ingress: 0,
        ports: [[0; 2]; 2],
        zone: 0,
        number: 0,
        family: 0,
        low: [[0; 2]; 2],
        protocol: Protocol::Other,
        mark: 0,
        helper: 0,
        high: [[0; 2]; 2],
        adjustments: [SequenceAdjustment { correction_pos: 0, offset_before: 0, offset_after: 0 }; 2],
    };

    /// Becomes the flow that `tracking` carries.
    pub(super) fn fill(&mut self, tracking: &Tracking, new: &NewFlow, now: Nanos) {
        let halves = |f: fn(u128) -> u64| [tracking.original, tracking.reply].map(|tuple| [f(tuple.source.0), f(tuple.destination.0)]);
        *self = Flow {
            generation: self.generation,
            deadline: deadline(now, new.timeout),
            status: tracking.status.0 as u16 & !Flow::COUNTED | if new.counted { Flow::COUNTED } else { 0 },
            ingress: new.ingress.0,
            ports: [tracking.original, tracking.reply].map(|tuple| [tuple.source_port, tuple.destination_port]),
            zone: tracking.original.zone,
            number: tracking.original.protocol,
            family: tracking.original.family as u8,
            low: halves(|address| address as u64),
            protocol: new.protocol,
            mark: tracking.mark,
            helper: tracking.helper.map_or(0, |helper| helper as u8),
            high: halves(|address| (address >> 64) as u64),
            adjustments: new.adjustments,
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
        let i = direction.index();
        self.is_live()
            && self.low[i] == [tuple.source.0 as u64, tuple.destination.0 as u64]
            && self.ports[i] == [tuple.source_port, tuple.destination_port]
            && (self.zone, self.number, self.family) == (tuple.zone, tuple.protocol, tuple.family as u8)
            && (tuple.family == Family::V4 || self.high[i] == [(tuple.source.0 >> 64) as u64, (tuple.destination.0 >> 64) as u64])
    }

    /// The tuple of packets of a direction.
    #[inline]
    pub(super) fn tuple(&self, direction: Direction) -> Tuple {
        let i = direction.index();
        let family = if self.family == Family::V6 as u8 { Family::V6 } else { Family::V4 };
        let high = match family {
            Family::V4 => [0, 0],
            Family::V6 => self.high[i],
        };
        let address = |end: usize| Address(u128::from(high[end]) << 64 | u128::from(self.low[i][end]));
        let [source_port, destination_port] = self.ports[i];
        Tuple { source: address(0), destination: address(1), source_port, destination_port, zone: self.zone, family, protocol: self.number }
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

    #[inline]
    pub(super) fn ingress(&self) -> PortId {
        PortId(self.ingress)
    }

    #[inline]
    pub(super) fn helper(&self) -> Option<HelperKind> {
        // Nearly no flow has one: that is known without the third line.
        if !self.status().contains(Status::HELPER) {
            return None;
        }
        match self.helper {
            1 => Some(HelperKind::Ftp),
            2 => Some(HelperKind::Tftp),
            _ => None,
        }
    }

    /// What a packet of the flow is told.
    #[inline]
    pub(super) fn tracking(&self, state: CtState, direction: Direction, index: u32) -> Tracking {
        Tracking {
            state,
            direction,
            status: self.status(),
            mark: self.mark,
            helper: self.helper(),
            original: self.tuple(Direction::Original),
            reply: self.tuple(Direction::Reply),
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
