//! Counts instructions per frame under callgrind, and compares with `benches/instructions.toml`. See `benches/README.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};
use benches::instructions::{Baseline, Change, measured};
use benches::lab::first_line_of;
use benches::report::{progress, warn};
use benches::workload::{Case, Workload};
use clap::{Parser, Subcommand};
use comfy_table::{CellAlignment, Table, presets};

/// The function that is counted, as callgrind names it.
const MEASURED: &str = "benches::instructions::measured";
/// Frames that are not counted, so that everything is warm, and as many of the first count.
const SHORT: u64 = 1_024;
/// Frames that the second count has more, a multiple of the number of flows.
const MORE: u64 = 8_192;
/// How often a count that is too high is taken again.
const AGAIN: usize = 4;
/// The most instructions the pipeline may take for a frame: `Case::TARGET` without the filling.
const TARGET: f64 = 250.0;
/// The most for a packet of an established flow through a router that masquerades: `Case::ROUTED` without the filling.
const ROUTED: f64 = 450.0;

/// Counts instructions per frame under callgrind, and fails when there are over 3 % more than the counts kept.
#[derive(Debug, Parser)]
#[command(name = "vswitch-instructions", version, args_conflicts_with_subcommands = true)]
struct Cli {
    /// Only these cases, such as pipeline/32/many, or all whose name begins so
    #[arg(long, value_name = "CASE", value_delimiter = ',')]
    only: Vec<String>,
    /// Write the counts to the file instead of comparing
    #[arg(long)]
    update: bool,
    /// The counts to compare with
    #[arg(long, value_name = "FILE", default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/instructions.toml"))]
    baseline: PathBuf,
    /// Keep the profiles in this directory, to be read with callgrind_annotate
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    #[command(subcommand)]
    part: Option<Part>,
}

/// What runs under callgrind.
#[derive(Debug, Subcommand)]
enum Part {
    /// Do the work of one case
    Work {
        /// The case
        case: Case,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.part {
        Some(Part::Work { case }) => work(*case),
        None => count_all(&cli),
    };
    result.unwrap_or_else(|error| {
        warn(&format!("{error:#}"));
        ExitCode::FAILURE
    })
}

fn work(case: Case) -> anyhow::Result<ExitCode> {
    let mut workload = Workload::new(case).map_err(anyhow::Error::msg)?;
    let (short, more) = (case.turns(SHORT), case.turns(MORE));
    workload.prepare(short);
    (0..short).for_each(|_| workload.turn());
    for turns in [short, short + more] {
        workload.prepare(turns);
        measured(&mut workload, turns);
    }
    workload.check(3 * short + more).map_err(anyhow::Error::msg)?;
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "the result")]
fn count_all(cli: &Cli) -> anyhow::Result<ExitCode> {
    if cfg!(debug_assertions) {
        bail!("this is a debug build, whose instructions say nothing: use cargo run --release, or ./run instructions");
    }
    let is_chosen = |case: &Case| cli.only.is_empty() || cli.only.iter().any(|only| case.to_string().starts_with(only.as_str()));
    let chosen: Vec<Case> = Case::all().into_iter().filter(is_chosen).collect();
    if chosen.is_empty() {
        bail!("no case is named {}", cli.only.join(" or "));
    }
    let temporary = tempfile::tempdir().context("make a directory for profiles")?;
    let directory = cli.keep.as_deref().unwrap_or(temporary.path());
    fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    // The filling and what a case is compared with are needed for the table, whether asked for or not.
    let without_bond = |case: &Case| case.work.without_bond().map(|work| Case { work, ..*case });
    let mut needed: Vec<Case> = chosen.iter().flat_map(|case| [Some(*case), case.filling(), without_bond(case)]).flatten().collect();
    needed.sort();
    needed.dedup();
    let mut counts = BTreeMap::new();
    for case in needed {
        progress(&case.to_string());
        counts.insert(case, count(case, directory)?);
    }

    let mut kept = read(&cli.baseline, cli.update)?;
    let rustc = first_line_of("rustc", &["--version"]);
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header([
        "work/burst/flows",
        "instructions/frame",
        "without filling",
        "kept",
        "change",
    ]);
    (1..4).filter_map(|i| table.column_mut(i).map(|c| c.set_cell_alignment(CellAlignment::Right))).count();
    let mut bad = Vec::new();
    for case in &chosen {
        let count = fewest(*case, &mut counts, &kept, directory)?;
        let net = case.filling().map(|filling| count - counts[&filling]);
        let change = match kept.compare(*case, count) {
            Change::Worse(more) => {
                bad.push(format!("{case} takes {more:.1} % more instructions than before"));
                format!("+{more:.1} % WORSE")
            }
            Change::Same(more) => format!("{more:+.1} %"),
            Change::Better(fewer) => format!("-{fewer:.1} %: keep it with --update"),
            Change::Unknown => {
                bad.push(format!("{case}: no count is kept; write it with --update"));
                "new".into()
            }
        };
        let before = kept.instructions_per_frame.get(&case.to_string()).map_or_else(String::new, |count| format!("{count:.1}"));
        table.add_row([case.to_string(), format!("{count:.1}"), net.map_or_else(String::new, |net| format!("{net:.1}")), before, change]);
    }
    println!("{table}");
    if let (Some(count), Some(filling)) = (counts.get(&Case::TARGET), Case::TARGET.filling().and_then(|case| counts.get(&case))) {
        let net = count - filling;
        let verdict = if net < TARGET { "reached" } else { "NOT reached" };
        println!(
            "pipeline, parse to verdict, FDB hit ({}): {net:.0} instructions a frame; target: under {TARGET}: {verdict}",
            Case::TARGET
        );
    }
    for (case, target) in Case::SELECTIONS {
        if let (Some(count), Some(without)) = (counts.get(&case), without_bond(&case).and_then(|case| counts.get(&case))) {
            let more = count - without;
            let verdict = if more < target { "reached" } else { "NOT reached" };
            println!("choice of a bond member ({case}): {more:.0} instructions a frame; target: under {target}: {verdict}");
        }
    }
    for case in Case::ROUTED {
        if let (Some(count), Some(filling)) = (counts.get(&case), case.filling().and_then(|case| counts.get(&case))) {
            let net = count - filling;
            let verdict = if net < ROUTED { "reached" } else { "NOT reached" };
            println!("established NAT flow ({case}): {net:.0} instructions a packet; target: under {ROUTED}: {verdict}");
        }
    }
    if kept.rustc != rustc && !cli.update {
        warn(&format!("the counts kept are of {}, these of {rustc}: another compiler makes other code", kept.rustc));
    }
    if cli.update {
        kept.rustc = rustc;
        kept.instructions_per_frame.retain(|name, _| name.parse::<Case>().is_ok());
        kept.instructions_per_frame.extend(chosen.iter().map(|case| (case.to_string(), (counts[case] * 10.0).round() / 10.0)));
        let text = format!(
            "# Instructions per frame, with the filling of the burst. Written by: ./run instructions --update\n\n{}",
            toml::to_string(&kept)?
        );
        fs::write(&cli.baseline, text).with_context(|| format!("write {}", cli.baseline.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    bad.iter().for_each(|what| warn(what));
    Ok(if bad.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The count of a case. Hash tables have another secret in each process, and few of them take longer than most: a count that is too high
/// is taken again, and the lowest one counts. Slower code is slower each time.
fn fewest(case: Case, counts: &mut BTreeMap<Case, f64>, kept: &Baseline, directory: &Path) -> anyhow::Result<f64> {
    let mut fewest = counts[&case];
    for _ in 0..AGAIN {
        if !matches!(kept.compare(case, fewest), Change::Worse(_)) {
            break;
        }
        fewest = fewest.min(count(case, directory)?);
    }
    counts.insert(case, fewest);
    Ok(fewest)
}

fn read(path: &Path, may_be_absent: bool) -> anyhow::Result<Baseline> {
    match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).with_context(|| format!("read {}", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && may_be_absent => Ok(Baseline::default()),
        Err(error) => Err(error).with_context(|| format!("read {} (--update writes it)", path.display())),
    }
}

/// Instructions per frame.
fn count(case: Case, directory: &Path) -> anyhow::Result<f64> {
    let out = directory.join(case.to_string().replace('/', "-"));
    let mut command = Command::new("valgrind");
    command.arg("--tool=callgrind").args(["toggle-collect", "dump-after"].map(|option| format!("--{option}={MEASURED}")));
    command.arg(format!("--callgrind-out-file={}", out.display()));
    command.arg(std::env::current_exe().context("find this program")?).arg("work").arg(case.to_string());
    let output = command.output().context("start valgrind (apt-get install valgrind)")?;
    if !output.status.success() {
        bail!("{case}: valgrind: {} {}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let [short, long] = [1, 2].map(|part| total(&out.with_added_extension(part.to_string())));
    let (short, long) = (short?, long?);
    if long <= short {
        bail!("{case}: callgrind counted {short} instructions, and {long} for more turns");
    }
    let frames = case.turns(MORE) * case.burst as u64;
    Ok((long - short) as f64 / frames as f64)
}

/// Instructions in one profile (`Ir`, the only event without cache simulation).
fn total(path: &Path) -> anyhow::Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("read the profile {}", path.display()))?;
    let line = text.lines().find_map(|line| line.strip_prefix("totals:").or_else(|| line.strip_prefix("summary:")));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.with_context(|| format!("{}: no total", path.display()))
}
