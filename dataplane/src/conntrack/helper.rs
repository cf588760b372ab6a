//! Helpers read the control connection of a protocol and expect the connections it announces
//! (`nf_conntrack_ftp.c`, `nf_conntrack_tftp.c` and their NAT parts).
//!
//! A flow has a helper only where a rule of table `raw` gave it one (`-j CT --helper ftp`). [`super::extension`] asks [`help`] for each
//! packet of such a flow after it is confirmed and translated, and before its sequence numbers are adjusted.

use core::net::{Ipv4Addr, Ipv6Addr};

use wire::{Ipv4Header, Ipv6Header, checksum, tcp};

use super::seqadj::CutHeader;
use super::{Direction, ExpectError, Expectation, ExpectedNat, HelperKind, Status, Tracking, Tuple};
use crate::clock::Nanos;
use crate::frame::Frame;
use crate::router::address::Family;
use crate::router::packet::Packet;

pub mod ftp;
pub mod tftp;

impl HelperKind {
    /// All there are.
    pub const ALL: [HelperKind; 2] = [HelperKind::Ftp, HelperKind::Tftp];

    /// The helper of a name, as `-j CT --helper` has it.
    pub fn from_name(name: &str) -> Option<HelperKind> {
        HelperKind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The protocol of the flows it helps; a rule that sets it needs `-p` with this one.
    pub const fn protocol(self) -> u8 {
        match self {
            HelperKind::Ftp => wire::ip_protocol::TCP,
            HelperKind::Tftp => wire::ip_protocol::UDP,
        }
    }
}

/// Octets by which a helper makes a packet longer at most.
const GROWTH_MAX: u32 = 64;

/// How long an expectation waits (`timeout` of `struct nf_conntrack_expect_policy`).
const EXPECTATION_TIMEOUT: Nanos = 300 * 1_000_000_000;

/// Why a packet of a flow with a helper is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelperError {
    /// A command that opens a connection is incomplete or damaged. Half of it cannot be translated, so Linux drops it as well;
    /// the sender repeats it, in one piece if it means well.
    Malformed,
    /// No room for the expectation, or every port is expected by others.
    Full,
    /// The packet cannot be rewritten: it is yet to be segmented, its headers are too long, or it would be.
    NotEditable,
}

impl From<CutHeader> for HelperError {
    fn from(CutHeader: CutHeader) -> HelperError {
        HelperError::NotEditable
    }
}

/// Looks into a packet of a confirmed flow with a helper. May expect a flow, with `expect`, and rewrite the packet, which changes
/// its length: then returns by how much.
///
/// # Errors
///
/// [`HelperError`]; the packet is to be dropped then.
pub fn help(
    kind: HelperKind,
    lines: &mut ftp::Lines,
    frame: &mut Frame<'_>,
    packet: &mut Packet,
    tracking: &Tracking,
    expect: impl FnMut(&Expectation) -> Result<(), ExpectError>,
) -> Result<Option<Resized>, HelperError> {
    if packet.fragment.is_some() || packet.protocol != kind.protocol() {
        return Ok(None);
    }
    match kind {
        HelperKind::Ftp => ftp::help(lines, frame, packet, tracking, expect),
        HelperKind::Tftp => tftp::help(frame, packet, tracking, expect).map(|()| None),
    }
}

/// A packet whose payload changed its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resized {
    /// Its sequence number, as sent.
    pub sequence: u32,
    /// Octets by which it grew.
    pub change: i32,
}

/// A flow from the other end of the master to whoever sends the packets of `direction`: to `port`, which the other end knows as
/// `visible`.
fn expectation(tracking: &Tracking, direction: Direction, visible: u16, port: u16) -> Expectation {
    let (this, other) = (tracking.tuple(direction), tracking.tuple(direction.other()));
    let is_translated = tracking.status.intersects(Status(Status::SRC_NAT.0 | Status::DST_NAT.0));
    let nat = ExpectedNat { source: this.destination, destination: this.source, destination_port: port };
    Expectation {
        tuple: Tuple { source_port: 0, destination_port: visible, ..*other },
        any_source: false,
        any_source_port: true,
        helper: None,
        timeout: EXPECTATION_TIMEOUT,
        nat: is_translated.then_some(nat),
    }
}

/// Whether [`replace_payload`] can make a packet longer by [`GROWTH_MAX`]. Not if it is yet to be segmented: then it is no command.
fn is_editable(frame: &Frame<'_>, packet: &Packet) -> bool {
    !frame.offload().is_gso() && packet.len + GROWTH_MAX <= u16::MAX.into()
}

/// Replaces `remove` octets of TCP payload at `at` in the head by `insert`. Lengths and checksums follow.
fn replace_payload(frame: &mut Frame<'_>, packet: &mut Packet, at: usize, remove: usize, insert: &[u8]) -> Result<(), HelperError> {
    let change = insert.len() as i32 - remove as i32;
    if !is_editable(frame, packet) || !frame.splice(at, remove, insert) {
        return Err(HelperError::NotEditable);
    }
    let len = packet.len.wrapping_add_signed(change) as u16;
    packet.len = len.into();
    let (l3, l4) = (usize::from(packet.l3), usize::from(packet.l4));
    let l4_len = packet.l4_len();
    let head = frame.head_mut();
    let pseudo = match packet.family {
        Family::V4 => {
            if let Ok(mut header) = Ipv4Header::new_checked(&mut head[l3..]) {
                header.set_total_len(len);
                header.fill_checksum();
            }
            let (source, destination) = (Ipv4Addr::from_bits(packet.source.0 as u32), Ipv4Addr::from_bits(packet.destination.0 as u32));
            checksum::pseudo_ipv4(source, destination, packet.protocol, l4_len as u16)
        }
        Family::V6 => {
            if let Ok(mut header) = Ipv6Header::new_checked(&mut head[l3..]) {
                header.set_payload_len(len - wire::ipv6::HEADER_LEN as u16);
            }
            let (source, destination) = (Ipv6Addr::from_bits(packet.source.0), Ipv6Addr::from_bits(packet.destination.0));
            checksum::pseudo_ipv6(source, destination, packet.protocol, l4_len)
        }
    };
    let field = l4 + tcp::CHECKSUM.start..l4 + tcp::CHECKSUM.end;
    let value = if frame.offload().needs_checksum() {
        pseudo.fold()
    } else {
        // What lies behind the packet, such as padding of the Ethernet frame, does not count.
        let head = frame.head_mut();
        head[field.clone()].fill(0);
        let in_head = &head[l4..head.len().min(l4 + l4_len as usize)];
        let rest = l4_len as usize - in_head.len();
        let sum = pseudo.add(in_head);
        frame.body().part(0, rest).add_to(sum).checksum()
    };
    frame.head_mut()[field].copy_from_slice(&value.to_be_bytes());
    Ok(())
}
