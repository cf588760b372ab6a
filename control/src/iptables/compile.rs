//! From the tables and sets of a router to what workers evaluate, keeping counters and sets of the running router.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dataplane::clock::Nanos;
use dataplane::router::{Family, InterfaceId};
use dataplane::rules::{BuildError, Chain, ChainId, ChainKind, Hook, IpSet, Policy, Rule as EngineRule, RuleSet, RuleState, Table};
use proto::iptables::{ChainConfig, SetConfig, TableConfig, Tables};

use super::fault::{Fault, Place};
use super::lower::{Names, lower};
use super::memo;
use super::rule::check_chain_name;
use super::sets::{self, RunningSet};

/// Rules of one family of a router at most.
pub const RULES_MAX: usize = 131_072;
/// Chains of one family of a router at most.
pub const CHAINS_MAX: usize = 8192;

/// The part of a router's configuration that is about rules.
#[derive(Clone, Copy)]
pub struct Source<'c> {
    /// Rules for IPv4.
    pub iptables: &'c Tables,
    /// Rules for IPv6.
    pub ip6tables: &'c Tables,
    /// Sets.
    pub ipset: &'c BTreeMap<String, SetConfig>,
}

impl<'c> Source<'c> {
    /// The tables of a family.
    pub fn tables(&self, family: Family) -> &'c Tables {
        match family {
            Family::V4 => self.iptables,
            Family::V6 => self.ip6tables,
        }
    }
}

/// Rules that do not come from the tables: what control puts in front of those, to forward ports.
#[derive(Clone, Debug, Default)]
pub struct Front(BTreeMap<(Table, Hook), Vec<EngineRule>>);

impl Front {
    /// Adds a rule behind those that are at this place.
    pub fn push(&mut self, table: Table, hook: Hook, rule: EngineRule) {
        self.0.entry((table, hook)).or_default().push(rule);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those at a place.
    pub fn at(&self, table: Table, hook: Hook) -> &[EngineRule] {
        self.0.get(&(table, hook)).map_or(&[], Vec::as_slice)
    }
}

/// The compiled rules and sets of a router, and the way to their counters.
#[derive(Default)]
pub struct RouterRules {
    v4: Arc<FamilyRules>,
    v6: Arc<FamilyRules>,
    sets: BTreeMap<String, RunningSet>,
}

/// The compiled rules of a family.
#[derive(Default)]
struct FamilyRules {
    set: Option<Arc<RuleSet>>,
    tables: Tables,
    interfaces: BTreeMap<String, InterfaceId>,
    sets: BTreeMap<String, Arc<IpSet>>,
    has_front: bool,
    chains: HashMap<(Table, String), ChainStates>,
}

/// The counters of a chain.
#[derive(Clone, Default)]
pub struct ChainStates {
    /// Of packets no rule decided on. Base chains only.
    pub policy: Option<Arc<RuleState>>,
    /// Of its rules, in order.
    pub rules: Vec<Arc<RuleState>>,
}

impl RouterRules {
    /// What workers evaluate for a family; `None` when there is nothing to ask.
    pub fn rule_set(&self, family: Family) -> Option<&Arc<RuleSet>> {
        self.family(family).set.as_ref()
    }

    /// The counters of a chain; `None` when it has none yet, as nothing was ever said of it.
    pub fn counters(&self, family: Family, table: Table, chain: &str) -> Option<&ChainStates> {
        self.family(family).chains.get(&(table, chain.to_owned()))
    }

    /// The sets by name.
    pub fn sets(&self) -> &BTreeMap<String, RunningSet> {
        &self.sets
    }

    /// Brings sets that stay up to date with their configuration. To be called once the rules are in force.
    pub fn activate(&self, now: Nanos) {
        for (name, set) in &self.sets {
            if let Err(error) = set.activate(now) {
                tracing::warn!("ipset {name:?}: {}", sets::set_error(error));
            }
        }
    }

    fn family(&self, family: Family) -> &Arc<FamilyRules> {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

/// Says everything that is wrong with rules and sets.
pub fn check<'n>(source: &Source<'_>, interfaces: impl Iterator<Item = &'n str>) -> Vec<Fault> {
    let interfaces = interfaces.enumerate().map(|(id, name)| (name.to_owned(), InterfaceId(id as u8))).collect();
    compile(source, &interfaces, &[Front::default(), Front::default()], None, 0, 0).err().unwrap_or_default()
}

/// Compiles the rules and sets of a router. What did not change is taken over from `former`: sets with their elements,
/// counters of rules with the same text, and the whole rule set if nothing changed.
///
/// `front` is for IPv4 and IPv6. Nothing that runs is changed before [`RouterRules::activate`].
///
/// # Errors
///
/// Everything that is wrong.
pub fn compile(
    source: &Source<'_>,
    interfaces: &BTreeMap<String, InterfaceId>,
    front: &[Front; 2],
    former: Option<&RouterRules>,
    workers: usize,
    now: Nanos,
) -> Result<RouterRules, Vec<Fault>> {
    let mut faults = Vec::new();
    let sets = sets::compile(source.ipset, former.map(|former| &former.sets), now, &mut faults);
    let named: BTreeMap<String, Arc<IpSet>> = sets.iter().map(|(name, set)| (name.clone(), set.set.clone())).collect();
    let mut family = |family: Family, front: &Front| {
        let former = former.map(|former| former.family(family));
        let tables = source.tables(family);
        let same = former.filter(|former| {
            former.tables == *tables && former.interfaces == *interfaces && former.sets == named && !former.has_front && front.is_empty()
        });
        match same {
            Some(former) => former.clone(),
            None => Arc::new(compile_family(tables, family, interfaces, &named, front, former.map(Arc::as_ref), workers, &mut faults)),
        }
    };
    let (v4, v6) = (family(Family::V4, &front[0]), family(Family::V6, &front[1]));
    if faults.is_empty() { Ok(RouterRules { v4, v6, sets }) } else { Err(faults) }
}

/// A table of a configuration; one without a name is always empty.
pub fn table_of(tables: &Tables, table: Table) -> &TableConfig {
    match table {
        Table::Raw => &tables.raw,
        Table::Mangle => &tables.mangle,
        Table::Nat => &tables.nat,
        Table::Filter => &tables.filter,
        Table::Security => &tables.security,
    }
}

/// The hook whose base chain in a table has this name.
pub fn hook_of(table: Table, chain: &str) -> Option<Hook> {
    table.hooks().iter().copied().find(|hook| hook.name() == chain)
}

/// The policy of a base chain.
///
/// # Errors
///
/// When it is neither ACCEPT nor DROP.
pub fn policy_of(config: &ChainConfig) -> Result<Policy, String> {
    match config.policy.as_deref() {
        None | Some("ACCEPT") => Ok(Policy::Accept),
        Some("DROP") => Ok(Policy::Drop),
        Some(other) => Err(format!("policy {other:?} is neither ACCEPT nor DROP")),
    }
}

#[allow(clippy::too_many_arguments)]
fn compile_family(
    tables: &Tables,
    family: Family,
    interfaces: &BTreeMap<String, InterfaceId>,
    sets: &BTreeMap<String, Arc<IpSet>>,
    front: &Front,
    former: Option<&FamilyRules>,
    workers: usize,
    faults: &mut Vec<Fault>,
) -> FamilyRules {
    let before = faults.len();
    let mut chains: Vec<Chain> = Vec::new();
    let mut states: HashMap<(Table, String), ChainStates> = HashMap::new();
    let empty = ChainConfig::default();
    let fault = |table: Table, chain: &str, rule: Option<usize>, message: String| Fault {
        place: Place::Chain { family, table: table.name().to_owned(), chain: chain.to_owned(), rule },
        message,
    };
    // The place of the first rule of the configuration among those of a chain.
    let mut offsets = Vec::new();
    let mut rules_left = RULES_MAX;
    for table in Table::ALL {
        let config = table_of(tables, table);
        let base = table.hooks().iter().map(|hook| (hook.name(), Some(*hook)));
        let user = config.keys().map(String::as_str).filter(|name| hook_of(table, name).is_none()).map(|name| (name, None));
        let list: Vec<(&str, Option<Hook>)> = base.chain(user).collect();
        if chains.len() + list.len() > CHAINS_MAX {
            faults.push(fault(table, "*", None, format!("more than {CHAINS_MAX} chains")));
            break;
        }
        let first = chains.len() as u32;
        let user_chains: BTreeMap<&str, ChainId> = list
            .iter()
            .enumerate()
            .filter(|(_, (_, hook))| hook.is_none())
            .map(|(index, (name, _))| (*name, ChainId(first + index as u32)))
            .collect();
        let names = Names { interfaces, sets, chains: &user_chains, table: table.name() };
        for (name, hook) in list {
            let config = config.get(name).unwrap_or(&empty);
            let mut wrong = |rule: Option<usize>, message: String| faults.push(fault(table, name, rule, message));
            if hook.is_none() {
                if let Err(error) = check_chain_name(name) {
                    wrong(None, error);
                }
                if config.policy.is_some() {
                    wrong(None, "a user chain has no policy (packets go back to where they came from)".to_owned());
                }
            }
            let former_config = former.and_then(|former| table_of(&former.tables, table).get(name)).unwrap_or(&empty);
            let former_states = former.and_then(|former| former.chains.get(&(table, name.to_owned())));
            let fresh = || Arc::new(RuleState::new(workers));
            let kept = kept(&former_config.rules, former_states, &config.rules);
            rules_left = match rules_left.checked_sub(config.rules.len()) {
                Some(left) => left,
                None => {
                    wrong(None, format!("more than {RULES_MAX} rules"));
                    break;
                }
            };
            let front = hook.map_or(&[] as &[EngineRule], |hook| front.at(table, hook));
            let mut rules = front.to_vec();
            offsets.push(front.len());
            let mut rule_states = Vec::with_capacity(config.rules.len());
            for (index, (text, state)) in config.rules.iter().zip(kept).enumerate() {
                let state = state.unwrap_or_else(fresh);
                rule_states.push(state.clone());
                let lowered = memo::parse(text, family).and_then(|rule| {
                    match hook {
                        Some(Hook::Input | Hook::Prerouting) if rule.out_interface.is_some() => {
                            return Err(format!("can't use -o with {name}"));
                        }
                        Some(Hook::Output | Hook::Postrouting) if rule.in_interface.is_some() => {
                            return Err(format!("can't use -i with {name}"));
                        }
                        _ => {}
                    }
                    lower(&rule, &names)
                });
                match lowered {
                    Ok((matches, target)) => rules.push(EngineRule { matches, target, state }),
                    Err(error) => wrong(Some(index + 1), error),
                }
            }
            let policy_state = hook.map(|_| former_states.and_then(|states| states.policy.clone()).unwrap_or_else(fresh));
            let kind = match (hook, &policy_state) {
                (Some(hook), Some(state)) => {
                    let policy = policy_of(config).unwrap_or_else(|error| {
                        wrong(None, error);
                        Policy::Drop
                    });
                    if table == Table::Nat && policy == Policy::Drop {
                        wrong(None, "the \"nat\" table is not intended for filtering, so its policy cannot be DROP".to_owned());
                    }
                    ChainKind::Base { hook, policy, state: state.clone() }
                }
                _ => ChainKind::User,
            };
            states.insert((table, name.to_owned()), ChainStates { policy: policy_state, rules: rule_states });
            chains.push(Chain { table, name: name.into(), kind, rules });
        }
    }
    let mut compiled = FamilyRules {
        set: None,
        tables: tables.clone(),
        interfaces: interfaces.clone(),
        sets: sets.clone(),
        has_front: !front.is_empty(),
        chains: states,
    };
    let idle = |chain: &Chain| chain.rules.is_empty() && matches!(chain.kind, ChainKind::Base { policy: Policy::Accept, .. });
    if faults.len() > before || chains.iter().all(idle) {
        return compiled;
    }
    match RuleSet::build(family, &chains) {
        Ok(set) => compiled.set = Some(Arc::new(set)),
        Err(error) => {
            let (id, rule, message) = describe(error);
            let chain = chains.get(id.0 as usize);
            let offset = offsets.get(id.0 as usize).copied().unwrap_or(0);
            let (table, name) = chain.map_or((Table::Filter, "?"), |chain| (chain.table, &*chain.name));
            faults.push(fault(table, name, rule.map(|rule| (rule + 1).saturating_sub(offset)), message));
        }
    }
    compiled
}

fn describe(error: BuildError) -> (ChainId, Option<usize>, String) {
    match error {
        BuildError::BaseChain(chain) => (chain, None, "is no base chain of this table".to_owned()),
        BuildError::JumpTarget(chain, rule) => (chain, Some(rule), "there is no such user chain to go to".to_owned()),
        BuildError::Loop(chain) => (chain, None, "the chain can come back to itself (loop of -j and -g)".to_owned()),
        BuildError::TooDeep(chain) => (chain, None, format!("more than {} jumps one inside the other lead here", RuleSet::DEPTH_MAX)),
        BuildError::TooManyMeters(chain, rule) => {
            let message = format!("more than {} matches \"limit\" and \"statistic --mode nth\" in one rule", RuleState::METERS_MAX);
            (chain, Some(rule), message)
        }
        BuildError::Invalid(chain, rule, message) => (chain, Some(rule), message),
    }
}

/// The counters of the rules that stay: those at both ends that are equal keep their place; in between, equal texts keep
/// theirs in order.
fn kept(old: &[String], states: Option<&ChainStates>, new: &[String]) -> Vec<Option<Arc<RuleState>>> {
    let states = states.map_or(&[] as &[_], |states| &states.rules);
    if states.len() != old.len() {
        return vec![None; new.len()];
    }
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let mut middle: HashMap<&str, Vec<Arc<RuleState>>> = HashMap::new();
    for index in (head..old.len() - tail).rev() {
        middle.entry(&old[index]).or_default().push(states[index].clone());
    }
    let mut kept: Vec<Option<Arc<RuleState>>> = states[..head].iter().cloned().map(Some).collect();
    kept.extend(new[head..new.len() - tail].iter().map(|text| middle.get_mut(text.as_str()).and_then(Vec::pop)));
    kept.extend(states[old.len() - tail..].iter().cloned().map(Some));
    kept
}
