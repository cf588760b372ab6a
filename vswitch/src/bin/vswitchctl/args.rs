//! What can be typed: the clap definition, from which parsing, help, man pages and completions come.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{ArgAction, Args, CommandFactory as _, Parser, Subcommand, ValueHint};
use proto::config::{Size, Span};
use wire::MacAddr;

use crate::bond_args::{AddBond, AddMember, BondExplain, DelMember, SetActive, SetBond};
use crate::conntrack_args::Conntrack;
use crate::iptables_args::Passed;
use crate::router_args::{
    AddForward, AddInterface, AddNeighbor, AddRoute, AddRouter, DelForward, DelInterface, DelNeighbor, DelRoute, DelRouter, OfRouter,
    SetInterface, SetRouter,
};

/// Drives vswitchd, a virtual switch over TAP and AF_PACKET that replaces a Linux bridge.
#[derive(Debug, Parser)]
#[command(name = "vswitchctl", version, propagate_version = true, disable_help_subcommand = true, max_term_width = 120)]
pub(crate) struct Cli {
    /// Control socket of the daemon
    #[arg(long, global = true, env = "VSWITCH_SOCKET", value_name = "PATH", default_value = proto::api::SOCKET, value_hint = ValueHint::FilePath, hide_env_values = true)]
    pub(crate) socket: PathBuf,

    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The verbs by purpose, in the order of the help.
const GROUPS: &[(&str, &[&str])] = &[
    ("Switches", &["add-switch", "set-switch", "del-switch"]),
    ("Ports", &["add-port", "set-port", "del-port"]),
    ("Bonds", &["add-bond", "set-bond", "add-member", "del-member", "set-active", "bond-explain"]),
    ("Routers", &["add-router", "set-router", "del-router", "add-interface", "set-interface", "del-interface"]),
    ("Routes", &["add-route", "del-route", "add-neighbor", "del-neighbor", "add-forward", "del-forward"]),
    ("Address table", &["add-fdb", "del-fdb", "flush-fdb"]),
    ("Rules", &["iptables", "iptables-save", "iptables-restore", "ip6tables", "ip6tables-save", "ip6tables-restore", "ipset"]),
    ("Look", &["show", "status", "monitor", "conntrack"]),
    ("Whole configuration", &["check", "apply", "export"]),
    ("Try out", &["sim", "completions"]),
];

const EXAMPLE: &str = "\
Example: a switch for two containers, and what it learned
  ip netns add red; ip netns add blue
  vswitchctl add-switch lan
  vswitchctl add-port lan red0 --tap --netns red --access 10
  vswitchctl add-port lan blue0 --tap --netns blue --access 10
  ip -n red addr add 10.1.0.1/24 dev red0; ip -n blue addr add 10.1.0.2/24 dev blue0
  ip netns exec red ping -c 3 10.1.0.2
  vswitchctl show fdb

Changes take effect at once, wholly or not at all, and survive a restart of the daemon.
Exit status: 0 done, 1 refused or failed, 2 usage, 3 no daemon.
";

impl Cli {
    /// The definition with the verbs of its help grouped by purpose.
    pub(crate) fn definition() -> clap::Command {
        let command = Cli::command();
        let heading = command.get_styles().get_header();
        let literal = command.get_styles().get_literal();
        let mut template = "{about-with-newline}\n{usage-heading} {usage}\n".to_owned();
        for (group, verbs) in GROUPS {
            template += &format!("\n{heading}{group}:{heading:#}\n");
            for verb in *verbs {
                let about = command.find_subcommand(verb).and_then(clap::Command::get_about).map(ToString::to_string).unwrap_or_default();
                template += &format!("  {literal}{verb:<17}{literal:#} {about}\n");
            }
        }
        template += &format!("\n{heading}Options:{heading:#}\n{{options}}{{after-help}}");
        command.help_template(template).after_help(EXAMPLE)
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Add a switch
    AddSwitch(AddSwitch),
    /// Change settings of a switch
    SetSwitch(SetSwitch),
    /// Remove a switch with its ports and static entries
    DelSwitch(DelSwitch),
    /// Add a port to a switch
    AddPort(Box<AddPort>),
    /// Change settings of a port
    SetPort(Box<SetPort>),
    /// Remove a port and its static entries
    DelPort(DelPort),
    /// Add a bond (several devices used as one) to a switch
    AddBond(Box<AddBond>),
    /// Change options of a bond; its other settings are those of set-port
    SetBond(Box<SetBond>),
    /// Add a member to a bond
    AddMember(AddMember),
    /// Remove a member from a bond
    DelMember(DelMember),
    /// Make a member of a bond the active one
    SetActive(SetActive),
    /// Say which member of a bond a flow takes, and why
    BondExplain(BondExplain),
    /// Add a router
    AddRouter(Box<AddRouter>),
    /// Change settings of a router
    SetRouter(Box<SetRouter>),
    /// Remove a router, and the ports that are its alone
    DelRouter(DelRouter),
    /// Add an interface to a router
    AddInterface(Box<AddInterface>),
    /// Change settings of an interface
    SetInterface(Box<SetInterface>),
    /// Remove an interface, and the port that is its alone
    DelInterface(DelInterface),
    /// Add a route
    AddRoute(AddRoute),
    /// Remove routes to a network
    DelRoute(DelRoute),
    /// Bind a neighbor's address to its MAC address
    AddNeighbor(AddNeighbor),
    /// Remove what add-neighbor added
    DelNeighbor(DelNeighbor),
    /// Forward a port to a host behind the router
    AddForward(AddForward),
    /// No longer forward a port
    DelForward(DelForward),
    /// Bind an address to a port (static entry)
    AddFdb(AddFdb),
    /// Remove an entry, static or learned
    DelFdb(DelFdb),
    /// Forget learned addresses
    FlushFdb(FlushFdb),
    /// Rules of a router for IPv4, in the language of iptables
    Iptables(Passed),
    /// Print the rules of a router for IPv4, for iptables-restore
    IptablesSave(Passed),
    /// Replace the rules of a router for IPv4 by those on standard input
    IptablesRestore(Passed),
    /// Rules of a router for IPv6
    #[command(name = "ip6tables")]
    Ip6tables(Passed),
    /// Print the rules of a router for IPv6, for ip6tables-restore
    #[command(name = "ip6tables-save")]
    Ip6tablesSave(Passed),
    /// Replace the rules of a router for IPv6 by those on standard input
    #[command(name = "ip6tables-restore")]
    Ip6tablesRestore(Passed),
    /// Sets of addresses for the rules of a router, in the language of ipset
    Ipset(Passed),
    /// Show switches and ports, or one list in full
    Show(Show),
    /// Show the daemon at a glance
    Status(StatusArgs),
    /// Print events as they happen
    Monitor(Monitor),
    /// List, count, watch and delete tracked connections, as conntrack(8) does
    Conntrack(Box<Conntrack>),
    /// Check a configuration file; needs no daemon
    Check(Check),
    /// Replace the whole configuration by that of a file
    Apply(Apply),
    /// Print the running configuration as TOML
    Export(Export),
    /// Send and receive frames at in-memory ports
    #[command(subcommand)]
    Sim(Sim),
    /// Print a completion script for a shell
    Completions(Completions),
}

#[derive(Debug, Args)]
pub(crate) struct AddSwitch {
    /// Name of the new switch
    pub(crate) switch: String,
    /// Add a host port of the same name too: an interface through which the host itself takes part
    #[arg(long)]
    pub(crate) host_port: bool,
    /// Do nothing when the switch exists
    #[arg(long)]
    pub(crate) may_exist: bool,
    #[command(flatten)]
    pub(crate) settings: SwitchSettings,
}

#[derive(Debug, Args)]
pub(crate) struct SetSwitch {
    /// Name of the switch
    pub(crate) switch: String,
    /// Reset a setting to its default; may be repeated
    #[arg(long, value_name = "KEY", value_parser = PossibleValuesParser::new(SwitchSettings::KEYS))]
    pub(crate) default: Vec<String>,
    #[command(flatten)]
    pub(crate) settings: SwitchSettings,
}

impl SwitchSettings {
    /// The keys of a switch.
    pub(crate) const KEYS: [&'static str; 4] = ["ageing_time", "hub", "fdb_size", "group_fwd_mask"];
}

/// Settings of a switch; each is the configuration key of the same name.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct SwitchSettings {
    /// Forget an address after this idle time, such as 300s or 5m [default: 300s]
    #[arg(long, value_name = "TIME")]
    pub(crate) ageing_time: Option<Span>,
    /// Flood every frame and learn no address [default: off]
    #[arg(long, value_name = "on|off", num_args = 0..=1, require_equals = true, default_missing_value = "on", value_parser = on_off)]
    pub(crate) hub: Option<bool>,
    /// Addresses the table holds at most [default: 65536]
    #[arg(long, value_name = "N")]
    pub(crate) fdb_size: Option<u32>,
    /// Bit n lets frames to the reserved group address 01:80:c2:00:00:0n pass (n from 3 to 15) [default: 0]
    #[arg(long, value_name = "0x..", value_parser = mask)]
    pub(crate) group_fwd_mask: Option<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct DelSwitch {
    /// Name of the switch
    pub(crate) switch: String,
    /// Do nothing when the switch does not exist
    #[arg(long)]
    pub(crate) if_exists: bool,
}

#[derive(Debug, Args)]
#[command(
    override_usage = "vswitchctl add-port [OPTIONS] <SWITCH> <PORT> <--tap|--nic <IFACE>|--vhost-user <PATH>|--patch <PEER>|--host|--sim>"
)]
#[command(after_help = "\
Examples:
  vswitchctl add-port lan vm1 --tap --access 10            interface vm1, made by the daemon, in VLAN 10
  vswitchctl add-port lan c1 --tap --netns c1              interface c1 inside the network namespace c1
  vswitchctl add-port lan up --nic eth1 --trunk 10,20-30   an existing interface as trunk
  vswitchctl add-port lan vm2 --vhost-user /run/vswitch/vm2.sock    a virtual machine's rings; vswitchd makes the socket
  vswitchctl add-port lan vm3 --vhost-user /run/vm3.sock --client    the same; the VMM makes the socket
  vswitchctl add-port lan a --patch b; vswitchctl add-port wan b --patch a    a link between two switches")]
pub(crate) struct AddPort {
    /// The switch
    pub(crate) switch: String,
    /// Name of the new port, unique in the daemon
    pub(crate) port: String,
    /// Do nothing when the switch has this port already, of the same kind
    #[arg(long)]
    pub(crate) may_exist: bool,
    #[command(flatten)]
    pub(crate) kind: Kind,
    /// The daemon makes the socket of --vhost-user, and the VMM connects (the default)
    #[arg(long, conflicts_with_all = ["client", "socket_mode"], help_heading = "Device")]
    pub(crate) server: bool,
    /// The VMM makes the socket of --vhost-user, and the daemon connects
    #[arg(long, conflicts_with = "socket_mode", help_heading = "Device")]
    pub(crate) client: bool,
    #[command(flatten)]
    pub(crate) settings: PortSettings,
}

/// What stands behind a new port.
#[derive(Debug, Args)]
#[command(next_help_heading = "What stands behind the port (one of)")]
#[group(required = true, multiple = false)]
pub(crate) struct Kind {
    /// A TAP interface that the daemon makes, named like the port
    #[arg(long)]
    pub(crate) tap: bool,
    /// An existing Ethernet interface: a physical one, a veth end, a VM's tap
    #[arg(long, value_name = "IFACE", value_hint = ValueHint::Other)]
    pub(crate) nic: Option<String>,
    /// The rings of a virtual machine, without the kernel in the way; PATH is the socket
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) vhost_user: Option<String>,
    /// One end of a link to another switch of this daemon; PEER is the port at the other end
    #[arg(long, value_name = "PEER")]
    pub(crate) patch: Option<String>,
    /// The interface through which the host itself takes part; its MAC address is stable
    #[arg(long)]
    pub(crate) host: bool,
    /// A port in memory, for trying things out (see sim)
    #[arg(long)]
    pub(crate) sim: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "A new VLAN mode (--access, --trunk, --qinq) replaces the old one with the settings that belong to it.")]
pub(crate) struct SetPort {
    /// Name of the port
    pub(crate) port: String,
    /// Reset a setting to its default; may be repeated
    #[arg(long, value_name = "KEY", value_parser = PossibleValuesParser::new(PortSettings::KEYS))]
    pub(crate) default: Vec<String>,
    #[command(flatten)]
    pub(crate) settings: PortSettings,
    /// Carry frames, or drop them all
    #[arg(long, value_name = "on|off", value_parser = on_off, conflicts_with = "disabled", help_heading = "Forwarding")]
    pub(crate) enabled: Option<bool>,
}

impl PortSettings {
    /// The keys of a port that can change while the port exists.
    pub(crate) const KEYS: [&'static str; 29] = [
        "access",
        "trunk",
        "native",
        "native_tagged",
        "qinq",
        "cvlans",
        "qinq_ethertype",
        "accept_tagged",
        "priority_tags",
        "netns",
        "interface",
        "socket_path",
        "socket_mode",
        "socket_group",
        "mtu",
        "mac",
        "queues",
        "offload",
        "ring_size",
        "tx_queue",
        "learning",
        "learn_limit",
        "sticky",
        "flood",
        "mcast_flood",
        "bcast_flood",
        "hairpin",
        "isolated",
        "enabled",
    ];
}

/// Settings of a port; each is the configuration key of the same name.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "VLAN (without these, a trunk of all VLANs)")]
pub(crate) struct PortSettings {
    /// Access port: untagged frames belong to this VLAN
    #[arg(long, value_name = "VID", value_parser = vid(), group = "vlan-mode")]
    pub(crate) access: Option<u16>,
    /// Trunk port: VLANs that pass with their tag, such as 10,20-30
    #[arg(long, value_name = "LIST", group = "vlan-mode")]
    pub(crate) trunk: Option<String>,
    /// 802.1ad tunnel port: every frame travels in this service VLAN
    #[arg(long, value_name = "VID", value_parser = vid(), group = "vlan-mode")]
    pub(crate) qinq: Option<u16>,
    /// Trunk port: VLAN of untagged frames
    #[arg(long, value_name = "VID", value_parser = vid(), conflicts_with_all = ["access", "qinq"])]
    pub(crate) native: Option<u16>,
    /// Trunk port: the native VLAN leaves with a tag [default: off]
    #[arg(long, value_name = "on|off", num_args = 0..=1, require_equals = true, default_missing_value = "on", value_parser = on_off, conflicts_with_all = ["access", "qinq"])]
    pub(crate) native_tagged: Option<bool>,
    /// Tunnel port: customer VLANs that may enter [default: all]
    #[arg(long, value_name = "LIST", conflicts_with_all = ["access", "trunk"])]
    pub(crate) cvlans: Option<String>,
    /// Tunnel port: kind of the service tag [default: 802.1ad]
    #[arg(long, value_name = "KIND", value_parser = ["802.1ad", "802.1q"], conflicts_with_all = ["access", "trunk"])]
    pub(crate) qinq_ethertype: Option<String>,
    /// Access port: which tagged frames may enter: none, or those of the port's own VLAN [default: none]
    #[arg(long, value_name = "WHICH", value_parser = ["none", "own"], conflicts_with_all = ["trunk", "qinq"])]
    pub(crate) accept_tagged: Option<String>,
    /// Whether frames outside VLANs leave with a priority tag [default: if-nonzero without VLAN settings, else never]
    #[arg(long, value_name = "WHEN", value_parser = ["never", "if-nonzero", "always"])]
    pub(crate) priority_tags: Option<String>,

    /// Network namespace of the interface: a name under /run/netns, or a path
    #[arg(long, value_name = "NAME", help_heading = "Device")]
    pub(crate) netns: Option<String>,
    /// Name of the interface when it is not the port's
    #[arg(long, value_name = "NAME", help_heading = "Device")]
    pub(crate) interface: Option<String>,
    /// vhost-user: path of the socket
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath, help_heading = "Device")]
    pub(crate) socket_path: Option<String>,
    /// vhost-user: who makes the socket, the daemon (server) or the VMM (client) [default: server]
    #[arg(long, value_name = "WHO", value_parser = ["server", "client"], help_heading = "Device")]
    pub(crate) socket_mode: Option<String>,
    /// vhost-user: group that may connect to the socket the daemon makes [default: only root and the daemon's user]
    #[arg(long, value_name = "GROUP", help_heading = "Device")]
    pub(crate) socket_group: Option<String>,
    /// Octets of payload at most; an oversize frame is dropped [default: 1500]
    #[arg(long, value_name = "N", help_heading = "Device")]
    pub(crate) mtu: Option<u32>,
    /// MAC address of the TAP interface
    #[arg(long, value_name = "MAC", help_heading = "Device")]
    pub(crate) mac: Option<MacAddr>,
    /// Number of queues, for more than one worker [default: 1]
    #[arg(long, value_name = "N", help_heading = "Device")]
    pub(crate) queues: Option<u16>,
    /// Checksum and segmentation offload [default: on]
    #[arg(long, value_name = "on|off", value_parser = on_off, help_heading = "Device")]
    pub(crate) offload: Option<bool>,
    /// Octets of the receive ring of a nic port, such as 2MiB [default: 2MiB]
    #[arg(long, value_name = "SIZE", help_heading = "Device")]
    pub(crate) ring_size: Option<Size>,
    /// Whether a nic port sends past the queueing discipline of its interface [default: bypass]
    #[arg(long, value_name = "MODE", value_parser = ["bypass", "qdisc"], help_heading = "Device")]
    pub(crate) tx_queue: Option<String>,

    /// Learn source addresses [default: on]
    #[arg(long, value_name = "on|off", value_parser = on_off, help_heading = "Forwarding")]
    pub(crate) learning: Option<bool>,
    /// Addresses learned here at most [default: no limit]
    #[arg(long, value_name = "N", help_heading = "Forwarding")]
    pub(crate) learn_limit: Option<u32>,
    /// Addresses learned here do not move to other ports [default: off]
    #[arg(long, value_name = "on|off", value_parser = on_off, help_heading = "Forwarding")]
    pub(crate) sticky: Option<bool>,
    /// Flood unicast frames with unknown destination to here [default: on]
    #[arg(long, value_name = "on|off", value_parser = on_off, help_heading = "Forwarding")]
    pub(crate) flood: Option<bool>,
    /// Flood multicast frames to here [default: on]
    #[arg(long, value_name = "on|off", value_parser = on_off, help_heading = "Forwarding")]
    pub(crate) mcast_flood: Option<bool>,
    /// Flood broadcast frames to here [default: on]
    #[arg(long, value_name = "on|off", value_parser = on_off, help_heading = "Forwarding")]
    pub(crate) bcast_flood: Option<bool>,
    /// Let frames leave where they came from [default: off]
    #[arg(long, value_name = "on|off", value_parser = on_off, help_heading = "Forwarding")]
    pub(crate) hairpin: Option<bool>,
    /// No frames between this and other isolated ports [default: off]
    #[arg(long, value_name = "on|off", value_parser = on_off, help_heading = "Forwarding")]
    pub(crate) isolated: Option<bool>,
    /// Drop all frames for now (same as the setting enabled = false)
    #[arg(long, action = ArgAction::SetTrue, help_heading = "Forwarding")]
    pub(crate) disabled: bool,
}

#[derive(Debug, Args)]
#[command(override_usage = "vswitchctl del-port [OPTIONS] [SWITCH] PORT")]
pub(crate) struct DelPort {
    /// The port; with its switch in front, it has to be a port of that switch
    #[arg(value_name = "[SWITCH] PORT", required = true, num_args = 1..=2)]
    pub(crate) names: Vec<String>,
    /// Do nothing when the port does not exist
    #[arg(long)]
    pub(crate) if_exists: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AddFdb {
    /// The switch
    pub(crate) switch: String,
    /// The address
    pub(crate) mac: MacAddr,
    /// Port of that switch
    pub(crate) port: String,
    /// VLAN; 0 on ports without VLAN settings
    #[arg(long, value_name = "VID", default_value_t = 0, value_parser = vid_or_zero())]
    pub(crate) vlan: u16,
    /// Replace a static entry that exists
    #[arg(long)]
    pub(crate) may_exist: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DelFdb {
    /// The switch
    pub(crate) switch: String,
    /// The address
    pub(crate) mac: MacAddr,
    /// VLAN; 0 on ports without VLAN settings
    #[arg(long, value_name = "VID", default_value_t = 0, value_parser = vid_or_zero())]
    pub(crate) vlan: u16,
    /// Do nothing when the entry does not exist
    #[arg(long)]
    pub(crate) if_exists: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FlushFdb {
    /// The switch
    pub(crate) switch: String,
    /// Only addresses at this port
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<String>,
    /// Only addresses in this VLAN
    #[arg(long, value_name = "VID", value_parser = vid_or_zero())]
    pub(crate) vlan: Option<u16>,
}

#[derive(Debug, Args)]
#[command(subcommand_value_name = "LIST", subcommand_help_heading = "Lists")]
pub(crate) struct Show {
    #[command(flatten)]
    pub(crate) reading: Reading,
    #[command(subcommand)]
    pub(crate) list: Option<List>,
}

/// How a read is printed.
#[derive(Clone, Debug, Args)]
pub(crate) struct Reading {
    /// Print JSON; the fields are documented in docs/json.md and stay
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print again every SECONDS until interrupted
    #[arg(long, global = true, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = seconds)]
    pub(crate) watch: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum List {
    /// Switches, their settings and how full their tables are
    Switches(OfSwitch),
    /// Ports, their links and counters
    Ports(OfPort),
    /// Addresses and where they are
    Fdb(OfVlan),
    /// Bonds, their options, members and LACP
    Bonds(OfPort),
    /// VLANs and their ports
    Vlans(OfVlan),
    /// Dropped frames by port and reason
    Drops(OfPort),
    /// Routers, their interfaces and what they have
    Routers(OfRouter),
    /// Interfaces of routers, their addresses and counters
    Interfaces(OfRouter),
    /// Routes in force
    Routes(OfRouter),
    /// Forwarded ports
    Forwards(OfRouter),
    /// Worker threads and their load
    Workers,
}

#[derive(Debug, Args)]
pub(crate) struct OfSwitch {
    /// Only of this switch
    #[arg(long, value_name = "SWITCH")]
    pub(crate) switch: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct OfPort {
    /// Only of this switch
    #[arg(long, value_name = "SWITCH")]
    pub(crate) switch: Option<String>,
    /// Only of this port
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct OfVlan {
    /// Only of this switch
    #[arg(long, value_name = "SWITCH")]
    pub(crate) switch: Option<String>,
    /// Only of this port
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<String>,
    /// Only of this VLAN
    #[arg(long, value_name = "VID", value_parser = vid_or_zero())]
    pub(crate) vlan: Option<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) reading: Reading,
}

#[derive(Debug, Args)]
pub(crate) struct Monitor {
    /// Print one JSON object a line; the fields are documented in docs/json.md and stay
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The file; - reads standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The file; - reads standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Say what would change, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// Print JSON with the same keys
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sim {
    /// Give a frame to a sim port as if it had arrived there
    Send {
        /// The port
        port: String,
        /// Octets from the destination address on, hexadecimal; spaces and colons do not matter
        #[arg(value_name = "HEX", value_parser = hex)]
        frame: String,
    },
    /// Take and print the frames that left at a sim port, one a line, hexadecimal
    Receive {
        /// The port
        port: String,
        /// Print a JSON array of texts
        #[arg(long)]
        json: bool,
    },
    /// Set the carrier of a sim port
    Carrier {
        /// The port
        port: String,
        /// up or down
        #[arg(value_parser = ["up", "down"])]
        state: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

pub(crate) fn on_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("neither on nor off".into()),
    }
}

pub(crate) fn vid() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=4094)
}

fn vid_or_zero() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(0..=4094)
}

fn mask(text: &str) -> Result<u16, String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.map_err(|_| "not a mask of 16 bits, such as 0x4000".into())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || "not a number of seconds from 0.1 to 86400".to_string();
    let seconds: f64 = text.parse().map_err(|_| wrong())?;
    if (0.1..=86_400.0).contains(&seconds) { Ok(Duration::from_secs_f64(seconds)) } else { Err(wrong()) }
}

fn hex(text: &str) -> Result<String, String> {
    let digits: String = text.chars().filter(|c| !matches!(c, ' ' | ':')).collect();
    if digits.is_empty() || digits.len() % 2 == 1 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("not an even number of hexadecimal digits".into());
    }
    Ok(digits.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::definition().debug_assert();
    }

    #[test]
    fn the_help_lists_every_verb_once() {
        let command = Cli::definition();
        let mut verbs: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
        let mut listed: Vec<_> = GROUPS.iter().flat_map(|(_, verbs)| *verbs).copied().collect();
        verbs.sort_unstable();
        listed.sort_unstable();
        assert_eq!(verbs, listed);
    }

    #[test]
    fn watch_takes_seconds_or_none() {
        let watch = |line: &[&str]| match Cli::try_parse_from(line).map(|cli| cli.verb) {
            Ok(Verb::Show(show)) => show.reading.watch,
            other => panic!("{other:?}"),
        };
        assert_eq!(watch(&["vswitchctl", "show", "fdb"]), None);
        assert_eq!(watch(&["vswitchctl", "show", "fdb", "--watch"]), Some(Duration::from_secs(2)));
        assert_eq!(watch(&["vswitchctl", "show", "--watch=0.5", "fdb"]), Some(Duration::from_millis(500)));
        for wrong in ["0", "-1", "nan", "1e99", "soon"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn frames_are_hexadecimal() {
        assert_eq!(hex("01:80:C2 00").unwrap(), "0180c200");
        for wrong in ["", "0", "0x00", "zz"] {
            assert!(hex(wrong).is_err(), "{wrong}");
        }
    }
}
