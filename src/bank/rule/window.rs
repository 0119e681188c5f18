//! When a rule applies: hours of the day, weekdays, dates.
//!
//! Clocks differ from UTC by a fixed offset, +08:00 unless the window says otherwise: China has had no summer time since
//! 1991, and an operator elsewhere writes the offset in force. The caller passes the time.

use crate::bank::calendar::{format_date, parse_date, weekday};
use serde::{Deserialize, Serialize};

const DAY_SECONDS: i64 = 86_400;
const DAY_MINUTES: u16 = 1_440;
/// Beijing.
const DEFAULT_OFFSET_MINUTES: i16 = 480;
/// Places on earth differ from UTC by at most so much.
const MAX_OFFSET_MINUTES: i16 = 14 * 60;
const MAX_HOURS: usize = 8;

/// Times in which a rule applies; all of its conditions hold together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Window {
    /// Empty: the whole day.
    hours: Vec<Hours>,
    /// By weekday from Monday; all set when none is named.
    weekdays: [bool; 7],
    /// First day, since 1970-01-01.
    from: Option<i64>,
    /// Last day, since 1970-01-01; it belongs to the window.
    until: Option<i64>,
    /// Whether hours and weekdays say when the rule does *not* apply.
    outside: bool,
    offset_minutes: i16,
}

/// Part of a day, in minutes since midnight: the first belongs to it, the last does not. Ends the next day when it ends
/// before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    begin: u16,
    end: u16,
}

impl Window {
    /// Whether the window is open at `now` (Unix seconds).
    ///
    /// Hours that go over midnight belong to the day they begin on, weekday and date alike: Friday 22:00–02:00 ends on
    /// Saturday at two.
    pub fn holds(&self, now: i64) -> bool {
        let local = now.saturating_add(i64::from(self.offset_minutes) * 60);
        let (today, minute) = (
            local.div_euclid(DAY_SECONDS),
            (local.rem_euclid(DAY_SECONDS) / 60) as u16,
        );
        if self.outside {
            return self.has_date(today) && !self.began_in(today, minute, |day| self.has_weekday(day));
        }
        self.began_in(today, minute, |day| self.has_weekday(day) && self.has_date(day))
    }

    /// Whether one of the hours is under way that began on a day for which `counts`.
    fn began_in(&self, today: i64, minute: u16, counts: impl Fn(i64) -> bool) -> bool {
        if self.hours.is_empty() {
            return counts(today);
        }
        self.hours.iter().any(|hours| match hours.end > hours.begin {
            true => counts(today) && (hours.begin..hours.end).contains(&minute),
            false => (minute >= hours.begin && counts(today)) || (minute < hours.end && counts(today - 1)),
        })
    }

    fn has_weekday(&self, day: i64) -> bool {
        self.weekdays[usize::from(weekday(day) - 1)]
    }

    fn has_date(&self, day: i64) -> bool {
        self.from.is_none_or(|from| from <= day) && self.until.is_none_or(|until| day <= until)
    }

    /// Whether no moment at or after `now` is within its dates.
    pub fn is_over(&self, now: i64) -> bool {
        let today = now
            .saturating_add(i64::from(self.offset_minutes) * 60)
            .div_euclid(DAY_SECONDS);
        // Its last hours may end the day after.
        self.until.is_some_and(|until| until + 1 < today)
    }
}

impl Hours {
    fn parse(text: &str) -> Result<Self, String> {
        let explain = || format!("hours: {text:?} is not of the form 09:00-17:30, in 00:00–24:00");
        let minutes = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            let number = |part: &str| {
                let plain = (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
                if plain { part.parse::<u16>().ok() } else { None }
            };
            let minutes = number(hour)? * 60 + number(minute).filter(|minute| *minute < 60)?;
            (minutes <= DAY_MINUTES).then_some(minutes)
        };
        let (begin, end) = text.split_once(['-', '–', '~']).ok_or_else(explain)?;
        let begin = minutes(begin)
            .filter(|begin| *begin < DAY_MINUTES)
            .ok_or_else(explain)?;
        let end = minutes(end).ok_or_else(explain)?;
        if begin == end {
            return Err(format!(
                "hours: {text:?} ends when it begins; leave hours out for the whole day"
            ));
        }
        Ok(Self { begin, end })
    }

    fn write(self) -> String {
        let time = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
        format!("{}-{}", time(self.begin), time(self.end))
    }
}

/// A window as files have it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hours: Vec<String>,
    /// 1 is Monday.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    weekdays: Vec<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    outside: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    utc_offset: Option<String>,
}

impl TryFrom<Written> for Window {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        if written.hours.len() > MAX_HOURS {
            return Err(format!(
                "hours: {} items, at most {MAX_HOURS} are allowed",
                written.hours.len()
            ));
        }
        let hours: Vec<Hours> = written
            .hours
            .iter()
            .map(|text| Hours::parse(text))
            .collect::<Result<_, _>>()?;
        let mut weekdays = [written.weekdays.is_empty(); 7];
        for day in written.weekdays {
            let at = usize::from(day).wrapping_sub(1);
            *weekdays
                .get_mut(at)
                .ok_or_else(|| format!("weekdays: {day} is not between 1 (Monday) and 7 (Sunday)"))? = true;
        }
        let date = |name: &str, text: Option<String>| match text {
            None => Ok(None),
            Some(text) => match parse_date(text.trim()) {
                Some(day) => Ok(Some(day)),
                None => Err(format!("{name}: {text:?} is not a date such as 2026-01-31")),
            },
        };
        let (from, until) = (date("from", written.from)?, date("until", written.until)?);
        if let (Some(from), Some(until)) = (from, until)
            && until < from
        {
            return Err("until: is before from".to_owned());
        }
        let everyday = weekdays == [true; 7];
        if written.outside && hours.is_empty() && everyday {
            return Err("outside: needs hours or weekdays to be outside of".to_owned());
        }
        if hours.is_empty() && everyday && from.is_none() && until.is_none() {
            return Err("says nothing; leave it out for always".to_owned());
        }
        Ok(Self {
            hours,
            weekdays,
            from,
            until,
            outside: written.outside,
            offset_minutes: written
                .utc_offset
                .as_deref()
                .map_or(Ok(DEFAULT_OFFSET_MINUTES), parse_offset)?,
        })
    }
}

impl From<Window> for Written {
    fn from(window: Window) -> Self {
        let named = |everyday: bool| if everyday { 1..1 } else { 1..8 };
        Self {
            hours: window.hours.iter().map(|hours| hours.write()).collect(),
            weekdays: named(window.weekdays == [true; 7])
                .filter(|day| window.weekdays[usize::from(*day) - 1])
                .collect(),
            from: window.from.map(format_date),
            until: window.until.map(format_date),
            outside: window.outside,
            utc_offset: (window.offset_minutes != DEFAULT_OFFSET_MINUTES).then(|| write_offset(window.offset_minutes)),
        }
    }
}

fn parse_offset(text: &str) -> Result<i16, String> {
    let explain = || format!("utc_offset: {text:?} is not of the form +08:00, in -14:00–+14:00");
    let (sign, rest) = match text.split_at_checked(1) {
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        _ => return Err(explain()),
    };
    let parts = rest.split_once(':').filter(|(hours, minutes)| {
        let two_digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        two_digits(hours) && two_digits(minutes)
    });
    let (hours, minutes) = parts.ok_or_else(explain)?;
    let number = |part: &str| part.parse::<i16>().unwrap_or(i16::MAX / 100);
    let total = number(hours) * 60 + number(minutes);
    if number(minutes) < 60 && total <= MAX_OFFSET_MINUTES {
        Ok(sign * total)
    } else {
        Err(explain())
    }
}

fn write_offset(minutes: i16) -> String {
    let sign = if minutes < 0 { '-' } else { '+' };
    let minutes = minutes.unsigned_abs();
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn window(json: &str) -> Window {
        serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
    }

    /// Unix seconds of a date and time at +08:00.
    fn at(text: &str) -> i64 {
        let (date, time) = text.split_once(' ').unwrap();
        let mut parts = time.split(':').map(|part| part.parse::<i64>().unwrap());
        let seconds = parts.next().unwrap() * 3600 + parts.next().unwrap() * 60 + parts.next().unwrap_or(0);
        parse_date(date).unwrap() * DAY_SECONDS + seconds - 8 * 3600
    }

    fn check(json: &str, open: &[&str], closed: &[&str]) {
        let window = window(json);
        for (times, expected) in [(open, true), (closed, false)] {
            for time in times {
                assert_eq!(window.holds(at(time)), expected, "{json} at {time}");
            }
        }
    }

    // 2026-11-27 is a Friday.
    #[test]
    fn hours_begin_with_their_first_second_and_end_before_their_last() {
        check(
            r#"{"hours":["09:00-17:30"]}"#,
            &["2026-11-27 09:00:00", "2026-11-27 17:29:59"],
            &["2026-11-27 08:59:59", "2026-11-27 17:30:00", "2026-11-27 00:00"],
        );
        check(
            r#"{"hours":["0:00-12:00","13:00-24:00"]}"#,
            &["2026-11-27 00:00", "2026-11-27 23:59:59"],
            &["2026-11-27 12:00", "2026-11-27 12:59:59"],
        );
    }

    #[test]
    fn hours_over_midnight_belong_to_the_day_they_begin_on() {
        check(
            r#"{"hours":["22:00-02:00"],"weekdays":[5]}"#,
            &[
                "2026-11-27 22:00",
                "2026-11-27 23:59:59",
                "2026-11-28 00:00",
                "2026-11-28 01:59:59",
            ],
            &[
                "2026-11-27 01:00",
                "2026-11-27 21:59",
                "2026-11-28 02:00",
                "2026-11-28 22:00",
            ],
        );
        check(
            r#"{"hours":["22:00-02:00"],"from":"2026-11-27","until":"2026-11-28"}"#,
            &["2026-11-27 22:00", "2026-11-29 01:59"],
            &["2026-11-27 01:00", "2026-11-29 02:00", "2026-11-29 22:00"],
        );
    }

    #[test]
    fn weekdays_and_dates_count_whole_days() {
        check(
            r#"{"weekdays":[6,7]}"#,
            &["2026-11-28 00:00", "2026-11-29 23:59:59"],
            &["2026-11-27 23:59:59", "2026-11-30 00:00"],
        );
        check(
            r#"{"from":"2026-10-01","until":"2026-10-07"}"#,
            &["2026-10-01 00:00", "2026-10-07 23:59:59"],
            &["2026-09-30 23:59:59", "2026-10-08 00:00"],
        );
    }

    #[test]
    fn outside_of_office_hours_is_nights_and_the_weekend() {
        check(
            r#"{"hours":["09:00-12:00","13:00-18:00"],"weekdays":[1,2,3,4,5],"outside":true}"#,
            &[
                "2026-11-27 08:59",
                "2026-11-27 12:30",
                "2026-11-27 18:00",
                "2026-11-28 10:00",
            ],
            &["2026-11-27 09:00", "2026-11-27 17:59"],
        );
        check(
            r#"{"hours":["09:00-18:00"],"outside":true,"from":"2026-11-27"}"#,
            &["2026-11-27 03:00"],
            &["2026-11-26 03:00", "2026-11-27 10:00"],
        );
    }

    #[test]
    fn another_offset_moves_the_day() {
        check(
            r#"{"hours":["00:00-01:00"],"weekdays":[6],"utc_offset":"-03:30"}"#,
            // Saturday 00:30 there.
            &["2026-11-28 12:00"],
            &["2026-11-28 00:30", "2026-11-29 12:00"],
        );
    }

    #[test]
    fn what_is_no_window_is_refused_with_its_field() {
        for (json, expected) in [
            (r#"{"hours":["9-17"]}"#, "hours: \"9-17\""),
            (r#"{"hours":["09:00-24:01"]}"#, "hours: "),
            (r#"{"hours":["24:00-09:00"]}"#, "hours: "),
            (r#"{"hours":["09:00-09:00"]}"#, "ends when it begins"),
            (r#"{"hours":["09:60-10:00"]}"#, "hours: "),
            (r#"{"weekdays":[0]}"#, "weekdays: 0"),
            (r#"{"weekdays":[8]}"#, "weekdays: 8"),
            (r#"{"from":"2026-02-30"}"#, "from: \"2026-02-30\""),
            (r#"{"from":"2026-02-02","until":"2026-02-01"}"#, "until: is before from"),
            (r#"{"hours":["1:00-2:00"],"utc_offset":"8"}"#, "utc_offset: "),
            (r#"{"hours":["1:00-2:00"],"utc_offset":"+14:01"}"#, "utc_offset: "),
            (r#"{"outside":true,"from":"2026-01-01"}"#, "outside: "),
            ("{}", "says nothing"),
            (r#"{"hour":["1:00-2:00"]}"#, "unknown field `hour`"),
        ] {
            let error = serde_json::from_str::<Window>(json).unwrap_err().to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }

    #[test]
    fn a_window_is_over_when_its_last_night_is() {
        let nights = window(r#"{"hours":["22:00-02:00"],"until":"2026-11-27"}"#);
        assert!(!nights.is_over(at("2026-11-28 01:59")));
        assert!(nights.is_over(at("2026-11-29 00:00")));
        assert!(!window(r#"{"weekdays":[1]}"#).is_over(i64::MAX));
    }

    proptest! {
        #[test]
        fn a_window_reads_back_and_any_time_will_do(
            begin in 0u16..1440, end in 0u16..=1440, days in prop::collection::btree_set(1u8..=7, 0..7),
            until in prop::option::of(0i64..2_932_896), outside: bool, offset in -840i16..=840, now: i64,
        ) {
            prop_assume!(begin != end);
            let written = Written {
                hours: vec![Hours { begin, end }.write()],
                weekdays: days.into_iter().collect(),
                from: None,
                until: until.map(format_date),
                outside,
                utc_offset: Some(write_offset(offset)),
            };
            let window = Window::try_from(written).unwrap();
            let text = serde_json::to_string(&window).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Window>(&text).unwrap(), &window);
            // Within the years that are written, outside is the opposite of inside.
            let flipped = Window { outside: !outside, until: None, ..window.clone() };
            let endless = Window { until: None, ..window.clone() };
            prop_assert_ne!(endless.holds(now), flipped.holds(now));
            window.holds(now);
        }
    }
}
