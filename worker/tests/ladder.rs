//! A film in chunks, sizes and sounds, made by the media process and judged by `ffprobe`.

#![expect(clippy::unwrap_used, reason = "a failed step is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nebula_worker::child::{Launcher, Source, Work};
use nebula_worker::media::{
    ChunkTask, Event, JoinTask, JoinTrack, Joined, MediaPlan, Method, Piece, SoundTask, Task, WebFrom,
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tempfile::TempDir;

/// 20 seconds of VP9 at 25 pictures a second with a key frame every five, and a sound in FLAC.
const FILM: &str = "-f lavfi -i testsrc2=size=960x540:rate=25:duration=20 \
    -f lavfi -i sine=frequency=440:sample_rate=48000:duration=20 \
    -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 125 -c:a flac";

struct Film {
    folder: TempDir,
    input: PathBuf,
}

fn command(program: &str, arguments: &str, path: &Path) -> Vec<u8> {
    let arguments = arguments.split_whitespace();
    let mut command = Command::new(program);
    command.args(["-hide_banner", "-loglevel", "error"]).args(arguments).arg(path);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn probe(path: &Path, arguments: &str) -> Value {
    serde_json::from_slice(&command("ffprobe", &format!("-print_format json {arguments}"), path)).unwrap()
}

impl Film {
    fn make(name: &str, arguments: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join(name);
        command("ffmpeg", &format!("-nostdin -y {arguments}"), &input);
        for made in ["out", "pieces"] {
            fs::create_dir(folder.path().join(made)).unwrap();
        }
        Self { folder, input }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn run<T: DeserializeOwned>(&self, task: Task) -> (T, Vec<Piece>) {
        let launcher = Launcher::new(env!("CARGO_BIN_EXE_nebula-worker"), Duration::from_secs(60));
        let (output, pieces) = (self.path("out/web.mp4"), self.path("pieces"));
        let mut told = Vec::new();
        let tell = |event| {
            if let Event::Piece(piece) = event {
                told.push(piece);
            }
        };
        let work = Work {
            task: &task,
            input: Source::File(&self.input),
            pieces: Some(&pieces),
            output: &output,
            room: None,
        };
        (launcher.run(work, tell).await.unwrap(), told)
    }

    /// One file of pieces, as a player sees it.
    fn gather(&self, name: &str, pieces: &[Piece]) -> PathBuf {
        let mut bytes = hex::decode(&pieces[0].init).unwrap();
        for piece in pieces {
            let media = fs::read(self.path("out").join(&piece.file)).unwrap();
            assert_eq!(media.len() as u64, piece.size);
            assert_eq!(piece.sizes.iter().map(|size| u64::from(*size)).sum::<u64>(), piece.size);
            bytes.extend(media);
        }
        let path = self.path("pieces").join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// Presentation times of the pictures of a file, and which of them are key frames.
fn pictures(path: &Path) -> Vec<(f64, bool)> {
    let packets = probe(path, "-select_streams v -show_entries packet=pts_time,flags");
    let mut pictures: Vec<_> = packets["packets"].as_array().unwrap().iter().map(time).collect();
    pictures.sort_by(|one, other| one.0.total_cmp(&other.0));
    pictures
}

fn time(packet: &Value) -> (f64, bool) {
    let time = packet["pts_time"].as_str().unwrap().parse().unwrap();
    (time, packet["flags"].as_str().unwrap().starts_with('K'))
}

#[tokio::test]
async fn chunks_of_a_film_are_together_the_film_in_every_size() {
    let film = Film::make("film.mkv", FILM);
    let (plan, _): (MediaPlan, _) = film.run(Task::Plan).await;
    assert_eq!(plan.web, WebFrom::Join);
    let names: Vec<_> = plan.variants.iter().map(|size| (size.name.as_str(), size.width)).collect();
    assert_eq!(names, [("v540", 960), ("v480", 854)]);
    assert_eq!(plan.chunks.iter().map(|span| span.from).collect::<Vec<_>>(), [0.0, 4.0, 12.0]);

    let mut made: Vec<Piece> = Vec::new();
    // The last one first: each needs nothing of the others.
    for chunk in plan.chunks.iter().rev() {
        let task = ChunkTask { chunk: *chunk, variants: plan.variants.clone(), method: Method::default() };
        let (pieces, _): (Vec<Piece>, _) = film.run(Task::Chunk(task)).await;
        assert!((pieces[0].starts_at - chunk.from).abs() < 0.001, "{} {}", pieces[0].starts_at, chunk.from);
        made.splice(0..0, pieces);
    }
    for size in &plan.variants {
        let pieces: Vec<_> = made.iter().filter(|piece| piece.variant == size.name).cloned().collect();
        let durations: Vec<f32> = pieces.iter().flat_map(|piece| piece.durations.clone()).collect();
        assert_eq!(durations, [4.0; 5], "{}", size.name);
        assert!(
            pieces.iter().all(|piece| piece.init == pieces[0].init && piece.codecs.starts_with("avc1.6400"))
        );
        let file = film.gather(&format!("{}.mp4", size.name), &pieces);
        let shown = pictures(&file);
        let expected: Vec<_> = (0..500).map(|n| (f64::from(n) / 25.0, n % 50 == 0)).collect();
        assert_eq!(shown.len(), expected.len(), "{}", size.name);
        for (shown, expected) in shown.iter().zip(&expected) {
            // The clock of the pieces is a second ahead.
            assert!(
                (shown.0 - 1.0 - expected.0).abs() < 0.001 && shown.1 == expected.1,
                "{shown:?} {expected:?}"
            );
        }
        // Each picture is that of its moment: testsrc2 shows the time.
        let similar = Command::new("ffmpeg")
            .args([
                "-hide_banner",
                "-i",
                film.input.to_str().unwrap(),
                "-i",
                file.to_str().unwrap(),
                "-lavfi",
            ])
            .arg(format!("[0:v]scale={}:{}[a];[a][1:v]ssim", size.width, size.height))
            .args(["-f", "null", "-"])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&similar.stderr).into_owned();
        let all = told.rsplit("All:").next().unwrap();
        let ssim: f64 = all.split([' ', '(']).next().unwrap().parse().unwrap();
        assert!(ssim > 0.93, "{}: {ssim}", size.name);
    }

    let (_, sounds): (Value, _) = film.run(Task::Sound(SoundTask { sounds: plan.sounds.clone() })).await;
    assert_eq!(sounds.iter().map(|piece| (piece.n, piece.last)).collect::<Vec<_>>(), [(0, false), (1, true)]);
    film.gather("a0.mp4", &sounds);
    let track = |file: &str| JoinTrack { file: file.into(), language: None, label: None };
    let task = JoinTask { tracks: vec![track("v540.mp4"), track("a0.mp4")] };
    let (joined, _): (Joined, _) = film.run(Task::Join(task)).await;
    assert_eq!(joined.pictures, 500);
    let web = film.path("out/web.mp4");
    let shown = pictures(&web);
    assert!(shown.len() == 500 && shown[0].0 == 0.0 && (shown[499].0 - 19.96).abs() < 0.001, "{shown:?}");
    let streams = probe(&web, "-show_entries stream=codec_name,start_time,duration");
    for stream in streams["streams"].as_array().unwrap() {
        let seconds = |name: &str| stream[name].as_str().unwrap().parse::<f64>().unwrap();
        assert!(seconds("start_time").abs() < 0.001 && (seconds("duration") - 20.0).abs() < 0.05, "{stream}");
    }
    let decoded =
        Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(&web).args(["-f", "null", "-"]).output();
    assert_eq!(String::from_utf8_lossy(&decoded.unwrap().stderr), "", "it decodes without an error");
}

#[tokio::test]
async fn a_film_whose_middle_is_noise_keeps_its_length_and_tells_what_is_lost() {
    let arguments =
        "-f lavfi -i testsrc2=size=320x240:rate=25:duration=20 -c:v mpeg4 -q:v 4 -movflags faststart";
    let film = Film::make("film.mp4", arguments);
    let mut bytes = fs::read(&film.input).unwrap();
    let (from, to) = (bytes.len() * 30 / 100, bytes.len() * 95 / 100);
    for (n, byte) in (0_u32..).zip(&mut bytes[from..to]) {
        *byte = (n.wrapping_mul(2_654_435_761) >> 13) as u8;
    }
    fs::write(&film.input, bytes).unwrap();
    let (plan, _): (MediaPlan, _) = film.run(Task::Plan).await;
    let mut made: Vec<Piece> = Vec::new();
    for chunk in &plan.chunks {
        let task = ChunkTask { chunk: *chunk, variants: plan.variants.clone(), method: Method::default() };
        let (pieces, _): (Vec<Piece>, _) = film.run(Task::Chunk(task)).await;
        assert_eq!(pieces.len(), 1, "each chunk is there, if only in black: {chunk:?}");
        made.extend(pieces);
    }
    film.gather("v240.mp4", &made);
    let track = JoinTrack { file: "v240.mp4".into(), language: None, label: None };
    let (joined, _): (Joined, _) = film.run(Task::Join(JoinTask { tracks: vec![track] })).await;
    assert!((joined.duration_seconds - 20.0).abs() < 0.1, "{joined:?}");
    assert!(joined.warnings.iter().any(|warning| warning.contains("could not be decoded")), "{joined:?}");
}
