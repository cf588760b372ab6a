//! From chains to a [`RuleSet`].

use std::sync::Arc;

use super::matches::Match;
use super::state::RuleState;
use super::target::Target;
use super::{Evaluation, Hook, Table, Verdict};
use crate::router::Family;

/// A chain: its place in the list a rule set is built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ChainId(pub u32);

/// What becomes of a packet that no rule of a base chain decides on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// On to the next table.
    Accept,
    /// Dropped.
    Drop,
}

/// How packets come to a chain.
#[derive(Clone, Debug)]
pub enum ChainKind {
    /// From a hook.
    Base {
        /// The hook.
        hook: Hook,
        /// For packets no rule decides on.
        policy: Policy,
        /// Counts those.
        state: Arc<RuleState>,
    },
    /// From rules.
    User,
}

/// A chain, to build a rule set from.
#[derive(Clone, Debug)]
pub struct Chain {
    /// Its table.
    pub table: Table,
    /// Its name, for errors.
    pub name: Box<str>,
    /// How packets come to it.
    pub kind: ChainKind,
    /// Its rules in order.
    pub rules: Vec<Rule>,
}

/// A rule, to build a rule set from.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its conditions, in the order in which they are asked: those of the IP header (`-s -d -i -o -p -f`) come first.
    pub matches: Vec<Match>,
    /// What happens to a packet they all hold for.
    pub target: Target,
    /// Its counters: new ones ([`RuleState::new`]), or those of the former rule set for a rule that stays.
    pub state: Arc<RuleState>,
}

/// Why a rule set cannot be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// Two base chains of a table at one hook, or one where the table has none.
    BaseChain(ChainId),
    /// A rule (counted from 0) jumps to a chain that is not there, is of another table or is a base chain.
    JumpTarget(ChainId, usize),
    /// The chain can come back to itself.
    Loop(ChainId),
    /// More than [`RuleSet::DEPTH_MAX`] jumps one inside the other end here.
    TooDeep(ChainId),
    /// A rule has more than [`RuleState::METERS_MAX`] matches `limit` and `statistic --mode nth`.
    TooManyMeters(ChainId, usize),
    /// A rule asks what cannot be asked, or does what cannot be done, at a hook its chain is reached from; the text says
    /// what, as in `target "DNAT" is valid in table nat only`.
    Invalid(ChainId, usize, String),
}

/// The rules of a router for one family, compiled. Immutable; all workers share it.
pub struct RuleSet {
    family: Family,
}

impl RuleSet {
    /// Jumps one inside the other at most.
    pub const DEPTH_MAX: usize = 16;

    /// Compiles chains; [`ChainId`]s are places in `chains`.
    ///
    /// # Errors
    ///
    /// [`BuildError`], for the first chain and rule that is wrong.
    pub fn build(family: Family, chains: &[Chain]) -> Result<RuleSet, BuildError> {
        let _ = chains;
        Ok(RuleSet { family })
    }

    /// Whether the rules of a table at a hook can do anything: there is a rule, or the policy drops.
    #[inline]
    pub fn has(&self, table: Table, hook: Hook) -> bool {
        let _ = (table, hook, self.family);
        false
    }

    /// Asks the rules of a table at a hook.
    #[inline]
    pub fn evaluate(&self, table: Table, hook: Hook, evaluation: &mut Evaluation<'_, '_>) -> Verdict {
        let _ = (table, hook, evaluation);
        Verdict::Accept
    }
}
