//! Receive balancing of balance-alb: peers of the host are told by ARP to send to different members (`rlb_*` of
//! `bond_alb.c`).
//!
//! A client is a peer that exchanged ARP with an address of the host. There are at most 256, by the exclusive or of the
//! octets of their addresses; a new one takes the place of the one in its bucket. Only addresses of the host are balanced:
//! the ARP of guests is theirs, as the kernel leaves alone ARP that comes through a bridge.

use std::net::{IpAddr, Ipv4Addr};

use dataplane::clock::Nanos;
use wire::{MacAddr, Tag, VlanId};

use super::action::BondAction;
use super::agent::BondAgent;
use super::frames;
use super::settings::BondMode;

const BUCKETS: usize = 256;
/// Rounds of updates for a client: `RLB_UPDATE_RETRY`, and the last.
const ROUNDS: u8 = 4;
/// Time between rounds: a tick of the kernel's timer.
const ROUND_SPACING: Nanos = 100_000_000;
/// How long updates wait after a broadcast of the host that told everybody another address (`RLB_UPDATE_DELAY`).
const BROADCAST_DELAY: Nanos = 2_000_000_000;
/// Clients that one event tells at most; the next follow after [`PORTION_SPACING`].
const PORTION: usize = 32;
const PORTION_SPACING: Nanos = 1_000_000;
/// Frames per update (`RLB_ARP_BURST_SIZE`).
const BURST: usize = 2;

#[derive(Clone, Copy, Debug)]
struct Client {
    ip: Ipv4Addr,
    mac: MacAddr,
    host: Ipv4Addr,
    tag: Option<Tag>,
    member: u8,
    /// Rounds of updates it still gets.
    rounds: u8,
}

/// Clients of a bond.
#[derive(Debug)]
pub(super) struct ReceiveBalance {
    clients: Box<[Option<Client>; BUCKETS]>,
    /// The member that the last client was given.
    last: Option<u8>,
    next_round: Option<Nanos>,
    /// The first bucket of the next portion of a round, and when the round began.
    portion: Option<(usize, Nanos)>,
}

impl Default for ReceiveBalance {
    fn default() -> ReceiveBalance {
        ReceiveBalance { clients: Box::new([None; BUCKETS]), last: None, next_round: None, portion: None }
    }
}

impl ReceiveBalance {
    pub(super) fn next(&self) -> Option<Nanos> {
        self.next_round
    }

    pub(super) fn clear(&mut self, out: &mut Vec<BondAction>) {
        out.extend(self.clients.iter().flatten().map(|client| BondAction::ClearClient { ip: client.ip }));
        *self = ReceiveBalance::default();
    }

    fn set(&mut self, bucket: usize, client: Client, out: &mut Vec<BondAction>) {
        let vlan = client.tag.and_then(|tag| VlanId::new(tag.vid())).unwrap_or(VlanId::NONE);
        out.push(BondAction::SetClient { ip: client.ip, vlan, member: client.member });
        self.clients[bucket] = Some(client);
    }
}

impl BondAgent {
    /// ARP from a peer to an address of the host: the peer is a client.
    pub(super) fn receive_balance_received(&mut self, now: Nanos, tag: Option<Tag>, octets: &[u8], out: &mut Vec<BondAction>) {
        if self.settings.mode != BondMode::BalanceAlb {
            return;
        }
        let Some(packet) = frames::arp(octets) else { return };
        self.note_client(now, tag, packet.sender_ipv4_addr(), MacAddr(packet.sender_mac), packet.target_ipv4_addr(), out);
    }

    /// ARP of the host that leaves through the bond.
    pub(super) fn receive_balance_sent(&mut self, now: Nanos, tag: Option<Tag>, octets: &[u8], out: &mut Vec<BondAction>) {
        if self.settings.mode != BondMode::BalanceAlb {
            return;
        }
        let Some(packet) = frames::arp(octets) else { return };
        let (sender, target) = (packet.sender_ipv4_addr(), packet.target_ipv4_addr());
        if packet.operation == etherparse::ArpOperation::REPLY {
            return self.note_client(now, tag, target, MacAddr(packet.target_mac), sender, out);
        }
        // Every client that hears the request takes the address in it for the host's.
        let mut told = false;
        for client in self.receive_balance.clients.iter_mut().flatten().filter(|client| client.host == sender) {
            client.rounds = ROUNDS;
            told = true;
        }
        if told {
            self.receive_balance.next_round = Some(now + BROADCAST_DELAY);
        }
    }

    fn note_client(&mut self, now: Nanos, tag: Option<Tag>, ip: Ipv4Addr, mac: MacAddr, host: Ipv4Addr, out: &mut Vec<BondAction>) {
        let ours = self.host.iter().any(|address| address.ip == IpAddr::V4(host) && address.tag.map(Tag::vid) == tag.map(Tag::vid));
        let usable = !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast() && !mac.is_multicast() && !mac.is_zero();
        if !ours || !usable || ip == host {
            return;
        }
        let [a, b, c, d] = ip.octets();
        let bucket = usize::from(a ^ b ^ c ^ d);
        let known = self.receive_balance.clients[bucket].filter(|client| (client.ip, client.host) == (ip, host));
        if known.is_some_and(|client| client.mac == mac && client.tag.map(Tag::vid) == tag.map(Tag::vid)) {
            return;
        }
        let member = known.map(|client| client.member).or_else(|| self.next_receiver());
        let Some(member) = member else { return };
        self.receive_balance.last = Some(member);
        self.receive_balance.set(bucket, Client { ip, mac, host, tag, member, rounds: ROUNDS }, out);
        // The answer to its request may be on the way with the bond's address already.
        self.receive_balance.next_round.get_or_insert(now);
    }

    /// The next of the fastest members (`rlb_next_rx_slave`).
    fn next_receiver(&self) -> Option<u8> {
        let tx = self.view().tx;
        let speed = |slot: u8| self.member(Some(slot)).and_then(|member| member.mbps).unwrap_or(0);
        let fastest = tx.iter().map(|slot| speed(*slot)).max()?;
        let from = self.receive_balance.last.and_then(|last| tx.iter().position(|slot| *slot == last)).map_or(0, |at| at + 1);
        (0..tx.len()).map(|step| tx[(from + step) % tx.len()]).find(|slot| speed(*slot) == fastest)
    }

    /// Members became usable (`joined`) or unusable: clients of those that are gone move, and all of them when one came.
    pub(super) fn receive_balance_members(&mut self, now: Nanos, joined: bool, out: &mut Vec<BondAction>) {
        if self.settings.mode != BondMode::BalanceAlb {
            return;
        }
        let tx = self.view().tx;
        for bucket in 0..BUCKETS {
            let Some(client) = self.receive_balance.clients[bucket] else { continue };
            if !joined && tx.contains(&client.member) {
                continue;
            }
            let Some(member) = self.next_receiver() else { continue };
            self.receive_balance.last = Some(member);
            if member != client.member {
                self.receive_balance.set(bucket, Client { member, rounds: ROUNDS, ..client }, out);
                self.receive_balance.next_round = Some(now);
            }
        }
    }

    /// A member's address changed: its clients must be told.
    pub(super) fn receive_balance_mac(&mut self, now: Nanos, member: u8) {
        for client in self.receive_balance.clients.iter_mut().flatten().filter(|client| client.member == member) {
            client.rounds = ROUNDS;
            self.receive_balance.next_round = Some(now);
        }
    }

    pub(super) fn receive_balance_deadline(&mut self, now: Nanos, out: &mut Vec<BondAction>) {
        if self.receive_balance.next_round.is_none_or(|next| next > now) {
            return;
        }
        self.receive_balance.next_round = None;
        let (start, since) = self.receive_balance.portion.take().unwrap_or((0, now));
        let mut told = 0;
        for bucket in start..BUCKETS {
            let Some(client) = self.receive_balance.clients[bucket].filter(|client| client.rounds > 0) else { continue };
            if told == PORTION {
                self.receive_balance.portion = Some((bucket, since));
                self.receive_balance.next_round = Some(now + PORTION_SPACING);
                return;
            }
            told += 1;
            self.receive_balance.clients[bucket] = Some(Client { rounds: client.rounds - 1, ..client });
            let Some(member) = self.member(Some(client.member)).filter(|member| member.can_tx()) else { continue };
            for _ in 0..BURST {
                let octets = frames::arp_reply(member.mac, client.host, client.mac, client.ip, client.tag);
                out.push(BondAction::Send { member: member.slot, octets });
            }
        }
        if self.receive_balance.clients.iter().flatten().any(|client| client.rounds > 0) {
            self.receive_balance.next_round = Some(since.saturating_add(ROUND_SPACING).max(now));
        }
    }
}
