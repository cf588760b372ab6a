//! The thread of a port: waits for a frontend, or connects to one, and answers it until it goes; then again.
//!
//! The crate `vhost` reads whole messages from a blocking socket, so each port has a thread of its own. It does not touch
//! frames. It ends when the port is closed: [`Service::drop`] wakes it wherever it waits and joins it.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use vhost::vhost_user::{BackendReqHandler, Error as ProtocolError};

use super::Mode;
use super::backend::Backend;
use super::device::Device;
use super::early_enable;

/// How long a client waits before it tries again to connect.
const RETRY: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// The thread of a port; ends when dropped.
pub(super) struct Service {
    control: Arc<Control>,
    thread: Option<JoinHandle<()>>,
    /// The socket file that was made, with device and inode.
    socket: Option<(PathBuf, (u64, u64))>,
}

/// What ends the thread.
struct Control {
    stop: AtomicBool,
    wake: OwnedFd,
    /// The connection of the moment.
    connection: Mutex<Option<UnixStream>>,
}

impl Control {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Waits until `fd` is readable, time is up, or the port is closed.
    fn wait(&self, fd: Option<&UnixListener>, timeout: Option<&Timespec>) {
        let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
        fds.extend(fd.map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)));
        // An interrupted wait only leads to one look more.
        let _ = poll(&mut fds, timeout);
    }

    fn set_connection(&self, connection: Option<UnixStream>) {
        *self.connection.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = connection;
    }
}

impl Service {
    /// Makes the socket if it is ours to make, and starts the thread.
    ///
    /// # Errors
    ///
    /// What was tried and why it failed.
    pub(super) fn start(device: Arc<Device>, path: &Path, mode: Mode) -> Result<Service, (&'static str, io::Error)> {
        let listener = match mode {
            Mode::Server => Some(listen(path)?),
            Mode::Client => None,
        };
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|errno| ("make an eventfd", errno.into()))?;
        let control = Arc::new(Control { stop: AtomicBool::new(false), wake, connection: Mutex::new(None) });
        let mut service = Service { control: control.clone(), thread: None, socket: None };
        if listener.is_some() {
            service.socket = identity(path).map(|identity| (path.to_owned(), identity));
        }
        let path = path.to_owned();
        let run = move || match listener {
            Some(listener) => serve(&control, &device, &listener),
            None => keep_connecting(&control, &device, &path),
        };
        let thread = std::thread::Builder::new().name("vhost-user".into()).spawn(run).map_err(|error| ("start a thread", error))?;
        service.thread = Some(thread);
        Ok(service)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.control.stop.store(true, Ordering::Release);
        // It fails only when the counter is full.
        let _ = rustix::io::write(&self.control.wake, &1u64.to_ne_bytes());
        if let Some(connection) = &*self.control.connection.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            // It fails when the frontend is gone already.
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread of a vhost-user port panicked");
        }
        if let Some((path, made)) = self.socket.take().filter(|(path, made)| identity(path) == Some(*made)) {
            let _ = made;
            // Whoever removed it meanwhile did what we wanted.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Device and inode of a file.
fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Makes the socket, in the place of one that nobody listens on any more.
fn listen(path: &Path) -> Result<UnixListener, (&'static str, io::Error)> {
    let bind = || UnixListener::bind(path);
    let listener = match bind() {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let is_socket = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
            if !is_socket {
                return Err(("bind", io::Error::other("a file that is no socket is in the way")));
            }
            match connect_to(path) {
                Err(refused) if refused.kind() == ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path).map_err(|error| ("remove the stale socket", error))?;
                    bind()
                }
                _ => Err(io::Error::other("another process listens there")),
            }
        }
        result => result,
    };
    let listener = listener.map_err(|error| ("bind", error))?;
    listener.set_nonblocking(true).map_err(|error| ("make the socket non-blocking", error))?;
    Ok(listener)
}

/// Connects without ever waiting: a server that accepts nothing shall not hold the thread.
fn connect_to(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(UnixStream::from(socket))
}

fn serve(control: &Control, device: &Arc<Device>, listener: &UnixListener) {
    while !control.stopped() {
        match listener.accept() {
            Ok((stream, _)) => answer(control, device, stream),
            Err(error) if error.kind() == ErrorKind::WouldBlock => control.wait(Some(listener), None),
            Err(error) => {
                // Out of descriptors, or the frontend went away meanwhile.
                device.set_state(|state| state.problem = Some(format!("accept: {error}")));
                control.wait(None, Some(&RETRY));
            }
        }
    }
}

fn keep_connecting(control: &Control, device: &Arc<Device>, path: &Path) {
    while !control.stopped() {
        match connect_to(path) {
            Ok(stream) => answer(control, device, stream),
            Err(error) => device.set_state(|state| {
                // Why the last connection ended tells more than that there is no other yet.
                if state.problem.is_none() {
                    state.problem = Some(format!("connect: {error}"));
                }
            }),
        }
        control.wait(None, Some(&RETRY));
    }
}

/// Answers a frontend until it goes, or does something wrong.
fn answer(control: &Control, device: &Arc<Device>, stream: UnixStream) {
    let backend = Arc::new(Mutex::new(Backend::new(device.clone())));
    let prepared = stream.set_nonblocking(false).and_then(|()| Ok((stream.try_clone()?, stream.try_clone()?)));
    let result = match prepared {
        Ok((connection, early)) => {
            control.set_connection(Some(connection));
            device.set_state(|state| (state.connected, state.problem) = (true, None));
            let mut handler = BackendReqHandler::from_stream(stream, backend.clone());
            // `stop` is set before the connection is shut down, so one that is stored too late is not waited for.
            let mut result = Ok(());
            while result.is_ok() && !control.stopped() {
                result = match early_enable::take(&early, &backend) {
                    Ok(false) => handler.handle_request(),
                    taken => taken.map(drop),
                };
            }
            control.set_connection(None);
            result
        }
        Err(error) => Err(ProtocolError::SocketError(error)),
    };
    let mut backend = backend.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let own = backend.take_problem();
    backend.reset();
    let problem = own.or_else(|| match result {
        Ok(()) | Err(ProtocolError::Disconnected) => None,
        // The frontend went away in the middle of something.
        Err(ProtocolError::SocketBroken(_) | ProtocolError::PartialMessage) => None,
        Err(error) => Some(format!("the frontend does not keep to the protocol: {error}")),
    });
    device.set_state(|state| (state.connected, state.problem) = (false, problem));
}
