//! Values over time: `GET /api/series`.

use serde::{Deserialize, Serialize};

/// Samples of one value.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// `pool.held` (addresses), `traffic.bytes` (a second), `device.online`; for operators `job.waiting`, `job.running`,
    /// `disk.free` (bytes).
    pub name: String,
    /// Of which pool, project or disk.
    pub key: String,
    /// Begins of the samples, in seconds since 1970. Where nothing was sampled there is a gap.
    pub at: Vec<f64>,
    /// The samples.
    pub values: Vec<f64>,
}
