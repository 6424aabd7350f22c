//! `transcode-join`: the MP4 for browsers from the chunks of the largest size and the stereo sounds.

use std::path::Path;
use std::time::Instant;

use futures::StreamExt;
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio_postgres::types::Type;

use super::convert::{CONVERT_SHARE, store_web};
use super::workplace::{Upload, Workplace};
use super::{io_failure, malformed, report_progress, store};
use crate::media::{Event, JoinTask, JoinTrack, Joined, Size, Sound, Summary, Task, sentences};
use crate::queue::{Context, Failure, Job, Outcome};

#[derive(Deserialize)]
struct Payload {
    #[serde(flatten)]
    upload: Upload,
    variants: Vec<Size>,
    sounds: Vec<Sound>,
    summary: Summary,
}

/// A chunk in the store.
struct Chunk {
    variant: String,
    key: String,
    size: u64,
    init: Vec<u8>,
}

pub(super) async fn work(workplace: &Workplace, job: &Job, context: &Context) -> Result<Outcome, Failure> {
    let payload = Payload::deserialize(&job.payload).map_err(|error| malformed(job, &error))?;
    let Payload { upload, variants, sounds, summary } = payload;
    let largest = variants.first().ok_or_else(|| Failure::permanent("the plan has no picture"))?;
    let stereo = sounds.iter().filter(|sound| sound.channels == 2);
    let tracks: Vec<(&str, Option<&Sound>)> = std::iter::once((largest.name.as_str(), None))
        .chain(stereo.map(|sound| (sound.name.as_str(), Some(sound))))
        .collect();
    let chunks = chunks(&upload, &tracks, job, context).await?;
    let total: u64 = chunks.iter().map(|chunk| chunk.size).sum();
    let size = workplace.store.size(&upload.key).await?;
    let room = workplace.room.take(job.id, total, total * 2).await?;
    store::delete_earlier(&workplace.store, upload.content_id, job).await?;
    let bench = workplace.bench(&upload, size, "web.mp4")?;
    let folder = bench.make_folder("pieces")?;
    let mut task = JoinTask { tracks: Vec::new() };
    for (name, sound) in tracks {
        let own: Vec<_> = chunks.iter().filter(|chunk| chunk.variant == name).collect();
        // A sound may hold nothing that could be decoded.
        if own.is_empty() {
            continue;
        }
        let file = format!("{name}.mp4");
        gather(workplace, &own, &folder.join(&file)).await?;
        let label = sound.and_then(|sound| sound.label.clone());
        let language = sound.and_then(|sound| sound.language.clone());
        task.tracks.push(JoinTrack { file, language, label });
    }
    let started = Instant::now();
    let tell = |event| match event {
        Event::Progress(progress) => report_progress(context, &progress, started, CONVERT_SHARE),
        Event::Piece(_) => {}
    };
    let joined: Joined =
        workplace.run(&bench, &Task::Join(task), Some(&folder), &room, context, tell).await?;
    let summary = summary_of(summary, joined);
    let rendition = store_web(workplace, upload.content_id, &bench, job, &summary, context).await?;
    room.forget();
    Ok(Outcome { result: rendition.detail.clone(), record: Some(Box::new(rendition)) })
}

/// The chunks of these variants in order. Fails when there are none of the picture: then they were deleted.
async fn chunks(
    upload: &Upload,
    tracks: &[(&str, Option<&Sound>)],
    job: &Job,
    context: &Context,
) -> Result<Vec<Chunk>, Failure> {
    let names: Vec<&str> = tracks.iter().map(|(name, _)| *name).collect();
    let sql =
        "SELECT variant, storage_key, size, init FROM nebula.list_chunks($1, $2, $3, $4) ORDER BY variant, n";
    let rows = context
        .read(
            sql,
            &[
                (&job.id, Type::INT8),
                (&job.attempt, Type::INT4),
                (&upload.content_id, Type::UUID),
                (&names, Type::TEXT_ARRAY),
            ],
        )
        .await?;
    let read = |row: &tokio_postgres::Row| {
        Ok(Chunk {
            variant: row.try_get(0)?,
            key: row.try_get(1)?,
            size: row.try_get::<_, i64>(2)?.unsigned_abs(),
            init: row.try_get(3)?,
        })
    };
    let chunks: Result<Vec<_>, tokio_postgres::Error> = rows.iter().map(read).collect();
    let chunks = chunks.map_err(|error| Failure::transient(format!("cannot read the chunks: {error}")))?;
    match chunks.iter().any(|chunk| names.first() == Some(&chunk.variant.as_str())) {
        true => Ok(chunks),
        false => Err(Failure::permanent("the film has no chunks: it was deleted")),
    }
}

/// Writes the chunks of a variant into one file.
async fn gather(workplace: &Workplace, chunks: &[&Chunk], path: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| io_failure("gather the chunks", &error);
    let mut file = File::create(path).await.map_err(failed)?;
    if let Some(first) = chunks.first() {
        file.write_all(&first.init).await.map_err(failed)?;
    }
    for chunk in chunks {
        let mut bytes = workplace.store.read(&chunk.key, 0..chunk.size);
        while let Some(part) = bytes.next().await {
            file.write_all(&part?).await.map_err(failed)?;
        }
    }
    file.flush().await.map_err(failed)
}

/// The plan's summary with the length that was made, and a warning when that is less than the upload names.
fn summary_of(planned: Summary, joined: Joined) -> Summary {
    let (whole, made) = (planned.duration_seconds, joined.duration_seconds);
    let is_short = !joined.has_jumped && made < whole - (whole * 0.02).max(0.5);
    let early = is_short.then(|| format!("the input ends early: {made:.1} s of {whole:.1} s are there"));
    let mut summary = Summary { duration_seconds: made, ..planned };
    for warning in joined.warnings.into_iter().chain(early) {
        summary.sentences.push(sentences::sentence(&warning));
        summary.warnings.push(warning);
    }
    summary
}
