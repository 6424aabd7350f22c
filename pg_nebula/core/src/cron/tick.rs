//! When a clock that is set forward and back for summer time shows the minutes that an expression matches.

use super::{Cron, DAY_MINUTES};

/// A clock that is set by more minutes than this is corrected, not changed for summer time.
const MAX_CHANGE: i64 = 180;
/// More minutes than a clock is ever set by.
const TWO_DAYS: i64 = 2 * DAY_MINUTES;

impl Cron {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-20 00:00, a Friday.
    const FRIDAY: i64 = 20_777 * DAY_MINUTES;

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
}
