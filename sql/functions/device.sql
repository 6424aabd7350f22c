-- Devices as the gateway handles them. The address itself comes from nebula.allocate_ip.

-- Internal.
CREATE FUNCTION nebula.claim_name(project_id uuid, name text, device_id uuid) RETURNS void
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  namesake nebula.device;
BEGIN
  SELECT d.* INTO namesake FROM nebula.device d
   WHERE d.project_id = claim_name.project_id AND d.name = claim_name.name AND d.device_id <> claim_name.device_id;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  IF namesake.revoked_at IS NULL THEN
    RAISE EXCEPTION 'another device of the project is named "%"', claim_name.name
      USING ERRCODE = '23505', HINT = 'Choose another device name.';
  END IF;
  -- A device that was revoked keeps its row for the record, and not its name from whoever comes in its place.
  UPDATE nebula.device d SET name = left(d.name, 54) || '.' || left(d.device_id::text, 8) WHERE d.device_id = namesake.device_id;
END $$;
COMMENT ON FUNCTION nebula.claim_name(uuid, text, uuid) IS
  'Internal: makes sure that a name is free in a project for a device; a revoked one gives it up. Errors: 23505 taken';

-- Of many devices at once, because a crowd comes at once: a statement for a hundred costs hardly more than one for one.
-- Planned once in a session and not for each list anew, which would cost more than the work. Hence each look is a subquery
-- of its own (LIMIT 1), by index: a join planned while the tables are small reads them from end to end when they are not.
CREATE FUNCTION nebula.register_devices(
  project_id uuid, actors uuid[], device_ids uuid[], names text[], curves text[], public_keys bytea[], roles text[], endpoints text[],
  clients inet[]
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  hourly    CONSTANT integer := 10;
  usernames text[];
  admins    boolean[];
  refused   text;
  locked    uuid[];
  known     record;
  party     record;
  registered integer;
BEGIN
  WITH acting AS MATERIALIZED (
    SELECT a.actor, m.username, m.is_admin
      FROM (SELECT DISTINCT unnest(register_devices.actors) AS actor) a
     CROSS JOIN LATERAL nebula.acting_member(a.actor, register_devices.project_id) m
  )
  SELECT array_agg(m.username ORDER BY w.place), array_agg(m.is_admin ORDER BY w.place) INTO usernames, admins
    FROM unnest(register_devices.actors) WITH ORDINALITY AS w(actor, place) JOIN acting m USING (actor);
  SELECT w.role INTO refused FROM unnest(register_devices.roles, admins) AS w(role, is_admin) WHERE w.role <> 'host' AND NOT w.is_admin LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'only an administrator may register a %', refused
      USING ERRCODE = '42501', HINT = 'Register as a host, or ask an administrator.';
  END IF;
  -- Two requests for one device wait for each other here, and two crowds in one order.
  locked := ARRAY(SELECT d.device_id FROM nebula.device d WHERE d.device_id = ANY (register_devices.device_ids) ORDER BY d.device_id FOR UPDATE);
  IF locked <> '{}' THEN
    FOR known IN
      SELECT d.*, w.actor, w.is_admin
        FROM unnest(register_devices.device_ids, register_devices.actors, admins) AS w(device_id, actor, is_admin)
       CROSS JOIN LATERAL (SELECT k.* FROM nebula.device k WHERE k.device_id = w.device_id LIMIT 1) d
    LOOP
      IF known.project_id <> register_devices.project_id THEN
        RAISE EXCEPTION 'device % belongs to another project', known.device_id
          USING ERRCODE = '23505', HINT = 'Use a fresh device id, or release the device from its project first.';
      END IF;
      IF known.owner_id IS DISTINCT FROM known.actor AND NOT known.is_admin THEN
        RAISE EXCEPTION 'device "%" was registered by another account', known.name
          USING ERRCODE = '42501', HINT = 'Only its owner or an administrator may register it again.';
      END IF;
      IF known.revoked_at IS NOT NULL THEN
        RAISE EXCEPTION 'device "%" was revoked', known.name
          USING ERRCODE = '55000', HINT = 'Register it under a new device id.';
      END IF;
      PERFORM nebula.limit_certificates(known.device_id, hourly);
    END LOOP;
  END IF;
  PERFORM nebula.claim_name(register_devices.project_id, w.name, w.device_id)
     FROM unnest(register_devices.device_ids, register_devices.names) AS w(device_id, name)
    CROSS JOIN LATERAL (SELECT FROM nebula.device d WHERE d.project_id = register_devices.project_id AND d.name = w.name LIMIT 1) namesake;
  FOR party IN
    SELECT w.username, w.client, array_agg(w.device_id) AS device_ids, array_agg(w.name) AS names
      FROM unnest(usernames, register_devices.clients, register_devices.device_ids, register_devices.names) AS w(username, client, device_id, name)
     GROUP BY w.username, w.client ORDER BY w.username, w.client
  LOOP
    PERFORM nebula.record_events(register_devices.project_id, party.username, 'register', 'device', array_agg(w.device_id::text), party.client,
                                 array_agg(jsonb_build_object('name', w.name, 'ip', host(h.ip))))
       FROM nebula.allocate_ips(register_devices.project_id, party.device_ids, party.username, client => party.client) h
       JOIN unnest(party.device_ids, party.names) AS w(device_id, name) USING (device_id);
  END LOOP;
  INSERT INTO nebula.device AS d (device_id, project_id, owner_id, name, role, endpoints, curve, public_key)
  SELECT w.device_id, register_devices.project_id, w.actor, w.name, w.role, w.endpoints::text[], w.curve, w.public_key
    FROM unnest(register_devices.device_ids, register_devices.actors, register_devices.names, register_devices.roles,
                register_devices.endpoints, register_devices.curves, register_devices.public_keys)
         AS w(device_id, actor, name, role, endpoints, curve, public_key)
   ORDER BY w.device_id
  ON CONFLICT (device_id) DO UPDATE
    SET name = EXCLUDED.name, role = EXCLUDED.role, endpoints = EXCLUDED.endpoints,
        curve = EXCLUDED.curve, public_key = EXCLUDED.public_key
  -- One that came between the look and this is only ever the same account's.
  WHERE d.device_id = ANY (locked) OR (d.project_id, d.owner_id, d.revoked_at IS NULL) = (EXCLUDED.project_id, EXCLUDED.owner_id, true);
  GET DIAGNOSTICS registered = ROW_COUNT;
  IF registered < cardinality(register_devices.device_ids) THEN
    RAISE EXCEPTION 'another account has just registered one of the devices %', register_devices.device_ids
      USING ERRCODE = '23505', HINT = 'Use a fresh device id.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.register_devices(uuid, uuid[], uuid[], text[], text[], bytea[], text[], text[], inet[]) IS
  'Makes or renews devices of a project and their addresses, all or none; a device that is there keeps its address. Of each list one entry for each '
  'device; an entry of endpoints is a text[], as text. What their certificates must say: device_configurations. '
  'Errors: P0002 no such project, 42501 not allowed, 23505 other project or name taken, 55000 revoked, 54000 too often, 53400 pool exhausted';

CREATE FUNCTION nebula.project_lighthouses(project_id uuid)
RETURNS TABLE (device_id uuid, name text, role text, ip text, endpoints text[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
    SELECT d.device_id, d.name, d.role, host(a.ip), d.endpoints
      FROM nebula.device d
      JOIN nebula.allocation a ON a.device_id = d.device_id AND a.released_at IS NULL
     WHERE d.project_id = project_lighthouses.project_id AND d.role IN ('lighthouse', 'relay') AND d.revoked_at IS NULL
     ORDER BY a.ip;
END $$;
COMMENT ON FUNCTION nebula.project_lighthouses(uuid) IS
  'Lighthouses and relays that a member''s nebula.yml names, by address';

CREATE FUNCTION nebula.list_devices(actor uuid, project_id uuid DEFAULT NULL, device_id uuid DEFAULT NULL)
RETURNS TABLE (
  device_id uuid, project_id uuid, name text, role text, owner text, ip text, pool text, endpoints text[], curve text,
  registered_at timestamptz, last_seen_at timestamptz, revoked_at timestamptz, fingerprint text, certificate_not_after timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT d.device_id, d.project_id, d.name, d.role, o.username, host(a.ip), l.name, d.endpoints, d.curve,
         d.registered_at, d.last_seen_at, d.revoked_at, encode(c.fingerprint, 'hex'), c.not_after
    FROM nebula.device d
    LEFT JOIN nebula.account o ON o.account_id = d.owner_id
    LEFT JOIN nebula.allocation a ON a.device_id = d.device_id AND a.released_at IS NULL
    LEFT JOIN nebula.pool l ON l.pool_id = a.pool_id
    LEFT JOIN LATERAL (
      SELECT k.fingerprint, k.not_after FROM nebula.certificate k
       WHERE k.device_id = d.device_id AND k.revoked_at IS NULL
       ORDER BY k.not_after DESC, k.version LIMIT 1
    ) c ON true
   WHERE d.project_id IN (SELECT nebula.visible_projects(actor))
     AND (list_devices.project_id IS NULL OR d.project_id = list_devices.project_id)
     AND (list_devices.device_id IS NULL OR d.device_id = list_devices.device_id)
   ORDER BY d.project_id, a.ip, d.name
$$;
COMMENT ON FUNCTION nebula.list_devices(uuid, uuid, uuid) IS
  'Devices the account sees, with address and newest certificate; one device when device_id is given';

CREATE FUNCTION nebula.device_status_for(actor uuid, wanted uuid)
RETURNS TABLE (
  device_id uuid, project_id uuid, name text, role text, owner text, ip text, pool text, endpoints text[], curve text,
  registered_at timestamptz, last_seen_at timestamptz, revoked_at timestamptz, fingerprint text, certificate_not_after timestamptz
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
BEGIN
  IF NOT EXISTS (
    SELECT FROM nebula.device d, nebula.account a
     WHERE d.device_id = device_status_for.wanted AND a.account_id = actor AND a.disabled_at IS NULL
       AND (a.role = 'admin' OR d.owner_id = a.account_id)
  ) THEN
    RAISE EXCEPTION 'there is no device % of yours', device_status_for.wanted
      USING ERRCODE = 'P0002', HINT = 'A device is shown to its owner and to administrators.';
  END IF;
  RETURN QUERY SELECT * FROM nebula.list_devices(actor, NULL, device_status_for.wanted);
END $$;
COMMENT ON FUNCTION nebula.device_status_for(uuid, uuid) IS
  'One device, for its owner or an administrator. Errors: P0002 no such device, or not theirs';

CREATE FUNCTION nebula.release_device(actor uuid, device_id uuid, client inet DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  who     text := nebula.require_admin(actor);
  project uuid := (SELECT d.project_id FROM nebula.device d WHERE d.device_id = release_device.device_id);
  freed   inet := nebula.release_ip(release_device.device_id, who, client => release_device.client);
BEGIN
  PERFORM nebula.record_event(project, who, 'release', 'device', release_device.device_id::text, client,
    jsonb_build_object('ip', host(freed)));
  RETURN host(freed);
END $$;
COMMENT ON FUNCTION nebula.release_device(uuid, uuid, inet) IS
  'Releases the address of a device; it stays in quarantine while a certificate names it. Errors: 42501 not an administrator, P0002 and 55000 as release_ip';

-- Internal.
CREATE FUNCTION nebula.require_device(device_id uuid, project_id uuid DEFAULT NULL) RETURNS nebula.device
LANGUAGE plpgsql STABLE AS $$
DECLARE
  known nebula.device;
BEGIN
  SELECT d.* INTO known FROM nebula.device d
   WHERE d.device_id = require_device.device_id AND d.project_id = coalesce(require_device.project_id, d.project_id);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no device %', require_device.device_id || CASE WHEN require_device.project_id IS NULL THEN '' ELSE ' in the project' END
      USING ERRCODE = 'P0002', HINT = 'List devices: nebulactl device ls, or SELECT device_id, name FROM nebula.device_status.';
  END IF;
  IF known.revoked_at IS NOT NULL THEN
    RAISE EXCEPTION 'device "%" was revoked', known.name USING ERRCODE = '55000', HINT = 'Name another one; it can enrol again as a new device.';
  END IF;
  RETURN known;
END $$;
COMMENT ON FUNCTION nebula.require_device(uuid, uuid) IS
  'Internal: a device that takes part, in this project if one is given. Errors: P0002 no such device, 55000 revoked';
