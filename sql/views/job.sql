-- All jobs with their state: the union of the three tables.
CREATE VIEW nebula.job_status AS
SELECT w.job_id, w.kind, CASE WHEN w.blocked_by > 0 THEN 'blocked' ELSE 'available' END AS state,
       w.project_id, w.payload, w.priority, w.attempt, w.max_attempts, NULL::text AS worker,
       NULL::real AS progress, NULL::jsonb AS detail, NULL::jsonb AS result, w.errors, w.enqueued_at,
       w.run_at, NULL::timestamptz AS started_at, NULL::timestamptz AS lease_until,
       NULL::timestamptz AS finished_at, w.node_id, w.unique_key, w.capability, false AS cancel_requested
  FROM nebula.job_waiting w
UNION ALL
SELECT r.job_id, r.kind, 'running', r.project_id, r.payload, r.priority, r.attempt, r.max_attempts,
       r.worker, r.progress, r.detail, NULL, r.errors, r.enqueued_at, r.run_at, r.started_at, r.lease_until,
       NULL, r.node_id, r.unique_key, r.capability, r.cancel_requested
  FROM nebula.job_running r
UNION ALL
SELECT f.job_id, f.kind, f.state, f.project_id, f.payload, f.priority, f.attempt, f.max_attempts, f.worker,
       CASE f.state WHEN 'succeeded' THEN 1::real ELSE f.progress END, f.detail, f.result, f.errors,
       f.enqueued_at, f.run_at, f.started_at, NULL, f.finished_at, f.node_id, f.unique_key, f.capability,
       false
  FROM nebula.job_finished f;

COMMENT ON VIEW nebula.job_status IS 'All jobs with their state';
COMMENT ON COLUMN nebula.job_status.job_id IS 'Identifier';
COMMENT ON COLUMN nebula.job_status.kind IS 'Kind of work';
COMMENT ON COLUMN nebula.job_status.state IS 'blocked, available, running, succeeded, dead or cancelled';
COMMENT ON COLUMN nebula.job_status.project_id IS 'Project it works for';
COMMENT ON COLUMN nebula.job_status.payload IS 'Arguments of the work';
COMMENT ON COLUMN nebula.job_status.priority IS 'Higher runs first';
COMMENT ON COLUMN nebula.job_status.attempt IS 'Attempts made, the running one included';
COMMENT ON COLUMN nebula.job_status.max_attempts IS 'Attempts allowed';
COMMENT ON COLUMN nebula.job_status.worker IS 'Worker that runs it, or ran it last';
COMMENT ON COLUMN nebula.job_status.progress IS '0 to 1';
COMMENT ON COLUMN nebula.job_status.detail IS 'Detail of the last heartbeat';
COMMENT ON COLUMN nebula.job_status.result IS 'Result that the worker gave';
COMMENT ON COLUMN nebula.job_status.errors IS
  'One entry per failed attempt, and one, marked as postponed, for attempts that found no room or the like';
COMMENT ON COLUMN nebula.job_status.enqueued_at IS 'When it was enqueued';
COMMENT ON COLUMN nebula.job_status.run_at IS 'Not before this';
COMMENT ON COLUMN nebula.job_status.started_at IS 'When its last attempt was claimed';
COMMENT ON COLUMN nebula.job_status.lease_until IS 'Rescued after this';
COMMENT ON COLUMN nebula.job_status.finished_at IS 'When it finished';
COMMENT ON COLUMN nebula.job_status.node_id IS 'Only for workers on this node; null: anywhere';
COMMENT ON COLUMN nebula.job_status.unique_key IS 'Only one living job has this key';
COMMENT ON COLUMN nebula.job_status.capability IS 'Only for workers that can do this';
COMMENT ON COLUMN nebula.job_status.cancel_requested IS 'Runs, and is to stop with its next heartbeat';

-- Kinds of job: waiting, running, and the results of the last hour, which the BRIN index of job_finished finds.
CREATE VIEW nebula.job_kind AS
SELECT kind, coalesce(w.blocked, 0) AS blocked, coalesce(w.scheduled, 0) AS scheduled,
       coalesce(w.available, 0) AS available, w.oldest AS oldest_available,
       coalesce(r.running, 0) AS running, coalesce(f.succeeded, 0) AS succeeded,
       coalesce(f.dead, 0) AS dead, round(coalesce(f.succeeded, 0) / 60.0, 2) AS per_minute,
       round(100.0 * f.failures / nullif(f.attempts, 0), 1) AS failure_percent, f.wait AS mean_wait,
       f.work AS mean_work, p.paused_at, p.max_running, p.max_per_project,
       coalesce(p.retention, interval '7 days') AS retention
  FROM (SELECT w.kind, count(*) FILTER (WHERE w.blocked_by > 0) AS blocked,
               count(*) FILTER (WHERE w.blocked_by = 0 AND w.run_at > now()) AS scheduled,
               count(*) FILTER (WHERE w.blocked_by = 0 AND w.run_at <= now()) AS available,
               min(w.run_at) FILTER (WHERE w.blocked_by = 0 AND w.run_at <= now()) AS oldest
          FROM nebula.job_waiting w
         GROUP BY w.kind) w
  FULL JOIN (SELECT r.kind, count(*) AS running FROM nebula.job_running r GROUP BY r.kind) r USING (kind)
  FULL JOIN (SELECT f.kind, count(*) FILTER (WHERE f.state = 'succeeded') AS succeeded,
                    count(*) FILTER (WHERE f.state = 'dead') AS dead,
                    sum(jsonb_array_length(f.errors)) AS failures, sum(f.attempt) AS attempts,
                    avg(f.started_at - f.run_at) AS wait, avg(f.finished_at - f.started_at) AS work
               FROM nebula.job_finished f
              WHERE f.finished_at > now() - interval '1 hour'
              GROUP BY f.kind) f USING (kind)
  FULL JOIN nebula.job_policy p USING (kind);

COMMENT ON VIEW nebula.job_kind IS
  'Kinds of job: what waits, what runs, how the last hour went, pauses and limits';
COMMENT ON COLUMN nebula.job_kind.kind IS 'The kind';
COMMENT ON COLUMN nebula.job_kind.blocked IS 'Wait for other jobs';
COMMENT ON COLUMN nebula.job_kind.scheduled IS 'Due later';
COMMENT ON COLUMN nebula.job_kind.available IS 'Due and not claimed';
COMMENT ON COLUMN nebula.job_kind.oldest_available IS 'Since when the oldest of those is due';
COMMENT ON COLUMN nebula.job_kind.running IS 'Claimed by workers';
COMMENT ON COLUMN nebula.job_kind.succeeded IS 'Succeeded in the last hour';
COMMENT ON COLUMN nebula.job_kind.dead IS 'Died in the last hour';
COMMENT ON COLUMN nebula.job_kind.per_minute IS 'Successes per minute, over the last hour';
COMMENT ON COLUMN nebula.job_kind.failure_percent IS
  'Failed attempts of a hundred, of jobs that finished in the last hour';
COMMENT ON COLUMN nebula.job_kind.mean_wait IS
  'Time between due and claimed, of jobs that finished in the last hour';
COMMENT ON COLUMN nebula.job_kind.mean_work IS
  'Time between claimed and finished, of jobs that finished in the last hour';
COMMENT ON COLUMN nebula.job_kind.paused_at IS 'Not claimed since then; null: claimed';
COMMENT ON COLUMN nebula.job_kind.max_running IS 'At most so many run at once; null: no limit';
COMMENT ON COLUMN nebula.job_kind.max_per_project IS
  'At most so many run at once for one project; null: no limit';
COMMENT ON COLUMN nebula.job_kind.retention IS 'Finished ones are kept for so long';
