//! Streams that browsers do not play are encoded.

use std::fs;
use std::path::Path;

use nebula_worker::media::{Decision, Reason};

use super::support::{Case, H264, PICTURE, TONE, assert_plays_in_browsers, ffprobe, start, streams};

#[tokio::test]
async fn hevc_and_opus_become_h264_and_aac() {
    let case = Case::new();
    let input = case.film(
        "film.mkv",
        "-c:v libx265 -preset ultrafast -x265-params log-level=error -pix_fmt yuv420p10le -c:a libopus",
    );
    let (summary, output) = case.convert(&input).await.unwrap();
    assert_eq!(
        (summary.decision, &*summary.reasons),
        (Decision::Transcode, &[Reason::VideoCodec, Reason::AudioCodec][..])
    );
    assert!(summary.warnings.is_empty(), "{summary:?}");
    assert_plays_in_browsers(&output, 4.0);
    let video = &streams(&output)[0];
    assert_eq!(
        (video["profile"].as_str(), video["r_frame_rate"].as_str(), video["nb_frames"].as_str()),
        (Some("High"), Some("25/1"), Some("100"))
    );
    assert!((start(&output, "video") - start(&output, "audio")).abs() < 0.03);
}

#[tokio::test]
async fn subtitles_and_all_audio_tracks_are_kept() {
    let case = Case::new();
    fs::write(
        case.path("s.srt"),
        "1\n00:00:00,500 --> 00:00:01,500\nHello <b>there</b>\n\n2\n00:00:02,000 --> 00:00:03,000\nÄpfel\n",
    )
    .unwrap();
    let encoding = "-i s.srt -map 0:v -map 1:a -map 1:a -map 2:s -c:v mpeg4 -c:a:0 libmp3lame -c:a:1 ac3 -c:s srt \
                    -metadata:s:a:0 language=eng -metadata:s:a:1 language=deu -metadata:s:s:0 language=deu";
    let input = case.film("film.mkv", encoding);
    let (summary, output) = case.convert(&input).await.unwrap();
    assert_eq!(
        (summary.decision, summary.audio_tracks, &*summary.subtitles),
        (Decision::Transcode, 2, &["deu".to_owned()][..])
    );
    assert_plays_in_browsers(&output, 4.0);
    let found = streams(&output);
    let codecs: Vec<_> = found.iter().map(|stream| stream["codec_name"].as_str().unwrap()).collect();
    assert_eq!(codecs, ["h264", "aac", "aac", "mov_text"]);
    assert_eq!(found[1]["tags"]["language"], "eng");
    let text = |name: &str, film: &Path| {
        case.make(name, &format!("-i {} -map 0:s", film.display()));
        fs::read_to_string(case.path(name)).unwrap()
    };
    let (before, after) = (text("before.srt", &input), text("after.srt", &output));
    assert!(
        before == after && after.contains("Hello <b>there</b>") && after.contains("Äpfel"),
        "{before}{after}"
    );
}

#[tokio::test]
async fn an_audio_offset_is_kept() {
    let case = Case::new();
    for audio in ["aac", "libopus"] {
        let input = case.make(
            "film.mkv",
            &format!("-f lavfi -i {PICTURE} -itsoffset 1.5 -f lavfi -i {TONE} -t 4 {H264} -c:a {audio}"),
        );
        let (_, output) = case.convert(&input).await.unwrap();
        let late = start(&output, "audio") - start(&output, "video");
        assert!((late - 1.5).abs() < 0.05, "{audio}: {late}");
    }
}

#[tokio::test]
async fn a_rotated_picture_is_shown_upright() {
    let case = Case::new();
    let plain = case.film("plain.mp4", &format!("{H264} -c:a aac"));
    let turned = case.make("turned.mp4", &format!("-i {} -c copy -metadata:s:v rotate=90", plain.display()));
    // In a copy, the rotation stays in the display matrix.
    let (summary, output) = case.convert(&turned).await.unwrap();
    assert_eq!((summary.decision, summary.width, summary.height), (Decision::Remux, Some(240), Some(320)));
    assert_eq!(
        streams(&output)[0]["side_data_list"][0]["rotation"],
        streams(&turned)[0]["side_data_list"][0]["rotation"]
    );
    // In an encoded stream, the picture itself is rotated.
    let mpeg4 = case.film("plain2.mp4", "-c:v mpeg4 -c:a aac");
    let turned = case.make("turned2.mp4", &format!("-i {} -c copy -metadata:s:v rotate=90", mpeg4.display()));
    let (summary, output) = case.convert(&turned).await.unwrap();
    assert_eq!(
        (summary.decision, summary.width, summary.height),
        (Decision::Transcode, Some(240), Some(320))
    );
    let video = &streams(&output)[0];
    assert_eq!((video["width"].as_u64(), video["height"].as_u64()), (Some(240), Some(320)));
    assert!(video["side_data_list"].is_null(), "{video}");
    assert_plays_in_browsers(&output, 4.0);
}

#[tokio::test]
async fn odd_sizes_and_interlacing_are_corrected() {
    let case = Case::new();
    let odd = "-f lavfi -i testsrc2=size=321x241:rate=10:duration=2 -c:v libx264 -preset ultrafast -pix_fmt yuv444p";
    let odd = case.make("odd.mkv", odd);
    let (summary, output) = case.convert(&odd).await.unwrap();
    assert_eq!((summary.width, summary.height), (Some(320), Some(240)));
    assert_eq!(summary.reasons, [Reason::VideoProfile, Reason::VideoPixelFormat]);
    assert_plays_in_browsers(&output, 2.0);

    let interlaced = case.film("interlaced.ts", "-c:v mpeg2video -flags +ildct+ilme -top 1 -c:a mp2");
    let (_, output) = case.convert(&interlaced).await.unwrap();
    assert_plays_in_browsers(&output, 4.0);
    assert_eq!(streams(&output)[0]["field_order"], "progressive");
}

#[tokio::test]
async fn high_dynamic_range_becomes_bt709() {
    let case = Case::new();
    let encoding = "-c:v libx265 -preset ultrafast -x265-params log-level=error:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc \
                    -pix_fmt yuv420p10le -c:a aac";
    let input = case.film("hdr.mkv", encoding);
    let (summary, output) = case.convert(&input).await.unwrap();
    assert_eq!(summary.decision, Decision::Transcode);
    assert_plays_in_browsers(&output, 4.0);
    assert_eq!(streams(&output)[0]["color_transfer"], "bt709");
}

#[tokio::test]
async fn no_frame_after_a_key_frame_is_shown_before_it() {
    let case = Case::new();
    let input = case.film("film.mkv", "-c:v mpeg4 -c:a ac3");
    let (_, output) = case.convert(&input).await.unwrap();
    let packets = ffprobe(&output, "-select_streams v -show_packets");
    let mut keys = Vec::new();
    for packet in packets["packets"].as_array().unwrap() {
        let shown = packet["pts"].as_i64().unwrap();
        if packet["flags"].as_str().unwrap().starts_with('K') {
            keys.push(shown);
        }
        assert!(
            shown >= keys[keys.len() - 1],
            "a frame at {shown} comes after the key frame it precedes: {keys:?}"
        );
    }
    assert!(keys.len() > 1, "four seconds have more than one key frame");
}

#[tokio::test]
async fn files_with_audio_only_are_converted() {
    let case = Case::new();
    for (name, encoding, decision) in [
        ("a.mp3", "-c:a libmp3lame", Decision::Audio),
        ("a.flac", "-c:a flac", Decision::Audio),
        ("a.wav", "-c:a pcm_s16le -ar 96000", Decision::Audio),
        ("a.ogg", "-c:a libvorbis", Decision::Audio),
        ("a.aac", "-c:a aac", Decision::Remux),
    ] {
        let input = case.make(name, &format!("-f lavfi -i {TONE} {encoding}"));
        let (summary, output) = case.convert(&input).await.unwrap();
        assert_eq!((summary.decision, summary.video_codec), (decision, None), "{name}");
        assert_plays_in_browsers(&output, 4.0);
    }
}

#[tokio::test]
async fn subtitles_in_old_encodings_are_readable() {
    let case = Case::new();
    fs::write(case.path("s.srt"), "1\n00:00:00,500 --> 00:00:01,500\nSch~ne Gr~~e aus M~nchen\n").unwrap();
    let input = case.film("film.mkv", &format!("-i s.srt -map 0 -map 1 -map 2 {H264} -c:a aac -c:s srt"));
    let mut bytes = fs::read(&input).unwrap();
    let at = bytes.windows(5).position(|window| window == b"Sch~n").unwrap();
    for (letter, place) in b"\xf6\xfc\xdf\xfc".iter().zip([3, 9, 10, 18]) {
        assert_eq!(bytes[at + place], b'~');
        bytes[at + place] = *letter;
    }
    fs::write(&input, bytes).unwrap();
    let (_, output) = case.convert(&input).await.unwrap();
    case.make("after.srt", &format!("-i {} -map 0:s", output.display()));
    let after = fs::read_to_string(case.path("after.srt")).unwrap();
    assert!(after.contains("Schöne Grüße aus München"), "{after}");
}
