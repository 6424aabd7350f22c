-- Contents: the bytes of files, stored once in a project.

CREATE FUNCTION nebula.is_unfinished(p_job_id bigint) RETURNS boolean
LANGUAGE sql STABLE AS $$
  SELECT EXISTS (SELECT FROM nebula.job_waiting w WHERE w.job_id = p_job_id)
         OR EXISTS (SELECT FROM nebula.job_running r WHERE r.job_id = p_job_id)
$$;
COMMENT ON FUNCTION nebula.is_unfinished(bigint) IS 'Internal: whether a job waits or runs';

CREATE FUNCTION nebula.is_made(p_content nebula.content) RETURNS boolean
LANGUAGE sql STABLE AS $$
  SELECT NOT p_content.is_stopped
         AND (EXISTS (SELECT FROM nebula.rendition r WHERE r.content_id = p_content.content_id AND r.kind = 'web')
              OR EXISTS (SELECT
                           FROM nebula.content_job j
                          WHERE j.content_id = p_content.content_id
                            AND nebula.is_unfinished(j.job_id)))
$$;
COMMENT ON FUNCTION nebula.is_made(nebula.content) IS
  'Internal: whether the renditions of a content are there, or a job that makes them; not if the trash stopped that, '
  'since a job that was told to stop may still be running';

CREATE FUNCTION nebula.make_content(p_content nebula.content, p_name text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
  v_job_id bigint;
BEGIN
  v_job_id := nebula.enqueue_job('transcode', jsonb_build_object(
    'contentId', p_content.content_id, 'projectId', p_content.project_id, 'name', p_name,
    'key', p_content.storage_key, 'size', p_content.size), project_id => p_content.project_id);
  UPDATE nebula.content c
     SET job_id = v_job_id,
         is_stopped = false
   WHERE c.content_id = p_content.content_id;
  DELETE FROM nebula.content_job j WHERE j.content_id = p_content.content_id;
  INSERT INTO nebula.content_job (content_id, job_id, role) VALUES (p_content.content_id, v_job_id, 'plan');
  RETURN v_job_id;
END $$;
COMMENT ON FUNCTION nebula.make_content(nebula.content, text) IS
  'Internal: enqueues the job that makes the renditions of a content. Its other jobs no longer count: they have ended, '
  'or end as cancelled';

-- Subtitles by their name, since text has no mark; pictures by their bytes, those of which previews can be made.
CREATE FUNCTION nebula.companion_job(p_content nebula.content, p_name text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE
           WHEN p_content.job_id IS NOT NULL THEN NULL
           WHEN p_content.content_type IN (
                  'image/jpeg', 'image/png', 'image/apng', 'image/webp', 'image/gif', 'image/bmp', 'image/tiff',
                  'image/avif', 'image/heif', 'image/heic', 'image/jxl')
           THEN 'transcode-photo'
           WHEN nebula.is_subtitle(p_name) AND p_content.size <= 64 * 1024 * 1024 THEN 'transcode-subtitle'
         END
$$;
COMMENT ON FUNCTION nebula.companion_job(nebula.content, text) IS
  'Internal: the kind of the job that makes a preview of a picture, or WebVTT of subtitles; null: none is made';

CREATE FUNCTION nebula.make_companion(
  p_content nebula.content, p_name text, p_frame_rate double precision DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_kind   text := nebula.companion_job(p_content, p_name);
  v_job_id bigint;
BEGIN
  IF v_kind IS NULL
     OR EXISTS (SELECT
                  FROM nebula.content_job j
                 WHERE j.content_id = p_content.content_id
                   AND nebula.is_unfinished(j.job_id)
                   AND NOT p_content.is_stopped)
  THEN
    RETURN;
  END IF;
  v_job_id := nebula.enqueue_job(v_kind, jsonb_strip_nulls(jsonb_build_object(
    'contentId', p_content.content_id, 'projectId', p_content.project_id, 'name', p_name,
    'key', p_content.storage_key, 'size', p_content.size, 'frameRate', p_frame_rate)),
    project_id => p_content.project_id);
  UPDATE nebula.content c
     SET is_stopped = false
   WHERE c.content_id = p_content.content_id
     AND c.is_stopped;
  DELETE FROM nebula.content_job j WHERE j.content_id = p_content.content_id;
  INSERT INTO nebula.content_job (content_id, job_id, role) VALUES (p_content.content_id, v_job_id, 'companion');
END $$;
COMMENT ON FUNCTION nebula.make_companion(nebula.content, text, double precision) IS
  'Internal: enqueues the job that makes a preview of a picture, or WebVTT of subtitles, unless one is under way; the '
  'frame rate is that of the film, by which some subtitles count';

CREATE FUNCTION nebula.describe_content(p_job_id bigint, p_attempt integer, p_content_id uuid, p_media jsonb)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_wanted(p_job_id, p_attempt, p_content_id);
  UPDATE nebula.content c
     SET media = p_media
   WHERE c.content_id = p_content_id
     AND c.job_id IS NULL;
  PERFORM nebula.notify_event(f.project_id, 'file', f.file_id::text, 'rendition')
    FROM nebula.file f
   WHERE f.content_id = p_content_id;
END $$;
COMMENT ON FUNCTION nebula.describe_content(bigint, integer, uuid, jsonb) IS
  'For the worker: records the summary of a content that is no film; fenced by the attempt. Errors: 55000 lease lost, '
  'P0002 the job was cancelled';

CREATE FUNCTION nebula.take_content(
  p_actor uuid, p_content_id uuid, p_project_id uuid, p_name text, p_size bigint, p_sha256 bytea, p_content_type text,
  p_storage_key text, p_media boolean
) RETURNS nebula.content
LANGUAGE plpgsql AS $$
DECLARE
  v_content nebula.content;
BEGIN
  LOOP
    INSERT INTO nebula.content AS c (content_id, project_id, owner_id, size, sha256, content_type, storage_key)
    VALUES (p_content_id, p_project_id, p_actor, p_size, p_sha256, p_content_type, p_storage_key)
    ON CONFLICT ON CONSTRAINT content_project_sha256_key DO NOTHING
    RETURNING c.* INTO v_content;
    IF FOUND THEN
      PERFORM nebula.require_room(p_actor, p_project_id, p_size);
      EXIT;
    END IF;
    -- Locked, so that it is not deleted with its last file before the new one has its row. One that was deleted while
    -- this waited is made again.
    SELECT c.*
      INTO v_content
      FROM nebula.content c
     WHERE c.project_id = p_project_id
       AND c.sha256 = p_sha256
       FOR NO KEY UPDATE;
    EXIT WHEN FOUND;
  END LOOP;
  IF p_media AND NOT nebula.is_made(v_content) THEN
    v_content.job_id := nebula.make_content(v_content, p_name);
  END IF;
  RETURN v_content;
END $$;
COMMENT ON FUNCTION nebula.take_content(uuid, uuid, uuid, text, bigint, bytea, text, text, boolean) IS
  'Internal: the content with these bytes, made at this storage key if the project has none. Media whose job has '
  'failed get a new one: their upload was repeated. Errors: 53Q00, 53Q01 as require_room';

CREATE FUNCTION nebula.drop_unused_content(p_content_id uuid) RETURNS SETOF text
LANGUAGE plpgsql AS $$
DECLARE
  v_content nebula.content;
BEGIN
  -- An upload of the same bytes at this moment waits for the lock, or has made its row.
  SELECT c.*
    INTO v_content
    FROM nebula.content c
   WHERE c.content_id = p_content_id
     FOR UPDATE;
  IF EXISTS (SELECT FROM nebula.file f WHERE f.content_id = p_content_id) THEN
    PERFORM nebula.hand_on_content(p_content_id);
    RETURN;
  END IF;
  PERFORM nebula.cancel_content_jobs(p_content_id);
  RETURN QUERY
    SELECT r.storage_key
      FROM nebula.rendition r
     WHERE r.content_id = p_content_id
    UNION ALL
    SELECT k.storage_key
      FROM nebula.chunk k
     WHERE k.content_id = p_content_id
    UNION ALL
    SELECT v_content.storage_key;
  DELETE FROM nebula.content c
   WHERE c.content_id = p_content_id;
END $$;
COMMENT ON FUNCTION nebula.drop_unused_content(uuid) IS
  'Internal: deletes a content that no file has, with its renditions, and cancels its job; answers the storage keys '
  'that may be deleted once this has committed';

CREATE FUNCTION nebula.convert_file(
  p_actor nebula.proven_account, p_file_id uuid, p_wanted boolean, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_file    nebula.file := nebula.require_file(p_actor, p_file_id);
  v_who     text := nebula.require_permission(p_actor, v_file.project_id, 'file.write');
  v_content nebula.content;
BEGIN
  SELECT c.*
    INTO v_content
    FROM nebula.content c
   WHERE c.content_id = v_file.content_id
     FOR NO KEY UPDATE;
  IF (SELECT s.state FROM nebula.file_status s WHERE s.file_id = p_file_id) <> 'failed' THEN
    RAISE EXCEPTION 'the conversion of file "%" has not failed', v_file.name
      USING ERRCODE = '55000', HINT = 'Its state is shown by nebulactl ls.';
  END IF;
  PERFORM nebula.cancel_content_jobs(v_content.content_id);
  IF p_wanted THEN
    PERFORM nebula.make_content(v_content, v_file.name);
  ELSE
    DELETE FROM nebula.content_job j WHERE j.content_id = v_content.content_id;
    UPDATE nebula.content c
       SET job_id = NULL
     WHERE c.content_id = v_content.content_id;
  END IF;
  PERFORM nebula.record_event(v_file.project_id, v_who, CASE WHEN p_wanted THEN 'convert' ELSE 'keep' END, 'file',
                              p_file_id::text, p_client, jsonb_build_object('name', v_file.name));
END $$;
COMMENT ON FUNCTION nebula.convert_file(nebula.proven_account, uuid, boolean, inet) IS
  'For the gateway: a file whose conversion has failed is converted once more (wanted), or kept as it was uploaded. '
  'Errors: P0002 no such file, 42501 as require_permission, 55000 it has not failed';

-- A database without the rows that the objects belong to knows none of them.
CREATE FUNCTION nebula.knows_objects() RETURNS boolean
LANGUAGE sql STABLE AS $$
  SELECT NOT EXISTS (SELECT FROM nebula.restore_progress) AND EXISTS (SELECT FROM nebula.file)
$$;
COMMENT ON FUNCTION nebula.knows_objects() IS
  'Internal: whether the database can tell which objects belong to a file: it has files and is not being restored';

-- A worker stores a rendition before it records it, so objects of a content whose job is not finished may get their row
-- yet.
CREATE FUNCTION nebula.unowned_objects(p_keys text[]) RETURNS SETOF text
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN QUERY
    SELECT k.key
      FROM unnest(p_keys) AS k(key)
     WHERE NOT EXISTS (SELECT FROM nebula.content c WHERE c.storage_key = k.key)
       AND NOT EXISTS (SELECT FROM nebula.rendition r WHERE r.storage_key = k.key)
       AND NOT EXISTS (SELECT FROM nebula.chunk c WHERE c.storage_key = k.key)
       AND NOT EXISTS (SELECT
                         FROM nebula.content_job j
                        WHERE j.content_id = CASE
                                               WHEN k.key ~ '^files/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/'
                                               THEN split_part(k.key, '/', 2)::uuid
                                             END
                          AND nebula.is_unfinished(j.job_id));
END $$;
COMMENT ON FUNCTION nebula.unowned_objects(text[]) IS
  'Internal: those of these storage keys that no file and no rendition has, and that no job may still record';

CREATE FUNCTION nebula.unknown_objects(p_gateway nebula.proven_gateway, p_keys text[]) RETURNS SETOF text
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  -- The gateway deletes objects that are unknown.
  IF NOT nebula.knows_objects() THEN
    RAISE EXCEPTION 'database "%" cannot tell which objects belong to a file', current_database()
      USING ERRCODE = '57P03',
        HINT = 'It has no files, or is being restored: SELECT * FROM nebula.restore_progress.';
  END IF;
  RETURN QUERY
    SELECT nebula.unowned_objects(p_keys);
END $$;
COMMENT ON FUNCTION nebula.unknown_objects(nebula.proven_gateway, text[]) IS
  'For the gateway: those of these storage keys that no file and no rendition has, and that no job may '
  'still record. Errors: 57P03 the database is being restored, or has no files';
