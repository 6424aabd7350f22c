-- The list of files: filtered, sorted and in pages.

-- The statement is written for what is asked, so that each order has the plan that begins in its index: one statement
-- for all orders would read and sort every file for each page. Parts of names are looked for in every name of the
-- project in turn, until the page is full: with ten thousand of them that takes milliseconds, and an index of parts
-- would need an extension (pg_trgm), which not every server has.
CREATE FUNCTION nebula.list_files(
  p_actor nebula.proven_account, p_project_id uuid DEFAULT NULL, p_filter jsonb DEFAULT '{}',
  p_sort text DEFAULT 'date', p_descending boolean DEFAULT true, p_after jsonb DEFAULT NULL,
  p_max integer DEFAULT NULL
) RETURNS TABLE (
  file_id uuid, project_id uuid, folder text, name text, size bigint, sha256 text, content_type text, kind text,
  duration double precision, tags text[], owner text, uploaded_at timestamptz, deleted_at timestamptz, state text,
  progress real, error text, job_id bigint, renditions jsonb, summary jsonb, warnings jsonb, resume_at double precision,
  sort_key text
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp SET jit = off AS $$
DECLARE
  v_projects CONSTANT uuid[] := ARRAY(SELECT v
                                        FROM nebula.projects_with_files(p_actor) v
                                       WHERE p_project_id IS NULL OR v = p_project_id);
  v_file_id  CONSTANT uuid := nebula.json_uuid(p_filter, 'fileId');
  v_folder   CONSTANT text := nebula.json_text(p_filter, 'folder');
  v_name     CONSTANT text := nebula.json_text(p_filter, 'name');
  v_kind     CONSTANT text := nebula.json_text(p_filter, 'kind');
  v_state    CONSTANT text := nebula.json_text(p_filter, 'state');
  v_tags     CONSTANT text[] := nullif(nebula.json_texts(p_filter, 'tags'), '{}');
  v_words    CONSTANT text[] := regexp_split_to_array(
                                  nebula.folded(btrim(coalesce(nebula.json_text(p_filter, 'q'), ''))), '\s+');
  v_trash    CONSTANT boolean := coalesce(nebula.json_boolean(p_filter, 'trash'), false);
  v_key      text;
  v_type     text;
  v_where    text := CASE WHEN v_trash THEN 'f.deleted_at IS NOT NULL' ELSE 'f.deleted_at IS NULL' END;
  v_order    text;
BEGIN
  PERFORM nebula.check_fields('the filter of files', p_filter, ARRAY[
    'fileId', 'folder', 'below', 'name', 'q', 'kind', 'tags', 'state', 'trash']);
  PERFORM nebula.refuse_field('kind', p_filter -> 'kind', 'It is one of film, sound, picture and other.')
    WHERE v_kind NOT IN ('film', 'sound', 'picture', 'other');
  PERFORM nebula.refuse_field('state', p_filter -> 'state', 'It is one of waiting, processing, ready and failed.')
    WHERE v_state NOT IN ('waiting', 'processing', 'ready', 'failed');
  SELECT k.key, k.type
    INTO v_key, v_type
    FROM (VALUES ('name', 'f.name_key', 'text'), ('date', 'f.uploaded_at', 'timestamptz'),
                 ('size', 'c.size', 'bigint'), ('duration', 'c.duration', 'double precision'),
                 ('deleted', 'f.deleted_at', 'timestamptz')) AS k(sort, key, type)
   WHERE k.sort = p_sort;
  IF NOT FOUND OR p_sort = 'deleted' AND NOT v_trash THEN
    RAISE EXCEPTION 'files cannot be sorted by "%"', left(p_sort, 80)
      USING ERRCODE = '22023', HINT = 'They can by name, date, size and duration; those in the trash also by deleted.';
  END IF;
  -- A single project is named as one value, behind which an index is in the order of the list.
  v_where := v_where || CASE
    WHEN p_project_id IS NOT NULL THEN ' AND f.project_id = ($2)[1]'
    ELSE ' AND f.project_id = ANY ($2)'
  END;
  IF v_type IN ('bigint', 'double precision') AND p_project_id IS NOT NULL THEN
    v_where := v_where || ' AND c.project_id = ($2)[1]';
  END IF;
  IF v_file_id IS NOT NULL THEN
    v_where := v_where || ' AND f.file_id = $3';
  END IF;
  IF v_folder IS NOT NULL AND coalesce(nebula.json_boolean(p_filter, 'below'), false) THEN
    v_where := v_where || CASE WHEN v_folder = '' THEN ''
      ELSE ' AND (f.folder = $4 OR f.folder > $4 || ''/'' AND f.folder < $4 || ''0'')' END;
  ELSIF v_folder IS NOT NULL THEN
    v_where := v_where || ' AND f.folder = $4';
  END IF;
  IF v_name IS NOT NULL THEN
    v_where := v_where || ' AND f.name = $5';
  END IF;
  IF v_kind IS NOT NULL THEN
    v_where := v_where || ' AND c.kind = $6';
  END IF;
  IF v_tags IS NOT NULL THEN
    v_where := v_where || ' AND f.tags @> $7';
  END IF;
  FOR n IN 1 .. least(cardinality(array_remove(v_words, '')), 16) LOOP
    v_where := v_where || format(' AND position(($8)[%s] IN f.name_folded) > 0', n);
  END LOOP;
  -- Of files that can be played the jobs do not matter, and those are read for the others alone.
  IF v_state = 'ready' THEN
    v_where := v_where || ' AND (c.job_id IS NULL OR EXISTS (
      SELECT FROM nebula.rendition r WHERE r.content_id = c.content_id AND r.kind = ''web''))';
  ELSIF v_state IS NOT NULL THEN
    v_where := v_where || ' AND c.job_id IS NOT NULL AND NOT EXISTS (
      SELECT FROM nebula.rendition r WHERE r.content_id = c.content_id AND r.kind = ''web'')
      AND (SELECT s.state FROM nebula.file_status s WHERE s.file_id = f.file_id) = $9';
  END IF;
  IF p_after IS NOT NULL THEN
    -- The key alone is a condition that an index takes; the pair leaves out what has the same key and came before.
    v_where := v_where || format(' AND %1$s %2$s= ($10 ->> 0)::%3$s AND (%1$s, f.file_id) %2$s '
                                 || '(($10 ->> 0)::%3$s, ($10 ->> 1)::uuid)',
                                 v_key, CASE WHEN p_descending THEN '<' ELSE '>' END, v_type);
  END IF;
  v_order := CASE WHEN p_descending THEN 'DESC' ELSE 'ASC' END;
  RETURN QUERY EXECUTE format($sql$
    SELECT s.file_id, s.project_id, s.folder, s.name, s.size, encode(s.sha256, 'hex'), s.content_type, s.kind,
           s.duration, s.tags, s.owner, s.uploaded_at, s.deleted_at, s.state, s.progress, s.error, s.job_id,
           s.renditions, s.summary, s.warnings,
           (SELECT b.seconds
              FROM nebula.bookmark b
             WHERE b.account_id = $1
               AND b.file_id = s.file_id
               AND NOT b.is_finished),
           to_jsonb(page.key) #>> '{}'
      FROM (SELECT f.file_id, %1$s AS key
              FROM nebula.file f
              JOIN nebula.content c USING (content_id)
             WHERE %2$s
             ORDER BY %1$s %3$s, f.file_id %3$s
             LIMIT $11) page
      JOIN nebula.file_status s USING (file_id)
     ORDER BY page.key %3$s, page.file_id %3$s
  $sql$, v_key, v_where, v_order)
  USING p_actor, v_projects, v_file_id, v_folder, v_name, v_kind, v_tags, v_words, v_state, p_after, p_max;
END $$;
COMMENT ON FUNCTION nebula.list_files(nebula.proven_account, uuid, jsonb, text, boolean, jsonb, integer) IS
  'For the gateway: files that the account sees, with state, renditions and where it stopped in them. The filter: '
  'fileId, folder (below: also what is below it), name, q (parts of the name), kind, tags (all of them), state, trash '
  '(true: those in the trash instead). Sorted by name, date, size or duration; the next page comes after the sort_key '
  'and the file_id of the last row. Errors: 22023 no such filter or order';
