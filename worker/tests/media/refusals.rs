//! Files of which nothing can be made, and the limits.

use std::fs;

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

#[tokio::test]
async fn limits_are_named_at_the_first_try() {
    let case = Case::new();
    let huge = case.make("huge.mkv", "-f lavfi -i color=size=9000x9000:rate=1:duration=1 -c:v ffv1");
    let error = case.convert(&huge).await.unwrap_err();
    assert!(error.permanent && error.message.contains("8192x8192"), "{error}");
    let small = case.make("small.mkv", "-f lavfi -i color=size=64x64:rate=1:duration=1 -c:v ffv1");
    // Claims more than 100 hours.
    let mut bytes = fs::read(&small).unwrap();
    let at = bytes.windows(3).position(|window| window == [0x44, 0x89, 0x88]).unwrap() + 3;
    bytes[at..at + 8].copy_from_slice(&4e8_f64.to_be_bytes());
    fs::write(&small, bytes).unwrap();
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
