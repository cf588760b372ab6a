//! How long single frames take, from when they are given to the sender's queue until the sink sees them.

use std::time::Duration;

use anyhow::{Context as _, bail};

use super::throughput;
use crate::cores::Load as Demand;
use crate::generator::{Load, Macs, Rate, Traffic, Trial};
use crate::scenario::{Sample, Settings};
use crate::system::System;
use crate::testbed::{Streams, Testbed};
use crate::topology::{Attachment, Hosts, Topology};

/// Frames per second of an idle switch: each finds the one before gone.
const IDLE_RATE: f64 = 1_000.0;
/// Frames at least, for a p99.9 that ten frames stand for: at the idle rate this takes 10 s.
const SAMPLES_MIN: f64 = 10_000.0;
/// More lost than this, in per cent, and the times of the others say little.
const LOST_MAX: f64 = 1.0;

/// One round.
pub(super) fn round(system: System, attachment: Attachment, half_load: bool, settings: &Settings) -> anyhow::Result<Sample> {
    let mut bed = Testbed::start(system, &Topology::pair(attachment, Hosts::Generator), Demand::OneWay, settings)?;
    let traffic = Traffic::between(Macs::clients(1), Macs::servers(1));
    bed.check(&Streams::both_ways(traffic.clone()))?;
    let streams = Streams::one_way(traffic);
    let rate = if half_load {
        throughput::highest(&mut bed, &streams, &Trial { span: Duration::from_secs(1), ..Trial::default() })? / 2.0
    } else {
        IDLE_RATE
    };
    let span = settings.span.max(Duration::from_secs_f64(SAMPLES_MIN / rate));
    let trial = Trial { warm_up: Duration::from_millis(200), span, ..Trial::default() };
    let report = bed.run(&streams, Load::at(Rate::PerSecond(rate)), true, &trial)?;
    let delivery = report.delivery(0, 1)?;
    if let Some(limit) = delivery.generator_limit(false) {
        bail!("{limit}");
    }
    let lost = delivery.lost_percent();
    if lost > LOST_MAX {
        bail!("{lost:.1} % of the frames were lost at {rate:.0} frames/s");
    }
    let latency = delivery.latency.context("no frame arrived")?;
    Ok(Sample::new(latency.p50_us)
        .with("p99_us", latency.p99_us)
        .with("p99_9_us", latency.p99_9_us)
        .with("max_us", latency.max_us)
        .with("load_kframes_per_second", rate / 1e3)
        .with("lost_percent", lost)
        .with_latency(Some(latency))
        .by(bed.switch()))
}
