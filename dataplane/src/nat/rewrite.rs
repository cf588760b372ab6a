//! Edits of headers in the head of a frame, which keep its checksums and its [`Packet`] in step.
//!
//! Checksums are updated by what changed (RFC 1624), so one that was wrong stays wrong, and nothing behind the head is read. A
//! checksum that is still to be finished (`VIRTIO_NET_HDR_F_NEEDS_CSUM`, as always in GSO frames) holds the sum of the pseudo
//! header: only a change of addresses changes it. A UDP checksum of 0 says that there is none and stays
//! (RFC 768; `__udp_manip_pkt`).

use core::fmt;

use wire::checksum::Sum;
use wire::{ip_protocol, ipv4, ipv6, tcp, udp};

use super::{Manip, crc32c};
use crate::frame::Frame;
use crate::router::address::{Address, Family};
use crate::router::packet::{Packet, Upper};

/// Where ICMP and ICMPv6 have their checksum.
const ICMP_CHECKSUM: usize = 2;
/// Where queries of both have their identifier.
pub(super) const ICMP_IDENTIFIER: usize = 4;
/// Where DCCP has its checksum (RFC 4340 section 5.1).
const DCCP_CHECKSUM: usize = 6;
/// Where SCTP has its checksum (RFC 9260 section 3.1).
const SCTP_CHECKSUM: usize = 8;

/// What should be edited is not there: the packet ends before it, or it lies behind the head. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotEditable;

impl fmt::Display for NotEditable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the header to edit is cut or too deep in the packet")
    }
}

impl core::error::Error for NotEditable {}

/// By what a sum of words changed, itself such a sum: below 2^21, for there are at most 20 words in it.
#[derive(Clone, Copy)]
pub(super) struct Change(u32);

impl Change {
    /// Nothing changed.
    pub(super) const NONE: Change = Change(0);

    /// One word.
    #[inline]
    const fn word(old: u16, new: u16) -> Change {
        Change(!old as u32 + new as u32)
    }

    /// A run of octets from an even offset.
    #[inline]
    pub(super) fn octets(old: Sum, new: Sum) -> Change {
        Change::word(old.fold(), new.fold())
    }

    /// An address.
    #[inline]
    fn address(family: Family, old: Address, new: Address) -> Change {
        #[inline]
        fn sum(quad: u32) -> u32 {
            (quad >> 16) + (quad & 0xffff)
        }
        #[inline]
        fn sum_v6(address: u128) -> u32 {
            sum(address as u32) + sum((address >> 32) as u32) + sum((address >> 64) as u32) + sum((address >> 96) as u32)
        }
        match family {
            Family::V4 => Change(sum(!old.0 as u32) + sum(new.0 as u32)),
            Family::V6 => Change(sum_v6(!old.0) + sum_v6(new.0)),
        }
    }

    /// Both changes.
    #[inline]
    const fn and(self, other: Change) -> Change {
        Change(self.0 + other.0)
    }

    /// The sum after the change (RFC 1624 equation 3 without its complements).
    #[inline]
    const fn apply(self, sum: u16) -> u16 {
        let sum = self.0 + sum as u32;
        let sum = (sum & 0xffff) + (sum >> 16);
        (sum + (sum >> 16)) as u16
    }
}

/// Sets the address of an end in an IP header and updates the checksum of that. `None`, and nothing is changed, if the header
/// is not there.
#[inline]
fn set_address(header: &mut [u8], family: Family, end: Manip, old: Address, new: Address) -> Option<Change> {
    let change = Change::address(family, old, new);
    match family {
        Family::V4 => {
            let header: &mut [u8; ipv4::HEADER_LEN_MIN] = header.first_chunk_mut()?;
            header[if end == Manip::Source { ipv4::SOURCE } else { ipv4::DESTINATION }].copy_from_slice(&(new.0 as u32).to_be_bytes());
            let checksum = u16::from_be_bytes([header[ipv4::CHECKSUM.start], header[ipv4::CHECKSUM.start + 1]]);
            header[ipv4::CHECKSUM].copy_from_slice(&(!change.apply(!checksum)).to_be_bytes());
        }
        Family::V6 => {
            let header: &mut [u8; ipv6::HEADER_LEN] = header.first_chunk_mut()?;
            header[if end == Manip::Source { ipv6::SOURCE } else { ipv6::DESTINATION }].copy_from_slice(&new.0.to_be_bytes());
        }
    }
    Some(change)
}

/// Applies a change of the pseudo header and one of the upper layer to the checksum in `field`. `is_udp`: 0 stands for none.
#[inline(always)]
fn update_checksum(field: &mut [u8; 2], is_unfinished: bool, is_udp: bool, pseudo: Change, upper: Change) {
    let old = u16::from_be_bytes(*field);
    let new = if is_unfinished {
        pseudo.apply(old)
    } else if old == 0 && is_udp {
        return;
    } else {
        match !pseudo.and(upper).apply(!old) {
            0 if is_udp => 0xffff,
            new => new,
        }
    };
    *field = new.to_be_bytes();
}

/// A packet in octets: that of a frame, or the one that an ICMP error quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// Offset of the IP header.
    pub(super) l3: usize,
    /// Offset of the upper layer.
    pub(super) l4: usize,
    /// Version of IP.
    pub(super) family: Family,
    /// Protocol of the upper layer.
    pub(super) protocol: u8,
    /// Whether its header is there, which it is not in later fragments.
    pub(super) has_header: bool,
    /// Octets of the upper layer, with those that are not quoted. 0 if that is not known.
    pub(super) l4_len: u32,
    /// Offset from the upper layer of a checksum that is to be finished; 0 for none.
    pub(super) unfinished: usize,
}

impl Place {
    /// The packet of a frame.
    pub(super) fn of(frame: &Frame<'_>, packet: &Packet) -> Result<Place, NotEditable> {
        if packet.upper == Upper::Cut {
            return Err(NotEditable);
        }
        let offload = frame.offload();
        let unfinished = if offload.needs_checksum() && offload.csum_start == packet.l4 { usize::from(offload.csum_offset) } else { 0 };
        Ok(Place {
            l3: packet.l3.into(),
            l4: packet.l4.into(),
            family: packet.family,
            protocol: packet.protocol,
            has_header: !packet.is_later_fragment(),
            l4_len: if packet.fragment.is_some() { 0 } else { packet.l4_len() },
            unfinished,
        })
    }

    /// Offset of the internet checksum from the upper layer, and whether it covers the pseudo header.
    #[inline]
    const fn checksum(&self) -> Option<(usize, bool)> {
        if !self.has_header {
            return None;
        }
        match self.protocol {
            ip_protocol::TCP => Some((tcp::CHECKSUM.start, true)),
            ip_protocol::UDP | ip_protocol::UDP_LITE => Some((udp::CHECKSUM.start, true)),
            ip_protocol::DCCP => Some((DCCP_CHECKSUM, true)),
            ip_protocol::ICMP if matches!(self.family, Family::V4) => Some((ICMP_CHECKSUM, false)),
            ip_protocol::ICMPV6 if matches!(self.family, Family::V6) => Some((ICMP_CHECKSUM, true)),
            _ => None,
        }
    }

    /// Offset from the upper layer of the port or identifier of an end.
    #[inline]
    const fn port(&self, end: Manip) -> Option<usize> {
        if !self.has_header {
            return None;
        }
        match self.protocol {
            ip_protocol::TCP | ip_protocol::UDP | ip_protocol::UDP_LITE | ip_protocol::DCCP | ip_protocol::SCTP => {
                Some(if matches!(end, Manip::Source) { 0 } else { 2 })
            }
            ip_protocol::ICMP | ip_protocol::ICMPV6 => Some(ICMP_IDENTIFIER),
            _ => None,
        }
    }

    /// Applies a change of the pseudo header and one of the upper layer to the internet checksum of the upper layer, where that
    /// is there. A quoted packet may end in front of it.
    #[inline]
    pub(super) fn update_checksum(&self, octets: &mut [u8], pseudo: Change, upper: Change) {
        let Some((field, with_pseudo)) = self.checksum() else { return };
        let Some(octets) = octets.get_mut(self.l4 + field..).and_then(|octets| octets.first_chunk_mut::<2>()) else { return };
        let pseudo = if with_pseudo { pseudo } else { Change::NONE };
        // In UDP-Lite 0 is no checksum either, but an error (RFC 3828 section 3.1).
        let is_udp = matches!(self.protocol, ip_protocol::UDP | ip_protocol::UDP_LITE);
        update_checksum(octets, self.unfinished == field, is_udp, pseudo, upper);
    }

    /// Replaces the address, and the port or identifier, of one end. `old` and `old_port` are what is there.
    fn replace_end(&self, octets: &mut [u8], end: Manip, (old, new): (Address, Address), (old_port, new_port): (u16, u16)) {
        let Some(pseudo) = set_address(&mut octets[self.l3..], self.family, end, old, new) else { return };
        let mut upper = Change::NONE;
        if let Some(port) = self.port(end).filter(|_| old_port != new_port) {
            if self.protocol == ip_protocol::SCTP {
                self.replace_sctp_port(octets, port, new_port);
                return;
            }
            octets[self.l4 + port..][..2].copy_from_slice(&new_port.to_be_bytes());
            upper = Change::word(old_port, new_port);
        }
        self.update_checksum(octets, pseudo, upper);
    }

    #[cold]
    fn replace_sctp_port(&self, octets: &mut [u8], port: usize, new: u16) {
        let header = &mut octets[self.l4..];
        let ports = |header: &[u8]| [header[0], header[1], header[2], header[3]];
        let old = ports(header);
        header[port..port + 2].copy_from_slice(&new.to_be_bytes());
        let difference = crc32c::difference(old, ports(header), self.l4_len);
        let Some(field) = header.get_mut(SCTP_CHECKSUM..).and_then(|octets| octets.first_chunk_mut::<4>()) else { return };
        if self.unfinished != SCTP_CHECKSUM {
            *field = (u32::from_le_bytes(*field) ^ difference).to_le_bytes();
        }
    }

    /// Reads the address and the port or identifier of an end, and makes sure that [`Place::replace_end`] finds what it needs.
    fn read_end(&self, octets: &[u8], end: Manip) -> Result<(Address, u16), NotEditable> {
        let header = octets.get(self.l3..).ok_or(NotEditable)?;
        let address = match self.family {
            Family::V4 => {
                let field = if end == Manip::Source { ipv4::SOURCE } else { ipv4::DESTINATION };
                let octets: [u8; 4] = header.get(field).and_then(|octets| octets.try_into().ok()).ok_or(NotEditable)?;
                Address(u32::from_be_bytes(octets).into())
            }
            Family::V6 => {
                let field = if end == Manip::Source { ipv6::SOURCE } else { ipv6::DESTINATION };
                let octets: [u8; 16] = header.get(field).and_then(|octets| octets.try_into().ok()).ok_or(NotEditable)?;
                Address(u128::from_be_bytes(octets))
            }
        };
        let Some(port) = self.port(end) else { return Ok((address, 0)) };
        // As the kernel, which asks for the first eight octets of a quoted packet.
        let upper = octets.get(self.l4..).and_then(|octets| octets.first_chunk::<8>()).ok_or(NotEditable)?;
        Ok((address, u16::from_be_bytes([upper[port], upper[port + 1]])))
    }

    /// Sets the address, and the port or identifier, of one end of a packet that nothing is known of yet.
    pub(super) fn set_end(&self, octets: &mut [u8], end: Manip, address: Address, port: u16) -> Result<(), NotEditable> {
        let (old, old_port) = self.read_end(octets, end)?;
        if self.protocol == ip_protocol::SCTP && self.l4_len == 0 && self.has_header && port != old_port {
            return Err(NotEditable);
        }
        if (old, old_port) != (address, port) {
            self.replace_end(octets, end, (old, address), (old_port, port));
        }
        Ok(())
    }
}

/// Sets the address, and the port or identifier, of one end of the packet. `port` is ignored where the packet has none: in later
/// fragments, ICMP errors and protocols without ports.
///
/// # Errors
///
/// [`NotEditable`] for a cut header, and for the port in a fragment of SCTP, whose checksum is that of the whole packet.
#[inline]
pub fn set_end(frame: &mut Frame<'_>, packet: &mut Packet, end: Manip, address: Address, port: u16) -> Result<(), NotEditable> {
    const TCP_LEN: usize = tcp::CHECKSUM.end;
    const UDP_LEN: usize = udp::CHECKSUM.end;
    match packet.protocol {
        ip_protocol::TCP => set_ports_end::<TCP_LEN>(frame, packet, end, address, port),
        ip_protocol::UDP => set_ports_end::<UDP_LEN>(frame, packet, end, address, port),
        _ => set_any_end(frame, packet, end, address, port),
    }
}

/// The same for TCP and UDP, in whose headers the checksum ends after `LEN` octets, which is the way of nearly all packets.
#[inline]
fn set_ports_end<const LEN: usize>(
    frame: &mut Frame<'_>,
    packet: &mut Packet,
    end: Manip,
    address: Address,
    port: u16,
) -> Result<(), NotEditable> {
    let Upper::Ports { source, destination, .. } = &mut packet.upper else {
        return set_any_end(frame, packet, end, address, port);
    };
    let (old, old_port, at) =
        if end == Manip::Source { (&mut packet.source, source, 0) } else { (&mut packet.destination, destination, 2) };
    if *old == address && *old_port == port {
        return Ok(());
    }
    let offload = frame.offload();
    let is_unfinished = offload.needs_checksum() && (offload.csum_start, usize::from(offload.csum_offset)) == (packet.l4, LEN - 2);
    let (network, upper) = frame.head_mut().split_at_mut_checked(packet.l4.into()).ok_or(NotEditable)?;
    let upper: &mut [u8; LEN] = upper.first_chunk_mut().ok_or(NotEditable)?;
    let network = network.get_mut(packet.l3.into()..).ok_or(NotEditable)?;
    let pseudo = set_address(network, packet.family, end, *old, address).ok_or(NotEditable)?;
    upper[at..at + 2].copy_from_slice(&port.to_be_bytes());
    let ports = Change::word(*old_port, port);
    if let Some(field) = upper.last_chunk_mut() {
        update_checksum(field, is_unfinished, LEN == udp::CHECKSUM.end, pseudo, ports);
    }
    (*old, *old_port) = (address, port);
    Ok(())
}

#[inline(never)]
fn set_any_end(frame: &mut Frame<'_>, packet: &mut Packet, end: Manip, address: Address, port: u16) -> Result<(), NotEditable> {
    let place = Place::of(frame, packet)?;
    let is_source = end == Manip::Source;
    let old_port = match packet.upper {
        Upper::Ports { source, destination, .. } => Some(if is_source { source } else { destination }),
        Upper::Icmp { identifier, .. } if !packet.is_icmp_error() => Some(identifier),
        _ => None,
    };
    let ports = old_port.map_or((0, 0), |old| (old, port));
    let old = if is_source { packet.source } else { packet.destination };
    if old == address && ports.0 == ports.1 {
        return Ok(());
    }
    if place.protocol == ip_protocol::SCTP && place.l4_len == 0 && ports.0 != ports.1 {
        return Err(NotEditable);
    }
    place.replace_end(frame.head_mut(), end, (old, address), ports);
    if is_source {
        packet.source = address
    } else {
        packet.destination = address
    }
    match &mut packet.upper {
        Upper::Ports { source, .. } if is_source => *source = port,
        Upper::Ports { destination, .. } => *destination = port,
        Upper::Icmp { identifier, .. } if old_port.is_some() => *identifier = port,
        _ => {}
    }
    Ok(())
}

/// Sets time to live or hop limit.
#[inline]
pub fn set_ttl(frame: &mut Frame<'_>, packet: &mut Packet, ttl: u8) {
    let l3 = usize::from(packet.l3);
    match packet.family {
        Family::V4 => set_v4_octet(&mut frame.head_mut()[l3..], ipv4::TTL, ttl),
        Family::V6 => frame.head_mut()[l3 + ipv6::HOP_LIMIT] = ttl,
    }
    packet.ttl = ttl;
}

/// Sets DSCP (upper six bits) and ECN (lower two).
#[inline]
pub fn set_traffic_class(frame: &mut Frame<'_>, packet: &mut Packet, traffic_class: u8) {
    let header = &mut frame.head_mut()[usize::from(packet.l3)..];
    match packet.family {
        Family::V4 => set_v4_octet(header, ipv4::TRAFFIC_CLASS, traffic_class),
        Family::V6 => {
            header[0] = header[0] & 0xf0 | traffic_class >> 4;
            header[1] = traffic_class << 4 | header[1] & 0x0f;
        }
    }
    packet.traffic_class = traffic_class;
}

/// Sets DSCP, of which the lower six bits count, and leaves ECN.
#[inline]
pub fn set_dscp(frame: &mut Frame<'_>, packet: &mut Packet, dscp: u8) {
    set_traffic_class(frame, packet, dscp << 2 | packet.traffic_class & 3);
}

/// Replaces an octet of an IPv4 header and updates its checksum.
#[inline]
fn set_v4_octet(header: &mut [u8], at: usize, value: u8) {
    let header: &mut [u8; ipv4::HEADER_LEN_MIN] = header.first_chunk_mut().expect("a parsed packet has its header in the head");
    let word = at & !1;
    let old = u16::from_be_bytes([header[word], header[word + 1]]);
    header[at] = value;
    let new = u16::from_be_bytes([header[word], header[word + 1]]);
    let checksum = u16::from_be_bytes([header[ipv4::CHECKSUM.start], header[ipv4::CHECKSUM.start + 1]]);
    header[ipv4::CHECKSUM].copy_from_slice(&(!Change::word(old, new).apply(!checksum)).to_be_bytes());
}

/// Replaces octets of the upper layer, counted from its header, such as sequence numbers and options. Not for ports and
/// identifiers, which [`set_end`] keeps in `packet`, nor for the checksum itself.
///
/// # Errors
///
/// [`NotEditable`] when they are not all in the packet and in the head, and for protocols whose checksum is not the internet
/// checksum.
pub fn replace(frame: &mut Frame<'_>, packet: &Packet, at: usize, new: &[u8]) -> Result<(), NotEditable> {
    let place = Place::of(frame, packet)?;
    let (start, end) = (place.l4 + at, place.l4 + at + new.len());
    let octets = frame.head_mut();
    if place.checksum().is_none() || at + new.len() > packet.l4_len() as usize || end > octets.len() {
        return Err(NotEditable);
    }
    // The sum is that of whole words, counted from the upper layer.
    let odd = &[0][..at & 1];
    let old = Sum::of(odd).add(&octets[start..end]);
    octets[start..end].copy_from_slice(new);
    place.update_checksum(octets, Change::NONE, Change::octets(old, Sum::of(odd).add(new)));
    Ok(())
}

/// The option that announces the maximum segment size: kind and length (RFC 9293 section 3.2).
const MSS_OPTION: [u8; 2] = [2, 4];
/// Octets of that option.
const MSS_OPTION_LEN: usize = 4;
/// The longest TCP header.
const TCP_HEADER_LEN_MAX: usize = 60;

/// Lowers the maximum segment size that a TCP SYN announces to `mss`; it is never raised. A SYN that announces none gets the
/// option, with what its receiver would take it for at most (RFC 9293 section 3.7.1), unless it has payload or its header no
/// room (`tcpmss_mangle_packet`). Returns whether the packet was changed.
///
/// # Errors
///
/// [`NotEditable`] when the TCP header says that it is shorter than one, or longer than the packet or the head, and when the option
/// has no room in front of the packet.
pub fn clamp_mss(frame: &mut Frame<'_>, packet: &mut Packet, mss: u16) -> Result<bool, NotEditable> {
    if packet.protocol != ip_protocol::TCP || !matches!(packet.upper, Upper::Ports { .. }) {
        return Ok(false);
    }
    let l4 = usize::from(packet.l4);
    let segment = frame.head().get(l4..).ok_or(NotEditable)?;
    let header_len = usize::from(segment[tcp::FLAGS.start] >> 4) * 4;
    let segment_len = packet.l4_len() as usize;
    if header_len > segment_len {
        return Err(NotEditable);
    }
    let options = segment.get(tcp::HEADER_LEN_MIN..header_len).ok_or(NotEditable)?;
    let mut at = 0;
    while let Some(option) = options.get(at..).and_then(|rest| rest.first_chunk::<MSS_OPTION_LEN>()) {
        if option[..2] == MSS_OPTION {
            if u16::from_be_bytes([option[2], option[3]]) <= mss {
                return Ok(false);
            }
            return replace(frame, packet, tcp::HEADER_LEN_MIN + at + 2, &mss.to_be_bytes()).map(|()| true);
        }
        // Like the kernel, which takes the end of options and a length of 0 for one octet.
        at += if option[0] <= 1 || option[1] == 0 { 1 } else { usize::from(option[1]) };
    }
    if segment_len > header_len || header_len >= TCP_HEADER_LEN_MAX || packet.fragment.is_some() {
        return Ok(false);
    }
    add_mss(frame, packet, mss).map(|()| true)
}

/// Puts the option in front of the others of a TCP header that nothing follows.
#[cold]
fn add_mss(frame: &mut Frame<'_>, packet: &mut Packet, mss: u16) -> Result<(), NotEditable> {
    let place = Place::of(frame, packet)?;
    let [high, low] = mss.min(if packet.family == Family::V4 { 536 } else { 1220 }).to_be_bytes();
    let option = [MSS_OPTION[0], MSS_OPTION[1], high, low];
    if !frame.splice(place.l4 + tcp::HEADER_LEN_MIN, 0, &option) {
        return Err(NotEditable);
    }
    let segment_len = packet.l4_len() as u16;
    packet.len += MSS_OPTION_LEN as u32;
    let longer = Change::word(segment_len, segment_len + MSS_OPTION_LEN as u16);
    let mut offload = frame.offload();
    if offload.hdr_len != 0 {
        offload.hdr_len += MSS_OPTION_LEN as u16;
        frame.set_offload(offload);
    }
    let head = frame.head_mut();
    match packet.family {
        Family::V4 => {
            let header = &mut head[place.l3..];
            header[ipv4::TOTAL_LEN].copy_from_slice(&(packet.len as u16).to_be_bytes());
            let checksum = u16::from_be_bytes([header[ipv4::CHECKSUM.start], header[ipv4::CHECKSUM.start + 1]]);
            header[ipv4::CHECKSUM].copy_from_slice(&(!longer.apply(!checksum)).to_be_bytes());
        }
        Family::V6 => {
            let payload_len = packet.len as u16 - ipv6::HEADER_LEN as u16;
            head[place.l3..][ipv6::PAYLOAD_LEN].copy_from_slice(&payload_len.to_be_bytes());
        }
    }
    let header = &mut head[place.l4..];
    let word = |header: &[u8]| u16::from_be_bytes([header[tcp::FLAGS.start], header[tcp::FLAGS.start + 1]]);
    let old = word(header);
    header[tcp::FLAGS.start] += (MSS_OPTION_LEN as u8 / 4) << 4;
    let upper = Change::word(old, word(header)).and(Change::octets(Sum::ZERO, Sum::of(&option)));
    place.update_checksum(head, longer, upper);
    Ok(())
}
