//! The feature bits of virtio-net, and which of them the switch offers (virtio 1.2 clauses 5.1.3 and 6).

use dataplane::device::Capabilities;
use wire::Offload;

macro_rules! features {
    ($($(#[doc = $doc:literal])+ $name:ident = $bit:literal, $text:literal;)+) => {
        $($(#[doc = $doc])+ pub const $name: u64 = 1 << $bit;)+

        /// What the switch offers.
        pub const OFFERED: u64 = $($name)|+;

        /// The names of the features set, as in `linux/virtio_net.h` without the prefix and in lower case.
        pub fn names(features: u64) -> Vec<&'static str> {
            [$(($name, $text),)+].into_iter().filter(|(bit, _)| features & bit != 0).map(|(_, name)| name).collect()
        }
    };
}

features! {
    /// `VIRTIO_NET_F_CSUM`: the switch takes frames whose checksum is not finished.
    CSUM = 0, "csum";
    /// `VIRTIO_NET_F_GUEST_CSUM`: so does the driver.
    GUEST_CSUM = 1, "guest_csum";
    /// `VIRTIO_NET_F_GUEST_TSO4`: the driver takes large TCP segments over IPv4.
    GUEST_TSO4 = 7, "guest_tso4";
    /// `VIRTIO_NET_F_GUEST_TSO6`: and over IPv6.
    GUEST_TSO6 = 8, "guest_tso6";
    /// `VIRTIO_NET_F_GUEST_ECN`: and with congestion window reduced.
    GUEST_ECN = 9, "guest_ecn";
    /// `VIRTIO_NET_F_HOST_TSO4`: the switch takes large TCP segments over IPv4.
    HOST_TSO4 = 11, "host_tso4";
    /// `VIRTIO_NET_F_HOST_TSO6`: and over IPv6.
    HOST_TSO6 = 12, "host_tso6";
    /// `VIRTIO_NET_F_HOST_ECN`: and with congestion window reduced.
    HOST_ECN = 13, "host_ecn";
    /// `VIRTIO_NET_F_MRG_RXBUF`: a frame may fill several buffers of the driver.
    MRG_RXBUF = 15, "mrg_rxbuf";
    /// `VIRTIO_NET_F_GUEST_ANNOUNCE`: the driver announces itself after a migration; the VMM sees to it.
    GUEST_ANNOUNCE = 21, "guest_announce";
    /// `VIRTIO_NET_F_MQ`: several pairs of rings.
    MQ = 22, "mq";
    /// `VIRTIO_F_INDIRECT_DESC`.
    INDIRECT_DESC = 28, "indirect_desc";
    /// `VIRTIO_F_EVENT_IDX`.
    EVENT_IDX = 29, "event_idx";
    /// `VHOST_USER_F_PROTOCOL_FEATURES`.
    PROTOCOL_FEATURES = 30, "protocol_features";
    /// `VIRTIO_F_VERSION_1`.
    VERSION_1 = 32, "version_1";
    /// `VIRTIO_NET_F_GUEST_USO4`: the driver takes several UDP datagrams at once over IPv4.
    GUEST_USO4 = 54, "guest_uso4";
    /// `VIRTIO_NET_F_GUEST_USO6`: and over IPv6.
    GUEST_USO6 = 55, "guest_uso6";
    /// `VIRTIO_NET_F_HOST_USO`: the switch takes several UDP datagrams at once.
    HOST_USO = 56, "host_uso";
}

/// What a driver with these features does with frames that are not finished.
pub(super) fn capabilities(features: u64) -> Capabilities {
    let has = |bits| features & bits == bits;
    Capabilities {
        checksum: has(GUEST_CSUM),
        tso4: has(GUEST_CSUM | GUEST_TSO4),
        tso6: has(GUEST_CSUM | GUEST_TSO6),
        ecn: has(GUEST_ECN),
        uso: has(GUEST_CSUM | GUEST_USO4 | GUEST_USO6),
    }
}

/// Octets of the header in front of each frame (clause 5.1.6).
pub(super) fn header_len(features: u64) -> usize {
    if features & (VERSION_1 | MRG_RXBUF) != 0 { Offload::LEN_V1 } else { Offload::LEN }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_bits() {
        assert_eq!(names(VERSION_1 | MRG_RXBUF | 1), ["csum", "mrg_rxbuf", "version_1"]);
        assert_eq!(names(OFFERED).len() as u32, OFFERED.count_ones());
    }

    #[test]
    fn segmentation_needs_the_checksum() {
        assert_eq!(capabilities(GUEST_TSO4 | GUEST_TSO6 | GUEST_USO4 | GUEST_USO6), Capabilities::NONE);
        assert_eq!(capabilities(OFFERED), Capabilities::ALL);
        assert!(!capabilities(OFFERED & !GUEST_USO6).uso);
        assert_eq!((header_len(0), header_len(MRG_RXBUF), header_len(VERSION_1)), (10, 12, 12));
    }
}
