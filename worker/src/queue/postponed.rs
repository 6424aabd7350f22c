//! How long a job waits that could not be done for a reason outside of it.

use std::time::Duration;

/// The wait doubles from the first to the longest, which bounds both the load of futile attempts and the time
/// that a job lies idle after the reason is gone.
const FIRST_DELAY: Duration = Duration::from_secs(2);
const MAX_DELAY: Duration = Duration::from_secs(30);

/// The wait after attempt number `attempt`, from 1.
pub(super) fn delay(attempt: i32) -> Duration {
    let doublings = attempt.saturating_sub(1).clamp(0, 16).unsigned_abs();
    FIRST_DELAY.saturating_mul(1 << doublings).min(MAX_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_to_half_a_minute_and_no_further() {
        let seconds = [1, 2, 3, 4, 100, i32::MAX].map(|attempt| delay(attempt).as_secs());
        assert_eq!(seconds, [2, 4, 8, 16, 30, 30]);
    }
}
