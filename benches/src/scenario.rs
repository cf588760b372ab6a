//! What is measured.

pub mod fdb_scale;
pub mod frame_rate;
pub mod idle_cpu;
pub mod round_trip;
pub mod tcp;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::cores::{Cores, Load};
use crate::generator::Latency;
use crate::lab;
use crate::system::{Attachment, Programs, System};

/// A scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scenario {
    /// TCP, one stream, TAP to TAP with offload
    TapTcp,
    /// TCP, one stream, through AF_PACKET on veth
    PacketTcp,
    /// 64-octet frames per second, one way, TAP to TAP
    #[value(name = "tap-64")]
    #[serde(rename = "tap-64")]
    Tap64,
    /// UDP round trip with one packet in flight, the ends on different cores
    Rtt,
    /// The same with both ends on one core
    RttOneCore,
    /// CPU time of an idle daemon with 16 TAP ports
    IdleCpu,
    /// Lookups in address tables of 1,000 and 1,000,000 entries
    FdbScale,
}

/// What a round of a scenario measures: a system, or a variant where the scenario knows no systems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A system.
    System(System),
    /// An address table with this many entries.
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

const BARE: Subject = Subject::System(System::Bare);
const BRIDGE: Subject = Subject::System(System::Bridge);
const VSWITCH: Subject = Subject::System(System::Vswitch);
const BUSY: Subject = Subject::System(System::VswitchBusy);
const SMALL: Subject = Subject::Entries(1_000);
const LARGE: Subject = Subject::Entries(1_000_000);

impl Scenario {
    /// What it measures; the first is what the others are compared with.
    pub fn subjects(self) -> &'static [Subject] {
        match self {
            Scenario::TapTcp => &[BARE, BRIDGE, VSWITCH],
            Scenario::PacketTcp => &[BRIDGE, VSWITCH],
            Scenario::Tap64 => &[BARE, VSWITCH, BUSY],
            Scenario::Rtt | Scenario::RttOneCore => &[BRIDGE, VSWITCH, BUSY],
            Scenario::IdleCpu => &[VSWITCH],
            Scenario::FdbScale => &[SMALL, LARGE],
        }
    }

    /// Unit of its figure, and which figures are good.
    pub fn unit(self) -> (&'static str, Better) {
        match self {
            Scenario::TapTcp | Scenario::PacketTcp => ("Gbit/s", Better::Higher),
            Scenario::Tap64 => ("kframes/s", Better::Higher),
            Scenario::Rtt | Scenario::RttOneCore => ("us p50", Better::Lower),
            Scenario::IdleCpu => ("% of a core", Better::Lower),
            Scenario::FdbScale => ("ns/lookup", Better::Lower),
        }
    }

    /// What its figures must reach.
    pub fn targets(self) -> &'static [Target] {
        const fn target(what: &'static str, subject: Subject, baseline: Option<Subject>, bound: f64) -> Target {
            Target { what, subject, baseline, detail: None, bound }
        }
        const TAP_TCP: &[Target] = &[
            target("TCP, one stream, TAP to TAP, against a bare loop", VSWITCH, Some(BARE), 0.95),
            target("TCP, one stream, TAP to TAP, against a Linux bridge with veth ports", VSWITCH, Some(BRIDGE), 0.85),
        ];
        const PACKET_TCP: &[Target] = &[target("TCP, one stream, AF_PACKET on veth, against a Linux bridge", VSWITCH, Some(BRIDGE), 0.8)];
        const TAP_64: &[Target] = &[target("64-octet frames per second, TAP to TAP, against a bare loop", VSWITCH, Some(BARE), 0.95)];
        const RTT: &[Target] = &[
            target("round trip p50, ends on different cores, adaptive, against a Linux bridge", VSWITCH, Some(BRIDGE), 1.5),
            target("round trip p50, ends on different cores, busy, against a Linux bridge", BUSY, Some(BRIDGE), 1.0),
        ];
        const RTT_ONE_CORE: &[Target] = &[
            target("round trip p50, both ends on one core, adaptive, against a Linux bridge", VSWITCH, Some(BRIDGE), 1.5),
            target("round trip p50, both ends on one core, busy, against a Linux bridge", BUSY, Some(BRIDGE), 1.0),
        ];
        const IDLE_CPU: &[Target] = &[target("CPU of an idle daemon with 16 ports, adaptive, % of a core", VSWITCH, None, 1.0)];
        const FDB_SCALE: &[Target] = &[
            target("FDB lookup with 1,000,000 entries against 1,000", LARGE, Some(SMALL), 2.0),
            Target {
                what: "FDB with 1,000,000 entries, octets an entry",
                subject: LARGE,
                baseline: None,
                detail: Some(fdb_scale::OCTETS),
                bound: 16.0,
            },
        ];
        match self {
            Scenario::TapTcp => TAP_TCP,
            Scenario::PacketTcp => PACKET_TCP,
            Scenario::Tap64 => TAP_64,
            Scenario::Rtt => RTT,
            Scenario::RttOneCore => RTT_ONE_CORE,
            Scenario::IdleCpu => IDLE_CPU,
            Scenario::FdbScale => FDB_SCALE,
        }
    }

    /// What the machine lacks for it, if anything.
    pub fn lacking(self) -> Option<String> {
        match self {
            Scenario::TapTcp | Scenario::PacketTcp => lab::lacking(&[("iperf3", "iperf3")]),
            Scenario::Tap64 | Scenario::Rtt | Scenario::RttOneCore | Scenario::IdleCpu => lab::lacking(&[]),
            Scenario::FdbScale => None,
        }
    }

    /// Its demand for cores, where it has one.
    pub fn load(self) -> Option<Load> {
        match self {
            Scenario::TapTcp | Scenario::PacketTcp | Scenario::Rtt => Some(Load::Stream),
            Scenario::Tap64 => Some(Load::OneWay),
            Scenario::RttOneCore => Some(Load::OneCore),
            Scenario::IdleCpu | Scenario::FdbScale => None,
        }
    }

    /// One round for one of its [subjects](Scenario::subjects).
    ///
    /// # Errors
    ///
    /// Whatever goes wrong. Everything is torn down then.
    pub fn round(self, subject: Subject, settings: &Settings) -> anyhow::Result<Sample> {
        match (self, subject) {
            (Scenario::TapTcp, Subject::System(system)) => tcp::round(system, Attachment::Tap, settings),
            (Scenario::PacketTcp, Subject::System(system)) => tcp::round(system, Attachment::Packet, settings),
            (Scenario::Tap64, Subject::System(system)) => frame_rate::round(system, settings),
            (Scenario::Rtt, Subject::System(system)) => round_trip::round(system, Load::Stream, settings),
            (Scenario::RttOneCore, Subject::System(system)) => round_trip::round(system, Load::OneCore, settings),
            (Scenario::IdleCpu, Subject::System(_)) => idle_cpu::round(settings),
            (Scenario::FdbScale, Subject::Entries(entries)) => fdb_scale::round(entries, settings),
            _ => anyhow::bail!("{subject} is no subject of this scenario"),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned()).as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_compare_what_is_measured() {
        for scenario in Scenario::value_variants() {
            assert!(!scenario.targets().is_empty(), "{scenario}");
            for target in scenario.targets() {
                assert!(scenario.subjects().contains(&target.subject), "{}", target.what);
                assert!(target.baseline.is_none_or(|baseline| scenario.subjects().contains(&baseline)), "{}", target.what);
            }
        }
    }
}
