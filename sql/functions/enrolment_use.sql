-- Enrolment codes, as devices that have no account use them.

CREATE FUNCTION nebula.enrolment_project(p_gateway nebula.proven_gateway, p_code_hash bytea) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT e.project_id FROM nebula.enrolment e
   WHERE e.code_hash = p_code_hash AND e.revoked_at IS NULL AND e.expires_at > clock_timestamp()
$$;
COMMENT ON FUNCTION nebula.enrolment_project(nebula.proven_gateway, bytea) IS
  'For the gateway: the project a code is for; null for one that is unknown, expired or revoked. It may '
  'be used up';

-- An existing device gets an agent. Its present certificates stay valid until the agent is known to run its own
-- (trigger bundle_ended): if joining fails half-way, the device goes on with its bundle.
CREATE FUNCTION nebula.give_agent(
  p_used nebula.enrolment, p_curve text, p_public_key bytea, p_client inet
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_known nebula.device := nebula.require_agentless(p_used.device_id, p_used.project_id);
  v_held  inet;
BEGIN
  PERFORM nebula.limit_certificates(v_known.device_id, 10);
  PERFORM nebula.claim_identities(p_used.project_id, ARRAY[v_known.device_id], ARRAY[NULL]::text[],
                                  ARRAY[p_public_key]);
  UPDATE nebula.enrolment e
     SET uses = e.uses + 1
   WHERE e.enrolment_id = p_used.enrolment_id;
  UPDATE nebula.device d
     SET curve = p_curve,
         public_key = p_public_key
   WHERE d.device_id = v_known.device_id;
  -- Keeps its address, or allocates one if it was released meanwhile; allocate_ip then updates the configuration of
  -- the others if it refers to the device.
  v_held := nebula.assign_addresses(p_used.project_id, v_known.device_id,
                                    'enrolment ' || p_used.enrolment_id, NULL, p_client);
  INSERT INTO nebula.enrolment_use (enrolment_id, device_id) VALUES (p_used.enrolment_id, v_known.device_id);
  PERFORM nebula.record_event(p_used.project_id, p_used.created_by, 'enrol', 'device',
                              v_known.device_id::text, p_client,
                              jsonb_build_object(
                                'name', v_known.name, 'ip', host(v_held),
                                'enrolment', p_used.enrolment_id
                              ));
END $$;
COMMENT ON FUNCTION nebula.give_agent(nebula.enrolment, text, bytea, inet) IS
  'Internal: lets an existing device use the code that was made for it. Errors: 55000 revoked, 23505 it '
  'has an agent, 54000 asked too often';

-- Registers a device by code, without an agent; enroll_device and register_by_code share it.
CREATE FUNCTION nebula.use_enrolment(
  p_code_hash bytea, p_device_id uuid, p_name text, p_endpoints text[], p_curve text,
  p_public_key bytea, p_client inet
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_used  nebula.enrolment;
  v_known nebula.device;
  v_named text;
  v_held  inet;
BEGIN
  -- Serializes concurrent uses of one code.
  SELECT *
    INTO v_used
    FROM nebula.enrolment e
   WHERE e.code_hash = p_code_hash
     FOR UPDATE;
  IF v_used.enrolment_id IS NULL OR v_used.revoked_at IS NOT NULL OR v_used.expires_at <= clock_timestamp()
  THEN
    RAISE EXCEPTION 'this enrolment code is not valid'
      USING ERRCODE = 'P0002', HINT = 'Ask an administrator for a new one.';
  END IF;

  SELECT *
    INTO v_known
    FROM nebula.device d
   WHERE d.device_id = p_device_id;
  IF FOUND THEN
    IF v_known.project_id = v_used.project_id AND v_known.revoked_at IS NOT NULL THEN
      RAISE EXCEPTION 'device "%" was revoked', v_known.name
        USING ERRCODE = '55000', HINT = 'It can enrol again as a new device.';
    END IF;
    -- The device retries after a lost response. The same key proves that it is the same device.
    IF v_known.public_key = p_public_key
       AND EXISTS (SELECT
                     FROM nebula.enrolment_use u
                    WHERE u.enrolment_id = v_used.enrolment_id
                      AND u.device_id = v_known.device_id)
    THEN
      PERFORM nebula.limit_certificates(v_known.device_id, 10);
      RETURN false;
    END IF;
    IF v_used.device_id IS DISTINCT FROM v_known.device_id THEN
      RAISE EXCEPTION 'device id % is taken', p_device_id
        USING ERRCODE = '23505', HINT = 'Omit the device id, or choose another one.';
    END IF;
  END IF;

  IF v_used.uses >= v_used.uses_max THEN
    IF v_used.uses_max = 1 AND EXISTS (
      SELECT FROM nebula.enrolment_use u JOIN nebula.device d USING (device_id)
       WHERE u.enrolment_id = v_used.enrolment_id AND d.revoked_at IS NOT NULL)
    THEN
      RAISE EXCEPTION 'the device of this code was revoked'
        USING ERRCODE = '55000', HINT = 'Ask an administrator for a new code.';
    END IF;
    RAISE EXCEPTION 'this enrolment code is used up'
      USING ERRCODE = 'P0002', HINT = 'Ask an administrator for a new one.';
  END IF;

  IF v_used.device_id IS NOT NULL THEN
    PERFORM nebula.give_agent(v_used, p_curve, p_public_key, p_client);
    RETURN true;
  END IF;
  v_named := coalesce(v_used.name, p_name, 'device-' || left(p_device_id::text, 8));
  PERFORM nebula.check_device_name(v_named);
  PERFORM nebula.claim_identities(v_used.project_id, ARRAY[p_device_id], ARRAY[v_named], ARRAY[p_public_key]);
  -- The authority may be another one than when the code was made.
  PERFORM nebula.check_grantable(v_used.project_id, v_used.groups);
  IF v_used.role = 'lighthouse'
     AND cardinality(v_used.endpoints) = 0
     AND cardinality(coalesce(p_endpoints, '{}')) = 0
  THEN
    RAISE EXCEPTION 'a lighthouse needs an endpoint: without one no device finds it'
      USING ERRCODE = '22023',
        HINT = 'Name at least one host:port where other devices reach it, for example 192.0.2.10:4242.';
  END IF;

  UPDATE nebula.enrolment e
     SET uses = e.uses + 1
   WHERE e.enrolment_id = v_used.enrolment_id;
  -- Before allocate_ip, which reads the groups of the device to find a range reserved for them.
  INSERT INTO nebula.device (device_id, project_id, owner_id, name, role, endpoints, groups, curve,
                             public_key)
  VALUES (p_device_id, v_used.project_id, v_used.creator_id, v_named, v_used.role,
          CASE
            WHEN cardinality(v_used.endpoints) > 0 THEN v_used.endpoints
            ELSE coalesce(p_endpoints, '{}')
          END,
          v_used.groups, p_curve, p_public_key);
  v_held := nebula.assign_addresses(v_used.project_id, p_device_id, 'enrolment ' || v_used.enrolment_id,
                                    v_used.address, p_client);
  INSERT INTO nebula.enrolment_use (enrolment_id, device_id) VALUES (v_used.enrolment_id, p_device_id);
  PERFORM nebula.record_event(v_used.project_id, v_used.created_by, 'enrol', 'device', p_device_id::text,
                              p_client,
                              jsonb_build_object(
                                'name', v_named, 'ip', host(v_held),
                                'enrolment', v_used.enrolment_id
                              ));
  RETURN true;
END $$;
COMMENT ON FUNCTION nebula.use_enrolment(bytea, uuid, text, text[], text, bytea, inet) IS
  'Internal: makes a device and its address by an enrolment code; false when the same device with the '
  'same key joined by it before. Errors: as enroll_device';

CREATE FUNCTION nebula.enroll_device(
  p_gateway nebula.proven_gateway, p_code_hash bytea, p_device_id uuid, p_name text, p_endpoints text[], p_curve text,
  p_public_key bytea, p_host_key bytea, p_client inet DEFAULT NULL
) RETURNS TABLE (enrolled uuid, answer bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_bound  uuid := (SELECT e.device_id FROM nebula.enrolment e WHERE e.code_hash = p_code_hash);
  v_chosen uuid := coalesce(v_bound, p_device_id, gen_random_uuid());
BEGIN
  -- A device id that is not in use gives way to the device that the code is for; an existing other device is refused.
  IF v_bound <> p_device_id AND EXISTS (SELECT FROM nebula.device d WHERE d.device_id = p_device_id) THEN
    RAISE EXCEPTION 'this enrolment code is for another device'
      USING ERRCODE = '23505', HINT = 'Use it on the device that it was made for.';
  END IF;
  IF NOT nebula.use_enrolment(p_code_hash, v_chosen, p_name, p_endpoints, p_curve,
                              p_public_key, p_client) THEN
    IF NOT EXISTS (SELECT
                     FROM nebula.agent_answer w
                    WHERE w.device_id = v_chosen
                      AND w.host_key = p_host_key)
    THEN
      RAISE EXCEPTION 'device id % is taken', v_chosen
        USING ERRCODE = '23505', HINT = 'Omit the device id, or choose another one.';
    END IF;
    RETURN QUERY
      SELECT v_chosen, nebula.add_answers(ARRAY[ROW(v_chosen, p_host_key, p_public_key)::nebula.new_answer]);
    UPDATE nebula.agent_answer w
       SET version = 0
      FROM nebula.agent a
     WHERE a.device_id = v_chosen
       AND a.acknowledged_version = 0
       AND w.device_id = a.device_id
       AND w.counter = a.counter;
    RETURN;
  END IF;
  -- A new device starts with the present version. A device with a bundle may still run that, and the response to an
  -- enrolment does not replace it: version 0 makes its agent fetch a configuration and acknowledge it once it runs.
  INSERT INTO nebula.agent (device_id, project_id, counter, acknowledged_counter, acknowledged_version)
  SELECT d.device_id, p.project_id, 1, 1, CASE WHEN v_bound IS NULL THEN p.config_version ELSE 0 END
    FROM nebula.device d
    JOIN nebula.project p USING (project_id)
   WHERE d.device_id = v_chosen;
  INSERT INTO nebula.agent_answer (device_id, counter, version, host_key, public_key)
  SELECT a.device_id, 1, a.acknowledged_version, p_host_key, p_public_key
    FROM nebula.agent a
   WHERE a.device_id = v_chosen;
  RETURN QUERY SELECT v_chosen, 1::bigint;
END $$;
COMMENT ON FUNCTION nebula.enroll_device(nebula.proven_gateway, bytea, uuid, text, text[], text, bytea, bytea, inet) IS
  'For the gateway: makes a device, its address and its agent by an enrolment code, all or nothing; '
  'answers the device and the counter of the answer to send. The same device with the same keys again: '
  'the same device, and the code is not used twice. A code that was made for a device gives that one its '
  'agent, whatever identifier and name it brings. Errors: P0002 code unknown, used up, expired or '
  'revoked, 55000 the device was revoked, 23505 device id or name taken, or the code is for another '
  'device, 22023 lighthouse without endpoint, 54000 asked too often, 53400 pool exhausted';

CREATE FUNCTION nebula.register_by_code(
  p_gateway nebula.proven_gateway, p_code_hash bytea, p_project_id uuid, p_device_id uuid, p_name text,
  p_endpoints text[], p_curve text, p_public_key bytea, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  IF nebula.enrolment_project(p_gateway, p_code_hash) IS DISTINCT FROM p_project_id THEN
    RAISE EXCEPTION 'this enrolment code is not valid for project %', p_project_id
      USING ERRCODE = 'P0002', HINT = 'Ask an administrator of the project for one.';
  END IF;
  IF EXISTS (SELECT FROM nebula.enrolment e WHERE e.code_hash = p_code_hash AND e.device_id IS NOT NULL)
  THEN
    RAISE EXCEPTION 'this enrolment code gives a device its agent'
      USING ERRCODE = '55000', HINT = 'Use it on that device: nebulactl join --code CODE.';
  END IF;
  IF NOT nebula.use_enrolment(p_code_hash, p_device_id, p_name, p_endpoints,
                              p_curve, p_public_key, p_client)
     AND EXISTS (SELECT FROM nebula.agent a WHERE a.device_id = p_device_id) THEN
    RAISE EXCEPTION 'device % has an agent, which renews its certificate', p_device_id
      USING ERRCODE = '55000', HINT = 'Register another device id, or let the agent work.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.register_by_code(
  nebula.proven_gateway, bytea, uuid, uuid, text, text[], text, bytea, inet
) IS
  'For the gateway: makes a device without an agent by an enrolment code, whose name, role, groups, '
  'endpoints and address count before the device''s own. The same device with the same key again: the '
  'same device. Errors: as enroll_device, and 55000 the device has an agent';
