-- Uploaded files. The state of a file is not stored: view file_status derives it from its job and its renditions.
CREATE TABLE nebula.file (
  file_id       uuid        NOT NULL,
  project_id    uuid        NOT NULL REFERENCES nebula.project,
  owner_id      uuid        REFERENCES nebula.account ON DELETE SET NULL,
  name          text        NOT NULL,
  size          bigint      NOT NULL,
  sha256        bytea       NOT NULL,
  content_type  text        NOT NULL,
  storage_key   text        NOT NULL,
  job_id        bigint,
  uploaded_at   timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT file_pkey PRIMARY KEY (file_id),
  CONSTRAINT file_project_name_key UNIQUE (project_id, name),
  CONSTRAINT file_storage_key_key UNIQUE (storage_key),
  CONSTRAINT file_name_check CHECK (
    octet_length(name) BETWEEN 1 AND 255 AND name !~ '[/[:cntrl:]]' AND name NOT IN ('.', '..')),
  CONSTRAINT file_size_check CHECK (size > 0),
  CONSTRAINT file_content_check CHECK (
    octet_length(content_type) <= nebula.text_limit('content')
    AND octet_length(storage_key) <= nebula.text_limit('content')),
  CONSTRAINT file_sha256_check CHECK (octet_length(sha256) = 32)
);
SELECT pg_catalog.pg_extension_config_dump('nebula.file', '');

COMMENT ON TABLE nebula.file IS 'Uploaded objects';
COMMENT ON COLUMN nebula.file.file_id IS 'Identifier';
COMMENT ON COLUMN nebula.file.project_id IS 'Project it belongs to';
COMMENT ON COLUMN nebula.file.owner_id IS 'Account that uploaded it';
COMMENT ON COLUMN nebula.file.name IS 'File name, unique in the project; no folders';
COMMENT ON COLUMN nebula.file.size IS 'Bytes as uploaded';
COMMENT ON COLUMN nebula.file.sha256 IS 'SHA-256 of the bytes as uploaded; also the strong ETag';
COMMENT ON COLUMN nebula.file.content_type IS 'Media type detected from its bytes';
COMMENT ON COLUMN nebula.file.storage_key IS 'Where the bytes are in object storage';
COMMENT ON COLUMN nebula.file.job_id IS 'Job that makes its renditions; null for files that need none';
COMMENT ON COLUMN nebula.file.uploaded_at IS 'When the upload was finished';

-- Objects derived from a file: today an MP4 for browsers.
CREATE TABLE nebula.rendition (
  rendition_id  uuid        NOT NULL DEFAULT gen_random_uuid(),
  file_id       uuid        NOT NULL REFERENCES nebula.file ON DELETE CASCADE,
  kind          text        NOT NULL,
  storage_key   text        NOT NULL,
  size          bigint      NOT NULL,
  sha256        bytea       NOT NULL,
  content_type  text        NOT NULL,
  detail        jsonb       NOT NULL DEFAULT '{}',
  made_at       timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT rendition_pkey PRIMARY KEY (rendition_id),
  CONSTRAINT rendition_file_kind_key UNIQUE (file_id, kind),
  CONSTRAINT rendition_storage_key_key UNIQUE (storage_key),
  CONSTRAINT rendition_kind_check CHECK (kind ~ '^[a-z][a-z0-9_-]{0,31}$'),
  CONSTRAINT rendition_size_check CHECK (size > 0),
  CONSTRAINT rendition_content_check CHECK (
    octet_length(content_type) <= nebula.text_limit('content')
    AND octet_length(storage_key) <= nebula.text_limit('content')),
  CONSTRAINT rendition_sha256_check CHECK (octet_length(sha256) = 32)
);
SELECT pg_catalog.pg_extension_config_dump('nebula.rendition', '');

COMMENT ON TABLE nebula.rendition IS 'Files made from an upload: playlists, segments, pictures';
COMMENT ON COLUMN nebula.rendition.rendition_id IS 'Identifier';
COMMENT ON COLUMN nebula.rendition.file_id IS 'The file it was made from';
COMMENT ON COLUMN nebula.rendition.kind IS 'web: MP4 that browsers play';
COMMENT ON COLUMN nebula.rendition.storage_key IS 'Where the bytes are in object storage';
COMMENT ON COLUMN nebula.rendition.size IS 'Bytes';
COMMENT ON COLUMN nebula.rendition.sha256 IS 'SHA-256 of the bytes; also the strong ETag';
COMMENT ON COLUMN nebula.rendition.content_type IS 'Media type';
COMMENT ON COLUMN nebula.rendition.detail IS 'How it was made: decision, reasons, codecs, duration, warnings';
COMMENT ON COLUMN nebula.rendition.made_at IS 'When';
