-- The scrub compares the storage with the database. The tables of objects have the key of an object and no foreign
-- key: one of their rows is about an object that no row owns, and they say what was seen, which does not end with a
-- deletion.

-- When the bytes of an object were last read and compared with their digest.
CREATE TABLE nebula.object_check (
  storage_key  text        NOT NULL,
  checked_at   timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT object_check_pkey PRIMARY KEY (storage_key)
);
SELECT pg_catalog.pg_extension_config_dump('nebula.object_check', '');

COMMENT ON TABLE nebula.object_check IS 'When the scrub last read the bytes of stored objects';
COMMENT ON COLUMN nebula.object_check.storage_key IS 'The object';
COMMENT ON COLUMN nebula.object_check.checked_at IS 'When its bytes were last found to be those of its row';

CREATE TABLE nebula.storage_fault (
  storage_key  text        NOT NULL,
  fault        text        NOT NULL,
  content_id   uuid,
  size         bigint,
  found_at     timestamptz NOT NULL DEFAULT now(),
  seen_at      timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT storage_fault_pkey PRIMARY KEY (storage_key),
  CONSTRAINT storage_fault_fault_check CHECK (fault IN ('missing', 'untracked', 'changed')),
  CONSTRAINT storage_fault_key_check CHECK (octet_length(storage_key) <= 4096)
);
SELECT pg_catalog.pg_extension_config_dump('nebula.storage_fault', '');

COMMENT ON TABLE nebula.storage_fault IS 'Differences between database and storage, as the last scrub found them';
COMMENT ON COLUMN nebula.storage_fault.storage_key IS 'The object';
COMMENT ON COLUMN nebula.storage_fault.fault IS
  'missing: it has a row and no bytes; changed: its bytes are not those that were stored; untracked: it has no row';
COMMENT ON COLUMN nebula.storage_fault.content_id IS 'Content it belongs to, or null';
COMMENT ON COLUMN nebula.storage_fault.size IS 'Bytes it should have; of an untracked one, those that it has';
COMMENT ON COLUMN nebula.storage_fault.found_at IS 'When it was first found';
COMMENT ON COLUMN nebula.storage_fault.seen_at IS 'When it was last found';

-- One row, from the first scrub on. The health check reads it each time; among finished jobs it would be searched for,
-- and they are deleted after a while.
CREATE TABLE nebula.scrub_end (
  is_last      boolean     NOT NULL DEFAULT true,
  finished_at  timestamptz NOT NULL,
  CONSTRAINT scrub_end_pkey PRIMARY KEY (is_last),
  CONSTRAINT scrub_end_last_check CHECK (is_last)
);
SELECT pg_catalog.pg_extension_config_dump('nebula.scrub_end', '');

COMMENT ON TABLE nebula.scrub_end IS 'When the last scrub ended that saw all of the storage: one row at most';
COMMENT ON COLUMN nebula.scrub_end.is_last IS 'Always true, so that there is one row';
COMMENT ON COLUMN nebula.scrub_end.finished_at IS 'When it ended';
