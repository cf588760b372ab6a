//! The IPv6 header and its extension headers (RFC 8200 sections 3 and 4).

use core::net::Ipv6Addr;
use core::ops::Range;

use crate::header_error::HeaderError;
use crate::ip_protocol;

/// Octets behind the fixed header.
pub const PAYLOAD_LEN: Range<usize> = 4..6;
/// Kind of the header that follows.
pub const NEXT_HEADER: usize = 6;
/// Hop limit.
pub const HOP_LIMIT: usize = 7;
/// Source address.
pub const SOURCE: Range<usize> = 8..24;
/// Destination address.
pub const DESTINATION: Range<usize> = 24..40;
/// Octets of the fixed header.
pub const HEADER_LEN: usize = 40;

/// Extension headers that are walked at most. RFC 8200 section 4.1 knows five places for those walked here, each to be
/// used once; more is refused so that a packet cannot make the switch walk for long.
pub const EXTENSION_HEADERS_MAX: usize = 8;

/// A view of octets as an IPv6 header with whatever follows it.
///
/// # Panics
///
/// A view exists only over octets that hold the fixed header, so no method of it panics. What the header says of its
/// payload is not checked: [`Ipv6Header::payload_len`] may lie.
#[derive(Clone, Copy, Debug)]
pub struct Ipv6Header<T> {
    octets: T,
}

/// The first header behind the extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpperLayer {
    /// Its kind; see [`crate::ip_protocol`]. Also extension headers that are not walked (such as ESP, 50) are found here.
    pub protocol: u8,
    /// Where it starts, counted from the IPv6 header.
    pub offset: usize,
    /// What the fragment header says, when there is one. With [`Fragment::offset`] above 0 there is no header of the
    /// upper layer at `offset`, but data from the middle of the packet.
    pub fragment: Option<Fragment>,
}

/// What a fragment header says (RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Octets of the fragmentable part in front of this fragment.
    pub offset: u16,
    /// Whether further fragments follow.
    pub more: bool,
    /// Identification.
    pub identification: u32,
}

impl<T: AsRef<[u8]>> Ipv6Header<T> {
    /// A view of `octets`, which start with the header.
    ///
    /// # Errors
    ///
    /// When the version is not 6 or the octets end inside the fixed header.
    #[inline]
    pub fn new_checked(octets: T) -> Result<Ipv6Header<T>, HeaderError> {
        let slice = octets.as_ref();
        if slice.len() < HEADER_LEN {
            return Err(HeaderError::Cut);
        }
        if slice[0] >> 4 != 6 {
            return Err(HeaderError::Version);
        }
        Ok(Ipv6Header { octets })
    }

    #[inline]
    fn fixed(&self) -> &[u8; HEADER_LEN] {
        self.octets.as_ref().first_chunk().expect("checked when the view was made")
    }

    /// Differentiated services code point (upper 6 bits) and congestion notification (lower 2).
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        self.fixed()[0] << 4 | self.fixed()[1] >> 4
    }

    /// Flow label, 20 bits.
    #[inline]
    pub fn flow_label(&self) -> u32 {
        let [_, b, c, d, ..] = *self.fixed();
        u32::from_be_bytes([0, b & 15, c, d])
    }

    /// Octets behind the fixed header, as it says. Not checked against the octets.
    #[inline]
    pub fn payload_len(&self) -> u16 {
        u16::from_be_bytes([self.fixed()[PAYLOAD_LEN.start], self.fixed()[PAYLOAD_LEN.start + 1]])
    }

    /// Kind of the header behind the fixed header; see [`crate::ip_protocol`].
    #[inline]
    pub fn next_header(&self) -> u8 {
        self.fixed()[NEXT_HEADER]
    }

    /// Hop limit.
    #[inline]
    pub fn hop_limit(&self) -> u8 {
        self.fixed()[HOP_LIMIT]
    }

    /// Source address.
    #[inline]
    pub fn source(&self) -> Ipv6Addr {
        let [_, _, _, _, _, _, _, _, source @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = *self.fixed();
        source.into()
    }

    /// Destination address.
    #[inline]
    pub fn destination(&self) -> Ipv6Addr {
        let destination: &[u8; 16] = self.fixed().last_chunk().expect("16 octets are less than the header");
        (*destination).into()
    }

    /// Everything behind the fixed header, to the end of the octets.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.octets.as_ref()[HEADER_LEN..]
    }

    /// Walks over hop-by-hop, routing, fragment and destination options headers to whatever comes next. Work is bounded
    /// by [`EXTENSION_HEADERS_MAX`]; the order is not judged. Behind a fragment header that is not of a first fragment
    /// the walk ends, as no header follows there.
    ///
    /// # Errors
    ///
    /// [`HeaderError::Cut`] when the octets end inside an extension header (the upper layer itself may lie behind the
    /// end); [`HeaderError::TooManyExtensionHeaders`].
    #[inline]
    pub fn upper_layer(&self) -> Result<UpperLayer, HeaderError> {
        let octets = self.octets.as_ref();
        let mut upper = UpperLayer { protocol: self.next_header(), offset: HEADER_LEN, fragment: None };
        for _ in 0..=EXTENSION_HEADERS_MAX {
            let len = match upper.protocol {
                ip_protocol::HOP_BY_HOP | ip_protocol::ROUTING | ip_protocol::DESTINATION_OPTIONS => {
                    let len = octets.get(upper.offset + 1).ok_or(HeaderError::Cut)?;
                    (usize::from(*len) + 1) * 8
                }
                ip_protocol::FRAGMENT => 8,
                _ => return Ok(upper),
            };
            let header = octets.get(upper.offset..upper.offset + len).ok_or(HeaderError::Cut)?;
            let is_fragment = upper.protocol == ip_protocol::FRAGMENT;
            upper.protocol = header[0];
            upper.offset += len;
            if is_fragment {
                let field = u16::from_be_bytes([header[2], header[3]]);
                let identification = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
                upper.fragment = Some(Fragment { offset: field & 0xfff8, more: field & 1 != 0, identification });
                if field & 0xfff8 != 0 {
                    return Ok(upper);
                }
            }
        }
        Err(HeaderError::TooManyExtensionHeaders)
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Ipv6Header<T> {
    /// Sets differentiated services and congestion notification.
    #[inline]
    pub fn set_traffic_class(&mut self, traffic_class: u8) {
        let octets = self.octets.as_mut();
        octets[0] = 0x60 | traffic_class >> 4;
        octets[1] = traffic_class << 4 | octets[1] & 15;
    }

    /// Sets the octets behind the fixed header.
    #[inline]
    pub fn set_payload_len(&mut self, len: u16) {
        self.octets.as_mut()[PAYLOAD_LEN].copy_from_slice(&len.to_be_bytes());
    }

    /// Sets the hop limit.
    #[inline]
    pub fn set_hop_limit(&mut self, hop_limit: u8) {
        self.octets.as_mut()[HOP_LIMIT] = hop_limit;
    }

    /// Sets the source address.
    #[inline]
    pub fn set_source(&mut self, source: Ipv6Addr) {
        self.octets.as_mut()[SOURCE].copy_from_slice(&source.octets());
    }

    /// Sets the destination address.
    #[inline]
    pub fn set_destination(&mut self, destination: Ipv6Addr) {
        self.octets.as_mut()[DESTINATION].copy_from_slice(&destination.octets());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A packet with the extension headers `kinds`, each of `len(i)` octets, in front of TCP.
    fn packet(kinds: &[u8], units: &[u8]) -> Vec<u8> {
        let mut octets = vec![0u8; HEADER_LEN];
        octets[0] = 0x60;
        let mut next = NEXT_HEADER;
        for (kind, units) in kinds.iter().zip(units) {
            octets[next] = *kind;
            next = octets.len();
            let units = if *kind == ip_protocol::FRAGMENT { 0 } else { *units };
            octets.extend([0, units, 0, 0, 0, 0, 0, 0]);
            octets.extend(std::iter::repeat_n(0, usize::from(units) * 8));
        }
        octets[next] = ip_protocol::TCP;
        octets
    }

    #[test]
    fn every_cut_is_an_error() {
        let whole = packet(&[0, 43, 44, 60], &[1, 2, 0, 3]);
        for len in 0..HEADER_LEN {
            assert_eq!(Ipv6Header::new_checked(&whole[..len]).err(), Some(HeaderError::Cut));
        }
        for len in HEADER_LEN..whole.len() {
            assert_eq!(Ipv6Header::new_checked(&whole[..len]).unwrap().upper_layer(), Err(HeaderError::Cut), "{len}");
        }
        let upper = Ipv6Header::new_checked(&whole).unwrap().upper_layer().unwrap();
        assert_eq!((upper.protocol, upper.offset), (ip_protocol::TCP, whole.len()));
        assert_eq!(upper.fragment, Some(Fragment { offset: 0, more: false, identification: 0 }));
    }

    #[test]
    fn the_walk_is_bounded() {
        let most = packet(&[60; EXTENSION_HEADERS_MAX], &[0; EXTENSION_HEADERS_MAX]);
        assert_eq!(Ipv6Header::new_checked(&most).unwrap().upper_layer().map(|u| u.offset), Ok(most.len()));
        let more = packet(&[60; EXTENSION_HEADERS_MAX + 1], &[0; EXTENSION_HEADERS_MAX + 1]);
        assert_eq!(Ipv6Header::new_checked(&more).unwrap().upper_layer(), Err(HeaderError::TooManyExtensionHeaders));
    }

    #[test]
    fn the_walk_ends_in_the_middle_of_a_packet() {
        // The data of a later fragment looks like a header here, but is none.
        let mut octets = packet(&[44, 60], &[0, 0]);
        octets[42..48].copy_from_slice(&[0x05, 0xa9, 1, 2, 3, 4]);
        let upper = Ipv6Header::new_checked(&octets).unwrap().upper_layer().unwrap();
        assert_eq!((upper.protocol, upper.offset), (60, 48));
        assert_eq!(upper.fragment, Some(Fragment { offset: 1448, more: true, identification: 0x0102_0304 }));
    }

    proptest! {
        #[test]
        fn fields_match_etherparse(mut octets in prop::collection::vec(any::<u8>(), 40..80)) {
            octets[0] = 0x60 | octets[0] & 15;
            let ours = Ipv6Header::new_checked(&octets).unwrap();
            let (theirs, rest) = etherparse::Ipv6Header::from_slice(&octets).unwrap();
            prop_assert_eq!(ours.traffic_class(), theirs.traffic_class);
            prop_assert_eq!(ours.flow_label(), theirs.flow_label.value());
            prop_assert_eq!((ours.payload_len(), ours.next_header(), ours.hop_limit()), (theirs.payload_length, theirs.next_header.0, theirs.hop_limit));
            prop_assert_eq!((ours.source().octets(), ours.destination().octets()), (theirs.source, theirs.destination));
            prop_assert_eq!(ours.payload(), rest);
        }

        #[test]
        fn setters_match_etherparse(mut octets: [u8; 40], class: u8, len: u16, hops: u8, a: [u8; 16], b: [u8; 16]) {
            octets[0] = 0x60 | octets[0] & 15;
            let (mut expected, _) = etherparse::Ipv6Header::from_slice(&octets).unwrap();
            (expected.traffic_class, expected.payload_length, expected.hop_limit) = (class, len, hops);
            (expected.source, expected.destination) = (a, b);
            let mut header = Ipv6Header::new_checked(&mut octets).unwrap();
            header.set_traffic_class(class);
            header.set_payload_len(len);
            header.set_hop_limit(hops);
            header.set_source(a.into());
            header.set_destination(b.into());
            prop_assert_eq!(octets, expected.to_bytes());
        }

        /// The walk against the one of etherparse, in the one order etherparse knows.
        #[test]
        fn walk_matches_etherparse(hop: bool, routing: bool, fragment: bool, destination: bool, units: [u8; 4]) {
            let units = units.map(|u| u % 6);
            let present = [(0, hop), (60, destination), (43, routing), (44, fragment)];
            let (kinds, units): (Vec<u8>, Vec<u8>) = present.iter().zip(units).filter(|((_, on), _)| *on).map(|((kind, _), u)| (*kind, u)).unzip();
            let octets = packet(&kinds, &units);
            let header = Ipv6Header::new_checked(&octets).unwrap();
            let (_, protocol, rest) = etherparse::Ipv6Extensions::from_slice(header.next_header().into(), header.payload()).unwrap();
            let upper = header.upper_layer().unwrap();
            prop_assert_eq!((upper.protocol, octets.len() - upper.offset), (protocol.0, rest.len()));
            prop_assert_eq!(upper.fragment.is_some(), fragment);
        }
    }
}
