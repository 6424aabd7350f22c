//! Changes of jobs that are told to watchers.

/// Events kept one by one. Beyond, watchers are told to read the list of jobs again.
pub const MAX_EVENTS: usize = 64;

/// The kind of change of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobAction {
    /// It was enqueued.
    Enqueue,
    /// A worker claimed it.
    Claim,
    /// Its worker reported progress.
    Progress,
    /// It succeeded.
    Complete,
    /// An attempt failed, whether or not another follows.
    Fail,
    /// It was cancelled, or its worker was asked to stop.
    Cancel,
    /// A user made it wait again.
    Retry,
}

impl JobAction {
    /// The `action` of a message on channel `nebula_event`.
    pub fn as_str(self) -> &'static str {
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

/// One change of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobEvent {
    /// Project of the job.
    pub project: Option<[u8; 16]>,
    /// `nebula.job.job_id`.
    pub job: i64,
    /// The kind of change.
    pub action: JobAction,
}

/// The latest event of each job, for up to [`MAX_EVENTS`] jobs; beyond, only the fact that there were more.
#[derive(Clone, Debug, Default)]
pub struct JobEvents {
    list: Vec<JobEvent>,
    overflowed: bool,
}

impl JobEvents {
    /// Adds an event, which replaces an earlier one of the same job.
    pub fn push(&mut self, event: JobEvent) {
        if self.overflowed {
            return;
        }
        self.list.retain(|earlier| earlier.job != event.job);
        if self.list.len() < MAX_EVENTS {
            self.list.push(event);
        } else {
            self.overflow();
        }
    }

    /// Replaces all events by the fact that there were too many.
    pub fn overflow(&mut self) {
        self.list.clear();
        self.overflowed = true;
    }

    /// Adds all events of another list.
    pub fn append(&mut self, other: Self) {
        if other.overflowed {
            self.overflow();
        }
        other.list.into_iter().for_each(|event| self.push(event));
    }

    /// The events in order; none if there were too many.
    pub fn list(&self) -> &[JobEvent] {
        &self.list
    }

    /// Whether there were too many.
    pub fn has_overflowed(&self) -> bool {
        self.overflowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(job: i64, action: JobAction) -> JobEvent {
        JobEvent { project: None, job, action }
    }

    #[test]
    fn only_the_latest_event_of_a_job_is_kept() {
        let mut events = JobEvents::default();
        events.push(event(1, JobAction::Enqueue));
        events.push(event(2, JobAction::Enqueue));
        events.push(event(1, JobAction::Claim));
        assert_eq!(events.list(), [event(2, JobAction::Enqueue), event(1, JobAction::Claim)]);
    }

    #[test]
    fn one_event_too_many_replaces_all_by_an_overflow() {
        let mut events = JobEvents::default();
        (0..64).for_each(|job| events.push(event(job, JobAction::Enqueue)));
        assert_eq!((events.list().len(), events.has_overflowed()), (64, false));
        let mut all = JobEvents::default();
        all.append(events.clone());
        all.append(events);
        assert_eq!(all.list().len(), 64, "the same jobs again");
        all.push(event(99, JobAction::Enqueue));
        assert_eq!((all.list(), all.has_overflowed()), (&[][..], true));
    }

    #[test]
    fn an_overflow_spreads_to_the_list_it_is_appended_to() {
        let (mut all, mut overflowed) = (JobEvents::default(), JobEvents::default());
        all.push(event(1, JobAction::Enqueue));
        overflowed.overflow();
        all.append(overflowed);
        all.push(event(2, JobAction::Enqueue));
        assert_eq!((all.list(), all.has_overflowed()), (&[][..], true));
    }
}
