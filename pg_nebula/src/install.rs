//! The SQL of the extension, in the order in which it is installed.
//!
//! `install_in_order!` makes each file require the one before, so the list below is the only place that knows the
//! order. SQL bodies are checked when a function is made, so a function comes after all that it calls.

mod former;

use pgrx::prelude::*;

/// `NAME = PATH` for each file; each requires the one before it, the first requires `$previous`.
macro_rules! install_in_order {
    ($previous:literal;) => {};
    ($previous:literal; $name:literal = $path:literal, $($rest:tt)*) => {
        extension_sql_file!($path, name = $name, requires = [$previous]);
        install_in_order!($name; $($rest)*);
    };
}

// The data model. The first file comes before everything that Rust declares.
extension_sql_file!("../../sql/tables/account.sql", name = "tables_account", bootstrap);
install_in_order! {
    "tables_account";
    "tables_text_rule" = "../../sql/tables/text_rule.sql",
    "tables_project" = "../../sql/tables/project.sql",
    "tables_authority" = "../../sql/tables/authority.sql",
    "tables_rotation" = "../../sql/tables/rotation.sql",
    "tables_session" = "../../sql/tables/session.sql",
    "tables_event" = "../../sql/tables/event.sql",
    "tables_device" = "../../sql/tables/device.sql",
    "tables_node" = "../../sql/tables/node.sql",
    "tables_node_interface" = "../../sql/tables/node_interface.sql",
    "tables_pool" = "../../sql/tables/pool.sql",
    "tables_reservation" = "../../sql/tables/reservation.sql",
    "tables_allocation" = "../../sql/tables/allocation.sql",
    "tables_linked_table" = "../../sql/tables/linked_table.sql",
    "tables_certificate" = "../../sql/tables/certificate.sql",
    "tables_enrolment" = "../../sql/tables/enrolment.sql",
    "tables_agent" = "../../sql/tables/agent.sql",
    "tables_firewall" = "../../sql/tables/firewall.sql",
    "tables_route" = "../../sql/tables/route.sql",
    "tables_node_secret" = "../../sql/tables/node_secret.sql",
    "tables_peer" = "../../sql/tables/peer.sql",
    "tables_placement" = "../../sql/tables/placement.sql",
    "tables_job" = "../../sql/tables/job.sql",
    "tables_job_history" = "../../sql/tables/job_history.sql",
    "tables_job_policy" = "../../sql/tables/job_policy.sql",
    "tables_job_schedule" = "../../sql/tables/job_schedule.sql",
    "tables_file" = "../../sql/tables/file.sql",
    "tables_restore" = "../../sql/tables/restore.sql",
}

// Requires every function in Rust, so that this file and those below can call and comment on them.
extension_sql_file!(
    "../../sql/functions/free_map.sql",
    name = "functions_free_map",
    requires = [
        "tables_restore",
        pools::project::require_project,
        pools::populate::populate_pool,
        pools::populate::assignable_range,
        addresses::allocate::allocate_ip,
        addresses::dual::allocate_dual,
        addresses::allocate::allocate_nebula_ip,
        addresses::release::release_ip,
        addresses::release::release_nebula_ip_by_device,
        addresses::bulk::allocate_batch,
        addresses::linked_table::sync_linked_tables,
        addresses::linked_table::touch_device,
        pools::populate::span,
        nodes::select::node_scores,
        nodes::select::choose_node,
        nodes::claim::claim_seats,
        notify::node::notify_node,
        addresses::peer::allocate_peer_ip,
        addresses::release::release_peer_ips,
        queue::enqueue::enqueue_job,
        queue::enqueue::enqueue_batch,
        queue::claim::claim_jobs,
        queue::heartbeat::heartbeat_job,
        queue::complete::complete_job,
        queue::complete::complete_jobs,
        queue::fail::fail_job,
        queue::claim::finish_and_claim,
        queue::fail::hand_back_job,
        queue::fail::postpone_job,
        queue::reclaim::reclaim_job,
        queue::cancel::cancel_job,
        queue::retry::retry_job,
        queue::dependency::depend_job,
        queue::rescue::rescue_jobs,
        queue::promote_due::release_due_jobs,
        queue::sql_helpers::check_job,
        queue::sql_helpers::notify_enqueued,
        queue::sql_helpers::wake_workers,
        queue::sql_helpers::set_schedule_timer,
        queue::sql_helpers::next_tick,
        direct::trigger::table_changed,
        free_map::status::map_status,
        free_map::prewarm::warm_map,
        free_map::verify::map_differences,
        free_map::trigger::allocation_changed,
        free_map::trigger::pool_changed,
        pg::isolation::require_fresh_snapshot,
        pg::advisory_lock::try_lock,
        pg::advisory_lock::wait_for_lock,
        pg::disk::disk_room,
    ]
);

// Functions in SQL and PL/pgSQL, and views.
install_in_order! {
    "functions_free_map";
    "functions_endpoint" = "../../sql/functions/endpoint.sql",
    "functions_pool" = "../../sql/functions/pool.sql",
    "functions_allocation" = "../../sql/functions/allocation.sql",
    "functions_authority" = "../../sql/functions/authority.sql",
    "functions_reservation" = "../../sql/functions/reservation.sql",
    "functions_lease" = "../../sql/functions/lease.sql",
    "functions_quarantine" = "../../sql/functions/quarantine.sql",
    "functions_linked_table" = "../../sql/functions/linked_table.sql",
    "functions_forecast" = "../../sql/functions/forecast.sql",
    "functions_check" = "../../sql/functions/check.sql",
    "functions_project" = "../../sql/functions/project.sql",
    "functions_event" = "../../sql/functions/event.sql",
    "functions_authority_expiry" = "../../sql/functions/authority_expiry.sql",
    "functions_account" = "../../sql/functions/account.sql",
    "functions_session" = "../../sql/functions/session.sql",
    "functions_node_health" = "../../sql/functions/node_health.sql",
    "functions_device_check" = "../../sql/functions/device_check.sql",
    "functions_device" = "../../sql/functions/device.sql",
    "functions_certificate" = "../../sql/functions/certificate.sql",
    "functions_peer_pool" = "../../sql/functions/peer_pool.sql",
    "functions_project_options_check" = "../../sql/functions/project_options_check.sql",
    "functions_project_options" = "../../sql/functions/project_options.sql",
    "functions_firewall" = "../../sql/functions/firewall.sql",
    "functions_route" = "../../sql/functions/route.sql",
    "functions_revocation" = "../../sql/functions/revocation.sql",
    "functions_rotation" = "../../sql/functions/rotation.sql",
    "functions_agent" = "../../sql/functions/agent.sql",
    "functions_agent_report" = "../../sql/functions/agent_report.sql",
    "functions_enrolment" = "../../sql/functions/enrolment.sql",
    "functions_enrolment_use" = "../../sql/functions/enrolment_use.sql",
    "views_enrolment" = "../../sql/views/enrolment.sql",
    "views_revocation" = "../../sql/views/revocation.sql",
    "views_authority" = "../../sql/views/authority.sql",
    "views_certificate" = "../../sql/views/certificate.sql",
    "views_agent" = "../../sql/views/agent.sql",
    "views_pool" = "../../sql/views/pool.sql",
    "views_reservation" = "../../sql/views/reservation.sql",
    "views_quarantine" = "../../sql/views/quarantine.sql",
    "views_allocation" = "../../sql/views/allocation.sql",
    "views_device" = "../../sql/views/device.sql",
    "views_node" = "../../sql/views/node.sql",
    "functions_node" = "../../sql/functions/node.sql",
    "functions_node_secret" = "../../sql/functions/node_secret.sql",
    "functions_placement" = "../../sql/functions/placement.sql",
    "functions_peer_conf" = "../../sql/functions/peer_conf.sql",
    "functions_peer" = "../../sql/functions/peer.sql",
    "functions_peer_change" = "../../sql/functions/peer_change.sql",
    "functions_peer_batch" = "../../sql/functions/peer_batch.sql",
    "functions_node_interface" = "../../sql/functions/node_interface.sql",
    "functions_node_state" = "../../sql/functions/node_state.sql",
    "functions_node_list" = "../../sql/functions/node_list.sql",
    "views_peer" = "../../sql/views/peer.sql",
    "functions_peer_gateway" = "../../sql/functions/peer_gateway.sql",
    "functions_peer_firewall" = "../../sql/functions/peer_firewall.sql",
    "functions_node_sync" = "../../sql/functions/node_sync.sql",
    "functions_peer_maintenance" = "../../sql/functions/peer_maintenance.sql",
    "views_event" = "../../sql/views/event.sql",
    "views_job" = "../../sql/views/job.sql",
    "views_file" = "../../sql/views/file.sql",
    "functions_job" = "../../sql/functions/job.sql",
    "functions_job_policy" = "../../sql/functions/job_policy.sql",
    "functions_job_history" = "../../sql/functions/job_history.sql",
    "functions_job_schedule" = "../../sql/functions/job_schedule.sql",
    "functions_file" = "../../sql/functions/file.sql",
    "functions_restore" = "../../sql/functions/restore.sql",
}
extension_sql_file!("../../sql/privileges.sql", name = "privileges", finalize);
