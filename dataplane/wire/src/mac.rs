//! The 48-bit MAC address (IEEE 802-2014 clause 8.2).

use core::fmt;
use core::str::FromStr;

/// A 48-bit MAC address, in the order of the wire.
///
/// ```
/// let mac: wire::MacAddr = "52:54:00:1e:f1:21".parse().unwrap();
/// assert!(!mac.is_multicast());
/// assert_eq!(mac.to_string(), "52:54:00:1e:f1:21");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: MacAddr = MacAddr([0xff; 6]);
    /// `00:00:00:00:00:00`, never a valid source (IEEE 802.1Q-2018 clause 8.8).
    pub const ZERO: MacAddr = MacAddr([0; 6]);

    /// The address at the start of `octets`.
    ///
    /// # Panics
    ///
    /// If `octets` is shorter than 6.
    #[inline]
    pub fn at(octets: &[u8]) -> MacAddr {
        MacAddr([octets[0], octets[1], octets[2], octets[3], octets[4], octets[5]])
    }

    /// Whether the group bit is set: multicast, or broadcast as its special case.
    #[inline]
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether this is `ff:ff:ff:ff:ff:ff`.
    #[inline]
    pub fn is_broadcast(self) -> bool {
        self == MacAddr::BROADCAST
    }

    /// Whether this is `00:00:00:00:00:00`.
    #[inline]
    pub fn is_zero(self) -> bool {
        self == MacAddr::ZERO
    }

    /// The address as a number below 2^48, first octet of the wire highest.
    #[inline]
    pub const fn to_u64(self) -> u64 {
        let [a, b, c, d, e, f] = self.0;
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// The address whose number is the lower 48 bits of `value`.
    #[inline]
    pub const fn from_u64(value: u64) -> MacAddr {
        let [_, _, a, b, c, d, e, f] = value.to_be_bytes();
        MacAddr([a, b, c, d, e, f])
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        let mut text = [0u8; 17];
        for (i, octet) in [a, b, c, d, e, g].into_iter().enumerate() {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            text[i * 3] = HEX[usize::from(octet >> 4)];
            text[i * 3 + 1] = HEX[usize::from(octet & 15)];
            if i < 5 {
                text[i * 3 + 2] = b':';
            }
        }
        f.pad(core::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is not a MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseMacError;

impl fmt::Display for ParseMacError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a MAC address (six hexadecimal octets such as 52:54:00:12:34:56)")
    }
}

impl core::error::Error for ParseMacError {}

impl FromStr for MacAddr {
    type Err = ParseMacError;

    /// Reads six two-digit hexadecimal octets separated by `:` or `-`.
    fn from_str(text: &str) -> Result<MacAddr, ParseMacError> {
        let mut octets = [0u8; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().ok_or(ParseMacError)?;
            if part.len() != 2 || !part.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(ParseMacError);
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| ParseMacError)?;
        }
        match parts.next() {
            None => Ok(MacAddr(octets)),
            Some(_) => Err(ParseMacError),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for MacAddr {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for MacAddr {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<MacAddr, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = MacAddr;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a MAC address such as \"52:54:00:12:34:56\"")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<MacAddr, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        let mac = MacAddr([0x52, 0x54, 0x00, 0x1e, 0xf1, 0x21]);
        assert_eq!(mac.to_string(), "52:54:00:1e:f1:21");
        assert_eq!("52:54:00:1E:F1:21".parse(), Ok(mac));
        assert_eq!("52-54-00-1e-f1-21".parse(), Ok(mac));
    }

    #[test]
    fn bad_text_is_refused() {
        for text in ["", "52:54:00:1e:f1", "52:54:00:1e:f1:21:00", "5:54:00:1e:f1:21", "+2:54:00:1e:f1:21", "zz:54:00:1e:f1:21"] {
            assert_eq!(text.parse::<MacAddr>(), Err(ParseMacError), "{text:?}");
        }
    }

    #[test]
    fn number_round_trips_in_wire_order() {
        let mac = MacAddr([1, 2, 3, 4, 5, 6]);
        assert_eq!(mac.to_u64(), 0x0102_0304_0506);
        assert_eq!(MacAddr::from_u64(mac.to_u64()), mac);
    }

    #[test]
    fn kinds() {
        assert!(MacAddr::BROADCAST.is_multicast() && MacAddr::BROADCAST.is_broadcast());
        assert!(MacAddr([1, 0, 0x5e, 0, 0, 1]).is_multicast());
        assert!(MacAddr::ZERO.is_zero() && !MacAddr::ZERO.is_multicast());
    }
}
