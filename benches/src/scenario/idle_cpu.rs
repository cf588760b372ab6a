//! CPU time of `vswitchd` with 16 TAP ports and no traffic.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proto::config::PollMode;

use crate::cores::Cores;
use crate::cpu_time;
use crate::interrupt;
use crate::lab::Lab;
use crate::scenario::{Sample, Settings};
use crate::system::{self, tap};

const PORTS: usize = 16;
/// Until what the start set off is over.
const SETTLE: Duration = Duration::from_secs(1);
/// An idle daemon does little, so look for long.
const SPAN_MIN: Duration = Duration::from_secs(5);

/// One round.
pub(super) fn round(settings: &Settings) -> anyhow::Result<Sample> {
    let lab = Lab::new()?;
    let ports: BTreeMap<_, _> = (0..PORTS).map(|i| (format!("p{i}"), tap(lab.client.name(), &format!("tap{i}")))).collect();
    let mut running = system::start_vswitchd(&settings.programs, &lab, &ports, PollMode::Adaptive, Cores::default())?;
    for i in 0..PORTS {
        lab.client.run("ip", &["link", "set", &format!("tap{i}"), "up"])?;
    }
    interrupt::sleep(SETTLE)?;
    let start = Instant::now();
    let before = cpu_time::of(running.pid())?;
    interrupt::sleep(settings.span.max(SPAN_MIN))?;
    let used = cpu_time::of(running.pid())? - before;
    running.check_alive()?;
    Ok(Sample::new(used.as_secs_f64() / start.elapsed().as_secs_f64() * 100.0))
}
