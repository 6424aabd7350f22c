-- Tags: words by which people find files.

CREATE FUNCTION nebula.tag_file(
  p_actor nebula.proven_account, p_file_id uuid, p_tags text[], p_client inet DEFAULT NULL
) RETURNS text[]
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_file nebula.file := nebula.require_file(p_actor, p_file_id);
  v_who  text := nebula.require_permission(p_actor, v_file.project_id, 'file.write');
  v_tags text[] := ARRAY(SELECT DISTINCT lower(btrim(t)) AS tag FROM unnest(p_tags) t ORDER BY tag);
BEGIN
  IF NOT nebula.are_tags(v_tags) THEN
    RAISE EXCEPTION 'these cannot be the tags of file "%"', v_file.name
      USING ERRCODE = '22023', HINT = 'At most 32, each of 1 to 100 bytes, without commas and control characters.';
  END IF;
  UPDATE nebula.file f
     SET tags = v_tags
   WHERE f.file_id = p_file_id
     AND f.tags <> v_tags;
  IF FOUND THEN
    PERFORM nebula.record_event(v_file.project_id, v_who, 'tag', 'file', p_file_id::text, p_client,
                                jsonb_build_object('name', v_file.name,
                                                   'before', jsonb_build_object('tags', v_file.tags),
                                                   'after', jsonb_build_object('tags', v_tags)));
  END IF;
  RETURN v_tags;
END $$;
COMMENT ON FUNCTION nebula.tag_file(nebula.proven_account, uuid, text[], inet) IS
  'For the gateway: sets the tags of a file, in small letters; returns them. Errors: P0002 no such file, 42501 as '
  'require_permission, 22023 malformed tag';

CREATE FUNCTION nebula.list_tags(
  p_actor nebula.proven_account, p_project_id uuid
) RETURNS TABLE (tag text, files bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_permission(p_actor, p_project_id, 'file.read');
  RETURN QUERY
    SELECT t, count(*)
      FROM nebula.file f
     CROSS JOIN LATERAL unnest(f.tags) t
     WHERE f.project_id = p_project_id
       AND f.deleted_at IS NULL
     GROUP BY t
     ORDER BY t COLLATE "C";
END $$;
COMMENT ON FUNCTION nebula.list_tags(nebula.proven_account, uuid) IS
  'For the gateway: tags of a project and how many files have them. Errors: P0002, 42501 as require_member';
