-- Certificates: written in the transaction that allocates the address.

CREATE FUNCTION nebula.add_certificate(
  device_id uuid, name text, fingerprint bytea, alternate_fingerprint bytea, version smallint, curve text, networks text[],
  unsafe_networks text[], groups text[], public_key bytea, issuer bytea, not_before timestamptz, not_after timestamptz, pem text
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  -- A certificate for an address the device does not hold would outlive every check that follows.
  IF EXISTS (
    SELECT FROM unnest(networks) AS n(address)
     WHERE NOT EXISTS (SELECT FROM nebula.allocation a
                        WHERE a.device_id = add_certificate.device_id AND a.released_at IS NULL
                          AND a.ip = host(n.address::inet)::inet)
  ) THEN
    RAISE EXCEPTION 'certificate names % but device % does not hold that address', networks, add_certificate.device_id
      USING ERRCODE = '55000', HINT = 'Register the device again.';
  END IF;
  INSERT INTO nebula.certificate (fingerprint, project_id, device_id, name, version, curve, networks, unsafe_networks, groups, public_key,
                                  issuer, alternate_fingerprint, not_before, not_after, pem)
  SELECT add_certificate.fingerprint, d.project_id, d.device_id, add_certificate.name, add_certificate.version, add_certificate.curve,
         add_certificate.networks::inet[], add_certificate.unsafe_networks::inet[], add_certificate.groups, add_certificate.public_key,
         add_certificate.issuer, add_certificate.alternate_fingerprint, add_certificate.not_before, add_certificate.not_after,
         add_certificate.pem
    FROM nebula.device d WHERE d.device_id = add_certificate.device_id
  -- The same key in the same second signs to the same bytes: one certificate, recorded once.
  ON CONFLICT ON CONSTRAINT certificate_pkey DO NOTHING;
END $$;
COMMENT ON FUNCTION nebula.add_certificate(uuid, text, bytea, bytea, smallint, text, text[], text[], text[], bytea, bytea, timestamptz, timestamptz, text) IS
  'The work of record_certificate and record_agent_certificate. Errors: 55000 address not held';

CREATE FUNCTION nebula.record_certificate(
  actor uuid, device_id uuid, name text, fingerprint bytea, alternate_fingerprint bytea, version smallint, curve text, networks text[],
  unsafe_networks text[], groups text[], public_key bytea, issuer bytea, not_before timestamptz, not_after timestamptz, pem text
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_member(actor, (SELECT d.project_id FROM nebula.device d WHERE d.device_id = record_certificate.device_id));
  PERFORM nebula.add_certificate(device_id, name, fingerprint, alternate_fingerprint, version, curve, networks, unsafe_networks, groups,
    public_key, issuer, not_before, not_after, pem);
END $$;
COMMENT ON FUNCTION nebula.record_certificate(uuid, uuid, text, bytea, bytea, smallint, text, text[], text[], text[], bytea, bytea, timestamptz, timestamptz, text) IS
  'Records a signed certificate of a device that holds every address in it. Errors: P0002 no such device, 42501 not a member, 55000 address not held';

CREATE FUNCTION nebula.record_agent_certificate(
  device_id uuid, counter bigint, name text, fingerprint bytea, alternate_fingerprint bytea, version smallint, curve text, networks text[],
  unsafe_networks text[], groups text[], public_key bytea, issuer bytea, not_before timestamptz, not_after timestamptz, pem text
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  -- No account acts here: what does is a call that was accepted in this transaction, with the key it brought.
  IF NOT EXISTS (SELECT FROM nebula.agent_answer w
                  WHERE w.device_id = record_agent_certificate.device_id AND w.counter = record_agent_certificate.counter
                    AND w.public_key = record_agent_certificate.public_key AND w.sent_at = now()) THEN
    RAISE EXCEPTION 'no answer % to device % is being made with this key', record_agent_certificate.counter, record_agent_certificate.device_id
      USING ERRCODE = '55000', HINT = 'Record it in the transaction of enroll_device or update_agent.';
  END IF;
  PERFORM nebula.add_certificate(device_id, name, fingerprint, alternate_fingerprint, version, curve, networks, unsafe_networks, groups,
    public_key, issuer, not_before, not_after, pem);
END $$;
COMMENT ON FUNCTION nebula.record_agent_certificate(uuid, bigint, text, bytea, bytea, smallint, text, text[], text[], text[], bytea, bytea, timestamptz, timestamptz, text) IS
  'Records a certificate that goes out with the answer to an agent, in the transaction that noted the answer. Errors: 55000 no such answer, address not held';

CREATE FUNCTION nebula.limit_certificates(device_id uuid, hourly integer) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  given bigint := (SELECT count(DISTINCT c.issued_at) FROM nebula.certificate c
                    WHERE c.device_id = limit_certificates.device_id AND c.not_after > now() AND c.issued_at > now() - interval '1 hour');
BEGIN
  IF given >= limit_certificates.hourly THEN
    RAISE EXCEPTION 'device % was given % certificates in the last hour', limit_certificates.device_id, given
      USING ERRCODE = '54000', HINT = 'Try again in an hour; find out why it asks so often.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.limit_certificates(uuid, integer) IS
  'Refuses a device that was given so many certificates in the last hour. Call it with the device locked. Errors: 54000';

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

CREATE FUNCTION nebula.certificate_counts() RETURNS TABLE (renewal text, devices bigint, seconds double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT w.renewal, count(s.device_id), min(extract(epoch FROM s.not_after - now()))::double precision
    FROM (VALUES ('by its agent'), ('due'), ('overdue'), ('by hand')) AS w(renewal)
    LEFT JOIN nebula.certificate_status s USING (renewal)
   GROUP BY w.renewal
$$;
COMMENT ON FUNCTION nebula.certificate_counts() IS
  'For metrics: live devices by who renews their certificates, and the seconds until the first of them expires';
