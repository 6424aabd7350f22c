-- Schedules: jobs enqueued again and again by a cron expression.

-- Functions in Rust.
COMMENT ON FUNCTION nebula.set_schedule_timer(timestamptz, boolean) IS
  'Internal: sets the timer of schedules to an earlier time; with after_run, to the next one after a run, '
  'whatever it was';
COMMENT ON FUNCTION nebula.next_tick(text, text, timestamptz) IS
  'Internal: the first time after another that a cron expression names on the clock of a time zone. '
  'Errors: 22023 malformed';

CREATE FUNCTION nebula.schedule_job(
  name text,
  cron text,
  kind text,
  payload jsonb DEFAULT '{}',
  time_zone text DEFAULT 'UTC',
  priority integer DEFAULT 0,
  max_attempts integer DEFAULT 5,
  project_id uuid DEFAULT NULL
) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_name         CONSTANT text := name;
  v_cron         CONSTANT text := cron;
  v_kind         CONSTANT text := kind;
  v_payload      CONSTANT jsonb := payload;
  v_time_zone    CONSTANT text := time_zone;
  v_priority     CONSTANT integer := priority;
  v_max_attempts CONSTANT integer := max_attempts;
  v_project_id   CONSTANT uuid := project_id;
  v_due          timestamptz := nebula.next_tick(v_cron, v_time_zone, clock_timestamp());
BEGIN
  PERFORM nebula.check_job(v_kind, v_priority, v_max_attempts);
  IF nebula.is_label(v_name) IS NOT TRUE THEN
    RAISE EXCEPTION '"%" is not a valid schedule name', left(v_name, 80)
      USING ERRCODE = '22023',
        HINT = 'Start with a letter or digit, then up to 62 letters, digits, spaces, dots, underscores or dashes.';
  END IF;
  IF v_payload IS NULL OR pg_column_size(v_payload) > 1048576 THEN
    RAISE EXCEPTION 'the payload of schedule "%" is null or has more than 1048576 bytes', v_name
      USING ERRCODE = '22023', HINT = 'Put bulk into object storage and its key into the payload.';
  END IF;
  INSERT INTO nebula.job_schedule AS s (name, cron, time_zone, kind, payload, priority, max_attempts,
                                        project_id, next_at)
  VALUES (v_name, v_cron, v_time_zone, v_kind, v_payload, v_priority, v_max_attempts, v_project_id, v_due)
  ON CONFLICT ON CONSTRAINT job_schedule_pkey DO UPDATE
     SET cron = EXCLUDED.cron,
         time_zone = EXCLUDED.time_zone,
         kind = EXCLUDED.kind,
         payload = EXCLUDED.payload,
         priority = EXCLUDED.priority,
         max_attempts = EXCLUDED.max_attempts,
         project_id = EXCLUDED.project_id,

         -- If the times did not change, a tick that is due stays due.
         next_at = CASE
                     WHEN (s.cron, s.time_zone) = (EXCLUDED.cron, EXCLUDED.time_zone) THEN s.next_at
                     ELSE EXCLUDED.next_at
                   END
  RETURNING s.next_at INTO v_due;
  PERFORM nebula.set_schedule_timer(v_due);
  RETURN v_due;
END $$;
COMMENT ON FUNCTION nebula.schedule_job(text, text, text, jsonb, text, integer, integer, uuid) IS
  'Creates or changes a schedule: enqueues such a job at the times of the cron expression in the time '
  'zone; returns the next time. Errors: 22023 malformed argument';

CREATE FUNCTION nebula.unschedule_job(name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_name CONSTANT text := name;
BEGIN
  DELETE FROM nebula.job_schedule s WHERE s.name = v_name;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no schedule "%"', left(v_name, 80)
      USING ERRCODE = 'P0002', HINT = 'List schedules: SELECT name, cron, next_at FROM nebula.job_schedule.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.unschedule_job(text) IS
  'Ends a schedule; jobs that it enqueued stay. Errors: P0002 no such schedule';

CREATE FUNCTION nebula.run_schedules() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_due  nebula.job_schedule;
  v_made integer := 0;
BEGIN
  -- The handler below would put off a schedule whose job is refused until the restore is over.
  IF EXISTS (SELECT FROM nebula.restore_progress) AND NOT nebula.restore_is_over() THEN
    RETURN 0;
  END IF;
  FOR v_due IN
    SELECT *
      FROM nebula.job_schedule s
     WHERE s.next_at <= clock_timestamp()
     ORDER BY s.next_at
       -- SKIP LOCKED: a concurrent run_schedules handles the rows that it has locked.
       FOR UPDATE SKIP LOCKED
  LOOP
    BEGIN
      -- The next tick after now, not after the last tick: one job makes up for all missed ticks.
      UPDATE nebula.job_schedule s
         SET next_at = nebula.next_tick(v_due.cron, v_due.time_zone, clock_timestamp()),
             last_at = clock_timestamp(),
             last_job_id = nebula.enqueue_job(v_due.kind, v_due.payload, v_due.priority, now(),
                                              v_due.max_attempts, project_id => v_due.project_id)
       WHERE s.name = v_due.name;
    EXCEPTION WHEN OTHERS THEN
      -- For example a time zone that a system update removed. claim_jobs may be the caller and must not fail.
      RAISE WARNING 'schedule "%" could not enqueue and is tried again in an hour: %', v_due.name, SQLERRM;
      UPDATE nebula.job_schedule s
         SET next_at = clock_timestamp() + interval '1 hour'
       WHERE s.name = v_due.name;
      CONTINUE;
    END;
    v_made := v_made + 1;
  END LOOP;
  PERFORM nebula.set_schedule_timer(min(s.next_at), true) FROM nebula.job_schedule s;
  RETURN v_made;
END $$;
COMMENT ON FUNCTION nebula.run_schedules() IS
  'Enqueues the jobs of all schedules that are due; returns how many. The background worker calls it when '
  'pg_nebula is preloaded, otherwise claim_jobs does. Concurrent calls enqueue nothing twice';
