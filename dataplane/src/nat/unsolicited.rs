//! SYNs from outside that nobody asked for, which wait for their answer (RFC 5382 REQ-4): the other side may be opening the same
//! connection, and an answer would end its attempt.
//!
//! A worker owns one [`UnsolicitedSyns`]. All its memory is there from the start: [`HELD_MAX`] answers, which are written when the
//! SYN comes. Those that find no room get no answer.

use core::fmt;

use crate::clock::Nanos;
use crate::conntrack::Tracking;
use crate::router::icmp::ERROR_MAX;
use crate::router::{Family, InterfaceId, RouterId};
use crate::snapshot::PortId;

/// SYNs that wait at most.
pub const HELD_MAX: usize = 256;

/// A SYN that waits for its answer.
#[derive(Clone, Debug)]
pub struct UnsolicitedSyn {
    /// The router it came to.
    pub router: RouterId,
    /// Version of IP.
    pub family: Family,
    /// The interface it came in by.
    pub interface: InterfaceId,
    /// The port where it was counted.
    pub at: PortId,
    /// The flow it would have begun.
    pub tracking: Tracking,
    /// When it is to be answered.
    pub due: Nanos,
}

struct Held {
    syn: UnsolicitedSyn,
    /// Place of its answer in the memory.
    slot: u16,
    len: u16,
}

/// SYNs that wait. Belongs to one worker.
pub struct UnsolicitedSyns {
    held: Vec<Held>,
    free: Vec<u16>,
    memory: Vec<[u8; ERROR_MAX]>,
    /// Nothing is due before.
    next_due: Nanos,
}

impl fmt::Debug for UnsolicitedSyns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnsolicitedSyns").field("held", &self.held.len()).field("next_due", &self.next_due).finish_non_exhaustive()
    }
}

impl UnsolicitedSyns {
    /// Room for `max` SYNs.
    pub fn new(max: usize) -> UnsolicitedSyns {
        UnsolicitedSyns {
            held: Vec::with_capacity(max),
            free: (0..max as u16).rev().collect(),
            memory: vec![[0; ERROR_MAX]; max],
            next_due: Nanos::MAX,
        }
    }

    /// Whether none waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether there is room for this SYN: not for one that waits already and is sent again.
    pub fn has_room(&self, tracking: &Tracking) -> bool {
        !self.free.is_empty() && self.held.iter().all(|held| held.syn.tracking.original != tracking.original)
    }

    /// Lets a SYN wait whose answer `write` writes; it returns the octets of that.
    pub fn hold(&mut self, syn: UnsolicitedSyn, write: impl FnOnce(&mut [u8; ERROR_MAX]) -> usize) {
        let Some(slot) = self.free.pop() else { return };
        let len = write(&mut self.memory[usize::from(slot)]) as u16;
        self.next_due = self.next_due.min(syn.due);
        self.held.push(Held { syn, slot, len });
    }

    /// A SYN whose time has come, with its answer. To be called until there is none.
    pub fn take_due(&mut self, now: Nanos) -> Option<(UnsolicitedSyn, &[u8])> {
        if now < self.next_due {
            return None;
        }
        let Some(due) = self.held.iter().position(|held| held.syn.due <= now) else {
            self.next_due = self.held.iter().map(|held| held.syn.due).min().unwrap_or(Nanos::MAX);
            return None;
        };
        let Held { syn, slot, len } = self.held.swap_remove(due);
        self.free.push(slot);
        Some((syn, &self.memory[usize::from(slot)][..usize::from(len)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conntrack::{CtState, Tuple};
    use crate::router::Address;

    const SECOND: Nanos = 1_000_000_000;

    fn syn(port: u16, due: Nanos) -> UnsolicitedSyn {
        let mut tracking = Tracking::none(CtState::New);
        tracking.original = Tuple { source_port: port, source: Address(1), ..tracking.original };
        UnsolicitedSyn { router: RouterId(0), family: Family::V4, interface: InterfaceId(1), at: PortId(2), tracking, due }
    }

    fn hold(syns: &mut UnsolicitedSyns, port: u16, due: Nanos) {
        syns.hold(syn(port, due), |into| {
            into[..2].copy_from_slice(&port.to_be_bytes());
            2
        });
    }

    /// Each comes once, not before its time, with its own answer, whatever order they came in.
    #[test]
    fn each_comes_at_its_time() {
        let mut syns = UnsolicitedSyns::new(8);
        for (port, due) in [(1, 9), (2, 6), (3, 7)] {
            hold(&mut syns, port, due * SECOND);
        }
        assert!(syns.take_due(6 * SECOND - 1).is_none());
        for (now, port) in [(6, 2u16), (8, 3), (9, 1)] {
            let (syn, answer) = syns.take_due(now * SECOND).unwrap();
            assert_eq!((syn.tracking.original.source_port, answer), (port, &port.to_be_bytes()[..]));
            assert!(syns.take_due(now * SECOND).is_none());
        }
        assert!(syns.is_empty());
    }

    /// However many come, they take no more memory, and the room is there again afterwards.
    #[test]
    fn a_flood_is_bounded() {
        let mut syns = UnsolicitedSyns::new(HELD_MAX);
        for round in 1..4 {
            for port in 0..10_000 {
                if syns.has_room(&syn(port, 0).tracking) {
                    hold(&mut syns, port, round * SECOND);
                }
                assert!(!syns.has_room(&syn(port, 0).tracking), "sent again, or full");
            }
            let due = std::iter::from_fn(|| syns.take_due(round * SECOND).map(|(syn, _)| syn.tracking.original.source_port));
            let mut due: Vec<u16> = due.collect();
            due.sort_unstable();
            assert_eq!(due, (0..HELD_MAX as u16).collect::<Vec<_>>());
        }
    }
}
