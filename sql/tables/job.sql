-- Jobs live in one of three tables, so that finished ones never slow down the search for the next:
-- waiting (blocked or available), running, finished (succeeded, dead or cancelled). job_id follows the job through all.
CREATE SEQUENCE nebula.job_id_seq AS bigint;
SELECT pg_catalog.pg_extension_config_dump('nebula.job_id_seq', '');
COMMENT ON SEQUENCE nebula.job_id_seq IS 'Job identifiers';

CREATE TABLE nebula.job_waiting (
  job_id        bigint      NOT NULL DEFAULT nextval('nebula.job_id_seq'),
  kind          text        NOT NULL,
  payload       jsonb       NOT NULL,
  project_id    uuid,
  priority      integer     NOT NULL DEFAULT 0,
  run_at        timestamptz NOT NULL DEFAULT now(),
  attempt       integer     NOT NULL DEFAULT 0,
  max_attempts  integer     NOT NULL DEFAULT 5,
  blocked_by    integer     NOT NULL DEFAULT 0,
  node_id       uuid,
  unique_key    text,
  errors        jsonb       NOT NULL DEFAULT '[]',
  enqueued_at   timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT job_waiting_pkey PRIMARY KEY (job_id),
  CONSTRAINT job_waiting_kind_check CHECK (kind ~ '^[a-z][a-z0-9_.-]{0,62}$'),
  CONSTRAINT job_waiting_payload_check CHECK (pg_column_size(payload) <= 1048576),
  CONSTRAINT job_waiting_attempts_check CHECK (attempt BETWEEN 0 AND max_attempts AND max_attempts BETWEEN 1 AND 1000),
  CONSTRAINT job_waiting_blocked_check CHECK (blocked_by >= 0)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
-- The claim: highest priority first, then the longest due.
CREATE INDEX job_waiting_claim_idx ON nebula.job_waiting (kind, priority DESC, run_at, job_id) WHERE blocked_by = 0;
SELECT pg_catalog.pg_extension_config_dump('nebula.job_waiting', '');

-- As small as the workers are many: rescue reads all of it, and no index stands on what a heartbeat changes,
-- so that heartbeats are HOT updates.
CREATE TABLE nebula.job_running (
  job_id            bigint      NOT NULL,
  kind              text        NOT NULL,
  payload           jsonb       NOT NULL,
  project_id        uuid,
  priority          integer     NOT NULL,
  attempt           integer     NOT NULL,
  max_attempts      integer     NOT NULL,
  node_id           uuid,
  unique_key        text,
  errors            jsonb       NOT NULL,
  enqueued_at       timestamptz NOT NULL,
  worker            text        NOT NULL,
  started_at        timestamptz NOT NULL DEFAULT now(),
  lease             interval    NOT NULL,
  lease_until       timestamptz NOT NULL,
  progress          real,
  detail            jsonb,
  cancel_requested  boolean     NOT NULL DEFAULT false,
  CONSTRAINT job_running_pkey PRIMARY KEY (job_id),
  CONSTRAINT job_running_attempt_check CHECK (attempt BETWEEN 1 AND max_attempts),
  CONSTRAINT job_running_progress_check CHECK (progress BETWEEN 0 AND 1)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);
SELECT pg_catalog.pg_extension_config_dump('nebula.job_running', '');

CREATE TABLE nebula.job_finished (
  job_id        bigint      NOT NULL,
  kind          text        NOT NULL,
  payload       jsonb       NOT NULL,
  project_id    uuid,
  state         text        NOT NULL,
  priority      integer     NOT NULL,
  attempt       integer     NOT NULL,
  max_attempts  integer     NOT NULL,
  errors        jsonb       NOT NULL,
  result        jsonb,
  detail        jsonb,
  enqueued_at   timestamptz NOT NULL,
  started_at    timestamptz,
  finished_at   timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT job_finished_pkey PRIMARY KEY (job_id),
  CONSTRAINT job_finished_state_check CHECK (state IN ('succeeded', 'dead', 'cancelled'))
);
SELECT pg_catalog.pg_extension_config_dump('nebula.job_finished', '');

-- A key is taken while its job lives; the row goes when the job finishes.
CREATE TABLE nebula.job_key (
  unique_key  text   NOT NULL,
  job_id      bigint NOT NULL,
  CONSTRAINT job_key_pkey PRIMARY KEY (unique_key)
);
SELECT pg_catalog.pg_extension_config_dump('nebula.job_key', '');

-- child waits for parent; the row goes when the parent finishes.
CREATE TABLE nebula.job_dependency (
  parent_id  bigint NOT NULL,
  child_id   bigint NOT NULL,
  CONSTRAINT job_dependency_pkey PRIMARY KEY (parent_id, child_id)
);
-- Cancelling a child forgets all it waited for.
CREATE INDEX job_dependency_child_idx ON nebula.job_dependency (child_id);
SELECT pg_catalog.pg_extension_config_dump('nebula.job_dependency', '');

COMMENT ON TABLE nebula.job_waiting IS 'Jobs that are blocked by others, due, or due later';
COMMENT ON COLUMN nebula.job_waiting.job_id IS 'Identifier, kept for the life of the job';
COMMENT ON COLUMN nebula.job_waiting.kind IS 'What to do; workers claim by kind';
COMMENT ON COLUMN nebula.job_waiting.payload IS 'What to do it with, at most 1 MiB';
COMMENT ON COLUMN nebula.job_waiting.project_id IS 'Project it works for, or null';
COMMENT ON COLUMN nebula.job_waiting.priority IS 'Higher runs first';
COMMENT ON COLUMN nebula.job_waiting.run_at IS 'Not before this';
COMMENT ON COLUMN nebula.job_waiting.attempt IS 'Attempts made so far';
COMMENT ON COLUMN nebula.job_waiting.max_attempts IS 'Dead after so many failures';
COMMENT ON COLUMN nebula.job_waiting.blocked_by IS 'Unfinished jobs it waits for';
COMMENT ON COLUMN nebula.job_waiting.node_id IS 'Only for workers on this node; null: anywhere';
COMMENT ON COLUMN nebula.job_waiting.unique_key IS 'Only one living job has this key';
COMMENT ON COLUMN nebula.job_waiting.errors IS 'One entry per failed attempt: attempt, at, worker, error';
COMMENT ON COLUMN nebula.job_waiting.enqueued_at IS 'When it was enqueued';

COMMENT ON TABLE nebula.job_running IS 'Jobs that a worker holds under a lease';
COMMENT ON COLUMN nebula.job_running.job_id IS 'Identifier, kept for the life of the job';
COMMENT ON COLUMN nebula.job_running.kind IS 'What to do; workers claim by kind';
COMMENT ON COLUMN nebula.job_running.payload IS 'What to do it with';
COMMENT ON COLUMN nebula.job_running.project_id IS 'Project it works for, or null';
COMMENT ON COLUMN nebula.job_running.priority IS 'Priority it was claimed with';
COMMENT ON COLUMN nebula.job_running.attempt IS 'This attempt, from 1; a call with another number has lost the job';
COMMENT ON COLUMN nebula.job_running.max_attempts IS 'Dead after so many failures';
COMMENT ON COLUMN nebula.job_running.node_id IS 'Only for workers on this node; null: anywhere';
COMMENT ON COLUMN nebula.job_running.unique_key IS 'Only one living job has this key';
COMMENT ON COLUMN nebula.job_running.errors IS 'One entry per failed attempt: attempt, at, worker, error';
COMMENT ON COLUMN nebula.job_running.enqueued_at IS 'When it was enqueued';
COMMENT ON COLUMN nebula.job_running.worker IS 'Who has it, as the worker named itself';
COMMENT ON COLUMN nebula.job_running.started_at IS 'When this attempt was claimed';
COMMENT ON COLUMN nebula.job_running.lease IS 'By how much a heartbeat extends the lease';
COMMENT ON COLUMN nebula.job_running.lease_until IS 'Rescued after this';
COMMENT ON COLUMN nebula.job_running.progress IS '0 to 1 as last reported, or null';
COMMENT ON COLUMN nebula.job_running.detail IS 'What the worker last said about it';
COMMENT ON COLUMN nebula.job_running.cancel_requested IS 'The next heartbeat tells the worker to stop';

COMMENT ON TABLE nebula.job_finished IS 'Jobs that succeeded, died or were cancelled';
COMMENT ON COLUMN nebula.job_finished.job_id IS 'Identifier, kept for the life of the job';
COMMENT ON COLUMN nebula.job_finished.kind IS 'What was to be done';
COMMENT ON COLUMN nebula.job_finished.payload IS 'With what';
COMMENT ON COLUMN nebula.job_finished.project_id IS 'Project it worked for, or null';
COMMENT ON COLUMN nebula.job_finished.state IS 'succeeded, dead or cancelled';
COMMENT ON COLUMN nebula.job_finished.priority IS 'Priority it had';
COMMENT ON COLUMN nebula.job_finished.attempt IS 'Attempts made';
COMMENT ON COLUMN nebula.job_finished.max_attempts IS 'Attempts allowed';
COMMENT ON COLUMN nebula.job_finished.errors IS 'One entry per failed attempt: attempt, at, worker, error';
COMMENT ON COLUMN nebula.job_finished.result IS 'What the worker answered';
COMMENT ON COLUMN nebula.job_finished.detail IS 'What the worker last said about it';
COMMENT ON COLUMN nebula.job_finished.enqueued_at IS 'When it was enqueued';
COMMENT ON COLUMN nebula.job_finished.started_at IS 'When its last attempt was claimed; null: never';
COMMENT ON COLUMN nebula.job_finished.finished_at IS 'When it finished';

COMMENT ON TABLE nebula.job_key IS 'Unique keys of living jobs';
COMMENT ON COLUMN nebula.job_key.unique_key IS 'The key';
COMMENT ON COLUMN nebula.job_key.job_id IS 'The living job that has it';

COMMENT ON TABLE nebula.job_dependency IS 'Which unfinished job waits for which';
COMMENT ON COLUMN nebula.job_dependency.parent_id IS 'Must succeed first';
COMMENT ON COLUMN nebula.job_dependency.child_id IS 'Waits';
