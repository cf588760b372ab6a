//! Sequence numbers of TCP flows whose payload changes its length on the way (`net/netfilter/nf_conntrack_seqadj.c`).
//!
//! A helper that rewrites an address in the payload makes it longer or shorter; from there on everything the sender counts
//! is off by that much for the receiver. A direction remembers the last change: what lies behind it is moved by `offset_after`,
//! what lies in front of it (a retransmission) by `offset_before`. More than one change in flight is not told apart, as in Linux.

use wire::{TcpHeader, tcp, tcp_options};

use super::{Direction, SequenceAdjustment};
use crate::frame::Frame;
use crate::router::packet::Packet;

/// Whether `a` lies behind `b` in the circle of sequence numbers.
#[inline]
const fn is_after(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a) as i32) < 0
}

impl SequenceAdjustment {
    /// Every sequence number is moved by the same amount.
    pub const fn constant(offset: i32) -> SequenceAdjustment {
        SequenceAdjustment { correction_pos: 0, offset_before: offset, offset_after: offset }
    }

    /// Whether nothing is moved.
    #[inline]
    pub const fn is_none(&self) -> bool {
        self.offset_before == 0 && self.offset_after == 0
    }

    /// The packet that begins at `sequence`, as sent, was made longer by `change` octets (`nf_ct_seqadj_set`). A
    /// retransmission of a packet that was changed before changes nothing.
    pub fn record(&mut self, sequence: u32, change: i32) {
        if change != 0 && (self.offset_before == self.offset_after || is_after(sequence, self.correction_pos)) {
            self.correction_pos = sequence;
            self.offset_before = self.offset_after;
            self.offset_after = self.offset_after.wrapping_add(change);
        }
    }

    /// A number that the receiver acknowledges, as the sender counts.
    #[inline]
    pub fn original(&self, acknowledgment: u32) -> u32 {
        let before = acknowledgment.wrapping_sub(self.offset_before as u32);
        if is_after(before, self.correction_pos) { acknowledgment.wrapping_sub(self.offset_after as u32) } else { before }
    }
}

/// The TCP header does not lie in the head of the frame as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutHeader;

/// Lets `edit` change the TCP header of a packet, options included, and keeps the checksum right.
///
/// # Errors
///
/// [`CutHeader`]; nothing is changed then.
pub(crate) fn edit_tcp_header(frame: &mut Frame<'_>, packet: &Packet, edit: impl FnOnce(&mut [u8])) -> Result<(), CutHeader> {
    let l4 = usize::from(packet.l4);
    // While the checksum is left to do, its field holds the sum of the pseudo header alone.
    let is_partial = frame.offload().needs_checksum();
    let octets = frame.head_mut().get_mut(l4..).ok_or(CutHeader)?;
    let len = TcpHeader::new_checked(&*octets).map_err(|_| CutHeader)?.header_len();
    if len > packet.l4_len() as usize {
        return Err(CutHeader);
    }
    let header = &mut octets[..len];
    let mut old = [0; 60];
    old[..len].copy_from_slice(header);
    edit(header);
    if !is_partial {
        let checksum = u16::from_be_bytes([old[tcp::CHECKSUM.start], old[tcp::CHECKSUM.start + 1]]);
        let checksum = wire::checksum::update_octets(checksum, &old[..len], header);
        header[tcp::CHECKSUM].copy_from_slice(&checksum.to_be_bytes());
    }
    Ok(())
}

/// Moves the numbers of a TCP packet of `direction` as `adjust` says: its sequence number by its own direction, what it
/// acknowledges (SACK blocks included) back by the other one. After the helpers, which count as the sender does.
///
/// # Errors
///
/// [`CutHeader`], where Linux drops the packet as well.
pub fn adjust(frame: &mut Frame<'_>, packet: &Packet, direction: Direction, adjust: &[SequenceAdjustment; 2]) -> Result<(), CutHeader> {
    let (this, other) = (adjust[direction.index()], adjust[direction.other().index()]);
    edit_tcp_header(frame, packet, |header| {
        let sequence = number(header, tcp::SEQUENCE.start);
        set_number(header, tcp::SEQUENCE.start, sequence.wrapping_add(this.offset(sequence) as u32));
        let acknowledgment = number(header, tcp::ACKNOWLEDGMENT.start);
        set_number(header, tcp::ACKNOWLEDGMENT.start, other.original(acknowledgment));
        if other.is_none() {
            return;
        }
        let (_, options) = header.split_at_mut(tcp::HEADER_LEN_MIN);
        // A header has 40 octets of options: at most four blocks in one option, and nobody sends two.
        let sack = tcp_options::iter(options).find(|option| option.kind == tcp_options::SACK && option.data.len() % 8 == 0);
        for at in sack.into_iter().flat_map(|option| option.data.step_by(4)) {
            set_number(options, at, other.original(number(options, at)));
        }
    })
}

/// The number in four octets.
pub(crate) fn number(octets: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]])
}

/// Writes a number into four octets.
pub(crate) fn set_number(octets: &mut [u8], at: usize, value: u32) {
    octets[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::helper::tests::Segment;
    use super::*;
    use crate::conntrack::Direction::{Original, Reply};
    use proptest::prelude::*;
    use wire::{Offload, virtio_net};

    #[test]
    fn in_front_of_the_change_and_behind_it() {
        let mut adjust = SequenceAdjustment::default();
        adjust.record(1000, -4);
        assert_eq!((adjust.offset(1000), adjust.offset(1001), adjust.offset(999)), (0, -4, 0));
        assert_eq!((adjust.original(1000), adjust.original(1021)), (1000, 1025));
        adjust.record(1000, -4);
        assert_eq!(adjust.offset(1025), -4, "a retransmission counts once");
        adjust.record(2000, 10);
        assert_eq!((adjust.offset(2000), adjust.offset(2001)), (-4, 6));
        assert_eq!(adjust.original(2046), 2040);
    }

    #[test]
    fn at_the_turn_of_the_numbers() {
        let mut adjust = SequenceAdjustment::default();
        adjust.record(u32::MAX - 9, 30);
        assert_eq!((adjust.offset(u32::MAX - 9), adjust.offset(10)), (0, 30));
        assert_eq!(adjust.original(40), 10);
    }

    /// The numbers of both directions and SACK blocks are moved, and the checksum stays right, whole or left to do.
    #[test]
    fn a_segment_is_moved() {
        let adjust = [SequenceAdjustment::constant(100), SequenceAdjustment::constant(-7)];
        let template = || {
            let mut segment = Segment { octets: Vec::new() };
            let builder = etherparse::PacketBuilder::ethernet2([2; 6], [2; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
            let options = [1, 1, 5, 18, 0, 0, 0, 10, 0, 0, 0, 20, 0, 0, 0, 30, 0, 0, 0, 40];
            let tcp = builder.tcp(1, 2, 5000, 100).ack(9).options_raw(&options).unwrap();
            tcp.write(&mut segment.octets, b"odd").unwrap();
            segment
        };
        let partial = Offload { flags: virtio_net::FLAG_NEEDS_CSUM, csum_start: 34, csum_offset: 16, ..Offload::NONE };
        for (offload, direction, sequence, back) in
            [(Offload::NONE, Original, 5100u32, 7), (Offload::NONE, Reply, 4993, -100i32), (partial, Original, 5100, 7)]
        {
            let mut segment = template();
            if offload != Offload::NONE {
                segment.octets[50..52]
                    .copy_from_slice(&wire::checksum::pseudo_ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into(), 6, 43).fold().to_be_bytes());
            }
            segment.with_frame(offload, |frame, packet| {
                super::adjust(frame, packet, direction, &adjust).unwrap();
                crate::offload::finish_checksum(frame);
            });
            assert_eq!(segment.checked_payload(), b"odd");
            let found: Vec<u32> = [38, 42, 58, 62, 66, 70].map(|at| number(&segment.octets, at)).to_vec();
            let expected: Vec<u32> = [9i32, 10, 20, 30, 40].iter().map(|n| (n + back) as u32).collect();
            assert_eq!(found, [&[sequence][..], &expected].concat());
        }
    }

    #[test]
    fn a_header_that_is_cut() {
        let mut segment = Segment::new("10.0.0.1:1", "10.0.0.2:2", 1, "");
        segment.octets[46] = 0xf0;
        let before = segment.octets.clone();
        let result = segment.with_frame(Offload::NONE, |frame, packet| super::adjust(frame, packet, Original, &Default::default()));
        assert_eq!((result, segment.octets), (Err(CutHeader), before));
    }

    proptest! {
        /// A stream whose segments change their length on the way, with retransmissions, is whole for the receiver; and what the
        /// receiver acknowledges is what the sender sent.
        #[test]
        fn a_stream_stays_whole(start in any::<u32>(), segments in prop::collection::vec((20u32..100, prop::option::of(-19i32..60), any::<u8>()), 1..40)) {
            let mut adjust = SequenceAdjustment::default();
            // Of each segment: sequence and length as sent, sequence and length as received.
            let mut sent: Vec<(u32, u32, u32, u32)> = Vec::new();
            let (mut next, mut received, mut oldest) = (start, start, 0);
            for (i, (len, change, again)) in segments.into_iter().enumerate() {
                let change = change.unwrap_or(0);
                let new = len.wrapping_add_signed(change);
                if change != 0 && adjust.offset(next) != adjust.offset_before {
                    // Only one change in flight: older segments are acknowledged, and not sent again.
                    oldest = i;
                }
                sent.push((next, len, received, new));
                adjust.record(next, change);
                let repeated = &sent[oldest + usize::from(again) % (i + 1 - oldest)];
                for (sequence, len, arrives, new) in [*sent.last().unwrap(), *repeated] {
                    prop_assert_eq!(sequence.wrapping_add(adjust.offset(sequence) as u32), arrives);
                    prop_assert_eq!(adjust.original(arrives.wrapping_add(new)), sequence.wrapping_add(len));
                }
                (next, received) = (next.wrapping_add(len), received.wrapping_add(new));
            }
        }
    }
}
