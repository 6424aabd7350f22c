//! `transcode-audio`: all sounds of a film. Each piece is stored and recorded as soon as it is complete, so that a film
//! can be watched while its sound is made.

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::malformed;
use super::pieces;
use super::workplace::{Upload, Workplace};
use crate::media::{Event, Piece, SoundTask, Task};
use crate::queue::{Context, Failure, Job, Outcome, Record};

#[derive(Deserialize)]
struct Payload {
    #[serde(flatten)]
    upload: Upload,
    #[serde(flatten)]
    task: SoundTask,
}

pub(super) async fn work(workplace: &Workplace, job: &Job, context: &Context) -> Result<Outcome, Failure> {
    let Payload { upload, task } =
        Payload::deserialize(&job.payload).map_err(|error| malformed(job, &error))?;
    let size = workplace.store.size(&upload.key).await?;
    let room = workplace.room.take(job.id, 0, size / 10).await?;
    let bench = workplace.bench(&upload, size, "sound.m4s")?;
    let names: Vec<_> = task.sounds.iter().map(|sound| sound.name.clone()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let (sender, mut made) = mpsc::unbounded_channel::<Piece>();
    let tell = move |event| match event {
        Event::Progress(progress) => {
            context.report(progress.progress * 0.98, json!({"stage": progress.stage}));
        }
        // The receiver is dropped only with this job.
        Event::Piece(piece) => drop(sender.send(piece)),
    };
    let task = Task::Sound(task);
    let encode = workplace.run::<Value>(&bench, &task, None, &room, context, tell);
    let keep = async {
        while let Some(piece) = made.recv().await {
            let folder = bench.outputs();
            let stored =
                pieces::store_all(workplace, upload.content_id, job, folder, vec![piece], &names, context);
            let stored = stored.await?;
            if let Err(failure) = context.record(&stored).await {
                Box::new(stored).discard().await;
                return Err(failure);
            }
        }
        Ok(())
    };
    tokio::try_join!(encode, keep)?;
    room.forget();
    Ok(Outcome { result: json!({"sounds": names.len()}), record: None })
}
