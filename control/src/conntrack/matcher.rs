//! Which flows a filter means.

use std::net::IpAddr;

use dataplane::conntrack::{Direction, FlowInfo, Status, Tuple};
use dataplane::router::{Address, Family, RouterId};
use proto::conntrack::{FlowFilter, IpFamily};
use wire::ip_protocol;

use super::STATUS;

/// States that a flow can be asked for: those of TCP and SCTP.
const STATES: [&str; 18] = [
    "NONE",
    "SYN_SENT",
    "SYN_RECV",
    "ESTABLISHED",
    "FIN_WAIT",
    "CLOSE_WAIT",
    "LAST_ACK",
    "TIME_WAIT",
    "CLOSE",
    "SYN_SENT2",
    "CLOSED",
    "COOKIE_WAIT",
    "COOKIE_ECHOED",
    "SHUTDOWN_SENT",
    "SHUTDOWN_RECD",
    "SHUTDOWN_ACK_SENT",
    "HEARTBEAT_SENT",
    "LISTEN",
];

/// A network, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    family: Family,
    address: Address,
    len: u8,
}

impl Network {
    fn parse(text: &str) -> Result<Network, String> {
        let wrong = || format!("{text:?} is no address and no network such as \"192.168.45.0/24\" or \"fd00::/64\"");
        let (address, len) = match text.split_once('/') {
            Some((address, len)) => (address, Some(len.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let family = Family::from(address);
        let len = len.unwrap_or(family.bits());
        if len > family.bits() {
            return Err(wrong());
        }
        Ok(Network { family, address: address.into(), len })
    }

    fn has(&self, family: Family, address: Address) -> bool {
        self.family == family && address.is_in(family, self.address, self.len)
    }
}

/// The networks and ports of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Ends {
    source: Option<Network>,
    destination: Option<Network>,
    source_port: Option<u16>,
    destination_port: Option<u16>,
}

impl Ends {
    fn has(&self, tuple: &Tuple) -> bool {
        let has_ports = !matches!(tuple.protocol, ip_protocol::ICMP | ip_protocol::ICMPV6);
        let port = |wanted: Option<u16>, port| wanted.is_none_or(|wanted| has_ports && wanted == port);
        self.source.is_none_or(|network| network.has(tuple.family(), tuple.source))
            && self.destination.is_none_or(|network| network.has(tuple.family(), tuple.destination))
            && port(self.source_port, tuple.source_port)
            && port(self.destination_port, tuple.destination_port)
    }
}

/// A filter, checked and ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matcher {
    router: Option<RouterId>,
    zone: Option<u16>,
    family: Option<Family>,
    protocol: Option<u8>,
    ends: [Ends; 2],
    icmp_type: Option<u8>,
    icmp_code: Option<u8>,
    icmp_id: Option<u16>,
    state: Option<String>,
    mark: Option<(u32, u32)>,
    /// Bits of the status that are set, and those of which none is.
    status: (Status, Status),
    /// Of each, at least one bit is set.
    translated: [Status; 3],
}

impl Matcher {
    /// Checks a filter. `router` is the one it names, if any.
    ///
    /// # Errors
    ///
    /// What makes no sense, for people.
    pub fn new(filter: &FlowFilter, router: Option<RouterId>) -> Result<Matcher, String> {
        let network = |text: &Option<String>| text.as_deref().map(Network::parse).transpose();
        let mut status = (Status::default(), Status::default());
        for name in &filter.status {
            match STATUS.iter().find(|(known, _)| known == name) {
                Some((_, bit)) => status.0.insert(*bit),
                None if name == "UNSET" => status.1 = Status(Status::SEEN_REPLY.0 | Status::ASSURED.0),
                None => {
                    let names: Vec<&str> = STATUS.iter().map(|(name, _)| *name).collect();
                    return Err(format!("status {name:?} is none of {}, UNSET", names.join(", ")));
                }
            }
        }
        if let Some(state) = filter.state.as_ref().filter(|state| !STATES.contains(&state.as_str())) {
            return Err(format!("state {state:?} is none of {}", STATES.join(", ")));
        }
        let both = Status(Status::SRC_NAT.0 | Status::DST_NAT.0);
        let wanted = |is: bool, bits: Status| if is { bits } else { Status::default() };
        Ok(Matcher {
            router,
            zone: filter.zone,
            family: filter.family.map(|family| match family {
                IpFamily::Ipv4 => Family::V4,
                IpFamily::Ipv6 => Family::V6,
            }),
            protocol: filter.protocol,
            ends: [
                Ends {
                    source: network(&filter.src)?,
                    destination: network(&filter.dst)?,
                    source_port: filter.sport,
                    destination_port: filter.dport,
                },
                Ends {
                    source: network(&filter.reply_src)?,
                    destination: network(&filter.reply_dst)?,
                    source_port: filter.reply_sport,
                    destination_port: filter.reply_dport,
                },
            ],
            icmp_type: filter.icmp_type,
            icmp_code: filter.icmp_code,
            icmp_id: filter.icmp_id,
            state: filter.state.clone(),
            mark: filter.mark.map(|mark| (mark, filter.mark_mask.unwrap_or(u32::MAX))),
            status,
            translated: [wanted(filter.src_nat, Status::SRC_NAT), wanted(filter.dst_nat, Status::DST_NAT), wanted(filter.any_nat, both)],
        })
    }

    /// Whether the filter means a flow.
    pub fn matches(&self, flow: &FlowInfo) -> bool {
        let tuple = &flow.original;
        let is_icmp = matches!(tuple.protocol, ip_protocol::ICMP | ip_protocol::ICMPV6);
        let [icmp_type, icmp_code] = tuple.destination_port.to_be_bytes();
        self.router.is_none_or(|router| router == tuple.router())
            && self.zone.is_none_or(|zone| zone == tuple.zone)
            && self.family.is_none_or(|family| family == tuple.family())
            && self.protocol.is_none_or(|protocol| protocol == tuple.protocol)
            && self.ends[Direction::Original.index()].has(tuple)
            && self.ends[Direction::Reply.index()].has(&flow.reply)
            && self.icmp_type.is_none_or(|wanted| is_icmp && wanted == icmp_type)
            && self.icmp_code.is_none_or(|wanted| is_icmp && wanted == icmp_code)
            && self.icmp_id.is_none_or(|wanted| is_icmp && wanted == tuple.source_port)
            && self.state.as_deref().is_none_or(|state| flow.state.name() == Some(state))
            && self.mark.is_none_or(|(mark, mask)| flow.mark & mask == mark & mask)
            && flow.status.contains(self.status.0)
            && !flow.status.intersects(self.status.1)
            && self.translated.iter().all(|bits| *bits == Status::default() || flow.status.intersects(*bits))
    }
}
