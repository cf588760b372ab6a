//! Linux sysctls that someone may try to set at a router and that it does not have: each with the reason, and what to do.

use super::problem::Subject;

const ENDS_NO_CONNECTIONS: &str = "a router ends no TCP connections; it is a setting of the hosts behind it";
const AS_TIME: &str = "write the time under the name without _ms, with its unit: \"1500ms\"";
const OF_THE_ROUTER: &str = "the table is the router's; set it in [router.NAME.ipv4_neigh] or ipv6_neigh";
const OF_THE_TABLE: &str = "the table of connections is the daemon's; set daemon.conntrack_max";

/// Names without the prefixes of [`PREFIXES`].
const REFUSED: &[(&str, &str)] = &[
    (
        "tcp_tw_recycle",
        "removed in Linux 4.12, unsafe behind NAT: it drops SYNs of hosts that share an address. Flows in TIME_WAIT are opened anew by a SYN",
    ),
    ("tcp_tw_reuse", "a router opens no TCP connections; a SYN opens a tracked flow in TIME_WAIT anew"),
    ("tcp_syncookies", "a router ends no TCP connections; set syn_proxy of a forwarded port"),
    ("tcp_max_syn_backlog", ENDS_NO_CONNECTIONS),
    ("tcp_synack_retries", ENDS_NO_CONNECTIONS),
    ("tcp_syn_retries", ENDS_NO_CONNECTIONS),
    ("tcp_fin_timeout", ENDS_NO_CONNECTIONS),
    ("tcp_keepalive_time", ENDS_NO_CONNECTIONS),
    ("tcp_keepalive_intvl", ENDS_NO_CONNECTIONS),
    ("tcp_keepalive_probes", ENDS_NO_CONNECTIONS),
    ("tcp_max_tw_buckets", ENDS_NO_CONNECTIONS),
    ("tcp_rmem", ENDS_NO_CONNECTIONS),
    ("tcp_wmem", ENDS_NO_CONNECTIONS),
    ("tcp_mem", ENDS_NO_CONNECTIONS),
    ("tcp_timestamps", ENDS_NO_CONNECTIONS),
    ("tcp_sack", ENDS_NO_CONNECTIONS),
    ("tcp_window_scaling", ENDS_NO_CONNECTIONS),
    ("tcp_congestion_control", ENDS_NO_CONNECTIONS),
    ("somaxconn", ENDS_NO_CONNECTIONS),
    ("ip_forward", "set `forwarding` of the router"),
    ("accept_source_route", "source routes are never followed"),
    ("accept_redirects", "redirects are never followed"),
    ("accept_ra", "router advertisements are never followed; write the addresses and routes down"),
    ("max", OF_THE_TABLE),
    ("buckets", OF_THE_TABLE),
    ("expect_max", OF_THE_TABLE),
    ("helper", "helpers are chosen by rules: -t raw -A PREROUTING .. -j CT --helper ftp"),
    ("events", "events are made while somebody listens: vswitchctl conntrack -E"),
    ("app_solicit", "there is no program beside the daemon that would be asked; it probes itself (ucast_solicit, mcast_solicit)"),
    ("unres_qlen", "waiting packets are bounded by their octets; set unres_qlen_bytes"),
    ("base_reachable_time_ms", AS_TIME),
    ("retrans_time_ms", AS_TIME),
    ("gc_interval", "neighbors are looked at when their time has come"),
    ("gc_thresh1", OF_THE_ROUTER),
    ("gc_thresh2", OF_THE_ROUTER),
    ("gc_thresh3", OF_THE_ROUTER),
    ("anycast_delay", "a router answers for no anycast addresses"),
    ("interval_probe_time_ms", "there are no managed neighbors (ip neigh add .. managed)"),
    ("file_max", "descriptors are limited by the service manager (LimitNOFILE); the daemon raises its own limit as far as it may"),
    ("nr_open", "descriptors are limited by the service manager (LimitNOFILE); the daemon raises its own limit as far as it may"),
];

const PREFIXES: [&str; 10] =
    ["net.", "ipv4.", "ipv6.", "netfilter.", "core.", "fs.", "conf.all.", "conf.default.", "neigh.default.", "nf_conntrack_"];

/// A sysctl without the prefixes that say where it is.
pub fn bare(name: &str) -> &str {
    PREFIXES.iter().fold(name, |name, prefix| name.strip_prefix(prefix).unwrap_or(name))
}

/// Why a router has no key of this name, when it is a sysctl.
pub fn refusal(subject: &Subject, key: &str) -> Option<&'static str> {
    let of_router = matches!(subject, Subject::Router(_) | Subject::Interface(..) | Subject::Conntrack(_) | Subject::Nat(_))
        || matches!(subject, Subject::Neigh(..) | Subject::InterfaceNeigh(..));
    let name = bare(&key.replace(['/', '-'], if key.contains('/') { "." } else { "_" })).to_owned();
    let refused = REFUSED.iter().find(|(refused, _)| *refused == name);
    refused.filter(|_| of_router).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sysctls_are_known_under_each_of_their_names() {
        let router = Subject::Router("gw".into());
        for name in ["tcp_tw_recycle", "tcp-tw-recycle", "net.ipv4.tcp_tw_recycle", "net/ipv4/tcp_tw_recycle"] {
            assert!(refusal(&router, name).unwrap().contains("Linux 4.12"), "{name}");
        }
        assert!(refusal(&Subject::Conntrack("gw".into()), "net.netfilter.nf_conntrack_max").unwrap().contains("conntrack_max"));
        assert_eq!(refusal(&router, "forwardin"), None);
        assert_eq!(refusal(&Subject::Switch("lan".into()), "tcp_tw_recycle"), None);
    }
}
