//! Tests of the catalog: signatures, privileges, comments, dump.

use pgrx::prelude::*;

/// Names, arguments and defaults that users rely on; further arguments may follow.
const CONTRACT: &[(&str, &str)] = &[
    ("create_project", "name text, cidr inet DEFAULT NULL::inet"),
    (
        "populate_pool",
        "project_id uuid, cidr inet, name text DEFAULT 'default'::text, \
         reserve_gateway boolean DEFAULT false",
    ),
    (
        "allocate_ip",
        "project_id uuid, device_id uuid, allocated_by text DEFAULT NULL::text, \
         pool text DEFAULT NULL::text, \
         address inet DEFAULT NULL::inet, lease interval DEFAULT NULL::interval",
    ),
    ("allocate_ips", "project_id uuid, device_ids uuid[], allocated_by text DEFAULT NULL::text"),
    ("allocate_dual", "project_id uuid, device_id uuid, allocated_by text DEFAULT NULL::text"),
    ("reserve_range", "project_id uuid, label text, count integer"),
    ("exclude_addresses", "project_id uuid, label text, first inet, last inet DEFAULT NULL::inet"),
    ("drop_reservation", "project_id uuid, label text"),
    ("extend_pool", "project_id uuid, name text, cidr inet"),
    ("shrink_pool", "project_id uuid, name text, cidr inet"),
    ("enable_pool", "project_id uuid, name text"),
    ("disable_pool", "project_id uuid, name text"),
    ("drop_pool", "project_id uuid, name text"),
    ("renew_lease", "device_id uuid, lease interval"),
    ("touch_device", "device_id uuid"),
    ("reclaim_expired", "max integer DEFAULT 1000"),
    ("end_quarantine", "project_id uuid, address inet, reason text"),
    (
        "link_device_table",
        "target regclass, id_column name DEFAULT 'id'::name, ip_column name DEFAULT 'nebula_ip'::name",
    ),
    ("unlink_device_table", "target regclass"),
    ("pool_forecast", "project_id uuid DEFAULT NULL::uuid"),
    ("check_pool", "project_id uuid DEFAULT NULL::uuid, repair boolean DEFAULT false"),
    ("release_ip", "device_id uuid, released_by text DEFAULT NULL::text"),
    ("device_allocation", "device_id uuid"),
    ("project_allocations", "project_id uuid"),
    ("pool_usage", "project_id uuid DEFAULT NULL::uuid"),
    ("allocate_nebula_ip", "project_id uuid, device_id uuid, allocated_by text"),
    ("release_nebula_ip_by_device", "device_id uuid"),
    (
        "register_node",
        "name text, endpoint text, weight integer DEFAULT 100, max_peers integer DEFAULT 100, \
         cidr inet DEFAULT NULL::inet, capabilities text[] DEFAULT '{}'::text[]",
    ),
    ("node_heartbeat", "node_id uuid, health jsonb"),
    ("node_scores", ""),
    ("select_node", "strategy text DEFAULT 'auto'::text, capability text DEFAULT NULL::text"),
    ("create_peer", "project_id uuid, device_id uuid, public_key text, strategy text DEFAULT 'auto'::text"),
    ("remove_peer", "peer_id uuid"),
    ("move_peer", "peer_id uuid, strategy text DEFAULT 'auto'::text"),
    ("create_peers", "project_id uuid, peers jsonb[], strategy text DEFAULT 'auto'::text"),
    ("move_peers", "peer_ids uuid[], strategy text DEFAULT 'auto'::text"),
    ("remove_peers", "peer_ids uuid[]"),
    (
        "enqueue_job",
        "kind text, payload jsonb, priority integer DEFAULT 0, \
         run_at timestamp with time zone DEFAULT now(), \
         max_attempts integer DEFAULT 5, unique_key text DEFAULT NULL::text, \
         depends_on bigint[] DEFAULT '{}'::bigint[], \
         node_id uuid DEFAULT NULL::uuid",
    ),
    (
        "claim_jobs",
        "worker text, kinds text[], max integer DEFAULT 1, lease interval DEFAULT '00:00:30'::interval",
    ),
    ("enqueue_jobs", "kind text, payloads jsonb[]"),
    (
        "finish_and_claim",
        "job_id bigint, attempt integer, result jsonb, worker text, kinds text[], max integer DEFAULT 1, \
         lease interval DEFAULT '00:00:30'::interval",
    ),
    (
        "heartbeat_job",
        "job_id bigint, attempt integer, progress real DEFAULT NULL::real, detail jsonb DEFAULT NULL::jsonb",
    ),
    ("complete_job", "job_id bigint, attempt integer, result jsonb DEFAULT NULL::jsonb"),
    ("fail_job", "job_id bigint, attempt integer, error text, retryable boolean DEFAULT true"),
    ("hand_back_job", "job_id bigint, attempt integer, reason text DEFAULT NULL::text"),
    ("cancel_job", "job_id bigint"),
    ("retry_job", "job_id bigint"),
    ("depend_job", "job_id bigint, depends_on bigint[]"),
    ("rescue_jobs", ""),
    ("prune_jobs", "older_than interval DEFAULT NULL::interval"),
    ("pause_jobs", "kind text"),
    ("resume_jobs", "kind text"),
    (
        "limit_jobs",
        "kind text, max_running integer DEFAULT NULL::integer, max_per_project integer DEFAULT NULL::integer",
    ),
    ("limit_project_jobs", "project_id uuid, max_running integer DEFAULT NULL::integer"),
    ("complete_jobs", "job_ids bigint[], attempts integer[], results jsonb[] DEFAULT NULL::jsonb[]"),
    ("retain_jobs", "kind text, retention interval"),
    (
        "schedule_job",
        "name text, cron text, kind text, payload jsonb DEFAULT '{}'::jsonb, \
         time_zone text DEFAULT 'UTC'::text",
    ),
    ("unschedule_job", "name text"),
    ("run_schedules", ""),
];

/// Results of those functions.
const RESULTS: &[(&str, &str)] = &[
    (
        "device_allocation",
        "TABLE(project_id uuid, ip inet, pool text, allocated_by text, \
         allocated_at timestamp with time zone, \
         lease_until timestamp with time zone)",
    ),
    (
        "pool_usage",
        "TABLE(pool_id integer, project_id uuid, name text, cidr cidr, size numeric, reserved numeric, \
         allocated numeric, \
         quarantined numeric, free numeric, exhausted_at_forecast timestamp with time zone)",
    ),
    (
        "node_scores",
        "TABLE(node_id uuid, name text, active_peers integer, max_peers integer, weight integer, \
         score double precision, \
         eligible boolean, reason text)",
    ),
    (
        "claim_jobs",
        "TABLE(job_id bigint, kind text, payload jsonb, attempt integer, lease_until timestamp with time zone)",
    ),
    ("allocate_ips", "TABLE(device_id uuid, ip inet)"),
    ("allocate_dual", "TABLE(family integer, ip inet)"),
    ("reserve_range", "TABLE(first inet, last inet)"),
    ("reclaim_expired", "TABLE(device_id uuid, ip inet)"),
    ("renew_lease", "timestamp with time zone"),
    ("touch_device", "void"),
    ("link_device_table", "void"),
    ("populate_pool", "numeric"),
    ("allocate_ip", "inet"),
    ("enqueue_job", "bigint"),
    ("enqueue_jobs", "SETOF bigint"),
    (
        "finish_and_claim",
        "TABLE(job_id bigint, kind text, payload jsonb, attempt integer, lease_until timestamp with time zone)",
    ),
    ("heartbeat_job", "text"),
    ("complete_job", "void"),
    ("fail_job", "text"),
    ("hand_back_job", "text"),
    ("cancel_job", "text"),
    ("retry_job", "void"),
    ("rescue_jobs", "integer"),
    ("prune_jobs", "bigint"),
    ("schedule_job", "timestamp with time zone"),
    ("select_node", "uuid"),
    ("create_peer", "TABLE(peer_id uuid, node_id uuid, ip inet)"),
    ("remove_peer", "void"),
    ("move_peer", "TABLE(node_id uuid, ip inet)"),
    ("create_peers", "TABLE(n integer, peer_id uuid, node_id uuid, ip inet, error text)"),
];

/// Functions that write nothing, so that they need not be volatile or may run in parallel workers. Every other
/// function must be volatile and parallel unsafe.
const READERS: &str = "
    abandoned_peers current_values list_series network network_points tunnels with_rates access_members pool_map account_of_actor changed_values event_near kind_of_actor name_of_actor account_login account_role acting_member acting_on_peer add_bytes agent_due
    agent_keys allowed_ips assignable_range can_be_certified certificate_counts check_account
    check_address check_admin_block check_admin_expiry check_batch check_code_address check_code_values check_device_name
    check_dns_port
    check_endpoint_owner check_endpoints check_fields check_grantable check_groups check_health
    check_host_bits
    check_interface check_job check_movable check_mtu check_network check_node_changes
    check_node_limits check_node_name check_node_range check_not_reserved check_peer
    check_peer_endpoint check_peer_identity check_project_options check_reach check_route_numbers
    check_rule check_size check_span check_successor check_text check_time check_words claim_key conf_of
    configuration_versions confirm_changes desired_interface device_allocation device_configurations
    device_networks device_revocation device_status_for device_unsafe_networks disk_room
    dual_families dumped_relations endpoint_address endpoint_fault enrolment_project expired_peers
    file_content file_duration file_name_base find_jobs find_segment find_share
    firewall_classes first_peer_network
    foreign_certificates forward_rule forward_rules free_numbers free_peer_network free_runs
    has_no_agent has_rows in_restore_session interface_endpoint
    is_administrator is_grantable
    is_label is_live is_made is_name is_private is_share_open is_shared is_time is_unfinished
    issued_certificates json_boolean json_integer json_list json_text json_texts json_time json_uuid known_generation known_peer
    client_network is_shared sign_in_delay unsealed_node_secrets
    knows_objects
    late_peers limit_certificates limit_files list_authorities list_certificates list_devices list_enabled_nodes
    list_enrolments list_events list_files list_jobs list_node_secrets list_nodes list_peers
    list_pools list_projects list_quotas list_rotations page_devices count_devices count_jobs
    list_routes list_rules list_shares made_bytes map_differences map_status
    missing_agent
    named_file network_number network_uses next_peer_network next_tick node_counts node_epoch
    node_health node_late_after node_of_device node_report node_scores node_secrets node_state
    least_role nodes_of_peer not_grantable permitted_projects project_of_device refuse_action
    list_personal_tokens projects_with_files require_scope require_session scope_actions
    require_operator require_permission role_in role_rank find_account
    check_new_name grouped_code name_hash has_second_factor sealed_totp pending_totp totp_status list_invitations
    invitation_action can_invite
    list_accounts list_members list_sessions numbered_network other_project_of overlapping_pool overlay_networks
    peer_addresses peer_counts peer_expiry peer_file_name peer_network_conflict
    peer_networks peer_ranges peer_routes peers_applied peers_of_nodes playable_variants
    playback_source
    pool_forecast pool_network pool_usage project_allocations project_configuration
    project_configuration_for projects_of
    project_lighthouses project_options project_trust quotas_of reach_outside
    read_inet refuse_endpoint refuse_field
    refuse_over_quota role_of
    render_conf report_drift report_interface report_seen report_text reported_bytes scrub_status
    require_account
    require_admin require_agentless require_device require_file require_interface require_job
    require_member require_node require_peer require_project rotation_missing row_limit
    sequences_to_restore share_state shared_identities show_interface show_node show_peer shown_node
    signing_authorities span special_networks static_endpoints tables_with_rows text_limit
    told_interface unknown_objects unowned_objects unusable_endpoints unfinished_bytes
    upload_project upload_room used_bytes vacant_segment
    variant_init variant_segments visible_projects wanted_state wireguard_key

    companion_job is_beside is_subtitle rate_beside stem subtitles_beside
    are_tags check_folder content_of folded is_below is_folder list_bookmarks list_folders list_tags
    old_trash require_trashed sort_key";

/// Members of the extension in schema nebula, without the test functions.
const FUNCTIONS: &str = "SELECT p.oid, p.proname, p.prosecdef, p.proconfig, p.proacl, l.lanname
    FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.pronamespace = 'nebula'::regnamespace";

#[pg_schema]
mod tests {
    use super::{CONTRACT, FUNCTIONS, READERS, RESULTS};
    use pgrx::prelude::*;

    /// The first column of all rows.
    fn list(sql: &str) -> Vec<String> {
        let sql = format!("SELECT coalesce(array_agg(x.name::text), '{{}}') FROM ({sql}) AS x(name)");
        Spi::get_one(&sql).expect("the catalog answers").expect("an array, if an empty one")
    }

    #[track_caller]
    fn none(what: &str, sql: &str) {
        let found = list(sql);
        assert!(found.is_empty(), "{what}: {}", found.join(", "));
    }

    /// A scan that is switched off gets a cost at which PostgreSQL compiles the plan, 60 ms in each execution.
    #[pg_test]
    fn functions_without_sequential_scans_compile_no_plan() {
        none(
            "enable_seqscan is off, jit is not",
            &format!(
                "SELECT f.proname FROM ({FUNCTIONS}) f
                  WHERE 'enable_seqscan=off' = ANY (f.proconfig) AND NOT 'jit=off' = ANY (f.proconfig)"
            ),
        );
    }

    #[pg_test]
    fn signatures_equal_the_contract() {
        for (name, arguments) in CONTRACT {
            let sql = format!(
                "SELECT pg_get_function_arguments(p.oid) FROM pg_proc p
                  WHERE p.pronamespace = 'nebula'::regnamespace AND p.proname = '{name}'"
            );
            let found = list(&sql);
            assert_eq!(found.len(), 1, "{name}");
            let rest = found[0].strip_prefix(arguments).unwrap_or_else(|| panic!("{name}({})", found[0]));
            assert!(
                rest.is_empty() || (rest.starts_with(", ") && rest.contains(" DEFAULT ")),
                "{name}: {rest}"
            );
        }
    }

    #[pg_test]
    fn results_equal_the_contract() {
        for (name, result) in RESULTS {
            let sql = format!(
                "SELECT pg_get_function_result(p.oid) FROM pg_proc p
                  WHERE p.pronamespace = 'nebula'::regnamespace AND p.proname = '{name}'"
            );
            assert_eq!(list(&sql), [*result], "{name}");
        }
    }

    #[pg_test]
    fn tables_and_sequences_are_dumped() {
        none(
            "lost by pg_dump",
            "SELECT c.relname FROM pg_depend d
               JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass
               JOIN pg_class c ON c.oid = d.objid AND d.classid = 'pg_class'::regclass
              WHERE e.extname = 'pg_nebula' AND d.deptype = 'e' AND c.relkind IN ('r', 'S')
                AND NOT c.oid = ANY (coalesce(e.extconfig, '{}'))",
        );
    }

    #[pg_test]
    fn public_has_no_privileges() {
        // A null ACL of a function is the built-in default, which lets PUBLIC execute it.
        none(
            "executable by PUBLIC",
            &format!(
                "SELECT f.proname FROM ({FUNCTIONS}) f
                  WHERE EXISTS (SELECT FROM aclexplode(coalesce(f.proacl, acldefault('f', 10))) a
                    WHERE a.grantee = 0)"
            ),
        );
        none(
            "open to PUBLIC",
            "SELECT c.relname FROM pg_class c, aclexplode(c.relacl) a
              WHERE c.relnamespace = 'nebula'::regnamespace AND a.grantee = 0
             UNION ALL
             SELECT nspname FROM pg_namespace, aclexplode(nspacl) a WHERE nspname = 'nebula'
               AND a.grantee = 0",
        );
    }

    #[pg_test]
    fn every_object_has_a_comment() {
        none(
            "without a comment",
            "SELECT p.oid::regprocedure::text FROM pg_proc p
              WHERE p.pronamespace = 'nebula'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL
             UNION ALL
             SELECT c.relname FROM pg_class c
              WHERE c.relnamespace = 'nebula'::regnamespace AND c.relkind IN ('r', 'v')
                AND obj_description(c.oid, 'pg_class') IS NULL
             UNION ALL
             SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
              WHERE c.relnamespace = 'nebula'::regnamespace AND c.relkind IN ('r', 'v')
                AND a.attnum > 0 AND NOT a.attisdropped AND col_description(c.oid, a.attnum) IS NULL",
        );
    }

    #[pg_test]
    fn privileged_functions_pin_their_search_path() {
        none(
            "SECURITY DEFINER with the caller's search_path",
            &format!(
                "SELECT f.proname FROM ({FUNCTIONS}) f
                  WHERE f.prosecdef
                    AND NOT coalesce(f.proconfig @> '{{\"search_path=nebula, pg_temp\"}}', false)"
            ),
        );
    }

    /// The server refuses to write in a function that is not volatile only when it is called, and caches or
    /// repeats the results of such a function; so each must be in the list.
    #[pg_test]
    fn functions_that_are_no_readers_are_volatile_and_stay_out_of_parallel_workers() {
        let marked = list(&format!(
            "SELECT DISTINCT f.proname FROM ({FUNCTIONS}) f JOIN pg_proc p USING (oid)
              WHERE p.provolatile <> 'v' OR p.proparallel <> 'u' ORDER BY 1"
        ));
        let differing = |of: &[String], from: &[String]| -> Vec<String> {
            of.iter().filter(|name| !from.contains(name)).cloned().collect()
        };
        let readers: Vec<String> = READERS.split_whitespace().map(str::to_owned).collect();
        let (unlisted, unmarked) = (differing(&marked, &readers), differing(&readers, &marked));
        assert!(unlisted.is_empty(), "marked as readers, but not in READERS: {}", unlisted.join(", "));
        assert!(unmarked.is_empty(), "in READERS, but volatile or missing: {}", unmarked.join(", "));
    }

    /// CREATE EXTENSION does not check function bodies, so a broken one would show only when it is called.
    #[pg_test]
    fn sql_bodies_pass_their_validators() {
        let functions = list(&format!(
            "SELECT format('%s(%s)', l.lanvalidator::regproc, f.oid) FROM ({FUNCTIONS}) f
               JOIN pg_language l USING (lanname)
              WHERE f.lanname IN ('sql', 'plpgsql')"
        ));
        assert!(functions.len() > 20, "the query above finds them");
        for call in functions {
            Spi::run(&format!("SELECT {call}")).expect("the body is sound");
        }
    }

    /// A role with no privilege but EXECUTE can call all functions.
    #[pg_test]
    fn execute_is_the_only_privilege_needed() {
        Spi::run(
            "CREATE ROLE nobody_special; GRANT USAGE ON SCHEMA nebula TO nobody_special;
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA nebula TO nobody_special; SET LOCAL ROLE nobody_special;
             DO $$ DECLARE project uuid := nebula.create_project('x'); job bigint;
             BEGIN
               PERFORM nebula.populate_pool(project, '10.0.0.0/24');
               PERFORM nebula.allocate_ip(project, project);
               PERFORM nebula.release_ip(project);
               PERFORM nebula.allocate_ips(project, ARRAY[project]);
               PERFORM nebula.renew_lease(project, '1 hour');
               PERFORM nebula.reclaim_expired();
               PERFORM nebula.reserve_range(project, 'cameras', 4);
               PERFORM nebula.exclude_addresses(project, 'printers', '10.0.0.200');
               PERFORM nebula.extend_pool(project, 'default', '10.0.0.0/23');
               PERFORM nebula.pool_forecast(project);
               PERFORM nebula.maintain_pools();
               PERFORM nebula.check_pool();
               PERFORM nebula.pool_usage(project);
               job := nebula.enqueue_job('t', '{}');
               PERFORM nebula.claim_jobs('w', '{t}');
               PERFORM nebula.heartbeat_job(job, 1, 0.5);
               PERFORM nebula.complete_job(job, 1);
               PERFORM nebula.enqueue_jobs('t', '{1,2}');
               PERFORM nebula.claim_jobs('w', '{t}');
               PERFORM nebula.postpone_job(job + 1, 1, '1 s', 'no room');
               PERFORM nebula.reclaim_job(job + 1, 1, 'w');
               PERFORM nebula.retry_job(job + 1);
               PERFORM nebula.claim_jobs('w', '{t}');
               PERFORM nebula.hand_back_job(job + 1, 2);
               PERFORM nebula.disk_room();
               PERFORM nebula.record_state('storage-disk', 'disk-low', '{}');
               BEGIN
                 PERFORM nebula.unknown_objects(NULL, '{a}');
               EXCEPTION WHEN cannot_connect_now THEN NULL;
               END;
               PERFORM nebula.cancel_job(job + 1);
               PERFORM nebula.retry_job(job + 1);
               PERFORM nebula.depend_job(job + 1, ARRAY[job + 2]);
               PERFORM nebula.claim_jobs('w', '{t}');
               PERFORM nebula.finish_and_claim(job + 2, 1, NULL, 'w', '{t}');
               PERFORM nebula.limit_jobs('t', 1);
               PERFORM nebula.pause_jobs('t');
               PERFORM nebula.resume_jobs('t');
               PERFORM nebula.retain_jobs('t', '1 day');
               PERFORM nebula.schedule_job('nightly', '@daily', 't');
               PERFORM nebula.run_schedules();
               PERFORM nebula.unschedule_job('nightly');
               PERFORM nebula.rescue_jobs();
               PERFORM nebula.release_due_jobs();
               PERFORM nebula.maintain_jobs();
               PERFORM nebula.prune_jobs('0 s');
               PERFORM nebula.register_node('n', 'n:1');
               PERFORM nebula.select_node();
               PERFORM nebula.create_peer(project, NULL, encode(sha256('key'), 'base64'), name => 'phone');
               PERFORM nebula.move_peer(peer_id, 'local') FROM nebula.create_peers(project, ARRAY[jsonb_build_object(
                 'publicKey', encode(sha256('other'), 'base64'))]);
               PERFORM nebula.maintain_peers();
               PERFORM nebula.node_scores();
             END $$",
        )
        .expect("EXECUTE is enough");
        assert_eq!(
            list("SELECT has_table_privilege('nobody_special', 'nebula.allocation', 'SELECT')::text"),
            ["false"]
        );
        Spi::run("RESET ROLE").expect("back to the owner");
    }
}
