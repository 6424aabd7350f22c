-- Changes of pools: by users of SQL, and for operators through the gateway.

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
      USING ERRCODE = 'P0002', HINT = 'List its pools: nebulactl pool ls, or SELECT name, cidr FROM nebula.pool.';
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

CREATE FUNCTION nebula.resize_pool(
  p_project_id uuid, p_name text, p_cidr inet, p_grow boolean, p_by text, p_client inet
) RETURNS numeric
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
  PERFORM nebula.record_event(v_pool.project_id, p_by, CASE WHEN p_grow THEN 'extend' ELSE 'shrink' END, 'pool',
                              v_pool.pool_id::text, p_client,
                              jsonb_build_object('name', v_pool.name, 'from', v_pool.cidr, 'to', v_target));
  RETURN (SELECT u.size - u.reserved
            FROM nebula.pool_usage(v_pool.project_id) u
           WHERE u.pool_id = v_pool.pool_id);
END $$;
COMMENT ON FUNCTION nebula.resize_pool(uuid, text, inet, boolean, text, inet) IS
  'Internal: what extend_pool and shrink_pool share';

CREATE FUNCTION nebula.extend_pool(project_id uuid, name text, cidr inet) RETURNS numeric
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.resize_pool(extend_pool.project_id, extend_pool.name, extend_pool.cidr, true, session_user::text,
                            inet_client_addr())
$$;
COMMENT ON FUNCTION nebula.extend_pool(uuid, text, inet) IS
  'Extends a pool to a network around it; returns how many addresses it can give out. Errors: P0002 no '
  'such pool, 22023 not around it or outside the overlay, 23505 overlaps another pool, 55000 a held '
  'address would become reserved, 55P03 busy';

CREATE FUNCTION nebula.shrink_pool(project_id uuid, name text, cidr inet) RETURNS numeric
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.resize_pool(shrink_pool.project_id, shrink_pool.name, shrink_pool.cidr, false, session_user::text,
                            inet_client_addr())
$$;
COMMENT ON FUNCTION nebula.shrink_pool(uuid, text, inet) IS
  'Shrinks a pool to a network inside it if nothing in the removed part is held, in quarantine or '
  'reserved; returns how many addresses it can give out. Errors: P0002 no such pool, 22023 not inside it, '
  '55000 something is, 55P03 busy';

CREATE FUNCTION nebula.switch_pool(
  p_project_id uuid, p_name text, p_enabled boolean, p_by text, p_client inet
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_pool nebula.pool := nebula.require_pool(p_project_id, p_name);
BEGIN
  IF v_pool.enabled <> p_enabled THEN
    UPDATE nebula.pool p
       SET enabled = p_enabled
     WHERE p.pool_id = v_pool.pool_id;
    PERFORM nebula.record_event(v_pool.project_id, p_by, CASE WHEN p_enabled THEN 'enable' ELSE 'disable' END,
                                'pool', v_pool.pool_id::text, p_client, jsonb_build_object('name', v_pool.name));
  END IF;
END $$;
COMMENT ON FUNCTION nebula.switch_pool(uuid, text, boolean, text, inet) IS
  'Internal: what enable_pool and disable_pool share';

CREATE FUNCTION nebula.enable_pool(project_id uuid, name text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.switch_pool(enable_pool.project_id, enable_pool.name, true, session_user::text, inet_client_addr())
$$;
COMMENT ON FUNCTION nebula.enable_pool(uuid, text) IS
  'Lets a pool give out addresses again. Idempotent. Errors: P0002 no such pool';

CREATE FUNCTION nebula.disable_pool(project_id uuid, name text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.switch_pool(disable_pool.project_id, disable_pool.name, false, session_user::text, inet_client_addr())
$$;
COMMENT ON FUNCTION nebula.disable_pool(uuid, text) IS
  'Stops a pool from giving out addresses; held addresses stay held. Idempotent. Errors: P0002 no such pool';

CREATE FUNCTION nebula.remove_pool(p_project_id uuid, p_name text, p_by text, p_client inet) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp
SET lock_timeout = '5s' AS $$
DECLARE
  v_pool   nebula.pool := nebula.require_pool(p_project_id, p_name);
  v_victim record;
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
  PERFORM nebula.record_event(v_pool.project_id, p_by, 'drop', 'pool', v_pool.pool_id::text, p_client,
                              jsonb_build_object('name', v_pool.name, 'cidr', v_pool.cidr));
END $$;
COMMENT ON FUNCTION nebula.remove_pool(uuid, text, text, inet) IS 'Internal: what drop_pool and drop_pool_for share';

CREATE FUNCTION nebula.drop_pool(project_id uuid, name text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.remove_pool(drop_pool.project_id, drop_pool.name, session_user::text, inet_client_addr())
$$;
COMMENT ON FUNCTION nebula.drop_pool(uuid, text) IS
  'Drops a pool and its reservations if none of its addresses is held or in quarantine. Errors: P0002 no '
  'such pool, 55000 in use, 55P03 busy';

CREATE FUNCTION nebula.add_pool(
  p_project_id uuid, p_name text, p_cidr inet, p_reserve_gateway boolean, p_by text, p_client inet
) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  PERFORM nebula.populate_pool(p_project_id, p_cidr, p_name, p_reserve_gateway);
  PERFORM nebula.record_event(p.project_id, p_by, 'create', 'pool', p.pool_id::text, p_client,
                              jsonb_build_object('name', p.name, 'cidr', p.cidr))
     FROM nebula.pool p
    WHERE p.project_id = p_project_id
      AND p.name = p_name;
END $$;
COMMENT ON FUNCTION nebula.add_pool(uuid, text, inet, boolean, text, inet) IS
  'Internal: populate_pool, on record. Errors: as populate_pool';

CREATE FUNCTION nebula.create_pool_for(
  p_actor nebula.proven_account, p_project_id uuid, p_name text, p_cidr text, p_reserve_gateway boolean,
  p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_by text := nebula.require_permission(p_actor, p_project_id, 'project.create');
BEGIN
  PERFORM nebula.add_pool(p_project_id, p_name, nebula.read_inet('cidr', p_cidr), p_reserve_gateway, v_by, p_client);
END $$;
COMMENT ON FUNCTION nebula.create_pool_for(nebula.proven_account, uuid, text, text, boolean, inet) IS
  'For the gateway: populate_pool for an operator. Errors: 28000, 42501, the rest as populate_pool';

CREATE FUNCTION nebula.change_pool_for(
  p_actor nebula.proven_account, p_project_id uuid, p_name text, p_changes jsonb, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_by      text := nebula.require_permission(p_actor, p_project_id, 'project.create');
  v_cidr    inet;
  v_enabled boolean;
  v_pool    nebula.pool;
BEGIN
  PERFORM nebula.check_fields('the changes of a pool', p_changes, '{cidr,enabled}');
  v_cidr := nebula.read_inet('cidr', nebula.json_text(p_changes, 'cidr'));
  v_enabled := nebula.json_boolean(p_changes, 'enabled');
  v_pool := nebula.require_pool(p_project_id, p_name);
  IF v_cidr IS NOT NULL THEN
    PERFORM nebula.resize_pool(p_project_id, p_name, v_cidr, NOT v_cidr << v_pool.cidr, v_by, p_client);
  END IF;
  IF v_enabled IS NOT NULL THEN
    PERFORM nebula.switch_pool(p_project_id, p_name, v_enabled, v_by, p_client);
  END IF;
END $$;
COMMENT ON FUNCTION nebula.change_pool_for(nebula.proven_account, uuid, text, jsonb, inet) IS
  'For the gateway: extend_pool or shrink_pool (cidr), enable_pool or disable_pool (enabled) for an operator. Errors: '
  '28000, 42501, the rest as these';

CREATE FUNCTION nebula.drop_pool_for(
  p_actor nebula.proven_account, p_project_id uuid, p_name text, p_client inet DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_by text := nebula.require_permission(p_actor, p_project_id, 'project.create');
BEGIN
  PERFORM nebula.remove_pool(p_project_id, p_name, v_by, p_client);
END $$;
COMMENT ON FUNCTION nebula.drop_pool_for(nebula.proven_account, uuid, text, inet) IS
  'For the gateway: drop_pool for an operator. Errors: 28000, 42501, the rest as drop_pool';
