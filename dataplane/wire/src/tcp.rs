//! The TCP header (RFC 9293 section 3.1).

use core::ops::Range;

use crate::header_error::HeaderError;

/// Source port.
pub const SOURCE_PORT: Range<usize> = 0..2;
/// Destination port.
pub const DESTINATION_PORT: Range<usize> = 2..4;
/// Sequence number.
pub const SEQUENCE: Range<usize> = 4..8;
/// Acknowledgment number.
pub const ACKNOWLEDGMENT: Range<usize> = 8..12;
/// Data offset (upper 4 bits of 16) and flags.
pub const FLAGS: Range<usize> = 12..14;
/// Window.
pub const WINDOW: Range<usize> = 14..16;
/// Checksum.
pub const CHECKSUM: Range<usize> = 16..18;
/// Urgent pointer.
pub const URGENT_POINTER: Range<usize> = 18..20;
/// Octets of the header without options.
pub const HEADER_LEN_MIN: usize = 20;

/// No more data from the sender.
pub const FIN: u16 = 0x001;
/// Synchronize sequence numbers.
pub const SYN: u16 = 0x002;
/// Reset the connection.
pub const RST: u16 = 0x004;
/// Push.
pub const PSH: u16 = 0x008;
/// The acknowledgment number counts.
pub const ACK: u16 = 0x010;
/// The urgent pointer counts.
pub const URG: u16 = 0x020;
/// ECN echo (RFC 3168).
pub const ECE: u16 = 0x040;
/// Congestion window reduced (RFC 3168).
pub const CWR: u16 = 0x080;

/// A view of octets as a TCP header with whatever follows it.
///
/// # Panics
///
/// A view exists only over octets that hold the whole header, options included, so no method of it panics.
#[derive(Clone, Copy, Debug)]
pub struct TcpHeader<T> {
    octets: T,
    /// As it was when checked: later edits of the octets cannot move it.
    header_len: u8,
}

impl<T: AsRef<[u8]>> TcpHeader<T> {
    /// A view of `octets`, which start with the header.
    ///
    /// # Errors
    ///
    /// When the data offset is below 20 octets or the octets end inside the header.
    #[inline]
    pub fn new_checked(octets: T) -> Result<TcpHeader<T>, HeaderError> {
        let slice = octets.as_ref();
        if slice.len() < HEADER_LEN_MIN {
            return Err(HeaderError::Cut);
        }
        let header_len = (slice[FLAGS.start] >> 4) * 4;
        if usize::from(header_len) < HEADER_LEN_MIN {
            return Err(HeaderError::HeaderLength);
        }
        if slice.len() < usize::from(header_len) {
            return Err(HeaderError::Cut);
        }
        Ok(TcpHeader { octets, header_len })
    }

    #[inline]
    fn fixed(&self) -> &[u8; HEADER_LEN_MIN] {
        self.octets.as_ref().first_chunk().expect("checked when the view was made")
    }

    #[inline]
    fn word(&self, field: Range<usize>) -> u16 {
        u16::from_be_bytes([self.fixed()[field.start], self.fixed()[field.start + 1]])
    }

    /// Octets of the header with its options, 20 to 60.
    #[inline]
    pub fn header_len(&self) -> usize {
        usize::from(self.header_len)
    }

    /// Source port.
    #[inline]
    pub fn source_port(&self) -> u16 {
        self.word(SOURCE_PORT)
    }

    /// Destination port.
    #[inline]
    pub fn destination_port(&self) -> u16 {
        self.word(DESTINATION_PORT)
    }

    /// Sequence number of the first octet of data, or of SYN.
    #[inline]
    pub fn sequence(&self) -> u32 {
        let [_, _, _, _, a, b, c, d, ..] = *self.fixed();
        u32::from_be_bytes([a, b, c, d])
    }

    /// Acknowledgment number.
    #[inline]
    pub fn acknowledgment(&self) -> u32 {
        let [_, _, _, _, _, _, _, _, a, b, c, d, ..] = *self.fixed();
        u32::from_be_bytes([a, b, c, d])
    }

    /// The lower 12 bits of the word with the data offset: the flags, and the reserved bits above them.
    #[inline]
    pub fn flags(&self) -> u16 {
        self.word(FLAGS) & 0x0fff
    }

    /// Window, not scaled.
    #[inline]
    pub fn window(&self) -> u16 {
        self.word(WINDOW)
    }

    /// Checksum as it stands there.
    #[inline]
    pub fn checksum(&self) -> u16 {
        self.word(CHECKSUM)
    }

    /// Urgent pointer.
    #[inline]
    pub fn urgent_pointer(&self) -> u16 {
        self.word(URGENT_POINTER)
    }

    /// Options with their padding, a multiple of 4 octets.
    #[inline]
    pub fn options(&self) -> &[u8] {
        &self.octets.as_ref()[HEADER_LEN_MIN..self.header_len()]
    }

    /// Everything behind the header, to the end of the octets.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.octets.as_ref()[self.header_len()..]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> TcpHeader<T> {
    #[inline]
    fn set(&mut self, field: Range<usize>, octets: &[u8]) {
        self.octets.as_mut()[field].copy_from_slice(octets);
    }

    /// Sets the source port.
    #[inline]
    pub fn set_source_port(&mut self, port: u16) {
        self.set(SOURCE_PORT, &port.to_be_bytes());
    }

    /// Sets the destination port.
    #[inline]
    pub fn set_destination_port(&mut self, port: u16) {
        self.set(DESTINATION_PORT, &port.to_be_bytes());
    }

    /// Sets the sequence number.
    #[inline]
    pub fn set_sequence(&mut self, sequence: u32) {
        self.set(SEQUENCE, &sequence.to_be_bytes());
    }

    /// Sets the flags and reserved bits to the lower 12 bits of `flags`.
    #[inline]
    pub fn set_flags(&mut self, flags: u16) {
        let word = self.word(FLAGS) & 0xf000 | flags & 0x0fff;
        self.set(FLAGS, &word.to_be_bytes());
    }

    /// Sets the checksum.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        self.set(CHECKSUM, &checksum.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_cut_is_an_error() {
        let mut octets = [0u8; 60];
        for words in 0..16u8 {
            octets[12] = words << 4;
            for len in 0..=60 {
                let expected = match (len, usize::from(words) * 4) {
                    (..20, _) => Err(HeaderError::Cut),
                    (_, ..20) => Err(HeaderError::HeaderLength),
                    (len, header_len) if len < header_len => Err(HeaderError::Cut),
                    (_, header_len) => Ok(header_len),
                };
                assert_eq!(TcpHeader::new_checked(&octets[..len]).map(|h| h.header_len()), expected, "{words} {len}");
            }
        }
    }

    proptest! {
        #[test]
        fn fields_match_etherparse(mut octets in prop::collection::vec(any::<u8>(), 60..80), words in 5u8..16) {
            octets[12] = words << 4 | octets[12] & 15;
            let ours = TcpHeader::new_checked(&octets).unwrap();
            let (theirs, rest) = etherparse::TcpHeader::from_slice(&octets).unwrap();
            prop_assert_eq!((ours.source_port(), ours.destination_port()), (theirs.source_port, theirs.destination_port));
            prop_assert_eq!((ours.sequence(), ours.acknowledgment()), (theirs.sequence_number, theirs.acknowledgment_number));
            let flags = [(FIN, theirs.fin), (SYN, theirs.syn), (RST, theirs.rst), (PSH, theirs.psh), (ACK, theirs.ack), (URG, theirs.urg), (ECE, theirs.ece), (CWR, theirs.cwr), (0x100, theirs.ns)];
            for (flag, on) in flags {
                prop_assert_eq!(ours.flags() & flag != 0, on, "{:#x}", flag);
            }
            prop_assert_eq!((ours.window(), ours.checksum(), ours.urgent_pointer()), (theirs.window_size, theirs.checksum, theirs.urgent_pointer));
            prop_assert_eq!((ours.header_len(), ours.options()), (theirs.header_len(), theirs.options.as_slice()));
            prop_assert_eq!(ours.payload(), rest);
        }

        #[test]
        fn setters_change_their_field_only(mut octets in prop::collection::vec(any::<u8>(), 60), words in 5u8..16, a: u16, b: u16, seq: u32, flags: u16, sum: u16) {
            octets[12] = words << 4 | octets[12] & 15;
            let mut expected = octets.clone();
            expected[0..2].copy_from_slice(&a.to_be_bytes());
            expected[2..4].copy_from_slice(&b.to_be_bytes());
            expected[4..8].copy_from_slice(&seq.to_be_bytes());
            expected[12] = words << 4 | (flags >> 8) as u8 & 15;
            expected[13] = flags as u8;
            expected[16..18].copy_from_slice(&sum.to_be_bytes());
            let mut header = TcpHeader::new_checked(&mut octets).unwrap();
            header.set_source_port(a);
            header.set_destination_port(b);
            header.set_sequence(seq);
            header.set_flags(flags);
            header.set_checksum(sum);
            prop_assert_eq!(octets, expected);
        }
    }
}
