-- Uploaded bytes, stored once in a project however many files have them. Renditions are made from a content, so that a
-- second upload of a film is playable at once. A content is deleted with its last file (functions/content.sql).
CREATE TABLE nebula.content (
  content_id    uuid        NOT NULL,
  project_id    uuid        NOT NULL REFERENCES nebula.project,
  owner_id      uuid        REFERENCES nebula.account ON DELETE SET NULL,
  size          bigint      NOT NULL,
  sha256        bytea       NOT NULL,
  content_type  text        NOT NULL,
  storage_key   text        NOT NULL,
  job_id        bigint,
  media         jsonb,
  is_stopped    boolean     NOT NULL DEFAULT false,
  stored_at     timestamptz NOT NULL DEFAULT now(),
  kind          text        GENERATED ALWAYS AS (
    CASE
      WHEN content_type LIKE 'video/%' THEN 'film'
      WHEN content_type LIKE 'audio/%' THEN 'sound'
      WHEN content_type LIKE 'image/%' THEN 'picture'
      WHEN content_type IN ('application/mxf', 'application/gxf', 'application/vnd.rn-realmedia') THEN 'film'
      ELSE 'other'
    END) STORED,
  duration      double precision
                GENERATED ALWAYS AS (coalesce((media ->> 'duration')::double precision, 0)) STORED,
  CONSTRAINT content_pkey PRIMARY KEY (content_id),
  -- Finds the bytes of a second upload, and keeps two uploads at once from storing both.
  CONSTRAINT content_project_sha256_key UNIQUE (project_id, sha256),
  CONSTRAINT content_storage_key_key UNIQUE (storage_key),
  CONSTRAINT content_size_check CHECK (size > 0),
  CONSTRAINT content_text_check CHECK (
    octet_length(content_type) <= nebula.text_limit('content')
    AND octet_length(storage_key) <= nebula.text_limit('content')),
  CONSTRAINT content_sha256_check CHECK (octet_length(sha256) = 32)
);
-- Pages of the list of files by size and by duration.
CREATE INDEX content_size_idx ON nebula.content (project_id, size);
CREATE INDEX content_duration_idx ON nebula.content (project_id, duration);
SELECT pg_catalog.pg_extension_config_dump('nebula.content', '');

COMMENT ON TABLE nebula.content IS 'Uploaded bytes, stored once in a project';
COMMENT ON COLUMN nebula.content.content_id IS 'Identifier: that of the first file that had these bytes';
COMMENT ON COLUMN nebula.content.project_id IS 'Project it belongs to';
COMMENT ON COLUMN nebula.content.owner_id IS
  'Account that it counts to: the first that stored it, while that has a file of it; null: it was deleted';
COMMENT ON COLUMN nebula.content.size IS 'Bytes';
COMMENT ON COLUMN nebula.content.sha256 IS 'SHA-256 of the bytes; also the strong ETag';
COMMENT ON COLUMN nebula.content.content_type IS 'Media type detected from the bytes';
COMMENT ON COLUMN nebula.content.storage_key IS 'Where the bytes are in object storage';
COMMENT ON COLUMN nebula.content.job_id IS 'Job that makes its renditions; null for contents that need none';
COMMENT ON COLUMN nebula.content.media IS
  'Length, picture, sounds, chapters and how it is cut into chunks, as its job found them, and a summary of what was '
  'done; of pictures and subtitles the summary alone; null: not yet looked at, or nothing is made of it';
COMMENT ON COLUMN nebula.content.is_stopped IS
  'Its last file went into the trash before everything was made; it is made again when a file comes back';
COMMENT ON COLUMN nebula.content.stored_at IS 'When the first upload was finished';
COMMENT ON COLUMN nebula.content.kind IS 'film, sound, picture or other, by its media type';
COMMENT ON COLUMN nebula.content.duration IS 'Seconds; 0: it has none, or it is not known yet';
