//! boxoffice turns a venue's ticket sales into NFTs on Solana.
//!
//! The map, in the order in which things flow:
//!
//! ```text
//! entrances   cli  http  schedule translate, never decide
//! wiring      app  config         builds everything once; the only reader of settings
//! services    minting  estimate   no SQL, no HTTP types, no RPC types
//!             reconcile  balance  payers  access
//!             alerts  backup  cache  images  publishing  forecast
//!             trends  anomalies
//! adapters    store  chain        one module, one outside thing; they know nothing of each other
//!             metadata  fleet  webhook  folder  clock  telemetry  supervisor
//! below all   domain              pure and synchronous
//!             simulation          what a simulated world stands in for; nothing in a production build
//! ```
//!
//! Invariants: a ticket is minted at most once, for its address on the chain is derived from its identity; what was accepted
//! is on disk; bytes leave the box only after they are on disk; a ticket whose fate is unknown is never guessed about.

pub mod access;
pub mod alerts;
pub mod anomalies;
pub mod app;
pub mod backup;
pub mod balance;
pub mod cache;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod estimate;
#[cfg(feature = "redis")]
pub mod fleet;
#[cfg(not(feature = "redis"))]
#[path = "fleet/absent.rs"]
pub mod fleet;
pub mod folder;
pub mod forecast;
mod http;
pub mod images;
#[cfg(feature = "failpoints")]
mod kill_points;
pub mod metadata;
pub mod minting;
pub mod payers;
pub mod publishing;
pub mod reconcile;
pub mod schedule;
#[doc(hidden)]
pub mod simulation;
pub mod store;
pub mod supervisor;
pub mod telemetry;
pub mod trends;
pub mod webhook;
