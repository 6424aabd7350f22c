-- From 0.1.0 to 0.2.0: only what the install script of the new version, which docker/upgrade.sh puts behind this, cannot
-- do by being run again: tables that change, and what is gone or has another signature.

ALTER TABLE nebula.pool
  ADD COLUMN enabled     boolean     NOT NULL DEFAULT true,
  ADD COLUMN thresholds  integer[]   NOT NULL DEFAULT '{80,90,95}',
  ADD COLUMN alarmed     integer     NOT NULL DEFAULT 0,
  ADD CONSTRAINT pool_thresholds_check CHECK (1 <= ALL (thresholds) AND 100 >= ALL (thresholds));

ALTER TABLE nebula.allocation ADD COLUMN client inet;
DROP INDEX nebula.allocation_device_key;

-- Or the dropped sequence would stay among what pg_dump saves.
ALTER EXTENSION pg_nebula DROP SEQUENCE nebula.allocation_log_log_id_seq;
ALTER TABLE nebula.allocation_log
  ADD COLUMN allocated_from inet,
  ADD COLUMN released_from  inet,
  DROP COLUMN log_id;

ALTER TABLE nebula.device ADD COLUMN groups text[] NOT NULL DEFAULT '{}';

-- Whatever is called differently now; the install script makes it anew.
DROP VIEW nebula.pool_status;
DROP FUNCTION nebula.wait_for_address(uuid, inet, bigint, integer);
DROP FUNCTION nebula.allocate_ip(uuid, uuid, text, text, inet, interval);
DROP FUNCTION nebula.release_ip(uuid, text);

