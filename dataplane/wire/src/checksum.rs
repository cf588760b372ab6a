//! The internet checksum (RFC 1071): over pieces, with pseudo headers, and incrementally (RFC 1624).
//!
//! A [`Sum`] is added to piece by piece and then folded. Numbers in the interface are in host order; inside, words are
//! added as they lie in memory, which gives the same sum with its octets in memory order (RFC 1071 section 2 (B)) and
//! needs no swapping per word.

use core::net::{Ipv4Addr, Ipv6Addr};

/// A ones' complement sum of 16-bit words, taken over pieces that need not end on a word.
///
/// ```
/// use wire::checksum::Sum;
///
/// // RFC 1071 section 3
/// let octets = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
/// assert_eq!(Sum::of(&octets).fold(), 0xddf2);
/// assert_eq!(Sum::of(&octets[..3]).add(&octets[3..]).checksum(), !0xddf2);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum {
    /// Sum of words in memory order. Each piece adds one folded word, so 2^48 pieces fit.
    words: u64,
    /// Whether an odd number of octets was added so far.
    odd: bool,
}

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Sum = Sum { words: 0, odd: false };

    /// The sum of one piece.
    #[inline]
    pub fn of(piece: &[u8]) -> Sum {
        Sum::ZERO.add(piece)
    }

    /// The sum with the octets of `piece` behind those already added.
    #[inline]
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "not an addition of two sums")]
    pub fn add(self, piece: &[u8]) -> Sum {
        let words = fold(words(piece));
        // Behind an odd number of octets each octet takes the other place in its word, so the sum has its octets
        // swapped (RFC 1071 section 2 (B)).
        let words = if self.odd { words.swap_bytes() } else { words };
        Sum { words: self.words + u64::from(words), odd: self.odd ^ (piece.len() & 1 == 1) }
    }

    /// The sum with one more word, whatever the number of octets added so far. For fields whose place does not matter,
    /// such as those of a pseudo header or a partial checksum.
    #[inline]
    #[must_use]
    pub fn add_word(self, word: u16) -> Sum {
        Sum { words: self.words + u64::from(word.to_be()), odd: self.odd }
    }

    /// The sum as one word.
    #[inline]
    pub fn fold(self) -> u16 {
        u16::from_be(fold(self.words))
    }

    /// The sum as one word in memory order.
    #[inline]
    pub fn memory(self) -> u16 {
        fold(self.words)
    }

    /// The checksum: the complement of the sum.
    #[inline]
    pub fn checksum(self) -> u16 {
        !self.fold()
    }

    /// The checksum for UDP and for whoever does not mind: 0xffff in place of 0, which means "no checksum" in UDP
    /// (RFC 768; RFC 8200 section 8.1). Both are zero in ones' complement, so no receiver of another protocol can
    /// tell them apart; Linux writes `CSUM_MANGLED_0` for all of them alike.
    #[inline]
    pub fn nonzero_checksum(self) -> u16 {
        match self.checksum() {
            0 => 0xffff,
            checksum => checksum,
        }
    }
}

/// The pseudo header of TCP (RFC 9293 section 3.1) and UDP (RFC 768) over IPv4. `len` is the octets of the transport
/// header and what follows it.
#[inline]
pub fn pseudo_ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, len: u16) -> Sum {
    // Words of 32 bits fold to the same as those of 16.
    let words = [source.to_bits().to_be(), destination.to_bits().to_be(), u16::from(protocol).to_be().into(), len.to_be().into()];
    Sum { words: words.into_iter().map(u64::from).sum(), odd: false }
}

/// The pseudo header over IPv6 (RFC 8200 section 8.1). `destination` is the last one where a routing header says so;
/// `protocol` is that of the transport, not of an extension header; `len` is the octets of the transport header and
/// what follows it.
#[inline]
pub fn pseudo_ipv6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, len: u32) -> Sum {
    let sum = Sum::of(&source.octets()).add(&destination.octets()).add(&len.to_be_bytes());
    sum.add_word(u16::from(protocol))
}

/// The checksum after one word it covers changed from `old` to `new` (RFC 1624 equation 3, which unlike RFC 1141 does
/// not turn a valid checksum into 0xffff).
#[inline]
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    Sum::ZERO.add_word(!checksum).add_word(!old).add_word(new).checksum()
}

/// The checksum after the octets `old`, which start at an even offset, changed to `new` (RFC 1624 equation 3).
///
/// # Panics
///
/// If the lengths differ or are odd.
#[inline]
pub fn update_octets(checksum: u16, old: &[u8], new: &[u8]) -> u16 {
    assert!(old.len() == new.len() && old.len().is_multiple_of(2));
    // The sum of complements is the complement of the sum.
    Sum::of(new).add_word(!checksum).add_word(!Sum::of(old).fold()).checksum()
}

/// The sum of the words of `octets` in memory order, the last padded with zero.
#[inline]
fn words(octets: &[u8]) -> u64 {
    let (mut sum, octets) = if octets.len() < LONG { (0, octets) } else { many_words(octets) };
    // What follows has few words of 64 bits. A carry out of the top is worth 1 (RFC 1071 section 2 (C)).
    let mut add = |word: u64| {
        let carry;
        (sum, carry) = sum.overflowing_add(word);
        sum += u64::from(carry);
    };
    let (words, rest) = octets.as_chunks::<8>();
    for word in words {
        add(u64::from_ne_bytes(*word));
    }
    if let Some(quad) = rest.first_chunk::<4>() {
        add(u32::from_ne_bytes(*quad).into());
    }
    let rest = &rest[rest.len() & 4..];
    if let Some(pair) = rest.first_chunk::<2>() {
        add(u16::from_ne_bytes(*pair).into());
    }
    if let [.., last] = rest
        && rest.len() % 2 == 1
    {
        add(u16::from_ne_bytes([*last, 0]).into());
    }
    sum
}

/// Octets from which on vector code pays.
const LONG: usize = 128;

/// The sum of most words, and the octets that are left.
#[inline(never)]
fn many_words(octets: &[u8]) -> (u64, &[u8]) {
    // Eight lanes of 32-bit words in 64-bit sums: LLVM makes vector code of it, and no lane overflows below 2^32 words.
    let mut lanes = [0u64; 8];
    let (chunks, rest) = octets.as_chunks::<32>();
    for chunk in chunks {
        let (quads, _) = chunk.as_chunks::<4>();
        for (lane, quad) in lanes.iter_mut().zip(quads) {
            *lane += u64::from(u32::from_ne_bytes(*quad));
        }
    }
    (lanes.iter().sum(), rest)
}

/// Adds the carries of a sum of words of up to 32 bits back in until one of 16 is left.
#[inline]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32); // < 2^33
    let sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32); // < 2^18
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::checksum::Sum16BitWords;
    use proptest::prelude::*;

    #[test]
    fn rfc_1071_section_3() {
        let octets = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::of(&octets).fold(), 0xddf2);
    }

    #[test]
    fn rfc_1624_section_4() {
        // HC = 0xdd2f, m = 0x5555, m' = 0x3285 gives 0x0000, where equation 2 gives 0xffff.
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn nothing_sums_to_zero_and_zero_is_mangled() {
        assert_eq!((Sum::of(&[]).fold(), Sum::ZERO.checksum()), (0, 0xffff));
        assert_eq!(Sum::of(&[0xff, 0xff]).checksum(), 0);
        assert_eq!(Sum::of(&[0xff, 0xff]).nonzero_checksum(), 0xffff);
        assert_eq!(Sum::of(&[0xff, 0xfe]).nonzero_checksum(), 1);
    }

    #[test]
    fn the_longest_frame_of_the_largest_words() {
        // Every carry there can be; the ones' complement sum of 0xffff words is 0xffff.
        assert_eq!(Sum::of(&vec![0xff; 65_536]).fold(), 0xffff);
        let sum = (0..1000).fold(Sum::ZERO, |sum, _| sum.add(&[0xff; 64]));
        assert_eq!(sum.fold(), 0xffff);
    }

    proptest! {
        /// The whole against etherparse, and any cut into pieces against the whole.
        #[test]
        fn pieces_sum_to_the_whole(octets in prop::collection::vec(any::<u8>(), 0..2000), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
            let oracle = Sum16BitWords::new().add_slice(&octets).ones_complement();
            prop_assert_eq!(Sum::of(&octets).checksum(), u16::from_be(oracle));
            let mut cuts: Vec<usize> = cuts.iter().map(|i| i.index(octets.len() + 1)).collect();
            cuts.sort_unstable();
            let (mut sum, mut from) = (Sum::ZERO, 0);
            for cut in cuts {
                sum = sum.add(&octets[from..cut]);
                from = cut;
            }
            prop_assert_eq!(sum.add(&octets[from..]).checksum(), u16::from_be(oracle));
        }

        /// The incremental update against the full sum. All octets zero is left out: it is the one input whose sum is
        /// +0, which no update can reach, and no real header is all zeros.
        #[test]
        fn incremental_equals_full(mut octets in prop::collection::vec(any::<u8>(), 2..200), at in any::<prop::sample::Index>(), new in prop::collection::vec(any::<u8>(), 2..20)) {
            octets[0] |= 1;
            let before = Sum::of(&octets).checksum();
            let words = octets.len() / 2;
            let at = at.index(words) * 2;
            let len = new.len().min(octets.len() - at) / 2 * 2;
            let old = octets[at..at + len].to_vec();
            octets[at..at + len].copy_from_slice(&new[..len]);
            prop_assume!(octets.iter().any(|o| *o != 0));
            let full = Sum::of(&octets).checksum();
            prop_assert_eq!(update_octets(before, &old, &new[..len]), full);
            let by_word = old.chunks(2).zip(new.chunks(2)).fold(before, |c, (old, new)| {
                update(c, u16::from_be_bytes([old[0], old[1]]), u16::from_be_bytes([new[0], new[1]]))
            });
            // Word by word the frame may be all zeros in between, where the two zeros part; they are the same number.
            prop_assert_eq!(by_word % 0xffff, full % 0xffff);
        }

        /// Both pseudo headers with a UDP datagram behind them, against etherparse.
        #[test]
        fn pseudo_headers_match(a in any::<[u8; 16]>(), b in any::<[u8; 16]>(), payload in prop::collection::vec(any::<u8>(), 0..300)) {
            let (v4a, v4b) = ([a[0], a[1], a[2], a[3]], [b[0], b[1], b[2], b[3]]);
            let udp = etherparse::UdpHeader::without_ipv4_checksum(7, 9, payload.len()).unwrap();
            let ours = pseudo_ipv4(v4a.into(), v4b.into(), 17, udp.length).add(&udp.to_bytes()).add(&payload);
            prop_assert_eq!(ours.nonzero_checksum(), udp.calc_checksum_ipv4_raw(v4a, v4b, &payload).unwrap());
            let ours = pseudo_ipv6(a.into(), b.into(), 17, udp.length.into()).add(&udp.to_bytes()).add(&payload);
            prop_assert_eq!(ours.nonzero_checksum(), udp.calc_checksum_ipv6_raw(a, b, &payload).unwrap());
        }
    }
}
