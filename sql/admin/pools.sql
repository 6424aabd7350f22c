-- Pools and reservations, and the statements that change them.
--   psql -f sql/admin/pools.sql
\pset footer off
\pset null '-'

SELECT project, pool, cidr, CASE WHEN enabled THEN 'yes' ELSE 'no' END AS "gives out", allocated,
       quarantined, free, project_id
  FROM nebula.pool_status
 ORDER BY project, pool;
SELECT project, pool, label, kind, first, last, held || ' of ' || size AS held, reason
  FROM nebula.reservation_status
 ORDER BY project, first;

\echo 'SELECT nebula.populate_pool(PROJECT, CIDR, NAME);          SELECT nebula.drop_pool(PROJECT, NAME);'
\echo 'SELECT nebula.extend_pool(PROJECT, NAME, CIDR);            SELECT nebula.shrink_pool(PROJECT, NAME, CIDR);'
\echo 'SELECT nebula.disable_pool(PROJECT, NAME);                 SELECT nebula.enable_pool(PROJECT, NAME);'
\echo 'SELECT nebula.exclude_addresses(PROJECT, LABEL, FIRST, LAST, REASON);'
\echo 'SELECT * FROM nebula.reserve_range(PROJECT, LABEL, COUNT); SELECT nebula.drop_reservation(PROJECT, LABEL);'
