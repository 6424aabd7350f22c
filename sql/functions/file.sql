-- Files: the gateway stores the bytes first and then inserts the row, so that a row always has its bytes.

CREATE FUNCTION nebula.create_file(
  p_actor uuid, p_upload_id uuid, p_project_id uuid, p_name text, p_size bigint, p_sha256 bytea,
  p_content_type text, p_storage_key text, p_media boolean, p_client inet DEFAULT NULL
) RETURNS TABLE (file_id uuid, created boolean, job_id bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who   text := nebula.require_member(p_actor, p_project_id);
  v_known nebula.file;
  v_job   bigint;
BEGIN
  INSERT INTO nebula.file AS f (file_id, project_id, owner_id, name, size, sha256, content_type, storage_key)
  VALUES (p_upload_id, p_project_id, p_actor, p_name, p_size, p_sha256, p_content_type, p_storage_key)
  ON CONFLICT ON CONSTRAINT file_project_name_key DO NOTHING;
  IF NOT FOUND THEN
    SELECT *
      INTO v_known
      FROM nebula.file f
     WHERE f.project_id = p_project_id
       AND f.name = p_name;
    -- The client retries after a lost response: same name, same bytes. Return the existing file.
    IF v_known.sha256 = p_sha256 THEN
      RETURN QUERY SELECT v_known.file_id, false, v_known.job_id;
      RETURN;
    END IF;
    RAISE EXCEPTION 'a file named "%" with other content exists in the project', p_name
      USING ERRCODE = '23505', HINT = 'Upload under another name, or delete the old one first.';
  END IF;
  IF p_media THEN
    v_job := nebula.enqueue_job('transcode', jsonb_build_object(
      'fileId', p_upload_id, 'projectId', p_project_id, 'name', p_name,
      'key', p_storage_key, 'size', p_size), project_id => p_project_id);
    UPDATE nebula.file f
       SET job_id = v_job
     WHERE f.file_id = p_upload_id;
  END IF;
  PERFORM nebula.record_event(p_project_id, v_who, 'upload', 'file', p_upload_id::text, p_client,
    jsonb_build_object('name', p_name, 'size', p_size));
  RETURN QUERY SELECT p_upload_id, true, v_job;
END $$;
COMMENT ON FUNCTION nebula.create_file(uuid, uuid, uuid, text, bigint, bytea, text, text, boolean, inet) IS
  'For the gateway: records a stored upload and, for media, enqueues its transcode. created = false: the '
  'same bytes were there under that name. Errors: P0002, 42501 as require_member, 23505 name taken by '
  'other content, 23514 malformed name';

CREATE FUNCTION nebula.add_rendition(
  p_job_id bigint, p_attempt integer, p_file_id uuid, p_kind text, p_storage_key text,
  p_size bigint, p_sha256 bytea, p_content_type text, p_detail jsonb DEFAULT '{}'
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_made uuid;
BEGIN
  -- The row lock keeps rescue_jobs from giving the job to another attempt until this transaction ends.
  PERFORM FROM nebula.job_running r
    WHERE r.job_id = p_job_id AND r.attempt = p_attempt FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'attempt % of job % has lost its lease', p_attempt, p_job_id
      USING ERRCODE = '55000', HINT = 'Drop the work; another attempt has it or the job is finished.';
  END IF;
  INSERT INTO nebula.rendition AS r (file_id, kind, storage_key, size, sha256, content_type, detail)
  SELECT f.file_id, p_kind, p_storage_key, p_size, p_sha256, p_content_type, p_detail
    FROM nebula.file f
   WHERE f.file_id = p_file_id
  ON CONFLICT ON CONSTRAINT rendition_file_kind_key DO UPDATE
     SET storage_key = EXCLUDED.storage_key,
         size = EXCLUDED.size,
         sha256 = EXCLUDED.sha256,
         content_type = EXCLUDED.content_type,
         detail = EXCLUDED.detail,
         made_at = now()
  RETURNING r.rendition_id INTO v_made;
  IF v_made IS NULL THEN
    RAISE EXCEPTION 'there is no file %', p_file_id
      USING ERRCODE = 'P0002', HINT = 'It was deleted; drop the work.';
  END IF;
  PERFORM nebula.notify_event(f.project_id, 'file', f.file_id::text, 'rendition')
    FROM nebula.file f
   WHERE f.file_id = p_file_id;
  RETURN v_made;
END $$;
COMMENT ON FUNCTION nebula.add_rendition(bigint, integer, uuid, text, text, bigint, bytea, text, jsonb) IS
  'For the worker: records what a running job made from a file; fenced by the attempt. Errors: 55000 '
  'lease lost, P0002 file deleted';

-- A worker stores a rendition before it records it, so objects of a file whose job is not finished may get their row
-- yet.
CREATE FUNCTION nebula.unknown_objects(p_keys text[]) RETURNS SETOF text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  -- The gateway deletes objects that are unknown. A database without the rows that the objects belong to knows none.
  IF EXISTS (SELECT FROM nebula.restore_progress) OR NOT EXISTS (SELECT FROM nebula.file) THEN
    RAISE EXCEPTION 'database "%" cannot tell which objects belong to a file', current_database()
      USING ERRCODE = '57P03',
        HINT = 'It has no files, or is being restored: SELECT * FROM nebula.restore_progress.';
  END IF;
  RETURN QUERY
    SELECT k.key
      FROM unnest(p_keys) AS k(key)
   WHERE NOT EXISTS (SELECT FROM nebula.file f WHERE f.storage_key = k.key)
     AND NOT EXISTS (SELECT FROM nebula.rendition r WHERE r.storage_key = k.key)
     AND NOT EXISTS (SELECT
                       FROM nebula.file f
                      WHERE f.file_id = CASE
                                          WHEN k.key ~ '^files/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/'
                                          THEN split_part(k.key, '/', 2)::uuid
                                        END
                        AND (f.job_id IN (SELECT w.job_id FROM nebula.job_waiting w)
                             OR f.job_id IN (SELECT r.job_id FROM nebula.job_running r)));
END $$;
COMMENT ON FUNCTION nebula.unknown_objects(text[]) IS
  'For the gateway: those of these storage keys that no file and no rendition has, and that no job may '
  'still record. Errors: 57P03 the database is being restored, or has no files';

CREATE FUNCTION nebula.list_files(
  p_actor uuid, p_project_id uuid DEFAULT NULL, p_file_id uuid DEFAULT NULL
) RETURNS TABLE (
  file_id uuid, project_id uuid, name text, size bigint, sha256 text, content_type text, owner text,
  uploaded_at timestamptz, state text, progress real, error text, job_id bigint, renditions jsonb
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT s.file_id, s.project_id, s.name, s.size, encode(s.sha256, 'hex'), s.content_type, s.owner,
         s.uploaded_at, s.state, s.progress, s.error, s.job_id, s.renditions
    FROM nebula.file_status s
   WHERE s.project_id IN (SELECT nebula.visible_projects(p_actor))
     AND (p_project_id IS NULL OR s.project_id = p_project_id)
     AND (p_file_id IS NULL OR s.file_id = p_file_id)
   ORDER BY s.uploaded_at DESC, s.file_id
$$;
COMMENT ON FUNCTION nebula.list_files(uuid, uuid, uuid) IS
  'For the gateway: files the account sees, newest first, with state and renditions; one file when '
  'file_id is given';

CREATE FUNCTION nebula.file_content(p_actor uuid, p_file_id uuid, p_rendition text DEFAULT NULL)
RETURNS TABLE (
  storage_key text, size bigint, sha256 bytea, content_type text, name text, modified_at timestamptz
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_file      nebula.file;
  v_rendition nebula.rendition;
BEGIN
  SELECT *
    INTO v_file
    FROM nebula.file f
   WHERE f.file_id = p_file_id
     AND f.project_id IN (SELECT nebula.visible_projects(p_actor));
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no file %', p_file_id
      USING ERRCODE = 'P0002', HINT = 'List files: nebulactl ls.';
  END IF;
  -- Default: the rendition for playback, or the upload as long as there is none.
  SELECT *
    INTO v_rendition
    FROM nebula.rendition r
   WHERE r.file_id = v_file.file_id
     AND r.kind = coalesce(p_rendition, 'web');
  IF FOUND THEN
    RETURN QUERY
      SELECT v_rendition.storage_key, v_rendition.size, v_rendition.sha256, v_rendition.content_type,
             regexp_replace(v_file.name, '\.[^.]*$', '')
             || CASE v_rendition.content_type WHEN 'audio/mp4' THEN '.m4a' ELSE '.mp4' END,
             v_rendition.made_at;
  ELSIF p_rendition IS NULL OR p_rendition = 'original' THEN
    RETURN QUERY
      SELECT v_file.storage_key, v_file.size, v_file.sha256, v_file.content_type, v_file.name,
             v_file.uploaded_at;
  ELSE
    RAISE EXCEPTION 'file "%" has no rendition "%"', v_file.name, p_rendition
      USING ERRCODE = 'P0002', HINT = 'Wait for its job, or ask for rendition "original".';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.file_content(uuid, uuid, text) IS
  'For the gateway: where the bytes of a file are: rendition null = best for playing, original = as '
  'uploaded, else by kind. Errors: P0002 no such file or rendition';

CREATE FUNCTION nebula.delete_file(p_actor uuid, p_file_id uuid, p_client inet DEFAULT NULL)
RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_file nebula.file;
  v_who  text;
BEGIN
  SELECT *
    INTO v_file
    FROM nebula.file f
   WHERE f.file_id = p_file_id
     AND f.project_id IN (SELECT nebula.visible_projects(p_actor))
     FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no file %', p_file_id
      USING ERRCODE = 'P0002', HINT = 'List files: nebulactl ls.';
  END IF;
  v_who := nebula.require_member(p_actor, v_file.project_id);
  IF EXISTS (SELECT FROM nebula.job_waiting w WHERE w.job_id = v_file.job_id)
     OR EXISTS (SELECT FROM nebula.job_running r WHERE r.job_id = v_file.job_id) THEN
    PERFORM nebula.cancel_job(v_file.job_id);
  END IF;
  RETURN QUERY
    SELECT r.storage_key
      FROM nebula.rendition r
     WHERE r.file_id = v_file.file_id
    UNION ALL
    SELECT v_file.storage_key;
  DELETE FROM nebula.file f
   WHERE f.file_id = v_file.file_id;
  PERFORM nebula.record_event(v_file.project_id, v_who, 'delete', 'file', v_file.file_id::text, p_client,
                              jsonb_build_object('name', v_file.name));
END $$;
COMMENT ON FUNCTION nebula.delete_file(uuid, uuid, inet) IS
  'For the gateway: forgets a file and cancels its job; answers the storage keys that may be deleted '
  'once this has committed. Errors: P0002 no such file';
