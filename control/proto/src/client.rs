//! The client side of the control socket.
//!
//! Blocking, one request at a time: [`Client::call`] for one reply, [`Client::call_more`] for a stream of them. Messages
//! are Varlink's: a JSON object and a NUL. A reply is bounded in size and in time, so that a wrong or hanging peer behind
//! the socket cannot make the caller grow or wait for ever. Not for sharing between threads; connect twice instead.

use std::io::{self, Read as _, Write as _};
use std::marker::PhantomData;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::api::{INTERFACE, REQUEST_MAX, error};

/// Octets of one reply at most. Lists that may be longer are streamed in several replies.
pub const REPLY_MAX: usize = 64 << 20;
/// How long connecting, sending a request or waiting for a whole reply may take unless told otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens at the socket.
    #[error("no vswitchd at {}: {source} (is it running? --socket or VSWITCH_SOCKET names another socket)", path.display())]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// `ENOENT` or `ECONNREFUSED`.
        source: io::Error,
    },
    /// The daemon closed the connection before it had answered.
    #[error("vswitchd closed the connection before it answered; see its log")]
    Closed,
    /// The request was refused and nothing changed. The text is for people and may have several lines.
    #[error("{0}")]
    Refused(String),
    /// The caller may not do this.
    #[error("{0}")]
    Permission(String),
    /// The daemon has too many clients, or too much unread output for this one.
    #[error("{0}")]
    Busy(String),
    /// No answer in time.
    #[error("vswitchd did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// What came back is not what the interface promises, or the request is longer than it allows.
    #[error("{0}")]
    Protocol(String),
    /// Another failure of the socket.
    #[error("control socket: {0}")]
    Io(#[from] io::Error),
}

#[derive(Serialize)]
struct Call<'a, P> {
    method: &'a str,
    parameters: &'a P,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    parameters: Option<Value>,
    #[serde(default)]
    continues: Option<bool>,
    #[serde(default)]
    error: Option<String>,
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    /// Octets received and not yet taken.
    buffer: Vec<u8>,
    /// Octets at the start of `buffer` known to hold no NUL.
    searched: usize,
    timeout: Duration,
}

impl Client {
    /// Connects to the daemon's socket at `path`, with [`TIMEOUT`].
    ///
    /// # Errors
    ///
    /// [`Error::NoDaemon`] when nobody listens there, [`Error::Permission`] when the caller may not open it,
    /// [`Error::Timeout`] when the daemon accepts no connection, [`Error::Io`] otherwise.
    pub fn connect(path: impl AsRef<Path>) -> Result<Client, Error> {
        Client::connect_timeout(path, TIMEOUT)
    }

    /// As [`Client::connect`], with another limit for connecting, for sending a request and for each reply.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`].
    pub fn connect_timeout(path: impl AsRef<Path>, timeout: Duration) -> Result<Client, Error> {
        let path = path.as_ref();
        let connect = || -> io::Result<Socket> {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            // Also bounds connect(2), which blocks while the daemon's backlog is full (net/unix/af_unix.c).
            socket.set_write_timeout(Some(timeout))?;
            socket.connect(&SockAddr::unix(path)?)?;
            Ok(socket)
        };
        let socket = connect().map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::NoDaemon { path: path.to_owned(), source },
            io::ErrorKind::PermissionDenied => Error::Permission(format!("open {}: {source}", path.display())),
            io::ErrorKind::WouldBlock => Error::Timeout(timeout),
            _ => Error::Io(source),
        })?;
        Ok(Client { stream: UnixStream::from(std::os::fd::OwnedFd::from(socket)), buffer: Vec::new(), searched: 0, timeout })
    }

    /// Calls `method` (without the interface's name) and waits for its one reply.
    ///
    /// # Errors
    ///
    /// Any of [`Error`]. After all but [`Error::Refused`], [`Error::Permission`] and [`Error::Busy`] the connection is
    /// out of step and of no more use.
    pub fn call<P: Serialize, R: DeserializeOwned>(&mut self, method: &str, parameters: &P) -> Result<R, Error> {
        self.send(method, parameters, false)?;
        let (reply, continues) = self.reply(method, Some(Instant::now() + self.timeout))?;
        if continues {
            return Err(Error::Protocol(format!("{method}: vswitchd announced more replies than were asked for")));
        }
        Ok(reply)
    }

    /// Calls `method` and gives its replies as they come, until the daemon says it was the last. Each has to arrive
    /// within the timeout, unless `endless`, which is for event streams.
    ///
    /// # Errors
    ///
    /// As [`Client::call`]; the iterator ends after the first error.
    pub fn call_more<P: Serialize, R: DeserializeOwned>(
        &mut self,
        method: &str,
        parameters: &P,
        endless: bool,
    ) -> Result<Replies<'_, R>, Error> {
        self.send(method, parameters, true)?;
        Ok(Replies { client: self, method: method.to_owned(), endless, done: false, reply: PhantomData })
    }

    fn send<P: Serialize>(&mut self, method: &str, parameters: &P, more: bool) -> Result<(), Error> {
        let name = format!("{INTERFACE}.{method}");
        let mut message = serde_json::to_vec(&Call { method: &name, parameters, more })
            .map_err(|e| Error::Protocol(format!("{method}: request does not serialize: {e}")))?;
        message.push(0);
        if message.len() > REQUEST_MAX {
            return Err(Error::Protocol(format!("{method}: request of {} octets; at most {REQUEST_MAX} are allowed", message.len())));
        }
        match self.stream.write_all(&message) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(Error::Timeout(self.timeout)),
            // The daemon may have refused the connection with a last message, which is still there to read.
            Err(e) if matches!(e.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) => {
                match self.reply::<Value>(method, Some(Instant::now() + self.timeout)) {
                    Err(refusal @ (Error::Refused(_) | Error::Permission(_) | Error::Busy(_))) => Err(refusal),
                    _ => Err(Error::Closed),
                }
            }
            Err(e) => Err(Error::Io(e)),
        }
    }

    fn reply<R: DeserializeOwned>(&mut self, method: &str, deadline: Option<Instant>) -> Result<(R, bool), Error> {
        let message = self.receive(deadline)?;
        let reply: Reply = serde_json::from_slice(&message).map_err(|e| Error::Protocol(format!("{method}: not a Varlink reply: {e}")))?;
        if let Some(name) = reply.error {
            return Err(remote_error(method, &name, reply.parameters));
        }
        let parameters = reply.parameters.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        let parameters = R::deserialize(parameters).map_err(|e| Error::Protocol(format!("{method}: unexpected reply: {e}")))?;
        Ok((parameters, reply.continues == Some(true)))
    }

    /// The next message without its NUL.
    fn receive(&mut self, deadline: Option<Instant>) -> Result<Vec<u8>, Error> {
        let mut chunk = [0; 64 << 10];
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|&b| b == 0) {
                let rest = self.buffer.split_off(self.searched + at + 1);
                let mut message = std::mem::replace(&mut self.buffer, rest);
                message.pop();
                self.searched = 0;
                return Ok(message);
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > REPLY_MAX {
                return Err(Error::Protocol(format!("vswitchd sent a reply of more than {REPLY_MAX} octets")));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Err(Error::Timeout(self.timeout));
            }
            self.stream.set_read_timeout(left)?;
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(Error::Closed),
                Ok(n) => self.buffer.extend_from_slice(&chunk[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(Error::Timeout(self.timeout)),
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => return Err(Error::Closed),
                Err(e) => return Err(Error::Io(e)),
            }
        }
    }
}

/// The replies of one call with `more`.
#[derive(Debug)]
pub struct Replies<'a, R> {
    client: &'a mut Client,
    method: String,
    endless: bool,
    done: bool,
    reply: PhantomData<R>,
}

impl<R: DeserializeOwned> Iterator for Replies<'_, R> {
    type Item = Result<R, Error>;

    fn next(&mut self) -> Option<Result<R, Error>> {
        if self.done {
            return None;
        }
        let deadline = (!self.endless).then(|| Instant::now() + self.client.timeout);
        match self.client.reply(&self.method, deadline) {
            Ok((reply, continues)) => {
                self.done = !continues;
                Some(Ok(reply))
            }
            Err(e) => {
                self.done = true;
                Some(Err(e))
            }
        }
    }
}

/// The error a reply stands for: those of the interface, then those of Varlink itself.
fn remote_error(method: &str, name: &str, parameters: Option<Value>) -> Error {
    let field = |key: &str| parameters.as_ref().and_then(|p| p.get(key)).and_then(Value::as_str).map(str::to_owned);
    let message = || field("message").unwrap_or_else(|| format!("{method}: {name}"));
    match name.strip_prefix(INTERFACE).and_then(|rest| rest.strip_prefix('.')) {
        Some(error::REFUSED) => return Error::Refused(message()),
        Some(error::PERMISSION_DENIED) => return Error::Permission(message()),
        Some(error::BUSY) => return Error::Busy(message()),
        _ => {}
    }
    let versions = "vswitchctl and vswitchd may be of different versions";
    match name {
        "org.varlink.service.PermissionDenied" => Error::Permission(message()),
        "org.varlink.service.InvalidParameter" => {
            let parameter = field("parameter").unwrap_or_default();
            Error::Protocol(format!("{method}: vswitchd does not take parameter \"{parameter}\" ({versions})"))
        }
        "org.varlink.service.MethodNotFound" | "org.varlink.service.MethodNotImplemented" | "org.varlink.service.InterfaceNotFound" => {
            Error::Protocol(format!("vswitchd does not know the method {method} ({versions})"))
        }
        _ => Error::Protocol(message()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread::JoinHandle;

    use super::*;
    use crate::api::{Changed, DelPort, FlushFdb, FlushFdbReply};

    /// Answers the first request of the first connection with `reply`, octet for octet; gives back the request.
    fn server(reply: impl Into<Vec<u8>>) -> (tempfile::TempDir, PathBuf, JoinHandle<Vec<u8>>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let reply = reply.into();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut octet = [0];
            while stream.read(&mut octet).unwrap() == 1 && octet[0] != 0 {
                request.push(octet[0]);
            }
            // The client may hang up before it has read everything.
            let _ = stream.write_all(&reply);
            request
        });
        (directory, path, thread)
    }

    fn call(reply: &[u8]) -> Result<Changed, Error> {
        let (_directory, path, thread) = server(reply);
        let result = Client::connect(path).unwrap().call("DelPort", &DelPort { name: "p".into(), switch: None, if_exists: false });
        thread.join().unwrap();
        result
    }

    #[test]
    fn a_call_sends_the_method_with_its_parameters_and_reads_the_reply() {
        let (_directory, path, thread) = server(*b"{\"parameters\":{\"flushed\":3}}\0");
        let mut client = Client::connect(path).unwrap();
        let reply: FlushFdbReply = client.call("FlushFdb", &FlushFdb { switch: "lan".into(), port: Some("p".into()), vlan: None }).unwrap();
        assert_eq!(reply.flushed, 3);
        let request: Value = serde_json::from_slice(&thread.join().unwrap()).unwrap();
        assert_eq!(request, serde_json::json!({"method": "io.vswitch.FlushFdb", "parameters": {"switch": "lan", "port": "p"}}));
    }

    #[test]
    fn replies_of_a_stream_come_in_order_and_end_after_the_last() {
        let (_directory, path, thread) = server(
            *b"{\"parameters\":{\"flushed\":1},\"continues\":true}\0{\"parameters\":{\"flushed\":2},\"continues\":true}\0\
               {\"parameters\":{\"flushed\":3}}\0{\"parameters\":{\"flushed\":4}}\0",
        );
        let mut client = Client::connect(path).unwrap();
        let replies = client.call_more::<_, FlushFdbReply>("FlushFdb", &FlushFdb::default(), false).unwrap();
        assert_eq!(replies.map(|r| r.unwrap().flushed).collect::<Vec<_>>(), [1, 2, 3]);
        let request: Value = serde_json::from_slice(&thread.join().unwrap()).unwrap();
        assert_eq!(request["more"], true);
    }

    #[test]
    fn errors_of_the_interface_are_told_apart() {
        let refused = call(b"{\"error\":\"io.vswitch.Refused\",\"parameters\":{\"message\":\"port \\\"p\\\" does not exist\"}}\0");
        assert!(matches!(refused, Err(Error::Refused(m)) if m == "port \"p\" does not exist"));
        let denied = call(b"{\"error\":\"io.vswitch.PermissionDenied\",\"parameters\":{\"message\":\"root only\"}}\0");
        assert!(matches!(denied, Err(Error::Permission(m)) if m == "root only"));
        let busy = call(b"{\"error\":\"io.vswitch.Busy\",\"parameters\":{\"message\":\"full\"}}\0");
        assert!(matches!(busy, Err(Error::Busy(m)) if m == "full"));
        let unknown = call(b"{\"error\":\"org.varlink.service.MethodNotFound\",\"parameters\":{\"method\":\"x\"}}\0");
        assert!(matches!(unknown, Err(Error::Protocol(m)) if m.contains("DelPort") && m.contains("versions")));
        let parameter = call(b"{\"error\":\"org.varlink.service.InvalidParameter\",\"parameters\":{\"parameter\":\"name\"}}\0");
        assert!(matches!(parameter, Err(Error::Protocol(m)) if m.contains("\"name\"")));
    }

    #[test]
    fn broken_replies_are_protocol_errors() {
        for reply in [&b"\0"[..], b"hello\0", b"[]\0", b"{\"parameters\":{\"generation\":\"one\"}}\0", b"\xff\xfe\0"] {
            assert!(matches!(call(reply), Err(Error::Protocol(_))), "{reply:?}");
        }
        let continued = call(b"{\"parameters\":{\"generation\":1,\"changes\":[]},\"continues\":true}\0");
        assert!(matches!(continued, Err(Error::Protocol(_))));
    }

    #[test]
    fn a_reply_cut_short_means_the_daemon_went_away() {
        for reply in [&b""[..], b"{\"parameters\":"] {
            assert!(matches!(call(reply), Err(Error::Closed)), "{reply:?}");
        }
    }

    #[test]
    fn an_endless_reply_is_given_up() {
        let result = call(&vec![b' '; REPLY_MAX + (256 << 10)]);
        assert!(matches!(result, Err(Error::Protocol(m)) if m.contains("more than")));
    }

    #[test]
    fn no_daemon_is_told_from_other_failures() {
        let directory = tempfile::tempdir().unwrap();
        let absent = directory.path().join("absent");
        assert!(matches!(Client::connect(&absent), Err(Error::NoDaemon { path, .. }) if path == absent));
        let dead = directory.path().join("dead");
        drop(UnixListener::bind(&dead).unwrap());
        assert!(matches!(Client::connect(&dead), Err(Error::NoDaemon { .. })));
    }

    #[test]
    fn a_daemon_that_does_not_answer_or_drips_is_given_up_in_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let limit = Duration::from_millis(100);
        let silent = Client::connect_timeout(&path, limit).unwrap().call::<_, Changed>("DelPort", &());
        assert!(matches!(silent, Err(Error::Timeout(_))), "{silent:?}");

        let _ = listener.accept().unwrap();
        let dripping = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // Ends when the client has hung up.
            while stream.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let started = Instant::now();
        let result = Client::connect_timeout(&path, limit).unwrap().call::<_, Changed>("DelPort", &());
        assert!(matches!(result, Err(Error::Timeout(_))), "{result:?}");
        assert!(started.elapsed() < Duration::from_secs(10));
        dripping.join().unwrap();
    }

    #[test]
    fn a_request_too_long_is_not_sent() {
        let (_directory, path, thread) = server(*b"");
        let result: Result<Changed, Error> = Client::connect(path).unwrap().call("Apply", &"x".repeat(REQUEST_MAX));
        assert!(matches!(result, Err(Error::Protocol(m)) if m.contains("octets")));
        assert_eq!(thread.join().unwrap(), b"");
    }
}
