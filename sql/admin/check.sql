-- Compares allocations with pools, certificates, quarantine, linked tables and the map in shared memory. No rows: no
-- differences. "map-misses" is harmless: the map learns of a row inserted by hand when an allocation conflicts with it.
--   psql -f sql/admin/check.sql
--   psql -v repair=on -f sql/admin/check.sql     and repairs what needs no decision
\if :{?repair}
\else
  \set repair off
\endif
\pset null '-'

SELECT l.name AS pool, c.ip, coalesce(d.name, c.device_id::text) AS device, c.problem, c.detail, c.repaired
  FROM nebula.check_pool(repair => :'repair') c
  LEFT JOIN nebula.pool l USING (pool_id)
  LEFT JOIN nebula.device d ON d.device_id = c.device_id
 ORDER BY c.problem, c.ip;
