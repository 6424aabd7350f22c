-- The devices that hold and held an address.
--   psql -v ip=10.42.0.7 -f sql/admin/who.sql
\if :{?ip}
\else
  \echo 'Which address? psql -v ip=10.42.0.7 -f sql/admin/who.sql'
  \quit
\endif
\pset footer off
\pset null '-'

SELECT p.name AS project, h.ip, coalesce(d.name, h.device_id::text) AS device, o.username AS owner,
       to_char(h.allocated_at, 'YYYY-MM-DD HH24:MI') AS "from", h.allocated_by AS "by",
       coalesce(to_char(h.released_at, 'YYYY-MM-DD HH24:MI'), 'still held') AS "to",
       h.released_by AS "released by"
  FROM nebula.allocation_history h
  JOIN nebula.project p USING (project_id)
  LEFT JOIN nebula.device d USING (device_id)
  LEFT JOIN nebula.account o ON o.account_id = d.owner_id
 WHERE h.ip = :'ip'::inet
 ORDER BY p.name, h.released_at DESC NULLS FIRST;
