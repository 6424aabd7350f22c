-- Rules of folders and tags, and forms of names by which files are sorted and found. As in text_rule.sql, bodies are
-- parsed here, so that constraints and generated columns mean the same in every session.

CREATE FUNCTION nebula.is_folder(p_folder text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN octet_length(p_folder) <= 1000
       AND p_folder !~ '[[:cntrl:]]'
       AND NOT EXISTS (SELECT
                         FROM unnest(string_to_array(p_folder, '/')) AS part
                        WHERE octet_length(part) NOT BETWEEN 1 AND 255
                           OR part IN ('.', '..'))
       AND coalesce(cardinality(string_to_array(p_folder, '/')), 0) <= 32
       AND CASE
             WHEN getdatabaseencoding() = 'UTF8'
             THEN p_folder IS NFC NORMALIZED AND p_folder !~ '[\u202A-\u202E\u2066-\u2069]'
             ELSE true
           END;
COMMENT ON FUNCTION nebula.is_folder(text) IS
  'Internal: whether a text is a folder of files: empty at the top, else at most 32 names joined by slashes, of 1 to '
  '255 bytes each and 1000 together, in composed letters';

CREATE FUNCTION nebula.are_tags(p_tags text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN cardinality(p_tags) <= 32
       AND NOT EXISTS (SELECT
                         FROM unnest(p_tags) AS tag
                        WHERE tag IS NULL
                           OR octet_length(tag) NOT BETWEEN 1 AND 100
                           OR tag ~ '[,[:cntrl:]]'
                           OR tag <> btrim(tag));
COMMENT ON FUNCTION nebula.are_tags(text[]) IS
  'Internal: whether these can be the tags of a file: at most 32, of 1 to 100 bytes each, without commas';

-- Not the collation of the server: its rules change with the library that it is from, and an index would have to be
-- built again. In another encoding than UTF8 the server cannot take letters apart.
CREATE FUNCTION nebula.folded(p_text text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
         WHEN getdatabaseencoding() = 'UTF8'
         THEN regexp_replace(normalize(lower(p_text), NFD), '[\u0300-\u036F]', '', 'g')
         ELSE lower(p_text)
       END;
COMMENT ON FUNCTION nebula.folded(text) IS
  'Internal: a text in small letters without accents, in which parts of names are searched';

-- The zeros go from the start of each number, and others come until it has 16 digits. Cut, so that an index takes it.
CREATE FUNCTION nebula.sort_key(p_text text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN left(regexp_replace(regexp_replace(regexp_replace(
              nebula.folded(p_text),
              '0*([0-9]+)', '\1', 'g'),
              '([0-9]+)', '0000000000000000\1', 'g'),
              '0*([0-9]{16,})(?![0-9])', '\1', 'g'),
            400);
COMMENT ON FUNCTION nebula.sort_key(text) IS
  'Internal: a text whose order by bytes is the order of names for people: "film 2" is before "Film 10"';

-- VobSub has the same ending as MicroDVD, but is recognised as media by its bytes.
CREATE FUNCTION nebula.is_subtitle(p_name text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN p_name ~* '[^.]\.(srt|vtt|ass|ssa|sub|smi|sami)$';
COMMENT ON FUNCTION nebula.is_subtitle(text) IS 'Internal: whether a file of this name has subtitles as text';

CREATE FUNCTION nebula.stem(p_name text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN lower(regexp_replace(p_name, '\.[^.]*$', ''));
COMMENT ON FUNCTION nebula.stem(text) IS 'Internal: a file name without its ending, in small letters';
