-- Jobs as a member of a project sees them.

CREATE FUNCTION nebula.list_jobs(actor uuid, project_id uuid DEFAULT NULL, job_id bigint DEFAULT NULL, max integer DEFAULT 100)
RETURNS TABLE (
  job_id bigint, kind text, state text, project_id uuid, payload jsonb, priority integer, attempt integer, max_attempts integer,
  worker text, progress real, detail jsonb, result jsonb, errors jsonb, enqueued_at timestamptz, run_at timestamptz,
  started_at timestamptz, finished_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT j.job_id, j.kind, j.state, j.project_id, j.payload, j.priority, j.attempt, j.max_attempts, j.worker, j.progress,
         j.detail, j.result, j.errors, j.enqueued_at, j.run_at, j.started_at, j.finished_at
    FROM nebula.job_status j
   WHERE (j.project_id IN (SELECT nebula.visible_projects(actor))
          OR j.project_id IS NULL AND EXISTS (
            SELECT FROM nebula.account a WHERE a.account_id = actor AND a.role = 'admin' AND a.disabled_at IS NULL))
     AND (list_jobs.project_id IS NULL OR j.project_id = list_jobs.project_id)
     AND (list_jobs.job_id IS NULL OR j.job_id = list_jobs.job_id)
   ORDER BY j.job_id DESC
   LIMIT least(greatest(max, 1), 1000)
$$;
COMMENT ON FUNCTION nebula.list_jobs(uuid, uuid, bigint, integer) IS
  'Newest jobs first, of the projects the account sees (administrators: also those of no project); at most 1000 a call';
