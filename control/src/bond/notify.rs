//! What the network is told after a failover, so that it finds the stations behind the bond at their new place.
//!
//! A round is a gratuitous ARP or an unsolicited neighbour advertisement for each address of the host, as in the kernel,
//! and, as Open vSwitch does, a reverse ARP for each address that was learned at another port of the switch. There are
//! `num_grat_arp` rounds, `peer_notif_delay` apart. Many addresses leave in portions of [`PORTION`] a millisecond.
//!
//! `resend_igmp`: the agent remembers which groups were reported through the bond and repeats the reports, the first at
//! once and the others 200 ms apart (`bond_resend_igmp_join_requests_delayed`).

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};

use dataplane::clock::Nanos;
use etherparse::{IpNumber, Ipv4Slice};
use wire::ethernet::{ETHER_TYPE_IPV4, SOURCE};
use wire::{MacAddr, Tag};

use super::action::{BondAction, Reading};
use super::agent::{BondAgent, ms};
use super::event::LearnedAddress;
use super::frames;

/// Frames for learned addresses at most that one event causes.
const PORTION: usize = 64;
/// Time between two portions.
const PORTION_SPACING: Nanos = 1_000_000;
/// Learned addresses that one round tells at most; more than an address table holds by default.
const LEARNED_MAX: usize = 65_536;
/// Groups that are remembered.
const GROUPS_MAX: usize = 128;
/// How long a group is remembered without a new report: the group membership interval (RFC 3376 clause 8.4).
const GROUP_LIFE: Nanos = 260_000_000_000;
const IGMP_SPACING: Nanos = 200_000_000;

/// A group somebody reported through the bond.
#[derive(Clone, Copy, Debug)]
struct Group {
    tag: Option<Tag>,
    group: Ipv4Addr,
    mac: MacAddr,
    ip: Ipv4Addr,
    version3: bool,
    seen: Nanos,
}

/// Notifications under way.
#[derive(Debug, Default)]
pub(super) struct Notify {
    rounds: u8,
    next_round: Nanos,
    learned: VecDeque<LearnedAddress>,
    next_portion: Nanos,
    igmp_rounds: u8,
    next_igmp: Nanos,
    groups: Vec<Group>,
}

impl Notify {
    pub(super) fn next(&self) -> Option<Nanos> {
        let rounds = (self.rounds > 0).then_some(self.next_round);
        let portion = (!self.learned.is_empty()).then_some(self.next_portion);
        let igmp = (self.igmp_rounds > 0).then_some(self.next_igmp);
        [rounds, portion, igmp].into_iter().flatten().min()
    }
}

impl BondAgent {
    /// The active member is another one.
    pub(super) fn start_notify(&mut self, now: Nanos, out: &mut Vec<BondAction>) {
        self.notify.rounds = self.settings.num_grat_arp;
        self.notify.next_round = now;
        self.notify.learned.clear();
        self.notify_round(now, out);
        self.send_learning(self.active, out);
    }

    pub(super) fn start_igmp(&mut self, now: Nanos) {
        self.notify.igmp_rounds = self.settings.resend_igmp;
        self.notify.next_igmp = now;
    }

    pub(super) fn notify_deadline(&mut self, now: Nanos, out: &mut Vec<BondAction>) {
        self.notify_round(now, out);
        self.notify_portion(now, out);
        if self.notify.igmp_rounds > 0 && self.notify.next_igmp <= now {
            self.notify.igmp_rounds -= 1;
            self.notify.next_igmp = now + IGMP_SPACING;
            self.notify.groups.retain(|group| now < group.seen.saturating_add(GROUP_LIFE));
            let Some(member) = self.active else { return };
            out.extend(self.notify.groups.iter().map(|group| {
                let octets = frames::igmp_report(group.mac, group.ip, group.group, group.version3, group.tag);
                BondAction::Send { member, octets }
            }));
        }
    }

    fn notify_round(&mut self, now: Nanos, out: &mut Vec<BondAction>) {
        if self.notify.rounds == 0 || self.notify.next_round > now {
            return;
        }
        let grain = self.settings.miimon.max(self.settings.arp_interval).max(1);
        self.notify.rounds -= 1;
        self.notify.next_round = now + ms(self.settings.peer_notif_delay.max(grain));
        let Some(member) = self.active else { return };
        for address in &self.host {
            let octets = match address.ip {
                // The clients of balance-alb are told one by one where to send.
                _ if self.settings.mode.is_lb() => frames::rarp(address.mac, address.tag),
                IpAddr::V4(ip) => frames::arp_request(address.mac, ip, ip, address.tag),
                IpAddr::V6(ip) => frames::neighbour_advertisement(address.mac, ip, address.tag),
            };
            out.push(BondAction::Send { member, octets });
        }
        out.push(BondAction::Read(Reading::Learned));
    }

    pub(super) fn notify_learned(&mut self, now: Nanos, addresses: &[LearnedAddress], out: &mut Vec<BondAction>) {
        self.notify.learned.clear();
        self.notify.learned.extend(addresses.iter().take(LEARNED_MAX).filter(|address| !address.mac.is_multicast()));
        self.notify.next_portion = now;
        self.notify_portion(now, out);
    }

    fn notify_portion(&mut self, now: Nanos, out: &mut Vec<BondAction>) {
        if self.notify.learned.is_empty() || self.notify.next_portion > now {
            return;
        }
        self.notify.next_portion = now + PORTION_SPACING;
        let count = self.notify.learned.len().min(PORTION);
        let portion = self.notify.learned.drain(..count);
        let Some(member) = self.active else { return };
        out.extend(portion.map(|address| BondAction::Send { member, octets: frames::rarp(address.mac, address.tag) }));
    }

    /// A frame left through the bond: remembers groups that stations report.
    pub(super) fn notify_sent(&mut self, now: Nanos, tag: Option<Tag>, octets: &[u8]) {
        if self.settings.resend_igmp == 0 {
            return;
        }
        let Some(ip) = frames::payload(octets, ETHER_TYPE_IPV4).and_then(|payload| Ipv4Slice::from_slice(payload).ok()) else { return };
        if ip.payload().ip_number != IpNumber::IGMP {
            return;
        }
        let mac = MacAddr::at(&octets[SOURCE]);
        let source = ip.header().source_addr();
        let message = ip.payload().payload;
        let group_at = |at: usize| message.get(at..).and_then(<[u8]>::first_chunk::<4>).map(|octets| Ipv4Addr::from(*octets));
        let mut note = |group: Option<Ipv4Addr>, version3: bool, joined: bool| {
            let Some(group) = group.filter(Ipv4Addr::is_multicast) else { return };
            let groups = &mut self.notify.groups;
            groups.retain(|known| (known.tag, known.group) != (tag, group));
            if joined {
                if groups.len() == GROUPS_MAX {
                    groups.remove(0);
                }
                groups.push(Group { tag, group, mac, ip: source, version3, seen: now });
            }
        };
        match message.first() {
            Some(0x12 | 0x16) => note(group_at(4), false, true),
            Some(0x17) => note(group_at(4), false, false),
            Some(0x22) => {
                let records = message.get(6..8).map_or(0, |count| u16::from_be_bytes([count[0], count[1]]));
                let mut at = 8;
                for _ in 0..records {
                    let Some(record) = message.get(at..at + 8) else { return };
                    let sources = usize::from(u16::from_be_bytes([record[2], record[3]]));
                    // CHANGE_TO_INCLUDE of nothing is a leave, BLOCK_OLD_SOURCES says nothing about membership.
                    match (record[0], sources) {
                        (1 | 3, 0) => note(group_at(at + 4), true, false),
                        (1..=5, _) => note(group_at(at + 4), true, true),
                        _ => {}
                    }
                    at += 8 + 4 * sources + 4 * usize::from(record[1]);
                }
            }
            _ => {}
        }
    }
}
