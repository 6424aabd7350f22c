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
    EXECUTE format('ALTER ROLE %I SET statement_timeout = %L', v_service, '30s');
    EXECUTE format('ALTER ROLE %I SET idle_in_transaction_session_timeout = %L', v_service, '60s');
  END LOOP;
END $$;

-- The gateway acts for accounts: each of these functions checks the account (actor), or belongs to signing in.
GRANT EXECUTE ON FUNCTION
  nebula.account_login(text),
  nebula.require_admin(uuid),
  nebula.account_role(uuid),
  nebula.open_session(uuid, bytea, interval, inet, text),
  nebula.rotate_session(bytea, bytea, interval),
  nebula.close_session(uuid),
  nebula.list_sessions(uuid, uuid),
  nebula.end_session_for(uuid, uuid, inet),
  nebula.end_other_sessions(uuid, uuid, inet),
  nebula.list_accounts(uuid, text, integer),
  nebula.change_account_for(uuid, uuid, jsonb, inet),
  nebula.delete_account_for(uuid, uuid, inet),
  nebula.list_members(uuid, uuid),
  nebula.set_member_for(uuid, uuid, text, text, inet),
  nebula.remove_member_for(uuid, uuid, uuid, inet),
  nebula.require_member(uuid, uuid),
  nebula.visible_projects(uuid),
  nebula.record_authority(bytea, text, text, smallint, timestamptz, timestamptz, text, inet[], inet[], text[]),
  nebula.adopt_authority(uuid, bytea),
  nebula.project_configuration(uuid),
  nebula.configuration_versions(uuid[]),
  nebula.list_authorities(uuid),
  nebula.signing_authorities(),
  nebula.record_ending_authorities(),
  nebula.register_by_code(bytea, uuid, uuid, text, text[], text, bytea, inet),
  nebula.list_rotations(uuid),
  nebula.begin_rotation(uuid, uuid, bytea, inet),
  nebula.force_rotation(uuid, uuid, inet),
  nebula.cancel_rotation(uuid, uuid, inet),
  nebula.list_projects(uuid),
  nebula.list_quotas(uuid),
  nebula.set_quota_for(uuid, text, uuid, bigint, inet),
  nebula.upload_room(uuid, uuid, bigint, bytea),
  nebula.admit_upload(uuid, uuid, uuid, bigint, bytea, interval, uuid[]),
  nebula.count_upload(uuid, bigint),
  nebula.end_uploads(uuid[]),
  nebula.end_expired_uploads(),
  nebula.list_pools(uuid, uuid),
  nebula.register_devices(uuid, nebula.new_device[]),
  nebula.list_devices(uuid, uuid, uuid),
  nebula.device_status_for(uuid, uuid),
  nebula.release_device(uuid, uuid, inet),
  nebula.record_certificates(nebula.new_certificate[]),
  nebula.create_enrolment_for(uuid, uuid, text, text, text[], text[], text, integer, interval, uuid, bytea),
  nebula.list_enrolments(uuid, uuid),
  nebula.revoke_enrolment_for(uuid, uuid),
  nebula.revoke_device_for(uuid, uuid, inet),
  nebula.revoke_certificate_for(uuid, text, inet),
  nebula.device_revocation(uuid, uuid),
  nebula.project_options(uuid, uuid),
  nebula.set_project_options(uuid, uuid, jsonb),
  nebula.set_device_groups_for(uuid, uuid, text[]),
  nebula.list_rules(uuid, uuid),
  nebula.add_rule_for(uuid, jsonb),
  nebula.drop_rule_for(uuid, bigint),
  nebula.list_routes(uuid, uuid),
  nebula.add_route_for(uuid, jsonb),
  nebula.drop_route_for(uuid, uuid, text),
  nebula.list_certificates(uuid, uuid),
  nebula.list_nodes(uuid),
  nebula.register_node_for(uuid, text, text, integer, integer, text, text[]),
  nebula.tie_node_for(uuid, uuid, uuid, inet),
  nebula.list_enabled_nodes(uuid, uuid),
  nebula.update_node_for(uuid, uuid, jsonb, inet),
  nebula.remove_node_for(uuid, uuid, boolean, inet),
  nebula.set_interface_for(uuid, uuid, jsonb, inet),
  nebula.drop_interface_for(uuid, uuid, text, boolean, inet),
  nebula.set_local_device_for(uuid, uuid, uuid, inet),
  nebula.list_peers(uuid, uuid, uuid, integer),
  nebula.create_peers_for(uuid, uuid, jsonb, text, timestamptz, inet),
  nebula.update_peer_for(uuid, uuid, jsonb, inet),
  nebula.move_peers_for(uuid, uuid[], text, timestamptz, inet),
  nebula.cancel_move_for(uuid, uuid, inet),
  nebula.remove_peers_for(uuid, uuid[], inet),
  nebula.peer_config(uuid, uuid),
  nebula.peers_applied(uuid, uuid[]),
  nebula.withdraw_peers_for(uuid, uuid[], text),
  nebula.node_counts(),
  nebula.peer_counts(),
  nebula.list_node_secrets(uuid, uuid),
  nebula.make_node_secret_for(uuid, uuid, inet),
  nebula.retire_node_secret_for(uuid, uuid, uuid, inet),
  nebula.create_file(uuid, uuid, uuid, text, text, bigint, bytea, text, text, boolean, inet, uuid[]),
  nebula.list_files(uuid, uuid, jsonb, text, boolean, jsonb, integer),
  nebula.file_content(uuid, uuid, text),
  nebula.convert_file(uuid, uuid, boolean, inet),
  nebula.create_share(uuid, uuid, bytea, text, timestamptz, boolean, text, inet),
  nebula.share_folder(uuid, uuid, text, bytea, text, timestamptz, boolean, text, inet),
  nebula.list_shares(uuid, uuid, uuid),
  nebula.revoke_share(uuid, uuid, inet),
  nebula.find_share(bytea),
  nebula.use_share(uuid),
  nebula.is_share_open(uuid, uuid),
  nebula.playback_source(uuid, uuid),
  nebula.record_playback(uuid, uuid, text, text, text[], text),
  nebula.named_file(uuid, uuid, text, text),
  nebula.move_file(uuid, uuid, text, text, inet),
  nebula.list_folders(uuid, uuid, text),
  nebula.move_folder(uuid, uuid, text, text, inet),
  nebula.tag_file(uuid, uuid, text[], inet),
  nebula.list_tags(uuid, uuid),
  nebula.content_of(uuid, uuid),
  nebula.trash_file(uuid, uuid, inet),
  nebula.trash_folder(uuid, uuid, text, inet),
  nebula.restore_file(uuid, uuid, text, text, inet),
  nebula.purge_file(uuid, uuid, boolean, inet),
  nebula.old_trash(interval, integer),
  nebula.purge_old(uuid, interval),
  nebula.set_bookmark(uuid, uuid, double precision, double precision),
  nebula.drop_bookmark(uuid, uuid),
  nebula.list_bookmarks(uuid, uuid, integer),
  nebula.playable_variants(uuid, uuid),
  nebula.variant_segments(uuid, uuid, text),
  nebula.variant_init(uuid, uuid, text),
  nebula.find_segment(uuid, uuid, text, integer, integer),
  nebula.make_from(uuid, uuid, double precision),
  nebula.file_duration(uuid, uuid),
  nebula.unknown_objects(text[]),
  nebula.disk_room(),
  nebula.record_state(text, text, jsonb),
  nebula.scrub_status(),
  nebula.schedule_scrub(text),
  nebula.list_jobs(uuid, uuid, bigint, integer, text, text, bigint),
  nebula.cancel_job_for(uuid, bigint, inet),
  nebula.retry_job_for(uuid, bigint, inet),
  nebula.confirm_changes(jsonb),
  nebula.list_events(uuid, uuid, bigint, integer)
TO nebula_gateway;

-- For devices, which have no account: these check an enrolment code, or a call whose signature the gateway verified.
GRANT EXECUTE ON FUNCTION
  nebula.enrolment_project(bytea),
  nebula.enroll_device(bytea, uuid, text, text[], text, bytea, bytea, inet),
  nebula.agent_keys(nebula.agent_call[]),
  nebula.node_secrets(uuid),
  nebula.accept_node_call(uuid, uuid, text, timestamptz),
  nebula.sync_node(uuid, timestamptz, jsonb),
  nebula.node_state(uuid, jsonb),
  nebula.call_agent(uuid, bigint, bytea, timestamptz),
  nebula.update_agents(nebula.agent_call[]),
  nebula.report_agent(uuid, bigint, bytea, timestamptz, jsonb, inet),
  nebula.find_device(uuid, bigint, bytea, timestamptz, text),
  nebula.leave_project(uuid, bigint, bytea, timestamptz, inet),
  nebula.refuse_call(uuid, text, inet, bigint),
  nebula.certificate_counts(),
  nebula.device_configurations(uuid[], bytea[], bigint)
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
