//! `wire`: a view that was made does not panic, whatever the octets and whatever is done to it.

use wire::checksum::{Sum, update_octets};
use wire::{Ipv4Header, Ipv6Header, TcpHeader, UdpHeader};

#[test]
fn views() {
    bolero::check!().with_type::<(Vec<u8>, u8, u32)>().for_each(|(input, first, value)| {
        // Random octets seldom start with a good version and length; `first` gives them one.
        let mut octets = input.clone();
        if let Some(octet) = octets.first_mut() {
            *octet = *first;
        }
        let word = *value as u16;

        if let Ok(mut header) = Ipv4Header::new_checked(&mut octets[..]) {
            header.set_total_len(word);
            header.set_identification(word);
            header.set_ttl(*first);
            header.set_traffic_class(*first);
            header.set_source((*value).into());
            header.set_destination((!*value).into());
            header.fill_checksum();
            assert!(header.verify_checksum());
            assert_eq!((header.total_len(), header.identification(), header.ttl()), (word, word, *first));
            assert_eq!((header.source(), header.destination()), ((*value).into(), (!*value).into()));
            assert_eq!(20 + header.options().len(), header.header_len());
            assert_eq!(header.header_len() + header.payload().len(), input.len());
            assert_eq!(header.is_fragment(), header.more_fragments() || header.fragment_offset() != 0);
        }

        if let Ok(mut header) = Ipv6Header::new_checked(&mut octets[..]) {
            header.set_payload_len(word);
            header.set_traffic_class(*first);
            header.set_hop_limit(*first);
            assert_eq!((header.payload_len(), header.traffic_class(), header.hop_limit()), (word, *first, *first));
            if let Ok(upper) = header.upper_layer() {
                assert!(upper.offset <= input.len());
            }
        }

        if let Some(octet) = octets.get_mut(12) {
            *octet = *first;
        }
        if let Ok(mut header) = TcpHeader::new_checked(&mut octets[..]) {
            header.set_sequence(*value);
            header.set_flags(word);
            header.set_checksum(word);
            assert_eq!((header.sequence(), header.flags(), header.checksum()), (*value, word & 0xfff, word));
            assert_eq!(header.header_len() + header.payload().len(), input.len());
            assert_eq!(20 + header.options().len(), header.header_len());
        }

        if let Ok(mut header) = UdpHeader::new_checked(&mut octets[..]) {
            header.set_length(word);
            header.set_checksum(word);
            assert_eq!((header.length(), header.checksum(), header.payload().len()), (word, word, input.len() - 8));
        }
    });
}

#[test]
fn checksums() {
    bolero::check!().with_type::<(Vec<u8>, u16, [u8; 4])>().for_each(|(octets, cut, new)| {
        let whole = Sum::of(octets).checksum();
        let (head, body) = octets.split_at(usize::from(*cut) % (octets.len() + 1));
        assert_eq!(Sum::of(head).add(body).checksum(), whole);
        let mut changed = octets.clone();
        if let Some(part) = changed.first_chunk_mut::<4>() {
            let old = *part;
            *part = *new;
            // 0 and 0xffff are the same number.
            assert_eq!(update_octets(whole, &old, new) % 0xffff, Sum::of(&changed).checksum() % 0xffff);
        }
    });
}
