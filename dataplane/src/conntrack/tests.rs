//! Scenarios: packets as octets, a virtual clock, and what the table says.

mod lab;
mod protocols;
mod table;
mod tcp;
