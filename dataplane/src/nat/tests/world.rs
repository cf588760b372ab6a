//! A NAT with a plain map for its flows and a virtual clock.

use std::collections::HashMap;
use std::sync::OnceLock;

use wire::{Offload, ip_protocol};

use super::packets::{Spec, edit};
use crate::clock::Nanos;
use crate::conntrack::{self, At, Conntrack, CtState, Direction, FlowRef, NewFlow, Status, Template, Tracking, Tuple, Zone};
use crate::frame::Frame;
use crate::nat::bind::set;
use crate::nat::mapping::FlowUse;
use crate::nat::{BindError, Flows, Inbound, Manip, NatRange, NatState, NotTranslatable, Settings, translate};
use crate::router::RouterId;
use crate::router::address::Address;
use crate::router::packet::{Packet, Upper};
use crate::snapshot::PortId;

/// Where all flows live.
pub(super) const ZONE: Zone = Zone { router: RouterId(0), number: 0 };
pub(super) const SECOND: Nanos = 1_000_000_000;

/// What became of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Sent(Vec<u8>),
    Filtered,
    Unbound(BindError),
    Untranslatable(NotTranslatable),
}

impl Fate {
    pub(super) fn octets(self) -> Vec<u8> {
        match self {
            Fate::Sent(octets) => octets,
            other => panic!("{other:?}"),
        }
    }

    /// Source and destination of a packet that was sent.
    pub(super) fn ends(self) -> (Address, u16, Address, u16) {
        ends(&self.octets())
    }

    pub(super) fn source(self) -> (Address, u16) {
        let (address, port, ..) = self.ends();
        (address, port)
    }

    pub(super) fn destination(self) -> (Address, u16) {
        let (.., address, port) = self.ends();
        (address, port)
    }
}

/// Addresses and ports (of queries the identifier) of a packet.
pub(super) fn ends(octets: &[u8]) -> (Address, u16, Address, u16) {
    let packet = edit(octets, Offload::NONE, |_, packet| *packet).1;
    let (source, destination) = match packet.upper {
        Upper::Ports { source, destination, .. } => (source, destination),
        Upper::Icmp { identifier, .. } => (identifier, identifier),
        Upper::Other | Upper::Cut => (0, 0),
    };
    (packet.source, source, packet.destination, destination)
}

/// What the rules say of a packet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rules {
    pub(super) dnat: Option<NatRange>,
    pub(super) snat: Option<NatRange>,
    pub(super) hairpin: bool,
}

#[derive(Debug)]
struct Flow {
    tracking: Tracking,
    last_packet: Nanos,
}

/// A router that translates.
pub(super) struct World {
    pub(super) nat: NatState,
    pub(super) settings: Settings,
    pub(super) now: Nanos,
    /// How long a flow lives without packets.
    pub(super) flow_timeout: Nanos,
    pub(super) ingress: PortId,
    flows: HashMap<Tuple, (usize, Direction)>,
    list: Vec<Flow>,
}

struct Taken<'a>(&'a HashMap<Tuple, (usize, Direction)>);

impl Flows for Taken<'_> {
    fn is_taken(&self, tuple: &Tuple) -> bool {
        self.0.contains_key(tuple)
    }
}

/// A flow that a packet with this tuple begins.
pub(super) fn begins(original: Tuple) -> Tracking {
    /// What connection tracking itself knows of a new flow is of no interest here.
    static FLOW: OnceLock<NewFlow> = OnceLock::new();
    let flow = *FLOW.get_or_init(|| {
        let settings = conntrack::Settings::default();
        let at = At { settings: &settings, router: ZONE.router, worker: 0, ingress: PortId(0), now: 0, own: false };
        let packet = Spec::new(ip_protocol::UDP, ("10.0.0.1", 1), ("10.0.0.2", 2)).packet();
        let track = |frame: &mut Frame<'_>, packet: &mut Packet| Conntrack::new(1, 1).track(&at, &Template::default(), packet, frame);
        *edit(&packet, Offload::NONE, track).1.new_flow().unwrap()
    });
    let reply = original.inverse().unwrap();
    Tracking { original, reply, flow: FlowRef::New(flow), ..Tracking::none(CtState::New) }
}

impl World {
    pub(super) fn new(settings: Settings) -> World {
        World {
            nat: NatState::new(100_000),
            settings,
            now: 1000 * SECOND,
            flow_timeout: 30 * SECOND,
            ingress: PortId(1),
            flows: HashMap::new(),
            list: Vec::new(),
        }
    }

    /// Lets time pass. Every 10 s control looks at the flows and the mappings.
    pub(super) fn advance(&mut self, span: Nanos) {
        let end = self.now + span;
        while self.now < end {
            self.now = end.min(self.now + 10 * SECOND);
            for (index, flow) in self.list.iter().enumerate() {
                let Tracking { original, reply, status, .. } = flow.tracking;
                // One that is over, whose tuple another may have by now.
                if self.flows.get(&original) != Some(&(index, Direction::Original)) {
                    continue;
                }
                if flow.last_packet + self.flow_timeout > self.now {
                    let last_packet = flow.last_packet;
                    self.nat.touch(&FlowUse { original, reply, status, last_packet }, &self.settings, self.now);
                } else {
                    self.flows.remove(&original);
                    self.flows.remove(&reply);
                }
            }
            let mut cursor = Some(0);
            while let Some(at) = cursor {
                cursor = self.nat.remove(at, 1000, |mapping| mapping.expires <= self.now);
            }
        }
    }

    /// Ends every flow at once, as `conntrack -F` does.
    pub(super) fn flush_flows(&mut self) {
        self.flows.clear();
        self.list.clear();
    }

    pub(super) fn flow(&self, tuple: &Tuple) -> Option<&Tracking> {
        self.flows.get(tuple).map(|(index, _)| &self.list[*index].tracking)
    }

    pub(super) fn has_mapping(&self, inside: (Address, u16)) -> bool {
        let (mut found, mut cursor) = (false, Some(0));
        while let Some(at) = cursor {
            cursor = self.nat.list(at, 1000, |mapping| found |= mapping.internal == inside && mapping.expires > self.now);
        }
        found
    }

    fn track(&mut self, packet: &Packet, octets: &[u8]) -> Tracking {
        if packet.is_icmp_error() {
            let header = packet.l4 as usize - 14 + 8;
            let quoted = edit(&octets[header..], Offload::NONE, |_, packet| *packet).1;
            let answer = Tuple::of(&quoted, ZONE).and_then(|tuple| tuple.inverse()).unwrap();
            let Some((index, direction)) = self.flows.get(&answer) else { return Tracking::none(CtState::Invalid) };
            return Tracking { state: CtState::Related, direction: *direction, ..self.list[*index].tracking.clone() };
        }
        let tuple = Tuple::of(packet, ZONE).unwrap();
        match self.flows.get(&tuple) {
            Some((index, direction)) => {
                let flow = &mut self.list[*index];
                flow.last_packet = self.now;
                if *direction == Direction::Reply {
                    flow.tracking.status.insert(Status::SEEN_REPLY);
                }
                Tracking { state: CtState::Established, direction: *direction, ..flow.tracking.clone() }
            }
            None => begins(tuple),
        }
    }

    /// Sends a packet through the router.
    pub(super) fn pass(&mut self, octets: &[u8], rules: Rules) -> Fate {
        let packet = edit(octets, Offload::NONE, |_, packet| *packet).1;
        let mut tracking = self.track(&packet, octets);
        match self.bind(&mut tracking, rules) {
            Err(error) => return Fate::Unbound(error),
            Ok(false) => return Fate::Filtered,
            Ok(true) => {}
        }
        let (edited, answer) = edit(octets, Offload::NONE, |frame, packet| {
            translate(frame, packet, &tracking, Manip::Destination)?;
            translate(frame, packet, &tracking, Manip::Source)
        });
        if let Err(error) = answer {
            return Fate::Untranslatable(error);
        }
        if tracking.new_flow().is_some() {
            let index = self.list.len();
            for (tuple, direction) in [(tracking.original, Direction::Original), (tracking.reply, Direction::Reply)] {
                assert!(self.flows.insert(tuple, (index, direction)).is_none(), "two flows with {tuple:?}");
            }
            tracking.flow = FlowRef::Known(crate::conntrack::ConnId { index: index as u32, generation: 0 });
            self.list.push(Flow { tracking, last_packet: self.now });
        }
        Fate::Sent(edited)
    }

    /// Whether the flow of a packet may begin.
    fn bind(&mut self, tracking: &mut Tracking, rules: Rules) -> Result<bool, BindError> {
        let (flows, at) = (Taken(&self.flows), (self.ingress, self.now));
        let mut inbound = Inbound::Unmapped;
        if rules.dnat.is_none() {
            let (answer, tuple) = self.nat.decide_inbound(&flows, self.now, tracking, &self.settings);
            set(tracking, Manip::Destination, tuple);
            inbound = answer;
        }
        if inbound == Inbound::Filtered {
            return Ok(false);
        }
        let tuple = self.nat.decide(&flows, at, tracking, Manip::Destination, rules.dnat.as_ref(), &self.settings)?;
        set(tracking, Manip::Destination, tuple);
        let tuple = if rules.hairpin {
            self.nat.decide_hairpin(&flows, at, tracking, &self.settings)?
        } else {
            self.nat.decide(&flows, at, tracking, Manip::Source, rules.snat.as_ref(), &self.settings)?
        };
        set(tracking, Manip::Source, tuple);
        Ok(true)
    }
}
