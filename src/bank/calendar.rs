//! Days and dates of the Gregorian calendar, without time zones.

/// Days since 1970-01-01 of a date of the Gregorian calendar (Hinnant, “chrono-Compatible Low-Level Date Algorithms”).
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a number of days since 1970-01-01; from the same source. Month and day count from 1.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = (shifted_month + 2) % 12 + 1;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Day of the week of a number of days since 1970-01-01: 1 is Monday, 7 is Sunday.
pub fn weekday(days: i64) -> u8 {
    // 1970-01-01 was a Thursday.
    ((days + 3).rem_euclid(7) + 1) as u8
}

/// The day of `YYYY-MM-DD`, since 1970-01-01; `None` when there is no such day in 1970–9999.
pub fn parse_date(text: &str) -> Option<i64> {
    let mut parts = text.split('-');
    let mut number = |digits: usize| {
        let part = parts.next()?;
        let plain = part.len() == digits && part.bytes().all(|b| b.is_ascii_digit());
        if plain { part.parse::<i64>().ok() } else { None }
    };
    let date = (number(4)?, number(2)?, number(2)?);
    let days = days_from_civil(date.0, date.1, date.2);
    let is_real = parts.next().is_none() && (1970..=9999).contains(&date.0) && (1..=12).contains(&date.1);
    (is_real && civil_from_days(days) == date).then_some(days)
}

/// The inverse of [`parse_date`].
pub fn format_date(days: i64) -> String {
    let (year, month, day) = civil_from_days(days);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates_and_weekdays() {
        for (text, days, day) in [
            ("1970-01-01", 0, 4),
            ("2024-02-29", 19_782, 4),
            ("2026-10-01", 20_727, 4),
            ("2026-11-29", 20_786, 7),
            ("9999-12-31", 2_932_896, 5),
        ] {
            assert_eq!(parse_date(text), Some(days), "{text}");
            assert_eq!((format_date(days).as_str(), weekday(days)), (text, day));
        }
        for text in [
            "",
            "2026-02-29",
            "2026-13-01",
            "2026-1-1",
            "2026-01-01-01",
            "1969-12-31",
            "２026-01-01",
        ] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }
}
