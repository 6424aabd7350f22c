-- Shuts a device out, and shows the progress of revocations.
--   psql -f sql/admin/revoke.sql                                      revocations in progress
--   psql -v project=home -v device=laptop -f sql/admin/revoke.sql     shuts the device out for good
--   psql -v fingerprint=9f86d0… -f sql/admin/revoke.sql               only a certificate; the device gets another
\pset footer off
\pset null '-'

\if :{?device}
SELECT d.name AS device, nebula.revoke_device(d.device_id) AS certificates
  FROM nebula.device d
  JOIN nebula.project p USING (project_id)
 WHERE p.name = :'project'
   AND :'device' IN (d.name, d.device_id::text);
\elif :{?fingerprint}
SELECT d.name AS device
  FROM nebula.revoke_certificate(:'fingerprint') AS r(device_id)
  JOIN nebula.device d USING (device_id);
\endif

SELECT project, device, to_char(revoked_at, 'YYYY-MM-DD HH24:MI') AS revoked,
       acknowledged || ' of ' || members AS "told",
       coalesce(to_char(revoked_everywhere_at, 'YYYY-MM-DD HH24:MI'), 'not yet') AS everywhere,
       to_char(until, 'YYYY-MM-DD HH24:MI') AS "expires",
       array_to_string(missing[:5], ', ')
       || CASE WHEN cardinality(missing) > 5 THEN ', …' ELSE '' END AS missing
  FROM nebula.revocation_status
 ORDER BY revoked_everywhere_at NULLS FIRST, revoked_at;
