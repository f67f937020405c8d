//! The supervisor that started the process: systemd, or what speaks its protocol (`sd_notify(3)`). It is told when the box is
//! ready, that it lives, and how it is; without one nothing is told. What is to be said is decided by the wiring.

#[cfg(unix)]
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to it.
#[derive(Debug, Default)]
pub struct Supervisor {
    #[cfg(unix)]
    to: Option<(UnixDatagram, SocketAddr)>,
    /// How long it waits for a sign of life before it starts the box anew; none when it does not.
    pub patience: Option<Duration>,
}

#[cfg(unix)]
impl Supervisor {
    /// The supervisor behind a socket (`NOTIFY_SOCKET`): a path, or with `@` in front a name without one. Nobody is told when
    /// the socket cannot be used: it is the supervisor who then notices.
    #[must_use]
    pub fn new(socket: Option<&str>, patience: Option<Duration>) -> Self {
        let to = socket.and_then(|socket| {
            let address = address(socket).inspect_err(|error| tracing::warn!(%error, "NOTIFY_SOCKET is of no use"));
            Some((UnixDatagram::unbound().ok()?, address.ok()?))
        });
        Self { to, patience }
    }

    /// Whether anybody listens.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.to.is_some()
    }

    /// Says what is so now, in the words of the protocol: `READY=1`, `WATCHDOG=1`, `STATUS=…`, one a line.
    pub fn tell(&self, words: &[&str]) {
        let Some((socket, address)) = &self.to else { return };
        if let Err(error) = socket.send_to_addr(words.join("\n").as_bytes(), address) {
            tracing::debug!(%error, "the supervisor cannot be told anything");
        }
    }
}

#[cfg(unix)]
fn address(socket: &str) -> std::io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = socket.strip_prefix('@') {
        return <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name);
    }
    SocketAddr::from_pathname(socket)
}

#[cfg(not(unix))]
impl Supervisor {
    /// There is none on this platform.
    #[must_use]
    pub fn new(_socket: Option<&str>, patience: Option<Duration>) -> Self {
        Self { patience }
    }

    /// Whether anybody listens.
    #[must_use]
    pub fn is_there(&self) -> bool {
        false
    }

    /// Nobody is told.
    pub fn tell(&self, _words: &[&str]) {}
}
