//! The checksum of SCTP (RFC 9260 section 6.8), CRC32c, after a change of the first octets of a packet.
//!
//! A CRC is linear: that of the changed packet differs from that of the old one by the CRC (without its constants) of the
//! difference. So the packet itself, most of which may lie out of reach, need not be read, and a wrong checksum stays wrong.

/// The polynomial, lowest power in the highest bit.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `a` times x modulo the polynomial.
const fn times_x(a: u32) -> u32 {
    a >> 1 ^ if a & 1 != 0 { POLYNOMIAL } else { 0 }
}

/// `a` times `b` modulo the polynomial.
fn times(mut a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    while b != 0 {
        if b >> 31 != 0 {
            product ^= a;
        }
        (a, b) = (times_x(a), b << 1);
    }
    product
}

/// x to the power of `8 * octets`.
fn x_to_octets(mut octets: u32) -> u32 {
    // x^0 and x^8.
    let (mut power, mut square) = (1 << 31, 1 << (31 - 8));
    while octets != 0 {
        if octets & 1 != 0 {
            power = times(power, square);
        }
        (square, octets) = (times(square, square), octets >> 1);
    }
    power
}

/// By what the checksum of a packet of `len` octets changes (exclusive or, least significant octet first on the wire) when its
/// first four octets change from `old` to `new`.
pub(super) fn difference(old: [u8; 4], new: [u8; 4], len: u32) -> u32 {
    // Reflected, so the first octet is the lowest.
    let mut crc = u32::from_le_bytes(old) ^ u32::from_le_bytes(new);
    for _ in 0..32 {
        crc = times_x(crc);
    }
    times(crc, x_to_octets(len.saturating_sub(4)))
}

#[cfg(test)]
pub(super) fn checksum(octets: impl IntoIterator<Item = u8>) -> u32 {
    !octets.into_iter().fold(!0, |crc, octet| (0..8).fold(crc ^ u32::from(octet), |crc, _| times_x(crc)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The check value of the catalogue of parametrised CRC algorithms, and RFC 3720 appendix B.4.
    #[test]
    fn known_values() {
        assert_eq!(checksum(*b"123456789"), 0xe306_9283);
        assert_eq!(checksum([0; 32]), 0x8a91_36aa);
        assert_eq!(checksum(0..32), 0x46dd_794e);
    }

    proptest! {
        /// The difference against two sums over everything.
        #[test]
        fn as_if_summed_anew(mut octets in prop::collection::vec(any::<u8>(), 4..3000), new: [u8; 4]) {
            let before = checksum(octets.iter().copied());
            let old = *octets.first_chunk().unwrap();
            octets[..4].copy_from_slice(&new);
            prop_assert_eq!(before ^ difference(old, new, octets.len() as u32), checksum(octets));
        }
    }
}
