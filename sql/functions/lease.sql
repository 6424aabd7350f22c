-- Leases: prolonged by who holds the address, ended by whoever sweeps up.

CREATE FUNCTION nebula.renew_lease(device_id uuid, lease interval) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  until timestamptz := now() + renew_lease.lease;
BEGIN
  IF until IS NULL OR until <= now() THEN
    RAISE EXCEPTION 'lease must be longer than zero' USING ERRCODE = '22023', HINT = 'For example interval ''1 day''.';
  END IF;
  UPDATE nebula.allocation a SET lease_until = until
   WHERE a.device_id = renew_lease.device_id AND a.released_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'device % holds no address', renew_lease.device_id
      USING ERRCODE = 'P0002', HINT = 'Allocate one: SELECT nebula.allocate_ip(project_id, device_id, lease => ''1 day'').';
  END IF;
  RETURN until;
END $$;
COMMENT ON FUNCTION nebula.renew_lease(uuid, interval) IS
  'Prolongs what a device holds to so long from now, also after it ran out but was not reclaimed; answers until when. '
  'Errors: 22023 not longer than zero, P0002 holds no address';

CREATE FUNCTION nebula.reclaim_expired(max integer DEFAULT 1000) RETURNS TABLE (device_id uuid, ip inet)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  expired record;
BEGIN
  FOR expired IN
    SELECT a.device_id, a.ip FROM nebula.allocation a
     WHERE a.lease_until <= clock_timestamp() AND a.released_at IS NULL
       -- Others reach the network through these, so they are released by people only.
       AND NOT EXISTS (SELECT FROM nebula.device d WHERE d.device_id = a.device_id AND d.role IN ('lighthouse', 'relay'))
       AND NOT EXISTS (SELECT FROM nebula.node n WHERE n.node_id = a.device_id)
     ORDER BY a.lease_until
     LIMIT greatest(reclaim_expired.max, 0)
     -- Whoever renews at this moment wins; two sweepers share the work.
     FOR UPDATE OF a SKIP LOCKED
  LOOP
    device_id := expired.device_id;
    ip := nebula.release_ip(expired.device_id, 'lease expired', expired.ip);
    RETURN NEXT;
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.reclaim_expired(integer) IS
  'Releases addresses whose lease ran out, oldest first, at most max; never those of lighthouses, relays and nodes. '
  'The background worker calls it when pg_nebula is preloaded; otherwise any scheduler may';
