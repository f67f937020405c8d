//! The accept loop: connections with limits that a slow or hostile client meets before any handler does.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

/// Connections at once. More wait in the system's queue, and cost nothing there.
const MAX_CONNECTIONS: usize = 1_024;
/// How long a client may take to send the head of a request, and how long a connection may idle before the next one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest head of a request. Long enough for every proxy's headers.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// How long a stop waits for answers under way.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after a failed accept: out of file handles, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// Serves until `stop` is cancelled; answers under way are finished first.
pub(super) async fn run(listener: TcpListener, router: Router, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let accept = async {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let connection = graceful.watch(serve(stream, peer, &router));
                    tokio::spawn(async move {
                        // A client that breaks off is its own affair.
                        drop(connection.await);
                        drop(place);
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

fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    router: &Router,
) -> http1::Connection<TokioIo<TcpStream>, TowerToHyperService<Router>> {
    // Progress events are small and must not wait for each other.
    drop(stream.set_nodelay(true));
    let service = TowerToHyperService::new(router.clone().layer(Extension(Peer(peer))));
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_header_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service)
}

fn is_of_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
