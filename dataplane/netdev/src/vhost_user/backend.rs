//! The state of one connection: what the frontend said so far, and the rings that follow from it.
//!
//! A ring runs while it has an address, a size, memory and a kick, and is enabled. Each message that changes one of these
//! stops the ring or makes it anew ([`Slot::replace`](super::slot::Slot::replace) waits for the worker), before the message
//! is answered: when the frontend goes on, no worker uses what it took away. A ring that is started but not enabled is not
//! looked at; the specification lets a device discard its frames, which nobody would notice.
//!
//! The frontend is not trusted. Whatever it says is checked here or in [`memory`](super::memory) and [`ring`](super::ring);
//! the first thing that is wrong ends the connection with its reason.

use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight, VhostUserLog, VhostUserMemoryRegion,
    VhostUserProtocolFeatures, VhostUserShMemConfig, VhostUserSharedMsg, VhostUserSingleMemoryRegion, VhostUserVringAddrFlags,
    VhostUserVringState,
};
use vhost::vhost_user::{Error, GpuBackend, Result, VhostUserBackendReqHandlerMut};

use super::device::Device;
use super::features::{self, EVENT_IDX, INDIRECT_DESC, MRG_RXBUF, OFFERED, PROTOCOL_FEATURES};
use super::memory::{MemTable, REGIONS_MAX, Region, RegionAddress};
use super::ring::{Direction, Ring, RingAddress, RingFeatures};

/// What the frontend said of a ring.
#[derive(Default)]
struct Vring {
    size: u16,
    address: Option<RingAddress>,
    /// The next available chain.
    base: u16,
    /// A kick descriptor was given, or that there is none.
    started: bool,
    /// There is a kick descriptor.
    has_kick: bool,
    enabled: bool,
    call: Option<Arc<File>>,
}

/// See the module.
pub(super) struct Backend {
    device: Arc<Device>,
    features: u64,
    memory: Option<Arc<MemTable>>,
    vrings: Vec<Vring>,
    /// What the frontend did wrong.
    problem: Option<String>,
}

impl Backend {
    /// The state of a new connection; no ring runs.
    pub(super) fn new(device: Arc<Device>) -> Backend {
        let vrings = device.slots().iter().map(|_| Vring::default()).collect();
        Backend { device, features: 0, memory: None, vrings, problem: None }
    }

    /// What the frontend did wrong, if the connection ended for that.
    pub(super) fn take_problem(&mut self) -> Option<String> {
        self.problem.take()
    }

    /// Ends the connection for what the frontend did wrong.
    fn refuse<T>(&mut self, problem: impl Into<String>) -> Result<T> {
        self.problem = Some(problem.into());
        Err(Error::InvalidParam)
    }

    fn index(&mut self, index: u32) -> Result<usize> {
        let rings = self.vrings.len();
        match usize::try_from(index).ok().filter(|index| *index < rings) {
            Some(index) => Ok(index),
            None => self.refuse(format!("the frontend uses ring {index}, but the port has {rings} rings (raise queues)")),
        }
    }

    /// Stops a ring; what it would take next is where it goes on.
    fn stop(&mut self, index: usize) {
        if let Some(ring) = self.device.slots()[index].replace(None) {
            self.vrings[index].base = ring.next_available();
        }
    }

    /// Makes a ring run if it should.
    fn start(&mut self, index: usize) -> Result<()> {
        self.stop(index);
        let vring = &self.vrings[index];
        let (Some(memory), Some(address)) = (&self.memory, vring.address) else { return Ok(()) };
        if !vring.started || !vring.enabled || vring.size == 0 {
            return Ok(());
        }
        let direction = if index.is_multiple_of(2) { Direction::ToGuest } else { Direction::FromGuest };
        let has = |bit| self.features & bit != 0;
        let features = RingFeatures {
            event_idx: has(EVENT_IDX),
            indirect: has(INDIRECT_DESC),
            mergeable: has(MRG_RXBUF),
            header_len: features::header_len(self.features),
            capabilities: features::capabilities(self.features),
        };
        match Ring::new(memory.clone(), direction, vring.size, address, features, vring.base) {
            Ok(mut ring) => {
                ring.can_wake = vring.has_kick;
                ring.call = vring.call.clone();
                self.device.slots()[index].replace(Some(ring));
                Ok(())
            }
            Err(problem) => self.refuse(format!("ring {index}: {problem}")),
        }
    }

    /// Starts or stops rings after a change of what they depend on.
    fn restart(&mut self, indices: impl Iterator<Item = usize>) -> Result<()> {
        let mut result = Ok(());
        for index in indices {
            result = result.and(self.start(index));
        }
        self.device.rings_changed();
        result
    }

    fn restart_all(&mut self) -> Result<()> {
        self.restart(0..self.vrings.len())
    }

    fn set_memory(&mut self, regions: io::Result<Vec<Arc<Region>>>) -> Result<()> {
        match regions.and_then(MemTable::new) {
            Ok(memory) => {
                self.memory = Some(Arc::new(memory));
                // The last ring lets go of the former memory here, which unmaps what is no longer in the table.
                self.restart_all()
            }
            Err(error) => self.refuse(format!("memory of the VM: {error}")),
        }
    }

    /// Stops everything and forgets what was negotiated.
    pub(super) fn reset(&mut self) {
        for index in 0..self.vrings.len() {
            self.stop(index);
            self.vrings[index] = Vring::default();
        }
        for pair in 0..self.vrings.len() / 2 {
            // It fails for none.
            let _ = self.device.wakeup(pair).set_kick(None);
        }
        self.memory = None;
        self.features = 0;
        self.device.rings_changed();
        self.device.set_state(|state| state.features = 0);
    }
}

/// Makes sure that signalling the VM cannot block a worker: an eventfd that was made non-blocking. (A frontend could make it
/// blocking again and fill its counter, and so stop the worker; it cannot be kept from that, as it has the same open file.)
fn check_call(call: &File) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let kind = std::fs::read_link(format!("/proc/self/fd/{}", call.as_raw_fd()))?;
    if !kind.to_string_lossy().starts_with("anon_inode:[eventfd") {
        return Err(io::Error::other(format!("{} is no eventfd", kind.display())));
    }
    Ok(fcntl_setfl(call, fcntl_getfl(call)? | OFlags::NONBLOCK)?)
}

/// Where a region is; the same in both messages that have one.
fn address_of(region: &VhostUserMemoryRegion) -> (RegionAddress, u64) {
    let VhostUserMemoryRegion { guest_phys_addr, memory_size, user_addr, mmap_offset } = *region;
    (RegionAddress { guest: guest_phys_addr, len: memory_size, user: user_addr }, mmap_offset)
}

impl VhostUserBackendReqHandlerMut for Backend {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        self.reset();
        Ok(())
    }

    fn reset_device(&mut self) -> Result<()> {
        self.reset();
        Ok(())
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(OFFERED)
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        if features & !OFFERED != 0 {
            return self.refuse(format!("the frontend wants features {:#x}, which were not offered", features & !OFFERED));
        }
        self.features = features;
        if features & PROTOCOL_FEATURES == 0 {
            // Then there is no message to enable rings with.
            self.vrings.iter_mut().for_each(|vring| vring.enabled = true);
        }
        self.device.set_capabilities(features::capabilities(features));
        self.device.set_state(|state| state.features = features);
        self.restart_all()
    }

    fn set_mem_table(&mut self, regions: &[VhostUserMemoryRegion], files: Vec<File>, _: Option<bool>) -> Result<Option<Vec<u64>>> {
        let mapped = regions.iter().zip(&files).map(|(region, file)| {
            let (address, offset) = address_of(region);
            Region::map(address, file, offset).map(Arc::new)
        });
        let mapped = mapped.collect();
        self.set_memory(mapped).map(|()| None)
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        Ok(REGIONS_MAX as u64)
    }

    fn add_mem_region(&mut self, region: &VhostUserSingleMemoryRegion, file: File, _: Option<bool>) -> Result<Option<u64>> {
        let (address, offset) = address_of(region);
        let present = self.memory.as_ref().map_or(&[][..], |memory| memory.regions());
        let regions = if present.len() == REGIONS_MAX {
            Err(io::Error::other(format!("more than {REGIONS_MAX} memory regions")))
        } else {
            Region::map(address, &file, offset).map(|region| present.iter().cloned().chain([Arc::new(region)]).collect())
        };
        self.set_memory(regions).map(|()| None)
    }

    fn remove_mem_region(&mut self, region: &VhostUserSingleMemoryRegion) -> Result<()> {
        let (address, _) = address_of(region);
        let present = self.memory.as_ref().map_or(&[][..], |memory| memory.regions());
        let left: Vec<_> = present.iter().filter(|present| present.address() != address).cloned().collect();
        if left.len() == present.len() {
            return self.refuse(format!("the frontend removes the memory region {address:x?}, which there is not"));
        }
        self.set_memory(Ok(left))
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        let index = self.index(index)?;
        match u16::try_from(num) {
            Ok(size) if size.is_power_of_two() => self.vrings[index].size = size,
            _ => return self.refuse(format!("ring {index}: a size of {num}, which is no power of 2 up to 32768")),
        }
        self.restart([index].into_iter())
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        _flags: VhostUserVringAddrFlags,
        descriptors: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Result<()> {
        let index = self.index(index)?;
        self.vrings[index].address = Some(RingAddress { descriptors, available, used });
        self.restart([index].into_iter())
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        let index = self.index(index)?;
        self.stop(index);
        // The upper half is that of packed rings.
        self.vrings[index].base = base as u16;
        self.restart([index].into_iter())
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        let ring = self.index(index)?;
        self.vrings[ring].started = false;
        self.restart([ring].into_iter())?;
        if ring % 2 == 1 {
            // It fails for none.
            let _ = self.device.wakeup(ring / 2).set_kick(None);
        }
        Ok(VhostUserVringState::new(index, self.vrings[ring].base.into()))
    }

    fn set_vring_kick(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        let index = self.index(index.into())?;
        self.vrings[index].started = true;
        self.vrings[index].has_kick = fd.is_some();
        // Only a ring that frames come from has anything to tell.
        if index % 2 == 1
            && let Err(error) = self.device.wakeup(index / 2).set_kick(fd)
        {
            return self.refuse(format!("ring {index}: watch the kick descriptor: {error}"));
        }
        self.restart([index].into_iter())
    }

    fn set_vring_call(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        let index = self.index(index.into())?;
        if let Some(Err(error)) = fd.as_ref().map(check_call) {
            return self.refuse(format!("ring {index}: the call descriptor: {error}"));
        }
        let call = fd.map(Arc::new);
        self.vrings[index].call = call.clone();
        // QEMU changes it whenever the guest masks the interrupt: the ring goes on.
        self.device.slots()[index].change(|ring| {
            ring.call = call;
            ring.forget_signalled();
        });
        Ok(())
    }

    fn set_vring_err(&mut self, index: u8, _: Option<File>) -> Result<()> {
        // A ring that fails ends the link, which its administrator sees.
        self.index(index.into()).map(drop)
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        use VhostUserProtocolFeatures as Features;
        Ok(Features::MQ | Features::CONFIG | Features::CONFIGURE_MEM_SLOTS | Features::RESET_DEVICE)
    }

    fn set_protocol_features(&mut self, _: u64) -> Result<()> {
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        // QEMU takes it for pairs of rings, others for rings. Whoever then uses one too many is told so.
        Ok(self.vrings.len() as u64)
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        let index = self.index(index)?;
        self.vrings[index].enabled = enable;
        self.restart([index].into_iter())
    }

    fn get_config(&mut self, offset: u32, size: u32, _: VhostUserConfigFlags) -> Result<Vec<u8>> {
        // struct virtio_net_config: mac, status (VIRTIO_NET_S_LINK_UP), max_virtqueue_pairs, then what was not offered.
        let mut config = [0u8; 32];
        config[6] = 1;
        config[8..10].copy_from_slice(&((self.vrings.len() / 2) as u16).to_le_bytes());
        let part = offset.checked_add(size).and_then(|end| config.get(offset as usize..end as usize));
        part.map(<[u8]>::to_vec).ok_or(Error::InvalidParam)
    }

    fn set_config(&mut self, _: u32, _: &[u8], _: VhostUserConfigFlags) -> Result<()> {
        // Nothing in it may be written by a driver of VIRTIO_F_VERSION_1 (clause 5.1.4).
        Ok(())
    }

    fn set_gpu_socket(&mut self, _: GpuBackend) -> Result<()> {
        self.refuse("the frontend takes the port for a GPU")
    }

    fn get_shared_object(&mut self, _: VhostUserSharedMsg) -> Result<File> {
        self.refuse("shared objects are not offered")
    }

    fn get_inflight_fd(&mut self, _: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        self.refuse("inflight I/O tracking is not offered")
    }

    fn set_inflight_fd(&mut self, _: &VhostUserInflight, _: File) -> Result<()> {
        self.refuse("inflight I/O tracking is not offered")
    }

    fn set_device_state_fd(&mut self, _: VhostTransferStateDirection, _: VhostTransferStatePhase, _: File) -> Result<Option<File>> {
        self.refuse("transfer of the device state is not offered")
    }

    fn check_device_state(&mut self) -> Result<()> {
        self.refuse("transfer of the device state is not offered")
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        self.refuse("shared memory regions are not offered")
    }

    fn set_log_base(&mut self, _: &VhostUserLog, _: File) -> Result<()> {
        self.refuse("dirty page logging is not offered")
    }
}

#[cfg(test)]
mod tests;
