-- Pools: their networks and their usage.

-- Functions in Rust.
COMMENT ON FUNCTION nebula.populate_pool(uuid, inet, text, boolean) IS
  'Creates a pool (one row, whatever its size); returns how many addresses it can give out. '
  'reserve_gateway: keeps the first address back. Errors: P0002 no such project, 22023 malformed, '
  'outside the overlay, or not for devices (loopback, multicast and the like), 23505 name taken or overlapping';
COMMENT ON FUNCTION nebula.assignable_range(inet) IS
  'Internal: first and last address of a range that may be given out, and how many they are';
-- One row for each call; the planner would expect a thousand, and with them plans that pay only for large results.
ALTER FUNCTION nebula.assignable_range(inet) ROWS 1;
COMMENT ON FUNCTION nebula.span(inet, inet) IS
  'Internal: how many addresses there are from the first to the last, both counted';
COMMENT ON FUNCTION nebula.try_lock(text, integer) IS
  'Internal: takes a lock that only the extension can take, until the transaction ends; false when another '
  'transaction has it. Errors: 22023 no such kind of lock';
COMMENT ON FUNCTION nebula.wait_for_lock(text, integer) IS
  'Internal: like try_lock, but waits for the other transaction. Errors: 22023 no such kind of lock';
COMMENT ON FUNCTION nebula.require_fresh_snapshot() IS
  'Internal: for functions that lock and then read; fails if other transactions have ended since the '
  'snapshot of a REPEATABLE READ transaction was taken. Errors: 40001 run the transaction again';

-- 10.42.0.9/24 may mean the address or the network, and the second may open a port to 255 devices more.
CREATE FUNCTION nebula.check_host_bits(p_network inet) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF p_network <> network(p_network)::inet THEN
    RAISE EXCEPTION '% is an address in a network, not a network', p_network
      USING ERRCODE = '22023',
        HINT = format('The network is %s, the address alone %s.', network(p_network), host(p_network));
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_host_bits(inet) IS
  'Internal: refuses a network with bits of a host, as every function does that takes a network. Errors: 22023';

CREATE FUNCTION nebula.check_address(p_address inet) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF p_address <> host(p_address)::inet THEN
    RAISE EXCEPTION '% is a network, not an address', p_address
      USING ERRCODE = '22023', HINT = format('Omit the prefix length: %s.', host(p_address));
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_address(inet) IS
  'Internal: refuses an address with a prefix length, as every function does that takes one address. Errors: 22023';

-- Before a network becomes a pool, an overlay, a route or the range of a node. Rows from before stay.
CREATE FUNCTION nebula.check_network(p_network inet) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_hint    CONSTANT text := 'Choose private addresses, for example 10.42.0.0/16 or fd42::/64.';
  v_special record;
BEGIN
  SELECT s.network, s.purpose
    INTO v_special
    FROM nebula.special_networks() s
   WHERE s.network && p_network
   ORDER BY s.network >>= p_network DESC, s.place
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION '% cannot be a network of devices: it % %, %',
        p_network, CASE WHEN v_special.network >>= p_network THEN 'lies in' ELSE 'contains' END,
        v_special.network, v_special.purpose
      USING ERRCODE = '22023', HINT = v_hint;
  END IF;
  -- fc00::/7 are the private addresses of IPv6.
  IF masklen(p_network)
     < (CASE WHEN family(p_network) = 4 THEN 8 WHEN p_network <<= 'fc00::/7' THEN 7 ELSE 16 END)
  THEN
    RAISE EXCEPTION '% is so wide that devices would lose their route to the internet', p_network
      USING ERRCODE = '22023', HINT = v_hint;
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_network(inet) IS
  'Internal: refuses a network that neither nebula nor the kernel carries, or that takes devices off the '
  'internet. Errors: 22023';

CREATE FUNCTION nebula.pool_network(p_project_id uuid, p_cidr inet) RETURNS inet
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN coalesce((SELECT p.cidr::inet
                     FROM nebula.project p
                    WHERE p.project_id = p_project_id
                      AND p_cidr <<= p.cidr),
                  p_cidr);
END $$;
COMMENT ON FUNCTION nebula.pool_network(uuid, inet) IS
  'Internal: the network that certificates of devices of a pool name: the overlay, or the pool outside it';

-- Also for a pool that grows. Rows from before stay.
CREATE FUNCTION nebula.check_pool_network(p_project_id uuid, p_network inet) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  v_project nebula.project;
  v_wrong   record;
BEGIN
  PERFORM nebula.check_network(p_network);
  -- Of a pool and an endpoint or a route that are made at the same time, the later one sees the earlier one.
  SELECT p.*
    INTO v_project
    FROM nebula.project p
   WHERE p.project_id = p_project_id
     FOR NO KEY UPDATE;
  IF family(p_network) = 6 AND v_project.mtu < 1280 THEN
    RAISE EXCEPTION 'project "%" has an MTU of %, too small for the IPv6 pool %',
        v_project.name, v_project.mtu, p_network
      USING ERRCODE = '22023', HINT = 'IPv6 needs 1280: nebulactl project options mtu=1300.';
  END IF;
  PERFORM nebula.check_grantable(p_project_id, '{}', ARRAY[nebula.pool_network(p_project_id, p_network)]);
  SELECT format('the endpoint %s of "%s"', s.endpoint, s.name) AS thing
    INTO v_wrong
    FROM nebula.static_endpoints(p_project_id) s
   WHERE s.address <<= p_network
  UNION ALL
  SELECT format('the route to %s', r.network)
    FROM nebula.route r
   WHERE r.project_id = p_project_id
     AND host(r.network)::inet <<= p_network
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION '% contains %', p_network, v_wrong.thing
      USING ERRCODE = '22023', HINT = 'Both cannot be reached then; choose another range.';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_pool_network(uuid, inet) IS
  'Internal: refuses a pool that would hide an endpoint of a lighthouse or a routed network, is outside the '
  'limits of the authority, is of IPv6 in a project whose MTU is too small for that, or is refused by check_network. '
  'Errors: 22023';

CREATE FUNCTION nebula.pool_usage(project_id uuid DEFAULT NULL)
RETURNS TABLE (
  pool_id integer,
  project_id uuid,
  name text,
  cidr cidr,
  size numeric,
  reserved numeric,
  allocated numeric,
  quarantined numeric,
  free numeric,
  exhausted_at_forecast timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp
SET jit = off AS $$
  SELECT nebula.require_project(pool_usage.project_id) WHERE pool_usage.project_id IS NOT NULL;
  SELECT p.pool_id, p.project_id, p.name, p.cidr, s.size, s.size - s.usable, h.allocated::numeric,
         h.quarantined::numeric, s.usable - h.allocated - h.quarantined,
         -- Extrapolates the growth of the last day; null beyond a century (36525 days).
         CASE
           WHEN g.growth > 0 AND (s.usable - h.allocated - h.quarantined) / g.growth < 36525
           THEN now() + (greatest(s.usable - h.allocated - h.quarantined, 0) / g.growth)::double precision
                        * interval '1 day'
         END
    FROM nebula.pool p
   CROSS JOIN LATERAL nebula.assignable_range(p.cidr) r
   CROSS JOIN LATERAL (SELECT coalesce(sum(nebula.span(v.first_ip, v.last_ip)), 0)
                              + (CASE
                                   WHEN p.gateway BETWEEN r.first AND r.last
                                    AND count(*) FILTER (WHERE p.gateway BETWEEN v.first_ip AND v.last_ip) = 0
                                   THEN 1
                                   ELSE 0
                                 END) AS kept
                         FROM nebula.reservation v
                        WHERE v.pool_id = p.pool_id
                          AND NOT v.for_group) x
   CROSS JOIN LATERAL (SELECT trunc(2::numeric ^ (CASE family(p.cidr) WHEN 4 THEN 32 ELSE 128 END
                                                  - masklen(p.cidr))) AS size,
                              r.count - x.kept AS usable) s
   -- A range scan of the primary key: pools of a project do not overlap, so the range identifies the pool.
   CROSS JOIN LATERAL (
                SELECT count(*) FILTER (WHERE a.released_at IS NULL) AS allocated,
                       count(*) FILTER (WHERE a.quarantined_until > clock_timestamp()) AS quarantined,
                       count(*) FILTER (WHERE a.released_at IS NULL
                                        AND a.allocated_at > now() - interval '1 day') AS new
                  FROM nebula.allocation a
                 WHERE a.project_id = p.project_id
                   AND a.ip BETWEEN r.first AND r.last
              ) h
   CROSS JOIN LATERAL (SELECT h.new - count(*) AS growth
                         FROM nebula.allocation_log l
                        WHERE l.released_at > now() - interval '1 day'
                          AND l.pool_id = p.pool_id
                          AND l.allocated_at <= now() - interval '1 day') g
   WHERE pool_usage.project_id IS NULL OR p.project_id = pool_usage.project_id
   ORDER BY p.project_id, p.pool_id
$$;
COMMENT ON FUNCTION nebula.pool_usage(uuid) IS
  'Usage of the pools of a project, or of all: free + reserved + allocated + quarantined = size. '
  'exhausted_at_forecast extrapolates the growth of the last day; null if not growing or more than a '
  'century away. Errors: P0002 no such project';
