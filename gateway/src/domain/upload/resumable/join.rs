//! Files that are joined from parts, which were uploaded at the same time: the extension concatenation of tus.

use std::fs::File as DiskFile;
use std::net::IpAddr;
use std::sync::Arc;

use nebula_api::file::UploadQuery;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::super::receive_error;
use super::request::{Progress, Purpose};
use super::{Resumable, length};
use crate::database::Account;
use crate::error::{ApiError, WRONG_STATE};

/// Parts of one file at most.
const MAX_PARTS: usize = 1000;

impl Resumable {
    /// Makes a file of parts, in this order; answers its upload. It goes on if the client hangs up.
    pub(crate) async fn join(
        self: &Arc<Self>,
        account: &Account,
        query: UploadQuery,
        parts: Vec<Uuid>,
        metadata: Option<String>,
        address: Option<IpAddr>,
    ) -> Result<(Uuid, Progress), ApiError> {
        let (resumable, account) = (Arc::clone(self), account.clone());
        let joining =
            tokio::spawn(
                async move { resumable.copy_parts(&account, query, parts, metadata, address).await },
            );
        joining.await.map_err(|error| ApiError::internal(&error))?
    }

    async fn copy_parts(
        self: Arc<Self>,
        account: &Account,
        query: UploadQuery,
        parts: Vec<Uuid>,
        metadata: Option<String>,
        address: Option<IpAddr>,
    ) -> Result<(Uuid, Progress), ApiError> {
        if parts.is_empty() || parts.len() > MAX_PARTS {
            let detail = format!("a file is joined from 1 to {MAX_PARTS} parts, not {}", parts.len());
            return Err(ApiError::bad_argument(detail));
        }
        let mut files = Vec::new();
        let mut size = 0;
        for part in &parts {
            let file = self.open_part(account, *part).await?;
            size += length(&file)?;
            files.push(file);
        }
        let join = Purpose::Join(query, parts.clone());
        let begun = self.create(account, join, Some(size), metadata).await?;
        let made = match begun.progress {
            Some(progress) => Ok(progress),
            None => self.copy(account, begun.id, files, address).await,
        };
        match made {
            Ok(progress) => {
                for part in parts {
                    // One that stays is swept later.
                    let _ = self.forget(part).await;
                }
                Ok((begun.id, progress))
            }
            // The client has the parts and joins them again; nobody knows the URL of the copy.
            Err(error) => {
                let _ = self.forget(begun.id).await;
                Err(error)
            }
        }
    }

    /// Copies parts to an upload and makes its file.
    async fn copy(
        self: &Arc<Self>,
        account: &Account,
        id: Uuid,
        parts: Vec<DiskFile>,
        address: Option<IpAddr>,
    ) -> Result<Progress, ApiError> {
        let plan = self.plan(account, id).await?;
        let (mut hashed, _) = self.turn(id).await?;
        let mut joined = self.open(id).await?;
        let disk = self.uploads.disks.files().clone();
        let copying = spawn_blocking(move || {
            for mut part in parts {
                hashed.append(&mut part, &mut joined, &disk)?;
            }
            joined.sync_data()?;
            Ok((joined, hashed))
        });
        let copied = copying.await.map_err(|error| ApiError::internal(&error))?;
        let (joined, hashed) = copied.map_err(|error| receive_error(&plan.name, error))?;
        self.finish(account, id, plan, joined, hashed, address).await
    }

    /// Opens a part of this account that is whole; it is locked as long as it is open.
    async fn open_part(&self, account: &Account, id: Uuid) -> Result<DiskFile, ApiError> {
        let plan = self.plan(account, id).await?;
        if !plan.is_part {
            return Err(ApiError::bad_argument(format!("the upload {id} is no part"))
                .hint("Parts are begun with Upload-Concat: partial."));
        }
        let file = self.open(id).await?;
        if plan.size != Some(length(&file)?) {
            return Err(ApiError::new(WRONG_STATE, format!("the part {id} is not complete"))
                .hint("Send the rest of it first."));
        }
        Ok(file)
    }
}
