//! Answers to questions about routers. Nothing here changes anything.

use dataplane::clock::Nanos;
use dataplane::counters::{Counter, PortCounters};
use dataplane::router::fib::{Fib, Route, RouteKind};
use dataplane::router::{Family, InterfaceId, Router};
use proto::api::Link;
use proto::iptables::Tables;
use proto::router::{self, ForwardConfig, Network, RouterConfig};
use proto::router_api::{ForwardInfo, InterfaceInfo, NeighborInfo, RouteInfo, RouterFilter, RouterInfo};

use super::Controller;
use super::report::drops;
use crate::compile::{InterfaceParts, RouterParts};

impl Controller {
    /// Whether the router that a filter names exists.
    ///
    /// # Errors
    ///
    /// When it does not.
    pub fn check_router_filter(&self, filter: &RouterFilter) -> Result<(), String> {
        match &filter.router {
            Some(router) if !self.config.router.contains_key(router) => Err(format!("no router {router:?}")),
            _ => Ok(()),
        }
    }

    fn matching_routers<'c>(
        &'c self,
        filter: &'c RouterFilter,
    ) -> impl Iterator<Item = (&'c String, &'c RouterConfig, &'c RouterParts, &'c Router)> {
        let wanted = self.config.router.iter().filter(|(name, _)| filter.router.as_ref().is_none_or(|wanted| wanted == *name));
        wanted.filter_map(|(name, config)| {
            let parts = self.compiled.routers.get(name)?;
            Some((name, config, parts, self.compiled.snapshot.router(parts.id)?))
        })
    }

    /// The routers that match.
    pub fn router_infos(&self, filter: &RouterFilter) -> Vec<RouterInfo> {
        let rules = |tables: &Tables| {
            let chains = Tables::NAMES.iter().filter_map(|name| tables.get(name)).flat_map(|table| table.values());
            chains.map(|chain| chain.rules.len() as u64).sum::<u64>()
        };
        let info = |(name, config, parts, router): (&String, &RouterConfig, &RouterParts, &Router)| RouterInfo {
            name: name.clone(),
            forwarding: router.forwarding,
            interfaces: parts.interfaces.keys().cloned().collect(),
            routes: router.fib.iter().flat_map(|fib| fib.routes()).filter(|route| is_shown(route)).count() as u64,
            forwards: config.forward.len() as u64,
            rules: rules(&config.iptables) + rules(&config.ip6tables),
            config: config.clone(),
        };
        self.matching_routers(filter).map(info).collect()
    }

    /// The interfaces of the routers that match.
    pub fn interface_infos(&self, filter: &RouterFilter) -> Vec<InterfaceInfo> {
        let mut list = Vec::new();
        for (router, _, parts, _) in self.matching_routers(filter) {
            list.extend(parts.interfaces.iter().map(|(name, parts)| self.interface_info(router, name, parts)));
        }
        list
    }

    fn interface_info(&self, router: &str, name: &str, parts: &InterfaceParts) -> InterfaceInfo {
        let sum = |of: fn(&PortCounters) -> &Counter| parts.counters.iter().map(|set| of(set).get()).fold(0, u64::wrapping_add);
        let link = match &parts.config.port {
            _ if !parts.config.enabled => Link::Disabled,
            Some(port) => self.link(port),
            None => Link::Up,
        };
        // What the switch transmits at the port of the interface is what the router receives.
        InterfaceInfo {
            router: router.to_owned(),
            name: name.to_owned(),
            link,
            switch: parts.config.switch.clone(),
            port: parts.config.port.clone(),
            vlan: parts.vlan.get(),
            mac: parts.mac,
            mtu: parts.config.mtu,
            addresses: parts.addresses.clone(),
            rx_packets: sum(|set| &set.tx_packets),
            rx_bytes: sum(|set| &set.tx_bytes),
            tx_packets: sum(|set| &set.rx_packets),
            tx_bytes: sum(|set| &set.rx_bytes),
            drops: drops(&parts.counters).map(|(reason, count)| (reason.name().to_owned(), count)).collect(),
            config: parts.config.clone(),
        }
    }

    /// The routes of the routers that match, those of the interfaces' networks included; in order of network and metric.
    pub fn route_infos(&self, filter: &RouterFilter) -> Vec<RouteInfo> {
        let mut list = Vec::new();
        for (name, _, parts, router) in self.matching_routers(filter) {
            let interface = |id: InterfaceId| parts.interfaces.iter().find(|(_, parts)| parts.id == id).map(|(name, _)| name.clone());
            for (family, fib) in [Family::V4, Family::V6].into_iter().zip(&router.fib) {
                let own = connected(family, router);
                for route in fib.routes().iter().filter(|route| is_shown(route)) {
                    let (kind, dev, via) = match route.kind {
                        RouteKind::Unicast { interface: id, via } => (router::RouteKind::Unicast, interface(id), via),
                        RouteKind::Blackhole => (router::RouteKind::Blackhole, None, None),
                        RouteKind::Unreachable => (router::RouteKind::Unreachable, None, None),
                        RouteKind::Prohibit => (router::RouteKind::Prohibit, None, None),
                        RouteKind::Local { .. } | RouteKind::Broadcast { .. } => continue,
                    };
                    list.push(RouteInfo {
                        router: name.clone(),
                        to: Network { address: route.prefix.to_ip(family), prefix_len: route.len },
                        via: via.map(|via| via.to_ip(family)),
                        dev,
                        kind,
                        metric: route.metric,
                        protocol: if own.contains(route) { "kernel".to_owned() } else { "static".to_owned() },
                    });
                }
            }
        }
        list.sort();
        list.dedup();
        list
    }

    /// The neighbors of the routers that match, by interface and address.
    pub fn neighbor_infos(&self, filter: &RouterFilter, now: Nanos) -> Vec<NeighborInfo> {
        let ago = |at: Nanos| now.saturating_sub(at) / 1_000_000;
        let mut list = Vec::new();
        for (router, ..) in self.matching_routers(filter) {
            list.extend(self.neighbours_of(router).map(|(dev, status)| NeighborInfo {
                router: router.clone(),
                dev: dev.to_owned(),
                address: status.key.address.to_ip(status.key.family),
                lladdr: status.mac,
                state: status.state.to_string(),
                is_router: status.is_router,
                used_ms: ago(status.used),
                confirmed_ms: ago(status.confirmed),
                updated_ms: ago(status.updated),
            }));
        }
        list
    }

    /// The forwarded ports of the routers that match.
    pub fn forward_infos(&self, filter: &RouterFilter) -> Vec<ForwardInfo> {
        let mut list = Vec::new();
        for (name, config, parts, _) in self.matching_routers(filter) {
            let info = |forward: &ForwardConfig| {
                let (packets, bytes) = parts.forward_counts(forward);
                ForwardInfo { router: name.clone(), forward: forward.clone(), packets, bytes }
            };
            list.extend(config.forward.iter().map(info));
        }
        list
    }
}

/// Whether a route is one that people made or see the network of an interface in: `ip route` shows no table `local` either.
fn is_shown(route: &Route) -> bool {
    !matches!(route.kind, RouteKind::Local { .. } | RouteKind::Broadcast { .. })
}

/// The routes that come with the addresses of interfaces.
fn connected(family: Family, router: &Router) -> Vec<Route> {
    let numbered = router.interfaces.iter().enumerate();
    Fib::routes_of(family, numbered.filter_map(|(n, interface)| Some((InterfaceId(n as u8), interface.as_ref()?))))
}
