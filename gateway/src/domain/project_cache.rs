//! Cache of project configurations, each with its signer.
//!
//! The cache is keyed by the version of a project's configuration. Statements that answer a device's part
//! compare that version in the database and answer the project's part as well if it differs, so that a
//! certificate is never signed by an outdated configuration.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::database::project::{self, ConfiguredProject, ProjectConfig};
use crate::database::{Database, GenericClient, PipelinedTransaction, authority};
use crate::domain::authority::{Authority, Keyring};
use crate::domain::gateway_address::GatewayAddress;
use crate::error::{ApiError, UNAVAILABLE};

/// How long an entry is used. A database that was restored from a backup counts versions again, so that one
/// version could mean two configurations.
const MAX_AGE: Duration = Duration::from_secs(60);

/// A project as of one version.
#[derive(Debug)]
pub(crate) struct CachedProject {
    pub(crate) config: Arc<ProjectConfig>,
    /// Signs for the project.
    pub(crate) authority: Authority,
    cached_at: Instant,
}

#[derive(Debug)]
pub(crate) struct ProjectCache {
    keyring: Arc<Keyring>,
    gateway: Arc<GatewayAddress>,
    projects: RwLock<HashMap<Uuid, Arc<CachedProject>>>,
}

impl ProjectCache {
    pub(crate) fn new(keyring: Arc<Keyring>, gateway: Arc<GatewayAddress>) -> Self {
        Self { keyring, gateway, projects: RwLock::default() }
    }

    /// A project as of this version, or as of now if another version is cached. Fails as [`Self::load`].
    pub(crate) async fn at_version(
        &self,
        database: &Database,
        project_id: Uuid,
        version: i64,
    ) -> Result<Arc<CachedProject>, ApiError> {
        match self.get(project_id).filter(|project| project.config.version == version) {
            Some(project) => Ok(project),
            None => self.load(&database.client().await?, project_id).await,
        }
    }

    /// Keeps what the database has just answered. Fails with 503 if this gateway does not hold the key.
    pub(crate) fn insert(&self, configured: ConfiguredProject) -> Result<Arc<CachedProject>, ApiError> {
        let project = self.with_authority(configured)?;
        let mut projects = self.projects.write().unwrap_or_else(PoisonError::into_inner);
        projects.insert(project.config.project_id, Arc::clone(&project));
        Ok(project)
    }

    /// A project as it was when it was last loaded, if that is not long ago.
    pub(crate) fn get(&self, project_id: Uuid) -> Option<Arc<CachedProject>> {
        let projects = self.projects.read().unwrap_or_else(PoisonError::into_inner);
        projects.get(&project_id).filter(|project| project.cached_at.elapsed() < MAX_AGE).cloned()
    }

    /// As [`Self::get`], else loads the project in `transaction`, which begins for it. Fails as
    /// [`Self::load`].
    pub(crate) async fn get_or_load(
        &self,
        transaction: &mut PipelinedTransaction,
        project_id: Uuid,
    ) -> Result<Arc<CachedProject>, ApiError> {
        if let Some(project) = self.get(project_id) {
            return Ok(project);
        }
        transaction.begin().await?;
        self.load(&**transaction, project_id).await
    }

    /// Loads a project. One that never had an authority gets one. Fails with 404 if there is no such project,
    /// 503 if this gateway does not hold the key, or cannot make the project an authority.
    async fn load(
        &self,
        client: &impl GenericClient,
        project_id: Uuid,
    ) -> Result<Arc<CachedProject>, ApiError> {
        self.gateway.resolve().await;
        let configured = project::configuration(client, project_id).await?;
        if !configured.trust.is_empty() {
            return self.insert(configured);
        }
        self.adopt(client, &configured.config).await?;
        // Not cached, because the caller's transaction may roll the adoption back.
        self.with_authority(project::configuration(client, project_id).await?)
    }

    /// Gives a project its first authority: the shared one, unless it is that of another project, whose
    /// devices would let in those of this one; then one that is made for it.
    async fn adopt(&self, client: &impl GenericClient, project: &ProjectConfig) -> Result<(), ApiError> {
        let shared = self.keyring.shared_certificate();
        authority::record(client, shared).await?;
        if authority::adopt(client, project.project_id, &shared.fingerprint()).await? {
            return Ok(());
        }
        let (keyring, project_id, name) =
            (Arc::clone(&self.keyring), project.project_id, project.name.clone());
        let made = spawn_blocking(move || keyring.make(project_id, &name)).await;
        let made = made.map_err(|error| ApiError::internal(&error))?.map_err(|error| {
            tracing::error!(%error, project = project.name, "no authority could be made");
            let detail = format!("project \"{}\" has no authority, and none could be made", project.name);
            ApiError::new(UNAVAILABLE, detail).hint(
                "Each project has its own. Let the gateway write into NEBULA_CA_DIR (its log says what \
                 failed), or put a pair there (nebulactl ca create) and rotate to it (nebulactl ca rotate).",
            )
        })?;
        authority::record(client, &made).await?;
        authority::adopt(client, project.project_id, &made.fingerprint()).await.map(drop)
    }

    fn with_authority(&self, configured: ConfiguredProject) -> Result<Arc<CachedProject>, ApiError> {
        let authority = self.keyring.authority(&configured.trust)?;
        let config = ProjectConfig { gateway: self.gateway.known(), ..configured.config };
        let config = Arc::new(config);
        Ok(Arc::new(CachedProject { config, authority, cached_at: Instant::now() }))
    }
}
