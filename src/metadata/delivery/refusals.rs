//! Files that a remote refused for what they are: it is not bothered with them again for a while, longer each time.

use std::{collections::HashMap, time::Duration};

use tokio::time::Instant;

use crate::metadata::{ContentId, remote::RemoteError};

const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_mins(1);
/// Files that are remembered at most; beyond it they are sent once more.
const MOST: usize = 10_000;

#[derive(Default)]
pub(super) struct Refusals {
    files: HashMap<ContentId, Refusal>,
}

struct Refusal {
    until: Instant,
    wait: Duration,
    reason: String,
}

impl Refusals {
    /// What was said of a file, if it is not to be sent yet.
    pub(super) fn of(&self, id: ContentId) -> Option<RemoteError> {
        let refusal = self.files.get(&id).filter(|refusal| refusal.until > Instant::now())?;
        Some(RemoteError::File { file: id.to_string(), reason: refusal.reason.clone() })
    }

    /// Notes that a file was refused, and tells it of that file.
    pub(super) fn note(&mut self, id: ContentId, fault: &RemoteError) -> RemoteError {
        if self.files.len() >= MOST {
            self.files.clear();
        }
        let earlier = self.files.get(&id);
        let wait = earlier.map_or(FIRST, |earlier| earlier.wait.saturating_mul(2).min(LONGEST));
        let (until, reason) = (Instant::now() + wait, fault.to_string());
        self.files.insert(id, Refusal { until, wait, reason: reason.clone() });
        RemoteError::File { file: id.to_string(), reason }
    }
}
