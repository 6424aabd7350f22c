-- The trash: files that were deleted and can be restored until they are purged. A content is locked before its files
-- and before its jobs, as in create_file and require_wanted, so that sessions wait for each other in one order.

CREATE FUNCTION nebula.lock_file(p_actor uuid, p_file_id uuid) RETURNS nebula.file
LANGUAGE plpgsql AS $$
DECLARE
  v_file nebula.file;
BEGIN
  PERFORM
     FROM nebula.content c
    WHERE c.content_id = (SELECT f.content_id
                            FROM nebula.file f
                           WHERE f.file_id = p_file_id
                             AND f.project_id IN (SELECT nebula.visible_projects(p_actor)))
      FOR NO KEY UPDATE;
  SELECT f.*
    INTO v_file
    FROM nebula.file f
   WHERE f.file_id = p_file_id
     AND f.project_id IN (SELECT nebula.visible_projects(p_actor))
     FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no file %', p_file_id
      USING ERRCODE = 'P0002', HINT = 'List files: nebulactl ls, and the trash: nebulactl trash.';
  END IF;
  RETURN v_file;
END $$;
COMMENT ON FUNCTION nebula.lock_file(uuid, uuid) IS
  'Internal: a file that the account sees, also in the trash, locked with its content. Errors: P0002 no such file';

CREATE FUNCTION nebula.require_trashed(p_file nebula.file) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF p_file.deleted_at IS NULL THEN
    RAISE EXCEPTION 'file "%" is not in the trash', p_file.name
      USING ERRCODE = '55000', HINT = 'List the trash: nebulactl trash.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.require_trashed(nebula.file) IS
  'Internal: refuses a file that is not in the trash. Errors: 55000';

CREATE FUNCTION nebula.content_of(p_actor nebula.proven_account, p_file_id uuid) RETURNS uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_content_id uuid;
BEGIN
  PERFORM nebula.require_scope(p_actor, 'file.read');
  SELECT f.content_id
    INTO v_content_id
    FROM nebula.file f
   WHERE f.file_id = p_file_id
     AND f.project_id IN (SELECT nebula.visible_projects(p_actor));
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no file %', p_file_id
      USING ERRCODE = 'P0002', HINT = 'List files: nebulactl ls, and the trash: nebulactl trash.';
  END IF;
  RETURN v_content_id;
END $$;
COMMENT ON FUNCTION nebula.content_of(nebula.proven_account, uuid) IS
  'For the gateway: the content of a file, also of one in the trash. Errors: P0002 no such file';

CREATE FUNCTION nebula.trash_file(
  p_actor nebula.proven_account, p_file_id uuid, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_file nebula.file := nebula.lock_file(p_actor, p_file_id);
  v_who  text := nebula.require_permission(p_actor, v_file.project_id, 'file.write');
BEGIN
  UPDATE nebula.file f
     SET deleted_at = now()
   WHERE f.file_id = p_file_id
     AND f.deleted_at IS NULL;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  -- Nobody waits for what is made of it. A restore begins that again.
  IF NOT EXISTS (SELECT FROM nebula.file f WHERE f.content_id = v_file.content_id AND f.deleted_at IS NULL) THEN
    UPDATE nebula.content c
       SET is_stopped = true
     WHERE c.content_id = v_file.content_id
       AND EXISTS (SELECT
                     FROM nebula.content_job j
                    WHERE j.content_id = c.content_id
                      AND nebula.is_unfinished(j.job_id));
    PERFORM nebula.cancel_content_jobs(v_file.content_id);
  END IF;
  PERFORM nebula.record_event(v_file.project_id, v_who, 'trash', 'file', p_file_id::text, p_client,
                              jsonb_build_object('name', v_file.name, 'folder', v_file.folder));
END $$;
COMMENT ON FUNCTION nebula.trash_file(nebula.proven_account, uuid, inet) IS
  'For the gateway: puts a file into the trash; its name is free again. The last one of its content cancels its jobs. '
  'Idempotent. Errors: P0002 no such file, 42501 as require_permission';

CREATE FUNCTION nebula.trash_folder(
  p_actor nebula.proven_account, p_project_id uuid, p_folder text, p_client inet DEFAULT NULL
) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_file_id uuid;
  v_count   integer := 0;
BEGIN
  PERFORM nebula.require_permission(p_actor, p_project_id, 'file.write');
  PERFORM nebula.check_folder(p_folder);
  IF p_folder = '' THEN
    RAISE EXCEPTION 'the top is no folder that can be deleted'
      USING ERRCODE = '22023', HINT = 'Name a folder, or the files at the top one by one.';
  END IF;
  FOR v_file_id IN
    SELECT f.file_id
      FROM nebula.file f
     WHERE f.project_id = p_project_id
       AND f.deleted_at IS NULL
       AND (f.folder = p_folder OR nebula.is_below(f.folder, p_folder))
     ORDER BY f.content_id, f.file_id
  LOOP
    PERFORM nebula.trash_file(p_actor, v_file_id, p_client);
    v_count := v_count + 1;
  END LOOP;
  IF v_count = 0 THEN
    RAISE EXCEPTION 'there is no folder "%"', p_folder
      USING ERRCODE = 'P0002', HINT = 'List folders: nebulactl ls.';
  END IF;
  RETURN v_count;
END $$;
COMMENT ON FUNCTION nebula.trash_folder(nebula.proven_account, uuid, text, inet) IS
  'For the gateway: puts all files of a folder and below it into the trash; returns how many. Errors: P0002, 42501 as '
  'require_permission, P0002 no such folder, 22023 malformed, or the top';

CREATE FUNCTION nebula.restore_file(
  p_actor nebula.proven_account, p_file_id uuid, p_folder text DEFAULT NULL, p_name text DEFAULT NULL,
  p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_file    nebula.file := nebula.lock_file(p_actor, p_file_id);
  v_who     text := nebula.require_permission(p_actor, v_file.project_id, 'file.write');
  v_content nebula.content;
BEGIN
  PERFORM nebula.require_trashed(v_file);
  PERFORM nebula.place_file(v_file, coalesce(p_folder, v_file.folder), coalesce(p_name, v_file.name));
  SELECT * INTO v_content FROM nebula.content c WHERE c.content_id = v_file.content_id;
  IF v_content.job_id IS NOT NULL AND NOT nebula.is_made(v_content) THEN
    PERFORM nebula.make_content(v_content, coalesce(p_name, v_file.name));
  ELSIF v_content.media IS NULL THEN
    v_file.name := coalesce(p_name, v_file.name);
    PERFORM nebula.make_companion(v_content, v_file.name, nebula.rate_beside(
      v_file.project_id, coalesce(p_folder, v_file.folder), v_file.name));
  END IF;
  PERFORM nebula.record_event(v_file.project_id, v_who, 'restore', 'file', p_file_id::text, p_client,
                              jsonb_build_object('name', coalesce(p_name, v_file.name)));
END $$;
COMMENT ON FUNCTION nebula.restore_file(nebula.proven_account, uuid, text, text, inet) IS
  'For the gateway: takes a file out of the trash, to where it was or to another place, and goes on with what is made '
  'of it. Errors: P0002 no such file, 42501 as require_permission, 55000 not in the trash, 23505 name taken, 22023';

CREATE FUNCTION nebula.purge_file(
  p_actor nebula.proven_account, p_file_id uuid, p_from_trash boolean DEFAULT false, p_client inet DEFAULT NULL
) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_file nebula.file := nebula.lock_file(p_actor, p_file_id);
  v_who  text := nebula.require_permission(p_actor, v_file.project_id, 'file.write');
BEGIN
  IF p_from_trash THEN
    PERFORM nebula.require_trashed(v_file);
  END IF;
  DELETE FROM nebula.file f
   WHERE f.file_id = v_file.file_id;
  RETURN QUERY SELECT nebula.drop_unused_content(v_file.content_id);
  PERFORM nebula.record_event(v_file.project_id, v_who, 'delete', 'file', v_file.file_id::text, p_client,
                              jsonb_build_object('name', v_file.name));
END $$;
COMMENT ON FUNCTION nebula.purge_file(nebula.proven_account, uuid, boolean, inet) IS
  'For the gateway: forgets a file for good, with from_trash only one that is there, and with the last one of its '
  'content that, whose jobs it cancels; answers the storage keys that may be deleted once this has committed. Errors: '
  'P0002 no such file, 42501 as require_permission, 55000 not in the trash';

CREATE FUNCTION nebula.old_trash(p_gateway nebula.proven_gateway, p_age interval, p_max integer DEFAULT 1000)
RETURNS TABLE (file_id uuid, content_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT f.file_id, f.content_id
    FROM nebula.file f
   WHERE f.deleted_at <= now() - p_age
     -- A dump that is being restored brings files before their accounts and bookmarks.
     AND NOT EXISTS (SELECT FROM nebula.restore_progress)
   ORDER BY f.deleted_at
   LIMIT p_max
$$;
COMMENT ON FUNCTION nebula.old_trash(nebula.proven_gateway, interval, integer) IS
  'For the gateway: files that have been in the trash for so long, the oldest first';

CREATE FUNCTION nebula.purge_old(p_gateway nebula.proven_gateway, p_file_id uuid, p_age interval) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_file nebula.file;
BEGIN
  PERFORM
     FROM nebula.content c
    WHERE c.content_id = (SELECT f.content_id FROM nebula.file f WHERE f.file_id = p_file_id)
      FOR UPDATE;
  -- It may have been restored, or another gateway purges it.
  DELETE FROM nebula.file f
   WHERE f.file_id = p_file_id
     AND f.deleted_at <= now() - p_age
  RETURNING * INTO v_file;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  RETURN QUERY SELECT nebula.drop_unused_content(v_file.content_id);
  PERFORM nebula.record_event(v_file.project_id, 'gateway', 'delete', 'file', v_file.file_id::text, NULL,
                              jsonb_build_object('name', v_file.name, 'trashedAt', v_file.deleted_at));
END $$;
COMMENT ON FUNCTION nebula.purge_old(nebula.proven_gateway, uuid, interval) IS
  'For the gateway: purge_file for one of old_trash, if it still is; answers the storage keys that may be deleted';
