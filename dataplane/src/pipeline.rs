//! The way of a frame, from the burst it arrives in to the transmit queues it leaves by.
//!
//! ```text
//! receive queue -> count -> admit (tag out, offload, source, reserved groups, VLAN)  per frame
//!               -> learn                                                        the whole burst, before any forwards
//!               -> look up -> unicast | flood -> output (checks, VLAN tags)     per frame
//!                                                  | patch port: admit .. output once more, at the other switch
//!               -> flush: write tags, finish what the device cannot do -> transmit queue
//! ```
//!
//! Every frame ends sent or dropped; each drop is counted once, under its [`DropReason`], at the port the reason belongs
//! to. Nothing here allocates, reads a clock, logs or blocks. A [`Pipeline`] belongs to one worker.

use std::sync::Arc;

use arrayvec::ArrayVec;
use wire::{MacAddr, Tag, Tpid, ethernet};

use crate::burst::{BURST_MAX, Burst, BurstMemory};
use crate::counters::PortCounters;
use crate::device::{TxQueue, TxReport};
use crate::drop_reason::DropReason;
use crate::events::EventQueue;
use crate::fdb::{EntryKind, Learned, Learner, Place};
use crate::frame::{Frame, Tags};
use crate::offload::{self, Segments};
use crate::snapshot::{PATCH_HOPS_MAX, Port, PortId, Snapshot, Switch};
use crate::vlan::Classified;
use crate::worker::WorkerEvent;

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
}

struct TxSlot {
    queue: Box<dyn TxQueue>,
    /// Frames that are to leave here.
    picks: ArrayVec<u8, BURST_MAX>,
    /// The tags each of them leaves with; all [`Tags::NONE`] between bursts.
    tags: [Tags; BURST_MAX],
    /// All of them leave as they are: no tags, nothing for the device or us to finish.
    plain: bool,
}

/// One admitted frame between ingress and egress.
#[derive(Clone, Copy)]
struct Lane {
    frame: u8,
    /// Still to be forwarded; false once learning dropped it.
    alive: bool,
    /// The device said there is nothing left to do.
    complete: bool,
    /// Octets of the frame without metadata tags.
    len: u32,
    source: Place,
    destination: Place,
    classified: Classified,
}

type Lanes = ArrayVec<Lane, BURST_MAX>;

/// What kind of frame is flooded; each port has a flag per kind.
#[derive(Clone, Copy)]
enum FloodKind {
    UnknownUnicast,
    Multicast,
    Broadcast,
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
        Pipeline { worker, tx: Vec::new(), touched: Vec::with_capacity(64), segments: BurstMemory::new(), events }
    }

    /// Takes frames for `port` to `queue` from now on; returns the former queue.
    pub fn attach(&mut self, port: PortId, queue: Box<dyn TxQueue>) -> Option<Box<dyn TxQueue>> {
        if self.tx.len() <= port.index() {
            self.tx.resize_with(port.index() + 1, || None);
            // A burst touches a port once at most, so this never grows while frames flow.
            self.touched.reserve(self.tx.len());
        }
        self.tx[port.index()]
            .replace(TxSlot { queue, picks: ArrayVec::new(), tags: [Tags::NONE; BURST_MAX], plain: true })
            .map(|slot| slot.queue)
    }

    /// Gives the transmit queue of `port` back.
    pub fn detach(&mut self, port: PortId) -> Option<Box<dyn TxQueue>> {
        self.tx.get_mut(port.index())?.take().map(|slot| slot.queue)
    }

    /// Forwards the frames of a burst that arrived at port `from`; `now` is the current tick.
    pub fn run(&mut self, snapshot: &Snapshot, from: PortId, burst: &mut Burst<'_>, now: u32) {
        let Some(port) = snapshot.port(from) else { return };
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
        let mut octets = 0;
        for (i, frame) in burst.frames_mut().iter_mut().enumerate() {
            octets += arrived_octets(frame);
            match admit(port, switch, i as u8, frame) {
                Ok(lane) => lanes.push(lane),
                Err(reason) => counters.drop(reason),
            }
        }
        counters.rx_bytes.add(octets);
        self.forward(&At { snapshot, from, port, switch, now, hops: 0 }, burst.frames(), &mut lanes);
        self.flush(snapshot, burst.frames_mut());
    }

    fn forward(&mut self, at: &At<'_>, frames: &[Frame<'_>], lanes: &mut Lanes) {
        if at.switch.fdb.capacity() > LARGE_TABLE && lanes.len() > 1 {
            touch(at.switch, lanes);
        }
        if at.port.learning && !at.switch.hub && at.switch.ageing != 0 {
            self.learn(at, lanes);
        }
        let mut previous: Option<(Place, Option<PortId>)> = None;
        for lane in lanes.iter().filter(|lane| lane.alive) {
            if lane.destination.mac() & GROUP_BIT != 0 {
                let broadcast = lane.destination.mac() == ADDRESS_MASK;
                self.flood(at, frames, lane, if broadcast { FloodKind::Broadcast } else { FloodKind::Multicast });
                continue;
            }
            // Neighbours in a burst mostly go to the same station.
            let to = match previous {
                Some((place, to)) if place.is_same(lane.destination) => to,
                _ if at.switch.hub => None,
                _ => at.switch.fdb.lookup(lane.destination, at.now, at.switch.ageing),
            };
            previous = Some((lane.destination, to));
            match to {
                Some(to) if let Some(out) = at.snapshot.port(to) => self.unicast(at, frames, lane, to, out),
                _ => self.flood(at, frames, lane, FloodKind::UnknownUnicast),
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
        let mut previous: Option<Place> = None;
        for lane in lanes {
            if previous.is_some_and(|place| place.is_same(lane.source)) {
                continue;
            }
            match at.switch.fdb.learn(lane.source, &learner) {
                Learned::Known => previous = Some(lane.source),
                Learned::NotLearned => {}
                Learned::Conflict => {
                    lane.alive = false;
                    at.port.counters[self.worker].drop(DropReason::StaticMove);
                }
                what => {
                    let (mac, vlan) = (MacAddr::from_u64(lane.source.mac()), lane.classified.vlan);
                    self.events.fdb(WorkerEvent::Fdb { switch: at.port.switch, vlan, mac, port: at.from, what });
                }
            }
        }
    }

    #[inline(always)]
    fn unicast(&mut self, at: &At<'_>, frames: &[Frame<'_>], lane: &Lane, to: PortId, out: &Port) {
        if to == at.from && !at.port.hairpin {
            return at.port.counters[self.worker].drop(DropReason::SamePort);
        }
        let refused = if at.port.isolated && out.isolated {
            Some(DropReason::Isolated)
        } else if !out.vlan.members.contains(lane.classified.vlan) {
            Some(DropReason::VlanEgressFilter)
        } else if !out.state.is_up() {
            Some(DropReason::PortDown)
        } else {
            None
        };
        match refused {
            Some(reason) => out.counters[self.worker].drop(reason),
            None => self.output(at, frames, lane, to, out),
        }
    }

    fn flood(&mut self, at: &At<'_>, frames: &[Frame<'_>], lane: &Lane, kind: FloodKind) {
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
            if wanted && !returns && !isolated && out.state.is_up() && out.vlan.members.contains(lane.classified.vlan) {
                targets += 1;
                self.output(at, frames, lane, *to, out);
            }
        }
        let counters = &at.port.counters[self.worker];
        match targets {
            0 => counters.drop(DropReason::NoFloodTarget),
            n => counters.copies.add(n - 1),
        }
    }

    #[inline(always)]
    fn output(&mut self, at: &At<'_>, frames: &[Frame<'_>], lane: &Lane, to: PortId, out: &Port) {
        let short = lane.len <= out.mtu + ethernet::HEADER_LEN as u32;
        if !short && !offload::fits_mtu(&frames[usize::from(lane.frame)], out.mtu) {
            return out.counters[self.worker].drop(DropReason::MtuExceeded);
        }
        let bare = out.vlan.leaves_bare(&lane.classified);
        if let Some(peer) = out.patch_peer {
            return self.cross_patch(at, frames, lane, out, peer);
        }
        match self.tx.get_mut(to.index()).and_then(Option::as_mut) {
            Some(slot) => {
                if slot.picks.is_empty() {
                    self.touched.push(to);
                }
                if !bare {
                    slot.tags[slot.picks.len()] = out.vlan.egress_tags(&lane.classified);
                }
                slot.plain &= bare && lane.complete;
                slot.picks.push(lane.frame);
            }
            // The device went away, and control has not yet said so in the port's state.
            None => out.counters[self.worker].drop(DropReason::TxLinkDown),
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
                let (source, destination) = places(switch, lane.source.mac(), lane.destination.mac(), &classified);
                lanes.push(Lane { source, destination, classified, ..*lane });
                let at = At { snapshot: at.snapshot, from: peer, port, switch, now: at.now, hops: at.hops + 1 };
                self.forward(&at, frames, &mut lanes);
            }
            Err(reason) => counters.drop(reason),
        }
    }

    fn flush(&mut self, snapshot: &Snapshot, frames: &mut [Frame<'_>]) {
        // Tags that one port had written stay in the octets until another port has them written otherwise.
        let mut tags_written = false;
        while let Some(to) = self.touched.pop() {
            let (Some(slot), Some(port)) = (self.tx[to.index()].as_mut(), snapshot.port(to)) else { continue };
            let counters = &port.counters[self.worker];
            if slot.plain && !tags_written {
                slot.queue.transmit(frames, &slot.picks, &TxReport::new(counters));
            } else {
                tags_written = true;
                slot.finish_and_transmit(frames, &mut self.segments, counters);
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

/// Takes the outermost VLAN tag out of the octets, checks what the device said about the frame, and what every switch
/// checks of source, destination and VLAN.
#[inline(always)]
fn admit(port: &Port, switch: &Switch, index: u8, frame: &mut Frame<'_>) -> Result<Lane, DropReason> {
    let header = frame.ethernet_header().ok_or(DropReason::Runt)?;
    if Tpid::from_ether_type(ethernet::ether_type(header)).is_some() {
        frame.pop_tag().map_err(|_| DropReason::VlanTagCut)?;
    }
    offload::check(frame).map_err(|_| DropReason::RxBadOffload)?;
    let header = frame.ethernet_header().ok_or(DropReason::Runt)?;
    let (destination, source) = ethernet::addresses(header);
    if source & GROUP_BIT != 0 || source == 0 {
        return Err(DropReason::SrcMacInvalid);
    }
    reserved_group(switch, destination)?;
    let classified = port.vlan.classify(frame.tags())?;
    let (complete, len) = (frame.offload().is_complete(), frame.len() as u32);
    let (source, destination) = places(switch, source, destination, &classified);
    Ok(Lane { frame: index, alive: true, complete, len, source, destination, classified })
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

#[inline(always)]
fn places(switch: &Switch, source: u64, destination: u64, classified: &Classified) -> (Place, Place) {
    (switch.fdb.place(source, classified.vlan), switch.fdb.place(destination, classified.vlan))
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
