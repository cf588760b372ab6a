//! A bond under a virtual clock: its agent, what surrounds it, and everything it did.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use control::bond::{
    BondAction, BondAgent, BondEvent, BondMode, BondSettings, BondView, HostAddress, LearnedAddress, LinkState, MemberActivity,
    MemberSettings, MemberStatus, Reading, Transition,
};
use wire::{MacAddr, Tag};

/// Nanoseconds of a millisecond.
pub(crate) const MS: u64 = 1_000_000;
/// Nanoseconds of a second.
pub(crate) const S: u64 = 1000 * MS;

/// What happened at a moment.
pub(crate) type Done = (u64, BondAction);

pub(crate) struct Lab {
    pub(crate) agent: BondAgent,
    pub(crate) now: u64,
    /// Everything the agent did, since the last [`Lab::take`].
    pub(crate) done: Vec<Done>,
    pub(crate) learned: Vec<LearnedAddress>,
    pub(crate) activity: BTreeMap<u8, MemberActivity>,
    pub(crate) buckets: [u64; 256],
    pub(crate) unbalanced: u64,
}

/// The MAC address of the member at a slot.
pub(crate) fn mac(slot: u8) -> MacAddr {
    MacAddr([0x52, 0x54, 0, 0, 1, slot])
}

pub(crate) const HOST_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0xaa]);
pub(crate) const HOST_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

pub(crate) fn host(tag: Option<Tag>) -> HostAddress {
    HostAddress { tag, mac: HOST_MAC, ip: IpAddr::V4(HOST_IP), prefix: 24 }
}

pub(crate) fn settings(mode: BondMode) -> BondSettings {
    BondSettings { mode, ..BondSettings::default() }
}

impl Lab {
    /// A bond with members `eth0`, `eth1`, ... without carrier.
    pub(crate) fn new(settings: BondSettings, members: u8) -> Lab {
        Lab::with_mac(settings, members, None)
    }

    /// The same, with a MAC address of its own.
    pub(crate) fn with_mac(settings: BondSettings, members: u8, mac: Option<MacAddr>) -> Lab {
        assert_eq!(settings.check(), []);
        let mut lab = Lab {
            agent: BondAgent::new(settings, mac, 0),
            now: S,
            done: Vec::new(),
            learned: Vec::new(),
            activity: BTreeMap::new(),
            buckets: [0; 256],
            unbalanced: 0,
        };
        (0..members).for_each(|slot| lab.add(slot, 0));
        lab
    }

    /// A bond whose members are all up.
    pub(crate) fn up(settings: BondSettings, members: u8) -> Lab {
        let mut lab = Lab::new(settings, members);
        (0..members).for_each(|slot| lab.carrier(slot, true));
        lab
    }

    pub(crate) fn add(&mut self, slot: u8, prio: i32) {
        let member = MemberSettings { name: format!("eth{slot}"), mac: mac(slot), prio };
        self.act(|agent, now, out| agent.add_member(now, slot, member, out));
    }

    /// The member's device was replaced by one with this address.
    pub(crate) fn replace(&mut self, slot: u8, mac: MacAddr) {
        let member = MemberSettings { name: format!("eth{slot}"), mac, prio: 0 };
        self.act(|agent, now, out| agent.reconfigure_member(now, slot, member, out));
    }

    pub(crate) fn remove(&mut self, slot: u8) {
        self.act(|agent, now, out| agent.remove_member(now, slot, out));
    }

    pub(crate) fn reconfigure(&mut self, change: impl FnOnce(&mut BondSettings)) {
        let mut settings = self.agent.settings().clone();
        change(&mut settings);
        assert_eq!(settings.check(), []);
        self.act(|agent, now, out| agent.reconfigure(now, settings, out));
    }

    pub(crate) fn event(&mut self, event: BondEvent<'_>) {
        self.act(|agent, now, out| agent.handle(now, event, out));
    }

    pub(crate) fn carrier(&mut self, member: u8, up: bool) {
        self.event(BondEvent::Carrier { member, up });
    }

    pub(crate) fn speed(&mut self, member: u8, mbps: u32) {
        self.event(BondEvent::Speed { member, mbps: Some(mbps), full_duplex: true });
    }

    pub(crate) fn frame(&mut self, member: u8, octets: &[u8]) {
        self.event(BondEvent::Frame { member, tag: None, octets });
    }

    fn act(&mut self, act: impl FnOnce(&mut BondAgent, u64, &mut Vec<BondAction>)) {
        let mut out = Vec::new();
        act(&mut self.agent, self.now, &mut out);
        self.note(out);
    }

    fn note(&mut self, actions: Vec<BondAction>) {
        for action in actions {
            let reading = if let BondAction::Read(reading) = &action { Some(*reading) } else { None };
            self.done.push((self.now, action));
            let mut out = Vec::new();
            match reading {
                None => continue,
                Some(Reading::Activity) => {
                    let activity: Vec<MemberActivity> = self.activity.values().copied().collect();
                    self.agent.handle(self.now, BondEvent::Activity(&activity), &mut out);
                }
                Some(Reading::Learned) => self.agent.handle(self.now, BondEvent::Learned(&self.learned), &mut out),
                Some(Reading::Buckets) => {
                    let (octets, unbalanced) = (std::mem::replace(&mut self.buckets, [0; 256]), std::mem::take(&mut self.unbalanced));
                    self.agent.handle(self.now, BondEvent::Buckets { octets: &octets, unbalanced }, &mut out);
                }
            }
            self.note(out);
        }
    }

    /// Lets time pass and gives the agent its deadlines.
    pub(crate) fn pass(&mut self, span: u64) {
        let end = self.now + span;
        let mut same = 0;
        while let Some(deadline) = self.agent.next_deadline().filter(|deadline| *deadline <= end) {
            same = if deadline > self.now { 0 } else { same + 1 };
            assert!(same < 20, "a deadline that does not go away: {deadline} at {}", self.now);
            self.now = self.now.max(deadline);
            self.event(BondEvent::Deadline);
        }
        self.now = end;
    }

    /// Everything done since the last call.
    pub(crate) fn take(&mut self) -> Vec<Done> {
        std::mem::take(&mut self.done)
    }

    /// Frames sent since the last call of [`Lab::take`]: when, by which member, what.
    pub(crate) fn sent(&self) -> Vec<(u64, u8, Vec<u8>)> {
        let send = |done: &Done| match &done.1 {
            BondAction::Send { member, octets } => Some((done.0, *member, octets.clone())),
            _ => None,
        };
        self.done.iter().filter_map(send).collect()
    }

    /// Frames of one EtherType sent since the last call of [`Lab::take`].
    pub(crate) fn sent_of(&self, ether_type: u16) -> Vec<(u64, u8, Vec<u8>)> {
        self.sent().into_iter().filter(|(_, _, octets)| octets[12..14] == ether_type.to_be_bytes()).collect()
    }

    /// Reasons of all transitions that `which` accepts.
    pub(crate) fn reasons(&self, which: impl Fn(&Transition) -> bool) -> Vec<String> {
        let reason = |done: &Done| match &done.1 {
            BondAction::Log { transition, reason, .. } if which(transition) => Some(reason.clone()),
            _ => None,
        };
        self.done.iter().filter_map(reason).collect()
    }

    pub(crate) fn member(&self, slot: u8) -> MemberStatus {
        self.agent.status().members.into_iter().find(|member| member.slot == slot).expect("such a member")
    }

    pub(crate) fn link(&self, slot: u8) -> LinkState {
        self.member(slot).link
    }

    pub(crate) fn view(&self) -> BondView {
        self.agent.view()
    }

    pub(crate) fn active(&self) -> Option<u8> {
        self.agent.status().active
    }

    pub(crate) fn tx(&self) -> Vec<u8> {
        self.view().tx.to_vec()
    }
}
