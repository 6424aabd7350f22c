-- Pauses, limits and retention, by kind of job.

-- Sessions cache which kinds are paused or limited, and whether any project is; these triggers invalidate the cache.
CREATE TRIGGER job_policy_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON nebula.job_policy
  FOR EACH STATEMENT EXECUTE FUNCTION nebula.table_changed();
ALTER TABLE nebula.job_policy ENABLE ALWAYS TRIGGER job_policy_changed;
CREATE TRIGGER job_quota_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON nebula.job_quota
  FOR EACH STATEMENT EXECUTE FUNCTION nebula.table_changed();
ALTER TABLE nebula.job_quota ENABLE ALWAYS TRIGGER job_quota_changed;

CREATE FUNCTION nebula.pause_jobs(kind text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_kind CONSTANT text := kind;
BEGIN
  PERFORM nebula.check_job(v_kind);
  INSERT INTO nebula.job_policy AS p (kind, paused_at)
  VALUES (v_kind, now())
  ON CONFLICT ON CONSTRAINT job_policy_pkey DO UPDATE
     SET paused_at = coalesce(p.paused_at, now());
END $$;
COMMENT ON FUNCTION nebula.pause_jobs(text) IS
  'Stops claims of jobs of a kind; running jobs go on, and new ones wait. Idempotent. Errors: 22023 '
  'malformed kind';

CREATE FUNCTION nebula.resume_jobs(kind text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_kind CONSTANT text := kind;
BEGIN
  PERFORM nebula.check_job(v_kind);
  UPDATE nebula.job_policy p
     SET paused_at = NULL
   WHERE p.kind = v_kind
     AND p.paused_at IS NOT NULL;
  IF FOUND THEN
    PERFORM nebula.wake_workers(v_kind);
  END IF;
END $$;
COMMENT ON FUNCTION nebula.resume_jobs(text) IS
  'Allows claims of jobs of a kind again. Idempotent. Errors: 22023 malformed kind';

CREATE FUNCTION nebula.limit_jobs(
  kind text,
  max_running integer DEFAULT NULL,
  max_per_project integer DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_kind            CONSTANT text := kind;
  v_max_running     CONSTANT integer := max_running;
  v_max_per_project CONSTANT integer := max_per_project;
BEGIN
  PERFORM nebula.check_job(v_kind);
  IF v_max_running < 0 OR v_max_per_project < 0 THEN
    RAISE EXCEPTION 'jobs of kind "%" cannot be limited to % at once and % for each project',
        v_kind, v_max_running, v_max_per_project
      USING ERRCODE = '22023', HINT = 'Give numbers from 0, or null for no limit.';
  END IF;
  INSERT INTO nebula.job_policy AS p (kind, max_running, max_per_project)
  VALUES (v_kind, v_max_running, v_max_per_project)
  ON CONFLICT ON CONSTRAINT job_policy_pkey
  DO UPDATE SET max_running = EXCLUDED.max_running, max_per_project = EXCLUDED.max_per_project;
  -- Jobs that run already count towards the limit from now on.
  UPDATE nebula.job_running r
     SET limited = true
   WHERE r.kind = v_kind AND NOT r.limited
     AND (v_max_running IS NOT NULL OR v_max_per_project IS NOT NULL);
  PERFORM nebula.wake_workers(v_kind);
END $$;
COMMENT ON FUNCTION nebula.limit_jobs(text, integer, integer) IS
  'Limits how many jobs of a kind run at once, in all and per project; null: no limit. Running jobs go on. '
  'Errors: 22023 malformed kind or below zero';

CREATE FUNCTION nebula.limit_project_jobs(project_id uuid, max_running integer DEFAULT NULL)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_project_id  CONSTANT uuid := project_id;
  v_max_running CONSTANT integer := max_running;
BEGIN
  PERFORM nebula.require_project(v_project_id);
  IF v_max_running < 0 THEN
    RAISE EXCEPTION 'jobs of project % cannot be limited to % at once', v_project_id, v_max_running
      USING ERRCODE = '22023', HINT = 'Give a number from 0, or null for no limit.';
  END IF;
  IF v_max_running IS NULL THEN
    DELETE FROM nebula.job_quota q WHERE q.project_id = v_project_id;
  ELSE
    INSERT INTO nebula.job_quota AS q (project_id, max_running)
    VALUES (v_project_id, v_max_running)
    ON CONFLICT ON CONSTRAINT job_quota_pkey DO UPDATE
       SET max_running = EXCLUDED.max_running;
    -- Jobs that run already count towards the limit from now on.
    UPDATE nebula.job_running r
       SET limited = true
     WHERE r.project_id = v_project_id
       AND NOT r.limited;
  END IF;
  PERFORM nebula.wake_workers('');
END $$;
COMMENT ON FUNCTION nebula.limit_project_jobs(uuid, integer) IS
  'Limits how many jobs of a project run at once, all kinds together; null: no limit. Running jobs go on. '
  'While any project is limited, claims are serialized. Errors: P0002 no such project, 22023 below zero';

CREATE FUNCTION nebula.retain_jobs(kind text, retention interval) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_kind      CONSTANT text := kind;
  v_retention CONSTANT interval := retention;
BEGIN
  PERFORM nebula.check_job(v_kind);
  PERFORM nebula.check_span('retention', v_retention, '0');
  INSERT INTO nebula.job_policy AS p (kind, retention)
  VALUES (v_kind, v_retention)
  ON CONFLICT ON CONSTRAINT job_policy_pkey DO UPDATE
     SET retention = EXCLUDED.retention;
END $$;
COMMENT ON FUNCTION nebula.retain_jobs(text, interval) IS
  'Sets how long finished jobs of a kind are kept; null: a week. Errors: 22023 malformed kind, below zero or more '
  'than 100 years';
