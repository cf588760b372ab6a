//! Connection tracking (`net/netfilter/nf_conntrack_core.c`): which flow a packet belongs to, and in what state that is.
//!
//! A packet is tracked when it comes to the router, and the flow it begins is
//! confirmed when it leaves: what is dropped on the way leaves no entry.

pub mod helper;
pub mod seqadj;
pub mod tuple;

pub use tuple::{Direction, Tuple};

/// State of a packet for the `conntrack` and `state` matches (`enum ip_conntrack_info`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CtState {
    /// Belongs to no flow, and begins none.
    Invalid,
    /// First packet of a flow, or another before any answer.
    New,
    /// Flow that has seen packets in both directions.
    Established,
    /// Begins a flow that another one announced, or is an ICMP error about a flow.
    Related,
    /// Not tracked on demand (`-j CT --notrack`), or never (IPv6 neighbour discovery).
    Untracked,
}

/// What has happened to a flow: the bits of `enum ip_conntrack_status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Status(pub u32);

impl Status {
    /// Another flow announced it (`IPS_EXPECTED`).
    pub const EXPECTED: Status = Status(1 << 0);
    /// Packets went both ways.
    pub const SEEN_REPLY: Status = Status(1 << 1);
    /// Never dropped early for want of room.
    pub const ASSURED: Status = Status(1 << 2);
    /// It is in the table.
    pub const CONFIRMED: Status = Status(1 << 3);
    /// The source of the original direction is translated.
    pub const SRC_NAT: Status = Status(1 << 4);
    /// The destination of the original direction is translated.
    pub const DST_NAT: Status = Status(1 << 5);
    /// Sequence numbers are adjusted, as a helper changed the length of payload.
    pub const SEQ_ADJUST: Status = Status(1 << 6);
    /// Source translation was decided, if only to translate nothing.
    pub const SRC_NAT_DONE: Status = Status(1 << 7);
    /// Destination translation was decided.
    pub const DST_NAT_DONE: Status = Status(1 << 8);
    /// It is being removed.
    pub const DYING: Status = Status(1 << 9);
    /// Its timeout does not change.
    pub const FIXED_TIMEOUT: Status = Status(1 << 10);
    /// A helper looks into it.
    pub const HELPER: Status = Status(1 << 13);

    /// Whether all bits of `other` are set.
    #[inline]
    pub const fn contains(self, other: Status) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any bit of `other` is set.
    #[inline]
    pub const fn intersects(self, other: Status) -> bool {
        self.0 & other.0 != 0
    }

    /// Sets the bits of `other`.
    #[inline]
    pub fn insert(&mut self, other: Status) {
        self.0 |= other.0;
    }

    /// Clears the bits of `other`.
    #[inline]
    pub fn remove(&mut self, other: Status) {
        self.0 &= !other.0;
    }
}

/// An entry of the table. An entry that was removed and its slot taken by another has another generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    /// Slot.
    pub index: u32,
    /// Which of the entries that were in the slot.
    pub generation: u32,
}

/// What connection tracking says of one packet (`skb->_nfct`), copied out of the table: it goes along with the packet and
/// holds no lock.
#[derive(Clone, Debug)]
pub struct Tracking {
    /// State of the packet.
    pub state: CtState,
    /// Its direction. Of an ICMP error: that of the answer it stands for.
    pub direction: Direction,
    /// Status of the flow, as of now.
    pub status: Status,
    /// Mark of the flow (`CONNMARK`).
    pub mark: u32,
    /// Packets the sender of the flow sends.
    pub original: Tuple,
    /// Packets that answer, as they arrive: it says what is translated. The inverse of `original` where nothing is.
    pub reply: Tuple,
    /// The flow itself.
    pub flow: FlowRef,
}

/// Where a flow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowRef {
    /// There is none: the packet is invalid or untracked.
    None,
    /// In the table.
    Known(ConnId),
    /// With this packet only, until it is confirmed: `Tracking` and the new flow's own state.
    New,
}

impl Tracking {
    /// The tuple that packets of `direction` arrive with.
    #[inline]
    pub fn tuple(&self, direction: Direction) -> &Tuple {
        match direction {
            Direction::Original => &self.original,
            Direction::Reply => &self.reply,
        }
    }
}
