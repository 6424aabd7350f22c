-- Rotation of a project's authority. Nobody drives it: each acknowledgement of an agent may be the one that was missing.

-- Live members that keep a state from ending: who has not acknowledged its configuration, or, while certificates are
-- reissued, who may still be using one of the retiring authority.
CREATE FUNCTION nebula.rotation_missing(rotation nebula.rotation) RETURNS TABLE (device_id uuid, name text)
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
           -- Whoever has no agent has nothing of the old authority left, or waits for nobody.
           WHEN 'retiring' THEN a.acknowledged_version < (rotation_missing.rotation).version
         END
$$;
COMMENT ON FUNCTION nebula.rotation_missing(nebula.rotation) IS
  'The live members that the present state of a rotation waits for; one without an agent never says what it runs, so it counts until its '
  'certificates of the retiring authority expire';

CREATE FUNCTION nebula.enter_rotation(rotation nebula.rotation, next text) RETURNS nebula.rotation
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  entered nebula.rotation;
  reached bigint;
BEGIN
  IF next = 'reissuing' THEN
    UPDATE nebula.project_authority p SET fingerprint = rotation.incoming, since = now() WHERE p.project_id = rotation.project_id;
  END IF;
  -- Trust and signer are part of everybody's configuration.
  IF next <> 'done' THEN
    UPDATE nebula.project p SET config_version = p.config_version + 1 WHERE p.project_id = rotation.project_id
    RETURNING p.config_version INTO reached;
  END IF;
  UPDATE nebula.rotation r SET state = next, changed_at = clock_timestamp(), version = coalesce(reached, r.version)
   WHERE r.rotation_id = rotation.rotation_id RETURNING r.* INTO entered;
  PERFORM nebula.record_event(entered.project_id, 'rotation', 'rotate', 'authority', encode(entered.incoming, 'hex'), NULL,
    jsonb_build_object('state', next));
  RETURN entered;
END $$;
COMMENT ON FUNCTION nebula.enter_rotation(nebula.rotation, text) IS 'Puts a rotation into a state, with all that goes with it';

CREATE FUNCTION nebula.advance_rotation(project_id uuid, force boolean DEFAULT false) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  running nebula.rotation;
  forced  boolean := advance_rotation.force;
BEGIN
  IF NOT EXISTS (SELECT FROM nebula.rotation r WHERE r.project_id = advance_rotation.project_id AND r.state NOT IN ('done', 'cancelled')) THEN
    RETURN NULL;
  END IF;
  -- Of two last acknowledgements at the same time one must see the other.
  PERFORM FROM nebula.project p WHERE p.project_id = advance_rotation.project_id FOR NO KEY UPDATE;
  SELECT r.* INTO running FROM nebula.rotation r
   WHERE r.project_id = advance_rotation.project_id AND r.state NOT IN ('done', 'cancelled');
  WHILE running.state IN ('distributing', 'reissuing', 'retiring')
    AND (forced OR NOT EXISTS (SELECT FROM nebula.rotation_missing(running)))
  LOOP
    running := nebula.enter_rotation(running, CASE running.state
      WHEN 'distributing' THEN 'reissuing' WHEN 'reissuing' THEN 'retiring' ELSE 'done' END);
    forced := false;
  END LOOP;
  RETURN running.state;
END $$;
COMMENT ON FUNCTION nebula.advance_rotation(uuid, boolean) IS
  'Carries the rotation of a project as far as its members have come, and one state further if forced; answers its state, null if there is none';

CREATE FUNCTION nebula.maintain_rotations() RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT count(nebula.advance_rotation(r.project_id))::integer FROM nebula.rotation r WHERE r.state NOT IN ('done', 'cancelled')
$$;
COMMENT ON FUNCTION nebula.maintain_rotations() IS
  'advance_rotation where one runs: a member that was waited for may have expired meanwhile. The background worker calls it';

CREATE FUNCTION nebula.begin_rotation(actor uuid, project_id uuid, incoming bytea, client inet DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
DECLARE
  who     text := nebula.require_admin(begin_rotation.actor);
  present nebula.authority;
  wanted  nebula.authority;
BEGIN
  PERFORM nebula.require_project(begin_rotation.project_id);
  SELECT a.* INTO wanted FROM nebula.authority a WHERE a.fingerprint = begin_rotation.incoming;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no authority %', encode(begin_rotation.incoming, 'hex')
      USING ERRCODE = 'P0002', HINT = 'Put its certificate and key where the gateway finds them (NEBULA_CA_DIR), then list: nebulactl ca ls.';
  END IF;
  IF wanted.not_after < now() THEN
    RAISE EXCEPTION 'authority "%" expired on %', wanted.name, wanted.not_after::date
      USING ERRCODE = '55000', HINT = 'Make a new one: nebulactl ca create.';
  END IF;
  PERFORM FROM nebula.project p WHERE p.project_id = begin_rotation.project_id FOR NO KEY UPDATE;
  SELECT a.* INTO present
    FROM nebula.project_authority p JOIN nebula.authority a USING (fingerprint) WHERE p.project_id = begin_rotation.project_id;
  IF NOT FOUND THEN
    PERFORM nebula.adopt_authority(begin_rotation.project_id, wanted.fingerprint);
    PERFORM nebula.record_event(begin_rotation.project_id, who, 'rotate', 'authority', encode(wanted.fingerprint, 'hex'),
      begin_rotation.client, '{"state": "done"}');
    RETURN 'done';
  END IF;
  IF present.fingerprint = wanted.fingerprint THEN
    RAISE EXCEPTION 'authority "%" signs for the project already', wanted.name
      USING ERRCODE = '55000', HINT = 'Name another one: nebulactl ca ls.';
  END IF;
  IF present.curve <> wanted.curve THEN
    RAISE EXCEPTION 'authority "%" is on curve %, the project on %', wanted.name, wanted.curve, present.curve
      USING ERRCODE = '22023', HINT = 'Devices of different curves cannot talk: make a new project for the other curve.';
  END IF;
  IF EXISTS (SELECT FROM nebula.rotation r WHERE r.project_id = begin_rotation.project_id AND r.state NOT IN ('done', 'cancelled')) THEN
    RAISE EXCEPTION 'a rotation of this project is running'
      USING ERRCODE = '55000', HINT = 'See what it waits for: SELECT * FROM nebula.rotation_status.';
  END IF;
  WITH bumped AS (
    UPDATE nebula.project p SET config_version = p.config_version + 1 WHERE p.project_id = begin_rotation.project_id
    RETURNING p.config_version
  )
  INSERT INTO nebula.rotation (project_id, retiring, incoming, version, started_by)
  SELECT begin_rotation.project_id, present.fingerprint, wanted.fingerprint, bumped.config_version, who FROM bumped;
  PERFORM nebula.record_event(begin_rotation.project_id, who, 'rotate', 'authority', encode(wanted.fingerprint, 'hex'),
    begin_rotation.client, '{"state": "distributing"}');
  RETURN nebula.advance_rotation(begin_rotation.project_id);
END $$;
COMMENT ON FUNCTION nebula.begin_rotation(uuid, uuid, bytea, inet) IS
  'Begins to replace the authority of a project; answers the state it is in at once: done where nobody has to be waited for. '
  'Errors: 42501 not an administrator, P0002 no such project or authority, 55000 expired, signs already, another one runs, 22023 another curve';

CREATE FUNCTION nebula.force_rotation(actor uuid, project_id uuid, client inet DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  who     text := nebula.require_admin(force_rotation.actor);
  running nebula.rotation;
  missing text[];
BEGIN
  SELECT r.* INTO running FROM nebula.rotation r
   WHERE r.project_id = force_rotation.project_id AND r.state NOT IN ('done', 'cancelled') FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no rotation runs in project %', force_rotation.project_id
      USING ERRCODE = '55000', HINT = 'Begin one: nebulactl ca rotate.';
  END IF;
  missing := ARRAY(SELECT m.name FROM nebula.rotation_missing(running) m ORDER BY m.name LIMIT 100);
  PERFORM nebula.record_event(running.project_id, who, 'force-rotation', 'authority', encode(running.incoming, 'hex'),
    force_rotation.client, jsonb_build_object('state', running.state, 'missing', missing));
  RETURN nebula.advance_rotation(running.project_id, true);
END $$;
COMMENT ON FUNCTION nebula.force_rotation(uuid, uuid, inet) IS
  'Waits no longer for members that have not acknowledged the present state: they may be cut off until they fetch their configuration. On record. '
  'Errors: 42501 not an administrator, 55000 none runs';

CREATE FUNCTION nebula.cancel_rotation(actor uuid, project_id uuid, client inet DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  who     text := nebula.require_admin(cancel_rotation.actor);
  running nebula.rotation;
BEGIN
  PERFORM FROM nebula.project p WHERE p.project_id = cancel_rotation.project_id FOR NO KEY UPDATE;
  SELECT r.* INTO running FROM nebula.rotation r
   WHERE r.project_id = cancel_rotation.project_id AND r.state NOT IN ('done', 'cancelled');
  IF running.state IS DISTINCT FROM 'distributing' THEN
    RAISE EXCEPTION 'no rotation of project % can be cancelled: %', cancel_rotation.project_id, coalesce('it is ' || running.state, 'none runs')
      USING ERRCODE = '55000', HINT = 'Once certificates are reissued the way back is a rotation to the former authority.';
  END IF;
  running := nebula.enter_rotation(running, 'cancelled');
  PERFORM nebula.record_event(running.project_id, who, 'cancel-rotation', 'authority', encode(running.incoming, 'hex'), cancel_rotation.client);
  RETURN running.state;
END $$;
COMMENT ON FUNCTION nebula.cancel_rotation(uuid, uuid, inet) IS
  'Ends a rotation before the new authority signs; answers its state. Errors: 42501 not an administrator, 55000 none runs, or it has come further';

CREATE FUNCTION nebula.list_rotations(actor uuid)
RETURNS TABLE (project_id uuid, project text, retiring text, incoming text, incoming_fingerprint text, state text, started_by text,
               started_at timestamptz, changed_at timestamptz, waits_for bigint, missing text[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
BEGIN
  PERFORM nebula.require_admin(actor);
  RETURN QUERY
    SELECT s.project_id, s.project, s.retiring, s.incoming, s.incoming_fingerprint, s.state, s.started_by, s.started_at, s.changed_at,
           cardinality(s.missing)::bigint, s.missing[:100]
      FROM nebula.rotation_status s LIMIT 100;
END $$;
COMMENT ON FUNCTION nebula.list_rotations(uuid) IS
  'Rotations, running ones first, then the newest, at most 100. Errors: 42501 not an administrator';
