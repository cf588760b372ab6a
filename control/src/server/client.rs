//! One connection: requests in, answers out, both bounded.
//!
//! Requests are JSON objects that end in a NUL octet. One request is worked on at a time, and only while the client takes
//! its answers: a client that does not read is not read from either, and holds at most one answer in memory. Long
//! answers (`ListFdb`, `ListFlows`, `Monitor`) are made piece by piece as the client takes them.

use std::collections::VecDeque;
use std::io::{self, Read, Write};

use dataplane::clock::Nanos;
use dataplane::conntrack::FlowInfo;
use mio::net::UnixStream;
use proto::api::{Event, MonitorReply, REQUEST_MAX, REQUEST_READER_MAX, error};
use proto::conntrack::{FlowEvent, MonitorFlowsReply};
use serde::Serialize;
use serde_json::{Value, json};
use varlink::{Reply, Request};

use super::dispatch::{self, Answer};
use super::list::{Found, List};
use crate::conntrack::Matcher;
use crate::controller::Controller;

/// Octets of unread answers above which no further answer is begun.
const OUTPUT_LOW: usize = 64 << 10;
/// Octets of an unread answer from which on the client must take some of it now and then. Pieces of lists are shorter, as somebody may be
/// looking at a page of them.
const ANSWER_LONG: usize = 1 << 20;
/// Octets read in one go.
const READ_MAX: usize = 64 << 10;
/// Events that wait for a client at most.
const EVENTS_MAX: usize = 1024;
/// Events in one answer.
const EVENTS_PIECE: usize = 256;
/// How long a request may take to arrive, and how long a client may take nothing of a long answer.
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
    /// Since when nothing of a long answer was taken.
    stalled: Option<Nanos>,
    readable: bool,
    ended: bool,
    closing: bool,
    work: Work,
}

enum Work {
    None,
    /// `whole`: without `more`, the pieces are put together there.
    List {
        list: List,
        whole: Option<Found>,
        oneway: bool,
    },
    Monitor {
        queue: VecDeque<Event>,
        lost: u64,
    },
    MonitorFlows {
        matcher: Box<Matcher>,
        queue: VecDeque<FlowEvent>,
        lost: u64,
    },
}

/// What a client may use of what all share.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Octets its request may have beyond [`REQUEST_READER_MAX`].
    pub long: usize,
    /// Whether it may be answered now.
    pub answer: bool,
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
            stalled: None,
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

    /// When the connection is to be closed because half a request arrived and no more, or a long answer is not taken.
    pub fn deadline(&self) -> Option<Nanos> {
        self.began.into_iter().chain(self.stalled).min().map(|since| since + REQUEST_TIME)
    }

    /// Octets of its request beyond [`REQUEST_READER_MAX`].
    pub fn long(&self) -> usize {
        self.input.len().saturating_sub(REQUEST_READER_MAX)
    }

    /// Octets of answers it did not take yet.
    pub fn pending(&self) -> usize {
        self.output.len() - self.written
    }

    /// Whether it listens to events of tracked connections.
    pub fn is_flow_monitor(&self) -> bool {
        matches!(self.work, Work::MonitorFlows { .. })
    }

    /// Gives it events of tracked connections, of which it takes those it asked for.
    pub fn offer_flows(&mut self, events: &[(FlowInfo, FlowEvent)], lost_before: u64) {
        let Work::MonitorFlows { matcher, queue, lost } = &mut self.work else { return };
        *lost += lost_before;
        for (_, event) in events.iter().filter(|(flow, _)| matcher.matches(flow)) {
            if *lost == 0 && queue.len() < EVENTS_MAX {
                queue.push_back(event.clone());
            } else {
                *lost += 1;
            }
        }
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
    pub fn serve(&mut self, controller: &mut Controller, may_write: impl FnOnce(&Controller) -> bool, share: Share, now: Nanos) -> Served {
        let before = self.pending();
        if self.flush().is_err() {
            return Served::Over;
        }
        match self.pending() {
            0..ANSWER_LONG => self.stalled = None,
            left if left < before => self.stalled = Some(now),
            _ => drop(self.stalled.get_or_insert(now)),
        }
        if self.closing && (self.pending() == 0 || self.ended) {
            return Served::Over;
        }
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            return Served::Over;
        }
        if self.pending() > OUTPUT_LOW || self.closing || !share.answer && matches!(self.work, Work::None) {
            return Served::Waiting;
        }
        let more = match &mut self.work {
            Work::None => self.next_request(controller, may_write, share.long, now),
            Work::List { .. } => self.next_piece(controller, now),
            Work::Monitor { .. } | Work::MonitorFlows { .. } if self.ended => return Served::Over,
            Work::Monitor { .. } => self.next_events(),
            Work::MonitorFlows { .. } => self.next_flow_events(),
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

    /// Reads until a request is complete, and answers it; `true` when there may be more to do at once. `long` are octets it may have
    /// beyond [`REQUEST_READER_MAX`] for the sake of other clients.
    fn next_request(
        &mut self,
        controller: &mut Controller,
        may_write: impl FnOnce(&Controller) -> bool,
        long: usize,
        now: Nanos,
    ) -> io::Result<bool> {
        let end = self.input[self.scanned..].iter().position(|octet| *octet == 0).map(|at| at + self.scanned);
        let length = end.unwrap_or(self.input.len());
        let most = if self.privileged { REQUEST_MAX } else { REQUEST_READER_MAX };
        if length > most {
            let access = if self.privileged { "" } else { " from a client without write access" };
            return Ok(self.turn_away(error::REFUSED, format!("a request longer than {most} octets{access}")));
        }
        let Some(end) = end else {
            // Only before more is read: who holds much and waits is not turned away for another who comes.
            if self.privileged && self.readable && (length + READ_MAX).saturating_sub(REQUEST_READER_MAX) > long {
                return Ok(self.turn_away(error::BUSY, "other clients are sending long requests; try again".to_owned()));
            }
            self.scanned = length;
            return self.read(now);
        };
        let rest = self.input.split_off(end + 1);
        let message = std::mem::replace(&mut self.input, rest);
        self.scanned = 0;
        self.began = (!self.input.is_empty()).then_some(now);
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
        match dispatch::dispatch(controller, request, may_write, now) {
            Answer::List(list) => {
                let whole = (!more).then(|| list.found());
                self.work = Work::List { list, whole, oneway };
            }
            _ if oneway => {}
            Answer::Reply(parameters) => self.send(&Reply::parameters(Some(parameters))),
            Answer::Error(name, parameters) => self.send_error(name, parameters),
            Answer::Monitor => {
                self.work = Work::Monitor { queue: VecDeque::new(), lost: 0 };
                self.send_piece(MonitorReply { events: Vec::new() }, true);
            }
            Answer::MonitorFlows(matcher) => {
                self.work = Work::MonitorFlows { matcher: Box::new(matcher), queue: VecDeque::new(), lost: 0 };
                self.send_piece(MonitorFlowsReply::default(), true);
            }
        }
        Ok(true)
    }

    /// Says why, and hears no more.
    fn turn_away(&mut self, name: &str, message: String) -> bool {
        if let Answer::Error(name, parameters) = dispatch::fail(name, message) {
            self.send_error(name, parameters);
        }
        self.closing = true;
        false
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
                if self.input.is_empty() {
                    self.input = Vec::new();
                }
                Ok(false)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn next_piece(&mut self, controller: &Controller, now: Nanos) -> io::Result<bool> {
        let Work::List { mut list, whole, oneway } = std::mem::replace(&mut self.work, Work::None) else { return Ok(false) };
        let is_whole = whole.is_some();
        let mut found = whole.unwrap_or_else(|| list.found());
        let more = list.next(controller, now, &mut found);
        if let Some(message) = found.too_long().filter(|_| is_whole) {
            if let Answer::Error(name, parameters) = dispatch::refused(message)
                && !oneway
            {
                self.send_error(name, parameters);
            }
            return Ok(true);
        }
        if is_whole && more {
            self.work = Work::List { list, whole: Some(found), oneway };
            return Ok(true);
        }
        if !oneway && (!found.is_empty() || !more) {
            self.send_piece(found.parameters(), more);
        }
        if more {
            self.work = Work::List { list, whole: None, oneway };
        }
        Ok(true)
    }

    fn next_flow_events(&mut self) -> io::Result<bool> {
        let Work::MonitorFlows { queue, lost, .. } = &mut self.work else { return Ok(false) };
        let events: Vec<FlowEvent> = queue.drain(..queue.len().min(EVENTS_PIECE)).collect();
        // What was lost comes behind what waits.
        let lost = if queue.is_empty() { std::mem::take(lost) } else { 0 };
        let more = !queue.is_empty();
        if events.is_empty() && lost == 0 {
            return Ok(false);
        }
        self.send_piece(MonitorFlowsReply { events, lost }, true);
        Ok(more)
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
