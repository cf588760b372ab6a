//! One run: stations at work on threads, from the first frame sent to the last that may still arrive.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use dataplane::BurstMemory;
use dataplane::clock::{Clock, Nanos};
use netdev::MonotonicClock;

use super::STREAMS_MAX;
use super::endpoint::Endpoint;
use super::report::{Report, Sent, StationReport};
use super::sender::{Parts, Sender};
use super::sink::{Counted, Sink};
use super::traffic::{Load, Traffic};
use crate::{cores, interrupt};

/// How long a run takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// To send before the measured span.
    pub warm_up: Duration,
    /// To measure.
    pub span: Duration,
    /// Without a frame arriving, until those that did not are lost.
    pub drain: Duration,
}

impl Default for Trial {
    fn default() -> Trial {
        Trial { warm_up: Duration::ZERO, span: Duration::from_secs(1), drain: Duration::from_millis(200) }
    }
}

/// Turns of a thread between two looks whether the run was interrupted or failed elsewhere, a power of two.
const LOOK: u32 = 64;
/// How long a thread that may sleep does.
const REST: Duration = Duration::from_micros(20);
/// What threads get to start before the first frame is due.
const HEAD_START: Duration = Duration::from_millis(10);

/// An endpoint at work: it receives what comes, and sends a stream if it is told to.
pub struct Station<'e> {
    endpoint: &'e mut Endpoint,
    sends: Option<(Traffic, Load)>,
}

impl<'e> Station<'e> {
    /// Sends `traffic`, and receives.
    pub fn sending(endpoint: &'e mut Endpoint, traffic: Traffic, load: Load) -> Station<'e> {
        Station { endpoint, sends: Some((traffic, load)) }
    }

    /// Only receives.
    pub fn receiving(endpoint: &'e mut Endpoint) -> Station<'e> {
        Station { endpoint, sends: None }
    }
}

/// A thread, which serves its stations in turn.
pub struct Thread<'e> {
    stations: Vec<Station<'e>>,
    core: Option<u16>,
    sleeps: bool,
}

impl<'e> Thread<'e> {
    /// A thread on whatever core that never sleeps.
    pub fn of(stations: Vec<Station<'e>>) -> Thread<'e> {
        Thread { stations, core: None, sleeps: false }
    }

    /// The same on this core, if one is given.
    #[must_use]
    pub fn on(self, core: Option<u16>) -> Thread<'e> {
        Thread { core, ..self }
    }

    /// The same, leaving its core to others for some 20 us or more when there is nothing to do: for threads that share a core.
    /// Times it takes are the worse for it.
    #[must_use]
    pub fn sleeping(self) -> Thread<'e> {
        Thread { sleeps: true, ..self }
    }
}

/// Runs the stations and reports. Stations and streams are numbered through, thread by thread.
///
/// # Errors
///
/// When a traffic or load makes no sense, a frame cannot be sent for another reason than a full queue, a device fails, or the
/// run is interrupted.
pub fn run(threads: Vec<Thread<'_>>, trial: &Trial) -> anyhow::Result<Report> {
    run_with_clock(threads, trial, &MonotonicClock::new())
}

/// As [`run`], by another clock.
///
/// # Errors
///
/// As [`run`].
pub fn run_with_clock<C: Clock + Sync>(threads: Vec<Thread<'_>>, trial: &Trial, clock: &C) -> anyhow::Result<Report> {
    let traffics: Vec<Traffic> =
        threads.iter().flat_map(|thread| &thread.stations).filter_map(|station| Some(station.sends.as_ref()?.0.clone())).collect();
    if traffics.len() > STREAMS_MAX {
        bail!("{} streams: at most {STREAMS_MAX}", traffics.len());
    }
    for (traffic, load) in threads.iter().flat_map(|thread| &thread.stations).filter_map(|station| station.sends.as_ref()) {
        traffic.check()?;
        load.check()?;
    }
    let is_alone = threads.len() == 1 && threads[0].core.is_none();
    let shared = Shared {
        clock,
        start: clock.now() + if is_alone { 0 } else { nanos(HEAD_START) },
        trial: *trial,
        traffics: &traffics,
        sending: AtomicUsize::new(traffics.len()),
        accepted: AtomicU64::new(0),
        ended: AtomicU64::new(0),
        failed: AtomicBool::new(false),
    };
    let mut first_stream = 0;
    let mut works = Vec::new();
    for thread in threads {
        let streams = thread.stations.iter().filter(|station| station.sends.is_some()).count();
        works.push((thread, first_stream));
        first_stream += streams;
    }
    let results: Vec<anyhow::Result<Vec<Done>>> = if is_alone {
        works.into_iter().map(|(thread, first)| shared.work(thread, first)).collect()
    } else {
        std::thread::scope(|scope| {
            let shared = &shared;
            let handles: Vec<_> = works.into_iter().map(|(thread, first)| scope.spawn(move || shared.work(thread, first))).collect();
            handles.into_iter().map(|handle| handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        })
    };
    let mut report = Report { streams: Vec::new(), stations: Vec::new(), seconds: 0.0 };
    for done in results.into_iter().collect::<anyhow::Result<Vec<_>>>()?.into_iter().flatten() {
        report.streams.extend(done.sent);
        report.stations.push(StationReport::new(&done.name, done.counted));
    }
    let end = shared.ended.load(Ordering::Relaxed).saturating_sub(nanos(trial.warm_up));
    report.seconds = if traffics.is_empty() { trial.span.as_secs_f64() } else { (end as f64 / 1e9).min(trial.span.as_secs_f64()) };
    if report.seconds <= 0.0 {
        bail!("all frames were sent within the warm-up of {} s", trial.warm_up.as_secs_f64());
    }
    Ok(report)
}

/// Sends a frame of the first flow of `traffic` again and again until one arrives at `to`, for `patience`: whether there is a way
/// yet.
///
/// # Errors
///
/// When none arrives, and those of [`run`].
pub fn wait_for_path(from: &mut Endpoint, to: &mut Endpoint, traffic: &Traffic, patience: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + patience;
    let trial = Trial { span: Duration::from_millis(1), drain: Duration::from_millis(20), ..Trial::default() };
    let load = Load { frames: Some(1), ..Load::max() };
    loop {
        let stations = vec![Station::sending(from, Traffic { flows: 1, ..traffic.clone() }, load), Station::receiving(to)];
        if run(vec![Thread::of(stations).sleeping()], &trial)?.stations[1].arrivals[0].received > 0 {
            return Ok(());
        }
        if Instant::now() >= end {
            bail!("no frame from {} reaches {} within {} s", from.name(), to.name(), patience.as_secs_f64());
        }
    }
}

fn nanos(span: Duration) -> Nanos {
    span.as_nanos() as Nanos
}

/// What one station counted.
struct Done {
    name: String,
    sent: Option<Sent>,
    counted: Counted,
}

/// What the threads of a run have in common.
struct Shared<'s, C> {
    clock: &'s C,
    start: Nanos,
    trial: Trial,
    traffics: &'s [Traffic],
    /// Senders that are not done.
    sending: AtomicUsize,
    /// Frames that senders which are done gave to their queues.
    accepted: AtomicU64,
    /// When the last sender was done, after the start.
    ended: AtomicU64,
    failed: AtomicBool,
}

impl<C: Clock + Sync> Shared<'_, C> {
    fn work(&self, thread: Thread<'_>, first_stream: usize) -> anyhow::Result<Vec<Done>> {
        let result = self.serve(thread, first_stream);
        if result.is_err() {
            self.failed.store(true, Ordering::Relaxed);
        }
        result
    }

    /// Serves the stations of a thread until nothing more is to come.
    fn serve(&self, thread: Thread<'_>, first_stream: usize) -> anyhow::Result<Vec<Done>> {
        cores::pin(thread.core)?;
        let warm = nanos(self.trial.warm_up);
        let end = warm + nanos(self.trial.span);
        let drain = nanos(self.trial.drain);
        let clock = || self.clock.now();
        let elapsed = || self.clock.now().saturating_sub(self.start);

        let mut stations = thread.stations;
        let mut parts = Vec::new();
        let mut loads = Vec::new();
        for station in &stations {
            if let Some((_, load)) = &station.sends {
                let number = first_stream + parts.len();
                parts.push(Parts::new(&self.traffics[number], number as u8));
                loads.push(*load);
            }
        }
        let mut memory = BurstMemory::new();
        let mut parts = parts.iter_mut();
        let mut number = 0;
        let mut active: Vec<(Option<Sender<'_>>, Sink<'_>, Option<Sent>)> = Vec::new();
        for Station { endpoint, sends } in &mut stations {
            let Endpoint { name, rx, tx, hold_back, .. } = &mut **endpoint;
            let sender = sends.as_ref().and(parts.next()).map(|parts| {
                number += 1;
                Sender::new((name, tx.as_mut(), *hold_back), &self.traffics[first_stream + number - 1], loads[number - 1], parts)
            });
            active.push((sender, Sink::new(name, rx, self.traffics), None));
        }

        let mut turns = 0u32;
        let mut last_arrival = 0;
        loop {
            turns = turns.wrapping_add(1);
            if turns & (LOOK - 1) == 0 {
                interrupt::check()?;
                if self.failed.load(Ordering::Relaxed) {
                    bail!("another thread of the generator failed");
                }
            }
            let mut now = elapsed();
            let mut any = false;
            for (sender, sink, sent) in &mut active {
                if let Some(active) = sender {
                    if now >= end || active.is_done() {
                        let total = active.sent();
                        *sent = Some(total);
                        *sender = None;
                        self.ended.fetch_max(now.min(end), Ordering::Relaxed);
                        self.accepted.fetch_add(total.accepted, Ordering::Relaxed);
                        self.sending.fetch_sub(1, Ordering::Release);
                        last_arrival = now;
                    } else {
                        any |= active.poll(now, now >= warm, &clock)?;
                    }
                }
                let is_in_span = |at: Nanos| (warm..end).contains(&at.saturating_sub(self.start));
                let arrived = sink.poll(&mut memory, &clock, is_in_span)?;
                if arrived {
                    any = true;
                    last_arrival = now;
                }
            }
            if !any {
                // Whether all is over is asked only when nothing happens.
                now = elapsed();
                if self.sending.load(Ordering::Acquire) == 0 {
                    let last_arrival = last_arrival.max(self.ended.load(Ordering::Relaxed));
                    let accepted = self.accepted.load(Ordering::Relaxed);
                    let all_came = active.iter().all(|(_, sink, sent)| sink.received() + sent.unwrap_or_default().accepted >= accepted);
                    if all_came || now.saturating_sub(last_arrival) >= drain {
                        break;
                    }
                }
                if thread.sleeps {
                    std::thread::sleep(REST);
                } else {
                    std::hint::spin_loop();
                }
            }
        }
        Ok(active.into_iter().map(|(_, sink, sent)| Done { name: sink.name().into(), sent, counted: sink.finish() }).collect())
    }
}
