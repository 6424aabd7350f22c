-- How many files projects have, counted by triggers (functions/file_count.sql) in the way of storage_use. In a table of
-- its own, since a transaction that has counted a file may lock all of that one afterwards.
CREATE TABLE nebula.file_count (
  count_id    uuid    NOT NULL DEFAULT gen_random_uuid(),
  project_id  uuid    NOT NULL REFERENCES nebula.project ON DELETE CASCADE,
  files       bigint  NOT NULL,
  CONSTRAINT file_count_pkey PRIMARY KEY (count_id)
) WITH (fillfactor = 50);
-- Sums of a project.
CREATE INDEX file_count_project_idx ON nebula.file_count (project_id);
SELECT pg_catalog.pg_extension_config_dump('nebula.file_count', '');

COMMENT ON TABLE nebula.file_count IS 'Files of projects, also those in the trash; the sum of rows counts';
COMMENT ON COLUMN nebula.file_count.count_id IS 'Identifier';
COMMENT ON COLUMN nebula.file_count.project_id IS 'The project';
COMMENT ON COLUMN nebula.file_count.files IS 'Part of the sum, which may be negative';
