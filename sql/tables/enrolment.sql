-- Codes that let devices join without an account. Only their hashes are stored, so a reader of the table cannot use
-- them.
CREATE TABLE nebula.enrolment (
  enrolment_id  uuid        NOT NULL DEFAULT gen_random_uuid(),
  project_id    uuid        NOT NULL REFERENCES nebula.project ON DELETE CASCADE,
  code_hash     bytea       NOT NULL,
  device_id     uuid        REFERENCES nebula.device ON DELETE CASCADE,
  name          text,
  role          text        NOT NULL DEFAULT 'host',
  groups        text[]      NOT NULL DEFAULT '{}',
  endpoints     text[]      NOT NULL DEFAULT '{}',
  address       inet,
  uses          integer     NOT NULL DEFAULT 0,
  uses_max      integer     NOT NULL DEFAULT 1,
  creator_id    uuid        REFERENCES nebula.account ON DELETE SET NULL,
  created_by    text        NOT NULL,
  created_at    timestamptz NOT NULL DEFAULT now(),
  expires_at    timestamptz NOT NULL DEFAULT now() + interval '1 day',
  revoked_at    timestamptz,
  CONSTRAINT enrolment_pkey PRIMARY KEY (enrolment_id),
  CONSTRAINT enrolment_code_key UNIQUE (code_hash),
  CONSTRAINT enrolment_code_check CHECK (octet_length(code_hash) = 32),
  CONSTRAINT enrolment_name_check CHECK (nebula.is_name(name)),
  CONSTRAINT enrolment_creator_check CHECK (octet_length(created_by) <= nebula.text_limit('actor')),
  CONSTRAINT enrolment_role_check CHECK (role IN ('host', 'lighthouse', 'relay')),
  CONSTRAINT enrolment_uses_check CHECK (uses BETWEEN 0 AND uses_max AND uses_max BETWEEN 1 AND 10000),
  -- Two devices cannot share a name or an address.
  CONSTRAINT enrolment_single_check CHECK (uses_max = 1 OR name IS NULL AND address IS NULL),
  -- A code for an existing device cannot change its name, role, groups, endpoints or address.
  CONSTRAINT enrolment_device_check CHECK (
    device_id IS NULL
    OR uses_max = 1 AND role = 'host' AND num_nonnulls(name, address) = 0
       AND cardinality(groups) + cardinality(endpoints) = 0),
  -- 30 days, in hours: how long a day is depends on the time zone of the session, and a restore runs in another one.
  CONSTRAINT enrolment_expiry_check CHECK (expires_at BETWEEN created_at AND created_at + interval '722 hours')
);
-- Listed by project, newest first.
CREATE INDEX enrolment_project_idx ON nebula.enrolment (project_id, created_at);
-- Follows the cascade from device.
CREATE INDEX enrolment_device_idx ON nebula.enrolment (device_id) WHERE device_id IS NOT NULL;
SELECT pg_catalog.pg_extension_config_dump('nebula.enrolment', '');

COMMENT ON TABLE nebula.enrolment IS 'Enrolment codes by hash, and what the devices that use them become';
COMMENT ON COLUMN nebula.enrolment.enrolment_id IS 'Identifier, which is no secret';
COMMENT ON COLUMN nebula.enrolment.project_id IS 'Project to join';
COMMENT ON COLUMN nebula.enrolment.code_hash IS 'SHA-256 of the code in capitals without dashes';
COMMENT ON COLUMN nebula.enrolment.device_id IS
  'Existing device that gets an agent by the code and is otherwise unchanged; null: the code makes a device';
COMMENT ON COLUMN nebula.enrolment.name IS 'Name of the device; null: its own choice';
COMMENT ON COLUMN nebula.enrolment.role IS 'host, lighthouse or relay';
COMMENT ON COLUMN nebula.enrolment.groups IS 'Groups in its certificate';
COMMENT ON COLUMN nebula.enrolment.endpoints IS
  'host:port where other devices reach it on the underlay; empty: the device names them itself';
COMMENT ON COLUMN nebula.enrolment.address IS 'Overlay address it gets; null: the lowest free one';
COMMENT ON COLUMN nebula.enrolment.uses IS 'How many devices have used it';
COMMENT ON COLUMN nebula.enrolment.uses_max IS 'Number of devices that may use it';
COMMENT ON COLUMN nebula.enrolment.creator_id IS
  'Account that made it and owns its devices; null: made in SQL';
COMMENT ON COLUMN nebula.enrolment.created_by IS 'User who made it, as named by the caller';
COMMENT ON COLUMN nebula.enrolment.created_at IS 'When';
COMMENT ON COLUMN nebula.enrolment.expires_at IS 'When it expires; at most 30 days after it was made';
COMMENT ON COLUMN nebula.enrolment.revoked_at IS 'When it was revoked';

-- Which device used which code: a device that retries after a lost response does not count twice.
CREATE TABLE nebula.enrolment_use (
  enrolment_id  uuid        NOT NULL REFERENCES nebula.enrolment ON DELETE CASCADE,
  device_id     uuid        NOT NULL REFERENCES nebula.device ON DELETE CASCADE,
  used_at       timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT enrolment_use_pkey PRIMARY KEY (enrolment_id, device_id)
);
SELECT pg_catalog.pg_extension_config_dump('nebula.enrolment_use', '');

COMMENT ON TABLE nebula.enrolment_use IS 'Devices that joined with a code';
COMMENT ON COLUMN nebula.enrolment_use.enrolment_id IS 'The code';
COMMENT ON COLUMN nebula.enrolment_use.device_id IS 'The device';
COMMENT ON COLUMN nebula.enrolment_use.used_at IS 'When';
