//! When a failed job runs again. Pure.

use std::time::Duration;

/// Longest wait after the first failure.
const BASE: Duration = Duration::from_secs(2);
/// Longest wait after any failure.
const CAP: Duration = Duration::from_secs(3600);

/// Wait before the attempt after `attempt` (counted from 1): exponential, capped, with full jitter.
///
/// `random` in 0..1 picks a point between zero and the ceiling, so that jobs which failed together because
/// something they share was down do not come back together.
pub fn delay(attempt: u32, random: f64) -> Duration {
    ceiling(attempt).mul_f64(random.clamp(0.0, 1.0))
}

fn ceiling(attempt: u32) -> Duration {
    let doublings = attempt.saturating_sub(1).min(31);
    BASE.saturating_mul(1 << doublings).min(CAP)
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn ceiling_doubles_up_to_the_cap() {
        assert_eq!(ceiling(1), BASE);
        assert_eq!(ceiling(2), BASE * 2);
        assert_eq!(ceiling(5), BASE * 16);
        assert_eq!(ceiling(12), CAP);
        assert_eq!(ceiling(u32::MAX), CAP);
        for attempt in 0..64 {
            assert!(ceiling(attempt) <= ceiling(attempt + 1), "falls at {attempt}");
        }
    }

    #[test]
    fn jitter_spreads_over_the_whole_range() {
        assert_eq!(delay(3, 0.0), Duration::ZERO);
        assert_eq!(delay(3, 0.5), BASE * 2);
        assert_eq!(delay(3, 1.0), BASE * 4);
    }

    #[test]
    fn a_random_number_out_of_range_stays_within_bounds() {
        assert_eq!(delay(1, -1.0), Duration::ZERO);
        assert_eq!(delay(1, 7.0), BASE);
    }
}
