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
//!   -> POSTROUTING   mangle -> nat (source) -> helper -> confirm  <----------------+
//!   -> fragment -> neighbour -> into the switch
//! ```
//!
//! Frames come here when the copies that switches made of them have been sent, so a packet is edited in place. Each is
//! forwarded, held for its neighbour, kept for reassembly, given to control, answered, or dropped for one reason, which is
//! counted at the port of the interface it came to. Counts of that port are those of the switch: `tx` are frames the router
//! took, `rx` those it sent.

mod link;

use arrayvec::ArrayVec;
use wire::ethernet;

use super::Pipeline;
use crate::burst::{BURST_MAX, BurstMemory};
use crate::clock::Nanos;
use crate::conntrack::{self, Conntrack, CtState, FlowRef, Status, Template, Tracking};
use crate::drop_reason::DropReason;
use crate::frame::Frame;
use crate::nat::{self, Manip};
use crate::router::{Address, Family, Interface, InterfaceId, InterfaceOf, Router, RouterId};
use crate::router::packet::{Packet, Upper};
use crate::rules::{Evaluation, Hook, Table, Verdict};
use crate::snapshot::{Port, PortId, Snapshot};

/// Routers a packet may cross in one go, as it may patch ports.
const HOPS_MAX: usize = 8;

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
    /// Packets the routers of this worker made and have not yet sent.
    own: OwnPackets,
    /// Memory for bursts of frames that routers make; `None` while one is on its way.
    memory: Option<BurstMemory>,
    reassembler: Reassembler,
    waiting: Waiting,
    limiter: IcmpLimiter,
    cache: RuleCache,
}

impl Routing {
    pub(super) fn new() -> Routing {
        Routing {
            spare: Vec::with_capacity(2 * BURST_MAX),
            punts: PuntLimiter::default(),
            own: OwnPackets::new(),
            memory: Some(BurstMemory::new()),
            reassembler: Reassembler::new(),
            waiting: Waiting::new(),
            limiter: IcmpLimiter::new(),
            cache: RuleCache::new(),
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
    mark: u32,
    template: Template,
    tracking: Tracking,
    in_interface: Option<InterfaceId>,
    out_interface: Option<InterfaceId>,
    /// Octets of its largest fragment, if it was reassembled.
    fragment_size: Option<u16>,
    /// The port at which it is counted.
    counted_at: PortId,
}

/// What became of a packet that was not dropped.
enum Step {
    /// It has its Ethernet header and is to enter the switch at this port.
    Leave(PortId),
    /// It is as it should be, but too long for the interface.
    Fragment(PortId),
    /// The router has it: answered, held, kept.
    Taken,
    /// Control has it, and that is counted.
    Punted,
}

impl Pipeline {
    /// Routes the frames of a burst that switches delivered to interfaces, and everything routers send because of them.
    #[inline(never)]
    pub(super) fn route(&mut self, snapshot: &Snapshot, origin: PortId, frames: &mut [Frame<'_>], tick: u32) {
        self.route_arrivals(&Cx { snapshot, origin, tick, hops: 0 }, frames);
        self.send_own(snapshot, tick);
    }

    fn route_arrivals(&mut self, cx: &Cx<'_>, frames: &mut [Frame<'_>]) {
        let mut cx = *cx;
        while !self.arrivals.is_empty() {
            let mut arrivals = core::mem::replace(&mut self.arrivals, core::mem::take(&mut self.routing.spare));
            let mut leaving: ArrayVec<(PortId, u8), BURST_MAX> = ArrayVec::new_const();
            for arrival in arrivals.drain(..) {
                let (Some(port), Some(router)) = (cx.snapshot.port(arrival.at), cx.snapshot.router(arrival.interface.router)) else {
                    continue;
                };
                let frame = &mut frames[usize::from(arrival.frame)];
                frame.set_wire_tags(&[]);
                let len = frame.len() as u64;
                let step = self.arrive(&cx, router, &arrival, port, frame);
                let counters = &port.counters[self.worker];
                match step {
                    Ok(Step::Punted) => continue,
                    Ok(Step::Leave(to)) => leaving.push((to, arrival.frame)),
                    Ok(Step::Fragment(to)) => {
                        // What came before leaves before.
                        self.leave(&cx, &mut leaving, frames);
                        self.send_fragments(&cx, to, &frames[usize::from(arrival.frame)]);
                    }
                    Ok(Step::Taken) => {}
                    Err(reason) => {
                        counters.drop(reason);
                        continue;
                    }
                }
                counters.tx_packets.add(1);
                counters.tx_bytes.add(len);
            }
            self.routing.spare = arrivals;
            self.leave(&cx, &mut leaving, frames);
            cx.hops += 1;
        }
    }
}

impl Pipeline {
    /// A frame that a switch delivered to an interface.
    fn arrive<'s>(
        &mut self,
        cx: &Cx<'s>,
        router: &'s Router,
        arrival: &Arrival,
        port: &Port,
        frame: &mut Frame<'_>,
    ) -> Result<Step, DropReason> {
        let Some(interface) = router.interface(arrival.interface.interface) else { return Err(DropReason::IngressDisabled) };
        if cx.hops >= HOPS_MAX {
            return Err(DropReason::RouterHops);
        }
        let header = frame.ethernet_header().ok_or(DropReason::Runt)?;
        let destination = MacAddr::at(&header[ethernet::DESTINATION]);
        if destination != interface.mac && !destination.is_group() {
            return Err(DropReason::OtherHost);
        }
        let family = match ethernet::ether_type(header) {
            ethernet::ETHER_TYPE_IPV4 => Family::V4,
            ethernet::ETHER_TYPE_IPV6 => Family::V6,
            ethernet::ETHER_TYPE_ARP => {
                self.punt_to_router(cx.origin, arrival.at, port, frame);
                return Ok(Step::Punted);
            }
            _ => return Err(DropReason::NotIp),
        };
        let packet = Packet::parse(frame, family).ok_or(DropReason::IpInvalid)?;
        frame.truncate(usize::from(packet.l3) + packet.len as usize);
        if destination.is_group() {
            return self.arrive_for_group(cx, router, arrival, frame, packet);
        }
        if packet.fragment.is_some() {
            return self.reassemble(cx, router, arrival, frame, &packet);
        }
        self.pass(cx, &mut Passage::arriving(router, arrival, frame, packet))
    }

    /// A packet that arrived, whole and for this router's MAC address.
    fn pass(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>) -> Result<Step, DropReason> {
        self.prerouting(cx, p)?;
        match self.look_up_route(p)? {
            Destination::Local => self.deliver(cx, p),
            Destination::Group => Err(DropReason::NoListener),
            Destination::Elsewhere { interface, next_hop } => {
                self.forward_packet(cx, p, interface)?;
                self.postrouting(cx, p)?;
                self.transmit(cx, p, next_hop)
            }
        }
    }

    fn prerouting(&mut self, cx: &Cx<'_>, p: &mut Passage<'_, '_, '_>) -> Result<(), DropReason> {
        self.ask(cx, p, Table::Raw, Hook::Prerouting)?;
        self.track(cx, p);
        self.ask(cx, p, Table::Mangle, Hook::Prerouting)?;
        self.translate(cx, p, Manip::Destination, Hook::Prerouting)
    }
}
