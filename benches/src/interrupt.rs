//! SIGINT, SIGTERM and SIGHUP end a run in good order: what runs notices at its next [`check`] and fails, and everything is
//! torn down as the stack unwinds.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Installs the handlers. A second signal ends the process at once, leaving the namespaces to the next run.
///
/// # Errors
///
/// What the operating system says.
pub fn install() -> std::io::Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // In this order: the first signal finds the flag unset, and sets it.
        signal_hook::flag::register_conditional_shutdown(signal, 130, INTERRUPTED.clone())?;
        signal_hook::flag::register(signal, INTERRUPTED.clone())?;
    }
    Ok(())
}

/// Whether a signal came.
pub fn came() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Fails when a signal came.
///
/// # Errors
///
/// "interrupted".
pub fn check() -> anyhow::Result<()> {
    if came() {
        bail!("interrupted");
    }
    Ok(())
}

/// Sleeps for `span`, or until a signal comes.
///
/// # Errors
///
/// As [`check`].
pub fn sleep(span: Duration) -> anyhow::Result<()> {
    let end = Instant::now() + span;
    loop {
        check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_millis(50)));
    }
}

/// Looks every few milliseconds until `condition` gives a value, for at most `span`.
///
/// # Errors
///
/// Those of the condition, [`check`]'s, and a message that names `what` when the time is over.
pub fn wait_for<T>(what: &str, span: Duration, mut condition: impl FnMut() -> anyhow::Result<Option<T>>) -> anyhow::Result<T> {
    let end = Instant::now() + span;
    loop {
        check()?;
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if Instant::now() >= end {
            bail!("not within {} s: {what}", span.as_secs_f64());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
