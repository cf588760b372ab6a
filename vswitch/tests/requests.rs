//! What `vswitchctl` asks for each verb, and what it makes of each kind of answer, against a server that plays a daemon.
//! Needs no privileges.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// Runs `vswitchctl LINE`; every request on its connection is answered with `reply`. Gives the requests and the outcome.
fn run(line: &str, reply: &Value) -> (Vec<Value>, Output) {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let mut message = serde_json::to_vec(reply).unwrap();
    message.push(0);
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut requests, mut request, mut octet) = (Vec::new(), Vec::new(), [0]);
        while stream.read(&mut octet).unwrap_or(0) == 1 {
            if octet[0] != 0 {
                request.push(octet[0]);
                continue;
            }
            requests.push(serde_json::from_slice(&std::mem::take(&mut request)).unwrap());
            stream.write_all(&message).unwrap();
        }
        requests
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_vswitchctl"));
    let output = command.arg("--socket").arg(&socket).args(line.split_whitespace()).stdin(Stdio::null()).output().unwrap();
    // Whoever never connected would leave the server waiting.
    drop(std::os::unix::net::UnixStream::connect(&socket));
    (server.join().unwrap(), output)
}

#[test]
fn verbs_become_requests() {
    let port = |more: Value| {
        let mut config = json!({"switch": "lan", "kind": "tap"});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    };
    let switch = |hub: bool| json!({"ageing_time": "300s", "hub": hub, "fdb_size": 65536, "group_fwd_mask": 0});
    let cases = [
        ("add-switch lan", "AddSwitch", json!({"name": "lan", "config": switch(false), "host_port": false, "may_exist": false})),
        (
            "add-switch lan --hub --host-port --may-exist",
            "AddSwitch",
            json!({"name": "lan", "config": switch(true), "host_port": true, "may_exist": true}),
        ),
        ("set-switch lan --ageing-time 5m --default hub", "SetSwitch", json!({"name": "lan", "set": {"ageing_time": "300s", "hub": null}})),
        ("del-switch lan --if-exists", "DelSwitch", json!({"name": "lan", "if_exists": true})),
        ("add-port lan p --tap --access 10", "AddPort", json!({"name": "p", "config": port(json!({"access": 10})), "may_exist": false})),
        (
            "add-port lan p --nic eth1 --queues 2",
            "AddPort",
            json!({"name": "p", "config": port(json!({"kind": "nic", "interface": "eth1", "queues": 2})), "may_exist": false}),
        ),
        ("set-port p --mtu 9000 --default learn_limit", "SetPort", json!({"name": "p", "set": {"mtu": 9000, "learn_limit": null}})),
        ("del-port p", "DelPort", json!({"name": "p", "if_exists": false})),
        ("del-port lan p --if-exists", "DelPort", json!({"name": "p", "switch": "lan", "if_exists": true})),
        (
            "add-fdb lan 02:00:00:00:00:01 p --vlan 10",
            "AddFdb",
            json!({"switch": "lan", "mac": "02:00:00:00:00:01", "vlan": 10, "port": "p", "may_exist": false}),
        ),
        ("del-fdb lan 02:00:00:00:00:01", "DelFdb", json!({"switch": "lan", "mac": "02:00:00:00:00:01", "vlan": 0, "if_exists": false})),
    ];
    for (line, method, parameters) in cases {
        let (requests, output) = run(line, &json!({"parameters": {"generation": 1, "changes": ["done so"]}}));
        assert_eq!(requests, [json!({"method": format!("io.vswitch.{method}"), "parameters": parameters})], "{line}");
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"done so\n"[..]), "{line}");
    }
}

/// Everything behind the router goes to the daemon as it is, options that other verbs have among it.
#[test]
fn words_of_iptables_are_passed_on() {
    let cases = [
        ("iptables gw -t nat -A POSTROUTING -s 192.168.45.0/24 -o wan -j MASQUERADE", "Iptables", "ipv4"),
        ("iptables gw -h", "Iptables", "ipv4"),
        ("iptables gw --version", "Iptables", "ipv4"),
        ("iptables gw -A FORWARD ! -i wan -m comment --comment -- -j ACCEPT", "Iptables", "ipv4"),
        ("iptables gw", "Iptables", "ipv4"),
        ("ip6tables gw -nvL --line-numbers", "Iptables", "ipv6"),
    ];
    for (line, method, family) in cases {
        let args: Vec<&str> = line.split(' ').skip(2).collect();
        let (requests, output) = run(line, &json!({"parameters": {"text": "printed\n"}}));
        let parameters = json!({"router": "gw", "family": family, "args": args, "json": false});
        assert_eq!(requests, [json!({"method": format!("io.vswitch.{method}"), "parameters": parameters})], "{line}");
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"printed\n"[..]), "{line}");
    }
    let (requests, output) = run("iptables gw -L --json -n", &json!({"parameters": {"text": "", "json": {"a": 1}}}));
    assert_eq!(requests[0]["parameters"], json!({"router": "gw", "family": "ipv4", "args": ["-L", "-n"], "json": true}));
    assert_eq!(output.stdout, b"{\n  \"a\": 1\n}\n");
    let (requests, _) = run("ip6tables-save gw -c -t nat", &json!({"parameters": {"text": ""}}));
    assert_eq!(requests[0]["parameters"], json!({"router": "gw", "family": "ipv6", "args": ["-c", "-t", "nat"]}));
    let (requests, _) = run("iptables-restore gw --noflush", &json!({"parameters": {"text": ""}}));
    assert_eq!(requests[0]["parameters"], json!({"router": "gw", "family": "ipv4", "args": ["--noflush"], "input": ""}));
    let (requests, _) = run("ipset gw -exist add s 1.2.3.4", &json!({"parameters": {"text": ""}}));
    assert_eq!(requests[0]["parameters"], json!({"router": "gw", "args": ["-exist", "add", "s", "1.2.3.4"], "json": false}));
}

#[test]
fn filters_go_to_the_daemon() {
    let (requests, output) = run("show fdb --switch lan --port p --vlan 10 --json", &json!({"parameters": {"entries": []}}));
    assert_eq!(requests, [json!({"method": "io.vswitch.ListFdb", "parameters": {"switch": "lan", "port": "p", "vlan": 10}, "more": true})]);
    assert_eq!(output.stdout, b"[]\n");
    let (requests, _) = run("flush-fdb lan --port p", &json!({"parameters": {"flushed": 2}}));
    assert_eq!(requests, [json!({"method": "io.vswitch.FlushFdb", "parameters": {"switch": "lan", "port": "p"}})]);
}

#[test]
fn refusals_are_1_with_the_daemons_words() {
    for (error, message) in [("Refused", "port \"p\" does not exist"), ("PermissionDenied", "root only"), ("Busy", "too many clients")] {
        let (_, output) = run("del-port p", &json!({"error": format!("io.vswitch.{error}"), "parameters": {"message": message}}));
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(message), "{error}");
        assert!(output.stdout.is_empty());
    }
    // A diagnostic is passed on as it is.
    let diagnostic = "error: no such switch\n --> x.toml:1:1\n";
    let (_, output) = run("del-port p", &json!({"error": "io.vswitch.Refused", "parameters": {"message": diagnostic}}));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with(diagnostic));
}

#[test]
fn answers_that_make_no_sense_are_1() {
    for reply in [json!({}), json!({"parameters": {"switches": 5}}), json!([]), json!({"error": "org.varlink.service.MethodNotFound"})] {
        let (_, output) = run("show switches", &reply);
        assert_eq!(output.status.code(), Some(1), "{reply}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn usage_errors_ask_nothing() {
    for line in ["set-port p", "set-port p --mtu 1 --default mtu", "add-port lan p --nic a --interface b"] {
        let (requests, output) = run(line, &json!({}));
        assert_eq!((requests.len(), output.status.code()), (0, Some(2)), "{line}");
    }
}
