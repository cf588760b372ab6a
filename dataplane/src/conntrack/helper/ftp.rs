//! The FTP helper (RFC 959, RFC 2428): `PORT` and `EPRT` of the client, the answers 227 and 229 of the server.
//!
//! Only lines that begin where another packet of the same direction ended one are looked at, so that a file name or a message
//! that contains a command opens nothing. The address must be that of the sender (Linux: `loose` off).

use core::fmt::Write;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use arrayvec::ArrayString;
use wire::TcpHeader;

use super::{HelperError, Resized, expectation, is_editable, replace_payload};
use crate::conntrack::{CtState, Direction, ExpectError, Expectation, Tracking};
use crate::frame::Frame;
use crate::router::address::{Address, Family};
use crate::router::packet::Packet;

/// Ports that are tried when the announced one is expected by another flow.
const PORTS_TRIED: usize = 128;

/// Where lines begin: behind packets that ended in a line feed (`struct nf_ct_ftp_master`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Sequence numbers, as sent, the last two by direction.
    begin: [[u32; 2]; 2],
    /// How many of them there are.
    known: [u8; 2],
}

impl Lines {
    /// Whether a line begins at `sequence`.
    fn begins(&self, direction: Direction, sequence: u32) -> bool {
        let i = direction.index();
        self.begin[i][..usize::from(self.known[i])].contains(&sequence)
    }

    /// A line begins at `sequence`. Of more than two the oldest is forgotten.
    fn add(&mut self, direction: Direction, sequence: u32) {
        if self.begins(direction, sequence) {
            return;
        }
        let (begin, known) = (&mut self.begin[direction.index()], &mut self.known[direction.index()]);
        let is_before = |a: u32, b: u32| (a.wrapping_sub(b) as i32) < 0;
        if usize::from(*known) < begin.len() {
            begin[usize::from(*known)] = sequence;
            *known += 1;
        } else {
            let oldest = usize::from(!is_before(begin[0], begin[1]));
            if is_before(begin[oldest], sequence) {
                begin[oldest] = sequence;
            }
        }
    }
}

/// How an address and a port are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notation {
    /// `192,168,1,2,4,1`: `PORT`, 227.
    Numbers,
    /// `|1|192.168.1.2|1025|`: `EPRT`.
    Extended,
    /// `|||1025|`: 229.
    PortOnly,
}

/// An announcement in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Announcement {
    notation: Notation,
    /// Where it is in the payload.
    at: usize,
    len: usize,
    /// `None` in the notation without.
    address: Option<Address>,
    port: u16,
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Nothing of interest.
    Other,
    /// The beginning of an announcement, or a damaged one.
    Malformed,
    Announcement(Announcement),
}

/// A run of digits up to `max`, and the rest behind it.
fn decimal(text: &[u8], max: u32) -> Option<(u32, &[u8])> {
    let digits = text.iter().take_while(|octet| octet.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    if digits == 0 {
        return None;
    }
    let number = number.iter().try_fold(0u32, |n, digit| n.checked_mul(10)?.checked_add(u32::from(digit - b'0')))?;
    (number <= max).then_some((number, rest))
}

/// Numbers up to 255 with `separator` between them, and the rest.
fn numbers<const N: usize>(mut text: &[u8], separator: u8) -> Option<([u8; N], &[u8])> {
    let mut found = [0; N];
    for (i, slot) in found.iter_mut().enumerate() {
        if i > 0 {
            text = text.strip_prefix(&[separator])?;
        }
        let (number, rest) = decimal(text, 255)?;
        (*slot, text) = (number as u8, rest);
    }
    Some((found, text))
}

/// `192,168,1,2,4,1`, ended by `end` or, without one, by anything but the end of the text.
fn host_port(text: &[u8], end: Option<u8>) -> Option<(Option<Address>, u16, usize)> {
    let ([a, b, c, d, high, low], rest) = numbers(text, b',')?;
    let next = *rest.first()?;
    let port = u16::from_be_bytes([high, low]);
    let is_whole = end.is_none_or(|end| end == next) && port != 0;
    is_whole.then_some((Some(Ipv4Addr::new(a, b, c, d).into()), port, text.len() - rest.len()))
}

/// The delimiter of RFC 2428 section 2: any printable character but a digit.
fn delimiter(text: &[u8]) -> Option<u8> {
    text.first().copied().filter(|octet| octet.is_ascii_graphic() && !octet.is_ascii_digit())
}

/// `1025|`.
fn port(text: &[u8], delimiter: u8) -> Option<(u16, &[u8])> {
    let (port, rest) = decimal(text, u16::MAX.into())?;
    let rest = rest.strip_prefix(&[delimiter])?;
    (port != 0).then_some((port as u16, rest))
}

/// `|1|192.168.1.2|1025|` or `|2|2001:db8::2|1025|`.
fn extended(text: &[u8], family: Family) -> Option<(Option<Address>, u16, usize)> {
    let delimiter = delimiter(text)?;
    let number = if family == Family::V4 { b'1' } else { b'2' };
    let rest = text[1..].strip_prefix(&[number, delimiter])?;
    let end = rest.iter().take(40).position(|octet| *octet == delimiter)?;
    let address = str::from_utf8(&rest[..end]).ok()?;
    let address = match family {
        Family::V4 => IpAddr::V4(address.parse().ok()?),
        Family::V6 => IpAddr::V6(address.parse().ok()?),
    };
    let (port, rest) = port(&rest[end + 1..], delimiter)?;
    Some((Some(address.into()), port, text.len() - rest.len()))
}

/// `|||1025|`.
fn port_only(text: &[u8]) -> Option<(Option<Address>, u16, usize)> {
    let delimiter = delimiter(text)?;
    let (port, rest) = port(text[1..].strip_prefix(&[delimiter, delimiter])?, delimiter)?;
    Some((None, port, text.len() - rest.len()))
}

/// The announcement behind `word`, if `payload` begins with that. It follows the octet `open`, or where there is none of a kind
/// everybody writes, it begins with the first digit (RFC 1123 section 4.1.2.6).
fn find(payload: &[u8], word: &[u8], open: Option<u8>, notation: Notation, family: Family) -> Line {
    let shorter = payload.len().min(word.len());
    if shorter == 0 || !payload[..shorter].eq_ignore_ascii_case(&word[..shorter]) {
        return Line::Other;
    }
    let behind = &payload[shorter..];
    let at = match open {
        Some(open) => behind.iter().position(|octet| *octet == open).map(|at| at + 1),
        None => behind.iter().position(u8::is_ascii_digit),
    };
    let Some(at) = at.map(|at| at + shorter) else { return Line::Malformed };
    let found = match notation {
        Notation::Numbers => host_port(&payload[at..], open.and(Some(b'\r'))),
        Notation::Extended => extended(&payload[at..], family),
        Notation::PortOnly => port_only(&payload[at..]),
    };
    match found {
        Some((address, port, len)) => Line::Announcement(Announcement { notation, at, len, address, port }),
        None => Line::Malformed,
    }
}

/// What the line that `payload` begins with is.
fn line(payload: &[u8], direction: Direction, family: Family) -> Line {
    let [first, second] = match direction {
        Direction::Original => [(&b"PORT"[..], Some(b' '), Notation::Numbers), (b"EPRT", Some(b' '), Notation::Extended)],
        Direction::Reply => [(&b"227 "[..], None, Notation::Numbers), (b"229 ", Some(b'('), Notation::PortOnly)],
    };
    match find(payload, first.0, first.1, first.2, family) {
        Line::Other => find(payload, second.0, second.1, second.2, family),
        found => found,
    }
}

/// As it is written.
fn write(notation: Notation, family: Family, address: Address, port: u16) -> ArrayString<64> {
    let mut text = ArrayString::new();
    let [high, low] = port.to_be_bytes();
    // The longest, with an IPv6 address, has 50 octets.
    let _ = match (notation, family) {
        (Notation::Numbers, _) => {
            let [a, b, c, d] = (address.0 as u32).to_be_bytes();
            write!(text, "{a},{b},{c},{d},{high},{low}")
        }
        (Notation::Extended, Family::V4) => write!(text, "|1|{}|{port}|", Ipv4Addr::from_bits(address.0 as u32)),
        (Notation::Extended, Family::V6) => write!(text, "|2|{}|{port}|", Ipv6Addr::from_bits(address.0)),
        (Notation::PortOnly, _) => write!(text, "|||{port}|"),
    };
    text
}

/// Looks into a packet of the control connection.
pub(super) fn help(
    lines: &mut Lines,
    frame: &mut Frame<'_>,
    packet: &mut Packet,
    tracking: &Tracking,
    expect: impl FnMut(&Expectation) -> Result<(), ExpectError>,
) -> Result<Option<Resized>, HelperError> {
    // Until there were packets in both directions there is nothing to announce.
    if tracking.state != CtState::Established {
        return Ok(None);
    }
    let (l3, l4) = (usize::from(packet.l3), usize::from(packet.l4));
    let end = l3 + packet.len as usize;
    let head = frame.head();
    let Ok(header) = TcpHeader::new_checked(head.get(l4..).unwrap_or(&[])) else { return Err(HelperError::NotEditable) };
    let (sequence, begin) = (header.sequence(), l4 + header.header_len());
    let Some(len) = end.checked_sub(begin).filter(|len| *len > 0) else { return Ok(None) };
    let last = match (end - 1).checked_sub(head.len()) {
        None => Some(head[end - 1]),
        Some(at) => frame.body().part(at, 1).octets().next(),
    };
    let direction = tracking.direction;
    let mut change = 0;
    if lines.begins(direction, sequence) {
        // A command that does not lie in the head is longer than any that is one.
        match line(&head[begin.min(head.len())..end.min(head.len())], direction, packet.family) {
            Line::Other => {}
            Line::Malformed => return Err(HelperError::Malformed),
            Line::Announcement(announcement) => change = announce(frame, packet, tracking, begin, &announcement, expect)?,
        }
    }
    if last == Some(b'\n') {
        lines.add(direction, sequence.wrapping_add(len as u32));
    }
    Ok((change != 0).then_some(Resized { sequence, change }))
}

/// Expects what a line announced, and rewrites it if the master is translated. Returns by how much the packet grew.
fn announce(
    frame: &mut Frame<'_>,
    packet: &mut Packet,
    tracking: &Tracking,
    begin: usize,
    announcement: &Announcement,
    mut expect: impl FnMut(&Expectation) -> Result<(), ExpectError>,
) -> Result<i32, HelperError> {
    let direction = tracking.direction;
    let Announcement { notation, at, len, address, port } = *announcement;
    if address.is_some_and(|address| address != tracking.tuple(direction).source) {
        return Ok(0);
    }
    if expectation(tracking, direction, port, port).nat.is_none() {
        return expect(&expectation(tracking, direction, port, port)).map(|()| 0).map_err(|_| HelperError::Full);
    }
    if !is_editable(frame, packet) {
        return Err(HelperError::NotEditable);
    }
    let tried = (port..=u16::MAX).take(PORTS_TRIED).map(|visible| (visible, expect(&expectation(tracking, direction, visible, port))));
    let (visible, result) = tried.skip_while(|(_, result)| *result == Err(ExpectError::Clash)).next().ok_or(HelperError::Full)?;
    result.map_err(|_| HelperError::Full)?;
    let text = write(notation, packet.family, tracking.tuple(direction.other()).destination, visible);
    replace_payload(frame, packet, begin + at, len, text.as_bytes())?;
    Ok(text.len() as i32 - len as i32)
}
