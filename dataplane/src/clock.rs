//! Time as the data plane sees it: an argument, never read here.

/// Nanoseconds since the daemon started.
pub type Nanos = u64;

/// Nanoseconds of one tick: the grain of FDB ages. 2^28 ns, about 268 ms.
pub const TICK_NANOS: u64 = 1 << 28;

/// The tick a moment lies in.
#[inline]
pub const fn tick(now: Nanos) -> u32 {
    (now >> 28) as u32
}

/// A span in ticks, rounded up, so that nothing expires early.
#[inline]
pub const fn ticks(span_nanos: u64) -> u32 {
    let ticks = span_nanos.div_ceil(TICK_NANOS);
    if ticks > u32::MAX as u64 { u32::MAX } else { ticks as u32 }
}

/// A monotonic clock; `vswitch` gives the real one, tests a virtual one.
pub trait Clock: Send {
    /// Nanoseconds since some fixed moment, never going back.
    fn now(&self) -> Nanos;
}
