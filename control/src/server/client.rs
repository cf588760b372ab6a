//! One connection: requests in, answers out, both bounded.
//!
//! Requests are JSON objects that end in a NUL octet. One request is worked on at a time, and only while the client takes
//! its answers: a client that does not read is not read from either, and holds at most one answer in memory. Long
//! answers (`ListFdb`, `Monitor`) are made piece by piece as the client takes them.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use dataplane::clock::Nanos;
use mio::net::UnixStream;
use proto::api::{Event, FdbInfo, ListFdbReply, MonitorReply, REQUEST_MAX};
use serde::Serialize;
use serde_json::{Value, json};
use varlink::{Reply, Request};

use super::dispatch::{self, Answer};
use crate::controller::Controller;
use crate::controller::report::FdbCursor;

/// Octets of unread answers above which no further answer is begun.
const OUTPUT_LOW: usize = 64 << 10;
/// Octets read in one go.
const READ_MAX: usize = 64 << 10;
/// Entries of one piece of an address table.
const FDB_PIECE: usize = 512;
/// Entries that are answered without `more`.
const FDB_WHOLE_MAX: usize = 10_000;
/// Events that wait for a client at most.
const EVENTS_MAX: usize = 1024;
/// Events in one answer.
const EVENTS_PIECE: usize = 256;
/// How long a request may take to arrive.
pub const REQUEST_TIME: Nanos = 30_000_000_000;

/// Who a client is, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// User.
    pub uid: u32,
    /// Group the process runs under.
    pub gid: u32,
}

/// One connection.
pub struct Client {
    stream: UnixStream,
    /// Who it is.
    pub peer: Peer,
    /// Whether it may write: not subject to the bounds for others.
    pub privileged: bool,
    input: Vec<u8>,
    /// Octets of `input` known to hold no NUL.
    scanned: usize,
    /// When the request that is not complete yet began to arrive.
    began: Option<Nanos>,
    output: Vec<u8>,
    written: usize,
    readable: bool,
    ended: bool,
    closing: bool,
    work: Work,
}

enum Work {
    None,
    Fdb {
        cursor: FdbCursor,
        oneway: bool,
    },
    /// Without `more`: the pieces are put together.
    FdbWhole {
        cursor: FdbCursor,
        entries: Vec<FdbInfo>,
        oneway: bool,
    },
    Monitor {
        queue: VecDeque<Event>,
        lost: u64,
    },
}

/// What became of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// There is more to do at once.
    More,
    /// It waits for the client.
    Waiting,
    /// The connection is over.
    Over,
}

impl Client {
    /// A new connection.
    pub fn new(stream: UnixStream, peer: Peer, privileged: bool) -> Client {
        Client {
            stream,
            peer,
            privileged,
            input: Vec::new(),
            scanned: 0,
            began: None,
            output: Vec::new(),
            written: 0,
            readable: true,
            ended: false,
            closing: false,
            work: Work::None,
        }
    }

    /// The connection, for registration.
    pub fn stream(&mut self) -> &mut UnixStream {
        &mut self.stream
    }

    /// Notes what the poll said.
    pub fn ready(&mut self, readable: bool, hung_up: bool) {
        self.readable |= readable;
        // A client that is gone for good takes no answers; without this an idle monitor would stay for ever.
        self.closing |= hung_up && !readable;
        self.ended |= hung_up;
    }

    /// Whether it listens to events.
    pub fn is_monitor(&self) -> bool {
        matches!(self.work, Work::Monitor { .. })
    }

    /// When the connection is to be closed because half a request arrived and no more.
    pub fn deadline(&self) -> Option<Nanos> {
        self.began.map(|began| began + REQUEST_TIME)
    }

    /// Gives it events, and the number of events that were lost on the way here.
    pub fn offer(&mut self, events: &VecDeque<Event>, lost_before: u64) {
        let Work::Monitor { queue, lost } = &mut self.work else { return };
        *lost += lost_before;
        for event in events {
            // Once something was lost, the rest is lost too until the client has heard of it: events stay in order.
            if *lost == 0 && queue.len() < EVENTS_MAX {
                queue.push_back(event.clone());
            } else {
                *lost += 1;
            }
        }
    }

    /// Does one bounded piece of work.
    pub fn serve(&mut self, controller: &mut Controller, may_write: impl FnOnce(&Controller) -> bool, now: Nanos) -> Served {
        if self.flush().is_err() {
            return Served::Over;
        }
        if self.closing && (self.pending() == 0 || self.ended) {
            return Served::Over;
        }
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            return Served::Over;
        }
        if self.pending() > OUTPUT_LOW || self.closing {
            return Served::Waiting;
        }
        let more = match &mut self.work {
            Work::None => self.next_request(controller, may_write, now),
            Work::Fdb { .. } | Work::FdbWhole { .. } => self.next_piece(controller, now),
            Work::Monitor { .. } if self.ended => return Served::Over,
            Work::Monitor { .. } => self.next_events(),
        };
        if self.flush().is_err() {
            return Served::Over;
        }
        match more {
            Ok(true) if self.pending() <= OUTPUT_LOW => Served::More,
            Ok(_) if self.closing && self.pending() == 0 => Served::Over,
            Ok(_) => Served::Waiting,
            Err(_) => Served::Over,
        }
    }

    fn pending(&self) -> usize {
        self.output.len() - self.written
    }

    fn flush(&mut self) -> io::Result<()> {
        while self.pending() > 0 {
            match self.stream.write(&self.output[self.written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.written = 0;
        self.output.clear();
        // A long answer must not hold its memory while the client is idle.
        self.output.shrink_to(OUTPUT_LOW);
        Ok(())
    }

    fn send(&mut self, reply: &Reply) {
        // Of all types of answers none fails to become JSON; should one, the client gets an empty message, which it reports.
        let text = serde_json::to_vec(reply).unwrap_or_default();
        self.output.extend_from_slice(&text);
        self.output.push(0);
    }

    fn send_piece(&mut self, parameters: impl Serialize, continues: bool) {
        let parameters = serde_json::to_value(parameters).unwrap_or(Value::Null);
        self.send(&Reply { continues: continues.then_some(true), error: None, parameters: Some(parameters) });
    }

    fn send_error(&mut self, name: String, parameters: Value) {
        self.send(&Reply::error(name, Some(parameters)));
    }

    /// Reads until a request is complete, and answers it; `true` when there may be more to do at once.
    fn next_request(&mut self, controller: &mut Controller, may_write: impl FnOnce(&Controller) -> bool, now: Nanos) -> io::Result<bool> {
        let Some(end) = self.input[self.scanned..].iter().position(|octet| *octet == 0).map(|at| at + self.scanned) else {
            self.scanned = self.input.len();
            if self.input.len() > REQUEST_MAX {
                let Answer::Error(name, parameters) = dispatch::refused(format!("a request longer than {REQUEST_MAX} octets")) else {
                    return Ok(false);
                };
                self.send_error(name, parameters);
                self.closing = true;
                return Ok(false);
            }
            return self.read(now);
        };
        let message: Vec<u8> = self.input.drain(..=end).collect();
        self.scanned = 0;
        self.input.shrink_to(READ_MAX);
        self.began = (!self.input.is_empty()).then_some(now);
        if message.len() > REQUEST_MAX + 1 {
            self.closing = true;
            return Ok(false);
        }
        let request: Request<'_> = match serde_json::from_slice(&message[..end]) {
            Ok(request) => request,
            Err(error) => {
                // What is not a request is no Varlink peer; guessing where its next message begins helps nobody.
                let parameter = format!("not a Varlink request: {error}");
                self.send_error("org.varlink.service.InvalidParameter".to_owned(), json!({ "parameter": parameter }));
                self.closing = true;
                return Ok(false);
            }
        };
        let oneway = request.oneway == Some(true);
        let more = request.more == Some(true);
        match dispatch::dispatch(controller, &request, may_write, now) {
            Answer::Fdb(cursor) if more => self.work = Work::Fdb { cursor, oneway },
            Answer::Fdb(cursor) => self.work = Work::FdbWhole { cursor, entries: Vec::new(), oneway },
            _ if oneway => {}
            Answer::Reply(parameters) => self.send(&Reply::parameters(Some(parameters))),
            Answer::Error(name, parameters) => self.send_error(name, parameters),
            Answer::Monitor => {
                self.work = Work::Monitor { queue: VecDeque::new(), lost: 0 };
                self.send_piece(MonitorReply { events: Vec::new() }, true);
            }
        }
        Ok(true)
    }

    fn read(&mut self, now: Nanos) -> io::Result<bool> {
        if !self.readable {
            return if self.ended { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(false) };
        }
        let length = self.input.len();
        self.input.resize(length + READ_MAX, 0);
        let result = self.stream.read(&mut self.input[length..]);
        self.input.truncate(length + *result.as_ref().unwrap_or(&0));
        match result {
            // The end. Answers that are still under way are delivered.
            Ok(0) => {
                self.readable = false;
                self.closing = true;
                Ok(false)
            }
            Ok(_) => {
                self.began.get_or_insert(now);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                self.input.shrink_to(length);
                Ok(false)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn next_piece(&mut self, controller: &Controller, now: Nanos) -> io::Result<bool> {
        match std::mem::replace(&mut self.work, Work::None) {
            Work::Fdb { mut cursor, oneway } => {
                let mut entries = Vec::new();
                let more = controller.next_fdb(&mut cursor, FDB_PIECE, now, &mut entries);
                if !oneway && (!entries.is_empty() || !more) {
                    self.send_piece(ListFdbReply { entries }, more);
                }
                if more {
                    self.work = Work::Fdb { cursor, oneway };
                }
            }
            Work::FdbWhole { mut cursor, mut entries, oneway } => {
                let more = controller.next_fdb(&mut cursor, FDB_PIECE, now, &mut entries);
                if entries.len() > FDB_WHOLE_MAX {
                    let message = format!("more than {FDB_WHOLE_MAX} entries: call ListFdb with `more`, or name a port or VLAN");
                    if let Answer::Error(name, parameters) = dispatch::refused(message)
                        && !oneway
                    {
                        self.send_error(name, parameters);
                    }
                } else if more {
                    self.work = Work::FdbWhole { cursor, entries, oneway };
                } else if !oneway {
                    self.send_piece(ListFdbReply { entries }, false);
                }
            }
            other => self.work = other,
        }
        Ok(true)
    }

    fn next_events(&mut self) -> io::Result<bool> {
        let Work::Monitor { queue, lost } = &mut self.work else { return Ok(false) };
        let mut events: Vec<Event> = queue.drain(..queue.len().min(EVENTS_PIECE)).collect();
        if queue.is_empty() && *lost > 0 {
            events.push(Event::Lost { count: std::mem::take(lost) });
        }
        if events.is_empty() {
            return Ok(false);
        }
        let more = !queue.is_empty();
        self.send_piece(MonitorReply { events }, true);
        Ok(more)
    }
}
