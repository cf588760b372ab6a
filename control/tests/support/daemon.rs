//! The whole daemon but its devices: a server on a thread of its own, and a client that sees every octet.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use control::Controller;
use control::config;
use control::server::Server;
use control::server::listen::listen;
use dataplane::BurstMemory;
use dataplane::clock::Clock;
use dataplane::conntrack::{At, Conntrack, Settings, Template};
use dataplane::router::packet::Packet;
use dataplane::router::{Family, RouterId};
use dataplane::snapshot::PortId;
use serde_json::{Value, json};

use super::{FakeDevices, FakeStore, TestClock, workers};

/// A server on a thread of its own.
pub(crate) struct Daemon {
    pub(crate) path: PathBuf,
    clock: TestClock,
    stop: Option<UnixStream>,
    wake: Arc<dyn dataplane::device::Wake>,
    table: Arc<Conntrack>,
    thread: Option<JoinHandle<Result<(), String>>>,
    _dir: tempfile::TempDir,
}

impl Daemon {
    pub(crate) fn start(initial: &str) -> Daemon {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.sock");
        let (listener, file) = listen(&path).unwrap();
        let mut server = Server::new(listener).unwrap();
        let (stop, read) = UnixStream::pair().unwrap();
        server.stop_on(read.into()).unwrap();
        let clock = TestClock::default();
        let (initial, wake, own) = (initial.to_owned(), server.wake(), clock.clone());
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let set = workers(1, &own, server.wake());
            let config = config::load(&initial, "initial").unwrap();
            let (devices, store) = (FakeDevices::default(), FakeStore::default());
            let mut controller = Controller::start(Box::new(devices), Box::new(store), Box::new(set), config, own.now()).unwrap();
            tell.send(controller.connections().clone()).unwrap();
            let result = server.run(&mut controller, &own);
            drop(file);
            result
        });
        let table = told.recv().expect("the controller starts");
        Daemon { path, clock, stop: Some(stop), wake, table, thread: Some(thread), _dir: dir }
    }

    pub(crate) fn connect(&self) -> Client {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        Client(BufReader::new(stream))
    }

    /// A UDP flow from 10.0.0.1 to 10.0.`host`.2, begun by a packet that arrives at port `a`; each further call is a packet
    /// of it. In a router, and a zone of it; 0 for its own.
    pub(crate) fn udp(&self, (router, zone): (u16, u16), host: u8, sport: u16, dport: u16) {
        let mut octets = Vec::new();
        let ethernet = etherparse::PacketBuilder::ethernet2([2; 6], [2; 6]);
        ethernet.ipv4([10, 0, 0, 1], [10, 0, host, 2], 64).udp(sport, dport).write(&mut octets, b"x").unwrap();
        let mut memory = BurstMemory::new();
        let mut burst = memory.burst();
        burst.push_borrowed(&octets, wire::Offload::NONE, None);
        let frame = &burst.frames()[0];
        let packet = Packet::parse(frame, Family::V4).unwrap();
        let settings = Settings::default();
        let at = At { settings: &settings, router: RouterId(router), worker: 0, ingress: PortId(0), now: self.clock.now(), own: false };
        let template = Template { zone: (zone != 0).then_some(zone), ..Template::default() };
        let mut tracking = self.table.track(&at, &template, &packet, frame);
        self.table.confirm(&at, &mut tracking).unwrap();
    }

    /// Lets time pass and makes the loop notice.
    pub(crate) fn pass(&self, span: Duration) {
        self.clock.advance(span);
        self.wake.wake();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.take();
        let result = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            result.expect("the server panicked").expect("the server failed");
            assert!(!self.path.exists(), "the socket file stays behind");
        }
    }
}

pub(crate) struct Client(pub(crate) BufReader<UnixStream>);

impl Client {
    pub(crate) fn send(&mut self, method: &str, parameters: Value, more: bool) -> io::Result<()> {
        let mut text = serde_json::to_vec(&json!({ "method": method, "parameters": parameters, "more": more })).unwrap();
        text.push(0);
        self.0.get_mut().write_all(&text)
    }

    pub(crate) fn reply(&mut self) -> io::Result<Value> {
        let mut text = Vec::new();
        self.0.read_until(0, &mut text)?;
        match text.pop() {
            Some(0) => Ok(serde_json::from_slice(&text).unwrap()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    pub(crate) fn try_call(&mut self, method: &str, parameters: Value) -> io::Result<Value> {
        self.send(method, parameters, false)?;
        self.reply()
    }

    pub(crate) fn call(&mut self, method: &str, parameters: Value) -> Value {
        let reply = self.try_call(&format!("io.vswitch.{method}"), parameters).unwrap();
        assert_eq!(reply.get("error"), None, "{reply}");
        reply["parameters"].clone()
    }

    pub(crate) fn fails(&mut self, method: &str, parameters: Value) -> (String, String) {
        let reply = self.try_call(&format!("io.vswitch.{method}"), parameters).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&reply["error"]), text(&reply["parameters"]["message"]))
    }

    /// The end of the connection, with what came before it.
    pub(crate) fn rest(mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => panic!("the connection is still open"),
            _ => rest,
        }
    }
}

/// Runs a Python script as a user without rights; `None` where the test is not root.
pub(crate) fn as_nobody(script: &str) -> Option<String> {
    use std::os::unix::process::CommandExt;
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let output = std::process::Command::new("python3").args(["-c", script]).uid(65534).gid(65534).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}
