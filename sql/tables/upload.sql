-- Uploads that have begun and not ended, so that their bytes count to quotas before they are a file, at every gateway.
-- The bytes are in the staging folder of the store.
CREATE TABLE nebula.upload (
  upload_id   uuid        NOT NULL,
  project_id  uuid        NOT NULL REFERENCES nebula.project ON DELETE CASCADE,
  account_id  uuid        NOT NULL REFERENCES nebula.account ON DELETE CASCADE,
  size        bigint      NOT NULL,
  sha256      bytea,
  expires_at  timestamptz NOT NULL,
  CONSTRAINT upload_pkey PRIMARY KEY (upload_id),
  CONSTRAINT upload_size_check CHECK (size >= 0),
  CONSTRAINT upload_sha256_check CHECK (octet_length(sha256) = 32)
);
-- Sums of a project and of an account, read at each upload; and the rows that go with either.
CREATE INDEX upload_project_idx ON nebula.upload (project_id);
CREATE INDEX upload_account_idx ON nebula.upload (account_id);
SELECT pg_catalog.pg_extension_config_dump('nebula.upload', '');

COMMENT ON TABLE nebula.upload IS 'Uploads that have begun and not ended';
COMMENT ON COLUMN nebula.upload.upload_id IS 'Identifier, also the name of its bytes in the staging folder';
COMMENT ON COLUMN nebula.upload.project_id IS 'Project that it counts to';
COMMENT ON COLUMN nebula.upload.account_id IS 'Account that began it, to which it counts, too';
COMMENT ON COLUMN nebula.upload.size IS 'Bytes as announced; as long as the size is not known, those that have arrived';
COMMENT ON COLUMN nebula.upload.sha256 IS
  'SHA-256 as announced, or of the file that has its name and size; null: not known';
COMMENT ON COLUMN nebula.upload.expires_at IS 'When it is given up, unless more of it comes; it no longer counts then';
