-- Progress of revocations: a row for each device with revoked certificates that have not expired.
CREATE VIEW nebula.revocation_status AS
SELECT p.name AS project, d.name AS device, r.revoked_at, r.version, m.members, m.acknowledged, m.missing,
       r.revoked_everywhere_at, r.until, r.fingerprints, d.device_id, d.project_id
  FROM (SELECT c.device_id, c.project_id, max(c.revoked_at) AS revoked_at,
               max(c.revoked_version) AS version,
               CASE
                 WHEN bool_and(c.revoked_everywhere_at IS NOT NULL) THEN max(c.revoked_everywhere_at)
               END AS revoked_everywhere_at,
               max(c.not_after) AS until,
               array_agg(encode(c.fingerprint, 'hex') ORDER BY c.fingerprint) AS fingerprints
          FROM nebula.certificate c
         WHERE c.revoked_at IS NOT NULL
           AND c.not_after > clock_timestamp()
         GROUP BY c.device_id, c.project_id) r
  JOIN nebula.device d USING (device_id, project_id)
  JOIN nebula.project p USING (project_id)
 CROSS JOIN LATERAL (SELECT count(*) AS members,
                            count(*) FILTER (WHERE a.acknowledged_version >= r.version) AS acknowledged,
                            coalesce(array_agg(o.name ORDER BY o.name) FILTER (
                                       WHERE (a.acknowledged_version >= r.version) IS NOT TRUE
                                     ),
                                     '{}') AS missing
                       FROM nebula.device o
                       LEFT JOIN nebula.agent a USING (device_id)
                      WHERE o.project_id = r.project_id
                        AND nebula.is_live(o.device_id)) m;

COMMENT ON VIEW nebula.revocation_status IS
  'Revoked devices and certificates: how many members run the blocklist that names them, and which do not '
  'yet';
COMMENT ON COLUMN nebula.revocation_status.project IS 'Name of the project';
COMMENT ON COLUMN nebula.revocation_status.device IS 'Name of the device';
COMMENT ON COLUMN nebula.revocation_status.revoked_at IS 'When its last certificate was revoked';
COMMENT ON COLUMN nebula.revocation_status.version IS
  'First configuration of the project whose blocklist names them all';
COMMENT ON COLUMN nebula.revocation_status.members IS 'Live members: not revoked, with a valid certificate';
COMMENT ON COLUMN nebula.revocation_status.acknowledged IS 'How many of them run that configuration';
COMMENT ON COLUMN nebula.revocation_status.missing IS
  'Names of the members that do not; one without an agent does not report it';
COMMENT ON COLUMN nebula.revocation_status.revoked_everywhere_at IS
  'When the last of them did; null: not yet';
COMMENT ON COLUMN nebula.revocation_status.until IS 'When the last revoked certificate expires, which ends the wait';
COMMENT ON COLUMN nebula.revocation_status.fingerprints IS 'Fingerprints of the revoked certificates';
COMMENT ON COLUMN nebula.revocation_status.device_id IS 'The device';
COMMENT ON COLUMN nebula.revocation_status.project_id IS 'The project';
