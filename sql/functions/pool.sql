-- Pools: how full they are, and what an administrator does to them.

CREATE FUNCTION nebula.pool_usage(project_id uuid DEFAULT NULL)
RETURNS TABLE (
  pool_id integer, project_id uuid, name text, cidr cidr, size numeric, reserved numeric, allocated numeric,
  quarantined numeric, free numeric, exhausted_at_forecast timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.require_project(pool_usage.project_id) WHERE pool_usage.project_id IS NOT NULL;
  SELECT p.pool_id, p.project_id, p.name, p.cidr, s.size, s.size - s.usable, h.allocated::numeric,
         h.quarantined::numeric, s.usable - h.allocated - h.quarantined,
         -- The growth of the last day, drawn on; nothing beyond what anybody plans for.
         CASE WHEN g.growth > 0 AND (s.usable - h.allocated - h.quarantined) / g.growth < 36525
              THEN now() + (greatest(s.usable - h.allocated - h.quarantined, 0) / g.growth)::double precision * interval '1 day'
         END
    FROM nebula.pool p
   CROSS JOIN LATERAL nebula.assignable_range(p.cidr) r
   CROSS JOIN LATERAL (
     SELECT coalesce(sum(nebula.span(v.first_ip, v.last_ip)), 0)
            + (CASE WHEN p.gateway BETWEEN r.first AND r.last AND count(*) FILTER (WHERE p.gateway BETWEEN v.first_ip AND v.last_ip) = 0
                    THEN 1 ELSE 0 END) AS kept
       FROM nebula.reservation v WHERE v.pool_id = p.pool_id AND NOT v.for_group
   ) x
   CROSS JOIN LATERAL (
     SELECT trunc(2::numeric ^ (CASE family(p.cidr) WHEN 4 THEN 32 ELSE 128 END - masklen(p.cidr))) AS size,
            r.count - x.kept AS usable
   ) s
   -- Along the primary key: pools of a project do not overlap, so the range stands for the pool.
   CROSS JOIN LATERAL (
     SELECT count(*) FILTER (WHERE a.released_at IS NULL) AS allocated,
            count(*) FILTER (WHERE a.quarantined_until > clock_timestamp()) AS quarantined,
            count(*) FILTER (WHERE a.released_at IS NULL AND a.allocated_at > now() - interval '1 day') AS new
       FROM nebula.allocation a
      WHERE a.project_id = p.project_id AND a.ip BETWEEN r.first AND r.last
   ) h
   CROSS JOIN LATERAL (
     SELECT h.new - count(*) AS growth
       FROM nebula.allocation_log l
      WHERE l.released_at > now() - interval '1 day' AND l.pool_id = p.pool_id
        AND l.allocated_at <= now() - interval '1 day'
   ) g
   WHERE pool_usage.project_id IS NULL OR p.project_id = pool_usage.project_id
   ORDER BY p.project_id, p.pool_id
$$;
COMMENT ON FUNCTION nebula.pool_usage(uuid) IS
  'Fill of the pools of a project, or of all: free + reserved + allocated + quarantined = size. '
  'exhausted_at_forecast draws on the growth of the last day; null when not growing or a century away. Errors: P0002 no such project';

-- Whoever changes a pool comes through here: the row is locked, and named if it is missing.
CREATE FUNCTION nebula.require_pool(project_id uuid, name text) RETURNS nebula.pool
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  found_pool nebula.pool;
BEGIN
  PERFORM nebula.require_project(require_pool.project_id);
  SELECT * INTO found_pool FROM nebula.pool p
   WHERE p.project_id = require_pool.project_id AND p.name = require_pool.name FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'project % has no pool "%"', require_pool.project_id, require_pool.name
      USING ERRCODE = 'P0002', HINT = 'List its pools: SELECT name, cidr FROM nebula.pool.';
  END IF;
  RETURN found_pool;
END $$;
COMMENT ON FUNCTION nebula.require_pool(uuid, text) IS 'The pool of that name, locked. Errors: P0002 no such project or pool';

-- Allocations hold their table in a mode that this one waits for. Queued behind a long transaction it would stop every
-- allocation that comes later, so the callers give up after a while: each sets lock_timeout.
CREATE FUNCTION nebula.hold_allocations() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  LOCK TABLE nebula.allocation IN EXCLUSIVE MODE;
  SELECT nebula.require_fresh_snapshot()
$$;
COMMENT ON FUNCTION nebula.hold_allocations() IS
  'Waits for allocations in flight and holds up new ones until the transaction ends. Errors: 55P03 they took too long, 40001 the snapshot is older';

CREATE FUNCTION nebula.resize_pool(project_id uuid, name text, cidr inet, grow boolean) RETURNS numeric
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  pool   nebula.pool := nebula.require_pool(resize_pool.project_id, resize_pool.name);
  target cidr := network(resize_pool.cidr);
  room   record;
  victim record;
BEGIN
  IF target::inet <> resize_pool.cidr THEN
    RAISE EXCEPTION '% is an address in a network, not a network', resize_pool.cidr
      USING ERRCODE = '22023', HINT = format('The network is %s.', target);
  END IF;
  IF target = pool.cidr THEN
    RETURN (SELECT u.size - u.reserved FROM nebula.pool_usage(pool.project_id) u WHERE u.pool_id = pool.pool_id);
  END IF;
  IF grow AND NOT target >> pool.cidr OR NOT grow AND NOT target << pool.cidr THEN
    RAISE EXCEPTION '% does not % pool "%" (%)', target, CASE WHEN grow THEN 'contain' ELSE 'lie inside' END, pool.name, pool.cidr
      USING ERRCODE = '22023', HINT = 'A pool grows to a network around it and shrinks to one inside it; populate_pool makes another.';
  END IF;
  PERFORM nebula.hold_allocations();
  SELECT * INTO room FROM nebula.assignable_range(target);
  -- Not only what is cut off: /31 to /30 makes held addresses network and broadcast address.
  SELECT a.ip, a.device_id, a.quarantined_until, count(*) OVER () AS others INTO victim
    FROM nebula.allocation a
   WHERE a.pool_id = pool.pool_id AND a.project_id = pool.project_id AND a.ip NOT BETWEEN room.first AND room.last
     AND (a.quarantined_until IS NULL OR a.quarantined_until > clock_timestamp())
   ORDER BY a.ip LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION '% addresses of pool "%" could not be given out in %, first % of device %',
        victim.others, pool.name, target, host(victim.ip), victim.device_id
      USING ERRCODE = '55000', HINT = 'Release them, and wait for quarantined ones or end it: SELECT nebula.end_quarantine(...).';
  END IF;
  SELECT v.label INTO victim FROM nebula.reservation v
   WHERE v.pool_id = pool.pool_id AND NOT (v.first_ip BETWEEN room.first AND room.last AND v.last_ip BETWEEN room.first AND room.last)
   ORDER BY v.first_ip LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'reservation "%" of pool "%" does not lie inside %', victim.label, pool.name, target
      USING ERRCODE = '55000', HINT = 'Drop it first: SELECT nebula.drop_reservation(project_id, label).';
  END IF;
  IF NOT pool.gateway BETWEEN room.first AND room.last THEN
    RAISE EXCEPTION 'gateway % of pool "%" could not be in %', host(pool.gateway), pool.name, target
      USING ERRCODE = '55000', HINT = 'Choose a range that keeps the gateway.';
  END IF;
  DELETE FROM nebula.allocation a
   WHERE a.pool_id = pool.pool_id AND a.project_id = pool.project_id AND a.ip NOT BETWEEN room.first AND room.last;
  UPDATE nebula.pool p SET cidr = target WHERE p.pool_id = pool.pool_id;
  PERFORM nebula.record_event(pool.project_id, session_user::text, CASE WHEN grow THEN 'extend' ELSE 'shrink' END, 'pool',
    pool.pool_id::text, inet_client_addr(), jsonb_build_object('name', pool.name, 'from', pool.cidr, 'to', target));
  RETURN (SELECT u.size - u.reserved FROM nebula.pool_usage(pool.project_id) u WHERE u.pool_id = pool.pool_id);
END $$;
COMMENT ON FUNCTION nebula.resize_pool(uuid, text, inet, boolean) IS 'What extend_pool and shrink_pool share';

CREATE FUNCTION nebula.extend_pool(project_id uuid, name text, cidr inet) RETURNS numeric
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.resize_pool(extend_pool.project_id, extend_pool.name, extend_pool.cidr, true)
$$;
COMMENT ON FUNCTION nebula.extend_pool(uuid, text, inet) IS
  'Grows a pool to a network around it; answers how many addresses it can give out. Errors: P0002 no such pool, '
  '22023 not around it or outside the overlay, 23505 overlaps another pool, 55000 a held address would become reserved, 55P03 busy';

CREATE FUNCTION nebula.shrink_pool(project_id uuid, name text, cidr inet) RETURNS numeric
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.resize_pool(shrink_pool.project_id, shrink_pool.name, shrink_pool.cidr, false)
$$;
COMMENT ON FUNCTION nebula.shrink_pool(uuid, text, inet) IS
  'Shrinks a pool to a network inside it when nothing in the cut part is held, in quarantine or reserved; answers how many '
  'addresses it can give out. Errors: P0002 no such pool, 22023 not inside it, 55000 something is, 55P03 busy';

CREATE FUNCTION nebula.switch_pool(project_id uuid, name text, enabled boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  pool nebula.pool := nebula.require_pool(switch_pool.project_id, switch_pool.name);
BEGIN
  IF pool.enabled <> switch_pool.enabled THEN
    UPDATE nebula.pool p SET enabled = switch_pool.enabled WHERE p.pool_id = pool.pool_id;
    PERFORM nebula.record_event(pool.project_id, session_user::text, CASE WHEN switch_pool.enabled THEN 'enable' ELSE 'disable' END,
      'pool', pool.pool_id::text, inet_client_addr(), jsonb_build_object('name', pool.name));
  END IF;
END $$;
COMMENT ON FUNCTION nebula.switch_pool(uuid, text, boolean) IS 'What enable_pool and disable_pool share';

CREATE FUNCTION nebula.enable_pool(project_id uuid, name text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.switch_pool(enable_pool.project_id, enable_pool.name, true)
$$;
COMMENT ON FUNCTION nebula.enable_pool(uuid, text) IS 'Lets a pool give out addresses again; twice is no error. Errors: P0002 no such pool';

CREATE FUNCTION nebula.disable_pool(project_id uuid, name text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.switch_pool(disable_pool.project_id, disable_pool.name, false)
$$;
COMMENT ON FUNCTION nebula.disable_pool(uuid, text) IS
  'Stops a pool from giving out addresses; what is held stays held, twice is no error. Errors: P0002 no such pool';

CREATE FUNCTION nebula.drop_pool(project_id uuid, name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  pool   nebula.pool := nebula.require_pool(drop_pool.project_id, drop_pool.name);
  victim record;
BEGIN
  PERFORM nebula.hold_allocations();
  SELECT a.ip, a.device_id, count(*) OVER () AS others INTO victim FROM nebula.allocation a
   WHERE a.pool_id = pool.pool_id AND a.project_id = pool.project_id
     AND (a.quarantined_until IS NULL OR a.quarantined_until > clock_timestamp())
   ORDER BY a.ip LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION 'pool "%" has % addresses held or in quarantine, first % of device %',
        pool.name, victim.others, host(victim.ip), victim.device_id
      USING ERRCODE = '55000', HINT = 'Disable it, release what is held, and drop it when quarantine is over.';
  END IF;
  DELETE FROM nebula.allocation a WHERE a.pool_id = pool.pool_id AND a.project_id = pool.project_id;
  DELETE FROM nebula.pool p WHERE p.pool_id = pool.pool_id;
  PERFORM nebula.record_event(pool.project_id, session_user::text, 'drop', 'pool', pool.pool_id::text, inet_client_addr(),
    jsonb_build_object('name', pool.name, 'cidr', pool.cidr));
END $$;
COMMENT ON FUNCTION nebula.drop_pool(uuid, text) IS
  'Drops a pool and its reservations when nothing in it is held or in quarantine. Errors: P0002 no such pool, 55000 in use, 55P03 busy';
