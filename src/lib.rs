//! boxoffice
pub mod domain;
pub mod store;
