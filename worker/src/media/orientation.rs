//! How a picture is rotated and flipped before it is shown.

use std::f64::consts::PI;

/// Rotation and flips as filters.
#[derive(Debug, PartialEq)]
pub(super) struct Orientation {
    pub(super) filters: Vec<&'static str>,
    /// Whether width and height are exchanged.
    pub(super) swaps_dimensions: bool,
}

impl Orientation {
    const UPRIGHT: Self = Self { filters: Vec::new(), swaps_dimensions: false };

    /// Reads a display matrix as `ffmpeg` does: quarter turns and flips. Other angles are ignored.
    pub(super) fn from_matrix(matrix: Option<&[u8]>) -> Self {
        let Some(matrix) = matrix.and_then(|bytes| bytes.as_chunks::<4>().0.first_chunk::<9>()) else {
            return Self::UPRIGHT;
        };
        let [a, b, _, c, d, ..] = matrix.map(|bytes| f64::from(i32::from_ne_bytes(bytes)));
        let (x, y) = (a.hypot(c), b.hypot(d));
        if x == 0.0 || y == 0.0 {
            return Self::UPRIGHT;
        }
        let transpose = |filter| Self { filters: vec![filter], swaps_dimensions: true };
        let degrees = ((b / y).atan2(a / x) * 180.0 / PI).rem_euclid(360.0).round() as i32;
        match degrees {
            90 => transpose(if c > 0.0 { "transpose=cclock_flip" } else { "transpose=clock" }),
            270 => transpose(if c < 0.0 { "transpose=clock_flip" } else { "transpose=cclock" }),
            180 => {
                let flips = [(a < 0.0).then_some("hflip"), (d < 0.0).then_some("vflip")];
                Self { filters: flips.into_iter().flatten().collect(), swaps_dimensions: false }
            }
            _ if d < 0.0 => Self { filters: vec!["vflip"], swaps_dimensions: false },
            _ => Self::UPRIGHT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix(a: i32, b: i32, c: i32, d: i32) -> Vec<u8> {
        let one = 1 << 16;
        [a * one, b * one, 0, c * one, d * one, 0, 0, 0, 1 << 30]
            .iter()
            .flat_map(|n: &i32| n.to_ne_bytes())
            .collect()
    }

    #[test]
    fn quarter_turns_become_filters() {
        let filters = |a, b, c, d| Orientation::from_matrix(Some(&matrix(a, b, c, d))).filters.join(",");
        assert_eq!(filters(1, 0, 0, 1), "");
        assert_eq!(filters(0, 1, -1, 0), "transpose=clock");
        assert_eq!(filters(0, -1, 1, 0), "transpose=cclock");
        assert_eq!(filters(-1, 0, 0, -1), "hflip,vflip");
        assert_eq!(filters(1, 0, 0, -1), "vflip");
        assert!(Orientation::from_matrix(Some(&matrix(0, 1, -1, 0))).swaps_dimensions);
        assert_eq!(Orientation::from_matrix(Some(&[0; 36])), Orientation::UPRIGHT);
        assert_eq!(Orientation::from_matrix(Some(&[1, 2, 3])), Orientation::UPRIGHT);
        assert_eq!(Orientation::from_matrix(None), Orientation::UPRIGHT);
    }
}
