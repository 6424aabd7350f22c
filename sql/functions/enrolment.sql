-- Enrolment codes: made by administrators, used by devices that have no account.

CREATE FUNCTION nebula.require_agentless(device_id uuid, project_id uuid) RETURNS nebula.device
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  known nebula.device := nebula.require_device(require_agentless.device_id, require_agentless.project_id);
BEGIN
  IF EXISTS (SELECT FROM nebula.agent a WHERE a.device_id = known.device_id) THEN
    RAISE EXCEPTION 'device "%" has an agent', known.name
      USING ERRCODE = '23505', HINT = 'Its agent renews its keys; if they are lost, revoke it and enrol a new device.';
  END IF;
  RETURN known;
END $$;
COMMENT ON FUNCTION nebula.require_agentless(uuid, uuid) IS
  'A device that could get an agent. Errors: P0002 no such device in the project, 55000 revoked, 23505 it has one';

CREATE FUNCTION nebula.create_enrolment(
  project_id uuid, name text DEFAULT NULL, role text DEFAULT 'host', groups text[] DEFAULT '{}', endpoints text[] DEFAULT '{}',
  address inet DEFAULT NULL, uses integer DEFAULT 1, lifetime interval DEFAULT '1 day', created_by text DEFAULT NULL, creator uuid DEFAULT NULL,
  device_id uuid DEFAULT NULL
) RETURNS TABLE (enrolment_id uuid, code text, expires_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
DECLARE
  -- 25 letters of 32: 125 bits. Without 0, 1, I and O, which people take for each other.
  letters CONSTANT text  := '23456789ABCDEFGHJKLMNPQRSTUVWXYZ';
  random  CONSTANT bytea := sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));
  who     CONSTANT text  := coalesce(create_enrolment.created_by, session_user::text);
  plain   text;
  made    nebula.enrolment;
BEGIN
  PERFORM nebula.require_project(create_enrolment.project_id);
  IF create_enrolment.lifetime IS NULL OR NOT create_enrolment.lifetime BETWEEN interval '1 second' AND interval '30 days' THEN
    RAISE EXCEPTION 'a code cannot be good for %', coalesce(create_enrolment.lifetime::text, 'ever')
      USING ERRCODE = '22023', HINT = 'Give an interval of at most 30 days, for example ''1 day''.';
  END IF;
  IF create_enrolment.uses IS NULL OR NOT create_enrolment.uses BETWEEN 1 AND 10000 THEN
    RAISE EXCEPTION 'a code cannot be good for % devices', create_enrolment.uses
      USING ERRCODE = '22023', HINT = 'Give a number from 1 to 10000.';
  END IF;
  IF create_enrolment.uses > 1 AND num_nonnulls(create_enrolment.name, create_enrolment.address) > 0 THEN
    RAISE EXCEPTION 'a code for % devices cannot give them all one name or address', create_enrolment.uses
      USING ERRCODE = '22023', HINT = 'Leave name and address out, or make a code for each device.';
  END IF;
  IF create_enrolment.device_id IS NOT NULL THEN
    PERFORM nebula.require_agentless(create_enrolment.device_id, create_enrolment.project_id);
    IF create_enrolment.uses > 1 OR create_enrolment.role <> 'host' OR num_nonnulls(create_enrolment.name, create_enrolment.address) > 0
       OR cardinality(create_enrolment.groups) + cardinality(create_enrolment.endpoints) > 0 THEN
      RAISE EXCEPTION 'a code for a device that is there says nothing else of it'
        USING ERRCODE = '22023', HINT = 'Leave name, role, groups, endpoints, address and uses out: it keeps what it has.';
    END IF;
  END IF;
  SELECT string_agg(substr(letters, (get_byte(random, n) & 31) + 1, 1), '' ORDER BY n) INTO plain FROM generate_series(0, 24) n;
  INSERT INTO nebula.enrolment AS e (project_id, code_hash, device_id, name, role, groups, endpoints, address, uses_max, creator_id, created_by, expires_at)
  VALUES (create_enrolment.project_id, sha256(plain::bytea), create_enrolment.device_id, create_enrolment.name, create_enrolment.role, create_enrolment.groups,
          create_enrolment.endpoints, create_enrolment.address, create_enrolment.uses, create_enrolment.creator, who,
          now() + create_enrolment.lifetime)
  RETURNING e.* INTO made;
  PERFORM nebula.record_event(made.project_id, who, 'create', 'enrolment', made.enrolment_id::text, inet_client_addr(),
    jsonb_build_object('role', made.role, 'name', made.name, 'device', made.device_id, 'uses', made.uses_max, 'until', made.expires_at));
  RETURN QUERY SELECT made.enrolment_id, regexp_replace(plain, '(.{5})(?!$)', '\1-', 'g'), made.expires_at;
END $$;
COMMENT ON FUNCTION nebula.create_enrolment(uuid, text, text, text[], text[], inet, integer, interval, text, uuid, uuid) IS
  'Makes an enrolment code and answers it, once and never again: only its hash is kept. With a device, which has no agent, the code gives it one and '
  'changes nothing else of it. For administrators. '
  'Errors: P0002 no such project or device, 22023 lifetime or uses out of range, one name or address for several, anything beside a device, '
  '23505 the device has an agent, 55000 it was revoked, 23514 malformed name or role';

CREATE FUNCTION nebula.create_enrolment_for(
  actor uuid, project_id uuid, name text, role text, groups text[], endpoints text[], address text, uses integer, lifetime interval,
  device_id uuid DEFAULT NULL
) RETURNS TABLE (enrolment_id uuid, code text, expires_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
DECLARE
  who text := nebula.require_admin(create_enrolment_for.actor);
BEGIN
  RETURN QUERY SELECT * FROM nebula.create_enrolment(
    create_enrolment_for.project_id, create_enrolment_for.name, coalesce(create_enrolment_for.role, 'host'),
    create_enrolment_for.groups, create_enrolment_for.endpoints, create_enrolment_for.address::inet,
    coalesce(create_enrolment_for.uses, 1), coalesce(create_enrolment_for.lifetime, interval '1 day'), who, create_enrolment_for.actor,
    create_enrolment_for.device_id);
END $$;
COMMENT ON FUNCTION nebula.create_enrolment_for(uuid, uuid, text, text, text[], text[], text, integer, interval, uuid) IS
  'create_enrolment for an administrator. Errors: 42501 not an administrator, the rest as create_enrolment';

CREATE FUNCTION nebula.list_enrolments(actor uuid, project uuid DEFAULT NULL)
RETURNS TABLE (enrolment_id uuid, project_id uuid, name text, role text, groups text[], address text, uses integer, uses_max integer,
               state text, created_by text, created_at timestamptz, expires_at timestamptz, device_id uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
BEGIN
  PERFORM nebula.require_admin(list_enrolments.actor);
  RETURN QUERY
    SELECT s.enrolment_id, s.project_id, s.name, s.role, s.groups, host(s.address), s.uses, s.uses_max, s.state, s.created_by,
           s.created_at, s.expires_at, s.device_id
      FROM nebula.enrolment_status s
     WHERE list_enrolments.project IS NULL OR s.project_id = list_enrolments.project
     ORDER BY s.created_at DESC
     LIMIT 1000;
END $$;
COMMENT ON FUNCTION nebula.list_enrolments(uuid, uuid) IS
  'Enrolment codes without the codes, newest first, at most 1000. Errors: 42501 not an administrator';

CREATE FUNCTION nebula.revoke_enrolment(enrolment_id uuid, revoked_by text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  ended nebula.enrolment;
BEGIN
  UPDATE nebula.enrolment e SET revoked_at = coalesce(e.revoked_at, now())
   WHERE e.enrolment_id = revoke_enrolment.enrolment_id RETURNING e.* INTO ended;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no enrolment %', revoke_enrolment.enrolment_id
      USING ERRCODE = 'P0002', HINT = 'List them: SELECT * FROM nebula.enrolment_status.';
  END IF;
  PERFORM nebula.record_event(ended.project_id, coalesce(revoke_enrolment.revoked_by, session_user::text), 'revoke', 'enrolment',
    ended.enrolment_id::text);
END $$;
COMMENT ON FUNCTION nebula.revoke_enrolment(uuid, text) IS
  'Ends an enrolment code; devices that used it stay. For administrators. Errors: P0002 no such enrolment';

CREATE FUNCTION nebula.revoke_enrolment_for(actor uuid, enrolment_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.revoke_enrolment(revoke_enrolment_for.enrolment_id, nebula.require_admin(revoke_enrolment_for.actor))
$$;
COMMENT ON FUNCTION nebula.revoke_enrolment_for(uuid, uuid) IS
  'revoke_enrolment for an administrator. Errors: 42501 not an administrator, P0002 no such enrolment';

CREATE FUNCTION nebula.enrolment_project(code_hash bytea) RETURNS uuid
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT e.project_id FROM nebula.enrolment e
   WHERE e.code_hash = enrolment_project.code_hash AND e.revoked_at IS NULL AND e.expires_at > clock_timestamp()
$$;
COMMENT ON FUNCTION nebula.enrolment_project(bytea) IS
  'The project a code is for; null for one that is unknown, expired or revoked. It may be used up';

-- A device that is there becomes one that an agent looks after. The certificates it had stay good until the agent has
-- its nebula running (bundle_ended): if joining fails half-way, the other one goes on.
CREATE FUNCTION nebula.give_agent(used nebula.enrolment, curve text, public_key bytea, client inet) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  known nebula.device := nebula.require_agentless(used.device_id, used.project_id);
  held  inet;
BEGIN
  PERFORM nebula.limit_certificates(known.device_id, 10);
  UPDATE nebula.enrolment e SET uses = e.uses + 1 WHERE e.enrolment_id = used.enrolment_id;
  UPDATE nebula.device d SET curve = give_agent.curve, public_key = give_agent.public_key WHERE d.device_id = known.device_id;
  -- The address it has; one that was released meanwhile it gets anew, which allocate_ip tells the others if they know it.
  held := nebula.allocate_ip(used.project_id, known.device_id, 'enrolment ' || used.enrolment_id, client => give_agent.client);
  INSERT INTO nebula.enrolment_use (enrolment_id, device_id) VALUES (used.enrolment_id, known.device_id);
  PERFORM nebula.record_event(used.project_id, used.created_by, 'enrol', 'device', known.device_id::text, give_agent.client,
    jsonb_build_object('name', known.name, 'ip', host(held), 'enrolment', used.enrolment_id));
END $$;
COMMENT ON FUNCTION nebula.give_agent(nebula.enrolment, text, bytea, inet) IS
  'Lets a device that is there use the code that was made for it. Errors: 55000 revoked, 23505 it has an agent, 54000 asked too often';

-- Everything but the agent: whoever joins by code passes here.
CREATE FUNCTION nebula.use_enrolment(
  code_hash bytea, device_id uuid, name text, endpoints text[], curve text, public_key bytea, client inet
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
DECLARE
  used  nebula.enrolment;
  known nebula.device;
  named text;
  held  inet;
BEGIN
  -- Devices that use one code wait for each other here.
  SELECT * INTO used FROM nebula.enrolment e WHERE e.code_hash = use_enrolment.code_hash FOR UPDATE;
  IF used.enrolment_id IS NULL OR used.revoked_at IS NOT NULL OR used.expires_at <= clock_timestamp() THEN
    RAISE EXCEPTION 'this enrolment code is not good' USING ERRCODE = 'P0002', HINT = 'Ask an administrator for a new one.';
  END IF;

  SELECT * INTO known FROM nebula.device d WHERE d.device_id = use_enrolment.device_id;
  IF FOUND THEN
    IF known.project_id = used.project_id AND known.revoked_at IS NOT NULL THEN
      RAISE EXCEPTION 'device "%" was revoked', known.name USING ERRCODE = '55000', HINT = 'It can enrol again as a new device.';
    END IF;
    -- The answer was lost, and the device asks again: with the same key, or it is somebody else.
    IF known.public_key = use_enrolment.public_key
       AND EXISTS (SELECT FROM nebula.enrolment_use u WHERE u.enrolment_id = used.enrolment_id AND u.device_id = known.device_id)
    THEN
      PERFORM nebula.limit_certificates(known.device_id, 10);
      RETURN false;
    END IF;
    IF used.device_id IS DISTINCT FROM known.device_id THEN
      RAISE EXCEPTION 'device id % is taken', use_enrolment.device_id
        USING ERRCODE = '23505', HINT = 'Leave the device id out, or choose another one.';
    END IF;
  END IF;

  IF used.uses >= used.uses_max THEN
    IF used.uses_max = 1 AND EXISTS (
      SELECT FROM nebula.enrolment_use u JOIN nebula.device d USING (device_id)
       WHERE u.enrolment_id = used.enrolment_id AND d.revoked_at IS NOT NULL)
    THEN
      RAISE EXCEPTION 'the device of this code was revoked' USING ERRCODE = '55000', HINT = 'Ask an administrator for a new code.';
    END IF;
    RAISE EXCEPTION 'this enrolment code is used up' USING ERRCODE = 'P0002', HINT = 'Ask an administrator for a new one.';
  END IF;

  IF used.device_id IS NOT NULL THEN
    PERFORM nebula.give_agent(used, use_enrolment.curve, use_enrolment.public_key, use_enrolment.client);
    RETURN true;
  END IF;
  named := coalesce(used.name, use_enrolment.name, 'device-' || left(use_enrolment.device_id::text, 8));
  PERFORM nebula.claim_name(used.project_id, named, use_enrolment.device_id);
  IF used.role = 'lighthouse' AND cardinality(used.endpoints) = 0 AND cardinality(coalesce(use_enrolment.endpoints, '{}')) = 0 THEN
    RAISE EXCEPTION 'a lighthouse without an endpoint can be found by nobody'
      USING ERRCODE = '22023', HINT = 'Name at least one host:port where other devices reach it, for example 192.0.2.10:4242.';
  END IF;

  UPDATE nebula.enrolment e SET uses = e.uses + 1 WHERE e.enrolment_id = used.enrolment_id;
  -- Before the address is taken, so that it comes from a range reserved for a group of the device.
  INSERT INTO nebula.device (device_id, project_id, owner_id, name, role, endpoints, groups, curve, public_key)
  VALUES (use_enrolment.device_id, used.project_id, used.creator_id, named, used.role,
          CASE WHEN cardinality(used.endpoints) > 0 THEN used.endpoints ELSE coalesce(use_enrolment.endpoints, '{}') END,
          used.groups, use_enrolment.curve, use_enrolment.public_key);
  held := nebula.allocate_ip(used.project_id, use_enrolment.device_id, 'enrolment ' || used.enrolment_id, address => used.address, client => use_enrolment.client);
  INSERT INTO nebula.enrolment_use (enrolment_id, device_id) VALUES (used.enrolment_id, use_enrolment.device_id);
  PERFORM nebula.record_event(used.project_id, used.created_by, 'enrol', 'device', use_enrolment.device_id::text, use_enrolment.client,
    jsonb_build_object('name', named, 'ip', host(held), 'enrolment', used.enrolment_id));
  RETURN true;
END $$;
COMMENT ON FUNCTION nebula.use_enrolment(bytea, uuid, text, text[], text, bytea, inet) IS
  'Makes a device and its address by an enrolment code; false when the same device with the same key joined by it before. Errors: as enroll_device';

CREATE FUNCTION nebula.enroll_device(
  code_hash bytea, device_id uuid, name text, endpoints text[], curve text, public_key bytea, host_key bytea, client inet DEFAULT NULL
) RETURNS TABLE (enrolled uuid, answer bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
DECLARE
  bound  uuid := (SELECT e.device_id FROM nebula.enrolment e WHERE e.code_hash = enroll_device.code_hash);
  chosen uuid := coalesce(bound, enroll_device.device_id, gen_random_uuid());
BEGIN
  -- Who only has an idea of what to be called takes the identity that the code is for; another device does not.
  IF bound <> enroll_device.device_id AND EXISTS (SELECT FROM nebula.device d WHERE d.device_id = enroll_device.device_id) THEN
    RAISE EXCEPTION 'this enrolment code is for another device' USING ERRCODE = '23505', HINT = 'Use it on the device that it was made for.';
  END IF;
  IF NOT nebula.use_enrolment(enroll_device.code_hash, chosen, enroll_device.name, enroll_device.endpoints, enroll_device.curve,
                              enroll_device.public_key, enroll_device.client) THEN
    IF NOT EXISTS (SELECT FROM nebula.agent_answer w WHERE w.device_id = chosen AND w.host_key = enroll_device.host_key) THEN
      RAISE EXCEPTION 'device id % is taken', chosen
        USING ERRCODE = '23505', HINT = 'Leave the device id out, or choose another one.';
    END IF;
    RETURN QUERY SELECT chosen, nebula.add_answers(ARRAY[chosen], ARRAY[enroll_device.host_key], ARRAY[enroll_device.public_key]);
    UPDATE nebula.agent_answer w SET version = 0
      FROM nebula.agent a
     WHERE a.device_id = chosen AND a.acknowledged_version = 0 AND w.device_id = a.device_id AND w.counter = a.counter;
    RETURN;
  END IF;
  -- A new device runs nothing older. One that had a bundle may go on with that, and the answer of an enrolment says nothing
  -- of it: it has a configuration to fetch, which it acknowledges only once it runs it.
  INSERT INTO nebula.agent (device_id, project_id, counter, acknowledged_counter, acknowledged_version)
  SELECT d.device_id, p.project_id, 1, 1, CASE WHEN bound IS NULL THEN p.config_version ELSE 0 END
    FROM nebula.device d JOIN nebula.project p USING (project_id) WHERE d.device_id = chosen;
  INSERT INTO nebula.agent_answer (device_id, counter, version, host_key, public_key)
  SELECT a.device_id, 1, a.acknowledged_version, enroll_device.host_key, enroll_device.public_key
    FROM nebula.agent a WHERE a.device_id = chosen;
  RETURN QUERY SELECT chosen, 1::bigint;
END $$;
COMMENT ON FUNCTION nebula.enroll_device(bytea, uuid, text, text[], text, bytea, bytea, inet) IS
  'Makes a device, its address and its agent by an enrolment code, all or nothing; answers the device and the counter of the answer to send. '
  'The same device with the same keys again: the same device, and the code is not used twice. A code that was made for a device gives that one its '
  'agent, whatever identifier and name it brings. '
  'Errors: P0002 code unknown, used up, expired or revoked, 55000 the device was revoked, 23505 device id or name taken, or the code is for another device, 22023 lighthouse '
  'without endpoint, 54000 asked too often, 53400 pool exhausted';

CREATE FUNCTION nebula.register_by_code(
  code_hash bytea, project_id uuid, device_id uuid, name text, endpoints text[], curve text, public_key bytea, client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  IF nebula.enrolment_project(register_by_code.code_hash) IS DISTINCT FROM register_by_code.project_id THEN
    RAISE EXCEPTION 'this enrolment code is not good for project %', register_by_code.project_id
      USING ERRCODE = 'P0002', HINT = 'Ask an administrator of the project for one.';
  END IF;
  IF EXISTS (SELECT FROM nebula.enrolment e WHERE e.code_hash = register_by_code.code_hash AND e.device_id IS NOT NULL) THEN
    RAISE EXCEPTION 'this enrolment code gives a device its agent' USING ERRCODE = '55000', HINT = 'Use it on that device: nebulactl join --code CODE.';
  END IF;
  IF NOT nebula.use_enrolment(register_by_code.code_hash, register_by_code.device_id, register_by_code.name, register_by_code.endpoints,
                              register_by_code.curve, register_by_code.public_key, register_by_code.client)
     AND EXISTS (SELECT FROM nebula.agent a WHERE a.device_id = register_by_code.device_id) THEN
    RAISE EXCEPTION 'device % has an agent, which renews its certificate', register_by_code.device_id
      USING ERRCODE = '55000', HINT = 'Register another device id, or let the agent work.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.register_by_code(bytea, uuid, uuid, text, text[], text, bytea, inet) IS
  'Makes a device without an agent by an enrolment code, whose name, role, groups, endpoints and address count before the device''s own. '
  'The same device with the same key again: the same device. Errors: as enroll_device, and 55000 the device has an agent';
