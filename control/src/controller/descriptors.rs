//! Open descriptors and their limit: ports need one to a few each, clients one.

use std::fs;
use std::io;

use dataplane::clock::Nanos;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::Controller;

/// How often they are counted.
const INTERVAL: Nanos = 10_000_000_000;
/// Of a hundred, from which on the administrator is warned.
const WARN_PERCENT: u64 = 90;
/// Those that a new port must leave: for the store, for clients that make room again, for links that come and go.
const RESERVE: u64 = 8;
const REMEDY: &str = "raise LimitNOFILE of the service, or ulimit -n";

/// Open descriptors of the process, and how many it may have.
pub(super) fn descriptors() -> (u64, u64) {
    let max = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let none_left = |error: io::Error| matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE));
    match fs::read_dir("/proc/self/fd") {
        // One is that of the directory.
        Ok(entries) => (entries.count().saturating_sub(1) as u64, max),
        Err(error) => (if none_left(error) { max } else { 0 }, max),
    }
}

impl Controller {
    /// Warns when few descriptors are left, and takes it back when there are more again.
    pub(super) fn watch_descriptors(&mut self, now: Nanos) {
        if now < self.next_descriptors {
            return;
        }
        self.next_descriptors = now + INTERVAL;
        let (open, max) = descriptors();
        // Of a small limit the reserve is more than a tenth.
        let many = open >= max / 100 * WARN_PERCENT + max % 100 * WARN_PERCENT / 100 || open.saturating_add(2 * RESERVE) > max;
        let warning = many.then(|| format!("{open} of {max} descriptors are in use; new ports will be refused ({REMEDY})"));
        // How many they are changes all the time; that is no news.
        if warning.is_some() != self.notes.contains_key("descriptors-used") {
            self.note("descriptors-used", warning);
        }
    }

    /// Refuses what would use the last descriptors.
    pub(super) fn leaves_descriptors(&mut self) -> Result<(), String> {
        let (open, max) = descriptors();
        self.next_descriptors = 0;
        match open.saturating_add(RESERVE) > max {
            true => Err(format!("the limit of open files leaves no room: {open} of {max} would be in use ({REMEDY})")),
            false => Ok(()),
        }
    }
}
