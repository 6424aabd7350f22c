-- From 0.1.0 to 0.2.0: steps that need the new tables.
INSERT INTO nebula.job_finished (job_id, kind, payload, project_id, state, priority, run_at, attempt, max_attempts,
                                 on_dead, errors, result, detail, enqueued_at, started_at, finished_at, segment)
SELECT job_id, kind, payload, project_id, state, priority, enqueued_at, attempt, max_attempts,
       'cancel', errors, result, detail, enqueued_at, started_at, finished_at, 0
  FROM nebula.job_finished_0_1_0;
DROP TABLE nebula.job_finished_0_1_0;
