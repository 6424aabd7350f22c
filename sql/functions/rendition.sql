-- Renditions: what workers make from contents.

CREATE FUNCTION nebula.require_attempt(p_job_id bigint, p_attempt integer) RETURNS nebula.job_running
LANGUAGE plpgsql AS $$
DECLARE
  v_job nebula.job_running;
BEGIN
  -- The row lock keeps rescue_jobs from giving the job to another attempt until this transaction ends.
  SELECT r.*
    INTO v_job
    FROM nebula.job_running r
   WHERE r.job_id = p_job_id
     AND r.attempt = p_attempt
     FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'attempt % of job % has lost its lease', p_attempt, p_job_id
      USING ERRCODE = '55000', HINT = 'Drop the work; another attempt has it or the job is finished.';
  END IF;
  RETURN v_job;
END $$;
COMMENT ON FUNCTION nebula.require_attempt(bigint, integer) IS
  'Internal: the running job, locked, if this attempt still has it. Errors: 55000 lease lost';

CREATE FUNCTION nebula.attempts_left(p_job_id bigint, p_attempt integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_job nebula.job_running := nebula.require_attempt(p_job_id, p_attempt);
BEGIN
  -- An attempt that waited or was handed back has added one.
  RETURN v_job.max_attempts - v_job.attempt;
END $$;
COMMENT ON FUNCTION nebula.attempts_left(bigint, integer) IS
  'For the worker: how many more attempts a running job has; those that only waited or were handed back do not count. '
  'Errors: 55000 lease lost';

CREATE FUNCTION nebula.require_wanted(p_job_id bigint, p_attempt integer, p_content_id uuid) RETURNS nebula.job_running
LANGUAGE plpgsql AS $$
DECLARE
  v_job nebula.job_running;
BEGIN
  -- Before the job, as in functions/trash.sql, where it is locked while its jobs are cancelled.
  PERFORM
     FROM nebula.content c
    WHERE c.content_id = p_content_id
      FOR NO KEY UPDATE;
  v_job := nebula.require_attempt(p_job_id, p_attempt);
  -- Its files may be back from the trash, with other jobs, into whose work this one must not write.
  IF v_job.cancel_requested THEN
    RAISE EXCEPTION 'job % was cancelled', p_job_id
      USING ERRCODE = 'P0002', HINT = 'Drop the work.';
  END IF;
  RETURN v_job;
END $$;
COMMENT ON FUNCTION nebula.require_wanted(bigint, integer, uuid) IS
  'Internal: require_attempt for a job that makes something of a content, which is locked first. Errors: 55000 lease '
  'lost, P0002 the job was cancelled';

CREATE FUNCTION nebula.add_rendition(
  p_job_id bigint, p_attempt integer, p_content_id uuid, p_kind text, p_storage_key text,
  p_size bigint, p_sha256 bytea, p_content_type text, p_detail jsonb DEFAULT '{}'
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_made uuid;
BEGIN
  PERFORM nebula.check_size('the detail of the rendition', p_detail);
  PERFORM nebula.require_wanted(p_job_id, p_attempt, p_content_id);
  INSERT INTO nebula.rendition AS r (content_id, kind, storage_key, size, sha256, content_type, detail)
  SELECT c.content_id, p_kind, p_storage_key, p_size, p_sha256, p_content_type, p_detail
    FROM nebula.content c
   WHERE c.content_id = p_content_id
  ON CONFLICT ON CONSTRAINT rendition_content_kind_key DO UPDATE
     SET storage_key = EXCLUDED.storage_key,
         size = EXCLUDED.size,
         sha256 = EXCLUDED.sha256,
         content_type = EXCLUDED.content_type,
         detail = EXCLUDED.detail,
         made_at = now()
  RETURNING r.rendition_id INTO v_made;
  IF v_made IS NULL THEN
    RAISE EXCEPTION 'there is no content %', p_content_id
      USING ERRCODE = 'P0002', HINT = 'Its files were deleted; drop the work.';
  END IF;
  PERFORM nebula.notify_event(f.project_id, 'file', f.file_id::text, 'rendition')
    FROM nebula.file f
   WHERE f.content_id = p_content_id;
  RETURN v_made;
END $$;
COMMENT ON FUNCTION nebula.add_rendition(bigint, integer, uuid, text, text, bigint, bytea, text, jsonb) IS
  'For the worker: records what a running job made from a content; fenced by the attempt. Errors: 55000 '
  'lease lost, P0002 its files were deleted, or the job cancelled, 22023 a detail of more than 1 MiB';
