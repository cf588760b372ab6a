//! What an agent is told by the configuration.

use std::collections::BTreeSet;

use dataplane::clock::Nanos;
use dataplane::router::{Address, InterfaceAddress};
use wire::MacAddr;

const SECOND: Nanos = 1_000_000_000;

/// Times and limits, under the names of the sysctls in `net/ipv4/neigh` with their defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighbourSettings {
    /// How long a confirmed neighbour counts as reachable; taken anew at random from half to one and a half of it, once for each
    /// confirmation.
    pub base_reachable_time: Nanos,
    /// Between two probes.
    pub retrans_time: Nanos,
    /// From the first use of a stale entry to the first probe.
    pub delay_first_probe_time: Nanos,
    /// Probes to the address that is known.
    pub ucast_solicit: u32,
    /// Probes to all.
    pub mcast_solicit: u32,
    /// How long a stale entry stays without use.
    pub gc_stale_time: Nanos,
    /// Entries below which none is removed for its age.
    pub gc_thresh1: usize,
    /// Entries at most, of one router.
    pub gc_thresh3: usize,
    /// A known address is not replaced by another within this time.
    pub locktime: Nanos,
    /// Answers for others are delayed by up to this.
    pub proxy_delay: Nanos,
    /// Delayed answers that wait at most.
    pub proxy_qlen: usize,
}

impl Default for NeighbourSettings {
    fn default() -> NeighbourSettings {
        NeighbourSettings {
            base_reachable_time: 30 * SECOND,
            retrans_time: SECOND,
            delay_first_probe_time: 5 * SECOND,
            ucast_solicit: 3,
            mcast_solicit: 3,
            gc_stale_time: 60 * SECOND,
            gc_thresh1: 128,
            gc_thresh3: 1024,
            locktime: SECOND,
            proxy_delay: 8 * SECOND / 10,
            proxy_qlen: 64,
        }
    }
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceSettings {
    /// Its name, for logs.
    pub name: String,
    /// Its MAC address.
    pub mac: MacAddr,
    /// Its addresses.
    pub addresses: Vec<InterfaceAddress>,
    /// Answer ARP requests for hosts behind other interfaces.
    pub proxy_arp: bool,
    /// Answer ARP requests for hosts behind this interface too.
    pub proxy_arp_pvlan: bool,
    /// IPv6 addresses of others for which solicitations are answered.
    pub proxy_ndp: BTreeSet<Address>,
}
