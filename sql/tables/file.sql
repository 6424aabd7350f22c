-- Uploaded files: names of contents. The state of a file is not stored: view file_status derives it from the job and
-- the renditions of its content.
CREATE TABLE nebula.file (
  file_id       uuid        NOT NULL,
  project_id    uuid        NOT NULL REFERENCES nebula.project,
  owner_id      uuid        REFERENCES nebula.account ON DELETE SET NULL,
  name          text        NOT NULL,
  content_id    uuid        NOT NULL REFERENCES nebula.content,
  uploaded_at   timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT file_pkey PRIMARY KEY (file_id),
  CONSTRAINT file_project_name_key UNIQUE (project_id, name),
  CONSTRAINT file_name_check CHECK (
    octet_length(name) BETWEEN 1 AND 255 AND name !~ '[/[:cntrl:]]' AND name NOT IN ('.', '..')),
  -- One visible name is one file: composed letters, as Linux and Windows type them, and no characters that turn the
  -- direction of what follows. In another encoding than UTF8 the server knows neither.
  CONSTRAINT file_name_unicode_check CHECK (
    CASE
      WHEN getdatabaseencoding() = 'UTF8'
      THEN name IS NFC NORMALIZED AND name !~ '[\u202A-\u202E\u2066-\u2069]'
      ELSE true
    END)
);
-- For the files of a content: when one is deleted, and when a rendition was made.
CREATE INDEX file_content_idx ON nebula.file (content_id);
SELECT pg_catalog.pg_extension_config_dump('nebula.file', '');

COMMENT ON TABLE nebula.file IS 'Uploaded files';
COMMENT ON COLUMN nebula.file.file_id IS 'Identifier';
COMMENT ON COLUMN nebula.file.project_id IS 'Project it belongs to';
COMMENT ON COLUMN nebula.file.owner_id IS 'Account that uploaded it';
COMMENT ON COLUMN nebula.file.name IS 'File name, unique in the project; no folders';
COMMENT ON COLUMN nebula.file.content_id IS 'Its bytes';
COMMENT ON COLUMN nebula.file.uploaded_at IS 'When the upload was finished';
