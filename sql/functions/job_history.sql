-- Finished jobs: segments, retention, pruning.

-- Sessions cache which segment receives finished jobs; this trigger invalidates the cache.
CREATE TRIGGER job_segment_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON nebula.job_segment
  FOR EACH STATEMENT EXECUTE FUNCTION nebula.table_changed();
ALTER TABLE nebula.job_segment ENABLE ALWAYS TRIGGER job_segment_changed;

CREATE FUNCTION nebula.prune_jobs(older_than interval DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_older_than CONSTANT interval := older_than;
  v_usual      CONSTANT interval := interval '7 days';
  v_at         CONSTANT timestamptz := clock_timestamp();
  v_present    bigint := (SELECT s.last_value FROM nebula.job_segment_seq s);
  -- All but the segment, which changes when a job is kept.
  v_columns    text := (SELECT string_agg(quote_ident(a.attname), ', ')
                          FROM pg_attribute a
                         WHERE a.attrelid = 'nebula.job_finished'::regclass
                           AND a.attnum > 0
                           AND NOT a.attisdropped
                           AND a.attname <> 'segment');
  v_orphan     record;
  v_part       text;
  v_expired    bigint;
  v_kept       bigint;
  v_vacant     bigint;
  v_pruned     bigint := 0;
BEGIN
  PERFORM nebula.check_span('older_than', v_older_than, '0');
  -- A snapshot older than the lock would not see jobs that finished since, and TRUNCATE would lose them.
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'prune_jobs cannot run in a % transaction', current_setting('transaction_isolation')
      USING ERRCODE = '55000', HINT = 'Run it in a transaction of its own.';
  END IF;
  IF NOT nebula.try_lock('finished jobs') THEN
    RETURN 0;
  END IF;
  -- The current segment comes last (step 8): by then another one is likely to be empty.
  FOR v_step IN 1..8 LOOP
    v_part := format('nebula.job_finished_%s', (v_present + v_step) % 8);
    EXECUTE format(
      'SELECT count(*) FILTER (WHERE f.finished_at <= $1 - coalesce($2, p.retention, $3)),
              count(*) FILTER (WHERE f.finished_at > $1 - coalesce($2, p.retention, $3))
         FROM %s f
         LEFT JOIN nebula.job_policy p USING (kind)', v_part)
      INTO v_expired, v_kept USING v_at, v_older_than, v_usual;
    -- Without older_than, wait until at least half of a segment has expired, so that each job is copied only a few
    -- times in its life.
    CONTINUE WHEN v_expired = 0 OR v_older_than IS NULL AND v_expired < v_kept;
    IF v_step = 8 THEN
      v_vacant := nebula.vacant_segment();
      CONTINUE WHEN v_vacant IS NULL;
      PERFORM nebula.switch_segment(v_vacant);
    END IF;
    BEGIN
      -- NOWAIT: readers and writers are not blocked; the next run tries again.
      EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE NOWAIT', v_part);
    EXCEPTION WHEN lock_not_available THEN
      RAISE NOTICE 'segment % of the finished jobs is in use and was left for the next time', v_part;
      CONTINUE;
    END;
    EXECUTE format('SELECT count(*) FROM %s', v_part) INTO v_expired;
    EXECUTE format(
      'INSERT INTO nebula.job_finished (%1$s, segment)
       SELECT %1$s, (SELECT s.last_value FROM nebula.job_segment_seq s)
         FROM (SELECT f.* FROM %2$s f
                 LEFT JOIN nebula.job_policy p USING (kind)
                WHERE f.finished_at > $1 - coalesce($2, p.retention, $3)) kept', v_columns, v_part)
      USING v_at, v_older_than, v_usual;
    GET DIAGNOSTICS v_kept = ROW_COUNT;
    EXECUTE format('TRUNCATE %s', v_part);
    v_pruned := v_pruned + v_expired - v_kept;
  END LOOP;
  -- Unique keys whose time is over and whose job is gone; children of jobs that no longer exist and cannot be
  -- retried.
  DELETE FROM nebula.job_key k WHERE k.held_until <= v_at
     AND NOT EXISTS (SELECT FROM nebula.job_waiting w WHERE w.job_id = k.job_id)
     AND NOT EXISTS (SELECT FROM nebula.job_running r WHERE r.job_id = k.job_id);
  IF v_pruned > 0 THEN
    FOR v_orphan IN
      SELECT DISTINCT d.child_id FROM nebula.job_dependency d
       WHERE NOT EXISTS (SELECT FROM nebula.job_status j WHERE j.job_id = d.parent_id)
    LOOP
      PERFORM nebula.cancel_job(v_orphan.child_id)
        FROM nebula.job_waiting w
       WHERE w.job_id = v_orphan.child_id;
    END LOOP;
    -- A child that was cancelled with its parent keeps the dependency for a retry; not once either is pruned.
    DELETE FROM nebula.job_dependency d
     WHERE NOT EXISTS (SELECT FROM nebula.job_status j WHERE j.job_id = d.parent_id)
        OR NOT EXISTS (SELECT FROM nebula.job_status j WHERE j.job_id = d.child_id);
  END IF;
  RETURN v_pruned;
END $$;
COMMENT ON FUNCTION nebula.prune_jobs(interval) IS
  'Deletes finished jobs that finished longer ago than older_than, or with null: than the retention of '
  'their kind, as soon as that frees half a segment; returns how many. It truncates segments instead of '
  'deleting rows; a segment in use is left for the next time. Errors: 22023 below zero, 55000 not in a '
  'read committed transaction';

CREATE FUNCTION nebula.vacant_segment() RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_present bigint := (SELECT s.last_value FROM nebula.job_segment_seq s);
  v_taken   boolean;
BEGIN
  FOR v_step IN 1..7 LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM nebula.job_finished_%s)', (v_present + v_step) % 8)
       INTO v_taken;
    IF NOT v_taken THEN
      RETURN (v_present + v_step) % 8;
    END IF;
  END LOOP;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION nebula.vacant_segment() IS
  'Internal: the next segment of job_finished that is empty; null: none is';

CREATE FUNCTION nebula.switch_segment(p_segment bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  INSERT INTO nebula.job_segment AS s (segment, opened_at)
  VALUES (p_segment, clock_timestamp())
  ON CONFLICT ON CONSTRAINT job_segment_pkey DO UPDATE
     SET opened_at = EXCLUDED.opened_at;
  SELECT setval('nebula.job_segment_seq', p_segment)
$$;
COMMENT ON FUNCTION nebula.switch_segment(bigint) IS
  'Internal: makes a segment of job_finished current: jobs that finish from now on are stored in it';

CREATE FUNCTION nebula.maintain_jobs() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_vacant bigint;
  v_opened timestamptz := (SELECT g.opened_at
                             FROM nebula.job_segment g, nebula.job_segment_seq s
                            WHERE g.segment = s.last_value);
BEGIN
  -- Where no background worker does it.
  PERFORM nebula.finish_restore()
    WHERE EXISTS (SELECT FROM nebula.restore_progress)
      AND nebula.restore_is_over();
  -- 36 hours: with a week of retention, five of the eight segments are in use and three are spare.
  IF v_opened IS NULL THEN
    PERFORM nebula.switch_segment(s.last_value) FROM nebula.job_segment_seq s;
  ELSIF v_opened < clock_timestamp() - interval '36 hours' THEN
    v_vacant := nebula.vacant_segment();
    IF v_vacant IS NOT NULL THEN
      PERFORM nebula.switch_segment(v_vacant);
    END IF;
  END IF;
  PERFORM nebula.prune_jobs();
END $$;
COMMENT ON FUNCTION nebula.maintain_jobs() IS
  'Work of the background worker for finished jobs: switches to the next segment and prunes. Any scheduler '
  'may call it instead';
