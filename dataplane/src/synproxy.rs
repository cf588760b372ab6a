//! The SYN proxy: answers the SYNs of clients itself, without state, and lets a connection through to the server when the
//! client has answered (`net/netfilter/nf_synproxy_core.c`, target `SYNPROXY`).
//!
//! Nothing is kept of a SYN: the sequence number of the answer is a *cookie*, a keyed hash of addresses, ports, the client's
//! sequence number and the minute, with the client's MSS in it (RFC 4987 section 3.6). Window scale, SACK and ECN of the client
//! go into the lower bits of the timestamp, if the rule offers timestamps.
//!
//! ```text
//! client                         proxy                          server
//!   SYN seq=A          ------->  [SynProxy::target]
//!   SYN/ACK seq=C ack=A+1 win=0  <- Verdict::Answer
//!   ACK seq=A+1 ack=C+1 ------>  [SynProxy::target]
//!                                Verdict::Open ->  SYN seq=A (ack=C)      ------->
//!                                [SynProxy::established] <- SYN/ACK seq=S ack=A+1
//!                                Established::Opened -> ACK seq=A+1 ack=S+1 ----->
//!   <- ACK seq=C+1 ack=A+1 win   and the window for the client
//!   data  <------------------->  numbers of the server moved by C-S  <---------->
//! ```
//!
//! How it is wired into the way of a packet:
//!
//! - SYNs, and the ACKs that answer a cookie, must not begin flows: the rules exempt SYNs (`raw`: `--syn -j CT --notrack`), and
//!   connection tracking has `tcp_loose` off, so the ACK is `INVALID`; or it is on, the ACK `NEW`, and only SYNs are translated. A rule
//!   of `filter` in `INPUT` or `FORWARD` sends both to [`SynProxy::target`]. The packet ends there, unless the verdict is
//!   [`Verdict::Continue`].
//! - [`Verdict::Answer`] leaves untracked, to where the packet came from. [`Verdict::Open`] is tracked as a packet of the client:
//!   it goes through the tables `nat` as any first packet, and [`Status::SYN_PROXY`] is set on the flow it begins before that is
//!   confirmed.
//! - Packets of such flows come to [`SynProxy::established`] by
//!   [`Conntrack::extend`](crate::conntrack::Conntrack::extend), when they are translated and confirmed. A packet ends there if an
//!   [`Established`] other than `Pass` comes back. `Established::Opened::to_server` and [`Established::Open`] are sent as packets
//!   of the client, tracked, by the interface where the client is; `to_client` leaves as it is, untracked.
//!
//! [`Status::SYN_PROXY`]: crate::conntrack::Status::SYN_PROXY
//!
//! Any thread may use any method; only counters change.

use core::sync::atomic::{AtomicU64, Ordering};
use std::hash::{BuildHasher, RandomState};

use wire::{TcpHeader, ip_protocol, tcp};

use crate::clock::Nanos;
use crate::conntrack::seqadj::{CutHeader, edit_tcp_header, number, set_number};
use crate::conntrack::{Direction, SequenceAdjustment};
use crate::frame::Frame;
use crate::router::checksum;
use crate::router::packet::Packet;

mod cookie;
mod segment;

use cookie::Cookies;
pub use segment::Segment;
use segment::{Fields, TcpOptions};

/// What a rule with target `SYNPROXY` offers to clients; it must be what the servers offer, as the proxy answers for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `--mss`: the server's maximum segment size, octets.
    pub mss: Option<u16>,
    /// `--wscale`: the server's window scale, 0 to 14. Needs `timestamp`.
    pub wscale: Option<u8>,
    /// `--sack-perm`. Needs `timestamp`.
    pub sack_perm: bool,
    /// `--timestamp`.
    pub timestamp: bool,
    /// `--ecn`. Needs `timestamp`.
    pub ecn: bool,
}

/// What becomes of a packet that a rule gave to the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is neither a SYN nor an ACK: the next rule.
    Continue,
    /// A SYN was taken; this SYN/ACK goes back to the client, untracked.
    Answer(Segment),
    /// An ACK with a good cookie was taken; this SYN goes to the server, tracked as the first packet of a flow.
    Open(Segment),
}

/// What becomes of a packet of a flow that the proxy opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Established {
    /// It goes on.
    Pass,
    /// The client repeated its ACK and the packet was taken; this SYN goes to the server again.
    Open(Segment),
    /// The server's SYN/ACK was taken. Both ends can talk when they have these.
    Opened {
        /// Acknowledges the server's SYN, in the numbers the client knows: they are adjusted on its way as those of the client.
        to_server: Segment,
        /// Opens the window for the client; numbers are as the client knows them.
        to_client: Segment,
    },
}

/// Why a packet is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The TCP checksum is wrong.
    Checksum,
    /// It is no TCP, a fragment, or its header does not lie in the head of the frame.
    Cut,
    /// The acknowledged number is no cookie, or one that is older than two minutes.
    Cookie,
}

impl From<CutHeader> for Refused {
    fn from(CutHeader: CutHeader) -> Refused {
        Refused::Cut
    }
}

/// The proxy's part of a flow (`struct nf_conn_synproxy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The server has answered.
    is_open: bool,
    /// The cookie: what the client takes for the server's initial sequence number.
    isn: u32,
    /// The timestamp the client takes for the server's.
    timestamp: u32,
    /// What the server's timestamps are ahead of what the client is shown.
    timestamp_offset: u32,
    /// Window of the client.
    window: u16,
}

/// Counters, as in `/proc/net/stat/synproxy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// SYNs that were answered.
    pub syn_received: u64,
    /// ACKs with a bad or old cookie.
    pub cookie_invalid: u64,
    /// ACKs with a good cookie.
    pub cookie_valid: u64,
    /// ACKs that were repeated before the server answered.
    pub cookie_retrans: u64,
}

#[derive(Default)]
struct Counters {
    syn_received: AtomicU64,
    cookie_invalid: AtomicU64,
    cookie_valid: AtomicU64,
    cookie_retrans: AtomicU64,
}

/// The proxy: the key of its cookies, and counters. One a router.
pub struct SynProxy<S = RandomState> {
    cookies: Cookies<S>,
    counters: Counters,
}

impl Default for SynProxy {
    fn default() -> SynProxy {
        SynProxy::new(RandomState::new())
    }
}

/// A TCP segment, as far as the proxy looks at it.
struct Seen {
    fields: Fields,
    options: TcpOptions,
}

impl Seen {
    fn of(frame: &Frame<'_>, packet: &Packet) -> Result<Seen, Refused> {
        if packet.protocol != ip_protocol::TCP || packet.fragment.is_some() {
            return Err(Refused::Cut);
        }
        let octets = frame.head().get(usize::from(packet.l4)..).unwrap_or(&[]);
        let header = TcpHeader::new_checked(octets).map_err(|_| Refused::Cut)?;
        if header.header_len() > packet.l4_len() as usize {
            return Err(Refused::Cut);
        }
        Ok(Seen {
            fields: Fields {
                source_port: header.source_port(),
                destination_port: header.destination_port(),
                sequence: header.sequence(),
                acknowledgment: header.acknowledgment(),
                flags: header.flags() & 0xff,
                window: header.window(),
            },
            options: TcpOptions::parse(header.options()),
        })
    }

    fn has(&self, flags: u16) -> bool {
        self.fields.flags & flags == flags
    }

    fn lacks(&self, flags: u16) -> bool {
        self.fields.flags & flags == 0
    }
}

/// Milliseconds, the clock of the timestamps.
fn timestamp_clock(now: Nanos) -> u32 {
    (now / 1_000_000) as u32
}

impl<S: BuildHasher> SynProxy<S> {
    /// A proxy whose cookies are hashes with the key of `hasher`. It must be one that outsiders cannot compute, such as
    /// [`RandomState`].
    pub fn new(hasher: S) -> SynProxy<S> {
        SynProxy { cookies: Cookies::new(hasher), counters: Counters::default() }
    }

    /// Counters so far.
    pub fn stats(&self) -> Stats {
        let c = &self.counters;
        Stats {
            syn_received: c.syn_received.load(Ordering::Relaxed),
            cookie_invalid: c.cookie_invalid.load(Ordering::Relaxed),
            cookie_valid: c.cookie_valid.load(Ordering::Relaxed),
            cookie_retrans: c.cookie_retrans.load(Ordering::Relaxed),
        }
    }

    /// A packet for a rule with target `SYNPROXY`.
    ///
    /// # Errors
    ///
    /// [`Refused`]; the packet is to be dropped.
    pub fn target(&self, offer: &Options, frame: &Frame<'_>, packet: &Packet, now: Nanos) -> Result<Verdict, Refused> {
        let seen = Seen::of(frame, packet)?;
        if !checksum::is_right(packet, frame, packet.l4_len()) {
            return Err(Refused::Checksum);
        }
        if seen.has(tcp::SYN) && seen.lacks(tcp::ACK | tcp::FIN | tcp::RST) {
            self.counters.syn_received.fetch_add(1, Ordering::Relaxed);
            return Ok(Verdict::Answer(self.answer(offer, packet, &seen, now)));
        }
        if seen.has(tcp::ACK) && seen.lacks(tcp::SYN | tcp::FIN | tcp::RST) {
            let isn = seen.fields.sequence.wrapping_sub(1);
            return self.open(packet, &seen, &[isn], now).map(Verdict::Open);
        }
        Ok(Verdict::Continue)
    }

    /// The SYN/ACK with a cookie for a SYN.
    fn answer(&self, offer: &Options, packet: &Packet, seen: &Seen, now: Nanos) -> Segment {
        let theirs = &seen.options;
        let is_ecn = offer.ecn && seen.has(tcp::ECE | tcp::CWR);
        let mut ours = TcpOptions { mss: theirs.mss.and(offer.mss), ..TcpOptions::default() };
        let mut flags = tcp::SYN | tcp::ACK;
        if let Some((value, _)) = theirs.timestamps.filter(|_| offer.timestamp) {
            let wscale = theirs.wscale.and_then(|theirs| offer.wscale.map(|ours| (theirs, ours)));
            ours.sack_permitted = theirs.sack_permitted && offer.sack_perm;
            ours.wscale = wscale.map(|(_, ours)| ours);
            let told = cookie::Told { wscale: wscale.map(|(theirs, _)| theirs), sack: ours.sack_permitted, ecn: is_ecn };
            ours.timestamps = Some((told.in_timestamp(timestamp_clock(now)), value));
            if is_ecn {
                flags |= tcp::ECE;
            }
        }
        let cookie = self.cookies.make(packet, seen.fields.sequence, theirs.mss.unwrap_or(0), now);
        let fields = Fields {
            source_port: seen.fields.destination_port,
            destination_port: seen.fields.source_port,
            sequence: cookie,
            acknowledgment: seen.fields.sequence.wrapping_add(1),
            flags,
            window: 0,
        };
        Segment::new(packet.family, packet.destination, packet.source, &fields, &ours)
    }

    /// The SYN for the server, if `seen` acknowledges the cookie of a SYN with one of the sequence numbers `isns`.
    fn open(&self, packet: &Packet, seen: &Seen, isns: &[u32], now: Nanos) -> Result<Segment, Refused> {
        let cookie = seen.fields.acknowledgment.wrapping_sub(1);
        let found = isns.iter().find_map(|isn| Some((*isn, self.cookies.check(packet, *isn, cookie, now)?)));
        let Some((isn, mss)) = found else {
            self.counters.cookie_invalid.fetch_add(1, Ordering::Relaxed);
            return Err(Refused::Cookie);
        };
        self.counters.cookie_valid.fetch_add(1, Ordering::Relaxed);
        let mut options = TcpOptions { mss: Some(mss), timestamps: seen.options.timestamps, ..TcpOptions::default() };
        let mut flags = tcp::SYN;
        if let Some((_, echoed)) = options.timestamps {
            let told = cookie::Told::from_timestamp(echoed);
            (options.wscale, options.sack_permitted) = (told.wscale, told.sack);
            if told.ecn {
                flags |= tcp::ECE | tcp::CWR;
            }
        }
        // The server ignores what a SYN without ACK acknowledges; `established` learns the cookie from it, and from the echoed
        // timestamp what the client was shown.
        let fields = Fields { sequence: isn, acknowledgment: cookie, flags, ..seen.fields };
        Ok(Segment::new(packet.family, packet.source, packet.destination, &fields, &options))
    }

    /// A packet of a flow that the proxy opened, in the form in which it leaves the router (translated). May change timestamps in
    /// the frame, `state`, and `adjust`, how the server's sequence numbers are adjusted.
    ///
    /// # Errors
    ///
    /// [`Refused`]; the packet is to be dropped.
    pub fn established(
        &self,
        state: &mut State,
        adjust: &mut SequenceAdjustment,
        frame: &mut Frame<'_>,
        packet: &Packet,
        direction: Direction,
        now: Nanos,
    ) -> Result<Established, Refused> {
        let seen = Seen::of(frame, packet)?;
        match direction {
            Direction::Original if !state.is_open && seen.has(tcp::SYN) && seen.lacks(tcp::ACK) => {
                *state = State {
                    isn: seen.fields.acknowledgment,
                    timestamp: seen.options.timestamps.map_or(0, |(_, echoed)| echoed),
                    window: seen.fields.window,
                    ..State::default()
                };
                return Ok(Established::Pass);
            }
            // The client repeats its ACK, or probes the closed window with the number in front of its next one.
            Direction::Original if !state.is_open && seen.has(tcp::ACK) && seen.lacks(tcp::SYN | tcp::RST) => {
                let sequence = seen.fields.sequence;
                let syn = self.open(packet, &seen, &[sequence.wrapping_sub(1), sequence], now)?;
                self.counters.cookie_retrans.fetch_add(1, Ordering::Relaxed);
                return Ok(Established::Open(syn));
            }
            Direction::Reply if !state.is_open && seen.has(tcp::SYN | tcp::ACK) && seen.lacks(tcp::RST) => {
                *adjust = SequenceAdjustment::constant(state.isn.wrapping_sub(seen.fields.sequence) as i32);
                state.is_open = true;
                if let Some((value, _)) = seen.options.timestamps {
                    state.timestamp_offset = value.wrapping_sub(state.timestamp);
                }
                return Ok(opened(packet, &seen, state));
            }
            // A refusal counts from 0; the client takes it only at the number it expects.
            Direction::Reply if !state.is_open && seen.has(tcp::RST) => {
                *adjust = SequenceAdjustment::constant(state.isn.wrapping_sub(seen.fields.sequence).wrapping_add(1) as i32);
            }
            _ => {}
        }
        adjust_timestamps(frame, packet, direction, state)?;
        Ok(Established::Pass)
    }
}

/// The two ACKs that follow a server's SYN/ACK.
fn opened(packet: &Packet, seen: &Seen, state: &State) -> Established {
    let Fields { source_port, destination_port, acknowledgment, window, .. } = seen.fields;
    let timestamps = seen.options.timestamps;
    let to_server = Fields {
        source_port: destination_port,
        destination_port: source_port,
        sequence: acknowledgment,
        acknowledgment: state.isn.wrapping_add(1),
        flags: tcp::ACK,
        window: state.window,
    };
    // From here on windows of the server are scaled, and the window of a SYN/ACK is not.
    let window = window >> seen.options.wscale.unwrap_or(0);
    let to_client = Fields { sequence: state.isn.wrapping_add(1), flags: tcp::ACK, window, ..seen.fields };
    let shown = timestamps.map(|(value, echoed)| (value.wrapping_sub(state.timestamp_offset), echoed));
    let options = |timestamps| TcpOptions { timestamps, ..TcpOptions::default() };
    let echo = options(shown.map(|(value, echoed)| (echoed, value)));
    Established::Opened {
        to_server: Segment::new(packet.family, packet.destination, packet.source, &to_server, &echo),
        to_client: Segment::new(packet.family, packet.source, packet.destination, &to_client, &options(shown)),
    }
}

/// Shows the client the timestamps it knows, and the server its own.
fn adjust_timestamps(frame: &mut Frame<'_>, packet: &Packet, direction: Direction, state: &State) -> Result<(), CutHeader> {
    if state.timestamp_offset == 0 {
        return Ok(());
    }
    edit_tcp_header(frame, packet, |header| {
        let options = &mut header[tcp::HEADER_LEN_MIN..];
        let found = wire::tcp_options::iter(options).find(|o| o.kind == wire::tcp_options::TIMESTAMPS && o.data.len() == 8);
        let Some(at) = found.map(|option| option.data.start) else { return };
        match direction {
            Direction::Original => set_number(options, at + 4, number(options, at + 4).wrapping_add(state.timestamp_offset)),
            Direction::Reply => set_number(options, at, number(options, at).wrapping_sub(state.timestamp_offset)),
        }
    })
}

#[cfg(test)]
mod tests;
