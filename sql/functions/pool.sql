-- Pools: usage, and the changes that administrators make.

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

-- Every function that changes a pool calls this first: it locks the row.
CREATE FUNCTION nebula.require_pool(p_project_id uuid, p_name text) RETURNS nebula.pool
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_found_pool nebula.pool;
BEGIN
  PERFORM nebula.require_project(p_project_id);
  SELECT *
    INTO v_found_pool
    FROM nebula.pool p
   WHERE p.project_id = p_project_id
     AND p.name = p_name
     FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'project % has no pool "%"', p_project_id, left(p_name, 80)
      USING ERRCODE = 'P0002', HINT = 'List its pools: SELECT name, cidr FROM nebula.pool.';
  END IF;
  RETURN v_found_pool;
END $$;
COMMENT ON FUNCTION nebula.require_pool(uuid, text) IS
  'Internal: the pool of that name, locked. Errors: P0002 no such project or pool';

-- EXCLUSIVE conflicts with the ROW EXCLUSIVE lock of allocations. While it waits behind a long transaction, every
-- later allocation waits behind it; therefore all callers set lock_timeout.
CREATE FUNCTION nebula.hold_allocations() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  LOCK TABLE nebula.allocation IN EXCLUSIVE MODE;
  SELECT nebula.require_fresh_snapshot()
$$;
COMMENT ON FUNCTION nebula.hold_allocations() IS
  'Internal: waits for allocations in flight and holds up new ones until the transaction ends. Errors: '
  '55P03 they took too long, 40001 the snapshot is older';

CREATE FUNCTION nebula.resize_pool(p_project_id uuid, p_name text, p_cidr inet, p_grow boolean)
RETURNS numeric
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp
SET lock_timeout = '5s' AS $$
DECLARE
  v_pool   nebula.pool := nebula.require_pool(p_project_id, p_name);
  v_target cidr := network(p_cidr);
  v_room   record;
  v_victim record;
BEGIN
  PERFORM nebula.check_host_bits(p_cidr);
  IF v_pool.purpose = 'peer' THEN
    RAISE EXCEPTION 'pool "%" is for peers', v_pool.name
      USING ERRCODE = '55000', HINT = 'A full one needs no change: its interface gets another one by itself.';
  END IF;
  IF p_grow THEN
    PERFORM nebula.check_pool_network(p_project_id, v_target);
  END IF;
  IF v_target = v_pool.cidr THEN
    RETURN (SELECT u.size - u.reserved
              FROM nebula.pool_usage(v_pool.project_id) u
             WHERE u.pool_id = v_pool.pool_id);
  END IF;
  IF p_grow AND NOT v_target >> v_pool.cidr OR NOT p_grow AND NOT v_target << v_pool.cidr THEN
    RAISE EXCEPTION '% does not % pool "%" (%)',
        v_target, CASE WHEN p_grow THEN 'contain' ELSE 'lie inside' END, v_pool.name, v_pool.cidr
      USING ERRCODE = '22023',
        HINT = 'A pool grows to a network around it and shrinks to one inside it; populate_pool makes another.';
  END IF;
  PERFORM nebula.hold_allocations();
  SELECT *
    INTO v_room
    FROM nebula.assignable_range(v_target);
  -- Also when growing: from /31 to /30, held addresses become the network or the broadcast address.
  SELECT a.ip, a.device_id, a.quarantined_until, count(*) OVER () AS others
    INTO v_victim
    FROM nebula.allocation a
   WHERE a.pool_id = v_pool.pool_id
     AND a.project_id = v_pool.project_id
     AND a.ip NOT BETWEEN v_room.first AND v_room.last
     AND (a.quarantined_until IS NULL OR a.quarantined_until > clock_timestamp())
   ORDER BY a.ip
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION '% addresses of pool "%" could not be given out in %, first % of device %',
        v_victim.others, v_pool.name, v_target, host(v_victim.ip), v_victim.device_id
      USING ERRCODE = '55000',
        HINT = 'Release them, and wait for quarantined ones or end it: SELECT nebula.end_quarantine(...).';
  END IF;
  SELECT v.label
    INTO v_victim
    FROM nebula.reservation v
   WHERE v.pool_id = v_pool.pool_id
     AND NOT (v.first_ip BETWEEN v_room.first AND v_room.last
              AND v.last_ip BETWEEN v_room.first AND v_room.last)
   ORDER BY v.first_ip
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'reservation "%" of pool "%" does not lie inside %',
        v_victim.label, v_pool.name, v_target
      USING ERRCODE = '55000', HINT = 'Drop it first: SELECT nebula.drop_reservation(project_id, label).';
  END IF;
  IF NOT v_pool.gateway BETWEEN v_room.first AND v_room.last THEN
    RAISE EXCEPTION 'gateway % of pool "%" could not be in %', host(v_pool.gateway), v_pool.name, v_target
      USING ERRCODE = '55000', HINT = 'Choose a range that keeps the gateway.';
  END IF;
  DELETE FROM nebula.allocation a
   WHERE a.pool_id = v_pool.pool_id
     AND a.project_id = v_pool.project_id
     AND a.ip NOT BETWEEN v_room.first AND v_room.last;
  UPDATE nebula.pool p
     SET cidr = v_target
   WHERE p.pool_id = v_pool.pool_id;
  PERFORM nebula.record_event(v_pool.project_id, session_user::text,
                              CASE WHEN p_grow THEN 'extend' ELSE 'shrink' END, 'pool',
                              v_pool.pool_id::text, inet_client_addr(),
                              jsonb_build_object('name', v_pool.name, 'from', v_pool.cidr, 'to', v_target));
  RETURN (SELECT u.size - u.reserved
            FROM nebula.pool_usage(v_pool.project_id) u
           WHERE u.pool_id = v_pool.pool_id);
END $$;
COMMENT ON FUNCTION nebula.resize_pool(uuid, text, inet, boolean) IS
  'Internal: what extend_pool and shrink_pool share';

CREATE FUNCTION nebula.extend_pool(project_id uuid, name text, cidr inet) RETURNS numeric
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.resize_pool(extend_pool.project_id, extend_pool.name, extend_pool.cidr, true)
$$;
COMMENT ON FUNCTION nebula.extend_pool(uuid, text, inet) IS
  'Extends a pool to a network around it; returns how many addresses it can give out. Errors: P0002 no '
  'such pool, 22023 not around it or outside the overlay, 23505 overlaps another pool, 55000 a held '
  'address would become reserved, 55P03 busy';

CREATE FUNCTION nebula.shrink_pool(project_id uuid, name text, cidr inet) RETURNS numeric
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.resize_pool(shrink_pool.project_id, shrink_pool.name, shrink_pool.cidr, false)
$$;
COMMENT ON FUNCTION nebula.shrink_pool(uuid, text, inet) IS
  'Shrinks a pool to a network inside it if nothing in the removed part is held, in quarantine or '
  'reserved; returns how many addresses it can give out. Errors: P0002 no such pool, 22023 not inside it, '
  '55000 something is, 55P03 busy';

CREATE FUNCTION nebula.switch_pool(p_project_id uuid, p_name text, p_enabled boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_pool nebula.pool := nebula.require_pool(p_project_id, p_name);
BEGIN
  IF v_pool.enabled <> p_enabled THEN
    UPDATE nebula.pool p
       SET enabled = p_enabled
     WHERE p.pool_id = v_pool.pool_id;
    PERFORM nebula.record_event(v_pool.project_id, session_user::text,
                                CASE WHEN p_enabled THEN 'enable' ELSE 'disable' END, 'pool',
                                v_pool.pool_id::text, inet_client_addr(),
                                jsonb_build_object('name', v_pool.name));
  END IF;
END $$;
COMMENT ON FUNCTION nebula.switch_pool(uuid, text, boolean) IS
  'Internal: what enable_pool and disable_pool share';

CREATE FUNCTION nebula.enable_pool(project_id uuid, name text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.switch_pool(enable_pool.project_id, enable_pool.name, true)
$$;
COMMENT ON FUNCTION nebula.enable_pool(uuid, text) IS
  'Lets a pool give out addresses again. Idempotent. Errors: P0002 no such pool';

CREATE FUNCTION nebula.disable_pool(project_id uuid, name text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.switch_pool(disable_pool.project_id, disable_pool.name, false)
$$;
COMMENT ON FUNCTION nebula.disable_pool(uuid, text) IS
  'Stops a pool from giving out addresses; held addresses stay held. Idempotent. Errors: P0002 no such pool';

CREATE FUNCTION nebula.drop_pool(project_id uuid, name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp
SET lock_timeout = '5s' AS $$
DECLARE
  v_project_id CONSTANT uuid := project_id;
  v_name       CONSTANT text := name;
  v_pool       nebula.pool := nebula.require_pool(v_project_id, v_name);
  v_victim     record;
BEGIN
  PERFORM nebula.hold_allocations();
  SELECT a.ip, a.device_id, count(*) OVER () AS others
    INTO v_victim
    FROM nebula.allocation a
   WHERE a.pool_id = v_pool.pool_id
     AND a.project_id = v_pool.project_id
     AND (a.quarantined_until IS NULL OR a.quarantined_until > clock_timestamp())
   ORDER BY a.ip
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'pool "%" has % addresses held or in quarantine, first % of device %',
        v_pool.name, v_victim.others, host(v_victim.ip), v_victim.device_id
      USING ERRCODE = '55000',
        HINT = 'Disable it, release what is held, and drop it when quarantine is over.';
  END IF;
  DELETE FROM nebula.allocation a WHERE a.pool_id = v_pool.pool_id AND a.project_id = v_pool.project_id;
  DELETE FROM nebula.pool p WHERE p.pool_id = v_pool.pool_id;
  PERFORM nebula.record_event(v_pool.project_id, session_user::text, 'drop', 'pool', v_pool.pool_id::text,
                              inet_client_addr(),
                              jsonb_build_object('name', v_pool.name, 'cidr', v_pool.cidr));
END $$;
COMMENT ON FUNCTION nebula.drop_pool(uuid, text) IS
  'Drops a pool and its reservations if none of its addresses is held or in quarantine. Errors: P0002 no '
  'such pool, 55000 in use, 55P03 busy';
