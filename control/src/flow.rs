//! A flow in words, such as `src=02:00:00:00:00:01,daddr=10.0.0.2,proto=tcp,dport=80`, as the frame it stands for.

use std::net::IpAddr;

use wire::{MacAddr, Tag, Tpid, VlanId};

/// Octets of a text at most.
const TEXT_MAX: usize = 16_384;
const KEYS: &str = "src, dst, vlan, saddr, daddr, proto, sport, dport, id, ethertype, or frame alone";

/// The first octets of a frame of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowFrame {
    /// Its outermost tag.
    pub tag: Option<Tag>,
    /// Its octets without that tag.
    pub octets: Vec<u8>,
}

#[derive(Default)]
struct Flow {
    src: MacAddr,
    dst: MacAddr,
    vlan: Option<VlanId>,
    saddr: Option<IpAddr>,
    daddr: Option<IpAddr>,
    proto: Option<u8>,
    sport: Option<u16>,
    dport: Option<u16>,
    id: Option<u16>,
    ethertype: Option<u16>,
}

/// Reads a flow: `key=value` separated by commas or white space. What is left out is 0.
///
/// # Errors
///
/// What cannot be read, or makes no frame.
pub fn read(text: &str) -> Result<FlowFrame, String> {
    if text.len() > TEXT_MAX {
        return Err(format!("flow: longer than {TEXT_MAX} octets"));
    }
    let mut flow = Flow::default();
    for part in text.split([',', ' ', '\t', '\n']).filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('=').ok_or_else(|| format!("flow: {part:?} is not key=value (keys: {KEYS})"))?;
        let wrong = || format!("flow: {key}: {value:?} cannot be read");
        match key {
            "src" => flow.src = value.parse().map_err(|_| wrong())?,
            "dst" => flow.dst = value.parse().map_err(|_| wrong())?,
            "vlan" => flow.vlan = Some(value.parse().ok().and_then(VlanId::new).ok_or_else(wrong)?),
            "saddr" => flow.saddr = Some(value.parse().map_err(|_| wrong())?),
            "daddr" => flow.daddr = Some(value.parse().map_err(|_| wrong())?),
            "proto" => flow.proto = Some(protocol(value).ok_or_else(wrong)?),
            "sport" => flow.sport = Some(value.parse().map_err(|_| wrong())?),
            "dport" => flow.dport = Some(value.parse().map_err(|_| wrong())?),
            "id" => flow.id = Some(number(value).ok_or_else(wrong)?),
            "ethertype" => flow.ethertype = Some(number(value).ok_or_else(wrong)?),
            "frame" => return frame(value).ok_or_else(wrong),
            _ => return Err(format!("flow: unknown key {key:?} (keys: {KEYS})")),
        }
    }
    flow.frame()
}

fn number(text: &str) -> Option<u16> {
    match text.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn protocol(text: &str) -> Option<u8> {
    match text {
        "icmp" => Some(1),
        "igmp" => Some(2),
        "tcp" => Some(6),
        "udp" => Some(17),
        "icmpv6" => Some(58),
        "sctp" => Some(132),
        number => number.parse().ok(),
    }
}

/// A frame in hexadecimal, with its tag if it has one.
fn frame(hex: &str) -> Option<FlowFrame> {
    let digits: Option<Vec<u8>> = hex.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0 && digits.len() >= 28)?;
    let mut octets: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    let tag = Tpid::from_ether_type(u16::from_be_bytes([octets[12], octets[13]]))
        .filter(|_| octets.len() >= 18)
        .map(|tpid| Tag { tpid, tci: u16::from_be_bytes([octets[14], octets[15]]) });
    if tag.is_some() {
        octets.drain(12..16);
    }
    Some(FlowFrame { tag, octets })
}

impl Flow {
    fn frame(&self) -> Result<FlowFrame, String> {
        let tag = self.vlan.filter(|vlan| *vlan != VlanId::NONE).map(|vlan| Tag::new(Tpid::Dot1Q, vlan, 0));
        let mut octets = [self.dst.0, self.src.0].concat();
        let ip = match (self.saddr, self.daddr) {
            (None, None) => None,
            (Some(IpAddr::V4(a)), Some(IpAddr::V4(b))) => Some((a.octets().to_vec(), b.octets().to_vec())),
            (Some(IpAddr::V6(a)), Some(IpAddr::V6(b))) => Some((a.octets().to_vec(), b.octets().to_vec())),
            (Some(IpAddr::V4(a)), None) => Some((a.octets().to_vec(), vec![0; 4])),
            (None, Some(IpAddr::V4(b))) => Some((vec![0; 4], b.octets().to_vec())),
            (Some(IpAddr::V6(a)), None) => Some((a.octets().to_vec(), vec![0; 16])),
            (None, Some(IpAddr::V6(b))) => Some((vec![0; 16], b.octets().to_vec())),
            _ => return Err("flow: saddr and daddr are of different kinds".into()),
        };
        let Some((source, destination)) = ip else {
            if self.proto.is_some() || self.sport.is_some() || self.dport.is_some() || self.id.is_some() {
                return Err("flow: proto, sport, dport and id need saddr and daddr".into());
            }
            octets.extend(self.ethertype.unwrap_or(0).to_be_bytes());
            octets.resize(60, 0);
            return Ok(FlowFrame { tag, octets });
        };
        if self.ethertype.is_some() {
            return Err("flow: ethertype says nothing beside saddr and daddr".into());
        }
        let ports = self.sport.is_some() || self.dport.is_some();
        let proto = match self.proto {
            Some(proto) => proto,
            None if ports => return Err("flow: sport and dport need proto".into()),
            None => 0,
        };
        if ports && !matches!(proto, 6 | 17 | 132) {
            return Err("flow: only tcp, udp and sctp have ports".into());
        }
        let mut upper = [0u8; 20];
        upper[..2].copy_from_slice(&self.sport.unwrap_or(0).to_be_bytes());
        upper[2..4].copy_from_slice(&self.dport.unwrap_or(0).to_be_bytes());
        if matches!(proto, 1 | 58) {
            // An echo request.
            upper[..4].copy_from_slice(&[if proto == 1 { 8 } else { 128 }, 0, 0, 0]);
            upper[4..6].copy_from_slice(&self.id.unwrap_or(0).to_be_bytes());
        } else if self.id.is_some() {
            return Err("flow: only icmp and icmpv6 have an id".into());
        }
        if source.len() == 4 {
            octets.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0, 0, 64, proto, 0, 0]);
        } else {
            octets.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, proto, 64]);
        }
        octets.extend(source);
        octets.extend(destination);
        octets.extend(upper);
        Ok(FlowFrame { tag, octets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_becomes_a_frame() {
        let flow = read("src=52:54:00:00:00:01,dst=52:54:00:00:00:02 vlan=7,saddr=10.0.0.1,daddr=10.0.0.2,proto=tcp,sport=40000,dport=80")
            .unwrap();
        assert_eq!(flow.tag.map(Tag::vid), Some(7));
        assert_eq!(flow.octets[..14], [0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1, 8, 0]);
        assert_eq!(
            (flow.octets[23], &flow.octets[26..34], &flow.octets[34..38]),
            (6, &[10, 0, 0, 1, 10, 0, 0, 2][..], &[0x9c, 0x40, 0, 80][..])
        );
        let six = read("saddr=fd00::1,daddr=fd00::2,proto=icmpv6,id=0x1234").unwrap();
        assert_eq!((six.octets[20], &six.octets[54..60]), (58, &[128, 0, 0, 0, 0x12, 0x34][..]));
        assert_eq!(read("ethertype=0x0806,dst=ff:ff:ff:ff:ff:ff").unwrap().octets[12..14], [8, 6]);
        let tagged = read("frame=ffffffffffff0200000000018100000708060001").unwrap();
        assert_eq!((tagged.tag.map(Tag::vid), tagged.octets.len()), (Some(7), 16));
    }

    #[test]
    fn what_makes_no_frame_is_refused() {
        for text in [
            "src",
            "src=1",
            "mac=02:00:00:00:00:01",
            "vlan=5000",
            "saddr=10.0.0.1,daddr=fd00::1",
            "sport=1",
            "saddr=10.0.0.1,sport=1",
            "saddr=10.0.0.1,proto=igmp,sport=1",
            "saddr=10.0.0.1,proto=tcp,id=1",
            "saddr=10.0.0.1,ethertype=1",
            "frame=00",
            "frame=zz",
        ] {
            assert!(read(text).unwrap_err().starts_with("flow: "), "{text}");
        }
        assert!(read(&"a".repeat(TEXT_MAX + 1)).is_err());
    }
}
