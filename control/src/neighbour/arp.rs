//! ARP packets that arrive (`arp_process`, `net/ipv4/arp.c`, with its default settings).

use dataplane::clock::Nanos;
use dataplane::router::fib::RouteKind;
use dataplane::router::{Address, Family, InterfaceId};
use etherparse::{ArpEthIpv4Packet, ArpOperation};
use wire::MacAddr;

use super::agent::{Action, Key, NeighbourAgent, Routes};
use super::entry::Nud;
use super::frames;

impl NeighbourAgent {
    pub(super) fn arp_received(
        &mut self,
        now: Nanos,
        interface: InterfaceId,
        octets: &[u8],
        arp: &ArpEthIpv4Packet,
        routes: &Routes<'_>,
        out: &mut Vec<Action>,
    ) {
        let is_request = arp.operation == ArpOperation::REQUEST;
        let (sender, sender_mac) = (Address::from(std::net::Ipv4Addr::from(arp.sender_ipv4)), MacAddr(arp.sender_mac));
        let target = Address::from(std::net::Ipv4Addr::from(arp.target_ipv4));
        let Some(settings) = self.interfaces.get(&interface) else { return };
        let mac = settings.mac;
        let odd = |address: Address| address.is_multicast(Family::V4) || address.is_loopback(Family::V4);
        if !(is_request || arp.operation == ArpOperation::REPLY) || odd(target) || sender_mac.is_multicast() || sender_mac == mac {
            return;
        }
        let route = |address: Address| routes(Family::V4, address, interface);
        let is_local = matches!(route(target), Some(RouteKind::Local { .. }));
        if sender == Address::UNSPECIFIED {
            // Somebody tries an address out (RFC 5227 section 2.1.1).
            if is_request && is_local {
                out.push(Action::Send { interface, octets: frames::arp_reply(mac, target.to_v4(), sender_mac, sender.to_v4(), None) });
            }
            return;
        }
        let key = Key { interface, family: Family::V4, address: sender };
        if self.own.contains_key(&key) {
            return self.conflict(now, &key, sender_mac, out);
        }
        if odd(sender) || sender_mac.is_zero() || matches!(route(sender), Some(RouteKind::Local { .. } | RouteKind::Broadcast { .. })) {
            return;
        }
        let to_us = octets.first().is_some_and(|first| first & 1 == 0);
        if is_request {
            let proxied = match route(target) {
                Some(RouteKind::Local { .. }) => false,
                Some(RouteKind::Unicast { interface: out, .. }) if self.settings.forwarding => {
                    if out == interface {
                        settings.proxy_arp_pvlan && sender != target
                    } else {
                        settings.proxy_arp
                    }
                }
                _ => false,
            };
            if is_local || proxied {
                // Only who is at the interface can be reached there.
                if matches!(route(sender), Some(RouteKind::Unicast { interface: at, via: None }) if at == interface) {
                    self.learn(now, key, sender_mac, out);
                }
                let octets = frames::arp_reply(mac, target.to_v4(), sender_mac, sender.to_v4(), None);
                if is_local || to_us {
                    out.push(Action::Send { interface, octets });
                } else {
                    self.send_delayed(now, interface, Family::V4, octets);
                }
                return;
            }
        }
        if let Some(entry) = self.entries.get(&key) {
            let gratuitous = sender == target;
            let locktime = self.neigh(&key).locktime;
            let replace = gratuitous || now >= entry.updated + locktime;
            // What was sent to all proves nothing.
            let state = if !is_request && to_us { Nud::Reachable } else { Nud::Stale };
            self.update(now, &key, sender_mac, state, replace, false);
        }
    }
}
