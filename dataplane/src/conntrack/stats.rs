//! What each worker counted, as `conntrack -S` shows it (`struct ip_conntrack_stat`).

use crate::counters::Counter;

macro_rules! stats {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// Counters of one worker, who is the only one to write them.
        #[derive(Debug, Default)]
        #[repr(align(128))]
        pub(super) struct Counters {
            $(pub(super) $name: Counter,)+
        }

        /// What one worker counted so far.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Stats {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Stats {
            pub(super) fn of(counters: &Counters) -> Stats {
                Stats { $($name: counters.$name.get(),)+ }
            }

            /// Names and numbers, in the order of `conntrack -S`.
            pub fn fields(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)+].into_iter()
            }
        }

        impl core::ops::AddAssign for Stats {
            fn add_assign(&mut self, other: Stats) {
                $(self.$name += other.$name;)+
            }
        }
    };
}

stats! {
    /// Tuples wanted for translation that another flow had.
    found,
    /// Packets that belong to no flow and begin none.
    invalid,
    /// Flows that entered the table.
    insert,
    /// Flows that did not.
    insert_failed,
    /// Packets dropped because their flow did not.
    drop,
    /// Flows dropped early to make room.
    early_drop,
    /// ICMP packets that are damaged, or errors about unknown flows.
    error,
    /// Lookups that met an entry which was just given to another flow.
    search_restart,
    /// Packets that took up the flow of another which was faster.
    clash_resolve,
    /// Flows that found no place where their tuple belongs.
    chaintoolong,
    /// Flows that another one announced.
    expect_new,
}
