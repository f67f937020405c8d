//! Death at a named point, for the crash test. Only in builds with the cargo feature `failpoints`.

use std::sync::atomic::{AtomicU32, Ordering};

/// Reads `BOXOFFICE_KILL_AT=point:passes`: when the point is reached for that many times, the process kills itself with
/// SIGKILL, which no code of it can notice.
pub(crate) fn arm() {
    #[expect(clippy::disallowed_methods, reason = "not a setting: this is not in production builds")]
    let Ok(wanted) = std::env::var("BOXOFFICE_KILL_AT") else { return };
    let Some((point, passes)) = wanted.split_once(':') else { return };
    let left = AtomicU32::new(passes.parse().unwrap_or(1));
    let die = move || {
        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
            let _never_seen = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    };
    drop(fail::cfg_callback(point, die));
}
