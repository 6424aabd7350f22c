-- The map of a pool: how its addresses are used, in at most 256 cells, which are looked into one by one.

CREATE FUNCTION nebula.pool_map(
  p_actor nebula.proven_account, p_pool_id integer, p_prefix text DEFAULT NULL
) RETURNS jsonb
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp SET jit = off AS $$
DECLARE
  v_pool   nebula.pool;
  v_prefix cidr;
  v_bits   integer;
  v_length integer;
BEGIN
  SELECT p.*
    INTO v_pool
    FROM nebula.pool p
   WHERE p.pool_id = p_pool_id
     AND p.project_id IN (SELECT nebula.visible_projects(p_actor));
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no pool %', p_pool_id
      USING ERRCODE = 'P0002', HINT = 'List pools: GET /api/pools.';
  END IF;
  v_prefix := coalesce(network(nebula.read_inet('prefix', p_prefix)), v_pool.cidr);
  IF NOT v_prefix <<= v_pool.cidr THEN
    RAISE EXCEPTION '% is not in pool "%", which is %', v_prefix, v_pool.name, v_pool.cidr
      USING ERRCODE = '22023', HINT = 'Give a network in the pool, such as a cell of its map.';
  END IF;
  v_bits := CASE family(v_prefix) WHEN 4 THEN 32 ELSE 128 END;
  v_length := least(masklen(v_prefix) + 8, v_bits);
  RETURN jsonb_build_object(
    'poolId', v_pool.pool_id, 'projectId', v_pool.project_id, 'name', v_pool.name, 'cidr', v_pool.cidr,
    'gateway', host(v_pool.gateway), 'prefix', v_prefix, 'cellLength', v_length,
    'cells', (
      SELECT coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
                                  'cidr', c.cell, 'held', c.held, 'quarantined', c.quarantined,
                                  'deviceId', c.device_id, 'name', coalesce(d.name, e.name)
                                )) ORDER BY c.cell), '[]')
        FROM (SELECT network(set_masklen(a.ip, v_length)) AS cell,
                     count(*) FILTER (WHERE a.released_at IS NULL) AS held,
                     count(*) FILTER (WHERE a.quarantined_until > clock_timestamp()) AS quarantined,
                     -- Of a single address.
                     CASE WHEN v_length = v_bits THEN (array_agg(a.device_id))[1] END AS device_id
                FROM nebula.allocation a
               WHERE a.project_id = v_pool.project_id
                 AND a.ip BETWEEN set_masklen(host(v_prefix)::inet, v_bits)
                              AND set_masklen(host(broadcast(v_prefix))::inet, v_bits)
                 AND (a.released_at IS NULL OR a.quarantined_until > clock_timestamp())
               GROUP BY 1) c
        LEFT JOIN nebula.device d ON d.device_id = c.device_id
        LEFT JOIN nebula.peer e ON e.peer_id = c.device_id),
    'reservations', (
      SELECT coalesce(jsonb_agg(jsonb_build_object(
                                  'label', v.label, 'first', host(v.first_ip), 'last', host(v.last_ip),
                                  'forGroup', v.for_group, 'reason', v.reason
                                ) ORDER BY v.first_ip), '[]')
        FROM nebula.reservation v
       WHERE v.pool_id = v_pool.pool_id
         AND v.last_ip >= set_masklen(host(v_prefix)::inet, v_bits)
         AND v.first_ip <= set_masklen(host(broadcast(v_prefix))::inet, v_bits)));
END $$;
COMMENT ON FUNCTION nebula.pool_map(nebula.proven_account, integer, text) IS
  'For the gateway: addresses of a pool in use, by cells of a network in it, the whole pool without one: at most 256, '
  'those that nobody uses left out; and its reservations there. Errors: P0002 no such pool, 22023 not in the pool';
