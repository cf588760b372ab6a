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
