//! Edits the packets of flows whose translation is decided (`nf_nat_packet`, `nf_nat_icmp_reply_translation`).

use core::fmt;

use wire::checksum::Sum;
use wire::{Ipv4Header, Ipv6Header, ip_protocol, ipv6};

use super::Manip;
use super::rewrite::{self, Change, NotEditable, Place};
use crate::conntrack::{Direction, Status, Tracking};
use crate::frame::Frame;
use crate::router::address::Family;
use crate::router::packet::{Packet, Upper};

/// Octets of the header of an ICMP or ICMPv6 error, in front of the packet it quotes.
const ERROR_HEADER_LEN: usize = 8;

/// Why a packet of a translated flow cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTranslatable {
    /// A header to edit is cut or lies behind the head.
    NotEditable,
    /// An ICMP redirect about a translated flow: the path it names is another host's (RFC 5508 REQ-11).
    Redirect,
}

impl fmt::Display for NotTranslatable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotTranslatable::NotEditable => NotEditable.fmt(f),
            NotTranslatable::Redirect => f.write_str("an ICMP redirect about a translated flow"),
        }
    }
}

impl core::error::Error for NotTranslatable {}

impl From<NotEditable> for NotTranslatable {
    fn from(_: NotEditable) -> NotTranslatable {
        NotTranslatable::NotEditable
    }
}

/// Translates one end of a packet as its flow says: `manip` is [`Manip::Destination`] at PREROUTING and OUTPUT, and
/// [`Manip::Source`] at INPUT and POSTROUTING. An ICMP error is translated with the packet it quotes, of which the other end
/// changes.
///
/// # Errors
///
/// [`NotTranslatable`]; the packet is unchanged and must not go on.
#[inline]
pub fn translate(frame: &mut Frame<'_>, packet: &mut Packet, tracking: &Tracking, manip: Manip) -> Result<(), NotTranslatable> {
    const TRANSLATED: Status = Status(Status::SRC_NAT.0 | Status::DST_NAT.0);
    if !tracking.status.intersects(TRANSLATED) {
        return Ok(());
    }
    if packet.is_icmp_error() {
        return translate_error(frame, packet, tracking, manip);
    }
    if !is_wanted(tracking, manip) {
        return Ok(());
    }
    // The inverse of the tuple of the other direction is what the packet has to become.
    let other = tracking.tuple(tracking.direction.other());
    let (address, port) = match manip {
        Manip::Source => (other.destination, other.destination_port),
        Manip::Destination => (other.source, other.source_port),
    };
    let port = if matches!(packet.upper, Upper::Icmp { .. }) { other.source_port } else { port };
    Ok(rewrite::set_end(frame, packet, manip, address, port)?)
}

/// Whether this end of packets of this direction is translated.
#[inline]
fn is_wanted(tracking: &Tracking, manip: Manip) -> bool {
    tracking.status.contains(match (manip, tracking.direction) {
        (Manip::Source, Direction::Original) | (Manip::Destination, Direction::Reply) => Status::SRC_NAT,
        (Manip::Destination, Direction::Original) | (Manip::Source, Direction::Reply) => Status::DST_NAT,
    })
}

#[cold]
fn translate_error(frame: &mut Frame<'_>, packet: &mut Packet, tracking: &Tracking, manip: Manip) -> Result<(), NotTranslatable> {
    const REDIRECT: u8 = 5;
    if packet.family == Family::V4 && matches!(packet.upper, Upper::Icmp { kind: REDIRECT, .. }) {
        return Err(NotTranslatable::Redirect);
    }
    if !is_wanted(tracking, manip) {
        return Ok(());
    }
    let outer = Place::of(frame, packet)?;
    let quoted_at = outer.l4 + ERROR_HEADER_LEN;
    let end = (outer.l3 + packet.len as usize).min(frame.head().len());
    let octets = &mut frame.head_mut()[..end];
    let inner = quoted(octets, quoted_at, packet.family).ok_or(NotEditable)?;
    // The quoted packet went the other way, so it becomes as it arrived, and its other end is the one that was translated.
    let other = tracking.tuple(tracking.direction.other());
    let (address, port) = match manip.other() {
        Manip::Source => (other.source, other.source_port),
        Manip::Destination => (other.destination, other.destination_port),
    };
    let port = if matches!(inner.protocol, ip_protocol::ICMP | ip_protocol::ICMPV6) { other.source_port } else { port };
    let old = Sum::of(&octets[quoted_at..]);
    inner.set_end(octets, manip.other(), address, port)?;
    let change = Change::octets(old, Sum::of(&octets[quoted_at..]));
    outer.update_checksum(octets, Change::NONE, change);
    let address = match manip {
        Manip::Source => other.destination,
        Manip::Destination => other.source,
    };
    // `outer` was found editable above, and an error has no port.
    Ok(rewrite::set_end(frame, packet, manip, address, 0)?)
}

/// The packet at `at` of which an error quotes the beginning; `None` if it is no such packet.
fn quoted(octets: &[u8], at: usize, family: Family) -> Option<Place> {
    let packet = octets.get(at..)?;
    match family {
        Family::V4 => {
            let header = Ipv4Header::new_checked(packet).ok()?;
            let len = header.header_len();
            Some(Place {
                l3: at,
                l4: at + len,
                family,
                protocol: header.protocol(),
                has_header: header.fragment_offset() == 0,
                l4_len: if header.is_fragment() { 0 } else { u32::from(header.total_len()).saturating_sub(len as u32) },
                unfinished: 0,
            })
        }
        Family::V6 => {
            let header = Ipv6Header::new_checked(packet).ok()?;
            let upper = header.upper_layer().ok()?;
            let len = u32::from(header.payload_len()) + ipv6::HEADER_LEN as u32;
            Some(Place {
                l3: at,
                l4: at + upper.offset,
                family,
                protocol: upper.protocol,
                has_header: upper.fragment.is_none_or(|fragment| fragment.offset == 0),
                l4_len: if upper.fragment.is_some() { 0 } else { len.saturating_sub(upper.offset as u32) },
                unfinished: 0,
            })
        }
    }
}
