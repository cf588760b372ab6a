//! Replies as tables and lines for people.

use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use proto::api::{DropInfo, Event, FdbInfo, Link, PortInfo, StatusInfo, SwitchInfo, VhostUserInfo, VlanInfo, WorkerInfo};
use proto::config::{PortKind, SwitchConfig};
use serde::Serialize;
use serde_json::Value;

/// Makes tables, with or without colour.
#[derive(Clone, Copy)]
pub(crate) struct Render {
    /// Whether to use colour.
    pub(crate) colour: bool,
}

/// How a column is set.
#[derive(Clone, Copy)]
pub(crate) enum Column {
    Text(&'static str),
    Number(&'static str),
}
use Column::{Number, Text};

impl Render {
    pub(crate) fn table(self, columns: &[Column]) -> Table {
        let mut table = Table::new();
        // Columns apart by two spaces and nothing else: easy on the eye, and on awk. comfy-table fits a table to the
        // width of a terminal and leaves it alone when standard output is none.
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(columns.iter().map(|column| {
            let (Text(name) | Number(name)) = column;
            let cell = Cell::new(name);
            if self.colour { cell.add_attribute(Attribute::Bold) } else { cell }
        }));
        for (i, column) in columns.iter().enumerate() {
            if let Some(settings) = table.column_mut(i) {
                settings.set_padding((0, 2));
                if let Number(_) = column {
                    settings.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        table
    }

    pub(crate) fn paint(self, text: impl ToString, colour: Option<Color>) -> Cell {
        match colour {
            Some(colour) if self.colour => Cell::new(text).fg(colour),
            _ => Cell::new(text),
        }
    }

    pub(crate) fn link(self, link: Link) -> Cell {
        let colour = match link {
            Link::Up => Color::Green,
            Link::Down => Color::Yellow,
            Link::Lost => Color::Red,
            Link::Disabled => Color::DarkGrey,
        };
        self.paint(link_name(link), Some(colour))
    }

    /// `show`: every switch with its ports, then what needs attention.
    pub(crate) fn overview(self, switches: &[SwitchInfo], ports: &[PortInfo], status: &StatusInfo) -> String {
        let mut text = String::new();
        for switch in switches {
            let settings = not_default(&switch.config, &SwitchConfig::default());
            let settings = if settings.is_empty() { settings } else { format!("  {settings}") };
            text += &format!("switch {}  {} of {} addresses{settings}\n", switch.name, switch.fdb_entries, switch.config.fdb_size);
            let mut table = self.table(&[
                Text("  PORT"),
                Text("KIND"),
                Text("LINK"),
                Text("VLAN"),
                Number("MTU"),
                Text("INTERFACE"),
                Number("RX"),
                Number("TX"),
                Number("DROPS"),
            ]);
            let mut any = false;
            for port in ports.iter().filter(|port| port.switch.as_ref() == Some(&switch.name)) {
                any = true;
                table.add_row([
                    Cell::new(format!("  {}", port.name)),
                    Cell::new(kind_name(port.kind)),
                    self.link(port.link),
                    Cell::new(&port.vlan),
                    Cell::new(port.mtu),
                    Cell::new(place(port)),
                    Cell::new(octets(port.rx_bytes)),
                    Cell::new(octets(port.tx_bytes)),
                    Cell::new(port.drops.values().sum::<u64>()),
                ]);
            }
            text += &if any { lines(&table) } else { "  no ports\n".to_owned() };
            text.push('\n');
        }
        if switches.is_empty() {
            text += "No switch yet; vswitchctl add-switch NAME makes one.\n";
        }
        text += &attention(ports, &status.problems);
        text
    }

    /// `show switches`.
    pub(crate) fn switches(self, switches: &[SwitchInfo]) -> String {
        let mut table = self.table(&[
            Text("SWITCH"),
            Number("PORTS"),
            Number("ADDRESSES"),
            Number("LIMIT"),
            Text("AGEING"),
            Text("HUB"),
            Text("GROUP_FWD_MASK"),
            Number("LEARNED"),
            Number("MOVED"),
            Number("EXPIRED"),
            Number("EVICTED"),
            Number("LIMITED"),
            Number("REFUSED"),
        ]);
        for switch in switches {
            table.add_row([
                Cell::new(&switch.name),
                Cell::new(switch.ports.len()),
                Cell::new(switch.fdb_entries),
                Cell::new(switch.config.fdb_size),
                Cell::new(switch.config.ageing_time),
                Cell::new(if switch.config.hub { "on" } else { "off" }),
                Cell::new(format!("{:#06x}", switch.config.group_fwd_mask)),
                Cell::new(switch.fdb_learned),
                Cell::new(switch.fdb_moved),
                Cell::new(switch.fdb_expired),
                Cell::new(switch.fdb_evicted),
                Cell::new(switch.fdb_limited),
                Cell::new(switch.fdb_refused),
            ]);
        }
        lines(&table)
    }

    /// `show ports`.
    pub(crate) fn ports(self, ports: &[PortInfo]) -> String {
        let mut table = self.table(&[
            Text("PORT"),
            Text("SWITCH"),
            Text("KIND"),
            Text("LINK"),
            Text("VLAN"),
            Number("MTU"),
            Number("ADDRESSES"),
            Number("RX_PACKETS"),
            Number("RX_BYTES"),
            Number("TX_PACKETS"),
            Number("TX_BYTES"),
            Number("DROPS"),
            Text("SETTINGS"),
        ]);
        for port in ports {
            table.add_row([
                Cell::new(&port.name),
                Cell::new(port.switch.as_deref().unwrap_or("-")),
                Cell::new(kind_name(port.kind)),
                self.link(port.link),
                Cell::new(&port.vlan),
                Cell::new(port.mtu),
                Cell::new(port.fdb_entries),
                Cell::new(port.rx_packets),
                Cell::new(port.rx_bytes),
                Cell::new(port.tx_packets),
                Cell::new(port.tx_bytes),
                Cell::new(port.drops.values().sum::<u64>()),
                Cell::new(port_settings(port)),
            ]);
        }
        let attention = attention(ports, &[]);
        lines(&table) + if attention.is_empty() { "" } else { "\n" } + &attention
    }

    /// `show fdb`.
    pub(crate) fn fdb(self, entries: &[FdbInfo]) -> String {
        let mut table = self.table(&[Text("SWITCH"), Number("VLAN"), Text("MAC"), Text("PORT"), Text("AGE")]);
        for entry in entries {
            let mut age = match entry {
                FdbInfo { local: true, .. } => "local".to_owned(),
                FdbInfo { is_static: true, .. } => "static".to_owned(),
                _ => milliseconds(entry.age_ms),
            };
            if entry.sticky && !entry.is_static {
                age += " sticky";
            }
            table.add_row([Cell::new(&entry.switch), Cell::new(entry.vlan), Cell::new(entry.mac), Cell::new(&entry.port), Cell::new(age)]);
        }
        lines(&table)
    }

    /// `show vlans`.
    pub(crate) fn vlans(self, vlans: &[VlanInfo]) -> String {
        let mut table = self.table(&[Text("SWITCH"), Number("VLAN"), Text("UNTAGGED"), Text("TAGGED")]);
        for vlan in vlans {
            table.add_row([
                Cell::new(&vlan.switch),
                Cell::new(vlan.vlan),
                Cell::new(dash(vlan.untagged.join(","))),
                Cell::new(dash(vlan.tagged.join(","))),
            ]);
        }
        lines(&table)
    }

    /// `show drops`.
    pub(crate) fn drops(self, drops: &[DropInfo]) -> String {
        if drops.is_empty() {
            return "No frame was dropped.\n".to_owned();
        }
        let mut table = self.table(&[Text("PORT"), Text("SWITCH"), Text("SIDE"), Text("REASON"), Number("COUNT"), Text("MEANING")]);
        for drop in drops {
            table.add_row([
                Cell::new(&drop.port),
                Cell::new(drop.switch.as_deref().unwrap_or("-")),
                Cell::new(&drop.side),
                self.paint(&drop.reason, Some(Color::Yellow)),
                Cell::new(drop.count),
                Cell::new(&drop.description),
            ]);
        }
        lines(&table)
    }

    /// `show workers`.
    pub(crate) fn workers(self, workers: &[WorkerInfo]) -> String {
        let mut table = self.table(&[
            Number("WORKER"),
            Text("CORE"),
            Number("FRAMES"),
            Number("BURSTS"),
            Text("FRAMES/BURST"),
            Number("ON-PATH"),
            Number("TURNS"),
            Number("SLEEPS"),
            Text("AWAKE"),
            Text("PORTS"),
        ]);
        for worker in workers {
            let mean = if worker.bursts == 0 { "-".to_owned() } else { format!("{:.1}", worker.frames as f64 / worker.bursts as f64) };
            table.add_row([
                Cell::new(worker.worker),
                Cell::new(worker.core.map_or("any".to_owned(), |core| core.to_string())),
                Cell::new(worker.frames),
                Cell::new(worker.bursts),
                Cell::new(mean),
                Cell::new(worker.on_path),
                Cell::new(worker.turns),
                Cell::new(worker.sleeps),
                Cell::new(milliseconds(worker.awake_ms)),
                Cell::new(dash(worker.ports.join(","))),
            ]);
        }
        lines(&table)
    }

    /// `status`.
    pub(crate) fn status(self, status: &StatusInfo) -> String {
        let down = if status.ports_down == 0 { String::new() } else { format!(", {} not up", status.ports_down) };
        let rows = [
            ("daemon", format!("vswitchd {}, process {}, up {}", status.version, status.pid, seconds(status.uptime_s))),
            ("switches", status.switches.to_string()),
            ("ports", format!("{}{down}", status.ports)),
            ("routers", status.routers.to_string()),
            ("workers", format!("{}, polling {}", status.workers, text_of(&status.poll))),
            ("changes", format!("{} since it started", status.generation)),
            ("state", status.state_dir.clone()),
            ("memory", octets(status.memory_bytes)),
            ("descriptors", format!("{} of {}", status.open_fds, status.max_fds)),
        ];
        let mut text = String::new();
        for (key, value) in rows {
            text += &format!("{key:<12} {value}\n");
        }
        text + &attention(&[], &status.problems)
    }

    /// One event of `monitor`.
    pub(crate) fn event(self, event: &Event) -> String {
        match event {
            Event::ConfigChanged { generation, changes } => format!("config-changed  {generation}: {}", changes.join("; ")),
            Event::Link { port, link, problem } => {
                let problem = problem.as_ref().map(|problem| format!(" ({problem})")).unwrap_or_default();
                format!("link            {port} {}{problem}", link_name(*link))
            }
            Event::FdbLearned { switch, vlan, mac, port } => format!("fdb-learned     {switch} vlan {vlan} {mac} at {port}"),
            Event::FdbMoved { switch, vlan, mac, port } => format!("fdb-moved       {switch} vlan {vlan} {mac} to {port}"),
            Event::Bond { bond, member, transition, reason } => {
                let member = member.as_ref().map(|member| format!(" {member}:")).unwrap_or_default();
                format!("bond            {bond}{member} {transition} ({reason})")
            }
            Event::Lost { count } => format!("lost            {count} events were left out"),
        }
    }
}

/// The table as text, without spaces at the ends of lines.
pub(crate) fn lines(table: &Table) -> String {
    let mut text = table.trim_fmt();
    text.push('\n');
    text
}

/// Lost links and other problems, one line each.
fn attention(ports: &[PortInfo], problems: &[String]) -> String {
    let ports = ports.iter().filter_map(|port| port.problem.as_ref().map(|problem| format!("port {:?}: {problem}", port.name)));
    // The daemon lists lost ports among its problems, too.
    let mut all: Vec<String> = ports.collect();
    all.extend(problems.iter().filter(|problem| !all.contains(problem)).cloned().collect::<Vec<_>>());
    all.iter().map(|problem| format!("! {problem}\n")).collect()
}

/// Where the interface or socket of a port is.
fn place(port: &PortInfo) -> String {
    if let Some(socket) = &port.config.socket_path {
        return socket.clone();
    }
    match (&port.interface, &port.netns, &port.config.peer) {
        (Some(interface), Some(netns), _) => format!("{interface} in {netns}"),
        (Some(interface), None, _) => interface.clone(),
        (None, _, Some(peer)) => format!("to {peer}"),
        (None, ..) => "-".to_owned(),
    }
}

/// The settings that are not the default, as `key=value`, without those that have a column of their own.
fn port_settings(port: &PortInfo) -> String {
    let shown = ["switch", "kind", "interface", "peer", "netns", "mac", "mtu", "access", "trunk", "native", "native_tagged", "qinq"];
    let default = proto::config::PortConfig::routed();
    let mut settings = key_values(&port.config, &default);
    settings.retain(|(key, _)| !shown.contains(&key.as_str()));
    if let Some(VhostUserInfo { connected, queue_pairs, .. }) = &port.vhost_user {
        settings.push(("connected".to_owned(), connected.to_string()));
        settings.push(("queue_pairs".to_owned(), queue_pairs.to_string()));
    }
    settings.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

pub(crate) fn not_default<T: Serialize>(value: &T, default: &T) -> String {
    key_values(value, default).iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

/// The keys in which `value` differs from `default`.
fn key_values<T: Serialize>(value: &T, default: &T) -> Vec<(String, String)> {
    let object = |value: &T| match serde_json::to_value(value) {
        Ok(Value::Object(map)) => map,
        _ => serde_json::Map::new(),
    };
    let default = object(default);
    object(value)
        .into_iter()
        .filter(|(key, value)| default.get(key) != Some(value))
        .map(|(key, value)| (key, value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect()
}

/// A unit variant as it is in JSON.
fn text_of(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn kind_name(kind: PortKind) -> String {
    text_of(&kind)
}

fn link_name(link: Link) -> String {
    text_of(&link)
}

pub(crate) fn dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}

/// Octets with a binary unit.
pub(crate) fn octets(count: u64) -> String {
    let mut value = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} PiB")
}

pub(crate) fn milliseconds(ms: u64) -> String {
    if ms < 60_000 { format!("{}.{} s", ms / 1000, ms % 1000 / 100) } else { seconds(ms / 1000) }
}

/// The two largest units, such as "3 h 5 min".
fn seconds(s: u64) -> String {
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        3600..86_400 => format!("{} h {} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use proto::config::PortConfig;

    use super::*;

    const PLAIN: Render = Render { colour: false };

    fn port(name: &str) -> PortInfo {
        serde_json::from_value(serde_json::json!({
            "name": name, "switch": "lan", "kind": "tap", "link": "up", "interface": name, "netns": "red", "mtu": 1500,
            "vlan": "access 10", "fdb_entries": 1, "rx_packets": 5, "rx_bytes": 5000, "tx_packets": 6, "tx_bytes": 6000,
            "copies": 0, "rx_errors": 0, "drops": {"same-port": 2, "no-pvid": 1},
            "config": PortConfig { isolated: true, access: Some(10), ..PortConfig::new("lan") },
        }))
        .unwrap()
    }

    fn fdb(age_ms: u64, is_static: bool, local: bool) -> FdbInfo {
        let mac = wire::MacAddr([2, 0, 0, 0, 0, 1]);
        FdbInfo { switch: "lan".into(), vlan: 10, mac, port: "p1".into(), age_ms, is_static, sticky: false, local }
    }

    #[test]
    fn a_table_has_one_line_a_row_and_no_spaces_at_the_ends() {
        let text = PLAIN.fdb(&[fdb(1_340, false, false), fdb(0, true, false), fdb(0, true, true)]);
        assert_eq!(
            text,
            "SWITCH  VLAN  MAC                PORT  AGE\n\
             lan       10  02:00:00:00:00:01  p1    1.3 s\n\
             lan       10  02:00:00:00:00:01  p1    static\n\
             lan       10  02:00:00:00:00:01  p1    local\n"
        );
    }

    #[test]
    fn ports_show_counters_sums_and_settings_that_are_not_default() {
        let text = PLAIN.ports(&[port("p1")]);
        let row = text.lines().nth(1).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(row, ["p1", "lan", "tap", "up", "access", "10", "1500", "1", "5", "5000", "6", "6000", "3", "isolated=true"]);
    }

    #[test]
    fn a_lost_link_is_said_once_with_its_cause() {
        let mut lost = port("p1");
        lost.link = Link::Lost;
        lost.problem = Some("interface p1 was deleted".into());
        let text = PLAIN.ports(&[lost.clone()]);
        assert!(text.contains("lost") && text.ends_with("\n! port \"p1\": interface p1 was deleted\n"), "{text}");
        let both = attention(&[lost], &["port \"p1\": interface p1 was deleted".into(), "disk full".into()]);
        assert_eq!(both, "! port \"p1\": interface p1 was deleted\n! disk full\n");
    }

    #[test]
    fn colour_only_where_asked_for() {
        assert!(!PLAIN.ports(&[port("p1")]).contains('\x1b'));
    }

    #[test]
    fn amounts_read_well() {
        assert_eq!([octets(0), octets(1023), octets(1024), octets(3 << 20)], ["0 B", "1023 B", "1.0 KiB", "3.0 MiB"]);
        assert_eq!([milliseconds(268), milliseconds(61_000), seconds(3_725)], ["0.2 s", "1 min 1 s", "1 h 2 min"]);
        assert_eq!(seconds(90_000), "1 d 1 h");
    }
}
