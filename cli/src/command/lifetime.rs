//! Lengths and ends of time, as command-line arguments.

use chrono::{DateTime, Local, NaiveDate, NaiveTime, TimeDelta, Utc};

use crate::error::UsageError;

/// Parses `30m`, `12h`, `7d` into seconds.
pub(crate) fn parse_lifetime(text: &str) -> Result<i32, UsageError> {
    let wrong = || UsageError::new("write it as a number and a unit: 30m, 12h, 7d");
    let seconds = match text.chars().next_back() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let number: i32 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).filter(|seconds| *seconds > 0).ok_or_else(wrong)
}

/// Parses the end of something: `7d` from now, or a date, which ends with its day here.
pub(crate) fn parse_end(text: &str) -> Result<DateTime<Utc>, UsageError> {
    if let Ok(seconds) = parse_lifetime(text) {
        return Ok(Utc::now() + TimeDelta::seconds(seconds.into()));
    }
    let wrong = || UsageError::new("write it as a length of time or a date: 12h, 7d, 2027-01-31");
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| wrong())?;
    let midnight = day.succ_opt().ok_or_else(wrong)?.and_time(NaiveTime::MIN);
    Ok(midnight.and_local_timezone(Local).earliest().ok_or_else(wrong)?.with_timezone(&Utc))
}

/// Parses the beginning of something in the past: `2h` ago, a date, which begins with its day here, or a time.
pub(crate) fn parse_start(text: &str) -> Result<DateTime<Utc>, UsageError> {
    if let Ok(seconds) = parse_lifetime(text) {
        return Ok(Utc::now() - TimeDelta::seconds(seconds.into()));
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.with_timezone(&Utc));
    }
    let wrong = || {
        UsageError::new(
            "write it as a length of time, a date or a time: 2h, 2027-01-31, 2027-01-31T12:00:00Z",
        )
    };
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| wrong())?;
    Ok(day
        .and_time(NaiveTime::MIN)
        .and_local_timezone(Local)
        .earliest()
        .ok_or_else(wrong)?
        .with_timezone(&Utc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_a_number_and_a_unit() {
        for (text, seconds) in [("30m", 1800), ("12h", 43_200), ("7d", 604_800), ("45s", 45)] {
            assert_eq!(parse_lifetime(text), Ok(seconds));
        }
        for wrong in ["", "7", "d", "-1d", "0h", "1w", "99999999d", "7é"] {
            assert!(parse_lifetime(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_start_is_a_length_before_now_or_the_begin_of_a_day_or_a_time() {
        let start = parse_start("2h").unwrap();
        let minutes = (Utc::now() - start).num_minutes();
        assert!((120..=121).contains(&minutes), "{minutes}");
        let day = parse_start("2027-01-31").unwrap().with_timezone(&Local);
        assert_eq!(day.format("%Y-%m-%d %H:%M").to_string(), "2027-01-31 00:00");
        assert_eq!(
            parse_start("2027-01-31T14:00:00+02:00").unwrap().to_rfc3339(),
            "2027-01-31T12:00:00+00:00"
        );
        for wrong in ["", "yesterday", "2027-02-30", "2027-01-31 12:00"] {
            assert!(parse_start(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_end_is_a_length_from_now_or_the_end_of_a_day() {
        let hours = (parse_end("12h").unwrap() - Utc::now()).num_minutes();
        assert!((719..=720).contains(&hours), "{hours}");
        let end = parse_end("2027-01-31").unwrap().with_timezone(&Local);
        assert_eq!(end.format("%Y-%m-%d %H:%M").to_string(), "2027-02-01 00:00");
        for wrong in ["", "never", "2027-02-30", "0d"] {
            assert!(parse_end(wrong).is_err(), "{wrong}");
        }
    }
}
