//! How often the router sends ICMP errors, as Linux limits them (`icmp_global_allow`, `icmpv4_xrlim_allow` in
//! `net/ipv4/icmp.c`; `icmpv6_xrlim_allow` in `net/ipv6/icmp.c`; `inet_peer_xrlim_allow` in `net/ipv4/inetpeer.c`).

use super::IcmpError;
use crate::clock::Nanos;
use crate::router::address::{Address, Family};

/// Tokens a station saves at most (`XRLIM_BURST_FACTOR`).
const BURST_FACTOR: Nanos = 6;
/// Stations in the table: sets of [`WAYS`].
const SETS: usize = 256;
const WAYS: usize = 4;
const SECOND: Nanos = 1_000_000_000;

/// Limits, under the names of the sysctls. They are those of one worker: errors about packets that different workers receive
/// are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Least time between two errors to one station, on average; 0 for no limit.
    pub icmp_ratelimit: Nanos,
    /// IPv4: bit n limits type n. The default limits destination unreachable, source quench, time exceeded and parameter
    /// problem. IPv6 limits every error but packet too big.
    pub icmp_ratemask: u32,
    /// Errors of limited types a second in all; 0 for no limit.
    pub icmp_msgs_per_sec: u32,
    /// How many of them at once.
    pub icmp_msgs_burst: u32,
}

impl Default for RateLimit {
    fn default() -> RateLimit {
        RateLimit { icmp_ratelimit: SECOND, icmp_ratemask: 0x1818, icmp_msgs_per_sec: 1000, icmp_msgs_burst: 50 }
    }
}

impl RateLimit {
    /// Whether errors of this type are limited. Never those that path MTU discovery needs.
    fn covers(&self, family: Family, error: IcmpError) -> bool {
        match family {
            Family::V4 => (error.kind, error.code) != (3, 4) && self.icmp_ratemask.checked_shr(error.kind.into()).unwrap_or(0) & 1 != 0,
            Family::V6 => error.kind != 2,
        }
    }
}

/// The bucket of a station: what it saved until `last`, in nanoseconds.
#[derive(Clone, Copy)]
struct Station {
    family: Family,
    address: Address,
    tokens: Nanos,
    last: Nanos,
}

/// The buckets of one worker. A station that was not heard of for longest makes room for another.
pub struct IcmpLimiter {
    stations: Box<[[Option<Station>; WAYS]]>,
    /// Nanoseconds of [`RateLimit::icmp_msgs_per_sec`] that may be spent, until `last`.
    credit: Nanos,
    last: Option<Nanos>,
}

impl IcmpLimiter {
    /// Full buckets.
    pub fn new() -> IcmpLimiter {
        IcmpLimiter { stations: vec![[None; WAYS]; SETS].into(), credit: 0, last: None }
    }

    /// Whether an error may be sent to `to` now, which takes a token.
    pub fn allow(&mut self, limit: &RateLimit, family: Family, to: Address, error: IcmpError, now: Nanos) -> bool {
        if !limit.covers(family, error) {
            return true;
        }
        // One after the other: what a station of its own limit may not get takes nothing from the others.
        let price = SECOND.checked_div(limit.icmp_msgs_per_sec.into()).unwrap_or(0);
        let most = price * u64::from(limit.icmp_msgs_burst);
        let since = self.last.map_or(most, |last| now.saturating_sub(last));
        self.credit = self.credit.saturating_add(since).min(most);
        self.last = Some(now);
        if self.credit < price || !self.station(limit, family, to, now) {
            return false;
        }
        self.credit -= price;
        true
    }

    fn station(&mut self, limit: &RateLimit, family: Family, address: Address, now: Nanos) -> bool {
        let most = BURST_FACTOR * limit.icmp_ratelimit;
        // Who can choose addresses so that they share a set can get more errors by it, but not more than all may.
        let hash = (address.0 as u64 ^ (address.0 >> 64) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let set = &mut self.stations[hash as usize >> 32 & (SETS - 1)];
        let is_it = |slot: &Option<Station>| slot.is_some_and(|station| station.family == family && station.address == address);
        let oldest = || (0..WAYS).min_by_key(|way| set[*way].map_or(0, |station| station.last + 1)).unwrap_or(0);
        let way = set.iter().position(is_it).unwrap_or_else(oldest);
        let station = match &mut set[way] {
            Some(station) if is_it(&Some(*station)) => station,
            slot => slot.insert(Station { family, address, tokens: most, last: now }),
        };
        station.tokens = station.tokens.saturating_add(now.saturating_sub(station.last)).min(most);
        station.last = now;
        let allowed = station.tokens >= limit.icmp_ratelimit;
        if allowed {
            station.tokens -= limit.icmp_ratelimit;
        }
        allowed
    }
}

impl Default for IcmpLimiter {
    fn default() -> IcmpLimiter {
        IcmpLimiter::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ERROR: IcmpError = IcmpError::ttl_exceeded(Family::V4);

    fn allowed(limiter: &mut IcmpLimiter, limit: &RateLimit, to: u128, now: Nanos, tries: usize) -> usize {
        (0..tries).filter(|_| limiter.allow(limit, Family::V4, Address(to), ERROR, now)).count()
    }

    #[test]
    fn a_station_gets_six_at_once_and_then_one_a_second() {
        let (mut limiter, limit) = (IcmpLimiter::new(), RateLimit::default());
        assert_eq!(allowed(&mut limiter, &limit, 1, 0, 20), 6);
        assert_eq!(allowed(&mut limiter, &limit, 1, SECOND - 1, 20), 0);
        assert_eq!(allowed(&mut limiter, &limit, 1, SECOND, 20), 1);
        assert_eq!(allowed(&mut limiter, &limit, 2, SECOND, 20), 6, "another station");
        assert_eq!(allowed(&mut limiter, &limit, 1, 100 * SECOND, 20), 6);
    }

    #[test]
    fn all_stations_get_fifty_at_once_and_a_thousand_a_second() {
        let (mut limiter, limit) = (IcmpLimiter::new(), RateLimit::default());
        let once: usize = (0..1000).map(|to| allowed(&mut limiter, &limit, to, 0, 1)).sum();
        assert_eq!(once, 50);
        let second: usize = (1..=1000).map(|ms| allowed(&mut limiter, &limit, 10_000 + ms, ms as Nanos * 1_000_000, 3)).sum();
        assert_eq!(second, 1000);
        assert_eq!(limiter.stations.len() * WAYS, 1024, "the table does not grow");
    }

    #[test]
    fn path_mtu_discovery_and_types_outside_the_mask_are_not_limited() {
        let (mut limiter, limit) = (IcmpLimiter::new(), RateLimit::default());
        let mut count = |family, error| (0..200).filter(|_| limiter.allow(&limit, family, Address(9), error, 0)).count();
        assert_eq!(count(Family::V4, IcmpError::too_big(Family::V4, 1400)), 200);
        assert_eq!(count(Family::V6, IcmpError::too_big(Family::V6, 1400)), 200);
        assert_eq!(count(Family::V4, IcmpError::redirect(Address(1))), 200);
        assert_eq!(count(Family::V6, IcmpError::no_route(Family::V6)), 6);
        let none = RateLimit { icmp_ratelimit: 0, icmp_msgs_per_sec: 0, ..RateLimit::default() };
        assert_eq!(allowed(&mut limiter, &none, 9, 0, 200), 200);
    }
}
