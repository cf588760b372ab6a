//! IP addresses of both families as one type, so that tables and tuples need no second copy of their code.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Family {
    /// IPv4 (RFC 791).
    V4 = 4,
    /// IPv6 (RFC 8200).
    V6 = 6,
}

impl Family {
    /// As an index into a pair of tables.
    #[inline]
    pub const fn index(self) -> usize {
        match self {
            Family::V4 => 0,
            Family::V6 => 1,
        }
    }

    /// Bits of an address.
    #[inline]
    pub const fn bits(self) -> u8 {
        match self {
            Family::V4 => 32,
            Family::V6 => 128,
        }
    }

    /// The EtherType.
    #[inline]
    pub const fn ether_type(self) -> u16 {
        match self {
            Family::V4 => 0x0800,
            Family::V6 => 0x86dd,
        }
    }
}

/// An address as a number in host order; an IPv4 address is below 2^32. Which of the two it is, its surroundings say
/// ([`Family`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(pub u128);

impl Address {
    /// 0.0.0.0 or ::.
    pub const UNSPECIFIED: Address = Address(0);

    /// As the standard library's type.
    pub fn to_ip(self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.to_v4().into(),
            Family::V6 => self.to_v6().into(),
        }
    }

    /// An IPv4 address as the standard library's type.
    #[inline]
    pub const fn to_v4(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.0 as u32)
    }

    /// An IPv6 address as the standard library's type.
    #[inline]
    pub const fn to_v6(self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.0)
    }

    /// The bits a prefix of `len` bits leaves free, set.
    ///
    /// # Panics
    ///
    /// In debug builds, if `len` is longer than an address.
    #[inline]
    pub const fn host_mask(family: Family, len: u8) -> u128 {
        let free = family.bits() - len;
        if free >= 128 { u128::MAX } else { (1u128 << free) - 1 }
    }

    /// Whether the address lies in `prefix/len`.
    #[inline]
    pub const fn is_in(self, family: Family, prefix: Address, len: u8) -> bool {
        (self.0 ^ prefix.0) & !Address::host_mask(family, len) == 0 || len == 0
    }

    /// 224.0.0.0/4 (RFC 5771) or ff00::/8 (RFC 4291 section 2.7).
    #[inline]
    pub const fn is_multicast(self, family: Family) -> bool {
        match family {
            Family::V4 => self.0 >> 28 == 0xe,
            Family::V6 => self.0 >> 120 == 0xff,
        }
    }

    /// 127.0.0.0/8 or ::1.
    #[inline]
    pub const fn is_loopback(self, family: Family) -> bool {
        match family {
            Family::V4 => self.0 >> 24 == 127,
            Family::V6 => self.0 == 1,
        }
    }

    /// 169.254.0.0/16 (RFC 3927) or fe80::/10 (RFC 4291 section 2.5.6).
    #[inline]
    pub const fn is_link_local(self, family: Family) -> bool {
        match family {
            Family::V4 => self.0 >> 16 == 0xa9fe,
            Family::V6 => self.0 >> 118 == 0x3fa,
        }
    }

    /// Whether the IPv6 address has a meaning within a link or a site only: fe80::/10 (RFC 4291 section 2.5.6), fec0::/10 (RFC 3879).
    #[inline]
    pub const fn is_scoped(self) -> bool {
        matches!(self.0 >> 118, 0x3fa | 0x3fb)
    }

    /// As it is written down.
    pub fn display(self, family: Family) -> impl fmt::Display {
        self.to_ip(family)
    }
}

impl From<Ipv4Addr> for Address {
    fn from(address: Ipv4Addr) -> Address {
        Address(address.to_bits().into())
    }
}

impl From<Ipv6Addr> for Address {
    fn from(address: Ipv6Addr) -> Address {
        Address(address.to_bits())
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Address {
        match address {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => address.into(),
        }
    }
}

impl From<IpAddr> for Family {
    fn from(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}
