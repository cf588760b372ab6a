//! What a run ran on.

use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::cores;
use crate::lab::first_line_of;

/// The machine, the software and the moment of a run. Empty where it cannot be found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Seconds since 1970-01-01 00:00 UTC.
    pub unix_time: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// Model of the processor.
    pub cpu: String,
    /// Cores the run may use.
    pub cores: Vec<u16>,
    /// Commit of the sources, with `-dirty` when they were changed.
    pub commit: String,
    /// `release` or `debug`. Figures of debug builds mean nothing.
    pub profile: String,
    /// What `iperf3 --version` says.
    pub iperf3: String,
    /// What `ip -V` says.
    pub iproute2: String,
    /// What `vswitchd --version` says.
    pub vswitchd: String,
    /// Load average of the last minute when the run began. Above 0.5 the figures are those of a busy machine.
    pub load: f64,
}

impl Machine {
    /// This machine now.
    pub fn here(vswitchd: &Path) -> Machine {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("", |(_, model)| model);
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        Machine {
            unix_time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |span| span.as_secs()),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().into(),
            cpu: cpu.trim().into(),
            cores: cores::allowed(),
            commit: first_line_of("git", &["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" }.into(),
            iperf3: first_line_of("iperf3", &["--version"]),
            iproute2: first_line_of("ip", &["-V"]),
            vswitchd: vswitchd.to_str().map(|path| first_line_of(path, &["--version"])).unwrap_or_default(),
            load: load.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0.0),
        }
    }
}
