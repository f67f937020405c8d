//! `boxoffice export`.

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::{SOME_FAILED, SettingFlags};
use crate::{
    config::Network,
    metadata::export::{self, Exported},
};

/// Writes everything that is published (metadata and images) into one CAR file, beside a running server or without
/// one: for `ipfs dag import` and pinning services. Its root is a directory that names every file by its CID, so pinning the
/// root pins everything. Nothing is ever overwritten.
#[derive(Debug, Args)]
#[command(after_help = "Example: boxoffice export --car published.car && ipfs dag import published.car\n\n\
        Above 2,500 files the root holds directories of 2,500 files each, and above 6,250,000 there are several roots.\n\
        A file that is damaged in the content store is left out and named; the exit code is then 3. `boxoffice reconcile \
        VENUE --fix` publishes damaged metadata again, `boxoffice image set` images.")]
pub(super) struct ExportArgs {
    /// CAR file to write
    #[arg(long, value_name = "FILE", required_unless_present = "list")]
    car: Option<PathBuf>,
    /// Lists what is published instead: CID, bytes and media type, one line each
    #[arg(long, conflicts_with = "car")]
    list: bool,
    /// Prints the result as JSON; with --list, one object a line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: ExportArgs, settings: &SettingFlags) -> anyhow::Result<ExitCode> {
    let config = settings.load_quietly()?;
    anyhow::ensure!(
        config.network != Network::Embedded,
        "with NETWORK=embedded chain and content live inside the server's process and end with it; there is nothing to keep"
    );
    let data = config.data_dir;
    let Some(car) = args.car else {
        return tokio::task::spawn_blocking(move || list(&data, args.json)).await?;
    };
    let file = car.clone();
    let exported = tokio::task::spawn_blocking(move || export::write(&data, &file)).await??;
    let Exported { roots, files, blocks, bytes, damaged } = &exported;
    if args.json {
        let report = json!({
            "file": car.display().to_string(), "roots": roots.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "files": files, "blocks": blocks, "bytes": bytes, "damaged": damaged
        });
        say!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        say!("{}: {files} files in {blocks} blocks, {bytes} bytes", car.display());
        for root in roots {
            say!("root {root}");
        }
    }
    for cid in damaged {
        eprintln!("left out: {cid} is damaged in the content store (see boxoffice export --help)");
    }
    Ok(if damaged.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(SOME_FAILED) })
}

fn list(data: &std::path::Path, as_json: bool) -> anyhow::Result<ExitCode> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    export::list(data, |entry| {
        if as_json {
            let line = json!({ "cid": entry.cid, "bytes": entry.bytes, "mediaType": entry.media_type });
            writeln!(out, "{line}")
        } else {
            writeln!(out, "{} {} {}", entry.cid, entry.bytes, entry.media_type)
        }
    })?;
    out.flush().context("cannot write the list")?;
    Ok(ExitCode::SUCCESS)
}
