//! Neighbour solicitations and advertisements that arrive (`ndisc_recv_ns`, `ndisc_recv_na` in `net/ipv6/ndisc.c`).

use dataplane::clock::Nanos;
use dataplane::router::fib::RouteKind;
use dataplane::router::{Address, Family, InterfaceId};
use wire::{MacAddr, ethernet};

use super::agent::{Action, Key, NeighbourAgent, Routes};
use super::entry::Nud;
use super::frames::{self, ALL_NODES, Flags, Message};
use super::own::Own;

impl NeighbourAgent {
    pub(super) fn nd_received(
        &mut self,
        now: Nanos,
        interface: InterfaceId,
        octets: &[u8],
        message: &Message,
        routes: &Routes<'_>,
        out: &mut Vec<Action>,
    ) {
        let Some(source_mac) = octets.get(ethernet::SOURCE).map(MacAddr::at) else { return };
        if self.interfaces.get(&interface).is_none_or(|settings| settings.mac == source_mac) {
            return;
        }
        match message.advertisement {
            None => self.solicitation(now, interface, source_mac, message, routes, out),
            Some(flags) => self.advertisement(now, interface, source_mac, message, flags, out),
        }
    }

    fn solicitation(
        &mut self,
        now: Nanos,
        interface: InterfaceId,
        source_mac: MacAddr,
        message: &Message,
        routes: &Routes<'_>,
        out: &mut Vec<Action>,
    ) {
        let Some(settings) = self.interfaces.get(&interface) else { return };
        let mac = settings.mac;
        let target = Key { interface, family: Family::V6, address: message.target.into() };
        let source = Key { address: Address::from(message.source), ..target };
        let tries = message.source.is_unspecified();
        let proxied = match self.own.get(&target) {
            Some(own) if own.is_tentative() && tries => return self.conflict(now, &target, source_mac, out),
            Some(own) if !own.is_ready() => return,
            Some(_) => false,
            None if self.settings.forwarding && settings.proxy_ndp.contains(&target.address) => true,
            None => return,
        };
        if self.own.contains_key(&source) {
            return;
        }
        let (to, to_mac) = if tries {
            (ALL_NODES, MacAddr::BROADCAST)
        } else {
            // Only who is at the interface can be reached there.
            let at_interface = matches!(
                routes(Family::V6, source.address, interface),
                Some(RouteKind::Unicast { interface: at, via: None }) if at == interface
            );
            if let Some(mac) = message.link_layer_address.filter(|_| at_interface) {
                self.learn(now, source, mac, out);
            }
            let known = self.entries.get(&source).and_then(|entry| entry.mac);
            (message.source, message.link_layer_address.or(known).unwrap_or(source_mac))
        };
        let flags = Flags { router: self.settings.forwarding, solicited: !tries, replace: !proxied };
        let octets = frames::advertisement(mac, message.target, to, to_mac, flags);
        if proxied && message.destination.is_multicast() {
            self.send_delayed(now, interface, Family::V6, octets);
        } else {
            out.push(Action::Send { interface, octets });
        }
    }

    fn advertisement(
        &mut self,
        now: Nanos,
        interface: InterfaceId,
        source_mac: MacAddr,
        message: &Message,
        flags: Flags,
        out: &mut Vec<Action>,
    ) {
        let key = Key { interface, family: Family::V6, address: message.target.into() };
        if self.own.get(&key).is_some_and(|own| !Own::is_duplicate(own)) {
            return self.conflict(now, &key, source_mac, out);
        }
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.state != Nud::Failed) else { return };
        let (state, known) = (if flags.solicited { Nud::Reachable } else { Nud::Stale }, entry.mac);
        // Without the option, it speaks of the address that is known.
        let Some(mac) = message.link_layer_address.or(known) else { return };
        entry.is_router = flags.router;
        self.update(now, &key, mac, state, flags.replace, true);
    }
}
