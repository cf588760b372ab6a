//! Bonds on the way of a frame: what arrives at a member, what leaves by one, and frames that control injects.

use arrayvec::ArrayVec;
use wire::{MacAddr, Offload, Tag, ethernet};

use super::{At, Lanes, Pipeline, TxSlot, admit, arrived_octets, count_losses};
use crate::bond::admit::Verdict;
use crate::bond::select::{self, ARP_LEN, ARP_SENDER};
use crate::bond::{Bond, BondView, Egress, HashPolicy, MEMBERS_MAX, Member, Outgoing, hash};
use crate::burst::{BURST_MAX, Burst, BurstMemory};
use crate::clock::Nanos;
use crate::device::{Capabilities, TxQueue, TxReport};
use crate::drop_reason::DropReason;
use crate::frame::{Frame, Tags};
use crate::punt::{Injected, PuntKind};
use crate::snapshot::{Port, PortId, Snapshot};

/// The transmit queue in the slot of a bond's port. Its frames go to the slots of members; it only gets frames itself when
/// the port has stopped being a bond.
struct ToMembers;

impl TxQueue for ToMembers {
    fn capabilities(&self) -> Capabilities {
        Capabilities::ALL
    }

    fn transmit(&mut self, _: &[Frame<'_>], picks: &[u8], report: &TxReport<'_>) {
        report.dropped(DropReason::TxLinkDown, picks.len() as u64);
    }
}

/// Frames of a burst that leave by a bond.
struct Leaving {
    picks: ArrayVec<u8, BURST_MAX>,
    /// The tags of each, if not all of them leave as they are.
    tags: Option<[Tags; BURST_MAX]>,
}

impl Leaving {
    #[inline]
    fn tags(&self, number: usize) -> &Tags {
        self.tags.as_ref().map_or(&Tags::NONE, |tags| &tags[number])
    }
}

impl Pipeline {
    /// Sets the time that activity of bond members and punted frames are marked with.
    #[inline]
    pub fn set_time(&mut self, now: Nanos) {
        self.time = now;
    }

    /// Forwards a burst that arrived at a member of a bond: as [`Pipeline::run`], with the bond's port as the port of
    /// arrival for what the bond accepts.
    #[inline(never)]
    pub(super) fn run_member(&mut self, snapshot: &Snapshot, from: PortId, member: Member, burst: &mut Burst<'_>, now: u32) {
        let Some(port) = snapshot.port(from) else { return };
        let counters = &port.counters[self.worker];
        count_losses(burst, counters);
        counters.rx_packets.add(burst.len() as u64);
        counters.rx_bytes.add(burst.frames().iter().map(arrived_octets).sum());
        let bond_port = snapshot.port(member.bond).and_then(|port| Some((port, port.bond.as_deref()?, snapshot.switch(port.switch)?)));
        let Some((bond_port, bond, switch)) = bond_port else {
            return counters.drop_many(DropReason::BondInactive, burst.len() as u64);
        };
        let view = bond.state.view();
        if !burst.is_empty() {
            bond.state.note_rx(member.index, self.time);
        }
        if !bond_port.state.is_enabled() {
            return bond_port.counters[self.worker].drop_many(DropReason::IngressDisabled, burst.len() as u64);
        }
        let mut accepted = 0u32;
        for (i, frame) in burst.frames_mut().iter_mut().enumerate() {
            match self.enter(bond, &view, member, from, port, frame) {
                Ok(()) => accepted |= 1 << i,
                Err(Some(reason)) => counters.drop(reason),
                Err(None) => {}
            }
        }
        let mut lanes = Lanes::new_const();
        let (mut start, mut left) = (0, accepted);
        // Runs of neighbours that were accepted, mostly one.
        while left != 0 {
            let skipped = left.trailing_zeros();
            let run = (left >> skipped).trailing_ones();
            start += skipped as usize;
            let (first, end) = (lanes.len(), start + run as usize);
            admit(bond_port, switch, &mut burst.frames_mut()[start..end], &bond_port.counters[self.worker], &mut lanes);
            lanes[first..].iter_mut().for_each(|lane| lane.frame += start as u8);
            left = left.checked_shr(skipped + run).unwrap_or(0);
            start = end;
        }
        let at = At { snapshot, from: member.bond, port: bond_port, switch, now, hops: 0 };
        self.forward(&at, burst.frames(), &mut lanes);
        self.flush_elsewhere(snapshot, burst.frames_mut());
        if !self.arrivals.is_empty() {
            self.route(snapshot, member.bond, burst.frames_mut(), now);
        }
    }

    /// Out of line, so that [`Pipeline::run`] has [`Pipeline::flush`] to itself.
    #[inline(never)]
    pub(super) fn flush_elsewhere(&mut self, snapshot: &Snapshot, frames: &mut [Frame<'_>]) {
        self.flush(snapshot, frames);
    }

    /// Takes a frame from a member to its bond. `Err` when it goes no further, with the reason if it is dropped.
    fn enter(
        &self,
        bond: &Bond,
        view: &BondView,
        member: Member,
        from: PortId,
        port: &Port,
        frame: &mut Frame<'_>,
    ) -> Result<(), Option<DropReason>> {
        frame.ethernet_header().ok_or(Some(DropReason::Runt))?;
        frame.pop_tag().map_err(|_| Some(DropReason::VlanTagCut))?;
        let header = frame.ethernet_header().ok_or(Some(DropReason::Runt))?;
        let (verdict, copy) = bond.admit(view, member.index, header, frame.head());
        if copy {
            port.counters[self.worker].copies.add(1);
            self.punt(PuntKind::Copy, from, port, false, None, frame);
        }
        match verdict {
            Verdict::Accept => Ok(()),
            Verdict::AcceptAsOwn => {
                frame.head_mut()[ethernet::DESTINATION].copy_from_slice(&bond.state.mac().0);
                Ok(())
            }
            Verdict::Punt => {
                self.punt(PuntKind::Whole, from, port, false, None, frame);
                Err(None)
            }
            Verdict::Drop(reason) => Err(Some(reason)),
        }
    }

    /// Gives control a frame, or counts it as dropped at `port`. `tag` is the outermost tag of a frame that leaves.
    fn punt(&self, kind: PuntKind, id: PortId, port: &Port, outgoing: bool, tag: Option<Tag>, frame: &Frame<'_>) {
        let tag = if outgoing { tag } else { frame.tags().last().copied() };
        let counters = &port.counters[self.worker];
        if self.events.punted.push(kind, id, outgoing, tag, frame, self.time) {
            counters.punted.add(1);
        } else {
            counters.drop(DropReason::PuntQueueFull);
        }
    }

    /// Makes room for what comes, and a slot for the port of each bond, so that frames can be collected there. To be called with each new snapshot
    /// before frames are forwarded.
    pub fn prepare(&mut self, snapshot: &Snapshot) {
        self.prepare_routing(snapshot);
        let is_bond = |id: PortId| snapshot.port(id).is_some_and(|port| port.bond.is_some());
        for id in core::mem::take(&mut self.bonds) {
            let slot = self.tx.get_mut(id.index());
            if !is_bond(id)
                && let Some(slot) = slot
                && slot.as_ref().is_some_and(|slot| slot.is_bond)
            {
                *slot = None;
            }
        }
        for id in (0..snapshot.ports.len() as u16).map(PortId).filter(|id| is_bond(*id)) {
            self.attach(id, Box::new(ToMembers));
            if let Some(slot) = &mut self.tx[id.index()] {
                slot.is_bond = true;
            }
            self.bonds.push(id);
        }
    }

    /// Gives the frames that are to leave by a bond to its members' slots.
    #[inline(never)]
    pub(super) fn distribute(&mut self, to: PortId, out: &Port, bond: &Bond, frames: &mut [Frame<'_>], tags_written: bool) {
        let Some(slot) = self.tx[to.index()].as_mut() else { return };
        let picks = core::mem::take(&mut slot.picks);
        let plain = core::mem::replace(&mut slot.plain, true);
        let tags = if plain { None } else { Some(core::mem::replace(&mut slot.tags, [Tags::NONE; BURST_MAX])) };
        if tags_written {
            picks.iter().for_each(|i| frames[usize::from(*i)].set_wire_tags(&[]));
        }
        let leaving = Leaving { picks, tags };
        let view = bond.state.view();
        if bond.is_by_hash() && !view.tx.is_empty() {
            self.distribute_by_hash(out, bond, &view, frames, &leaving);
        } else {
            self.distribute_by_choice(to, out, bond, &view, frames, &leaving);
        }
    }

    /// The way where each instruction counts; the same as [`Bond::select`] for the modes of which nothing but the hash
    /// matters.
    fn distribute_by_hash(&mut self, out: &Port, bond: &Bond, view: &BondView, frames: &[Frame<'_>], leaving: &Leaving) {
        let mut ports = [u16::MAX; MEMBERS_MAX];
        let mut untouched = 0u32;
        for (number, (member, port)) in view.tx.iter().zip(&mut ports).enumerate() {
            *port = bond.member(*member).map_or(u16::MAX, |id| id.0);
            let slot = self.tx.get(usize::from(*port)).and_then(Option::as_ref);
            untouched |= u32::from(slot.is_some_and(|slot| slot.picks.is_empty())) << number;
        }
        let members = view.tx.len() as u32;
        let refused = match (bond.policy, &leaving.tags) {
            (HashPolicy::Layer2, None) => pick(&mut self.tx, &ports, members, frames, &leaving.picks, None, hash::layer2),
            (HashPolicy::Layer34, None) => pick(&mut self.tx, &ports, members, frames, &leaving.picks, None, hash::layer34),
            (policy, tags) => pick(&mut self.tx, &ports, members, frames, &leaving.picks, tags.as_ref(), |frame| hash::hash(policy, frame)),
        };
        // The member left or its device did, and control has not yet said so in the view.
        out.counters[self.worker].drop_many(DropReason::TxLinkDown, refused);
        for (number, (member, port)) in view.tx.iter().zip(ports).enumerate() {
            let slot = self.tx.get(usize::from(port)).and_then(Option::as_ref);
            if untouched >> number & 1 != 0 && slot.is_some_and(|slot| !slot.picks.is_empty()) {
                self.touched.push(PortId(port));
                bond.state.note_tx(*member, self.time);
            }
        }
    }

    #[inline(never)]
    fn distribute_by_choice(&mut self, to: PortId, out: &Port, bond: &Bond, view: &BondView, frames: &[Frame<'_>], leaving: &Leaving) {
        let worker = self.worker;
        let counters = &out.counters[worker];
        for (number, i) in leaving.picks.iter().enumerate() {
            let frame = &frames[usize::from(*i)];
            let tags = leaving.tags(number);
            let len = frame.len() as u32;
            let Some(outgoing) = Outgoing::new(frame.head(), len, tags) else { continue };
            let choice = bond.select(view, &outgoing, || bond.state.next_in_sequence(worker));
            if (choice.own_arp && bond.punt.arp) || (bond.punt.igmp && outgoing.is_igmp()) {
                counters.copies.add(1);
                self.punt(PuntKind::Copy, to, out, true, tags.last().copied(), frame);
            }
            match choice.egress {
                Egress::None => counters.drop(DropReason::BondNoMember),
                Egress::One(member) => {
                    if bond.counts_load() {
                        bond.state.count_load(worker, choice.bucket, len);
                    }
                    let source = choice.rewrite.then(|| bond.state.member_mac(member));
                    self.output_member(*i, leaving.tags.as_ref().map(|_| tags), out, bond, member, source);
                }
                Egress::All => {
                    counters.copies.add(view.tx.len() as u64 - 1);
                    for member in &view.tx {
                        self.output_member(*i, leaving.tags.as_ref().map(|_| tags), out, bond, *member, None);
                    }
                }
            }
        }
    }

    fn output_member(&mut self, frame: u8, tags: Option<&Tags>, out: &Port, bond: &Bond, member: u8, source: Option<MacAddr>) {
        let slot = bond.member(member).and_then(|to| Some((to, self.tx.get_mut(to.index())?.as_mut()?)));
        let Some((to, slot)) = slot else {
            // The member left or its device did, and control has not yet said so in the view.
            return out.counters[self.worker].drop(DropReason::TxLinkDown);
        };
        let number = slot.picks.len();
        if number == 0 {
            self.touched.push(to);
            bond.state.note_tx(member, self.time);
        }
        if let Some(source) = source {
            slot.source = source;
            slot.rewrite |= 1 << number;
            slot.plain = false;
        }
        if let Some(tags) = tags {
            slot.tags[number] = *tags;
            slot.plain = false;
        }
        slot.picks.push(frame);
    }

    /// Transmits frames of control, at most [`BURST_MAX`], each out of its port as it is.
    pub fn inject(&mut self, snapshot: &Snapshot, injected: &[Injected], memory: &mut BurstMemory) {
        let mut burst = memory.burst();
        let mut entering = ArrayVec::<_, BURST_MAX>::new_const();
        for (i, frame) in injected.iter().enumerate() {
            burst.push_borrowed(&frame.octets, Offload::NONE, None);
            let Some(port) = snapshot.port(frame.port) else { continue };
            let counters = &port.counters[self.worker];
            counters.injected.add(1);
            if port.interface.is_some() {
                entering.push((frame.port, i as u8));
                continue;
            }
            match self.tx.get_mut(frame.port.index()).and_then(Option::as_mut) {
                Some(slot) => {
                    if slot.picks.is_empty() {
                        self.touched.push(frame.port);
                        if let Some(member) = port.member_of
                            && let Some(bond) = snapshot.port(member.bond).and_then(|port| port.bond.as_ref())
                        {
                            bond.state.note_tx(member.index, self.time);
                        }
                    }
                    slot.picks.push(i as u8);
                }
                None => counters.drop(DropReason::TxLinkDown),
            }
        }
        self.flush_elsewhere(snapshot, burst.frames_mut());
        if !entering.is_empty() {
            self.send_from_interfaces(snapshot, &entering, burst.frames_mut());
        }
    }
}

impl TxSlot {
    /// Gives the frames that want it the member's address as their source, and as the sender's in ARP. What was there
    /// before comes back with [`TxSlot::restore_sources`].
    #[cold]
    pub(super) fn rewrite_sources(&self, frames: &mut [Frame<'_>]) -> Originals {
        let mut originals = Originals::new_const();
        for (number, i) in self.picks.iter().enumerate() {
            if self.rewrite >> number & 1 != 0 {
                let frame = &mut frames[usize::from(*i)];
                frame.set_wire_tags(&[]);
                let head = frame.head_mut();
                originals.push((*i, MacAddr::at(&head[ethernet::SOURCE])));
                set_source(head, self.source);
            }
        }
        originals
    }

    pub(super) fn restore_sources(frames: &mut [Frame<'_>], originals: Originals) {
        for (i, source) in originals.into_iter().rev() {
            let frame = &mut frames[usize::from(i)];
            frame.set_wire_tags(&[]);
            set_source(frame.head_mut(), source);
        }
    }
}

/// Gives each frame to the slot of the port that its hash means. Returns the number of frames for which there is none.
#[inline(always)]
fn pick(
    slots: &mut [Option<TxSlot>],
    ports: &[u16; MEMBERS_MAX],
    members: u32,
    frames: &[Frame<'_>],
    picks: &[u8],
    tags: Option<&[Tags; BURST_MAX]>,
    hash: impl Fn(&Outgoing<'_>) -> u32,
) -> u64 {
    let mut refused = 0;
    for number in 0..picks.len().min(BURST_MAX) {
        let i = picks[number];
        let tags = tags.map(|tags| &tags[number]);
        // Only frames with an Ethernet header are admitted.
        let Some(outgoing) = Outgoing::new(frames[usize::from(i)].head(), 0, tags.map_or(&[], |tags| &**tags)) else { continue };
        let port = ports[select::position(hash(&outgoing), members) as usize % MEMBERS_MAX];
        let Some(slot) = slots.get_mut(usize::from(port)).and_then(Option::as_mut) else {
            refused += 1;
            continue;
        };
        if let Some(tags) = tags {
            slot.tags[slot.picks.len()] = *tags;
            slot.plain = false;
        }
        slot.picks.push(i);
    }
    refused
}

/// Frames whose source is overwritten, with the source they had.
pub(super) type Originals = ArrayVec<(u8, MacAddr), BURST_MAX>;

/// Only ARP of which the sender's hardware address is the source gets here, see [`Bond::select`].
fn set_source(head: &mut [u8], source: MacAddr) {
    head[ethernet::SOURCE].copy_from_slice(&source.0);
    if ethernet::ether_type(head) == ethernet::ETHER_TYPE_ARP && head.len() >= ARP_LEN {
        head[ARP_SENDER].copy_from_slice(&source.0);
    }
}
