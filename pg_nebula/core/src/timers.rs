//! When it is worth looking for what only time brings. Pure.

/// How long a look may take before somebody else looks, in microseconds.
const TAKE_OVER_AFTER: i64 = 200_000;

/// The next time one thing is expected; looking earlier finds nothing that was done through our functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer(i64);

impl Timer {
    /// Something is expected at this time, in microseconds; answers whether that is earlier than what was expected.
    pub fn arm(&mut self, at: i64) -> bool {
        let earlier = at < self.0;
        self.0 = self.0.min(at);
        earlier
    }

    /// Somebody reschedule at `now`, and this is what comes next. After `patience` it is time to look anyway.
    pub fn reschedule(&mut self, next: Option<i64>, now: i64, patience: i64) {
        self.0 = next.unwrap_or(i64::MAX).min(now.saturating_add(patience));
    }

    /// Whether it is time to look.
    pub fn is_due(self, now: i64) -> bool {
        now >= self.0
    }

    /// Whether it is time to look, for the one who then does: others leave it to that one for a while.
    pub fn take_if_due(&mut self, now: i64) -> bool {
        let come = self.is_due(now);
        if come {
            self.0 = now + TAKE_OVER_AFTER;
        }
        come
    }

    /// When it is time to look, in microseconds.
    pub fn at(self) -> i64 {
        self.0
    }
}

/// What it is time to look for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DueTimers {
    /// Leases that ran out.
    pub lease: bool,
    /// Schedules that are due.
    pub schedule: bool,
    /// Jobs that are due.
    pub job: bool,
}

/// The alarms of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// A waiting job becomes due.
    pub job: Timer,
    /// A lease runs out.
    pub lease: Timer,
    /// A schedule enqueues.
    pub schedule: Timer,
}

impl Timers {
    /// Nothing is known, so it is time to look.
    pub const UNKNOWN: Self =
        Self { job: Timer(i64::MIN), lease: Timer(i64::MIN), schedule: Timer(i64::MIN) };

    /// What it is time to look for, for the one who then does.
    pub fn take_due(&mut self, now: i64) -> DueTimers {
        DueTimers {
            lease: self.lease.take_if_due(now),
            schedule: self.schedule.take_if_due(now),
            job: self.job.take_if_due(now),
        }
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn an_alarm_goes_off_for_what_comes_first() {
        let mut alarm = Timers::UNKNOWN.job;
        assert!(alarm.is_due(0));
        alarm.reschedule(Some(900), 100, 5000);
        assert!(!alarm.is_due(899) && alarm.is_due(900));
        assert!(alarm.arm(500));
        assert!(!alarm.arm(700));
        assert_eq!(alarm.at(), 500);
        alarm.reschedule(None, 1000, 5000);
        assert_eq!(alarm.at(), 6000, "patience ends");
    }

    #[test]
    fn one_of_many_looks() {
        let mut alarm = Timers::UNKNOWN.lease;
        assert!(alarm.take_if_due(0));
        assert!(!alarm.take_if_due(TAKE_OVER_AFTER - 1), "somebody is at it");
        assert!(alarm.take_if_due(TAKE_OVER_AFTER), "who has not come back in time is not waited for");
        alarm.reschedule(Some(TAKE_OVER_AFTER + 9), TAKE_OVER_AFTER + 1, 5000);
        assert!(!alarm.take_if_due(TAKE_OVER_AFTER + 8) && alarm.take_if_due(TAKE_OVER_AFTER + 9));
    }
}
