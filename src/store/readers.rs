//! Connections that read, each used by one query at a time.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus::Histogram;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{Store, StoreError};
use crate::simulation;

#[derive(Clone)]
pub(super) struct Readers {
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
    count: usize,
    seconds: Histogram,
}

impl fmt::Debug for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Readers")
    }
}

impl Readers {
    pub(super) fn open(
        count: usize,
        seconds: Histogram,
        open: impl Fn() -> Result<Connection, StoreError>,
    ) -> Result<Self, StoreError> {
        let idle = std::iter::repeat_with(open).take(count).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { idle: Arc::new(Mutex::new(idle)), permits: Arc::new(Semaphore::new(count)), count, seconds })
    }
}

impl Readers {
    /// Waits for queries under way and closes the connections; later queries are answered that the database is closed.
    pub(super) async fn close(&self) {
        let all = u32::try_from(self.count).unwrap_or(u32::MAX);
        let under_way = self.permits.acquire_many(all).await;
        self.permits.close();
        drop(under_way);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Store {
    /// Runs a query on a connection that sees the last commit and never blocks the writer.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = Arc::clone(&self.readers.permits).acquire_owned().await.map_err(|_closed| StoreError::Closed)?;
        let idle = Arc::clone(&self.readers.idle);
        let seconds = self.readers.seconds.clone();
        let work = simulation::aside(move || {
            let take = || idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = take().ok_or(StoreError::Closed)?;
            let timer = seconds.start_timer();
            let result = query(&connection);
            timer.observe_duration();
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            drop(permit);
            result
        });
        work.await.ok_or(StoreError::Closed)?
    }
}
