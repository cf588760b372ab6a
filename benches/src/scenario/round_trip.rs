//! Round trip of a small UDP datagram between two sockets, one in flight.
//!
//! Both ends block in `recv`, as programs do, so the figure has their wake-ups in it; see [`crate::cores`] for what that means.

use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::cores::{self, Load};
use crate::interrupt;
use crate::lab::Lab;
use crate::scenario::{Sample, Settings};
use crate::stats::percentile;
use crate::system::{self, System};
use crate::topology::{Attachment, CLIENT_IF, Hosts, SERVER_IF, Topology};

/// Round trips that do not count.
const WARM_UP: usize = 500;
/// Round trips that count, at least; more when the time is not over.
const SAMPLES_MIN: usize = 1_000;
/// When a datagram that does not return is lost.
const LOST_AFTER: Duration = Duration::from_millis(500);
/// How many may be lost of all.
const LOST_MAX: usize = 10;

/// One round.
pub(super) fn round(which: System, load: Load, settings: &Settings) -> anyhow::Result<Sample> {
    let placement = settings.cores(load);
    let lab = Lab::new()?;
    let mut switch = system::start(which, &settings.programs, &lab, &Topology::pair(Attachment::Tap, Hosts::Stack), placement)?;
    lab.client.address(CLIENT_IF, "10.77.0.1/24")?;
    lab.server.address(SERVER_IF, "10.77.0.2/24")?;
    let bind = |address: &str| UdpSocket::bind(address).with_context(|| format!("bind {address}"));
    // A socket stays in the namespace it was made in, whoever uses it.
    let client = lab.client.inside(|| {
        let socket = bind("10.77.0.1:7")?;
        socket.connect("10.77.0.2:7")?;
        Ok(socket)
    })?;
    let server = lab.server.inside(|| bind("10.77.0.2:7"))?;
    let stop = AtomicBool::new(false);
    let (times, lost) = std::thread::scope(|scope| {
        let echo = scope.spawn(|| {
            cores::pin(placement.server)?;
            echo(&server, &stop)
        });
        let ping = scope.spawn(|| {
            cores::pin(placement.client)?;
            ping(&client, settings.span)
        });
        let times = ping.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        stop.store(true, Ordering::Relaxed);
        echo.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        times
    })?;
    switch.check_alive()?;
    let at = |percent| percentile(&times, percent).context("no round trips");
    Ok(Sample::new(at(50.0)?)
        .with("p99_us", at(99.0)?)
        .with("min_us", at(0.0)?)
        .with("round_trips", times.len() as f64)
        .with("lost_datagrams", lost as f64)
        .by(&switch))
}

fn echo(socket: &UdpSocket, stop: &AtomicBool) -> anyhow::Result<()> {
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut buffer = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((len, from)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..len], from).context("send an echo")?;
        }
    }
    Ok(())
}

/// Round trips in microseconds, and datagrams lost.
fn ping(socket: &UdpSocket, span: Duration) -> anyhow::Result<(Vec<f64>, usize)> {
    socket.set_read_timeout(Some(LOST_AFTER))?;
    let mut times = Vec::with_capacity(1 << 20);
    let (mut lost, mut number, mut counting_since) = (0, 0u64, Instant::now());
    let mut buffer = [0; 64];
    loop {
        interrupt::check()?;
        number += 1;
        let start = Instant::now();
        socket.send(&number.to_be_bytes()).context("send a datagram")?;
        let returned = loop {
            match socket.recv(&mut buffer) {
                Ok(len) if buffer[..len] == number.to_be_bytes() => break true,
                // One that was given up before.
                Ok(_) => {}
                Err(_) => break false,
            }
        };
        if number as usize <= WARM_UP {
            counting_since = Instant::now();
            continue;
        }
        if !returned {
            lost += 1;
            if lost > LOST_MAX {
                bail!("{lost} datagrams lost of {}", number as usize - WARM_UP);
            }
            continue;
        }
        times.push(start.elapsed().as_nanos() as f64 / 1e3);
        if times.len() >= SAMPLES_MIN && counting_since.elapsed() >= span {
            return Ok((times, lost));
        }
    }
}
