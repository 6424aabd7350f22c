//! The worker: claims jobs from pg_nebula and does them, media in a sandboxed child process.
//!
//! `queue` knows jobs and not media, `media` knows media and not jobs, `transcode` joins them; `child` and `sandbox`
//! are the two sides of the process that untrusted bytes are parsed in.

pub mod child;
pub mod media;
pub mod queue;
pub mod rendition;
pub mod sandbox;
pub mod scratch;
pub mod settings;
pub mod transcode;

use std::sync::Arc;

use nebula_storage::Store;
use tokio_util::sync::CancellationToken;

use child::Launcher;
use queue::{Registry, Runner};
use scratch::Scratch;
use settings::Settings;
use transcode::Transcode;

/// Runs the worker until `shutdown`; an error is a setting that cannot work, in a sentence.
pub async fn run(settings: Settings, shutdown: CancellationToken) -> Result<(), String> {
    let database = settings.database()?;
    if settings.storage_url.is_empty() {
        return Err(
            "--storage-url or NEBULA_STORAGE_URL is missing: file:///folder or s3://bucket?endpoint=…".into(),
        );
    }
    let store = Store::open(&settings.storage_url).map_err(|error| error.to_string())?;
    let root = settings.scratch.clone().unwrap_or_else(|| store.staging());
    if root.to_str().is_none() {
        return Err(format!("the scratch folder {} is not UTF-8, which FFmpeg needs", root.display()));
    }
    let scratch = Scratch::open(&root)
        .map_err(|error| format!("cannot use the scratch folder {}: {error}", root.display()))?;
    let transcode = Transcode::new(store, scratch, Launcher::default());
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
        registry: Registry::default().with(transcode::KIND, Arc::new(transcode)),
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
