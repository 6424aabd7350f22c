-- A job is in one of three tables, so that finished jobs do not slow down the search for the next: waiting (blocked,
-- available, or due later), running, finished (job_history.sql). It keeps its job_id.
CREATE SEQUENCE nebula.job_id_seq AS bigint;
SELECT pg_catalog.pg_extension_config_dump('nebula.job_id_seq', '');
COMMENT ON SEQUENCE nebula.job_id_seq IS 'Job identifiers';

-- The functions check every value and explain errors better than a constraint could. The three tables have no CHECK
-- constraints, because the executor parses their stored expressions again for every statement. Measured with eight of
-- them (processor time of a session, PostgreSQL 15): an enqueue costs 35 % more, a claim with its completion 8 % more;
-- with direct writes, which prepare them once per session, still 8 % more for an enqueue.
CREATE TABLE nebula.job_waiting (
  job_id        bigint      NOT NULL DEFAULT nextval('nebula.job_id_seq'),
  kind          text        NOT NULL,
  payload       jsonb       NOT NULL,
  project_id    uuid,
  priority      integer     NOT NULL DEFAULT 0,
  run_at        timestamptz NOT NULL DEFAULT now(),
  ready         boolean     NOT NULL DEFAULT true,
  attempt       integer     NOT NULL DEFAULT 0,
  max_attempts  integer     NOT NULL DEFAULT 5,
  blocked_by    integer     NOT NULL DEFAULT 0,
  on_dead       text        NOT NULL DEFAULT 'cancel',
  node_id       uuid,
  capability    text,
  unique_key    text,
  errors        jsonb       NOT NULL DEFAULT '[]',
  enqueued_at   timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT job_waiting_pkey PRIMARY KEY (job_id)
-- vacuum_truncate = false: truncating empty pages at the end needs an ACCESS EXCLUSIVE lock, and the end of a queue
-- is often empty.
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, vacuum_truncate = false);
-- Claim order: highest priority first, then longest due. All columns ascend, so that a claim can start in the middle
-- by a row comparison. Jobs for certain nodes or capabilities have their own index, so that other workers do not scan
-- them.
CREATE INDEX job_waiting_claim_idx ON nebula.job_waiting (kind, (-priority), run_at, job_id)
  WHERE ready AND node_id IS NULL AND capability IS NULL;
CREATE INDEX job_waiting_restricted_idx ON nebula.job_waiting (kind, (-priority), run_at, job_id)
  WHERE ready AND (node_id IS NOT NULL OR capability IS NOT NULL);
-- The next jobs to become ready. Claims do not read this index, and the others do not contain jobs due later.
CREATE INDEX job_waiting_due_idx ON nebula.job_waiting (run_at) WHERE NOT ready AND blocked_by = 0;
SELECT pg_catalog.pg_extension_config_dump('nebula.job_waiting', '');

-- Small, one row per running job: rescue_jobs reads all of it, and no index covers a column that a heartbeat changes,
-- so that heartbeats are HOT updates. fillfactor stays 100: PostgreSQL prunes dead rows from a page only when it is
-- nearly full, and with reserved space the table would grow with every job until the next vacuum.
CREATE TABLE nebula.job_running (
  job_id            bigint      NOT NULL,
  kind              text        NOT NULL,
  payload           jsonb       NOT NULL,
  project_id        uuid,
  priority          integer     NOT NULL,
  run_at            timestamptz NOT NULL,
  attempt           integer     NOT NULL,
  max_attempts      integer     NOT NULL,
  on_dead           text        NOT NULL,
  node_id           uuid,
  capability        text,
  unique_key        text,
  errors            jsonb       NOT NULL,
  enqueued_at       timestamptz NOT NULL,
  worker            text        NOT NULL,
  started_at        timestamptz NOT NULL DEFAULT now(),
  lease             interval    NOT NULL,
  lease_until       timestamptz NOT NULL,
  limited           boolean     NOT NULL DEFAULT false,
  progress          real,
  detail            jsonb,
  cancel_requested  boolean     NOT NULL DEFAULT false,
  CONSTRAINT job_running_pkey PRIMARY KEY (job_id)
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000, vacuum_truncate = false);
-- Counts running jobs of limited kinds and projects; other jobs are not indexed.
CREATE INDEX job_running_limited_idx ON nebula.job_running (kind, project_id) WHERE limited;
SELECT pg_catalog.pg_extension_config_dump('nebula.job_running', '');

-- A unique key is taken while its job is not finished, and until held_until if that is later.
CREATE TABLE nebula.job_key (
  unique_key  text   NOT NULL,
  job_id      bigint NOT NULL,
  held_until  timestamptz,
  CONSTRAINT job_key_pkey PRIMARY KEY (unique_key)
);
-- Keys to free by time; most have no time.
CREATE INDEX job_key_held_idx ON nebula.job_key (held_until) WHERE held_until IS NOT NULL;
SELECT pg_catalog.pg_extension_config_dump('nebula.job_key', '');

-- The child waits for the parent. The row is deleted when the parent succeeds or the child is cancelled by hand. A
-- child that was cancelled because its parent died keeps the row, so that a retry of the parent restores the child.
CREATE TABLE nebula.job_dependency (
  parent_id  bigint NOT NULL,
  child_id   bigint NOT NULL,
  CONSTRAINT job_dependency_pkey PRIMARY KEY (parent_id, child_id),
  CONSTRAINT job_dependency_check CHECK (parent_id <> child_id)
);
-- For cancelling a child, which deletes all its dependencies.
CREATE INDEX job_dependency_child_idx ON nebula.job_dependency (child_id);
SELECT pg_catalog.pg_extension_config_dump('nebula.job_dependency', '');

COMMENT ON TABLE nebula.job_waiting IS 'Jobs that are blocked by others, due, or due later';
COMMENT ON COLUMN nebula.job_waiting.job_id IS 'Identifier, kept for the life of the job';
COMMENT ON COLUMN nebula.job_waiting.kind IS 'Kind of work; workers claim by kind';
COMMENT ON COLUMN nebula.job_waiting.payload IS 'Arguments of the work, at most 1 MiB';
COMMENT ON COLUMN nebula.job_waiting.project_id IS 'Project it works for, or null';
COMMENT ON COLUMN nebula.job_waiting.priority IS 'Higher runs first';
COMMENT ON COLUMN nebula.job_waiting.run_at IS 'Not before this';
COMMENT ON COLUMN nebula.job_waiting.ready IS
  'Can be claimed: no job blocks it, and release_due_jobs has found run_at in the past';
COMMENT ON COLUMN nebula.job_waiting.attempt IS 'Attempts made so far';
COMMENT ON COLUMN nebula.job_waiting.max_attempts IS 'Dead after so many failures';
COMMENT ON COLUMN nebula.job_waiting.blocked_by IS 'Jobs it waits for that have not succeeded';
COMMENT ON COLUMN nebula.job_waiting.on_dead IS
  'If a job it depends on dies or is cancelled: cancel this one too, or let it wait (block)';
COMMENT ON COLUMN nebula.job_waiting.node_id IS 'Only for workers on this node; null: anywhere';
COMMENT ON COLUMN nebula.job_waiting.capability IS 'Only for workers that name this capability; null: for all';
COMMENT ON COLUMN nebula.job_waiting.unique_key IS 'Only one living job has this key';
COMMENT ON COLUMN nebula.job_waiting.errors IS 'One entry per failed attempt: attempt, at, worker, error';
COMMENT ON COLUMN nebula.job_waiting.enqueued_at IS 'When it was enqueued';

COMMENT ON TABLE nebula.job_running IS 'Jobs that a worker holds under a lease';
COMMENT ON COLUMN nebula.job_running.job_id IS 'Identifier, kept for the life of the job';
COMMENT ON COLUMN nebula.job_running.kind IS 'Kind of work; workers claim by kind';
COMMENT ON COLUMN nebula.job_running.payload IS 'Arguments of the work';
COMMENT ON COLUMN nebula.job_running.project_id IS 'Project it works for, or null';
COMMENT ON COLUMN nebula.job_running.priority IS 'Priority it was claimed with';
COMMENT ON COLUMN nebula.job_running.run_at IS 'Since when it was due';
COMMENT ON COLUMN nebula.job_running.attempt IS
  'This attempt, from 1; a call with another number has lost the job';
COMMENT ON COLUMN nebula.job_running.max_attempts IS 'Dead after so many failures';
COMMENT ON COLUMN nebula.job_running.on_dead IS 'cancel or block: effect of the death of a job that it waited for';
COMMENT ON COLUMN nebula.job_running.node_id IS 'Only for workers on this node; null: anywhere';
COMMENT ON COLUMN nebula.job_running.capability IS 'Only for workers that name this capability; null: for all';
COMMENT ON COLUMN nebula.job_running.unique_key IS 'Only one living job has this key';
COMMENT ON COLUMN nebula.job_running.errors IS 'One entry per failed attempt: attempt, at, worker, error';
COMMENT ON COLUMN nebula.job_running.enqueued_at IS 'When it was enqueued';
COMMENT ON COLUMN nebula.job_running.worker IS 'Worker that runs it, as it named itself';
COMMENT ON COLUMN nebula.job_running.started_at IS 'When this attempt was claimed';
COMMENT ON COLUMN nebula.job_running.lease IS 'By how much a heartbeat extends the lease';
COMMENT ON COLUMN nebula.job_running.lease_until IS 'Rescued after this';
COMMENT ON COLUMN nebula.job_running.limited IS 'Its kind was limited when it was claimed, so it counts';
COMMENT ON COLUMN nebula.job_running.progress IS '0 to 1 as last reported, or null';
COMMENT ON COLUMN nebula.job_running.detail IS 'Detail of the last heartbeat';
COMMENT ON COLUMN nebula.job_running.cancel_requested IS 'The next heartbeat tells the worker to stop';

COMMENT ON TABLE nebula.job_key IS 'Unique keys that are taken';
COMMENT ON COLUMN nebula.job_key.unique_key IS 'The key';
COMMENT ON COLUMN nebula.job_key.job_id IS 'The job that has it, or had it last';
COMMENT ON COLUMN nebula.job_key.held_until IS
  'Taken until then even if the job finishes before; null: only while it lives';

COMMENT ON TABLE nebula.job_dependency IS 'Which job waits for which';
COMMENT ON COLUMN nebula.job_dependency.parent_id IS 'Must succeed first';
COMMENT ON COLUMN nebula.job_dependency.child_id IS 'Waits';
