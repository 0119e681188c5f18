//! Times as editors write them: dates in Beijing time (UTC+8, no summer time since 1991), or Unix seconds.
//!
//! Excel rewrites `2026-01-01 00:00:00` to `2026/1/1 0:00` when it saves, so both forms are read.

use crate::bank::calendar::{civil_from_days, days_from_civil};

const OFFSET_SECONDS: i64 = 8 * 3600;
const DAY_SECONDS: i64 = 86_400;

/// Unix seconds of `YYYY-MM-DD[ HH:MM[:SS]]`, or of a plain number of seconds.
///
/// # Errors
/// What is wrong with the text, and the forms that are right.
pub fn parse(text: &str) -> Result<i64, String> {
    let explain = || format!("{text:?} is not a time: write 2026-01-31, 2026-01-31 09:30 or Unix seconds");
    if text.bytes().all(|b| b.is_ascii_digit()) {
        // Eight digits are a date without its dashes far more often than a moment in 1970.
        return match text.len() {
            0 | 8 => Err(explain()),
            _ => text.parse().map_err(|_| explain()),
        };
    }
    let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, "0:00"));
    let separator = if date.contains('/') { '/' } else { '-' };
    let [year, month, day] = numbers(date, separator).ok_or_else(explain)?;
    let time = if time.matches(':').count() == 1 {
        &format!("{time}:0")
    } else {
        time
    };
    let [hour, minute, second] = numbers(time.trim_start(), ':').ok_or_else(explain)?;
    let days = days_from_civil(year, month, day);
    let is_real = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && civil_from_days(days) == (year, month, day)
        && hour < 24
        && minute < 60
        && second < 60;
    let seconds = days * DAY_SECONDS + hour * 3600 + minute * 60 + second - OFFSET_SECONDS;
    if is_real && seconds >= 0 {
        Ok(seconds)
    } else {
        Err(explain())
    }
}

/// The inverse of [`parse`], in its first form with seconds; any number is a time.
pub fn format(unix_seconds: i64) -> String {
    let local = unix_seconds.saturating_add(OFFSET_SECONDS);
    let date = date(local.div_euclid(DAY_SECONDS));
    let second = local.rem_euclid(DAY_SECONDS);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{date} {hour:02}:{minute:02}:{second:02}")
}

/// A day in Beijing, since 1970-01-01, as `YYYY-MM-DD`.
pub fn date(day: i64) -> String {
    let (year, month, day) = civil_from_days(day);
    format!("{year:04}-{month:02}-{day:02}")
}

/// Exactly three numbers of one to four digits.
fn numbers(text: &str, separator: char) -> Option<[i64; 3]> {
    let mut parts = text.split(separator).map(|part| {
        let plain = (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        if plain { part.parse().ok() } else { None }
    });
    let three = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(three)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_beijing_time() {
        // `date -d '2026-03-01 09:30:05 +0800' +%s` and so on.
        for (text, seconds) in [
            ("2026-03-01 09:30:05", 1_772_328_605),
            ("2026-03-01T09:30", 1_772_328_600),
            ("2026/3/1 9:30", 1_772_328_600),
            ("2024-02-29", 1_709_136_000),
            ("1970-01-01 08:00", 0),
            ("1772328605", 1_772_328_605),
        ] {
            assert_eq!(parse(text), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in [
            "",
            "tomorrow",
            "2026-02-29",
            "2026-13-01",
            "2026-1",
            "2026-01-01 24:00",
            "20260101",
            "1970-01-01",
            "-1",
            "2026-01-01 09:30 +08:00",
            "99999999999999999999",
            "2026-01-00",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_day_is_written_as_it_is_read() {
        for day in (1..2_932_896).step_by(97) {
            let seconds = day * DAY_SECONDS + day % DAY_SECONDS;
            assert_eq!(parse(&format(seconds)), Ok(seconds));
        }
    }
}
