//! Which member a frame leaves by: a pure function of the bond, its view and the frame (and of a sequence, where a mode
//! counts frames). The pipeline and `bond-explain` call the same one.
//!
//! After the kernel's `bond_xmit_*_slave_get` (`bond_main.c`) and `bond_xmit_{tlb,alb}_slave_get` (`bond_alb.c`).

use core::ops::Range;

use wire::{MacAddr, Tag, VlanId, ethernet, ip_protocol};

use super::{Bond, BondView, Mode, hash};

/// Octets of ARP for IPv4 over Ethernet (RFC 826), with the Ethernet header.
pub(crate) const ARP_LEN: usize = 42;
/// The sender's hardware address in it.
pub(crate) const ARP_SENDER: Range<usize> = 22..28;

/// A frame that is to leave by a bond.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'f> {
    /// Its first octets without VLAN tags that are metadata.
    pub head: &'f [u8],
    /// Octets of the whole frame.
    pub len: u32,
    /// EtherType behind the outermost tag.
    pub ether_type: u16,
    /// TCI of the outermost tag; 0 without a tag.
    pub tci: u16,
}

impl<'f> Outgoing<'f> {
    /// A frame that leaves with these tags (innermost first) in front of its octets, at most two. `None` if it is shorter
    /// than an Ethernet header.
    #[inline]
    pub fn new(head: &'f [u8], len: u32, tags: &[Tag]) -> Option<Outgoing<'f>> {
        if head.len() < ethernet::HEADER_LEN {
            return None;
        }
        let (ether_type, tci) = match tags {
            [] => (ethernet::ether_type(head), 0),
            [tag] => (ethernet::ether_type(head), tag.tci),
            [inner, outer, ..] => (inner.tpid.ether_type(), outer.tci),
        };
        Some(Outgoing { head, len, ether_type, tci })
    }

    #[inline]
    fn is_group(&self) -> bool {
        self.head[0] & 1 != 0
    }

    #[inline]
    fn is_igmp(&self) -> bool {
        self.ether_type == ethernet::ETHER_TYPE_IPV4 && self.head.len() >= 34 && self.head[23] == ip_protocol::IGMP
    }

    /// IPv6 neighbour discovery; a header that is cut counts as such (Linux `alb_determine_nd`).
    fn is_nd(&self) -> bool {
        match self.head.get(ethernet::HEADER_LEN..) {
            Some(packet) if packet.len() >= 40 => match (packet[6], packet.get(40)) {
                (ip_protocol::ICMPV6, Some(kind)) if packet.len() >= 48 => matches!(kind, 135 | 136),
                (ip_protocol::ICMPV6, _) => true,
                _ => false,
            },
            _ => true,
        }
    }
}

/// By which members a frame leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Egress {
    /// No member can transmit.
    None,
    /// This one.
    One(u8),
    /// Each of [`BondView::tx`], a copy.
    All,
}

/// How a frame leaves, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// By which members.
    pub egress: Egress,
    /// Its hash, where the mode makes one.
    pub hash: Option<u32>,
    /// Its bucket, where the mode has some.
    pub bucket: Option<u8>,
    /// It leaves with the member's address as its source (and as the sender's in ARP).
    pub rewrite: bool,
    /// It is ARP of the bond's own address, of which `balance-alb` tells control.
    pub own_arp: bool,
}

impl Choice {
    #[inline]
    fn plain(egress: Egress) -> Choice {
        Choice { egress, hash: None, bucket: None, rewrite: false, own_arp: false }
    }
}

impl Bond {
    /// Chooses the members for a frame. `sequence` gives the next number of a sequence that counts from 1; it is asked at
    /// most once, by modes that count frames.
    #[inline]
    pub fn select(&self, view: &BondView, frame: &Outgoing<'_>, sequence: impl FnOnce() -> u32) -> Choice {
        match self.mode {
            Mode::BalanceXor | Mode::Ieee8023ad => self.by_hash(view, hash::hash(self.policy, frame)),
            Mode::ActiveBackup => Choice::plain(active(view)),
            Mode::Broadcast => Choice::plain(if view.tx.is_empty() { Egress::None } else { Egress::All }),
            Mode::BalanceRr { packets_per_slave } => Choice::plain(self.round_robin(view, frame, packets_per_slave, sequence)),
            Mode::Random if view.tx.is_empty() => Choice::plain(Egress::None),
            Mode::Random => Choice::plain(Egress::One(view.tx[scatter(sequence()) as usize % view.tx.len()])),
            Mode::LoadBalance => self.by_bucket(view, frame),
            Mode::BalanceTlb { dynamic } => self.transmit_load(view, frame, dynamic),
            Mode::BalanceAlb { dynamic } => self.adaptive_load(view, frame, dynamic),
        }
    }

    fn by_hash(&self, view: &BondView, hash: u32) -> Choice {
        Choice { hash: Some(hash), ..Choice::plain(nth(view, hash)) }
    }

    /// Whether nothing but the hash of a frame matters.
    #[inline]
    pub(crate) fn is_by_hash(&self) -> bool {
        matches!(self.mode, Mode::BalanceXor | Mode::Ieee8023ad)
    }

    #[inline(never)]
    fn round_robin(&self, view: &BondView, frame: &Outgoing<'_>, packets_per_slave: u16, sequence: impl FnOnce() -> u32) -> Egress {
        let start = if frame.is_igmp() {
            if let Egress::One(member) = active(view) {
                return Egress::One(member);
            }
            0
        } else if self.order.is_empty() {
            return Egress::None;
        } else {
            let number = match packets_per_slave {
                0 => scatter(sequence()),
                packets => sequence() / u32::from(packets),
            };
            number as usize % self.order.len()
        };
        let (before, from) = self.order.split_at(start);
        from.iter().chain(before).find(|slot| view.can_transmit(**slot)).map_or(Egress::None, |slot| Egress::One(*slot))
    }

    #[inline(never)]
    fn by_bucket(&self, view: &BondView, frame: &Outgoing<'_>) -> Choice {
        let hash = hash::hash(self.policy, frame);
        let bucket = hash as u8;
        let assigned = self.state.bucket(bucket).filter(|slot| view.can_transmit(*slot));
        let egress = assigned.map_or_else(|| nth(view, hash), Egress::One);
        Choice { hash: Some(hash), bucket: Some(bucket), ..Choice::plain(egress) }
    }

    /// `balance-tlb`: unicast IP is balanced, neighbour discovery excepted.
    #[inline(never)]
    fn transmit_load(&self, view: &BondView, frame: &Outgoing<'_>, dynamic: bool) -> Choice {
        let balanced = !frame.is_group()
            && match frame.ether_type {
                ethernet::ETHER_TYPE_IPV4 => true,
                ethernet::ETHER_TYPE_IPV6 => !frame.is_nd(),
                _ => false,
            };
        if !balanced {
            return Choice::plain(active(view));
        }
        let hash = hash::hash(self.policy, frame);
        if dynamic { self.loaded(view, Some(hash), hash as u8) } else { rewriting(view, nth(view, hash), Some(hash)) }
    }

    /// `balance-alb`: unicast IP is balanced by its destination, but for what hosts resolve addresses with.
    #[inline(never)]
    fn adaptive_load(&self, view: &BondView, frame: &Outgoing<'_>, dynamic: bool) -> Choice {
        let packet = &frame.head[ethernet::HEADER_LEN..];
        let destination = match frame.ether_type {
            ethernet::ETHER_TYPE_ARP => return self.adaptive_arp(view, frame),
            // What comes back of a group frame must not come in by the active member, so it leaves by it.
            _ if frame.is_group() => None,
            ethernet::ETHER_TYPE_IPV4 => packet.get(16..20).filter(|ip| **ip != [255; 4] && packet[9] != ip_protocol::IGMP),
            ethernet::ETHER_TYPE_IPV6 if frame.is_nd() => None,
            ethernet::ETHER_TYPE_IPV6 => packet.get(24..40).filter(|_| packet[8..24] != [0; 16]),
            _ => None,
        };
        let Some(destination) = destination else { return Choice::plain(active(view)) };
        if dynamic {
            return self.loaded(view, None, destination.iter().fold(0, |bucket, octet| bucket ^ octet));
        }
        let hash = hash::hash(self.policy, frame);
        rewriting(view, nth(view, hash), Some(hash))
    }

    /// ARP of the bond itself: a reply to a client leaves by the member the client is to send to, with its address.
    fn adaptive_arp(&self, view: &BondView, frame: &Outgoing<'_>) -> Choice {
        let Some(arp) = own_arp(frame.head, self.state.mac()) else { return Choice::plain(active(view)) };
        let vlan = VlanId::new(frame.tci & 0xfff).unwrap_or(VlanId::NONE);
        let member = match arp.operation {
            ArpOperation::Reply => self.state.member_for(arp.target, vlan).filter(|slot| view.can_transmit(*slot)),
            ArpOperation::Other => None,
        };
        Choice { own_arp: true, ..rewriting(view, member.map_or_else(|| active(view), Egress::One), None) }
    }

    /// The member of a bucket that control assigns by load; the active one while there is none.
    fn loaded(&self, view: &BondView, hash: Option<u32>, bucket: u8) -> Choice {
        let assigned = self.state.bucket(bucket).filter(|slot| view.can_transmit(*slot));
        Choice { bucket: Some(bucket), ..rewriting(view, assigned.map_or_else(|| active(view), Egress::One), hash) }
    }

    /// Whether workers count octets by bucket.
    #[inline]
    pub(crate) fn counts_load(&self) -> bool {
        matches!(self.mode, Mode::BalanceTlb { dynamic: true } | Mode::BalanceAlb { dynamic: true } | Mode::LoadBalance)
    }
}

/// A choice of `balance-tlb` or `balance-alb`: members but the active one send with their own address, so that switches
/// never see the sender's at two ports.
fn rewriting(view: &BondView, egress: Egress, hash: Option<u32>) -> Choice {
    let rewrite = matches!(egress, Egress::One(member) if view.active != Some(member));
    Choice { hash, rewrite, ..Choice::plain(egress) }
}

#[inline]
fn active(view: &BondView) -> Egress {
    match view.active {
        Some(member) if view.can_transmit(member) => Egress::One(member),
        _ => Egress::None,
    }
}

#[inline]
fn nth(view: &BondView, hash: u32) -> Egress {
    if view.tx.is_empty() { Egress::None } else { Egress::One(view.tx[position(hash, view.tx.len() as u32) as usize]) }
}

/// Which of `members` usable members a hash means. `members` is not 0.
#[inline]
pub(crate) fn position(hash: u32, members: u32) -> u32 {
    hash % members
}

/// Spreads the numbers of a sequence over all numbers, as if they were random (the finalizer of MurmurHash3).
fn scatter(number: u32) -> u32 {
    let mut x = number;
    x = (x ^ x >> 16).wrapping_mul(0x85eb_ca6b);
    x = (x ^ x >> 13).wrapping_mul(0xc2b2_ae35);
    x ^ x >> 16
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ArpOperation {
    Reply,
    Other,
}

struct OwnArp {
    operation: ArpOperation,
    target: [u8; 4],
}

/// ARP for IPv4 over Ethernet from this hardware address.
fn own_arp(head: &[u8], mac: MacAddr) -> Option<OwnArp> {
    let arp = head.get(ethernet::HEADER_LEN..ARP_LEN)?;
    if arp[..6] != [0, 1, 8, 0, 6, 4] || head[ARP_SENDER] != mac.0 || head[ethernet::SOURCE] != mac.0 {
        return None;
    }
    let operation = if arp[6..8] == [0, 2] { ArpOperation::Reply } else { ArpOperation::Other };
    Some(OwnArp { operation, target: [arp[24], arp[25], arp[26], arp[27]] })
}
