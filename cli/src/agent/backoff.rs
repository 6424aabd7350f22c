//! Delays between attempts to reach the gateway or to start a program.

use std::time::Duration;

use backon::{ExponentialBackoff, ExponentialBuilder};

/// Shortest delay between two actions that the gateway asked for.
pub(super) const MIN_DELAY: Duration = Duration::from_secs(1);
/// Longest delay: a device is never further behind than this once the gateway is back.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// Doubles from attempt to attempt. Jitter adds up to the same again, so that the devices do not all call a
/// gateway that comes back at the same moment.
pub(super) const RETRY: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(MIN_DELAY.checked_div(2).expect("two is not zero"))
    .with_max_delay(MAX_DELAY.checked_div(2).expect("two is not zero"))
    .with_jitter()
    .without_max_times();

/// For a configuration that was refused for a fault of the machine. Each attempt to start it interrupts the
/// nebula that runs, so that the delays grow further: from 2 to 4 s up to 50 to 100 s.
pub(super) const REFUSED: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_secs(2))
    .with_max_delay(Duration::from_secs(50))
    .with_jitter()
    .without_max_times();

/// The delay before the next attempt.
pub(super) fn next_delay(backoff: &mut ExponentialBackoff) -> Duration {
    backoff.next().unwrap_or(MAX_DELAY)
}

#[cfg(test)]
mod tests {
    use backon::BackoffBuilder;

    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_differ() {
        let mut backoff = RETRY.build();
        for attempt in 0..10_u32 {
            let step = (MIN_DELAY * 2_u32.pow(attempt)).min(MAX_DELAY);
            let delay = next_delay(&mut backoff);
            assert!(delay >= step / 2 && delay <= step, "{attempt}: {delay:?}");
        }
        let first: std::collections::BTreeSet<_> = (0..20).map(|_| next_delay(&mut RETRY.build())).collect();
        assert!(first.len() > 1);
    }
}
