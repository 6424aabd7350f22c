-- Leases of addresses: renewed by their holders, reclaimed when they expire.

CREATE FUNCTION nebula.renew_lease(device_id uuid, lease interval) RETURNS timestamptz
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_device_id CONSTANT uuid := device_id;
  v_lease     CONSTANT interval := lease;
  v_until     timestamptz;
BEGIN
  IF v_lease IS NULL THEN
    RAISE EXCEPTION 'lease must not be null'
      USING ERRCODE = '22023', HINT = 'For example interval ''1 day''.';
  END IF;
  PERFORM nebula.check_span('lease', v_lease);
  v_until := now() + v_lease;
  IF EXISTS (SELECT FROM nebula.peer e WHERE e.peer_id = v_device_id) THEN
    RAISE EXCEPTION '% is a peer, whose addresses have no lease', v_device_id
      USING ERRCODE = '55000', HINT = 'Let the peer expire: SELECT nebula.update_peer(peer_id, expires_at => ...).';
  END IF;
  UPDATE nebula.allocation a
     SET lease_until = v_until
   WHERE a.device_id = v_device_id AND a.released_at IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'device % holds no address', v_device_id
      USING ERRCODE = 'P0002',
        HINT = 'Allocate one: SELECT nebula.allocate_ip(project_id, device_id, lease => ''1 day'').';
  END IF;
  RETURN v_until;
END $$;
COMMENT ON FUNCTION nebula.renew_lease(uuid, interval) IS
  'Extends the lease of the addresses of a device, from now, also if it has expired but was not reclaimed; '
  'returns its end. Errors: 22023 not longer than zero, or than 100 years, P0002 holds no address, 55000 a peer';

CREATE FUNCTION nebula.reclaim_expired(max integer DEFAULT 1000)
RETURNS TABLE (device_id uuid, ip inet)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_max     CONSTANT integer := max;
  v_expired record;
BEGIN
  FOR v_expired IN
    SELECT a.device_id, a.ip
      FROM nebula.allocation a
     WHERE a.lease_until <= clock_timestamp()
       AND a.released_at IS NULL
           -- Other devices depend on these to reach the network: only a person may release them.
       AND NOT EXISTS (SELECT
                         FROM nebula.device d
                        WHERE d.device_id = a.device_id
                          AND d.role IN ('lighthouse', 'relay'))
       AND NOT EXISTS (SELECT FROM nebula.node n WHERE n.node_id = a.device_id)
     ORDER BY a.lease_until
     LIMIT greatest(v_max, 0)
       -- SKIP LOCKED: a concurrent renewal wins, and concurrent calls share the work.
       FOR UPDATE OF a SKIP LOCKED
  LOOP
    device_id := v_expired.device_id;
    ip := nebula.release_ip(v_expired.device_id, 'lease expired', v_expired.ip);
    RETURN NEXT;
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.reclaim_expired(integer) IS
  'Releases addresses with expired leases, oldest first, at most max; never those of lighthouses, relays '
  'and nodes. The background worker calls it when pg_nebula is preloaded; otherwise any scheduler may';
