//! What an agent is told by the configuration.

use std::collections::BTreeSet;

use dataplane::clock::Nanos;
use dataplane::router::{Address, InterfaceAddress};
use wire::MacAddr;

const SECOND: Nanos = 1_000_000_000;

/// Times and limits of one family behind one interface, under the names of the sysctls in `net/ipv4/neigh` and `net/ipv6/neigh`.
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
    /// Probes to all after those to the address that is known.
    pub mcast_resolicit: u32,
    /// How long a stale entry stays without use.
    pub gc_stale_time: Nanos,
    /// A known address is not replaced by another within this time (ARP).
    pub locktime: Nanos,
    /// Answers for others are delayed by up to this.
    pub proxy_delay: Nanos,
    /// Delayed answers that wait at most.
    pub proxy_qlen: usize,
}

impl NeighbourSettings {
    /// The defaults of Linux for IPv4 (`arp_tbl`, `net/ipv4/arp.c`).
    pub const ARP: NeighbourSettings = NeighbourSettings {
        base_reachable_time: 30 * SECOND,
        retrans_time: SECOND,
        delay_first_probe_time: 5 * SECOND,
        ucast_solicit: 3,
        mcast_solicit: 3,
        mcast_resolicit: 0,
        gc_stale_time: 60 * SECOND,
        locktime: SECOND,
        proxy_delay: 8 * SECOND / 10,
        proxy_qlen: 64,
    };
    /// Those for IPv6 (`nd_tbl`, `net/ipv6/ndisc.c`).
    pub const ND: NeighbourSettings = NeighbourSettings { locktime: 0, ..NeighbourSettings::ARP };
}

/// Limits of the table of one family, under the names of the sysctls in `net/ipv4/neigh/default` with their defaults. Entries that are
/// configured do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableSettings {
    /// Entries up to which none is removed for its age.
    pub gc_thresh1: usize,
    /// Entries above which those without use for some seconds are removed.
    pub gc_thresh2: usize,
    /// Entries at most.
    pub gc_thresh3: usize,
}

impl Default for TableSettings {
    fn default() -> TableSettings {
        TableSettings { gc_thresh1: 128, gc_thresh2: 512, gc_thresh3: 1024 }
    }
}

/// What is the same behind all interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouterSettings {
    /// Whether packets pass through the router.
    pub forwarding: bool,
    /// Limits of the tables of IPv4 and IPv6.
    pub tables: [TableSettings; 2],
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
    /// Times and limits of IPv4 and IPv6.
    pub neigh: [NeighbourSettings; 2],
}
