//! Measures vswitchd beside its peers. See `benches/README.md`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use benches::bare_loop::{self, Fault, PortAt};
use benches::comparison::Comparison;
use benches::cores::Cores;
use benches::machine::Machine;
use benches::report::{Report, SubjectResult, warn};
use benches::runner::{self, Plan};
use benches::scenario::{Pattern, Scenario, Settings, Subject};
use benches::system::{Programs, System};
use benches::{interrupt, lab};
use clap::{Parser, Subcommand, ValueEnum as _};

/// Measures vswitchd beside a bare loop, the Linux bridge, Open vSwitch (AF_PACKET, AF_XDP, DPDK), testpmd and vde_switch, in
/// network namespaces of its own.
///
/// Systems take turns, and what counts are the ratios within a round. A peer that is not installed is reported as absent, with
/// the Debian package that has it.
#[derive(Debug, Parser)]
#[command(name = "vswitch-bench", version, args_conflicts_with_subcommands = true)]
struct Cli {
    /// About 2 minutes: the main scenarios, 2 rounds of 1 s
    #[arg(long)]
    quick: bool,
    /// Show the scenarios, and end
    #[arg(long)]
    list: bool,
    /// Only these scenarios; a * at the end stands for anything (tap-*)
    #[arg(long, value_name = "SCENARIO", value_delimiter = ',')]
    only: Vec<Pattern>,
    /// Only these systems; one that is absent is then a failure
    #[arg(long, value_name = "SYSTEM", value_delimiter = ',')]
    systems: Vec<System>,
    /// Rounds [default: 3, or 2 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Seconds to measure in each round [default: 3, or 1 with --quick]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: Option<u64>,
    /// Write everything, with every round, to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write report.json, report.md and a plot (SVG) of each figure into this directory
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Show what changed since the run whose JSON this is
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Measure nothing: take the results of the run whose JSON this is
    #[arg(long, value_name = "FILE", conflicts_with_all = ["quick", "only", "systems", "rounds", "seconds", "vswitchd", "cores"])]
    results: Option<PathBuf>,
    /// Print the results as Markdown instead of tables for a terminal
    #[arg(long)]
    markdown: bool,
    /// The daemon to measure [default: vswitchd beside this program]
    #[arg(long, value_name = "PATH")]
    vswitchd: Option<PathBuf>,
    /// Cores for sender, receiver and switch in every scenario, as CLIENT,SERVER,SWITCH; "any" leaves the choice to the
    /// scheduler [default: by scenario and number of cores]
    #[arg(long, value_name = "CORES")]
    cores: Option<Cores>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// Parts that the harness runs as processes of their own.
#[derive(Debug, Subcommand)]
enum Part {
    /// Forward frames between two ports, with nothing between
    BareLoop {
        /// One port: tap:NAMESPACE:INTERFACE, a TAP to make, or packet:INTERFACE, through AF_PACKET
        a: PortAt,
        /// The other, of the same kind
        b: PortAt,
        /// How long to look for frames without sleeping after the last one
        #[arg(long, default_value_t = 0)]
        spin_nanos: u64,
        /// Time to waste on each frame
        #[arg(long, default_value_t = 0)]
        delay_nanos: u64,
        /// Lose every how many-th frame; 0: none
        #[arg(long, default_value_t = 0)]
        drop_every: u64,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.part {
        Some(Part::BareLoop { a, b, spin_nanos, delay_nanos, drop_every }) => {
            let fault = Fault { delay: Duration::from_nanos(*delay_nanos), drop_every: *drop_every };
            bare_loop::run(a, b, Duration::from_nanos(*spin_nanos), fault).map(|never| match never {})
        }
        None if cli.list => {
            list();
            Ok(ExitCode::SUCCESS)
        }
        None => measure_and_report(&cli),
    };
    result.unwrap_or_else(|error| {
        warn(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

#[expect(clippy::print_stdout, reason = "the result")]
fn list() {
    for scenario in Scenario::all() {
        let subjects: Vec<_> = scenario.subjects().iter().map(Subject::to_string).collect();
        let quick = if scenario.is_quick() { " (quick)" } else { "" };
        println!("{scenario:<24} {}{quick}: {}", scenario.about(), subjects.join(", "));
    }
}

/// Succeeds when every figure that was asked for is there, whether targets are reached or not.
#[expect(clippy::print_stdout, reason = "the result")]
fn measure_and_report(cli: &Cli) -> anyhow::Result<ExitCode> {
    // Found out before hours of measuring, not after.
    let old = cli.compare.as_deref().map(Report::read).transpose()?;
    let json =
        cli.json.as_ref().map(|path| std::fs::File::create(path).with_context(|| format!("create {}", path.display()))).transpose()?;
    if let Some(directory) = &cli.report {
        std::fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    }
    let report = match &cli.results {
        Some(path) => Report::read(path)?,
        None => measure(cli)?,
    };
    let comparison = old.map(|old| Comparison::of(&old, &report));
    if let Some(file) = json {
        serde_json::to_writer_pretty(file, &report).context("write the JSON")?;
    }
    if let Some(directory) = &cli.report {
        report.write(directory, comparison.as_ref())?;
    }
    print!("{}", if cli.markdown { report.markdown() } else { report.text() });
    if let Some(comparison) = comparison {
        print!("\n{}", if cli.markdown { comparison.markdown() } else { comparison.text() });
    }
    // An absent peer is no failure unless it was asked for by name.
    let is_missing = |subject: &SubjectResult| subject.summary.is_none() && !(subject.is_absent && cli.systems.is_empty());
    let failed = interrupt::came() || report.scenarios.iter().flat_map(|scenario| &scenario.subjects).any(is_missing);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn measure(cli: &Cli) -> anyhow::Result<Report> {
    interrupt::install().context("handle signals")?;
    let bench = std::env::current_exe().context("find this program")?;
    let vswitchd = cli.vswitchd.clone().unwrap_or_else(|| bench.with_file_name("vswitchd"));
    let (rounds, seconds) = if cli.quick { (2, 1) } else { (3, 3) };
    let span = Duration::from_secs(cli.seconds.unwrap_or(seconds));
    let or_all = |chosen: &[System]| if chosen.is_empty() { System::value_variants().to_vec() } else { chosen.to_vec() };
    let plan = Plan {
        scenarios: match cli.only.is_empty() {
            true => Scenario::all().filter(|scenario| scenario.is_quick() || !cli.quick).collect(),
            false => cli.only.iter().flat_map(|Pattern(scenarios)| scenarios).copied().collect(),
        },
        systems: or_all(&cli.systems),
        rounds: cli.rounds.unwrap_or(rounds),
        settings: Settings { span, programs: Programs { bench, vswitchd: vswitchd.clone() }, cores: cli.cores },
    };
    lab::remove_leftovers()?;
    let mut report = Report {
        command: std::env::args().collect(),
        machine: Machine::here(&vswitchd),
        systems: plan.systems.iter().map(|system| (system.to_string(), described(*system, &plan.settings.programs))).collect(),
        configurations: Vec::new(),
        seconds: span.as_secs_f64(),
        scenarios: Vec::new(),
    };
    if cfg!(debug_assertions) {
        warn("this is a debug build: the figures mean nothing; use cargo run --release, or ./run bench");
    }
    runner::run(&plan, &mut report);
    Ok(report)
}

/// How a system is set up, with its version or why it is absent.
fn described(system: System, programs: &Programs) -> String {
    match system.lacking() {
        Some(lacking) => lacking,
        None => match system.version(programs).as_str() {
            "" => system.setting().into(),
            version => format!("{} [{version}]", system.setting()),
        },
    }
}
