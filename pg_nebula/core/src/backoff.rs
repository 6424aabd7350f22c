//! How long a failed job waits before its next attempt.

use std::time::Duration;

/// Longest wait after the first failure.
const BASE_DELAY: Duration = Duration::from_secs(2);
/// Longest wait after any failure.
const MAX_DELAY: Duration = Duration::from_secs(3600);

/// The wait after failed attempt number `attempt`, counted from 1: exponential, capped, with full jitter.
///
/// `random`, from 0 to 1, picks a point between zero and the ceiling. So jobs that failed together, because
/// something they share was down, do not come back together.
pub fn delay(attempt: u32, random: f64) -> Duration {
    ceiling(attempt).mul_f64(random.clamp(0.0, 1.0))
}

fn ceiling(attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(31);
    BASE_DELAY.saturating_mul(1 << doublings).min(MAX_DELAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_longest_wait() {
        assert_eq!(ceiling(1), BASE_DELAY);
        assert_eq!(ceiling(2), BASE_DELAY * 2);
        assert_eq!(ceiling(5), BASE_DELAY * 16);
        assert_eq!(ceiling(12), MAX_DELAY);
        assert_eq!(ceiling(u32::MAX), MAX_DELAY);
        for attempt in 0..64 {
            assert!(ceiling(attempt) <= ceiling(attempt + 1), "falls at {attempt}");
        }
    }

    #[test]
    fn jitter_spreads_over_the_whole_range() {
        assert_eq!(delay(3, 0.0), Duration::ZERO);
        assert_eq!(delay(3, 0.5), BASE_DELAY * 2);
        assert_eq!(delay(3, 1.0), BASE_DELAY * 4);
    }

    #[test]
    fn a_random_number_out_of_range_stays_within_bounds() {
        assert_eq!(delay(1, -1.0), Duration::ZERO);
        assert_eq!(delay(1, 7.0), BASE_DELAY);
    }
}
