-- Devices with their addresses and certificates.
CREATE VIEW nebula.device_status AS
SELECT p.name AS project, d.name, d.role, a.ips, o.username AS owner, d.curve,
       c.not_after AS certificate_not_after, d.registered_at, d.last_seen_at, d.revoked_at, d.device_id,
       d.project_id
  FROM nebula.device d
  JOIN nebula.project p USING (project_id)
  LEFT JOIN nebula.account o ON o.account_id = d.owner_id
  LEFT JOIN LATERAL (SELECT array_agg(h.ip ORDER BY family(h.ip)) AS ips
                       FROM nebula.allocation h
                      WHERE h.device_id = d.device_id
                        AND h.released_at IS NULL) a ON true
  LEFT JOIN LATERAL (SELECT max(k.not_after) AS not_after
                       FROM nebula.certificate k
                      WHERE k.device_id = d.device_id
                        AND k.revoked_at IS NULL) c ON true;

COMMENT ON VIEW nebula.device_status IS 'Devices with their addresses and certificates';
COMMENT ON COLUMN nebula.device_status.project IS 'Name of the project';
COMMENT ON COLUMN nebula.device_status.name IS 'Name of the device';
COMMENT ON COLUMN nebula.device_status.role IS 'host, lighthouse or relay';
COMMENT ON COLUMN nebula.device_status.ips IS 'Addresses it holds; null: none';
COMMENT ON COLUMN nebula.device_status.owner IS 'Account that registered it';
COMMENT ON COLUMN nebula.device_status.curve IS '25519 or P256';
COMMENT ON COLUMN nebula.device_status.certificate_not_after IS 'Until when its longest certificate is valid';
COMMENT ON COLUMN nebula.device_status.registered_at IS 'First registration';
COMMENT ON COLUMN nebula.device_status.last_seen_at IS 'Last sign of life';
COMMENT ON COLUMN nebula.device_status.revoked_at IS 'When it was revoked';
COMMENT ON COLUMN nebula.device_status.device_id IS 'The device';
COMMENT ON COLUMN nebula.device_status.project_id IS 'The project';
