-- Forecasts and alarms.

-- Everything derived from present and past holdings: nothing is counted twice, nothing can drift.
CREATE FUNCTION nebula.pool_forecast(project_id uuid DEFAULT NULL)
RETURNS TABLE (
  pool_id integer, project_id uuid, name text, used numeric, usable numeric, percent_used numeric, high_water bigint,
  high_water_at timestamptz, per_hour numeric, per_day numeric, per_week numeric, exhausted_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT u.pool_id, u.project_id, u.name, s.used, s.usable, round(100 * s.used / nullif(s.usable, 0), 1), coalesce(w.held, 0), w.at,
         g.hour, g.day, g.week, CASE WHEN t.days < 36525 THEN now() + t.days::double precision * interval '1 day' END
    FROM nebula.pool_usage(pool_forecast.project_id) u
   CROSS JOIN LATERAL (SELECT u.allocated + u.quarantined AS used, u.size - u.reserved AS usable) s
    -- The most that was held at one moment: starts and ends in order of time, counted up and down.
    LEFT JOIN LATERAL (
      SELECT r.held, r.at FROM (
        SELECT e.at, sum(e.step) OVER (ORDER BY e.at, e.step DESC ROWS UNBOUNDED PRECEDING) AS held FROM (
          SELECT a.allocated_at AS at, 1 AS step FROM nebula.allocation a WHERE a.pool_id = u.pool_id AND a.project_id = u.project_id AND a.released_at IS NULL
          UNION ALL
          SELECT l.allocated_at, 1 FROM nebula.allocation_log l WHERE l.pool_id = u.pool_id
          UNION ALL
          SELECT l.released_at, -1 FROM nebula.allocation_log l WHERE l.pool_id = u.pool_id
        ) e
      ) r ORDER BY r.held DESC, r.at LIMIT 1
    ) w ON true
   -- Growth over the last hour, day and week: what came and stayed, less what was there before and went.
   CROSS JOIN LATERAL (
     SELECT c.hour - d.hour AS hour, c.day - d.day AS day, c.week - d.week AS week FROM (
       SELECT count(*) FILTER (WHERE a.allocated_at > now() - interval '1 hour')::numeric AS hour,
              count(*) FILTER (WHERE a.allocated_at > now() - interval '1 day')::numeric AS day,
              count(*) FILTER (WHERE a.allocated_at > now() - interval '7 days')::numeric AS week
         FROM nebula.allocation a WHERE a.pool_id = u.pool_id AND a.project_id = u.project_id AND a.released_at IS NULL
     ) c, (
       SELECT count(*) FILTER (WHERE l.released_at > now() - interval '1 hour' AND l.allocated_at <= now() - interval '1 hour')::numeric AS hour,
              count(*) FILTER (WHERE l.released_at > now() - interval '1 day' AND l.allocated_at <= now() - interval '1 day')::numeric AS day,
              count(*) FILTER (WHERE l.allocated_at <= now() - interval '7 days')::numeric AS week
         FROM nebula.allocation_log l WHERE l.pool_id = u.pool_id AND l.released_at > now() - interval '7 days'
     ) d
   ) g
   -- The faster of the daily and the weekly rate: a quiet Sunday must not hide a busy week.
   CROSS JOIN LATERAL (
     SELECT CASE WHEN greatest(g.day, g.week / 7) > 0 THEN greatest(u.free, 0) / greatest(g.day, g.week / 7) END AS days
   ) t
   ORDER BY u.project_id, u.pool_id
$$;
COMMENT ON FUNCTION nebula.pool_forecast(uuid) IS
  'High-water mark, growth over the last hour, day and week, and when each pool is full at the faster of the daily and the weekly rate; '
  'null when not growing or a century away. Reads the whole history of the pools. Errors: P0002 no such project';

CREATE FUNCTION nebula.notify_pool(project_id uuid, pool_id integer, name text, threshold integer) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT pg_notify('nebula_pool', json_build_object('project', project_id, 'pool', pool_id, 'name', name, 'threshold', threshold)::text)
$$;
COMMENT ON FUNCTION nebula.notify_pool(uuid, integer, text, integer) IS
  'Tells listeners of channel nebula_pool that usage of a pool reached a threshold, in percent';

-- Run by the background worker when an allocation had to go up to a threshold, and by maintain_pools; by the allocation
-- itself only where there is no worker.
CREATE FUNCTION nebula.raise_alarm(pool_id integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  pool    nebula.pool;
  room    record;
  usable  numeric;
  used    numeric;
  reached integer;
BEGIN
  -- One session counts and tells; the others have an address to give out.
  IF NOT pg_try_advisory_xact_lock(hashtext('nebula_pool'), raise_alarm.pool_id) THEN
    RETURN NULL;
  END IF;
  SELECT * INTO pool FROM nebula.pool p WHERE p.pool_id = raise_alarm.pool_id;
  SELECT * INTO room FROM nebula.assignable_range(pool.cidr);
  usable := room.count - (CASE WHEN pool.gateway BETWEEN room.first AND room.last THEN 1 ELSE 0 END)
    - (SELECT coalesce(sum(nebula.span(v.first_ip, v.last_ip)), 0) FROM nebula.reservation v WHERE v.pool_id = pool.pool_id AND NOT v.for_group);
  used := (SELECT count(*) FROM nebula.allocation a
            WHERE a.project_id = pool.project_id AND a.ip BETWEEN room.first AND room.last
              AND (a.quarantined_until IS NULL OR a.quarantined_until > clock_timestamp()));
  reached := coalesce((SELECT max(t.percent) FROM unnest(pool.thresholds) AS t(percent) WHERE usable * t.percent <= used * 100), 0);
  IF reached = pool.alarmed THEN
    RETURN false;
  END IF;
  -- Nobody waits here for an administrator who is changing the pool: whoever looks next sees what it has become.
  UPDATE nebula.pool p SET alarmed = reached
   WHERE p.alarmed = pool.alarmed
     AND p.pool_id = (SELECT q.pool_id FROM nebula.pool q WHERE q.pool_id = pool.pool_id FOR NO KEY UPDATE SKIP LOCKED);
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  PERFORM nebula.notify_pool(pool.project_id, pool.pool_id, pool.name, t.percent)
     FROM unnest(pool.thresholds) AS t(percent) WHERE t.percent > pool.alarmed AND t.percent <= reached
    GROUP BY t.percent ORDER BY t.percent;
  RETURN reached > pool.alarmed;
END $$;
COMMENT ON FUNCTION nebula.raise_alarm(integer) IS
  'Tells listeners of channel nebula_pool once of each threshold that usage has reached; true when there was one, null when another session '
  'is at it. Below it they will be told again';

CREATE FUNCTION nebula.set_thresholds(project_id uuid, pool text, thresholds integer[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  known nebula.pool := nebula.require_pool(set_thresholds.project_id, set_thresholds.pool);
BEGIN
  IF set_thresholds.thresholds IS NULL OR array_position(set_thresholds.thresholds, NULL) IS NOT NULL
     OR NOT (1 <= ALL (set_thresholds.thresholds) AND 100 >= ALL (set_thresholds.thresholds)) THEN
    RAISE EXCEPTION '% are no thresholds', set_thresholds.thresholds
      USING ERRCODE = '22023', HINT = 'Give whole percent from 1 to 100, for example {80,90,95}; {} for none.';
  END IF;
  UPDATE nebula.pool p SET thresholds = set_thresholds.thresholds, alarmed = 0 WHERE p.pool_id = known.pool_id;
  PERFORM nebula.record_event(known.project_id, session_user::text, 'set-thresholds', 'pool', known.pool_id::text, inet_client_addr(),
    jsonb_build_object('name', known.name, 'thresholds', set_thresholds.thresholds));
END $$;
COMMENT ON FUNCTION nebula.set_thresholds(uuid, text, integer[]) IS
  'Percent used at which listeners of channel nebula_pool are told. Errors: P0002 no such pool, 22023 not from 1 to 100';

CREATE FUNCTION nebula.maintain_pools() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT count(*) FROM nebula.reclaim_expired();
  -- Pools that fell below a threshold too, so that the next crossing is told.
  SELECT nebula.raise_alarm(p.pool_id) FROM nebula.pool p WHERE p.thresholds <> '{}' OR p.alarmed > 0;
$$;
COMMENT ON FUNCTION nebula.maintain_pools() IS
  'What the background worker does for pools: reclaims expired leases, counts every pool, tells of thresholds and arms alarms again. '
  'Any scheduler may call it instead';
