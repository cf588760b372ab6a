//! One frame on its way through the switch: a private head and a borrowed body.
//!
//! The first [`HEAD_MAX`] octets are copied into a slot that belongs to the worker; the rest stays where the source
//! device has it and is only borrowed until the burst ends. Every decision and every edit is made on the head, so a
//! sender that rewrites its buffer after we looked at it cannot change a decision.
//!
//! A VLAN tag is metadata between ingress and egress: [`Frame::pop_tag`] takes it out of the octets, and
//! [`Frame::set_wire_tags`] writes the tags one particular egress port wants, just before that port transmits. Both are
//! twelve moved octets in the headroom.

use core::sync::atomic::{AtomicU8, Ordering};

use wire::checksum::Sum;
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

/// A run of octets of a [`Body`].
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// Memory that nobody writes while the frame lives.
    Private(&'a [u8]),
    /// Memory that others may write at any time, such as a VM its own: two reads may see different octets.
    Shared(&'a [AtomicU8]),
}

impl<'a> Piece<'a> {
    /// Octets that are copied at once to be summed.
    const CHUNK: usize = 256;

    /// Octets in the piece.
    #[inline]
    pub const fn len(&self) -> usize {
        match self {
            Piece::Private(octets) => octets.len(),
            Piece::Shared(octets) => octets.len(),
        }
    }

    /// Whether there is none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The octets before `at`, and the others.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    #[inline]
    pub fn split_at(&self, at: usize) -> (Piece<'a>, Piece<'a>) {
        match self {
            Piece::Private(octets) => (Piece::Private(&octets[..at]), Piece::Private(&octets[at..])),
            Piece::Shared(octets) => (Piece::Shared(&octets[..at]), Piece::Shared(&octets[at..])),
        }
    }

    /// Copies the octets.
    ///
    /// # Panics
    ///
    /// If `into` has another length.
    pub fn copy_to(&self, into: &mut [u8]) {
        match self {
            Piece::Private(octets) => into.copy_from_slice(octets),
            Piece::Shared(octets) => {
                assert_eq!(octets.len(), into.len());
                into.iter_mut().zip(*octets).for_each(|(to, from)| *to = from.load(Ordering::Relaxed));
            }
        }
    }

    /// `sum` with these octets added.
    #[must_use]
    pub fn add_to(&self, sum: Sum) -> Sum {
        match self {
            Piece::Private(octets) => sum.add(octets),
            Piece::Shared(octets) => octets.chunks(Piece::CHUNK).fold(sum, |sum, chunk| {
                let mut copy = [0; Piece::CHUNK];
                Piece::Shared(chunk).copy_to(&mut copy[..chunk.len()]);
                sum.add(&copy[..chunk.len()])
            }),
        }
    }
}

/// The part of a frame behind the head. Its octets belong to the device the frame came from.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a>(Octets<'a>);

#[derive(Clone, Copy, Debug)]
enum Octets<'a> {
    Private(&'a [u8]),
    /// `len` octets behind the first `skip` of the pieces, which are no fewer. `skip` lies in the first piece.
    Shared {
        pieces: &'a [&'a [AtomicU8]],
        skip: u32,
        len: u32,
    },
}

impl Default for Body<'_> {
    fn default() -> Self {
        Body::EMPTY
    }
}

impl<'a> Body<'a> {
    /// No octets: the whole frame fits the head.
    pub const EMPTY: Body<'static> = Body(Octets::Private(&[]));

    /// A body in contiguous memory that nobody writes while the frame lives.
    #[inline]
    pub const fn from_slice(octets: &'a [u8]) -> Body<'a> {
        Body(Octets::Private(octets))
    }

    /// A body in memory that others may write: `len` octets behind the first `skip` octets of `pieces`.
    ///
    /// # Panics
    ///
    /// If the pieces have fewer octets, in debug builds; a body that is shorter than it says is found by its reader.
    #[inline]
    pub fn from_shared(pieces: &'a [&'a [AtomicU8]], skip: usize, len: usize) -> Body<'a> {
        debug_assert!(skip + len <= pieces.iter().map(|piece| piece.len()).sum());
        let (mut pieces, mut skip) = (pieces, skip);
        while let Some((first, rest)) = pieces.split_first().filter(|(first, _)| first.len() <= skip) {
            skip -= first.len();
            pieces = rest;
        }
        Body(Octets::Shared { pieces, skip: skip as u32, len: len as u32 })
    }

    /// Octets in the body.
    #[inline]
    pub const fn len(&self) -> usize {
        match self.0 {
            Octets::Private(octets) => octets.len(),
            Octets::Shared { len, .. } => len as usize,
        }
    }

    /// Whether the whole frame is in the head.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The octets as they lie in memory, in order. A transmit queue makes its `iovec`s from them.
    #[inline]
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'a>> + use<'a> {
        let (private, shared, mut skip, mut left) = match self.0 {
            Octets::Private(octets) => (Some(octets).filter(|octets| !octets.is_empty()), &[][..], 0, 0),
            Octets::Shared { pieces, skip, len } => (None, pieces, skip as usize, len as usize),
        };
        let shared = shared.iter().map_while(move |piece| {
            let part = piece.get(skip..piece.len().min(skip + left)).filter(|_| left > 0)?;
            (skip, left) = (0, left - part.len());
            Some(Piece::Shared(part))
        });
        let shared = shared.filter(|piece| !piece.is_empty());
        private.map(Piece::Private).into_iter().chain(shared)
    }

    /// Copies of the octets, one by one: for tests and other slow ways.
    pub fn octets(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.pieces().flat_map(|piece| {
            (0..piece.len()).map(move |i| match piece {
                Piece::Private(octets) => octets[i],
                Piece::Shared(octets) => octets[i].load(Ordering::Relaxed),
            })
        })
    }

    /// The part `start..start + len` of the body.
    ///
    /// # Panics
    ///
    /// If the part does not lie in the body.
    #[inline]
    pub fn part(&self, start: usize, len: usize) -> Body<'a> {
        match self.0 {
            Octets::Private(octets) => Body::from_slice(&octets[start..start + len]),
            Octets::Shared { pieces, skip, len: all } => {
                assert!(start + len <= all as usize);
                Body::from_shared(pieces, skip as usize + start, len)
            }
        }
    }

    /// Copies the octets.
    ///
    /// # Panics
    ///
    /// If `into` has another length.
    pub fn copy_to(&self, into: &mut [u8]) {
        assert_eq!(self.len(), into.len());
        let mut rest = into;
        for piece in self.pieces() {
            let (now, later) = rest.split_at_mut(piece.len());
            piece.copy_to(now);
            rest = later;
        }
        // A body that is shorter than it says.
        rest.fill(0);
    }

    /// `sum` with these octets added.
    #[inline]
    #[must_use]
    pub fn add_to(&self, sum: Sum) -> Sum {
        self.pieces().fold(sum, |sum, piece| piece.add_to(sum))
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
    /// Octets from `start` to the end of the body.
    len: u32,
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
        let len = (head_len + body.len()) as u32;
        Frame { slot, start: HEADROOM as u16, end: (HEADROOM + head_len) as u16, len, written: 0, body, offload, tags }
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
        self.len as usize
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

    /// Replaces `remove` octets of the head at `at` by `insert`, moving what is in front of them. `false`, and nothing changed,
    /// when these octets do not lie in the head or the headroom is too short. Only before tags are written.
    #[must_use]
    pub fn splice(&mut self, at: usize, remove: usize, insert: &[u8]) -> bool {
        debug_assert_eq!(self.written, 0);
        let start = usize::from(self.start);
        let to = (start + remove).checked_sub(insert.len()).filter(|to| *to >= TAGS_MAX * Tag::LEN);
        let Some(to) = to.filter(|_| start + at + remove <= usize::from(self.end)) else { return false };
        self.slot.0.copy_within(start..start + at, to);
        self.slot.0[to + at..to + at + insert.len()].copy_from_slice(insert);
        self.start = to as u16;
        self.len = self.len + insert.len() as u32 - remove as u32;
        true
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
        self.len -= Tag::LEN as u32;
        self.offload = self.offload.shifted(-(Tag::LEN as i16));
        self.tags.push(Tag { tpid, tci });
        Ok(true)
    }

    /// Cuts the frame off behind its first `len` octets, as a router does with what an Ethernet frame carries behind the
    /// packet. Nothing happens to a frame that is no longer. Only before tags are written.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        debug_assert_eq!(self.written, 0);
        if len >= self.len() {
            return;
        }
        let head_len = usize::from(self.end - self.start);
        self.len = len as u32;
        if len > head_len {
            self.body = self.body.part(0, len - head_len);
        } else {
            self.end = self.start + len as u16;
            self.body = Body::EMPTY;
        }
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

    #[test]
    fn a_frame_is_cut_in_head_and_body() {
        let octets: Vec<u8> = (0..=255).cycle().take(600).collect();
        for len in [0, 1, HEAD_MAX - 1, HEAD_MAX, HEAD_MAX + 1, 599, 600, 700] {
            let mut slot = HeadSlot::EMPTY;
            slot.0[HEADROOM..].copy_from_slice(&octets[..HEAD_MAX]);
            let mut f = Frame::new(&mut slot, HEAD_MAX, Body::from_slice(&octets[HEAD_MAX..]), Offload::NONE, None);
            f.truncate(len);
            let left: Vec<u8> = f.head().iter().copied().chain(f.body().octets()).collect();
            assert_eq!((f.len(), &left[..]), (len.min(600), &octets[..len.min(600)]), "{len}");
        }
    }

    #[test]
    fn a_shared_body_reads_as_a_private_one() {
        let octets: Vec<u8> = (0..700u32).map(|i| (i * 7) as u8).collect();
        let shared: Vec<AtomicU8> = octets.iter().map(|octet| AtomicU8::new(*octet)).collect();
        for cuts in [vec![], vec![1], vec![0, 3, 300], vec![100, 100, 101, 699]] {
            let ends = cuts.iter().copied().chain([700]);
            let starts = [0].into_iter().chain(cuts.iter().copied());
            let pieces: Vec<&[AtomicU8]> = starts.zip(ends).map(|(start, end)| &shared[start..end]).collect();
            for (skip, len) in [(0, 700), (1, 699), (99, 2), (100, 1), (300, 0), (250, 301), (700, 0)] {
                let (body, expected) = (Body::from_shared(&pieces, skip, len), &octets[skip..skip + len]);
                assert_eq!((body.len(), body.is_empty()), (len, len == 0));
                assert_eq!(body.octets().collect::<Vec<_>>(), expected, "{cuts:?} {skip} {len}");
                assert!(body.pieces().all(|piece| !piece.is_empty()));
                let mut copy = vec![0; len];
                body.copy_to(&mut copy);
                assert_eq!(copy, expected, "{cuts:?} {skip} {len}");
                assert_eq!(body.add_to(Sum::ZERO).fold(), Sum::of(expected).fold());
                for (start, part) in [(0, len), (len / 2, len / 3), (len, 0)] {
                    let (part, expected) = (body.part(start, part), &expected[start..start + part]);
                    assert_eq!(part.octets().collect::<Vec<_>>(), expected, "{cuts:?} {skip} {len} {start}");
                    assert_eq!(part.add_to(Sum::ZERO).fold(), Sum::of(expected).fold());
                }
            }
        }
    }

    /// Octets in the head are replaced by more and by fewer; tags that are popped and written later are where they belong.
    #[test]
    fn octets_of_another_length() {
        let mut slot = HeadSlot::EMPTY;
        let mut frame = frame(&mut slot, &OCTETS);
        assert!(frame.pop_tag().unwrap());
        assert!(frame.splice(14, 2, &[9; 40]));
        assert_eq!((frame.len(), &frame.head()[..14], &frame.head()[54..]), (56, &[&OCTETS[..12], &[8, 6]].concat()[..], &OCTETS[20..]));
        assert!(frame.splice(14, 40, &[]) && frame.splice(14, 0, &[1, 2]));
        assert_eq!(frame.head(), [&OCTETS[..12], &OCTETS[16..]].concat());
        let tags = *frame.tags();
        frame.set_wire_tags(&tags);
        assert_eq!(frame.head(), OCTETS);
        frame.set_wire_tags(&[]);
        assert!(!frame.splice(14, 5, &[]), "not in the head");
        assert!(frame.splice(14, 0, &[7; HEADROOM - 8 + 4]), "all of the headroom but room for tags");
        assert!(!frame.splice(14, 0, &[7]), "no headroom is left");
        assert_eq!(frame.len(), 18 + HEADROOM - 4);
    }
}
