//! What the number of ports, of addresses or of VLANs costs: 64-octet frames per second from the client, at saturation.

use anyhow::bail;

use super::Dimension;
use crate::cores::Load as Demand;
use crate::generator::{Macs, Traffic, Vlans};
use crate::scenario::{Sample, Settings, frame_rate};
use crate::system::System;
use crate::testbed::{Counted, Streams, Testbed};
use crate::topology::{Hosts, Topology};

/// Addresses a second that the switch is taught. Those it did not learn show as flooded.
const TEACHING_RATE: f64 = 100_000.0;
/// Frames that may reach the port where nobody is, in per cent of all: a table that is nearly full loses some addresses.
const FLOODED_MAX: f64 = 1.0;

/// One round: the figure is that of the largest size.
pub(super) fn round(system: System, of: Dimension, settings: &Settings) -> anyhow::Result<Sample> {
    let (name, sizes): (_, &[u32]) = match of {
        Dimension::Ports => ("ports", &[2, 4, 8, 16, 32, 64]),
        Dimension::Macs => ("macs", &[10, 1_000, 100_000, 1_000_000]),
        Dimension::Vlans => ("vlans", &[1, 10, 100, 1_000, 4_000]),
    };
    let mut points = Vec::new();
    let mut last = Sample::default();
    for size in sizes {
        let (counted, sample) = point(system, of, *size, settings).map_err(|error| error.context(format!("{size} {name}")))?;
        points.push((f64::from(*size), counted.rate / 1e3));
        last = sample;
    }
    let (first, figure) = (points[0].1, last.value);
    Ok(last.with("part_of_the_smallest", figure / first).with_curve(name, points))
}

fn point(system: System, of: Dimension, size: u32, settings: &Settings) -> anyhow::Result<(Counted, Sample)> {
    let pair = Topology::pair(system.native(), Hosts::Generator);
    let one = Traffic::between(Macs::clients(1), Macs::servers(1));
    // With addresses and VLANs there is a third port, where nothing may come.
    let (topology, traffic) = match of {
        Dimension::Ports => (Topology { ports: size as usize, ..pair }, Traffic::between(Macs::clients(1), Macs::servers(size - 1))),
        Dimension::Macs => (Topology { ports: 3, addresses: size, ..pair }, Traffic::between(Macs::clients(1), Macs::servers(size))),
        Dimension::Vlans => {
            let vlans = Vlans { first: 1, count: size as u16 };
            (Topology { ports: 3, addresses: 2 * size, tagged: true, ..pair }, Traffic { vlans: Some(vlans), flows: size, ..one.clone() })
        }
    };
    let mut bed = Testbed::start(system, &topology, Demand::OneWay, settings)?;
    bed.wait_until_it_forwards(&Streams::both_ways(Traffic { vlans: traffic.vlans.map(|vlans| Vlans { count: 1, ..vlans }), ..one }))?;
    match of {
        Dimension::Ports => {
            for port in 1..topology.ports {
                let mac = Macs { first: traffic.destinations.first + port as u64 - 1, count: 1 };
                bed.teach(port, &traffic, mac, TEACHING_RATE)?;
            }
        }
        Dimension::Macs | Dimension::Vlans => bed.teach(1, &traffic, traffic.destinations, TEACHING_RATE)?,
    }
    let servers = if of == Dimension::Ports { topology.ports - 1 } else { 1 };
    let streams = Streams::one_way(traffic).to_the_first(servers);
    bed.check(&streams)?;
    let before = bed.rx_packets_of_last()?;
    let counted = bed.saturate(&streams, settings.span)?;
    if of != Dimension::Ports {
        let flooded = (bed.rx_packets_of_last()? - before) as f64 / counted.sent.accepted.max(1) as f64 * 100.0;
        if flooded > FLOODED_MAX {
            bail!("{flooded:.1} % of the frames were flooded: the addresses are not all known");
        }
        return Ok((counted, frame_rate::sample(&counted).with("flooded_percent", flooded).by(bed.switch())));
    }
    Ok((counted, frame_rate::sample(&counted).by(bed.switch())))
}
