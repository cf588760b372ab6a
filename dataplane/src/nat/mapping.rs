//! Mappings: endpoints inside and the endpoint outside that each has alone, for all its remotes (RFC 4787 section 4.1).
//!
//! A mapping is made with the first flow of its endpoint and lives until nothing was sent through it for its timeout. Packets of
//! flows that exist do not come here; instead control walks over the flows and says which mappings they use
//! ([`NatState::upkeep`](super::NatState::upkeep)), more often than the shortest timeout of a flow. With each mapping the remotes
//! it was used for last are kept, for filtering and to find out whether flows still use it.
//!
//! All memory is reserved when the table is made, and touched when it is used first.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use wire::ip_protocol;

use super::{Flows, Settings};
use crate::clock::Nanos;
use crate::conntrack::{Domain, FlowInfo, FlowState, Status, Timeout, Timeouts, Tuple};
use crate::router::RouterId;
use crate::router::address::{Address, Family};
use crate::snapshot::{PORTS_MAX, PortId};

/// Remotes that one mapping remembers.
const REMOTES_MAX: usize = 32;

/// How long a mapping lives from the moment a flow was seen to use it, at least: more than control takes to come round again.
const ROUND: Nanos = 30_000_000_000;

/// In this time the first packet of a flow was confirmed or dropped.
const CONFIRMATION: Nanos = 100_000_000;

/// An address with a port or identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Endpoint {
    pub(super) address: Address,
    pub(super) port: u16,
    pub(super) zone: u16,
    pub(super) domain: Domain,
    pub(super) protocol: u8,
}

impl Endpoint {
    /// The source of packets with this tuple.
    pub(super) fn source(tuple: &Tuple) -> Endpoint {
        let Tuple { source: address, source_port: port, zone, domain, protocol, .. } = *tuple;
        Endpoint { address, port, zone, domain, protocol }
    }

    /// Their destination.
    pub(super) fn destination(tuple: &Tuple) -> Endpoint {
        let Tuple { destination: address, destination_port: port, zone, domain, protocol, .. } = *tuple;
        Endpoint { address, port, zone, domain, protocol }
    }

    /// Another endpoint of the same zone and protocol.
    pub(super) fn with(self, address: Address, port: u16) -> Endpoint {
        Endpoint { address, port, ..self }
    }
}

/// A mapping as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingInfo {
    /// Its router.
    pub router: RouterId,
    /// Zone in its router.
    pub zone: u16,
    /// Version of IP.
    pub family: Family,
    /// Protocol.
    pub protocol: u8,
    /// Address and port or identifier inside.
    pub internal: (Address, u16),
    /// Address and port or identifier outside.
    pub external: (Address, u16),
    /// When it ends unless it is used.
    pub expires: Nanos,
    /// Port of the switch by which its first packet came.
    pub ingress: PortId,
}

/// That a flow exists.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlowUse {
    pub(super) original: Tuple,
    pub(super) reply: Tuple,
    pub(super) status: Status,
    /// When its last packet came.
    pub(super) last_packet: Nanos,
}

impl FlowUse {
    /// What a listing says.
    pub(super) fn of(flow: &FlowInfo, timeouts: &Timeouts, now: Nanos) -> FlowUse {
        let is_stream = flow.is_assured();
        let timeout = match (flow.state, flow.original.protocol) {
            (FlowState::Tcp(state), _) => state.timeout(),
            (FlowState::Sctp(state), _) => state.timeout(),
            (_, ip_protocol::UDP | ip_protocol::UDP_LITE) if is_stream => Timeout::UdpStream,
            (_, ip_protocol::UDP | ip_protocol::UDP_LITE) => Timeout::Udp,
            (_, ip_protocol::GRE) if is_stream => Timeout::GreStream,
            (_, ip_protocol::GRE) => Timeout::Gre,
            (_, ip_protocol::ICMP) => Timeout::Icmp,
            (_, ip_protocol::ICMPV6) => Timeout::Icmpv6,
            _ => Timeout::Generic,
        };
        // The listing rounds down to seconds.
        let expires = now + (u64::from(flow.timeout) + 1) * 1_000_000_000;
        let last_packet = expires.saturating_sub(timeouts[timeout]).min(now);
        FlowUse { original: flow.original, reply: flow.reply, status: flow.status, last_packet }
    }
}

/// The number of a mapping or remote plus one, so that memory of zeros, which the system gives untouched, is an empty table.
type Link = u32;

/// The end of a list.
const NONE: Link = 0;

fn link_to(index: usize) -> Link {
    index as Link + 1
}

fn index_of(link: Link) -> Option<usize> {
    (link as usize).checked_sub(1)
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Mapping {
    internal: Endpoint,
    pub(super) address: Address,
    pub(super) port: u16,
    ingress: PortId,
    expires: Nanos,
    /// Newest of its remotes.
    remotes: Link,
    /// Others with the same hash inside, or free ones.
    next_internal: Link,
    /// Others with the same hash outside.
    next_external: Link,
    /// It has its endpoint outside alone.
    is_exclusive: bool,
    /// Flows may use it with remotes that are not among `remotes`.
    has_more_flows: bool,
    is_used: bool,
}

impl Mapping {
    fn external(&self) -> Endpoint {
        self.internal.with(self.address, self.port)
    }

    pub(super) fn is_exclusive(&self) -> bool {
        self.is_exclusive
    }

    pub(super) fn internal(&self) -> (Address, u16) {
        (self.internal.address, self.internal.port)
    }
}

#[derive(Clone, Copy, Debug)]
struct Remote {
    address: Address,
    port: u16,
    next: Link,
}

/// The mappings of all routers.
pub(super) struct Table {
    random: RandomState,
    mappings: Vec<Mapping>,
    free: Link,
    used: usize,
    internal: Box<[Link]>,
    external: Box<[Link]>,
    remotes: Vec<Remote>,
    free_remotes: Link,
    /// Mappings by the port their first packet came by.
    by_port: Box<[u32]>,
    /// Where [`Table::make_room`] looks next.
    hand: usize,
}

/// There is no room for another mapping.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Table {
    pub(super) fn new(max: usize) -> Table {
        let buckets = max.next_power_of_two();
        let links = || vec![NONE; buckets].into_boxed_slice();
        Table {
            random: RandomState::new(),
            mappings: Vec::with_capacity(max),
            free: NONE,
            used: 0,
            internal: links(),
            external: links(),
            remotes: Vec::with_capacity(max),
            free_remotes: NONE,
            by_port: vec![0; PORTS_MAX].into(),
            hand: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.used
    }

    fn bucket(&self, endpoint: &Endpoint) -> usize {
        self.random.hash_one(endpoint) as usize & (self.internal.len() - 1)
    }

    pub(super) fn get(&self, index: usize) -> &Mapping {
        &self.mappings[index]
    }

    /// The mapping of an endpoint inside that `suits`. Those that ended are removed on the way.
    pub(super) fn find_internal(&mut self, internal: &Endpoint, now: Nanos, suits: impl Fn(&Mapping) -> bool) -> Option<usize> {
        let mut link = self.internal[self.bucket(internal)];
        while let Some(index) = index_of(link) {
            let mapping = self.mappings[index];
            link = mapping.next_internal;
            if mapping.internal != *internal {
                continue;
            }
            if mapping.expires <= now {
                self.remove(index);
            } else if suits(&mapping) {
                return Some(index);
            }
        }
        None
    }

    /// The mapping that has an endpoint outside alone. It is removed if it ended.
    pub(super) fn find_external(&mut self, external: &Endpoint, now: Nanos) -> Option<usize> {
        let mut link = self.external[self.bucket(external)];
        while let Some(index) = index_of(link) {
            let mapping = &self.mappings[index];
            link = mapping.next_external;
            if mapping.external() == *external {
                if mapping.expires > now {
                    return Some(index);
                }
                self.remove(index);
                return None;
            }
        }
        None
    }

    /// Whether an endpoint outside is free. With `hard`, a mapping that no flow uses is given up for it.
    pub(super) fn is_free(&mut self, external: &Endpoint, now: Nanos, settings: &Settings, flows: &impl Flows, hard: bool) -> bool {
        match self.find_external(external, now) {
            None => true,
            Some(index) if hard && self.is_idle(index, now, settings, flows) => {
                self.remove(index);
                true
            }
            Some(_) => false,
        }
    }

    /// Whether no flow uses a mapping; `false` when that is not known, or when it was used a moment
    /// ago: the flow may not be confirmed yet.
    pub(super) fn is_idle(&self, index: usize, now: Nanos, settings: &Settings, flows: &impl Flows) -> bool {
        let mapping = &self.mappings[index];
        let timeout = settings.timeout(mapping.internal.domain.family(), mapping.internal.protocol);
        let is_young = mapping.expires > now.saturating_add(timeout).saturating_sub(CONFIRMATION);
        !is_young && !mapping.has_more_flows && self.remotes_of(index).all(|remote| !self.has_flow(index, remote, flows))
    }

    fn has_flow(&self, index: usize, remote: &Remote, flows: &impl Flows) -> bool {
        let mapping = &self.mappings[index];
        // Of queries the identifier is in both directions, and the remote's port is type and code.
        let tuple = Tuple {
            source: mapping.address,
            source_port: mapping.port,
            destination: remote.address,
            destination_port: remote.port,
            zone: mapping.internal.zone,
            domain: mapping.internal.domain,
            protocol: mapping.internal.protocol,
        };
        super::unique::is_used(flows, &tuple)
    }

    fn remotes_of(&self, index: usize) -> impl Iterator<Item = &Remote> {
        let mut link = self.mappings[index].remotes;
        core::iter::from_fn(move || {
            let remote = &self.remotes[index_of(link)?];
            link = remote.next;
            Some(remote)
        })
    }

    /// Whether a remote that `suits` is among those a mapping was used for last.
    pub(super) fn has_remote(&self, index: usize, suits: impl Fn(Address, u16) -> bool) -> bool {
        self.remotes_of(index).any(|remote| suits(remote.address, remote.port))
    }

    /// Adds a mapping.
    ///
    /// # Errors
    ///
    /// [`Full`] if there are as many as there may be, after some were looked at that could go.
    #[expect(clippy::too_many_arguments, reason = "a mapping is all of it")]
    pub(super) fn insert(
        &mut self,
        internal: Endpoint,
        external: (Address, u16),
        is_exclusive: bool,
        ingress: PortId,
        now: Nanos,
        settings: &Settings,
        flows: &impl Flows,
    ) -> Result<usize, Full> {
        if self.free == NONE && self.mappings.len() == self.mappings.capacity() {
            self.make_room(now, settings, flows);
        }
        let mapping = Mapping {
            internal,
            address: external.0,
            port: external.1,
            ingress,
            expires: now,
            remotes: NONE,
            next_internal: NONE,
            next_external: NONE,
            is_exclusive,
            has_more_flows: false,
            is_used: true,
        };
        let index = match index_of(self.free) {
            Some(index) => {
                self.free = self.mappings[index].next_internal;
                self.mappings[index] = mapping;
                index
            }
            None if self.mappings.len() < self.mappings.capacity() => {
                self.mappings.push(mapping);
                self.mappings.len() - 1
            }
            None => return Err(Full),
        };
        let bucket = self.bucket(&internal);
        self.mappings[index].next_internal = core::mem::replace(&mut self.internal[bucket], link_to(index));
        if is_exclusive {
            let bucket = self.bucket(&mapping.external());
            self.mappings[index].next_external = core::mem::replace(&mut self.external[bucket], link_to(index));
        }
        self.by_port[ingress.index() % PORTS_MAX] += 1;
        self.used += 1;
        Ok(index)
    }

    /// Looks at a few mappings, and removes the first that ended or that no flow uses.
    fn make_room(&mut self, now: Nanos, settings: &Settings, flows: &impl Flows) {
        const LOOKS: usize = 64;
        for _ in 0..LOOKS.min(self.mappings.len()) {
            self.hand = (self.hand + 1) % self.mappings.len();
            if self.mappings[self.hand].expires <= now || self.is_idle(self.hand, now, settings, flows) {
                self.remove(self.hand);
                return;
            }
        }
    }

    /// Mappings of hosts behind a port.
    pub(super) fn count(&self, port: PortId) -> u32 {
        self.by_port[port.index() % PORTS_MAX]
    }

    /// Says that a packet was sent through a mapping.
    pub(super) fn refresh(&mut self, index: usize, now: Nanos, settings: &Settings) {
        let mapping = &mut self.mappings[index];
        let timeout = settings.timeout(mapping.internal.domain.family(), mapping.internal.protocol);
        mapping.expires = mapping.expires.max(now.saturating_add(timeout));
    }

    /// Says that a flow uses a mapping.
    pub(super) fn touch(&mut self, flow: &FlowUse, settings: &Settings, now: Nanos) {
        let (internal, external) = if flow.status.contains(Status::SRC_NAT) {
            (Endpoint::source(&flow.original), Endpoint::destination(&flow.reply))
        } else if flow.status.contains(Status(Status::DST_NAT.0 | Status::SEEN_REPLY.0)) {
            // It began outside. Only answers from inside keep the mapping (RFC 4787 REQ-6).
            (Endpoint::source(&flow.reply), Endpoint::destination(&flow.original))
        } else {
            return;
        };
        // The reply of a query has the identifier where the source port of the original is.
        let port =
            if super::unique::Key::of(&flow.original) == super::unique::Key::Identifier { flow.reply.source_port } else { external.port };
        let external = (external.address, port);
        // What ended meanwhile lives on, as the flow does.
        let suits = |mapping: &Mapping| (mapping.address, mapping.port) == external;
        if let Some(index) = self.find_internal(&internal, 0, suits) {
            self.refresh(index, flow.last_packet, settings);
            // Not until the flow would end: it may well end before, as TCP does.
            let mapping = &mut self.mappings[index];
            mapping.expires = mapping.expires.max(now.saturating_add(ROUND));
        }
    }

    /// Says that a flow from outside uses a mapping. Its remote is not remembered, or those who send could push out those that were
    /// sent to.
    pub(super) fn let_in(&mut self, index: usize, address: Address, port: u16) {
        if !self.has_remote(index, |a, p| (a, p) == (address, port)) {
            self.mappings[index].has_more_flows = true;
        }
    }

    /// Remembers that a mapping is used for a remote, in place of the oldest if there are too many.
    pub(super) fn add_remote(&mut self, index: usize, address: Address, port: u16, flows: &impl Flows) {
        let (mut count, mut before_last, mut last) = (0, None, None);
        let mut link = self.mappings[index].remotes;
        while let Some(at) = index_of(link) {
            let remote = self.remotes[at];
            if (remote.address, remote.port) == (address, port) {
                return;
            }
            link = remote.next;
            count += 1;
            (before_last, last) = (last, Some(at));
        }
        let is_full = self.free_remotes == NONE && self.remotes.len() == self.remotes.capacity();
        if count >= REMOTES_MAX || is_full {
            let Some(last) = last else {
                self.mappings[index].has_more_flows = true;
                return;
            };
            self.mappings[index].has_more_flows |= self.has_flow(index, &self.remotes[last], flows);
            match before_last {
                Some(before) => self.remotes[before].next = NONE,
                None => self.mappings[index].remotes = NONE,
            }
            self.remotes[last].next = core::mem::replace(&mut self.free_remotes, link_to(last));
        }
        let remote = Remote { address, port, next: self.mappings[index].remotes };
        let at = match index_of(self.free_remotes) {
            Some(at) => {
                self.free_remotes = self.remotes[at].next;
                self.remotes[at] = remote;
                at
            }
            None => {
                self.remotes.push(remote);
                self.remotes.len() - 1
            }
        };
        self.mappings[index].remotes = link_to(at);
    }

    /// Removes a mapping.
    pub(super) fn remove(&mut self, index: usize) {
        let mapping = self.mappings[index];
        let bucket = self.bucket(&mapping.internal);
        unlink(&mut self.internal[bucket], &mut self.mappings, index, |mapping| &mut mapping.next_internal);
        if mapping.is_exclusive {
            let bucket = self.bucket(&mapping.external());
            unlink(&mut self.external[bucket], &mut self.mappings, index, |mapping| &mut mapping.next_external);
        }
        let mut link = mapping.remotes;
        while let Some(at) = index_of(link) {
            link = self.remotes[at].next;
            self.remotes[at].next = core::mem::replace(&mut self.free_remotes, link_to(at));
        }
        let next_internal = core::mem::replace(&mut self.free, link_to(index));
        self.mappings[index] = Mapping { is_used: false, remotes: NONE, next_internal, ..mapping };
        self.by_port[mapping.ingress.index() % PORTS_MAX] -= 1;
        self.used -= 1;
    }

    /// Looks at the next `slots` from `cursor` on, removes what `ends`, and shows the others to `each`. Returns where to go on, or
    /// `None` at the end.
    pub(super) fn walk(
        &mut self,
        cursor: usize,
        slots: usize,
        ends: impl Fn(&MappingInfo) -> bool,
        mut each: impl FnMut(MappingInfo),
    ) -> Option<usize> {
        let end = cursor.saturating_add(slots).min(self.mappings.len());
        for index in cursor..end {
            let mapping = self.mappings[index];
            if !mapping.is_used {
                continue;
            }
            let info = MappingInfo {
                router: mapping.internal.domain.router(),
                zone: mapping.internal.zone,
                family: mapping.internal.domain.family(),
                protocol: mapping.internal.protocol,
                internal: (mapping.internal.address, mapping.internal.port),
                external: (mapping.address, mapping.port),
                expires: mapping.expires,
                ingress: mapping.ingress,
            };
            if ends(&info) {
                self.remove(index);
            } else {
                each(info);
            }
        }
        (end < self.mappings.len()).then_some(end)
    }
}

/// Takes a mapping out of the chain that `head` begins.
fn unlink(head: &mut Link, mappings: &mut [Mapping], index: usize, next: impl Fn(&mut Mapping) -> &mut Link) {
    let after = *next(&mut mappings[index]);
    if *head == link_to(index) {
        *head = after;
        return;
    }
    let mut link = *head;
    while let Some(at) = index_of(link) {
        link = *next(&mut mappings[at]);
        if link == link_to(index) {
            *next(&mut mappings[at]) = after;
            return;
        }
    }
}
