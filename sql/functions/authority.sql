-- Certificate authorities: recorded by the gateway, adopted by projects, trusted by devices.

CREATE FUNCTION nebula.record_authority(
  p_gateway nebula.proven_gateway, p_fingerprint bytea, p_name text, p_curve text, p_version smallint,
  p_not_before timestamptz, p_not_after timestamptz, p_pem text, p_networks inet[], p_unsafe_networks inet[],
  p_groups text[]
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  INSERT INTO nebula.authority AS a (fingerprint, name, curve, version, not_before, not_after, pem,
                                     networks, unsafe_networks, groups)
  VALUES (p_fingerprint, p_name, p_curve, p_version,
          p_not_before, p_not_after, p_pem,
          p_networks, p_unsafe_networks, p_groups)
  -- A row of an earlier release does not say what the authority may grant.
  ON CONFLICT ON CONSTRAINT authority_pkey DO UPDATE
     SET networks = EXCLUDED.networks,
         unsafe_networks = EXCLUDED.unsafe_networks,
         groups = EXCLUDED.groups
   WHERE a.groups IS NULL
$$;
COMMENT ON FUNCTION nebula.record_authority(
  nebula.proven_gateway, bytea, text, text, smallint, timestamptz, timestamptz, text, inet[], inet[], text[]
) IS
  'For the gateway: makes the certificate of an authority and what it may grant known; twice is no error';

CREATE FUNCTION nebula.other_project_of(p_fingerprint bytea, p_project_id uuid) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  RETURN (
    SELECT p.name
      FROM nebula.project p
     WHERE p.project_id <> p_project_id
       AND (EXISTS (SELECT
                      FROM nebula.project_authority s
                     WHERE s.project_id = p.project_id
                       AND s.fingerprint = p_fingerprint)
            OR EXISTS (SELECT
                         FROM nebula.rotation r
                        WHERE r.project_id = p.project_id
                          AND p_fingerprint IN (r.retiring, r.incoming)
                          AND r.state NOT IN ('done', 'cancelled')))
    UNION ALL
    -- Devices of a project that has another authority by now, with certificates of this one.
    SELECT p.name
      FROM nebula.certificate c
      JOIN nebula.project p USING (project_id)
     WHERE c.issuer = p_fingerprint
       AND c.project_id <> p_project_id
       AND c.not_after > clock_timestamp()
     LIMIT 1
  );
END $$;
COMMENT ON FUNCTION nebula.other_project_of(bytea, uuid) IS
  'Internal: name of another project than this one whose devices trust an authority or have certificates '
  'of it; null: none';

CREATE FUNCTION nebula.adopt_authority(p_project_id uuid, p_fingerprint bytea) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  -- Of two projects that ask for it at the same time, the later one sees that the earlier one has it.
  PERFORM
    FROM nebula.authority a
   WHERE a.fingerprint = p_fingerprint
     FOR NO KEY UPDATE;
  IF nebula.other_project_of(p_fingerprint, p_project_id) IS NOT NULL THEN
    RETURN EXISTS (SELECT FROM nebula.project_authority s WHERE s.project_id = p_project_id);
  END IF;
  INSERT INTO nebula.project_authority (project_id, fingerprint)
  VALUES (p_project_id, p_fingerprint)
  ON CONFLICT ON CONSTRAINT project_authority_pkey DO NOTHING;
  RETURN true;
END $$;
COMMENT ON FUNCTION nebula.adopt_authority(uuid, bytea) IS
  'Internal: gives a project its first authority; one that has an authority keeps it. False: it has '
  'none, and this one is that of another project, whose devices it would let in. Errors: 23503 no such '
  'project or authority';

CREATE FUNCTION nebula.adopt_authority_for(
  p_gateway nebula.proven_gateway, p_project_id uuid, p_fingerprint bytea
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  RETURN nebula.adopt_authority(p_project_id, p_fingerprint);
END $$;
COMMENT ON FUNCTION nebula.adopt_authority_for(nebula.proven_gateway, uuid, bytea) IS
  'For the gateway: adopt_authority. Errors: 23503 no such project or authority';

CREATE FUNCTION nebula.project_trust(p_project_id uuid)
RETURNS TABLE (fingerprint bytea, signs boolean, signs_responses boolean, pem text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_project(p_project_id);
  RETURN QUERY
    -- While both are trusted, the retiring authority signs responses: a device that was offline since before the
    -- rotation began knows only that one.
    SELECT a.fingerprint, a.fingerprint = p.fingerprint,
           a.fingerprint = coalesce(CASE WHEN r.returns THEN r.incoming ELSE r.retiring END, p.fingerprint), a.pem
      FROM nebula.project_authority p
      LEFT JOIN nebula.rotation r ON r.project_id = p.project_id
                AND r.state IN ('distributing', 'reissuing')
      JOIN nebula.authority a ON a.fingerprint IN (p.fingerprint, r.retiring, r.incoming)
     WHERE p.project_id = p_project_id
     ORDER BY a.fingerprint = p.fingerprint DESC;
END $$;
COMMENT ON FUNCTION nebula.project_trust(uuid) IS
  'Internal: the authorities devices of a project are to trust, the one that signs certificates first; '
  'signs_responses: signs the responses to agents. None before the first is adopted. Errors: P0002 no such project';

-- The checks of nebula, in its words: empty lists of an authority allow anything. Null lists are not known yet.
CREATE FUNCTION nebula.not_grantable(
  p_authority nebula.authority, p_groups text[], p_networks inet[], p_unsafe_networks inet[]
) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  RETURN (
    SELECT format('group "%s"', g)
      FROM unnest(p_groups) g
     WHERE p_authority.groups <> '{}'
       AND g <> ALL (p_authority.groups)
    UNION ALL
    SELECT format('network %s', network(n))
      FROM unnest(p_networks) n
     WHERE p_authority.networks <> '{}'
       AND NOT EXISTS (SELECT FROM unnest(p_authority.networks) w WHERE network(n) <<= network(w))
    UNION ALL
    SELECT format('network %s behind it', network(n))
      FROM unnest(p_unsafe_networks) n
     WHERE p_authority.unsafe_networks <> '{}'
       AND NOT EXISTS (SELECT FROM unnest(p_authority.unsafe_networks) w WHERE network(n) <<= network(w))
     LIMIT 1
  );
END $$;
COMMENT ON FUNCTION nebula.not_grantable(nebula.authority, text[], inet[], inet[]) IS
  'Internal: the first group or network that an authority may not write into a certificate, in words; null: '
  'none';

CREATE FUNCTION nebula.check_grantable(
  p_project_id uuid, p_groups text[], p_networks inet[] DEFAULT '{}', p_unsafe_networks inet[] DEFAULT '{}'
) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_refused record;
BEGIN
  SELECT a.name, a.groups, a.networks, a.unsafe_networks,
         nebula.not_grantable(a, p_groups, p_networks, p_unsafe_networks) AS thing
    INTO v_refused
    FROM nebula.authority a
   WHERE a.fingerprint IN (SELECT s.fingerprint
                             FROM nebula.project_authority s
                            WHERE s.project_id = p_project_id
                           UNION ALL
                           SELECT r.incoming
                             FROM nebula.rotation r
                            WHERE r.project_id = p_project_id
                              AND r.state NOT IN ('done', 'cancelled'))
     AND nebula.not_grantable(a, p_groups, p_networks, p_unsafe_networks) IS NOT NULL
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'authority "%" may not sign %', v_refused.name, v_refused.thing
      USING ERRCODE = '22023',
        HINT = format('It is limited to: %s; or rotate to a wider one: nebulactl ca rotate.',
                      concat_ws('; ', 'groups ' || array_to_string(nullif(v_refused.groups, '{}'), ', '),
                                'networks ' || array_to_string(nullif(v_refused.networks, '{}'), ', '),
                                'routed networks '
                                || array_to_string(nullif(v_refused.unsafe_networks, '{}'), ', ')));
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_grantable(uuid, text[], inet[], inet[]) IS
  'Internal: refuses groups, networks and networks behind devices that the authority of a project, or one '
  'that it is rotating to, may not write into certificates. Errors: 22023';

-- Under earlier releases projects shared an authority. One that has rotated to its own leaves certificates behind
-- that the others would still let in.
CREATE FUNCTION nebula.foreign_certificates(p_project_id uuid)
RETURNS TABLE (fingerprint bytea, alternate_fingerprint bytea)
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN QUERY
    SELECT c.fingerprint, c.alternate_fingerprint
      FROM nebula.project_trust(p_project_id) t
      JOIN nebula.rotation r ON r.retiring = t.fingerprint
           AND r.project_id <> p_project_id
           AND r.state IN ('reissuing', 'retiring', 'done')
      JOIN nebula.device d ON d.project_id = r.project_id
      JOIN nebula.certificate c ON c.device_id = d.device_id
           AND c.issuer = r.retiring
           AND c.not_after > clock_timestamp()
     WHERE NOT EXISTS (SELECT
                         FROM nebula.project_authority s
                        WHERE s.project_id = r.project_id
                          AND s.fingerprint = r.retiring);
END $$;
COMMENT ON FUNCTION nebula.foreign_certificates(uuid) IS
  'Internal: valid certificates of devices of other projects, of an authority that this project trusts and '
  'theirs has left: for its blocklist';

CREATE FUNCTION nebula.list_authorities(p_actor nebula.proven_account)
RETURNS TABLE (
  fingerprint text, name text, curve text, version smallint, not_before timestamptz,
  not_after timestamptz, days_left integer, projects text[], warning text
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_operator(p_actor, 'authority.read');
  RETURN QUERY
    SELECT s.fingerprint, s.name, s.curve, s.version, s.not_before, s.not_after, s.days_left, s.projects,
           s.warning
      FROM nebula.authority_status s;
END $$;
COMMENT ON FUNCTION nebula.list_authorities(nebula.proven_account) IS
  'For the gateway: every authority known, the one that expires first on top. Errors: 42501 not an '
  'administrator';
