//! What few flows have beside their entry: the memory of the FTP helper and of the SYN proxy, and what is done with their packets.
//!
//! The memory lies beside the table under the same numbers, in chunks that are allocated when the first flow needs one. A slot
//! that another flow had is known by its generation. Each slot has its own lock, which only the two directions of a flow
//! contend for. Any thread may use any method.

use std::sync::{Mutex, OnceLock, PoisonError};

use super::helper::{self, HelperError};
use super::seqadj::{self, CutHeader};
use super::{At, ConnId, Conntrack, Direction, FlowRef, SequenceAdjustment, Status, Tracking};
use crate::frame::Frame;
use crate::router::packet::Packet;
use crate::synproxy::{self, Established, Refused, SynProxy};

/// Slots of one chunk.
const CHUNK: usize = 1024;

#[derive(Clone, Copy, Debug, Default)]
struct Extension {
    generation: Option<u32>,
    lines: helper::ftp::Lines,
    syn_proxy: synproxy::State,
}

type Chunk = Box<[Mutex<Extension>]>;

/// The extensions of the flows of a table.
pub(super) struct Extensions {
    chunks: Box<[OnceLock<Chunk>]>,
}

impl Extensions {
    /// For flows with numbers below `max`.
    pub(super) fn new(max: usize) -> Extensions {
        Extensions { chunks: (0..max.div_ceil(CHUNK)).map(|_| OnceLock::new()).collect() }
    }

    /// Runs `f` on the extension of a flow. `None` if there is no such number.
    fn with<R>(&self, flow: ConnId, f: impl FnOnce(&mut Extension) -> R) -> Option<R> {
        let index = flow.index as usize;
        let chunk = self.chunks.get(index / CHUNK)?.get_or_init(|| (0..CHUNK).map(|_| Mutex::default()).collect());
        let mut extension = chunk[index % CHUNK].lock().unwrap_or_else(PoisonError::into_inner);
        if extension.generation != Some(flow.generation) {
            *extension = Extension { generation: Some(flow.generation), ..Extension::default() };
        }
        Some(f(&mut extension))
    }
}

/// Why a packet of a flow with an extension is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtendError {
    /// By its helper.
    Helper(HelperError),
    /// By the SYN proxy.
    SynProxy(Refused),
    /// Its sequence numbers cannot be adjusted: the TCP header does not lie in the head of the frame.
    CutHeader,
}

impl From<HelperError> for ExtendError {
    fn from(error: HelperError) -> ExtendError {
        ExtendError::Helper(error)
    }
}

impl From<Refused> for ExtendError {
    fn from(error: Refused) -> ExtendError {
        ExtendError::SynProxy(error)
    }
}

impl From<CutHeader> for ExtendError {
    fn from(CutHeader: CutHeader) -> ExtendError {
        ExtendError::CutHeader
    }
}

impl Conntrack {
    /// What is left to do on a packet that is confirmed and translated, before it leaves: SYN proxy, helper, sequence
    /// adjustment. Nothing for most flows.
    ///
    /// # Errors
    ///
    /// [`ExtendError`]; the packet is to be dropped.
    #[inline]
    pub fn extend(
        &self,
        syn_proxy: &SynProxy,
        at: &At<'_>,
        frame: &mut Frame<'_>,
        packet: &mut Packet,
        tracking: &mut Tracking,
    ) -> Result<Established, ExtendError> {
        const ANY: Status = Status(Status::SEQ_ADJUST.0 | Status::SYN_PROXY.0);
        if !tracking.status.intersects(ANY) && tracking.helper.is_none() {
            return Ok(Established::Pass);
        }
        self.extend_slow(syn_proxy, at, frame, packet, tracking)
    }

    #[inline(never)]
    fn extend_slow(
        &self,
        syn_proxy: &SynProxy,
        at: &At<'_>,
        frame: &mut Frame<'_>,
        packet: &mut Packet,
        tracking: &mut Tracking,
    ) -> Result<Established, ExtendError> {
        // An ICMP error about a flow is not of the flow.
        let FlowRef::Known(flow) = tracking.flow else { return Ok(Established::Pass) };
        if packet.is_icmp_error() {
            return Ok(Established::Pass);
        }
        let direction = tracking.direction;
        if tracking.status.intersects(Status::SYN_PROXY) {
            let old = self.sequence_adjustments(tracking).unwrap_or_default()[Direction::Reply.index()];
            let mut new = old;
            let done = self
                .extensions
                .with(flow, |extension| syn_proxy.established(&mut extension.syn_proxy, &mut new, frame, packet, direction, at.now));
            if new != old {
                self.adjust_sequence(tracking, |adjust| adjust[Direction::Reply.index()] = new);
            }
            match done {
                Some(Ok(Established::Pass)) | None => {}
                Some(done) => return Ok(done?),
            }
        }
        if let Some(kind) = tracking.helper {
            let resized = self.extensions.with(flow, |extension| {
                helper::help(kind, &mut extension.lines, frame, packet, tracking, |expectation| self.expect(at, tracking, expectation))
            });
            if let Some(resized) = resized.transpose()?.flatten() {
                self.adjust_sequence(tracking, |adjust: &mut [SequenceAdjustment; 2]| {
                    adjust[direction.index()].record(resized.sequence, resized.change);
                });
            }
        }
        if tracking.status.intersects(Status::SEQ_ADJUST)
            && let Some(adjust) = self.sequence_adjustments(tracking)
        {
            seqadj::adjust(frame, packet, direction, &adjust)?;
        }
        Ok(Established::Pass)
    }
}
