-- Files: the gateway stores the bytes first and then makes the row, so that a row always has its bytes.

CREATE FUNCTION nebula.create_file(
  actor uuid, upload_id uuid, project_id uuid, name text, size bigint, sha256 bytea, content_type text, storage_key text,
  media boolean, client inet DEFAULT NULL
) RETURNS TABLE (file_id uuid, created boolean, job_id bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
DECLARE
  who   text := nebula.require_member(create_file.actor, create_file.project_id);
  known nebula.file;
  job   bigint;
BEGIN
  INSERT INTO nebula.file AS f (file_id, project_id, owner_id, name, size, sha256, content_type, storage_key)
  VALUES (create_file.upload_id, create_file.project_id, create_file.actor, create_file.name, create_file.size,
          create_file.sha256, create_file.content_type, create_file.storage_key)
  ON CONFLICT ON CONSTRAINT file_project_name_key DO NOTHING;
  IF NOT FOUND THEN
    SELECT * INTO known FROM nebula.file f WHERE f.project_id = create_file.project_id AND f.name = create_file.name;
    -- A retry after a lost answer brings the same bytes under the same name: nothing new is made.
    IF known.sha256 = create_file.sha256 THEN
      RETURN QUERY SELECT known.file_id, false, known.job_id;
      RETURN;
    END IF;
    RAISE EXCEPTION 'a file named "%" with other content exists in the project', create_file.name
      USING ERRCODE = '23505', HINT = 'Upload under another name, or delete the old one first.';
  END IF;
  IF create_file.media THEN
    job := nebula.enqueue_job('transcode', jsonb_build_object(
      'fileId', create_file.upload_id, 'projectId', create_file.project_id, 'name', create_file.name,
      'key', create_file.storage_key, 'size', create_file.size), project_id => create_file.project_id);
    UPDATE nebula.file f SET job_id = job WHERE f.file_id = create_file.upload_id;
  END IF;
  PERFORM nebula.record_event(create_file.project_id, who, 'upload', 'file', create_file.upload_id::text, create_file.client,
    jsonb_build_object('name', create_file.name, 'size', create_file.size));
  RETURN QUERY SELECT create_file.upload_id, true, job;
END $$;
COMMENT ON FUNCTION nebula.create_file(uuid, uuid, uuid, text, bigint, bytea, text, text, boolean, inet) IS
  'Records a stored upload and, for media, enqueues its transcode. created = false: the same bytes were there under that name. '
  'Errors: P0002, 42501 as require_member, 23505 name taken by other content, 23514 malformed name';

CREATE FUNCTION nebula.add_rendition(
  job_id bigint, attempt integer, file_id uuid, kind text, storage_key text, size bigint, sha256 bytea, content_type text,
  detail jsonb DEFAULT '{}'
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  made uuid;
BEGIN
  -- The row lock makes a rescue wait: either this rendition is complete with its job, or another attempt makes it.
  PERFORM FROM nebula.job_running r
    WHERE r.job_id = add_rendition.job_id AND r.attempt = add_rendition.attempt FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'attempt % of job % has lost its lease', add_rendition.attempt, add_rendition.job_id
      USING ERRCODE = '55000', HINT = 'Drop the work; another attempt has it or the job is finished.';
  END IF;
  INSERT INTO nebula.rendition AS r (file_id, kind, storage_key, size, sha256, content_type, detail)
  SELECT f.file_id, add_rendition.kind, add_rendition.storage_key, add_rendition.size, add_rendition.sha256,
         add_rendition.content_type, add_rendition.detail
    FROM nebula.file f WHERE f.file_id = add_rendition.file_id
  ON CONFLICT ON CONSTRAINT rendition_file_kind_key DO UPDATE
    SET storage_key = EXCLUDED.storage_key, size = EXCLUDED.size, sha256 = EXCLUDED.sha256,
        content_type = EXCLUDED.content_type, detail = EXCLUDED.detail, made_at = now()
  RETURNING r.rendition_id INTO made;
  IF made IS NULL THEN
    RAISE EXCEPTION 'there is no file %', add_rendition.file_id
      USING ERRCODE = 'P0002', HINT = 'It was deleted; drop the work.';
  END IF;
  PERFORM nebula.notify_event(f.project_id, 'file', f.file_id::text, 'rendition')
     FROM nebula.file f WHERE f.file_id = add_rendition.file_id;
  RETURN made;
END $$;
COMMENT ON FUNCTION nebula.add_rendition(bigint, integer, uuid, text, text, bigint, bytea, text, jsonb) IS
  'Records what a running job made from a file; fenced by the attempt. Errors: 55000 lease lost, P0002 file deleted';

CREATE FUNCTION nebula.list_files(actor uuid, project_id uuid DEFAULT NULL, file_id uuid DEFAULT NULL)
RETURNS TABLE (
  file_id uuid, project_id uuid, name text, size bigint, sha256 text, content_type text, owner text, uploaded_at timestamptz,
  state text, progress real, error text, job_id bigint, renditions jsonb
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT s.file_id, s.project_id, s.name, s.size, encode(s.sha256, 'hex'), s.content_type, s.owner, s.uploaded_at,
         s.state, s.progress, s.error, s.job_id, s.renditions
    FROM nebula.file_status s
   WHERE s.project_id IN (SELECT nebula.visible_projects(actor))
     AND (list_files.project_id IS NULL OR s.project_id = list_files.project_id)
     AND (list_files.file_id IS NULL OR s.file_id = list_files.file_id)
   ORDER BY s.uploaded_at DESC, s.file_id
$$;
COMMENT ON FUNCTION nebula.list_files(uuid, uuid, uuid) IS
  'Files the account sees, newest first, with state and renditions; one file when file_id is given';

CREATE FUNCTION nebula.file_content(actor uuid, file_id uuid, rendition text DEFAULT NULL)
RETURNS TABLE (storage_key text, size bigint, sha256 bytea, content_type text, name text, modified_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
DECLARE
  f nebula.file;
  r nebula.rendition;
BEGIN
  SELECT * INTO f FROM nebula.file WHERE file_id = file_content.file_id
     AND project_id IN (SELECT nebula.visible_projects(actor));
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no file %', file_content.file_id USING ERRCODE = 'P0002', HINT = 'List files: nebulactl ls.';
  END IF;
  -- Unasked, the rendition made for playing; before it exists, the upload itself.
  SELECT * INTO r FROM nebula.rendition
   WHERE file_id = f.file_id AND kind = coalesce(file_content.rendition, 'web');
  IF FOUND THEN
    RETURN QUERY SELECT r.storage_key, r.size, r.sha256, r.content_type,
      regexp_replace(f.name, '\.[^.]*$', '') || CASE r.content_type WHEN 'audio/mp4' THEN '.m4a' ELSE '.mp4' END, r.made_at;
  ELSIF file_content.rendition IS NULL OR file_content.rendition = 'original' THEN
    RETURN QUERY SELECT f.storage_key, f.size, f.sha256, f.content_type, f.name, f.uploaded_at;
  ELSE
    RAISE EXCEPTION 'file "%" has no rendition "%"', f.name, file_content.rendition
      USING ERRCODE = 'P0002', HINT = 'Wait for its job, or ask for rendition "original".';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.file_content(uuid, uuid, text) IS
  'Where the bytes of a file are: rendition null = best for playing, original = as uploaded, else by kind. Errors: P0002 no such file or rendition';

CREATE FUNCTION nebula.delete_file(actor uuid, file_id uuid, client inet DEFAULT NULL) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
#variable_conflict use_column
DECLARE
  f   nebula.file;
  who text;
BEGIN
  SELECT * INTO f FROM nebula.file WHERE file_id = delete_file.file_id
     AND project_id IN (SELECT nebula.visible_projects(actor)) FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no file %', delete_file.file_id USING ERRCODE = 'P0002', HINT = 'List files: nebulactl ls.';
  END IF;
  who := nebula.require_member(actor, f.project_id);
  IF EXISTS (SELECT FROM nebula.job_waiting w WHERE w.job_id = f.job_id)
     OR EXISTS (SELECT FROM nebula.job_running r WHERE r.job_id = f.job_id) THEN
    PERFORM nebula.cancel_job(f.job_id);
  END IF;
  RETURN QUERY SELECT storage_key FROM nebula.rendition WHERE file_id = f.file_id UNION ALL SELECT f.storage_key;
  DELETE FROM nebula.file WHERE file_id = f.file_id;
  PERFORM nebula.record_event(f.project_id, who, 'delete', 'file', f.file_id::text, client, jsonb_build_object('name', f.name));
END $$;
COMMENT ON FUNCTION nebula.delete_file(uuid, uuid, inet) IS
  'Forgets a file and cancels its job; answers the storage keys that may be deleted once this has committed. Errors: P0002 no such file';
