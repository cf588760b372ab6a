//! What a worker keeps between packets: for flows it knows, the short list of rules that are left once everything is decided
//! that is the same for all packets of the flow.
//!
//! The list of a flow, direction, table, hook and pair of interfaces is made at the second packet that asks for it, so that
//! flows of one packet cost nothing. It is a program: rules with jumps resolved, each with the step that follows where the
//! rule matches and where it does not. A program that would be too long is not made; such flows are asked as if there were
//! no cache. A new rule set has a new generation, so what is left of the former is never found and gets replaced.

use super::log::LogLimit;
use crate::clock::Nanos;
use crate::conntrack::{ConnId, Direction};
use crate::router::InterfaceId;

/// Steps of a program at most.
pub(super) const STEPS_MAX: usize = 15;
/// Programs in one line of the table.
const WAYS: usize = 4;

/// A rule that is left, and what follows it: places in the program, of which the one behind its end is the policy.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    /// Its number in the rule set.
    pub(super) rule: u32,
    /// Next step if it matches and does not decide.
    pub(super) then: u8,
    /// Next step if it does not match.
    pub(super) otherwise: u8,
}

/// What a program is for. No program has a generation of 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tag {
    connection: u32,
    connection_generation: u32,
    /// Of the rule set.
    generation: u32,
    /// Place (table and hook), direction, and interfaces.
    place: [u8; 4],
}

impl Tag {
    pub(super) fn new(
        connection: ConnId,
        direction: Direction,
        generation: u32,
        place: u8,
        in_interface: Option<InterfaceId>,
        out_interface: Option<InterfaceId>,
    ) -> Tag {
        let interface = |id: Option<InterfaceId>| id.map_or(u8::MAX, |id| id.0);
        Tag {
            connection: connection.index,
            connection_generation: connection.generation,
            generation,
            place: [place, direction as u8, interface(in_interface), interface(out_interface)],
        }
    }

    /// Neighbouring slots and the two directions of a flow lie far apart.
    #[inline]
    fn hash(&self) -> usize {
        let low = u64::from(self.connection) << 32 | u64::from(u32::from_le_bytes(self.place));
        let high = u64::from(self.connection_generation) << 32 | u64::from(self.generation);
        let hash = (low ^ high.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (hash ^ hash >> 32) as usize
    }
}

#[derive(Clone, Copy)]
#[repr(align(128))]
struct Program {
    steps: [Step; STEPS_MAX],
    len: u8,
}

#[derive(Clone)]
#[repr(align(64))]
struct Line {
    tags: [Tag; WAYS],
    programs: [Program; WAYS],
}

/// What the cache knows of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There is a program in this slot.
    Program(Slot),
    /// The tag was seen before in this slot: a program is worth making.
    Again(Slot),
    /// Ask without a program.
    Nothing,
}

/// Where a program lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    line: u32,
    way: u8,
}

/// What one worker keeps between packets, for all rule sets. Not shared.
pub struct RuleCache {
    lines: Box<[Line]>,
    /// The next random number is made from it (xorshift, Marsaglia 2003).
    random: u64,
    /// Log records that may still be made.
    pub(super) log: LogLimit,
    /// Rules whose matches were asked.
    #[cfg(test)]
    pub(super) asked: u64,
}

impl RuleCache {
    /// The tag was seen once.
    const SEEN: u8 = u8::MAX;
    /// A program was not made, as it would be too long.
    const TOO_LONG: u8 = u8::MAX - 1;

    /// A cache for about this many pairs of flow, direction and hook; 144 octets each, all taken now. `seed` makes the random
    /// numbers of `statistic --mode random`.
    pub fn new(programs: usize, seed: u64) -> RuleCache {
        let line =
            Line { tags: [Tag::default(); WAYS], programs: [Program { steps: [Step::default(); STEPS_MAX], len: RuleCache::SEEN }; WAYS] };
        RuleCache {
            lines: vec![line; programs.div_ceil(WAYS).next_power_of_two()].into(),
            random: seed | 1,
            log: LogLimit::default(),
            #[cfg(test)]
            asked: 0,
        }
    }

    #[inline]
    pub(super) fn find(&mut self, tag: &Tag) -> Found {
        let line = tag.hash() & (self.lines.len() - 1);
        let entry = &self.lines[line];
        let Some(way) = entry.tags.iter().position(|t| t == tag) else {
            self.note(line, tag);
            return Found::Nothing;
        };
        let slot = Slot { line: line as u32, way: way as u8 };
        match entry.programs[way].len {
            RuleCache::SEEN => Found::Again(slot),
            RuleCache::TOO_LONG => Found::Nothing,
            _ => Found::Program(slot),
        }
    }

    /// Remembers that a tag was seen, in place of one that was seen just once, or of any.
    #[cold]
    fn note(&mut self, line: usize, tag: &Tag) {
        let any = self.random() as usize % WAYS;
        let entry = &mut self.lines[line];
        let way = entry.programs.iter().position(|program| program.len == RuleCache::SEEN).unwrap_or(any);
        entry.tags[way] = *tag;
        entry.programs[way].len = RuleCache::SEEN;
    }

    /// Puts a program, or that there is none, where a tag was seen.
    pub(super) fn fill(&mut self, slot: Slot, steps: Option<&[Step]>) {
        let program = &mut self.lines[slot.line as usize].programs[usize::from(slot.way)];
        match steps {
            Some(steps) => {
                program.steps[..steps.len()].copy_from_slice(steps);
                program.len = steps.len() as u8;
            }
            None => program.len = RuleCache::TOO_LONG,
        }
    }

    /// A step of a program; `None` behind its end.
    #[inline]
    pub(super) fn step(&self, slot: Slot, step: u8) -> Option<Step> {
        let program = &self.lines[slot.line as usize].programs[usize::from(slot.way)];
        (step < program.len).then(|| program.steps[usize::from(step)])
    }

    /// A random number, not for secrets.
    pub(super) fn random(&mut self) -> u64 {
        let mut x = self.random;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random = x;
        x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32
    }

    /// Whether a log record may be made now.
    pub(super) fn may_log(&mut self, now: Nanos) -> bool {
        self.log.take(now)
    }
}

impl core::fmt::Debug for RuleCache {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RuleCache").field("programs", &(self.lines.len() * WAYS)).finish_non_exhaustive()
    }
}
