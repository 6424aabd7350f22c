//! `transcode-chunk`: a chunk of the picture in all sizes.

use std::time::Instant;

use futures::FutureExt;
use serde::Deserialize;
use serde_json::json;

use super::workplace::{Upload, Workplace};
use super::{malformed, report_progress};
use super::{pieces, software};
use crate::media::{ChunkTask, Encoder, Event, Piece, Task};
use crate::queue::{Context, Failure, Job, Outcome, Retry};

/// Seconds that are assumed for a chunk that ends with the film.
const UNKNOWN_LENGTH: f64 = 60.0;
/// Share of the progress bar that encoding takes.
const ENCODE_SHARE: f32 = 0.95;

#[derive(Deserialize)]
struct Payload {
    #[serde(flatten)]
    upload: Upload,
    #[serde(flatten)]
    task: ChunkTask,
}

pub(super) async fn work(workplace: &Workplace, job: &Job, context: &Context) -> Result<Outcome, Failure> {
    let Payload { upload, task } =
        Payload::deserialize(&job.payload).map_err(|error| malformed(job, &error))?;
    let size = workplace.store.size(&upload.key).await?;
    let room = workplace.room.take(job.id, 0, estimate(&task)).await?;
    let bench = workplace.bench(&upload, size, "chunk.m4s")?;
    let started = Instant::now();
    let tell = |event| match event {
        Event::Progress(progress) => report_progress(context, &progress, started, ENCODE_SHARE),
        Event::Piece(_) => {}
    };
    let names: Vec<_> = task.variants.iter().map(|size| size.name.clone()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let n = task.chunk.n;
    let encoder = task.method.encoder;
    let made = workplace.run::<Vec<Piece>>(&bench, &Task::Chunk(task), None, &room, context, tell).await;
    room.forget();
    let pieces = match made {
        Ok(pieces) => pieces,
        // What waits for room or the storage, or is to stop, says nothing of the device.
        Err(failure)
            if encoder != Encoder::Software
                && failure.retry != Retry::Uncounted
                && context.stopped().now_or_never().is_none() =>
        {
            tracing::warn!(job = job.id, ?encoder, "the device failed: {}", failure.error);
            return Ok(software::plan_again(upload.content_id, failure.error));
        }
        Err(failure) => return Err(failure),
    };
    context.report(ENCODE_SHARE, json!({"stage": "store"}));
    let stored =
        pieces::store_all(workplace, upload.content_id, job, bench.outputs(), pieces, &names, context);
    Ok(Outcome { result: json!({"chunk": n}), record: Some(Box::new(stored.await?)) })
}

/// Twice the bytes of the pieces at their highest rates: the room of a job counts half of what it is told.
fn estimate(task: &ChunkTask) -> u64 {
    let seconds = task.chunk.to.map_or(UNKNOWN_LENGTH, |to| to - task.chunk.from);
    let bits: f64 = task.variants.iter().map(|size| f64::from(size.maxrate) * seconds).sum();
    (bits / 4.0) as u64
}
