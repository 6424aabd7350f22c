-- Enrolment codes, as administrators create, list and revoke them.

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

-- As allocate_ip decides when the code is used. What may change until then is no error: a device may give its address
-- back, and an exclusion be dropped.
CREATE FUNCTION nebula.check_code_address(p_project_id uuid, p_address inet) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_pool nebula.pool;
BEGIN
  PERFORM nebula.check_address(p_address);
  SELECT l.*
    INTO v_pool
    FROM nebula.pool l
   WHERE l.project_id = p_project_id
     AND l.purpose = 'device'
     AND p_address <<= l.cidr;
  IF NOT FOUND THEN
    RAISE EXCEPTION '% is in no pool of project %', p_address, p_project_id
      USING ERRCODE = '22023', HINT = 'List its pools: SELECT name, cidr FROM nebula.pool.';
  END IF;
  IF p_address = v_pool.gateway
     OR NOT EXISTS (SELECT
                      FROM nebula.assignable_range(v_pool.cidr) r
                     WHERE p_address BETWEEN r.first AND r.last)
  THEN
    RAISE EXCEPTION '% is reserved in pool "%" (%)', p_address, v_pool.name, v_pool.cidr
      USING ERRCODE = '22023', HINT = 'Network, broadcast and gateway addresses are not given out; choose another.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_code_address(uuid, inet) IS
  'Internal: refuses a code with an address that no device can ever get. Errors: 22023';

CREATE FUNCTION nebula.check_code_values(p_role text, p_groups text[], p_endpoints text[], p_creator uuid)
RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF p_role IS NULL OR p_role NOT IN ('host', 'lighthouse', 'relay') THEN
    RAISE EXCEPTION 'a code cannot have the role %', coalesce(quote_literal(left(p_role, 80)), 'null')
      USING ERRCODE = '22023', HINT = 'Give host, lighthouse or relay.';
  END IF;
  IF p_groups IS NULL OR p_endpoints IS NULL THEN
    RAISE EXCEPTION '% must not be null', CASE WHEN p_groups IS NULL THEN 'groups' ELSE 'endpoints' END
      USING ERRCODE = '22023', HINT = 'Give a list of texts, for none ''{}''.';
  END IF;
  IF NOT EXISTS (SELECT FROM nebula.account a WHERE a.account_id = p_creator) AND p_creator IS NOT NULL THEN
    RAISE EXCEPTION 'there is no account %', p_creator
      USING ERRCODE = 'P0002', HINT = 'List accounts: SELECT account_id, username FROM nebula.account.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_code_values(text, text[], text[], uuid) IS
  'Internal: refuses values that no code can have. Errors: 22023, P0002 no such account';

CREATE FUNCTION nebula.check_not_reserved(p_project_id uuid, p_name text, p_address inet) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_namesake text := (SELECT d.name
                        FROM nebula.device d
                       WHERE d.project_id = p_project_id
                         AND lower(d.name) = lower(p_name)
                         AND d.revoked_at IS NULL
                       LIMIT 1);
  v_other    record;
BEGIN
  IF v_namesake IS NOT NULL THEN
    RAISE EXCEPTION 'device "%" of the project has this name', v_namesake
      USING ERRCODE = '23505',
        HINT = format('Choose another name; or revoke that device (nebulactl device revoke %s). A device that joined '
                      'without a code gets its agent by nebulactl enrolment create --device.', v_namesake);
  END IF;
  PERFORM nebula.check_code_address(p_project_id, p_address) WHERE p_address IS NOT NULL;
  -- An address that a device has now is no error: the device may give it back before the code is used.
  -- One use each: the second of two codes for one name or address could never be used.
  SELECT e.enrolment_id, e.expires_at,
         CASE WHEN lower(e.name) = lower(p_name) THEN format('name "%s"', e.name)
              ELSE 'address ' || host(e.address) END AS reserved
    INTO v_other
    FROM nebula.enrolment e
   WHERE e.project_id = p_project_id
     AND (lower(e.name) = lower(p_name) OR e.address = p_address)
     AND e.uses < e.uses_max
     AND e.revoked_at IS NULL
     AND e.expires_at > clock_timestamp()
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'another code has the % until %', v_other.reserved, v_other.expires_at
      USING ERRCODE = '23505',
        HINT = format('Use that one, or revoke it: nebulactl enrolment revoke %s.', v_other.enrolment_id);
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_not_reserved(uuid, text, inet) IS
  'Internal: refuses a code with a name or an address which cannot be had. Errors: 22023 in no '
  'pool, 23505 the name of a device, reserved by another code';

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
  v_who        CONSTANT text := coalesce(v_created_by, session_user::text);
  v_plain      CONSTANT text := nebula.random_code();
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
  PERFORM nebula.check_code_values(v_role, v_groups, v_endpoints, v_creator);
  PERFORM nebula.check_device_name(v_name);
  PERFORM nebula.check_text('created_by', v_who, 'actor');
  PERFORM nebula.check_groups(v_groups);
  PERFORM nebula.check_grantable(v_project_id, v_groups);
  IF v_role = 'lighthouse' AND cardinality(coalesce(v_endpoints, '{}')) = 0 THEN
    RAISE EXCEPTION 'a lighthouse needs an endpoint: without one no device finds it'
      USING ERRCODE = '22023',
        HINT = 'Name at least one host:port where other devices reach it, for example 192.0.2.10:4242.';
  END IF;
  -- Of two codes that are made at the same time, the later one sees the earlier one.
  PERFORM
     FROM nebula.project p
    WHERE p.project_id = v_project_id
      AND num_nonnulls(v_name, v_address) > 0
      FOR NO KEY UPDATE;
  PERFORM nebula.check_not_reserved(v_project_id, v_name, v_address);
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
    SELECT v_made.enrolment_id, nebula.grouped_code(v_plain), v_made.expires_at;
END $$;
COMMENT ON FUNCTION nebula.create_enrolment(
  uuid, text, text, text[], text[], inet, integer, interval, text, uuid, uuid
) IS
  'Creates an enrolment code and returns it, this once: only its hash is stored. With device_id, the code '
  'gives an agent to that device, which has none, and changes nothing else of it. For administrators. '
  'Errors: P0002 no such project, device or account, 22023 lifetime or uses out of range, one name or address for '
  'several devices, other properties beside device_id, reserved name, malformed groups or not of the '
  'authority, an endpoint that others cannot use, a lighthouse without endpoint, an address in no '
  'pool or never given out, a role that there is not, 23505 the name of a device, name or address reserved '
  'by another code, the device has an agent, 55000 it was revoked';

CREATE FUNCTION nebula.create_enrolment_for(
  p_actor nebula.proven_account, p_project_id uuid, p_name text, p_role text, p_groups text[], p_endpoints text[],
  p_address text, p_uses integer, p_lifetime interval, p_device_id uuid DEFAULT NULL,
  p_code_hash bytea DEFAULT NULL
) RETURNS TABLE (enrolment_id uuid, code text, expires_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who text := nebula.require_permission(p_actor, p_project_id, 'enrolment.write');
BEGIN
  IF EXISTS (SELECT FROM nebula.enrolment e WHERE e.code_hash = p_code_hash) THEN
    RAISE EXCEPTION 'this request of a device was approved before'
      USING ERRCODE = '23505', HINT = 'The device fetches its code; to take it back: nebulactl enrolment revoke.';
  END IF;
  SELECT c.enrolment_id, c.code, c.expires_at
    INTO enrolment_id, code, expires_at
    FROM nebula.create_enrolment(
           p_project_id, p_name, coalesce(p_role, 'host'), p_groups, p_endpoints,
           nebula.read_inet('address', p_address), coalesce(p_uses, 1), coalesce(p_lifetime, interval '1 day'), v_who,
           p_actor, p_device_id) c;
  IF p_code_hash IS NOT NULL THEN
    -- The device that asks to be let in has a code already, which nobody else knows.
    code := NULL;
    UPDATE nebula.enrolment e
       SET code_hash = p_code_hash
     WHERE e.enrolment_id = create_enrolment_for.enrolment_id;
  END IF;
  RETURN NEXT;
END $$;
COMMENT ON FUNCTION nebula.create_enrolment_for(
  nebula.proven_account, uuid, text, text, text[], text[], text, integer, interval, uuid, bytea
) IS
  'For the gateway: create_enrolment for an administrator; with code_hash for the code of a device that asked '
  'to be let in, which is then not returned. Errors: 42501 not an administrator, 23505 approved before, the '
  'rest as create_enrolment';

CREATE FUNCTION nebula.list_enrolments(p_actor nebula.proven_account, p_project uuid DEFAULT NULL)
RETURNS TABLE (
  enrolment_id uuid, project_id uuid, name text, role text, groups text[], address text,
  uses integer, uses_max integer, state text, created_by text, created_at timestamptz,
  expires_at timestamptz, device_id uuid
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_permitted uuid[] := ARRAY(SELECT nebula.permitted_projects(p_actor, 'enrolment.write'));
BEGIN
  IF v_permitted = '{}' OR p_project IS NOT NULL THEN
    PERFORM nebula.require_permission(p_actor, p_project, 'enrolment.write');
  END IF;
  RETURN QUERY
    SELECT s.enrolment_id, s.project_id, s.name, s.role, s.groups, host(s.address), s.uses, s.uses_max,
           s.state, s.created_by, s.created_at, s.expires_at, s.device_id
      FROM nebula.enrolment_status s
     WHERE s.project_id = ANY (v_permitted)
       AND (p_project IS NULL OR s.project_id = p_project)
     ORDER BY s.created_at DESC
     LIMIT 1000;
END $$;
COMMENT ON FUNCTION nebula.list_enrolments(nebula.proven_account, uuid) IS
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

CREATE FUNCTION nebula.revoke_enrolment_for(p_actor nebula.proven_account, p_enrolment_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.revoke_enrolment(
           p_enrolment_id,
           nebula.require_permission(p_actor,
                                     (SELECT e.project_id
                                        FROM nebula.enrolment e
                                       WHERE e.enrolment_id = p_enrolment_id
                                         AND e.project_id IN (SELECT nebula.visible_projects(p_actor))),
                                     'enrolment.write'))
$$;
COMMENT ON FUNCTION nebula.revoke_enrolment_for(nebula.proven_account, uuid) IS
  'For the gateway: revoke_enrolment for an administrator. Errors: 42501 not an administrator, P0002 no '
  'such enrolment';
