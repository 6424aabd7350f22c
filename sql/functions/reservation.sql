-- Reservations: exclusions, and ranges for groups of devices.

CREATE FUNCTION nebula.check_label(project_id uuid, label text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  IF label IS NULL OR label !~ '^[[:alnum:]][[:alnum:] ._-]{0,62}$' THEN
    RAISE EXCEPTION '"%" is no label', label USING ERRCODE = '22023',
      HINT = 'Start with a letter or digit, then up to 62 letters, digits, spaces, dots, underscores or dashes.';
  END IF;
  IF EXISTS (SELECT FROM nebula.reservation v WHERE v.project_id = check_label.project_id AND v.label = check_label.label) THEN
    RAISE EXCEPTION 'project % has a reservation "%" already', check_label.project_id, check_label.label
      USING ERRCODE = '23505', HINT = 'Choose another label, or drop it: SELECT nebula.drop_reservation(project_id, label).';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_label(uuid, text) IS 'Refuses a label that is malformed (22023) or in use (23505)';

CREATE FUNCTION nebula.exclude_addresses(project_id uuid, label text, first inet, last inet DEFAULT NULL, reason text DEFAULT NULL)
RETURNS numeric
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  low    inet := host(exclude_addresses.first)::inet;
  high   inet := host(coalesce(exclude_addresses.last, broadcast(exclude_addresses.first)))::inet;
  pool   nebula.pool;
  room   record;
  victim record;
BEGIN
  PERFORM nebula.require_project(exclude_addresses.project_id);
  PERFORM nebula.check_label(exclude_addresses.project_id, exclude_addresses.label);
  SELECT * INTO pool FROM nebula.pool p
   WHERE p.project_id = exclude_addresses.project_id AND low <<= p.cidr AND high <<= p.cidr FOR UPDATE;
  IF NOT FOUND OR low > high THEN
    RAISE EXCEPTION '% to % is in no pool of project %', host(low), host(high), exclude_addresses.project_id
      USING ERRCODE = '22023', HINT = 'Give first and last address, or a network, inside one pool.';
  END IF;
  PERFORM nebula.hold_allocations();
  -- Network and broadcast address are reserved as they are.
  SELECT greatest(low, r.first) AS first, least(high, r.last) AS last INTO room FROM nebula.assignable_range(pool.cidr) r;
  IF room.first > room.last THEN
    RAISE EXCEPTION '% to % is never given out anyway', host(low), host(high)
      USING ERRCODE = '22023', HINT = 'Network and broadcast addresses need no exclusion.';
  END IF;
  SELECT a.ip, a.device_id INTO victim FROM nebula.allocation a
   WHERE a.project_id = pool.project_id AND a.ip BETWEEN room.first AND room.last
     AND (a.quarantined_until IS NULL OR a.quarantined_until > clock_timestamp())
   ORDER BY a.ip LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION '% is held by device %, or in quarantine', host(victim.ip), victim.device_id
      USING ERRCODE = '55000', HINT = 'Release it first, or end its quarantine: SELECT nebula.end_quarantine(...).';
  END IF;
  SELECT v.label INTO victim FROM nebula.reservation v
   WHERE v.pool_id = pool.pool_id AND v.first_ip <= room.last AND v.last_ip >= room.first LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION '% to % overlaps reservation "%"', host(low), host(high), victim.label
      USING ERRCODE = '23505', HINT = 'Drop that one first: SELECT nebula.drop_reservation(project_id, label).';
  END IF;
  DELETE FROM nebula.allocation a WHERE a.project_id = pool.project_id AND a.ip BETWEEN room.first AND room.last;
  INSERT INTO nebula.reservation (project_id, label, pool_id, first_ip, last_ip, for_group, reason)
  VALUES (pool.project_id, exclude_addresses.label, pool.pool_id, room.first, room.last, false, exclude_addresses.reason);
  PERFORM nebula.record_event(pool.project_id, session_user::text, 'exclude', 'pool', pool.pool_id::text, inet_client_addr(),
    jsonb_build_object('label', exclude_addresses.label, 'first', host(room.first), 'last', host(room.last), 'reason', exclude_addresses.reason));
  RETURN nebula.span(room.first, room.last);
END $$;
COMMENT ON FUNCTION nebula.exclude_addresses(uuid, text, inet, inet, text) IS
  'Keeps addresses of a pool from being given out: from first to last, or the network first; answers how many. Errors: '
  'P0002 no such project, 22023 in no pool, 23505 label taken or overlapping, 55000 one is held, 55P03 busy';

-- Runs of free addresses: the gaps between what is held, reserved or the gateway. Edges of the address space are not
-- stepped over: nothing is added to a last address of a pool.
CREATE FUNCTION nebula.free_runs(project_id uuid) RETURNS TABLE (pool_id integer, low inet, high inet)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  WITH room AS (
    SELECT p.pool_id, p.gateway, r.first, r.last
      FROM nebula.pool p, nebula.assignable_range(p.cidr) r WHERE p.project_id = free_runs.project_id
  ), taken AS (
    SELECT r.pool_id, r.last AS ceiling, a.ip AS low, a.ip AS high
      FROM room r JOIN nebula.allocation a ON a.project_id = free_runs.project_id AND a.ip BETWEEN r.first AND r.last
     WHERE a.quarantined_until IS NULL OR a.quarantined_until > clock_timestamp()
    UNION ALL
    SELECT r.pool_id, r.last, v.first_ip, v.last_ip FROM room r JOIN nebula.reservation v USING (pool_id)
    UNION ALL
    SELECT r.pool_id, r.last, r.gateway, r.gateway FROM room r WHERE r.gateway BETWEEN r.first AND r.last
  ), edge AS (
    -- What is taken up to here, and where the next taken address is; null: none.
    SELECT t.pool_id, t.ceiling, t.low,
           max(t.high) OVER (PARTITION BY t.pool_id ORDER BY t.low, t.high) AS high,
           lead(t.low) OVER (PARTITION BY t.pool_id ORDER BY t.low, t.high) AS next
      FROM taken t
  ), run AS (
    SELECT r.pool_id, r.first AS low, (SELECT min(t.low) FROM taken t WHERE t.pool_id = r.pool_id) AS next, r.last AS ceiling
      FROM room r
    UNION ALL
    SELECT e.pool_id, e.high + 1, e.next, e.ceiling FROM edge e WHERE e.high < e.ceiling
  )
  SELECT pool_id, low, CASE WHEN next IS NULL THEN ceiling ELSE next - 1 END
    FROM run WHERE next IS NULL OR next > low
$$;
COMMENT ON FUNCTION nebula.free_runs(uuid) IS 'Runs of free addresses of every pool of a project, whoever they are for';

CREATE FUNCTION nebula.reserve_range(project_id uuid, label text, count integer, pool text DEFAULT NULL)
RETURNS TABLE (first inet, last inet)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  known nebula.reservation;
  place record;
BEGIN
  PERFORM nebula.require_project(reserve_range.project_id);
  IF reserve_range.pool IS NOT NULL THEN
    PERFORM nebula.require_pool(reserve_range.project_id, reserve_range.pool);
  END IF;
  IF reserve_range.count IS NULL OR reserve_range.count < 1 THEN
    RAISE EXCEPTION 'a range of % addresses cannot be reserved', reserve_range.count
      USING ERRCODE = '22023', HINT = 'Give a count of at least 1.';
  END IF;
  PERFORM nebula.hold_allocations();
  SELECT * INTO known FROM nebula.reservation v
   WHERE v.project_id = reserve_range.project_id AND v.label = reserve_range.label;
  -- Asked again, answered again.
  IF known.for_group AND nebula.span(known.first_ip, known.last_ip) = reserve_range.count THEN
    RETURN QUERY SELECT known.first_ip, known.last_ip;
    RETURN;
  END IF;
  PERFORM nebula.check_label(reserve_range.project_id, reserve_range.label);
  SELECT e.pool_id, e.low INTO place
    FROM nebula.free_runs(reserve_range.project_id) e
    JOIN nebula.pool p USING (pool_id)
   WHERE p.enabled AND (reserve_range.pool IS NULL OR p.name = reserve_range.pool)
     AND nebula.span(e.low, e.high) >= reserve_range.count
   ORDER BY e.pool_id, e.low LIMIT 1;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no pool of project % has % free addresses in a row', reserve_range.project_id, reserve_range.count
      USING ERRCODE = '53400', HINT = 'Ask for fewer, or make another pool: SELECT nebula.populate_pool(...).';
  END IF;
  first := place.low;
  last := place.low + (reserve_range.count - 1);
  DELETE FROM nebula.allocation a WHERE a.project_id = reserve_range.project_id AND a.ip BETWEEN first AND last;
  INSERT INTO nebula.reservation (project_id, label, pool_id, first_ip, last_ip, for_group)
  VALUES (reserve_range.project_id, reserve_range.label, place.pool_id, first, last, true);
  PERFORM nebula.record_event(reserve_range.project_id, session_user::text, 'reserve', 'pool', place.pool_id::text, inet_client_addr(),
    jsonb_build_object('label', reserve_range.label, 'first', host(first), 'last', host(last)));
  RETURN NEXT;
END $$;
COMMENT ON FUNCTION nebula.reserve_range(uuid, text, integer, text) IS
  'Reserves the lowest free addresses in a row for a group of devices, which take from them first: those that name the label '
  'in allocate_ip, and those in a group of that name. Again: the same. Errors: P0002 no such project or pool, 22023 malformed, '
  '23505 label taken, 53400 no such run, 55P03 busy';

CREATE FUNCTION nebula.drop_reservation(project_id uuid, label text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  gone nebula.reservation;
BEGIN
  DELETE FROM nebula.reservation v
   WHERE v.project_id = drop_reservation.project_id AND v.label = drop_reservation.label RETURNING * INTO gone;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'project % has no reservation "%"', drop_reservation.project_id, drop_reservation.label
      USING ERRCODE = 'P0002', HINT = 'List them: SELECT * FROM nebula.reservation_status.';
  END IF;
  PERFORM nebula.record_event(gone.project_id, session_user::text, 'unreserve', 'pool', gone.pool_id::text, inet_client_addr(),
    jsonb_build_object('label', gone.label, 'first', host(gone.first_ip), 'last', host(gone.last_ip)));
END $$;
COMMENT ON FUNCTION nebula.drop_reservation(uuid, text) IS
  'Ends an exclusion or a group''s range; its devices keep what they hold. Errors: P0002 no such reservation';

CREATE FUNCTION nebula.set_device_groups(device_id uuid, groups text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  project uuid;
BEGIN
  IF array_position(set_device_groups.groups, NULL) IS NOT NULL OR set_device_groups.groups IS NULL THEN
    RAISE EXCEPTION 'groups must not be null' USING ERRCODE = '22023', HINT = 'Give an array of names, or an empty one.';
  END IF;
  UPDATE nebula.device d SET groups = set_device_groups.groups
   WHERE d.device_id = set_device_groups.device_id RETURNING d.project_id INTO project;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no device %', set_device_groups.device_id
      USING ERRCODE = 'P0002', HINT = 'List devices: SELECT device_id, name FROM nebula.device_status.';
  END IF;
  PERFORM nebula.record_event(project, session_user::text, 'set-groups', 'device', set_device_groups.device_id::text,
    inet_client_addr(), jsonb_build_object('groups', set_device_groups.groups));
END $$;
COMMENT ON FUNCTION nebula.set_device_groups(uuid, text[]) IS
  'Puts a device in groups: its next address comes from their ranges, its next certificate names them. Errors: P0002 no such device, 22023 null';
