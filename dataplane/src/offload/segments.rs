//! Cutting a GSO frame into frames of at most `gso_size` octets of payload.
//!
//! [`Segments`] is made from a frame of one burst and fills another burst, batch by batch. It copies the headers once and
//! borrows the payload, so nothing is allocated and only the part of the payload in the source head is copied:
//!
//! ```
//! use dataplane::offload::{NotSegmentable, Segments};
//! use dataplane::{Burst, BurstMemory, Frame};
//!
//! fn transmit_in_segments(frame: &Frame<'_>, memory: &mut BurstMemory, mut transmit: impl FnMut(&mut Burst<'_>)) -> Result<(), NotSegmentable> {
//!     let mut segments = Segments::new(frame)?;
//!     loop {
//!         let mut batch = memory.burst();
//!         let more = segments.next_batch(&mut batch);
//!         transmit(&mut batch);
//!         if !more {
//!             return Ok(());
//!         }
//!     }
//! }
//! ```

use core::fmt;

use wire::checksum::Sum;
use wire::{Ipv4Header, Ipv6Header, Offload, TcpHeader, UdpHeader, ethernet, ip_protocol, ipv6, tcp, udp, virtio_net};

use super::{Network, untagged_octets};
use crate::burst::Burst;
use crate::frame::{Body, Frame, HEAD_MAX};

/// Segments a frame is cut into at most. Each costs a transmission, so without a bound a guest could have one frame of
/// 64 KiB sent as 65 thousand. A full frame reaches the bound below 64 octets of payload a segment; TCP with the default
/// MSS of 536 (RFC 9293 section 3.7.1) needs 123 segments, and Linux sends at most 128 datagrams (`UDP_MAX_SEGMENTS`) at
/// once. The count rather than a least `gso_size` is bounded so that short frames of tiny segments, which do no harm and
/// which sockets may ask for (`UDP_SEGMENT`), still pass.
pub const SEGMENTS_MAX: usize = 1024;

/// The headers of a GSO frame do not allow software to cut it, or not in [`SEGMENTS_MAX`] segments.
///
/// That is so unless the frame is Ethernet with at most two VLAN tags, IPv4 or IPv6 in agreement with the segmentation
/// kind, no fragment, TCP or UDP (behind hop-by-hop, routing and destination options headers in IPv6), with all headers
/// in the head, all lengths those of the frame and the checksum to finish that of the transport header. IP lengths of 0
/// are taken too, as stacks write them that leave them to the segmenter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSegmentable;

impl fmt::Display for NotSegmentable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the headers of the frame do not allow software segmentation")
    }
}

impl core::error::Error for NotSegmentable {}

/// The segments of a GSO frame that are still to come.
///
/// Each segment is a complete frame with [`Offload::NONE`]. It has the octets of the source in front of and without its
/// metadata tags; whoever transmits it calls [`Frame::set_wire_tags`] as for any frame.
#[derive(Debug)]
pub struct Segments<'a> {
    /// The headers of the next segment and behind them the payload of the source head still to come.
    head: [u8; HEAD_MAX],
    /// Octets of `head` in use.
    head_len: usize,
    /// Where the IP header starts.
    network: usize,
    /// Where the TCP or UDP header starts.
    transport: usize,
    /// Octets of all headers.
    header_len: usize,
    is_ipv6: bool,
    is_tcp: bool,
    /// The payload of the source body still to come.
    body: Body<'a>,
    /// Octets of payload in each segment but the last.
    gso_size: usize,
    /// Segments still to come.
    count: usize,
    /// The sum of the pseudo header without the length.
    pseudo: Sum,
    /// The TCP flags of the source, without CWR after the first segment.
    flags: u16,
}

impl<'a> Segments<'a> {
    /// The segments of `frame`, a GSO frame. A frame whose payload is not above `gso_size` is one segment.
    ///
    /// # Errors
    ///
    /// [`NotSegmentable`], which see.
    pub fn new(frame: &Frame<'a>) -> Result<Segments<'a>, NotSegmentable> {
        let offload = frame.offload();
        if !offload.needs_checksum() || offload.gso_size == 0 {
            return Err(NotSegmentable);
        }
        let octets = untagged_octets(frame);
        let network = Network::find(octets).ok_or(NotSegmentable)?;
        let ip = octets.get(network.offset..).ok_or(NotSegmentable)?;
        let ip_len = frame.len() - network.offset;
        let (is_ipv6, (protocol, ip_header_len)) = match network.ether_type {
            ethernet::ETHER_TYPE_IPV4 => (false, transport_over_ipv4(ip, ip_len)?),
            ethernet::ETHER_TYPE_IPV6 => (true, transport_over_ipv6(ip, ip_len)?),
            _ => return Err(NotSegmentable),
        };
        let is_tcp = match (offload.gso_kind(), is_ipv6, protocol) {
            (virtio_net::GSO_TCPV4, false, ip_protocol::TCP) | (virtio_net::GSO_TCPV6, true, ip_protocol::TCP) => true,
            (virtio_net::GSO_UDP_L4, _, ip_protocol::UDP) => false,
            _ => return Err(NotSegmentable),
        };
        let transport = network.offset + ip_header_len;
        let header = octets.get(transport..).ok_or(NotSegmentable)?;
        let transport_len = u16::try_from(frame.len() - transport).map_err(|_| NotSegmentable)?;
        let (header_len, checksum, partial, flags) = if is_tcp {
            let header = TcpHeader::new_checked(header).map_err(|_| NotSegmentable)?;
            (header.header_len(), tcp::CHECKSUM, header.checksum(), header.flags())
        } else {
            let header = UdpHeader::new_checked(header).map_err(|_| NotSegmentable)?;
            if header.length() != transport_len {
                return Err(NotSegmentable);
            }
            (udp::HEADER_LEN, udp::CHECKSUM, header.checksum(), 0)
        };
        if usize::from(offload.csum_start) != transport || usize::from(offload.csum_offset) != checksum.start {
            return Err(NotSegmentable);
        }
        let payload_len = usize::from(transport_len) - header_len;
        let count = payload_len.div_ceil(usize::from(offload.gso_size)).max(1);
        if count > SEGMENTS_MAX {
            return Err(NotSegmentable);
        }
        let mut head = [0; HEAD_MAX];
        head[..octets.len()].copy_from_slice(octets);
        // Where tags are written, the addresses lie in front of them.
        const ADDRESSES: usize = ethernet::SOURCE.end;
        head[..ADDRESSES].copy_from_slice(&frame.head()[..ADDRESSES]);
        Ok(Segments {
            head,
            head_len: octets.len(),
            network: network.offset,
            transport,
            header_len: transport + header_len,
            is_ipv6,
            is_tcp,
            body: frame.body(),
            gso_size: usize::from(offload.gso_size),
            count,
            // The field holds the sum of the pseudo header with the length of the whole. As in the kernel it is taken
            // from there and not computed anew: behind a routing header the destination of the pseudo header is not
            // the one of the IPv6 header. Only the length differs from segment to segment.
            pseudo: Sum::ZERO.add_word(partial).add_word(!transport_len),
            flags,
        })
    }

    /// Segments still to come, at most [`SEGMENTS_MAX`].
    #[inline]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Adds segments to `into` until it is full or there are none left. Returns whether there are.
    pub fn next_batch<'b>(&mut self, into: &mut Burst<'b>) -> bool
    where
        'a: 'b,
    {
        while self.count > 0 && !into.is_full() {
            self.next(into);
        }
        self.count > 0
    }

    fn next<'b>(&mut self, into: &mut Burst<'b>)
    where
        'a: 'b,
    {
        let payload_len = (self.head_len - self.header_len + self.body.len()).min(self.gso_size);
        let head_end = self.head_len.min(self.header_len + payload_len);
        let in_body = payload_len - (head_end - self.header_len);
        let body = self.body.part(0, in_body);

        self.write_headers(payload_len);
        // Both protocols have a checksum that covers everything from their header on.
        let field = self.transport + if self.is_tcp { tcp::CHECKSUM.start } else { udp::CHECKSUM.start };
        self.head[field..field + 2].fill(0);
        let transport_len = self.header_len - self.transport + payload_len;
        let sum = self.pseudo.add_word(transport_len as u16).add(&self.head[self.transport..head_end]);
        let sum = body.add_to(sum);
        // For UDP 0 means that there is no checksum; for TCP it is the same number as 0xffff.
        let checksum = if self.is_tcp { sum.checksum() } else { sum.nonzero_checksum() };
        self.head[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
        into.push_parts(&self.head[..head_end], body, Offload::NONE);

        self.head.copy_within(head_end..self.head_len, self.header_len);
        self.head_len -= head_end - self.header_len;
        self.body = self.body.part(in_body, self.body.len() - in_body);
        self.count -= 1;
        self.advance_headers(payload_len);
    }

    /// Writes what differs in the headers of a segment with `payload_len` octets of payload, except for the checksum.
    /// `new` found every header to lie in `head`, and no length there exceeds that of the source, which fits 16 bits.
    fn write_headers(&mut self, payload_len: usize) {
        let (network, transport) = (self.network, self.transport);
        let ip_len = self.header_len - network + payload_len;
        if self.is_ipv6 {
            // ipv6_gso_segment
            if let Ok(mut header) = Ipv6Header::new_checked(&mut self.head[network..transport]) {
                header.set_payload_len((ip_len - ipv6::HEADER_LEN) as u16);
            }
        } else if let Ok(mut header) = Ipv4Header::new_checked(&mut self.head[network..transport]) {
            // inet_gso_segment
            header.set_total_len(ip_len as u16);
            header.fill_checksum();
        }
        if self.is_tcp {
            // tcp_gso_segment: FIN and PSH only on the last segment, CWR only on the first (RFC 3168 section 6.1.2)
            if let Ok(mut header) = TcpHeader::new_checked(&mut self.head[transport..self.header_len]) {
                header.set_flags(if self.count == 1 { self.flags } else { self.flags & !(tcp::FIN | tcp::PSH) });
            }
        } else if let Ok(mut header) = UdpHeader::new_checked(&mut self.head[transport..self.header_len]) {
            // __udp_gso_segment
            header.set_length((udp::HEADER_LEN + payload_len) as u16);
        }
    }

    /// Moves the headers on to the segment behind one with `payload_len` octets of payload.
    fn advance_headers(&mut self, payload_len: usize) {
        self.flags &= !tcp::CWR;
        // Each packet has an identification of its own (RFC 6864 section 4.2), also where DF is set, as in the kernel.
        if !self.is_ipv6
            && let Ok(mut header) = Ipv4Header::new_checked(&mut self.head[self.network..self.transport])
        {
            let identification = header.identification().wrapping_add(1);
            header.set_identification(identification);
        }
        if self.is_tcp
            && let Ok(mut header) = TcpHeader::new_checked(&mut self.head[self.transport..self.header_len])
        {
            let sequence = header.sequence().wrapping_add(payload_len as u32);
            header.set_sequence(sequence);
        }
    }
}

/// Protocol and length of the IPv4 header of a packet of `len` octets.
fn transport_over_ipv4(octets: &[u8], len: usize) -> Result<(u8, usize), NotSegmentable> {
    let header = Ipv4Header::new_checked(octets).map_err(|_| NotSegmentable)?;
    check_len(header.total_len(), len)?;
    if header.is_fragment() { Err(NotSegmentable) } else { Ok((header.protocol(), header.header_len())) }
}

/// Protocol and length of the IPv6 headers of a packet of `len` octets.
fn transport_over_ipv6(octets: &[u8], len: usize) -> Result<(u8, usize), NotSegmentable> {
    let header = Ipv6Header::new_checked(octets).map_err(|_| NotSegmentable)?;
    check_len(header.payload_len(), len - ipv6::HEADER_LEN)?;
    let upper = header.upper_layer().map_err(|_| NotSegmentable)?;
    if upper.fragment.is_some() { Err(NotSegmentable) } else { Ok((upper.protocol, upper.offset)) }
}

/// Whether a length of an IP header is that of the frame, or 0 and so left to the segmenter.
fn check_len(said: u16, is: usize) -> Result<(), NotSegmentable> {
    match said {
        0 if is <= usize::from(u16::MAX) => Ok(()),
        said if usize::from(said) == is => Ok(()),
        _ => Err(NotSegmentable),
    }
}
