//! `transcode`: plans the renditions of an upload. An upload whose picture browsers play as it is becomes their MP4
//! at once, since that takes no longer than copying it.

use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::digest::digest;
use super::rendition::Rendition;
use super::room::TakenRoom;
use super::workplace::{Bench, Upload, Workplace};
use super::{malformed, report_progress, store};
use crate::media::{Event, MediaPlan, Summary, Task, WebFrom, sentences};
use crate::queue::{Context, Failure, Job, Outcome, Record};

/// Share of the progress bar that the conversion takes; hashing and storing take the rest.
pub(super) const CONVERT_SHARE: f32 = 0.96;
/// Progress when the output is hashed and about to be stored.
pub(super) const STORE_PROGRESS: f32 = 0.98;

pub(super) async fn work(workplace: &Workplace, job: &Job, context: &Context) -> Result<Outcome, Failure> {
    let mut upload = Upload::deserialize(&job.payload).map_err(|error| malformed(job, &error))?;
    if failed_often(job, context).await? {
        // A driver may have crashed the process that tried the device.
        upload.software.get_or_insert_with(|| "earlier attempts failed".to_owned());
    }
    let size = workplace.store.size(&upload.key).await?;
    let room = workplace.room.take(job.id, 0, size).await?;
    store::delete_earlier(&workplace.store, upload.content_id, job).await?;
    let bench = workplace.bench(&upload, size, "web.mp4")?;
    let mut plan: MediaPlan = workplace.run(&bench, &Task::Plan, None, &room, context, |_| {}).await?;
    if let Some(reason) = &upload.software {
        plan.method.reasons = vec![reason.clone()];
    }
    plan.summary.sentences = sentences::film(&plan, &plan.summary);
    let rendition = match plan.web {
        WebFrom::Made => Some(convert(workplace, &upload, &bench, &plan, job, &room, context).await?),
        WebFrom::Join => None,
    };
    room.forget();
    let result = rendition.as_ref().map_or_else(|| json!(plan.summary), |made| made.detail.clone());
    let planned = Planned { content_id: upload.content_id, plan: json!(plan), rendition };
    Ok(Outcome { result, record: Some(Box::new(planned)) })
}

/// Whether two attempts have failed. Those that waited, for room or in a pause, took nothing from the five that a job
/// begins with.
async fn failed_often(job: &Job, context: &Context) -> Result<bool, Failure> {
    const LEFT_AFTER_TWO: i32 = 2;
    if job.attempt < 3 {
        return Ok(false);
    }
    let sql = "SELECT nebula.attempts_left($1, $2)";
    let rows = context.read(sql, &[(&job.id, Type::INT8), (&job.attempt, Type::INT4)]).await?;
    let left = rows.first().map(|row| row.try_get::<_, i32>(0)).transpose();
    let left = left.map_err(|error| Failure::transient(format!("cannot read the attempts: {error}")))?;
    Ok(left.is_some_and(|left| left <= LEFT_AFTER_TWO))
}

/// Makes the MP4 for browsers and stores it.
async fn convert(
    workplace: &Workplace,
    upload: &Upload,
    bench: &Bench,
    plan: &MediaPlan,
    job: &Job,
    room: &TakenRoom<'_>,
    context: &Context,
) -> Result<Rendition, Failure> {
    let started = Instant::now();
    let tell = |event| match event {
        Event::Progress(progress) => report_progress(context, &progress, started, CONVERT_SHARE),
        Event::Piece(_) => {}
    };
    let mut summary: Summary = workplace.run(bench, &Task::Convert, None, room, context, tell).await?;
    summary.sentences = sentences::film(plan, &summary);
    store_web(workplace, upload.content_id, bench, job, &summary, context).await
}

/// Stores a finished MP4 for browsers.
pub(super) async fn store_web(
    workplace: &Workplace,
    content_id: Uuid,
    bench: &Bench,
    job: &Job,
    summary: &Summary,
    context: &Context,
) -> Result<Rendition, Failure> {
    context.report(CONVERT_SHARE, json!({"stage": "hash"}));
    let digest = digest(bench.output.clone()).await?;
    context.report(STORE_PROGRESS, json!({"stage": "store"}));
    let key = store::output_key(content_id, job.id, job.attempt);
    workplace.room.check_store(digest.size.unsigned_abs()).await?;
    store::put(&workplace.store, &key, &bench.output, context).await?;
    let (size, warnings) = (digest.size, summary.warnings.len());
    tracing::info!(job = job.id, key, size, decision = %summary.decision, warnings, "stored");
    Ok(Rendition::web(workplace.store.clone(), content_id, key, digest, summary))
}

/// The plan, and the MP4 for browsers if it is made already.
struct Planned {
    content_id: Uuid,
    plan: Value,
    rendition: Option<Rendition>,
}

impl Record for Planned {
    fn write<'a>(
        &'a self,
        job: &'a Job,
        transaction: &'a Transaction<'a>,
    ) -> BoxFuture<'a, Result<(), tokio_postgres::Error>> {
        async move {
            if let Some(rendition) = &self.rendition {
                rendition.write(job, transaction).await?;
            }
            let sql = "SELECT nebula.plan_renditions($1, $2, $3, $4)";
            let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
                (&job.id, Type::INT8),
                (&job.attempt, Type::INT4),
                (&self.content_id, Type::UUID),
                (&self.plan, Type::JSONB),
            ];
            transaction.query_typed(sql, &parameters).await.map(drop)
        }
        .boxed()
    }

    fn discard(self: Box<Self>) -> BoxFuture<'static, ()> {
        match self.rendition {
            Some(rendition) => Box::new(rendition).discard(),
            None => async {}.boxed(),
        }
    }
}
