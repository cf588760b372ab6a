//! Which core does what. The same for every system of a scenario: a figure compares switches, not placements.
//!
//! With three cores or more the sender, the receiver and the switch have a core each. With two, someone has to share:
//!
//! - TCP and `rtt`: sender and receiver on different cores, the switch where the scheduler puts it. Pinning the switch to
//!   either would starve one end; the bridge, which runs in the context of whoever sends, is not pinned either.
//! - Frames per second: generator on one core, switch on the other. The receiver is a counter.
//! - `rtt-one-core`: both ends on one core, the switch on the other, which a busy switch then has for itself.
//!
//! Round trips are measured with both placements because the placement changes their ratio to the bridge by a factor of ten
//! (see `benches/README.md`), and neither is the right one.
//!
//! With one core nothing is pinned.

use std::str::FromStr;

use anyhow::Context as _;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::{Deserialize, Serialize};

/// A core for each role; `None` leaves the choice to the scheduler.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cores {
    /// Where frames come from.
    pub client: Option<u16>,
    /// Where they go to.
    pub server: Option<u16>,
    /// The switch, where it is a process.
    pub switch: Option<u16>,
}

/// What a scenario asks of the cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Both ends have a core; the switch too, if there is a third.
    Stream,
    /// A sender and the switch work at the same time.
    OneWay,
    /// Both ends share a core.
    OneCore,
}

impl Cores {
    /// The placement on the cores this process may use.
    pub fn plan(load: Load) -> Cores {
        Cores::on(&allowed(), load)
    }

    fn on(cores: &[u16], load: Load) -> Cores {
        let place = |client, server, switch| Cores { client: Some(client), server: Some(server), switch };
        match (cores, load) {
            ([] | [_], _) => Cores::default(),
            ([a, b, ..], Load::OneCore) => place(*a, *a, Some(*b)),
            ([a, b, c, ..], _) => place(*a, *b, Some(*c)),
            ([a, b], Load::Stream) => place(*a, *b, None),
            ([a, b], Load::OneWay) => place(*a, *a, Some(*b)),
        }
    }
}

/// `CLIENT,SERVER,SWITCH`, with `any` for no choice.
impl FromStr for Cores {
    type Err = String;

    fn from_str(text: &str) -> Result<Cores, String> {
        let wrong = || format!("\"{text}\" is not CLIENT,SERVER,SWITCH, each a core number or \"any\" (such as \"0,1,any\")");
        let core = |word: &str| match word {
            "any" => Ok(None),
            number => number.parse().map(Some).map_err(|_| wrong()),
        };
        let words: Vec<_> = text.split(',').collect();
        let [client, server, switch] = words[..] else { return Err(wrong()) };
        Ok(Cores { client: core(client)?, server: core(server)?, switch: core(switch)? })
    }
}

/// The cores this process may use.
pub fn allowed() -> Vec<u16> {
    match sched_getaffinity(None) {
        Ok(set) => (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).map(|core| core as u16).collect(),
        Err(_) => Vec::new(),
    }
}

/// Pins the calling thread; does nothing without a core.
///
/// # Errors
///
/// What the operating system says, with the number of the core.
pub fn pin(core: Option<u16>) -> anyhow::Result<()> {
    let Some(core) = core else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(core.into());
    sched_setaffinity(None, &set).with_context(|| format!("pin a thread to core {core}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sharing_follows_the_number_of_cores() {
        assert_eq!(Cores::on(&[0], Load::Stream), Cores::default());
        assert_eq!(Cores::on(&[2, 3], Load::Stream), Cores { client: Some(2), server: Some(3), switch: None });
        assert_eq!(Cores::on(&[0, 1], Load::OneCore), Cores { client: Some(0), server: Some(0), switch: Some(1) });
        assert_eq!(Cores::on(&[0, 1, 2], Load::OneCore), Cores { client: Some(0), server: Some(0), switch: Some(1) });
        assert_eq!(Cores::on(&[0, 1, 5, 6], Load::OneWay), Cores { client: Some(0), server: Some(1), switch: Some(5) });
    }

    #[test]
    fn placements_are_read() {
        assert_eq!("0,1,any".parse(), Ok(Cores { client: Some(0), server: Some(1), switch: None }));
        for text in ["", "0,1", "0,1,2,3", "0,1,x", "0,1,-1"] {
            assert!(text.parse::<Cores>().is_err(), "{text:?}");
        }
    }
}
