//! The way of a frame, from the burst it arrives in to the transmit queues it leaves by.
//!
//! ```text
//! receive queue -> count -> admit (tag out, offload, source, reserved groups, VLAN)  per frame
//!               -> learn                                                        the whole burst, before any forwards
//!               -> look up -> unicast | flood -> output (checks, VLAN tags)     per frame
//!                                                  | patch port: admit .. output once more, at the other switch
//!                                                  | interface of a router: after the flush, see `pipeline/routing.rs`
//!               -> flush: write tags, finish what the device cannot do -> transmit queue
//! ```
//!
//! Every frame ends sent or dropped; each drop is counted once, under its [`DropReason`], at the port the reason belongs
//! to. Nothing here allocates, reads a clock, logs or blocks. A [`Pipeline`] belongs to one worker.

mod bonding;
mod routing;

use std::sync::Arc;

use arrayvec::ArrayVec;
use wire::{MacAddr, Tag, Tpid, ethernet};

use crate::burst::{BURST_MAX, Burst, BurstMemory};
use crate::clock::Nanos;
use crate::counters::PortCounters;
use crate::device::{TxQueue, TxReport};
use crate::drop_reason::DropReason;
use crate::events::EventQueue;
use crate::fdb::{EntryKind, Learned, Learner, Place};
use crate::frame::{Frame, Tags};
use crate::offload::{self, Segments};
use crate::snapshot::{PATCH_HOPS_MAX, PORTS_MAX, Port, PortId, Snapshot, Switch};
use crate::vlan::Classified;
use crate::worker::WorkerEvent;
use routing::{Arrival, Routing};

/// The group bit of an address as a number.
const GROUP_BIT: u64 = 1 << 40;
/// The lower 48 bits.
const ADDRESS_MASK: u64 = (1 << 48) - 1;
/// The reserved group addresses 01:80:c2:00:00:00 to :0f (IEEE 802.1Q-2018 table 8-1).
const RESERVED_GROUP: u64 = 0x0180_c200_0000;
/// Slots from which on a table does not stay in the second-level cache, so that overlapping the misses of a burst pays.
const LARGE_TABLE: usize = 1 << 16;

/// The stages with their working memory and the transmit queues of one worker.
pub struct Pipeline {
    worker: usize,
    tx: Vec<Option<TxSlot>>,
    touched: Vec<PortId>,
    segments: BurstMemory,
    events: Arc<EventQueue>,
    time: Nanos,
    /// Ports whose slots stand for bonds.
    bonds: Vec<PortId>,
    /// Frames of the burst that switches delivered to routers.
    arrivals: Vec<Arrival>,
    routing: Routing,
}

struct TxSlot {
    queue: Box<dyn TxQueue>,
    /// Frames that are to leave here.
    picks: ArrayVec<u8, BURST_MAX>,
    /// The tags each of them leaves with; all [`Tags::NONE`] between bursts.
    tags: [Tags; BURST_MAX],
    /// All of them leave as they are: no tags, nothing for the device or us to finish.
    plain: bool,
    /// Bit n: pick n leaves with `source` as its source; 0 between bursts.
    rewrite: u32,
    source: MacAddr,
    /// It collects frames for the members of a bond.
    is_bond: bool,
}

/// One admitted frame between ingress and egress.
#[derive(Clone, Copy)]
struct Lane {
    source: Place,
    destination: Place,
    classified: Classified,
    /// Octets of the frame without metadata tags.
    len: u32,
    to: Target,
    frame: u8,
    /// The device said there is nothing left to do.
    complete: bool,
}

/// Where a frame goes at its switch: the number of a port, or one of the constants.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Target(u16);

impl Target {
    const FLOOD: Target = Target(u16::MAX);
    /// Learning dropped it.
    const NOWHERE: Target = Target(u16::MAX - 1);
}

const _: () = assert!(PORTS_MAX < Target::NOWHERE.0 as usize);

type Lanes = ArrayVec<Lane, BURST_MAX>;

/// What kind of frame is flooded; each port has a flag per kind.
#[derive(Clone, Copy)]
enum FloodKind {
    UnknownUnicast,
    Multicast,
    Broadcast,
}

impl FloodKind {
    fn of(destination: u64) -> FloodKind {
        match destination {
            ADDRESS_MASK => FloodKind::Broadcast,
            group if group & GROUP_BIT != 0 => FloodKind::Multicast,
            _ => FloodKind::UnknownUnicast,
        }
    }
}

/// What stays the same for all frames of a burst at one switch.
struct At<'s> {
    snapshot: &'s Snapshot,
    from: PortId,
    port: &'s Port,
    switch: &'s Switch,
    now: u32,
    hops: usize,
}

impl Pipeline {
    /// A pipeline whose counters are those of worker number `worker`.
    pub fn new(worker: usize, events: Arc<EventQueue>) -> Pipeline {
        Pipeline {
            worker,
            tx: Vec::new(),
            touched: Vec::with_capacity(64),
            segments: BurstMemory::new(),
            events,
            time: 0,
            bonds: Vec::new(),
            arrivals: Vec::new(),
            routing: Routing::none(),
        }
    }

    /// Takes frames for `port` to `queue` from now on; returns the former queue.
    pub fn attach(&mut self, port: PortId, queue: Box<dyn TxQueue>) -> Option<Box<dyn TxQueue>> {
        if self.tx.len() <= port.index() {
            self.tx.resize_with(port.index() + 1, || None);
            // A burst touches a port once at most, so this never grows while frames flow.
            self.touched.reserve(self.tx.len());
        }
        let slot = TxSlot {
            queue,
            picks: ArrayVec::new(),
            tags: [Tags::NONE; BURST_MAX],
            plain: true,
            rewrite: 0,
            source: MacAddr::ZERO,
            is_bond: false,
        };
        self.tx[port.index()].replace(slot).map(|slot| slot.queue)
    }

    /// Gives the transmit queue of `port` back.
    pub fn detach(&mut self, port: PortId) -> Option<Box<dyn TxQueue>> {
        self.tx.get_mut(port.index())?.take().map(|slot| slot.queue)
    }

    /// Forwards the frames of a burst that arrived at port `from`; `now` is the current tick.
    pub fn run(&mut self, snapshot: &Snapshot, from: PortId, burst: &mut Burst<'_>, now: u32) {
        let Some(port) = snapshot.port(from) else { return };
        if let Some(member) = port.member_of {
            return self.run_member(snapshot, from, member, burst, now);
        }
        let Some(switch) = snapshot.switch(port.switch) else { return };
        let counters = &port.counters[self.worker];
        count_losses(burst, counters);
        counters.rx_packets.add(burst.len() as u64);
        if !port.state.is_enabled() {
            counters.rx_bytes.add(burst.frames().iter().map(arrived_octets).sum());
            counters.drop_many(DropReason::IngressDisabled, burst.len() as u64);
            return;
        }

        let mut lanes = Lanes::new_const();
        counters.rx_bytes.add(admit(port, switch, burst.frames_mut(), counters, &mut lanes));
        self.forward(&At { snapshot, from, port, switch, now, hops: 0 }, burst.frames(), &mut lanes);
        self.flush(snapshot, burst.frames_mut());
        if !self.arrivals.is_empty() {
            self.route(snapshot, from, burst.frames_mut(), now);
        }
    }

    fn forward(&mut self, at: &At<'_>, frames: &[Frame<'_>], lanes: &mut Lanes) {
        if at.switch.fdb.capacity() > LARGE_TABLE && lanes.len() > 1 {
            touch(at.switch, lanes);
        }
        if at.port.learning && !at.switch.hub && at.switch.ageing != 0 {
            self.learn(at, lanes);
        }
        if !at.switch.hub {
            look_up(at, lanes);
        }
        // Neighbours in a burst mostly go to the same port: what is true of the port is found out once for all of them.
        for lanes in lanes.chunk_by(|a, b| a.to == b.to) {
            let to = PortId(lanes[0].to.0);
            if lanes[0].to == Target::NOWHERE {
                continue;
            }
            match at.snapshot.port(to) {
                Some(out) => self.unicast(at, frames, lanes, to, out),
                None => lanes.iter().for_each(|lane| self.flood(at, frames, lane)),
            }
        }
    }

    #[inline(always)]
    fn learn(&mut self, at: &At<'_>, lanes: &mut Lanes) {
        let learner = Learner {
            port: at.from,
            limit: at.port.learn_limit,
            kind: if at.port.sticky { EntryKind::Sticky } else { EntryKind::Learned },
            now: at.now,
            ageing: at.switch.ageing,
        };
        let mut previous = None;
        for lane in lanes {
            if previous == Some(lane.source) {
                continue;
            }
            match at.switch.fdb.learn(lane.source, &learner) {
                Learned::Known => previous = Some(lane.source),
                Learned::NotLearned => {}
                Learned::Conflict => {
                    lane.to = Target::NOWHERE;
                    at.port.counters[self.worker].drop(DropReason::StaticMove);
                }
                what => {
                    let (mac, vlan) = (MacAddr::from_u64(lane.source.mac()), lane.classified.vlan());
                    self.events.fdb(WorkerEvent::Fdb { switch: at.port.switch, vlan, mac, port: at.from, what });
                }
            }
        }
    }

    /// Frames for stations at port `to`.
    #[inline(always)]
    fn unicast(&mut self, at: &At<'_>, frames: &[Frame<'_>], lanes: &[Lane], to: PortId, out: &Port) {
        if to == at.from && !at.port.hairpin {
            return at.port.counters[self.worker].drop_many(DropReason::SamePort, lanes.len() as u64);
        }
        let counters = &out.counters[self.worker];
        if at.port.isolated && out.isolated {
            return counters.drop_many(DropReason::Isolated, lanes.len() as u64);
        }
        let up = out.state.is_up();
        let admitted = lanes.iter().filter(|lane| {
            let refused = if !out.vlan.members.contains(lane.classified.vlan()) {
                DropReason::VlanEgressFilter
            } else if !up {
                DropReason::PortDown
            } else {
                return true;
            };
            counters.drop(refused);
            false
        });
        self.output(at, frames, admitted, to, out);
    }

    fn flood(&mut self, at: &At<'_>, frames: &[Frame<'_>], lane: &Lane) {
        let kind = FloodKind::of(lane.destination.mac());
        let mut targets = 0u64;
        for to in &at.switch.ports {
            let Some(out) = at.snapshot.port(*to) else { continue };
            let wanted = match kind {
                FloodKind::UnknownUnicast => out.flood,
                FloodKind::Multicast => out.mcast_flood,
                FloodKind::Broadcast => out.bcast_flood,
            };
            let returns = *to == at.from && !at.port.hairpin;
            let isolated = at.port.isolated && out.isolated;
            if wanted && !returns && !isolated && out.state.is_up() && out.vlan.members.contains(lane.classified.vlan()) {
                targets += 1;
                self.output(at, frames, core::iter::once(lane), *to, out);
            }
        }
        let counters = &at.port.counters[self.worker];
        match targets {
            0 => counters.drop(DropReason::NoFloodTarget),
            n => counters.copies.add(n - 1),
        }
    }

    /// Frames that leave by port `to`.
    #[inline(always)]
    fn output<'l>(&mut self, at: &At<'_>, frames: &[Frame<'_>], lanes: impl Iterator<Item = &'l Lane>, to: PortId, out: &Port) {
        let counters = &out.counters[self.worker];
        let short = out.mtu + ethernet::HEADER_LEN as u32;
        let lanes = lanes.filter(|lane| {
            let fits = lane.len <= short || offload::fits_mtu(&frames[usize::from(lane.frame)], out.mtu);
            if !fits {
                counters.drop(DropReason::MtuExceeded);
            }
            fits
        });
        if let Some(peer) = out.patch_peer {
            return lanes.for_each(|lane| self.cross_patch(at, frames, lane, out, peer));
        }
        if let Some(interface) = out.interface {
            return lanes.for_each(|lane| self.arrivals.push(Arrival { at: to, interface, frame: lane.frame }));
        }
        let Some(slot) = self.tx.get_mut(to.index()).and_then(Option::as_mut) else {
            // The device went away, and control has not yet said so in the port's state.
            return counters.drop_many(DropReason::TxLinkDown, lanes.count() as u64);
        };
        let untouched = slot.picks.is_empty();
        let bare_vlan = out.vlan.bare_vlan();
        for lane in lanes {
            if !lane.classified.is_unmarked() || bare_vlan != Some(lane.classified.vlan()) {
                slot.tags[slot.picks.len()] = out.vlan.egress_tags(&lane.classified);
                slot.plain = false;
            }
            if !lane.complete {
                slot.plain = false;
            }
            slot.picks.push(lane.frame);
        }
        if untouched && !slot.picks.is_empty() {
            self.touched.push(to);
        }
    }

    /// Takes a frame that leaves by a patch port through the switch at the other end.
    #[cold]
    fn cross_patch(&mut self, at: &At<'_>, frames: &[Frame<'_>], lane: &Lane, out: &Port, peer: PortId) {
        let tags = out.vlan.egress_tags(&lane.classified);
        let octets = (frames[usize::from(lane.frame)].len() + tags.len() * Tag::LEN) as u64;
        let there = at.snapshot.port(peer).and_then(|port| at.snapshot.switch(port.switch).map(|switch| (port, switch)));
        let Some((port, switch)) = there else {
            return out.counters[self.worker].drop(DropReason::TxLinkDown);
        };
        out.counters[self.worker].tx_packets.add(1);
        out.counters[self.worker].tx_bytes.add(octets);
        let counters = &port.counters[self.worker];
        counters.rx_packets.add(1);
        counters.rx_bytes.add(octets);
        let admitted = if !port.state.is_enabled() {
            Err(DropReason::IngressDisabled)
        } else if at.hops >= PATCH_HOPS_MAX {
            Err(DropReason::PatchHops)
        } else {
            reserved_group(switch, lane.destination.mac()).and_then(|()| port.vlan.classify(&tags))
        };
        match admitted {
            Ok(classified) => {
                let mut lanes = Lanes::new_const();
                let source = switch.fdb.place(lane.source.mac(), classified.vlan());
                let destination = switch.fdb.place(lane.destination.mac(), classified.vlan());
                lanes.push(Lane { source, destination, to: Target::FLOOD, classified, ..*lane });
                let at = At { snapshot: at.snapshot, from: peer, port, switch, now: at.now, hops: at.hops + 1 };
                self.forward(&at, frames, &mut lanes);
            }
            Err(reason) => counters.drop(reason),
        }
    }

    #[inline(always)]
    fn flush(&mut self, snapshot: &Snapshot, frames: &mut [Frame<'_>]) {
        // Tags that one port had written stay in the octets until another port has them written otherwise.
        let mut tags_written = false;
        while let Some(to) = self.touched.pop() {
            let Some(port) = snapshot.port(to) else { continue };
            if let Some(bond) = &port.bond {
                self.distribute(to, port, bond, frames, tags_written);
                continue;
            }
            let Some(slot) = self.tx[to.index()].as_mut() else { continue };
            let counters = &port.counters[self.worker];
            if slot.plain && !tags_written {
                slot.queue.transmit(frames, &slot.picks, &TxReport::new(counters));
            } else {
                tags_written = true;
                let originals = if slot.rewrite == 0 { None } else { Some(slot.rewrite_sources(frames)) };
                slot.finish_and_transmit(frames, &mut self.segments, counters);
                if let Some(originals) = originals {
                    TxSlot::restore_sources(frames, originals);
                    slot.rewrite = 0;
                }
                slot.tags.fill(Tags::NONE);
                slot.plain = true;
            }
            slot.picks.clear();
        }
    }
}

impl TxSlot {
    /// Writes the tags of each frame and does what the device cannot do, then transmits.
    fn finish_and_transmit(&mut self, frames: &mut [Frame<'_>], segments: &mut BurstMemory, counters: &PortCounters) {
        let report = TxReport::new(counters);
        let capabilities = self.queue.capabilities();
        let mut ready: ArrayVec<u8, BURST_MAX> = ArrayVec::new_const();
        for (i, tags) in self.picks.iter().zip(&self.tags) {
            let frame = &mut frames[usize::from(*i)];
            frame.set_wire_tags(tags);
            if capabilities.cover(&frame.offload()) {
                ready.push(*i);
            } else if !frame.offload().is_gso() {
                offload::finish_checksum(frame);
                ready.push(*i);
            } else {
                // What was picked before this frame leaves before its segments.
                self.queue.transmit(frames, &ready, &report);
                ready.clear();
                let frame = &mut frames[usize::from(*i)];
                frame.set_wire_tags(&[]);
                transmit_segments(self.queue.as_mut(), frame, tags, segments, counters);
            }
        }
        if !ready.is_empty() {
            self.queue.transmit(frames, &ready, &report);
        }
    }
}

fn count_losses(burst: &Burst<'_>, counters: &PortCounters) {
    for (reason, count) in burst.losses() {
        counters.rx_packets.add(*count);
        counters.drop_many(*reason, *count);
    }
}

/// Octets of a frame before anything is taken out of it.
#[inline]
fn arrived_octets(frame: &Frame<'_>) -> u64 {
    (frame.len() + frame.tags().len() * Tag::LEN) as u64
}

/// Makes a lane of each frame that is admitted: takes the outermost VLAN tag out of its octets, and checks what the device said
/// about it and what every switch checks of source, destination and VLAN. Returns the octets of all frames as they arrived.
///
/// Not inlined, and without a `Result` per frame: the loop has just enough registers for what it does.
#[inline(never)]
fn admit(port: &Port, switch: &Switch, frames: &mut [Frame<'_>], counters: &PortCounters, lanes: &mut Lanes) -> u64 {
    let places = switch.fdb.places();
    let untagged = port.vlan.classify(&[]);
    let mut octets = 0;
    'frames: for (i, frame) in frames.iter_mut().enumerate() {
        octets += arrived_octets(frame);
        let reason = 'refused: {
            let Some(mut header) = frame.ethernet_header() else { break 'refused DropReason::Runt };
            let mut classified = &untagged;
            let tagged;
            if !frame.tags().is_empty() || Tpid::from_ether_type(ethernet::ether_type(header)).is_some() {
                tagged = classify_tagged(port, frame);
                classified = &tagged;
                match frame.ethernet_header() {
                    Some(behind) => header = behind,
                    None => break 'refused DropReason::Runt,
                }
            }
            let (destination, source) = ethernet::addresses(header);
            let complete = match offload::check(frame) {
                Ok(complete) => complete,
                Err(_) => break 'refused DropReason::RxBadOffload,
            };
            if source & GROUP_BIT != 0 || source == 0 {
                break 'refused DropReason::SrcMacInvalid;
            }
            if let Err(reason) = reserved_group(switch, destination) {
                break 'refused reason;
            }
            match classified {
                Ok(classified) => lanes.push(Lane {
                    source: places.place(source, classified.vlan()),
                    destination: places.place(destination, classified.vlan()),
                    classified: *classified,
                    len: frame.len() as u32,
                    to: Target::FLOOD,
                    frame: i as u8,
                    complete,
                }),
                Err(reason) => break 'refused *reason,
            }
            continue 'frames;
        };
        counters.drop(reason);
    }
    octets
}

/// Takes the outermost VLAN tag out of the octets of a frame that has one there or beside them.
#[inline(never)]
fn classify_tagged(port: &Port, frame: &mut Frame<'_>) -> Result<Classified, DropReason> {
    frame.pop_tag().map_err(|_| DropReason::VlanTagCut)?;
    port.vlan.classify(frame.tags())
}

/// Finds the port of each destination that is a known station; the others stay flooded.
#[inline(never)]
fn look_up(at: &At<'_>, lanes: &mut Lanes) {
    let (fdb, now, ageing) = (&*at.switch.fdb, at.now, at.switch.ageing);
    let mut previous = None;
    for lane in lanes {
        if lane.destination.mac() & GROUP_BIT != 0 || lane.to == Target::NOWHERE {
            continue;
        }
        // Neighbours in a burst mostly go to the same station.
        lane.to = match previous {
            Some((destination, to)) if destination == lane.destination => to,
            _ => fdb.lookup(lane.destination, now, ageing).map_or(Target::FLOOD, |port| Target(port.0)),
        };
        previous = Some((lane.destination, lane.to));
    }
}

/// Whether a switch lets a destination pass that may be a reserved group address. Without spanning tree, BPDUs (:00) are
/// forwarded as other multicast, as the Linux bridge does (`net/bridge/br_input.c`); MAC control (:01) never is.
#[inline]
fn reserved_group(switch: &Switch, destination: u64) -> Result<(), DropReason> {
    if destination & !0xf != RESERVED_GROUP {
        return Ok(());
    }
    match destination & 0xf {
        0 => Ok(()),
        1 => Err(DropReason::MacControl),
        n if switch.group_fwd_mask >> n & 1 != 0 => Ok(()),
        _ => Err(DropReason::ReservedGroup),
    }
}

/// Starts the cache misses of all lookups of a burst at once.
fn touch(switch: &Switch, lanes: &Lanes) {
    let mut sum = 0;
    for lane in lanes {
        sum ^= switch.fdb.touch(lane.source);
        sum ^= switch.fdb.touch(lane.destination);
    }
    core::hint::black_box(sum);
}

fn transmit_segments(queue: &mut dyn TxQueue, frame: &Frame<'_>, tags: &[Tag], memory: &mut BurstMemory, counters: &PortCounters) {
    let report = TxReport::new(counters);
    let Ok(mut segments) = Segments::new(frame) else {
        return report.dropped(DropReason::NotSegmentable, 1);
    };
    counters.copies.add(segments.count().saturating_sub(1) as u64);
    loop {
        let mut batch = memory.burst();
        let more = segments.next_batch(&mut batch);
        let mut picks: ArrayVec<u8, BURST_MAX> = ArrayVec::new_const();
        for (i, segment) in batch.frames_mut().iter_mut().enumerate() {
            segment.set_wire_tags(tags);
            picks.push(i as u8);
        }
        queue.transmit(batch.frames(), &picks, &report);
        if !more {
            break;
        }
    }
}
