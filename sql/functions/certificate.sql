-- Certificates: written in the transaction that allocates the address.

CREATE FUNCTION nebula.record_certificate(
  actor uuid, device_id uuid, fingerprint bytea, alternate_fingerprint bytea, version smallint, curve text,
  networks text[], groups text[], public_key bytea, issuer bytea, not_before timestamptz, not_after timestamptz, pem text
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  project uuid := (SELECT d.project_id FROM nebula.device d WHERE d.device_id = record_certificate.device_id);
BEGIN
  PERFORM nebula.require_member(actor, project);
  -- A certificate for an address the device does not hold would outlive every check that follows.
  IF EXISTS (
    SELECT FROM unnest(networks) AS n(address)
     WHERE NOT EXISTS (SELECT FROM nebula.allocation a
                        WHERE a.device_id = record_certificate.device_id AND a.released_at IS NULL
                          AND a.ip = host(n.address::inet)::inet)
  ) THEN
    RAISE EXCEPTION 'certificate names % but device % does not hold that address', networks, record_certificate.device_id
      USING ERRCODE = '55000', HINT = 'Register the device again.';
  END IF;
  INSERT INTO nebula.certificate (fingerprint, project_id, device_id, version, curve, networks, groups, public_key, issuer,
                                  alternate_fingerprint, not_before, not_after, pem)
  VALUES (record_certificate.fingerprint, project, record_certificate.device_id, record_certificate.version,
          record_certificate.curve, record_certificate.networks::inet[], record_certificate.groups,
          record_certificate.public_key, record_certificate.issuer, record_certificate.alternate_fingerprint,
          record_certificate.not_before, record_certificate.not_after, record_certificate.pem)
  -- The same key in the same second signs to the same bytes: one certificate, recorded once.
  ON CONFLICT ON CONSTRAINT certificate_pkey DO NOTHING;
END $$;
COMMENT ON FUNCTION nebula.record_certificate(uuid, uuid, bytea, bytea, smallint, text, text[], text[], bytea, bytea, timestamptz, timestamptz, text) IS
  'Records a signed certificate of a device that holds every address in it. Errors: P0002 no such device, 42501 not a member, 55000 address not held';

CREATE FUNCTION nebula.list_certificates(actor uuid, device_id uuid DEFAULT NULL)
RETURNS TABLE (fingerprint text, project_id uuid, device_id uuid, device_name text, version smallint, curve text, networks text[],
               groups text[], not_before timestamptz, not_after timestamptz, issued_at timestamptz, revoked_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT encode(c.fingerprint, 'hex'), c.project_id, c.device_id, d.name, c.version, c.curve, c.networks::text[],
         c.groups, c.not_before, c.not_after, c.issued_at, c.revoked_at
    FROM nebula.certificate c JOIN nebula.device d USING (device_id)
   WHERE c.project_id IN (SELECT nebula.visible_projects(actor))
     AND (list_certificates.device_id IS NULL OR c.device_id = list_certificates.device_id)
   ORDER BY c.not_after DESC, c.fingerprint
   LIMIT 1000
$$;
COMMENT ON FUNCTION nebula.list_certificates(uuid, uuid) IS
  'Certificates of the projects the account sees, longest valid first, at most 1000';
