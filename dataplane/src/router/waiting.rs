//! Frames that wait for the MAC address of their next hop: one of the two places where a frame is copied to outlive its
//! burst.
//!
//! A worker owns one [`Waiting`]. All its memory is there from the start: [`SMALL`] buffers of 2 KiB and [`LARGE`] of 64 KiB,
//! 4 MiB in all, which the system provides as they are first touched. A neighbour may hold [`Limits::octets`] of it, the
//! oldest frame goes first, as in Linux. When control answers (it publishes a table and wakes the worker), the worker calls
//! [`Waiting::settle`] and then takes what can leave, burst by burst.

use std::collections::{HashMap, VecDeque};

use arrayvec::ArrayVec;
use wire::Offload;

use super::address::{Address, Family};
use super::neighbour::{NextHop, Resolved};
use super::{InterfaceId, RouterId};
use crate::burst::{BURST_MAX, Burst, FRAME_ROOM, Received};
use crate::clock::Nanos;
use crate::frame::{Frame, HEAD_MAX};

/// Buffers for frames of up to 2 KiB.
pub const SMALL: usize = 1024;
/// Buffers for longer ones (GSO).
pub const LARGE: usize = 32;
/// Octets of all buffers.
pub const MEMORY: usize = SMALL * SMALL_ROOM + LARGE * FRAME_ROOM;
/// Octets of buffers that one neighbour may hold unless told otherwise (Linux `unres_qlen_bytes`).
pub const UNRES_QLEN_BYTES: usize = 212_992;
/// Neighbours that frames wait for at most.
pub const NEIGHBOURS_MAX: usize = 1024;
/// How long control is trusted to answer unless told otherwise: longer than its three probes of a second each take.
pub const TIMEOUT: Nanos = 5_000_000_000;
/// Control is told again of a neighbour that is still needed after this time.
const ASK_INTERVAL: Nanos = 1_000_000_000;
/// Control is told of neighbours beyond [`NEIGHBOURS_MAX`] once in this time.
const ASK_INTERVAL_FULL: Nanos = 1_000_000;
/// Octets of a small buffer.
const SMALL_ROOM: usize = 2048;
/// No buffer.
const NONE: u16 = u16::MAX;

const _: () = assert!(SMALL + LARGE < NONE as usize);

/// How frames wait for a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of buffers that it may hold. One frame waits in any case, as in Linux (`__neigh_event_send`).
    pub octets: u32,
    /// How long control is trusted to answer.
    pub timeout: Nanos,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { octets: UNRES_QLEN_BYTES as u32, timeout: TIMEOUT }
    }
}

/// What became of a frame that was to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Control must be told that the neighbour is needed.
    pub ask: bool,
    /// Frames that are lost: older ones of the same neighbour, or this one for which there is no memory.
    pub discarded: u32,
}

/// A frame that waited, now in a burst under the same index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The neighbour.
    pub hop: NextHop,
    /// Its MAC address, or [`Resolved::Failed`]: the sender should get ICMP host unreachable. Never [`Resolved::Unknown`].
    pub resolved: Resolved,
    /// The interface the packet came in by; `None` for one of the router's own.
    pub from: Option<InterfaceId>,
}

/// Frames that wait. Belongs to one worker.
pub struct Waiting {
    neighbours: HashMap<NextHop, Queue>,
    /// Memory of the small buffers, then of the large ones.
    memory: Box<[u8]>,
    /// By buffer.
    held: Box<[Held]>,
    free_small: Vec<u16>,
    free_large: Vec<u16>,
    /// Buffers whose frames can be taken.
    ready: VecDeque<u16>,
    asked_full: Option<Nanos>,
}

/// What waits for one neighbour.
struct Queue {
    /// When control is no longer trusted to answer.
    until: Nanos,
    asked: Nanos,
    first: u16,
    last: u16,
    /// Octets of its buffers.
    octets: u32,
}

/// The frame in a buffer.
#[derive(Clone)]
struct Held {
    next: u16,
    len: u32,
    offload: Offload,
    ready: Ready,
}

/// The place of a buffer in the memory.
fn room(buffer: u16) -> core::ops::Range<usize> {
    let buffer = usize::from(buffer);
    if buffer < SMALL {
        return buffer * SMALL_ROOM..(buffer + 1) * SMALL_ROOM;
    }
    let start = SMALL * SMALL_ROOM + (buffer - SMALL) * FRAME_ROOM;
    start..start + FRAME_ROOM
}

impl Waiting {
    /// None yet.
    pub fn new() -> Waiting {
        let nobody = NextHop { router: RouterId(0), interface: InterfaceId(0), family: Family::V4, address: Address::UNSPECIFIED };
        let ready = Ready { hop: nobody, resolved: Resolved::Failed, from: None };
        Waiting {
            // Twice the entries: a table that is never more than half full makes room for others without growing.
            neighbours: HashMap::with_capacity(2 * NEIGHBOURS_MAX),
            memory: vec![0; MEMORY].into(),
            held: vec![Held { next: NONE, len: 0, offload: Offload::NONE, ready }; SMALL + LARGE].into(),
            free_small: (0..SMALL as u16).rev().collect(),
            free_large: (SMALL as u16..(SMALL + LARGE) as u16).rev().collect(),
            ready: VecDeque::with_capacity(SMALL + LARGE),
            asked_full: None,
        }
    }

    /// Whether no frame waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.neighbours.is_empty() && self.ready.is_empty()
    }

    /// Copies a frame, which lacks nothing but the destination MAC address. `from` is the interface the packet came in by.
    pub fn hold(&mut self, hop: NextHop, from: Option<InterfaceId>, frame: &Frame<'_>, limits: Limits, now: Nanos) -> Hold {
        let is_full = self.neighbours.len() == NEIGHBOURS_MAX;
        let ask = match self.neighbours.get_mut(&hop) {
            Some(queue) => {
                let ask = now.saturating_sub(queue.asked) >= ASK_INTERVAL;
                if ask {
                    queue.asked = now;
                }
                ask
            }
            None if is_full => {
                let ask = self.asked_full.is_none_or(|asked| now.saturating_sub(asked) >= ASK_INTERVAL_FULL);
                if ask {
                    self.asked_full = Some(now);
                }
                return Hold { ask, discarded: 1 };
            }
            None => {
                self.neighbours
                    .insert(hop, Queue { until: now.saturating_add(limits.timeout), asked: now, first: NONE, last: NONE, octets: 0 });
                true
            }
        };
        let Some(queue) = self.neighbours.get_mut(&hop) else { return Hold { ask, discarded: 1 } };
        let is_small = frame.len() <= SMALL_ROOM;
        let size = if is_small { SMALL_ROOM } else { FRAME_ROOM } as u32;
        let mut discarded = 0;
        while queue.octets + size > limits.octets && queue.octets > 0 {
            let oldest = queue.first;
            queue.first = self.held[usize::from(oldest)].next;
            queue.octets -= room(oldest).len() as u32;
            if usize::from(oldest) < SMALL { &mut self.free_small } else { &mut self.free_large }.push(oldest);
            discarded += 1;
        }
        let Some(buffer) = if is_small { &mut self.free_small } else { &mut self.free_large }.pop() else {
            return Hold { ask, discarded: discarded + 1 };
        };
        match queue.first {
            NONE => queue.first = buffer,
            _ => self.held[usize::from(queue.last)].next = buffer,
        }
        queue.last = buffer;
        queue.octets += size;
        let ready = Ready { hop, resolved: Resolved::Failed, from };
        self.held[usize::from(buffer)] = Held { next: NONE, len: frame.len() as u32, offload: frame.offload(), ready };
        let (head, body) = self.memory[room(buffer)][..frame.len()].split_at_mut(frame.head().len());
        head.copy_from_slice(frame.head());
        frame.body().copy_to(body);
        Hold { ask, discarded }
    }

    /// Looks at every neighbour that frames wait for; those of one that is resolved, failed or did not answer in
    /// [`Limits::timeout`] can be taken then.
    pub fn settle(&mut self, now: Nanos, mut look: impl FnMut(&NextHop) -> Resolved) {
        let (held, ready) = (&mut self.held, &mut self.ready);
        self.neighbours.retain(|hop, queue| {
            let resolved = match look(hop) {
                Resolved::Unknown if now < queue.until => return true,
                Resolved::Unknown => Resolved::Failed,
                resolved => resolved,
            };
            let mut buffer = queue.first;
            while buffer != NONE {
                let frame = &mut held[usize::from(buffer)];
                frame.ready.resolved = resolved;
                ready.push_back(buffer);
                buffer = frame.next;
            }
            false
        });
    }

    /// Puts frames that can leave into a burst until it is full, and says of each what became of its neighbour. Take again
    /// until the burst stays empty.
    pub fn take(&mut self, burst: &mut Burst<'_>, ready: &mut ArrayVec<Ready, BURST_MAX>) {
        while !burst.is_full()
            && !ready.is_full()
            && let Some(buffer) = self.ready.pop_front()
        {
            let held = &self.held[usize::from(buffer)];
            let octets = &self.memory[room(buffer)][..held.len as usize];
            let copied = burst.read_with(|head, body| {
                let (first, rest) = octets.split_at(octets.len().min(HEAD_MAX));
                head[..first.len()].copy_from_slice(first);
                body[..rest.len()].copy_from_slice(rest);
                Ok::<_, core::convert::Infallible>(Some(Received { len: octets.len(), offload: held.offload, tag: None }))
            });
            if let Ok(true) = copied {
                ready.push(held.ready);
            }
            if usize::from(buffer) < SMALL { &mut self.free_small } else { &mut self.free_large }.push(buffer);
        }
    }
}

impl Default for Waiting {
    fn default() -> Waiting {
        Waiting::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::burst::BurstMemory;
    use wire::MacAddr;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
    const SECOND: Nanos = 1_000_000_000;

    fn hop(address: u128) -> NextHop {
        NextHop { router: RouterId(0), interface: InterfaceId(1), family: Family::V4, address: Address(address) }
    }

    fn hold(waiting: &mut Waiting, hop: NextHop, octets: &[u8], now: Nanos) -> Hold {
        let mut memory = BurstMemory::new();
        let mut burst = memory.burst();
        let offload = Offload { gso_size: octets.len() as u16, ..Offload::NONE };
        burst.push_borrowed(octets, offload, None);
        waiting.hold(hop, Some(InterfaceId(0)), &burst.frames()[0], Limits::default(), now)
    }

    /// Everything that can leave, in order.
    fn take(waiting: &mut Waiting) -> Vec<(Vec<u8>, Ready)> {
        let (mut memory, mut all) = (BurstMemory::new(), Vec::new());
        loop {
            let (mut burst, mut ready) = (memory.burst(), ArrayVec::new());
            waiting.take(&mut burst, &mut ready);
            if burst.is_empty() {
                return all;
            }
            assert_eq!(burst.len(), ready.len());
            for (frame, ready) in burst.frames().iter().zip(ready) {
                let octets: Vec<u8> = frame.head().iter().copied().chain(frame.body().octets()).collect();
                assert_eq!(usize::from(frame.offload().gso_size), octets.len(), "the offload waits too");
                all.push((octets, ready));
            }
        }
    }

    #[test]
    fn frames_leave_in_order_when_the_neighbour_answers() {
        let mut waiting = Waiting::new();
        let frames: Vec<Vec<u8>> = (0..40u8).map(|i| vec![i; 14 + usize::from(i) * 50]).collect();
        for (i, octets) in frames.iter().enumerate() {
            let held = hold(&mut waiting, hop(1 + (i as u128 & 1)), octets, 0);
            assert_eq!(held, Hold { ask: i < 2, discarded: 0 });
        }
        waiting.settle(1, |_| Resolved::Unknown);
        assert!(take(&mut waiting).is_empty() && !waiting.is_empty());
        waiting.settle(2, |hop| if hop.address == Address(1) { Resolved::Mac(MAC) } else { Resolved::Unknown });
        let out = take(&mut waiting);
        let expected: Vec<Vec<u8>> = frames.iter().step_by(2).cloned().collect();
        assert_eq!(out.iter().map(|(octets, _)| octets.clone()).collect::<Vec<_>>(), expected);
        assert!(out.iter().all(|(_, ready)| *ready == Ready { hop: hop(1), resolved: Resolved::Mac(MAC), from: Some(InterfaceId(0)) }));
        waiting.settle(3, |_| Resolved::Failed);
        let out = take(&mut waiting);
        assert!(out.len() == 20 && out.iter().all(|(_, ready)| ready.resolved == Resolved::Failed && ready.hop == hop(2)));
        assert!(waiting.is_empty());
    }

    #[test]
    fn control_is_asked_once_a_second_and_trusted_for_five() {
        let mut waiting = Waiting::new();
        let asks: Vec<bool> = (0..25).map(|i| hold(&mut waiting, hop(1), &[0; 60], i * SECOND / 10).ask).collect();
        assert_eq!(asks.iter().enumerate().filter(|(_, ask)| **ask).map(|(i, _)| i).collect::<Vec<_>>(), [0, 10, 20]);
        waiting.settle(TIMEOUT - 1, |_| Resolved::Unknown);
        assert!(take(&mut waiting).is_empty());
        waiting.settle(TIMEOUT, |_| Resolved::Unknown);
        assert_eq!(take(&mut waiting).len(), 25);
        assert!(hold(&mut waiting, hop(1), &[0; 60], TIMEOUT).ask, "a new neighbour");
    }

    #[test]
    fn a_neighbour_loses_its_oldest_frames() {
        let mut waiting = Waiting::new();
        let most = UNRES_QLEN_BYTES / SMALL_ROOM;
        let discarded: u32 = (0..most + 10).map(|i| hold(&mut waiting, hop(1), &[i as u8; 60], 0).discarded).sum();
        assert_eq!(discarded, 10);
        let large = hold(&mut waiting, hop(1), &[0xff; 60_000], 0);
        assert_eq!(large.discarded as usize, FRAME_ROOM.div_ceil(SMALL_ROOM));
        waiting.settle(0, |_| Resolved::Mac(MAC));
        let out = take(&mut waiting);
        assert_eq!(out.len(), most - large.discarded as usize + 1);
        assert_eq!((out[0].0[0], out.last().unwrap().0.len()), (10 + large.discarded as u8, 60_000));
    }

    #[test]
    fn limits_are_those_of_the_interface() {
        let mut waiting = Waiting::new();
        let mut memory = BurstMemory::new();
        let mut burst = memory.burst();
        burst.push_borrowed(&[0; 60], Offload { gso_size: 60, ..Offload::NONE }, None);
        let limits = |octets, timeout| Limits { octets, timeout };
        for (host, octets, kept) in [(1, 3 * SMALL_ROOM as u32, 3), (2, 0, 1), (3, MEMORY as u32, 10)] {
            let discarded: u32 =
                (0..10).map(|_| waiting.hold(hop(host), None, &burst.frames()[0], limits(octets, 2 * TIMEOUT), 0).discarded).sum();
            assert_eq!(10 - discarded, kept, "{octets}");
        }
        waiting.settle(2 * TIMEOUT - 1, |_| Resolved::Unknown);
        assert!(take(&mut waiting).is_empty());
        waiting.settle(2 * TIMEOUT, |_| Resolved::Unknown);
        assert_eq!(take(&mut waiting).len(), 14);
        // A single frame that is longer than the limit still waits.
        assert_eq!(waiting.hold(hop(4), None, &burst.frames()[0], limits(1, 1), u64::MAX), Hold { ask: true, discarded: 0 });
    }

    #[test]
    fn memory_and_table_are_bounded_and_come_back() {
        let mut waiting = Waiting::new();
        // Eight neighbours hold long frames, which pushed their short ones out; the others have one short one each.
        let kept = NEIGHBOURS_MAX - 8 + 8 * (UNRES_QLEN_BYTES / FRAME_ROOM);
        for round in 0..3 {
            let now = round * 10 * SECOND;
            let mut lost = 0;
            for i in 0..3000u128 {
                lost += hold(&mut waiting, hop(i), &[1; 60], now).discarded;
                lost += hold(&mut waiting, hop(i % 8), &[1; 3000], now).discarded;
            }
            assert_eq!(lost as usize, 6000 - kept, "round {round}");
            assert_eq!(waiting.neighbours.len(), NEIGHBOURS_MAX);
            assert!(
                !hold(&mut waiting, hop(9999), &[1; 60], now).ask && hold(&mut waiting, hop(9999), &[1; 60], now + ASK_INTERVAL_FULL).ask
            );
            waiting.settle(now + TIMEOUT, |_| Resolved::Unknown);
            assert_eq!(take(&mut waiting).len(), kept);
            assert!(waiting.is_empty());
            assert_eq!((waiting.free_small.len(), waiting.free_large.len()), (SMALL, LARGE));
        }
    }
}
