//! `dataplane::offload`: whatever the octets and the virtio_net_hdr, no panic, bounded work and no frame that grew.

use dataplane::BurstMemory;
use dataplane::offload::{SEGMENTS_MAX, Segments, check, finish_checksum, fits_mtu};
use wire::Offload;

use crate::frames::Input;

#[test]
fn frames() {
    bolero::check!().with_type::<(Input, bool, u16)>().for_each(|(input, pop, mtu)| {
        let (mut memory, mut segment_memory) = (BurstMemory::new(), BurstMemory::new());
        let (octets, offload) = input.frame();
        let mut burst = memory.burst();
        burst.push_borrowed(&octets, offload, None);
        let frame = &mut burst.frames_mut()[0];
        if octets.len() < 14 || *pop && frame.pop_tag().is_err() {
            return; // the pipeline drops it before
        }
        let good = check(frame).is_ok();
        let fits = fits_mtu(frame, u32::from(*mtu));
        if let Ok(mut segments) = Segments::new(frame) {
            let (count, mut found) = (segments.count(), 0);
            assert!((1..=SEGMENTS_MAX).contains(&count));
            let mut more = true;
            while more {
                let mut batch = segment_memory.burst();
                more = segments.next_batch(&mut batch);
                found += batch.len();
                for segment in batch.frames() {
                    assert!(segment.len() <= frame.len() && segment.offload() == Offload::NONE);
                    assert!(!fits || fits_mtu(segment, u32::from(*mtu)));
                }
            }
            assert_eq!(found, count);
        }
        if good {
            finish_checksum(frame);
            assert!(!frame.offload().needs_checksum());
        }
    });
}
