//! Cookies: what the proxy has to know of a SYN, in the numbers that the client sends back (as `net/ipv4/syncookies.c`).

use std::hash::BuildHasher;

use crate::clock::Nanos;
use crate::router::address::Family;
use crate::router::packet::{Packet, Upper};

/// How long the time in a cookie stands still.
const PERIOD: Nanos = 60 * 1_000_000_000;
/// Periods a cookie is good for: the one it was made in and the next.
const AGE_MAX: u32 = 2;
/// Bits below the time.
const LOW: u32 = 0xff_ffff;

/// The segment sizes a cookie can hold: the client's is rounded down to one of them.
const fn segment_sizes(family: Family) -> [u16; 4] {
    match family {
        Family::V4 => [536, 1300, 1440, 1460],
        Family::V6 => [1280 - 60, 1480 - 60, 1500 - 60, 9000 - 60],
    }
}

/// Makes and checks cookies.
pub(super) struct Cookies<S> {
    hasher: S,
}

impl<S: BuildHasher> Cookies<S> {
    pub(super) fn new(hasher: S) -> Cookies<S> {
        Cookies { hasher }
    }

    /// A number that only we can compute, of the ends of a packet, `sequence` and `salt`.
    fn hash(&self, packet: &Packet, sequence: u32, salt: u64) -> u32 {
        let ports = match packet.upper {
            Upper::Ports { source, destination, .. } => (source, destination),
            _ => (0, 0),
        };
        self.hasher.hash_one((packet.source, packet.destination, ports, sequence, salt)) as u32
    }

    /// The cookie for a SYN with `sequence` of a client whose segments have up to `mss` octets.
    pub(super) fn make(&self, packet: &Packet, sequence: u32, mss: u16, now: Nanos) -> u32 {
        let index = segment_sizes(packet.family).iter().rposition(|size| *size <= mss).unwrap_or(0) as u32;
        let period = now / PERIOD;
        // The first hash hides the time, and the second, which depends on it, the rest. The sequence number is hashed, where
        // Linux adds it: a number next to it would otherwise give another segment size with the same cookie.
        let low = self.hash(packet, sequence, 1 + period).wrapping_add(index) & LOW;
        self.hash(packet, sequence, 0).wrapping_add((period as u32) << 24).wrapping_add(low)
    }

    /// The segment size in a cookie; `None` if it is none for a SYN with `sequence`, or too old.
    pub(super) fn check(&self, packet: &Packet, sequence: u32, cookie: u32, now: Nanos) -> Option<u16> {
        let inner = cookie.wrapping_sub(self.hash(packet, sequence, 0));
        let period = now / PERIOD;
        let age = (period as u32).wrapping_sub(inner >> 24) & 0xff;
        let made = period.checked_sub(age.into()).filter(|_| age < AGE_MAX)?;
        let index = inner.wrapping_sub(self.hash(packet, sequence, 1 + made)) & LOW;
        segment_sizes(packet.family).get(index as usize).copied()
    }
}

/// What a client told of itself, in the lower six bits of the timestamp it is shown (`synproxy_init_timestamp_cookie`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Window scale, 0 to 14.
    pub(super) wscale: Option<u8>,
    /// SACK permitted.
    pub(super) sack: bool,
    /// ECN wanted.
    pub(super) ecn: bool,
}

impl Told {
    /// Window scale, if there is none.
    const NO_SCALE: u32 = 0xf;
    const SACK: u32 = 1 << 4;
    const ECN: u32 = 1 << 5;

    /// The timestamp of a moment with all of it.
    pub(super) fn in_timestamp(self, clock: u32) -> u32 {
        let wscale = self.wscale.map_or(Told::NO_SCALE, |scale| u32::from(scale.min(14)));
        let bit = |is: bool, bit| if is { bit } else { 0 };
        clock & !0x3f | wscale | bit(self.sack, Told::SACK) | bit(self.ecn, Told::ECN)
    }

    /// What a timestamp says.
    pub(super) fn from_timestamp(timestamp: u32) -> Told {
        let wscale = timestamp & 0xf;
        Told {
            wscale: (wscale != Told::NO_SCALE).then_some(wscale as u8),
            sack: timestamp & Told::SACK != 0,
            ecn: timestamp & Told::ECN != 0,
        }
    }
}
