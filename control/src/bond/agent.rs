//! The agent of one bond: takes events, gives actions.

use dataplane::bond::{BondView, MEMBERS_MAX};
use dataplane::clock::Nanos;
use wire::{MacAddr, ethernet};

use super::action::{BondAction, Transition};
use super::arp_monitor::ArpMonitor;
use super::event::{BondEvent, HostAddress};
use super::lacp::Lacp;
use super::member::Member;
use super::notify::Notify;
use super::receive_balance::ReceiveBalance;
use super::settings::{BondMode, BondSettings, FailOverMac, MemberSettings};
use super::status::{BondStatus, LinkState, MemberStatus};
use super::transmit_balance::TransmitBalance;

/// The state of one bond.
#[derive(Debug)]
pub struct BondAgent {
    pub(super) settings: BondSettings,
    pub(super) mac: Option<MacAddr>,
    mac_is_fixed: bool,
    /// In the order they joined.
    pub(super) members: Vec<Member>,
    pub(super) active: Option<u8>,
    pub(super) active_since: Nanos,
    pub(super) active_reason: String,
    pub(super) failovers: u64,
    /// Why the active member must be chosen anew, when it must.
    pub(super) reselect: Option<String>,
    pub(super) host: Vec<HostAddress>,
    view: Option<BondView>,
    carrier: Option<bool>,
    pub(super) arp: ArpMonitor,
    pub(super) notify: Notify,
    pub(super) lacp: Lacp,
    pub(super) transmit_balance: TransmitBalance,
    pub(super) receive_balance: ReceiveBalance,
}

/// Nanoseconds of a number of milliseconds.
pub(super) fn ms(count: u32) -> Nanos {
    u64::from(count) * 1_000_000
}

/// Adds a log entry.
pub(super) fn log(out: &mut Vec<BondAction>, member: Option<u8>, transition: Transition, reason: impl Into<String>) {
    out.push(BondAction::Log { member, transition, reason: reason.into() });
}

impl BondAgent {
    /// A bond without members. Its MAC address is `mac`, or else that of its first member.
    pub fn new(settings: BondSettings, mac: Option<MacAddr>, now: Nanos) -> BondAgent {
        BondAgent {
            lacp: Lacp::default(),
            arp: ArpMonitor::default(),
            notify: Notify::default(),
            transmit_balance: TransmitBalance::default(),
            receive_balance: ReceiveBalance::default(),
            settings,
            mac,
            mac_is_fixed: mac.is_some(),
            members: Vec::new(),
            active: None,
            active_since: now,
            active_reason: "no member yet".into(),
            failovers: 0,
            reselect: None,
            host: Vec::new(),
            view: None,
            carrier: None,
        }
    }

    /// Adds a member at a free slot, which joins behind the others. Its carrier is taken to be absent until an event tells
    /// otherwise. A slot that is taken or not below [`MEMBERS_MAX`] is left alone.
    pub fn add_member(&mut self, now: Nanos, slot: u8, member: MemberSettings, out: &mut Vec<BondAction>) {
        if usize::from(slot) >= MEMBERS_MAX || self.index(slot).is_some() {
            return;
        }
        self.members.push(Member::new(now, slot, member, &self.settings));
        self.give_macs(out);
        self.settle(now, out);
    }

    /// Removes a member. Its device gets its own MAC address back.
    pub fn remove_member(&mut self, now: Nanos, slot: u8, out: &mut Vec<BondAction>) {
        let Some(index) = self.index(slot) else { return };
        let member = self.members.remove(index);
        if self.active == Some(slot) {
            self.reselect = Some(format!("{} was removed", member.settings.name));
        }
        self.arp.forget(slot);
        self.settle(now, out);
        if member.mac != member.settings.mac {
            out.push(BondAction::SetMac { member: slot, mac: member.settings.mac });
        }
        if self.members.is_empty() && !self.mac_is_fixed {
            self.mac = None;
        }
    }

    /// Takes over other settings of the bond. Links, partners and the active member stay as far as the settings allow; a
    /// change of the mode begins anew with the links as they are.
    pub fn reconfigure(&mut self, now: Nanos, settings: BondSettings, out: &mut Vec<BondAction>) {
        let before = std::mem::replace(&mut self.settings, settings);
        let settings = &self.settings;
        if before.mode != settings.mode {
            self.lacp = Lacp::default();
            self.notify = Notify::default();
            self.arp.restart();
            self.transmit_balance = TransmitBalance::default();
            self.receive_balance.clear(out);
            for member in &mut self.members {
                let enabled = member.usable();
                member.lacp = super::lacp::Port::new(member.slot, settings);
                member.lacp.enabled = enabled;
            }
        }
        if before.arp_ip_target != settings.arp_ip_target || before.ns_ip6_target != settings.ns_ip6_target {
            self.members.iter_mut().for_each(|member| member.target_rx.fill(None));
        }
        if (before.arp_interval == 0) != (settings.arp_interval == 0) {
            self.change_monitor(now, out);
        }
        if before != self.settings {
            self.lacp_reconfigured();
            self.reselect = Some("settings changed".into());
        }
        if before.mode.is_lb() != self.settings.mode.is_lb() || before.fail_over_mac != self.settings.fail_over_mac {
            self.return_macs(out);
        }
        self.settle(now, out);
        self.give_macs(out);
        self.move_macs(now, self.active, out);
    }

    /// Takes over other settings of a member.
    pub fn reconfigure_member(&mut self, now: Nanos, slot: u8, settings: MemberSettings, out: &mut Vec<BondAction>) {
        let Some(index) = self.index(slot) else { return };
        let member = &mut self.members[index];
        let before = std::mem::replace(&mut member.settings, settings);
        if member.mac == before.mac {
            // Another device: it has no other address than its own yet.
            member.mac = member.settings.mac;
            self.give_macs(out);
            self.move_macs(now, self.active, out);
        }
        self.reselect = Some("settings of a member changed".into());
        self.settle(now, out);
    }

    /// Takes an event, adds what is to be done to `out`.
    pub fn handle(&mut self, now: Nanos, event: BondEvent<'_>, out: &mut Vec<BondAction>) {
        match event {
            BondEvent::Carrier { member, up } => self.carrier_changed(now, member, up, out),
            BondEvent::Speed { member, mbps, full_duplex } => self.speed_changed(member, mbps, full_duplex),
            BondEvent::Frame { member, tag, octets } => {
                let Some(index) = self.index(member) else { return };
                if let Some(pdu) = super::frames::payload(octets, ethernet::ETHER_TYPE_SLOW) {
                    self.slow_frame(now, index, pdu, out);
                } else {
                    self.arp_frame(now, index, octets);
                    self.receive_balance_received(now, tag, octets, out);
                }
            }
            BondEvent::Sent { tag, octets } => {
                self.receive_balance_sent(now, tag, octets, out);
                self.notify_sent(now, tag, octets);
            }
            BondEvent::Deadline => {
                self.link_deadlines(now, out);
                self.arp_deadline(now, out);
                self.notify_deadline(now, out);
                self.transmit_balance_deadline(now, out);
                self.receive_balance_deadline(now, out);
            }
            BondEvent::SetActive(member) => self.set_active(now, member, out),
            BondEvent::Host(addresses) => {
                self.host.clear();
                self.host.extend(addresses.iter().take(BondEvent::HOST_ADDRESSES_MAX));
            }
            BondEvent::Activity(members) => self.arp_activity(now, members, out),
            BondEvent::Learned(addresses) => self.notify_learned(now, addresses, out),
            BondEvent::Buckets { octets, unbalanced } => self.transmit_balance_read(now, octets, unbalanced, out),
        }
        self.settle(now, out);
    }

    /// When [`BondEvent::Deadline`] is wanted next. May have passed already; it is wanted at once then.
    pub fn next_deadline(&self) -> Option<Nanos> {
        let links = self.members.iter().filter_map(|member| member.link_deadline);
        let others = [self.arp_next(), self.notify.next(), self.lacp_next(), self.transmit_balance_next(), self.receive_balance.next()];
        links.chain(others.into_iter().flatten()).min()
    }

    /// What workers were told last.
    pub fn view(&self) -> BondView {
        self.view.clone().unwrap_or_default()
    }

    /// What the bond was told.
    pub fn settings(&self) -> &BondSettings {
        &self.settings
    }

    /// Everything that `show bonds` prints.
    pub fn status(&self) -> BondStatus {
        let view = self.view();
        let targets =
            |member: &Member| self.settings.arp_ip_target.iter().zip(member.target_rx).map(|(target, at)| (*target, at)).collect();
        BondStatus {
            settings: self.settings.clone(),
            mac: self.mac,
            carrier: self.carrier.unwrap_or(false),
            active: self.active,
            active_since: self.active_since,
            active_reason: self.active_reason.clone(),
            failovers: self.failovers,
            lacp: self.lacp_status(),
            members: self
                .members
                .iter()
                .map(|member| MemberStatus {
                    slot: member.slot,
                    name: member.settings.name.clone(),
                    prio: member.settings.prio,
                    carrier: member.has_carrier(),
                    link: member.link,
                    link_since: member.link_since,
                    link_reason: member.link_reason.clone(),
                    transmits: view.tx.contains(&member.slot),
                    receives: view.rx >> member.slot & 1 != 0,
                    mbps: member.mbps,
                    full_duplex: member.full_duplex,
                    link_failure_count: member.link_failure_count,
                    permanent_mac: member.settings.mac,
                    mac: member.mac,
                    arp_last_rx: targets(member),
                    lacp: (self.settings.mode == BondMode::Ieee8023ad).then(|| member.lacp.status()),
                })
                .collect(),
            view,
        }
    }

    pub(super) fn index(&self, slot: u8) -> Option<usize> {
        self.members.iter().position(|member| member.slot == slot)
    }

    pub(super) fn member(&self, slot: Option<u8>) -> Option<&Member> {
        self.members.iter().find(|member| Some(member.slot) == slot)
    }

    /// Brings everything that follows from the state of links and ports up to date.
    pub(super) fn settle(&mut self, now: Nanos, out: &mut Vec<BondAction>) {
        self.lacp_run(now, out);
        self.hasten_updelay(now, out);
        self.select_active(now, out);
        self.publish(now, out);
    }

    /// Gives members the addresses they must have and the bond one if it has none.
    fn give_macs(&mut self, out: &mut Vec<BondAction>) {
        if self.mac.is_none()
            && let Some(first) = self.members.first()
        {
            self.mac = Some(first.settings.mac);
            out.push(BondAction::SetBondMac(first.settings.mac));
        }
        let Some(mac) = self.mac else { return };
        if self.members_have_own_macs() {
            return;
        }
        for member in &mut self.members {
            if member.mac != mac {
                member.mac = mac;
                out.push(BondAction::SetMac { member: member.slot, mac });
            }
        }
    }

    fn members_have_own_macs(&self) -> bool {
        self.settings.mode.is_lb() || self.settings.fail_over_mac != FailOverMac::None
    }

    /// Gives members their own addresses back, where they are to have them from now on.
    fn return_macs(&mut self, out: &mut Vec<BondAction>) {
        if !self.members_have_own_macs() {
            return;
        }
        for member in self.members.iter_mut().filter(|member| member.mac != member.settings.mac) {
            member.mac = member.settings.mac;
            out.push(BondAction::SetMac { member: member.slot, mac: member.mac });
        }
    }

    /// Publishes the view and the carrier when they are others than before.
    pub(super) fn publish(&mut self, now: Nanos, out: &mut Vec<BondAction>) {
        let view = self.current_view();
        let (joined, left) = match &self.view {
            Some(before) => (!view.tx.iter().all(|slot| before.tx.contains(slot)), !before.tx.iter().all(|slot| view.tx.contains(slot))),
            None => (!view.tx.is_empty(), false),
        };
        if self.view.as_ref() != Some(&view) {
            out.push(BondAction::Publish(view.clone()));
            self.view = Some(view);
        }
        if joined || left {
            self.transmit_balance_members(now, joined, out);
            self.receive_balance_members(now, joined, out);
        }
        let usable = match self.settings.mode {
            BondMode::Ieee8023ad => self.view.as_ref().map_or(0, |view| view.tx.len()),
            _ => self.members.iter().filter(|member| member.usable()).count(),
        };
        let wanted = usize::from(self.settings.min_links.max(1));
        let carrier = usable >= wanted;
        if self.carrier != Some(carrier) {
            self.carrier = Some(carrier);
            out.push(BondAction::BondCarrier(carrier));
            log(out, None, Transition::Carrier(carrier), format!("{usable} usable members, {wanted} wanted"));
        }
    }

    fn current_view(&self) -> BondView {
        let bits = |which: &dyn Fn(&Member) -> bool| {
            self.members.iter().filter(|member| which(member)).fold(0, |bits, member| bits | 1 << member.slot)
        };
        let slots =
            |which: &dyn Fn(&Member) -> bool| self.members.iter().filter(|member| which(member)).map(|member| member.slot).collect();
        let is_active = |member: &Member| self.active == Some(member.slot);
        let accepts = |member: &Member| self.settings.all_slaves_active && member.usable();
        match self.settings.mode {
            BondMode::ActiveBackup => BondView {
                active: self.active,
                tx: slots(&is_active),
                rx: bits(&|member| {
                    is_active(member) || accepts(member) || (member.link == LinkState::Back && self.arp.is_asking(member.slot))
                }),
            },
            BondMode::Ieee8023ad if self.lacp.fallback => {
                BondView { active: self.active, tx: slots(&is_active), rx: bits(&|member| is_active(member) || accepts(member)) }
            }
            BondMode::Ieee8023ad => {
                let carries = |member: &Member| self.lacp_carries(member);
                BondView { active: None, tx: slots(&carries), rx: bits(&|member| carries(member) || accepts(member)) }
            }
            // What is sent to the address of an inactive member of balance-alb is let in by the data plane.
            BondMode::BalanceTlb | BondMode::BalanceAlb => {
                BondView { active: self.active, tx: slots(&Member::can_tx), rx: bits(&|member| is_active(member) || accepts(member)) }
            }
            BondMode::BalanceXor => BondView { active: self.active, tx: slots(&Member::usable), rx: bits(&Member::usable) },
            BondMode::BalanceRr | BondMode::Broadcast | BondMode::Random => {
                BondView { active: self.active, tx: slots(&Member::can_tx), rx: bits(&Member::usable) }
            }
        }
    }
}
