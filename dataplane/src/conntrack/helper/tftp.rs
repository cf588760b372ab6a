//! The TFTP helper (RFC 1350): the server answers a request from a port of its own choice.

use super::{HelperError, expectation};
use crate::conntrack::{Direction, ExpectError, Expectation, Tracking};
use crate::frame::Frame;
use crate::router::packet::Packet;

/// Read request.
const RRQ: u16 = 1;
/// Write request.
const WRQ: u16 = 2;

/// Expects the server's answer to a request, from any port of it to the port the request came from.
pub(super) fn help(
    frame: &Frame<'_>,
    packet: &Packet,
    tracking: &Tracking,
    mut expect: impl FnMut(&Expectation) -> Result<(), ExpectError>,
) -> Result<(), HelperError> {
    let payload = usize::from(packet.l4) + wire::udp::HEADER_LEN;
    if packet.l4_len() < wire::udp::HEADER_LEN as u32 + 2 {
        return Ok(());
    }
    let Some([a, b]) = frame.head().get(payload..payload + 2) else { return Ok(()) };
    if !matches!(u16::from_be_bytes([*a, *b]), RRQ | WRQ) {
        return Ok(());
    }
    // The port the server answers to is that of the request as it sees it, so there is nothing to rewrite and no choice.
    let (visible, port) = (tracking.reply.destination_port, tracking.original.source_port);
    expect(&expectation(tracking, Direction::Original, visible, port)).map_err(|_| HelperError::Full)
}
