-- Changes of nodes and peers with time: peers expire, waits run out, nodes fall silent.

-- A gateway that waited has given up a second after the deadline, or has died.
CREATE FUNCTION nebula.late_peers() RETURNS uuid[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN ARRAY(SELECT DISTINCT p.peer_id
                 FROM (SELECT k.peer_id
                         FROM nebula.placement k
                        WHERE k.deadline < now() - interval '1 second'
                        ORDER BY k.deadline
                        LIMIT 1000) p);
END $$;
COMMENT ON FUNCTION nebula.late_peers() IS 'Internal: peers that their nodes have not applied in time, at most 1000';

CREATE FUNCTION nebula.withdraw_late_peers(p_late uuid[] DEFAULT nebula.late_peers()) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_withdrawn integer;
BEGIN
  IF p_late = '{}' THEN
    RETURN 0;
  END IF;
  v_withdrawn := (SELECT count(*) FROM nebula.withdraw_peers(p_late, 'its node did not apply it in time'));
  -- The others wait for a change of a peer that works, which is not withdrawn: they are not looked at again.
  UPDATE nebula.placement p
     SET deadline = NULL
   WHERE p.peer_id = ANY (p_late)
     AND p.deadline < now() - interval '1 second';
  RETURN v_withdrawn;
END $$;
COMMENT ON FUNCTION nebula.withdraw_late_peers(uuid[]) IS
  'Internal: withdraws peers that their nodes have not applied in time; answers how many';

CREATE FUNCTION nebula.expired_peers() RETURNS uuid[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN ARRAY(SELECT e.peer_id
                 FROM nebula.peer e
                WHERE e.expires_at <= now()
                  AND e.expires_at IS DISTINCT FROM e.expired_at
                  AND e.removed_at IS NULL
                ORDER BY e.expires_at
                LIMIT 1000);
END $$;
COMMENT ON FUNCTION nebula.expired_peers() IS
  'Internal: peers that have expired, which their nodes have not been told, at most 1000';

CREATE FUNCTION nebula.expire_peers(p_expired uuid[] DEFAULT nebula.expired_peers()) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_expired uuid[];
  v_raised  record;
BEGIN
  IF p_expired = '{}' THEN
    RETURN 0;
  END IF;
  PERFORM nebula.lock_for_change(p_expired);
  -- The end of a peer may have been moved before it was locked. Those that were disabled before are refused already.
  WITH expired AS (
    UPDATE nebula.peer e
       SET expired_at = e.expires_at
     WHERE e.peer_id = ANY (p_expired)
       AND e.expires_at <= now()
    RETURNING e.*
  )
  SELECT coalesce(array_agg(x.peer_id), '{}')
    INTO v_expired
    FROM expired x
   WHERE EXISTS (SELECT FROM nebula.placement p WHERE p.peer_id = x.peer_id AND p.wanted = 'present');
  FOR v_raised IN SELECT * FROM nebula.begin_generations(v_expired) LOOP
    UPDATE nebula.placement p
       SET wanted = 'blocked',
           generation = v_raised.generation
     WHERE p.peer_id = ANY (v_expired)
       AND p.interface_id = v_raised.interface_id
       AND p.wanted = 'present';
  END LOOP;
  PERFORM nebula.record_event(e.project_id, 'maintenance', 'expire', 'peer', e.peer_id::text, NULL,
                              jsonb_build_object('name', e.name, 'at', e.expires_at))
     FROM nebula.peer e
    WHERE e.peer_id = ANY (v_expired);
  RETURN cardinality(v_expired);
END $$;
COMMENT ON FUNCTION nebula.expire_peers(uuid[]) IS
  'Internal: has nodes refuse the peers that have expired; answers how many';

-- A device that is deleted, or a row that was written by hand, leaves placements behind that nobody confirms.
CREATE FUNCTION nebula.abandoned_peers() RETURNS uuid[]
LANGUAGE plpgsql STABLE AS $$
BEGIN
  RETURN ARRAY(SELECT p.peer_id
                 FROM nebula.placement p
                 JOIN nebula.node_interface i USING (interface_id)
                 JOIN nebula.node n USING (node_id)
                WHERE p.role <> 'serving'
                  AND p.role = 'leaving'
                  AND nebula.has_no_agent(n)
                UNION
               SELECT e.peer_id
                 FROM nebula.peer e
                WHERE e.removed_at IS NOT NULL
                  AND NOT EXISTS (SELECT FROM nebula.placement p WHERE p.peer_id = e.peer_id)
                LIMIT 1000);
END $$;
COMMENT ON FUNCTION nebula.abandoned_peers() IS
  'Internal: peers that are to leave nodes without an agent, and removed ones that no node has, at most 1000';

CREATE FUNCTION nebula.end_abandoned_peers(p_abandoned uuid[] DEFAULT nebula.abandoned_peers()) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
BEGIN
  IF p_abandoned <> '{}' THEN
    PERFORM nebula.lock_for_change(p_abandoned);
    PERFORM nebula.delete_unserved_placements(p_abandoned);
    PERFORM nebula.delete_unplaced_peers(p_abandoned);
  END IF;
  RETURN cardinality(p_abandoned);
END $$;
COMMENT ON FUNCTION nebula.end_abandoned_peers(uuid[]) IS
  'Internal: frees seats and addresses that no agent will free; answers of how many peers';

CREATE FUNCTION nebula.note_alarms() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
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

-- Up to about a hundred nodes are read and compared. Where there are more, an index that every seat changes costs less.
CREATE FUNCTION nebula.set_rank_step() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_nodes   CONSTANT bigint := (SELECT count(*) FROM nebula.node n WHERE NOT n.local);
  v_step    CONSTANT integer := CASE WHEN v_nodes > 128 THEN 1 WHEN v_nodes <= 96 THEN 16 END;
  v_changed integer;
BEGIN
  -- A node that another session has locked is skipped; the next round looks at it again.
  UPDATE nebula.node n
     SET rank_step = v_step
    FROM (SELECT k.node_id
            FROM nebula.node k
           WHERE NOT k.local
             AND k.rank_step <> v_step
             FOR NO KEY UPDATE SKIP LOCKED) w
   WHERE n.node_id = w.node_id;
  GET DIAGNOSTICS v_changed = ROW_COUNT;
  RETURN v_changed;
END $$;
COMMENT ON FUNCTION nebula.set_rank_step() IS
  'Internal: has every seat change the index of nodes where there are more than 128, and every sixteenth where there '
  'are at most 96; answers at how many nodes that has changed';

CREATE FUNCTION nebula.maintain_peers() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = nebula, pg_temp AS $$
DECLARE
  v_late      CONSTANT uuid[] := nebula.late_peers();
  v_expired   CONSTANT uuid[] := nebula.expired_peers();
  v_abandoned CONSTANT uuid[] := nebula.abandoned_peers();
BEGIN
  -- All that this transaction locks. The background worker runs each of the functions in a transaction of its own.
  PERFORM nebula.lock_for_change(v_late || v_expired || v_abandoned);
  PERFORM nebula.withdraw_late_peers(v_late);
  PERFORM nebula.expire_peers(v_expired);
  PERFORM nebula.end_abandoned_peers(v_abandoned);
  PERFORM nebula.note_alarms();
  PERFORM nebula.set_rank_step();
END $$;
COMMENT ON FUNCTION nebula.maintain_peers() IS
  'Work of the background worker for nodes and peers: withdraws what nodes have not applied in time, has expired peers '
  'refused, frees what no agent will free, records alarms of nodes. Any scheduler may call it instead';

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
