//! Configurations of teamd (JSON, as in teamd.conf(5)) as options of a bond.
//!
//! Every key either has its counterpart, or is refused by name; none is passed over silently, but for those that say
//! nothing about the team itself (`device`, `debug_level`) and those of a port that is no member.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proto::bond::{AdSelect, ArpValidate, BondConfig, BondMode, FailOverMac, LacpRate, PrimaryReselect, XmitHashPolicy};
use serde_json::{Map, Value};
use wire::MacAddr;

/// What a configuration of teamd becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Team {
    /// Options of the bond.
    pub options: BondConfig,
    /// Priorities of ports that have one.
    pub prio: BTreeMap<String, i32>,
    /// Address of the bond (`hwaddr`).
    pub mac: Option<MacAddr>,
}

/// Reads a configuration of teamd for a bond with these members.
///
/// # Errors
///
/// The first key or value that is unknown or has no counterpart, with its path, such as `runner.tx_hash`.
pub fn read(text: &str, members: &[&str]) -> Result<Team, String> {
    let tree: Value = serde_json::from_str(text).map_err(|error| format!("team configuration: not JSON: {error}"))?;
    let mut root = Table::new("", &tree)?;
    // Where teamd logs to and what its netdev is called is not about the team.
    let _ = (root.take("device"), root.take("debug_level"));
    let mac = root.parsed("hwaddr")?;
    let mut options = BondConfig { num_grat_arp: Some(0), resend_igmp: 0, ..BondConfig::default() };
    let hash = match root.table("runner")? {
        Some(table) => runner(table, &mut options)?,
        None => None,
    };
    if let Some(policy) = hash {
        options.xmit_hash_policy = policy;
    }
    if let Some(mut peers) = root.table("notify_peers")? {
        options.num_grat_arp = Some(peers.number("count")?.unwrap_or(options.peer_notifications()));
        options.peer_notif_delay = peers.number("interval")?.unwrap_or(0);
        peers.end()?;
    }
    if let Some(mut rejoin) = root.table("mcast_rejoin")? {
        options.resend_igmp = rejoin.number("count")?.unwrap_or(options.resend_igmp);
        if rejoin.number::<u32>("interval")?.is_some_and(|interval| interval != 0 && interval != 200) {
            return Err("team configuration: mcast_rejoin.interval: reports are sent 200 ms apart; leave it out".into());
        }
        rejoin.end()?;
    }
    match root.take("link_watch") {
        None => {}
        Some(Value::Array(list)) => match list.as_slice() {
            [one] => link_watch(Table::new("link_watch", one)?, &mut options)?,
            _ => return Err("team configuration: link_watch: a bond has one link watch, not several at once".into()),
        },
        Some(one) => link_watch(Table::new("link_watch", &one)?, &mut options)?,
    }
    let prio = ports(root.table("ports")?, members, &mut options)?;
    root.end()?;
    Ok(Team { options, prio, mac })
}

/// Reads `runner`; gives the hash policy when it names one.
fn runner(mut table: Table, options: &mut BondConfig) -> Result<Option<XmitHashPolicy>, String> {
    let name = table.text("name")?.unwrap_or_else(|| "roundrobin".to_owned());
    let mut hash = None;
    match name.as_str() {
        "broadcast" => options.mode = BondMode::Broadcast,
        "roundrobin" => options.mode = BondMode::BalanceRr,
        "random" => options.mode = BondMode::Random,
        "activebackup" => {
            options.mode = BondMode::ActiveBackup;
            // Both are 1 for this runner (teamd.conf, notify_peers.count and mcast_rejoin.count).
            options.num_grat_arp = None;
            options.resend_igmp = 1;
            options.fail_over_mac = match table.text("hwaddr_policy")?.as_deref() {
                None | Some("same_all") => FailOverMac::None,
                Some("by_active") => FailOverMac::Active,
                Some("only_active") => FailOverMac::Follow,
                Some(other) => return Err(table.wrong("hwaddr_policy", other)),
            };
        }
        "loadbalance" => {
            options.mode = BondMode::BalanceXor;
            hash = tx_hash(&mut table)?;
            if let Some(mut balancer) = table.table("tx_balancer")? {
                if let Some(other) = balancer.text("name")?.filter(|name| name != "basic") {
                    return Err(balancer.wrong("name", &other));
                }
                // Tenths of a second.
                options.tx_balancing_interval = balancer.number::<u32>("balancing_interval")?.unwrap_or(50).saturating_mul(100);
                balancer.end()?;
            }
        }
        "lacp" => {
            options.mode = BondMode::Ieee8023ad;
            options.lacp_active = table.truth("active")?.unwrap_or(true);
            options.ad_actor_sys_prio = table.number("sys_prio")?.unwrap_or(options.ad_actor_sys_prio);
            options.lacp_rate = if table.truth("fast_rate")?.unwrap_or(false) { LacpRate::Fast } else { LacpRate::Slow };
            options.min_links = table.number("min_ports")?.unwrap_or(options.min_links);
            options.ad_select = match table.text("agg_select_policy")?.as_deref() {
                None | Some("lacp_prio" | "lacp_prio_stable") => AdSelect::Stable,
                Some("bandwidth") => AdSelect::Bandwidth,
                Some("count") => AdSelect::Count,
                Some(other) => return Err(table.wrong("agg_select_policy", other)),
            };
            hash = tx_hash(&mut table)?;
            if table.table("tx_balancer")?.is_some() {
                return Err("team configuration: runner.tx_balancer: only the runner loadbalance has it here".into());
            }
        }
        other => return Err(table.wrong("name", other)),
    }
    table.end()?;
    Ok(hash)
}

/// The hash policy that uses the parts `tx_hash` names.
fn tx_hash(table: &mut Table) -> Result<Option<XmitHashPolicy>, String> {
    let Some(value) = table.take("tx_hash") else { return Ok(Some(XmitHashPolicy::Layer23)) };
    let parts: Option<Vec<&str>> = value.as_array().and_then(|parts| parts.iter().map(Value::as_str).collect());
    let parts = parts.ok_or_else(|| table.wrong("tx_hash", &value.to_string()))?;
    let has = |names: &[&str]| parts.iter().any(|part| names.contains(part));
    let known = ["eth", "vlan", "ipv4", "ipv6", "ip", "l3", "tcp", "udp", "sctp", "l4"];
    if let Some(other) = parts.iter().find(|part| !known.contains(part)) {
        return Err(table.wrong("tx_hash", other));
    }
    Ok(Some(if has(&["l4", "tcp", "udp", "sctp"]) {
        XmitHashPolicy::Layer34
    } else if has(&["ip", "l3", "ipv4", "ipv6"]) {
        XmitHashPolicy::Layer23
    } else if has(&["vlan"]) {
        XmitHashPolicy::VlanSrcMac
    } else {
        XmitHashPolicy::Layer2
    }))
}

fn link_watch(mut table: Table, options: &mut BondConfig) -> Result<(), String> {
    match table.text("name")?.as_deref() {
        None | Some("ethtool") => {
            options.updelay = table.number("delay_up")?.unwrap_or(0);
            options.downdelay = table.number("delay_down")?.unwrap_or(0);
            // teamd counts in milliseconds.
            if !options.updelay.is_multiple_of(100) || !options.downdelay.is_multiple_of(100) {
                options.miimon = Some(1);
            }
        }
        Some("arp_ping") => {
            monitor(&mut table, options)?;
            options.arp_ip_target = vec![table.required("target_host")?];
            options.arp_source = table.parsed::<Ipv4Addr>("source_host")?.filter(|source| !source.is_unspecified());
            let validate = (table.truth("validate_active")?.unwrap_or(false), table.truth("validate_inactive")?.unwrap_or(false));
            options.arp_validate = match validate {
                (true, true) => ArpValidate::All,
                (true, false) => ArpValidate::FilterActive,
                (false, true) => ArpValidate::FilterBackup,
                (false, false) => ArpValidate::Filter,
            };
            if table.truth("send_always")?.unwrap_or(false) && options.mode == BondMode::ActiveBackup {
                return Err("team configuration: link_watch.send_always: inactive members send no probes here; leave it out".into());
            }
        }
        Some("nsna_ping") => {
            monitor(&mut table, options)?;
            options.ns_ip6_target = vec![table.required("target_host")?];
        }
        Some(other) => return Err(table.wrong("name", other)),
    }
    table.end()
}

/// What the watches that probe have in common. `init_wait` says when the first probe is sent; here at once.
fn monitor(table: &mut Table, options: &mut BondConfig) -> Result<(), String> {
    options.arp_interval = table.number("interval")?.unwrap_or(1000);
    let _: Option<u32> = table.number("init_wait")?;
    options.missed_max = table.number("missed_max")?.unwrap_or(3);
    Ok(())
}

/// Reads `ports`: priorities, and whether all are sticky.
fn ports(table: Option<Table>, members: &[&str], options: &mut BondConfig) -> Result<BTreeMap<String, i32>, String> {
    let mut prio = BTreeMap::new();
    let mut sticky = Vec::new();
    let Some(mut table) = table else { return Ok(prio) };
    for name in table.keys() {
        let Some(mut port) = table.table(&name)? else { continue };
        if !members.contains(&name.as_str()) {
            return Err(format!("team configuration: ports.{name}: not a member of the bond (add --member {name})"));
        }
        if let Some(value) = port.number("prio")? {
            prio.insert(name.clone(), value);
        }
        if port.truth("sticky")?.unwrap_or(false) {
            sticky.push(name.clone());
        }
        port.end()?;
    }
    if !sticky.is_empty() {
        if sticky.len() != members.len() {
            return Err(format!("team configuration: ports.{}.sticky: only all ports at once can be sticky", sticky[0]));
        }
        options.primary_reselect = PrimaryReselect::Failure;
    }
    Ok(prio)
}

/// A JSON object whose keys are taken one by one; what is left over is unknown.
struct Table {
    path: String,
    map: Map<String, Value>,
}

impl Table {
    fn new(path: &str, value: &Value) -> Result<Table, String> {
        match value {
            Value::Object(map) => Ok(Table { path: path.to_owned(), map: map.clone() }),
            _ if path.is_empty() => Err("team configuration: not a JSON object".into()),
            _ => Err(format!("team configuration: {path}: not a JSON object")),
        }
    }

    fn at(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn wrong(&self, key: &str, value: &str) -> String {
        format!("team configuration: {}: {value:?} is not possible here", self.at(key))
    }

    fn keys(&self) -> Vec<String> {
        self.map.keys().cloned().collect()
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        self.map.remove(key)
    }

    fn table(&mut self, key: &str) -> Result<Option<Table>, String> {
        let path = self.at(key);
        self.take(key).map(|value| Table::new(&path, &value)).transpose()
    }

    fn text(&mut self, key: &str) -> Result<Option<String>, String> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(key, &other.to_string())),
        }
    }

    fn parsed<T: std::str::FromStr>(&mut self, key: &str) -> Result<Option<T>, String> {
        let Some(text) = self.text(key)? else { return Ok(None) };
        text.parse().map(Some).map_err(|_| self.wrong(key, &text))
    }

    fn required<T: std::str::FromStr>(&mut self, key: &str) -> Result<T, String> {
        self.parsed(key)?.ok_or_else(|| format!("team configuration: {} is missing", self.at(key)))
    }

    fn truth(&mut self, key: &str) -> Result<Option<bool>, String> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(other) => Err(self.wrong(key, &other.to_string())),
        }
    }

    fn number<T: TryFrom<i64>>(&mut self, key: &str) -> Result<Option<T>, String> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number = value.as_i64().and_then(|number| T::try_from(number).ok());
        number.map(Some).ok_or_else(|| self.wrong(key, &value.to_string()))
    }

    fn end(self) -> Result<(), String> {
        match self.map.keys().next() {
            Some(key) => Err(format!("team configuration: {}: unknown key, or one that has no counterpart here", self.at(key))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMBERS: [&str; 2] = ["eth0", "eth1"];

    fn options(text: &str) -> BondConfig {
        read(text, &MEMBERS).unwrap_or_else(|error| panic!("{text}: {error}")).options
    }

    fn refused(text: &str) -> String {
        read(text, &MEMBERS).expect_err(text)
    }

    #[test]
    fn the_experiment_of_the_manual_is_an_active_backup_by_carrier() {
        let options = options(r#"{"runner": {"name": "activebackup"},"link_watch": {"name": "ethtool"}}"#);
        assert_eq!(options, BondConfig { mode: BondMode::ActiveBackup, ..BondConfig::default() });
    }

    #[test]
    fn every_runner_has_its_mode() {
        let mode = |runner: &str| options(&format!(r#"{{"runner": {{"name": "{runner}"}}}}"#)).mode;
        assert_eq!(mode("broadcast"), BondMode::Broadcast);
        assert_eq!(mode("roundrobin"), BondMode::BalanceRr);
        assert_eq!(mode("random"), BondMode::Random);
        assert_eq!(mode("activebackup"), BondMode::ActiveBackup);
        assert_eq!(mode("loadbalance"), BondMode::BalanceXor);
        assert_eq!(mode("lacp"), BondMode::Ieee8023ad);
        assert_eq!(options("{}").mode, BondMode::BalanceRr, "the default of teamd");
    }

    #[test]
    fn settings_of_runners() {
        let lacp = options(
            r#"{"runner": {"name": "lacp", "active": false, "fast_rate": true, "sys_prio": 5, "min_ports": 2, "agg_select_policy": "count",
                "tx_hash": ["eth", "ipv4", "tcp"]}}"#,
        );
        assert_eq!((lacp.lacp_active, lacp.lacp_rate, lacp.ad_actor_sys_prio), (false, LacpRate::Fast, 5));
        assert_eq!((lacp.min_links, lacp.ad_select, lacp.xmit_hash_policy), (2, AdSelect::Count, XmitHashPolicy::Layer34));
        let balanced = options(r#"{"runner": {"name": "loadbalance", "tx_hash": ["eth"], "tx_balancer": {"name": "basic"}}}"#);
        assert_eq!((balanced.xmit_hash_policy, balanced.tx_balancing_interval), (XmitHashPolicy::Layer2, 5000));
        let by_active =
            options(r#"{"runner": {"name": "activebackup", "hwaddr_policy": "by_active"}, "notify_peers": {"count": 3, "interval": 100}}"#);
        assert_eq!((by_active.fail_over_mac, by_active.num_grat_arp, by_active.peer_notif_delay), (FailOverMac::Active, Some(3), 100));
    }

    #[test]
    fn link_watches() {
        let ethtool = options(r#"{"link_watch": {"name": "ethtool", "delay_up": 250, "delay_down": 20}}"#);
        assert_eq!((ethtool.updelay, ethtool.downdelay, ethtool.miimon), (250, 20, Some(1)));
        let arp = options(
            r#"{"runner": {"name": "activebackup"}, "link_watch": [{"name": "arp_ping", "interval": 100, "init_wait": 50, "missed_max": 4,
                "source_host": "10.0.0.9", "target_host": "10.0.0.1", "validate_active": true}]}"#,
        );
        assert_eq!((arp.arp_interval, arp.missed_max, arp.arp_validate), (100, 4, ArpValidate::FilterActive));
        assert_eq!((arp.arp_source, arp.effective_miimon()), (Some(Ipv4Addr::new(10, 0, 0, 9)), 0));
        let ns = options(r#"{"link_watch": {"name": "nsna_ping", "target_host": "fd00::1"}}"#);
        assert_eq!((ns.arp_interval, ns.ns_ip6_target.len()), (1000, 1));
    }

    #[test]
    fn ports_have_priorities() {
        let team = read(
            r#"{"runner": {"name": "activebackup"}, "hwaddr": "02:00:00:00:00:07", "ports": {"eth0": {"prio": -10, "sticky": true},
            "eth1": {"prio": 100, "sticky": true}}}"#,
            &MEMBERS,
        )
        .unwrap();
        assert_eq!(team.prio, BTreeMap::from([("eth0".to_owned(), -10), ("eth1".to_owned(), 100)]));
        assert_eq!((team.options.primary_reselect, team.mac), (PrimaryReselect::Failure, Some(MacAddr([2, 0, 0, 0, 0, 7]))));
    }

    #[test]
    fn what_has_no_counterpart_is_refused_by_name() {
        for (text, name) in [
            (r#"[]"#, "not a JSON object"),
            (r#"{"runner""#, "not JSON"),
            (r#"{"runer": {}}"#, "runer: unknown key"),
            (r#"{"runner": {"name": "hash"}}"#, "runner.name: \"hash\""),
            (r#"{"runner": {"name": "activebackup", "tx_hash": []}}"#, "runner.tx_hash: unknown key"),
            (r#"{"runner": {"name": "lacp", "agg_select_policy": "port_config"}}"#, "runner.agg_select_policy"),
            (r#"{"runner": {"name": "lacp", "sys_prio": 70000}}"#, "runner.sys_prio"),
            (r#"{"runner": {"name": "loadbalance", "tx_hash": ["mpls"]}}"#, "runner.tx_hash: \"mpls\""),
            (r#"{"link_watch": {"name": "arp_ping", "target_host": "10.0.0.1", "vlanid": 5}}"#, "link_watch.vlanid"),
            (r#"{"link_watch": {"name": "arp_ping"}}"#, "link_watch.target_host is missing"),
            (r#"{"link_watch": {"name": "tipc"}}"#, "link_watch.name: \"tipc\""),
            (r#"{"link_watch": [{"name": "ethtool"}, {"name": "arp_ping"}]}"#, "not several at once"),
            (r#"{"ports": {"eth7": {}}}"#, "ports.eth7: not a member"),
            (r#"{"ports": {"eth0": {"queue_id": 1}}}"#, "ports.eth0.queue_id"),
            (r#"{"ports": {"eth0": {"sticky": true}}}"#, "ports.eth0.sticky"),
        ] {
            let error = refused(text);
            assert!(error.starts_with("team configuration: ") && error.contains(name), "{text}: {error}");
        }
    }
}
