//! Cutting a packet that is longer than the MTU into fragments (RFC 791 section 3.2, RFC 8200 section 4.5).
//!
//! [`Fragments`] is used as [`crate::offload::Segments`] is: made from a frame of one burst, it fills another, batch by batch;
//! the headers are copied, the payload stays borrowed; but that of a full head goes into memory of the caller if a fragment header
//! leaves it no room. Packets that are segmented at egress (GSO) are not fragmented.

use arrayvec::ArrayVec;
use wire::checksum::Sum;
use wire::{Offload, ethernet, ip_protocol, ipv4, ipv6};

use super::address::Family;
use super::packet::Packet;
use crate::burst::Burst;
use crate::frame::{Body, Frame, HEAD_MAX};
use crate::offload::finish_checksum;

/// Octets of an IPv6 fragment header.
const FRAGMENT_HEADER_LEN: usize = 8;
/// IPv4 flags (RFC 791 section 3.1).
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
/// IPv4 options of one octet, and the flag of those that every fragment carries.
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_COPIED: u8 = 0x80;

/// Why a packet cannot be fragmented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentError {
    /// The MTU has no room for the headers and 8 octets.
    MtuTooSmall,
    /// It is an IPv6 fragment already, is to be segmented, or its headers are not all in the head.
    NotPossible,
}

/// How to cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Octets of each fragment at most; for a packet put together here no more than its longest fragment had.
    pub mtu: u32,
    /// IPv4: fragments say "do not fragment", as those did that the packet came in.
    pub dont_fragment: bool,
    /// IPv6: what tells fragments of this packet from others. IPv4 packets bring theirs.
    pub identification: u32,
}

/// The fragments of a packet that are still to come.
///
/// Each is a complete frame with [`Offload::NONE`] and the Ethernet header of the source.
#[derive(Debug)]
pub struct Fragments<'a> {
    /// Ethernet header and IP headers of the next fragment.
    header: ArrayVec<u8, HEAD_MAX>,
    /// Payload of the source head still to come.
    head: ArrayVec<u8, HEAD_MAX>,
    /// Payload of the source body still to come.
    body: Body<'a>,
    family: Family,
    /// Octets of payload in each fragment but the last: a multiple of 8.
    chunk: usize,
    /// Octets in front of the next fragment's payload.
    offset: usize,
    /// More fragments follow the last of these: the packet is a fragment itself, and not the last.
    more: bool,
    dont_fragment: bool,
}

impl<'a> Fragments<'a> {
    /// The fragments of `packet` in `frame`. The checksum is finished if that is left to do. What was in `memory` is overwritten.
    ///
    /// # Errors
    ///
    /// [`FragmentError`], which see.
    pub fn new<'f: 'a>(frame: &mut Frame<'f>, packet: &Packet, cut: Cut, memory: &'a mut Vec<u8>) -> Result<Fragments<'a>, FragmentError> {
        if frame.offload().is_gso() {
            return Err(FragmentError::NotPossible);
        }
        finish_checksum(frame);
        let (l3, len) = (usize::from(packet.l3), packet.len as usize);
        let octets = frame.head();
        let mut header = ArrayVec::new();
        let payload = match packet.family {
            Family::V4 => {
                let end = usize::from(packet.l4);
                header
                    .try_extend_from_slice(octets.get(..end).ok_or(FragmentError::NotPossible)?)
                    .map_err(|_| FragmentError::NotPossible)?;
                end
            }
            Family::V6 => {
                if packet.fragment.is_some() {
                    return Err(FragmentError::NotPossible);
                }
                let (end, next_header) = unfragmentable(octets, l3).ok_or(FragmentError::NotPossible)?;
                let [a, b, c, d] = cut.identification.to_be_bytes();
                let fragment = [octets[next_header], 0, 0, 0, a, b, c, d];
                let mut all = header.try_extend_from_slice(&octets[..end]);
                all = all.and_then(|()| header.try_extend_from_slice(&fragment));
                all.map_err(|_| FragmentError::NotPossible)?;
                header[next_header] = ip_protocol::FRAGMENT;
                end
            }
        };
        let chunk = (cut.mtu as usize).saturating_sub(header.len() - l3) & !7;
        if chunk == 0 {
            return Err(FragmentError::MtuTooSmall);
        }
        // What Ethernet carries behind the packet is not part of it.
        let in_head = octets.len().min(l3 + len);
        let mut head: ArrayVec<u8, HEAD_MAX> = octets[payload..in_head].iter().copied().collect();
        let mut body = frame.body().part(0, (l3 + len - in_head).min(frame.body().len()));
        if head.len() > header.remaining_capacity() {
            memory.clear();
            memory.extend(head.drain(..));
            let in_head = memory.len();
            memory.resize(in_head + body.len(), 0);
            body.copy_to(&mut memory[in_head..]);
            body = Body::from_slice(memory);
        }
        let place = packet.fragment.filter(|_| packet.family == Family::V4);
        Ok(Fragments {
            header,
            head,
            body,
            family: packet.family,
            chunk,
            offset: place.map_or(0, |place| place.offset.into()),
            more: place.is_some_and(|place| place.more),
            dont_fragment: cut.dont_fragment,
        })
    }

    /// Number of fragments still to come.
    pub fn count(&self) -> usize {
        (self.head.len() + self.body.len()).div_ceil(self.chunk)
    }

    /// Octets of payload in the next fragment.
    fn next_len(&self) -> usize {
        (self.head.len() + self.body.len()).min(self.chunk)
    }

    /// Puts fragments into `burst` until it is full; `true` when more are to come.
    pub fn next_batch<'b>(&mut self, burst: &mut Burst<'b>) -> bool
    where
        'a: 'b,
    {
        loop {
            let len = self.next_len();
            if len == 0 || burst.is_full() {
                return len > 0;
            }
            let more = self.more || self.head.len() + self.body.len() > len;
            self.place(len, more);
            let (mut head, in_head) = (self.header.clone(), len.min(self.head.len()));
            head.extend(self.head.drain(..in_head));
            let body = self.body.part(0, len - in_head);
            self.body = self.body.part(body.len(), self.body.len() - body.len());
            burst.push_parts(&head, body, Offload::NONE);
            self.offset += len;
            if self.family == Family::V4 {
                blank_options(&mut self.header[ethernet::HEADER_LEN..]);
            }
        }
    }

    /// Writes length and place of the next fragment into its header.
    fn place(&mut self, len: usize, more: bool) {
        let header_len = self.header.len();
        let ip = &mut self.header[ethernet::HEADER_LEN..];
        match self.family {
            Family::V4 => {
                let total = (header_len - ethernet::HEADER_LEN + len) as u16;
                let field =
                    (self.offset / 8) as u16 | if more { MORE_FRAGMENTS } else { 0 } | if self.dont_fragment { DONT_FRAGMENT } else { 0 };
                ip[ipv4::TOTAL_LEN].copy_from_slice(&total.to_be_bytes());
                ip[ipv4::FLAGS].copy_from_slice(&field.to_be_bytes());
                ip[ipv4::CHECKSUM].fill(0);
                let sum = Sum::of(ip).checksum();
                ip[ipv4::CHECKSUM].copy_from_slice(&sum.to_be_bytes());
            }
            Family::V6 => {
                let payload = (header_len - ethernet::HEADER_LEN - ipv6::HEADER_LEN + len) as u16;
                ip[ipv6::PAYLOAD_LEN].copy_from_slice(&payload.to_be_bytes());
                let at = ip.len() - FRAGMENT_HEADER_LEN;
                ip[at + 2..at + 4].copy_from_slice(&(self.offset as u16 | u16::from(more)).to_be_bytes());
            }
        }
    }
}

/// Replaces the options that only the first fragment carries (`ip_options_fragment`, `net/ipv4/ip_options.c`).
fn blank_options(header: &mut [u8]) {
    let mut at = ipv4::HEADER_LEN_MIN;
    while at < header.len() && header[at] != OPTION_END {
        let len = if header[at] == OPTION_NOP { 1 } else { usize::from(header.get(at + 1).copied().unwrap_or(0)) };
        if len == 0 || at + len > header.len() {
            return;
        }
        if header[at] & OPTION_COPIED == 0 {
            header[at..at + len].fill(OPTION_NOP);
        }
        at += len;
    }
}

/// Where the part of an IPv6 packet ends that every router on the way looks at, and where the octet is that says what follows
/// (`ip6_find_1stfragopt`, `net/ipv6/output_core.c`): behind hop-by-hop options, a routing header, and destination options in
/// front of that.
fn unfragmentable(octets: &[u8], l3: usize) -> Option<(usize, usize)> {
    let (mut end, mut next_header, mut routed) = (l3 + ipv6::HEADER_LEN, l3 + ipv6::NEXT_HEADER, false);
    for _ in 0..=ipv6::EXTENSION_HEADERS_MAX {
        match *octets.get(next_header)? {
            ip_protocol::HOP_BY_HOP => {}
            ip_protocol::ROUTING => routed = true,
            ip_protocol::DESTINATION_OPTIONS if !routed => {}
            _ => break,
        }
        (next_header, end) = (end, end + (usize::from(*octets.get(end + 1)?) + 1) * 8);
    }
    (end <= octets.len()).then_some((end, next_header))
}
