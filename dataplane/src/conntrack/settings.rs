//! How connections are tracked: timeouts and switches under the names of the sysctls `net.netfilter.nf_conntrack_*`
//! (`Documentation/networking/nf_conntrack-sysctl.rst`), without that prefix. Defaults are Linux's.

use core::ops::{Index, IndexMut};

use crate::clock::Nanos;

const SECOND: Nanos = 1_000_000_000;

macro_rules! timeouts {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $default:expr;)+) => {
        /// A state whose time without packets is limited.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Timeout {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Timeout {
            /// Every one, in the order of [`Timeouts`].
            pub const ALL: &'static [Timeout] = &[$(Timeout::$variant,)+];
            /// How many there are.
            pub const COUNT: usize = Timeout::ALL.len();

            /// The name of its sysctl without `nf_conntrack_`.
            pub const fn name(self) -> &'static str {
                match self { $(Timeout::$variant => $name,)+ }
            }

            /// Linux's default in nanoseconds.
            pub const fn default_nanos(self) -> Nanos {
                match self { $(Timeout::$variant => $default,)+ }
            }
        }
    };
}

timeouts! {
    /// SYN seen.
    TcpSynSent = "tcp_timeout_syn_sent", 120 * SECOND;
    /// SYN/ACK seen.
    TcpSynRecv = "tcp_timeout_syn_recv", 60 * SECOND;
    /// Handshake done.
    TcpEstablished = "tcp_timeout_established", 432_000 * SECOND;
    /// FIN seen.
    TcpFinWait = "tcp_timeout_fin_wait", 120 * SECOND;
    /// FIN acknowledged.
    TcpCloseWait = "tcp_timeout_close_wait", 60 * SECOND;
    /// FIN seen from both ends.
    TcpLastAck = "tcp_timeout_last_ack", 30 * SECOND;
    /// Last FIN acknowledged.
    TcpTimeWait = "tcp_timeout_time_wait", 120 * SECOND;
    /// RST seen.
    TcpClose = "tcp_timeout_close", 10 * SECOND;
    /// SYN seen from both ends (Linux has no sysctl for it).
    TcpSynSent2 = "tcp_timeout_syn_sent2", 120 * SECOND;
    /// The same segment was sent `tcp_max_retrans` times without an answer.
    TcpMaxRetrans = "tcp_timeout_max_retrans", 300 * SECOND;
    /// Data that is not acknowledged is under way.
    TcpUnacknowledged = "tcp_timeout_unacknowledged", 300 * SECOND;
    /// UDP and UDP-Lite without an answer.
    Udp = "udp_timeout", 30 * SECOND;
    /// UDP with an answer, and still in use after two seconds.
    UdpStream = "udp_timeout_stream", 120 * SECOND;
    /// ICMP query.
    Icmp = "icmp_timeout", 30 * SECOND;
    /// ICMPv6 query.
    Icmpv6 = "icmpv6_timeout", 30 * SECOND;
    /// GRE without an answer.
    Gre = "gre_timeout", 30 * SECOND;
    /// GRE with an answer.
    GreStream = "gre_timeout_stream", 180 * SECOND;
    /// SCTP: nothing but the first packet, or aborted.
    SctpClosed = "sctp_timeout_closed", 10 * SECOND;
    /// SCTP: INIT or INIT ACK seen.
    SctpCookieWait = "sctp_timeout_cookie_wait", 3 * SECOND;
    /// SCTP: COOKIE ECHO seen.
    SctpCookieEchoed = "sctp_timeout_cookie_echoed", 3 * SECOND;
    /// SCTP: association is up.
    SctpEstablished = "sctp_timeout_established", 210 * SECOND;
    /// SCTP: the first sender shuts down.
    SctpShutdownSent = "sctp_timeout_shutdown_sent", 3 * SECOND;
    /// SCTP: the other end shuts down.
    SctpShutdownRecd = "sctp_timeout_shutdown_recd", 3 * SECOND;
    /// SCTP: SHUTDOWN ACK seen.
    SctpShutdownAckSent = "sctp_timeout_shutdown_ack_sent", 3 * SECOND;
    /// SCTP: HEARTBEAT began the flow.
    SctpHeartbeatSent = "sctp_timeout_heartbeat_sent", 30 * SECOND;
    /// Any other protocol.
    Generic = "generic_timeout", 600 * SECOND;
}

/// Nanoseconds for each [`Timeout`]. More than [`Timeouts::MAX`] counts as that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts([Nanos; Timeout::COUNT]);

impl Timeouts {
    /// The longest timeout: about 26 days, half the turn of the 32-bit clock of the table.
    pub const MAX: Nanos = (i32::MAX as Nanos - 1) << super::TICK_SHIFT;
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts(core::array::from_fn(|i| Timeout::ALL[i].default_nanos()))
    }
}

impl Index<Timeout> for Timeouts {
    type Output = Nanos;

    #[inline]
    fn index(&self, timeout: Timeout) -> &Nanos {
        &self.0[timeout as usize]
    }
}

impl IndexMut<Timeout> for Timeouts {
    fn index_mut(&mut self, timeout: Timeout) -> &mut Nanos {
        &mut self.0[timeout as usize]
    }
}

/// How connections of one router are tracked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Idle times.
    pub timeouts: Timeouts,
    /// Pick up TCP connections whose handshake was not seen (`tcp_loose`).
    pub tcp_loose: bool,
    /// Only RST segments outside of the window are invalid (`tcp_be_liberal`).
    pub tcp_be_liberal: bool,
    /// Retransmissions of a segment until [`Timeout::TcpMaxRetrans`] holds (`tcp_max_retrans`).
    pub tcp_max_retrans: u8,
    /// RST segments below the last acknowledged number are not invalid (`tcp_ignore_invalid_rst`).
    pub tcp_ignore_invalid_rst: bool,
    /// Packets that arrive with a wrong checksum are invalid (`checksum`).
    pub checksum: bool,
    /// Count packets and octets of flows that begin from now on (`acct`).
    pub acct: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            timeouts: Timeouts::default(),
            tcp_loose: true,
            tcp_be_liberal: false,
            tcp_max_retrans: 3,
            tcp_ignore_invalid_rst: false,
            checksum: true,
            acct: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_of_linux() {
        let timeouts = Timeouts::default();
        assert_eq!(timeouts[Timeout::TcpEstablished], 5 * 24 * 3600 * SECOND);
        assert_eq!((timeouts[Timeout::Udp], timeouts[Timeout::UdpStream]), (30 * SECOND, 120 * SECOND));
        assert_eq!((timeouts[Timeout::Generic], timeouts[Timeout::SctpEstablished]), (600 * SECOND, 210 * SECOND));
        assert!(Timeout::ALL.iter().enumerate().all(|(i, t)| *t as usize == i && timeouts[*t] < Timeouts::MAX));
    }
}
