//! Sequences of packets, as data: they can be printed, played on any system, and shortened.
//!
//! A script says who talks to whom, in flows, and what every packet is. What a NAT makes of a flow only the system knows; so a
//! reply is addressed to where the packets of the other direction came out, as seen from the replying host.

use std::fmt;

use crate::packet::{self, Damage, Ip, Piece, Upper};
use crate::place::{Family, Host, Side};

/// One conversation.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) from: Host,
    pub(crate) from_port: u16,
    pub(crate) to: Host,
    pub(crate) to_port: u16,
    /// Where its packets come in, if it is not where its source is: for spoofed ones.
    pub(crate) enters: Side,
}

/// Which way in a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Original,
    Reply,
}

/// What an ICMP error quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quote {
    /// The packet of this flow that last arrived where the error is sent from, as it arrived.
    Last,
    /// The same with another port, so of a flow that does not exist.
    UnknownFlow,
    /// Its first octets only, behind the IP header.
    Short(u8),
    /// In an error whose own checksum is wrong.
    BadChecksum,
    /// An error about an error.
    OfError,
}

/// What happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// A host sends a packet of a flow.
    Packet { flow: usize, way: Way, ip: Ip, upper: Upper, piece: Option<Piece>, damage: Option<Damage> },
    /// Somebody complains about the last packet that arrived on a way of a flow: at its target, or at a router on the way there
    /// (`by`).
    Error { flow: usize, about: Way, by: Option<Host>, kind: u8, code: u8, rest: u32, quote: Quote },
}

impl Step {
    pub(crate) fn flow(&self) -> usize {
        match self {
            Step::Packet { flow, .. } | Step::Error { flow, .. } => *flow,
        }
    }

    /// Octets of the header of its upper layer.
    pub(crate) fn header_len(&self) -> usize {
        match self {
            Step::Packet { upper: Upper::Tcp { options, .. }, .. } => 20 + options.len().next_multiple_of(4),
            Step::Packet { upper: Upper::Sctp { .. }, .. } => 12,
            Step::Packet { upper: Upper::Udp { .. } | Upper::Query { .. } | Upper::Plain { protocol: packet::GRE, .. }, .. } => 8,
            Step::Packet { upper: Upper::Plain { .. }, .. } | Step::Error { .. } => 0,
        }
    }
}

/// A sequence.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) family: Family,
    pub(crate) flows: Vec<Flow>,
    pub(crate) steps: Vec<Step>,
}

impl Script {
    /// Ports and identifiers in it.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.flows.iter().flat_map(|flow| [flow.from_port, flow.to_port]).collect()
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.family)?;
        for (i, flow) in self.flows.iter().enumerate() {
            if self.steps.iter().any(|step| step.flow() == i) {
                writeln!(f, "flow {i}: {} {} > {} {} at {}", flow.from, flow.from_port, flow.to, flow.to_port, flow.enters.interface())?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Packet { flow, way, ip, upper, piece, damage } => {
                write!(f, "flow {flow} {} ", if *way == Way::Original { "->" } else { "<-" })?;
                match upper {
                    Upper::Tcp { seq, ack, flags, window, options, len } => {
                        let names = [
                            (packet::SYN, 'S'),
                            (packet::FIN, 'F'),
                            (packet::RST, 'R'),
                            (packet::PSH, 'P'),
                            (packet::ACK, 'A'),
                            (packet::URG, 'U'),
                        ];
                        let text: String = names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| name).collect();
                        write!(f, "tcp [{text}] seq {seq} ack {ack} win {window} len {len}")?;
                        if !options.is_empty() {
                            write!(f, " options {options:02x?}")?;
                        }
                    }
                    Upper::Udp { len, checksum } => write!(f, "udp len {len}{}", if *checksum { "" } else { " no-checksum" })?,
                    Upper::Query { kind, sequence, len } => write!(f, "icmp {kind} seq {sequence} len {len}")?,
                    Upper::Sctp { chunk, flags, tag, len } => write!(f, "sctp chunk {chunk} flags {flags} tag {tag} len {len}")?,
                    Upper::Plain { protocol, len } => write!(f, "protocol {protocol} len {len}")?,
                }
                let usual = Ip::default();
                if ip.ttl != usual.ttl {
                    write!(f, " ttl {}", ip.ttl)?;
                }
                if ip.tos != usual.tos {
                    write!(f, " tos {:#x}", ip.tos)?;
                }
                if ip.df {
                    write!(f, " DF")?;
                }
                if !ip.options.is_empty() {
                    write!(f, " ip-options {:02x?}", ip.options)?;
                }
                if let Some(piece) = piece {
                    write!(f, " id {} fragment {}+{}{}", ip.id, piece.offset, piece.len, if piece.more { " MF" } else { "" })?;
                }
                if let Some(damage) = damage {
                    write!(f, " damaged: {damage:?}")?;
                }
                Ok(())
            }
            Step::Error { flow, about, by, kind, code, rest, quote } => {
                write!(f, "flow {flow} error {kind} {code} rest {rest:#x} about {about:?} by ")?;
                match by {
                    Some(host) => write!(f, "{host}")?,
                    None => write!(f, "its target")?,
                }
                write!(f, " quoting {quote:?}")
            }
        }
    }
}
