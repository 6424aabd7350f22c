-- Jobs that come again and again.

CREATE FUNCTION nebula.schedule_job(
  name text, cron text, kind text, payload jsonb DEFAULT '{}', time_zone text DEFAULT 'UTC', priority integer DEFAULT 0,
  max_attempts integer DEFAULT 5, project_id uuid DEFAULT NULL
) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  due timestamptz := nebula.next_tick(schedule_job.cron, schedule_job.time_zone, clock_timestamp());
BEGIN
  PERFORM nebula.check_job(schedule_job.kind, schedule_job.priority, schedule_job.max_attempts);
  IF schedule_job.name IS NULL OR schedule_job.name !~ '^[[:alnum:]][[:alnum:] ._-]{0,62}$' THEN
    RAISE EXCEPTION '"%" is no name for a schedule', schedule_job.name
      USING ERRCODE = '22023', HINT = 'Start with a letter or digit, then up to 62 letters, digits, spaces, dots, underscores or dashes.';
  END IF;
  IF schedule_job.payload IS NULL OR pg_column_size(schedule_job.payload) > 1048576 THEN
    RAISE EXCEPTION 'the payload of schedule "%" is null or has more than 1048576 bytes', schedule_job.name
      USING ERRCODE = '22023', HINT = 'Put bulk into object storage and its key into the payload.';
  END IF;
  INSERT INTO nebula.job_schedule AS s (name, cron, time_zone, kind, payload, priority, max_attempts, project_id, next_at)
  VALUES (schedule_job.name, schedule_job.cron, schedule_job.time_zone, schedule_job.kind, schedule_job.payload,
          schedule_job.priority, schedule_job.max_attempts, schedule_job.project_id, due)
  ON CONFLICT ON CONSTRAINT job_schedule_pkey DO UPDATE
    SET cron = EXCLUDED.cron, time_zone = EXCLUDED.time_zone, kind = EXCLUDED.kind, payload = EXCLUDED.payload,
        priority = EXCLUDED.priority, max_attempts = EXCLUDED.max_attempts, project_id = EXCLUDED.project_id,
        -- Unchanged times keep a tick that is due.
        next_at = CASE WHEN (s.cron, s.time_zone) = (EXCLUDED.cron, EXCLUDED.time_zone) THEN s.next_at ELSE EXCLUDED.next_at END
  RETURNING s.next_at INTO due;
  PERFORM nebula.expect_tick(due);
  RETURN due;
END $$;
COMMENT ON FUNCTION nebula.schedule_job(text, text, text, jsonb, text, integer, integer, uuid) IS
  'Enqueues such a job whenever the cron expression says, on the clock of the time zone, or changes the schedule of that name; answers '
  'when next. Errors: 22023 malformed argument';

CREATE FUNCTION nebula.unschedule_job(name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  DELETE FROM nebula.job_schedule s WHERE s.name = unschedule_job.name;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no schedule "%"', unschedule_job.name
      USING ERRCODE = 'P0002', HINT = 'List schedules: SELECT name, cron, next_at FROM nebula.job_schedule.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.unschedule_job(text) IS
  'Ends a schedule; jobs it has enqueued stay. Errors: P0002 no such schedule';

CREATE FUNCTION nebula.run_schedules() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  due   nebula.job_schedule;
  made  integer := 0;
BEGIN
  FOR due IN
    SELECT * FROM nebula.job_schedule s WHERE s.next_at <= clock_timestamp() ORDER BY s.next_at
    -- Whoever else runs schedules at this moment has the others.
    FOR UPDATE SKIP LOCKED
  LOOP
    BEGIN
      -- From now on, not from the tick: whatever was missed meanwhile is made up for by this one.
      UPDATE nebula.job_schedule s
         SET next_at = nebula.next_tick(due.cron, due.time_zone, clock_timestamp()), last_at = clock_timestamp(),
             last_job_id = nebula.enqueue_job(due.kind, due.payload, due.priority, now(), due.max_attempts, project_id => due.project_id)
       WHERE s.name = due.name;
    EXCEPTION WHEN OTHERS THEN
      -- A time zone that a system update took away must not keep workers from their jobs.
      RAISE WARNING 'schedule "%" could not enqueue and is tried again in an hour: %', due.name, SQLERRM;
      UPDATE nebula.job_schedule s SET next_at = clock_timestamp() + interval '1 hour' WHERE s.name = due.name;
      CONTINUE;
    END;
    made := made + 1;
  END LOOP;
  PERFORM nebula.expect_tick(min(s.next_at), true) FROM nebula.job_schedule s;
  RETURN made;
END $$;
COMMENT ON FUNCTION nebula.run_schedules() IS
  'Enqueues the jobs of all schedules that are due; answers how many. The background worker calls it when pg_nebula is preloaded, '
  'otherwise claim_jobs does; any scheduler may, and several at once enqueue nothing twice';
