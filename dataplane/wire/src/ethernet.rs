//! The Ethernet II header (IEEE 802.3 clause 3) as named field ranges.

use core::ops::Range;

/// Destination address.
pub const DESTINATION: Range<usize> = 0..6;
/// Source address.
pub const SOURCE: Range<usize> = 6..12;
/// EtherType, length, or the TPID of the outermost VLAN tag.
pub const ETHER_TYPE: Range<usize> = 12..14;
/// Octets of the header without VLAN tags.
pub const HEADER_LEN: usize = 14;

/// EtherType of IPv4 (RFC 894).
pub const ETHER_TYPE_IPV4: u16 = 0x0800;
/// EtherType of ARP (RFC 826).
pub const ETHER_TYPE_ARP: u16 = 0x0806;
/// EtherType of IPv6 (RFC 2464).
pub const ETHER_TYPE_IPV6: u16 = 0x86dd;
/// EtherType of slow protocols: LACP, marker, OAM (IEEE 802.3 annex 57A).
pub const ETHER_TYPE_SLOW: u16 = 0x8809;

/// The EtherType field of a frame.
///
/// # Panics
///
/// If `frame` is shorter than [`HEADER_LEN`].
#[inline]
pub fn ether_type(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[12], frame[13]])
}

/// The lower 48 bits of a number: an address.
const ADDRESS_MASK: u64 = (1 << 48) - 1;

/// Destination and source of a header as numbers (see [`MacAddr::to_u64`](crate::MacAddr::to_u64)), by two loads of eight
/// octets.
#[inline]
pub fn addresses(header: &[u8; HEADER_LEN]) -> (u64, u64) {
    let first = header.first_chunk().map_or(0, |octets| u64::from_be_bytes(*octets));
    let last = header[..SOURCE.end].last_chunk().map_or(0, |octets| u64::from_be_bytes(*octets));
    (first >> 16, last & ADDRESS_MASK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MacAddr;

    #[test]
    fn addresses_are_those_of_the_fields() {
        let header = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 0];
        let (destination, source) = addresses(&header);
        assert_eq!(MacAddr::from_u64(destination), MacAddr::at(&header[DESTINATION]));
        assert_eq!(MacAddr::from_u64(source), MacAddr::at(&header[SOURCE]));
    }
}
