//! What one guest of a router can use of what all share: tracked connections, lines of the log.

use std::net::UdpSocket;

use crate::lab::{Netns, eventually, lab};
use crate::routers::{curl, gateway, guest, web_server};

/// Datagrams to many ports of a host, each a flow.
fn flood(from: &Netns, to: &str, flows: u16) {
    let socket = from.inside(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    for port in 0..flows {
        // A full queue on the way is no failure of the flood.
        let _ = socket.send_to(b"x", (to, 20_000 + port));
    }
}

/// A guest that opens more connections than its port may have loses its own, and nobody else any.
#[test]
fn one_guest_uses_up_its_quota_and_not_that_of_another() {
    let lab = lab!("ping", "curl");
    let outside = gateway(&lab);
    let (a, b) = (guest(&lab, "a", "192.168.45.10"), guest(&lab, "b", "192.168.45.11"));
    web_server(&outside, "203.0.113.1:80");
    assert!(a.reaches("203.0.113.1") && b.reaches("203.0.113.1"));
    lab.ctl("set-port a --conntrack-limit 50");
    flood(&a, "203.0.113.1", 500);
    // Its own oldest flows make way for its new ones.
    let dropped_early =
        || lab.ctl("conntrack -S").split_whitespace().find_map(|word| word.strip_prefix("early_drop=")?.parse::<u32>().ok());
    eventually("flows beyond the quota make way", || dropped_early().is_some_and(|count| count >= 400));
    let flows = |guest: &str| lab.ctl(&format!("conntrack -L -s {guest}")).lines().count();
    assert_eq!(flows("192.168.45.10"), 50);
    for _ in 0..20 {
        assert_eq!(curl(&b, "http://203.0.113.1/"), "203.0.113.2");
    }
    assert!(flows("192.168.45.11") >= 20);
    // More room for it takes effect at once.
    lab.ctl("set-port a --default conntrack_limit");
    assert_eq!(curl(&a, "http://203.0.113.1/"), "203.0.113.2");
}

/// `LOG` writes a burst and then some lines a second, and says how many it left out.
#[test]
fn a_flood_does_not_fill_the_log() {
    let lab = lab!("ping");
    let _outside = gateway(&lab);
    let a = guest(&lab, "a", "192.168.45.10");
    assert!(a.reaches("203.0.113.1"));
    lab.ctl("iptables gw -A FORWARD -p udp -j LOG --log-prefix flood:");
    let lines = || lab.log().lines().filter(|line| line.contains("flood:")).count();
    let start = std::time::Instant::now();
    let mut sent = 0;
    // Until far more were sent than may be logged in the time it took.
    while sent < 2000 || sent < 4 * (200 + 100 * start.elapsed().as_secs() as usize) {
        flood(&a, "203.0.113.1", 500);
        sent += 500;
    }
    eventually("lines of the burst", || lines() >= 100);
    let most = 200 + 100 * (start.elapsed().as_secs() as usize + 1);
    assert!(lines() <= most, "{} lines of {sent} packets, at most {most}", lines());
    // The next line says how many are missing.
    eventually("a line that counts what was left out", || {
        flood(&a, "203.0.113.1", 1);
        lab.log().lines().any(|line| line.contains("packets were not logged"))
    });
}
