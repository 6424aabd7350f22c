//! Cron expressions: which minutes of a calendar they match, and when a clock that is set forward and back
//! for summer time shows them. What a time zone's clock shows at a time, the caller tells.

mod field;
mod tick;

pub use field::CronError;
use field::{DAY, HOUR, MINUTE, MONTH, WEEKDAY, bit};

/// A parsed expression: one bit for each value of a field that matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both day fields are restricted; then a day matches if either does, as POSIX demands.
    either_day: bool,
    /// For certain times of the day: neither minute nor hour begins with `*`.
    fixed: bool,
}

/// Minutes of a day.
const DAY_MINUTES: i64 = 24 * 60;
/// Days after which a search ends: the 29th of February comes at least every eight years.
const MAX_DAYS_AHEAD: i64 = 8 * 366 + 1;

impl Cron {
    /// Parses an expression.
    pub fn parse(text: &str) -> Result<Self, CronError> {
        let text = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let &[minute, hour, day, month, weekday] = &fields[..] else {
            return Err(CronError(format!("it has {} fields instead of 5", fields.len())));
        };
        let weekdays = WEEKDAY.parse(weekday)?;
        Ok(Self {
            minutes: MINUTE.parse(minute)?,
            hours: HOUR.parse(hour)?,
            days: DAY.parse(day)?,
            months: MONTH.parse(month)?,
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
            fixed: !minute.starts_with('*') && !hour.starts_with('*'),
        })
    }

    /// The first matching minute after `minute`, both counted from the start of 1970 in one time zone.
    /// `None`: no day ever matches, like the 30th of February.
    pub fn next(&self, minute: i64) -> Option<i64> {
        let from = minute + 1;
        let today = from.div_euclid(DAY_MINUTES);
        (today..=today + MAX_DAYS_AHEAD).filter(|day| self.matches_day(*day)).find_map(|day| {
            let earliest = if day == today { from.rem_euclid(DAY_MINUTES) } else { 0 };
            let of_day = (earliest..DAY_MINUTES)
                .find(|of_day| self.hours & bit(of_day / 60) != 0 && self.minutes & bit(of_day % 60) != 0)?;
            Some(day * DAY_MINUTES + of_day)
        })
    }

    fn matches_day(&self, day: i64) -> bool {
        let (month, of_month) = month_and_day(day);
        // The first of January 1970 was a Thursday.
        let weekday = self.weekdays & bit((day + 4).rem_euclid(7)) != 0;
        let of_month = self.days & bit(of_month) != 0;
        self.months & bit(month) != 0
            && if self.either_day { of_month || weekday } else { of_month && weekday }
    }
}

/// Month and day of the month of a day counted from the start of 1970, in the Gregorian calendar.
fn month_and_day(day: i64) -> (i64, i64) {
    // Years are counted from March, so that the leap day is the last one; 719 468 days lie before 1970-01-01.
    let of_era = (day + 719_468).rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    (if month < 10 { month + 3 } else { month - 9 }, of_month)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rng::TestRng;

    /// 2026-11-20 00:00, a Friday.
    const FRIDAY: i64 = 20_777 * DAY_MINUTES;

    fn next(cron: &str, minute: i64) -> Option<i64> {
        Cron::parse(cron).expect(cron).next(minute)
    }

    #[test]
    fn month_and_day_follow_the_gregorian_calendar() {
        assert_eq!(month_and_day(0), (1, 1));
        assert_eq!(month_and_day(20_777), (11, 20));
        assert_eq!((month_and_day(19_782), month_and_day(19_783)), ((2, 29), (3, 1)), "2024");
        assert_eq!((month_and_day(47_540), month_and_day(47_541)), ((2, 28), (3, 1)), "2100");
        let (mut year, mut expected) = (1970, 0);
        while year < 2400 {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            for (month, days) in [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
                .into_iter()
                .enumerate()
            {
                for of_month in 1..=days {
                    assert_eq!(month_and_day(expected), (month as i64 + 1, of_month));
                    expected += 1;
                }
            }
            year += 1;
        }
    }

    #[test]
    fn next_is_the_first_matching_minute_strictly_after() {
        assert_eq!(next("* * * * *", FRIDAY), Some(FRIDAY + 1));
        assert_eq!(next("*/15 * * * *", FRIDAY), Some(FRIDAY + 15));
        assert_eq!(next("0 0 * * *", FRIDAY), Some(FRIDAY + DAY_MINUTES), "strictly after");
        assert_eq!(next("30 9 * * mon-fri", FRIDAY + 9 * 60 + 30), Some(FRIDAY + 3 * DAY_MINUTES + 570));
        assert_eq!(next("0 12 * * 7", FRIDAY), Some(FRIDAY + 2 * DAY_MINUTES + 720));
        assert_eq!(next("5,10-20/5 1 * * *", FRIDAY + 66), Some(FRIDAY + 70));
        assert_eq!(next("0 0 1 dec *", FRIDAY), Some(FRIDAY + 11 * DAY_MINUTES));
        assert_eq!(next("@monthly", FRIDAY), Some(FRIDAY + 11 * DAY_MINUTES));
        assert_eq!(next("3/20 * * * *", FRIDAY + 24), Some(FRIDAY + 43));
    }

    #[test]
    fn either_day_field_matches_when_both_are_restricted() {
        assert_eq!(next("0 0 25 * sat", FRIDAY), Some(FRIDAY + DAY_MINUTES));
        assert_eq!(next("0 0 21 * sun", FRIDAY), Some(FRIDAY + DAY_MINUTES));
        assert_eq!(next("0 0 */2 * sun", FRIDAY), Some(FRIDAY + 9 * DAY_MINUTES), "the 29th, an odd Sunday");
    }

    #[test]
    fn rare_days_are_found_and_impossible_ones_are_not() {
        let leap = next("0 0 29 2 *", FRIDAY).expect("there is one");
        assert_eq!((leap - FRIDAY) / DAY_MINUTES, 466, "2028");
        assert_eq!(next("0 0 30 2 *", FRIDAY), None);
    }

    #[test]
    fn malformed_expressions_are_rejected_with_the_reason() {
        for (cron, word) in [
            ("", "0 fields"),
            ("* * * *", "4 fields"),
            ("60 * * * *", "minute"),
            ("* 24 * * *", "hour"),
            ("* * 0 * *", "day of month"),
            ("* * * foo *", "month"),
            ("* * * * 8", "day of week"),
            ("*/0 * * * *", "step"),
            ("*/60 * * * *", "step"),
            ("20-10 * * * *", "backwards"),
            ("+5 * * * *", "minute"),
            ("1,,2 * * * *", "minute"),
            ("-1 * * * *", "minute"),
            ("@reboot", "1 fields"),
        ] {
            let error = Cron::parse(cron).expect_err(cron);
            assert!(error.to_string().contains(word), "{cron}: {error}");
        }
    }

    /// For many expressions and starts, against a test of every minute in between.
    #[test]
    fn next_skips_no_matching_minute() {
        let mut rng = TestRng(7);
        let mut random = |below: usize| rng.below(below);
        for _ in 0..300 {
            let minute = ["*", "*/7", "3", "10-40/9", "59"][random(5)];
            let hour = ["*", "*/5", "0", "23", "9-17"][random(5)];
            let day = ["*", "*", "31", "1-7", "*/10"][random(5)];
            let weekday = ["*", "*", "mon", "0,6", "2-4"][random(5)];
            let cron = Cron::parse(&format!("{minute} {hour} {day} * {weekday}")).expect("sound");
            let start = FRIDAY + random(500_000) as i64;
            let found = cron.next(start).expect("comes often");
            let matches = |at: i64| {
                cron.matches_day(at.div_euclid(DAY_MINUTES))
                    && cron.hours & bit(at.rem_euclid(DAY_MINUTES) / 60) != 0
                    && cron.minutes & bit(at.rem_euclid(60)) != 0
            };
            assert!(matches(found));
            assert_eq!((start + 1..found).find(|at| matches(*at)), None, "{cron:?} from {start}");
        }
    }
}
