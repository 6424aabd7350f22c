//! Files that are damaged or cut off.

use std::fs;
use std::path::Path;

use nebula_worker::media::Reason;

use super::support::{Case, H264, assert_plays_in_browsers, duration};

#[tokio::test]
async fn a_truncated_file_is_converted_up_to_its_end() {
    let case = Case::new();
    for encoding in [format!("{H264} -c:a aac"), "-c:v mpeg4 -c:a ac3".to_owned()] {
        let input = case.film("film.mkv", &encoding);
        let bytes = fs::read(&input).unwrap();
        fs::write(&input, &bytes[..bytes.len() / 2]).unwrap();
        let (summary, output) = case.convert(&input).await.unwrap();
        assert!(summary.warnings.iter().any(|warning| warning.contains("ends early")), "{summary:?}");
        assert!((1.0..3.5).contains(&duration(&output)), "{summary:?}");
        assert_plays_in_browsers(&output, summary.duration_seconds);
    }
}

#[tokio::test]
async fn damage_in_the_middle_is_skipped() {
    let case = Case::new();
    let input = case.film("film.mkv", "-c:v mpeg4 -c:a libopus");
    let mut bytes = fs::read(&input).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 3000].iter_mut().enumerate().for_each(|(n, byte)| *byte ^= (n * 31 + 7) as u8);
    fs::write(&input, bytes).unwrap();
    let (_, output) = case.convert(&input).await.unwrap();
    assert_plays_in_browsers(&output, 4.0);
}

/// Overwrites a tenth of a file with noise.
fn spoil(input: &Path) {
    let mut bytes = fs::read(input).unwrap();
    let (from, to) = (bytes.len() * 45 / 100, bytes.len() * 55 / 100);
    for (n, byte) in (0_u32..).zip(&mut bytes[from..to]) {
        *byte = (n.wrapping_mul(2_654_435_761) >> 13) as u8;
    }
    fs::write(input, bytes).unwrap();
}

#[tokio::test]
async fn noise_in_the_middle_of_a_copied_film_is_told_and_does_not_end_it() {
    let case = Case::new();
    for name in ["film.mp4", "film.mkv"] {
        let input = case.film(name, &format!("{H264} -c:a aac -movflags faststart"));
        spoil(&input);
        let (summary, output) = case.convert(&input).await.unwrap();
        assert!(summary.warnings.iter().any(|warning| warning.contains("damaged")), "{name}: {summary:?}");
        assert_plays_in_browsers(&output, 4.0);
        assert!(summary.reasons.contains(&Reason::Damaged), "{name}: {summary:?}");
    }
}

#[tokio::test]
async fn the_part_of_a_film_that_arrived_is_taken_and_converted() {
    let case = Case::new();
    for name in ["film.mp4", "film.mkv", "film.ts", "film.avi"] {
        let input = case.film(name, &format!("{H264} -c:a aac -movflags faststart"));
        let bytes = fs::read(&input).unwrap();
        let size = bytes.len() * 6 / 10;
        fs::write(&input, &bytes[..size]).unwrap();
        let mut file = fs::File::open(&input).unwrap();
        assert!(nebula_media_kind::inspect(name, &mut file, size as u64).unwrap().media, "{name}");
        let (summary, output) = case.convert(&input).await.unwrap();
        assert!((1.5..3.2).contains(&duration(&output)), "{name}: {summary:?}");
        // Nothing tells that the last picture of a transport stream is cut off.
        if name != "film.ts" {
            assert_plays_in_browsers(&output, summary.duration_seconds);
        }
    }
}
