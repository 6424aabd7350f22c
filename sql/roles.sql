-- The roles of the services and their privileges. Run it after CREATE EXTENSION and after every update; running it
-- again changes nothing. The roles cannot log in until the deployment lets them:
-- ALTER ROLE nebula_gateway LOGIN PASSWORD '…'. They execute functions and have no privileges on tables, so a faulty
-- service cannot break the rules of the database.

DO $$
DECLARE
  v_service text;
BEGIN
  FOREACH v_service IN ARRAY ARRAY['nebula_gateway', 'nebula_worker'] LOOP
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = v_service) THEN
      EXECUTE format('CREATE ROLE %I NOLOGIN', v_service);
    END IF;
    -- Revokes privileges that an earlier release granted and this one does not.
    EXECUTE format('REVOKE ALL ON ALL ROUTINES IN SCHEMA nebula FROM %I', v_service);
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA nebula FROM %I', v_service);
    EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA nebula FROM %I', v_service);
    EXECUTE format('GRANT USAGE ON SCHEMA nebula TO %I', v_service);
    -- The services ask for it after connecting, too; here it also holds behind a pooler in transaction mode.
    EXECUTE format('ALTER ROLE %I SET default_transaction_isolation = %L', v_service, 'read committed');
    -- Values of statements, such as passwords and tokens, are in no log, whatever the server logs otherwise.
    EXECUTE format('ALTER ROLE %I SET log_parameter_max_length = 0', v_service);
    EXECUTE format('ALTER ROLE %I SET log_parameter_max_length_on_error = 0', v_service);
    EXECUTE format('ALTER ROLE %I SET statement_timeout = %L', v_service, '30s');
    EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', v_service, '60s');
  END LOOP;
END $$;

-- The login of the gateway alone is worth nothing: the first parameter of each of its functions is an account that the
-- transaction has proven (nebula.proven_account), or the proof that a gateway is calling (nebula.proven_gateway). These
-- three make and check that proof.
GRANT EXECUTE ON FUNCTION
  nebula.actor(text),
  nebula.is_proven(uuid),
  nebula.is_gateway(uuid)
TO nebula_gateway;

-- The gateway acts for accounts: each of these functions checks the account (actor), or belongs to signing in.
GRANT EXECUTE ON FUNCTION
  nebula.require_admin(nebula.proven_account),
  nebula.account_role(nebula.proven_account),
  nebula.sign_in(nebula.proven_gateway, text, text, bytea, interval, inet, text, bigint, bytea),
  nebula.set_own_password(nebula.proven_account, text, text, uuid, inet),
  nebula.sealed_totp(nebula.proven_gateway, text),
  nebula.begin_totp(nebula.proven_account, text, bytea, inet),
  nebula.pending_totp(nebula.proven_account),
  nebula.confirm_totp(nebula.proven_account, bigint, bytea[], inet),
  nebula.end_totp(nebula.proven_account, text, inet),
  nebula.remove_totp_for(nebula.proven_account, uuid, inet),
  nebula.totp_status(nebula.proven_account),
  nebula.rotate_session(nebula.proven_gateway, bytea, bytea, interval, bytea),
  nebula.close_session(nebula.proven_gateway, uuid),
  nebula.list_sessions(nebula.proven_account, uuid),
  nebula.end_session_for(nebula.proven_account, uuid, inet),
  nebula.end_other_sessions(nebula.proven_account, uuid, inet),
  nebula.create_personal_token(nebula.proven_account, text, bytea, text[], interval, inet),
  nebula.list_personal_tokens(nebula.proven_account, uuid),
  nebula.end_personal_token(nebula.proven_account, uuid, inet),
  nebula.use_personal_token(nebula.proven_account, bytea, inet),
  nebula.take_from_rate(nebula.proven_gateway, text, text, integer, integer, interval, uuid, inet),
  nebula.look_at_rate(nebula.proven_gateway, text, text, integer, uuid, inet),
  nebula.forget_rate(nebula.proven_gateway, text, text),
  nebula.list_accounts(nebula.proven_account, text, integer),
  nebula.change_account_for(nebula.proven_account, uuid, jsonb, inet),
  nebula.delete_account_for(nebula.proven_account, uuid, inet),
  nebula.invite_for(nebula.proven_account, uuid, text, interval, text, inet),
  nebula.list_invitations(nebula.proven_account, uuid),
  nebula.revoke_invitation_for(nebula.proven_account, uuid, inet),
  nebula.find_invitation(nebula.proven_gateway, bytea),
  nebula.accept_invitation(nebula.proven_gateway, bytea, text, text, inet),
  nebula.join_by_invitation(nebula.proven_account, bytea, inet),
  nebula.list_members(nebula.proven_account, uuid),
  nebula.set_member_for(nebula.proven_account, uuid, text, text, inet),
  nebula.remove_member_for(nebula.proven_account, uuid, uuid, inet),
  nebula.require_member(nebula.proven_account, uuid),
  nebula.visible_projects(nebula.proven_account),
  nebula.record_authority(
    nebula.proven_gateway, bytea, text, text, smallint, timestamptz, timestamptz, text, inet[], inet[], text[]),
  nebula.adopt_authority_for(nebula.proven_gateway, uuid, bytea),
  nebula.project_configuration_for(nebula.proven_gateway, uuid),
  nebula.configuration_versions(nebula.proven_gateway, uuid[]),
  nebula.list_authorities(nebula.proven_account),
  nebula.signing_authorities(nebula.proven_gateway),
  nebula.record_ending_authorities(nebula.proven_gateway),
  nebula.register_by_code(nebula.proven_gateway, bytea, uuid, uuid, text, text[], text, bytea, inet),
  nebula.list_rotations(nebula.proven_account),
  nebula.begin_rotation(nebula.proven_account, uuid, bytea, inet),
  nebula.force_rotation(nebula.proven_account, uuid, inet),
  nebula.cancel_rotation(nebula.proven_account, uuid, inet),
  nebula.list_projects(nebula.proven_account),
  nebula.create_project_for(nebula.proven_account, text, text, text, inet),
  nebula.list_quotas(nebula.proven_account),
  nebula.set_quota_for(nebula.proven_account, text, uuid, bigint, inet),
  nebula.upload_room(nebula.proven_account, uuid, bigint, bytea),
  nebula.admit_upload(nebula.proven_account, uuid, uuid, bigint, bytea, interval, uuid[]),
  nebula.count_upload(nebula.proven_gateway, uuid, bigint),
  nebula.end_uploads(nebula.proven_gateway, uuid[]),
  nebula.end_expired_uploads(nebula.proven_gateway),
  nebula.list_pools(nebula.proven_account, uuid),
  nebula.create_pool_for(nebula.proven_account, uuid, text, text, boolean, inet),
  nebula.change_pool_for(nebula.proven_account, uuid, text, jsonb, inet),
  nebula.drop_pool_for(nebula.proven_account, uuid, text, inet),
  nebula.pool_map(nebula.proven_account, integer, text),
  nebula.register_devices(nebula.proven_gateway, uuid, nebula.new_device[], text[]),
  nebula.list_devices(nebula.proven_account, uuid, uuid),
  nebula.page_devices(nebula.proven_account, uuid, jsonb, text, boolean, jsonb, integer),
  nebula.count_devices(nebula.proven_account, uuid, text),
  nebula.device_status_for(nebula.proven_account, uuid),
  nebula.release_device(nebula.proven_account, uuid, inet),
  nebula.record_certificates(nebula.proven_gateway, nebula.new_certificate[]),
  nebula.create_enrolment_for(
    nebula.proven_account, uuid, text, text, text[], text[], text, integer, interval, uuid, bytea),
  nebula.list_enrolments(nebula.proven_account, uuid),
  nebula.revoke_enrolment_for(nebula.proven_account, uuid),
  nebula.revoke_device_for(nebula.proven_account, uuid, inet),
  nebula.revoke_certificate_for(nebula.proven_account, text, inet),
  nebula.device_revocation(nebula.proven_account, uuid),
  nebula.project_options(nebula.proven_account, uuid),
  nebula.set_project_options(nebula.proven_account, uuid, jsonb),
  nebula.set_device_groups_for(nebula.proven_account, uuid, text[]),
  nebula.list_rules(nebula.proven_account, uuid),
  nebula.access_members(nebula.proven_account, uuid, jsonb),
  nebula.add_rule_for(nebula.proven_account, jsonb),
  nebula.drop_rule_for(nebula.proven_account, bigint),
  nebula.list_routes(nebula.proven_account, uuid),
  nebula.add_route_for(nebula.proven_account, jsonb),
  nebula.drop_route_for(nebula.proven_account, uuid, text),
  nebula.list_certificates(nebula.proven_account, uuid),
  nebula.list_nodes(nebula.proven_account),
  nebula.register_node_for(nebula.proven_account, text, text, integer, integer, text, text[]),
  nebula.tie_node_for(nebula.proven_account, uuid, uuid, inet),
  nebula.list_enabled_nodes(nebula.proven_account, uuid),
  nebula.update_node_for(nebula.proven_account, uuid, jsonb, inet),
  nebula.remove_node_for(nebula.proven_account, uuid, boolean, inet),
  nebula.set_interface_for(nebula.proven_account, uuid, jsonb, inet),
  nebula.drop_interface_for(nebula.proven_account, uuid, text, boolean, inet),
  nebula.set_local_device_for(nebula.proven_account, uuid, uuid, inet),
  nebula.list_peers(nebula.proven_account, uuid, uuid, integer),
  nebula.create_peers_for(nebula.proven_account, uuid, jsonb, text, timestamptz, inet),
  nebula.update_peer_for(nebula.proven_account, uuid, jsonb, inet),
  nebula.move_peers_for(nebula.proven_account, uuid[], text, timestamptz, inet),
  nebula.cancel_move_for(nebula.proven_account, uuid, inet),
  nebula.remove_peers_for(nebula.proven_account, uuid[], inet),
  nebula.peer_config(nebula.proven_account, uuid),
  nebula.peers_applied(nebula.proven_account, uuid[]),
  nebula.withdraw_peers_for(nebula.proven_account, uuid[], text),
  nebula.node_counts(nebula.proven_gateway),
  nebula.peer_counts(nebula.proven_gateway),
  nebula.list_node_secrets(nebula.proven_account, uuid),
  nebula.make_node_secret_for(nebula.proven_account, uuid, bytea, inet),
  nebula.retire_node_secret_for(nebula.proven_account, uuid, uuid, inet),
  nebula.create_file(nebula.proven_account, uuid, uuid, text, text, bigint, bytea, text, text, boolean, inet, uuid[]),
  nebula.list_files(nebula.proven_account, uuid, jsonb, text, boolean, jsonb, integer),
  nebula.file_content(nebula.proven_account, uuid, text),
  nebula.convert_file(nebula.proven_account, uuid, boolean, inet),
  nebula.create_share(nebula.proven_account, uuid, bytea, text, timestamptz, boolean, text, inet),
  nebula.share_folder(nebula.proven_account, uuid, text, bytea, text, timestamptz, boolean, text, inet),
  nebula.list_shares(nebula.proven_account, uuid, uuid),
  nebula.revoke_share(nebula.proven_account, uuid, inet),
  nebula.find_share(nebula.proven_gateway, bytea),
  nebula.use_share(nebula.proven_gateway, uuid),
  nebula.is_share_open(nebula.proven_gateway, uuid, uuid),
  nebula.playback_source(nebula.proven_account, uuid),
  nebula.record_playback(nebula.proven_account, uuid, text, text, text[], text),
  nebula.named_file(nebula.proven_account, uuid, text, text),
  nebula.move_file(nebula.proven_account, uuid, text, text, inet),
  nebula.list_folders(nebula.proven_account, uuid, text),
  nebula.move_folder(nebula.proven_account, uuid, text, text, inet),
  nebula.tag_file(nebula.proven_account, uuid, text[], inet),
  nebula.list_tags(nebula.proven_account, uuid),
  nebula.content_of(nebula.proven_account, uuid),
  nebula.trash_file(nebula.proven_account, uuid, inet),
  nebula.trash_folder(nebula.proven_account, uuid, text, inet),
  nebula.restore_file(nebula.proven_account, uuid, text, text, inet),
  nebula.purge_file(nebula.proven_account, uuid, boolean, inet),
  nebula.old_trash(nebula.proven_gateway, interval, integer),
  nebula.purge_old(nebula.proven_gateway, uuid, interval),
  nebula.set_bookmark(nebula.proven_account, uuid, double precision, double precision),
  nebula.drop_bookmark(nebula.proven_account, uuid),
  nebula.list_bookmarks(nebula.proven_account, uuid, integer),
  nebula.playable_variants(nebula.proven_account, uuid),
  nebula.variant_segments(nebula.proven_account, uuid, text),
  nebula.variant_init(nebula.proven_account, uuid, text),
  nebula.find_segment(nebula.proven_account, uuid, text, integer, integer),
  nebula.make_from(nebula.proven_account, uuid, double precision),
  nebula.file_duration(nebula.proven_account, uuid),
  nebula.unknown_objects(nebula.proven_gateway, text[]),
  nebula.disk_room_for(nebula.proven_gateway),
  nebula.record_state_for(nebula.proven_gateway, text, text, jsonb),
  nebula.scrub_status(nebula.proven_gateway),
  nebula.schedule_scrub(nebula.proven_gateway, text),
  nebula.list_jobs(nebula.proven_account, uuid, bigint, integer, text, text, bigint),
  nebula.count_jobs(nebula.proven_account, uuid, text),
  nebula.cancel_job_for(nebula.proven_account, bigint, inet),
  nebula.retry_job_for(nebula.proven_account, bigint, inet),
  nebula.confirm_changes(nebula.proven_gateway, jsonb),
  nebula.list_events(nebula.proven_account, nebula.event_filter, integer, boolean),
  nebula.network(nebula.proven_account, uuid, uuid),
  nebula.list_series(nebula.proven_account, uuid, text[], timestamptz, timestamptz, integer),
  nebula.refuse_request(nebula.proven_account, text, text, bigint)
TO nebula_gateway;

-- For devices, which have no account: these check an enrolment code, or a call whose signature the gateway verified.
GRANT EXECUTE ON FUNCTION
  nebula.enrolment_project(nebula.proven_gateway, bytea),
  nebula.enroll_device(nebula.proven_gateway, bytea, uuid, text, text[], text, bytea, bytea, inet),
  nebula.agent_keys(nebula.proven_gateway, nebula.agent_call[]),
  nebula.node_secrets(nebula.proven_gateway, uuid),
  nebula.unsealed_node_secrets(nebula.proven_gateway),
  nebula.seal_node_secret(nebula.proven_gateway, uuid, bytea),
  nebula.accept_node_call(nebula.proven_gateway, uuid, uuid, text, timestamptz),
  nebula.sync_node(nebula.proven_gateway, uuid, timestamptz, jsonb),
  nebula.node_state(nebula.proven_gateway, uuid, jsonb),
  nebula.call_agent(nebula.proven_gateway, uuid, bigint, bytea, timestamptz),
  nebula.update_agents(nebula.proven_gateway, nebula.agent_call[]),
  nebula.report_agent(nebula.proven_gateway, uuid, bigint, bytea, timestamptz, jsonb, inet),
  nebula.find_device(nebula.proven_gateway, uuid, bigint, bytea, timestamptz, text),
  nebula.leave_project(nebula.proven_gateway, uuid, bigint, bytea, timestamptz, inet),
  nebula.refuse_call(nebula.proven_gateway, uuid, text, inet, bigint),
  nebula.certificate_counts(nebula.proven_gateway),
  nebula.device_configurations(nebula.proven_gateway, uuid[], bytea[], bigint)
TO nebula_gateway;

-- Workers handle jobs and have no accounts: the attempt of a claimed job authorizes their calls.
GRANT EXECUTE ON FUNCTION
  nebula.claim_jobs(text, text[], integer, interval, uuid, text[]),
  nebula.finish_and_claim(bigint, integer, jsonb, text, text[], integer, interval, uuid, text[]),
  nebula.heartbeat_job(bigint, integer, real, jsonb),
  nebula.complete_job(bigint, integer, jsonb),
  nebula.complete_jobs(bigint[], integer[], jsonb[]),
  nebula.fail_job(bigint, integer, text, boolean),
  nebula.hand_back_job(bigint, integer, text),
  nebula.postpone_job(bigint, integer, interval, text),
  nebula.reclaim_job(bigint, integer, text, interval),
  nebula.add_rendition(bigint, integer, uuid, text, text, bigint, bytea, text, jsonb),
  nebula.plan_renditions(bigint, integer, uuid, jsonb),
  nebula.plan_in_software(bigint, integer, uuid, text),
  nebula.add_chunks(bigint, integer, uuid, jsonb),
  nebula.list_chunks(bigint, integer, uuid, text[]),
  nebula.attempts_left(bigint, integer),
  nebula.describe_content(bigint, integer, uuid, jsonb),
  nebula.list_objects(bigint, integer, text, integer),
  nebula.objects_to_check(bigint, integer, interval, integer),
  nebula.record_faults(bigint, integer, jsonb, text[]),
  nebula.finish_scrub(bigint, integer),
  nebula.record_state(text, text, jsonb)
TO nebula_worker;

-- The owner of the functions is no superuser, so a fault in one of them reaches the tables of the extension and nothing
-- else. Those that no service executes and that need a superuser keep the owner of the extension: for tables of others,
-- and for restores.
DO $$
DECLARE
  v_routine regprocedure;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'nebula_owner') THEN
    CREATE ROLE nebula_owner NOLOGIN;
  END IF;
  GRANT USAGE, CREATE ON SCHEMA nebula TO nebula_owner;
  GRANT ALL ON ALL TABLES IN SCHEMA nebula TO nebula_owner;
  GRANT ALL ON ALL SEQUENCES IN SCHEMA nebula TO nebula_owner;
  GRANT EXECUTE ON ALL ROUTINES IN SCHEMA nebula TO nebula_owner;
  FOR v_routine IN
    SELECT p.oid
      FROM pg_catalog.pg_proc p
     WHERE p.pronamespace = 'nebula'::regnamespace
       AND p.prosecdef
       AND p.proname <> ALL (ARRAY['link_device_table', 'unlink_device_table', 'link_differences',
                                   'sync_linked_tables', 'begin_restore', 'finish_restore', 'restore_is_over',
                                   'restored_rows_begin', 'restored_rows_end', 'restore_ends',
                                   'in_restore_session', 'tables_with_rows', 'has_rows', 'dumped_relations',
                                   'sequences_to_restore'])
       AND p.proowner <> 'nebula_owner'::regrole
  LOOP
    EXECUTE format('ALTER ROUTINE %s OWNER TO nebula_owner', v_routine);
  END LOOP;
END $$;
