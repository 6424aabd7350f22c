-- How full the pools are.
--   psql -f sql/admin/usage.sql                      all projects
--   psql -v project=home -f sql/admin/usage.sql      one project, by name
\if :{?project}
\else
  \set project ''
\endif
\pset footer off

SELECT project, pool, cidr,
       -- 20 marks: held, in quarantine, free.
       '[' || rpad(repeat('#', held) || repeat('~', least(waiting, 20 - held)), 20, '.') || ']' AS "usage",
       coalesce(percent_used || ' %', '-') AS used, allocated, quarantined AS quarantine, free,
       coalesce(to_char(exhausted_at_forecast, 'YYYY-MM-DD'), '-') AS "full by"
  FROM nebula.pool_status,
       LATERAL (
         SELECT coalesce(ceil(20 * allocated / nullif(size - reserved, 0)), 0)::integer AS held,
                coalesce(ceil(20 * quarantined / nullif(size - reserved, 0)), 0)::integer AS waiting
       ) AS bar
 WHERE :'project' IN ('', project)
 ORDER BY project, cidr;
\echo '# held   ~ quarantine   . free'
