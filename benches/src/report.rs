//! The results: as JSON with every round, as a table on the terminal, as Markdown, with plots.
//!
//! A subject that failed in any round has no summary, so no figure of it can be printed.

mod plots;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

use comfy_table::{CellAlignment, Table, TableStyle, presets};
use serde::{Deserialize, Serialize};

use crate::comparison::Comparison;
use crate::cores::Cores;
use crate::machine::Machine;
use crate::scenario::{Better, Sample, Scenario, Subject, Target};
use crate::stats::{Summary, ratios};

pub use plots::Plot;

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The command line that made it.
    pub command: Vec<String>,
    /// What it ran on.
    pub machine: Machine,
    /// How each system was set up, by its name, with its version.
    pub systems: BTreeMap<String, String>,
    /// The same in full: files and commands.
    #[serde(default)]
    pub configurations: Vec<Configuration>,
    /// Seconds each round measured.
    pub seconds: f64,
    /// What was found, in the order of the run.
    pub scenarios: Vec<ScenarioResult>,
}

/// Files and commands that set up a system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Configuration {
    /// Which.
    pub subject: Subject,
    /// Where it was set up like that.
    pub scenarios: Vec<Scenario>,
    /// One file or command each. `$DIR` is the directory of the round, `client` and `servers` are namespaces.
    pub lines: Vec<String>,
}

impl Configuration {
    /// Adds one to `list`, once.
    pub fn note(list: &mut Vec<Configuration>, subject: Subject, scenario: Scenario, lines: Vec<String>) {
        if lines.is_empty() {
            return;
        }
        match list.iter_mut().find(|known| known.subject == subject && known.lines == lines) {
            Some(known) if known.scenarios.contains(&scenario) => {}
            Some(known) => known.scenarios.push(scenario),
            None => list.push(Configuration { subject, scenarios: vec![scenario], lines }),
        }
    }
}

/// What one scenario found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScenarioResult {
    /// Which.
    pub scenario: Scenario,
    /// Unit of the figures.
    pub unit: String,
    /// Which figures are good.
    pub better: Better,
    /// Which core did what, where that was chosen.
    pub cores: Option<Cores>,
    /// By subject; ratios are to the first.
    pub subjects: Vec<SubjectResult>,
}

/// What one subject of a scenario did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SubjectResult {
    /// Who.
    pub subject: Subject,
    /// Every round that did not fail.
    pub rounds: Vec<Round>,
    /// Median and range over all rounds; none when one failed.
    pub summary: Option<Summary>,
    /// The same of the ratios, round by round, to the first subject.
    pub ratio: Option<Summary>,
    /// Why there is no figure.
    pub failure: Option<String>,
    /// Whether the reason is that it is not installed, or was built without what the scenario needs.
    #[serde(default)]
    pub is_absent: bool,
}

/// One round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Round {
    /// Counted from 1.
    pub round: u32,
    /// What it found.
    #[serde(flatten)]
    pub sample: Sample,
}

impl SubjectResult {
    /// Without rounds yet.
    pub fn new(subject: Subject) -> SubjectResult {
        SubjectResult { subject, rounds: Vec::new(), summary: None, ratio: None, failure: None, is_absent: false }
    }

    /// The figures of all rounds, or nothing if one failed.
    fn values(&self) -> Option<Vec<f64>> {
        (self.failure.is_none() && !self.rounds.is_empty()).then(|| self.rounds.iter().map(|round| round.sample.value).collect())
    }

    /// Median and range of a detail that every round has; none when one failed.
    pub fn detail(&self, name: &str) -> Option<Summary> {
        self.values()?;
        let values: Option<Vec<f64>> = self.rounds.iter().map(|round| round.sample.details.get(name).copied()).collect();
        Summary::of(&values?)
    }

    fn details(&self) -> String {
        let Some(first) = self.rounds.first().filter(|_| self.failure.is_none()) else { return String::new() };
        let names = first.sample.details.keys();
        names.filter_map(|name| Some(format!("{name} {}", number(self.detail(name)?.median)))).collect::<Vec<_>>().join(", ")
    }
}

impl ScenarioResult {
    /// Sums up the rounds.
    pub fn new(scenario: Scenario, cores: Option<Cores>, mut subjects: Vec<SubjectResult>) -> ScenarioResult {
        let baseline = subjects.first().and_then(SubjectResult::values);
        for subject in &mut subjects {
            let Some(values) = subject.values() else { continue };
            subject.summary = Summary::of(&values);
            subject.ratio = baseline.as_ref().and_then(|baseline| ratios(&values, baseline));
        }
        let (unit, better) = scenario.unit();
        ScenarioResult { scenario, unit: unit.into(), better, cores, subjects }
    }

    fn subject(&self, subject: Subject) -> Option<&SubjectResult> {
        self.subjects.iter().find(|result| result.subject == subject)
    }

    /// The figure that `target` is about, if all of it was measured.
    pub fn figure(&self, target: &Target) -> Option<Summary> {
        let subject = self.subject(target.subject)?;
        match (target.baseline, target.detail) {
            (None, None) => subject.summary,
            (None, Some(name)) => subject.detail(name),
            (Some(baseline), _) => ratios(&subject.values()?, &self.subject(baseline)?.values()?),
        }
    }

    /// Whether `figure` is what `target` asks for.
    pub fn reaches(&self, target: &Target, figure: &Summary) -> bool {
        match self.better {
            Better::Higher => figure.median >= target.bound,
            Better::Lower => figure.median <= target.bound,
        }
    }
}

impl Report {
    /// Reads the JSON of an earlier run.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is not such JSON.
    pub fn read(path: &Path) -> anyhow::Result<Report> {
        let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{}: not the results of this version of vswitch-bench", path.display()))
    }

    /// Writes everything into `directory`: `report.json`, `report.md` and the plots that it shows, one SVG file each.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub fn write(&self, directory: &Path, comparison: Option<&Comparison>) -> anyhow::Result<()> {
        let write = |name: &str, text: &str| {
            let path = directory.join(name);
            fs::write(&path, text).with_context(|| format!("write {}", path.display()))
        };
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
        write("report.json", &serde_json::to_string_pretty(self).context("write the JSON")?)?;
        let mut page = format!("# Benchmarks of the vswitch\n\n{}", self.markdown());
        if let Some(comparison) = comparison {
            page += &format!("\n## Changes\n\n{}", comparison.markdown());
        }
        page += "\n## Plots\n";
        for Plot { file, title, svg } in self.plots() {
            write(&file, &svg)?;
            page += &format!("\n![{title}]({file})\n");
        }
        write("report.md", &page)
    }

    /// The results as tables of plain text.
    pub fn text(&self) -> String {
        let mut text = format!("\n{}", self.table(presets::UTF8_FULL_CONDENSED));
        if self.has_targets() {
            text += &format!("\n\n{}", self.targets(presets::UTF8_FULL_CONDENSED));
        }
        text += &format!("\n\n{}", self.settings().join("\n"));
        text + &self.warnings().iter().map(|warning| format!("\n\nNOTE: {warning}")).collect::<String>() + "\n"
    }

    /// The results as Markdown, for `benches/README.md`.
    pub fn markdown(&self) -> String {
        let Machine { kernel, cpu, cores, commit, profile, iperf3, .. } = &self.machine;
        let mut text = format!(
            "Commit {commit} ({profile}), {cpu}, {} cores, Linux {kernel}, {iperf3}; {} s a round.\n\nCommand: `{}`\n\n",
            cores.len(),
            self.seconds,
            self.command.join(" ")
        );
        if self.has_targets() {
            text += &format!("{}\n\n", self.targets(presets::ASCII_MARKDOWN));
        }
        text += &format!("{}\n\n", self.table(presets::ASCII_MARKDOWN));
        text += &self.settings().iter().map(|line| format!("- {line}\n")).collect::<String>();
        text += &self.warnings().iter().map(|warning| format!("\nNote: {warning}\n")).collect::<String>();
        text + &self.configurations()
    }

    /// Files and commands that set up the systems, as Markdown.
    fn configurations(&self) -> String {
        let mut text = String::new();
        for Configuration { subject, scenarios, lines } in &self.configurations {
            let scenarios = scenarios.iter().map(Scenario::to_string).collect::<Vec<_>>().join(", ");
            text += &format!("\n{subject} in {scenarios}:\n\n```\n{}\n```\n", lines.join("\n").trim_end());
        }
        text
    }

    /// How systems were set up, and which core did what.
    fn settings(&self) -> Vec<String> {
        let systems = self.systems.iter().map(|(name, setting)| format!("{name}: {setting}"));
        let core = |core: Option<u16>| core.map_or_else(|| "any".to_owned(), |core| core.to_string());
        let placements = self.scenarios.iter().filter_map(|result| {
            let Cores { client, server, switch } = result.cores?;
            Some(format!("{}: client on core {}, server on {}, switch on {}", result.scenario, core(client), core(server), core(switch)))
        });
        systems.chain(placements).collect()
    }

    /// What makes the figures worth less.
    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.machine.profile != "release" {
            warnings.push("this is a debug build: the figures mean nothing".into());
        }
        if self.machine.load > 0.5 {
            warnings.push(format!("the machine was busy with other things when the run began (load average {})", self.machine.load));
        }
        warnings
    }

    fn has_targets(&self) -> bool {
        self.scenarios.iter().any(|scenario| !scenario.scenario.targets().is_empty())
    }

    fn table(&self, preset: TableStyle) -> Table {
        let mut table = Table::new();
        table.load_style(preset).set_header([
            "scenario",
            "system",
            "median",
            "min",
            "max",
            "unit",
            "ratio to the first (min to max)",
            "also",
        ]);
        for result in &self.scenarios {
            for subject in &result.subjects {
                let (name, who) = (result.scenario.to_string(), subject.subject.to_string());
                match (&subject.summary, &subject.failure) {
                    (Some(summary), _) => {
                        let ratio = subject.ratio.as_ref().map_or_else(String::new, ratio_text);
                        let [median, min, max] = [summary.median, summary.min, summary.max].map(number);
                        table.add_row([name, who, median, min, max, result.unit.clone(), ratio, subject.details()]);
                    }
                    (None, failure) => {
                        let failure = failure.as_deref().unwrap_or("no round").replace('\n', " ");
                        let figure = if subject.is_absent { "absent" } else { "failed" };
                        table.add_row([name, who, figure.into(), String::new(), String::new(), String::new(), String::new(), failure]);
                    }
                }
            }
        }
        for column in 2..5 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table
    }

    fn targets(&self, preset: TableStyle) -> Table {
        let mut table = Table::new();
        table.load_style(preset).set_header(["what", "measured (min to max)", "target", "reached"]);
        for result in &self.scenarios {
            for target in result.scenario.targets() {
                let factor = if target.baseline.is_some() { " x" } else { "" };
                let least = match result.better {
                    Better::Higher => "at least",
                    Better::Lower => "at most",
                };
                let bound = format!("{least} {}{factor}", target.bound);
                let (measured, reached) = match result.figure(target) {
                    Some(figure) if target.baseline.is_some() => (ratio_text(&figure), result.reaches(target, &figure)),
                    Some(figure) => (range_text(&figure, ""), result.reaches(target, &figure)),
                    None => ("not measured".into(), false),
                };
                let reached = if measured == "not measured" {
                    ""
                } else if reached {
                    "yes"
                } else {
                    "no"
                };
                table.add_row([target.what, &measured, &bound, reached]);
            }
        }
        table
    }
}

fn ratio_text(summary: &Summary) -> String {
    range_text(summary, " x")
}

fn range_text(summary: &Summary, factor: &str) -> String {
    format!("{:.2}{factor} ({:.2} to {:.2})", summary.median, summary.min, summary.max)
}

/// Three digits that count, without exponent.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

/// Says on standard error how far the run is.
#[expect(clippy::print_stderr, reason = "that is where progress goes")]
pub fn progress(text: &str) {
    eprintln!("  {text}");
}

/// Says on standard error what went wrong.
#[expect(clippy::print_stderr, reason = "that is where warnings go")]
pub fn warn(text: &str) {
    eprintln!("warning: {text}");
}

/// Reports to test with.
#[cfg(test)]
pub(crate) mod test {
    use super::*;
    use crate::system::System;

    pub(crate) fn subject(system: System, values: &[f64], failure: Option<&str>) -> SubjectResult {
        let rounds = values.iter().enumerate().map(|(i, value)| Round { round: i as u32 + 1, sample: Sample::new(*value) }).collect();
        SubjectResult { rounds, failure: failure.map(Into::into), ..SubjectResult::new(Subject::System(system)) }
    }

    pub(crate) fn report(subjects: Vec<SubjectResult>) -> Report {
        Report {
            command: vec!["bench".into()],
            machine: Machine::here(std::path::Path::new("/nonexistent")),
            systems: BTreeMap::new(),
            seconds: 1.0,
            configurations: Vec::new(),
            scenarios: vec![ScenarioResult::new(Scenario::named("tap-tcp").unwrap(), None, subjects)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::test::{report, subject};
    use super::*;
    use crate::system::System;

    #[test]
    fn what_failed_shows_no_figure() {
        let report = report(vec![
            subject(System::Bare, &[20.0, 10.0, 30.0], None),
            subject(System::Bridge, &[777.0, 778.0], Some("the client ended")),
            subject(System::Vswitch, &[19.0, 9.5, 30.0], None),
        ]);
        for text in [report.text(), report.markdown()] {
            assert!(!text.contains("777") && !text.contains("778"), "{text}");
            assert!(text.contains("the client ended") && text.contains("not measured"), "{text}");
            assert!(text.contains("0.95 x (0.95 to 1.00)"), "{text}");
        }
        let json = serde_json::to_string(&report).unwrap();
        let back: Report = serde_json::from_str(&json).unwrap();
        assert_eq!(back.scenarios[0].subjects[1].summary, None);
        assert_eq!(back.scenarios[0].subjects[1].rounds.len(), 2, "every round is in the JSON");
    }

    #[test]
    fn a_system_that_is_not_installed_is_no_failure_and_has_no_figure() {
        let absent =
            SubjectResult { is_absent: true, ..subject(System::Vde, &[], Some("not installed: vde_switch (apt-get install vde2)")) };
        let report = report(vec![subject(System::Bare, &[20.0], None), absent]);
        for text in [report.text(), report.markdown()] {
            assert!(text.contains("absent") && text.contains("apt-get install vde2") && !text.contains("failed"), "{text}");
        }
    }

    #[test]
    fn equal_configurations_are_shown_once() {
        let (bare, [tcp, small]) = (Subject::System(System::Bare), ["tap-tcp", "tap-64"].map(|name| Scenario::named(name).unwrap()));
        let mut list = Vec::new();
        for (scenario, line) in [(tcp, "a"), (tcp, "a"), (small, "a"), (small, "b")] {
            Configuration::note(&mut list, bare, scenario, vec![line.into()]);
        }
        let seen: Vec<_> = list.iter().map(|configuration| (configuration.scenarios.clone(), configuration.lines[0].as_str())).collect();
        assert_eq!(seen, [(vec![tcp, small], "a"), (vec![small], "b")]);
        let report = Report { configurations: list, ..report(Vec::new()) };
        assert!(report.markdown().contains("bare in tap-tcp, tap-64:\n\n```\na\n```\n"), "{}", report.markdown());
    }

    #[test]
    fn a_target_is_reached_by_the_median_of_the_ratios() {
        let report = report(vec![subject(System::Bare, &[20.0, 10.0, 30.0], None), subject(System::Vswitch, &[19.0, 9.0, 30.0], None)]);
        let result = &report.scenarios[0];
        let target = &result.scenario.targets()[0];
        let figure = result.figure(target).unwrap();
        assert!((figure.median - 0.95).abs() < 1e-9 && result.reaches(target, &figure));
        let worse = Summary { median: 0.94, ..figure };
        assert!(!result.reaches(target, &worse));
    }

    #[test]
    fn numbers_have_three_digits_that_count() {
        assert_eq!([0.0, 0.1234, 1.234, 12.34, 123.4, 12345.6].map(number), ["0", "0.123", "1.23", "12.3", "123", "12346"]);
    }
}
