-- Rotation of the authority of a project. Acknowledgements drive it: each one may complete the present state.

-- Live members that the present state waits for: those that have not acknowledged its configuration; while
-- certificates are reissued, those that may still use one of the retiring authority.
CREATE FUNCTION nebula.rotation_missing(rotation nebula.rotation)
RETURNS TABLE (device_id uuid, name text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT d.device_id, d.name
    FROM nebula.device d LEFT JOIN nebula.agent a USING (device_id)
   WHERE d.project_id = (rotation_missing.rotation).project_id AND nebula.is_live(d.device_id)
     AND CASE (rotation_missing.rotation).state
           WHEN 'distributing' THEN coalesce(a.acknowledged_version < (rotation_missing.rotation).version, true)
           WHEN 'reissuing' THEN
             EXISTS (SELECT FROM nebula.certificate c
                      WHERE c.device_id = d.device_id AND c.issuer = (rotation_missing.rotation).retiring
                        AND c.revoked_at IS NULL AND c.not_after > clock_timestamp())
             AND NOT EXISTS (SELECT FROM nebula.agent_answer w JOIN nebula.certificate c USING (device_id, public_key)
                              WHERE w.device_id = d.device_id AND w.counter = a.acknowledged_counter
                                AND c.issuer = (rotation_missing.rotation).incoming)
           -- Devices without an agent do not count: their old certificates have expired by now.
           WHEN 'retiring' THEN a.acknowledged_version < (rotation_missing.rotation).version
         END
$$;
COMMENT ON FUNCTION nebula.rotation_missing(nebula.rotation) IS
  'Internal: the live members that the present state of a rotation waits for; one without an agent does '
  'not report its configuration, so it counts until its certificates of the retiring authority expire';

CREATE FUNCTION nebula.enter_rotation(p_rotation nebula.rotation, p_next text)
RETURNS nebula.rotation
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_entered nebula.rotation;
  v_reached bigint;
BEGIN
  IF p_next = 'reissuing' THEN
    UPDATE nebula.project_authority p
       SET fingerprint = p_rotation.incoming,
           since = now()
     WHERE p.project_id = p_rotation.project_id;
    -- Projects that shared the authority block the certificates it signed for this one.
    UPDATE nebula.project p
       SET config_version = p.config_version + 1
     WHERE p.project_id <> p_rotation.project_id
       AND EXISTS (SELECT
                     FROM nebula.project_authority s
                    WHERE s.project_id = p.project_id
                      AND s.fingerprint = p_rotation.retiring);
  END IF;
  -- Trusted authorities and the signer are part of the configuration of every member.
  IF p_next <> 'done' THEN
    UPDATE nebula.project p
       SET config_version = p.config_version + 1
     WHERE p.project_id = p_rotation.project_id
    RETURNING p.config_version INTO v_reached;
  END IF;
  UPDATE nebula.rotation r
     SET state = p_next,
         changed_at = clock_timestamp(),
         version = coalesce(v_reached, r.version)
   WHERE r.rotation_id = p_rotation.rotation_id
  RETURNING r.* INTO v_entered;
  PERFORM nebula.record_event(v_entered.project_id, 'rotation', 'rotate', 'authority',
                              encode(v_entered.incoming, 'hex'), NULL, jsonb_build_object('state', p_next));
  RETURN v_entered;
END $$;
COMMENT ON FUNCTION nebula.enter_rotation(nebula.rotation, text) IS
  'Internal: puts a rotation into a state, with all that goes with it';

CREATE FUNCTION nebula.advance_rotation(p_project_id uuid, p_force boolean DEFAULT false)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_running nebula.rotation;
  v_forced  boolean := p_force;
BEGIN
  IF NOT EXISTS (SELECT
                   FROM nebula.rotation r
                  WHERE r.project_id = p_project_id
                    AND r.state NOT IN ('done', 'cancelled'))
  THEN
    RETURN NULL;
  END IF;
  -- Serializes concurrent acknowledgements: the later one must see the earlier one, or neither would be the last.
  PERFORM
    FROM nebula.project p
   WHERE p.project_id = p_project_id
     FOR NO KEY UPDATE;
  SELECT r.*
    INTO v_running
    FROM nebula.rotation r
   WHERE r.project_id = p_project_id
     AND r.state NOT IN ('done', 'cancelled');
  WHILE v_running.state IN ('distributing', 'reissuing', 'retiring')
    AND (v_forced OR NOT EXISTS (SELECT FROM nebula.rotation_missing(v_running)))
  LOOP
    v_running := nebula.enter_rotation(v_running, CASE v_running.state
      WHEN 'distributing' THEN 'reissuing' WHEN 'reissuing' THEN 'retiring' ELSE 'done' END);
    v_forced := false;
  END LOOP;
  RETURN v_running.state;
END $$;
COMMENT ON FUNCTION nebula.advance_rotation(uuid, boolean) IS
  'Internal: advances the rotation of a project as far as its members allow, and one state further if '
  'forced; returns its state, null if there is none';

CREATE FUNCTION nebula.maintain_rotations() RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT count(nebula.advance_rotation(r.project_id))::integer
    FROM nebula.rotation r
   WHERE r.state NOT IN ('done', 'cancelled')
$$;
COMMENT ON FUNCTION nebula.maintain_rotations() IS
  'Advances rotations after members that they waited for have expired. The background worker calls it; any '
  'scheduler may instead';

CREATE FUNCTION nebula.check_successor(p_project_id uuid, p_incoming nebula.authority) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_misfit record;
BEGIN
  SELECT format('device "%s"', d.name) AS what,
         nebula.not_grantable(p_incoming, d.groups, nebula.device_networks(d.device_id)::inet[],
                              nebula.device_unsafe_networks(d.device_id)::inet[]) AS thing
    INTO v_misfit
    FROM nebula.device d
   WHERE d.project_id = p_project_id
     AND d.revoked_at IS NULL
     AND nebula.not_grantable(p_incoming, d.groups, nebula.device_networks(d.device_id)::inet[],
                              nebula.device_unsafe_networks(d.device_id)::inet[]) IS NOT NULL
   ORDER BY d.name
   LIMIT 1;
  IF NOT FOUND THEN
    -- Devices that join later get addresses of these.
    SELECT format('a device of pool "%s"', l.name) AS what,
           nebula.not_grantable(p_incoming, '{}', ARRAY[nebula.pool_network(l.project_id, l.cidr)], '{}') AS thing
      INTO v_misfit
      FROM nebula.pool l
     WHERE l.project_id = p_project_id
       AND l.purpose = 'device'
       AND l.enabled
       AND nebula.not_grantable(p_incoming, '{}', ARRAY[nebula.pool_network(l.project_id, l.cidr)], '{}') IS NOT NULL
     ORDER BY l.pool_id
     LIMIT 1;
  END IF;
  IF v_misfit.what IS NOT NULL THEN
    RAISE EXCEPTION 'authority "%" could not sign for %: it is not for %',
        p_incoming.name, v_misfit.what, v_misfit.thing
      USING ERRCODE = '22023',
        HINT = 'Make one without limits, or with the whole overlay and all groups: nebulactl ca create.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_successor(uuid, nebula.authority) IS
  'Internal: refuses an authority that could not sign for a device or pool of a project, and names the '
  'first. Errors: 22023';

CREATE FUNCTION nebula.begin_rotation(
  p_actor nebula.proven_account, p_project_id uuid, p_incoming bytea, p_client inet DEFAULT NULL
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who     text := nebula.require_operator(p_actor, 'rotation.write');
  v_present nebula.authority;
  v_wanted  nebula.authority;
  v_other   text;
BEGIN
  PERFORM nebula.require_project(p_project_id);
  SELECT a.*
    INTO v_wanted
    FROM nebula.authority a
   WHERE a.fingerprint = p_incoming;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no authority %', left(encode(p_incoming, 'hex'), 64)
      USING ERRCODE = 'P0002',
        HINT = 'Put its certificate and key where the gateway finds them (NEBULA_CA_DIR), then list: nebulactl ca ls.';
  END IF;
  IF v_wanted.not_after < now() THEN
    RAISE EXCEPTION 'authority "%" expired on %', v_wanted.name, v_wanted.not_after::date
      USING ERRCODE = '55000', HINT = 'Make a new one: nebulactl ca create.';
  END IF;
  PERFORM
    FROM nebula.project p
   WHERE p.project_id = p_project_id
     FOR NO KEY UPDATE;
  -- As adopt_authority: of two projects that want it, the later one sees the earlier one.
  PERFORM
    FROM nebula.authority a
   WHERE a.fingerprint = p_incoming
     FOR NO KEY UPDATE;
  v_other := nebula.other_project_of(p_incoming, p_project_id);
  SELECT a.*
    INTO v_present
    FROM nebula.project_authority p
    JOIN nebula.authority a USING (fingerprint)
   WHERE p.project_id = p_project_id;
  IF v_other IS NOT NULL AND v_present.fingerprint IS DISTINCT FROM v_wanted.fingerprint THEN
    RAISE EXCEPTION 'authority "%" is that of project "%", whose devices could then enter this one',
        v_wanted.name, v_other
      USING ERRCODE = '23505', HINT = 'Make one for this project: nebulactl ca create.';
  END IF;
  PERFORM nebula.check_successor(p_project_id, v_wanted);
  IF v_present.fingerprint IS NULL THEN
    PERFORM nebula.adopt_authority(p_project_id, v_wanted.fingerprint);
    PERFORM nebula.record_event(p_project_id, v_who, 'rotate', 'authority',
                                encode(v_wanted.fingerprint, 'hex'), p_client, '{"state": "done"}');
    RETURN 'done';
  END IF;
  IF v_present.fingerprint = v_wanted.fingerprint THEN
    RAISE EXCEPTION 'authority "%" signs for the project already', v_wanted.name
      USING ERRCODE = '55000', HINT = 'Name another one: nebulactl ca ls.';
  END IF;
  IF v_present.curve <> v_wanted.curve THEN
    RAISE EXCEPTION 'authority "%" is on curve %, the project on %',
        v_wanted.name, v_wanted.curve, v_present.curve
      USING ERRCODE = '22023',
        HINT = 'Devices of different curves cannot talk: make a new project for the other curve.';
  END IF;
  IF EXISTS (SELECT
               FROM nebula.rotation r
              WHERE r.project_id = p_project_id
                AND r.state NOT IN ('done', 'cancelled'))
  THEN
    RAISE EXCEPTION 'a rotation of this project is running'
      USING ERRCODE = '55000', HINT = 'See what it waits for: SELECT * FROM nebula.rotation_status.';
  END IF;
  WITH bumped AS (
    UPDATE nebula.project p
       SET config_version = p.config_version + 1
     WHERE p.project_id = p_project_id
    RETURNING p.config_version
  )
  INSERT INTO nebula.rotation (project_id, retiring, incoming, version, started_by)
  SELECT p_project_id, v_present.fingerprint, v_wanted.fingerprint, bumped.config_version, v_who
    FROM bumped;
  PERFORM nebula.record_event(p_project_id, v_who, 'rotate', 'authority',
                              encode(v_wanted.fingerprint, 'hex'), p_client, '{"state": "distributing"}');
  RETURN nebula.advance_rotation(p_project_id);
END $$;
COMMENT ON FUNCTION nebula.begin_rotation(nebula.proven_account, uuid, bytea, inet) IS
  'For the gateway: begins to replace the authority of a project; returns its state: done if no device has '
  'to be waited for. Errors: 42501 not an administrator, P0002 no such project or authority, 55000 '
  'expired, signs already, another one runs, 22023 another curve, or a device or pool outside its limits, '
  '23505 that of another project';

CREATE FUNCTION nebula.force_rotation(p_actor nebula.proven_account, p_project_id uuid, p_client inet DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who     text := nebula.require_operator(p_actor, 'rotation.write');
  v_running nebula.rotation;
  v_missing text[];
BEGIN
  SELECT r.*
    INTO v_running
    FROM nebula.rotation r
   WHERE r.project_id = p_project_id
     AND r.state NOT IN ('done', 'cancelled')
     FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no rotation runs in project %', p_project_id
      USING ERRCODE = '55000', HINT = 'Begin one: nebulactl ca rotate.';
  END IF;
  v_missing := ARRAY(SELECT m.name FROM nebula.rotation_missing(v_running) m ORDER BY m.name LIMIT 100);
  PERFORM nebula.record_event(v_running.project_id, v_who, 'force-rotation', 'authority',
                              encode(v_running.incoming, 'hex'), p_client,
                              jsonb_build_object('state', v_running.state, 'missing', v_missing));
  RETURN nebula.advance_rotation(v_running.project_id, true);
END $$;
COMMENT ON FUNCTION nebula.force_rotation(nebula.proven_account, uuid, inet) IS
  'For the gateway: waits no longer for members that have not acknowledged the present state: they may '
  'be cut off until they fetch their configuration. On record. Errors: 42501 not an administrator, 55000 '
  'none runs';

-- From reissuing, every device that follows trusts both: the former authority signs at once. From retiring, some trust
-- the new one alone: the former one is distributed first.
CREATE FUNCTION nebula.reverse_rotation(p_rotation nebula.rotation, p_who text) RETURNS nebula.rotation
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_former    nebula.authority;
  v_reissuing boolean := p_rotation.state = 'reissuing';
  v_back      nebula.rotation;
BEGIN
  SELECT a.*
    INTO v_former
    FROM nebula.authority a
   WHERE a.fingerprint = p_rotation.retiring;
  IF v_former.not_after < now() THEN
    RAISE EXCEPTION 'authority "%" expired on %, so there is no way back to it',
        v_former.name, v_former.not_after::date
      USING ERRCODE = '55000',
        HINT = 'Go on without waiting (nebulactl ca rotate --force), then rotate to another one.';
  END IF;
  PERFORM nebula.enter_rotation(p_rotation, 'cancelled');
  IF v_reissuing THEN
    UPDATE nebula.project_authority p
       SET fingerprint = p_rotation.retiring,
           since = now()
     WHERE p.project_id = p_rotation.project_id;
  END IF;
  INSERT INTO nebula.rotation AS r (project_id, retiring, incoming, state, version, started_by, returns)
  SELECT p.project_id, p_rotation.incoming, p_rotation.retiring,
         CASE WHEN v_reissuing THEN 'reissuing' ELSE 'distributing' END, p.config_version, p_who,
         v_reissuing AND NOT p_rotation.returns
    FROM nebula.project p
   WHERE p.project_id = p_rotation.project_id
  RETURNING r.* INTO v_back;
  RETURN v_back;
END $$;
COMMENT ON FUNCTION nebula.reverse_rotation(nebula.rotation, text) IS
  'Internal: ends a rotation whose new authority signs and begins the way back, which it answers. Errors: '
  '55000 the former authority has expired';

CREATE FUNCTION nebula.cancel_rotation(p_actor nebula.proven_account, p_project_id uuid, p_client inet DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who     text := nebula.require_operator(p_actor, 'rotation.write');
  v_running nebula.rotation;
BEGIN
  PERFORM
    FROM nebula.project p
   WHERE p.project_id = p_project_id
     FOR NO KEY UPDATE;
  SELECT r.*
    INTO v_running
    FROM nebula.rotation r
   WHERE r.project_id = p_project_id
     AND r.state NOT IN ('done', 'cancelled');
  IF v_running.rotation_id IS NULL THEN
    RAISE EXCEPTION 'no rotation runs in project %', p_project_id
      USING ERRCODE = '55000', HINT = 'See those that ran: nebulactl ca rotate --show.';
  END IF;
  IF v_running.state <> 'distributing' THEN
    v_running := nebula.reverse_rotation(v_running, v_who);
  ELSE
    v_running := nebula.enter_rotation(v_running, 'cancelled');
  END IF;
  PERFORM nebula.record_event(v_running.project_id, v_who, 'cancel-rotation', 'authority',
                              encode(v_running.incoming, 'hex'), p_client,
                              jsonb_build_object('state', v_running.state));
  RETURN coalesce(nebula.advance_rotation(v_running.project_id), v_running.state);
END $$;
COMMENT ON FUNCTION nebula.cancel_rotation(nebula.proven_account, uuid, inet) IS
  'For the gateway: ends a rotation; returns the state. Before the new authority signs: cancelled. Later, '
  'the former authority takes over again: the state of that rotation. Errors: 42501 not an administrator, '
  '55000 none runs, or the former authority has expired';

CREATE FUNCTION nebula.list_rotations(p_actor nebula.proven_account)
RETURNS TABLE (
  project_id uuid, project text, retiring text, incoming text, incoming_fingerprint text,
  state text, started_by text, started_at timestamptz, changed_at timestamptz, waits_for bigint,
  missing text[]
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_operator(p_actor, 'rotation.write');
  RETURN QUERY
    SELECT s.project_id, s.project, s.retiring, s.incoming, s.incoming_fingerprint, s.state, s.started_by,
           s.started_at, s.changed_at, cardinality(s.missing)::bigint, s.missing[:100]
      FROM nebula.rotation_status s
     LIMIT 100;
END $$;
COMMENT ON FUNCTION nebula.list_rotations(nebula.proven_account) IS
  'For the gateway: rotations, running ones first, then the newest, at most 100. Errors: 42501 not an '
  'administrator';
