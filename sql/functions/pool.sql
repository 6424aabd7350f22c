-- Pools: how full they are.

CREATE FUNCTION nebula.pool_usage(project_id uuid DEFAULT NULL)
RETURNS TABLE (
  pool_id integer, project_id uuid, name text, cidr cidr, size numeric, reserved numeric, allocated numeric,
  quarantined numeric, free numeric, exhausted_at_forecast timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.require_project(pool_usage.project_id) WHERE pool_usage.project_id IS NOT NULL;
  SELECT p.pool_id, p.project_id, p.name, p.cidr, s.size, s.size - s.usable, h.allocated::numeric,
         h.quarantined::numeric, s.usable - h.allocated - h.quarantined,
         -- The growth of the last day, drawn on; nothing beyond what anybody plans for.
         CASE WHEN g.growth > 0 AND (s.usable - h.allocated - h.quarantined) / g.growth < 36525
              THEN now() + (greatest(s.usable - h.allocated - h.quarantined, 0) / g.growth)::double precision * interval '1 day'
         END
    FROM nebula.pool p
   CROSS JOIN LATERAL nebula.assignable_range(p.cidr) r
   CROSS JOIN LATERAL (
     SELECT trunc(2::numeric ^ (CASE family(p.cidr) WHEN 4 THEN 32 ELSE 128 END - masklen(p.cidr))) AS size,
            r.count - (CASE WHEN p.gateway BETWEEN r.first AND r.last THEN 1 ELSE 0 END) AS usable
   ) s
   -- Along the primary key: pools of a project do not overlap, so the range stands for the pool.
   CROSS JOIN LATERAL (
     SELECT count(*) FILTER (WHERE a.released_at IS NULL) AS allocated,
            count(*) FILTER (WHERE a.quarantined_until > clock_timestamp()) AS quarantined,
            count(*) FILTER (WHERE a.released_at IS NULL AND a.allocated_at > now() - interval '1 day') AS new
       FROM nebula.allocation a
      WHERE a.project_id = p.project_id AND a.ip BETWEEN r.first AND r.last
   ) h
   CROSS JOIN LATERAL (
     SELECT h.new - count(*) AS growth
       FROM nebula.allocation_log l
      WHERE l.released_at > now() - interval '1 day' AND l.pool_id = p.pool_id
        AND l.allocated_at <= now() - interval '1 day'
   ) g
   WHERE pool_usage.project_id IS NULL OR p.project_id = pool_usage.project_id
   ORDER BY p.project_id, p.pool_id
$$;
COMMENT ON FUNCTION nebula.pool_usage(uuid) IS
  'Fill of the pools of a project, or of all: free + reserved + allocated + quarantined = size. '
  'exhausted_at_forecast draws on the growth of the last day; null when not growing or a century away. Errors: P0002 no such project';
