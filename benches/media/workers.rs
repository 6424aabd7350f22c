//! Workers on one film: what several cost together, and how soon the first second plays.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nebula_api::file::File;
use nebula_tests::api::{Api, data, good};
use nebula_tests::binary::run as run_program;
use nebula_tests::process::Process;
use nebula_tests::stack::Stack;
use tokio::time::sleep;

use super::measure::{Usage, median};
use super::sources::Films;
use crate::cpu;
use crate::harness::Harness;

/// Interval of the looks at what is made.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Seconds after which something must have gone wrong.
const LIMIT: Duration = Duration::from_secs(1800);
/// Seconds of the film that somebody waits for.
const WATCHED: u32 = 600;

/// Workers of a round, each bound to a core or to none.
const TEAMS: [(&str, &[Option<usize>]); 3] = [
    ("one worker", &[None]),
    ("two workers", &[None, None]),
    ("two workers, a core each", &[Some(0), Some(1)]),
];

/// Prints both tables.
pub(crate) async fn run(harness: &Harness) -> Result<()> {
    let settings = &harness.settings;
    let films = Films::of(settings.film_seconds)?;
    let film = films.foreign()?;
    println!(
        "\n## Workers on one film of {} s in chunks, medians of {} rounds: ratio to one worker\n",
        settings.film_seconds, settings.rounds
    );
    println!("| | processor time | ratio | duration | ratio |\n|---|---|---|---|---|");
    let mut rounds: [Vec<Usage>; TEAMS.len()] = Default::default();
    for _ in 0..settings.rounds {
        for ((_, team), usages) in TEAMS.iter().zip(&mut rounds) {
            usages.push(together(harness, &film, team).await?);
        }
    }
    let medians = rounds.map(|usages| Usage::median(&usages));
    for ((name, _), usage) in TEAMS.iter().zip(&medians) {
        let [cpu, wall] = [usage.cpu / medians[0].cpu, usage.wall / medians[0].wall];
        println!("| {name} | {:.1} s | {cpu:.2} | {:.1} s | {wall:.2} |", usage.cpu, usage.wall);
    }

    println!("\n## From the end of an upload to the first second that plays, 1080p25 of {WATCHED} s\n");
    println!("| | |\n|---|---|");
    let times = (WATCHED / settings.film_seconds).max(1);
    for (name, film, plays) in [
        (
            "MPEG-4 Part 2: segments of the smallest size and of the sound",
            films.repeated(&film, times)?,
            Plays::Stream,
        ),
        ("H.264 and AAC: start of the MP4", films.friendly(times)?, Plays::Mp4),
    ] {
        let mut seconds = Vec::new();
        for _ in 0..settings.rounds {
            seconds.push(until_it_plays(harness, &film, plays).await?.as_secs_f64());
        }
        println!("| {name} | {:.1} s |", median(seconds));
    }
    Ok(())
}

/// The form in which a film plays first.
#[derive(Debug, Clone, Copy)]
enum Plays {
    Stream,
    Mp4,
}

async fn stack(harness: &Harness) -> Result<(Stack, Api)> {
    let stack = Stack::start_on(harness.cluster.database().await?, "25519").await?;
    let api = stack.admin().await?;
    Ok((stack, api))
}

async fn upload(stack: &Stack, api: &Api, film: &Path) -> Result<File> {
    let bytes = std::fs::read(film)?;
    data(good(api.upload(stack.project, "film.mkv", bytes).await?).await?).await
}

/// Resources of a team of workers until the film and all that belongs to it is made.
async fn together(harness: &Harness, film: &Path, team: &[Option<usize>]) -> Result<Usage> {
    let (stack, api) = stack(harness).await?;
    let mut workers = Vec::new();
    for (n, core) in team.iter().enumerate() {
        let worker = stack.worker(&format!("worker-{n}"), 30)?;
        if let Some(core) = core {
            bind(&worker, *core)?;
        }
        workers.push(worker);
    }
    let spent = || {
        let each = workers.iter().map(|worker| cpu::family(worker.pid().as_raw_pid()));
        each.sum::<Result<f64>>()
    };
    let before = spent()?;
    let file = upload(&stack, &api, film).await?;
    let begun = Instant::now();
    let client = stack.database.connect().await?;
    let jobs = "SELECT FROM nebula.job_waiting UNION ALL SELECT FROM nebula.job_running LIMIT 1";
    until("all jobs to end", || async { Ok(client.query_opt(jobs, &[]).await?.is_none().then_some(())) })
        .await?;
    let wall = begun.elapsed().as_secs_f64();
    let made: File = api.read(&format!("/api/files/{}", file.file_id)).await?;
    ensure!(made.state == "ready", "the film is {}: {:?}", made.state, made.error);
    Ok(Usage { cpu: spent()? - before, wall, peak: 0 })
}

/// Binds all threads of a program, and so its children, to a core.
fn bind(process: &Process, core: usize) -> Result<()> {
    let (core, id) = (core.to_string(), process.pid().as_raw_pid().to_string());
    run_program(Command::new("taskset").args(["--all-tasks", "--cpu-list", "--pid", &core, &id])).map(drop)
}

/// Uploads a film and waits until a player could show its first second.
async fn until_it_plays(harness: &Harness, film: &Path, plays: Plays) -> Result<Duration> {
    let (stack, api) = stack(harness).await?;
    let _worker = stack.worker("worker", 30)?;
    let file = upload(&stack, &api, film).await?;
    let begun = Instant::now();
    let path = format!("/api/files/{}", file.file_id);
    match plays {
        Plays::Stream => fetch_first_segments(&api, &path).await?,
        Plays::Mp4 => {
            let content = format!("{path}/content?rendition=web");
            let start = || async {
                let answer = api.get(&content).header("range", "bytes=0-999999").send().await?;
                anyhow::Ok(if answer.status().is_success() { Some(answer.bytes().await?) } else { None })
            };
            until("the MP4", start).await.map(drop)?;
        }
    }
    Ok(begun.elapsed())
}

/// Fetches the first segments of the smallest size and of the first sound, as a player does.
async fn fetch_first_segments(api: &Api, file: &str) -> Result<()> {
    let text = async |name: &str| {
        let answer = api.get(&format!("{file}/hls/{name}")).send().await?;
        anyhow::Ok(if answer.status().is_success() { Some(answer.text().await?) } else { None })
    };
    let master = until("the playlist", || text("master.m3u8")).await?;
    let smallest = master.lines().rfind(|line| line.ends_with(".m3u8")).context("no size")?.to_owned();
    for list in [smallest.as_str(), "a0.m3u8"] {
        let begins = |line: &&str| line.ends_with(".m4s");
        let segment = until("a segment", || async {
            Ok(text(list).await?.and_then(|list| list.lines().find(begins).map(str::to_owned)))
        });
        let segment = segment.await?;
        let bytes = good(api.get(&format!("{file}/hls/{segment}")).send().await?).await?.bytes().await?;
        ensure!(!bytes.is_empty(), "{segment} is empty");
    }
    Ok(())
}

/// Looks until there is something.
async fn until<T, F>(what: &str, mut look: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        ensure!(begun.elapsed() < LIMIT, "waited {LIMIT:?} for {what}");
        sleep(LOOK_INTERVAL).await;
    }
}
