//! Super-packets (TSO) through NAT to receivers that cannot take them: cut to the MSS, with right checksums.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use crate::lab::{Lab, Lines, Netns, capture, eventually, lab};
use crate::routers::{gateway, guest};

/// Octets of the stream.
const STREAM: usize = 2 << 20;

/// IPv6 beside IPv4 at an interface of a namespace.
#[track_caller]
fn with_ipv6(netns: &Netns, interface: &str, address: &str) {
    let on = format!("echo 0 >/proc/sys/net/ipv6/conf/{interface}/disable_ipv6; echo 0 >/proc/sys/net/ipv6/conf/{interface}/accept_dad");
    assert!(netns.command("sh").args(["-c", &on]).status().unwrap().success());
    netns.run(&format!("ip addr add {address}/64 dev {interface} nodad"));
}

/// Sends a stream and returns what came out at the other end.
#[track_caller]
fn stream(from: &Netns, to: &Netns, address: &str) -> Vec<u8> {
    let listener = to.inside(|| TcpListener::bind(address).unwrap());
    let receiver = std::thread::spawn(move || {
        let mut got = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut got).unwrap();
        got
    });
    let mut sender = from.inside(|| TcpStream::connect(address).unwrap());
    let octets: Vec<u8> = (0..STREAM).map(|i| (i % 251) as u8).collect();
    sender.write_all(&octets).unwrap();
    drop(sender);
    let got = receiver.join().unwrap();
    assert!(got == octets, "{} octets came out, or others than were sent", got.len());
    got
}

/// The TCP payload lengths tcpdump prints.
fn lengths(lines: &[String]) -> Vec<usize> {
    let tcp = lines.iter().filter(|line| line.contains("Flags ["));
    tcp.filter_map(|line| line.rsplit("length ").next()?.split([':', ' ']).next()?.parse().ok()).collect()
}

/// That the receiver saw segments of at most an MSS, each with the right checksum.
#[track_caller]
fn segments_are_right(seen: &mut Lines, mtu_rest: usize) {
    let mut lines = Vec::new();
    eventually("most of the stream in the capture", || {
        lines = seen.so_far().to_vec();
        lengths(&lines).iter().sum::<usize>() > STREAM / 2
    });
    let longest = lengths(&lines).into_iter().max().unwrap();
    assert!((1000..=mtu_rest).contains(&longest), "a segment of {longest} octets");
    let sums: Vec<&String> = lines.iter().filter(|line| line.contains("cksum")).collect();
    assert!(sums.len() > 500);
    let wrong: Vec<&&String> = sums.iter().filter(|line| line.contains("incorrect") || line.contains("bad cksum")).collect();
    assert!(wrong.is_empty(), "{} of {} checksums are wrong, such as {}", wrong.len(), sums.len(), wrong[0]);
}

/// A stream of super-packets over both families to a receiver with this interface.
#[track_caller]
fn super_packets(lab: &Lab, receiver: &Netns, interface: &str, [v4, v6]: [&str; 2]) {
    let a = guest(lab, "a", "192.168.45.10");
    with_ipv6(&a, "a", "fd45::10");
    a.run("ip -6 route add default via fd45::2");
    for (address, host, rest) in [(format!("{v4}:5001"), v4, 1460), (format!("[{v6}]:5001"), v6, 1440)] {
        eventually("the way is open", || a.reaches(host));
        let mut sent = capture(&a, "a", "tcp and dst port 5001");
        let mut seen = capture(receiver, interface, "-vv tcp and dst port 5001");
        stream(&a, receiver, &address);
        segments_are_right(&mut seen, rest);
        eventually("super-packets at the sender", || lengths(sent.so_far()).into_iter().any(|length| length > 1460));
    }
    let drops = lab.ctl("show drops");
    assert!(!drops.contains("too-long") && !drops.contains("offload"), "{drops}");
}

#[track_caller]
fn translate(lab: &Lab) {
    lab.ctl("set-interface gw lan --address 192.168.45.2/24 --address fd45::2/64");
    lab.ctl("set-interface gw wan --address 203.0.113.2/24 --address 2001:db8::2/64");
    lab.ctl("ip6tables gw -t nat -A POSTROUTING -s fd45::/64 -o wan -j MASQUERADE");
}

#[test]
fn super_packets_leave_an_interface_without_offloads_in_segments() {
    let lab = lab!("ping", "tcpdump");
    let outside = gateway(&lab);
    with_ipv6(&outside, "eth0", "2001:db8::1");
    translate(&lab);
    lab.ctl("set-port up0 --offload off");
    super_packets(&lab, &outside, "eth0", ["203.0.113.1", "2001:db8::1"]);
}

#[test]
fn super_packets_leave_a_tap_without_offloads_in_segments() {
    let lab = lab!("ping", "tcpdump");
    lab.ctl("add-switch br0");
    lab.ctl("add-switch outside");
    lab.ctl("add-router gw");
    lab.ctl("add-interface gw lan --switch br0 --address 192.168.45.2/24");
    lab.ctl("add-interface gw wan --switch outside --address 203.0.113.2/24");
    lab.ctl("iptables gw -t nat -A POSTROUTING -s 192.168.45.0/24 -o wan -j MASQUERADE");
    translate(&lab);
    let server = lab.host("outside", "server", "203.0.113.1", "--offload off");
    with_ipv6(&server, "server", "2001:db8::1");
    super_packets(&lab, &server, "server", ["203.0.113.1", "2001:db8::1"]);
}
