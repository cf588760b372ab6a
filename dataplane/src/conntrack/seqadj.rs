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
