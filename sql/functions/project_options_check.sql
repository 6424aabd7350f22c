-- Checks before options of a project change.

-- Options as the API writes them: their values, the least and the most of a number, or a pattern of a text.
CREATE FUNCTION nebula.check_project_options(p_changes jsonb) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_wrong record;
BEGIN
  IF p_changes IS NULL OR jsonb_typeof(p_changes) <> 'object' THEN
    RAISE EXCEPTION 'options must be a JSON object'
      USING ERRCODE = '22023', HINT = 'For example {"mtu": 1400}.';
  END IF;
  WITH known (name, choices, least, most, hint, pattern) AS (
    VALUES ('lifetimeSeconds', jsonb '[0]', 60, 311040000, 'seconds from 60 to 311040000, 0 for the usual', NULL),
           ('certificateVersions', '[[1], [2], [1, 2], [2, 1], 1, 2]', NULL, NULL, '[1], [2] or [1,2]', NULL),
           ('mtu', '[]', 576, 9001, 'a number from 576 to 9001', NULL),
           ('cipher', '["aes", "chachapoly"]', NULL, NULL, 'aes or chachapoly', NULL),
           ('punchy', '[true, false]', NULL, NULL, 'true or false', NULL),
           ('dnsPort', '[0]', 1, 65535, 'a port from 1 to 65535, 0 for no DNS', NULL),
           ('dnsDomain', '[""]', NULL, NULL, 'a domain in small letters, such as home.arpa, not below local',
            '^(?!(.*\.)?local$)(?=.{1,253}$)'
            '([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
           ('inbound', '["open", "closed"]', NULL, NULL, 'open or closed', NULL),
           ('outbound', '["open", "closed"]', NULL, NULL, 'open or closed', NULL),
           ('syncPendingKib', '[0]', 16384, 4194304, 'a number from 16384 to 4194304, 0 for the usual', NULL),
           ('syncHashers', '[0]', 1, 256, 'a number from 1 to 256, 0 for the usual', NULL),
           ('syncWrites', '[0]', 1, 64, 'a number from 1 to 64, 0 for the usual', NULL),
           ('syncOrder', '["standard", "random", "inOrder", ""]', NULL, NULL, 'standard, random or inOrder', NULL),
           ('syncConnections', '[0]', 1, 128, 'a number from 1 to 128, 0 for the usual', NULL),
           ('memberReach', '["overlay", "internet"]', NULL, NULL, 'overlay or internet', NULL)
  )
  SELECT c.key, c.value, k.hint, (SELECT string_agg(n.name, ', ' ORDER BY n.name) FROM known n) AS names
    INTO v_wrong
    FROM jsonb_each(p_changes) c
    LEFT JOIN known k ON k.name = c.key
   WHERE k.name IS NULL
      OR NOT EXISTS (SELECT FROM jsonb_array_elements(k.choices) w WHERE w::text = c.value::text)
         AND (CASE
                WHEN c.value::text ~ '^[0-9]{1,10}$' THEN c.value::numeric BETWEEN k.least AND k.most
                WHEN jsonb_typeof(c.value) = 'string' THEN c.value #>> '{}' ~ k.pattern
              END) IS NOT TRUE
   ORDER BY c.key
   LIMIT 1;
  IF NOT FOUND THEN
    RETURN;
  ELSIF v_wrong.hint IS NULL THEN
    RAISE EXCEPTION 'there is no option "%"', left(v_wrong.key, 80)
      USING ERRCODE = '22023', HINT = format('Options are %s.', v_wrong.names),
            COLUMN = left(v_wrong.key, 80);
  END IF;
  RAISE EXCEPTION 'option % cannot be %', v_wrong.key, left(v_wrong.value::text, 80)
    USING ERRCODE = '22023', HINT = format('Give %s.', v_wrong.hint), COLUMN = v_wrong.key;
END $$;
COMMENT ON FUNCTION nebula.check_project_options(jsonb) IS
  'Internal: refuses options of a project that do not exist or cannot have these values. Errors: 22023';

CREATE FUNCTION nebula.check_mtu(p_project_id uuid, p_mtu integer) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_pool text := (SELECT l.name
                    FROM nebula.pool l
                   WHERE l.project_id = p_project_id
                     AND family(l.cidr) = 6
                   ORDER BY l.name
                   LIMIT 1);
BEGIN
  IF p_mtu < 1280 AND v_pool IS NOT NULL THEN
    RAISE EXCEPTION 'an MTU of % is too small for IPv6, which pool "%" is of', p_mtu, v_pool
      USING ERRCODE = '22023', HINT = 'IPv6 needs 1280.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_mtu(uuid, integer) IS
  'Internal: refuses an MTU that the kernel does not take for the addresses of a project. Errors: 22023';
