-- The end of authorities: after it, devices can neither join nor renew.

CREATE FUNCTION nebula.signing_authorities(p_gateway nebula.proven_gateway)
RETURNS TABLE (fingerprint text, name text, not_after timestamptz, seconds_left double precision, projects bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT encode(a.fingerprint, 'hex'), a.name, a.not_after,
         extract(epoch FROM a.not_after - clock_timestamp())::double precision, count(*)
    FROM nebula.project_authority p
    JOIN nebula.authority a USING (fingerprint)
   GROUP BY a.fingerprint
   ORDER BY a.not_after
$$;
COMMENT ON FUNCTION nebula.signing_authorities(nebula.proven_gateway) IS
  'For the gateway: the authorities that projects sign with, for how many, and when they end; the first to end '
  'on top';

CREATE FUNCTION nebula.record_ending_authorities(p_gateway nebula.proven_gateway) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_days     CONSTANT integer[] := '{0,1,7,30,60}';
  v_one      record;
  v_recorded integer := 0;
BEGIN
  -- Gateways take turns, so that each warning is recorded once: the next statement sees those of the one before.
  PERFORM FROM nebula.authority a
   WHERE a.not_after < now() + interval '60 days'
   ORDER BY a.fingerprint
     FOR NO KEY UPDATE;
  FOR v_one IN
    SELECT p.project_id, encode(a.fingerprint, 'hex') AS fingerprint, a.name, a.not_after, w.days
      FROM nebula.authority a
      JOIN nebula.project_authority p USING (fingerprint)
     CROSS JOIN LATERAL (SELECT min(d.days) AS days
                           FROM unnest(v_days) AS d(days)
                          WHERE a.not_after < now() + make_interval(days => d.days)) w
     WHERE w.days IS NOT NULL
       AND NOT EXISTS (SELECT
                         FROM nebula.event e
                        WHERE e.subject = 'authority'
                          AND e.subject_id = encode(a.fingerprint, 'hex')
                          AND e.project_id = p.project_id
                          AND e.action IN ('expiring', 'expired')
                          AND (e.detail ->> 'withinDays')::integer <= w.days)
  LOOP
    PERFORM nebula.record_event(v_one.project_id, 'gateway',
                                CASE v_one.days WHEN 0 THEN 'expired' ELSE 'expiring' END, 'authority',
                                v_one.fingerprint, NULL,
                                jsonb_build_object('name', v_one.name, 'notAfter', v_one.not_after,
                                                   'withinDays', v_one.days));
    v_recorded := v_recorded + 1;
  END LOOP;
  RETURN v_recorded;
END $$;
COMMENT ON FUNCTION nebula.record_ending_authorities(nebula.proven_gateway) IS
  'For the gateway: records, once each, that the authority of a project ends within 60, 30, 7 days, a day, or has '
  'ended; the number of records';
