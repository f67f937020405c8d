//! Whether the tasks that the engine cannot do without are there. They end with the shutdown, or because of a bug: then tickets
//! would wait without anybody being told why.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Vital {
    ended: Arc<AtomicBool>,
}

impl Vital {
    /// The same task, whose end is noted, also that by a panic.
    pub(super) fn watch<T: Future<Output = ()> + Send + 'static>(
        &self,
        task: T,
    ) -> impl Future<Output = ()> + Send + 'static + use<T> {
        let end = End(self.clone());
        async move {
            let _end = end;
            task.await;
        }
    }

    /// Whether one has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

/// Notes that it is dropped.
struct End(Vital);

impl Drop for End {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_has_ended() {
        let vital = Vital::default();
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(vital.watch(async move {
            wait.await.unwrap();
            panic!("a bug");
        }));
        assert!(!vital.has_ended());
        go.send(()).unwrap();
        assert!(task.await.is_err());
        assert!(vital.has_ended());
    }
}
