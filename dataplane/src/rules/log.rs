//! What `LOG` tells control of a packet.

use crossbeam::queue::ArrayQueue;

use super::Evaluation;
use super::target::Log;
use crate::clock::Nanos;
use crate::router::{Family, InterfaceId, RouterId};

/// Records of one worker that wait for control at most.
const QUEUE: usize = 256;
/// Records of one worker at once.
const BURST: u64 = 200;
/// Nanoseconds for one record after that: 100 a second.
const INTERVAL: Nanos = 10_000_000;
/// Octets of a packet in a record.
const OCTETS: usize = 160;

/// A packet that a rule logs: the beginning of it, and what the rule says.
#[derive(Clone, Copy, Debug)]
pub struct LogRecord {
    /// The router.
    pub router: RouterId,
    /// Version of IP.
    pub family: Family,
    /// Where the packet came in.
    pub in_interface: Option<InterfaceId>,
    /// Where it leaves.
    pub out_interface: Option<InterfaceId>,
    /// `--log-level`.
    pub level: u8,
    /// `--log-tcp-sequence`.
    pub tcp_sequence: bool,
    /// `--log-tcp-options`.
    pub tcp_options: bool,
    /// `--log-ip-options`.
    pub ip_options: bool,
    /// `--log-macdecode`.
    pub mac_decode: bool,
    /// Mark of the packet.
    pub mark: u32,
    /// The Ethernet header it came with.
    pub ethernet: [u8; wire::ethernet::HEADER_LEN],
    /// Records before this one that were left out, as there were too many.
    pub suppressed: u32,
    prefix: [u8; Log::PREFIX_MAX],
    prefix_len: u8,
    octets: [u8; OCTETS],
    octets_len: u8,
}

impl LogRecord {
    /// A record of a packet, which is cut if it is long, without mark and interfaces.
    pub fn new(router: RouterId, family: Family, log: &Log, ethernet: &[u8; wire::ethernet::HEADER_LEN], packet: &[u8]) -> LogRecord {
        let prefix = &log.prefix.as_bytes()[..log.prefix.len().min(Log::PREFIX_MAX)];
        let packet = &packet[..packet.len().min(OCTETS)];
        let mut record = LogRecord {
            router,
            family,
            in_interface: None,
            out_interface: None,
            level: log.level,
            tcp_sequence: log.tcp_sequence,
            tcp_options: log.tcp_options,
            ip_options: log.ip_options,
            mac_decode: log.mac_decode,
            mark: 0,
            ethernet: *ethernet,
            suppressed: 0,
            prefix: [0; Log::PREFIX_MAX],
            prefix_len: prefix.len() as u8,
            octets: [0; OCTETS],
            octets_len: packet.len() as u8,
        };
        record.prefix[..prefix.len()].copy_from_slice(prefix);
        record.octets[..packet.len()].copy_from_slice(packet);
        record
    }

    /// `--log-prefix`.
    pub fn prefix(&self) -> &str {
        core::str::from_utf8(&self.prefix[..usize::from(self.prefix_len)]).unwrap_or_default()
    }

    /// The first octets of the packet, from its IP header on.
    pub fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.octets_len)]
    }
}

/// The records of one worker on their way to control.
pub struct LogQueue(ArrayQueue<LogRecord>);

impl Default for LogQueue {
    fn default() -> LogQueue {
        LogQueue(ArrayQueue::new(QUEUE))
    }
}

impl LogQueue {
    /// Takes the oldest record.
    pub fn pop(&self) -> Option<LogRecord> {
        self.0.pop()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn push(&self, record: LogRecord) -> bool {
        self.0.push(record).is_ok()
    }
}

/// Bounds the records of one worker, whatever it is sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LogLimit {
    full: Nanos,
    suppressed: u32,
}

impl LogLimit {
    pub(super) fn take(&mut self, now: Nanos) -> bool {
        let full = self.full.max(now) + INTERVAL;
        let fits = full - now <= BURST * INTERVAL;
        match fits {
            true => self.full = full,
            false => self.suppressed = self.suppressed.saturating_add(1),
        }
        fits
    }
}

/// Makes a record of a packet.
#[cold]
pub(super) fn log(log: &Log, evaluation: &mut Evaluation<'_, '_>) {
    if !evaluation.cache.may_log(evaluation.now) {
        return;
    }
    let head = evaluation.frame.head();
    let packet = head.get(usize::from(evaluation.packet.l3)..).unwrap_or_default();
    let packet = &packet[..packet.len().min(evaluation.packet.len as usize)];
    let ethernet = head.first_chunk().expect("a frame with a packet has an Ethernet header");
    let mut record = LogRecord::new(evaluation.router.id(), evaluation.packet.family, log, ethernet, packet);
    record.in_interface = evaluation.in_interface;
    record.out_interface = evaluation.out_interface;
    record.mark = *evaluation.mark;
    record.suppressed = core::mem::take(&mut evaluation.cache.log.suppressed);
    if !evaluation.events.log(record) {
        evaluation.cache.log.suppressed = record.suppressed.saturating_add(1);
    }
}
