//! What a worker sleeps on: epoll through mio, edge-triggered.
//!
//! # Why nothing is missed
//!
//! With edge triggering the kernel puts a descriptor on the ready list of the epoll instance at the moment a frame arrives,
//! whether or not anyone waits then. So a frame that arrives between the last look at an empty queue and the wait ends that
//! wait at once. What is required of the worker: after a descriptor was reported it asks its queue until it is empty, or
//! does not wait.
//!
//! When the kernel hands out the ready list it asks each descriptor once more whether it is readable. For a receive ring it
//! looks at the newest slot (`packet_poll` in `net/packet/af_packet.c`). If two processors fill slots at the same time and
//! the older is ready first, that look may see nothing; but the processor that fills the newest slot then signals again.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use dataplane::device::{Poller, Wake};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

/// Descriptors reported at once. More are reported by the next call.
const EVENTS: usize = 64;
/// The token of the waker, which no descriptor has.
const WAKER: Token = Token(usize::MAX);

/// A [`Poller`] over epoll. Used by one thread; its [waker](MioPoller::waker) by any.
///
/// The wait has a grain of one millisecond: a timeout is rounded up, except that zero does not wait at all.
pub struct MioPoller {
    poll: Poll,
    events: Events,
    waker: Arc<MioWaker>,
}

struct MioWaker(Waker);

impl Wake for MioWaker {
    fn wake(&self) {
        // An eventfd cannot fail to be written while it exists: mio handles a counter that is full.
        if let Err(error) = self.0.wake() {
            tracing::error!(%error, "cannot wake a worker");
        }
    }
}

impl MioPoller {
    /// A poller that watches nothing yet.
    ///
    /// # Errors
    ///
    /// What the operating system says, as when the limit of open files is reached.
    pub fn new() -> io::Result<MioPoller> {
        let poll = Poll::new()?;
        let waker = Arc::new(MioWaker(Waker::new(poll.registry(), WAKER)?));
        Ok(MioPoller { poll, events: Events::with_capacity(EVENTS), waker })
    }

    /// What ends a wait of this poller, from any thread. A wake while it does not wait ends the next wait.
    pub fn waker(&self) -> Arc<dyn Wake> {
        self.waker.clone()
    }
}

impl Poller for MioPoller {
    /// # Panics
    ///
    /// If `token` is `usize::MAX`, which is the poller's own.
    fn add(&mut self, fd: BorrowedFd<'_>, token: usize) -> io::Result<()> {
        assert_ne!(Token(token), WAKER);
        self.poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), Token(token), Interest::READABLE)
    }

    fn remove(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        self.poll.registry().deregister(&mut SourceFd(&fd.as_raw_fd()))
    }

    fn poll(&mut self, timeout: Option<Duration>, ready: &mut dyn FnMut(usize)) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error),
        }
        // Errors and hang-ups are reported as well: the queue says what they mean when it is asked.
        self.events.iter().map(|event| event.token()).filter(|token| *token != WAKER).for_each(|Token(token)| ready(token));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    const NONE: [usize; 0] = [];
    const LONG: Option<Duration> = Some(Duration::from_secs(20));

    fn tokens(poller: &mut MioPoller, timeout: Option<Duration>) -> Vec<usize> {
        let mut all = Vec::new();
        poller.poll(timeout, &mut |token| all.push(token)).unwrap();
        all
    }

    #[test]
    fn a_wake_before_the_wait_ends_it_and_is_no_token() {
        let mut poller = MioPoller::new().unwrap();
        poller.waker().wake();
        let start = Instant::now();
        assert_eq!(tokens(&mut poller, LONG), NONE);
        assert!(start.elapsed() < Duration::from_secs(10));
        assert_eq!(tokens(&mut poller, Some(Duration::ZERO)), NONE);
    }

    #[test]
    fn a_wake_from_another_thread_ends_the_wait() {
        let mut poller = MioPoller::new().unwrap();
        let waker = poller.waker();
        let thread = std::thread::spawn(move || waker.wake());
        let start = Instant::now();
        tokens(&mut poller, LONG);
        assert!(start.elapsed() < Duration::from_secs(10));
        thread.join().unwrap();
    }

    #[test]
    fn each_edge_is_reported_once_and_removal_ends_it() {
        let mut poller = MioPoller::new().unwrap();
        let (rx, mut tx) = UnixStream::pair().unwrap();
        poller.add(rx.as_fd(), 7).unwrap();
        assert_eq!(tokens(&mut poller, Some(Duration::ZERO)), NONE);
        tx.write_all(b"1").unwrap();
        assert_eq!(tokens(&mut poller, LONG), [7]);
        assert_eq!(tokens(&mut poller, Some(Duration::ZERO)), NONE, "not read, but no new edge");
        tx.write_all(b"2").unwrap();
        assert_eq!(tokens(&mut poller, LONG), [7]);
        poller.remove(rx.as_fd()).unwrap();
        tx.write_all(b"3").unwrap();
        assert_eq!(tokens(&mut poller, Some(Duration::ZERO)), NONE);
        assert!(poller.remove(rx.as_fd()).is_err());
    }

    #[test]
    fn readiness_from_before_the_registration_is_reported() {
        let mut poller = MioPoller::new().unwrap();
        let (rx, mut tx) = UnixStream::pair().unwrap();
        tx.write_all(b"1").unwrap();
        poller.add(rx.as_fd(), 0).unwrap();
        assert_eq!(tokens(&mut poller, LONG), [0]);
    }

    #[test]
    fn a_hang_up_is_reported() {
        let mut poller = MioPoller::new().unwrap();
        let (rx, tx) = UnixStream::pair().unwrap();
        poller.add(rx.as_fd(), 3).unwrap();
        drop(tx);
        assert_eq!(tokens(&mut poller, LONG), [3]);
    }

    #[test]
    fn a_zero_timeout_does_not_sleep() {
        let mut poller = MioPoller::new().unwrap();
        let start = Instant::now();
        for _ in 0..1000 {
            tokens(&mut poller, Some(Duration::ZERO));
        }
        // Had each call slept the shortest possible millisecond, this were a second.
        assert!(start.elapsed() < Duration::from_millis(900), "{:?}", start.elapsed());
    }
}
