//! The `boxoffice` program: see [`boxoffice::cli`].

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    boxoffice::cli::run(boxoffice::cli::Cli::parse())
}
