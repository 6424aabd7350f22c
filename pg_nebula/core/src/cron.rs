//! Cron expressions: which minutes of a calendar they match, and when a clock that is set forward and back
//! for summer time shows them. What a time zone's clock shows at a time, the caller tells.

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

/// A field of an expression. `value_names` are those of the lowest value and the ones that follow.
struct Field {
    name: &'static str,
    low: u32,
    high: u32,
    value_names: &'static [&'static str],
}

const MINUTE: Field = Field { name: "minute", low: 0, high: 59, value_names: &[] };
const HOUR: Field = Field { name: "hour", low: 0, high: 23, value_names: &[] };
const DAY: Field = Field { name: "day of month", low: 1, high: 31, value_names: &[] };
const MONTH: Field = Field {
    name: "month",
    low: 1,
    high: 12,
    value_names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
/// 0 and 7 are Sunday.
const WEEKDAY: Field = Field {
    name: "day of week",
    low: 0,
    high: 7,
    value_names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
};

/// Minutes of a day.
const DAY_MINUTES: i64 = 24 * 60;
/// Days after which a search ends: the 29th of February comes at least every eight years.
const MAX_DAYS_AHEAD: i64 = 8 * 366 + 1;
/// A clock that is set by more minutes than this is corrected, not changed for summer time.
const MAX_CHANGE: i64 = 180;
/// More minutes than a clock is ever set by.
const TWO_DAYS: i64 = 2 * DAY_MINUTES;

/// Why a text is not a valid cron expression; completes the sentence "… is not a valid cron expression: ".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CronError(String);

impl std::fmt::Display for CronError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for CronError {}

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

    /// The first time after `after` for which the clock of a time zone says to run, in minutes of UTC.
    /// `clock` tells what that clock shows at such a minute, as its argument and result counted from the
    /// start of 1970.
    ///
    /// As cron(8) has it when the clock is changed by less than three hours: expressions for certain times
    /// of the day run once, at the first of two equal times, and a time that is skipped as late as if the
    /// clock had not been changed. All others go by what the clock shows.
    ///
    /// # Errors
    /// Those of `clock`.
    pub fn next_tick<E>(&self, after: i64, clock: impl Fn(i64) -> Result<i64, E>) -> Result<Option<i64>, E> {
        let offset_at = |minute: i64| Ok(clock(minute)? - minute);
        let mut from = after + 1;
        loop {
            let offset = offset_at(from)?;
            let Some(shown) = self.next(from + offset - 1) else { return Ok(None) };
            let tick = shown - offset;
            let skipped = if self.fixed { self.skipped_tick(from, offset, &clock)? } else { None };
            if let Some(skipped) = skipped.filter(|skipped| *skipped <= tick) {
                return Ok(Some(skipped));
            }
            if tick - from > TWO_DAYS {
                // No clock shows a matching time before.
                from = tick - TWO_DAYS;
            } else if clock(tick)? != shown {
                from = first_change(from, tick, offset, offset_at)?;
            } else if self.fixed && is_repeated(tick, offset, &clock)? {
                from = tick + 1;
            } else {
                return Ok(Some(tick));
            }
        }
    }

    /// The first minute not before `from` for which the clock would have said to run, had it not been set
    /// forward shortly before.
    fn skipped_tick<E>(
        &self,
        from: i64,
        offset: i64,
        clock: impl Fn(i64) -> Result<i64, E>,
    ) -> Result<Option<i64>, E> {
        let former = clock(from - MAX_CHANGE)? - (from - MAX_CHANGE);
        if !(1..MAX_CHANGE).contains(&(offset - former)) {
            return Ok(None);
        }
        let Some(shown) = self.next(from + former - 1) else { return Ok(None) };
        Ok((clock(shown - offset)? != shown).then_some(shown - former))
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

/// The first minute after `from` at which the clock is ahead of UTC by another time than `offset`; at `end`
/// it is.
fn first_change<E>(
    from: i64,
    end: i64,
    offset: i64,
    offset_at: impl Fn(i64) -> Result<i64, E>,
) -> Result<i64, E> {
    let (mut before, mut after) = (from, end);
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if offset_at(middle)? == offset {
            before = middle;
        } else {
            after = middle;
        }
    }
    Ok(after)
}

/// Whether the clock, set back shortly before, has shown the same time already.
fn is_repeated<E>(minute: i64, offset: i64, clock: impl Fn(i64) -> Result<i64, E>) -> Result<bool, E> {
    let former = clock(minute - MAX_CHANGE)? - (minute - MAX_CHANGE);
    let back = former - offset;
    Ok((1..MAX_CHANGE).contains(&back) && clock(minute - back)? == minute + offset)
}

impl Field {
    fn parse(&self, text: &str) -> Result<u64, CronError> {
        text.split(',').try_fold(0, |bits, part| Ok(bits | self.parse_part(part)?))
    }

    fn parse_part(&self, part: &str) -> Result<u64, CronError> {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (part, None),
        };
        let (low, high) = if range == "*" {
            (self.low, self.high)
        } else if let Some((low, high)) = range.split_once('-') {
            (self.value(low)?, self.value(high)?)
        } else {
            let low = self.value(range)?;
            (low, if step.is_some() { self.high } else { low })
        };
        let step = match step {
            Some(step) => step.parse().ok().filter(|step| (1..=self.high).contains(step)),
            None => Some(1),
        };
        let step =
            step.ok_or_else(|| CronError(format!("\"{part}\" is not a valid step of the {}", self.name)))?;
        if low > high {
            return Err(CronError(format!("\"{part}\" runs backwards in the {}", self.name)));
        }
        Ok((low..=high).step_by(step as usize).fold(0, |bits, value| bits | bit(value.into())))
    }

    fn value(&self, text: &str) -> Result<u32, CronError> {
        let word = self.value_names.iter().position(|word| word.eq_ignore_ascii_case(text));
        let value = match word {
            Some(index) => u32::try_from(index).ok().map(|index| self.low + index),
            None => text.parse().ok().filter(|_| text.bytes().all(|c| c.is_ascii_digit())),
        };
        value.filter(|value| (self.low..=self.high).contains(value)).ok_or_else(|| {
            CronError(format!("\"{text}\" is not a {} from {} to {}", self.name, self.low, self.high))
        })
    }
}

fn bit(value: i64) -> u64 {
    1 << value
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

    /// A clock an hour ahead of UTC, set forward for an hour at 01:00 of this day, and back at 01:00 five
    /// days later.
    fn summer_clock(minute: i64) -> Result<i64, std::convert::Infallible> {
        let summer = FRIDAY + 60..FRIDAY + 5 * DAY_MINUTES + 60;
        Ok(minute + if summer.contains(&minute) { 120 } else { 60 })
    }

    /// The ticks of two minutes after another, in minutes after midnight UTC of the first day.
    fn ticks(cron: &str, after: i64, count: usize) -> Vec<i64> {
        let cron = Cron::parse(cron).expect(cron);
        let mut ticks = vec![FRIDAY + after];
        for _ in 0..count {
            let Ok(tick) = cron.next_tick(ticks[ticks.len() - 1], summer_clock);
            ticks.push(tick.expect("comes often"));
        }
        ticks.iter().skip(1).map(|tick| tick - FRIDAY).collect()
    }

    #[test]
    fn expressions_with_wildcards_go_by_what_the_clock_shows() {
        let back = 5 * DAY_MINUTES + 60;
        assert_eq!(ticks("* * * * *", 58, 3), [59, 60, 61]);
        assert_eq!(ticks("* * * * *", back - 2, 3), [back - 1, back, back + 1], "no hour without a tick");
        assert_eq!(ticks("@hourly", back - 61, 3), [back - 60, back, back + 60]);
        assert_eq!(ticks("0 * * * *", -1, 3), [0, 60, 120]);
        // The clock does not show 02:00 to 02:59 on the first day, and shows it twice on the last.
        assert_eq!(ticks("*/30 2 * * *", 0, 2), [DAY_MINUTES, DAY_MINUTES + 30]);
        assert_eq!(
            ticks("*/30 2 * * *", back - 61, 5),
            [back - 60, back - 30, back, back + 30, back + DAY_MINUTES]
        );
    }

    #[test]
    fn expressions_for_certain_times_run_once_each_day() {
        let back = 5 * DAY_MINUTES + 60;
        // Half past two is skipped: half an hour after the change.
        assert_eq!(ticks("30 2 * * *", 0, 2), [90, DAY_MINUTES + 30]);
        assert_eq!(ticks("15,45 2 * * *", 0, 3), [75, 105, DAY_MINUTES + 15]);
        assert_eq!(ticks("30 2,3 * * *", 0, 2), [90, DAY_MINUTES + 30], "both at once");
        // Half past two comes twice.
        assert_eq!(ticks("30 2 * * *", back - 60, 2), [back - 30, back + DAY_MINUTES + 30]);
        assert_eq!(ticks("30 2 * * *", back - 10, 1), [back + DAY_MINUTES + 30], "also when asked between");
        assert_eq!(ticks("0 3 * * *", back - 60, 1), [back + 60]);
        assert_eq!(ticks("0 0 29 2 *", 0, 1), [466 * DAY_MINUTES - 60], "2028");
    }

    #[test]
    fn a_clock_that_is_corrected_by_a_day_is_believed() {
        // As in Samoa at the end of 2011, which had no 30th of December.
        let clock = |minute: i64| {
            Ok::<_, std::convert::Infallible>(minute + if minute < FRIDAY { 0 } else { DAY_MINUTES })
        };
        let Ok(tick) = Cron::parse("30 2 * * *").expect("sound").next_tick(FRIDAY - 60, clock);
        assert_eq!(tick, Some(FRIDAY + 150));
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
