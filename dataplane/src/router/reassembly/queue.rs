//! One packet that is being put together: which of its octets are there.

use arrayvec::ArrayVec;

use super::{CHUNK_LEN, PACKET_MAX, ReassemblyError};
use crate::clock::Nanos;
use crate::frame::HEAD_MAX;
use crate::snapshot::PortId;

/// Runs of octets with gaps between them at most. Fragments that come in order, or in the reverse, are one run.
const RUNS_MAX: usize = 64;

pub(super) struct Queue {
    /// Where the first of its fragments came in.
    pub(super) port: PortId,
    pub(super) deadline: Nanos,
    /// Octets that are there, from and to, in order and with gaps between them.
    runs: ArrayVec<(u16, u16), RUNS_MAX>,
    /// Octets behind the headers, as far as is known.
    pub(super) end: u16,
    /// The last fragment came, so `end` is certain.
    last_in: bool,
    /// Where its octets are; [`Queue::NO_CHUNK`] where none are.
    pub(super) chunks: [u16; PACKET_MAX.div_ceil(CHUNK_LEN)],
    /// Ethernet header and IP headers of the first fragment.
    pub(super) header: ArrayVec<u8, HEAD_MAX>,
    /// Octets of the first fragment behind its headers; 0 until it came.
    pub(super) first_len: u16,
    pub(super) fragments: u32,
    /// Bit n: a fragment had congestion mark n.
    pub(super) ecn: u8,
    /// Octets of the longest fragment, from the IP header on.
    pub(super) max_size: u32,
    /// Of those that say "do not fragment".
    pub(super) max_df_size: u32,
}

impl Queue {
    pub(super) const NO_CHUNK: u16 = u16::MAX;

    pub(super) fn new(port: PortId, deadline: Nanos) -> Queue {
        Queue {
            port,
            deadline,
            runs: ArrayVec::new(),
            end: 0,
            last_in: false,
            chunks: [Queue::NO_CHUNK; PACKET_MAX.div_ceil(CHUNK_LEN)],
            header: ArrayVec::new(),
            first_len: 0,
            fragments: 0,
            ecn: 0,
            max_size: 0,
            max_df_size: 0,
        }
    }

    /// Whether `start..end` may be entered. The rules are those of `ip_frag_queue` and `inet_frag_queue_insert`: what lies within
    /// one run is a duplicate, what overlaps otherwise damns the packet. A duplicate still says where the packet ends.
    pub(super) fn check(&mut self, start: u16, end: u16, more: bool) -> Result<(), ReassemblyError> {
        let contradicts = if more { self.last_in && end > self.end } else { end < self.end || (self.last_in && end != self.end) };
        if contradicts {
            return Err(ReassemblyError::Overlap);
        }
        match self.runs.iter().find(|(from, to)| start < *to && *from < end) {
            Some((from, to)) if *from <= start && end <= *to => {
                self.last_in |= !more;
                Err(ReassemblyError::Duplicate)
            }
            Some(_) => Err(ReassemblyError::Overlap),
            None => Ok(()),
        }
    }

    /// Enters `start..end`, which was checked.
    pub(super) fn enter(&mut self, start: u16, end: u16, more: bool) -> Result<(), ReassemblyError> {
        let at = self.runs.partition_point(|(from, _)| *from < start);
        let joins_before = at > 0 && self.runs[at - 1].1 == start;
        let joins_behind = self.runs.get(at).is_some_and(|(from, _)| *from == end);
        match (joins_before, joins_behind) {
            (true, true) => {
                self.runs[at - 1].1 = self.runs[at].1;
                self.runs.remove(at);
            }
            (true, false) => self.runs[at - 1].1 = end,
            (false, true) => self.runs[at].0 = start,
            (false, false) => self.runs.try_insert(at, (start, end)).map_err(|_| ReassemblyError::TooManyGaps)?,
        }
        self.end = self.end.max(end);
        self.last_in |= !more;
        Ok(())
    }

    pub(super) fn is_complete(&self) -> bool {
        self.last_in && self.runs.len() == 1 && self.runs[0] == (0, self.end)
    }

    /// The congestion mark to add to that of the first fragment (RFC 3168 section 5.3; `ip_frag_ecn_table`,
    /// `net/ipv4/inet_fragment.c`); `None` when they contradict each other: some cannot react to congestion, others can.
    pub(super) fn ecn_of_all(&self) -> Option<u8> {
        const NOT_ECT: u8 = 1;
        const CE: u8 = 1 << 3;
        match self.ecn {
            all_alike if all_alike.is_power_of_two() => Some(0),
            mixed if mixed & NOT_ECT != 0 => None,
            mixed if mixed & CE != 0 => Some(3),
            _ => Some(0),
        }
    }
}
