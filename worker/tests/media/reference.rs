//! Comparison of an output with what the `ffmpeg` program makes of the same file.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use super::support::{Case, assert_decodes, assert_streamable, ffprobe};

/// Side of the small grey pictures that are compared.
const SIDE: usize = 16;
/// Mean difference of such pictures, of 255 levels, that encoding alone may cause.
const MAX_DIFFERENCE: f64 = 12.0;
/// Samples a second of the compared sound.
const RATE: f64 = 8_000.0;

/// A file as people see and hear it, by the `ffmpeg` program.
struct Seen {
    pictures: Vec<u8>,
    /// Seconds of the first sound.
    sound: f64,
    /// Width to height as shown.
    shape: Option<f64>,
    /// Seconds by which the sound begins after the picture.
    late: Option<f64>,
}

impl Seen {
    fn of(path: &Path) -> Self {
        let filter = format!("scale={SIDE}:{SIDE}:flags=area,format=gray");
        let pictures =
            raw(path, &["-map", "0:V:0?", "-fps_mode", "passthrough", "-vf", &filter, "-f", "rawvideo", "-"]);
        let sound = raw(path, &["-map", "0:a:0?", "-ac", "1", "-ar", "8000", "-f", "s16le", "-"]);
        let mut shape = None;
        for stream in ffprobe(path, "-show_streams")["streams"].as_array().unwrap() {
            let is_cover = stream["disposition"]["attached_pic"] == 1;
            if stream["codec_type"] == "video" && !is_cover && shape.is_none() {
                shape = Some(shown(stream));
            }
        }
        let late = first(path, "a:0").zip(first(path, "V:0")).map(|(sound, picture)| sound - picture);
        Self { pictures, sound: sound.len() as f64 / 2.0 / RATE, shape, late }
    }
}

/// Output of `ffmpeg`, which fails on files without the asked stream: then it is empty.
fn raw(path: &Path, arguments: &[&str]) -> Vec<u8> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "quiet", "-nostdin", "-i"]).arg(path).args(arguments);
    command.output().unwrap().stdout
}

/// Second of the first picture or sound that is decoded.
fn first(path: &Path, stream: &str) -> Option<f64> {
    let asked = "-read_intervals %+#3 -show_entries frame=best_effort_timestamp_time -select_streams";
    let frames = ffprobe(path, &format!("{asked} {stream}"));
    frames["frames"]
        .as_array()?
        .iter()
        .find_map(|frame| frame["best_effort_timestamp_time"].as_str()?.parse().ok())
}

fn shown(stream: &serde_json::Value) -> f64 {
    let pixel = stream["sample_aspect_ratio"].as_str().and_then(|ratio| {
        let (width, height) = ratio.split_once(':')?;
        Some(width.parse::<f64>().ok()? / height.parse::<f64>().ok()?)
    });
    let size = |key: &str| stream[key].as_f64().unwrap();
    let shape = size("width") / size("height") * pixel.filter(|pixel| *pixel > 0.0).unwrap_or(1.0);
    let turned = stream["side_data_list"][0]["rotation"].as_f64().is_some_and(|angle| angle.abs() == 90.0);
    if turned { 1.0 / shape } else { shape }
}

/// Converts a file and compares it with what `ffmpeg` sees in it.
pub(crate) async fn assert_equals_ffmpeg(case: &Case, input: &Path) {
    let name = input.file_name().unwrap().to_str().unwrap().to_owned();
    let size = input.metadata().unwrap().len();
    let kind = nebula_media_kind::inspect(&name, &mut File::open(input).unwrap(), size).unwrap();
    assert!(kind.media, "{name}: the door takes it for {}", kind.content_type);
    let (summary, output) = case.convert(input).await.unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_streamable(&output);
    assert_decodes(&output, &name);
    let (before, after) = (Seen::of(input), Seen::of(&output));
    let frames = |seen: &Seen| seen.pictures.len() / (SIDE * SIDE);
    assert!(frames(&before) + before.sound as usize > 0, "{name} holds nothing");
    let (expected, made) = (frames(&before), frames(&after));
    // Times that are rounded may let two pictures fall on one tick.
    assert!(expected.abs_diff(made) <= 1, "{name}: {made} of {expected} pictures; {summary:?}");
    let difference = before.pictures.iter().zip(&after.pictures).map(|(one, other)| one.abs_diff(*other));
    let difference = difference.map(f64::from).sum::<f64>() / (before.pictures.len().max(1) as f64);
    assert!(difference < MAX_DIFFERENCE, "{name}: the pictures differ by {difference}");
    let drift = (before.sound - after.sound).abs();
    assert!(drift < 0.12, "{name}: {} s of {} s of sound; {summary:?}", after.sound, before.sound);
    if let (Some(one), Some(other)) = (before.shape, after.shape) {
        assert!((one / other - 1.0).abs() < 0.02, "{name}: shown as {other} instead of {one}");
    }
    if let (Some(one), Some(other)) = (before.late, after.late) {
        assert!((one - other).abs() < 0.05, "{name}: the sound is {other} s late instead of {one} s");
    }
}
