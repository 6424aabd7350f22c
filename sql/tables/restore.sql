-- A database is being restored from a dump while this table has rows: one for each table that the dump fills.
CREATE TABLE nebula.restore_progress (
  relation       regclass    NOT NULL,
  loaded_by      integer,
  session_start  timestamptz,
  by_copy        boolean,
  CONSTRAINT restore_progress_pkey PRIMARY KEY (relation)
);
-- Its rows are about this database, not about the one that a dump of it will be restored into.
SELECT pg_catalog.pg_extension_config_dump('nebula.restore_progress', 'WHERE false');

COMMENT ON TABLE nebula.restore_progress IS
  'Tables that a restore fills; empty unless this database is being restored from a dump';
COMMENT ON COLUMN nebula.restore_progress.relation IS 'The table';
COMMENT ON COLUMN nebula.restore_progress.loaded_by IS
  'Process of the session that brought its rows; null: they have not come yet';
COMMENT ON COLUMN nebula.restore_progress.session_start IS 'When that session began';
COMMENT ON COLUMN nebula.restore_progress.by_copy IS
  'Whether one COPY brought all rows; false: INSERT did (pg_dump --inserts), of which more may follow';
