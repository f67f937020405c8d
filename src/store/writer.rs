//! The one connection that writes, on a thread of its own.
//!
//! Writes that are waiting when a commit begins join it: a thousand small requests cost a handful of fsyncs. Each runs in
//! a savepoint, so one that fails takes nothing of its neighbours with it, and each is answered only after the commit. One that
//! is large has a transaction for itself, and no savepoint: of a savepoint SQLite keeps each page that it has changed, and walks
//! along all of them at the end of each statement that fires a trigger (measured: 40,000 tickets in four writes took 17 s in
//! savepoints).

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use fail::fail_point;
use prometheus::Histogram;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{Store, StoreError};
#[cfg(feature = "failpoints")]
use crate::simulation;

/// Most writes that share one commit.
const MAX_GROUP: usize = 256;
/// Writes that may wait before callers are held back.
const QUEUE: usize = 1_024;
/// A write of more tickets has a transaction for itself. It is worth an fsync of its own.
const LARGE: usize = 64;

/// Runs one write; returns the answer to give once the commit is known to have worked or failed.
type Job = Box<dyn FnOnce(&Connection) -> Answer + Send>;
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

#[derive(Clone)]
pub(super) struct Writer {
    messages: mpsc::Sender<Message>,
}

enum Message {
    Write {
        job: Job,
        /// It shares its commit with nobody, and is in no savepoint.
        alone: bool,
    },
    /// Answered as soon as it is come to: whoever asks wants to know that the writer works.
    Pulse(oneshot::Sender<()>),
    /// The last message: answered when the file is closed.
    Close(oneshot::Sender<()>),
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Writer")
    }
}

impl Writer {
    pub(super) fn start(connection: Connection, seconds: Histogram, version: Arc<AtomicU64>) -> Self {
        let (messages, queue) = mpsc::channel(QUEUE);
        #[cfg(feature = "failpoints")]
        if simulation::is_on() {
            tokio::spawn(run_simulated(connection, queue, version));
            return Self { messages };
        }
        thread::spawn(move || {
            let closed = run(&connection, queue, &seconds, &version);
            drop(connection);
            // Nobody waits any more when the whole process ends.
            closed.map(|closed| closed.send(()))
        });
        Self { messages }
    }

    pub(super) async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.messages.send(Message::Close(reply)).await.is_ok() {
            // An error says that the writer has ended, which is what is waited for.
            drop(closed.await);
        }
    }

    async fn pulse(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.messages.send(Message::Pulse(reply)).await.map_err(|_closed| StoreError::Closed)?;
        answer.await.map_err(|_closed| StoreError::Closed)
    }

    async fn write<T: Send + 'static>(
        &self,
        alone: bool,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = if alone { by_itself(connection, work) } else { in_savepoint(connection, work) };
            Box::new(move |committed| {
                // Nobody waits any more when a request was dropped; the write holds all the same.
                drop(reply.send(result.and_then(|value| committed.map(|()| value))));
            })
        });
        self.messages.send(Message::Write { job, alone }).await.map_err(|_closed| StoreError::Closed)?;
        answer.await.map_err(|_closed| StoreError::Closed)?
    }
}

impl Store {
    /// Runs a write and waits until it is durable.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.write(false, work).await
    }

    /// The same for a write that is about so many tickets.
    pub(super) async fn write_many<T: Send + 'static>(
        &self,
        tickets: usize,
        work: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.writer.write(tickets > LARGE, work).await
    }

    /// Waits until all that is to be written before it is written, and writes nothing.
    ///
    /// # Errors
    /// [`StoreError::Closed`] when nothing will be written any more.
    pub async fn pulse(&self) -> Result<(), StoreError> {
        self.writer.pulse().await
    }
}

impl Store {
    /// Lets the database grow to this many pages of 4 kB and no further, as a full disk would. For tests.
    #[doc(hidden)]
    pub async fn limit_pages(&self, pages: u32) -> Result<(), StoreError> {
        self.write(move |connection| {
            connection.pragma_update_and_check(None, "max_page_count", pages, |_row| Ok(()))?;
            Ok(())
        })
        .await
    }
}

/// Writes until it is told to close, or everyone who could write is gone.
fn run(
    connection: &Connection,
    mut queue: mpsc::Receiver<Message>,
    seconds: &Histogram,
    version: &AtomicU64,
) -> Option<oneshot::Sender<()>> {
    let mut next = None;
    loop {
        match next.take().map_or_else(|| queue.blocking_recv(), Some)? {
            Message::Write { job, alone } => {
                let timer = seconds.start_timer();
                next = commit_group(connection, job, alone, &mut queue, version);
                timer.observe_duration();
            }
            Message::Pulse(reply) => reply.send(()).unwrap_or(()),
            Message::Close(reply) => return Some(reply),
        }
    }
}

/// As [`run`], on the thread and the disk of a simulated world.
#[cfg(feature = "failpoints")]
async fn run_simulated(connection: Connection, mut queue: mpsc::Receiver<Message>, version: Arc<AtomicU64>) {
    let mut next = None;
    loop {
        let message = if next.is_some() { next.take() } else { queue.recv().await };
        match message {
            Some(Message::Write { job, alone }) => {
                simulation::wait_for_disk().await;
                next = commit_group(&connection, job, alone, &mut queue, &version);
            }
            Some(Message::Pulse(reply)) => reply.send(()).unwrap_or(()),
            Some(Message::Close(reply)) => {
                drop(connection);
                let _nobody_waits = reply.send(());
                return;
            }
            None => return,
        }
    }
}

/// One commit for all writes that wait, or for the first of them `alone`; returns what comes behind them, if that was looked at.
fn commit_group(
    connection: &Connection,
    first: Job,
    alone: bool,
    queue: &mut mpsc::Receiver<Message>,
    version: &AtomicU64,
) -> Option<Message> {
    let begun = connection.execute_batch("BEGIN IMMEDIATE");
    let (mut answers, mut behind, mut next) = (Vec::new(), None, Some(first));
    while let Some(job) = next.take() {
        answers.push(job(connection));
        if !alone && answers.len() < MAX_GROUP {
            match queue.try_recv() {
                Ok(Message::Write { job, alone: false }) => next = Some(job),
                // What came before it is committed in a moment, and if that fails its writers are told.
                Ok(Message::Pulse(reply)) => drop(reply.send(())),
                Ok(message) => behind = Some(message),
                Err(_) => {}
            }
        }
    }
    fail_point!("store.before_commit");
    // One that was alone and failed has rolled back what it did, and says so itself.
    let rolled_back = alone && connection.is_autocommit();
    let committed = begun.and_then(|()| if rolled_back { Ok(()) } else { commit(connection) });
    fail_point!("store.after_commit");
    // Before anybody is answered: whoever reads after an answer reads at a new version.
    version.fetch_add(1, Ordering::AcqRel);
    if committed.is_err() && !connection.is_autocommit() {
        drop(connection.execute_batch("ROLLBACK"));
    }
    let failure = committed.err().map(StoreFailure::from);
    for answer in answers {
        answer(failure.as_ref().map_or(Ok(()), |failure| Err(failure.to_error())));
    }
    behind
}

fn commit(connection: &Connection) -> rusqlite::Result<()> {
    #[cfg(feature = "failpoints")]
    if simulation::commit_fails() {
        return Err(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR), None));
    }
    connection.execute_batch("COMMIT")
}

fn in_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    if connection.is_autocommit() {
        // BEGIN failed, or the fault of an earlier write in this group (a full disk) ended the transaction.
        return Err(StoreError::Unavailable);
    }
    connection.execute_batch("SAVEPOINT job")?;
    let result = work(connection);
    let end = if result.is_ok() { "RELEASE job" } else { "ROLLBACK TO job; RELEASE job" };
    if !connection.is_autocommit() {
        connection.execute_batch(end)?;
    }
    result
}

/// Runs a write that has the transaction for itself, and rolls that back if it fails.
fn by_itself<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    if connection.is_autocommit() {
        // BEGIN failed.
        return Err(StoreError::Unavailable);
    }
    let result = work(connection);
    if connection.is_autocommit() {
        // A fault (a full disk) ended the transaction: nothing is kept, whatever the work made of it.
        return result.and(Err(StoreError::Unavailable));
    }
    if result.is_err() {
        connection.execute_batch("ROLLBACK")?;
    }
    result
}

/// A commit's fault, told to each of the writes that shared it.
struct StoreFailure {
    code: rusqlite::ffi::Error,
    message: Option<String>,
}

impl From<rusqlite::Error> for StoreFailure {
    fn from(error: rusqlite::Error) -> Self {
        let message = Some(error.to_string());
        if let rusqlite::Error::SqliteFailure(code, message) = error {
            return Self { code, message };
        }
        Self { code: rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR), message }
    }
}

impl StoreFailure {
    fn to_error(&self) -> StoreError {
        rusqlite::Error::SqliteFailure(self.code, self.message.clone()).into()
    }
}
