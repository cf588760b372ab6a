//! What a worker sleeps on for a queue: one descriptor for the life of the port, whichever VM is connected.
//!
//! It is an epoll instance that watches the kick descriptor of the connection of the day, and one of our own
//! ([`Wakeup::poke`]) for when a ring was put in place. Nothing is ever read from either: both are edge-triggered, and each
//! write to an eventfd is an edge that the epoll instance passes on to those that watch it (`ep_poll_callback` in
//! `fs/eventpoll.c`). So kicks cost the worker nothing while it is awake, however many there are.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};

/// See the module.
pub(super) struct Wakeup {
    epoll: OwnedFd,
    poke: OwnedFd,
    /// The kick descriptor that is watched.
    kick: Mutex<Option<File>>,
}

impl Wakeup {
    pub(super) fn new() -> io::Result<Wakeup> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let poke = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &poke, EventData::new_u64(0), EventFlags::IN | EventFlags::ET)?;
        Ok(Wakeup { epoll, poke, kick: Mutex::new(None) })
    }

    /// What a worker watches.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Wakes the worker.
    pub(super) fn poke(&self) {
        // It fails only when the counter is full, after 2^64 pokes.
        let _ = rustix::io::write(&self.poke, &1u64.to_ne_bytes());
    }

    /// Watches another kick descriptor, or none.
    ///
    /// # Errors
    ///
    /// When the descriptor is none that can be watched.
    pub(super) fn set_kick(&self, kick: Option<File>) -> io::Result<()> {
        let mut present = self.kick.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(former) = present.take() {
            // Closing is not enough: the VMM has the same open file. It fails only for one that is not watched.
            let _ = epoll::delete(&self.epoll, &former);
        }
        if let Some(kick) = kick {
            epoll::add(&self.epoll, &kick, EventData::new_u64(1), EventFlags::IN | EventFlags::ET)?;
            *present = Some(kick);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::poller::MioPoller;
    use dataplane::device::Poller;
    use std::time::Duration;

    fn is_woken(poller: &mut MioPoller) -> bool {
        let mut woken = false;
        poller.poll(Some(Duration::ZERO), &mut |_| woken = true).unwrap();
        woken
    }

    #[test]
    fn every_kick_and_poke_wakes_though_nothing_is_read() {
        let wakeup = Wakeup::new().unwrap();
        let mut poller = MioPoller::new().unwrap();
        poller.add(wakeup.fd(), 0).unwrap();
        assert!(!is_woken(&mut poller));
        wakeup.poke();
        assert!(is_woken(&mut poller));
        assert!(!is_woken(&mut poller));
        let kick = File::from(eventfd(0, EventfdFlags::empty()).unwrap());
        wakeup.set_kick(Some(kick.try_clone().unwrap())).unwrap();
        for round in 0..3 {
            rustix::io::write(&kick, &1u64.to_ne_bytes()).unwrap();
            assert!(is_woken(&mut poller), "round {round}");
            assert!(!is_woken(&mut poller), "round {round}");
        }
        wakeup.set_kick(None).unwrap();
        rustix::io::write(&kick, &1u64.to_ne_bytes()).unwrap();
        assert!(!is_woken(&mut poller), "the descriptor of a former connection");
        // A kick from before it was watched is seen.
        wakeup.set_kick(Some(kick)).unwrap();
        assert!(is_woken(&mut poller));
        assert!(wakeup.set_kick(Some(tempfile::tempfile().unwrap())).is_err(), "a plain file cannot be watched");
    }
}
