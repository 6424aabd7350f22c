-- Certificates: written in the transaction that allocates the address.

-- Looks of their own (OFFSET 0) and no joins, for the reason that register_devices gives.
CREATE FUNCTION nebula.record_certificates(
  actors uuid[], code_hashes bytea[], counters bigint[], device_ids uuid[], names text[], curves text[], groups text[], public_keys bytea[],
  issuers bytea[], not_before timestamptz[], not_after timestamptz[],
  fingerprints bytea[], alternate_fingerprints bytea[], versions smallint[], networks text[], unsafe_networks text[], pems text[]
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  refused record;
BEGIN
  -- Who acts is an account, or a code the device joined by, or a call that was accepted in this transaction, with the key it brought.
  PERFORM nebula.acting_member(a.actor, a.project_id)
     FROM (SELECT DISTINCT w.actor, (SELECT d.project_id FROM nebula.device d WHERE d.device_id = w.device_id)
             FROM unnest(record_certificates.actors, record_certificates.device_ids) AS w(actor, device_id)
            WHERE w.actor IS NOT NULL) AS a(actor, project_id);
  SELECT w.* INTO refused
    FROM unnest(record_certificates.actors, record_certificates.code_hashes, record_certificates.counters, record_certificates.device_ids,
                record_certificates.public_keys) AS w(actor, code_hash, counter, device_id, public_key)
   WHERE w.actor IS NULL
     AND NOT EXISTS (SELECT FROM nebula.enrolment_use u JOIN nebula.enrolment e USING (enrolment_id)
                      WHERE e.code_hash = w.code_hash AND u.device_id = w.device_id OFFSET 0)
     AND NOT EXISTS (SELECT FROM nebula.agent_answer s
                      WHERE s.device_id = w.device_id AND s.counter = w.counter AND s.public_key = w.public_key AND s.sent_at = now() OFFSET 0)
   LIMIT 1;
  IF FOUND AND refused.code_hash IS NOT NULL THEN
    RAISE EXCEPTION 'device % did not join by this code', refused.device_id
      USING ERRCODE = '55000', HINT = 'Record it in the transaction of register_by_code.';
  ELSIF FOUND THEN
    RAISE EXCEPTION 'no answer % to device % is being made with this key', refused.counter, refused.device_id
      USING ERRCODE = '55000', HINT = 'Record it in the transaction of enroll_device or update_agents.';
  END IF;
  -- A certificate for an address the device does not hold would outlive every check that follows.
  SELECT w.* INTO refused
    FROM unnest(record_certificates.device_ids, record_certificates.networks) AS w(device_id, networks), unnest(w.networks::inet[]) AS n(address)
   WHERE NOT EXISTS (SELECT FROM nebula.allocation a
                      WHERE a.device_id = w.device_id AND a.released_at IS NULL AND a.ip = host(n.address)::inet OFFSET 0)
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'certificate names % but device % does not hold that address', refused.networks, refused.device_id
      USING ERRCODE = '55000', HINT = 'Register the device again.';
  END IF;
  INSERT INTO nebula.certificate (fingerprint, project_id, device_id, name, version, curve, networks, unsafe_networks, groups, public_key,
                                  issuer, alternate_fingerprint, not_before, not_after, pem)
  SELECT w.fingerprint, (SELECT d.project_id FROM nebula.device d WHERE d.device_id = w.device_id), w.device_id, w.name, w.version, w.curve, w.networks::inet[], w.unsafe_networks::inet[], w.groups::text[],
         w.public_key, w.issuer, w.alternate_fingerprint, w.not_before, w.not_after, w.pem
    FROM unnest(record_certificates.device_ids, record_certificates.names, record_certificates.curves, record_certificates.groups,
                record_certificates.public_keys, record_certificates.issuers, record_certificates.not_before, record_certificates.not_after,
                record_certificates.fingerprints, record_certificates.alternate_fingerprints, record_certificates.versions,
                record_certificates.networks, record_certificates.unsafe_networks, record_certificates.pems)
         AS w(device_id, name, curve, groups, public_key, issuer, not_before, not_after, fingerprint, alternate_fingerprint, version,
              networks, unsafe_networks, pem)
  -- The same key in the same second signs to the same bytes: one certificate, recorded once.
  ON CONFLICT ON CONSTRAINT certificate_pkey DO NOTHING;
END $$;
COMMENT ON FUNCTION nebula.record_certificates(
  uuid[], bytea[], bigint[], uuid[], text[], text[], text[], bytea[], bytea[], timestamptz[], timestamptz[], bytea[], bytea[], smallint[], text[], text[],
  text[]) IS
  'Records what was signed; of each list one entry for each certificate, where one of groups is a text[], and one of networks and unsafe_networks an '
  'inet[], as text. On the word of an account (actors), of a code, or of the answer (counters) that it goes out with; of these three one is given. '
  'Errors: P0002 no such device, 42501 not a member, 55000 not by this code, no such answer, address not held';

-- Internal.
CREATE FUNCTION nebula.limit_certificates(device_id uuid, hourly integer) RETURNS void
LANGUAGE plpgsql STABLE AS $$
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
  'Internal: refuses a device that was given so many certificates in the last hour. Call it with the device locked. Errors: 54000';

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
