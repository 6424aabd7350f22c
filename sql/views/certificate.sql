-- The certificate of each live device that is valid longest.
CREATE VIEW nebula.certificate_status AS
SELECT p.name AS project, d.name AS device, d.role, c.versions, c.not_after,
       round((extract(epoch FROM c.not_after - now()) / 86400)::numeric, 1) AS days,
       CASE
         WHEN a.device_id IS NULL THEN 'by hand'
         WHEN c.not_after - now() > (c.not_after - c.issued_at) / 3 THEN 'by its agent'
         WHEN d.last_seen_at > now() - interval '1 hour' THEN 'due'
         ELSE 'overdue'
       END AS renewal,
       d.last_seen_at, c.fingerprints, d.device_id, d.project_id
  FROM nebula.device d
  JOIN nebula.project p USING (project_id)
  LEFT JOIN nebula.agent a ON a.device_id = d.device_id
  JOIN LATERAL (SELECT k.not_after, max(k.issued_at) AS issued_at,
                       array_agg(k.version ORDER BY k.version) AS versions,
                       array_agg(encode(k.fingerprint, 'hex') ORDER BY k.version) AS fingerprints
                  FROM nebula.certificate k
                 WHERE k.device_id = d.device_id
                   AND k.revoked_at IS NULL
                   AND k.not_after > clock_timestamp()
                 GROUP BY k.not_after, k.public_key
                 ORDER BY k.not_after DESC
                 LIMIT 1) c ON true
 WHERE d.revoked_at IS NULL;

COMMENT ON VIEW nebula.certificate_status IS
  'The longest valid certificate of each live device, and how it is renewed';
COMMENT ON COLUMN nebula.certificate_status.project IS 'Name of the project';
COMMENT ON COLUMN nebula.certificate_status.device IS 'Name of the device';
COMMENT ON COLUMN nebula.certificate_status.role IS 'host, lighthouse or relay';
COMMENT ON COLUMN nebula.certificate_status.versions IS 'Encodings it has it in';
COMMENT ON COLUMN nebula.certificate_status.not_after IS 'Valid until';
COMMENT ON COLUMN nebula.certificate_status.days IS 'Days until then';
COMMENT ON COLUMN nebula.certificate_status.renewal IS
  'by its agent; due: in the last third of its life, and the agent called within the last hour; overdue: '
  'the same, and it did not; by hand: it has no agent';
COMMENT ON COLUMN nebula.certificate_status.last_seen_at IS 'Last sign of life';
COMMENT ON COLUMN nebula.certificate_status.fingerprints IS 'Fingerprints, in the order of the versions';
COMMENT ON COLUMN nebula.certificate_status.device_id IS 'The device';
COMMENT ON COLUMN nebula.certificate_status.project_id IS 'The project';
