-- Agents: who calls, what they run, what they get. The gateway verifies signatures with the key that agent_keys answers;
-- every other decision is made here, in the transaction that acts on it.

-- What a crowd calls for at once takes lists, one entry for each call: a statement for a hundred costs hardly more than one for
-- one. Looks of their own (LIMIT 1, OFFSET 0) and no joins, for the reason that register_devices gives.
CREATE FUNCTION nebula.agent_keys(device_ids uuid[], counters bigint[])
RETURNS TABLE (project_id uuid, version bigint, host_key bytea, public_key bytea, node_id uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
    SELECT k.project_id, k.config_version, k.host_key, k.public_key, k.node_id
      FROM unnest(agent_keys.device_ids, agent_keys.counters) WITH ORDINALITY AS w(device_id, counter, place)
      LEFT JOIN LATERAL (
        SELECT p.project_id, p.config_version, s.host_key, s.public_key, (SELECT n.node_id FROM nebula.node n WHERE n.device_id = s.device_id)
          FROM nebula.agent_answer s JOIN nebula.device d USING (device_id) JOIN nebula.project p USING (project_id)
         WHERE s.device_id = w.device_id AND s.counter = w.counter AND d.revoked_at IS NULL LIMIT 1
      ) k ON true
     ORDER BY w.place;
END $$;
COMMENT ON FUNCTION nebula.agent_keys(uuid[], bigint[]) IS
  'The keys of the answers with these counters, in the order given, of which host_key signs the calls of a device that runs it, how far the '
  'configuration of its project is, and the node it speaks for, if any; all null for a device that is unknown, revoked or has gone on';

-- Internal.
CREATE FUNCTION nebula.accept_calls(device_ids uuid[], counters bigint[], host_keys bytea[], said_at timestamptz[], changes boolean) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  tolerance CONSTANT interval := '5 minutes';
  stale    timestamptz;
  locked   uuid[];
  accepted integer;
  moved    uuid[];
BEGIN
  SELECT w.said_at INTO stale FROM unnest(accept_calls.said_at) AS w(said_at)
   WHERE w.said_at NOT BETWEEN clock_timestamp() - tolerance AND clock_timestamp() + tolerance LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'the call was made at %, now it is %', stale, clock_timestamp()
      USING ERRCODE = '28000', HINT = 'Set the clock of the device.';
  END IF;
  IF cardinality(accept_calls.device_ids) > 1 AND cardinality(accept_calls.device_ids) > (SELECT count(DISTINCT w) FROM unnest(accept_calls.device_ids) w) THEN
    RAISE EXCEPTION 'a device calls twice at once' USING ERRCODE = '28000', HINT = 'Accept its calls one after the other.';
  END IF;
  -- Ten thousand agents that wait lock nothing: usually there is nothing to write.
  locked := CASE WHEN accept_calls.changes THEN accept_calls.device_ids ELSE ARRAY(
    SELECT w.device_id FROM unnest(accept_calls.device_ids, accept_calls.counters) AS w(device_id, counter)
     WHERE EXISTS (SELECT FROM nebula.agent a WHERE a.device_id = w.device_id AND a.acknowledged_counter < w.counter OFFSET 0)) END;
  PERFORM FROM nebula.agent a WHERE a.device_id = ANY (locked) ORDER BY a.device_id FOR UPDATE;
  IF EXISTS (
    SELECT FROM unnest(accept_calls.device_ids, accept_calls.counters, accept_calls.host_keys) AS w(device_id, counter, host_key)
     WHERE NOT EXISTS (SELECT FROM nebula.agent_answer s JOIN nebula.device d USING (device_id)
                        WHERE s.device_id = w.device_id AND s.counter = w.counter AND s.host_key = w.host_key AND d.revoked_at IS NULL OFFSET 0)
  ) THEN
    RAISE EXCEPTION 'this device is unknown, was revoked, or has newer credentials'
      USING ERRCODE = '28000', HINT = 'Use the newest credentials, or enrol again.';
  END IF;
  IF accept_calls.changes THEN
    UPDATE nebula.agent a SET said_at = (accept_calls.said_at)[array_position(accept_calls.device_ids, a.device_id)]
     WHERE a.device_id = ANY (accept_calls.device_ids)
       AND (a.said_at IS NULL OR a.said_at < (accept_calls.said_at)[array_position(accept_calls.device_ids, a.device_id)]);
    GET DIAGNOSTICS accepted = ROW_COUNT;
    IF accepted < cardinality(accept_calls.device_ids) THEN
      RAISE EXCEPTION 'this call, or a later one, was made before' USING ERRCODE = '28000', HINT = 'Make a new one.';
    END IF;
  END IF;
  UPDATE nebula.device d SET last_seen_at = now()
   WHERE d.device_id = ANY (accept_calls.device_ids) AND (d.last_seen_at IS NULL OR d.last_seen_at < now() - interval '30 seconds');
  moved := ARRAY(
    SELECT w.device_id FROM unnest(accept_calls.device_ids, accept_calls.counters) AS w(device_id, counter)
     WHERE EXISTS (SELECT FROM nebula.agent a WHERE a.device_id = w.device_id AND a.acknowledged_counter < w.counter OFFSET 0));
  IF moved <> '{}' THEN
    UPDATE nebula.agent a
       SET acknowledged_counter = (accept_calls.counters)[array_position(accept_calls.device_ids, a.device_id)], acknowledged_at = now(),
           acknowledged_version = greatest(a.acknowledged_version, (
             SELECT s.version FROM nebula.agent_answer s
              WHERE s.device_id = a.device_id AND s.counter = (accept_calls.counters)[array_position(accept_calls.device_ids, a.device_id)]))
     WHERE a.device_id = ANY (moved);
    -- They run this one: what was sent before is of no use to anyone any more, and neither are its keys.
    DELETE FROM nebula.agent_answer s
     WHERE s.device_id = ANY (moved) AND s.counter < (SELECT a.acknowledged_counter FROM nebula.agent a WHERE a.device_id = s.device_id);
    PERFORM nebula.settle_revocations(p.project_id), nebula.advance_rotation(p.project_id)
       FROM (SELECT DISTINCT a.project_id FROM nebula.agent a WHERE a.device_id = ANY (moved)) p;
  END IF;
END $$;
COMMENT ON FUNCTION nebula.accept_calls(uuid[], bigint[], bytea[], timestamptz[], boolean) IS
  'Internal: decides on calls of different devices whose signatures were verified with host_keys, all or none, and notes what they acknowledge. '
  'changes: they change something, so each must be later than the last such one. Errors: 28000 unknown, revoked, overtaken, stale or repeated';

-- Internal.
CREATE FUNCTION nebula.accept_call(device_id uuid, counter bigint, host_key bytea, said_at timestamptz, changes boolean)
RETURNS nebula.agent
LANGUAGE plpgsql AS $$
DECLARE
  caller nebula.agent;
BEGIN
  PERFORM nebula.accept_calls(ARRAY[accept_call.device_id], ARRAY[accept_call.counter], ARRAY[accept_call.host_key], ARRAY[accept_call.said_at],
                              accept_call.changes);
  SELECT a.* INTO caller FROM nebula.agent a WHERE a.device_id = accept_call.device_id;
  RETURN caller;
END $$;
COMMENT ON FUNCTION nebula.accept_call(uuid, bigint, bytea, timestamptz, boolean) IS
  'Internal: accept_calls for one, whose agent it answers';

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
CREATE FUNCTION nebula.add_answers(device_ids uuid[], host_keys bytea[], public_keys bytea[]) RETURNS SETOF bigint
LANGUAGE plpgsql SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  pending_max CONSTANT integer := 16;
BEGIN
  UPDATE nebula.agent a SET counter = a.counter + 1 WHERE a.device_id = ANY (add_answers.device_ids);
  -- The version first, the configuration in a later statement: it may be newer than it says, never older.
  INSERT INTO nebula.agent_answer (device_id, counter, version, host_key, public_key)
  SELECT a.device_id, a.counter, (SELECT p.config_version FROM nebula.project p WHERE p.project_id = a.project_id),
         (add_answers.host_keys)[array_position(add_answers.device_ids, a.device_id)],
         (add_answers.public_keys)[array_position(add_answers.device_ids, a.device_id)]
    FROM nebula.agent a WHERE a.device_id = ANY (add_answers.device_ids);
  -- The acknowledged one stays whatever happens; of the others a device that asks again and again has the last.
  DELETE FROM nebula.agent_answer s
   WHERE s.device_id = ANY (add_answers.device_ids)
     AND EXISTS (SELECT FROM nebula.agent a
                  WHERE a.device_id = s.device_id AND s.counter > a.acknowledged_counter AND s.counter <= a.counter - pending_max OFFSET 0);
  RETURN QUERY
    SELECT a.counter FROM nebula.agent a WHERE a.device_id = ANY (add_answers.device_ids) ORDER BY array_position(add_answers.device_ids, a.device_id);
END $$;
COMMENT ON FUNCTION nebula.add_answers(uuid[], bytea[], bytea[]) IS
  'Internal: notes answers that are about to be sent to different devices, with the keys they are for; answers their counters in the order given';

CREATE FUNCTION nebula.update_agents(
  device_ids uuid[], counters bigint[], host_keys bytea[], said_at timestamptz[], new_host_keys bytea[], new_public_keys bytea[]
) RETURNS SETOF bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  hourly CONSTANT integer := 10;
  kept   bytea[];
BEGIN
  PERFORM nebula.accept_calls(update_agents.device_ids, update_agents.counters, update_agents.host_keys, update_agents.said_at, true);
  PERFORM nebula.limit_certificates(w.device_id, hourly)
     FROM unnest(update_agents.device_ids, update_agents.new_public_keys) AS w(device_id, public_key) WHERE w.public_key IS NOT NULL;
  UPDATE nebula.device d SET public_key = (update_agents.new_public_keys)[array_position(update_agents.device_ids, d.device_id)]
   WHERE d.device_id = ANY (update_agents.device_ids)
     AND (update_agents.new_public_keys)[array_position(update_agents.device_ids, d.device_id)] IS NOT NULL;
  kept := ARRAY(
    SELECT coalesce(w.public_key, (SELECT s.public_key FROM nebula.agent_answer s WHERE s.device_id = w.device_id AND s.counter = w.counter))
      FROM unnest(update_agents.device_ids, update_agents.counters, update_agents.new_public_keys) WITH ORDINALITY
           AS w(device_id, counter, public_key, place)
     ORDER BY w.place);
  RETURN QUERY SELECT nebula.add_answers(update_agents.device_ids, update_agents.new_host_keys, kept);
END $$;
COMMENT ON FUNCTION nebula.update_agents(uuid[], bigint[], bytea[], timestamptz[], bytea[], bytea[]) IS
  'Calls of different devices that fetch configurations, all or none: each brings a new host key, and if it brings a new nebula key gets a new '
  'certificate; answers the counters to send, in the order given. Errors: as accept_calls, 54000 too many certificates in an hour';

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
