-- Limits of texts. The same functions are in CHECK constraints, for rows written by hand, and in the functions
-- that take the text, for an error with a hint. Their bodies are parsed here (RETURN), so that no search path of a
-- later session gives their operators another meaning.

-- Letters are named by ranges, as in XML names, because [[:alnum:]] means other letters in each locale: a name that one
-- database takes would be lost when its dump is restored into another. Spaces, controls, marks of direction and private
-- characters are in none of them.
CREATE FUNCTION nebula.is_name(p_text text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN p_text ~ replace('^[A-Za-z0-9LETTER][A-Za-z0-9LETTER._-]{0,62}$', 'LETTER',
                        '\u00AA\u00B5\u00BA\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u037D\u037F-\u061B\u061D-\u167F'
                        '\u1681-\u180D\u180F-\u1FFF\u2071\u207F\u2090-\u209C\u2102-\u2188\u24B6-\u24E9'
                        '\u2C00-\u2FEF\u3001-\uD7FF\uF900-\uFDCF\uFDF0-\uFEFE\uFF00-\uFFEF'
                        '\U00010000-\U000EFFFF');
COMMENT ON FUNCTION nebula.is_name(text) IS
  'Internal: whether a text is a name of a device or node: 1 to 63 letters, digits, dots, underscores and dashes, '
  'beginning with a letter or digit; the same in every locale';

CREATE FUNCTION nebula.is_label(p_text text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN nebula.is_name(replace(p_text, ' ', '_'));
COMMENT ON FUNCTION nebula.is_label(text) IS
  'Internal: whether a text is a name of a project, pool, reservation or schedule: as is_name, but with spaces';

-- In bytes.
CREATE FUNCTION nebula.text_limit(p_use text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE p_use
         WHEN 'actor' THEN 200      -- who did something: event, allocation, enrolment, reservation
         WHEN 'worker' THEN 200     -- name of a worker
         WHEN 'cron' THEN 200       -- expression of a schedule
         WHEN 'hash' THEN 500       -- hash of a password
         WHEN 'client' THEN 800     -- program that signed in; longer ones are cut
         WHEN 'subject' THEN 500    -- what an event is about
         WHEN 'note' THEN 1000      -- note of a rule, reason of an exclusion
         WHEN 'content' THEN 1000   -- content type, key in the storage
         WHEN 'failure' THEN 10000  -- why a job failed or was put off; longer ones are cut
       END;
COMMENT ON FUNCTION nebula.text_limit(text) IS 'Internal: how many bytes a text of a use may have at most';

CREATE FUNCTION nebula.check_text(p_name text, p_text text, p_use text) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF pg_catalog.octet_length(p_text) OPERATOR(pg_catalog.>) nebula.text_limit(p_use) THEN
    RAISE EXCEPTION '% has % bytes', p_name, pg_catalog.octet_length(p_text)
      USING ERRCODE = '22023',
        HINT = pg_catalog.format('Give a text of at most %s bytes.', nebula.text_limit(p_use));
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_text(text, text, text) IS
  'Internal: refuses a text that is longer than texts of its use may be. Errors: 22023';

-- Longer than anybody plans ahead, and far from the last date that PostgreSQL has.
CREATE FUNCTION nebula.check_span(p_name text, p_span interval, p_least interval DEFAULT '1 microsecond') RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF p_span NOT BETWEEN p_least AND interval '100 years' THEN
    RAISE EXCEPTION '% cannot be %', p_name, p_span
      USING ERRCODE = '22023',
        HINT = format('Give a length of time from %s to 100 years, for example interval ''1 day''.', p_least);
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_span(text, interval, interval) IS
  'Internal: refuses a length of time that is not longer than zero, or longer than 100 years. Errors: 22023';

-- Far from the ends of what PostgreSQL, JSON and JavaScript can write.
CREATE FUNCTION nebula.is_time(p_time timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN p_time >= timestamptz '2000-01-01 00:00:00+00' AND p_time < timestamptz '2200-01-01 00:00:00+00';
COMMENT ON FUNCTION nebula.is_time(timestamptz) IS
  'Internal: whether a time is one that a person can mean: from the year 2000 to 2199';

CREATE FUNCTION nebula.check_time(p_name text, p_time timestamptz) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF NOT nebula.is_time(p_time) THEN
    RAISE EXCEPTION '% cannot be %', p_name, p_time
      USING ERRCODE = '22023', HINT = 'Give a time from the year 2000 to 2199, for example 2030-12-31T00:00:00Z.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_time(text, timestamptz) IS
  'Internal: refuses a time that is not from the year 2000 to 2199, also an infinite one. Errors: 22023';
