//! Files of which nothing can be made, and the limits.

use std::fs;
use std::path::Path;

use nebula_worker::media::{MediaPlan, Task};

use super::pictures::run;
use super::support::{Case, H264, assert_plays_in_browsers};

#[tokio::test]
async fn files_without_media_are_refused_permanently() {
    let case = Case::new();
    let secret = case.film("secret.mp4", &format!("{H264} -c:a aac"));
    let playlist = format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\nfile://{}\n#EXT-X-ENDLIST\n",
        secret.display()
    );
    let concat = format!("ffconcat version 1.0\nfile {}\n", secret.display());
    for (name, content) in [
        ("text.mkv", b"just some text, and then some more of it\n".repeat(50)),
        ("empty.mkv", Vec::new()),
        ("playlist.mkv", playlist.into_bytes()),
        ("concat.mkv", concat.into_bytes()),
        ("noise.mkv", (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()),
    ] {
        let input = case.path(name);
        fs::write(&input, content).unwrap();
        let error = case.convert(&input).await.unwrap_err();
        assert!(error.permanent, "{name}: {error}");
    }
    let subtitles = case.path("only.srt");
    fs::write(&subtitles, "1\n00:00:00,500 --> 00:00:01,500\nHello\n").unwrap();
    let only = case.make("only.mkv", "-i only.srt -c:s srt");
    let error = case.convert(&only).await.unwrap_err();
    assert!(error.permanent && error.message.contains("subrip"), "{error}");
}

#[tokio::test]
async fn encrypted_films_are_refused_by_name() {
    let case = Case::new();
    let clear = case.film("clear.mp4", &format!("{H264} -c:a aac"));
    let keys = "-encryption_scheme cenc-aes-ctr -encryption_key 00112233445566778899aabbccddeeff \
                -encryption_kid 0123456789abcdef0123456789abcdef";
    let bought = case.make("bought.mp4", &format!("-i {} -c copy {keys}", clear.display()));
    let error = case.convert(&bought).await.unwrap_err();
    assert!(error.permanent && error.message.contains("encrypted"), "{error}");
    let size = bought.metadata().unwrap().len();
    let mut file = fs::File::open(&bought).unwrap();
    let refusal = nebula_media_kind::inspect("bought.mp4", &mut file, size).unwrap_err().to_string();
    assert!(refusal.contains("encrypted"), "{refusal}");
}

/// Writes another length into the header of a Matroska file, in milliseconds.
fn claim(path: &Path, length: f64) {
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.windows(3).position(|window| window == [0x44, 0x89, 0x88]).unwrap() + 3;
    bytes[at..at + 8].copy_from_slice(&length.to_be_bytes());
    fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn limits_are_named_at_the_first_try() {
    let case = Case::new();
    let huge = case.make("huge.mkv", "-f lavfi -i color=size=9000x9000:rate=1:duration=1 -c:v ffv1");
    let error = case.convert(&huge).await.unwrap_err();
    assert!(error.permanent && error.message.contains("8192x8192"), "{error}");
    let small = case.make("small.mkv", "-f lavfi -i color=size=64x64:rate=1:duration=1 -c:v ffv1");
    // Claims more than 100 hours.
    claim(&small, 4e8);
    let error = case.convert(&small).await.unwrap_err();
    assert!(error.permanent && error.message.contains("the limit is 100 hours"), "{error}");
}

#[tokio::test]
async fn a_film_of_many_tracks_is_converted() {
    let case = Case::new();
    fs::write(case.path("s.srt"), "1\n00:00:00,500 --> 00:00:01,500\nHello\n").unwrap();
    let maps = ["-map 0:v".to_owned(), "-map 1:a ".repeat(22), "-map 2:s ".repeat(47)].join(" ");
    let encoding = format!("-i s.srt {maps} {H264} -c:a aac -b:a 32k -c:s srt -t 1");
    let (summary, output) = case.convert(&case.film("many.mkv", &encoding)).await.unwrap();
    assert_eq!((summary.audio_tracks, summary.subtitles.len()), (22, 47));
    assert_plays_in_browsers(&output, 1.5);
}

/// The plan of a file is one message of its process, which must arrive whatever the file says of itself.
#[tokio::test]
async fn a_file_of_many_parts_with_long_texts_is_planned() {
    let case = Case::new();
    let long = "ü".repeat(1500);
    let chapters: Vec<_> = (0..600)
        .map(|n| format!("[CHAPTER]\nTIMEBASE=1/1000\nSTART={}\nEND={}\ntitle={n}{long}\n", n * 5, n * 5 + 5))
        .collect();
    fs::write(case.path("chapters.txt"), format!(";FFMETADATA1\n{}", chapters.concat())).unwrap();
    fs::write(case.path("s.srt"), "1\n00:00:00,500 --> 00:00:01,500\nHello\n").unwrap();
    let titles: Vec<_> = (0..40)
        .map(|n| format!("-metadata:s:s:{n} title={long} -metadata:s:s:{n} language={long}"))
        .collect();
    let encoding = format!(
        "-f lavfi -i testsrc2=size=64x64:rate=5:duration=3 -i s.srt -i chapters.txt -map_chapters 2 {} {} \
         -c:v mpeg4 -c:s srt {}",
        "-map 0:v ".repeat(80),
        "-map 1:s ".repeat(40),
        titles.join(" ")
    );
    let input = case.make("parts.mkv", &encoding);
    claim(&input, 3.5e8);
    let plan: MediaPlan = run(&input, &case.path("plan"), Task::Plan).await;
    assert!(plan.chunks.len() > 7000, "97 hours in {} chunks", plan.chunks.len());
    assert_eq!((plan.chapters.len(), plan.subtitles.len()), (500, 40));
    let texts = plan.chapters.iter().map(|chapter| &chapter.title);
    let mut texts = texts.chain(plan.subtitles.iter().flat_map(|one| one.label.iter().chain(&one.language)));
    assert!(texts.all(|text| text.len() <= 80));
    let warnings = &plan.summary.warnings;
    assert_eq!(warnings.len(), 51, "{warnings:?}");
    assert_eq!(warnings[50], "29 more streams were left out");
}
