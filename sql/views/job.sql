-- Jobs of all three tables with their state.
CREATE VIEW nebula.job_status AS
SELECT w.job_id, w.kind, CASE WHEN w.blocked_by > 0 THEN 'blocked' ELSE 'available' END AS state, w.project_id, w.payload,
       w.priority, w.attempt, w.max_attempts, NULL::text AS worker, NULL::real AS progress, NULL::jsonb AS detail,
       NULL::jsonb AS result, w.errors, w.enqueued_at, w.run_at, NULL::timestamptz AS started_at,
       NULL::timestamptz AS lease_until, NULL::timestamptz AS finished_at, w.node_id, w.unique_key
  FROM nebula.job_waiting w
UNION ALL
SELECT r.job_id, r.kind, 'running', r.project_id, r.payload, r.priority, r.attempt, r.max_attempts, r.worker, r.progress,
       r.detail, NULL, r.errors, r.enqueued_at, NULL, r.started_at, r.lease_until, NULL, r.node_id, r.unique_key
  FROM nebula.job_running r
UNION ALL
SELECT f.job_id, f.kind, f.state, f.project_id, f.payload, f.priority, f.attempt, f.max_attempts, NULL,
       CASE f.state WHEN 'succeeded' THEN 1::real END, f.detail, f.result, f.errors, f.enqueued_at, NULL, f.started_at, NULL,
       f.finished_at, NULL, NULL
  FROM nebula.job_finished f;

COMMENT ON VIEW nebula.job_status IS 'All jobs with their state';
COMMENT ON COLUMN nebula.job_status.job_id IS 'Identifier';
COMMENT ON COLUMN nebula.job_status.kind IS 'What to do';
COMMENT ON COLUMN nebula.job_status.state IS 'blocked, available, running, succeeded, dead or cancelled';
COMMENT ON COLUMN nebula.job_status.project_id IS 'Project it works for';
COMMENT ON COLUMN nebula.job_status.payload IS 'What to do it with';
COMMENT ON COLUMN nebula.job_status.priority IS 'Higher runs first';
COMMENT ON COLUMN nebula.job_status.attempt IS 'Attempts made, the running one included';
COMMENT ON COLUMN nebula.job_status.max_attempts IS 'Attempts allowed';
COMMENT ON COLUMN nebula.job_status.worker IS 'Who has it';
COMMENT ON COLUMN nebula.job_status.progress IS '0 to 1';
COMMENT ON COLUMN nebula.job_status.detail IS 'What the worker last said about it';
COMMENT ON COLUMN nebula.job_status.result IS 'What the worker answered';
COMMENT ON COLUMN nebula.job_status.errors IS 'One entry per failed attempt';
COMMENT ON COLUMN nebula.job_status.enqueued_at IS 'When it was enqueued';
COMMENT ON COLUMN nebula.job_status.run_at IS 'Not before this';
COMMENT ON COLUMN nebula.job_status.started_at IS 'When its last attempt was claimed';
COMMENT ON COLUMN nebula.job_status.lease_until IS 'Rescued after this';
COMMENT ON COLUMN nebula.job_status.finished_at IS 'When it finished';
COMMENT ON COLUMN nebula.job_status.node_id IS 'Pinned to this node';
COMMENT ON COLUMN nebula.job_status.unique_key IS 'Only one living job has this key';
