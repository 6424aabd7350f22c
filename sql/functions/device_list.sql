-- Devices in pages.

-- The statement is written for what is asked: the order by name then begins in the index of names. The other orders
-- sort the devices of the project, of which only the keys are read before the page is cut.
CREATE FUNCTION nebula.page_devices(
  p_actor nebula.proven_account, p_project_id uuid, p_filter jsonb, p_sort text, p_descending boolean, p_after jsonb,
  p_max integer
) RETURNS TABLE (
  device_id uuid, project_id uuid, name text, role text, owner text, ip text, pool text,
  endpoints text[], curve text, registered_at timestamptz, last_seen_at timestamptz,
  revoked_at timestamptz, fingerprint text, certificate_not_after timestamptz, groups text[], sort_key text
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp SET jit = off AS $$
DECLARE
  v_projects CONSTANT uuid[] := ARRAY(SELECT v
                                        FROM nebula.visible_projects(p_actor) v
                                       WHERE p_project_id IS NULL OR v = p_project_id);
  v_words    CONSTANT text := lower(coalesce(nebula.json_text(p_filter, 'q'), ''));
  v_state    CONSTANT text := nebula.json_text(p_filter, 'state');
  v_held     CONSTANT text := 'EXISTS (SELECT FROM nebula.allocation h
                                       WHERE h.device_id = d.device_id AND h.released_at IS NULL)';
  v_key      text;
  v_type     text;
  v_where    text;
BEGIN
  PERFORM nebula.check_fields('the filter of devices', p_filter, ARRAY['q', 'state']);
  SELECT k.key, k.type
    INTO v_key, v_type
    FROM (VALUES ('name', 'd.name', 'text'), ('registered', 'd.registered_at', 'timestamptz'),
                 ('seen', 'coalesce(d.last_seen_at, ''-infinity'')', 'timestamptz')) AS k(sort, key, type)
   WHERE k.sort = p_sort;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'devices cannot be sorted by "%"', left(p_sort, 80)
      USING ERRCODE = '22023', HINT = 'They can by name, registered and seen.', COLUMN = 'sort';
  END IF;
  -- A single project is named as one value, behind which the index of names is in the order of the list.
  v_where := CASE WHEN p_project_id IS NOT NULL THEN 'd.project_id = ($1)[1]' ELSE 'd.project_id = ANY ($1)' END;
  IF v_words <> '' THEN
    v_where := v_where || ' AND position($2 IN lower(d.name)) > 0';
  END IF;
  IF v_state IS NOT NULL THEN
    v_where := v_where || CASE v_state
      WHEN 'revoked' THEN ' AND d.revoked_at IS NOT NULL'
      WHEN 'active' THEN ' AND d.revoked_at IS NULL AND ' || v_held
      WHEN 'released' THEN ' AND d.revoked_at IS NULL AND NOT ' || v_held
      ELSE ' AND false'
    END;
  END IF;
  IF p_after IS NOT NULL THEN
    -- The key alone is a condition that an index takes; the pair leaves out what has the same key and came before.
    v_where := v_where || format(' AND %1$s %2$s= ($3 ->> 0)::%3$s AND (%1$s, d.device_id) %2$s '
                                 || '(($3 ->> 0)::%3$s, ($3 ->> 1)::uuid)',
                                 v_key, CASE WHEN p_descending THEN '<' ELSE '>' END, v_type);
  END IF;
  RETURN QUERY EXECUTE format($sql$
    SELECT d.device_id, d.project_id, d.name, d.role, o.username, host(a.ip), l.name, d.endpoints, d.curve,
           d.registered_at, d.last_seen_at, d.revoked_at, encode(c.fingerprint, 'hex'), c.not_after,
           d.groups, to_jsonb(page.key) #>> '{}'
      FROM (SELECT d.device_id, %1$s AS key
              FROM nebula.device d
             WHERE %2$s
             ORDER BY %1$s %3$s, d.device_id %3$s
             LIMIT $4) page
      JOIN nebula.device d USING (device_id)
      LEFT JOIN nebula.account o ON o.account_id = d.owner_id
      LEFT JOIN LATERAL (SELECT h.ip, h.pool_id
                           FROM nebula.allocation h
                          WHERE h.device_id = d.device_id
                            AND h.released_at IS NULL
                          ORDER BY family(h.ip)
                          LIMIT 1) a ON true
      LEFT JOIN nebula.pool l ON l.pool_id = a.pool_id
      LEFT JOIN LATERAL (SELECT k.fingerprint, k.not_after
                           FROM nebula.certificate k
                          WHERE k.device_id = d.device_id
                            AND k.revoked_at IS NULL
                          ORDER BY k.not_after DESC, k.version
                          LIMIT 1) c ON true
     ORDER BY page.key %3$s, page.device_id %3$s
  $sql$, v_key, v_where, CASE WHEN p_descending THEN 'DESC' ELSE 'ASC' END)
  USING v_projects, v_words, p_after, p_max;
END $$;
COMMENT ON FUNCTION nebula.page_devices(nebula.proven_account, uuid, jsonb, text, boolean, jsonb, integer) IS
  'For the gateway: devices that the account sees, with address and newest certificate. The filter: q (a part of the '
  'name), state (active, released or revoked). Sorted by name, registered or seen; the next page comes after the '
  'sort_key and the device_id of the last row. Errors: 22023 no such filter or order';

CREATE FUNCTION nebula.count_devices(p_actor nebula.proven_account, p_project_id uuid, p_q text)
RETURNS TABLE (state text, devices bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp SET jit = off AS $$
  SELECT CASE
           WHEN d.revoked_at IS NOT NULL THEN 'revoked'
           WHEN a.device_id IS NOT NULL THEN 'active'
           ELSE 'released'
         END, count(DISTINCT d.device_id)
    FROM nebula.device d
    LEFT JOIN nebula.allocation a ON a.device_id = d.device_id AND a.released_at IS NULL
   WHERE d.project_id IN (SELECT nebula.visible_projects(p_actor))
     AND (p_project_id IS NULL OR d.project_id = p_project_id)
     AND (coalesce(p_q, '') = '' OR position(lower(p_q) IN lower(d.name)) > 0)
   GROUP BY 1
$$;
COMMENT ON FUNCTION nebula.count_devices(nebula.proven_account, uuid, text) IS
  'For the gateway: how many devices the account sees, by state; those whose names have this part';
