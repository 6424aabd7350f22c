-- One row per address that is held or in quarantine; a free address has no row.
-- The primary key guarantees that no address is given out twice; the search for a free address is only a hint.
-- No foreign keys: checking them would lock the same project and pool row in every allocation of every session.
CREATE TABLE nebula.allocation (
  project_id         uuid        NOT NULL,
  pool_id            integer     NOT NULL,
  ip                 inet        NOT NULL,
  device_id          uuid        NOT NULL,
  allocated_at       timestamptz NOT NULL DEFAULT now(),
  lease_until        timestamptz,
  released_at        timestamptz,
  quarantined_until  timestamptz,
  allocated_by       text,
  client             inet,
  CONSTRAINT allocation_pkey PRIMARY KEY (project_id, ip),
  CONSTRAINT allocation_quarantine_check CHECK ((released_at IS NULL) = (quarantined_until IS NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000);
-- A device holds one address of each family (NULLS NOT DISTINCT makes the two nulls of a held address equal).
-- Addresses it has released are distinguished by project and address. One index for both, because every allocation
-- reads and writes it.
CREATE UNIQUE INDEX allocation_device_key ON nebula.allocation (
  device_id, (family(ip)),
  (CASE WHEN released_at IS NOT NULL THEN project_id END), (CASE WHEN released_at IS NOT NULL THEN ip END)
) NULLS NOT DISTINCT;
-- Quarantined addresses, which their former device may have back. Few rows, so a batch sees in one scan that none
-- apply.
CREATE INDEX allocation_former_idx ON nebula.allocation (device_id) WHERE quarantined_until IS NOT NULL;
-- The next leases to expire; addresses without a lease are not indexed.
CREATE INDEX allocation_lease_idx ON nebula.allocation (lease_until) WHERE lease_until IS NOT NULL;
SELECT pg_catalog.pg_extension_config_dump('nebula.allocation', '');

COMMENT ON TABLE nebula.allocation IS 'Held and quarantined addresses, one row each';
COMMENT ON COLUMN nebula.allocation.project_id IS 'Project of the address';
COMMENT ON COLUMN nebula.allocation.pool_id IS 'Pool the address was taken from';
COMMENT ON COLUMN nebula.allocation.ip IS 'The address, as a host (/32 or /128)';
COMMENT ON COLUMN nebula.allocation.device_id IS 'Device that holds it, or held it last while in quarantine';
COMMENT ON COLUMN nebula.allocation.allocated_at IS 'Start of the transaction that allocated it';
COMMENT ON COLUMN nebula.allocation.lease_until IS 'Null: held until released';
COMMENT ON COLUMN nebula.allocation.released_at IS 'Set: released, waiting in quarantine';
COMMENT ON COLUMN nebula.allocation.quarantined_until IS
  'Not given to another device before this: an unexpired certificate still names it';
COMMENT ON COLUMN nebula.allocation.allocated_by IS 'User who asked for it, as named by the caller';
COMMENT ON COLUMN nebula.allocation.client IS 'From which client address; null: over a local socket';

-- Past allocations, written once at release and never changed: no primary key is needed.
CREATE TABLE nebula.allocation_log (
  project_id      uuid        NOT NULL,
  pool_id         integer     NOT NULL,
  ip              inet        NOT NULL,
  device_id       uuid        NOT NULL,
  allocated_at    timestamptz NOT NULL,
  allocated_by    text,
  released_at     timestamptz NOT NULL DEFAULT now(),
  released_by     text,
  allocated_from  inet,
  released_from   inet
);
-- "Which device had this address?", asked after an incident.
CREATE INDEX allocation_log_ip_idx ON nebula.allocation_log (project_id, ip, released_at);
-- "Which addresses had this device?", and whether a device without an address ever had one.
CREATE INDEX allocation_log_device_idx ON nebula.allocation_log (device_id, released_at);
-- Forecasts read the last day. Rows are written in order of time, so a BRIN index suffices.
CREATE INDEX allocation_log_time_idx ON nebula.allocation_log USING brin (released_at);
SELECT pg_catalog.pg_extension_config_dump('nebula.allocation_log', '');

COMMENT ON TABLE nebula.allocation_log IS 'Past allocations: device, address, from when to when';
COMMENT ON COLUMN nebula.allocation_log.project_id IS 'Project of the address';
COMMENT ON COLUMN nebula.allocation_log.pool_id IS 'Pool of the address';
COMMENT ON COLUMN nebula.allocation_log.ip IS 'The address';
COMMENT ON COLUMN nebula.allocation_log.device_id IS 'Device that held it';
COMMENT ON COLUMN nebula.allocation_log.allocated_at IS 'From when';
COMMENT ON COLUMN nebula.allocation_log.allocated_by IS 'User who asked for it, as named by the caller';
COMMENT ON COLUMN nebula.allocation_log.released_at IS 'To when';
COMMENT ON COLUMN nebula.allocation_log.released_by IS 'User who released it, as named by the caller';
COMMENT ON COLUMN nebula.allocation_log.allocated_from IS
  'Client address that asked for it; null: over a local socket';
COMMENT ON COLUMN nebula.allocation_log.released_from IS
  'Client address that released it; null: over a local socket';

-- The log stays complete even if a function or a service is faulty.
CREATE TRIGGER allocation_log_guard BEFORE UPDATE OR DELETE OR TRUNCATE ON nebula.allocation_log
  FOR EACH STATEMENT EXECUTE FUNCTION nebula.guard_log();
