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

/// The EtherType field of a frame.
///
/// # Panics
///
/// If `frame` is shorter than [`HEADER_LEN`].
#[inline]
pub fn ether_type(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[12], frame[13]])
}
