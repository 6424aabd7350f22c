-- Jobs in batches, and jobs as the members of a project see them.

-- Functions in Rust.
COMMENT ON FUNCTION nebula.enqueue_job(
  text, jsonb, integer, timestamptz, integer, text, bigint[], uuid, uuid, text, interval, text
) IS
  'Enqueues a job and returns its identifier. unique_key: returns the job that has this key instead, while '
  'that job is not finished and for at least unique_for. depends_on: waits until all of these have '
  'succeeded; on_dead: when one dies or is cancelled, cancel this job or leave it to block. node_id, '
  'capability: only for workers on that node, or with that capability. Errors: 22023 malformed argument, '
  'P0002 no such parent, 55000 a parent is dead or cancelled';
COMMENT ON FUNCTION nebula.enqueue_batch(text, jsonb[], integer, timestamptz, integer, uuid) IS
  'Internal: the work of enqueue_jobs: identifiers in the order of the payloads. Errors: 22023 malformed '
  'argument';
COMMENT ON FUNCTION nebula.depend_job(bigint, bigint[]) IS
  'Makes a job that was not claimed yet wait for further jobs. Errors: P0002 no such job, 55000 claimed, '
  'or a parent is dead or cancelled, 22023 they would wait in a circle';
COMMENT ON FUNCTION nebula.claim_jobs(text, text[], integer, interval, uuid, text[]) IS
  'Gives due jobs to a worker under a lease, highest priority first, then longest due. Later calls for a '
  'job must name its attempt. Jobs for a node or a capability go only to workers that name it. Also '
  'rescues jobs with expired leases. Errors: 22023 malformed argument';
COMMENT ON FUNCTION nebula.finish_and_claim(
  bigint, integer, jsonb, text, text[], integer, interval, uuid, text[]
) IS
  'complete_job and claim_jobs in one call, hence one commit per job. Errors: 55000 lease lost, then '
  'nothing is claimed; 22023 malformed argument';
COMMENT ON FUNCTION nebula.heartbeat_job(bigint, integer, real, jsonb) IS
  'Extends the lease and records progress (0 to 1) and detail, null leaves them unchanged; returns '
  'continue, or cancel if the job should stop. Errors: 22023 progress not from 0 to 1, or detail of more than '
  '1 MiB, 55000 lease lost';
COMMENT ON FUNCTION nebula.complete_job(bigint, integer, jsonb) IS
  'Finishes a job as succeeded and unblocks the jobs that waited for it. Errors: 55000 lease lost, 22023 '
  'result of more than 1 MiB';
COMMENT ON FUNCTION nebula.complete_jobs(bigint[], integer[], jsonb[]) IS
  'complete_job for many jobs at once; returns the completed ones. The others have lost their leases and '
  'are left unchanged. Errors: 22023 not one attempt, or result, for each job, or a result of more than '
  '1 MiB';
COMMENT ON FUNCTION nebula.fail_job(bigint, integer, text, boolean) IS
  'Ends a failed attempt and returns the new state: available (it runs again later), dead or cancelled. '
  'Jobs that wait for a dead or cancelled job are cancelled, unless their on_dead is block. Of error 10 000 '
  'bytes are kept. Errors: 55000 lease lost';
COMMENT ON FUNCTION nebula.hand_back_job(bigint, integer, text) IS
  'Gives a running job back without counting the attempt as failed, and returns the new state: available, '
  'or cancelled if that was asked. Errors: 55000 lease lost';
COMMENT ON FUNCTION nebula.postpone_job(bigint, integer, interval, text) IS
  'Makes a running job wait for a time without counting the attempt as failed, because something outside '
  'of it is missing, such as room on a disk; returns the new state: available, or cancelled if that was '
  'asked. The reason is the last of its errors. Errors: 55000 lease lost, 22023 delay not positive';
COMMENT ON FUNCTION nebula.reclaim_job(bigint, integer, text, interval) IS
  'Gives a job back to the worker whose lease ran out while it could not be renewed, under the same '
  'attempt, and returns true; false when another attempt has begun or the job is finished. It counts '
  'towards limits again, but does not ask them, since the worker has never stopped: for a while one more '
  'job than the limit may run. Errors: 22023 lease not positive';
COMMENT ON FUNCTION nebula.cancel_job(bigint) IS
  'Cancels a job and returns cancelled if it was waiting; a running job returns cancelling and learns of '
  'it with its next heartbeat. Errors: P0002 no such job, 55000 finished';
COMMENT ON FUNCTION nebula.retry_job(bigint, integer) IS
  'Makes a dead or cancelled job available again, with that many more attempts, and restores the jobs that '
  'were cancelled because of it, blocked as before; or lets a job that waits for its time run now. Errors: '
  'P0002 no such job, 55000 blocked, running or succeeded, 23505 another job has its unique_key';
COMMENT ON FUNCTION nebula.rescue_jobs() IS
  'Takes jobs with expired leases from their workers; returns how many. Leases that nobody could renew '
  'because the server was down last up to a minute longer';
COMMENT ON FUNCTION nebula.release_due_jobs() IS
  'Makes jobs claimable whose run_at has come; returns how many. claim_jobs and the notifier process call '
  'it when a job is due';
COMMENT ON FUNCTION nebula.check_job(text, integer, integer) IS
  'Internal: refuses a malformed kind, priority or max_attempts. Errors: 22023';
COMMENT ON FUNCTION nebula.notify_enqueued(text, integer, timestamptz) IS
  'Internal: notifies workers and watchers, when the transaction commits, of jobs of a kind that a plain '
  'INSERT enqueued';
COMMENT ON FUNCTION nebula.wake_workers(text) IS
  'Internal: wakes workers of a kind, or with an empty one of all kinds, when the transaction commits';

-- Fixed plan (sql/README.md). jit = off, because the cost of disabled scans makes the plan look expensive enough to
-- be compiled.
ALTER FUNCTION nebula.release_due_jobs()
  SET enable_seqscan = off
  SET enable_bitmapscan = off
  SET jit = off
  SET plan_cache_mode = force_generic_plan;

CREATE FUNCTION nebula.enqueue_jobs(
  kind text,
  payloads jsonb[],
  priority integer DEFAULT 0,
  run_at timestamptz DEFAULT now(),
  max_attempts integer DEFAULT 5,
  project_id uuid DEFAULT NULL
) RETURNS SETOF bigint
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT unnest(
           nebula.enqueue_batch(enqueue_jobs.kind, enqueue_jobs.payloads, enqueue_jobs.priority,
                                enqueue_jobs.run_at, enqueue_jobs.max_attempts, enqueue_jobs.project_id)
         )
$$;
COMMENT ON FUNCTION nebula.enqueue_jobs(text, jsonb[], integer, timestamptz, integer, uuid) IS
  'Enqueues a job for each payload, in one statement; returns their identifiers in the same order. Errors: '
  '22023 malformed argument';

-- Planned for the arguments of each call (force_custom_plan): one job is an index lookup per table, a page of the
-- list is a backward index scan.
CREATE FUNCTION nebula.find_jobs(
  p_actor uuid, p_of_project uuid, p_one bigint, p_most integer, p_of_kind text, p_in_state text,
  p_before bigint
) RETURNS SETOF nebula.job_status
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  v_visible uuid[]  := ARRAY(SELECT nebula.visible_projects(p_actor));
  v_admin   boolean := EXISTS (SELECT
                                 FROM nebula.account a
                                WHERE a.account_id = p_actor
                                  AND a.role = 'admin'
                                  AND a.disabled_at IS NULL);
BEGIN
  RETURN QUERY
  SELECT * FROM nebula.job_status j
   WHERE (j.project_id = ANY (v_visible) OR j.project_id IS NULL AND v_admin)
     AND (p_of_project IS NULL OR j.project_id = p_of_project)
     AND (p_one IS NULL OR j.job_id = p_one)
     AND (p_of_kind IS NULL OR j.kind = p_of_kind)
     AND (p_in_state IS NULL OR j.state = p_in_state)
     AND (p_before IS NULL OR j.job_id < p_before)
   ORDER BY j.job_id DESC
   LIMIT least(greatest(p_most, 1), 1000);
END $$;
COMMENT ON FUNCTION nebula.find_jobs(uuid, uuid, bigint, integer, text, text, bigint) IS
  'Internal: the work of list_jobs';

CREATE FUNCTION nebula.list_jobs(
  actor nebula.proven_account,
  project_id uuid DEFAULT NULL,
  job_id bigint DEFAULT NULL,
  max integer DEFAULT 100,
  kind text DEFAULT NULL,
  state text DEFAULT NULL,
  before bigint DEFAULT NULL
) RETURNS TABLE (
  job_id bigint,
  kind text,
  state text,
  project_id uuid,
  payload jsonb,
  priority integer,
  attempt integer,
  max_attempts integer,
  worker text,
  progress real,
  detail jsonb,
  result jsonb,
  errors jsonb,
  enqueued_at timestamptz,
  run_at timestamptz,
  started_at timestamptz,
  finished_at timestamptz,
  cancel_requested boolean
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT j.job_id, j.kind, j.state, j.project_id, j.payload, j.priority, j.attempt, j.max_attempts,
         j.worker, j.progress, j.detail, j.result, j.errors, j.enqueued_at,
         -- RFC 3339 ends with the year 9999 and has no infinity; one such job must not break the list.
         least(greatest(j.run_at, '0001-01-01 00:00+00'), '9999-12-31 00:00+00'), j.started_at,
         j.finished_at, j.cancel_requested
    FROM nebula.find_jobs($1, $2, $3, $4, $5, $6, $7) j
   ORDER BY j.job_id DESC
$$;
COMMENT ON FUNCTION nebula.list_jobs(nebula.proven_account, uuid, bigint, integer, text, text, bigint) IS
  'For the gateway: newest jobs first, of the projects the account sees (administrators: also those of '
  'no project); of one kind or state if named; before pages back, at most 1000 a call';

CREATE FUNCTION nebula.count_jobs(p_actor nebula.proven_account, p_project_id uuid, p_kind text)
RETURNS TABLE (state text, jobs bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp SET jit = off AS $$
DECLARE
  v_visible CONSTANT uuid[]  := ARRAY(SELECT v
                                        FROM nebula.visible_projects(p_actor) v
                                       WHERE p_project_id IS NULL OR v = p_project_id);
  v_admin   CONSTANT boolean := p_project_id IS NULL AND EXISTS (SELECT
                                                                  FROM nebula.account a
                                                                 WHERE a.account_id = p_actor
                                                                   AND a.role = 'admin'
                                                                   AND a.disabled_at IS NULL);
BEGIN
  RETURN QUERY
    SELECT j.state, count(*)
      FROM nebula.job_status j
     WHERE (j.project_id = ANY (v_visible) OR j.project_id IS NULL AND v_admin)
       AND (p_kind IS NULL OR j.kind = p_kind)
     GROUP BY j.state;
END $$;
COMMENT ON FUNCTION nebula.count_jobs(nebula.proven_account, uuid, text) IS
  'For the gateway: how many jobs of the projects the account sees, by state; of one kind if named';

-- For an account that does not see a job, the job does not exist.
CREATE FUNCTION nebula.require_job(p_actor uuid, p_job_id bigint) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who     nebula.account := nebula.require_account(p_actor);
  v_project uuid;
  v_found   boolean;
BEGIN
  SELECT j.project_id, true
    INTO v_project, v_found
    FROM nebula.job_status j
   WHERE j.job_id = p_job_id;
  IF v_found IS NULL OR nebula.role_in(p_actor, v_project) IS NULL THEN
    RAISE EXCEPTION 'there is no job %', p_job_id
      USING ERRCODE = 'P0002', HINT = 'List jobs: nebulactl jobs.';
  END IF;
  RETURN nebula.require_permission(p_actor, v_project, 'job.write');
END $$;
COMMENT ON FUNCTION nebula.require_job(uuid, bigint) IS
  'Internal: username of the actor if it may change the job. Errors: 28000 unknown or disabled, P0002 no such job, or '
  'not for this account, 42501';

CREATE FUNCTION nebula.cancel_job_for(p_actor nebula.proven_account, p_job_id bigint, p_client inet DEFAULT NULL)
RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who   text := nebula.require_job(p_actor, p_job_id);
  v_state text := nebula.cancel_job(p_job_id);
BEGIN
  PERFORM nebula.record_event(j.project_id, v_who, 'cancel', 'job', j.job_id::text, p_client,
                              jsonb_build_object('kind', j.kind))
    FROM nebula.job_status j
   WHERE j.job_id = p_job_id;
  RETURN v_state;
END $$;
COMMENT ON FUNCTION nebula.cancel_job_for(nebula.proven_account, bigint, inet) IS
  'For the gateway: cancel_job for an account, on record. Errors: 28000, P0002, 42501 as require_job, 55000 '
  'finished';

CREATE FUNCTION nebula.retry_job_for(p_actor nebula.proven_account, p_job_id bigint, p_client inet DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who text := nebula.require_job(p_actor, p_job_id);
BEGIN
  PERFORM nebula.retry_job(p_job_id);
  PERFORM nebula.record_event(j.project_id, v_who, 'retry', 'job', j.job_id::text, p_client,
                              jsonb_build_object('kind', j.kind))
    FROM nebula.job_status j
   WHERE j.job_id = p_job_id;
END $$;
COMMENT ON FUNCTION nebula.retry_job_for(nebula.proven_account, bigint, inet) IS
  'For the gateway: retry_job for an account, on record. Errors: 28000, P0002 as require_job, 55000 '
  'neither dead, cancelled nor waiting, 23505 key taken';
