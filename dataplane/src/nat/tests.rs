//! Tests of translation. `packets.rs` builds packets, `world.rs` is a NAT with a plain map for its flows and a virtual clock.

mod binding;
mod errors;
mod packets;
mod rewriting;
mod rfc;
mod tracked;
mod world;
