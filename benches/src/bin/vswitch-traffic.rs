//! Sends traffic through whatever is between two interfaces and says what became of it. See `benches/README.md`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use benches::generator::rfc2544::{self, Search};
use benches::generator::{self, Delivery, EndpointAt, Load, Macs, Rate, Report, Sizes, Station, Thread, Traffic, Trial, Vlans};
use benches::interrupt;
use benches::report::{progress, warn};
use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

/// Sends numbered UDP frames and counts what arrives: loss, duplicates, reordering, damage, rate and latency.
///
/// An ENDPOINT is packet:[NETNS/]INTERFACE (an AF_PACKET socket on an interface that is there), tap:[NETNS/]INTERFACE (a TAP
/// that is made for the run, to be attached to a switch meanwhile) or vhost-user:SOCKET (the virtual machine's side of a
/// vhost-user port whose socket the switch has made).
///
/// The run begins when frames pass. It fails when nothing passes, or when the generator and not what is between was the limit.
#[derive(Debug, Parser)]
#[command(name = "vswitch-traffic", version)]
struct Cli {
    /// Where frames are sent
    #[arg(long, value_name = "ENDPOINT")]
    from: EndpointAt,
    /// Where they should arrive; several to see who gets what is flooded
    #[arg(long, value_name = "ENDPOINT", required = true)]
    to: Vec<EndpointAt>,
    /// Send as much from the (first) receiver back
    #[arg(long)]
    both_ways: bool,
    /// Frames per second one way (100000, 100k, 1.5M), or "max" for as many as go
    #[arg(long, default_value = "max")]
    rate: Rate,
    /// Frames back to back, 1 to 256 [default: what comes together in 50 us, at most 32]
    #[arg(long, value_name = "N")]
    burst: Option<usize>,
    /// Octets of a frame with FCS and without VLAN tag: 64 to 65557, several that take turns (64,64,1518), or "imix"
    #[arg(long, default_value = "64")]
    size: Sizes,
    /// Source addresses, as ADDRESS or ADDRESS+COUNT
    #[arg(long, value_name = "MACS", default_value = "02:00:00:00:00:00")]
    sources: Macs,
    /// Destination addresses
    #[arg(long, value_name = "MACS", default_value = "02:01:00:00:00:00")]
    destinations: Macs,
    /// Flows, which take turns frame by frame and share out addresses and VLANs [default: the larger number of addresses]
    #[arg(long, value_name = "N")]
    flows: Option<u32>,
    /// VLAN tags, as VLAN or FIRST-LAST
    #[arg(long, value_name = "VLANS")]
    vlan: Option<Vlans>,
    /// Seconds to measure
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    seconds: f64,
    /// Seconds to send before
    #[arg(long, value_name = "S", default_value_t = 0.5)]
    warm_up: f64,
    /// Stop after so many frames each way, with no warm-up
    #[arg(long, value_name = "N", conflicts_with = "warm_up")]
    frames: Option<u64>,
    /// Seconds to wait for frames to pass at all
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    patience: f64,
    /// Do not let the switch learn the addresses before: unknown ones are flooded
    #[arg(long)]
    no_announce: bool,
    /// Search the highest rate without loss (RFC 2544), from --rate (a number) downwards
    #[arg(long)]
    throughput: bool,
    /// Core for the generator
    #[arg(long, value_name = "CORE")]
    core: Option<u16>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What is printed of one stream at one station.
#[derive(Serialize)]
struct Line {
    from: String,
    to: String,
    #[serde(flatten)]
    delivery: Delivery,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            warn(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<()> {
    interrupt::install().context("handle signals")?;
    if cfg!(debug_assertions) {
        warn("this is a debug build, which is slow");
    }
    let span = |seconds: f64, what: &str| Duration::try_from_secs_f64(seconds).with_context(|| format!("{what}: {seconds} s"));
    let warm_up = if cli.frames.is_some() { Duration::ZERO } else { span(cli.warm_up, "--warm-up")? };
    let trial = Trial { warm_up, span: span(cli.seconds, "--seconds")?, ..Trial::default() };
    let patience = span(cli.patience, "--patience")?;
    let between = Traffic::between(cli.sources, cli.destinations);
    let traffic = Traffic { vlans: cli.vlan, sizes: cli.size.clone(), flows: cli.flows.unwrap_or(between.flows), ..between };
    let mut from = cli.from.open()?;
    let mut to = cli.to.iter().map(EndpointAt::open).collect::<anyhow::Result<Vec<_>>>()?;
    if !cli.no_announce {
        let back = traffic.reversed();
        generator::wait_for_path(&mut to[0], &mut from, &back, patience)?;
        generator::announce(&mut to[0], &back, 50_000.0)?;
        generator::announce(&mut from, &traffic, 50_000.0)?;
    }
    generator::wait_for_path(&mut from, &mut to[0], &traffic, patience)?;

    let mut measure = |rate: Rate, trial: &Trial| -> anyhow::Result<(Report, Vec<Line>)> {
        let load = Load { frames: cli.frames, ..Load::at(rate) };
        let load = Load { burst: cli.burst.unwrap_or(load.burst), ..load };
        let mut stations = vec![Station::sending(&mut from, traffic.clone(), load)];
        for (number, endpoint) in to.iter_mut().enumerate() {
            stations.push(match number {
                0 if cli.both_ways => Station::sending(endpoint, traffic.reversed(), load),
                _ => Station::receiving(endpoint),
            });
        }
        let report = generator::run(vec![Thread::of(stations).on(cli.core)], trial)?;
        let name = |station: usize| report.stations[station].name.clone();
        let mut lines = Vec::new();
        for station in 1..report.stations.len() {
            lines.push(Line { from: name(0), to: name(station), delivery: report.delivery(0, station)? });
        }
        if cli.both_ways {
            lines.push(Line { from: name(1), to: name(0), delivery: report.delivery(1, 0)? });
        }
        Ok((report, lines))
    };

    if cli.throughput {
        let Rate::PerSecond(rate_max) = cli.rate else { bail!("--throughput begins at a --rate, which has to be a number") };
        let found = rfc2544::throughput(&Search::from(rate_max), |rate| {
            progress(&format!("{rate:.0} frames/s"));
            let (_, lines) = measure(Rate::PerSecond(rate), &trial)?;
            Ok(lines.into_iter().map(|line| line.delivery).collect())
        })?;
        let least = if found.too_high.is_none() { "at least " } else { "" };
        let text = format!("{least}{:.0} frames/s without loss, {} trials of {} s", found.rate, found.trials.len(), cli.seconds);
        let limit = found.generator_limit.as_ref().map_or_else(String::new, |limit| format!("\nabove that {limit}"));
        return print(cli.json, &found, &(text + &limit));
    }
    let (report, lines) = measure(cli.rate, &trial)?;
    print(cli.json, &lines, &table(&lines, report.seconds))?;
    let limit = lines.iter().find_map(|line| line.delivery.generator_limit(cli.rate == Rate::Max));
    limit.map_or(Ok(()), |limit| bail!("{limit}"))
}

#[expect(clippy::print_stdout, reason = "the result")]
fn print(json: bool, value: &impl Serialize, text: &str) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(value)?);
    } else {
        println!("{text}");
    }
    Ok(())
}

fn table(lines: &[Line], seconds: f64) -> String {
    let mut table = Table::new();
    let header = lines.iter().map(|line| format!("{} to {}", line.from, line.to));
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(std::iter::once(String::new()).chain(header));
    let mut row = |name: &str, value: &dyn Fn(&Delivery) -> String| {
        table.add_row(std::iter::once(name.to_owned()).chain(lines.iter().map(|line| value(&line.delivery))));
    };
    row("frames offered", &|d| d.sent.offered.to_string());
    row("missed (the generator was late)", &|d| d.sent.missed.to_string());
    row("refused (the queue was full)", &|d| d.sent.refused.to_string());
    row("sent", &|d| d.sent.accepted.to_string());
    row("received", &|d| d.arrivals.received.to_string());
    row("lost", &|d| format!("{} ({:.3} %)", d.lost, d.lost_percent()));
    row("lost at the sink", &|d| d.overruns.to_string());
    row("duplicates", &|d| d.arrivals.duplicates.to_string());
    row("reordered", &|d| d.arrivals.reordered.to_string());
    row("too late to tell", &|d| d.arrivals.stale.to_string());
    row("damaged", &|d| d.damaged.to_string());
    row("frames/s", &|d| format!("{:.0}", d.rate));
    // The mean size of what arrived; 20 octets of preamble and gap are not counted.
    row("Gbit/s", &|d| format!("{:.3}", d.rate * d.arrivals.octets as f64 / d.arrivals.received.max(1) as f64 * 8.0 / 1e9));
    row("latency us, p50 / p99 / p99.9", &|d| match &d.latency {
        Some(latency) => format!("{:.1} / {:.1} / {:.1}", latency.p50_us, latency.p99_us, latency.p99_9_us),
        None => "-".into(),
    });
    (1..=lines.len()).filter_map(|i| table.column_mut(i).map(|c| c.set_cell_alignment(CellAlignment::Right))).count();
    format!("{table}\nmeasured for {seconds:.3} s")
}
