//! How often the router sends ICMP errors, as Linux limits them (`icmp_global_allow`, `icmpv4_xrlim_allow` in
//! `net/ipv4/icmp.c`; `inet_peer_xrlim_allow` in `net/ipv4/inetpeer.c`).

use super::IcmpError;
use crate::clock::Nanos;
use crate::router::address::{Address, Family};

/// Limits, under the names of the sysctls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Least time between two errors to one station, on average; 0 for no limit.
    pub icmp_ratelimit: Nanos,
    /// IPv4: bit n limits type n.
    pub icmp_ratemask: u32,
    /// Errors of limited types a second in all.
    pub icmp_msgs_per_sec: u32,
    /// How many of them at once.
    pub icmp_msgs_burst: u32,
}

impl Default for RateLimit {
    fn default() -> RateLimit {
        RateLimit { icmp_ratelimit: 1_000_000_000, icmp_ratemask: 0x1818, icmp_msgs_per_sec: 1000, icmp_msgs_burst: 50 }
    }
}

/// The buckets of one worker.
pub struct IcmpLimiter {
    todo: (),
}

impl IcmpLimiter {
    /// Full buckets.
    pub fn new() -> IcmpLimiter {
        unimplemented!()
    }

    /// Whether an error may be sent to `to` now, which takes a token.
    pub fn allow(&mut self, limit: &RateLimit, family: Family, to: Address, error: IcmpError, now: Nanos) -> bool {
        unimplemented!()
    }
}
