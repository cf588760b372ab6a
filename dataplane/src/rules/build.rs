//! From chains to a [`RuleSet`].

use core::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use super::check::{HookSet, check};
use super::index::Index;
use super::matches::Match;
use super::state::RuleState;
use super::target::Target;
use super::{Hook, Table, Verdict};
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
        /// Counts those. An empty chain that accepts is not asked, and counts nothing.
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

/// Why a rule set cannot be built. Rules count from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// Two base chains of a table at one hook, or one where the table has none.
    BaseChain(ChainId),
    /// A rule jumps to a chain that is not there, is of another table or is a base chain.
    JumpTarget(ChainId, usize),
    /// The chain can come back to itself.
    Loop(ChainId),
    /// More than [`RuleSet::DEPTH_MAX`] jumps one inside the other begin here.
    TooDeep(ChainId),
    /// A rule has more than [`RuleState::METERS_MAX`] matches `limit` and `statistic --mode nth`.
    TooManyMeters(ChainId, usize),
    /// A rule asks what cannot be asked, or does what cannot be done, at a hook its chain is reached from; the text says
    /// what, as in `target DNAT is valid in table nat only`.
    Invalid(ChainId, usize, String),
}

/// The rules of a router for one family, compiled. Immutable; all workers share it.
pub struct RuleSet {
    pub(super) chains: Box<[CompiledChain]>,
    pub(super) rules: Box<[Compiled]>,
    /// Of all rule sets there were, this one.
    pub(super) generation: u32,
    /// Base chains that do anything, by table and hook.
    bases: [[Option<u32>; Hook::ALL.len()]; Table::ALL.len()],
}

/// A chain, compiled.
pub(super) struct CompiledChain {
    /// Its first rule.
    pub(super) first: u32,
    pub(super) index: Index,
    /// A base chain has one.
    pub(super) policy: Option<CompiledPolicy>,
    /// Asking it rule by rule takes longer than looking up what is left of it for a flow.
    pub(super) cached: bool,
}

pub(super) struct CompiledPolicy {
    pub(super) verdict: Verdict,
    pub(super) state: Arc<RuleState>,
}

/// A rule, compiled.
pub(super) struct Compiled {
    /// Matches that are the same for all packets of a flow, and may be asked before the others.
    pub(super) fixed: Box<[Match]>,
    /// The others in their order.
    pub(super) varying: Box<[Match]>,
    pub(super) target: Target,
    pub(super) state: Arc<RuleState>,
}

impl Compiled {
    fn new(rule: &Rule) -> Compiled {
        let metered = rule.matches.iter().position(|m| m.test.is_metered()).unwrap_or(rule.matches.len());
        let (before, behind) = rule.matches.split_at(metered);
        let (fixed, varying): (Vec<Match>, Vec<Match>) = before.iter().cloned().partition(|m| m.test.is_fixed());
        let varying = varying.into_iter().chain(behind.iter().cloned()).collect();
        Compiled { fixed: fixed.into(), varying, target: rule.target.clone(), state: rule.state.clone() }
    }
}

impl RuleSet {
    /// Jumps one inside the other at most.
    pub const DEPTH_MAX: usize = 16;
    /// Rules that are asked one by one for packets of known flows as well.
    const UNCACHED_MAX: usize = 4;

    /// Compiles chains; [`ChainId`]s are places in `chains`.
    ///
    /// # Errors
    ///
    /// [`BuildError`], for the first chain and rule that is wrong.
    pub fn build(family: Family, chains: &[Chain]) -> Result<RuleSet, BuildError> {
        static GENERATION: AtomicU32 = AtomicU32::new(1);
        let mut bases = [[None; Hook::ALL.len()]; Table::ALL.len()];
        for (id, chain) in chain_ids(chains) {
            let ChainKind::Base { hook, policy, .. } = &chain.kind else { continue };
            let base = &mut bases[chain.table as usize][*hook as usize];
            if base.is_some() || !chain.table.hooks().contains(hook) {
                return Err(BuildError::BaseChain(id));
            }
            *base = Some((id.0, *policy == Policy::Drop || !chain.rules.is_empty()));
        }
        let order = in_order(chains)?;
        check_depth(chains, &order)?;
        check_rules(family, chains, &order)?;

        let mut rules = Vec::with_capacity(chains.iter().map(|chain| chain.rules.len()).sum());
        let reach = rules_reached(chains, &order);
        let compiled = chains.iter().zip(reach).map(|(chain, reach)| {
            let first = rules.len();
            rules.extend(chain.rules.iter().map(Compiled::new));
            let fixed: Vec<&[Match]> = rules[first..].iter().map(|rule| &rule.fixed[..]).collect();
            let policy = match &chain.kind {
                ChainKind::Base { policy, state, .. } => {
                    let verdict = if *policy == Policy::Drop { Verdict::Drop } else { Verdict::Accept };
                    Some(CompiledPolicy { verdict, state: state.clone() })
                }
                ChainKind::User => None,
            };
            let index = Index::new(family, &fixed);
            CompiledChain { first: first as u32, index, policy, cached: reach > RuleSet::UNCACHED_MAX }
        });
        Ok(RuleSet {
            chains: compiled.collect(),
            rules: rules.into(),
            generation: GENERATION.fetch_add(1, Ordering::Relaxed),
            bases: bases.map(|hooks| hooks.map(|base| base.and_then(|(id, busy)| busy.then_some(id)))),
        })
    }

    /// Whether the rules of a table at a hook can do anything: there is a rule, or the policy drops.
    #[inline]
    pub fn has(&self, table: Table, hook: Hook) -> bool {
        self.base(table, hook).is_some()
    }

    #[inline]
    pub(super) fn base(&self, table: Table, hook: Hook) -> Option<usize> {
        self.bases[table as usize][hook as usize].map(|id| id as usize)
    }
}

fn chain_ids(chains: &[Chain]) -> impl DoubleEndedIterator<Item = (ChainId, &Chain)> + ExactSizeIterator {
    chains.iter().enumerate().map(|(i, chain)| (ChainId(i as u32), chain))
}

/// Where a rule leads to, and whether it comes back.
fn successor(rule: &Rule) -> Option<(ChainId, bool)> {
    match rule.target {
        Target::Jump(to) => Some((to, true)),
        Target::Goto(to) => Some((to, false)),
        _ => None,
    }
}

/// All chains, each in front of those it leads to (Kahn, CACM 5, 1962).
fn in_order(chains: &[Chain]) -> Result<Vec<ChainId>, BuildError> {
    let mut ways_in = vec![0usize; chains.len()];
    for (id, chain) in chain_ids(chains) {
        for (i, rule) in chain.rules.iter().enumerate() {
            let Some((to, _)) = successor(rule) else { continue };
            match chains.get(to.0 as usize) {
                Some(target) if target.table == chain.table && matches!(target.kind, ChainKind::User) => {
                    ways_in[to.0 as usize] += 1;
                }
                _ => return Err(BuildError::JumpTarget(id, i)),
            }
        }
    }
    let mut order: Vec<ChainId> = chain_ids(chains).map(|(id, _)| id).filter(|id| ways_in[id.0 as usize] == 0).collect();
    let mut done = 0;
    while let Some(id) = order.get(done).copied() {
        done += 1;
        for (to, _) in chains[id.0 as usize].rules.iter().filter_map(successor) {
            ways_in[to.0 as usize] -= 1;
            if ways_in[to.0 as usize] == 0 {
                order.push(to);
            }
        }
    }
    match ways_in.iter().position(|ways| *ways > 0) {
        // Of the chains that are left, some only hang off a loop; from one that is left all ways backwards are left as well.
        Some(left) => Err(BuildError::Loop(in_loop(chains, &ways_in, left))),
        None => Ok(order),
    }
}

/// A chain that is part of a loop, where each chain with `ways_in` left is led to by another of them.
fn in_loop(chains: &[Chain], ways_in: &[usize], left: usize) -> ChainId {
    let mut leads_here = vec![None; chains.len()];
    for (id, chain) in chain_ids(chains).filter(|(id, _)| ways_in[id.0 as usize] > 0) {
        chain.rules.iter().filter_map(successor).for_each(|(to, _)| leads_here[to.0 as usize] = Some(id));
    }
    let back = |at: ChainId| leads_here[at.0 as usize].expect("another one leads there");
    (0..chains.len()).fold(ChainId(left as u32), |at, _| back(at))
}

fn check_depth(chains: &[Chain], order: &[ChainId]) -> Result<(), BuildError> {
    let mut depths = vec![0usize; chains.len()];
    for id in order.iter().rev() {
        let ways = chains[id.0 as usize].rules.iter().filter_map(successor);
        let depth = ways.map(|(to, comes_back)| depths[to.0 as usize] + usize::from(comes_back)).max().unwrap_or(0);
        if depth > RuleSet::DEPTH_MAX {
            return Err(BuildError::TooDeep(*id));
        }
        depths[id.0 as usize] = depth;
    }
    Ok(())
}

/// The rules a packet can meet from each chain on, counted again for each way there.
fn rules_reached(chains: &[Chain], order: &[ChainId]) -> Vec<usize> {
    let mut reached = vec![0usize; chains.len()];
    for id in order.iter().rev() {
        let rules = &chains[id.0 as usize].rules;
        let behind = rules.iter().filter_map(successor).map(|(to, _)| reached[to.0 as usize]);
        reached[id.0 as usize] = behind.fold(rules.len(), usize::saturating_add);
    }
    reached
}

fn check_rules(family: Family, chains: &[Chain], order: &[ChainId]) -> Result<(), BuildError> {
    let mut hooks = vec![HookSet::default(); chains.len()];
    for id in order {
        let chain = &chains[id.0 as usize];
        if let ChainKind::Base { hook, .. } = &chain.kind {
            hooks[id.0 as usize].insert(*hook);
        }
        let from = hooks[id.0 as usize];
        for (i, rule) in chain.rules.iter().enumerate() {
            if rule.matches.iter().filter(|m| m.test.is_metered()).count() > RuleState::METERS_MAX {
                return Err(BuildError::TooManyMeters(*id, i));
            }
            check(&rule.matches, &rule.target, family, chain.table, from).map_err(|text| BuildError::Invalid(*id, i, text))?;
            if let Some((to, _)) = successor(rule) {
                hooks[to.0 as usize].extend(from);
            }
        }
    }
    Ok(())
}
