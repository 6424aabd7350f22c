-- The last events, newest first; or the addresses of one device.
--   psql -f sql/admin/history.sql                        last 50 events
--   psql -v device=NAME_OR_ID -f sql/admin/history.sql   the addresses of a device
--   psql -v max=500 -f sql/admin/history.sql
\if :{?max}
\else
  \set max 50
\endif
\pset footer off
\pset null '-'

\if :{?device}
SELECT p.name AS project, coalesce(d.name, h.device_id::text) AS device, h.ip,
       to_char(h.allocated_at, 'YYYY-MM-DD HH24:MI') AS "from",
       coalesce(to_char(h.released_at, 'YYYY-MM-DD HH24:MI'), 'still held') AS "to", h.allocated_by AS "by",
       h.released_by AS "released by"
  FROM nebula.allocation_history h
  JOIN nebula.project p USING (project_id)
  LEFT JOIN nebula.device d USING (device_id)
 WHERE :'device' IN (d.name, h.device_id::text)
 ORDER BY h.allocated_at DESC
 LIMIT :max;
\else
SELECT to_char(at, 'YYYY-MM-DD HH24:MI:SS') AS "at", actor, action, subject, subject_id, project, client,
       nullif(detail, '{}') AS detail
  FROM nebula.event_log
 ORDER BY event_id DESC
 LIMIT :max;
\endif
