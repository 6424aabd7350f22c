-- Jobs in batches, and as a member of a project sees them.

CREATE FUNCTION nebula.enqueue_jobs(
  kind text, payloads jsonb[], priority integer DEFAULT 0, run_at timestamptz DEFAULT now(), max_attempts integer DEFAULT 5,
  project_id uuid DEFAULT NULL
) RETURNS SETOF bigint
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT unnest(nebula.enqueue_batch(
           enqueue_jobs.kind, enqueue_jobs.payloads, enqueue_jobs.priority, enqueue_jobs.run_at, enqueue_jobs.max_attempts,
           enqueue_jobs.project_id))
$$;
COMMENT ON FUNCTION nebula.enqueue_jobs(text, jsonb[], integer, timestamptz, integer, uuid) IS
  'Enqueues a job for each payload, in one statement; answers their identifiers in the same order. Errors: 22023 malformed argument';

CREATE FUNCTION nebula.find_jobs(
  actor uuid, of_project uuid, one bigint, most integer, of_kind text, in_state text, before bigint
) RETURNS SETOF nebula.job_status
-- Planned for the arguments of each call: one job is a look into each index, a page is read from its end.
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
  visible uuid[]  := ARRAY(SELECT nebula.visible_projects(actor));
  admin   boolean := EXISTS (SELECT FROM nebula.account a WHERE a.account_id = actor AND a.role = 'admin' AND a.disabled_at IS NULL);
BEGIN
  RETURN QUERY
  SELECT * FROM nebula.job_status j
   WHERE (j.project_id = ANY (visible) OR j.project_id IS NULL AND admin)
     AND (of_project IS NULL OR j.project_id = of_project)
     AND (one IS NULL OR j.job_id = one)
     AND (of_kind IS NULL OR j.kind = of_kind)
     AND (in_state IS NULL OR j.state = in_state)
     AND (before IS NULL OR j.job_id < before)
   ORDER BY j.job_id DESC
   LIMIT least(greatest(most, 1), 1000);
END $$;
COMMENT ON FUNCTION nebula.find_jobs(uuid, uuid, bigint, integer, text, text, bigint) IS 'The work of list_jobs';

CREATE FUNCTION nebula.list_jobs(
  actor uuid, project_id uuid DEFAULT NULL, job_id bigint DEFAULT NULL, max integer DEFAULT 100,
  kind text DEFAULT NULL, state text DEFAULT NULL, before bigint DEFAULT NULL
)
RETURNS TABLE (
  job_id bigint, kind text, state text, project_id uuid, payload jsonb, priority integer, attempt integer, max_attempts integer,
  worker text, progress real, detail jsonb, result jsonb, errors jsonb, enqueued_at timestamptz, run_at timestamptz,
  started_at timestamptz, finished_at timestamptz, cancel_requested boolean
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT j.job_id, j.kind, j.state, j.project_id, j.payload, j.priority, j.attempt, j.max_attempts, j.worker, j.progress,
         j.detail, j.result, j.errors, j.enqueued_at, j.run_at, j.started_at, j.finished_at, j.cancel_requested
    FROM nebula.find_jobs($1, $2, $3, $4, $5, $6, $7) j
   ORDER BY j.job_id DESC
$$;
COMMENT ON FUNCTION nebula.list_jobs(uuid, uuid, bigint, integer, text, text, bigint) IS
  'Newest jobs first, of the projects the account sees (administrators: also those of no project); of one kind or state if named; '
  'before pages back, at most 1000 a call';

-- Who may see a job may stop it and bring it back; nobody else learns that it exists.
CREATE FUNCTION nebula.require_job(actor uuid, job_id bigint) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  who     nebula.account := nebula.require_account(require_job.actor);
  project uuid;
  found   boolean;
BEGIN
  SELECT j.project_id, true INTO project, found FROM nebula.job_status j WHERE j.job_id = require_job.job_id;
  IF found IS NULL OR who.role <> 'admin' AND NOT EXISTS (
    SELECT FROM nebula.project_member m WHERE m.project_id = project AND m.account_id = require_job.actor
  ) THEN
    RAISE EXCEPTION 'there is no job %', require_job.job_id
      USING ERRCODE = 'P0002', HINT = 'List jobs: nebulactl jobs.';
  END IF;
  RETURN who.username;
END $$;
COMMENT ON FUNCTION nebula.require_job(uuid, bigint) IS
  'Username of the actor if it may see the job. Errors: 28000 unknown or disabled, P0002 no such job, or not for this account';

CREATE FUNCTION nebula.cancel_job_for(actor uuid, job_id bigint, client inet DEFAULT NULL) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  who   text := nebula.require_job(cancel_job_for.actor, cancel_job_for.job_id);
  state text := nebula.cancel_job(cancel_job_for.job_id);
BEGIN
  PERFORM nebula.record_event(j.project_id, who, 'cancel', 'job', j.job_id::text, cancel_job_for.client, jsonb_build_object('kind', j.kind))
     FROM nebula.job_status j WHERE j.job_id = cancel_job_for.job_id;
  RETURN state;
END $$;
COMMENT ON FUNCTION nebula.cancel_job_for(uuid, bigint, inet) IS
  'cancel_job for an account, on record. Errors: 28000, P0002 as require_job, 55000 finished';

CREATE FUNCTION nebula.retry_job_for(actor uuid, job_id bigint, client inet DEFAULT NULL) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  who text := nebula.require_job(retry_job_for.actor, retry_job_for.job_id);
BEGIN
  PERFORM nebula.retry_job(retry_job_for.job_id);
  PERFORM nebula.record_event(j.project_id, who, 'retry', 'job', j.job_id::text, retry_job_for.client, jsonb_build_object('kind', j.kind))
     FROM nebula.job_status j WHERE j.job_id = retry_job_for.job_id;
END $$;
COMMENT ON FUNCTION nebula.retry_job_for(uuid, bigint, inet) IS
  'retry_job for an account, on record. Errors: 28000, P0002 as require_job, 55000 neither dead, cancelled nor waiting, 23505 key taken';
