//! What the rules did with one packet, and whether they would do the same with each packet of its flow that is like it. The pipeline
//! then asks them once, and counts the packets that follow where this one was counted.

use arrayvec::ArrayVec;

use super::Evaluation;
use super::build::RuleSet;
use super::state::RuleState;

/// Rules and policies that count a packet: more, and the rules are asked for each.
const COUNTED_MAX: usize = 8;
/// In the number of a policy.
const POLICY: u32 = 1 << 31;

/// Where packets are counted: rules by their number, and policies by that of their chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Counted(ArrayVec<u32, COUNTED_MAX>);

impl Counted {
    /// Nowhere.
    pub(crate) const NONE: Counted = Counted(ArrayVec::new_const());

    /// Whether they are counted nowhere.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The rules that one packet met, from the first table on.
#[derive(Debug)]
pub struct Trace {
    counted: Counted,
    same: bool,
}

impl Default for Trace {
    fn default() -> Trace {
        Trace { counted: Counted::default(), same: true }
    }
}

impl Trace {
    #[inline]
    fn note(&mut self, what: u32) {
        self.same &= self.counted.0.try_push(what).is_ok();
    }

    /// Something was asked or done that may differ with the next packet.
    #[inline]
    pub(super) fn differs(&mut self) {
        self.same = false;
    }

    /// Where the packets are counted, if the rules do the same with all of them and nothing but counting.
    pub(crate) fn counted(&self) -> Option<&Counted> {
        self.same.then_some(&self.counted)
    }
}

impl Evaluation<'_, '_> {
    /// Counts the packet at a rule.
    #[inline]
    pub(super) fn count_rule(&mut self, number: u32, state: &RuleState) {
        self.trace.note(number);
        state.count(self.worker, self.packet.len);
    }

    /// Counts it at the policy of a chain.
    #[inline]
    pub(super) fn count_policy(&mut self, chain: usize, state: &RuleState) {
        self.trace.note(chain as u32 | POLICY);
        state.count(self.worker, self.packet.len);
    }
}

impl RuleSet {
    /// Counts one more packet of so many octets.
    #[inline]
    pub(crate) fn count(&self, counted: &Counted, worker: usize, octets: u32) {
        for what in &counted.0 {
            let state = match what & POLICY {
                0 => self.rules.get(*what as usize).map(|rule| &rule.state),
                _ => self.chains.get((what & !POLICY) as usize).and_then(|chain| chain.policy.as_ref()).map(|policy| &policy.state),
            };
            if let Some(state) = state {
                state.count(worker, octets);
            }
        }
    }
}
