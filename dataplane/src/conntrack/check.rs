//! Whether a packet is whole: lengths and checksums of the upper layer.

use core::net::{Ipv4Addr, Ipv6Addr};

use wire::checksum::{self, Sum};
use wire::ip_protocol;
use wire::virtio_net::FLAG_DATA_VALID;

use crate::frame::Frame;
use crate::router::address::Family;
use crate::router::packet::Packet;

/// The upper layer, as far as it lies in the head.
#[inline]
pub(super) fn upper_layer<'a>(packet: &Packet, frame: &'a Frame<'_>) -> &'a [u8] {
    frame.head().get(usize::from(packet.l4)..).unwrap_or(&[])
}

/// Whether length and, if asked, checksum of UDP are right.
#[inline(always)]
pub(super) fn udp_is_whole(packet: &Packet, frame: &Frame<'_>, with_checksum: bool) -> bool {
    let Some((len, checksum)) = udp_header(packet, frame) else { return false };
    let there = packet.l4_len();
    (8..=there).contains(&len) && (checksum == 0 || !with_checksum || checksum_is_right(packet, frame, there))
}

/// As [`udp_is_whole`], of UDP-Lite, which has the octets that its checksum covers in place of a length, and no packets without one
/// (RFC 3828 section 3.1).
pub(super) fn udp_lite_is_whole(packet: &Packet, frame: &Frame<'_>, with_checksum: bool) -> bool {
    let Some((len, checksum)) = udp_header(packet, frame) else { return false };
    let there = packet.l4_len();
    let covered = if len == 0 { there } else { len };
    (8..=there).contains(&covered) && checksum != 0 && (!with_checksum || checksum_is_right(packet, frame, covered))
}

/// Length and checksum.
#[inline]
fn udp_header(packet: &Packet, frame: &Frame<'_>) -> Option<(u32, u16)> {
    let [_, _, _, _, a, b, c, d] = upper_layer(packet, frame).first_chunk()?;
    Some((u16::from_be_bytes([*a, *b]).into(), u16::from_be_bytes([*c, *d])))
}

/// Whether the checksum of the upper layer over its first `covered` octets is right, as far as anybody need check: not if the sender
/// left it to be finished, or whoever delivered the frame has checked it.
#[inline]
pub(super) fn checksum_is_right(packet: &Packet, frame: &Frame<'_>, covered: u32) -> bool {
    let offload = frame.offload();
    if offload.needs_checksum() || offload.flags & FLAG_DATA_VALID != 0 {
        return true;
    }
    sum_is_right(packet, frame, covered)
}

#[inline(never)]
fn sum_is_right(packet: &Packet, frame: &Frame<'_>, covered: u32) -> bool {
    let (source, destination, len) = (packet.source.0, packet.destination.0, packet.l4_len());
    let pseudo = match (packet.family, packet.protocol) {
        (Family::V4, ip_protocol::ICMP) => Sum::ZERO,
        // An IPv4 packet is shorter than 65,536 octets.
        (Family::V4, protocol) => {
            checksum::pseudo_ipv4(Ipv4Addr::from_bits(source as u32), Ipv4Addr::from_bits(destination as u32), protocol, len as u16)
        }
        (Family::V6, protocol) => checksum::pseudo_ipv6(Ipv6Addr::from_bits(source), Ipv6Addr::from_bits(destination), protocol, len),
    };
    let head = frame.head();
    let start = usize::from(packet.l4);
    let end = start + covered as usize;
    let Some(first) = head.get(start..end.min(head.len())) else { return false };
    let mut sum = pseudo.add(first);
    if end > head.len() {
        let behind = end - head.len();
        if behind > frame.body().len() {
            return false;
        }
        sum = frame.body().part(0, behind).add_to(sum);
    }
    sum.fold() == 0xffff
}
