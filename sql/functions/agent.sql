-- Agents: who calls, what they run, what they get. The gateway verifies signatures with the key that agent_key answers;
-- every other decision is made here, in the transaction that acts on it.

CREATE FUNCTION nebula.agent_key(
  device_id uuid, counter bigint, OUT project_id uuid, OUT version bigint, OUT host_key bytea, OUT public_key bytea, OUT node_id uuid
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
BEGIN
  SELECT p.project_id, p.config_version, w.host_key, w.public_key, (SELECT n.node_id FROM nebula.node n WHERE n.device_id = w.device_id)
    INTO project_id, version, host_key, public_key, node_id
    FROM nebula.agent_answer w JOIN nebula.device d USING (device_id) JOIN nebula.project p USING (project_id)
   WHERE w.device_id = agent_key.device_id AND w.counter = agent_key.counter AND d.revoked_at IS NULL;
END $$;
COMMENT ON FUNCTION nebula.agent_key(uuid, bigint) IS
  'The keys of the answer with this counter, of which host_key signs the calls of a device that runs it, how far the configuration of its '
  'project is, and the node it speaks for, if any; all null for a device that is unknown, revoked or has gone on';

-- Internal.
CREATE FUNCTION nebula.accept_call(device_id uuid, counter bigint, host_key bytea, said_at timestamptz, changes boolean)
RETURNS nebula.agent
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  tolerance CONSTANT interval := '5 minutes';
  caller  nebula.agent;
  version bigint;
  seen    timestamptz;
BEGIN
  IF accept_call.said_at NOT BETWEEN clock_timestamp() - tolerance AND clock_timestamp() + tolerance THEN
    RAISE EXCEPTION 'the call was made at %, now it is %', accept_call.said_at, clock_timestamp()
      USING ERRCODE = '28000', HINT = 'Set the clock of the device.';
  END IF;
  -- Ten thousand agents that wait lock nothing: usually there is nothing to write.
  IF NOT accept_call.changes THEN
    SELECT a.* INTO caller FROM nebula.agent a WHERE a.device_id = accept_call.device_id;
  END IF;
  IF accept_call.changes OR caller.acknowledged_counter < accept_call.counter THEN
    SELECT a.* INTO caller FROM nebula.agent a WHERE a.device_id = accept_call.device_id FOR UPDATE;
  END IF;
  SELECT w.version, coalesce(d.last_seen_at, '-infinity') INTO version, seen
    FROM nebula.agent_answer w JOIN nebula.device d USING (device_id)
   WHERE w.device_id = accept_call.device_id AND w.counter = accept_call.counter AND w.host_key = accept_call.host_key AND d.revoked_at IS NULL;
  IF caller.device_id IS NULL OR NOT FOUND THEN
    RAISE EXCEPTION 'this device is unknown, was revoked, or has newer credentials'
      USING ERRCODE = '28000', HINT = 'Use the newest credentials, or enrol again.';
  END IF;
  IF accept_call.changes THEN
    IF accept_call.said_at <= caller.said_at THEN
      RAISE EXCEPTION 'this call, or a later one, was made before' USING ERRCODE = '28000', HINT = 'Make a new one.';
    END IF;
    UPDATE nebula.agent a SET said_at = accept_call.said_at WHERE a.device_id = caller.device_id;
    caller.said_at := accept_call.said_at;
  END IF;
  IF seen < now() - interval '30 seconds' THEN
    UPDATE nebula.device d SET last_seen_at = now() WHERE d.device_id = caller.device_id;
  END IF;
  IF caller.acknowledged_counter < accept_call.counter THEN
    -- It runs this one: what was sent before is of no use to anyone any more, and neither are its keys.
    DELETE FROM nebula.agent_answer w WHERE w.device_id = caller.device_id AND w.counter < accept_call.counter;
    UPDATE nebula.agent a
       SET acknowledged_counter = accept_call.counter, acknowledged_at = now(),
           acknowledged_version = greatest(a.acknowledged_version, version)
     WHERE a.device_id = caller.device_id RETURNING a.* INTO caller;
    PERFORM nebula.settle_revocations(caller.project_id);
    PERFORM nebula.advance_rotation(caller.project_id);
  END IF;
  RETURN caller;
END $$;
COMMENT ON FUNCTION nebula.accept_call(uuid, bigint, bytea, timestamptz, boolean) IS
  'Internal: decides on a call whose signature was verified with host_key, notes what it acknowledges, and answers the agent. changes: the call '
  'changes something, so it must be later than the last such one. Errors: 28000 unknown, revoked, overtaken, stale or repeated';

CREATE FUNCTION nebula.agent_due(device_id uuid) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  caller   nebula.agent;
  current  nebula.project;
  held     inet[] := nebula.device_networks(agent_due.device_id);
  behind   inet[] := nebula.device_unsafe_networks(agent_due.device_id);
  wanted   smallint[];
  outdated boolean;
BEGIN
  SELECT a.* INTO caller FROM nebula.agent a WHERE a.device_id = agent_due.device_id;
  SELECT p.* INTO current FROM nebula.project p WHERE p.project_id = caller.project_id;
  -- What its nebula would not take it would not take again; until something changes, or an hour has passed.
  IF caller.refused_version >= current.config_version AND caller.refused_at > now() - interval '1 hour' THEN
    RETURN NULL;
  END IF;
  -- Version 1 has room for one IPv4 address and no IPv6 at all.
  wanted := CASE WHEN (SELECT count(*) = 1 FROM unnest(held) n WHERE family(n) = 4) THEN current.certificate_versions ELSE '{2}' END;
  -- The last certificates of the key it runs, against what they would say now.
  SELECT coalesce(bool_or(
           clock_timestamp() > c.issued_at + (c.not_after - c.issued_at) * 2 / 3
           OR c.revoked_at IS NOT NULL OR c.name IS DISTINCT FROM d.name OR c.groups <> d.groups
           OR c.issuer <> (SELECT s.fingerprint FROM nebula.project_authority s WHERE s.project_id = d.project_id)
           OR (SELECT array_agg(n ORDER BY n) FROM unnest(c.networks) n)
              IS DISTINCT FROM (SELECT array_agg(n ORDER BY n) FROM unnest(held) n WHERE c.version = 2 OR family(n) = 4)
           OR (SELECT array_agg(n ORDER BY n) FROM unnest(c.unsafe_networks) n)
              IS DISTINCT FROM (SELECT array_agg(n ORDER BY n) FROM unnest(behind) n WHERE c.version = 2 OR family(n) = 4)), true)
         OR NOT (coalesce(array_agg(c.version), '{}') @> wanted AND wanted @> coalesce(array_agg(c.version), '{}'))
    INTO outdated
    FROM nebula.agent_answer w
    JOIN nebula.device d USING (device_id)
    LEFT JOIN nebula.certificate c ON c.device_id = w.device_id AND c.public_key = w.public_key
         AND c.issued_at = (SELECT max(k.issued_at) FROM nebula.certificate k WHERE k.device_id = w.device_id AND k.public_key = w.public_key)
   WHERE w.device_id = caller.device_id AND w.counter = caller.acknowledged_counter;
  -- Without an address there is nothing to certify.
  IF outdated AND cardinality(held) > 0 THEN
    RETURN 'certificate';
  END IF;
  RETURN CASE WHEN caller.acknowledged_version < current.config_version THEN 'configuration' END;
END $$;
COMMENT ON FUNCTION nebula.agent_due(uuid) IS
  'What an agent should fetch: certificate (another one is due: by age, by what it says, by who signs), configuration, or null';

CREATE FUNCTION nebula.call_agent(device_id uuid, counter bigint, host_key bytea, said_at timestamptz)
RETURNS TABLE (due text, version bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  caller nebula.agent := nebula.accept_call(call_agent.device_id, call_agent.counter, call_agent.host_key, call_agent.said_at, false);
BEGIN
  due := nebula.agent_due(caller.device_id);
  version := greatest(caller.acknowledged_version, caller.refused_version);
  RETURN NEXT;
END $$;
COMMENT ON FUNCTION nebula.call_agent(uuid, bigint, bytea, timestamptz) IS
  'A call that only asks: what is due, and the version of the configuration beyond which something will be. Errors: as accept_call';

-- Internal.
CREATE FUNCTION nebula.add_answer(device_id uuid, host_key bytea, public_key bytea) RETURNS bigint
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  pending_max CONSTANT integer := 16;
  newest bigint;
  kept   bigint;
BEGIN
  UPDATE nebula.agent a SET counter = a.counter + 1 WHERE a.device_id = add_answer.device_id
  RETURNING a.counter, a.acknowledged_counter INTO newest, kept;
  -- The version first, the configuration in a later statement: it may be newer than it says, never older.
  INSERT INTO nebula.agent_answer (device_id, counter, version, host_key, public_key)
  SELECT d.device_id, newest, p.config_version, add_answer.host_key, add_answer.public_key
    FROM nebula.device d JOIN nebula.project p USING (project_id) WHERE d.device_id = add_answer.device_id;
  -- The acknowledged one stays whatever happens; of the others a device that asks again and again has the last.
  IF newest - pending_max > kept THEN
    DELETE FROM nebula.agent_answer w
     WHERE w.device_id = add_answer.device_id AND w.counter > kept AND w.counter <= newest - pending_max;
  END IF;
  RETURN newest;
END $$;
COMMENT ON FUNCTION nebula.add_answer(uuid, bytea, bytea) IS
  'Internal: notes an answer that is about to be sent, with the keys it is for; answers its counter';

CREATE FUNCTION nebula.update_agent(
  device_id uuid, counter bigint, host_key bytea, said_at timestamptz, new_host_key bytea, new_public_key bytea DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
DECLARE
  hourly CONSTANT integer := 10;
  caller nebula.agent := nebula.accept_call(update_agent.device_id, update_agent.counter, update_agent.host_key, update_agent.said_at, true);
  kept   bytea;
BEGIN
  IF update_agent.new_public_key IS NULL THEN
    SELECT w.public_key INTO kept FROM nebula.agent_answer w
     WHERE w.device_id = caller.device_id AND w.counter = update_agent.counter;
  ELSE
    PERFORM nebula.limit_certificates(caller.device_id, hourly);
    kept := update_agent.new_public_key;
    UPDATE nebula.device d SET public_key = kept WHERE d.device_id = caller.device_id;
  END IF;
  RETURN nebula.add_answer(caller.device_id, update_agent.new_host_key, kept);
END $$;
COMMENT ON FUNCTION nebula.update_agent(uuid, bigint, bytea, timestamptz, bytea, bytea) IS
  'A call that fetches a configuration, with a new host key, and with a new nebula key a new certificate; answers the counter to send. '
  'Errors: as accept_call, 54000 too many certificates in an hour';

CREATE FUNCTION nebula.report_agent(
  device_id uuid, counter bigint, host_key bytea, said_at timestamptz, report jsonb, client inet DEFAULT NULL
) RETURNS TABLE (folder_id text, folder_label text, peers jsonb, options jsonb)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
DECLARE
  caller  nebula.agent := nebula.accept_call(report_agent.device_id, report_agent.counter, report_agent.host_key, report_agent.said_at, true);
  refused bigint := (SELECT w.version FROM nebula.agent_answer w
                      WHERE w.device_id = caller.device_id AND w.counter = (report_agent.report -> 'refused' ->> 'counter')::bigint
                        AND w.counter > caller.acknowledged_counter);
BEGIN
  IF refused > coalesce(caller.refused_version, 0) THEN
    PERFORM nebula.record_event(caller.project_id, 'agent', 'refuse-config', 'device', caller.device_id::text, report_agent.client,
      jsonb_build_object('version', refused, 'reason', left(report_agent.report -> 'refused' ->> 'reason', 1000)));
  END IF;
  UPDATE nebula.agent a
     SET report = report_agent.report - 'nonce', reported_at = now(),
         nebula_version = left(coalesce(report_agent.report ->> 'nebulaVersion', a.nebula_version), 50),
         agent_version = left(report_agent.report ->> 'agentVersion', 50),
         syncthing_id = left(report_agent.report -> 'syncthing' ->> 'id', 100),
         refused_version = coalesce(refused, a.refused_version),
         refused_at = CASE WHEN refused IS NOT NULL THEN now() ELSE a.refused_at END,
         refused_reason = CASE WHEN refused IS NOT NULL THEN left(report_agent.report -> 'refused' ->> 'reason', 1000) ELSE a.refused_reason END
   WHERE a.device_id = caller.device_id;
  PERFORM nebula.node_heartbeat(n.node_id, coalesce(report_agent.report -> 'health', '{}'))
     FROM nebula.node n WHERE n.device_id = caller.device_id;
  RETURN QUERY
    SELECT 'nebula-' || p.project_id, p.name,
           coalesce((SELECT jsonb_agg(jsonb_build_object('name', d.name, 'id', o.syncthing_id, 'address', host(h.ip)) ORDER BY d.name)
                       FROM nebula.agent o
                       JOIN nebula.device d USING (device_id)
                       JOIN nebula.allocation h ON h.device_id = o.device_id AND h.released_at IS NULL
                      WHERE o.project_id = p.project_id AND o.syncthing_id IS NOT NULL AND o.device_id <> caller.device_id
                        AND d.revoked_at IS NULL), '[]'),
           jsonb_strip_nulls(jsonb_build_object('pendingKib', p.sync_pending_kib, 'hashers', p.sync_hashers, 'writes', p.sync_writes,
                                                'order', p.sync_order, 'connections', p.sync_connections))
      FROM nebula.project p WHERE p.project_id = caller.project_id;
END $$;
COMMENT ON FUNCTION nebula.report_agent(uuid, bigint, bytea, timestamptz, jsonb, inet) IS
  'Keeps the last report of an agent, and of its node; answers the project''s shared folder, who shares it and how. Errors: as accept_call';

CREATE FUNCTION nebula.leave_project(device_id uuid, counter bigint, host_key bytea, said_at timestamptz, client inet DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  caller nebula.agent := nebula.accept_call(leave_project.device_id, leave_project.counter, leave_project.host_key, leave_project.said_at, true);
BEGIN
  PERFORM nebula.revoke_device(caller.device_id, 'agent', leave_project.client);
END $$;
COMMENT ON FUNCTION nebula.leave_project(uuid, bigint, bytea, timestamptz, inet) IS
  'A device leaves for good: revoke_device at its own wish. Errors: as accept_call';

CREATE FUNCTION nebula.refuse_call(device_id uuid, reason text, client inet, earlier bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.record_event(
    (SELECT d.project_id FROM nebula.device d WHERE d.device_id = refuse_call.device_id), 'gateway', 'refuse-call', 'device',
    coalesce(refuse_call.device_id::text, ''), refuse_call.client,
    jsonb_strip_nulls(jsonb_build_object('reason', refuse_call.reason, 'earlier', nullif(refuse_call.earlier, 0))))
$$;
COMMENT ON FUNCTION nebula.refuse_call(uuid, text, inet, bigint) IS
  'Records that a call or an enrolment was refused, and how many like it from the same client were not recorded since the last';
