//! Frames that go to all ports: broadcasts, and unicast to an address that nobody has.

use crate::cores::Load as Demand;
use crate::generator::{Macs, Traffic};
use crate::scenario::{Sample, Settings, frame_rate};
use crate::system::System;
use crate::testbed::{Streams, Testbed};
use crate::topology::{Hosts, Topology};

/// Ports that each frame goes to; the figure of the scenario is that of the last.
const RECEIVERS: [usize; 3] = [2, 8, 32];

/// One round.
pub(super) fn round(system: System, broadcast: bool, settings: &Settings) -> anyhow::Result<Sample> {
    let destinations = if broadcast { Macs::broadcast() } else { Macs::servers(1) };
    let traffic = Traffic::between(Macs::clients(1), destinations);
    let mut points = Vec::new();
    let mut last = Sample::default();
    for receivers in RECEIVERS {
        let topology = Topology { ports: receivers + 1, ..Topology::pair(system.native(), Hosts::Generator) };
        let mut bed = Testbed::start(system, &topology, Demand::OneWay, settings)?;
        let streams = Streams::flooded(traffic.clone(), receivers);
        bed.check(&streams)?;
        let counted = bed.saturate(&streams, settings.span)?;
        points.push((receivers as f64, counted.rate / 1e3));
        last = frame_rate::sample(&counted).by(bed.switch());
    }
    Ok(last.with_curve("receivers", points))
}
