//! Checks of an upload that come before its bytes: when it begins, and with each request.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::Stream;
use nebula_api::file::UploadQuery;
use uuid::Uuid;

use super::super::{disk_error, known_bytes};
use super::request::{Begun, Part, Purpose};
use super::{Resumable, blocking, query};
use crate::error::{ABOVE_QUOTA, ApiError, QUOTA};
use crate::files::upload::partial::{Duplicate, Plan};
use crate::files::upload::receive::UploadLimits;

/// Stands for the name of a part.
const PART: &str = "a part of an upload";
impl Resumable {
    /// Begins an upload, for which all is checked that needs none of its bytes.
    pub(crate) async fn create(
        &self,
        account_id: Uuid,
        purpose: Purpose,
        size: Option<u64>,
        metadata: Option<String>,
    ) -> Result<Begun, ApiError> {
        let is_part = matches!(purpose, Purpose::Part);
        let (query, same_name) = match purpose {
            Purpose::File(mut query) => {
                let known = self.uploads.admit(account_id, &mut query, size).await?.known;
                (query, known.map(|known| known.file_id))
            }
            Purpose::Part => {
                self.admit_part(size).await?;
                (part_query(), None)
            }
        };
        let UploadQuery { project_id, folder, name, sha256 } = query;
        let file_id = same_name.filter(|_| sha256.is_some());
        let duplicate = file_id.map(|_| Duplicate::File);
        let plan = Plan {
            account_id,
            project_id,
            folder,
            name,
            size,
            sha256,
            metadata,
            file_id,
            duplicate,
            is_part,
            parts: Vec::new(),
        };
        let (id, uploads, kept) = (Uuid::new_v4(), self.folder.clone(), plan.clone());
        let create = move || {
            uploads.create(id, &kept)?;
            if kept.file_id.is_some() { uploads.finish(id, &kept) } else { Ok(()) }
        };
        blocking(create).await.map_err(|error| disk_error(&error))?;
        let progress = file_id.and(size).map(|size| self.show(id, size, plan));
        Ok(Begun { id, same_name, progress })
    }

    async fn admit_part(&self, size: Option<u64>) -> Result<(), ApiError> {
        let limits = UploadLimits { promised: size, max: self.uploads.max_size };
        self.uploads.refuse_by_size(PART, limits).await
    }

    /// The plan with the size that a request says, which is checked as if it had been known from the start.
    pub(super) async fn sized(&self, id: Uuid, plan: Plan, part: &Part) -> Result<Plan, ApiError> {
        let end = part.length.filter(|_| part.is_last).map(|length| part.offset.saturating_add(length));
        let total = match (part.total, end) {
            (Some(total), Some(end)) if total != end => return Err(inconsistent(total, end)),
            (total, end) => total.or(end),
        };
        match (plan.size, total) {
            (Some(size), Some(total)) if size != total => Err(inconsistent(size, total)),
            (None, Some(total)) if total < part.offset => Err(inconsistent(total, part.offset)),
            (None, Some(total)) if plan.is_part => {
                self.admit_part(Some(total)).await?;
                self.keep(id, Plan { size: Some(total), ..plan }).await
            }
            (None, Some(total)) => {
                self.uploads.admit(plan.account_id, &mut query(&plan), Some(total)).await?;
                self.keep(id, Plan { size: Some(total), ..plan }).await
            }
            _ => Ok(plan),
        }
    }

    /// The size that quotas leave to an upload. Others may have used them, or the disk, up since it began.
    pub(super) async fn room(&self, plan: &Plan, coming: u64) -> Result<u64, ApiError> {
        self.uploads.disks.refuse_upload(Some(coming)).await?;
        if plan.is_part {
            return Ok(u64::MAX);
        }
        match self.uploads.room(plan.account_id, &query(plan), plan.size).await {
            Err(error) if matches!(error.meaning(), QUOTA | ABOVE_QUOTA) => Err(error),
            // A size that is known was looked at as a whole.
            Ok(Some(room)) if plan.size.is_none() => Ok(room),
            // Bytes come also while the database is away.
            _ => Ok(u64::MAX),
        }
    }

    /// Compares the first bytes of an upload with a file of its name and size, so that other bytes are refused
    /// before all of them have come.
    pub(super) async fn compare_first<E>(
        &self,
        plan: &Plan,
        begin: u64,
        body: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<impl Stream<Item = Result<Bytes, E>> + Unpin, ApiError> {
        let known = if begin == 0 && !plan.is_part {
            let checked =
                self.uploads.check_name_and_rights(plan.account_id, &mut query(plan), plan.size).await;
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

/// A part has neither project nor folder; the file that it is joined to has.
fn part_query() -> UploadQuery {
    UploadQuery { project_id: Uuid::nil(), folder: String::new(), name: PART.to_owned(), sha256: None }
}

fn inconsistent(one: u64, other: u64) -> ApiError {
    ApiError::bad_argument(format!("the upload is said to have {one} bytes, and {other}"))
        .hint("All requests of an upload must agree on its size.")
}
