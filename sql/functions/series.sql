-- Samples over time.

CREATE FUNCTION nebula.current_values()
RETURNS TABLE (name text, key text, project_id uuid, value double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp SET jit = off AS $$
  SELECT 'pool.held', u.pool_id::text, u.project_id, (u.allocated + u.quarantined)::double precision
    FROM nebula.pool_usage() u
   UNION ALL
  SELECT 'device.online', g.project_id::text, g.project_id, count(*)::double precision
    FROM nebula.agent g
   WHERE g.reported_at > now() - interval '2 minutes'
   GROUP BY g.project_id
   UNION ALL
  -- Both ends report a tunnel.
  SELECT 'traffic.bytes', g.project_id::text, g.project_id,
         (coalesce(sum((p.peer ->> 'bytesPerSecond')::numeric), 0) / 2)::double precision
    FROM nebula.agent g
   CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(g.report -> 'peers')
                                             WHEN 'array' THEN g.report -> 'peers'
                                             ELSE '[]'
                                           END) AS p(peer)
   WHERE g.reported_at > now() - interval '2 minutes'
   GROUP BY g.project_id
   UNION ALL
  SELECT 'job.waiting', '', NULL, count(*) FROM nebula.job_waiting
   UNION ALL
  SELECT 'job.running', '', NULL, count(*) FROM nebula.job_running
   UNION ALL
  SELECT 'disk.free', r.disk, NULL, r.free FROM nebula.disk_room() r
$$;
COMMENT ON FUNCTION nebula.current_values() IS 'Internal: values that are sampled now';

CREATE FUNCTION nebula.sample_series() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_at CONSTANT timestamptz := date_trunc('minute', now());
BEGIN
  IF EXISTS (SELECT FROM nebula.series s
              WHERE s.name = 'job.waiting' AND s.key = '' AND s.step = 1 AND s.at = v_at) THEN
    RETURN false;
  END IF;
  INSERT INTO nebula.series (name, key, step, at, project_id, value)
  SELECT c.name, c.key, 1, v_at, c.project_id, c.value
    FROM nebula.current_values() c
  ON CONFLICT ON CONSTRAINT series_pkey DO NOTHING;
  IF extract(minute FROM v_at)::integer % 15 = 0 THEN
    INSERT INTO nebula.series (name, key, step, at, project_id, value)
    SELECT s.name, s.key, 15, v_at - interval '15 minutes', s.project_id, avg(s.value)
      FROM nebula.series s
     WHERE s.step = 1
       AND s.at >= v_at - interval '15 minutes'
       AND s.at < v_at
     GROUP BY s.name, s.key, s.project_id
    ON CONFLICT ON CONSTRAINT series_pkey DO NOTHING;
  END IF;
  DELETE FROM nebula.series s
   WHERE s.step = 1 AND s.at < v_at - interval '24 hours'
      OR s.step = 15 AND s.at < v_at - interval '30 days';
  RETURN true;
END $$;
COMMENT ON FUNCTION nebula.sample_series() IS
  'Work of the background worker: samples once a minute, makes means of each quarter of an hour, and deletes what is '
  'too old. Any scheduler may call it instead. False: this minute has its samples';

CREATE FUNCTION nebula.list_series(
  p_actor nebula.proven_account, p_project_id uuid, p_names text[], p_from timestamptz, p_to timestamptz, p_step integer
) RETURNS TABLE (name text, key text, at double precision[], "values" double precision[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  IF p_project_id IS NULL THEN
    PERFORM nebula.require_operator(p_actor, 'system.read');
  ELSE
    PERFORM nebula.require_permission(p_actor, p_project_id, 'project.read');
  END IF;
  RETURN QUERY
    SELECT s.name, s.key, array_agg(extract(epoch FROM s.at)::double precision ORDER BY s.at),
           array_agg(s.value ORDER BY s.at)
      FROM nebula.series s
     WHERE s.project_id IS NOT DISTINCT FROM p_project_id
       AND (p_names = '{}' OR s.name = ANY (p_names))
       AND s.step = p_step
       AND s.at >= p_from
       AND s.at < p_to
     GROUP BY s.name, s.key
     ORDER BY s.name, s.key;
END $$;
COMMENT ON FUNCTION nebula.list_series(nebula.proven_account, uuid, text[], timestamptz, timestamptz, integer) IS
  'For the gateway: samples of a project, or those of the server for operators. Errors: 28000, P0002 no such project, '
  '42501 not a member, or not an operator';
