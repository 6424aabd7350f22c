-- Pools with their usage.
CREATE VIEW nebula.pool_status AS
SELECT p.name AS project, u.name AS pool, u.cidr, u.size, u.reserved, u.allocated, u.quarantined, u.free,
       round(100 * (u.allocated + u.quarantined) / nullif(u.size - u.reserved, 0), 1) AS percent_used,
       u.exhausted_at_forecast, l.enabled, u.project_id, u.pool_id
  FROM nebula.pool_usage() u
  JOIN nebula.project p USING (project_id)
  JOIN nebula.pool l ON l.pool_id = u.pool_id;

COMMENT ON VIEW nebula.pool_status IS 'Fill of every pool';
COMMENT ON COLUMN nebula.pool_status.project IS 'Name of the project';
COMMENT ON COLUMN nebula.pool_status.pool IS 'Name of the pool';
COMMENT ON COLUMN nebula.pool_status.cidr IS 'Its range';
COMMENT ON COLUMN nebula.pool_status.size IS 'Addresses in the range';
COMMENT ON COLUMN nebula.pool_status.reserved IS 'Never given out: network, broadcast, gateway, exclusions';
COMMENT ON COLUMN nebula.pool_status.allocated IS 'Held now';
COMMENT ON COLUMN nebula.pool_status.quarantined IS
  'Released, but a valid certificate still names the device';
COMMENT ON COLUMN nebula.pool_status.free IS 'Can be given out now';
COMMENT ON COLUMN nebula.pool_status.percent_used IS 'Allocated and quarantined, of what can be given out';
COMMENT ON COLUMN nebula.pool_status.exhausted_at_forecast IS
  'When it is full at the growth of the last day; null: not in sight';
COMMENT ON COLUMN nebula.pool_status.enabled IS 'False: gives out nothing';
COMMENT ON COLUMN nebula.pool_status.project_id IS 'The project';
COMMENT ON COLUMN nebula.pool_status.pool_id IS 'The pool';

-- Existing clients expect one row per address. Pools larger than a /8 show held addresses only.
-- Such clients look for a few free addresses with LIMIT, so rows are made only as they are fetched: those of the gaps
-- between held addresses, from the highest down, because the lowest are given out first. The window function reads the
-- primary key backwards and does not sort; what is excluded is cut out of each gap.
CREATE VIEW nebula.nebula_ip_pool AS
SELECT p.project_id, p.name AS pool, i.ip AS ip_address, i.is_allocated, i.device_id, i.allocated_at, i.allocated_by
  FROM nebula.pool p
 CROSS JOIN LATERAL nebula.assignable_range(p.cidr) r
 CROSS JOIN LATERAL (
                SELECT a.ip, true AS is_allocated, a.device_id, a.allocated_at, a.allocated_by
                  FROM nebula.allocation a
                 WHERE a.project_id = p.project_id
                   AND a.ip BETWEEN r.first AND r.last
                   AND (a.released_at IS NULL OR a.quarantined_until > clock_timestamp() AND r.count <= 16777216)
                   AND NOT EXISTS (SELECT
                                     FROM nebula.reservation v
                                    WHERE v.pool_id = p.pool_id
                                      AND NOT v.for_group
                                      AND a.ip BETWEEN v.first_ip AND v.last_ip)
                UNION ALL
                SELECT f.low + generate_series(0, f.high - f.low), false, NULL, NULL, NULL
                  FROM (SELECT CASE WHEN a.ip < r.last THEN a.ip + 1 END,
                               coalesce(lag(a.ip) OVER (ORDER BY a.ip DESC) - 1, r.last)
                          FROM nebula.allocation a
                         WHERE a.project_id = p.project_id
                           AND a.ip BETWEEN r.first AND r.last
                           AND (a.quarantined_until IS NULL OR a.quarantined_until > clock_timestamp())
                        UNION ALL
                        SELECT r.first, coalesce((SELECT min(a.ip) - 1
                                                    FROM nebula.allocation a
                                                   WHERE a.project_id = p.project_id
                                                     AND a.ip BETWEEN r.first AND r.last
                                                     AND (a.quarantined_until IS NULL
                                                          OR a.quarantined_until > clock_timestamp())),
                                                 r.last)) AS g(low, high)
                 CROSS JOIN LATERAL (
                        SELECT CASE WHEN v.last_ip < g.high THEN greatest(v.last_ip + 1, g.low) END,
                               coalesce(lag(v.first_ip) OVER (ORDER BY v.first_ip DESC) - 1, g.high)
                          FROM nebula.reservation v
                         WHERE v.pool_id = p.pool_id
                           AND NOT v.for_group
                           AND v.first_ip <= g.high
                           AND v.last_ip >= g.low
                        UNION ALL
                        SELECT g.low, coalesce((SELECT min(v.first_ip) - 1
                                                  FROM nebula.reservation v
                                                 WHERE v.pool_id = p.pool_id
                                                   AND NOT v.for_group
                                                   AND v.first_ip <= g.high
                                                   AND v.last_ip >= g.low),
                                               g.high)) AS f(low, high)
                 WHERE r.count <= 16777216
                   AND g.low <= g.high) i
 WHERE p.gateway IS DISTINCT FROM i.ip;

COMMENT ON VIEW nebula.nebula_ip_pool IS
  'One row per address, made on the fly, for clients that expect such a table';
COMMENT ON COLUMN nebula.nebula_ip_pool.project_id IS 'Project of the address';
COMMENT ON COLUMN nebula.nebula_ip_pool.pool IS 'Name of its pool';
COMMENT ON COLUMN nebula.nebula_ip_pool.ip_address IS 'The address';
COMMENT ON COLUMN nebula.nebula_ip_pool.is_allocated IS 'Held or in quarantine';
COMMENT ON COLUMN nebula.nebula_ip_pool.device_id IS 'Device that holds it, or held it last while in quarantine';
COMMENT ON COLUMN nebula.nebula_ip_pool.allocated_at IS 'Since when';
COMMENT ON COLUMN nebula.nebula_ip_pool.allocated_by IS 'User who asked for it, as named by the caller';
