//! What became of the frames of a run.

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::sink::Counted;

/// What the sender of a stream did. `offered = accepted + refused + missed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Frames that were due; without a rate those that were tried.
    pub offered: u64,
    /// Frames that the queue took.
    pub accepted: u64,
    /// Frames that the queue refused since it was full.
    pub refused: u64,
    /// Frames that were due so long ago that they were given up: the sender was late.
    pub missed: u64,
    /// Octets of the accepted frames, with FCS.
    pub octets: u64,
    /// Of the accepted frames, those in the measured span.
    pub accepted_in_span: u64,
}

/// What a station received of a stream. Each frame is counted as received once, however often it comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrivals {
    /// Different frames.
    pub received: u64,
    /// Octets of these frames, with FCS.
    pub octets: u64,
    /// Of the received frames, those that came in the measured span.
    pub received_in_span: u64,
    /// Of the received frames, those that came after a later one of their flow (RFC 4737 section 3.3).
    pub reordered: u64,
    /// Frames that came again.
    pub duplicates: u64,
    /// Frames so late that nobody knows whether they came before. They count neither as received nor as duplicates.
    pub stale: u64,
}

/// One point of a distribution: this part of all values is at most this high.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CdfPoint {
    /// Part of all values, 0 to 1.
    pub part: f64,
    /// Microseconds.
    pub us: f64,
}

/// Times from when frames were given to the queue of the sender until the sink saw them, of those in the measured span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Frames.
    pub count: u64,
    /// Microseconds.
    pub min_us: f64,
    /// Microseconds.
    pub p50_us: f64,
    /// Microseconds.
    pub p99_us: f64,
    /// Microseconds.
    pub p99_9_us: f64,
    /// Microseconds.
    pub max_us: f64,
    /// The whole distribution.
    pub cdf: Vec<CdfPoint>,
}

impl Latency {
    /// Of a histogram of nanoseconds; `None` of an empty one.
    pub fn of(histogram: &Histogram<u64>) -> Option<Latency> {
        if histogram.is_empty() {
            return None;
        }
        let at = |part: f64| histogram.value_at_quantile(part) as f64 / 1e3;
        // Every per cent, and the tail ever finer.
        let parts = (0..100).map(|n| f64::from(n) / 100.0).chain((1..=9).map(|n| 0.99 + f64::from(n) / 1e3));
        let parts = parts.chain((1..=9).map(|n| 0.999 + f64::from(n) / 1e4)).chain([0.99999, 1.0]);
        Some(Latency {
            count: histogram.len(),
            min_us: histogram.min() as f64 / 1e3,
            p50_us: at(0.5),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: histogram.max() as f64 / 1e3,
            cdf: parts.map(|part| CdfPoint { part, us: at(part) }).collect(),
        })
    }
}

/// What one station counted.
#[derive(Clone, Debug)]
pub struct StationReport {
    /// The name of its endpoint.
    pub name: String,
    /// By number of the stream.
    pub arrivals: Vec<Arrivals>,
    /// By number of the stream, in nanoseconds; none where nothing arrived in the measured span.
    pub latency: Vec<Option<Histogram<u64>>>,
    /// Frames of ours that are not what was sent.
    pub damaged: u64,
    /// Frames that are not ours.
    pub foreign: u64,
    /// Frames that the device lost since the sink did not take them in time: the sink was the limit.
    pub overruns: u64,
}

impl StationReport {
    pub(super) fn new(name: &str, counted: Counted) -> StationReport {
        let Counted { arrivals, damaged, foreign, overruns } = counted;
        let (arrivals, latency) = arrivals.into_iter().map(|(a, l)| (a, l.filter(|l| !l.is_empty()))).unzip();
        StationReport { name: name.into(), arrivals, latency, damaged, foreign, overruns }
    }
}

/// What became of all frames of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// By number of the stream: in the order in which the stations that send were given.
    pub streams: Vec<Sent>,
    /// By number of the station, in the order in which they were given.
    pub stations: Vec<StationReport>,
    /// Seconds of the measured span; less than was asked for when all frames of the loads were sent before.
    pub seconds: f64,
}

impl Report {
    /// What `station` got of `stream`.
    ///
    /// # Errors
    ///
    /// When more arrived than was sent (somebody else sends), or there is no such stream or station.
    pub fn delivery(&self, stream: usize, station: usize) -> anyhow::Result<Delivery> {
        let sent = *self.streams.get(stream).with_context(|| format!("there is no stream {stream}"))?;
        let station = self.stations.get(station).with_context(|| format!("there is no station {station}"))?;
        let arrivals = station.arrivals[stream];
        if arrivals.received > sent.accepted {
            bail!("{}: {} frames of {} arrived: somebody else sends", station.name, arrivals.received, sent.accepted);
        }
        Ok(Delivery {
            sent,
            arrivals,
            lost: sent.accepted - arrivals.received,
            damaged: station.damaged,
            overruns: station.overruns,
            rate: arrivals.received_in_span as f64 / self.seconds,
            latency: station.latency[stream].as_ref().and_then(Latency::of),
        })
    }
}

/// What one station got of one stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// What was sent.
    pub sent: Sent,
    /// What arrived.
    pub arrivals: Arrivals,
    /// Frames that the queue took and that did not arrive.
    pub lost: u64,
    /// Frames that arrived and are not what was sent.
    pub damaged: u64,
    /// Frames lost at the sink.
    pub overruns: u64,
    /// Frames per second that arrived in the measured span.
    pub rate: f64,
    /// How long they took.
    pub latency: Option<Latency>,
}

impl Delivery {
    /// Part of the frames due that the sender may miss before it counts as the limit.
    pub const MISSED_MAX: f64 = 0.001;

    /// Frames lost of those sent, in per cent.
    pub fn lost_percent(&self) -> f64 {
        if self.sent.accepted == 0 { 0.0 } else { self.lost as f64 / self.sent.accepted as f64 * 100.0 }
    }

    /// Whether every frame that was due was sent and arrived as it was sent, once and in order.
    pub fn is_clean(&self) -> bool {
        let Arrivals { reordered, duplicates, stale, .. } = self.arrivals;
        self.sent.refused + self.sent.missed + self.lost + self.damaged + reordered + duplicates + stale == 0
    }

    /// Why the figures are those of the generator or the sink and not of what is between, if so. `saturating` says that more
    /// was meant to be sent than can pass.
    pub fn generator_limit(&self, saturating: bool) -> Option<String> {
        let Sent { offered, accepted, refused, missed, .. } = self.sent;
        if self.overruns > 0 {
            return Some(format!("the sink was the limit: {} frames came faster than it took them", self.overruns));
        }
        if missed as f64 > offered as f64 * Delivery::MISSED_MAX {
            return Some(format!("the generator was the limit: it was late for {missed} of {offered} frames"));
        }
        if saturating && refused == 0 && self.lost == 0 {
            return Some(format!("the generator was the limit: all {accepted} frames were taken and arrived"));
        }
        None
    }
}
