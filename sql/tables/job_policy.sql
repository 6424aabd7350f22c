-- Pause, limits and retention of a kind of job. Without a row, a kind is neither paused nor limited, and kept for a
-- week.
CREATE TABLE nebula.job_policy (
  kind             text        NOT NULL,
  paused_at        timestamptz,
  max_running      integer,
  max_per_project  integer,
  retention        interval,
  CONSTRAINT job_policy_pkey PRIMARY KEY (kind),
  CONSTRAINT job_policy_kind_check CHECK (kind ~ '^[a-z][a-z0-9_.-]{0,62}$'),
  CONSTRAINT job_policy_max_check CHECK (max_running >= 0 AND max_per_project >= 0),
  CONSTRAINT job_policy_retention_check CHECK (retention >= interval '0')
);
SELECT pg_catalog.pg_extension_config_dump('nebula.job_policy', '');

COMMENT ON TABLE nebula.job_policy IS 'Pauses, limits and retention of kinds of job';
COMMENT ON COLUMN nebula.job_policy.kind IS 'The kind';
COMMENT ON COLUMN nebula.job_policy.paused_at IS 'Not claimed since then; null: claimed';
COMMENT ON COLUMN nebula.job_policy.max_running IS 'At most so many run at once; null: no limit';
COMMENT ON COLUMN nebula.job_policy.max_per_project IS
  'At most so many run at once for one project; null: no limit';
COMMENT ON COLUMN nebula.job_policy.retention IS 'Finished ones are kept for so long; null: a week';

-- Limit of running jobs of a project, all kinds together. A project without a row is not limited.
CREATE TABLE nebula.job_quota (
  project_id   uuid     NOT NULL REFERENCES nebula.project ON DELETE CASCADE,
  max_running  integer  NOT NULL,
  CONSTRAINT job_quota_pkey PRIMARY KEY (project_id),
  CONSTRAINT job_quota_max_check CHECK (max_running >= 0)
);
SELECT pg_catalog.pg_extension_config_dump('nebula.job_quota', '');

COMMENT ON TABLE nebula.job_quota IS 'Limits of the jobs of a project that run at the same time';
COMMENT ON COLUMN nebula.job_quota.project_id IS 'The project';
COMMENT ON COLUMN nebula.job_quota.max_running IS 'At most so many run at once, all kinds together';
