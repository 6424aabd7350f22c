-- The queue: kinds of job, running jobs, the next jobs, schedules.
--   psql -f sql/admin/jobs.sql
--   psql -v kind=transcode -f sql/admin/jobs.sql     one kind
\if :{?kind}
\else
  \set kind ''
\endif
\pset footer off
\pset null '-'

SELECT kind, blocked, scheduled, available,
       date_trunc('second', clock_timestamp() - oldest_available) AS "oldest waits",
       running || coalesce('/' || max_running, '') AS running, per_minute AS "per minute",
       failure_percent AS "failed %", date_trunc('milliseconds', mean_wait) AS "mean wait",
       date_trunc('milliseconds', mean_work) AS "mean work",
       to_char(paused_at, 'YYYY-MM-DD HH24:MI') AS "paused since"
  FROM nebula.job_kind
 WHERE :'kind' IN ('', kind)
 ORDER BY kind;

SELECT job_id, kind, worker, attempt || '/' || max_attempts AS attempt,
       '[' || rpad(repeat('#', round(20 * coalesce(progress, 0))::integer), 20, '.') || ']' AS progress,
       date_trunc('second', clock_timestamp() - started_at) AS "for",
       date_trunc('second', lease_until - clock_timestamp()) AS lease,
       CASE WHEN cancel_requested THEN 'cancelling' END AS note
  FROM nebula.job_status
 WHERE state = 'running'
   AND :'kind' IN ('', kind)
 ORDER BY started_at;

SELECT job_id, kind, priority, state, to_char(run_at, 'YYYY-MM-DD HH24:MI:SS') AS "not before",
       attempt || '/' || max_attempts AS attempt, errors -> -1 ->> 'error' AS "last error"
  FROM nebula.job_status
 WHERE state IN ('available', 'blocked')
   AND :'kind' IN ('', kind)
 ORDER BY state, priority DESC, run_at
 LIMIT 20;

SELECT name, kind, cron, time_zone AS "time zone", to_char(next_at, 'YYYY-MM-DD HH24:MI') AS next,
       to_char(last_at, 'YYYY-MM-DD HH24:MI') AS last
  FROM nebula.job_schedule
 WHERE :'kind' IN ('', kind)
 ORDER BY next_at;
