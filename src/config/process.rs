//! What the process was started with, and by whom.

use std::time::Duration;

use super::Sources;

/// What a supervisor such as systemd says in the environment (`sd_notify(3)`, `sd_watchdog_enabled(3)`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Supervision {
    /// `NOTIFY_SOCKET`: where it listens.
    pub socket: Option<String>,
    /// `WATCHDOG_USEC`: how long it waits for a sign of life; none when it does not, or waits for another process's
    /// (`WATCHDOG_PID`).
    pub patience: Option<Duration>,
}

impl Supervision {
    /// Reads it.
    #[must_use]
    pub fn read(sources: &Sources) -> Self {
        let of = |name: &str| sources.environment.get(name).filter(|text| !text.is_empty());
        let is_meant = of("WATCHDOG_PID").is_none_or(|pid| pid.parse() == Ok(std::process::id()));
        let patience = of("WATCHDOG_USEC").filter(|_| is_meant).and_then(|text| text.parse().ok());
        Self { socket: of("NOTIFY_SOCKET").cloned(), patience: patience.map(Duration::from_micros) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Supervision {
        let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Supervision::read(&Sources { environment, ..Sources::default() })
    }

    #[test]
    fn another_process_s_watchdog_is_none_of_ours() {
        let ours = std::process::id().to_string();
        let watched = read(&[("WATCHDOG_USEC", "2000000"), ("WATCHDOG_PID", &ours)]);
        assert_eq!(watched.patience, Some(Duration::from_secs(2)));
        assert_eq!(read(&[("WATCHDOG_USEC", "2000000")]).patience, Some(Duration::from_secs(2)));
        assert_eq!(read(&[("WATCHDOG_USEC", "2000000"), ("WATCHDOG_PID", "1")]).patience, None);
        assert_eq!(read(&[("WATCHDOG_USEC", "soon"), ("NOTIFY_SOCKET", "")]), Supervision::default());
    }
}
