//! TCP: whether a segment lies in the window (`tcp_in_window` in `net/netfilter/nf_conntrack_proto_tcp.c`).
//!
//! Each end may send from a window before what it sent last up to what the other end offered (I and II), and
//! acknowledge from a window before what the other end sent last up to that (III and IV).

use wire::tcp::{ACK, RST, SYN};

use super::settings::Settings;
use super::tcp::{BE_LIBERAL, DATA_UNACKNOWLEDGED, Kind, MAXACK_SET, SACK_PERM, Segment, Tcp, TcpState, WINDOW_SCALE, after, before};
use super::{Direction, SequenceAdjustment};

/// Where a segment lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// In the window.
    In,
    /// Out of it, but either end may know why.
    Ignored,
    /// Out of it.
    Out,
}

/// The least number of octets an acknowledgment may lag behind.
const ACK_WINDOW: u32 = 66_000;
/// The largest shift of a window (RFC 7323 section 2.3).
const SCALE_MAX: u8 = 14;
/// No-op twice, timestamps: what nearly every segment carries (RFC 7323 appendix A).
const ONLY_TIMESTAMPS: [u8; 4] = [1, 1, 8, 10];

/// The options of a header, one by one: kind and value. What is cut or has a silly length ends them.
fn options(mut octets: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    core::iter::from_fn(move || {
        loop {
            match octets {
                [] | [0, ..] => return None,
                [1, rest @ ..] => octets = rest,
                [kind, len, ..] => {
                    let len = usize::from(*len);
                    if len < 2 || len > octets.len() {
                        return None;
                    }
                    let (option, rest) = octets.split_at(len);
                    octets = rest;
                    return Some((*kind, &option[2..]));
                }
                [_] => return None,
            }
        }
    })
}

/// Takes scale and flags from the options of a SYN.
pub(super) fn learn_options(octets: &[u8], scale: &mut u8, flags: &mut u8) {
    if octets.is_empty() {
        return;
    }
    *scale = 0;
    *flags &= BE_LIBERAL;
    for option in options(octets) {
        match option {
            (4, []) => *flags |= SACK_PERM,
            (3, [shift]) => {
                *scale = (*shift).min(SCALE_MAX);
                *flags |= WINDOW_SCALE;
            }
            _ => {}
        }
    }
}

/// The highest right edge of the SACK blocks, or `ack` if there is none behind it.
#[inline(always)]
fn highest_sack(octets: &[u8], ack: u32) -> u32 {
    if octets.is_empty() || (octets.len() == 12 && octets[..4] == ONLY_TIMESTAMPS) { ack } else { search_sack(octets, ack) }
}

#[inline(never)]
fn search_sack(octets: &[u8], ack: u32) -> u32 {
    let blocks = options(octets).find(|(kind, value)| *kind == 5 && value.len() >= 8 && value.len().is_multiple_of(8));
    let (blocks, _) = blocks.map_or(&[][..], |(_, value)| value).as_chunks::<8>();
    blocks.iter().fold(ack, |highest, [_, _, _, _, a, b, c, d]| {
        let right = u32::from_be_bytes([*a, *b, *c, *d]);
        if after(right, highest) { right } else { highest }
    })
}

/// First segment with SYN of an end.
fn begin_end(tcp: &mut Tcp, segment: &Segment<'_>, direction: Direction) {
    let (sender, receiver) = (direction.index(), direction.other().index());
    let seen = &mut tcp.seen[sender];
    (seen.end, seen.maxend) = (segment.end, segment.end);
    seen.maxwin = u32::from(segment.window).max(1);
    learn_options(segment.options, &mut tcp.scale[sender], &mut tcp.flags[sender]);
    // Only if both ends scale, either does.
    if direction == Direction::Reply && tcp.flags[sender] & tcp.flags[receiver] & WINDOW_SCALE == 0 {
        tcp.scale = [0, 0];
    }
}

/// The numbers of a segment as they are checked.
#[derive(Clone, Copy)]
struct Numbers {
    seq: u32,
    end: u32,
    ack: u32,
    sack: u32,
}

/// Checks a segment, and learns from one that fits.
#[inline(always)]
pub(super) fn check(
    tcp: &mut Tcp,
    segment: &Segment<'_>,
    direction: Direction,
    adjustments: Option<&[SequenceAdjustment; 2]>,
    settings: &Settings,
) -> Fit {
    let (sender, receiver) = (direction.index(), direction.other().index());
    let mut numbers = Numbers { seq: segment.seq, end: segment.end, ack: segment.ack, sack: segment.ack };
    if tcp.flags[receiver] & SACK_PERM != 0 {
        numbers.sack = highest_sack(segment.options, segment.ack);
    }
    if segment.flags & (SYN | RST | ACK) != ACK || tcp.seen[sender].maxwin == 0 || adjustments.is_some() {
        match prepare(tcp, *segment, direction, adjustments, numbers) {
            Ok(prepared) => numbers = prepared,
            Err(fit) => return fit,
        }
    }
    let Numbers { seq, end, ack: _, sack } = numbers;
    let [from, to] = [tcp.seen[sender], tcp.seen[receiver]];
    let ack_window = from.maxwin.max(ACK_WINDOW);
    let above_upper = |ack: u32| !before(ack, to.end.wrapping_add(1));
    let above_lower = |ack: u32| after(ack, to.end.wrapping_sub(ack_window).wrapping_sub(1));
    let above_lower_end = after(end, from.end.wrapping_sub(to.maxwin).wrapping_sub(1));
    let unless_liberal = |flags: u8, fit: Fit| {
        if flags & BE_LIBERAL != 0 || settings.tcp_be_liberal { Fit::In } else { fit }
    };
    if !before(seq, from.maxend.wrapping_add(1)) {
        let over = end.wrapping_sub(from.maxend).wrapping_add(1);
        if to.maxwin != 0 && above_lower_end && above_lower(sack) && over <= to.maxwin && !above_upper(sack) {
            // More than the window allows; if the other end takes it all the same, its acknowledgment shall fit.
            tcp.seen[sender].end = end;
            tcp.flags[sender] |= DATA_UNACKNOWLEDGED;
            return unless_liberal(tcp.flags[sender], Fit::Ignored);
        }
        return unless_liberal(tcp.flags[sender], Fit::Out);
    }
    if above_upper(sack) {
        return unless_liberal(tcp.flags[sender], Fit::Out);
    }
    if (to.maxwin != 0 && !above_lower_end) || !above_lower(sack) {
        return unless_liberal(tcp.flags[sender], Fit::Ignored);
    }
    learn(tcp, segment, direction, numbers);
    Fit::In
}

/// What is left to do before the numbers of a segment can be checked that is not a mere acknowledgment of a known end: the end begins, or
/// numbers stand for others. `Err` if that settles it.
#[inline(never)]
fn prepare(
    tcp: &mut Tcp,
    segment: Segment<'_>,
    direction: Direction,
    adjustments: Option<&[SequenceAdjustment; 2]>,
    numbers: Numbers,
) -> Result<Numbers, Fit> {
    let (sender, receiver) = (direction.index(), direction.other().index());
    let Numbers { mut seq, mut end, mut ack, mut sack } = numbers;
    if let Some(adjustments) = adjustments {
        let offset = adjustments[receiver].offset(ack.wrapping_sub(1)) as u32;
        ack = ack.wrapping_sub(offset);
        sack = sack.wrapping_sub(offset);
    }
    if tcp.seen[sender].maxwin == 0 {
        if segment.has(SYN) {
            begin_end(tcp, &segment, direction);
            if !segment.has(ACK) {
                return Err(Fit::In);
            }
        } else {
            pick_up_end(tcp, &segment, direction, sack);
        }
    } else if segment.has(SYN) && after(end, tcp.seen[sender].end) && matches!(tcp.state, TcpState::SynSent | TcpState::SynRecv) {
        // A connection that is begun again (RFC 9293 section 3.6.1).
        begin_end(tcp, &segment, direction);
        if direction == Direction::Reply && !segment.has(ACK) {
            return Err(Fit::In);
        }
    }
    // RST often acknowledges 0.
    if !segment.has(ACK) || (segment.has(RST) && ack == 0) {
        ack = tcp.seen[receiver].end;
        sack = ack;
    }
    if segment.has(RST) && seq == 0 && tcp.state == TcpState::SynSent {
        (seq, end) = (tcp.seen[sender].end, tcp.seen[sender].end);
    }
    Ok(Numbers { seq, end, ack, sack })
}

#[inline(always)]
fn learn(tcp: &mut Tcp, segment: &Segment<'_>, direction: Direction, numbers: Numbers) {
    let (sender, receiver) = (direction.index(), direction.other().index());
    let Numbers { seq, end, ack, sack } = numbers;
    // The window of a SYN is not scaled.
    let shift = if segment.has(SYN) { 0 } else { tcp.scale[sender] };
    let window = u32::from(segment.window) << shift;
    let from = &mut tcp.seen[sender];
    from.maxwin = from.maxwin.max(window.wrapping_add(sack.wrapping_sub(ack)));
    if after(end, from.end) {
        from.end = end;
        tcp.flags[sender] |= DATA_UNACKNOWLEDGED;
    }
    if segment.has(ACK) && (tcp.flags[sender] & MAXACK_SET == 0 || after(ack, from.maxack)) {
        from.maxack = ack;
        tcp.flags[sender] |= MAXACK_SET;
    }
    let maxend = from.maxend;
    let to = &mut tcp.seen[receiver];
    if to.maxwin != 0 && after(end, maxend) {
        to.maxwin = to.maxwin.wrapping_add(end.wrapping_sub(maxend));
    }
    let offered = sack.wrapping_add(window);
    if after(offered, to.maxend.wrapping_sub(1)) {
        // A window of 0 lets one octet probe it.
        to.maxend = offered.wrapping_add(u32::from(window == 0));
    }
    if ack == to.end {
        tcp.flags[receiver] &= !DATA_UNACKNOWLEDGED;
    }
    if segment.kind == Kind::Ack {
        let reply = direction == Direction::Reply;
        let same = tcp.last_reply == reply && (tcp.last_seq, tcp.last_ack, tcp.last_end, tcp.last_win) == (seq, ack, end, segment.window);
        if same {
            tcp.retrans = tcp.retrans.saturating_add(1);
        } else {
            tcp.last_reply = reply;
            (tcp.last_seq, tcp.last_ack, tcp.last_end, tcp.last_win) = (seq, ack, end, segment.window);
            tcp.retrans = 0;
        }
    }
}

/// First segment of an end that is not a SYN: the handshake was not seen.
#[cold]
fn pick_up_end(tcp: &mut Tcp, segment: &Segment<'_>, direction: Direction, sack: u32) {
    let (sender, receiver) = (direction.index(), direction.other().index());
    let window = u32::from(segment.window) << tcp.scale[sender];
    let from = &mut tcp.seen[sender];
    from.end = segment.end;
    from.maxwin = window.max(1);
    from.maxend = segment.end.wrapping_add(from.maxwin);
    let to = &mut tcp.seen[receiver];
    if to.maxwin == 0 {
        (to.end, to.maxend) = (sack, sack);
    } else if sack == to.end.wrapping_add(1) {
        // Most likely the answer to a keepalive.
        to.end = sack;
    }
}
