//! Address learning as RFC 2889 sections 5.7 and 5.8 measure it: how many addresses a switch keeps, and how fast it takes them.
//!
//! Three stations: *learning* sends a frame from each of N addresses, then *test* sends a frame to each of them. A switch that
//! knows an address gives its frame to *learning* alone; one that it does not know is flooded, and *monitor* sees it.

use std::time::Duration;

use anyhow::bail;
use serde::{Deserialize, Serialize};

use super::endpoint::Endpoint;
use super::report::Arrivals;
use super::sender::announce;
use super::traffic::{Load, Macs, Rate, Traffic};
use super::trial::{Station, Thread, Trial, run};

/// What a switch gets to learn the last address that was announced.
const SETTLE: Duration = Duration::from_millis(50);

/// The three stations, and how fast to send where that is not what is looked for.
pub struct AddressTest<'e> {
    /// Where the addresses are.
    pub learning: &'e mut Endpoint,
    /// Who sends to them.
    pub test: &'e mut Endpoint,
    /// Who should get nothing.
    pub monitor: &'e mut Endpoint,
    /// Frames per second that the switch surely forwards.
    pub easy_rate: f64,
    /// Where the thread of the generator runs.
    pub core: Option<u16>,
}

/// What became of the addresses of one trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// Addresses that sent a frame.
    pub addresses: u32,
    /// Addresses that the switch knew: their frames reached the learning station and not the monitor.
    pub known: u32,
    /// Addresses whose frame was flooded.
    pub flooded: u32,
    /// Addresses whose frame did not arrive at all.
    pub lost: u32,
}

impl Learned {
    /// Whether every address was learned.
    pub fn all(&self) -> bool {
        self.known == self.addresses
    }
}

impl AddressTest<'_> {
    /// One trial: `addresses` addresses sent from at `rate` frames per second. The switch must not know any of them.
    ///
    /// # Errors
    ///
    /// When frames cannot be sent or received, or come where they should not.
    pub fn trial(&mut self, addresses: u32, rate: f64) -> anyhow::Result<Learned> {
        let (learned, reached) = self.attempt(addresses, rate)?;
        if reached < rate * 0.98 {
            bail!("the generator was the limit: it sent {reached:.0} of {rate:.0} addresses a second");
        }
        Ok(learned)
    }

    /// One trial, and the rate at which the addresses were sent.
    fn attempt(&mut self, addresses: u32, rate: f64) -> anyhow::Result<(Learned, f64)> {
        let to_all = Traffic::between(Macs::clients(1), Macs::servers(addresses));
        // The address of the test station, so that learning frames have somewhere to go.
        announce(self.test, &Traffic { flows: 1, ..to_all.clone() }, self.easy_rate)?;
        std::thread::sleep(SETTLE);
        let reached = announce(self.learning, &to_all.reversed(), rate)?;
        std::thread::sleep(SETTLE);
        let load = Load { frames: Some(addresses.into()), ..Load::at(Rate::PerSecond(self.easy_rate)) };
        let span = Duration::from_secs_f64(f64::from(addresses) / self.easy_rate + 1.0);
        let stations = vec![Station::sending(self.test, to_all, load), Station::receiving(self.learning), Station::receiving(self.monitor)];
        let report = run(vec![Thread::of(stations).on(self.core)], &Trial { span, ..Trial::default() })?;
        let sent = report.streams[0].accepted;
        if sent != u64::from(addresses) {
            bail!("the generator failed: {sent} of {addresses} frames sent; is {} frames/s an easy rate?", self.easy_rate);
        }
        let [arrived, flooded] = [1, 2].map(|station| {
            let Arrivals { received, duplicates, .. } = report.stations[station].arrivals[0];
            (received as u32, duplicates)
        });
        if arrived.1 + flooded.1 > 0 {
            bail!("frames came more than once: {} at the learning station, {} at the monitor", arrived.1, flooded.1);
        }
        // A flooded frame reaches both.
        let (known, lost) = (arrived.0.saturating_sub(flooded.0), addresses.saturating_sub(arrived.0));
        Ok((Learned { addresses, known, flooded: flooded.0, lost }, reached))
    }

    /// The highest number of addresses up to `most` that are all learned at an easy rate (RFC 2889 section 5.7), to 1 % of it;
    /// `most` when that many are. `forget` is called before each trial and makes the switch forget every address.
    ///
    /// # Errors
    ///
    /// As [`AddressTest::trial`], those of `forget`, and when not a single address is learned.
    pub fn capacity(&mut self, most: u32, mut forget: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<u32> {
        let rate = self.easy_rate;
        highest(f64::from(most), 1.0, |addresses| {
            forget()?;
            // How fast they were sent does not matter here.
            Ok(self.attempt(addresses as u32, rate)?.0.all())
        })
        .map(|addresses| addresses as u32)
    }

    /// The highest rate up to `rate_max`, in addresses per second, at which `addresses` addresses are all learned (RFC 2889
    /// section 5.8), to 1 % of it. `forget` is as for [`AddressTest::capacity`].
    ///
    /// # Errors
    ///
    /// As [`AddressTest::capacity`].
    pub fn learning_rate(&mut self, addresses: u32, rate_max: f64, mut forget: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
        highest(rate_max, 1.0, |rate| {
            forget()?;
            Ok(self.trial(addresses, rate)?.all())
        })
    }
}

/// The highest value from `least` to `most` that passes, to 1 %, by bisection; at most 20 trials.
fn highest(most: f64, least: f64, mut passes: impl FnMut(f64) -> anyhow::Result<bool>) -> anyhow::Result<f64> {
    if passes(most)? {
        return Ok(most);
    }
    let (mut low, mut high) = (0.0, most);
    for _ in 1..20 {
        if high - low <= (high * 0.01).max(least) {
            break;
        }
        let middle = ((low + high) / 2.0).floor().max(least);
        if passes(middle)? { low = middle } else { high = middle }
    }
    if low < least {
        bail!("nothing passes, not even {high:.0}");
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_that_passes_is_found() {
        for limit in [1.0, 7.0, 8191.0, 65_535.0] {
            let found = highest(65_536.0, 1.0, |value| Ok(value <= limit)).unwrap();
            assert!(found <= limit && limit - found <= (limit * 0.011).max(1.0), "{limit}: {found}");
        }
        assert_eq!(highest(100.0, 1.0, |_| Ok(true)).unwrap(), 100.0);
        assert!(highest(100.0, 1.0, |_| Ok(false)).is_err());
    }
}
