//! Pictures of networks. One is computed from the reports of all agents of a project, so every reader of a project gets
//! the same one for some seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nebula_api::network::NetworkPicture;
use uuid::Uuid;

use crate::database::{Account, Database, network as database};
use crate::error::ApiError;

/// Agents report every half minute.
const MAX_AGE: Duration = Duration::from_secs(5);
/// Pictures that are kept: those of projects that people look at.
const MAX_KEPT: usize = 256;

/// A project, and the device in focus.
type Key = (Uuid, Option<Uuid>);

/// The pictures of the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Networks {
    kept: Mutex<HashMap<Key, (Instant, Arc<NetworkPicture>)>>,
}

impl Networks {
    /// The picture of a project. Fails with 404 no such project, 403 not a member.
    pub(crate) async fn picture(
        &self,
        connections: &Database,
        actor: &Account,
        project_id: Uuid,
        focus: Option<Uuid>,
    ) -> Result<Arc<NetworkPicture>, ApiError> {
        let key = (project_id, focus);
        let client = connections.client().await?;
        if let Some(kept) = self.kept(&key) {
            // Computing one asks for the right; handing one on does not.
            database::require_member(&client, actor, project_id).await?;
            return Ok(kept);
        }
        let network = Arc::new(database::picture(&client, actor, project_id, focus).await?);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= MAX_KEPT {
            kept.retain(|_, (made, _)| made.elapsed() < MAX_AGE);
        }
        kept.insert(key, (Instant::now(), Arc::clone(&network)));
        Ok(network)
    }

    fn kept(&self, key: &Key) -> Option<Arc<NetworkPicture>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(key).filter(|(made, _)| made.elapsed() < MAX_AGE).map(|(_, network)| Arc::clone(network))
    }
}
