//! Files made by `ffmpeg`, the media process on them, and the judgement of `ffprobe`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nebula_worker::child::Launcher;
use nebula_worker::media::{MediaError, Summary};
use serde_json::Value;
use tempfile::TempDir;

/// A small test picture and a tone of equal length, as inputs of ffmpeg.
pub(crate) const PICTURE: &str = "testsrc2=size=320x240:rate=25:duration=4";
pub(crate) const TONE: &str = "sine=frequency=440:sample_rate=48000:duration=4";
pub(crate) const H264: &str = "-c:v libx264 -preset ultrafast -profile:v high -pix_fmt yuv420p -bf 2 -g 25";

pub(crate) struct Case {
    folder: TempDir,
}

impl Case {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a file with `ffmpeg`; `arguments` are split at spaces.
    pub(crate) fn make(&self, name: &str, arguments: &str) -> PathBuf {
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
    pub(crate) fn film(&self, name: &str, encoding: &str) -> PathBuf {
        self.make(name, &format!("-f lavfi -i {PICTURE} -f lavfi -i {TONE} {encoding}"))
    }

    pub(crate) async fn convert(&self, input: &Path) -> Result<(Summary, PathBuf), MediaError> {
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

pub(crate) fn ffprobe(path: &Path, arguments: &str) -> Value {
    let output = Command::new("ffprobe")
        .args(["-hide_banner", "-loglevel", "error", "-print_format", "json"])
        .args(arguments.split_whitespace())
        .arg(path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

pub(crate) fn streams(path: &Path) -> Vec<Value> {
    ffprobe(path, "-show_streams")["streams"].as_array().unwrap().clone()
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

pub(crate) fn duration(path: &Path) -> f64 {
    number(&ffprobe(path, "-show_format")["format"]["duration"])
}

/// Hashes of all packets of a stream, in order.
pub(crate) fn hashes(path: &Path, stream: &str) -> Vec<String> {
    let packets = ffprobe(path, &format!("-select_streams {stream} -show_packets -show_data_hash md5"));
    packets["packets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|packet| packet["data_hash"].as_str().unwrap().to_owned())
        .collect()
}

/// The index must precede the data, else a browser has to fetch the end of the file first.
pub(crate) fn assert_streamable(path: &Path) {
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
pub(crate) fn assert_plays_in_browsers(path: &Path, seconds: f64) {
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
    assert_decodes(path, "the output");
}

/// Decoding the whole file must not print a single warning.
pub(crate) fn assert_decodes(path: &Path, name: &str) {
    let check = Command::new("ffmpeg")
        .args(["-v", "warning", "-xerror", "-i"])
        .arg(path)
        .args(["-map", "0:v?", "-map", "0:a?", "-f", "null", "-"])
        .output()
        .unwrap();
    let warnings = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(check.status.success() && warnings.is_empty(), "{name}: {warnings}");
}

pub(crate) fn start(path: &Path, kind: &str) -> f64 {
    number(&streams(path).iter().find(|stream| stream["codec_type"] == kind).unwrap()["start_time"])
}
