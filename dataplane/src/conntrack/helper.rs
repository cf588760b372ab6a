//! Helpers read the control connection of a protocol and expect the connections it announces
//! (`nf_conntrack_ftp.c`, `nf_conntrack_tftp.c` and their NAT parts).
//!
//! A flow has a helper only where a rule of table `raw` gave it one (`-j CT --helper ftp`). A worker asks [`help`] for each packet
//! of such a flow after it is confirmed and translated, and before its sequence numbers are adjusted ([`super::seqadj`]).

use core::net::{Ipv4Addr, Ipv6Addr};

use wire::{Ipv4Header, Ipv6Header, checksum, tcp};

use super::seqadj::{CutHeader, SequenceAdjust};
use super::{ConnId, Direction, FlowRef, Status, Tracking, Tuple};
use crate::clock::Nanos;
use crate::frame::Frame;
use crate::router::address::{Address, Family};
use crate::router::packet::Packet;

pub mod ftp;
pub mod tftp;

/// A helper, by the name `-j CT --helper` knows it under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum HelperKind {
    /// `ftp`: RFC 959, RFC 2428, over TCP.
    Ftp,
    /// `tftp`: RFC 1350, over UDP.
    Tftp,
}

impl HelperKind {
    /// All there are.
    pub const ALL: [HelperKind; 2] = [HelperKind::Ftp, HelperKind::Tftp];

    /// The name in rules and in `conntrack -L`.
    pub const fn name(self) -> &'static str {
        match self {
            HelperKind::Ftp => "ftp",
            HelperKind::Tftp => "tftp",
        }
    }

    /// The helper of a name.
    pub fn from_name(name: &str) -> Option<HelperKind> {
        HelperKind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// The protocol of the flows it helps; `-j CT --helper` needs `-p` with it.
    pub const fn protocol(self) -> u8 {
        match self {
            HelperKind::Ftp => wire::ip_protocol::TCP,
            HelperKind::Tftp => wire::ip_protocol::UDP,
        }
    }
}

/// How long an expectation waits (`timeout` of `struct nf_conntrack_expect_policy`).
pub const EXPECTATION_TIMEOUT: Nanos = 300 * 1_000_000_000;

/// A flow that another one announced (`struct nf_conntrack_expect`). The next packet that begins a flow and matches makes it
/// [`Related`](super::CtState::Related) and uses the expectation up. A master has one at a time; a new one replaces the old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// The tuple its first packet has, with any source port: `source_port` is 0.
    pub tuple: Tuple,
    /// How long it waits.
    pub timeout: Nanos,
    /// How the flow is translated where its master is; `None` where the master is not.
    pub nat: Option<FollowMaster>,
}

/// The translation of an expected flow (`nf_nat_follow_master`), decided when the flow begins: its source becomes `source`, its
/// destination `destination` and `port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowMaster {
    /// Source address to show.
    pub source: Address,
    /// Destination address behind the translation.
    pub destination: Address,
    /// Destination port behind the translation.
    pub port: u16,
}

/// What a flow has beside its entry if it has a helper, a sequence adjustment or a SYN proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extension {
    /// Sequence adjustment, by [`Direction::index`].
    pub adjust: [SequenceAdjust; 2],
    /// What the FTP helper remembers.
    pub ftp: ftp::Lines,
    /// The SYN proxy of the flow.
    pub syn_proxy: Option<crate::synproxy::State>,
}

/// What [`help`] needs of the table.
pub trait Expectations {
    /// Adds an expectation of `master`.
    ///
    /// # Errors
    ///
    /// [`ExpectError`].
    fn expect(&self, master: ConnId, expectation: Expectation) -> Result<(), ExpectError>;
    /// Takes the expectations of `master` back.
    fn unexpect(&self, master: ConnId);
    /// Runs `f` on the extension of a flow; `None` when the flow is gone.
    fn extension<R>(&self, flow: ConnId, f: impl FnOnce(&mut Extension) -> R) -> Option<R>;
}

/// Why an expectation is not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectError {
    /// Another flow expects the same.
    Busy,
    /// No room, or the master is gone.
    Full,
}

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

/// Looks into a packet of a confirmed flow with helper `kind`. May expect a flow and rewrite the packet, which changes its length.
///
/// # Errors
///
/// [`HelperError`]; the packet is to be dropped then.
pub fn help(
    table: &impl Expectations,
    kind: HelperKind,
    frame: &mut Frame<'_>,
    packet: &mut Packet,
    tracking: &Tracking,
) -> Result<(), HelperError> {
    let FlowRef::Known(flow) = tracking.flow else { return Ok(()) };
    if packet.fragment.is_some() || packet.protocol != kind.protocol() || packet.is_icmp_error() {
        return Ok(());
    }
    match kind {
        HelperKind::Ftp => ftp::help(table, flow, frame, packet, tracking),
        HelperKind::Tftp => tftp::help(table, flow, frame, packet, tracking),
    }
}

/// A flow from the other end of the master to whoever sends the packets of `direction`: to `port`, which the other end knows as
/// `visible`.
fn expectation(tracking: &Tracking, direction: Direction, visible: u16, port: u16) -> Expectation {
    let (this, other) = (tracking.tuple(direction), tracking.tuple(direction.other()));
    let is_translated = tracking.status.intersects(Status(Status::SRC_NAT.0 | Status::DST_NAT.0));
    Expectation {
        tuple: Tuple { source_port: 0, destination_port: visible, ..*other },
        timeout: EXPECTATION_TIMEOUT,
        nat: is_translated.then_some(FollowMaster { source: this.destination, destination: this.source, port }),
    }
}

/// Replaces `remove` octets of TCP payload at `at` in the head by `insert`. Lengths and checksums follow.
fn replace_payload(frame: &mut Frame<'_>, packet: &mut Packet, at: usize, remove: usize, insert: &[u8]) -> Result<(), HelperError> {
    let change = insert.len() as i32 - remove as i32;
    let len = packet.len.checked_add_signed(change).and_then(|len| u16::try_from(len).ok()).ok_or(HelperError::NotEditable)?;
    if frame.offload().is_gso() || !frame.splice(at, remove, insert) {
        return Err(HelperError::NotEditable);
    }
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
