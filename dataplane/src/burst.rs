//! Up to [`BURST_MAX`] frames that one receive queue delivered at once, and the memory behind them.
//!
//! A worker owns one [`BurstMemory`] and lends it to one [`Burst`] after the other, so nothing is allocated per frame
//! and the same few cache lines are used again and again. A burst ends before its memory is used anew, which the borrow
//! checker enforces.

use arrayvec::ArrayVec;
use wire::{Offload, Tag};

use crate::drop_reason::DropReason;
use crate::frame::{Body, Frame, HEAD_MAX, HEADROOM, HeadSlot};

/// Frames in a burst at most. Larger bursts gain little where each frame costs a system call and cost latency.
pub const BURST_MAX: usize = 32;

/// Octets of one frame at most: a 64 KiB GSO frame with Ethernet header and VLAN tags.
pub const FRAME_MAX: usize = 65_535 + 14 + 8;

/// Octets of memory that a device gets to read one frame: the largest one, what may stand in front of it (64 octets), and one
/// octet by which a frame that is longer shows.
pub const FRAME_ROOM: usize = (64 + FRAME_MAX + 1).next_multiple_of(64);

/// Octets of body memory. Four of the largest frames: more would push other things out of the second-level cache.
const BODY_MEMORY: usize = 4 * FRAME_ROOM;

/// The memory that bursts of one worker use, one after the other.
pub struct BurstMemory {
    heads: Box<[HeadSlot]>,
    bodies: Box<[u8]>,
}

impl BurstMemory {
    /// Memory for one burst.
    pub fn new() -> BurstMemory {
        BurstMemory { heads: vec![HeadSlot::EMPTY; BURST_MAX].into(), bodies: vec![0; BODY_MEMORY].into() }
    }

    /// An empty burst over this memory.
    #[inline]
    pub fn burst(&mut self) -> Burst<'_> {
        Burst { heads: &mut self.heads, bodies: &mut self.bodies, frames: ArrayVec::new_const(), lost: ArrayVec::new_const() }
    }
}

impl Default for BurstMemory {
    fn default() -> BurstMemory {
        BurstMemory::new()
    }
}

/// What a device says of a frame it wrote into the memory of [`Burst::read_with`].
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// Octets of the frame; those beyond [`HEAD_MAX`] are in the body.
    pub len: usize,
    /// What is left to do, with offsets that count from the first octet.
    pub offload: Offload,
    /// The outermost tag where the device delivers it beside the octets.
    pub tag: Option<Tag>,
}

/// Frames that arrived together at one port.
pub struct Burst<'a> {
    heads: &'a mut [HeadSlot],
    bodies: &'a mut [u8],
    frames: ArrayVec<Frame<'a>, BURST_MAX>,
    lost: ArrayVec<(DropReason, u64), 4>,
}

impl<'a> Burst<'a> {
    /// Whether no further frame of the largest size fits.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.frames.is_full() || self.heads.is_empty() || self.bodies.len() < FRAME_ROOM
    }

    /// Lets `read` write one frame into the memory of the burst: the first [`HEAD_MAX`] octets into its first argument,
    /// the others into its second. `read` says `None` when there is no frame now. Returns whether a frame was added.
    ///
    /// # Errors
    ///
    /// Those of `read`; nothing is added then.
    ///
    /// # Panics
    ///
    /// If the burst [is full](Burst::is_full), or `read` claims more octets than it was given memory for.
    #[inline]
    pub fn read_with<E>(&mut self, read: impl FnOnce(&mut [u8], &mut [u8]) -> Result<Option<Received>, E>) -> Result<bool, E> {
        let slot = &mut self.heads[0].0[HEADROOM..];
        let Some(received) = read(slot, self.bodies)? else { return Ok(false) };
        let head_len = received.len.min(HEAD_MAX);
        let body_len = received.len - head_len;
        let (body, bodies) = core::mem::take(&mut self.bodies).split_at_mut(body_len.next_multiple_of(64).min(BODY_MEMORY));
        self.bodies = bodies;
        self.add(head_len, Body::from_slice(&body[..body_len]), received.offload, received.tag);
        Ok(true)
    }

    /// Lets `read` write one frame in one piece into the memory of the burst ([`FRAME_ROOM`] octets at least), and say at
    /// which octet of it the frame begins. Like [`Burst::read_with`], for devices to which two pieces of memory cost more
    /// than copying the head does; the memory of a frame that fits the head is used again for the next.
    ///
    /// # Errors
    ///
    /// Those of `read`; nothing is added then.
    ///
    /// # Panics
    ///
    /// If the burst [is full](Burst::is_full), or `read` claims more octets than it was given memory for.
    #[inline]
    pub fn read_whole<E>(&mut self, read: impl FnOnce(&mut [u8]) -> Result<Option<(usize, Received)>, E>) -> Result<bool, E> {
        let Some((start, received)) = read(self.bodies)? else { return Ok(false) };
        let head_len = received.len.min(HEAD_MAX);
        let (split, end) = (start + head_len, start + received.len);
        self.heads[0].0[HEADROOM..HEADROOM + head_len].copy_from_slice(&self.bodies[start..split]);
        let mut body = Body::EMPTY;
        if end > split {
            let used = end.next_multiple_of(64).min(self.bodies.len());
            let (memory, bodies) = core::mem::take(&mut self.bodies).split_at_mut(used);
            self.bodies = bodies;
            body = Body::from_slice(&memory[split..end]);
        }
        self.add(head_len, body, received.offload, received.tag);
        Ok(true)
    }

    /// Adds a frame that lies in memory of the device: copies the first [`HEAD_MAX`] octets and borrows the others.
    ///
    /// # Panics
    ///
    /// If the burst [is full](Burst::is_full).
    #[inline]
    pub fn push_borrowed(&mut self, octets: &'a [u8], offload: Offload, tag: Option<Tag>) {
        let head_len = octets.len().min(HEAD_MAX);
        let (head, body) = octets.split_at(head_len);
        self.heads[0].0[HEADROOM..HEADROOM + head_len].copy_from_slice(head);
        self.add(head_len, Body::from_slice(body), offload, tag);
    }

    /// Adds a frame whose head `fill` writes, for devices whose memory others may write. `fill` gets the memory of `before`
    /// octets in front of the frame, which are no part of it, and of the `head_len` octets of the head; it says what is
    /// left to do on the frame.
    ///
    /// # Panics
    ///
    /// If the burst [is full](Burst::is_full), `head_len` is above [`HEAD_MAX`] or `before` above [`HEADROOM`].
    #[inline]
    pub fn push_filled(&mut self, before: usize, head_len: usize, body: Body<'a>, fill: impl FnOnce(&mut [u8]) -> Offload) {
        let offload = fill(&mut self.heads[0].0[HEADROOM - before..HEADROOM + head_len]);
        self.add(head_len, body, offload, None);
    }

    /// Adds a frame made of `head` (copied) and `body` (borrowed), as segmentation does.
    ///
    /// # Panics
    ///
    /// If the burst [is full](Burst::is_full) or `head` is longer than [`HEAD_MAX`].
    #[inline]
    pub fn push_parts(&mut self, head: &[u8], body: Body<'a>, offload: Offload) -> &mut Frame<'a> {
        self.heads[0].0[HEADROOM..HEADROOM + head.len()].copy_from_slice(head);
        self.add(head.len(), body, offload, None)
    }

    #[inline]
    fn add(&mut self, head_len: usize, body: Body<'a>, offload: Offload, tag: Option<Tag>) -> &mut Frame<'a> {
        let (slot, heads) = core::mem::take(&mut self.heads).split_first_mut().expect("the caller checked that the burst is not full");
        self.heads = heads;
        self.frames.push(Frame::new(slot, head_len, body, offload, tag));
        let last = self.frames.len() - 1;
        &mut self.frames[last]
    }

    /// Says that the device lost `count` frames for `reason` before they could be added; the worker counts them.
    pub fn lost(&mut self, reason: DropReason, count: u64) {
        match self.lost.iter_mut().find(|(r, _)| *r == reason) {
            Some((_, n)) => *n += count,
            // Receive queues know at most four ways to lose a frame; a fifth would be a programming error.
            None => self.lost.push((reason, count)),
        }
    }

    /// Frames that were lost, by reason.
    pub fn losses(&self) -> &[(DropReason, u64)] {
        &self.lost
    }

    /// The frames in order of arrival.
    #[inline]
    pub fn frames(&self) -> &[Frame<'a>] {
        &self.frames
    }

    /// The frames for edits.
    #[inline]
    pub fn frames_mut(&mut self) -> &mut [Frame<'a>] {
        &mut self.frames
    }

    /// Frames in the burst.
    #[inline]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether nothing arrived.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_frame_is_split_and_a_short_one_is_not() {
        let mut memory = BurstMemory::new();
        let mut burst = memory.burst();
        for len in [1, HEAD_MAX - 1, HEAD_MAX, HEAD_MAX + 1, 1514] {
            let added = burst.read_with(|head, body| {
                head.fill(1);
                body[..len.saturating_sub(HEAD_MAX)].fill(2);
                Ok::<_, ()>(Some(Received { len, offload: Offload::NONE, tag: None }))
            });
            assert_eq!(added, Ok(true));
            let frame = burst.frames().last().unwrap();
            assert_eq!((frame.head().len(), frame.len()), (len.min(HEAD_MAX), len));
            assert!(frame.body().octets().all(|b| b == 2));
        }
    }

    #[test]
    fn it_is_full_by_count_and_by_memory() {
        let mut memory = BurstMemory::new();
        let mut burst = memory.burst();
        while !burst.is_full() {
            burst.push_borrowed(&[0; 60], Offload::NONE, None);
        }
        assert_eq!(burst.len(), BURST_MAX);
        drop(burst);
        let mut burst = memory.burst();
        while !burst.is_full() {
            burst.read_with(|_, _| Ok::<_, ()>(Some(Received { len: FRAME_MAX, offload: Offload::NONE, tag: None }))).unwrap();
        }
        assert_eq!(burst.len(), 4);
    }

    #[test]
    fn a_frame_read_in_one_piece_is_split_and_memory_of_short_ones_is_used_again() {
        let mut memory = BurstMemory::new();
        let mut burst = memory.burst();
        let mut addresses = Vec::new();
        let lengths = [0, 1, HEAD_MAX, HEAD_MAX + 1, 1514, FRAME_MAX];
        for (number, len) in lengths.into_iter().enumerate() {
            let added = burst.read_whole(|memory| {
                assert!(memory.len() >= FRAME_ROOM);
                addresses.push(memory.as_ptr() as usize);
                memory[..10].fill(0xee);
                memory[10..10 + len].fill(number as u8);
                Ok::<_, ()>(Some((10, Received { len, offload: Offload::NONE, tag: None })))
            });
            assert_eq!(added, Ok(true));
        }
        for ((number, len), frame) in lengths.into_iter().enumerate().zip(burst.frames()) {
            assert_eq!((frame.head().len(), frame.len()), (len.min(HEAD_MAX), len));
            let body = frame.body();
            assert!(frame.head().iter().copied().chain(body.octets()).all(|b| b == number as u8), "frame {number} was overwritten");
        }
        assert!(addresses[..4].iter().all(|a| *a == addresses[0]) && addresses[4] != addresses[0]);
        assert_eq!(burst.read_whole(|_| Ok::<_, ()>(None)), Ok(false));
        assert_eq!(burst.read_whole(|_| Err(7)), Err(7));
        assert_eq!(burst.len(), lengths.len());
    }

    #[test]
    fn nothing_is_added_when_the_device_has_nothing() {
        let mut memory = BurstMemory::new();
        let mut burst = memory.burst();
        assert_eq!(burst.read_with(|_, _| Ok::<_, ()>(None)), Ok(false));
        assert_eq!(burst.read_with(|_, _| Err(7)), Err(7));
        assert!(burst.is_empty() && !burst.is_full());
    }
}
