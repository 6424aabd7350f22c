-- Folders: there as long as files are in them or below them.

-- By the bytes of the column, for which an index has the range.
CREATE FUNCTION nebula.is_below(p_folder text, p_above text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN p_above = '' AND p_folder <> ''
       OR (p_folder COLLATE "C" > (p_above || '/') COLLATE "C" AND p_folder COLLATE "C" < (p_above || '0') COLLATE "C");
COMMENT ON FUNCTION nebula.is_below(text, text) IS 'Internal: whether a folder is somewhere below another';

CREATE FUNCTION nebula.list_folders(p_actor nebula.proven_account, p_project_id uuid, p_folder text DEFAULT '')
RETURNS TABLE (folder text, files bigint, size bigint, uploaded_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_start CONSTANT text := CASE WHEN p_folder = '' THEN '' ELSE p_folder || '/' END;
BEGIN
  PERFORM nebula.require_permission(p_actor, p_project_id, 'file.read');
  PERFORM nebula.check_folder(p_folder);
  RETURN QUERY
    SELECT v_start || below.part, below.files, below.size, below.uploaded_at
      FROM (SELECT split_part(substr(f.folder, length(v_start) + 1), '/', 1) AS part, count(*) AS files,
                   sum(c.size)::bigint AS size, max(f.uploaded_at) AS uploaded_at
              FROM nebula.file f
              JOIN nebula.content c USING (content_id)
             WHERE f.project_id = p_project_id
               AND f.deleted_at IS NULL
               AND f.folder > v_start
               AND (p_folder = '' OR f.folder < p_folder || '0')
             GROUP BY 1) below
     ORDER BY nebula.sort_key(below.part) COLLATE "C", below.part;
END $$;
COMMENT ON FUNCTION nebula.list_folders(nebula.proven_account, uuid, text) IS
  'For the gateway: the folders directly in a folder, with what is in them and below: files, bytes, last upload. '
  'Errors: P0002, 42501 as require_member, 22023';

CREATE FUNCTION nebula.move_folder(
  p_actor nebula.proven_account, p_project_id uuid, p_folder text, p_to text, p_client inet DEFAULT NULL
) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_who    text := nebula.require_permission(p_actor, p_project_id, 'file.write');
  v_start  CONSTANT integer := CASE WHEN p_to = '' THEN length(p_folder) + 2 ELSE length(p_folder) + 1 END;
  v_folder text;
  v_taken  text;
  v_moved  integer := 0;
  v_count  integer;
  v_is_new boolean;
BEGIN
  PERFORM nebula.check_folder(p_folder), nebula.check_folder(p_to);
  IF p_folder = '' OR p_to = p_folder OR nebula.is_below(p_to, p_folder) THEN
    RAISE EXCEPTION 'folder "%" cannot become "%"', p_folder, p_to
      USING ERRCODE = '22023', HINT = 'Name another folder, which is not in this one.';
  END IF;
  v_is_new := p_to <> ''
              AND NOT EXISTS (SELECT
                                FROM nebula.file f
                               WHERE f.project_id = p_project_id
                                 AND f.deleted_at IS NULL
                                 AND (f.folder = p_to OR nebula.is_below(f.folder, p_to)));
  -- Those at the top come first: where a folder moves up, they leave the places that others get.
  FOR v_folder IN
    SELECT DISTINCT f.folder, length(f.folder)
      FROM nebula.file f
     WHERE f.project_id = p_project_id
       AND f.deleted_at IS NULL
       AND (f.folder = p_folder OR f.folder > p_folder || '/' AND f.folder < p_folder || '0')
     ORDER BY length(f.folder), f.folder
  LOOP
    PERFORM nebula.check_folder(p_to || substr(v_folder, v_start));
    SELECT g.name
      INTO v_taken
      FROM nebula.file f
      JOIN nebula.file g
        ON g.project_id = f.project_id
       AND g.folder = p_to || substr(v_folder, v_start)
       AND g.name = f.name
       AND g.deleted_at IS NULL
     WHERE f.project_id = p_project_id
       AND f.folder = v_folder
       AND f.deleted_at IS NULL
     ORDER BY g.name
     LIMIT 1;
    IF FOUND THEN
      RAISE EXCEPTION 'folder "%" has a file "%" already', p_to || substr(v_folder, v_start), v_taken
        USING ERRCODE = '23505', HINT = 'Nothing was moved. Move or rename one of the two first.';
    END IF;
    UPDATE nebula.file f
       SET folder = p_to || substr(v_folder, v_start)
     WHERE f.project_id = p_project_id
       AND f.folder = v_folder
       AND f.deleted_at IS NULL;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    v_moved := v_moved + v_count;
  END LOOP;
  IF v_moved = 0 THEN
    RAISE EXCEPTION 'there is no folder "%"', p_folder
      USING ERRCODE = 'P0002', HINT = 'List folders: nebulactl ls.';
  END IF;
  -- Links to a folder follow its new name. Where two folders become one, they would open more than was shared.
  PERFORM nebula.move_shares(p_project_id, p_folder, p_to) WHERE v_is_new;
  PERFORM nebula.record_event(p_project_id, v_who, 'move', 'folder', p_project_id::text, p_client,
                              jsonb_build_object('folder', p_folder, 'to', p_to, 'files', v_moved));
  RETURN v_moved;
EXCEPTION
  WHEN unique_violation THEN
    -- The look above found it, or another session took a place after that.
    RAISE EXCEPTION '%', CASE
        WHEN v_taken IS NULL THEN format('a name in folder "%s" is taken', p_to)
        ELSE SQLERRM
      END
      USING ERRCODE = '23505', HINT = 'Nothing was moved. Move or rename one of the two first.';
END $$;
COMMENT ON FUNCTION nebula.move_folder(nebula.proven_account, uuid, text, text, inet) IS
  'For the gateway: moves or renames a folder with all that is below, or nothing; returns the number of files. Links '
  'to it follow. Where the other folder is there, the two become one, and links to the first end. Errors: P0002, 42501 '
  'as require_permission, P0002 no such folder, 23505 a name is taken there, 22023';
