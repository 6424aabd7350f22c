-- Enrolment codes: created by administrators, used by devices that have no account.

CREATE FUNCTION nebula.require_agentless(p_device_id uuid, p_project_id uuid) RETURNS nebula.device
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_known nebula.device := nebula.require_device(p_device_id, p_project_id);
BEGIN
  IF EXISTS (SELECT FROM nebula.agent a WHERE a.device_id = v_known.device_id) THEN
    RAISE EXCEPTION 'device "%" has an agent', v_known.name
      USING ERRCODE = '23505',
        HINT = 'Its agent renews its keys; if they are lost, revoke it and enrol a new device.';
  END IF;
  RETURN v_known;
END $$;
COMMENT ON FUNCTION nebula.require_agentless(uuid, uuid) IS
  'Internal: A device that could get an agent. Errors: P0002 no such device in the project, 55000 '
  'revoked, 23505 it has one';

CREATE FUNCTION nebula.check_promised(p_project_id uuid, p_name text, p_address inet) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_other record;
BEGIN
  IF p_address IS NOT NULL
     AND NOT EXISTS (SELECT FROM nebula.pool l WHERE l.project_id = p_project_id AND host(p_address)::inet <<= l.cidr)
  THEN
    RAISE EXCEPTION '% is in no pool of project %', host(p_address), p_project_id
      USING ERRCODE = '22023', HINT = 'List its pools: SELECT name, cidr FROM nebula.pool.';
  END IF;
  -- A name or an address that a device has now is no error: the code may be for the time after that device.
  -- One use each: the second of two codes for one name or address could never be used.
  SELECT e.enrolment_id, e.expires_at
    INTO v_other
    FROM nebula.enrolment e
   WHERE e.project_id = p_project_id
     AND (lower(e.name) = lower(p_name) OR e.address = p_address)
     AND e.uses < e.uses_max
     AND e.revoked_at IS NULL
     AND e.expires_at > clock_timestamp()
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'there is a code for "%" until %', coalesce(p_name, host(p_address)), v_other.expires_at
      USING ERRCODE = '23505',
        HINT = format('Use that one, or revoke it: nebulactl enrolment revoke %s.', v_other.enrolment_id);
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_promised(uuid, text, inet) IS
  'Internal: refuses a code that promises a name or an address which cannot be had. Errors: 22023 in no '
  'pool, 23505 taken, or promised by another code';

CREATE FUNCTION nebula.create_enrolment(
  project_id uuid,
  name text DEFAULT NULL,
  role text DEFAULT 'host',
  groups text[] DEFAULT '{}',
  endpoints text[] DEFAULT '{}',
  address inet DEFAULT NULL,
  uses integer DEFAULT 1,
  lifetime interval DEFAULT '1 day',
  created_by text DEFAULT NULL,
  creator uuid DEFAULT NULL,
  device_id uuid DEFAULT NULL
) RETURNS TABLE (enrolment_id uuid, code text, expires_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_project_id CONSTANT uuid := project_id;
  v_name       CONSTANT text := name;
  v_role       CONSTANT text := role;
  v_groups     CONSTANT text[] := groups;
  v_endpoints  CONSTANT text[] := endpoints;
  v_address    CONSTANT inet := address;
  v_uses       CONSTANT integer := uses;
  v_lifetime   CONSTANT interval := lifetime;
  v_created_by CONSTANT text := created_by;
  v_creator    CONSTANT uuid := creator;
  v_device_id  CONSTANT uuid := device_id;
  -- 25 letters out of 32: 125 bits. Without 0, 1, I and O, which people confuse.
  v_letters    CONSTANT text  := '23456789ABCDEFGHJKLMNPQRSTUVWXYZ';
  v_random     CONSTANT bytea := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
  v_who        CONSTANT text  := coalesce(v_created_by, session_user::text);
  v_plain      text;
  v_made       nebula.enrolment;
BEGIN
  PERFORM nebula.require_project(v_project_id);
  IF v_lifetime IS NULL OR NOT v_lifetime BETWEEN interval '1 second' AND interval '30 days' THEN
    RAISE EXCEPTION 'a code cannot be valid for %', coalesce(v_lifetime::text, 'ever')
      USING ERRCODE = '22023', HINT = 'Give an interval of at most 30 days, for example ''1 day''.';
  END IF;
  IF v_uses IS NULL OR NOT v_uses BETWEEN 1 AND 10000 THEN
    RAISE EXCEPTION 'a code cannot admit % devices', v_uses
      USING ERRCODE = '22023', HINT = 'Give a number from 1 to 10000.';
  END IF;
  IF v_uses > 1 AND num_nonnulls(v_name, v_address) > 0 THEN
    RAISE EXCEPTION 'a code for % devices cannot give them all one name or address', v_uses
      USING ERRCODE = '22023', HINT = 'Omit name and address, or make a code for each device.';
  END IF;
  IF v_device_id IS NOT NULL THEN
    PERFORM nebula.require_agentless(v_device_id, v_project_id);
    IF v_uses > 1 OR v_role <> 'host' OR num_nonnulls(v_name, v_address) > 0
       OR cardinality(v_groups) + cardinality(v_endpoints) > 0 THEN
      RAISE EXCEPTION 'a code for an existing device cannot change it'
        USING ERRCODE = '22023',
          HINT = 'Omit name, role, groups, endpoints, address and uses: the device keeps what it has.';
    END IF;
  END IF;
  PERFORM nebula.check_device_name(v_name);
  PERFORM nebula.check_groups(v_groups);
  PERFORM nebula.check_grantable(v_project_id, v_groups);
  PERFORM nebula.check_endpoints(v_project_id, v_endpoints) WHERE v_role <> 'host';
  -- Of two codes that are made at the same time, the later one sees the earlier one.
  PERFORM
     FROM nebula.project p
    WHERE p.project_id = v_project_id
      AND num_nonnulls(v_name, v_address) > 0
      FOR NO KEY UPDATE;
  PERFORM nebula.check_promised(v_project_id, v_name, v_address);
  SELECT string_agg(substr(v_letters, (get_byte(v_random, n) & 31) + 1, 1), '' ORDER BY n)
    INTO v_plain
    FROM generate_series(0, 24) n;
  INSERT INTO nebula.enrolment AS e (project_id, code_hash, device_id, name, role, groups, endpoints,
                                     address, uses_max, creator_id, created_by, expires_at)
  VALUES (v_project_id, sha256(v_plain::bytea), v_device_id, v_name, v_role, v_groups, v_endpoints,
          v_address, v_uses, v_creator, v_who, now() + v_lifetime)
  RETURNING e.* INTO v_made;
  PERFORM nebula.record_event(
            v_made.project_id, v_who, 'create', 'enrolment', v_made.enrolment_id::text, inet_client_addr(),
            jsonb_build_object(
              'role', v_made.role, 'name', v_made.name, 'device', v_made.device_id,
              'uses', v_made.uses_max, 'until', v_made.expires_at
            )
          );
  RETURN QUERY
    SELECT v_made.enrolment_id, regexp_replace(v_plain, '(.{5})(?!$)', '\1-', 'g'), v_made.expires_at;
END $$;
COMMENT ON FUNCTION nebula.create_enrolment(
  uuid, text, text, text[], text[], inet, integer, interval, text, uuid, uuid
) IS
  'Creates an enrolment code and returns it, this once: only its hash is stored. With device_id, the code '
  'gives an agent to that device, which has none, and changes nothing else of it. For administrators. '
  'Errors: P0002 no such project or device, 22023 lifetime or uses out of range, one name or address for '
  'several devices, other properties beside device_id, reserved name, malformed groups or not of the '
  'authority, an endpoint inside the overlay or a route, an address in no pool, 23505 name or address '
  'promised by another code, the device has an agent, 55000 it was revoked, 23514 malformed name or role';

CREATE FUNCTION nebula.create_enrolment_for(
  p_actor uuid, p_project_id uuid, p_name text, p_role text, p_groups text[], p_endpoints text[],
  p_address text, p_uses integer, p_lifetime interval, p_device_id uuid DEFAULT NULL
) RETURNS TABLE (enrolment_id uuid, code text, expires_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who text := nebula.require_admin(p_actor);
BEGIN
  RETURN QUERY SELECT * FROM nebula.create_enrolment(
    p_project_id, p_name, coalesce(p_role, 'host'),
    p_groups, p_endpoints, p_address::inet,
    coalesce(p_uses, 1), coalesce(p_lifetime, interval '1 day'), v_who, p_actor,
    p_device_id);
END $$;
COMMENT ON FUNCTION nebula.create_enrolment_for(
  uuid, uuid, text, text, text[], text[], text, integer, interval, uuid
) IS
  'For the gateway: create_enrolment for an administrator. Errors: 42501 not an administrator, the rest '
  'as create_enrolment';

CREATE FUNCTION nebula.list_enrolments(p_actor uuid, p_project uuid DEFAULT NULL)
RETURNS TABLE (
  enrolment_id uuid, project_id uuid, name text, role text, groups text[], address text,
  uses integer, uses_max integer, state text, created_by text, created_at timestamptz,
  expires_at timestamptz, device_id uuid
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_admin(p_actor);
  RETURN QUERY
    SELECT s.enrolment_id, s.project_id, s.name, s.role, s.groups, host(s.address), s.uses, s.uses_max,
           s.state, s.created_by, s.created_at, s.expires_at, s.device_id
      FROM nebula.enrolment_status s
     WHERE p_project IS NULL OR s.project_id = p_project
     ORDER BY s.created_at DESC
     LIMIT 1000;
END $$;
COMMENT ON FUNCTION nebula.list_enrolments(uuid, uuid) IS
  'For the gateway: enrolment codes without the codes, newest first, at most 1000. Errors: 42501 not an '
  'administrator';

CREATE FUNCTION nebula.revoke_enrolment(enrolment_id uuid, revoked_by text DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_enrolment_id CONSTANT uuid := enrolment_id;
  v_revoked_by   CONSTANT text := revoked_by;
  v_ended        nebula.enrolment;
BEGIN
  UPDATE nebula.enrolment e
     SET revoked_at = coalesce(e.revoked_at, now())
   WHERE e.enrolment_id = v_enrolment_id
  RETURNING e.* INTO v_ended;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no enrolment %', v_enrolment_id
      USING ERRCODE = 'P0002', HINT = 'List them: SELECT * FROM nebula.enrolment_status.';
  END IF;
  PERFORM nebula.record_event(v_ended.project_id, coalesce(v_revoked_by, session_user::text), 'revoke',
                              'enrolment', v_ended.enrolment_id::text);
END $$;
COMMENT ON FUNCTION nebula.revoke_enrolment(uuid, text) IS
  'Ends an enrolment code; devices that used it stay. For administrators. Errors: P0002 no such enrolment';

CREATE FUNCTION nebula.revoke_enrolment_for(p_actor uuid, p_enrolment_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.revoke_enrolment(p_enrolment_id, nebula.require_admin(p_actor))
$$;
COMMENT ON FUNCTION nebula.revoke_enrolment_for(uuid, uuid) IS
  'For the gateway: revoke_enrolment for an administrator. Errors: 42501 not an administrator, P0002 no '
  'such enrolment';

CREATE FUNCTION nebula.enrolment_project(p_code_hash bytea) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT e.project_id FROM nebula.enrolment e
   WHERE e.code_hash = p_code_hash AND e.revoked_at IS NULL AND e.expires_at > clock_timestamp()
$$;
COMMENT ON FUNCTION nebula.enrolment_project(bytea) IS
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
  PERFORM nebula.claim_key(p_used.project_id, p_public_key, v_known.device_id);
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
  PERFORM nebula.claim_name(v_used.project_id, v_named, p_device_id);
  PERFORM nebula.claim_key(v_used.project_id, p_public_key, p_device_id);
  -- The authority may be another one than when the code was made.
  PERFORM nebula.check_grantable(v_used.project_id, v_used.groups);
  PERFORM nebula.check_endpoints(v_used.project_id, p_endpoints) WHERE v_used.role <> 'host';
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
  p_code_hash bytea, p_device_id uuid, p_name text, p_endpoints text[], p_curve text,
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
COMMENT ON FUNCTION nebula.enroll_device(bytea, uuid, text, text[], text, bytea, bytea, inet) IS
  'For the gateway: makes a device, its address and its agent by an enrolment code, all or nothing; '
  'answers the device and the counter of the answer to send. The same device with the same keys again: '
  'the same device, and the code is not used twice. A code that was made for a device gives that one its '
  'agent, whatever identifier and name it brings. Errors: P0002 code unknown, used up, expired or '
  'revoked, 55000 the device was revoked, 23505 device id or name taken, or the code is for another '
  'device, 22023 lighthouse without endpoint, 54000 asked too often, 53400 pool exhausted';

CREATE FUNCTION nebula.register_by_code(
  p_code_hash bytea, p_project_id uuid, p_device_id uuid, p_name text, p_endpoints text[],
  p_curve text, p_public_key bytea, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  IF nebula.enrolment_project(p_code_hash) IS DISTINCT FROM p_project_id THEN
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
COMMENT ON FUNCTION nebula.register_by_code(bytea, uuid, uuid, text, text[], text, bytea, inet) IS
  'For the gateway: makes a device without an agent by an enrolment code, whose name, role, groups, '
  'endpoints and address count before the device''s own. The same device with the same key again: the '
  'same device. Errors: as enroll_device, and 55000 the device has an agent';
