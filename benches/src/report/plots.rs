//! The plots of a report: for each scenario bars of its figure, and where they were measured the distribution of latencies and
//! the curve.
//!
//! As in the tables, a subject that failed in any round has no figure: the bars say so in its place.

use std::collections::BTreeMap;

use super::{Report, ScenarioResult, SubjectResult};
use crate::plot::{self, Axis, Bar, Line, Ranged};
use crate::scenario::Better;
use crate::stats::Summary;

/// One plot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plot {
    /// Name of its file.
    pub file: String,
    /// What it shows.
    pub title: String,
    /// The plot.
    pub svg: String,
}

/// Curves whose sizes differ by more than this have them in powers of ten.
const WIDE: f64 = 20.0;

impl Report {
    /// All plots, scenario by scenario.
    pub fn plots(&self) -> Vec<Plot> {
        // A subject has the same colour in all plots.
        let mut colours = BTreeMap::new();
        for subject in self.scenarios.iter().flat_map(|result| &result.subjects) {
            let next = colours.len();
            colours.entry(subject.subject).or_insert(next);
        }
        let colour = |subject: &SubjectResult| colours.get(&subject.subject).copied().unwrap_or(0);
        let mut plots = Vec::new();
        for result in &self.scenarios {
            let mut add =
                |kind: &str, title: String, svg: String| plots.push(Plot { file: format!("{}{kind}.svg", result.scenario), title, svg });
            let (title, svg) = bars(result, &colour);
            add("", title, svg);
            for (kind, plot) in [("-latency", latency(result, &colour)), ("-curve", curve(result, &colour))] {
                if let Some((title, svg)) = plot {
                    add(kind, title, svg);
                }
            }
        }
        plots
    }
}

type Colour<'a> = &'a dyn Fn(&SubjectResult) -> usize;

fn bars(result: &ScenarioResult, colour: Colour<'_>) -> (String, String) {
    let better = match result.better {
        Better::Higher => "more is better",
        Better::Lower => "less is better",
    };
    let rounds = result.subjects.iter().map(|subject| subject.rounds.len()).max().unwrap_or(0);
    let title = format!("{} ({better}; median and range of {rounds} rounds)", result.scenario);
    let bars: Vec<Bar> = result
        .subjects
        .iter()
        .map(|subject| Bar {
            label: subject.subject.to_string(),
            colour: colour(subject),
            value: match (&subject.summary, &subject.failure) {
                (Some(Summary { median, min, max }), _) => Ok(Ranged { value: *median, min: *min, max: *max }),
                (None, Some(failure)) if subject.is_absent => Err(format!("absent: {failure}")),
                (None, Some(failure)) => Err(format!("failed: {failure}")),
                (None, None) => Err("not measured".into()),
            },
        })
        .collect();
    let svg = plot::bars(&title, &result.unit, &bars);
    (title, svg)
}

/// Of the subjects that did not fail, those of which each round has something.
fn each_round<'r, T>(
    result: &'r ScenarioResult,
    of: impl Fn(&'r super::Round) -> Option<T>,
) -> impl Iterator<Item = (&'r SubjectResult, Vec<T>)> {
    result.subjects.iter().filter_map(move |subject| {
        let found: Option<Vec<T>> = subject.rounds.iter().map(&of).collect();
        found.filter(|found| subject.summary.is_some() && !found.is_empty()).map(|found| (subject, found))
    })
}

/// How long frames took: the part of them over the time, for each time the median of the rounds.
fn latency(result: &ScenarioResult, colour: Colour<'_>) -> Option<(String, String)> {
    let lines: Vec<Line> = each_round(result, |round| round.sample.latency.as_ref())
        .map(|(subject, rounds)| {
            let points = rounds[0].cdf.iter().enumerate().filter_map(|(i, point)| {
                let times: Vec<f64> = rounds.iter().filter_map(|latency| latency.cdf.get(i).map(|point| point.us)).collect();
                let part = point.part * 100.0;
                Some((Summary::of(&times)?.median, Ranged { value: part, min: part, max: part }))
            });
            Line { label: subject.subject.to_string(), colour: colour(subject), points: points.collect(), marked: false }
        })
        .collect();
    let title = format!("{}: latency, part of the frames that took at most so long", result.scenario);
    let x = Axis { label: "us (logarithmic)".into(), is_logarithmic: true };
    let y = Axis { label: "% of the frames".into(), is_logarithmic: false };
    let svg = plot::lines(&title, &x, &y, &lines);
    (!lines.is_empty()).then_some((title, svg))
}

/// The figure over the size of something, for each size median and range of the rounds.
fn curve(result: &ScenarioResult, colour: Colour<'_>) -> Option<(String, String)> {
    let mut of = "";
    let lines: Vec<Line> = each_round(result, |round| round.sample.curve.as_ref())
        .map(|(subject, rounds)| {
            of = &rounds[0].of;
            let points = rounds[0].points.iter().filter_map(|(size, _)| {
                let at_size = |points: &[(f64, f64)]| points.iter().find(|(other, _)| other == size).map(|(_, value)| *value);
                let values: Vec<f64> = rounds.iter().filter_map(|curve| at_size(&curve.points)).collect();
                let Summary { median, min, max } = Summary::of(&values)?;
                Some((*size, Ranged { value: median, min, max }))
            });
            Line { label: subject.subject.to_string(), colour: colour(subject), points: points.collect(), marked: true }
        })
        .collect();
    let sizes = || lines.iter().flat_map(|line| &line.points).map(|(size, _)| *size);
    let is_logarithmic = sizes().fold(0.0, f64::max) > WIDE * sizes().fold(f64::INFINITY, f64::min);
    let title = format!("{}: {} by {of}", result.scenario, result.unit);
    let x = Axis { label: if is_logarithmic { format!("{of} (logarithmic)") } else { of.into() }, is_logarithmic };
    let svg = plot::lines(&title, &x, &Axis { label: result.unit.clone(), is_logarithmic: false }, &lines);
    (!lines.is_empty()).then_some((title, svg))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generator::{CdfPoint, Latency};
    use crate::report::test::{report, subject};
    use crate::scenario::Curve;
    use crate::system::System;

    fn measured(system: System, values: &[f64], failure: Option<&str>) -> SubjectResult {
        let mut subject = subject(system, values, failure);
        for round in &mut subject.rounds {
            let cdf = [0.0, 0.5, 0.99, 1.0].map(|part| CdfPoint { part, us: round.sample.value * (1.0 + part) }).to_vec();
            let us = round.sample.value;
            round.sample.latency = Some(Latency { count: 4, min_us: us, p50_us: us, p99_us: us, p99_9_us: us, max_us: us, cdf });
            round.sample.curve = Some(Curve { of: "ports".into(), points: [2.0, 8.0, 64.0].map(|n| (n, us / n)).to_vec() });
        }
        subject
    }

    #[test]
    fn each_thing_measured_has_its_plot_and_a_failure_no_line() {
        let report = report(vec![measured(System::Bare, &[20.0, 10.0], None), measured(System::Vswitch, &[19.0, 9.0], Some("it broke"))]);
        let plots = report.plots();
        let files: Vec<_> = plots.iter().map(|plot| plot.file.as_str()).collect();
        assert_eq!(files, ["tap-tcp.svg", "tap-tcp-latency.svg", "tap-tcp-curve.svg"]);
        assert!(plots[0].svg.contains("failed: it broke"), "{}", plots[0].svg);
        for plot in &plots[1..] {
            assert!(plot.svg.contains("bare") && !plot.svg.contains("vswitch"), "{}", plot.svg);
            assert_eq!(plot.svg.matches("<polyline").count(), 1);
        }
        let without = super::super::test::report(vec![subject(System::Bare, &[1.0], None)]).plots();
        assert_eq!(without.len(), 1);
    }

    #[test]
    fn a_report_is_written_whole() {
        let report = report(vec![measured(System::Bare, &[20.0, 10.0], None)]);
        let directory = tempfile::tempdir().unwrap();
        let into = directory.path().join("a/b");
        report.write(&into, Some(&crate::comparison::Comparison::of(&report, &report))).unwrap();
        let page = std::fs::read_to_string(into.join("report.md")).unwrap();
        assert!(page.contains("## Changes"), "{page}");
        for plot in report.plots() {
            assert!(page.contains(&format!("({})", plot.file)));
            assert_eq!(std::fs::read_to_string(into.join(&plot.file)).unwrap(), plot.svg);
        }
        let back = Report::read(&into.join("report.json")).unwrap();
        assert_eq!(back.plots(), report.plots());
        let error = Report::read(&into.join("report.md")).unwrap_err().to_string();
        assert!(error.contains("not the results"), "{error}");
    }
}
