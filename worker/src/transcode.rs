//! The jobs that make the renditions of an upload. Joins queue, store and media.
//!
//! | kind | work |
//! |---|---|
//! | `transcode` | plans, and converts what has to be copied only |
//! | `transcode-chunk` | a chunk of the picture in all sizes |
//! | `transcode-audio` | all sounds |
//! | `transcode-pictures` | poster, small pictures, subtitles as text |
//! | `transcode-photo` | a preview of an uploaded picture |
//! | `transcode-subtitle` | a file of subtitles as WebVTT |
//! | `transcode-join` | the MP4 for browsers from the chunks |

mod chunk;
mod companion;
mod convert;
mod digest;
mod join;
mod made;
mod pictures;
mod pieces;
mod ranges;
mod rendition;
mod room;
mod software;
mod sound;
mod store;
mod workplace;

use std::sync::Arc;
use std::time::Instant;

use futures::future::BoxFuture;
use nebula_storage::{StoreError, is_no_room};
use serde_json::json;

use crate::media::{MediaError, Progress};
use crate::queue::{Context, Failure, Handler, Job, Outcome, Registry, Retry, Stop};
pub(crate) use workplace::Workplace;

/// The handlers of all kinds.
pub(crate) struct Registries {
    /// Of the kinds that use all cores.
    pub(crate) pictures: Registry,
    /// Of the sound of a film. It takes minutes on one core, while a player that has the first chunk already waits for
    /// the next one.
    pub(crate) sound: Registry,
}

/// The handlers of all kinds.
pub(crate) fn registries(workplace: Workplace) -> Registries {
    let workplace = Arc::new(workplace);
    let with = |registry: Registry, kind: Kind| {
        registry.with(kind.name(), Arc::new(Transcode { workplace: workplace.clone(), kind }))
    };
    Registries {
        pictures: Kind::PICTURES.into_iter().fold(Registry::default(), with),
        sound: with(Registry::default(), Kind::Sound),
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Convert,
    Chunk,
    Sound,
    Pictures,
    Photo,
    Subtitle,
    Join,
}

impl Kind {
    /// All but sound.
    const PICTURES: [Self; 6] =
        [Self::Convert, Self::Chunk, Self::Pictures, Self::Photo, Self::Subtitle, Self::Join];

    /// Name in the queue.
    fn name(self) -> &'static str {
        match self {
            Self::Convert => "transcode",
            Self::Chunk => "transcode-chunk",
            Self::Sound => "transcode-audio",
            Self::Pictures => "transcode-pictures",
            Self::Photo => "transcode-photo",
            Self::Subtitle => "transcode-subtitle",
            Self::Join => "transcode-join",
        }
    }
}

/// Does the jobs of one kind.
struct Transcode {
    workplace: Arc<Workplace>,
    kind: Kind,
}

impl Handler for Transcode {
    fn run(self: Arc<Self>, job: Job, context: Context) -> BoxFuture<'static, Result<Outcome, Failure>> {
        Box::pin(async move {
            match self.kind {
                Kind::Convert => convert::work(&self.workplace, &job, &context).await,
                Kind::Chunk => chunk::work(&self.workplace, &job, &context).await,
                Kind::Sound => sound::work(&self.workplace, &job, &context).await,
                Kind::Pictures => pictures::work(&self.workplace, &job, &context).await,
                Kind::Photo => companion::photo(&self.workplace, &job, &context).await,
                Kind::Subtitle => companion::subtitle(&self.workplace, &job, &context).await,
                Kind::Join => join::work(&self.workplace, &job, &context).await,
            }
        })
    }
}

/// Passes the child's progress on, with an estimate of the time left.
fn report_progress(context: &Context, progress: &Progress, started: Instant, share: f32) {
    let done = progress.progress;
    let left = started.elapsed().as_secs_f32() * (1.0 - done) / done;
    // At the very start the speed so far says nothing about the rest.
    let eta = (done > 0.01).then(|| left.round());
    let detail = json!({"stage": progress.stage, "fps": progress.fps, "etaSeconds": eta});
    context.report(done * share, detail);
}

/// The error of a job that was told to stop; the queue replaces the text by its own reason.
fn stopped(reason: Stop) -> Failure {
    Failure::transient(format!("stopped: {reason:?}"))
}

fn malformed(job: &Job, error: &serde_json::Error) -> Failure {
    Failure::permanent(format!("the payload of job {} cannot be read: {error}", job.id))
}

fn io_failure(action: &str, error: &std::io::Error) -> Failure {
    let message = format!("cannot {action}: {error}");
    if is_no_room(error) {
        room::waits(format!("waits for room: {message}"))
    } else {
        Failure::transient(message)
    }
}

impl From<MediaError> for Failure {
    fn from(error: MediaError) -> Self {
        match error {
            MediaError { message, no_room: true, .. } => room::waits(format!("waits for room: {message}")),
            MediaError { message, permanent: true, .. } => Self::permanent(message),
            MediaError { message, .. } => Self::transient(message),
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        // A missing object does not come back and an invalid key stays invalid; a store that is full or
        // cannot be reached is at fault itself, so the job waits for it.
        let retry = match &error {
            StoreError::NotFound(_) | StoreError::Key(_) => Retry::Never,
            error if error.is_no_room() || error.is_outage() => Retry::Uncounted,
            _ => Retry::Counted,
        };
        let waits_for = match retry {
            Retry::Uncounted if error.is_no_room() => "waits for room: ",
            Retry::Uncounted => "waits for the storage: ",
            _ => "",
        };
        Self { error: format!("{waits_for}{error}"), retry }
    }
}
