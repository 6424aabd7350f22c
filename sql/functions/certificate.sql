-- Certificates: recorded in the transaction that allocates the address.

-- Fixed plan (sql/README.md): one indexed subquery per certificate, with OFFSET 0.
CREATE FUNCTION nebula.record_certificates(
  p_gateway nebula.proven_gateway, p_certificates nebula.new_certificate[]
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp
SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  v_refused record;
BEGIN
  -- Each certificate is authorized by an account (actor), by the code that its device joined with (code_hash), or by
  -- an answer that was recorded in this transaction for the same key (counter).
  PERFORM nebula.acting_member(a.actor, a.project_id, 'device.register')
    FROM (SELECT DISTINCT c.actor,
                 (SELECT d.project_id FROM nebula.device d WHERE d.device_id = c.device_id)
            FROM unnest(p_certificates) c
           WHERE c.actor IS NOT NULL) AS a(actor, project_id);
  SELECT c.code_hash, c.counter, c.device_id
    INTO v_refused
    FROM unnest(p_certificates) c
   WHERE c.actor IS NULL
     AND NOT EXISTS (SELECT
                       FROM nebula.enrolment_use u
                       JOIN nebula.enrolment e USING (enrolment_id)
                      WHERE e.code_hash = c.code_hash
                        AND u.device_id = c.device_id
                     OFFSET 0)
     AND NOT EXISTS (SELECT
                       FROM nebula.agent_answer s
                      WHERE s.device_id = c.device_id
                        AND s.counter = c.counter
                        AND s.public_key = c.public_key
                        AND s.sent_at = now()
                     OFFSET 0)
   LIMIT 1;
  IF FOUND AND v_refused.code_hash IS NOT NULL THEN
    RAISE EXCEPTION 'device % did not join by this code', v_refused.device_id
      USING ERRCODE = '55000', HINT = 'Record it in the transaction of register_by_code.';
  ELSIF FOUND THEN
    RAISE EXCEPTION 'no answer % to device % is being made with this key',
        v_refused.counter, v_refused.device_id
      USING ERRCODE = '55000', HINT = 'Record it in the transaction of enroll_device or update_agents.';
  END IF;
  -- Nothing could take back a certificate for an address that the device does not hold.
  SELECT c.networks, c.device_id
    INTO v_refused
    FROM unnest(p_certificates) c,
         unnest(c.networks) AS n(address)
   WHERE NOT EXISTS (SELECT
                       FROM nebula.allocation a
                      WHERE a.device_id = c.device_id
                        AND a.released_at IS NULL
                        AND a.ip = host(n.address)::inet
                     OFFSET 0)
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'certificate names % but device % does not hold that address',
        v_refused.networks, v_refused.device_id
      USING ERRCODE = '55000', HINT = 'Register the device again.';
  END IF;
  INSERT INTO nebula.certificate (fingerprint, project_id, device_id, name, version, curve, networks,
                                  unsafe_networks, groups, public_key, issuer, alternate_fingerprint,
                                  not_before, not_after, pem)
  SELECT c.fingerprint, (SELECT d.project_id FROM nebula.device d WHERE d.device_id = c.device_id),
         c.device_id, c.name, c.version, c.curve, c.networks, c.unsafe_networks, c.groups, c.public_key,
         c.issuer, c.alternate_fingerprint, c.not_before, c.not_after, c.pem
    FROM unnest(p_certificates) c
  -- Signing the same content with the same key in the same second gives the same bytes: one certificate.
  ON CONFLICT ON CONSTRAINT certificate_pkey DO NOTHING;
END $$;
COMMENT ON FUNCTION nebula.record_certificates(nebula.proven_gateway, nebula.new_certificate[]) IS
  'For the gateway: records signed certificates. Each is authorized by an account (actor), by an enrolment '
  'code (code_hash), or by the answer that contains it (counter); exactly one of the three is given. '
  'Errors: P0002 no such device, 42501 not a member, 55000 not by this code, no such answer, address not '
  'held';

CREATE FUNCTION nebula.issued_certificates(p_device_id uuid) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN (SELECT count(DISTINCT c.issued_at)
            FROM nebula.certificate c
           WHERE c.device_id = p_device_id
             AND c.not_after > now()
             AND c.issued_at > now() - interval '1 hour');
END $$;
COMMENT ON FUNCTION nebula.issued_certificates(uuid) IS
  'Internal: how often a device was given certificates in the last hour';

CREATE FUNCTION nebula.limit_certificates(p_device_id uuid, p_hourly integer) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_issued bigint := nebula.issued_certificates(p_device_id);
BEGIN
  IF v_issued >= p_hourly THEN
    RAISE EXCEPTION 'device % was given % certificates in the last hour', p_device_id, v_issued
      USING ERRCODE = '54000', HINT = 'Try again in an hour; find out why it asks so often.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.limit_certificates(uuid, integer) IS
  'Internal: refuses a device that was given so many certificates in the last hour. Call it with the '
  'device locked. Errors: 54000';

CREATE FUNCTION nebula.list_certificates(p_actor nebula.proven_account, p_device_id uuid DEFAULT NULL)
RETURNS TABLE (
  fingerprint text, project_id uuid, device_id uuid, device_name text, version smallint, curve text,
  networks text[], groups text[], not_before timestamptz, not_after timestamptz,
  issued_at timestamptz, revoked_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT encode(c.fingerprint, 'hex'), c.project_id, c.device_id, d.name, c.version, c.curve,
         c.networks::text[], c.groups, c.not_before, c.not_after, c.issued_at, c.revoked_at
    FROM nebula.certificate c
    JOIN nebula.device d USING (device_id)
   WHERE c.project_id IN (SELECT nebula.visible_projects(p_actor))
     AND (p_device_id IS NULL OR c.device_id = p_device_id)
   ORDER BY c.not_after DESC, c.fingerprint
   LIMIT 1000
$$;
COMMENT ON FUNCTION nebula.list_certificates(nebula.proven_account, uuid) IS
  'For the gateway: certificates of the projects the account sees, longest valid first, at most 1000';

CREATE FUNCTION nebula.certificate_counts(p_gateway nebula.proven_gateway)
RETURNS TABLE (renewal text, devices bigint, seconds double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT w.renewal, count(s.device_id), min(extract(epoch FROM s.not_after - now()))::double precision
    FROM (VALUES ('by its agent'), ('due'), ('overdue'), ('by hand')) AS w(renewal)
    LEFT JOIN nebula.certificate_status s USING (renewal)
   GROUP BY w.renewal
$$;
COMMENT ON FUNCTION nebula.certificate_counts(nebula.proven_gateway) IS
  'For the gateway: for metrics: live devices by the party that renews their certificates, and the seconds '
  'until the first of them expires';
