//! Long requests and answers: served to those who may have them, and bounded for all together.

mod support;

use std::fmt::Write as _;
use std::io::{BufRead, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use control::server::LONG_REQUESTS_MAX;
use proto::api::{REQUEST_MAX, REQUEST_READER_MAX};
use serde_json::json;
use support::daemon::{Client, Daemon, as_nobody};
use support::eventually;

const ROUTED: &str = "[switch.lan]\n[router.gw.interface.lan]\nswitch = \"lan\"\naddress = [\"10.0.0.254/24\"]\n";

fn address(n: u32) -> String {
    format!("10.{}.{}.{}", n >> 16, (n >> 8) & 255, n & 255)
}

fn rules(count: u32) -> String {
    let mut text = String::from("*filter\n");
    for n in 0..count {
        let _ = writeln!(text, "-A FORWARD -s {}/32 -p tcp -m tcp --dport {} -j ACCEPT", address(n), n % 60_000 + 1);
    }
    text + "COMMIT\n"
}

/// 50,000 rules in one file (20,000 without optimization, which takes as long), and again with one more, of which none is read again.
#[test]
fn tens_of_thousands_of_rules_in_one_file() {
    let count = if cfg!(debug_assertions) { 20_000 } else { 50_000 };
    let daemon = Daemon::start(ROUTED);
    let mut admin = daemon.connect();
    let start = Instant::now();
    admin.call("IptablesRestore", json!({ "router": "gw", "input": rules(count) }));
    let restored = start.elapsed();
    let saved = admin.call("IptablesSave", json!({ "router": "gw" }));
    assert_eq!(saved["text"].as_str().unwrap().lines().filter(|line| line.starts_with("-A FORWARD")).count(), count as usize);
    assert_eq!(admin.call("ListRouters", json!({}))["routers"][0]["rules"], count);
    let start = Instant::now();
    admin.call("Iptables", json!({ "router": "gw", "args": ["-A", "FORWARD", "-j", "DROP"] }));
    let added = start.elapsed();
    assert!(added < restored, "{restored:?}, {added:?}");
}

/// Listings count the references to each chain and set; they do not look at all rules for each of them.
#[test]
fn many_chains_and_sets_are_listed() {
    let daemon = Daemon::start(ROUTED);
    let mut admin = daemon.connect();
    let chains = 4000u32;
    let mut input = String::from("*filter\n");
    (0..chains).for_each(|n| input += &format!(":c{n} - [0:0]\n"));
    (0..chains).for_each(|n| input += &format!("-A FORWARD -s {} -j c{n}\n", address(n)));
    (0..5 * chains)
        .for_each(|n| input += &format!("-A c{} -s {} -m set --match-set s{} src -j ACCEPT\n", n % chains, address(n), n % 1000));
    input += "COMMIT\n";
    let sets: String = (0..1000).map(|n| format!("create s{n} hash:ip\n")).collect();
    admin.call("Ipset", json!({ "router": "gw", "args": ["restore"], "input": sets }));
    let start = Instant::now();
    admin.call("IptablesRestore", json!({ "router": "gw", "input": input }));
    let restored = start.elapsed();
    for (method, args, says) in [
        ("Iptables", vec!["-L", "-n"], "Chain c1234 (1 references)"),
        ("Ipset", vec!["list"], "Name: s999\nType: hash:ip\nHeader: family inet maxelem 65536\nReferences: 20\n"),
    ] {
        let start = Instant::now();
        let reply = admin.call(method, json!({ "router": "gw", "args": args }));
        assert!(reply["text"].as_str().unwrap().contains(says), "{method}");
        assert!(start.elapsed() < restored, "{method}: {:?}, {restored:?}", start.elapsed());
    }
}

#[test]
fn a_hundred_thousand_addresses_in_one_set() {
    let daemon = Daemon::start(ROUTED);
    let mut admin = daemon.connect();
    let mut input = String::from("create many hash:ip maxelem 100000\n");
    (0..100_000).for_each(|n| input += &format!("add many {}\n", address(n)));
    admin.call("Ipset", json!({ "router": "gw", "args": ["restore"], "input": input }));
    let listed = admin.call("Ipset", json!({ "router": "gw", "args": ["list", "many"] }));
    assert!(listed["text"].as_str().unwrap().contains("Number of entries: 100000\n"));
}

/// Sends part of a request; the server takes it, or says why not.
fn part(client: &mut Client, octets: usize) -> bool {
    let block = vec![b'x'; 1 << 20];
    (0..octets >> 20).all(|_| client.0.get_mut().write_all(&block).is_ok())
}

/// Long requests that many clients begin and do not end take bounded memory together, and none after the time for a request.
#[test]
fn long_requests_are_bounded_together() {
    let daemon = Daemon::start(ROUTED);
    let mut holders = Vec::new();
    let each = REQUEST_MAX - (1 << 20);
    for _ in 0..LONG_REQUESTS_MAX / REQUEST_MAX {
        let mut client = daemon.connect();
        assert!(part(&mut client, each));
        holders.push(client);
    }
    let mut late = daemon.connect();
    part(&mut late, each);
    let said = String::from_utf8_lossy(&late.rest()).into_owned();
    assert!(said.contains("io.vswitch.Busy") && said.contains("other clients are sending long requests"), "{said}");
    // Short requests go on, and long ones once the others are over.
    daemon.connect().call("GetStatus", json!({}));
    daemon.pass(Duration::from_secs(31));
    for mut client in holders {
        // Nothing was said to it: it is closed.
        assert!(matches!(client.0.read(&mut [0]), Ok(0) | Err(_)));
    }
    daemon.connect().call("IptablesRestore", json!({ "router": "gw", "input": rules(20_000) }));
}

/// Whoever may only read has nothing long to say.
#[test]
#[allow(clippy::print_stderr, reason = "says what is skipped")]
fn readers_have_short_requests() {
    let daemon = Daemon::start(ROUTED);
    std::fs::set_permissions(daemon.path.parent().unwrap(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let script = format!(
        r#"
import socket
s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect({:?})
try: s.sendall(b"x" * (8 << 20))
except OSError: pass
reply = b""
try:
    while not reply.endswith(b"\0"): reply += s.recv(65536)
except OSError: pass
print(reply[:-1].decode())
"#,
        daemon.path.display().to_string()
    );
    let Some(said) = as_nobody(&script) else {
        eprintln!("SKIP readers_have_short_requests: needs root and python3");
        return;
    };
    assert!(said.contains(&format!("a request longer than {REQUEST_READER_MAX} octets from a client without write access")), "{said}");
}

/// A long answer that nobody takes is given up with its connection.
#[test]
fn a_long_answer_that_is_not_taken_is_given_up() {
    let daemon = Daemon::start(ROUTED);
    let mut admin = daemon.connect();
    admin.call("IptablesRestore", json!({ "router": "gw", "input": rules(30_000) }));
    let (mut slow, mut silent) = (daemon.connect(), daemon.connect());
    for client in [&mut slow, &mut silent] {
        client.send("io.vswitch.IptablesSave", json!({ "router": "gw" }), false).unwrap();
    }
    let mut taken = 0;
    let mut piece = vec![0; 64 << 10];
    for _ in 0..3 {
        // The server has seen that there is room again, and filled it.
        taken += eventually("some of the answer", || slow.0.read(&mut piece).ok());
        for _ in 0..2 {
            admin.call("GetStatus", json!({}));
        }
        daemon.pass(Duration::from_secs(14));
        for _ in 0..2 {
            admin.call("GetStatus", json!({}));
        }
    }
    let mut rest = Vec::new();
    slow.0.read_until(0, &mut rest).unwrap();
    assert_eq!((rest.pop(), rest.len() + taken > 1 << 20), (Some(0), true));
    let rest = silent.rest();
    assert!(rest.len() < 1 << 20 && rest.last() != Some(&0), "{} octets", rest.len());
}
