//! Fuzz targets: octets that nobody promised anything of, given to what reads them first.
//!
//! Under `cargo test` each target runs for under a second on random inputs and on those of its corpus, so it is a test as
//! any other. `cargo bolero test -p dataplane offload::frames` searches on with libFuzzer, guided by coverage;
//! what it finds goes to `tests/fuzz/__fuzz__/` and is run by `cargo test` from then on.
//!
//! A new target is a module here with a `#[test]` around `bolero::check!()`. For those that take frames, [`frames::Input`]
//! makes octets that are close enough to good frames to get behind the first checks.

mod frames;
mod offload;
mod pipeline;
mod router;
mod wire;
