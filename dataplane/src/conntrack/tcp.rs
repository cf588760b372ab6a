//! TCP: states and their changes (`net/netfilter/nf_conntrack_proto_tcp.c`). The window is checked in `tcp_window`.

use wire::tcp::{ACK, FIN, RST, SYN, URG};

use super::settings::{Settings, Timeout};
use super::tcp_window::{self, Fit};
use super::{Direction, SequenceAdjustment, Status};

/// State of a TCP connection as the middle sees it (`enum tcp_conntrack`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum TcpState {
    /// Nothing seen.
    #[default]
    None,
    /// SYN seen.
    SynSent,
    /// SYN/ACK seen.
    SynRecv,
    /// ACK seen.
    Established,
    /// FIN seen.
    FinWait,
    /// ACK seen behind FIN.
    CloseWait,
    /// FIN seen behind FIN.
    LastAck,
    /// Last ACK seen.
    TimeWait,
    /// RST seen.
    Close,
    /// SYN seen from both ends.
    SynSent2,
}

impl TcpState {
    /// All, in order.
    pub const ALL: [TcpState; 10] = [
        TcpState::None,
        TcpState::SynSent,
        TcpState::SynRecv,
        TcpState::Established,
        TcpState::FinWait,
        TcpState::CloseWait,
        TcpState::LastAck,
        TcpState::TimeWait,
        TcpState::Close,
        TcpState::SynSent2,
    ];

    /// The name in listings.
    pub const fn name(self) -> &'static str {
        match self {
            TcpState::None => "NONE",
            TcpState::SynSent => "SYN_SENT",
            TcpState::SynRecv => "SYN_RECV",
            TcpState::Established => "ESTABLISHED",
            TcpState::FinWait => "FIN_WAIT",
            TcpState::CloseWait => "CLOSE_WAIT",
            TcpState::LastAck => "LAST_ACK",
            TcpState::TimeWait => "TIME_WAIT",
            TcpState::Close => "CLOSE",
            TcpState::SynSent2 => "SYN_SENT2",
        }
    }

    #[inline]
    pub(crate) const fn timeout(self) -> Timeout {
        match self {
            TcpState::None | TcpState::SynSent => Timeout::TcpSynSent,
            TcpState::SynRecv => Timeout::TcpSynRecv,
            TcpState::Established => Timeout::TcpEstablished,
            TcpState::FinWait => Timeout::TcpFinWait,
            TcpState::CloseWait => Timeout::TcpCloseWait,
            TcpState::LastAck => Timeout::TcpLastAck,
            TcpState::TimeWait => Timeout::TcpTimeWait,
            TcpState::Close => Timeout::TcpClose,
            TcpState::SynSent2 => Timeout::TcpSynSent2,
        }
    }

    /// Whether the connection ends, so that its tuple may have been used again.
    const fn is_closing(self) -> bool {
        matches!(self, TcpState::FinWait | TcpState::CloseWait | TcpState::LastAck | TcpState::TimeWait | TcpState::Close)
    }
}

/// What a segment is for the state (`enum tcp_bit_set`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Syn,
    SynAck,
    Fin,
    Ack,
    Rst,
    #[default]
    None,
}

impl Kind {
    const fn of(flags: u16) -> Kind {
        if flags & RST != 0 {
            Kind::Rst
        } else if flags & SYN != 0 {
            if flags & ACK != 0 { Kind::SynAck } else { Kind::Syn }
        } else if flags & FIN != 0 {
            Kind::Fin
        } else if flags & ACK != 0 {
            Kind::Ack
        } else {
            Kind::None
        }
    }
}

/// By the flags FIN, SYN, RST and ACK.
static KINDS: [Kind; (FIN | SYN | RST | ACK) as usize + 1] = {
    let mut kinds = [Kind::None; (FIN | SYN | RST | ACK) as usize + 1];
    let mut flags = 0;
    while flags < kinds.len() {
        kinds[flags] = Kind::of(flags as u16);
        flags += 1;
    }
    kinds
};

/// What the table says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Go to this state.
    State(TcpState),
    /// Either end may answer with what sets us right: let it pass, and change nothing.
    Ignore,
    Invalid,
}

const SS: Next = Next::State(TcpState::SynSent);
const SR: Next = Next::State(TcpState::SynRecv);
const ES: Next = Next::State(TcpState::Established);
const FW: Next = Next::State(TcpState::FinWait);
const CW: Next = Next::State(TcpState::CloseWait);
const LA: Next = Next::State(TcpState::LastAck);
const TW: Next = Next::State(TcpState::TimeWait);
const CL: Next = Next::State(TcpState::Close);
const S2: Next = Next::State(TcpState::SynSent2);
const IG: Next = Next::Ignore;
const IV: Next = Next::Invalid;

/// By direction, kind of segment, and state: `tcp_conntracks`.
#[rustfmt::skip]
static TRANSITIONS: [[[Next; 10]; 6]; 2] = [
    // NO, SS, SR, ES, FW, CW, LA, TW, CL, S2
    [
        [SS, SS, IG, IG, IG, IG, IG, SS, SS, S2], // SYN
        [IV, IV, SR, IV, IV, IV, IV, IV, IV, SR], // SYN/ACK
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV], // FIN
        [ES, IV, ES, ES, CW, CW, TW, TW, CL, IV], // ACK
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL], // RST
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV], // none
    ],
    [
        [IV, S2, IV, IV, IV, IV, IV, SS, IV, S2],
        [IV, SR, IG, IG, IG, IG, IG, IG, IG, SR],
        [IV, IV, FW, FW, LA, LA, LA, TW, CL, IV],
        [IV, IG, SR, ES, CW, CW, TW, TW, CL, IG],
        [IV, CL, CL, CL, CL, CL, CL, CL, CL, CL],
        [IV, IV, IV, IV, IV, IV, IV, IV, IV, IV],
    ],
];

/// Combinations of FIN, SYN, RST, ACK and URG that a segment may have; bit n stands for flags n.
const VALID_FLAGS: u64 = {
    let valid = [SYN, SYN | URG, SYN | ACK, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG];
    let (mut bits, mut i) = (0, 0);
    while i < valid.len() {
        bits |= 1 << valid[i];
        i += 1;
    }
    bits
};

/// The other end scales its window (RFC 7323): it sent the option.
pub(super) const WINDOW_SCALE: u8 = 0x01;
/// It permits selective acknowledgments (RFC 2018).
pub(super) const SACK_PERM: u8 = 0x02;
/// It sent the first FIN.
pub(super) const CLOSE_INIT: u8 = 0x04;
/// Its window is not checked.
pub(super) const BE_LIBERAL: u8 = 0x08;
/// It sent data that is not acknowledged.
pub(super) const DATA_UNACKNOWLEDGED: u8 = 0x10;
/// It acknowledged something: `maxack` counts.
pub(super) const MAXACK_SET: u8 = 0x20;
/// In `last_flags`: a challenge ACK (RFC 5961) may come.
const CHALLENGE_ACK: u8 = 0x40;
/// In `last_flags`: both ends sent SYN.
const SIMULTANEOUS_OPEN: u8 = 0x80;

/// What was seen of one end (`struct ip_ct_tcp_state`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Highest sequence number it sent, and one.
    pub(super) end: u32,
    /// Highest sequence number it may send: what the other end acknowledged and its window.
    pub(super) maxend: u32,
    /// Its largest window; 0 before its first segment.
    pub(super) maxwin: u32,
    /// The last it acknowledged.
    pub(super) maxack: u32,
}

/// State of a TCP flow (`struct ip_ct_tcp`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tcp {
    pub(super) seen: [Seen; 2],
    /// Shift of the window of each end.
    pub(super) scale: [u8; 2],
    /// Flags of each end.
    pub(super) flags: [u8; 2],
    pub(super) last_seq: u32,
    pub(super) last_ack: u32,
    pub(super) last_end: u32,
    pub(super) last_win: u16,
    /// Times the last segment was sent again.
    pub(super) retrans: u8,
    pub(super) last_kind: Kind,
    pub(super) last_reply: bool,
    pub(super) last_wscale: u8,
    pub(super) last_flags: u8,
    pub(super) state: TcpState,
}

/// A segment, as far as flows go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'a> {
    pub(super) seq: u32,
    pub(super) ack: u32,
    pub(super) window: u16,
    pub(super) flags: u16,
    pub(super) kind: Kind,
    /// Sequence number behind it; SYN and FIN count.
    pub(super) end: u32,
    /// Options, as far as they lie in the head of the frame.
    pub(super) options: &'a [u8],
}

impl<'a> Segment<'a> {
    /// Reads a segment of `len` octets whose header starts with `octets`. `None` for one that no flow takes: wrong length of the header,
    /// or flags that do not go together.
    #[inline]
    pub(crate) fn parse(octets: &'a [u8], len: u32) -> Option<Segment<'a>> {
        let header: &[u8; 20] = octets.first_chunk()?;
        let header_len = usize::from(header[12] >> 4) * 4;
        if header_len < 20 || header_len as u32 > len {
            return None;
        }
        let flags = u16::from(header[13]);
        if VALID_FLAGS >> (flags & (FIN | SYN | RST | ACK | URG)) & 1 == 0 {
            return None;
        }
        let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let seq = number(4);
        let counted = len - header_len as u32 + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0);
        Some(Segment {
            seq,
            ack: number(8),
            window: u16::from_be_bytes([header[14], header[15]]),
            flags,
            kind: KINDS[usize::from(flags & (FIN | SYN | RST | ACK))],
            end: seq.wrapping_add(counted),
            options: octets.get(20..header_len).unwrap_or(&[]),
        })
    }

    /// Whether it is neither the first nor the last of an end, and acknowledges something.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        self.kind == Kind::Ack
    }

    #[inline]
    pub(super) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }
}

/// Whether `a` is behind `b` in the circle of sequence numbers.
#[inline]
pub(super) const fn after(a: u32, b: u32) -> bool {
    before(b, a)
}

/// Whether `a` is in front of `b`.
#[inline]
pub(super) const fn before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

/// What becomes of a segment and its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It belongs to the flow, which lives on; for this long from now, if said.
    Accept(Option<Timeout>),
    /// It belongs to the flow, which ends.
    AcceptAndEnd,
    /// It does not belong to the flow. `shorten`: both ends have sent such that would end the connection.
    Invalid { shorten: bool },
    /// The flow ends, and the segment begins another.
    Reopen,
}

impl Tcp {
    /// The flow that a segment begins; `None` if it begins none.
    pub(crate) fn begin(segment: &Segment<'_>, settings: &Settings) -> Option<Tcp> {
        let mut tcp = Tcp::default();
        let window = u32::from(segment.window).max(1);
        match TRANSITIONS[0][segment.kind as usize][0] {
            Next::State(TcpState::SynSent) => {
                tcp.seen[0] = Seen { end: segment.end, maxend: segment.end, maxwin: window, maxack: 0 };
                tcp_window::learn_options(segment.options, &mut tcp.scale[0], &mut tcp.flags[0]);
            }
            // Picked up in the middle, so the scale of windows is not known.
            Next::State(_) if settings.tcp_loose => {
                tcp.seen[0] = Seen { end: segment.end, maxend: segment.end.wrapping_add(window), maxwin: window, maxack: 0 };
                tcp.flags = [SACK_PERM | BE_LIBERAL; 2];
            }
            _ => return None,
        }
        Some(tcp)
    }

    /// Takes up a segment of the flow (`nf_conntrack_tcp_packet`). `status` is that of the flow; of it only
    /// [`Status::ASSURED`] is set.
    #[inline(always)]
    pub(crate) fn packet(
        &mut self,
        segment: &Segment<'_>,
        direction: Direction,
        status: &mut Status,
        adjustments: Option<&[SequenceAdjustment; 2]>,
        settings: &Settings,
    ) -> Outcome {
        // The common case needs no table.
        if segment.kind == Kind::Ack && self.state == TcpState::Established {
            return self.judge(segment, direction, status, adjustments, settings, TcpState::Established, TcpState::Established);
        }
        let outcome;
        (outcome, *status) = self.packet_by_table(*segment, direction, *status, adjustments, settings);
        outcome
    }

    /// As [`Tcp::packet`], by value: what the common case holds then need not lie in memory.
    #[inline(never)]
    fn packet_by_table(
        &mut self,
        segment: Segment<'_>,
        direction: Direction,
        mut status: Status,
        adjustments: Option<&[SequenceAdjustment; 2]>,
        settings: &Settings,
    ) -> (Outcome, Status) {
        let outcome = match self.change(&segment, direction, status, settings) {
            Change::To(old, new) => self.judge(&segment, direction, &mut status, adjustments, settings, old, new),
            Change::Take(new) => self.take(&segment, direction, &mut status, settings, self.state, new),
            Change::Done(outcome) => outcome,
        };
        (outcome, status)
    }

    /// Takes up a segment that leads from one state to another, if it lies in the window.
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "compiled for each caller, so that the states of the common case are constants")]
    fn judge(
        &mut self,
        segment: &Segment<'_>,
        direction: Direction,
        status: &mut Status,
        adjustments: Option<&[SequenceAdjustment; 2]>,
        settings: &Settings,
        old: TcpState,
        new: TcpState,
    ) -> Outcome {
        match tcp_window::check(self, segment, direction, adjustments, settings) {
            Fit::In => self.take(segment, direction, status, settings, old, new),
            Fit::Ignored => Outcome::Accept(None),
            Fit::Out => self.out_of_window(*segment, direction, *status),
        }
    }

    /// What the table says of a segment, and what it cannot say.
    #[inline(never)]
    fn change(&mut self, segment: &Segment<'_>, direction: Direction, status: Status, settings: &Settings) -> Change {
        let old = self.state;
        let new = match TRANSITIONS[direction.index()][segment.kind as usize][old as usize] {
            Next::Invalid => return Change::Done(Outcome::Invalid { shorten: false }),
            Next::Ignore => return self.ignore(segment, direction, old),
            Next::State(new) => new,
        };
        match new {
            TcpState::SynSent if old >= TcpState::TimeWait => {
                let aborted = self.last_is(direction) && self.last_kind == Kind::Rst;
                if (self.flags[0] | self.flags[1]) & CLOSE_INIT != 0 || aborted {
                    return Change::Done(Outcome::Reopen);
                }
                self.ignore(segment, direction, old)
            }
            TcpState::TimeWait => {
                let challenged = old == TcpState::LastAck
                    && segment.kind == Kind::Ack
                    && !self.last_is(direction)
                    && self.last_kind == Kind::Syn
                    && self.last_flags & CHALLENGE_ACK != 0;
                if challenged {
                    self.last_flags &= !CHALLENGE_ACK;
                    return Change::Done(Outcome::Accept(None));
                }
                Change::To(old, new)
            }
            TcpState::SynSent2 => {
                self.last_flags |= SIMULTANEOUS_OPEN;
                Change::To(old, new)
            }
            TcpState::SynRecv if direction == Direction::Reply && segment.kind == Kind::Ack && self.last_flags & SIMULTANEOUS_OPEN != 0 => {
                Change::To(old, TcpState::Established)
            }
            TcpState::Close if segment.kind == Kind::Rst => self.reset(segment, direction, status, old, settings),
            _ => Change::To(old, new),
        }
    }

    #[inline]
    fn last_is(&self, direction: Direction) -> bool {
        self.last_reply == (direction == Direction::Reply)
    }

    /// A segment that the table ignores: perhaps the two ends are in step and we are not. Its numbers are kept, so that the answer to a SYN
    /// can set us right; that answer gives the state to go to.
    #[cold]
    fn ignore(&mut self, segment: &Segment<'_>, direction: Direction, old: TcpState) -> Change {
        let answers_ignored_syn =
            segment.kind == Kind::SynAck && self.last_kind == Kind::Syn && !self.last_is(direction) && segment.ack == self.last_end;
        if answers_ignored_syn {
            let other = direction.other().index();
            let seen = &mut self.seen[other];
            (seen.end, seen.maxend) = (self.last_end, self.last_end);
            seen.maxwin = u32::from(self.last_win).max(1);
            self.scale[other] = self.last_wscale;
            self.last_flags &= !CHALLENGE_ACK;
            self.flags[other] = self.last_flags;
            self.seen[direction.index()] = Seen::default();
            self.scale[direction.index()] = 0;
            self.flags[direction.index()] &= BE_LIBERAL;
            return Change::To(TcpState::SynSent, TcpState::SynRecv);
        }
        self.last_kind = segment.kind;
        self.last_reply = direction == Direction::Reply;
        (self.last_seq, self.last_end, self.last_win) = (segment.seq, segment.end, segment.window);
        if segment.kind == Kind::Syn && direction == Direction::Original {
            let (mut scale, mut flags) = (0, 0);
            tcp_window::learn_options(segment.options, &mut scale, &mut flags);
            (self.last_wscale, self.last_flags) = (scale, flags & (WINDOW_SCALE | SACK_PERM));
            if old == TcpState::LastAck {
                self.last_flags |= CHALLENGE_ACK;
            }
        }
        if old == TcpState::SynSent && segment.kind == Kind::Ack && direction == Direction::Reply {
            self.last_ack = segment.ack;
        }
        Change::Done(Outcome::Accept(None))
    }

    /// Judges an RST. Only one with exactly the number that the other end waits for ends an established connection at once (RFC 5961
    /// section 3.2).
    #[cold]
    fn reset(&mut self, segment: &Segment<'_>, direction: Direction, status: Status, old: TcpState, settings: &Settings) -> Change {
        let mut new = TcpState::Close;
        if old.is_closing() {
            return Change::Take(new);
        }
        let other = direction.other().index();
        let established = old == TcpState::Established && status.contains(Status::ASSURED);
        if self.flags[other] & MAXACK_SET != 0 && self.last_kind != Kind::Syn {
            if segment.seq == 0 && !established {
                return Change::To(old, new);
            }
            let maxack = self.seen[other].maxack;
            if before(segment.seq, maxack) && !settings.tcp_ignore_invalid_rst {
                return Change::Done(Outcome::Invalid { shorten: false });
            }
            if !established || segment.seq == maxack {
                return Change::To(old, new);
            }
            // Right behind the last segment of the same end.
            if self.last_kind == Kind::Ack && self.last_is(direction) && segment.seq == self.last_end {
                return Change::To(old, new);
            }
            new = old;
        }
        let seen_reply = status.contains(Status::SEEN_REPLY);
        let assured = status.contains(Status::ASSURED);
        let answers_ignored = (seen_reply && self.last_kind == Kind::Syn) || (!assured && self.last_kind == Kind::Ack);
        if answers_ignored && segment.ack == self.last_end {
            return Change::Take(new);
        }
        let answers_challenge = old == TcpState::SynSent && self.last_kind == Kind::Ack && self.last_reply && segment.seq == self.last_ack;
        if answers_challenge { Change::Take(new) } else { Change::To(old, new) }
    }

    /// FIN or RST outside of the window from both ends: the connection is most likely gone, so it shall not live for days.
    #[cold]
    fn out_of_window(&mut self, segment: Segment<'_>, direction: Direction, status: Status) -> Outcome {
        let ends = |kind| matches!(kind, Kind::Fin | Kind::Rst);
        if !status.contains(Status::ASSURED) || status.contains(Status::FIXED_TIMEOUT) || !ends(segment.kind) {
            return Outcome::Invalid { shorten: false };
        }
        if !self.last_is(direction) && ends(self.last_kind) {
            return Outcome::Invalid { shorten: true };
        }
        self.last_kind = segment.kind;
        self.last_reply = direction == Direction::Reply;
        Outcome::Invalid { shorten: false }
    }

    /// The segment is in the window.
    #[inline(always)]
    fn take(
        &mut self,
        segment: &Segment<'_>,
        direction: Direction,
        status: &mut Status,
        settings: &Settings,
        old: TcpState,
        new: TcpState,
    ) -> Outcome {
        self.last_kind = segment.kind;
        self.last_reply = direction == Direction::Reply;
        self.state = new;
        if old != new && new == TcpState::FinWait {
            self.flags[direction.index()] |= CLOSE_INIT;
        }
        let timeouts = &settings.timeouts;
        let longer_than = |state: TcpState, timeout: Timeout| timeouts[state.timeout()] > timeouts[timeout];
        let mut timeout = new.timeout();
        if self.retrans >= settings.tcp_max_retrans && longer_than(new, Timeout::TcpMaxRetrans) {
            timeout = Timeout::TcpMaxRetrans;
        } else if segment.kind == Kind::Rst {
            timeout = Timeout::TcpClose;
        } else if (self.flags[0] | self.flags[1]) & DATA_UNACKNOWLEDGED != 0 && longer_than(new, Timeout::TcpUnacknowledged) {
            timeout = Timeout::TcpUnacknowledged;
        } else if self.last_win == 0 && longer_than(new, Timeout::TcpMaxRetrans) {
            timeout = Timeout::TcpMaxRetrans;
        }
        if !status.contains(Status::SEEN_REPLY) {
            if segment.has(RST) {
                return Outcome::AcceptAndEnd;
            }
            // SYN sent again does not keep the flow, or a port that is used again and again would.
            if segment.kind == Kind::Syn && old == TcpState::SynSent {
                return Outcome::Accept(None);
            }
            if new == TcpState::Established && timeouts[timeout] > timeouts[Timeout::TcpUnacknowledged] {
                timeout = Timeout::TcpUnacknowledged;
            }
        } else if !status.contains(Status::ASSURED)
            && matches!(old, TcpState::SynRecv | TcpState::Established)
            && new == TcpState::Established
        {
            status.insert(Status::ASSURED);
        }
        Outcome::Accept(Some(timeout))
    }
}

/// How the state changes.
enum Change {
    /// From one to another, if the segment lies in the window.
    To(TcpState, TcpState),
    /// To this, wherever it lies.
    Take(TcpState),
    /// All is said.
    Done(Outcome),
}
