//! Timers and limits of neighbors: `[router.R.ipv4_neigh]` and `[router.R.ipv6_neigh]` for a router, the same below one of its
//! interfaces for that alone. Names and defaults are those of the sysctls in `net.ipv4.neigh` and `net.ipv6.neigh`
//! (`net/core/neighbour.c`, `Documentation/networking/ip-sysctl.rst`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Span;

macro_rules! neigh_config {
    (
        times { $($(#[$time_doc:meta])* $time:ident)+ }
        numbers { $($(#[$number_doc:meta])* $number:ident)+ }
        table { $($(#[$table_doc:meta])* $table:ident)+ }
    ) => {
        /// Neighbors of one family behind an interface: `net.ipv4.neigh.IF.*`. What is absent is as the router has it.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct InterfaceNeighConfig {
            $($(#[$time_doc])*
            #[serde(skip_serializing_if = "Option::is_none")]
            pub $time: Option<Span>,)+
            $($(#[$number_doc])*
            #[serde(skip_serializing_if = "Option::is_none")]
            pub $number: Option<u32>,)+
        }

        /// Neighbors of one family of a router: `net.ipv4.neigh.default.*`.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct NeighConfig {
            $($(#[$time_doc])*
            #[serde(skip_serializing_if = "Option::is_none")]
            pub $time: Option<Span>,)+
            $($(#[$number_doc])*
            #[serde(skip_serializing_if = "Option::is_none")]
            pub $number: Option<u32>,)+
            $($(#[$table_doc])*
            #[serde(skip_serializing_if = "Option::is_none")]
            pub $table: Option<u32>,)+
        }

        impl NeighConfig {
            /// What holds behind an interface.
            #[must_use]
            pub fn of_interface(&self, interface: &InterfaceNeighConfig) -> InterfaceNeighConfig {
                InterfaceNeighConfig {
                    $($time: interface.$time.or(self.$time),)+
                    $($number: interface.$number.or(self.$number),)+
                }
            }

            /// The limits of the table that are set, by name.
            pub fn limits(&self) -> Vec<(&'static str, u32)> {
                let all = [$((stringify!($table), self.$table)),+];
                all.into_iter().filter_map(|(name, number)| Some((name, number?))).collect()
            }
        }

        impl InterfaceNeighConfig {
            /// The times that are set, by name.
            pub fn times(&self) -> Vec<(&'static str, Span)> {
                let all = [$((stringify!($time), self.$time)),+];
                all.into_iter().filter_map(|(name, span)| Some((name, span?))).collect()
            }

            /// The numbers that are set, by name.
            pub fn numbers(&self) -> Vec<(&'static str, u32)> {
                let all = [$((stringify!($number), self.$number)),+];
                all.into_iter().filter_map(|(name, number)| Some((name, number?))).collect()
            }
        }
    };
}

neigh_config! {
    times {
        /// How long a confirmed neighbor counts as reachable, on average [default: 30s].
        base_reachable_time
        /// Time between two probes [default: 1s].
        retrans_time
        /// From the first packet to a stale neighbor to the first probe [default: 5s].
        delay_first_probe_time
        /// How long a stale neighbor stays without use [default: 60s].
        gc_stale_time
        /// A known MAC address is not replaced within this time, but by gratuitous ARP; ARP only [default: 1s].
        locktime
        /// Answers for others are delayed by up to this [default: 800ms].
        proxy_delay
    }
    numbers {
        /// Probes to the known MAC address [default: 3].
        ucast_solicit
        /// Probes to all; with 0 only neighbors that are configured or speak first are found [default: 3].
        mcast_solicit
        /// Probes to all after those to the known MAC address [default: 0].
        mcast_resolicit
        /// Delayed answers for others that wait at most [default: 64].
        proxy_qlen
        /// Octets of packets that wait for one neighbor, in buffers of 2 KiB, or 64 KiB for long ones; at least one waits [default: 212992].
        unres_qlen_bytes
    }
    table {
        /// Neighbors below which none is forgotten for its age [default: 128].
        gc_thresh1
        /// Neighbors above which those without use for five seconds are forgotten [default: 512].
        gc_thresh2
        /// Neighbors at most, without those that are configured [default: 1024].
        gc_thresh3
    }
}
