//! boxoffice
pub mod domain;
pub mod store;
pub mod chain;
pub mod metadata;
pub mod clock;pub mod estimate;pub mod minting;