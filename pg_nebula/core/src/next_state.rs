//! The state of a job after an attempt that failed.

/// The state that follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextState {
    /// It is tried again.
    Available,
    /// It has failed permanently.
    Dead,
    /// Its cancellation was requested.
    Cancelled,
}

impl NextState {
    /// The only decision of the state machine. Attempts count from 1; `max_attempts` is the last one.
    pub fn after_failure(attempt: i32, max_attempts: i32, retryable: bool, cancel_requested: bool) -> Self {
        if cancel_requested {
            Self::Cancelled
        } else if retryable && attempt < max_attempts {
            Self::Available
        } else {
            Self::Dead
        }
    }
}

#[cfg(test)]
mod tests {
    use super::NextState::{self, Available, Cancelled, Dead};

    #[test]
    fn a_job_is_dead_only_after_its_last_attempt() {
        let states = [1, 2, 3].map(|attempt| NextState::after_failure(attempt, 3, true, false));
        assert_eq!(states, [Available, Available, Dead]);
    }

    #[test]
    fn an_error_that_is_not_retryable_makes_the_job_dead() {
        assert_eq!(NextState::after_failure(1, 3, false, false), Dead);
    }

    #[test]
    fn a_job_with_a_cancel_request_is_cancelled_however_its_attempt_ends() {
        assert_eq!(NextState::after_failure(1, 3, true, true), Cancelled);
        assert_eq!(NextState::after_failure(3, 3, false, true), Cancelled);
    }
}
