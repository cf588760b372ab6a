//! The walk of a packet through chains: rule after rule, or by the program that its flow has in the worker's cache.

use arrayvec::ArrayVec;

use super::build::{Compiled, RuleSet};
use super::cache::{Found, STEPS_MAX, Slot, Step, Tag};
use super::holds::{all_hold, ct_state_holds};
use super::index::{Candidates, Key};
use super::perform::{Next, perform};
use super::target::Target;
use super::{Evaluation, Hook, Table, Verdict};
use crate::conntrack::FlowRef;

impl RuleSet {
    /// Asks the rules of a table at a hook.
    #[inline]
    pub fn evaluate(&self, table: Table, hook: Hook, evaluation: &mut Evaluation<'_, '_>) -> Verdict {
        let Some(base) = self.base(table, hook) else { return Verdict::Accept };
        let chain = &self.chains[base];
        if let Some((states, state)) = &chain.front
            && ct_state_holds(*states, evaluation)
        {
            evaluation.count_rule(chain.first, state);
            return Verdict::Accept;
        }
        if !chain.cached {
            return self.walk(base, hook, evaluation);
        }
        self.evaluate_cached(base, table, hook, evaluation)
    }

    #[inline]
    fn evaluate_cached(&self, base: usize, table: Table, hook: Hook, evaluation: &mut Evaluation<'_, '_>) -> Verdict {
        let Some(tracking) = &evaluation.tracking else { return self.walk(base, hook, evaluation) };
        let (FlowRef::Known(id), direction) = (&tracking.flow, tracking.direction) else {
            return self.walk(base, hook, evaluation);
        };
        // An ICMP error belongs to a flow whose packets look otherwise.
        if evaluation.packet.is_icmp_error() || evaluation.packet.fragment.is_some() {
            return self.walk(base, hook, evaluation);
        }
        let place = table as u8 * Hook::ALL.len() as u8 + hook as u8;
        let tag = Tag::new(*id, direction, self.generation, place, evaluation.in_interface, evaluation.out_interface);
        match evaluation.cache.find(&tag) {
            Found::Program(slot) => self.run(base, hook, slot, evaluation),
            Found::Again(slot) => self.make_program(base, hook, slot, evaluation),
            Found::Nothing => self.walk(base, hook, evaluation),
        }
    }

    #[cold]
    fn make_program(&self, base: usize, hook: Hook, slot: Slot, evaluation: &mut Evaluation<'_, '_>) -> Verdict {
        let mut steps = ArrayVec::new();
        let made = self.flatten(base, &mut steps, evaluation);
        evaluation.cache.fill(slot, made.map(|_| &steps[..]).ok());
        if made.is_ok() { self.run(base, hook, slot, evaluation) } else { self.walk(base, hook, evaluation) }
    }

    /// Runs the program of a flow.
    fn run(&self, base: usize, hook: Hook, slot: Slot, evaluation: &mut Evaluation<'_, '_>) -> Verdict {
        let mut at = 0;
        while let Some(step) = evaluation.cache.step(slot, at) {
            let rule = &self.rules[step.rule as usize];
            at = step.otherwise;
            if all_hold(&rule.varying, &rule.state, evaluation) {
                evaluation.count_rule(step.rule, &rule.state);
                at = step.then;
                if let Next::Done(verdict) = perform(&rule.target, hook, evaluation) {
                    return verdict;
                }
            }
        }
        self.policy(base, evaluation)
    }

    /// Asks rule after rule.
    pub(super) fn walk(&self, base: usize, hook: Hook, evaluation: &mut Evaluation<'_, '_>) -> Verdict {
        let mut callers: ArrayVec<(usize, u32), { RuleSet::DEPTH_MAX }> = ArrayVec::new();
        let mut chain = base;
        let mut candidates = Candidates::new(&self.chains[chain].index, 0);
        loop {
            let next = match candidates.next(|| key_of(evaluation)) {
                Some(number) => {
                    let in_set = self.chains[chain].first + number;
                    let rule = &self.rules[in_set as usize];
                    if !fixed_hold(rule, evaluation) || !all_hold(&rule.varying, &rule.state, evaluation) {
                        continue;
                    }
                    evaluation.count_rule(in_set, &rule.state);
                    let next = perform(&rule.target, hook, evaluation);
                    if let Next::Jump(_) = next {
                        callers.push((chain, number + 1));
                    }
                    next
                }
                None => Next::Return,
            };
            let from;
            (chain, from) = match next {
                Next::Rule => continue,
                Next::Done(verdict) => return verdict,
                Next::Jump(to) | Next::Goto(to) => (to.0 as usize, 0),
                Next::Return => match callers.pop() {
                    Some(caller) => caller,
                    None => return self.policy(base, evaluation),
                },
            };
            candidates = Candidates::new(&self.chains[chain].index, from);
        }
    }

    fn policy(&self, base: usize, evaluation: &mut Evaluation<'_, '_>) -> Verdict {
        let policy = self.chains[base].policy.as_ref().expect("a base chain has one");
        evaluation.count_policy(base, &policy.state);
        if policy.drops { Verdict::Drop } else { Verdict::Accept }
    }

    /// Appends the rules of a chain, and of those it jumps to, that packets of the flow can match. Returns whether a packet can
    /// come to the end of the chain.
    ///
    /// A `then` or `otherwise` of [`RETURN`] stands for the end of the chain until that is known.
    fn flatten(&self, chain: usize, steps: &mut ArrayVec<Step, STEPS_MAX>, evaluation: &mut Evaluation<'_, '_>) -> Result<bool, TooLong> {
        let begin = steps.len();
        let mut ends = true;
        let mut returns = false;
        let mut candidates = Candidates::new(&self.chains[chain].index, 0);
        while let Some(number) = candidates.next(|| key_of(evaluation)) {
            let number = self.chains[chain].first + number;
            let rule = &self.rules[number as usize];
            if !fixed_hold(rule, evaluation) {
                continue;
            }
            let this = steps.len();
            let behind = this as u8 + 1;
            steps.try_push(Step { rule: number, then: behind, otherwise: behind }).map_err(|_| TooLong)?;
            // Whether the packet goes on behind the rule where the rule matches.
            let passes = match &rule.target {
                Target::Return => {
                    steps[this].then = RETURN;
                    returns = true;
                    false
                }
                Target::Jump(to) => {
                    let passes = self.flatten(to.0 as usize, steps, evaluation)?;
                    steps[this].otherwise = steps.len() as u8;
                    passes
                }
                Target::Goto(to) => {
                    let comes_back = self.flatten(to.0 as usize, steps, evaluation)?;
                    let end = steps.len() as u8;
                    steps[this].otherwise = end;
                    // Where that chain ends, this one ends. An empty one ends at once.
                    replace(&mut steps[this + 1..], end, RETURN);
                    if end == behind {
                        steps[this].then = RETURN;
                    }
                    returns |= comes_back;
                    false
                }
                target => !target.is_terminal(),
            };
            if rule.varying.is_empty() && !passes {
                ends = false;
                break;
            }
        }
        let end = steps.len() as u8;
        replace(&mut steps[begin..], RETURN, end);
        Ok(ends || returns)
    }
}

fn key_of(evaluation: &Evaluation<'_, '_>) -> Key {
    Key::of(evaluation.packet, evaluation.in_interface, evaluation.out_interface)
}

/// Whether the matches hold that are the same for all packets of a flow.
#[inline]
fn fixed_hold(rule: &Compiled, evaluation: &mut Evaluation<'_, '_>) -> bool {
    #[cfg(test)]
    {
        evaluation.cache.asked += 1;
    }
    all_hold(&rule.fixed, &rule.state, evaluation)
}

/// A program would have more than [`STEPS_MAX`] steps.
#[derive(Clone, Copy)]
struct TooLong;

/// Stands for the end of the chain that is being flattened.
const RETURN: u8 = u8::MAX;

fn replace(steps: &mut [Step], from: u8, to: u8) {
    for step in steps {
        for next in [&mut step.then, &mut step.otherwise] {
            if *next == from {
                *next = to;
            }
        }
    }
}
