//! The ends of TCP connections that are told by `generate`.

use crate::packet::{ACK, FIN, RST, SYN, Upper};
use crate::random::Random;
use crate::script::Way;

/// Both ends of a TCP connection, as far as the numbers go.
pub(crate) struct TcpEnds {
    /// Next sequence number of each way, and the window and scale each advertises.
    next: [u32; 2],
    window: [u16; 2],
    scale: Option<u8>,
    options: Vec<u8>,
}

/// A segment on its way.
pub(crate) type Segment = (Way, Upper);

impl TcpEnds {
    /// Ends that have not spoken yet, with windows and options by chance.
    pub(crate) fn new(random: &mut Random) -> TcpEnds {
        let isn = |random: &mut Random| *random.pick(&[1_000_000, 0xffff_ff00, 0x7fff_fff0, 77]);
        let next = [isn(random), isn(random)];
        let window = [*random.pick(&[64000, 8192, 500, 0]), *random.pick(&[64000, 29200, 2000])];
        let scale = random.one_in(2).then(|| *random.pick(&[0, 2, 7, 14, 15]));
        let mut options = Vec::new();
        if random.one_in(2) {
            options.extend([2, 4, 5, 0xb4]);
        }
        if let Some(scale) = scale {
            options.extend([1, 3, 3, scale]);
        }
        if random.one_in(3) {
            options.extend([4, 2]);
        }
        if random.one_in(4) {
            options.extend([8, 10, 0, 0, 0, 1, 0, 0, 0, 0]);
        }
        TcpEnds { next, window, scale, options }
    }

    /// As if the handshake had been.
    pub(crate) fn skip_opening(&mut self) {
        self.next = self.next.map(|next| next.wrapping_add(1));
    }

    fn upper(&self, way: Way, flags: u8, len: u16) -> Upper {
        let (seq, ack) = (self.next[way as usize], if flags & ACK != 0 { self.next[1 - way as usize] } else { 0 });
        let options = if flags & SYN != 0 { self.options.clone() } else { Vec::new() };
        Upper::Tcp { seq, ack, flags, window: self.window[way as usize], options, len }
    }

    /// The next segment of a way.
    pub(crate) fn segment(&mut self, way: Way, flags: u8, len: u16) -> Segment {
        let segment = self.upper(way, flags, len);
        let next = &mut self.next[way as usize];
        *next = next.wrapping_add(u32::from(len) + u32::from(flags & SYN != 0) + u32::from(flags & FIN != 0));
        (way, segment)
    }

    /// FIN of a host that has not seen the other's.
    pub(crate) fn unaware(&mut self, way: Way) -> Segment {
        let (way, mut upper) = self.segment(way, FIN | ACK, 0);
        if let Upper::Tcp { ack, .. } = &mut upper {
            *ack = ack.wrapping_sub(1);
        }
        (way, upper)
    }

    /// A probe with the last octet's number.
    pub(crate) fn keep_alive(&mut self, way: Way) -> Segment {
        let mut upper = self.upper(way, ACK, 0);
        if let Upper::Tcp { seq, .. } = &mut upper {
            *seq = seq.wrapping_sub(1);
        }
        (way, upper)
    }

    /// A segment that nobody waits for: outside the window, acknowledging what was not sent, or a RST somewhere.
    pub(crate) fn stray(&mut self, way: Way, random: &mut Random) -> Segment {
        let flags = *random.pick(&[ACK, ACK, RST, RST, RST | ACK, SYN, SYN | ACK, FIN | ACK]);
        let mut upper = self.upper(way, flags, *random.pick(&[0, 0, 100]));
        let far = 1_u32 << (16 + self.scale.unwrap_or(0).min(14));
        let off =
            *random.pick(&[1, 100, 0xffff_ff9c, far, far.wrapping_neg(), 0x4000_0000, 0x8000_0000, 70_000, 0u32.wrapping_sub(70_000)]);
        if let Upper::Tcp { seq, ack, .. } = &mut upper {
            if random.one_in(3) {
                *ack = ack.wrapping_add(off);
            } else {
                *seq = seq.wrapping_add(off);
            }
        }
        (way, upper)
    }

    /// A segment with any flags.
    pub(crate) fn with_flags(&mut self, way: Way, flags: u8) -> Segment {
        (way, self.upper(way, flags, 0))
    }

    /// The same ends connect again, with numbers that much later.
    pub(crate) fn again(&mut self, later: u32) -> Vec<Segment> {
        self.next = self.next.map(|next| next.wrapping_add(later));
        vec![self.segment(Way::Original, SYN, 0), self.segment(Way::Reply, SYN | ACK, 0), self.segment(Way::Original, ACK, 0)]
    }
}
