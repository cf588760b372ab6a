//! What rules ask of packets: plain data, one [`Match`] per option of the language.

use std::sync::Arc;

use super::set::IpSet;
use crate::conntrack::{CtState, Direction, Status};
use crate::router::{Address, InterfaceId};

/// One condition of a rule. All conditions of a rule must hold, and are asked in order.
///
/// A test that does not apply to a packet (ports of a fragment, the mark of a flow that is none) fails, inverted or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// The option has `!` in front of it.
    pub invert: bool,
    /// What is asked.
    pub test: Test,
}

/// What a condition asks. The comment gives the option of iptables.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// `-p`: protocol of the upper layer. `-p all` is no condition.
    Protocol(u8),
    /// `-s`.
    Source(Network),
    /// `-d`.
    Destination(Network),
    /// `-m iprange --src-range`: first and last address.
    SourceRange(Address, Address),
    /// `-m iprange --dst-range`.
    DestinationRange(Address, Address),
    /// `-i`, resolved to the interfaces the name or pattern stands for.
    InInterface(InterfaceSet),
    /// `-o`.
    OutInterface(InterfaceSet),
    /// `-f`: a fragment that is not the first.
    Fragment,
    /// `--sport`, `--dport`, `-m multiport`. Of TCP, UDP, UDP-Lite, SCTP and DCCP.
    Ports(Ports),
    /// `--tcp-flags MASK COMP`, `--syn`: the flags in `mask` are those in `compare`.
    TcpFlags {
        /// Flags that count, FIN 1 to CWR 0x80.
        mask: u8,
        /// Flags that are set.
        compare: u8,
    },
    /// `--tcp-option`: an option of this kind is there.
    TcpOption(u8),
    /// `--icmp-type`, `--icmpv6-type`.
    Icmp(IcmpType),
    /// `-m conntrack --ctstate`, `-m state --state`.
    CtState(CtStates),
    /// `--ctproto`.
    CtProtocol(u8),
    /// `--ctorigsrc`, `--ctorigdst`, `--ctreplsrc`, `--ctrepldst`.
    CtAddress(Direction, End, Network),
    /// `--ctorigsrcport`, `--ctorigdstport`, `--ctreplsrcport`, `--ctrepldstport`.
    CtPort(Direction, End, PortRange),
    /// `--ctstatus`: any of the bits.
    CtStatus(Status),
    /// `--ctexpire`: seconds until the flow is forgotten, least and most.
    CtExpire(u32, u32),
    /// `--ctdir`.
    CtDirection(Direction),
    /// `-m limit`.
    Limit {
        /// Nanoseconds for one packet.
        interval: u64,
        /// Packets at once after a rest, 1 to 10,000.
        burst: u32,
    },
    /// `-m mark`: mark of the packet.
    Mark {
        /// What the mark is under the mask.
        value: u32,
        /// Bits that count.
        mask: u32,
    },
    /// `-m connmark`: mark of the flow.
    ConnMark {
        /// What the mark is under the mask.
        value: u32,
        /// Bits that count.
        mask: u32,
    },
    /// `-m mac --mac-source`.
    MacSource(wire::MacAddr),
    /// `-m length`: octets of the IP packet, least and most.
    Length(u16, u16),
    /// `-m ttl`, `-m hl`.
    Ttl(Ttl),
    /// `-m dscp`: 0 to 63.
    Dscp(u8),
    /// `-m tos`: the traffic class under the mask.
    Tos {
        /// What it is.
        value: u8,
        /// Bits that count.
        mask: u8,
    },
    /// `-m addrtype --src-type`, `--dst-type`.
    AddressType {
        /// Which address.
        end: End,
        /// Any of these.
        types: AddressTypes,
        /// `--limit-iface-in`, `--limit-iface-out`: as seen from the interface at this end of the router.
        limit_interface: Option<End>,
    },
    /// `-m set --match-set`: `src` or `dst` for each dimension of the set, at most 2.
    Set {
        /// The set.
        set: Arc<IpSet>,
        /// First dimension.
        first: End,
        /// Second dimension.
        second: Option<End>,
    },
    /// `-m pkttype`.
    PacketType(PacketType),
    /// `-m rpfilter`: the packet passes the reverse path check. `--invert` is [`Match::invert`].
    RpFilter {
        /// `--loose`.
        loose: bool,
        /// `--accept-local`.
        accept_local: bool,
    },
    /// `-m statistic`.
    Statistic(Statistic),
}

/// An end of a packet, a flow or the way through the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// `src`; of the way through the router, where the packet comes in.
    Source,
    /// `dst`; where it leaves.
    Destination,
}

/// Addresses that are equal under a mask, which may have gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// What the bits in the mask are; no others are set.
    pub address: Address,
    /// Bits that count.
    pub mask: u128,
}

impl Network {
    /// `address/mask`; the bits of the address outside the mask do not matter.
    pub const fn new(address: Address, mask: u128) -> Network {
        Network { address: Address(address.0 & mask), mask }
    }

    /// Whether an address lies in it.
    #[inline]
    pub const fn contains(&self, address: Address) -> bool {
        address.0 & self.mask == self.address.0
    }
}

/// A set of interfaces of one router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InterfaceSet([u64; 4]);

impl InterfaceSet {
    /// Adds an interface.
    pub fn insert(&mut self, id: InterfaceId) {
        self.0[usize::from(id.0 / 64)] |= 1 << (id.0 % 64);
    }

    /// Whether an interface is in the set; none is in no set.
    #[inline]
    pub fn contains(&self, id: Option<InterfaceId>) -> bool {
        id.is_some_and(|id| self.0[usize::from(id.0 / 64)] & 1 << (id.0 % 64) != 0)
    }

    /// The interface, if it is just one.
    pub(super) fn single(&self) -> Option<InterfaceId> {
        let ones: u32 = self.0.iter().map(|word| word.count_ones()).sum();
        let word = self.0.iter().position(|word| *word != 0)?;
        (ones == 1).then(|| InterfaceId((word as u32 * 64 + self.0[word].trailing_zeros()) as u8))
    }
}

impl FromIterator<InterfaceId> for InterfaceSet {
    fn from_iter<I: IntoIterator<Item = InterfaceId>>(ids: I) -> InterfaceSet {
        let mut set = InterfaceSet::default();
        ids.into_iter().for_each(|id| set.insert(id));
        set
    }
}

/// Ports from `first` to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// Lowest.
    pub first: u16,
    /// Highest.
    pub last: u16,
}

impl PortRange {
    /// Whether a port lies in it.
    #[inline]
    pub const fn contains(&self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// Ports of a packet that are looked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Ports {
    /// `--sport`: in the range.
    Source(PortRange),
    /// `--dport`.
    Destination(PortRange),
    /// `-m multiport --sports`: in any of the ranges, at most [`Ports::MULTIPORT_MAX`] ports, a range counting as two.
    MultiSource(Box<[PortRange]>),
    /// `-m multiport --dports`.
    MultiDestination(Box<[PortRange]>),
    /// `-m multiport --ports`: either of the two.
    MultiEither(Box<[PortRange]>),
}

impl Ports {
    /// Ports in one multiport match at most (`XT_MULTI_PORTS`).
    pub const MULTIPORT_MAX: usize = 15;
}

/// Which ICMP messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpType {
    /// Type; `None` for any.
    pub kind: Option<u8>,
    /// Lowest and highest code.
    pub codes: (u8, u8),
}

/// States of `--ctstate`; a packet in any of them matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CtStates(pub u8);

impl CtStates {
    /// `INVALID`.
    pub const INVALID: CtStates = CtStates(1 << 0);
    /// `NEW`.
    pub const NEW: CtStates = CtStates(1 << 1);
    /// `ESTABLISHED`.
    pub const ESTABLISHED: CtStates = CtStates(1 << 2);
    /// `RELATED`.
    pub const RELATED: CtStates = CtStates(1 << 3);
    /// `UNTRACKED`.
    pub const UNTRACKED: CtStates = CtStates(1 << 4);
    /// `SNAT`: the flow's source is translated.
    pub const SNAT: CtStates = CtStates(1 << 5);
    /// `DNAT`: the flow's destination is translated.
    pub const DNAT: CtStates = CtStates(1 << 6);

    /// The states of a packet.
    #[inline]
    pub const fn of(state: CtState, status: Status) -> CtStates {
        let state = match state {
            CtState::Invalid => CtStates::INVALID,
            CtState::New => CtStates::NEW,
            CtState::Established => CtStates::ESTABLISHED,
            CtState::Related => CtStates::RELATED,
            CtState::Untracked => CtStates::UNTRACKED,
        };
        let source = if status.intersects(Status::SRC_NAT) { CtStates::SNAT.0 } else { 0 };
        let destination = if status.intersects(Status::DST_NAT) { CtStates::DNAT.0 } else { 0 };
        CtStates(state.0 | source | destination)
    }

    /// Those in `self` or `other`.
    #[must_use]
    pub const fn union(self, other: CtStates) -> CtStates {
        CtStates(self.0 | other.0)
    }

    /// Whether a state is in both.
    #[inline]
    pub const fn intersects(self, other: CtStates) -> bool {
        self.0 & other.0 != 0
    }
}

/// Kinds of addresses (`RTN_*`, `XT_ADDRTYPE_*`); an address is of any of those set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressTypes(pub u16);

impl AddressTypes {
    /// 0.0.0.0, ::.
    pub const UNSPEC: AddressTypes = AddressTypes(1 << 0);
    /// Of another host.
    pub const UNICAST: AddressTypes = AddressTypes(1 << 1);
    /// Of the router.
    pub const LOCAL: AddressTypes = AddressTypes(1 << 2);
    /// Broadcast.
    pub const BROADCAST: AddressTypes = AddressTypes(1 << 3);
    /// Anycast.
    pub const ANYCAST: AddressTypes = AddressTypes(1 << 4);
    /// Multicast.
    pub const MULTICAST: AddressTypes = AddressTypes(1 << 5);
    /// The route is a blackhole.
    pub const BLACKHOLE: AddressTypes = AddressTypes(1 << 6);
    /// The route rejects, or there is none.
    pub const UNREACHABLE: AddressTypes = AddressTypes(1 << 7);
    /// The route prohibits.
    pub const PROHIBIT: AddressTypes = AddressTypes(1 << 8);

    /// Those in `self` or `other`.
    #[must_use]
    pub const fn union(self, other: AddressTypes) -> AddressTypes {
        AddressTypes(self.0 | other.0)
    }

    /// Whether a kind is in both.
    pub const fn intersects(self, other: AddressTypes) -> bool {
        self.0 & other.0 != 0
    }
}

/// How a time to live compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// `--ttl-eq`.
    Equal(u8),
    /// `--ttl-lt`.
    Less(u8),
    /// `--ttl-gt`.
    Greater(u8),
}

/// Kinds of link-layer destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketType {
    /// To one station.
    Unicast,
    /// To all.
    Broadcast,
    /// To a group.
    Multicast,
}

/// Which packets of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Statistic {
    /// `--mode random`: with this probability, in parts of 2^31.
    Random(u32),
    /// `--mode nth`: one of `every` packets, at least 1, beginning with packet number `packet`, below `every`.
    Nth {
        /// Packets from one to the next.
        every: u32,
        /// Packets before the first.
        packet: u32,
    },
}
