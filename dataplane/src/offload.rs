//! What virtio_net_hdr leaves to do on a frame, checked and done in software for ports that lack the offload.
//!
//! A frame from a guest may come with a checksum to finish and with a size to be cut to. At ingress [`check`] makes sure
//! that the header in front of the frame agrees with the frame; at egress [`fits_mtu`] judges the size that will be on
//! the wire, and where the port does less than the frame needs, [`finish_checksum`] and [`Segments`] do the rest. The
//! results are those of the kernel (`skb_checksum_help`, `tcp_gso_segment`, `__udp_gso_segment`), so that it makes no
//! difference to a receiver who did the work.
//!
//! Everything here is a pure function over one frame; nothing allocates. A guest controls all octets and the whole
//! virtio_net_hdr, so nothing here panics or loops for long whatever they are.

use core::fmt;

use wire::checksum::Sum;
use wire::{Tag, Tpid, ethernet, tcp, udp, virtio_net};

use crate::frame::{Frame, TAGS_MAX};

mod segments;

pub use segments::{NotSegmentable, SEGMENTS_MAX, Segments};

/// How the virtio_net_hdr in front of a frame contradicts the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadOffload {
    /// Checksumming starts inside the Ethernet header.
    ChecksumStart,
    /// The checksum field, or the fixed part of the transport header of a GSO frame, lies outside the head.
    ChecksumField,
    /// The segmentation kind is not known, or not offered by the switch.
    GsoKind,
    /// Segments would be empty.
    GsoSize,
    /// A GSO frame without a checksum to finish: its segments could not get theirs.
    GsoWithoutChecksum,
    /// The checksum field is not where the transport protocol of the segmentation kind has it.
    GsoChecksumField,
    /// The headers are said to be longer than the frame.
    HeaderLength,
}

impl fmt::Display for BadOffload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadOffload::ChecksumStart => "csum_start is inside the Ethernet header",
            BadOffload::ChecksumField => "csum_start and csum_offset lie outside the headers of the frame",
            BadOffload::GsoKind => "gso_type is none of TCPV4, TCPV6, UDP_L4",
            BadOffload::GsoSize => "gso_size is 0",
            BadOffload::GsoWithoutChecksum => "gso_type is set without VIRTIO_NET_HDR_F_NEEDS_CSUM",
            BadOffload::GsoChecksumField => "csum_offset is not that of the protocol of gso_type",
            BadOffload::HeaderLength => "hdr_len is beyond the end of the frame",
        })
    }
}

impl core::error::Error for BadOffload {}

/// Whether the virtio_net_hdr agrees with the frame. To be called when the outermost tag has been popped and no tag is
/// written: popping moves `csum_start`, which may put a bad one inside the Ethernet header.
///
/// The rules are those of the kernel's `virtio_net_hdr_to_skb` (`include/linux/virtio_net.h`), with the checksum required
/// of GSO frames (virtio 1.2 clause 5.1.6.2.1) and everything in the head, where the switch may edit it. Flags that are
/// not known are ignored, as that clause demands.
///
/// Returns whether nothing is left to do on the frame ([`Offload::is_complete`](wire::Offload::is_complete)).
///
/// # Errors
///
/// The first contradiction.
#[inline]
pub fn check(frame: &Frame<'_>) -> Result<bool, BadOffload> {
    let offload = frame.offload();
    if offload.is_blank() {
        return Ok(true);
    }
    check_work(frame).map(|()| offload.is_complete())
}

/// Out of line, so that frames without work do not pay for what it needs.
#[inline(never)]
fn check_work(frame: &Frame<'_>) -> Result<(), BadOffload> {
    let (offload, head_len, frame_len) = (frame.offload(), frame.len() - frame.body().len(), frame.len());
    if usize::from(offload.hdr_len) > frame_len {
        return Err(BadOffload::HeaderLength);
    }
    let start = usize::from(offload.csum_start);
    let field = usize::from(offload.csum_offset);
    if offload.needs_checksum() {
        if start < ethernet::HEADER_LEN {
            return Err(BadOffload::ChecksumStart);
        }
        if start + field + 2 > head_len {
            return Err(BadOffload::ChecksumField);
        }
    }
    if offload.gso_type == virtio_net::GSO_NONE {
        return Ok(());
    }
    let (transport_len, checksum) = match offload.gso_type {
        virtio_net::GSO_UDP_L4 => (udp::HEADER_LEN, udp::CHECKSUM),
        // ECN says that the TCP flag CWR is set, so it goes with TCP only.
        _ if matches!(offload.gso_kind(), virtio_net::GSO_TCPV4 | virtio_net::GSO_TCPV6) => (tcp::HEADER_LEN_MIN, tcp::CHECKSUM),
        _ => return Err(BadOffload::GsoKind),
    };
    if offload.gso_size == 0 {
        return Err(BadOffload::GsoSize);
    }
    if !offload.needs_checksum() {
        return Err(BadOffload::GsoWithoutChecksum);
    }
    if field != checksum.start {
        return Err(BadOffload::GsoChecksumField);
    }
    if start + transport_len > head_len {
        return Err(BadOffload::ChecksumField);
    }
    Ok(())
}

/// Finishes the checksum of a frame that needs it, whether tags are written or not. The field holds the sum of the pseudo
/// header already, so nothing needs to be known of the protocols. A result of 0 is written as 0xffff, as the kernel's
/// `skb_checksum_help` does. Frames that need no checksum are left alone.
///
/// GSO frames are for [`Segments`], not for here: one checksum over the whole helps none of the segments.
pub fn finish_checksum(frame: &mut Frame<'_>) {
    let mut offload = frame.offload();
    if !offload.needs_checksum() {
        return;
    }
    let body = frame.body();
    let written = written_octets(frame);
    let octets = &mut frame.head_mut()[written..];
    let start = usize::from(offload.csum_start);
    let field = start + usize::from(offload.csum_offset);
    // `check` made sure of this. Were it forgotten, an unfinished checksum is better than a switch that ends.
    if start < ethernet::HEADER_LEN || field + 2 > octets.len() {
        debug_assert!(false, "the offload of the frame was not checked");
        return;
    }
    let sum = body.add_to(Sum::of(&octets[start..]));
    octets[field..field + 2].copy_from_slice(&sum.nonzero_checksum().to_be_bytes());
    offload.flags &= !virtio_net::FLAG_NEEDS_CSUM;
    (offload.csum_start, offload.csum_offset) = (0, 0);
    frame.set_offload(offload);
}

/// Whether the frame, or each of its segments, is within `mtu`: octets behind the Ethernet header and the VLAN tags, of
/// which up to two are recognized in the octets. The size of the segments of a GSO frame is that of a full one, as in
/// the kernel (`skb_gso_validate_network_len`). To be called for frames that passed [`check`].
#[inline]
pub fn fits_mtu(frame: &Frame<'_>, mtu: u32) -> bool {
    frame.len() <= mtu as usize + ethernet::HEADER_LEN || long_frame_fits_mtu(frame, mtu)
}

fn long_frame_fits_mtu(frame: &Frame<'_>, mtu: u32) -> bool {
    let octets = untagged_octets(frame);
    let Some(network) = Network::find(octets) else { return false };
    let offload = frame.offload();
    let end = if offload.is_gso() {
        let start = usize::from(offload.csum_start);
        let transport_len = match octets.get(start + tcp::FLAGS.start) {
            _ if offload.gso_kind() == virtio_net::GSO_UDP_L4 => udp::HEADER_LEN,
            Some(octet) => usize::from(octet >> 4) * 4,
            None => return false,
        };
        // A frame that is one segment may be shorter than a full one.
        frame.len().min(start + transport_len + usize::from(offload.gso_size))
    } else {
        frame.len()
    };
    end.saturating_sub(network.offset) <= mtu as usize
}

/// Octets of metadata tags that are written in front of the frame now.
fn written_octets(frame: &Frame<'_>) -> usize {
    frame.wire_len() - frame.len()
}

/// The head at the offsets it has without metadata tags, whether tags are written or not. While they are, the twelve
/// octets of the addresses are not what is found here: those lie in front of the tags.
fn untagged_octets<'f>(frame: &'f Frame<'_>) -> &'f [u8] {
    &frame.head()[written_octets(frame)..]
}

/// Where the header behind the Ethernet header and the VLAN tags in the octets is, and what it is.
struct Network {
    offset: usize,
    ether_type: u16,
}

impl Network {
    /// `None` when the octets end inside the Ethernet header or a tag. Tags beyond [`TAGS_MAX`] are taken for the
    /// network header, which nothing then knows.
    fn find(octets: &[u8]) -> Option<Network> {
        let mut offset = ethernet::HEADER_LEN;
        for _ in 0..=TAGS_MAX {
            let ether_type = u16::from_be_bytes(*octets.get(offset - 2..)?.first_chunk()?);
            if Tpid::from_ether_type(ether_type).is_none() || offset == ethernet::HEADER_LEN + TAGS_MAX * Tag::LEN {
                return Some(Network { offset, ether_type });
            }
            offset += Tag::LEN;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::burst::{Burst, BurstMemory};
    use crate::frame::HEAD_MAX;
    use wire::Offload;
    use wire::VlanId;

    // Frames computed by hand (with a ten-line RFC 1071 sum in another language), not by the code under test.
    const ADDRESSES: &str = "525400000002 525400000001";
    /// UDP 192.0.2.1:7000 -> 198.51.100.2:53, "aaaabbbbc", identification 0xffff, partial checksum.
    const UDP4: &str = "0800 45000025ffff400040114e91c0000201c6336402 1b5800350011ec59 616161616262626263";
    const UDP4_SEGMENTS: [&str; 3] = [
        "0800 45000020ffff400040114e96c0000201c6336402 1b580035000c354f 61616161",
        "0800 450000200000400040114e96c0000201c6336402 1b580035000c334d 62626262",
        "0800 4500001d0001400040114e98c0000201c6336402 1b58003500099517 63",
    ];
    /// TCP [2001:db8::1]:443 -> [2001:db8::2]:50000, "xxxyyyzz", sequence 0xfffffffe, CWR ACK PSH FIN, partial checksum.
    const TCP6: &str = "86dd 60000000001c0640 20010db8000000000000000000000001 20010db8000000000000000000000002 \
                        01bbc350fffffffe0102030450990200 5b970000 787878797979 7a7a";
    const TCP6_SEGMENTS: [&str; 3] = [
        "86dd 6000000000170640 20010db8000000000000000000000001 20010db8000000000000000000000002 \
         01bbc350fffffffe0102030450900200 98530000 787878",
        "86dd 6000000000170640 20010db8000000000000000000000001 20010db8000000000000000000000002 \
         01bbc350000000010102030450100200 96d00000 797979",
        "86dd 6000000000160640 20010db8000000000000000000000001 20010db8000000000000000000000002 \
         01bbc350000000040102030450190200 0ec50000 7a7a",
    ];
    /// As [`UDP4`] with a payload that makes the checksum 0.
    const UDP4_ZERO: &str = "0800 4500001e0001400040114e97c0000201c6336402 1b580035000aec52 f815";

    fn octets(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = format!("{ADDRESSES}{hex}").bytes().filter(|b| !b.is_ascii_whitespace()).collect();
        digits.chunks(2).map(|d| u8::from_str_radix(str::from_utf8(d).unwrap(), 16).unwrap()).collect()
    }

    fn partial(csum_start: u16, csum_offset: u16) -> Offload {
        Offload { flags: virtio_net::FLAG_NEEDS_CSUM, csum_start, csum_offset, ..Offload::NONE }
    }

    fn gso(gso_type: u8, gso_size: u16, csum_start: u16, csum_offset: u16) -> Offload {
        Offload { gso_type, gso_size, ..partial(csum_start, csum_offset) }
    }

    fn whole(frame: &Frame<'_>) -> Vec<u8> {
        frame.head().iter().copied().chain(frame.body().octets()).collect()
    }

    fn with_frame<R>(octets: &[u8], offload: Offload, f: impl FnOnce(&mut Frame<'_>) -> R) -> R {
        let mut memory = BurstMemory::new();
        let mut burst = memory.burst();
        burst.push_borrowed(octets, offload, None);
        f(&mut burst.frames_mut()[0])
    }

    fn segments(frame: &Frame<'_>) -> Result<Vec<Vec<u8>>, NotSegmentable> {
        let mut memory = BurstMemory::new();
        let mut segments = Segments::new(frame)?;
        let count = segments.count();
        let mut all = Vec::new();
        loop {
            let mut batch: Burst<'_> = memory.burst();
            let more = segments.next_batch(&mut batch);
            all.extend(batch.frames().iter().map(whole));
            assert_eq!(segments.count(), count - all.len());
            if !more {
                return Ok(all);
            }
        }
    }

    #[test]
    fn check_refuses_every_contradiction() {
        let tcp = gso(virtio_net::GSO_TCPV4, 1448, 34, 16);
        let cases = [
            (Offload::NONE, Ok(true)),
            (Offload { flags: virtio_net::FLAG_DATA_VALID, ..Offload::NONE }, Ok(true)),
            (Offload { hdr_len: 300, ..Offload::NONE }, Ok(true)),
            (partial(34, 16), Ok(false)),
            (partial(14, 0), Ok(false)),
            (partial(13, 16), Err(BadOffload::ChecksumStart)),
            (partial(0, 0), Err(BadOffload::ChecksumStart)),
            (partial(HEAD_MAX as u16 - 2, 0), Ok(false)),
            (partial(HEAD_MAX as u16 - 2, 1), Err(BadOffload::ChecksumField)),
            (partial(u16::MAX, u16::MAX), Err(BadOffload::ChecksumField)),
            (tcp, Ok(false)),
            (gso(virtio_net::GSO_TCPV6 | virtio_net::GSO_ECN, 1, 54, 16), Ok(false)),
            (gso(virtio_net::GSO_UDP_L4, 1, HEAD_MAX as u16 - 8, 6), Ok(false)),
            (gso(virtio_net::GSO_UDP_L4 | virtio_net::GSO_ECN, 1, 34, 6), Err(BadOffload::GsoKind)),
            (gso(virtio_net::GSO_ECN, 1, 34, 16), Err(BadOffload::GsoKind)),
            (gso(3, 1448, 34, 6), Err(BadOffload::GsoKind)), // VIRTIO_NET_HDR_GSO_UDP: fragments, which Linux no longer makes
            (gso(virtio_net::GSO_TCPV4 | 0x20, 1448, 34, 16), Err(BadOffload::GsoKind)), // in a UDP tunnel
            (Offload { gso_size: 0, ..tcp }, Err(BadOffload::GsoSize)),
            (Offload { flags: virtio_net::FLAG_DATA_VALID, ..tcp }, Err(BadOffload::GsoWithoutChecksum)),
            (Offload { csum_offset: 6, ..tcp }, Err(BadOffload::GsoChecksumField)),
            (Offload { csum_start: HEAD_MAX as u16 - 19, ..tcp }, Err(BadOffload::ChecksumField)),
            (Offload { hdr_len: 300, ..tcp }, Ok(false)),
            (Offload { hdr_len: 301, ..tcp }, Err(BadOffload::HeaderLength)),
            (Offload { hdr_len: 301, ..Offload::NONE }, Err(BadOffload::HeaderLength)),
        ];
        for (offload, expected) in cases {
            assert_eq!(with_frame(&[0; 300], offload, |f| check(f)), expected, "{offload:?}");
        }
    }

    /// Offsets that were inside the tag are caught once it has been popped.
    #[test]
    fn check_behind_a_popped_tag() {
        let mut tagged = octets("8100 0064 0800");
        tagged.extend([0; 60]);
        for (csum_start, expected) in [(18, Ok(false)), (17, Err(BadOffload::ChecksumStart)), (14, Err(BadOffload::ChecksumStart))] {
            let found = with_frame(&tagged, partial(csum_start, 0), |f| {
                f.pop_tag().unwrap();
                check(f)
            });
            assert_eq!(found, expected, "{csum_start}");
        }
    }

    #[test]
    fn a_checksum_is_finished_with_and_without_written_tags() {
        let udp = octets(UDP4_ZERO);
        let mut expected = udp.clone();
        expected[40..42].fill(0xff);
        let tag = Tag::new(Tpid::Dot1Q, VlanId::MAX, 0);
        for tags in [&[][..], &[tag], &[tag, tag]] {
            with_frame(&udp, Offload { flags: 3, ..partial(34, 6) }, |f| {
                f.set_wire_tags(tags);
                finish_checksum(f);
                assert_eq!(f.offload(), Offload { flags: virtio_net::FLAG_DATA_VALID, ..Offload::NONE });
                f.set_wire_tags(&[]);
                assert_eq!(whole(f), expected);
                finish_checksum(f);
                assert_eq!(whole(f), expected, "nothing is left to do");
            });
        }
    }

    #[test]
    fn udp_over_ipv4_is_cut() {
        let offload = gso(virtio_net::GSO_UDP_L4, 4, 34, 6);
        let found = with_frame(&octets(UDP4), offload, |f| {
            assert_eq!(check(f), Ok(false));
            segments(f)
        });
        assert_eq!(found.unwrap(), UDP4_SEGMENTS.map(octets));
    }

    #[test]
    fn tcp_over_ipv6_is_cut() {
        let offload = gso(virtio_net::GSO_TCPV6 | virtio_net::GSO_ECN, 3, 54, 16);
        let found = with_frame(&octets(TCP6), offload, |f| {
            assert_eq!(check(f), Ok(false));
            segments(f)
        });
        assert_eq!(found.unwrap(), TCP6_SEGMENTS.map(octets));
    }

    /// Metadata tags are not part of the segments, and written ones do not disturb; tags in the octets are kept.
    #[test]
    fn tags_of_the_source() {
        let outer = Tag::new(Tpid::Dot1Ad, VlanId::MAX, 0);
        let inner = "8100 0064";
        let offload = gso(virtio_net::GSO_UDP_L4, 4, 38, 6);
        with_frame(&octets(&format!("{inner}{UDP4}")), offload, |f| {
            f.set_wire_tags(&[outer]);
            assert_eq!(segments(f).unwrap(), UDP4_SEGMENTS.map(|s| octets(&format!("{inner}{s}"))));
        });
        with_frame(&octets(&format!("{inner}{UDP4}")), offload, |f| {
            f.pop_tag().unwrap();
            assert_eq!(segments(f).unwrap(), UDP4_SEGMENTS.map(octets));
        });
        let three = octets(&format!("{inner}{inner}{inner}{UDP4}"));
        let offload = gso(virtio_net::GSO_UDP_L4, 4, 46, 6);
        assert_eq!(with_frame(&three, offload, |f| segments(f)), Err(NotSegmentable), "more tags than the switch knows");
    }

    /// A frame whose payload is not above gso_size is one segment, with its checksum finished; so is one without payload.
    #[test]
    fn a_single_segment() {
        for len in [2, 3, u16::MAX] {
            let found = with_frame(&octets(UDP4_ZERO), gso(virtio_net::GSO_UDP_L4, len, 34, 6), |f| segments(f)).unwrap();
            let finished = with_frame(&octets(UDP4_ZERO), partial(34, 6), |f| {
                finish_checksum(f);
                whole(f)
            });
            assert_eq!(found, [finished]);
        }
        let mut empty = octets(TCP6);
        empty.truncate(74);
        empty[18..20].copy_from_slice(&20u16.to_be_bytes());
        let found = with_frame(&empty, gso(virtio_net::GSO_TCPV6, 3, 54, 16), |f| segments(f)).unwrap();
        assert_eq!((found.len(), found[0].len()), (1, 74));
    }

    /// Full 64 KiB frames with ever smaller segments: as many as announced until there would be too many.
    #[test]
    fn the_number_of_segments_is_bounded() {
        let payload: usize = 65_535 - 40;
        let mut frame = octets("0800 4500ffff000040004006000000000000 00000000 0000000000000000 00000000 5010 0000 0000 0000");
        frame.resize(14 + 65_535, 0);
        for gso_size in [65_535, 1448, 536, 64, 63, 1] {
            let found = with_frame(&frame, gso(virtio_net::GSO_TCPV4, gso_size, 34, 16), |f| segments(f));
            match payload.div_ceil(usize::from(gso_size)) {
                count @ ..=SEGMENTS_MAX => assert_eq!(found.unwrap().len(), count),
                _ => assert_eq!(found, Err(NotSegmentable)),
            }
        }
    }

    /// Each rule of [`NotSegmentable`], one octet away from a good frame.
    #[test]
    fn contradicting_headers_are_not_cut() {
        let udp4 = (UDP4, gso(virtio_net::GSO_UDP_L4, 4, 34, 6));
        let tcp6 = (TCP6, gso(virtio_net::GSO_TCPV6, 3, 54, 16));
        let cases = [
            (udp4, 14, 0x45, true, "unchanged"),
            (tcp6, 14, 0x60, true, "unchanged"),
            (udp4, 12, 0x09, false, "neither IPv4 nor IPv6"),
            (udp4, 14, 0x55, false, "IP version"),
            (udp4, 14, 0x44, false, "IPv4 header below 20 octets"),
            (udp4, 14, 0x46, false, "csum_start is not where the transport header is"),
            (udp4, 17, 0x24, false, "total length below the frame"),
            (udp4, 17, 0x26, false, "total length above the frame"),
            (udp4, 17, 0x00, true, "total length left open"),
            (udp4, 20, 0x60, false, "more fragments"),
            (udp4, 21, 0x01, false, "fragment offset"),
            (udp4, 20, 0x00, true, "fragmentation allowed"),
            (udp4, 23, 6, false, "protocol does not fit the kind"),
            (udp4, 39, 0x10, false, "UDP length"),
            (tcp6, 12, 0x08, false, "not IPv4"),
            (tcp6, 19, 0x1b, false, "payload length"),
            (tcp6, 19, 0x00, true, "payload length left open"),
            (tcp6, 20, 17, false, "protocol does not fit the kind"),
            (tcp6, 20, 44, false, "fragment"),
            (tcp6, 66, 0x49, false, "TCP header below 20 octets"),
            (tcp6, 66, 0x89, false, "TCP header beyond the end"),
        ];
        for ((hex, offload), at, value, good, what) in cases {
            let mut frame = octets(hex);
            frame[at] = value;
            assert_eq!(with_frame(&frame, offload, |f| segments(f)).is_ok(), good, "{what}");
        }
        let (hex, offload) = udp4;
        for bad in
            [Offload { flags: 0, ..offload }, Offload { gso_size: 0, ..offload }, Offload { csum_offset: 16, ..offload }, partial(34, 6)]
        {
            assert_eq!(with_frame(&octets(hex), bad, |f| segments(f)), Err(NotSegmentable), "{bad:?}");
        }
    }

    #[test]
    fn mtu_of_frames_without_gso() {
        let tag = "8100 0064";
        for (tags, free) in [("", 0), (tag, 4), (&format!("88a8 0064 {tag}"), 8), (&format!("{tag}{tag}{tag}"), 8)] {
            let mut frame = octets(&format!("{tags}0800"));
            for (len, fits) in [(60, true), (1514 + free, true), (1515 + free, false)] {
                frame.resize(len, 0);
                assert_eq!(with_frame(&frame, Offload::NONE, |f| fits_mtu(f, 1500)), fits, "{tags} {len}");
            }
        }
        // A metadata tag is no part of what counts, written or not.
        let mut frame = octets("8100 0064 0800");
        frame.resize(1518, 0);
        with_frame(&frame, Offload::NONE, |f| {
            f.pop_tag().unwrap();
            {
                let tags = *f.tags();
                f.set_wire_tags(&tags)
            };
            assert!(fits_mtu(f, 1500) && !fits_mtu(f, 1499));
        });
    }

    #[test]
    fn mtu_of_gso_frames_is_that_of_a_segment() {
        for (hex, kind, start, offset, headers) in [(TCP6, virtio_net::GSO_TCPV6, 54, 16, 60), (UDP4, virtio_net::GSO_UDP_L4, 34, 6, 28)] {
            for tags in 0..=2u16 {
                let mut frame = octets(&format!("{}{hex}", "81000064".repeat(tags.into())));
                frame.resize(9000, 0);
                let fits = |gso_size| with_frame(&frame, gso(kind, gso_size, start + 4 * tags, offset), |f| fits_mtu(f, 1500));
                assert!(fits(1500 - headers) && !fits(1501 - headers), "{hex} {tags}");
            }
        }
        // TCP options count.
        let mut frame = octets(TCP6);
        frame.resize(9000, 0);
        frame[66] = 0x80;
        let fits = |gso_size| with_frame(&frame, gso(virtio_net::GSO_TCPV6, gso_size, 54, 16), |f| fits_mtu(f, 1500));
        assert!(fits(1428) && !fits(1429));
        // One segment needs no more than there is, also behind a tag: here 37 octets of IPv4.
        let tagged = octets(&format!("8100 0064 {UDP4}"));
        let fits = |mtu| with_frame(&tagged, gso(virtio_net::GSO_UDP_L4, 1000, 38, 6), |f| fits_mtu(f, mtu));
        assert!(fits(37) && !fits(36));
        // A short frame fits whatever gso_size says.
        assert!(with_frame(&octets(UDP4), gso(virtio_net::GSO_UDP_L4, u16::MAX, 34, 6), |f| fits_mtu(f, 1500)));
    }
}
