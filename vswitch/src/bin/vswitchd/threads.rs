//! The worker threads.

use std::sync::Arc;

use anyhow::{Context, bail};
use control::workers::{WorkerSet, WorkerSlot};
use core_affinity::CoreId;
use dataplane::device::Wake;
use dataplane::worker::Worker;
use netdev::{MioPoller, MonotonicClock};
use proto::config::DaemonConfig;

/// Most workers without being told.
const WORKERS_BY_DEFAULT: usize = 8;

/// Wakes control when a worker thread ends, however it ends.
struct WakeAtEnd(Arc<dyn Wake>);

impl Drop for WakeAtEnd {
    fn drop(&mut self) {
        self.0.wake();
    }
}

/// Starts the workers the configuration asks for, each pinned if it names cores. `notify` is woken when one has news.
pub(crate) fn start(config: &DaemonConfig, clock: MonotonicClock, notify: Arc<dyn Wake>) -> anyhow::Result<WorkerSet> {
    // Asked before any thread is pinned: afterwards it tells of the pinned cores only.
    let allowed = core_affinity::get_core_ids().unwrap_or_default();
    if let Some(core) = config.cores.iter().find(|core| !allowed.iter().any(|allowed| allowed.id == usize::from(**core))) {
        let names: Vec<String> = allowed.iter().map(|core| core.id.to_string()).collect();
        bail!("daemon: cores: the daemon may not use core {core} (allowed: {})", names.join(", "));
    }
    let count = match (config.workers, config.cores.len()) {
        (0, 0) => (allowed.len() / 2).clamp(1, WORKERS_BY_DEFAULT),
        (0, cores) => cores,
        (workers, _) => usize::from(workers),
    };
    let mut slots = Vec::with_capacity(count);
    for index in 0..count {
        let core = config.cores.get(index).copied();
        let poller = MioPoller::new().context("start a worker")?;
        let waker = poller.waker();
        let (worker, handle) = Worker::new(index, Box::new(poller), waker, Box::new(clock), notify.clone());
        let at_end = WakeAtEnd(notify.clone());
        let body = move || {
            let _at_end = at_end;
            if let Some(core) = core
                && !core_affinity::set_for_current(CoreId { id: usize::from(core) })
            {
                tracing::warn!("worker {index}: cannot be pinned to core {core}");
            }
            worker.run();
        };
        let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(body).context("start a worker")?;
        slots.push(WorkerSlot { handle, core, thread });
    }
    Ok(WorkerSet::new(slots))
}
