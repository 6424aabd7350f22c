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

-- Waits its turn for the mark of an address in flight, for a while, and keeps the mark only if the address came free.
CREATE FUNCTION nebula.wait_for_address(project_id uuid, ip inet, mark bigint, patience integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp SET lock_timeout = 0 AS $$
BEGIN
  -- Undone when this function ends, because the function sets lock_timeout itself.
  PERFORM set_config('lock_timeout', wait_for_address.patience::text, true);
  PERFORM pg_advisory_xact_lock(mark);
  IF EXISTS (SELECT FROM nebula.allocation a WHERE a.project_id = wait_for_address.project_id AND a.ip = wait_for_address.ip) THEN
    -- Undoing the block gives the mark back, so that nobody waits behind this session for an address that is gone.
    RAISE lock_not_available;
  END IF;
EXCEPTION WHEN lock_not_available THEN
  NULL;
END $$;
COMMENT ON FUNCTION nebula.wait_for_address(uuid, inet, bigint, integer) IS
  'Used by allocate_ip: waits, at most patience milliseconds, for a transaction that may give this address back';
