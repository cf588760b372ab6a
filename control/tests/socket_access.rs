//! Who may do what over the socket: everybody reads, and changes need write access, also where one method does both.

mod support;

use std::os::unix::fs::PermissionsExt;

use control::iptables::{command, ipset};
use dataplane::router::Family;
use serde_json::{Value, json};
use support::daemon::{Daemon, as_nobody};

const ROUTED: &str = "\
[switch.lan]
[router.gw.interface.lan]
switch = \"lan\"
address = [\"10.0.0.254/24\"]
[router.gw.iptables.filter.FORWARD]
rules = [\"-s 10.0.0.1/32 -j ACCEPT\"]
[router.gw.iptables.filter.user]
[router.gw.ip6tables.filter.FORWARD]
rules = [\"-s fd00::1/128 -j ACCEPT\"]
[router.gw.ipset.s]
type = \"hash:ip\"
entries = [\"10.0.0.7\"]
";

/// Commands with whether they change something.
const IPTABLES: [(&str, bool); 24] = [
    ("-L", false),
    ("-t nat -L POSTROUTING -n -v -x --line-numbers", false),
    ("-S FORWARD 1", false),
    ("-C FORWARD -s 10.0.0.1 -j ACCEPT", false),
    ("--check FORWARD -s 10.0.0.1 -j ACCEPT", false),
    ("-w 5 -L", false),
    ("-V", false),
    ("-h", false),
    ("-L -Z", true),
    ("-S -Z FORWARD", true),
    ("-Z", true),
    ("-Z FORWARD 1", true),
    ("-A FORWARD -j ACCEPT", true),
    ("-I FORWARD -j ACCEPT", true),
    ("-R FORWARD 1 -j DROP", true),
    ("-D FORWARD 1", true),
    ("-D FORWARD -s 10.0.0.1 -j ACCEPT", true),
    ("-F", true),
    ("-F FORWARD", true),
    ("-N new", true),
    ("-X user", true),
    ("-E user other", true),
    ("-P FORWARD DROP", true),
    ("--append FORWARD -j ACCEPT", true),
];

const IPSET: [(&str, bool); 16] = [
    ("list", false),
    ("-L s", false),
    ("list -n", false),
    ("list -o save", false),
    ("save", false),
    ("-S s", false),
    ("test s 10.0.0.7", false),
    ("-T s 10.0.0.7", false),
    ("create t hash:ip", true),
    ("add s 10.0.0.8", true),
    ("del s 10.0.0.7", true),
    ("flush s", true),
    ("destroy", true),
    ("rename s t", true),
    ("swap s s", true),
    ("restore", true),
];

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn commands_that_change_something_are_told_from_others() {
    for (line, changes) in IPTABLES {
        assert_eq!(command::changes(&words(line), Family::V4), changes, "iptables {line}");
    }
    for (line, changes) in IPSET {
        assert_eq!(ipset::changes(&words(line)), changes, "ipset {line}");
    }
}

/// Each request, sent by a user without rights, with whether it must be allowed.
#[test]
#[allow(clippy::print_stderr, reason = "says what is skipped")]
fn without_write_access_everything_can_be_read_and_nothing_changed() {
    let daemon = Daemon::start(ROUTED);
    std::fs::set_permissions(daemon.path.parent().unwrap(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut requests: Vec<(Value, bool)> = Vec::new();
    let mut ask = |method: &str, parameters: Value, changes: bool| {
        requests.push((json!({ "method": format!("io.vswitch.{method}"), "parameters": parameters }), changes));
    };
    for (line, changes) in IPTABLES {
        ask("Iptables", json!({ "router": "gw", "args": words(line) }), changes);
        let line = line.replace("10.0.0.1", "fd00::1");
        ask("Iptables", json!({ "router": "gw", "family": "ipv6", "args": words(&line) }), changes);
    }
    for (line, changes) in IPSET {
        ask("Ipset", json!({ "router": "gw", "args": words(line), "input": "" }), changes);
    }
    ask("Iptables", json!({ "router": "gw", "args": ["-L"], "json": true }), false);
    ask("IptablesSave", json!({ "router": "gw", "args": ["-c"] }), false);
    ask("IptablesRestore", json!({ "router": "gw", "input": "*filter\nCOMMIT\n" }), true);
    ask("ListFlows", json!({ "quiet": true }), false);
    ask("GetConntrack", json!({}), false);
    ask("ListExpectations", json!({}), false);
    ask("DelFlows", json!({}), true);
    let (texts, changes): (Vec<String>, Vec<bool>) = requests.into_iter().map(|(text, changes)| (text.to_string(), changes)).unzip();
    let script = format!(
        r#"
import json, socket
s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect({:?})
for text in json.loads({:?}):
    s.sendall(text.encode() + b"\0")
    reply = b""
    while not reply.endswith(b"\0"): reply += s.recv(65536)
    print(json.loads(reply[:-1]).get("error", "-"))
"#,
        daemon.path.display().to_string(),
        json!(texts).to_string(),
    );
    let before = daemon.connect().call("Export", json!({}));
    let Some(said) = as_nobody(&script) else {
        eprintln!("SKIP without_write_access: needs root and python3");
        return;
    };
    let said: Vec<&str> = said.lines().collect();
    assert_eq!(said.len(), texts.len());
    for ((text, changes), said) in texts.iter().zip(&changes).zip(said) {
        assert_eq!(said, if *changes { "io.vswitch.PermissionDenied" } else { "-" }, "{text}");
    }
    assert_eq!(daemon.connect().call("Export", json!({})), before);
    // Who may write is asked for nothing more than before.
    let mut admin = daemon.connect();
    admin.call("Iptables", json!({ "router": "gw", "args": ["-F"] }));
    admin.call("Ipset", json!({ "router": "gw", "args": ["add", "s", "10.0.0.8"] }));
}
