//! Rings that are enabled before features are agreed on.
//!
//! QEMU sends `VHOST_USER_SET_VRING_ENABLE` when its device is plugged, before `VHOST_USER_SET_FEATURES`, and not again
//! afterwards (`vhost_net_start` in hw/net/vhost_net.c). The crate `vhost` refuses that message until it has seen the
//! features, so this takes it from the socket before the crate does.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Mutex;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use vhost::vhost_user::{Error, Result, VhostUserBackendReqHandlerMut as _};

use super::backend::Backend;

const SET_VRING_ENABLE: u32 = 18;
/// Octets of a header: request, flags, octets that follow.
const HEADER: usize = 12;
/// Octets of a `struct vhost_vring_state`: ring and value.
const VRING_STATE: usize = 8;
/// Of the flags: version 1 of the protocol.
const VERSION_1: u32 = 1;
/// Of the flags: this is a reply.
const REPLY: u32 = 1 << 2;
/// Of the flags: a reply is wanted.
const NEED_REPLY: u32 = 1 << 3;

/// Takes the next message if it is of that kind; waits for one. `false` leaves it, or the end of the connection, to the crate.
///
/// # Errors
///
/// As the crate has them; the connection is to be ended.
pub(super) fn take(mut stream: &UnixStream, backend: &Mutex<Backend>) -> Result<bool> {
    let backend_of = || backend.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    if backend_of().has_features() {
        return Ok(false);
    }
    let mut message = [0; HEADER + VRING_STATE];
    let peeked = loop {
        match recv(stream, &mut message, RecvFlags::PEEK) {
            Err(Errno::INTR) => {}
            result => break result.map_or(0, |(octets, _)| octets),
        }
    };
    let word = |message: &[u8], i: usize| u32::from_ne_bytes([message[i], message[i + 1], message[i + 2], message[i + 3]]);
    if peeked < message.len() || word(&message, 0) != SET_VRING_ENABLE || word(&message, 8) != VRING_STATE as u32 {
        return Ok(false);
    }
    stream.read_exact(&mut message).map_err(Error::SocketBroken)?;
    let (ring, value) = (word(&message, HEADER), word(&message, HEADER + 4));
    let result = match value {
        0 | 1 => backend_of().set_vring_enable(ring, value == 1),
        _ => Err(Error::InvalidParam),
    };
    if word(&message, 4) & NEED_REPLY != 0 {
        let mut reply = [0; HEADER + 8];
        let words = [SET_VRING_ENABLE, VERSION_1 | REPLY, 8, u32::from(result.is_err()), 0];
        reply.chunks_exact_mut(4).zip(words).for_each(|(to, word)| to.copy_from_slice(&word.to_ne_bytes()));
        stream.write_all(&reply).map_err(Error::SocketBroken)?;
    }
    result.map(|()| true)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dataplane::device::Wake;
    use vhost::vhost_user::VhostUserBackendReqHandlerMut as _;

    use super::super::device::Device;
    use super::*;

    struct Nobody;

    impl Wake for Nobody {
        fn wake(&self) {}
    }

    fn message(words: [u32; 5]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn rings_are_enabled_before_features_and_everything_else_is_left_alone() {
        let (mut vmm, ours) = UnixStream::pair().unwrap();
        let backend = Mutex::new(Backend::new(Arc::new(Device::new(1, 1, Arc::new(Nobody)).unwrap())));
        let mut said = |words| vmm.write_all(&message(words)).map(|()| take(&ours, &backend)).unwrap();
        assert!(said([SET_VRING_ENABLE, VERSION_1, 8, 0, 1]).unwrap());
        assert!(said([SET_VRING_ENABLE, VERSION_1 | NEED_REPLY, 8, 1, 0]).unwrap());
        assert!(said([SET_VRING_ENABLE, VERSION_1 | NEED_REPLY, 8, 2, 1]).is_err(), "there is no third ring");
        assert!(said([SET_VRING_ENABLE, VERSION_1, 8, 0, 2]).is_err(), "neither on nor off");
        let mut replies = [0; 40];
        vmm.read_exact(&mut replies).unwrap();
        let reply = |failed| message([SET_VRING_ENABLE, VERSION_1 | REPLY, 8, failed, 0]);
        assert_eq!(replies[..], [reply(0), reply(1)].concat());
        // Another message: SET_VRING_NUM.
        vmm.write_all(&message([8, VERSION_1, 8, 0, 256])).unwrap();
        assert!(!take(&ours, &backend).unwrap());
        // From when features are agreed on, the crate takes them all.
        (&ours).read_exact(&mut [0; 20]).unwrap();
        backend.lock().unwrap().set_features(crate::vhost_user::features::OFFERED).unwrap();
        vmm.write_all(&message([SET_VRING_ENABLE, VERSION_1, 8, 0, 1])).unwrap();
        assert!(!take(&ours, &backend).unwrap());
        let empty = Mutex::new(Backend::new(Arc::new(Device::new(1, 1, Arc::new(Nobody)).unwrap())));
        drop(vmm);
        (&ours).read_exact(&mut [0; 20]).unwrap();
        assert!(!take(&ours, &empty).unwrap(), "the end of the connection is the crate's");
    }
}
