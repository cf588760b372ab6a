//! TCP options, one by one (RFC 9293 section 3.1).

use core::ops::Range;

/// End of the list.
pub const END: u8 = 0;
/// No operation.
pub const NOP: u8 = 1;
/// Maximum segment size (RFC 9293), 4 octets.
pub const MSS: u8 = 2;
/// Window scale (RFC 7323), 3 octets.
pub const WINDOW_SCALE: u8 = 3;
/// SACK permitted (RFC 2018), 2 octets.
pub const SACK_PERMITTED: u8 = 4;
/// Selective acknowledgment (RFC 2018), 2 octets and 8 per block.
pub const SACK: u8 = 5;
/// Timestamps (RFC 7323), 10 octets.
pub const TIMESTAMPS: u8 = 8;

/// One option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpOption {
    /// Kind.
    pub kind: u8,
    /// Where its data is, behind kind and length, counted from the first option.
    pub data: Range<usize>,
}

/// The options in `octets`, without end and padding. Ends at the first one that is damaged.
pub fn iter(octets: &[u8]) -> impl Iterator<Item = TcpOption> {
    let mut at = 0;
    core::iter::from_fn(move || {
        loop {
            match *octets.get(at)? {
                END => return None,
                NOP => at += 1,
                kind => {
                    let len = usize::from(*octets.get(at + 1)?);
                    if len < 2 || at + len > octets.len() {
                        return None;
                    }
                    let data = at + 2..at + len;
                    at += len;
                    return Some(TcpOption { kind, data });
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_syn() {
        let octets = [2, 4, 5, 0xb4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7];
        let found: Vec<_> = iter(&octets).map(|o| (o.kind, &octets[o.data])).collect();
        assert_eq!(found, [(MSS, &[5, 0xb4][..]), (SACK_PERMITTED, &[]), (TIMESTAMPS, &[1, 2, 3, 4, 0, 0, 0, 0]), (WINDOW_SCALE, &[7])]);
    }

    #[test]
    fn damaged_options_end_the_list() {
        for octets in [&[2, 4, 5][..], &[2, 1, 0, 0], &[2, 0], &[2], &[0, 2, 4, 5, 0xb4], &[]] {
            assert_eq!(iter(octets).count(), 0, "{octets:?}");
        }
        assert_eq!(iter(&[1, 1, 4, 2, 9]).count(), 1);
    }
}
