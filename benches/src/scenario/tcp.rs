//! TCP from the client to the server (`iperf3`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Deserialize;

use super::syn_flood;
use crate::cores::Load;
use crate::cpu_time;
use crate::lab::{Lab, Running};
use crate::scenario::{Sample, Settings};
use crate::system::{self, System, router};
use crate::topology::{Attachment, CLIENT_IF, Hosts, SERVER_IF, Topology};

/// Seconds at the start that do not count: slow start, and the caches.
const WARM_UP: u64 = 1;

/// What we read of the report of `iperf3 -J`.
#[derive(Deserialize)]
struct Iperf {
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    end: Option<End>,
}

#[derive(Deserialize)]
struct End {
    sum_sent: Option<Sum>,
    sum_received: Option<Sum>,
}

#[derive(Deserialize)]
struct Sum {
    bits_per_second: f64,
    #[serde(default)]
    retransmits: u64,
}

/// One round.
pub(super) fn round(
    system: System,
    attachment: Attachment,
    streams: u8,
    offload: bool,
    flooded: bool,
    settings: &Settings,
) -> anyhow::Result<Sample> {
    let cores = settings.cores(Load::Stream);
    let lab = Lab::new()?;
    let hosts = if offload { Hosts::Stack } else { Hosts::StackWithoutOffload };
    let mut switch = system::start(system, &settings.programs, &lab, &Topology::pair(attachment, hosts), cores)?;
    let server_address = if system.is_router() { router::SERVER } else { "10.77.0.2" };
    lab.client.address(CLIENT_IF, &format!("{}/24", router::CLIENT))?;
    lab.server.address(SERVER_IF, &format!("{server_address}/24"))?;
    if system.is_router() {
        lab.client.run("ip", &["route", "add", "default", "via", router::ROUTER[0]])?;
    }

    if flooded {
        syn_flood::prepare(&lab)?;
    }

    let mut command = lab.server.command("iperf3", cores.server);
    command.args(["-s", "-1", "-B", server_address, "--forceflush"]);
    let mut server = Running::start("the iperf3 server", &mut command)?;
    server.wait_for_line("Server listening")?;
    let seconds = settings.span.as_secs().max(1);
    let mut command = lab.client.command("iperf3", cores.client);
    command.args(["-c", server_address, "-J", "-O", &WARM_UP.to_string(), "-t", &seconds.to_string(), "-P", &streams.to_string()]);
    let client = Running::start("the iperf3 client", &mut command)?;
    let before = switch.pid().map(cpu_time::of).transpose()?;
    let stop = AtomicBool::new(false);
    let (text, syns) = std::thread::scope(|scope| {
        let flood = flooded.then(|| scope.spawn(|| syn_flood::flood(&lab, &stop)));
        let text = client.output(Duration::from_secs(WARM_UP + seconds + 20));
        stop.store(true, Ordering::Relaxed);
        (text, flood.map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))))
    });
    let (text, syns) = (text?, syns.transpose()?);
    switch.check_alive()?;
    let used = switch.pid().map(cpu_time::of).transpose()?;
    let (rate, retransmits) = read(&text)?;
    let mut sample = Sample::new(rate / 1e9).with("retransmits", retransmits as f64);
    if let (Some(before), Some(used)) = (before, used) {
        let seconds = (WARM_UP + seconds) as f64;
        sample = sample.with("switch_cpu_percent", (used - before).as_secs_f64() / seconds * 100.0);
    }
    if let Some(syns) = syns {
        sample = sample.with("syn_frames", syns as f64);
    }
    Ok(sample.by(&switch))
}

/// Bits per second that arrived, and segments sent again.
fn read(text: &str) -> anyhow::Result<(f64, u64)> {
    let report: Iperf = serde_json::from_str(text).context("read the report of iperf3")?;
    if let Some(error) = report.error {
        bail!("iperf3: {error}");
    }
    let end = report.end.context("iperf3 reports no end")?;
    let received = end.sum_received.context("iperf3 reports no received data")?;
    if received.bits_per_second <= 0.0 {
        bail!("iperf3: nothing arrived");
    }
    Ok((received.bits_per_second, end.sum_sent.map_or(0, |sum| sum.retransmits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_data_that_arrived_gives_a_figure() {
        let good = r#"{"end":{"sum_sent":{"bits_per_second":2e9,"retransmits":7},"sum_received":{"bits_per_second":1.5e9}}}"#;
        assert_eq!(read(good).unwrap(), (1.5e9, 7));
        for bad in [
            r#"{"error":"unable to connect","end":{}}"#,
            r#"{"end":{"sum_received":{"bits_per_second":0}}}"#,
            r#"{"end":{"sum_sent":{"bits_per_second":1}}}"#,
            "{}",
            "",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
