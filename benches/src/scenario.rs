//! What is measured.
//!
//! A scenario is a row of a table (`scenario/table.rs`): what work is done ([`Work`]), by whom, in what unit. The modules beside it know the kinds of
//! work; none knows a scenario or a system by name.

mod addresses;
pub mod conntrack_scale;
pub mod fdb_scale;
mod flood;
mod frame_rate;
mod guest_loop;
mod idle;
mod latency;
mod random;
mod round_trip;
mod scaling;
mod syn_flood;
mod table;
mod tcp;
mod throughput;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cores::{Cores, Load};
use crate::generator::Latency;
use crate::lab;
use crate::system::{Programs, System};
use crate::topology::Attachment;

/// A scenario: a row of the table.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Scenario(&'static Description);

/// What a scenario is.
#[derive(Debug)]
pub struct Description {
    /// What it is called.
    pub name: String,
    /// What it measures, in a line.
    pub about: String,
    /// Unit of its figure.
    pub unit: &'static str,
    /// Which figures are good.
    pub better: Better,
    /// Who is measured; the first is what the others are compared with.
    pub subjects: &'static [Subject],
    /// What its figures must reach.
    pub targets: &'static [Target],
    /// Its demand for cores, where it has one.
    pub load: Option<Load>,
    /// What is done.
    pub work: Work,
    /// Whether a quick run has it.
    pub is_quick: bool,
}

/// What is done in a round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Work {
    /// `iperf3` with so many streams.
    Tcp {
        /// What the hosts hang on.
        attachment: Attachment,
        /// Connections at the same time.
        streams: u8,
        /// Whether the hosts leave checksums and segmentation to their devices.
        offload: bool,
    },
    /// `iperf3` with one stream, TAP to TAP, beside SYNs of new tuples that nobody answers.
    SynFlood,
    /// Frames per second at saturation.
    FrameRate {
        /// What the hosts hang on.
        attachment: Attachment,
        /// Sizes of frames, as [`Sizes`](crate::generator::Sizes) reads them.
        sizes: &'static str,
        /// Whether the server sends too.
        both_ways: bool,
    },
    /// Frames that a guest sends round between two vhost-user ports.
    GuestLoop {
        /// Octets of a frame, FCS included.
        octets: u16,
    },
    /// The highest rate without loss, by size of frames (RFC 2544 section 26.1).
    Throughput {
        /// What the hosts hang on.
        attachment: Attachment,
    },
    /// How long single frames take at a load.
    Latency {
        /// What the hosts hang on.
        attachment: Attachment,
        /// Half of what the system can forward, or next to nothing.
        half_load: bool,
    },
    /// Round trip of a UDP datagram between two sockets.
    RoundTrip,
    /// Addresses that are kept (RFC 2889 section 5.7).
    AddressCapacity,
    /// Addresses a second that are learned (RFC 2889 section 5.8).
    LearningRate,
    /// Copies a second of frames that go to all ports.
    Flood {
        /// To the broadcast address, or to one that nobody has.
        broadcast: bool,
    },
    /// Frames per second against the size of something.
    Scaling {
        /// Of what.
        of: Dimension,
    },
    /// CPU time without traffic.
    IdleCpu,
    /// Memory without traffic.
    IdleMemory,
    /// Lookups in the address table, in this process.
    FdbScale,
    /// Packets in the table of connections, in this process.
    ConntrackScale {
        /// Of new connections, or of those that are there.
        new: bool,
    },
}

/// What can be large.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// The number of ports.
    Ports,
    /// The number of MAC addresses.
    Macs,
    /// The number of VLANs.
    Vlans,
}

/// What a round of a scenario measures: a system, or a variant where the scenario knows no systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A system.
    System(System),
    /// A table of addresses or connections with this many entries.
    Entries(u32),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::System(system) => system.fmt(f),
            Subject::Entries(entries) => f.pad(&format!("{entries}-entries")),
        }
    }
}

/// Which values are good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// Large ones.
    Higher,
    /// Small ones.
    Lower,
}

/// What one round found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The figure of the scenario, in its unit.
    pub value: f64,
    /// What else was seen, by name; the unit is the end of the name.
    pub details: BTreeMap<String, f64>,
    /// How long frames took, where that was measured one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// The figure for each of several sizes of something, where the scenario goes through them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curve: Option<Curve>,
    /// How the system was set up; the report has it once.
    #[serde(skip)]
    pub configuration: Vec<String>,
}

/// A figure against the size of something.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Of what, such as "ports".
    pub of: String,
    /// Size and figure, in the unit of the scenario, by rising size.
    pub points: Vec<(f64, f64)>,
}

impl Sample {
    /// A sample without details.
    pub fn new(value: f64) -> Sample {
        Sample { value, ..Sample::default() }
    }

    /// With how long frames took.
    #[must_use]
    pub fn with_latency(self, latency: Option<Latency>) -> Sample {
        Sample { latency, ..self }
    }

    /// With a figure for each size of something.
    #[must_use]
    pub fn with_curve(self, of: &str, points: Vec<(f64, f64)>) -> Sample {
        Sample { curve: Some(Curve { of: of.into(), points }), ..self }
    }

    /// With one more detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: f64) -> Sample {
        self.details.insert(name.into(), value);
        self
    }

    /// With how the system was set up.
    #[must_use]
    pub fn by(self, switch: &crate::system::Started) -> Sample {
        Sample { configuration: switch.configuration().to_vec(), ..self }
    }
}

/// What every round is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long to measure.
    pub span: Duration,
    /// Where the programs are.
    pub programs: Programs,
    /// The placement, where the user chose one.
    pub cores: Option<Cores>,
}

impl Settings {
    /// The placement for a load.
    pub fn cores(&self, load: Load) -> Cores {
        self.cores.unwrap_or_else(|| Cores::plan(load))
    }
}

/// What a figure must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// What is compared, for people.
    pub what: &'static str,
    /// Whose figure.
    pub subject: Subject,
    /// Against whose; an absolute figure without.
    pub baseline: Option<Subject>,
    /// Which detail, if not the figure of the scenario itself.
    pub detail: Option<&'static str>,
    /// The ratio, or the figure.
    pub bound: f64,
}

impl Scenario {
    /// All of them, in the order in which they are run.
    pub fn all() -> impl Iterator<Item = Scenario> {
        table::TABLE.iter().map(Scenario)
    }

    /// The one with this name.
    pub fn named(name: &str) -> Option<Scenario> {
        Scenario::all().find(|scenario| scenario.0.name == name)
    }

    /// Who it measures; the first is what the others are compared with.
    pub fn subjects(self) -> &'static [Subject] {
        self.0.subjects
    }

    /// Unit of its figure, and which figures are good.
    pub fn unit(self) -> (&'static str, Better) {
        (self.0.unit, self.0.better)
    }

    /// What its figures must reach.
    pub fn targets(self) -> &'static [Target] {
        self.0.targets
    }

    /// What it measures, in a line.
    pub fn about(self) -> &'static str {
        &self.0.about
    }

    /// Whether a quick run has it.
    pub fn is_quick(self) -> bool {
        self.0.is_quick
    }

    /// Its demand for cores, where it has one.
    pub fn load(self) -> Option<Load> {
        self.0.load
    }

    /// What the machine lacks for it, if anything.
    pub fn lacking(self) -> Option<String> {
        match self.0.work {
            Work::SynFlood => lab::lacking(&[("iperf3", "iperf3"), ("iptables", "iptables")]),
            Work::Tcp { offload: true, .. } => lab::lacking(&[("iperf3", "iperf3")]),
            Work::Tcp { offload: false, .. } => lab::lacking(&[("iperf3", "iperf3"), ("ethtool", "ethtool")]),
            Work::GuestLoop { .. } => lab::lacking(&[("dpdk-testpmd", "dpdk-dev"), ("stdbuf", "coreutils")]),
            Work::FdbScale | Work::ConntrackScale { .. } => None,
            _ => lab::lacking(&[]),
        }
    }

    /// One round for one of its [subjects](Scenario::subjects).
    ///
    /// # Errors
    ///
    /// Whatever goes wrong. Everything is torn down then.
    pub fn round(self, subject: Subject, settings: &Settings) -> anyhow::Result<Sample> {
        let (system, demand) = match subject {
            Subject::System(system) => (system, self.0.load.unwrap_or(Load::OneWay)),
            Subject::Entries(entries) => match self.0.work {
                Work::FdbScale => return fdb_scale::round(entries, settings),
                Work::ConntrackScale { new } => return conntrack_scale::round(entries, new, settings),
                _ => anyhow::bail!("{subject} is no subject of this scenario"),
            },
        };
        match self.0.work {
            Work::Tcp { attachment, streams, offload } => tcp::round(system, attachment, streams, offload, false, settings),
            Work::SynFlood => tcp::round(system, Attachment::Tap, 1, true, true, settings),
            Work::FrameRate { attachment, sizes, both_ways } => frame_rate::round(system, attachment, sizes, both_ways, settings),
            Work::GuestLoop { octets } => guest_loop::round(system, octets, settings),
            Work::Throughput { attachment } => throughput::round(system, attachment, settings),
            Work::Latency { attachment, half_load } => latency::round(system, attachment, half_load, settings),
            Work::RoundTrip => round_trip::round(system, demand, settings),
            Work::AddressCapacity => addresses::capacity(system, settings),
            Work::LearningRate => addresses::learning_rate(system, settings),
            Work::Flood { broadcast } => flood::round(system, broadcast, settings),
            Work::Scaling { of } => scaling::round(system, of, settings),
            Work::IdleCpu => idle::cpu(system, settings),
            Work::IdleMemory => idle::memory(system, settings),
            Work::FdbScale | Work::ConntrackScale { .. } => anyhow::bail!("{subject} is no subject of this scenario"),
        }
    }
}

impl PartialEq for Scenario {
    fn eq(&self, other: &Scenario) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Scenario {}

impl fmt::Debug for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scenario({})", self.0.name)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.name)
    }
}

impl From<Scenario> for String {
    fn from(scenario: Scenario) -> String {
        scenario.0.name.clone()
    }
}

impl TryFrom<String> for Scenario {
    type Error = String;

    fn try_from(name: String) -> Result<Scenario, String> {
        name.parse()
    }
}

impl FromStr for Scenario {
    type Err = String;

    fn from_str(name: &str) -> Result<Scenario, String> {
        Scenario::named(name).ok_or_else(|| format!("there is no scenario \"{name}\" (--list shows them)"))
    }
}

/// Scenarios by a pattern: a name, or how names begin with a `*` after it (`tap-*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(pub Vec<Scenario>);

impl FromStr for Pattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Pattern, String> {
        let Some(start) = text.strip_suffix('*') else { return Ok(Pattern(vec![text.parse()?])) };
        let found: Vec<_> = Scenario::all().filter(|scenario| scenario.0.name.starts_with(start)).collect();
        if found.is_empty() {
            return Err(format!("no scenario begins with \"{start}\" (--list shows them)"));
        }
        Ok(Pattern(found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_compare_what_is_measured() {
        for scenario in Scenario::all() {
            for target in scenario.targets() {
                assert!(scenario.subjects().contains(&target.subject), "{}", target.what);
                assert!(target.baseline.is_none_or(|baseline| scenario.subjects().contains(&baseline)), "{}", target.what);
            }
        }
    }

    #[test]
    fn names_are_unique_and_can_be_read_again() {
        for scenario in Scenario::all() {
            assert_eq!(Scenario::all().filter(|other| *other == scenario).count(), 1, "{scenario}");
            assert_eq!(scenario.to_string().parse(), Ok(scenario));
            let json = serde_json::to_string(&scenario).unwrap();
            assert_eq!(serde_json::from_str::<Scenario>(&json).unwrap(), scenario);
        }
        assert!(serde_json::from_str::<Scenario>("\"tap-63\"").is_err());
        assert!("tap-64*".parse::<Pattern>().unwrap().0.len() >= 2);
        assert!("no-such*".parse::<Pattern>().is_err());
    }

    #[test]
    fn systems_have_the_ports_that_scenarios_ask_for() {
        for scenario in Scenario::all() {
            let attachment = match scenario.0.work {
                Work::Tcp { attachment, .. }
                | Work::FrameRate { attachment, .. }
                | Work::Throughput { attachment }
                | Work::Latency { attachment, .. } => attachment,
                _ => continue,
            };
            for subject in scenario.subjects() {
                assert!(matches!(subject, Subject::System(system) if system.attaches(attachment)), "{scenario}: {subject}");
            }
        }
    }
}
