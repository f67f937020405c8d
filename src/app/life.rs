//! Signs of life for the supervisor: given only while the box does its work, so that one that no longer does is started anew.
//!
//! A sign is given when the books' writer has answered, no task of the engine has ended, and the HTTP API is there. A chain that
//! does not answer, an empty wallet or a full disk are no reason to withhold it: the box waits for them by itself, and
//! a new start would only interrupt it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::App;
use crate::{domain::mint::MintStatus, minting::Condition, supervisor::Supervisor};

/// Time between two signs. Shorter when the supervisor is less patient than [`SIGNS`] of them.
const EVERY: Duration = Duration::from_secs(10);
/// Signs that may be given within the supervisor's patience.
const SIGNS: u32 = 4;
/// How long the HTTP API may take.
const PROBE: Duration = Duration::from_secs(10);
/// Pause before a box that is not there yet is looked at again.
const NOT_YET: Duration = Duration::from_millis(200);

/// Tells the supervisor that the box is ready once it is, and from then on that it lives, until `stop` is cancelled. `listening`
/// is where the HTTP API is.
pub(super) async fn run(app: Arc<App>, supervisor: Supervisor, listening: SocketAddr, stop: CancellationToken) {
    if !supervisor.is_there() {
        return;
    }
    let every = supervisor.patience.and_then(|patience| patience.checked_div(SIGNS)).map_or(EVERY, |d| d.min(EVERY));
    let signs = async {
        while !answers(listening).await.unwrap_or_default() {
            sleep(NOT_YET).await;
        }
        supervisor.tell(&["READY=1"]);
        loop {
            let status = format!("STATUS={}", status(&app).await);
            match fault(&app, listening).await {
                None => supervisor.tell(&["WATCHDOG=1", &status]),
                Some(fault) => {
                    tracing::error!(
                        fault,
                        "the box does not work as it should; the supervisor is told no sign of life"
                    );
                    supervisor.tell(&[&format!("STATUS={fault}")]);
                }
            }
            sleep(every).await;
        }
    };
    stop.run_until_cancelled(signs).await;
    supervisor.tell(&["STOPPING=1", "STATUS=stopping: what is under way is settled or parked"]);
}

/// What is broken for good in this process. Whatever does not answer at all keeps the caller waiting, and so the sign.
async fn fault(app: &App, listening: SocketAddr) -> Option<&'static str> {
    if app.store.pulse().await.is_err() {
        return Some("the writer of the books has ended");
    }
    if app.minter.has_broken_down() {
        return Some("a task of the minting engine has ended");
    }
    match answers(listening).await {
        Ok(true) => None,
        // All connections are taken, perhaps by somebody hostile: a new start would help them, not us.
        Err(error) if error.kind() == io::ErrorKind::TimedOut => None,
        Ok(false) | Err(_) => Some("the HTTP API does not answer"),
    }
}

/// In a few words, and nothing that is only for those with a key: everyone on the machine may read it.
async fn status(app: &App) -> String {
    let network = app.config.network.as_str();
    let Ok(counts) = app.store.counts(None).await else { return format!("{network}: the books cannot be read") };
    let (under_way, waiting) = (counts.of(MintStatus::Minting), counts.of(MintStatus::Pending));
    let held = match app.minter.condition() {
        Condition::Held { .. } => "; minting is held, the log says why",
        Condition::Clear => "",
    };
    format!("{network}: {under_way} tickets under way, {waiting} waiting{held}")
}

/// Whether the HTTP API says that it lives.
async fn answers(listening: SocketAddr) -> io::Result<bool> {
    let ip = listening.ip();
    let here = match (ip.is_unspecified(), ip.is_ipv4()) {
        (false, _) => ip,
        (true, true) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        (true, false) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    let probe = async {
        let stream = TcpStream::connect(SocketAddr::new(here, listening.port())).await?;
        stream.writable().await?;
        stream.try_write(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut head = [0; 12];
        loop {
            stream.readable().await?;
            match stream.try_read(&mut head) {
                Ok(_) => return Ok(head.starts_with(b"HTTP/1.1 200")),
                // Woken for nothing.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    };
    timeout(PROBE, probe).await.unwrap_or_else(|_late| Err(io::ErrorKind::TimedOut.into()))
}
