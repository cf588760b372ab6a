//! The timers and limits of neighbors: what may be set, and what holds at last.

use std::time::Duration;

use dataplane::clock::Nanos;
use dataplane::router::waiting;
use proto::config::Span;
use proto::neigh::{InterfaceNeighConfig, NeighConfig};
use proto::router::{InterfaceConfig, RouterConfig};

use super::problem::{Problem, Subject};
use super::router::TIMEOUT_MAX;
use crate::neighbour::{NeighbourSettings, TableSettings};

/// Neighbors of one family of a router at most.
pub const GC_THRESH_MAX: u32 = 65_536;
/// Shortest time between two probes, as in Linux (`HZ/100`, `neigh_timer_handler`).
const RETRANS_MIN: Duration = Duration::from_millis(10);
/// Probes at most.
const SOLICIT_MAX: u32 = 255;
/// Delayed answers that wait at most.
const PROXY_QLEN_MAX: u32 = 1024;
/// How much longer than its probes take a packet waits for a neighbor: control has other work, too.
const PATIENCE: Nanos = 2_000_000_000;

/// Says what is wrong with those of a router and its interfaces.
pub(super) fn check(name: &str, router: &RouterConfig, problems: &mut Vec<Problem>) {
    for (key, config) in [("ipv4_neigh", &router.ipv4_neigh), ("ipv6_neigh", &router.ipv6_neigh)] {
        let subject = Subject::Neigh(name.to_owned(), key);
        values(&subject, &config.of_interface(&InterfaceNeighConfig::default()), problems);
        no_locktime(&subject, key, config.locktime, problems);
        for (key, number) in config.limits() {
            bound(&subject, key, number, u32::from(key == "gc_thresh3"), GC_THRESH_MAX, problems);
        }
    }
    for (interface, settings) in &router.interface {
        for (key, config) in [("ipv4_neigh", &settings.ipv4_neigh), ("ipv6_neigh", &settings.ipv6_neigh)] {
            let subject = Subject::InterfaceNeigh(name.to_owned(), interface.clone(), key);
            no_locktime(&subject, key, config.locktime, problems);
            values(&subject, config, problems);
        }
    }
}

/// Neighbor discovery has flags for what ARP has the time (`arp_process`, `ndisc_recv_na`).
fn no_locktime(subject: &Subject, key: &str, locktime: Option<Span>, problems: &mut Vec<Problem>) {
    if key == "ipv6_neigh" && locktime.is_some() {
        let problem = Problem::new(subject.clone(), "neighbor discovery knows no `locktime`").at("locktime");
        problems.push(problem.help("remove it; advertisements say whether they replace an address"));
    }
}

fn values(subject: &Subject, config: &InterfaceNeighConfig, problems: &mut Vec<Problem>) {
    for (key, Span(time)) in config.times() {
        let least = match key {
            "retrans_time" => RETRANS_MIN,
            "base_reachable_time" | "gc_stale_time" => Duration::from_millis(1),
            _ => Duration::ZERO,
        };
        if time < least || time > TIMEOUT_MAX {
            let help = format!("{} to {}", Span(least), Span(TIMEOUT_MAX));
            problems.push(Problem::new(subject.clone(), format!("a time of {}", Span(time))).at(key).help(help));
        }
    }
    for (key, number) in config.numbers() {
        let most = match key {
            "unres_qlen_bytes" => waiting::MEMORY as u32,
            "proxy_qlen" => PROXY_QLEN_MAX,
            _ => SOLICIT_MAX,
        };
        bound(subject, key, number, 0, most, problems);
    }
}

fn bound(subject: &Subject, key: &str, number: u32, least: u32, most: u32, problems: &mut Vec<Problem>) {
    if !(least..=most).contains(&number) {
        problems.push(Problem::new(subject.clone(), format!("`{key}` = {number}")).at(key).help(format!("{least} to {most}")));
    }
}

/// The limits of the tables of a router, for IPv4 and IPv6.
pub fn tables(router: &RouterConfig) -> [TableSettings; 2] {
    let default = TableSettings::default();
    let table = |config: &NeighConfig| {
        let or = |set: Option<u32>, default: usize| set.map_or(default, |number| number as usize);
        TableSettings {
            gc_thresh1: or(config.gc_thresh1, default.gc_thresh1),
            gc_thresh2: or(config.gc_thresh2, default.gc_thresh2),
            gc_thresh3: or(config.gc_thresh3, default.gc_thresh3),
        }
    };
    [table(&router.ipv4_neigh), table(&router.ipv6_neigh)]
}

/// What holds for neighbors behind an interface, for IPv4 and IPv6.
pub fn settings(router: &RouterConfig, interface: &InterfaceConfig) -> [NeighbourSettings; 2] {
    let both = [
        (router.ipv4_neigh.of_interface(&interface.ipv4_neigh), NeighbourSettings::ARP),
        (router.ipv6_neigh.of_interface(&interface.ipv6_neigh), NeighbourSettings::ND),
    ];
    both.map(|(config, default)| {
        let time = |set: Option<Span>, default: Nanos| set.map_or(default, Span::nanos);
        NeighbourSettings {
            base_reachable_time: time(config.base_reachable_time, default.base_reachable_time),
            retrans_time: time(config.retrans_time, default.retrans_time),
            delay_first_probe_time: time(config.delay_first_probe_time, default.delay_first_probe_time),
            gc_stale_time: time(config.gc_stale_time, default.gc_stale_time),
            locktime: time(config.locktime, default.locktime),
            proxy_delay: time(config.proxy_delay, default.proxy_delay),
            ucast_solicit: config.ucast_solicit.unwrap_or(default.ucast_solicit),
            mcast_solicit: config.mcast_solicit.unwrap_or(default.mcast_solicit),
            mcast_resolicit: config.mcast_resolicit.unwrap_or(default.mcast_resolicit),
            proxy_qlen: config.proxy_qlen.map_or(default.proxy_qlen, |number| number as usize),
        }
    })
}

/// How packets wait for neighbors behind an interface, for IPv4 and IPv6.
pub fn waiting(router: &RouterConfig, interface: &InterfaceConfig) -> [waiting::Limits; 2] {
    let octets = [
        router.ipv4_neigh.of_interface(&interface.ipv4_neigh).unres_qlen_bytes,
        router.ipv6_neigh.of_interface(&interface.ipv6_neigh).unres_qlen_bytes,
    ];
    let mut limits =
        octets.map(|octets| waiting::Limits { octets: octets.unwrap_or(waiting::UNRES_QLEN_BYTES as u32), ..Default::default() });
    for (limits, settings) in limits.iter_mut().zip(settings(router, interface)) {
        let probes = settings.retrans_time.saturating_mul(settings.mcast_solicit.into());
        limits.timeout = limits.timeout.max(probes.saturating_add(PATIENCE));
    }
    limits
}
