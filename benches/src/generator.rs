//! Traffic generator and sink: numbered frames sent at a given rate or as fast as they are taken, and what became of them.
//!
//! ```text
//! Traffic (who to whom, VLANs, sizes) + Load (rate, burst)  -> sender  -> TxQueue of an Endpoint
//!                                                                                  the switch under test
//! Report (lost, duplicated, reordered, damaged, latency)    <- sink    <- RxQueue of an Endpoint
//! ```
//!
//! An [`Endpoint`] is anything with a receive and a transmit queue: AF_PACKET, a TAP that the generator holds, a vhost-user
//! frontend, memory. [`run`] lets [`Station`]s (an endpoint each, which may send and always receives) work on the threads it
//! is given, and joins what all of them counted into a [`Report`]. [`rfc2544`] and [`rfc2889`] search over such runs.
//!
//! ```no_run
//! use benches::generator::{self, Endpoint, Load, Macs, Rate, Sizes, Station, Thread, Traffic, Trial};
//!
//! # fn main() -> anyhow::Result<()> {
//! let mut a = Endpoint::packet(None, "veth0")?;
//! let mut b = Endpoint::packet(None, "veth1")?;
//! let traffic = Traffic { sizes: Sizes::one(64)?, ..Traffic::between(Macs::clients(100), Macs::servers(1)) };
//! generator::announce(&mut b, &traffic.reversed(), 10_000.0)?;
//! let stations = vec![Station::sending(&mut a, traffic, Load::at(Rate::PerSecond(50_000.0))), Station::receiving(&mut b)];
//! let report = generator::run(vec![Thread::of(stations)], &Trial::default())?;
//! let there = report.delivery(0, 1)?;
//! assert_eq!(there.lost, 0);
//! # Ok(())
//! # }
//! ```
//!
//! **Honest.** Of each stream it is known how many frames were due ([`Sent::offered`]), were given to the queue and taken
//! ([`Sent::accepted`]), were refused because it was full ([`Sent::refused`]), and were not even tried since the generator was
//! late ([`Sent::missed`]). [`Delivery::generator_limit`] says when the generator or the sink, not the switch, made the figure.
//!
//! **Fast.** Frames are made once; for each one sent only addresses, numbers and checksums are written. Nothing is allocated
//! for a frame.

mod answer;
mod endpoint;
mod frame;
mod report;
pub mod rfc2544;
pub mod rfc2889;
mod sender;
mod sink;
mod traffic;
mod trial;

pub use answer::answer;
pub use endpoint::{Endpoint, EndpointAt};
pub use report::{Arrivals, CdfPoint, Delivery, Latency, Report, Sent, StationReport};
pub use sender::announce;
pub use traffic::{Load, Macs, Rate, Sizes, Traffic, Vlans};
pub use trial::{Station, Thread, Trial, run, run_with_clock, wait_for_path};

/// Streams of one [`run`] at most: the number of a stream has one octet in the frame, and the last number is that of
/// [`announce`].
pub const STREAMS_MAX: usize = 255;
/// Flows of a stream at most: the number of a flow has three octets in the frame.
pub const FLOWS_MAX: u32 = 1 << 24;
