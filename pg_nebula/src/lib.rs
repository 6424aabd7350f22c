//! The control plane of a private overlay network, inside PostgreSQL.
//!
//! Address pools with atomic allocation, nodes, and a job queue, as SQL functions in schema `nebula`. What is plain
//! data lives in `sql/`; this crate holds what needs more than a statement.

#![expect(clippy::result_large_err, reason = "pgrx takes the SQLSTATE only from an ErrorReport by value")]

use pgrx::prelude::*;

mod address;
mod alarm;
mod allocation;
mod backoff;
mod batch;
mod cron;
mod error;
mod gap;
mod inet;
mod instant;
mod job;
mod jsonb;
mod launcher;
mod link;
mod maintenance;
mod map;
mod mark;
mod node;
mod plan;
mod pool;
mod project;
mod score;
mod settings;
mod snapshot;
mod table;
mod wakeup;

#[cfg(feature = "pg_test")]
mod proof;
#[cfg(feature = "pg_test")]
mod surface;

pg_module_magic!(name, version);

/// Called when the library is loaded: by the server as it starts, or by the first session that needs it.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    let preloaded = map::is_preloading();
    settings::define(preloaded);
    if preloaded {
        map::request_memory();
        launcher::register();
    }
}

// The data model, in the order of dependency.
extension_sql_file!("../../sql/tables/account.sql", name = "account", bootstrap);
extension_sql_file!("../../sql/tables/project.sql", name = "project", requires = ["account"]);
extension_sql_file!("../../sql/tables/authority.sql", name = "authority", requires = ["project"]);
extension_sql_file!("../../sql/tables/rotation.sql", name = "rotation", requires = ["authority"]);
extension_sql_file!("../../sql/tables/session.sql", name = "session", requires = ["rotation"]);
extension_sql_file!("../../sql/tables/event.sql", name = "event", requires = ["session"]);
extension_sql_file!("../../sql/tables/pool.sql", name = "pool", requires = ["event"]);
extension_sql_file!("../../sql/tables/reservation.sql", name = "reservation", requires = ["pool"]);
extension_sql_file!("../../sql/tables/allocation.sql", name = "allocation", requires = ["reservation"]);
extension_sql_file!("../../sql/tables/linked_table.sql", name = "linked_table", requires = ["allocation"]);
extension_sql_file!("../../sql/tables/device.sql", name = "device", requires = ["linked_table"]);
extension_sql_file!("../../sql/tables/certificate.sql", name = "certificate", requires = ["device"]);
extension_sql_file!("../../sql/tables/enrolment.sql", name = "enrolment", requires = ["certificate"]);
extension_sql_file!("../../sql/tables/agent.sql", name = "agent", requires = ["enrolment"]);
extension_sql_file!("../../sql/tables/firewall.sql", name = "firewall", requires = ["agent"]);
extension_sql_file!("../../sql/tables/route.sql", name = "route", requires = ["firewall"]);
extension_sql_file!("../../sql/tables/node.sql", name = "node", requires = ["route"]);
extension_sql_file!("../../sql/tables/node_secret.sql", name = "node_secret", requires = ["node"]);
extension_sql_file!("../../sql/tables/job.sql", name = "job", requires = ["node_secret"]);
extension_sql_file!("../../sql/tables/job_history.sql", name = "job_history", requires = ["job"]);
extension_sql_file!("../../sql/tables/job_policy.sql", name = "job_policy", requires = ["job_history"]);
extension_sql_file!("../../sql/tables/job_schedule.sql", name = "job_schedule", requires = ["job_policy"]);
extension_sql_file!("../../sql/tables/file.sql", name = "file", requires = ["job_schedule"]);

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
        allocation::allocate_dual,
        allocation::allocate_nebula_ip,
        allocation::release_ip,
        allocation::release_nebula_ip_by_device,
        batch::allocate_batch,
        link::show_addresses,
        link::touch_device,
        pool::span,
        node::register_node,
        node::node_scores,
        node::select_node,
        job::enqueue_job,
        job::enqueue_batch,
        job::claim_jobs,
        job::heartbeat_job,
        job::complete_job,
        job::complete_jobs,
        job::fail_job,
        job::finish_and_claim,
        job::hand_back_job,
        job::cancel_job,
        job::retry_job,
        job::depend_job,
        job::rescue_jobs,
        job::release_due_jobs,
        job::bridge::check_job,
        job::bridge::announce_jobs,
        job::bridge::wake_workers,
        job::bridge::expect_tick,
        job::bridge::next_tick,
        table::bridge::table_changed,
        map::status::map_status,
        map::warm::warm_map,
        map::check::map_differences,
        snapshot::require_fresh_snapshot,
    ]
);

extension_sql_file!(
    "../../sql/functions/map.sql",
    name = "map_functions",
    requires = ["native", map::trigger::allocation_changed, map::trigger::pool_changed]
);

// Functions that are a statement or two, and views. SQL bodies are checked when made, so order matters here too.
extension_sql_file!("../../sql/functions/pool.sql", name = "pool_functions", requires = ["native"]);
extension_sql_file!(
    "../../sql/functions/allocation.sql",
    name = "allocation_functions",
    requires = ["pool_functions"]
);
extension_sql_file!(
    "../../sql/functions/authority.sql",
    name = "authority_functions",
    requires = ["allocation_functions"]
);
extension_sql_file!(
    "../../sql/functions/reservation.sql",
    name = "reservation_functions",
    requires = ["allocation_functions"]
);
extension_sql_file!(
    "../../sql/functions/lease.sql",
    name = "lease_functions",
    requires = ["reservation_functions"]
);
extension_sql_file!(
    "../../sql/functions/quarantine.sql",
    name = "quarantine_functions",
    requires = ["lease_functions"]
);
extension_sql_file!(
    "../../sql/functions/link.sql",
    name = "link_functions",
    requires = ["quarantine_functions", "map_functions"]
);
extension_sql_file!(
    "../../sql/functions/forecast.sql",
    name = "forecast_functions",
    requires = ["link_functions"]
);
extension_sql_file!(
    "../../sql/functions/check.sql",
    name = "check_functions",
    requires = ["forecast_functions"]
);
extension_sql_file!(
    "../../sql/functions/project.sql",
    name = "project_functions",
    requires = ["check_functions"]
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
extension_sql_file!(
    "../../sql/functions/configuration.sql",
    name = "configuration_functions",
    requires = ["certificate_functions"]
);
extension_sql_file!(
    "../../sql/functions/firewall.sql",
    name = "firewall_functions",
    requires = ["configuration_functions"]
);
extension_sql_file!(
    "../../sql/functions/route.sql",
    name = "route_functions",
    requires = ["firewall_functions"]
);
extension_sql_file!(
    "../../sql/functions/revocation.sql",
    name = "revocation_functions",
    requires = ["route_functions"]
);
extension_sql_file!(
    "../../sql/functions/rotation.sql",
    name = "rotation_functions",
    requires = ["revocation_functions"]
);
extension_sql_file!(
    "../../sql/functions/agent.sql",
    name = "agent_functions",
    requires = ["rotation_functions"]
);
extension_sql_file!(
    "../../sql/functions/enrolment.sql",
    name = "enrolment_functions",
    requires = ["agent_functions"]
);
extension_sql_file!(
    "../../sql/views/enrolment.sql",
    name = "enrolment_views",
    requires = ["enrolment_functions"]
);
extension_sql_file!(
    "../../sql/views/revocation.sql",
    name = "revocation_views",
    requires = ["enrolment_views"]
);
extension_sql_file!(
    "../../sql/views/authority.sql",
    name = "authority_views",
    requires = ["revocation_views"]
);
extension_sql_file!(
    "../../sql/views/certificate.sql",
    name = "certificate_views",
    requires = ["authority_views"]
);
extension_sql_file!("../../sql/views/agent.sql", name = "agent_views", requires = ["certificate_views"]);
extension_sql_file!("../../sql/views/pool.sql", name = "pool_views", requires = ["agent_views"]);
extension_sql_file!("../../sql/views/reservation.sql", name = "reservation_views", requires = ["pool_views"]);
extension_sql_file!(
    "../../sql/views/quarantine.sql",
    name = "quarantine_views",
    requires = ["reservation_views"]
);
extension_sql_file!(
    "../../sql/views/allocation.sql",
    name = "allocation_views",
    requires = ["quarantine_views"]
);
extension_sql_file!("../../sql/views/device.sql", name = "device_views", requires = ["allocation_views"]);
extension_sql_file!("../../sql/views/node.sql", name = "node_views", requires = ["device_views"]);
extension_sql_file!("../../sql/functions/node.sql", name = "node_functions", requires = ["node_views"]);
extension_sql_file!(
    "../../sql/functions/node_secret.sql",
    name = "node_secret_functions",
    requires = ["node_functions"]
);
extension_sql_file!("../../sql/views/event.sql", name = "event_views", requires = ["node_secret_functions"]);
extension_sql_file!("../../sql/views/job.sql", name = "job_views", requires = ["event_views"]);
extension_sql_file!("../../sql/views/file_status.sql", name = "file_views", requires = ["job_views"]);
extension_sql_file!("../../sql/functions/job.sql", name = "job_functions", requires = ["file_views"]);
extension_sql_file!(
    "../../sql/functions/job_policy.sql",
    name = "job_policy_functions",
    requires = ["job_functions"]
);
extension_sql_file!(
    "../../sql/functions/job_history.sql",
    name = "job_history_functions",
    requires = ["job_policy_functions"]
);
extension_sql_file!(
    "../../sql/functions/job_schedule.sql",
    name = "job_schedule_functions",
    requires = ["job_history_functions"]
);
extension_sql_file!(
    "../../sql/functions/file.sql",
    name = "file_functions",
    requires = ["job_schedule_functions"]
);
extension_sql_file!("../../sql/privileges.sql", name = "privileges", finalize);

/// What `cargo pgrx test` needs to know.
#[cfg(test)]
pub mod pg_test {
    /// Called once, before the server starts.
    pub fn setup(_options: Vec<&str>) {}

    /// Settings of the test server.
    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        match std::env::var("PG_NEBULA_PRELOAD").as_deref() {
            Ok("off") => vec![],
            _ => vec![
                "shared_preload_libraries='pg_nebula'",
                "max_prepared_transactions=10",
                "nebula.map_memory='1MB'",
            ],
        }
    }
}
