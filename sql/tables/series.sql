-- Samples over time: each minute for a day, and means of a quarter of an hour for thirty days.
CREATE TABLE nebula.series (
  name        text              NOT NULL,
  key         text              NOT NULL DEFAULT '',
  step        integer           NOT NULL,
  at          timestamptz       NOT NULL,
  project_id  uuid,
  value       double precision  NOT NULL,
  CONSTRAINT series_pkey PRIMARY KEY (name, key, step, at),
  CONSTRAINT series_step_check CHECK (step IN (1, 15)),
  CONSTRAINT series_name_check CHECK (name ~ '^[a-z]+(\.[a-z]+)*$')
);
-- Finds rows that are too old.
CREATE INDEX series_age_idx ON nebula.series (step, at);
SELECT pg_catalog.pg_extension_config_dump('nebula.series', '');

COMMENT ON TABLE nebula.series IS 'Samples over time: traffic, use of pools, jobs, devices, disks';
COMMENT ON COLUMN nebula.series.name IS
  'pool.held, traffic.bytes (a second), device.online, job.waiting, job.running, disk.free (bytes)';
COMMENT ON COLUMN nebula.series.key IS 'Of which pool, project or disk';
COMMENT ON COLUMN nebula.series.step IS 'Minutes that the value is of: 1, or 15 for a mean';
COMMENT ON COLUMN nebula.series.at IS 'Begin of those minutes';
COMMENT ON COLUMN nebula.series.project_id IS 'Project whose members see it; null: for operators';
COMMENT ON COLUMN nebula.series.value IS 'The value';
