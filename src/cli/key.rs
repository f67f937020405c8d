//! `boxoffice key`.

use std::process::ExitCode;

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::SettingFlags;
use crate::{
    access::{COMMAND_LINE, is_free_name},
    app::open_books,
    clock::{Clock as _, SystemClock, rfc3339},
    config::{Config, Network, Secret},
    domain::{
        access::{Role, key_digest},
        ids::check_id,
    },
    folder::{DataFolder, FolderError},
    store::{ApiKey, FILE_NAME, NewApiKey, NewAuditRecord, Store},
};

/// What keys begin with, so that tools which search for leaked secrets can know them.
const PREFIX: &str = "boxoffice_";
/// Random bytes in a key.
const KEY_BYTES: usize = 32;

/// Makes, lists and revokes keys for the admin API. Takes effect at once, beside a running server too.
#[derive(Debug, Args)]
#[command(after_help = "Example: boxoffice key create door-screen --role read")]
pub(super) struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Makes a key and shows it once; only a hash of it is kept
    Create {
        /// Who or what will use it; appears in the audit trail
        name: String,
        /// What it may do
        #[arg(long, value_name = "read|operate", value_parser = role)]
        role: Role,
    },
    /// Lists all keys, revoked ones too
    List {
        /// Prints JSON
        #[arg(long)]
        json: bool,
    },
    /// Takes a key out of force
    Revoke {
        /// Its name
        name: String,
    },
}

fn role(name: &str) -> Result<Role, &'static str> {
    Role::parse(name).ok_or("must be read (look at everything, change nothing) or operate (everything)")
}

pub(super) async fn run(args: KeyArgs, settings: &SettingFlags) -> anyhow::Result<ExitCode> {
    let config = settings.load_quietly()?;
    let may_begin = matches!(args.command, KeyCommand::Create { .. });
    let (store, _folder) = open(&config, may_begin).await?;
    let done = match args.command {
        KeyCommand::Create { name, role } => create(&store, name, role).await,
        KeyCommand::List { json } => list(&store, json).await,
        KeyCommand::Revoke { name } => revoke(&store, name).await,
    };
    store.close().await;
    done.map(|()| ExitCode::SUCCESS)
}

/// Opens the books, beside a server if one is running: SQLite lets both write in turn. Only who owns the folder may change
/// the books' schema. Books that are not there yet are begun only where that makes sense: a mistyped `DATA_DIR` should not.
async fn open(config: &Config, may_begin: bool) -> anyhow::Result<(Store, Option<DataFolder>)> {
    anyhow::ensure!(
        config.network != Network::Embedded,
        "with NETWORK=embedded the books end with the server, and so would the key: set ADMIN_API_KEY, or another NETWORK"
    );
    anyhow::ensure!(
        may_begin || config.data_dir.join(FILE_NAME).exists(),
        "there are no books in the data folder {}; correct DATA_DIR",
        config.data_dir.display()
    );
    match DataFolder::take(&config.data_dir, &[FILE_NAME]) {
        Ok(folder) => Ok((open_books(config, &folder).await?, Some(folder))),
        Err(FolderError::Locked { .. }) => Ok((Store::open_beside(&config.data_dir)?, None)),
        Err(error) => Err(error.into()),
    }
}

/// A key that nobody can guess.
pub(super) fn fresh_key() -> anyhow::Result<Secret> {
    let mut random = [0; KEY_BYTES];
    getrandom::fill(&mut random).context("the system gives no random bytes")?;
    Ok(Secret::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random))))
}

async fn create(store: &Store, name: String, role: Role) -> anyhow::Result<()> {
    if let Err(fault) = check_id(&name) {
        anyhow::bail!("the name {name:?} {fault}");
    }
    anyhow::ensure!(is_free_name(&name), "the audit trail uses the name {name} for something else; choose another");
    let key = fresh_key()?;
    let note = note(store, format!("key create {name} --role {}", role.as_str())).await?;
    let new = NewApiKey { name: name.clone(), role, digest: key_digest(key.expose().as_bytes()) };
    let added = store.add_key(new, SystemClock.now_ms()).await;
    store.audit_outcome(note, None, added.as_ref().map_or_else(ToString::to_string, |()| "made".into())).await?;
    added?;
    eprintln!("The key {name} has the role {}. It is shown only now; send it as x-admin-api-key.", role.as_str());
    say!("{}", key.expose());
    Ok(())
}

async fn revoke(store: &Store, name: String) -> anyhow::Result<()> {
    let note = note(store, format!("key revoke {name}")).await?;
    let revoked = store.revoke_key(name.clone(), SystemClock.now_ms()).await?;
    let outcome = if revoked { "revoked" } else { "no key in force has this name" };
    store.audit_outcome(note, None, outcome.into()).await?;
    if !revoked {
        anyhow::bail!("no key in force is named {name}; `boxoffice key list` shows all");
    }
    eprintln!("The key {name} is revoked.");
    Ok(())
}

async fn note(store: &Store, action: String) -> anyhow::Result<i64> {
    let record = NewAuditRecord {
        actor: COMMAND_LINE.into(),
        client: COMMAND_LINE.into(),
        action,
        request_id: Uuid::now_v7().to_string(),
    };
    Ok(store.audit(record, SystemClock.now_ms()).await?)
}

async fn list(store: &Store, as_json: bool) -> anyhow::Result<()> {
    let keys = store.keys().await?;
    if as_json {
        let entry = |key: &ApiKey| {
            json!({
                "name": key.name,
                "role": key.role,
                "createdAt": rfc3339(key.created_at_ms),
                "revokedAt": key.revoked_at_ms.map(rfc3339),
            })
        };
        say!("{}", serde_json::to_string_pretty(&keys.iter().map(entry).collect::<Vec<_>>())?);
        return Ok(());
    }
    for key in &keys {
        let state = key.revoked_at_ms.map_or_else(|| "in force".to_owned(), |at| format!("revoked {}", rfc3339(at)));
        say!("{:<24} {:<8} made {}  {state}", key.name, key.role.as_str(), rfc3339(key.created_at_ms));
    }
    if keys.is_empty() {
        eprintln!("There are no keys yet; make one with `boxoffice key create NAME --role operate`.");
    }
    Ok(())
}
