-- Allocations: the addresses that devices hold now.

-- Functions in Rust.
COMMENT ON FUNCTION nebula.allocate_ip(uuid, uuid, text, text, inet, interval, text, integer, inet) IS
  'Allocates the lowest free address, or the one asked for. Idempotent: a device that holds an address '
  'gets the same one, and gets back one in quarantine. lease: null holds it until it is released. label: '
  'first from the range reserved under this name. family: 4 or 6. client: recorded instead of the address '
  'of the connection. Errors: P0002 no such project, pool or range, 22023 address outside or reserved, '
  '23505 taken, or device in another project, 55000 device holds another or pool disabled, 53400 '
  'exhausted, 40001 in REPEATABLE READ when a row of the device has changed since the snapshot';
COMMENT ON FUNCTION nebula.allocate_batch(uuid, uuid[], text, text, interval, text, integer, inet) IS
  'Internal: the work of allocate_ips: addresses in the order of the devices, null for one named before';
COMMENT ON FUNCTION nebula.allocate_dual(uuid, uuid, text, interval, text, inet) IS
  'allocate_ip once for each address family that has an enabled pool in the project, IPv4 first; both or '
  'none. Errors: as allocate_ip';
COMMENT ON FUNCTION nebula.release_ip(uuid, text, inet, inet) IS
  'Releases the addresses of a device, or only the given one, and returns the address; it stays in '
  'quarantine while a valid certificate names the device. Errors: P0002 never held one, or not the given one, '
  '22023 a network instead of an address, 55000 released already';
COMMENT ON FUNCTION nebula.allocate_nebula_ip(uuid, uuid, text) IS
  'allocate_ip under the name that existing clients use';
COMMENT ON FUNCTION nebula.release_nebula_ip_by_device(uuid) IS
  'release_ip under the name that existing clients use';

COMMENT ON FUNCTION nebula.allocate_peer_ip(uuid, uuid, uuid, integer, inet, text, inet) IS
  'Internal: an address of the family for a new peer: the one given, of any pool of peers, or the lowest free '
  'one of the pools of the interface; null: they are full, or there are none. Errors: 22023 address of no pool, '
  '23505 taken';
COMMENT ON FUNCTION nebula.release_peer_ips(uuid, text) IS 'Internal: releases the addresses of a peer that is gone';

CREATE FUNCTION nebula.device_allocation(device_id uuid)
RETURNS TABLE (
  project_id uuid,
  ip inet,
  pool text,
  allocated_by text,
  allocated_at timestamptz,
  lease_until timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT a.project_id, a.ip, l.name, a.allocated_by, a.allocated_at, a.lease_until
    FROM nebula.allocation a
    JOIN nebula.pool l USING (pool_id)
   WHERE a.device_id = device_allocation.device_id
     AND a.released_at IS NULL
   ORDER BY family(a.ip)
$$;
COMMENT ON FUNCTION nebula.device_allocation(uuid) IS
  'The addresses that a device holds now, one row per address family; no row if it holds none';

CREATE FUNCTION nebula.project_allocations(project_id uuid)
RETURNS TABLE (
  device_id uuid,
  ip inet,
  pool text,
  allocated_by text,
  allocated_at timestamptz,
  lease_until timestamptz
)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.require_project(project_allocations.project_id);
  SELECT a.device_id, a.ip, l.name, a.allocated_by, a.allocated_at, a.lease_until
    FROM nebula.allocation a
    JOIN nebula.pool l USING (pool_id)
   WHERE a.project_id = project_allocations.project_id
     AND a.released_at IS NULL
   ORDER BY a.ip
$$;
COMMENT ON FUNCTION nebula.project_allocations(uuid) IS
  'The addresses of a project that are held now, in order. Errors: P0002 no such project';

-- In the order of the devices: calls that share devices wait for each other instead of deadlocking. The block undoes
-- all rows when it ends by an exception.
CREATE FUNCTION nebula.insert_allocations(
  p_project_id uuid, p_pool_id integer, p_ips inet[], p_device_ids uuid[], p_allocated_by text,
  p_lease interval, p_client inet, p_timeout_ms integer
) RETURNS boolean
LANGUAGE plpgsql SET search_path = nebula, pg_temp
SET lock_timeout = 0 AS $$
DECLARE
  v_inserted bigint;
BEGIN
  -- Lasts until this function returns: its own SET lock_timeout clause restores the former value.
  PERFORM set_config('lock_timeout', p_timeout_ms::text, true);
  INSERT INTO nebula.allocation (project_id, pool_id, ip, device_id, allocated_by, lease_until, client)
  SELECT p_project_id, p_pool_id, n.ip, n.device_id, coalesce(p_allocated_by, session_user::text),
         now() + p_lease, coalesce(p_client, inet_client_addr())
    FROM unnest(p_ips, p_device_ids) AS n(ip, device_id)
   ORDER BY n.device_id
  ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS v_inserted = ROW_COUNT;
  IF v_inserted < cardinality(p_ips) THEN
    RAISE SQLSTATE 'NB001';
  END IF;
  RETURN true;
EXCEPTION
  WHEN SQLSTATE 'NB001' THEN
    RETURN false;
  WHEN lock_not_available THEN
    RETURN NULL;
END $$;
COMMENT ON FUNCTION nebula.insert_allocations(uuid, integer, inet[], uuid[], text, interval, inet, integer) IS
  'Internal: for allocate_ip and allocate_ips; inserts the rows, all or none. False: a row of these addresses '
  'or devices is in the way. Null: a transaction that holds a lock has not ended within p_timeout_ms '
  'milliseconds';

CREATE FUNCTION nebula.allocate_ips(
  project_id uuid,
  device_ids uuid[],
  allocated_by text DEFAULT NULL,
  pool text DEFAULT NULL,
  lease interval DEFAULT NULL,
  label text DEFAULT NULL,
  family integer DEFAULT NULL,
  client inet DEFAULT NULL
) RETURNS TABLE (device_id uuid, ip inet)
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT n.device_id, n.ip
    FROM unnest(
           allocate_ips.device_ids,
           nebula.allocate_batch(allocate_ips.project_id, allocate_ips.device_ids,
                                 allocate_ips.allocated_by, allocate_ips.pool, allocate_ips.lease,
                                 allocate_ips.label, allocate_ips.family, allocate_ips.client)
         ) AS n(device_id, ip)
   WHERE n.ip IS NOT NULL
$$;
COMMENT ON FUNCTION nebula.allocate_ips(uuid, uuid[], text, text, interval, text, integer, inet) IS
  'allocate_ip for many devices in a few statements, all or none: the lowest addresses in the order of the '
  'devices. Errors: as allocate_ip';
