-- Parts of a pool that are not for every device: exclusions, and ranges for a group of devices.
CREATE TABLE nebula.reservation (
  project_id  uuid        NOT NULL,
  label       text        NOT NULL,
  pool_id     integer     NOT NULL REFERENCES nebula.pool ON DELETE CASCADE,
  first_ip    inet        NOT NULL,
  last_ip     inet        NOT NULL,
  for_group   boolean     NOT NULL,
  reason      text,
  created_at  timestamptz NOT NULL DEFAULT now(),
  created_by  text        NOT NULL DEFAULT session_user,
  CONSTRAINT reservation_pkey PRIMARY KEY (project_id, label),
  CONSTRAINT reservation_label_check CHECK (nebula.is_label(label)),
  CONSTRAINT reservation_reason_check CHECK (octet_length(reason) <= nebula.text_limit('note')),
  CONSTRAINT reservation_creator_check CHECK (octet_length(created_by) <= nebula.text_limit('actor')),
  CONSTRAINT reservation_order_check CHECK (first_ip <= last_ip AND family(first_ip) = family(last_ip))
);
-- Read with each pool; few rows per pool.
CREATE INDEX reservation_pool_idx ON nebula.reservation (pool_id, first_ip);
SELECT pg_catalog.pg_extension_config_dump('nebula.reservation', '');

COMMENT ON TABLE nebula.reservation IS 'Parts of pools that are excluded, or kept for a group of devices';
COMMENT ON COLUMN nebula.reservation.project_id IS 'The project';
COMMENT ON COLUMN nebula.reservation.label IS
  'Name, unique in the project; a device takes from a group''s range by naming it';
COMMENT ON COLUMN nebula.reservation.pool_id IS 'The pool it is part of';
COMMENT ON COLUMN nebula.reservation.first_ip IS 'First address';
COMMENT ON COLUMN nebula.reservation.last_ip IS 'Last address';
COMMENT ON COLUMN nebula.reservation.for_group IS
  'True: devices of the group take from it first; false: never given out';
COMMENT ON COLUMN nebula.reservation.reason IS 'Reason, as given by the user';
COMMENT ON COLUMN nebula.reservation.created_at IS 'When it was made';
COMMENT ON COLUMN nebula.reservation.created_by IS 'Database role that made it';
