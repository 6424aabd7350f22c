//! The media process of the worker beside the `ffmpeg` program with the same settings.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nebula_tests::binary::built;
use nebula_tests::media::{duration, probe};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::measure::{Usage, measure};
use super::sources::{Films, ffmpeg};
use crate::settings::Settings;

/// How often the film for copying follows itself: once would be over too soon to be measured.
const REPEATED: u32 = 10;

/// The settings of the media process, as the program takes them.
const VIDEO: &str = "-c:v libx264 -preset veryfast -crf 22 -profile:v high -pix_fmt yuv420p -flags +cgop";
const AUDIO: &str = "-c:a aac -b:a 160k -ac 2";
/// Pictures for seeking and a poster, as they are commonly made.
const SPRITES: &str = "-map 0:v:0 -vf fps=1/10,scale=160:-2,tile=10x10 -q:v 6";
const POSTER: &str = "-map 0:v:0 -vf thumbnail=100,scale=1280:-2 -frames:v 1 -q:v 4";

/// Prints the table.
pub(crate) fn run_table(settings: &Settings) -> Result<()> {
    let films = Films::of(settings.film_seconds)?;
    let bench = Bench { folder: tempfile::tempdir()? };
    println!(
        "\n## Films: the media process beside ffmpeg, 1080p25 of {} s, medians of {} rounds\n",
        settings.film_seconds, settings.rounds
    );
    println!("| | processor time | ffmpeg's | ratio | duration, ratio | peak memory | ffmpeg's |");
    println!("|---|---|---|---|---|---|---|");
    let (foreign, copied) = (films.foreign()?, films.friendly(REPEATED)?);
    bench.row("transcode", settings, || bench.convert(&foreign), || bench.transcode_by_program(&foreign))?;
    bench.row(
        "copy, ten times as long",
        settings,
        || bench.convert(&copied),
        || bench.copy_by_program(&copied),
    )?;
    let plan = bench.result(&foreign, &json!("plan"))?.1;
    bench.row(
        "three sizes, sound, MP4",
        settings,
        || bench.ladder(&foreign, &plan),
        || bench.sizes_by_program(&foreign, &plan),
    )?;
    bench.row(
        "poster and pictures to seek by",
        settings,
        || bench.pictures(&foreign),
        || bench.pictures_by_program(&foreign),
    )?;
    Ok(())
}

struct Bench {
    folder: TempDir,
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Measures both in turns.
    fn row(
        &self,
        name: &str,
        settings: &Settings,
        ours: impl Fn() -> Result<Usage>,
        theirs: impl Fn() -> Result<Usage>,
    ) -> Result<()> {
        let (mut own, mut program) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            own.push(ours()?);
            program.push(theirs()?);
        }
        let [own, program] = [Usage::median(&own), Usage::median(&program)];
        println!(
            "| {name} | {:.2} s | {:.2} s | {:.2} | {:.2} | {} MB | {} MB |",
            own.cpu,
            program.cpu,
            own.cpu / program.cpu,
            own.wall / program.wall,
            own.peak / 1_000_000,
            program.peak / 1_000_000
        );
        Ok(())
    }

    /// Does a task in a media process, as the worker starts it; answers its messages, the last of which is the result.
    fn media(&self, input: &Path, task: &Value) -> Result<(Usage, Vec<Value>)> {
        let mut command = Command::new(built("nebula-worker")?);
        command
            .args(["media", "--parent", &std::process::id().to_string(), "--nice", "0", "--input"])
            .arg(input)
            .arg("--output")
            .arg(self.path("web.mp4"))
            .arg("--pieces")
            .arg(self.folder.path())
            .args(["--task", &task.to_string()])
            .env("MALLOC_ARENA_MAX", "8");
        let (usage, printed) = measure(&mut command)?;
        let messages = printed.lines().map(|line| Ok(serde_json::from_str(line)?));
        Ok((usage, messages.collect::<Result<_>>()?))
    }

    /// The same, of which the result alone matters.
    fn result(&self, input: &Path, task: &Value) -> Result<(Usage, Value)> {
        let (usage, mut messages) = self.media(input, task)?;
        let mut last = messages.pop().context("the media process said nothing")?;
        Ok((usage, last["result"].take()))
    }

    fn convert(&self, film: &Path) -> Result<Usage> {
        let usage = self.media(film, &json!("convert"))?.0;
        self.assert_whole(film, "web.mp4")?;
        Ok(usage)
    }

    fn program(&self, film: &Path, output: &str, options: &[&str]) -> Result<Usage> {
        let mut command = ffmpeg();
        command.arg("-i").arg(film).args(options.iter().flat_map(|group| group.split_whitespace()));
        Ok(measure(command.arg(self.path(output)))?.0)
    }

    fn transcode_by_program(&self, film: &Path) -> Result<Usage> {
        self.program(
            film,
            "program.mp4",
            &["-map 0:v:0 -map 0:a:0 -g 50", VIDEO, AUDIO, "-movflags +faststart"],
        )
    }

    fn copy_by_program(&self, film: &Path) -> Result<Usage> {
        self.program(film, "program.mp4", &["-map 0:v:0 -map 0:a:0 -c copy -movflags +faststart"])
    }

    /// All that is made of a film but its pictures: each chunk in a process of its own, the sound, and the MP4.
    fn ladder(&self, film: &Path, plan: &Value) -> Result<Usage> {
        let mut all = self.result(film, &json!("plan"))?.0;
        let mut largest = Vec::new();
        for chunk in plan["chunks"].as_array().context("no chunks")? {
            let task = json!({ "chunk": chunk, "variants": plan["variants"], "method": plan["method"] });
            let (usage, mut pieces) = self.result(film, &json!({ "chunk": task }))?;
            all = all.and(usage);
            largest.push(pieces[0].take());
        }
        let (usage, messages) = self.media(film, &json!({ "sound": { "sounds": plan["sounds"] } }))?;
        let sound: Vec<_> = messages.into_iter().map(|mut told| told["piece"].take()).collect();
        let sound: Vec<_> = sound.into_iter().filter(Value::is_object).collect();
        let tracks = [self.gather("picture.mp4", &largest)?, self.gather("sound.mp4", &sound)?];
        all = all.and(usage).and(self.media(film, &json!({ "join": { "tracks": tracks } }))?.0);
        self.assert_whole(film, "web.mp4")?;
        Ok(all)
    }

    /// Writes the pieces of a track behind their initialization segment, as the worker does.
    fn gather(&self, name: &str, pieces: &[Value]) -> Result<Value> {
        let text = |piece: &Value, field| piece[field].as_str().map(str::to_owned).context("no such field");
        let mut whole = hex::decode(text(pieces.first().context("no pieces")?, "init")?)?;
        for piece in pieces {
            whole.extend(fs::read(self.path(&text(piece, "file")?))?);
        }
        fs::write(self.path(name), whole)?;
        Ok(json!({ "file": name }))
    }

    /// A run of the program for each size; that of the largest makes the sound as well.
    fn sizes_by_program(&self, film: &Path, plan: &Value) -> Result<Usage> {
        let mut all = Usage::default();
        for (n, size) in plan["variants"].as_array().context("no sizes")?.iter().enumerate() {
            let (width, height, most) = (&size["width"], &size["height"], size["maxrate"].as_u64());
            let most = most.context("no rate")?;
            let limit = format!(
                "-vf scale={width}:{height}:flags=bicubic -maxrate {most} -bufsize {} -x264-params \
                 scenecut=0:keyint=infinite -force_key_frames expr:gte(t,n_forced*2) -forced-idr 1",
                most * 2
            );
            let sound = if n == 0 { AUDIO } else { "-an" };
            let options = ["-map 0:v:0 -map 0:a:0", VIDEO, &limit, sound, "-movflags +faststart"];
            all = all.and(self.program(film, "program.mp4", &options)?);
        }
        Ok(all)
    }

    fn pictures(&self, film: &Path) -> Result<Usage> {
        Ok(self.media(film, &json!({ "pictures": { "subtitles": [] } }))?.0)
    }

    fn pictures_by_program(&self, film: &Path) -> Result<Usage> {
        let poster = self.program(film, "poster.jpg", &[POSTER])?;
        Ok(poster.and(self.program(film, "sprites-%d.jpg", &[SPRITES])?))
    }

    /// Fails when the output is shorter than the film: an output that lacks a part would win every comparison.
    fn assert_whole(&self, film: &Path, output: &str) -> Result<()> {
        let (expected, made) = (duration(&probe(film)?)?, duration(&probe(&self.path(output))?)?);
        ensure!((expected - made).abs() < 0.5, "{output} has {made} s, not {expected}");
        Ok(())
    }
}
