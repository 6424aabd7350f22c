-- Finished jobs, in a ring of eight segments (partitions). The current one receives jobs; prune_jobs copies what has
-- to be kept from an old one and truncates it, because DELETE would leave the same amount of work for vacuum. The
-- segments are created here, as members of the extension, and pg_dump dumps each like any other table.
CREATE TABLE nebula.job_finished (
  job_id        bigint      NOT NULL,
  kind          text        NOT NULL,
  payload       jsonb       NOT NULL,
  project_id    uuid,
  state         text        NOT NULL,
  priority      integer     NOT NULL,
  run_at        timestamptz NOT NULL,
  attempt       integer     NOT NULL,
  max_attempts  integer     NOT NULL,
  on_dead       text        NOT NULL,
  node_id       uuid,
  capability    text,
  unique_key    text,
  errors        jsonb       NOT NULL,
  result        jsonb,
  worker        text,
  progress      real,
  detail        jsonb,
  enqueued_at   timestamptz NOT NULL,
  started_at    timestamptz,
  finished_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  segment       bigint      NOT NULL,
  CONSTRAINT job_finished_pkey PRIMARY KEY (job_id, segment)
) PARTITION BY LIST (segment);
-- For reports on the last hour. Rows are written in order of time, so a BRIN index suffices.
CREATE INDEX job_finished_at_idx ON nebula.job_finished USING brin (finished_at)
  WITH (autosummarize, pages_per_range = 16);

-- Its last value is the current segment.
CREATE SEQUENCE nebula.job_segment_seq MINVALUE 0 MAXVALUE 7 START 0 CYCLE;
SELECT setval('nebula.job_segment_seq', 0) FROM nebula.job_segment_seq WHERE NOT is_called;
SELECT pg_catalog.pg_extension_config_dump('nebula.job_segment_seq', '');
COMMENT ON SEQUENCE nebula.job_segment_seq IS 'Last value: the segment of job_finished that takes what finishes now';

-- When each segment became the current one. No row: since CREATE EXTENSION.
CREATE TABLE nebula.job_segment (
  segment    bigint      NOT NULL,
  opened_at  timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT job_segment_pkey PRIMARY KEY (segment)
);
SELECT pg_catalog.pg_extension_config_dump('nebula.job_segment', '');

COMMENT ON TABLE nebula.job_segment IS 'Since when segments of job_finished take what finishes';
COMMENT ON COLUMN nebula.job_segment.segment IS 'Number of the segment';
COMMENT ON COLUMN nebula.job_segment.opened_at IS 'When it became the current one';

COMMENT ON TABLE nebula.job_finished IS 'Jobs that succeeded, died or were cancelled';
COMMENT ON COLUMN nebula.job_finished.job_id IS 'Identifier, kept for the life of the job';
COMMENT ON COLUMN nebula.job_finished.kind IS 'Kind of work';
COMMENT ON COLUMN nebula.job_finished.payload IS 'Arguments of the work';
COMMENT ON COLUMN nebula.job_finished.project_id IS 'Project it worked for, or null';
COMMENT ON COLUMN nebula.job_finished.state IS 'succeeded, dead or cancelled';
COMMENT ON COLUMN nebula.job_finished.priority IS 'Priority it had';
COMMENT ON COLUMN nebula.job_finished.run_at IS 'When it was due last';
COMMENT ON COLUMN nebula.job_finished.attempt IS 'Attempts made';
COMMENT ON COLUMN nebula.job_finished.max_attempts IS 'Attempts allowed';
COMMENT ON COLUMN nebula.job_finished.on_dead IS 'cancel or block: effect of the death of a job that it waited for';
COMMENT ON COLUMN nebula.job_finished.node_id IS 'Only for workers on this node; null: anywhere';
COMMENT ON COLUMN nebula.job_finished.capability IS 'Only for workers that could do this; null: all';
COMMENT ON COLUMN nebula.job_finished.unique_key IS 'Key it had';
COMMENT ON COLUMN nebula.job_finished.errors IS 'One entry per failed attempt: attempt, at, worker, error';
COMMENT ON COLUMN nebula.job_finished.result IS 'Result that the worker gave';
COMMENT ON COLUMN nebula.job_finished.worker IS 'Worker of the last attempt; null: never claimed';
COMMENT ON COLUMN nebula.job_finished.progress IS '0 to 1 as last reported';
COMMENT ON COLUMN nebula.job_finished.detail IS 'Detail of the last heartbeat';
COMMENT ON COLUMN nebula.job_finished.enqueued_at IS 'When it was enqueued';
COMMENT ON COLUMN nebula.job_finished.started_at IS 'When its last attempt was claimed; null: never';
COMMENT ON COLUMN nebula.job_finished.finished_at IS 'When it finished';
COMMENT ON COLUMN nebula.job_finished.segment IS 'Segment it is kept in';

DO $$
DECLARE
  part text;
BEGIN
  FOR segment IN 0..7 LOOP
    part := format('nebula.job_finished_%s', segment);
    EXECUTE format('CREATE TABLE IF NOT EXISTS %s PARTITION OF nebula.job_finished FOR VALUES IN (%s)', part, segment);
    EXECUTE format('COMMENT ON TABLE %s IS %L', part, format('Segment %s of job_finished', segment));
    EXECUTE (SELECT string_agg(format('COMMENT ON COLUMN %s.%I IS %L',
                                      part, a.attname, col_description(a.attrelid, a.attnum)), ';')
               FROM pg_attribute a
              WHERE a.attrelid = 'nebula.job_finished'::regclass
                AND a.attnum > 0);
    PERFORM pg_catalog.pg_extension_config_dump(part::regclass, '');
  END LOOP;
END $$;
