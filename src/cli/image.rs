//! `boxoffice image`.

use std::{fs::File, io::Read as _, path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};
use bytes::{Bytes, BytesMut};
use clap::{Args, Subcommand};
use reqwest::{Url, redirect};
use serde_json::Value;

use super::{SettingFlags, client::Client, mint::start};
use crate::domain::image::{ImageFault, MAX_IMAGE_BYTES, recognize};

/// How long the file of a web address may take.
const FETCH_TIMEOUT: Duration = Duration::from_mins(1);
const MAX_REDIRECTS: usize = 5;

/// Sets, shows and removes the image of an event's tickets: of those that are accepted from then on and have none of their
/// own. Tickets that were accepted before keep what they have.
#[derive(Debug, Args)]
#[command(after_help = "Example: boxoffice image set poster.png --venue town-hall --event winter-festival")]
pub(super) struct ImageArgs {
    #[command(subcommand)]
    command: ImageCommand,
}

#[derive(Debug, Subcommand)]
enum ImageCommand {
    /// Sets the image: a PNG, JPEG, GIF or WebP, or an SVG that runs nothing and fetches nothing, of up to 10 MiB
    Set {
        /// A file, or an http:// or https:// address that is fetched now
        #[arg(value_name = "FILE_OR_URL")]
        source: String,
        #[command(flatten)]
        of: Of,
    },
    /// Shows which image is set
    Show {
        #[command(flatten)]
        of: Of,
    },
    /// Removes the image; its file stays published, for tickets show it
    Remove {
        #[command(flatten)]
        of: Of,
    },
}

#[derive(Debug, Args)]
struct Of {
    /// The venue's id
    #[arg(long, value_name = "ID")]
    venue: String,
    /// The event's id
    #[arg(long, value_name = "ID")]
    event: String,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    /// Talks to a running server instead of opening the data folder
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
}

pub(super) async fn run(args: ImageArgs, settings: &SettingFlags) -> anyhow::Result<ExitCode> {
    let mut config = settings.load_quietly()?;
    // Before a server is started for it: a wrong file is the likeliest fault.
    let file = match &args.command {
        ImageCommand::Set { source, .. } => Some(read(source).await?),
        ImageCommand::Show { .. } | ImageCommand::Remove { .. } => None,
    };
    let (ImageCommand::Set { of, .. } | ImageCommand::Show { of } | ImageCommand::Remove { of }) = &args.command;
    if let Some(url) = of.url.clone() {
        let client = Client::new(url, config.admin_api_key.take())?;
        return carry_out(&client, &args.command, of, file).await;
    }
    let server = start(config).await?;
    let result = carry_out(&server.client, &args.command, of, file).await;
    server.stop().await?;
    result
}

async fn carry_out(client: &Client, command: &ImageCommand, of: &Of, file: Option<Bytes>) -> anyhow::Result<ExitCode> {
    let (image, done) = match command {
        ImageCommand::Set { .. } => {
            let file = file.unwrap_or_default();
            (client.set_image(&of.venue, &of.event, file).await?, "tickets accepted from now on show")
        }
        ImageCommand::Show { .. } => (client.image(&of.venue, &of.event).await?, "tickets accepted now show"),
        ImageCommand::Remove { .. } => {
            (client.remove_image(&of.venue, &of.event).await?, "tickets accepted from now on no longer show")
        }
    };
    if of.json {
        say!("{}", serde_json::to_string_pretty(&image)?);
        return Ok(ExitCode::SUCCESS);
    }
    let text = |name: &str| image.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
    let number = |name: &str| image.get(name).and_then(Value::as_u64).unwrap_or_default();
    say!(
        "{} of {}: {done} {} ({}, {} x {} pixels, {} bytes, set {})",
        of.event,
        of.venue,
        text("uri"),
        text("mediaType"),
        number("width"),
        number("height"),
        number("bytes"),
        text("setAt")
    );
    Ok(ExitCode::SUCCESS)
}

/// Reads a file or fetches an address, and checks that it is an image.
async fn read(source: &str) -> anyhow::Result<Bytes> {
    let is_address = |text: &str| {
        let start = |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        start("http://") || start("https://")
    };
    let bytes = if is_address(source) {
        fetch(source.parse().with_context(|| format!("{source} is no web address"))?).await?
    } else if source.contains("://") {
        bail!("{source}: only files, http:// and https:// are taken");
    } else {
        read_file(source.as_ref()).with_context(|| format!("cannot read {source}"))?
    };
    recognize(&bytes).with_context(|| source.to_owned())?;
    Ok(bytes)
}

fn read_file(path: &Path) -> std::io::Result<Bytes> {
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    // One more than is taken tells that it is too large.
    file.take((MAX_IMAGE_BYTES as u64).saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

async fn fetch(address: Url) -> anyhow::Result<Bytes> {
    let http = reqwest::Client::builder().timeout(FETCH_TIMEOUT).redirect(redirect::Policy::limited(MAX_REDIRECTS));
    let name = address.host_str().unwrap_or_default().to_owned();
    let fetch = async {
        let mut response = http.build()?.get(address).send().await?.error_for_status()?;
        let mut bytes = BytesMut::new();
        while let Some(part) = response.chunk().await? {
            if bytes.len().saturating_add(part.len()) > MAX_IMAGE_BYTES {
                return Ok(None);
            }
            bytes.extend_from_slice(&part);
        }
        Ok(Some(bytes.freeze()))
    };
    // Without the address: it may hold what somebody took for the place of a key.
    let fetched: Result<_, reqwest::Error> = fetch.await.map_err(reqwest::Error::without_url);
    let fetched = fetched.with_context(|| format!("cannot fetch the image from {name}"))?;
    Ok(fetched.ok_or(ImageFault::TooLarge)?)
}
