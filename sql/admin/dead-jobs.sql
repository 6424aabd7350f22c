-- Jobs that failed in all their attempts, newest first, with the last error.
--   psql -f sql/admin/dead-jobs.sql
--   psql -v job=42 -f sql/admin/dead-jobs.sql     every error of one job
\pset footer off
\pset null '-'

\if :{?job}
SELECT e ->> 'attempt' AS attempt, e ->> 'at' AS "at", e ->> 'worker' AS worker, e ->> 'error' AS error
  FROM nebula.job_status, jsonb_array_elements(errors) WITH ORDINALITY AS list(e, n)
 WHERE job_id = :job
 ORDER BY n;
\else
SELECT job_id, kind, p.name AS project, to_char(finished_at, 'YYYY-MM-DD HH24:MI') AS died,
       attempt AS attempts, errors -> -1 ->> 'error' AS "last error"
  FROM nebula.job_status j
  LEFT JOIN nebula.project p USING (project_id)
 WHERE state = 'dead'
 ORDER BY finished_at DESC
 LIMIT 50;
\endif
