//! Routers with real clients: the gateway of the notes the project was started from, port forwarding, traceroute, FTP, IPv6.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;

use crate::lab::{Lab, Netns, Running, eventually, lab};

/// A gateway as a user of a bridge and iptables types it: a switch of guests, and the uplink to a namespace with 203.0.113.1.
/// Returns that namespace.
pub(crate) fn gateway(lab: &Lab) -> Netns {
    let outside = lab.veth("up0", "eth0");
    outside.run("ip addr add 203.0.113.1/24 dev eth0");
    lab.ctl("add-switch br0");
    lab.ctl("add-router gw");
    lab.ctl("add-interface gw lan --switch br0 --address 192.168.45.2/24");
    lab.ctl("add-interface gw wan --nic up0 --address 203.0.113.2/24");
    lab.ctl("add-route gw default --via 203.0.113.1");
    lab.ctl("iptables gw -t nat -A POSTROUTING -s 192.168.45.0/24 -o wan -j MASQUERADE");
    outside
}

/// A guest of the gateway.
pub(crate) fn guest(lab: &Lab, port: &str, address: &str) -> Netns {
    let guest = lab.host("br0", port, address, "");
    guest.run("ip route add default via 192.168.45.2");
    guest
}

/// Answers each HTTP request at a port of a namespace with the address the client has there.
pub(crate) fn web_server(netns: &Netns, at: &str) {
    let listener = netns.inside(|| TcpListener::bind(at).unwrap());
    std::thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let peer = client.peer_addr().map(|peer| peer.ip().to_string()).unwrap_or_default();
                let mut request = [0; 4096];
                let _ = client.read(&mut request);
                let _ = write!(client, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{peer}", peer.len());
            });
        }
    });
}

/// What curl gets.
pub(crate) fn curl(netns: &Netns, line: &str) -> String {
    netns.run(&format!("curl -sS --max-time 10 {line}"))
}

#[test]
fn guests_behind_a_gateway_reach_the_world_with_its_address() {
    let lab = lab!("ping", "curl");
    let outside = gateway(&lab);
    let (a, b) = (guest(&lab, "a", "192.168.45.10"), guest(&lab, "b", "192.168.45.11"));
    assert!(a.reaches("192.168.45.2") && b.reaches("203.0.113.1"));
    web_server(&outside, "203.0.113.1:80");
    assert_eq!(curl(&a, "http://203.0.113.1/"), "203.0.113.2", "the server sees the gateway");
    assert!(outside.is_cut_off_from("192.168.45.10"), "the world has no route to the guests");
    let listed = lab.ctl("conntrack -L -p tcp");
    let flow = listed.lines().find(|line| line.contains("dport=80")).unwrap();
    let parts = ["src=192.168.45.10 dst=203.0.113.1 sport=", "src=203.0.113.1 dst=203.0.113.2 sport=80 dport=", "[ASSURED]"];
    assert!(flow.starts_with("tcp      6 ") && parts.iter().all(|part| flow.contains(part)), "{flow}");
    let rules = lab.ctl("iptables gw -t nat -L POSTROUTING -n -v -x");
    let counted = rules.lines().find(|line| line.contains("MASQUERADE")).unwrap();
    assert!(counted.split_whitespace().next().unwrap().parse::<u64>().unwrap() >= 2, "{rules}");
    let drops = lab.ctl("show drops");
    assert!(!drops.contains("nat-") && !drops.contains("rule-"), "{drops}");
}

/// Row N26: the identifier of an echo request plays the role of the port.
#[test]
fn two_guests_ping_with_the_same_identifier() {
    let lab = lab!("ping");
    let _outside = gateway(&lab);
    let guests = [guest(&lab, "a", "192.168.45.10"), guest(&lab, "b", "192.168.45.11")];
    let pings: Vec<_> = guests
        .iter()
        .map(|guest| {
            let mut ping = guest.command("ping");
            ping.args("-n -c 5 -i 0.2 -W 2 -e 77 203.0.113.1".split(' ')).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for ping in pings {
        let output = ping.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("5 received"), "{text}");
    }
    let listed = lab.ctl("conntrack -L -p icmp");
    let identifiers: Vec<&str> = listed
        .lines()
        .filter(|line| line.contains("dst=203.0.113.1 "))
        .filter_map(|line| line.rsplit("id=").next()?.split(' ').next())
        .collect();
    assert!(identifiers.len() == 2 && identifiers[0] != identifiers[1], "{listed}");
    assert_eq!(listed.matches("type=8 code=0 id=77 ").count(), 2, "{listed}");
}

#[test]
fn traceroute_through_the_gateway_shows_every_hop() {
    let lab = lab!("traceroute", "ip");
    let outside = gateway(&lab);
    let server = lab.netns();
    outside.run(&format!("ip link add far type veth peer name eth0 netns {}", server.name()));
    outside.run("ip addr add 198.51.100.254/24 dev far");
    outside.run("ip link set dev far up");
    let forward = outside.command("sh").args(["-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"]).status().unwrap();
    assert!(forward.success());
    server.run("ip addr add 198.51.100.1/24 dev eth0");
    server.run("ip link set dev eth0 up");
    server.run("ip route add default via 198.51.100.254");
    let a = guest(&lab, "a", "192.168.45.10");
    for kind in ["-I", "-U -p 33434", "-T -p 80"] {
        let trace = a.run(&format!("traceroute -n -q 1 -w 3 -m 5 {kind} 198.51.100.1"));
        let hops: Vec<&str> = trace.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert_eq!(hops, ["192.168.45.2", "203.0.113.1", "198.51.100.1"], "{kind}: {trace}");
    }
}

#[test]
fn a_forwarded_port_is_reached_from_outside_from_beside_and_from_the_server_itself() {
    let lab = lab!("curl");
    let outside = gateway(&lab);
    let (server, client) = (guest(&lab, "a", "192.168.45.10"), guest(&lab, "b", "192.168.45.11"));
    web_server(&server, "192.168.45.10:80");
    lab.ctl("add-forward gw tcp 8080 192.168.45.10:80");
    assert_eq!(curl(&outside, "http://203.0.113.2:8080/"), "203.0.113.1", "the address of the client is not lost");
    for inside in [&client, &server] {
        assert_eq!(curl(inside, "http://203.0.113.2:8080/"), "203.0.113.2", "the server answers through the gateway");
    }
    lab.ctl("del-forward gw tcp 8080");
    assert!(!outside.succeeds("curl -sS --max-time 5 http://203.0.113.2:8080/"));
}

/// FTP with connections in both directions, through a firewall that lets through nothing but what was announced.
#[test]
fn ftp_works_actively_and_passively() {
    let lab = lab!("vsftpd", "curl");
    let outside = gateway(&lab);
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("file"), "through the gateway").unwrap();
    let config = lab.path("vsftpd.conf");
    let empty = lab.path("empty");
    std::fs::create_dir(&empty).unwrap();
    let text = format!(
        "listen=YES\nlisten_address=203.0.113.1\nbackground=NO\nanonymous_enable=YES\nlocal_enable=NO\nanon_root={}\n\
         secure_chroot_dir={}\nseccomp_sandbox=NO\nisolate=NO\nisolate_network=NO\nconnect_from_port_20=YES\nno_anon_password=YES\nrun_as_launching_user=NO\n",
        files.path().display(),
        empty.display()
    );
    std::fs::write(&config, text).unwrap();
    std::fs::set_permissions(files.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(lab.path("."), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let _server = Running::start(outside.command("vsftpd").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()));
    let a = guest(&lab, "a", "192.168.45.10");
    for rule in [
        "-P FORWARD DROP",
        "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        "-A FORWARD -i lan -p tcp --dport 21 -j ACCEPT",
    ] {
        lab.ctl(&format!("iptables gw {rule}"));
    }
    let get = |how: &str| a.output(&format!("curl -sS --max-time 8 {how} ftp://203.0.113.1/file"));
    eventually("vsftpd listens", || {
        a.succeeds("curl -sS --max-time 2 --ftp-pasv -l ftp://203.0.113.1/ --head") || !get("--ftp-pasv").stderr.is_empty()
    });
    assert!(!get("--ftp-pasv --disable-epsv").status.success(), "without a helper the announced connection is dropped");
    lab.ctl("iptables gw -t raw -A PREROUTING -p tcp --dport 21 -j CT --helper ftp");
    for how in ["--ftp-pasv --disable-epsv", "--ftp-pasv", "--ftp-port - --disable-eprt", "--ftp-port -"] {
        let got = get(how);
        let text = String::from_utf8_lossy(&got.stdout).into_owned();
        assert_eq!(text, "through the gateway", "{how}: {} {}", String::from_utf8_lossy(&got.stderr), lab.ctl("show drops"));
    }
}

#[test]
fn ipv6_is_routed_filtered_and_translated_alike() {
    let lab = lab!("ping", "curl");
    let outside = gateway(&lab);
    let a = guest(&lab, "a", "192.168.45.10");
    for (netns, interface) in [(&outside, "eth0"), (&a, "a")] {
        let on =
            format!("echo 0 >/proc/sys/net/ipv6/conf/{interface}/disable_ipv6; echo 0 >/proc/sys/net/ipv6/conf/{interface}/accept_dad");
        assert!(netns.command("sh").args(["-c", &on]).status().unwrap().success());
    }
    lab.ctl("set-interface gw lan --address 192.168.45.2/24 --address fd45::2/64");
    lab.ctl("set-interface gw wan --address 203.0.113.2/24 --address 2001:db8::2/64");
    lab.ctl("add-route gw ::/0 --via 2001:db8::1");
    outside.run("ip addr add 2001:db8::1/64 dev eth0 nodad");
    a.run("ip addr add fd45::10/64 dev a nodad");
    a.run("ip -6 route add default via fd45::2");
    assert!(a.reaches("fd45::2"));
    assert!(!a.reaches("2001:db8::1"), "the world has no route back");
    lab.ctl("ip6tables gw -t nat -A POSTROUTING -s fd45::/64 -o wan -j MASQUERADE");
    assert!(a.reaches("2001:db8::1"), "{}", lab.ctl("show drops"));
    web_server(&outside, "[2001:db8::1]:80");
    assert_eq!(curl(&a, "http://[2001:db8::1]/"), "2001:db8::2");
    lab.ctl("ip6tables gw -A FORWARD -p tcp --dport 80 -j REJECT --reject-with tcp-reset");
    let refused = a.output("curl -sS --max-time 5 http://[2001:db8::1]/");
    assert_eq!(refused.status.code(), Some(7), "refused at once: {}", String::from_utf8_lossy(&refused.stderr));
}

/// Row N25, the figure of two private networks: a guest behind gateway A reaches a server behind gateway B, and each gateway's
/// table has the row that the figure prints.
#[test]
fn two_gateways_in_a_row_translate_as_in_the_figure() {
    let lab = lab!("curl");
    lab.ctl("add-switch left");
    lab.ctl("add-switch internet");
    lab.ctl("add-switch right");
    lab.ctl("add-router a");
    lab.ctl("add-interface a lan --switch left --address 192.168.1.1/24");
    lab.ctl("add-interface a wan --switch internet --address 100.100.100.1/8");
    lab.ctl("add-router b");
    lab.ctl("add-interface b wan --switch internet --address 200.200.200.1/8");
    lab.ctl("add-interface b lan --switch right --address 192.168.2.1/24");
    lab.ctl("add-route a 200.0.0.0/8 --dev wan");
    lab.ctl("add-route b 100.0.0.0/8 --dev wan");
    lab.ctl("iptables a -t nat -A POSTROUTING -o wan -j SNAT --to-source 100.100.100.1");
    lab.ctl("iptables b -t nat -A PREROUTING -d 200.200.200.1 -p tcp --dport 443 -j DNAT --to-destination 192.168.2.2:443");
    let guest = lab.host("left", "a", "192.168.1.2", "");
    guest.run("ip route add default via 192.168.1.1");
    let server = lab.host("right", "b", "192.168.2.2", "");
    server.run("ip route add default via 192.168.2.1");
    web_server(&server, "192.168.2.2:443");
    assert_eq!(curl(&guest, "--local-port 56303 http://200.200.200.1:443/"), "100.100.100.1");
    let rows = [
        ("a", "src=192.168.1.2 dst=200.200.200.1 sport=56303 dport=443 src=200.200.200.1 dst=100.100.100.1 sport=443 dport=56303"),
        ("b", "src=100.100.100.1 dst=200.200.200.1 sport=56303 dport=443 src=192.168.2.2 dst=100.100.100.1 sport=443 dport=56303"),
    ];
    for (router, row) in rows {
        let listed = lab.ctl(&format!("conntrack {router} -L"));
        assert!(listed.contains(row), "router {router}:\n{listed}");
    }
}

/// A change of rules is one transaction: connections go on, and a set that is refused changes nothing.
#[test]
fn connections_survive_a_change_of_rules() {
    let lab = lab!("nc", "curl");
    let outside = gateway(&lab);
    let a = guest(&lab, "a", "192.168.45.10");
    web_server(&outside, "203.0.113.1:80");
    let listener = outside.inside(|| TcpListener::bind("203.0.113.1:7").unwrap());
    let mut client = a.command("nc").args(["203.0.113.1", "7"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    let mut say = |word: &[u8]| {
        client.stdin.as_mut().unwrap().write_all(word).unwrap();
        let mut heard = vec![0; word.len()];
        peer.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        peer.read_exact(&mut heard).unwrap();
        assert_eq!(heard, word);
    };
    say(b"before");
    let mut restore = lab.path("rules");
    std::fs::write(&restore, "*filter\n:FORWARD DROP [0:0]\n-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\nCOMMIT\n")
        .unwrap();
    lab.ctl(&format!("iptables-restore gw {}", restore.display()));
    say(b"after");
    assert!(!a.succeeds("curl -sS --max-time 3 http://203.0.113.1/"), "new connections are dropped");
    restore = lab.path("wrong");
    std::fs::write(&restore, "*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -m recent --update -j ACCEPT\nCOMMIT\n").unwrap();
    let complaint = lab.refused(&format!("iptables-restore gw {}", restore.display()));
    assert!(complaint.contains("line 3") && complaint.contains("recent"), "{complaint}");
    assert!(lab.ctl("iptables gw -S FORWARD").starts_with("-P FORWARD DROP"), "nothing was changed");
    say(b"still");
    client.kill().unwrap();
    client.wait().unwrap();
}
