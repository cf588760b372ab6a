//! What the queues, the thread of the connection and control share of one port.

use std::io;
use std::sync::atomic::{AtomicU8, AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use dataplane::device::{Capabilities, Wake};

use super::LinkState;
use super::ring::Fault;
use super::slot::Slot;
use super::wakeup::Wakeup;

/// No ring to transmit into.
const NO_RING: u16 = u16::MAX;

/// See the module.
pub(super) struct Device {
    /// As the rings are numbered: the receive ring of the VM's first pair, its transmit ring, those of the second pair ...
    slots: Box<[Slot]>,
    /// For each pair.
    wakeups: Box<[Wakeup]>,
    /// For each worker, the number of the ring it transmits into.
    tx_rings: Box<[AtomicU16]>,
    /// What the driver can do, packed.
    capabilities: AtomicU8,
    state: Mutex<LinkState>,
    notify: Arc<dyn Wake>,
}

impl Device {
    pub(super) fn new(pairs: u16, workers: usize, notify: Arc<dyn Wake>) -> io::Result<Device> {
        Ok(Device {
            slots: (0..2 * pairs).map(|_| Slot::new()).collect(),
            wakeups: (0..pairs).map(|_| Wakeup::new()).collect::<io::Result<_>>()?,
            tx_rings: (0..workers).map(|_| AtomicU16::new(NO_RING)).collect(),
            capabilities: AtomicU8::new(0),
            state: Mutex::default(),
            notify,
        })
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The transmit ring of the VM in a pair, from which the switch receives.
    #[inline]
    pub(super) fn rx_slot(&self, pair: usize) -> &Slot {
        &self.slots[2 * pair + 1]
    }

    /// The ring a worker transmits into, if one runs.
    #[inline]
    pub(super) fn tx_slot(&self, worker: usize) -> Option<&Slot> {
        self.slots.get(usize::from(self.tx_rings[worker].load(Ordering::Relaxed)))
    }

    pub(super) fn wakeup(&self, pair: usize) -> &Wakeup {
        &self.wakeups[pair]
    }

    /// What the driver can do.
    pub(super) fn capabilities(&self) -> Capabilities {
        let bits = self.capabilities.load(Ordering::Relaxed);
        let has = |bit: u8| bits & bit != 0;
        Capabilities { checksum: has(1), tso4: has(2), tso6: has(4), uso: has(8), ecn: has(16) }
    }

    pub(super) fn set_capabilities(&self, capabilities: Capabilities) {
        let Capabilities { checksum, tso4, tso6, uso, ecn } = capabilities;
        let bits = [checksum, tso4, tso6, uso, ecn].into_iter().rev().fold(0, |bits, bit| bits << 1 | u8::from(bit));
        self.capabilities.store(bits, Ordering::Relaxed);
    }

    /// A worker found a fault; it has the lock of the slot.
    #[cold]
    pub(super) fn fail(&self, slot: &Slot, fault: Fault) {
        slot.fail(fault);
        self.notify.wake();
    }

    /// Numbers of the rings of one kind that run: 0 for those the VM receives by, 1 for those it transmits by.
    fn running(&self, kind: usize) -> impl Iterator<Item = usize> {
        (kind..self.slots.len()).step_by(2).filter(|ring| self.slots[*ring].runs())
    }

    /// Gives workers the rings that run, and says how the link is now. For the thread of the connection.
    pub(super) fn rings_changed(&self) {
        let rings: Vec<usize> = self.running(0).collect();
        for (worker, ring) in self.tx_rings.iter().enumerate() {
            let of_worker = if rings.is_empty() { NO_RING } else { rings[worker % rings.len()] as u16 };
            ring.store(of_worker, Ordering::Relaxed);
        }
        self.wakeups.iter().for_each(Wakeup::poke);
        self.set_state(|state| {
            state.queue_pairs = rings.len().min(self.running(1).count()) as u16;
            state.carrier = state.queue_pairs > 0;
            if state.carrier {
                state.problem = None;
            }
        });
    }

    fn lock_state(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Changes the state, and tells control if it is another.
    pub(super) fn set_state(&self, change: impl FnOnce(&mut LinkState)) {
        let mut state = self.lock_state();
        let former = state.clone();
        change(&mut state);
        let changed = *state != former;
        drop(state);
        if changed {
            self.notify.wake();
        }
    }

    /// How the link is now.
    pub(super) fn state(&self) -> LinkState {
        let mut state = self.lock_state().clone();
        let fault = self.slots.iter().enumerate().find_map(|(ring, slot)| slot.fault().map(|fault| (ring, fault)));
        if let Some((ring, fault)) = fault {
            state.carrier = false;
            state.problem = Some(format!("ring {ring} is stopped: {} (reset the VM's device)", fault.text()));
        }
        state
    }
}
