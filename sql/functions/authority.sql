-- Certificate authorities: recorded by the gateway, adopted by projects, trusted by devices.

CREATE FUNCTION nebula.record_authority(
  p_fingerprint bytea, p_name text, p_curve text, p_version smallint, p_not_before timestamptz,
  p_not_after timestamptz, p_pem text
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  INSERT INTO nebula.authority (fingerprint, name, curve, version, not_before, not_after, pem)
  VALUES (p_fingerprint, p_name, p_curve, p_version,
          p_not_before, p_not_after, p_pem)
  ON CONFLICT ON CONSTRAINT authority_pkey DO NOTHING
$$;
COMMENT ON FUNCTION nebula.record_authority(bytea, text, text, smallint, timestamptz, timestamptz, text) IS
  'For the gateway: makes the certificate of an authority known; twice is no error';

CREATE FUNCTION nebula.adopt_authority(p_project_id uuid, p_fingerprint bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  INSERT INTO nebula.project_authority (project_id, fingerprint)
  VALUES (p_project_id, p_fingerprint)
  ON CONFLICT ON CONSTRAINT project_authority_pkey DO NOTHING
$$;
COMMENT ON FUNCTION nebula.adopt_authority(uuid, bytea) IS
  'For the gateway: gives a project its first authority; one that has an authority keeps it. Errors: '
  '23503 no such project or authority';

CREATE FUNCTION nebula.project_trust(p_project_id uuid)
RETURNS TABLE (fingerprint bytea, signs boolean, speaks boolean, pem text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_project(p_project_id);
  RETURN QUERY
    -- While both are trusted, the retiring authority signs responses: a device that was offline since before the
    -- rotation began knows only that one.
    SELECT a.fingerprint, a.fingerprint = p.fingerprint,
           a.fingerprint = coalesce(r.retiring, p.fingerprint), a.pem
      FROM nebula.project_authority p
      LEFT JOIN nebula.rotation r ON r.project_id = p.project_id
                AND r.state IN ('distributing', 'reissuing')
      JOIN nebula.authority a ON a.fingerprint IN (p.fingerprint, r.retiring, r.incoming)
     WHERE p.project_id = p_project_id
     ORDER BY a.fingerprint = p.fingerprint DESC;
END $$;
COMMENT ON FUNCTION nebula.project_trust(uuid) IS
  'Internal: the authorities devices of a project are to trust, the one that signs certificates first; '
  'speaks: signs the answers to agents. None before the first is adopted. Errors: P0002 no such project';

CREATE FUNCTION nebula.list_authorities(p_actor uuid)
RETURNS TABLE (
  fingerprint text, name text, curve text, version smallint, not_before timestamptz,
  not_after timestamptz, days_left integer, projects text[], warning text
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_admin(p_actor);
  RETURN QUERY
    SELECT s.fingerprint, s.name, s.curve, s.version, s.not_before, s.not_after, s.days_left, s.projects,
           s.warning
      FROM nebula.authority_status s;
END $$;
COMMENT ON FUNCTION nebula.list_authorities(uuid) IS
  'For the gateway: every authority known, the one that expires first on top. Errors: 42501 not an '
  'administrator';
