//! One frame on its way through the switch: a private head and a borrowed body.
//!
//! The first [`HEAD_MAX`] octets are copied into a slot that belongs to the worker; the rest stays where the source
//! device has it and is only borrowed until the burst ends. Every decision and every edit is made on the head, so a
//! sender that rewrites its buffer after we looked at it cannot change a decision.
//!
//! A VLAN tag is metadata between ingress and egress: [`Frame::pop_tag`] takes it out of the octets, and
//! [`Frame::set_wire_tags`] writes the tags one particular egress port wants, just before that port transmits. Both are
//! twelve moved octets in the headroom.

use wire::{MacAddr, Offload, Tag, Tpid, ethernet};

/// Free octets in front of the head, for headers that are pushed.
pub const HEADROOM: usize = 128;
/// Octets of a frame that are copied into the head.
pub const HEAD_MAX: usize = 256;
/// VLAN tags that can be metadata at the same time: one service and one customer tag.
pub const TAGS_MAX: usize = 2;

/// VLAN tags outside the octets of a frame, innermost first. Dereferences to a slice.
#[derive(Clone, Copy)]
pub struct Tags {
    tags: [Tag; TAGS_MAX],
    len: u8,
}

impl Tags {
    /// No tags.
    pub const NONE: Tags = Tags { tags: [Tag { tpid: Tpid::Dot1Q, tci: 0 }; TAGS_MAX], len: 0 };

    /// Adds a tag outside those that are there.
    ///
    /// # Panics
    ///
    /// If there are [`TAGS_MAX`] already.
    #[inline]
    pub fn push(&mut self, tag: Tag) {
        self.tags[usize::from(self.len)] = tag;
        self.len += 1;
    }
}

impl core::ops::Deref for Tags {
    type Target = [Tag];

    #[inline]
    fn deref(&self) -> &[Tag] {
        &self.tags[..usize::from(self.len).min(TAGS_MAX)]
    }
}

impl core::fmt::Debug for Tags {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Memory for the head of one frame. Aligned so that neighbouring slots never share a cache line.
#[derive(Clone)]
#[repr(align(64))]
pub struct HeadSlot(pub(crate) [u8; HEADROOM + HEAD_MAX]);

impl HeadSlot {
    /// A slot of zeros.
    pub const EMPTY: HeadSlot = HeadSlot([0; HEADROOM + HEAD_MAX]);
}

/// The part of a frame behind the head. Its octets belong to the device the frame came from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    /// No octets: the whole frame fits the head.
    pub const EMPTY: Body<'static> = Body(&[]);

    /// A body in contiguous memory that nobody writes while the frame lives.
    #[inline]
    pub const fn from_slice(octets: &'a [u8]) -> Body<'a> {
        Body(octets)
    }

    /// Octets in the body.
    #[inline]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the whole frame is in the head.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The octets as they lie in memory, in order. A transmit queue makes its `iovec`s from them.
    #[inline]
    pub fn pieces(&self) -> impl Iterator<Item = &'a [u8]> {
        (!self.0.is_empty()).then_some(self.0).into_iter()
    }

    /// The part `start..start + len` of the body.
    ///
    /// # Panics
    ///
    /// If the part does not lie in the body.
    #[inline]
    pub fn part(&self, start: usize, len: usize) -> Body<'a> {
        Body(&self.0[start..start + len])
    }
}

/// One frame on its way through the switch.
#[derive(Debug)]
pub struct Frame<'a> {
    slot: &'a mut HeadSlot,
    /// First octet of the destination address when no metadata tag is written.
    start: u16,
    /// End of the head in the slot.
    end: u16,
    /// Metadata tags that are written in front of `start` now.
    written: u8,
    body: Body<'a>,
    /// What is left to do, with offsets that count from `start`.
    offload: Offload,
    /// Tags that were taken out of the octets, innermost first.
    tags: Tags,
}

impl core::fmt::Debug for HeadSlot {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HeadSlot")
    }
}

impl<'a> Frame<'a> {
    /// A frame whose head lies at [`HEADROOM`] in `slot`.
    ///
    /// # Panics
    ///
    /// If `head_len` is above [`HEAD_MAX`].
    #[inline]
    pub(crate) fn new(slot: &'a mut HeadSlot, head_len: usize, body: Body<'a>, offload: Offload, tag: Option<Tag>) -> Frame<'a> {
        assert!(head_len <= HEAD_MAX);
        let mut tags = Tags::NONE;
        if let Some(tag) = tag {
            tags.push(tag);
        }
        Frame { slot, start: HEADROOM as u16, end: (HEADROOM + head_len) as u16, written: 0, body, offload, tags }
    }

    /// The octets of the head as they go on the wire, with the tags that [`Frame::set_wire_tags`] wrote.
    #[inline]
    pub fn head(&self) -> &[u8] {
        let start = usize::from(self.start) - usize::from(self.written) * Tag::LEN;
        &self.slot.0[start..usize::from(self.end)]
    }

    /// The head for edits; see [`Frame::head`].
    #[inline]
    pub fn head_mut(&mut self) -> &mut [u8] {
        let start = usize::from(self.start) - usize::from(self.written) * Tag::LEN;
        &mut self.slot.0[start..usize::from(self.end)]
    }

    /// The part behind the head.
    #[inline]
    pub fn body(&self) -> Body<'a> {
        self.body
    }

    /// Octets of the frame without metadata tags.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.end - self.start) + self.body.len()
    }

    /// Whether there is no octet at all.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Octets of the frame as it goes on the wire now.
    #[inline]
    pub fn wire_len(&self) -> usize {
        self.len() + usize::from(self.written) * Tag::LEN
    }

    /// The Ethernet header without metadata tags, as it arrived; `None` for a frame that is shorter. Only before tags are
    /// written.
    #[inline]
    pub fn ethernet_header(&self) -> Option<&[u8; ethernet::HEADER_LEN]> {
        debug_assert_eq!(self.written, 0);
        let (start, end) = (usize::from(self.start), usize::from(self.end));
        if start + ethernet::HEADER_LEN > end {
            return None;
        }
        self.slot.0.get(start..start + ethernet::HEADER_LEN)?.first_chunk()
    }

    /// Destination address.
    ///
    /// # Panics
    ///
    /// If the head is shorter than an Ethernet header; the pipeline drops such frames first.
    #[inline]
    pub fn destination(&self) -> MacAddr {
        MacAddr::at(&self.head()[ethernet::DESTINATION])
    }

    /// Source address.
    ///
    /// # Panics
    ///
    /// As [`Frame::destination`].
    #[inline]
    pub fn source(&self) -> MacAddr {
        MacAddr::at(&self.head()[ethernet::SOURCE])
    }

    /// Tags outside the octets, innermost first.
    #[inline]
    pub fn tags(&self) -> &Tags {
        &self.tags
    }

    /// What is left to do on the frame, with offsets that count from its first octet without metadata tags.
    #[inline]
    pub fn offload(&self) -> Offload {
        self.offload
    }

    /// Replaces what is left to do, as after finishing a checksum in software.
    #[inline]
    pub fn set_offload(&mut self, offload: Offload) {
        self.offload = offload;
    }

    /// The `struct virtio_net_hdr` that belongs to [`Frame::head`].
    #[inline]
    pub fn wire_offload(&self) -> Offload {
        self.offload.shifted(i16::from(self.written) * Tag::LEN as i16)
    }

    /// Takes the outermost tag out of the octets into [`Frame::tags`]. `false` when the octets start with no tag, or
    /// there is a metadata tag already (it is the outermost then).
    ///
    /// # Errors
    ///
    /// [`CutTag`] when the frame ends inside the tag or right behind it.
    ///
    /// # Panics
    ///
    /// If the head is shorter than an Ethernet header.
    #[inline]
    pub fn pop_tag(&mut self) -> Result<bool, CutTag> {
        debug_assert_eq!(self.written, 0);
        let start = usize::from(self.start);
        let head = &mut self.slot.0[start..usize::from(self.end)];
        let Some(tpid) = Tpid::from_ether_type(ethernet::ether_type(head)) else { return Ok(false) };
        if !self.tags.is_empty() {
            return Ok(false);
        }
        if head.len() < ethernet::HEADER_LEN + Tag::LEN {
            return Err(CutTag);
        }
        let tci = u16::from_be_bytes([head[14], head[15]]);
        head.copy_within(0..12, Tag::LEN);
        self.start += Tag::LEN as u16;
        self.offload = self.offload.shifted(-(Tag::LEN as i16));
        self.tags.push(Tag { tpid, tci });
        Ok(true)
    }

    /// Makes [`Frame::head`] carry exactly `tags` (innermost first) in front of the octets, whatever was written before.
    #[inline]
    pub fn set_wire_tags(&mut self, tags: &[Tag]) {
        if self.written == 0 && tags.is_empty() {
            return;
        }
        let start = usize::from(self.start);
        let from = start - usize::from(self.written) * Tag::LEN;
        let to = start - tags.len() * Tag::LEN;
        self.slot.0.copy_within(from..from + 12, to);
        let mut at = to + 12;
        for tag in tags.iter().rev() {
            self.slot.0[at..at + Tag::LEN].copy_from_slice(&tag.to_bytes());
            at += Tag::LEN;
        }
        self.written = tags.len() as u8;
    }
}

/// The frame ends inside a VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutTag;

#[cfg(test)]
mod tests {
    use super::*;
    use wire::VlanId;

    const OCTETS: [u8; 22] = [
        0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1, // addresses
        0x81, 0x00, 0x60, 0x64, // PCP 3, VID 100
        0x08, 0x06, 1, 2, 3, 4, // ARP and four octets
    ];

    fn frame<'a>(slot: &'a mut HeadSlot, octets: &[u8]) -> Frame<'a> {
        slot.0[HEADROOM..HEADROOM + octets.len()].copy_from_slice(octets);
        Frame::new(slot, octets.len(), Body::EMPTY, Offload::NONE, None)
    }

    #[test]
    fn a_tag_comes_out_and_goes_back_unchanged() {
        let mut slot = HeadSlot::EMPTY;
        let mut f = frame(&mut slot, &OCTETS);
        assert_eq!(f.pop_tag(), Ok(true));
        assert_eq!(f.head()[12..], [0x08, 0x06, 1, 2, 3, 4]);
        assert_eq!(f.len(), 18);
        let tags = *f.tags();
        f.set_wire_tags(&tags);
        assert_eq!(f.head(), OCTETS);
        assert_eq!(f.wire_len(), 22);
        f.set_wire_tags(&[]);
        assert_eq!(f.head().len(), 18);
        assert_eq!(f.source(), MacAddr([0x52, 0x54, 0, 0, 0, 1]));
    }

    #[test]
    fn two_tags_are_written_outermost_first() {
        let mut slot = HeadSlot::EMPTY;
        let mut f = frame(&mut slot, &OCTETS);
        f.pop_tag().unwrap();
        let outer = Tag::new(Tpid::Dot1Ad, VlanId::new(300).unwrap(), 0);
        f.set_wire_tags(&[f.tags()[0], outer]);
        assert_eq!(f.head()[12..20], [0x88, 0xa8, 0x01, 0x2c, 0x81, 0x00, 0x60, 0x64]);
    }

    #[test]
    fn offsets_follow_the_tag() {
        let mut slot = HeadSlot::EMPTY;
        let mut f = frame(&mut slot, &OCTETS);
        f.set_offload(Offload { flags: 1, csum_start: 38, ..Offload::NONE });
        f.pop_tag().unwrap();
        assert_eq!(f.offload().csum_start, 34);
        let tags = *f.tags();
        f.set_wire_tags(&tags);
        assert_eq!((f.offload().csum_start, f.wire_offload().csum_start), (34, 38));
    }

    #[test]
    fn a_cut_tag_is_an_error_at_every_length() {
        for len in 14..18 {
            let mut slot = HeadSlot::EMPTY;
            assert_eq!(frame(&mut slot, &OCTETS[..len]).pop_tag(), Err(CutTag), "{len}");
        }
        let mut slot = HeadSlot::EMPTY;
        assert_eq!(frame(&mut slot, &OCTETS[..18]).pop_tag(), Ok(true));
    }
}
