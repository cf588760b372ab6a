//! What is wrong with rules and sets, and where.

use std::fmt;

use dataplane::router::Family;

use super::matches::family_tool;

/// A place in the tables or sets of a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A chain or one of its rules, counted from 1.
    Chain {
        /// Which tables.
        family: Family,
        /// Name of the table.
        table: String,
        /// Name of the chain.
        chain: String,
        /// The rule, if it is about one.
        rule: Option<usize>,
    },
    /// A set or one of its entries, counted from 1.
    Set {
        /// Name of the set.
        set: String,
        /// The entry, if it is about one.
        entry: Option<usize>,
    },
}

/// What is wrong there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub place: Place,
    /// What, with the remedy.
    pub message: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Chain { family, table, chain, rule } => {
                write!(f, "{}: table {table}, chain {chain}", family_tool(*family))?;
                rule.map_or(Ok(()), |rule| write!(f, ", rule {rule}"))
            }
            Place::Set { set, entry } => {
                write!(f, "ipset {set:?}")?;
                entry.map_or(Ok(()), |entry| write!(f, ", entry {entry}"))
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}
