//! The state machines of bonds under a virtual clock: each option changes an outcome here, two agents speak LACP with each
//! other, and random link histories keep what must always hold.

mod active;
mod alb;
mod arp;
mod lab;
mod lacp;
mod links;
mod notify;
mod properties;
mod settings;
mod tlb;
