//! Recordings whose times begin anew, jump, or begin late.

use std::fs;
use std::path::{Path, PathBuf};

use super::support::{Case, H264, TONE, assert_decodes, duration, ffprobe, hashes};

const MPEG2: &str = "-c:v mpeg2video -q:v 4 -c:a mp2";

/// A part of a recording.
fn part(case: &Case, name: &str, picture: &str, encoding: &str) -> PathBuf {
    let picture = format!("-f lavfi -i {picture}=size=320x240:rate=25:duration=4");
    case.make(name, &format!("{picture} -f lavfi -i {TONE} {encoding} -f mpegts"))
}

fn joined(case: &Case, name: &str, parts: &[&Path]) -> PathBuf {
    let bytes: Vec<u8> = parts.iter().flat_map(|part| fs::read(part).unwrap()).collect();
    fs::write(case.path(name), bytes).unwrap();
    case.path(name)
}

fn pictures(output: &Path) -> usize {
    ffprobe(output, "-select_streams v -show_packets")["packets"].as_array().unwrap().len()
}

#[tokio::test]
async fn parts_of_a_recording_follow_each_other() {
    let case = Case::new();
    let copied = format!("{H264} -c:a aac");
    let late = format!("{MPEG2} -output_ts_offset 600");
    for (name, first, second) in [
        ("copied.ts", &copied, &copied),
        ("anew.ts", &MPEG2.to_owned(), &MPEG2.to_owned()),
        ("forward.ts", &MPEG2.to_owned(), &late),
        ("back.ts", &late, &MPEG2.to_owned()),
    ] {
        let parts = [part(&case, "1.ts", "testsrc2", first), part(&case, "2.ts", "testsrc", second)];
        let input = joined(&case, name, &[&parts[0], &parts[1]]);
        let (summary, output) = case.convert(&input).await.unwrap();
        let lasts = duration(&output);
        assert!((7.9..8.3).contains(&lasts), "{name} lasts {lasts} s: {summary:?}");
        assert_eq!(pictures(&output), 200, "{name}: {summary:?}");
        assert!(
            summary.warnings.iter().any(|warning| warning.contains("begin anew or jump")),
            "{name}: {summary:?}"
        );
        assert_decodes(&output, name);
    }
}

#[tokio::test]
async fn a_clock_that_wraps_goes_on() {
    let case = Case::new();
    // The clock of a transport stream has 33 bits of 90 kHz: 95443.7 seconds.
    let input = part(&case, "wrap.ts", "testsrc2", &format!("{MPEG2} -output_ts_offset 95440"));
    let (summary, output) = case.convert(&input).await.unwrap();
    assert!((3.9..4.1).contains(&duration(&output)), "{summary:?}");
    assert_eq!((pictures(&output), summary.warnings.len()), (100, 0), "{summary:?}");
}

#[tokio::test]
async fn chained_songs_follow_each_other() {
    let case = Case::new();
    let song = |name: &str| case.make(name, &format!("-f lavfi -i {TONE} -c:a libvorbis"));
    let input = joined(&case, "radio.ogg", &[&song("1.ogg"), &song("2.ogg")]);
    let (_, output) = case.convert(&input).await.unwrap();
    assert!((7.9..8.1).contains(&duration(&output)), "{}", duration(&output));
}

#[tokio::test]
async fn a_stream_may_begin_inside_a_packet() {
    let case = Case::new();
    let whole = part(&case, "whole.ts", "testsrc2", &format!("{H264} -c:a aac"));
    let bytes = fs::read(&whole).unwrap();
    fs::write(case.path("cut.m2ts"), &bytes[100..]).unwrap();
    let (_, output) = case.convert(&case.path("cut.m2ts")).await.unwrap();
    assert!((3.9..4.1).contains(&duration(&output)));
    fs::write(case.path("zeros.mp3"), {
        let song =
            fs::read(case.make("a.mp3", &format!("-f lavfi -i {TONE} -c:a libmp3lame -id3v2_version 0")))
                .unwrap();
        [vec![0; 417], song].concat()
    })
    .unwrap();
    let (_, output) = case.convert(&case.path("zeros.mp3")).await.unwrap();
    assert!((3.9..4.1).contains(&duration(&output)));
}

#[tokio::test]
async fn a_late_start_is_no_loss() {
    let case = Case::new();
    let plain = case.film("plain.mkv", &format!("{H264} -c:a aac"));
    for name in ["late.mkv", "late.ts", "late.mp4"] {
        let late = case.make(name, &format!("-i {} -c copy -output_ts_offset 100", plain.display()));
        let (summary, output) = case.convert(&late).await.unwrap();
        assert!(summary.warnings.is_empty(), "{name}: {summary:?}");
        assert!((3.9..4.1).contains(&duration(&output)), "{name}");
        if name != "late.ts" {
            assert_eq!(hashes(&plain, "v"), hashes(&output, "v"), "{name}");
        }
    }
}

#[tokio::test]
async fn a_size_that_changes_gets_bars() {
    let case = Case::new();
    let size = |name: &str, size: &str, offset: u32| {
        let picture = format!("-f lavfi -i color=white:size={size}:rate=25:duration=2");
        case.make(name, &format!("{picture} -c:v mpeg2video -q:v 3 -output_ts_offset {offset} -f mpegts"))
    };
    let input = joined(&case, "sizes.ts", &[&size("1.ts", "320x240", 0), &size("2.ts", "640x240", 2)]);
    let (summary, output) = case.convert(&input).await.unwrap();
    assert_eq!((summary.width, summary.height), (Some(320), Some(240)));
    let grey = |second: &str| {
        let frame = std::process::Command::new("ffmpeg")
            .args(["-v", "error", "-ss", second, "-i"])
            .arg(&output)
            .args(["-frames:v", "1", "-vf", "scale=32:24,format=gray", "-f", "rawvideo", "-"])
            .output()
            .unwrap()
            .stdout;
        // Brightness of the upper edge and of the middle.
        (frame[16], frame[12 * 32 + 16])
    };
    let (edge, middle) = grey("1");
    assert!(edge > 200 && middle > 200, "the first size fills the picture: {edge} {middle}");
    let (edge, middle) = grey("3");
    assert!(edge < 50 && middle > 200, "the wider one has bars above and below: {edge} {middle}");
}
