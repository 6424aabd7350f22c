//! kill -9 of every process while films are uploaded and made: gateway, worker, media process, a session of the
//! database, the whole database. All films end intact and playable.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nebula_api::file::File;
use nebula_tests::binary::{built, run};
use nebula_tests::cluster::Cluster;
use nebula_tests::process::Process;
use nebula_tests::stack::Stack;
use nebula_tests::{eventually, media, rounds};
use rustix::process::{Pid, Signal, kill_process};
use sha2::{Digest, Sha256};

/// Three seconds in a form that no browser plays, another one for each title.
const CLIP: &str = "-v error -y -f lavfi -i testsrc2=size=320x180:rate=25:duration=3 \
    -f lavfi -i sine=frequency=440:sample_rate=48000:duration=3 -c:v mpeg4 -q:v 3 -g 25 -c:a flac";
const SECONDS: f64 = 3.0;

#[derive(Debug, Clone, Copy)]
enum Victim {
    Worker,
    MediaProcess,
    Gateway,
    Session,
    Database,
}

/// One of each, so that the short form of the test leaves none out.
const VICTIMS: [Victim; 5] =
    [Victim::Worker, Victim::MediaProcess, Victim::Gateway, Victim::Session, Victim::Database];

/// All that runs.
struct System {
    cluster: Cluster,
    stack: Stack,
    worker: Process,
    hired: usize,
}

impl System {
    async fn start() -> Result<Self> {
        let cluster = Cluster::start(&[]).await?;
        let stack = Stack::start_on(cluster.database().await?, "25519").await?;
        // Signs in, so that uploads need no gateway to begin.
        stack.ctl()?;
        let worker = stack.worker("worker 0", 3)?;
        Ok(Self { cluster, stack, worker, hired: 0 })
    }

    /// Starts the upload of another clip, which takes a second.
    fn upload(&self, number: usize) -> Result<(PathBuf, Process)> {
        let clip = self.stack.path(&format!("clip-{number}.mkv"));
        let title = format!("title={number}");
        run(Command::new("ffmpeg").args(CLIP.split_whitespace()).args(["-metadata", &title]).arg(&clip))?;
        let rate = (clip.metadata()?.len() / 1024).max(1);
        let upload =
            Process::start(&built("nebulactl")?, &self.stack.log("upload"), "KILL", None, |command| {
                for folder in ["config", "state"] {
                    command.env(format!("XDG_{}_HOME", folder.to_uppercase()), self.stack.path(folder));
                }
                command.env("NEBULA_SERVER", self.stack.url());
                command.args(["upload", "--limit-rate", &format!("{rate}K")]).arg(&clip);
            })?;
        Ok((clip, upload))
    }

    /// Kills, and starts again what does not do so by itself.
    async fn strike(&mut self, victim: Victim) -> Result<()> {
        match victim {
            Victim::Worker => {
                self.worker.kill()?;
                self.hired += 1;
                self.worker = self.stack.worker(&format!("worker {}", self.hired), 3)?;
            }
            Victim::MediaProcess => {
                let parent = self.worker.pid().as_raw_nonzero().to_string();
                let child = eventually("a media process", || async {
                    let children = Command::new("pgrep").args(["-P", &parent]).output()?;
                    let first =
                        String::from_utf8(children.stdout)?.lines().next().map(str::parse).transpose()?;
                    Ok(first.and_then(Pid::from_raw))
                })
                .await?;
                // One that has ended by itself cannot be killed.
                let _ = kill_process(child, Signal::KILL);
            }
            Victim::Gateway => {
                self.stack.kill_gateway()?;
                self.stack.start_gateway().await?;
            }
            Victim::Session => {
                let observer = self.stack.database.connect().await?;
                let any = "SELECT pid FROM pg_stat_activity
                            WHERE datname = current_database() AND pid <> pg_backend_pid()
                            ORDER BY random() LIMIT 1";
                if let Some(row) = observer.query_opt(any, &[]).await?
                    && self.cluster.kill_backend(row.get(0))?
                {
                    eventually("the server to notice", || async {
                        Ok(observer.simple_query("SELECT").await.is_err().then_some(()))
                    })
                    .await?;
                    self.cluster.answers().await?;
                }
            }
            Victim::Database => {
                self.cluster.crash().await?;
                self.cluster.resume().await?;
            }
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn films_end_intact_and_playable_whatever_is_killed() -> Result<()> {
    let mut system = System::start().await?;
    let mut clips = Vec::new();
    let cycles = rounds(VICTIMS.len(), 50);
    for cycle in 0..cycles {
        clips.push(system.upload(cycle)?);
        // No event to wait for: the end must come at a random moment of the upload or of the making.
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..1200))).await;
        let random = || VICTIMS[rand::random_range(0..VICTIMS.len())];
        let victim = VICTIMS.get(cycle).copied().unwrap_or_else(random);
        system.strike(victim).await.with_context(|| format!("cycle {cycle}: {victim:?}"))?;
        println!("cycle {cycle}: killed {victim:?}");
    }
    let stack = &system.stack;
    let log = |name: &str| fs::read_to_string(stack.log(name)).unwrap_or_default();
    for (clip, upload) in &mut clips {
        assert_eq!(upload.wait()?, Some(0), "{}: {}", clip.display(), log("upload"));
    }
    let api = stack.admin().await?;
    for (clip, _) in &clips {
        let name = clip.file_name().context("no name")?.to_string_lossy();
        let file: File = api.settled(&name).await?;
        assert_eq!(
            file.state,
            "ready",
            "{name}: {:?}\n{}",
            file.error,
            log(&format!("worker {}", system.hired))
        );
        assert_eq!(file.sha256, hex::encode(Sha256::digest(fs::read(clip)?)), "{name}");
        for (rendition, path) in [("--original", "original.mkv"), ("", "web.mp4")] {
            let path = stack.path(path);
            let mut get = stack.ctl()?;
            get.args(["get", "--quiet", &name, "-o"]).arg(&path);
            if !rendition.is_empty() {
                get.arg(rendition);
            }
            run(&mut get)?;
            let shown = media::duration(&media::probe(&path)?)?;
            ensure!((shown - SECONDS).abs() < 0.1, "{name}: {shown} s");
            run(Command::new("ffmpeg")
                .args(["-v", "error", "-xerror", "-i"])
                .arg(&path)
                .args(["-f", "null", "-"]))?;
            fs::remove_file(path)?;
        }
    }
    let client = stack.database.connect().await?;
    let objects = "SELECT storage_key, size FROM nebula.content UNION ALL SELECT storage_key, size FROM nebula.rendition
                    UNION ALL SELECT storage_key, size FROM nebula.chunk";
    for row in client.query(objects, &[]).await? {
        let (key, size): (&str, i64) = (row.get(0), row.get(1));
        let there = stack.store().join(key).metadata().with_context(|| key.to_owned())?.len();
        assert_eq!(there, size.unsigned_abs(), "{key} is whole");
    }
    Ok(())
}
