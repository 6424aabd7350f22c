-- Agents: what they report of themselves, and how they leave.

CREATE FUNCTION nebula.report_agent(
  p_gateway nebula.proven_gateway, p_device_id uuid, p_counter bigint, p_host_key bytea, p_said_at timestamptz,
  p_report jsonb, p_client inet DEFAULT NULL
) RETURNS TABLE (folder_id text, folder_label text, peers jsonb, options jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_caller  nebula.agent;
  v_refused bigint;
BEGIN
  PERFORM nebula.lock_node_of(p_device_id);
  v_caller := nebula.accept_call(p_device_id, p_counter, p_host_key, p_said_at, true);
  -- Also of one that it runs: nebula took it over by a reload, and does not start with it again.
  v_refused := (SELECT w.version
                  FROM nebula.agent_answer w
                 WHERE w.device_id = v_caller.device_id
                   AND w.counter = (p_report -> 'refused' ->> 'counter')::bigint
                   AND w.counter >= v_caller.acknowledged_counter);
  IF v_refused > coalesce(v_caller.refused_version, 0) THEN
    PERFORM nebula.record_event(v_caller.project_id, 'agent', 'refuse-config', 'device',
                                v_caller.device_id::text, p_client,
                                jsonb_build_object(
                                  'version', v_refused,
                                  'reason', left(p_report -> 'refused' ->> 'reason', 1000)
                                ));
  END IF;
  UPDATE nebula.agent a
     SET report = nebula.with_rates(a.report, p_report - 'nonce', extract(epoch FROM now() - a.reported_at)),
         reported_at = now(),
         nebula_version = left(coalesce(p_report ->> 'nebulaVersion', a.nebula_version), 50),
         agent_version = left(p_report ->> 'agentVersion', 50),
         syncthing_id = left(p_report -> 'syncthing' ->> 'id', 100),
         refused_version = coalesce(v_refused, a.refused_version),
         refused_at = CASE WHEN v_refused IS NOT NULL THEN now() ELSE a.refused_at END,
         refused_reason = CASE
                            WHEN v_refused IS NOT NULL THEN left(p_report -> 'refused' ->> 'reason', 1000)
                            ELSE a.refused_reason
                          END
   WHERE a.device_id = v_caller.device_id;
  PERFORM nebula.node_heartbeat(n.node_id, coalesce(p_report -> 'health', '{}'))
    FROM nebula.node n
   WHERE n.device_id = v_caller.device_id;
  RETURN QUERY
    SELECT 'nebula-' || p.project_id, p.name,
           coalesce(
             (SELECT jsonb_agg(jsonb_build_object('name', d.name, 'id', o.syncthing_id, 'address', host(h.ip))
                               ORDER BY d.name)
                FROM nebula.agent o
                JOIN nebula.device d USING (device_id)
                JOIN nebula.allocation h ON h.device_id = o.device_id AND h.released_at IS NULL
               WHERE o.project_id = p.project_id
                 AND o.syncthing_id IS NOT NULL
                 AND o.device_id <> v_caller.device_id
                 AND d.revoked_at IS NULL),
             '[]'
           ),
           jsonb_strip_nulls(jsonb_build_object(
                               'pendingKib', p.sync_pending_kib, 'hashers', p.sync_hashers,
                               'writes', p.sync_writes, 'order', p.sync_order,
                               'connections', p.sync_connections
                             ))
      FROM nebula.project p
     WHERE p.project_id = v_caller.project_id;
END $$;
COMMENT ON FUNCTION nebula.report_agent(nebula.proven_gateway, uuid, bigint, bytea, timestamptz, jsonb, inet) IS
  'For the gateway: keeps the last report of an agent, and of its node; answers the project''s shared '
  'folder, who shares it and how. Errors: as accept_call';

CREATE FUNCTION nebula.find_device(
  p_gateway nebula.proven_gateway, p_device_id uuid, p_counter bigint, p_host_key bytea, p_said_at timestamptz,
  p_name text
) RETURNS TABLE (name text, role text, addresses text[], last_seen_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_caller nebula.agent := nebula.accept_call(p_device_id, p_counter, p_host_key, p_said_at, false);
BEGIN
  -- Names differ in letter case too, but nobody types it: the exact name is preferred to the others.
  RETURN QUERY
    SELECT d.name, d.role,
           ARRAY(SELECT host(a.ip)
                   FROM nebula.allocation a
                  WHERE a.device_id = d.device_id
                    AND a.released_at IS NULL
                  ORDER BY family(a.ip)),
           d.last_seen_at
      FROM nebula.device d
     WHERE d.project_id = v_caller.project_id
       AND lower(d.name) = lower(p_name)
       AND d.revoked_at IS NULL
     ORDER BY d.name <> p_name, d.name
     LIMIT 1;
END $$;
COMMENT ON FUNCTION nebula.find_device(nebula.proven_gateway, uuid, bigint, bytea, timestamptz, text) IS
  'For the gateway: A device asks for another one of its project by name; no row: there is none. Errors: as '
  'accept_call';

CREATE FUNCTION nebula.leave_project(
  p_gateway nebula.proven_gateway, p_device_id uuid, p_counter bigint, p_host_key bytea, p_said_at timestamptz,
  p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_caller nebula.agent;
BEGIN
  PERFORM nebula.lock_node_of(p_device_id);
  v_caller := nebula.accept_call(p_device_id, p_counter, p_host_key, p_said_at, true);
  PERFORM nebula.revoke_device(v_caller.device_id, 'agent', p_client);
END $$;
COMMENT ON FUNCTION nebula.leave_project(nebula.proven_gateway, uuid, bigint, bytea, timestamptz, inet) IS
  'For the gateway: a device leaves the project: revoke_device on its own request. Errors: as accept_call';
