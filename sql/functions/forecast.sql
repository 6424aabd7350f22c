-- Usage of pools: forecasts, and notifications when usage reaches a threshold.

-- Computed from the allocations and their log at each call. There are no counters, so nothing can drift.
CREATE FUNCTION nebula.pool_forecast(project_id uuid DEFAULT NULL)
RETURNS TABLE (
  pool_id integer,
  project_id uuid,
  name text,
  used numeric,
  usable numeric,
  percent_used numeric,
  high_water bigint,
  high_water_at timestamptz,
  per_hour numeric,
  per_day numeric,
  per_week numeric,
  exhausted_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp
SET jit = off AS $$
  SELECT u.pool_id, u.project_id, u.name, s.used, s.usable, round(100 * s.used / nullif(s.usable, 0), 1),
         coalesce(w.held, 0), w.at, g.hour, g.day, g.week,
         CASE WHEN t.days < 36525 THEN now() + t.days::double precision * interval '1 day' END
    FROM nebula.pool_usage(pool_forecast.project_id) u
   CROSS JOIN LATERAL (SELECT u.allocated + u.quarantined AS used, u.size - u.reserved AS usable) s
    -- High-water mark: a running total over all starts (+1) and ends (-1) in order of time.
    LEFT JOIN LATERAL (SELECT r.held, r.at
                         FROM (SELECT e.at,
                                      sum(e.step) OVER (ORDER BY e.at, e.step DESC ROWS UNBOUNDED PRECEDING) AS held
                                 FROM (SELECT a.allocated_at AS at, 1 AS step
                                         FROM nebula.allocation a
                                        WHERE a.pool_id = u.pool_id
                                          AND a.project_id = u.project_id
                                          AND a.released_at IS NULL
                                       UNION ALL
                                       SELECT l.allocated_at, 1
                                         FROM nebula.allocation_log l
                                        WHERE l.pool_id = u.pool_id
                                       UNION ALL
                                       SELECT l.released_at, -1
                                         FROM nebula.allocation_log l
                                        WHERE l.pool_id = u.pool_id) e) r
                        ORDER BY r.held DESC, r.at
                        LIMIT 1) w ON true
   -- Growth over the last hour, day and week: allocations of that time still held, minus older ones released since.
   CROSS JOIN LATERAL (SELECT c.hour - d.hour AS hour, c.day - d.day AS day, c.week - d.week AS week
                         FROM (SELECT count(*) FILTER (
                                        WHERE a.allocated_at > now() - interval '1 hour'
                                      )::numeric AS hour,
                                      count(*) FILTER (
                                        WHERE a.allocated_at > now() - interval '1 day'
                                      )::numeric AS day,
                                      count(*) FILTER (
                                        WHERE a.allocated_at > now() - interval '7 days'
                                      )::numeric AS week
                                 FROM nebula.allocation a
                                WHERE a.pool_id = u.pool_id
                                  AND a.project_id = u.project_id
                                  AND a.released_at IS NULL) c,
                              (SELECT count(*) FILTER (
                                        WHERE l.released_at > now() - interval '1 hour'
                                        AND l.allocated_at <= now() - interval '1 hour'
                                      )::numeric AS hour,
                                      count(*) FILTER (
                                        WHERE l.released_at > now() - interval '1 day'
                                        AND l.allocated_at <= now() - interval '1 day'
                                      )::numeric AS day,
                                      count(*) FILTER (
                                        WHERE l.allocated_at <= now() - interval '7 days'
                                      )::numeric AS week
                                 FROM nebula.allocation_log l
                                WHERE l.pool_id = u.pool_id
                                  AND l.released_at > now() - interval '7 days') d) g
   -- The higher of the daily and the weekly rate, so that a quiet Sunday does not hide a busy week.
   CROSS JOIN LATERAL (SELECT CASE
                                WHEN greatest(g.day, g.week / 7) > 0
                                THEN greatest(u.free, 0) / greatest(g.day, g.week / 7)
                              END AS days) t
   ORDER BY u.project_id, u.pool_id
$$;
COMMENT ON FUNCTION nebula.pool_forecast(uuid) IS
  'High-water mark, growth over the last hour, day and week, and when each pool will be full at the higher '
  'of the daily and the weekly rate; null if not growing or more than a century away. Reads the whole '
  'history of the pools. Errors: P0002 no such project';

CREATE FUNCTION nebula.notify_pool(
  p_project_id uuid, p_pool_id integer, p_name text, p_threshold integer
) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT pg_notify('nebula_pool',
                   json_build_object(
                     'project', p_project_id, 'pool', p_pool_id, 'name', p_name,
                     'threshold', p_threshold
                   )::text)
$$;
COMMENT ON FUNCTION nebula.notify_pool(uuid, integer, text, integer) IS
  'Internal: notifies channel nebula_pool that usage of a pool reached a threshold, in percent';

-- Called by the background worker after an allocation beyond a threshold, and by maintain_pools; without a background
-- worker, by the allocation itself.
CREATE FUNCTION nebula.notify_usage(p_pool_id integer) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp
SET jit = off AS $$
DECLARE
  v_pool    nebula.pool;
  v_room    record;
  v_usable  numeric;
  v_used    numeric;
  v_reached integer;
BEGIN
  -- One session at a time counts; an allocation does not wait for it.
  IF NOT nebula.try_lock('pool usage', p_pool_id) THEN
    RETURN NULL;
  END IF;
  SELECT *
    INTO v_pool
    FROM nebula.pool p
   WHERE p.pool_id = p_pool_id;
  SELECT *
    INTO v_room
    FROM nebula.assignable_range(v_pool.cidr);
  v_usable := v_room.count
              - (CASE WHEN v_pool.gateway BETWEEN v_room.first AND v_room.last THEN 1 ELSE 0 END)
              - (SELECT coalesce(sum(nebula.span(v.first_ip, v.last_ip)), 0)
                   FROM nebula.reservation v
                  WHERE v.pool_id = v_pool.pool_id
                    AND NOT v.for_group);
  v_used := (SELECT count(*)
               FROM nebula.allocation a
              WHERE a.project_id = v_pool.project_id
                AND a.ip BETWEEN v_room.first AND v_room.last
                AND (a.quarantined_until IS NULL OR a.quarantined_until > clock_timestamp()));
  v_reached := coalesce((SELECT max(t.percent)
                           FROM unnest(v_pool.thresholds) AS t(percent)
                          WHERE v_usable * t.percent <= v_used * 100),
                        0);
  IF v_reached = v_pool.alarmed THEN
    RETURN false;
  END IF;
  -- SKIP LOCKED: do not wait for an administrator who is changing the pool; the next call sees the result.
  UPDATE nebula.pool p
     SET alarmed = v_reached
   WHERE p.alarmed = v_pool.alarmed
     AND p.pool_id = (SELECT q.pool_id
                        FROM nebula.pool q
                       WHERE q.pool_id = v_pool.pool_id
                         FOR NO KEY UPDATE SKIP LOCKED);
  IF NOT FOUND THEN
    RETURN NULL;
  END IF;
  PERFORM nebula.notify_pool(v_pool.project_id, v_pool.pool_id, v_pool.name, t.percent)
    FROM unnest(v_pool.thresholds) AS t(percent)
   WHERE t.percent > v_pool.alarmed
     AND t.percent <= v_reached
   GROUP BY t.percent
   ORDER BY t.percent;
  RETURN v_reached > v_pool.alarmed;
END $$;
COMMENT ON FUNCTION nebula.notify_usage(integer) IS
  'Internal: counts a pool and notifies channel nebula_pool once of each threshold that usage has reached. '
  'True: notified; null: another session is counting. A threshold is notified again after usage has fallen '
  'below it';

CREATE FUNCTION nebula.set_thresholds(project_id uuid, pool text, thresholds integer[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_project_id CONSTANT uuid := project_id;
  v_pool       CONSTANT text := pool;
  v_thresholds CONSTANT integer[] := thresholds;
  v_known      nebula.pool := nebula.require_pool(v_project_id, v_pool);
BEGIN
  IF v_thresholds IS NULL
     OR array_ndims(v_thresholds) > 1
     OR cardinality(v_thresholds) > 100
     OR EXISTS (SELECT FROM unnest(v_thresholds) t WHERE t IS NULL OR t NOT BETWEEN 1 AND 100)
  THEN
    RAISE EXCEPTION '% is not a valid list of thresholds', left(v_thresholds::text, 80)
      USING ERRCODE = '22023',
        HINT = 'Give whole percent from 1 to 100, for example {80,90,95}; {} for none.';
  END IF;
  UPDATE nebula.pool p
     SET thresholds = v_thresholds,
         alarmed = 0
   WHERE p.pool_id = v_known.pool_id;
  PERFORM nebula.record_event(v_known.project_id, session_user::text, 'set-thresholds', 'pool',
                              v_known.pool_id::text, inet_client_addr(),
                              jsonb_build_object('name', v_known.name, 'thresholds', v_thresholds));
END $$;
COMMENT ON FUNCTION nebula.set_thresholds(uuid, text, integer[]) IS
  'Sets the usage in percent at which channel nebula_pool is notified. Errors: P0002 no such pool, 22023 '
  'not from 1 to 100';

CREATE FUNCTION nebula.maintain_pools() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT count(*) FROM nebula.reclaim_expired();
  -- Also pools that fell below a threshold, so that reaching it again is notified again.
  SELECT nebula.notify_usage(p.pool_id)
    FROM nebula.pool p
   WHERE p.thresholds <> '{}' OR p.alarmed > 0;
$$;
COMMENT ON FUNCTION nebula.maintain_pools() IS
  'Work of the background worker for pools: reclaims expired leases and sends notifications of thresholds. '
  'Any scheduler may call it instead';
