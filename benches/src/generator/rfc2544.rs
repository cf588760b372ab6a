//! Throughput as RFC 2544 section 26.1 defines it: the highest rate at which no frame is lost.

use anyhow::bail;
use serde::{Deserialize, Serialize};

use super::report::Delivery;

/// How to search. Trials halve the range between the highest rate that passed and the lowest that did not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// The highest rate, in frames per second: where the search begins.
    pub rate_max: f64,
    /// End when the range is this part of its upper end.
    pub resolution: f64,
    /// End after so many trials at the latest.
    pub trials_max: u32,
    /// Part of the frames that may be lost. RFC 2544 says none; a machine that does other things too loses some for reasons
    /// that are not the switch's.
    pub loss_max: f64,
    /// How often a rate is tried before it counts as too high.
    pub tries: u32,
}

impl Search {
    /// From `rate_max` down to 1 %, no loss, each rate tried twice, 20 trials.
    pub fn from(rate_max: f64) -> Search {
        Search { rate_max, resolution: 0.01, trials_max: 20, loss_max: 0.0, tries: 2 }
    }
}

/// One trial of a search.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tried {
    /// Frames per second that were due.
    pub rate: f64,
    /// Frames due in each direction or to each receiver, added up.
    pub offered: u64,
    /// Of these, frames that did not arrive: refused by the queue or lost behind it.
    pub lost: u64,
    /// Whether that is little enough, and the generator kept up.
    pub passed: bool,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// The highest rate that passed, in frames per second one way.
    pub rate: f64,
    /// The lowest rate that did not; none when the first trial passed, and the figure is then "at least".
    pub too_high: Option<f64>,
    /// Why the generator, not the switch, made that rate too high, if so. A switch that works on the account of whoever sends,
    /// as the Linux bridge does, makes the generator late.
    pub generator_limit: Option<String>,
    /// Every trial, in order.
    pub trials: Vec<Tried>,
}

/// Searches. `trial` sends at the rate it is given (frames per second in each direction) and tells what became of each
/// direction.
///
/// # Errors
///
/// Those of `trial`, and when no rate passed.
pub fn throughput(search: &Search, mut trial: impl FnMut(f64) -> anyhow::Result<Vec<Delivery>>) -> anyhow::Result<Throughput> {
    let (mut passed, mut failed) = (0.0, None);
    let mut rate = search.rate_max;
    let mut trials = Vec::new();
    let mut generator_limit = None;
    let mut tries = 0;
    while trials.len() < search.trials_max as usize {
        let deliveries = trial(rate)?;
        let limit = deliveries.iter().find_map(|delivery| delivery.generator_limit(false));
        let offered: u64 = deliveries.iter().map(|delivery| delivery.sent.offered).sum();
        let lost = deliveries.iter().map(|delivery| delivery.sent.refused + delivery.lost + delivery.damaged).sum();
        let little = lost as f64 <= offered as f64 * search.loss_max && offered > 0;
        let tried = Tried { rate, offered, lost, passed: little && limit.is_none() };
        trials.push(tried);
        tries += 1;
        if tried.passed {
            passed = rate;
        } else if tries < search.tries {
            continue;
        } else {
            failed = Some(rate);
            generator_limit = limit.filter(|_| little);
        }
        let Some(failed) = failed else { break };
        if failed - passed <= failed * search.resolution {
            break;
        }
        tries = 0;
        rate = (passed + failed) / 2.0;
    }
    if passed == 0.0 {
        let why = generator_limit.unwrap_or_else(|| "frames are lost".into());
        bail!("at every rate that was tried, down to {:.0} frames/s, {why}", failed.unwrap_or(search.rate_max));
    }
    Ok(Throughput { rate: passed, too_high: failed, generator_limit, trials })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::{Arrivals, Sent};

    /// A second through a switch that forwards `capacity` frames of it.
    fn through(rate: f64, capacity: f64) -> Delivery {
        let (offered, received) = (rate as u64, rate.min(capacity) as u64);
        Delivery {
            sent: Sent { offered, accepted: offered, ..Sent::default() },
            arrivals: Arrivals { received, ..Arrivals::default() },
            lost: offered - received,
            damaged: 0,
            overruns: 0,
            rate: received as f64,
            latency: None,
        }
    }

    #[test]
    fn it_finds_the_rate_to_the_resolution() {
        for capacity in [10_500.0, 437_123.0, 999_000.0] {
            let search = Search { trials_max: 100, ..Search::from(1e6) };
            let found = throughput(&search, |rate| Ok(vec![through(rate, capacity)])).unwrap();
            let failed = found.too_high.unwrap();
            assert!(found.rate <= capacity && capacity < failed && failed - found.rate <= failed * 0.01, "{capacity}: {found:?}");
        }
    }

    #[test]
    fn what_carries_everything_is_at_least_that_fast() {
        let found = throughput(&Search::from(1e6), |rate| Ok(vec![through(rate, 2e6)])).unwrap();
        assert_eq!((found.rate, found.too_high, found.trials.len()), (1e6, None, 1));
    }

    #[test]
    fn one_lost_trial_is_tried_again_and_trials_are_bounded() {
        let mut number = 0;
        let hiccup = |rate| {
            number += 1;
            Ok(vec![through(rate, if number == 1 { 0.0 } else { 2e6 })])
        };
        let found = throughput(&Search::from(1e6), hiccup).unwrap();
        assert_eq!((found.rate, found.trials.len()), (1e6, 2));
        let search = Search { trials_max: 6, ..Search::from(1e6) };
        let found = throughput(&search, |rate| Ok(vec![through(rate, 400_000.0)])).unwrap();
        assert_eq!(found.trials.len(), 6);
    }

    #[test]
    fn nothing_that_passes_is_an_error_and_a_late_generator_is_named() {
        let error = throughput(&Search::from(1e6), |rate| Ok(vec![through(rate, 0.0)])).unwrap_err();
        assert!(error.to_string().contains("at every rate"), "{error}");
        let late = |above| {
            move |rate| {
                let delivery = through(rate, 2e6);
                let missed = if rate > above { 10_000 } else { 0 };
                Ok(vec![Delivery { sent: Sent { missed, ..delivery.sent }, ..delivery }])
            }
        };
        let error = throughput(&Search::from(1e6), late(0.0)).unwrap_err();
        assert!(error.to_string().contains("the generator was the limit"), "{error}");
        let found = throughput(&Search::from(1e6), late(300_000.0)).unwrap();
        assert!(found.rate <= 300_000.0 && found.rate > 290_000.0, "{found:?}");
        assert!(found.generator_limit.unwrap().contains("it was late"));
    }
}
