use pgrx::prelude::*;

#[pg_schema]
mod tests {
    use crate::tests::{assert_error, attempt, one, project, register, run, text};
    use pgrx::prelude::*;

    /// The question of a function of the gateway before it acts.
    enum Asks {
        /// The action, and arguments with which it is asked; `$1` is the account.
        Action(&'static str, &'static str),
        /// Whether the account sees the object, or it answers only what the account sees.
        Sight,
        /// Whether the account has signed in, with the arguments: no personal token may do it, whatever its scopes.
        Session(&'static str),
        /// Nothing of an account: it signs one in, or acts for a device or the gateway itself.
        NoAccount,
    }
    use Asks::{Action, NoAccount, Session, Sight};

    const PROJECT: &str = "(SELECT project_id FROM nebula.project WHERE name = 'proof')";
    const ROLES: [&str; 6] = ["stranger", "viewer", "member", "admin", "owner", "operator"];

    /// Every function that sql/roles.sql grants to the gateway. `$p`: the project, `$a`: a viewer of it, `$d`: a
    /// device, `$f`: a file.
    const FUNCTIONS: &[(&str, Asks)] = &[
        ("actor", NoAccount),
        ("is_proven", NoAccount),
        ("is_gateway", NoAccount),
        ("account_role", Sight),
        ("require_admin", Action("system.read", "$1")),
        ("sign_in", NoAccount),
        ("set_own_password", Session("$1, 'old', 'hash', NULL")),
        ("sealed_totp", NoAccount),
        ("begin_totp", Session("$1, 'password', '\\x00'")),
        ("pending_totp", Session("$1")),
        ("confirm_totp", Session("$1, 1, '{}'")),
        ("end_totp", Session("$1, 'password'")),
        ("remove_totp_for", Action("account.write", "$1, $a")),
        ("totp_status", Session("$1")),
        ("take_from_rate", NoAccount),
        ("look_at_rate", NoAccount),
        ("forget_rate", NoAccount),
        ("rotate_session", NoAccount),
        ("close_session", NoAccount),
        ("list_sessions", Action("account.write", "$1, gen_random_uuid()")),
        ("end_session_for", Session("$1, gen_random_uuid()")),
        ("end_other_sessions", Session("$1, gen_random_uuid()")),
        ("create_personal_token", Session("$1, 'ci', sha256('ci'), '{read}', interval '1 day'")),
        ("list_personal_tokens", Session("$1")),
        ("end_personal_token", Session("$1, gen_random_uuid()")),
        ("use_personal_token", Sight),
        ("list_accounts", Action("account.write", "$1")),
        ("change_account_for", Action("account.write", "$1, $a, '{\"role\": \"admin\"}'")),
        ("delete_account_for", Action("account.write", "$1, $a")),
        ("invite_for", Action("member.invite", "$1, $p, 'member', NULL, NULL")),
        ("list_invitations", Action("member.invite", "$1, $p")),
        ("revoke_invitation_for", Sight),
        ("find_invitation", NoAccount),
        ("accept_invitation", NoAccount),
        ("join_by_invitation", Session("$1, sha256('code')")),
        ("list_members", Action("project.read", "$1, $p")),
        ("set_member_for", Action("member.write", "$1, $p, 'stranger', 'viewer'")),
        ("remove_member_for", Action("member.write", "$1, $p, $a")),
        ("require_member", Action("project.read", "$1, $p")),
        ("visible_projects", Sight),
        ("record_authority", NoAccount),
        ("adopt_authority_for", NoAccount),
        ("project_configuration_for", NoAccount),
        ("configuration_versions", NoAccount),
        ("list_authorities", Action("authority.read", "$1")),
        ("signing_authorities", NoAccount),
        ("record_ending_authorities", NoAccount),
        ("register_by_code", NoAccount),
        ("list_rotations", Action("rotation.write", "$1")),
        ("begin_rotation", Action("rotation.write", "$1, $p, '\\x00'")),
        ("force_rotation", Action("rotation.write", "$1, $p")),
        ("cancel_rotation", Action("rotation.write", "$1, $p")),
        ("list_projects", Sight),
        ("create_project_for", Action("project.create", "$1, 'new', '10.9.0.0/24', NULL")),
        ("list_quotas", Sight),
        ("set_quota_for", Action("quota.write", "$1, 'project', $p, 1")),
        ("upload_room", Action("file.write", "$1, $p, 1")),
        ("admit_upload", Action("file.write", "$1, gen_random_uuid(), $p, 1, NULL, '1 day'")),
        ("count_upload", NoAccount),
        ("end_uploads", NoAccount),
        ("end_expired_uploads", NoAccount),
        ("list_pools", Sight),
        ("create_pool_for", Action("project.create", "$1, $p, 'new', '10.9.0.0/24', false")),
        ("change_pool_for", Action("project.create", "$1, $p, 'default', '{\"enabled\": false}'")),
        ("drop_pool_for", Action("project.create", "$1, $p, 'default'")),
        ("pool_map", Sight),
        ("access_members", Action("project.read", "$1, $p, '[]'")),
        (
            "register_devices",
            Action(
                "device.register",
                "NULL, $p, ARRAY[ROW(gen_random_uuid(), $1, 'new', 'host', '{}', '25519', sha256('new'), NULL, NULL)]\
                 ::nebula.new_device[]",
            ),
        ),
        ("list_devices", Sight),
        ("page_devices", Sight),
        ("count_devices", Sight),
        ("device_status_for", Sight),
        ("release_device", Action("device.write", "$1, $d")),
        ("record_certificates", NoAccount),
        (
            "create_enrolment_for",
            Action("enrolment.write", "$1, $p, NULL, 'host', '{}', '{}', NULL, 1, interval '1 hour'"),
        ),
        ("list_enrolments", Action("enrolment.write", "$1, $p")),
        (
            "revoke_enrolment_for",
            Action("enrolment.write", "$1, (SELECT enrolment_id FROM nebula.enrolment)"),
        ),
        ("revoke_device_for", Action("device.write", "$1, $d")),
        ("revoke_certificate_for", Action("device.write", "$1, repeat('00', 32)")),
        ("device_revocation", Action("device.write", "$1, $d")),
        ("project_options", Action("project.read", "$1, $p")),
        ("set_project_options", Action("project.write", "$1, $p, '{\"mtu\": 1200}'")),
        ("set_device_groups_for", Action("device.write", "$1, $d, '{a}'")),
        ("list_rules", Sight),
        (
            "add_rule_for",
            Action("network.write", "$1, jsonb_build_object('projectId', $p, 'direction', 'inbound')"),
        ),
        ("drop_rule_for", Action("network.write", "$1, (SELECT max(rule_id) FROM nebula.firewall_rule)")),
        ("list_routes", Sight),
        (
            "add_route_for",
            Action(
                "network.write",
                "$1, jsonb_build_object('projectId', $p, 'network', '192.0.2.0/24', 'deviceId', $d)",
            ),
        ),
        ("drop_route_for", Action("network.write", "$1, $p, '192.0.2.0/24'")),
        ("list_certificates", Sight),
        ("list_nodes", Action("node.write", "$1")),
        ("register_node_for", Action("node.write", "$1, 'n', 'n.example:1', 10, 100, NULL, '{}'")),
        ("tie_node_for", Action("node.write", "$1, gen_random_uuid(), $d, NULL")),
        ("list_enabled_nodes", Action("project.read", "$1, $p")),
        ("update_node_for", Action("node.write", "$1, gen_random_uuid(), '{}', NULL")),
        ("remove_node_for", Action("node.write", "$1, gen_random_uuid(), false, NULL")),
        ("set_interface_for", Action("node.write", "$1, gen_random_uuid(), '{}', NULL")),
        ("drop_interface_for", Action("node.write", "$1, gen_random_uuid(), 'wg1', false, NULL")),
        ("set_local_device_for", Action("node.write", "$1, $p, $d, NULL")),
        ("list_peers", Sight),
        ("create_peers_for", Action("peer.write", "$1, $p, '[]', 'auto', NULL")),
        ("update_peer_for", Sight),
        ("move_peers_for", Sight),
        ("cancel_move_for", Sight),
        ("remove_peers_for", Sight),
        ("peer_config", Sight),
        ("peers_applied", Sight),
        ("withdraw_peers_for", Sight),
        ("node_counts", NoAccount),
        ("peer_counts", NoAccount),
        ("list_node_secrets", Action("node.write", "$1, gen_random_uuid()")),
        ("make_node_secret_for", Action("node.write", "$1, gen_random_uuid(), NULL")),
        ("retire_node_secret_for", Action("node.write", "$1, gen_random_uuid(), NULL, NULL")),
        (
            "create_file",
            Action(
                "file.write",
                "$1, gen_random_uuid(), $p, '', 'b', 1, sha256('b'), 'text/plain', 'files/b/original', false, \
                 NULL",
            ),
        ),
        ("list_files", Sight),
        ("file_content", Action("file.read", "$1, $f, NULL")),
        ("create_share", Action("share.write", "$1, $f, sha256('t'), NULL, NULL, true, NULL, NULL")),
        ("share_folder", Action("share.write", "$1, $p, 'x', sha256('u')")),
        ("list_shares", Sight),
        ("revoke_share", Action("share.write", "$1, (SELECT share_id FROM nebula.share)")),
        ("find_share", NoAccount),
        ("use_share", NoAccount),
        ("is_share_open", NoAccount),
        ("playback_source", Action("file.read", "$1, $f")),
        ("record_playback", Sight),
        ("named_file", Action("file.write", "$1, $p, '', 'a'")),
        ("move_file", Action("file.write", "$1, $f, '', 'c'")),
        ("list_folders", Action("file.read", "$1, $p")),
        ("move_folder", Action("file.write", "$1, $p, 'x', 'y'")),
        ("convert_file", Action("file.write", "$1, $f, true")),
        ("tag_file", Action("file.write", "$1, $f, '{new}'")),
        ("list_tags", Action("file.read", "$1, $p")),
        ("content_of", Action("file.read", "$1, $f")),
        ("trash_file", Action("file.write", "$1, $f")),
        ("trash_folder", Action("file.write", "$1, $p, 'x'")),
        ("restore_file", Action("file.write", "$1, $f")),
        ("purge_file", Action("file.write", "$1, $f")),
        ("old_trash", NoAccount),
        ("purge_old", NoAccount),
        ("set_bookmark", Action("file.read", "$1, $f, 1, 2")),
        ("drop_bookmark", Sight),
        ("list_bookmarks", Sight),
        ("playable_variants", Action("file.read", "$1, $f")),
        ("variant_segments", Sight),
        ("variant_init", Sight),
        ("find_segment", Sight),
        ("make_from", Sight),
        ("file_duration", Action("file.read", "$1, $f")),
        ("unknown_objects", NoAccount),
        ("disk_room_for", NoAccount),
        ("record_state_for", NoAccount),
        ("scrub_status", NoAccount),
        ("schedule_scrub", NoAccount),
        ("list_jobs", Sight),
        ("count_jobs", Sight),
        ("cancel_job_for", Action("job.write", "$1, (SELECT job_id FROM nebula.job_waiting)")),
        ("retry_job_for", Action("job.write", "$1, (SELECT job_id FROM nebula.job_waiting)")),
        ("confirm_changes", NoAccount),
        ("list_events", Sight),
        ("network", Action("project.read", "$1, $p")),
        ("list_series", Action("project.read", "$1, $p, '{}', now(), now(), 1")),
        ("refuse_request", Sight),
        ("enrolment_project", NoAccount),
        ("enroll_device", NoAccount),
        ("agent_keys", NoAccount),
        ("node_secrets", NoAccount),
        ("unsealed_node_secrets", NoAccount),
        ("seal_node_secret", NoAccount),
        ("accept_node_call", NoAccount),
        ("sync_node", NoAccount),
        ("node_state", NoAccount),
        ("call_agent", NoAccount),
        ("update_agents", NoAccount),
        ("report_agent", NoAccount),
        ("find_device", NoAccount),
        ("leave_project", NoAccount),
        ("refuse_call", NoAccount),
        ("certificate_counts", NoAccount),
        ("device_configurations", NoAccount),
    ];

    /// A project with one object of each kind, and an account of each role.
    fn everything() {
        let project = project("10.0.0.0/24");
        assert_eq!(text(PROJECT), project);
        run("SELECT nebula.create_account(n, '$argon2id$x',
                                          CASE n WHEN 'operator' THEN 'admin' ELSE 'member' END)
               FROM unnest('{stranger,viewer,member,admin,owner,operator,guest}'::text[]) n");
        for role in &ROLES[1..5] {
            run(&format!("SELECT nebula.add_member('{project}', '{role}', '{role}')"));
        }
        run(&format!("SELECT nebula.add_member('{project}', 'guest', 'viewer')"));
        register(&project, 1, "host");
        run("INSERT INTO nebula.certificate (fingerprint, project_id, device_id, version, curve, networks, groups,
                                             public_key, issuer, not_before, not_after, pem)
             SELECT decode(repeat('00', 32), 'hex'), project_id, device_id, 1, '25519', '{10.0.0.1/24}', '{}',
                    public_key, sha256('ca'), now(), now() + interval '1 day', ''
               FROM nebula.device");
        run(&format!("SELECT nebula.create_enrolment('{project}'), nebula.add_rule('{project}', 'inbound')"));
        run(&format!("SELECT nebula.enqueue_job('kind', '{{}}', project_id => '{project}')"));
        let owner = account("owner");
        run(&format!(
            "SELECT nebula.create_file('{owner}', gen_random_uuid(), '{project}', '', 'a', 1, sha256('a'),
                                       'text/plain', 'files/a/original', false, NULL)"
        ));
        run(&format!(
            "SELECT nebula.create_share('{owner}', file_id, sha256('s'), NULL, NULL, true, NULL, NULL)
               FROM nebula.file"
        ));
    }

    fn account(name: &str) -> String {
        text(&format!("SELECT account_id FROM nebula.account WHERE username = '{name}'"))
    }

    /// SQLSTATE and message of a call, which changes nothing: it ends with an error, if only with ours.
    fn outcome(function: &str, arguments: &str, role: &str) -> String {
        let arguments = arguments
            .replace("$1", &format!("'{}'", account(role)))
            .replace("$p", PROJECT)
            .replace("$a", "(SELECT account_id FROM nebula.account WHERE username = 'guest')")
            .replace("$d", "(SELECT device_id FROM nebula.device)")
            .replace("$f", "(SELECT file_id FROM nebula.file)");
        let [code, message, _] = attempt(&format!(
            "DO $do$
             BEGIN
               PERFORM * FROM nebula.{function}({arguments});
               RAISE 'done' USING ERRCODE = 'ZZ000';
             END $do$"
        ));
        format!("{code} {message}")
    }

    #[pg_test]
    fn every_function_of_the_gateway_asks_for_the_right_that_the_table_names() {
        everything();
        for (function, asks) in FUNCTIONS {
            let Action(action, arguments) = asks else { continue };
            let least: i32 = one(&format!("SELECT nebula.role_rank(nebula.least_role('{action}'))"));
            for (role, rank) in ROLES.iter().zip(0..) {
                let outcome = outcome(function, arguments, role);
                let refused = outcome.starts_with("42501") || rank == 0 && outcome.starts_with("P0002");
                assert_eq!(refused, rank < least, "{function} by {role} ({action}): {outcome}");
                assert!(
                    !outcome.starts_with("42883") && !outcome.starts_with("42601"),
                    "{function}: {outcome}"
                );
            }
        }
    }

    /// Proves an operator of this name by a personal token that is good for these actions, for the rest of the
    /// transaction.
    fn prove_by_token(operator: &str, actions: &str) {
        run(&format!("SELECT nebula.create_account('{operator}', '$argon2id$x', 'admin')"));
        run(&format!(
            "INSERT INTO nebula.personal_token (account_id, token_hash, name, scopes, actions, expires_at)
             SELECT account_id, sha256(convert_to('nebula_pat_' || username, 'UTF8')), 'ci', '{{admin}}', {actions},
                    now() + interval '1 hour'
               FROM nebula.account WHERE username = '{operator}'"
        ));
        run(&format!("SELECT nebula.actor('nebula_pat_{operator}')"));
    }

    #[pg_test]
    fn a_personal_token_may_do_what_its_scopes_name_and_nothing_else() {
        everything();
        for action in text("SELECT string_agg(action, ' ') FROM nebula.permission").split(' ') {
            let (with, without) = (format!("with-{action}"), format!("without-{action}"));
            prove_by_token(&with, &format!("'{{project.read,file.read,{action}}}'"));
            let others = format!("ARRAY(SELECT action FROM nebula.permission WHERE action <> '{action}')");
            prove_by_token(&without, &others);
            for (function, asks) in FUNCTIONS {
                let Action(asked, arguments) = asks else { continue };
                if *asked != action {
                    continue;
                }
                let is_refused = |account: &str| {
                    let outcome = outcome(function, arguments, account);
                    outcome.starts_with("42501") && outcome.contains("scopes of the personal token")
                };
                assert!(!is_refused(&with), "{function} with the scope {action}");
                assert!(is_refused(&without), "{function} without the scope {action}");
            }
        }
    }

    #[pg_test]
    fn a_personal_token_with_all_scopes_changes_neither_its_account_nor_its_tokens() {
        everything();
        prove_by_token("robot", "ARRAY(SELECT action FROM nebula.permission)");
        for (function, asks) in FUNCTIONS {
            let Session(arguments) = asks else { continue };
            let refused = outcome(function, arguments, "robot");
            let by_token = "42501 a personal token may not";
            assert!(refused.starts_with(by_token), "{function} by a personal token: {refused}");
            let allowed = outcome(function, arguments, "operator");
            assert!(!allowed.starts_with(by_token), "{function} in a session: {allowed}");
            assert!(!allowed.starts_with("42883"), "{function}: {allowed}");
        }
    }

    #[pg_test]
    fn a_project_that_does_not_exist_is_named_to_members_and_operators_alike() {
        everything();
        for role in &ROLES[1..] {
            let actor = account(role);
            let call =
                format!("SELECT nebula.require_permission('{actor}', gen_random_uuid(), 'project.read')");
            assert_error(&call, "P0002", &["project"]);
        }
    }

    #[pg_test]
    fn every_function_of_the_gateway_is_in_the_table() {
        let granted = include_str!("../../../sql/roles.sql")
            .split("GRANT EXECUTE ON FUNCTION")
            .filter_map(|block| block.split_once("TO nebula_gateway;"))
            .flat_map(|(block, _)| block.lines())
            .filter_map(|line| line.trim().strip_prefix("nebula.")?.split_once('('))
            .map(|(name, _)| name);
        let known: Vec<_> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
        let missing: Vec<_> = granted.filter(|name| !known.contains(name)).collect();
        assert!(missing.is_empty(), "what do these ask before they act? {missing:?}");
    }

    #[pg_test]
    fn each_action_is_asked_for_or_said_to_be_read() {
        let asked: Vec<_> = FUNCTIONS
            .iter()
            .filter_map(|(_, asks)| match asks {
                Action(action, _) => Some(*action),
                _ => None,
            })
            .collect();
        for action in text("SELECT string_agg(action, ' ') FROM nebula.permission").split(' ') {
            // Of functions that answer what an account sees, and of functions that no account calls.
            let other = ["peer.admin", "event.origin"];
            assert!(asked.contains(&action) || other.contains(&action), "nothing asks for {action}");
        }
    }

    #[pg_test]
    fn the_cookbook_shows_what_the_table_says() {
        let rows: String =
            one("SELECT string_agg(format('| `%s` | %s | %s |', action, least_role, description), E'\\n')
               FROM nebula.permission");
        assert!(include_str!("../../../sql/README.md").contains(&rows), "write into sql/README.md:\n{rows}");
    }
}
