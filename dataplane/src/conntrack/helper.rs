//! Helpers read the control connection of a protocol and expect the connections it announces
//! (`nf_conntrack_ftp.c`, `nf_conntrack_tftp.c` and their NAT parts).
//!
//! A flow has a helper only where a rule of table `raw` gave it one (`-j CT --helper ftp`). [`super::extension`] asks [`help`] for each
//! packet of such a flow after it is confirmed and translated, and before its sequence numbers are adjusted.

use wire::{Ipv4Header, Ipv6Header, tcp};

use super::seqadj::CutHeader;
use super::{Direction, ExpectError, Expectation, ExpectedNat, HelperKind, Status, Tracking, Tuple};
use crate::clock::Nanos;
use crate::frame::Frame;
use crate::router::address::Family;
use crate::router::checksum::pseudo_header;
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
    match packet.family {
        Family::V4 => {
            if let Ok(mut header) = Ipv4Header::new_checked(&mut head[l3..]) {
                header.set_total_len(len);
                header.fill_checksum();
            }
        }
        Family::V6 => {
            if let Ok(mut header) = Ipv6Header::new_checked(&mut head[l3..]) {
                header.set_payload_len(len - wire::ipv6::HEADER_LEN as u16);
            }
        }
    }
    let pseudo = pseudo_header(packet.family, packet.source, packet.destination, packet.protocol, l4_len);
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::burst::BurstMemory;
    use crate::conntrack::{CtState, Domain, FlowRef};
    use crate::router::RouterId;
    use crate::router::address::Address;
    use core::net::SocketAddr;
    use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
    use wire::Offload;

    /// A TCP segment in an Ethernet frame.
    pub(crate) struct Segment {
        pub(crate) octets: Vec<u8>,
    }

    impl Segment {
        pub(crate) fn new(source: &str, destination: &str, sequence: u32, payload: impl AsRef<[u8]>) -> Segment {
            let ends = (source.parse().unwrap(), destination.parse().unwrap());
            let ethernet = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]);
            let ip = match ends {
                (SocketAddr::V4(from), SocketAddr::V4(to)) => ethernet.ipv4(from.ip().octets(), to.ip().octets(), 64),
                (SocketAddr::V6(from), SocketAddr::V6(to)) => ethernet.ipv6(from.ip().octets(), to.ip().octets(), 64),
                _ => panic!("two versions of IP"),
            };
            let mut octets = Vec::new();
            let tcp = ip.tcp(ends.0.port(), ends.1.port(), sequence, 1000).ack(77).psh();
            tcp.write(&mut octets, payload.as_ref()).unwrap();
            Segment { octets }
        }

        /// Runs `f` on the frame, and takes over what it made of it.
        pub(crate) fn with_frame<R>(&mut self, offload: Offload, f: impl FnOnce(&mut Frame<'_>, &mut Packet) -> R) -> R {
            let family = if self.octets[12] == 0x08 { Family::V4 } else { Family::V6 };
            let octets = core::mem::take(&mut self.octets);
            let mut memory = BurstMemory::new();
            let mut burst = memory.burst();
            burst.push_borrowed(&octets, offload, None);
            let frame = &mut burst.frames_mut()[0];
            let mut packet = Packet::parse(frame, family).unwrap();
            let result = f(frame, &mut packet);
            assert_eq!(Packet::parse(frame, family), Some(packet), "the packet is in step with its frame");
            self.octets = frame.head().iter().copied().chain(frame.body().octets()).collect();
            assert_eq!(frame.len(), self.octets.len());
            result
        }

        /// The payload, after lengths and checksums have been checked by another hand.
        pub(crate) fn checked_payload(&self) -> Vec<u8> {
            let sliced = SlicedPacket::from_ethernet(&self.octets).unwrap();
            let Some(TransportSlice::Tcp(tcp)) = &sliced.transport else { panic!("no TCP") };
            let (header, payload) = (tcp.to_header(), tcp.payload());
            let checksum = match sliced.net.unwrap() {
                etherparse::NetSlice::Ipv4(ip) => {
                    assert_eq!(ip.header().header_checksum(), ip.header().to_header().calc_header_checksum());
                    header.calc_checksum_ipv4(&ip.header().to_header(), payload).unwrap()
                }
                etherparse::NetSlice::Ipv6(ip) => header.calc_checksum_ipv6(&ip.header().to_header(), payload).unwrap(),
                other => panic!("{other:?}"),
            };
            assert_eq!(header.checksum, checksum);
            payload.to_vec()
        }
    }

    /// A flow in the state ESTABLISHED from `client` to `server`, whose answers come from `answering` to `visible`.
    pub(super) fn tracking(direction: Direction, client: &str, server: &str, visible: &str, answering: &str) -> Tracking {
        let tuple = |from: &str, to: &str| {
            let (from, to): (SocketAddr, SocketAddr) = (from.parse().unwrap(), to.parse().unwrap());
            Tuple {
                source: from.ip().into(),
                destination: to.ip().into(),
                source_port: from.port(),
                destination_port: to.port(),
                zone: 3,
                domain: Domain::new(RouterId(1), from.ip().into()),
                protocol: 6,
            }
        };
        let mut status = Status(Status::SEEN_REPLY.0 | Status::CONFIRMED.0);
        if client != visible {
            status.insert(Status::SRC_NAT);
        }
        if server != answering {
            status.insert(Status::DST_NAT);
        }
        Tracking {
            state: CtState::Established,
            direction,
            status,
            helper: Some(HelperKind::Ftp),
            original: tuple(client, server),
            reply: tuple(answering, visible),
            flow: FlowRef::None,
            ..Tracking::none(CtState::Established)
        }
    }

    #[test]
    fn names() {
        for kind in HelperKind::ALL {
            assert_eq!(HelperKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(HelperKind::from_name("sip"), None);
    }

    /// A read and a write request expect an answer from any port of the server; acknowledgments and what is cut do not.
    #[test]
    fn tftp() {
        let mut tracking = tracking(Direction::Original, "192.168.45.2:3000", "10.0.0.2:69", "10.0.0.1:4000", "10.0.0.2:69");
        for payload in [&[0, 1, b'f', 0][..], &[0, 2, b'f', 0], &[0, 4, 0, 0], &[0, 1], &[0], &[]] {
            let mut octets = Vec::new();
            let builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
            builder.udp(4000, 69).write(&mut octets, payload).unwrap();
            tracking.original.protocol = 17;
            tracking.reply.protocol = 17;
            let mut expected = Vec::new();
            let mut segment = Segment { octets };
            let mut lines = ftp::Lines::default();
            let result = segment.with_frame(Offload::NONE, |frame, packet| {
                help(HelperKind::Tftp, &mut lines, frame, packet, &tracking, |expectation| {
                    expected.push(*expectation);
                    Ok(())
                })
            });
            assert_eq!(result, Ok(None));
            assert_eq!(expected.len(), usize::from(matches!(payload, [0, 1 | 2, ..])), "{payload:?}");
            for expectation in expected {
                let tuple = expectation.tuple;
                assert_eq!((tuple.source, tuple.destination), (Address(0x0a00_0002), Address(0x0a00_0001)));
                assert_eq!((tuple.destination_port, tuple.protocol, tuple.zone), (4000, 17, 3));
                assert!(expectation.any_source_port && tuple.source_port == 0);
                let nat = expectation.nat.unwrap();
                assert_eq!((nat.source, nat.destination, nat.destination_port), (Address(0x0a00_0002), Address(0xc0a8_2d02), 3000));
            }
        }
    }
}
