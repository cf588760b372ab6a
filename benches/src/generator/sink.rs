//! Receives streams and counts what became of each frame.
//!
//! Each flow has the number it expects next and a window of the numbers before, one bit each, so that a frame that comes again
//! is told from one that comes late, and every frame is counted exactly once. A frame older than the window is neither: it is
//! counted as stale. The window is large where flows are few (2^22 frames over all flows, at least 64 of each).

use anyhow::bail;
use dataplane::clock::Nanos;
use dataplane::{BurstMemory, RxError, RxQueue};
use hdrhistogram::Histogram;
use wire::Tag;

use super::frame::{self, Read};
use super::report::Arrivals;
use super::sender::ANNOUNCEMENT;
use super::traffic::{FCS, Traffic};

/// Bits of all windows of a stream, where that is enough for [`WINDOW_MIN`].
const WINDOWS: usize = 1 << 22;
const WINDOW_MIN: usize = 64;

/// Times above are counted as this.
const LATENCY_MAX: u64 = 60_000_000_000;

/// What a number says of the frame that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Not before, and no later one came yet.
    New,
    /// Not before, but a later one came already (RFC 4737 section 3.3).
    Reordered,
    /// It came before.
    Duplicate,
    /// So long before the highest that nobody knows.
    Stale,
}

/// The numbers seen of each flow of a stream.
struct Seen {
    /// 64-bit words of the window of each flow, a power of two.
    words: usize,
    next: Vec<u64>,
    bits: Vec<u64>,
}

impl Seen {
    fn new(flows: u32) -> Seen {
        let flows = flows as usize;
        let words = (WINDOWS / flows).max(WINDOW_MIN).next_power_of_two() / 64;
        Seen { words, next: vec![0; flows], bits: vec![0; flows * words] }
    }

    #[inline]
    fn see(&mut self, flow: u32, number: u64) -> Order {
        let flow = flow as usize;
        let next = &mut self.next[flow];
        let window = &mut self.bits[flow * self.words..][..self.words];
        let word = (number >> 6) as usize & (window.len() - 1);
        let bit = 1 << (number & 63);
        if number >= *next {
            // The words between are of numbers that did not come.
            let gap = (number >> 6) - (*next >> 6) + u64::from(*next & 63 == 0);
            for ahead in 0..gap.min(window.len() as u64) {
                window[word.wrapping_sub(ahead as usize) & (self.words - 1)] = 0;
            }
            window[word] |= bit;
            *next = number + 1;
            return Order::New;
        }
        // The word of the highest number holds fewer than 64; count whole words only.
        if ((*next - 1) >> 6) - (number >> 6) >= window.len() as u64 {
            return Order::Stale;
        }
        if window[word] & bit != 0 {
            return Order::Duplicate;
        }
        window[word] |= bit;
        Order::Reordered
    }
}

/// What arrives of one stream.
struct Stream {
    seen: Seen,
    arrivals: Arrivals,
    latency: Histogram<u64>,
}

/// Receives from the queues of one endpoint.
pub(super) struct Sink<'a> {
    name: &'a str,
    rx: &'a mut [Box<dyn RxQueue>],
    traffics: &'a [Traffic],
    /// By number of the stream; made when the first frame comes.
    streams: Vec<Option<Stream>>,
    damaged: u64,
    foreign: u64,
    overruns: u64,
    received: u64,
}

/// What a sink counted.
pub(super) struct Counted {
    /// By number of the stream.
    pub(super) arrivals: Vec<(Arrivals, Option<Histogram<u64>>)>,
    pub(super) damaged: u64,
    pub(super) foreign: u64,
    pub(super) overruns: u64,
}

impl<'a> Sink<'a> {
    pub(super) fn new(name: &'a str, rx: &'a mut [Box<dyn RxQueue>], traffics: &'a [Traffic]) -> Sink<'a> {
        Sink { name, rx, traffics, streams: traffics.iter().map(|_| None).collect(), damaged: 0, foreign: 0, overruns: 0, received: 0 }
    }

    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// Frames of all streams that came for the first time.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Takes one burst from each queue; says whether anything arrived. `is_counted` tells by the clock whether a frame that
    /// arrives now is of the measured span.
    ///
    /// # Errors
    ///
    /// When the device is gone.
    pub(super) fn poll(
        &mut self,
        memory: &mut BurstMemory,
        clock: &dyn Fn() -> Nanos,
        is_counted: impl Fn(Nanos) -> bool,
    ) -> anyhow::Result<bool> {
        let mut any = false;
        for rx in &mut *self.rx {
            let mut burst = memory.burst();
            let result = rx.receive(&mut burst);
            self.overruns += burst.losses().iter().map(|(_, count)| count).sum::<u64>();
            if !burst.is_empty() {
                any = true;
                let now = clock();
                let is_counted = is_counted(now);
                for received in burst.frames_mut() {
                    let (label, vlan) = match frame::read(received) {
                        Read::Ours(label, vlan) => (label, vlan),
                        Read::Foreign => {
                            self.foreign += 1;
                            continue;
                        }
                        // Whose it was cannot be trusted.
                        Read::Damaged => {
                            self.damaged += 1;
                            continue;
                        }
                    };
                    let number = usize::from(label.stream);
                    let Some(traffic) = self.traffics.get(number) else {
                        // An announcement, or what is left of another run.
                        self.foreign += u64::from(label.stream != ANNOUNCEMENT);
                        continue;
                    };
                    let stream = stream(&mut self.streams, self.traffics, number);
                    if !frame::is_of_flow(received, traffic, label.flow, vlan) {
                        self.damaged += 1;
                        continue;
                    }
                    match stream.seen.see(label.flow, label.sequence) {
                        Order::New => {}
                        Order::Reordered => stream.arrivals.reordered += 1,
                        Order::Duplicate => {
                            stream.arrivals.duplicates += 1;
                            continue;
                        }
                        Order::Stale => {
                            stream.arrivals.stale += 1;
                            continue;
                        }
                    }
                    self.received += 1;
                    stream.arrivals.received += 1;
                    stream.arrivals.octets += (received.len() + received.tags().len() * Tag::LEN + FCS) as u64;
                    if is_counted {
                        stream.arrivals.received_in_span += 1;
                        stream.latency.saturating_record(frame::age(&label, now).max(1));
                    }
                }
            }
            drop(burst);
            rx.release();
            match result {
                Ok(()) | Err(RxError::LinkDown) => {}
                Err(error) => bail!("{}: the sink cannot receive: {error:?}", self.name),
            }
        }
        Ok(any)
    }

    pub(super) fn finish(self) -> Counted {
        let arrivals = self.streams.into_iter().map(|stream| match stream {
            Some(stream) => (stream.arrivals, Some(stream.latency)),
            None => (Arrivals::default(), None),
        });
        Counted { arrivals: arrivals.collect(), damaged: self.damaged, foreign: self.foreign, overruns: self.overruns }
    }
}

#[inline]
fn stream<'s>(streams: &'s mut [Option<Stream>], traffics: &[Traffic], number: usize) -> &'s mut Stream {
    streams[number].get_or_insert_with(|| Stream {
        seen: Seen::new(traffics[number].flows),
        arrivals: Arrivals::default(),
        latency: Histogram::new_with_bounds(1, LATENCY_MAX, 3).expect("valid bounds"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn order_is_told() {
        let mut seen = Seen::new(2);
        let orders: Vec<_> = [0, 1, 3, 2, 3, 2, 4].map(|number| seen.see(1, number)).into();
        use Order::{Duplicate, New, Reordered};
        assert_eq!(orders, [New, New, New, Reordered, Duplicate, Duplicate, New]);
        assert_eq!(seen.see(0, 5), New, "flows are apart");
    }

    proptest! {
        /// Against a set of everything that came, with jumps across words and whole windows.
        #[test]
        fn it_agrees_with_a_set(steps in prop::collection::vec((0u8..10, 0u64..5000), 1..500)) {
            let mut seen = Seen::new((WINDOWS / WINDOW_MIN) as u32);
            prop_assert_eq!(seen.words, 1);
            seen.words = 8;
            seen.bits = vec![0; seen.next.len() * 8];
            let (mut set, mut next) = (HashSet::new(), 0u64);
            for (kind, step) in steps {
                let number = match kind {
                    0..5 => next,
                    5 => next + step,
                    6 => next + step % 70,
                    _ => next.saturating_sub(step % 600),
                };
                let order = seen.see(7, number);
                let expected = match (number >= next, set.contains(&number)) {
                    (true, _) => Order::New,
                    (false, true) => Order::Duplicate,
                    (false, false) => Order::Reordered,
                };
                let is_within = number >= next || next - number <= 512 - 63;
                if is_within {
                    prop_assert_eq!(order, expected, "{} of {}", number, next);
                } else {
                    prop_assert!(order == Order::Stale || order == expected);
                }
                set.insert(number);
                next = next.max(number + 1);
            }
        }
    }
}
