//! A host that answers, so that a flow through a router is one that both ends have sent in.

use std::ops::Range;
use std::time::Duration;

use anyhow::bail;
use dataplane::{BurstMemory, Frame, PortCounters, RxError, RxQueue, TxReport};
use wire::{ethernet, ip_protocol, ipv4, udp};

use super::endpoint::Endpoint;
use super::frame::DESTINATION_PORT;
use crate::interrupt;

/// Returns one of the frames of the generator that wait at `server` to where it came from, by its addresses and ports, and waits
/// until that is at `client`.
///
/// # Errors
///
/// When one of them does not arrive within `patience`.
pub fn answer(server: &mut Endpoint, client: &mut Endpoint, patience: Duration) -> anyhow::Result<()> {
    let mut memory = BurstMemory::new();
    let Endpoint { rx, tx, .. } = server;
    let counters = PortCounters::default();
    interrupt::wait_for("a frame to answer", patience, || {
        take(rx, &mut memory, |frame| {
            if !is_udp(frame, udp::DESTINATION_PORT) {
                return false;
            }
            turn_round(frame.head_mut());
            tx.transmit(std::slice::from_ref(frame), &[0], &TxReport::new(&counters));
            true
        })
    })?;
    if counters.tx_packets.get() != 1 {
        bail!("{}: the answer could not be sent", server.name);
    }
    interrupt::wait_for("the answer", patience, || take(&mut client.rx, &mut memory, |frame| is_udp(frame, udp::SOURCE_PORT)))
}

/// Takes what waits, until `chosen` says that this frame is the one.
fn take(
    rx: &mut [Box<dyn RxQueue>],
    memory: &mut BurstMemory,
    mut chosen: impl FnMut(&mut Frame<'_>) -> bool,
) -> anyhow::Result<Option<()>> {
    for queue in rx {
        let mut burst = memory.burst();
        let received = queue.receive(&mut burst);
        let found = burst.frames_mut().iter_mut().any(&mut chosen);
        drop(burst);
        queue.release();
        if let Err(error) = received
            && error != RxError::LinkDown
        {
            bail!("receive: {error:?}");
        }
        if found {
            return Ok(Some(()));
        }
    }
    Ok(None)
}

/// Whether it is one of the generator's datagrams without a tag, that has the generator's port there.
fn is_udp(frame: &Frame<'_>, port: Range<usize>) -> bool {
    let head = frame.head();
    let ip = &head[head.len().min(ethernet::HEADER_LEN)..];
    let datagram = &ip[ip.len().min(ipv4::HEADER_LEN_MIN)..];
    head.get(ethernet::ETHER_TYPE) == Some(&ethernet::ETHER_TYPE_IPV4.to_be_bytes()[..])
        && ip.get(ipv4::PROTOCOL) == Some(&ip_protocol::UDP)
        && datagram.get(port) == Some(&DESTINATION_PORT.to_be_bytes()[..])
}

/// Exchanges sender and receiver, which leaves all checksums right.
fn turn_round(head: &mut [u8]) {
    const IP: usize = ethernet::HEADER_LEN;
    const UDP: usize = IP + ipv4::HEADER_LEN_MIN;
    let pairs = [
        (0, ethernet::SOURCE, ethernet::DESTINATION),
        (IP, ipv4::SOURCE, ipv4::DESTINATION),
        (UDP, udp::SOURCE_PORT, udp::DESTINATION_PORT),
    ];
    for (header, one, other) in pairs {
        one.zip(other).for_each(|(one, other)| head.swap(header + one, header + other));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_turned_round_twice_is_as_it_was() {
        let frame: Vec<u8> = (0..60).collect();
        let mut turned = frame.clone();
        turn_round(&mut turned);
        assert_eq!(
            (&turned[..12], &turned[26..38]),
            (&[6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5][..], &[30, 31, 32, 33, 26, 27, 28, 29, 36, 37, 34, 35][..])
        );
        assert_eq!((&turned[12..26], &turned[38..]), (&frame[12..26], &frame[38..]));
        turn_round(&mut turned);
        assert_eq!(turned, frame);
    }
}
