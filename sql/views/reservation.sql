-- Reservations, and how much of each is in use.
CREATE VIEW nebula.reservation_status AS
SELECT p.name AS project, l.name AS pool, v.label,
       CASE WHEN v.for_group THEN 'group' ELSE 'excluded' END AS kind, v.first_ip AS first,
       v.last_ip AS last, nebula.span(v.first_ip, v.last_ip) AS size, h.held, v.reason, v.created_at,
       v.created_by, v.project_id, v.pool_id
  FROM nebula.reservation v
  JOIN nebula.project p USING (project_id)
  JOIN nebula.pool l ON l.pool_id = v.pool_id
 CROSS JOIN LATERAL (SELECT count(*) AS held
                       FROM nebula.allocation a
                      WHERE a.project_id = v.project_id
                        AND a.ip BETWEEN v.first_ip AND v.last_ip
                        AND (a.quarantined_until IS NULL OR a.quarantined_until > clock_timestamp())) h;

COMMENT ON VIEW nebula.reservation_status IS 'Exclusions and ranges of groups, and how full they are';
COMMENT ON COLUMN nebula.reservation_status.project IS 'Name of the project';
COMMENT ON COLUMN nebula.reservation_status.pool IS 'Name of the pool';
COMMENT ON COLUMN nebula.reservation_status.label IS 'Name of the reservation, or of its group';
COMMENT ON COLUMN nebula.reservation_status.kind IS
  'group: its devices take from it first; excluded: never given out';
COMMENT ON COLUMN nebula.reservation_status.first IS 'First address';
COMMENT ON COLUMN nebula.reservation_status.last IS 'Last address';
COMMENT ON COLUMN nebula.reservation_status.size IS 'Addresses in it';
COMMENT ON COLUMN nebula.reservation_status.held IS 'Of these, held or in quarantine';
COMMENT ON COLUMN nebula.reservation_status.reason IS 'Why it was made';
COMMENT ON COLUMN nebula.reservation_status.created_at IS 'When it was made';
COMMENT ON COLUMN nebula.reservation_status.created_by IS 'Database role that made it';
COMMENT ON COLUMN nebula.reservation_status.project_id IS 'The project';
COMMENT ON COLUMN nebula.reservation_status.pool_id IS 'The pool';
