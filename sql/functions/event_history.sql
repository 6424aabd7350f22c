-- Events: how long they are kept. Segments of nebula.event take turns, and an old one is truncated as a whole.

CREATE FUNCTION nebula.switch_event_segment(p_segment bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  INSERT INTO nebula.event_segment AS s (segment, opened_at)
  VALUES (p_segment, clock_timestamp())
  ON CONFLICT ON CONSTRAINT event_segment_pkey DO UPDATE
     SET opened_at = EXCLUDED.opened_at;
  SELECT setval('nebula.event_segment_seq', p_segment)
$$;
COMMENT ON FUNCTION nebula.switch_event_segment(bigint) IS
  'Internal: makes a segment of event current: what happens from now on is stored in it';

-- The newest event of a segment says how old all of it is. NOWAIT, so that readers and writers never wait behind this;
-- the next run tries again.
CREATE FUNCTION nebula.drop_old_events(p_segment bigint, p_before timestamptz) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_part   CONSTANT text := format('nebula.event_%s', p_segment);
  v_newest timestamptz;
BEGIN
  EXECUTE format('SELECT max(e.at) FROM (SELECT k.at FROM %s k ORDER BY k.event_id DESC LIMIT 1000) e', v_part)
     INTO v_newest;
  IF v_newest IS NULL OR v_newest >= p_before THEN
    RETURN v_newest IS NULL;
  END IF;
  BEGIN
    EXECUTE format('LOCK TABLE %s IN ACCESS EXCLUSIVE MODE NOWAIT', v_part);
  EXCEPTION WHEN lock_not_available THEN
    RETURN false;
  END;
  EXECUTE format('TRUNCATE %s', v_part);
  RETURN true;
END $$;
COMMENT ON FUNCTION nebula.drop_old_events(bigint, timestamptz) IS
  'Internal: empties a segment of event whose last event is older than this; whether it is empty now';

CREATE FUNCTION nebula.maintain_events() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_keep    CONSTANT interval := coalesce(nullif(current_setting('nebula.event_retention', true), ''),
                                          '400d')::interval;
  v_now     CONSTANT timestamptz := clock_timestamp();
  v_present CONSTANT bigint := (SELECT s.last_value FROM nebula.event_segment_seq s);
  v_opened  timestamptz;
BEGIN
  IF NOT nebula.try_lock('events') THEN
    RETURN;
  END IF;
  v_opened := (SELECT g.opened_at FROM nebula.event_segment g WHERE g.segment = v_present);
  IF v_opened IS NULL THEN
    PERFORM nebula.switch_event_segment(v_present);
  END IF;
  -- Zero: events are kept for ever.
  IF v_keep <= interval '0' THEN
    RETURN;
  END IF;
  FOR v_step IN 1..15 LOOP
    PERFORM nebula.drop_old_events((v_present + v_step) % 16, v_now - v_keep);
  END LOOP;
  -- A fourteenth, so that the segments before the next one span the whole time.
  IF v_opened < v_now - v_keep / 14 AND nebula.drop_old_events((v_present + 1) % 16, v_now - v_keep) THEN
    PERFORM nebula.switch_event_segment((v_present + 1) % 16);
  END IF;
END $$;
COMMENT ON FUNCTION nebula.maintain_events() IS
  'Work of the background worker for events: truncates segments whose events are all older than '
  'nebula.event_retention, and switches to the next segment after a fourteenth of that time. Any scheduler may call it '
  'instead';
