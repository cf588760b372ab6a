//! What can be typed about bonds, and the configuration keys it becomes.
//!
//! Options have the names of Linux bonding, with `-` for `_` as everywhere on this command line.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueHint};
use control::config::team;
use proto::bond::{AdSelect, ArpAllTargets, ArpValidate, BondMode, FailOverMac, LacpRate, MemberConfig, PrimaryReselect, XmitHashPolicy};
use proto::config::{PortConfig, PortKind, Size};
use serde_json::{Map, Value};
use wire::MacAddr;

use crate::args::{PortSettings, on_off};
use crate::settings::{put, reset};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vswitchctl add-bond lan up --member eth0 --member eth1 --mode active-backup --updelay 200
  vswitchctl add-bond lan up --member eth0 --member eth1 --mode 802.3ad --lacp-rate fast --xmit-hash-policy layer3+4
  vswitchctl add-bond lan up --member eth0 --member eth1 --team-config team.json

Device settings (--netns, --offload, --queues, --ring-size, --tx-queue) are those of each member named here.")]
pub(crate) struct AddBond {
    /// The switch
    pub(crate) switch: String,
    /// Name of the new bond, unique among the ports of the daemon
    pub(crate) bond: String,
    /// A member: an existing interface, or tap:NAME or sim:NAME; may be repeated. add-member has more settings
    #[arg(long, value_name = "IFACE", value_parser = member_name)]
    pub(crate) member: Vec<(PortKind, String)>,
    /// Take mode and options from a configuration of teamd (JSON)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) team_config: Option<PathBuf>,
    /// Do nothing when the switch has this bond already
    #[arg(long)]
    pub(crate) may_exist: bool,
    #[command(flatten)]
    pub(crate) options: BondSettings,
    #[command(flatten)]
    pub(crate) settings: PortSettings,
}

#[derive(Debug, Args)]
pub(crate) struct SetBond {
    /// Name of the bond
    pub(crate) bond: String,
    /// Reset an option to its default; may be repeated
    #[arg(long, value_name = "KEY", value_parser = PossibleValuesParser::new(BondSettings::KEYS))]
    pub(crate) default: Vec<String>,
    #[command(flatten)]
    pub(crate) options: BondSettings,
}

#[derive(Debug, Args)]
pub(crate) struct AddMember {
    /// The bond
    pub(crate) bond: String,
    /// The new member: an existing interface, or tap:NAME or sim:NAME
    #[arg(value_name = "IFACE", value_parser = member_name)]
    pub(crate) member: (PortKind, String),
    /// Do nothing when it is a member already
    #[arg(long)]
    pub(crate) may_exist: bool,
    /// Preference as active member; the highest wins [default: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub(crate) prio: Option<i32>,
    /// Network namespace of the interface: a name under /run/netns, or a path
    #[arg(long, value_name = "NAME")]
    pub(crate) netns: Option<String>,
    /// Name of the interface when it is not the member's
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,
    /// Number of queues, for more than one worker [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) queues: Option<u16>,
    /// Checksum and segmentation offload [default: on]
    #[arg(long, value_name = "on|off", value_parser = on_off)]
    pub(crate) offload: Option<bool>,
    /// Octets of the receive ring, such as 2MiB [default: 2MiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) ring_size: Option<Size>,
    /// Whether frames leave past the queueing discipline of the interface [default: bypass]
    #[arg(long, value_name = "MODE", value_parser = ["bypass", "qdisc"])]
    pub(crate) tx_queue: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DelMember {
    /// The bond
    pub(crate) bond: String,
    /// The member
    #[arg(value_name = "IFACE")]
    pub(crate) member: String,
    /// Do nothing when it is not a member
    #[arg(long)]
    pub(crate) if_exists: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "The choice holds until the member fails or another one is preferred; it is not part of the configuration.")]
pub(crate) struct SetActive {
    /// The bond
    pub(crate) bond: String,
    /// The member; `none` lets the bond choose anew
    #[arg(value_name = "IFACE")]
    pub(crate) member: String,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Keys of FLOW: src, dst (MAC addresses), vlan, saddr, daddr (IPv4 or IPv6), proto (tcp, udp, icmp, igmp or a number), sport, dport,
id (of an echo request), ethertype; or frame=HEX alone. What is left out is 0.

Example:
  vswitchctl bond-explain up src=52:54:00:00:00:01,dst=52:54:00:00:00:02,saddr=10.0.0.1,daddr=10.0.0.2,proto=tcp,sport=40000,dport=80")]
pub(crate) struct BondExplain {
    /// The bond
    pub(crate) bond: String,
    /// The flow: key=value, separated by commas or spaces
    #[arg(required = true)]
    pub(crate) flow: Vec<String>,
    /// Print JSON; the fields are documented in docs/json.md and stay
    #[arg(long)]
    pub(crate) json: bool,
}

macro_rules! bond_settings {
    ($($(#[$attribute:meta])* $name:ident: $type:ty,)+) => {
        /// Options of a bond; each is the key of the same name.
        #[derive(Debug, Default, Args)]
        #[command(next_help_heading = "Bond options (as Linux bonding; times in ms)")]
        pub(crate) struct BondSettings {
            $($(#[$attribute])* pub(crate) $name: Option<$type>,)+
        }

        impl BondSettings {
            /// The keys of a bond.
            pub(crate) const KEYS: &[&'static str] = &[$(stringify!($name)),+];

            pub(crate) fn map(&self) -> Map<String, Value> {
                let mut map = Map::new();
                $(put(&mut map, stringify!($name), self.$name.as_ref());)+
                map
            }
        }
    };
}

bond_settings! {
    /// How members are used [default: balance-rr]
    #[arg(long, value_name = "MODE", value_parser = PossibleValuesParser::new(BondMode::NAMES))]
    mode: String,
    /// Grain of updelay, downdelay and peer_notif_delay; 0 turns monitoring by carrier off [default: 100, or 0 with arp_interval]
    #[arg(long, value_name = "MS")]
    miimon: u32,
    /// How long a carrier must be back before the member is used again [default: 0]
    #[arg(long, value_name = "MS")]
    updelay: u32,
    /// How long a carrier must be gone before the member is given up [default: 0]
    #[arg(long, value_name = "MS")]
    downdelay: u32,
    /// Only 1
    #[arg(long, value_name = "on|off", value_parser = on_off_01)]
    use_carrier: bool,
    /// How often targets are asked; 0 turns monitoring by ARP off [default: 0]
    #[arg(long, value_name = "MS")]
    arp_interval: u32,
    /// IPv4 addresses that are asked, separated by commas
    #[arg(long, value_name = "IP,...", value_delimiter = ',', num_args = 1)]
    arp_ip_target: Vec<Ipv4Addr>,
    /// IPv6 addresses that are asked, separated by commas
    #[arg(long, value_name = "IP,...", value_delimiter = ',', num_args = 1)]
    ns_ip6_target: Vec<Ipv6Addr>,
    /// Source address of ARP probes [default: the host port's, or 0.0.0.0]
    #[arg(long, value_name = "IP")]
    arp_source: Ipv4Addr,
    /// Which frames prove that a member is alive [default: none]
    #[arg(long, value_name = "WHICH", value_parser = PossibleValuesParser::new(ArpValidate::NAMES))]
    arp_validate: String,
    /// Whether any or all targets must answer [default: any]
    #[arg(long, value_name = "WHICH", value_parser = PossibleValuesParser::new(ArpAllTargets::NAMES))]
    arp_all_targets: String,
    /// Intervals without answer after which a member is down [default: 2]
    #[arg(long, value_name = "N")]
    missed_max: u8,
    /// The member that is preferred
    #[arg(long, value_name = "IFACE")]
    primary: String,
    /// When the preferred member takes over again [default: always]
    #[arg(long, value_name = "WHEN", value_parser = PossibleValuesParser::new(PrimaryReselect::NAMES))]
    primary_reselect: String,
    /// What becomes of MAC addresses at a failover [default: none]
    #[arg(long, value_name = "WHAT", value_parser = PossibleValuesParser::new(FailOverMac::NAMES))]
    fail_over_mac: String,
    /// How often neighbours are told after a failover [default: 1]
    #[arg(long, value_name = "N")]
    num_grat_arp: u8,
    /// The same option as num-grat-arp
    #[arg(long, value_name = "N")]
    num_unsol_na: u8,
    /// Time between two such notifications; 0 is miimon [default: 0]
    #[arg(long, value_name = "MS")]
    peer_notif_delay: u32,
    /// How often IGMP reports are sent again after a failover [default: 1]
    #[arg(long, value_name = "N")]
    resend_igmp: u8,
    /// Accept every frame at members that are not in use [default: off]
    #[arg(long, value_name = "on|off", value_parser = on_off_01)]
    all_slaves_active: bool,
    /// Members that must be usable for the bond to have a carrier [default: 0]
    #[arg(long, value_name = "N")]
    min_links: u8,
    /// Seconds between learning frames of balance-tlb and balance-alb [default: 1]
    #[arg(long, value_name = "S")]
    lp_interval: u32,
    /// balance-rr: frames before the next member's turn; 0 chooses by chance [default: 1]
    #[arg(long, value_name = "N")]
    packets_per_slave: u16,
    /// balance-tlb: move flows to less loaded members [default: on]
    #[arg(long, value_name = "on|off", value_parser = on_off_01)]
    tlb_dynamic_lb: bool,
    /// Which parts of a frame decide on its member [default: layer2]
    #[arg(long, value_name = "POLICY", value_parser = PossibleValuesParser::new(XmitHashPolicy::NAMES))]
    xmit_hash_policy: String,
    /// balance-xor: how often flows move to less loaded members; 0 never [default: 0]
    #[arg(long, value_name = "MS")]
    tx_balancing_interval: u32,
    /// 802.3ad: how often the partner is asked to send [default: slow]
    #[arg(long, value_name = "RATE", value_parser = PossibleValuesParser::new(LacpRate::NAMES))]
    lacp_rate: String,
    /// 802.3ad: send without being asked [default: on]
    #[arg(long, value_name = "on|off", value_parser = on_off_01)]
    lacp_active: bool,
    /// 802.3ad: which aggregator is active [default: stable]
    #[arg(long, value_name = "BY", value_parser = PossibleValuesParser::new(AdSelect::NAMES))]
    ad_select: String,
    /// 802.3ad: priority of this system [default: 65535]
    #[arg(long, value_name = "N")]
    ad_actor_sys_prio: u16,
    /// 802.3ad: address of this system [default: the bond's]
    #[arg(long, value_name = "MAC")]
    ad_actor_system: MacAddr,
    /// 802.3ad: upper ten bits of the port key [default: 0]
    #[arg(long, value_name = "N")]
    ad_user_port_key: u16,
    /// 802.3ad: behave as active-backup while there is no partner [default: off]
    #[arg(long, value_name = "on|off", value_parser = on_off_01)]
    lacp_fallback: bool,
}

/// Linux writes these options as 0 and 1.
fn on_off_01(text: &str) -> Result<bool, String> {
    match text {
        "1" => Ok(true),
        "0" => Ok(false),
        other => on_off(other),
    }
}

pub(crate) fn member_name(text: &str) -> Result<(PortKind, String), String> {
    let (kind, name) = match text.split_once(':') {
        None => (PortKind::Nic, text),
        Some(("nic", name)) => (PortKind::Nic, name),
        Some(("tap", name)) => (PortKind::Tap, name),
        Some(("sim", name)) => (PortKind::Sim, name),
        Some(_) => return Err("not IFACE, tap:NAME or sim:NAME".into()),
    };
    if name.is_empty() { Err("the name is missing".into()) } else { Ok((kind, name.to_owned())) }
}

impl AddBond {
    /// The configuration of the new bond; `team_config` is the text of that file.
    pub(crate) fn config(&self, team_config: Option<&str>) -> Result<PortConfig, String> {
        if self.settings.interface.is_some() {
            return Err("a bond has no interface of its own; --member names those of its members".into());
        }
        let mut port = self.settings.map();
        let device: Map<String, Value> = ["netns", "offload", "queues", "ring_size", "tx_queue"]
            .into_iter()
            .filter_map(|key| Some((key.to_owned(), port.remove(key)?)))
            .collect();
        put(&mut port, "switch", Some(&self.switch));
        let mut options = Map::new();
        let mut members: Map<String, Value> = Map::new();
        if let Some(text) = team_config {
            let names: Vec<&str> = self.member.iter().map(|(_, name)| name.as_str()).collect();
            let team = team::read(text, &names)?;
            let Value::Object(map) = serde_json::to_value(&team.options).unwrap_or_default() else { return Err("no options".into()) };
            options = map;
            for (name, prio) in team.prio {
                members.entry(name).or_insert_with(|| Value::Object(Map::new()))["prio"] = prio.into();
            }
            if let Some(mac) = team.mac {
                port.entry("mac").or_insert_with(|| Value::String(mac.to_string()));
            }
        }
        options.extend(self.options.map());
        bond_port(port, device, options, members, &self.member)
    }
}

/// The configuration of a bond from the keys of its port, of the devices of its members, its options, and what is known of its members.
pub(crate) fn bond_port(
    mut port: Map<String, Value>,
    device: Map<String, Value>,
    options: Map<String, Value>,
    mut members: Map<String, Value>,
    names: &[(PortKind, String)],
) -> Result<PortConfig, String> {
    put(&mut port, "kind", Some(&PortKind::Bond));
    for (kind, name) in names {
        let entry = members.entry(name.clone()).or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(member) = entry else { continue };
        if member.contains_key("kind") {
            return Err(format!("member {name} is named twice"));
        }
        put(member, "kind", Some(kind));
        if *kind != PortKind::Sim {
            member.extend(device.clone());
        }
    }
    port.insert("bond".to_owned(), Value::Object(options));
    port.insert("member".to_owned(), Value::Object(members));
    serde_json::from_value(Value::Object(port)).map_err(|e| e.to_string())
}

impl SetBond {
    /// The keys to change.
    pub(crate) fn changes(&self) -> Result<Map<String, Value>, String> {
        let mut map = self.options.map();
        reset(&mut map, &self.default)?;
        Ok(map)
    }
}

impl AddMember {
    /// The configuration of the new member.
    pub(crate) fn config(&self) -> Result<MemberConfig, String> {
        let mut map = Map::new();
        put(&mut map, "kind", Some(&self.member.0));
        put(&mut map, "prio", self.prio.as_ref());
        put(&mut map, "netns", self.netns.as_ref());
        put(&mut map, "interface", self.interface.as_ref());
        put(&mut map, "queues", self.queues.as_ref());
        put(&mut map, "offload", self.offload.as_ref());
        put(&mut map, "ring_size", self.ring_size.as_ref());
        put(&mut map, "tx_queue", self.tx_queue.as_ref());
        serde_json::from_value(Value::Object(map)).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use proto::bond::BondConfig;
    use serde_json::json;

    use super::*;
    use crate::args::{Cli, Verb};

    fn parse(line: &str) -> Result<Verb, String> {
        let words = ["vswitchctl"].into_iter().chain(line.split_whitespace());
        Cli::try_parse_from(words).map(|cli| cli.verb).map_err(|e| e.to_string())
    }

    fn add_bond(line: &str, team: Option<&str>) -> Result<PortConfig, String> {
        match parse(&format!("add-bond {line}"))? {
            Verb::AddBond(add) => add.config(team),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_option_of_a_bond_can_be_set_and_reset() {
        let schema = schemars::schema_for!(BondConfig);
        let mut known: Vec<&str> = schema.get("properties").and_then(Value::as_object).unwrap().keys().map(String::as_str).collect();
        let mut keys = BondSettings::KEYS.to_vec();
        known.sort_unstable();
        keys.sort_unstable();
        assert_eq!(keys, known);
        let line = "set-bond b --mode 802.3ad --miimon 50 --updelay 100 --downdelay 150 --use-carrier 1 --arp-interval 0 \
            --arp-ip-target 10.0.0.1,10.0.0.2 --ns-ip6-target fd00::1 --arp-source 10.0.0.9 --arp-validate all --arp-all-targets all \
            --missed-max 3 --primary eth0 --primary-reselect better --fail-over-mac follow --num-grat-arp 2 --num-unsol-na 2 \
            --peer-notif-delay 100 --resend-igmp 0 --all-slaves-active on --min-links 1 --lp-interval 2 --packets-per-slave 0 \
            --tlb-dynamic-lb off --xmit-hash-policy layer3+4 --tx-balancing-interval 5000 --lacp-rate fast --lacp-active off \
            --ad-select count --ad-actor-sys-prio 1 --ad-actor-system 02:00:00:00:00:01 --ad-user-port-key 7 --lacp-fallback 1";
        let Verb::SetBond(set) = parse(line).unwrap() else { panic!() };
        let changes = set.changes().unwrap();
        assert_eq!(changes.keys().count(), keys.len());
        assert_eq!(changes["arp_ip_target"], json!(["10.0.0.1", "10.0.0.2"]));
        let options: BondConfig = serde_json::from_value(Value::Object(changes)).unwrap();
        assert_eq!((options.mode, options.lacp_rate, options.all_slaves_active), (BondMode::Ieee8023ad, LacpRate::Fast, true));
        let Verb::SetBond(set) = parse("set-bond b --default primary").unwrap() else { panic!() };
        assert_eq!(Value::Object(set.changes().unwrap()), json!({"primary": null}));
    }

    #[test]
    fn a_new_bond_has_members_with_their_devices() {
        let port = add_bond("lan up --member eth0 --member tap:t --member sim:s --mode balance-xor --netns n --access 10 --mtu 9000", None);
        let port = port.unwrap();
        assert_eq!((port.kind, port.access, port.mtu, port.netns), (PortKind::Bond, Some(10), 9000, None));
        assert_eq!(port.bond.unwrap().mode, BondMode::BalanceXor);
        let netns = Some("n".to_owned());
        assert_eq!(port.member["eth0"], MemberConfig { netns: netns.clone(), ..MemberConfig::default() });
        assert_eq!(port.member["t"], MemberConfig { kind: PortKind::Tap, netns, ..MemberConfig::default() });
        assert_eq!(port.member["s"], MemberConfig { kind: PortKind::Sim, ..MemberConfig::default() });
        for line in ["lan up --interface x", "lan up --member a --member a", "lan up --mode 7", "lan up --member vhost:x"] {
            assert!(add_bond(line, None).is_err(), "{line}");
        }
    }

    #[test]
    fn a_team_configuration_is_the_base_and_options_go_over_it() {
        let team =
            r#"{"runner": {"name": "activebackup"}, "link_watch": {"name": "ethtool", "delay_up": 300}, "ports": {"eth1": {"prio": 9}}}"#;
        let port = add_bond("lan up --member eth0 --member eth1 --updelay 500", Some(team)).unwrap();
        let options = port.bond.unwrap();
        assert_eq!((options.mode, options.updelay), (BondMode::ActiveBackup, 500));
        assert_eq!((port.member["eth1"].prio, port.member["eth0"].prio), (9, 0));
    }

    #[test]
    fn a_new_member_has_its_own_settings() {
        let Verb::AddMember(add) = parse("add-member up eth2 --prio -5 --netns n --interface x --queues 2").unwrap() else { panic!() };
        let config = add.config().unwrap();
        assert_eq!((config.prio, config.queues, config.interface.as_deref()), (-5, 2, Some("x")));
    }
}
