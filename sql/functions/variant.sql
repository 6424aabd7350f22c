-- Adaptive streaming: a worker plans a film, its jobs add chunks to variants, and players get playlists of those.

CREATE FUNCTION nebula.retime_subtitles(p_content_id uuid, p_frame_rate double precision) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_text record;
BEGIN
  FOR v_text IN
    SELECT c AS content, t.name
      FROM nebula.file f
      JOIN nebula.file t ON t.project_id = f.project_id AND t.folder = f.folder AND nebula.is_beside(f.name, t.name)
      JOIN nebula.content c ON c.content_id = t.content_id
     WHERE f.content_id = p_content_id
       AND f.deleted_at IS NULL
       AND t.deleted_at IS NULL
       AND nebula.is_subtitle(t.name)
       AND t.name ~* '\.sub$'
  LOOP
    PERFORM nebula.make_companion(v_text.content, v_text.name, p_frame_rate);
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.retime_subtitles(uuid, double precision) IS
  'Internal: makes subtitles beside a film again that count in pictures, now that its rate is known';

-- A retry of a plan that was carried out before its answer arrived makes no second set of jobs: the jobs of the first
-- are cancelled, and what they made counts no more, since the new plan may cut the film elsewhere.
CREATE FUNCTION nebula.plan_renditions(p_job_id bigint, p_attempt integer, p_content_id uuid, p_plan jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_job    nebula.job_running := nebula.require_wanted(p_job_id, p_attempt, p_content_id);
  v_base   jsonb;
  v_made   bigint[] := '{}';
  v_next   bigint;
  v_chunk  record;
BEGIN
  PERFORM nebula.check_size('the plan', p_plan);
  UPDATE nebula.content c
     SET media = p_plan
   WHERE c.content_id = p_content_id;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no content %', p_content_id
      USING ERRCODE = 'P0002', HINT = 'Its files were deleted; drop the work.';
  END IF;
  PERFORM nebula.retime_subtitles(p_content_id, (p_plan ->> 'frameRate')::double precision);
  DELETE FROM nebula.content_job j
   WHERE j.content_id = p_content_id
     AND j.job_id = p_job_id;
  PERFORM nebula.cancel_content_jobs(p_content_id);
  DELETE FROM nebula.content_job j WHERE j.content_id = p_content_id;
  INSERT INTO nebula.content_job (content_id, job_id, role) VALUES (p_content_id, p_job_id, 'plan');
  DELETE FROM nebula.variant v WHERE v.content_id = p_content_id;
  INSERT INTO nebula.variant (content_id, name, kind, width, height, frame_rate, chunks)
  SELECT p_content_id, v ->> 'name', 'video', (v ->> 'width')::integer, (v ->> 'height')::integer,
         (p_plan ->> 'frameRate')::real, nullif(jsonb_array_length(p_plan -> 'chunks'), 0)
    FROM jsonb_array_elements(p_plan -> 'variants') v;
  INSERT INTO nebula.variant (content_id, name, kind, language, label, channels, is_default)
  SELECT p_content_id, s ->> 'name', 'audio', s ->> 'language', s ->> 'label', (s ->> 'channels')::integer,
         coalesce((s ->> 'default')::boolean, false)
    FROM jsonb_array_elements(p_plan -> 'sounds') s;
  v_base := v_job.payload - 'chunk' || jsonb_build_object('contentId', p_content_id);
  IF jsonb_array_length(p_plan -> 'variants') > 0 THEN
    -- Earlier chunks first, so that a film can be watched while it is made; of several films each gets its start.
    FOR v_chunk IN
      SELECT c AS part, (c ->> 'n')::integer AS n,
             coalesce((c ->> 'to')::real, (p_plan ->> 'duration')::real, 0) - (c ->> 'from')::real AS seconds
        FROM jsonb_array_elements(p_plan -> 'chunks') c
       ORDER BY 2
    LOOP
      v_next := nebula.enqueue_job('transcode-chunk', v_base || jsonb_build_object(
        'chunk', v_chunk.part, 'variants', p_plan -> 'variants', 'picture', p_plan -> 'picture',
        'method', coalesce(p_plan -> 'method', '{}')),
        priority => v_job.priority - v_chunk.n, project_id => v_job.project_id);
      v_made := v_made || v_next;
      INSERT INTO nebula.content_job (content_id, job_id, role, n, weight)
      VALUES (p_content_id, v_next, 'chunk', v_chunk.n, greatest(v_chunk.seconds, 1));
    END LOOP;
  END IF;
  IF jsonb_array_length(p_plan -> 'sounds') > 0 THEN
    v_next := nebula.enqueue_job('transcode-audio', v_base || jsonb_build_object('sounds', p_plan -> 'sounds'),
                                 priority => v_job.priority, project_id => v_job.project_id);
    v_made := v_made || v_next;
    INSERT INTO nebula.content_job (content_id, job_id, role, weight)
    VALUES (p_content_id, v_next, 'audio', greatest((p_plan ->> 'duration')::real / 20, 1));
  END IF;
  IF coalesce((p_plan ->> 'pictures')::boolean, false) OR jsonb_array_length(p_plan -> 'subtitles') > 0 THEN
    v_next := nebula.enqueue_job('transcode-pictures', v_base || jsonb_build_object(
      'subtitles', p_plan -> 'subtitles', 'picture', p_plan -> 'picture'),
      priority => v_job.priority - 1, project_id => v_job.project_id);
    INSERT INTO nebula.content_job (content_id, job_id, role, weight)
    VALUES (p_content_id, v_next, 'pictures', greatest((p_plan ->> 'duration')::real / 50, 1));
  END IF;
  IF p_plan ->> 'web' = 'join' THEN
    v_next := nebula.enqueue_job('transcode-join', v_base || jsonb_build_object(
      'variants', p_plan -> 'variants', 'sounds', p_plan -> 'sounds', 'summary', p_plan -> 'summary'),
      priority => v_job.priority, depends_on => v_made, project_id => v_job.project_id);
    INSERT INTO nebula.content_job (content_id, job_id, role, weight)
    VALUES (p_content_id, v_next, 'join', greatest((p_plan ->> 'duration')::real / 50, 1));
  END IF;
END $$;
COMMENT ON FUNCTION nebula.plan_renditions(bigint, integer, uuid, jsonb) IS
  'For the worker: enqueues the jobs that make the renditions of a content by this plan (the worker has its shape); '
  'fenced by the attempt of the job that planned. Errors: 55000 lease lost, P0002 its files were deleted, or the job '
  'cancelled, 22023 a plan of more than 1 MiB';

CREATE FUNCTION nebula.plan_in_software(p_job_id bigint, p_attempt integer, p_content_id uuid, p_reason text)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  -- Cancelled if another chunk has said so already.
  v_job  nebula.job_running := nebula.require_wanted(p_job_id, p_attempt, p_content_id);
  v_next bigint;
BEGIN
  -- This job ends by itself.
  DELETE FROM nebula.content_job j
   WHERE j.content_id = p_content_id
     AND j.job_id = p_job_id;
  PERFORM nebula.cancel_content_jobs(p_content_id);
  v_next := nebula.enqueue_job(
              'transcode',
              v_job.payload - ARRAY['chunk', 'variants', 'picture', 'method']
              || jsonb_build_object('contentId', p_content_id, 'software', left(p_reason, 500)),
              project_id => v_job.project_id);
  UPDATE nebula.content c
     SET job_id = v_next
   WHERE c.content_id = p_content_id;
  DELETE FROM nebula.content_job j WHERE j.content_id = p_content_id;
  INSERT INTO nebula.content_job (content_id, job_id, role) VALUES (p_content_id, v_next, 'plan');
END $$;
COMMENT ON FUNCTION nebula.plan_in_software(bigint, integer, uuid, text) IS
  'For the worker: plans a content again because a device failed at one of its chunks, and says why; its other jobs '
  'are cancelled, since all chunks of a film are made by one encoder. Errors: 55000 lease lost, P0002 the job was '
  'cancelled: another chunk has said so, or its files were deleted';

CREATE FUNCTION nebula.add_chunks(p_job_id bigint, p_attempt integer, p_content_id uuid, p_chunks jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_wanted(p_job_id, p_attempt, p_content_id);
  UPDATE nebula.variant v
     SET init = coalesce(v.init, decode(c ->> 'init', 'base64')),
         codecs = coalesce(v.codecs, c ->> 'codecs'),
         chunks = CASE WHEN (c ->> 'last')::boolean THEN (c ->> 'n')::integer + 1 ELSE v.chunks END
    FROM jsonb_array_elements(p_chunks) c
   WHERE v.content_id = p_content_id
     AND v.name = c ->> 'variant'
     AND (v.init IS NULL OR (c ->> 'last')::boolean);
  INSERT INTO nebula.chunk AS k (content_id, variant, n, storage_key, size, sha256, starts_at, durations, sizes)
  SELECT v.content_id, v.name, (c ->> 'n')::integer, c ->> 'storageKey', (c ->> 'size')::bigint,
         decode(c ->> 'sha256', 'hex'), (c ->> 'startsAt')::double precision,
         ARRAY(SELECT d::real FROM jsonb_array_elements_text(c -> 'durations') d),
         ARRAY(SELECT s::integer FROM jsonb_array_elements_text(c -> 'sizes') s)
    FROM jsonb_array_elements(p_chunks) c
    JOIN nebula.variant v ON v.content_id = p_content_id AND v.name = c ->> 'variant'
  ON CONFLICT ON CONSTRAINT chunk_pkey DO UPDATE
     SET storage_key = EXCLUDED.storage_key,
         size = EXCLUDED.size,
         sha256 = EXCLUDED.sha256,
         starts_at = EXCLUDED.starts_at,
         durations = EXCLUDED.durations,
         sizes = EXCLUDED.sizes,
         made_at = now();
  IF NOT FOUND THEN
    RAISE EXCEPTION 'content % has none of these variants', p_content_id
      USING ERRCODE = 'P0002', HINT = 'Its files were deleted, or it was planned anew; drop the work.';
  END IF;
  PERFORM nebula.notify_event(f.project_id, 'file', f.file_id::text, 'rendition')
    FROM nebula.file f
   WHERE f.content_id = p_content_id;
END $$;
COMMENT ON FUNCTION nebula.add_chunks(bigint, integer, uuid, jsonb) IS
  'For the worker: records chunks of variants: an array of {variant, n, storageKey, size, sha256 (hex), startsAt and '
  'durations (seconds), sizes (bytes)}, with init (base64) and codecs where the variant has none yet, and last with '
  'the last chunk of a sound; fenced by the attempt. Errors: 55000 lease lost, P0002 deleted, cancelled or planned '
  'anew';

CREATE FUNCTION nebula.list_chunks(p_job_id bigint, p_attempt integer, p_content_id uuid, p_variants text[])
RETURNS TABLE (variant text, n integer, storage_key text, size bigint, init bytea, starts_at double precision)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_attempt(p_job_id, p_attempt);
  RETURN QUERY
    SELECT k.variant, k.n, k.storage_key, k.size, v.init, k.starts_at
      FROM nebula.chunk k
      JOIN nebula.variant v ON v.content_id = k.content_id AND v.name = k.variant
     WHERE k.content_id = p_content_id
       AND k.variant = ANY (p_variants)
     ORDER BY k.variant, k.n;
END $$;
COMMENT ON FUNCTION nebula.list_chunks(bigint, integer, uuid, text[]) IS
  'For the worker: the chunks of these variants in order, for the job that joins them. Errors: 55000 lease lost';

CREATE FUNCTION nebula.cancel_content_jobs(p_content_id uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_job_id bigint;
BEGIN
  FOR v_job_id IN
    SELECT j.job_id
      FROM nebula.content_job j
     WHERE j.content_id = p_content_id
       AND nebula.is_unfinished(j.job_id)
     ORDER BY j.job_id
  LOOP
    -- The cancellation of a job before may have cancelled this one, which waited for it; a worker may finish it now.
    BEGIN
      PERFORM nebula.cancel_job(v_job_id) WHERE nebula.is_unfinished(v_job_id);
    EXCEPTION
      WHEN object_not_in_prerequisite_state THEN NULL;
    END;
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.cancel_content_jobs(uuid) IS 'Internal: cancels the unfinished jobs of a content';
