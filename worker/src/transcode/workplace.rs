//! The places that jobs work in: store, scratch folder, room, and the media process.

use std::path::{Path, PathBuf};

use nebula_storage::{Disk, Store};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use super::room::{TakenRoom, WorkRoom};
use super::{download, io_failure, stopped};
use crate::child::{Launcher, Work};
use crate::media::{Event, MediaError, Task};
use crate::queue::{Context, Failure};
use crate::scratch::Scratch;

/// The places and tools that all kinds of jobs share.
pub(crate) struct Workplace {
    pub(super) store: Store,
    scratch: Scratch,
    pub(super) room: WorkRoom,
    launcher: Launcher,
}

/// The part of every payload; the database adds more for people.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Upload {
    /// Jobs of 0.2.0 name it by the file.
    #[serde(alias = "fileId")]
    pub(super) content_id: Uuid,
    /// Key of the upload in the store.
    pub(super) key: String,
}

/// A scratch folder with the upload, or with the way to it.
pub(super) struct Bench {
    folder: TempDir,
    pub(super) input: PathBuf,
    pub(super) output: PathBuf,
}

impl Workplace {
    /// Reads from and writes to `store`; unfinished files lie in `scratch`, on `disk`.
    pub(crate) fn new(store: Store, scratch: Scratch, disk: Disk, launcher: Launcher) -> Self {
        // The key only asks whether the store is a folder.
        let of_store = store.local_path("files").map(|_| Disk::new(store.staging(), disk.reserve()));
        Self { store, scratch, room: WorkRoom::new(disk, of_store), launcher }
    }

    /// Bytes that a copy of the upload needs: none where the store is a folder, in which it is read in place.
    pub(super) fn copy_size(&self, key: &str, size: u64) -> u64 {
        if self.store.local_path(key).is_some() { 0 } else { size }
    }

    /// A scratch folder for a job; the output is to have this name.
    pub(super) async fn bench(
        &self,
        upload: &Upload,
        size: u64,
        output: &str,
        context: &Context,
    ) -> Result<Bench, Failure> {
        let folder = self.scratch.folder().map_err(|error| io_failure("make a scratch folder", &error))?;
        // The child may write in the folder of the output only, so the input must lie elsewhere.
        let out = folder.path().join("out");
        std::fs::create_dir(&out).map_err(|error| io_failure("make a scratch folder", &error))?;
        let input = match self.store.local_path(&upload.key) {
            Some(path) => path,
            None => {
                context.report(0.0, json!({"stage": "download"}));
                let path = folder.path().join("input");
                tokio::select! {
                    downloaded = download::download(&self.store, &upload.key, size, &path) => downloaded?,
                    reason = context.stopped() => return Err(stopped(reason)),
                }
                path
            }
        };
        Ok(Bench { folder, input, output: out.join(output) })
    }

    /// Does media work at a bench in a child process; ends it when the disk is full.
    pub(super) async fn run<T: DeserializeOwned>(
        &self,
        bench: &Bench,
        task: &Task,
        pieces: Option<&Path>,
        room: &TakenRoom<'_>,
        context: &Context,
        tell: impl FnMut(Event),
    ) -> Result<T, Failure> {
        let (input, output) = (bench.input.as_path(), bench.output.as_path());
        let work = Work { task, input, pieces, output, room: Some(room.output_limit) };
        let written = || output.metadata().map_or(0, |written| written.len());
        let outcome = tokio::select! {
            made = self.launcher.run(work, tell) => made,
            Err(failure) = self.room.watch() => {
                room.learn(written(), context.progress());
                return Err(failure);
            }
            reason = context.stopped() => return Err(stopped(reason)),
        };
        if outcome.as_ref().is_err_and(|error: &MediaError| error.no_room) {
            room.learn(written(), context.progress());
        }
        Ok(outcome?)
    }
}

impl Bench {
    /// The folder of the outputs.
    pub(super) fn outputs(&self) -> &Path {
        self.output.parent().unwrap_or(self.folder.path())
    }

    /// A new folder beside that of the outputs, which the child may be given to read.
    pub(super) fn make_folder(&self, name: &str) -> Result<PathBuf, Failure> {
        let path = self.folder.path().join(name);
        std::fs::create_dir(&path).map_err(|error| io_failure("make a scratch folder", &error))?;
        Ok(path)
    }
}
