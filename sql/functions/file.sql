-- Files: the gateway stores the bytes first and then inserts the row, so that a row always has its bytes.

CREATE FUNCTION nebula.check_folder(p_folder text) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF p_folder IS NULL OR NOT nebula.is_folder(p_folder) THEN
    RAISE EXCEPTION '"%" cannot be a folder', left(p_folder, 80)
      USING ERRCODE = '22023',
        HINT = 'Names joined by slashes, without one at the ends: at most 32 of 1 to 255 bytes each, 1000 together.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_folder(text) IS 'Internal: refuses what cannot be a folder. Errors: 22023';

CREATE FUNCTION nebula.require_file(p_actor uuid, p_file_id uuid) RETURNS nebula.file
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_file nebula.file;
BEGIN
  PERFORM nebula.require_scope(p_actor, 'file.read');
  SELECT f.*
    INTO v_file
    FROM nebula.file f
   WHERE f.file_id = p_file_id
     AND f.project_id IN (SELECT nebula.visible_projects(p_actor));
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no file %', p_file_id
      USING ERRCODE = 'P0002', HINT = 'List files: nebulactl ls.';
  END IF;
  IF v_file.deleted_at IS NOT NULL THEN
    RAISE EXCEPTION 'file "%" is in the trash', v_file.name
      USING ERRCODE = 'P0002', HINT = format('Restore it: nebulactl restore %s.', v_file.file_id);
  END IF;
  RETURN v_file;
END $$;
COMMENT ON FUNCTION nebula.require_file(uuid, uuid) IS
  'Internal: a file that the account sees and that is not in the trash. Errors: P0002 no such file, 42501 scope';

CREATE FUNCTION nebula.place_file(p_file nebula.file, p_folder text, p_name text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM nebula.check_folder(p_folder);
  UPDATE nebula.file f
     SET folder = p_folder,
         name = p_name,
         deleted_at = NULL
   WHERE f.file_id = p_file.file_id;
EXCEPTION
  WHEN unique_violation THEN
    RAISE EXCEPTION 'a file named "%" is there already%', p_name,
        CASE WHEN p_folder = '' THEN '' ELSE format(', in the folder "%s"', p_folder) END
      USING ERRCODE = '23505', HINT = 'Take another name, or move the other file first.';
END $$;
COMMENT ON FUNCTION nebula.place_file(nebula.file, text, text) IS
  'Internal: gives a file a place, also to one in the trash. Errors: 23505 it is taken, 22023, 23514 malformed name';

CREATE FUNCTION nebula.named_file(p_actor nebula.proven_account, p_project_id uuid, p_folder text, p_name text)
RETURNS TABLE (file_id uuid, size bigint, sha256 bytea, storage_key text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_permission(p_actor, p_project_id, 'file.write');
  PERFORM nebula.check_folder(p_folder);
  RETURN QUERY
    SELECT f.file_id, c.size, c.sha256, c.storage_key
      FROM nebula.file f
      JOIN nebula.content c USING (content_id)
     WHERE f.project_id = p_project_id
       AND f.folder = p_folder
       AND f.name = p_name
       AND f.deleted_at IS NULL;
END $$;
COMMENT ON FUNCTION nebula.named_file(nebula.proven_account, uuid, text, text) IS
  'For the gateway: the file that has this place already, asked before an upload is sent; none if it is free. '
  'Errors: P0002, 42501 as require_permission, 22023 malformed folder';

CREATE FUNCTION nebula.create_file(
  p_actor nebula.proven_account, p_file_id uuid, p_project_id uuid, p_folder text, p_name text, p_size bigint,
  p_sha256 bytea, p_content_type text, p_storage_key text, p_media boolean, p_client inet DEFAULT NULL,
  p_ended uuid[] DEFAULT '{}'
) RETURNS TABLE (file_id uuid, created boolean, stored boolean, job_id bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who     text := nebula.require_permission(p_actor, p_project_id, 'file.write');
  v_content nebula.content;
  v_known   nebula.file;
BEGIN
  PERFORM nebula.check_folder(p_folder);
  -- Their bytes count as stored from here on.
  PERFORM nebula.forget_uploads(p_ended);
  v_content := nebula.take_content(p_actor, p_file_id, p_project_id, p_name, p_size, p_sha256, p_content_type,
                                   p_storage_key, p_media);
  INSERT INTO nebula.file AS f (file_id, project_id, owner_id, folder, name, content_id)
  VALUES (p_file_id, p_project_id, p_actor, p_folder, p_name, v_content.content_id)
  ON CONFLICT (project_id, folder, name) WHERE deleted_at IS NULL DO NOTHING;
  IF NOT FOUND THEN
    SELECT *
      INTO v_known
      FROM nebula.file f
     WHERE f.project_id = p_project_id
       AND f.folder = p_folder
       AND f.name = p_name
       AND f.deleted_at IS NULL;
    -- The client retries after a lost response: same name, same bytes. Return the existing file.
    IF v_known.content_id = v_content.content_id THEN
      RETURN QUERY SELECT v_known.file_id, false, v_content.storage_key = p_storage_key, v_content.job_id;
      RETURN;
    END IF;
    RAISE EXCEPTION 'a file named "%" with other content exists in the %', p_name,
        CASE WHEN p_folder = '' THEN 'project' ELSE format('folder "%s"', p_folder) END
      USING ERRCODE = '23505', HINT = 'Upload under another name, or delete the old one first.';
  END IF;
  PERFORM nebula.limit_files(p_project_id, 0);
  IF v_content.media IS NULL THEN
    PERFORM nebula.make_companion(v_content, p_name, nebula.rate_beside(p_project_id, p_folder, p_name));
  END IF;
  PERFORM nebula.record_event(p_project_id, v_who, 'upload', 'file', p_file_id::text, p_client,
    jsonb_strip_nulls(jsonb_build_object('name', p_name, 'folder', nullif(p_folder, ''), 'size', p_size)));
  RETURN QUERY SELECT p_file_id, true, v_content.storage_key = p_storage_key, v_content.job_id;
END $$;
COMMENT ON FUNCTION nebula.create_file(
  nebula.proven_account, uuid, uuid, text, text, bigint, bytea, text, text, boolean, inet, uuid[]
) IS
  'For the gateway: records a stored upload and, for media whose bytes are new, enqueues its transcode. created = '
  'false: the same bytes were there in that place; stored = false: they were there under another key, so those at '
  'storage_key can be deleted. p_ended: uploads that end with it. Errors: P0002, 42501 as require_permission, 23505 '
  'name taken by other content, 22023 malformed folder, 23514 malformed name, 53Q00 and 53Q01 over a quota, 53Q00 too '
  'many files';

CREATE FUNCTION nebula.file_content(p_actor nebula.proven_account, p_file_id uuid, p_rendition text DEFAULT NULL)
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
    RETURN QUERY
      SELECT b.content_id, b.storage_key, b.size, b.sha256, b.content_type,
             regexp_replace(b.detail ->> 'file', '\.[^.]*$', '') || '.vtt', b.made_at
        FROM nebula.subtitles_beside(v_file.project_id, v_file.folder, v_file.name) b
       WHERE b.kind = p_rendition;
    IF FOUND THEN
      RETURN;
    END IF;
    RAISE EXCEPTION 'file "%" has no rendition "%"', v_file.name, p_rendition
      USING ERRCODE = 'P0002', HINT = 'Wait for its job, or ask for rendition "original".';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.file_content(nebula.proven_account, uuid, text) IS
  'For the gateway: where the bytes of a file are: rendition null = best for playing, original = as '
  'uploaded, else by kind. Errors: P0002 no such file or rendition';

CREATE FUNCTION nebula.move_file(
  p_actor nebula.proven_account, p_file_id uuid, p_folder text DEFAULT NULL, p_name text DEFAULT NULL,
  p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_file nebula.file := nebula.require_file(p_actor, p_file_id);
  v_who  text := nebula.require_permission(p_actor, v_file.project_id, 'file.write');
BEGIN
  -- A session that puts it into the trash meanwhile comes first.
  PERFORM FROM nebula.file f WHERE f.file_id = p_file_id FOR UPDATE;
  v_file := nebula.require_file(p_actor, p_file_id);
  IF (coalesce(p_folder, v_file.folder), coalesce(p_name, v_file.name)) = (v_file.folder, v_file.name) THEN
    RETURN;
  END IF;
  PERFORM nebula.place_file(v_file, coalesce(p_folder, v_file.folder), coalesce(p_name, v_file.name));
  PERFORM nebula.record_event(v_file.project_id, v_who, 'move', 'file', p_file_id::text, p_client,
    jsonb_strip_nulls(jsonb_build_object('name', v_file.name, 'folder', v_file.folder,
                                         'newName', p_name, 'newFolder', p_folder)));
END $$;
COMMENT ON FUNCTION nebula.move_file(nebula.proven_account, uuid, text, text, inet) IS
  'For the gateway: gives a file another folder or name; null: as it is. Errors: P0002 no such file, 42501 as '
  'require_permission, 23505 name taken, 22023 malformed folder, 23514 malformed name';
