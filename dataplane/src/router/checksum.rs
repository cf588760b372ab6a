//! Checksums of the upper layer of an IP packet: its pseudo header, and whether the one it came with is right.

use wire::checksum::{self, Sum};
use wire::ip_protocol;

use super::address::{Address, Family};
use super::packet::Packet;
use crate::frame::Frame;

/// The pseudo header of an upper layer of `len` octets (RFC 9293 section 3.1, RFC 8200 section 8.1).
#[inline]
pub(crate) fn pseudo_header(family: Family, source: Address, destination: Address, protocol: u8, len: u32) -> Sum {
    match family {
        // An IPv4 packet is shorter than 65,536 octets.
        Family::V4 => checksum::pseudo_ipv4(source.to_v4(), destination.to_v4(), protocol, len as u16),
        Family::V6 => checksum::pseudo_ipv6(source.to_v6(), destination.to_v6(), protocol, len),
    }
}

/// Whether the checksum of the upper layer over its first `covered` octets is right, as far as anybody need check: not if the sender
/// left it to be finished, or whoever delivered the frame has checked it.
#[inline]
pub(crate) fn is_right(packet: &Packet, frame: &Frame<'_>, covered: u32) -> bool {
    if frame.offload().vouches_for_checksum() {
        return true;
    }
    let pseudo = match (packet.family, packet.protocol) {
        (Family::V4, ip_protocol::ICMP) => Sum::ZERO,
        (family, protocol) => pseudo_header(family, packet.source, packet.destination, protocol, packet.l4_len()),
    };
    is_right_with(pseudo, packet.l4.into(), frame, covered)
}

/// As [`is_right`], of an upper layer at the offset `l4`, with its pseudo header.
#[inline]
pub(crate) fn is_right_with(pseudo: Sum, l4: usize, frame: &Frame<'_>, covered: u32) -> bool {
    let head = frame.head();
    let end = l4 + covered as usize;
    let Some(first) = head.get(l4..end.min(head.len())) else { return false };
    let sum = pseudo.add(first);
    if end <= head.len() { sum.fold() == 0xffff } else { rest_is_right(sum, end - head.len(), frame) }
}

/// Of an upper layer that has so many octets behind the head.
#[inline(never)]
fn rest_is_right(sum: Sum, behind: usize, frame: &Frame<'_>) -> bool {
    behind <= frame.body().len() && frame.body().part(0, behind).add_to(sum).fold() == 0xffff
}
