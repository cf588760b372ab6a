//! Bonds on the way of a frame: what arrives at a member, what leaves by one, and frames that control injects.

use std::sync::Arc;

use arrayvec::ArrayVec;
use wire::{MacAddr, Offload, Tag, ethernet};

use super::{At, Lane, Lanes, Pipeline, TxSlot, admit, arrived_octets, count_losses};
use crate::bond::admit::Verdict;
use crate::bond::select::{ARP_LEN, ARP_SENDER};
use crate::bond::{Bond, BondView, Egress, Member, Outgoing};
use crate::burst::{BURST_MAX, Burst, BurstMemory};
use crate::clock::Nanos;
use crate::drop_reason::DropReason;
use crate::frame::{Frame, Tags};
use crate::punt::{Injected, PuntKind};
use crate::snapshot::{Port, PortId, Snapshot};

/// The view of the bond that was used last, so that it is read once a burst.
#[derive(Default)]
pub(super) struct ViewCache {
    of: Option<PortId>,
    view: BondView,
}

impl ViewCache {
    /// Forgets the view: a new burst begins.
    #[inline]
    pub(super) fn forget(&mut self) {
        self.of = None;
    }

    #[inline]
    fn get(&mut self, port: PortId, bond: &Bond) -> &BondView {
        if self.of != Some(port) {
            self.of = Some(port);
            self.view = bond.state.view();
        }
        &self.view
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
        let bond_port = snapshot.port(member.bond).and_then(|port| Some((port, port.bond.clone()?, snapshot.switch(port.switch)?)));
        let Some((bond_port, bond, switch)) = bond_port else {
            return counters.drop_many(DropReason::BondInactive, burst.len() as u64);
        };
        if !burst.is_empty() {
            bond.state.note_rx(member.index, self.time);
        }
        if !bond_port.state.is_enabled() {
            return bond_port.counters[self.worker].drop_many(DropReason::IngressDisabled, burst.len() as u64);
        }
        let mut lanes = Lanes::new_const();
        for (i, frame) in burst.frames_mut().iter_mut().enumerate() {
            if let Err(reason) = self.enter(&bond, member, from, port, frame) {
                if let Some(reason) = reason {
                    counters.drop(reason);
                }
                continue;
            }
            match admit(bond_port, switch, i as u8, frame) {
                Ok(lane) => lanes.push(lane),
                Err(reason) => bond_port.counters[self.worker].drop(reason),
            }
        }
        let at = At { snapshot, from: member.bond, port: bond_port, switch, now, hops: 0 };
        self.forward(&at, burst.frames(), &mut lanes);
        self.flush(snapshot, burst.frames_mut());
    }

    /// Takes a frame from a member to its bond. `Err` when it goes no further, with the reason if it is dropped.
    fn enter(
        &mut self,
        bond: &Arc<Bond>,
        member: Member,
        from: PortId,
        port: &Port,
        frame: &mut Frame<'_>,
    ) -> Result<(), Option<DropReason>> {
        frame.ethernet_header().ok_or(Some(DropReason::Runt))?;
        frame.pop_tag().map_err(|_| Some(DropReason::VlanTagCut))?;
        let header = frame.ethernet_header().ok_or(Some(DropReason::Runt))?;
        let view = self.view.get(member.bond, bond);
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

    /// Lets a frame leave by a bond.
    #[inline(never)]
    pub(super) fn output_bond(&mut self, frames: &[Frame<'_>], lane: &Lane, to: PortId, out: &Port, bond: &Bond, bare: bool) {
        let worker = self.worker;
        let frame = &frames[usize::from(lane.frame)];
        let tags = if bare { Tags::NONE } else { out.vlan.egress_tags(&lane.classified) };
        let view = self.view.get(to, bond);
        // Only frames with an Ethernet header are admitted.
        let Some(outgoing) = Outgoing::new(frame.head(), lane.len, &tags) else { return };
        let choice = bond.select(view, &outgoing, || bond.state.next_in_sequence(worker));
        if choice.own_arp && bond.punt.arp {
            out.counters[worker].copies.add(1);
            self.punt(PuntKind::Copy, to, out, true, tags.last().copied(), frame);
        }
        match choice.egress {
            Egress::None => out.counters[worker].drop(DropReason::BondNoMember),
            Egress::One(member) => {
                if bond.counts_load() {
                    bond.state.count_load(worker, choice.bucket, lane.len);
                }
                let source = if choice.rewrite { Some(bond.state.member_mac(member)) } else { None };
                self.output_member(lane, out, bond, member, &tags, source);
            }
            Egress::All => {
                let members = self.view.view.tx.clone();
                out.counters[worker].copies.add(members.len() as u64 - 1);
                for member in members {
                    self.output_member(lane, out, bond, member, &tags, None);
                }
            }
        }
    }

    #[inline]
    fn output_member(&mut self, lane: &Lane, out: &Port, bond: &Bond, member: u8, tags: &Tags, source: Option<MacAddr>) {
        let slot = bond.member(member).and_then(|to| Some((to, self.tx.get_mut(to.index())?.as_mut()?)));
        let Some((to, slot)) = slot else {
            // The member left or its device did, and control has not yet said so in the view.
            return out.counters[self.worker].drop(DropReason::TxLinkDown);
        };
        let number = slot.picks.len();
        if number == 0 {
            self.touched.push(to);
        }
        if !tags.is_empty() {
            slot.tags[number] = *tags;
        }
        if let Some(source) = source {
            slot.source = source;
            slot.rewrite |= 1 << number;
        }
        slot.plain &= tags.is_empty() && lane.complete && source.is_none();
        slot.picks.push(lane.frame);
    }

    /// Notes that frames left by a member.
    pub(super) fn note_tx(&self, snapshot: &Snapshot, member: Member) {
        if let Some(bond) = snapshot.port(member.bond).and_then(|port| port.bond.as_ref()) {
            bond.state.note_tx(member.index, self.time);
        }
    }

    /// Transmits frames of control, at most [`BURST_MAX`](crate::BURST_MAX), each out of its port as it is.
    pub fn inject(&mut self, snapshot: &Snapshot, injected: &[Injected], memory: &mut BurstMemory) {
        let mut burst = memory.burst();
        for (i, frame) in injected.iter().enumerate() {
            burst.push_borrowed(&frame.octets, Offload::NONE, None);
            let Some(port) = snapshot.port(frame.port) else { continue };
            let counters = &port.counters[self.worker];
            counters.injected.add(1);
            match self.tx.get_mut(frame.port.index()).and_then(Option::as_mut) {
                Some(slot) => {
                    if slot.picks.is_empty() {
                        self.touched.push(frame.port);
                    }
                    slot.picks.push(i as u8);
                }
                None => counters.drop(DropReason::TxLinkDown),
            }
        }
        self.flush(snapshot, burst.frames_mut());
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

/// Frames whose source is overwritten, with the source they had.
pub(super) type Originals = ArrayVec<(u8, MacAddr), BURST_MAX>;

/// Only ARP of which the sender's hardware address is the source gets here, see [`Bond::select`].
fn set_source(head: &mut [u8], source: MacAddr) {
    head[ethernet::SOURCE].copy_from_slice(&source.0);
    if ethernet::ether_type(head) == ethernet::ETHER_TYPE_ARP && head.len() >= ARP_LEN {
        head[ARP_SENDER].copy_from_slice(&source.0);
    }
}
