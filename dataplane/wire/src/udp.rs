//! The UDP header (RFC 768).

use core::ops::Range;

use crate::header_error::HeaderError;

/// Source port.
pub const SOURCE_PORT: Range<usize> = 0..2;
/// Destination port.
pub const DESTINATION_PORT: Range<usize> = 2..4;
/// Octets of header and payload.
pub const LENGTH: Range<usize> = 4..6;
/// Checksum; 0 is none.
pub const CHECKSUM: Range<usize> = 6..8;
/// Octets of the header.
pub const HEADER_LEN: usize = 8;

/// A view of octets as a UDP header with whatever follows it.
///
/// # Panics
///
/// A view exists only over octets that hold the whole header, so no method of it panics. What the header says of its
/// payload is not checked: [`UdpHeader::length`] may lie.
#[derive(Clone, Copy, Debug)]
pub struct UdpHeader<T> {
    octets: T,
}

impl<T: AsRef<[u8]>> UdpHeader<T> {
    /// A view of `octets`, which start with the header.
    ///
    /// # Errors
    ///
    /// When the octets end inside the header.
    #[inline]
    pub fn new_checked(octets: T) -> Result<UdpHeader<T>, HeaderError> {
        if octets.as_ref().len() < HEADER_LEN { Err(HeaderError::Cut) } else { Ok(UdpHeader { octets }) }
    }

    #[inline]
    fn word(&self, field: Range<usize>) -> u16 {
        let fixed: &[u8; HEADER_LEN] = self.octets.as_ref().first_chunk().expect("checked when the view was made");
        u16::from_be_bytes([fixed[field.start], fixed[field.start + 1]])
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

    /// Octets of header and payload, as the header says.
    #[inline]
    pub fn length(&self) -> u16 {
        self.word(LENGTH)
    }

    /// Checksum as it stands there; 0 is none.
    #[inline]
    pub fn checksum(&self) -> u16 {
        self.word(CHECKSUM)
    }

    /// Everything behind the header, to the end of the octets.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.octets.as_ref()[HEADER_LEN..]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> UdpHeader<T> {
    #[inline]
    fn set(&mut self, field: Range<usize>, word: u16) {
        self.octets.as_mut()[field].copy_from_slice(&word.to_be_bytes());
    }

    /// Sets the source port.
    #[inline]
    pub fn set_source_port(&mut self, port: u16) {
        self.set(SOURCE_PORT, port);
    }

    /// Sets the destination port.
    #[inline]
    pub fn set_destination_port(&mut self, port: u16) {
        self.set(DESTINATION_PORT, port);
    }

    /// Sets the octets of header and payload.
    #[inline]
    pub fn set_length(&mut self, length: u16) {
        self.set(LENGTH, length);
    }

    /// Sets the checksum.
    #[inline]
    pub fn set_checksum(&mut self, checksum: u16) {
        self.set(CHECKSUM, checksum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_cut_is_an_error() {
        for len in 0..=12 {
            assert_eq!(UdpHeader::new_checked(vec![0; len]).is_ok(), len >= 8);
        }
    }

    proptest! {
        #[test]
        fn fields_match_etherparse(octets in prop::collection::vec(any::<u8>(), 8..40)) {
            let ours = UdpHeader::new_checked(&octets).unwrap();
            let (theirs, rest) = etherparse::UdpHeader::from_slice(&octets).unwrap();
            prop_assert_eq!((ours.source_port(), ours.destination_port()), (theirs.source_port, theirs.destination_port));
            prop_assert_eq!((ours.length(), ours.checksum(), ours.payload()), (theirs.length, theirs.checksum, rest));
        }

        #[test]
        fn setters_match_etherparse(source_port: u16, destination_port: u16, length: u16, checksum: u16) {
            let mut octets = [0; 8];
            let mut header = UdpHeader::new_checked(&mut octets).unwrap();
            header.set_source_port(source_port);
            header.set_destination_port(destination_port);
            header.set_length(length);
            header.set_checksum(checksum);
            prop_assert_eq!(octets, etherparse::UdpHeader { source_port, destination_port, length, checksum }.to_bytes());
        }
    }
}
