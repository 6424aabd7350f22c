//! The worker: claims jobs from pg_nebula and does them, media in a sandboxed child process.
//!
//! `queue` knows jobs and not media, `media` knows media and not jobs, `transcode` joins them. `child` and
//! `sandbox` are the two sides of the process in which untrusted bytes are parsed.

pub mod child;
pub mod media;
mod pause;
pub mod queue;
pub mod sandbox;
mod scratch;
mod scrub;
pub mod settings;
mod transcode;

use std::path::PathBuf;

use nebula_storage::{Disk, Store, StoreError};
use tokio_util::sync::CancellationToken;

use child::Launcher;
use queue::Runner;
use scratch::Scratch;
use settings::{Settings, SettingsError};
use transcode::Workplace;

/// Why the worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is missing or malformed.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The storage URL does not name a store.
    #[error(transparent)]
    Storage(#[from] StoreError),
    /// FFmpeg takes paths as UTF-8 only.
    #[error("the scratch folder {} is not UTF-8, which FFmpeg needs", .0.display())]
    ScratchNotUtf8(PathBuf),
    /// The scratch folder cannot be made, read or locked.
    #[error("cannot use the scratch folder {}: {source}", path.display())]
    Scratch {
        /// Path of the folder.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
}

/// Runs the worker until `shutdown`.
///
/// # Errors
/// Only before the first claim: a setting that cannot work.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), StartError> {
    let (database, listener) = (settings.database()?, settings.listener()?);
    let store = Store::open(settings.storage()?)?;
    let root = settings.scratch.clone().unwrap_or_else(|| store.staging());
    if root.to_str().is_none() {
        return Err(StartError::ScratchNotUtf8(root));
    }
    let scratch =
        Scratch::open(&root).map_err(|source| StartError::Scratch { path: root.clone(), source })?;
    let reserve = settings.disk_reserve.unwrap_or_default();
    let rate = u64::from(settings.scrub_rate) << 20;
    let scrub = scrub::registry(store.clone(), rate, settings.scrub_days);
    let launcher = Launcher::default().tuned(settings.tuning());
    let workplace = Workplace::new(store, scratch, Disk::new(root, reserve), launcher);
    let media = transcode::registries(workplace);
    let pause = pause::watch(settings.limits(), settings.sensors());
    let runner = Runner {
        name: settings.worker_name(),
        slots: usize::from(settings.slots),
        lease: settings.lease(),
        poll: settings.poll(),
        grace: settings.grace(),
        node: settings.node_id,
        capabilities: settings.capability,
        health_file: settings.health_file,
        database,
        listener,
        registry: media.pictures,
        beside: vec![media.sound, scrub],
        pause,
    };
    tracing::info!(
        name = runner.name,
        slots = runner.slots,
        version = env!("CARGO_PKG_VERSION"),
        "worker started"
    );
    runner.run(shutdown).await;
    tracing::info!("worker stopped");
    Ok(())
}
