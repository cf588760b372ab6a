//! Lookups of random known addresses in [`Fdb`], in bursts as the pipeline makes them, in this process.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::bail;
use dataplane::fdb::{EntryKind, Fdb, Learned, Learner};
use dataplane::{BURST_MAX, PortId};
use wire::VlanId;

use crate::interrupt;
use crate::memory::resident;
use crate::scenario::random::Numbers;
use crate::scenario::{Sample, Settings};

/// Name of the detail: memory of the table by the number of entries it has room for.
pub const OCTETS: &str = "octets_per_entry";

/// Slots from which on the pipeline touches the entries of a burst first (`LARGE_TABLE` in `dataplane/src/pipeline.rs`).
const LARGE_TABLE: usize = 1 << 16;
/// Bursts between two looks at the clock.
const BLOCK: usize = 1 << 10;
/// Tables whose size in memory is told from the noise of everything else.
const MEASURABLE: usize = 1 << 18;

/// The address of station `n`: locally administered.
fn mac(n: u64) -> u64 {
    0x0200_0000_0000 | n
}

/// One round.
pub(super) fn round(entries: u32, settings: &Settings) -> anyhow::Result<Sample> {
    let before = resident(std::process::id())?;
    // Nine tenths of the slots can be taken before addresses are pushed out.
    let fdb = Fdb::new(entries as usize / 9 * 10);
    let learner = Learner { port: PortId(1), limit: u32::MAX, kind: EntryKind::Learned, now: 0, ageing: 1000 };
    for n in 0..u64::from(entries) {
        if fdb.learn(fdb.place(mac(n), VlanId::NONE), &learner) != Learned::New {
            bail!("address {n} of {entries} was not learned");
        }
    }
    if fdb.len() != entries as usize {
        bail!("{} of {entries} addresses are in the table", fdb.len());
    }
    let memory = resident(std::process::id())?.saturating_sub(before);
    // To a tenth: what else the table has (16 KiB of counts by port) and what the allocator rounds is less.
    let octets = (memory as f64 / fdb.capacity() as f64 * 10.0).round() / 10.0;

    let mut numbers = Numbers::new();
    lookups(&fdb, entries, &mut numbers, Duration::from_millis(200))?;
    let (count, elapsed) = lookups(&fdb, entries, &mut numbers, settings.span)?;
    let mut sample =
        Sample::new(elapsed.as_nanos() as f64 / count as f64).with("lookups", count as f64).with("slots", fdb.capacity() as f64);
    if fdb.capacity() >= MEASURABLE {
        sample = sample.with(OCTETS, octets);
    }
    Ok(sample)
}

/// Looks up for `span`; gives the number of lookups and the time they took.
fn lookups(fdb: &Fdb, entries: u32, numbers: &mut Numbers, span: Duration) -> anyhow::Result<(u64, Duration)> {
    let large = fdb.capacity() > LARGE_TABLE;
    let start = Instant::now();
    let (mut count, mut missed) = (0, 0);
    while start.elapsed() < span {
        interrupt::check()?;
        for _ in 0..BLOCK {
            let places: [_; BURST_MAX] = std::array::from_fn(|_| fdb.place(mac(numbers.below(entries)), VlanId::NONE));
            if large {
                black_box(places.iter().fold(0, |sum, place| sum ^ fdb.touch(*place)));
            }
            for place in places {
                missed += u64::from(black_box(fdb.lookup(place, 1, 1000)).is_none());
            }
        }
        count += (BLOCK * BURST_MAX) as u64;
    }
    let elapsed = start.elapsed();
    if missed > 0 {
        bail!("{missed} of {count} lookups of known addresses found nothing");
    }
    Ok((count, elapsed))
}
