-- How many bytes projects and accounts may store, and how many they do.
CREATE TABLE nebula.quota (
  quota_id    uuid        NOT NULL DEFAULT gen_random_uuid(),
  project_id  uuid        REFERENCES nebula.project ON DELETE CASCADE,
  account_id  uuid        REFERENCES nebula.account ON DELETE CASCADE,
  max_bytes   bigint      NOT NULL,
  set_by      text        NOT NULL,
  set_at      timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT quota_pkey PRIMARY KEY (quota_id),
  CONSTRAINT quota_project_key UNIQUE (project_id),
  CONSTRAINT quota_account_key UNIQUE (account_id),
  CONSTRAINT quota_subject_check CHECK (num_nonnulls(project_id, account_id) = 1),
  CONSTRAINT quota_max_check CHECK (max_bytes >= 0),
  CONSTRAINT quota_setter_check CHECK (octet_length(set_by) <= nebula.text_limit('actor'))
);
SELECT pg_catalog.pg_extension_config_dump('nebula.quota', '');

COMMENT ON TABLE nebula.quota IS 'How many bytes a project or an account may store; without a row, any number';
COMMENT ON COLUMN nebula.quota.quota_id IS 'Identifier';
COMMENT ON COLUMN nebula.quota.project_id IS 'The project; null: it is of an account';
COMMENT ON COLUMN nebula.quota.account_id IS 'The account, in all of its projects; null: it is of a project';
COMMENT ON COLUMN nebula.quota.max_bytes IS 'Bytes of uploads and of all that is made from them';
COMMENT ON COLUMN nebula.quota.set_by IS 'Account or role that set it';
COMMENT ON COLUMN nebula.quota.set_at IS 'When';

-- Stored bytes, counted by triggers (functions/quota.sql). A count is the sum of its rows: a transaction adds to a row
-- that no other has locked, or makes one, so that it never waits for another, and cannot deadlock with it. There are at
-- most as many rows of a count as there were transactions at a time.
CREATE TABLE nebula.storage_use (
  use_id      uuid    NOT NULL DEFAULT gen_random_uuid(),
  project_id  uuid    NOT NULL REFERENCES nebula.project ON DELETE CASCADE,
  account_id  uuid,
  bytes       bigint  NOT NULL,
  CONSTRAINT storage_use_pkey PRIMARY KEY (use_id)
) WITH (fillfactor = 50);
-- Sums of a project, and the row of an account in it.
CREATE INDEX storage_use_project_idx ON nebula.storage_use (project_id, account_id);
-- Sums of an account.
CREATE INDEX storage_use_account_idx ON nebula.storage_use (account_id);
SELECT pg_catalog.pg_extension_config_dump('nebula.storage_use', '');

COMMENT ON TABLE nebula.storage_use IS 'Bytes that projects and accounts store; the sum of rows counts';
COMMENT ON COLUMN nebula.storage_use.use_id IS 'Identifier';
COMMENT ON COLUMN nebula.storage_use.project_id IS 'The project';
COMMENT ON COLUMN nebula.storage_use.account_id IS
  'The account that the bytes count to; null: it was deleted. No foreign key, since rows outlive it';
COMMENT ON COLUMN nebula.storage_use.bytes IS 'Part of the sum, which may be negative';
