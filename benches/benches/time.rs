//! Time of each case in this process: `cargo bench -p benches`, or with part of a name, `cargo bench -p benches pipeline/32`.
//!
//! Not those between VMs: what the VMs do would be in the time. What else the machine does is in these figures; `./run instructions` counts what is not.

use benches::workload::{Case, Work, Workload};
use divan::Bencher;
use divan::counter::ItemsCount;

fn main() {
    divan::main();
}

/// The items are frames, or addresses where the work has none.
#[divan::bench(args = Case::all().into_iter().filter(|case| case.work != Work::VhostUser))]
fn work(bencher: Bencher<'_, '_>, case: &Case) {
    let mut workload = Workload::new(*case).unwrap();
    bencher.counter(ItemsCount::new(case.burst)).bench_local(|| workload.turn());
}
