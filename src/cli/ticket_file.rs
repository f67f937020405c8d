//! A file of tickets on the disk, and how its faults are told in a terminal.

use std::{fmt, path::Path};

use anyhow::Context as _;
use serde_json::Value;
use thiserror::Error;

use crate::domain::{
    ticket::TicketRules,
    ticket_file::{self, FileFault, FileFormat},
};

/// Faults that are listed one by one; the rest is counted.
const SHOWN: usize = 50;

/// Everything that is wrong with a file.
#[derive(Clone, Debug, Error)]
pub(super) struct FileFaults {
    pub(super) file: String,
    pub(super) row_name: &'static str,
    pub(super) faults: Vec<FileFault>,
    /// All of them, those that are not listed too.
    pub(super) count: usize,
}

impl fmt::Display for FileFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has {} fault{}:", self.file, self.count, if self.count == 1 { "" } else { "s" })?;
        for fault in self.faults.iter().take(SHOWN) {
            write!(f, "\n  {} {}", self.row_name, fault.row)?;
            if !fault.column.is_empty() {
                write!(f, ", {}", fault.column)?;
            }
            write!(f, ": {}", fault.detail)?;
        }
        match self.count.checked_sub(SHOWN) {
            Some(more) if more > 0 => write!(f, "\n  and {more} more")?,
            _ => {}
        }
        write!(f, "\nNothing was minted. Correct them, or mint the good rows with --skip-faulty.")
    }
}

/// The tickets of a file, as the API takes them, and what is wrong with the others.
#[derive(Debug)]
pub(super) struct TicketFile {
    pub(super) tickets: Vec<Value>,
    pub(super) faults: FileFaults,
}

/// Reads a file: JSON if its name ends so, otherwise CSV. `event` is the event of tickets that name none.
pub(super) fn read(path: &Path, venue: &str, event: Option<&str>, rules: TicketRules) -> anyhow::Result<TicketFile> {
    let file = path.display().to_string();
    let bytes = std::fs::read(path).with_context(|| format!("cannot read {file}"))?;
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let format = if is_json { FileFormat::Json } else { FileFormat::Csv };
    let read = ticket_file::read(&bytes, format, venue, event, rules, usize::MAX)?;
    let faults = FileFaults { file, row_name: format.row_name(), faults: read.faults, count: read.fault_count };
    Ok(TicketFile { tickets: read.tickets, faults })
}
