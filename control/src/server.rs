//! The control thread: one loop that serves clients, devices, workers and time.
//!
//! Speaks Varlink (varlink.org): NUL-terminated JSON on a Unix socket, interface `io.vswitch` as described in
//! `io.vswitch.varlink`. No client can hold up the loop: each gets one bounded piece of work a turn, those with write access
//! first, the others within a time budget. Connections are bounded, in all and per user.

pub mod client;
pub mod dispatch;
pub mod list;
pub mod listen;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use dataplane::clock::{Clock, Nanos};
use dataplane::device::Wake;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};
use proto::api::{INTERFACE, REQUEST_MAX, error};
use rustix::io::Errno;
use serde_json::json;
use varlink::Reply;

use crate::controller::Controller;
use crate::group;
use client::{Client, Peer, Served, Share};

/// Connections at most.
pub const CLIENTS_MAX: usize = 64;
/// Of these, connections of users without write access together.
pub const CLIENTS_READING_MAX: usize = 48;
/// Of these, connections of one user.
pub const CLIENTS_OF_USER_MAX: usize = 16;
/// Octets of long requests that clients send at a time, together.
pub const LONG_REQUESTS_MAX: usize = 2 * REQUEST_MAX;
/// Unread answers to clients without write access, in octets, above which these get no further ones.
pub const READERS_OUTPUT_MAX: usize = 64 << 20;
/// Connections accepted in one turn.
const ACCEPTS_AT_ONCE: usize = 64;
/// Time in one turn for clients without write access.
const READERS_BUDGET: Nanos = 5_000_000;

const LISTENER: Token = Token(0);
const WAKE: Token = Token(1);
const DEVICES: Token = Token(2);
const STOP: Token = Token(3);
const FIRST_CLIENT: usize = 16;

struct LoopWake(Waker);

impl Wake for LoopWake {
    fn wake(&self) {
        // Fails only when the poll is gone, and then nobody sleeps on it.
        let _ = self.0.wake();
    }
}

/// The server.
pub struct Server {
    poll: Poll,
    events: Events,
    listener: mio::net::UnixListener,
    wake: Arc<LoopWake>,
    clients: BTreeMap<usize, Client>,
    next_token: usize,
    /// The reader that was served last; the next turn begins behind it.
    last_reader: usize,
    accept_pending: bool,
    /// Given up to be able to tell a client that there are no descriptors left.
    spare: Option<File>,
    monitors: usize,
    flow_monitors: usize,
    device_fd: Option<RawFd>,
    stop: Option<OwnedFd>,
    stopping: bool,
    own_uid: u32,
}

impl Server {
    /// A server on a listening, non-blocking socket.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn new(listener: UnixListener) -> io::Result<Server> {
        let poll = Poll::new()?;
        let mut listener = mio::net::UnixListener::from_std(listener);
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let wake = Arc::new(LoopWake(Waker::new(poll.registry(), WAKE)?));
        Ok(Server {
            poll,
            events: Events::with_capacity(256),
            listener,
            wake,
            clients: BTreeMap::new(),
            next_token: FIRST_CLIENT,
            last_reader: 0,
            accept_pending: true,
            spare: File::open("/dev/null").ok(),
            monitors: 0,
            flow_monitors: 0,
            device_fd: None,
            stop: None,
            stopping: false,
            own_uid: rustix::process::geteuid().as_raw(),
        })
    }

    /// What ends the sleep of the loop.
    pub fn wake(&self) -> Arc<dyn Wake> {
        self.wake.clone()
    }

    /// Ends [`Server::run`] when `fd` becomes readable.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn stop_on(&mut self, fd: OwnedFd) -> io::Result<()> {
        self.poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), STOP, Interest::READABLE)?;
        self.stop = Some(fd);
        Ok(())
    }

    /// Serves until told to stop.
    ///
    /// # Errors
    ///
    /// Why the daemon cannot go on.
    pub fn run(&mut self, controller: &mut Controller, clock: &dyn Clock) -> Result<(), String> {
        if let Some(fd) = controller.device_fd().filter(|fd| self.device_fd != Some(*fd)) {
            let registered = self.poll.registry().register(&mut SourceFd(&fd), DEVICES, Interest::READABLE);
            registered.map_err(|error| format!("watch devices: {error}"))?;
            self.device_fd = Some(fd);
        }
        while !self.stopping {
            self.turn(controller, clock)?;
        }
        Ok(())
    }

    /// One turn: what is due, a piece of work for each client, then sleep until something happens.
    fn turn(&mut self, controller: &mut Controller, clock: &dyn Clock) -> Result<(), String> {
        let mut due = controller.upkeep(clock.now());
        if self.accept_pending {
            self.accept(controller);
        }
        let busy = self.serve(controller, clock);
        self.share_events(controller);
        self.share_flow_events(controller);
        if let Some(fatal) = controller.fatal() {
            return Err(fatal.to_owned());
        }
        let now = clock.now();
        due = self.clients.values().filter_map(Client::deadline).fold(due, Nanos::min);
        // Monitors may just have got events, and a pending accept waits for the next second.
        let timeout = if busy { Duration::ZERO } else { Duration::from_nanos(due.saturating_sub(now)) };
        match self.poll.poll(&mut self.events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(format!("poll: {error}")),
            _ => {}
        }
        let mut devices = false;
        for event in &self.events {
            match event.token() {
                LISTENER => self.accept_pending = true,
                WAKE => {}
                DEVICES => devices = true,
                STOP => self.stopping = true,
                Token(token) => {
                    if let Some(client) = self.clients.get_mut(&token) {
                        client.ready(event.is_readable(), event.is_write_closed() || event.is_error());
                    }
                }
            }
        }
        if devices {
            controller.poll_devices(clock.now());
        }
        Ok(())
    }

    fn accept(&mut self, controller: &mut Controller) {
        for _ in 0..ACCEPTS_AT_ONCE {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    controller.note("descriptors", None);
                    self.admit(stream, controller);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.accept_pending = false;
                    return;
                }
                Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::MFILE | Errno::NFILE)) => {
                    let problem = format!("a client was turned away: {error} (raise the limit of open files)");
                    controller.note("descriptors", Some(problem));
                    // Take the connection with the spare descriptor and close it, so that the client need not wait.
                    self.spare = None;
                    let turned_away = self.listener.accept().is_ok();
                    self.spare = File::open("/dev/null").ok();
                    if !turned_away {
                        return;
                    }
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted) => {}
                Err(error) => {
                    controller.note("accept", Some(format!("accept a client: {error}")));
                    return;
                }
            }
        }
    }

    fn admit(&mut self, stream: mio::net::UnixStream, controller: &Controller) {
        let Ok(credentials) = rustix::net::sockopt::socket_peercred(&stream) else { return };
        let peer = Peer { uid: credentials.uid.as_raw(), gid: credentials.gid.as_raw() };
        let privileged = may_write(controller, peer, self.own_uid);
        let readers = self.clients.values().filter(|client| !client.privileged);
        let of_user = self.clients.values().filter(|client| !client.privileged && client.peer.uid == peer.uid).count();
        let full = if self.clients.len() >= CLIENTS_MAX {
            Some(format!("{CLIENTS_MAX} clients are connected already"))
        } else if !privileged && readers.count() >= CLIENTS_READING_MAX {
            Some(format!("{CLIENTS_READING_MAX} clients without write access are connected already"))
        } else if !privileged && of_user >= CLIENTS_OF_USER_MAX {
            Some(format!("{CLIENTS_OF_USER_MAX} clients of this user are connected already"))
        } else {
            None
        };
        if let Some(message) = full {
            turn_away(stream, message);
            return;
        }
        let token = self.next_token;
        self.next_token += 1;
        let mut client = Client::new(stream, peer, privileged);
        if self.poll.registry().register(client.stream(), Token(token), Interest::READABLE | Interest::WRITABLE).is_ok() {
            self.clients.insert(token, client);
        }
    }

    /// A piece of work for each client; `true` when there is more to do at once.
    fn serve(&mut self, controller: &mut Controller, clock: &dyn Clock) -> bool {
        let start = clock.now();
        let mut busy = false;
        let writers: Vec<usize> = self.clients.iter().filter(|(_, client)| client.privileged).map(|(token, _)| *token).collect();
        let readers = || self.clients.iter().filter(|(_, client)| !client.privileged).map(|(token, _)| *token);
        let (after, before): (Vec<usize>, Vec<usize>) = readers().partition(|token| *token > self.last_reader);
        let first_reader = writers.len();
        let mut long: usize = self.clients.values().map(Client::long).sum();
        let unread = |client: &Client| if client.privileged { 0 } else { client.pending() };
        let mut output: usize = self.clients.values().map(unread).sum();
        for (n, token) in writers.into_iter().chain(after).chain(before).enumerate() {
            let now = clock.now();
            if n > first_reader && now.saturating_sub(start) > READERS_BUDGET {
                return true;
            }
            if n >= first_reader {
                self.last_reader = token;
            }
            let Some(client) = self.clients.get_mut(&token) else { continue };
            let (peer, own_uid) = (client.peer, self.own_uid);
            long -= client.long();
            output -= unread(client);
            let answer = client.privileged || output < READERS_OUTPUT_MAX;
            let share = Share { long: LONG_REQUESTS_MAX.saturating_sub(long), answer };
            let served = client.serve(controller, |controller| may_write(controller, peer, own_uid), share, now);
            long += client.long();
            output += unread(client);
            match served {
                Served::More => busy = true,
                Served::Waiting => {}
                Served::Over => drop(self.clients.remove(&token)),
            }
        }
        busy
    }

    /// Gives events to those who listen.
    fn share_events(&mut self, controller: &mut Controller) {
        let monitors = self.clients.values().filter(|client| client.is_monitor()).count();
        if (monitors > 0) != (self.monitors > 0) {
            controller.watch_fdb(monitors > 0);
        }
        self.monitors = monitors;
        let (events, lost) = controller.take_events();
        if monitors == 0 || (events.is_empty() && lost == 0) {
            return;
        }
        for client in self.clients.values_mut().filter(|client| client.is_monitor()) {
            client.offer(&events, lost);
        }
        // They are sent in the next turn, which must come at once.
        self.wake.wake();
    }

    /// Gives events of tracked connections to those who listen.
    fn share_flow_events(&mut self, controller: &mut Controller) {
        let monitors = self.clients.values().filter(|client| client.is_flow_monitor()).count();
        if (monitors > 0) != (self.flow_monitors > 0) {
            controller.watch_flows((monitors > 0).then(|| self.wake.clone() as Arc<dyn Wake>));
        }
        self.flow_monitors = monitors;
        if monitors == 0 {
            return;
        }
        let (events, lost) = controller.take_flow_events();
        if events.is_empty() && lost == 0 {
            return;
        }
        for client in self.clients.values_mut().filter(|client| client.is_flow_monitor()) {
            client.offer_flows(&events, lost);
        }
        // As above; and there may be more events.
        self.wake.wake();
    }
}

/// Whether a peer may change the configuration: root, the user the daemon runs as, members of the control group.
fn may_write(controller: &Controller, peer: Peer, own_uid: u32) -> bool {
    let group = controller.config().daemon.control_group.as_deref();
    peer.uid == 0 || peer.uid == own_uid || group.is_some_and(|group| group::is_member(group, peer.uid, peer.gid))
}

/// Says why, as far as that goes without waiting, and closes.
fn turn_away(mut stream: mio::net::UnixStream, message: String) {
    let reply = Reply::error(format!("{INTERFACE}.{}", error::BUSY), Some(json!(error::Message { message })));
    let mut text = serde_json::to_vec(&reply).unwrap_or_default();
    text.push(0);
    let _ = stream.write(&text);
}
