//! Conversion between seconds and the ticks of a stream's time base.

use ffmpeg_next as ff;

/// Seconds as ticks of `time_base`, rounded to the nearest.
pub(super) fn ticks(seconds: f64, time_base: ff::Rational) -> i64 {
    (seconds / f64::from(time_base)).round() as i64
}
