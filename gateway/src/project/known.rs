//! What this gateway knows of a project: its part of the configuration of all its devices, and who signs for it.
//!
//! Kept by the version of the configuration. Who uses it has the database compare that in the statement that answers the
//! rest, so that what is signed under a version is always what the version stands for.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use deadpool_postgres::GenericClient;
use uuid::Uuid;

use crate::ApiError;
use crate::authority::{Authority, Keyring};
use crate::config::Common;
use crate::database::project::{self, Configuration};
use crate::database::{Database, Unit, authority};

/// For so long a version is believed to be the one of that number: a database that was set back counts again from there.
const BELIEVED: Duration = Duration::from_secs(60);

/// A project as of one version.
#[derive(Debug)]
pub struct Known {
    /// What its devices have in common.
    pub common: Arc<Common>,
    /// Who signs for it, and whom its devices trust.
    pub authority: Authority,
    since: Instant,
}

/// The projects this gateway serves.
#[derive(Debug)]
pub struct Projects {
    keyring: Arc<Keyring>,
    known: RwLock<HashMap<Uuid, Arc<Known>>>,
}

impl Projects {
    /// Knows none yet.
    pub fn new(keyring: Arc<Keyring>) -> Self {
        Self { keyring, known: RwLock::default() }
    }

    /// A project as of this version, or a later one.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub async fn at(
        &self,
        database: &Database,
        project_id: Uuid,
        version: i64,
    ) -> Result<Arc<Known>, ApiError> {
        match self.kept(project_id).filter(|known| known.common.version == version) {
            Some(known) => Ok(known),
            None => self.look(&database.client().await?, project_id).await,
        }
    }

    /// Keeps what the database has just answered.
    ///
    /// # Errors
    /// 503 when this gateway does not hold the key.
    pub fn learn(&self, found: Configuration) -> Result<Arc<Known>, ApiError> {
        let known = self.read(found)?;
        let mut all = self.known.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(known.common.project_id, Arc::clone(&known));
        Ok(known)
    }

    /// A project as it was when it was last looked at, if that is not long ago.
    pub fn kept(&self, project_id: Uuid) -> Option<Arc<Known>> {
        let all = self.known.read().unwrap_or_else(PoisonError::into_inner);
        all.get(&project_id).filter(|known| known.since.elapsed() < BELIEVED).cloned()
    }

    /// The same, or looked at in a unit that begins with it then.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub async fn kept_or_found(&self, unit: &mut Unit, project_id: Uuid) -> Result<Arc<Known>, ApiError> {
        if let Some(project) = self.kept(project_id) {
            return Ok(project);
        }
        unit.begin().await?;
        self.look(&**unit, project_id).await
    }

    /// Looks at a project. One that never had an authority gets the shared one.
    ///
    /// # Errors
    /// 404 no such project, 503 when this gateway does not hold the key.
    pub async fn look(&self, client: &impl GenericClient, project_id: Uuid) -> Result<Arc<Known>, ApiError> {
        let found = project::configuration(client, project_id).await?;
        if !found.trust.is_empty() {
            return self.learn(found);
        }
        // Not kept, because who asked may not commit it.
        let shared = self.keyring.shared_certificate();
        authority::record(client, shared).await?;
        authority::adopt(client, project_id, &shared.fingerprint()).await?;
        self.read(project::configuration(client, project_id).await?)
    }

    fn read(&self, found: Configuration) -> Result<Arc<Known>, ApiError> {
        let authority = self.keyring.authority(&found.trust)?;
        Ok(Arc::new(Known { common: Arc::new(found.common), authority, since: Instant::now() }))
    }
}
