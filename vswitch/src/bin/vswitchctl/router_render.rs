//! Routers for people: `show routers`, `show interfaces`, `show routes`, `show forwards`.

use comfy_table::Cell;
use proto::router::{InterfaceConfig, RouteKind, RouterConfig};
use proto::router_api::{ForwardInfo, InterfaceInfo, RouteInfo, RouterInfo};

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
            Number("ZONE"),
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
                Cell::new(router.zone),
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
