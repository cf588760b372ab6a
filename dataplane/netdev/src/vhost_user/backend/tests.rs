//! Random messages, with random descriptors, while a worker uses the rings.

use std::fs::File;
use std::io::Write;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;

use bolero::TypeGenerator;
use dataplane::device::{TxReport, Wake};
use dataplane::{BurstMemory, PortCounters};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, memfd_create};
use vhost::vhost_user::BackendReqHandler;
use vmm_sys_util::sock_ctrl_msg::ScmSocket;
use wire::Offload;

use super::super::ring::Chains;
use super::super::{rx, tx};
use super::*;

const MEMORY: u64 = 0x10_0000;
const USER: u64 = 0x7f00_0000_0000;

struct NoWake;

impl Wake for NoWake {
    fn wake(&self) {}
}

/// One message: near to a good one, or anything.
#[derive(Clone, Debug, TypeGenerator)]
enum Message {
    Features {
        offered: bool,
        without: u64,
    },
    Memory {
        offset: u16,
        len: u32,
        file: u8,
    },
    Size {
        ring: u8,
        log: u8,
        odd: bool,
    },
    Address {
        ring: u8,
        at: [u16; 3],
    },
    Base {
        ring: u8,
        base: u32,
    },
    GetBase {
        ring: u8,
    },
    Kick {
        ring: u8,
        file: u8,
    },
    Call {
        ring: u8,
        file: u8,
    },
    Enable {
        ring: u8,
        enable: bool,
    },
    Simple {
        code: u8,
    },
    Config {
        offset: u32,
        size: u8,
    },
    Any {
        code: u8,
        flags: u8,
        body: Vec<u8>,
        file: u8,
    },
    /// Words of the VM's memory change.
    Write {
        at: u16,
        value: u16,
    },
    /// The worker looks at the rings.
    Work,
}

/// `VHOST_USER_*` request codes.
mod code {
    pub(super) const SET_FEATURES: u32 = 2;
    pub(super) const SET_MEM_TABLE: u32 = 5;
    pub(super) const SET_VRING_NUM: u32 = 8;
    pub(super) const SET_VRING_ADDR: u32 = 9;
    pub(super) const SET_VRING_BASE: u32 = 10;
    pub(super) const GET_VRING_BASE: u32 = 11;
    pub(super) const SET_VRING_KICK: u32 = 12;
    pub(super) const SET_VRING_CALL: u32 = 13;
    pub(super) const SET_VRING_ENABLE: u32 = 18;
    pub(super) const GET_CONFIG: u32 = 24;
}

struct Files {
    memory: File,
    event: File,
    other: File,
}

impl Files {
    fn pick(&self, number: u8) -> Option<&File> {
        match number % 8 {
            0 => None,
            1 => Some(&self.other),
            2..=4 => Some(&self.event),
            _ => Some(&self.memory),
        }
    }
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn halves(halves: &[u32]) -> Vec<u8> {
    halves.iter().flat_map(|half| half.to_ne_bytes()).collect()
}

impl Message {
    /// Code, flags, body and descriptor.
    fn encode<'f>(&self, files: &'f Files) -> Option<(u32, u32, Vec<u8>, Option<&'f File>)> {
        let ring_of = |ring: u8| u32::from(ring % 5);
        let (code, body, file) = match self {
            Message::Features { offered, without } => {
                (code::SET_FEATURES, words(&[if *offered { OFFERED & !without } else { *without }]), None)
            }
            Message::Memory { offset, len, file } => {
                let offset = u64::from(*offset & 0xf) << 12;
                let len = if *len & 1 == 0 { MEMORY - offset } else { u64::from(*len) };
                let region = words(&[offset, len, USER + offset, offset]);
                (code::SET_MEM_TABLE, [words(&[1]), region].concat(), if file % 4 == 0 { files.pick(*file) } else { Some(&files.memory) })
            }
            Message::Size { ring, log, odd } => (code::SET_VRING_NUM, halves(&[ring_of(*ring), (1 << (log % 17)) + u32::from(*odd)]), None),
            Message::Address { ring, at } => {
                let [descriptors, available, used] = at.map(|at| USER + (u64::from(at & !0xf) << 2));
                (code::SET_VRING_ADDR, [halves(&[ring_of(*ring), 0]), words(&[descriptors, used, available, 0])].concat(), None)
            }
            Message::Base { ring, base } => (code::SET_VRING_BASE, halves(&[ring_of(*ring), *base]), None),
            Message::GetBase { ring } => (code::GET_VRING_BASE, halves(&[ring_of(*ring), 0]), None),
            Message::Kick { ring, file } | Message::Call { ring, file } => {
                let code = if matches!(self, Message::Kick { .. }) { code::SET_VRING_KICK } else { code::SET_VRING_CALL };
                let file = if file % 4 == 0 { files.pick(*file) } else { Some(&files.event) };
                (code, words(&[u64::from(ring_of(*ring)) | if file.is_none() { 0x100 } else { 0 }]), file)
            }
            Message::Enable { ring, enable } => (code::SET_VRING_ENABLE, halves(&[ring_of(*ring), (*enable).into()]), None),
            Message::Simple { code } => (u32::from(code % 48), Vec::new(), None),
            Message::Config { offset, size } => {
                (code::GET_CONFIG, [halves(&[*offset & 0xff, (*size).into(), 0]), vec![0; usize::from(*size)]].concat(), None)
            }
            Message::Any { code, flags, body, file } => {
                return Some(((*code).into(), (*flags).into(), body.clone(), files.pick(*file)));
            }
            Message::Write { .. } | Message::Work => return None,
        };
        // Version 1, and a reply wanted.
        Some((code, 1 | 8, body, file))
    }
}

fn work(device: &Device) {
    let (mut chains, mut memory, counters) = (Chains::new(), BurstMemory::new(), PortCounters::default());
    if let Ok(mut entered) = device.rx_slot(0).enter() {
        let mut burst = memory.burst();
        if let Err(fault) = rx::take(entered.ring(), &mut chains, &mut burst) {
            return device.fail(device.rx_slot(0), fault);
        }
        let _ = burst.frames().iter().map(|frame| frame.body().octets().count()).sum::<usize>();
        drop(burst);
        rx::give_back(entered.ring(), &mut chains);
    }
    if let Some((slot, Ok(mut entered))) = device.tx_slot(0).map(|slot| (slot, slot.enter())) {
        let mut burst = memory.burst();
        burst.push_borrowed(&[1; 3000], Offload::NONE, None);
        if let Err(fault) = tx::deliver(entered.ring(), &mut chains, burst.frames(), &[0], &TxReport::new(&counters)) {
            device.fail(slot, fault);
        }
    }
}

/// Whatever a frontend says, nothing panics, and when it is gone no ring runs.
#[test]
fn fuzz_messages() {
    bolero::check!().with_type::<Vec<Message>>().for_each(|messages| {
        let files = Files {
            memory: memfd_create("fuzz", MemfdFlags::CLOEXEC).unwrap().into(),
            event: eventfd(0, EventfdFlags::NONBLOCK).unwrap().into(),
            other: File::open("/proc/self/exe").unwrap(),
        };
        files.memory.set_len(MEMORY).unwrap();
        let device = Arc::new(Device::new(2, 1, Arc::new(NoWake)).unwrap());
        let backend = Arc::new(Mutex::new(Backend::new(device.clone())));
        let (mut frontend, stream) = UnixStream::pair().unwrap();
        let mut handler = BackendReqHandler::from_stream(stream, backend.clone());
        // Negotiated, and the first pair runs: random messages alone would hardly come to that.
        let mut start = vec![Message::Simple { code: 1 }, Message::Features { offered: true, without: PROTOCOL_FEATURES }];
        start.push(Message::Memory { offset: 0, len: 0, file: 1 });
        for ring in [0, 1] {
            let at = [0x100, 0x400, 0x800].map(|at| at + 0x1000 * u16::from(ring));
            start.extend([Message::Size { ring, log: 4, odd: false }, Message::Address { ring, at }, Message::Kick { ring, file: 2 }]);
        }
        let (setup, mut count) = (start.len(), 0);
        let mut result = Ok(());
        for message in start.iter().chain(messages.iter().take(40)) {
            match message {
                Message::Write { at, value } => {
                    use std::os::unix::fs::FileExt;
                    files.memory.write_all_at(&value.to_le_bytes(), u64::from(*at & 0xfff) << 1).unwrap();
                }
                Message::Work => work(&device),
                message => {
                    let Some((code, flags, body, file)) = message.encode(&files) else { continue };
                    let header = halves(&[code, flags, body.len() as u32]);
                    let fds: Vec<_> = file.iter().map(|file| file.as_raw_fd()).collect();
                    frontend.send_with_fds(&[header.as_slice()], &fds).unwrap();
                    frontend.write_all(&body).unwrap();
                    result = handler.handle_request();
                }
            }
            count += 1;
            assert!(count != setup || device.state().queue_pairs == 1, "{result:?}");
            if result.is_err() {
                break;
            }
        }
        frontend.shutdown(Shutdown::Write).unwrap();
        while result.is_ok() {
            result = handler.handle_request();
        }
        backend.lock().unwrap().reset();
        assert!(device.slots().iter().all(|slot| !slot.runs()));
        assert!(!device.state().carrier);
    });
}
