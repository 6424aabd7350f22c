-- Present and past allocations in one list: the audit trail of addresses.
CREATE VIEW nebula.allocation_history AS
SELECT a.project_id, a.pool_id, a.ip, a.device_id, a.allocated_at, a.allocated_by,
       NULL::timestamptz AS released_at, NULL::text AS released_by, a.client AS allocated_from,
       NULL::inet AS released_from
  FROM nebula.allocation a
 WHERE a.released_at IS NULL
UNION ALL
SELECT l.project_id, l.pool_id, l.ip, l.device_id, l.allocated_at, l.allocated_by, l.released_at,
       l.released_by, l.allocated_from, l.released_from
  FROM nebula.allocation_log l;

COMMENT ON VIEW nebula.allocation_history IS
  'Allocations past and present: device, address, from when to when; present ones have no end';
COMMENT ON COLUMN nebula.allocation_history.project_id IS 'Project of the address';
COMMENT ON COLUMN nebula.allocation_history.pool_id IS 'Pool of the address';
COMMENT ON COLUMN nebula.allocation_history.ip IS 'The address';
COMMENT ON COLUMN nebula.allocation_history.device_id IS 'Device that held it';
COMMENT ON COLUMN nebula.allocation_history.allocated_at IS 'From when';
COMMENT ON COLUMN nebula.allocation_history.allocated_by IS 'User who asked for it, as named by the caller';
COMMENT ON COLUMN nebula.allocation_history.released_at IS 'To when; null: still held';
COMMENT ON COLUMN nebula.allocation_history.released_by IS 'User who released it, as named by the caller';
COMMENT ON COLUMN nebula.allocation_history.allocated_from IS
  'Client address that asked for it; null: over a local socket';
COMMENT ON COLUMN nebula.allocation_history.released_from IS
  'Client address that released it; null: over a local socket, or still held';

-- The same under the column names that existing clients expect.
CREATE VIEW nebula.nebula_ip_allocations AS
SELECT h.project_id, h.device_id, h.ip AS ip_address, h.allocated_at, h.allocated_by, h.released_at,
       h.released_by, h.released_at IS NULL AS is_active
  FROM nebula.allocation_history h;

COMMENT ON VIEW nebula.nebula_ip_allocations IS 'allocation_history under the names of existing clients';
COMMENT ON COLUMN nebula.nebula_ip_allocations.project_id IS 'Project of the address';
COMMENT ON COLUMN nebula.nebula_ip_allocations.device_id IS 'Device that held it';
COMMENT ON COLUMN nebula.nebula_ip_allocations.ip_address IS 'The address';
COMMENT ON COLUMN nebula.nebula_ip_allocations.allocated_at IS 'From when';
COMMENT ON COLUMN nebula.nebula_ip_allocations.allocated_by IS 'User who asked for it, as named by the caller';
COMMENT ON COLUMN nebula.nebula_ip_allocations.released_at IS 'To when; null: still held';
COMMENT ON COLUMN nebula.nebula_ip_allocations.released_by IS 'User who released it, as named by the caller';
COMMENT ON COLUMN nebula.nebula_ip_allocations.is_active IS 'Held now';
