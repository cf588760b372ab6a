//! What becomes of a frame that arrives at a member (Linux `bond_handle_frame` and `bond_should_deliver_exact_match`).

use wire::{MacAddr, ethernet, ip_protocol};

use super::{Bond, BondView, Mode};
use crate::drop_reason::DropReason;

/// The group address of slow protocols (IEEE 802.3 annex 57A).
const SLOW_PROTOCOLS: [u8; 6] = [0x01, 0x80, 0xc2, 0, 0, 0x02];

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on as a frame that arrived at the bond's port.
    Accept,
    /// It goes on with the bond's own address as its destination, in place of the member's.
    AcceptAsOwn,
    /// It goes to control only.
    Punt,
    /// It is dropped, counted at the member.
    Drop(DropReason),
}

impl Bond {
    /// What becomes of a frame that arrived at `member`, and whether control gets a copy of it. `head` is the frame's
    /// beginning behind a VLAN tag that is metadata, with an Ethernet header at least.
    #[inline]
    pub fn admit(&self, view: &BondView, member: u8, head: &[u8; ethernet::HEADER_LEN], octets: &[u8]) -> (Verdict, bool) {
        let ether_type = ethernet::ether_type(head);
        let copy = match ether_type {
            ethernet::ETHER_TYPE_ARP => self.punt.arp,
            ethernet::ETHER_TYPE_IPV6 => self.punt.nd && is_nd(octets),
            ethernet::ETHER_TYPE_SLOW if self.punt.slow_protocols && head[..6] == SLOW_PROTOCOLS => return (Verdict::Punt, false),
            _ => false,
        };
        (self.verdict(view, member, head), copy)
    }

    #[inline]
    fn verdict(&self, view: &BondView, member: u8, head: &[u8; ethernet::HEADER_LEN]) -> Verdict {
        let active = self.all_slaves_active || view.can_receive(member);
        let (balances, by_arp) =
            (matches!(self.mode, Mode::BalanceTlb { .. } | Mode::BalanceAlb { .. }), matches!(self.mode, Mode::BalanceAlb { .. }));
        if !balances {
            return if active { Verdict::Accept } else { Verdict::Drop(DropReason::BondInactive) };
        }
        let to_member = by_arp && MacAddr::at(&head[ethernet::DESTINATION]) == self.state.member_mac(member);
        if !active && !to_member {
            return Verdict::Drop(DropReason::BondInactive);
        }
        if self.state.is_member_mac(MacAddr::at(&head[ethernet::SOURCE])) {
            // Sent by another member and flooded back by the switches outside.
            return Verdict::Drop(DropReason::BondOwnFrame);
        }
        if to_member { Verdict::AcceptAsOwn } else { Verdict::Accept }
    }
}

/// Whether an IPv6 packet is a neighbour solicitation or advertisement (RFC 4861), without extension headers.
fn is_nd(octets: &[u8]) -> bool {
    octets.get(20) == Some(&ip_protocol::ICMPV6) && matches!(octets.get(54), Some(135 | 136))
}
