//! Time as streams count it: in ticks of a clock whose period is a fraction of a second.

use ffmpeg_next as ff;

/// Seconds in ticks of `clock`, rounded to the nearest.
pub(super) fn ticks(seconds: f64, clock: ff::Rational) -> i64 {
    (seconds / to_f64(clock)).round() as i64
}

/// A fraction as a number.
pub(super) fn to_f64(rational: ff::Rational) -> f64 {
    f64::from(rational)
}
