//! Files that are damaged or cut off.

use std::fs;

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
