//! The integration tests: one binary, for everything that is linked with Solana links slowly.
//!
//! Real are: HTTP on free ports, SQLite files, the embedded chain with the real Token Metadata program, and, where a process
//! must die, a real process. A proxy in front of the real chain plays the faults that a real chain does not show on demand.

#![allow(missing_docs, unreachable_pub, reason = "tests are not an API")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    reason = "a test that goes wrong should panic where it does"
)]

mod architecture;
mod books;
mod cache;
mod jobs;
mod settings;
#[cfg(feature = "failpoints")]
mod simulator;
mod support;
mod upgrades;
mod wrong_inputs;

#[cfg(feature = "localnet")]
mod access;
#[cfg(feature = "localnet")]
mod alerts;
#[cfg(feature = "localnet")]
mod api;
#[cfg(feature = "localnet")]
mod backup;
#[cfg(feature = "localnet")]
mod bad_days;
#[cfg(feature = "localnet")]
mod batches;
#[cfg(feature = "localnet")]
mod browser;
#[cfg(feature = "localnet")]
mod command_line;
#[cfg(all(feature = "localnet", feature = "failpoints"))]
mod crash;
#[cfg(feature = "localnet")]
mod events;
#[cfg(feature = "localnet")]
mod export;
#[cfg(feature = "localnet")]
mod fees;
#[cfg(all(feature = "localnet", feature = "redis"))]
mod fleet;
#[cfg(feature = "localnet")]
mod forecast;
#[cfg(feature = "localnet")]
mod images;
#[cfg(feature = "localnet")]
mod interop;
#[cfg(feature = "localnet")]
mod openapi;
#[cfg(feature = "localnet")]
mod packaging;
#[cfg(feature = "localnet")]
mod packing;
#[cfg(feature = "localnet")]
mod page;
#[cfg(feature = "localnet")]
mod payers;
#[cfg(feature = "localnet")]
mod pool;
#[cfg(feature = "localnet")]
mod publish;
#[cfg(feature = "localnet")]
mod reconcile;
#[cfg(feature = "localnet")]
mod seed_contract;
#[cfg(all(feature = "localnet", feature = "remote-signers"))]
mod signers;
#[cfg(feature = "localnet")]
mod spending;
#[cfg(feature = "localnet")]
mod trends;
