-- Files: the gateway stores the bytes first and then inserts the row, so that a row always has its bytes.

CREATE FUNCTION nebula.require_file(p_actor uuid, p_file_id uuid) RETURNS nebula.file
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_file nebula.file;
BEGIN
  SELECT f.*
    INTO v_file
    FROM nebula.file f
   WHERE f.file_id = p_file_id
     AND f.project_id IN (SELECT nebula.visible_projects(p_actor));
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no file %', p_file_id
      USING ERRCODE = 'P0002', HINT = 'List files: nebulactl ls.';
  END IF;
  RETURN v_file;
END $$;
COMMENT ON FUNCTION nebula.require_file(uuid, uuid) IS
  'Internal: a file that the account sees. Errors: P0002 no such file';

CREATE FUNCTION nebula.named_file(p_actor uuid, p_project_id uuid, p_name text)
RETURNS TABLE (file_id uuid, size bigint, sha256 bytea, storage_key text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_member(p_actor, p_project_id);
  RETURN QUERY
    SELECT f.file_id, c.size, c.sha256, c.storage_key
      FROM nebula.file f
      JOIN nebula.content c USING (content_id)
     WHERE f.project_id = p_project_id
       AND f.name = p_name;
END $$;
COMMENT ON FUNCTION nebula.named_file(uuid, uuid, text) IS
  'For the gateway: the file that has this name already, asked before an upload is sent; none if the name is free. '
  'Errors: P0002, 42501 as require_member';

CREATE FUNCTION nebula.create_file(
  p_actor uuid, p_upload_id uuid, p_project_id uuid, p_name text, p_size bigint, p_sha256 bytea,
  p_content_type text, p_storage_key text, p_media boolean, p_client inet DEFAULT NULL
) RETURNS TABLE (file_id uuid, created boolean, stored boolean, job_id bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who     text := nebula.require_member(p_actor, p_project_id);
  v_content nebula.content := nebula.take_content(p_actor, p_upload_id, p_project_id, p_name, p_size, p_sha256,
                                                  p_content_type, p_storage_key, p_media);
  v_known   nebula.file;
BEGIN
  INSERT INTO nebula.file AS f (file_id, project_id, owner_id, name, content_id)
  VALUES (p_upload_id, p_project_id, p_actor, p_name, v_content.content_id)
  ON CONFLICT ON CONSTRAINT file_project_name_key DO NOTHING;
  IF NOT FOUND THEN
    SELECT *
      INTO v_known
      FROM nebula.file f
     WHERE f.project_id = p_project_id
       AND f.name = p_name;
    -- The client retries after a lost response: same name, same bytes. Return the existing file.
    IF v_known.content_id = v_content.content_id THEN
      RETURN QUERY SELECT v_known.file_id, false, v_content.storage_key = p_storage_key, v_content.job_id;
      RETURN;
    END IF;
    RAISE EXCEPTION 'a file named "%" with other content exists in the project', p_name
      USING ERRCODE = '23505', HINT = 'Upload under another name, or delete the old one first.';
  END IF;
  PERFORM nebula.record_event(p_project_id, v_who, 'upload', 'file', p_upload_id::text, p_client,
    jsonb_build_object('name', p_name, 'size', p_size));
  RETURN QUERY SELECT p_upload_id, true, v_content.storage_key = p_storage_key, v_content.job_id;
END $$;
COMMENT ON FUNCTION nebula.create_file(uuid, uuid, uuid, text, bigint, bytea, text, text, boolean, inet) IS
  'For the gateway: records a stored upload and, for media whose bytes are new, enqueues its transcode. created = '
  'false: the same bytes were there under that name; stored = false: they were there under another key, so those at '
  'storage_key can be deleted. Errors: P0002, 42501 as require_member, 23505 name taken by other content, 23514 '
  'malformed name, 53Q00 and 53Q01 over a quota';

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
  content_id uuid, storage_key text, size bigint, sha256 bytea, content_type text, name text, modified_at timestamptz
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_file      nebula.file := nebula.require_file(p_actor, p_file_id);
  v_content   nebula.content;
  v_rendition nebula.rendition;
BEGIN
  SELECT *
    INTO v_content
    FROM nebula.content c
   WHERE c.content_id = v_file.content_id;
  -- Default: the rendition for playback, or the upload as long as there is none.
  SELECT *
    INTO v_rendition
    FROM nebula.rendition r
   WHERE r.content_id = v_content.content_id
     AND r.kind = coalesce(p_rendition, 'web');
  IF FOUND THEN
    RETURN QUERY
      SELECT v_content.content_id, v_rendition.storage_key, v_rendition.size, v_rendition.sha256,
             v_rendition.content_type,
             regexp_replace(v_file.name, '\.[^.]*$', '')
             || CASE v_rendition.content_type
                  WHEN 'audio/mp4' THEN '.m4a'
                  WHEN 'image/jpeg' THEN '.jpg'
                  WHEN 'image/webp' THEN '.webp'
                  WHEN 'text/vtt' THEN '.vtt'
                  ELSE '.mp4'
                END,
             v_rendition.made_at;
  ELSIF p_rendition IS NULL OR p_rendition = 'original' THEN
    RETURN QUERY
      SELECT v_content.content_id, v_content.storage_key, v_content.size, v_content.sha256,
             v_content.content_type, v_file.name, v_file.uploaded_at;
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
  DELETE FROM nebula.file f
   WHERE f.file_id = v_file.file_id;
  RETURN QUERY SELECT nebula.drop_unused_content(v_file.content_id);
  PERFORM nebula.record_event(v_file.project_id, v_who, 'delete', 'file', v_file.file_id::text, p_client,
                              jsonb_build_object('name', v_file.name));
END $$;
COMMENT ON FUNCTION nebula.delete_file(uuid, uuid, inet) IS
  'For the gateway: forgets a file and, with the last one of its content, that, whose job it cancels; answers the '
  'storage keys that may be deleted once this has committed. Errors: P0002 no such file';
