//! `transcode-photo` and `transcode-subtitle`: what is made of files that are no films: a preview of a picture, and
//! WebVTT of subtitles. A file that cannot be read stays a file, with the reason.

use futures::FutureExt;
use futures::future::BoxFuture;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_postgres::Transaction;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::made::{self, Made, Stored};
use super::malformed;
use super::workplace::{Bench, Upload, Workplace};
use crate::media::{Photo, Task, Text, TextTask, sentences};
use crate::queue::{Context, Failure, Job, Outcome, Record, Retry};

/// Bytes of room that a job takes.
const ROOM: u64 = 8 << 20;

#[derive(Deserialize)]
struct Payload {
    #[serde(flatten)]
    upload: Upload,
    #[serde(flatten)]
    text: TextTask,
}

/// A preview of a picture.
pub(super) async fn photo(workplace: &Workplace, job: &Job, context: &Context) -> Result<Outcome, Failure> {
    let nothing = "the picture has no preview";
    make(
        workplace,
        job,
        context,
        nothing,
        |_| Task::Photo,
        |photo: &Photo| {
            let (width, height) = photo.preview;
            let made = Made {
                kind: "poster".to_owned(),
                file: "poster.jpg".to_owned(),
                content_type: "image/jpeg",
                detail: json!({"width": width, "height": height, "warnings": []}),
            };
            (made, sentences::photo(photo))
        },
    )
    .await
}

/// Subtitles as WebVTT.
pub(super) async fn subtitle(
    workplace: &Workplace,
    job: &Job,
    context: &Context,
) -> Result<Outcome, Failure> {
    let nothing = "films do not show these subtitles";
    make(workplace, job, context, nothing, Task::Text, |text: &Text| {
        let made = Made {
            kind: "subtitle".to_owned(),
            file: "subtitle.vtt".to_owned(),
            content_type: "text/vtt",
            detail: json!({"cues": text.cues, "format": text.format}),
        };
        (made, sentences::text(text))
    })
    .await
}

/// Runs the task; `tell` says what it made, and `nothing` what is not there when the file cannot be read.
async fn make<T: DeserializeOwned>(
    workplace: &Workplace,
    job: &Job,
    context: &Context,
    nothing: &str,
    task: impl FnOnce(TextTask) -> Task,
    tell: impl FnOnce(&T) -> (Made, Vec<String>),
) -> Result<Outcome, Failure> {
    let Payload { upload, text } =
        Payload::deserialize(&job.payload).map_err(|error| malformed(job, &error))?;
    let size = workplace.store.size(&upload.key).await?;
    let room = workplace.room.take(job.id, 0, ROOM).await?;
    let bench: Bench = workplace.bench(&upload, size, "companion")?;
    let made = workplace.run::<T>(&bench, &task(text), None, &room, context, |_| {}).await;
    room.forget();
    let (stored, told) = match made {
        Ok(made) => {
            let (file, told) = tell(&made);
            (made::store_all(workplace, &upload, &bench, job, vec![file], context).await?, told)
        }
        Err(failure) if failure.retry == Retry::Never => {
            (Stored::default(), sentences::unread(nothing, &failure.error))
        }
        Err(failure) => return Err(failure),
    };
    let media = json!({"summary": {"sentences": told, "warnings": []}});
    let described = Described { stored, content_id: upload.content_id, media: media.clone() };
    Ok(Outcome { result: media, record: Some(Box::new(described)) })
}

/// The file that was made, and the summary of the upload.
struct Described {
    stored: Stored,
    content_id: Uuid,
    media: Value,
}

impl Record for Described {
    fn write<'a>(
        &'a self,
        job: &'a Job,
        transaction: &'a Transaction<'a>,
    ) -> BoxFuture<'a, Result<(), tokio_postgres::Error>> {
        async move {
            let sql = "SELECT nebula.describe_content($1, $2, $3, $4)";
            let parameters: [(&(dyn ToSql + Sync), Type); 4] = [
                (&job.id, Type::INT8),
                (&job.attempt, Type::INT4),
                (&self.content_id, Type::UUID),
                (&self.media, Type::JSONB),
            ];
            transaction.query_typed(sql, &parameters).await?;
            self.stored.write(job, transaction).await
        }
        .boxed()
    }

    fn discard(self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::new(self.stored).discard()
    }
}
