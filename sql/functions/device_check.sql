-- Checks before a device gets a name or a key.

CREATE FUNCTION nebula.check_device_name(p_name text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF NOT nebula.is_name(p_name) THEN
    RAISE EXCEPTION '"%" is not a valid device name', left(p_name, 80)
      USING ERRCODE = '22023',
        HINT = 'Start with a letter or digit, then up to 62 letters, digits, dots, underscores or dashes.';
  END IF;
  IF lower(p_name) = 'any' THEN
    RAISE EXCEPTION 'a device cannot be named "%"', p_name
      USING ERRCODE = '22023', HINT = 'In firewall rules of nebula the word means every device; choose another name.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_device_name(text) IS
  'Internal: refuses a name that is malformed or has a special meaning in nebula. Errors: 22023';

CREATE FUNCTION nebula.claim_name(p_project_id uuid, p_name text, p_device_id uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_namesake nebula.device;
BEGIN
  SELECT d.*
    INTO v_namesake
    FROM nebula.device d
   WHERE d.project_id = p_project_id
     -- DNS does not tell letter cases apart.
     AND lower(d.name) = lower(p_name)
     AND d.device_id <> p_device_id
   ORDER BY d.revoked_at IS NULL DESC
   LIMIT 1;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  IF v_namesake.revoked_at IS NULL THEN
    RAISE EXCEPTION 'another device of the project is named "%"', v_namesake.name
      USING ERRCODE = '23505', HINT = 'Choose another device name; nebulactl join takes it as --name NAME.';
  END IF;
  -- A revoked device keeps its row for the record but gives up its name for a new device.
  UPDATE nebula.device d
     SET name = left(d.name, 54) || '.' || left(d.device_id::text, 8)
   WHERE d.device_id = v_namesake.device_id;
END $$;
COMMENT ON FUNCTION nebula.claim_name(uuid, text, uuid) IS
  'Internal: makes sure that a name is free in a project for a device; a revoked one gives it up. '
  'Errors: 23505 taken';

CREATE FUNCTION nebula.claim_key(p_project_id uuid, p_public_key bytea, p_device_id uuid) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_name text := (SELECT d.name
                    FROM nebula.device d
                   WHERE d.public_key = p_public_key
                     AND d.project_id = p_project_id
                     AND d.device_id <> p_device_id
                     AND d.revoked_at IS NULL
                   LIMIT 1);
BEGIN
  IF v_name IS NOT NULL THEN
    RAISE EXCEPTION 'device "%" of the project has this public key', v_name
      USING ERRCODE = '23505',
        HINT = 'Two devices with one key are one: make a key on each (nebula-cert keygen, or nebulactl join).';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.claim_key(uuid, bytea, uuid) IS
  'Internal: refuses the public key of another device of the project. Errors: 23505';

-- Only names and keys that change are claimed: releases before 0.3.0 let names differ in letter case alone, and devices
-- share a key, and such devices still renew. Fixed plan (sql/README.md): one indexed subquery per device, with LIMIT 1.
CREATE FUNCTION nebula.claim_identities(
  p_project_id uuid, p_device_ids uuid[], p_names text[], p_public_keys bytea[]
) RETURNS void
LANGUAGE plpgsql SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  v_device_ids  uuid[];
  v_names       text[];
  v_public_keys bytea[];
  v_labels      text[];
  v_double      text;
BEGIN
  SELECT array_agg(w.device_id), array_agg(w.name), array_agg(w.public_key), array_agg(w.label)
    INTO v_device_ids, v_names, v_public_keys, v_labels
    FROM (SELECT n.device_id, nullif(n.name, d.name) AS name, nullif(n.public_key, d.public_key) AS public_key,
                 n.name AS label
            FROM unnest(p_device_ids, p_names, p_public_keys) AS n(device_id, name, public_key)
            LEFT JOIN LATERAL (SELECT k.name, k.public_key
                                 FROM nebula.device k
                                WHERE k.device_id = n.device_id
                                LIMIT 1) d ON true) w
   WHERE num_nonnulls(w.name, w.public_key) > 0;
  IF v_device_ids IS NULL THEN
    RETURN;
  END IF;
  SELECT w.name
    INTO v_double
    FROM (SELECT min(n.name)
            FROM unnest(v_device_ids, v_labels, v_public_keys) AS n(device_id, name, public_key)
           WHERE n.public_key IS NOT NULL
           GROUP BY n.public_key
          HAVING count(DISTINCT n.device_id) > 1
          UNION ALL
          SELECT min(n.name)
            FROM unnest(v_device_ids, v_names) AS n(device_id, name)
           WHERE n.name IS NOT NULL
           GROUP BY lower(n.name)
          HAVING count(DISTINCT n.device_id) > 1) AS w(name)
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'device "%" has the public key or the name of another one', v_double
      USING ERRCODE = '23505', HINT = 'Make a key on each device, and choose another name.';
  END IF;
  -- No unique index decides between two transactions here. The later one waits for the earlier one and then sees its
  -- rows. One lock order, so that two batches do not deadlock; at most 32 locks for each project, since the lock table
  -- of the server is small.
  PERFORM nebula.wait_for_lock('device identity', l.number)
     FROM (SELECT DISTINCT (hashtext(p_project_id::text) & -32) | (hashtext(v.value) & 31) AS number
             FROM (SELECT lower(n.name)
                     FROM unnest(v_names) AS n(name)
                    UNION ALL
                   SELECT n.public_key::text
                     FROM unnest(v_public_keys) AS n(public_key)) AS v(value)
            WHERE v.value IS NOT NULL
            ORDER BY 1) l;
  PERFORM nebula.claim_name(p_project_id, n.name, n.device_id)
     FROM unnest(v_device_ids, v_names) AS n(device_id, name)
    CROSS JOIN LATERAL (SELECT
                          FROM nebula.device d
                         WHERE d.project_id = p_project_id
                           AND lower(d.name) = lower(n.name)
                           AND d.device_id <> n.device_id
                         LIMIT 1) namesake;
  PERFORM nebula.claim_key(p_project_id, n.public_key, n.device_id)
     FROM unnest(v_device_ids, v_public_keys) AS n(device_id, public_key)
    CROSS JOIN LATERAL (SELECT
                          FROM nebula.device d
                         WHERE d.public_key = n.public_key
                           AND d.device_id <> n.device_id
                         LIMIT 1) same;
END $$;
COMMENT ON FUNCTION nebula.claim_identities(uuid, uuid[], text[], bytea[]) IS
  'Internal: makes sure that names and keys which devices do not have yet are free in the project, and keeps '
  'other transactions from claiming them until this one ends; a null name or key stays as it is. Errors: '
  '23505 taken';

-- Releases before 0.3.0 let these live.
CREATE FUNCTION nebula.shared_identities(p_project_id uuid)
RETURNS TABLE (device_id uuid, problem text, detail text)
LANGUAGE sql STABLE AS $$
  SELECT d.device_id, 'name-shared',
         format('"%s" and "%s" of device %s are one name in DNS; give one another name', d.name, o.name, o.device_id)
    FROM nebula.device d
    JOIN nebula.device o USING (project_id)
   WHERE lower(o.name) = lower(d.name)
     AND o.device_id <> d.device_id
     AND num_nulls(d.revoked_at, o.revoked_at) = 2
     AND (p_project_id IS NULL OR project_id = p_project_id)
   UNION ALL
  SELECT d.device_id, 'key-shared',
         format('"%s" and "%s" (device %s) have one public key; make a key on each', d.name, o.name, o.device_id)
    FROM nebula.device d
    JOIN nebula.device o USING (project_id, public_key)
   WHERE o.device_id <> d.device_id
     AND num_nulls(d.revoked_at, o.revoked_at) = 2
     AND (p_project_id IS NULL OR project_id = p_project_id)
$$;
COMMENT ON FUNCTION nebula.shared_identities(uuid) IS
  'Internal: devices of a project, or of all, that have the name of another one but for letter case, or its key';
