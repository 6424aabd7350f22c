//! What happens to jobs, for watchers. Pure.

/// JobEvents kept before watchers are told to look for themselves.
pub const MAX_EVENTS: usize = 64;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobAction {
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

impl JobAction {
    /// As in `nebula_event`.
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

/// Something that happened to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobEvent {
    /// Project of the job.
    pub project: Option<[u8; 16]>,
    /// The job.
    pub job: i64,
    /// What happened.
    pub action: JobAction,
}

/// A few events; beyond, only that there were many.
#[derive(Clone, Debug, Default)]
pub struct JobEvents {
    list: Vec<JobEvent>,
    overflowed: bool,
}

impl JobEvents {
    /// Adds an event; what was known of the same job is out of date.
    pub fn push(&mut self, event: JobEvent) {
        if self.overflowed {
            return;
        }
        self.list.retain(|known| known.job != event.job);
        if self.list.len() < MAX_EVENTS {
            self.list.push(event);
        } else {
            self.overflow();
        }
    }

    /// There were too many.
    pub fn overflow(&mut self) {
        self.list.clear();
        self.overflowed = true;
    }

    /// Adds all of another list.
    pub fn append(&mut self, other: Self) {
        if other.overflowed {
            self.overflow();
        }
        other.list.into_iter().for_each(|event| self.push(event));
    }

    /// The events; none if there were too many.
    pub fn list(&self) -> &[JobEvent] {
        &self.list
    }

    /// Whether there were too many.
    pub fn has_overflowed(&self) -> bool {
        self.overflowed
    }
}

#[cfg(test)]
mod unit {
    use super::*;

    fn event(job: i64, action: JobAction) -> JobEvent {
        JobEvent { project: None, job, action }
    }

    #[test]
    fn only_the_last_word_on_a_job_is_kept() {
        let mut events = JobEvents::default();
        events.push(event(1, JobAction::Enqueue));
        events.push(event(2, JobAction::Enqueue));
        events.push(event(1, JobAction::Claim));
        assert_eq!(events.list(), [event(2, JobAction::Enqueue), event(1, JobAction::Claim)]);
    }

    #[test]
    fn too_many_say_that_there_were_many() {
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
}
