-- Schedules: jobs enqueued again and again by a cron expression.
CREATE TABLE nebula.job_schedule (
  name          text        NOT NULL,
  cron          text        NOT NULL,
  time_zone     text        NOT NULL,
  kind          text        NOT NULL,
  payload       jsonb       NOT NULL,
  priority      integer     NOT NULL DEFAULT 0,
  max_attempts  integer     NOT NULL DEFAULT 5,
  project_id    uuid,
  next_at       timestamptz NOT NULL,
  last_at       timestamptz,
  last_job_id   bigint,
  CONSTRAINT job_schedule_pkey PRIMARY KEY (name),
  CONSTRAINT job_schedule_name_check CHECK (nebula.is_label(name)),
  CONSTRAINT job_schedule_cron_check CHECK (
    octet_length(cron) <= nebula.text_limit('cron') AND octet_length(time_zone) <= nebula.text_limit('cron'))
);
SELECT pg_catalog.pg_extension_config_dump('nebula.job_schedule', '');

COMMENT ON TABLE nebula.job_schedule IS 'Jobs that are enqueued again and again';
COMMENT ON COLUMN nebula.job_schedule.name IS 'Unique name';
COMMENT ON COLUMN nebula.job_schedule.cron IS 'When: minute, hour, day of month, month, day of week';
COMMENT ON COLUMN nebula.job_schedule.time_zone IS 'Whose clock that is';
COMMENT ON COLUMN nebula.job_schedule.kind IS 'Kind of the jobs';
COMMENT ON COLUMN nebula.job_schedule.payload IS 'Payload of the jobs';
COMMENT ON COLUMN nebula.job_schedule.priority IS 'Priority of the jobs';
COMMENT ON COLUMN nebula.job_schedule.max_attempts IS 'Attempts of each job';
COMMENT ON COLUMN nebula.job_schedule.project_id IS 'Project they work for, or null';
COMMENT ON COLUMN nebula.job_schedule.next_at IS 'When the next one is due';
COMMENT ON COLUMN nebula.job_schedule.last_at IS 'When the last one was enqueued';
COMMENT ON COLUMN nebula.job_schedule.last_job_id IS 'Which one that was';
