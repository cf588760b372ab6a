//! Frames per second at saturation, between the client and one server.

use crate::cores::Load as Demand;
use crate::generator::{Macs, Traffic};
use crate::scenario::{Sample, Settings};
use crate::system::System;
use crate::testbed::{Counted, Streams, Testbed};
use crate::topology::{Attachment, Hosts, Topology};

/// One round.
pub(super) fn round(system: System, attachment: Attachment, sizes: &str, both_ways: bool, settings: &Settings) -> anyhow::Result<Sample> {
    let sizes = sizes.parse().map_err(anyhow::Error::msg)?;
    let traffic = Traffic { sizes, ..Traffic::between(Macs::clients(1), Macs::servers(1)) };
    let mut bed = Testbed::start(system, &Topology::pair(attachment, Hosts::Generator), Demand::OneWay, settings)?;
    // Both ways: so that the switch knows both stations. A router knows its neighbours, and lets answers in.
    let checked = traffic.clone();
    bed.check(&if system.is_router() { Streams::one_way(checked) } else { Streams::both_ways(checked) })?;
    if system.is_router() {
        bed.answer(&traffic)?;
    }
    let streams = if both_ways { Streams::both_ways(traffic) } else { Streams::one_way(traffic) };
    let counted = bed.saturate(&streams, settings.span)?;
    Ok(sample(&counted).by(bed.switch()))
}

/// The figure in thousands of frames that arrived a second, with what else was counted.
pub(super) fn sample(counted: &Counted) -> Sample {
    let sent = counted.sent.accepted as f64;
    let mut sample = Sample::new(counted.rate / 1e3)
        .with("sent_frames", sent)
        .with("refused_frames", counted.sent.refused as f64)
        .with("received_frames", counted.received as f64)
        .with("lost_percent", counted.lost() as f64 / (sent * counted.copies as f64) * 100.0)
        .with("machine_cpu_ns_per_frame", counted.machine_cpu_per_frame.as_nanos() as f64);
    if let Some(span) = counted.cpu_per_frame {
        sample = sample.with("switch_cpu_ns_per_frame", span.as_nanos() as f64);
    }
    if let Some(octets) = counted.memory {
        sample = sample.with("switch_memory_mib", octets as f64 / f64::from(1 << 20));
    }
    sample
}
