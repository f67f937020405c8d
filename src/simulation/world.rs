//! What a simulated world decides, and the one that this thread is in.

use std::{cell::RefCell, sync::Arc, time::Duration};

/// A simulated world.
pub trait World {
    /// How long the next commit takes.
    fn disk_delay(&self) -> Duration;
    /// Whether the next commit fails.
    fn commit_fails(&self) -> bool;
    /// Whether a bug is put in on purpose, to see that it is caught.
    fn sabotages(&self, bug: &'static str) -> bool;
}

thread_local! {
    static WORLD: RefCell<Option<Arc<dyn World>>> = const { RefCell::new(None) };
}

/// Enters a world: what this thread does from now on happens in it.
pub fn enter(world: Arc<dyn World>) {
    WORLD.set(Some(world));
}

/// Leaves it.
pub fn leave() {
    WORLD.set(None);
}

fn here() -> Option<Arc<dyn World>> {
    WORLD.with_borrow(Clone::clone)
}

pub(crate) fn is_on() -> bool {
    here().is_some()
}

pub(crate) async fn wait_for_disk() {
    let delay = here().map(|world| world.disk_delay()).unwrap_or_default();
    tokio::time::sleep(delay).await;
}

pub(crate) fn commit_fails() -> bool {
    here().is_some_and(|world| world.commit_fails())
}

pub(crate) fn sabotaged(bug: &'static str) -> bool {
    here().is_some_and(|world| world.sabotages(bug))
}
