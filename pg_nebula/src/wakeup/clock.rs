//! When it is worth looking for what only time brings. Pure.

/// How long a look may take before somebody else looks, in microseconds.
const TAKEN: i64 = 200_000;

/// The next time one thing is expected; looking earlier finds nothing that was done through our functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alarm(i64);

impl Alarm {
    /// Something is expected at this time, in microseconds; answers whether that is earlier than what was expected.
    pub(crate) fn expect(&mut self, at: i64) -> bool {
        let earlier = at < self.0;
        self.0 = self.0.min(at);
        earlier
    }

    /// Somebody looked at `now`, and this is what comes next. After `patience` it is time to look anyway.
    pub(crate) fn looked(&mut self, next: Option<i64>, now: i64, patience: i64) {
        self.0 = next.unwrap_or(i64::MAX).min(now.saturating_add(patience));
    }

    /// Whether it is time to look.
    pub(crate) fn has_come(self, now: i64) -> bool {
        now >= self.0
    }

    /// Whether it is time to look, for the one who then does: others leave it to that one for a while.
    pub(crate) fn take(&mut self, now: i64) -> bool {
        let come = self.has_come(now);
        if come {
            self.0 = now + TAKEN;
        }
        come
    }

    /// When it is time to look, in microseconds.
    pub(crate) fn at(self) -> i64 {
        self.0
    }
}

/// What it is time to look for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Come {
    /// Leases that ran out.
    pub(crate) lease: bool,
    /// Schedules that are due.
    pub(crate) tick: bool,
    /// Jobs that are due.
    pub(crate) due: bool,
}

/// The alarms of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clock {
    /// A waiting job becomes due.
    pub(crate) due: Alarm,
    /// A lease runs out.
    pub(crate) lease: Alarm,
    /// A schedule enqueues.
    pub(crate) tick: Alarm,
}

impl Clock {
    /// Nothing is known, so it is time to look.
    pub(crate) const UNKNOWN: Self =
        Self { due: Alarm(i64::MIN), lease: Alarm(i64::MIN), tick: Alarm(i64::MIN) };

    /// What it is time to look for, for the one who then does.
    pub(crate) fn take(&mut self, now: i64) -> Come {
        Come { lease: self.lease.take(now), tick: self.tick.take(now), due: self.due.take(now) }
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn an_alarm_goes_off_for_what_comes_first() {
        let mut alarm = Clock::UNKNOWN.due;
        assert!(alarm.has_come(0));
        alarm.looked(Some(900), 100, 5000);
        assert!(!alarm.has_come(899) && alarm.has_come(900));
        assert!(alarm.expect(500));
        assert!(!alarm.expect(700));
        assert_eq!(alarm.at(), 500);
        alarm.looked(None, 1000, 5000);
        assert_eq!(alarm.at(), 6000, "patience ends");
    }

    #[test]
    fn one_of_many_looks() {
        let mut alarm = Clock::UNKNOWN.lease;
        assert!(alarm.take(0));
        assert!(!alarm.take(TAKEN - 1), "somebody is at it");
        assert!(alarm.take(TAKEN), "who has not come back in time is not waited for");
        alarm.looked(Some(TAKEN + 9), TAKEN + 1, 5000);
        assert!(!alarm.take(TAKEN + 8) && alarm.take(TAKEN + 9));
    }
}
