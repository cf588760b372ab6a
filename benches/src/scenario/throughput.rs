//! The highest rate without loss (RFC 2544 section 26.1), one way, for several sizes of frames.

use std::time::Duration;

use anyhow::Context as _;

use crate::cores::Load as Demand;
use crate::generator::rfc2544::{self, Search};
use crate::generator::{Delivery, Load, Macs, Rate, Report, Sizes, Traffic, Trial};
use crate::scenario::{Sample, Settings};
use crate::system::System;
use crate::testbed::{Streams, Testbed};
use crate::topology::{Attachment, Hosts, Topology};

/// Octets; the figure of the scenario is that of the first.
const SIZES: [usize; 3] = [64, 512, 1518];
/// Of a trial. RFC 2544 asks for 60 s, which with 20 trials, three sizes and several rounds nobody would wait for.
const SPAN_MAX: Duration = Duration::from_secs(2);
/// Without a frame arriving until a trial is over, so that none of it comes in the next one.
const DRAIN: Duration = Duration::from_millis(500);

/// One round.
pub(super) fn round(system: System, attachment: Attachment, settings: &Settings) -> anyhow::Result<Sample> {
    let mut bed = Testbed::start(system, &Topology::pair(attachment, Hosts::Generator), Demand::OneWay, settings)?;
    let mut points = Vec::new();
    let mut trials = 0;
    for size in SIZES {
        let traffic = Traffic { sizes: Sizes::one(size)?, ..Traffic::between(Macs::clients(1), Macs::servers(1)) };
        bed.check(&Streams::both_ways(traffic.clone()))?;
        let streams = Streams::one_way(traffic);
        let trial = Trial { span: settings.span.min(SPAN_MAX), drain: DRAIN, ..Trial::default() };
        let most = highest(&mut bed, &streams, &trial)?;
        let found = rfc2544::throughput(&Search::from(most * 1.1), |rate| {
            let report = bed.run(&streams, Load::at(Rate::PerSecond(rate)), true, &trial)?;
            Ok(vec![report.delivery(0, 1)?])
        })
        .with_context(|| format!("frames of {size} octets"))?;
        trials += found.trials.len();
        points.push((size as f64, found.rate / 1e3));
    }
    let (_, figure) = points[0];
    Ok(Sample::new(figure).with("trials", trials as f64).with_curve("octets", points).by(bed.switch()))
}

/// Frames per second that arrive when as many are sent as the switch takes, with loss.
///
/// # Errors
///
/// When the generator fails, or nothing arrives.
pub(super) fn highest(bed: &mut Testbed, streams: &Streams, trial: &Trial) -> anyhow::Result<f64> {
    let report: Report = bed.run(streams, Load::max(), true, &Trial { warm_up: Duration::from_millis(200), ..*trial })?;
    let Delivery { rate, .. } = report.delivery(0, 1)?;
    anyhow::ensure!(rate > 0.0, "no frame arrived at saturation");
    Ok(rate)
}
