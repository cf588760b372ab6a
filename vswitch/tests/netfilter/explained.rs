//! Packets that are not sent, because what the kernel makes of them is known to differ and the reason is not ours.
//!
//! Deviations that are meant to be so (docs/deviations.md) are left out by `generate` where the packet alone decides, and here where
//! it depends on the rules or on what happened before.

use crate::describe::Headers;
use crate::packet::{GRE, Upper};
use crate::place::{Family, Host, Side};
use crate::rule_sets::RuleSet;
use crate::script::{Flow, Step, Way};

/// ESP (RFC 4303).
const ESP: u8 = 50;
/// Destination options (RFC 8200 section 4.6).
const DESTINATION_OPTIONS: u8 = 60;

/// Whether a step would send a packet with the router's own IPv6 address from elsewhere. The kernel drops the like in IPv4 only, and
/// else talks to itself about it, on an interface that we do not have. `has_arrived` says that a packet of the flow reached its target.
pub(crate) fn is_spoofed(step: &Step, flow: &Flow, has_arrived: bool, family: Family) -> bool {
    let by_target = match step {
        Step::Packet { way, .. } => *way == Way::Reply,
        Step::Error { about, by, .. } => *about == Way::Original && by.is_none(),
    };
    family == Family::V6 && by_target && matches!(flow.to, Host::Router(_)) && !has_arrived
}

/// Whether the kernel makes something else of a packet under these rules.
pub(crate) fn is_explained(step: &Step, sent: &Headers, rules: &RuleSet) -> bool {
    let Step::Packet { ip, upper, piece, .. } = step else { return false };
    let family = if sent.ends.destination.is_ipv6() { Family::V6 } else { Family::V4 };
    let to_router = || Side::BOTH.iter().any(|side| sent.ends.destination == Host::Router(*side).address(family, 0));
    match upper {
        // docs/deviations.md, REJECT of protocols whose checksum nobody knows.
        Upper::Plain { protocol, .. } if !matches!(*protocol, GRE | ESP) => rules.reject_any_protocol(family),
        // A datagram over IPv6 to the router whose IPv6 header a rule has changed. Connection tracking leaves the sum over the whole
        // packet in the buffer, no rule adjusts that, and `udp6_csum_init` (net/ipv6/ip6_checksum.c) takes the datagram for damaged,
        // except up to 76 octets, where it sums up again (`CHECKSUM_BREAK`). TCP and ICMPv6 always sum up again.
        Upper::Udp { len, .. } if family == Family::V6 && 8 + len > 76 && to_router() && rules.change_ipv6_to_router() => true,
        // Fragments behind destination options, for the router itself. Connection tracking puts them together, and says that the
        // upper layer begins behind the fragment header (`nf_ct_frag6_reasm`, net/ipv6/netfilter/nf_conntrack_reasm.c). Delivery
        // begins with the destination options all the same, and reads the upper layer as these.
        _ if family == Family::V6 && piece.is_some() && ip.options.first() == Some(&DESTINATION_OPTIONS) => to_router() || rules.redirect(),
        _ => false,
    }
}
