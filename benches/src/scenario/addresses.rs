//! Address table and learning as RFC 2889 measures them, on three AF_PACKET ports.

use std::time::Duration;

use anyhow::bail;

use crate::cores::Load as Demand;
use crate::generator::rfc2889::AddressTest;
use crate::generator::{Macs, Traffic, announce};
use crate::scenario::{Sample, Settings};
use crate::system::System;
use crate::testbed::{Streams, Testbed};
use crate::topology::{Attachment, Hosts, Topology};

/// Addresses that the table is asked to have room for, and that are tried first.
const ADDRESSES: u32 = 100_000;
/// Addresses whose learning is timed: so many that a switch cannot hide them in a queue.
const LEARNED: u32 = 10_000;
/// Frames per second that every system surely forwards.
const EASY_RATE: f64 = 16_000.0;
/// Part of what the generator can send that the search begins with.
const RATE_PART: f64 = 0.8;

/// One round: addresses kept.
pub(super) fn capacity(system: System, settings: &Settings) -> anyhow::Result<Sample> {
    let mut bed = start(system, settings)?;
    let figure = with(&mut bed, |test, forget| test.capacity(ADDRESSES, forget))?;
    Ok(Sample::new(figure.into()).by(bed.switch()))
}

/// One round: addresses learned a second.
pub(super) fn learning_rate(system: System, settings: &Settings) -> anyhow::Result<Sample> {
    let mut bed = start(system, settings)?;
    // As fast as the generator goes; a rate it does not reach would fail every trial.
    let traffic = Traffic::between(Macs::servers(LEARNED), Macs::clients(1));
    let fastest = announce(&mut bed.hosts()[1], &traffic, f64::MAX)?;
    std::thread::sleep(Duration::from_millis(200));
    let most = fastest * RATE_PART;
    let figure = with(&mut bed, |test, forget| test.learning_rate(LEARNED, most, forget))?;
    Ok(Sample::new(figure / 1e3).with("generator_kaddresses_per_second", fastest / 1e3).by(bed.switch()))
}

fn start(system: System, settings: &Settings) -> anyhow::Result<Testbed> {
    let topology = Topology { ports: 3, addresses: ADDRESSES, ..Topology::pair(Attachment::Packet, Hosts::Generator) };
    let mut bed = Testbed::start(system, &topology, Demand::OneWay, settings)?;
    // Port 2 gets frames until port 1 is known.
    let traffic = Traffic::between(Macs::clients(1), Macs::servers(1));
    bed.check(&Streams::both_ways(traffic))?;
    Ok(bed)
}

/// The test station is the client, *learning* is the first server, *monitor* the second.
fn with<T>(
    bed: &mut Testbed,
    work: impl FnOnce(&mut AddressTest<'_>, &mut dyn FnMut() -> anyhow::Result<()>) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let core = bed.client_core();
    let (hosts, forgetter) = bed.hosts_and_forgetter();
    let [test, learning, monitor] = hosts else { bail!("an address test has three ports") };
    let mut test = AddressTest { learning, test, monitor, easy_rate: EASY_RATE, core };
    work(&mut test, &mut || forgetter())
}
