-- Fields of JSON objects that callers send: of the type that is expected, or an error that names the field, its value
-- and what it can be. A field that is absent or null is null.

CREATE FUNCTION nebula.refuse_field(p_field text, p_value jsonb, p_hint text) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RAISE EXCEPTION '% cannot be %', p_field, left(coalesce(p_value::text, 'null'), 80)
    USING ERRCODE = '22023', HINT = p_hint, COLUMN = p_field;
END $$;
COMMENT ON FUNCTION nebula.refuse_field(text, jsonb, text) IS
  'Internal: the error of a field that has another type or value than it can have. Errors: 22023';

-- The size in memory, which costs no serialisation; it is about that of the text.
CREATE FUNCTION nebula.check_size(p_what text, p_document jsonb) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF pg_catalog.pg_column_size(p_document) OPERATOR(pg_catalog.>) 1048576 THEN
    RAISE EXCEPTION '% has % bytes, more than 1048576', p_what, pg_catalog.pg_column_size(p_document)
      USING ERRCODE = '22023', HINT = 'Put bulk into object storage and its key into the document.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_size(text, jsonb) IS
  'Internal: limits a document that is stored in a row, as payloads and results of jobs are. Errors: 22023 more than '
  '1 MiB';

CREATE FUNCTION nebula.check_fields(p_what text, p_object jsonb, p_known text[]) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_wrong text;
BEGIN
  IF jsonb_typeof(p_object) IS DISTINCT FROM 'object' THEN
    RAISE EXCEPTION '% must be a JSON object, not %', p_what, left(coalesce(p_object::text, 'null'), 80)
      USING ERRCODE = '22023', HINT = format('Its fields are %s.', array_to_string(p_known, ', '));
  END IF;
  SELECT left(k, 80)
    INTO v_wrong
    FROM jsonb_object_keys(p_object) k
   WHERE k <> ALL (p_known)
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION '% has no "%"', p_what, v_wrong
      USING ERRCODE = '22023', HINT = format('Its fields are %s.', array_to_string(p_known, ', ')), COLUMN = v_wrong;
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_fields(text, jsonb, text[]) IS
  'Internal: refuses what is no JSON object, and fields that are not known. Errors: 22023';

CREATE FUNCTION nebula.json_text(p_object jsonb, p_field text) RETURNS text
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF jsonb_typeof(p_object -> p_field) NOT IN ('string', 'null') THEN
    PERFORM nebula.refuse_field(p_field, p_object -> p_field, 'Give a text.');
  END IF;
  RETURN p_object ->> p_field;
END $$;
COMMENT ON FUNCTION nebula.json_text(jsonb, text) IS 'Internal: a field that is a text. Errors: 22023';

CREATE FUNCTION nebula.json_boolean(p_object jsonb, p_field text) RETURNS boolean
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF jsonb_typeof(p_object -> p_field) NOT IN ('boolean', 'null') THEN
    PERFORM nebula.refuse_field(p_field, p_object -> p_field, 'Give true or false.');
  END IF;
  RETURN (p_object ->> p_field)::boolean;
END $$;
COMMENT ON FUNCTION nebula.json_boolean(jsonb, text) IS 'Internal: a field that is true or false. Errors: 22023';

CREATE FUNCTION nebula.json_integer(p_object jsonb, p_field text, p_least bigint, p_most bigint) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_value  CONSTANT jsonb := nullif(p_object -> p_field, 'null');
  v_number CONSTANT numeric := CASE jsonb_typeof(v_value) WHEN 'number' THEN v_value::numeric END;
BEGIN
  IF v_value IS NOT NULL AND (v_number BETWEEN p_least AND p_most AND v_number = trunc(v_number)) IS NOT TRUE THEN
    PERFORM nebula.refuse_field(p_field, v_value, format('Give a whole number from %s to %s.', p_least, p_most));
  END IF;
  RETURN v_number::bigint;
END $$;
COMMENT ON FUNCTION nebula.json_integer(jsonb, text, bigint, bigint) IS
  'Internal: a field that is a whole number within these limits. Errors: 22023';

CREATE FUNCTION nebula.json_uuid(p_object jsonb, p_field text) RETURNS uuid
LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF NOT (jsonb_typeof(p_object -> p_field) IN ('string', 'null')
          AND coalesce(p_object ->> p_field ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$', true))
  THEN
    PERFORM nebula.refuse_field(p_field, p_object -> p_field,
                                'Give an identifier such as 00000000-0000-4000-8000-000000000001.');
  END IF;
  RETURN (p_object ->> p_field)::uuid;
END $$;
COMMENT ON FUNCTION nebula.json_uuid(jsonb, text) IS 'Internal: a field that is an identifier. Errors: 22023';

CREATE FUNCTION nebula.json_time(p_object jsonb, p_field text) RETURNS timestamptz
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN nebula.json_text(p_object, p_field)::timestamptz;
EXCEPTION
  WHEN invalid_datetime_format OR datetime_field_overflow OR invalid_time_zone_displacement_value THEN
    PERFORM nebula.refuse_field(p_field, p_object -> p_field, 'Give a time such as 2030-12-31T00:00:00Z.');
    RETURN NULL;
END $$;
COMMENT ON FUNCTION nebula.json_time(jsonb, text) IS 'Internal: a field that is a time. Errors: 22023';

CREATE FUNCTION nebula.json_list(p_object jsonb, p_field text, p_type text) RETURNS jsonb
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_value CONSTANT jsonb := nullif(p_object -> p_field, 'null');
BEGIN
  IF jsonb_typeof(v_value) <> 'array'
     OR (jsonb_typeof(v_value) = 'array'
         AND EXISTS (SELECT FROM jsonb_array_elements(v_value) e WHERE jsonb_typeof(e) <> p_type))
  THEN
    PERFORM nebula.refuse_field(p_field, v_value, CASE p_type
                                                    WHEN 'string' THEN 'Give a list of texts.'
                                                    ELSE 'Give a list of objects.'
                                                  END);
  END IF;
  RETURN coalesce(v_value, '[]');
END $$;
COMMENT ON FUNCTION nebula.json_list(jsonb, text, text) IS
  'Internal: a field that is a list of values of a JSON type, string or object; empty if it is null. Errors: 22023';

CREATE FUNCTION nebula.json_texts(p_object jsonb, p_field text) RETURNS text[]
LANGUAGE sql STABLE AS $$
  SELECT ARRAY(SELECT jsonb_array_elements_text(nebula.json_list(p_object, p_field, 'string')))
$$;
COMMENT ON FUNCTION nebula.json_texts(jsonb, text) IS
  'Internal: a field that is a list of texts; empty if it is null. Errors: 22023';

CREATE FUNCTION nebula.read_inet(p_field text, p_text text) RETURNS inet
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN p_text::inet;
EXCEPTION WHEN invalid_text_representation THEN
  PERFORM nebula.refuse_field(p_field, to_jsonb(p_text),
                              'Give an address or a network, for example 10.1.2.3, 10.1.2.0/24 or fd00::/64.');
  RETURN NULL;
END $$;
COMMENT ON FUNCTION nebula.read_inet(text, text) IS
  'Internal: the address or network in a text. Errors: 22023 there is none';
