//! Whether a packet is whole: lengths and checksums of the upper layer.

use crate::frame::Frame;
use crate::router::checksum;
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
    (8..=there).contains(&len) && (checksum == 0 || !with_checksum || checksum::is_right(packet, frame, there))
}

/// As [`udp_is_whole`], of UDP-Lite, which has the octets that its checksum covers in place of a length, and no packets without one
/// (RFC 3828 section 3.1).
pub(super) fn udp_lite_is_whole(packet: &Packet, frame: &Frame<'_>, with_checksum: bool) -> bool {
    let Some((len, checksum)) = udp_header(packet, frame) else { return false };
    let there = packet.l4_len();
    let covered = if len == 0 { there } else { len };
    (8..=there).contains(&covered) && checksum != 0 && (!with_checksum || checksum::is_right(packet, frame, covered))
}

/// Length and checksum.
#[inline]
fn udp_header(packet: &Packet, frame: &Frame<'_>) -> Option<(u32, u16)> {
    let [_, _, _, _, a, b, c, d] = upper_layer(packet, frame).first_chunk()?;
    Some((u16::from_be_bytes([*a, *b]).into(), u16::from_be_bytes([*c, *d])))
}
