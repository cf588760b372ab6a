//! The way of a packet through a router, from the interface it comes to, to the switch of the interface it leaves by.
//!
//! ```text
//! at an interface, addressed to its MAC address or to a group
//!   -> ARP: to control
//!   -> parse -> reassemble
//!   -> PREROUTING    raw -> connection tracking -> mangle -> nat (destination)
//!   -> reverse path filter -> route
//!        to the router itself   INPUT    mangle -> filter -> security -> nat (source) -> confirm -> answer
//!        to elsewhere           TTL, MTU -> FORWARD  mangle -> filter -> security -+
//! what the router itself sends  OUTPUT   raw -> connection tracking -> mangle      |
//!                                        -> nat (destination) -> filter -> security -> route
//!   -> POSTROUTING   mangle -> nat (source) -> confirm -> helper  <----------------+
//!   -> fragment -> neighbour -> into the switch
//! ```
//!
//! Packets of established flows that have been here before take a short way instead, which leads to the same
//! (`routing/established.rs`).
//!
//! Frames come here when the copies that switches made of them have been sent, so a packet is edited in place. Each is
//! forwarded, held for its neighbour, kept for reassembly, given to control, answered, or dropped for one reason, which is
//! counted at the port of the interface it came to. Counts of that port are those of the switch: `tx` are frames the router
//! took, `rx` those it sent.

mod answer;
mod established;
mod group;
mod hooks;
mod link;
mod memo;
mod own;
mod path;
mod reassemble;
mod unsolicited;

use std::hash::{BuildHasher, RandomState};

use arrayvec::ArrayVec;
use wire::{MacAddr, ethernet};

use super::Pipeline;
use crate::burst::{BURST_MAX, BurstMemory, FRAME_MAX};
use crate::conntrack::{CtState, FlowRef, Template, Tracking};
use crate::drop_reason::DropReason;
use crate::frame::Frame;
use crate::nat::unsolicited::{HELD_MAX, UnsolicitedSyns};
use crate::nat::{self, Manip};
use crate::offload;
use crate::router::fib::RouteKind;
use crate::router::fragment::Cut;
use crate::router::icmp::{IcmpError, IcmpLimiter};
use crate::router::neighbour::{NextHop, Resolved};
use crate::router::packet::Packet;
use crate::router::reassembly::Reassembler;
use crate::router::waiting::Waiting;
use crate::router::{Address, Family, InterfaceId, InterfaceOf, Router, RpFilter};
use crate::rules::{Hook, RuleCache, Table, Trace};
use crate::snapshot::{PortId, Snapshot};
use established::{AtInterface, Short};
use link::{PuntLimiter, write_ethernet};
use memo::{RouteKey, RouteMemo};
use own::{OWN_MAX, OwnPackets};
use path::Paths;

/// Routers a packet may cross in one go, as it may patch ports.
const HOPS_MAX: usize = 8;
/// Flows whose rules a worker remembers, at each hook and in each direction.
const RULE_CACHE: usize = 16_384;
/// Bursts of frames that routers make, one inside the other: a packet of a router may be cut into fragments on its way
/// through another.
const MEMORIES: usize = 3;

/// A frame that a switch delivered to a router.
#[derive(Clone, Copy)]
pub(super) struct Arrival {
    /// The port of the interface.
    pub(super) at: PortId,
    pub(super) interface: InterfaceOf,
    pub(super) frame: u8,
}

/// What a worker needs to route, beyond what switching needs.
pub(super) struct Routing {
    /// Empty; its memory serves the next arrivals.
    spare: Vec<Arrival>,
    punts: PuntLimiter,
    /// Packets that routers made and that are yet to be sent.
    own: OwnPackets,
    /// Memory for bursts of frames that routers make.
    memories: Vec<BurstMemory>,
    reassembler: Reassembler,
    waiting: Waiting,
    unsolicited: UnsolicitedSyns,
    /// Memory for packets that were put together.
    wholes: Vec<Vec<u8>>,
    routes: RouteMemo,
    /// Packets that went the short way.
    on_path: u64,
    paths_v4: Paths<u64>,
    paths_v6: Paths<[u64; 4]>,
    limiter: IcmpLimiter,
    cache: RuleCache,
}

impl Routing {
    /// For workers without routers: it has no memory to speak of.
    pub(super) fn none() -> Routing {
        Routing::new(1, 0, 0)
    }

    /// For workers with routers.
    fn full() -> Routing {
        Routing::new(RULE_CACHE, MEMORIES, OWN_MAX)
    }

    fn new(rule_cache: usize, memories: usize, own: usize) -> Routing {
        Routing {
            spare: Vec::with_capacity(own),
            punts: PuntLimiter::default(),
            own: OwnPackets::new(own),
            memories: (0..memories).map(|_| BurstMemory::new()).collect(),
            reassembler: Reassembler::new(),
            waiting: Waiting::new(),
            unsolicited: UnsolicitedSyns::new(if memories == 0 { 0 } else { HELD_MAX }),
            wholes: (0..memories).map(|_| Vec::with_capacity(FRAME_MAX)).collect(),
            routes: if memories == 0 { RouteMemo::none() } else { RouteMemo::full() },
            on_path: 0,
            paths_v4: if memories == 0 { Paths::none() } else { Paths::full() },
            paths_v6: if memories == 0 { Paths::none() } else { Paths::full() },
            limiter: IcmpLimiter::new(),
            cache: RuleCache::new(rule_cache, RandomState::new().hash_one(())),
        }
    }
}

/// What stays the same for all packets of a burst.
#[derive(Clone, Copy)]
struct Cx<'s> {
    snapshot: &'s Snapshot,
    /// The port where the burst came in from outside.
    origin: PortId,
    tick: u32,
    /// Routers these frames crossed.
    hops: usize,
}

/// A packet on its way through a router.
struct Passage<'p, 'f, 's> {
    router: &'s Router,
    frame: &'p mut Frame<'f>,
    packet: Packet,
    /// Mark of the packet (`skb->mark`).
    mark: u32,
    template: Template,
    tracking: Tracking,
    /// Its flow has taken it up before it came here.
    tracked: bool,
    /// The rules it met.
    trace: Trace,
    /// `None` for packets of the router itself.
    in_interface: Option<InterfaceId>,
    out_interface: Option<InterfaceId>,
    /// If it was put together from fragments: octets of the largest, and whether these were not to be fragmented.
    fragments: Option<(u32, bool)>,
    /// A rule translated its destination, and wants its source translated too if it leaves by the interface it came in by.
    hairpin: bool,
    /// The SYN proxy makes it, in the place of a client.
    by_syn_proxy: bool,
    /// Of the fragments it may be cut into, if it is IPv6.
    identification: u32,
    /// The port at which it is counted: that of the interface it came in by, or that made the router send it.
    at: PortId,
}

/// Frames that are to enter switches, by the ports where they do.
type Leaving = ArrayVec<(PortId, u8), BURST_MAX>;

/// What became of a packet.
enum Step {
    /// It has its Ethernet header and is to enter the switch at this port.
    Leave(PortId),
    /// So it has, but is to be cut into fragments first.
    Cut(PortId, Cut),
    /// The router has it: answered, held, kept.
    Taken,
    /// Control has it, or it was refused, and that is counted.
    Counted,
    /// It is dropped.
    Drop(DropReason),
}

impl From<DropReason> for Step {
    fn from(reason: DropReason) -> Step {
        Step::Drop(reason)
    }
}

/// Where the routes lead a packet.
enum Destination {
    /// To the router itself.
    Local,
    /// To a group of stations, of which the router may be one.
    Group,
    /// To a neighbour at an interface.
    Neighbour { interface: InterfaceId, next_hop: Address },
}

impl Pipeline {
    /// Routes the frames of a burst that switches delivered to interfaces, and sends everything that routers say to it.
    #[inline(never)]
    pub(super) fn route(&mut self, snapshot: &Snapshot, origin: PortId, frames: &mut [Frame<'_>], tick: u32) {
        let cx = Cx { snapshot, origin, tick, hops: 0 };
        self.route_arrivals(&cx, frames);
        self.send_own(&cx);
    }

    fn route_arrivals(&mut self, cx: &Cx<'_>, frames: &mut [Frame<'_>]) {
        let mut cx = *cx;
        while !self.arrivals.is_empty() {
            let mut arrivals = core::mem::replace(&mut self.arrivals, core::mem::take(&mut self.routing.spare));
            let mut leaving = Leaving::new_const();
            for arrivals in arrivals.chunk_by(|a, b| a.at == b.at) {
                self.route_arrivals_at(&cx, arrivals, frames, &mut leaving);
            }
            self.leave(&cx, &mut leaving, frames);
            arrivals.clear();
            self.routing.spare = arrivals;
            cx.hops += 1;
        }
    }

    /// Packets of established flows that were routed the short way so far (`pipeline/routing/established.rs`).
    pub fn on_path(&self) -> u64 {
        self.routing.on_path
    }

    /// Those that came to one interface.
    fn route_arrivals_at(&mut self, cx: &Cx<'_>, arrivals: &[Arrival], frames: &mut [Frame<'_>], leaving: &mut Leaving) {
        let Arrival { at, interface, .. } = arrivals[0];
        let (Some(port), Some(router)) = (cx.snapshot.port(at), cx.snapshot.router(interface.router)) else { return };
        let here = router.interface(interface.interface).map(|interface| AtInterface::new(self, cx, router, at, interface));
        let (mut taken, mut taken_octets, mut on_path) = (0, 0, 0);
        if arrivals.len() > 1
            && router.state.connections.is_large()
            && let Some(here) = &here
        {
            self.touch_flows(here, arrivals, frames);
        }
        for arrival in arrivals {
            let frame = &mut frames[usize::from(arrival.frame)];
            frame.set_wire_tags(&[]);
            let octets = frame.len() as u64;
            let tracking = match here.as_ref().map_or(Short::None, |here| self.go_short(here, frame)) {
                Short::Goes(to) => {
                    leaving.push((to, arrival.frame));
                    on_path += 1;
                    taken_octets += octets;
                    continue;
                }
                Short::Long(tracking) => Some(tracking),
                Short::None => None,
            };
            let step = self.arrive(cx, router, arrival, frame, tracking);
            if self.settle(cx, step, at, arrival.frame, leaving, frames) {
                taken += 1;
                taken_octets += octets;
            }
        }
        let counters = &port.counters[self.worker];
        counters.tx_packets.add(on_path + taken);
        counters.tx_bytes.add(taken_octets);
        self.routing.on_path += on_path;
    }

    /// Does what is left to do with a packet at port `at`. Whether the router took it.
    fn settle(&mut self, cx: &Cx<'_>, step: Step, at: PortId, i: u8, leaving: &mut Leaving, frames: &mut [Frame<'_>]) -> bool {
        match step {
            Step::Leave(to) => leaving.push((to, i)),
            Step::Cut(to, cut) => {
                // What came before leaves before.
                self.leave(cx, leaving, frames);
                if let Err(reason) = self.send_fragments(cx, to, &mut frames[usize::from(i)], cut) {
                    return self.settle(cx, Step::Drop(reason), at, i, leaving, frames);
                }
            }
            Step::Taken => {}
            Step::Counted => return false,
            Step::Drop(reason) => {
                if let Some(port) = cx.snapshot.port(at) {
                    port.counters[self.worker].drop(reason);
                }
                return false;
            }
        }
        true
    }

    /// A frame that a switch delivered to an interface, on the long way. `tracking` is there if its flow has taken it up already.
    #[inline(never)]
    fn arrive<'s>(
        &mut self,
        cx: &Cx<'s>,
        router: &'s Router,
        arrival: &Arrival,
        frame: &mut Frame<'_>,
        tracking: Option<Tracking>,
    ) -> Step {
        if cx.hops >= HOPS_MAX {
            return Step::Drop(DropReason::RouterHops);
        }
        let Some(interface) = router.interface(arrival.interface.interface) else { return Step::Drop(DropReason::PortDown) };
        let Some(header) = frame.ethernet_header() else { return Step::Drop(DropReason::Runt) };
        let destination = MacAddr::at(&header[ethernet::DESTINATION]);
        if destination != interface.mac && !destination.is_multicast() {
            return Step::Drop(DropReason::OtherHost);
        }
        let family = match ethernet::ether_type(header) {
            ethernet::ETHER_TYPE_IPV4 => Family::V4,
            ethernet::ETHER_TYPE_IPV6 => Family::V6,
            ethernet::ETHER_TYPE_ARP => return self.punt_to_router(cx, arrival.at, frame),
            _ => return Step::Drop(DropReason::NotIp),
        };
        let Some(packet) = Packet::parse(frame, family) else { return Step::Drop(DropReason::IpInvalid) };
        frame.truncate(usize::from(packet.l3) + packet.len as usize);
        if destination.is_multicast() {
            return self.arrive_for_group(cx, router, arrival, frame, packet);
        }
        if packet.fragment.is_some() {
            return self.reassemble(cx, router, arrival, frame, &packet);
        }
        let mut p = Passage::new(router, arrival, frame, packet);
        if let Some(tracking) = tracking {
            (p.tracking, p.tracked) = (tracking, true);
        }
        self.pass(cx, &mut p)
    }

    /// A whole packet that came to the MAC address of the router.
    fn pass(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>) -> Step {
        self.try_pass(cx, p).unwrap_or_else(|step| step)
    }

    fn try_pass(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>) -> Result<Step, Step> {
        self.prerouting(cx, p)?;
        match self.look_up_route(cx, p)? {
            Destination::Local => self.deliver(cx, p),
            Destination::Group => Err(Step::Drop(DropReason::NoListener)),
            Destination::Neighbour { interface, next_hop } => {
                self.forward_packet(cx, p, interface)?;
                self.postrouting(cx, p)?;
                self.transmit(cx, p, interface, next_hop)
            }
        }
    }

    fn prerouting(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>) -> Result<(), Step> {
        if p.packet.family == Family::V6 && is_martian_v6(&p.packet) {
            return Err(Step::Drop(DropReason::Martian));
        }
        // The rules that keep SYNs of clients out of the table of connections are not meant for the proxy's.
        if !p.by_syn_proxy {
            self.ask(cx, p, Table::Raw, Hook::Prerouting)?;
        }
        if !p.tracked {
            self.track(cx, p);
        }
        self.ask(cx, p, Table::Mangle, Hook::Prerouting)?;
        self.translate(cx, p, Manip::Destination, Hook::Prerouting)
    }

    /// The reverse path filter and the routing decision.
    #[inline]
    fn look_up_route(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>) -> Result<Destination, Step> {
        let Packet { source, destination, family, .. } = p.packet;
        let Some(from) = p.in_interface else { return self.ask_routes(cx, p) };
        let key = RouteKey { source, destination, router: p.router.id, from, family };
        if let Some((interface, next_hop)) = self.routing.routes.find(&key) {
            return Ok(Destination::Neighbour { interface, next_hop });
        }
        let found = self.ask_routes(cx, p)?;
        if let Destination::Neighbour { interface, next_hop } = found {
            self.routing.routes.remember(key, interface, next_hop);
        }
        Ok(found)
    }

    /// As `ip_route_input_slow` (`net/ipv4/route.c`) and `ip6_route_input`.
    #[inline(never)]
    fn ask_routes(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>) -> Result<Destination, Step> {
        let (packet, fib) = (p.packet, p.router.fib(p.packet.family));
        if packet.family == Family::V4 && is_martian_v4(&packet) {
            return Err(Step::Drop(DropReason::Martian));
        }
        if let Some((id, interface)) = p.in_interface.and_then(|id| Some((id, p.router.interface(id)?))) {
            let filter = interface.rp_filter;
            let checks = packet.family == Family::V4 || filter != RpFilter::Off;
            if checks && !fib.rp_filter_ok(filter, id, packet.source) {
                return Err(Step::Drop(DropReason::RpFilter));
            }
        }
        if packet.destination.is_multicast(packet.family) {
            return Ok(Destination::Group);
        }
        let route = match p.in_interface {
            Some(id) => fib.lookup_on(packet.destination, id),
            None => fib.lookup(packet.destination),
        };
        match route.map(|route| route.kind) {
            Some(RouteKind::Local { .. }) => Ok(Destination::Local),
            Some(RouteKind::Broadcast { .. }) => Ok(Destination::Group),
            Some(RouteKind::Unicast { interface, via }) => {
                Ok(Destination::Neighbour { interface, next_hop: via.unwrap_or(packet.destination) })
            }
            Some(RouteKind::Blackhole) => Err(Step::Drop(DropReason::RouteBlackhole)),
            _ if !p.router.forwarding => Err(Step::Drop(DropReason::ForwardingDisabled)),
            Some(RouteKind::Unreachable) => {
                let error = match packet.family {
                    Family::V4 => IcmpError::host_unreachable(Family::V4),
                    Family::V6 => IcmpError::no_route(Family::V6),
                };
                self.send_error(cx, p, error);
                Err(Step::Drop(DropReason::RouteUnreachable))
            }
            Some(RouteKind::Prohibit) => {
                self.send_error(cx, p, IcmpError::administratively_prohibited(packet.family));
                Err(Step::Drop(DropReason::RouteProhibit))
            }
            None => {
                self.send_error(cx, p, IcmpError::no_route(packet.family));
                Err(Step::Drop(DropReason::NoRoute))
            }
        }
    }

    /// For the router itself.
    fn deliver(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>) -> Result<Step, Step> {
        self.ask(cx, p, Table::Mangle, Hook::Input)?;
        self.ask(cx, p, Table::Filter, Hook::Input)?;
        self.ask(cx, p, Table::Security, Hook::Input)?;
        self.translate(cx, p, Manip::Source, Hook::Input)?;
        self.confirm(cx, p)?;
        self.answer(cx, p)
    }

    /// For somebody else (`ip_forward`, `net/ipv4/ip_forward.c`; `ip6_forward`, `net/ipv6/ip6_output.c`).
    fn forward_packet(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>, to: InterfaceId) -> Result<(), Step> {
        if !p.router.forwarding {
            return Err(Step::Drop(DropReason::ForwardingDisabled));
        }
        let family = p.packet.family;
        if p.packet.ttl <= 1 {
            self.send_error(cx, p, IcmpError::ttl_exceeded(family));
            return Err(Step::Drop(DropReason::TtlExceeded));
        }
        if family == Family::V6 && is_beyond_scope(&p.packet) {
            if p.packet.source.is_link_local(family) {
                self.send_error(cx, p, IcmpError::unreachable(family, 2));
            }
            return Err(Step::Drop(DropReason::BeyondScope));
        }
        p.out_interface = Some(to);
        let mtu = p.mtu();
        if p.is_too_big(mtu) {
            self.send_error(cx, p, IcmpError::too_big(family, mtu));
            return Err(Step::Drop(DropReason::PacketTooBig));
        }
        let ttl = p.packet.ttl - 1;
        nat::rewrite::set_ttl(p.frame, &mut p.packet, ttl);
        self.ask(cx, p, Table::Mangle, Hook::Forward)?;
        self.ask(cx, p, Table::Filter, Hook::Forward)?;
        self.ask(cx, p, Table::Security, Hook::Forward)
    }

    /// What the router itself sends, with its route.
    fn originate(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>, at: Option<InterfaceId>) -> Result<Step, Step> {
        let (family, destination) = (p.packet.family, p.packet.destination);
        p.out_interface = p.router.route_for_own(family, destination, at).map(|(interface, _)| interface);
        // As in Linux, what leads nowhere is not sent in the first place: no rule, and no flow that it answers, sees it.
        if p.out_interface.is_none() && !p.router.is_local(family, destination) {
            return Err(Step::Drop(DropReason::NoRoute));
        }
        self.ask(cx, p, Table::Raw, Hook::Output)?;
        // What answers a packet belongs to the flow of that packet.
        if p.tracking.flow == FlowRef::None {
            self.track(cx, p);
        }
        self.ask(cx, p, Table::Mangle, Hook::Output)?;
        self.translate(cx, p, Manip::Destination, Hook::Output)?;
        let route = p.router.route_for_own(p.packet.family, p.packet.destination, at);
        let Some((interface, next_hop)) = route else { return Err(Step::Drop(DropReason::NoRoute)) };
        p.out_interface = Some(interface);
        self.ask(cx, p, Table::Filter, Hook::Output)?;
        self.ask(cx, p, Table::Security, Hook::Output)?;
        self.postrouting(cx, p)?;
        self.transmit(cx, p, interface, next_hop)
    }

    fn postrouting(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>) -> Result<(), Step> {
        self.ask(cx, p, Table::Mangle, Hook::Postrouting)?;
        self.translate(cx, p, Manip::Source, Hook::Postrouting)?;
        self.confirm(cx, p)?;
        self.extend(cx, p)
    }

    /// To a neighbour, by an interface.
    fn transmit(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>, to: InterfaceId, next_hop: Address) -> Result<Step, Step> {
        let family = p.packet.family;
        let Some(interface) = p.router.interface(to) else { return Err(Step::Drop(DropReason::PortDown)) };
        let resolved = p.router.state.neighbours.view().resolve(to, family, next_hop);
        let mac = match resolved {
            Resolved::Mac(mac) => mac,
            Resolved::Unknown | Resolved::Failed => MacAddr::ZERO,
        };
        write_ethernet(p.frame.head_mut(), mac, interface.mac, family.ether_type());
        if resolved == Resolved::Unknown {
            let hop = NextHop { router: p.router.id, interface: to, family, address: next_hop };
            return Ok(self.hold(cx, p, hop));
        }
        if resolved == Resolved::Failed {
            self.send_error(cx, p, IcmpError::host_unreachable(family));
            return Err(Step::Drop(DropReason::NeighborFailed));
        }
        Ok(match p.cut(interface.mtu) {
            Some(cut) => Step::Cut(interface.port, cut),
            None => {
                self.make_path(p, to, next_hop);
                Step::Leave(interface.port)
            }
        })
    }
}

impl<'p, 'f, 's> Passage<'p, 'f, 's> {
    /// A packet that came in.
    fn new(router: &'s Router, arrival: &Arrival, frame: &'p mut Frame<'f>, packet: Packet) -> Passage<'p, 'f, 's> {
        let mut p = Passage::own(router, arrival.at, frame, packet, None);
        p.in_interface = Some(arrival.interface.interface);
        p
    }

    /// A packet of the router itself, of the flow `tracking`.
    fn own(router: &'s Router, at: PortId, frame: &'p mut Frame<'f>, packet: Packet, tracking: Option<Tracking>) -> Passage<'p, 'f, 's> {
        Passage {
            router,
            frame,
            packet,
            mark: 0,
            template: Template::default(),
            tracking: tracking.unwrap_or(Tracking::none(CtState::Untracked)),
            tracked: false,
            trace: Trace::default(),
            in_interface: None,
            out_interface: None,
            fragments: None,
            hairpin: false,
            by_syn_proxy: false,
            identification: 0,
            at,
        }
    }

    /// The MTU of the interface it leaves by.
    fn mtu(&self) -> u32 {
        self.out_interface.and_then(|id| self.router.interface(id)).map_or(u32::MAX, |interface| interface.mtu)
    }

    /// Whether the packet is too long for the way out and its sender must be told (`ip_exceeds_mtu`, `ip6_pkt_too_big`).
    fn is_too_big(&self, mtu: u32) -> bool {
        if self.packet.len <= mtu {
            return false;
        }
        match (self.fragments, self.packet.family) {
            (Some((largest, dont_fragment)), family) => largest > mtu && (dont_fragment || family == Family::V6),
            (None, Family::V4) if !self.packet.dont_fragment => false,
            (None, _) => !offload::fits_mtu(self.frame, mtu),
        }
    }

    /// How the packet is to be cut before it leaves by an interface of this MTU, if it must be (`__ip_finish_output`).
    fn cut(&self, mtu: u32) -> Option<Cut> {
        let size = match self.fragments {
            Some((largest, _)) => largest.min(mtu),
            None if self.packet.len <= mtu || offload::fits_mtu(self.frame, mtu) => return None,
            None => mtu,
        };
        if self.packet.len <= size {
            return None;
        }
        let dont_fragment = self.fragments.is_some_and(|(_, dont_fragment)| dont_fragment);
        Some(Cut { mtu: size, dont_fragment, identification: self.identification })
    }
}

/// Addresses that must not be on a wire (`ip_route_input_slow`, `net/ipv4/route.c`).
fn is_martian_v4(packet: &Packet) -> bool {
    let (source, destination, family) = (packet.source, packet.destination, Family::V4);
    let broadcast = destination.0 == u128::from(u32::MAX);
    source.is_multicast(family)
        || source.0 == u128::from(u32::MAX)
        || source.is_loopback(family)
        || destination.is_loopback(family)
        // 0.0.0.0 asks for an address; whoever is asked is a group.
        || (source.0 >> 24 == 0 && !broadcast && !destination.is_multicast(family))
        || (destination.0 >> 24 == 0 && !(source.0 == 0 && destination.0 == 0))
}

/// Likewise (`ip6_rcv_core`, `net/ipv6/ip6_input.c`).
fn is_martian_v6(packet: &Packet) -> bool {
    let (source, destination, family) = (packet.source, packet.destination, Family::V6);
    source.is_multicast(family)
        || source.is_loopback(family)
        || destination.is_loopback(family)
        // Interface-local and reserved groups.
        || (destination.is_multicast(family) && destination.0 >> 112 & 0xf <= 1)
}

/// IPv6 packets that no router passes on (RFC 4291 section 2.5.6; `ip6_forward`).
fn is_beyond_scope(packet: &Packet) -> bool {
    let family = Family::V6;
    packet.source == Address::UNSPECIFIED || packet.source.is_link_local(family) || packet.destination.is_link_local(family)
}
