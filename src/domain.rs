//! What the product knows: pure, synchronous, and free of I/O.
//!
//! Everything else may use this module; it uses nothing of the crate.

pub mod access;
pub mod address;
pub mod alert;
pub mod anomaly;
pub mod cron;
pub mod discrepancy;
pub mod document;
pub mod failure;
pub mod forecast;
pub mod ids;
pub mod image;
pub mod lamports;
pub mod mint;
pub mod quiet_hours;
pub mod raw_list;
pub mod spending;
pub mod ticket;
pub mod ticket_file;
