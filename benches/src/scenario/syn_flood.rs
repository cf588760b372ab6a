//! SYNs from ever new tuples, which nobody answers, beside what a scenario measures.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use dataplane::{BURST_MAX, BurstMemory, PortCounters, TxReport};
use netdev::PacketOptions;
use wire::checksum::pseudo_ipv4;
use wire::{Ipv4Header, MacAddr, Offload, ethernet, ip_protocol, ipv4, tcp};

use crate::interrupt;
use crate::lab::Lab;
use crate::system::router;
use crate::topology::CLIENT_IF;

/// SYNs a second.
const RATE: f64 = 50_000.0;
/// The port that has a listener.
const IPERF: u16 = 5201;
const HEADERS: usize = ethernet::HEADER_LEN + ipv4::HEADER_LEN_MIN + tcp::HEADER_LEN_MIN;
/// How long the client may take to find the router.
const FOUND_MAX: Duration = Duration::from_secs(5);

/// Lets the server leave SYNs to all ports but that of `iperf3` unanswered.
///
/// # Errors
///
/// What `iptables` says.
pub(super) fn prepare(lab: &Lab) -> anyhow::Result<()> {
    let rule = format!("-A INPUT -p tcp --syn ! --dport {IPERF} -j DROP");
    lab.server.run("iptables", &rule.split(' ').collect::<Vec<_>>()).map(drop)
}

/// Sends SYNs from the client's namespace until `stop`; gives how many.
///
/// # Errors
///
/// When the client does not know the router's MAC address, and what sending says.
pub(super) fn flood(lab: &Lab, stop: &AtomicBool) -> anyhow::Result<u64> {
    let gateway = interrupt::wait_for("the client knows the router", FOUND_MAX, || {
        let text = lab.client.run("ip", &["neigh", "show", router::ROUTER[0]])?;
        Ok(text.split_whitespace().skip_while(|word| *word != "lladdr").nth(1).and_then(|mac| mac.parse::<MacAddr>().ok()))
    })?;
    let options = PacketOptions {
        interface: CLIENT_IF.into(),
        netns: lab.client.handle(),
        queues: 1,
        offload: false,
        ring_size: 1 << 20,
        qdisc_bypass: true,
    };
    let mut tx = netdev::packet::open(&options, 1)?.tx.pop().context("no transmit queue")?;
    let (mut memory, counters) = (BurstMemory::new(), PortCounters::default());
    let picks: [u8; BURST_MAX] = std::array::from_fn(|i| i as u8);
    let start = Instant::now();
    let mut number = 0u32;
    while !stop.load(Ordering::Relaxed) {
        interrupt::check()?;
        if f64::from(number) > start.elapsed().as_secs_f64() * RATE {
            std::thread::sleep(Duration::from_micros(200));
            continue;
        }
        let frames: [_; BURST_MAX] = std::array::from_fn(|i| syn(gateway, number + i as u32));
        let mut burst = memory.burst();
        frames.iter().for_each(|frame| burst.push_borrowed(frame, Offload::NONE, None));
        tx.transmit(burst.frames(), &picks, &TxReport::new(&counters));
        number += BURST_MAX as u32;
    }
    Ok(counters.tx_packets.get())
}

/// The SYN number `number`, of a tuple that no other has, to a port that nobody listens at.
fn syn(gateway: MacAddr, number: u32) -> [u8; HEADERS] {
    // 200 stations beside the client, 50,000 ports of each, and then the next port of the server.
    let from = Ipv4Addr::new(10, 77, 0, 10 + (number % 200) as u8);
    let (from_port, to_port) = (10_000 + (number / 200 % 50_000) as u16, 1 + (number % 5_000) as u16);
    let to: Ipv4Addr = router::SERVER.parse().unwrap_or(Ipv4Addr::UNSPECIFIED);
    let mut octets = [0; HEADERS];
    octets[ethernet::DESTINATION].copy_from_slice(&gateway.0);
    octets[ethernet::SOURCE].copy_from_slice(&[2, 0, 0, 0, 0xff, 1]);
    octets[ethernet::ETHER_TYPE].copy_from_slice(&ethernet::ETHER_TYPE_IPV4.to_be_bytes());
    let (header, segment) = octets[ethernet::HEADER_LEN..].split_at_mut(ipv4::HEADER_LEN_MIN);
    header[0] = 0x45;
    header[ipv4::TOTAL_LEN].copy_from_slice(&((HEADERS - ethernet::HEADER_LEN) as u16).to_be_bytes());
    header[ipv4::TTL] = 64;
    header[ipv4::PROTOCOL] = ip_protocol::TCP;
    header[ipv4::SOURCE].copy_from_slice(&from.octets());
    header[ipv4::DESTINATION].copy_from_slice(&to.octets());
    if let Ok(mut header) = Ipv4Header::new_checked(header) {
        header.fill_checksum();
    }
    segment[..2].copy_from_slice(&from_port.to_be_bytes());
    segment[2..4].copy_from_slice(&to_port.to_be_bytes());
    segment[4..8].copy_from_slice(&number.to_be_bytes());
    // Data offset: five words. SYN, window 65535.
    segment[12..16].copy_from_slice(&[0x50, 0x02, 0xff, 0xff]);
    let sum = pseudo_ipv4(from, to, ip_protocol::TCP, segment.len() as u16).add(segment).checksum();
    segment[tcp::CHECKSUM].copy_from_slice(&sum.to_be_bytes());
    octets
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_million_syns_have_a_million_tuples() {
        let tuples: BTreeSet<_> = (0..1_000_000).map(|number| syn(MacAddr::ZERO, number)[26..38].to_vec()).collect();
        assert_eq!(tuples.len(), 1_000_000);
    }
}
