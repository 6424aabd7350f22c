//! The media process on real files made by `ffmpeg`, judged by `ffprobe`.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nebula_worker::child::Launcher;
use nebula_worker::media::{Decision, MediaError, Reason, Summary};
use serde_json::Value;
use tempfile::TempDir;

/// A small test picture and a tone of equal length, as inputs of ffmpeg.
const PICTURE: &str = "testsrc2=size=320x240:rate=25:duration=4";
const TONE: &str = "sine=frequency=440:sample_rate=48000:duration=4";
const H264: &str = "-c:v libx264 -preset ultrafast -profile:v high -pix_fmt yuv420p -bf 2 -g 25";

struct Case {
    folder: TempDir,
}

impl Case {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a file with `ffmpeg`; `arguments` are split at spaces.
    fn make(&self, name: &str, arguments: &str) -> PathBuf {
        let path = self.path(name);
        let output = Command::new("ffmpeg")
            .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-y"])
            .args(arguments.split_whitespace())
            .arg(&path)
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        path
    }

    /// Makes a file of picture and tone with these encoding options.
    fn film(&self, name: &str, encoding: &str) -> PathBuf {
        self.make(name, &format!("-f lavfi -i {PICTURE} -f lavfi -i {TONE} {encoding}"))
    }

    async fn convert(&self, input: &Path) -> Result<(Summary, PathBuf), MediaError> {
        let folder = tempfile::tempdir_in(self.folder.path()).unwrap().keep();
        let output = folder.join("out.mp4");
        let launcher = Launcher::new(env!("CARGO_BIN_EXE_nebula-worker"), Duration::from_secs(60));
        let mut last = 0.0;
        let summary = launcher
            .convert(input, &output, None, |progress| {
                assert!(progress.progress >= last, "progress went back from {last} to {progress:?}");
                last = progress.progress;
            })
            .await?;
        assert!(last > 0.9, "the last progress was {last}");
        Ok((summary, output))
    }
}

fn ffprobe(path: &Path, arguments: &str) -> Value {
    let output = Command::new("ffprobe")
        .args(["-hide_banner", "-loglevel", "error", "-print_format", "json"])
        .args(arguments.split_whitespace())
        .arg(path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn streams(path: &Path) -> Vec<Value> {
    ffprobe(path, "-show_streams")["streams"].as_array().unwrap().clone()
}

fn number(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

fn duration(path: &Path) -> f64 {
    number(&ffprobe(path, "-show_format")["format"]["duration"])
}

/// Hashes of all packets of a stream, in order.
fn hashes(path: &Path, stream: &str) -> Vec<String> {
    let packets = ffprobe(path, &format!("-select_streams {stream} -show_packets -show_data_hash md5"));
    packets["packets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|packet| packet["data_hash"].as_str().unwrap().to_owned())
        .collect()
}

/// The index must precede the data, else a browser has to fetch the end of the file first.
fn assert_streamable(path: &Path) {
    let bytes = fs::read(path).unwrap();
    let mut boxes = Vec::new();
    let mut at = 0;
    while at + 8 <= bytes.len() {
        let size = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        boxes.push(String::from_utf8_lossy(&bytes[at + 4..at + 8]).into_owned());
        at += size.max(8);
    }
    let place = |name: &str| boxes.iter().position(|found| found == name);
    assert!(place("moov").unwrap() < place("mdat").unwrap(), "{boxes:?}");
}

/// Checks the properties that every output must have, whatever the input was.
fn assert_plays_in_browsers(path: &Path, seconds: f64) {
    assert_streamable(path);
    let found = duration(path);
    assert!((found - seconds).abs() <= 0.1, "lasts {found} s instead of {seconds} s");
    for stream in streams(path) {
        match stream["codec_type"].as_str().unwrap() {
            "video" => {
                assert_eq!(
                    (stream["codec_name"].as_str(), stream["pix_fmt"].as_str()),
                    (Some("h264"), Some("yuv420p"))
                );
                assert_eq!(stream["width"].as_u64().unwrap() % 2 + stream["height"].as_u64().unwrap() % 2, 0);
            }
            "audio" => assert_eq!(stream["codec_name"], "aac"),
            other => assert_eq!(other, "subtitle"),
        }
    }
    // Decoding the whole file must not print a single warning.
    let check = Command::new("ffmpeg")
        .args(["-v", "warning", "-xerror", "-i"])
        .arg(path)
        .args(["-f", "null", "-"])
        .output()
        .unwrap();
    let warnings = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(check.status.success() && warnings.is_empty(), "{warnings}");
}

fn start(path: &Path, kind: &str) -> f64 {
    number(&streams(path).iter().find(|stream| stream["codec_type"] == kind).unwrap()["start_time"])
}

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
