-- Changes of nodes and peers with time: peers expire, waits run out, nodes fall silent.

CREATE FUNCTION nebula.expire_peers() RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  v_expired uuid[] := ARRAY(SELECT e.peer_id
                              FROM nebula.peer e
                             WHERE e.expires_at <= clock_timestamp()
                               AND e.removed_at IS NULL
                               AND EXISTS (SELECT
                                             FROM nebula.placement p
                                            WHERE p.peer_id = e.peer_id
                                              AND p.wanted = 'present')
                             ORDER BY e.peer_id
                             LIMIT 1000);
  v_raised  record;
BEGIN
  IF v_expired = '{}' THEN
    RETURN 0;
  END IF;
  FOR v_raised IN SELECT * FROM nebula.lock_placements(v_expired) LOOP
    UPDATE nebula.placement p
       SET wanted = 'blocked',
           generation = v_raised.generation
      FROM nebula.peer e
     WHERE p.peer_id = ANY (v_expired)
       AND p.interface_id = v_raised.interface_id
       AND p.wanted = 'present'
       AND e.peer_id = p.peer_id
       -- Its end may have been moved meanwhile.
       AND e.expires_at <= clock_timestamp();
  END LOOP;
  PERFORM nebula.record_event(e.project_id, 'maintenance', 'expire', 'peer', e.peer_id::text, NULL,
                              jsonb_build_object('name', e.name, 'at', e.expires_at))
     FROM nebula.peer e
    WHERE e.peer_id = ANY (v_expired)
      AND e.expires_at <= clock_timestamp();
  RETURN cardinality(v_expired);
END $$;
COMMENT ON FUNCTION nebula.expire_peers() IS
  'Internal: has nodes refuse the peers that have expired; answers how many';

CREATE FUNCTION nebula.note_alarms() RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
  v_secret_age CONSTANT interval := coalesce(nullif(current_setting('nebula.node_secret_age', true), ''),
                                             '90d')::interval;
  v_changed    integer := 0;
  v_node       record;
BEGIN
  FOR v_node IN
    SELECT n.node_id, n.name, n.project_id, n.alarms AS former, n.active_peers, n.max_peers, n.seen_at, a.alarms
      FROM nebula.node n
     CROSS JOIN LATERAL (
                  SELECT array_remove(
                           ARRAY[
                             CASE WHEN nebula.node_health(n.seen_at) IN ('late', 'lost')
                                  THEN nebula.node_health(n.seen_at) END,
                             CASE
                               WHEN n.active_peers >= n.max_peers THEN 'full'
                               WHEN n.active_peers >= n.soft_max_peers THEN 'crowded'
                             END,
                             CASE
                               WHEN v_secret_age > interval '0'
                                AND EXISTS (SELECT
                                              FROM nebula.node_secret k
                                             WHERE k.node_id = n.node_id
                                               AND k.retired_at IS NULL
                                            HAVING max(k.made_at) < now() - v_secret_age)
                               THEN 'old-secret'
                             END
                           ], NULL) AS alarms) a
     WHERE n.alarms IS DISTINCT FROM a.alarms
     ORDER BY n.node_id
  LOOP
    -- A node that another session has locked is skipped; the next round looks at it again.
    PERFORM
      FROM nebula.node n
     WHERE n.node_id = v_node.node_id
       AND n.alarms = v_node.former
       FOR NO KEY UPDATE SKIP LOCKED;
    CONTINUE WHEN NOT FOUND;
    UPDATE nebula.node n
       SET alarms = v_node.alarms
     WHERE n.node_id = v_node.node_id;
    PERFORM nebula.record_event(v_node.project_id, 'maintenance', c.action, 'node', v_node.node_id::text, NULL,
                                jsonb_build_object('name', v_node.name, 'peers', v_node.active_peers,
                                                   'maxPeers', v_node.max_peers, 'seenAt', v_node.seen_at))
       FROM (SELECT a AS action
               FROM unnest(v_node.alarms) a
              WHERE a <> ALL (v_node.former)
              UNION ALL
             SELECT 'back'
              WHERE v_node.former && '{late,lost}' AND NOT v_node.alarms && '{late,lost}'
              UNION ALL
             SELECT 'room'
              WHERE v_node.former && '{crowded,full}' AND NOT v_node.alarms && '{crowded,full}') c;
    v_changed := v_changed + 1;
  END LOOP;
  RETURN v_changed;
END $$;
COMMENT ON FUNCTION nebula.note_alarms() IS
  'Internal: records events of nodes that have become late, lost, crowded, full or have only old secrets, and '
  'when that is over (back, room); answers of how many nodes';

CREATE FUNCTION nebula.maintain_peers() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_late uuid[] := ARRAY(SELECT p.peer_id
                           FROM nebula.placement p
                          WHERE p.deadline < clock_timestamp() - interval '1 second'
                          ORDER BY p.peer_id
                          LIMIT 1000);
BEGIN
  -- A gateway that waited has given up by then, or has died.
  IF v_late <> '{}' THEN
    PERFORM count(*) FROM nebula.withdraw_peers(v_late, 'its node did not apply it in time');
  END IF;
  PERFORM nebula.expire_peers();
  PERFORM nebula.note_alarms();
END $$;
COMMENT ON FUNCTION nebula.maintain_peers() IS
  'Work of the background worker for nodes and peers: withdraws what nodes have not applied in time, has expired peers '
  'refused, records alarms of nodes. Any scheduler may call it instead';

-- For check_pool.
CREATE FUNCTION nebula.peer_differences(p_project_id uuid, p_repair boolean)
RETURNS TABLE (pool_id integer, ip inet, device_id uuid, problem text, detail text, repaired boolean)
LANGUAGE plpgsql AS $$
DECLARE
  v_node record;
BEGIN
  RETURN QUERY
    SELECT a.pool_id, a.ip, a.device_id, 'peer-missing', 'held for a peer that does not exist', false
      FROM nebula.allocation a
      JOIN nebula.pool l ON l.pool_id = a.pool_id AND l.project_id = a.project_id
     WHERE l.purpose = 'peer'
       AND (p_project_id IS NULL OR a.project_id = p_project_id)
       AND NOT EXISTS (SELECT
                         FROM nebula.peer e
                        WHERE e.peer_id = a.device_id
                          AND e.project_id = a.project_id);
  RETURN QUERY
    SELECT NULL::integer, NULL::inet, e.peer_id, 'peer-homeless',
           format('peer "%s" has %s addresses and %s placements', e.name, a.held, p.placed), false
      FROM nebula.peer e
     CROSS JOIN LATERAL (SELECT count(*) AS held
                           FROM nebula.allocation k
                          WHERE k.device_id = e.peer_id
                            AND k.released_at IS NULL) a
     CROSS JOIN LATERAL (SELECT count(*) AS placed FROM nebula.placement k WHERE k.peer_id = e.peer_id) p
     WHERE (p_project_id IS NULL OR e.project_id = p_project_id)
       AND (a.held = 0 OR p.placed = 0);
  FOR v_node IN
    SELECT n.node_id, n.name, n.active_peers, count(p.peer_id) AS placed
      FROM nebula.node n
      LEFT JOIN nebula.node_interface i USING (node_id)
      LEFT JOIN nebula.placement p USING (interface_id)
     WHERE p_project_id IS NULL OR n.project_id = p_project_id
     GROUP BY n.node_id, n.name, n.active_peers
    HAVING n.active_peers <> count(p.peer_id)
     ORDER BY n.node_id
  LOOP
    IF p_repair THEN
      PERFORM
        FROM nebula.node n
       WHERE n.node_id = v_node.node_id
         FOR NO KEY UPDATE;
      UPDATE nebula.node n
         SET active_peers = (SELECT count(*)
                               FROM nebula.node_interface i
                               JOIN nebula.placement p USING (interface_id)
                              WHERE i.node_id = n.node_id)
       WHERE n.node_id = v_node.node_id;
    END IF;
    RETURN QUERY
      SELECT NULL::integer, NULL::inet, v_node.node_id, 'seats-differ',
             format('node "%s" counts %s peers, but %s are placed on it', v_node.name, v_node.active_peers,
                    v_node.placed),
             p_repair;
  END LOOP;
END $$;
COMMENT ON FUNCTION nebula.peer_differences(uuid, boolean) IS
  'Internal: addresses without their peer, peers without address or node, nodes whose seats differ from their peers; '
  'repair: counts the seats';
