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

/// CPU time that everything on this machine has used, all cores together, in ticks of 10 ms (`/proc/stat`, proc(5)). What other
/// virtual machines took away (steal) is not ours, and idle time is not used.
///
/// # Errors
///
/// When `/proc/stat` cannot be read.
pub fn of_the_machine() -> anyhow::Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    busy(&text).with_context(|| format!("/proc/stat: no CPU times in \"{}\"", text.lines().next().unwrap_or_default()))
}

/// user, nice, system, (idle, iowait,) irq, softirq.
fn busy(stat: &str) -> Option<Duration> {
    let columns: Vec<u64> = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let ticks: u64 = [0, 1, 2, 5, 6].iter().map(|column| columns.get(*column)).sum::<Option<u64>>()?;
    Some(Duration::from_millis(ticks * 10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn idle_and_stolen_time_is_not_used() {
        assert_eq!(busy("cpu  1 2 3 1000 2000 4 5 3000 0 0\ncpu0 9 9 9\n"), Some(Duration::from_millis(150)));
        assert_eq!(busy("cpu  1 2 3\n"), None);
        assert!(of_the_machine().unwrap() > Duration::ZERO);
    }

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
