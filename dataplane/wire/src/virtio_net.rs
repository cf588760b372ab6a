//! `struct virtio_net_hdr`, the header in front of every frame of a TAP or AF_PACKET socket with offloads
//! (virtio 1.2 clause 5.1.6; `include/uapi/linux/virtio_net.h`).
//!
//! It says which work on the frame is left to do: finish a checksum, cut a large segment. Numbers are in the byte order
//! of the host, as TAP and AF_PACKET use it unless told otherwise.

/// The checksum from `csum_start` to the end is still to be finished (`VIRTIO_NET_HDR_F_NEEDS_CSUM`).
pub const FLAG_NEEDS_CSUM: u8 = 1;
/// The checksum was verified by whoever delivered the frame (`VIRTIO_NET_HDR_F_DATA_VALID`).
pub const FLAG_DATA_VALID: u8 = 2;

/// No segmentation to do.
pub const GSO_NONE: u8 = 0;
/// A TCP segment over IPv4, larger than the MTU.
pub const GSO_TCPV4: u8 = 1;
/// A TCP segment over IPv6, larger than the MTU.
pub const GSO_TCPV6: u8 = 4;
/// Several UDP datagrams of `gso_size` octets each (USO).
pub const GSO_UDP_L4: u8 = 5;
/// Set beside a TCP kind when the segment carries congestion window reduced (RFC 3168).
pub const GSO_ECN: u8 = 0x80;

/// What is left to do on a frame, as `struct virtio_net_hdr` says it.
///
/// Offsets count from the first octet of the Ethernet header of the octets they travel with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Offload {
    /// [`FLAG_NEEDS_CSUM`] and [`FLAG_DATA_VALID`].
    pub flags: u8,
    /// One of the `GSO_*` kinds, perhaps with [`GSO_ECN`].
    pub gso_type: u8,
    /// Octets of all headers up to the payload. A hint only; it is not trusted.
    pub hdr_len: u16,
    /// Octets of payload in each segment.
    pub gso_size: u16,
    /// Where checksumming starts.
    pub csum_start: u16,
    /// Where, counted from `csum_start`, the checksum is stored.
    pub csum_offset: u16,
}

impl Offload {
    /// Octets of `struct virtio_net_hdr`.
    pub const LEN: usize = 10;
    /// Octets of `struct virtio_net_hdr_v1`, with its `num_buffers`.
    pub const LEN_V1: usize = 12;
    /// Nothing left to do and nothing known.
    pub const NONE: Offload = Offload { flags: 0, gso_type: GSO_NONE, hdr_len: 0, gso_size: 0, csum_start: 0, csum_offset: 0 };

    /// Reads the header.
    #[inline]
    pub fn from_bytes(b: &[u8; Offload::LEN]) -> Offload {
        Offload {
            flags: b[0],
            gso_type: b[1],
            hdr_len: u16::from_ne_bytes([b[2], b[3]]),
            gso_size: u16::from_ne_bytes([b[4], b[5]]),
            csum_start: u16::from_ne_bytes([b[6], b[7]]),
            csum_offset: u16::from_ne_bytes([b[8], b[9]]),
        }
    }

    /// Writes the header; the two octets behind [`Offload::LEN`] are `num_buffers`, which is 0 towards the kernel.
    #[inline]
    pub fn to_bytes(self) -> [u8; Offload::LEN_V1] {
        let [h0, h1] = self.hdr_len.to_ne_bytes();
        let [g0, g1] = self.gso_size.to_ne_bytes();
        let [s0, s1] = self.csum_start.to_ne_bytes();
        let [o0, o1] = self.csum_offset.to_ne_bytes();
        [self.flags, self.gso_type, h0, h1, g0, g1, s0, s1, o0, o1, 0, 0]
    }

    /// Whether nothing is left to do and nothing claimed: what most frames say, found out by one comparison.
    #[inline]
    pub const fn is_blank(&self) -> bool {
        let [h0, h1] = self.hdr_len.to_ne_bytes();
        u32::from_ne_bytes([self.flags & FLAG_NEEDS_CSUM, self.gso_type, h0, h1]) == 0
    }

    /// Whether nothing is left to do.
    #[inline]
    pub const fn is_complete(&self) -> bool {
        !self.needs_checksum() && self.gso_type == GSO_NONE
    }

    /// Whether a checksum is still to be finished.
    #[inline]
    pub const fn needs_checksum(&self) -> bool {
        self.flags & FLAG_NEEDS_CSUM != 0
    }

    /// Whether nobody need check the checksum of the upper layer: the sender left it to be finished, or whoever delivered the frame has
    /// checked it.
    #[inline]
    pub const fn vouches_for_checksum(&self) -> bool {
        self.flags & (FLAG_NEEDS_CSUM | FLAG_DATA_VALID) != 0
    }

    /// The segmentation kind without the ECN bit.
    #[inline]
    pub const fn gso_kind(&self) -> u8 {
        self.gso_type & !GSO_ECN
    }

    /// Whether the frame must be cut into segments before it fits a wire.
    #[inline]
    pub const fn is_gso(&self) -> bool {
        self.gso_kind() != GSO_NONE
    }

    /// The same work with every offset moved by `octets`, as when a tag goes in (+4) or out (-4) in front of them.
    /// Saturates at 0, which no valid header has.
    #[inline]
    pub const fn shifted(mut self, octets: i16) -> Offload {
        if self.needs_checksum() {
            self.csum_start = self.csum_start.saturating_add_signed(octets);
        }
        if self.hdr_len != 0 {
            self.hdr_len = self.hdr_len.saturating_add_signed(octets);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_round_trip() {
        let offload = Offload { flags: 1, gso_type: GSO_TCPV4, hdr_len: 66, gso_size: 1448, csum_start: 34, csum_offset: 16 };
        let bytes = offload.to_bytes();
        assert_eq!(Offload::from_bytes(bytes[..10].try_into().unwrap()), offload);
        assert_eq!(bytes[10..], [0, 0]);
    }

    #[test]
    fn shifting_moves_offsets_but_not_sizes() {
        let offload = Offload { flags: 1, gso_type: GSO_TCPV4, hdr_len: 66, gso_size: 1448, csum_start: 34, csum_offset: 16 };
        let tagged = offload.shifted(4);
        assert_eq!((tagged.csum_start, tagged.hdr_len, tagged.gso_size, tagged.csum_offset), (38, 70, 1448, 16));
        assert_eq!(tagged.shifted(-4), offload);
        assert_eq!(Offload::NONE.shifted(4), Offload::NONE);
    }
}
