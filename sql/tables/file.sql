-- Uploaded files: names of contents. The state of a file is not stored: view file_status derives it from the job and
-- the renditions of its content.
CREATE TABLE nebula.file (
  file_id       uuid        NOT NULL,
  project_id    uuid        NOT NULL REFERENCES nebula.project,
  owner_id      uuid        REFERENCES nebula.account ON DELETE SET NULL,
  -- By bytes, so that an index finds all that begin with the same parts.
  folder        text        COLLATE "C" NOT NULL DEFAULT '',
  name          text        NOT NULL,
  content_id    uuid        NOT NULL REFERENCES nebula.content,
  tags          text[]      NOT NULL DEFAULT '{}',
  uploaded_at   timestamptz NOT NULL DEFAULT now(),
  deleted_at    timestamptz,
  name_folded   text        COLLATE "C" GENERATED ALWAYS AS (nebula.folded(name)) STORED,
  name_key      text        COLLATE "C" GENERATED ALWAYS AS (nebula.sort_key(name)) STORED,
  CONSTRAINT file_pkey PRIMARY KEY (file_id),
  CONSTRAINT file_folder_check CHECK (nebula.is_folder(folder)),
  CONSTRAINT file_tags_check CHECK (nebula.are_tags(tags)),
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
-- A place has one file; one in the trash has left its place. Also finds a file by its path, and what is in a folder and
-- below it.
CREATE UNIQUE INDEX file_place_key ON nebula.file (project_id, folder, name) WHERE deleted_at IS NULL;
-- Pages of the list by name and by date begin in the middle of an index, however many files there are. Those by size
-- and duration begin in one of content.
CREATE INDEX file_name_idx ON nebula.file (project_id, name_key, file_id) WHERE deleted_at IS NULL;
CREATE INDEX file_uploaded_idx ON nebula.file (project_id, uploaded_at, file_id) WHERE deleted_at IS NULL;
-- Files with a rare tag.
CREATE INDEX file_tags_idx ON nebula.file USING gin (tags) WHERE deleted_at IS NULL;
-- The trash, and which files have been in it for too long.
CREATE INDEX file_deleted_idx ON nebula.file (deleted_at) WHERE deleted_at IS NOT NULL;
-- Subtitles beside a film, in folders of ten thousand files.
CREATE INDEX file_subtitle_idx ON nebula.file (project_id, folder)
  WHERE deleted_at IS NULL AND nebula.is_subtitle(name);
-- For the files of a content: when one is deleted, and when a rendition was made.
CREATE INDEX file_content_idx ON nebula.file (content_id);
SELECT pg_catalog.pg_extension_config_dump('nebula.file', '');

COMMENT ON TABLE nebula.file IS 'Uploaded files';
COMMENT ON COLUMN nebula.file.file_id IS 'Identifier';
COMMENT ON COLUMN nebula.file.project_id IS 'Project it belongs to';
COMMENT ON COLUMN nebula.file.owner_id IS 'Account that uploaded it';
COMMENT ON COLUMN nebula.file.folder IS
  'Names of folders joined by slashes, empty at the top. A folder is there as long as a file is in it or below it';
COMMENT ON COLUMN nebula.file.name IS 'File name, unique in its folder; those in the trash do not count';
COMMENT ON COLUMN nebula.file.content_id IS 'Its bytes';
COMMENT ON COLUMN nebula.file.tags IS 'Words by which its people find it, in small letters';
COMMENT ON COLUMN nebula.file.uploaded_at IS 'When the upload was finished';
COMMENT ON COLUMN nebula.file.deleted_at IS 'Since when it has been in the trash; null: it is not';
COMMENT ON COLUMN nebula.file.name_folded IS 'Its name in small letters without accents, for searches';
COMMENT ON COLUMN nebula.file.name_key IS 'What the list is sorted by: numbers in names count as numbers';
