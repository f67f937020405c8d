//! The accept loop: connections with limits that a slow or hostile client meets before any handler does.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use ipnet::IpNet;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;

use super::{client_address::contains, limits::network_of};

/// Connections at once. More wait in the system's queue, and cost nothing there.
pub(super) const MAX_CONNECTIONS: usize = 1_024;
/// How long a client may take to send the head of a request, and how long a connection may idle before the next one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a client may take nothing of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections of one address, this machine and trusted proxies apart: no stranger can take them all.
const MAX_OF_CLIENT: usize = 64;
/// Largest head of a request. Long enough for every proxy's headers.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// How long a stop waits for answers under way.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed accept: out of file handles, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Serves until `stop` is cancelled; answers under way are finished first. `proxies` may open as many connections as they
/// like: they speak for many.
pub(super) async fn run(listener: TcpListener, router: Router, proxies: &[IpNet], stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let clients = Clients::default();
    let accept = async {
        loop {
            if places.available_permits() == 0 {
                tracing::warn!(connections = MAX_CONNECTIONS, "all connections are taken; new ones wait");
            }
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let address = peer.ip().to_canonical();
                    let is_limited = !address.is_loopback() && !contains(proxies, address);
                    let share = if is_limited { clients.take(address) } else { Some(Share::unlimited()) };
                    // One that has its share already is hung up on.
                    let Some(share) = share else { continue };
                    let connection = graceful.watch(serve(stream, peer, &router));
                    tokio::spawn(async move {
                        // A client that breaks off is its own affair.
                        drop(connection.await);
                        drop((place, share));
                    });
                }
                Err(error) if is_of_client(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    stop.run_until_cancelled(accept).await;
    drop(listener);
    if timeout(STOP_TIMEOUT, graceful.shutdown()).await.is_err() {
        tracing::warn!("some clients took too long to take their answers");
    }
}

/// A connection whose writes must go on.
type Stream = TokioIo<Pin<Box<TimeoutStream<TcpStream>>>>;

fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    router: &Router,
) -> http1::Connection<Stream, TowerToHyperService<Router>> {
    // Progress events are small and must not wait for each other.
    drop(stream.set_nodelay(true));
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    let service = TowerToHyperService::new(router.clone().layer(Extension(Peer(peer))));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
}

/// How many connections each client has open.
#[derive(Clone, Default)]
struct Clients(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A client's place among its own connections, given back when the connection ends.
struct Share(Option<(Clients, IpAddr)>);

impl Clients {
    fn take(&self, address: IpAddr) -> Option<Share> {
        let address = network_of(address);
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= MAX_OF_CLIENT {
            return None;
        }
        *count = count.saturating_add(1);
        drop(open);
        Some(Share(Some((self.clone(), address))))
    }
}

impl Share {
    fn unlimited() -> Self {
        Self(None)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some((clients, address)) = &self.0 else { return };
        let mut open = clients.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = open.entry(*address) {
            *count.get_mut() = count.get().saturating_sub(1);
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
