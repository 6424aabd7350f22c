-- Enrolment codes and their state.
CREATE VIEW nebula.enrolment_status AS
SELECT p.name AS project, coalesce(e.name, d.name) AS name, e.role, e.groups, e.address, e.uses, e.uses_max,
       CASE
         WHEN e.revoked_at IS NOT NULL THEN 'revoked'
         WHEN e.uses >= e.uses_max THEN 'used'
         WHEN e.expires_at <= clock_timestamp() THEN 'expired'
         ELSE 'open'
       END AS state,
       e.created_by, e.created_at, e.expires_at, e.enrolment_id, e.project_id, e.device_id
  FROM nebula.enrolment e
  JOIN nebula.project p USING (project_id)
  LEFT JOIN nebula.device d ON d.device_id = e.device_id;

COMMENT ON VIEW nebula.enrolment_status IS 'Enrolment codes, without the codes';
COMMENT ON COLUMN nebula.enrolment_status.project IS 'Name of the project';
COMMENT ON COLUMN nebula.enrolment_status.name IS 'Name the device gets; null: its own choice';
COMMENT ON COLUMN nebula.enrolment_status.role IS 'host, lighthouse or relay';
COMMENT ON COLUMN nebula.enrolment_status.groups IS 'Groups in the certificate';
COMMENT ON COLUMN nebula.enrolment_status.address IS 'Fixed overlay address; null: the lowest free one';
COMMENT ON COLUMN nebula.enrolment_status.uses IS 'How many devices have used it';
COMMENT ON COLUMN nebula.enrolment_status.uses_max IS 'Number of devices that may use it';
COMMENT ON COLUMN nebula.enrolment_status.state IS 'open, used, expired or revoked';
COMMENT ON COLUMN nebula.enrolment_status.created_by IS 'User who made it';
COMMENT ON COLUMN nebula.enrolment_status.created_at IS 'When';
COMMENT ON COLUMN nebula.enrolment_status.expires_at IS 'When it expires';
COMMENT ON COLUMN nebula.enrolment_status.enrolment_id IS 'Identifier, to revoke it';
COMMENT ON COLUMN nebula.enrolment_status.project_id IS 'The project';
COMMENT ON COLUMN nebula.enrolment_status.device_id IS
  'Device that gets an agent by it; null: it makes a device';
