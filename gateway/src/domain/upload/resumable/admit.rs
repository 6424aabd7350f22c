//! Checks of an upload that come before its bytes: when it begins, and with each request.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::Stream;
use nebula_api::file::UploadQuery;
use uuid::Uuid;

use super::super::{checksum, disk_error, known_bytes};
use super::request::{Begun, Part, Purpose};
use super::{Resumable, blocking, query};
use crate::database::Account;
use crate::database::upload::{self, Admitted, Claim};
use crate::error::{ApiError, QUOTA};
use crate::files::upload::partial::{Duplicate, LIFETIME, Plan};

/// Stands for the name of a part.
const PART: &str = "a part of an upload";

impl Resumable {
    /// Begins an upload, for which all is checked that needs none of its bytes.
    pub(crate) async fn create(
        &self,
        account: &Account,
        purpose: Purpose,
        size: Option<u64>,
        metadata: Option<String>,
    ) -> Result<Begun, ApiError> {
        let is_part = matches!(purpose, Purpose::Part(_));
        let (mut query, parts) = match purpose {
            Purpose::File(query) => (query, Vec::new()),
            Purpose::Part(project_id) => (part_query(project_id), Vec::new()),
            Purpose::Join(query, parts) => (query, parts),
        };
        let known = if is_part {
            self.uploads.refuse_by_size(PART, size).await?;
            None
        } else {
            self.uploads.admit_name(account, &mut query, size).await?
        };
        let same_name = known.as_ref().map(|known| known.file_id);
        let UploadQuery { project_id, folder, name, sha256 } = query;
        let file_id = same_name.filter(|_| sha256.is_some());
        let duplicate = file_id.map(|_| Duplicate::File);
        let mut plan = Plan {
            account_id: account.id,
            project_id,
            folder,
            name,
            size,
            sha256,
            metadata,
            file_id,
            duplicate,
            is_part,
            parts,
        };
        let id = Uuid::new_v4();
        if file_id.is_none() {
            // A retry of what is there already has its bytes.
            let sha256 = known.and_then(|known| known.sha256.try_into().ok());
            plan.project_id = self.claim(account, id, &plan, size.unwrap_or(0), sha256).await?.project_id;
        }
        let (uploads, kept) = (self.folder.clone(), plan.clone());
        let create = move || {
            uploads.create(id, &kept)?;
            if kept.file_id.is_some() { uploads.finish(id, &kept) } else { Ok(()) }
        };
        if let Err(error) = blocking(create).await {
            self.end(id).await;
            return Err(disk_error(&error));
        }
        let progress = file_id.and(size).map(|size| self.show(id, size, plan));
        Ok(Begun { id, same_name, progress })
    }

    /// Counts an upload that will have this size at least, and probably these bytes.
    async fn claim(
        &self,
        account: &Account,
        id: Uuid,
        plan: &Plan,
        size: u64,
        sha256: Option<[u8; 32]>,
    ) -> Result<Admitted, ApiError> {
        let claim = Claim {
            upload_id: id,
            project_id: Some(plan.project_id).filter(|project_id| !project_id.is_nil()),
            size,
            sha256: plan.sha256.as_deref().map(checksum).transpose()?.or(sha256),
            lifetime: LIFETIME,
            parts: &plan.parts,
        };
        upload::admit(&self.uploads.database.client().await?, account, &claim).await
    }

    /// Counts an upload no longer whose bytes are deleted. One that the database does not hear of expires there.
    pub(super) async fn end(&self, id: Uuid) {
        let ended = async { upload::end(&self.uploads.database.client().await?, &[id]).await };
        if let Err(error) = ended.await {
            tracing::debug!(%id, %error, "an upload that has ended counts until it expires");
        }
    }

    /// Counts what has arrived of an upload whose size is not known. A database that is away hears it with the
    /// next bytes.
    pub(super) async fn count(&self, id: Uuid, plan: &Plan, arrived: u64) {
        if plan.size.is_none() {
            let counted = async { upload::count(&self.uploads.database.client().await?, id, arrived).await };
            if let Err(error) = counted.await {
                tracing::debug!(%id, %error, "cannot count what has arrived");
            }
        }
    }

    /// The plan with the size that a request says, which is checked as if it had been known from the start.
    pub(super) async fn sized(
        &self,
        account: &Account,
        id: Uuid,
        plan: Plan,
        part: &Part,
    ) -> Result<Plan, ApiError> {
        let end = part.length.filter(|_| part.is_last).map(|length| part.offset.saturating_add(length));
        let total = match (part.total, end) {
            (Some(total), Some(end)) if total != end => return Err(inconsistent(total, end)),
            (total, end) => total.or(end),
        };
        match (plan.size, total) {
            (Some(size), Some(total)) if size != total => Err(inconsistent(size, total)),
            (None, Some(total)) if total < part.offset => Err(inconsistent(total, part.offset)),
            (None, Some(total)) if plan.is_part => {
                self.uploads.refuse_by_size(PART, Some(total)).await?;
                self.keep(id, Plan { size: Some(total), ..plan }).await
            }
            (None, Some(total)) => {
                self.uploads.admit_name(account, &mut query(&plan), Some(total)).await?;
                self.keep(id, Plan { size: Some(total), ..plan }).await
            }
            _ => Ok(plan),
        }
    }

    /// The size that quotas leave to an upload that has some bytes, and to which more come. Others may have used
    /// them, or the disk, up since it began.
    pub(super) async fn room(
        &self,
        account: &Account,
        id: Uuid,
        plan: &Plan,
        arrived: u64,
        coming: u64,
    ) -> Result<u64, ApiError> {
        self.uploads.disks.refuse_upload(Some(coming)).await?;
        match self.claim(account, id, plan, plan.size.unwrap_or(arrived.saturating_add(coming)), None).await {
            Err(error) if error.meaning().status < 500 || error.meaning() == QUOTA => Err(error),
            // A size that is known was looked at as a whole.
            Ok(Admitted { room: Some(room), .. }) if plan.size.is_none() => Ok(room),
            // Bytes come also while the database is away.
            _ => Ok(u64::MAX),
        }
    }

    /// The checks of bytes that are to be appended, before they are sent.
    pub(crate) async fn admit_bytes(
        &self,
        account: &Account,
        id: Uuid,
        arrived: u64,
        coming: u64,
    ) -> Result<(), ApiError> {
        let plan = self.plan(account, id).await?;
        match plan.file_id {
            Some(_) => Ok(()),
            None => self.room(account, id, &plan, arrived, coming).await.map(drop),
        }
    }

    /// Compares the first bytes of an upload with a file of its name and size, so that other bytes are refused
    /// before all of them have come.
    pub(super) async fn compare_first<E>(
        &self,
        account: &Account,
        plan: &Plan,
        begin: u64,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<impl Stream<Item = Result<Bytes, E>> + Unpin, ApiError> {
        let known = if begin == 0 && !plan.is_part {
            let checked = self.uploads.check_name_and_rights(account, &mut query(plan), plan.size).await;
            match checked {
                // The end asks again; a database that is away keeps no bytes from coming.
                Err(error) if error.meaning().status >= 500 => None,
                checked => checked?,
            }
        } else {
            None
        };
        let body = match known {
            Some(known) => known_bytes::compare(&self.uploads.store, &plan.name, &known, body).await?,
            None => (VecDeque::new(), body),
        };
        Ok(known_bytes::joined(body))
    }
}

/// A part has no folder; the file that it is joined to has.
fn part_query(project_id: Option<Uuid>) -> UploadQuery {
    let project_id = project_id.unwrap_or_default();
    UploadQuery { project_id, folder: String::new(), name: PART.to_owned(), sha256: None }
}

fn inconsistent(one: u64, other: u64) -> ApiError {
    ApiError::bad_argument(format!("the upload is said to have {one} bytes, and {other}"))
        .hint("All requests of an upload must agree on its size.")
}
