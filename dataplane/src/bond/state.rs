//! What control and workers tell each other about a bond while it runs. No side ever waits for the other.
//!
//! The view is kept in two copies and a version; the copy in force is the one whose number is the version's lowest bit.
//! Control writes the other copy and then the version. A worker reads the version, the copy and the version again: if it
//! is the same, the copy was not written meanwhile. If not, a newer view is complete, so reading again needs no waiting.
//! `tests/loom_bond.rs` checks this with the loom model checker. All other values are independent of each other.

use core::sync::atomic::{AtomicU8, AtomicU64 as PlainU64};
use std::sync::{Mutex, PoisonError};

use arrayvec::ArrayVec;
use wire::{MacAddr, VlanId};

use super::{BUCKETS, BondView, MEMBERS_MAX};
use crate::clock::Nanos;
use crate::counters::Counter;
use crate::sync::{AtomicU64, Ordering};

/// In a bucket: no member.
const UNASSIGNED: u8 = u8::MAX;
/// In an encoded view: no active member.
const NO_ACTIVE: u64 = 0xff;
/// Words of an encoded view: one for active member, count and receive mask, then the transmit list, eight slots a word.
const WORDS: usize = 1 + MEMBERS_MAX / 8;
/// In a client: it is one.
const CLIENT: u64 = 1 << 63;

/// What changes of a bond without configuration. Any thread may use any method, but where a method says otherwise.
pub struct BondState {
    version: AtomicU64,
    views: [[AtomicU64; WORDS]; 2],
    publishing: Mutex<()>,
    mac: PlainU64,
    macs: [PlainU64; MEMBERS_MAX],
    last_rx: [PlainU64; MEMBERS_MAX],
    last_tx: [PlainU64; MEMBERS_MAX],
    buckets: [AtomicU8; BUCKETS],
    clients: [PlainU64; BUCKETS],
    workers: Box<[WorkerShare]>,
}

/// What one worker counts; only that worker writes it.
#[repr(align(128))]
struct WorkerShare {
    sequence: Counter,
    buckets: [Counter; BUCKETS],
    unbalanced: Counter,
}

/// A peer whose frames `balance-alb` directs to a member by answering its ARP requests with that member's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The peer's address.
    pub ip: [u8; 4],
    /// The VLAN it is in, as its frames are tagged; 0 for untagged.
    pub vlan: VlanId,
    /// The member.
    pub member: u8,
}

impl BondState {
    /// The state of a bond without usable members, for as many workers as there are.
    pub fn new(workers: usize) -> BondState {
        BondState {
            version: AtomicU64::new(0),
            views: core::array::from_fn(|_| core::array::from_fn(|word| AtomicU64::new(if word == 0 { NO_ACTIVE } else { 0 }))),
            publishing: Mutex::new(()),
            mac: PlainU64::new(0),
            macs: core::array::from_fn(|_| PlainU64::new(0)),
            last_rx: core::array::from_fn(|_| PlainU64::new(0)),
            last_tx: core::array::from_fn(|_| PlainU64::new(0)),
            buckets: core::array::from_fn(|_| AtomicU8::new(UNASSIGNED)),
            clients: core::array::from_fn(|_| PlainU64::new(0)),
            workers: (0..workers.max(1))
                .map(|_| WorkerShare {
                    sequence: Counter::default(),
                    buckets: core::array::from_fn(|_| Counter::default()),
                    unbalanced: Counter::default(),
                })
                .collect(),
        }
    }

    /// Puts a view in force: each worker has it from its next burst on. Slots from [`MEMBERS_MAX`] on are left out.
    pub fn publish(&self, view: &BondView) {
        let _one_at_a_time = self.publishing.lock().unwrap_or_else(PoisonError::into_inner);
        let exists = |slot: &u8| usize::from(*slot) < MEMBERS_MAX;
        let mut words = [0u64; WORDS];
        let mut count = 0;
        for slot in view.tx.iter().filter(|slot| exists(slot)) {
            words[1 + count / 8] |= u64::from(*slot) << (count % 8 * 8);
            count += 1;
        }
        let active = view.active.filter(exists).map_or(NO_ACTIVE, u64::from);
        words[0] = active | (count as u64) << 8 | u64::from(view.rx) << 32;
        let version = self.version.load(Ordering::Relaxed) + 1;
        for (to, word) in self.views[version as usize & 1].iter().zip(words) {
            // A reader that sees this word has also seen the version that was in force before it.
            to.store(word, Ordering::Release);
        }
        self.version.store(version, Ordering::Release);
    }

    /// The view in force.
    #[inline]
    pub fn view(&self) -> BondView {
        let [first, slots @ ..] = self.words();
        let mut octets = [0; MEMBERS_MAX];
        for (to, word) in octets.as_chunks_mut::<8>().0.iter_mut().zip(slots) {
            *to = word.to_le_bytes();
        }
        let mut tx = ArrayVec::from(octets);
        tx.truncate((first >> 8 & 0xff) as usize);
        BondView { active: Some(first as u8).filter(|slot| usize::from(*slot) < MEMBERS_MAX), tx, rx: (first >> 32) as u32 }
    }

    #[inline]
    fn words(&self) -> [u64; WORDS] {
        loop {
            let version = self.version.load(Ordering::Acquire);
            let copy = &self.views[version as usize & 1];
            let words = core::array::from_fn(|i| copy[i].load(Ordering::Acquire));
            if self.version.load(Ordering::Relaxed) == version {
                return words;
            }
        }
    }

    /// The bond's own address: that of the switch's host port behind it, or of the bond. `balance-alb` balances what is
    /// sent to it.
    #[inline]
    pub fn mac(&self) -> MacAddr {
        MacAddr::from_u64(self.mac.load(Ordering::Relaxed))
    }

    /// Sets the bond's own address.
    pub fn set_mac(&self, mac: MacAddr) {
        self.mac.store(mac.to_u64(), Ordering::Relaxed);
    }

    /// The address of a member's device; zero for a slot that does not exist.
    #[inline]
    pub fn member_mac(&self, member: u8) -> MacAddr {
        MacAddr::from_u64(self.macs.get(usize::from(member)).map_or(0, |mac| mac.load(Ordering::Relaxed)))
    }

    /// Sets the address of a member's device (zero when a member leaves): `balance-tlb` and `balance-alb` send with it,
    /// and know by it their own frames when these come back.
    pub fn set_member_mac(&self, member: u8, mac: MacAddr) {
        if let Some(slot) = self.macs.get(usize::from(member)) {
            slot.store(mac.to_u64(), Ordering::Relaxed);
        }
    }

    /// Whether an address is that of a member's device.
    #[inline]
    pub fn is_member_mac(&self, mac: MacAddr) -> bool {
        let mac = mac.to_u64();
        mac != 0 && self.macs.iter().any(|slot| slot.load(Ordering::Relaxed) == mac)
    }

    /// When the last frame arrived at a member; 0 for never.
    pub fn last_rx(&self, member: u8) -> Nanos {
        self.last_rx.get(usize::from(member)).map_or(0, |at| at.load(Ordering::Relaxed))
    }

    /// When the last frame left by a member; 0 for never. Frames that control injects count too.
    pub fn last_tx(&self, member: u8) -> Nanos {
        self.last_tx.get(usize::from(member)).map_or(0, |at| at.load(Ordering::Relaxed))
    }

    /// Notes that frames arrived at a member.
    #[inline]
    pub fn note_rx(&self, member: u8, now: Nanos) {
        if let Some(at) = self.last_rx.get(usize::from(member)) {
            at.store(now, Ordering::Relaxed);
        }
    }

    /// Notes that frames left by a member.
    #[inline]
    pub fn note_tx(&self, member: u8, now: Nanos) {
        if let Some(at) = self.last_tx.get(usize::from(member)) {
            at.store(now, Ordering::Relaxed);
        }
    }

    /// The member a bucket is assigned to.
    #[inline]
    pub fn bucket(&self, bucket: u8) -> Option<u8> {
        Some(self.buckets[usize::from(bucket)].load(Ordering::Relaxed)).filter(|slot| *slot != UNASSIGNED)
    }

    /// Assigns a bucket to a member. Frames of a bucket without member, or whose member may not transmit, leave by the
    /// active one ([`Mode::LoadBalance`](super::Mode::LoadBalance): as `balance-xor`).
    pub fn set_bucket(&self, bucket: u8, member: Option<u8>) {
        self.buckets[usize::from(bucket)].store(member.unwrap_or(UNASSIGNED), Ordering::Relaxed);
    }

    /// Octets that left by a bucket since the bond was made; wraps.
    pub fn bucket_octets(&self, bucket: u8) -> u64 {
        self.workers.iter().map(|worker| worker.buckets[usize::from(bucket)].get()).fold(0, u64::wrapping_add)
    }

    /// Octets that left by the active member because they belong to no bucket (Linux `unbalanced_load`); wraps.
    pub fn unbalanced_octets(&self) -> u64 {
        self.workers.iter().map(|worker| worker.unbalanced.get()).fold(0, u64::wrapping_add)
    }

    /// Counts a frame under its bucket. Only worker number `worker` may call this.
    #[inline]
    pub(crate) fn count_load(&self, worker: usize, bucket: Option<u8>, octets: u32) {
        let Some(share) = self.workers.get(worker) else { return };
        match bucket {
            Some(bucket) => share.buckets[usize::from(bucket)].add(u64::from(octets)),
            None => share.unbalanced.add(u64::from(octets)),
        }
    }

    /// The next number of a worker's sequence, from 1 on (Linux `rr_tx_counter`). Only that worker may call this.
    #[inline]
    pub(crate) fn next_in_sequence(&self, worker: usize) -> u32 {
        let Some(share) = self.workers.get(worker) else { return 0 };
        share.sequence.add(1);
        share.sequence.get() as u32
    }

    /// The number that the next frame of a worker will get, for explanations.
    pub fn peek_sequence(&self, worker: usize) -> u32 {
        self.workers.get(worker).map_or(0, |share| share.sequence.get().wrapping_add(1) as u32)
    }

    /// The bucket of a client: the octets of its address, exclusive-ored (Linux `_simple_hash`).
    #[inline]
    pub fn client_bucket(ip: [u8; 4]) -> u8 {
        ip[0] ^ ip[1] ^ ip[2] ^ ip[3]
    }

    /// The client in a bucket.
    pub fn client(&self, bucket: u8) -> Option<Client> {
        let word = self.clients[usize::from(bucket)].load(Ordering::Relaxed);
        let vlan = VlanId::new((word >> 40 & 0xfff) as u16)?;
        (word & CLIENT != 0).then(|| Client { ip: (word as u32).to_be_bytes(), vlan, member: (word >> 32) as u8 })
    }

    /// Puts a client in its bucket, in place of the one that was there.
    pub fn set_client(&self, client: Client) {
        let word = CLIENT | u64::from(client.vlan.get()) << 40 | u64::from(client.member) << 32 | u64::from(u32::from_be_bytes(client.ip));
        self.clients[usize::from(BondState::client_bucket(client.ip))].store(word, Ordering::Relaxed);
    }

    /// Empties a bucket of clients.
    pub fn clear_client(&self, bucket: u8) {
        self.clients[usize::from(bucket)].store(0, Ordering::Relaxed);
    }

    /// The member whose address a peer is to be answered with.
    #[inline]
    pub fn member_for(&self, ip: [u8; 4], vlan: VlanId) -> Option<u8> {
        self.client(BondState::client_bucket(ip)).filter(|client| client.ip == ip && client.vlan == vlan).map(|client| client.member)
    }
}
