//! Small frames per second from the client to the server, as many as the switch forwards.

use std::time::Duration;

use anyhow::bail;

use crate::cores::Load as Demand;
use crate::cpu_time;
use crate::generator::{self, Endpoint, Load, Macs, Rate, Sent, Station, Thread, Traffic, Trial};
use crate::interrupt;
use crate::lab::Lab;
use crate::scenario::{Sample, Settings};
use crate::system::{self, Attachment, CLIENT_IF, SERVER_IF, Started, System};

/// Frames that are looked into before the measurement.
const CHECKED: u64 = 2_000;
/// Frames per second of these.
const EASY_RATE: f64 = 16_000.0;
/// How long to saturate the switch before measuring.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long frames under way may take to arrive after the last was sent.
const DRAIN: Duration = Duration::from_millis(200);

/// What was counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Frames given to the switch, and refused since its queue was full.
    pub sent: Sent,
    /// Frames that arrived, of those given to the switch.
    pub received: u64,
    /// Frames per second that arrived during the measurement.
    pub rate: f64,
    /// CPU time of the switch per frame, where it is a process.
    pub cpu_per_frame: Option<Duration>,
}

impl Counted {
    /// Frames given to the switch that did not arrive.
    pub fn lost(&self) -> u64 {
        self.sent.accepted.saturating_sub(self.received)
    }
}

/// One round.
pub(super) fn round(which: System, settings: &Settings) -> anyhow::Result<Sample> {
    let placement = settings.cores(Demand::OneWay);
    let lab = Lab::new()?;
    let mut switch = system::start(which, &settings.programs, &lab, Attachment::Tap, placement)?;
    let mut generator = prepare(&lab)?;
    check_frames(&lab, &mut generator)?;
    let counted = saturate(&lab, &mut switch, &mut generator, placement.client, settings.span)?;
    let Counted { sent, received, rate, cpu_per_frame } = counted;
    if sent.refused == 0 {
        bail!("the generator was the limit: the switch took all {} frames, its queue was never full", sent.accepted);
    }
    if received > sent.accepted {
        bail!("{received} frames arrived, but only {} were sent: someone else sends", sent.accepted);
    }
    let mut sample = Sample::new(rate / 1e3)
        .with("sent_frames", sent.accepted as f64)
        .with("refused_frames", sent.refused as f64)
        .with("received_frames", received as f64)
        .with("lost_percent", counted.lost() as f64 / sent.accepted as f64 * 100.0);
    if let Some(span) = cpu_per_frame {
        sample = sample.with("switch_cpu_ns_per_frame", span.as_nanos() as f64);
    }
    Ok(sample)
}

/// From the one client to the one server, in frames of 64 octets.
fn traffic() -> Traffic {
    Traffic::between(Macs::clients(1), Macs::servers(1))
}

/// Waits for the interfaces and lets the switch learn both stations; gives the generator at the client.
///
/// # Errors
///
/// When frames do not pass both ways.
pub fn prepare(lab: &Lab) -> anyhow::Result<Endpoint> {
    lab.client.run("ip", &["link", "set", CLIENT_IF, "up"])?;
    lab.server.run("ip", &["link", "set", SERVER_IF, "up"])?;
    let mut there = Endpoint::packet(lab.client.handle(), CLIENT_IF)?;
    let mut back = Endpoint::packet(lab.server.handle(), SERVER_IF)?;
    for (what, endpoint, traffic, netns, interface) in [
        ("frames pass from client to server", &mut there, traffic(), &lab.server, SERVER_IF),
        ("frames pass from server to client", &mut back, traffic().reversed(), &lab.client, CLIENT_IF),
    ] {
        let (before, _) = netns.rx_packets(interface)?;
        interrupt::wait_for(what, Duration::from_secs(10), || {
            generator::announce(endpoint, &traffic, EASY_RATE)?;
            Ok((netns.rx_packets(interface)?.0 > before).then_some(()))
        })?;
    }
    Ok(there)
}

/// Whether frames arrive as they were sent, each once and in order, at a rate that is easy.
fn check_frames(lab: &Lab, client: &mut Endpoint) -> anyhow::Result<()> {
    let mut server = Endpoint::packet(lab.server.handle(), SERVER_IF)?;
    let load = Load { frames: Some(CHECKED), ..Load::at(Rate::PerSecond(EASY_RATE)) };
    let stations = vec![Station::sending(client, traffic(), load), Station::receiving(&mut server)];
    // The switch may need the core that this thread is on.
    let report = generator::run(vec![Thread::of(stations).sleeping()], &Trial { drain: Duration::from_secs(2), ..Trial::default() })?;
    let delivery = report.delivery(0, 1)?;
    if !delivery.is_clean() {
        bail!("frames do not arrive as sent, at an easy rate: {delivery:?}");
    }
    Ok(())
}

/// Offers the switch more than it can forward, and counts for `span`. The sink is the statistics of the receiver's netdev, which
/// cost nothing and count at any rate; a socket there would have the switch pay for a copy of each frame as it delivers.
///
/// # Errors
///
/// When the generator, the switch or the counting fails.
pub fn saturate(lab: &Lab, switch: &mut Started, client: &mut Endpoint, core: Option<u16>, span: Duration) -> anyhow::Result<Counted> {
    let (first, _) = lab.server.rx_packets(SERVER_IF)?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            let stations = vec![Station::sending(client, traffic(), Load::max())];
            // What measures starts and ends within.
            let span = WARM_UP + span + DRAIN;
            generator::run(vec![Thread::of(stations).on(core)], &Trial { span, drain: Duration::ZERO, ..Trial::default() })
        });
        let measured = measure(lab, switch, span);
        let report = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        let (rate, cpu_per_frame) = measured?;
        interrupt::sleep(DRAIN)?;
        let (last, _) = lab.server.rx_packets(SERVER_IF)?;
        Ok(Counted { sent: report.streams[0], received: last - first, rate, cpu_per_frame })
    })
}

fn measure(lab: &Lab, switch: &mut Started, span: Duration) -> anyhow::Result<(f64, Option<Duration>)> {
    interrupt::sleep(WARM_UP)?;
    let cpu_before = switch.pid().map(cpu_time::of).transpose()?;
    let (before, start) = lab.server.rx_packets(SERVER_IF)?;
    interrupt::sleep(span)?;
    let cpu_after = switch.pid().map(cpu_time::of).transpose()?;
    let (after, end) = lab.server.rx_packets(SERVER_IF)?;
    switch.check_alive()?;
    let frames = after - before;
    if frames == 0 {
        bail!("no frame arrived");
    }
    let cpu = cpu_before.zip(cpu_after).map(|(before, after)| (after - before).div_f64(frames as f64));
    Ok((frames as f64 / (end - start).as_secs_f64(), cpu))
}
