//! What changed between two runs.
//!
//! Two runs are two moments of a machine: absolute figures move with its load. So the ratios to the baseline of the same round
//! are compared beside the figures themselves, and a change is called one only where the ranges of all rounds do not overlap.

use comfy_table::{CellAlignment, Table, presets};

use crate::report::{Report, SubjectResult, number};
use crate::scenario::Better;
use crate::stats::Summary;

/// How a figure moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The ranges of the rounds overlap: noise, as far as anyone can tell.
    Same,
    /// All rounds are better than all before.
    Better,
    /// All rounds are worse than all before.
    Worse,
    /// All rounds differ from all before, in a figure that is neither good nor bad.
    Other,
}

/// One figure in both runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Name of the scenario.
    pub scenario: String,
    /// Who was measured.
    pub subject: String,
    /// Which figure, with its unit.
    pub metric: String,
    /// Before; none where it was not measured.
    pub old: Option<Summary>,
    /// Now; none where it was not measured.
    pub new: Option<Summary>,
    /// What that means.
    pub verdict: Verdict,
}

/// All figures that are in either of two runs, details only where they changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The figures, in the order of the new run.
    pub changes: Vec<Change>,
    /// What makes the runs hard to compare.
    pub notes: Vec<String>,
}

fn verdict(old: &Summary, new: &Summary, better: Option<Better>) -> Verdict {
    let (above, below) = (new.min > old.max, new.max < old.min);
    match (above, below, better) {
        (false, false, _) => Verdict::Same,
        (_, _, None) => Verdict::Other,
        (true, _, Some(Better::Higher)) | (_, true, Some(Better::Lower)) => Verdict::Better,
        _ => Verdict::Worse,
    }
}

impl Comparison {
    /// Compares.
    pub fn of(old: &Report, new: &Report) -> Comparison {
        let mut changes = Vec::new();
        for result in &new.scenarios {
            let before = old.scenarios.iter().find(|before| before.scenario == result.scenario);
            for subject in &result.subjects {
                let before = before.and_then(|before| before.subjects.iter().find(|before| before.subject == subject.subject));
                let mut change = |metric: &str, old: Option<Summary>, new: Option<Summary>, better, always| {
                    let verdict = old.zip(new).map_or(Verdict::Same, |(old, new)| verdict(&old, &new, better));
                    if (old.is_some() || new.is_some()) && (always || verdict != Verdict::Same) {
                        let (scenario, subject) = (result.scenario.to_string(), subject.subject.to_string());
                        changes.push(Change { scenario, subject, metric: metric.into(), old, new, verdict });
                    }
                };
                let better = Some(result.better);
                change(&result.unit, before.and_then(|before| before.summary), subject.summary, better, true);
                if subject.subject != result.subjects[0].subject {
                    change("ratio to the first", before.and_then(|before| before.ratio), subject.ratio, better, true);
                }
                for name in details(subject) {
                    change(&name, before.and_then(|before| before.detail(&name)), subject.detail(&name), None, false);
                }
            }
        }
        Comparison { changes, notes: notes(old, new) }
    }

    /// As a table of plain text.
    pub fn text(&self) -> String {
        self.render(presets::UTF8_FULL_CONDENSED, "NOTE: ")
    }

    /// As Markdown.
    pub fn markdown(&self) -> String {
        self.render(presets::ASCII_MARKDOWN, "Note: ")
    }

    fn render(&self, preset: comfy_table::TableStyle, note: &str) -> String {
        let mut table = Table::new();
        table.load_style(preset).set_header([
            "scenario",
            "system",
            "figure",
            "before (min to max)",
            "now (min to max)",
            "now / before",
            "",
        ]);
        for Change { scenario, subject, metric, old, new, verdict } in &self.changes {
            let range = |summary: &Option<Summary>| match summary {
                Some(Summary { median, min, max }) => format!("{} ({} to {})", number(*median), number(*min), number(*max)),
                None => "not measured".into(),
            };
            let ratio = old.zip(*new).filter(|(old, _)| old.median != 0.0).map(|(old, new)| format!("{:.2} x", new.median / old.median));
            let verdict = match verdict {
                Verdict::Same => "",
                Verdict::Better => "BETTER",
                Verdict::Worse => "WORSE",
                Verdict::Other => "changed",
            };
            table.add_row([scenario, subject, metric, &range(old), &range(new), &ratio.unwrap_or_default(), verdict]);
        }
        if let Some(column) = table.column_mut(5) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        let notes: String = self.notes.iter().map(|text| format!("\n{note}{text}\n")).collect();
        format!("{table}\n{notes}")
    }
}

/// Names of the details of a subject.
fn details(subject: &SubjectResult) -> Vec<String> {
    subject.rounds.first().map(|round| round.sample.details.keys().cloned().collect()).unwrap_or_default()
}

fn notes(old: &Report, new: &Report) -> Vec<String> {
    let mut notes = Vec::new();
    for (what, old, new) in [
        ("kernel", &old.machine.kernel, &new.machine.kernel),
        ("processor", &old.machine.cpu, &new.machine.cpu),
        ("build", &old.machine.profile, &new.machine.profile),
    ] {
        if old != new {
            notes.push(format!("another {what}: {old} before, {new} now"));
        }
    }
    if old.machine.cores.len() != new.machine.cores.len() {
        notes.push(format!("{} cores before, {} now", old.machine.cores.len(), new.machine.cores.len()));
    }
    for scenario in old.scenarios.iter().filter(|before| !new.scenarios.iter().any(|now| now.scenario == before.scenario)) {
        notes.push(format!("{} was measured before and is not now", scenario.scenario));
    }
    let rounds = |report: &Report| {
        let subjects = report.scenarios.iter().flat_map(|scenario| &scenario.subjects).filter(|subject| subject.summary.is_some());
        subjects.map(|subject| subject.rounds.len()).min()
    };
    if [old, new].iter().any(|report| rounds(report).is_some_and(|rounds| rounds < 3)) {
        notes.push("fewer than 3 rounds: their range says little".into());
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::test::{report, subject};
    use crate::system::System;

    fn changes(old: &[f64], new: &[f64]) -> Comparison {
        let run = |values: &[f64]| report(vec![subject(System::Bare, &[10.0, 10.0, 10.0], None), subject(System::Vswitch, values, None)]);
        Comparison::of(&run(old), &run(new))
    }

    #[test]
    fn only_ranges_apart_are_a_change() {
        for (new, expected) in [
            ([9.0, 10.0, 11.0], Verdict::Same),
            ([10.9, 12.0, 13.0], Verdict::Same),
            ([11.1, 12.0, 13.0], Verdict::Better),
            ([7.0, 8.0, 8.9], Verdict::Worse),
        ] {
            let comparison = changes(&[9.0, 10.0, 11.0], &new);
            let verdicts: Vec<_> = comparison.changes.iter().map(|change| (change.subject.as_str(), change.verdict)).collect();
            // The figure, and its ratio to the first.
            assert_eq!(verdicts, [("bare", Verdict::Same), ("vswitch", expected), ("vswitch", expected)], "{new:?}");
        }
        let text = changes(&[10.0, 10.0, 10.0], &[12.0, 12.0, 12.0]).text();
        assert!(text.contains("BETTER") && text.contains("1.20 x"), "{text}");
    }

    #[test]
    fn what_one_run_lacks_is_said_and_shows_no_figure() {
        let old = report(vec![subject(System::Bare, &[10.0, 777.0], Some("broken"))]);
        let mut new = report(vec![subject(System::Bare, &[10.0, 10.0], None)]);
        new.machine.kernel = "another".into();
        let comparison = Comparison::of(&old, &new);
        assert_eq!(comparison.changes[0].old, None);
        for text in [comparison.text(), comparison.markdown()] {
            assert!(text.contains("not measured") && !text.contains("777"), "{text}");
            assert!(text.contains("another kernel") && text.contains("fewer than 3 rounds"), "{text}");
        }
        let nothing = report(Vec::new());
        let gone = Comparison::of(&old, &crate::report::Report { scenarios: Vec::new(), ..nothing });
        assert!(gone.text().contains("was measured before and is not now"), "{}", gone.text());
    }
}
