//! The FTP helper (RFC 959, RFC 2428): `PORT` and `EPRT` of the client, the answers 227 and 229 of the server.
//!
//! Only lines that begin where another packet of the same direction ended one are looked at, so that a file name or a message
//! that contains a command opens nothing. The address must be that of the sender (Linux: `loose` off).

use core::fmt::Write;
use core::net::{IpAddr, Ipv4Addr};

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
    pub(in crate::conntrack) fn add(&mut self, direction: Direction, sequence: u32) {
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
        (Notation::Extended, Family::V4) => write!(text, "|1|{}|{port}|", address.to_v4()),
        (Notation::Extended, Family::V6) => write!(text, "|2|{}|{port}|", address.to_v6()),
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
    let mut tried = (port..=u16::MAX).take(PORTS_TRIED).map(|visible| (visible, expect(&expectation(tracking, direction, visible, port))));
    let (visible, result) = tried.find(|(_, result)| *result != Err(ExpectError::Clash)).ok_or(HelperError::Full)?;
    result.map_err(|_| HelperError::Full)?;
    let text = write(notation, packet.family, tracking.tuple(direction.other()).destination, visible);
    replace_payload(frame, packet, begin + at, len, text.as_bytes())?;
    Ok(text.len() as i32 - len as i32)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Segment, tracking};
    use super::*;
    use proptest::prelude::*;
    use wire::{Offload, virtio_net};

    use Direction::{Original, Reply};

    fn announcement(notation: Notation, at: usize, len: usize, address: Option<&str>, port: u16) -> Line {
        let address = address.map(|address| address.parse::<IpAddr>().unwrap().into());
        Line::Announcement(Announcement { notation, at, len, address, port })
    }

    /// What clients and servers really send (vsftpd, proftpd, IIS, the Linux client), and where the numbers are in it.
    #[test]
    fn lines_that_announce() {
        let v4 = Some("192.168.45.2");
        let cases = [
            (Original, Family::V4, "PORT 192,168,45,2,4,1\r\n", announcement(Notation::Numbers, 5, 16, v4, 1025)),
            (Original, Family::V4, "port 192,168,45,2,255,255\r\n", announcement(Notation::Numbers, 5, 20, v4, 65535)),
            (Original, Family::V4, "EPRT |1|192.168.45.2|1025|\r\n", announcement(Notation::Extended, 5, 21, v4, 1025)),
            (Original, Family::V4, "EPRT !1!192.168.45.2!1025!\r\n", announcement(Notation::Extended, 5, 21, v4, 1025)),
            (Original, Family::V6, "EPRT |2|2001:db8::2|1025|\r\n", announcement(Notation::Extended, 5, 20, Some("2001:db8::2"), 1025)),
            (Reply, Family::V4, "227 Entering Passive Mode (192,168,45,2,4,1).\r\n", announcement(Notation::Numbers, 27, 16, v4, 1025)),
            (Reply, Family::V4, "227 Entering Passive Mode. 192,168,45,2,4,1\r\n", announcement(Notation::Numbers, 27, 16, v4, 1025)),
            (Reply, Family::V4, "227 =192,168,45,2,4,1\r\n", announcement(Notation::Numbers, 5, 16, v4, 1025)),
            (Reply, Family::V4, "229 Entering Extended Passive Mode (|||1025|)\r\n", announcement(Notation::PortOnly, 36, 8, None, 1025)),
            (Reply, Family::V6, "229 Extended Passive Mode OK (|||1025|)\r\n", announcement(Notation::PortOnly, 30, 8, None, 1025)),
        ];
        for (direction, family, text, expected) in cases {
            assert_eq!(line(text.as_bytes(), direction, family), expected, "{text:?}");
        }
    }

    /// Whatever begins like an announcement and is none.
    #[test]
    fn lines_that_are_damaged() {
        let cases = [
            (Original, Family::V4, "PO"),
            (Original, Family::V4, "PORT"),
            (Original, Family::V4, "PORT 192,168,45,2,4,1"),
            (Original, Family::V4, "PORT 192,168,45,2,4\r\n"),
            (Original, Family::V4, "PORT 192,168,45,2,4,256\r\n"),
            (Original, Family::V4, "PORT 192,168,45,2,4,99999999999\r\n"),
            (Original, Family::V4, "PORT 192,168,45,2,0,0\r\n"),
            (Original, Family::V4, "PORT 192,168,45,2,4,1,9\r\n"),
            (Original, Family::V4, "PORT ,,,,,\r\n"),
            (Original, Family::V4, "EPRT |2|2001:db8::2|1025|\r\n"),
            (Original, Family::V6, "EPRT |1|192.168.45.2|1025|\r\n"),
            (Original, Family::V4, "EPRT |1|192.168.45.2|65536|\r\n"),
            (Original, Family::V4, "EPRT |1|192.168.45.2|0|\r\n"),
            (Original, Family::V4, "EPRT |1|192.168.45.2|1025\r\n"),
            (Original, Family::V4, "EPRT 111192.168.45.2110251\r\n"),
            (Original, Family::V6, "EPRT |2|2001:db8:::2|1025|\r\n"),
            (Reply, Family::V4, "227 Entering Passive Mode\r\n"),
            (Reply, Family::V4, "227 Entering Passive Mode (192,168,45,2,4,"),
            (Reply, Family::V4, "229 Entering Extended Passive Mode\r\n"),
            (Reply, Family::V4, "229 Entering Extended Passive Mode (||1025|)\r\n"),
        ];
        for (direction, family, text) in cases {
            assert_eq!(line(text.as_bytes(), direction, family), Line::Malformed, "{text:?}");
        }
    }

    #[test]
    fn lines_of_no_interest() {
        for (direction, text) in [
            (Original, "USER anonymous\r\n"),
            (Original, "227 Entering Passive Mode (192,168,45,2,4,1)\r\n"),
            (Original, " PORT 192,168,45,2,4,1\r\n"),
            (Original, "P\u{f6}RT\r\n"),
            (Reply, "PORT 192,168,45,2,4,1\r\n"),
            (Reply, "226 Transfer complete.\r\n"),
            (Reply, "227-not yet\r\n"),
            (Reply, ""),
        ] {
            assert_eq!(line(text.as_bytes(), direction, Family::V4), Line::Other, "{text:?}");
        }
    }

    /// The client is 192.168.45.2:40000, shown as 10.0.0.1:40000; the server 10.0.0.2:21.
    fn masqueraded(direction: Direction) -> Tracking {
        tracking(direction, "192.168.45.2:40000", "10.0.0.2:21", "10.0.0.1:40000", "10.0.0.2:21")
    }

    fn run(
        lines: &mut Lines,
        segment: &mut Segment,
        tracking: &Tracking,
        mut expect: impl FnMut(&Expectation) -> Result<(), ExpectError>,
    ) -> Result<Option<Resized>, HelperError> {
        segment.with_frame(Offload::NONE, |frame, packet| help(lines, frame, packet, tracking, &mut expect))
    }

    fn nothing_expected(expectation: &Expectation) -> Result<(), ExpectError> {
        panic!("{expectation:?}")
    }

    /// An active transfer behind masquerading, as `ftp` and vsftpd speak: the command is rewritten, and the expected flow goes to
    /// the client.
    #[test]
    fn active_behind_masquerading() {
        let mut lines = Lines::default();
        let greeting = "220 (vsFTPd 3.0.5)\r\n";
        run(&mut lines, &mut Segment::new("10.0.0.2:21", "192.168.45.2:40000", 7000, greeting), &masqueraded(Reply), nothing_expected)
            .unwrap();
        let mut at = 500;
        for command in ["USER ftp\r\n", "PASS x\r\n", "TYPE I\r\n"] {
            let mut segment = Segment::new("10.0.0.1:40000", "10.0.0.2:21", at, command);
            assert_eq!(run(&mut lines, &mut segment, &masqueraded(Original), nothing_expected), Ok(None));
            at += command.len() as u32;
        }
        let mut segment = Segment::new("10.0.0.1:40000", "10.0.0.2:21", at, "PORT 192,168,45,2,156,65\r\n");
        let mut expected = Vec::new();
        let resized = run(&mut lines, &mut segment, &masqueraded(Original), |expectation| {
            expected.push(*expectation);
            Ok(())
        });
        assert_eq!(resized, Ok(Some(Resized { sequence: at, change: -4 })));
        assert_eq!(segment.checked_payload(), b"PORT 10,0,0,1,156,65\r\n");
        let [expectation] = expected[..] else { panic!("{expected:?}") };
        let tuple = expectation.tuple;
        assert_eq!((tuple.source, tuple.source_port), (Address(0x0a00_0002), 0));
        assert_eq!((tuple.destination, tuple.destination_port), (Address(0x0a00_0001), 40001));
        assert!(expectation.any_source_port && !expectation.any_source && tuple.protocol == 6);
        let nat = expectation.nat.unwrap();
        assert_eq!((nat.source, nat.destination, nat.destination_port), (Address(0x0a00_0002), Address(0xc0a8_2d02), 40001));
        assert_eq!(expectation.timeout, 300_000_000_000);
    }

    /// Passive, with the server behind a forwarded port: its answer is rewritten to the outer address, and to another port where
    /// that one is expected by others.
    #[test]
    fn passive_behind_a_forwarded_port() {
        let tracking = tracking(Reply, "10.9.9.9:40000", "203.0.113.200:21", "10.9.9.9:40000", "192.168.45.2:21");
        let mut lines = Lines::default();
        lines.add(Reply, 900);
        let answer = "227 Entering Passive Mode (192,168,45,2,156,65).\r\n";
        let mut segment = Segment::new("203.0.113.200:21", "10.9.9.9:40000", 900, answer);
        let resized = run(&mut lines, &mut segment, &tracking, |expectation| match expectation.tuple.destination_port {
            40001 | 40002 => Err(ExpectError::Clash),
            port => {
                assert_eq!((port, expectation.tuple.destination), (40003, Address(0xcb00_71c8)));
                assert_eq!(expectation.tuple.source, Address(0x0a09_0909));
                let nat = expectation.nat.unwrap();
                assert_eq!((nat.source, nat.destination, nat.destination_port), (Address(0x0a09_0909), Address(0xc0a8_2d02), 40001));
                Ok(())
            }
        });
        assert_eq!(resized, Ok(Some(Resized { sequence: 900, change: 1 })));
        assert_eq!(segment.checked_payload(), b"227 Entering Passive Mode (203,0,113,200,156,67).\r\n");
    }

    #[test]
    fn the_extended_commands_of_ipv6() {
        let client = "[fd00::2]:40000";
        for (direction, text, expected) in [
            (Original, "EPRT |2|fd00::2|1025|\r\n", "EPRT |2|2001:db8:1:2:3:4:5:6|1025|\r\n"),
            (Reply, "229 Entering Extended Passive Mode (|||1025|)\r\n", "229 Entering Extended Passive Mode (|||1025|)\r\n"),
        ] {
            let tracking = tracking(direction, client, "[2001:db8::21]:21", "[2001:db8:1:2:3:4:5:6]:40000", "[2001:db8::21]:21");
            let mut lines = Lines::default();
            lines.add(direction, 1);
            let mut segment = Segment::new("[2001:db8::1]:1", "[2001:db8::2]:2", 1, text);
            run(&mut lines, &mut segment, &tracking, |_| Ok(())).unwrap();
            assert_eq!(str::from_utf8(&segment.checked_payload()), Ok(expected));
        }
    }

    /// Without translation flows are expected and nothing is rewritten.
    #[test]
    fn without_translation() {
        let tracking = tracking(Original, "192.168.45.2:40000", "10.0.0.2:21", "192.168.45.2:40000", "10.0.0.2:21");
        let mut lines = Lines::default();
        lines.add(Original, 1);
        let mut segment = Segment::new("192.168.45.2:40000", "10.0.0.2:21", 1, "PORT 192,168,45,2,156,65\r\n");
        let before = segment.octets.clone();
        let mut expected = 0;
        let resized = run(&mut lines, &mut segment, &tracking, |expectation| {
            expected += 1;
            assert_eq!((expectation.nat, expectation.tuple.destination_port), (None, 40001));
            Ok(())
        });
        assert_eq!((resized, expected), (Ok(None), 1));
        assert_eq!(segment.octets, before);
    }

    /// A client cannot open a way to another host, or from the middle of a line, or before the server has spoken.
    #[test]
    fn what_opens_nothing() {
        let command = "PORT 192,168,45,3,156,65\r\n";
        let mut lines = Lines::default();
        lines.add(Original, 1);
        let mut segment = Segment::new("10.0.0.1:40000", "10.0.0.2:21", 1, command);
        assert_eq!(run(&mut lines, &mut segment, &masqueraded(Original), nothing_expected), Ok(None), "another host");
        let own = "PORT 192,168,45,2,156,65\r\n";
        let mut segment = Segment::new("10.0.0.1:40000", "10.0.0.2:21", 2, own);
        assert_eq!(run(&mut lines, &mut segment, &masqueraded(Original), nothing_expected), Ok(None), "not where a line begins");
        let new = Tracking { state: CtState::New, ..masqueraded(Original) };
        let mut segment = Segment::new("10.0.0.1:40000", "10.0.0.2:21", 1, own);
        assert_eq!(run(&mut lines, &mut segment, &new, nothing_expected), Ok(None), "before the server has spoken");
    }

    #[test]
    fn what_is_refused() {
        let mut lines = Lines::default();
        lines.add(Original, 1);
        let tracking = masqueraded(Original);
        let mut segment = Segment::new("10.0.0.1:40000", "10.0.0.2:21", 1, "PORT 192,168,4");
        assert_eq!(run(&mut lines, &mut segment, &tracking, nothing_expected), Err(HelperError::Malformed));
        let mut segment = Segment::new("10.0.0.1:40000", "10.0.0.2:21", 1, "PORT 192,168,45,2,156,65\r\n");
        for error in [ExpectError::Full, ExpectError::NoMaster, ExpectError::Clash] {
            let mut tries = 0;
            let result = run(&mut lines, &mut segment, &tracking, |_| {
                tries += 1;
                Err(error)
            });
            assert_eq!((result, tries), (Err(HelperError::Full), if error == ExpectError::Clash { PORTS_TRIED } else { 1 }));
        }
        let gso = Offload {
            flags: virtio_net::FLAG_NEEDS_CSUM,
            gso_type: virtio_net::GSO_TCPV4,
            gso_size: 9,
            csum_start: 34,
            csum_offset: 16,
            hdr_len: 54,
        };
        let result = segment.with_frame(gso, |frame, packet| help(&mut lines, frame, packet, &tracking, nothing_expected));
        assert_eq!(result, Err(HelperError::NotEditable));
    }

    /// A frame whose checksum the next device finishes keeps the sum of its pseudo header, with the new length.
    #[test]
    fn a_checksum_that_is_left_to_do() {
        let mut lines = Lines::default();
        lines.add(Original, 1);
        let mut segment = Segment::new("10.0.0.1:40000", "10.0.0.2:21", 1, "PORT 192,168,45,2,156,65\r\n");
        let partial = Offload { flags: virtio_net::FLAG_NEEDS_CSUM, csum_start: 34, csum_offset: 16, ..Offload::NONE };
        segment.with_frame(partial, |frame, packet| {
            help(&mut lines, frame, packet, &masqueraded(Original), |_| Ok(())).unwrap();
            crate::offload::finish_checksum(frame);
        });
        assert_eq!(segment.checked_payload(), b"PORT 10,0,0,1,156,65\r\n");
    }

    /// The command stands in front of so much data that most of it lies in the body.
    #[test]
    fn a_long_packet() {
        let mut lines = Lines::default();
        lines.add(Original, 1);
        let text = format!("PORT 192,168,45,2,156,65\r\n{}\r\n", "x".repeat(1000));
        let mut segment = Segment::new("10.0.0.1:40000", "10.0.0.2:21", 1, &text);
        run(&mut lines, &mut segment, &masqueraded(Original), |_| Ok(())).unwrap();
        assert_eq!(segment.checked_payload(), text.replace("192,168,45,2", "10,0,0,1").as_bytes());
        assert!(lines.begins(Original, 1 + text.len() as u32), "the line feed at its end is in the body");
    }

    proptest! {
        /// No octets make the helper panic, and what it lets through has right lengths and checksums.
        #[test]
        fn hostile_lines(text in "(PORT|port|EPRT|227|229)?[ (]?[|,.:0-9()a-f\r\n]{0,80}", direction in any::<bool>(), data in prop::collection::vec(any::<u8>(), 0..300)) {
            let direction = if direction { Original } else { Reply };
            let mut lines = Lines::default();
            lines.add(direction, 1);
            for payload in [text.as_bytes(), &data, &[text.as_bytes(), &data].concat()] {
                let mut segment = Segment::new("192.168.45.2:40000", "10.0.0.2:21", 1, payload);
                let result = run(&mut lines, &mut segment, &masqueraded(direction), |_| Ok(()));
                let change = result.ok().flatten().map_or(0, |resized| resized.change);
                prop_assert_eq!(segment.checked_payload().len() as i32, payload.len() as i32 + change);
            }
        }

        /// The lines of a dialogue, cut into segments anywhere: a command is found only where a segment begins with a line, and never
        /// in the middle of one.
        #[test]
        fn commands_are_found_where_lines_begin(cuts in prop::collection::vec(1usize..60, 1..30)) {
            let dialogue = "USER ftp\r\nPORT 192,168,45,2,4,1\r\nSTOR PORT 192,168,45,2,4,2\r\nPORT 192,168,45,2,4,3\r\nQUIT\r\n";
            let tracking = tracking(Original, "192.168.45.2:40000", "10.0.0.2:21", "192.168.45.2:40000", "10.0.0.2:21");
            let mut lines = Lines::default();
            lines.add(Original, 0);
            let (mut at, mut known) = (0, true);
            for cut in cuts {
                let end = (at + cut).min(dialogue.len());
                let text = &dialogue[at..end];
                let is_command = known && text.len() > 4 && text.starts_with("PORT");
                let is_whole = is_command && text.contains('\r');
                let is_partial = known && !text.is_empty() && ["PORT", "EPRT"].iter().any(|word| word.starts_with(text) || text.starts_with(word));
                let mut expected = 0;
                let mut segment = Segment::new("192.168.45.2:40000", "10.0.0.2:21", at as u32, text);
                let result = run(&mut lines, &mut segment, &tracking, |_| { expected += 1; Ok(()) });
                prop_assert_eq!(expected, u32::from(is_whole), "{:?}", text);
                prop_assert_eq!(result.is_err(), is_partial && !is_whole, "{:?}", text);
                if result.is_err() {
                    // It is dropped, and comes again with what follows.
                    continue;
                }
                known = text.ends_with('\n');
                at = end;
            }
        }
    }
}
