-- Certificates by expiry.
--   psql -f sql/admin/expiring.sql                 within 30 days
--   psql -v days=400 -f sql/admin/expiring.sql
\if :{?days}
\else
  \set days 30
\endif
\pset footer off
\pset null '-'

SELECT project, device, role, to_char(not_after, 'YYYY-MM-DD HH24:MI') AS "until", days, renewal,
       to_char(last_seen_at, 'YYYY-MM-DD HH24:MI') AS "last seen"
  FROM nebula.certificate_status
 WHERE days <= :days
 ORDER BY not_after, project, device;
