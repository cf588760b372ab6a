//! Instructions of the [cases](crate::workload), counted under callgrind and compared with counts kept in the repository.
//!
//! Instructions do not depend on what else the machine does, so a change of a few per cent is a fact. They say nothing of cache
//! misses; `cargo bench -p benches` takes the time.
//!
//! Only [`measured`] is counted, twice with different numbers of turns; the difference leaves out what happens once.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::workload::{Case, Workload};

/// What callgrind counts: `turns` turns. It is found by its name.
#[inline(never)]
pub fn measured(workload: &mut Workload, turns: u64) {
    for _ in 0..turns {
        workload.turn();
    }
}

/// Counts kept in the repository, and the compiler that made the code.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// What `rustc --version` said.
    pub rustc: String,
    /// Instructions per frame by name of the case, with the filling.
    pub instructions_per_frame: BTreeMap<String, f64>,
}

/// How a count compares with the one kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Too many more, by this many per cent.
    Worse(f64),
    /// About the same: this many per cent more.
    Same(f64),
    /// So much fewer, in per cent, that the kept count should be renewed.
    Better(f64),
    /// None is kept.
    Unknown,
}

impl Baseline {
    /// Per cent by which a count may differ.
    pub const TOLERANCE: f64 = 3.0;

    /// Compares.
    pub fn compare(&self, case: Case, count: f64) -> Change {
        match self.instructions_per_frame.get(&case.to_string()) {
            Some(kept) if *kept > 0.0 => match (count / kept - 1.0) * 100.0 {
                more if more > Baseline::TOLERANCE => Change::Worse(more),
                more if more < -Baseline::TOLERANCE => Change::Better(-more),
                more => Change::Same(more),
            },
            _ => Change::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_three_per_cent_more_is_worse() {
        let kept = Baseline { rustc: String::new(), instructions_per_frame: [(Case::TARGET.to_string(), 100.0)].into() };
        assert!(matches!(kept.compare(Case::TARGET, 102.9), Change::Same(_)));
        assert!(matches!(kept.compare(Case::TARGET, 103.1), Change::Worse(_)));
        assert!(matches!(kept.compare(Case::TARGET, 96.0), Change::Better(_)));
        assert_eq!(kept.compare(Case { burst: 1, ..Case::TARGET }, 1.0), Change::Unknown);
    }

    #[test]
    fn the_kept_counts_are_of_all_cases() {
        let kept: Baseline = toml::from_str(include_str!("../instructions.toml")).unwrap();
        let kept: Vec<_> = kept.instructions_per_frame.into_keys().collect();
        let mut all: Vec<_> = Case::all().iter().map(ToString::to_string).collect();
        all.sort();
        assert_eq!(kept, all);
    }
}
