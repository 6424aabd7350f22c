//! Streams that browsers play are copied.

use nebula_worker::media::{Decision, Reason};

use super::support::{Case, H264, assert_plays_in_browsers, duration, ffprobe, hashes, start};

#[tokio::test]
async fn streams_that_browsers_play_are_copied_unchanged() {
    let case = Case::new();
    let input = case.film("film.mkv", &format!("{H264} -c:a aac -metadata title=Tour"));
    let (summary, output) = case.convert(&input).await.unwrap();
    assert_eq!(
        (summary.decision, summary.reasons.len(), summary.warnings.len()),
        (Decision::Remux, 0, 0),
        "{summary:?}"
    );
    assert_plays_in_browsers(&output, duration(&input));
    assert_eq!(hashes(&input, "v"), hashes(&output, "v"));
    assert_eq!(hashes(&input, "a"), hashes(&output, "a"));
    assert_eq!(ffprobe(&output, "-show_format")["format"]["tags"]["title"], "Tour");
    assert!((summary.duration_seconds - 4.0).abs() < 0.1 && summary.width == Some(320), "{summary:?}");
}

#[tokio::test]
async fn mp4_and_transport_streams_are_remuxed() {
    let case = Case::new();
    for name in ["film.mp4", "film.ts"] {
        let input = case.film(name, &format!("{H264} -c:a aac"));
        let (summary, output) = case.convert(&input).await.unwrap();
        assert_eq!(summary.decision, Decision::Remux, "{name}: {summary:?}");
        assert_plays_in_browsers(&output, 4.0);
        assert!((start(&output, "video") - start(&output, "audio")).abs() < 0.03, "{name}");
    }
}

#[tokio::test]
async fn only_the_audio_is_encoded_when_only_the_audio_is_unplayable() {
    let case = Case::new();
    let input = case.film("film.mkv", &format!("{H264} -c:a libopus"));
    let (summary, output) = case.convert(&input).await.unwrap();
    assert_eq!((summary.decision, &*summary.reasons), (Decision::Audio, &[Reason::AudioCodec][..]));
    assert_plays_in_browsers(&output, 4.0);
    assert_eq!(hashes(&input, "v"), hashes(&output, "v"));
}
