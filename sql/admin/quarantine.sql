-- Addresses in quarantine; ends the quarantine of a device.
--   psql -f sql/admin/quarantine.sql
--   psql -v project=home -v device=laptop -v reason='disk was destroyed' -f sql/admin/quarantine.sql     ends it
\pset footer off
\pset null '-'

\if :{?reason}
SELECT ip AS freed FROM nebula.end_quarantine_of(:'project', :'device', :'reason') AS ip;
\endif

SELECT project, pool, ip, coalesce(device, device_id::text) AS device,
       to_char(released_at, 'YYYY-MM-DD HH24:MI') AS released,
       to_char(quarantined_until, 'YYYY-MM-DD HH24:MI') AS until
  FROM nebula.quarantine_status
 ORDER BY quarantined_until;
