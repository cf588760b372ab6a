//! What a gateway does beside routing: the SYN proxy, helpers, the table of connections by command, logging, sets.

use std::net::UdpSocket;

use wire::checksum;

use crate::lab::{Lab, Netns, capture, eventually, lab};
use crate::routers::{curl, gateway, guest, web_server};

/// A SYN from an address that does not answer.
fn syn(to: &str, from: &str, sender: [u8; 4], port: u16) -> Vec<u8> {
    let destination = [203, 0, 113, 2];
    let mut segment =
        [&port.to_be_bytes()[..], &8080u16.to_be_bytes(), &[0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]].concat();
    let sum = checksum::pseudo_ipv4(sender.into(), destination.into(), 6, 20).add(&segment).checksum();
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    let mut packet = [&[0x45, 0, 0, 40, 0, 1, 0x40, 0, 64, 6, 0, 0][..], &sender, &destination, &segment].concat();
    wire::Ipv4Header::new_checked(&mut packet[..]).unwrap().fill_checksum();
    let mac = |text: &str| text.parse::<wire::MacAddr>().unwrap().0;
    let mut frame = [&mac(to)[..], &mac(from), &[8, 0], &packet].concat();
    frame.resize(60, 0);
    frame
}

#[test]
fn a_syn_proxy_answers_for_a_server() {
    let lab = lab!("curl", "tcpdump");
    lab.ctl("add-switch br0");
    lab.ctl("add-switch net");
    lab.ctl("add-port net flood --sim");
    lab.ctl("add-router gw");
    lab.ctl("add-interface gw lan --switch br0 --address 192.168.45.2/24");
    lab.ctl("add-interface gw wan --switch net --address 203.0.113.2/24");
    lab.ctl("add-route gw default --via 203.0.113.1");
    let outside = lab.host("net", "out", "203.0.113.1", "");
    let server = guest(&lab, "a", "192.168.45.10");
    web_server(&server, "192.168.45.10:80");
    lab.ctl("add-forward gw tcp 8080 192.168.45.10:80 --syn-proxy");
    assert_eq!(curl(&outside, "http://203.0.113.2:8080/"), "203.0.113.1", "{}", lab.ctl("show drops"));
    let neighbour = outside.run("ip neigh show 203.0.113.2");
    let router = neighbour.split_whitespace().skip_while(|word| *word != "lladdr").nth(1).unwrap();

    let mut at_server = capture(&server, "a", "tcp dst port 80");
    let mut answers = capture(&outside, "out", "tcp src port 8080 and dst net 198.51.100.0/24");
    let flood = |from: std::ops::Range<u8>| {
        for n in from {
            lab.send("flood", &syn(router, "02:00:00:00:00:99", [198, 51, 100, n], 2000));
        }
    };
    flood(1..20);
    answers.expect("the answer to the last SYN", |line| line.contains("> 198.51.100.19.2000: Flags [S.]"));
    assert_eq!(curl(&outside, "http://203.0.113.2:8080/"), "203.0.113.1");
    at_server.expect("the SYN of curl", |line| line.contains("203.0.113.1.") && line.contains("Flags [S"));
    assert!(!at_server.so_far().iter().any(|line| line.contains("198.51.100.")), "{:?}", at_server.so_far());
    assert!(!lab.ctl("conntrack -L").contains("198.51.100."), "SYNs take no room in the table");

    lab.ctl("del-forward gw tcp 8080");
    lab.ctl("add-forward gw tcp 8080 192.168.45.10:80");
    flood(20..21);
    at_server.expect("without the proxy, the SYN", |line| line.contains("198.51.100.20.2000"));
}

/// Sends each reader the same file, from a port of its own as RFC 1350 has it.
fn tftp_server(netns: &Netns, address: &str, file: &'static [u8]) {
    let [requests, transfers] = netns.inside(|| [69, 0].map(|port| UdpSocket::bind((address, port)).unwrap()));
    std::thread::spawn(move || {
        let mut request = [0; 600];
        while let Ok((len, reader)) = requests.recv_from(&mut request) {
            if len > 2 && request[..2] == [0, 1] {
                let _ = transfers.send_to(&[&[0, 3, 0, 1], file].concat(), reader);
            }
        }
    });
}

/// The server answers from a port that nobody has sent to; behind a firewall the helper knows that it will.
#[test]
fn tftp_works_with_its_helper() {
    let lab = lab!("tftp", "timeout");
    let outside = gateway(&lab);
    let a = guest(&lab, "a", "192.168.45.10");
    tftp_server(&outside, "203.0.113.1", b"over the firewall");
    for rule in [
        "-P FORWARD DROP",
        "-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
        "-A FORWARD -i lan -p udp --dport 69 -j ACCEPT",
    ] {
        lab.ctl(&format!("iptables gw {rule}"));
    }
    let file = lab.path("file");
    let get = |seconds: u32| {
        let _ = a.output(&format!("timeout {seconds} tftp -m binary 203.0.113.1 -c get file {}", file.display()));
        std::fs::read_to_string(&file).unwrap_or_default()
    };
    assert_eq!(get(2), "", "without the helper");
    lab.ctl("iptables gw -t raw -A PREROUTING -p udp --dport 69 -j CT --helper tftp");
    assert_eq!(get(10), "over the firewall", "{}", lab.ctl("show drops"));
}

/// Flows of a protocol as `conntrack -L` prints them.
fn flows(lab: &Lab, protocol: &str) -> Vec<String> {
    lab.ctl(&format!("conntrack -L -p {protocol}")).lines().filter(|line| line.contains("192.168.45.10")).map(str::to_owned).collect()
}

#[test]
fn connections_are_watched_and_ended_by_command() {
    let lab = lab!("curl", "ping");
    let outside = gateway(&lab);
    let a = guest(&lab, "a", "192.168.45.10");
    web_server(&outside, "203.0.113.1:80");
    let mut events = lab.ctl_lines("conntrack -E -p tcp");
    eventually("an event", || {
        curl(&a, "http://203.0.113.1/");
        events.so_far().iter().any(|line| line.contains("[NEW] tcp") && line.contains("SYN_SENT src=192.168.45.10 dst=203.0.113.1"))
    });
    curl(&a, "--local-port 5555 http://203.0.113.1/");
    for (kind, state) in [("[NEW]", "SYN_SENT"), ("[UPDATE]", "SYN_RECV"), ("[UPDATE]", "ESTABLISHED"), ("[UPDATE]", "FIN_WAIT")] {
        events.expect(kind, |line| line.contains(kind) && line.contains(state) && line.contains("sport=5555"));
    }
    let flows_of = |port: &str| flows(&lab, "tcp").into_iter().filter(|line| line.contains(port)).count();
    assert_eq!(flows_of("sport=5555"), 1);
    let deleted = lab.ctl("conntrack -D -p tcp --sport 5555");
    assert!(deleted.lines().count() == 1 && deleted.contains("sport=5555"), "{deleted}");
    events.expect("[DESTROY]", |line| line.contains("[DESTROY]") && line.contains("sport=5555"));
    assert_eq!(flows_of("sport=5555"), 0);
    assert!(!flows(&lab, "tcp").is_empty(), "the others are still there");
    lab.ctl("conntrack -F");
    assert_eq!((flows(&lab, "tcp"), lab.ctl("conntrack -C").trim()), (vec![], "0"));
    assert!(a.reaches("203.0.113.1"), "new flows begin as ever");
}

#[test]
fn the_flows_of_a_deleted_router_go_with_it() {
    let lab = lab!("ping");
    let _outside = gateway(&lab);
    let a = guest(&lab, "a", "192.168.45.10");
    assert!(a.reaches("203.0.113.1"));
    assert!(!flows(&lab, "icmp").is_empty());
    lab.ctl("del-router gw");
    assert_eq!(flows(&lab, "icmp"), Vec::<String>::new());
}

#[test]
fn packets_are_logged_and_matched_with_a_set_that_grows() {
    let lab = lab!("ping");
    let _outside = gateway(&lab);
    let a = guest(&lab, "a", "192.168.45.10");
    lab.ctl("ipset gw create blocked hash:ip");
    lab.ctl("iptables gw -A FORWARD -m set --match-set blocked dst -j LOG --log-prefix blocked:");
    lab.ctl("iptables gw -A FORWARD -m set --match-set blocked dst -j DROP");
    let logged = || std::fs::read_to_string(lab.path("log")).unwrap_or_default();
    assert!(a.reaches("203.0.113.1"));
    assert!(!logged().contains("blocked:"));
    lab.ctl("ipset gw add blocked 203.0.113.1");
    assert!(a.is_cut_off_from("203.0.113.1"));
    eventually("a line in the log", || {
        let log = logged();
        let mut lines = log.lines().filter(|line| line.contains("blocked:IN=lan OUT=wan MAC="));
        lines.any(|line| line.contains("SRC=192.168.45.10 DST=203.0.113.1 ") && line.contains("PROTO=ICMP TYPE=8"))
    });
    lab.ctl("ipset gw del blocked 203.0.113.1");
    assert!(a.reaches("203.0.113.1"));
}
