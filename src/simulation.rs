//! The seam of the simulator: the few places in which a simulated world stands in for the operating system.
//!
//! In a simulated world everything runs on one thread, with a clock that jumps from event to event, so that a bad day can be
//! played again to the letter. Work that would go to another thread runs here instead, and the disk takes as long, and fails,
//! as the world says. Only builds with the cargo feature `failpoints` have worlds: in all others, and on every thread that has
//! entered none, this module gives work to another thread and does nothing else.

#[cfg(feature = "failpoints")]
mod world;

#[cfg(feature = "failpoints")]
pub use world::{World, enter, leave};
#[cfg(feature = "failpoints")]
pub(crate) use world::{commit_fails, is_on, sabotaged, wait_for_disk};

/// Runs work that would hold up other tasks on a thread of its own. None if it panicked.
pub(crate) async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    #[cfg(feature = "failpoints")]
    if is_on() {
        tokio::task::yield_now().await;
        return Some(work());
    }
    tokio::task::spawn_blocking(work).await.ok()
}
