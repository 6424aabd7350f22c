-- The scrub: a job that compares the storage with the database. A worker reads the storage; what counts as a fault is
-- decided here, in the transaction that records it, since files come and go meanwhile.

CREATE VIEW nebula.stored_object AS
SELECT c.storage_key, c.content_id, c.size, c.sha256, c.stored_at
  FROM nebula.content c
 UNION ALL
SELECT r.storage_key, r.content_id, r.size, r.sha256, r.made_at
  FROM nebula.rendition r
 UNION ALL
SELECT k.storage_key, k.content_id, k.size, k.sha256, k.made_at
  FROM nebula.chunk k;
COMMENT ON VIEW nebula.stored_object IS 'Every object that the storage should have';
COMMENT ON COLUMN nebula.stored_object.storage_key IS 'Key in the storage';
COMMENT ON COLUMN nebula.stored_object.content_id IS 'Content that it is, or was made from';
COMMENT ON COLUMN nebula.stored_object.size IS 'Bytes';
COMMENT ON COLUMN nebula.stored_object.sha256 IS 'Digest of the bytes';
COMMENT ON COLUMN nebula.stored_object.stored_at IS 'When it was stored';

CREATE VIEW nebula.storage_fault_status AS
SELECT s.fault, s.storage_key, s.size, s.found_at, s.seen_at, p.name AS project, f.names AS files, s.content_id
  FROM nebula.storage_fault s
  LEFT JOIN nebula.content c USING (content_id)
  LEFT JOIN nebula.project p USING (project_id)
  LEFT JOIN LATERAL (SELECT array_agg(k.name ORDER BY k.name) AS names
                       FROM nebula.file k
                      WHERE k.content_id = s.content_id) f ON true;
COMMENT ON VIEW nebula.storage_fault_status IS
  'Differences between database and storage with the files that they concern, as the last scrub found them';
COMMENT ON COLUMN nebula.storage_fault_status.fault IS 'missing, changed or untracked';
COMMENT ON COLUMN nebula.storage_fault_status.storage_key IS 'The object';
COMMENT ON COLUMN nebula.storage_fault_status.size IS
  'Bytes it should have; of an untracked one, those that it has';
COMMENT ON COLUMN nebula.storage_fault_status.found_at IS 'When it was first found';
COMMENT ON COLUMN nebula.storage_fault_status.seen_at IS 'When it was last found';
COMMENT ON COLUMN nebula.storage_fault_status.project IS 'Name of the project';
COMMENT ON COLUMN nebula.storage_fault_status.files IS 'Names of the files whose bytes these are';
COMMENT ON COLUMN nebula.storage_fault_status.content_id IS 'Content it belongs to, or null';

-- Each branch reads its index on storage_key from p_after on and stops after a page.
CREATE FUNCTION nebula.list_objects(p_job_id bigint, p_attempt integer, p_after text, p_max integer)
RETURNS TABLE (storage_key text, size bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_attempt(p_job_id, p_attempt);
  RETURN QUERY
    SELECT o.storage_key, o.size
      FROM ((SELECT c.storage_key, c.size FROM nebula.content c
              WHERE c.storage_key > p_after ORDER BY 1 LIMIT p_max)
            UNION ALL
            (SELECT r.storage_key, r.size FROM nebula.rendition r
              WHERE r.storage_key > p_after ORDER BY 1 LIMIT p_max)
            UNION ALL
            (SELECT k.storage_key, k.size FROM nebula.chunk k
              WHERE k.storage_key > p_after ORDER BY 1 LIMIT p_max)) o
     ORDER BY 1
     LIMIT p_max;
END $$;
COMMENT ON FUNCTION nebula.list_objects(bigint, integer, text, integer) IS
  'For the worker: the next objects by key that the storage should have. Errors: 55000 lease lost';

CREATE FUNCTION nebula.objects_to_check(p_job_id bigint, p_attempt integer, p_age interval, p_max integer)
RETURNS TABLE (storage_key text, size bigint, sha256 bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_job nebula.job_running := nebula.require_attempt(p_job_id, p_attempt);
BEGIN
  RETURN QUERY
    SELECT o.storage_key, o.size, o.sha256
      FROM nebula.stored_object o
      LEFT JOIN nebula.object_check k USING (storage_key)
     -- Not twice in one scrub.
     WHERE coalesce(k.checked_at, o.stored_at) < least(now() - p_age, v_job.started_at)
       AND NOT EXISTS (SELECT
                         FROM nebula.storage_fault s
                        WHERE s.storage_key = o.storage_key
                          AND (s.fault = 'missing' OR s.seen_at >= v_job.started_at))
     ORDER BY coalesce(k.checked_at, o.stored_at), o.storage_key
     LIMIT p_max;
END $$;
COMMENT ON FUNCTION nebula.objects_to_check(bigint, integer, interval, integer) IS
  'For the worker: the objects whose bytes were stored or compared longest ago, and longer than this. Errors: 55000 '
  'lease lost';

CREATE FUNCTION nebula.record_faults(p_job_id bigint, p_attempt integer, p_faults jsonb, p_sound text[])
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_fault record;
BEGIN
  PERFORM nebula.require_attempt(p_job_id, p_attempt);
  INSERT INTO nebula.object_check AS k (storage_key)
  SELECT DISTINCT s.key
    FROM unnest(p_sound) AS s(key)
   WHERE EXISTS (SELECT FROM nebula.stored_object o WHERE o.storage_key = s.key)
  ON CONFLICT ON CONSTRAINT object_check_pkey DO UPDATE
     SET checked_at = now();
  DELETE FROM nebula.storage_fault s
   WHERE s.storage_key = ANY (p_sound);
  FOR v_fault IN
    WITH given AS (
      SELECT g.key, g.fault, g.size
        FROM jsonb_to_recordset(p_faults) AS g(key text, fault text, size bigint)
    ), known AS (
      SELECT g.key, g.fault, o.content_id, coalesce(o.size, g.size) AS size
        FROM given g
        LEFT JOIN nebula.stored_object o ON o.storage_key = g.key
       WHERE CASE g.fault
               WHEN 'untracked'
               THEN nebula.knows_objects()
                    AND g.key IN (SELECT nebula.unowned_objects(ARRAY(SELECT key FROM given)))
               -- A file that is deleted loses its row before its bytes.
               ELSE o.storage_key IS NOT NULL
             END
    )
    INSERT INTO nebula.storage_fault AS s (storage_key, fault, content_id, size)
    SELECT DISTINCT ON (k.key) k.key, k.fault, k.content_id, k.size
      FROM known k
    ON CONFLICT ON CONSTRAINT storage_fault_pkey DO UPDATE
       SET seen_at = now(),
           found_at = CASE WHEN s.fault = EXCLUDED.fault THEN s.found_at ELSE now() END,
           fault = EXCLUDED.fault,
           content_id = EXCLUDED.content_id,
           size = EXCLUDED.size
    RETURNING s.storage_key, s.fault, s.content_id, s.size, s.found_at = now() AS is_new
  LOOP
    -- An untracked object concerns no file; finish_scrub tells how many there are.
    IF v_fault.is_new AND v_fault.content_id IS NOT NULL THEN
      PERFORM nebula.record_event(f.project_id, 'scrub', v_fault.fault || '-object', 'file', f.file_id::text, NULL,
                                  jsonb_build_object(
                                    'name', f.name, 'key', v_fault.storage_key, 'size', v_fault.size))
        FROM nebula.file f
       WHERE f.content_id = v_fault.content_id;
    END IF;
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.record_faults(bigint, integer, jsonb, text[]) IS
  'For the worker: records differences that a scrub found, an array of {key, fault, size}, as far as they are still '
  'true, and the keys of objects whose bytes were compared and are sound; new ones become events of the files that '
  'they concern. Errors: 55000 lease lost';

CREATE FUNCTION nebula.finish_scrub(p_job_id bigint, p_attempt integer) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_job   nebula.job_running := nebula.require_attempt(p_job_id, p_attempt);
  v_found jsonb;
BEGIN
  -- Faults that this scrub did not see again are gone. Changed bytes are not read by each scrub.
  DELETE FROM nebula.storage_fault s
   WHERE s.seen_at < v_job.started_at
     AND (s.fault <> 'changed'
          OR NOT EXISTS (SELECT FROM nebula.stored_object o WHERE o.storage_key = s.storage_key));
  DELETE FROM nebula.object_check k
   WHERE NOT EXISTS (SELECT FROM nebula.stored_object o WHERE o.storage_key = k.storage_key);
  v_found := (SELECT jsonb_build_object('missing', count(*) FILTER (WHERE s.fault = 'missing'),
                                        'changed', count(*) FILTER (WHERE s.fault = 'changed'),
                                        'untracked', count(*) FILTER (WHERE s.fault = 'untracked'))
                FROM nebula.storage_fault s);
  INSERT INTO nebula.scrub_end (finished_at) VALUES (now())
  ON CONFLICT ON CONSTRAINT scrub_end_pkey DO UPDATE
     SET finished_at = EXCLUDED.finished_at;
  PERFORM nebula.record_state(
            'storage-scrub',
            CASE WHEN v_found @> '{"missing": 0, "changed": 0}' THEN 'scrub-ok' ELSE 'scrub-faults' END, v_found);
  RETURN v_found;
END $$;
COMMENT ON FUNCTION nebula.finish_scrub(bigint, integer) IS
  'For the worker: ends a scrub that saw all of the storage: forgets the faults that it did not see again, records '
  'whether all is well, and returns how many faults there are. Errors: 55000 lease lost';

CREATE FUNCTION nebula.scrub_status(p_gateway nebula.proven_gateway)
RETURNS TABLE (missing bigint, changed bigint, untracked bigint, untracked_bytes bigint, finished_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT count(*) FILTER (WHERE s.fault = 'missing'), count(*) FILTER (WHERE s.fault = 'changed'),
         count(*) FILTER (WHERE s.fault = 'untracked'),
         coalesce(sum(s.size) FILTER (WHERE s.fault = 'untracked'), 0)::bigint,
         (SELECT e.finished_at FROM nebula.scrub_end e)
    FROM nebula.storage_fault s
$$;
COMMENT ON FUNCTION nebula.scrub_status(nebula.proven_gateway) IS
  'For the gateway: how many differences between database and storage there are, and when the last scrub ended';

CREATE FUNCTION nebula.schedule_scrub(p_gateway nebula.proven_gateway, p_cron text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  IF p_cron = '' THEN
    DELETE FROM nebula.job_schedule s WHERE s.name = 'scrub';
    RETURN;
  END IF;
  IF NOT EXISTS (SELECT FROM nebula.job_schedule s WHERE s.name = 'scrub' AND s.cron = p_cron) THEN
    PERFORM nebula.schedule_job('scrub', p_cron, 'scrub', priority => -1000000);
  END IF;
  -- One at a time; a limit that an administrator has set stays.
  IF NOT EXISTS (SELECT FROM nebula.job_policy p WHERE p.kind = 'scrub') THEN
    PERFORM nebula.limit_jobs('scrub', max_running => 1);
  END IF;
END $$;
COMMENT ON FUNCTION nebula.schedule_scrub(nebula.proven_gateway, text) IS
  'For the gateway: has the storage compared with the database at the times of a cron expression (UTC), or never again '
  'if that is empty. Errors: 22023 malformed';
