//! Routers for people: `show routers`, `show interfaces`, `show routes`, `show neighbors`, `show forwards`.

use comfy_table::Cell;
use proto::router::{InterfaceConfig, RouteKind, RouterConfig};
use proto::router_api::{ForwardInfo, InterfaceInfo, NeighborInfo, RouteInfo, RouterInfo};

use crate::render::Column::{Number, Text};
use crate::render::{Render, dash, lines, not_default};

impl Render {
    /// `show routers`.
    pub(crate) fn routers(self, routers: &[RouterInfo]) -> String {
        if routers.is_empty() {
            return "No router; vswitchctl add-router NAME makes one.\n".to_owned();
        }
        let mut table = self.table(&[
            Text("ROUTER"),
            Text("FORWARDING"),
            Text("INTERFACES"),
            Number("ROUTES"),
            Number("FORWARDS"),
            Number("RULES"),
            Text("SETTINGS"),
        ]);
        for router in routers {
            // What has columns or lists of its own.
            let rest = RouterConfig {
                forwarding: true,
                interface: Default::default(),
                route: Vec::new(),
                neighbor: Vec::new(),
                forward: Vec::new(),
                iptables: Default::default(),
                ip6tables: Default::default(),
                ipset: Default::default(),
                ..router.config.clone()
            };
            table.add_row([
                Cell::new(&router.name),
                Cell::new(if router.forwarding { "on" } else { "off" }),
                Cell::new(dash(router.interfaces.join(","))),
                Cell::new(router.routes),
                Cell::new(router.forwards),
                Cell::new(router.rules),
                Cell::new(not_default(&rest, &RouterConfig::default())),
            ]);
        }
        lines(&table)
    }

    /// `show interfaces`.
    pub(crate) fn interfaces(self, interfaces: &[InterfaceInfo]) -> String {
        let mut table = self.table(&[
            Text("ROUTER"),
            Text("INTERFACE"),
            Text("LINK"),
            Text("AT"),
            Number("VLAN"),
            Text("MAC"),
            Number("MTU"),
            Text("ADDRESSES"),
            Number("RX_PACKETS"),
            Number("RX_BYTES"),
            Number("TX_PACKETS"),
            Number("TX_BYTES"),
            Number("DROPS"),
            Text("SETTINGS"),
        ]);
        for interface in interfaces {
            let InterfaceConfig { rp_filter, proxy_arp, proxy_arp_pvlan, ref proxy_ndp, .. } = interface.config;
            let rest = InterfaceConfig { rp_filter, proxy_arp, proxy_arp_pvlan, proxy_ndp: proxy_ndp.clone(), ..Default::default() };
            let addresses: Vec<String> = interface.addresses.iter().map(ToString::to_string).collect();
            let place = interface.switch.as_ref().map(|switch| format!("switch {switch}"));
            let place = place.or_else(|| interface.port.as_ref().map(|port| format!("port {port}")));
            table.add_row([
                Cell::new(&interface.router),
                Cell::new(&interface.name),
                self.link(interface.link),
                Cell::new(dash(place.unwrap_or_default())),
                Cell::new(interface.vlan),
                Cell::new(interface.mac),
                Cell::new(interface.mtu),
                Cell::new(dash(addresses.join(","))),
                Cell::new(interface.rx_packets),
                Cell::new(interface.rx_bytes),
                Cell::new(interface.tx_packets),
                Cell::new(interface.tx_bytes),
                Cell::new(interface.drops.values().sum::<u64>()),
                Cell::new(not_default(&rest, &InterfaceConfig::default())),
            ]);
        }
        lines(&table)
    }

    /// `show routes`, in the words of `ip route`.
    pub(crate) fn routes(self, routes: &[RouteInfo]) -> String {
        let mut table =
            self.table(&[Text("ROUTER"), Text("DESTINATION"), Text("KIND"), Text("VIA"), Text("DEV"), Number("METRIC"), Text("PROTOCOL")]);
        for route in routes {
            let everything = route.to.prefix_len == 0;
            table.add_row([
                Cell::new(&route.router),
                Cell::new(if everything && route.to.address.is_ipv4() { "default".to_owned() } else { route.to.to_string() }),
                Cell::new(if route.kind == RouteKind::Unicast { "-" } else { route.kind.name() }),
                Cell::new(dash(route.via.map(|via| via.to_string()).unwrap_or_default())),
                Cell::new(route.dev.as_deref().unwrap_or("-")),
                Cell::new(route.metric),
                Cell::new(&route.protocol),
            ]);
        }
        lines(&table)
    }

    /// `show neighbors`, in the words of `ip neighbor`.
    pub(crate) fn neighbors(self, neighbors: &[NeighborInfo]) -> String {
        let mut table = self.table(&[
            Text("ROUTER"),
            Text("ADDRESS"),
            Text("DEV"),
            Text("LLADDR"),
            Text("STATE"),
            Number("USED"),
            Number("CONFIRMED"),
            Number("UPDATED"),
        ]);
        let seconds = |ms: u64| format!("{}s", ms / 1000);
        for neighbor in neighbors {
            table.add_row([
                Cell::new(&neighbor.router),
                Cell::new(neighbor.address),
                Cell::new(&neighbor.dev),
                Cell::new(dash(neighbor.lladdr.map(|lladdr| lladdr.to_string()).unwrap_or_default())),
                Cell::new(if neighbor.is_router { format!("{} router", neighbor.state) } else { neighbor.state.clone() }),
                Cell::new(seconds(neighbor.used_ms)),
                Cell::new(seconds(neighbor.confirmed_ms)),
                Cell::new(seconds(neighbor.updated_ms)),
            ]);
        }
        lines(&table)
    }

    /// `show forwards`.
    pub(crate) fn forwards(self, forwards: &[ForwardInfo]) -> String {
        let mut table = self.table(&[
            Text("ROUTER"),
            Text("PROTO"),
            Text("ADDRESS"),
            Text("PORT"),
            Text("TO"),
            Text("SYN_PROXY"),
            Number("PACKETS"),
            Number("BYTES"),
        ]);
        for info in forwards {
            let forward = &info.forward;
            table.add_row([
                Cell::new(&info.router),
                Cell::new(forward.protocol.name()),
                Cell::new(forward.address.map_or_else(|| "any".to_owned(), |address| address.to_string())),
                Cell::new(forward.port),
                Cell::new(forward.to),
                Cell::new(if forward.syn_proxy { "on" } else { "off" }),
                Cell::new(info.packets),
                Cell::new(info.bytes),
            ]);
        }
        lines(&table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbors_read_as_in_ip_neighbor() {
        let list = serde_json::json!([
            {"router": "gw", "dev": "lan", "address": "192.168.45.3", "lladdr": "02:00:00:00:00:11", "state": "REACHABLE",
             "used_ms": 1999, "confirmed_ms": 12000, "updated_ms": 90000},
            {"router": "gw", "dev": "wan", "address": "fe80::1", "state": "FAILED", "is_router": true,
             "used_ms": 0, "confirmed_ms": 0, "updated_ms": 0},
        ]);
        let list: Vec<NeighborInfo> = serde_json::from_value(list).unwrap();
        assert_eq!(
            Render { colour: false }.neighbors(&list),
            "ROUTER  ADDRESS       DEV  LLADDR             STATE          USED  CONFIRMED  UPDATED\n\
             gw      192.168.45.3  lan  02:00:00:00:00:11  REACHABLE        1s        12s      90s\n\
             gw      fe80::1       wan  -                  FAILED router    0s         0s       0s\n"
        );
    }

    #[test]
    fn routes_read_as_in_ip_route() {
        let routes = serde_json::json!([
            {"router": "gw", "to": "0.0.0.0/0", "via": "203.0.113.1", "dev": "wan", "kind": "unicast", "metric": 5, "protocol": "static"},
            {"router": "gw", "to": "192.0.2.0/24", "kind": "blackhole", "metric": 0, "protocol": "static"},
        ]);
        let routes: Vec<RouteInfo> = serde_json::from_value(routes).unwrap();
        let text = Render { colour: false }.routes(&routes);
        assert_eq!(
            text,
            "ROUTER  DESTINATION   KIND       VIA          DEV  METRIC  PROTOCOL\n\
             gw      default       -          203.0.113.1  wan       5  static\n\
             gw      192.0.2.0/24  blackhole  -            -         0  static\n"
        );
    }
}
