//! `transcode-pictures`: the poster, small pictures to seek by, and subtitles as text.

use serde::Deserialize;
use serde_json::json;

use super::made::{self, Made};
use super::malformed;
use super::workplace::{Upload, Workplace};
use crate::media::{Event, Pictures, PicturesTask, Task, sentences};
use crate::queue::{Context, Failure, Job, Outcome};

/// Twice the bytes of all files, at least and at most: the room of a job counts half of what it is told.
const ROOM: (u64, u64) = (1 << 20, 16 << 20);
/// Share of the progress bar before the files are stored.
const MAKE_SHARE: f32 = 0.95;
/// Sheets of small pictures; the media process makes fewer.
const MAX_SHEETS: u32 = 100;

#[derive(Deserialize)]
struct Payload {
    #[serde(flatten)]
    upload: Upload,
    #[serde(flatten)]
    task: PicturesTask,
}

pub(super) async fn work(workplace: &Workplace, job: &Job, context: &Context) -> Result<Outcome, Failure> {
    let Payload { upload, task } =
        Payload::deserialize(&job.payload).map_err(|error| malformed(job, &error))?;
    let size = workplace.store.size(&upload.key).await?;
    let room = workplace.room.take(job.id, 0, (size / 4).clamp(ROOM.0, ROOM.1)).await?;
    let bench = workplace.bench(&upload, size, "pictures")?;
    let tell = |event| match event {
        Event::Progress(progress) => {
            context.report(progress.progress * MAKE_SHARE, json!({"stage": progress.stage}));
        }
        Event::Piece(_) => {}
    };
    let work = Task::Pictures(task.clone());
    let pictures: Pictures = workplace.run(&bench, &work, None, &room, context, tell).await?;
    room.forget();
    context.report(MAKE_SHARE, json!({"stage": "store"}));
    let stored = made::store_all(workplace, &upload, &bench, job, files(&pictures, &task), context).await?;
    Ok(Outcome { result: json!(pictures), record: Some(Box::new(stored)) })
}

/// The files by what the media process says, which parsed untrusted bytes: their names are made here.
fn files(pictures: &Pictures, task: &PicturesTask) -> Vec<Made> {
    let made = |kind: String, file: String, content_type, detail| Made { kind, file, content_type, detail };
    let mut files = Vec::new();
    if let Some((width, height)) = pictures.poster {
        let told: Vec<_> = pictures.warnings.iter().map(|warning| sentences::sentence(warning)).collect();
        let mut detail = json!({"width": width, "height": height, "warnings": pictures.warnings});
        if !told.is_empty() {
            detail["sentences"] = json!(told);
        }
        files.push(made("poster".to_owned(), "poster.jpg".to_owned(), "image/jpeg", detail));
    }
    if let Some(sprites) = pictures.sprites {
        for sheet in 0..sprites.sheets.min(MAX_SHEETS) {
            let (kind, file) = (format!("sprites-{sheet}"), format!("sprites-{sheet}.jpg"));
            files.push(made(kind, file, "image/jpeg", json!({})));
        }
        files.push(made("sprites-vtt".to_owned(), "sprites.vtt".to_owned(), "text/vtt", json!(sprites)));
    }
    for (name, cues) in &pictures.subtitles {
        let Some(subtitle) = task.subtitles.iter().find(|subtitle| subtitle.name == *name) else { continue };
        let detail = json!({
            "language": subtitle.language, "label": subtitle.label, "forced": subtitle.forced, "cues": cues,
        });
        files.push(made(subtitle.name.clone(), format!("{}.vtt", subtitle.name), "text/vtt", detail));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Sprites, Subtitle};

    #[test]
    fn only_files_that_were_asked_for_are_stored() {
        let subtitle = |name: &str| Subtitle {
            name: name.to_owned(),
            stream: 2,
            language: Some("ger".to_owned()),
            label: None,
            forced: true,
        };
        let task = PicturesTask { subtitles: vec![subtitle("subtitle-0"), subtitle("subtitle-1")] };
        let pictures = Pictures {
            poster: Some((640, 360)),
            sprites: Some(Sprites { sheets: 2, pictures: 101, width: 160, height: 90, interval: 2.0 }),
            subtitles: vec![("subtitle-1".to_owned(), 3), ("../../etc/passwd".to_owned(), 1)],
            warnings: Vec::new(),
        };
        let files: Vec<_> = files(&pictures, &task).into_iter().map(|made| made.file).collect();
        assert_eq!(files, ["poster.jpg", "sprites-0.jpg", "sprites-1.jpg", "sprites.vtt", "subtitle-1.vtt"]);
    }
}
