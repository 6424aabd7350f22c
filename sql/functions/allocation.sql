-- Allocations: who holds what now.

CREATE FUNCTION nebula.device_allocation(device_id uuid)
RETURNS TABLE (project_id uuid, ip inet, pool text, allocated_by text, allocated_at timestamptz, lease_until timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT a.project_id, a.ip, l.name, a.allocated_by, a.allocated_at, a.lease_until
    FROM nebula.allocation a JOIN nebula.pool l USING (pool_id)
   WHERE a.device_id = device_allocation.device_id AND a.released_at IS NULL
   ORDER BY family(a.ip)
$$;
COMMENT ON FUNCTION nebula.device_allocation(uuid) IS
  'What a device holds now, one row of each address family; no row when it holds nothing';

CREATE FUNCTION nebula.project_allocations(project_id uuid)
RETURNS TABLE (device_id uuid, ip inet, pool text, allocated_by text, allocated_at timestamptz, lease_until timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT nebula.require_project(project_allocations.project_id);
  SELECT a.device_id, a.ip, l.name, a.allocated_by, a.allocated_at, a.lease_until
    FROM nebula.allocation a JOIN nebula.pool l USING (pool_id)
   WHERE a.project_id = project_allocations.project_id AND a.released_at IS NULL
   ORDER BY a.ip
$$;
COMMENT ON FUNCTION nebula.project_allocations(uuid) IS
  'Every address of a project that is held now, by address. Errors: P0002 no such project';

-- Tries to hold an address that another transaction is about to hold: waits for its end, for a while.
CREATE FUNCTION nebula.hold_when_free(
  project_id uuid, pool_id integer, ip inet, device_id uuid, allocated_by text, lease interval, client inet, patience integer
) RETURNS boolean
LANGUAGE plpgsql SET search_path = nebula, pg_temp SET lock_timeout = 0 AS $$
BEGIN
  -- Undone when this function ends, because the function sets lock_timeout itself.
  PERFORM set_config('lock_timeout', hold_when_free.patience::text, true);
  INSERT INTO nebula.allocation (project_id, pool_id, ip, device_id, allocated_by, lease_until, client)
  VALUES (hold_when_free.project_id, hold_when_free.pool_id, hold_when_free.ip, hold_when_free.device_id,
          coalesce(hold_when_free.allocated_by, session_user::text), now() + hold_when_free.lease,
          coalesce(hold_when_free.client, inet_client_addr()))
  ON CONFLICT DO NOTHING;
  RETURN FOUND;
EXCEPTION WHEN lock_not_available THEN
  RETURN false;
END $$;
COMMENT ON FUNCTION nebula.hold_when_free(uuid, integer, inet, uuid, text, interval, inet, integer) IS
  'Used by allocate_ip: takes an address in flight if it comes free within patience milliseconds';

CREATE FUNCTION nebula.allocate_ips(
  project_id uuid, device_ids uuid[], allocated_by text DEFAULT NULL, pool text DEFAULT NULL, lease interval DEFAULT NULL,
  label text DEFAULT NULL, family integer DEFAULT NULL, client inet DEFAULT NULL
) RETURNS TABLE (device_id uuid, ip inet)
LANGUAGE sql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
  SELECT n.device_id, n.ip
    FROM unnest(allocate_ips.device_ids, nebula.allocate_batch(
           allocate_ips.project_id, allocate_ips.device_ids, allocate_ips.allocated_by, allocate_ips.pool,
           allocate_ips.lease, allocate_ips.label, allocate_ips.family, allocate_ips.client)) AS n(device_id, ip)
   WHERE n.ip IS NOT NULL
$$;
COMMENT ON FUNCTION nebula.allocate_ips(uuid, uuid[], text, text, interval, text, integer, inet) IS
  'allocate_ip for many devices in a few statements: each once, lowest addresses in the order given, all or none. Errors: as allocate_ip';
