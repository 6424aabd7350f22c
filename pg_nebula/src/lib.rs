//! The control plane of a private overlay network, inside PostgreSQL.
//!
//! Address pools with atomic allocation, nodes, and a job queue, as SQL functions in schema `nebula`. What is plain
//! data lives in `sql/`; this crate holds what needs more than a statement.

#![expect(clippy::result_large_err, reason = "pgrx takes the SQLSTATE only from an ErrorReport by value")]

use pgrx::prelude::*;

mod address;
mod allocation;
mod backoff;
mod error;
mod job;
mod jsonb;
mod map;
mod node;
mod plan;
mod pool;
mod project;
mod score;
mod wakeup;

#[cfg(feature = "pg_test")]
mod proof;
#[cfg(feature = "pg_test")]
mod surface;

pg_module_magic!(name, version);

// The data model, in the order of dependency.
extension_sql_file!("../../sql/tables/account.sql", name = "account", bootstrap);
extension_sql_file!("../../sql/tables/project.sql", name = "project", requires = ["account"]);
extension_sql_file!("../../sql/tables/session.sql", name = "session", requires = ["project"]);
extension_sql_file!("../../sql/tables/event.sql", name = "event", requires = ["session"]);
extension_sql_file!("../../sql/tables/pool.sql", name = "pool", requires = ["event"]);
extension_sql_file!("../../sql/tables/allocation.sql", name = "allocation", requires = ["pool"]);
extension_sql_file!("../../sql/tables/device.sql", name = "device", requires = ["allocation"]);
extension_sql_file!("../../sql/tables/certificate.sql", name = "certificate", requires = ["device"]);
extension_sql_file!("../../sql/tables/node.sql", name = "node", requires = ["certificate"]);
extension_sql_file!("../../sql/tables/job.sql", name = "job", requires = ["node"]);
extension_sql_file!("../../sql/tables/file.sql", name = "file", requires = ["job"]);

// What psql shows of the functions written here; everything below may call them.
extension_sql_file!(
    "../../sql/functions/native.sql",
    name = "native",
    requires = [
        "file",
        project::create_project,
        project::require_project,
        pool::populate_pool,
        pool::assignable_range,
        allocation::allocate_ip,
        allocation::allocate_nebula_ip,
        allocation::release_ip,
        allocation::release_nebula_ip_by_device,
        node::register_node,
        node::node_scores,
        node::select_node,
        job::enqueue_job,
        job::claim_jobs,
        job::heartbeat_job,
        job::complete_job,
        job::fail_job,
        job::cancel_job,
        job::rescue_jobs,
    ]
);

// Functions that are a statement or two, and views. SQL bodies are checked when made, so order matters here too.
extension_sql_file!("../../sql/functions/pool.sql", name = "pool_functions", requires = ["native"]);
extension_sql_file!(
    "../../sql/functions/allocation.sql",
    name = "allocation_functions",
    requires = ["pool_functions"]
);
extension_sql_file!(
    "../../sql/functions/project.sql",
    name = "project_functions",
    requires = ["allocation_functions"]
);
extension_sql_file!(
    "../../sql/functions/event.sql",
    name = "event_functions",
    requires = ["project_functions"]
);
extension_sql_file!(
    "../../sql/functions/account.sql",
    name = "account_functions",
    requires = ["event_functions"]
);
extension_sql_file!(
    "../../sql/functions/session.sql",
    name = "session_functions",
    requires = ["account_functions"]
);
extension_sql_file!(
    "../../sql/functions/device.sql",
    name = "device_functions",
    requires = ["session_functions"]
);
extension_sql_file!(
    "../../sql/functions/certificate.sql",
    name = "certificate_functions",
    requires = ["device_functions"]
);
extension_sql_file!("../../sql/views/pool.sql", name = "pool_views", requires = ["certificate_functions"]);
extension_sql_file!("../../sql/views/allocation.sql", name = "allocation_views", requires = ["pool_views"]);
extension_sql_file!("../../sql/views/device.sql", name = "device_views", requires = ["allocation_views"]);
extension_sql_file!("../../sql/views/node.sql", name = "node_views", requires = ["device_views"]);
extension_sql_file!("../../sql/views/event.sql", name = "event_views", requires = ["node_views"]);
extension_sql_file!("../../sql/views/job.sql", name = "job_views", requires = ["event_views"]);
extension_sql_file!("../../sql/views/file_status.sql", name = "file_views", requires = ["job_views"]);
extension_sql_file!("../../sql/functions/job.sql", name = "job_functions", requires = ["file_views"]);
extension_sql_file!("../../sql/functions/file.sql", name = "file_functions", requires = ["job_functions"]);
extension_sql_file!("../../sql/privileges.sql", name = "privileges", finalize);

/// What `cargo pgrx test` needs to know.
#[cfg(test)]
pub mod pg_test {
    /// Called once, before the server starts.
    pub fn setup(_options: Vec<&str>) {}

    /// Settings of the test server.
    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec![]
    }
}
