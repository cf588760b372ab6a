//! What is said of the values of several rounds.

use serde::{Deserialize, Serialize};

/// Median and range of some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The middle value; the mean of the two middle ones of an even number.
    pub median: f64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
}

impl Summary {
    /// Of `values`, in whatever order; `None` without any.
    pub fn of(values: &[f64]) -> Option<Summary> {
        let sorted = sorted(values);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 };
        Some(Summary { median, min, max })
    }
}

/// `values[i] / baseline[i]` for each round, and what to say of these ratios. The ratio of medians would compare rounds that
/// the machine treated differently. `None` when the rounds do not pair up, or a baseline is not above 0.
pub fn ratios(values: &[f64], baseline: &[f64]) -> Option<Summary> {
    if values.len() != baseline.len() || baseline.iter().any(|b| *b <= 0.0) {
        return None;
    }
    Summary::of(&values.iter().zip(baseline).map(|(v, b)| v / b).collect::<Vec<_>>())
}

/// The value that `percent` of all values do not exceed (nearest rank); `None` without values.
///
/// # Panics
///
/// If `percent` is not within 0 to 100.
pub fn percentile(values: &[f64], percent: f64) -> Option<f64> {
    assert!((0.0..=100.0).contains(&percent), "{percent} is no percentage");
    let sorted = sorted(values);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_whatever_the_order() {
        assert_eq!(Summary::of(&[5.0, 1.0, 2.0]), Some(Summary { median: 2.0, min: 1.0, max: 5.0 }));
        assert_eq!(Summary::of(&[4.0, 1.0, 2.0, 100.0]), Some(Summary { median: 3.0, min: 1.0, max: 100.0 }));
        assert_eq!(Summary::of(&[7.0]), Some(Summary { median: 7.0, min: 7.0, max: 7.0 }));
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine was half as fast in the second round; the systems are equal in both.
        assert_eq!(ratios(&[10.0, 5.0], &[10.0, 5.0]), Some(Summary { median: 1.0, min: 1.0, max: 1.0 }));
        // One bad round moves the range, not the median.
        assert_eq!(ratios(&[9.0, 9.0, 1.0], &[10.0, 10.0, 10.0]), Some(Summary { median: 0.9, min: 0.1, max: 0.9 }));
    }

    #[test]
    fn rounds_that_do_not_pair_up_give_no_ratio() {
        assert_eq!(ratios(&[1.0, 2.0], &[1.0]), None);
        assert_eq!(ratios(&[1.0], &[0.0]), None);
        assert_eq!(ratios(&[], &[]), None);
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&values, 50.0), Some(50.0));
        assert_eq!(percentile(&values, 99.0), Some(99.0));
        assert_eq!(percentile(&values, 100.0), Some(100.0));
        assert_eq!(percentile(&values, 0.0), Some(1.0));
        assert_eq!(percentile(&[3.0], 99.0), Some(3.0));
        assert_eq!(percentile(&[], 50.0), None);
    }
}
