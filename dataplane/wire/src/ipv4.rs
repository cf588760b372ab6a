//! The IPv4 header (RFC 791 section 3.1).

use core::net::Ipv4Addr;
use core::ops::Range;

use crate::checksum::Sum;
use crate::header_error::HeaderError;

/// Differentiated services and congestion notification (RFC 2474, RFC 3168).
pub const TRAFFIC_CLASS: usize = 1;
/// Octets of header and payload.
pub const TOTAL_LEN: Range<usize> = 2..4;
/// Identification.
pub const IDENTIFICATION: Range<usize> = 4..6;
/// Three flags and the fragment offset.
pub const FLAGS: Range<usize> = 6..8;
/// Time to live.
pub const TTL: usize = 8;
/// Protocol of the payload.
pub const PROTOCOL: usize = 9;
/// Header checksum.
pub const CHECKSUM: Range<usize> = 10..12;
/// Source address.
pub const SOURCE: Range<usize> = 12..16;
/// Destination address.
pub const DESTINATION: Range<usize> = 16..20;
/// Octets of the header without options.
pub const HEADER_LEN_MIN: usize = 20;

/// A view of octets as an IPv4 header with whatever follows it.
///
/// # Panics
///
/// A view exists only over octets that hold the whole header, options included, so no method of it panics. What the
/// header says of its payload is not checked: [`Ipv4Header::total_len`] may lie.
#[derive(Clone, Copy, Debug)]
pub struct Ipv4Header<T> {
    octets: T,
    /// As it was when checked: later edits of the octets cannot move it.
    header_len: u8,
}

impl<T: AsRef<[u8]>> Ipv4Header<T> {
    /// A view of `octets`, which start with the header.
    ///
    /// # Errors
    ///
    /// When the version is not 4, the header length is below 20 octets, or the octets end inside the header.
    #[inline]
    pub fn new_checked(octets: T) -> Result<Ipv4Header<T>, HeaderError> {
        let slice = octets.as_ref();
        if slice.len() < HEADER_LEN_MIN {
            return Err(HeaderError::Cut);
        }
        if slice[0] >> 4 != 4 {
            return Err(HeaderError::Version);
        }
        let header_len = (slice[0] & 15) * 4;
        if usize::from(header_len) < HEADER_LEN_MIN {
            return Err(HeaderError::HeaderLength);
        }
        if slice.len() < usize::from(header_len) {
            return Err(HeaderError::Cut);
        }
        Ok(Ipv4Header { octets, header_len })
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

    /// Differentiated services code point (upper 6 bits) and congestion notification (lower 2).
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        self.fixed()[TRAFFIC_CLASS]
    }

    /// Octets of header and payload, as the header says. Neither checked against the octets nor the header length.
    #[inline]
    pub fn total_len(&self) -> u16 {
        self.word(TOTAL_LEN)
    }

    /// Identification.
    #[inline]
    pub fn identification(&self) -> u16 {
        self.word(IDENTIFICATION)
    }

    /// Whether the packet must not be fragmented (DF).
    #[inline]
    pub fn dont_fragment(&self) -> bool {
        self.word(FLAGS) & 0x4000 != 0
    }

    /// Whether further fragments follow (MF).
    #[inline]
    pub fn more_fragments(&self) -> bool {
        self.word(FLAGS) & 0x2000 != 0
    }

    /// Octets of payload in front of that of this fragment.
    #[inline]
    pub fn fragment_offset(&self) -> u16 {
        (self.word(FLAGS) & 0x1fff) << 3
    }

    /// Whether this is a part of a packet.
    #[inline]
    pub fn is_fragment(&self) -> bool {
        self.word(FLAGS) & 0x3fff != 0
    }

    /// Time to live.
    #[inline]
    pub fn ttl(&self) -> u8 {
        self.fixed()[TTL]
    }

    /// Protocol of the payload; see [`crate::ip_protocol`].
    #[inline]
    pub fn protocol(&self) -> u8 {
        self.fixed()[PROTOCOL]
    }

    /// Header checksum as it stands there.
    #[inline]
    pub fn checksum(&self) -> u16 {
        self.word(CHECKSUM)
    }

    /// Whether the header checksum is right.
    #[inline]
    pub fn verify_checksum(&self) -> bool {
        Sum::of(&self.octets.as_ref()[..self.header_len()]).checksum() == 0
    }

    /// Source address.
    #[inline]
    pub fn source(&self) -> Ipv4Addr {
        let [.., a, b, c, d, _, _, _, _] = *self.fixed();
        Ipv4Addr::new(a, b, c, d)
    }

    /// Destination address.
    #[inline]
    pub fn destination(&self) -> Ipv4Addr {
        let [.., a, b, c, d] = *self.fixed();
        Ipv4Addr::new(a, b, c, d)
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

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ipv4Header<T> {
    #[inline]
    fn set(&mut self, field: Range<usize>, octets: &[u8]) {
        self.octets.as_mut()[field].copy_from_slice(octets);
    }

    /// Sets differentiated services and congestion notification.
    #[inline]
    pub fn set_traffic_class(&mut self, traffic_class: u8) {
        self.octets.as_mut()[TRAFFIC_CLASS] = traffic_class;
    }

    /// Sets the octets of header and payload.
    #[inline]
    pub fn set_total_len(&mut self, len: u16) {
        self.set(TOTAL_LEN, &len.to_be_bytes());
    }

    /// Sets the identification.
    #[inline]
    pub fn set_identification(&mut self, identification: u16) {
        self.set(IDENTIFICATION, &identification.to_be_bytes());
    }

    /// Sets the time to live.
    #[inline]
    pub fn set_ttl(&mut self, ttl: u8) {
        self.octets.as_mut()[TTL] = ttl;
    }

    /// Sets the source address.
    #[inline]
    pub fn set_source(&mut self, source: Ipv4Addr) {
        self.set(SOURCE, &source.octets());
    }

    /// Sets the destination address.
    #[inline]
    pub fn set_destination(&mut self, destination: Ipv4Addr) {
        self.set(DESTINATION, &destination.octets());
    }

    /// Sets the header checksum, as to one that was updated incrementally.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        self.set(CHECKSUM, &checksum.to_be_bytes());
    }

    /// Computes the header checksum anew.
    #[inline]
    pub fn fill_checksum(&mut self) {
        self.set_checksum(0);
        let checksum = Sum::of(&self.octets.as_ref()[..self.header_len()]).checksum();
        self.set_checksum(checksum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The header of RFC 791 appendix A example 1, with a checksum.
    const HEADER: [u8; 20] = [0x45, 0, 0, 21, 0, 111, 0, 0, 123, 1, 0xff, 0xff, 192, 0, 2, 1, 198, 51, 100, 2];

    #[test]
    fn every_cut_is_an_error() {
        let mut octets = [0u8; 60];
        for words in 0..16u8 {
            octets[0] = 0x40 | words;
            for len in 0..=60 {
                let expected = match (len, usize::from(words) * 4) {
                    (..20, _) => Err(HeaderError::Cut),
                    (_, ..20) => Err(HeaderError::HeaderLength),
                    (len, header_len) if len < header_len => Err(HeaderError::Cut),
                    (_, header_len) => Ok(header_len),
                };
                assert_eq!(Ipv4Header::new_checked(&octets[..len]).map(|h| h.header_len()), expected, "{words} {len}");
            }
        }
        octets[0] = 0x65;
        assert_eq!(Ipv4Header::new_checked(octets).err(), Some(HeaderError::Version));
    }

    #[test]
    fn the_checksum_is_filled_and_verified() {
        let mut octets = HEADER;
        let mut header = Ipv4Header::new_checked(&mut octets).unwrap();
        assert!(!header.verify_checksum());
        header.fill_checksum();
        assert!(header.verify_checksum());
        let old = header.ttl();
        let checksum = crate::checksum::update(header.checksum(), u16::from_be_bytes([old, 1]), u16::from_be_bytes([old - 1, 1]));
        header.set_ttl(old - 1);
        header.set_checksum(checksum);
        assert!(header.verify_checksum());
    }

    /// Even a view whose octets are overwritten afterwards keeps its length, so it cannot panic.
    #[test]
    fn edits_behind_the_view_cannot_move_it() {
        struct Shifting([u8; 20], bool);
        impl AsRef<[u8]> for Shifting {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        impl AsMut<[u8]> for Shifting {
            fn as_mut(&mut self) -> &mut [u8] {
                self.0[0] = 0x4f;
                self.1 = true;
                &mut self.0
            }
        }
        let mut header = Ipv4Header::new_checked(Shifting(HEADER, false)).unwrap();
        header.fill_checksum();
        assert!(header.octets.1 && header.octets.0[0] == 0x4f);
        assert_eq!((header.header_len(), header.options().len(), header.payload().len()), (20, 0, 0));
    }

    proptest! {
        #[test]
        fn fields_match_etherparse(mut octets in prop::collection::vec(any::<u8>(), 60..80), words in 5u8..16) {
            octets[0] = 0x40 | words;
            octets[6] &= 0x7f; // etherparse drops the reserved flag
            let ours = Ipv4Header::new_checked(&octets).unwrap();
            let (theirs, rest) = etherparse::Ipv4Header::from_slice(&octets).unwrap();
            prop_assert_eq!(ours.header_len(), theirs.header_len());
            prop_assert_eq!(ours.traffic_class(), theirs.dscp.value() << 2 | theirs.ecn.value());
            prop_assert_eq!(ours.total_len(), theirs.total_len);
            prop_assert_eq!(ours.identification(), theirs.identification);
            prop_assert_eq!((ours.dont_fragment(), ours.more_fragments()), (theirs.dont_fragment, theirs.more_fragments));
            prop_assert_eq!(ours.fragment_offset(), theirs.fragment_offset.value() << 3);
            prop_assert_eq!(ours.is_fragment(), theirs.is_fragmenting_payload());
            prop_assert_eq!((ours.ttl(), ours.protocol(), ours.checksum()), (theirs.time_to_live, theirs.protocol.0, theirs.header_checksum));
            prop_assert_eq!((ours.source().octets(), ours.destination().octets()), (theirs.source, theirs.destination));
            prop_assert_eq!(ours.options(), &theirs.options[..]);
            prop_assert_eq!(ours.payload(), rest);
        }

        #[test]
        fn setters_match_etherparse(mut octets in prop::collection::vec(any::<u8>(), 60), words in 5u8..16, class: u8, len: u16, id: u16, ttl: u8, a: [u8; 4], b: [u8; 4]) {
            octets[0] = 0x40 | words;
            octets[6] &= 0x7f;
            let (mut expected, _) = etherparse::Ipv4Header::from_slice(&octets).unwrap();
            expected.dscp = (class >> 2).try_into().unwrap();
            expected.ecn = (class & 3).try_into().unwrap();
            (expected.total_len, expected.identification, expected.time_to_live) = (len, id, ttl);
            (expected.source, expected.destination) = (a, b);
            expected.header_checksum = expected.calc_header_checksum();
            let mut header = Ipv4Header::new_checked(&mut octets).unwrap();
            header.set_traffic_class(class);
            header.set_total_len(len);
            header.set_identification(id);
            header.set_ttl(ttl);
            header.set_source(a.into());
            header.set_destination(b.into());
            header.fill_checksum();
            prop_assert!(header.verify_checksum());
            prop_assert_eq!(&octets[..expected.header_len()], &expected.to_bytes()[..]);
        }
    }
}
