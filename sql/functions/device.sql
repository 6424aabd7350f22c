-- Devices as the gateway registers, shows and releases them. Addresses come from nebula.allocate_ip.

-- Version 2 of certificates holds addresses of both families, version 1 one IPv4 address.
CREATE FUNCTION nebula.dual_families(p_project_id uuid) RETURNS integer[]
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_families integer[] := ARRAY(SELECT DISTINCT family(l.cidr)
                                  FROM nebula.pool l
                                 WHERE l.project_id = p_project_id
                                   AND l.purpose = 'device'
                                   AND l.enabled
                                 ORDER BY 1);
BEGIN
  IF v_families = '{4,6}'
     AND EXISTS (SELECT FROM nebula.project p WHERE p.project_id = p_project_id AND 2 = ANY (p.certificate_versions))
  THEN
    RETURN v_families;
  END IF;
  RETURN '{}';
END $$;
COMMENT ON FUNCTION nebula.dual_families(uuid) IS
  'Internal: {4,6} if a device of the project gets an address of each family when it joins, else {}: one '
  'address of any';

CREATE FUNCTION nebula.allocate_if_free(
  p_project_id uuid, p_device_id uuid, p_allocated_by text, p_family integer, p_client inet
) RETURNS inet
LANGUAGE plpgsql AS $$
BEGIN
  RETURN nebula.allocate_ip(p_project_id, p_device_id, p_allocated_by, family => p_family, client => p_client);
EXCEPTION
  WHEN configuration_limit_exceeded THEN
    RETURN NULL;
END $$;
COMMENT ON FUNCTION nebula.allocate_if_free(uuid, uuid, text, integer, inet) IS
  'Internal: an address of the family for the device; null when the pools of the family are full. Errors: as '
  'allocate_ip, but 53400';

-- In a project of both families a device joins as long as one of them has a free address: pools of IPv4 are small, and
-- a full one must not keep devices out that IPv6 has room for. Such a device gets the other address when it registers
-- again after one became free.
CREATE FUNCTION nebula.assign_addresses(
  p_project_id uuid, p_device_id uuid, p_allocated_by text, p_address inet, p_client inet
) RETURNS inet
LANGUAGE plpgsql AS $$
DECLARE
  v_families integer[] := nebula.dual_families(p_project_id);
  v_first    inet;
BEGIN
  IF p_address IS NOT NULL THEN
    v_first := nebula.allocate_ip(p_project_id, p_device_id, p_allocated_by, address => p_address,
                                  family => family(p_address), client => p_client);
  END IF;
  SELECT coalesce(v_first, (array_agg(w.ip ORDER BY f.family) FILTER (WHERE w.ip IS NOT NULL))[1])
    INTO v_first
    FROM unnest(v_families) AS f(family)
   CROSS JOIN LATERAL nebula.allocate_if_free(p_project_id, p_device_id, p_allocated_by, f.family, p_client) AS w(ip)
   WHERE f.family IS DISTINCT FROM family(v_first);
  -- One family, or the error of full pools.
  RETURN coalesce(v_first, nebula.allocate_ip(p_project_id, p_device_id, p_allocated_by, client => p_client));
END $$;
COMMENT ON FUNCTION nebula.assign_addresses(uuid, uuid, text, inet, inet) IS
  'Internal: the address of a device that joins, the one given or the lowest free one, and where the '
  'project has pools of both families one of each that has a free one; answers the first. Errors: as '
  'allocate_ip';

-- Many devices in one call, because registrations arrive in batches: a statement for a hundred costs little more than
-- for one. Fixed plan (sql/README.md): one indexed subquery per device, with LIMIT 1.
CREATE FUNCTION nebula.register_devices(
  p_gateway nebula.proven_gateway, p_project_id uuid, p_devices nebula.new_device[], p_proofs text[] DEFAULT '{}'
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp
SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  v_hourly     CONSTANT integer := 10;
  v_device_ids CONSTANT uuid[] := ARRAY(SELECT n.device_id FROM unnest(p_devices) n);
  -- Each account once: v_usernames and v_admins have the order of v_actors.
  v_actors     uuid[];
  v_usernames  text[];
  v_admins     boolean[];
  v_role       text;
  v_locked     uuid[];
  v_known      record;
  v_caller     record;
  v_registered integer;
BEGIN
  PERFORM nebula.actor(o.proof) FROM unnest(p_proofs) AS o(proof);
  SELECT array_agg(a.actor), array_agg(m.username), array_agg(m.is_admin)
    INTO v_actors, v_usernames, v_admins
    FROM (SELECT DISTINCT n.actor FROM unnest(p_devices) n) a
   CROSS JOIN LATERAL nebula.acting_member(a.actor::nebula.proven_account, p_project_id, 'device.register') m;
  PERFORM nebula.check_device_name(n.name)
     FROM unnest(p_devices) n
    WHERE NOT nebula.is_name(n.name) OR lower(n.name) = 'any';
  SELECT n.role
    INTO v_role
    FROM unnest(p_devices) n
   WHERE n.role <> 'host'
     AND NOT v_admins[array_position(v_actors, n.actor)]
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'only an administrator may register a %', v_role
      USING ERRCODE = '42501', HINT = 'Register as a host, or ask an administrator.';
  END IF;
  -- Serializes concurrent registrations of one device. One lock order, so that two batches do not deadlock.
  v_locked := ARRAY(SELECT d.device_id
                      FROM nebula.device d
                     WHERE d.device_id = ANY (v_device_ids)
                     ORDER BY d.device_id
                       FOR UPDATE);
  IF v_locked <> '{}' THEN
    FOR v_known IN
      SELECT d.*, n.actor, v_admins[array_position(v_actors, n.actor)] AS is_admin
        FROM unnest(p_devices) n
       CROSS JOIN LATERAL (SELECT k.* FROM nebula.device k WHERE k.device_id = n.device_id LIMIT 1) d
    LOOP
      IF v_known.project_id <> p_project_id THEN
        RAISE EXCEPTION 'device % belongs to another project', v_known.device_id
          USING ERRCODE = '23505',
            HINT = 'Use a fresh device id, or release the device from its project first.';
      END IF;
      IF v_known.owner_id IS DISTINCT FROM v_known.actor AND NOT v_known.is_admin THEN
        RAISE EXCEPTION 'device "%" was registered by another account', v_known.name
          USING ERRCODE = '42501', HINT = 'Only its owner or an administrator may register it again.';
      END IF;
      IF v_known.revoked_at IS NOT NULL THEN
        RAISE EXCEPTION 'device "%" was revoked', v_known.name
          USING ERRCODE = '55000', HINT = 'Register it under a new device id.';
      END IF;
      PERFORM nebula.limit_certificates(v_known.device_id, v_hourly);
    END LOOP;
  END IF;
  PERFORM nebula.claim_identities(p_project_id, array_agg(n.device_id), array_agg(n.name), array_agg(n.public_key))
     FROM unnest(p_devices) n;
  -- One allocation and one set of events for all devices of an account that call from one address.
  FOR v_caller IN
    SELECT w.actor, w.username, w.client, array_agg(w.device_id) AS device_ids, array_agg(w.name) AS names,
           array_agg(w.request_id) AS request_ids
      FROM (SELECT n.actor, v_usernames[array_position(v_actors, n.actor)] AS username, n.client, n.device_id, n.name,
                   n.request_id
              FROM unnest(p_devices) n) w
     GROUP BY w.actor, w.username, w.client
     ORDER BY w.username, w.client
  LOOP
    PERFORM nebula.record_events(p_project_id, v_caller.username, 'register', 'device',
                                 array_agg(w.device_id::text), v_caller.client,
                                 array_agg(jsonb_build_object('name', w.name, 'ip', host(h.ip))),
                                 v_caller.actor, array_agg(w.request_id))
      FROM nebula.allocate_ips(p_project_id, v_caller.device_ids, v_caller.username, client => v_caller.client) h
      JOIN unnest(v_caller.device_ids, v_caller.names, v_caller.request_ids) AS w(device_id, name, request_id)
           USING (device_id);
    PERFORM nebula.allocate_if_free(p_project_id, w.device_id, v_caller.username, f.family, v_caller.client)
       FROM unnest(nebula.dual_families(p_project_id)) AS f(family)
      CROSS JOIN (SELECT unnest(v_caller.device_ids) AS device_id ORDER BY 1) w
      WHERE NOT EXISTS (SELECT
                          FROM nebula.allocation a
                         WHERE a.device_id = w.device_id
                           AND a.released_at IS NULL
                           AND family(a.ip) = f.family);
  END LOOP;
  INSERT INTO nebula.device AS d (device_id, project_id, owner_id, name, role, endpoints, curve, public_key)
  SELECT n.device_id, p_project_id, n.actor, n.name, n.role, n.endpoints, n.curve, n.public_key
    FROM unnest(p_devices) n
   ORDER BY n.device_id
  ON CONFLICT (device_id) DO UPDATE
     SET name = EXCLUDED.name,
         role = EXCLUDED.role,
         endpoints = EXCLUDED.endpoints,
         curve = EXCLUDED.curve,
         public_key = EXCLUDED.public_key
   -- A row inserted since the lock above was not checked there: accept it only if it is of the same account.
   WHERE d.device_id = ANY (v_locked)
      OR (d.project_id, d.owner_id, d.revoked_at IS NULL) = (EXCLUDED.project_id, EXCLUDED.owner_id, true);
  GET DIAGNOSTICS v_registered = ROW_COUNT;
  IF v_registered < cardinality(v_device_ids) THEN
    RAISE EXCEPTION 'another account has just registered one of the devices %', v_device_ids
      USING ERRCODE = '23505', HINT = 'Use a fresh device id.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.register_devices(nebula.proven_gateway, uuid, nebula.new_device[], text[]) IS
  'For the gateway: makes or renews devices of a project and their addresses, all or none; a device that '
  'exists keeps its address. proofs: the tokens of the accounts that register them. Contents of their certificates: '
  'device_configurations. Errors: 28000 an account has no proof, P0002 no such '
  'project, 42501 not allowed, 23505 other project, name, key or endpoint taken, 55000 revoked, 54000 too often, '
  '22023 an endpoint that others cannot use, 53400 pool exhausted';

CREATE FUNCTION nebula.project_lighthouses(p_project_id uuid)
RETURNS TABLE (device_id uuid, name text, role text, ip text, endpoints text[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  RETURN QUERY
    SELECT d.device_id, d.name, d.role, host(a.ip), d.endpoints
      FROM nebula.device d
      JOIN nebula.allocation a ON a.device_id = d.device_id AND a.released_at IS NULL
     WHERE d.project_id = p_project_id AND d.role IN ('lighthouse', 'relay') AND d.revoked_at IS NULL
     ORDER BY a.ip;
END $$;
COMMENT ON FUNCTION nebula.project_lighthouses(uuid) IS
  'Internal: lighthouses and relays that a member''s nebula.yml names, by address';

CREATE FUNCTION nebula.list_devices(
  p_actor nebula.proven_account, p_project_id uuid DEFAULT NULL, p_device_id uuid DEFAULT NULL
) RETURNS TABLE (
  device_id uuid, project_id uuid, name text, role text, owner text, ip text, pool text,
  endpoints text[], curve text, registered_at timestamptz, last_seen_at timestamptz,
  revoked_at timestamptz, fingerprint text, certificate_not_after timestamptz, groups text[]
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT d.device_id, d.project_id, d.name, d.role, o.username, host(a.ip), l.name, d.endpoints, d.curve,
         d.registered_at, d.last_seen_at, d.revoked_at, encode(c.fingerprint, 'hex'), c.not_after,
         d.groups
    FROM nebula.device d
    LEFT JOIN nebula.account o ON o.account_id = d.owner_id
    LEFT JOIN nebula.allocation a ON a.device_id = d.device_id AND a.released_at IS NULL
    LEFT JOIN nebula.pool l ON l.pool_id = a.pool_id
    LEFT JOIN LATERAL (
      SELECT k.fingerprint, k.not_after FROM nebula.certificate k
       WHERE k.device_id = d.device_id AND k.revoked_at IS NULL
       ORDER BY k.not_after DESC, k.version LIMIT 1
    ) c ON true
   WHERE d.project_id IN (SELECT nebula.visible_projects(p_actor))
     AND (p_project_id IS NULL OR d.project_id = p_project_id)
     AND (p_device_id IS NULL OR d.device_id = p_device_id)
   ORDER BY d.project_id, a.ip, d.name
$$;
COMMENT ON FUNCTION nebula.list_devices(nebula.proven_account, uuid, uuid) IS
  'For the gateway: devices the account sees, with address and newest certificate; one device when '
  'device_id is given';

CREATE FUNCTION nebula.device_status_for(p_actor nebula.proven_account, p_wanted uuid)
RETURNS TABLE (
  device_id uuid, project_id uuid, name text, role text, owner text, ip text, pool text,
  endpoints text[], curve text, registered_at timestamptz, last_seen_at timestamptz,
  revoked_at timestamptz, fingerprint text, certificate_not_after timestamptz, groups text[]
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  IF NOT EXISTS (
    SELECT FROM nebula.device d, nebula.account a
     WHERE d.device_id = p_wanted AND a.account_id = p_actor AND a.disabled_at IS NULL
       AND (d.owner_id = a.account_id OR d.project_id IN (SELECT nebula.permitted_projects(p_actor, 'device.write')))
  ) THEN
    RAISE EXCEPTION 'there is no device % of yours', p_wanted
      USING ERRCODE = 'P0002', HINT = 'A device is shown to its owner and to administrators.';
  END IF;
  RETURN QUERY SELECT * FROM nebula.list_devices(p_actor, NULL, p_wanted);
END $$;
COMMENT ON FUNCTION nebula.device_status_for(nebula.proven_account, uuid) IS
  'For the gateway: one device, for its owner or an administrator. Errors: P0002 no such device, or not '
  'theirs';

CREATE FUNCTION nebula.project_of_device(p_actor uuid, p_device_id uuid) RETURNS uuid
LANGUAGE sql STABLE AS $$
  SELECT d.project_id
    FROM nebula.device d
   WHERE d.device_id = p_device_id
     AND d.project_id IN (SELECT nebula.visible_projects(p_actor))
$$;
COMMENT ON FUNCTION nebula.project_of_device(uuid, uuid) IS
  'Internal: the project of a device; null: the account does not see it, or there is none';

CREATE FUNCTION nebula.release_device(p_actor nebula.proven_account, p_device_id uuid, p_client inet DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_project uuid := nebula.project_of_device(p_actor, p_device_id);
  v_who     text := nebula.require_permission(p_actor, v_project, 'device.write');
  v_freed   inet := nebula.release_ip(p_device_id, v_who, client => p_client);
BEGIN
  PERFORM nebula.record_event(v_project, v_who, 'release', 'device', p_device_id::text, p_client,
    jsonb_build_object('ip', host(v_freed)));
  RETURN host(v_freed);
END $$;
COMMENT ON FUNCTION nebula.release_device(nebula.proven_account, uuid, inet) IS
  'For the gateway: releases the address of a device; it stays in quarantine while a certificate names '
  'it. Errors: 42501 not an administrator of its project, P0002 and 55000 as release_ip';

CREATE FUNCTION nebula.require_device(p_device_id uuid, p_project_id uuid DEFAULT NULL)
RETURNS nebula.device
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_known nebula.device;
BEGIN
  SELECT d.*
    INTO v_known
    FROM nebula.device d
   WHERE d.device_id = p_device_id
     AND d.project_id = coalesce(p_project_id, d.project_id);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no device %',
        p_device_id || CASE WHEN p_project_id IS NULL THEN '' ELSE ' in the project' END
      USING ERRCODE = 'P0002',
        HINT = 'List devices: nebulactl device ls, or SELECT device_id, name FROM nebula.device_status.';
  END IF;
  IF v_known.revoked_at IS NOT NULL THEN
    RAISE EXCEPTION 'device "%" was revoked', v_known.name
      USING ERRCODE = '55000', HINT = 'Name another one; it can enrol again as a new device.';
  END IF;
  RETURN v_known;
END $$;
COMMENT ON FUNCTION nebula.require_device(uuid, uuid) IS
  'Internal: a device that takes part, in this project if one is given. Errors: P0002 no such device, '
  '55000 revoked';
