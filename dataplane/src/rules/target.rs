//! What rules do with packets: plain data, with names resolved.

use super::build::ChainId;
use crate::conntrack::Template;
use crate::nat::NatRange;
use crate::router::Address;

/// What a rule does with a packet all its conditions hold for (`-j`, `-g`).
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A rule without target: counts, and goes on.
    None,
    /// `ACCEPT`: on to the next table.
    Accept,
    /// `DROP`.
    Drop,
    /// `RETURN`: goes on behind the jump here; in a base chain, to the policy.
    Return,
    /// `-j CHAIN`: asks a chain of the same table, and goes on here when it does not decide.
    Jump(ChainId),
    /// `-g CHAIN`: asks a chain, and goes on where this one would return to.
    Goto(ChainId),
    /// `REJECT`.
    Reject(RejectWith),
    /// `LOG`; goes on.
    Log(Box<Log>),
    /// `MARK`: `mark = mark & !mask ^ value`; goes on.
    Mark {
        /// Bits that are flipped last.
        value: u32,
        /// Bits that are cleared first.
        mask: u32,
    },
    /// `CONNMARK`; goes on.
    ConnMark(ConnMark),
    /// `DSCP`: 0 to 63; goes on.
    Dscp(u8),
    /// `TOS`: `traffic_class = traffic_class & !mask ^ value`; goes on.
    Tos {
        /// Bits that are flipped last.
        value: u8,
        /// Bits that are cleared first.
        mask: u8,
    },
    /// `TTL`, `HL`; goes on.
    Ttl(TtlEdit),
    /// `TCPMSS`: of SYNs, never raised; goes on.
    TcpMss(TcpMss),
    /// `CT`, `NOTRACK`: what connection tracking is told; only the first one of a packet counts. Goes on.
    Ct(Template),
    /// `SNAT`.
    Snat(NatRange),
    /// `DNAT`.
    Dnat {
        /// To what.
        range: NatRange,
        /// Hosts behind the same interface as the new destination get there as well, by translating their source.
        hairpin: bool,
    },
    /// `MASQUERADE`: the source becomes the address of the interface the packet leaves by.
    Masquerade {
        /// `--to-ports`.
        ports: Option<(u16, u16)>,
        /// `--random`, `--random-fully`.
        random: bool,
    },
    /// `REDIRECT`: the destination becomes the address of the interface the packet came in by; of the router's own packets
    /// the loopback address.
    Redirect {
        /// `--to-ports`.
        ports: Option<(u16, u16)>,
        /// `--random`.
        random: bool,
    },
    /// `NETMAP`: the prefix of the address is replaced: of the destination in PREROUTING and OUTPUT, of the source elsewhere.
    Netmap {
        /// The new prefix.
        prefix: Address,
        /// Its length in bits.
        len: u8,
    },
    /// `SYNPROXY`.
    SynProxy(SynProxy),
}

impl Target {
    /// The name after `-j`; `None` for a rule without target and for chains.
    pub const fn name(&self) -> Option<&'static str> {
        Some(match self {
            Target::None | Target::Jump(_) | Target::Goto(_) => return None,
            Target::Accept => "ACCEPT",
            Target::Drop => "DROP",
            Target::Return => "RETURN",
            Target::Reject(_) => "REJECT",
            Target::Log(_) => "LOG",
            Target::Mark { .. } => "MARK",
            Target::ConnMark(_) => "CONNMARK",
            Target::Dscp(_) => "DSCP",
            Target::Tos { .. } => "TOS",
            Target::Ttl(_) => "TTL",
            Target::TcpMss(_) => "TCPMSS",
            Target::Ct(_) => "CT",
            Target::Snat(_) => "SNAT",
            Target::Dnat { .. } => "DNAT",
            Target::Masquerade { .. } => "MASQUERADE",
            Target::Redirect { .. } => "REDIRECT",
            Target::Netmap { .. } => "NETMAP",
            Target::SynProxy(_) => "SYNPROXY",
        })
    }

    /// Whether no rule behind one with this target sees a packet it gets.
    pub const fn is_terminal(&self) -> bool {
        match self {
            Target::Accept
            | Target::Drop
            | Target::Reject(_)
            | Target::Snat(_)
            | Target::Dnat { .. }
            | Target::Masquerade { .. }
            | Target::Redirect { .. }
            | Target::Netmap { .. }
            | Target::SynProxy(_) => true,
            Target::None
            | Target::Return
            | Target::Jump(_)
            | Target::Goto(_)
            | Target::Log(_)
            | Target::Mark { .. }
            | Target::ConnMark(_)
            | Target::Dscp(_)
            | Target::Tos { .. }
            | Target::Ttl(_)
            | Target::TcpMss(_)
            | Target::Ct(_) => false,
        }
    }
}

/// What the sender of a rejected packet is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectWith {
    /// `tcp-reset`.
    TcpReset,
    /// Destination unreachable with this code: ICMP type 3 (RFC 792), ICMPv6 type 1 (RFC 4443 section 3.1).
    Unreachable(u8),
}

/// Options of `LOG`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `--log-prefix`: [`Log::PREFIX_MAX`] octets at most.
    pub prefix: Box<str>,
    /// `--log-level`: 0 (emerg) to 7 (debug).
    pub level: u8,
    /// `--log-tcp-sequence`.
    pub tcp_sequence: bool,
    /// `--log-tcp-options`.
    pub tcp_options: bool,
    /// `--log-ip-options`.
    pub ip_options: bool,
    /// `--log-macdecode`.
    pub mac_decode: bool,
}

impl Log {
    /// Octets of a prefix at most.
    pub const PREFIX_MAX: usize = 29;
}

/// What `CONNMARK` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnMark {
    /// `--set-xmark`: `flow = flow & !mask ^ value`.
    Set {
        /// Bits that are flipped last.
        value: u32,
        /// Bits that are cleared first.
        mask: u32,
    },
    /// `--save-mark`: `flow = flow & !ct_mask ^ (packet & nf_mask)`.
    Save {
        /// Bits of the packet's mark.
        nf_mask: u32,
        /// Bits of the flow's mark.
        ct_mask: u32,
    },
    /// `--restore-mark`: `packet = packet & !nf_mask ^ (flow & ct_mask)`.
    Restore {
        /// Bits of the packet's mark.
        nf_mask: u32,
        /// Bits of the flow's mark.
        ct_mask: u32,
    },
}

/// How a time to live changes. It stays within 0 and 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlEdit {
    /// `--ttl-set`.
    Set(u8),
    /// `--ttl-inc`.
    Increase(u8),
    /// `--ttl-dec`.
    Decrease(u8),
}

/// The largest segment a SYN announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpMss {
    /// `--set-mss`: octets.
    Set(u16),
    /// `--clamp-mss-to-pmtu`: what fits the path MTU without options.
    ClampToPmtu,
}

/// Options of `SYNPROXY`: what the server behind it announces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SynProxy {
    /// `--mss`: octets.
    pub mss: Option<u16>,
    /// `--wscale`: 0 to 14.
    pub wscale: Option<u8>,
    /// `--sack-perm`.
    pub sack_perm: bool,
    /// `--timestamp`.
    pub timestamp: bool,
    /// `--ecn`.
    pub ecn: bool,
}
