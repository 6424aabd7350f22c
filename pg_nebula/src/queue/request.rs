//! Requests of workers, with checked values.

use pgrx::Uuid;
use pgrx::prelude::*;

use crate::pg::datum::jsonb::Jsonb;
use crate::pg::error::{Error, Result, required, required_elements};
use crate::pg::limits::{WORKER, check_span, check_text};

/// A claim: which worker asks for which jobs.
pub(super) struct ClaimRequest<'a> {
    pub(super) worker: &'a str,
    pub(super) kinds: Vec<String>,
    pub(super) max: i32,
    pub(super) lease: Interval,
    pub(super) node: Option<Uuid>,
    pub(super) capabilities: Vec<String>,
}

impl<'a> ClaimRequest<'a> {
    /// From the arguments of claim_jobs.
    pub(super) fn new(
        worker: Option<&'a str>,
        kinds: Option<Vec<Option<String>>>,
        max: Option<i32>,
        lease: Option<Interval>,
        node: Option<Uuid>,
        capabilities: Option<Vec<Option<String>>>,
    ) -> Result<Self> {
        let request = Self {
            worker: required(worker, "worker")?,
            kinds: required_elements(required(kinds, "kinds")?, "kinds")?,
            max: required(max, "max")?,
            lease: required(lease, "lease")?,
            node,
            capabilities: required_elements(capabilities.unwrap_or_default(), "capabilities")?,
        };
        request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<()> {
        if self.worker.is_empty() {
            return Err(Error::bad_argument(
                "worker is empty",
                "Give the worker a name that tells it apart from others.",
            ));
        }
        if self.kinds.is_empty() {
            return Err(Error::bad_argument("kinds is empty", "Name the kinds of job this worker can do."));
        }
        if self.max < 1 {
            return Err(Error::bad_argument(format!("max is {}", self.max), "Ask for at least one job."));
        }
        check_text("worker", Some(self.worker), WORKER)?;
        check_span("lease", self.lease, "30 s")
    }

    /// It can get only jobs that any worker can claim.
    pub(super) fn is_open_only(&self) -> bool {
        self.node.is_none() && self.capabilities.is_empty()
    }
}

/// Largest payload, result and detail of a job in bytes; larger data belongs into object storage.
pub(super) const MAX_JSON: usize = 1 << 20;

/// Refuses a result or detail that is too large.
pub(super) fn check_size(what: &str, job: i64, value: Option<&Jsonb>) -> Result<()> {
    let Some(length) = value.map(Jsonb::len).filter(|length| *length > MAX_JSON) else { return Ok(()) };
    Err(Error::bad_argument(
        format!("the {what} of job {job} has {length} bytes, more than {MAX_JSON}"),
        format!("Put bulk into object storage and its key into the {what}."),
    ))
}

/// A worker that is still at an attempt, and what it reports.
pub(super) struct Heartbeat {
    pub(super) job: i64,
    pub(super) attempt: i32,
    /// `None`: as it is.
    pub(super) progress: Option<f32>,
    /// `None`: as it is.
    pub(super) detail: Option<Jsonb>,
}
