//! Nothing that is measured allocates: a figure of the data plane has no allocator in it.

use benches::workload::{Case, Workload};

#[test]
fn no_case_allocates() {
    for case in Case::all() {
        let mut workload = Workload::new(case).unwrap();
        let turns = case.turns(512);
        workload.prepare(1 + turns);
        workload.turn();
        let counted = allocation_counter::measure(|| (0..turns).for_each(|_| workload.turn()));
        assert_eq!(counted.count_total, 0, "{case}: allocations in {turns} turns");
        assert_eq!(workload.check(1 + turns), Ok(()));
    }
}
