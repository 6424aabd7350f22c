-- Subtitles beside a film: files in its folder whose names begin with its own, such as film.srt and film.en.forced.srt.
-- Which film they belong to follows from their names, and is stored nowhere, so that it changes when one of them is
-- moved, renamed, deleted or restored.

CREATE FUNCTION nebula.is_beside(p_film text, p_subtitle text) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN nebula.stem(p_subtitle) = nebula.stem(p_film)
       OR starts_with(nebula.stem(p_subtitle), nebula.stem(p_film) || '.');
COMMENT ON FUNCTION nebula.is_beside(text, text) IS
  'Internal: whether subtitles of this name may belong to the film of that name';

CREATE FUNCTION nebula.subtitles_beside(p_project_id uuid, p_folder text, p_name text)
RETURNS TABLE (
  kind text, file_id uuid, content_id uuid, storage_key text, size bigint, sha256 bytea, content_type text,
  made_at timestamptz, detail jsonb
)
LANGUAGE sql STABLE AS $$
  SELECT 'subtitle-' || left(md5(f.file_id::text), 12), f.file_id, r.content_id, r.storage_key, r.size, r.sha256,
         r.content_type, r.made_at,
         jsonb_build_object(
           'language', (SELECT w.word
                          FROM unnest(m.words) WITH ORDINALITY AS w(word, place)
                         WHERE w.word ~ '^[a-z]{2,3}(-[a-z]{2,4})?$'
                           AND w.word NOT IN ('sdh', 'cc')
                         ORDER BY w.place
                         LIMIT 1),
           'label', (SELECT nullif(string_agg(CASE WHEN w.word IN ('sdh', 'cc') THEN upper(w.word)
                                                   ELSE upper(left(w.word, 1)) || substr(w.word, 2)
                                              END, ' ' ORDER BY w.place), '')
                       FROM unnest(m.words) WITH ORDINALITY AS w(word, place)
                      WHERE w.word IN ('sdh', 'cc')
                         OR w.word !~ '^[a-z]{2,3}(-[a-z]{2,4})?$'
                            AND w.word NOT IN ('forced', 'foreign', 'default')),
           'forced', m.words && ARRAY['forced', 'foreign'],
           'cues', r.detail -> 'cues', 'file', f.name)
    FROM nebula.file f
    JOIN nebula.rendition r ON r.content_id = f.content_id AND r.kind = 'subtitle'
   CROSS JOIN LATERAL (SELECT string_to_array(substr(nebula.stem(f.name), length(nebula.stem(p_name)) + 2), '.')
                         AS words) m
   WHERE f.project_id = p_project_id
     AND f.folder = p_folder
     AND f.deleted_at IS NULL
     AND nebula.is_subtitle(f.name)
     AND nebula.is_beside(p_name, f.name)
     -- Words that tell the language and the use; numbers are those of another film, as in "film.2.srt".
     AND cardinality(m.words) <= 4
     AND array_to_string(m.words, '') !~ '[0-9]'
$$;
COMMENT ON FUNCTION nebula.subtitles_beside(uuid, text, text) IS
  'Internal: WebVTT of the subtitles beside the file of this name, with the kind under which it is a rendition of that '
  'file, and in the detail language, label and forced, as the words between name and ending say';

-- MicroDVD counts in pictures. Asked for its files alone: this reads the whole folder.
CREATE FUNCTION nebula.rate_beside(p_project_id uuid, p_folder text, p_name text) RETURNS double precision
LANGUAGE sql STABLE AS $$
  SELECT max((c.media ->> 'frameRate')::double precision)
    FROM nebula.file f
    JOIN nebula.content c USING (content_id)
   WHERE p_name ~* '\.sub$'
     AND f.project_id = p_project_id
     AND f.folder = p_folder
     AND f.deleted_at IS NULL
     AND c.media ? 'frameRate'
     AND nebula.is_beside(f.name, p_name)
$$;
COMMENT ON FUNCTION nebula.rate_beside(uuid, text, text) IS
  'Internal: pictures a second of the film that subtitles of this name belong to; null: not known, or not needed';
