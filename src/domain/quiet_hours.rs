//! The hours in which a box mints what can wait.

use std::fmt;

use jiff::{Timestamp, ToSpan as _, civil::Time, tz::TimeZone};
use thiserror::Error;

/// A daily span of time, such as `23:00-06:00`, by the clock of a time zone.
#[derive(Clone, Debug, PartialEq)]
pub struct QuietHours {
    from: Time,
    to: Time,
    zone: TimeZone,
}

/// Why a text is no span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("must be two times of day such as 23:00-06:00")]
pub struct NoQuietHours;

impl QuietHours {
    /// Reads `23:00-06:00`.
    ///
    /// # Errors
    /// When the text is something else, or its two times are the same.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Self, NoQuietHours> {
        let (from, to) = text.split_once('-').ok_or(NoQuietHours)?;
        let time = |text: &str| Time::strptime("%H:%M", text.trim()).map_err(|_other| NoQuietHours);
        let (from, to) = (time(from)?, time(to)?);
        if from == to { Err(NoQuietHours) } else { Ok(Self { from, to, zone }) }
    }

    /// The first quiet moment from `now_ms` on: that moment itself if it is quiet. Unix milliseconds.
    #[must_use]
    pub fn next(&self, now_ms: i64) -> i64 {
        let Ok(now) = Timestamp::from_millisecond(now_ms) else { return now_ms };
        let here = self.zone.to_datetime(now);
        let time = here.time();
        let is_quiet = if self.from < self.to {
            (self.from..self.to).contains(&time)
        } else {
            time >= self.from || time < self.to
        };
        if is_quiet {
            return now_ms;
        }
        // It is not quiet, so today's beginning is still to come, or over since today's end: then it is tomorrow's. A time
        // that does not exist on the day of a change of clocks is as long after the change as it would have been.
        let today = here.date();
        let day = if time < self.from { today } else { today.checked_add(1.day()).unwrap_or(today) };
        let begins = self.zone.to_timestamp(day.to_datetime(self.from));
        begins.map_or(now_ms, Timestamp::as_millisecond)
    }
}

impl fmt::Display for QuietHours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.from.strftime("%H:%M"), self.to.strftime("%H:%M"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(hours: &str, zone: &str, now: &str) -> String {
        let zone = TimeZone::get(zone).unwrap();
        let now: Timestamp = now.parse().unwrap();
        let next = QuietHours::parse(hours, zone).unwrap().next(now.as_millisecond());
        Timestamp::from_millisecond(next).unwrap().to_string()
    }

    #[test]
    fn over_midnight_and_within_a_day() {
        assert_eq!(next("23:00-06:00", "UTC", "2026-11-24T12:00:00Z"), "2026-11-24T23:00:00Z");
        for quiet in ["2026-11-24T23:00:00Z", "2026-11-24T02:00:00Z", "2026-11-24T05:59:59Z"] {
            assert_eq!(next("23:00-06:00", "UTC", quiet), quiet);
        }
        assert_eq!(next("23:00-06:00", "UTC", "2026-11-24T06:00:00Z"), "2026-11-24T23:00:00Z");
        assert_eq!(next("02:00-04:00", "UTC", "2026-11-24T04:00:00Z"), "2026-11-25T02:00:00Z");
        assert_eq!(next("02:00-04:00", "UTC", "2026-11-24T01:00:00Z"), "2026-11-24T02:00:00Z");
    }

    #[test]
    fn by_the_clock_on_the_wall_when_clocks_are_changed() {
        // Berlin: 02:00 to 03:00 does not exist on 29 March 2026, and comes twice on 25 October.
        assert_eq!(next("02:30-04:00", "Europe/Berlin", "2026-03-29T00:00:00Z"), "2026-03-29T01:30:00Z");
        assert_eq!(next("02:30-04:00", "Europe/Berlin", "2026-10-24T23:00:00Z"), "2026-10-25T00:30:00Z");
        assert_eq!(next("22:00-23:00", "America/New_York", "2026-07-01T12:00:00Z"), "2026-07-02T02:00:00Z");
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in ["", "23:00", "23:00-23:00", "25:00-06:00", "night"] {
            assert_eq!(QuietHours::parse(wrong, TimeZone::UTC), Err(NoQuietHours), "{wrong}");
        }
    }
}
