//! What is sent: addresses, VLANs, sizes and rate.

use std::fmt;
use std::str::FromStr;

use anyhow::bail;
use dataplane::BURST_MAX;
use dataplane::burst::FRAME_MAX;
use serde::{Deserialize, Serialize};
use wire::{MacAddr, VlanId};

use super::FLOWS_MAX;

/// Octets of the frame check sequence. Sizes of frames count it, as everywhere in benchmarks; memory does not have it.
pub(super) const FCS: usize = 4;
/// Octets of the smallest Ethernet frame with FCS.
const SIZE_MIN: usize = 64;
/// Octets of the longest frame the switch takes, with FCS and without a tag of ours.
const SIZE_MAX: usize = FRAME_MAX - 4 + FCS;
/// Frames of different sizes that can repeat at most: each has a place of its own in a burst.
const CYCLE_MAX: usize = BURST_MAX;

/// Consecutive MAC addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Macs {
    /// The first, as a number.
    pub first: u64,
    /// How many, at least 1.
    pub count: u32,
}

impl Macs {
    /// Consecutive addresses from `first`.
    pub fn from(first: MacAddr, count: u32) -> Macs {
        Macs { first: first.to_u64(), count }
    }

    /// Locally administered addresses 02:00:00:00:00:00 and following, for stations at the side of the sender.
    pub const fn clients(count: u32) -> Macs {
        Macs { first: 0x0200_0000_0000, count }
    }

    /// Locally administered addresses 02:01:00:00:00:00 and following, for stations at the side of the receiver.
    pub const fn servers(count: u32) -> Macs {
        Macs { first: 0x0201_0000_0000, count }
    }

    /// The broadcast address.
    pub fn broadcast() -> Macs {
        Macs::from(MacAddr::BROADCAST, 1)
    }

    /// The address of a flow: flows take them in turn.
    #[inline]
    pub fn of_flow(&self, flow: u32) -> u64 {
        self.first + u64::from(if flow < self.count { flow } else { flow % self.count })
    }
}

/// `ADDRESS` or `ADDRESS+COUNT`.
impl FromStr for Macs {
    type Err = String;

    fn from_str(text: &str) -> Result<Macs, String> {
        let wrong = || format!("\"{text}\" is not a MAC address, or ADDRESS+COUNT for as many from it on (02:00:00:00:00:01+100)");
        let (first, count) = text.split_once('+').unwrap_or((text, "1"));
        let (first, count): (MacAddr, u32) = (first.parse().map_err(|_| wrong())?, count.parse().map_err(|_| wrong())?);
        if count == 0 || first.to_u64() + u64::from(count) > 1 << 48 {
            return Err(wrong());
        }
        Ok(Macs::from(first, count))
    }
}

/// Consecutive VLANs whose tag the frames carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vlans {
    /// The first.
    pub first: u16,
    /// How many, at least 1.
    pub count: u16,
}

impl Vlans {
    /// The VLAN of a flow: flows take them in turn.
    #[inline]
    pub fn of_flow(&self, flow: u32) -> u16 {
        self.first + (flow % u32::from(self.count)) as u16
    }
}

/// `VLAN` or `FIRST-LAST`.
impl FromStr for Vlans {
    type Err = String;

    fn from_str(text: &str) -> Result<Vlans, String> {
        let wrong = || format!("\"{text}\" is not a VLAN (1 to 4094), or FIRST-LAST");
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let vlan = |word: &str| word.parse().ok().and_then(VlanId::new).map(VlanId::get).filter(|vid| *vid > 0).ok_or_else(wrong);
        let (first, last) = (vlan(first)?, vlan(last)?);
        if last < first {
            return Err(wrong());
        }
        Ok(Vlans { first, count: last - first + 1 })
    }
}

/// Sizes of frames in octets, with FCS and without VLAN tag (which adds four), as they follow each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    name: String,
    cycle: Vec<usize>,
}

impl Sizes {
    /// All frames of the same size.
    ///
    /// # Errors
    ///
    /// For a size below 64 or beyond what the switch takes.
    pub fn one(size: usize) -> anyhow::Result<Sizes> {
        Sizes::cycle(size.to_string(), vec![size])
    }

    /// Simple IMIX: of twelve frames seven have 64 octets, four 594 and one 1518 (RFC 6985 describes the idea).
    pub fn imix() -> Sizes {
        // Spread, not in blocks: a burst then has about the mean size.
        Sizes { name: "imix".into(), cycle: vec![64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 594, 64] }
    }

    fn cycle(name: String, cycle: Vec<usize>) -> anyhow::Result<Sizes> {
        if cycle.is_empty() || cycle.len() > CYCLE_MAX {
            bail!("sizes: 1 to {CYCLE_MAX} frames can repeat, not {}", cycle.len());
        }
        if let Some(size) = cycle.iter().find(|size| !(SIZE_MIN..=SIZE_MAX).contains(*size)) {
            bail!("sizes: {size}: a frame has {SIZE_MIN} to {SIZE_MAX} octets, with FCS");
        }
        Ok(Sizes { name, cycle })
    }

    /// The sizes that repeat.
    pub fn as_slice(&self) -> &[usize] {
        &self.cycle
    }

    /// The mean size.
    pub fn mean(&self) -> f64 {
        self.cycle.iter().sum::<usize>() as f64 / self.cycle.len() as f64
    }
}

/// `512`, `64,64,1518` or `imix`.
impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Sizes, String> {
        if text == "imix" {
            return Ok(Sizes::imix());
        }
        let cycle: Result<Vec<usize>, _> = text.split(',').map(str::parse).collect();
        let cycle = cycle.map_err(|_| format!("\"{text}\" is not a size in octets, several of them (64,64,1518) or \"imix\""))?;
        Sizes::cycle(text.into(), cycle).map_err(|error| error.to_string())
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name)
    }
}

/// A stream of frames, one way. Frame by frame the flows take turns; flow `n` goes from address `n` of the sources to address
/// `n` of the destinations in VLAN `n`, each modulo how many there are, with IP addresses and a UDP port of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Source addresses.
    pub sources: Macs,
    /// Destination addresses.
    pub destinations: Macs,
    /// Tags; none when absent. A frame may arrive with its tag or without (an access port), but not with another.
    pub vlans: Option<Vlans>,
    /// Sizes of the frames.
    pub sizes: Sizes,
    /// Flows, 1 to [`FLOWS_MAX`].
    pub flows: u32,
}

impl Traffic {
    /// 64-octet frames without tags, with as many flows as it takes to use every address.
    pub fn between(sources: Macs, destinations: Macs) -> Traffic {
        let sizes = Sizes { name: "64".into(), cycle: vec![64] };
        Traffic { sources, destinations, vlans: None, sizes, flows: sources.count.max(destinations.count) }
    }

    /// The same the other way.
    #[must_use]
    pub fn reversed(&self) -> Traffic {
        Traffic { sources: self.destinations, destinations: self.sources, ..self.clone() }
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.flows == 0 || self.flows > FLOWS_MAX {
            bail!("flows: 1 to {FLOWS_MAX}, not {}", self.flows);
        }
        for (what, macs) in [("source", self.sources), ("destination", self.destinations)] {
            if macs.count == 0 || macs.first + u64::from(macs.count) > 1 << 48 {
                bail!("{what} addresses: none, or beyond ff:ff:ff:ff:ff:ff");
            }
        }
        if let Some(Vlans { first, count }) = self.vlans
            && (first == 0 || count == 0 || u32::from(first) + u32::from(count) > 4095)
        {
            bail!("VLANs: not within 1 to 4094");
        }
        Ok(())
    }
}

/// How many frames are due.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rate {
    /// As many as the queue takes.
    Max,
    /// So many frames per second.
    PerSecond(f64),
}

/// `max`, or frames per second with an optional `k` or `M`.
impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        if text == "max" {
            return Ok(Rate::Max);
        }
        let wrong = || format!("\"{text}\" is not a number of frames per second above 0 (100000, 100k, 1.5M) or \"max\"");
        let (digits, factor) = match text.strip_suffix('k') {
            Some(digits) => (digits, 1e3),
            None => text.strip_suffix('M').map_or((text, 1.0), |digits| (digits, 1e6)),
        };
        let number: f64 = digits.parse().map_err(|_| wrong())?;
        if number > 0.0 && number.is_finite() { Ok(Rate::PerSecond(number * factor)) } else { Err(wrong()) }
    }
}

/// How fast a stream is sent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Frames due.
    pub rate: Rate,
    /// Frames sent back to back, 1 to [`Load::BURST_MAX`]: the sender waits until so many are due.
    pub burst: usize,
    /// End after so many frames, if not before.
    pub frames: Option<u64>,
}

impl Load {
    /// Frames back to back at most. A queue gets them in bursts of at most [`dataplane::BURST_MAX`].
    pub const BURST_MAX: usize = 256;

    /// At this rate in bursts of what comes together in 50 us, at most 32: full bursts where they are needed to be fast, single
    /// frames where latency is looked at.
    pub fn at(rate: Rate) -> Load {
        let burst = match rate {
            Rate::Max => 32,
            Rate::PerSecond(rate) => (rate * 50e-6).clamp(1.0, 32.0) as usize,
        };
        Load { rate, burst, frames: None }
    }

    /// As many as the queue takes.
    pub fn max() -> Load {
        Load::at(Rate::Max)
    }

    pub(super) fn check(&self) -> anyhow::Result<()> {
        if self.burst == 0 || self.burst > Load::BURST_MAX {
            bail!("burst: 1 to {}, not {}", Load::BURST_MAX, self.burst);
        }
        match self.rate {
            Rate::PerSecond(rate) if !(rate > 0.0 && rate.is_finite()) => bail!("rate: {rate} is no number of frames per second"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_vlans_sizes_and_rates_are_read() {
        assert_eq!("02:00:00:00:00:00+7".parse(), Ok(Macs::clients(7)));
        assert_eq!("ff:ff:ff:ff:ff:ff".parse(), Ok(Macs::broadcast()));
        for wrong in ["", "02:00", "02:00:00:00:00:00+0", "ff:ff:ff:ff:ff:ff+2", "02:00:00:00:00:00+x"] {
            assert!(wrong.parse::<Macs>().is_err(), "{wrong:?}");
        }
        assert_eq!("10-19".parse(), Ok(Vlans { first: 10, count: 10 }));
        assert_eq!("4094".parse(), Ok(Vlans { first: 4094, count: 1 }));
        for wrong in ["0", "4095", "9-8", "1-", "x"] {
            assert!(wrong.parse::<Vlans>().is_err(), "{wrong:?}");
        }
        assert_eq!("64,1518".parse::<Sizes>().unwrap().as_slice(), [64, 1518]);
        assert!((Sizes::imix().mean() - 361.83).abs() < 0.01);
        for wrong in ["", "63", "70000", "64,", "Imix"] {
            assert!(wrong.parse::<Sizes>().is_err(), "{wrong:?}");
        }
        assert_eq!("max".parse(), Ok(Rate::Max));
        assert_eq!("1.5M".parse(), Ok(Rate::PerSecond(1.5e6)));
        assert_eq!("20k".parse(), Ok(Rate::PerSecond(2e4)));
        for wrong in ["", "0", "-1", "inf", "1G", "k"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn flows_take_addresses_and_vlans_in_turn() {
        let macs = Macs::clients(3);
        let numbers: Vec<_> = (0..5).map(|flow| macs.of_flow(flow) - macs.first).collect();
        assert_eq!(numbers, [0, 1, 2, 0, 1]);
        let vlans = Vlans { first: 5, count: 2 };
        assert_eq!([0, 1, 2].map(|flow| vlans.of_flow(flow)), [5, 6, 5]);
    }

    #[test]
    fn bursts_follow_the_rate() {
        assert_eq!([1e3, 1e5, 1e7].map(|rate| Load::at(Rate::PerSecond(rate)).burst), [1, 5, 32]);
        assert!(Load { burst: 257, ..Load::max() }.check().is_err() && Load { burst: 256, ..Load::max() }.check().is_ok());
    }
}
