//! The clock of the running daemon.

use std::time::Instant;

use dataplane::clock::{Clock, Nanos};

/// `CLOCK_MONOTONIC`, counted from the moment [`MonotonicClock::new`] was called. Copies count from the same moment.
#[derive(Clone, Copy, Debug)]
pub struct MonotonicClock(Instant);

impl MonotonicClock {
    /// A clock that stands at 0 now.
    pub fn new() -> MonotonicClock {
        MonotonicClock(Instant::now())
    }
}

impl Default for MonotonicClock {
    fn default() -> MonotonicClock {
        MonotonicClock::new()
    }
}

impl Clock for MonotonicClock {
    #[inline]
    fn now(&self) -> Nanos {
        // 2^64 ns are 584 years.
        self.0.elapsed().as_nanos() as Nanos
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_share_the_start_and_never_go_back() {
        let clock = MonotonicClock::new();
        let copy = clock;
        let mut last = 0;
        for i in 0..1000 {
            let now = if i % 2 == 0 { clock.now() } else { copy.now() };
            assert!(now >= last);
            last = now;
        }
    }
}
