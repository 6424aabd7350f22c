//! Pauses between attempts: twice as long each time, and never the same for two devices, so that a gateway that comes
//! back is not asked by all of them at once.

use std::time::Duration;

use rand::RngExt;

/// The next pause.
#[derive(Debug)]
pub(crate) struct Backoff {
    least: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// Pauses from `least` to `most`.
    pub(crate) fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, next: least }
    }

    /// How long to wait before the next attempt: between half and the whole of the step.
    pub(crate) fn pause(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(self.most);
        step.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Begins anew, after a success.
    pub(crate) fn reset(&mut self) {
        self.next = self.least;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_differ_and_end() {
        let second = Duration::from_secs(1);
        let mut backoff = Backoff::new(second, second * 60);
        let pauses: Vec<_> = (0..10).map(|_| backoff.pause()).collect();
        for (index, pause) in pauses.iter().enumerate() {
            let step = (second * 2_u32.pow(index.try_into().unwrap())).min(second * 60);
            assert!(*pause >= step / 2 && *pause <= step, "{index}: {pause:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= second);
        let firsts: std::collections::BTreeSet<_> =
            (0..20).map(|_| Backoff::new(second, second).pause()).collect();
        assert!(firsts.len() > 1);
    }
}
