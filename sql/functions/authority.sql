-- Authorities as the gateway uses them: made known, adopted by projects, trusted by devices.

CREATE FUNCTION nebula.record_authority(
  fingerprint bytea, name text, curve text, version smallint, not_before timestamptz, not_after timestamptz, pem text
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  INSERT INTO nebula.authority (fingerprint, name, curve, version, not_before, not_after, pem)
  VALUES (record_authority.fingerprint, record_authority.name, record_authority.curve, record_authority.version,
          record_authority.not_before, record_authority.not_after, record_authority.pem)
  ON CONFLICT ON CONSTRAINT authority_pkey DO NOTHING
$$;
COMMENT ON FUNCTION nebula.record_authority(bytea, text, text, smallint, timestamptz, timestamptz, text) IS
  'Makes the certificate of an authority known; twice is no error';

CREATE FUNCTION nebula.adopt_authority(project_id uuid, fingerprint bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  INSERT INTO nebula.project_authority (project_id, fingerprint)
  VALUES (adopt_authority.project_id, adopt_authority.fingerprint)
  ON CONFLICT ON CONSTRAINT project_authority_pkey DO NOTHING
$$;
COMMENT ON FUNCTION nebula.adopt_authority(uuid, bytea) IS
  'Gives a project its first authority; one that has an authority keeps it. Errors: 23503 no such project or authority';

CREATE FUNCTION nebula.project_trust(project_id uuid)
RETURNS TABLE (fingerprint bytea, signs boolean, speaks boolean, pem text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_project(project_trust.project_id);
  RETURN QUERY
    -- Until the old authority is forgotten it is the one that every device knows, also one that was away.
    SELECT a.fingerprint, a.fingerprint = p.fingerprint, a.fingerprint = coalesce(r.retiring, p.fingerprint), a.pem
      FROM nebula.project_authority p
      LEFT JOIN nebula.rotation r ON r.project_id = p.project_id AND r.state IN ('distributing', 'reissuing')
      JOIN nebula.authority a ON a.fingerprint IN (p.fingerprint, r.retiring, r.incoming)
     WHERE p.project_id = project_trust.project_id
     ORDER BY a.fingerprint = p.fingerprint DESC;
END $$;
COMMENT ON FUNCTION nebula.project_trust(uuid) IS
  'The authorities devices of a project are to trust, the one that signs certificates first; speaks: signs what agents are told. None before '
  'the first is adopted. Errors: P0002 no such project';

CREATE FUNCTION nebula.list_authorities(actor uuid)
RETURNS TABLE (fingerprint text, name text, curve text, version smallint, not_before timestamptz, not_after timestamptz, days_left integer,
               projects text[], warning text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
BEGIN
  PERFORM nebula.require_admin(actor);
  RETURN QUERY
    SELECT s.fingerprint, s.name, s.curve, s.version, s.not_before, s.not_after, s.days_left, s.projects, s.warning
      FROM nebula.authority_status s;
END $$;
COMMENT ON FUNCTION nebula.list_authorities(uuid) IS
  'Every authority known, the one that expires first on top. Errors: 42501 not an administrator';
