-- Reservations: excluded addresses, and ranges for groups of devices.

CREATE FUNCTION nebula.check_label(p_project_id uuid, p_label text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  IF nebula.is_label(p_label) IS NOT TRUE THEN
    RAISE EXCEPTION '"%" is not a valid label', left(p_label, 80)
      USING ERRCODE = '22023',
        HINT = 'Start with a letter or digit, then up to 62 letters, digits, spaces, dots, underscores or dashes.';
  END IF;
  IF EXISTS (SELECT FROM nebula.reservation v WHERE v.project_id = p_project_id AND v.label = p_label) THEN
    RAISE EXCEPTION 'project % has a reservation "%" already', p_project_id, p_label
      USING ERRCODE = '23505',
        HINT = 'Choose another label, or drop it: SELECT nebula.drop_reservation(project_id, label).';
  END IF;
END $$;
COMMENT ON FUNCTION nebula.check_label(uuid, text) IS
  'Internal: refuses a label that is malformed (22023) or in use (23505)';

CREATE FUNCTION nebula.exclude_addresses(
  project_id uuid,
  label text,
  first inet,
  last inet DEFAULT NULL,
  reason text DEFAULT NULL
) RETURNS numeric
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp
SET lock_timeout = '5s'
SET jit = off AS $$
DECLARE
  v_project_id CONSTANT uuid := project_id;
  v_label      CONSTANT text := label;
  v_first      CONSTANT inet := first;
  v_last       CONSTANT inet := last;
  v_reason     CONSTANT text := reason;
  v_low        inet := host(v_first)::inet;
  v_high       inet := host(coalesce(v_last, broadcast(v_first)))::inet;
  v_pool       nebula.pool;
  v_room       record;
  v_victim     record;
BEGIN
  PERFORM nebula.require_project(v_project_id);
  PERFORM nebula.check_label(v_project_id, v_label);
  PERFORM nebula.check_text('reason', v_reason, 'note');
  IF v_last IS NULL THEN
    PERFORM nebula.check_host_bits(v_first);
  ELSE
    PERFORM nebula.check_address(v_first), nebula.check_address(v_last);
  END IF;
  SELECT *
    INTO v_pool
    FROM nebula.pool p
   WHERE p.project_id = v_project_id
     AND p.purpose = 'device'
     AND v_low <<= p.cidr
     AND v_high <<= p.cidr
     FOR UPDATE;
  IF NOT FOUND OR v_low > v_high THEN
    RAISE EXCEPTION '% to % is in no pool of project %', host(v_low), host(v_high), v_project_id
      USING ERRCODE = '22023', HINT = 'Give first and last address, or a network, inside one pool.';
  END IF;
  PERFORM nebula.hold_allocations();
  -- Network and broadcast address are never given out: leave them out.
  SELECT greatest(v_low, r.first) AS first, least(v_high, r.last) AS last
    INTO v_room
    FROM nebula.assignable_range(v_pool.cidr) r;
  IF v_room.first > v_room.last THEN
    RAISE EXCEPTION '% to % is never given out anyway', host(v_low), host(v_high)
      USING ERRCODE = '22023', HINT = 'Network and broadcast addresses need no exclusion.';
  END IF;
  SELECT a.ip, a.device_id
    INTO v_victim
    FROM nebula.allocation a
   WHERE a.project_id = v_pool.project_id
     AND a.ip BETWEEN v_room.first AND v_room.last
     AND (a.quarantined_until IS NULL OR a.quarantined_until > clock_timestamp())
   ORDER BY a.ip
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION '% is held by device %, or in quarantine', host(v_victim.ip), v_victim.device_id
      USING ERRCODE = '55000',
        HINT = 'Release it first, or end its quarantine: SELECT nebula.end_quarantine(...).';
  END IF;
  SELECT v.label
    INTO v_victim
    FROM nebula.reservation v
   WHERE v.pool_id = v_pool.pool_id
     AND v.first_ip <= v_room.last
     AND v.last_ip >= v_room.first
   LIMIT 1;
  IF FOUND THEN
    RAISE EXCEPTION '% to % overlaps reservation "%"', host(v_low), host(v_high), v_victim.label
      USING ERRCODE = '23505',
        HINT = 'Drop that one first: SELECT nebula.drop_reservation(project_id, label).';
  END IF;
  DELETE FROM nebula.allocation a
   WHERE a.project_id = v_pool.project_id
     AND a.ip BETWEEN v_room.first AND v_room.last;
  INSERT INTO nebula.reservation (project_id, label, pool_id, first_ip, last_ip, for_group, reason)
  VALUES (v_pool.project_id, v_label, v_pool.pool_id, v_room.first, v_room.last, false, v_reason);
  PERFORM nebula.record_event(v_pool.project_id, session_user::text, 'exclude', 'pool',
                              v_pool.pool_id::text, inet_client_addr(),
                              jsonb_build_object(
                                'label', v_label, 'first', host(v_room.first),
                                'last', host(v_room.last), 'reason', v_reason
                              ));
  RETURN nebula.span(v_room.first, v_room.last);
END $$;
COMMENT ON FUNCTION nebula.exclude_addresses(uuid, text, inet, inet, text) IS
  'Excludes addresses of a pool from allocation: from first to last, or the whole network first; returns '
  'how many. Errors: P0002 no such project, 22023 in no pool or malformed, 23505 label taken or overlapping, 55000 one '
  'is held, 55P03 busy';

-- Runs of free addresses: the gaps between held addresses, reservations and the gateway. Nothing is added to the last
-- address of a pool, because it may be the last of the address space.
CREATE FUNCTION nebula.free_runs(p_pool_id integer)
RETURNS TABLE (low inet, high inet)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp
SET jit = off AS $$
  WITH room AS (
    SELECT p.project_id, p.pool_id, p.gateway, r.first, r.last
      FROM nebula.pool p, nebula.assignable_range(p.cidr) r
     WHERE p.pool_id = p_pool_id
  ), taken AS (
    SELECT a.ip AS low, a.ip AS high
      FROM room r
      JOIN nebula.allocation a ON a.project_id = r.project_id AND a.ip BETWEEN r.first AND r.last
     WHERE a.quarantined_until IS NULL OR a.quarantined_until > clock_timestamp()
    UNION ALL
    SELECT v.first_ip, v.last_ip
      FROM nebula.reservation v
     WHERE v.pool_id = p_pool_id
    UNION ALL
    SELECT r.gateway, r.gateway
      FROM room r
     WHERE r.gateway BETWEEN r.first AND r.last
  ), edge AS (
    -- The highest taken address so far, and the next taken one; null: there is none.
    SELECT max(t.high) OVER (ORDER BY t.low, t.high) AS high, lead(t.low) OVER (ORDER BY t.low, t.high) AS next
      FROM taken t
  ), run AS (
    SELECT r.first AS low, (SELECT min(t.low) FROM taken t) AS next, r.last AS ceiling
      FROM room r
    UNION ALL
    SELECT e.high + 1, e.next, r.last
      FROM edge e
      JOIN room r ON e.high < r.last
  )
  SELECT low, CASE WHEN next IS NULL THEN ceiling ELSE next - 1 END
    FROM run
   WHERE next IS NULL OR next > low
$$;
COMMENT ON FUNCTION nebula.free_runs(integer) IS
  'Internal: runs of free addresses of a pool, reserved ones for a group included';

CREATE FUNCTION nebula.reserve_range(
  project_id uuid,
  label text,
  count integer,
  pool text DEFAULT NULL
) RETURNS TABLE (first inet, last inet)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp
SET lock_timeout = '5s'
SET jit = off AS $$
DECLARE
  v_project_id CONSTANT uuid := project_id;
  v_label      CONSTANT text := label;
  v_count      CONSTANT integer := count;
  v_pool       CONSTANT text := pool;
  v_known      nebula.reservation;
  v_pool_id    integer;
  v_low        inet;
BEGIN
  PERFORM nebula.require_project(v_project_id);
  IF v_pool IS NOT NULL THEN
    PERFORM nebula.require_pool(v_project_id, v_pool);
  END IF;
  IF v_count IS NULL OR v_count < 1 THEN
    RAISE EXCEPTION 'a range of % addresses cannot be reserved', v_count
      USING ERRCODE = '22023', HINT = 'Give a count of at least 1.';
  END IF;
  PERFORM nebula.hold_allocations();
  SELECT *
    INTO v_known
    FROM nebula.reservation v
   WHERE v.project_id = v_project_id
     AND v.label = v_label;
  -- Idempotent: the same label and count give the same range.
  IF v_known.for_group AND nebula.span(v_known.first_ip, v_known.last_ip) = v_count THEN
    RETURN QUERY SELECT v_known.first_ip, v_known.last_ip;
    RETURN;
  END IF;
  PERFORM nebula.check_label(v_project_id, v_label);
  FOR v_pool_id IN
    SELECT p.pool_id
      FROM nebula.pool p
     WHERE p.project_id = v_project_id
       AND p.purpose = 'device'
       AND p.enabled
       AND (v_pool IS NULL OR p.name = v_pool)
     ORDER BY p.pool_id
  LOOP
    SELECT e.low
      INTO v_low
      FROM nebula.free_runs(v_pool_id) e
     WHERE nebula.span(e.low, e.high) >= v_count
     ORDER BY e.low
     LIMIT 1;
    EXIT WHEN FOUND;
  END LOOP;
  IF v_low IS NULL THEN
    RAISE EXCEPTION 'no pool of project % has % free addresses in a row', v_project_id, v_count
      USING ERRCODE = '53400',
        HINT = 'Ask for fewer, or make another pool: SELECT nebula.populate_pool(...).';
  END IF;
  first := v_low;
  last := v_low + (v_count - 1);
  DELETE FROM nebula.allocation a WHERE a.project_id = v_project_id AND a.ip BETWEEN first AND last;
  INSERT INTO nebula.reservation (project_id, label, pool_id, first_ip, last_ip, for_group)
  VALUES (v_project_id, v_label, v_pool_id, first, last, true);
  PERFORM nebula.record_event(v_project_id, session_user::text, 'reserve', 'pool', v_pool_id::text,
                              inet_client_addr(),
                              jsonb_build_object('label', v_label, 'first', host(first), 'last', host(last)));
  RETURN NEXT;
END $$;
COMMENT ON FUNCTION nebula.reserve_range(uuid, text, integer, text) IS
  'Reserves the lowest free addresses in a row for a group of devices: for those that name the label in '
  'allocate_ip, and those in a group of that name. They allocate from the range first. Idempotent. Errors: '
  'P0002 no such project or pool, 22023 malformed, 23505 label taken, 53400 no such run, 55P03 busy';

CREATE FUNCTION nebula.drop_reservation(project_id uuid, label text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_project_id CONSTANT uuid := project_id;
  v_label      CONSTANT text := label;
  v_gone       nebula.reservation;
BEGIN
  DELETE FROM nebula.reservation v
   WHERE v.project_id = v_project_id
     AND v.label = v_label
  RETURNING * INTO v_gone;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'project % has no reservation "%"', v_project_id, left(v_label, 80)
      USING ERRCODE = 'P0002', HINT = 'List them: SELECT * FROM nebula.reservation_status.';
  END IF;
  PERFORM nebula.record_event(v_gone.project_id, session_user::text, 'unreserve', 'pool',
                              v_gone.pool_id::text, inet_client_addr(),
                              jsonb_build_object(
                                'label', v_gone.label, 'first', host(v_gone.first_ip),
                                'last', host(v_gone.last_ip)
                              ));
END $$;
COMMENT ON FUNCTION nebula.drop_reservation(uuid, text) IS
  'Ends an exclusion or the range of a group; devices keep the addresses they hold. Errors: P0002 no such '
  'reservation';

CREATE FUNCTION nebula.check_groups(p_groups text[]) RETURNS void
LANGUAGE plpgsql STABLE AS $$
DECLARE
  v_group text;
BEGIN
  IF array_ndims(p_groups) > 1 THEN
    RAISE EXCEPTION 'groups must be a list of names, not one of lists'
      USING ERRCODE = '22023', HINT = 'For example ARRAY[''web'', ''eu''].';
  END IF;
  IF cardinality(p_groups) > 64 THEN
    RAISE EXCEPTION '% groups are more than a certificate should name', cardinality(p_groups)
      USING ERRCODE = '22023', HINT = 'A device can be in 64 groups; a handshake of nebula carries them all.';
  END IF;
  FOREACH v_group IN ARRAY coalesce(p_groups, '{}') LOOP
    IF lower(v_group) = 'any' THEN
      RAISE EXCEPTION 'a group cannot be named "%"', v_group
        USING ERRCODE = '22023',
          HINT = 'In firewall rules of nebula the word means every device: omit groups, network and device for that.';
    END IF;
    IF octet_length(v_group) > 63
       OR nebula.is_label(translate(regexp_replace(v_group, '^_', 'x'), ':/@+=', '_____')) IS NOT TRUE
       OR v_group LIKE '% '
    THEN
      RAISE EXCEPTION '"%" is not a valid group name', left(v_group, 80)
        USING ERRCODE = '22023',
          HINT = 'Up to 63 bytes of letters, digits, spaces and . _ - : / @ + =, from a letter or digit to no space.';
    END IF;
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.check_groups(text[]) IS
  'Internal: refuses groups that a certificate or a rule cannot name, or that mean something else to '
  'nebula. Errors: 22023';

CREATE FUNCTION nebula.set_device_groups(device_id uuid, groups text[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_device_id CONSTANT uuid := device_id;
  v_groups    CONSTANT text[] := groups;
  v_project   uuid;
  v_before    text[];
BEGIN
  IF v_groups IS NULL OR EXISTS (SELECT FROM unnest(v_groups) g WHERE g IS NULL) THEN
    RAISE EXCEPTION 'groups must not be null'
      USING ERRCODE = '22023', HINT = 'Give an array of names, or an empty one.';
  END IF;
  PERFORM nebula.check_groups(v_groups);
  PERFORM nebula.check_grantable(d.project_id, v_groups)
     FROM nebula.device d
    WHERE d.device_id = v_device_id;
  SELECT d.groups
    INTO v_before
    FROM nebula.device d
   WHERE d.device_id = v_device_id
     FOR NO KEY UPDATE;
  UPDATE nebula.device d
     SET groups = v_groups
   WHERE d.device_id = v_device_id
  RETURNING d.project_id INTO v_project;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no device %', v_device_id
      USING ERRCODE = 'P0002', HINT = 'List devices: SELECT device_id, name FROM nebula.device_status.';
  END IF;
  PERFORM nebula.record_event(v_project, session_user::text, 'set-groups', 'device', v_device_id::text,
    NULL, jsonb_build_object('before', jsonb_build_object('groups', v_before),
                             'after', jsonb_build_object('groups', v_groups)));
END $$;
COMMENT ON FUNCTION nebula.set_device_groups(uuid, text[]) IS
  'Sets the groups of a device: its next address comes from their ranges, and its next certificate names '
  'them. Errors: P0002 no such device, 22023 null, malformed, reserved, or not of the authority';

CREATE FUNCTION nebula.set_device_groups_for(p_actor nebula.proven_account, p_device_id uuid, p_groups text[])
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  PERFORM nebula.require_permission(p_actor, nebula.project_of_device(p_actor, p_device_id), 'device.write');
  PERFORM nebula.set_device_groups(p_device_id, p_groups);
END $$;
COMMENT ON FUNCTION nebula.set_device_groups_for(nebula.proven_account, uuid, text[]) IS
  'For the gateway: set_device_groups for an administrator. Errors: 42501 not an administrator, the rest '
  'as set_device_groups';
