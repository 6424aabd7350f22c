//! When to query for rows that become due by time: waiting jobs, expired leases, schedules.
//!
//! Each query costs; a timer for each kind says when the next one is needed. Times are PostgreSQL's
//! microseconds.

/// Microseconds after which another session takes a timer that the session before has not set again.
const TAKE_OVER_AFTER: i64 = 200_000;

/// Time of the next query. An earlier one would find only rows that were written without our functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer(i64);

impl Timer {
    /// Moves the timer to `at` if that is earlier; returns whether it was.
    pub fn arm(&mut self, at: i64) -> bool {
        let earlier = at < self.0;
        self.0 = self.0.min(at);
        earlier
    }

    /// Sets the timer after a query at `now`: to `next`, the time of the earliest row that is not due yet, or
    /// at the latest to `max_interval` from now.
    pub fn reschedule(&mut self, next: Option<i64>, now: i64, max_interval: i64) {
        self.0 = next.unwrap_or(i64::MAX).min(now.saturating_add(max_interval));
    }

    /// Whether it is time for the next query.
    pub fn is_due(self, now: i64) -> bool {
        now >= self.0
    }

    /// Whether it is time for the next query. If so, the caller must run it; the timer is not due for other
    /// sessions until the caller had time for that.
    pub fn take_if_due(&mut self, now: i64) -> bool {
        let due = self.is_due(now);
        if due {
            self.0 = now + TAKE_OVER_AFTER;
        }
        due
    }

    /// Time of the next query.
    pub fn at(self) -> i64 {
        self.0
    }
}

/// The timers of a database that are due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DueTimers {
    /// Leases may have ended.
    pub lease: bool,
    /// Schedules may have to enqueue.
    pub schedule: bool,
    /// Waiting jobs may have become due.
    pub job: bool,
}

/// The timers of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// When the next waiting job becomes due.
    pub job: Timer,
    /// When the next lease ends.
    pub lease: Timer,
    /// When the next schedule enqueues.
    pub schedule: Timer,
}

impl Timers {
    /// Nothing is known, so all are due.
    pub const UNKNOWN: Self =
        Self { job: Timer(i64::MIN), lease: Timer(i64::MIN), schedule: Timer(i64::MIN) };

    /// Takes all timers that are due.
    pub fn take_due(&mut self, now: i64) -> DueTimers {
        DueTimers {
            lease: self.lease.take_if_due(now),
            schedule: self.schedule.take_if_due(now),
            job: self.job.take_if_due(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_due_at_the_earliest_time_it_was_set_to() {
        let mut timer = Timers::UNKNOWN.job;
        assert!(timer.is_due(0));
        timer.reschedule(Some(900), 100, 5000);
        assert!(!timer.is_due(899) && timer.is_due(900));
        assert!(timer.arm(500));
        assert!(!timer.arm(700));
        assert_eq!(timer.at(), 500);
    }

    #[test]
    fn a_timer_is_due_after_the_longest_interval_although_nothing_is_expected() {
        let mut timer = Timers::UNKNOWN.job;
        timer.reschedule(None, 1000, 5000);
        assert_eq!(timer.at(), 6000);
        timer.reschedule(Some(9000), 1000, 5000);
        assert_eq!(timer.at(), 6000);
    }

    #[test]
    fn a_timer_that_was_taken_is_due_again_only_if_it_is_not_set_in_time() {
        let mut timer = Timers::UNKNOWN.lease;
        assert!(timer.take_if_due(0));
        assert!(!timer.take_if_due(TAKE_OVER_AFTER - 1));
        assert!(timer.take_if_due(TAKE_OVER_AFTER));
        timer.reschedule(Some(TAKE_OVER_AFTER + 9), TAKE_OVER_AFTER + 1, 5000);
        assert!(!timer.take_if_due(TAKE_OVER_AFTER + 8) && timer.take_if_due(TAKE_OVER_AFTER + 9));
    }

    #[test]
    fn each_timer_of_a_database_is_taken_by_itself() {
        let mut timers = Timers::UNKNOWN;
        timers.lease.reschedule(None, 0, 5000);
        assert_eq!(timers.take_due(10), DueTimers { lease: false, schedule: true, job: true });
        assert_eq!(timers.take_due(11), DueTimers::default());
    }
}
