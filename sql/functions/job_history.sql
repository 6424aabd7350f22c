-- What becomes of finished jobs.

-- Sessions remember which segment takes what finishes.
CREATE TRIGGER job_segment_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON nebula.job_segment
  FOR EACH STATEMENT EXECUTE FUNCTION nebula.table_changed();
ALTER TABLE nebula.job_segment ENABLE ALWAYS TRIGGER job_segment_changed;

CREATE FUNCTION nebula.prune_jobs(older_than interval DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_variable
DECLARE
  usual    CONSTANT interval := '7 days';
  at       CONSTANT timestamptz := clock_timestamp();
  present  bigint := (SELECT s.last_value FROM nebula.job_segment_seq s);
  orphan   record;
  part     text;
  expired  bigint;
  kept     bigint;
  vacant   bigint;
  pruned   bigint := 0;
BEGIN
  IF older_than < interval '0' THEN
    RAISE EXCEPTION 'older_than is %', older_than USING ERRCODE = '22023', HINT = 'Give a length of time, or null to go by the retention of each kind.';
  END IF;
  -- With an older snapshot, jobs that finished since would be truncated unseen.
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'prune_jobs cannot run in a % transaction', current_setting('transaction_isolation')
      USING ERRCODE = '55000', HINT = 'Run it in a transaction of its own.';
  END IF;
  IF NOT pg_try_advisory_xact_lock(hashtext('nebula_job_finished')) THEN
    RETURN 0;
  END IF;
  -- The present one last: by then there is room to turn to.
  FOR step IN 1..8 LOOP
    part := format('nebula.job_finished_%s', (present + step) % 8);
    EXECUTE format(
      'SELECT count(*) FILTER (WHERE f.finished_at <= $1 - coalesce($2, p.retention, $3)),
              count(*) FILTER (WHERE f.finished_at > $1 - coalesce($2, p.retention, $3))
         FROM %s f LEFT JOIN nebula.job_policy p USING (kind)', part)
      INTO expired, kept USING at, older_than, usual;
    -- By itself it waits until half a segment can go: so each job is copied a few times at most.
    CONTINUE WHEN expired = 0 OR older_than IS NULL AND expired < kept;
    IF step = 8 THEN
      vacant := nebula.vacant_segment();
      CONTINUE WHEN vacant IS NULL;
      PERFORM nebula.turn_segment(vacant);
    END IF;
    BEGIN
      -- Whoever reads or writes it just now is not disturbed; there is a next time.
      EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE NOWAIT', part);
    EXCEPTION WHEN lock_not_available THEN
      RAISE NOTICE 'segment % of the finished jobs is in use and was left for the next time', part;
      CONTINUE;
    END;
    EXECUTE format('SELECT count(*) FROM %s', part) INTO expired;
    EXECUTE format(
      'INSERT INTO nebula.job_finished
       SELECT f.job_id, f.kind, f.payload, f.project_id, f.state, f.priority, f.run_at, f.attempt, f.max_attempts, f.on_dead,
              f.node_id, f.capability, f.unique_key, f.errors, f.result, f.worker, f.progress, f.detail, f.enqueued_at,
              f.started_at, f.finished_at, (SELECT s.last_value FROM nebula.job_segment_seq s)
         FROM %s f LEFT JOIN nebula.job_policy p USING (kind)
        WHERE f.finished_at > $1 - coalesce($2, p.retention, $3)', part)
      USING at, older_than, usual;
    GET DIAGNOSTICS kept = ROW_COUNT;
    EXECUTE format('TRUNCATE %s', part);
    pruned := pruned + expired - kept;
  END LOOP;
  -- Keys that only time held, and children of parents that nobody can bring back.
  DELETE FROM nebula.job_key k WHERE k.held_until <= at
     AND NOT EXISTS (SELECT FROM nebula.job_waiting w WHERE w.job_id = k.job_id)
     AND NOT EXISTS (SELECT FROM nebula.job_running r WHERE r.job_id = k.job_id);
  IF pruned > 0 THEN
    FOR orphan IN
      SELECT DISTINCT d.child_id FROM nebula.job_dependency d
       WHERE NOT EXISTS (SELECT FROM nebula.job_status j WHERE j.job_id = d.parent_id)
    LOOP
      PERFORM nebula.cancel_job(orphan.child_id) FROM nebula.job_waiting w WHERE w.job_id = orphan.child_id;
    END LOOP;
    -- And what those who were cancelled with a parent waited for, once one of the two is forgotten.
    DELETE FROM nebula.job_dependency d
     WHERE NOT EXISTS (SELECT FROM nebula.job_status j WHERE j.job_id = d.parent_id)
        OR NOT EXISTS (SELECT FROM nebula.job_status j WHERE j.job_id = d.child_id);
  END IF;
  RETURN pruned;
END $$;
COMMENT ON FUNCTION nebula.prune_jobs(interval) IS
  'Forgets finished jobs: those that finished longer ago than older_than, or null: than the retention of their kind, once that frees '
  'half a segment. By TRUNCATE, never DELETE; a segment that somebody reads just now is left for the next time. '
  'Answers how many jobs. Errors: 22023 below zero, 55000 not in a read committed transaction';

CREATE FUNCTION nebula.vacant_segment() RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  present bigint := (SELECT s.last_value FROM nebula.job_segment_seq s);
  taken   boolean;
BEGIN
  FOR step IN 1..7 LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM nebula.job_finished_%s)', (present + step) % 8) INTO taken;
    IF NOT taken THEN
      RETURN (present + step) % 8;
    END IF;
  END LOOP;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION nebula.vacant_segment() IS 'The next segment of job_finished that is empty; null: none is';

CREATE FUNCTION nebula.turn_segment(segment bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  INSERT INTO nebula.job_segment AS s (segment, opened_at) VALUES (turn_segment.segment, clock_timestamp())
  ON CONFLICT ON CONSTRAINT job_segment_pkey DO UPDATE SET opened_at = EXCLUDED.opened_at;
  SELECT setval('nebula.job_segment_seq', turn_segment.segment)
$$;
COMMENT ON FUNCTION nebula.turn_segment(bigint) IS 'Makes a segment of job_finished the one that takes what finishes';

CREATE FUNCTION nebula.maintain_jobs() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  vacant bigint;
  opened timestamptz := (SELECT g.opened_at FROM nebula.job_segment g, nebula.job_segment_seq s WHERE g.segment = s.last_value);
BEGIN
  -- A day and a half: with a week of retention five segments are in use, and three are spare.
  IF opened IS NULL THEN
    PERFORM nebula.turn_segment(s.last_value) FROM nebula.job_segment_seq s;
  ELSIF opened < clock_timestamp() - interval '36 hours' THEN
    vacant := nebula.vacant_segment();
    IF vacant IS NOT NULL THEN
      PERFORM nebula.turn_segment(vacant);
    END IF;
  END IF;
  PERFORM nebula.prune_jobs();
END $$;
COMMENT ON FUNCTION nebula.maintain_jobs() IS
  'What the background worker does now and then for finished jobs: turns to the next segment and prunes. Any scheduler may call it instead';
