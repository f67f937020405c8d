//! Times of day that come again: five-field cron expressions in a time zone.
//!
//! Expressions speak of what a clock on the wall shows. Where that clock is put forward, a time that does not exist is due at
//! the first moment that does; where it is put back, a time that comes twice is due the first time only. Expressions whose
//! hour begins with `*` ask for a pace, not for a time of day: they go on through both hours, and through the gap.

use std::fmt;

use chrono::{DateTime, Utc};
use croner::parser::{CronParser, Seconds, Year};
use jiff::{Timestamp, ToSpan as _, civil, tz::AmbiguousOffset, tz::TimeZone};
use thiserror::Error;

/// Times on the wall that are tried before a search is given up: more than a day of minutes that come a second time.
const MOST_STEPS: u32 = 2_000;

/// Why an expression is not taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum CronError {
    /// Too few or too many fields.
    #[error(
        "must have the five fields of cron (minute hour day month weekday), such as 0 2 * * *, or be empty for off"
    )]
    Fields,
    /// A field that cannot be read.
    #[error("is no cron expression such as 0 2 * * * (minute hour day month weekday)")]
    Syntax,
    /// A day that no year has.
    #[error("names a day that never comes")]
    Never,
}

/// When something is due, again and again.
#[derive(Clone)]
pub struct Cron {
    text: String,
    zone: TimeZone,
    pattern: croner::Cron,
    is_pace: bool,
}

impl fmt::Debug for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cron").field(&self.to_string()).finish()
    }
}

impl fmt::Display for Cron {
    /// The expression and its time zone: what must stay the same for due times to be comparable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.text, self.zone.iana_name().unwrap_or("UTC"))
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Cron {}

impl Cron {
    /// Reads an expression.
    ///
    /// # Errors
    /// When it is none, or is never due.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Self, CronError> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [_minute, hour, ..] = fields.as_slice() else { return Err(CronError::Fields) };
        if fields.len() != 5 {
            return Err(CronError::Fields);
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let pattern = parser.parse(text).map_err(|_invalid| CronError::Syntax)?;
        let is_pace = hour.starts_with('*');
        let cron = Self { text: fields.join(" "), zone, pattern, is_pace };
        cron.next_on_the_wall(civil::date(2000, 1, 1).at(0, 0, 0, 0)).ok_or(CronError::Never)?;
        Ok(cron)
    }

    /// The expression as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first due time after a moment; both in Unix milliseconds. None at the end of time.
    #[must_use]
    pub fn next_after(&self, unix_ms: i64) -> Option<i64> {
        let after = Timestamp::from_millisecond(unix_ms).ok()?;
        let next = if self.is_pace { self.next_of_pace(after) } else { self.next_of_day(after) };
        next.map(Timestamp::as_millisecond)
    }

    /// A time of day: each time on the wall is due at one moment.
    fn next_of_day(&self, after: Timestamp) -> Option<Timestamp> {
        let mut on_the_wall = self.zone.to_datetime(after);
        for _ in 0..MOST_STEPS {
            on_the_wall = self.next_on_the_wall(on_the_wall)?;
            let moment = self.first_moment_of(on_the_wall)?;
            if moment > after {
                return Some(moment);
            }
        }
        None
    }

    /// A pace: every moment at which the wall shows a matching time is due, whether or not it shows it twice.
    fn next_of_pace(&self, after: Timestamp) -> Option<Timestamp> {
        let mut from = after;
        for _ in 0..MOST_STEPS {
            let offset = self.zone.to_offset(from);
            let candidate = offset.to_timestamp(self.next_on_the_wall(offset.to_datetime(from))?).ok()?;
            let change = self.zone.following(from).next().map(|transition| transition.timestamp());
            let Some(change) = change.filter(|change| *change <= candidate) else { return Some(candidate) };
            // The wall jumps before the candidate is reached: what it shows right after may be due, or the search goes on.
            let shown = self.zone.to_offset(change).to_datetime(change);
            if self.next_on_the_wall(shown.checked_sub(1.second()).ok()?)? == shown {
                return Some(change);
            }
            from = change;
        }
        None
    }

    /// The moment at which the wall first shows a time, or would have if the clock had not been put forward over it.
    fn first_moment_of(&self, on_the_wall: civil::DateTime) -> Option<Timestamp> {
        let found = self.zone.to_ambiguous_timestamp(on_the_wall);
        if let AmbiguousOffset::Gap { .. } = found.offset() {
            let before_the_gap = found.earlier().ok()?;
            return self.zone.following(before_the_gap).next().map(|transition| transition.timestamp());
        }
        found.earlier().ok()
    }

    /// The next matching time on the wall, as if clocks were never changed.
    fn next_on_the_wall(&self, after: civil::DateTime) -> Option<civil::DateTime> {
        let as_utc = TimeZone::UTC.to_timestamp(after).ok()?;
        let after = DateTime::<Utc>::from_timestamp_millis(as_utc.as_millisecond())?;
        let next = self.pattern.find_next_occurrence(&after, false).ok()?;
        Some(TimeZone::UTC.to_datetime(Timestamp::from_second(next.timestamp()).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(expression: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
        let zone = TimeZone::get(zone).unwrap();
        let cron = Cron::parse(expression, zone.clone()).unwrap();
        let mut moment = after.parse::<Timestamp>().unwrap().as_millisecond();
        let next = || {
            moment = cron.next_after(moment).unwrap();
            let moment = Timestamp::from_millisecond(moment).unwrap();
            let seconds = zone.to_offset(moment).seconds();
            format!("{} {:+03}:00", zone.to_datetime(moment).strftime("%d %H:%M"), seconds / 3600)
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    #[test]
    fn plain_days() {
        assert_eq!(due("0 2 * * *", "UTC", "2025-11-13T18:00:00Z", 2), ["14 02:00 +00:00", "15 02:00 +00:00"]);
        assert_eq!(due("0 2 * * *", "UTC", "2025-11-14T02:00:00Z", 1), ["15 02:00 +00:00"]);
        assert_eq!(due("0 2 * * *", "UTC", "2025-11-14T01:59:59.999Z", 1), ["14 02:00 +00:00"]);
        assert_eq!(due("0 0 * * 7", "UTC", "2025-11-14T00:00:00Z", 1), ["16 00:00 +00:00"]);
        assert_eq!(due("0 0 29 2 *", "UTC", "2025-11-14T00:00:00Z", 1), ["29 00:00 +00:00"]);
    }

    #[test]
    fn a_time_that_does_not_exist_is_due_once_at_the_first_that_does() {
        let berlin = |expression, count| due(expression, "Europe/Berlin", "2026-03-28T12:00:00Z", count);
        assert_eq!(berlin("30 2 * * *", 2), ["29 03:00 +02:00", "30 02:30 +02:00"]);
        assert_eq!(berlin("0 2 * * *", 2), ["29 03:00 +02:00", "30 02:00 +02:00"]);
        assert_eq!(berlin("*/15 2 * * *", 2), ["29 03:00 +02:00", "30 02:00 +02:00"]);
        let new_york = |expression, count| due(expression, "America/New_York", "2026-03-07T17:00:00Z", count);
        assert_eq!(new_york("30 2 * * *", 2), ["08 03:00 -04:00", "09 02:30 -04:00"]);
        assert_eq!(new_york("0 3 * * *", 2), ["08 03:00 -04:00", "09 03:00 -04:00"]);
    }

    #[test]
    fn a_time_that_comes_twice_is_due_once() {
        let berlin = |after, count| due("30 2 * * *", "Europe/Berlin", after, count);
        assert_eq!(berlin("2026-10-24T12:00:00Z", 2), ["25 02:30 +02:00", "26 02:30 +01:00"]);
        assert_eq!(berlin("2026-10-25T01:10:00Z", 1), ["26 02:30 +01:00"], "asked in the second of the two hours");
        let new_york = |after, count| due("30 1 * * *", "America/New_York", after, count);
        assert_eq!(new_york("2026-10-31T12:00:00Z", 2), ["01 01:30 -04:00", "02 01:30 -05:00"]);
        assert_eq!(new_york("2026-11-01T06:10:00Z", 1), ["02 01:30 -05:00"]);
    }

    #[test]
    fn a_pace_is_kept_while_clocks_are_changed() {
        let quarters = |zone, after, count| due("*/30 * * * *", zone, after, count);
        assert_eq!(
            quarters("Europe/Berlin", "2026-10-25T00:00:00Z", 4),
            ["25 02:30 +02:00", "25 02:00 +01:00", "25 02:30 +01:00", "25 03:00 +01:00"]
        );
        assert_eq!(
            quarters("America/New_York", "2026-11-01T05:00:00Z", 4),
            ["01 01:30 -04:00", "01 01:00 -05:00", "01 01:30 -05:00", "01 02:00 -05:00"]
        );
        assert_eq!(
            quarters("Europe/Berlin", "2026-03-29T00:00:00Z", 3),
            ["29 01:30 +01:00", "29 03:00 +02:00", "29 03:30 +02:00"]
        );
    }

    #[test]
    fn what_is_no_expression_is_told_apart() {
        let parse = |text| Cron::parse(text, TimeZone::UTC).unwrap_err();
        assert_eq!(parse("0 0 2 * * *"), CronError::Fields);
        assert_eq!(parse("@daily"), CronError::Fields);
        assert_eq!(parse("61 2 * * *"), CronError::Syntax);
        assert_eq!(parse("nightly at two o clock"), CronError::Syntax);
        assert_eq!(parse("0 0 31 2 *"), CronError::Never);
        assert_eq!(parse("0 0 30 2 *"), CronError::Never);
    }
}
