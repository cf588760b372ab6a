//! The limit of open files is reached. Alone in its process, as the limit is one for all of it.

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use control::Controller;
use control::config;
use control::server::{Server, listen::listen};
use dataplane::clock::Clock;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{FakeDevices, FakeStore, Nobody, TestClock, eventually, workers};

fn status(stream: &mut UnixStream) -> String {
    call(stream, b"{\"method\":\"io.vswitch.GetStatus\"}")
}

fn call(stream: &mut UnixStream, request: &[u8]) -> String {
    stream.write_all(request).unwrap();
    stream.write_all(&[0]).unwrap();
    let mut reply = Vec::new();
    while reply.last() != Some(&0) {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).unwrap();
        assert_ne!(read, 0, "the server closed the connection");
        reply.extend_from_slice(&part[..read]);
    }
    String::from_utf8(reply).unwrap()
}

#[test]
fn without_descriptors_clients_are_turned_away_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let (listener, _file) = listen(&path).unwrap();
    let mut server = Server::new(listener).unwrap();
    let (stop, read) = UnixStream::pair().unwrap();
    server.stop_on(read.into()).unwrap();
    let (clock, wake) = (TestClock::default(), server.wake());
    let own = clock.clone();
    let thread = std::thread::spawn(move || {
        let clock = own;
        let set = workers(1, &clock, Arc::new(Nobody));
        let config = config::load("", "").unwrap();
        let (devices, store) = (Box::new(FakeDevices::default()), Box::new(FakeStore::default()));
        let mut controller = Controller::start(devices, store, Box::new(set), config, clock.now()).unwrap();
        server.run(&mut controller, &clock)
    });
    let connect = || {
        let stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    };
    let mut old = connect();
    assert!(status(&mut old).contains("\"problems\":[]"));

    // A socket of our own to connect with later, then not one descriptor is left.
    let late = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: limit.maximum }).unwrap();
    let filled: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    rustix::net::connect(&late, &SocketAddrUnix::new(&path).unwrap()).unwrap();
    let mut late = UnixStream::from(late);
    late.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(late.read(&mut [0]).unwrap(), 0, "it is told at once, not left waiting");
    assert!(status(&mut old).contains("a client was turned away"), "the cause is reported");

    // Nobody waits for that to be seen: it is looked at now and then.
    let mut count = |text: &str| status(&mut old).matches(text).count();
    let pass = || {
        clock.advance(Duration::from_secs(11));
        wake.wake();
    };
    pass();
    eventually("a warning", || (count("64 of 64 descriptors are in use; new ports will be refused") == 1).then_some(()));
    // A port that would take the last ones is refused, with its reason.
    let mut filled = filled;
    filled.truncate(filled.len() - 4);
    let add = br#"{"method":"io.vswitch.Apply","parameters":{"text":"[switch.s]\n[port.a]\nswitch = \"s\""}}"#;
    let refused = call(&mut connect(), add);
    assert!(refused.contains("io.vswitch.Refused") && refused.contains("raise LimitNOFILE"), "{refused}");
    drop(filled);
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut new = connect();
    pass();
    eventually("no problem", || status(&mut new).contains("\"problems\":[]").then_some(()));
    assert!(call(&mut new, add).contains("add port"));
    drop(stop);
    thread.join().unwrap().unwrap();
}
