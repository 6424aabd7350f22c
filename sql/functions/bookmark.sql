-- Bookmarks: where an account stopped in a file.

-- Players report every few seconds. A step that nobody would miss is not written, since each one is a row version.
CREATE FUNCTION nebula.set_bookmark(
  p_actor nebula.proven_account, p_file_id uuid, p_seconds double precision, p_duration double precision DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_file     nebula.file := nebula.require_file(p_actor, p_file_id);
  v_duration double precision;
  v_finished boolean;
BEGIN
  IF p_seconds IS NULL OR NOT (p_seconds >= 0 AND p_seconds < 1e7)
     OR p_duration IS NOT NULL AND NOT (p_duration >= 0 AND p_duration < 1e7)
  THEN
    RAISE EXCEPTION 'nothing can be played at second %', p_seconds
      USING ERRCODE = '22023', HINT = 'Give seconds from the start, and the length in seconds if it is known.';
  END IF;
  SELECT coalesce(nullif(c.duration, 0), p_duration, 0)
    INTO v_duration
    FROM nebula.content c
   WHERE c.content_id = v_file.content_id;
  -- The last twentieth, of a long film the last five minutes, is taken for its credits.
  v_finished := v_duration > 0 AND p_seconds >= v_duration - least(v_duration / 20, 300);
  INSERT INTO nebula.bookmark AS b (account_id, file_id, seconds, duration, is_finished)
  VALUES (p_actor, p_file_id, p_seconds, v_duration, v_finished)
  ON CONFLICT ON CONSTRAINT bookmark_pkey DO UPDATE
     SET seconds = EXCLUDED.seconds,
         duration = EXCLUDED.duration,
         is_finished = EXCLUDED.is_finished,
         updated_at = now()
   WHERE abs(b.seconds - EXCLUDED.seconds) >= 5
      OR b.is_finished <> EXCLUDED.is_finished
      OR b.updated_at < now() - interval '5 seconds';
END $$;
COMMENT ON FUNCTION nebula.set_bookmark(nebula.proven_account, uuid, double precision, double precision) IS
  'For the gateway: notes where an account is in a file. Steps of less than 5 seconds within 5 seconds are not '
  'written. Errors: P0002 no such file, 22023 no such second';

CREATE FUNCTION nebula.drop_bookmark(p_actor nebula.proven_account, p_file_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  DELETE FROM nebula.bookmark b
   WHERE b.account_id = p_actor
     AND b.file_id = p_file_id
     AND nebula.token_allows(p_actor, 'file.read')
$$;
COMMENT ON FUNCTION nebula.drop_bookmark(nebula.proven_account, uuid) IS
  'For the gateway: forgets where an account is in a file, which begins anew then. Idempotent';

CREATE FUNCTION nebula.list_bookmarks(
  p_actor nebula.proven_account, p_project_id uuid DEFAULT NULL, p_max integer DEFAULT 20
) RETURNS TABLE (
  file_id uuid, project_id uuid, folder text, name text, kind text, content_type text, seconds double precision,
  duration double precision, updated_at timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT f.file_id, f.project_id, f.folder, f.name, c.kind, c.content_type, b.seconds, b.duration, b.updated_at
    FROM nebula.bookmark b
    JOIN nebula.file f USING (file_id)
    JOIN nebula.content c USING (content_id)
   WHERE b.account_id = p_actor
     AND NOT b.is_finished
     AND f.deleted_at IS NULL
     AND f.project_id IN (SELECT nebula.projects_with_files(p_actor))
     AND (p_project_id IS NULL OR f.project_id = p_project_id)
   ORDER BY b.updated_at DESC
   LIMIT least(greatest(p_max, 1), 200)
$$;
COMMENT ON FUNCTION nebula.list_bookmarks(nebula.proven_account, uuid, integer) IS
  'For the gateway: what an account has begun and not finished, the last played first';
