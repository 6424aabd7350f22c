-- Codes that people type or get in a link: enrolments and invitations. Tables keep their SHA-256 alone.

CREATE FUNCTION nebula.random_code() RETURNS text
LANGUAGE sql VOLATILE AS $$
  -- 25 letters out of 32: 125 bits. Without 0, 1, I and O, which people confuse.
  SELECT string_agg(substr('23456789ABCDEFGHJKLMNPQRSTUVWXYZ', (get_byte(r.bytes, n) & 31) + 1, 1), '' ORDER BY n)
    FROM (SELECT sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))) AS r(bytes),
         generate_series(0, 24) n
$$;
COMMENT ON FUNCTION nebula.random_code() IS 'Internal: a new code, of 125 random bits';

CREATE FUNCTION nebula.grouped_code(p_code text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT AS $$
  SELECT regexp_replace(p_code, '(.{5})(?!$)', '\1-', 'g')
$$;
COMMENT ON FUNCTION nebula.grouped_code(text) IS 'Internal: a code as people read it: groups of five with dashes';
