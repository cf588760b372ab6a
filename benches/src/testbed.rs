//! A system with the generator at its ports, for scenarios that count frames.
//!
//! Ports are stations of the generator, the client first. With three cores or more the client has a thread on its core and
//! all servers have one on theirs; with two, one thread serves all and the switch has the other core.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::cores::{Cores, Load as Demand};
use crate::generator::{self, Endpoint, Load, Macs, Rate, Report, Sent, Station, Thread, Traffic, Trial, announce, answer};
use crate::interrupt;
use crate::lab::Lab;
use crate::scenario::Settings;
use crate::system::{self, Started, System};
use crate::topology::{PortAt, Topology};
use crate::{cpu_time, memory};

/// Frames that are looked into before a measurement.
const CHECKED: u64 = 1_000;
/// Part of them that may be missing: a machine that does other things loses some. What is lost in a measurement is counted.
const MISSING_MAX: f64 = 0.01;
/// How often that is tried.
const CHECKS_MAX: usize = 5;
/// Frames per second of these: every system surely forwards them, and what comes at once when a busy machine kept it from its
/// core for 50 ms fits into the smallest buffer of any (some 270 small frames, of an AF_PACKET socket without a ring).
const EASY_RATE: f64 = 4_000.0;
/// How long to saturate the switch before measuring.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long frames under way may take to arrive after the last was sent.
const DRAIN: Duration = Duration::from_millis(200);
/// How long an answer and the frame it answers may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// How long a system may take until it forwards.
const FORWARDS_MAX: Duration = Duration::from_secs(20);

/// Frames that a router may send by itself while frames are counted: it announces its addresses (RFC 5227 section 2.3).
const ROUTERS_OWN_MAX: u64 = 4;

/// A system at work with the generator at its ports.
pub struct Testbed {
    // In the order in which they have to go.
    hosts: Vec<Endpoint>,
    switch: Started,
    lab: Lab,
    cores: Cores,
    is_part_of_the_sender: bool,
    /// Frames the system may send by itself.
    own_max: u64,
}

/// Who sends what. A port sends one stream.
#[derive(Clone, Debug)]
pub struct Streams {
    /// By number of the port.
    by_port: Vec<Option<Traffic>>,
    /// How many ports each frame is to reach.
    copies: u64,
    /// How many server ports there are that frames may reach at all.
    servers: usize,
}

impl Streams {
    /// The client sends, each frame to one port.
    pub fn one_way(traffic: Traffic) -> Streams {
        Streams { by_port: vec![Some(traffic)], copies: 1, servers: usize::MAX }
    }

    /// The client sends, and the first server sends the reverse.
    pub fn both_ways(traffic: Traffic) -> Streams {
        let back = traffic.reversed();
        Streams { by_port: vec![Some(traffic), Some(back)], copies: 1, servers: usize::MAX }
    }

    /// The client sends, each frame to `copies` ports.
    pub fn flooded(traffic: Traffic, copies: usize) -> Streams {
        Streams { by_port: vec![Some(traffic)], copies: copies as u64, servers: usize::MAX }
    }

    /// The same where only the first `servers` server ports count as reached.
    #[must_use]
    pub fn to_the_first(self, servers: usize) -> Streams {
        Streams { servers, ..self }
    }

    fn of(&self, port: usize) -> Option<&Traffic> {
        self.by_port.get(port)?.as_ref()
    }
}

/// What was counted at saturation.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// What the senders did, all together.
    pub sent: Sent,
    /// How many ports each frame was to reach.
    pub copies: u64,
    /// Frames that arrived, of those given to the switch; each copy counts.
    pub received: u64,
    /// Frames per second that arrived during the measurement; each copy counts.
    pub rate: f64,
    /// CPU time of the switch for each of these, where it is a process.
    pub cpu_per_frame: Option<Duration>,
    /// CPU time of the whole machine, with generator and kernel, for each of these.
    pub machine_cpu_per_frame: Duration,
    /// Octets of memory that the switch has in use, where it is a process.
    pub memory: Option<u64>,
}

impl Counted {
    /// Frames given to the switch that did not arrive.
    pub fn lost(&self) -> u64 {
        (self.sent.accepted * self.copies).saturating_sub(self.received)
    }
}

impl Testbed {
    /// Builds the topology with `system` in its middle, and opens its ports.
    ///
    /// # Errors
    ///
    /// When the system does not start.
    pub fn start(system: System, topology: &Topology, demand: Demand, settings: &Settings) -> anyhow::Result<Testbed> {
        let cores = settings.cores(demand);
        let lab = Lab::new()?;
        let switch = system::start(system, &settings.programs, &lab, topology, cores)?;
        Testbed::around(system, lab, switch, cores)
    }

    /// Opens the ports of a system that runs.
    ///
    /// # Errors
    ///
    /// When they cannot be opened.
    pub fn around(system: System, lab: Lab, switch: Started, cores: Cores) -> anyhow::Result<Testbed> {
        let hosts = switch.ports().iter().map(|port| port.open(&lab)).collect::<anyhow::Result<_>>()?;
        Ok(Testbed {
            hosts,
            switch,
            lab,
            cores,
            is_part_of_the_sender: system.is_part_of_the_sender(),
            own_max: if system.is_router() { ROUTERS_OWN_MAX } else { 0 },
        })
    }

    /// The system.
    pub fn switch(&self) -> &Started {
        &self.switch
    }

    /// Where its files are.
    pub fn directory(&self) -> &Path {
        self.lab.directory()
    }

    /// Makes the switch forget all addresses.
    ///
    /// # Errors
    ///
    /// When it cannot.
    pub fn forget(&self) -> anyhow::Result<()> {
        self.switch.forget(&self.lab)
    }

    /// The ports, to be used at will; the client's first.
    pub fn hosts(&mut self) -> &mut [Endpoint] {
        &mut self.hosts
    }

    /// Where the client's thread runs.
    pub fn client_core(&self) -> Option<u16> {
        self.cores.client
    }

    /// The ports, and what makes the switch forget all addresses.
    pub fn hosts_and_forgetter(&mut self) -> (&mut [Endpoint], impl Fn() -> anyhow::Result<()>) {
        let Testbed { hosts, switch, lab, .. } = self;
        (hosts, || switch.forget(lab))
    }

    /// Frames that the netdev at the last port received.
    ///
    /// # Errors
    ///
    /// When the last port has no netdev.
    pub fn rx_packets_of_last(&self) -> anyhow::Result<u64> {
        let last = Topology::interface(self.hosts.len() - 1);
        Ok(self.lab.server.rx_packets(|name| name == last)?.0)
    }

    /// Lets the switch learn that `macs` are at a port: each sends a frame to the client.
    ///
    /// # Errors
    ///
    /// When the frames cannot be sent.
    pub fn teach(&mut self, port: usize, traffic: &Traffic, macs: Macs, rate: f64) -> anyhow::Result<()> {
        let traffic = Traffic { sources: macs, destinations: Macs::clients(1), ..traffic.clone() };
        let flows = macs.count.max(traffic.vlans.map_or(1, |vlans| vlans.count.into()));
        announce(&mut self.hosts[port], &Traffic { flows, ..traffic }, rate).map(drop)
    }

    /// Waits until a frame of each stream arrives, which takes some systems a moment.
    ///
    /// # Errors
    ///
    /// When none does within 20 s.
    pub fn wait_until_it_forwards(&mut self, streams: &Streams) -> anyhow::Result<()> {
        let trial = Trial { drain: Duration::from_millis(100), ..Trial::default() };
        let load = Load { frames: Some(1), ..Load::at(Rate::PerSecond(EASY_RATE)) };
        let start = Instant::now();
        loop {
            let report = self.run(streams, load, true, &trial)?;
            if (0..report.streams.len()).all(|stream| arrived(&report, stream) > 0) {
                return Ok(());
            }
            if start.elapsed() > FORWARDS_MAX {
                bail!("no frame passes within {} s", FORWARDS_MAX.as_secs());
            }
        }
    }

    /// Waits until frames pass, and then looks into some of them: each must arrive, once, in order and as it was sent, at a rate
    /// that is easy. What a machine that does other things spoils is tried again.
    ///
    /// # Errors
    ///
    /// When they do not, in any of some tries.
    pub fn check(&mut self, streams: &Streams) -> anyhow::Result<()> {
        self.wait_until_it_forwards(streams)?;
        // Easy for the receivers too: each copy is work.
        let load = Load { frames: Some(CHECKED / streams.copies), ..Load::at(Rate::PerSecond(EASY_RATE / streams.copies as f64)) };
        let trial = Trial { drain: Duration::from_millis(300), ..Trial::default() };
        let mut wrong = None;
        for _ in 0..CHECKS_MAX {
            let report = self.run(streams, load, true, &trial)?;
            wrong = (0..report.streams.len()).find_map(|stream| what_is_wrong(&report, stream, streams.copies));
            if wrong.is_none() {
                return Ok(());
            }
        }
        bail!("frames do not arrive as sent, at an easy rate: {}", wrong.unwrap_or_default());
    }

    /// Lets the first server answer a frame of the client, so that a router between them has seen both ends send.
    ///
    /// # Errors
    ///
    /// When frame or answer do not arrive.
    pub fn answer(&mut self, traffic: &Traffic) -> anyhow::Result<()> {
        let trial = Trial { drain: Duration::from_millis(100), ..Trial::default() };
        let load = Load { frames: Some(1), ..Load::at(Rate::PerSecond(EASY_RATE)) };
        self.run(&Streams::one_way(traffic.clone()), load, false, &trial)?;
        let [client, server, ..] = &mut self.hosts[..] else { bail!("no server that could answer") };
        answer(server, client, ANSWER_MAX)
    }

    /// One run of the generator; every station receives if `all` says so, else only those that send.
    ///
    /// # Errors
    ///
    /// As [`generator::run`], and when the switch ends.
    pub fn run(&mut self, streams: &Streams, load: Load, all: bool, trial: &Trial) -> anyhow::Result<Report> {
        let report = run(&mut self.hosts, self.cores, streams, load, all, trial)?;
        self.switch.check_alive()?;
        Ok(report)
    }

    /// Offers the switch more than it can forward, and counts for `span`.
    ///
    /// Where ports are netdevs their statistics are the sink, which cost nothing and count at any rate; sockets that take frames
    /// have the switch pay for a copy of each one as it delivers. Guests take their frames themselves.
    ///
    /// # Errors
    ///
    /// When the generator, the switch or the counting fails, nothing arrives, or the generator was the limit.
    pub fn saturate(&mut self, streams: &Streams, span: Duration) -> anyhow::Result<Counted> {
        let counted = self.count(streams, span)?;
        if counted.received == 0 || counted.rate <= 0.0 {
            bail!("no frame arrived");
        }
        if counted.received > counted.sent.accepted * counted.copies + self.own_max {
            let copies = counted.copies;
            bail!(
                "{} frames arrived, but only {} were sent to {copies} ports: somebody else sends, or they are flooded",
                counted.received,
                counted.sent.accepted
            );
        }
        if counted.sent.refused == 0 && counted.lost() == 0 && !self.is_part_of_the_sender {
            bail!("the generator was the limit: all {} frames were taken and arrived", counted.sent.accepted);
        }
        Ok(counted)
    }

    /// As [`Testbed::saturate`], without judging what was counted.
    ///
    /// # Errors
    ///
    /// When the generator, the switch or the counting fails.
    pub fn count(&mut self, streams: &Streams, span: Duration) -> anyhow::Result<Counted> {
        let pid = self.switch.pid();
        let is_netdev = self.switch.ports().iter().all(|port| matches!(port, PortAt::Netdev(_)));
        let trial = if is_netdev {
            // What measures starts and ends within.
            Trial { span: WARM_UP + span + DRAIN, drain: Duration::ZERO, ..Trial::default() }
        } else {
            Trial { warm_up: WARM_UP, span, drain: DRAIN }
        };
        let Testbed { hosts, lab, cores, .. } = self;
        // By the statistics of netdevs: at the servers', and at the client's when servers send.
        let counts_client = (1..hosts.len()).any(|port| streams.of(port).is_some());
        let rx_packets = || -> anyhow::Result<Option<(u64, Instant)>> {
            if !is_netdev {
                return Ok(None);
            }
            let counts = |name: &str| name.strip_prefix("server").and_then(|n| n.parse().ok()).is_some_and(|n: usize| n < streams.servers);
            let (mut packets, now) = lab.server.rx_packets(counts)?;
            if counts_client {
                packets += lab.client.rx_packets(|name| name.starts_with("client"))?.0;
            }
            Ok(Some((packets, now)))
        };
        let first = rx_packets()?;
        let (measured, report) = std::thread::scope(|scope| {
            let thread = scope.spawn(|| measure(pid, rx_packets, span));
            let report = run(hosts, *cores, streams, Load::max(), !is_netdev, &trial);
            (thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), report)
        });
        let (report, measured) = (report?, measured?);
        self.switch.check_alive()?;
        let sent = report.streams.iter().fold(Sent::default(), |sum, sent| Sent {
            offered: sum.offered + sent.offered,
            accepted: sum.accepted + sent.accepted,
            refused: sum.refused + sent.refused,
            missed: sum.missed + sent.missed,
            octets: sum.octets + sent.octets,
            accepted_in_span: sum.accepted_in_span + sent.accepted_in_span,
        });
        let (received, in_span, seconds) = match (first, measured.frames) {
            (Some((first, _)), Some((frames, seconds))) => {
                interrupt::sleep(DRAIN)?;
                let (last, _) = rx_packets()?.context("netdevs stay netdevs")?;
                (last - first, frames, seconds)
            }
            _ => {
                let arrivals = || report.stations.iter().flat_map(|station| &station.arrivals);
                (arrivals().map(|a| a.received).sum(), arrivals().map(|a| a.received_in_span).sum(), report.seconds)
            }
        };
        let per_frame = |time: Duration| time.div_f64(in_span.max(1) as f64);
        Ok(Counted {
            sent,
            copies: streams.copies,
            received,
            rate: in_span as f64 / seconds,
            cpu_per_frame: measured.switch.map(per_frame),
            machine_cpu_per_frame: per_frame(measured.machine),
            memory: pid.map(memory::resident).transpose()?,
        })
    }
}

fn run(hosts: &mut [Endpoint], cores: Cores, streams: &Streams, load: Load, all: bool, trial: &Trial) -> anyhow::Result<Report> {
    let shares = cores.client == cores.server;
    let (mut client, mut servers) = (Vec::new(), Vec::new());
    for (port, host) in hosts.iter_mut().enumerate() {
        let station = match streams.of(port) {
            Some(traffic) => Station::sending(host, traffic.clone(), load),
            None if all => Station::receiving(host),
            None => continue,
        };
        if port == 0 || shares { client.push(station) } else { servers.push(station) }
    }
    let mut threads = vec![Thread::of(client).on(cores.client)];
    if !servers.is_empty() {
        threads.push(Thread::of(servers).on(cores.server));
    }
    generator::run(threads, trial)
}

/// Why a stream did not arrive as it was sent, if so.
fn what_is_wrong(report: &Report, stream: usize, copies: u64) -> Option<String> {
    let expected = report.streams[stream].accepted * copies;
    let missing = expected.saturating_sub(arrived(report, stream));
    let damaged: u64 = report.stations.iter().map(|station| station.damaged).sum();
    let arrivals = || report.stations.iter().map(|station| station.arrivals[stream]);
    let reordered: u64 = arrivals().map(|a| a.reordered).sum();
    let duplicates: u64 = arrivals().map(|a| a.duplicates + a.stale).sum();
    let is_wrong = expected == 0 || missing as f64 > expected as f64 * MISSING_MAX || damaged + reordered + duplicates > 0;
    is_wrong.then(|| format!("of {expected} frames {missing} missing, {reordered} reordered, {duplicates} duplicated, {damaged} damaged"))
}

/// Frames of a stream that arrived, anywhere.
fn arrived(report: &Report, number: usize) -> u64 {
    report.stations.iter().map(|station| station.arrivals[number].received).sum()
}

struct Measured {
    /// Frames that arrived, and in how many seconds.
    frames: Option<(u64, f64)>,
    switch: Option<Duration>,
    machine: Duration,
}

/// Reads clocks and counters around the measured span.
fn measure(pid: Option<u32>, rx_packets: impl Fn() -> anyhow::Result<Option<(u64, Instant)>>, span: Duration) -> anyhow::Result<Measured> {
    interrupt::sleep(WARM_UP)?;
    let look = || -> anyhow::Result<_> {
        let cpu = (pid.map(cpu_time::of).transpose()?, cpu_time::of_the_machine()?);
        Ok((cpu, rx_packets()?))
    };
    let (cpu_before, before) = look()?;
    interrupt::sleep(span)?;
    let (cpu_after, after) = look()?;
    let frames = before.zip(after).map(|((first, start), (last, end))| (last - first, (end - start).as_secs_f64()));
    let switch = cpu_before.0.zip(cpu_after.0).map(|(before, after)| after.saturating_sub(before));
    Ok(Measured { frames, switch, machine: cpu_after.1.saturating_sub(cpu_before.1) })
}
