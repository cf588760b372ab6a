//! CPU time of a process, in nanoseconds.
//!
//! From `/proc/PID/task/*/schedstat` (`Documentation/scheduler/sched-stats.rst`), whose first number counts nanoseconds on a
//! core; `/proc/PID/stat` counts ticks of 10 ms, too coarse for an idle daemon.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, bail};

/// CPU time that all threads of process `pid` have used. Threads that ended are not counted: measure processes whose
/// threads stay.
///
/// # Errors
///
/// When there is no such process, or the kernel keeps no such statistics.
pub fn of(pid: u32) -> anyhow::Result<Duration> {
    let tasks = format!("/proc/{pid}/task");
    let mut nanos = 0;
    for task in fs::read_dir(&tasks).with_context(|| format!("{tasks} (has process {pid} ended?)"))? {
        let path = task?.path().join("schedstat");
        // A thread may end between the two looks.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        match text.split_whitespace().next().map(str::parse::<u64>) {
            Some(Ok(n)) => nanos += n,
            _ => bail!("{}: no CPU time in \"{}\"", path.display(), text.trim()),
        }
    }
    if nanos == 0 {
        bail!("{tasks}/*/schedstat counts nothing (needs a kernel with CONFIG_SCHED_INFO)");
    }
    Ok(Duration::from_nanos(nanos))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn work_counts_and_sleep_does_not() {
        let pid = std::process::id();
        let before = of(pid).unwrap();
        let start = Instant::now();
        let mut worked = Duration::ZERO;
        // Until the kernel says so itself: on a loaded machine this takes longer, never shorter.
        while worked < Duration::from_millis(20) {
            assert!(start.elapsed() < Duration::from_secs(60), "20 ms of work are not counted: {worked:?}");
            std::hint::black_box((0..10_000).sum::<u64>());
            worked = of(pid).unwrap() - before;
        }
        assert!(of(u32::MAX).is_err());
    }
}
