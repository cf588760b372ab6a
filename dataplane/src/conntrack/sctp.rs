//! SCTP: states by chunk and verification tags (`net/netfilter/nf_conntrack_proto_sctp.c`, RFC 9260).
//!
//! Chunks are read as far as they lie in the head of the frame; those that change the state come first in their packet.
//! The CRC32c is not checked.

use super::settings::{Settings, Timeout};
use super::{Direction, Status};
use crate::clock::Nanos;

/// State of an association as the middle sees it (`enum sctp_conntrack`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum SctpState {
    /// Nothing seen.
    #[default]
    None,
    /// ABORT or SHUTDOWN COMPLETE seen, or INIT only.
    Closed,
    /// INIT ACK seen.
    CookieWait,
    /// COOKIE ECHO seen.
    CookieEchoed,
    /// COOKIE ACK seen.
    Established,
    /// SHUTDOWN seen from who began.
    ShutdownSent,
    /// SHUTDOWN seen from the other end.
    ShutdownRecd,
    /// SHUTDOWN ACK seen.
    ShutdownAckSent,
    /// HEARTBEAT began the flow: a further path of an association.
    HeartbeatSent,
}

impl SctpState {
    /// The name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            SctpState::None => "NONE",
            SctpState::Closed => "CLOSED",
            SctpState::CookieWait => "COOKIE_WAIT",
            SctpState::CookieEchoed => "COOKIE_ECHOED",
            SctpState::Established => "ESTABLISHED",
            SctpState::ShutdownSent => "SHUTDOWN_SENT",
            SctpState::ShutdownRecd => "SHUTDOWN_RECD",
            SctpState::ShutdownAckSent => "SHUTDOWN_ACK_SENT",
            SctpState::HeartbeatSent => "HEARTBEAT_SENT",
        }
    }

    pub(crate) const fn timeout(self) -> Timeout {
        match self {
            SctpState::None | SctpState::Closed => Timeout::SctpClosed,
            SctpState::CookieWait => Timeout::SctpCookieWait,
            SctpState::CookieEchoed => Timeout::SctpCookieEchoed,
            SctpState::Established => Timeout::SctpEstablished,
            SctpState::ShutdownSent => Timeout::SctpShutdownSent,
            SctpState::ShutdownRecd => Timeout::SctpShutdownRecd,
            SctpState::ShutdownAckSent => Timeout::SctpShutdownAckSent,
            SctpState::HeartbeatSent => Timeout::SctpHeartbeatSent,
        }
    }
}

const CL: Option<SctpState> = Some(SctpState::Closed);
const CW: Option<SctpState> = Some(SctpState::CookieWait);
const CE: Option<SctpState> = Some(SctpState::CookieEchoed);
const ES: Option<SctpState> = Some(SctpState::Established);
const SS: Option<SctpState> = Some(SctpState::ShutdownSent);
const SR: Option<SctpState> = Some(SctpState::ShutdownRecd);
const SA: Option<SctpState> = Some(SctpState::ShutdownAckSent);
const HS: Option<SctpState> = Some(SctpState::HeartbeatSent);
const IV: Option<SctpState> = None;

/// By direction, chunk, and state: `sctp_conntracks`. `None` is invalid.
#[rustfmt::skip]
static TRANSITIONS: [[[Option<SctpState>; 9]; 11]; 2] = [
    // NO, CL, CW, CE, ES, SS, SR, SA, HS
    [
        [CL, CL, CW, CE, ES, CL, CL, SA, CW], // INIT
        [CL, CL, CW, CE, ES, SS, SR, SA, CL], // INIT ACK
        [CL, CL, CL, CL, CL, CL, CL, CL, CL], // ABORT
        [CL, CL, CW, CE, SS, SS, SR, SA, CL], // SHUTDOWN
        [SA, CL, CW, CE, ES, SA, SA, SA, SA], // SHUTDOWN ACK
        [CL, CL, CW, CE, ES, SS, SR, SA, CL], // ERROR
        [CL, CL, CE, CE, ES, SS, SR, SA, CL], // COOKIE ECHO
        [CL, CL, CW, CE, ES, SS, SR, SA, CL], // COOKIE ACK
        [CL, CL, CW, CE, ES, SS, SR, CL, CL], // SHUTDOWN COMPLETE
        [HS, CL, CW, CE, ES, SS, SR, SA, HS], // HEARTBEAT
        [CL, CL, CW, CE, ES, SS, SR, SA, HS], // HEARTBEAT ACK
    ],
    [
        [IV, CL, CW, CE, ES, SS, SR, SA, IV],
        [IV, CW, CW, CE, ES, SS, SR, SA, IV],
        [IV, CL, CL, CL, CL, CL, CL, CL, IV],
        [IV, CL, CW, CE, SR, SS, SR, SA, IV],
        [IV, CL, CW, CE, ES, SA, SA, SA, IV],
        [IV, CL, CW, CL, ES, SS, SR, SA, IV],
        [IV, CL, CW, CE, ES, SS, SR, SA, IV],
        [IV, CL, CW, ES, ES, SS, SR, SA, IV],
        [IV, CL, CW, CE, ES, SS, SR, CL, IV],
        [IV, CL, CW, CE, ES, SS, SR, SA, HS],
        [IV, CL, CW, CE, ES, SS, SR, SA, ES],
    ],
];

const DATA: u8 = 0;
const INIT: u8 = 1;
const INIT_ACK: u8 = 2;
const HEARTBEAT: u8 = 4;
const HEARTBEAT_ACK: u8 = 5;
const ABORT: u8 = 6;
const SHUTDOWN: u8 = 7;
const SHUTDOWN_ACK: u8 = 8;
const ERROR: u8 = 9;
const COOKIE_ECHO: u8 = 10;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;

/// The row of a chunk in [`TRANSITIONS`]; other chunks change nothing.
const fn row(chunk: u8) -> Option<usize> {
    Some(match chunk {
        INIT => 0,
        INIT_ACK => 1,
        ABORT => 2,
        SHUTDOWN => 3,
        SHUTDOWN_ACK => 4,
        ERROR => 5,
        COOKIE_ECHO => 6,
        COOKIE_ACK => 7,
        SHUTDOWN_COMPLETE => 8,
        HEARTBEAT => 9,
        HEARTBEAT_ACK => 10,
        _ => return None,
    })
}

/// Flag T of ABORT and SHUTDOWN COMPLETE: the tag is that of the sender, not of the receiver (RFC 9260 section 8.5.1).
const FLAG_T: u8 = 1;

/// State of an SCTP flow (`struct ip_ct_sctp`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sctp {
    /// Verification tag of the packets of each direction.
    tags: [u32; 2],
    pub(super) state: SctpState,
    heartbeat_failed: bool,
    heartbeat_reply: bool,
}

#[derive(Clone, Copy)]
struct Chunk<'a> {
    kind: u8,
    flags: u8,
    value: &'a [u8],
}

impl Chunk<'_> {
    /// The tag that INIT and INIT ACK announce.
    fn initiate_tag(&self) -> Option<u32> {
        // 16 octets of INIT in front of its parameters must be there.
        self.value.get(..16).and_then(|value| value.first_chunk()).map(|tag| u32::from_be_bytes(*tag))
    }
}

/// A packet whose chunks go together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SctpPacket<'a> {
    tag: u32,
    chunks: &'a [u8],
    /// Bit n: there is a chunk of kind n. Kinds above 63 change nothing.
    kinds: u64,
}

/// Chunks one by one, as far as the octets go. A chunk of length 0 ends them with `None`.
fn chunks(mut octets: &[u8]) -> impl Iterator<Item = Option<Chunk<'_>>> {
    core::iter::from_fn(move || {
        let [kind, flags, a, b, ..] = *octets else { return None };
        let len = usize::from(u16::from_be_bytes([a, b]));
        if len == 0 {
            octets = &[];
            return Some(None);
        }
        let value = octets.get(4..len.min(octets.len())).unwrap_or(&[]);
        octets = octets.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Some(Chunk { kind, flags, value }))
    })
}

impl<'a> SctpPacket<'a> {
    /// Reads a packet. `None` for one whose chunks may not stand together (RFC 9260 section 6.10).
    pub(crate) fn parse(octets: &'a [u8]) -> Option<SctpPacket<'a>> {
        let header: &[u8; 12] = octets.first_chunk()?;
        let tag = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
        let octets = &octets[12..];
        let (mut kinds, mut alone, mut count) = (0, false, 0);
        for chunk in chunks(octets) {
            let chunk = chunk?;
            alone |= matches!(chunk.kind, INIT | INIT_ACK | SHUTDOWN_COMPLETE);
            if count != 0 && (alone || matches!(chunk.kind, COOKIE_ACK | COOKIE_ECHO)) {
                return None;
            }
            if chunk.kind < 64 {
                kinds |= 1 << chunk.kind;
            }
            count += 1;
        }
        (count != 0).then_some(SctpPacket { tag, chunks: octets, kinds })
    }

    fn has(&self, kinds: &[u8]) -> bool {
        kinds.iter().any(|kind| self.kinds >> kind & 1 != 0)
    }

    fn chunks(&self) -> impl Iterator<Item = Chunk<'a>> + use<'a> {
        chunks(self.chunks).map_while(|chunk| chunk)
    }
}

impl Sctp {
    /// The flow that a packet begins; `None` if it begins none.
    pub(crate) fn begin(packet: &SctpPacket<'_>) -> Option<Sctp> {
        if packet.has(&[ABORT, SHUTDOWN_COMPLETE, COOKIE_ACK]) {
            return None;
        }
        let mut sctp = Sctp::default();
        for chunk in packet.chunks() {
            // DATA and the like begin nothing.
            row(chunk.kind)?;
            match chunk.kind {
                INIT if packet.tag != 0 => return None,
                INIT => sctp.tags[1] = chunk.initiate_tag()?,
                HEARTBEAT => sctp.tags[0] = packet.tag,
                _ => sctp.tags[1] = packet.tag,
            }
        }
        Some(sctp)
    }

    /// Takes up a packet of the flow. `None` if it does not belong to it; else for how long the flow lives on, if that changes.
    pub(crate) fn packet(
        &mut self,
        packet: &SctpPacket<'_>,
        direction: Direction,
        status: &mut Status,
        settings: &Settings,
    ) -> Option<Option<Nanos>> {
        let (own, other) = (direction.index(), direction.other().index());
        let checked_below = [INIT, SHUTDOWN_COMPLETE, COOKIE_ECHO, ABORT, SHUTDOWN_ACK, HEARTBEAT, HEARTBEAT_ACK];
        if !packet.has(&checked_below) && packet.tag != self.tags[own] {
            return None;
        }
        let mut keep_timeout = false;
        for chunk in packet.chunks() {
            match chunk.kind {
                INIT if packet.tag != 0 => return None,
                ABORT | SHUTDOWN_COMPLETE => {
                    let expected = if chunk.flags & FLAG_T == 0 { own } else { other };
                    if packet.tag != self.tags[expected] {
                        return None;
                    }
                }
                COOKIE_ECHO if packet.tag != self.tags[own] => return None,
                HEARTBEAT | HEARTBEAT_ACK => {
                    if self.tags[own] == 0 {
                        self.tags[own] = packet.tag;
                    } else if packet.tag == self.tags[own] {
                        self.heartbeat_failed = false;
                    } else if packet.has(&[DATA]) || keep_timeout {
                        return None;
                    } else if chunk.kind == HEARTBEAT {
                        self.heartbeat_failed = true;
                        self.heartbeat_reply = direction == Direction::Reply;
                        keep_timeout = true;
                        continue;
                    } else {
                        if !self.heartbeat_failed || self.heartbeat_reply == (direction == Direction::Reply) {
                            return None;
                        }
                        self.heartbeat_failed = false;
                        self.tags[own] = packet.tag;
                        self.tags[other] = 0;
                    }
                }
                _ => {}
            }
            let old = self.state;
            let new = match row(chunk.kind) {
                Some(row) => TRANSITIONS[own][row][old as usize]?,
                None => old,
            };
            if matches!(chunk.kind, INIT | INIT_ACK) {
                self.tags[other] = chunk.initiate_tag()?;
                // INIT sent again does not keep the flow.
                keep_timeout |= (old, new) == (SctpState::Closed, SctpState::Closed);
            }
            self.state = new;
            if old != new && new == SctpState::Established {
                status.insert(Status::ASSURED);
            }
        }
        Some((!keep_timeout).then(|| settings.timeouts[self.state.timeout()]))
    }
}
