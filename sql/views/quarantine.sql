-- Released addresses that a valid certificate still names.
CREATE VIEW nebula.quarantine_status AS
SELECT p.name AS project, l.name AS pool, a.ip, d.name AS device, a.released_at, a.quarantined_until,
       a.device_id, a.project_id, a.pool_id
  FROM nebula.allocation a
  JOIN nebula.project p USING (project_id)
  LEFT JOIN nebula.pool l ON l.pool_id = a.pool_id
  LEFT JOIN nebula.device d ON d.device_id = a.device_id
 WHERE a.quarantined_until > clock_timestamp();

COMMENT ON VIEW nebula.quarantine_status IS
  'Released addresses that a valid certificate still names; end_quarantine ends it early';
COMMENT ON COLUMN nebula.quarantine_status.project IS 'Name of the project';
COMMENT ON COLUMN nebula.quarantine_status.pool IS 'Name of the pool';
COMMENT ON COLUMN nebula.quarantine_status.ip IS 'The address';
COMMENT ON COLUMN nebula.quarantine_status.device IS 'Name of the device that held it, if it is registered';
COMMENT ON COLUMN nebula.quarantine_status.released_at IS 'When it was released';
COMMENT ON COLUMN nebula.quarantine_status.quarantined_until IS
  'When the last certificate that names it ends';
COMMENT ON COLUMN nebula.quarantine_status.device_id IS 'Device that held it, and gets it again if it allocates';
COMMENT ON COLUMN nebula.quarantine_status.project_id IS 'The project';
COMMENT ON COLUMN nebula.quarantine_status.pool_id IS 'The pool';
