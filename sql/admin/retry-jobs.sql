-- Retries dead jobs, all or of one kind, and lists them.
--   psql -f sql/admin/retry-jobs.sql
--   psql -v kind=transcode -f sql/admin/retry-jobs.sql     one kind
\if :{?kind}
\else
  \set kind ''
\endif
\pset footer off

SELECT j.job_id, j.kind, j.last_error AS "had died of"
  FROM (SELECT job_id, kind, errors -> -1 ->> 'error' AS last_error
          FROM nebula.job_status
         WHERE state = 'dead'
           AND :'kind' IN ('', kind)
         ORDER BY job_id) j
 CROSS JOIN LATERAL (SELECT nebula.retry_job(j.job_id)) AS brought_back;
