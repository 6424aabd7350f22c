-- Requests of players: the variants of a film, their segments, and which chunks are made first.

-- A variant can be played from its first chunk on. A player does not look again for what was missing when it began, so
-- nothing can be played until each kind of variant that the film has can.
CREATE FUNCTION nebula.playable_variants(p_actor nebula.proven_account, p_file_id uuid) RETURNS SETOF jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_file nebula.file := nebula.require_file(p_actor, p_file_id);
BEGIN
  IF EXISTS (SELECT
               FROM nebula.variant v
               LEFT JOIN nebula.chunk k ON k.content_id = v.content_id AND k.variant = v.name AND k.n = 0
              WHERE v.content_id = v_file.content_id
              GROUP BY v.kind
             HAVING count(k.n) = 0) THEN
    RETURN;
  END IF;
  RETURN QUERY
    SELECT jsonb_strip_nulls(jsonb_build_object(
             'name', v.name, 'kind', v.kind, 'codecs', v.codecs, 'width', v.width, 'height', v.height,
             'frameRate', v.frame_rate, 'language', v.language, 'label', v.label, 'channels', v.channels,
             'isDefault', v.is_default, 'peakBandwidth', ceil(b.peak), 'averageBandwidth', ceil(b.average)))
      FROM nebula.variant v
     CROSS JOIN LATERAL (SELECT max(s.bytes * 8 / s.seconds) AS peak, sum(s.bytes) * 8 / sum(s.seconds) AS average
                           FROM nebula.chunk k
                          CROSS JOIN LATERAL unnest(k.sizes, k.durations) AS s(bytes, seconds)
                          WHERE k.content_id = v.content_id
                            AND k.variant = v.name) b
     WHERE v.content_id = v_file.content_id
       AND v.init IS NOT NULL
       AND EXISTS (SELECT
                     FROM nebula.chunk k
                    WHERE k.content_id = v.content_id
                      AND k.variant = v.name
                      AND k.n = 0)
     ORDER BY v.kind, v.height DESC, v.name;
  RETURN QUERY
    SELECT jsonb_strip_nulls(jsonb_build_object(
             'name', r.kind, 'kind', 'subtitles', 'language', r.detail ->> 'language', 'label', r.detail ->> 'label',
             'isForced', coalesce((r.detail ->> 'forced')::boolean, false)))
      FROM nebula.rendition r
     WHERE r.content_id = v_file.content_id
       AND r.kind LIKE 'subtitle-%'
       AND r.content_type = 'text/vtt'
     ORDER BY r.kind;
  RETURN QUERY
    SELECT jsonb_strip_nulls(jsonb_build_object(
             'name', b.kind, 'kind', 'subtitles', 'language', b.detail ->> 'language', 'label', b.detail ->> 'label',
             'isForced', (b.detail ->> 'forced')::boolean))
      FROM nebula.subtitles_beside(v_file.project_id, v_file.folder, v_file.name) b
     ORDER BY b.detail ->> 'file';
END $$;
COMMENT ON FUNCTION nebula.playable_variants(nebula.proven_account, uuid) IS
  'For the gateway: variants of a film that can be played now: sounds, pictures from the largest, subtitles; '
  'bandwidths in bit/s as measured so far. Errors: P0002 no such file';

CREATE FUNCTION nebula.file_duration(p_actor nebula.proven_account, p_file_id uuid) RETURNS double precision
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_file nebula.file := nebula.require_file(p_actor, p_file_id);
BEGIN
  RETURN (SELECT (c.media ->> 'duration')::double precision
            FROM nebula.content c
           WHERE c.content_id = v_file.content_id);
END $$;
COMMENT ON FUNCTION nebula.file_duration(nebula.proven_account, uuid) IS
  'For the gateway: seconds of a film or sound; null: not known. Errors: P0002 no such file';

CREATE FUNCTION nebula.variant_segments(p_actor nebula.proven_account, p_file_id uuid, p_variant text)
RETURNS TABLE (n integer, durations real[], is_complete boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_file    nebula.file := nebula.require_file(p_actor, p_file_id);
  v_variant nebula.variant;
  v_next    integer;
BEGIN
  SELECT v.*
    INTO v_variant
    FROM nebula.variant v
   WHERE v.content_id = v_file.content_id
     AND v.name = p_variant;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'file "%" has no variant "%"', v_file.name, p_variant
      USING ERRCODE = 'P0002', HINT = 'GET /api/files/{id}/hls/master.m3u8 names those it has.';
  END IF;
  -- The first chunk that is not made yet: a playlist has no gaps.
  v_next := (SELECT min(k.n) + 1
               FROM (SELECT -1 AS n
                      UNION ALL
                     SELECT c.n
                       FROM nebula.chunk c
                      WHERE c.content_id = v_file.content_id
                        AND c.variant = p_variant) k
              WHERE NOT EXISTS (SELECT
                                  FROM nebula.chunk c
                                 WHERE c.content_id = v_file.content_id
                                   AND c.variant = p_variant
                                   AND c.n = k.n + 1));
  RETURN QUERY
    SELECT k.n, k.durations, coalesce(v_next >= v_variant.chunks, false)
      FROM nebula.chunk k
     WHERE k.content_id = v_file.content_id
       AND k.variant = p_variant
       AND k.n < v_next
     ORDER BY k.n;
END $$;
COMMENT ON FUNCTION nebula.variant_segments(nebula.proven_account, uuid, text) IS
  'For the gateway: chunks of a variant from the start to the first that is not made, with the seconds of their '
  'segments; is_complete: there are no others. Errors: P0002 no such file or variant';

CREATE FUNCTION nebula.variant_init(p_actor nebula.proven_account, p_file_id uuid, p_variant text) RETURNS bytea
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_file nebula.file := nebula.require_file(p_actor, p_file_id);
  v_init bytea := (SELECT v.init
                     FROM nebula.variant v
                    WHERE v.content_id = v_file.content_id
                      AND v.name = p_variant);
BEGIN
  IF v_init IS NULL THEN
    RAISE EXCEPTION 'file "%" has no variant "%" yet', v_file.name, p_variant
      USING ERRCODE = 'P0002', HINT = 'GET /api/files/{id}/hls/master.m3u8 names those it has.';
  END IF;
  RETURN v_init;
END $$;
COMMENT ON FUNCTION nebula.variant_init(nebula.proven_account, uuid, text) IS
  'For the gateway: the initialization segment of a variant. Errors: P0002 no such file or variant, or not made yet';

CREATE FUNCTION nebula.find_segment(
  p_actor nebula.proven_account, p_file_id uuid, p_variant text, p_chunk integer, p_segment integer
) RETURNS TABLE (content_id uuid, storage_key text, first_byte bigint, size integer, made_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_file nebula.file := nebula.require_file(p_actor, p_file_id);
BEGIN
  RETURN QUERY
    SELECT k.content_id, k.storage_key, coalesce((SELECT sum(s) FROM unnest(k.sizes[:p_segment]) s), 0)::bigint,
           k.sizes[p_segment + 1], k.made_at
      FROM nebula.chunk k
     WHERE k.content_id = v_file.content_id
       AND k.variant = p_variant
       AND k.n = p_chunk
       AND p_segment >= 0
       AND p_segment < cardinality(k.sizes);
  IF NOT FOUND THEN
    RAISE EXCEPTION 'file "%" has no segment %-% of variant "%"', v_file.name, p_chunk, p_segment, p_variant
      USING ERRCODE = 'P0002', HINT = 'The playlist of the variant names those it has.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.find_segment(nebula.proven_account, uuid, text, integer, integer) IS
  'For the gateway: where a segment lies: its object, and its first byte and size there. Errors: P0002 no such file, '
  'or segment';

CREATE FUNCTION nebula.make_from(
  p_actor nebula.proven_account, p_file_id uuid, p_seconds double precision
) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_file   nebula.file := nebula.require_file(p_actor, p_file_id);
  v_raised record;
  v_count  integer := 0;
BEGIN
  -- The chunk that has this moment, and the two that follow; above those of other films, and in their order.
  FOR v_raised IN
    UPDATE nebula.job_waiting w
       SET priority = greatest(w.priority, 100 - t.place::integer)
      FROM (SELECT j.job_id, row_number() OVER (ORDER BY j.n) AS place
              FROM nebula.content c
             CROSS JOIN LATERAL jsonb_array_elements(c.media -> 'chunks') p
              JOIN nebula.content_job j ON j.content_id = c.content_id AND j.n = (p ->> 'n')::integer
             WHERE c.content_id = v_file.content_id
               AND coalesce((p ->> 'to')::double precision, 'Infinity') > p_seconds
             ORDER BY j.n
             LIMIT 3) t
     WHERE w.job_id = t.job_id
    RETURNING w.kind, w.priority, w.run_at
  LOOP
    PERFORM nebula.notify_enqueued(v_raised.kind, v_raised.priority, v_raised.run_at);
    v_count := v_count + 1;
  END LOOP;
  RETURN v_count;
END $$;
COMMENT ON FUNCTION nebula.make_from(nebula.proven_account, uuid, double precision) IS
  'For the gateway: moves the chunks from this second of a film on to the front of the queue, since somebody waits for '
  'them; returns how many were waiting. Errors: P0002 no such file';
