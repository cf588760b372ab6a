//! Frames that wait for the MAC address of their next hop: one of the two places where a frame is copied to outlive its
//! burst.
//!
//! A worker owns one [`Waiting`]. All its memory is there from the start: [`SMALL`] buffers of 2 KiB and [`LARGE`] of 64 KiB,
//! 4 MiB in all, which the system provides as they are first touched. A neighbour may hold [`UNRES_QLEN_BYTES`] of it, the
//! oldest frame goes first, as in Linux. When control answers (it publishes a table and wakes the worker), the worker calls
//! [`Waiting::settle`] and then takes what can leave, burst by burst.

use core::num::NonZeroU16;

use arrayvec::ArrayVec;
use wire::Offload;

use super::InterfaceId;
use super::neighbour::{NextHop, Resolved};
use crate::burst::{BURST_MAX, Burst, FRAME_MAX};
use crate::clock::Nanos;
use crate::frame::Frame;

/// Buffers for frames of up to 2 KiB.
pub const SMALL: usize = 1024;
/// Buffers for longer ones (GSO).
pub const LARGE: usize = 32;
/// Octets of buffers that one neighbour may hold (Linux `unres_qlen_bytes`).
pub const UNRES_QLEN_BYTES: usize = 212_992;
/// Neighbours that frames wait for at most.
pub const NEIGHBOURS_MAX: usize = 1024;
/// How long control is trusted to answer: longer than its three probes of a second each take.
pub const TIMEOUT: Nanos = 5_000_000_000;
/// Control is told again of a neighbour that is still needed after this time.
const ASK_INTERVAL: Nanos = 1_000_000_000;

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
    todo: (),
}

impl Waiting {
    /// None yet.
    pub fn new() -> Waiting {
        unimplemented!()
    }

    /// Whether no frame waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        unimplemented!()
    }

    /// Copies a frame, which lacks nothing but the destination MAC address. `from` is the interface the packet came in by.
    pub fn hold(&mut self, hop: NextHop, from: Option<InterfaceId>, frame: &Frame<'_>, now: Nanos) -> Hold {
        unimplemented!()
    }

    /// Looks at every neighbour that frames wait for; those of one that is resolved, failed or did not answer in [`TIMEOUT`]
    /// can be taken then.
    pub fn settle(&mut self, now: Nanos, look: impl FnMut(&NextHop) -> Resolved) {
        unimplemented!()
    }

    /// Puts frames that can leave into a burst until it is full. Call [`Waiting::release`] after each burst; take again until
    /// the burst stays empty.
    pub fn take<'a>(&'a mut self, burst: &mut Burst<'a>, ready: &mut ArrayVec<Ready, BURST_MAX>) {
        unimplemented!()
    }

    /// Ends the burst: the memory of its frames is free again.
    pub fn release(&mut self) {
        unimplemented!()
    }
}
