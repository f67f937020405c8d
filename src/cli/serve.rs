//! `boxoffice serve`.

use std::{process::ExitCode, sync::Arc};

use clap::Args;

use super::{SettingFlags, interruption, listen};
use crate::{app::App, config::Network};

/// Goes on with whatever an earlier run left open, and stops cleanly on Ctrl-C or SIGTERM.
#[derive(Debug, Args)]
#[command(after_help = "Example: NETWORK=devnet WALLET_PATH=wallet.json boxoffice serve")]
pub(super) struct ServeArgs {}

pub(super) async fn run(_args: ServeArgs, settings: &SettingFlags) -> anyhow::Result<ExitCode> {
    let config = settings.load()?;
    let key_remedy = config.key_remedy();
    let (stop, supervisor) = (interruption()?, settings.supervisor());
    if config.network == Network::Embedded {
        eprintln!("NETWORK=embedded: a rehearsal. Chain and books are temporary and end with this process.");
    }
    // The port first: a second server should fail before it touches anything.
    let listener = listen(config.listen).await?;
    supervisor.tell(&["STATUS=starting: opening the books, reaching the chain"]);
    let app = tokio::select! {
        app = App::start(config) => Arc::new(app?),
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    if !app.access.has_key().await? {
        eprintln!("There is no key yet: everyone on this machine may mint, and nobody from outside can connect.");
        eprintln!("To change that, {key_remedy}.");
    }
    let listening = listener.local_addr()?;
    eprintln!("Listening on http://{listening}");
    app.tasks.spawn(Arc::clone(&app).report(supervisor, listening, stop.clone()));
    let served = app.serve(listener, stop).await;
    app.stop().await;
    served?;
    Ok(ExitCode::SUCCESS)
}
