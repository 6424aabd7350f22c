//! What happens to jobs, for watchers. Pure.

/// Events kept before watchers are told to look for themselves.
pub(crate) const MOST: usize = 64;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It came.
    Enqueue,
    /// A worker has it.
    Claim,
    /// It came on.
    Progress,
    /// It succeeded.
    Complete,
    /// An attempt failed, or the last one.
    Fail,
    /// It was cancelled, or asked to stop.
    Cancel,
    /// Somebody brought it back.
    Retry,
}

impl Action {
    /// As in `nebula_event`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Enqueue => "enqueue",
            Self::Claim => "claim",
            Self::Progress => "progress",
            Self::Complete => "complete",
            Self::Fail => "fail",
            Self::Cancel => "cancel",
            Self::Retry => "retry",
        }
    }
}

/// Something that happened to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Project of the job.
    pub(crate) project: Option<[u8; 16]>,
    /// The job.
    pub(crate) job: i64,
    /// What happened.
    pub(crate) action: Action,
}

/// A few events; beyond, only that there were many.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events {
    list: Vec<Event>,
    overrun: bool,
}

impl Events {
    /// Adds an event; what was known of the same job is out of date.
    pub(crate) fn push(&mut self, event: Event) {
        if self.overrun {
            return;
        }
        self.list.retain(|known| known.job != event.job);
        if self.list.len() < MOST {
            self.list.push(event);
        } else {
            self.overrun();
        }
    }

    /// There were too many.
    pub(crate) fn overrun(&mut self) {
        self.list.clear();
        self.overrun = true;
    }

    /// Adds all of another list.
    pub(crate) fn append(&mut self, other: Self) {
        if other.overrun {
            self.overrun();
        }
        other.list.into_iter().for_each(|event| self.push(event));
    }

    /// The events; none if there were too many.
    pub(crate) fn list(&self) -> &[Event] {
        &self.list
    }

    /// Whether there were too many.
    pub(crate) fn is_overrun(&self) -> bool {
        self.overrun
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    fn event(job: i64, action: Action) -> Event {
        Event { project: None, job, action }
    }

    #[test]
    fn only_the_last_word_on_a_job_is_kept() {
        let mut events = Events::default();
        events.push(event(1, Action::Enqueue));
        events.push(event(2, Action::Enqueue));
        events.push(event(1, Action::Claim));
        assert_eq!(events.list(), [event(2, Action::Enqueue), event(1, Action::Claim)]);
    }

    #[test]
    fn too_many_say_that_there_were_many() {
        let mut events = Events::default();
        (0..64).for_each(|job| events.push(event(job, Action::Enqueue)));
        assert_eq!((events.list().len(), events.is_overrun()), (64, false));
        let mut all = Events::default();
        all.append(events.clone());
        all.append(events);
        assert_eq!(all.list().len(), 64, "the same jobs again");
        all.push(event(99, Action::Enqueue));
        assert_eq!((all.list(), all.is_overrun()), (&[][..], true));
    }
}
