-- The queue: counts by kind and state, then what is running and what is next.
--   psql -f sql/admin/jobs.sql
--   psql -v kind=transcode -f sql/admin/jobs.sql     one kind
\if :{?kind}
\else
  \set kind ''
\endif
\pset footer off
\pset null '-'

SELECT kind, count(*) FILTER (WHERE state = 'blocked') AS blocked, count(*) FILTER (WHERE state = 'available') AS available,
       count(*) FILTER (WHERE state = 'running') AS running, count(*) FILTER (WHERE state = 'succeeded') AS succeeded,
       count(*) FILTER (WHERE state = 'dead') AS dead, count(*) FILTER (WHERE state = 'cancelled') AS cancelled
  FROM nebula.job_status WHERE :'kind' IN ('', kind) GROUP BY kind ORDER BY kind;

SELECT job_id, kind, worker, attempt || '/' || max_attempts AS attempt,
       '[' || repeat('#', round(20 * coalesce(progress, 0))::integer) || repeat('.', 20 - round(20 * coalesce(progress, 0))::integer) || ']' AS progress,
       date_trunc('second', clock_timestamp() - started_at) AS "for", date_trunc('second', lease_until - clock_timestamp()) AS lease
  FROM nebula.job_status WHERE state = 'running' AND :'kind' IN ('', kind) ORDER BY started_at;

SELECT job_id, kind, priority, state, to_char(run_at, 'YYYY-MM-DD HH24:MI:SS') AS "not before", attempt || '/' || max_attempts AS attempt,
       errors -> -1 ->> 'error' AS "last error"
  FROM nebula.job_status WHERE state IN ('available', 'blocked') AND :'kind' IN ('', kind)
 ORDER BY state, priority DESC, run_at LIMIT 20;
