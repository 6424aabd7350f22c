//! Films to measure with, made by `ffmpeg` once and kept below `target/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use nebula_tests::binary::{root, run};

/// Moving shapes under noise, which costs an encoder about what film does, and a sound.
const PICTURE: &str = "testsrc2=size=1920x1080:rate=25,noise=alls=4:allf=t";
const SOUND: &str = "sine=frequency=440:beep_factor=3:sample_rate=48000";

/// Films of one length.
#[derive(Debug)]
pub(crate) struct Films {
    folder: PathBuf,
    seconds: u32,
}

impl Films {
    pub(crate) fn of(seconds: u32) -> Result<Self> {
        let folder = root().join("target/bench-films");
        fs::create_dir_all(&folder)?;
        Ok(Self { folder, seconds })
    }

    /// 1080p25 in MPEG-4 Part 2 and MP3, of whose pictures browsers play none; a source that is quickly made.
    pub(crate) fn foreign(&self) -> Result<PathBuf> {
        let seconds = self.seconds;
        self.made(&format!("foreign-{seconds}.mkv"), |path| {
            let mut command = ffmpeg();
            command.args(["-f", "lavfi", "-t", &seconds.to_string(), "-i", PICTURE]);
            command.args(["-f", "lavfi", "-t", &seconds.to_string(), "-i", SOUND]);
            command.args(["-c:v", "mpeg4", "-q:v", "5", "-g", "125", "-c:a", "libmp3lame"]);
            run(command.arg(path)).map(drop)
        })
    }

    /// The same in H.264 and AAC, `times` one after the other, in a container that browsers do not read.
    pub(crate) fn friendly(&self, times: u32) -> Result<PathBuf> {
        let (foreign, seconds) = (self.foreign()?, self.seconds);
        let once = self.made(&format!("friendly-{seconds}.mkv"), |path| {
            let mut command = ffmpeg();
            command.arg("-i").arg(&foreign).args(["-c:v", "libx264", "-preset", "ultrafast", "-crf", "26"]);
            run(command.args(["-c:a", "aac"]).arg(path)).map(drop)
        })?;
        self.repeated(&once, times)
    }

    /// A film `times` one after the other.
    pub(crate) fn repeated(&self, film: &Path, times: u32) -> Result<PathBuf> {
        let name = film.file_stem().unwrap_or_default().to_string_lossy();
        self.made(&format!("{name}-times-{times}.mkv"), |path| {
            let mut command = ffmpeg();
            command.args(["-stream_loop", &(times - 1).to_string(), "-i"]).arg(film);
            run(command.args(["-c", "copy"]).arg(path)).map(drop)
        })
    }

    fn made(&self, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let path = self.folder.join(name);
        if !path.exists() {
            let half = self.folder.join(format!("half-{name}"));
            make(&half)?;
            fs::rename(half, &path)?;
        }
        Ok(path)
    }
}

/// `ffmpeg`, which says errors alone.
pub(crate) fn ffmpeg() -> Command {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-y", "-v", "error"]);
    command
}
