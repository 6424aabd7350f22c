//! Files of which nothing can be made, and the limits.

use std::fs;

use super::support::{Case, H264};

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
