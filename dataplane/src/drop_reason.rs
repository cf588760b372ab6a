//! Why a frame was not delivered: one list, from which counters, names and documentation come.

macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $side:ident;)+) => {
        /// Why a frame, or one copy of a flooded frame, was not delivered. Each such frame is counted under exactly one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl DropReason {
            /// Every reason, in the order of the counters.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant,)+];
            /// Number of reasons.
            pub const COUNT: usize = DropReason::ALL.len();

            /// The name in JSON, tables and documentation.
            pub const fn name(self) -> &'static str {
                match self { $(DropReason::$variant => $name,)+ }
            }

            /// What it means and what to do, for people.
            pub const fn description(self) -> &'static str {
                match self { $(DropReason::$variant => concat!($($doc,)+).trim_ascii(),)+ }
            }

            /// At which port it is counted.
            pub const fn side(self) -> Side {
                match self { $(DropReason::$variant => Side::$side,)+ }
            }
        }
    };
}

/// At which port a drop is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The port where the frame arrived.
    Ingress,
    /// The port where it should have left.
    Egress,
}

drop_reasons! {
    /// The kernel had no free slot in the receive ring: the worker is too slow, or the ring too small (`ring_size`).
    RxRingFull = "rx-ring-full", Ingress;
    /// The frame was longer than any frame the switch takes (65557 octets), or the kernel cut it.
    RxTruncated = "rx-truncated", Ingress;
    /// The virtio_net_hdr in front of the frame contradicts the frame.
    RxBadOffload = "rx-bad-offload", Ingress;
    /// The descriptors of the frame in the VM's transmit ring are invalid: they loop, point outside of its memory, or are too
    /// short for the virtio_net_hdr.
    RxBadDescriptor = "rx-bad-descriptor", Ingress;
    /// The frame is shorter than an Ethernet header (14 octets).
    Runt = "runt", Ingress;
    /// The frame ends inside its VLAN tag.
    VlanTagCut = "vlan-tag-cut", Ingress;
    /// The VLAN tag carries the reserved identifier 4095.
    VlanReserved = "vlan-reserved", Ingress;
    /// The port is disabled (`enabled = false`).
    IngressDisabled = "ingress-disabled", Ingress;
    /// The source address is a group address or all zeros.
    SrcMacInvalid = "src-mac-invalid", Ingress;
    /// A PAUSE or other MAC control frame, which no bridge forwards.
    MacControl = "mac-control", Ingress;
    /// The destination is one of the reserved group addresses 01:80:c2:00:00:02 to :0f; `group_fwd_mask` lets some pass.
    ReservedGroup = "reserved-group", Ingress;
    /// The frame arrived at a member of a bond that is not active (`all_slaves_active` lets it in).
    BondInactive = "bond-inactive", Ingress;
    /// The bond sent the frame by another member, and it came back.
    BondOwnFrame = "bond-own-frame", Ingress;
    /// The frame was for the control plane, where too many wait.
    PuntQueueFull = "punt-queue-full", Ingress;
    /// The frame has no VLAN tag, and the port has no native VLAN.
    NoPvid = "no-pvid", Ingress;
    /// The frame carries a VLAN tag, and the port is an access port (`accept_tagged` relaxes this).
    AccessTagged = "access-tagged", Ingress;
    /// The frame's VLAN is not one of the port's.
    VlanIngressFilter = "vlan-ingress-filter", Ingress;
    /// The frame would carry more than two VLAN tags outside its octets (stacked tunnels over patch ports).
    VlanStackFull = "vlan-stack-full", Ingress;
    /// The frame crossed more than eight patch ports: it goes round in a circle.
    PatchHops = "patch-hops", Ingress;
    /// The source address is bound to another port by a static or sticky entry.
    StaticMove = "static-move", Ingress;
    /// The destination is at the port the frame came from (`hairpin` lets it return).
    SamePort = "same-port", Ingress;
    /// The frame was to be flooded, and no other port may have it.
    NoFloodTarget = "no-flood-target", Ingress;
    /// The port caused more frames for the control plane than its share (ARP, neighbour discovery): a storm, or a scan.
    PuntRateLimit = "punt-rate-limit", Ingress;
    /// The frame came to an interface of a router, and is for another station.
    OtherHost = "other-host", Ingress;
    /// The frame came to an interface of a router and is none of IPv4, IPv6 and ARP.
    NotIp = "not-ip", Ingress;
    /// The IP header is damaged: version, length, checksum, or more extension headers than are looked at.
    IpInvalid = "ip-invalid", Ingress;
    /// The packet carries an address that must not be on a wire (Linux `log_martians`): loopback, or a group or 0.0.0.0 as source.
    Martian = "martian", Ingress;
    /// The packet came in by another interface than the one that leads to its source (`rp_filter`), or from an address of the
    /// router itself.
    RpFilter = "rp-filter", Ingress;
    /// No route leads to the destination.
    NoRoute = "no-route", Ingress;
    /// The route to the destination is a blackhole.
    RouteBlackhole = "route-blackhole", Ingress;
    /// The route to the destination is `unreachable`.
    RouteUnreachable = "route-unreachable", Ingress;
    /// The route to the destination is `prohibit`.
    RouteProhibit = "route-prohibit", Ingress;
    /// The packet is for somebody else, and the router does not forward (`forwarding = false`).
    ForwardingDisabled = "forwarding-disabled", Ingress;
    /// The time to live ran out. traceroute does this on purpose.
    TtlExceeded = "ttl-exceeded", Ingress;
    /// The packet is longer than the MTU of the interface it should leave by, and must not be fragmented.
    PacketTooBig = "packet-too-big", Ingress;
    /// The packet is longer than the MTU, and cannot be fragmented.
    NotFragmentable = "not-fragmentable", Ingress;
    /// A link-local or unspecified address must not leave its link.
    BeyondScope = "beyond-scope", Ingress;
    /// A packet for one station came in a frame for many.
    GroupUnicast = "group-unicast", Ingress;
    /// The packet is for the router itself or a group, and nothing listens there.
    NoListener = "no-listener", Ingress;
    /// The packet crossed more than eight routers of the daemon.
    RouterHops = "router-hops", Ingress;
    /// A rule or a policy dropped the packet.
    RuleDrop = "rule-drop", Ingress;
    /// A rule rejected the packet.
    RuleReject = "rule-reject", Ingress;
    /// The table of connections is full of connections that are in use (`conntrack_max`).
    ConntrackFull = "conntrack-full", Ingress;
    /// The port began as many connections as it may have (`conntrack_limit`).
    ConntrackLimit = "conntrack-limit", Ingress;
    /// Another connection took the same addresses and ports at the same moment.
    ConntrackClash = "conntrack-clash", Ingress;
    /// No address and port is left for the connection.
    NatExhausted = "nat-exhausted", Ingress;
    /// The packet is for a translated port, and from somebody that host has not sent to (`filtering`).
    NatFiltered = "nat-filtered", Ingress;
    /// The packet is part of a translated connection, and cannot be translated.
    NatUntranslatable = "nat-untranslatable", Ingress;
    /// A helper (FTP, TFTP) cannot follow the connection.
    HelperFailed = "helper-failed", Ingress;
    /// The SYN proxy answered no such packet: a wrong cookie, or a damaged packet.
    SynProxyRefused = "syn-proxy-refused", Ingress;
    /// The octets of the fragment were there already.
    FragmentDuplicate = "fragment-duplicate", Ingress;
    /// Fragments overlap, or contradict each other.
    FragmentOverlap = "fragment-overlap", Ingress;
    /// The fragment is damaged, or its packet would be too long.
    FragmentInvalid = "fragment-invalid", Ingress;
    /// The other fragments of the packet did not come in time.
    FragmentTimeout = "fragment-timeout", Ingress;
    /// Fragments had to go to make room for others.
    FragmentMemory = "fragment-memory", Ingress;
    /// The next hop does not answer ARP or neighbour discovery.
    NeighborFailed = "neighbor-failed", Ingress;
    /// Too many packets wait for the MAC address of the next hop.
    NeighborQueueFull = "neighbor-queue-full", Egress;
    /// Both ports are isolated.
    Isolated = "isolated", Egress;
    /// The destination is at a port that is not a member of the frame's VLAN.
    VlanEgressFilter = "vlan-egress-filter", Egress;
    /// The destination is at a port that is disabled, has no carrier or lost its device.
    PortDown = "port-down", Egress;
    /// No member of the bond can transmit.
    BondNoMember = "bond-no-member", Egress;
    /// The frame is longer than the MTU of the port it should leave.
    MtuExceeded = "mtu-exceeded", Egress;
    /// The frame needs software segmentation for this port, and its headers do not allow that.
    NotSegmentable = "not-segmentable", Egress;
    /// The transmit queue of the device was full.
    TxQueueFull = "tx-queue-full", Egress;
    /// The link went down between the decision and the transmission.
    TxLinkDown = "tx-link-down", Egress;
    /// The VM's receive buffer is invalid: its descriptors loop, point outside of its memory or are not writable.
    TxBadDescriptor = "tx-bad-descriptor", Egress;
    /// The VM's receive buffer is shorter than the frame, and the VM does not merge buffers (VIRTIO_NET_F_MRG_RXBUF).
    TxBufferTooSmall = "tx-buffer-too-small", Egress;
    /// The kernel refused the frame.
    TxRejected = "tx-rejected", Egress;
}

impl core::fmt::Display for DropReason {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_kebab_case() {
        let mut names: Vec<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        assert!(names.iter().all(|n| n.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::COUNT);
    }

    #[test]
    fn the_discriminant_is_the_index() {
        for (i, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, i);
            assert!(reason.description().ends_with('.'));
        }
    }
}
