//! The places that jobs work in: store, scratch folder, room, and the media process.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nebula_storage::{Disk, Store};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::net::UnixStream;
use uuid::Uuid;

use super::ranges::Ranges;
use super::room::{TakenRoom, WorkRoom};
use super::{io_failure, stopped};
use crate::child::{Launcher, Source, Work};
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
    /// Why no device is to be used, if it failed at this film.
    #[serde(default)]
    pub(super) software: Option<String>,
}

/// A scratch folder, and the way to the upload.
pub(super) struct Bench {
    folder: TempDir,
    /// Key and size of the upload.
    key: String,
    size: u64,
    uses_device: bool,
    pub(super) output: PathBuf,
}

impl Workplace {
    /// Reads from and writes to `store`; unfinished files lie in `scratch`, on `disk`.
    pub(crate) fn new(store: Store, scratch: Scratch, disk: Disk, launcher: Launcher) -> Self {
        // The key only asks whether the store is a folder.
        let of_store = store.local_path("files").map(|_| Disk::new(store.staging(), disk.reserve()));
        Self { store, scratch, room: WorkRoom::new(disk, of_store), launcher }
    }

    /// A scratch folder for a job; the output is to have this name.
    pub(super) fn bench(&self, upload: &Upload, size: u64, output: &str) -> Result<Bench, Failure> {
        let folder = self.scratch.folder().map_err(|error| io_failure("make a scratch folder", &error))?;
        // The child may write in the folder of the output only, so pieces that it reads must lie elsewhere.
        let out = folder.path().join("out");
        std::fs::create_dir(&out).map_err(|error| io_failure("make a scratch folder", &error))?;
        let uses_device = upload.software.is_none();
        Ok(Bench { folder, key: upload.key.clone(), size, uses_device, output: out.join(output) })
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
        let output = bench.output.as_path();
        let (mut parents_end, childs_end) = std::os::unix::net::UnixStream::pair()
            .and_then(|(parent, child)| {
                parent.set_nonblocking(true)?;
                Ok((UnixStream::from_std(parent)?, child))
            })
            .map_err(|error| io_failure("make a socket", &error))?;
        let local = self.store.local_path(&bench.key);
        let input = match &local {
            Some(path) => Source::File(path),
            None => Source::Served { size: bench.size, socket: childs_end.as_fd() },
        };
        let work = Work { task, input, pieces, output, room: Some(room.output_limit) };
        let written = || output.metadata().map_or(0, |written| written.len());
        let launcher = if bench.uses_device { self.launcher.clone() } else { self.launcher.without_device() };
        let ranges = Ranges::new(&self.store, &bench.key, bench.size);
        let outcome = tokio::select! {
            // First: a child whose upload cannot be read takes that for the end of the film.
            biased;
            Err(failure) = ranges.serve(&mut parents_end), if local.is_none() => return Err(failure),
            made = launcher.run(work, tell) => made,
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
