-- Authorities with their projects and expiry, and the devices that rotations wait for.
--   psql -f sql/admin/authorities.sql
\pset null '-'
SELECT name, curve, to_char(not_after, 'YYYY-MM-DD') AS until, days_left,
       array_to_string(projects, ', ') AS projects, warning
  FROM nebula.authority_status;
SELECT project, retiring, incoming, state, to_char(changed_at, 'YYYY-MM-DD HH24:MI') AS since,
       array_to_string(missing[:10], ', ') AS waits_for
  FROM nebula.rotation_status;
