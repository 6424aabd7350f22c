//! One file: begins or goes on, waits where the connection is lost, and compares checksums at the end.

use std::sync::Arc;
use std::time::Duration;

use nebula_api::file::File;
use tokio::time::{Instant, interval, sleep};
use uuid::Uuid;

use super::journal::{Journal, Note};
use super::pace::Pace;
use super::progress::{Meter, Progress};
use super::reader::Reader;
use super::source::Source;
use super::tus::{self, Known, Place};
use crate::client::Client;
use crate::command::file;
use crate::error::{Code, Doing, Error, Result};
use crate::retry::{Retry, RetryOptions};

/// A connection that takes no byte for this time is considered dead.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// The settings that all files of one command share.
pub(super) struct Target<'a> {
    pub(super) client: &'a Client,
    pub(super) project: Uuid,
    pub(super) journal: Journal,
    pub(super) retry: RetryOptions,
    pub(super) pace: Arc<Pace>,
}

/// A file that is at the gateway.
pub(super) struct Uploaded {
    pub(super) file: File,
    pub(super) known: Option<Known>,
}

impl Target<'_> {
    /// Uploads a file. An upload that cannot go on now is kept for the next run.
    pub(super) async fn upload(
        &self,
        source: &Source,
        progress: &Progress,
        meter: &Arc<Meter>,
    ) -> Result<Uploaded> {
        let mut note = self.journal.note(source)?;
        let reader = Reader::new(source, &self.pace);
        let mut retry = Retry::new(self.retry);
        loop {
            source.check_unchanged()?;
            let error = match self.attempt(source, &mut note, &reader, meter).await {
                Ok(uploaded) => {
                    note.forget();
                    // If it was changed meanwhile, its bytes may be of two versions.
                    source.check_unchanged()?;
                    return Ok(uploaded);
                }
                Err(error) => error,
            };
            let Some(delay) = retry.after(&error, meter.confirmed()) else {
                note.leave();
                return Err(error);
            };
            progress.waiting(source, &error.to_string(), delay);
            sleep(delay).await;
        }
    }

    /// Sends what is missing on one connection.
    async fn attempt(
        &self,
        source: &Source,
        note: &mut Note,
        reader: &Reader,
        meter: &Arc<Meter>,
    ) -> Result<Uploaded> {
        let kept = match note.url() {
            Some(url) => tus::place(self.client, &url).await?.map(|place| (url, place)),
            None => None,
        };
        let (url, place) = match kept {
            Some(kept) => kept,
            None => {
                let begun = tus::create(self.client, self.project, source).await?;
                if let Some(known) = begun.same_name {
                    return self.compare(source, reader, &begun.url, known).await;
                }
                note.keep(source, &begun.url)?;
                (begun.url, Place { offset: 0, file: None, known: None })
            }
        };
        meter.at(place.offset);
        let place = if place.file.is_none() && place.offset < source.size {
            let hashed = reader.hash_to(place.offset).await;
            hashed.doing(|| format!("read {}", source.path.display()))?;
            self.send(source, reader, &url, place.offset, meter).await?
        } else {
            place
        };
        meter.at(place.offset);
        let Some(file_id) = place.file else {
            let detail = format!("the server has all bytes of {} and made no file of them", source.name);
            return Err(Error::new(Code::Unreachable, detail).hint("Run the same command again."));
        };
        self.verify(source, reader, file_id, place.known).await
    }

    /// Sends the bytes from an offset on; a connection on which nothing moves is given up.
    async fn send(
        &self,
        source: &Source,
        reader: &Reader,
        url: &str,
        offset: u64,
        meter: &Arc<Meter>,
    ) -> Result<Place> {
        let body = || reader.body(offset, meter);
        let sending = tus::append(self.client, url, (offset, source.size - offset), body);
        tokio::pin!(sending);
        let (mut seen, mut moved) = (offset, Instant::now());
        let mut watch = interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                place = &mut sending => return place,
                _ = watch.tick() => {}
            }
            let now = meter.position();
            if now != seen {
                (seen, moved) = (now, Instant::now());
            }
            let timeout = if now < source.size { STALL_TIMEOUT } else { tus::answer_timeout() };
            if moved.elapsed() > timeout {
                let detail = format!("the connection took nothing for {} s", timeout.as_secs());
                return Err(Error::new(Code::Unreachable, detail).hint(AGAIN));
            }
        }
    }

    /// Compares the file with one of the same name and size, so that no byte is sent for nothing.
    async fn compare(&self, source: &Source, reader: &Reader, url: &str, known: Uuid) -> Result<Uploaded> {
        tus::end(self.client, url).await?;
        let file = file::by_id(self.client, known).await?;
        let sha256 = reader.sha256().await.doing(|| format!("read {}", source.path.display()))?;
        if file.sha256.eq_ignore_ascii_case(&sha256) {
            return Ok(Uploaded { file, known: Some(Known::File) });
        }
        let detail = format!("a file named \"{}\" with other content exists", source.shown());
        Err(Error::new(Code::AlreadyExists, detail).hint("Rename one of them, or delete the old one first."))
    }

    /// Compares what arrived with what was read.
    async fn verify(
        &self,
        source: &Source,
        reader: &Reader,
        file_id: Uuid,
        known: Option<Known>,
    ) -> Result<Uploaded> {
        let file = file::by_id(self.client, file_id).await?;
        let sha256 = reader.sha256().await.doing(|| format!("read {}", source.path.display()))?;
        if !file.sha256.eq_ignore_ascii_case(&sha256) {
            let detail = format!("the gateway has other bytes of {} than this disk", source.path.display());
            return Err(Error::new(Code::Damaged, detail)
                .hint("It was changed meanwhile: delete it there (nebulactl rm) and upload it again."));
        }
        Ok(Uploaded { file, known })
    }
}

const AGAIN: &str = "Run the same command again; it goes on where it stopped.";
